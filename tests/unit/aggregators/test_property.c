/* The runner of properties itself: what holds passes, what doesn't is found and cut down to the least that shows it. */
#include "property.h"

static void configure(struct property_trial *trial, struct rng *rng)
{
    (void)rng;
    snprintf(trial->text, sizeof trial->text,
             "entities: { item: { key: [item_id], retention: 0 } }\n"
             "features: { n: { entity: item, actions: [watch], aggregate: count, windows: [1m] } }\n");
    trial->names[trial->name_count++] = "n";
    trial->spans_ms[trial->span_count++] = 60000;
}

static int count_of(const struct property_look *look, int row)
{
    int count = 0;

    for (int i = 0; i < look->count; i++) {
        int64_t pane = look->events[i]->ts_ms / 1000, newest = look->time_ms / 1000;

        count += look->events[i]->item_id == look->request->item_ids[row] && look->request->item_ids[row] != 0 &&
                 look->events[i]->action == 3 && pane > newest - 60 && pane <= newest;
    }
    return count;
}

static bool is_counted(const struct property_look *look)
{
    for (int row = 0; row < PROPERTY_ROWS; row++) {
        if (!property_equal(look, "n.1m", row, (float)count_of(look, row)))
            return false;
    }
    return true;
}

/* Wrong on purpose from three events on. */
static bool is_counted_below_three(const struct property_look *look)
{
    for (int row = 0; row < PROPERTY_ROWS; row++) {
        int count = count_of(look, row);

        if (!property_equal(look, "n.1m", row, (float)(count < 3 ? count : 2)))
            return false;
    }
    return true;
}

static void what_holds_passes(void **state)
{
    static const struct property property = {.name = "count", .configure = configure, .check = is_counted};

    (void)state;
    property_run(&property);
}

static void a_failure_is_cut_down_to_the_least_that_shows_it(void **state)
{
    static const struct property property = {.name = "wrong", .configure = configure, .check = is_counted_below_three};
    struct property_trial trial = {.own = NULL};
    struct property_stream *stream = calloc(1, sizeof *stream);
    struct property_step *steps = calloc(PROPERTY_STEPS_MAX + 2, sizeof *steps);
    char why[512] = "";
    struct property_running running = {
        .property = &property, .trial = &trial, .base = 1000, .why = why, .why_bytes = sizeof why};
    struct rng rng = {7};
    int count = 0;

    (void)state;
    configure(&trial, &rng);
    for (int tries = 0; tries < 500 && count == 0; tries++) {
        property_stream_make(&property, &trial, stream, 1000, &rng);
        count = property_minimal(&running, stream, steps);
    }
    assert_int_equal(count, 4); /* three events and a read */
    for (int i = 0; i < 3; i++) {
        assert_int_equal(steps[i].kind, PROPERTY_APPLY);
        assert_int_equal(steps[i].event.action, 3);
        assert_int_equal(steps[i].event.creator_id, 0);
        assert_true(steps[i].event.value == 0);
    }
    assert_int_equal(steps[3].kind, PROPERTY_READ);
    assert_non_null(strstr(why, "is 3, should be 2"));
    free(steps);
    free(stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_holds_passes),
        cmocka_unit_test(a_failure_is_cut_down_to_the_least_that_shows_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
