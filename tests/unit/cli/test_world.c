/*
 * The simulated livestream and shop.
 */
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

enum { EVENTS = 20000 };

static struct proto_event events[EVENTS];
static int64_t sent[EVENTS];

static void make_of(const struct cli_world_options *options, int count)
{
    struct cli_world *world = cli_world__new(options);

    assert_non_null(world);
    for (int i = 0; i < count; i++)
        assert_true(cli_world__next(world, &events[i], &sent[i]));
    cli_world__free(world);
}

static void make(uint64_t seed, int64_t start_ms, double rate, int count)
{
    make_of(&(struct cli_world_options){.seed = seed, .start_ms = start_ms, .rate = rate}, count);
}

static uint64_t fingerprint(int count)
{
    struct fr_buffer bytes = {0};
    uint64_t sum = 0;

    for (int i = 0; i < count; i++) {
        fr_buffer_clear(&bytes);
        proto_event_encode(&events[i], &bytes);
        for (size_t k = 0; k < bytes.length; k++)
            sum = sum * 1099511628211u + bytes.bytes[k];
        sum = sum * 31 + (uint64_t)sent[i];
    }
    fr_buffer_fini(&bytes);
    return sum;
}

static void the_same_seed_and_start_give_the_same_events(void **state)
{
    uint64_t first;

    (void)state;
    make(7, 1700000000000, 500, EVENTS);
    first = fingerprint(EVENTS);
    make(7, 1700000000000, 500, EVENTS);
    assert_int_equal(fingerprint(EVENTS), first);
    make(8, 1700000000000, 500, EVENTS);
    assert_int_not_equal(fingerprint(EVENTS), first);
}

static void the_rate_is_kept_to_the_event(void **state)
{
    (void)state;
    make(1, 1700000000000, 200, EVENTS);
    for (int i = 0; i < EVENTS; i++)
        assert_int_equal(sent[i], 1700000000000 + i * 5);
}

static void events_are_valid_and_at_most_five_seconds_late(void **state)
{
    int late = 0;

    (void)state;
    make(1, 1700000000000, 1000, EVENTS);
    for (int i = 0; i < EVENTS; i++) {
        const struct proto_event *event = &events[i];

        assert_true(event->action > 0 && event->action < PROTO_ACTIONS);
        assert_true(event->user_id > 0 && event->event_id != 0);
        assert_true(event->ts_ms <= sent[i] && event->ts_ms > sent[i] - 10001); /* a repeat may come 5 s after its first */
        assert_true(event->value >= 0 && event->value < 1e5);
        late += event->ts_ms < sent[i] - 1000;
    }
    assert_in_range(late, EVENTS / 50, EVENTS / 5);
}

static int by_id(const void *a, const void *b)
{
    uint64_t left = ((const struct proto_event *)a)->event_id, right = ((const struct proto_event *)b)->event_id;

    return (left > right) - (left < right);
}

static void ids_are_unique_but_for_repeats_that_are_equal(void **state)
{
    int repeats = 0;

    (void)state;
    make(3, 1700000000000, 1000, EVENTS);
    qsort(events, EVENTS, sizeof *events, by_id);
    for (int i = 1; i < EVENTS; i++) {
        if (events[i].event_id != events[i - 1].event_id)
            continue;
        assert_int_equal(proto_event_compare(&events[i], &events[i - 1]), 0);
        repeats++;
    }
    assert_in_range(repeats, EVENTS / 400, EVENTS / 100); /* about one in 200 */
}

static void people_do_all_kinds_of_things(void **state)
{
    static const char *const names[] = {"impression", "click",      "watch",      "like",        "comment",  "follow",
                                        "gift",       "enter_room", "leave_room", "add_to_cart", "purchase", "room_start"};
    int counts[PROTO_ACTIONS] = {0};

    (void)state;
    make(1, 1700000000000, 200, EVENTS);
    for (int i = 0; i < EVENTS; i++)
        counts[events[i].action]++;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (counts[proto_action_number(fr_slice_of(names[i]))] == 0)
            fail_msg("no %s", names[i]);
    }
    assert_true(counts[proto_action_number(fr_slice_of("watch"))] > EVENTS / 5);
    assert_true(counts[proto_action_number(fr_slice_of("like"))] > counts[proto_action_number(fr_slice_of("purchase"))]);
}

/* An item always has the same creator and category, a room the same host. */
static void things_belong_together(void **state)
{
    uint64_t creator_of[4000] = {0}, host_of[4000] = {0};

    (void)state;
    make(5, 1700000000000, 200, EVENTS);
    for (int i = 0; i < EVENTS; i++) {
        const struct proto_event *event = &events[i];
        uint64_t item = event->item_id ? event->item_id - 1000001 : 0, room = event->room_id ? event->room_id - 3000001 : 0;

        if (event->item_id && event->creator_id) {
            assert_in_range(item, 0, 3999);
            assert_true(creator_of[item] == 0 || creator_of[item] == event->creator_id);
            creator_of[item] = event->creator_id;
        }
        if (event->room_id && event->creator_id) {
            assert_in_range(room, 0, 3999);
            assert_true(host_of[room] == 0 || host_of[room] == event->creator_id);
            host_of[room] = event->creator_id;
        }
    }
}

/* ---- What is true ---- */

static const struct proto_event *event_of(uint64_t event_id)
{
    for (int i = 0; i < EVENTS; i++)
        if (events[i].event_id == event_id)
            return &events[i];
    return NULL;
}

static FILE *make_with_truth(double rate)
{
    FILE *truth = tmpfile();

    assert_non_null(truth);
    make_of(
        &(struct cli_world_options){
            .seed = 5, .start_ms = 1700000000000, .rate = rate, .truth = truth, .truth_end_ms = INT64_MAX},
        EVENTS);
    rewind(truth);
    return truth;
}

static void a_purchase_comes_as_late_as_its_truth_says(void **state)
{
    FILE *truth = make_with_truth(100);
    unsigned long long purchase_id, cart_id;
    long long delay_ms;
    char line[1024];
    int checked = 0;

    (void)state;
    while (fgets(line, sizeof line, truth)) {
        const struct proto_event *purchase, *cart;
        int64_t told_ms;

        if (sscanf(line, "{\"truth\":\"purchase\",\"eventId\":\"%llu\",\"cartId\":\"%llu\",\"delayMs\":\"%lld\"}", &purchase_id,
                   &cart_id, &delay_ms) != 3)
            continue;
        purchase = event_of(purchase_id);
        cart = event_of(cart_id);
        assert_non_null(purchase);
        assert_int_equal(purchase->action, proto_action_number(fr_slice_of("purchase")));
        if (!cart) /* before the first event */
            continue;
        assert_true(cart->item_id == purchase->item_id && cart->user_id == purchase->user_id);
        told_ms = purchase->ts_ms - cart->ts_ms;
        assert_true(llabs(told_ms - delay_ms) <
                    2000 + delay_ms / 5); /* the world's pace is not that of the rate at every moment */
        checked++;
    }
    fclose(truth);
    assert_true(checked > 20);
}

static void a_crowd_comes_to_the_room_of_a_burst(void **state)
{
    FILE *truth = make_with_truth(200);
    unsigned long long room = 0;
    long long from_ms = 0, until_ms = 0;
    int inside = 0, others = 0;
    char line[1024];

    (void)state;
    while (room == 0 && fgets(line, sizeof line, truth))
        (void)sscanf(line, "{\"truth\":\"burst\",\"roomId\":\"%llu\",\"fromMs\":\"%lld\",\"untilMs\":\"%lld\"}", &room,
                     &from_ms, &until_ms);
    fclose(truth);
    assert_true(room > 0 && until_ms - from_ms >= 60000 && until_ms - from_ms <= 180000);
    for (int i = 0; i < EVENTS; i++) {
        bool is_entry = events[i].action == (uint32_t)proto_action_number(fr_slice_of("enter_room"));

        if (is_entry && events[i].ts_ms >= from_ms && events[i].ts_ms < until_ms)
            *(events[i].room_id == room ? &inside : &others) += 1;
    }
    assert_true(inside > others / 4); /* of 25 rooms */
}

static void bots_click_and_like_and_never_buy(void **state)
{
    struct cli_world world = {.options = {.seed = 5}, .user_count = 1000000};
    int bots = 0, clicks, counts[PROTO_ACTIONS] = {0};

    (void)state;
    make(5, 1700000000000, 200, EVENTS);
    for (uint64_t user = 1; user <= 10000; user++)
        bots += cli_world__is_bot(&world, user);
    assert_in_range(bots, 70, 130); /* one in a hundred */
    for (int i = 0; i < EVENTS; i++)
        if (cli_world__is_bot(&world, events[i].user_id))
            counts[events[i].action]++;
    assert_true(counts[proto_action_number(fr_slice_of("like"))] > 0);
    clicks = counts[proto_action_number(fr_slice_of("click"))];
    assert_true(clicks > 20 && abs(clicks - counts[proto_action_number(fr_slice_of("impression"))]) <
                                   5); /* some are on their way, some twice */
    assert_int_equal(counts[proto_action_number(fr_slice_of("purchase"))], 0);
}

/* With a swing of a half there is three times as much at 21:00 as at 9:00, and who acts is at the same pace. */
static void the_hour_of_the_day_makes_the_rate(void **state)
{
    int64_t spans_ms[2];

    (void)state;
    for (int i = 0; i < 2; i++) { /* 2023-11-14 22:13:20 UTC is 1,700,000,000 s */
        int64_t start_ms = 1700000000000 - 4400000 - i * INT64_C(43200000);

        make_of(&(struct cli_world_options){.seed = 1, .start_ms = start_ms, .rate = 100, .swing = 0.5}, 10000);
        spans_ms[i] = sent[9999] - sent[0];
    }
    assert_in_range(spans_ms[0], 66000, 67500);
    assert_in_range(spans_ms[1], 198000, 201500);
}

static void the_agenda_keeps_time_and_then_order(void **state)
{
    static const int64_t times[] = {5, 1, 3, 1, 4, 1, 9, 0};
    struct cli_agenda agenda = {0};
    struct cli_agenda_entry entry, before = {.at_us = -1};
    int count = 0;

    (void)state;
    for (uint32_t i = 0; i < 8; i++)
        cli_agenda__add(&agenda, times[i], AGENDA_EVENT, i);
    while (cli_agenda__take(&agenda, &entry)) {
        assert_true(entry.at_us > before.at_us || (entry.at_us == before.at_us && entry.index > before.index));
        assert_int_equal(entry.at_us, times[entry.index]);
        before = entry;
        count++;
    }
    assert_int_equal(count, 8);
    free(agenda.entries);
}

static void popular_ranks_are_drawn_more_often(void **state)
{
    struct cli_zipf zipf;
    struct cli_random random;
    int counts[10] = {0};

    (void)state;
    cli_random__init(&random, 1);
    assert_true(cli_zipf__init(&zipf, 10, 1));
    for (int i = 0; i < 10000; i++)
        counts[cli_zipf__draw(&zipf, &random)]++;
    assert_in_range(counts[0], 3200, 3640); /* 1 / (1 + 1/2 + … + 1/10) = 0.3414 */
    assert_in_range(counts[9], 260, 430);
    cli_zipf__fini(&zipf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_same_seed_and_start_give_the_same_events),
        cmocka_unit_test(the_rate_is_kept_to_the_event),
        cmocka_unit_test(events_are_valid_and_at_most_five_seconds_late),
        cmocka_unit_test(ids_are_unique_but_for_repeats_that_are_equal),
        cmocka_unit_test(people_do_all_kinds_of_things),
        cmocka_unit_test(things_belong_together),
        cmocka_unit_test(a_purchase_comes_as_late_as_its_truth_says),
        cmocka_unit_test(a_crowd_comes_to_the_room_of_a_burst),
        cmocka_unit_test(bots_click_and_like_and_never_buy),
        cmocka_unit_test(the_hour_of_the_day_makes_the_rate),
        cmocka_unit_test(the_agenda_keeps_time_and_then_order),
        cmocka_unit_test(popular_ranks_are_drawn_more_often),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
