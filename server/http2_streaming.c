/*
 * A streaming method on a stream of HTTP/2. It is asked for a message when the one before has left, on the loop, while the
 * connection has room; so there is one message at most, and nothing to lock. Its call lasts as long as the stream.
 */
#include "http2.h"

#include <freshet/clock.h>

#include <nghttp2/nghttp2.h>

enum { REQUEST_BYTES = SERVER_STREAM_WINDOW / 2 }; /* so that a whole one always fits the stream's window */

static const struct server_method *method_of(const struct server__stream *stream)
{
    return stream->call->method->method;
}

void server__stream_forget(struct server__stream *stream)
{
    void *state = stream->state;

    stream->state = NULL;
    if (state && method_of(stream)->streaming->end)
        method_of(stream)->streaming->end(method_of(stream)->user, state);
}

/* The trailers say how it ended. */
void server__stream_close(struct server__stream *stream, enum server__status status, const char *message)
{
    struct server__http2 *http2 = stream->http2;

    server__stream_forget(stream);
    if (status != SERVER_STATUS_OK)
        server__call_refuse(stream->call, status, "%s", message);
    stream->stage = SERVER_STREAM_REPLY;
    http2->open_count--;
    http2->working++;
    stream->due_ms = fr_clock_monotonic_ms() + server__stream_limits(stream)->body_ms;
    nghttp2_session_resume_data(http2->session, stream->id);
}

/* Decodes a request and hands it over; false: it went wrong, and the call says how. */
static bool hand_over(struct server__stream *stream, struct fr_slice message)
{
    struct server__call *call = stream->call;
    const struct server_method *method = method_of(stream);
    struct fr_buffer plain;
    struct fr_err err;
    bool is_taken;

    fr_arena_reset(call->loop->arena, SERVER_KEPT_BYTES);
    fr_buffer_init(&plain);
    call->coding.is_packed = ((const uint8_t *)message.bytes)[-SERVER_GRPC_PREFIX] == 1;
    if (!server__gzip_request(call, &message, &plain)) {
        fr_buffer_fini(&plain);
        return false;
    }
    call->request = server__call_read(call, message, &err);
    fr_buffer_fini(&plain);
    is_taken = call->request && method->streaming->request(method->user, &call->seen, call->request, &stream->state, &err);
    call->request = NULL;
    stream->has_request = true;
    if (!is_taken)
        server__call_refuse(call, server__status_of(err.code), "%s", err.message);
    return is_taken;
}

enum taken { TOOK_NONE, TOOK_ONE, TOOK_BAD };

/* The next of the requests that have come. */
static enum taken take_request(struct server__stream *stream)
{
    struct fr_buffer *request = &stream->request;
    uint64_t most = method_of(stream)->streaming->takes_many ? REQUEST_BYTES : server__stream_limits(stream)->message_bytes;
    struct fr_slice message;
    size_t used;
    enum server__status status;
    const char *reason;
    bool is_taken;

    switch (server__grpc_message(fr_buffer_slice(request), stream->coding, most, &message, &used, &status, &reason)) {
    case SERVER_MORE:
        if (!stream->is_whole || request->length == 0)
            return TOOK_NONE;
        server__call_refuse(stream->call, SERVER_STATUS_INTERNAL, "the request ends in the middle of a message");
        return TOOK_BAD;
    case SERVER_FAILED:
        server__call_refuse(stream->call, status, "%s", reason);
        return TOOK_BAD;
    case SERVER_DONE:
        break;
    }
    is_taken = hand_over(stream, message);
    request->length -= used;
    memmove(request->bytes, request->bytes + used, request->length);
    if (request->length == 0)
        fr_buffer_fini(request);
    nghttp2_session_consume_stream(stream->http2->session, stream->id, used);
    return is_taken ? TOOK_ONE : TOOK_BAD;
}

static void close_as_call_says(struct server__stream *stream)
{
    server__stream_close(stream, stream->call->status, stream->call->message);
}

/* In line since its first request was whole. One that is refused gets the answer of a unary call: a head alone. */
void server__stream_open(struct server__stream *stream)
{
    struct server__call *call = stream->call;

    call->seen.method = call->method->path + 1;
    call->seen.peer = call->peer;
    call->seen.principal = call->principal;
    call->seen.arena = call->loop->arena;
    if (!server__line_admits(call) || take_request(stream) == TOOK_BAD) {
        server__stream_forget(stream);
        stream->http2->working++;
        server__call_finish(&call);
        return;
    }
    stream->stage = SERVER_STREAM_OPEN;
    stream->http2->open_count++;
    stream->wake_ms = 0;
    stream->due_ms = call->seen.deadline_us == INT64_MAX ? INT64_MAX : call->seen.deadline_us / 1000;
    if (!server__stream_submit_head(stream, call, false))
        server__stream_reset(stream, NGHTTP2_INTERNAL_ERROR);
}

bool server__stream_is_due(const struct server__stream *stream)
{
    return stream->stage == SERVER_STREAM_OPEN && server__stream_left(stream) == 0 && stream->wake_ms <= stream->http2->now_ms;
}

static void send_message(struct server__stream *stream, const ProtobufCMessage *response)
{
    struct server__call *call = stream->call;

    fr_buffer_clear(call->body);
    server__call_write(call, response);
    if (call->body->is_failed) {
        server__stream_close(stream, SERVER_STATUS_RESOURCE_EXHAUSTED, "out of memory for the reply");
        return;
    }
    server__stream_set_message(stream, fr_buffer_slice(call->body), false);
    nghttp2_session_resume_data(stream->http2->session, stream->id);
    if (server__stream_send(stream, call) && server__stream_left(stream) == 0)
        stream->due_ms = call->seen.deadline_us == INT64_MAX ? INT64_MAX : call->seen.deadline_us / 1000;
}

/* Nothing to send: the next request, if one is here; else it waits, or ends when there can be no other. */
static void wait_or_take(struct server__stream *stream, int64_t wait_ms)
{
    switch (take_request(stream)) {
    case TOOK_ONE:
        stream->wake_ms = 0;
        break;
    case TOOK_BAD:
        close_as_call_says(stream);
        break;
    case TOOK_NONE:
        stream->wake_ms = wait_ms == INT64_MAX ? INT64_MAX : stream->http2->now_ms + wait_ms;
        if (wait_ms == INT64_MAX && stream->is_whole)
            server__stream_close(stream, SERVER_STATUS_OK, "");
        break;
    }
}

void server__stream_step(struct server__stream *stream)
{
    const struct server_method *method = method_of(stream);
    struct server__call *call = stream->call;
    ProtobufCMessage *response = NULL;
    int64_t wait_ms = INT64_MAX;
    struct fr_err err;

    if (call->loop->is_draining || stream->http2->connection->age == SERVER_AGE_OVERDUE) {
        server__stream_close(stream, SERVER_STATUS_UNAVAILABLE,
                             call->loop->is_draining ? "the server is stopping"
                                                     : "the connection has reached its age; ask again on another");
        return;
    }
    if (!stream->has_request) { /* the client sent none and ended its side */
        server__stream_close(stream, SERVER_STATUS_OK, "");
        return;
    }
    fr_arena_reset(call->loop->arena, SERVER_KEPT_BYTES);
    switch (method->streaming->next(method->user, &call->seen, stream->state, &response, &wait_ms, &err)) {
    case SERVER_STEP_SEND:
        send_message(stream, response);
        break;
    case SERVER_STEP_WAIT:
        wait_or_take(stream, wait_ms);
        break;
    case SERVER_STEP_END:
        server__stream_close(stream, SERVER_STATUS_OK, "");
        break;
    case SERVER_STEP_FAIL:
        server__stream_close(stream, server__status_of(err.code), err.message);
        break;
    }
}
