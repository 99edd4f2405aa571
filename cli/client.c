/*
 * One question to a node over HTTP/1.1: a connection, a POST with JSON, the reply, all within one deadline; or one after the other on a
 * connection that is kept. Blocking, because whoever calls has nothing else to do.
 */
#include "connection.h"

#include <freshet/clock.h>
#include <freshet/text.h>

#include <stdlib.h>
#include <string.h>

enum { CLIENT_HEAD_BYTES_MAX = 65536, CLIENT_REPLY_BYTES_MAX = 1 << 28 };

/* ---- The reply ---- */

struct reply_head {
    int status;
    size_t bytes; /* the head with its empty line */
    int64_t length; /* of the body; −1: until the end */
    bool is_chunked;
};

static bool bad_reply(const struct cli_connection *connection, struct fr_err *err)
{
    return fr_fail(err, FR_UNAVAILABLE, "%s does not answer as a node; is it the API port, and does it speak TLS (--tls-ca)?",
                   connection->node->api);
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

static bool read_head(struct cli_connection *connection, struct fr_buffer *in, struct reply_head *head, struct fr_err *err)
{
    const char *end = NULL, *line;
    bool is_end = false;

    while (!(end = in->length > 0 ? memmem(in->bytes, in->length, "\r\n\r\n", 4) : NULL)) {
        if (is_end || in->length > CLIENT_HEAD_BYTES_MAX)
            return bad_reply(connection, err);
        if (!cli_connection__receive(connection, in, &is_end, err))
            return false;
    }
    *head = (struct reply_head){.length = -1, .bytes = (size_t)(end + 4 - (const char *)in->bytes)};
    if (in->length < 12 || memcmp(in->bytes, "HTTP/1.", 7) != 0)
        return bad_reply(connection, err);
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
static bool join_chunks(const struct cli_connection *connection, const struct fr_buffer *in, size_t at, struct fr_buffer *body,
                        struct fr_err *err)
{
    for (;;) {
        const char *start = (const char *)in->bytes + at;
        const char *line = memmem(start, in->length - at, "\r\n", 2);
        char *stop;
        unsigned long long length;

        if (!line)
            return bad_reply(connection, err);
        length = strtoull(start, &stop, 16);
        at = (size_t)(line + 2 - (const char *)in->bytes);
        if (stop == start || length > in->length - at)
            return bad_reply(connection, err);
        if (length == 0)
            return true;
        fr_buffer_append(body, in->bytes + at, (size_t)length);
        at += (size_t)length;
        if (in->length - at < 2)
            return bad_reply(connection, err);
        at += 2;
    }
}

static bool read_body(struct cli_connection *connection, struct fr_buffer *in, const struct reply_head *head,
                      struct fr_buffer *body, struct fr_err *err)
{
    bool has_length = head->length >= 0 && !head->is_chunked;
    bool is_end = false;

    while (!is_end && !(has_length && in->length - head->bytes >= (size_t)head->length)) {
        if (in->length > CLIENT_REPLY_BYTES_MAX)
            return fr_fail(err, FR_EXHAUSTED, "the reply of %s is too long", connection->node->api);
        if (!cli_connection__receive(connection, in, &is_end, err))
            return false;
    }
    if (head->is_chunked)
        return join_chunks(connection, in, head->bytes, body, err);
    if (has_length && in->length - head->bytes < (size_t)head->length)
        return cli_connection__unreachable(connection, "it closed the connection in the middle of its reply", err);
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

static bool refused(const struct cli_connection *connection, int status, const struct fr_buffer *body, struct fr_err *err)
{
    char code[64], message[FR_MESSAGE_BYTES - 100];
    enum fr_code kind = status == 503 ? FR_UNAVAILABLE : status == 404 ? FR_UNIMPLEMENTED : FR_BAD_INPUT;

    error_text(body, "code", code, sizeof code);
    error_text(body, "message", message, sizeof message);
    if (!*code)
        return fr_fail(err, kind, "%s answers with HTTP %d; is it the API port?", connection->node->api, status);
    return fr_fail(err, kind, "%s: %s", code, message);
}

/* The token is a header field; it is in nothing that is printed. */
static void build_request(const struct cli_node *node, const char *token, const char *method, struct fr_slice json,
                          int timeout_ms, bool is_kept, struct fr_buffer *request)
{
    fr_buffer_append_format(request,
                            "POST /%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nAccept: application/json\r\n"
                            "%sConnect-Timeout-Ms: %d\r\nContent-Length: %zu\r\n",
                            method, node->api, is_kept ? "" : "Connection: close\r\n", timeout_ms - timeout_ms / 10,
                            json.length); /* so that it says itself what was slow */
    if (token[0])
        fr_buffer_append_format(request, "Authorization: Bearer %s\r\n", token);
    fr_buffer_append_text(request, "\r\n");
    fr_buffer_append(request, json.bytes, json.length);
}

/* On an open connection. */
static bool exchange_on(struct cli_connection *connection, const struct fr_buffer *request, struct fr_buffer *reply,
                        struct fr_err *err)
{
    struct fr_buffer in;
    struct reply_head head = {0};
    bool is_good;

    if (request->is_failed)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    fr_buffer_init(&in);
    fr_buffer_clear(reply);
    is_good = cli_connection__send(connection, fr_buffer_slice(request), err) && read_head(connection, &in, &head, err) &&
              read_body(connection, &in, &head, reply, err) &&
              (head.status == 200 || refused(connection, head.status, reply, err));
    fr_buffer_fini(&in);
    return is_good;
}

static bool exchange(const struct cli_node *node, const struct fr_buffer *request, int timeout_ms, struct fr_buffer *reply,
                     struct fr_err *err)
{
    struct cli_connection connection = {.node = node, .fd = -1, .deadline_ms = fr_clock_monotonic_ms() + timeout_ms};
    bool is_good = cli_connection__open(&connection, err) && exchange_on(&connection, request, reply, err);

    cli_connection__close(&connection);
    return is_good;
}

bool cli_client__call(const struct cli_node *node, const char *method, struct fr_slice json, int timeout_ms,
                      struct fr_buffer *reply, struct fr_err *err)
{
    char token[CLI_TOKEN_BYTES];
    struct fr_buffer request;
    bool is_good;

    if (!cli_node__token(node, token, err))
        return false;
    fr_buffer_init(&request);
    build_request(node, token, method, json, timeout_ms, false, &request);
    is_good = exchange(node, &request, timeout_ms, reply, err);
    fr_buffer_fini(&request);
    return is_good;
}

bool cli_client__call_kept(struct cli_connection *connection, const char *method, struct fr_slice json, int timeout_ms,
                           struct fr_buffer *reply, struct fr_err *err)
{
    char token[CLI_TOKEN_BYTES];
    struct fr_buffer request;
    bool is_good;

    connection->deadline_ms = fr_clock_monotonic_ms() + timeout_ms;
    if (!cli_node__token(connection->node, token, err) || (connection->fd < 0 && !cli_connection__open(connection, err)))
        return false;
    fr_buffer_init(&request);
    build_request(connection->node, token, method, json, timeout_ms, true, &request);
    is_good = exchange_on(connection, &request, reply, err);
    fr_buffer_fini(&request);
    return is_good;
}

bool cli_client__get(const struct cli_node *node, const char *path, int timeout_ms, struct fr_buffer *reply, struct fr_err *err)
{
    struct fr_buffer request;
    bool is_good;

    fr_buffer_init(&request);
    fr_buffer_append_format(&request, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, node->api);
    is_good = exchange(node, &request, timeout_ms, reply, err);
    fr_buffer_fini(&request);
    return is_good;
}
