/*
 * One connection: a request goes out, an answer comes back. A unary method of Freshet is a POST of the encoded request to
 * /package.Service/Method, as application/proto; the body of the answer is the encoded reply, or, with another status than 200, JSON
 * with "code" and "message" (the Connect convention). A node always says how long the body is.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

enum { HOST_BYTES_MAX = 256, HEAD_BYTES_MAX = 4096, ROOM_FIRST = 64 << 10, ANSWER_BYTES_MAX = 64 << 20 };

bool freshet__fail(struct freshet_failure *failure, const char *code, const char *address, const char *what)
{
    snprintf(failure->code, sizeof failure->code, "%s", code);
    snprintf(failure->message, sizeof failure->message, "%s: %s", address, what);
    return false;
}

int64_t freshet__now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool freshet__is_address(const char *address)
{
    const char *colon = strrchr(address, ':');

    return colon && colon > address && (size_t)(colon - address) < HOST_BYTES_MAX && colon[1] != '\0';
}

void freshet__connection_close(struct freshet__connection *connection)
{
    if (connection->fd >= 0)
        close(connection->fd);
    connection->fd = -1;
}

static bool wait_for(const struct freshet__connection *connection, short events, int64_t until_ms,
                     struct freshet_failure *failure)
{
    struct pollfd polled = {.fd = connection->fd, .events = events};

    for (;;) {
        int64_t left_ms = until_ms - freshet__now_ms();
        int got = left_ms > 0 ? poll(&polled, 1, (int)left_ms) : 0;

        if (got > 0)
            return true;
        if (got == 0)
            return freshet__fail(failure, "deadline_exceeded", connection->address, "no answer in time");
        if (errno != EINTR)
            return freshet__fail(failure, "unavailable", connection->address, strerror(errno));
    }
}

/* ---- Connecting ---- */

static bool try_one(struct freshet__connection *connection, const struct addrinfo *one, int64_t until_ms,
                    struct freshet_failure *failure)
{
    int error = 0, on = 1;
    socklen_t size = sizeof error;

    connection->fd = socket(one->ai_family, one->ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, one->ai_protocol);
    if (connection->fd < 0)
        return freshet__fail(failure, "unavailable", connection->address, strerror(errno));
    if (connect(connection->fd, one->ai_addr, one->ai_addrlen) != 0) {
        if (errno != EINPROGRESS)
            return freshet__fail(failure, "unavailable", connection->address, strerror(errno));
        if (!wait_for(connection, POLLOUT, until_ms, failure))
            return false;
        if (getsockopt(connection->fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0 || error != 0)
            return freshet__fail(failure, "unavailable", connection->address, strerror(error ? error : errno));
    }
    setsockopt(connection->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return true;
}

static bool connect_now(struct freshet__connection *connection, int64_t until_ms, struct freshet_failure *failure)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    const char *colon = strrchr(connection->address, ':'), *first = connection->address;
    size_t host_bytes = (size_t)(colon - first);
    char host[HOST_BYTES_MAX];
    bool is_done = false;
    int error;

    if (host_bytes > 1 && first[0] == '[' && colon[-1] == ']') { /* IPv6 */
        first++;
        host_bytes -= 2;
    }
    memcpy(host, first, host_bytes);
    host[host_bytes] = '\0';
    error = getaddrinfo(host, colon + 1, &hints, &found);
    if (error != 0)
        return freshet__fail(failure, "unavailable", connection->address, gai_strerror(error));
    for (struct addrinfo *one = found; one && !is_done; one = one->ai_next) {
        is_done = try_one(connection, one, until_ms, failure);
        if (!is_done)
            freshet__connection_close(connection);
    }
    freeaddrinfo(found);
    return is_done;
}

/* ---- A request and its answer ---- */

static bool send_all(const struct freshet__connection *connection, struct iovec *parts, int count, int64_t until_ms,
                     struct freshet_failure *failure)
{
    struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};

    while (message.msg_iovlen > 0) {
        ssize_t sent = sendmsg(connection->fd, &message, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent < 0 && errno != EAGAIN)
            return freshet__fail(failure, "unavailable", connection->address, strerror(errno));
        if (sent < 0 && !wait_for(connection, POLLOUT, until_ms, failure))
            return false;
        for (; sent > 0 && (size_t)sent >= message.msg_iov->iov_len; message.msg_iov++, message.msg_iovlen--)
            sent -= (ssize_t)message.msg_iov->iov_len;
        if (sent > 0) {
            message.msg_iov->iov_base = (char *)message.msg_iov->iov_base + sent;
            message.msg_iov->iov_len -= (size_t)sent;
        }
        for (; message.msg_iovlen > 0 && message.msg_iov->iov_len == 0; message.msg_iov++)
            message.msg_iovlen--;
    }
    return true;
}

static bool make_room(struct freshet__connection *connection, size_t needed, struct freshet_failure *failure)
{
    size_t room = connection->room ? connection->room : ROOM_FIRST;
    char *more;

    while (room < needed)
        room *= 2;
    if (room == connection->room)
        return true;
    more = realloc(connection->bytes, room);
    if (!more)
        return freshet__fail(failure, "resource_exhausted", connection->address, "no memory for the answer");
    connection->bytes = more;
    connection->room = room;
    return true;
}

/* Reads until `count` bytes are there. *is_ended: the peer closed instead. */
static bool read_more(struct freshet__connection *connection, size_t *count, int64_t until_ms, bool *is_ended,
                      struct freshet_failure *failure)
{
    ssize_t got = recv(connection->fd, connection->bytes + *count, connection->room - *count - 1, 0);

    *is_ended = got == 0 || (got < 0 && errno == ECONNRESET);
    if (*is_ended)
        return freshet__fail(failure, "unavailable", connection->address, "it closed the connection");
    if (got < 0 && errno == EINTR)
        return true;
    if (got < 0 && errno == EAGAIN)
        return wait_for(connection, POLLIN, until_ms, failure);
    if (got < 0)
        return freshet__fail(failure, "unavailable", connection->address, strerror(errno));
    *count += (size_t)got;
    connection->bytes[*count] = '\0';
    return true;
}

struct head {
    size_t bytes, body_bytes;
    int status;
    bool is_last; /* the node closes after it */
};

static bool read_head(struct freshet__connection *connection, size_t *count, int64_t until_ms, struct head *head,
                      bool *is_ended, struct freshet_failure *failure)
{
    static const char length_field[] = "\r\nContent-Length:", close_field[] = "\r\nConnection: close";
    char *end, *length, *after;

    while (!(end = *count > 0 ? memmem(connection->bytes, *count, "\r\n\r\n", 4) : NULL)) {
        if (*count > ROOM_FIRST / 2)
            return freshet__fail(failure, "internal", connection->address, "no HTTP answer");
        if (!read_more(connection, count, until_ms, is_ended, failure))
            return false;
    }
    head->bytes = (size_t)(end - connection->bytes) + 4;
    end[2] = '\0'; /* what follows is the body's */
    length = strcasestr(connection->bytes, length_field);
    if (sscanf(connection->bytes, "HTTP/1.1 %3d ", &head->status) != 1 || !length)
        return freshet__fail(failure, "internal", connection->address, "no HTTP answer of a known length");
    head->body_bytes = strtoull(length + sizeof length_field - 1, &after, 10);
    head->is_last = strcasestr(connection->bytes, close_field) != NULL;
    return *after == '\r' || freshet__fail(failure, "internal", connection->address, "no HTTP answer of a known length");
}

static bool read_answer(struct freshet__connection *connection, int64_t until_ms, struct freshet__answer *answer,
                        bool *is_ended, struct freshet_failure *failure)
{
    struct head head;
    size_t count = 0;
    bool is_cut;

    if (!make_room(connection, ROOM_FIRST, failure) || !read_head(connection, &count, until_ms, &head, is_ended, failure))
        return false;
    if (head.body_bytes > ANSWER_BYTES_MAX)
        return freshet__fail(failure, "resource_exhausted", connection->address, "the answer is too large");
    if (!make_room(connection, head.bytes + head.body_bytes + 1, failure))
        return false;
    while (count < head.bytes + head.body_bytes)
        if (!read_more(connection, &count, until_ms, &is_cut, failure))
            return false;
    answer->status = head.status;
    answer->body = connection->bytes + head.bytes;
    answer->body_bytes = head.body_bytes;
    if (head.is_last || count > head.bytes + head.body_bytes)
        freshet__connection_close(connection);
    return true;
}

static int write_head(const struct freshet__connection *connection, const char *method, const char *token, size_t body_bytes,
                      int64_t left_ms, char head[HEAD_BYTES_MAX])
{
    return snprintf(head, HEAD_BYTES_MAX,
                    "POST /%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/proto\r\nContent-Length: %zu\r\n"
                    "Connect-Timeout-Ms: %lld\r\n%s%s%s\r\n",
                    method, connection->address, body_bytes, (long long)left_ms, token ? "Authorization: Bearer " : "",
                    token ? token : "", token ? "\r\n" : "");
}

bool freshet__post(struct freshet__connection *connection, const char *method, const char *token, const void *body,
                   size_t body_bytes, int64_t until_ms, struct freshet__answer *answer, struct freshet_failure *failure)
{
    char head[HEAD_BYTES_MAX];
    bool is_kept, is_ended, is_done;

    do {
        int64_t left_ms = until_ms - freshet__now_ms();
        int head_bytes = write_head(connection, method, token, body_bytes, left_ms > 1 ? left_ms : 1, head);
        struct iovec parts[] = {{head, (size_t)head_bytes}, {(void *)(uintptr_t)body, body_bytes}};

        if (head_bytes < 0 || head_bytes >= HEAD_BYTES_MAX)
            return freshet__fail(failure, "invalid_argument", connection->address,
                                 "the method's name or the token is too long");
        is_kept = connection->fd >= 0;
        is_ended = false;
        if (!is_kept && !connect_now(connection, until_ms, failure))
            return false;
        is_done = send_all(connection, parts, 2, until_ms, failure)
                      ? read_answer(connection, until_ms, answer, &is_ended, failure)
                      : (is_ended = true, false);
        if (!is_done)
            freshet__connection_close(connection);
    } while (!is_done && is_kept && is_ended && freshet__now_ms() < until_ms);
    return is_done;
}
