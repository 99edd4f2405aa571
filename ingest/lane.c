/*
 * A lane: a thread with a queue of fetched records, that makes batches of them and hands these to the sink. Not polling is the back
 * pressure: librdkafka stops fetching while the queue is full.
 *
 * rd_kafka_consume_batch_queue() returns when the batch is full or the time is up, and not when there is something: so one record
 * is awaited, and what else is there is taken with it at once (2.6 million records a second, against 2.0 by events or callbacks;
 * nothing waits for a batch to fill).
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/fault.h>
#include <freshet/log.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { POLL_MS = 50, PAUSE_MS_LEAST = 5, PAUSE_MS_MOST = 200, MAIL_MS = 50 };

/* False when the lanes are to stop. */
static bool pause_for(struct ingest *ingest, int ms)
{
    void *nothing;

    (void)fr_queue_receive(ingest->stop, &nothing, ms);
    return !fr_queue_is_closed(ingest->stop);
}

static void send_mail(struct ingest_lane *lane, struct ingest_mail *mail)
{
    void *message = mail;

    while (!fr_queue_send(lane->ingest->helper.mail, &message, MAIL_MS) && !fr_queue_is_closed(lane->ingest->helper.mail))
        ;
}

/* Hands the draft over, as often as the sink is exhausted. False when the lanes stop. */
static bool deliver(struct ingest_lane *lane)
{
    const struct ingest_sink *sink = &lane->ingest->options.sink;
    struct ingest_draft *draft = &lane->draft;
    struct ingest_batch batch = {.lane = lane->number,
                                 .events = draft->events,
                                 .offsets = draft->offsets,
                                 .partitions = draft->partitions,
                                 .event_count = draft->event_count,
                                 .served = draft->served,
                                 .served_count = draft->served_count,
                                 .rows = draft->rows,
                                 .row_count = draft->row_count,
                                 .advances = draft->advances,
                                 .advance_count = draft->advance_count};
    int pause_ms = PAUSE_MS_LEAST;

    if (batch.advance_count == 0)
        return true;
    ingest_draft__mark(draft);
    while (!fr_queue_is_closed(lane->ingest->stop)) {
        if (sink->batch(sink->user, &batch, &lane->err))
            return true;
        if (lane->err.code != FR_EXHAUSTED) {
            send_mail(lane, &lane->failed);
            fr_queue_close(lane->ingest->stop);
            return false;
        }
        if (!pause_for(lane->ingest, pause_ms))
            return false;
        pause_ms = 2 * pause_ms < PAUSE_MS_MOST ? 2 * pause_ms : PAUSE_MS_MOST;
    }
    return false;
}

static bool remember(struct ingest_lane *lane, struct ingest_part *part)
{
    int topic = part->source->index;
    int count = lane->part_counts[topic];

    if (part->number >= count) {
        struct ingest_part **parts = realloc(lane->parts[topic], (size_t)(part->number + 1) * sizeof(struct ingest_part *));

        if (!parts)
            return false;
        while (count <= part->number)
            parts[count++] = NULL;
        lane->parts[topic] = parts;
        lane->part_counts[topic] = count;
    }
    lane->parts[topic][part->number] = part;
    return true;
}

/* Tells the sink where a partition begins, when it does not know, and begins. */
static bool begin(struct ingest_lane *lane, struct ingest_part *part, bool is_again)
{
    rd_kafka_topic_t *handle = part->source->handle;
    int64_t from;

    if (part->needs_telling) {
        ingest_draft__clear(&lane->draft);
        ingest_draft__advance(&lane->draft, part, part->next_offset, NULL);
        if (!deliver(lane))
            return false;
        ingest_draft__clear(&lane->draft);
        part->needs_telling = false;
    }
    if (is_again)
        rd_kafka_consume_stop(handle, part->number);
    if (part->stop_offset >= 0 && part->next_offset >= part->stop_offset)
        return true; /* nothing of it is wanted */
    from = part->is_checking ? part->last.offset : part->next_offset;
    if (!remember(lane, part) || rd_kafka_consume_start_queue(handle, part->number, from, lane->queue) != 0) {
        fr_fail(&lane->err, FR_UNAVAILABLE, "kafka: cannot start %s [%" PRId32 "]: %s", part->source->name, part->number,
                rd_kafka_err2str(rd_kafka_last_error()));
        send_mail(lane, &lane->failed);
        fr_queue_close(lane->ingest->stop);
        return false;
    }
    part->is_consuming = true;
    return true;
}

static bool is_known(const struct ingest_lane *lane, const struct ingest_part *part)
{
    int topic = part->source->index;

    return part->number < lane->part_counts[topic] && lane->parts[topic][part->number] == part;
}

static bool take_orders(struct ingest_lane *lane)
{
    void *message;

    while (fr_queue_receive(lane->orders, &message, 0)) {
        struct ingest_order *order = message;
        struct ingest_part *part = order->part;

        if (fr_queue_is_closed(lane->ingest->stop))
            return false;
        if (!order->is_doubt && !order->is_release && !begin(lane, part, is_known(lane, part)))
            return false;
        if (order->is_release && part->is_consuming)
            rd_kafka_consume_stop(part->source->handle, part->number);
        if ((order->is_doubt || order->is_release) && part->is_consuming) {
            part->is_consuming = false;
            send_mail(lane, &part->mail);
        }
    }
    return true;
}

/* The helper asks, for watermarks, which it is glad of. */
static void ask_for_more(struct ingest_lane *lane)
{
    void *message = &lane->hungry;

    if (ingest_fetched__is_hungry(&lane->fetched, lane->queue))
        (void)fr_queue_send(lane->ingest->helper.mail, &message, 0);
}

static bool is_quiet(struct ingest_lane *lane, struct ingest_part *part, int64_t now_ms)
{
    if (!part->is_consuming) { /* with the helper: nothing else of it may be read */
        part->quiet_since_ms = now_ms;
        return false;
    }
    if (part->next_offset != part->quiet_offset ||
        ingest_parts__seen(&lane->ingest->parts, part->index).end <= part->next_offset) {
        part->quiet_offset = part->next_offset;
        part->quiet_since_ms = now_ms;
    }
    return now_ms - part->quiet_since_ms > atomic_load_explicit(&lane->ingest->quiet_ms, memory_order_relaxed);
}

/* A fetcher of librdkafka that forgot a partition (leader changes and metadata at the wrong moment) does not find it again. */
static void restart_quiet(struct ingest_lane *lane)
{
    int64_t now_ms = fr_clock_monotonic_ms();

    if (now_ms < lane->quiet_due_ms)
        return;
    lane->quiet_due_ms = now_ms + atomic_load_explicit(&lane->ingest->quiet_ms, memory_order_relaxed) / 8;
    for (int topic = 0; topic < lane->ingest->source_count; topic++)
        for (int i = 0; i < lane->part_counts[topic]; i++) {
            struct ingest_part *part = lane->parts[topic][i];

            if (!part || !is_quiet(lane, part, now_ms))
                continue;
            fr_counter_add(lane->ingest->restarts, 1);
            fr_log(FR_LOG_WARN, "ingest",
                   "%s [%" PRId32 "] has records after offset %" PRId64 " and gives none: starting it again",
                   part->source->name, part->number, part->next_offset);
            part->is_consuming = false;
            send_mail(lane, &part->mail);
        }
}

/* What has reached its end is fetched no further. */
static void stop_finished(const struct ingest_draft *draft)
{
    for (int i = 0; i < draft->advance_count; i++) {
        struct ingest_part *part = draft->touched[i];

        if (part->is_consuming && part->stop_offset >= 0 && part->next_offset >= part->stop_offset) {
            part->is_consuming = false;
            rd_kafka_consume_stop(part->source->handle, part->number);
        }
    }
}

static int poll_records(struct ingest_lane *lane)
{
    ssize_t count = rd_kafka_consume_batch_queue(lane->queue, POLL_MS, lane->messages, 1);
    ssize_t more = 0;

    if (count < 1)
        return 0;
    if (lane->draft.capacity > 1)
        more = rd_kafka_consume_batch_queue(lane->queue, 0, lane->messages + 1, (size_t)lane->draft.capacity - 1);
    count += more > 0 ? more : 0;
    ingest_fetched__take(&lane->fetched, lane->messages, count);
    return (int)count;
}

/* One poll, in as many batches as its bytes need. */
static bool take_records(struct ingest_lane *lane)
{
    int count = poll_records(lane);
    bool goes_on = true;

    if (count == 0)
        restart_quiet(lane);
    else
        fr_fault_meet(FR_FAULT_AFTER_POLL);
    for (int at = 0; at < count && goes_on;) {
        int taken = ingest_draft__fill(lane, lane->messages + at, count - at);

        fr_fault_meet(FR_FAULT_AFTER_DECODE);
        goes_on = taken > 0 && deliver(lane);
        if (goes_on) {
            struct ingest_part **lost = lane->draft.lost;
            int lost_count = lane->draft.lost_count;

            stop_finished(&lane->draft);
            ingest_draft__clear(&lane->draft); /* before the parts change hands */
            for (int i = 0; i < lost_count; i++)
                send_mail(lane, &lost[i]->mail);
            fr_arena_reset(lane->scratch, INGEST_BATCH_BYTES);
            at += taken;
        }
    }
    for (int i = 0; i < count; i++)
        rd_kafka_message_destroy(lane->messages[i]);
    return goes_on;
}

static void *run(void *arg)
{
    struct ingest_lane *lane = arg;

    while (!fr_queue_is_closed(lane->ingest->stop) && take_orders(lane) && take_records(lane))
        ask_for_more(lane);
    return NULL;
}

static bool has_tables(const struct ingest *ingest)
{
    for (int i = 0; i < ingest->source_count; i++)
        if (ingest->sources[i].table)
            return true;
    return false;
}

bool ingest_lane__open(struct ingest_lane *lane, struct ingest *ingest, int number, struct fr_err *err)
{
    int batch_max = ingest->options.batch_max;
    size_t topics = (size_t)ingest->source_count;

    *lane = (struct ingest_lane){.ingest = ingest,
                                 .number = number,
                                 .fetched.queue_bytes = ingest->options.queue_bytes / (uint64_t)ingest->options.lanes};
    lane->hungry = (struct ingest_mail){.kind = INGEST_MAIL_HUNGRY, .lane = lane};
    lane->failed = (struct ingest_mail){.kind = INGEST_MAIL_FAILED, .lane = lane};
    lane->queue = rd_kafka_queue_new(ingest->consumer);
    lane->orders = fr_queue_new(1024);
    lane->messages = calloc((size_t)batch_max, sizeof(rd_kafka_message_t *));
    lane->parts = calloc(topics, sizeof(struct ingest_part **));
    lane->part_counts = calloc(topics, sizeof *lane->part_counts);
    lane->scratch = fr_arena_new(INGEST_SCRATCH_BYTES);
    if (!ingest_draft__init(&lane->draft, batch_max, has_tables(ingest)) || !lane->queue || !lane->orders || !lane->messages ||
        !lane->parts || !lane->part_counts || !lane->scratch)
        return fr_fail(err, FR_EXHAUSTED, "ingest: out of memory");
    return true;
}

bool ingest_lane__start(struct ingest_lane *lane, struct fr_err *err)
{
    char name[16];

    if (pthread_create(&lane->thread, NULL, run, lane) != 0)
        return fr_fail(err, FR_EXHAUSTED, "ingest: cannot start the thread of lane %d", lane->number);
    lane->is_running = true;
    snprintf(name, sizeof name, "lane %d", lane->number);
    pthread_setname_np(lane->thread, name);
    return true;
}

void ingest_lane__join(struct ingest_lane *lane)
{
    if (!lane->is_running)
        return;
    rd_kafka_queue_yield(lane->queue);
    pthread_join(lane->thread, NULL);
    lane->is_running = false;
}

void ingest_lane__close(struct ingest_lane *lane)
{
    void *message;

    if (lane->orders) {
        fr_queue_close(lane->orders);
        while (fr_queue_receive(lane->orders, &message, 0))
            ; /* the table owns the parts */
        fr_queue_free(lane->orders);
    }
    if (lane->queue)
        rd_kafka_queue_destroy(lane->queue);
    for (int i = 0; lane->parts && i < lane->ingest->source_count; i++)
        free(lane->parts[i]);
    free(lane->parts);
    free(lane->part_counts);
    free(lane->messages);
    fr_arena_free(lane->scratch);
    ingest_draft__fini(&lane->draft);
}
