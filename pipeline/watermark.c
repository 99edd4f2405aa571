/* How far all partitions have come, in event time: what the join lets pass. */
#include "cluster.h"
#include "internal.h"

#include <freshet/clock.h>

#include <stdlib.h>

enum {
    CANDIDATE_MS = 2000, /* a partition that is never quite caught up goes by its own events meanwhile */
    ASK_MS = 100,
};

struct pipeline_bound { /* of a partition */
    int64_t ms; /* that it has come to */
    uint64_t candidate; /* the latest that it has come to */
};

bool pipeline_watermark__init(struct pipeline_watermark *watermark)
{
    watermark->bounds = calloc(PIPELINE_PARTITIONS_MAX, sizeof *watermark->bounds);
    watermark->shares = watermark->is_sharing ? calloc(PIPELINE_CLUSTER_PARTITIONS_MAX, sizeof *watermark->shares) : NULL;
    watermark->candidate = 1; /* bounds have come to none */
    watermark->candidate_at_ms = INT64_MAX;
    return watermark->bounds != NULL && (!watermark->is_sharing || watermark->shares);
}

void pipeline_watermark__fini(struct pipeline_watermark *watermark)
{
    free(watermark->bounds);
    free(watermark->shares);
}

/* All that was in it when the candidate was taken is applied. */
static bool is_caught_up(const struct pipeline_watermark *watermark, const struct ingest_partition *partition, int64_t next)
{
    return partition->is_started && partition->end >= 0 && next >= 0 && partition->known_ms > watermark->candidate_at_ms &&
           (next >= partition->end || partition->end <= partition->low);
}

/*
 * Whether a partition has come to the candidate; otherwise it has come to just before its own last event, as more of that moment may
 * follow. Events make S themselves; rows may be of a clock that is ahead of it, so what was there has to be read.
 */
static bool has_come(struct pipeline_watermark *watermark, struct ingest *ingest, int i)
{
    struct ingest_partition partition = ingest_partition_at(ingest, i);
    int64_t clock_ms = pipeline_offsets__joined(watermark->offsets, i), candidate_ms = watermark->candidate_ms, bound_ms;
    struct pipeline_bound *bound = &watermark->bounds[i];
    bool is_of_events = strcmp(partition.topic, watermark->served) != 0;

    if (bound->candidate == watermark->candidate)
        return true;
    if ((is_of_events && clock_ms >= candidate_ms) ||
        is_caught_up(watermark, &partition, pipeline_offsets__next(watermark->offsets, i))) {
        bound->candidate = watermark->candidate;
        bound_ms = candidate_ms;
    } else {
        bound_ms = (clock_ms < candidate_ms ? clock_ms : candidate_ms) - 1;
    }
    bound->ms = bound_ms > bound->ms ? bound_ms : bound->ms;
    return bound->candidate == watermark->candidate;
}

/* Lets time come to the candidate, when all partitions have, or else to the least bound. */
static bool come(struct pipeline_watermark *watermark, struct ingest *ingest)
{
    int count = ingest_is_assigned(ingest) ? ingest_partition_count(ingest) : 0;
    int64_t least_ms = count > 0 ? INT64_MAX : 0;
    bool is_all = count > 0;

    for (int i = 0; i < count; i++) {
        is_all = has_come(watermark, ingest, i) && is_all;
        least_ms = watermark->bounds[i].ms < least_ms ? watermark->bounds[i].ms : least_ms;
    }
    if (is_all && watermark->candidate_ms >= watermark->time_ms) {
        watermark->time_ms = watermark->candidate_ms;
        watermark->events = watermark->candidate_events;
    } else if (least_ms > watermark->time_ms && least_ms < watermark->candidate_ms) {
        watermark->time_ms = least_ms;
        watermark->events = UINT64_MAX; /* S is later: there are no others of that moment */
    }
    return is_all;
}

/*
 * In a cluster a user's events lie in partitions of one number, so his time is theirs: one that lags holds nobody else back, and whoever
 * takes it over goes on from where it is. It is 0 while one of that number is not owned; one that is and cannot be read yet, as it has no
 * leader, stays where it was. Of a number that is owned all topics' partitions are known.
 */
static bool come_apart(struct pipeline_watermark *watermark, struct ingest *ingest)
{
    int count = ingest_partition_count(ingest);
    bool is_all = count > 0;

    for (int i = 0; i < PIPELINE_CLUSTER_PARTITIONS_MAX; i++)
        watermark->shares[i] = INT64_MAX;
    for (int i = 0; i < count; i++) {
        struct ingest_partition partition = ingest_partition_at(ingest, i);
        int64_t bound_ms;

        if (partition.number >= PIPELINE_CLUSTER_PARTITIONS_MAX)
            continue; /* more than a cluster takes: it says so, and ends */
        if (partition.is_owned)
            is_all = has_come(watermark, ingest, i) && is_all;
        bound_ms = partition.is_owned ? watermark->bounds[i].ms : 0;
        if (bound_ms < watermark->shares[partition.number])
            watermark->shares[partition.number] = bound_ms;
    }
    for (int i = 0; i < PIPELINE_CLUSTER_PARTITIONS_MAX; i++)
        if (watermark->shares[i] == INT64_MAX)
            watermark->shares[i] = 0;
    return is_all;
}

/* A later S to come to, once the rows that were answered before it are where they can be read. */
static void choose_candidate(struct pipeline_watermark *watermark, int64_t now_ms)
{
    watermark->candidate++;
    watermark->candidate_ms = pipeline_stream__time(watermark->stream); /* first: all that made it S is among the events */
    watermark->candidate_events = learner_join_events(watermark->join);
    watermark->candidate_puts = pipeline_served_log__puts(watermark->served_log);
    watermark->candidate_at_ms = INT64_MAX;
    watermark->candidate_since_ms = now_ms;
}

/* Where somebody waits for it, end offsets are asked for at once, and not only when ingest does by itself. */
static void ask(struct pipeline_watermark *watermark, struct ingest *ingest, int64_t now_ms)
{
    if (watermark->asked_at_ms > watermark->candidate_at_ms || now_ms - watermark->asked_at_ms < ASK_MS)
        return;
    watermark->asked_at_ms = now_ms;
    ingest_ask(ingest);
}

/* Whether a label waits for the candidate, or a session for the step that it is in. */
static bool is_due(const struct pipeline_watermark *watermark)
{
    int64_t step_ms = watermark->candidate_ms - watermark->candidate_ms % LEARNER_STEP_MS;

    return learner_join_is_due(watermark->join, watermark->candidate_ms, watermark->candidate_events) ||
           (watermark->sessions && learner_sessions_is_due(watermark->sessions, step_ms));
}

bool pipeline_watermark__look(struct pipeline_watermark *watermark)
{
    struct ingest *ingest = atomic_load_explicit(&watermark->ingest, memory_order_acquire);
    int64_t now_ms = fr_clock_monotonic_ms();
    bool is_waited_for;

    if (!ingest)
        return false;
    is_waited_for = is_due(watermark);
    if (!is_waited_for || now_ms - watermark->candidate_since_ms > CANDIDATE_MS) {
        choose_candidate(watermark, now_ms);
        is_waited_for = is_due(watermark);
    }
    if (watermark->candidate_at_ms == INT64_MAX) {
        if (!pipeline_served_log__is_settled(watermark->served_log, watermark->candidate_puts))
            return is_waited_for;
        watermark->candidate_at_ms = now_ms;
    }
    if (watermark->is_sharing ? come_apart(watermark, ingest) : come(watermark, ingest))
        choose_candidate(watermark, now_ms);
    else if (is_waited_for)
        ask(watermark, ingest, now_ms);
    return is_waited_for;
}
