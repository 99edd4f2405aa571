/*
 * The canary: once a period it does what a producer and a ranker do, by the real topic and by a real read, and takes the time. Its record
 * is an event without an action and without ids, with a text that is reserved: every node ignores it (its outcome is canary, and it
 * is not among the records that a store's life counts), so it changes no state, no digest, no value and no count of events, whoever
 * else reads the topic or has a canary of its own.
 */
#include "services.h"

#include <freshet/clock.h>
#include <freshet/event.h>
#include <freshet/log.h>

#include <inttypes.h>

enum {
    DEADLINE_MS = 3000, /* then it has failed */
    STEP_MS = 200, /* how soon a wait for Kafka sees that the node stops */
    ARENA_BYTES = 1 << 20,
};

enum outcome { OK, UNPRODUCED, UNAPPLIED, UNREAD, STOPPED /* or it cannot be told: partitions went meanwhile */ };

static bool open_producer(struct pipeline_canary *canary, struct fr_err *err)
{
    struct ingest_producer_options options = {.brokers = canary->services->brokers,
                                              .properties = canary->config->properties,
                                              .property_count = canary->config->property_count,
                                              .connect_ms = STEP_MS};

    return canary->producer || ingest_producer_open(&options, &canary->producer, err);
}

static void encode(const struct pipeline_canary *canary, int64_t now_ms, struct fr_buffer *record)
{
    uint64_t id = pipeline_features__request_id(canary->services);

    if (canary->config->topics[0].format == PROTO_FORMAT_JSON) {
        fr_buffer_append_format(record, "{\"eventId\":\"%" PRIu64 "\",\"tsMs\":\"%" PRId64 "\",\"text\":\"%s\"}", id, now_ms,
                                PROTO_CANARY_TEXT);
    } else {
        struct proto_event event = {.event_id = id, .ts_ms = now_ms, .text = fr_slice_of(PROTO_CANARY_TEXT)};

        proto_event_encode(&event, record);
    }
}

/* Produces, and waits for Kafka to say where it put it; of a cluster into a partition that is read here. */
static enum outcome produce(struct pipeline_canary *canary, int64_t until_ms, struct ingest_delivery *place, struct fr_err *err)
{
    struct fr_buffer value;
    struct ingest_record record = {.topic = canary->config->topics[0].name, .partition = -1};
    struct pipeline_cluster *cluster = canary->services->cluster;
    bool is_sent;

    if (cluster && (record.partition = pipeline_cluster__some_partition(cluster)) < 0)
        return STOPPED;
    fr_buffer_init(&value);
    encode(canary, fr_clock_wall_ms(), &value);
    record.value = fr_buffer_slice(&value);
    is_sent = open_producer(canary, err) && ingest_producer_send(canary->producer, &record, err);
    fr_buffer_fini(&value);
    if (!is_sent)
        return UNPRODUCED;
    while (!ingest_producer_flush(canary->producer, STEP_MS, err)) {
        if (atomic_load(&canary->is_stopping))
            return STOPPED;
        if (err->code != FR_UNAVAILABLE || fr_clock_monotonic_ms() >= until_ms)
            return UNPRODUCED;
    }
    *place = ingest_producer_delivery(canary->producer);
    return OK;
}

static int find(struct ingest *ingest, const char *topic, const struct ingest_delivery *place)
{
    int count = ingest && ingest_is_assigned(ingest) ? ingest_partition_count(ingest) : 0;

    for (int i = 0; i < count; i++) {
        struct ingest_partition partition = ingest_partition_at(ingest, i);

        if (partition.number == place->partition && strcmp(partition.topic, topic) == 0)
            return i;
    }
    return -1;
}

static enum outcome await_applied(struct pipeline_canary *canary, int64_t until_ms, const struct ingest_delivery *place,
                                  struct fr_err *err)
{
    struct pipeline_services *services = canary->services;
    void *message;

    for (int index = -1; !atomic_load(&canary->is_stopping);) {
        if (index < 0)
            index = find(atomic_load_explicit(&services->stream->ingest, memory_order_acquire), canary->config->topics[0].name,
                         place);
        if (index >= 0 && pipeline_offsets__next(services->offsets, index) > place->offset)
            return OK;
        if (fr_clock_monotonic_ms() >= until_ms)
            break;
        (void)fr_queue_receive(canary->stop, &message, index < 0 ? STEP_MS : 1);
    }
    if (atomic_load(&canary->is_stopping))
        return STOPPED;
    (void)fr_fail(err, FR_DEADLINE, "it was not applied within %d s", DEADLINE_MS / 1000);
    return UNAPPLIED;
}

/* What a ranker asks: the first feature set, of nobody and nothing, because what is there is not the canary's to read. */
static bool read_features(struct pipeline_canary *canary, struct fr_err *err)
{
    struct fr_arena *arena = fr_arena_new(ARENA_BYTES);
    Freshet__V1__GetFeaturesRequest request = FRESHET__V1__GET_FEATURES_REQUEST__INIT;
    struct server_call call = {.method = "canary",
                               .peer = "",
                               .principal = "",
                               .caller = "canary",
                               .arena = arena,
                               .deadline_us = INT64_MAX,
                               .may_block = true};
    struct agg *agg = canary->services->agg;
    ProtobufCMessage *response;
    uint64_t item = 0;
    char *name = agg_set_count(agg) > 0 ? (char *)agg_set_at(agg, 0).name : (char *)agg_feature_at(agg, 0).name;
    bool is_read;

    if (!arena)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    request.item_ids = &item;
    request.n_item_ids = 1;
    if (agg_set_count(agg) > 0) {
        request.feature_set = name;
    } else {
        request.features = &name;
        request.n_features = 1;
    }
    is_read = pipeline_features__get(canary->services, &call, &request.base, &response, err);
    fr_arena_free(arena);
    return is_read;
}

static void sing(struct pipeline_canary *canary)
{
    static const char *const steps[] = {[UNPRODUCED] = "cannot be produced",
                                        [UNAPPLIED] = "did not come back",
                                        [UNREAD] = "was followed by a read that failed"};
    static struct fr_log_place log_place;
    int64_t began_us = fr_clock_monotonic_us(), until_ms = began_us / 1000 + DEADLINE_MS;
    struct pipeline_cluster *cluster = canary->services->cluster;
    uint64_t turns = cluster ? pipeline_cluster__turns(cluster) : 0;
    struct ingest_delivery place;
    struct fr_err err = {0};
    enum outcome outcome = produce(canary, until_ms, &place, &err);

    if (outcome == OK)
        outcome = await_applied(canary, until_ms, &place, &err);
    if (outcome == OK && !read_features(canary, &err))
        outcome = UNREAD;
    if (outcome == UNAPPLIED && cluster && pipeline_cluster__turns(cluster) != turns)
        return; /* another applied it */
    if (outcome == STOPPED)
        return;
    fr_counter_add(canary->outcomes[outcome], 1);
    if (outcome == OK) {
        fr_histogram_add_us(canary->seconds, fr_clock_monotonic_us() - began_us);
        return;
    }
    fr_log_limited(&log_place, 2, FR_LOG_WARN, "canary", "the canary %s: %s", steps[outcome], err.message);
    ingest_producer_close(canary->producer); /* what it holds back must not be taken for the next one's */
    canary->producer = NULL;
}

static void *run(void *user)
{
    struct pipeline_canary *canary = user;
    void *message;

    while (!atomic_load(&canary->is_stopping)) {
        int64_t began_ms = fr_clock_monotonic_ms(), left_ms;

        sing(canary);
        left_ms = began_ms + canary->config->canary_ms - fr_clock_monotonic_ms();
        if (left_ms > 0)
            (void)fr_queue_receive(canary->stop, &message, (int)left_ms); /* closed when it is to stop */
    }
    ingest_producer_close(canary->producer);
    return NULL;
}

bool pipeline_canary__start(struct pipeline_canary *canary, const struct pipeline_config *config,
                            struct pipeline_services *services, struct fr_err *err)
{
    static const char *const results[] = {[OK] = "result=\"ok\"",
                                          [UNPRODUCED] = "result=\"unproduced\"",
                                          [UNAPPLIED] = "result=\"unapplied\"",
                                          [UNREAD] = "result=\"unread\""};

    if (config->canary_ms == 0)
        return true;
    canary->config = config;
    canary->services = services;
    canary->seconds = fr_metrics_histogram(services->metrics, "freshet_canary_seconds", NULL,
                                           "From producing the canary's event to a read that comes after it.");
    for (int i = OK; i <= UNREAD; i++)
        canary->outcomes[i] =
            fr_metrics_counter(services->metrics, "freshet_canary_total", results[i], "Canaries, by how they ended.");
    canary->stop = fr_queue_new(1);
    if (!canary->stop)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for the canary");
    if (pthread_create(&canary->thread, NULL, run, canary) != 0)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: cannot start the canary's thread; raise the limit of threads");
    canary->is_started = true;
    return true;
}

void pipeline_canary__stop(struct pipeline_canary *canary)
{
    if (canary->is_started) {
        atomic_store(&canary->is_stopping, true);
        fr_queue_close(canary->stop);
        pthread_join(canary->thread, NULL);
        canary->is_started = false;
    }
    if (canary->stop)
        fr_queue_free(canary->stop);
    canary->stop = NULL;
}
