/*
 * What the files of HTTP/2 share: the state of a connection and of its streams. The others know of it a pointer on the
 * connection and server__http2_protocol.
 */
#ifndef FRESHET_SERVER_HTTP2_H
#define FRESHET_SERVER_HTTP2_H

#include "convention.h"

struct nghttp2_session;

/* ---- http2_budget.c: what a connection may spend, refilled by time ---- */

struct server__budget {
    int left, capacity;
    int per_second;
    int64_t filled_ms;
};
void server__budget_init(struct server__budget *budget, int capacity, int per_second, int64_t now_ms);
bool server__budget_spend(struct server__budget *budget, int64_t now_ms); /* false: nothing was left */
void server__budget_refund(struct server__budget *budget, int count);

/* ---- http2.c: HTTP/2 on a connection; http2_frames.c: what comes; http2_stream.c: one request and its reply ---- */

enum {
    SERVER_STREAMS = 128, /* open at once on a connection */
    SERVER_STREAM_WINDOW = 65535, /* of a request that is not the large one */
    SERVER_CONNECTION_WINDOW = 1 << 20,
    SERVER_CONTINUATIONS = 8,
    SERVER_HEAD_TIMES = 16, /* a head of so many times the limit ends its connection */
    SERVER_SETTINGS = 32, /* in one frame */
    SERVER_RESETS = 200, /* streams reset or frames refused at once, by whichever side … */
    SERVER_RESETS_PER_SECOND = 20, /* … and from then on */
    SERVER_TALK = 2000, /* frames that carry no request and no room for a reply */
    SERVER_TALK_PER_SECOND = 200,
    SERVER_TALK_REFUND = 2, /* for each frame of a reply: windows and pings follow them */
    SERVER_LEAVE_MS = 1000 /* between telling a peer that we leave and refusing its new streams */
};

enum server__stream_stage {
    SERVER_STREAM_REQUEST, /* its request comes */
    SERVER_STREAM_READY, /* it is in the line of those to run */
    SERVER_STREAM_RUNNING,
    SERVER_STREAM_OPEN, /* a streaming method is asked for one message after the other */
    SERVER_STREAM_REPLY
};

struct server__stream {
    struct server__http2 *http2;
    struct server__stream *previous, *next;
    struct server__stream *next_ready;
    int32_t id;
    enum server__stream_stage stage;
    bool is_grpc;
    enum server__grpc_coding coding; /* of the messages that are marked as compressed */
    bool is_head; /* HEAD: no body goes out */
    bool is_whole; /* the peer has ended its side */
    struct server__call *call;
    struct fr_buffer request;
    size_t dropped_bytes; /* of a request that is refused already */

    struct server__fields *fields; /* of a call that was answered: its trailers are still to come */
    struct fr_slice reply; /* in the loop's buffer until it has to wait, then in its own */
    struct fr_buffer own_reply;
    uint8_t prefix[SERVER_GRPC_PREFIX];
    size_t prefix_bytes; /* 0 or all of it */
    size_t reply_at; /* of prefix and reply */
    int64_t due_ms; /* the request must be whole, or the reply get on, by then */

    void *state; /* of a streaming method */
    bool has_request; /* it was given one at least */
    int64_t wake_ms; /* when to ask it again */
};

struct server__http2 {
    struct server__connection *connection;
    struct nghttp2_session *session;
    struct server__stream *streams;
    struct server__stream *ready, *ready_last; /* the line */
    struct server__stream *large; /* the one whose request may be longer than SERVER_STREAM_WINDOW */
    bool has_large_waiting; /* maybe another wants to be */
    int stream_count;
    int open_count; /* of them: SERVER_STREAM_OPEN */
    int working; /* of them: ready, running, or with a reply that has an end */
    size_t request_bytes; /* what they hold of requests, as of the last look */
    size_t waiting_bytes; /* of replies that wait for the peer's windows */
    size_t held_bytes; /* as of the last look */

    struct fr_buffer head; /* fields of the header block that comes; there is one at a time */
    int head_fields;
    size_t head_bytes;
    int64_t head_due_ms; /* INT64_MAX: none comes */

    struct server__budget resets, talk;
    int64_t now_ms, heard_ms, idle_ms, pong_due_ms, leave_due_ms;
    int64_t surveyed_ms;
    bool is_pumping;
    bool is_leaving; /* has told the peer to go elsewhere … */
    bool has_left; /* … and takes nothing new */
    bool is_cut;
};

/* For its parts. */
FR_CHECKED bool server__http2_open(struct server__http2 *http2); /* http2_frames.c: the session and its callbacks */
void server__http2_flood(struct server__http2 *http2, bool is_within_budget); /* false: the end of the connection */
void server__http2_leave(struct server__http2 *http2); /* nothing new from here on, if it has said that it leaves */
void server__http2_send(struct server__http2 *http2); /* what the session has, while the connection has room */
struct server__stream *server__stream_new(struct server__http2 *http2, int32_t id);
void server__stream_free(struct server__stream *stream);
void server__stream_begin(struct server__stream *stream); /* the head is whole, in http2->head */
void server__stream_take(struct server__stream *stream, struct fr_slice bytes);
void server__stream_end(struct server__stream *stream); /* the request is whole */
void server__stream_expire(struct server__stream *stream);
void server__stream_run(struct server__stream *stream); /* the first in line */
void server__stream_answer(struct server__call *call); /* http2_reply.c */
void server__stream_reset(struct server__stream *stream, uint32_t error);
void server__stream_drop_reply(struct server__stream *stream);
const struct server_limits *server__stream_limits(const struct server__stream *stream);
void server__stream_open(struct server__stream *stream); /* http2_streaming.c, as what follows */
void server__stream_forget(struct server__stream *stream); /* ends the method's state */
bool server__stream_is_due(const struct server__stream *stream);
void server__stream_step(struct server__stream *stream);
void server__stream_close(struct server__stream *stream, enum server__status status, const char *message);
bool server__stream_submit_head(struct server__stream *stream, const struct server__call *call,
                                bool is_packed); /* http2_reply.c again */
void server__stream_set_message(struct server__stream *stream, struct fr_slice message, bool is_packed);
bool server__stream_send(struct server__stream *stream, struct server__call *call); /* false: the stream is gone */
size_t server__stream_left(const struct server__stream *stream); /* bytes of the reply to be sent */
void server__stream_write(struct server__stream *stream, size_t length); /* appends so many of them to the output */
void server__stream_choose_large(struct server__http2 *http2);

#endif
