/*
 * Tails. The end that is asked for includes what open transactions have written, since one of them may still be committed; reading
 * shows committed records only and stands still before an open one. So whoever came to that end has all that anybody wrote before he
 * asked.
 */
#include "group_internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { ASK_MS = 2000, LOOK_MS = 100, QUIET_MS = 5000, QUIET_ASK_MS = 300, MESSAGES_MAX = 1024 };

struct part {
    int32_t number;
    int64_t next, end;
    bool is_at_end; /* of what is committed there is no more now */
    bool is_left;
    int64_t quiet_next; /* `next` when it was last found to have records after it; −1: it had none */
};

struct ingest_tail {
    rd_kafka_t *client;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *queue;
    struct part *parts;
    int count;
    int *index_of; /* by partition number */
    int32_t number_most;
    rd_kafka_message_t *messages[MESSAGES_MAX]; /* of the last read */
    ssize_t message_count;
    struct ingest_fetched fetched; /* into `queue` */
    int64_t quiet_due_ms; /* when to look for parts that stand still */
    bool was_drained; /* since the last look all that was fetched had been read once */
};

static bool place(const char *topic, struct part *part, int64_t low, int64_t end, struct fr_err *err)
{
    part->next = part->next < 0 ? low : part->next;
    part->end = end;
    return part->next >= low && part->next <= end
               ? true
               : fr_fail(err, FR_CORRUPT,
                         "cluster: '%s' [%" PRId32 "] goes from %" PRId64 " to %" PRId64 " and was read up to %" PRId64
                         ": this store has been away for too long, or the topic is another; start with an empty store.path",
                         topic, part->number, low, end, part->next);
}

static bool start(struct ingest_tail *tail, const struct part *part, struct fr_err *err)
{
    return rd_kafka_consume_start_queue(tail->topic, part->number, part->next, tail->queue) == 0 ||
           fr_fail(err, FR_UNAVAILABLE, "cluster: cannot read '%s' [%" PRId32 "]: %s", rd_kafka_topic_name(tail->topic),
                   part->number, rd_kafka_err2str(rd_kafka_last_error()));
}

static bool start_all(struct ingest_tail *tail, struct fr_err *err)
{
    for (int i = 0; i < tail->count; i++) {
        tail->index_of[tail->parts[i].number] = i;
        if (!start(tail, &tail->parts[i], err))
            return false;
    }
    return true;
}

/*
 * librdkafka asks the leader that it knows, and of a topic that its client does not read it never hears of another: without this question
 * a broker that is dead is asked until it comes back (measured).
 */
static bool find_leaders(rd_kafka_t *client, const char *topic, struct fr_err *err)
{
    struct ingest_topic_state state = {.name = topic};

    return (ingest_topic__find(client, &state, 1, false) && state.found == INGEST_TOPIC_FOUND) ||
           fr_fail(err, FR_UNAVAILABLE, "cluster: no broker says who leads the partitions of '%s'", topic);
}

/* By who sees open transactions too. */
bool ingest_group_marks(struct ingest_group *group, const char *topic, const int32_t *partitions, int count, int64_t *lows,
                        int64_t *ends, struct fr_err *err)
{
    if (!find_leaders(group->member, topic, err))
        return false;
    if (ingest_marks__ask(group->member, topic, partitions, count, RD_KAFKA_OFFSET_END, ASK_MS, ends, err) &&
        ingest_marks__ask(group->member, topic, partitions, count, RD_KAFKA_OFFSET_BEGINNING, ASK_MS, lows, err))
        return true;
    return fr_fail_in(err, "cluster");
}

static bool place_all(struct ingest_tail *tail, struct ingest_group *group, const struct ingest_tail_options *options,
                      struct fr_err *err)
{
    int64_t *lows = calloc((size_t)options->count + 1, sizeof *lows), *ends = calloc((size_t)options->count + 1, sizeof *ends);
    bool ok = lows && ends ? ingest_group_marks(group, options->topic, options->partitions, options->count, lows, ends, err)
                           : fr_fail(err, FR_EXHAUSTED, "cluster: out of memory");

    for (int i = 0; i < options->count && ok; i++) {
        struct part *part = &tail->parts[i];

        *part = (struct part){.number = options->partitions[i], .next = options->starts[i], .quiet_next = -1};
        ok = place(options->topic, part, lows[i], ends[i], err);
        tail->number_most = part->number > tail->number_most ? part->number : tail->number_most;
    }
    free(lows);
    free(ends);
    return ok;
}

static bool make(struct ingest_tail *tail, struct ingest_group *group, const struct ingest_tail_options *options,
                 struct fr_err *err)
{
    struct ingest_client client = {.role = INGEST_CONSUMER,
                                   .brokers = group->options.brokers,
                                   .properties = group->options.properties,
                                   .property_count = group->options.property_count,
                                   .queue_bytes = options->queue_bytes,
                                   .wait_ms = options->wait_ms};

    tail->parts = calloc((size_t)options->count + 1, sizeof *tail->parts);
    if (!tail->parts)
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory");
    if (!place_all(tail, group, options, err))
        return false;
    tail->index_of = calloc((size_t)tail->number_most + 1, sizeof *tail->index_of);
    if (!tail->index_of)
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory");
    if (!ingest_client__new(&client, &tail->client, err))
        return false;
    tail->queue = rd_kafka_queue_new(tail->client);
    tail->topic = rd_kafka_topic_new(tail->client, options->topic, NULL);
    if (!tail->topic)
        return fr_fail(err, FR_BAD_CONFIG, "cluster: '%s' cannot be the name of a topic", options->topic);
    tail->count = options->count;
    tail->fetched.queue_bytes = options->queue_bytes;
    tail->quiet_due_ms = fr_clock_monotonic_ms() + QUIET_MS;
    return start_all(tail, err);
}

bool ingest_tail_open(struct ingest_group *group, const struct ingest_tail_options *options, struct ingest_tail **ret,
                      struct fr_err *err)
{
    struct ingest_tail *tail = calloc(1, sizeof *tail);

    if (!tail)
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory");
    if (make(tail, group, options, err)) {
        *ret = tail;
        return true;
    }
    ingest_tail_close(tail);
    return false;
}

static void let_go(struct ingest_tail *tail)
{
    for (ssize_t i = 0; i < tail->message_count; i++)
        rd_kafka_message_destroy(tail->messages[i]);
    tail->message_count = 0;
}

/* True: it is a record. */
static bool take(struct ingest_tail *tail, const rd_kafka_message_t *message, struct ingest_tailed *record, bool *is_gone)
{
    struct part *part = &tail->parts[tail->index_of[message->partition]];

    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && message->offset > part->next)
        part->next = message->offset;
    /* An end is told once: another error does not undo it. */
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF || !message->err)
        part->is_at_end = message->err != RD_KAFKA_RESP_ERR_NO_ERROR;
    *is_gone = *is_gone || (message->err == RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET && !part->is_left);
    if (message->err || message->offset < part->next || part->is_left)
        return false;
    part->next = message->offset + 1;
    *record = (struct ingest_tailed){.index = tail->index_of[message->partition],
                                     .offset = message->offset,
                                     .key = fr_slice(message->key, message->key_len),
                                     .value = fr_slice(message->payload, message->len)};
    return true;
}

/* Up to where committed records are, as far as brokers say so in time. The caller's. */
static rd_kafka_topic_partition_list_t *ask_ends(const struct ingest_tail *tail, int timeout_ms)
{
    rd_kafka_topic_partition_list_t *ends = rd_kafka_topic_partition_list_new(tail->count);

    for (int i = 0; i < tail->count; i++)
        if (!tail->parts[i].is_left)
            rd_kafka_topic_partition_list_add(ends, rd_kafka_topic_name(tail->topic), tail->parts[i].number)->offset =
                RD_KAFKA_OFFSET_END;
    (void)rd_kafka_offsets_for_times(tail->client, ends, timeout_ms);
    return ends;
}

/* The answer does not matter. */
static void ask_for_more(struct ingest_tail *tail)
{
    if (ingest_fetched__is_hungry(&tail->fetched, tail->queue))
        rd_kafka_topic_partition_list_destroy(ask_ends(tail, LOOK_MS));
}

static bool look_whether_quiet(const struct ingest_tail *tail, struct part *part, int64_t end)
{
    bool has_more = end > part->next, is_quiet = has_more && part->quiet_next == part->next && tail->was_drained;

    part->quiet_next = has_more ? part->next : -1;
    return is_quiet;
}

static void start_again(struct ingest_tail *tail, const struct part *part)
{
    struct fr_err err;

    fr_log(FR_LOG_WARN, "cluster", "'%s' [%" PRId32 "] has records after offset %" PRId64 " and gives none: starting it again",
           rd_kafka_topic_name(tail->topic), part->number, part->next);
    rd_kafka_consume_stop(tail->topic, part->number);
    if (!start(tail, part, &err))
        fr_log(FR_LOG_WARN, "cluster", "%s", err.message); /* it stays quiet */
}

/* As in lane.c: a fetcher of librdkafka that forgot a partition when leaders changed does not find it again. */
static void restart_quiet(struct ingest_tail *tail)
{
    rd_kafka_topic_partition_list_t *ends;
    bool is_any_unknown = false;
    struct fr_err err;

    tail->was_drained = tail->was_drained || rd_kafka_queue_length(tail->queue) == 0;
    if (fr_clock_monotonic_ms() < tail->quiet_due_ms)
        return;
    ends = ask_ends(tail, QUIET_ASK_MS);
    for (int i = 0; i < ends->cnt; i++) {
        struct part *part = &tail->parts[tail->index_of[ends->elems[i].partition]];
        int64_t end = ends->elems[i].err ? -1 : ends->elems[i].offset;

        is_any_unknown = is_any_unknown || end < 0;
        if (look_whether_quiet(tail, part, end))
            start_again(tail, part);
    }
    if (is_any_unknown)
        (void)find_leaders(tail->client, rd_kafka_topic_name(tail->topic), &err); /* there may be another by now */
    rd_kafka_topic_partition_list_destroy(ends);
    tail->was_drained = false;
    tail->quiet_due_ms = fr_clock_monotonic_ms() + QUIET_MS;
}

int ingest_tail_read(struct ingest_tail *tail, struct ingest_tailed *records, int most, int timeout_ms, struct fr_err *err)
{
    size_t room = most < MESSAGES_MAX ? (size_t)most : MESSAGES_MAX;
    bool is_gone = false;
    ssize_t more;
    int count = 0;

    let_go(tail);
    ask_for_more(tail);
    restart_quiet(tail);
    tail->message_count = rd_kafka_consume_batch_queue(tail->queue, timeout_ms, tail->messages, 1);
    if (tail->message_count < 1) {
        tail->message_count = 0;
        return 0;
    }
    more = rd_kafka_consume_batch_queue(tail->queue, 0, tail->messages + 1, room - 1);
    tail->message_count += more > 0 ? more : 0;
    ingest_fetched__take(&tail->fetched, tail->messages, tail->message_count);
    for (ssize_t i = 0; i < tail->message_count; i++)
        count += take(tail, tail->messages[i], &records[count], &is_gone);
    if (!is_gone)
        return count;
    fr_fail(err, FR_CORRUPT, "cluster: '%s' lost records before they were read; start with an empty store.path",
            rd_kafka_topic_name(tail->topic));
    return -1;
}

int64_t ingest_tail_next(const struct ingest_tail *tail, int index)
{
    return tail->parts[index].next;
}

int64_t ingest_tail_end(const struct ingest_tail *tail, int index)
{
    int64_t low, end;

    return rd_kafka_get_watermark_offsets(tail->client, rd_kafka_topic_name(tail->topic), tail->parts[index].number, &low,
                                          &end) == RD_KAFKA_RESP_ERR_NO_ERROR
               ? end
               : -1;
}

int64_t ingest_tail_aim(const struct ingest_tail *tail, int index)
{
    return tail->parts[index].end;
}

uint64_t ingest_tail_lag(const struct ingest_tail *tail)
{
    uint64_t lag = 0;

    for (int i = 0; i < tail->count; i++)
        lag += ingest_tail_has_ended(tail, i) ? 0 : (uint64_t)(tail->parts[i].end - tail->parts[i].next);
    return lag;
}

bool ingest_tail_has_ended(const struct ingest_tail *tail, int index)
{
    return tail->parts[index].is_left || tail->parts[index].next >= tail->parts[index].end;
}

void ingest_tail_leave(struct ingest_tail *tail, int index)
{
    if (!tail->parts[index].is_left)
        rd_kafka_consume_stop(tail->topic, tail->parts[index].number);
    tail->parts[index].is_left = true;
}

bool ingest_tail_is_waiting(const struct ingest_tail *tail, int index)
{
    return tail->parts[index].is_at_end && !ingest_tail_has_ended(tail, index);
}

bool ingest_tail_is_behind(const struct ingest_tail *tail, int index)
{
    return tail->parts[index].is_at_end && tail->parts[index].next < ingest_tail_end(tail, index);
}

bool ingest_tail_is_through(const struct ingest_tail *tail)
{
    return ingest_tail_lag(tail) == 0;
}

void ingest_tail_close(struct ingest_tail *tail)
{
    if (!tail)
        return;
    let_go(tail);
    for (int i = 0; i < tail->count; i++)
        ingest_tail_leave(tail, i);
    if (tail->topic)
        rd_kafka_topic_destroy(tail->topic);
    if (tail->queue)
        rd_kafka_queue_destroy(tail->queue);
    if (tail->client)
        rd_kafka_destroy(tail->client);
    free(tail->parts);
    free(tail->index_of);
    free(tail);
}
