/*
 * The embedded broker: librdkafka's mock cluster with one broker, on a loopback port of its own choice.
 */
#include "internal.h"

#include <freshet/text.h>

#include <librdkafka/rdkafka_mock.h>
#include <stdlib.h>

enum { PARTITIONS_DEFAULT = 8, BROKERS = 1 };

struct ingest_broker {
    rd_kafka_t *client; /* the mock lives in a client that connects to nothing */
    rd_kafka_mock_cluster_t *cluster;
};

static bool make_topics(struct ingest_broker *broker, const struct ingest_topic *topics, int count, struct fr_err *err)
{
    for (int i = 0; i < count; i++) {
        int partitions = topics[i].partitions > 0 ? topics[i].partitions : PARTITIONS_DEFAULT;
        rd_kafka_resp_err_t error = rd_kafka_mock_topic_create(broker->cluster, topics[i].name, partitions, BROKERS);

        if (error != RD_KAFKA_RESP_ERR_NO_ERROR && error != RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
            return fr_fail(err, FR_BAD_CONFIG, "kafka: the embedded broker cannot make topic '%s' with %d partitions: %s",
                           topics[i].name, partitions, rd_kafka_err2str(error));
    }
    return true;
}

bool ingest_broker_start(const struct ingest_topic *topics, int topic_count, struct ingest_broker **ret, struct fr_err *err)
{
    struct ingest_client client = {.role = INGEST_BROKER};
    struct ingest_broker *broker = calloc(1, sizeof *broker);

    if (!broker)
        return fr_fail(err, FR_EXHAUSTED, "kafka: no memory for the embedded broker");
    if (!ingest_client__new(&client, &broker->client, err))
        goto out;
    broker->cluster = rd_kafka_mock_cluster_new(broker->client, BROKERS);
    if (!broker->cluster) {
        fr_fail(err, FR_UNAVAILABLE, "kafka: the embedded broker cannot listen on the loopback");
        goto out;
    }
    if (!make_topics(broker, topics, topic_count, err))
        goto out;
    *ret = broker;
    return true;
out:
    ingest_broker_stop(broker);
    return false;
}

const char *ingest_broker_address(const struct ingest_broker *broker)
{
    return rd_kafka_mock_cluster_bootstraps(broker->cluster);
}

void ingest_broker_stop(struct ingest_broker *broker)
{
    if (!broker)
        return;
    if (broker->cluster)
        rd_kafka_mock_cluster_destroy(broker->cluster);
    if (broker->client)
        rd_kafka_destroy(broker->client);
    free(broker);
}
