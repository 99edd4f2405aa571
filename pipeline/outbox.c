/*
 * An outbox's way to Kafka: chunks whose epoch is durable are produced in order, and go once Kafka has acknowledged them and the model has
 * kept what it learned of them (teacher.c). A crash in between sends some of them again, with the same ids.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>
#include <freshet/message.h>

#include <inttypes.h>
#include <stdio.h>

enum {
    TICK_MS = 20,
    RETRY_MS = 500,
    CHUNKS_AT_ONCE = 64,
    CONNECT_MS = 2000,
    FLUSH_MS = 10000,
    FLUSH_SLICE_MS = 200,
};

static bool is_stopping(const struct pipeline_outbox *outbox)
{
    return fr_queue_is_closed(outbox->stop);
}

static bool open_producer(struct pipeline_outbox *outbox, struct fr_err *err)
{
    struct ingest_producer_options options = {
        .brokers = outbox->brokers, .properties = outbox->config->properties, .property_count = outbox->config->property_count};

    if (outbox->producer)
        return true;
    if (!ingest_producer_open(&options, &outbox->producer, err))
        return false;
    return ingest_producer_topic(outbox->producer, outbox->topic, outbox->topic_partitions, err);
}

static void close_producer(struct pipeline_outbox *outbox)
{
    ingest_producer_close(outbox->producer);
    outbox->producer = NULL;
}

static bool send_entry(struct pipeline_outbox *outbox, const struct learner_outbox_entry *entry, struct fr_err *err)
{
    char key[24];
    struct ingest_record record = {.topic = outbox->topic, .partition = -1, .value = entry->wire};

    snprintf(key, sizeof key, "%" PRIu64, entry->user_id);
    record.key = fr_slice_of(key);
    return ingest_producer_send(outbox->producer, &record, err);
}

/* False: the broker is away, or refuses; the chunk is sent again. */
static bool send_chunk(struct pipeline_outbox *outbox, struct fr_err *err)
{
    struct fr_reader reader = fr_reader(fr_buffer_slice(&outbox->chunk));
    struct learner_outbox_entry entry;
    uint64_t count = 0;

    while (learner_outbox_next(&reader, &entry)) {
        if (!send_entry(outbox, &entry, err))
            return false;
        count++;
    }
    if (reader.is_failed) /* what is left of it makes no sense, and never will */
        fr_log(FR_LOG_ERROR, "pipeline", "a chunk of the outbox cannot be read behind %" PRIu64 " %s", count, outbox->what);
    fr_counter_add(outbox->sent, count);
    return true;
}

/* Waits until Kafka has what was sent. Somebody who stops the node does not wait for that: it is sent again. */
static bool flush(struct pipeline_outbox *outbox, struct fr_err *err)
{
    int64_t until_ms = fr_clock_monotonic_ms() + FLUSH_MS;

    while (!ingest_producer_flush(outbox->producer, FLUSH_SLICE_MS, err)) {
        if (err->code != FR_UNAVAILABLE || is_stopping(outbox) || fr_clock_monotonic_ms() > until_ms)
            return false;
    }
    return true;
}

/* Sends the chunks that are durable, some at a time, and waits until Kafka has them. */
static bool send_some(struct pipeline_outbox *outbox, bool *is_more, struct fr_err *err)
{
    int64_t durable = atomic_load(&outbox->durable), from = outbox->next, to = from;

    *is_more = false;
    if (from >= durable)
        return true;
    if (!open_producer(outbox, err))
        return false;
    for (; to < durable && to < from + CHUNKS_AT_ONCE && !is_stopping(outbox); to++) {
        if (!learner_outbox_read(outbox->from, to, &outbox->chunk, err) || !send_chunk(outbox, err))
            return false;
    }
    if (!flush(outbox, err))
        return false;
    outbox->next = to;
    learner_outbox_acknowledge(outbox->from, to);
    *is_more = to < durable;
    return true;
}

/* Chunks that Kafka has, and whose examples are in the model's files. */
static bool drop_some(struct pipeline_outbox *outbox, struct fr_err *err)
{
    int64_t kept = outbox->learner ? learner_durable_position(outbox->learner) : INT64_MAX;

    while (outbox->dropped < outbox->next && outbox->dropped <= kept) {
        if (!learner_outbox_drop(outbox->from, outbox->dropped, err))
            return false;
        outbox->dropped++;
    }
    return true;
}

static void *run(void *user)
{
    struct pipeline_outbox *outbox = user;
    static struct fr_log_place place;
    bool is_more = false;
    void *nothing;

    while (!is_stopping(outbox)) {
        struct fr_err err;

        if (!is_more)
            (void)fr_queue_receive(outbox->stop, &nothing, TICK_MS);
        if (send_some(outbox, &is_more, &err) && drop_some(outbox, &err))
            continue;
        if (is_stopping(outbox))
            break;
        fr_log_limited(&place, 6, FR_LOG_WARN, "pipeline", "%s wait, and are sent again: %s", outbox->what, err.message);
        fr_counter_add(outbox->repeated, 1);
        close_producer(outbox);
        (void)fr_queue_receive(outbox->stop, &nothing, RETRY_MS);
    }
    return NULL;
}

bool pipeline_outbox__start(struct pipeline_outbox *outbox, struct fr_metrics *metrics, struct fr_err *err)
{
    char name[64], help[128];

    snprintf(name, sizeof name, "freshet_%s_sent_total", outbox->what);
    snprintf(help, sizeof help, "Records of %s given to Kafka, those that were given again included.", outbox->what);
    outbox->sent = fr_metrics_counter(metrics, name, NULL, help);
    snprintf(name, sizeof name, "freshet_%s_retries_total", outbox->what);
    snprintf(help, sizeof help, "Times that %s could not be produced and were tried again.", outbox->what);
    outbox->repeated = fr_metrics_counter(metrics, name, NULL, help);
    outbox->dropped = learner_outbox_first(outbox->from);
    outbox->next = learner_outbox_acknowledged(outbox->from);
    outbox->topic_partitions = pipeline_config__partitions(outbox->config);
    outbox->stop = fr_queue_new(1);
    fr_buffer_init(&outbox->chunk);
    if (!outbox->stop)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for the outbox");
    if (pthread_create(&outbox->thread, NULL, run, outbox) != 0)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: cannot start the outbox's thread; raise the limit of threads");
    pthread_setname_np(outbox->thread, outbox->learner ? "outbox" : "sessions");
    outbox->is_started = true;
    return true;
}

void pipeline_outbox__stop(struct pipeline_outbox *outbox)
{
    if (outbox->stop)
        fr_queue_close(outbox->stop);
    if (outbox->is_started)
        pthread_join(outbox->thread, NULL);
    outbox->is_started = false;
    close_producer(outbox);
    if (outbox->stop)
        fr_queue_free(outbox->stop);
    outbox->stop = NULL;
    fr_buffer_fini(&outbox->chunk);
}
