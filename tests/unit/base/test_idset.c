/* Sets of ids that are asked while they change. */
#include <freshet/idset.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <pthread.h>

enum { MOST = 49152 };

static void what_is_put_in_is_there_until_it_is_taken_out(void **state)
{
    struct fr_idset *set = fr_idset_new(MOST);

    (void)state;
    assert_non_null(set);
    assert_false(fr_idset_has(set, 7));
    assert_true(fr_idset_put(set, 7, true));
    assert_true(fr_idset_put(set, UINT64_MAX, true));
    assert_true(fr_idset_put(set, 7, true));
    assert_int_equal(fr_idset_count(set), 2);
    assert_true(fr_idset_has(set, 7) && fr_idset_has(set, UINT64_MAX) && !fr_idset_has(set, 8));
    assert_true(fr_idset_put(set, 7, false));
    assert_true(fr_idset_put(set, 9, false));
    assert_false(fr_idset_has(set, 7));
    assert_int_equal(fr_idset_count(set), 1);
    assert_true(fr_idset_put(set, 7, true));
    assert_true(fr_idset_has(set, 7));
    assert_false(fr_idset_has(NULL, 7) || fr_idset_has(set, 0));
    fr_idset_free(set);
}

static void a_full_set_says_so_and_keeps_what_it_has(void **state)
{
    struct fr_idset *set = fr_idset_new(MOST);
    uint64_t *ids = test_calloc(MOST, sizeof *ids), sum = 0;

    (void)state;
    for (uint64_t id = 1; id <= MOST; id++)
        assert_true(fr_idset_put(set, id << 32, true));
    assert_false(fr_idset_put(set, 1, true));
    assert_true(fr_idset_put(set, UINT64_C(5) << 32, false)); /* one that has its place may come and go */
    assert_true(fr_idset_put(set, UINT64_C(5) << 32, true));
    assert_int_equal(fr_idset_count(set), MOST);
    assert_int_equal(fr_idset_copy(set, ids, MOST), MOST);
    for (int i = 0; i < MOST; i++)
        sum += ids[i] >> 32;
    assert_true(sum == (uint64_t)MOST * (MOST + 1) / 2);
    assert_int_equal(fr_idset_copy(set, ids, 3), 3);
    test_free(ids);
    fr_idset_free(set);
}

static void there_is_room_for_just_as_many_as_were_asked_for(void **state)
{
    (void)state;
    for (uint32_t most = 1; most < 20; most++) {
        struct fr_idset *set = fr_idset_new(most);

        for (uint64_t id = 1; id <= most; id++)
            assert_true(fr_idset_put(set, id, true));
        assert_false(fr_idset_put(set, 100, true));
        assert_false(fr_idset_has(set, 100)); /* which looks until it finds a place that is nobody's */
        assert_int_equal(fr_idset_count(set), most);
        fr_idset_free(set);
    }
    assert_in_range(fr_idset_bytes(1 << 20), 1 << 24, (1 << 25) + 64);
}

static void *change(void *user)
{
    for (uint64_t id = 1; id <= 20000; id++) {
        if (!fr_idset_put(user, id, true) || (id % 2 == 0 && !fr_idset_put(user, id, false)))
            return user;
    }
    return NULL;
}

static void whoever_asks_meanwhile_finds_what_was_there_before(void **state)
{
    struct fr_idset *set = fr_idset_new(MOST);
    pthread_t thread;
    void *failed = NULL;

    (void)state;
    assert_true(fr_idset_put(set, 100000, true));
    assert_int_equal(pthread_create(&thread, NULL, change, set), 0);
    for (int i = 0; i < 50000; i++)
        assert_true(fr_idset_has(set, 100000) && !fr_idset_has(set, 200000));
    assert_int_equal(pthread_join(thread, &failed), 0);
    assert_null(failed);
    assert_int_equal(fr_idset_count(set), 10001);
    fr_idset_free(set);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_put_in_is_there_until_it_is_taken_out),
        cmocka_unit_test(a_full_set_says_so_and_keeps_what_it_has),
        cmocka_unit_test(there_is_room_for_just_as_many_as_were_asked_for),
        cmocka_unit_test(whoever_asks_meanwhile_finds_what_was_there_before),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
