/* GetFeatures by gRPC, over HTTP/2 with prior knowledge. */
#include "load.h"

#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { WINDOW_BYTES = 4 << 20, PREFIX_BYTES = 5 };

struct grpc {
    nghttp2_session *session;
    uint8_t prefix[PREFIX_BYTES];
    size_t sent; /* of prefix and message */
    bool is_ok; /* grpc-status: 0 */
};

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_length,
                     const uint8_t *value, size_t value_length, uint8_t flags, void *user)
{
    struct grpc *grpc = ((struct load_connection *)user)->state;

    (void)session;
    (void)frame;
    (void)flags;
    if (name_length == 11 && memcmp(name, "grpc-status", 11) == 0)
        grpc->is_ok = value_length == 1 && value[0] == '0';
    else if (name_length == 12 && memcmp(name, "grpc-message", 12) == 0)
        fprintf(stderr, "load: answered %.*s\n", (int)value_length, (const char *)value);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t length, void *user)
{
    (void)session;
    (void)flags;
    (void)id;
    fr_buffer_append(&((struct load_connection *)user)->in, bytes, length);
    return 0;
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
    struct load_connection *connection = user;
    const struct grpc *grpc = connection->state;
    const struct fr_buffer *in = &connection->in;

    (void)session;
    (void)id;
    if (error != 0 || !grpc->is_ok || in->is_failed || in->length < PREFIX_BYTES) {
        fprintf(stderr, "load: the call failed, HTTP/2 error %u\n", error);
        return NGHTTP2_ERR_CALLBACK_FAILURE;
    }
    connection->reply = fr_slice(in->bytes + PREFIX_BYTES, in->length - PREFIX_BYTES);
    connection->is_answered = true;
    return 0;
}

static bool fail(int error)
{
    fprintf(stderr, "load: %s\n", nghttp2_strerror(error));
    return false;
}

/* All that the session wants to say now. */
static bool flush(struct load_connection *connection)
{
    const struct grpc *grpc = connection->state;
    const uint8_t *bytes;
    ssize_t length;

    while ((length = nghttp2_session_mem_send(grpc->session, &bytes)) > 0)
        fr_buffer_append(&connection->out, bytes, (size_t)length);
    return length == 0 || fail((int)length);
}

static bool open_session(struct load_connection *connection)
{
    const nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES};
    struct grpc *grpc = connection->state = calloc(1, sizeof *grpc);
    nghttp2_session_callbacks *callbacks;

    if (!grpc || nghttp2_session_callbacks_new(&callbacks) != 0)
        return fail(NGHTTP2_ERR_NOMEM);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    int error = nghttp2_session_client_new(&grpc->session, callbacks, connection);
    nghttp2_session_callbacks_del(callbacks);
    if (error == 0)
        error = nghttp2_submit_settings(grpc->session, NGHTTP2_FLAG_NONE, &window, 1);
    if (error == 0)
        error = nghttp2_session_set_local_window_size(grpc->session, NGHTTP2_FLAG_NONE, 0, WINDOW_BYTES);
    return error == 0 || fail(error);
}

static void close_session(struct load_connection *connection)
{
    struct grpc *grpc = connection->state;

    if (grpc)
        nghttp2_session_del(grpc->session);
    free(grpc);
}

static ssize_t read_message(nghttp2_session *session, int32_t id, uint8_t *bytes, size_t length, uint32_t *flags,
                            nghttp2_data_source *source, void *user)
{
    struct load_connection *connection = source->ptr;
    struct grpc *grpc = connection->state;
    size_t total = PREFIX_BYTES + connection->message.length, count = 0;

    (void)session;
    (void)id;
    (void)user;
    while (grpc->sent < PREFIX_BYTES && count < length)
        bytes[count++] = grpc->prefix[grpc->sent++];
    if (count < length && grpc->sent < total) {
        size_t rest = total - grpc->sent < length - count ? total - grpc->sent : length - count;

        memcpy(bytes + count, connection->message.bytes + grpc->sent - PREFIX_BYTES, rest);
        grpc->sent += rest;
        count += rest;
    }
    if (grpc->sent == total)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)count;
}

#define FIELD(name_text, value_text)                                                                                           \
    {                                                                                                                          \
        .name = (uint8_t *)(name_text), .namelen = sizeof(name_text) - 1, .value = (uint8_t *)(value_text),                    \
        .valuelen = sizeof(value_text) - 1                                                                                     \
    }

static bool ask(struct load_connection *connection)
{
    static const nghttp2_nv fields[] = {
        FIELD(":method", "POST"),         FIELD(":scheme", "http"), FIELD(":path", LOAD_PATH),
        FIELD(":authority", "localhost"), FIELD("te", "trailers"),  FIELD("content-type", "application/grpc"),
    };
    struct grpc *grpc = connection->state;
    nghttp2_data_provider body = {.source.ptr = connection, .read_callback = read_message};
    size_t length = connection->message.length;

    for (int i = 1; i < PREFIX_BYTES; i++)
        grpc->prefix[i] = (uint8_t)(length >> (8 * (PREFIX_BYTES - 1 - i)));
    grpc->sent = 0;
    grpc->is_ok = false;
    int32_t id = nghttp2_submit_request(grpc->session, NULL, fields, sizeof fields / sizeof *fields, &body, NULL);
    return id > 0 ? flush(connection) : fail(id);
}

static bool take(struct load_connection *connection, struct fr_slice bytes)
{
    const struct grpc *grpc = connection->state;
    ssize_t taken = nghttp2_session_mem_recv(grpc->session, bytes.bytes, bytes.length);

    return taken == (ssize_t)bytes.length ? flush(connection) : fail((int)taken);
}

const struct load_protocol load_grpc = {
    .name = "grpc",
    .open = open_session,
    .ask = ask,
    .take = take,
    .close = close_session,
};
