/*
 * Every allocation fails once: those of opening and starting a server, and those of serving. A failure is told or cuts its
 * connection; the next client is served.
 */
#include "client.h"

#include <stdlib.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);

static atomic_int allowed = -1; /* allocations until one fails; negative: none will */
static atomic_bool has_failed;
static _Thread_local bool is_exempt; /* the client's own */

static bool fails_now(void)
{
    if (is_exempt || atomic_load(&allowed) < 0)
        return false;
    if (atomic_fetch_sub(&allowed, 1) != 0)
        return false;
    atomic_store(&has_failed, true);
    return true;
}

void *__wrap_malloc(size_t bytes)
{
    return fails_now() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails_now() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    return fails_now() ? NULL : __real_realloc(old, bytes);
}

static void opening_fails_cleanly(void **state)
{
    (void)state;
    struct fr_metrics *metrics = fr_metrics_new();
    bool is_over = false;
    int failures = 0;

    for (; !is_over; failures++) {
        struct server_options options = {.listen = "127.0.0.1:0", .operations = "127.0.0.1:0", .loops = 2, .metrics = metrics};
        struct server *server = NULL;
        struct fr_err err = {0};
        bool is_open;

        server_limits_default(&options.limits);
        assert_true(failures < 1000);
        atomic_store(&has_failed, false);
        atomic_store(&allowed, failures);
        is_open = server_open(&options, &server, &err) && server_start(server, &err);
        atomic_store(&allowed, -1);
        is_over = !atomic_load(&has_failed);
        assert_true(is_open || err.message[0] != '\0');
        assert_true(is_open || !is_over);
        server_close(server);
    }
    assert_true(failures > 10);
    fr_metrics_free(metrics);
}

/* A fast call, a slow one and a page, each on a connection of its own; false when one was not answered with 200. */
static void ask_for_everything(struct toy *toy, bool must_succeed)
{
    static struct response response;
    struct client *api = client_open(server_api_address(toy->server));
    struct client *slow = client_open(server_api_address(toy->server));
    struct client *operations = client_open(server_operations_address(toy->server));

    client_send(api, "POST /freshet.v1.FeatureService/GetFeatures HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
                     "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n");
    client_send(api, "1\r\n}\r\n0\r\n\r\n");
    client_receive(api, &response);
    assert_true(response.status == 200 || !must_succeed);
    toy_open_gate(toy);
    client_call(slow, "Describe", "{}", &response);
    assert_true(response.status == 200 || !must_succeed);
    client_send(operations, "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_receive(operations, &response);
    assert_true(response.status == 200 || !must_succeed);
    client_close(operations);
    client_close(slow);
    client_close(api);
}

static void serving_goes_on_after_any_failure(void **state)
{
    (void)state;
    struct toy toy;
    int failures = 0;

    is_exempt = true;
    toy_start(&toy, NULL);
    do {
        assert_true(failures < 1000);
        atomic_store(&has_failed, false);
        atomic_store(&allowed, failures++);
        ask_for_everything(&toy, false);
        atomic_store(&allowed, -1);
        ask_for_everything(&toy, true);
    } while (atomic_load(&has_failed));
    print_message("%d allocations\n", failures - 1);
    assert_true(failures > 5);
    toy_stop(&toy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(opening_fails_cleanly),
        cmocka_unit_test(serving_goes_on_after_any_failure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
