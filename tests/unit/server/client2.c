#include "client2.h"

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };

static struct client2_reply *reply_of(nghttp2_session *session, int32_t id)
{
    return nghttp2_session_get_stream_user_data(session, id);
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_length,
                     const uint8_t *value, size_t value_length, uint8_t flags, void *user)
{
    struct client2_reply *reply = reply_of(session, frame->hd.stream_id);
    size_t at = strlen(reply->fields);

    (void)flags;
    (void)user;
    if (name_length == 7 && memcmp(name, ":status", 7) == 0)
        reply->status = atoi((const char *)value);
    snprintf(reply->fields + at, sizeof reply->fields - at, "%.*s: %.*s\n", (int)name_length, (const char *)name,
             (int)value_length, (const char *)value);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t length, void *user)
{
    struct client2_reply *reply = reply_of(session, id);

    (void)flags;
    (void)user;
    fr_buffer_append(&reply->body, bytes, length);
    if (reply->reads)
        nghttp2_session_consume(session, id, length);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
    struct client2_reply *reply = reply_of(session, id);

    (void)user;
    reply->is_closed = true;
    reply->error = error;
    return 0;
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct client2 *client = user;

    if (frame->hd.type == NGHTTP2_GOAWAY) {
        client->goaways++;
        client->goaway_error = frame->goaway.error_code;
    }
    if (frame->hd.type == NGHTTP2_PING && frame->hd.flags & NGHTTP2_FLAG_ACK) {
        client->pongs++;
    } else if (frame->hd.type == NGHTTP2_PING) {
        client->pings++;
        if (!client->is_mute)
            nghttp2_submit_ping(session, NGHTTP2_FLAG_ACK, frame->ping.opaque_data);
    }
    return 0;
}

static ssize_t on_send(nghttp2_session *session, const uint8_t *bytes, size_t length, int flags, void *user)
{
    struct client2 *client = user;
    ssize_t sent = send(client->fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);

    (void)session;
    (void)flags;
    if (sent < 0)
        return errno == EAGAIN ? NGHTTP2_ERR_WOULDBLOCK : (ssize_t)length; /* a broken one is seen when reading */
    return sent;
}

struct client2 *client2_open(const char *address)
{
    struct client2 *client = calloc(1, sizeof *client);
    struct client *plain = client_open(address);
    nghttp2_session_callbacks *callbacks;
    nghttp2_option *option;

    assert_non_null(client);
    client->fd = dup(plain->fd);
    client_close(plain);
    client->reads = true;
    assert_int_equal(nghttp2_session_callbacks_new(&callbacks), 0);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_send_callback(callbacks, on_send);
    assert_int_equal(nghttp2_option_new(&option), 0);
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_no_auto_ping_ack(option, 1);
    assert_int_equal(nghttp2_session_client_new2(&client->session, callbacks, client, option), 0);
    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    nghttp2_submit_settings(client->session, NGHTTP2_FLAG_NONE, NULL, 0);
    return client;
}

void client2_close(struct client2 *client)
{
    for (int i = 0; i < client->count; i++) {
        fr_buffer_fini(&client->replies[i].body);
        fr_buffer_fini(&client->replies[i].request);
    }
    nghttp2_session_del(client->session);
    close(client->fd);
    free(client);
}

static ssize_t read_body(nghttp2_session *session, int32_t id, uint8_t *bytes, size_t length, uint32_t *flags,
                         nghttp2_data_source *source, void *user)
{
    struct client2_reply *reply = source->ptr;
    size_t left = reply->request.length - reply->request_at;

    (void)session;
    (void)id;
    (void)user;
    if (left == 0 && !reply->is_ended)
        return NGHTTP2_ERR_DEFERRED;
    if (left > length)
        left = length;
    if (left > 0)
        memcpy(bytes, reply->request.bytes + reply->request_at, left);
    reply->request_at += left;
    if (reply->is_ended && reply->request_at == reply->request.length)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)left;
}

static size_t parse_fields(char *text, nghttp2_nv *fields, size_t most)
{
    size_t count = 0;

    for (char *line = strtok(text, "\n"); line && count < most; line = strtok(NULL, "\n")) {
        char *colon = strchr(line + 1, ':');

        assert_non_null(colon);
        *colon = '\0';
        fields[count++] = (nghttp2_nv){
            .name = (uint8_t *)line, .namelen = strlen(line), .value = (uint8_t *)colon + 2, .valuelen = strlen(colon + 2)};
    }
    return count;
}

struct client2_reply *client2_begin(struct client2 *client, const char *fields, struct fr_slice body, bool is_ended)
{
    static char text[256 << 10];
    static nghttp2_nv parsed[4096];
    struct client2_reply *reply = &client->replies[client->count++];
    nghttp2_data_provider provider = {.source.ptr = reply, .read_callback = read_body};
    size_t count;

    assert_true(client->count <= CLIENT2_REPLIES);
    *reply = (struct client2_reply){.is_ended = is_ended, .reads = client->reads};
    fr_buffer_append(&reply->request, body.bytes, body.length);
    snprintf(text, sizeof text, ":scheme: http\n:authority: test\n%s", fields);
    count = parse_fields(text, parsed, sizeof parsed / sizeof *parsed);
    reply->id =
        nghttp2_submit_request(client->session, NULL, parsed, count, body.length > 0 || !is_ended ? &provider : NULL, reply);
    assert_true(reply->id > 0);
    nghttp2_session_send(client->session);
    return reply;
}

void client2_more(struct client2 *client, struct client2_reply *reply, struct fr_slice body, bool is_ended)
{
    fr_buffer_append(&reply->request, body.bytes, body.length);
    reply->is_ended = is_ended;
    nghttp2_session_resume_data(client->session, reply->id);
    nghttp2_session_send(client->session);
}

void client2_reset(struct client2 *client, struct client2_reply *reply, uint32_t error)
{
    nghttp2_submit_rst_stream(client->session, NGHTTP2_FLAG_NONE, reply->id, error);
    nghttp2_session_send(client->session);
}

void client2_await(struct client2 *client, bool (*is_met)(struct client2 *client, void *user), void *user)
{
    while (!is_met(client, user)) {
        struct pollfd poller = {.fd = client->fd, .events = POLLIN};
        uint8_t bytes[64 << 10];
        ssize_t got;

        nghttp2_session_send(client->session);
        if (client->is_over || poll(&poller, 1, PATIENCE_MS) != 1)
            fail_msg("%s", client->is_over ? "the server closed the connection" : "nothing came");
        got = recv(client->fd, bytes, sizeof bytes, 0);
        if (got <= 0)
            client->is_over = true;
        else
            assert_int_equal(nghttp2_session_mem_recv(client->session, bytes, (size_t)got), got);
        nghttp2_session_send(client->session);
    }
}

static bool reply_is_closed(struct client2 *client, void *user)
{
    (void)client;
    return ((struct client2_reply *)user)->is_closed;
}

void client2_await_reply(struct client2 *client, struct client2_reply *reply)
{
    client2_await(client, reply_is_closed, reply);
}

struct wanted {
    struct client2_reply *reply;
    size_t bytes;
};

static bool body_is_there(struct client2 *client, void *user)
{
    const struct wanted *wanted = user;

    (void)client;
    return wanted->reply->body.length >= wanted->bytes;
}

void client2_await_body(struct client2 *client, struct client2_reply *reply, size_t bytes)
{
    struct wanted wanted = {reply, bytes};

    client2_await(client, body_is_there, &wanted);
}

static bool has_pings(struct client2 *client, void *user)
{
    return client->pings >= *(const int *)user;
}

void client2_await_pings(struct client2 *client, int count)
{
    client2_await(client, has_pings, &count);
}

static bool is_over(struct client2 *client, void *user)
{
    (void)user;
    return client->is_over;
}

static bool allows_streams(struct client2 *client, void *user)
{
    return nghttp2_session_get_remote_settings(client->session, NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS) == *(uint32_t *)user;
}

void client2_await_streams(struct client2 *client, uint32_t count)
{
    client2_await(client, allows_streams, &count);
}

void client2_await_end(struct client2 *client)
{
    client2_await(client, is_over, NULL);
}

struct client2_reply *client2_post(struct client2 *client, const char *path, const char *content_type, struct fr_slice body)
{
    char fields[512];
    struct client2_reply *reply;

    snprintf(fields, sizeof fields, ":method: POST\n:path: %s\ncontent-type: %s\n", path, content_type);
    reply = client2_begin(client, fields, body, true);
    client2_await_reply(client, reply);
    return reply;
}

const char *client2_field(const struct client2_reply *reply, const char *name)
{
    static char value[1024];
    size_t length = strlen(name);

    for (const char *line = reply->fields; *line; line = strchr(line, '\n') + 1) {
        if (strncmp(line, name, length) != 0 || line[length] != ':')
            continue;
        snprintf(value, sizeof value, "%.*s", (int)(strchr(line, '\n') - line - (int)length - 2), line + length + 2);
        return value;
    }
    return NULL;
}

/* ---- Raw frames ---- */

struct client *raw_open(const char *address)
{
    struct client *client = client_open(address);

    client_send(client, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    raw_frame(client, 4, 0, 0, NULL, 0);
    return client;
}

void raw_frame(struct client *client, uint8_t type, uint8_t flags, int32_t id, const void *payload, size_t length)
{
    uint8_t head[9] = {(uint8_t)(length >> 16), (uint8_t)(length >> 8), (uint8_t)length,    type,       flags,
                       (uint8_t)(id >> 24),     (uint8_t)(id >> 16),    (uint8_t)(id >> 8), (uint8_t)id};
    ssize_t ignored = send(client->fd, head, sizeof head, MSG_NOSIGNAL);

    if (length > 0)
        ignored = send(client->fd, payload, length, MSG_NOSIGNAL);
    (void)ignored; /* the server may have had enough already */
}

static bool read_all(struct client *client, uint8_t *bytes, size_t length)
{
    while (length > 0) {
        struct pollfd poller = {.fd = client->fd, .events = POLLIN};
        ssize_t got;

        if (poll(&poller, 1, PATIENCE_MS) != 1)
            fail_msg("nothing came");
        got = recv(client->fd, bytes, length, 0);
        if (got <= 0)
            return false;
        bytes += got;
        length -= (size_t)got;
    }
    return true;
}

struct raw_frame {
    uint8_t type, flags;
    int32_t id;
    uint8_t payload[1 << 16];
};

/* False at the end of the connection. */
static bool read_frame(struct client *client, struct raw_frame *frame)
{
    uint8_t head[9];
    size_t length;

    if (!read_all(client, head, sizeof head))
        return false;
    length = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
    frame->type = head[3];
    frame->flags = head[4];
    frame->id = (int32_t)((uint32_t)head[5] << 24 | (uint32_t)head[6] << 16 | (uint32_t)head[7] << 8 | head[8]);
    assert_true(length <= sizeof frame->payload);
    return read_all(client, frame->payload, length);
}

int raw_await_goaway(struct client *client)
{
    struct raw_frame frame;

    while (read_frame(client, &frame))
        if (frame.type == NGHTTP2_GOAWAY && frame.payload[7] != 0)
            return frame.payload[7];
    return -1;
}

int raw_await_reset(struct client *client, int32_t id)
{
    struct raw_frame frame;

    while (read_frame(client, &frame))
        if (frame.type == NGHTTP2_RST_STREAM && frame.id == id)
            return frame.payload[3];
    return -1;
}

bool raw_await_pong(struct client *client)
{
    struct raw_frame frame;

    while (read_frame(client, &frame))
        if (frame.type == NGHTTP2_PING && frame.flags & NGHTTP2_FLAG_ACK)
            return true;
    return false;
}
