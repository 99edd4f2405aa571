/*
 * A feed makes the state that the events say, and counts what it cost.
 */
#include <freshet/bench.h>

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

enum { KEYS = 300, EVENTS = 3000, RECENT = 16 /* entities for what is recent */ };

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)status, (void)kind, (void)walk;
    return remove(path);
}

static struct bench_feed_state feed(enum bench_catalogue catalogue, const struct bench_workload_options *options)
{
    const char *parent = getenv("TMPDIR");
    char path[256];
    struct bench_feed_options feeding = {.path = path, .catalogue = bench_catalogue(catalogue), .memory_bytes = 64 << 20};
    struct bench_workload *workload = bench_workload_new(options);
    struct bench_feed_cost cost;
    struct bench_feed_state state;
    struct bench_feed *feed;
    struct fr_err err;

    snprintf(path, sizeof path, "%s/freshet-bench-XXXXXX", parent ? parent : P_tmpdir);
    assert_non_null(mkdtemp(path));
    if (!bench_feed_open(&feeding, &feed, &err) || !bench_feed_run(feed, workload, options->events, EVENTS / 2, &cost, &err))
        fail_msg("%s", err.message);
    assert_true(cost.cpu_seconds > 0 && cost.epoch_cpu_seconds > 0 && cost.epoch_cpu_seconds < cost.cpu_seconds);
    bench_feed_look(feed, &state);
    bench_feed_close(feed);
    bench_workload_free(workload);
    nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS);
    return state;
}

static struct bench_workload_options each_key(void)
{
    struct bench_workload_options options = bench_w1_options(EVENTS);

    options.draw = BENCH_EACH;
    options.users = options.items = KEYS;
    options.creators = 1;
    return options;
}

static void there_are_as_many_entities_as_keys(void **state)
{
    struct bench_workload_options options = each_key();

    (void)state;
    assert_int_equal(feed(BENCH_W1, &options).entities, 2 * KEYS + 1 + RECENT);
    assert_int_equal(feed(BENCH_FLAT, &options).entities, 2 * KEYS + 1 + RECENT);
    assert_int_equal(feed(BENCH_LIGHT, &options).entities, 2 * KEYS + RECENT);
}

static void users_can_be_alone(void **state)
{
    struct bench_workload_options options = each_key();
    struct bench_feed_state all = feed(BENCH_W1, &options), users;

    (void)state;
    options.has_no_items = options.has_no_creators = true;
    users = feed(BENCH_W1, &options);
    assert_int_equal(users.entities, KEYS);
    assert_true(users.memory_bytes > 0 && users.memory_bytes < all.memory_bytes);
}

static void a_catalogue_with_a_mistake_is_told(void **state)
{
    struct bench_feed_options feeding = {.path = "/nonexistent", .catalogue = "features: { x: 1 }", .memory_bytes = 64 << 20};
    struct bench_feed *opened;
    struct fr_err err;

    (void)state;
    assert_false(bench_feed_open(&feeding, &opened, &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_are_as_many_entities_as_keys),
        cmocka_unit_test(users_can_be_alone),
        cmocka_unit_test(a_catalogue_with_a_mistake_is_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
