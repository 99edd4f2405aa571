/*
 * Connections: keep-alive, pipelining, time, limits, and the end of a server.
 */
#include "client.h"

#include <freshet/clock.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define CALL(name, json_bytes, json)                                                                                           \
    "POST /freshet.v1.FeatureService/" name                                                                                    \
    " HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: " json_bytes "\r\n\r\n" json

static struct toy toy;
static struct response response;

static struct client *open_api(void)
{
    return client_open(server_api_address(toy.server));
}

static void start_impatient(void)
{
    struct server_limits limits;

    toy_limits(&limits);
    limits.header_ms = limits.body_ms = limits.idle_ms = 100;
    toy_start(&toy, &limits);
}

static void await_counter(uint64_t (*read)(struct toy *, const char *), const char *reason, uint64_t least)
{
    for (int64_t end = fr_clock_monotonic_ms() + 10000; read(&toy, reason) < least;) {
        assert_true(fr_clock_monotonic_ms() < end);
        fr_clock_sleep_ms(1);
    }
}

static uint64_t connections(struct toy *of, const char *unused)
{
    static const char *const labels[] = {"loop=\"0\"", "loop=\"1\""};
    double total = 0;

    (void)unused;
    for (int i = 0; i < 2; i++)
        total += fr_gauge_read(fr_metrics_gauge(of->metrics, "freshet_connections", labels[i], ""));
    return (uint64_t)total;
}

static uint64_t refused(struct toy *of, const char *reason)
{
    char labels[64];

    snprintf(labels, sizeof labels, "reason=\"%s\"", reason);
    return fr_counter_read(fr_metrics_counter(of->metrics, "freshet_connections_refused_total", labels, ""));
}

static void a_connection_serves_many_requests(void **state)
{
    (void)state;
    toy_start(&toy, NULL);
    struct client *client = open_api();

    for (int i = 0; i < 200; i++) {
        client_call(client, "GetFeatures", "{}", &response);
        assert_int_equal(response.status, 200);
    }
    assert_int_equal(connections(&toy, ""), 1);
    client_close(client);
    toy_stop(&toy);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
    (void)state;
    enum { REQUESTS = 500 };
    static char requests[REQUESTS * 256];
    size_t length = 0;

    toy_start(&toy, NULL);
    struct client *client = open_api();

    for (int i = 0; i < REQUESTS; i++)
        length += (size_t)snprintf(requests + length, sizeof requests - length,
                                   CALL("GetFeatures", "19", "{\"userId\":\"%06d\"}"), 100000 + i);
    client_send_bytes(client, requests, length);
    for (int i = 0; i < REQUESTS; i++) {
        char expected[64];

        snprintf(expected, sizeof expected, "\"requestId\":\"%d\"", 100000 + i);
        client_receive(client, &response);
        assert_contains(response.body, expected);
    }
    client_close(client);
    toy_stop(&toy);
}

/*
 * The socket of a reader that makes room at the worst moment (linked with --wrap=sendmsg): it is full until the server holds so much that it
 * begins no further request, says once more that it is full, and takes all of the next flush.
 */
static atomic_int room; /* one of these */
enum { ROOM_ENOUGH, ROOM_NONE, ROOM_SOON };
static atomic_size_t flushed_bytes; /* what that flush had */

ssize_t __real_sendmsg(int fd, const struct msghdr *message, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags);

static ssize_t send_whole(int fd, const struct iovec *piece)
{
    for (size_t at = 0; at < piece->iov_len;) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
        ssize_t sent = send(fd, (const char *)piece->iov_base + at, piece->iov_len - at, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0 && poll(&poll_fd, 1, 10000) != 1)
            return -1;
        at += sent > 0 ? (size_t)sent : 0;
    }
    return (ssize_t)piece->iov_len;
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *message, int flags)
{
    int now = atomic_load(&room);

    if (now == ROOM_ENOUGH)
        return __real_sendmsg(fd, message, flags);
    if (message->msg_iovlen == 1 && message->msg_iov->iov_len > SERVER_UNSENT_BYTES) {
        atomic_store(&room, now == ROOM_NONE ? ROOM_SOON : ROOM_ENOUGH);
        atomic_store(&flushed_bytes, message->msg_iov->iov_len);
        if (now == ROOM_SOON)
            return send_whole(fd, message->msg_iov);
    }
    errno = EAGAIN;
    return -1;
}

enum { LONG_PAGE_BYTES = 4000 };

static void render_long(void *user, struct fr_buffer *body, const char **content_type, int *status)
{
    (void)user;
    (void)content_type;
    (void)status;
    for (int i = 0; i < LONG_PAGE_BYTES; i++)
        fr_buffer_append_byte(body, 'x');
}

static void lengthen_status(struct toy *of, struct server_options *options)
{
    (void)options;
    of->pages[0].render = render_long;
}

static void a_pipeline_goes_on_when_room_comes_between_two_flushes(void **state)
{
    (void)state;
    enum { REQUESTS = 60 };
    static const char request[] = "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n";
    static char requests[REQUESTS * sizeof request];

    for (int i = 0; i < REQUESTS; i++)
        strcat(requests, request);
    toy_start_changed(&toy, lengthen_status);
    struct client *client = client_open(server_operations_address(toy.server));

    atomic_store(&room, ROOM_NONE);
    client_send(client, requests); /* less than one read takes, and the replies are more than are kept */
    for (int i = 0; i < REQUESTS; i++) {
        client_receive(client, &response);
        assert_int_equal(response.status, 200);
        assert_int_equal(response.body_length, LONG_PAGE_BYTES);
    }
    assert_int_equal(atomic_load(&room), ROOM_ENOUGH);
    assert_in_range(atomic_load(&flushed_bytes), SERVER_UNSENT_BYTES + 1,
                    (REQUESTS - 1) * LONG_PAGE_BYTES); /* some were not begun */
    client_close(client);
    toy_stop(&toy);
}

/* False when the server takes nothing for a while. */
static bool send_patiently(struct client *client, const char *bytes, size_t length)
{
    while (length > 0) {
        struct pollfd poll_fd = {.fd = client->fd, .events = POLLOUT};
        ssize_t sent = send(client->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (sent < 0 && poll(&poll_fd, 1, 200) == 0)
            return false;
        bytes += sent > 0 ? sent : 0;
        length -= sent > 0 ? (size_t)sent : 0;
    }
    return true;
}

/* 64 MB of replies for a client that doesn't read: the server stops reading too, instead of keeping them. */
static void a_client_that_does_not_read_is_not_read_from(void **state)
{
    (void)state;
    enum { IDS = 8000, REQUESTS = 4000 };
    static char json[IDS * 2 + 32];
    char head[256];
    int length = snprintf(json, sizeof json, "{\"itemIds\":[0");
    int sent = 0;
    uint64_t answered;

    toy_start(&toy, NULL);
    struct client *client = open_api();

    for (int i = 1; i < IDS; i++)
        length += snprintf(json + length, sizeof json - (size_t)length, ",0");
    length += snprintf(json + length, sizeof json - (size_t)length, "]}");
    snprintf(head, sizeof head, CALL("GetFeatures", "%d", ""), length);
    while (sent < REQUESTS && send_patiently(client, head, strlen(head)) && send_patiently(client, json, (size_t)length))
        sent++;
    assert_true(sent < REQUESTS);
    answered = toy_requests(&toy, "freshet.v1.FeatureService/GetFeatures", "ok");
    assert_in_range(answered, 1, REQUESTS / 2);
    for (uint64_t i = 0; i < answered; i++) {
        client_receive(client, &response);
        assert_int_equal(response.status, 200);
    }
    client_close(client);
    toy_stop(&toy);
}

static void a_client_that_shuts_its_side_still_gets_its_answers(void **state)
{
    (void)state;
    toy_start(&toy, NULL);
    struct client *client = open_api();

    client_send(client, CALL("Describe", "2", "{}") CALL("GetFeatures", "2", "{}"));
    client_shut(client);
    toy_await_entered(&toy);
    toy_open_gate(&toy);
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
    client_expect_end(client);
    client_close(client);
    toy_stop(&toy);
}

static void what_is_not_http_is_closed_without_a_word(void **state)
{
    (void)state;
    toy_start(&toy, NULL);
    struct client *client = open_api();

    client_send(client, "\x16\x03\x01\x02\x00\x01");
    client_expect_end(client);
    assert_int_equal(toy_http_errors(&toy, "not_http"), 1);
    client_close(client);
    toy_stop(&toy);
}

static void a_framing_error_is_answered_and_closes(void **state)
{
    (void)state;
    toy_start(&toy, NULL);
    struct client *client = open_api();

    client_send(client, CALL("GetFeatures", "2", "{}") "POST / HTTP/1.1\r\nHost : t\r\n\r\n" CALL("GetFeatures", "2", "{}"));
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
    client_receive(client, &response);
    assert_int_equal(response.status, 400);
    assert_contains(response.body, "{\"code\":\"invalid_argument\",\"message\":\"malformed header field\"}");
    assert_string_equal(response_header(&response, "Connection"), "close");
    client_expect_end(client);
    assert_int_equal(toy_http_errors(&toy, "header"), 1);
    client_close(client);
    toy_stop(&toy);
}

static void a_silent_connection_ends(void **state)
{
    (void)state;
    start_impatient();
    struct client *client = open_api();

    client_expect_end(client);
    client_close(client);
    toy_stop(&toy);
}

static void an_idle_connection_ends(void **state)
{
    (void)state;
    start_impatient();
    struct client *client = open_api();

    client_call(client, "GetFeatures", "{}", &response);
    assert_int_equal(response.status, 200);
    client_expect_end(client);
    client_close(client);
    toy_stop(&toy);
}

static void a_head_that_drips_is_408(void **state)
{
    (void)state;
    start_impatient();
    struct client *client = open_api();

    client_send(client, "POST /x HTTP/1.1\r\n");
    for (int i = 0; i < 3; i++) { /* more bytes don't buy more time */
        client_send(client, "X: y\r\n");
        fr_clock_sleep_ms(10);
    }
    client_receive(client, &response);
    assert_int_equal(response.status, 408);
    client_expect_end(client);
    assert_int_equal(toy_http_errors(&toy, "slow"), 1);
    client_close(client);
    toy_stop(&toy);
}

static void a_body_that_drips_is_408(void **state)
{
    (void)state;
    start_impatient();
    struct client *client = open_api();

    client_send(client, CALL("GetFeatures", "9", "{"));
    client_receive(client, &response);
    assert_int_equal(response.status, 408);
    client_expect_end(client);
    client_close(client);
    toy_stop(&toy);
}

static void a_slow_call_is_not_cut_by_the_clients_limits(void **state)
{
    (void)state;
    start_impatient();
    struct client *client = open_api();

    client_send(client, CALL("Describe", "2", "{}"));
    toy_await_entered(&toy);
    fr_clock_sleep_ms(250);
    toy_open_gate(&toy);
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
    client_close(client);
    toy_stop(&toy);
}

static void a_client_that_takes_no_reply_is_cut(void **state)
{
    (void)state;
    static char json[32000];
    char head[256];
    int length = snprintf(json, sizeof json, "{\"itemIds\":[0");

    start_impatient();
    struct client *client = open_api();

    while (length < 31000)
        length += snprintf(json + length, sizeof json - (size_t)length, ",0");
    length += snprintf(json + length, sizeof json - (size_t)length, "]}");
    snprintf(head, sizeof head, CALL("GetFeatures", "%d", ""), length);
    for (int i = 0; i < 100000 && toy_http_errors(&toy, "slow_reader") == 0; i++) {
        if (send(client->fd, head, strlen(head), MSG_NOSIGNAL) < 0 || send(client->fd, json, (size_t)length, MSG_NOSIGNAL) < 0)
            break;
    }
    await_counter(toy_http_errors, "slow_reader", 1);
    client_close(client);
    toy_stop(&toy);
}

static void more_slow_calls_than_allowed_are_refused_at_once(void **state)
{
    (void)state;
    enum { SLOW = 3 };
    struct server_limits limits;
    struct client *clients[SLOW];

    toy_limits(&limits);
    limits.slow_calls = SLOW;
    toy_start(&toy, &limits);
    for (int i = 0; i < SLOW; i++) {
        clients[i] = open_api();
        client_send(clients[i], CALL("Describe", "2", "{}"));
    }
    while (atomic_load(&toy.server->pool.taken) < SLOW)
        fr_clock_sleep_ms(1);

    struct client *client = open_api();

    client_call(client, "Describe", "{}", &response);
    assert_int_equal(response.status, 429);
    assert_string_equal(response_header(&response, "Retry-After"), "1");
    assert_contains(response.body, "resource_exhausted");
    for (int i = 0; i < SLOW; i++)
        toy_open_gate(&toy);
    for (int i = 0; i < SLOW; i++) {
        client_receive(clients[i], &response);
        assert_int_equal(response.status, 200);
        client_close(clients[i]);
    }
    client_close(client);
    toy_stop(&toy);
}

static void above_the_limit_of_connections_is_503(void **state)
{
    (void)state;
    struct server_limits limits;

    toy_limits(&limits);
    limits.connections = 2;
    toy_start(&toy, &limits);
    struct client *first = open_api();
    struct client *second = open_api();
    struct client *third = open_api();

    client_receive(third, &response);
    assert_int_equal(response.status, 503);
    client_expect_end(third);
    client_call(first, "GetFeatures", "{}", &response);
    client_call(second, "GetFeatures", "{}", &response);
    assert_int_equal(response.status, 200);
    assert_int_equal(refused(&toy, "limit"), 1);

    struct client *operations = client_open(server_operations_address(toy.server)); /* has a limit of its own */

    client_send(operations, "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_receive(operations, &response);
    assert_int_equal(response.status, 200);
    client_close(operations);
    client_close(first);
    client_close(second);
    client_close(third);
    toy_stop(&toy);
}

static void five_hundred_connections_are_served_by_both_loops(void **state)
{
    (void)state;
    enum { CLIENTS = 500 };
    static struct client *clients[CLIENTS];

    toy_start(&toy, NULL);
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = open_api();
        client_send(clients[i], CALL("GetFeatures", "2", "{}"));
    }
    for (int i = 0; i < CLIENTS; i++) {
        client_receive(clients[i], &response);
        assert_int_equal(response.status, 200);
    }
    assert_int_equal(connections(&toy, ""), CLIENTS);
    assert_int_equal(fr_gauge_read(fr_metrics_gauge(toy.metrics, "freshet_connections", "loop=\"0\"", "")), CLIENTS / 2);
    for (int i = 0; i < CLIENTS; i++)
        client_close(clients[i]);
    toy_stop(&toy);
}

static void without_descriptors_accepting_waits_for_them(void **state)
{
    (void)state;
    struct rlimit before, low;
    int next;

    toy_start(&toy, NULL);
    struct client *client = open_api();
    struct client *late = malloc(sizeof *late);

    assert_non_null(late);
    client_call(client, "GetFeatures", "{}", &response);
    late->length = 0;
    late->fd = socket(AF_INET, SOCK_STREAM, 0);
    getrlimit(RLIMIT_NOFILE, &before);
    next = dup(0);
    close(next);
    low = before;
    low.rlim_cur = (rlim_t)next; /* the next descriptor is one too many */
    setrlimit(RLIMIT_NOFILE, &low);

    struct sockaddr_storage address;
    socklen_t length = sizeof address;

    getpeername(client->fd, (struct sockaddr *)&address, &length);
    assert_int_equal(connect(late->fd, (struct sockaddr *)&address, length), 0);
    await_counter(refused, "files", 1);
    setrlimit(RLIMIT_NOFILE, &before);
    client_call(late, "GetFeatures", "{}", &response);
    assert_int_equal(response.status, 200);
    assert_true(refused(&toy, "files") < 20); /* it did not spin */
    client_close(late);
    client_close(client);
    toy_stop(&toy);
}

static void *drain(void *user)
{
    (void)user;
    server_drain(toy.server, 10000);
    return NULL;
}

static void draining_ends_idle_connections_and_lets_calls_finish(void **state)
{
    (void)state;
    pthread_t thread;

    toy_start(&toy, NULL);
    struct client *idle = open_api();
    struct client *fresh = open_api();
    struct client *busy = open_api();
    struct client *half = open_api();

    client_call(idle, "GetFeatures", "{}", &response);
    client_send(half, CALL("GetFeatures", "9", "{"));
    client_send(busy, CALL("Describe", "2", "{}"));
    toy_await_entered(&toy);
    while (connections(&toy, "") < 4)
        fr_clock_sleep_ms(1);
    assert_int_equal(pthread_create(&thread, NULL, drain, NULL), 0);
    client_expect_end(idle);
    client_expect_end(fresh);
    client_send(half, "       }");
    client_receive(half, &response);
    assert_int_equal(response.status, 200);
    toy_open_gate(&toy);
    client_receive(busy, &response);
    assert_int_equal(response.status, 200);
    assert_string_equal(response_header(&response, "Connection"), "close");
    client_expect_end(busy);
    client_close(busy);
    client_close(half);
    pthread_join(thread, NULL);
    assert_int_equal(connections(&toy, ""), 0);

    struct client *operations = client_open(server_operations_address(toy.server)); /* still tells how it is */

    client_send(operations, "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_receive(operations, &response);
    assert_int_equal(response.status, 200);
    client_close(operations);
    client_close(idle);
    client_close(fresh);
    toy_stop(&toy);
}

static void draining_gives_up_at_its_deadline(void **state)
{
    (void)state;
    int64_t begin_ms, span_ms;

    toy_start(&toy, NULL);
    struct client *busy = open_api();

    client_send(busy, CALL("Describe", "2", "{}"));
    toy_await_entered(&toy);
    begin_ms = fr_clock_monotonic_ms();
    server_drain(toy.server, 50);
    span_ms = fr_clock_monotonic_ms() - begin_ms;
    assert_true(span_ms >= 49 && span_ms < 5000);
    toy_open_gate(&toy);
    client_close(busy);
    toy_stop(&toy);
}

static void closing_cuts_what_is_open(void **state)
{
    (void)state;
    toy_start(&toy, NULL);
    struct client *idle = open_api();
    struct client *busy = open_api();

    client_call(idle, "GetFeatures", "{}", &response);
    client_send(busy, CALL("Describe", "2", "{}"));
    toy_await_entered(&toy);
    toy_open_gate(&toy); /* a handler that never returns would keep close waiting: that is its fault */
    toy_stop(&toy);
    client_close(idle);
    client_close(busy);
}

static void a_server_that_never_started_closes(void **state)
{
    (void)state;
    struct server_options options = {.listen = "127.0.0.1:0", .operations = "", .loops = 1, .metrics = fr_metrics_new()};
    struct server *server;
    struct fr_err err;

    server_limits_default(&options.limits);
    assert_true(server_open(&options, &server, &err));
    assert_string_equal(server_operations_address(server), "");
    server_drain(server, 1000);
    server_close(server);
    server_close(NULL);
    fr_metrics_free(options.metrics);
}

static void a_busy_port_is_a_bad_configuration(void **state)
{
    (void)state;
    struct server_options options = {.loops = 1, .listen = "", .metrics = fr_metrics_new()};
    struct server *server;
    struct fr_err err;

    toy_start(&toy, NULL);
    options.operations = server_api_address(toy.server);
    server_limits_default(&options.limits);
    assert_false(server_open(&options, &server, &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
    assert_contains(err.message, "address in use by another process; stop it or change server.operations");
    fr_metrics_free(options.metrics);
    toy_stop(&toy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_connection_serves_many_requests),
        cmocka_unit_test(pipelined_requests_are_answered_in_order),
        cmocka_unit_test(a_pipeline_goes_on_when_room_comes_between_two_flushes),
        cmocka_unit_test(a_client_that_does_not_read_is_not_read_from),
        cmocka_unit_test(a_client_that_shuts_its_side_still_gets_its_answers),
        cmocka_unit_test(what_is_not_http_is_closed_without_a_word),
        cmocka_unit_test(a_framing_error_is_answered_and_closes),
        cmocka_unit_test(a_silent_connection_ends),
        cmocka_unit_test(an_idle_connection_ends),
        cmocka_unit_test(a_head_that_drips_is_408),
        cmocka_unit_test(a_body_that_drips_is_408),
        cmocka_unit_test(a_slow_call_is_not_cut_by_the_clients_limits),
        cmocka_unit_test(a_client_that_takes_no_reply_is_cut),
        cmocka_unit_test(more_slow_calls_than_allowed_are_refused_at_once),
        cmocka_unit_test(above_the_limit_of_connections_is_503),
        cmocka_unit_test(five_hundred_connections_are_served_by_both_loops),
        cmocka_unit_test(without_descriptors_accepting_waits_for_them),
        cmocka_unit_test(draining_ends_idle_connections_and_lets_calls_finish),
        cmocka_unit_test(draining_gives_up_at_its_deadline),
        cmocka_unit_test(closing_cuts_what_is_open),
        cmocka_unit_test(a_server_that_never_started_closes),
        cmocka_unit_test(a_busy_port_is_a_bad_configuration),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
