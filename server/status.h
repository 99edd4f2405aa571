/*
 * How a call ends, and what is wrong with a request's framing: status.c, fault.c.
 */
#ifndef FRESHET_SERVER_STATUS_H
#define FRESHET_SERVER_STATUS_H

#include <freshet/buffer.h>
#include <freshet/error.h>

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

#endif
