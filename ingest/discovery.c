/*
 * Which topics there are and how many partitions they have: asked until all are found, then every now and then, because partitions
 * are added. What is missing and may be made is made. Runs in the helper.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { SOON_MS = 500 };

static bool open_handle(struct ingest *ingest, struct ingest_source *source)
{
    rd_kafka_topic_conf_t *conf = rd_kafka_default_topic_conf_dup(ingest->consumer);

    rd_kafka_topic_conf_set_opaque(conf, source);
    source->handle = rd_kafka_topic_new(ingest->consumer, source->name, conf);
    return source->handle != NULL;
}

static struct ingest_part *new_part(struct ingest *ingest, struct ingest_source *source, int32_t number)
{
    struct ingest_part *part = calloc(1, sizeof *part);

    if (!part)
        return NULL;
    part->source = source;
    part->number = number;
    part->mail = (struct ingest_mail){.kind = INGEST_MAIL_LOST, .part = part};
    part->place = (struct ingest_order){.part = part};
    part->doubt = (struct ingest_order){.part = part, .is_doubt = true};
    part->release = (struct ingest_order){.part = part, .is_release = true};
    atomic_init(&part->is_owned, !ingest->options.is_sharing);
    atomic_init(&part->is_given, false);
    part->is_waiting = true;
    part->stop_offset = -1;
    part->is_late = source->is_made_here || source->partition_count > 0;
    part->lane = ingest_parts__count(&ingest->parts) % ingest->options.lanes;
    part->seen = (struct ingest_partition){.topic = source->name, .number = number, .low = -1, .end = -1, .stop = -1};
    part->seen.is_owned = !ingest->options.is_sharing;
    return part;
}

/* *is_answered: false when Kafka did not say where the group is; it is asked again. */
static bool add_part(struct ingest *ingest, struct ingest_source *source, int32_t number, bool *is_answered)
{
    const struct ingest_sink *sink = &ingest->options.sink;
    int64_t told = -1;
    struct ingest_part *part = new_part(ingest, source, number), *added = part;
    struct ingest_position position;

    *is_answered = !ingest->options.is_resumed || ingest_commits__ask(&ingest->commits, source->name, number, &told);
    if (!*is_answered || !part || !ingest_parts__add(&ingest->parts, &part)) {
        free(part);
        return false;
    }
    position = sink->start(sink->user, added->index, source->name, number);
    added->next_offset = position.next_offset;
    added->last = position.last;
    if (told > position.next_offset) {
        added->next_offset = told;
        added->last.offset = -1; /* what lies before it was somebody else's to read */
    }
    ingest->helper.marks_due_ms = 0; /* it starts when they are known */
    return true;
}

/* New partitions of one topic. */
static bool take_partitions(struct ingest *ingest, struct ingest_source *source, int count)
{
    bool is_answered = true;
    int found = 0;

    source->missing_since_ms = 0;
    source->was_missing = false;
    if (!source->is_read) {
        source->partition_count = count;
        if (!source->handle)
            source->handle = ingest_topic__prepare(ingest->office, source->name);
        return true;
    }
    if (!source->handle && !open_handle(ingest, source))
        return false;
    if (source->partition_count > 0 && count > source->partition_count)
        fr_log(FR_LOG_INFO, "ingest", "%s has %d partitions now, had %d", source->name, count, source->partition_count);
    for (int number = source->partition_count; number < count; number++, found++)
        if (!add_part(ingest, source, number, &is_answered))
            break;
    source->partition_count += found;
    return source->partition_count >= count || !is_answered;
}

static bool refuse_missing(struct ingest *ingest, struct ingest_source *source, const struct ingest_topic_state *state,
                           struct fr_err *err)
{
    int64_t now_ms = fr_clock_monotonic_ms();

    if (source->missing_since_ms == 0)
        source->missing_since_ms = now_ms;
    if (now_ms - source->missing_since_ms < INGEST_MISSING_MS)
        return true;
    if (state->found == INGEST_TOPIC_DENIED)
        return fr_fail(err, FR_BAD_CONFIG, "kafka: topic '%s' may not be read at %s; grant this client DESCRIBE and READ on it",
                       source->name, ingest->options.brokers);
    return fr_fail(err, FR_BAD_CONFIG, "kafka: topic '%s' does not exist at %s; create it or give partitions", source->name,
                   ingest->options.brokers);
}

static bool make(struct ingest *ingest, struct ingest_source *source)
{
    static struct fr_log_place place;
    struct ingest_topic_wanted wanted = {
        .name = source->name, .partitions = source->partitions_wanted, .is_compacted = source->table != NULL};
    struct fr_err err;

    if (wanted.partitions == INGEST_LIKE_FIRST)
        wanted.partitions = ingest->sources[0].partition_count;
    if (wanted.partitions == 0)
        return false; /* the first one is not found yet; it will be asked again */
    if (ingest_topic__create(ingest->office, &wanted, ingest->helper.is_mock, ingest->stop, &err)) {
        source->is_made_here = true;
        fr_log(FR_LOG_INFO, "ingest", "made topic '%s'", source->name);
        return true;
    }
    fr_log_limited(&place, 6, FR_LOG_WARN, "ingest", "%s", err.message);
    return false;
}

/* False is fatal: a topic that must exist does not. Dead letters are never fatal: they wait. */
static bool take_state(struct ingest *ingest, struct ingest_source *source, const struct ingest_topic_state *state,
                       struct fr_err *err)
{
    static struct fr_log_place place;

    switch (state->found) {
    case INGEST_TOPIC_FOUND:
        if (ingest->options.is_sharing && source->is_read && source->partition_count > 0 &&
            state->partitions > source->partition_count)
            return fr_fail(
                err, FR_BAD_CONFIG,
                "cluster: '%s' has %d partitions now and had %d; a cluster's users stay with their partition, so they "
                "cannot be added: name another kafka.group and start with an empty store.path",
                source->name, state->partitions, source->partition_count);
        if (take_partitions(ingest, source, state->partitions))
            return true;
        return fr_fail(err, FR_EXHAUSTED, "ingest: out of memory for the partitions of '%s'", source->name);
    case INGEST_TOPIC_MISSING:
        if (source->partition_count > 0 && source->is_read) {
            fr_log_limited(&place, 6, FR_LOG_WARN, "ingest", "topic '%s' is gone from %s", source->name,
                           ingest->options.brokers);
            if (!source->was_missing)
                ingest_helper__doubt_all(ingest, source); /* if it comes back, its records will show whether it is the same */
            source->was_missing = true;
            return true;
        }
        if (source->partitions_wanted != 0) {
            (void)make(ingest, source);
            return true;
        }
        return refuse_missing(ingest, source, state, err);
    case INGEST_TOPIC_DENIED:
        return !source->is_read || source->partition_count > 0 || refuse_missing(ingest, source, state, err);
    case INGEST_TOPIC_UNKNOWN:
        break;
    }
    return true;
}

static bool is_all_found(const struct ingest *ingest)
{
    for (int i = 0; i < ingest->source_count; i++)
        if (ingest->sources[i].is_read && ingest->sources[i].partition_count == 0)
            return false;
    return true;
}

static bool is_anything_missing(const struct ingest *ingest)
{
    for (int i = 0; i < ingest->source_count; i++)
        if (ingest->sources[i].partition_count == 0)
            return true;
    return false;
}

bool ingest_discovery__refresh(struct ingest *ingest, struct fr_err *err)
{
    struct ingest_helper *helper = &ingest->helper;
    struct ingest_topic_state states[INGEST_SOURCES_MAX] = {{0}};
    bool is_answered;

    for (int i = 0; i < ingest->source_count; i++)
        states[i].name = ingest->sources[i].name;
    is_answered = ingest_topic__find(ingest->consumer, states, ingest->source_count, is_anything_missing(ingest));
    if (is_answered && !ingest_helper__check_cluster(helper, err))
        return false;
    for (int i = 0; i < ingest->source_count && is_answered; i++)
        if (!take_state(ingest, &ingest->sources[i], &states[i], err))
            return false;
    if (is_all_found(ingest))
        ingest_parts__set_complete(&ingest->parts);
    else
        ingest_parts__set_connected(&ingest->parts, is_answered);
    helper->topics_due_ms =
        fr_clock_monotonic_ms() + (is_answered && is_all_found(ingest) ? helper->topics_interval_ms : SOON_MS);
    return true;
}
