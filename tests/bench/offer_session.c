/* GetFeatures by gRPC, many calls on a connection; the socket does not block. */
#include "offer.h"

#include "load.h"

#include <freshet/clock.h>

#include <errno.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { WINDOW_BYTES = 64 << 20 };

struct call {
    const struct fr_buffer *message;
    size_t sent;
    int64_t due_us;
    int status; /* of gRPC; −1: none came */
};

static bool fail(const char *what)
{
    fprintf(stderr, "offer: %s\n", what);
    return false;
}

static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_length,
                     const uint8_t *value, size_t value_length, uint8_t flags, void *user)
{
    struct call *call = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);

    (void)value_length;
    (void)flags;
    (void)user;
    if (call && name_length == 11 && memcmp(name, "grpc-status", 11) == 0)
        call->status = atoi((const char *)value);
    return 0;
}

static enum offer_end end_of(const struct offer *offer, const struct call *call, int64_t took_us)
{
    switch (call->status) {
    case 0:
        return took_us <= offer->deadline_ms * INT64_C(1000) ? OFFER_GOOD : OFFER_LATE;
    case 4:
        return OFFER_EXPIRED;
    case 8:
        return OFFER_SHED;
    default:
        return OFFER_FAILED;
    }
}

static int on_close(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
    struct offer_session *self = user;
    struct call *call = nghttp2_session_get_stream_user_data(session, id);
    int took_us = (int)(fr_clock_monotonic_us() - call->due_us);
    enum offer_end end = end_of(self->offer, call, took_us);

    (void)error;
    self->offer->ends[end]++;
    if (end == OFFER_GOOD)
        fr_buffer_append(&self->offer->latencies, &took_us, sizeof took_us);
    self->open--;
    free(call);
    return 0;
}

bool offer_session_open(struct offer_session *self)
{
    const nghttp2_settings_entry window = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, WINDOW_BYTES};
    nghttp2_session_callbacks *callbacks;
    nghttp2_session *session = NULL;
    int error;

    fr_buffer_init(&self->out);
    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return fail("out of memory");
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_close);
    error = nghttp2_session_client_new(&session, callbacks, self);
    nghttp2_session_callbacks_del(callbacks);
    if (error == 0)
        error = nghttp2_submit_settings(session, NGHTTP2_FLAG_NONE, &window, 1);
    if (error == 0)
        error = nghttp2_session_set_local_window_size(session, NGHTTP2_FLAG_NONE, 0, WINDOW_BYTES);
    self->session = session;
    return error == 0 || fail(nghttp2_strerror(error));
}

static ssize_t read_message(nghttp2_session *session, int32_t id, uint8_t *bytes, size_t length, uint32_t *flags,
                            nghttp2_data_source *source, void *user)
{
    struct call *call = source->ptr;
    size_t left = call->message->length - call->sent;
    size_t count = left < length ? left : length;

    (void)session;
    (void)id;
    (void)user;
    memcpy(bytes, call->message->bytes + call->sent, count);
    call->sent += count;
    if (count == left)
        *flags |= NGHTTP2_DATA_FLAG_EOF;
    return (ssize_t)count;
}

#define FIELD(name_text, value_text)                                                                                           \
    {                                                                                                                          \
        .name = (uint8_t *)(name_text), .namelen = strlen(name_text), .value = (uint8_t *)(value_text),                        \
        .valuelen = strlen(value_text)                                                                                         \
    }

bool offer_session_ask(struct offer_session *self, int64_t due_us)
{
    struct offer *offer = self->offer;
    struct call *call = malloc(sizeof *call);
    char timeout[16];
    int32_t id;

    if (!call)
        return fail("out of memory");
    *call = (struct call){
        .message = &offer->messages[offer->asked++ % (uint64_t)offer->message_count], .due_us = due_us, .status = -1};
    snprintf(timeout, sizeof timeout, "%dm", offer->deadline_ms);

    const nghttp2_nv fields[] = {
        FIELD(":method", "POST"),         FIELD(":scheme", "http"), FIELD(":path", LOAD_PATH),
        FIELD(":authority", "localhost"), FIELD("te", "trailers"),  FIELD("content-type", "application/grpc"),
        FIELD("grpc-timeout", timeout),
    };
    const nghttp2_data_provider body = {.source.ptr = call, .read_callback = read_message};

    id = nghttp2_submit_request(self->session, NULL, fields, sizeof fields / sizeof *fields, &body, call);
    if (id < 0) {
        free(call);
        return fail(nghttp2_strerror(id));
    }
    self->open++;
    return true;
}

bool offer_session_flush(struct offer_session *self)
{
    struct fr_buffer *out = &self->out;

    for (;;) {
        const uint8_t *bytes;
        ssize_t length, sent;

        while (out->length < 1 << 18 && (length = nghttp2_session_mem_send(self->session, &bytes)) > 0)
            fr_buffer_append(out, bytes, (size_t)length);
        if (out->length == self->out_at)
            return true;
        sent = send(self->fd, out->bytes + self->out_at, out->length - self->out_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0)
            return errno == EAGAIN || fail("the server hung up");
        self->out_at += (size_t)sent;
        if (self->out_at < out->length)
            return true;
        fr_buffer_clear(out);
        self->out_at = 0;
    }
}

bool offer_session_read(struct offer_session *self)
{
    static uint8_t bytes[1 << 18];
    ssize_t got = recv(self->fd, bytes, sizeof bytes, MSG_DONTWAIT);

    if (got < 0)
        return errno == EAGAIN || fail("cannot read");
    if (got == 0)
        return fail("the server hung up");
    return nghttp2_session_mem_recv(self->session, bytes, (size_t)got) == got || fail("the server broke the protocol");
}

void offer_session_close(struct offer_session *self)
{
    nghttp2_session_del(self->session); /* what its open calls hold goes with the process */
    fr_buffer_fini(&self->out);
    close(self->fd);
}
