/* What an instance does of whose epoch nothing can be told to others. */
#include "instance.h"

/* Prototype for --wrap. */
bool __wrap_agg_images_turn(struct agg *agg);

/* The epoch before was not encoded: there was no memory. */
bool __wrap_agg_images_turn(struct agg *agg)
{
    (void)agg;
    return false;
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup_teardown(
        without_memory_for_an_epoch_it_ends_once_says_why_and_writes_nothing, instance_setup, instance_teardown)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
