/*
 * A read that follows a write: `after` names offsets that must be applied before the read. Each is looked up once; from then on
 * the call remembers the first that it still waits for, so that asking again costs one load of that partition's position.
 */
#include "services.h"

#include <freshet/clock.h>
#include <freshet/text.h>

#include <inttypes.h>

enum {
    AFTER_MOST = 1024, /* offsets a call */
    WAIT_US = 10 * 1000 * 1000, /* of a call without a deadline */
};

struct wait {
    int64_t began_us, until_us;
    bool is_found; /* the places are known */
    size_t passed; /* offsets that are applied */
    int places[]; /* dense partition indexes */
};

static bool check(Freshet__V1__Offset *const *after, size_t count, struct fr_err *err)
{
    if (count > AFTER_MOST)
        return fr_fail(err, FR_BAD_INPUT, "after: %zu offsets given; send at most %d, the greatest of each partition", count,
                       AFTER_MOST);
    for (size_t i = 0; i < count; i++) {
        if (after[i]->offset < 0)
            return fr_fail(err, FR_BAD_INPUT, "after[%zu].offset: %" PRId64 " is none; use what the delivery report says", i,
                           after[i]->offset);
    }
    return true;
}

static bool fail_unknown(struct ingest *ingest, const Freshet__V1__Offset *after, size_t index, struct fr_err *err)
{
    const char *topics[PIPELINE_TOPICS_MAX], *nearest;
    int topic_count = 0, partitions = 0;

    for (int i = 0; i < ingest_partition_count(ingest); i++) {
        const char *topic = ingest_partition_at(ingest, i).topic;
        bool is_new = topic_count < PIPELINE_TOPICS_MAX;

        partitions += strcmp(topic, after->topic) == 0;
        for (int k = 0; k < topic_count && is_new; k++)
            is_new = strcmp(topics[k], topic) != 0;
        if (is_new)
            topics[topic_count++] = topic;
    }
    if (partitions > 0)
        return fr_fail(err, FR_BAD_INPUT,
                       "after[%zu].partition: '%.100s' has no partition %" PRId32 "; the node reads %d of it", index,
                       after->topic, after->partition, partitions);
    nearest = fr_text_nearest(fr_slice_of(after->topic), topics, topic_count);
    return fr_fail(err, FR_BAD_INPUT, "after[%zu].topic: this node does not read '%.100s'%s%s%s", index, after->topic,
                   nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
}

/* Which partitions there are is known when all of them are assigned, not before. */
static bool find(struct ingest *ingest, Freshet__V1__Offset *const *after, size_t count, struct wait *wait, struct fr_err *err)
{
    int partitions = ingest && ingest_is_assigned(ingest) ? ingest_partition_count(ingest) : 0;

    if (partitions == 0)
        return true;
    for (size_t i = 0; i < count; i++) {
        int place = 0;

        for (; place < partitions; place++) {
            struct ingest_partition partition = ingest_partition_at(ingest, place);

            if (partition.number == after[i]->partition && strcmp(partition.topic, after[i]->topic) == 0)
                break;
        }
        if (place == partitions)
            return fail_unknown(ingest, after[i], i, err);
        wait->places[i] = place;
    }
    wait->is_found = true;
    return true;
}

/* What another instance of a cluster applies is not seen here by waiting. */
static bool check_owners(const struct pipeline_services *services, Freshet__V1__Offset *const *after, size_t count,
                         const struct wait *wait, struct fr_err *err)
{
    for (size_t i = wait->passed; i < count && services->cluster && wait->is_found; i++)
        if (!pipeline_cluster__may_wait(services->cluster, after[i]->partition, err))
            return false;
    return true;
}

static bool fail_late(struct pipeline_services *services, const Freshet__V1__Offset *after, const struct wait *wait,
                      struct fr_err *err)
{
    struct pipeline_lag lag = pipeline_stream__lag(services->stream);
    int64_t next = wait->is_found ? pipeline_offsets__next(services->offsets, wait->places[wait->passed]) : -1;

    if (next < 0)
        return fr_fail(err, FR_DEADLINE,
                       "after[%zu]: offset %" PRId64 " of %.100s/%" PRId32
                       " was not applied in time; %s, nothing of it is applied yet",
                       wait->passed, after->offset, after->topic, after->partition,
                       !lag.is_connected ? "no broker answers" : "partitions are being assigned");
    return fr_fail(err, FR_DEADLINE,
                   "after[%zu]: offset %" PRId64 " of %.100s/%" PRId32
                   " was not applied in time; applied is all before %" PRId64 ", %" PRId64 " events wait in all partitions",
                   wait->passed, after->offset, after->topic, after->partition, next, lag.events);
}

static struct wait *begin(struct server_call *call, size_t count, struct fr_err *err)
{
    struct wait *wait = fr_arena_take_zeroed(call->arena, 1, sizeof *wait + count * sizeof *wait->places);

    if (!wait) {
        (void)fr_fail(err, FR_EXHAUSTED, "the request is larger than a call may be; send fewer offsets");
        return NULL;
    }
    wait->began_us = fr_clock_monotonic_us();
    wait->until_us = call->deadline_us == INT64_MAX ? wait->began_us + WAIT_US : call->deadline_us;
    call->kept = wait;
    return wait;
}

bool pipeline_after__is_applied(struct pipeline_services *services, struct server_call *call, Freshet__V1__Offset *const *after,
                                size_t count, struct fr_err *err)
{
    struct wait *wait = call->kept;

    if (count == 0)
        return true;
    if (atomic_load(&services->is_closing))
        return pipeline_serving__check(services, err);
    if (!wait && (!check(after, count, err) || !(wait = begin(call, count, err))))
        return false;
    if (!wait->is_found &&
        !find(atomic_load_explicit(&services->stream->ingest, memory_order_acquire), after, count, wait, err))
        return false;
    if (!check_owners(services, after, count, wait, err))
        return false;
    while (wait->is_found && wait->passed < count &&
           pipeline_offsets__next(services->offsets, wait->places[wait->passed]) > after[wait->passed]->offset)
        wait->passed++;
    if (wait->passed == count) {
        if (!call->may_block) /* there it is asked once more, after it has gone by */
            fr_histogram_add_us(services->after, fr_clock_monotonic_us() - wait->began_us);
        return true;
    }
    if (call->may_block || fr_clock_monotonic_us() >= wait->until_us)
        return fail_late(services, after[wait->passed], wait, err);
    call->is_early = true;
    return false;
}
