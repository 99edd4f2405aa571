/*
 * freshet check: is this configuration good, and what would it cost?
 */
#include "internal.h"

#include <freshet/pipeline.h>

static int estimate(const struct pipeline_config *config, const char *file)
{
    struct fr_buffer text;

    fr_buffer_init(&text);
    pipeline_config_estimate(config, &text);
    printf("%s: ok\n%.*s", file, (int)text.length, (const char *)text.bytes);
    fr_buffer_fini(&text);
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
}

int cli_check__main(const struct cli_command *command, int argc, char **argv)
{
    const char *file = NULL, *against = NULL;
    struct cli_texts sets = {0};
    const struct cli_option options[] = {
        {"config", CLI_OPTION_TEXT, "F", "the configuration", &file},
        {"set", CLI_OPTION_TEXTS, "key=value", "over the file; may be repeated", &sets},
        {"against", CLI_OPTION_TEXT, "DIR", "what it does to the state in DIR (not in this version)", &against},
        {0},
    };
    int result = cli_options__read(command, options, NULL, argc, argv);
    struct pipeline_config_source source;
    struct pipeline_config *config;

    if (result >= 0)
        return result;
    if (against)
        return cli_command__say(command, CLI_USAGE, "--against is not in this version");
    if (!file)
        return cli_command__say(command, CLI_USAGE, "--config is missing; usage: freshet check %s", command->usage);
    source = (struct pipeline_config_source){.file = file, .sets = sets.values, .set_count = sets.count};
    result = cli_node_config__load(&source, file, &config);
    if (result >= 0)
        return result;
    result = estimate(config, file);
    pipeline_config_free(config);
    return result;
}
