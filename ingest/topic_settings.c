/*
 * The settings of a topic that was there before: what a cluster depends on is refused with the command that mends it, what only makes it
 * frailer is said. Whoever may not ask for settings is told that nobody looked.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>
#include <freshet/text.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { ASK_MS = 10000, SLICE_MS = 100, TEXT_BYTES = 64 };

struct settings {
    char cleanup[TEXT_BYTES];
    int64_t retention_ms, retention_bytes, delete_retention_ms, min_insync;
};

/* ---- asking ---- */

static void take_entry(const rd_kafka_ConfigEntry_t *entry, struct settings *settings)
{
    const char *name = rd_kafka_ConfigEntry_name(entry), *value = rd_kafka_ConfigEntry_value(entry);
    const struct {
        const char *name;
        int64_t *value;
    } numbers[] = {{"retention.ms", &settings->retention_ms},
                   {"retention.bytes", &settings->retention_bytes},
                   {"delete.retention.ms", &settings->delete_retention_ms},
                   {"min.insync.replicas", &settings->min_insync}};

    if (!value)
        return;
    if (strcmp(name, "cleanup.policy") == 0)
        snprintf(settings->cleanup, sizeof settings->cleanup, "%s", value);
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
        if (strcmp(name, numbers[i].name) == 0 && !fr_text_int64(fr_slice_of(value), numbers[i].value))
            *numbers[i].value = 0; /* no number of Kafka's: the least it could be */
}

static rd_kafka_resp_err_t take_answer(rd_kafka_event_t *event, struct settings *settings)
{
    const rd_kafka_DescribeConfigs_result_t *result = rd_kafka_event_DescribeConfigs_result(event);
    const rd_kafka_ConfigResource_t **resources;
    const rd_kafka_ConfigEntry_t **entries;
    size_t count = 0;

    if (rd_kafka_event_error(event) || !result)
        return rd_kafka_event_error(event) ? rd_kafka_event_error(event) : RD_KAFKA_RESP_ERR__BAD_MSG;
    resources = rd_kafka_DescribeConfigs_result_resources(result, &count);
    if (count != 1)
        return RD_KAFKA_RESP_ERR__BAD_MSG;
    if (rd_kafka_ConfigResource_error(resources[0]))
        return rd_kafka_ConfigResource_error(resources[0]);
    entries = rd_kafka_ConfigResource_configs(resources[0], &count);
    for (size_t i = 0; i < count; i++)
        take_entry(entries[i], settings);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t ask(rd_kafka_t *client, const char *topic, struct settings *settings)
{
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    rd_kafka_queue_t *answers = rd_kafka_queue_new(client);
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__FAIL;
    rd_kafka_event_t *event = NULL;

    if (resource && options) {
        (void)rd_kafka_AdminOptions_set_request_timeout(options, ASK_MS, NULL, 0);
        rd_kafka_DescribeConfigs(client, &resource, 1, options, answers);
        event = rd_kafka_queue_poll(answers, ASK_MS + SLICE_MS);
        error = event ? take_answer(event, settings) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    }
    if (event)
        rd_kafka_event_destroy(event);
    if (resource)
        rd_kafka_ConfigResource_destroy(resource);
    if (options)
        rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(answers);
    return error;
}

/* ---- judging ---- */

static bool refuse(const struct ingest_topic_wanted *wanted, const char *brokers, const char *what, const char *setting,
                   struct fr_err *err)
{
    return fr_fail(
        err, FR_BAD_CONFIG,
        "cluster: topic '%s' %s; run kafka-configs.sh --bootstrap-server %s --alter --entity-type topics --entity-name "
        "%s --add-config %s",
        wanted->name, what, brokers, wanted->name, setting);
}

static bool is_shorter(int64_t found_ms, int64_t wanted_ms)
{
    return found_ms >= 0 && (wanted_ms < 0 || found_ms < wanted_ms);
}

static bool judge_retention(const struct ingest_topic_wanted *wanted, const char *brokers, const char *name, int64_t found_ms,
                            const char *why, struct fr_err *err)
{
    char what[160], setting[64];

    if (!is_shorter(found_ms, wanted->retention_ms))
        return true;
    snprintf(what, sizeof what, "has %s=%" PRId64 ", and %s", name, found_ms, why);
    snprintf(setting, sizeof setting, "%s=%" PRId64, name, wanted->retention_ms);
    return refuse(wanted, brokers, what, setting, err);
}

static bool judge(const struct ingest_topic_wanted *wanted, const char *brokers, const struct settings *found,
                  struct fr_err *err)
{
    char what[160];

    if (wanted->is_compacted) {
        snprintf(what, sizeof what, "has cleanup.policy=%s, and would lose users", found->cleanup);
        return (strcmp(found->cleanup, "compact") == 0 || refuse(wanted, brokers, what, "cleanup.policy=compact", err)) &&
               judge_retention(wanted, brokers, "delete.retention.ms", found->delete_retention_ms,
                               "a store that was away for that long would miss deletes", err);
    }
    snprintf(what, sizeof what, "has cleanup.policy=%s, and would lose deltas that have the same key", found->cleanup);
    return (strcmp(found->cleanup, "delete") == 0 || refuse(wanted, brokers, what, "cleanup.policy=delete", err)) &&
           judge_retention(wanted, brokers, "retention.ms", found->retention_ms,
                           "a new instance would miss what features still see", err) &&
           (found->retention_bytes < 0 ||
            refuse(wanted, brokers, "has retention.bytes, and would lose deltas that are still seen", "retention.bytes=-1",
                   err));
}

/* What survives a broker: of no concern where there is only one. */
static void say_frailty(const struct ingest_topic_state *topic, int64_t min_insync)
{
    if (topic->brokers < 2)
        return;
    if (topic->replicas < 2)
        fr_log(FR_LOG_WARN, "cluster",
               "topic '%s' has one replica, and is gone with its broker; give it more with "
               "kafka-reassign-partitions.sh",
               topic->name);
    else if (min_insync >= topic->replicas)
        fr_log(FR_LOG_WARN, "cluster",
               "topic '%s' has %d replicas and min.insync.replicas=%" PRId64
               ": nothing is written while one broker is away; set it to %d",
               topic->name, topic->replicas, min_insync, topic->replicas - 1);
    else if (topic->replicas > 2 && min_insync < 2)
        fr_log(FR_LOG_WARN, "cluster",
               "topic '%s' has min.insync.replicas=1: an epoch that Kafka has taken may be lost with one "
               "broker; set it to 2",
               topic->name);
}

bool ingest_topic__check(rd_kafka_t *client, const struct ingest_topic_wanted *wanted, const char *brokers, struct fr_err *err)
{
    struct settings found = {.retention_ms = -1, .retention_bytes = -1, .delete_retention_ms = -1, .min_insync = 1};
    rd_kafka_resp_err_t error = ask(client, wanted->name, &found);
    struct ingest_topic_state topic = {.name = wanted->name};

    if (error == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED || error == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED) {
        fr_log(FR_LOG_WARN, "cluster",
               "the settings of topic '%s' may not be read, so nobody has looked whether it keeps what it "
               "must; allow DescribeConfigs on it",
               wanted->name);
        return true;
    }
    if (error)
        return fr_fail(err, FR_UNAVAILABLE, "cluster: the settings of topic '%s' are not told: %s", wanted->name,
                       rd_kafka_err2str(error));
    if (!judge(wanted, brokers, &found, err))
        return false;
    if (ingest_topic__find(client, &topic, 1, false) && topic.replicas > 0)
        say_frailty(&topic, found.min_insync);
    return true;
}
