/*
 * The properties of our Kafka clients: what each needs, then the user's over it, except those that exactness or the node itself
 * depends on. A property of the other kind of client is harmless: librdkafka takes it and ignores it.
 */
#include "internal.h"

#include <freshet/log.h>
#include <freshet/text.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { FETCH_BYTES_MIN = 2 << 20, MESSAGE_BYTES_DEFAULT = 1000000 };

/* For every client. Reconnecting is quick: a broker that is back should not wait for us. */
static const struct ingest_property common[] = {
    {"client.id", "freshet"},        {"socket.nagle.disable", "true"},     {"socket.keepalive.enable", "true"},
    {"reconnect.backoff.ms", "50"},  {"reconnect.backoff.max.ms", "1000"}, {"topic.metadata.refresh.interval.ms", "10000"},
    {"statistics.interval.ms", "0"}, {"partitioner", "murmur2_random"},
};

/* fetch.wait.max.ms: a real broker answers as soon as there is a record; the embedded one always waits so long. */
static const struct ingest_property consumer[] = {
    {"enable.auto.commit", "false"}, {"auto.commit.enable", "false"},       {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "error"},  {"enable.partition.eof", "true"},      {"isolation.level", "read_committed"},
    {"check.crcs", "true"},          {"allow.auto.create.topics", "false"}, {"fetch.min.bytes", "1"},
    {"fetch.wait.max.ms", "10"},     {"fetch.error.backoff.ms", "100"},     {"fetch.message.max.bytes", "1048576"},
};

/* Dead letters are retried for ever; a batch is small, so that one that is refused as too large names its record. */
static const struct ingest_property office[] = {
    {"acks", "all"},
    {"linger.ms", "5"},
    {"message.timeout.ms", "0"},
    {"message.send.max.retries", "2147483647"},
    {"message.max.bytes", "67108864"},
    {"batch.size", "65536"},
    {"compression.type", "lz4"},
};

/* An event may have 1 MiB; whether the topic takes it, the broker says. A topic that is missing is told in seconds. */
static const struct ingest_property producer[] = {
    {"enable.idempotence", "true"},
    {"message.max.bytes", "4194304"},
    {"topic.metadata.propagation.max.ms", "5000"},
    {"linger.ms", "5"},
    {"compression.type", "lz4"},
    {"queue.buffering.max.messages", "200000"},
    {"queue.buffering.max.kbytes", "65536"},
};

/* It fetches nothing. While what it gives away becomes an epoch, or what it keeps is read to its end, it does not poll. */
static const struct ingest_property member[] = {
    {"enable.auto.commit", "false"},         {"enable.auto.offset.store", "false"}, {"partition.assignment.strategy", "range"},
    {"isolation.level", "read_uncommitted"}, {"max.poll.interval.ms", "900000"},    {"queued.min.messages", "1"},
    {"allow.auto.create.topics", "false"},
};

/* What somebody left open others end (fence.c), so this is for brokers that are away: whoever is back before can go on with it. */
static const struct ingest_property transactions[] = {
    {"enable.idempotence", "true"},
    {"acks", "all"},
    {"message.max.bytes", "8388608"},
    {"linger.ms", "5"},
    {"compression.type", "lz4"},
    {"transaction.timeout.ms", "60000"},
    {"topic.metadata.propagation.max.ms", "5000"},
};

/* Never the user's, and why. */
static const struct ingest_property reserved[] = {
    {"bootstrap.servers", "set kafka.brokers"},
    {"metadata.broker.list", "set kafka.brokers"},
    {"group.id", "set kafka.group"},
    {"group.instance.id", "an instance of a cluster is node.id, and a node that stands alone joins no group"},
    {"enable.auto.commit", "the position is kept with the state, in one step"},
    {"auto.commit.enable", "the position is kept with the state, in one step"},
    {"enable.auto.offset.store", "the position is kept with the state, in one step"},
    {"auto.offset.reset", "set kafka.start; a lost position is never jumped over in silence"},
    {"enable.partition.eof", "lag behind a transactional producer is known by it"},
    {"enabled_events", "the node takes librdkafka's events itself"},
    {"log.queue", "the node takes librdkafka's logs itself"},
    {"transactional.id", "transactions are of clusters alone, which name them by kafka.group and node.id"},
    {"test.mock.num.brokers", "set kafka.brokers: embedded"},
};

/* "property `sasl.mechanism` set to `PLAIN` but …": the value may be a secret that stands in the wrong place. */
static void log_warning(const char *text)
{
    static const char before[] = " set to `";
    const char *value = strstr(text, before);
    const char *after = value ? strchr(value + strlen(before), '`') : NULL;

    if (after)
        fr_log(FR_LOG_WARN, "kafka", "%.*s is set%s", (int)(value - text), text, after + 1);
    else
        fr_log(FR_LOG_WARN, "kafka", "%s", value ? "a property makes no sense with the others" : text);
}

static void log_line(const rd_kafka_t *client, int level, const char *facility, const char *text)
{
    static struct fr_log_place serious, usual;

    (void)client;
    if (strcmp(facility, "CONFWARN") == 0 && (strstr(text, "will be ignored by this") || strstr(text, "is deprecated") ||
                                              strstr(text, "No `bootstrap.servers` configured")))
        return; /* ours on purpose: one list of properties for all clients */
    if (strcmp(facility, "AUTOCREATE") == 0)
        return; /* every question to an embedded broker would say it; topics are asked for by name only once they exist */
    if (strcmp(facility, "CONFWARN") == 0)
        log_warning(text);
    else if (level <= 4)
        fr_log_limited(&serious, 30, level <= 2 ? FR_LOG_ERROR : FR_LOG_WARN, "kafka", "%s: %s", facility, text);
    else if (level == 5)
        fr_log_limited(&usual, 30, FR_LOG_INFO, "kafka", "%s: %s", facility, text);
    else
        fr_log(FR_LOG_DEBUG, "kafka", "%s: %s", facility, text);
}

void ingest_client__keep_trouble(int error, const char *reason, char trouble[INGEST_TROUBLE_BYTES])
{
    if (error != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) /* what was wrong with each has been told */
        snprintf(trouble, INGEST_TROUBLE_BYTES, "%s", reason);
}

static bool set(rd_kafka_conf_t *conf, const char *name, const char *value, struct fr_err *err)
{
    char why[INGEST_ERROR_BYTES] = "";

    if (rd_kafka_conf_set(conf, name, value, why, sizeof why) == RD_KAFKA_CONF_OK)
        return true;
    return fr_fail(err, FR_BAD_CONFIG, "kafka: property '%s': %s", name, why);
}

static bool set_all(rd_kafka_conf_t *conf, const struct ingest_property *properties, size_t count, struct fr_err *err)
{
    for (size_t i = 0; i < count; i++)
        if (!set(conf, properties[i].name, properties[i].value, err))
            return false;
    return true;
}

static bool set_number(rd_kafka_conf_t *conf, const char *name, uint64_t least, uint64_t most, uint64_t value,
                       struct fr_err *err)
{
    char text[24];

    value = value < least ? least : value > most ? most : value;
    snprintf(text, sizeof text, "%" PRIu64, value);
    return set(conf, name, text, err);
}

int64_t ingest_client__number(const struct ingest_property *properties, int count, const char *name, int64_t otherwise)
{
    int64_t value;

    for (int i = count - 1; i >= 0; i--)
        if (strcmp(properties[i].name, name) == 0)
            return fr_text_int64(fr_slice_of(properties[i].value), &value) ? value : otherwise;
    return otherwise;
}

/*
 * The queue of a lane is bounded in bytes and in records: small records cost more beside their payload than in it. One answer of a
 * broker may exceed the bound, so answers are kept to a part of it.
 */
static bool set_bounds(rd_kafka_conf_t *conf, const struct ingest_client *client, struct fr_err *err)
{
    uint64_t half = ingest_fetched__bound(client->queue_bytes);
    int64_t message_bytes = ingest_client__number(client->properties, client->property_count, "message.max.bytes", 0);
    uint64_t fetch_bytes = half / 4 < FETCH_BYTES_MIN ? FETCH_BYTES_MIN : half / 4;

    message_bytes = message_bytes < MESSAGE_BYTES_DEFAULT ? MESSAGE_BYTES_DEFAULT : message_bytes;
    return set_number(conf, "queued.max.messages.kbytes", 1024, 2097151, half / 1024, err) &&
           set_number(conf, "queued.min.messages", 1000, 10000000, half / INGEST_RECORD_OVERHEAD_BYTES, err) &&
           set_number(conf, "fetch.max.bytes", (uint64_t)message_bytes, INT32_MAX - 512, fetch_bytes, err);
}

static bool set_transactions(rd_kafka_conf_t *conf, const struct ingest_client *client, struct fr_err *err)
{
    char id[512];

    snprintf(id, sizeof id, "%s.%s", client->group, client->instance);
    return set_all(conf, transactions, sizeof transactions / sizeof *transactions, err) &&
           set(conf, "transactional.id", id, err);
}

static bool set_role(rd_kafka_conf_t *conf, const struct ingest_client *client, struct fr_err *err)
{
    switch (client->role) {
    case INGEST_CONSUMER:
        return set_all(conf, consumer, sizeof consumer / sizeof *consumer, err) && set_bounds(conf, client, err) &&
               (client->wait_ms == 0 || set_number(conf, "fetch.wait.max.ms", 1, 1000, client->wait_ms, err));
    case INGEST_GROUP:
        return set(conf, "group.id", client->group, err) && set(conf, "enable.auto.commit", "false", err);
    case INGEST_OFFICE:
        return set_all(conf, office, sizeof office / sizeof *office, err);
    case INGEST_PRODUCER:
        return set_all(conf, producer, sizeof producer / sizeof *producer, err);
    case INGEST_MEMBER:
        return set_all(conf, member, sizeof member / sizeof *member, err) && set(conf, "group.id", client->group, err) &&
               set(conf, "group.instance.id", client->instance, err);
    case INGEST_TRANSACTIONS:
        return set_transactions(conf, client, err);
    case INGEST_WITNESS:
        return set_all(conf, consumer, sizeof consumer / sizeof *consumer, err) &&
               set(conf, "isolation.level", "read_uncommitted", err);
    case INGEST_BROKER:
        break;
    }
    return true;
}

/* The office sends whatever was read, however the user bounds what producers send. */
static bool is_fixed(enum ingest_role role, const char *name)
{
    return role == INGEST_OFFICE && (strcmp(name, "message.max.bytes") == 0 || strcmp(name, "message.timeout.ms") == 0 ||
                                     strcmp(name, "delivery.timeout.ms") == 0 || strcmp(name, "acks") == 0 ||
                                     strcmp(name, "request.required.acks") == 0 || strcmp(name, "enable.idempotence") == 0);
}

static bool is_reserved(const struct ingest_property *property, struct fr_err *err)
{
    for (size_t k = 0; k < sizeof reserved / sizeof *reserved; k++)
        if (strcmp(property->name, reserved[k].name) == 0)
            return !fr_fail(err, FR_BAD_CONFIG, "kafka: property '%s' is Freshet's own: %s", property->name, reserved[k].value);
    return false;
}

static bool set_users(rd_kafka_conf_t *conf, const struct ingest_client *client, struct fr_err *err)
{
    for (int i = 0; i < client->property_count; i++) {
        const struct ingest_property *property = &client->properties[i];

        if (is_reserved(property, err))
            return false;
        if (!is_fixed(client->role, property->name) && !set(conf, property->name, property->value, err))
            return false;
    }
    return true;
}

bool ingest_property_check(const struct ingest_property *property, struct fr_err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bool is_good = !is_reserved(property, err) && set(conf, property->name, property->value, err);

    rd_kafka_conf_destroy(conf);
    return is_good;
}

bool ingest_client__new(const struct ingest_client *client, rd_kafka_t **ret, struct fr_err *err)
{
    bool is_consumer = client->role == INGEST_CONSUMER || client->role == INGEST_GROUP || client->role == INGEST_MEMBER ||
                       client->role == INGEST_WITNESS;
    rd_kafka_type_t type = is_consumer ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char why[INGEST_ERROR_BYTES] = "";

    ingest_threads__show();
    rd_kafka_conf_set_log_cb(conf, log_line);
    rd_kafka_conf_set_opaque(conf, client->opaque);
    if (client->on_delivery)
        rd_kafka_conf_set_dr_msg_cb(conf, client->on_delivery);
    if (client->on_rebalance)
        rd_kafka_conf_set_rebalance_cb(conf, client->on_rebalance);
    if (client->on_error)
        rd_kafka_conf_set_error_cb(conf, client->on_error);
    if (!set_all(conf, common, sizeof common / sizeof *common, err) || !set_role(conf, client, err) ||
        !set_users(conf, client, err) || (client->brokers && !set(conf, "bootstrap.servers", client->brokers, err)))
        goto out;

    *ret = rd_kafka_new(type, conf, why, sizeof why);
    if (*ret)
        return true; /* the client owns its configuration now */
    fr_fail(err, FR_BAD_CONFIG, "kafka: %s", why);
out:
    rd_kafka_conf_destroy(conf);
    return false;
}

char *ingest_client__cluster(rd_kafka_t *client, int timeout_ms, bool *is_mock)
{
    static const char mock[] = "mockCluster"; /* as librdkafka's embedded broker names itself */
    char *cluster = rd_kafka_clusterid(client, timeout_ms);

    if (cluster)
        *is_mock = strncmp(cluster, mock, sizeof mock - 1) == 0;
    return cluster;
}
