/*
 * The Connect unary convention: a call as a POST whose path is the method, whose content type is the codec and whose HTTP
 * status says how it ended. The same over HTTP/1.1 and HTTP/2. What is no call of the convention at all, by verb or content type, is
 * `unknown`, as 405 and 415 are to clients that read nothing but the status.
 */
#include "convention.h"

#include <freshet/text.h>

#include <stdio.h>

void server__connect_field(struct server__connect *head, struct fr_slice name, struct fr_slice value)
{
    static const char *const names[] = {"content-type", "content-encoding", "connect-timeout-ms", "connect-protocol-version"};
    struct fr_slice *const values[] = {&head->content_type, &head->content_encoding, &head->timeout, &head->version};

    if (fr_text_equal_nocase(name, "accept-encoding") && !head->accept_encoding.bytes)
        head->accept_encoding = value;
    server__credential_field(&head->credential, name, value);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        if (!fr_text_equal_nocase(name, names[i]))
            continue;
        head->is_repeated = head->is_repeated || values[i]->bytes;
        *values[i] = value;
        return;
    }
    if (fr_text_equal_nocase(name, "user-agent") && !head->agent.bytes)
        head->agent = value;
    else if (fr_text_equal_nocase(name, "x-freshet-caller") && !head->caller.bytes)
        head->caller = value;
}

/* Of a user agent, "grpc-python/1.62 grpc-c/39", the product. */
void server__connect_caller(const struct server__connect *head, char caller[SERVER_CALLER_BYTES])
{
    struct fr_slice said = head->caller.length > 0 ? head->caller : head->agent;
    const char *bytes = said.bytes;
    size_t length = 0;

    for (; length < said.length && length < SERVER_CALLER_BYTES - 1; length++) {
        char byte = bytes[length];
        bool is_plain = (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
                        byte == '.' || byte == '-';

        if (said.bytes == head->agent.bytes && (byte == '/' || byte == ' '))
            break;
        caller[length] = '_';
        if (is_plain)
            caller[length] = byte;
    }
    caller[length] = '\0';
}

static struct fr_slice trim(struct fr_slice text)
{
    const char *from = text.bytes;
    const char *to = from + text.length;

    while (from < to && (*from == ' ' || *from == '\t'))
        from++;
    while (from < to && (to[-1] == ' ' || to[-1] == '\t'))
        to--;
    return fr_slice(from, (size_t)(to - from));
}

/* "application/json" may say that it is UTF-8, which it always is. */
static bool parse_content_type(struct fr_slice value, enum server__codec *codec)
{
    const char *semicolon = value.length > 0 ? memchr(value.bytes, ';', value.length) : NULL;
    size_t type_length = semicolon ? (size_t)(semicolon - (const char *)value.bytes) : value.length;
    struct fr_slice type = trim(fr_slice(value.bytes, type_length));

    if (fr_text_equal_nocase(type, "application/json"))
        *codec = SERVER_CODEC_JSON;
    else if (fr_text_equal_nocase(type, "application/proto"))
        *codec = SERVER_CODEC_PROTO;
    else
        return false;
    if (semicolon) {
        struct fr_slice rest = trim(fr_slice(semicolon + 1, value.length - type_length - 1));

        return *codec == SERVER_CODEC_JSON &&
               (fr_text_equal_nocase(rest, "charset=utf-8") || fr_text_equal_nocase(rest, "charset=\"utf-8\""));
    }
    return true;
}

static bool is_coding(struct fr_slice value, const char *name)
{
    return value.bytes && fr_text_equal_nocase(value, name);
}

static bool parse_timeout(struct fr_slice value, int64_t *timeout_ms)
{
    const char *digits = value.bytes;

    if (value.length < 1 || value.length > 10)
        return false;
    *timeout_ms = 0;
    for (size_t i = 0; i < value.length; i++) {
        if (digits[i] < '0' || digits[i] > '9')
            return false;
        *timeout_ms = *timeout_ms * 10 + (digits[i] - '0');
    }
    return true;
}

static void refuse(struct server__call *call, enum server__refusal refusal, enum server__status status, const char *message)
{
    call->refusal = refusal;
    server__call_refuse(call, status, "%s", message);
}

void server__connect_begin(struct server__call *call, const struct server__connect *head, int64_t arrived_us)
{
    const struct server__method *method = server__methods_find(&call->loop->server->methods, head->path);
    int64_t timeout_ms;

    if (!method) {
        call->refusal = SERVER_REFUSED_PATH;
        server__call_refuse(call, SERVER_STATUS_UNIMPLEMENTED, "no method '%.*s' here; use POST /package.Service/Method",
                            head->path.length < 128 ? (int)head->path.length : 128, (const char *)head->path.bytes);
        return;
    }
    call->method = method;
    call->coding.is_packed = is_coding(head->content_encoding, "gzip");
    call->coding.accepts = server__gzip_is_accepted(head->accept_encoding);
    server__connect_caller(head, call->caller);
    if (method->method->streaming)
        refuse(call, SERVER_REFUSED_TYPE, SERVER_STATUS_UNIMPLEMENTED, "the method answers with a stream; call it by gRPC");
    else if (head->method != SERVER_HTTP_POST)
        refuse(call, SERVER_REFUSED_VERB, SERVER_STATUS_UNKNOWN, "methods are called by POST");
    else if (!parse_content_type(head->content_type, &call->codec))
        refuse(call, SERVER_REFUSED_TYPE, SERVER_STATUS_UNKNOWN,
               "unsupported content type; send application/json or application/proto");
    else if (head->is_repeated)
        server__call_refuse(call, SERVER_STATUS_INVALID_ARGUMENT,
                            "content-type, content-encoding and connect-* come once each");
    else if (head->version.bytes && !fr_slice_is(head->version, "1"))
        server__call_refuse(call, SERVER_STATUS_INVALID_ARGUMENT, "connect-protocol-version must be \"1\"");
    else if (head->content_encoding.bytes && !call->coding.is_packed && !is_coding(head->content_encoding, "identity"))
        refuse(call, SERVER_REFUSED_ENCODING, SERVER_STATUS_UNIMPLEMENTED,
               "unsupported content encoding; supported: gzip, identity");
    else if (head->timeout.bytes && !parse_timeout(head->timeout, &timeout_ms))
        server__call_refuse(call, SERVER_STATUS_INVALID_ARGUMENT, "connect-timeout-ms must be 1 to 10 digits");
    else if (head->timeout.bytes)
        call->seen.deadline_us = arrived_us + timeout_ms * 1000;
}

struct server__reply server__connect_reply(struct server__call *call)
{
    static const struct {
        int http_status; /* 0: the status's own */
        struct server__field field;
    } refusals[] = {
        [SERVER_REFUSED_NOT] = {0, {0}},
        [SERVER_REFUSED_PATH] = {404, {0}},
        [SERVER_REFUSED_VERB] = {405, {"allow", "POST"}},
        [SERVER_REFUSED_TYPE] = {415, {"accept-post", "application/json, application/proto"}},
        [SERVER_REFUSED_ENCODING] = {0, {"accept-encoding", "gzip, identity"}},
        [SERVER_REFUSED_HEAD] = {431, {0}},
        [SERVER_REFUSED_CREDENTIAL] = {0, {"www-authenticate", "Bearer"}},
    };
    struct server__reply reply = {
        .http_status = refusals[call->refusal].http_status,
        .content_type = "application/json",
        .fields = {refusals[call->refusal].field},
    };

    if (call->retry_ms > 0) {
        snprintf(call->retry, sizeof call->retry, "%d", (call->retry_ms + 999) / 1000); /* HTTP knows whole seconds */
        reply.fields[0] = (struct server__field){"retry-after", call->retry};
    }
    if (reply.http_status == 0)
        reply.http_status = server__status_http(call->status);
    if (call->status == SERVER_STATUS_OK && call->codec == SERVER_CODEC_PROTO)
        reply.content_type = "application/proto";
    if (call->coding.is_reply_packed && call->status == SERVER_STATUS_OK)
        reply.fields[0] = (struct server__field){"content-encoding", "gzip"};
    if (call->status != SERVER_STATUS_OK) {
        fr_buffer_clear(call->body);
        server__status_print(call->status, call->message, call->body);
    }
    server__fields_by_connect(call);
    reply.more = call->fields ? &call->fields->head : NULL;
    reply.body = fr_buffer_slice(call->body);
    return reply;
}
