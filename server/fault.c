/*
 * What can be wrong with the framing of a request, and what is said about it.
 */
#include "internal.h"

static const struct server__fault_text fault_texts[SERVER_FAULTS] = {
    [SERVER_FAULT_REQUEST_LINE] = {"request_line", 400, SERVER_STATUS_INVALID_ARGUMENT,
                                   "malformed request line; send 'METHOD /path HTTP/1.1' and CRLF"},
    [SERVER_FAULT_METHOD] = {"method", 501, SERVER_STATUS_UNIMPLEMENTED, "unknown HTTP method"},
    [SERVER_FAULT_TARGET] = {"target", 400, SERVER_STATUS_INVALID_ARGUMENT, "malformed request target; send '/path'"},
    [SERVER_FAULT_TARGET_LONG] = {"target_long", 414, SERVER_STATUS_RESOURCE_EXHAUSTED, "request line is too long"},
    [SERVER_FAULT_VERSION] = {"version", 505, SERVER_STATUS_UNIMPLEMENTED, "HTTP version not supported; use HTTP/1.1"},
    [SERVER_FAULT_HEADER] = {"header", 400, SERVER_STATUS_INVALID_ARGUMENT, "malformed header field"},
    [SERVER_FAULT_HEADERS_LARGE] = {"headers_large", 431, SERVER_STATUS_RESOURCE_EXHAUSTED,
                                    "header is too large or has too many fields"},
    [SERVER_FAULT_HOST] = {"host", 400, SERVER_STATUS_INVALID_ARGUMENT, "send exactly one valid Host"},
    [SERVER_FAULT_LENGTH] = {"length", 400, SERVER_STATUS_INVALID_ARGUMENT,
                             "malformed or contradictory Content-Length, or one beside Transfer-Encoding"},
    [SERVER_FAULT_TRANSFER] = {"transfer", 400, SERVER_STATUS_INVALID_ARGUMENT,
                               "bad Transfer-Encoding; send 'chunked' once, or Content-Length"},
    [SERVER_FAULT_TRANSFER_UNKNOWN] = {"transfer_unknown", 501, SERVER_STATUS_UNIMPLEMENTED,
                                       "unknown transfer coding; only chunked is accepted"},
    [SERVER_FAULT_EXPECT] = {"expect", 417, SERVER_STATUS_INVALID_ARGUMENT, "unknown expectation; only 100-continue is known"},
    [SERVER_FAULT_CHUNK] = {"chunk", 400, SERVER_STATUS_INVALID_ARGUMENT, "malformed chunk"},
    [SERVER_FAULT_TRAILER] = {"trailer", 400, SERVER_STATUS_INVALID_ARGUMENT, "malformed trailer field"},
    [SERVER_FAULT_BODY_LARGE] = {"body_large", 413, SERVER_STATUS_RESOURCE_EXHAUSTED, "body is too large"},
    [SERVER_FAULT_SLOW] = {"slow", 408, SERVER_STATUS_DEADLINE_EXCEEDED, "the request did not arrive in time"},
    [SERVER_FAULT_OVERLOAD] = {"overload", 503, SERVER_STATUS_UNAVAILABLE,
                               "too many bytes of unfinished requests are held; retry later"},
    [SERVER_FAULT_HTTP2] = {"http2", 400, SERVER_STATUS_INVALID_ARGUMENT, "malformed HTTP/2"},
    [SERVER_FAULT_FLOOD] = {"flood", 429, SERVER_STATUS_RESOURCE_EXHAUSTED, "too many resets or frames without use"},
};

const struct server__fault_text *server__fault_text(enum server__fault fault)
{
    return &fault_texts[fault];
}
