/*
 * Topics: which exist, with how many partitions, and making those that don't.
 */
#include "internal.h"

#include <freshet/clock.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { CREATE_MS = 10000, CREATE_SLICE_MS = 100 };

static enum ingest_topic_found judge(rd_kafka_resp_err_t error)
{
    switch (error) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return INGEST_TOPIC_FOUND;
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
        return INGEST_TOPIC_MISSING;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        return INGEST_TOPIC_DENIED;
    default:
        return INGEST_TOPIC_UNKNOWN; /* a leader is being elected and the like: ask again */
    }
}

static void take_answer(const struct rd_kafka_metadata *answer, struct ingest_topic_state *topic)
{
    topic->brokers = answer->broker_cnt;
    for (int i = 0; i < answer->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *found = &answer->topics[i];

        if (strcmp(found->topic, topic->name) != 0)
            continue;
        topic->found = judge(found->err);
        if (topic->found == INGEST_TOPIC_FOUND && found->partition_cnt == 0)
            topic->found = INGEST_TOPIC_UNKNOWN;
        topic->partitions = topic->found == INGEST_TOPIC_FOUND ? found->partition_cnt : 0;
        topic->replicas = topic->partitions > 0 ? found->partitions[0].replica_cnt : 0;
        return;
    }
    topic->found = INGEST_TOPIC_MISSING;
    topic->partitions = 0;
    topic->replicas = 0;
}

static bool find_one(rd_kafka_t *client, struct ingest_topic_state *topic)
{
    const struct rd_kafka_metadata *answer;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client, topic->name, NULL); /* the one there is, if there is one */
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__FAIL;

    if (handle)
        error = rd_kafka_metadata(client, 0, handle, &answer, INGEST_QUESTION_MS);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        take_answer(answer, topic);
        rd_kafka_metadata_destroy(answer);
    }
    if (handle)
        rd_kafka_topic_destroy(handle);
    return error == RD_KAFKA_RESP_ERR_NO_ERROR;
}

rd_kafka_topic_t *ingest_topic__prepare(rd_kafka_t *client, const char *name)
{
    struct ingest_topic_state topic = {.name = name};
    rd_kafka_topic_t *handle = rd_kafka_topic_new(client, name, NULL);

    if (handle)
        (void)find_one(client, &topic);
    return handle;
}

bool ingest_topic__find(rd_kafka_t *client, struct ingest_topic_state *topics, int count, bool is_listing)
{
    const struct rd_kafka_metadata *answer;

    if (!is_listing) {
        for (int i = 0; i < count; i++)
            if (!find_one(client, &topics[i]))
                return false;
        return true;
    }
    if (rd_kafka_metadata(client, 1, NULL, &answer, INGEST_QUESTION_MS) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    for (int i = 0; i < count; i++)
        take_answer(answer, &topics[i]);
    rd_kafka_metadata_destroy(answer);
    return true;
}

/* The embedded broker has no CreateTopics; being asked by name it makes the topic, with a number of partitions of its own. */
static bool create_by_name(rd_kafka_t *client, const char *name, struct fr_err *err)
{
    struct ingest_topic_state topic = {.name = name};

    if (find_one(client, &topic) && topic.found == INGEST_TOPIC_FOUND)
        return true;
    return fr_fail(err, FR_UNAVAILABLE, "kafka: the embedded broker did not make topic '%s'", name);
}

static rd_kafka_event_t *wait_answer(rd_kafka_queue_t *answers, struct fr_queue *stop)
{
    int64_t until_ms = fr_clock_monotonic_ms() + CREATE_MS;
    rd_kafka_event_t *event = NULL;

    while (!event && fr_clock_monotonic_ms() < until_ms && !(stop && fr_queue_is_closed(stop)))
        event = rd_kafka_queue_poll(answers, CREATE_SLICE_MS);
    return event;
}

static rd_kafka_resp_err_t result_of(rd_kafka_event_t *event, char why[INGEST_ERROR_BYTES])
{
    const rd_kafka_CreateTopics_result_t *result = event ? rd_kafka_event_CreateTopics_result(event) : NULL;
    const rd_kafka_topic_result_t **topics = NULL;
    rd_kafka_resp_err_t error;
    size_t count = 0;

    if (!event)
        return RD_KAFKA_RESP_ERR__TIMED_OUT;
    error = rd_kafka_event_error(event);
    if (result)
        topics = rd_kafka_CreateTopics_result_topics(result, &count);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR && count == 1) {
        const char *text = rd_kafka_topic_result_error_string(topics[0]);

        error = rd_kafka_topic_result_error(topics[0]);
        strncpy(why, text ? text : "", INGEST_ERROR_BYTES - 1);
    }
    return error;
}

/* Three, as far as there are brokers; 1 where nobody says. */
static int replicas(rd_kafka_t *client)
{
    const struct rd_kafka_metadata *answer;
    int brokers = 1;

    if (rd_kafka_metadata(client, 0, NULL, &answer, INGEST_QUESTION_MS) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        brokers = answer->broker_cnt;
        rd_kafka_metadata_destroy(answer);
    }
    return brokers < 1 ? 1 : brokers < 3 ? brokers : 3;
}

static rd_kafka_resp_err_t set_retention(rd_kafka_NewTopic_t *topic, const struct ingest_topic_wanted *wanted)
{
    char text[24];

    if (wanted->retention_ms == 0)
        return RD_KAFKA_RESP_ERR_NO_ERROR;
    snprintf(text, sizeof text, "%" PRId64, wanted->retention_ms);
    return rd_kafka_NewTopic_set_config(topic, wanted->is_compacted ? "delete.retention.ms" : "retention.ms", text);
}

static rd_kafka_resp_err_t create_once(rd_kafka_t *client, const struct ingest_topic_wanted *wanted, int replication,
                                       struct fr_queue *stop, char why[INGEST_ERROR_BYTES])
{
    rd_kafka_NewTopic_t *topic = rd_kafka_NewTopic_new(wanted->name, wanted->partitions, replication, why, INGEST_ERROR_BYTES);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_CREATETOPICS);
    rd_kafka_queue_t *answers = rd_kafka_queue_new(client);
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__INVALID_ARG;

    if (topic && wanted->is_compacted)
        error = rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "compact");
    if (topic)
        error = set_retention(topic, wanted);
    if (topic && wanted->is_replicated && replication > 2 && error == RD_KAFKA_RESP_ERR_NO_ERROR) /* one of them may be away */
        error = rd_kafka_NewTopic_set_config(topic, "min.insync.replicas", "2");
    if (topic && options) {
        rd_kafka_event_t *event;

        (void)rd_kafka_AdminOptions_set_request_timeout(options, CREATE_MS, NULL, 0);
        rd_kafka_CreateTopics(client, &topic, 1, options, answers);
        event = wait_answer(answers, stop);
        error = result_of(event, why);
        if (event)
            rd_kafka_event_destroy(event);
    }
    if (topic)
        rd_kafka_NewTopic_destroy(topic);
    if (options)
        rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(answers);
    return error;
}

bool ingest_topic__create(rd_kafka_t *client, const struct ingest_topic_wanted *wanted, bool is_mock, struct fr_queue *stop,
                          struct fr_err *err)
{
    char why[INGEST_ERROR_BYTES] = "";
    rd_kafka_resp_err_t error;

    if (is_mock)
        return create_by_name(client, wanted->name, err);
    error = create_once(client, wanted, wanted->is_replicated ? replicas(client) : -1, stop,
                        why); /* −1: the broker's own default, since Kafka 2.4 */
    if (error == RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE || error == RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR ||
        error == RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION)
        error = create_once(client, wanted, 1, stop, why);
    if (error == RD_KAFKA_RESP_ERR_NO_ERROR || error == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        return true;
    return fr_fail(err, FR_UNAVAILABLE, "kafka: cannot make topic '%s' with %d partitions: %s", wanted->name,
                   wanted->partitions, why[0] ? why : rd_kafka_err2str(error));
}
