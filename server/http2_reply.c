/*
 * The reply on a stream of HTTP/2.
 *
 * It lies where its call encoded it, in the loop's buffer, and its frames are written at once; only when the peer's window ends
 * first does the stream take that buffer along, as it is. So the bytes of a reply are copied once, into the output.
 */
#include "http2.h"

#include <freshet/clock.h>

#include <assert.h>
#include <nghttp2/nghttp2.h>
#include <stdio.h>

static nghttp2_session *session_of(const struct server__stream *stream)
{
    return stream->http2->session;
}

size_t server__stream_left(const struct server__stream *stream)
{
    return stream->prefix_bytes + stream->reply.length - stream->reply_at;
}

void server__stream_write(struct server__stream *stream, size_t length)
{
    struct server__connection *connection = stream->http2->connection;
    size_t at = stream->reply_at;

    stream->reply_at += length;
    if (at < stream->prefix_bytes) {
        size_t part = stream->prefix_bytes - at < length ? stream->prefix_bytes - at : length;

        server__connection_append(connection, fr_slice(stream->prefix + at, part));
        at += part;
        length -= part;
    }
    server__connection_append(connection, fr_slice((const char *)stream->reply.bytes + (at - stream->prefix_bytes), length));
    if (stream->own_reply.length > 0)
        stream->due_ms = fr_clock_monotonic_ms() + server__stream_limits(stream)->body_ms;
    if (server__stream_left(stream) == 0)
        server__stream_drop_reply(stream);
}

struct fields {
    nghttp2_nv items[8 + SERVER_ANSWER_FIELDS];
    size_t count;
};

static void add(struct fields *fields, const char *name, struct fr_slice value)
{
    assert(fields->count < sizeof fields->items / sizeof *fields->items);
    fields->items[fields->count++] = (nghttp2_nv){
        .name = (uint8_t *)name,
        .namelen = strlen(name),
        .value = (uint8_t *)value.bytes,
        .valuelen = value.length,
        .flags = NGHTTP2_NV_FLAG_NO_COPY_NAME,
    };
}

static void add_all(struct fields *fields, const struct fr_buffer *more)
{
    struct fr_slice name, value;

    for (size_t at = 0; more && server__fields_next(more, &at, &name, &value);) {
        add(fields, name.bytes, value);
        fields->items[fields->count - 1].flags = NGHTTP2_NV_FLAG_NONE;
    }
}

static const struct server__fields *fields_of(const struct server__stream *stream)
{
    return stream->fields ? stream->fields : stream->call ? stream->call->fields : NULL;
}

/* How a reply with messages ended. A unary one that failed has none. */
static bool submit_trailers(struct server__stream *stream)
{
    const struct server__fields *more = fields_of(stream);
    struct fields trailers = {.count = 0};
    struct fr_buffer message, details;
    char status[16] = "0";
    bool is_submitted;

    fr_buffer_init(&message);
    fr_buffer_init(&details);
    if (stream->call && stream->call->status != SERVER_STATUS_OK) {
        snprintf(status, sizeof status, "%d", (int)stream->call->status);
        server__grpc_escape(stream->call->message, &message);
        server__fields_by_grpc(more, stream->call->status, stream->call->message, &details);
    }
    add(&trailers, "grpc-status", fr_slice_of(status));
    if (message.length > 0)
        add(&trailers, "grpc-message", fr_buffer_slice(&message));
    if (details.length > 0)
        add(&trailers, "grpc-status-details-bin", fr_buffer_slice(&details));
    add_all(&trailers, more ? &more->trailers : NULL);
    is_submitted = nghttp2_submit_trailer(session_of(stream), stream->id, trailers.items, trailers.count) == 0;
    fr_buffer_fini(&message);
    fr_buffer_fini(&details);
    return is_submitted;
}

static ssize_t read_reply(nghttp2_session *session, int32_t id, uint8_t *bytes, size_t length, uint32_t *flags,
                          nghttp2_data_source *source, void *user)
{
    struct server__stream *stream = source->ptr;
    size_t left = server__stream_left(stream);

    (void)session;
    (void)id;
    (void)bytes;
    (void)user;
    if (left == 0 && stream->stage == SERVER_STREAM_OPEN)
        return NGHTTP2_ERR_DEFERRED;
    *flags |= NGHTTP2_DATA_FLAG_NO_COPY;
    if (left > length)
        return (ssize_t)length;
    if (stream->stage == SERVER_STREAM_OPEN)
        return (ssize_t)left;
    *flags |= NGHTTP2_DATA_FLAG_EOF;
    if (stream->is_grpc) {
        *flags |= NGHTTP2_DATA_FLAG_NO_END_STREAM;
        if (!submit_trailers(stream))
            return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
    }
    return (ssize_t)left;
}

static bool submit(struct server__stream *stream, const struct fields *fields)
{
    const nghttp2_data_provider provider = {.source.ptr = stream, .read_callback = read_reply};
    bool has_body = server__stream_left(stream) > 0 || stream->stage == SERVER_STREAM_OPEN;

    return nghttp2_submit_response(session_of(stream), stream->id, fields->items, fields->count, has_body ? &provider : NULL) ==
           0;
}

static bool reply_by_connect(struct server__stream *stream, struct server__call *call)
{
    struct server__reply reply = server__connect_reply(call);
    struct fields fields = {.count = 0};
    char status[16], length[24];

    snprintf(status, sizeof status, "%d", reply.http_status);
    snprintf(length, sizeof length, "%zu", reply.body.length);
    add(&fields, ":status", fr_slice_of(status));
    add(&fields, "content-type", fr_slice_of(reply.content_type));
    add(&fields, "content-length", fr_slice_of(length));
    add(&fields, "date", fr_slice_of(server__date(call->loop)));
    for (int i = 0; i < SERVER_REPLY_FIELDS && reply.fields[i].name; i++)
        add(&fields, reply.fields[i].name, fr_slice_of(reply.fields[i].value));
    add_all(&fields, reply.more);
    if (!stream->is_head)
        stream->reply = reply.body;
    return !call->body->is_failed && submit(stream, &fields);
}

static const char *grpc_type(const struct server__call *call)
{
    return call->codec == SERVER_CODEC_JSON ? "application/grpc+json" : "application/grpc";
}

/* 200 but for what is no call, lest others than gRPC's clients take that for success. */
static const char *grpc_http_status(const struct server__call *call)
{
    return call->refusal == SERVER_REFUSED_VERB ? "405" : call->refusal == SERVER_REFUSED_TYPE ? "415" : "200";
}

bool server__stream_submit_head(struct server__stream *stream, const struct server__call *call, bool is_packed)
{
    struct fields fields = {.count = 0};

    add(&fields, ":status", fr_slice_of("200"));
    add(&fields, "content-type", fr_slice_of(grpc_type(call)));
    if (is_packed)
        add(&fields, "grpc-encoding", fr_slice_of("gzip"));
    add_all(&fields, fields_of(stream) ? &fields_of(stream)->head : NULL);
    return submit(stream, &fields);
}

void server__stream_set_message(struct server__stream *stream, struct fr_slice message, bool is_packed)
{
    stream->reply = message;
    stream->reply_at = 0;
    stream->prefix_bytes = SERVER_GRPC_PREFIX;
    server__grpc_prefix(message.length, stream->prefix);
    stream->prefix[0] = is_packed;
}

/* What a handler said beside its error. */
static void add_answer(const struct server__stream *stream, const struct server__call *call, struct fr_buffer *details,
                       struct fields *fields)
{
    const struct server__fields *more = fields_of(stream);

    if (!more)
        return;
    add_all(fields, &more->head);
    add_all(fields, &more->trailers);
    server__fields_by_grpc(more, call->status, call->message, details);
    if (details->length > 0)
        add(fields, "grpc-status-details-bin", fr_buffer_slice(details));
}

/* An error is a head alone, "trailers only". */
static bool reply_by_grpc(struct server__stream *stream, struct server__call *call)
{
    struct fields fields = {.count = 0};
    struct fr_buffer details;
    char status[16];
    bool is_submitted;

    fr_buffer_init(&details);
    if (call->status == SERVER_STATUS_OK) {
        server__stream_set_message(stream, fr_buffer_slice(call->body), call->coding.is_reply_packed);
        return server__stream_submit_head(stream, call, call->coding.is_reply_packed);
    }
    add(&fields, ":status", fr_slice_of(grpc_http_status(call)));
    add(&fields, "content-type", fr_slice_of(grpc_type(call)));
    fr_buffer_clear(call->body);
    server__grpc_escape(call->message, call->body);
    snprintf(status, sizeof status, "%d", (int)call->status);
    add(&fields, "grpc-status", fr_slice_of(status));
    add(&fields, "grpc-message", fr_buffer_slice(call->body));
    if (call->refusal == SERVER_REFUSED_VERB)
        add(&fields, "allow", fr_slice_of("POST"));
    if (call->refusal == SERVER_REFUSED_ENCODING)
        add(&fields, "grpc-accept-encoding", fr_slice_of("identity,gzip"));
    if (call->retry_ms > 0) {
        snprintf(call->retry, sizeof call->retry, "%d", call->retry_ms);
        add(&fields, "grpc-retry-pushback-ms", fr_slice_of(call->retry));
    }
    add_answer(stream, call, &details, &fields);
    is_submitted = !call->body->is_failed && !details.is_failed && submit(stream, &fields);
    fr_buffer_fini(&details);
    return is_submitted;
}

/* What the peer's window did not take stays; the buffer changes hands, not the bytes in it. */
static void keep_reply(struct server__stream *stream, struct server__call *call)
{
    stream->own_reply = *call->body;
    fr_buffer_init(call->body);
    stream->http2->waiting_bytes += stream->own_reply.length;
    stream->due_ms = fr_clock_monotonic_ms() + server__stream_limits(stream)->body_ms;
}

bool server__stream_send(struct server__stream *stream, struct server__call *call)
{
    struct server__http2 *http2 = stream->http2;
    int32_t id = stream->id;

    server__http2_send(http2);
    stream = nghttp2_session_get_stream_user_data(http2->session, id);
    if (stream && server__stream_left(stream) > 0)
        keep_reply(stream, call);
    return stream != NULL;
}

void server__stream_answer(struct server__call *call)
{
    struct server__stream *stream = call->owner;
    struct server__http2 *http2 = stream->http2;

    stream->call = NULL;
    stream->fields = call->fields;
    stream->stage = SERVER_STREAM_REPLY;
    fr_buffer_fini(&stream->request);
    if (!(stream->is_grpc ? reply_by_grpc(stream, call) : reply_by_connect(stream, call)))
        server__stream_reset(stream, NGHTTP2_INTERNAL_ERROR);
    call->fields = NULL; /* the stream's now */
    server__stream_send(stream, call);
    if (!http2->is_pumping)
        server__connection_resume(http2->connection);
}
