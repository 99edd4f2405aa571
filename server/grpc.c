/*
 * The gRPC convention: what its headers mean for a call, how its messages are delimited, how its trailers are written. Which
 * codes answer what is by gRPC's own list (doc/statuscodes.md), but a message that can't be decoded is invalid_argument, as it
 * is by Connect.
 */
#include "convention.h"

#include <freshet/text.h>

void server__grpc_field(struct server__grpc *head, struct fr_slice name, struct fr_slice value)
{
    struct fr_slice *place = fr_slice_is(name, "grpc-timeout")    ? &head->timeout
                             : fr_slice_is(name, "grpc-encoding") ? &head->encoding
                                                                  : NULL;

    if (fr_slice_is(name, "grpc-accept-encoding"))
        head->accept_encoding = value;
    if (!place)
        return;
    head->is_repeated = head->is_repeated || place->bytes;
    *place = value;
}

/* "application/grpc" may name its codec behind a plus, and have parameters, which nobody has given a meaning. "-web" is another protocol. */
bool server__grpc_is(struct fr_slice content_type, enum server__codec *codec)
{
    static const char name[] = "application/grpc";
    const char *text = content_type.bytes;
    size_t length = 0;
    struct fr_slice rest;

    while (length < content_type.length && text[length] != ';' && text[length] != ' ')
        length++;
    if (length < sizeof name - 1 || !fr_text_equal_nocase(fr_slice(text, sizeof name - 1), name))
        return false;
    rest = fr_slice(text + sizeof name - 1, length - (sizeof name - 1));
    *codec = fr_text_equal_nocase(rest, "+json")                        ? SERVER_CODEC_JSON
             : rest.length == 0 || fr_text_equal_nocase(rest, "+proto") ? SERVER_CODEC_PROTO
                                                                        : SERVER_CODEC_UNKNOWN;
    return rest.length == 0 || *(const char *)rest.bytes == '+';
}

bool server__grpc_timeout(struct fr_slice text, int64_t *timeout_us)
{
    const char *digits = text.bytes;
    int64_t value = 0;

    if (text.length < 2 || text.length > 9)
        return false;
    for (size_t i = 0; i < text.length - 1; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        value = value * 10 + (digits[i] - '0');
    }
    switch (digits[text.length - 1]) {
    case 'H':
        *timeout_us = value * 3600 * 1000 * 1000;
        return true;
    case 'M':
        *timeout_us = value * 60 * 1000 * 1000;
        return true;
    case 'S':
        *timeout_us = value * 1000 * 1000;
        return true;
    case 'm':
        *timeout_us = value * 1000;
        return true;
    case 'u':
        *timeout_us = value;
        return true;
    case 'n':
        *timeout_us = value / 1000;
        return true;
    default:
        return false;
    }
}

enum server__grpc_coding server__grpc_coding(const struct server__grpc *grpc)
{
    if (grpc->encoding.length == 0 || fr_text_equal_nocase(grpc->encoding, "identity"))
        return SERVER_GRPC_IDENTITY;
    return fr_text_equal_nocase(grpc->encoding, "gzip") ? SERVER_GRPC_GZIP : SERVER_GRPC_UNKNOWN;
}

/* Whether or not its messages are marked as compressed: its client means to. */
static void refuse_coding(struct server__call *call)
{
    call->refusal = SERVER_REFUSED_ENCODING;
    server__call_refuse(call, SERVER_STATUS_UNIMPLEMENTED,
                        "messages compressed by that grpc-encoding are not supported; send gzip or identity");
}

/* No call of the convention at all: unknown, as it is to clients that read nothing but the HTTP status (405, 415). */
static void refuse(struct server__call *call, enum server__refusal refusal, const char *message)
{
    call->refusal = refusal;
    server__call_refuse(call, SERVER_STATUS_UNKNOWN, "%s", message);
}

void server__grpc_begin(struct server__call *call, const struct server__connect *head, const struct server__grpc *grpc,
                        int64_t arrived_us)
{
    const struct server__method *method = server__methods_find(&call->loop->server->methods, head->path);
    int64_t timeout_us;

    if (!method) {
        server__call_refuse(call, SERVER_STATUS_UNIMPLEMENTED, "no method '%.*s' here",
                            head->path.length < 128 ? (int)head->path.length : 128, (const char *)head->path.bytes);
        return;
    }
    call->method = method;
    /* All clients say that they take gzip; the one that sends it means it. */
    call->coding.accepts = server__grpc_coding(grpc) == SERVER_GRPC_GZIP && server__gzip_is_accepted(grpc->accept_encoding);
    server__connect_caller(head, call->caller);
    if (head->method != SERVER_HTTP_POST)
        refuse(call, SERVER_REFUSED_VERB, "methods are called by POST");
    else if (call->codec == SERVER_CODEC_UNKNOWN)
        refuse(call, SERVER_REFUSED_TYPE,
               "unsupported content type; send application/grpc, application/grpc+proto or "
               "application/grpc+json");
    else if (grpc->is_repeated)
        server__call_refuse(call, SERVER_STATUS_INVALID_ARGUMENT, "grpc-timeout and grpc-encoding come once each");
    else if (server__grpc_coding(grpc) == SERVER_GRPC_UNKNOWN)
        refuse_coding(call);
    else if (grpc->timeout.bytes && !server__grpc_timeout(grpc->timeout, &timeout_us))
        server__call_refuse(call, SERVER_STATUS_INVALID_ARGUMENT,
                            "grpc-timeout must be 1 to 8 digits and one of H, M, S, m, u, n");
    else if (grpc->timeout.bytes)
        call->seen.deadline_us = arrived_us + timeout_us;
}

enum server__parsed server__grpc_message(struct fr_slice bytes, enum server__grpc_coding coding, uint64_t message_bytes_max,
                                         struct fr_slice *message, size_t *used, enum server__status *status,
                                         const char **reason)
{
    const uint8_t *prefix = bytes.bytes;
    uint32_t length;

    if (bytes.length == 0)
        return SERVER_MORE;
    if (prefix[0] == 1 && coding == SERVER_GRPC_IDENTITY) { /* gRPC's compression.md: not unsupported, but ill-made */
        *status = SERVER_STATUS_INTERNAL;
        *reason = "a message is marked as compressed, but grpc-encoding names no coding";
        return SERVER_FAILED;
    }
    if (prefix[0] > 1) {
        *status = SERVER_STATUS_INTERNAL;
        *reason = "malformed message prefix: its first byte must be 0 or 1";
        return SERVER_FAILED;
    }
    if (bytes.length < SERVER_GRPC_PREFIX)
        return SERVER_MORE;
    length = (uint32_t)prefix[1] << 24 | (uint32_t)prefix[2] << 16 | (uint32_t)prefix[3] << 8 | prefix[4];
    if (length > message_bytes_max) {
        *status = SERVER_STATUS_RESOURCE_EXHAUSTED;
        *reason = "the message is larger than the limit (server.limits.message); ask for less at once";
        return SERVER_FAILED;
    }
    if (bytes.length - SERVER_GRPC_PREFIX < length)
        return SERVER_MORE;
    *message = fr_slice(prefix + SERVER_GRPC_PREFIX, length);
    *used = SERVER_GRPC_PREFIX + length;
    return SERVER_DONE;
}

void server__grpc_prefix(size_t message_bytes, uint8_t prefix[SERVER_GRPC_PREFIX])
{
    prefix[0] = 0;
    for (int i = 1; i < SERVER_GRPC_PREFIX; i++)
        prefix[i] = (uint8_t)(message_bytes >> (8 * (SERVER_GRPC_PREFIX - 1 - i)));
}

static bool is_plain(char byte)
{
    return byte >= 0x20 && byte < 0x7f && byte != '%';
}

void server__grpc_escape(const char *text, struct fr_buffer *out)
{
    while (*text) {
        size_t length = 0;

        while (is_plain(text[length]))
            length++;
        fr_buffer_append(out, text, length);
        text += length;
        if (*text)
            fr_buffer_append_format(out, "%%%02X", (unsigned)(uint8_t)*text++);
    }
}
