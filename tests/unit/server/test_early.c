/*
 * Calls that wait to be asked again, against real sockets.
 */
#include "client.h"

#include <freshet/clock.h>

#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>

#define GET_FEATURES "freshet.v1.FeatureService/GetFeatures"

static struct toy toy;
static struct client *client;
static struct response response;
static struct client *outlasting[2]; /* that see the server close */

static int set_up(void **state)
{
    struct server_limits limits;

    (void)state;
    toy_limits(&limits);
    limits.early_calls = 4;
    toy_start(&toy, &limits);
    client = client_open(server_api_address(toy.server));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    client_close(client);
    toy_stop(&toy);
    for (int i = 0; i < 2; i++) {
        if (outlasting[i])
            client_close(outlasting[i]);
        outlasting[i] = NULL;
    }
    return 0;
}

static void send_early(struct client *to, const char *set, int user, const char *more_head)
{
    char body[128], request[512];

    snprintf(body, sizeof body, "{\"featureSet\":\"%s\",\"userId\":\"%d\",\"itemIds\":[1,2]}", set, user);
    snprintf(request, sizeof request,
             "POST /" GET_FEATURES " HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n%s",
             more_head, strlen(body), body);
    client_send(to, request);
}

static double waiting(void)
{
    return fr_gauge_read(fr_metrics_gauge(toy.metrics, "freshet_calls_waiting", "loop=\"0\"", NULL)) +
           fr_gauge_read(fr_metrics_gauge(toy.metrics, "freshet_calls_waiting", "loop=\"1\"", NULL));
}

static void await_waiting(int count)
{
    int64_t end_ms = fr_clock_monotonic_ms() + 10000;

    while ((int)waiting() != count && fr_clock_monotonic_ms() < end_ms)
        fr_clock_sleep_ms(1);
    assert_int_equal((int)waiting(), count);
}

static void a_call_waits_on_its_loop_and_others_go_on(void **state)
{
    (void)state;
    struct client *others[2] = {client_open(server_api_address(toy.server)), client_open(server_api_address(toy.server))};

    send_early(client, "early", 7, "");
    toy_await_entered(&toy);
    await_waiting(1);
    for (int i = 0; i < 8; i++) { /* on both loops */
        client_call(others[i % 2], "GetFeatures", "{\"userId\":\"99\",\"itemIds\":[\"8\",\"9\",\"10\"]}", &response);
        assert_contains(response.body, "\"requestId\":\"99\"");
    }
    toy_open_gate(&toy);
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
    assert_contains(response.body, "\"requestId\":\"7\"");
    assert_contains(response.body, "\"itemValues\":[1,2]");
    await_waiting(0);
    client_call(client, "GetFeatures", "{\"userId\":\"8\"}", &response);
    assert_contains(response.body, "\"requestId\":\"8\"");
    client_close(others[0]);
    client_close(others[1]);
}

static void a_call_that_has_waited_may_go_to_the_pool(void **state)
{
    (void)state;
    send_early(client, "early, then postponed", 7, "");
    toy_await_entered(&toy);
    toy_open_gate(&toy);
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
    assert_contains(response.body, "\"requestId\":\"7\"");
}

static void requests_behind_one_that_waits_are_answered_after_it(void **state)
{
    (void)state;
    send_early(client, "early", 1, "");
    send_early(client, "early", 2, "");
    toy_await_entered(&toy);
    toy_open_gate(&toy);
    client_receive(client, &response);
    assert_contains(response.body, "\"requestId\":\"1\"");
    toy_await_entered(&toy);
    toy_open_gate(&toy);
    client_receive(client, &response);
    assert_contains(response.body, "\"requestId\":\"2\"");
}

static void a_call_says_itself_that_its_deadline_passed(void **state)
{
    (void)state;
    send_early(client, "early", 7, "Connect-Timeout-Ms: 20\r\n");
    client_receive(client, &response);
    assert_int_equal(response.status, 504);
    assert_contains(response.body, "no token came");
}

static void more_than_the_limit_are_refused(void **state)
{
    (void)state;
    struct client *others[4];

    for (int i = 0; i < 4; i++) {
        others[i] = client_open(server_api_address(toy.server));
        send_early(others[i], "early", i, "");
    }
    await_waiting(4);
    send_early(client, "early", 5, "");
    client_receive(client, &response);
    assert_int_equal(response.status, 429);
    assert_contains(response.body, "4 calls wait already");
    for (int i = 0; i < 4; i++)
        toy_open_gate(&toy);
    for (int i = 0; i < 4; i++) {
        client_receive(others[i], &response);
        assert_int_equal(response.status, 200);
        client_close(others[i]);
    }
}

static void a_client_that_resets_its_connection_ends_its_wait(void **state)
{
    (void)state;
    struct client *other = client_open(server_api_address(toy.server));
    struct linger at_once = {.l_onoff = 1};

    send_early(other, "early", 7, "");
    toy_await_entered(&toy);
    await_waiting(1); /* it enters before it waits */
    assert_int_equal(setsockopt(other->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once), 0);
    client_close(other);
    await_waiting(0);
    for (int i = 0; i < 10000 && toy_requests(&toy, GET_FEATURES, "canceled") == 0; i++) /* it is counted as it ends */
        fr_clock_sleep_ms(1);
    assert_int_equal(toy_requests(&toy, GET_FEATURES, "canceled"), 1);
}

static void *drain(void *user)
{
    (void)user;
    server_drain(toy.server, 10000);
    return NULL;
}

static void draining_ends_the_wait(void **state)
{
    (void)state;
    struct client *other = client_open(server_api_address(toy.server));
    pthread_t thread;

    send_early(other, "early", 7, "");
    toy_await_entered(&toy);
    assert_int_equal(pthread_create(&thread, NULL, drain, NULL), 0);
    client_receive(other, &response);
    assert_int_equal(response.status, 503);
    assert_contains(response.body, "the server is stopping");
    client_close(other);
    pthread_join(thread, NULL);
}

static void closing_forgets_who_waits(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        outlasting[i] = client_open(server_api_address(toy.server));
        send_early(outlasting[i], "early", i, "");
        toy_await_entered(&toy);
    }
    client_shut(outlasting[0]); /* the sanitizer tells what is left behind */
}

int main(void)
{
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(a_call_waits_on_its_loop_and_others_go_on),
        WITH_SERVER(a_call_that_has_waited_may_go_to_the_pool),
        WITH_SERVER(requests_behind_one_that_waits_are_answered_after_it),
        WITH_SERVER(a_call_says_itself_that_its_deadline_passed),
        WITH_SERVER(more_than_the_limit_are_refused),
        WITH_SERVER(a_client_that_resets_its_connection_ends_its_wait),
        WITH_SERVER(draining_ends_the_wait),
        WITH_SERVER(closing_forgets_who_waits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
