/* What an instance does of whose epoch nothing can be told to others, and what its boundaries save. */
#include "instance.h"

/* Prototype for --wrap. */
bool __wrap_agg_images_turn(struct agg *agg);

static bool has_memory; /* else the epoch before was not encoded */

bool __wrap_agg_images_turn(struct agg *agg)
{
    (void)agg;
    return has_memory;
}

static int fatal_count;
static struct fr_err fatal;

static void note_fatal(void *user, const struct fr_err *err)
{
    (void)user;
    fatal_count++;
    fatal = *err;
}

static void turn(void *user, struct store *store)
{
    pipeline_cluster__boundary(user, store);
}

static void without_memory_for_an_epoch_it_ends_once_says_why_and_writes_nothing(void **state)
{
    struct instance *instance = *state;
    struct store_epoch epoch = {.boundary = turn, .user = instance->cluster};
    struct store *store = instance->fixture->store;
    struct fr_err err;

    has_memory = false;
    instance->cluster->fatal = note_fatal;
    fixture_set(store, 7, 1);
    assert_false(store_epoch_commit(store, &epoch, &err));
    assert_false(store_epoch_commit(store, &epoch, &err));
    assert_int_equal(fatal_count, 1);
    assert_int_equal(fatal.code, FR_EXHAUSTED);
    assert_non_null(strstr(fatal.message, "found no memory"));
    assert_non_null(strstr(fatal.message, "less store.memory"));
    fixture_reopen(instance->fixture);
    assert_int_equal(fixture_get_part(instance->fixture->store, 7, STORE_PART_ROWS), 0);
}

static bool is_saved_anew(struct instance *instance)
{
    struct store_epoch epoch = {.boundary = turn, .user = instance->cluster};
    struct store *store = instance->fixture->store;
    struct fr_err err;

    store_meta_put(store, "cluster/saved_ms", fr_slice_of("1000"));
    atomic_fetch_add(&instance->cluster->deltas_next[0], 1);
    assert_true(store_epoch_commit(store, &epoch, &err));
    return !fr_slice_is(store_meta_get(store, "cluster/saved_ms"), "1000");
}

/* Deletes of users whom it keeps, and does not read along, may be gone from the changelog when it is started again. */
static void while_it_is_drained_what_it_keeps_of_users_grows_old(void **state)
{
    struct instance *instance = *state;

    has_memory = true;
    assert_true(is_saved_anew(instance));
    atomic_store(&instance->cluster->is_away, true);
    assert_false(is_saved_anew(instance));
    atomic_store(&instance->cluster->is_away, false);
    assert_true(is_saved_anew(instance));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_memory_for_an_epoch_it_ends_once_says_why_and_writes_nothing, instance_setup,
                                        instance_teardown),
        cmocka_unit_test_setup_teardown(while_it_is_drained_what_it_keeps_of_users_grows_old, instance_setup,
                                        instance_teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
