/* An entity whose bytes on disk make no sense is set aside: told by name, never read as zero, and never in the way of others. */
#include "node.h"

#include <freshet/deltas.h>

static const char text[] = "entities: { user: { key: [user_id] }, item: { key: [item_id] } }\n"
                           "features: { w: { entity: item, aggregate: count, windows: [1h] } }\n";
static const struct agg_dedupe dedupe = {.ids = 8, .horizon_ms = 600000};
static const int64_t noon = INT64_C(1700000000000);

static void encode_nonsense(void *user, const struct store_key *key, enum store_part part, const void *memory, uint32_t bytes,
                            struct fr_buffer *disk)
{
    (void)user, (void)key, (void)part, (void)memory, (void)bytes;
    fr_buffer_append_text(disk, "\xffnonsense");
}

static bool decode_all(void *user, const struct store_key *key, enum store_part part, struct fr_slice disk,
                       struct fr_buffer *memory)
{
    (void)user, (void)key, (void)part;
    fr_buffer_append(memory, disk.bytes, disk.length);
    return true;
}

static struct proto_event watch(uint64_t user, uint64_t item)
{
    return (struct proto_event){.event_id = user * 100 + item, .ts_ms = noon, .user_id = user, .item_id = item, .action = 3};
}

/* A node with items 6 and 7, of which 6 is spoiled on disk. */
static struct node node_spoiled(uint8_t kind)
{
    struct node node = node_new(text, dedupe);
    struct store_options options = {
        .path = node.directory, .memory_bytes = 64 << 20, .codec = {.encode = encode_nonsense, .decode = decode_all}};
    struct store_key key = {.kind = kind, .id_count = 1, .ids = {6}};
    struct store_epoch epoch = {.boundary = node_boundary};
    struct store_entry *entry;
    struct store *store;
    struct fr_err err;
    uint64_t hash;

    node_apply_one(&node, watch(1, 6), noon);
    node_apply_one(&node, watch(1, 7), noon);
    node_commit(&node);
    node_stop(&node);
    assert_true(store_open(&options, &store, &err));
    hash = store_key_hash(store, &key);
    assert_true(store_load(store, &key, &hash, 1, &err));
    store_gate_enter(store);
    entry = store_entry_lock(store, &key, hash, true);
    assert_non_null(store_entry_write(store, entry, STORE_PART_ROWS, 64));
    store_entry_unlock(store, entry);
    store_gate_leave(store);
    assert_true(store_epoch_commit(store, &epoch, &err));
    store_close(store);
    node_start(&node);
    return node;
}

static void reads_of_it_say_which_entity(void **state)
{
    struct node node = node_spoiled(2);
    uint64_t items[] = {7, 6};
    struct agg_request request = {.user_id = 1, .item_ids = items, .item_count = 2, .time_ms = noon};
    const struct agg_plan *plan = node_plan(&node, "", NULL, 0);
    struct agg_digest digest;
    struct agg_reply reply;
    struct fr_err err;

    (void)state;
    assert_true(agg_read_load(node.agg, plan, &request, node.arena, &err));
    assert_false(agg_read(node.agg, plan, &request, node.arena, &reply, &err));
    assert_int_equal(err.code, FR_CORRUPT);
    assert_non_null(strstr(err.message, "item 6 "));
    assert_float_equal(node_value(&node, "w.1h", 1, 7, noon), 1, 0);
    assert_false(agg_digest(node.agg, noon, true, &digest, &err));
    assert_int_equal(err.code, FR_CORRUPT);
    assert_non_null(strstr(err.message, "item 6 "));
    node_free(&node);
}

static void its_shares_are_dropped_and_counted(void **state)
{
    struct node node = node_spoiled(2);

    (void)state;
    node_apply_one(&node, watch(2, 6), noon);
    node_apply_one(&node, watch(2, 7), noon);
    assert_int_equal(node.tally.corrupt, 1);
    assert_int_equal(node.tally.applied, 4);
    assert_float_equal(node_value(&node, "w.1h", 1, 7, noon), 2, 0);
    node_free(&node);
}

static void a_user_set_aside_cannot_tell_duplicates(void **state)
{
    struct node node = node_spoiled(1); /* the user's kind; its id is 6, too */

    (void)state;
    node_apply_one(&node, watch(6, 7), noon);
    assert_int_equal(node.tally.corrupt, 1);
    assert_int_equal(node.tally.dedupe_unchecked, 1);
    assert_float_equal(node_value(&node, "w.1h", 1, 7, noon), 2, 0);
    node_free(&node);
}

static bool note_item(void *user, struct fr_slice key, struct fr_slice value, struct fr_err *err)
{
    const uint8_t *bytes = key.bytes;
    unsigned *items = user;

    (void)err;
    if (bytes[0] == 2 && *(const uint8_t *)value.bytes != 0) /* it has rows */
        *items |= 1U << bytes[key.length - 1];
    return true;
}

static void turn(void *agg, struct store *store)
{
    (void)store;
    assert_true(agg_images_turn(agg));
}

static struct agg_deltas *told;

static bool tell(void *agg, struct fr_err *err)
{
    return agg_images_tell(agg, told, noon, err);
}

/* What one instance cannot add up others can. */
static void others_of_a_cluster_are_told_of_its_events(void **state)
{
    struct node node = node_spoiled(2);
    struct store_epoch epoch = {.boundary = turn, .before_durable = tell, .user = node.agg};
    unsigned items = 0;
    struct fr_err err;

    (void)state;
    told = agg_deltas_new(node.agg);
    assert_true(agg_images_open(node.agg));
    agg_lane_collect(node.lane, told);
    node_apply_one(&node, watch(2, 6), noon);
    node_apply_one(&node, watch(2, 7), noon);
    if (!store_epoch_commit(node.store, &epoch, &err) || !agg_deltas_each(told, note_item, &items, &err))
        fail_msg("%s", err.message);
    assert_int_equal(items, 1U << 6 | 1U << 7);
    agg_lane_collect(node.lane, NULL);
    agg_deltas_free(told);
    node_free(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_of_it_say_which_entity),
        cmocka_unit_test(its_shares_are_dropped_and_counted),
        cmocka_unit_test(a_user_set_aside_cannot_tell_duplicates),
        cmocka_unit_test(others_of_a_cluster_are_told_of_its_events),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
