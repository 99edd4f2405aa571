/*
 * The wire: sockets, HTTP/1.1, HTTP/2 and gRPC over libevent loops on one port. It is given a table of methods and knows
 * messages by their descriptors only. One acceptor hands each connection to the loop with the fewest; a connection stays with
 * its loop.
 *
 * Beside the methods it is given it serves gRPC's health checking and reflection, the latter from proto_descriptor_set().
 *
 * A handler runs on its connection's loop and must not block; one marked `is_slow` runs on a small pool instead, one that
 * finds that it has to wait for a disk may postpone itself to another, and one that waits for something to happen is asked again.
 * On the operations port only pages are served, from a loop of their own; listening on loopback, it refuses a Host that is not
 * this machine's.
 *
 * With `tls` the API port speaks TLS only, and so does the operations port unless it listens on loopback. With `grants` every
 * method but those that are open to anybody needs a grant of its group; who has none or a wrong one is unauthenticated, who has
 * another is denied. Whoever calls is a principal: a grant's name, else a name of its certificate, else its address.
 *
 * What a client does is bounded by `struct server_limits`. A connection above the limit is answered 503 and closed (and so is
 * one above 256 on the operations port); without file descriptors accepting pauses, 100 ms to 1 s.
 */
#ifndef FRESHET_SERVER_H
#define FRESHET_SERVER_H

#include <freshet/arena.h>
#include <freshet/buffer.h>
#include <freshet/error.h>
#include <freshet/message.h>
#include <freshet/metrics.h>

struct server_call {
    const char *method; /* "freshet.v1.FeatureService/GetFeatures" */
    const char *peer; /* "127.0.0.1:51234" */
    const char *principal; /* who calls: "ranker" */
    const char
        *caller; /* who it says it is, for metrics: "ranker", or "grpc-python" by its user agent; "" when it says nothing */
    struct fr_arena *arena; /* gone after the reply */
    int64_t deadline_us; /* on the monotonic clock; INT64_MAX: none */
    bool may_block; /* the handler runs on a pool, not on a loop */
    /*
     * Set by a handler that finds it must block and may not; it then returns false without an error, and is called again with
     * the same request and arena on a pool of its own, where it may. What it took from the arena stays.
     */
    bool is_postponed;
    /*
     * Set by a handler on a loop that waits for what another thread is about to do; it then returns false without an error, and is
     * called again every millisecond, on the loop, with the same request, arena and `kept`. A passed deadline does not keep it from
     * being called: it says itself what it has waited for. A client that went away and a server that drains end the wait.
     */
    bool is_early;
    /* Set by a handler of SERVER_ADMIN: it only told how far is what an earlier call began, which is not worth a line of the log. */
    bool is_asked_again;
    void *kept; /* the handler's own from one of these calls to the next, in the arena; NULL at the first */
};

/*
 * Answers with a message in the call's arena. False: the code becomes the status of the protocol (FR_BAD_INPUT
 * invalid_argument, FR_PRECONDITION failed_precondition, FR_UNAVAILABLE unavailable, FR_EXHAUSTED resource_exhausted,
 * FR_DEADLINE deadline_exceeded, FR_CORRUPT data_loss, FR_UNAUTHENTICATED unauthenticated, FR_DENIED permission_denied,
 * FR_UNIMPLEMENTED unimplemented, FR_CANCELLED canceled, FR_BAD_CONFIG internal).
 */
typedef bool (*server_handler_fn)(void *user, struct server_call *call, const ProtobufCMessage *request,
                                  ProtobufCMessage **response, struct fr_err *err);

/*
 * Beside the messages, for handlers of a method that `takes_fields`; on the thread that runs them. The header fields of the request in
 * order, names in lower case, from *at = 0 on; false: no more. Fields of the reply's head or trailers, names in lower case, and
 * details of its error, by the type "type.googleapis.com/…"; false: out of memory, or there are 32 fields already.
 */
bool server_call_field(const struct server_call *call, size_t *at, struct fr_slice *name, struct fr_slice *value);
bool server_call_answer_field(struct server_call *call, bool is_trailer, const char *name, const char *value);
bool server_call_answer_detail(struct server_call *call, const char *type, struct fr_slice message);

/*
 * A method that answers with a stream of messages; by gRPC only. Everything runs on the connection's loop and must not block.
 * A message is asked for when the one before has left, so a slow client is never ahead of its memory: nothing queues up.
 */
enum server_step {
    SERVER_STEP_SEND, /* *response, in the call's arena, which is gone when the function is called next */
    SERVER_STEP_WAIT, /* nothing now: ask again after *wait_ms; INT64_MAX: with the next request, if there can be one */
    SERVER_STEP_END, /* all is sent */
    SERVER_STEP_FAIL /* *err */
};

struct server_streaming {
    /* A request came: the only one, or with `takes_many` each in turn. *state is the method's own, NULL before the first. */
    bool (*request)(void *user, struct server_call *call, const ProtobufCMessage *request, void **state, struct fr_err *err);
    enum server_step (*next)(void *user, struct server_call *call, void *state, ProtobufCMessage **response, int64_t *wait_ms,
                             struct fr_err *err);
    void (*end)(void *user, void *state); /* the stream is over, however; NULL when there is nothing to free */
    bool takes_many; /* the client sends a stream too; its messages are 32 KiB at most */
};

enum server_group { SERVER_READ, SERVER_LEARN, SERVER_ADMIN, SERVER_GROUPS }; /* whose token may call it */

struct server_method {
    const char *service; /* "freshet.v1.FeatureService" */
    const char *name; /* "GetFeatures" */
    const ProtobufCMessageDescriptor *request, *response;
    enum server_group group;
    bool is_slow;
    bool is_open; /* to anybody: no grant, no rate */
    bool is_polled; /* of SERVER_ADMIN: where there are no grants, a call that went well is not worth a line of the log */
    bool takes_fields; /* header fields of request and reply, by the functions above */
    bool is_never_shed; /* for being asked while there is too much to do: health */
    server_handler_fn handler; /* NULL where `streaming` is set */
    const struct server_streaming *streaming; /* NULL: answered once, by the handler */
    /*
     * Appends the wire bytes of a response, the very ones that proto_pack() would; NULL: proto_pack() does. For a method whose
     * replies are large and of a known shape. Whatever carries them (gzip, TLS, frames) sees one run of bytes; JSON comes from the message.
     */
    void (*pack)(const ProtobufCMessage *response, struct fr_buffer *out);
    void *user;
};

/* Who may read a page. A peer on loopback may read all of them. */
enum server_access {
    SERVER_PAGE_OPEN, /* anybody */
    SERVER_PAGE_GUARDED, /* with grants: who has the admin group's */
    SERVER_PAGE_LOOKUP /* users' and items' data: who has the admin group's grant, and nobody where there are no grants */
};

/*
 * A page of the operations port: GET (and HEAD) only. It is rendered, on the operations loop, where it must not block; or it is the door to
 * a method, which runs as it does on the API port (on a pool, postponed, counted) and answers in JSON. Who may open a door is up to
 * the page, not to the method's group.
 */
struct server_page {
    const char *path; /* "/status" */
    enum server_access access;
    /* Fills body, content type (static) and HTTP status (200 when untouched). NULL: it is a door. */
    void (*render)(void *user, struct fr_buffer *body, const char **content_type, int *status);
    void *user;
    const char *method; /* of a door: "/freshet.v1.FeatureService/GetFeatures", unary */
    /* Appends the method's request as JSON, made of the query as it came. False: that is the call's error. On the operations loop. */
    bool (*ask)(void *user, struct fr_slice query, struct fr_buffer *json, struct fr_err *err);
};

/* Appends the value of the first `name=value` in a query, percent-decoded, to `value`. False: there is none. Any thread. */
bool server_query_find(struct fr_slice query, const char *name, struct fr_buffer *value);

struct server_limits {
    int connections; /* 10,000 */
    int header_bytes; /* 16 KiB of request line and headers */
    int header_count; /* 100 */
    uint64_t message_bytes; /* 4 MiB of body */
    uint64_t arena_bytes; /* 64 MiB a call */
    int64_t header_ms; /* 10 s for a whole head; also an idle connection's TLS or sniff time */
    int64_t body_ms; /* 30 s for a whole body, and for a client to take a reply */
    int64_t idle_ms; /* 5 min between requests */
    int64_t quiet_ms; /* HTTP/2: a peer with streams open that says nothing for 60 s is sent a PING … */
    int64_t pong_ms; /* … and cut off, without a word, unless it says anything within 20 s */
    int slow_calls; /* waiting or running; more are resource_exhausted: 64 */
    int slow_threads; /* 2 */
    int postponed_calls; /* likewise of calls that postponed themselves: 1024 */
    int postponed_threads; /* 2 */
    int early_calls; /* that wait to be called again; more are resource_exhausted: 1024 */
    int queued_calls; /* whole requests that wait for a loop, by HTTP/2; more are resource_exhausted: 4096 a loop */
    int64_t wait_ms; /* 1 s: what waits longer (or half of its deadline) for a loop that is behind is resource_exhausted */
    uint64_t connection_bytes; /* 16 MiB of unfinished requests on one HTTP/2 connection; one with more is cut */
    int rate; /* calls a second of one principal; more are resource_exhausted; 0: no limit */
    int burst; /* calls at once, of one that has been quiet; 0: as many as `rate` */
    int64_t age_ms; /* an API connection is asked to end at this age, a tenth more or less; 0: never … */
    int64_t grace_ms; /* … and what still runs on it is cut so much later: 30 s */
};
void server_limits_default(struct server_limits *limits);

/* Files in PEM; they must outlive the server, and are read again when they change. */
struct server_tls {
    const char *certificate; /* the node's, then its chain; NULL: plaintext */
    const char *key; /* not readable by others, no passphrase */
    const char *client_ca; /* who signs the clients' certificates: then each needs one; NULL: none is asked for */
    const char *client_crl; /* those that this authority has taken back; may be NULL */
};

/* What a client may do that shows a token, or a certificate. */
struct server_grant {
    const char *name; /* of the principal, in logs and metrics */
    const char *token; /* 16 to 256 letters of a bearer token; NULL: it is the certificate */
    const char *token_file; /* where the token was read, and is read anew when that changes; NULL: it stays */
    const char *certificate; /* a name in it: DNS, URI, email or CN */
    unsigned groups; /* 1 << SERVER_READ | … */
};
enum { SERVER_GRANTS_MAX = 64, SERVER_TOKEN_BYTES_LEAST = 16, SERVER_TOKEN_BYTES_MAX = 256 };

struct server_options {
    const char *listen; /* "127.0.0.1:7070"; port 0 picks a free one; "" for none */
    const char *operations; /* "127.0.0.1:7071"; likewise */
    int loops;
    struct server_limits limits;
    struct server_tls tls;
    const struct server_grant *grants; /* must outlive the server, with their texts; none: everything is open */
    int grant_count;
    const char *const *hosts; /* names that the operations port answers to off loopback, beside addresses */
    int host_count;
    const struct server_method *methods; /* must outlive the server, like what they point to */
    int method_count;
    proto_find_fn find; /* what a google.protobuf.Any in their messages may hold, for its JSON; NULL: nothing */
    const struct server_page *pages;
    int page_count;
    /* Called on the operations loop, beside the pages, once a second: what both touch has one owner. NULL: not. Must not block. */
    void (*tick)(void *user);
    void *tick_user;
    struct fr_metrics *metrics; /* not NULL; must outlive the server */

    /* What gRPC's health service says, of all services alike; NULL: serving. From any loop; must not block. */
    bool (*is_serving)(void *user);
    void *is_serving_user;
};

/* Whether `text` is an address that can be listened at ("" is: none); the message names `key`. Opens nothing; any thread. */
FR_CHECKED bool server_address_check(const char *text, const char *key, struct fr_err *err);

/* Whether these files can be used: what server_open() would say of them. Reads them; any thread. */
FR_CHECKED bool server_tls_check(const struct server_tls *files, struct fr_err *err);

/* Whether `path` is a key that is kept secret: a file that others can't read or write. Any thread. */
FR_CHECKED bool server_tls_key_check(const char *path, struct fr_err *err);

/* Whether `token` can be one: of RFC 6750's letters, and as long as it has to be. Any thread. */
FR_CHECKED bool server_token_check(const char *token, struct fr_err *err);

struct server;

/* Binds and listens; nothing is accepted yet. FR_BAD_CONFIG: the address is busy or wrong; it says which key to change. */
FR_CHECKED bool server_open(const struct server_options *options, struct server **server, struct fr_err *err);

/* "127.0.0.1:7070" with the real port. */
const char *server_api_address(const struct server *server);
const char *server_operations_address(const struct server *server);

FR_CHECKED bool server_start(struct server *server, struct fr_err *err); /* starts acceptor, loops and pool */

/*
 * On the API port: stops accepting, ends idle connections, lets running calls finish (replies say Connection: close); waits
 * `deadline_ms` at most. The operations port stays open until server_close(), so that a stopping node can still be asked.
 */
void server_drain(struct server *server, int deadline_ms);

void server_close(struct server *server); /* cuts what is left, joins the threads; NULL is fine */

#endif
