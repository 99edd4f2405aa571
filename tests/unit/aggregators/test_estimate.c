/* What `freshet check` says an entity takes, against what it takes: within a factor of two at a steady rate. */
#include "node.h"

#include <math.h>

static const struct agg_dedupe dedupe = {.ids = 32, .horizon_ms = 600000};
static const int64_t start = INT64_C(1700000040000);

#define CATALOGUE                                                                                                              \
    "entities: { user: { key: [user_id] }, item: { key: [item_id] }, room: { key: [room_id] },\n"                              \
    "            user_item: { key: [user_id, item_id], retention: 24h } }\n"                                                   \
    "features:\n"                                                                                                              \
    "  i: { entity: item, actions: [watch], aggregate: count, windows: [1m, 5m, 1h, 24h] }\n"                                  \
    "  l: { entity: item, actions: [like], aggregate: count, windows: [5m, 1h, 24h] }\n"                                       \
    "  t: { entity: item, actions: [watch], aggregate: sum, of: value, windows: [5m, 1h, 24h] }\n"                             \
    "  g: { entity: room, aggregate: sum, of: value, windows: [5m, 1h] }\n"                                                    \
    "  u: { entity: user, aggregate: count, windows: [1h, 24h] }\n"                                                            \
    "  r: { entity: user, actions: [watch, like], aggregate: last, limit: 100, fields: [item_id, action, ts_ms, value] }\n"    \
    "  c: { entity: user_item, actions: [watch], aggregate: count, windows: [1h, 24h] }\n"

enum { USERS = 100, ITEMS = 50, ROOMS = 4, HOURS = 30, BATCH = 500 };

struct measured {
    double entities[256], disk[256];
};

static bool measure(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    struct measured *measured = user;

    measured->entities[key->kind]++;
    for (int part = 0; part < STORE_PARTS; part++)
        measured->disk[key->kind] += disk[part].length > 0 ? 4.0 + 8 * key->id_count + (double)disk[part].length : 0;
    return true;
}

static uint64_t next_random(uint64_t *state)
{
    *state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return *state >> 33;
}

/* `rate` events a second for HOURS, applied as a live node would: the horizon follows the stream. */
static void run_load(struct node *node, double rate)
{
    enum agg_outcome outcomes[BATCH];
    struct proto_event events[BATCH];
    uint64_t random = 7;
    int64_t count = (int64_t)(rate * HOURS * 3600);

    for (int64_t at = 0; at < count; at += BATCH) {
        for (int i = 0; i < BATCH; i++)
            events[i] = (struct proto_event){.event_id = (uint64_t)(at + i) * UINT64_C(0x9e3779b97f4a7c15) + 1,
                                             .ts_ms = start + (int64_t)((double)(at + i) * 1000 / rate),
                                             .user_id = 1 + next_random(&random) % USERS,
                                             .item_id = 1 + next_random(&random) % ITEMS,
                                             .room_id = 1 + next_random(&random) % ROOMS,
                                             .action = next_random(&random) % 3 == 0 ? 4 : 3,
                                             .value = (double)(next_random(&random) % 4000) / 4};
        node_apply(node, events, BATCH, node->stream_time_ms, outcomes);
    }
    node_commit(node);
}

static void assert_near(const char *what, double measured, double expected)
{
    print_message("%-10s measured %10.0f, expected %10.0f\n", what, measured, expected);
    if (measured > 2 * expected || expected > 2 * measured)
        fail_msg("%s: measured %.0f, expected %.0f", what, measured, expected);
}

static void check_rate(double rate)
{
    struct node node = node_new(CATALOGUE, dedupe);
    const struct agg_catalogue *catalogue = node.agg->catalogue;
    struct measured measured = {0};
    struct store_stats stats;
    double memory = 0;
    struct fr_err err;

    run_load(&node, rate);
    store_stats_read(node.store, &stats);
    assert_true(store_scan(node.store, measure, &measured, &err));
    for (int i = 0; i < agg_catalogue_entity_count(catalogue); i++) {
        uint8_t kind = catalogue->entities[i]->kind;
        struct agg_bytes bytes;

        if (catalogue->entities[i]->is_fed)
            continue; /* a list takes what its candidates take, at whatever rate; it is told as if full */
        bytes = agg_catalogue_bytes(catalogue, i, rate / measured.entities[kind]);

        if (catalogue->entities[i]->is_hidden || measured.entities[kind] == 0)
            continue; /* what is recent: one entity, whose lists this load leaves nearly empty */
        memory += measured.entities[kind] * bytes.memory;
        assert_near(agg_catalogue_entity_name(catalogue, i), measured.disk[kind] / measured.entities[kind], bytes.disk);
    }
    assert_near("memory", (double)stats.memory_bytes, memory);
    node_free(&node);
}

static void a_steady_load_takes_what_was_told(void **state)
{
    (void)state;
    check_rate(0.5);
    check_rate(4);
}

static void more_events_never_take_less(void **state)
{
    struct agg_catalogue *catalogue = catalogue_good(CATALOGUE, &dedupe);

    (void)state;
    for (int i = 0; i < agg_catalogue_entity_count(catalogue); i++) {
        struct agg_bytes before = agg_catalogue_bytes(catalogue, i, 0), full = agg_catalogue_bytes(catalogue, i, HUGE_VAL);

        for (double rate = 1e-6; rate < 1e6; rate *= 10) {
            struct agg_bytes bytes = agg_catalogue_bytes(catalogue, i, rate);

            assert_true(bytes.memory >= before.memory && bytes.disk >= before.disk);
            assert_true(bytes.memory <= full.memory && bytes.disk <= full.disk);
            before = bytes;
        }
    }
    agg_catalogue_free(catalogue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_steady_load_takes_what_was_told),
        cmocka_unit_test(more_events_never_take_less),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
