/*
 * Status codes: the sixteen names that gRPC and Connect share, their HTTP statuses by the Connect specification, and which of
 * them our own error codes become.
 */
#include "internal.h"

#include <assert.h>

static const struct {
    const char *name;
    int http_status;
} statuses[SERVER_STATUSES] = {
    [SERVER_STATUS_OK] = {"ok", 200},
    [SERVER_STATUS_CANCELED] = {"canceled", 499},
    [SERVER_STATUS_UNKNOWN] = {"unknown", 500},
    [SERVER_STATUS_INVALID_ARGUMENT] = {"invalid_argument", 400},
    [SERVER_STATUS_DEADLINE_EXCEEDED] = {"deadline_exceeded", 504},
    [SERVER_STATUS_NOT_FOUND] = {"not_found", 404},
    [SERVER_STATUS_ALREADY_EXISTS] = {"already_exists", 409},
    [SERVER_STATUS_PERMISSION_DENIED] = {"permission_denied", 403},
    [SERVER_STATUS_RESOURCE_EXHAUSTED] = {"resource_exhausted", 429},
    [SERVER_STATUS_FAILED_PRECONDITION] = {"failed_precondition", 400},
    [SERVER_STATUS_ABORTED] = {"aborted", 409},
    [SERVER_STATUS_OUT_OF_RANGE] = {"out_of_range", 400},
    [SERVER_STATUS_UNIMPLEMENTED] = {"unimplemented", 501},
    [SERVER_STATUS_INTERNAL] = {"internal", 500},
    [SERVER_STATUS_UNAVAILABLE] = {"unavailable", 503},
    [SERVER_STATUS_DATA_LOSS] = {"data_loss", 500},
    [SERVER_STATUS_UNAUTHENTICATED] = {"unauthenticated", 401},
};

enum server__status server__status_of(enum fr_code code)
{
    switch (code) {
    case FR_BAD_INPUT:
        return SERVER_STATUS_INVALID_ARGUMENT;
    case FR_BAD_CONFIG:
        return SERVER_STATUS_INTERNAL;
    case FR_PRECONDITION:
        return SERVER_STATUS_FAILED_PRECONDITION;
    case FR_UNAVAILABLE:
        return SERVER_STATUS_UNAVAILABLE;
    case FR_EXHAUSTED:
        return SERVER_STATUS_RESOURCE_EXHAUSTED;
    case FR_DEADLINE:
        return SERVER_STATUS_DEADLINE_EXCEEDED;
    case FR_CORRUPT:
        return SERVER_STATUS_DATA_LOSS;
    case FR_UNAUTHENTICATED:
        return SERVER_STATUS_UNAUTHENTICATED;
    case FR_DENIED:
        return SERVER_STATUS_PERMISSION_DENIED;
    case FR_UNIMPLEMENTED:
        return SERVER_STATUS_UNIMPLEMENTED;
    case FR_CANCELLED:
        return SERVER_STATUS_CANCELED;
    }
    return SERVER_STATUS_UNKNOWN;
}

const char *server__status_name(enum server__status status)
{
    assert(status < SERVER_STATUSES);
    return statuses[status].name;
}

int server__status_http(enum server__status status)
{
    assert(status < SERVER_STATUSES);
    return statuses[status].http_status;
}

const char *server__http_reason(int http_status)
{
    static const struct {
        int http_status;
        const char *reason;
    } reasons[] = {
        {200, "OK"},
        {400, "Bad Request"},
        {401, "Unauthorized"},
        {403, "Forbidden"},
        {404, "Not Found"},
        {405, "Method Not Allowed"},
        {408, "Request Timeout"},
        {409, "Conflict"},
        {413, "Content Too Large"},
        {414, "URI Too Long"},
        {415, "Unsupported Media Type"},
        {417, "Expectation Failed"},
        {421, "Misdirected Request"},
        {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"},
        {499, "Client Closed Request"},
        {500, "Internal Server Error"},
        {501, "Not Implemented"},
        {503, "Service Unavailable"},
        {504, "Gateway Timeout"},
        {505, "HTTP Version Not Supported"},
    };

    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (reasons[i].http_status == http_status)
            return reasons[i].reason;
    return ""; /* a page may choose any; the phrase means nothing to machines */
}

void server__status_print(enum server__status status, const char *message, struct fr_buffer *out)
{
    fr_buffer_append_text(out, "{\"code\":\"");
    fr_buffer_append_text(out, server__status_name(status));
    fr_buffer_append_text(out, "\",\"message\":");
    proto_json_quote(fr_slice_of(message), out);
    fr_buffer_append_byte(out, '}');
}
