/*
 * gRPC reflection: stock clients ask which services there are and for the files that describe them. The files come from
 * proto_descriptor_set(), a FileDescriptorSet whose outer field 1 holds one after the other; what is asked for is looked up in
 * those bytes each time, for they are few and nobody asks often. Versions v1 and v1alpha are the same bytes.
 */
#include "internal.h"

#include <grpc/reflection/v1/reflection.pb-c.h>
#include <stdio.h>
#include <stdlib.h>

enum { FILES_MAX = 64, NAME_BYTES = 512 };

/* Field numbers of descriptor.proto. */
enum { SET_FILE = 1 };
enum { FILE_NAME = 1, FILE_PACKAGE = 2, FILE_IMPORT = 3, FILE_MESSAGE = 4, FILE_ENUM = 5, FILE_SERVICE = 6 };
enum { ANY_NAME = 1, MESSAGE_FIELD = 2, MESSAGE_NESTED = 3, MESSAGE_ENUM = 4, SERVICE_METHOD = 2 };

/* ---- Reading descriptors ---- */

/* The next length-delimited field; others are passed over. False at the end. */
static bool next_field(struct fr_reader *reader, uint64_t *number, struct fr_slice *value)
{
    while (reader->at < reader->end && !reader->is_failed) {
        uint64_t tag = fr_reader_varint(reader);

        *number = tag >> 3;
        switch (tag & 7) {
        case 0:
            fr_reader_varint(reader);
            break;
        case 1:
            fr_reader_fixed64(reader);
            break;
        case 2:
            *value = fr_reader_bytes(reader, (size_t)fr_reader_varint(reader));
            return !reader->is_failed;
        case 5:
            fr_reader_bytes(reader, 4);
            break;
        default:
            return false;
        }
    }
    return false;
}

static struct fr_slice field_of(struct fr_slice descriptor, uint64_t wanted)
{
    struct fr_reader reader = fr_reader(descriptor);
    struct fr_slice value;
    uint64_t number;

    while (next_field(&reader, &number, &value))
        if (number == wanted)
            return value;
    return fr_slice("", 0);
}

/* What is left of `name` behind "part." or "part/"; *is_all when nothing is. False: it does not begin with that part. */
static bool skip_part(struct fr_slice *name, struct fr_slice part, bool *is_all)
{
    const char *text = name->bytes;

    *is_all = fr_slice_equal(*name, part);
    if (*is_all)
        return true;
    if (name->length <= part.length + 1 || memcmp(text, part.bytes, part.length) != 0 ||
        (text[part.length] != '.' && text[part.length] != '/'))
        return false;
    *name = fr_slice(text + part.length + 1, name->length - part.length - 1);
    return true;
}

/* Whether a message, enum or service holds the symbol: itself, or one of what is in it. */
static bool holds(struct fr_slice descriptor, struct fr_slice symbol, uint64_t kind)
{
    struct fr_reader reader = fr_reader(descriptor);
    struct fr_slice value;
    uint64_t number;
    bool is_all;

    if (!skip_part(&symbol, field_of(descriptor, ANY_NAME), &is_all))
        return false;
    while (!is_all && next_field(&reader, &number, &value)) {
        if (kind == FILE_MESSAGE && (number == MESSAGE_NESTED || number == MESSAGE_ENUM)) {
            if (holds(value, symbol, number == MESSAGE_NESTED ? FILE_MESSAGE : FILE_ENUM)) /* as deep as our own files */
                return true;
        } else if (number == MESSAGE_FIELD || number == SERVICE_METHOD) {
            is_all = fr_slice_equal(symbol, field_of(value, ANY_NAME));
        }
    }
    return is_all;
}

static bool file_holds(struct fr_slice file, struct fr_slice symbol)
{
    struct fr_reader reader = fr_reader(file);
    struct fr_slice package = field_of(file, FILE_PACKAGE);
    struct fr_slice value;
    uint64_t number;
    bool is_all;

    if (package.length > 0 && (!skip_part(&symbol, package, &is_all) || is_all))
        return false;
    while (next_field(&reader, &number, &value))
        if ((number == FILE_MESSAGE || number == FILE_ENUM || number == FILE_SERVICE) && holds(value, symbol, number))
            return true;
    return false;
}

static bool is_named(struct fr_slice file, struct fr_slice name)
{
    return fr_slice_equal(field_of(file, FILE_NAME), name);
}

static bool find_file(bool (*is_it)(struct fr_slice file, struct fr_slice name), struct fr_slice name, struct fr_slice *file)
{
    struct fr_reader reader = fr_reader(proto_descriptor_set());
    uint64_t number;

    while (next_field(&reader, &number, file))
        if (number == SET_FILE && is_it(*file, name))
            return true;
    return false;
}

/* ---- Answers ---- */

struct found {
    struct fr_slice files[FILES_MAX];
    size_t count;
};

/* The file, then what it imports, each once. */
static void gather(struct found *found, struct fr_slice file)
{
    found->files[0] = file;
    found->count = 1;
    for (size_t i = 0; i < found->count; i++) {
        struct fr_reader reader = fr_reader(found->files[i]);
        struct fr_slice name, import;
        uint64_t number;

        while (next_field(&reader, &number, &name)) {
            bool is_new = number == FILE_IMPORT && found->count < FILES_MAX && find_file(is_named, name, &import);

            for (size_t j = 0; j < found->count && is_new; j++)
                is_new = found->files[j].bytes != import.bytes;
            if (is_new)
                found->files[found->count++] = import;
        }
    }
}

static bool answer_error(struct fr_arena *arena, Grpc__Reflection__V1__ServerReflectionResponse *response,
                         enum server__status status, const char *message)
{
    Grpc__Reflection__V1__ErrorResponse *error = fr_arena_take(arena, sizeof *error);

    if (!error)
        return false;
    grpc__reflection__v1__error_response__init(error);
    error->error_code = (int32_t)status;
    error->error_message = (char *)message;
    response->message_response_case = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE;
    response->error_response = error;
    return true;
}

static bool answer_file(struct fr_arena *arena, Grpc__Reflection__V1__ServerReflectionResponse *response,
                        bool (*is_it)(struct fr_slice, struct fr_slice), const char *name)
{
    Grpc__Reflection__V1__FileDescriptorResponse *answer = fr_arena_take(arena, sizeof *answer);
    struct found found;
    struct fr_slice file;

    if (!find_file(is_it, fr_slice_of(name), &file))
        return answer_error(arena, response, SERVER_STATUS_NOT_FOUND, "not found");
    gather(&found, file);
    if (!answer)
        return false;
    grpc__reflection__v1__file_descriptor_response__init(answer);
    answer->file_descriptor_proto = fr_arena_take_zeroed(arena, found.count, sizeof *answer->file_descriptor_proto);
    if (!answer->file_descriptor_proto)
        return false;
    for (size_t i = 0; i < found.count; i++)
        answer->file_descriptor_proto[i] =
            (ProtobufCBinaryData){.data = (uint8_t *)found.files[i].bytes, .len = found.files[i].length};
    answer->n_file_descriptor_proto = found.count;
    response->message_response_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
    response->file_descriptor_response = answer;
    return true;
}

/* The table is sorted by path, so a service's methods are neighbours. */
static bool answer_services(struct fr_arena *arena, Grpc__Reflection__V1__ServerReflectionResponse *response,
                            const struct server__methods *methods)
{
    Grpc__Reflection__V1__ListServiceResponse *answer = fr_arena_take(arena, sizeof *answer);
    Grpc__Reflection__V1__ServiceResponse *services = fr_arena_take_zeroed(arena, (size_t)methods->count, sizeof *services);
    Grpc__Reflection__V1__ServiceResponse **list = fr_arena_take_zeroed(arena, (size_t)methods->count, sizeof *list);

    if (!answer || !services || !list)
        return false;
    grpc__reflection__v1__list_service_response__init(answer);
    answer->service = list;
    for (int i = 0; i < methods->count; i++) {
        const char *name = methods->sorted[i].method->service;

        if (i > 0 && strcmp(methods->sorted[i - 1].method->service, name) == 0)
            continue;
        grpc__reflection__v1__service_response__init(&services[answer->n_service]);
        services[answer->n_service].name = (char *)name;
        list[answer->n_service] = &services[answer->n_service];
        answer->n_service++;
    }
    response->message_response_case = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_LIST_SERVICES_RESPONSE;
    response->list_services_response = answer;
    return true;
}

static bool answer(const struct server *server, struct fr_arena *arena,
                   const Grpc__Reflection__V1__ServerReflectionRequest *request,
                   Grpc__Reflection__V1__ServerReflectionResponse *response)
{
    switch (request->message_request_case) {
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_BY_FILENAME:
        return answer_file(arena, response, is_named, request->file_by_filename);
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL:
        return answer_file(arena, response, file_holds, request->file_containing_symbol);
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_LIST_SERVICES:
        return answer_services(arena, response, &server->methods);
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_EXTENSION:
    case GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_ALL_EXTENSION_NUMBERS_OF_TYPE:
        return answer_error(arena, response, SERVER_STATUS_NOT_FOUND, "no file here has extensions");
    default:
        return answer_error(arena, response, SERVER_STATUS_INVALID_ARGUMENT, "an empty question");
    }
}

/* ---- The method: one answer a question ---- */

/* A question and its answer live between request() and next(), in memory of their own. */
struct talk {
    struct fr_arena *arena;
    Grpc__Reflection__V1__ServerReflectionResponse *response; /* NULL: said */
};

enum { TALK_BYTES = 1 << 20 };

static void end_talk(void *user, void *state)
{
    struct talk *talk = state;

    (void)user;
    fr_arena_free(talk->arena);
    free(talk);
}

static struct talk *begin_talk(void)
{
    struct talk *talk = calloc(1, sizeof *talk);

    if (talk)
        talk->arena = fr_arena_new(TALK_BYTES);
    if (talk && !talk->arena) {
        free(talk);
        return NULL;
    }
    return talk;
}

/* A copy of the question goes back with the answer. */
static bool copy_request(struct fr_arena *arena, const Grpc__Reflection__V1__ServerReflectionRequest *request,
                         Grpc__Reflection__V1__ServerReflectionResponse *response)
{
    struct fr_buffer wire;
    struct fr_err err;

    fr_buffer_init(&wire);
    proto_pack(&request->base, &wire);
    response->original_request = wire.is_failed ? NULL
                                                : (Grpc__Reflection__V1__ServerReflectionRequest *)proto_unpack(
                                                      request->base.descriptor, fr_buffer_slice(&wire), arena, &err);
    response->valid_host = response->original_request ? response->original_request->host : NULL;
    fr_buffer_fini(&wire);
    return response->original_request;
}

static bool take_question(void *user, struct server_call *call, const ProtobufCMessage *message, void **state,
                          struct fr_err *err)
{
    struct talk *talk = *state ? *state : begin_talk();

    (void)call;
    if (!talk)
        return fr_fail(err, FR_EXHAUSTED, "out of memory for reflection");
    *state = talk;
    fr_arena_reset(talk->arena, 0);
    talk->response = fr_arena_take(talk->arena, sizeof *talk->response);
    if (!talk->response)
        return fr_fail(err, FR_EXHAUSTED, "out of memory for reflection");
    grpc__reflection__v1__server_reflection_response__init(talk->response);
    if (!copy_request(talk->arena, (const Grpc__Reflection__V1__ServerReflectionRequest *)message, talk->response) ||
        !answer(user, talk->arena, talk->response->original_request, talk->response))
        return fr_fail(err, FR_EXHAUSTED, "out of memory for reflection");
    return true;
}

static enum server_step next_answer(void *user, struct server_call *call, void *state, ProtobufCMessage **response,
                                    int64_t *wait_ms, struct fr_err *err)
{
    struct talk *talk = state;

    (void)user;
    (void)call;
    (void)err;
    *wait_ms = INT64_MAX;
    if (!talk->response)
        return SERVER_STEP_WAIT;
    *response = &talk->response->base;
    talk->response = NULL;
    return SERVER_STEP_SEND;
}

void server__reflection_methods(struct server *server, struct server_method methods[2])
{
    static const struct server_streaming talking = {
        .request = take_question,
        .next = next_answer,
        .end = end_talk,
        .takes_many = true,
    };

    methods[0] = (struct server_method){
        .service = "grpc.reflection.v1.ServerReflection",
        .name = "ServerReflectionInfo",
        .request = &grpc__reflection__v1__server_reflection_request__descriptor,
        .response = &grpc__reflection__v1__server_reflection_response__descriptor,
        .streaming = &talking,
        .user = server,
    };
    methods[1] = methods[0];
    methods[1].service = "grpc.reflection.v1alpha.ServerReflection";
}
