/*
 * freshet status: where a node stands, once; --watch is in watch.c.
 */
#include "watch.h"

#include <freshet/clock.h>
#include <freshet/message.h>
#include <freshet/v1/admin.pb-c.h>

#include <inttypes.h>

enum { STATUS_TIMEOUT_MS = 10000, STATUS_ARENA_BYTES = 16 << 20, STATUS_EVERY_MS = 1000, STATUS_PARTITIONS_SHOWN = 16 };

static void print_head(const Freshet__V1__StatusResponse *status, const char *api)
{
    char events[32], entities[32], stream[32];

    printf("freshet %s at %s: %s%s\n", status->version, api, status->ready ? "serving" : "not ready: ",
           status->ready               ? ""
           : *status->not_ready_reason ? status->not_ready_reason
                                       : "starting");
    printf("  brokers      %s (cluster %s)\n", status->brokers, *status->cluster_id ? status->cluster_id : "not known yet");
    printf("  applied      %s events\n", cli_progress__grouped(status->applied_events, events));
    if (status->lag_events < 0)
        printf("  lag          not known yet\n");
    else
        printf("  lag          %" PRId64 " events, stale %" PRId64 " ms\n", status->lag_events, status->stale_ms);
    if (status->stream_time_ms > 0) {
        cli_time__print(status->stream_time_ms, stream);
        printf("  stream time  %s (clock: %s)\n", stream, status->clock);
    }
    if (*status->clock_trouble)
        printf("  clock        %s\n", status->clock_trouble);
    printf("  entities     %s in %.1f MiB of memory, epoch %" PRIu64 "\n", cli_progress__grouped(status->entities, entities),
           (double)status->memory_bytes / 1048576.0, status->epoch);
    if (status->memory_budget_bytes > 0) /* an older node says nothing */
        printf("  budget       %" PRIu64 " MiB (store.memory) of %" PRIu64 " MiB that the process may have\n",
               status->memory_budget_bytes >> 20, status->machine_memory_bytes >> 20);
}

static void print_lists(const Freshet__V1__StatusResponse *status)
{
    struct cli_table table;

    cli_table__init(&table, 2);
    for (size_t i = 0; i < status->n_outcomes; i++) {
        if (status->outcomes[i]->events == 0)
            continue;
        cli_table__cell(&table, "%s", status->outcomes[i]->outcome);
        cli_table__cell(&table, "%" PRIu64, status->outcomes[i]->events);
    }
    if (table.count > 0)
        printf("  events by outcome\n");
    cli_table__print(&table, "    ", stdout);
    cli_table__fini(&table);
    if (status->n_partitions == 0)
        return;
    cli_table__init(&table, 5);
    cli_table__cell(&table, "partition");
    cli_table__cell(&table, "next");
    cli_table__cell(&table, "end");
    cli_table__cell(&table, "lag");
    cli_table__cell(&table, "gap");
    for (size_t i = 0; i < status->n_partitions && i < STATUS_PARTITIONS_SHOWN; i++) {
        const Freshet__V1__PartitionStatus *partition = status->partitions[i];

        cli_table__cell(&table, "%s/%" PRId32, partition->topic, partition->partition);
        cli_table__cell(&table, "%" PRId64, partition->next_offset);
        cli_table__cell(&table, "%" PRId64, partition->end_offset);
        if (partition->lag_events < 0)
            cli_table__cell(&table, "-");
        else
            cli_table__cell(&table, "%" PRId64, partition->lag_events);
        cli_table__cell(&table, "%" PRIu64, partition->gap_events);
    }
    cli_table__print(&table, "  ", stdout);
    cli_table__fini(&table);
    if (status->n_partitions > STATUS_PARTITIONS_SHOWN)
        printf("  … %zu more partitions; --json shows all\n", status->n_partitions - STATUS_PARTITIONS_SHOWN);
}

/* An instance that refuses to tell, or is too busy to, has told the rest. */
static void print_cluster(const struct cli_node *node, const Freshet__V1__StatusResponse *status, struct fr_arena *arena)
{
    const Freshet__V1__ClusterResponse *cluster = NULL;
    bool has_others = false;
    struct fr_buffer reply;
    struct fr_err err;

    for (size_t i = 0; i < status->n_partitions && status->lag_events >= 0; i++)
        has_others = has_others || status->partitions[i]->lag_events < 0;
    fr_buffer_init(&reply);
    if (cli_client__call(node, "freshet.v1.AdminService/Cluster", fr_slice_of("{}"), STATUS_TIMEOUT_MS, &reply, &err))
        cluster = (const Freshet__V1__ClusterResponse *)proto_json_parse(&freshet__v1__cluster_response__descriptor,
                                                                         fr_buffer_slice(&reply), arena, &err);
    if (cluster)
        cli_cluster__print(cluster, stdout);
    else if (has_others)
        printf("  cluster      not told: %s\n", err.message);
    fr_buffer_fini(&reply);
}

static bool show(const struct cli_node *node, bool is_json, struct fr_arena *arena, struct fr_err *err)
{
    const Freshet__V1__StatusResponse *status;
    struct fr_buffer reply;
    bool is_good = false;

    fr_buffer_init(&reply);
    if (!cli_client__call(node, "freshet.v1.AdminService/Status", fr_slice_of("{}"), STATUS_TIMEOUT_MS, &reply, err))
        goto out;
    if (is_json) {
        printf("%.*s\n", (int)reply.length, (const char *)reply.bytes);
        is_good = true;
        goto out;
    }
    status = (const Freshet__V1__StatusResponse *)proto_json_parse(&freshet__v1__status_response__descriptor,
                                                                   fr_buffer_slice(&reply), arena, err);
    if (!status) {
        (void)fr_fail_in(err, "the node's reply");
        goto out;
    }
    print_head(status, node->api);
    print_cluster(node, status, arena);
    print_lists(status);
    is_good = true;
out:
    fr_buffer_fini(&reply);
    return is_good;
}

/* With --watch, JSON comes once a second, a line each. */
static int show_all(const struct cli_command *command, const struct cli_node *node, bool is_json, bool is_watching)
{
    struct fr_arena *arena = fr_arena_new(STATUS_ARENA_BYTES);
    bool is_good;
    struct fr_err err;

    if (!arena)
        return cli_command__say(command, CLI_FAILURE, "out of memory");
    if (is_watching)
        cli_signals__catch(NULL, NULL);
    do {
        is_good = show(node, is_json, arena, &err);
        if (is_good && fflush(stdout) != 0)
            is_good = fr_fail(&err, FR_UNAVAILABLE, "stdout cannot be written to");
        if (is_good && is_watching && !cli_signals__is_stopped())
            fr_clock_sleep_ms(STATUS_EVERY_MS);
    } while (is_good && is_watching && !cli_signals__is_stopped());
    fr_arena_free(arena);
    return is_good || (is_watching && cli_signals__is_stopped()) ? CLI_OK : cli_command__fail(command, &err);
}

int cli_status__main(const struct cli_command *command, int argc, char **argv)
{
    struct cli_node node = {0};
    const char *operations = NULL;
    bool is_json = false, is_watching = false;
    const struct cli_option options[] = {
        {"watch", CLI_OPTION_FLAG, NULL, "again every second, until ^C: a view on a terminal, else a line", &is_watching},
        {"operations", CLI_OPTION_TEXT, "HOST:PORT",
         "--watch: where metrics are (FRESHET_OPERATIONS; port 7071 beside the API)", &operations},
        CLI_NODE_OPTIONS(node),
        {"json", CLI_OPTION_FLAG, NULL, "the reply as JSON, one line", &is_json},
        {0},
    };
    int result = cli_options__read(command, options, NULL, argc, argv);

    if (result >= 0)
        return result;
    cli_node__default(&node);
    return is_watching && !is_json ? cli_watch__run(command, &node, operations)
                                   : show_all(command, &node, is_json, is_watching);
}
