/*
 * Calls that come and go compressed, by Connect over HTTP/1.1 and by gRPC; and bombs.
 */
#include "client2.h"

#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#define HEAD                                                                                                                   \
    "POST /freshet.v1.FeatureService/GetFeatures HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"                    \
    "Content-Length: %zu\r\n"

static struct toy toy;
static struct client *client;
static struct response response;
static struct fr_buffer packed, plain;

static int set_up(void **state)
{
    (void)state;
    toy_start(&toy, NULL); /* 64 KiB of message */
    client = client_open(server_api_address(toy.server));
    fr_buffer_init(&packed);
    fr_buffer_init(&plain);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    client_close(client);
    toy_stop(&toy);
    fr_buffer_fini(&packed);
    fr_buffer_fini(&plain);
    return 0;
}

/* zlib's own, so that ours is not judged by itself. */
static void pack(const void *bytes, size_t length)
{
    z_stream stream = {.next_in = (Bytef *)bytes, .avail_in = (uInt)length};

    fr_buffer_clear(&packed);
    assert_int_equal(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_out = fr_buffer_reserve(&packed, length + 1000);
    stream.avail_out = (uInt)(length + 1000);
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    packed.length = stream.total_out;
    deflateEnd(&stream);
}

static void unpack(const void *bytes, size_t length)
{
    z_stream stream = {.next_in = (Bytef *)bytes, .avail_in = (uInt)length};

    fr_buffer_clear(&plain);
    assert_int_equal(inflateInit2(&stream, 15 + 16), Z_OK);
    stream.next_out = fr_buffer_reserve(&plain, 1 << 20);
    stream.avail_out = 1 << 20;
    assert_int_equal(inflate(&stream, Z_FINISH), Z_STREAM_END);
    plain.length = stream.total_out;
    inflateEnd(&stream);
}

static void send_packed(const char *more)
{
    char head[512];

    snprintf(head, sizeof head, HEAD "Content-Encoding: gzip\r\n%s\r\n", packed.length, more);
    client_send(client, head);
    client_send_bytes(client, packed.bytes, packed.length);
    client_receive(client, &response);
}

/* {"userId":7,"features":["x…"]}, whose reply is about as long. */
static void make_request(size_t length)
{
    fr_buffer_clear(&plain);
    fr_buffer_append_text(&plain, "{\"userId\":7,\"features\":[\"");
    for (size_t i = 0; i < length; i++)
        fr_buffer_append_byte(&plain, (uint8_t)('a' + i % 26));
    fr_buffer_append_text(&plain, "\"]}");
}

static void a_packed_request_is_read(void **state)
{
    (void)state;
    make_request(60000);
    pack(plain.bytes, plain.length);
    send_packed("");
    assert_int_equal(response.status, 200);
    assert_null(response_header(&response, "Content-Encoding"));
    assert_contains(response.body, "\"requestId\":\"7\"");
    assert_true(response.body_length > 60000);
}

static void a_reply_is_packed_for_who_asks_for_it(void **state)
{
    (void)state;
    static const struct {
        const char *field;
        bool is_packed;
    } cases[] = {
        {"Accept-Encoding: gzip\r\n", true},
        {"Accept-Encoding: br;q=1.0, GZIP;q=0.5 , *\r\n", true},
        {"Accept-Encoding: identity\r\n", false},
        {"Accept-Encoding: gzip;q=0\r\n", false},
        {"Accept-Encoding: gzip; q=0.0\r\n", false},
        {"Accept-Encoding: xgzip, gzipx, *\r\n", false},
        {"Accept-Encoding:\r\n", false},
        {"", false},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        make_request(20000);
        pack(plain.bytes, plain.length);
        send_packed(cases[i].field);
        assert_int_equal(response.status, 200);
        if (!cases[i].is_packed) {
            assert_null(response_header(&response, "Content-Encoding"));
            continue;
        }
        assert_string_equal(response_header(&response, "Content-Encoding"), "gzip");
        assert_true(response.body_length < 2000);
        unpack(response.body, response.body_length);
        fr_buffer_append_byte(&plain, '\0');
        assert_contains((const char *)plain.bytes, "\"requestId\":\"7\"");
        assert_true(plain.length > 20000);
    }
}

static void a_short_reply_and_an_error_go_as_they_are(void **state)
{
    (void)state;
    pack("{}", 2);
    send_packed("Accept-Encoding: gzip\r\n");
    assert_int_equal(response.status, 200);
    assert_null(response_header(&response, "Content-Encoding"));
    pack("{", 1);
    send_packed("Accept-Encoding: gzip\r\n");
    assert_int_equal(response.status, 400);
    assert_null(response_header(&response, "Content-Encoding"));
    assert_contains(response.body, "invalid_argument");
}

static void what_is_no_whole_member_is_an_invalid_argument(void **state)
{
    (void)state;
    size_t whole;

    make_request(1000);
    pack(plain.bytes, plain.length);
    whole = packed.length;
    packed.length = whole - 1; /* cut */
    send_packed("");
    assert_int_equal(response.status, 400);
    packed.length = whole;
    fr_buffer_append_byte(&packed, 0); /* and more */
    send_packed("");
    assert_int_equal(response.status, 400);
    packed.length = whole;
    packed.bytes[whole - 6] ^= 1; /* another sum */
    send_packed("");
    assert_int_equal(response.status, 400);
    assert_contains(response.body, "gzip");
    packed.length = 0; /* nothing is nothing in any coding: the body is missing, as it would be without */
    send_packed("");
    assert_int_equal(response.status, 400);
}

/* 64 MiB of zeros in 64 KiB: 1,000 to 1. */
static void a_bomb_is_refused_at_the_cap(void **state)
{
    (void)state;
    enum { BOMB_BYTES = 60 << 20 };
    uint8_t *zeros = calloc(1, BOMB_BYTES);
    uint64_t bombs;

    assert_non_null(zeros);
    pack(zeros, BOMB_BYTES);
    assert_true(packed.length < 64 << 10);
    send_packed("");
    assert_int_equal(response.status, 429);
    assert_contains(response.body, "resource_exhausted");
    assert_contains(response.body, "server.limits.message");
    bombs = toy_http_errors(&toy, "gzip_bomb");
    assert_int_equal(bombs, 1);

    fr_buffer_clear(&plain);
    assert_int_equal(server__gzip_unpack(fr_buffer_slice(&packed), 64 << 10, &plain), SERVER_UNPACKED_LARGE);
    assert_true(plain.capacity <= 256 << 10); /* what it cost */
    fr_buffer_clear(&plain);
    pack(zeros, 64 << 10);
    assert_int_equal(server__gzip_unpack(fr_buffer_slice(&packed), 64 << 10, &plain),
                     SERVER_UNPACKED); /* just as much as may be */
    assert_int_equal(plain.length, 64 << 10);
    fr_buffer_clear(&plain);
    pack(zeros, (64 << 10) + 1);
    assert_int_equal(server__gzip_unpack(fr_buffer_slice(&packed), 64 << 10, &plain), SERVER_UNPACKED_LARGE);
    memset(packed.bytes + packed.length - 4, 0, 4); /* which says that there is nothing in it */
    fr_buffer_fini(&plain);
    assert_int_equal(server__gzip_unpack(fr_buffer_slice(&packed), 64 << 10, &plain), SERVER_UNPACKED_BAD);
    assert_true(plain.capacity <= 64 << 10); /* and is not unpacked to its end */
    free(zeros);
}

/* ---- gRPC ---- */

static struct client2_reply *call_grpc(struct client2 *client2, const char *fields, bool is_marked)
{
    struct fr_buffer message;
    struct client2_reply *reply;
    char all[512];

    fr_buffer_init(&message);
    fr_buffer_append_byte(&message, is_marked);
    for (int shift = 24; shift >= 0; shift -= 8)
        fr_buffer_append_byte(&message, (uint8_t)(packed.length >> shift));
    fr_buffer_append(&message, packed.bytes, packed.length);
    snprintf(all, sizeof all,
             ":method: POST\n:path: /freshet.v1.FeatureService/GetFeatures\ncontent-type: application/grpc\nte: trailers\n%s",
             fields);
    reply = client2_begin(client2, all, fr_buffer_slice(&message), true);
    client2_await_reply(client2, reply);
    fr_buffer_fini(&message);
    return reply;
}

/* user_id = 7 and a feature of 20,000 letters, packed. */
static void make_message(void)
{
    fr_buffer_clear(&plain);
    fr_buffer_append(&plain, "\x08\x07\x2a\xa0\x9c\x01", 6);
    for (int i = 0; i < 20000; i++)
        fr_buffer_append_byte(&plain, 'x');
    pack(plain.bytes, plain.length);
}

static void grpc_messages_are_packed_both_ways(void **state)
{
    (void)state;
    struct client2 *client2 = client2_open(server_api_address(toy.server));
    struct client2_reply *reply;

    make_message();
    reply = call_grpc(client2, "grpc-encoding: gzip\ngrpc-accept-encoding: identity, deflate, gzip\n", true);
    assert_string_equal(client2_field(reply, "grpc-status"), "0");
    assert_string_equal(client2_field(reply, "grpc-encoding"), "gzip");
    assert_int_equal(reply->body.bytes[0], 1);
    assert_true(reply->body.length < 2000);
    unpack(reply->body.bytes + 5, reply->body.length - 5);
    assert_true(plain.length > 20000);

    make_message();
    reply = call_grpc(client2, "grpc-encoding: gzip\n", true); /* does not say that it takes any */
    assert_string_equal(client2_field(reply, "grpc-status"), "0");
    assert_int_equal(reply->body.bytes[0], 0);
    assert_true(reply->body.length > 20000);
    client2_close(client2);
}

static void a_bomb_by_grpc_is_refused_at_the_cap(void **state)
{
    (void)state;
    struct client2 *client2 = client2_open(server_api_address(toy.server));
    struct client2_reply *reply;
    uint8_t *zeros = calloc(1, 1 << 20);

    assert_non_null(zeros);
    pack(zeros, 1 << 20);
    reply = call_grpc(client2, "grpc-encoding: gzip\n", true);
    assert_string_equal(client2_field(reply, "grpc-status"), "8");
    assert_int_equal(toy_http_errors(&toy, "gzip_bomb"), 1);
    free(zeros);
    client2_close(client2);
}

int main(void)
{
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(a_packed_request_is_read),
        WITH_SERVER(a_reply_is_packed_for_who_asks_for_it),
        WITH_SERVER(a_short_reply_and_an_error_go_as_they_are),
        WITH_SERVER(what_is_no_whole_member_is_an_invalid_argument),
        WITH_SERVER(a_bomb_is_refused_at_the_cap),
        WITH_SERVER(grpc_messages_are_packed_both_ways),
        WITH_SERVER(a_bomb_by_grpc_is_refused_at_the_cap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
