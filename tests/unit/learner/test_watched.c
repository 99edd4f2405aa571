/* The curve that ranks watches: middle ranks, and what of it outlives a crash. */
#include "fixture.h"
#include "join.h"

#include <unistd.h>

enum { BUCKETS = PROTO_WATCHED_LENGTHS * PROTO_WATCHED_TIMES, LENGTH = 3 * PROTO_WATCHED_TIMES, NAME = 7, DEFINITION = 8 };

struct place { /* a store */
    char directory[64];
    struct store *store;
};

static void place_open(struct place *place)
{
    struct store_options options = {.path = place->directory, .memory_bytes = 16 << 20};
    struct fr_err err;

    if (!store_open(&options, &place->store, &err))
        fail_msg("%s", err.message);
}

static int place_new(void **state)
{
    struct place *place = calloc(1, sizeof *place);

    snprintf(place->directory, sizeof place->directory, "/tmp/freshet-watched-XXXXXX");
    assert_non_null(mkdtemp(place->directory));
    place_open(place);
    *state = place;
    return 0;
}

static int place_free(void **state)
{
    struct place *place = *state;
    char command[128];

    store_close(place->store);
    snprintf(command, sizeof command, "rm -r %s", place->directory);
    assert_int_equal(system(command), 0);
    free(place);
    return 0;
}

static struct learner_watched *open_curve(const struct place *place, uint64_t definition)
{
    struct learner_watched *watched = learner_watched__open(NAME, definition, place->store);

    assert_non_null(watched);
    return watched;
}

static void save(void *user, struct store *store)
{
    learner_watched__save(user, store);
}

static void commit(const struct place *place, struct learner_watched *watched)
{
    struct store_epoch epoch = {.user = watched, .boundary = save};
    struct fr_err err;

    if (!store_epoch_commit(place->store, &epoch, &err))
        fail_msg("%s", err.message);
}

static void a_rank_is_the_middle_of_those_as_long_and_itself(void **state)
{
    struct learner_watched *watched = open_curve(*state, DEFINITION);

    assert_true(learner_watched__rank(watched, LENGTH + 40) == 0.5); /* of itself alone */
    learner_watched__count(watched, LENGTH + 40);
    learner_watched__count(watched, LENGTH + 40);
    learner_watched__count(watched, LENGTH + 50);
    assert_true(learner_watched__rank(watched, LENGTH + 30) == 0.125); /* (0 + 1/2) of 4 */
    assert_true(learner_watched__rank(watched, LENGTH + 40) == 0.375); /* (0 + 3/2) */
    assert_true(learner_watched__rank(watched, LENGTH + 45) == 0.625); /* (2 + 1/2) */
    assert_true(learner_watched__rank(watched, LENGTH + 80) == 0.875); /* (3 + 1/2) */
    assert_true(learner_watched__rank(watched, LENGTH + 81) == 0.5); /* the next length's least: nobody watched one yet */
    assert_true(learner_watched__rank(watched, BUCKETS - 1) == 0.5);
    learner_watched__close(watched);
}

static void what_no_epoch_has_is_not_counted_after_a_crash(void **state)
{
    struct place *place = *state;
    struct learner_watched *watched = open_curve(place, DEFINITION);

    learner_watched__count(watched, LENGTH);
    learner_watched__count(watched, 0);
    commit(place, watched);
    learner_watched__count(watched, LENGTH); /* of this length the record is older … */
    learner_watched__close(watched);
    store_close(place->store);
    place_open(place);
    watched = open_curve(place, DEFINITION);
    assert_true(learner_watched__rank(watched, LENGTH + 1) == 0.75); /* … and has one */
    assert_true(learner_watched__rank(watched, 1) == 0.75);
    learner_watched__count(watched, LENGTH);
    commit(place, watched); /* only what changed is written again */
    learner_watched__close(watched);
    watched = open_curve(place, DEFINITION);
    assert_true(learner_watched__rank(watched, 1) == 0.75);
    assert_true(learner_watched__rank(watched, LENGTH + 1) == 2.5 / 3);
    learner_watched__close(watched);
}

static void a_task_of_another_definition_begins_anew(void **state)
{
    struct place *place = *state;
    struct learner_watched *watched = open_curve(place, DEFINITION);

    learner_watched__count(watched, LENGTH);
    commit(place, watched);
    learner_watched__close(watched);
    watched = open_curve(place, DEFINITION + 1);
    assert_true(learner_watched__rank(watched, LENGTH + 1) == 0.5);
    learner_watched__close(watched);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_rank_is_the_middle_of_those_as_long_and_itself, place_new, place_free),
        cmocka_unit_test_setup_teardown(what_no_epoch_has_is_not_counted_after_a_crash, place_new, place_free),
        cmocka_unit_test_setup_teardown(a_task_of_another_definition_begins_anew, place_new, place_free),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
