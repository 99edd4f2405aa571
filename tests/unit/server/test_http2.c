/*
 * HTTP/2 with prior knowledge on the API port, against real sockets: calls by the Connect convention, what a peer may hold and
 * waste, and how a connection ends.
 */
#include "client2.h"

#include <freshet/clock.h>

#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define GET_FEATURES "/freshet.v1.FeatureService/GetFeatures"
#define DESCRIBE "/freshet.v1.FeatureService/Describe"
#define JSON_FIELDS(path) ":method: POST\n:path: " path "\ncontent-type: application/json\n"

enum { MANY_ITEMS = 2500 };

static struct toy toy;
static struct client2 *client;

static void start(const struct server_limits *limits)
{
    toy_start(&toy, limits);
    client = client2_open(server_api_address(toy.server));
}

static void stop(void)
{
    client2_close(client);
    toy_stop(&toy);
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
    stop();
    return 0;
}

static const char *text_of(struct client2_reply *reply)
{
    fr_buffer_append_byte(&reply->body, 0);
    return (const char *)reply->body.bytes;
}

/* {"itemIds":[7000000, …]}: the reply is about as long. */
static struct fr_slice many_items(struct fr_buffer *json)
{
    fr_buffer_init(json);
    fr_buffer_append_text(json, "{\"itemIds\":[7000000");
    for (int i = 1; i < MANY_ITEMS; i++)
        fr_buffer_append_text(json, ",7000000");
    fr_buffer_append_text(json, "]}");
    return fr_buffer_slice(json);
}

static void a_call_is_answered(void **state)
{
    (void)state;
    struct client2_reply *reply = client2_post(client, GET_FEATURES, "application/json", fr_slice_of("{\"userId\":\"7\"}"));

    assert_int_equal(reply->status, 200);
    assert_string_equal(client2_field(reply, "content-type"), "application/json");
    assert_non_null(client2_field(reply, "date"));
    assert_int_equal(atoi(client2_field(reply, "content-length")), (int)reply->body.length);
    assert_contains(text_of(reply), "\"requestId\":\"7\"");
    assert_int_equal(toy_requests(&toy, "freshet.v1.FeatureService/GetFeatures", "ok"), 1);
}

static void refusals_have_their_status_and_fields(void **state)
{
    (void)state;
    struct client2_reply *reply = client2_post(client, "/no.Such/Method", "application/json", fr_slice_of("{}"));

    assert_int_equal(reply->status, 404);
    assert_contains(text_of(reply), "unimplemented");
    reply = client2_post(client, GET_FEATURES, "text/plain", fr_slice_of("{}"));
    assert_int_equal(reply->status, 415);
    assert_string_equal(client2_field(reply, "accept-post"), "application/json, application/proto");
    reply = client2_begin(client, ":method: GET\n:path: " GET_FEATURES "?a=b\n", fr_slice(NULL, 0), true);
    client2_await_reply(client, reply);
    assert_int_equal(reply->status, 405);
    assert_string_equal(client2_field(reply, "allow"), "POST");
    reply = client2_begin(client, ":method: HEAD\n:path: " GET_FEATURES "\n", fr_slice(NULL, 0), true);
    client2_await_reply(client, reply);
    assert_int_equal(reply->status, 405);
    assert_int_equal(reply->body.length, 0);
}

static void many_calls_share_a_connection(void **state)
{
    (void)state;
    struct client2_reply *replies[200];

    for (int i = 0; i < 200; i++) {
        char json[32];

        snprintf(json, sizeof json, "{\"userId\":\"%d\"}", i + 1);
        replies[i] = client2_begin(client, JSON_FIELDS(GET_FEATURES), fr_slice_of(json), true);
    }
    for (int i = 0; i < 200; i++) {
        char expected[64];

        client2_await_reply(client, replies[i]);
        snprintf(expected, sizeof expected, "\"requestId\":\"%d\"", i + 1);
        assert_int_equal(replies[i]->status, 200);
        assert_contains(text_of(replies[i]), expected);
    }
}

static void a_slow_call_lets_others_pass(void **state)
{
    (void)state;
    struct client2_reply *slow = client2_begin(client, JSON_FIELDS(DESCRIBE), fr_slice_of("{}"), true);

    toy_await_entered(&toy);
    assert_int_equal(client2_post(client, GET_FEATURES, "application/json", fr_slice_of("{}"))->status, 200);
    assert_false(slow->is_closed);
    toy_open_gate(&toy);
    client2_await_reply(client, slow);
    assert_int_equal(slow->status, 200);
}

static void a_reset_call_leaves_nothing_behind(void **state)
{
    (void)state;
    struct client2_reply *slow = client2_begin(client, JSON_FIELDS(DESCRIBE), fr_slice_of("{}"), true);
    struct client2_reply *half;

    toy_await_entered(&toy);
    client2_reset(client, slow, NGHTTP2_CANCEL);
    half = client2_begin(client, JSON_FIELDS(GET_FEATURES), fr_slice_of("{"), false);
    client2_reset(client, half, NGHTTP2_CANCEL);
    assert_int_equal(client2_post(client, GET_FEATURES, "application/json", fr_slice_of("{}"))->status, 200);
    assert_int_equal(toy_requests(&toy, "freshet.v1.FeatureService/GetFeatures", "canceled"), 1);
    toy_open_gate(&toy);
}

static void a_body_comes_in_pieces(void **state)
{
    (void)state;
    struct client2_reply *reply = client2_begin(client, JSON_FIELDS(GET_FEATURES), fr_slice_of("{\"userId\""), false);

    client2_more(client, reply, fr_slice_of(":\"7\""), false);
    client2_more(client, reply, fr_slice_of("}"), true);
    client2_await_reply(client, reply);
    assert_contains(text_of(reply), "\"requestId\":\"7\"");
}

static void large_bodies_wait_for_each_other(void **state)
{
    (void)state;
    struct server_limits limits;
    struct client2_reply *replies[8];
    struct fr_buffer body;

    server_limits_default(&limits);
    toy_stop(&toy);
    client2_close(client);
    start(&limits);
    fr_buffer_init(&body);
    fr_buffer_append_text(&body, "{\"features\":[\"");
    for (int i = 0; i < 1 << 20; i++)
        fr_buffer_append_byte(&body, 'f');
    fr_buffer_append_text(&body, "\"]}");
    for (int i = 0; i < 8; i++)
        replies[i] = client2_begin(client, JSON_FIELDS(GET_FEATURES), fr_buffer_slice(&body), true);
    for (int i = 0; i < 8; i++) {
        client2_await_reply(client, replies[i]);
        assert_int_equal(replies[i]->status, 200);
        assert_true(replies[i]->body.length > 1 << 20);
    }
    fr_buffer_fini(&body);
}

static void a_body_above_the_limit_is_refused(void **state)
{
    (void)state;
    struct fr_buffer body;
    struct client2_reply *reply;

    fr_buffer_init(&body);
    for (int i = 0; i < 100 << 10; i++)
        fr_buffer_append_byte(&body, ' ');
    reply = client2_begin(client, JSON_FIELDS(GET_FEATURES), fr_buffer_slice(&body), false);
    client2_await_reply(client, reply);
    assert_int_equal(reply->status, 429);
    assert_contains(text_of(reply), "larger than the limit of 65536 bytes");
    fr_buffer_fini(&body);
}

static void a_large_header_is_refused(void **state)
{
    (void)state;
    char *fields = malloc(40 << 10);
    struct client2_reply *reply;

    strcpy(fields, JSON_FIELDS(GET_FEATURES));
    for (int i = 0; i < 20; i++)
        sprintf(fields + strlen(fields), "x-%d: %01000d\n", i, 0);
    reply = client2_begin(client, fields, fr_slice_of("{}"), true);
    client2_await_reply(client, reply);
    assert_int_equal(reply->status, 431);
    strcpy(fields, JSON_FIELDS(GET_FEATURES));
    for (int i = 0; i < 101; i++)
        sprintf(fields + strlen(fields), "x: %d\n", i);
    reply = client2_begin(client, fields, fr_slice_of("{}"), true);
    client2_await_reply(client, reply);
    assert_int_equal(reply->status, 431);
    free(fields);
}

/* A window of 64 KiB, and replies of 20 KiB: those that fit come, the others wait in a bounded room, and none is lost. */
static void replies_wait_for_a_window(void **state)
{
    (void)state;
    struct client2_reply *replies[120];
    struct fr_buffer json;
    struct fr_slice body = many_items(&json);
    size_t length;

    client->reads = false;
    for (int i = 0; i < 120; i++)
        replies[i] = client2_begin(client, JSON_FIELDS(GET_FEATURES), body, true);
    client2_await_reply(client, replies[0]);
    assert_int_equal(replies[0]->status, 200);
    length = replies[0]->body.length;
    assert_true(length > 20000);
    nghttp2_submit_window_update(client->session, NGHTTP2_FLAG_NONE, 0, 100 << 20);
    for (int i = 0; i < 120; i++) {
        client2_await_reply(client, replies[i]);
        assert_int_equal(replies[i]->body.length, length);
    }
    fr_buffer_fini(&json);
}

static void a_peer_that_gives_no_window_is_cut_off(void **state)
{
    (void)state;
    struct server_limits limits;
    struct client2_reply *replies[8];
    struct fr_buffer json;
    struct fr_slice body = many_items(&json);
    bool is_cut = false;

    toy_limits(&limits);
    limits.body_ms = 200;
    toy_stop(&toy);
    client2_close(client);
    start(&limits);
    client->reads = false;
    for (int i = 0; i < 8; i++)
        replies[i] = client2_begin(client, JSON_FIELDS(GET_FEATURES), body, true);
    for (int i = 0; i < 8; i++) {
        client2_await_reply(client, replies[i]);
        is_cut = is_cut || replies[i]->error == NGHTTP2_CANCEL;
    }
    assert_true(is_cut);
    assert_true(toy_http_errors(&toy, "slow_reader") > 0);
    fr_buffer_fini(&json);
}

static void a_slow_body_is_answered_in_time(void **state)
{
    (void)state;
    struct server_limits limits;
    struct client2_reply *reply;

    toy_limits(&limits);
    limits.body_ms = 100;
    toy_stop(&toy);
    client2_close(client);
    start(&limits);
    reply = client2_begin(client, JSON_FIELDS(GET_FEATURES), fr_slice_of("{"), false);
    client2_await_reply(client, reply);
    assert_int_equal(reply->status, 504);
    assert_contains(text_of(reply), "did not arrive in time");
}

static void a_slow_head_ends_the_connection(void **state)
{
    (void)state;
    struct server_limits limits;
    struct client *raw;

    toy_limits(&limits);
    limits.header_ms = 100;
    toy_stop(&toy);
    client2_close(client);
    start(&limits);
    raw = raw_open(server_api_address(toy.server));
    raw_frame(raw, NGHTTP2_HEADERS, 0, 1, "\x82", 1);
    assert_int_equal(raw_await_goaway(raw), NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(toy_http_errors(&toy, "slow"), 1);
    client_close(raw);
}

static void a_head_that_was_refused_is_not_waited_for(void **state)
{
    (void)state;
    struct server_limits limits;
    struct client *raw;

    toy_limits(&limits);
    limits.header_ms = 100;
    limits.idle_ms = 300;
    toy_stop(&toy);
    client2_close(client);
    start(&limits);
    raw = raw_open(server_api_address(toy.server));
    raw_frame(raw, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, "\x83\x86\x84\0\1A\1b", 8); /* a name in upper case */
    assert_int_equal(raw_await_goaway(raw), -1); /* it was idle, and went without an error */
    assert_int_equal(toy_http_errors(&toy, "slow"), 0);
    assert_int_equal(toy_http_errors(&toy, "http2"), 1);
    client_close(raw);
}

/* nghttp2 before 1.52 would leave them out of the head and go on. */
static void an_illegal_field_resets_its_stream(void **state)
{
    (void)state;
    static const char *const fields[] = {"x: a\rb\n", "x:  a\n", "x: a \n", "x y: a\n", "x\x7f: a\n"};
    struct client2_reply *reply;
    char head[256];

    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        snprintf(head, sizeof head, "%s%s", JSON_FIELDS(GET_FEATURES), fields[i]);
        reply = client2_begin(client, head, fr_slice_of("{}"), true);
        client2_await_reply(client, reply);
        assert_int_equal(reply->error, NGHTTP2_PROTOCOL_ERROR);
        assert_int_equal(toy_http_errors(&toy, "http2"), i + 1);
    }
    assert_int_equal(client2_post(client, GET_FEATURES, "application/json", fr_slice_of("{}"))->status, 200);
}

/* Once for a connection that ends by it. */
static void a_broken_protocol_is_counted(void **state)
{
    (void)state;
    struct client *raw = raw_open(server_api_address(toy.server));

    raw_frame(raw, NGHTTP2_PING, 0, 1, "12345678", 8);
    assert_int_equal(raw_await_goaway(raw), NGHTTP2_PROTOCOL_ERROR);
    assert_int_equal(toy_http_errors(&toy, "http2"), 1);
    client_close(raw);
}

static void an_idle_connection_is_told_to_go(void **state)
{
    (void)state;
    struct server_limits limits;

    toy_limits(&limits);
    limits.idle_ms = 100;
    toy_stop(&toy);
    client2_close(client);
    start(&limits);
    assert_int_equal(client2_post(client, GET_FEATURES, "application/json", fr_slice_of("{}"))->status, 200);
    client2_await_end(client);
    assert_true(client->goaways > 0);
    assert_int_equal(client->goaway_error, NGHTTP2_NO_ERROR);
}

/* ---- Peers that say nothing ---- */

enum { QUIET_MS = 50, PONG_MS = 150, NEVER_MS = 3600 * 1000, ROUNDS = 5 };

/* A call that runs until the gate opens. A limit that does not matter is NEVER_MS, so that neither stands for the other. */
static struct client2_reply *start_with_call(int64_t quiet_ms, int64_t pong_ms, int64_t *began_ms)
{
    struct server_limits limits;
    struct client2_reply *slow;

    toy_limits(&limits);
    limits.quiet_ms = quiet_ms;
    limits.pong_ms = pong_ms;
    toy_stop(&toy);
    client2_close(client);
    start(&limits);
    *began_ms = fr_clock_monotonic_ms();
    slow = client2_begin(client, JSON_FIELDS(DESCRIBE), fr_slice_of("{}"), true);
    toy_await_entered(&toy);
    return slow;
}

static void a_silent_peer_is_asked_whether_it_lives(void **state)
{
    (void)state;
    int64_t began_ms;

    start_with_call(QUIET_MS, NEVER_MS, &began_ms);
    client->is_mute = true;
    client2_await_pings(client, 1);
    assert_true(fr_clock_monotonic_ms() - began_ms >= QUIET_MS);
    assert_false(client->is_over);
    toy_open_gate(&toy);
}

static void a_peer_that_does_not_answer_is_cut_off(void **state)
{
    (void)state;
    int64_t began_ms;
    struct client2_reply *slow = start_with_call(QUIET_MS, PONG_MS, &began_ms);

    client->is_mute = true;
    client2_await_end(client);
    assert_true(fr_clock_monotonic_ms() - began_ms >= QUIET_MS + PONG_MS);
    assert_true(client->pings > 0);
    assert_int_equal(client->goaways, 0); /* it would not be read */
    assert_false(slow->is_closed);
    toy_open_gate(&toy);
}

/* The next question comes only when the last one was answered. */
static void a_peer_that_answers_stays(void **state)
{
    (void)state;
    int64_t began_ms;
    struct client2_reply *slow = start_with_call(QUIET_MS, NEVER_MS, &began_ms);

    client2_await_pings(client, ROUNDS);
    assert_true(fr_clock_monotonic_ms() - began_ms >= ROUNDS * QUIET_MS);
    toy_open_gate(&toy);
    client2_await_reply(client, slow);
    assert_int_equal(slow->status, 200);
    assert_int_equal(client->goaways, 0);
}

/* ---- Floods ---- */

static void expect_calm(struct client *raw)
{
    assert_int_equal(raw_await_goaway(raw), NGHTTP2_ENHANCE_YOUR_CALM);
    assert_int_equal(toy_http_errors(&toy, "flood"), 1);
    client_close(raw);
    assert_int_equal(client2_post(client, GET_FEATURES, "application/json", fr_slice_of("{}"))->status, 200);
}

static void floods_of_pings_are_calmed(void **state)
{
    (void)state;
    struct client *raw = raw_open(server_api_address(toy.server));

    for (int i = 0; i < 5000; i++)
        raw_frame(raw, NGHTTP2_PING, 0, 0, "12345678", 8);
    expect_calm(raw);
}

static void floods_of_settings_are_calmed(void **state)
{
    (void)state;
    struct client *raw = raw_open(server_api_address(toy.server));

    for (int i = 0; i < 5000; i++)
        raw_frame(raw, NGHTTP2_SETTINGS, 0, 0, NULL, 0);
    expect_calm(raw);
}

static void floods_of_empty_data_are_calmed(void **state)
{
    (void)state;
    struct client *raw = raw_open(server_api_address(toy.server));

    raw_frame(raw, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 1, "\x83\x86\x84\x41\x01t", 6);
    for (int i = 0; i < 5000; i++)
        raw_frame(raw, NGHTTP2_DATA, 0, 1, NULL, 0);
    expect_calm(raw);
}

/* CVE-2023-44487. */
static void rapid_resets_are_calmed(void **state)
{
    (void)state;
    struct client *raw = raw_open(server_api_address(toy.server));

    for (int i = 0; i < 1000; i++) {
        raw_frame(raw, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 2 * i + 1, "\x83\x86\x84\x41\x01t", 6);
        raw_frame(raw, NGHTTP2_RST_STREAM, 0, 2 * i + 1, "\0\0\0\x08", 4);
    }
    expect_calm(raw);
}

/* CVE-2025-8671: the server is made to reset, here by windows that overflow. */
static void provoked_resets_are_calmed(void **state)
{
    (void)state;
    struct client *raw = raw_open(server_api_address(toy.server));

    for (int i = 0; i < 1000; i++) {
        raw_frame(raw, NGHTTP2_HEADERS, NGHTTP2_FLAG_END_HEADERS, 2 * i + 1, "\x83\x86\x84\x41\x01t", 6);
        raw_frame(raw, NGHTTP2_WINDOW_UPDATE, 0, 2 * i + 1, "\x7f\xff\xff\xff", 4);
    }
    expect_calm(raw);
}

static void a_flood_of_continuations_ends_the_connection(void **state)
{
    (void)state;
    struct client *raw = raw_open(server_api_address(toy.server));

    raw_frame(raw, NGHTTP2_HEADERS, 0, 1, "\x83\x86\x84\x41\x01t", 6);
    for (int i = 0; i < 100; i++)
        raw_frame(raw, NGHTTP2_CONTINUATION, 0, 1, "\x82", 1);
    assert_int_equal(raw_await_goaway(raw), NGHTTP2_ENHANCE_YOUR_CALM);
    client_close(raw);
    assert_int_equal(client2_post(client, GET_FEATURES, "application/json", fr_slice_of("{}"))->status, 200);
}

/* ---- Draining ---- */

static void *drain(void *user)
{
    server_drain(user, 10000);
    return NULL;
}

static bool has_goaway(struct client2 *c, void *user)
{
    (void)user;
    return c->goaways > 0;
}

static void draining_serves_what_was_begun(void **state)
{
    (void)state;
    struct client2_reply *slow = client2_begin(client, JSON_FIELDS(DESCRIBE), fr_slice_of("{}"), true);
    pthread_t thread;

    toy_await_entered(&toy);
    assert_int_equal(pthread_create(&thread, NULL, drain, toy.server), 0);
    client2_await(client, has_goaway, NULL);
    toy_open_gate(&toy);
    client2_await_reply(client, slow);
    assert_int_equal(slow->status, 200);
    client2_await_end(client);
    assert_int_equal(client->goaway_error, NGHTTP2_NO_ERROR);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

static void closing_cuts_open_streams(void **state)
{
    (void)state;
    client2_begin(client, JSON_FIELDS(GET_FEATURES), fr_slice_of("{"), false);
    client2_begin(client, JSON_FIELDS(DESCRIBE), fr_slice_of("{}"), true);
    toy_await_entered(&toy);
    toy_open_gate(&toy);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(a_call_is_answered),
        TEST(refusals_have_their_status_and_fields),
        TEST(many_calls_share_a_connection),
        TEST(a_slow_call_lets_others_pass),
        TEST(a_reset_call_leaves_nothing_behind),
        TEST(a_body_comes_in_pieces),
        TEST(large_bodies_wait_for_each_other),
        TEST(a_body_above_the_limit_is_refused),
        TEST(a_large_header_is_refused),
        TEST(replies_wait_for_a_window),
        TEST(a_peer_that_gives_no_window_is_cut_off),
        TEST(a_slow_body_is_answered_in_time),
        TEST(a_slow_head_ends_the_connection),
        TEST(a_head_that_was_refused_is_not_waited_for),
        TEST(an_illegal_field_resets_its_stream),
        TEST(a_broken_protocol_is_counted),
        TEST(an_idle_connection_is_told_to_go),
        TEST(a_silent_peer_is_asked_whether_it_lives),
        TEST(a_peer_that_does_not_answer_is_cut_off),
        TEST(a_peer_that_answers_stays),
        TEST(floods_of_pings_are_calmed),
        TEST(floods_of_settings_are_calmed),
        TEST(floods_of_empty_data_are_calmed),
        TEST(rapid_resets_are_calmed),
        TEST(provoked_resets_are_calmed),
        TEST(a_flood_of_continuations_ends_the_connection),
        TEST(draining_serves_what_was_begun),
        TEST(closing_cuts_open_streams),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
