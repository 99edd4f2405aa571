/*
 * freshet status: where a node stands, once or every second.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/message.h>
#include <freshet/v1/admin.pb-c.h>

#include <inttypes.h>
#include <unistd.h>

enum { STATUS_TIMEOUT_MS = 10000, STATUS_ARENA_BYTES = 16 << 20, STATUS_EVERY_MS = 1000, STATUS_PARTITIONS_SHOWN = 16 };

struct status_before { /* for rates */
    uint64_t events;
    int64_t at_ms;
};

static void print_head(const Freshet__V1__StatusResponse *status, const char *api, const struct status_before *before,
                       int64_t now_ms)
{
    char events[32], entities[32], stream[32], rate[48] = "";
    char number[32];

    if (before->at_ms > 0 && now_ms > before->at_ms && status->applied_events >= before->events)
        snprintf(rate, sizeof rate, " (%s/s)",
                 cli_progress__grouped((status->applied_events - before->events) * 1000 / (uint64_t)(now_ms - before->at_ms),
                                       number));
    printf("freshet %s at %s: %s%s\n", status->version, api, status->ready ? "serving" : "not ready: ",
           status->ready               ? ""
           : *status->not_ready_reason ? status->not_ready_reason
                                       : "starting");
    printf("  brokers      %s (cluster %s)\n", status->brokers, *status->cluster_id ? status->cluster_id : "not known yet");
    printf("  applied      %s events%s\n", cli_progress__grouped(status->applied_events, events), rate);
    if (status->lag_events < 0)
        printf("  lag          not known yet\n");
    else
        printf("  lag          %" PRId64 " events, stale %" PRId64 " ms\n", status->lag_events, status->stale_ms);
    if (status->stream_time_ms > 0) {
        cli_time__print(status->stream_time_ms, stream);
        printf("  stream time  %s (clock: %s)\n", stream, status->clock);
    }
    printf("  entities     %s in %.1f MiB of memory, epoch %" PRIu64 "\n", cli_progress__grouped(status->entities, entities),
           (double)status->memory_bytes / 1048576.0, status->epoch);
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
        cli_table__cell(&table, "%" PRId64, partition->lag_events);
        cli_table__cell(&table, "%" PRIu64, partition->gap_events);
    }
    cli_table__print(&table, "  ", stdout);
    cli_table__fini(&table);
    if (status->n_partitions > STATUS_PARTITIONS_SHOWN)
        printf("  … %zu more partitions; --json shows all\n", status->n_partitions - STATUS_PARTITIONS_SHOWN);
}

static bool show(const struct cli_node *node, bool is_json, bool is_redrawn, struct status_before *before,
                 struct fr_arena *arena, struct fr_err *err)
{
    const Freshet__V1__StatusResponse *status;
    struct fr_buffer reply;
    int64_t now_ms = fr_clock_monotonic_ms();
    bool is_good = false;

    fr_buffer_init(&reply);
    fr_arena_reset(arena, STATUS_ARENA_BYTES);
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
    if (is_redrawn)
        fputs("\033[H\033[2J", stdout);
    print_head(status, node->api, before, now_ms);
    print_lists(status);
    *before = (struct status_before){.events = status->applied_events, .at_ms = now_ms};
    is_good = true;
out:
    fr_buffer_fini(&reply);
    return is_good;
}

int cli_status__main(const struct cli_command *command, int argc, char **argv)
{
    struct cli_node node = {0};
    bool is_json = false, is_watching = false;
    const struct cli_option options[] = {
        {"watch", CLI_OPTION_FLAG, NULL, "again every second, until ^C", &is_watching},
        CLI_NODE_OPTIONS(node),
        {"json", CLI_OPTION_FLAG, NULL, "the reply as JSON, one line", &is_json},
        {0},
    };
    int result = cli_options__read(command, options, NULL, argc, argv);
    struct fr_arena *arena;
    struct status_before before = {0};
    struct fr_err err;

    if (result >= 0)
        return result;
    arena = fr_arena_new(STATUS_ARENA_BYTES);
    if (!arena)
        return cli_command__say(command, CLI_FAILURE, "out of memory");
    cli_node__default(&node);
    if (is_watching)
        cli_signals__catch(NULL, NULL);
    do {
        bool is_good = show(&node, is_json, is_watching && isatty(STDOUT_FILENO) == 1, &before, arena, &err);

        result = is_good && fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
        if (!is_good && !(is_watching && cli_signals__is_stopped())) {
            result = cli_command__fail(command, &err);
            break;
        }
        if (is_watching)
            fr_clock_sleep_ms(STATUS_EVERY_MS);
    } while (is_watching && !cli_signals__is_stopped() && result == CLI_OK);
    fr_arena_free(arena);
    return result;
}
