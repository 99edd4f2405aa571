/*
 * Calls by the Connect convention over HTTP/1.1, against real sockets.
 */
#include "client.h"

#include <freshet/clock.h>
#include <freshet/v1/feature.pb-c.h>

#include <stdio.h>

#define GET_FEATURES "/freshet.v1.FeatureService/GetFeatures"
#define JSON_HEAD(path) "POST " path " HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\n"

static struct toy toy;
static struct client *client;
static struct response response;

static int set_up(void **state)
{
    (void)state;
    toy_start(&toy, NULL);
    client = client_open(server_api_address(toy.server));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    client_close(client);
    toy_stop(&toy);
    return 0;
}

static void send_and_expect(const char *request, int status, const char *body_part)
{
    client_send(client, request);
    client_receive(client, &response);
    if (response.status != status)
        fail_msg("%d instead of %d: %s%s", response.status, status, response.head, response.body);
    assert_contains(response.body, body_part);
}

static void json_is_answered_in_json(void **state)
{
    (void)state;
    client_call(client, "GetFeatures", "{\"userId\":\"7\",\"itemIds\":[1,2],\"features\":[\"a.5m\"]}", &response);
    assert_int_equal(response.status, 200);
    assert_string_equal(response_header(&response, "Content-Type"), "application/json");
    assert_contains(response.body, "\"requestId\":\"7\"");
    assert_contains(response.body, "\"itemValues\":[1,2]");
    assert_contains(response.body, "\"userColumns\":[\"a.5m\"]");
    assert_non_null(response_header(&response, "Date"));
    assert_null(response_header(&response, "Connection"));
    assert_int_equal(toy_requests(&toy, "freshet.v1.FeatureService/GetFeatures", "ok"), 1);
}

static void a_charset_of_utf8_may_be_said(void **state)
{
    (void)state;
    send_and_expect("POST " GET_FEATURES " HTTP/1.1\r\nHost: t\r\nContent-Type: Application/JSON; charset=UTF-8\r\n"
                    "Content-Length: 2\r\n\r\n{}",
                    200, "\"requestId\":\"0\"");
}

static void proto_is_answered_in_proto(void **state)
{
    (void)state;
    Freshet__V1__GetFeaturesRequest request = FRESHET__V1__GET_FEATURES_REQUEST__INIT;
    Freshet__V1__GetFeaturesResponse *reply;
    uint8_t wire[64];
    char head[256];
    size_t length;

    request.user_id = 9;
    length = freshet__v1__get_features_request__pack(&request, wire);
    snprintf(head, sizeof head,
             "POST " GET_FEATURES " HTTP/1.1\r\nHost: t\r\nContent-Type: application/proto\r\nContent-Length: %zu\r\n\r\n",
             length);
    client_send(client, head);
    client_send_bytes(client, wire, length);
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
    assert_string_equal(response_header(&response, "Content-Type"), "application/proto");
    reply = freshet__v1__get_features_response__unpack(NULL, response.body_length, (const uint8_t *)response.body);
    assert_non_null(reply);
    assert_int_equal(reply->request_id, 9);
    freshet__v1__get_features_response__free_unpacked(reply, NULL);
}

static void errors_have_the_status_of_their_code(void **state)
{
    (void)state;
    static const struct {
        enum fr_code code;
        int status;
        const char *name;
    } cases[] = {
        {FR_BAD_INPUT, 400, "invalid_argument"},
        {FR_BAD_CONFIG, 500, "internal"},
        {FR_PRECONDITION, 400, "failed_precondition"},
        {FR_UNAVAILABLE, 503, "unavailable"},
        {FR_EXHAUSTED, 429, "resource_exhausted"},
        {FR_DEADLINE, 504, "deadline_exceeded"},
        {FR_CORRUPT, 500, "data_loss"},
        {FR_UNAUTHENTICATED, 401, "unauthenticated"},
        {FR_DENIED, 403, "permission_denied"},
        {FR_UNIMPLEMENTED, 501, "unimplemented"},
        {FR_CANCELLED, 499, "canceled"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char json[128], expected[256];

        snprintf(json, sizeof json, "{\"featureSet\":\"%s\"}", fr_code_name(cases[i].code));
        snprintf(expected, sizeof expected, "{\"code\":\"%s\",\"message\":\"feature_set: \\\"%s\\\" asked for\"}",
                 cases[i].name, fr_code_name(cases[i].code));
        client_call(client, "GetFeatures", json, &response);
        assert_int_equal(response.status, cases[i].status);
        assert_string_equal(response.body, expected);
        assert_string_equal(response_header(&response, "Content-Type"), "application/json");
        assert_int_equal(toy_requests(&toy, "freshet.v1.FeatureService/GetFeatures", cases[i].name), 1);
    }
}

static void an_unknown_path_is_404_and_makes_no_label(void **state)
{
    (void)state;
    send_and_expect(JSON_HEAD("/freshet.v1.FeatureService/Nope") "Content-Length: 2\r\n\r\n{}", 404,
                    "{\"code\":\"unimplemented\"");
    send_and_expect("GET / HTTP/1.1\r\nHost: t\r\n\r\n", 404, "{\"code\":\"unimplemented\"");
    send_and_expect(JSON_HEAD(GET_FEATURES "/x") "Content-Length: 2\r\n\r\n{}", 404, "unimplemented");
    send_and_expect(JSON_HEAD("/freshet.v1.FeatureService/GetFeature") "Content-Length: 2\r\n\r\n{}", 404, "unimplemented");
    assert_int_equal(toy_requests(&toy, "unknown", "unimplemented"), 4);
}

static void another_verb_is_405_with_allow(void **state)
{
    (void)state;
    send_and_expect("GET " GET_FEATURES " HTTP/1.1\r\nHost: t\r\n\r\n", 405, "\"code\"");
    assert_string_equal(response_header(&response, "Allow"), "POST");
    send_and_expect("PUT " GET_FEATURES " HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{}", 405, "\"code\"");
    client_send(client, "HEAD " GET_FEATURES " HTTP/1.1\r\nHost: t\r\n\r\n");
    client_receive_head(client, &response);
    assert_int_equal(response.status, 405);
    client_call(client, "GetFeatures", "{}", &response);
    assert_int_equal(response.status, 200); /* no stray body before it */
}

static void an_unsupported_type_is_415_with_accept_post(void **state)
{
    (void)state;
    static const char *const types[] = {"text/plain",
                                        "application/x-www-form-urlencoded",
                                        "application/grpc",
                                        "application/connect+json",
                                        "application/json; charset=latin1",
                                        "application/proto; charset=utf-8",
                                        "application/jsonx",
                                        "application/json, application/json",
                                        "application/json;",
                                        ""};

    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        char request[512];

        snprintf(request, sizeof request,
                 "POST " GET_FEATURES " HTTP/1.1\r\nHost: t\r\nContent-Type: %s\r\nContent-Length: 2\r\n\r\n{}", types[i]);
        send_and_expect(request, 415, "application/json");
        assert_string_equal(response_header(&response, "Accept-Post"), "application/json, application/proto");
    }
    send_and_expect("POST " GET_FEATURES " HTTP/1.1\r\nHost: t\r\nContent-Length: 2\r\n\r\n{}", 415, "application/json");
}

static void the_conventions_headers_are_checked(void **state)
{
    (void)state;
    static const struct {
        const char *header;
        int status;
        const char *code;
    } cases[] = {
        {"Connect-Protocol-Version: 1", 200, "requestId"},
        {"Connect-Protocol-Version: 2", 400, "invalid_argument"},
        {"Connect-Protocol-Version:", 400, "invalid_argument"},
        {"Connect-Timeout-Ms: 10000", 200, "requestId"},
        {"Connect-Timeout-Ms: 9999999999", 200, "requestId"},
        {"Connect-Timeout-Ms: 10000000000", 400, "invalid_argument"},
        {"Connect-Timeout-Ms: -1", 400, "invalid_argument"},
        {"Connect-Timeout-Ms: 1s", 400, "invalid_argument"},
        {"Connect-Timeout-Ms:", 400, "invalid_argument"},
        {"Connect-Timeout-Ms: 0", 504, "deadline_exceeded"},
        {"Connect-Timeout-Ms: 10\r\nConnect-Timeout-Ms: 10", 400, "invalid_argument"},
        {"Content-Type: application/proto", 400, "invalid_argument"},
        {"Content-Encoding: identity", 200, "requestId"},
        {"Content-Encoding: gzip", 400, "invalid_argument"}, /* "{}" is none */
        {"Content-Encoding: br", 501, "unimplemented"},
    };

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char request[512];

        snprintf(request, sizeof request, JSON_HEAD(GET_FEATURES) "%s\r\nContent-Length: 2\r\n\r\n{}", cases[i].header);
        send_and_expect(request, cases[i].status, cases[i].code);
    }
    assert_string_equal(response_header(&response, "Accept-Encoding"), "gzip, identity");
}

static void bad_json_is_an_invalid_argument_and_the_connection_stays(void **state)
{
    (void)state;
    static const char *const bodies[] = {"", "{", "[]", "{\"userId\":-1}", "{\"nope\":1}", "{\"itemIds\":7}", "\xff"};

    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        client_call(client, "GetFeatures", bodies[i], &response);
        assert_int_equal(response.status, 400);
        assert_contains(response.body, "{\"code\":\"invalid_argument\",\"message\":\"");
    }
}

static void bad_proto_is_an_invalid_argument(void **state)
{
    (void)state;
    send_and_expect("POST " GET_FEATURES
                    " HTTP/1.1\r\nHost: t\r\nContent-Type: application/proto\r\nContent-Length: 2\r\n\r\n\x12\x7f",
                    400, "invalid_argument");
}

static void a_chunked_body_is_the_same_body(void **state)
{
    (void)state;
    send_and_expect(
        JSON_HEAD(
            GET_FEATURES) "Transfer-Encoding: chunked\r\n\r\n5\r\n{\"use\r\n8;x\r\nrId\":\"5\"\r\n1\r\n}\r\n0\r\nT: v\r\n\r\n",
        200, "\"requestId\":\"5\"");
    send_and_expect(JSON_HEAD(GET_FEATURES) "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n", 200,
                    "\"requestId\":\"0\"");
}

static void bytes_one_by_one_are_the_same_request(void **state)
{
    (void)state;
    static const char request[] = JSON_HEAD(GET_FEATURES) "Content-Length: 14\r\n\r\n{\"userId\":\"8\"}";

    for (size_t i = 0; i < sizeof request - 1; i++)
        client_send_bytes(client, request + i, 1);
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
    assert_contains(response.body, "\"requestId\":\"8\"");
}

static void a_hundred_continue_comes_before_the_body_is_sent(void **state)
{
    (void)state;
    client_send(client, JSON_HEAD(GET_FEATURES) "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    client_receive(client, &response);
    assert_int_equal(response.status, 100);
    client_send(client, "{}");
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
}

static void a_refused_call_gets_no_hundred_continue(void **state)
{
    (void)state;
    client_send(client, JSON_HEAD("/nope") "Expect: 100-continue\r\nContent-Length: 2\r\n\r\n");
    client_receive(client, &response);
    assert_int_equal(response.status, 404);
    assert_string_equal(response_header(&response, "Connection"), "close");
    client_expect_end(client);
}

static void a_body_above_the_limit_names_it_and_closes(void **state)
{
    (void)state;
    client_send(client, JSON_HEAD(GET_FEATURES) "Content-Length: 65537\r\n\r\n");
    client_receive(client, &response);
    assert_int_equal(response.status, 429);
    assert_contains(response.body, "\"resource_exhausted\"");
    assert_contains(response.body, "65536 bytes");
    assert_string_equal(response_header(&response, "Connection"), "close");
    client_expect_end(client);
    assert_int_equal(toy_requests(&toy, "freshet.v1.FeatureService/GetFeatures", "resource_exhausted"), 1);
}

static void a_chunked_body_above_the_limit_closes_while_it_is_sent(void **state)
{
    (void)state;
    static char chunk[8192 + 8];

    memset(chunk, ' ', sizeof chunk);
    memcpy(chunk, "2000\r\n", 6);
    memcpy(chunk + 6 + 8192, "\r\n", 2);
    client_send(client, JSON_HEAD(GET_FEATURES) "Transfer-Encoding: chunked\r\n\r\n");
    for (int i = 0; i < 64; i++)
        client_send_bytes(client, chunk, sizeof chunk);
    client_receive(client, &response);
    assert_int_equal(response.status, 429);
    client_expect_end(client);
}

static void the_largest_body_that_fits_is_read(void **state)
{
    (void)state;
    static char json[(64 << 10) + 1];

    memset(json, ' ', sizeof json - 1);
    memcpy(json, "{}", 2);
    client_call(client, "GetFeatures", json, &response);
    assert_int_equal(response.status, 200);
}

static void a_slow_method_answers_from_the_pool(void **state)
{
    (void)state;
    struct client *other = client_open(server_api_address(toy.server));

    client_send(client, JSON_HEAD("/freshet.v1.FeatureService/Describe") "Content-Length: 2\r\n\r\n{}");
    toy_await_entered(&toy);
    for (int i = 0; i < 4; i++) { /* no loop waits for it */
        client_call(other, "GetFeatures", "{}", &response);
        assert_int_equal(response.status, 200);
    }
    toy_open_gate(&toy);
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
    assert_contains(response.body, "\"featureSets\":[]");
    client_close(other);
}

#define POSTPONED "{\"featureSet\":\"postponed\",\"userId\":\"7\",\"itemIds\":[\"1\",\"2\"]}"

static void a_call_that_postpones_itself_is_answered_from_a_pool_of_its_own(void **state)
{
    (void)state;
    struct client *others[2] = {client_open(server_api_address(toy.server)), client_open(server_api_address(toy.server))};

    for (int i = 0; i < 2; i++) { /* both threads for slow calls are taken */
        client_send(others[i], JSON_HEAD("/freshet.v1.FeatureService/Describe") "Content-Length: 2\r\n\r\n{}");
        toy_await_entered(&toy);
    }
    client_send(client, JSON_HEAD(GET_FEATURES) "Content-Length: 59\r\n\r\n" POSTPONED);
    toy_await_entered(&toy);
    struct client *last = client_open(server_api_address(toy.server));
    for (int i = 0; i < 4; i++) { /* the loop goes on, with an arena of its own */
        client_call(last, "GetFeatures", "{\"userId\":\"99\",\"itemIds\":[\"8\",\"9\",\"10\"]}", &response);
        assert_contains(response.body, "\"requestId\":\"99\"");
    }
    for (int i = 0; i < 3; i++)
        toy_open_gate(&toy);
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
    assert_contains(response.body, "\"requestId\":\"7\"");
    assert_contains(response.body, "\"itemValues\":[1,2]");
    for (int i = 0; i < 2; i++) {
        client_receive(others[i], &response);
        assert_int_equal(response.status, 200);
        client_close(others[i]);
    }
    client_close(last);
}

static void a_client_that_goes_leaves_its_postponed_call_to_run_out(void **state)
{
    (void)state;
    struct client *other = client_open(server_api_address(toy.server));

    client_send(other, JSON_HEAD(GET_FEATURES) "Content-Length: 59\r\n\r\n" POSTPONED);
    toy_await_entered(&toy);
    client_close(other);
    toy_open_gate(&toy);
    client_call(client, "GetFeatures", "{}", &response);
    assert_int_equal(response.status, 200);
}

static void requests_behind_a_slow_one_are_answered_after_it(void **state)
{
    (void)state;
    client_send(client, JSON_HEAD("/freshet.v1.FeatureService/Describe") "Content-Length: 2\r\n\r\n{}" JSON_HEAD(
                            GET_FEATURES) "Content-Length: 14\r\n\r\n{\"userId\":\"4\"}");
    toy_await_entered(&toy);
    toy_open_gate(&toy);
    client_receive(client, &response);
    assert_contains(response.body, "featureSets");
    client_receive(client, &response);
    assert_contains(response.body, "\"requestId\":\"4\"");
}

static void a_slow_calls_deadline_is_checked_when_its_turn_comes(void **state)
{
    (void)state;
    struct client *holders[2] = {client_open(server_api_address(toy.server)), client_open(server_api_address(toy.server))};

    for (int i = 0; i < 2; i++)
        client_send(holders[i], JSON_HEAD("/freshet.v1.FeatureService/Describe") "Content-Length: 2\r\n\r\n{}");
    for (int i = 0; i < 2; i++)
        toy_await_entered(&toy); /* both threads of the pool are taken */
    client_send(client,
                JSON_HEAD("/freshet.v1.FeatureService/Describe") "Connect-Timeout-Ms: 30\r\nContent-Length: 2\r\n\r\n{}");
    while (fr_queue_length(toy.server->pool.calls) == 0)
        continue;
    for (int64_t end = fr_clock_monotonic_ms() + 40; fr_clock_monotonic_ms() < end;)
        fr_clock_sleep_ms(end - fr_clock_monotonic_ms()); /* the deadline is what is waited for */
    toy_open_gate(&toy);
    toy_open_gate(&toy);
    client_receive(client, &response);
    assert_int_equal(response.status, 504);
    assert_contains(response.body, "deadline_exceeded");
    for (int i = 0; i < 2; i++) {
        client_receive(holders[i], &response);
        assert_int_equal(response.status, 200);
        client_close(holders[i]);
    }
}

static void a_client_that_goes_leaves_its_slow_call_to_run_out(void **state)
{
    (void)state;
    struct client *other = client_open(server_api_address(toy.server));

    client_send(other, JSON_HEAD("/freshet.v1.FeatureService/Describe") "Content-Length: 2\r\n\r\n{}");
    toy_await_entered(&toy);
    client_close(other);
    toy_open_gate(&toy);
    client_send(client, JSON_HEAD("/freshet.v1.FeatureService/Describe") "Content-Length: 2\r\n\r\n{}");
    toy_await_entered(&toy);
    toy_open_gate(&toy);
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
}

int main(void)
{
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(json_is_answered_in_json),
        WITH_SERVER(a_charset_of_utf8_may_be_said),
        WITH_SERVER(proto_is_answered_in_proto),
        WITH_SERVER(errors_have_the_status_of_their_code),
        WITH_SERVER(an_unknown_path_is_404_and_makes_no_label),
        WITH_SERVER(another_verb_is_405_with_allow),
        WITH_SERVER(an_unsupported_type_is_415_with_accept_post),
        WITH_SERVER(the_conventions_headers_are_checked),
        WITH_SERVER(bad_json_is_an_invalid_argument_and_the_connection_stays),
        WITH_SERVER(bad_proto_is_an_invalid_argument),
        WITH_SERVER(a_chunked_body_is_the_same_body),
        WITH_SERVER(bytes_one_by_one_are_the_same_request),
        WITH_SERVER(a_hundred_continue_comes_before_the_body_is_sent),
        WITH_SERVER(a_refused_call_gets_no_hundred_continue),
        WITH_SERVER(a_body_above_the_limit_names_it_and_closes),
        WITH_SERVER(a_chunked_body_above_the_limit_closes_while_it_is_sent),
        WITH_SERVER(the_largest_body_that_fits_is_read),
        WITH_SERVER(a_slow_method_answers_from_the_pool),
        WITH_SERVER(a_call_that_postpones_itself_is_answered_from_a_pool_of_its_own),
        WITH_SERVER(a_client_that_goes_leaves_its_postponed_call_to_run_out),
        WITH_SERVER(requests_behind_a_slow_one_are_answered_after_it),
        WITH_SERVER(a_slow_calls_deadline_is_checked_when_its_turn_comes),
        WITH_SERVER(a_client_that_goes_leaves_its_slow_call_to_run_out),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
