/*
 * The same events give the same digest whichever way they come: on one lane, two or four, in batches of 1, 64 or 512, in their order or
 * shuffled, with memory for all or for next to nothing, killed or not, with hashes that meet or don't; every aggregate is kept. By default
 * each two of these meet in some run; FRESHET_ALL=1 runs all there are.
 */
#include "stream.h"

#include <inttypes.h>
#include <pthread.h>

enum { STREAMS = 24, LANES_MAX = 4, BATCH_MAX = 512, DIMENSIONS = 6 };

static const char text[] =
    "entities:\n"
    "  user: { key: [user_id] }\n"
    "  item: { key: [item_id], parent: creator }\n"
    "  creator: { key: [creator_id] }\n"
    "  room: { key: [room_id], parent: creator }\n"
    "  category: { key: [category_id], retention: 7d }\n"
    "  user_category: { key: [user_id, category_id], retention: 2d }\n"
    "features:\n"
    "  watches: { entity: item, actions: [watch], aggregate: count, windows: [1m, 1h, 24h, 7d], emit: [value, age] }\n"
    "  likes: { entity: item, actions: [like], aggregate: count, windows: [1h, 24h] }\n"
    "  seconds: { entity: creator, aggregate: sum, of: value, windows: [5m, 24h] }\n"
    "  average: { entity: category, aggregate: mean, of: duration_s, windows: [1h, 24h], emit: [value, n] }\n"
    "  least: { entity: item, aggregate: min, of: value, windows: [5m, 24h] }\n"
    "  most: { entity: user_category, aggregate: max, of: value, windows: [1h, 30d] }\n"
    "  viewers: { entity: category, aggregate: distinct, windows: [1h, 7d], emit: [value, n] }\n"
    "  viewed: { entity: user, aggregate: distinct, of: item_id, windows: [5m, 24h] }\n"
    "  p90: { entity: item, aggregate: quantile, q: 0.9, of: value, windows: [1h, 24h] }\n"
    "  heat: { entity: item, aggregate: decayed, weights: { like: 3 }, half_life: 10m, emit: [value, n] }\n"
    "  warmth: { entity: user_category, aggregate: decayed, half_life: 1d }\n"
    "  rate: { entity: item, aggregate: ratio, of: [likes, watches], windows: [1h, 24h], prior: parent, strength: 20 }\n"
    "  overall: { entity: item, aggregate: ratio, of: [likes, watches], windows: [1h], prior: global, strength: 5 }\n"
    "  online: { entity: room, aggregate: gauge, up: [watch, like], down: [unlike, comment], timeout: 10m }\n"
    "  pulse: { entity: room, actions: [watch, like, comment], aggregate: series, bin: 1m, bins: 30 }\n"
    "  recent: { entity: user, aggregate: last, limit: 20, fields: [item_id, action, ts_ms, value] }\n"
    "  seen: { entity: user, actions: [impression], aggregate: last, limit: 5, fields: [item_id], seen: true }\n"
    "  in_category: { entity: user, aggregate: last, of: recent, match: category_id, limit: 10 }\n"
    "  related: { entity: item, aggregate: covisit, from: recent, within: 30m, half_life: 1d, limit: 10 }\n"
    "lists: { trending: { of: item, rank: heat, scopes: [global, category_id], limit: 10 } }\n";

/* Nothing falls out: every duplicate finds its id. */
static const struct agg_dedupe keep_all = {.ids = 4096, .horizon_ms = INT64_C(86400000) * 3000};

/* ---- hashes that meet ---- */

static uint64_t hash_mask = UINT64_MAX;

uint64_t __real_store_key_hash(const struct store *store, const struct store_key *key);
uint64_t __wrap_store_key_hash(const struct store *store, const struct store_key *key);

uint64_t __wrap_store_key_hash(const struct store *store, const struct store_key *key)
{
    return __real_store_key_hash(store, key) & hash_mask;
}

/* ---- ways ---- */

struct dimension {
    const char *name;
    int count;
    uint64_t values[3];
};

static const struct dimension dimensions[DIMENSIONS] = {
    {"lanes", 3, {1, 2, 4}}, {"batch", 3, {1, 64, 512}},
    {"shuffled", 2, {0, 1}}, {"memory", 2, {64 << 20, 16 << 10}},
    {"kills", 2, {0, 3}},    {"hash mask", 3, {UINT64_MAX, UINT64_C(0x0300000000000007), 0}},
};

struct way {
    int at[DIMENSIONS];
};

static uint64_t value_of(const struct way *way, int dimension)
{
    return dimensions[dimension].values[way->at[dimension]];
}

/* The next in the product; false after the last. */
static bool way_next(struct way *way)
{
    for (int i = 0; i < DIMENSIONS; i++) {
        if (++way->at[i] < dimensions[i].count)
            return true;
        way->at[i] = 0;
    }
    return false;
}

struct pairs {
    bool is_met[DIMENSIONS][3][DIMENSIONS][3];
};

/* How many pairs of values would meet for the first time. */
static int pairs_new(struct pairs *pairs, const struct way *way, bool do_meet)
{
    int count = 0;

    for (int a = 0; a < DIMENSIONS; a++) {
        for (int b = a + 1; b < DIMENSIONS; b++) {
            bool *is_met = &pairs->is_met[a][way->at[a]][b][way->at[b]];

            count += !*is_met;
            *is_met = *is_met || do_meet;
        }
    }
    return count;
}

/* The way that brings the most new pairs together; false when all have met. */
static bool pairs_next(struct pairs *pairs, struct way *best)
{
    struct way way = {{0}};
    int most = 0;

    do {
        int count = pairs_new(pairs, &way, false);

        if (count > most) {
            most = count;
            *best = way;
        }
    } while (way_next(&way));
    return most > 0 && pairs_new(pairs, best, true) > 0;
}

/* ---- a run ---- */

struct events {
    struct proto_event *all;
    int count;
    int64_t greatest_ms;
};

struct run;

struct worker { /* one lane: the users whose number has its rest */
    struct run *run;
    struct agg_lane *lane;
    struct agg_tally tally;
    int number, at, end; /* `at` is changed inside the gate */
    int64_t greatest_ms;
};

struct run {
    struct node node;
    const struct way *way;
    const struct events *events;
    struct worker workers[LANES_MAX];
    int lanes;
    int durable[LANES_MAX]; /* where each lane was at the last epoch */
    int64_t durable_ms;
    uint64_t evicted;
};

/* All end in the same hours, so that most of what they leave is to be seen. */
static void stream_end_at(struct stream *stream, int64_t end_ms)
{
    int64_t greatest_ms = 0;

    for (int i = 0; i < stream->count; i++)
        greatest_ms = stream->events[i].ts_ms > greatest_ms ? stream->events[i].ts_ms : greatest_ms;
    for (int i = 0; i < stream->count; i++)
        stream->events[i].ts_ms += end_ms - greatest_ms;
}

static struct events events_new(uint64_t seed)
{
    struct events events = {.all = calloc((size_t)STREAMS * STREAM_EVENTS_MAX, sizeof *events.all)};
    struct stream *stream = calloc(1, sizeof *stream);
    struct rng rng = {seed};

    assert_non_null(events.all);
    assert_non_null(stream);
    for (int i = 0; i < STREAMS; i++) {
        stream_make(stream, &rng, (uint64_t)(i % (STREAMS / 2) + 1) * 1000); /* two streams meet in the same entities */
        stream_end_at(stream, INT64_C(1700000000000) + rng_below(&rng, 20000000));
        memcpy(events.all + events.count, stream->events, (size_t)stream->count * sizeof *events.all);
        events.count += stream->count;
    }
    for (int i = 0; i < events.count; i++)
        events.greatest_ms = events.all[i].ts_ms > events.greatest_ms ? events.all[i].ts_ms : events.greatest_ms;
    free(stream);
    return events;
}

static struct events events_shuffled(const struct events *from, uint64_t seed)
{
    struct events events = {calloc((size_t)from->count, sizeof *events.all), from->count, from->greatest_ms};
    struct rng rng = {seed};

    assert_non_null(events.all);
    memcpy(events.all, from->all, (size_t)from->count * sizeof *events.all);
    for (int i = events.count - 1; i > 0; i--) {
        int other = (int)rng_below(&rng, i + 1);
        struct proto_event event = events.all[i];

        events.all[i] = events.all[other];
        events.all[other] = event;
    }
    return events;
}

static bool worker_apply(struct worker *worker, const struct proto_event *batch, int count, int next)
{
    static const char failed[] = "a batch was not applied";
    struct store *store = worker->run->node.store;
    enum agg_outcome outcomes[BATCH_MAX];
    struct store_visit visit = store_visit_enter(store);
    struct fr_err err;
    bool ok = agg_batch_load(worker->lane, batch, count, &err);

    store_gate_enter(store);
    ok = ok && agg_batch_apply(worker->lane, batch, count, worker->greatest_ms, outcomes, &worker->tally, &err);
    for (int i = 0; i < count; i++)
        worker->greatest_ms = batch[i].ts_ms > worker->greatest_ms ? batch[i].ts_ms : worker->greatest_ms;
    worker->at = next;
    store_gate_leave(store);
    store_visit_leave(store, visit);
    if (!ok)
        print_message("%s: %s\n", failed, err.message);
    return ok;
}

/* From where it stands to its end, in batches. NULL when all is well. */
static void *work(void *argument)
{
    struct worker *worker = argument;
    const struct events *events = worker->run->events;
    int most = (int)value_of(worker->run->way, 1), count = 0;
    struct proto_event *batch = calloc((size_t)most, sizeof *batch);
    bool ok = batch != NULL;

    for (int i = worker->at; ok && i < worker->end; i++) {
        if (events->all[i].user_id % (uint64_t)worker->run->lanes == (uint64_t)worker->number)
            batch[count++] = events->all[i];
        if (count == most || (i == worker->end - 1 && count > 0)) {
            ok = worker_apply(worker, batch, count, i + 1);
            count = 0;
        }
    }
    free(batch);
    return ok ? NULL : worker;
}

static void boundary(void *user, struct store *store)
{
    struct run *run = user;

    (void)store;
    for (int i = 0; i < run->lanes; i++) {
        const struct worker *worker = &run->workers[i];

        run->durable[i] = worker->at;
        run->durable_ms = worker->greatest_ms > run->durable_ms ? worker->greatest_ms : run->durable_ms;
    }
}

/* What a committer and a keeper do beside the lanes. */
static void run_epoch(struct run *run)
{
    struct store_epoch epoch = {.boundary = boundary, .user = run};
    struct agg_sweep sweep = {0};
    struct store_stats stats;
    struct fr_err err;

    if (!store_epoch_commit(run->node.store, &epoch, &err) || !store_tend(run->node.store, 1000, &err) ||
        !agg_sweep(run->node.agg, &sweep, run->durable_ms, 1000, &err))
        fail_msg("%s", err.message);
    store_stats_read(run->node.store, &stats);
    run->evicted = stats.evicted > run->evicted ? stats.evicted : run->evicted;
}

/* All lanes at once to `end`, with epochs while they work. */
static void run_to(struct run *run, int end)
{
    pthread_t threads[LANES_MAX];

    for (int i = 0; i < run->lanes; i++) {
        run->workers[i].end = end;
        assert_int_equal(pthread_create(&threads[i], NULL, work, &run->workers[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        run_epoch(run);
    for (int i = 0; i < run->lanes; i++) {
        void *failed;

        assert_int_equal(pthread_join(threads[i], &failed), 0);
        assert_null(failed);
    }
}

static void run_lanes_start(struct run *run)
{
    for (int i = 0; i < run->lanes; i++) {
        run->workers[i].lane = agg_lane_new(run->node.agg, BATCH_MAX);
        assert_non_null(run->workers[i].lane);
    }
}

static void run_lanes_stop(struct run *run)
{
    for (int i = 0; i < run->lanes; i++)
        agg_lane_free(run->workers[i].lane);
}

/* What no epoch has is gone, and comes again. */
static void run_kill(struct run *run)
{
    run_lanes_stop(run);
    node_restart(&run->node);
    run_lanes_start(run);
    for (int i = 0; i < run->lanes; i++)
        run->workers[i].at = run->durable[i];
}

static struct agg_digest run_way(const struct way *way, const struct events *events, uint64_t *evicted)
{
    static struct run run;
    int kills = (int)value_of(way, 4);
    struct agg_digest digest;

    hash_mask = value_of(way, 5);
    run = (struct run){
        .node = node_new(text, keep_all), .way = way, .events = events, .lanes = (int)value_of(way, 0), .durable_ms = 1};
    run.node.memory_bytes = value_of(way, 3);
    node_restart(&run.node);
    for (int i = 0; i < run.lanes; i++)
        run.workers[i] = (struct worker){.run = &run, .number = i, .greatest_ms = 1};
    run_lanes_start(&run);
    for (int slice = 1, slices = 8; slice <= slices; slice++) {
        run_to(&run, events->count * slice / slices);
        if (slice > 1 && slice < 2 + kills)
            run_kill(&run);
    }
    for (int i = 0; i < 4; i++)
        run_epoch(&run);
    digest = node_digest(&run.node, events->greatest_ms);
    *evicted = run.evicted;
    run_lanes_stop(&run);
    node_free(&run.node);
    hash_mask = UINT64_MAX;
    return digest;
}

static void way_print(const struct way *way, char *out, size_t bytes)
{
    for (int i = 0, length = 0; i < DIMENSIONS; i++)
        length += snprintf(out + length, bytes - (size_t)length, "%s%s %" PRIx64, i > 0 ? ", " : "", dimensions[i].name,
                           value_of(way, i));
}

static void whichever_way_they_come_the_digest_is_the_same(void **state)
{
    struct events events = events_new(1), shuffled = events_shuffled(&events, 2);
    struct way way = {{0}};
    struct pairs pairs = {0};
    struct agg_digest first = {0};
    bool is_all = getenv("FRESHET_ALL") != NULL, goes_on = true;
    int runs = 0;

    (void)state;
    for (goes_on = is_all || pairs_next(&pairs, &way); goes_on; goes_on = is_all ? way_next(&way) : pairs_next(&pairs, &way)) {
        uint64_t evicted = 0;
        struct agg_digest digest = run_way(&way, value_of(&way, 2) ? &shuffled : &events, &evicted);
        char told[256];

        way_print(&way, told, sizeof told);
        first = runs++ == 0 ? digest : first;
        if (!digest_equal(first, digest))
            fail_msg("another digest with %s (hexadecimal)", told);
        if ((evicted > 0) != (value_of(&way, 3) < 1 << 20))
            fail_msg("%" PRIu64 " entities left memory with %s (hexadecimal)", evicted, told);
    }
    assert_true(first.entities > 200);
    print_message("%d ways, %d events, %" PRIu64 " entities\n", runs, events.count, first.entities);
    free(shuffled.all);
    free(events.all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(whichever_way_they_come_the_digest_is_the_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
