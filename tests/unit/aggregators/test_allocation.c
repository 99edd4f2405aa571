/*
 * Every allocation of aggregators (and of what it stands on) fails once: the same little life runs again and again with one more
 * allowed, until none fails. A failure must be told, nothing may leak, and a life without one must read what it always reads.
 */
#include "node.h"

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);

static int allowed = -1; /* allocations until one fails; −1: none will */
static bool has_failed;

static bool fails_now(void)
{
    if (allowed < 0 || allowed-- > 0)
        return false;
    has_failed = true;
    return true;
}

void *__wrap_malloc(size_t bytes)
{
    return fails_now() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails_now() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    return fails_now() ? NULL : __real_realloc(old, bytes);
}

static const char text[] = "entities: { user: { key: [user_id] }, item: { key: [item_id] }, creator: { key: [creator_id] } }\n"
                           "features:\n"
                           "  w: { entity: item, where: 'value >= 0 and attributes.k not in [a]', actions: [watch], aggregate: "
                           "count, windows: [1m, 1h] }\n"
                           "  s: { entity: creator, aggregate: sum, windows: [1h] }\n"
                           "  r: { entity: user, aggregate: last, limit: 9, fields: [item_id, value] }\n"
                           "  d: { entity: item, aggregate: distinct, of: event_id, windows: [6s, 1m], emit: [value, n] }\n"
                           "  q: { entity: item, aggregate: quantile, q: 0.5, windows: [6s, 1m] }\n"
                           "  g: { entity: item, aggregate: gauge, up: [watch], timeout: 24s }\n"
                           "  p: { entity: item, aggregate: series, actions: [watch], bin: 2s, bins: 9, emit: [value, age] }\n"
                           "  h: { entity: item, aggregate: decayed, half_life: 1m, emit: [value, n, age] }\n"
                           "feature_sets: { all: { user: [r], item: [w, s, d, q, g, p, h] } }\n";
static const struct agg_dedupe dedupe = {.ids = 8, .horizon_ms = 600000};
static const int64_t noon = INT64_C(1700000000000);

enum { EVENTS = 40 };

static struct agg_catalogue *make_catalogue(void)
{
    struct fr_arena *arena = fr_arena_new(1 << 20);
    struct agg_catalogue *catalogue = NULL;
    struct fr_diagnostics diagnostics;
    struct fr_yaml *root;

    if (!arena)
        return NULL;
    fr_diagnostics_init(&diagnostics, "f.yaml");
    if (fr_yaml_parse(fr_slice_of(text), arena, &root, &diagnostics))
        catalogue = agg_catalogue_parse(root, &dedupe, &diagnostics);
    fr_diagnostics_fini(&diagnostics);
    fr_arena_free(arena);
    return catalogue;
}

static bool apply(struct agg *agg, struct store *store, struct agg_lane *lane)
{
    struct proto_event events[EVENTS];
    enum agg_outcome outcomes[EVENTS];
    struct agg_tally tally = {0};
    struct fr_err err;
    bool ok;

    (void)agg;
    for (int i = 0; i < EVENTS; i++)
        events[i] = (struct proto_event){.event_id = (uint64_t)i + 1,
                                         .ts_ms = noon + i * 700,
                                         .user_id = i % 2 == 1 ? 5 : 6 + (uint64_t)i / 6, /* a gauge's table grows */
                                         .item_id = 6 + (uint64_t)i % 3,
                                         .creator_id = 4,
                                         .action = 3,
                                         .value = i};
    if (!agg_batch_load(lane, events, EVENTS, &err))
        return false;
    store_gate_enter(store);
    ok = agg_batch_apply(lane, events, EVENTS, noon, outcomes, &tally, &err);
    store_gate_leave(store);
    return ok;
}

static bool read_and_check(struct agg *agg)
{
    uint64_t items[] = {6, 7};
    struct agg_request request = {.user_id = 5, .item_ids = items, .item_count = 2, .time_ms = noon + 30000};
    struct fr_arena *arena = fr_arena_new(1 << 20);
    const struct agg_plan *plan;
    struct agg_reply reply;
    struct fr_err err;
    bool ok;

    ok = arena && agg_plan_get(agg, "all", NULL, 0, &plan, &err) && agg_read_load(agg, plan, &request, arena, &err) &&
         agg_read(agg, plan, &request, arena, &reply, &err);
    if (ok) {
        assert_float_equal(reply.item_values[2], 780, 0); /* 0 + 1 + … + 39, of the one creator */
        assert_int_equal(reply.sequences[0].fields[0].count, 9);
    }
    if (arena)
        fr_arena_free(arena);
    return ok;
}

/* True when nothing failed on the way. */
static bool live(const char *directory, int until_failure)
{
    struct agg_catalogue *catalogue;
    struct store_options options = {.path = directory, .memory_bytes = 8 << 20};
    struct store *store = NULL;
    struct agg_lane *lane;
    struct agg *agg = NULL;
    struct agg_digest digest;
    struct fr_err err;
    bool ok = false;

    allowed = until_failure;
    catalogue = make_catalogue();
    if (!catalogue)
        return false;
    options.codec = agg_codec(catalogue);
    allowed = -1; /* the store has a test of its own */
    assert_true(store_open(&options, &store, &err));
    allowed = until_failure;
    if (agg_open(&catalogue, store, 0, NULL, &agg, &err)) {
        lane = agg_lane_new(agg, EVENTS);
        ok = lane && apply(agg, store, lane) && read_and_check(agg) && agg_digest(agg, noon, true, &digest, &err);
        agg_lane_free(lane);
    }
    allowed = -1;
    agg_close(agg);
    agg_catalogue_free(catalogue);
    store_close(store);
    return ok;
}

static void each_allocation_may_fail(void **state)
{
    char directory[256];
    int failures = 0;

    (void)state;
    directory_make(directory);
    for (;; failures++) {
        bool ok;

        has_failed = false;
        ok = live(directory, failures);
        nftw(directory, node_remove, 16, FTW_DEPTH | FTW_PHYS);
        if (!has_failed) {
            assert_true(ok);
            break;
        }
    }
    assert_true(failures > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_allocation_may_fail),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
