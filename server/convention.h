/*
 * How a call looks in HTTP: the Connect unary convention (connect.c) and gRPC's (grpc.c).
 */
#ifndef FRESHET_SERVER_CONVENTION_H
#define FRESHET_SERVER_CONVENTION_H

#include "internal.h"

/* ---- connect.c ---- */

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

/* ---- grpc.c ---- */

enum { SERVER_GRPC_PREFIX = 5 };

/* What is gRPC's own in a head; the rest is in its struct server__connect. */
struct server__grpc {
    struct fr_slice timeout, encoding, accept_encoding;
    bool is_repeated;
};

/* Whether this content type is gRPC's: "application/grpc", "+proto", "+json", or with a codec that is not known. */
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

#endif
