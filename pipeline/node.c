/*
 * A node: opens its pieces in the order in which they need each other, and closes them in the order that loses nothing: no new
 * batches, no new calls, one last epoch, then the rest.
 */
#include "services.h"

#include <freshet/clock.h>
#include <freshet/log.h>
#include <freshet/v1/admin.pb-c.h>
#include <freshet/v1/feature.pb-c.h>
#include <freshet/v1/recall.pb-c.h>

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    DRAIN_MS = 5000,
    DRAIN_LOOK_MS = 50,
    INGEST_CLOSE_MS = 5000,
    WATCHDOG_MS = 20000,
    INGEST_QUEUE_BYTES = 32 << 20,
    METHODS = 20,
    PAGES = PIPELINE_FILES + 11,
};

struct pipeline_node {
    struct pipeline_config *config;
    struct pipeline_engine engine;
    struct pipeline_learning *learning; /* NULL without models */
    struct pipeline_served_log served_log;
    struct pipeline_texts *texts; /* NULL without texts */
    struct pipeline_cluster *cluster; /* NULL: it stands alone */
    struct ingest_topic
        topics[PIPELINE_TOPICS_MAX + 1 + PIPELINE_TEXTS_MAX]; /* the configuration's, the served rows', read texts' */
    int topic_count;
    struct ingest_broker *broker;
    struct ingest *ingest;
    struct server *server;
    struct pipeline_services services;
    struct pipeline_models models;
    struct pipeline_watches watches;
    struct pipeline_history history;
    struct pipeline_canary canary;
    struct server_method methods[METHODS];
    struct server_page pages[PAGES];
    char cluster_id[64]; /* of the embedded broker, drawn at each start; "" otherwise */
    char brokers[512];
    int wake; /* eventfd: asked to stop, or failed */
    struct fr_err failure; /* written once, before is_failed */
    atomic_bool is_failing; /* the first one writes it */
    atomic_bool is_failed;
    atomic_bool is_asked;
};

/* ---- what ingest calls ---- */

static bool on_cluster(void *user, const char *cluster_id, struct fr_err *err)
{
    struct pipeline_node *node = user;

    return pipeline_offsets__cluster(&node->engine.offsets, cluster_id, node->config->is_embedded, node->config->store_path,
                                     err);
}

static struct ingest_position on_start(void *user, int partition, const char *topic, int32_t number)
{
    struct pipeline_node *node = user;

    return pipeline_offsets__start(&node->engine.offsets, partition, topic, number);
}

static bool on_batch(void *user, const struct ingest_batch *batch, struct fr_err *err)
{
    struct pipeline_node *node = user;

    if (!atomic_load_explicit(&node->engine.committer.ingest, memory_order_acquire)) /* as has_room() of tables.c */
        return fr_fail(err, FR_EXHAUSTED, "pipeline: the node is starting; events wait");
    return pipeline_lanes__batch(&node->engine.lanes, batch, err);
}

static void wake(struct pipeline_node *node)
{
    uint64_t one = 1;
    ssize_t written = write(node->wake, &one, sizeof one);

    (void)written; /* a full counter is as good as one more */
}

static void on_fatal(void *user, const struct fr_err *err)
{
    struct pipeline_node *node = user;

    if (atomic_exchange(&node->is_failing, true))
        return;
    node->failure = *err;
    atomic_store_explicit(&node->is_failed, true, memory_order_release);
    wake(node);
}

/* ---- start ---- */

#define METHOD(of, called, request_type, response_type, group_of, slow, handles)                                               \
    {                                                                                                                          \
        .service = "freshet.v1." of, .name = called, .request = &freshet__v1__##request_type##__descriptor,                    \
        .response = &freshet__v1__##response_type##__descriptor, .is_slow = slow, .group = group_of, .handler = handles        \
    }

static const struct server_method methods[METHODS] = {
    {.service = "freshet.v1.FeatureService",
     .name = "GetFeatures",
     .request = &freshet__v1__get_features_request__descriptor,
     .response = &freshet__v1__get_features_response__descriptor,
     .group = SERVER_READ,
     .handler = pipeline_features__get,
     .pack = proto_features_pack},
    {.service = "freshet.v1.FeatureService",
     .name = "WatchFeatures",
     .request = &freshet__v1__watch_features_request__descriptor,
     .response = &freshet__v1__watch_features_update__descriptor,
     .group = SERVER_READ,
     .streaming = &pipeline_watching},
    METHOD("FeatureService", "Describe", describe_request, describe_response, SERVER_READ, false, pipeline_features__describe),
    METHOD("RecallService", "Trending", trending_request, candidates, SERVER_READ, false, pipeline_recall__trending),
    METHOD("RecallService", "Related", related_request, candidates, SERVER_READ, false, pipeline_recall__related),
    METHOD("RecallService", "Labels", labels_request, candidates, SERVER_READ, false, pipeline_recall__labels),
    METHOD("RecallService", "Recent", recent_request, candidates, SERVER_READ, false, pipeline_recall__recent),
    METHOD("ModelService", "Score", score_request, score_response, SERVER_READ, false, pipeline_model__score),
    {.service = "freshet.v1.ModelService",
     .name = "Pull",
     .request = &freshet__v1__pull_request__descriptor,
     .response = &freshet__v1__model_delta__descriptor,
     .group = SERVER_LEARN,
     .streaming = &pipeline_model_pulling},
    METHOD("ModelService", "Push", push_request, push_response, SERVER_LEARN, true, pipeline_model__push),
    METHOD("ModelService", "Status", model_status_request, model_status_response, SERVER_READ, false, pipeline_model__status),
    METHOD("ModelService", "Change", model_change_request, model_status_response, SERVER_ADMIN, true, pipeline_model__change),
    METHOD("AdminService", "Status", status_request, status_response, SERVER_ADMIN, false, pipeline_admin__status),
    METHOD("AdminService", "Checkpoint", checkpoint_request, checkpoint_response, SERVER_ADMIN, true,
           pipeline_admin__checkpoint),
    METHOD("AdminService", "Forget", forget_request, forget_reply, SERVER_ADMIN, true, pipeline_admin__forget),
    METHOD("AdminService", "Block", block_request, block_reply, SERVER_ADMIN, true, pipeline_admin__block),
    METHOD("AdminService", "Digest", digest_request, digest_response, SERVER_ADMIN, true, pipeline_admin__digest),
    METHOD("AdminService", "Cluster", cluster_request, cluster_response, SERVER_READ, false, pipeline_admin__cluster),
    METHOD("AdminService", "Drain", drain_request, drain_reply, SERVER_ADMIN, true, pipeline_admin__drain),
    METHOD("AdminService", "Explain", explain_request, explain_response, SERVER_ADMIN, true, pipeline_admin__explain),
};
#undef METHOD

#define DOOR(at, who, of, asks)                                                                                                \
    {                                                                                                                          \
        .path = at, .access = who, .method = "/freshet.v1." of, .ask = asks                                                    \
    }

static const struct server_page pages[PAGES] = {
    [PIPELINE_PAGE_HTML] = {.path = "/", .render = pipeline_pages__file},
    [PIPELINE_PAGE_CSS] = {.path = "/page.css", .render = pipeline_pages__file},
    [PIPELINE_DRAW_JS] = {.path = "/draw.js", .render = pipeline_pages__file},
    [PIPELINE_TOLD_JS] = {.path = "/told.js", .render = pipeline_pages__file},
    [PIPELINE_LOOKUP_JS] = {.path = "/lookup.js", .render = pipeline_pages__file},
    [PIPELINE_CLUSTER_JS] = {.path = "/cluster.js", .render = pipeline_pages__file},
    [PIPELINE_PAGE_JS] = {.path = "/page.js", .render = pipeline_pages__file},
    {.path = "/metrics", .render = pipeline_pages__metrics},
    {.path = "/healthz", .render = pipeline_pages__health},
    {.path = "/readyz", .render = pipeline_pages__ready},
    {.path = "/status", .access = SERVER_PAGE_GUARDED, .render = pipeline_pages__status},
    {.path = "/history", .access = SERVER_PAGE_GUARDED, .render = pipeline_history__page},
    DOOR("/describe", SERVER_PAGE_GUARDED, "FeatureService/Describe", pipeline_lookup__nothing),
    DOOR("/cluster", SERVER_PAGE_GUARDED, "AdminService/Cluster", pipeline_lookup__nothing),
    DOOR("/top", SERVER_PAGE_GUARDED, "RecallService/Trending", pipeline_lookup__top),
    DOOR("/recent", SERVER_PAGE_GUARDED, "RecallService/Recent", pipeline_lookup__recent),
    DOOR("/lookup", SERVER_PAGE_LOOKUP, "FeatureService/GetFeatures", pipeline_lookup__features),
    DOOR("/explain", SERVER_PAGE_LOOKUP, "AdminService/Explain", pipeline_lookup__explain),
};
#undef DOOR

static void fill_tables(struct pipeline_node *node)
{
    struct pipeline_services *services = &node->services;

    memcpy(node->methods, methods, sizeof methods);
    for (int i = 0; i < METHODS; i++) {
        node->methods[i].user = services;
        node->methods[i].is_polled = methods[i].handler == pipeline_admin__status;
    }
    memcpy(node->pages, pages, sizeof pages);
    for (int i = 0; i < PAGES; i++) {
        bool is_history = pages[i].render == pipeline_history__page;

        node->pages[i].user = is_history ? (void *)&node->history : services;
        if (i < PIPELINE_FILES)
            node->pages[i].user = pipeline_pages__file_of((enum pipeline_file_name)i);
    }
}

static void fill_services(struct pipeline_node *node)
{
    node->services.agg = node->engine.agg;
    node->services.store = node->engine.store;
    node->services.budget_bytes = node->config->memory_bytes;
    node->services.machine = pipeline_machine__here();
    node->services.store_path = realpath(node->config->store_path, NULL);
    node->services.stream = &node->engine.stream;
    node->services.offsets = &node->engine.offsets;
    node->services.committer = &node->engine.committer;
    node->services.tombstones = &node->engine.tombstones;
    node->services.blocks = &node->engine.blocks;
    node->services.tombstones_ms = node->config->tombstones_ms;
    node->services.metrics = node->engine.metrics;
    node->services.models = &node->models;
    node->services.brokers = node->brokers;
    node->services.served_log = &node->served_log;
    node->services.lanes = &node->engine.lanes;
    node->services.learning = node->learning;
    node->services.tables = node->engine.tables;
    node->services.cluster = node->cluster;
    node->services.watches = &node->watches;
    pipeline_callers__init(&node->services.callers, node->engine.metrics);
    node->services.after = fr_metrics_histogram(node->engine.metrics, "freshet_after_wait_seconds", NULL,
                                                "How long reads waited until the offsets they follow were applied.");
}

static uint64_t draw(void)
{
    uint64_t value = 0;

    if (getrandom(&value, sizeof value, 0) != (ssize_t)sizeof value)
        value = (uint64_t)fr_clock_wall_ms() * UINT64_C(0x9e3779b97f4a7c15) ^ (uint64_t)getpid();
    return value;
}

static bool start_broker(struct pipeline_node *node, struct fr_err *err)
{
    struct ingest_topic topics[PIPELINE_TOPICS_MAX + 4 + 3 * PIPELINE_TEXTS_MAX + PIPELINE_TABLES_MAX];
    int count = node->config->topic_count, partitions = pipeline_config__partitions(node->config);

    if (!node->config->is_embedded) {
        snprintf(node->brokers, sizeof node->brokers, "%s", node->config->brokers);
        return true;
    }
    memcpy(topics, node->config->topics, (size_t)count * sizeof *topics);
    if (node->config->dead_letters[0])
        topics[count++] = (struct ingest_topic){.name = node->config->dead_letters, .partitions = 1};
    if (node->config->learner->sessions.topic)
        topics[count++] = (struct ingest_topic){.name = node->config->learner->sessions.topic, .partitions = partitions};
    if (node->config->learner->model_count > 0) {
        topics[count++] = (struct ingest_topic){.name = node->config->learner->served, .partitions = partitions};
        topics[count++] = (struct ingest_topic){.name = node->config->learner->examples, .partitions = partitions};
    }
    for (int i = 0; i < node->config->text_count; i++) {
        topics[count++] = (struct ingest_topic){.name = node->config->texts[i].from, .partitions = partitions};
        topics[count++] = (struct ingest_topic){.name = node->config->texts[i].labelled, .partitions = 1};
        topics[count++] = (struct ingest_topic){.name = node->config->texts[i].to, .partitions = partitions};
    }
    for (int i = 0; i < agg_table_count(node->engine.agg); i++) {
        struct agg_table_info info = agg_table_at(node->engine.agg, i);

        topics[count++] = (struct ingest_topic){.name = info.topic, .partitions = info.partitions > 0 ? info.partitions : 1};
    }
    if (!ingest_broker_start(topics, count, &node->broker, err))
        return false;
    snprintf(node->brokers, sizeof node->brokers, "%s", ingest_broker_address(node->broker));
    snprintf(node->cluster_id, sizeof node->cluster_id, "embedded-%016" PRIx64, draw());
    return true;
}

static bool is_serving(void *user)
{
    return pipeline_admin__not_ready(user) == NULL;
}

static bool start_server(struct pipeline_node *node, struct fr_err *err)
{
    struct server_options options = {.listen = node->config->listen,
                                     .operations = node->config->operations,
                                     .loops = node->config->loops,
                                     .limits = node->config->limits,
                                     .tls = node->config->tls,
                                     .grants = node->config->grants,
                                     .grant_count = node->config->grant_count,
                                     .hosts = node->config->hosts,
                                     .host_count = node->config->host_count,
                                     .methods = node->methods,
                                     .method_count = METHODS,
                                     .pages = node->pages,
                                     .page_count = PAGES,
                                     .tick = pipeline_history__tick,
                                     .tick_user = &node->history,
                                     .metrics = node->engine.metrics,
                                     .is_serving = is_serving,
                                     .is_serving_user = &node->services};

    return server_open(&options, &node->server, err) && server_start(node->server, err);
}

static void choose_topics(struct pipeline_node *node)
{
    const struct pipeline_config *config = node->config;

    memcpy(node->topics, config->topics, (size_t)config->topic_count * sizeof *node->topics);
    node->topic_count = config->topic_count;
    if (config->learner->model_count > 0)
        node->topics[node->topic_count++] =
            (struct ingest_topic){.name = config->learner->served, .partitions = INGEST_LIKE_FIRST, .is_served = true};
    for (int i = 0; i < config->text_count; i++)
        node->topics[node->topic_count++] =
            (struct ingest_topic){.name = config->texts[i].to,
                                  .partitions = config->is_cluster ? INGEST_LIKE_FIRST : pipeline_config__partitions(config)};
}

static bool open_learning(struct pipeline_node *node, struct fr_err *err)
{
    struct pipeline_engine *engine = &node->engine;

    pipeline_served_log__init(&node->served_log, node->config, node->brokers, engine->metrics);
    if (!pipeline_learning__open(node->config, &node->models, engine->store, &engine->stream, &engine->offsets,
                                 &node->served_log, node->cluster, engine->metrics, &node->learning, err))
        return false;
    engine->lanes.learning = node->learning;
    engine->committer.learning = node->learning;
    return pipeline_texts__open(node->config, engine->metrics, &node->texts, err);
}

static bool start_ingest(struct pipeline_node *node, struct fr_err *err)
{
    struct pipeline_config *config = node->config;

    choose_topics(node);
    struct ingest_options options = {
        .brokers = node->brokers,
        .cluster_id = node->cluster_id[0] ? node->cluster_id : NULL,
        .group = config->group,
        .topics = node->topics,
        .topic_count = node->topic_count,
        .dead_letters = config->dead_letters,
        .start = config->start,
        .is_adopting = config->is_adopting,
        .properties = config->properties,
        .property_count = config->property_count,
        .lanes = config->lanes,
        .batch_max = PIPELINE_BATCH_EVENTS,
        .queue_bytes = INGEST_QUEUE_BYTES,
        .max_future_ms = config->is_event_clock ? -1 : config->max_future_ms,
        .is_sharing = config->is_cluster,
        .is_keyed = config->is_cluster,
        .metrics = node->engine.metrics,
        .sink = {.user = node, .cluster = on_cluster, .start = on_start, .batch = on_batch, .fatal = on_fatal}};

    if (!ingest_open(&options, &node->ingest, err))
        return false;
    atomic_store_explicit(&node->engine.stream.ingest, node->ingest, memory_order_release);
    atomic_store_explicit(&node->engine.committer.ingest, node->ingest, memory_order_release);
    return true;
}

static bool open_cluster(struct pipeline_node *node, struct fr_err *err)
{
    struct pipeline_cluster_options options = {
        .config = node->config, .engine = &node->engine, .brokers = node->config->brokers, .fatal = on_fatal, .user = node};

    if (!node->config->is_cluster)
        return !pipeline_cluster__is_instances(node->engine.store) ||
               fr_fail(err, FR_BAD_CONFIG,
                       "cluster: the state in '%s' is an instance's, and only some users are in it; set node.mode: cluster, or "
                       "start with an empty store.path",
                       node->config->store_path);
    if (!pipeline_cluster__open(&options, &node->cluster, err))
        return false;
    node->engine.committer.cluster = node->cluster;
    return true;
}

static bool start(struct pipeline_node *node, struct fr_err *err)
{
    if (node->wake < 0)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of file descriptors");
    if (!pipeline_engine__open(&node->engine, node->config, err) ||
        !pipeline_models__open(&node->models, node->config, node->engine.store, node->engine.agg, node->engine.metrics, err) ||
        !open_cluster(node, err) || !open_learning(node, err) ||
        !pipeline_engine__open_tables(&node->engine, node->config, on_fatal, node, err))
        return false;
    fill_services(node);
    fill_tables(node);
    pipeline_history__init(&node->history, &node->services);
    atomic_store(&node->services.next_request_id, draw());
    return start_broker(node, err) && pipeline_committer__start(&node->engine.committer, err) &&
           pipeline_keeper__start(&node->engine.keeper, node->engine.metrics, err) &&
           pipeline_watches__start(&node->watches, &node->config->watch_limits, &node->engine, err) &&
           start_server(node, err) &&
           pipeline_tables__start(node->engine.tables, node->brokers, node->cluster_id[0] ? node->cluster_id : NULL, err) &&
           start_ingest(node, err) &&
           (!node->cluster ||
            pipeline_cluster__start(node->cluster, node->ingest, node->texts,
                                    node->config->advertised[0] ? node->config->advertised : server_api_address(node->server),
                                    err)) &&
           pipeline_texts__start(node->texts, node->cluster, node->brokers, node->cluster_id[0] ? node->cluster_id : NULL,
                                 err) &&
           (!node->learning ||
            pipeline_learning__start(node->learning, node->config, node->brokers, node->ingest, node->engine.metrics, err)) &&
           pipeline_canary__start(&node->canary, node->config, &node->services, err);
}

bool pipeline_node_start(struct pipeline_config **config, struct pipeline_node **ret, struct fr_err *err)
{
    struct pipeline_node *node = aligned_alloc(_Alignof(struct pipeline_node), sizeof *node);

    if (!node)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for a node");
    memset(node, 0, sizeof *node);
    node->config = *config;
    *config = NULL;
    node->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (!start(node, err)) {
        struct fr_err first = *err;

        pipeline_node_close(node);
        *err = first;
        return false;
    }
    pipeline_machine__warn(&node->services.machine, node->services.budget_bytes);
    *ret = node;
    return true;
}

/* ---- asking and waiting ---- */

const char *pipeline_node_api(const struct pipeline_node *node)
{
    return server_api_address(node->server);
}

const char *pipeline_node_operations(const struct pipeline_node *node)
{
    return server_operations_address(node->server);
}

const char *pipeline_node_brokers(const struct pipeline_node *node)
{
    return node->brokers;
}

bool pipeline_node_is_ready(struct pipeline_node *node)
{
    return pipeline_admin__not_ready(&node->services) == NULL;
}

uint64_t pipeline_node_applied_events(struct pipeline_node *node)
{
    return pipeline_stream__records(&node->engine.stream);
}

int64_t pipeline_node_lag_events(struct pipeline_node *node)
{
    struct pipeline_lag lag = pipeline_stream__lag(&node->engine.stream);

    return lag.is_known ? lag.events : -1;
}

void pipeline_node_stop(struct pipeline_node *node)
{
    int saved = errno;

    atomic_store(&node->is_asked, true);
    wake(node);
    errno = saved;
}

bool pipeline_node_wait(struct pipeline_node *node, int timeout_ms, struct fr_err *failure)
{
    struct pollfd poll_fd = {.fd = node->wake, .events = POLLIN};
    int64_t end_ms = fr_clock_monotonic_ms() + timeout_ms;

    *failure = (struct fr_err){0};
    while (!atomic_load(&node->is_asked) && !atomic_load_explicit(&node->is_failed, memory_order_acquire)) {
        int64_t left_ms = timeout_ms < 0 ? -1 : end_ms - fr_clock_monotonic_ms();

        if (timeout_ms >= 0 && left_ms < 0)
            return false;
        if (poll(&poll_fd, 1, (int)left_ms) == 0)
            return false;
    }
    if (atomic_load_explicit(&node->is_failed, memory_order_acquire))
        *failure = node->failure;
    return true;
}

/* ---- close ---- */

struct watchdog {
    _Atomic int references; /* the node and the thread; who leaves last frees it */
    atomic_bool is_done;
    atomic_bool is_durable;
};

static void release(struct watchdog *dog)
{
    if (atomic_fetch_sub(&dog->references, 1) == 1)
        free(dog);
}

/* A hang of a library at close must not keep a node from being started again: RELIABILITY asks for an end in every state. */
static void *watch(void *user)
{
    struct watchdog *dog = user;
    int64_t end_ms = fr_clock_monotonic_ms() + WATCHDOG_MS;

    while (!atomic_load(&dog->is_done) && fr_clock_monotonic_ms() < end_ms)
        fr_clock_sleep_ms(20);
    if (!atomic_load(&dog->is_done)) {
        bool is_durable = atomic_load(&dog->is_durable);

        fr_log(FR_LOG_ERROR, "pipeline", "closing took longer than %d s: leaving at once; the last epoch %s",
               WATCHDOG_MS / 1000,
               is_durable ? "is durable" : "is not durable, the next start reads Kafka from the one before");
        _exit(is_durable ? 0 : 1);
    }
    release(dog);
    return NULL;
}

static struct watchdog *start_watchdog(void)
{
    struct watchdog *dog = calloc(1, sizeof *dog);
    pthread_t thread;

    if (!dog)
        return NULL;
    atomic_store(&dog->references, 2);
    if (pthread_create(&thread, NULL, watch, dog) != 0) {
        free(dog);
        return NULL;
    }
    pthread_detach(thread);
    return dog;
}

/* A node that has failed writes nothing more: that is why, and not what the store says of it. */
static bool commit_last(struct pipeline_node *node)
{
    struct fr_err err = {0};
    bool is_durable = pipeline_committer__stop(&node->engine.committer, &err);
    bool has_failed = atomic_load_explicit(&node->is_failed, memory_order_acquire);

    if (!is_durable)
        fr_log(FR_LOG_WARN, "pipeline", "the last epoch is not durable, the next start reads Kafka from the one before: %s",
               has_failed ? node->failure.message : err.message);
    return is_durable;
}

/* What librdkafka still holds after its deadline is left to the end of the process. */
static void close_ingest(struct pipeline_node *node)
{
    bool are_tables_closed = pipeline_tables__close(node->engine.tables, INGEST_CLOSE_MS);

    atomic_store_explicit(&node->engine.stream.ingest, NULL, memory_order_release);
    if (!ingest_close(node->ingest, INGEST_CLOSE_MS) || !are_tables_closed)
        fr_log(FR_LOG_WARN, "pipeline", "the Kafka client did not close in %d s and is abandoned", INGEST_CLOSE_MS / 1000);
    else if (node->broker)
        ingest_broker_stop(node->broker);
}

/* Others take the users over while this one still refuses, with their addresses, whoever asks for them. */
static void give_away(struct pipeline_node *node)
{
    int64_t until_ms = fr_clock_monotonic_ms() + node->config->drain_ms;
    struct fr_err err = {0};
    bool is_again;
    int left = 1;

    if (!node->cluster || node->config->drain_ms == 0 || !pipeline_cluster__has_share(node->cluster))
        return;
    while (left > 0 && fr_clock_monotonic_ms() < until_ms && !store_is_failed(node->engine.store)) {
        if (!pipeline_cluster__drain(node->cluster, &left, &is_again, &err) &&
            err.code != FR_UNAVAILABLE) /* brokers may be slow to say */
            break;
        fr_clock_sleep_ms(DRAIN_LOOK_MS);
    }
    if (left > 0)
        fr_log(FR_LOG_WARN, "pipeline", "the node ends with partitions that nobody has taken over: %s",
               err.message[0] ? err.message : "node.drain is over");
}

void pipeline_node_close(struct pipeline_node *node)
{
    struct watchdog *dog;

    if (!node)
        return;
    give_away(node);
    dog = start_watchdog();
    atomic_store(&node->services.is_closing, true);
    pipeline_texts__stop(node->texts);
    pipeline_canary__stop(&node->canary);
    if (node->cluster)
        pipeline_cluster__stop(node->cluster);
    if (node->ingest)
        ingest_stop(node->ingest);
    pipeline_tables__stop(node->engine.tables);
    if (node->server)
        server_drain(node->server, DRAIN_MS);
    pipeline_keeper__stop(&node->engine.keeper);
    if (node->learning)
        pipeline_learning__stop(node->learning);
    if (commit_last(node) && dog)
        atomic_store(&dog->is_durable, true);
    server_close(node->server);
    pipeline_watches__stop(&node->watches);
    pipeline_served_log__close(&node->served_log);
    pipeline_texts__close(node->texts, INGEST_CLOSE_MS);
    close_ingest(node);
    pipeline_cluster__close(node->cluster);
    pipeline_learning__close(node->learning);
    pipeline_models__close(&node->models);
    pipeline_callers__fini(&node->services.callers);
    pipeline_engine__close(&node->engine);
    pipeline_config_free(node->config);
    free(node->services.store_path);
    if (node->wake >= 0)
        close(node->wake);
    free(node);
    if (dog) {
        atomic_store(&dog->is_done, true);
        release(dog);
    }
}
