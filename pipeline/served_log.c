/*
 * The log of served rows. A call packs its rows and leaves them in a bounded queue; a thread, started by the first of them, gives them
 * to Kafka. No call waits for that, so when Kafka is slower than the calls rows are dropped, and counted.
 */
#include "services.h"

#include <freshet/log.h>
#include <freshet/message.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    QUEUE_MESSAGES = 4096,
    QUEUE_BYTES = 32 << 20,
    RECORD_BYTES_MAX = 1000000, /* what Kafka takes by default */
    WAIT_MS = 200,
    CONNECT_MS = 1000,
    FLUSH_MS = 1000,
};

struct served_message {
    uint64_t user_id;
    size_t length;
    uint8_t bytes[];
};

void pipeline_served_log__init(struct pipeline_served_log *log, const struct pipeline_config *config, const char *brokers,
                               struct fr_metrics *metrics)
{
    log->config = config;
    log->brokers = brokers;
    pthread_mutex_init(&log->lock, NULL);
    log->sent = fr_metrics_counter(metrics, "freshet_served_total", NULL, "Records of served rows given to Kafka.");
    log->dropped =
        fr_metrics_counter(metrics, "freshet_served_dropped_total", NULL,
                           "Records of served rows dropped because Kafka was slower than the calls, refused them, or "
                           "they were too large.");
}

static void drop(struct pipeline_served_log *log, const char *why)
{
    static struct fr_log_place place;

    fr_counter_add(log->dropped, 1);
    fr_log_limited(&place, 5, FR_LOG_WARN, "pipeline", "served rows are dropped: %s", why);
}

static bool open_producer(const struct pipeline_served_log *log, struct ingest_producer **producer, struct fr_err *err)
{
    struct ingest_producer_options options = {
        .brokers = log->brokers, .properties = log->config->properties, .property_count = log->config->property_count};

    if (ingest_producer_open(&options, producer, err) &&
        ingest_producer_topic(*producer, log->config->learner->served, pipeline_config__partitions(log->config), err))
        return true;
    ingest_producer_close(*producer);
    *producer = NULL;
    return false;
}

static void send_message(struct pipeline_served_log *log, struct ingest_producer **producer,
                         const struct served_message *message)
{
    char key[24];
    struct ingest_record record = {
        .topic = log->config->learner->served, .partition = -1, .value = fr_slice(message->bytes, message->length)};
    struct fr_err err;

    snprintf(key, sizeof key, "%" PRIu64, message->user_id);
    record.key = fr_slice_of(key);
    if ((*producer || open_producer(log, producer, &err)) && ingest_producer_send(*producer, &record, &err)) {
        fr_counter_add(log->sent, 1);
        return;
    }
    drop(log, err.message);
    ingest_producer_close(*producer);
    *producer = NULL;
}

/* What was sent is acknowledged, or known to be lost. */
static void settle(struct pipeline_served_log *log, struct ingest_producer **producer)
{
    struct fr_err err;

    if (*producer && !ingest_producer_flush(*producer, FLUSH_MS, &err)) {
        if (err.code == FR_UNAVAILABLE && !atomic_load(&log->is_closed))
            return; /* the broker is away: these may still come */
        drop(log, err.message);
    }
    atomic_store(&log->settled, log->taken);
}

static void *run(void *user)
{
    struct pipeline_served_log *log = user;
    struct ingest_producer *producer = NULL;
    void *taken;

    while (!atomic_load(&log->is_closed) || fr_queue_length(log->queue) > 0) {
        if (!fr_queue_receive(log->queue, &taken, WAIT_MS)) {
            settle(log, &producer);
            continue;
        }
        struct served_message *message = taken;

        send_message(log, &producer, message);
        log->taken++;
        atomic_fetch_sub_explicit(&log->queued_bytes, message->length, memory_order_relaxed);
        free(message);
        if (!producer && atomic_load(&log->is_closed))
            break; /* Kafka is away, and the node does not wait for it */
        if (fr_queue_length(log->queue) == 0)
            settle(log, &producer);
    }
    settle(log, &producer);
    ingest_producer_close(producer);
    return NULL;
}

static bool start(struct pipeline_served_log *log)
{
    bool is_started;

    pthread_mutex_lock(&log->lock);
    if (!atomic_load(&log->is_started) && !atomic_load(&log->is_closed)) {
        if (!log->queue)
            log->queue = fr_queue_new(QUEUE_MESSAGES);
        if (log->queue && pthread_create(&log->thread, NULL, run, log) == 0) {
            pthread_setname_np(log->thread, "served");
            atomic_store(&log->is_started, true);
        }
    }
    is_started = atomic_load(&log->is_started);
    pthread_mutex_unlock(&log->lock);
    return is_started;
}

void pipeline_served_log__put(struct pipeline_served_log *log, const Freshet__V1__Served *served)
{
    size_t length = protobuf_c_message_get_packed_size(&served->base);
    struct served_message *message;
    void *sent;

    if (length > RECORD_BYTES_MAX) {
        drop(log, "a record is larger than 1,000,000 bytes; log fewer items");
        return;
    }
    if (!atomic_load(&log->is_started) && !start(log)) {
        drop(log, "their thread cannot be started");
        return;
    }
    message =
        atomic_load_explicit(&log->queued_bytes, memory_order_relaxed) < QUEUE_BYTES ? malloc(sizeof *message + length) : NULL;
    if (!message) {
        drop(log, "Kafka is slower than the calls");
        return;
    }
    message->user_id = served->user_id;
    message->length = length;
    (void)protobuf_c_message_pack(&served->base, message->bytes);
    atomic_fetch_add_explicit(&log->queued_bytes, length, memory_order_relaxed);
    atomic_fetch_add(&log->puts, 1); /* before it can be settled */
    sent = message;
    if (!fr_queue_send(log->queue, &sent, 0)) {
        atomic_fetch_sub(&log->puts, 1);
        atomic_fetch_sub_explicit(&log->queued_bytes, length, memory_order_relaxed);
        free(message);
        drop(log, "Kafka is slower than the calls");
    }
}

uint64_t pipeline_served_log__puts(struct pipeline_served_log *log)
{
    return atomic_load(&log->puts);
}

bool pipeline_served_log__is_settled(struct pipeline_served_log *log, uint64_t puts)
{
    return atomic_load(&log->settled) >= puts;
}

void pipeline_served_log__close(struct pipeline_served_log *log)
{
    void *left;

    if (!log->config)
        return;
    atomic_store(&log->is_closed, true);
    if (atomic_load(&log->is_started))
        pthread_join(log->thread, NULL);
    if (log->queue) {
        fr_queue_close(log->queue);
        while (fr_queue_receive(log->queue, &left, 0)) {
            drop(log, "the node closes, and Kafka does not take them");
            free(left);
        }
        fr_queue_free(log->queue);
    }
    pthread_mutex_destroy(&log->lock);
    log->config = NULL;
}
