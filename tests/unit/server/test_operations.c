/*
 * The operations port: pages.
 */
#include "client.h"

#include <freshet/clock.h>

#include <stdio.h>
#include <unistd.h>

static struct toy toy;
static struct client *client;
static struct response response;

static int set_up(void **state)
{
    (void)state;
    toy_start(&toy, NULL);
    client = client_open(server_operations_address(toy.server));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    client_close(client);
    toy_stop(&toy);
    return 0;
}

static void ask(const char *verb, const char *target, const char *host)
{
    char request[512];

    snprintf(request, sizeof request, "%s %s HTTP/1.1\r\nHost: %s\r\n\r\n", verb, target, host);
    client_send(client, request);
    if (strcmp(verb, "HEAD") == 0)
        client_receive_head(client, &response);
    else
        client_receive(client, &response);
}

static void a_page_is_found_by_its_path_whatever_the_query(void **state)
{
    (void)state;
    ask("GET", "/status?pretty=1", "localhost");
    assert_int_equal(response.status, 200);
    assert_string_equal(response.body, "{\"ready\":true}");
    assert_string_equal(response_header(&response, "Content-Type"), "application/json");
    assert_string_equal(response_header(&response, "X-Content-Type-Options"), "nosniff");
    assert_string_equal(response_header(&response, "Cache-Control"), "no-store");
}

static void a_page_may_choose_its_status(void **state)
{
    (void)state;
    ask("GET", "/teapot", "localhost");
    assert_int_equal(response.status, 503);
    assert_string_equal(response.body, "not ready\n");
    assert_string_equal(response_header(&response, "Content-Type"), "text/plain; charset=utf-8");
}

static void head_gives_the_length_and_no_body(void **state)
{
    (void)state;
    ask("HEAD", "/status", "localhost");
    assert_int_equal(response.status, 200);
    assert_string_equal(response_header(&response, "Content-Length"), "14");
    ask("GET", "/status", "localhost"); /* the next reply begins right after the head */
    assert_int_equal(response.status, 200);
}

static void other_paths_are_404(void **state)
{
    (void)state;
    static const char *const paths[] = {"/",      "/Status",  "/status/",
                                        "/statu", "//status", "/freshet.v1.FeatureService/GetFeatures"};

    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        ask("GET", paths[i], "localhost");
        assert_int_equal(response.status, 404);
    }
}

static void other_verbs_are_405_with_allow(void **state)
{
    (void)state;
    static const char *const verbs[] = {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE"};

    for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++) {
        ask(verbs[i], "/status", "localhost");
        assert_int_equal(response.status, 405);
        assert_string_equal(response_header(&response, "Allow"), "GET, HEAD");
    }
}

static void an_unknown_verb_is_501_and_closes(void **state)
{
    (void)state;
    ask("BREW", "/status", "localhost");
    assert_int_equal(response.status, 501);
    client_expect_end(client);
    assert_int_equal(toy_http_errors(&toy, "method"), 1);
}

static void on_loopback_only_this_machines_names_are_known(void **state)
{
    (void)state;
    static const char *const known[] = {"localhost",   "LocalHost:7071", "127.0.0.1", "127.0.0.1:7071",
                                        "127.8.8.8:1", "[::1]",          "[::1]:7071"};
    static const char *const unknown[] = {"evil.example",
                                          "evil.example:7071",
                                          "localhost.evil.example",
                                          "127.0.0.1.evil.example",
                                          "127.0.0.256",
                                          "10.0.0.1",
                                          "[::2]:7071",
                                          "",
                                          "127.0.0.1x:7071"};

    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        ask("GET", "/status", known[i]);
        assert_int_equal(response.status, 200);
    }
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++) {
        ask("GET", "/status", unknown[i]);
        if (response.status != 421)
            fail_msg("%d for Host '%s'", response.status, unknown[i]);
    }
}

static bool is_known_elsewhere(const char *host, const char *const *hosts, int host_count)
{
    return server__page_host_is_known(fr_slice_of(host), true, false, hosts, host_count);
}

static void elsewhere_addresses_and_listed_names_are_known(void **state)
{
    (void)state;
    static const char *const hosts[] = {"freshet", "node.example"};
    static const char *const unknown[] = {
        "evil.example",   "evil.example:7071", "node.example.evil.example", "10.0.0.1.evil.example", "", "[",
        "[evil.example]", "10.0.0.256"};

    assert_true(is_known_elsewhere("10.0.0.1:7071", NULL, 0));
    assert_true(is_known_elsewhere("[fe80::1]:7071", NULL, 0));
    assert_true(is_known_elsewhere("localhost:7071", NULL, 0));
    assert_false(is_known_elsewhere("freshet:7071", NULL, 0));
    assert_true(is_known_elsewhere("freshet:7071", hosts, 2));
    assert_true(is_known_elsewhere("Node.Example", hosts, 2));
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        if (is_known_elsewhere(unknown[i], hosts, 2))
            fail_msg("Host '%s' is known", unknown[i]);
    assert_true(server__page_host_is_known(fr_slice_of("freshet:7071"), true, true, hosts, 1));
    assert_true(server__page_host_is_known(fr_slice(NULL, 0), false, true, NULL, 0));
}

static void http_1_0_is_answered_and_closed(void **state)
{
    (void)state;
    client_send(client, "GET /status HTTP/1.0\r\n\r\n");
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
    assert_string_equal(response_header(&response, "Connection"), "close");
    client_expect_end(client);
}

static void a_body_is_read_past(void **state)
{
    (void)state;
    client_send(client, "GET /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello");
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
    client_send(client, "GET /status HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
    client_send(client, "POST /status HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n");
    client_receive(client, &response);
    assert_int_equal(response.status, 413);
    client_expect_end(client);
}

static void a_door_answers_as_its_method_does(void **state)
{
    (void)state;
    ask("GET", "/door?user=7", "localhost");
    assert_int_equal(response.status, 200);
    assert_contains(response.body, "\"requestId\":\"7\"");
    assert_string_equal(response_header(&response, "Content-Type"), "application/json");
    assert_contains(response_header(&response, "Content-Security-Policy"), "default-src 'none'");
    ask("HEAD", "/door?user=7", "localhost");
    assert_int_equal(response.status, 200);
    client_send(client, "GET /door?user=8 HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello");
    client_receive(client, &response);
    assert_contains(response.body, "\"requestId\":\"8\"");
    assert_int_equal(toy_requests(&toy, "freshet.v1.FeatureService/GetFeatures", "ok"), 3);
}

static void a_door_that_is_asked_nonsense_says_so(void **state)
{
    (void)state;
    ask("GET", "/door", "localhost");
    assert_int_equal(response.status, 400);
    assert_string_equal(response.body, "{\"code\":\"invalid_argument\",\"message\":\"no user\"}");
    ask("GET", "/door?user=7&set=unavailable", "localhost");
    assert_int_equal(response.status, 503);
    ask("GET", "/door?user=7", "evil.example");
    assert_int_equal(response.status, 421);
    ask("POST", "/door?user=7", "localhost");
    assert_int_equal(response.status, 405);
    ask("GET", "/status", "localhost"); /* the connection goes on */
    assert_int_equal(response.status, 200);
}

static void what_a_door_postpones_runs_on_a_pool_and_pages_go_on(void **state)
{
    (void)state;
    struct client *other = client_open(server_operations_address(toy.server));

    client_send(client, "GET /door?user=7&set=postponed HTTP/1.1\r\nHost: localhost\r\n\r\n");
    toy_await_entered(&toy);
    client_send(other, "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_receive(other, &response);
    assert_int_equal(response.status, 200);
    toy_open_gate(&toy);
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
    client_close(other);
}

static void who_hangs_up_at_a_door_leaves_nothing_behind(void **state)
{
    (void)state;
    struct client *other = client_open(server_operations_address(toy.server));

    client_send(other, "GET /door?user=7&set=postponed HTTP/1.1\r\nHost: localhost\r\n\r\n");
    toy_await_entered(&toy);
    client_close(other);
    toy_open_gate(&toy);
    ask("GET", "/status", "localhost");
    assert_int_equal(response.status, 200);
}

static void the_operations_loop_ticks(void **state)
{
    (void)state;
    for (int64_t end = fr_clock_monotonic_ms() + 10000; atomic_load(&toy.ticks) < 2; usleep(1000))
        assert_true(fr_clock_monotonic_ms() < end);
}

static void assert_found(const char *query, const char *name, const char *wanted)
{
    struct fr_buffer value;

    fr_buffer_init(&value);
    assert_int_equal(server_query_find(fr_slice_of(query), name, &value), wanted != NULL);
    fr_buffer_append_byte(&value, 0);
    assert_string_equal((const char *)value.bytes, wanted ? wanted : "");
    fr_buffer_fini(&value);
}

static void a_query_is_read_as_forms_write_it(void **state)
{
    (void)state;
    assert_found("a=1&b=two", "b", "two");
    assert_found("ab=1&b=2", "b", "2");
    assert_found("b=1&b=2", "b", "1");
    assert_found("b=&a=1", "b", "");
    assert_found("b=x%20y+z%2Fq%C3%a9", "b", "x y z/q\xc3\xa9");
    assert_found("b=%4&c=%zz%", "b", "%4");
    assert_found("b=%4&c=%zz%", "c", "%zz%");
    assert_found("b", "b", NULL);
    assert_found("a=b=3", "b", NULL);
    assert_found("", "b", NULL);
    assert_found("&&b=1&", "b", "1");
}

int main(void)
{
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(a_page_is_found_by_its_path_whatever_the_query),
        WITH_SERVER(a_page_may_choose_its_status),
        WITH_SERVER(head_gives_the_length_and_no_body),
        WITH_SERVER(other_paths_are_404),
        WITH_SERVER(other_verbs_are_405_with_allow),
        WITH_SERVER(an_unknown_verb_is_501_and_closes),
        WITH_SERVER(on_loopback_only_this_machines_names_are_known),
        cmocka_unit_test(elsewhere_addresses_and_listed_names_are_known),
        WITH_SERVER(http_1_0_is_answered_and_closed),
        WITH_SERVER(a_body_is_read_past),
        WITH_SERVER(a_door_answers_as_its_method_does),
        WITH_SERVER(a_door_that_is_asked_nonsense_says_so),
        WITH_SERVER(what_a_door_postpones_runs_on_a_pool_and_pages_go_on),
        WITH_SERVER(who_hangs_up_at_a_door_leaves_nothing_behind),
        WITH_SERVER(the_operations_loop_ticks),
        cmocka_unit_test(a_query_is_read_as_forms_write_it),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
