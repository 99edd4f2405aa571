/*
 * The HTTP/1.1 parser: what is a request, what is none and with which status, and that it does not matter how the bytes are
 * cut.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "internal.h"

#include <stdio.h>
#include <stdlib.h>

enum { HEADER_BYTES = 1024, HEADER_COUNT = 20, BODY_BYTES = 64 };

struct outcome {
    enum server__parsed parsed;
    enum server__fault fault;
    enum server__http_method method;
    bool is_close;
    size_t used;
    char path[64];
    char body[BODY_BYTES + 1];
    size_t body_length;
};

static void copy_path(struct outcome *outcome, const struct server__http1 *parser, const char *head)
{
    struct fr_slice path = server__http1_path(parser, head);

    snprintf(outcome->path, sizeof outcome->path, "%.*s", (int)path.length, (const char *)path.bytes);
}

/* Feeds `text` as the network would: at first `cut` bytes, then the rest in pieces of `step`. */
static struct outcome parse(const char *text, size_t length, size_t cut, size_t step)
{
    struct server__http1 parser = {
        .header_bytes_max = HEADER_BYTES, .header_count_max = HEADER_COUNT, .body_bytes_max = BODY_BYTES};
    struct outcome outcome = {.parsed = SERVER_MORE};
    size_t there = cut < length ? cut : length;
    bool is_head = true;

    while (true) {
        if (is_head) {
            outcome.parsed = server__http1_head(&parser, fr_slice(text, there));
            if (outcome.parsed == SERVER_DONE) {
                is_head = false;
                outcome.used = parser.at;
                outcome.method = parser.method;
                outcome.is_close = parser.is_close;
                copy_path(&outcome, &parser, text);
                outcome.parsed = server__http1_has_body(&parser) ? SERVER_MORE : SERVER_DONE;
            }
        }
        while (!is_head && outcome.parsed == SERVER_MORE && outcome.used < there) {
            struct fr_slice piece;
            size_t used;

            outcome.parsed = server__http1_body(&parser, fr_slice(text + outcome.used, there - outcome.used), &used, &piece);
            outcome.used += used;
            assert_true(outcome.body_length + piece.length <= BODY_BYTES);
            if (piece.length > 0)
                memcpy(outcome.body + outcome.body_length, piece.bytes, piece.length);
            outcome.body_length += piece.length;
        }
        if (outcome.parsed != SERVER_MORE || there == length)
            break;
        there = there + step < length ? there + step : length;
    }
    outcome.fault = parser.fault;
    return outcome;
}

static struct outcome parse_whole(const char *text)
{
    return parse(text, strlen(text), strlen(text), 1);
}

static int status_of(const struct outcome *outcome)
{
    return outcome->parsed == SERVER_FAILED ? server__fault_text(outcome->fault)->http_status
           : outcome->parsed == SERVER_DONE ? 200
                                            : 0;
}

#define HOST "Host: a\r\n"

static const struct {
    const char *text;
    const char *path;
    const char *body;
    bool is_close;
} good[] = {
    {"GET / HTTP/1.1\r\n" HOST "\r\n", "/", "", false},
    {"GET /status?x=1 HTTP/1.1\r\n" HOST "\r\n", "/status", "", false},
    {"GET /a?b=/c?d HTTP/1.1\r\nHost:a\r\n\r\n", "/a", "", false},
    {"HEAD / HTTP/1.1\r\nhOsT: a:80\r\n\r\n", "/", "", false},
    {"GET / HTTP/1.0\r\n\r\n", "/", "", true},
    {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "/", "", true},
    {"GET / HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n", "/", "", true},
    {"GET / HTTP/1.1\r\n" HOST "Connection: foo , Close\r\n\r\n", "/", "", true},
    {"GET / HTTP/1.1\r\n" HOST "Connection: keep-alive, Upgrade\r\nUpgrade: h2c\r\n\r\n", "/", "", false},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", "/", "", false},
    {"GET / HTTP/1.1\r\nHost: [::1]:7071\r\n\r\n", "/", "", false},
    {"GET http://a/x?y HTTP/1.1\r\n" HOST "\r\n", "/x", "", false},
    {"GET http://a HTTP/1.1\r\n" HOST "\r\n", "/", "", false},
    {"GET HTTPS://a?y HTTP/1.1\r\n" HOST "\r\n", "/", "", false},
    {"OPTIONS * HTTP/1.1\r\n" HOST "\r\n", "*", "", false},
    {"POST /m HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n", "/m", "", false},
    {"POST /m HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello", "/m", "hello", false},
    {"POST /m HTTP/1.1\r\n" HOST "Content-Length: \t 005 \t\r\n\r\nhello", "/m", "hello", false},
    {"POST /m HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "/m", "hello", false},
    {"POST /m HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello", "/m", "hello", true},
    {"POST /m HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "/m", "", false},
    {"POST /m HTTP/1.1\r\n" HOST "Transfer-Encoding: Chunked\r\n\r\n2\r\nhe\r\n03\r\nllo\r\n000\r\n\r\n", "/m", "hello", false},
    {"POST /m HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n5;a=b;c=\"d\"\r\nhello\r\n0;z\r\n\r\n", "/m", "hello",
     false},
    {"POST /m HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nA\r\n0123456789\r\n0\r\nT: v\r\nU:\r\n\r\n", "/m",
     "0123456789", false},
    {"POST /m HTTP/1.1\r\n" HOST "Expect: 100-Continue\r\nContent-Length: 1\r\n\r\nx", "/m", "x", false},
    {"GET / HTTP/1.1\r\n" HOST "X-Odd!#$%&'*+-.^_`|~: \x80\xff\r\n\r\n", "/", "", false},
    {"GET /%00%2f HTTP/1.1\r\n" HOST "\r\n", "/%00%2f", "", false},
    {"DELETE / HTTP/1.1\r\n" HOST "\r\n", "/", "", false},
};

static const struct {
    const char *text;
    int status;
} bad[] = {
    /* request line */
    {"\r\nGET / HTTP/1.1\r\n" HOST "\r\n", 400},
    {"\nGET / HTTP/1.1\r\n" HOST "\r\n", 400},
    {" GET / HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET  / HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /  HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET / HTTP/1.1 \r\n" HOST "\r\n", 400},
    {"GET\t/ HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /\tHTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /\r\n", 400},
    {"GET /\n", 400},
    {"GET / HTTP/1.1\n" HOST "\r\n", 400},
    {"GET / HTTP/1.1\rX" HOST "\r\n", 400},
    {"GET /a b HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET / http/1.1\r\n" HOST "\r\n", 400},
    {"GET / HTTP/11\r\n" HOST "\r\n", 400},
    {"GET / HTTP/1.\r\n" HOST "\r\n", 400},
    {"GET / HTTP/1.10\r\n" HOST "\r\n", 400},
    {"GET / HTTP/a.1\r\n" HOST "\r\n", 400},
    {"GET / \r\n" HOST "\r\n", 400},
    {"G(T / HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET / HTTP/2.0\r\n" HOST "\r\n", 505},
    {"GET / HTTP/0.9\r\n" HOST "\r\n", 505},
    {"GET / HTTP/1.2\r\n" HOST "\r\n", 505},
    {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 501},
    {"BREW / HTTP/1.1\r\n" HOST "\r\n", 501},
    {"get / HTTP/1.1\r\n" HOST "\r\n", 501},
    {"CONNECT a:80 HTTP/1.1\r\n" HOST "\r\n", 501},
    {"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", 501},
    {"\x16\x03\x01\x02", 400},
    /* target */
    {"GET a HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET * HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /a#b HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /\x80 HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /\x01 HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET /\x7f HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET ftp://a/ HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET http:///x HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET http://b/x HTTP/1.1\r\n" HOST "\r\n", 400},
    {"GET http://u@a/x HTTP/1.1\r\n" HOST "\r\n", 400},
    /* fields */
    {"GET / HTTP/1.1\r\n" HOST "X : y\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X\t: y\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST " X: y\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X: y\r\n folded\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X: y\r\n\tfolded\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n X: y\r\n" HOST "\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST ": y\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X: a\nY: b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X: a\rY: b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X: a\x01\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X: a\x7f\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X(: a\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "X\x80: a\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "\n", 400},
    {"GET / HTTP/1.1\r\n" HOST "\rX", 400},
    /* Host */
    {"GET / HTTP/1.1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", 400},
    {"GET / HTTP/1.0\r\n" HOST HOST "\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a:1:2\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: []\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: [::1]x\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400},
    /* length */
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5, 5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: -1\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: +1\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 0x1\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1 2\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 1.0\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length:\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 65\r\n\r\nx", 413},
    {"POST / HTTP/1.1\r\n" HOST "Content-Length: 99999999999999999999999999\r\n\r\nx", 413},
    /* transfer coding */
    {"POST / HTTP/1.0\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, gzip\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked, chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: , chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: identity\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: xchunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \x0b"
     "chunked\r\n\r\n",
     400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: \"chunked\"\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding:\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" HOST "Expect: more\r\nContent-Length: 1\r\n\r\n", 417},
#define CHUNKED "POST / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
    {CHUNKED "\r\n", 400},
    {CHUNKED "x\r\n", 400},
    {CHUNKED "-1\r\n", 400},
    {CHUNKED "0x1\r\na\r\n0\r\n\r\n", 400},
    {CHUNKED " 1\r\na\r\n0\r\n\r\n", 400},
    {CHUNKED "1 \r\na\r\n0\r\n\r\n", 400},
    {CHUNKED "1\na\r\n0\r\n\r\n", 400},
    {CHUNKED "1\r\nab\r\n0\r\n\r\n", 400},
    {CHUNKED "1\r\na\n0\r\n\r\n", 400},
    {CHUNKED "1\r\na0\r\n\r\n", 400},
    {CHUNKED "1;\n\r\na\r\n0\r\n\r\n", 400},
    {CHUNKED "1;a\x01\r\na\r\n0\r\n\r\n", 400},
    {CHUNKED "1\rXa\r\n0\r\n\r\n", 400},
    {CHUNKED "00000000000000001\r\na\r\n0\r\n\r\n", 400},
    {CHUNKED "41\r\n", 413},
    {CHUNKED "ffffffffffffffff\r\n", 413},
    {CHUNKED "40\r\n0123456789012345678901234567890123456789012345678901234567890123\r\n1\r\n", 413},
    {CHUNKED "0\r\nT\r\n\r\n", 400},
    {CHUNKED "0\r\n T: v\r\n\r\n", 400},
    {CHUNKED "0\r\nT: v\n\r\n", 400},
    {CHUNKED "0\r\nT: v\r\n folded\r\n\r\n", 400},
    {CHUNKED "0\r\n\rX", 400},
};

static void good_requests_are_read(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct outcome outcome = parse_whole(good[i].text);

        if (outcome.parsed != SERVER_DONE)
            fail_msg("refused with %d: %s", status_of(&outcome), good[i].text);
        assert_string_equal(outcome.path, good[i].path);
        assert_string_equal(outcome.body, good[i].body);
        assert_int_equal(outcome.is_close, good[i].is_close);
        assert_int_equal(outcome.used, strlen(good[i].text));
    }
}

static void bad_requests_are_refused_with_their_status(void **state)
{
    (void)state;
    assert_true(sizeof bad / sizeof *bad >= 60);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct outcome outcome = parse_whole(bad[i].text);

        if (status_of(&outcome) != bad[i].status)
            fail_msg("%d instead of %d: %s", status_of(&outcome), bad[i].status, bad[i].text);
    }
}

static void assert_same(const struct outcome *a, const struct outcome *b)
{
    assert_int_equal(a->parsed, b->parsed);
    assert_int_equal(a->fault, b->fault);
    assert_int_equal(a->method, b->method);
    assert_string_equal(a->path, b->path);
    assert_string_equal(a->body, b->body);
    if (a->parsed == SERVER_DONE)
        assert_int_equal(a->used, b->used);
}

static void assert_cuts_do_not_matter(const char *text)
{
    struct outcome whole = parse_whole(text);
    size_t length = strlen(text);

    for (size_t cut = 0; cut <= length; cut++) {
        struct outcome in_two = parse(text, length, cut, length);
        struct outcome in_bytes = parse(text, length, cut, 1);

        assert_same(&whole, &in_two);
        assert_same(&whole, &in_bytes);
    }
}

static void a_cut_at_any_byte_changes_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_cuts_do_not_matter(good[i].text);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_cuts_do_not_matter(bad[i].text);
}

static void the_next_request_is_left_alone(void **state)
{
    (void)state;
    static const char text[] = "POST /m HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhiGET / HTTP/1.1\r\n";
    struct outcome outcome = parse_whole(text);

    assert_int_equal(outcome.parsed, SERVER_DONE);
    assert_string_equal(text + outcome.used, "GET / HTTP/1.1\r\n");
}

static void an_unfinished_request_wants_more(void **state)
{
    (void)state;
    const char *text = good[22].text; /* chunked, with extensions */

    for (size_t length = 0; length < strlen(text); length++) {
        struct outcome outcome = parse(text, length, length, 1);

        assert_int_equal(outcome.parsed, SERVER_MORE);
    }
}

static void a_nul_byte_is_refused_anywhere_in_a_head(void **state)
{
    (void)state;
    static const char text[] = "GET /x HTTP/1.1\r\nHost: a\r\nX: y\r\n\r\n";
    char bytes[sizeof text];

    for (size_t at = 0; at < sizeof text - 1; at++) {
        struct outcome outcome;

        memcpy(bytes, text, sizeof text);
        bytes[at] = '\0';
        outcome = parse(bytes, sizeof text - 1, sizeof text - 1, 1);
        assert_int_equal(outcome.parsed, SERVER_FAILED);
    }
}

static void a_long_request_line_is_414(void **state)
{
    (void)state;
    char text[HEADER_BYTES];
    struct outcome outcome;

    memset(text, 'a', sizeof text);
    memcpy(text, "GET /", 5);
    outcome = parse(text, sizeof text, sizeof text, 1);
    assert_int_equal(status_of(&outcome), 414);
}

static void a_long_head_is_431(void **state)
{
    (void)state;
    char text[2 * HEADER_BYTES];
    int length = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\nX: ");
    struct outcome outcome;

    memset(text + length, 'a', sizeof text - (size_t)length);
    outcome = parse(text, sizeof text, sizeof text, 1);
    assert_int_equal(status_of(&outcome), 431);
}

static void the_last_field_that_fits_is_read_and_one_more_is_431(void **state)
{
    (void)state;
    for (int fields = HEADER_COUNT; fields <= HEADER_COUNT + 1; fields++) {
        char text[HEADER_BYTES];
        int length = snprintf(text, sizeof text, "GET / HTTP/1.1\r\nHost: a\r\n");
        struct outcome outcome;

        for (int i = 1; i < fields; i++)
            length += snprintf(text + length, sizeof text - (size_t)length, "X: %d\r\n", i);
        length += snprintf(text + length, sizeof text - (size_t)length, "\r\n");
        outcome = parse_whole(text);
        assert_int_equal(status_of(&outcome), fields <= HEADER_COUNT ? 200 : 431);
    }
}

static void endless_trailers_are_431(void **state)
{
    (void)state;
    char text[4 * HEADER_BYTES];
    int length = snprintf(text, sizeof text, CHUNKED "0\r\nX: ");
    struct outcome outcome;

    memset(text + length, 'a', sizeof text - (size_t)length);
    outcome = parse(text, sizeof text, sizeof text, 1);
    assert_int_equal(status_of(&outcome), 431);
}

static void endless_chunk_extensions_are_refused(void **state)
{
    (void)state;
    char text[4 * HEADER_BYTES];
    int length = snprintf(text, sizeof text, CHUNKED "1;");
    struct outcome outcome;

    memset(text + length, 'a', sizeof text - (size_t)length);
    outcome = parse(text, sizeof text, sizeof text, 1);
    assert_int_equal(status_of(&outcome), 400);
}

static void fields_come_in_order_without_the_space_around_them(void **state)
{
    (void)state;
    static const char text[] = "GET / HTTP/1.1\r\nHost: a\r\nX:\t b c \t\r\nY:\r\n\r\n";
    struct server__http1 parser = {.header_bytes_max = HEADER_BYTES, .header_count_max = HEADER_COUNT};
    struct fr_slice name, value;
    size_t at = 0;

    assert_int_equal(server__http1_head(&parser, fr_slice_of(text)), SERVER_DONE);
    assert_true(server__http1_field(&parser, text, &at, &name, &value));
    assert_true(fr_slice_is(name, "Host") && fr_slice_is(value, "a"));
    assert_true(server__http1_field(&parser, text, &at, &name, &value));
    assert_true(fr_slice_is(name, "X") && fr_slice_is(value, "b c"));
    assert_true(server__http1_field(&parser, text, &at, &name, &value));
    assert_true(fr_slice_is(name, "Y") && fr_slice_is(value, ""));
    assert_false(server__http1_field(&parser, text, &at, &name, &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_requests_are_read),
        cmocka_unit_test(bad_requests_are_refused_with_their_status),
        cmocka_unit_test(a_cut_at_any_byte_changes_nothing),
        cmocka_unit_test(the_next_request_is_left_alone),
        cmocka_unit_test(an_unfinished_request_wants_more),
        cmocka_unit_test(a_nul_byte_is_refused_anywhere_in_a_head),
        cmocka_unit_test(a_long_request_line_is_414),
        cmocka_unit_test(a_long_head_is_431),
        cmocka_unit_test(the_last_field_that_fits_is_read_and_one_more_is_431),
        cmocka_unit_test(endless_trailers_are_431),
        cmocka_unit_test(endless_chunk_extensions_are_refused),
        cmocka_unit_test(fields_come_in_order_without_the_space_around_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
