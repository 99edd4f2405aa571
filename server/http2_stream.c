/*
 * A stream of HTTP/2: one request, by whichever convention its content type says, until its call runs.
 */
#include "http2.h"

#include <freshet/clock.h>

#include <nghttp2/nghttp2.h>
#include <stdlib.h>

static struct server__loop *loop_of(const struct server__stream *stream)
{
    return stream->http2->connection->loop;
}

const struct server_limits *server__stream_limits(const struct server__stream *stream)
{
    return &loop_of(stream)->server->options.limits;
}

static nghttp2_session *session_of(const struct server__stream *stream)
{
    return stream->http2->session;
}

void server__stream_reset(struct server__stream *stream, uint32_t error)
{
    nghttp2_submit_rst_stream(session_of(stream), NGHTTP2_FLAG_NONE, stream->id, error);
}

/* ---- Beginning and end ---- */

struct server__stream *server__stream_new(struct server__http2 *http2, int32_t id)
{
    struct server__stream *stream = calloc(1, sizeof *stream);

    if (!stream)
        return NULL;
    stream->http2 = http2;
    stream->id = id;
    stream->due_ms = INT64_MAX; /* the head has its own time */
    fr_buffer_init(&stream->request);
    fr_buffer_init(&stream->own_reply);
    stream->next = http2->streams;
    if (http2->streams)
        http2->streams->previous = stream;
    http2->streams = stream;
    http2->stream_count++;
    return stream;
}

static void line_up(struct server__stream *stream)
{
    struct server__http2 *http2 = stream->http2;

    stream->stage = SERVER_STREAM_READY;
    stream->due_ms = INT64_MAX;
    stream->call->whole_us = fr_clock_monotonic_us();
    if (stream->call->status != SERVER_STATUS_OK || !http2->ready) {
        stream->next_ready = http2->ready;
        http2->ready = stream;
    } else {
        stream->next_ready = NULL;
        http2->ready_last->next_ready = stream;
    }
    if (!stream->next_ready)
        http2->ready_last = stream;
    http2->working++;
    server__line_count(http2->connection, 1);
    if (stream->call->status == SERVER_STATUS_OK)
        server__line_join(http2->connection); /* now, so that the next ones see it wait */
    if (http2->large == stream)
        http2->large = NULL;
}

static void leave_line(struct server__stream *stream)
{
    struct server__http2 *http2 = stream->http2;
    struct server__stream *before = NULL;

    for (struct server__stream *at = http2->ready; at != stream; at = at->next_ready)
        before = at;
    if (before)
        before->next_ready = stream->next_ready;
    else
        http2->ready = stream->next_ready;
    if (http2->ready_last == stream)
        http2->ready_last = before;
    server__line_count(http2->connection, -1);
}

void server__stream_drop_reply(struct server__stream *stream)
{
    stream->http2->waiting_bytes -= stream->own_reply.length;
    fr_buffer_fini(&stream->own_reply);
}

void server__stream_free(struct server__stream *stream)
{
    struct server__http2 *http2 = stream->http2;

    if (stream->stage == SERVER_STREAM_READY)
        leave_line(stream);
    if (stream->stage == SERVER_STREAM_OPEN)
        http2->open_count--;
    else if (stream->stage != SERVER_STREAM_REQUEST)
        http2->working--;
    server__stream_forget(stream);
    if (stream->call && stream->stage == SERVER_STREAM_REPLY)
        server__call_end(&stream->call); /* a streaming one, that has ended */
    else
        server__call_cancel(&stream->call, stream->stage == SERVER_STREAM_RUNNING);
    if (http2->large == stream)
        http2->large = NULL;
    if (stream->previous)
        stream->previous->next = stream->next;
    else
        http2->streams = stream->next;
    if (stream->next)
        stream->next->previous = stream->previous;
    http2->stream_count--;
    if (http2->stream_count == 0)
        http2->idle_ms = fr_clock_monotonic_ms();
    server__stream_drop_reply(stream);
    server__fields_free(stream->fields);
    fr_buffer_fini(&stream->request);
    free(stream);
}

/* ---- The request ---- */

static enum server__http_method http_method(struct fr_slice text)
{
    return fr_slice_is(text, "GET")    ? SERVER_HTTP_GET
           : fr_slice_is(text, "HEAD") ? SERVER_HTTP_HEAD
           : fr_slice_is(text, "POST") ? SERVER_HTTP_POST
                                       : SERVER_HTTP_OTHER;
}

static struct fr_slice without_query(struct fr_slice path)
{
    const char *query = path.length > 0 ? memchr(path.bytes, '?', path.length) : NULL;

    return query ? fr_slice(path.bytes, (size_t)(query - (const char *)path.bytes)) : path;
}

/* The fields kept in http2->head: name, NUL, value, NUL. */
static void read_head(const struct fr_buffer *kept, struct server__connect *head, struct server__grpc *grpc)
{
    const char *at = (const char *)kept->bytes;
    const char *end = at + kept->length;

    while (at < end) {
        struct fr_slice name = fr_slice_of(at);
        struct fr_slice value = fr_slice_of(at + name.length + 1); /* no NUL is in it: nghttp2 refuses those */

        at += name.length + value.length + 2;
        if (fr_slice_is(name, ":method"))
            head->method = http_method(value);
        else if (fr_slice_is(name, ":path"))
            head->path = without_query(value);
        server__connect_field(head, name, value);
        server__grpc_field(grpc, name, value);
    }
}

static bool is_head_large(const struct server__http2 *http2)
{
    const struct server_limits *limits = &http2->connection->loop->server->options.limits;

    return http2->head_bytes > (size_t)limits->header_bytes || http2->head_fields > limits->header_count ||
           http2->head.is_failed;
}

static void begin_call(struct server__stream *stream, const struct server__connect *head, const struct server__grpc *grpc,
                       enum server__codec codec)
{
    struct server__call *call = stream->call;
    int64_t now_us = fr_clock_monotonic_us();
    struct fr_slice name, value;

    if (stream->is_grpc)
        call->codec = codec; /* of an answer's content type too, whatever is refused */
    if (is_head_large(stream->http2)) {
        call->refusal = SERVER_REFUSED_HEAD;
        server__call_refuse(call, SERVER_STATUS_RESOURCE_EXHAUSTED, "header is too large or has too many fields");
        fr_counter_add(loop_of(stream)->server->faults[SERVER_FAULT_HEADERS_LARGE], 1);
    } else if (stream->is_grpc) {
        stream->coding = server__grpc_coding(grpc);
        server__grpc_begin(call, head, grpc, now_us);
    } else {
        server__connect_begin(call, head, now_us);
    }
    server__access_check(call, &stream->http2->connection->caller, &head->credential);
    server__fields_begin(call);
    for (size_t at = 0; call->fields && server__fields_next(&stream->http2->head, &at, &name, &value);)
        server__fields_keep(call, name, value);
    server__line_foresee(call, stream->http2->connection, now_us);
    stream->due_ms = now_us / 1000 + server__stream_limits(stream)->body_ms;
    if (call->seen.deadline_us / 1000 < stream->due_ms)
        stream->due_ms = call->seen.deadline_us / 1000;
}

void server__stream_begin(struct server__stream *stream)
{
    struct server__http2 *http2 = stream->http2;
    struct server__connect head = {.method = SERVER_HTTP_OTHER, .path = fr_slice_of("")};
    struct server__grpc grpc = {0};
    enum server__codec codec = SERVER_CODEC_PROTO;

    read_head(&http2->head, &head, &grpc);
    stream->is_head = head.method == SERVER_HTTP_HEAD;
    stream->is_grpc = server__grpc_is(head.content_type, &codec);
    stream->call = server__call_new(loop_of(stream), http2->connection->peer,
                                    stream->is_grpc ? SERVER_WIRE_GRPC : SERVER_WIRE_HTTP2, server__stream_answer, stream);
    if (!stream->call) {
        server__stream_reset(stream, NGHTTP2_REFUSED_STREAM);
        return;
    }
    begin_call(stream, &head, &grpc, codec);
    if (http2->head.capacity > SERVER_READ_BYTES)
        fr_buffer_fini(&http2->head);
    if (stream->call->status != SERVER_STATUS_OK && stream->is_grpc)
        line_up(stream); /* a client of a streaming method would not end its side first */
}

static void refuse(struct server__stream *stream, enum server__status status, const char *message)
{
    server__call_refuse(stream->call, status, "%s", message);
    line_up(stream);
}

/*
 * What is known of the one message that a method takes; an answer as soon as it can't become one. Where many are taken the
 * first opens the stream.
 */
static void judge_message(struct server__stream *stream)
{
    const struct server_streaming *streaming = stream->call->method->method->streaming;
    struct fr_slice bytes = fr_buffer_slice(&stream->request);
    struct fr_slice message;
    size_t used;
    enum server__status status;
    const char *reason;

    switch (server__grpc_message(bytes, stream->coding, server__stream_limits(stream)->message_bytes, &message, &used, &status,
                                 &reason)) {
    case SERVER_MORE:
        if (stream->is_whole && bytes.length == 0 && streaming && streaming->takes_many)
            line_up(stream); /* none is many enough */
        else if (stream->is_whole && bytes.length == 0)
            refuse(stream, SERVER_STATUS_UNIMPLEMENTED, "the method takes exactly one message; none came");
        else if (stream->is_whole)
            refuse(stream, SERVER_STATUS_INTERNAL, "the request ends in the middle of a message");
        break;
    case SERVER_FAILED:
        refuse(stream, status, reason);
        break;
    case SERVER_DONE:
        if (streaming && streaming->takes_many)
            line_up(stream);
        else if (used < bytes.length)
            refuse(stream, SERVER_STATUS_UNIMPLEMENTED, "the method takes exactly one message; more came");
        else if (stream->is_whole)
            line_up(stream);
        break;
    }
}

static void judge_body(struct server__stream *stream)
{
    uint64_t most = server__stream_limits(stream)->message_bytes;

    if (stream->request.length > most) {
        server__call_refuse(
            stream->call, SERVER_STATUS_RESOURCE_EXHAUSTED,
            "the request's body is larger than the limit of %llu bytes (server.limits.message); ask for less at once",
            (unsigned long long)most);
        line_up(stream);
    } else if (stream->is_whole) {
        line_up(stream);
    }
}

/* Refused by its head: the rest is read past while it is short, because not every client understands an answer before. */
static void judge_refused(struct server__stream *stream)
{
    stream->dropped_bytes += stream->request.length;
    fr_buffer_fini(&stream->request);
    if (stream->is_whole || stream->dropped_bytes >= SERVER_STREAM_WINDOW / 2)
        line_up(stream);
}

static void judge(struct server__stream *stream)
{
    if (stream->call->status != SERVER_STATUS_OK)
        judge_refused(stream);
    else if (stream->request.is_failed)
        refuse(stream, SERVER_STATUS_RESOURCE_EXHAUSTED, "out of memory for the request");
    else if (stream->is_grpc)
        judge_message(stream);
    else
        judge_body(stream);
}

static int32_t large_window(const struct server__stream *stream)
{
    uint64_t bytes = server__stream_limits(stream)->message_bytes;

    return bytes < INT32_MAX - SERVER_STREAM_WINDOW ? (int32_t)bytes + SERVER_STREAM_WINDOW : INT32_MAX;
}

/* The next one may send as much as a message may have, and enough more for us to see that it is too much. */
void server__stream_choose_large(struct server__http2 *http2)
{
    http2->has_large_waiting = false;
    if (http2->large)
        return;
    for (struct server__stream *stream = http2->streams; stream; stream = stream->next) {
        if (stream->stage != SERVER_STREAM_REQUEST || stream->request.length < SERVER_STREAM_WINDOW / 2)
            continue;
        if (http2->large) {
            http2->has_large_waiting = true;
            return;
        }
        http2->large = stream;
        nghttp2_session_set_local_window_size(http2->session, NGHTTP2_FLAG_NONE, stream->id, large_window(stream));
    }
}

void server__stream_take(struct server__stream *stream, struct fr_slice bytes)
{
    if (!stream->call || stream->stage == SERVER_STREAM_RUNNING || stream->stage == SERVER_STREAM_REPLY ||
        (stream->stage == SERVER_STREAM_READY && stream->call->status != SERVER_STATUS_OK))
        return;
    fr_buffer_append(&stream->request, bytes.bytes, bytes.length);
    stream->wake_ms = 0;
    if (stream->stage != SERVER_STREAM_REQUEST)
        return; /* of a method that takes many, or a unary one will see that there were too many */
    judge(stream);
    if (stream->request.length >= SERVER_STREAM_WINDOW / 2)
        stream->http2->has_large_waiting = true;
}

void server__stream_end(struct server__stream *stream)
{
    stream->is_whole = true;
    stream->wake_ms = 0;
    if (stream->stage == SERVER_STREAM_REQUEST && stream->call)
        judge(stream);
}

void server__stream_run(struct server__stream *stream)
{
    struct server__call *call = stream->call;
    struct fr_slice body = fr_buffer_slice(&stream->request);

    leave_line(stream);
    if (call->status == SERVER_STATUS_OK && call->method->method->streaming) {
        stream->http2->working--;
        server__stream_open(stream);
        return;
    }
    if (stream->is_grpc && body.length > 0) {
        call->coding.is_packed = stream->request.bytes[0] == 1;
        body = fr_slice(stream->request.bytes + SERVER_GRPC_PREFIX, body.length - SERVER_GRPC_PREFIX);
    }
    stream->stage = SERVER_STREAM_RUNNING;
    server__call_run(&call, body);
}

void server__stream_expire(struct server__stream *stream)
{
    stream->due_ms = INT64_MAX;
    if (stream->stage == SERVER_STREAM_REQUEST && stream->call) {
        fr_counter_add(loop_of(stream)->server->faults[SERVER_FAULT_SLOW], 1);
        refuse(stream, SERVER_STATUS_DEADLINE_EXCEEDED, "the request did not arrive in time");
    } else if (stream->stage == SERVER_STREAM_OPEN && server__stream_left(stream) == 0) {
        server__stream_close(stream, SERVER_STATUS_DEADLINE_EXCEEDED, "the deadline passed");
    } else if (stream->stage == SERVER_STREAM_OPEN || stream->stage == SERVER_STREAM_REPLY) {
        fr_counter_add(loop_of(stream)->server->slow_readers, 1);
        server__stream_reset(stream, NGHTTP2_CANCEL);
    }
}
