/*
 * Reads while lanes apply and epochs turn: of an entity nobody ever sees half an event, nor half of what a batch has for it. Each
 * event is counted twice and added up once in each of the item, its creator and the user with the creator; the three are equal in
 * whatever is read.
 */
#include "node.h"

#include <pthread.h>
#include <stdatomic.h>

#define T0 INT64_C(1700006400000)
enum {
    WRITERS = 2,
    READERS = 2,
    BATCHES = 150,
    BATCH = 64,
    ITEMS = 8,
    USERS = 4,
    WATCH = 3,
    COLUMNS = 3,
    SHARE = BATCH / ITEMS,
    KEYS = 30
};

static const char catalogue[] = "entities:\n"
                                "  user:         { key: [user_id] }\n"
                                "  item:         { key: [item_id] }\n"
                                "  creator:      { key: [creator_id] }\n"
                                "  user_creator: { key: [user_id, creator_id] }\n"
                                "features:\n"
                                "  item_one:    { entity: item, aggregate: count, windows: [1h] }\n"
                                "  item_two:    { entity: item, actions: [watch], aggregate: count, windows: [1h] }\n"
                                "  item_sum:    { entity: item, aggregate: sum, of: value, windows: [1h] }\n"
                                "  creator_one: { entity: creator, aggregate: count, windows: [1h] }\n"
                                "  creator_two: { entity: creator, actions: [watch], aggregate: count, windows: [1h] }\n"
                                "  creator_sum: { entity: creator, aggregate: sum, of: value, windows: [1h] }\n"
                                "  bond_one:    { entity: user_creator, aggregate: count, windows: [1h] }\n"
                                "  bond_two:    { entity: user_creator, actions: [watch], aggregate: count, windows: [1h] }\n"
                                "  bond_sum:    { entity: user_creator, aggregate: sum, of: value, windows: [1h] }\n";

static struct node node;
static atomic_int writing, torn, read_rows;

static void *write_some(void *number)
{
    struct agg_lane *lane = agg_lane_new(node.agg, BATCH);
    struct proto_event events[BATCH];
    enum agg_outcome outcomes[BATCH];
    struct agg_tally tally = {0};
    uint64_t me = (uint64_t) * (int *)number;
    struct fr_err err;
    bool ok = lane != NULL;

    for (uint64_t batch = 0; batch < BATCHES && ok; batch++) {
        struct store_visit visit = store_visit_enter(node.store);

        for (uint64_t i = 0; i < BATCH; i++)
            events[i] = (struct proto_event){.event_id = me * BATCHES * BATCH + batch * BATCH + i + 1,
                                             .ts_ms = T0 + (int64_t)((batch * BATCH + i) % 50000),
                                             .user_id = me * USERS + i % USERS + 1, /* a user keeps to its lane */
                                             .item_id = i % ITEMS + 1,
                                             .creator_id = i % ITEMS % 3 + 1,
                                             .action = WATCH,
                                             .value = 1};
        ok = agg_batch_load(lane, events, BATCH, &err);
        store_gate_enter(node.store);
        ok = ok && agg_batch_apply(lane, events, BATCH, 0, outcomes, &tally, &err);
        store_gate_leave(node.store);
        store_visit_leave(node.store, visit);
    }
    atomic_fetch_add(&torn, ok ? 0 : 1);
    agg_lane_free(lane);
    atomic_fetch_sub(&writing, 1);
    return NULL;
}

/* A batch brings each of its entities so many events, or a multiple, while it holds that entity. */
static int is_torn(const float *values)
{
    return (int)values[0] % SHARE != 0 ||
           !(values[0] >= values[1] && values[0] <= values[1] && values[0] >= values[2] && values[0] <= values[2]);
}

/* At the node's own time rows are finished, and found finished; `before`: what this reader saw last, and nothing is ever taken back. */
static int read_matrix(const struct agg_plan *plan, struct fr_arena *arena, uint64_t user, float before[ITEMS * 3])
{
    uint64_t items[ITEMS];
    struct agg_request request = {
        .user_id = user, .item_ids = items, .item_count = ITEMS, .time_ms = T0 + 60000, .is_now = user % 2 == 0};
    struct store_visit visit = store_visit_enter(node.store);
    struct agg_reply reply;
    struct fr_err err;
    int wrong = 0;

    for (uint64_t i = 0; i < ITEMS; i++)
        items[i] = i + 1;
    fr_arena_reset(arena, 1 << 20);
    if (!agg_read_load(node.agg, plan, &request, arena, &err) || !agg_read(node.agg, plan, &request, arena, &reply, &err))
        wrong++;
    for (int at = 0; at < ITEMS * 3 && wrong == 0; at++) { /* of item, creator and bond */
        wrong += is_torn(reply.item_values + at * COLUMNS) || reply.item_values[at * COLUMNS] < before[at];
        before[at] = reply.item_values[at * COLUMNS];
    }
    store_visit_leave(node.store, visit);
    return wrong;
}

static int read_keys(struct agg_columns *columns, uint64_t first, uint64_t second)
{
    uint64_t key[2] = {first, second};
    struct store_visit visit = store_visit_enter(node.store);
    float values[COLUMNS] = {0};
    struct fr_err err;
    int wrong = agg_columns_read(columns, key, T0 + 60000, values, &err) ? is_torn(values) : 1;

    store_visit_leave(node.store, visit);
    return wrong;
}

static void *read_some(void *number)
{
    uint64_t user = (uint64_t) * (int *)number + 1;
    const struct agg_plan *plan = NULL;
    struct agg_columns *columns[3] = {NULL};
    static const char *const kinds[3] = {"item", "creator", "user_creator"};
    struct fr_arena *arena = fr_arena_new(8 << 20);
    float before[ITEMS * 3] = {0};
    struct fr_err err;
    int wrong = agg_plan_get(node.agg, "", NULL, 0, &plan, &err) ? 0 : 1;

    for (int i = 0; i < 3; i++)
        wrong += agg_columns_new(node.agg, kinds[i], NULL, 0, &columns[i], &err) ? 0 : 1;
    while (atomic_load(&writing) > 0 && wrong == 0) {
        wrong += read_matrix(plan, arena, user, before);
        for (uint64_t i = 0, id = 1; i < KEYS; i++, id = i % 3 + 1)
            wrong += read_keys(columns[0], id, 0) + read_keys(columns[1], id, 0) + read_keys(columns[2], user, id);
        atomic_fetch_add(&read_rows, 1);
    }
    for (int i = 0; i < 3; i++)
        agg_columns_free(columns[i]);
    fr_arena_free(arena);
    atomic_fetch_add(&torn, wrong);
    return NULL;
}

static void nobody_sees_half_a_batch(void **state)
{
    pthread_t threads[WRITERS + READERS];
    int numbers[WRITERS + READERS];

    (void)state;
    node = node_new(catalogue, (struct agg_dedupe){.ids = 32, .horizon_ms = 600000});
    atomic_store(&writing, WRITERS);
    for (int i = 0; i < WRITERS + READERS; i++) {
        numbers[i] = i < WRITERS ? i : i - WRITERS;
        assert_int_equal(pthread_create(&threads[i], NULL, i < WRITERS ? write_some : read_some, &numbers[i]), 0);
    }
    while (atomic_load(&writing) > 0)
        node_commit(&node);
    for (int i = 0; i < WRITERS + READERS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&torn), 0);
    assert_true(atomic_load(&read_rows) > 0);
    assert_int_equal((int)node_value(&node, "item_sum.1h", 0, 1, T0 + 60000), WRITERS * BATCHES * BATCH / ITEMS);
    node_free(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nobody_sees_half_a_batch)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
