/* One user who never rests, one room with everything in it: what they take stays small, an event costs what it did before. */
#include "stream.h"

#include <inttypes.h>
#include <math.h>
#include <time.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { EVENTS = 100000, EVENTS_ALL = EVENTS };
#else
enum { EVENTS = 1 << 20, EVENTS_ALL = 10000000 };
#endif
enum { MILD = 10000, PARTS = 8 };

static const struct agg_dedupe dedupe = {.ids = 32, .horizon_ms = 600000};
static const int64_t minute = 60000, day = 86400000, noon = INT64_C(1699999200000);

/* Event `i` of `count`; all different. */
typedef struct proto_event (*event_fn)(int64_t i, int64_t count);

static int64_t cpu_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

/* Without events, entities and their parts take so much. */
static uint64_t state_bytes(struct node *node)
{
    struct store_stats stats;

    node_commit(node);
    store_stats_read(node->store, &stats);
    return stats.memory_bytes - stats.table_bytes;
}

/* Events from … to of `count`, with an epoch at the end. Returns what one took, in nanoseconds of the processor. */
static int64_t apply(struct node *node, event_fn event, int64_t from, int64_t to, int64_t count)
{
    static struct proto_event batch[NODE_BATCH_MAX];
    enum agg_outcome outcomes[NODE_BATCH_MAX];
    int64_t start_us = cpu_us();
    int filled = 0;

    for (int64_t i = from; i < to; i++) {
        batch[filled++] = event(i, count);
        if (filled == NODE_BATCH_MAX || i == to - 1) {
            node_apply(node, batch, filled, node->stream_time_ms, outcomes);
            filled = 0;
        }
    }
    return (cpu_us() - start_us) * 1000 / (to - from);
}

/*
 * As many events as there are, in eight parts: the last costs no more than the second did, and three times as much at the very most.
 * Returns what the state took after two.
 */
static uint64_t apply_all(struct node *node, event_fn event, int64_t count)
{
    int64_t early_ns = 0, late_ns = 0;
    uint64_t early_bytes = 0;

    for (int part = 0; part < PARTS; part++) {
        late_ns = apply(node, event, count * part / PARTS, count * (part + 1) / PARTS, count);
        if (part == 1) {
            early_ns = late_ns;
            early_bytes = state_bytes(node);
        }
    }
    print_message("%" PRId64 " events: %" PRId64 " ns each at first, %" PRId64 " at last\n", count, early_ns, late_ns);
    assert_true(late_ns <= 3 * early_ns + 1000);
    return early_bytes;
}

/* ---- a user ---- */

static const char user_text[] =
    "entities: { user: { key: [user_id] } }\n"
    "features:\n"
    "  n: { entity: user, aggregate: count, windows: [1m, 1h, 24h], emit: [value, age] }\n"
    "  spent: { entity: user, aggregate: sum, of: value, windows: [1m, 24h] }\n"
    "  most: { entity: user, aggregate: max, of: value, windows: [1h] }\n"
    "  heat: { entity: user, aggregate: decayed, half_life: 10m }\n"
    "  items: { entity: user, aggregate: distinct, of: item_id, windows: [5m, 24h] }\n"
    "  p50: { entity: user, aggregate: quantile, q: 0.5, of: value, windows: [1h] }\n"
    "  pulse: { entity: user, actions: [watch], aggregate: series, bin: 1s, bins: 60 }\n"
    "  recent: { entity: user, aggregate: last, limit: 100, fields: [item_id, action, ts_ms, value] }\n"
    "  seen: { entity: user, aggregate: last, limit: 500, fields: [item_id], seen: true }\n";

/* Within one minute. */
static struct proto_event of_user(int64_t i, int64_t count)
{
    return (struct proto_event){.event_id = (uint64_t)i + 1,
                                .ts_ms = noon + i * minute / count,
                                .user_id = 5,
                                .item_id = (uint64_t)i % 4000 + 1,
                                .action = 3,
                                .value = (double)(i % 100)};
}

static void check_sequence(struct node *node, int64_t count)
{
    char *names[] = {(char *)(uintptr_t) "recent"};
    struct agg_request request = {.user_id = 5, .time_ms = noon + minute};
    struct agg_reply reply = node_read(node, node_plan(node, "", names, 1), &request);

    assert_int_equal(reply.sequence_count, 1);
    assert_int_equal(reply.sequences[0].fields[0].count, 100);
    for (int i = 0; i < 100; i++) /* by time, then id: so the last ones */
        assert_int_equal(reply.sequences[0].fields[0].ids[i], of_user(count - 1 - i, count).item_id);
}

static void a_user_with_a_million_events_a_minute_stays_small(void **state)
{
    struct node mild = node_new(user_text, dedupe), hot = node_new(user_text, dedupe);
    enum agg_outcome outcomes[33];
    struct proto_event again[33];
    uint64_t least, most;

    (void)state;
    apply(&mild, of_user, 0, MILD, MILD);
    least = state_bytes(&mild);
    (void)apply_all(&hot, of_user, EVENTS);
    most = state_bytes(&hot);
    print_message("%d events a minute take %" PRIu64 " bytes, %d take %" PRIu64 "\n", MILD, least, EVENTS, most);
    assert_true(most <= least + least / 4);
    assert_int_equal(hot.tally.applied, EVENTS);
    assert_int_equal(hot.tally.dedupe_unchecked, 0);
    assert_float_equal(node_value(&hot, "n.1m", 5, 0, noon + minute - 1), EVENTS, 0);
    assert_float_equal(node_value(&hot, "items.5m", 5, 0, noon + minute), 4000, 4000 * 0.06);
    check_sequence(&hot, EVENTS);

    for (int i = 0; i < 33; i++)
        again[i] = of_user(EVENTS - 1 - i, EVENTS);
    node_apply(&hot, again, 33, noon + minute, outcomes);
    for (int i = 0; i < 33; i++) /* 32 ids are kept; of what is older it can't be told */
        assert_int_equal(outcomes[i], i < 32 ? AGG_DUPLICATE : AGG_APPLIED);
    assert_int_equal(hot.tally.dedupe_unchecked, 1);
    node_free(&hot);
    node_free(&mild);
}

/* ---- a room ---- */

static const char room_text[] =
    "entities: { room: { key: [room_id] } }\n" /* items as such are not kept: only those who ask need them */
    "features:\n"
    "  n: { entity: room, aggregate: count, windows: [1h, 24h, 7d] }\n"
    "  average: { entity: room, aggregate: mean, of: value, windows: [24h] }\n"
    "  items: { entity: room, aggregate: distinct, of: item_id, windows: [1h, 24h, 7d], emit: [value, n] }\n"
    "  viewers: { entity: room, aggregate: distinct, windows: [24h] }\n"
    "  p90: { entity: room, aggregate: quantile, q: 0.9, of: value, windows: [24h] }\n"
    "  heat: { entity: room, aggregate: decayed, half_life: 1h }\n"
    "  pulse: { entity: room, actions: [watch], aggregate: series, bin: 1m, bins: 60 }\n";

/* Anywhere in a day: every pane has its share from the start. */
static struct proto_event of_room(int64_t i, int64_t count)
{
    (void)count;
    return (struct proto_event){.event_id = (uint64_t)i + 1,
                                .ts_ms = noon / day * day + i * INT64_C(7919) * 1009 % day,
                                .user_id = (uint64_t)i % 1000 + 1,
                                .item_id = (uint64_t)i + 1,
                                .room_id = 5,
                                .action = 3,
                                .value = (double)(i % 100)};
}

static float of_the_room(struct node *node, const char *name)
{
    char *names[] = {(char *)(uintptr_t)name};
    uint64_t item = 1;
    struct agg_request request = {.item_ids = &item, .item_count = 1, .room_id = 5, .time_ms = noon / day * day + day - 1};

    return node_read(node, node_plan(node, "", names, 1), &request).item_values[0];
}

static void a_room_of_ten_million_items_stays_small(void **state)
{
    int64_t count = getenv("FRESHET_ALL") ? EVENTS_ALL : EVENTS;
    struct node hot = node_new(room_text, dedupe);
    uint64_t early, late;
    float items;

    (void)state;
    early = apply_all(&hot, of_room, count);
    late = state_bytes(&hot);
    print_message("%" PRId64 " items take %" PRIu64 " bytes, %" PRId64 " take %" PRIu64 "\n", count / 4, early, count, late);
    assert_true(late <= 2 * early); /* at ten million: the same as at two and a half */
    assert_float_equal(of_the_room(&hot, "n.24h"), (float)count, 0);
    assert_float_equal(of_the_room(&hot, "items.24h.n"), (float)count, 0);
    items = of_the_room(&hot, "items.24h");
    print_message("%" PRId64 " items, shown as %.0f\n", count, (double)items);
    assert_true(fabsf(items / (float)count - 1) <= 0.06F);
    assert_float_equal(of_the_room(&hot, "average.24h"), 49.5, 0.1);
    assert_float_equal(of_the_room(&hot, "viewers.24h"), 1000, 60);
    assert_float_equal(of_the_room(&hot, "p90.24h"), 89, 0.89);
    node_restart(&hot);
    assert_float_equal(of_the_room(&hot, "items.24h"), items, 0);
    node_free(&hot);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_user_with_a_million_events_a_minute_stays_small),
        cmocka_unit_test(a_room_of_ten_million_items_stays_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
