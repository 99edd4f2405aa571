/*
 * How bytes move between a connection and its socket: as they are, or by TLS.
 */
#include "tls.h"

#include "transport.h"

#include <freshet/log.h>

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

enum { FAILURES_PER_MINUTE = 6 };

static enum server__moved moved_of(enum server__tls_state state)
{
    switch (state) {
    case SERVER_TLS_READY:
        return SERVER_MOVED;
    case SERVER_TLS_READS:
    case SERVER_TLS_WRITES:
        return SERVER_MOVED_NOT_NOW;
    case SERVER_TLS_END:
        return SERVER_MOVED_END;
    case SERVER_TLS_BROKEN:
        break;
    }
    return SERVER_MOVED_BROKEN;
}

static enum server__moved moved_by_errno(void)
{
    return errno == EAGAIN || errno == EINTR || errno == ENOBUFS ? SERVER_MOVED_NOT_NOW : SERVER_MOVED_BROKEN;
}

enum server__moved server__transport_read(struct server__connection *connection, void *bytes, size_t capacity, size_t *got)
{
    ssize_t result;

    *got = 0;
    if (connection->session && !connection->is_lingering)
        return moved_of(server__session_read(connection->session, bytes, capacity, got));
    /* Nobody looks at what comes after the last word: so TCP need not copy it (tcp(7)). */
    result = recv(connection->fd, bytes, capacity, connection->is_lingering ? MSG_TRUNC : 0);
    if (result < 0)
        return moved_by_errno();
    *got = (size_t)result;
    return result > 0 ? SERVER_MOVED : SERVER_MOVED_END;
}

enum server__moved server__transport_write(struct server__connection *connection, const struct iovec *pieces, size_t count,
                                           size_t *sent)
{
    struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = count};
    ssize_t result;

    *sent = 0;
    if (connection->session) {
        enum server__moved moved =
            moved_of(server__session_write(connection->session, pieces->iov_base, pieces->iov_len, sent));

        return moved == SERVER_MOVED_END ? SERVER_MOVED_BROKEN : moved;
    }
    result = sendmsg(connection->fd, &message, MSG_NOSIGNAL);
    if (result < 0)
        return moved_by_errno();
    *sent = (size_t)result;
    return SERVER_MOVED;
}

/*
 * Without tickets nothing goes out when TLS is open; a client with Nagle's algorithm on would hold back its request until our delayed
 * acknowledgement comes, 40 ms later.
 */
static void acknowledge(const struct server__connection *connection)
{
    const int on = 1;

    setsockopt(connection->fd, IPPROTO_TCP, TCP_QUICKACK, &on, sizeof on);
}

/* TLS is open: who is there, and what it speaks. */
static void greet(struct server__connection *connection)
{
    char names[SERVER_TLS_NAMES][SERVER_TLS_NAME_BYTES];
    int count = server__session_names(connection->session, names);
    enum server__tls_protocol protocol = server__session_protocol(connection->session);

    server__access_identify(&connection->loop->server->access, &connection->caller, names[0], sizeof names[0], count);
    if (connection->is_operations || protocol == SERVER_TLS_ANY)
        return;
    server__connection_switch(connection, protocol == SERVER_TLS_HTTP2 ? &server__http2_protocol : &server__http1_protocol);
}

enum server__moved server__transport_open(struct server__connection *connection)
{
    static struct fr_log_place place;
    struct server *server = connection->loop->server;
    enum server__moved moved = moved_of(server__session_open(connection->session));
    char reason[FR_MESSAGE_BYTES];

    if (moved == SERVER_MOVED_NOT_NOW)
        return moved;
    if (moved == SERVER_MOVED) {
        fr_counter_add(server->handshakes, 1);
        acknowledge(connection);
        greet(connection);
        return connection->is_dead ? SERVER_MOVED_BROKEN : SERVER_MOVED;
    }
    server__tls_reason(reason);
    fr_counter_add(server->handshakes_failed, 1);
    fr_log_limited(&place, FAILURES_PER_MINUTE, FR_LOG_WARN, "server", "no TLS with %s: %.200s", connection->peer, reason);
    return SERVER_MOVED_BROKEN;
}

bool server__transport_wants_write(const struct server__connection *connection)
{
    return connection->session && connection->session->wants_write && !connection->is_lingering;
}

bool server__transport_has_more(const struct server__connection *connection)
{
    return connection->session && connection->session->has_more && !connection->is_lingering;
}
