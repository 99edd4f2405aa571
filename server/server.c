/*
 * The server as a whole: what is opened, started and closed in which order.
 *
 * Threads: one acceptor, the loops, one more loop for the operations port (so that a busy API cannot hide how the node is), and
 * the pools of calls that block. Closing stops them in the order acceptor, pool, loops, and frees their mailboxes only when all have
 * stopped.
 */
#include "internal.h"

#include <freshet/clock.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

void server_limits_default(struct server_limits *limits)
{
    *limits = (struct server_limits){
        .connections = 10000,
        .header_bytes = 16 << 10,
        .header_count = 100,
        .message_bytes = 4 << 20,
        .arena_bytes = 64 << 20,
        .header_ms = 10 * 1000,
        .body_ms = 30 * 1000,
        .idle_ms = 5 * 60 * 1000,
        .quiet_ms = 60 * 1000,
        .pong_ms = 20 * 1000,
        .slow_calls = 64,
        .slow_threads = 2,
        .postponed_calls = 1024,
        .postponed_threads = 2,
        .early_calls = 1024,
        .queued_calls = 4096,
        .wait_ms = 1000,
        .connection_bytes = 16 << 20,
        .grace_ms = 30 * 1000,
    };
}

bool server__thread_start(pthread_t *thread, void *(*run)(void *), void *user, struct fr_err *err)
{
    sigset_t all, before;
    int error;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before); /* a thread inherits the mask */
    error = pthread_create(thread, NULL, run, user);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error == 0 || fr_fail(err, FR_EXHAUSTED, "server: cannot start a thread: %s", strerrordesc_np(error));
}

static bool check(const struct server_options *options, struct fr_err *err)
{
    const struct server_limits *limits = &options->limits;

    if (options->loops < 1 || options->loops > 256)
        return fr_fail(err, FR_BAD_CONFIG, "server: %d loops asked for; set server.loops to 1 to 256", options->loops);
    if (limits->connections < 1 || limits->header_bytes < 256 || limits->header_count < 1 || limits->message_bytes < 1 ||
        limits->arena_bytes < 1 || limits->header_ms < 1 || limits->body_ms < 1 || limits->idle_ms < 1 ||
        limits->quiet_ms < 1 || limits->pong_ms < 1 || limits->slow_calls < 1 || limits->slow_threads < 1 ||
        limits->postponed_calls < 1 || limits->postponed_threads < 1 || limits->early_calls < 1 || limits->queued_calls < 1 ||
        limits->wait_ms < 1 || limits->connection_bytes < 1 || limits->rate < 0 || limits->burst < 0 || limits->age_ms < 0 ||
        limits->grace_ms < 0)
        return fr_fail(err, FR_BAD_CONFIG,
                       "server: every limit must be above 0 (rate, burst, age, grace: 0 or above), header_bytes 256 at least; "
                       "change server.limits");
    return true;
}

static void open_metrics(struct server *server)
{
    struct fr_metrics *metrics = server->options.metrics;
    static const char refused_help[] = "Connections that were closed unserved, by reason; files: times that accepting paused.";
    static const char errors_help[] = "Connections cut, and streams reset, for what was wrong with their HTTP, by reason.";
    static const char handshakes_help[] = "TLS handshakes, by result.";
    static const char shed_help[] =
        "Calls refused without work, by reason: deadline, wait (the loop is behind), full (its line).";
    char labels[64];

    for (int i = SERVER_FAULT_NONE + 1; i < SERVER_FAULTS; i++) {
        snprintf(labels, sizeof labels, "reason=\"%s\"", server__fault_text((enum server__fault)i)->name);
        server->faults[i] = fr_metrics_counter(metrics, "freshet_http_errors_total", labels, errors_help);
    }
    server->bombs = fr_metrics_counter(metrics, "freshet_http_errors_total", "reason=\"gzip_bomb\"", errors_help);
    server->handshakes = fr_metrics_counter(metrics, "freshet_tls_handshakes_total", "result=\"ok\"", handshakes_help);
    server->handshakes_failed =
        fr_metrics_counter(metrics, "freshet_tls_handshakes_total", "result=\"failed\"", handshakes_help);
    server->aged = fr_metrics_counter(metrics, "freshet_connections_aged_total", NULL,
                                      "Connections that were asked to end because of their age.");
    server->not_http = fr_metrics_counter(metrics, "freshet_http_errors_total", "reason=\"not_http\"", errors_help);
    server->slow_readers = fr_metrics_counter(metrics, "freshet_http_errors_total", "reason=\"slow_reader\"", errors_help);
    server->refused_limit = fr_metrics_counter(metrics, "freshet_connections_refused_total", "reason=\"limit\"", refused_help);
    server->refused_busy = fr_metrics_counter(metrics, "freshet_connections_refused_total", "reason=\"busy\"", refused_help);
    server->accept_pauses = fr_metrics_counter(metrics, "freshet_connections_refused_total", "reason=\"files\"", refused_help);
    server->shed_deadline = fr_metrics_counter(metrics, "freshet_calls_shed_total", "reason=\"deadline\"", shed_help);
    server->shed_wait = fr_metrics_counter(metrics, "freshet_calls_shed_total", "reason=\"wait\"", shed_help);
    server->shed_full = fr_metrics_counter(metrics, "freshet_calls_shed_total", "reason=\"full\"", shed_help);
    server->waits = fr_metrics_histogram(metrics, "freshet_call_wait_seconds", NULL,
                                         "From a whole request to its turn on the loop, served or shed.");
}

static bool open_loops(struct server *server, struct fr_err *err)
{
    server->loops = calloc((size_t)server->options.loops + 1, sizeof *server->loops);
    server->drained = fr_queue_new(server->options.loops + 2); /* and the operations' loop, and the acceptor */
    if (!server->loops || !server->drained)
        return fr_fail(err, FR_EXHAUSTED, "server: out of memory for %d loops", server->options.loops);
    server->loop_count = server->options.loops;
    for (int i = 0; i < server->loop_count; i++) {
        char name[16];

        snprintf(name, sizeof name, "%d", i);
        if (!server__loop_open(&server->loops[i], server, name, err))
            return false;
    }
    return server__loop_open(&server->loops[server->loop_count], server, "operations", err) &&
           (!server->options.tick || server__loop_tick(&server->loops[server->loop_count], err));
}

bool server_open(const struct server_options *options, struct server **server_out, struct fr_err *err)
{
    struct server *server;

    if (!check(options, err))
        return false;
    server = calloc(1, sizeof *server);
    if (!server)
        return fr_fail(err, FR_EXHAUSTED, "server: out of memory");
    server->options = *options;
    server->acceptor.api.fd = server->acceptor.operations.fd = -1;
    open_metrics(server);
    server__health_methods(server, server->own);
    server__reflection_methods(server, server->own + 2);
    if (!server__access_open(&server->access, options, err) ||
        !server__acceptor_open(&server->acceptor, server, options, err) ||
        !server__methods_init(&server->methods, options, server->own, err) || !open_loops(server, err)) {
        server_close(server);
        return false;
    }
    *server_out = server;
    return true;
}

const char *server_api_address(const struct server *server)
{
    return server->acceptor.api.address;
}

const char *server_operations_address(const struct server *server)
{
    return server->acceptor.operations.address;
}

bool server_start(struct server *server, struct fr_err *err)
{
    const struct server_limits *limits = &server->options.limits;

    if (!server__pool_start(&server->pool, limits->slow_calls, limits->slow_threads, err) ||
        !server__pool_start(&server->postponed, limits->postponed_calls, limits->postponed_threads, err))
        return false;
    for (int i = 0; i <= server->loop_count; i++)
        if (!server__loop_start(&server->loops[i], err))
            return false;
    server->is_started = server__acceptor_start(&server->acceptor, err);
    return server->is_started;
}

/* Waits for `count` threads to say that they have drained. */
static void wait_drained(struct server *server, int count, int64_t until_ms)
{
    void *message;

    for (; count > 0; count--) {
        int64_t left_ms = until_ms - fr_clock_monotonic_ms();

        if (left_ms < 0 || !fr_queue_receive(server->drained, &message, (int)left_ms))
            return;
    }
}

void server_drain(struct server *server, int deadline_ms)
{
    int64_t until_ms = fr_clock_monotonic_ms() + deadline_ms;

    if (!server->is_started || server->is_drained || server_api_address(server)[0] == '\0')
        return;
    server->is_drained = true;
    server__wake_phase(&server->acceptor.wake, SERVER_DRAINING);
    wait_drained(server, 1, until_ms); /* from here on no connection comes */
    for (int i = 0; i < server->loop_count; i++)
        server__wake_phase(&server->loops[i].wake, SERVER_DRAINING);
    wait_drained(server, server->loop_count, until_ms);
}

void server_close(struct server *server)
{
    void *message;

    if (!server)
        return;
    server__acceptor_stop(&server->acceptor);
    server__pool_stop(&server->pool);
    server__pool_stop(&server->postponed);
    for (int i = 0; server->loops && i <= server->loop_count; i++)
        server__loop_stop(&server->loops[i]);
    for (int i = 0; server->loops && i <= server->loop_count; i++)
        server__loop_close(&server->loops[i]);
    free(server->loops);
    server__pool_close(&server->pool);
    server__pool_close(&server->postponed);
    server__acceptor_close(&server->acceptor);
    server__methods_fini(&server->methods);
    server__access_close(&server->access);
    if (server->drained) {
        fr_queue_close(server->drained);
        while (fr_queue_receive(server->drained, &message, 0))
            continue; /* who said so is none of the queue's */
        fr_queue_free(server->drained);
    }
    free(server);
}
