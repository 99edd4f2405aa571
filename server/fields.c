/*
 * What a call says beside its messages: the header fields of its request, and the fields and details that its reply carries. Kept
 * only for methods that ask for it; the others pay nothing.
 *
 * Fields are name, NUL, value, NUL, as HTTP/2 keeps them. Trailers of Connect's unary calls are header fields whose names begin
 * with "trailer-"; details of an error are JSON there, and a google.rpc.Status in grpc-status-details-bin by gRPC.
 */
#include "internal.h"

#include <freshet/base64.h>

#include <stdlib.h>

enum { STATUS_CODE = 1, STATUS_MESSAGE = 2, STATUS_DETAILS = 3, ANY_TYPE = 1, ANY_VALUE = 2 }; /* field numbers */

void server__fields_begin(struct server__call *call)
{
    const struct server_method *method = call->method->method;

    if (!method || !method->takes_fields)
        return;
    call->fields = calloc(1, sizeof *call->fields);
    if (!call->fields) {
        server__call_refuse(call, SERVER_STATUS_RESOURCE_EXHAUSTED, "out of memory for the call");
        return;
    }
    fr_buffer_init(&call->fields->request);
    fr_buffer_init(&call->fields->head);
    fr_buffer_init(&call->fields->trailers);
    fr_buffer_init(&call->fields->details);
    fr_buffer_init(&call->fields->details_text);
}

void server__fields_free(struct server__fields *fields)
{
    if (!fields)
        return;
    fr_buffer_fini(&fields->request);
    fr_buffer_fini(&fields->head);
    fr_buffer_fini(&fields->trailers);
    fr_buffer_fini(&fields->details);
    fr_buffer_fini(&fields->details_text);
    free(fields);
}

/* HTTP's names have no case; here they are in lower case. */
static void add(struct fr_buffer *out, const char *prefix, struct fr_slice name, struct fr_slice value)
{
    fr_buffer_append_text(out, prefix);
    for (size_t i = 0; i < name.length; i++) {
        uint8_t byte = ((const uint8_t *)name.bytes)[i];

        fr_buffer_append_byte(out, byte >= 'A' && byte <= 'Z' ? (uint8_t)(byte | 0x20) : byte);
    }
    fr_buffer_append_byte(out, 0);
    fr_buffer_append(out, value.bytes, value.length);
    fr_buffer_append_byte(out, 0);
}

void server__fields_keep(struct server__call *call, struct fr_slice name, struct fr_slice value)
{
    if (call->fields && !(name.length > 0 && *(const char *)name.bytes == ':'))
        add(&call->fields->request, "", name, value);
}

bool server__fields_next(const struct fr_buffer *fields, size_t *at, struct fr_slice *name, struct fr_slice *value)
{
    if (*at >= fields->length)
        return false;
    *name = fr_slice_of((const char *)fields->bytes + *at);
    *value = fr_slice_of((const char *)fields->bytes + *at + name->length + 1);
    *at += name->length + value->length + 2;
    return true;
}

/* ---- For handlers ---- */

static const struct server__fields *fields_of(const struct server_call *call)
{
    return ((const struct server__call *)call)->fields;
}

bool server_call_field(const struct server_call *call, size_t *at, struct fr_slice *name, struct fr_slice *value)
{
    return fields_of(call) && server__fields_next(&fields_of(call)->request, at, name, value);
}

bool server_call_answer_field(struct server_call *call, bool is_trailer, const char *name, const char *value)
{
    struct server__fields *fields = ((struct server__call *)call)->fields;
    struct fr_buffer *out;

    if (!fields || fields->count >= SERVER_ANSWER_FIELDS)
        return false;
    fields->count++;
    out = is_trailer ? &fields->trailers : &fields->head;
    add(out, "", fr_slice_of(name), fr_slice_of(value));
    return !out->is_failed;
}

static void append_field(struct fr_buffer *out, int number, struct fr_slice bytes)
{
    fr_buffer_append_varint(out, (uint64_t)(number << 3 | 2));
    fr_buffer_append_varint(out, bytes.length);
    fr_buffer_append(out, bytes.bytes, bytes.length);
}

/* Kept as google.rpc.Status has it, and for Connect: type, NUL, base64, NUL. */
bool server_call_answer_detail(struct server_call *call, const char *type, struct fr_slice message)
{
    struct server__fields *fields = ((struct server__call *)call)->fields;
    struct fr_buffer any;
    const char *slash = strrchr(type, '/');

    if (!fields)
        return false;
    fr_buffer_init(&any);
    append_field(&any, ANY_TYPE, fr_slice_of(type));
    append_field(&any, ANY_VALUE, message);
    append_field(&fields->details, STATUS_DETAILS, fr_buffer_slice(&any));
    fr_buffer_fini(&any);
    fr_buffer_append_text(&fields->details_text, slash ? slash + 1 : type);
    fr_buffer_append_byte(&fields->details_text, 0);
    fr_base64_print(message, false, &fields->details_text);
    fr_buffer_append_byte(&fields->details_text, 0);
    return !fields->details.is_failed && !fields->details_text.is_failed;
}

/* ---- As the conventions say it ---- */

void server__fields_by_connect(struct server__call *call)
{
    struct server__fields *fields = call->fields;
    struct fr_slice name, value;
    size_t at = 0;

    if (!fields)
        return;
    while (server__fields_next(&fields->trailers, &at, &name, &value))
        add(&fields->head, "trailer-", name, value);
    fr_buffer_clear(&fields->trailers);
    if (call->status == SERVER_STATUS_OK || fields->details_text.length == 0)
        return;
    call->body->length--; /* the object goes on */
    fr_buffer_append_text(call->body, ",\"details\":[");
    for (at = 0; server__fields_next(&fields->details_text, &at, &name, &value);) {
        fr_buffer_append_text(call->body, "{\"type\":");
        proto_json_quote(name, call->body);
        fr_buffer_append_text(call->body, ",\"value\":\"");
        fr_buffer_append(call->body, value.bytes, value.length);
        fr_buffer_append_text(call->body, at < fields->details_text.length ? "\"}," : "\"}");
    }
    fr_buffer_append_text(call->body, "]}");
}

void server__fields_by_grpc(const struct server__fields *fields, enum server__status status, const char *message,
                            struct fr_buffer *out)
{
    struct fr_buffer bytes;

    if (!fields || fields->details.length == 0)
        return;
    fr_buffer_init(&bytes);
    fr_buffer_append_varint(&bytes, STATUS_CODE << 3);
    fr_buffer_append_varint(&bytes, status);
    append_field(&bytes, STATUS_MESSAGE, fr_slice_of(message));
    fr_buffer_append(&bytes, fields->details.bytes, fields->details.length);
    fr_base64_print(fr_buffer_slice(&bytes), false, out);
    fr_buffer_fini(&bytes);
}
