/*
 * What run, check and demo share: reading the configuration and the first line.
 */
#include "internal.h"

#include <freshet/pipeline.h>

int cli_node_config__load(const struct pipeline_config_source *source, const char *name, struct pipeline_config **config)
{
    struct fr_diagnostics diagnostics;
    int exit_code = -1;

    fr_diagnostics_init(&diagnostics, name);
    *config = pipeline_config_load(source, &diagnostics);
    fprintf(stderr, "%.*s", (int)diagnostics.text.length, (const char *)diagnostics.text.bytes); /* warnings, when it loaded */
    if (!*config) {
        if (diagnostics.text.length == 0)
            fprintf(stderr, "%s: out of memory\n", name);
        exit_code = CLI_FAILURE;
    }
    fr_diagnostics_fini(&diagnostics);
    return exit_code;
}

bool cli_node_config__first_line(const struct pipeline_node *node)
{
    printf("{\"api\":\"%s\",\"operations\":\"%s\",\"brokers\":\"%s\"}\n", pipeline_node_api(node),
           pipeline_node_operations(node), pipeline_node_brokers(node));
    return fflush(stdout) == 0;
}
