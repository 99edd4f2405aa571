/*
 * W1 is the same every time, and what it says it is.
 */
#include <freshet/bench.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

enum { EVENTS = 200000 };

static struct fr_buffer encode(const struct bench_workload_options *options, uint64_t count)
{
    struct bench_workload *workload = bench_workload_new(options);
    struct fr_buffer bytes;
    struct proto_event event;

    assert_non_null(workload);
    fr_buffer_init(&bytes);
    for (uint64_t i = 0; i < count && bench_workload_next(workload, &event); i++)
        proto_event_encode(&event, &bytes);
    bench_workload_free(workload);
    return bytes;
}

static void a_seed_gives_the_same_bytes_every_time(void **state)
{
    struct bench_workload_options options = bench_w1_options(EVENTS);
    struct fr_buffer first = encode(&options, 5000), second = encode(&options, 5000), other;

    (void)state;
    assert_true(fr_slice_equal(fr_buffer_slice(&first), fr_buffer_slice(&second)));
    options.seed++;
    other = encode(&options, 5000);
    assert_false(fr_slice_equal(fr_buffer_slice(&first), fr_buffer_slice(&other)));
    fr_buffer_fini(&first);
    fr_buffer_fini(&second);
    fr_buffer_fini(&other);
}

static void seeds_share_no_event_id(void **state)
{
    struct bench_workload_options options = bench_w1_options(1);
    uint64_t ids[2];

    (void)state;
    for (int i = 0; i < 2; i++) {
        struct bench_workload *workload = bench_workload_new(&options);
        struct proto_event event;

        assert_true(bench_workload_next(workload, &event));
        ids[i] = event.event_id;
        bench_workload_free(workload);
        options.seed++;
    }
    assert_int_not_equal(ids[0], ids[1]);
}

static void shares_sizes_and_times_are_those_of_w1(void **state)
{
    const struct bench_workload_options options = bench_w1_options(EVENTS);
    struct bench_workload *workload = bench_workload_new(&options);
    struct proto_event event;
    struct fr_buffer bytes;
    uint64_t actions[PROTO_ACTIONS] = {0}, count = 0;
    int64_t greatest_ms = 0;

    (void)state;
    fr_buffer_init(&bytes);
    while (bench_workload_next(workload, &event)) {
        int64_t due_ms = options.start_ms + (int64_t)((double)count / EVENTS * (double)options.span_ms);

        assert_in_range(event.ts_ms, due_ms, due_ms + 5000);
        greatest_ms = event.ts_ms > greatest_ms ? event.ts_ms : greatest_ms;
        actions[event.action]++;
        count++;
        assert_true(event.user_id != 0 && event.item_id != 0 && event.creator_id != 0 && event.category_id != 0);
        assert_true((event.user_id | event.item_id) >> 63 == 0);
        proto_event_encode(&event, &bytes);
    }
    assert_int_equal(count, EVENTS);
    assert_true(greatest_ms > options.start_ms + options.span_ms - 5000);
    assert_in_range(actions[proto_action_number(fr_slice_of("watch"))], EVENTS * 79 / 100, EVENTS * 81 / 100);
    assert_in_range(actions[proto_action_number(fr_slice_of("like"))], EVENTS * 13 / 100, EVENTS * 15 / 100);
    assert_in_range(actions[proto_action_number(fr_slice_of("comment"))], EVENTS * 45 / 1000, EVENTS * 55 / 1000);
    assert_in_range(actions[proto_action_number(fr_slice_of("purchase"))], EVENTS * 8 / 1000, EVENTS * 12 / 1000);
    assert_in_range(bytes.length / EVENTS, 60, 72);
    fr_buffer_fini(&bytes);
    bench_workload_free(workload);
}

/* Zipf(1.05, 50,000): the first of them has 1 / Σ i^−1.05 = 11.8 % of the draws, the second 2^−1.05 of that. */
static void items_are_drawn_by_zipf_and_keep_their_creator(void **state)
{
    const struct bench_workload_options options = bench_w1_options(EVENTS);
    struct bench_workload *workload = bench_workload_new(&options);
    struct {
        uint64_t item, creator, category, count;
    } seen[8] = {0};
    struct proto_event event;
    uint64_t most = 0;

    (void)state;
    while (bench_workload_next(workload, &event)) {
        for (int i = 0; i < 8; i++) {
            if (seen[i].item == 0) {
                seen[i].item = event.item_id;
                seen[i].creator = event.creator_id;
                seen[i].category = event.category_id;
            }
            if (seen[i].item != event.item_id)
                continue;
            assert_true(seen[i].creator == event.creator_id && seen[i].category == event.category_id);
            seen[i].count++;
            most = seen[i].count > most ? seen[i].count : most;
            break;
        }
    }
    assert_in_range(most, EVENTS * 110 / 1000, EVENTS * 128 / 1000);
    bench_workload_free(workload);
}

static void each_draws_every_user_and_item_once(void **state)
{
    struct bench_workload_options options = bench_w1_options(100);
    struct bench_workload *workload;
    struct proto_event event;
    uint64_t users[100];
    int count = 0;

    (void)state;
    options.draw = BENCH_EACH;
    options.users = options.items = 100;
    workload = bench_workload_new(&options);
    while (bench_workload_next(workload, &event)) {
        for (int i = 0; i < count; i++)
            assert_true(users[i] != event.user_id);
        users[count++] = event.user_id;
    }
    assert_int_equal(count, 100);
    bench_workload_free(workload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_gives_the_same_bytes_every_time),
        cmocka_unit_test(seeds_share_no_event_id),
        cmocka_unit_test(shares_sizes_and_times_are_those_of_w1),
        cmocka_unit_test(items_are_drawn_by_zipf_and_keep_their_creator),
        cmocka_unit_test(each_draws_every_user_and_item_once),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
