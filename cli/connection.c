/*
 * The way to a node: a socket that does not block, with or without TLS, and a deadline that is waited for.
 */
#include "connection.h"

#include <freshet/clock.h>

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { RECEIVE_BYTES = 65536 };

bool cli_connection__unreachable(const struct cli_connection *connection, const char *why, struct fr_err *err)
{
    return fr_fail(err, FR_UNAVAILABLE, "cannot reach %s: %s; is the node running? --api or FRESHET_API name another",
                   connection->node->api, why);
}

/* "host:port", "[::1]:port" → its two halves, in `copy`. */
static bool split_address(const char *api, char *copy, size_t capacity, char **host, char **port, struct fr_err *err)
{
    char *colon;

    if (strlen(api) >= capacity)
        return fr_fail(err, FR_BAD_CONFIG, "--api '%.40s…' is too long; HOST:PORT is wanted", api);
    strcpy(copy, api);
    colon = strrchr(copy, ':');
    if (!colon || colon == copy || colon[1] == 0)
        return fr_fail(err, FR_BAD_CONFIG, "--api '%s': HOST:PORT is wanted, as in 127.0.0.1:7070", api);
    *colon = 0;
    *port = colon + 1;
    *host = copy;
    if (copy[0] == '[' && colon[-1] == ']') {
        colon[-1] = 0;
        *host = copy + 1;
    }
    return true;
}

/* Waits until the socket can be read or written; false when the deadline comes first. */
static bool wait_for(const struct cli_connection *connection, short events, struct fr_err *err)
{
    struct pollfd poller = {.fd = connection->fd, .events = events};

    for (;;) {
        int64_t left_ms = connection->deadline_ms - fr_clock_monotonic_ms();
        int ready = left_ms > 0 ? poll(&poller, 1, (int)left_ms) : 0;

        if (ready > 0)
            return true;
        if (ready == 0)
            return fr_fail(err, FR_DEADLINE, "no answer from %s in time", connection->node->api);
        if (errno != EINTR || cli_signals__is_stopped())
            return fr_fail(err, FR_CANCELLED, "stopped while waiting for %s", connection->node->api);
    }
}

static bool connect_to(struct cli_connection *connection, const struct addrinfo *address, struct fr_err *err)
{
    int error = 0, on = 1;
    socklen_t length = sizeof error;

    connection->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (connection->fd < 0)
        return cli_connection__unreachable(connection, strerror(errno), err);
    (void)setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(connection->fd, address->ai_addr, address->ai_addrlen) == 0)
        return true;
    if (errno == EINPROGRESS) {
        if (!wait_for(connection, POLLOUT, err))
            return cli_connection__unreachable(connection, "no answer in time", err);
        if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0)
            return true;
    } else {
        error = errno;
    }
    return cli_connection__unreachable(connection, strerror(error), err);
}

static bool connect_any(struct cli_connection *connection, const char *host, const char *port, struct fr_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    int result = getaddrinfo(host, port, &hints, &found);
    bool is_open = false;

    if (result != 0)
        return cli_connection__unreachable(connection, gai_strerror(result), err);
    for (const struct addrinfo *address = found; address && !is_open; address = address->ai_next) {
        if (connection->fd >= 0)
            close(connection->fd);
        is_open = connect_to(connection, address, err);
    }
    freeaddrinfo(found);
    return is_open;
}

/* ---- TLS ---- */

/* Waits as a step asks; true: it is to be taken again. */
static bool go_on(const struct cli_connection *connection, enum server_client_step step, struct fr_err *err)
{
    struct fr_err why = *err;

    if (step == SERVER_CLIENT_FAILED)
        return fr_fail(err, why.code, "no connection to %s: %s", connection->node->api, why.message);
    return wait_for(connection, step == SERVER_CLIENT_READS ? POLLIN : POLLOUT, err);
}

static bool open_tls(struct cli_connection *connection, const char *host, struct fr_err *err)
{
    const struct server_client_tls options = {
        .ca = connection->node->tls_ca,
        .certificate = connection->node->tls_certificate,
        .key = connection->node->tls_key,
        .host = host,
    };
    enum server_client_step step;

    if (!server_client_open(&options, connection->fd, &connection->tls, err))
        return false;
    while ((step = server_client_handshake(connection->tls, err)) != SERVER_CLIENT_DONE)
        if (!go_on(connection, step, err))
            return false;
    return true;
}

static bool check_tls(const struct cli_node *node, struct fr_err *err)
{
    if (!node->tls_certificate != !node->tls_key)
        return fr_fail(err, FR_BAD_CONFIG, "--tls-cert and --tls-key belong together; give both");
    if (node->tls_certificate && !node->tls_ca)
        return fr_fail(err, FR_BAD_CONFIG, "--tls-cert is nothing without --tls-ca, which asks for TLS");
    return true;
}

/* ---- Whole ---- */

bool cli_connection__open(struct cli_connection *connection, struct fr_err *err)
{
    char copy[300], *host = NULL, *port = NULL;

    return check_tls(connection->node, err) && split_address(connection->node->api, copy, sizeof copy, &host, &port, err) &&
           connect_any(connection, host, port, err) && (!connection->node->tls_ca || open_tls(connection, host, err));
}

void cli_connection__close(struct cli_connection *connection)
{
    server_client_close(connection->tls);
    connection->tls = NULL;
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
}

bool cli_connection__send(struct cli_connection *connection, struct fr_slice bytes, struct fr_err *err)
{
    size_t sent = 0;

    while (connection->tls) {
        enum server_client_step step = server_client_write(connection->tls, bytes.bytes, bytes.length, err);

        if (step == SERVER_CLIENT_DONE)
            return true;
        if (!go_on(connection, step, err))
            return false;
    }
    while (sent < bytes.length) {
        ssize_t result = send(connection->fd, (const char *)bytes.bytes + sent, bytes.length - sent, MSG_NOSIGNAL);

        if (result > 0)
            sent += (size_t)result;
        else if (errno != EAGAIN && errno != EINTR)
            return cli_connection__unreachable(connection, strerror(errno), err);
        else if (!wait_for(connection, POLLOUT, err))
            return false;
    }
    return true;
}

static bool receive_tls(struct cli_connection *connection, uint8_t *room, size_t *got, struct fr_err *err)
{
    for (;;) {
        enum server_client_step step = server_client_read(connection->tls, room, RECEIVE_BYTES, got, err);

        if (step == SERVER_CLIENT_DONE)
            return true;
        if (!go_on(connection, step, err))
            return false;
    }
}

static bool receive_plain(struct cli_connection *connection, uint8_t *room, size_t *got, struct fr_err *err)
{
    for (;;) {
        ssize_t result = recv(connection->fd, room, RECEIVE_BYTES, 0);

        if (result >= 0) {
            *got = (size_t)result;
            return true;
        }
        if (errno != EAGAIN && errno != EINTR)
            return cli_connection__unreachable(connection, strerror(errno), err);
        if (!wait_for(connection, POLLIN, err))
            return false;
    }
}

bool cli_connection__receive(struct cli_connection *connection, struct fr_buffer *in, bool *is_end, struct fr_err *err)
{
    uint8_t *room = fr_buffer_reserve(in, RECEIVE_BYTES);
    size_t got = 0;

    if (!room)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    if (!(connection->tls ? receive_tls : receive_plain)(connection, room, &got, err))
        return false;
    in->length += got;
    *is_end = got == 0;
    return true;
}
