/*
 * Connections that get old.
 */
#include "client2.h"

#include <stdio.h>

static struct toy toy;
static struct response response;

static void that_age(struct toy *made, struct server_options *options)
{
    (void)made;
    options->limits.age_ms = 300;
    options->limits.grace_ms = 300;
}

static int set_up(void **state)
{
    (void)state;
    toy_start_changed(&toy, that_age);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    toy_stop(&toy);
    return 0;
}

static uint64_t aged(void)
{
    return fr_counter_read(fr_metrics_counter(toy.metrics, "freshet_connections_aged_total", NULL, ""));
}

static void an_idle_connection_ends_at_its_age(void **state)
{
    (void)state;
    struct client *client = client_open(server_api_address(toy.server));

    client_call(client, "GetFeatures", "{}", &response);
    assert_int_equal(response.status, 200);
    assert_null(response_header(&response, "Connection"));
    client_expect_end(client);
    assert_int_equal(aged(), 1);
    client_close(client);
}

static void a_reply_that_comes_after_the_age_closes(void **state)
{
    (void)state;
    struct client *client = client_open(server_api_address(toy.server));
    struct client *other = client_open(server_api_address(toy.server));

    client_send(client, "POST /freshet.v1.FeatureService/Describe HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
                        "Content-Length: 2\r\n\r\n{}");
    toy_await_entered(&toy);
    client_expect_end(other); /* came later: when it has aged, the first has, or will in a moment */
    client_close(other);
    while (aged() < 2)
        continue;
    toy_open_gate(&toy);
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
    assert_string_equal(response_header(&response, "Connection"), "close");
    client_expect_end(client);
    client_close(client);
}

static void http2_is_told_to_go_away_and_its_streams_end_after_the_grace(void **state)
{
    (void)state;
    struct client2 *client = client2_open(server_api_address(toy.server));
    /* interval_ms = UINT32_MAX: a stream that says nothing, for ever. */
    struct client2_reply *reply = client2_begin(
        client,
        ":method: POST\n:path: /freshet.v1.FeatureService/WatchFeatures\ncontent-type: application/grpc\nte: trailers\n",
        fr_slice("\0\0\0\0\6\x18\xff\xff\xff\xff\x0f", 11), true);

    client2_await_reply(client, reply);
    assert_string_equal(client2_field(reply, "grpc-status"), "14");
    assert_contains(client2_field(reply, "grpc-message"), "age");
    client2_await_end(client);
    assert_true(client->goaways >= 1);
    assert_int_equal(client->goaway_error, 0);
    client2_close(client);
}

static void an_idle_http2_connection_ends_at_its_age(void **state)
{
    (void)state;
    struct client2 *client = client2_open(server_api_address(toy.server));
    struct client2_reply *reply =
        client2_post(client, "/freshet.v1.FeatureService/GetFeatures", "application/json", fr_slice_of("{}"));

    assert_int_equal(reply->status, 200);
    client2_await_end(client);
    assert_true(client->goaways >= 1);
    assert_int_equal(client->goaway_error, 0);
    client2_close(client);
}

int main(void)
{
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(an_idle_connection_ends_at_its_age),
        WITH_SERVER(a_reply_that_comes_after_the_age_closes),
        WITH_SERVER(http2_is_told_to_go_away_and_its_streams_end_after_the_grace),
        WITH_SERVER(an_idle_http2_connection_ends_at_its_age),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
