/*
 * freshet check: is this configuration good, and what would it cost?
 */
#include "internal.h"

#include <freshet/pipeline.h>

struct check {
    const struct cli_command *command;
    const char *file, *against;
    struct cli_texts sets, cardinalities;
    uint64_t rate;
    bool is_json;
};

static int print(const struct cli_command *command, const struct fr_buffer *text)
{
    if (text->is_failed)
        return cli_command__say(command, CLI_FAILURE, "out of memory");
    printf("%.*s", (int)text->length, (const char *)text->bytes);
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
}

static int estimate(const struct cli_command *command, const struct pipeline_config *config, const char *file)
{
    struct fr_buffer text;
    int result;

    fr_buffer_init(&text);
    fr_buffer_append_format(&text, "%s: ok\n", file);
    pipeline_config_estimate(config, &text);
    result = print(command, &text);
    fr_buffer_fini(&text);
    return result;
}

static void show(void *user, uint64_t done, uint64_t of)
{
    cli_progress__show(user, done, (int64_t)of, done);
}

static int compare(const struct check *check, const struct pipeline_config *config)
{
    struct cli_progress progress;
    struct pipeline_compare_options options = {
        .directory = check->against, .is_json = check->is_json, .progress = show, .user = &progress};
    struct fr_buffer text;
    struct fr_err err;
    int result;

    fr_buffer_init(&text);
    cli_progress__init(&progress, "entities");
    if (pipeline_config_compare(config, &options, &text, &err)) {
        cli_progress__fini(&progress);
        result = print(check->command, &text);
    } else {
        cli_progress__fini(&progress);
        result = cli_command__say(check->command, CLI_FAILURE, "%s", err.message);
    }
    fr_buffer_fini(&text);
    return result;
}

static int cost(const struct check *check, const struct pipeline_config *config)
{
    struct pipeline_load load = {.cardinalities = check->cardinalities.values,
                                 .cardinality_count = check->cardinalities.count,
                                 .events_per_s = (double)check->rate,
                                 .is_json = check->is_json};
    struct fr_buffer text;
    struct fr_err err;
    int result;

    fr_buffer_init(&text);
    result = pipeline_config_cost(config, &load, &text, &err) ? print(check->command, &text)
                                                              : cli_command__fail(check->command, &err);
    fr_buffer_fini(&text);
    return result;
}

int cli_check__main(const struct cli_command *command, int argc, char **argv)
{
    struct check check = {.command = command};
    const struct cli_option options[] = {
        {"config", CLI_OPTION_TEXT, "FILE", "the configuration", &check.file},
        {"set", CLI_OPTION_TEXTS, "key=value", "over the file; may be repeated", &check.sets},
        {"against", CLI_OPTION_TEXT, "DIR", "what it does to the state in DIR, which stays as it is; a node may run on it",
         &check.against},
        {"cardinality", CLI_OPTION_TEXTS, "ENTITY=N", "what so many of it cost; may be repeated", &check.cardinalities},
        {"rate", CLI_OPTION_NUMBER, "N", "with --cardinality: events a second", &check.rate},
        {"json", CLI_OPTION_FLAG, NULL, "with --against or --cardinality: as JSON", &check.is_json},
        {0},
    };
    int result = cli_options__read(command, options, NULL, argc, argv);
    struct pipeline_config_source source;
    struct pipeline_config *config;

    if (result >= 0)
        return result;
    if (!check.file)
        return cli_command__say(command, CLI_USAGE, "--config is missing; usage: freshet check %s", command->usage);
    if (check.against && check.cardinalities.count > 0)
        return cli_command__say(command, CLI_USAGE, "--against and --cardinality are two questions; ask one at a time");
    if (check.cardinalities.count == 0 && (check.rate > 0 || (check.is_json && !check.against)))
        return cli_command__say(command, CLI_USAGE, "%s goes with --cardinality%s", check.rate > 0 ? "--rate" : "--json",
                                check.rate > 0 ? "" : " or --against");
    source = (struct pipeline_config_source){.file = check.file, .sets = check.sets.values, .set_count = check.sets.count};
    result = cli_node_config__load(&source, check.file, &config);
    if (result >= 0)
        return result;
    result = check.against                   ? compare(&check, config)
             : check.cardinalities.count > 0 ? cost(&check, config)
                                             : estimate(command, config, check.file);
    pipeline_config_free(config);
    return result;
}
