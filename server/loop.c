/*
 * A loop: a thread that owns connections. What comes from other threads comes through two mailboxes, new connections and the
 * answers of calls that ran in a pool, and a phase; the doorbell says to look.
 */
#include "internal.h"

#include <assert.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>

enum { ARRIVALS = 1024 };

static void receive(struct server__loop *loop)
{
    void *message;

    while (fr_queue_receive(loop->arrivals, &message, 0))
        server__connection_adopt(message, loop);
    while (fr_queue_receive(loop->answers, &message, 0)) {
        struct server__call *call = message;

        server__pool_release(call->pool);
        server__call_finish(&call);
    }
}

static void drain(struct server__loop *loop)
{
    struct server__connection *next;

    loop->is_draining = true;
    for (struct server__connection *connection = loop->connections; connection; connection = next) {
        next = connection->next; /* it may close, and others don't because of it */
        server__connection_drain(connection);
    }
}

static void on_wake(int fd, short what, void *user)
{
    struct server__loop *loop = user;
    int phase;

    (void)fd;
    (void)what;
    server__wake_clear(&loop->wake);
    phase = atomic_load(&loop->wake.phase);
    receive(loop);
    if (phase >= SERVER_DRAINING && !loop->is_draining)
        drain(loop);
    loop->is_stopping = phase == SERVER_STOPPING;
}

static void bury(struct server__loop *loop)
{
    while (loop->dead) {
        struct server__connection *connection = loop->dead;

        loop->dead = connection->next;
        server__connection_free(connection);
    }
}

static void say_drained(struct server__loop *loop)
{
    void *message = loop;

    if (loop->has_said_drained || !loop->is_draining || loop->connections)
        return;
    loop->has_said_drained = fr_queue_send(loop->server->drained, &message, 0);
    assert(loop->has_said_drained); /* it has room for all loops */
}

void server__loop_turn(struct server__loop *loop, bool may_wait)
{
    loop->round_us = 0;
    event_base_loop(loop->base, EVLOOP_ONCE | (may_wait && server__line_is_empty(&loop->line) ? 0 : EVLOOP_NONBLOCK));
    server__line_run(loop);
    bury(loop);
    say_drained(loop);
}

static void *run(void *user)
{
    struct server__loop *loop = user;

    pthread_setname_np(pthread_self(), "loop"); /* top and the benchmarks tell it from the others */
    while (!loop->is_stopping)
        server__loop_turn(loop, true);
    return NULL;
}

static struct event_base *base_new(void)
{
    struct event_config *config = event_config_new();
    struct event_base *base;

    if (!config)
        return NULL;
    event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK); /* one thread; others ring */
    base = event_base_new_with_config(config);
    event_config_free(config);
    return base;
}

bool server__loop_open(struct server__loop *loop, struct server *server, const char *name, struct fr_err *err)
{
    const struct server_limits *limits = &server->options.limits;
    size_t counters = ((size_t)server->methods.count + 1) * SERVER_WIRES * SERVER_STATUSES;
    char labels[32];

    loop->server = server;
    snprintf(loop->name, sizeof loop->name, "%s", name);
    snprintf(labels, sizeof labels, "loop=\"%s\"", name);
    loop->connection_gauge =
        fr_metrics_gauge(server->options.metrics, "freshet_connections", labels, "Open connections, by loop.");
    fr_buffer_init(&loop->head);
    fr_buffer_init(&loop->body);
    loop->base = base_new();
    loop->arrivals = fr_queue_new(ARRIVALS);
    loop->answers = fr_queue_new(limits->slow_calls + limits->postponed_calls);
    loop->arena = fr_arena_new((size_t)limits->arena_bytes);
    loop->scratch = malloc(SERVER_READ_BYTES);
    loop->request_counters = calloc(counters, sizeof(struct fr_counter *));
    loop->expected_us = calloc((size_t)server->methods.count + 1, sizeof *loop->expected_us);
    if (!loop->base || !loop->arrivals || !loop->answers || !loop->arena || !loop->scratch || !loop->request_counters ||
        !loop->expected_us)
        return fr_fail(err, FR_EXHAUSTED, "server: out of memory or files for a loop");
    return server__early_open(&loop->early, loop, err) && server__wake_open(&loop->wake, loop->base, on_wake, loop, err);
}

static void on_tick(int fd, short what, void *user)
{
    const struct server_options *options = user;

    (void)fd;
    (void)what;
    options->tick(options->tick_user);
}

bool server__loop_tick(struct server__loop *loop, struct fr_err *err)
{
    const struct timeval second = {.tv_sec = 1};

    loop->tick = event_new(loop->base, -1, EV_PERSIST, on_tick, &loop->server->options);
    return (loop->tick && event_add(loop->tick, &second) == 0) ||
           fr_fail(err, FR_EXHAUSTED, "server: out of memory for a timer");
}

bool server__loop_start(struct server__loop *loop, struct fr_err *err)
{
    loop->is_started = server__thread_start(&loop->thread, run, loop, err);
    return loop->is_started;
}

void server__loop_stop(struct server__loop *loop)
{
    if (!loop->is_started)
        return;
    server__wake_phase(&loop->wake, SERVER_STOPPING);
    pthread_join(loop->thread, NULL);
    loop->is_started = false;
}

static void empty_mailboxes(struct server__loop *loop)
{
    void *message;

    if (loop->arrivals) {
        fr_queue_close(loop->arrivals);
        while (fr_queue_receive(loop->arrivals, &message, 0))
            server__connection_free(message);
        fr_queue_free(loop->arrivals);
    }
    if (loop->answers) {
        fr_queue_close(loop->answers);
        while (fr_queue_receive(loop->answers, &message, 0))
            server__call_free(message);
        fr_queue_free(loop->answers);
    }
}

void server__loop_close(struct server__loop *loop)
{
    while (loop->connections)
        server__connection_close(loop->connections);
    bury(loop);
    empty_mailboxes(loop);
    server__early_close(&loop->early);
    server__wake_close(&loop->wake);
    if (loop->tick)
        event_free(loop->tick);
    if (loop->base)
        event_base_free(loop->base);
    fr_arena_free(loop->arena);
    fr_buffer_fini(&loop->head);
    fr_buffer_fini(&loop->body);
    free(loop->request_counters);
    free(loop->expected_us);
    free(loop->scratch);
}

struct fr_counter *server__loop_request_counter(struct server__loop *loop, const struct server__call *call)
{
    static const char *const wires[SERVER_WIRES] = {
        [SERVER_WIRE_HTTP1] = "http1",
        [SERVER_WIRE_HTTP2] = "http2",
        [SERVER_WIRE_GRPC] = "grpc",
    };
    size_t place = ((size_t)call->method->index * SERVER_WIRES + call->wire) * SERVER_STATUSES + call->status;
    struct fr_counter **counter = &loop->request_counters[place];
    const char *name = call->method->path ? call->method->path + 1 : "unknown";
    char labels[320];

    if (!*counter) {
        snprintf(labels, sizeof labels, "method=\"%s\",code=\"%s\",protocol=\"%s\"", name, server__status_name(call->status),
                 wires[call->wire]);
        *counter = fr_metrics_counter(loop->server->options.metrics, "freshet_requests_total", labels,
                                      "Calls answered, by method, code and protocol.");
    }
    return *counter;
}
