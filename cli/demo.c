/*
 * freshet demo: a node on an embedded broker with traffic of its own, simulated or replayed, and a view of what it does. One thread:
 * it produces what is due, looks whether the node was asked to stop, draws.
 */
#include "internal.h"

#include <freshet/log.h>
#include <freshet/pipeline.h>

#include <stdlib.h>
#include <unistd.h>

enum { DEMO_RATE = 200, DEMO_RATE_MAX = 1000000, DEMO_SETS_OWN = 4, DEMO_FILE_BYTES_MAX = 4 << 20 };

struct demo {
    const struct cli_command *command;
    const char *file; /* configuration; NULL: built in */
    const char *events; /* NULL: simulated */
    struct cli_loader_options load;
    const char *format_name;
    struct cli_texts sets;
    uint64_t rate, seed;
    bool is_json;

    char topic[256]; /* outlives the configuration, which the node takes over */
    char directory[CLI_DIRECTORY_BYTES]; /* temporary; "" when store.path is set */
    char directory_set[600];
    struct cli_texts all_sets; /* our own, then the user's */
    struct pipeline_config *config;
    struct pipeline_node *node;
    struct cli_loader *loader;
    struct cli_traffic *traffic;
    struct cli_view *view;
    bool told_done;
};

/* ---- The store: temporary, unless somebody wants to keep it ---- */

static bool file_sets_path(const char *path)
{
    struct fr_arena *arena = fr_arena_new(16 << 20);
    FILE *file = fopen(path, "rb");
    struct fr_diagnostics ignored;
    struct fr_buffer text;
    struct fr_yaml *root = NULL;
    bool is_set = false;

    fr_diagnostics_init(&ignored, path);
    fr_buffer_init(&text);
    for (size_t got = 1; file && got > 0 && text.length < DEMO_FILE_BYTES_MAX;) {
        uint8_t *room = fr_buffer_reserve(&text, 65536);

        got = room ? fread(room, 1, 65536, file) : 0;
        text.length += got;
    }
    if (arena && file && fr_yaml_parse(fr_buffer_slice(&text), arena, &root, &ignored))
        is_set = root && root->kind == FR_YAML_MAP && fr_yaml_get(fr_yaml_get(root, "store"), "path") != NULL;
    if (file)
        fclose(file);
    fr_buffer_fini(&text);
    fr_diagnostics_fini(&ignored);
    fr_arena_free(arena);
    return is_set;
}

static bool is_path_set(const struct demo *demo)
{
    for (int i = 0; i < demo->sets.count; i++) {
        if (strncmp(demo->sets.values[i], "store.path=", 11) == 0)
            return true;
    }
    return demo->file && file_sets_path(demo->file);
}

/* ---- Beginning ---- */

static int load_config(struct demo *demo)
{
    struct pipeline_config_source source = {.file = demo->file, .text = demo->file ? NULL : cli_demo__catalogue()};
    struct cli_texts *sets = &demo->all_sets;
    struct fr_err err;
    int result;

    if (demo->events)
        sets->values[sets->count++] = "node.clock=event";
    if (is_path_set(demo))
        fprintf(
            stderr,
            "freshet demo: the state is kept, the broker is not: what was produced and not applied before a kill is gone\n");
    else if (!cli_directory__make("demo", demo->directory, &err))
        return cli_command__say(demo->command, CLI_FAILURE, "%s, or --set store.path", err.message);
    if (*demo->directory) {
        snprintf(demo->directory_set, sizeof demo->directory_set, "store.path=%s", demo->directory);
        sets->values[sets->count++] = demo->directory_set;
    }
    for (int i = 0; i < demo->sets.count; i++)
        sets->values[sets->count++] = demo->sets.values[i];
    source.sets = sets->values;
    source.set_count = sets->count;
    result = cli_node_config__load(&source, demo->file ? demo->file : "demo.yaml (built in)", &demo->config);
    if (result >= 0)
        return result;
    if (!pipeline_config_is_embedded(demo->config))
        return cli_command__say(demo->command, CLI_FAILURE,
                                "kafka.brokers is not 'embedded', and a demo fills only its own broker; add --set "
                                "kafka.brokers=embedded, or use freshet run");
    return -1;
}

static bool start(struct demo *demo, struct fr_err *err)
{
    struct cli_traffic_options traffic = {.rate = demo->rate, .seed = demo->seed};

    snprintf(demo->topic, sizeof demo->topic, "%s", pipeline_config_topic(demo->config, &(int){0}, &traffic.is_json));
    if (demo->events) {
        demo->load.path = demo->events;
        demo->load.is_json = traffic.is_json;
        if (!cli_format__parse(demo->format_name, &demo->load.format, err) ||
            !cli_loader__open(&demo->load, &demo->loader, err))
            return false;
    }
    if (!pipeline_node_start(&demo->config, &demo->node, err)) {
        err->code = FR_UNAVAILABLE; /* exit code 1: the command line was fine */
        return false;
    }
    cli_signals__catch(pipeline_node_stop, demo->node);
    traffic.brokers = pipeline_node_brokers(demo->node);
    traffic.topic = demo->topic;
    traffic.loader = demo->loader;
    if (demo->is_json && !cli_node_config__first_line(demo->node))
        return fr_fail(err, FR_UNAVAILABLE, "cannot write to stdout");
    if (!cli_traffic__open(&traffic, demo->node, &demo->traffic, err))
        return false;
    demo->view = cli_view__new(demo->node, demo->events, !demo->file);
    return demo->view ? true : fr_fail(err, FR_EXHAUSTED, "out of memory");
}

/* ---- Going on ---- */

static void tell_done(struct demo *demo, const struct cli_traffic_seen *seen)
{
    if (demo->told_done || !seen->is_applied)
        return;
    demo->told_done = true;
    if (demo->is_json)
        fprintf(stderr, "freshet demo: replayed %llu events; still serving\n", (unsigned long long)seen->produced);
}

static int serve(struct demo *demo)
{
    struct fr_err err, failure = {0};
    int pause_ms = 0;

    while (!pipeline_node_wait(demo->node, pause_ms, &failure)) {
        struct cli_traffic_seen seen;

        if (!cli_traffic__step(demo->traffic, &pause_ms, &err))
            return cli_command__say(demo->command, CLI_FAILURE, "%s", err.message);
        cli_traffic__look(demo->traffic, &seen);
        if (!demo->is_json)
            cli_view__draw(demo->view, demo->node, &seen);
        tell_done(demo, &seen);
    }
    return failure.code == 0 ? CLI_OK : cli_command__say(demo->command, CLI_FAILURE, "%s", failure.message);
}

static int run(struct demo *demo)
{
    struct fr_err err;
    int result;

    cli_signals__catch(NULL, NULL);
    result = load_config(demo);
    if (result < 0) {
        if (isatty(STDOUT_FILENO) == 1 && !demo->is_json)
            fr_log_level_set(FR_LOG_WARN); /* the rest would be drawn over */
        result = start(demo, &err) ? serve(demo) : cli_command__fail(demo->command, &err);
    }
    cli_signals__catch(NULL, NULL); /* the node is about to go; a second signal still ends the process */
    cli_traffic__close(demo->traffic);
    pipeline_node_close(demo->node);
    pipeline_config_free(demo->config);
    cli_view__free(demo->view);
    cli_loader__close(demo->loader);
    cli_directory__remove(demo->directory);
    return result;
}

int cli_demo__main(const struct cli_command *command, int argc, char **argv)
{
    struct demo *demo = calloc(1, sizeof *demo);
    const struct cli_option options[] = {
        {"events", CLI_OPTION_TEXT, "FILE", "replay this file instead of simulated traffic (.gz and .zst too)", &demo->events},
        {"map", CLI_OPTION_TEXT, "MAP", "its columns, as in freshet produce", &demo->load.map},
        {"format", CLI_OPTION_TEXT, "jsonl|csv|pb", "default: by the file's name", &demo->format_name},
        {"rate", CLI_OPTION_NUMBER, "N", "events a second (simulated: 200; a file: as fast as the node applies)", &demo->rate},
        {"seed", CLI_OPTION_NUMBER, "K", "of the simulation (1)", &demo->seed},
        {"config", CLI_OPTION_TEXT, "FILE", "a configuration in place of the built-in one", &demo->file},
        {"set", CLI_OPTION_TEXTS, "key=value", "over it; may be repeated. store.path keeps the state", &demo->sets},
        {"json", CLI_OPTION_FLAG, NULL, "only the line with the ports, as freshet run", &demo->is_json},
        {0},
    };
    int result;

    if (!demo)
        return cli_command__say(command, CLI_FAILURE, "out of memory");
    demo->command = command;
    demo->seed = 1;
    result = cli_options__read(command, options, NULL, argc, argv);
    if (result < 0 && demo->rate > DEMO_RATE_MAX)
        result = cli_command__say(command, CLI_USAGE, "--rate: at most %d", DEMO_RATE_MAX);
    else if (result < 0 && demo->sets.count > CLI_TEXTS_MAX - DEMO_SETS_OWN)
        result = cli_command__say(command, CLI_USAGE, "--set is given more than %d times", CLI_TEXTS_MAX - DEMO_SETS_OWN);
    else if (result < 0 && !demo->events && (demo->load.map || demo->format_name))
        result = cli_command__say(command, CLI_USAGE, "--map and --format go with --events");
    if (result < 0) {
        if (demo->rate == 0 && !demo->events)
            demo->rate = DEMO_RATE;
        result = run(demo);
    }
    free(demo);
    return result;
}
