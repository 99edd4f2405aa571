/*
 * What the files of the server share.
 *
 * The layers, from the socket up: a listener accepts; a loop (a thread with its event base) owns connections; a connection
 * moves bytes and keeps time; a protocol (sniffing, then HTTP/1.1 or HTTP/2) turns bytes into calls and replies into bytes; a
 * convention (Connect, gRPC) says how a call looks in HTTP headers; a call is none of that: method, codec, deadline, handler,
 * status. No libevent or nghttp2 type is named here, so parsers can be tested without them. What is a noun of its own has a header of
 * its own, most of them included here; besides those, convention.h, http2.h, tls.h and transport.h.
 */
#ifndef FRESHET_SERVER_INTERNAL_H
#define FRESHET_SERVER_INTERNAL_H

#include "access.h"
#include "age.h"
#include "gzip.h"
#include "http1.h"
#include "line.h"
#include "listener.h"
#include "pool.h"
#include "status.h"
#include "wake.h"

#include <freshet/queue.h>
#include <freshet/server.h>

#include <pthread.h>
#include <stdatomic.h>

struct event;
struct event_base;
struct server;
struct server__loop;
struct server__connection;
struct server__reply;
struct server__session;

enum {
    SERVER_READ_BYTES = 64 << 10, /* what one read takes at most */
    SERVER_AHEAD_BYTES = 64 << 10, /* pipelined input kept while a call runs; more stays in the kernel */
    SERVER_OUTPUT_BYTES = 8 << 10, /* what output begins with where frames gather in it */
    SERVER_UNSENT_BYTES = 128 << 10, /* above it no further request of this connection is begun */
    SERVER_KERNEL_BYTES = 64 << 10, /* so much the kernel takes that it has not sent; what is on its way is no part of it */
    SERVER_KEPT_BYTES = 1 << 20, /* what a loop's arena and buffers keep between calls */
    SERVER_HELD_BYTES = 512 << 20, /* of all connections of one loop; the one that would go above is cut */
    SERVER_LINGER_MS = 2000, /* how long a closing connection's input is thrown away */
    SERVER_CALLER_BYTES = 32,
    SERVER_OPERATIONS_CONNECTIONS = 256 /* of their own, so that a full API port can still be asked why */
};

/* ---- methods.c ---- */

struct server__method {
    const struct server_method *method;
    char *path; /* "/freshet.v1.FeatureService/GetFeatures" */
    int index;
    struct fr_histogram *seconds;
};

struct server__methods {
    struct server__method *sorted; /* by path; behind the last one stands "unknown", with no method */
    int count;
};

enum { SERVER_OWN_METHODS = 4 };

/* Those of the options, and `own`. */
FR_CHECKED bool server__methods_init(struct server__methods *methods, const struct server_options *options,
                                     const struct server_method own[SERVER_OWN_METHODS], struct fr_err *err);
void server__methods_fini(struct server__methods *methods);
const struct server__method *server__methods_find(const struct server__methods *methods, struct fr_slice path); /* or NULL */
const struct server__method *server__methods_unknown(const struct server__methods *methods);

/* ---- call.c ---- */

enum server__codec { SERVER_CODEC_JSON, SERVER_CODEC_PROTO, SERVER_CODEC_UNKNOWN }; /* the last is refused */

/* Why HTTP answers with another status than the call's own; the conventions' business. */
enum server__refusal {
    SERVER_REFUSED_NOT,
    SERVER_REFUSED_PATH,
    SERVER_REFUSED_VERB,
    SERVER_REFUSED_TYPE,
    SERVER_REFUSED_ENCODING,
    SERVER_REFUSED_HEAD,
    SERVER_REFUSED_CREDENTIAL
};

/* What carried a call, as metrics name it. */
enum server__wire { SERVER_WIRE_HTTP1, SERVER_WIRE_HTTP2, SERVER_WIRE_GRPC, SERVER_WIRES };

struct server__call {
    struct server_call seen; /* by the handler */
    struct server__loop *loop;
    const struct server__method *method;
    enum server__codec codec;
    enum server__refusal refusal;
    int64_t whole_us; /* when the request was whole; 0: not yet */
    int retry_ms; /* when to ask again, of one that was shed or came too often; 0: nothing is said about it */
    char retry[12]; /* the same, as the convention says it */
    struct server__pool *pool; /* that it was handed to */
    struct server__call *next_early; /* in its loop's list */
    bool has_waited; /* it was early at least once */
    atomic_bool is_cancelled; /* nobody waits for it any more: not to be begun */

    enum server__status status;
    char message[FR_MESSAGE_BYTES]; /* unless OK */
    ProtobufCMessage *request;
    struct fr_buffer *body; /* the encoded response */
    struct server__fields *fields; /* NULL unless its method takes them */
    struct fr_arena *own_arena; /* of a call that runs in a pool; the others use their loop's */
    struct fr_buffer own_body;

    /* Set by the protocol. `answer` runs on the loop once, unless the owner went away and set `owner` to NULL. */
    void (*answer)(struct server__call *call);
    void *owner;
    enum server__wire wire;
    char peer[SERVER_PEER_BYTES];
    char principal[SERVER_PRINCIPAL_BYTES]; /* who calls, once server__access_check() has looked */
    struct server__coding coding;
    char caller[SERVER_CALLER_BYTES];
};

/* NULL when out of memory. */
struct server__call *server__call_new(struct server__loop *loop, const char *peer, enum server__wire wire,
                                      void (*answer)(struct server__call *call), void *owner);
void server__call_free(struct server__call *call);

/* The first failure of a call stays. */
void server__call_refuse(struct server__call *call, enum server__status status, const char *format, ...) FR_PRINTF(3, 4);

/* Refuses it as RESOURCE_EXHAUSTED because there is too much to do, with a hint when to ask again. On the loop. */
void server__call_shed(struct server__call *call, const char *format, ...) FR_PRINTF(2, 3);

/*
 * The request is whole: decodes it, runs or queues the handler, and answers; a call that was refused answers at once. The call
 * is the server's from here on.
 */
void server__call_run(struct server__call **call, struct fr_slice body);

/* The handler of an early call once more. True: it waits on; false: it goes to a pool, or is answered. On the loop. */
bool server__call_again(struct server__call **call);

/* Deadline, handler, encoding. On the loop, or on a pool thread. */
void server__call_handle(struct server__call *call);

/* A request of its method and a response, by its codec: read into its arena, appended to its body. */
ProtobufCMessage *server__call_read(const struct server__call *call, struct fr_slice body, struct fr_err *err);
void server__call_write(struct server__call *call, const ProtobufCMessage *response);

/* Counts, answers and frees it. On the loop. */
void server__call_finish(struct server__call **call);

/* The same without an answer, on whichever way it ended; the loop's arena and buffer stay as they are. */
void server__call_end(struct server__call **call);

/* Its client went away. One that runs in the pool is only told so, the others are counted and freed. On the loop. */
void server__call_cancel(struct server__call **call, bool is_running);

/* ---- fields.c ---- */

enum { SERVER_ANSWER_FIELDS = 32 };

struct server__fields {
    struct fr_buffer request, head, trailers; /* name, NUL, value, NUL */
    struct fr_buffer details; /* of an error, as google.rpc.Status has them … */
    struct fr_buffer details_text; /* … and as name and base64 */
    int count; /* of those in head and trailers */
};

void server__fields_begin(struct server__call *call); /* its method is known */
void server__fields_free(struct server__fields *fields);
void server__fields_keep(struct server__call *call, struct fr_slice name, struct fr_slice value); /* of the request */
bool server__fields_next(const struct fr_buffer *fields, size_t *at, struct fr_slice *name, struct fr_slice *value);

/* The call has ended, and its error is in its body: details go there, trailers to the head. */
void server__fields_by_connect(struct server__call *call);
/* Appends the value of grpc-status-details-bin; nothing where there are no details. */
void server__fields_by_grpc(const struct server__fields *fields, enum server__status status, const char *message,
                            struct fr_buffer *out);

/* ---- health.c, reflection.c: gRPC's own services ---- */

/* `user` is the server. */
void server__health_methods(struct server *server, struct server_method methods[2]);
void server__reflection_methods(struct server *server, struct server_method methods[2]);

/* ---- pages.c ---- */

/* The HTTP status that the head of a request for the operations port deserves; 200 sets *page. */
int server__page_find(const struct server *server, enum server__http_method method, struct fr_slice path,
                      const struct server_page **page);

/* The fields that every reply of the operations port has, behind those that are there. */
void server__page_fields(struct server__reply *reply);

/* Renders into loop->body; `page` NULL: a line about `http_status`. */
struct server__reply server__page_reply(struct server__loop *loop, const struct server_page *page, int http_status);

/* Whether a request that names this host may read the operations port at `listener_is_loopback`; `hosts` are known elsewhere. */
bool server__page_host_is_known(struct fr_slice host, bool has_host, bool listener_is_loopback, const char *const *hosts,
                                int host_count);

/* ---- exchange.c: HTTP/1.1 on a connection ---- */

enum server__stage { SERVER_STAGE_HEAD, SERVER_STAGE_BODY, SERVER_STAGE_RUNNING };

struct server__exchange {
    enum server__stage stage;
    struct server__http1 parser;
    struct fr_buffer body; /* of a request that did not come in one piece */
    struct server__call *call;
    const struct server_page *page; /* on the operations port: decided at the head, sent at the end of the body */
    int page_status;
    bool has_begun; /* the first byte of a head is here */
    bool is_taking; /* inside take(): it goes on by itself after an answer */
    int64_t came_us; /* when what is taken now was there */
    bool is_behind_own; /* of requests that came together: not the first; its wait is its client's wish */
    bool has_more; /* bytes of a further request wait: don't send each reply alone */
};

/* A protocol on a connection. */
struct server__protocol {
    void (*begin)(struct server__connection *connection);
    size_t (*take)(struct server__connection *connection, struct fr_slice bytes); /* how many it used; it sees the rest again */
    void (*expire)(struct server__connection *connection); /* its time is over */
    void (*cut)(struct server__connection *connection, enum server__fault fault); /* answer if that is possible, and finish */
    bool (*is_idle)(const struct server__connection *connection); /* nothing begun */
    bool (*is_busy)(const struct server__connection *connection); /* a call runs: an answer will come */
    size_t (*held)(const struct server__connection *connection); /* bytes it keeps beside the connection's own buffers */
    void (*pump)(struct server__connection *connection); /* may send more; may be NULL */
    void (*run)(struct server__connection *connection); /* its turn in the loop's line; NULL: what it has read says it all */
    void (*drain)(struct server__connection *connection); /* the loop drains; may be NULL */
    void (*end)(struct server__connection *connection); /* the connection goes away */
};
extern const struct server__protocol server__sniffer, server__http1_protocol, server__http2_protocol;

/* ---- reply.c ---- */

const char *server__date(struct server__loop *loop); /* "Sun, 06 Nov 1994 08:49:37 GMT", now */

/* Appends the head of a reply to `out`. `length` is the body's even when the body is not sent (HEAD). */
void server__reply_head(struct server__loop *loop, const struct server__reply *reply, bool is_close, struct fr_buffer *out);

/* ---- connection.c ---- */

struct server__connection {
    struct server__loop *loop;
    struct server__connection *previous, *next;
    int fd;
    struct server__session *session; /* of TLS; NULL: plaintext */
    struct server__caller caller; /* who its peer is */
    bool is_operations;
    bool is_listener_loopback;
    enum server__age age;
    bool is_finishing; /* no further request; closes when all is sent */
    bool is_lingering; /* all is sent and our side shut; waits for the peer to see it */
    bool is_read_closed; /* the peer has sent all it will */
    bool is_reading, is_writing;
    bool is_dead; /* closed; freed when its loop has ended the round */
    struct server__place place; /* in its loop's line */
    struct event *read_event, *write_event, *timer;
    const struct server__protocol *protocol;
    struct server__exchange exchange; /* of HTTP/1.1 */
    struct server__http2 *http2; /* NULL while it is not that */
    struct fr_buffer input;
    struct fr_buffer output;
    size_t output_at;
    uint64_t sent_bytes, queued_bytes;
    uint64_t due_bytes; /* sent_bytes must reach this … */
    int64_t due_ms; /* … by then */
    int64_t expires_ms; /* the protocol's own limit; INT64_MAX for none */
    int64_t linger_ms;
    int64_t age_ms; /* its next age is due then; INT64_MAX: it has none */
    int64_t timer_ms; /* when the timer fires; it may be early, then it is set again */
    size_t held_bytes; /* its share of loop->held_bytes */
    char peer[SERVER_PEER_BYTES];
};

/* Takes the descriptor. NULL when out of memory (the descriptor is closed then too). */
struct server__connection *server__connection_new(int fd, const char *peer, bool is_operations, bool is_listener_loopback);

/* On the loop from here on. */
void server__connection_adopt(struct server__connection *connection, struct server__loop *loop);
void server__connection_close(struct server__connection *connection);
void server__connection_free(struct server__connection *connection);

/* Sends or keeps to send; `more` when more is about to follow. */
void server__connection_send(struct server__connection *connection, struct fr_slice head, struct fr_slice body, bool more);
/* Keeps to send, and no more than that: may be called from where the connection must not close. */
void server__connection_append(struct server__connection *connection, struct fr_slice bytes);
size_t server__connection_unsent(const struct server__connection *connection);

/* No further request is read; closes when everything is sent. */
void server__connection_finish(struct server__connection *connection);

/* The protocol wants to be called by then unless it says otherwise; INT64_MAX: never. */
void server__connection_expire(struct server__connection *connection, int64_t span_ms);
void server__connection_switch(struct server__connection *connection, const struct server__protocol *protocol);
void server__connection_resume(struct server__connection *connection); /* a call has ended: goes on with what came meanwhile */
void server__connection_drain(struct server__connection *connection); /* the loop drains: closes it when idle */

/* ---- loop.c ---- */

struct server__loop {
    struct server *server;
    char name[16]; /* "0", "1", "operations" */
    pthread_t thread;
    bool is_started;
    struct event_base *base;
    struct server__wake wake;
    struct fr_queue *arrivals; /* connections from the acceptor */
    struct fr_queue *answers; /* calls that have run in a pool; has room for all of them */
    atomic_int connection_count; /* the acceptor adds, the loop subtracts: it chooses by this */
    struct server__early early;
    struct event *tick; /* of the operations loop, where the options have one */

    /* The loop's own. */
    struct server__connection *connections, *dead;
    int adopted_count;
    bool is_draining, is_stopping, has_said_drained;
    struct server__line line;
    int64_t round_us; /* when the first socket of this round was looked at; 0: none was */
    int64_t read_us; /* when the last one of this round was done with */
    int *expected_us; /* by method: what a quick call takes of late */
    size_t held_bytes;
    struct fr_gauge *connection_gauge;
    struct fr_counter **request_counters; /* by method, wire and status, made when first used */
    struct fr_arena *arena;
    struct fr_buffer head, body;
    uint8_t *scratch; /* SERVER_READ_BYTES */
    int64_t date_second;
    char date[32];
};

FR_CHECKED bool server__loop_open(struct server__loop *loop, struct server *server, const char *name, struct fr_err *err);
FR_CHECKED bool server__loop_tick(struct server__loop *loop, struct fr_err *err); /* calls the options' tick from then on */
FR_CHECKED bool server__loop_start(struct server__loop *loop, struct fr_err *err);
void server__loop_turn(struct server__loop *loop, bool may_wait); /* one round, on its thread */
void server__loop_stop(struct server__loop *loop); /* joins the thread */
void server__loop_close(struct server__loop *loop); /* frees what is left */
struct fr_counter *server__loop_request_counter(struct server__loop *loop, const struct server__call *call);

/* ---- server.c ---- */

struct server {
    struct server_options options;
    struct server_method own[SERVER_OWN_METHODS];
    struct server__methods methods;
    struct server__access access;
    struct server__acceptor acceptor;
    struct server__loop *loops; /* options.loops of them, and behind them the one of the operations port */
    int loop_count; /* without that one */
    struct server__pool pool; /* of slow calls */
    struct server__pool postponed;
    atomic_int early_count; /* on all loops */
    struct fr_queue *drained; /* who has drained says so here; borrowed pointers */
    struct fr_counter *faults[SERVER_FAULTS];
    struct fr_counter *refused_limit, *refused_busy, *accept_pauses, *slow_readers, *not_http;
    struct fr_counter *handshakes, *handshakes_failed, *aged, *bombs;
    struct fr_counter *shed_deadline, *shed_wait, *shed_full;
    struct fr_histogram *waits;
    bool is_started, is_drained;
};

/* A thread with all signals blocked: they are for the threads of the program. */
FR_CHECKED bool server__thread_start(pthread_t *thread, void *(*run)(void *), void *user, struct fr_err *err);

#endif
