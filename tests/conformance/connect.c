/*
 * connectrpc.conformance.v1.ConformanceService: answers as the request says, and tells what it saw of the request.
 */
#include "conformance.h"

#include <connect.pb-c.h>
#include <freshet/clock.h>

#define TYPE "type.googleapis.com/connectrpc.conformance.v1."

enum { FIELDS_MAX = 100 };

static void copy_fields(struct server_call *call, bool is_trailer, Connectrpc__Conformance__V1__Header *const *headers,
                        size_t count)
{
    for (size_t i = 0; i < count; i++)
        for (size_t j = 0; j < headers[i]->n_value; j++)
            server_call_answer_field(call, is_trailer, headers[i]->name, headers[i]->value[j]);
}

/* The header of that name, made when it is the first of it. */
static Connectrpc__Conformance__V1__Header *header_of(struct fr_arena *arena, Connectrpc__Conformance__V1__RequestInfo *info,
                                                      struct fr_slice name)
{
    Connectrpc__Conformance__V1__Header *header;

    for (size_t i = 0; i < info->n_request_headers; i++)
        if (fr_slice_is(name, info->request_headers[i]->name))
            return info->request_headers[i];
    header = fr_arena_take(arena, sizeof *header);
    if (!header || info->n_request_headers == FIELDS_MAX)
        return NULL;
    connectrpc__conformance__v1__header__init(header);
    header->name = (char *)name.bytes;
    header->value = fr_arena_take(arena, FIELDS_MAX * sizeof *header->value);
    info->request_headers[info->n_request_headers++] = header;
    return header->value ? header : NULL;
}

static bool add_request(struct fr_arena *arena, const ProtobufCMessage *request, const char *type,
                        Connectrpc__Conformance__V1__RequestInfo *info)
{
    Google__Protobuf__Any *any = fr_arena_take(arena, sizeof *any);

    info->requests = fr_arena_take(arena, sizeof *info->requests);
    if (!any || !info->requests)
        return false;
    google__protobuf__any__init(any);
    any->type_url = (char *)type;
    any->value.len = protobuf_c_message_get_packed_size(request);
    any->value.data = fr_arena_take(arena, any->value.len + 1);
    if (!any->value.data)
        return false;
    protobuf_c_message_pack(request, any->value.data);
    info->requests[info->n_requests++] = any;
    return true;
}

/* What was seen of the request; NULL when out of memory. */
static Connectrpc__Conformance__V1__RequestInfo *make_info(struct server_call *call, const ProtobufCMessage *request,
                                                           const char *type)
{
    Connectrpc__Conformance__V1__RequestInfo *info = fr_arena_take(call->arena, sizeof *info);
    struct fr_slice name, value;
    size_t at = 0;

    if (!info)
        return NULL;
    connectrpc__conformance__v1__request_info__init(info);
    info->request_headers = fr_arena_take(call->arena, FIELDS_MAX * sizeof *info->request_headers);
    if (!info->request_headers)
        return NULL;
    while (server_call_field(call, &at, &name, &value)) {
        Connectrpc__Conformance__V1__Header *header = header_of(call->arena, info, name);

        if (header && header->n_value < FIELDS_MAX)
            header->value[header->n_value++] = (char *)value.bytes;
    }
    if (call->deadline_us != INT64_MAX) {
        info->timeout_case = CONNECTRPC__CONFORMANCE__V1__REQUEST_INFO__TIMEOUT_TIMEOUT_MS;
        info->timeout_ms = (call->deadline_us - fr_clock_monotonic_us()) / 1000;
    }
    return add_request(call->arena, request, type, info) ? info : NULL;
}

static bool fail_as_told(struct server_call *call, const Connectrpc__Conformance__V1__Error *error,
                         const Connectrpc__Conformance__V1__RequestInfo *info, struct fr_err *err)
{
    size_t length = connectrpc__conformance__v1__request_info__get_packed_size(info);
    uint8_t *bytes = fr_arena_take(call->arena, length + 1);

    for (size_t i = 0; i < error->n_details; i++)
        server_call_answer_detail(call, error->details[i]->type_url,
                                  fr_slice(error->details[i]->value.data, error->details[i]->value.len));
    if (!bytes)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    connectrpc__conformance__v1__request_info__pack(info, bytes);
    server_call_answer_detail(call, TYPE "ConformancePayload.RequestInfo", fr_slice(bytes, length));
    return refuse(call, (int)error->code, error->message, err);
}

static const Connectrpc__Conformance__V1__UnaryResponseDefinition *definition_of(const ProtobufCMessage *message)
{
    if (message->descriptor == &connectrpc__conformance__v1__unary_request__descriptor)
        return ((const Connectrpc__Conformance__V1__UnaryRequest *)message)->response_definition;
    return ((const Connectrpc__Conformance__V1__IdempotentUnaryRequest *)message)->response_definition;
}

static bool unary(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **response,
                  struct fr_err *err)
{
    const Connectrpc__Conformance__V1__UnaryResponseDefinition *told = definition_of(message);
    Connectrpc__Conformance__V1__UnaryResponse *reply = fr_arena_take(call->arena, sizeof *reply);
    Connectrpc__Conformance__V1__ConformancePayload *payload = fr_arena_take(call->arena, sizeof *payload);
    Connectrpc__Conformance__V1__RequestInfo *info = make_info(call, message, user);

    if (!reply || !payload || !info)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    connectrpc__conformance__v1__unary_response__init(reply);
    connectrpc__conformance__v1__conformance_payload__init(payload);
    if (told) {
        copy_fields(call, false, told->response_headers, told->n_response_headers);
        copy_fields(call, true, told->response_trailers, told->n_response_trailers);
        if (told->response_delay_ms > 0)
            fr_clock_sleep_ms(told->response_delay_ms);
        if (told->response_case == CONNECTRPC__CONFORMANCE__V1__UNARY_RESPONSE_DEFINITION__RESPONSE_ERROR)
            return fail_as_told(call, told->error, info, err);
        if (told->response_case == CONNECTRPC__CONFORMANCE__V1__UNARY_RESPONSE_DEFINITION__RESPONSE_RESPONSE_DATA)
            payload->data = told->response_data;
    }
    payload->request_info = info;
    reply->payload = payload;
    *response = &reply->base;
    return true;
}

const ProtobufCMessageDescriptor *connect_find(const char *full_name)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &connectrpc__conformance__v1__unary_request__descriptor,
        &connectrpc__conformance__v1__idempotent_unary_request__descriptor,
        &connectrpc__conformance__v1__header__descriptor,
    };

    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i]->name, full_name) == 0)
            return types[i];
    return NULL;
}

void connect_methods(struct server_method methods[CONNECT_METHODS])
{
    static char unary_type[] = TYPE "UnaryRequest", idempotent_type[] = TYPE "IdempotentUnaryRequest";

    for (int i = 0; i < CONNECT_METHODS; i++)
        methods[i] = (struct server_method){
            .service = "connectrpc.conformance.v1.ConformanceService",
            .name = i == 0 ? "Unary" : "IdempotentUnary",
            .request = i == 0 ? &connectrpc__conformance__v1__unary_request__descriptor
                              : &connectrpc__conformance__v1__idempotent_unary_request__descriptor,
            .response = &connectrpc__conformance__v1__unary_response__descriptor,
            .is_slow = true, /* it sleeps when told to */
            .takes_fields = true,
            .handler = unary,
            .user = i == 0 ? unary_type : idempotent_type,
        };
}
