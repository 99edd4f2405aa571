/*
 * HTTP/2 on a connection: one nghttp2 session, the line of requests that are whole, and the times that each thing may take.
 *
 * What came is read first; requests that are whole run when it is the connection's turn in the loop's line, a few of them one
 * after the other, and their frames go straight into the connection's output, and all of it leaves in one go. A request is not begun while more than SERVER_UNSENT_BYTES of earlier replies wait for the
 * socket or for the peer's windows; so a reader that is slow, by whichever of the two, costs no more than that and one reply.
 */
#include "http2.h"

#include <freshet/clock.h>

#include <nghttp2/nghttp2.h>

#include <stdlib.h>

enum { SURVEY_MS = 10 };

static const struct server_limits *limits_of(const struct server__http2 *http2)
{
    return &http2->connection->loop->server->options.limits;
}

/* ---- Leaving ---- */

/* Tells the peer to take its next requests elsewhere, serves what is on its way, then ends. */
static void begin_to_leave(struct server__http2 *http2)
{
    if (http2->is_leaving || http2->is_cut)
        return;
    http2->is_leaving = true;
    http2->leave_due_ms = fr_clock_monotonic_ms() + SERVER_LEAVE_MS;
    nghttp2_submit_shutdown_notice(http2->session);
    nghttp2_submit_ping(http2->session, NGHTTP2_FLAG_NONE, NULL); /* its answer comes behind what was sent before */
}

static void http2_drain(struct server__connection *connection)
{
    struct server__http2 *http2 = connection->http2;

    if (!http2)
        return;
    begin_to_leave(http2);
    for (struct server__stream *stream = http2->streams; stream; stream = stream->next)
        stream->wake_ms = 0; /* those that have no end of their own end now */
}

/* ---- Beginning and end ---- */

static void http2_begin(struct server__connection *connection)
{
    struct server__http2 *http2 = calloc(1, sizeof *http2);

    if (!http2) {
        server__connection_close(connection);
        return;
    }
    connection->http2 = http2;
    http2->connection = connection;
    http2->now_ms = http2->heard_ms = http2->idle_ms = fr_clock_monotonic_ms();
    http2->head_due_ms = http2->pong_due_ms = http2->leave_due_ms = INT64_MAX;
    fr_buffer_init(&http2->head);
    server__budget_init(&http2->resets, SERVER_RESETS, SERVER_RESETS_PER_SECOND, http2->now_ms);
    server__budget_init(&http2->talk, SERVER_TALK, SERVER_TALK_PER_SECOND, http2->now_ms);
    if (!server__http2_open(http2))
        server__connection_close(connection);
    else if (connection->loop->is_draining)
        begin_to_leave(http2);
}

static void http2_end(struct server__connection *connection)
{
    struct server__http2 *http2 = connection->http2;

    if (!http2)
        return;
    connection->http2 = NULL;
    while (http2->streams)
        server__stream_free(http2->streams);
    nghttp2_session_del(http2->session);
    fr_buffer_fini(&http2->head);
    free(http2);
}

static void http2_cut(struct server__connection *connection, enum server__fault fault)
{
    struct server__http2 *http2 = connection->http2;

    fr_counter_add(connection->loop->server->faults[fault], 1);
    if (!http2->is_cut)
        nghttp2_session_terminate_session(http2->session, NGHTTP2_ENHANCE_YOUR_CALM);
    http2->is_cut = true;
    server__http2_send(http2);
    http2_end(connection); /* what it holds goes now, not when the peer has read our last word */
    server__connection_finish(connection);
}

/* ---- Running and sending ---- */

void server__http2_send(struct server__http2 *http2)
{
    struct server__connection *connection = http2->connection;

    while (!connection->is_dead && server__connection_unsent(connection) <= SERVER_UNSENT_BYTES) {
        const uint8_t *bytes;
        ssize_t length = nghttp2_session_mem_send(http2->session, &bytes);

        if (length < 0 || connection->output.is_failed) { /* out of memory */
            http2->is_cut = true;
            server__connection_finish(connection);
        }
        if (length <= 0)
            return;
        server__connection_append(connection, fr_slice(bytes, (size_t)length));
    }
}

static bool has_room(const struct server__http2 *http2)
{
    return server__connection_unsent(http2->connection) + http2->waiting_bytes <= SERVER_UNSENT_BYTES;
}

static bool may_run(const struct server__http2 *http2)
{
    return http2->ready && has_room(http2) && !http2->is_cut && !http2->connection->is_dead;
}

/* Those that are refused already are no work, and stand in front. */
static void answer_refused(struct server__http2 *http2)
{
    while (may_run(http2) && http2->ready->call->status != SERVER_STATUS_OK)
        server__stream_run(http2->ready);
}

static void http2_run(struct server__connection *connection)
{
    struct server__http2 *http2 = connection->http2;

    if (!http2 || http2->is_pumping || !may_run(http2))
        return;
    http2->is_pumping = true;
    server__line_begin_turn(connection->loop);
    do
        server__stream_run(http2->ready);
    while (may_run(http2) && !server__line_is_turn_over(connection->loop));
    http2->is_pumping = false;
}

/* Streaming methods are asked for their next messages while there is room. One at a time: it may end any of the streams. */
static void step_open(struct server__http2 *http2)
{
    struct server__stream *stream = http2->streams;

    http2->now_ms = fr_clock_monotonic_ms();
    while (stream && has_room(http2) && !http2->is_cut && !http2->connection->is_dead) {
        if (server__stream_is_due(stream)) {
            server__stream_step(stream);
            stream = http2->streams;
        } else {
            stream = stream->next;
        }
    }
}

static int64_t earlier(int64_t a_ms, int64_t b_ms)
{
    return a_ms < b_ms ? a_ms : b_ms;
}

/* What the streams hold, and when the connection has to be looked at next. */
static void survey(struct server__http2 *http2)
{
    int64_t due_ms = earlier(http2->head_due_ms, http2->leave_due_ms);
    int64_t quiet_ms = http2->pong_due_ms != INT64_MAX ? http2->pong_due_ms : http2->heard_ms + limits_of(http2)->quiet_ms;

    http2->held_bytes = sizeof *http2 + http2->head.capacity;
    http2->request_bytes = 0;
    http2->surveyed_ms = http2->now_ms;
    for (struct server__stream *stream = http2->streams; stream; stream = stream->next) {
        http2->request_bytes += stream->request.capacity;
        http2->held_bytes += sizeof *stream + stream->own_reply.capacity;
        due_ms = earlier(due_ms, stream->due_ms);
        if (stream->stage == SERVER_STREAM_OPEN && server__stream_left(stream) == 0 && has_room(http2))
            due_ms = earlier(due_ms, stream->wake_ms);
    }
    http2->held_bytes += http2->request_bytes;
    if (http2->stream_count == 0)
        quiet_ms = http2->is_leaving ? INT64_MAX : http2->idle_ms + limits_of(http2)->idle_ms;
    http2->connection->expires_ms = earlier(due_ms, quiet_ms);
}

static void http2_pump(struct server__connection *connection)
{
    struct server__http2 *http2 = connection->http2;

    if (!http2 || http2->is_pumping)
        return;
    http2->is_pumping = true;
    if (http2->has_large_waiting)
        server__stream_choose_large(http2);
    server__http2_send(http2);
    answer_refused(http2);
    if (http2->open_count > 0)
        step_open(http2);
    server__http2_send(http2);
    http2->is_pumping = false;
    if (connection->is_dead)
        return;
    if (!nghttp2_session_want_read(http2->session) && !nghttp2_session_want_write(http2->session))
        server__connection_finish(connection);
    if (!may_run(http2) || http2->now_ms >= http2->surveyed_ms + SURVEY_MS)
        survey(http2); /* else it is in line, and will be here again */
    if (http2->request_bytes > limits_of(http2)->connection_bytes + limits_of(http2)->message_bytes)
        http2_cut(connection, SERVER_FAULT_OVERLOAD);
    else if (may_run(http2))
        server__line_join(connection);
}

/* What nghttp2 takes for the end of the session without a word about it. */
static uint32_t error_of(ssize_t failure)
{
    switch (failure) {
    case NGHTTP2_ERR_FLOODED:
    case NGHTTP2_ERR_TOO_MANY_SETTINGS:
    case NGHTTP2_ERR_TOO_MANY_CONTINUATIONS:
        return NGHTTP2_ENHANCE_YOUR_CALM;
    case NGHTTP2_ERR_BAD_CLIENT_MAGIC:
        return NGHTTP2_PROTOCOL_ERROR;
    default:
        return NGHTTP2_INTERNAL_ERROR;
    }
}

static size_t http2_take(struct server__connection *connection, struct fr_slice bytes)
{
    struct server__http2 *http2 = connection->http2;
    ssize_t taken;

    if (!http2)
        return bytes.length;
    http2->now_ms = http2->heard_ms = fr_clock_monotonic_ms();
    http2->pong_due_ms = INT64_MAX;
    taken = nghttp2_session_mem_recv(http2->session, bytes.bytes, bytes.length);
    if (taken < 0) {
        fr_counter_add(connection->loop->server->faults[SERVER_FAULT_HTTP2], 1);
        if (!http2->is_cut)
            nghttp2_session_terminate_session(http2->session, error_of(taken));
        http2->is_cut = true;
        server__http2_send(http2);
        server__connection_finish(connection);
    }
    return bytes.length;
}

/* ---- Time ---- */

static void ask_whether_alive(struct server__http2 *http2)
{
    http2->pong_due_ms = http2->now_ms + limits_of(http2)->pong_ms;
    nghttp2_submit_ping(http2->session, NGHTTP2_FLAG_NONE, NULL);
}

static void http2_expire(struct server__connection *connection)
{
    struct server__http2 *http2 = connection->http2;
    struct server__stream *next;

    if (!http2)
        return;
    http2->now_ms = fr_clock_monotonic_ms();
    if (http2->now_ms >= http2->head_due_ms) {
        http2_cut(connection, SERVER_FAULT_SLOW);
        return;
    }
    if (http2->now_ms >= http2->pong_due_ms) {
        server__connection_close(connection);
        return;
    }
    if (http2->now_ms >= http2->leave_due_ms)
        server__http2_leave(http2);
    if (http2->stream_count == 0) {
        begin_to_leave(http2);
        return;
    }
    if (http2->now_ms >= http2->heard_ms + limits_of(http2)->quiet_ms && http2->pong_due_ms == INT64_MAX)
        ask_whether_alive(http2);
    for (struct server__stream *stream = http2->streams; stream; stream = next) {
        next = stream->next;
        if (http2->now_ms >= stream->due_ms)
            server__stream_expire(stream);
    }
}

/* ---- As the connection sees it ---- */

static bool http2_is_idle(const struct server__connection *connection)
{
    return !connection->http2; /* it ends by itself when the peer has been told */
}

static bool http2_is_busy(const struct server__connection *connection)
{
    return connection->http2 && connection->http2->working > 0;
}

static size_t http2_held(const struct server__connection *connection)
{
    return connection->http2 ? connection->http2->held_bytes : 0;
}

const struct server__protocol server__http2_protocol = {
    .begin = http2_begin,
    .take = http2_take,
    .expire = http2_expire,
    .cut = http2_cut,
    .is_idle = http2_is_idle,
    .is_busy = http2_is_busy,
    .held = http2_held,
    .pump = http2_pump,
    .run = http2_run,
    .drain = http2_drain,
    .end = http2_end,
};
