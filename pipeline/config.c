/*
 * The configuration: one YAML file, read section by section; every mistake is told before anything is started.
 */
#include "internal.h"

#include <freshet/deltas.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum { CONFIG_ARENA_BYTES = 64 << 20, CONFIG_FILE_BYTES_MAX = 4 << 20, DEFAULT_PARTITIONS = 8 };

static const char *const root_keys[] = {"node",  "kafka",        "store",  "server", "learner", "entities", "features",
                                        "lists", "feature_sets", "models", "texts",  "tables",  "sessions"};

static bool read_file(const char *path, struct fr_buffer *text, struct fr_diagnostics *diagnostics)
{
    FILE *file = fopen(path, "rb");
    size_t got = 1;

    if (!file)
        return fr_diagnostics_add(diagnostics, NULL, "cannot open it: %s", strerror(errno));
    while (got > 0 && text->length <= CONFIG_FILE_BYTES_MAX) {
        uint8_t *room = fr_buffer_reserve(text, 1 << 16);

        got = room ? fread(room, 1, 1 << 16, file) : 0;
        text->length += got;
    }
    if (ferror(file) || text->is_failed || text->length > CONFIG_FILE_BYTES_MAX) {
        fclose(file);
        return fr_diagnostics_add(diagnostics, NULL, "cannot read it: %s",
                                  text->length > CONFIG_FILE_BYTES_MAX ? "larger than 4 MiB" : strerror(errno));
    }
    fclose(file);
    return true;
}

static void read_node(struct fr_yaml *root, struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    static const char *const clocks[] = {"wall", "event"};
    static const char *const modes[] = {"standalone", "cluster", "replica"};
    struct fr_yaml *node = fr_yaml_get(root, "node"), *dedupe = fr_yaml_get(node, "dedupe");
    int64_t lanes = 2, ids = 32, standbys = 0;
    int clock = 0, mode = 0;

    fr_yaml_choice(node, "clock", clocks, 2, &clock, diagnostics);
    fr_yaml_choice(node, "mode", modes, 3, &mode, diagnostics);
    fr_yaml_text(node, "id", &config->id, diagnostics);
    fr_yaml_int(node, "standbys", 0, 8, &standbys, diagnostics);
    fr_yaml_span(node, "drain", 0, INT64_C(600) * 1000, &config->drain_ms, diagnostics);
    fr_yaml_int(node, "lanes", 1, PIPELINE_LANES_MAX, &lanes, diagnostics);
    fr_yaml_span(node, "max_future", 0, INT64_C(86400000), &config->max_future_ms, diagnostics);
    fr_yaml_span(node, "canary", 0, INT64_C(3600) * 1000, &config->canary_ms, diagnostics);
    fr_yaml_span(node, "tombstones", 1000, INT64_C(3650) * 86400000, &config->tombstones_ms, diagnostics);
    fr_yaml_int(dedupe, "ids", 0, 1024, &ids, diagnostics);
    fr_yaml_span(dedupe, "horizon", 1000, INT64_C(30) * 86400000, &config->dedupe.horizon_ms, diagnostics);
    fr_yaml_finish(dedupe, "node.dedupe", NULL, 0, diagnostics);
    fr_yaml_finish(node, "node", NULL, 0, diagnostics);
    config->is_event_clock = clock == 1;
    config->is_cluster = mode >= 1;
    config->is_replica = mode == 2;
    config->are_stale_reads = mode == 2; /* it has nothing else */
    config->standbys = (int)standbys;
    config->lanes = (int)lanes;
    config->dedupe.ids = (int)ids;
}

static void read_topic(struct fr_yaml *yaml, struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    static const char *const formats[] = {"protobuf", "json"};
    struct ingest_topic *topic = &config->topics[config->topic_count];
    int64_t partitions = 0;
    int format = 0;

    if (yaml->kind != FR_YAML_MAP) {
        fr_diagnostics_add(diagnostics, yaml,
                           "kafka.topics: each topic is a map, as in { name: freshet.events, format: protobuf }");
        return;
    }
    topic->name = NULL;
    fr_yaml_text(yaml, "name", &topic->name, diagnostics);
    fr_yaml_choice(yaml, "format", formats, 2, &format, diagnostics);
    fr_yaml_int(yaml, "partitions", 1, 1024, &partitions, diagnostics);
    fr_yaml_finish(yaml, "kafka.topics", NULL, 0, diagnostics);
    topic->format = format == 1 ? PROTO_FORMAT_JSON : PROTO_FORMAT_PROTOBUF;
    topic->partitions = (int)partitions;
    if (!topic->name || !topic->name[0] || strlen(topic->name) > 249) {
        fr_diagnostics_add(
            diagnostics, yaml,
            "kafka.topics: name is missing or longer than 249 bytes; name the topic, as in name: freshet.events");
        return;
    }
    for (int i = 0; i < config->topic_count; i++)
        if (strcmp(config->topics[i].name, topic->name) == 0) {
            fr_diagnostics_add(diagnostics, yaml, "kafka.topics: '%s' is listed twice; list each topic once", topic->name);
            return;
        }
    config->topic_count++;
}

static void read_topics(struct fr_yaml *kafka, struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *topics = fr_yaml_get(kafka, "topics");

    if (!topics) {
        config->topics[0] = (struct ingest_topic){.name = "freshet.events", .format = PROTO_FORMAT_PROTOBUF, .partitions = 8};
        config->topic_count = 1;
        return;
    }
    if (topics->kind != FR_YAML_LIST || topics->count < 1 || topics->count > PIPELINE_TOPICS_MAX) {
        fr_diagnostics_add(diagnostics, topics,
                           "kafka.topics: write a list of 1 to %d topics, as in [ { name: freshet.events } ]",
                           PIPELINE_TOPICS_MAX);
        return;
    }
    for (int i = 0; i < topics->count; i++)
        read_topic(topics->values[i], config, diagnostics);
}

/* Quotes no value that stands elsewhere, in a file or the environment. */
static void tell_property(const struct fr_yaml *key, const struct fr_yaml *value, struct fr_err *err,
                          struct fr_diagnostics *diagnostics)
{
    if (!fr_slice_equal(value->text, value->written))
        fr_err_hide(err, value->text.bytes);
    fr_diagnostics_add(diagnostics, key, "%s", err->message);
}

static void read_properties(struct fr_yaml *kafka, struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *properties = fr_yaml_get(kafka, "properties");
    struct fr_err err;

    if (!properties)
        return;
    if (properties->kind != FR_YAML_MAP || properties->count > PIPELINE_PROPERTIES_MAX) {
        fr_diagnostics_add(diagnostics, properties, "kafka.properties: write a map of at most %d librdkafka properties",
                           PIPELINE_PROPERTIES_MAX);
        return;
    }
    for (int i = 0; i < properties->count; i++) {
        struct fr_yaml *value = properties->values[i];

        if (value->kind != FR_YAML_SCALAR) {
            fr_diagnostics_add(diagnostics, value, "kafka.properties.%s: give one value, not a list or map",
                               (const char *)properties->keys[i]->text.bytes);
            continue;
        }
        config->properties[config->property_count] =
            (struct ingest_property){.name = properties->keys[i]->text.bytes, .value = value->text.bytes};
        if (ingest_property_check(&config->properties[config->property_count], &err))
            config->property_count++;
        else
            tell_property(properties->keys[i], value, &err, diagnostics);
    }
}

static void read_kafka(struct fr_yaml *root, struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    static const char *const starts[] = {"earliest", "latest", "fail"}, *const ways[] = {"refuse", "adopt"};
    struct fr_yaml *kafka = fr_yaml_get(root, "kafka");
    int start = 0, way = 0;

    fr_yaml_text(kafka, "brokers", &config->brokers, diagnostics);
    fr_yaml_text(kafka, "group", &config->group, diagnostics);
    fr_yaml_text(kafka, "dead_letters", &config->dead_letters, diagnostics);
    fr_yaml_choice(kafka, "start", starts, 3, &start, diagnostics);
    fr_yaml_choice(kafka, "recreated", ways, 2, &way, diagnostics);
    if (!config->brokers[0])
        fr_diagnostics_add(diagnostics, fr_yaml_get(kafka, "brokers"), "kafka.brokers: empty; write host:port,… or embedded");
    read_topics(kafka, config, diagnostics);
    read_properties(kafka, config, diagnostics);
    fr_yaml_finish(kafka, "kafka", NULL, 0, diagnostics);
    config->start = start == 0 ? INGEST_EARLIEST : start == 1 ? INGEST_LATEST : INGEST_FAIL;
    config->is_adopting = way == 1;
    config->is_embedded = strcmp(config->brokers, "embedded") == 0;
    for (int i = 0; i < config->topic_count; i++)
        if (strcmp(config->topics[i].name, config->dead_letters) == 0)
            fr_diagnostics_add(
                diagnostics, fr_yaml_get(kafka, "dead_letters"),
                "kafka.dead_letters: '%s' is also read as a topic; dead letters would come round for ever: name another",
                config->dead_letters);
}

static void read_store(struct fr_yaml *root, struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *store = fr_yaml_get(root, "store");

    fr_yaml_text(store, "path", &config->store_path, diagnostics);
    fr_yaml_size(store, "memory", UINT64_C(16) << 20, UINT64_C(1) << 44, &config->memory_bytes, diagnostics);
    fr_yaml_size(store, "free", 0, UINT64_C(1) << 44, &config->free_bytes_least, diagnostics);
    fr_yaml_span(store, "epoch", 50, 600000, &config->epoch_ms, diagnostics);
    fr_yaml_text(store, "checkpoints", &config->checkpoints, diagnostics);
    fr_yaml_span(store, "checkpoint_every", 1000, INT64_C(86400000), &config->checkpoint_ms, diagnostics);
    fr_yaml_finish(store, "store", NULL, 0, diagnostics);
    if (!config->store_path[0])
        fr_diagnostics_add(diagnostics, fr_yaml_get(store, "path"), "store.path: empty; name a directory");
    if (config->checkpoints[0] && strcmp(config->checkpoints, config->store_path) == 0)
        fr_diagnostics_add(diagnostics, fr_yaml_get(store, "checkpoints"),
                           "store.checkpoints: is store.path; name a directory that all instances see");
    if (config->checkpoints[0] && !config->is_cluster)
        fr_diagnostics_add(diagnostics, fr_yaml_get(store, "checkpoints"),
                           "store.checkpoints: is of a cluster; a node that stands alone has backups: freshet backup");
}

static void set_defaults(struct pipeline_config *config)
{
    config->max_future_ms = 60000;
    config->tombstones_ms = INT64_C(30) * 86400000;
    config->dedupe = (struct agg_dedupe){.ids = 32, .horizon_ms = 600000};
    config->brokers = "embedded";
    config->group = "freshet";
    config->dead_letters = "freshet.dead";
    config->store_path = "/var/lib/freshet";
    config->memory_bytes = UINT64_C(1) << 30;
    config->free_bytes_least = UINT64_C(64) << 20;
    config->epoch_ms = 2000;
    config->checkpoints = "";
    config->checkpoint_ms = 600000;
    config->id = "";
    config->listen = "127.0.0.1:7070";
    config->advertised = "";
    config->operations = "127.0.0.1:7071";
    config->ready_lag_ms = 10000;
    server_limits_default(&config->limits);
}

/* A topic is of rows or of events, not both. */
static void check_tables(struct fr_yaml *root, const struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    int count = config->catalogue ? agg_catalogue_table_count(config->catalogue) : 0;

    for (int i = 0; i < count; i++) {
        struct agg_table_info info = agg_catalogue_table_at(config->catalogue, i);
        bool is_taken = pipeline_config_has_topic(config, info.topic) || strcmp(info.topic, config->dead_letters) == 0;

        for (int t = 0; t < config->text_count; t++)
            is_taken = is_taken || strcmp(info.topic, config->texts[t].from) == 0 ||
                       strcmp(info.topic, config->texts[t].to) == 0 || strcmp(info.topic, config->texts[t].labelled) == 0;
        if (is_taken)
            fr_diagnostics_add(diagnostics, fr_yaml_get(fr_yaml_get(fr_yaml_get(root, "tables"), info.name), "topic"),
                               "tables.%s.topic: '%s' is read as events, or has dead letters; a table has a topic of its own",
                               info.name, info.topic);
    }
}

/* What the node writes there, it must not read. */
static void check_sessions(struct fr_yaml *root, const struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    const char *topic = config->learner ? config->learner->sessions.topic : NULL;

    if (topic && (pipeline_config_has_topic(config, topic) || strcmp(topic, config->dead_letters) == 0 ||
                  strcmp(topic, config->learner->served) == 0 || strcmp(topic, config->learner->examples) == 0))
        fr_diagnostics_add(
            diagnostics, fr_yaml_get(fr_yaml_get(root, "sessions"), "topic"),
            "sessions.topic: '%s' has events, dead letters, rows or examples; sessions have a topic of their own", topic);
}

struct uncarried {
    struct fr_yaml *at;
    struct fr_diagnostics *diagnostics;
};

static void tell_uncarried(void *user, const char *line)
{
    const struct uncarried *uncarried = user;

    fr_diagnostics_add(uncarried->diagnostics, uncarried->at, "node.mode: cluster: %s; use standalone, or leave it out", line);
}

/* What clusters do not carry yet, a line each: nothing is done by halves. */
static void check_cluster(struct fr_yaml *root, const struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    struct uncarried uncarried = {fr_yaml_get(fr_yaml_get(root, "node"), "mode"), diagnostics};
    const struct {
        bool is_there;
        const char *line;
    } refused[] = {
        {!config->id[0], "needs node.id, a name that no other instance has and that stays the same"},
        {strlen(config->id) > 100 || strlen(config->group) > 100, "node.id and kafka.group have 100 bytes at most"},
        {pipeline_config__is_listening_anywhere(config) && !config->advertised[0],
         "server.listen is every address of the machine; say in server.advertised which one others are to use"},
        {config->is_embedded, "needs brokers of its own; set kafka.brokers"},
        {config->is_event_clock, "node.clock: event is for replays, by a node that stands alone"},
        {config->lanes > PIPELINE_LANES_MAX - PIPELINE_CLUSTER_SLOTS, "node.lanes has 62 at most"},
        {config->is_adopting, "kafka.recreated: adopt is not in clusters yet"},
        {config->learner && config->learner->model_count > 0, "models are not in clusters yet"},
        {config->learner && config->learner->sessions.topic && config->learner->sessions.has_pairs,
         "sessions.pairs number all that is positive in one order, which instances do not have"},
    };

    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (refused[i].is_there)
            tell_uncarried(&uncarried, refused[i].line);
    if (config->catalogue)
        agg_catalogue_uncarried(config->catalogue, tell_uncarried, &uncarried);
}

void pipeline_config__sections(struct fr_yaml *root, struct pipeline_config *config, struct fr_diagnostics *diagnostics)
{
    set_defaults(config);
    read_node(root, config, diagnostics);
    read_kafka(root, config, diagnostics);
    read_store(root, config, diagnostics);
    pipeline_config__server(root, config, diagnostics);
    pipeline_config__texts(root, config, diagnostics);
    config->learner = learner_config_parse(root, config->arena, diagnostics);
    config->catalogue = agg_catalogue_parse(root, &config->dedupe, diagnostics);
    check_tables(root, config, diagnostics);
    check_sessions(root, config, diagnostics);
    if (config->is_cluster)
        check_cluster(root, config, diagnostics);
    fr_yaml_finish(root, "the configuration", root_keys, (int)(sizeof root_keys / sizeof *root_keys), diagnostics);
}

struct pipeline_config *pipeline_config_load(const struct pipeline_config_source *source, struct fr_diagnostics *diagnostics)
{
    struct fr_arena *arena = fr_arena_new(CONFIG_ARENA_BYTES);
    struct pipeline_config *config = arena ? fr_arena_take_zeroed(arena, 1, sizeof *config) : NULL;
    struct fr_buffer text;
    struct fr_yaml *root = NULL;
    bool is_good;

    if (!config) {
        fr_arena_free(arena);
        fr_diagnostics_add(diagnostics, NULL, "out of memory");
        return NULL;
    }
    config->arena = arena;
    fr_buffer_init(&text);
    if (!source->file)
        fr_buffer_append_text(&text, source->text);
    is_good = (!source->file || read_file(source->file, &text, diagnostics)) &&
              fr_yaml_parse(fr_buffer_slice(&text), arena, &root, diagnostics);
    for (int i = 0; is_good && i < source->set_count; i++)
        is_good = fr_yaml_set(root, source->sets[i], arena, diagnostics);
    if (is_good && (!root || root->kind != FR_YAML_MAP))
        is_good = fr_diagnostics_add(diagnostics, root,
                                     "the configuration is not a map; it needs at least `entities` and `features`");
    if (is_good)
        pipeline_config__sections(root, config, diagnostics);
    fr_buffer_fini(&text);
    if (!is_good || diagnostics->count > 0) {
        pipeline_config_free(config);
        return NULL;
    }
    return config;
}

void pipeline_config_free(struct pipeline_config *config)
{
    if (!config)
        return;
    agg_catalogue_free(config->catalogue);
    fr_arena_free(config->arena);
}

void pipeline_config_estimate(const struct pipeline_config *config, struct fr_buffer *out)
{
    agg_catalogue_estimate(config->catalogue, out);
    learner_sessions_estimate(&config->learner->sessions, out);
}

const char *pipeline_config_topic(const struct pipeline_config *config, int *partitions, bool *is_json)
{
    *partitions = config->topics[0].partitions;
    *is_json = config->topics[0].format == PROTO_FORMAT_JSON;
    return config->topics[0].name;
}

bool pipeline_config_has_topic(const struct pipeline_config *config, const char *name)
{
    for (int i = 0; i < config->topic_count; i++) {
        if (strcmp(config->topics[i].name, name) == 0)
            return true;
    }
    return false;
}

int pipeline_config__partitions(const struct pipeline_config *config)
{
    return config->topics[0].partitions > 0 ? config->topics[0].partitions : DEFAULT_PARTITIONS;
}

const char *pipeline_config_store_path(const struct pipeline_config *config)
{
    return config->store_path;
}

const char *pipeline_config_group(const struct pipeline_config *config)
{
    return config->group;
}

bool pipeline_config_is_embedded(const struct pipeline_config *config)
{
    return config->is_embedded;
}
