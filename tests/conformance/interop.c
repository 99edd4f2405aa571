/*
 * grpc.testing.TestService, as far as a server of unary and server-streaming methods has it. StreamingInputCall takes and never
 * answers: it is there to be cancelled.
 */
#include "conformance.h"

#include <interop.pb-c.h>

#include <stdio.h>
#include <stdlib.h>

enum { SIZE_MAX_BYTES = 4 << 20 };

static bool make_payload(struct fr_arena *arena, int size, Grpc__Testing__Payload **payload_out)
{
    Grpc__Testing__Payload *payload = fr_arena_take(arena, sizeof *payload);

    if (!payload || size < 0 || size > SIZE_MAX_BYTES)
        return false;
    grpc__testing__payload__init(payload);
    payload->body.len = (size_t)size;
    payload->body.data = fr_arena_take_zeroed(arena, (size_t)size + 1, 1);
    *payload_out = payload;
    return payload->body.data != NULL;
}

/* Metadata that the client wants back, at the beginning and at the end. */
static void echo_fields(struct server_call *call)
{
    struct fr_slice name, value;
    size_t at = 0;

    while (server_call_field(call, &at, &name, &value))
        if (fr_slice_is(name, "x-grpc-test-echo-initial") || fr_slice_is(name, "x-grpc-test-echo-trailing-bin"))
            server_call_answer_field(call, fr_slice_is(name, "x-grpc-test-echo-trailing-bin"), name.bytes, value.bytes);
}

static bool empty_call(void *user, struct server_call *call, const ProtobufCMessage *request, ProtobufCMessage **response,
                       struct fr_err *err)
{
    Grpc__Testing__Empty *reply = fr_arena_take(call->arena, sizeof *reply);

    (void)user;
    (void)request;
    if (!reply)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    grpc__testing__empty__init(reply);
    *response = &reply->base;
    return true;
}

static bool unary_call(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **response,
                       struct fr_err *err)
{
    const Grpc__Testing__SimpleRequest *request = (const Grpc__Testing__SimpleRequest *)message;
    Grpc__Testing__SimpleResponse *reply = fr_arena_take(call->arena, sizeof *reply);

    (void)user;
    echo_fields(call);
    if (request->response_status && request->response_status->code != 0)
        return refuse(call, request->response_status->code, request->response_status->message, err);
    if (!reply)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    grpc__testing__simple_response__init(reply);
    if (!make_payload(call->arena, request->response_size, &reply->payload))
        return fr_fail(err, FR_BAD_INPUT, "response_size: %d is not served", request->response_size);
    *response = &reply->base;
    return true;
}

/* ---- Streams: each request names the sizes of the replies that it gets ---- */

struct output {
    int sizes[64];
    int count, at;
    int status;
    char message[FR_MESSAGE_BYTES];
};

static bool take_output_request(void *user, struct server_call *call, const ProtobufCMessage *message, void **state,
                                struct fr_err *err)
{
    const Grpc__Testing__StreamingOutputCallRequest *request = (const Grpc__Testing__StreamingOutputCallRequest *)message;
    struct output *output = *state ? *state : calloc(1, sizeof *output);

    (void)user;
    *state = output;
    if (!output || request->n_response_parameters > sizeof output->sizes / sizeof *output->sizes)
        return fr_fail(err, FR_EXHAUSTED, "too many replies asked for");
    if (output->count == 0)
        echo_fields(call);
    output->count = output->at = 0;
    for (size_t i = 0; i < request->n_response_parameters; i++)
        output->sizes[output->count++] = request->response_parameters[i]->size;
    if (request->response_status) {
        output->status = request->response_status->code;
        snprintf(output->message, sizeof output->message, "%s", request->response_status->message);
    }
    return true;
}

static enum server_step next_output(void *user, struct server_call *call, void *state, ProtobufCMessage **response,
                                    int64_t *wait_ms, struct fr_err *err)
{
    const bool *takes_many = user;
    struct output *output = state;
    Grpc__Testing__StreamingOutputCallResponse *reply = fr_arena_take(call->arena, sizeof *reply);

    if (output->status != 0) {
        refuse(call, output->status, output->message, err);
        return SERVER_STEP_FAIL;
    }
    if (output->at == output->count) {
        *wait_ms = INT64_MAX;
        return *takes_many ? SERVER_STEP_WAIT : SERVER_STEP_END;
    }
    if (reply)
        grpc__testing__streaming_output_call_response__init(reply);
    if (!reply || !make_payload(call->arena, output->sizes[output->at++], &reply->payload)) {
        fr_fail(err, FR_BAD_INPUT, "a reply of that size is not served");
        return SERVER_STEP_FAIL;
    }
    *response = &reply->base;
    return SERVER_STEP_SEND;
}

static void end_output(void *user, void *state)
{
    (void)user;
    free(state);
}

static bool take_input(void *user, struct server_call *call, const ProtobufCMessage *message, void **state, struct fr_err *err)
{
    (void)user;
    (void)call;
    (void)message;
    (void)state;
    (void)err;
    return true;
}

static enum server_step next_input(void *user, struct server_call *call, void *state, ProtobufCMessage **response,
                                   int64_t *wait_ms, struct fr_err *err)
{
    (void)user;
    (void)call;
    (void)state;
    (void)response;
    (void)err;
    *wait_ms = INT64_MAX;
    return SERVER_STEP_WAIT;
}

void interop_methods(struct server_method methods[INTEROP_METHODS])
{
    static const struct server_streaming output = {.request = take_output_request, .next = next_output, .end = end_output};
    static const struct server_streaming duplex = {
        .request = take_output_request, .next = next_output, .end = end_output, .takes_many = true};
    static const struct server_streaming input = {.request = take_input, .next = next_input, .takes_many = true};
    static bool yes = true, no = false;
    const struct server_method table[INTEROP_METHODS] = {
        {.name = "EmptyCall",
         .request = &grpc__testing__empty__descriptor,
         .response = &grpc__testing__empty__descriptor,
         .handler = empty_call},
        {.name = "UnaryCall",
         .request = &grpc__testing__simple_request__descriptor,
         .response = &grpc__testing__simple_response__descriptor,
         .handler = unary_call},
        {.name = "StreamingOutputCall",
         .request = &grpc__testing__streaming_output_call_request__descriptor,
         .response = &grpc__testing__streaming_output_call_response__descriptor,
         .streaming = &output,
         .user = &no},
        {.name = "FullDuplexCall",
         .request = &grpc__testing__streaming_output_call_request__descriptor,
         .response = &grpc__testing__streaming_output_call_response__descriptor,
         .streaming = &duplex,
         .user = &yes},
        {.name = "StreamingInputCall",
         .request = &grpc__testing__streaming_input_call_request__descriptor,
         .response = &grpc__testing__streaming_input_call_response__descriptor,
         .streaming = &input},
    };

    memcpy(methods, table, sizeof table);
    for (int i = 0; i < INTEROP_METHODS; i++) {
        methods[i].service = "grpc.testing.TestService";
        methods[i].takes_fields = true;
    }
}
