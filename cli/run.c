/*
 * freshet run: the node, until somebody asks it to stop.
 */
#include "internal.h"

#include <freshet/pipeline.h>

int cli_run__node(const struct cli_command *command, struct pipeline_config *config)
{
    struct pipeline_node *node;
    struct fr_err err, failure = {0};

    cli_signals__catch(NULL, NULL);
    if (!pipeline_node_start(&config, &node, &err)) {
        pipeline_config_free(config);
        return cli_command__say(command, CLI_FAILURE, "%s", err.message);
    }
    cli_signals__catch(pipeline_node_stop, node);
    if (!cli_node_config__first_line(node))
        pipeline_node_stop(node); /* nobody can learn the ports: whoever started it is gone */
    cli_notify("READY=1"); /* to be asked: catching up may take long, and starting is not failing */
    (void)pipeline_node_wait(node, -1, &failure);
    cli_signals__catch(NULL, NULL); /* the node is about to go; a second signal still ends the process */
    cli_notify("STOPPING=1");
    pipeline_node_close(node);
    if (failure.code != 0)
        return cli_command__say(command, CLI_FAILURE, "%s", failure.message);
    return CLI_OK;
}

int cli_run__main(const struct cli_command *command, int argc, char **argv)
{
    const char *file = NULL;
    struct cli_texts sets = {0};
    const struct cli_option options[] = {
        {"config", CLI_OPTION_TEXT, "FILE", "the configuration", &file},
        {"set", CLI_OPTION_TEXTS, "key=value", "over the file: --set server.listen=127.0.0.1:0; may be repeated", &sets},
        {0},
    };
    int result = cli_options__read(command, options, NULL, argc, argv);
    struct pipeline_config_source source;
    struct pipeline_config *config;

    if (result >= 0)
        return result;
    if (!file)
        return cli_command__say(command, CLI_USAGE, "--config is missing; usage: freshet run %s", command->usage);
    source = (struct pipeline_config_source){.file = file, .sets = sets.values, .set_count = sets.count};
    result = cli_node_config__load(&source, file, &config);
    return result >= 0 ? result : cli_run__node(command, config);
}
