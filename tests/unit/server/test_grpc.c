/*
 * gRPC: its timeouts, prefixes and texts by themselves, and calls over HTTP/2 against real sockets.
 */
#include "client2.h"
#include "convention.h"

#include <freshet/clock.h>
#include <freshet/v1/feature.pb-c.h>

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>

#define GET_FEATURES "/freshet.v1.FeatureService/GetFeatures"
#define DESCRIBE "/freshet.v1.FeatureService/Describe"
#define GRPC_FIELDS(path) ":method: POST\n:path: " path "\ncontent-type: application/grpc\nte: trailers\n"

static struct toy toy;
static struct client2 *client;

static int set_up(void **state)
{
    (void)state;
    toy_start(&toy, NULL);
    client = client2_open(server_api_address(toy.server));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    client2_close(client);
    toy_stop(&toy);
    return 0;
}

/* ---- The parts ---- */

static void timeouts_have_six_units(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t us;
    } cases[] = {{"2H", 7200000000},
                 {"3M", 180000000},
                 {"1S", 1000000},
                 {"250m", 250000},
                 {"7u", 7},
                 {"2500n", 2},
                 {"0S", 0},
                 {"00000001S", 1000000},
                 {"99999999H", 359999996400000000}};
    static const char *const bad[] = {"", "1", "S", "1s", "-1S", "+1S", "1.5S", "123456789S", " 1S", "1S ", "1H1M", "0x1S"};
    int64_t us;

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(server__grpc_timeout(fr_slice_of(cases[i].text), &us));
        assert_int_equal(us, cases[i].us);
    }
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        if (server__grpc_timeout(fr_slice_of(bad[i]), &us))
            fail_msg("'%s' was taken", bad[i]);
}

static void content_types_name_a_codec(void **state)
{
    (void)state;
    static const char *const others[] = {"",           "application/grpc-web", "application/grpcx", "application/json",
                                         "text/plain", "application/gr"};
    enum server__codec codec;

    assert_true(server__grpc_is(fr_slice_of("application/grpc"), &codec) && codec == SERVER_CODEC_PROTO);
    assert_true(server__grpc_is(fr_slice_of("application/grpc+proto"), &codec) && codec == SERVER_CODEC_PROTO);
    assert_true(server__grpc_is(fr_slice_of("application/grpc; charset=utf-8"), &codec) && codec == SERVER_CODEC_PROTO);
    assert_true(server__grpc_is(fr_slice_of("Application/gRPC+JSON"), &codec) && codec == SERVER_CODEC_JSON);
    assert_true(server__grpc_is(fr_slice_of("application/grpc+xml"), &codec) && codec == SERVER_CODEC_UNKNOWN);
    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_false(server__grpc_is(fr_slice_of(others[i]), &codec));
}

static void a_message_is_known_as_early_as_can_be(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t length;
        enum server__parsed parsed;
        enum server__status status;
    } cases[] = {
        {"", 0, SERVER_MORE, 0},
        {"\0", 1, SERVER_MORE, 0},
        {"\1", 1, SERVER_FAILED, SERVER_STATUS_INTERNAL},
        {"\2", 1, SERVER_FAILED, SERVER_STATUS_INTERNAL},
        {"\0\0\0\0\2x", 6, SERVER_MORE, 0},
        {"\0\0\0\0\0", 5, SERVER_DONE, 0},
        {"\0\0\0\0\2xyz", 8, SERVER_DONE, 0},
        {"\0\0\0\0\x0b", 5, SERVER_FAILED, SERVER_STATUS_RESOURCE_EXHAUSTED},
        {"\0\xff\xff\xff\xff", 5, SERVER_FAILED, SERVER_STATUS_RESOURCE_EXHAUSTED},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fr_slice message;
        size_t used;
        enum server__status status = SERVER_STATUS_OK;
        const char *reason;

        assert_int_equal(
            server__grpc_message(fr_slice(cases[i].bytes, cases[i].length), false, 10, &message, &used, &status, &reason),
            cases[i].parsed);
        assert_int_equal(status, cases[i].status);
    }
}

static void texts_are_escaped(void **state)
{
    (void)state;
    struct fr_buffer out;

    fr_buffer_init(&out);
    server__grpc_escape("a b%\xc3\xa9\n~\x7f", &out);
    assert_true(fr_slice_is(fr_buffer_slice(&out), "a b%25%C3%A9%0A~%7F"));
    fr_buffer_fini(&out);
}

/* ---- Calls ---- */

static struct client2_reply *call_raw(const char *fields, const void *bytes, size_t length)
{
    struct client2_reply *reply = client2_begin(client, fields, fr_slice(bytes, length), true);

    client2_await_reply(client, reply);
    return reply;
}

static struct client2_reply *call(const char *fields, const Freshet__V1__GetFeaturesRequest *request)
{
    uint8_t wire[1024] = {0};
    size_t length = freshet__v1__get_features_request__pack(request, wire + SERVER_GRPC_PREFIX);

    server__grpc_prefix(length, wire);
    return call_raw(fields, wire, SERVER_GRPC_PREFIX + length);
}

static void expect(const struct client2_reply *reply, enum server__status status, const char *message_part)
{
    assert_int_equal(reply->status, 200);
    assert_non_null(client2_field(reply, "grpc-status"));
    if (atoi(client2_field(reply, "grpc-status")) != (int)status)
        fail_msg("not %s: %s", server__status_name(status), reply->fields);
    if (message_part)
        assert_contains(client2_field(reply, "grpc-message"), message_part);
}

static void a_call_is_answered_with_trailers(void **state)
{
    (void)state;
    Freshet__V1__GetFeaturesRequest request = FRESHET__V1__GET_FEATURES_REQUEST__INIT;
    Freshet__V1__GetFeaturesResponse *answer;
    struct client2_reply *reply;
    struct fr_slice message;
    size_t used;
    enum server__status status;
    const char *reason;

    request.user_id = 7;
    reply = call(GRPC_FIELDS(GET_FEATURES), &request);
    expect(reply, SERVER_STATUS_OK, NULL);
    assert_string_equal(client2_field(reply, "content-type"), "application/grpc");
    assert_int_equal(server__grpc_message(fr_buffer_slice(&reply->body), false, 1000, &message, &used, &status, &reason),
                     SERVER_DONE);
    assert_int_equal(used, reply->body.length);
    answer = freshet__v1__get_features_response__unpack(NULL, message.length, message.bytes);
    assert_non_null(answer);
    assert_int_equal(answer->request_id, 7);
    freshet__v1__get_features_response__free_unpacked(answer, NULL);
    assert_int_equal(toy_requests(&toy, "freshet.v1.FeatureService/GetFeatures", "ok"), 1);
}

static void an_empty_reply_still_has_its_prefix(void **state)
{
    (void)state;
    struct client2_reply *reply = call_raw(GRPC_FIELDS(GET_FEATURES), "\0\0\0\0\0", 5);

    expect(reply, SERVER_STATUS_OK, NULL);
    assert_int_equal(reply->body.length, 5);
}

static void every_code_of_a_handler_is_a_status(void **state)
{
    (void)state;
    for (int code = FR_BAD_INPUT; code <= FR_CANCELLED; code++) {
        Freshet__V1__GetFeaturesRequest request = FRESHET__V1__GET_FEATURES_REQUEST__INIT;
        struct client2_reply *reply;

        request.feature_set = (char *)fr_code_name((enum fr_code)code);
        reply = call(GRPC_FIELDS(GET_FEATURES), &request);
        expect(reply, server__status_of((enum fr_code)code), "asked for");
        assert_int_equal(reply->body.length, 0);
    }
}

static void what_cannot_be_a_call_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *fields, *body;
        size_t length;
        enum server__status status;
        const char *message;
    } cases[] = {
        {GRPC_FIELDS("/no.Such/Method"), "\0\0\0\0\0", 5, SERVER_STATUS_UNIMPLEMENTED, "no method"},
        {":method: POST\n:path: " GET_FEATURES "\ncontent-type: application/grpc+json\n", "\0\0\0\0\2{]", 7,
         SERVER_STATUS_INVALID_ARGUMENT, "not JSON"},
        {GRPC_FIELDS(GET_FEATURES), "", 0, SERVER_STATUS_UNIMPLEMENTED, "none came"},
        {GRPC_FIELDS(GET_FEATURES), "\0\0\0\0\0\0\0\0\0\0", 10, SERVER_STATUS_UNIMPLEMENTED, "more came"},
        {GRPC_FIELDS(GET_FEATURES), "\0\0\0", 3, SERVER_STATUS_INTERNAL, "in the middle"},
        {GRPC_FIELDS(GET_FEATURES), "\0\0\0\0\2x", 6, SERVER_STATUS_INTERNAL, "in the middle"},
        {GRPC_FIELDS(GET_FEATURES), "\0\0\0\0\2\xff\xff", 7, SERVER_STATUS_INVALID_ARGUMENT, "GetFeaturesRequest"},
        {GRPC_FIELDS(GET_FEATURES), "\7\0\0\0\0", 5, SERVER_STATUS_INTERNAL, "malformed message prefix"},
        {GRPC_FIELDS(GET_FEATURES), "\0\xff\0\0\0", 5, SERVER_STATUS_RESOURCE_EXHAUSTED, "server.limits.message"},
        {GRPC_FIELDS(GET_FEATURES) "grpc-timeout: 1x\n", "\0\0\0\0\0", 5, SERVER_STATUS_INVALID_ARGUMENT, "grpc-timeout"},
        {GRPC_FIELDS(GET_FEATURES) "grpc-timeout: 1S\ngrpc-timeout: 1S\n", "\0\0\0\0\0", 5, SERVER_STATUS_INVALID_ARGUMENT,
         "once each"},
        {GRPC_FIELDS(GET_FEATURES) "grpc-timeout: 0n\n", "\0\0\0\0\0", 5, SERVER_STATUS_DEADLINE_EXCEEDED, "deadline"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        expect(call_raw(cases[i].fields, cases[i].body, cases[i].length), cases[i].status, cases[i].message);
}

static void other_compression_than_gzip_is_refused_and_named(void **state)
{
    (void)state;
    struct client2_reply *reply = call_raw(GRPC_FIELDS(GET_FEATURES) "grpc-encoding: snappy\n", "\1\0\0\0\4abcd", 9);

    expect(reply, SERVER_STATUS_UNIMPLEMENTED, "compressed");
    assert_string_equal(client2_field(reply, "grpc-accept-encoding"), "identity,gzip");
    expect(call_raw(GRPC_FIELDS(GET_FEATURES) "grpc-encoding: snappy\n", "\0\0\0\0\0", 5), SERVER_STATUS_UNIMPLEMENTED,
           "compressed"); /* though this message is not */
    expect(call_raw(GRPC_FIELDS(GET_FEATURES) "grpc-encoding: gzip\n", "\1\0\0\0\4abcd", 9), SERVER_STATUS_INVALID_ARGUMENT,
           "gzip");
    expect(call_raw(GRPC_FIELDS(GET_FEATURES) "grpc-encoding: gzip\n", "\0\0\0\0\0", 5), SERVER_STATUS_OK, NULL);
    expect(call_raw(GRPC_FIELDS(GET_FEATURES), "\1\0\0\0\4abcd", 9), SERVER_STATUS_INTERNAL, "names no coding");
    expect(call_raw(GRPC_FIELDS(GET_FEATURES) "grpc-encoding: Identity\n", "\1\0\0\0\4abcd", 9), SERVER_STATUS_INTERNAL,
           "names no coding");
}

static void an_unknown_method_is_told_before_the_client_ends(void **state)
{
    (void)state;
    struct client2_reply *reply = client2_begin(client, GRPC_FIELDS("/no.Such/Stream"), fr_slice("\0\0\0\0\0", 5), false);

    client2_await_reply(client, reply);
    expect(reply, SERVER_STATUS_UNIMPLEMENTED, "no method");
    assert_int_equal(reply->error, NGHTTP2_NO_ERROR);
}

static void json_is_a_codec_of_grpc_too(void **state)
{
    (void)state;
    struct client2_reply *reply = call_raw(":method: POST\n:path: " GET_FEATURES "\ncontent-type: application/grpc+json\n",
                                           "\0\0\0\0\x0c{\"userId\":7}", 17);
    struct fr_slice message;
    enum server__status status;
    const char *reason;
    size_t used;

    expect(reply, SERVER_STATUS_OK, NULL);
    assert_string_equal(client2_field(reply, "content-type"), "application/grpc+json");
    assert_int_equal(
        server__grpc_message(fr_buffer_slice(&reply->body), SERVER_GRPC_IDENTITY, 1000, &message, &used, &status, &reason),
        SERVER_DONE);
    assert_int_equal(used, reply->body.length);
    assert_memory_equal(message.bytes, "{\"requestId\":", 13);
}

static void what_is_no_call_has_both_statuses(void **state)
{
    (void)state;
    static const struct {
        const char *fields;
        int http_status;
        const char *message;
    } cases[] = {
        {":method: POST\n:path: " GET_FEATURES "\ncontent-type: application/grpc+thrift\n", 415, "content type"},
        {":method: PUT\n:path: " GET_FEATURES "\ncontent-type: application/grpc\n", 405, "POST"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct client2_reply *reply = call_raw(cases[i].fields, "\0\0\0\0\0", 5);

        assert_int_equal(reply->status, cases[i].http_status);
        assert_string_equal(client2_field(reply, "content-type"), "application/grpc");
        assert_int_equal(atoi(client2_field(reply, "grpc-status")), SERVER_STATUS_UNKNOWN);
        assert_contains(client2_field(reply, "grpc-message"), cases[i].message);
        assert_int_equal(reply->body.length, 0);
    }
}

static void another_content_type_is_no_grpc(void **state)
{
    (void)state;
    struct client2_reply *reply =
        call_raw(":method: POST\n:path: " GET_FEATURES "\ncontent-type: application/grpc-web\n", "\0\0\0\0\0", 5);

    assert_int_equal(reply->status, 415);
    assert_null(client2_field(reply, "grpc-status"));
}

static void a_deadline_ends_the_wait_for_the_message(void **state)
{
    (void)state;
    struct client2_reply *reply =
        client2_begin(client, GRPC_FIELDS(GET_FEATURES) "grpc-timeout: 50m\n", fr_slice("\0\0", 2), false);

    client2_await_reply(client, reply);
    expect(reply, SERVER_STATUS_DEADLINE_EXCEEDED, NULL);
}

static void a_cancelled_call_in_the_pool_is_not_begun(void **state)
{
    (void)state;
    struct client2_reply *replies[3];

    for (int i = 0; i < 3; i++) /* two threads: the third waits */
        replies[i] = client2_begin(client, GRPC_FIELDS(DESCRIBE), fr_slice("\0\0\0\0\0", 5), true);
    toy_await_entered(&toy);
    toy_await_entered(&toy);
    client2_reset(client, replies[2], NGHTTP2_CANCEL);
    expect(call_raw(GRPC_FIELDS(GET_FEATURES), "\0\0\0\0\0", 5), SERVER_STATUS_OK, NULL); /* so the reset has been read */
    toy_open_gate(&toy);
    toy_open_gate(&toy);
    for (int i = 0; i < 2; i++)
        client2_await_reply(client, replies[i]);
    while (toy_requests(&toy, "freshet.v1.FeatureService/Describe", "canceled") == 0)
        expect(call_raw(GRPC_FIELDS(GET_FEATURES), "\0\0\0\0\0", 5), SERVER_STATUS_OK, NULL);
    assert_int_equal(fr_queue_length(toy.entered), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(timeouts_have_six_units),
        cmocka_unit_test(content_types_name_a_codec),
        cmocka_unit_test(a_message_is_known_as_early_as_can_be),
        cmocka_unit_test(texts_are_escaped),
        TEST(a_call_is_answered_with_trailers),
        TEST(an_empty_reply_still_has_its_prefix),
        TEST(every_code_of_a_handler_is_a_status),
        TEST(what_cannot_be_a_call_is_refused),
        TEST(other_compression_than_gzip_is_refused_and_named),
        TEST(an_unknown_method_is_told_before_the_client_ends),
        TEST(json_is_a_codec_of_grpc_too),
        TEST(what_is_no_call_has_both_statuses),
        TEST(another_content_type_is_no_grpc),
        TEST(a_deadline_ends_the_wait_for_the_message),
        TEST(a_cancelled_call_in_the_pool_is_not_begun),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
