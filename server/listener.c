/*
 * The acceptor: one thread that accepts at both ports and hands each connection to the loop with the fewest. Above the limit of
 * connections it accepts all the same, says 503 and closes, so that a client knows at once; pausing would leave it in the
 * backlog until its own time is over. When descriptors run out there is no way to accept, so it sleeps, longer each time up to
 * a second.
 */
#include "tls.h"

#include <freshet/log.h>

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCEPTS = 64, PAUSE_MS = 100, PAUSE_MS_MAX = 1000, HAND_OVER_MS = 100 /* a loop's time to take what came before */ };

static void refuse(const struct server__listener *listener, int fd, struct fr_counter *counter)
{
    static const char body[] = "{\"code\":\"unavailable\",\"message\":\"too many connections; retry with backoff\"}";
    char scratch[4096];
    int length = snprintf(scratch, sizeof scratch,
                          "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n"
                          "Connection: close\r\n\r\n%s",
                          sizeof body - 1, body);
    ssize_t ignored;

    fr_counter_add(counter, 1);
    if (listener->is_tls) { /* what is said in the clear would not be understood */
        close(fd);
        return;
    }
    ignored = send(fd, scratch, (size_t)length, MSG_NOSIGNAL | MSG_DONTWAIT);
    shutdown(fd, SHUT_WR);
    ignored = recv(fd, scratch, sizeof scratch, MSG_DONTWAIT); /* unread input would turn the close into a reset */
    (void)ignored;
    close(fd);
}

static struct server__loop *least_loaded(struct server *server)
{
    struct server__loop *best = &server->loops[0];

    for (int i = 1; i < server->loop_count; i++)
        if (atomic_load(&server->loops[i].connection_count) < atomic_load(&best->connection_count))
            best = &server->loops[i];
    return best;
}

static bool is_full(struct server *server, bool is_operations)
{
    int total = 0;

    if (is_operations)
        return atomic_load(&server->loops[server->loop_count].connection_count) >= SERVER_OPERATIONS_CONNECTIONS;
    for (int i = 0; i < server->loop_count; i++)
        total += atomic_load(&server->loops[i].connection_count);
    return total >= server->options.limits.connections;
}

static void hand_over(struct server__listener *listener, int fd, const struct sockaddr *peer)
{
    struct server *server = listener->server;
    struct server__loop *loop = listener->is_operations ? &server->loops[server->loop_count] : least_loaded(server);
    struct server__connection *connection;
    const int on = 1, kernel_bytes = SERVER_KERNEL_BYTES;
    char text[SERVER_PEER_BYTES];
    void *message;

    if (is_full(server, listener->is_operations)) {
        refuse(listener, fd, server->refused_limit);
        return;
    }
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &kernel_bytes,
               sizeof kernel_bytes); /* a slow reader's replies are not made ahead */
    server__address_print(peer, text);
    connection = server__connection_new(fd, text, listener->is_operations, listener->is_loopback);
    if (!connection)
        return;
    server__caller_init(&connection->caller, text, server__address_is_loopback(peer));
    if (listener->is_tls) {
        connection->session = server__session_new(server->acceptor.tls, fd, listener->is_operations);
        if (!connection->session) {
            server__connection_free(connection);
            return;
        }
    }
    message = connection;
    atomic_fetch_add(&loop->connection_count, 1);
    if (fr_queue_send(loop->arrivals, &message, HAND_OVER_MS)) {
        server__wake_ring(&loop->wake);
        return;
    }
    atomic_fetch_sub(&loop->connection_count, 1);
    server__session_free(connection->session);
    connection->session = NULL;
    connection->fd = -1;
    server__connection_free(connection);
    refuse(listener, fd, server->refused_busy);
}

static void pause_accepting(struct server__acceptor *acceptor, int error)
{
    static struct fr_log_place place;
    struct timeval span;

    acceptor->pause_ms = acceptor->pause_ms == 0 ? PAUSE_MS : acceptor->pause_ms * 2;
    if (acceptor->pause_ms > PAUSE_MS_MAX)
        acceptor->pause_ms = PAUSE_MS_MAX;
    span = (struct timeval){.tv_sec = acceptor->pause_ms / 1000, .tv_usec = acceptor->pause_ms % 1000 * 1000};
    if (acceptor->api.event)
        event_del(acceptor->api.event);
    if (acceptor->operations.event)
        event_del(acceptor->operations.event);
    if (event_add(acceptor->pause_timer, &span) != 0)
        event_active(acceptor->pause_timer, EV_TIMEOUT, 0); /* no memory for a timer: at once, then */
    fr_counter_add(acceptor->server->accept_pauses, 1);
    fr_log_limited(&place, 6, FR_LOG_WARN, "server", "cannot accept connections: %s; raise the limit of open files (ulimit -n)",
                   strerrordesc_np(error));
}

/* What finds no memory is tried again after a pause. */
static void listen_again(struct server__acceptor *acceptor)
{
    if ((acceptor->api.event && event_add(acceptor->api.event, NULL) != 0) ||
        (acceptor->operations.event && event_add(acceptor->operations.event, NULL) != 0))
        pause_accepting(acceptor, ENOMEM);
}

static void on_pause_over(int fd, short what, void *user)
{
    (void)fd;
    (void)what;
    listen_again(user);
}

static void on_look(int fd, short what, void *user)
{
    struct server__acceptor *acceptor = user;

    (void)fd;
    (void)what;
    server__tls_look(acceptor->tls);
    server__tokens_look(&acceptor->server->access.tokens);
}

static void on_acceptable(int fd, short what, void *user)
{
    struct server__listener *listener = user;
    struct server__acceptor *acceptor = &listener->server->acceptor;

    (void)what;
    for (int i = 0; i < ACCEPTS; i++) {
        struct sockaddr_storage peer = {0};
        socklen_t length = sizeof peer;
        int accepted = accept4(fd, (struct sockaddr *)&peer, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);

        if (accepted >= 0) {
            acceptor->pause_ms = 0;
            hand_over(listener, accepted, (struct sockaddr *)&peer);
            continue;
        }
        if (errno == EAGAIN)
            return;
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            pause_accepting(acceptor, errno);
            return;
        }
        /* Anything else is the fault of the one connection that did not come to be (accept(2)). */
    }
}

static void listener_close(struct server__listener *listener)
{
    if (listener->event)
        event_free(listener->event);
    listener->event = NULL;
    if (listener->fd >= 0)
        close(listener->fd);
    listener->fd = -1;
}

static void on_wake(int fd, short what, void *user)
{
    struct server__acceptor *acceptor = user;
    int phase;

    (void)fd;
    (void)what;
    server__wake_clear(&acceptor->wake);
    phase = atomic_load(&acceptor->wake.phase);
    if (phase >= SERVER_DRAINING && acceptor->api.fd >= 0) {
        void *message = acceptor;
        bool is_sent;

        listener_close(&acceptor->api);
        is_sent = fr_queue_send(acceptor->server->drained, &message, 0);
        assert(is_sent);
    }
    if (phase == SERVER_STOPPING)
        event_base_loopbreak(acceptor->base);
}

static void *run(void *user)
{
    static const struct timeval look = {.tv_usec = SERVER_LOOK_MS * 1000};
    struct server__acceptor *acceptor = user;

    listen_again(acceptor);
    if (acceptor->tls->context || acceptor->server->access.tokens.has_files)
        event_add(acceptor->look_timer, &look);
    event_base_dispatch(acceptor->base);
    return NULL;
}

static bool listener_open(struct server__listener *listener, struct server__acceptor *acceptor, const char *text,
                          const char *key, struct fr_err *err)
{
    listener->server = acceptor->server;
    if (!server__address_listen(text, key, &listener->fd, listener->address, &listener->is_loopback, err))
        return false;
    if (listener->fd < 0)
        return true;
    listener->is_tls = acceptor->tls->context && !(listener->is_operations && listener->is_loopback);
    listener->event = event_new(acceptor->base, listener->fd, EV_READ | EV_PERSIST, on_acceptable, listener);
    return listener->event || fr_fail(err, FR_EXHAUSTED, "server: out of memory for a listener");
}

bool server__acceptor_open(struct server__acceptor *acceptor, struct server *server, const struct server_options *options,
                           struct fr_err *err)
{
    acceptor->server = server;
    acceptor->api.fd = acceptor->operations.fd = -1;
    acceptor->operations.is_operations = true;
    acceptor->base = event_base_new();
    if (acceptor->base)
        acceptor->pause_timer = event_new(acceptor->base, -1, 0, on_pause_over, acceptor);
    if (acceptor->pause_timer)
        acceptor->look_timer = event_new(acceptor->base, -1, EV_PERSIST, on_look, acceptor);
    acceptor->tls = calloc(1, sizeof *acceptor->tls);
    if (!acceptor->look_timer || !acceptor->tls)
        return fr_fail(err, FR_EXHAUSTED, "server: out of memory or files for the acceptor");
    if (!server__tls_open(acceptor->tls, &server->options.tls, options->metrics, err))
        return false;
    return server__wake_open(&acceptor->wake, acceptor->base, on_wake, acceptor, err) &&
           listener_open(&acceptor->api, acceptor, options->listen, "server.listen", err) &&
           listener_open(&acceptor->operations, acceptor, options->operations, "server.operations", err);
}

bool server__acceptor_start(struct server__acceptor *acceptor, struct fr_err *err)
{
    acceptor->is_started = server__thread_start(&acceptor->thread, run, acceptor, err);
    return acceptor->is_started;
}

void server__acceptor_stop(struct server__acceptor *acceptor)
{
    if (!acceptor->is_started)
        return;
    server__wake_phase(&acceptor->wake, SERVER_STOPPING);
    pthread_join(acceptor->thread, NULL);
    acceptor->is_started = false;
}

void server__acceptor_close(struct server__acceptor *acceptor)
{
    listener_close(&acceptor->api);
    listener_close(&acceptor->operations);
    if (acceptor->pause_timer)
        event_free(acceptor->pause_timer);
    if (acceptor->look_timer)
        event_free(acceptor->look_timer);
    if (acceptor->tls)
        server__tls_close(acceptor->tls);
    free(acceptor->tls);
    acceptor->tls = NULL;
    server__wake_close(&acceptor->wake);
    if (acceptor->base)
        event_base_free(acceptor->base);
}
