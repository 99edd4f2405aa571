/*
 * Producing: records are copied into librdkafka's queue; what Kafka refuses for good is told by the next call.
 */
#include "internal.h"

#include <freshet/clock.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    WAIT_MS = 100,
    CONNECT_MS = 30000,
    LINGER_US = 5000,
    DENIED_MS = 3000 /* a wrong password does not become right by waiting, but a broker that is starting may deny */
};

struct known_topic {
    struct known_topic *next;
    rd_kafka_topic_t *handle;
};

struct ingest_producer {
    rd_kafka_t *client;
    char *brokers;
    char *pace_group; /* NULL: not paced, or not yet known whether */
    struct ingest_pace *pace; /* on an embedded broker */
    int64_t linger_us;
    int connect_ms;
    struct known_topic *topics;
    bool is_refused; /* `refusal` is for the next call */
    struct fr_err refusal;
    char trouble[INGEST_TROUBLE_BYTES]; /* what the client was told last of brokers */
    int64_t denied_ms; /* when it was first told that we may not in, or do not trust them; 0: never */
    atomic_uint_fast64_t delivered;
    struct ingest_delivery place; /* of the latest one; on_delivery runs on the caller's thread */
};

static enum fr_code code_of(rd_kafka_resp_err_t error)
{
    switch (error) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
        return FR_BAD_INPUT;
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        return FR_BAD_CONFIG;
    default:
        return FR_UNAVAILABLE;
    }
}

static bool refuse(const struct ingest_producer *producer, const char *topic, rd_kafka_resp_err_t error, struct fr_err *err)
{
    return fr_fail(err, code_of(error), "producer: '%s' at %s does not take a record: %s", topic, producer->brokers,
                   rd_kafka_err2str(error));
}

static void on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct ingest_producer *producer = opaque;

    (void)client;
    if (message->_private)
        ingest_pace__delivered(message->_private, message->err ? -1 : message->offset);
    if (!message->err)
        producer->place = (struct ingest_delivery){.partition = message->partition, .offset = message->offset};
    if (!message->err)
        atomic_fetch_add_explicit(&producer->delivered, 1, memory_order_relaxed);
    else if (!producer->is_refused)
        producer->is_refused = !refuse(producer, rd_kafka_topic_name(message->rkt), message->err, &producer->refusal);
}

static void on_error(rd_kafka_t *client, int error, const char *reason, void *opaque)
{
    struct ingest_producer *producer = opaque;

    (void)client;
    ingest_client__keep_trouble(error, reason, producer->trouble);
    if (producer->denied_ms == 0 && (error == RD_KAFKA_RESP_ERR__AUTHENTICATION || error == RD_KAFKA_RESP_ERR__SSL))
        producer->denied_ms = fr_clock_monotonic_ms();
}

/* What an earlier record met, once. */
static bool tell_refusal(struct ingest_producer *producer, struct fr_err *err)
{
    if (!producer->is_refused)
        return true;
    producer->is_refused = false;
    *err = producer->refusal;
    return false;
}

/* With other batching than ours every record may be a batch of its own. */
static int64_t linger_of(const struct ingest_producer_options *options)
{
    static const char *const names[] = {"linger.ms", "queue.buffering.max.ms", "batch.size", "batch.num.messages"};

    for (int i = 0; i < options->property_count; i++)
        for (size_t k = 0; k < sizeof names / sizeof *names; k++)
            if (strcmp(options->properties[i].name, names[k]) == 0)
                return 0;
    return LINGER_US;
}

bool ingest_producer_open(const struct ingest_producer_options *options, struct ingest_producer **ret, struct fr_err *err)
{
    struct ingest_producer *producer = calloc(1, sizeof *producer);
    struct ingest_client client = {.role = INGEST_PRODUCER,
                                   .brokers = options->brokers,
                                   .properties = options->properties,
                                   .property_count = options->property_count,
                                   .opaque = producer,
                                   .on_delivery = on_delivery,
                                   .on_error = on_error};

    if (!producer)
        return fr_fail(err, FR_EXHAUSTED, "producer: out of memory");
    atomic_init(&producer->delivered, 0);
    producer->place = (struct ingest_delivery){-1, -1};
    producer->brokers = strdup(options->brokers);
    producer->pace_group = options->pace_group ? strdup(options->pace_group) : NULL;
    producer->linger_us = linger_of(options);
    producer->connect_ms = options->connect_ms > 0 ? options->connect_ms : CONNECT_MS;
    if (!producer->brokers || (options->pace_group && !producer->pace_group)) {
        fr_fail(err, FR_EXHAUSTED, "producer: out of memory");
        goto out;
    }
    if (!ingest_client__new(&client, &producer->client, err))
        goto out;
    *ret = producer;
    return true;
out:
    ingest_producer_close(producer);
    return false;
}

static bool ask_cluster(struct ingest_producer *producer, bool *is_mock, struct fr_err *err)
{
    int64_t until_ms = fr_clock_monotonic_ms() + producer->connect_ms;

    while (fr_clock_monotonic_ms() < until_ms) {
        char *cluster = ingest_client__cluster(producer->client, WAIT_MS, is_mock);

        if (cluster) {
            rd_kafka_mem_free(producer->client, cluster);
            return true;
        }
        rd_kafka_poll(producer->client, 0);
        if (producer->denied_ms > 0 && fr_clock_monotonic_ms() - producer->denied_ms > DENIED_MS)
            break;
    }
    return fr_fail(err, FR_UNAVAILABLE, "producer: no broker answers at %s%s%s", producer->brokers,
                   producer->trouble[0] ? ": " : "", producer->trouble);
}

/* Whether this is an embedded broker is known when one answers, so at the first record. */
static bool decide_pace(struct ingest_producer *producer, struct fr_err *err)
{
    bool is_mock;

    if (!producer->pace_group)
        return true;
    if (!ask_cluster(producer, &is_mock, err))
        return false;
    if (is_mock) {
        producer->pace = ingest_pace__new(producer->client, producer->pace_group, producer->linger_us);
        if (!producer->pace)
            return fr_fail(err, FR_EXHAUSTED, "producer: out of memory");
    }
    free(producer->pace_group);
    producer->pace_group = NULL;
    return true;
}

/* The first record of a topic must not wait for librdkafka to ask who leads it. */
static bool know_topic(struct ingest_producer *producer, const char *name, struct fr_err *err)
{
    struct known_topic *topic = producer->topics;

    while (topic && strcmp(rd_kafka_topic_name(topic->handle), name) != 0)
        topic = topic->next;
    if (topic)
        return true;
    topic = calloc(1, sizeof *topic);
    if (topic)
        topic->handle = ingest_topic__prepare(producer->client, name);
    if (!topic || !topic->handle) {
        free(topic);
        return fr_fail(err, FR_BAD_CONFIG, "producer: '%s' cannot be the name of a topic", name);
    }
    topic->next = producer->topics;
    producer->topics = topic;
    return true;
}

static rd_kafka_headers_t *make_headers(const struct ingest_record *record)
{
    rd_kafka_headers_t *headers;

    if (record->header_count == 0)
        return NULL;
    headers = rd_kafka_headers_new((size_t)record->header_count);
    for (int i = 0; i < record->header_count; i++)
        rd_kafka_header_add(headers, record->headers[i].name, -1, record->headers[i].value, -1);
    return headers;
}

static rd_kafka_resp_err_t produce(struct ingest_producer *producer, const struct ingest_record *record, int32_t partition,
                                   struct ingest_paced *paced)
{
    rd_kafka_headers_t *headers = make_headers(record);
    const void *key = record->key.length > 0 ? record->key.bytes : NULL;
    rd_kafka_resp_err_t error = rd_kafka_producev(
        producer->client, RD_KAFKA_V_TOPIC(record->topic), RD_KAFKA_V_PARTITION(partition),
        RD_KAFKA_V_KEY(key, record->key.length), RD_KAFKA_V_VALUE((void *)record->value.bytes, record->value.length),
        RD_KAFKA_V_TIMESTAMP(record->kafka_ts_ms), RD_KAFKA_V_HEADERS(headers), RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
        RD_KAFKA_V_OPAQUE(paced), RD_KAFKA_V_END);

    if (error && headers)
        rd_kafka_headers_destroy(headers);
    return error;
}

bool ingest_producer_send(struct ingest_producer *producer, const struct ingest_record *record, struct fr_err *err)
{
    int32_t partition = record->partition < 0 ? RD_KAFKA_PARTITION_UA : record->partition;
    struct ingest_paced *paced = NULL;
    rd_kafka_resp_err_t error;

    if (!tell_refusal(producer, err) || !decide_pace(producer, err))
        return false;
    if (producer->pace && !ingest_pace__await(producer->pace, record, &partition, &paced, err))
        return false;
    if (!know_topic(producer, record->topic, err))
        return false;
    for (;;) {
        error = produce(producer, record, partition, paced);
        if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            break;
        rd_kafka_poll(producer->client, WAIT_MS);
        if (!tell_refusal(producer, err))
            return false;
    }
    if (error)
        return refuse(producer, record->topic, error, err);
    if (paced)
        ingest_pace__sent(paced);
    rd_kafka_poll(producer->client, 0);
    return true;
}

bool ingest_producer_flush(struct ingest_producer *producer, int timeout_ms, struct fr_err *err)
{
    rd_kafka_resp_err_t error = rd_kafka_flush(producer->client, timeout_ms);

    if (!tell_refusal(producer, err))
        return false;
    if (error)
        return fr_fail(err, FR_UNAVAILABLE, "producer: %d records are not acknowledged by %s within %d ms",
                       rd_kafka_outq_len(producer->client), producer->brokers, timeout_ms);
    return !producer->pace || ingest_pace__check(producer->pace, err);
}

struct ingest_delivery ingest_producer_delivery(const struct ingest_producer *producer)
{
    return producer->place;
}

uint64_t ingest_producer_delivered(const struct ingest_producer *producer)
{
    return atomic_load_explicit(&producer->delivered, memory_order_relaxed);
}

bool ingest_producer_topic(struct ingest_producer *producer, const char *topic, int partitions, struct fr_err *err)
{
    struct ingest_topic_state state = {.name = topic};
    bool is_mock;

    if (!ask_cluster(producer, &is_mock, err))
        return false;
    if (!ingest_topic__find(producer->client, &state, 1, true))
        return fr_fail(err, FR_UNAVAILABLE, "producer: %s does not say which topics it has", producer->brokers);
    return state.found == INGEST_TOPIC_FOUND ||
           ingest_topic__create(producer->client, &(struct ingest_topic_wanted){.name = topic, .partitions = partitions},
                                is_mock, NULL, err);
}

static void drop_all(rd_kafka_t *client)
{
    rd_kafka_purge(client, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(client, WAIT_MS); /* takes the reports on what was dropped */
}

void ingest_producer_close(struct ingest_producer *producer)
{
    if (!producer)
        return;
    if (producer->client)
        drop_all(producer->client);
    ingest_pace__free(producer->pace);
    while (producer->topics) {
        struct known_topic *next = producer->topics->next;

        rd_kafka_topic_destroy(producer->topics->handle);
        free(producer->topics);
        producer->topics = next;
    }
    if (producer->client)
        rd_kafka_destroy(producer->client);
    free(producer->brokers);
    free(producer->pace_group);
    free(producer);
}
