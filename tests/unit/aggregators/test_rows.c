/*
 * Rows and running totals of one entity, without a node: whatever is added, in any order, with any horizon, each window's value by
 * its running total is what its rows make, and what the amounts make that lie in it.
 */
#include "stream.h"

enum { ADDS_MAX = 400, ROUNDS = 60 };

static const char *const text = "entities: { item: { key: [item_id] } }\n"
                                "features:\n"
                                "  counts: { entity: item, aggregate: count, windows: [1m, 5m, 1h, 24h] }\n"
                                "  sums:   { entity: item, aggregate: sum, windows: [24s, 1m, 1h, 7d] }\n"
                                "  least:  { entity: item, aggregate: min, windows: [30s, 10m, 2d] }\n"
                                "  most:   { entity: item, aggregate: max, windows: [30s, 2h] }\n";

/* All have the same windows: whole rows are added, merged and taken off (even.c). */
static const char *const even_text = "entities: { item: { key: [item_id] } }\n"
                                     "features:\n"
                                     "  views:  { entity: item, aggregate: count, windows: [1m, 5m, 1h, 7d] }\n"
                                     "  times:  { entity: item, aggregate: sum, windows: [1h, 1m, 5m, 7d] }\n"
                                     "  likes:  { entity: item, aggregate: count, windows: [7d, 5m, 1h, 1m] }\n"
                                     "  shares: { entity: item, aggregate: count, windows: [1m, 5m, 1h, 7d] }\n"
                                     "  prices: { entity: item, aggregate: sum, windows: [1m, 5m, 1h, 7d] }\n";

struct addition {
    const struct agg_feature *feature;
    int64_t ts_ms;
    __int128 amount;
};

struct case_ {
    struct agg_catalogue *catalogue;
    const struct agg_entity *entity;
    struct fr_buffer buffer;
    struct agg_blob blob;
    struct addition additions[2 * ADDS_MAX];
    int count;
    int64_t horizon_ms, greatest_ms;
};

static void case_init(struct case_ *it, const char *catalogue_text)
{
    struct agg_dedupe dedupe = {.ids = 4, .horizon_ms = 1000};

    memset(it, 0, sizeof *it);
    it->catalogue = catalogue_good(catalogue_text, &dedupe);
    it->entity = it->catalogue->item;
    fr_buffer_init(&it->buffer);
    it->blob = agg_blob__of_buffer(&it->buffer);
    assert_true(agg_rows__open(&it->blob, it->entity));
}

static void case_fini(struct case_ *it)
{
    fr_buffer_fini(&it->buffer);
    agg_catalogue_free(it->catalogue);
}

/* To the feature, and of an even entity to another at once, as an event does. */
static void add_even(struct case_ *it, const struct agg_feature *feature, const struct agg_moment *at, int64_t amount)
{
    struct agg_moment horizon = agg_window__moment(it->horizon_ms);
    struct agg_amount amounts[2] = {{feature, amount}, {it->entity->counters[it->count % it->entity->counter_count], 1}};
    int count = amounts[0].feature == amounts[1].feature ? 1 : 2;

    assert_int_not_equal(agg_even__add(&it->blob, it->entity, amounts, count, at, &horizon), AGG_NO_MEMORY);
    for (int i = 0; i < count; i++)
        it->additions[it->count++] = (struct addition){amounts[i].feature, at->time_ms, amounts[i].amount};
}

static void add(struct case_ *it, const struct agg_feature *feature, int64_t ts_ms, __int128 amount)
{
    struct agg_moment at = agg_window__moment(ts_ms), horizon = agg_window__moment(it->horizon_ms);

    agg_totals__advance(it->blob.memory, it->entity, &at);
    if (((struct agg_rows *)it->blob.memory)->latest_ms < ts_ms)
        ((struct agg_rows *)it->blob.memory)->latest_ms = ts_ms;
    if (it->entity->is_even) {
        add_even(it, feature, &at, (int64_t)amount);
    } else {
        assert_int_not_equal(agg_rows__add(&it->blob, it->entity, feature, &at, amount, &horizon), AGG_NO_MEMORY);
        it->additions[it->count++] = (struct addition){feature, ts_ms, amount};
    }
    it->greatest_ms = it->greatest_ms > ts_ms ? it->greatest_ms : ts_ms;
}

static void prune(struct case_ *it, int64_t horizon_ms)
{
    struct agg_moment horizon = agg_window__moment(horizon_ms);

    it->horizon_ms = horizon_ms;
    assert_true(agg_rows__prune(&it->blob, it->entity, &horizon));
}

static __int128 should_be(const struct case_ *it, const struct agg_feature *feature, const struct agg_window *window,
                          int64_t time_ms)
{
    __int128 amount = 0;

    for (int i = 0; i < it->count; i++) {
        const struct addition *addition = &it->additions[i];
        int64_t age = agg_window__pane(time_ms, window->level) - agg_window__pane(addition->ts_ms, window->level);

        if (addition->feature != feature || age < 0 || age >= window->panes)
            continue;
        if (feature->measure != AGG_MEASURE_GREATEST)
            amount += addition->amount;
        else if (amount < addition->amount)
            amount = addition->amount;
    }
    return amount;
}

static void check(const struct case_ *it, int64_t time_ms)
{
    struct agg_moment moment = agg_window__moment(time_ms);
    const struct agg_rows *rows = it->blob.memory;
    struct agg_view view;

    agg_view__init(&view, rows, it->entity, &moment);
    for (int f = 0; f < it->entity->counter_count; f++) {
        const struct agg_feature *feature = it->entity->counters[f];

        for (int w = 0; w < feature->window_count; w++) {
            __int128 wanted = should_be(it, feature, &feature->windows[w], time_ms);

            if (agg_view__value(&view, feature, &feature->windows[w]) != wanted)
                fail_msg("%s.%s at %lld: by its total", feature->name, feature->windows[w].text, (long long)time_ms);
            if (agg_rows__sum(rows, it->entity, feature, &feature->windows[w], &moment) != wanted)
                fail_msg("%s.%s at %lld: by its rows", feature->name, feature->windows[w].text, (long long)time_ms);
        }
    }
}

/* A read at the node's time moves the totals there; what comes after it may be of before. */
static void read_now(const struct case_ *it, int64_t time_ms)
{
    struct agg_moment moment = agg_window__moment(time_ms);
    const struct agg_rows *rows = it->blob.memory;

    if (rows && agg_totals__are_of(rows, it->entity, &moment, true))
        assert_int_equal(rows->head_s, moment.pane[0]);
    else if (rows)
        assert_true(rows->has_no_totals || rows->head_s > moment.pane[0]);
    check(it, time_ms);
}

static __int128 amount_of(const struct agg_feature *feature, struct rng *rng, int64_t most)
{
    int64_t micro = rng_below(rng, most) - most / 3;

    return feature->measure == AGG_MEASURE_COUNT ? 1 : agg_measure__of_micro(feature, micro);
}

static int64_t later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* Random additions, late and early, with a horizon that follows; looked at before, at and after the head. */
static void play(struct case_ *it, struct rng *rng, int64_t most)
{
    static const int64_t steps_ms[] = {40, 900, 20000, 400000, 9000000}, spreads_ms[] = {500, 9000, 200000, 5000000, 400000000};
    int64_t step_ms = steps_ms[rng_below(rng, 5)], spread_ms = spreads_ms[rng_below(rng, 5)];
    int64_t now_ms = INT64_C(1700000000000) + rng_below(rng, 100000000), behind_ms = rng_below(rng, 90000);

    for (int i = 0; i < ADDS_MAX; i++) {
        const struct agg_feature *feature = it->entity->counters[rng_below(rng, it->entity->counter_count)];

        now_ms += rng_below(rng, step_ms);
        add(it, feature, now_ms - rng_below(rng, rng_one_in(rng, 2) ? spread_ms : 2), amount_of(feature, rng, most));
        if (rng_one_in(rng, 3) && it->greatest_ms - behind_ms > it->horizon_ms)
            prune(it, it->greatest_ms - behind_ms);
        if (rng_one_in(rng, 30)) /* other entities went on */
            prune(it, later(it->greatest_ms, it->horizon_ms) + rng_below(rng, step_ms * 8));
        if (rng_one_in(rng, 10))
            read_now(it, later(it->greatest_ms, it->horizon_ms) + rng_below(rng, step_ms * 20));
        if (rng_one_in(rng, 8)) {
            check(it, later(it->greatest_ms, it->horizon_ms));
            check(it, it->horizon_ms > 0 ? it->horizon_ms : it->greatest_ms);
            check(it, later(it->greatest_ms, it->horizon_ms) + rng_below(rng, spreads_ms[rng_below(rng, 5)]));
        }
    }
    agg_totals__rebuild(it->blob.memory, it->entity);
    check(it, later(it->greatest_ms, it->horizon_ms));
    check(it, later(it->greatest_ms, it->horizon_ms) + rng_below(rng, 100000));
}

static void totals_are_what_the_rows_make(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        struct rng rng = {seed};
        struct case_ it;

        case_init(&it, text);
        play(&it, &rng, 100000000);
        assert_false(((struct agg_rows *)it.blob.memory)->is_wide);
        assert_false(((struct agg_rows *)it.blob.memory)->has_no_totals);
        case_fini(&it);
    }
}

static void whole_rows_are_what_their_counters_make(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        struct rng rng = {seed};
        struct case_ it;

        case_init(&it, even_text);
        assert_true(it.entity->is_even);
        play(&it, &rng, seed % 2 == 0 ? 100000000 : INT64_C(1000000000000000000)); /* some get wide, in any of the ways */
        case_fini(&it);
    }
}

static void sums_beyond_64_bits_stay_exact(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= ROUNDS / 2; seed++) {
        struct rng rng = {seed};
        struct case_ it;

        case_init(&it, text);
        play(&it, &rng, INT64_C(1000000000000000000));
        case_fini(&it);
    }
}

static void a_row_widens_when_its_integer_no_longer_fits(void **state)
{
    struct case_ it;

    (void)state;
    case_init(&it, text);
    assert_false(it.entity->is_even);
    for (int i = 0; i < 3; i++) {
        add(&it, it.entity->counters[0], 5000, INT32_MAX);
        add(&it, it.entity->counters[1], 5000, INT64_MAX);
        add(&it, it.entity->counters[2], 7000, agg_measure__of_micro(it.entity->counters[2], -8));
        check(&it, 7000);
    }
    assert_true(((struct agg_rows *)it.blob.memory)->is_wide);
    case_fini(&it);
}

/* 2^31 events in a window, no pane of which has as many. */
static void a_total_that_no_longer_fits_is_added_up_from_rows(void **state)
{
    struct case_ it;

    (void)state;
    case_init(&it, text);
    add(&it, it.entity->counters[0], 5000, INT32_MAX);
    add(&it, it.entity->counters[0], 6000, INT32_MAX);
    assert_false(((struct agg_rows *)it.blob.memory)->is_wide);
    assert_true(((struct agg_rows *)it.blob.memory)->has_no_totals);
    check(&it, 6000);
    check(&it, 65000);
    case_fini(&it);
}

/* Two rows of a second whose counts fit neither the totals nor one row of ten seconds, beside a third that moves on as it is. */
static void whole_rows_that_do_not_fit_together_widen(void **state)
{
    struct case_ it;

    (void)state;
    case_init(&it, even_text);
    add(&it, it.entity->counters[0], 11000, INT32_MAX - 1);
    add(&it, it.entity->counters[0], 12000, INT32_MAX - 1);
    add(&it, it.entity->counters[1], 31000, 5);
    assert_false(((struct agg_rows *)it.blob.memory)->is_wide);
    assert_true(((struct agg_rows *)it.blob.memory)->has_no_totals);
    prune(&it, 95000);
    assert_true(((struct agg_rows *)it.blob.memory)->is_wide);
    assert_int_equal(((struct agg_rows *)it.blob.memory)->row_count[0], 0);
    assert_int_equal(((struct agg_rows *)it.blob.memory)->row_count[1], 2);
    check(&it, 95000);
    check(&it, 315000);
    case_fini(&it);
}

static void whole_rows_widen_for_an_event_that_does_not_fit(void **state)
{
    struct case_ it;

    (void)state;
    case_init(&it, even_text);
    for (int i = 0; i < 3; i++) {
        add(&it, it.entity->counters[0], 5000, INT32_MAX);
        add(&it, it.entity->counters[1], 5000, INT64_MAX);
        check(&it, 7000);
    }
    assert_true(((struct agg_rows *)it.blob.memory)->is_wide);
    case_fini(&it);
}

/* It goes to a row of 10 s, because at the horizon no window of 1 s panes has it; at the head, 10 s before, one would. */
static void late_for(const char *catalogue_text)
{
    struct case_ it;

    case_init(&it, catalogue_text);
    prune(&it, 1000);
    add(&it, it.entity->counters[0], 100000, 1);
    prune(&it, 110000);
    add(&it, it.entity->counters[0], 45000, 1);
    check(&it, 110000);
    case_fini(&it);
}

static void an_event_too_late_for_a_window_is_not_in_its_total(void **state)
{
    (void)state;
    late_for(text);
    late_for(even_text);
}

static void more_spans_than_have_totals_are_read_too(void **state)
{
    struct fr_buffer many;
    struct rng rng = {7};
    struct case_ it;

    (void)state;
    fr_buffer_init(&many);
    fr_buffer_append_text(&many, "entities: { item: { key: [item_id] } }\nfeatures:\n");
    for (int f = 0; f < 3; f++) {
        fr_buffer_append_format(&many, "  f%d: { entity: item, aggregate: %s, windows: [", f, f == 1 ? "max" : "count");
        for (int w = 0; w < AGG_WINDOWS_MAX; w++)
            fr_buffer_append_format(&many, "%s%ds", w > 0 ? ", " : "", 30 + (f * AGG_WINDOWS_MAX + w) * 10);
        fr_buffer_append_text(&many, "] }\n");
    }
    fr_buffer_append_byte(&many, 0);
    case_init(&it, (const char *)many.bytes);
    assert_int_equal(it.entity->span_count, AGG_SPANS_MAX);
    play(&it, &rng, 1000000);
    case_fini(&it);
    fr_buffer_fini(&many);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(totals_are_what_the_rows_make),
        cmocka_unit_test(whole_rows_are_what_their_counters_make),
        cmocka_unit_test(whole_rows_that_do_not_fit_together_widen),
        cmocka_unit_test(whole_rows_widen_for_an_event_that_does_not_fit),
        cmocka_unit_test(sums_beyond_64_bits_stay_exact),
        cmocka_unit_test(a_row_widens_when_its_integer_no_longer_fits),
        cmocka_unit_test(a_total_that_no_longer_fits_is_added_up_from_rows),
        cmocka_unit_test(an_event_too_late_for_a_window_is_not_in_its_total),
        cmocka_unit_test(more_spans_than_have_totals_are_read_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
