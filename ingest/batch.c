/*
 * A batch in the making: records are judged one by one; events go to the sink, the rest to the dead letters, and for every
 * partition touched there is one advance. What librdkafka says between records is position, too: the end of a partition lies behind
 * control records that nobody is handed, and an offset that the broker does not have sends the partition back to the helper. So does a
 * record that was applied and is another now: librdkafka 2.0.2 tells neither topic ids nor leader epochs, and would read on from the
 * old offset in a topic that was made anew.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>
#include <freshet/text.h>

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMORY_MS = 20, SERVED_ATTEMPTS = 3 };

bool ingest_draft__init(struct ingest_draft *draft, int capacity, bool has_tables)
{
    size_t count = (size_t)capacity;

    *draft = (struct ingest_draft){.capacity = capacity};
    draft->events = calloc(count, sizeof *draft->events);
    draft->offsets = calloc(count, sizeof *draft->offsets);
    draft->partitions = calloc(count, sizeof *draft->partitions);
    draft->served = calloc(count, sizeof *draft->served);
    draft->rows = has_tables ? calloc(count, sizeof *draft->rows) : NULL;
    draft->advances = calloc(count, sizeof *draft->advances);
    draft->touched = calloc(count, sizeof *draft->touched);
    draft->latest = calloc(count, sizeof *draft->latest);
    draft->lost = calloc(count, sizeof *draft->lost);
    return draft->events && draft->offsets && draft->partitions && draft->served && draft->advances && draft->touched &&
           draft->latest && draft->lost && (draft->rows || !has_tables);
}

void ingest_draft__fini(struct ingest_draft *draft)
{
    free(draft->events);
    free(draft->offsets);
    free(draft->partitions);
    free(draft->served);
    free(draft->rows);
    free(draft->advances);
    free(draft->touched);
    free(draft->latest);
    free(draft->lost);
}

void ingest_draft__clear(struct ingest_draft *draft)
{
    for (int i = 0; i < draft->advance_count; i++)
        draft->touched[i]->advance = NULL;
    draft->event_count = 0;
    draft->served_count = 0;
    draft->row_count = 0;
    draft->advance_count = 0;
    draft->lost_count = 0;
}

void ingest_draft__advance(struct ingest_draft *draft, struct ingest_part *part, int64_t next_offset,
                           const rd_kafka_message_t *record)
{
    if (!part->advance) {
        assert(draft->advance_count < draft->capacity);
        draft->touched[draft->advance_count] = part;
        draft->latest[draft->advance_count] = NULL;
        part->advance = &draft->advances[draft->advance_count++];
        *part->advance = (struct ingest_advance){.partition = part->index, .kafka_ts_ms = -1, .kafka_ts_most_ms = -1};
    }
    part->next_offset = next_offset;
    part->advance->next_offset = next_offset;
    if (record)
        draft->latest[part->advance - draft->advances] = record;
}

void ingest_draft__count(struct ingest_part *part, const rd_kafka_message_t *record)
{
    struct ingest_advance *advance = part->advance;
    rd_kafka_timestamp_type_t kind;

    advance->records++;
    advance->kafka_ts_ms = rd_kafka_message_timestamp(record, &kind);
    if (advance->kafka_ts_ms > advance->kafka_ts_most_ms)
        advance->kafka_ts_most_ms = advance->kafka_ts_ms;
}

struct ingest_mark ingest_mark__of(const rd_kafka_message_t *record)
{
    rd_kafka_timestamp_type_t kind;
    uint64_t seed = (uint64_t)rd_kafka_message_timestamp(record, &kind);

    if (record->key_len > 0)
        seed = fr_text_hash(record->key, record->key_len, seed);
    return (struct ingest_mark){.offset = record->offset, .hash = fr_text_hash(record->payload, record->len, seed)};
}

void ingest_draft__mark(struct ingest_draft *draft)
{
    for (int i = 0; i < draft->advance_count; i++) {
        if (draft->latest[i])
            draft->touched[i]->last = ingest_mark__of(draft->latest[i]);
        draft->advances[i].last = draft->touched[i]->last;
    }
}

static struct ingest_part *find_part(const struct ingest_lane *lane, const rd_kafka_message_t *message)
{
    const struct ingest_source *source = message->rkt ? rd_kafka_topic_opaque(message->rkt) : NULL;

    if (!source || message->partition < 0 || message->partition >= lane->part_counts[source->index])
        return NULL;
    return lane->parts[source->index][message->partition];
}

static void log_trouble(struct ingest_lane *lane, const rd_kafka_message_t *message)
{
    static struct fr_log_place place;
    char labels[80];

    snprintf(labels, sizeof labels, "error=\"%s\"", rd_kafka_err2name(message->err));
    fr_counter_add(fr_metrics_counter(lane->ingest->options.metrics, "freshet_ingest_errors_total", labels,
                                      "What the Kafka client reported while fetching"),
                   1);
    fr_log_limited(&place, 10, FR_LOG_WARN, "ingest", "%s [%" PRId32 "]: %s",
                   message->rkt ? rd_kafka_topic_name(message->rkt) : "?", message->partition,
                   rd_kafka_message_errstr(message));
}

static int64_t until_stop(const struct ingest_part *part, int64_t offset)
{
    return part->stop_offset >= 0 && part->stop_offset < offset ? part->stop_offset : offset;
}

static void lose(struct ingest_lane *lane, struct ingest_part *part)
{
    if (!part || !part->is_consuming)
        return;
    part->is_consuming = false;
    lane->draft.lost[lane->draft.lost_count++] = part;
}

static void take_report(struct ingest_lane *lane, struct ingest_part *part, const rd_kafka_message_t *message)
{
    switch (message->err) {
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
        if (part && part->is_consuming && message->offset > part->next_offset)
            ingest_draft__advance(&lane->draft, part, until_stop(part, message->offset), NULL);
        break;
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
        lose(lane, part);
        break;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
        log_trouble(lane, message);
        lose(lane, part); /* when it is there again, it may be another one */
        break;
    default:
        log_trouble(lane, message);
    }
}

static bool post_letter(struct ingest_lane *lane, const struct ingest_part *part, const rd_kafka_message_t *message,
                        enum proto_verdict verdict, const struct fr_err *why)
{
    struct ingest_letter_draft letter = {.topic = part->source->name,
                                         .partition = part->number,
                                         .offset = message->offset,
                                         .key = fr_slice(message->key, message->key_len),
                                         .value = fr_slice(message->payload, message->len),
                                         .verdict = verdict,
                                         .why = why->message};

    return ingest_letters__post(lane->ingest->letters, &letter, lane->ingest->stop);
}

/* The record that was applied last comes first again: whether it is still that one. */
static void check_last(struct ingest_lane *lane, struct ingest_part *part, const rd_kafka_message_t *message)
{
    if (message->offset < part->last.offset || (message->err && message->err != RD_KAFKA_RESP_ERR__PARTITION_EOF))
        return;
    part->is_checking = false;
    if (message->err || message->offset > part->last.offset) {
        fr_log(FR_LOG_WARN, "ingest",
               "%s [%" PRId32 "]: the record at offset %" PRId64 ", applied last, is gone, so whether the topic was made anew "
               "cannot be told; going on (a compacted topic loses records)",
               part->source->name, part->number, part->last.offset);
    } else if (ingest_mark__of(message).hash != part->last.hash) {
        part->is_changed = true;
        lose(lane, part);
    }
}

/* In a cluster a user's events are where his state is. */
static enum proto_verdict judge_partition(const struct ingest_part *part, const struct proto_event *event, struct fr_err *why)
{
    int32_t own = ingest_partition_of(event->user_id, part->source->partition_count);

    if (own == part->number)
        return PROTO_EVENT;
    (void)fr_fail(why, FR_BAD_INPUT,
                  "user_id %" PRIu64 " belongs to partition %" PRId32 "; key by user_id in decimal, with partitioner murmur2",
                  event->user_id, own);
    return PROTO_WRONG_PARTITION;
}

/* Into the draft, when it is worth it. */
static enum proto_verdict read_event(struct ingest_lane *lane, const struct ingest_part *part,
                                     const rd_kafka_message_t *message, int64_t future_ms, struct fr_err *why)
{
    struct ingest_draft *draft = &lane->draft;
    struct proto_event *event = &draft->events[draft->event_count];
    enum proto_verdict verdict =
        proto_event_read(part->source->format, fr_slice(message->payload, message->len), future_ms, lane->scratch, event, why);

    if (lane->ingest->options.is_keyed && verdict == PROTO_EVENT && event->user_id != 0)
        verdict = judge_partition(part, event, why);
    if (verdict == PROTO_EVENT) {
        draft->offsets[draft->event_count] = message->offset;
        draft->partitions[draft->event_count] = part->index;
        draft->event_count++;
    }
    return verdict;
}

static enum proto_verdict read_served(struct ingest_lane *lane, const struct ingest_part *part,
                                      const rd_kafka_message_t *message, int64_t future_ms, struct fr_err *why)
{
    struct ingest_draft *draft = &lane->draft;
    struct ingest_served *served = &draft->served[draft->served_count];
    enum proto_verdict verdict =
        proto_served_read(fr_slice(message->payload, message->len), future_ms, lane->scratch, &served->rows, why);

    served->partition = part->index;
    draft->served_count += verdict == PROTO_EVENT;
    return verdict;
}

static enum proto_verdict read_table(struct ingest_lane *lane, const struct ingest_part *part,
                                     const rd_kafka_message_t *message, struct fr_err *why)
{
    struct ingest_draft *draft = &lane->draft;
    struct ingest_row *row = &draft->rows[draft->row_count];
    enum proto_verdict verdict = proto_table_read(part->source->table, fr_slice(message->key, message->key_len),
                                                  fr_slice(message->payload, message->len), lane->scratch, &row->row, why);

    row->table = part->source->table_number;
    draft->row_count += verdict == PROTO_EVENT;
    return verdict;
}

static enum proto_verdict read_record(struct ingest_lane *lane, const struct ingest_part *part,
                                      const rd_kafka_message_t *message, int64_t future_ms, struct fr_err *why)
{
    if (part->source->table)
        return read_table(lane, part, message, why);
    return part->source->is_served ? read_served(lane, part, message, future_ms, why)
                                   : read_event(lane, part, message, future_ms, why);
}

/* No fault of the record's: the source slows down until there is memory again. False when the lanes are to stop. */
static bool wait_for_memory(struct ingest_lane *lane, const struct fr_err *why)
{
    static struct fr_log_place place;
    void *nothing;

    fr_log_limited(&place, 6, FR_LOG_WARN, "ingest", "%s; the record is read again", why->message);
    (void)fr_queue_receive(lane->ingest->stop, &nothing, MEMORY_MS);
    return !fr_queue_is_closed(lane->ingest->stop);
}

static bool take_record(struct ingest_lane *lane, struct ingest_part *part, const rd_kafka_message_t *message,
                        int64_t future_ms)
{
    struct ingest_draft *draft = &lane->draft;
    struct fr_err why = {.message = ""};
    enum proto_verdict verdict;

    for (int attempt = 1;; attempt++) {
        verdict = read_record(lane, part, message, future_ms, &why);
        /* Scratch has room for what any batch of events takes; but served rows may be made to take more than all of it. */
        if (verdict < PROTO_EMPTY || why.code != FR_EXHAUSTED || (part->source->is_served && attempt == SERVED_ATTEMPTS))
            break;
        if (!wait_for_memory(lane, &why))
            return false;
    }
    if (verdict >= PROTO_EMPTY && !post_letter(lane, part, message, verdict, &why))
        return false;
    draft->outcomes[verdict]++;
    ingest_draft__advance(draft, part, message->offset + 1, message);
    if (verdict != PROTO_CANARY)
        ingest_draft__count(part, message);
    return true;
}

static int64_t latest_allowed_ms(const struct ingest *ingest)
{
    return ingest->options.max_future_ms < 0 ? INT64_MAX : fr_clock_wall_ms() + ingest->options.max_future_ms;
}

/* Once a batch: lanes that add to one counter for every record wait for each other's cache line. */
static void count_outcomes(struct ingest_lane *lane)
{
    for (int verdict = 0; verdict < PROTO_VERDICTS; verdict++)
        if (lane->draft.outcomes[verdict] > 0)
            fr_counter_add(lane->ingest->outcomes[verdict], lane->draft.outcomes[verdict]);
    memset(lane->draft.outcomes, 0, sizeof lane->draft.outcomes);
}

int ingest_draft__fill(struct ingest_lane *lane, rd_kafka_message_t **messages, int count)
{
    int64_t future_ms = latest_allowed_ms(lane->ingest);
    size_t bytes = 0;
    int taken = 0;

    assert(count <= lane->draft.capacity);
    while (taken < count && bytes < INGEST_BATCH_BYTES) {
        const rd_kafka_message_t *message = messages[taken++];
        struct ingest_part *part = find_part(lane, message);

        if (part && part->is_consuming && part->is_checking) /* in this order: else the part is the helper's */
            check_last(lane, part, message);
        if (message->err) {
            take_report(lane, part, message);
        } else if (part && part->is_consuming &&
                   message->offset >= part->next_offset) { /* never twice, never from before a restart */
            if (until_stop(part, message->offset + 1) <= message->offset) { /* behind what compaction took, perhaps */
                ingest_draft__advance(&lane->draft, part, part->stop_offset, NULL);
                continue;
            }
            bytes += message->len;
            if (!take_record(lane, part, message, future_ms))
                return -1;
        }
    }
    count_outcomes(lane);
    return taken;
}
