/*
 * freshet fsck: is the state in a node's directory sound? Exit 0 when it is.
 */
#include "internal.h"

#include <freshet/pipeline.h>

static void show(void *user, uint64_t done, uint64_t of)
{
    cli_progress__show(user, done, (int64_t)of, done);
}

static int look(const struct cli_command *command, struct pipeline_config *config, bool is_json)
{
    struct cli_progress progress;
    struct pipeline_fsck_options options = {.is_json = is_json, .progress = show, .user = &progress};
    bool is_sound = false, is_done;
    struct fr_buffer text;
    struct fr_err err;
    int result;

    fr_buffer_init(&text);
    cli_progress__init(&progress, "entities");
    is_done = pipeline_fsck(config, &options, &text, &is_sound, &err);
    cli_progress__fini(&progress);
    if (!is_done)
        result = cli_command__say(command, CLI_FAILURE, "%s", err.message);
    else if (printf("%.*s", (int)text.length, (const char *)text.bytes) < 0 || fflush(stdout) != 0)
        result = CLI_FAILURE;
    else
        result = is_sound ? CLI_OK : CLI_FAILURE;
    fr_buffer_fini(&text);
    return result;
}

int cli_fsck__main(const struct cli_command *command, int argc, char **argv)
{
    const char *file = NULL;
    struct cli_texts sets = {0};
    bool is_json = false;
    const struct cli_option options[] = {
        {"config", CLI_OPTION_TEXT, "FILE", "the node's configuration; its store.path is looked at, and a node may run on it",
         &file},
        {"set", CLI_OPTION_TEXTS, "key=value", "over the file; may be repeated", &sets},
        {"json", CLI_OPTION_FLAG, NULL, "as JSON", &is_json},
        {0},
    };
    int result = cli_options__read(command, options, NULL, argc, argv);
    struct pipeline_config_source source;
    struct pipeline_config *config;

    if (result >= 0)
        return result;
    if (!file)
        return cli_command__say(command, CLI_USAGE, "--config is missing; usage: freshet fsck %s", command->usage);
    source = (struct pipeline_config_source){.file = file, .sets = sets.values, .set_count = sets.count};
    result = cli_node_config__load(&source, file, &config);
    if (result >= 0)
        return result;
    result = look(command, config, is_json);
    pipeline_config_free(config);
    return result;
}
