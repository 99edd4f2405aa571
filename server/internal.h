/*
 * What the files of the server share.
 *
 * The layers, from the socket up: a listener accepts; a loop (a thread with its event base) owns connections; a connection
 * moves bytes and keeps time; a protocol (sniffing, then HTTP/1.1 or HTTP/2) turns bytes into calls and replies into bytes; a
 * convention (Connect, gRPC) says how a call looks in HTTP headers; a call is none of that: method, codec, deadline, handler,
 * status. No libevent or nghttp2 type is named here, so parsers can be tested without them. HTTP/2 has more to share: http2.h.
 */
#ifndef FRESHET_SERVER_INTERNAL_H
#define FRESHET_SERVER_INTERNAL_H

#include "access.h"
#include "age.h"
#include "gzip.h"

#include <freshet/queue.h>
#include <freshet/server.h>

#include <pthread.h>
#include <stdatomic.h>

struct event;
struct event_base;
struct server;
struct server__loop;
struct server__connection;
struct server__session;
struct server__tls;

enum {
    SERVER_READ_BYTES = 64 << 10, /* what one read takes at most */
    SERVER_AHEAD_BYTES = 64 << 10, /* pipelined input kept while a call runs; more stays in the kernel */
    SERVER_OUTPUT_BYTES = 8 << 10, /* what output begins with where frames gather in it */
    SERVER_UNSENT_BYTES = 1 << 20, /* above it no further request of this connection is begun */
    SERVER_KEPT_BYTES = 1 << 20, /* what a loop's arena and buffers keep between calls */
    SERVER_HELD_BYTES = 512 << 20, /* of all connections of one loop; the one that would go above is cut */
    SERVER_BEHIND_US = 200 * 1000, /* a loop whose line has not been empty for so long is behind */
    SERVER_LINGER_MS = 2000, /* how long a closing connection's input is thrown away */
    SERVER_PEER_BYTES = 64, /* "[v6 address]:port" */
    SERVER_CALLER_BYTES = 32,
    SERVER_OPERATIONS_CONNECTIONS = 256 /* of their own, so that a full API port can still be asked why */
};

/* ---- status.c ---- */

/* The codes that gRPC and Connect share, with gRPC's numbers. */
enum server__status {
    SERVER_STATUS_OK,
    SERVER_STATUS_CANCELED,
    SERVER_STATUS_UNKNOWN,
    SERVER_STATUS_INVALID_ARGUMENT,
    SERVER_STATUS_DEADLINE_EXCEEDED,
    SERVER_STATUS_NOT_FOUND,
    SERVER_STATUS_ALREADY_EXISTS,
    SERVER_STATUS_PERMISSION_DENIED,
    SERVER_STATUS_RESOURCE_EXHAUSTED,
    SERVER_STATUS_FAILED_PRECONDITION,
    SERVER_STATUS_ABORTED,
    SERVER_STATUS_OUT_OF_RANGE,
    SERVER_STATUS_UNIMPLEMENTED,
    SERVER_STATUS_INTERNAL,
    SERVER_STATUS_UNAVAILABLE,
    SERVER_STATUS_DATA_LOSS,
    SERVER_STATUS_UNAUTHENTICATED,
    SERVER_STATUSES
};

enum server__status server__status_of(enum fr_code code);
const char *server__status_name(enum server__status status); /* "invalid_argument" */
int server__status_http(enum server__status status);
const char *server__http_reason(int http_status); /* "Bad Request" */

/* Appends {"code":"…","message":"…"}. */
void server__status_print(enum server__status status, const char *message, struct fr_buffer *out);

/* ---- fault.c ---- */

/* What is wrong with the framing of a request. After any of them the connection is answered and closed. */
enum server__fault {
    SERVER_FAULT_NONE,
    SERVER_FAULT_REQUEST_LINE,
    SERVER_FAULT_METHOD,
    SERVER_FAULT_TARGET,
    SERVER_FAULT_TARGET_LONG,
    SERVER_FAULT_VERSION,
    SERVER_FAULT_HEADER,
    SERVER_FAULT_HEADERS_LARGE,
    SERVER_FAULT_HOST,
    SERVER_FAULT_LENGTH,
    SERVER_FAULT_TRANSFER,
    SERVER_FAULT_TRANSFER_UNKNOWN,
    SERVER_FAULT_EXPECT,
    SERVER_FAULT_CHUNK,
    SERVER_FAULT_TRAILER,
    SERVER_FAULT_BODY_LARGE,
    SERVER_FAULT_SLOW, /* from here on not the parser's */
    SERVER_FAULT_OVERLOAD,
    SERVER_FAULT_HTTP2,
    SERVER_FAULT_FLOOD,
    SERVER_FAULTS
};
struct server__fault_text {
    const char *name; /* of the metric */
    int http_status;
    enum server__status status;
    const char *message;
};
const struct server__fault_text *server__fault_text(enum server__fault fault);

/* ---- http1.c, http1_framing.c, http1_body.c: the parser; no allocation, no I/O ---- */

enum server__http_method { SERVER_HTTP_GET, SERVER_HTTP_HEAD, SERVER_HTTP_POST, SERVER_HTTP_OTHER };

enum server__http1_state {
    SERVER_HTTP1_METHOD,
    SERVER_HTTP1_TARGET,
    SERVER_HTTP1_VERSION,
    SERVER_HTTP1_LINE_LF,
    SERVER_HTTP1_FIELD, /* the first byte of a field or of the end */
    SERVER_HTTP1_NAME,
    SERVER_HTTP1_VALUE,
    SERVER_HTTP1_VALUE_LF,
    SERVER_HTTP1_END_LF,
    SERVER_HTTP1_HEAD_DONE,
    SERVER_HTTP1_FIXED, /* bodies from here on */
    SERVER_HTTP1_SIZE,
    SERVER_HTTP1_EXTENSION,
    SERVER_HTTP1_SIZE_LF,
    SERVER_HTTP1_DATA,
    SERVER_HTTP1_DATA_CR,
    SERVER_HTTP1_DATA_LF,
    SERVER_HTTP1_TRAILER,
    SERVER_HTTP1_TRAILER_NAME,
    SERVER_HTTP1_TRAILER_VALUE,
    SERVER_HTTP1_TRAILER_LF,
    SERVER_HTTP1_LAST_LF,
    SERVER_HTTP1_BODY_DONE,
};

struct server__span {
    size_t at;
    size_t length;
};

struct server__http1 {
    size_t header_bytes_max;
    int header_count_max;
    uint64_t body_bytes_max;

    enum server__http1_state state;
    size_t at; /* bytes of the head read so far */
    int fields; /* header fields, then trailer fields, seen so far */
    size_t fields_at;
    enum server__fault fault;

    /* Known once the head is read; spans count from the first byte of the request. */
    struct server__span method_text, target, path, host;
    enum server__http_method method;
    bool has_host;
    bool is_1_0;
    bool is_chunked;
    bool has_length;
    bool expects_continue;
    bool is_close; /* the connection ends with this request */

    uint64_t length; /* of a body with Content-Length */
    uint64_t remaining; /* of the body, or of its chunk */
    uint64_t received; /* body bytes so far */
    int digits; /* of a chunk size */
    size_t overhead; /* bytes of chunk extensions and trailers */
};

enum server__parsed { SERVER_MORE, SERVER_DONE, SERVER_FAILED };

/* Ready for the next request, with the same limits. */
void server__http1_reset(struct server__http1 *parser);

/*
 * Reads on in a head. `bytes` begins at the first byte of the request and holds again whatever it held at the call before.
 * DONE: parser->at bytes were the head. FAILED: parser->fault.
 */
enum server__parsed server__http1_head(struct server__http1 *parser, struct fr_slice bytes);

/*
 * Reads on in the body, from the first byte not yet taken: *used bytes were taken, and *piece (in `bytes`, may be empty) is
 * body. MORE: call again with what follows. DONE: the request ends after *used.
 */
enum server__parsed server__http1_body(struct server__http1 *parser, struct fr_slice bytes, size_t *used,
                                       struct fr_slice *piece);

/* True when a request with this head has a body to read. */
bool server__http1_has_body(const struct server__http1 *parser);

/* The next header field of a head that is DONE; start with *at = 0. False: no more. The value has no space around it. */
bool server__http1_field(const struct server__http1 *parser, const void *head, size_t *at, struct fr_slice *name,
                         struct fr_slice *value);

/* "/path" without its query; what follows the '?', empty where there is none. */
struct fr_slice server__http1_path(const struct server__http1 *parser, const void *head);
struct fr_slice server__http1_query(const struct server__http1 *parser, const void *head);

/* For its parts. */
bool server__http1_fail(struct server__http1 *parser, enum server__fault fault); /* false, always */
bool server__http1_is_token(uint8_t byte);
bool server__http1_is_value(uint8_t byte);
struct fr_slice server__http1_trim(const uint8_t *from, const uint8_t *to);
struct fr_slice server__http1_slice(struct server__span span, const void *head);
bool server__http1_frame(struct server__http1 *parser, const uint8_t *head); /* the head is whole: what it means */

/* ---- sniff.c ---- */

enum server__sniffed { SERVER_SNIFF_MORE, SERVER_SNIFF_HTTP1, SERVER_SNIFF_HTTP2, SERVER_SNIFF_OTHER };
enum server__sniffed server__sniff(struct fr_slice bytes);

/* Index into the known HTTP methods, or −1. `prefix`: text may be the beginning of one. */
int server__known_method(struct fr_slice text);
bool server__known_method_begins(struct fr_slice text);

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

enum server__codec { SERVER_CODEC_JSON, SERVER_CODEC_PROTO };

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
void server__base64(struct fr_slice bytes, struct fr_buffer *out); /* without padding */

/* The call has ended, and its error is in its body: details go there, trailers to the head. */
void server__fields_by_connect(struct server__call *call);
/* Appends the value of grpc-status-details-bin; nothing where there are no details. */
void server__fields_by_grpc(const struct server__fields *fields, enum server__status status, const char *message,
                            struct fr_buffer *out);

/* ---- connect.c: the Connect unary convention ---- */

struct server__connect {
    enum server__http_method method;
    struct fr_slice path, content_type, content_encoding, accept_encoding, timeout, version;
    struct server__credential credential;
    bool is_repeated; /* one of these fields came twice */
    struct fr_slice caller, agent; /* x-freshet-caller, user-agent: the first of each */
};

/* Notes a header field, if it is one of the convention's. */
void server__connect_field(struct server__connect *head, struct fr_slice name, struct fr_slice value);

/* What the head says goes into the call: method, codec, deadline, or a refusal. `arrived_us`: when the head was whole. */
void server__connect_begin(struct server__call *call, const struct server__connect *head, int64_t arrived_us);

/* Who the head says that it is, as one word: letters, digits, '.', '-' and '_'. */
void server__connect_caller(const struct server__connect *head, char caller[SERVER_CALLER_BYTES]);

/* A header field of a reply; the name in lower case, as HTTP/2 wants it. */
struct server__field {
    const char *name, *value;
};
enum { SERVER_REPLY_FIELDS = 6 };

struct server__reply {
    int http_status;
    const char *content_type;
    struct server__field fields[SERVER_REPLY_FIELDS]; /* up to the first without a name */
    const struct fr_buffer *more; /* as server__fields_next() reads them; may be NULL */
    struct fr_slice body;
};

/* How the call ended. An error's body is written into call->body. */
struct server__reply server__connect_reply(struct server__call *call);

/* ---- grpc.c: the gRPC convention ---- */

enum { SERVER_GRPC_PREFIX = 5 };

/* What is gRPC's own in a head; the rest is in its struct server__connect. */
struct server__grpc {
    struct fr_slice timeout, encoding, accept_encoding;
    bool is_repeated;
};

/* Whether this content type is gRPC's: "application/grpc", "+proto", "+json". */
bool server__grpc_is(struct fr_slice content_type, enum server__codec *codec);
void server__grpc_field(struct server__grpc *head, struct fr_slice name, struct fr_slice value);

/* What grpc-encoding says of the messages that are marked as compressed. */
enum server__grpc_coding { SERVER_GRPC_IDENTITY, SERVER_GRPC_UNKNOWN, SERVER_GRPC_GZIP };
enum server__grpc_coding server__grpc_coding(const struct server__grpc *grpc);
void server__grpc_begin(struct server__call *call, const struct server__connect *head, const struct server__grpc *grpc,
                        int64_t arrived_us);

/* "1H", "250m", "100000u": 1 to 8 digits and a unit. */
bool server__grpc_timeout(struct fr_slice text, int64_t *timeout_us);

/*
 * The length-prefixed message that `bytes` begin with: DONE when it is whole, then *message and what it took (*used); FAILED
 * when it can't be one of ours, then *status and what to say, as soon as that is known. Whether it is packed its first byte says.
 */
enum server__parsed server__grpc_message(struct fr_slice bytes, enum server__grpc_coding coding, uint64_t message_bytes_max,
                                         struct fr_slice *message, size_t *used, enum server__status *status,
                                         const char **reason);
void server__grpc_prefix(size_t message_bytes, uint8_t prefix[SERVER_GRPC_PREFIX]);

/* Appends `text` percent-encoded, as grpc-message has it. */
void server__grpc_escape(const char *text, struct fr_buffer *out);

/* ---- health.c, reflection.c: gRPC's own services ---- */

/* `user` is the server. */
void server__health_methods(struct server *server, struct server_method methods[2]);
void server__reflection_methods(struct server *server, struct server_method methods[2]);

/* ---- pool.c: calls that block ---- */

struct server__pool {
    struct fr_queue *calls;
    pthread_t *threads;
    int thread_count;
    int call_max;
    atomic_int taken; /* calls accepted and not yet answered; loops add, loops subtract */
    atomic_bool is_stopping; /* what still waits is cancelled */
};

FR_CHECKED bool server__pool_start(struct server__pool *pool, int call_max, int threads, struct fr_err *err);
void server__pool_stop(struct server__pool *pool); /* joins; every call is in the mailbox of its loop, and no other is taken */
void server__pool_close(struct server__pool *pool);

/* False when as many as allowed wait or run; the call then stays the caller's. */
bool server__pool_submit(struct server__pool *pool, struct server__call **call);
void server__pool_release(struct server__pool *pool); /* its answer has reached the loop */

/* ---- early.c: calls that are asked again ---- */

struct server__early { /* of one loop, on its thread */
    struct server__loop *loop;
    struct server__call *first;
    struct event *timer; /* runs while there are any */
    struct fr_gauge *gauge;
    int count;
};

FR_CHECKED bool server__early_open(struct server__early *early, struct server__loop *loop, struct fr_err *err);
void server__early_close(struct server__early *early); /* frees the calls; nobody waits for them any more */

/* False when as many as allowed wait, on all loops together; the call then stays the caller's, refused. */
bool server__early_add(struct server__early *early, struct server__call **call);

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
    struct server__connection *line_previous, *line_next; /* while it is in its loop's line */
    bool is_in_line;
    int waiting; /* requests that are whole */
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

/* ---- wake.c ---- */

enum server__phase { SERVER_RUNNING, SERVER_DRAINING, SERVER_STOPPING };

/* How another thread gets a loop's attention: an eventfd and a word that only the server writes. */
struct server__wake {
    int fd;
    struct event *event;
    atomic_int phase;
};
FR_CHECKED bool server__wake_open(struct server__wake *wake, struct event_base *base, void (*on_wake)(int, short, void *),
                                  void *user, struct fr_err *err);
void server__wake_close(struct server__wake *wake);
void server__wake_ring(struct server__wake *wake);
void server__wake_clear(struct server__wake *wake);
void server__wake_phase(struct server__wake *wake, enum server__phase phase);

/* ---- line.c ---- */

struct server__line {
    struct server__connection *first, *last;
    int waiting; /* requests of those connections */
    int64_t empty_us; /* since when it is not empty */
    int64_t slice_us; /* when it was last run; 0: not since it was empty */
    int served; /* calls, since then */
    int64_t turn_us; /* when the turn of this connection began */
    int turn_calls;
    int pace_us; /* for each, of late */
    uint64_t refused;
};

void server__line_join(struct server__connection *connection); /* at the end, unless it stands there already */
void server__line_leave(struct server__connection *connection); /* if it is in it */
void server__line_count(struct server__connection *connection, int more); /* so many more of its requests wait */
void server__line_run(struct server__loop *loop); /* until it is empty, but for a few milliseconds at most */

/* A connection may run calls: one, and more until the turn is over. */
void server__line_begin_turn(struct server__loop *loop);
bool server__line_is_turn_over(struct server__loop *loop); /* a call was run */

/* A request's head is whole: refuses it when it would have to wait too long. */
void server__line_foresee(struct server__call *call, int64_t now_us);

/* Whether a whole request is to be worked on, now that its turn has come; else it is refused, if it was not, and says why. */
bool server__line_admits(struct server__call *call);
void server__line_learn(struct server__call *call, int64_t begun_us); /* it ran from then until now */
int server__line_retry_ms(struct server__loop *loop);

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

/* ---- address.c ---- */

/* Binds and listens. "" gives −1. `key` is named in messages. */
FR_CHECKED bool server__address_listen(const char *text, const char *key, int *fd, char address[SERVER_PEER_BYTES],
                                       bool *is_loopback, struct fr_err *err);
struct sockaddr;
bool server__address_is_loopback(const struct sockaddr *address); /* ::ffff:127.0.0.1 too */
void server__address_print(const struct sockaddr *address, char text[SERVER_PEER_BYTES]);

/* ---- listener.c ---- */

struct server__listener {
    struct server *server;
    int fd; /* −1: none */
    bool is_operations;
    bool is_loopback;
    bool is_tls;
    char address[SERVER_PEER_BYTES];
    struct event *event;
};

struct server__acceptor {
    struct server *server;
    pthread_t thread;
    bool is_started;
    struct event_base *base;
    struct server__wake wake;
    struct event *pause_timer;
    int pause_ms;
    struct server__listener api, operations;
    struct server__tls *tls; /* of both ports */
    struct event *look_timer; /* whether its files have changed */
};

FR_CHECKED bool server__acceptor_open(struct server__acceptor *acceptor, struct server *server,
                                      const struct server_options *options, struct fr_err *err);
FR_CHECKED bool server__acceptor_start(struct server__acceptor *acceptor, struct fr_err *err);
void server__acceptor_stop(struct server__acceptor *acceptor); /* joins the thread */
void server__acceptor_close(struct server__acceptor *acceptor);

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
