/*
 * More than a loop can do: what is worked on, what is refused and how soon, and that connections take turns. What goes by the clock
 * is asked of a server that never started, whose line the test moves by hand.
 */
#include "client2.h"

#include <freshet/clock.h>

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define GET_FEATURES "/freshet.v1.FeatureService/GetFeatures"
#define DESCRIBE "/freshet.v1.FeatureService/Describe"
#define GRPC ":method: POST\n:path: " GET_FEATURES "\ncontent-type: application/grpc\nte: trailers\n"

enum { MS = 1000, S = 1000 * 1000 };

static struct toy toy;
static struct client2 *client;
static const char peer[SERVER_PEER_BYTES] = "127.0.0.1:1";
static struct server *still; /* opened, not started */
static struct server__connection *waiting; /* stands in its line */

static const struct fr_slice quick = {"\0\0\0\0\0", 5};
static const struct fr_slice busy = {"\0\0\0\0\6\x22\4busy", 11};

static void start(const struct server_limits *limits)
{
    toy_start(&toy, limits);
    client = client2_open(server_api_address(toy.server));
}

static int set_up(void **state)
{
    (void)state;
    start(NULL);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    client2_close(client);
    toy_stop(&toy);
    return 0;
}

static int set_up_still(void **state)
{
    struct server_options options = {.listen = "", .operations = "", .loops = 1, .method_count = 3};
    struct fr_err err;

    set_up(state);
    options.methods = toy.methods;
    options.metrics = toy.metrics;
    server_limits_default(&options.limits);
    assert_true(server_open(&options, &still, &err));
    waiting = server__connection_new(dup(client->fd), peer, false, true);
    assert_non_null(waiting);
    waiting->loop = &still->loops[0];
    return 0;
}

static int tear_down_still(void **state)
{
    server__line_leave(waiting);
    server__connection_free(waiting);
    server_close(still);
    return tear_down(state);
}

static int status_of(const struct client2_reply *reply)
{
    assert_int_equal(reply->status, 200);
    assert_non_null(client2_field(reply, "grpc-status"));
    return atoi(client2_field(reply, "grpc-status"));
}

static uint64_t shed(const char *reason)
{
    char labels[64];

    snprintf(labels, sizeof labels, "reason=\"%s\"", reason);
    return fr_counter_read(fr_metrics_counter(toy.metrics, "freshet_calls_shed_total", labels, ""));
}

/* ---- Over the wire ---- */

static void a_deadline_that_passes_in_line_is_no_work(void **state)
{
    (void)state;
    struct client2_reply *before[5], *late;

    for (int i = 0; i < 5; i++)
        before[i] = client2_begin(client, GRPC, busy, true);
    late = client2_begin(client, GRPC "grpc-timeout: 1m\n", quick, true);
    client2_await_reply(client, late);
    assert_int_equal(status_of(late), SERVER_STATUS_DEADLINE_EXCEEDED);
    for (int i = 0; i < 5; i++) {
        client2_await_reply(client, before[i]);
        assert_int_equal(status_of(before[i]), SERVER_STATUS_OK);
    }
    assert_int_equal(atomic_load(&toy.worked), 5);
    assert_int_equal(shed("deadline"), 1);
}

static void connections_take_turns(void **state)
{
    (void)state;
    enum { CALLS = 60 };
    struct client2_reply *many[CALLS];
    struct client2 *other_loop = client2_open(server_api_address(toy.server));
    struct client2 *same_loop;

    assert_int_equal(status_of(client2_post(other_loop, GET_FEATURES, "application/grpc", quick)), SERVER_STATUS_OK);
    same_loop = client2_open(server_api_address(toy.server));
    for (int i = 0; i < CALLS; i++)
        many[i] = client2_begin(client, GRPC, busy, true);
    assert_int_equal(status_of(client2_post(same_loop, GET_FEATURES, "application/grpc", quick)), SERVER_STATUS_OK);
    assert_true(atomic_load(&toy.worked) < CALLS);
    for (int i = 0; i < CALLS; i++) {
        client2_await_reply(client, many[i]);
        assert_int_equal(status_of(many[i]), SERVER_STATUS_OK);
    }
    client2_close(same_loop);
    client2_close(other_loop);
}

/* All that came while the first was worked on is read before the next has its turn. */
static void a_full_line_refuses_with_a_hint(void **state)
{
    (void)state;
    enum { CALLS = 20, LINE = 2 };
    struct server_limits limits;
    struct client2_reply *replies[CALLS];
    int refused = 0;

    toy_limits(&limits);
    limits.queued_calls = LINE;
    tear_down(state);
    start(&limits);
    for (int i = 0; i < CALLS; i++)
        replies[i] = client2_begin(client, GRPC, busy, true);
    for (int i = 0; i < CALLS; i++) {
        client2_await_reply(client, replies[i]);
        if (status_of(replies[i]) == SERVER_STATUS_OK)
            continue;
        assert_int_equal(status_of(replies[i]), SERVER_STATUS_RESOURCE_EXHAUSTED);
        assert_contains(client2_field(replies[i], "grpc-message"), "overloaded");
        assert_in_range(atoi(client2_field(replies[i], "grpc-retry-pushback-ms")), 100, 200);
        refused++;
    }
    assert_int_equal(refused + atomic_load(&toy.worked), CALLS);
    assert_true(refused > 0);
    assert_int_equal(shed("full"), refused);
    assert_int_equal(status_of(client2_post(client, GET_FEATURES, "application/grpc", quick)), SERVER_STATUS_OK);
}

/* ---- By the clock ---- */

static struct server__call *call_of(const char *path, int64_t deadline_us)
{
    struct server__call *call = server__call_new(&still->loops[0], peer, SERVER_WIRE_GRPC, NULL, NULL);

    assert_non_null(call);
    call->method = server__methods_find(&still->methods, fr_slice_of(path));
    assert_non_null(call->method);
    call->seen.deadline_us = deadline_us;
    call->whole_us = fr_clock_monotonic_us();
    return call;
}

/* So many stand in the line, a millisecond each, and it was not empty for so long. */
static void fill_line(int calls, int64_t span_us)
{
    server__line_count(waiting, calls);
    server__line_join(waiting);
    still->loops[0].line.pace_us = MS;
    still->loops[0].line.empty_us = fr_clock_monotonic_us() - span_us;
}

static enum server__status foresee(const char *path, int64_t timeout_us)
{
    int64_t now_us = fr_clock_monotonic_us();
    struct server__call *call = call_of(path, timeout_us == INT64_MAX ? INT64_MAX : now_us + timeout_us);
    enum server__status status;

    server__line_foresee(call, waiting, now_us);
    status = call->status;
    assert_true((call->retry_ms > 0) == (status == SERVER_STATUS_RESOURCE_EXHAUSTED));
    server__call_free(call);
    return status;
}

static void a_burst_waits_as_long_as_it_has_to(void **state)
{
    (void)state;
    fill_line(1000, 10 * MS);
    assert_int_equal(foresee(GET_FEATURES, INT64_MAX), SERVER_STATUS_OK);
    assert_int_equal(foresee(GET_FEATURES, 1500 * MS), SERVER_STATUS_OK);
}

static void a_deadline_that_the_line_cannot_meet_is_refused_at_once(void **state)
{
    (void)state;
    fill_line(1000, 10 * MS);
    assert_int_equal(foresee(GET_FEATURES, 900 * MS), SERVER_STATUS_RESOURCE_EXHAUSTED);
}

static void a_loop_that_is_behind_lets_nobody_wait_for_more_than_half_of_his_time(void **state)
{
    (void)state;
    fill_line(100, S);
    assert_int_equal(foresee(GET_FEATURES, 150 * MS), SERVER_STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(foresee(GET_FEATURES, 250 * MS), SERVER_STATUS_OK);
    assert_int_equal(shed("wait"), 1);
}

static void without_a_deadline_wait_ms_is_the_most(void **state)
{
    (void)state;
    fill_line(950, S);
    assert_int_equal(foresee(GET_FEATURES, INT64_MAX), SERVER_STATUS_OK);
    fill_line(100, S);
    assert_int_equal(foresee(GET_FEATURES, INT64_MAX), SERVER_STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(foresee(GET_FEATURES, 60 * S), SERVER_STATUS_RESOURCE_EXHAUSTED);
}

static void health_and_slow_calls_are_never_shed(void **state)
{
    (void)state;
    fill_line(1000000, S);
    assert_int_equal(foresee("/grpc.health.v1.Health/Check", INT64_MAX), SERVER_STATUS_OK);
    assert_int_equal(foresee(DESCRIBE, INT64_MAX), SERVER_STATUS_OK);
    assert_int_equal(foresee(GET_FEATURES, INT64_MAX), SERVER_STATUS_RESOURCE_EXHAUSTED);
    assert_int_equal(shed("full"), 1);
}

static void what_waited_too_long_after_all_is_refused_at_its_turn(void **state)
{
    (void)state;
    struct server__call *call = call_of(GET_FEATURES, INT64_MAX);

    fill_line(1, S);
    call->whole_us -= 2 * S;
    assert_false(server__line_admits(call));
    assert_int_equal(call->status, SERVER_STATUS_RESOURCE_EXHAUSTED);
    server__call_free(call);
}

/* What such calls take is known; a guess that refuses shrinks, so that it cannot refuse for ever. */
static void too_little_time_for_such_a_call_is_no_work(void **state)
{
    (void)state;
    int *expected_us = &still->loops[0].expected_us[server__methods_find(&still->methods, fr_slice_of(GET_FEATURES))->index];
    int refusals = 0;

    for (int i = 0; i < 100; i++) {
        struct server__call *call = call_of(GET_FEATURES, INT64_MAX);

        server__line_learn(call, fr_clock_monotonic_us() - S);
        server__call_free(call);
    }
    assert_in_range(*expected_us, S / 2, 2 * S);
    for (bool is_admitted = false; !is_admitted; refusals++) {
        struct server__call *call = call_of(GET_FEATURES, fr_clock_monotonic_us() + 100 * MS);

        is_admitted = server__line_admits(call);
        assert_int_equal(call->status, is_admitted ? SERVER_STATUS_OK : SERVER_STATUS_DEADLINE_EXCEEDED);
        server__call_free(call);
    }
    assert_in_range(refusals, 5, 50);
}

/* ---- Who goes first ---- */

enum { STANDING = 4 };
static struct server__connection *standing[STANDING]; /* in the line */
static char order[STANDING + 1]; /* of their turns, by letter */

static void no_step(struct server__connection *connection)
{
    (void)connection;
}

static size_t no_bytes(const struct server__connection *connection)
{
    (void)connection;
    return 0;
}

static bool is_never(const struct server__connection *connection)
{
    (void)connection;
    return false;
}

static void note_turn(struct server__connection *connection)
{
    for (int i = 0; i < STANDING; i++)
        if (standing[i] == connection)
            order[strlen(order)] = (char)('a' + i);
}

/* `spent_us` of each: a connection that has a turn and asks for nothing. */
static void stand_in_line(const int64_t spent_us[STANDING])
{
    static const struct server__protocol protocol = {
        .begin = no_step, .end = no_step, .is_idle = is_never, .is_busy = is_never, .held = no_bytes, .run = note_turn};

    memset(order, 0, sizeof order);
    for (int i = 0; i < STANDING; i++) {
        standing[i] = server__connection_new(dup(client->fd), peer, false, true);
        assert_non_null(standing[i]);
        server__connection_adopt(standing[i], &still->loops[0]);
        standing[i]->protocol = &protocol;
        server__line_charge(standing[i], spent_us[i], fr_clock_monotonic_us());
        server__line_join(standing[i]);
    }
}

static void who_asked_for_little_goes_before_who_asked_for_much(void **state)
{
    (void)state;
    stand_in_line((const int64_t[]){40 * MS, 1 * MS, 40 * MS, 0});
    server__line_run(&still->loops[0]);
    assert_string_equal(order, "bdac");
}

static void who_asked_for_much_gets_every_second_turn_in_the_end(void **state)
{
    (void)state;
    stand_in_line((const int64_t[]){40 * MS, 40 * MS, 0, 0});
    for (int i = 0; i < 2; i++)
        standing[i]->place.since_us -= S;
    server__line_run(&still->loops[0]);
    assert_string_equal(order, "cadb");
}

static void what_was_asked_is_forgiven_as_time_passes(void **state)
{
    (void)state;
    int64_t now_us = fr_clock_monotonic_us();

    server__line_charge(waiting, 100 * MS, now_us); /* no more than 50 of them count */
    assert_true(server__line_is_heavy(waiting, now_us));
    assert_true(server__line_is_heavy(waiting, now_us + 900 * MS));
    assert_false(server__line_is_heavy(waiting, now_us + S));
}

/* Many requests of the heavy ones are not what a light one waits for. */
static void who_asked_for_little_is_not_refused_for_the_others_line(void **state)
{
    (void)state;
    server__line_charge(waiting, 50 * MS, fr_clock_monotonic_us());
    fill_line(2000, S);
    assert_int_equal(foresee(GET_FEATURES, INT64_MAX), SERVER_STATUS_RESOURCE_EXHAUSTED);
    waiting->place.spent_us = 0; /* as another connection of the same loop would be */
    assert_int_equal(foresee(GET_FEATURES, INT64_MAX), SERVER_STATUS_OK);
}

int main(void)
{
#define WIRE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
#define STILL(name) cmocka_unit_test_setup_teardown(name, set_up_still, tear_down_still)
    const struct CMUnitTest tests[] = {
        WIRE(a_deadline_that_passes_in_line_is_no_work),
        WIRE(connections_take_turns),
        WIRE(a_full_line_refuses_with_a_hint),
        STILL(a_burst_waits_as_long_as_it_has_to),
        STILL(a_deadline_that_the_line_cannot_meet_is_refused_at_once),
        STILL(a_loop_that_is_behind_lets_nobody_wait_for_more_than_half_of_his_time),
        STILL(without_a_deadline_wait_ms_is_the_most),
        STILL(health_and_slow_calls_are_never_shed),
        STILL(what_waited_too_long_after_all_is_refused_at_its_turn),
        STILL(too_little_time_for_such_a_call_is_no_work),
        STILL(who_asked_for_little_goes_before_who_asked_for_much),
        STILL(who_asked_for_much_gets_every_second_turn_in_the_end),
        STILL(what_was_asked_is_forgiven_as_time_passes),
        STILL(who_asked_for_little_is_not_refused_for_the_others_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
