/*
 * The limits of an HTTP/2 connection, each from both sides: what is within it is answered, what is one more is not.
 */
#include "client2.h"
#include "http2.h"

#include <freshet/clock.h>

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#define GET_FEATURES "/freshet.v1.FeatureService/GetFeatures"
#define JSON_FIELDS ":method: POST\n:path: " GET_FEATURES "\ncontent-type: application/json\n"

/* POST, http, "/", authority "t": a request that is answered 404. */
#define HEAD "\x83\x86\x84\x41\x01t"

static struct toy toy;
static struct client2 *client;
static struct client *raw;

static void start(const struct server_limits *limits)
{
    toy_start(&toy, limits);
    client = client2_open(server_api_address(toy.server));
    raw = raw_open(server_api_address(toy.server));
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
    client_close(raw);
    client2_close(client);
    toy_stop(&toy);
    return 0;
}

static void restart(void **state, const struct server_limits *limits)
{
    tear_down(state);
    start(limits);
}

/* The raw connection answers a PING: nothing that was sent before ended it. */
static void expect_alive(void)
{
    raw_frame(raw, NGHTTP2_PING, 0, 0, "12345678", 8);
    assert_true(raw_await_pong(raw));
}

static void a_connection_has_128_streams(void **state)
{
    (void)state;
    struct client2_reply *open[SERVER_STREAMS], *more;

    for (int i = 0; i < SERVER_STREAMS; i++)
        open[i] = client2_begin(client, JSON_FIELDS, fr_slice_of("{"), false);
    client2_await_streams(client, SERVER_STREAMS);
    more = client2_begin(client, JSON_FIELDS, fr_slice_of("{}"), true); /* the client keeps it until there is room */
    for (int i = 0; i < SERVER_STREAMS; i++) {
        client2_more(client, open[i], fr_slice_of("}"), true);
        client2_await_reply(client, open[i]);
        assert_int_equal(open[i]->status, 200);
    }
    client2_await_reply(client, more);
    assert_int_equal(more->status, 200);
}

static void stream_129_is_refused(void **state)
{
    (void)state;
    for (int i = 0; i <= SERVER_STREAMS; i++)
        raw_frame(raw, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 2 * i + 1, HEAD, sizeof HEAD - 1);
    assert_int_equal(raw_await_reset(raw, 2 * SERVER_STREAMS + 1), NGHTTP2_REFUSED_STREAM);
    expect_alive();
}

static void a_settings_frame_has_32_entries(void **state)
{
    (void)state;
    uint8_t payload[33 * 6];

    for (size_t i = 0; i < sizeof payload; i += 6)
        memcpy(payload + i, "\0\4\0\0\xff\xff", 6);
    raw_frame(raw, NGHTTP2_SETTINGS, 0, 0, payload, 32 * 6);
    expect_alive();
    raw_frame(raw, NGHTTP2_SETTINGS, 0, 0, payload, 33 * 6);
    assert_int_equal(raw_await_goaway(raw), NGHTTP2_ENHANCE_YOUR_CALM);
}

/* A head in so many CONTINUATION frames. */
static void send_head(int continuations, int32_t id)
{
    raw_frame(raw, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_STREAM, id, HEAD, sizeof HEAD - 1);
    for (int i = 1; i <= continuations; i++)
        raw_frame(raw, NGHTTP2_CONTINUATION, i == continuations ? NGHTTP2_FLAG_END_HEADERS : 0, id, "\0\1x\1y", 5);
}

static void a_head_has_8_continuations(void **state)
{
    (void)state;
    send_head(SERVER_CONTINUATIONS, 1);
    expect_alive();
    assert_int_equal(toy_requests(&toy, "unknown", "unimplemented"), 1);
    send_head(SERVER_CONTINUATIONS + 1, 3);
    raw_await_goaway(raw);
    assert_int_equal(toy_requests(&toy, "unknown", "unimplemented"), 1);
    assert_int_equal(toy_http_errors(&toy, "http2"), 1);
}

static void send_resets(int from, int count)
{
    for (int i = from; i < from + count; i++) {
        raw_frame(raw, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 2 * i + 1, HEAD, sizeof HEAD - 1);
        raw_frame(raw, NGHTTP2_RST_STREAM, 0, 2 * i + 1, "\0\0\0\x08", 4);
    }
}

/* 20 a second come back: a slow machine may grant a few more, but not 800. */
static void resets_may_come_200_at_once(void **state)
{
    (void)state;
    send_resets(0, 200);
    expect_alive();
    send_resets(200, 800);
    assert_int_equal(raw_await_goaway(raw), NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(toy_http_errors(&toy, "flood"), 1);
}

/* Each of them is answered by a reset of ours: a window that overflows. */
static void send_provocations(int from, int count)
{
    for (int i = from; i < from + count; i++) {
        raw_frame(raw, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 2 * i + 1, HEAD, sizeof HEAD - 1);
        raw_frame(raw, NGHTTP2_WINDOW_UPDATE, 0, 2 * i + 1, "\x7f\xff\xff\xff", 4);
    }
}

/* MadeYouReset: nghttp2 1.52 counts resets that come, not those that it is made to send. Each costs twice: frame and reset. */
static void resets_may_be_provoked_100_at_once(void **state)
{
    (void)state;
    send_provocations(0, 99);
    expect_alive();
    send_provocations(99, 80);
    assert_int_equal(raw_await_goaway(raw), NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(toy_http_errors(&toy, "flood"), 1);
}

static void budgets_fill_up_by_time(void **state)
{
    (void)state;
    struct server__budget budget;
    int spent = 0;

    server__budget_init(&budget, SERVER_RESETS, SERVER_RESETS_PER_SECOND, 1000);
    while (server__budget_spend(&budget, 1000))
        spent++;
    assert_int_equal(spent, 200);
    assert_false(server__budget_spend(&budget, 1049));
    assert_true(server__budget_spend(&budget, 1050)); /* 20 a second */
    assert_false(server__budget_spend(&budget, 1050));
    for (spent = 0; server__budget_spend(&budget, 1000 * 1000); spent++)
        continue;
    assert_int_equal(spent, 200);
}

/* By memory that is asked for, whatever the windows allow: 40 unfinished requests of 60 KB. */
static void a_connection_that_holds_too_much_is_cut(void **state)
{
    (void)state;
    enum { BYTES = 60000 };
    struct server_limits limits;
    static char body[BYTES];

    memset(body, ' ', sizeof body);
    toy_limits(&limits);
    limits.connection_bytes = 1 << 20;
    restart(state, &limits);
    for (int i = 0; i < 40; i++)
        client2_begin(client, JSON_FIELDS, fr_slice(body, sizeof body), false);
    client2_await_end(client);
    assert_int_equal(client->goaway_error, NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(toy_http_errors(&toy, "overload"), 1);
    expect_alive();
}

static void floods_of_priorities_are_calmed(void **state)
{
    (void)state;
    for (int i = 0; i < 5000; i++)
        raw_frame(raw, NGHTTP2_PRIORITY, 0, 1, "\0\0\0\3\1", 5);
    assert_int_equal(raw_await_goaway(raw), NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(toy_http_errors(&toy, "flood"), 1);
}

static void floods_of_windows_are_calmed(void **state)
{
    (void)state;
    for (int i = 0; i < 5000; i++)
        raw_frame(raw, NGHTTP2_WINDOW_UPDATE, 0, 0, "\0\0\0\1", 4);
    assert_int_equal(raw_await_goaway(raw), NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(toy_http_errors(&toy, "flood"), 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_connection_has_128_streams),    TEST(stream_129_is_refused),
        TEST(a_settings_frame_has_32_entries), TEST(a_head_has_8_continuations),
        TEST(resets_may_come_200_at_once),     TEST(resets_may_be_provoked_100_at_once),
        TEST(budgets_fill_up_by_time),         TEST(a_connection_that_holds_too_much_is_cut),
        TEST(floods_of_priorities_are_calmed), TEST(floods_of_windows_are_calmed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
