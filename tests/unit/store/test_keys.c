#include "fixture.h"

#include "internal.h"

static struct fr_slice bytes_of(const struct store_disk_key *key)
{
    return fr_slice(key->bytes, store_disk_key__length(key));
}

static void a_key_is_big_endian_on_disk(void **state)
{
    struct store_key key = {.kind = 2, .id_count = 2, .partition = 0x0304, .ids = {5, UINT64_C(0xFFEEDDCCBBAA9988)}};
    static const uint8_t expected[] = {2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 5, 0xFF, 0xEE, 0xDD, 0xCC, 0xBB, 0xAA, 0x99, 0x88, 3};
    struct store_disk_key disk_key;

    (void)state;
    store_key__encode(&key, STORE_PART_LISTS, &disk_key);
    assert_int_equal(store_disk_key__length(&disk_key), sizeof(expected));
    assert_memory_equal(disk_key.bytes, expected, sizeof(expected));
}

static void a_key_comes_back_from_disk(void **state)
{
    struct store_key key = {.kind = 255, .id_count = 3, .partition = 65535, .ids = {1, UINT64_MAX, 3}}, back;
    struct store_disk_key disk_key;
    enum store_part part;

    (void)state;
    store_key__encode(&key, STORE_PART_SKETCHES, &disk_key);
    assert_true(store_key__decode(bytes_of(&disk_key), &back, &part));
    assert_int_equal(part, STORE_PART_SKETCHES);
    assert_int_equal(back.kind, 255);
    assert_int_equal(back.id_count, 3);
    assert_int_equal(back.partition, 65535);
    assert_memory_equal(back.ids, key.ids, sizeof(key.ids));
}

static void what_is_no_key_is_refused(void **state)
{
    static const uint8_t bytes[40] = {1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9};
    struct store_key key;
    enum store_part part;

    (void)state;
    for (size_t length = 0; length <= 11; length++)
        assert_false(store_key__decode(fr_slice(bytes, length), &key, &part));
    assert_false(store_key__decode(fr_slice(bytes, 12), &key, &part)); /* no part 9 */
    assert_false(store_key__decode(fr_slice(bytes + 1, 12), &key, &part)); /* kind 0 */
    assert_false(store_key__decode(fr_slice(bytes, 36), &key, &part)); /* four ids */
}

static int compare_as_rocksdb(struct fr_slice a, struct fr_slice b)
{
    int order = memcmp(a.bytes, b.bytes, a.length < b.length ? a.length : b.length);

    return order != 0 ? order : a.length < b.length ? -1 : a.length > b.length;
}

static void padded_keys_sort_as_the_bytes_do(void **state)
{
    struct store_disk_key keys[2];

    (void)state;
    srandom(1);
    for (int round = 0; round < 100000; round++) {
        for (int i = 0; i < 2; i++) {
            struct store_key key = {.kind = 1, .id_count = (uint8_t)(1 + random() % 3), .partition = (uint16_t)(random() % 2)};

            for (int id = 0; id < key.id_count; id++)
                key.ids[id] = (uint64_t)(random() % 3) << (random() % 2 * 56);
            store_key__encode(&key, (enum store_part)(random() % STORE_PARTS), &keys[i]);
        }
        int padded = store_disk_key__compare(&keys[0], &keys[1]);
        int plain = compare_as_rocksdb(bytes_of(&keys[0]), bytes_of(&keys[1]));
        assert_true((padded < 0) == (plain < 0) && (padded > 0) == (plain > 0));
    }
}

static void a_hash_depends_on_every_field(void **state)
{
    struct store store = {.seeds = {UINT64_C(0x0123456789ABCDEF), UINT64_C(0xFEDCBA9876543210)}};
    struct store_key key = {.kind = 1, .id_count = 2, .partition = 3, .ids = {4, 5}};
    uint64_t hash = store_key_hash(&store, &key);

    (void)state;
    struct store_key others[] = {key, key, key, key, key};
    others[0].kind = 2;
    others[1].id_count = 1;
    others[2].partition = 4;
    others[3].ids[0] = 5;
    others[4].ids[1] = 4;
    for (size_t i = 0; i < 5; i++)
        assert_int_not_equal(store_key_hash(&store, &others[i]), hash);
    store.seeds[0]++;
    assert_int_not_equal(store_key_hash(&store, &key), hash);
}

static void consecutive_ids_spread_over_stripes(void **state)
{
    struct store store = {.seeds = {UINT64_C(0x0123456789ABCDEF), UINT64_C(0xFEDCBA9876543210)}};
    int counts[STORE_STRIPES] = {0};

    (void)state;
    for (uint64_t id = 0; id < 256 * 1000; id++) {
        struct store_key key = fixture_key(id);

        counts[store_key_hash(&store, &key) >> 56]++;
    }
    for (int i = 0; i < STORE_STRIPES; i++) /* 1,000 each, six standard deviations either way */
        assert_in_range(counts[i], 810, 1190);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_is_big_endian_on_disk),   cmocka_unit_test(a_key_comes_back_from_disk),
        cmocka_unit_test(what_is_no_key_is_refused),     cmocka_unit_test(padded_keys_sort_as_the_bytes_do),
        cmocka_unit_test(a_hash_depends_on_every_field), cmocka_unit_test(consecutive_ids_spread_over_stripes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
