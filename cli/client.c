/*
 * One question to a node over HTTP/1.1: a connection, a POST with JSON, the reply, all within one deadline. Blocking, because
 * whoever calls has nothing else to do.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/text.h>

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENT_HEAD_BYTES_MAX = 65536, CLIENT_REPLY_BYTES_MAX = 1 << 28 };

struct client {
    const char *api;
    int fd;
    int64_t deadline_ms; /* monotonic */
};

/* ---- The way there ---- */

static bool unreachable(const char *api, const char *why, struct fr_err *err)
{
    return fr_fail(err, FR_UNAVAILABLE, "cannot reach %s: %s; is the node running? --api or FRESHET_API name another", api,
                   why);
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
static bool wait_for(const struct client *client, short events, struct fr_err *err)
{
    struct pollfd poller = {.fd = client->fd, .events = events};

    for (;;) {
        int64_t left_ms = client->deadline_ms - fr_clock_monotonic_ms();
        int ready = left_ms > 0 ? poll(&poller, 1, (int)left_ms) : 0;

        if (ready > 0)
            return true;
        if (ready == 0)
            return fr_fail(err, FR_DEADLINE, "no answer from %s in time", client->api);
        if (errno != EINTR || cli_signals__is_stopped())
            return fr_fail(err, FR_CANCELLED, "stopped while waiting for %s", client->api);
    }
}

static bool connect_to(struct client *client, const struct addrinfo *address, struct fr_err *err)
{
    int error = 0, on = 1;
    socklen_t length = sizeof error;

    client->fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (client->fd < 0)
        return unreachable(client->api, strerror(errno), err);
    (void)setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (connect(client->fd, address->ai_addr, address->ai_addrlen) == 0)
        return true;
    if (errno == EINPROGRESS) {
        if (!wait_for(client, POLLOUT, err))
            return unreachable(client->api, "no answer in time", err);
        if (getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &length) == 0 && error == 0)
            return true;
    } else {
        error = errno;
    }
    return unreachable(client->api, strerror(error), err);
}

static bool client_open(struct client *client, struct fr_err *err)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    char copy[300], *host = NULL, *port = NULL;
    bool is_open = false;
    int result;

    if (!split_address(client->api, copy, sizeof copy, &host, &port, err))
        return false;
    result = getaddrinfo(host, port, &hints, &found);
    if (result != 0)
        return unreachable(client->api, gai_strerror(result), err);
    for (const struct addrinfo *address = found; address && !is_open; address = address->ai_next) {
        if (client->fd >= 0)
            close(client->fd);
        is_open = connect_to(client, address, err);
    }
    freeaddrinfo(found);
    return is_open;
}

static bool send_all(struct client *client, const struct fr_buffer *request, struct fr_err *err)
{
    size_t sent = 0;

    while (sent < request->length) {
        ssize_t result = send(client->fd, request->bytes + sent, request->length - sent, MSG_NOSIGNAL);

        if (result > 0)
            sent += (size_t)result;
        else if (errno != EAGAIN && errno != EINTR)
            return unreachable(client->api, strerror(errno), err);
        else if (!wait_for(client, POLLOUT, err))
            return false;
    }
    return true;
}

/* Appends what comes next; *is_end when the node has closed. */
static bool receive(struct client *client, struct fr_buffer *in, bool *is_end, struct fr_err *err)
{
    uint8_t *room = fr_buffer_reserve(in, 65536);

    if (!room)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    for (;;) {
        ssize_t result = recv(client->fd, room, 65536, 0);

        if (result >= 0) {
            in->length += (size_t)result;
            *is_end = result == 0;
            return true;
        }
        if (errno != EAGAIN && errno != EINTR)
            return unreachable(client->api, strerror(errno), err);
        if (!wait_for(client, POLLIN, err))
            return false;
    }
}

/* ---- The reply ---- */

struct reply_head {
    int status;
    size_t bytes; /* the head with its empty line */
    int64_t length; /* of the body; −1: until the end */
    bool is_chunked;
};

static bool bad_reply(const struct client *client, struct fr_err *err)
{
    return fr_fail(err, FR_UNAVAILABLE, "%s does not answer as a node; is it the API port?", client->api);
}

static void read_header(struct fr_slice line, struct reply_head *head)
{
    const char *text = line.bytes;
    const char *colon = memchr(text, ':', line.length);
    struct fr_slice name, value;
    uint64_t length;

    if (!colon)
        return;
    name = fr_slice(text, (size_t)(colon - text));
    value = fr_slice(colon + 1, line.length - name.length - 1);
    while (value.length > 0 && *(const char *)value.bytes == ' ')
        value = fr_slice((const char *)value.bytes + 1, value.length - 1);
    if (fr_text_equal_nocase(name, "content-length") && fr_text_uint64(value, &length) && length <= CLIENT_REPLY_BYTES_MAX)
        head->length = (int64_t)length;
    else if (fr_text_equal_nocase(name, "transfer-encoding") && fr_text_equal_nocase(value, "chunked"))
        head->is_chunked = true;
}

static bool read_head(struct client *client, struct fr_buffer *in, struct reply_head *head, struct fr_err *err)
{
    const char *end = NULL, *line;
    bool is_end = false;

    while (!(end = in->length > 0 ? memmem(in->bytes, in->length, "\r\n\r\n", 4) : NULL)) {
        if (is_end || in->length > CLIENT_HEAD_BYTES_MAX)
            return bad_reply(client, err);
        if (!receive(client, in, &is_end, err))
            return false;
    }
    *head = (struct reply_head){.length = -1, .bytes = (size_t)(end + 4 - (const char *)in->bytes)};
    if (in->length < 12 || memcmp(in->bytes, "HTTP/1.", 7) != 0)
        return bad_reply(client, err);
    head->status = atoi((const char *)in->bytes + 9);
    for (line = memmem(in->bytes, head->bytes, "\r\n", 2); line && line < end;) {
        const char *start = line + 2;

        line = memmem(start, (size_t)(end + 2 - start), "\r\n", 2);
        if (line)
            read_header(fr_slice(start, (size_t)(line - start)), head);
    }
    return true;
}

/* The chunks of in[at …] put together in `body`. */
static bool join_chunks(const struct client *client, const struct fr_buffer *in, size_t at, struct fr_buffer *body,
                        struct fr_err *err)
{
    for (;;) {
        const char *start = (const char *)in->bytes + at;
        const char *line = memmem(start, in->length - at, "\r\n", 2);
        char *stop;
        unsigned long long length;

        if (!line)
            return bad_reply(client, err);
        length = strtoull(start, &stop, 16);
        at = (size_t)(line + 2 - (const char *)in->bytes);
        if (stop == start || length > in->length - at)
            return bad_reply(client, err);
        if (length == 0)
            return true;
        fr_buffer_append(body, in->bytes + at, (size_t)length);
        at += (size_t)length;
        if (in->length - at < 2)
            return bad_reply(client, err);
        at += 2;
    }
}

static bool read_body(struct client *client, struct fr_buffer *in, const struct reply_head *head, struct fr_buffer *body,
                      struct fr_err *err)
{
    bool has_length = head->length >= 0 && !head->is_chunked;
    bool is_end = false;

    while (!is_end && !(has_length && in->length - head->bytes >= (size_t)head->length)) {
        if (in->length > CLIENT_REPLY_BYTES_MAX)
            return fr_fail(err, FR_EXHAUSTED, "the reply of %s is too long", client->api);
        if (!receive(client, in, &is_end, err))
            return false;
    }
    if (head->is_chunked)
        return join_chunks(client, in, head->bytes, body, err);
    if (has_length && in->length - head->bytes < (size_t)head->length)
        return unreachable(client->api, "it closed the connection in the middle of its reply", err);
    fr_buffer_append(body, in->bytes + head->bytes, has_length ? (size_t)head->length : in->length - head->bytes);
    return true;
}

/* The text of "key":"…" in a flat JSON object, its escapes undone where they are simple; empty when there is none. */
static void error_text(const struct fr_buffer *body, const char *key, char *out, size_t capacity)
{
    char wanted[32];
    int wanted_bytes = snprintf(wanted, sizeof wanted, "\"%s\"", key);
    const char *end = (const char *)body->bytes + body->length;
    const char *at = body->length > 0 ? memmem(body->bytes, body->length, wanted, (size_t)wanted_bytes) : NULL;
    size_t length = 0;

    out[0] = 0;
    if (!at)
        return;
    at += wanted_bytes;
    while (at < end && (*at == ':' || *at == ' '))
        at++;
    if (at == end || *at++ != '"')
        return;
    for (; at < end && *at != '"' && length + 1 < capacity; at++) {
        if (*at == '\\' && at + 1 < end)
            at++;
        out[length++] = *at;
    }
    out[length] = 0;
}

static bool refused(const struct client *client, int status, const struct fr_buffer *body, struct fr_err *err)
{
    char code[64], message[FR_MESSAGE_BYTES - 100];
    enum fr_code kind = status == 503 ? FR_UNAVAILABLE : status == 404 ? FR_UNIMPLEMENTED : FR_BAD_INPUT;

    error_text(body, "code", code, sizeof code);
    error_text(body, "message", message, sizeof message);
    if (!*code)
        return fr_fail(err, kind, "%s answers with HTTP %d; is it the API port?", client->api, status);
    return fr_fail(err, kind, "%s: %s", code, message);
}

bool cli_client__call(const char *api, const char *method, struct fr_slice json, int timeout_ms, struct fr_buffer *reply,
                      struct fr_err *err)
{
    struct client client = {.api = api, .fd = -1, .deadline_ms = fr_clock_monotonic_ms() + timeout_ms};
    struct fr_buffer request, in;
    struct reply_head head = {0};
    bool is_good = false;

    fr_buffer_init(&request);
    fr_buffer_init(&in);
    fr_buffer_clear(reply);
    fr_buffer_append_format(&request,
                            "POST /%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
                            "Connection: close\r\nConnect-Timeout-Ms: %d\r\nContent-Length: %zu\r\n\r\n",
                            method, api, timeout_ms - timeout_ms / 10, json.length); /* so that it says itself what was slow */
    fr_buffer_append(&request, json.bytes, json.length);
    if (request.is_failed) {
        (void)fr_fail(err, FR_EXHAUSTED, "out of memory");
        goto out;
    }
    if (!client_open(&client, err) || !send_all(&client, &request, err) || !read_head(&client, &in, &head, err) ||
        !read_body(&client, &in, &head, reply, err))
        goto out;
    is_good = head.status == 200 ? true : refused(&client, head.status, reply, err);
out:
    if (client.fd >= 0)
        close(client.fd);
    fr_buffer_fini(&request);
    fr_buffer_fini(&in);
    return is_good;
}
