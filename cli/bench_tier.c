/*
 * freshet bench tier: a node whose state is ten times its memory budget, beside one that has all of it in memory, turn about. W1 with
 * ten times the keys, since W1's own state is smaller than the least budgets anybody gives.
 */
#include "bench.h"

#include <freshet/bench.h>

#include <inttypes.h>

enum { TIER_EVENTS = 2000000, TIER_EVENTS_EMBEDDED = 200000, TIER_KEYS = 10, TIER_STATE = 10, TIER_BUDGET_LEAST = 16 << 20 };

struct tier {
    uint64_t budget;
    struct cli_bench_run tiered, whole;
};

static double per_second(const struct cli_bench_run *run)
{
    return run->seconds > 0 ? (double)run->records / run->seconds : 0;
}

static double per_million(const struct cli_bench_run *run)
{
    return run->records > 0 ? run->cpu_seconds * 1e6 / (double)run->records : 0;
}

static bool run_one(struct cli_bench_node *node, const char *what, const char *memory, struct cli_bench_run *run,
                    struct fr_err *err)
{
    struct cli_progress progress;
    char rate[32];
    bool is_good;

    node->memory = memory;
    cli_progress__init(&progress, "events");
    is_good = cli_bench_child__node(node, &progress, run, err);
    cli_progress__fini(&progress);
    if (!is_good)
        return fr_fail_in(err, "%s, store.memory %s", what, memory);
    fprintf(stderr, "  %-10s %9s events/s  %6.3f CPU s per million  %5.0f MiB of state in memory  %5.0f MiB resident\n", what,
            cli_progress__grouped((uint64_t)per_second(run), rate), per_million(run), (double)run->memory_bytes / 1048576,
            (double)run->peak_bytes / 1048576);
    return true;
}

static bool run_pair(struct cli_bench_node *node, struct tier *tier, struct cli_bench_report *report, struct fr_err *err)
{
    char memory[32];

    if (!run_one(node, "in memory", "16GiB", &tier->whole, err))
        return false;
    tier->budget = tier->whole.memory_bytes / TIER_STATE;
    tier->budget = tier->budget < TIER_BUDGET_LEAST ? TIER_BUDGET_LEAST : tier->budget;
    snprintf(memory, sizeof memory, "%" PRIu64 "KiB", tier->budget >> 10);
    if (!run_one(node, "tiered", memory, &tier->tiered, err))
        return false;
    report->peers[0].values[report->pairs] = per_second(&tier->whole);
    report->ours[report->pairs++] = per_second(&tier->tiered);
    return true;
}

static void describe(const struct cli_bench *bench, const struct tier *tier, uint64_t events, struct cli_bench_report *report)
{
    const struct cli_bench_run *tiered = &tier->tiered, *whole = &tier->whole;
    bool is_within = tiered->memory_bytes <= tier->budget;

    fr_buffer_append_format(&report->details,
                            ",\"workload\":{\"name\":\"W1 with %d times the keys\",\"events\":%" PRIu64
                            "},\"broker\":\"%s\",\"state_bytes\":%" PRIu64 ",\"budget_bytes\":%" PRIu64
                            ",\"state_over_budget\":%.2f,\"memory_bytes\":%" PRIu64
                            ",\"is_within_budget\":%s,\"peak_resident_bytes\":%" PRIu64
                            ",\"cpu_seconds_per_million\":{\"ours\":%.4f,\"in_memory\":%.4f}",
                            TIER_KEYS, events, bench->embedded ? "embedded" : "kafka", whole->memory_bytes, tier->budget,
                            (double)whole->memory_bytes / (double)tier->budget, tiered->memory_bytes,
                            is_within ? "true" : "false", tiered->peak_bytes, per_million(tiered), per_million(whole));
    fr_buffer_append_format(&report->notes,
                            "  W1 with %d times the keys, %" PRIu64
                            " events: %.0f MiB of state, store.memory %.0f MiB: %.1f times.\n",
                            TIER_KEYS, events, (double)whole->memory_bytes / 1048576, (double)tier->budget / 1048576,
                            (double)whole->memory_bytes / (double)tier->budget);
    if (!is_within)
        fr_buffer_append_format(
            &report->notes,
            "  The tiered node kept %.0f MiB in memory, more than its budget: this is not yet what it is called.\n",
            (double)tiered->memory_bytes / 1048576);
}

bool cli_bench__tier(struct cli_bench *bench, struct cli_bench_report *report, struct fr_buffer *svg, struct fr_err *err)
{
    struct bench_workload_options workload = bench_w1_options(bench->events > 0 ? bench->events
                                                              : bench->brokers  ? TIER_EVENTS
                                                                                : TIER_EVENTS_EMBEDDED);
    char topic[BENCH_NAME_BYTES], name[BENCH_NAME_BYTES];
    struct cli_bench_node node;
    struct tier tier;

    report->unit = "events per second";
    report->peer_count = 1;
    snprintf(report->peers[0].name, sizeof report->peers[0].name, "in_memory");
    workload.users *= TIER_KEYS;
    workload.items *= TIER_KEYS;
    workload.creators *= TIER_KEYS;
    snprintf(name, sizeof name, "freshet.bench.w1x%d.%" PRIu64, TIER_KEYS, workload.events);
    if (!cli_bench_topic__fill(bench, name, &workload, topic, err))
        return false;
    node = (struct cli_bench_node){.brokers = bench->brokers,
                                   .topic = topic,
                                   .config = bench->config,
                                   .directory = bench->directory,
                                   .events = workload.events};
    for (uint64_t i = 0; i < bench->pairs; i++) {
        if (!run_pair(&node, &tier, report, err))
            return false;
    }
    describe(bench, &tier, workload.events, report);
    cli_bench_plot__bars(report, svg);
    return true;
}
