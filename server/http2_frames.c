/*
 * What comes on an HTTP/2 connection, as nghttp2 tells it. Nothing is answered from here: nghttp2 does not allow a session to
 * send from inside its callbacks, so requests that are whole get in line and run when all that came has been read.
 *
 * Windows. A stream may send 64 KiB; that is never given back, so it is all it can make us hold. One stream at a time, the
 * large one, gets a window as wide as the longest message. The connection's own window is given back at once. So a connection
 * holds 128 × 64 KiB and one message of requests at the most, and no stream waits for ever for another that is slow, because a
 * request that is not whole in time is refused.
 */
#include "http2.h"

#include <freshet/clock.h>

#include <nghttp2/nghttp2.h>

#include <stdlib.h>

void server__http2_flood(struct server__http2 *http2, bool is_within_budget)
{
    if (is_within_budget || http2->is_cut)
        return;
    http2->is_cut = true;
    fr_counter_add(http2->connection->loop->server->faults[SERVER_FAULT_FLOOD], 1);
    nghttp2_session_terminate_session(http2->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

static void spend_reset(struct server__http2 *http2)
{
    server__http2_flood(http2, server__budget_spend(&http2->resets, http2->now_ms));
}

/* Every frame, before anything is known of it but its head. Requests and their bodies are free: others bound those. */
static int on_begin_frame(nghttp2_session *session, const nghttp2_frame_hd *head, void *user)
{
    struct server__http2 *http2 = user;

    (void)session;
    if (head->flags & NGHTTP2_FLAG_END_HEADERS || (head->type != NGHTTP2_HEADERS && head->type != NGHTTP2_CONTINUATION))
        http2->head_due_ms = INT64_MAX; /* only CONTINUATION may follow an unfinished head */
    else if (head->type == NGHTTP2_HEADERS)
        http2->head_due_ms = http2->now_ms + http2->connection->loop->server->options.limits.header_ms;
    if (head->type == NGHTTP2_HEADERS || head->type == NGHTTP2_CONTINUATION || (head->type == NGHTTP2_DATA && head->length > 0))
        return 0;
    server__http2_flood(http2, server__budget_spend(&http2->talk, http2->now_ms));
    return 0;
}

static int on_begin_headers(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct server__http2 *http2 = user;
    struct server__stream *stream;

    fr_buffer_clear(&http2->head);
    http2->head_fields = 0;
    http2->head_bytes = 0;
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST)
        return 0; /* trailers */
    stream = server__stream_new(http2, frame->hd.stream_id);
    if (!stream)
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* refuses this stream */
    nghttp2_session_set_stream_user_data(session, frame->hd.stream_id, stream);
    return 0;
}

/*
 * An honest mistake is answered 431. A head far above the limit is a bomb: HPACK says megabytes in a frame of 16 KB, and nghttp2
 * looks at every byte of each field (33 ms for 48 MB, measured).
 */
static void end_for_head(struct server__http2 *http2)
{
    if (http2->is_cut)
        return;
    http2->is_cut = true;
    fr_counter_add(http2->connection->loop->server->faults[SERVER_FAULT_HEADERS_LARGE], 1);
    nghttp2_session_terminate_session(http2->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

/* Fields are kept as name, NUL, value, NUL; past the limits they are only counted. */
static int on_header(nghttp2_session *session, const nghttp2_frame *frame, const uint8_t *name, size_t name_length,
                     const uint8_t *value, size_t value_length, uint8_t flags, void *user)
{
    struct server__http2 *http2 = user;
    const struct server_limits *limits = &http2->connection->loop->server->options.limits;

    (void)session;
    (void)flags;
    http2->head_fields++;
    http2->head_bytes += name_length + value_length + 32; /* as RFC 9113 6.5.2 counts */
    if (http2->head_bytes > (size_t)limits->header_bytes * SERVER_HEAD_TIMES) {
        end_for_head(http2);
        return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE; /* the rest of it is not looked at */
    }
    if (frame->headers.cat != NGHTTP2_HCAT_REQUEST || http2->head_bytes > (size_t)limits->header_bytes ||
        http2->head_fields > limits->header_count)
        return 0;
    fr_buffer_append(&http2->head, name, name_length + 1); /* nghttp2 terminates both */
    fr_buffer_append(&http2->head, value, value_length + 1);
    return 0;
}

static void on_request_frame(struct server__http2 *http2, const nghttp2_frame *frame)
{
    struct server__stream *stream = nghttp2_session_get_stream_user_data(http2->session, frame->hd.stream_id);

    if (!stream)
        return;
    if (frame->hd.type == NGHTTP2_HEADERS && frame->headers.cat == NGHTTP2_HCAT_REQUEST)
        server__stream_begin(stream);
    if (frame->hd.flags & NGHTTP2_FLAG_END_STREAM)
        server__stream_end(stream);
}

/* Our going away is final one round trip after it was said: what the peer sent before it knew is still served. */
void server__http2_leave(struct server__http2 *http2)
{
    if (!http2->is_leaving || http2->has_left)
        return;
    http2->has_left = true;
    http2->leave_due_ms = INT64_MAX;
    nghttp2_submit_goaway(http2->session, NGHTTP2_FLAG_NONE, nghttp2_session_get_last_proc_stream_id(http2->session),
                          NGHTTP2_NO_ERROR, NULL, 0);
}

static int on_frame(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct server__http2 *http2 = user;

    (void)session;
    switch (frame->hd.type) {
    case NGHTTP2_HEADERS:
    case NGHTTP2_DATA:
        on_request_frame(http2, frame);
        break;
    case NGHTTP2_RST_STREAM:
        spend_reset(http2);
        break;
    case NGHTTP2_PING:
        if (frame->hd.flags & NGHTTP2_FLAG_ACK) {
            server__budget_refund(&http2->talk, 1); /* we asked */
            server__http2_leave(http2);
        }
        break;
    default:
        break;
    }
    return 0;
}

static int on_invalid_frame(nghttp2_session *session, const nghttp2_frame *frame, int error, void *user)
{
    (void)session;
    (void)frame;
    (void)error;
    spend_reset(user);
    return 0;
}

static int on_data(nghttp2_session *session, uint8_t flags, int32_t id, const uint8_t *bytes, size_t length, void *user)
{
    struct server__http2 *http2 = user;
    struct server__stream *stream = nghttp2_session_get_stream_user_data(session, id);

    (void)flags;
    nghttp2_session_consume_connection(session, length);
    if (stream && !http2->is_cut)
        server__stream_take(stream, fr_slice(bytes, length));
    return 0;
}

/* ---- What goes out ---- */

/* That the peer broke the protocol is nghttp2's to find; it says so by what it sends. What we send by ourselves is counted there. */
static void count_fault(struct server__http2 *http2, const nghttp2_frame *frame)
{
    bool is_stream = frame->hd.type == NGHTTP2_RST_STREAM;
    uint32_t error = is_stream                          ? frame->rst_stream.error_code
                     : frame->hd.type == NGHTTP2_GOAWAY ? frame->goaway.error_code
                                                        : NGHTTP2_NO_ERROR;

    if (error == NGHTTP2_NO_ERROR || http2->is_cut)
        return;
    if (!is_stream || error == NGHTTP2_PROTOCOL_ERROR || error == NGHTTP2_FLOW_CONTROL_ERROR ||
        error == NGHTTP2_STREAM_CLOSED || error == NGHTTP2_FRAME_SIZE_ERROR)
        fr_counter_add(http2->connection->loop->server->faults[SERVER_FAULT_HTTP2], 1);
}

static int on_frame_sent(nghttp2_session *session, const nghttp2_frame *frame, void *user)
{
    struct server__http2 *http2 = user;
    struct server__stream *stream;

    count_fault(http2, frame);
    if (frame->hd.type == NGHTTP2_RST_STREAM && frame->rst_stream.error_code != NGHTTP2_NO_ERROR)
        spend_reset(http2);
    if (frame->hd.type == NGHTTP2_DATA || frame->hd.type == NGHTTP2_HEADERS)
        server__budget_refund(&http2->talk, SERVER_TALK_REFUND);
    if ((frame->hd.type != NGHTTP2_DATA && frame->hd.type != NGHTTP2_HEADERS) || !(frame->hd.flags & NGHTTP2_FLAG_END_STREAM))
        return 0;
    stream = nghttp2_session_get_stream_user_data(session, frame->hd.stream_id);
    if (stream && !stream->is_whole) /* answered already: the rest of the request is not wanted (RFC 9113 8.1) */
        nghttp2_submit_rst_stream(session, NGHTTP2_FLAG_NONE, frame->hd.stream_id, NGHTTP2_NO_ERROR);
    return 0;
}

static int on_stream_close(nghttp2_session *session, int32_t id, uint32_t error, void *user)
{
    struct server__stream *stream = nghttp2_session_get_stream_user_data(session, id);

    (void)error;
    (void)user;
    if (stream)
        server__stream_free(stream);
    return 0;
}

/* The frame goes into the connection's output as it is: head here, then bytes of the reply, copied once. */
static int send_data(nghttp2_session *session, nghttp2_frame *frame, const uint8_t *head, size_t length,
                     nghttp2_data_source *source, void *user)
{
    struct server__http2 *http2 = user;

    (void)session;
    (void)frame;
    if (server__connection_unsent(http2->connection) > SERVER_UNSENT_BYTES)
        return NGHTTP2_ERR_WOULDBLOCK;
    server__connection_append(http2->connection, fr_slice(head, 9));
    server__stream_write(source->ptr, length);
    return http2->connection->output.is_failed ? NGHTTP2_ERR_CALLBACK_FAILURE : 0;
}

/* ---- The session ---- */

static bool set_callbacks(nghttp2_session_callbacks **callbacks_out)
{
    nghttp2_session_callbacks *callbacks;

    if (nghttp2_session_callbacks_new(&callbacks) != 0)
        return false;
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks, on_begin_frame);
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks, on_begin_headers);
    nghttp2_session_callbacks_set_on_header_callback(callbacks, on_header);
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks, on_frame);
    nghttp2_session_callbacks_set_on_invalid_frame_recv_callback(callbacks, on_invalid_frame);
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks, on_data);
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks, on_frame_sent);
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks, on_stream_close);
    nghttp2_session_callbacks_set_send_data_callback(callbacks, send_data);
    *callbacks_out = callbacks;
    return true;
}

static bool set_options(nghttp2_option **option_out)
{
    nghttp2_option *option;

    if (nghttp2_option_new(&option) != 0)
        return false;
    nghttp2_option_set_no_auto_window_update(option, 1);
    nghttp2_option_set_max_settings(option, SERVER_SETTINGS);
    nghttp2_option_set_max_continuations(option, SERVER_CONTINUATIONS);
    nghttp2_option_set_max_outbound_ack(option, 2 * SERVER_TALK); /* what is within the budget is not too much */
    /* Its own limit of resets ends in INTERNAL_ERROR; ours comes first. */
    nghttp2_option_set_stream_reset_rate_limit(option, 10 * SERVER_RESETS, 10 * SERVER_RESETS_PER_SECOND);
    *option_out = option;
    return true;
}

static bool say_settings(struct server__http2 *http2)
{
    const nghttp2_settings_entry settings[] = {
        {NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, SERVER_STREAMS},
        {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, SERVER_STREAM_WINDOW},
        {NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, (uint32_t)http2->connection->loop->server->options.limits.header_bytes},
    };

    return nghttp2_submit_settings(http2->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings) == 0 &&
           nghttp2_session_set_local_window_size(http2->session, NGHTTP2_FLAG_NONE, 0, SERVER_CONNECTION_WINDOW) == 0;
}

bool server__http2_open(struct server__http2 *http2)
{
    nghttp2_session_callbacks *callbacks = NULL;
    nghttp2_option *option = NULL;
    bool is_open = set_callbacks(&callbacks) && set_options(&option) &&
                   nghttp2_session_server_new2(&http2->session, callbacks, http2, option) == 0 && say_settings(http2);

    nghttp2_option_del(option);
    nghttp2_session_callbacks_del(callbacks);
    return is_open;
}
