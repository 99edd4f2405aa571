/*
 * What a user, an item and a creator take in memory after W1. A node knows only their sum, so the workload is applied three times in
 * this process: users alone, with creators, with items too; what each adds is divided by how many it added.
 */
#include "bench.h"

#include <freshet/bench.h>

enum { MEMORY_EPOCH_EVENTS = 1000000 };

static const uint64_t memory_budget = UINT64_C(64) << 30; /* never the limit here */

static bool apply(const struct cli_bench *bench, const struct bench_workload_options *options, struct bench_feed_state *state,
                  struct fr_err *err)
{
    char path[CLI_DIRECTORY_BYTES + 32];
    const struct bench_feed_options feeding = {
        .path = path, .catalogue = bench_catalogue(BENCH_W1), .memory_bytes = memory_budget};
    struct bench_workload *workload;
    struct bench_feed *feed = NULL;
    struct bench_feed_cost cost;
    bool is_good;

    if (cli_signals__is_stopped())
        return fr_fail(err, FR_CANCELLED, "stopped by a signal");
    workload = bench_workload_new(options);
    snprintf(path, sizeof path, "%s/feed", bench->directory);
    is_good = workload ? bench_feed_open(&feeding, &feed, err) : fr_fail(err, FR_EXHAUSTED, "out of memory");
    is_good = is_good && bench_feed_run(feed, workload, options->events, MEMORY_EPOCH_EVENTS, &cost, err);
    if (is_good)
        bench_feed_look(feed, state);
    bench_feed_close(feed);
    bench_workload_free(workload);
    cli_directory__remove(path);
    return is_good;
}

static struct cli_bench_kind difference(const struct bench_feed_state *with, const struct bench_feed_state *without)
{
    uint64_t count = with->entities - without->entities;

    return (struct cli_bench_kind){
        .count = count, .bytes_each = count > 0 ? (double)(with->memory_bytes - without->memory_bytes) / (double)count : 0};
}

bool cli_bench_memory__measure(const struct cli_bench *bench, const struct bench_workload_options *workload,
                               struct cli_bench_memory *memory, struct fr_err *err)
{
    struct bench_workload_options options = *workload;
    struct bench_feed_state nothing = {0}, users, creators, all;

    options.has_no_items = options.has_no_creators = true;
    if (!apply(bench, &options, &users, err))
        return false;
    options.has_no_creators = false;
    if (!apply(bench, &options, &creators, err))
        return false;
    options.has_no_items = false;
    if (!apply(bench, &options, &all, err))
        return false;
    memory->user = difference(&users, &nothing);
    memory->creator = difference(&creators, &users);
    memory->item = difference(&all, &creators);
    return true;
}
