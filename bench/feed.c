/*
 * A lane without Kafka: draws a batch, applies it, turns the epoch when it is due. The events are made with the clock of CPU time
 * stopped: what the thread took for them is taken off what the process took.
 */
#include <freshet/aggregators.h>
#include <freshet/bench.h>
#include <freshet/clock.h>

#include <stdlib.h>
#include <time.h>

enum {
    FEED_BATCH = 512,
    FEED_ARENA_BYTES = 8 << 20,
    DEDUPE_IDS = 32,
    DEDUPE_HORIZON_MS = 600000,
    EPOCH_PATIENCE_MS = 120000, /* while level 0 is too deep for another */
    EPOCH_PAUSE_MS = 100,
    REST_LOOK_MS = 20,
    REST_LOOKS = 2,
    REST_PATIENCE_MS = 120000,
};
static const double rest_share = 0.05; /* of a core: less is rest */

struct bench_feed {
    struct fr_metrics *metrics;
    struct store *store;
    struct agg *agg;
    struct agg_lane *lane;
    int64_t stream_ms; /* the greatest event time; the horizon, with the event clock */
    struct proto_event events[FEED_BATCH];
    enum agg_outcome outcomes[FEED_BATCH];
};

static double clock_seconds(clockid_t clock)
{
    struct timespec now;

    clock_gettime(clock, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static struct agg_catalogue *read_catalogue(const char *text, struct fr_err *err)
{
    const struct agg_dedupe dedupe = {.ids = DEDUPE_IDS, .horizon_ms = DEDUPE_HORIZON_MS};
    struct fr_arena *arena = fr_arena_new(FEED_ARENA_BYTES);
    struct agg_catalogue *catalogue = NULL;
    struct fr_diagnostics diagnostics;
    struct fr_yaml *root;

    fr_diagnostics_init(&diagnostics, "catalogue");
    if (arena && fr_yaml_parse(fr_slice_of(text), arena, &root, &diagnostics))
        catalogue = agg_catalogue_parse(root, &dedupe, &diagnostics);
    if (!catalogue)
        fr_fail(err, FR_BAD_CONFIG, "%.*s", (int)diagnostics.text.length, (const char *)diagnostics.text.bytes);
    fr_diagnostics_fini(&diagnostics);
    fr_arena_free(arena);
    return catalogue;
}

static bool open_parts(struct bench_feed *feed, const struct bench_feed_options *options, struct fr_err *err)
{
    struct agg_catalogue *catalogue = read_catalogue(options->catalogue, err);
    struct store_options store = {.path = options->path, .memory_bytes = options->memory_bytes, .metrics = feed->metrics};
    bool is_open;

    if (!catalogue)
        return false;
    store.codec = agg_codec(catalogue);
    is_open = store_open(&store, &feed->store, err) && agg_open(&catalogue, feed->store, 0, feed->metrics, &feed->agg, err);
    agg_catalogue_free(catalogue); /* NULL, once it is open */
    if (!is_open)
        return false;
    feed->lane = agg_lane_new(feed->agg, FEED_BATCH);
    return feed->lane || fr_fail(err, FR_EXHAUSTED, "bench: out of memory");
}

bool bench_feed_open(const struct bench_feed_options *options, struct bench_feed **ret, struct fr_err *err)
{
    struct bench_feed *feed = calloc(1, sizeof *feed);

    if (!feed)
        return fr_fail(err, FR_EXHAUSTED, "bench: out of memory");
    feed->metrics = fr_metrics_new();
    if (!feed->metrics || !open_parts(feed, options, err)) {
        bench_feed_close(feed);
        return false;
    }
    *ret = feed;
    return true;
}

void bench_feed_close(struct bench_feed *feed)
{
    if (!feed)
        return;
    agg_lane_free(feed->lane);
    agg_close(feed->agg);
    store_close(feed->store);
    fr_metrics_free(feed->metrics);
    free(feed);
}

/* With the event clock S is what a read sees, and nothing older is needed: the lane's own rule. */
static bool apply(struct bench_feed *feed, int count, struct fr_err *err)
{
    struct agg_tally tally = {0};
    struct store_visit visit = store_visit_enter(feed->store);
    bool is_applied = agg_batch_load(feed->lane, feed->events, count, err);

    store_gate_enter(feed->store);
    if (is_applied)
        is_applied = agg_batch_apply(feed->lane, feed->events, count, feed->stream_ms, feed->outcomes, &tally, err);
    store_gate_leave(feed->store);
    store_visit_leave(feed->store, visit);
    for (int i = 0; i < count; i++)
        feed->stream_ms = feed->events[i].ts_ms > feed->stream_ms ? feed->events[i].ts_ms : feed->stream_ms;
    return is_applied;
}

static bool turn_epoch(struct bench_feed *feed, struct bench_feed_cost *cost, struct fr_err *err)
{
    static const struct store_epoch epoch = {0};
    double start = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
    int64_t until_ms = fr_clock_monotonic_ms() + EPOCH_PATIENCE_MS;
    bool is_durable;

    while (!(is_durable = store_epoch_commit(feed->store, &epoch, err)) && err->code == FR_EXHAUSTED &&
           fr_clock_monotonic_ms() < until_ms)
        fr_clock_sleep_ms(EPOCH_PAUSE_MS);
    cost->epoch_cpu_seconds += clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - start;
    return is_durable;
}

/* Until the process takes no CPU any more: nobody but RocksDB's threads could. */
static void await_rest(struct bench_feed_cost *cost)
{
    double start = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
    int64_t until_ms = fr_clock_monotonic_ms() + REST_PATIENCE_MS;

    for (int looks = 0; looks < REST_LOOKS && fr_clock_monotonic_ms() < until_ms;) {
        double before = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);

        fr_clock_sleep_ms(REST_LOOK_MS);
        looks = clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - before < rest_share * REST_LOOK_MS / 1000 ? looks + 1 : 0;
    }
    cost->epoch_cpu_seconds += clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - start;
}

bool bench_feed_run(struct bench_feed *feed, struct bench_workload *workload, uint64_t count, uint64_t epoch_events,
                    struct bench_feed_cost *cost, struct fr_err *err)
{
    double start = clock_seconds(CLOCK_PROCESS_CPUTIME_ID), making = 0;
    uint64_t since_epoch = 0;

    *cost = (struct bench_feed_cost){0};
    while (count > 0) {
        double before = clock_seconds(CLOCK_THREAD_CPUTIME_ID);
        int made = 0;

        while (made < FEED_BATCH && (uint64_t)made < count && bench_workload_next(workload, &feed->events[made]))
            made++;
        making += clock_seconds(CLOCK_THREAD_CPUTIME_ID) - before;
        if (made == 0)
            break;
        if (!apply(feed, made, err))
            return false;
        count -= (uint64_t)made;
        since_epoch += (uint64_t)made;
        if (since_epoch < epoch_events)
            continue;
        since_epoch = 0;
        if (!turn_epoch(feed, cost, err))
            return false;
    }
    if (since_epoch > 0 && !turn_epoch(feed, cost, err))
        return false;
    await_rest(cost);
    cost->cpu_seconds = clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - start - making;
    return true;
}

void bench_feed_look(struct bench_feed *feed, struct bench_feed_state *state)
{
    struct store_stats stats;

    store_stats_read(feed->store, &stats);
    *state = (struct bench_feed_state){.entities = stats.entities, .memory_bytes = stats.memory_bytes};
}
