/*
 * JSON in and out: an event's JSON reaches a fixed point after one turn through the wire, a request that is accepted prints to
 * what reads back the same, and whatever our reader accepts, json-c (which is laxer) accepts too. Likewise a message with bytes, with
 * fields that exclude each other, and with messages of any type.
 */
#include <freshet/event.h>
#include <freshet/message.h>

#include <freshet/v1/feature.pb-c.h>
#include <freshet/v1/model.pb-c.h>

#include <assert.h>
#include <holder.pb-c.h>
#include <json-c/json.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_BYTES_MAX = 64 << 10, ARENA_BYTES = 16 << 20, JSON_DEPTH = 256 };

static void accepted_by_json_c(struct fr_slice json)
{
    struct json_tokener *tokener = json_tokener_new_ex(JSON_DEPTH);
    struct json_object *object;

    assert(tokener);
    json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);
    object = json_tokener_parse_ex(tokener, json.bytes, (int)json.length);
    assert(object && json_object_is_type(object, json_type_object));
    json_object_put(object);
    json_tokener_free(tokener);
}

/* The wire form of `json`, and its JSON. */
static void turn(struct fr_slice json, struct fr_buffer *wire, struct fr_buffer *back)
{
    struct proto_event event;
    struct fr_err err;

    assert(proto_event_from_json(json, wire, &err));
    assert(proto_event_decode(fr_buffer_slice(wire), &event, &err));
    proto_event_to_json(&event, back);
    assert(!wire->is_failed && !back->is_failed);
}

static void turn_event(struct fr_slice json)
{
    struct fr_buffer buffers[6];
    struct fr_err err;

    for (int i = 0; i < 6; i++)
        fr_buffer_init(&buffers[i]);
    if (proto_event_from_json(json, &buffers[0], &err)) {
        accepted_by_json_c(json);
        fr_buffer_clear(&buffers[0]);
        turn(json, &buffers[0], &buffers[1]);
        turn(fr_buffer_slice(&buffers[1]), &buffers[2], &buffers[3]);
        turn(fr_buffer_slice(&buffers[3]), &buffers[4], &buffers[5]);
        assert(fr_slice_equal(fr_buffer_slice(&buffers[1]), fr_buffer_slice(&buffers[3])));
        assert(fr_slice_equal(fr_buffer_slice(&buffers[2]), fr_buffer_slice(&buffers[4])));
    } else {
        assert(buffers[0].length == 0);
    }
    for (int i = 0; i < 6; i++)
        fr_buffer_fini(&buffers[i]);
}

/* What an Any may hold. */
static const ProtobufCMessageDescriptor *find(const char *full_name)
{
    return strcmp(full_name, "test.Holder") == 0 ? &test__holder__descriptor : proto_type_find(full_name);
}

static void turn_message(const ProtobufCMessageDescriptor *type, struct fr_slice json)
{
    struct fr_arena *arena = fr_arena_new(ARENA_BYTES);
    struct fr_buffer first, second, wire;
    ProtobufCMessage *message;
    struct fr_err err = {0};

    assert(arena);
    fr_buffer_init(&first);
    fr_buffer_init(&second);
    fr_buffer_init(&wire);
    message = proto_json_parse_with(type, json, find, arena, &err);
    if (message) {
        accepted_by_json_c(json);
        proto_json_print_with(message, find, &first);
        message = proto_json_parse_with(type, fr_buffer_slice(&first), find, arena, &err);
        assert(message);
        proto_pack(message, &wire);
        message = proto_unpack(type, fr_buffer_slice(&wire), arena, &err);
        assert(message);
        proto_json_print_with(message, find, &second);
        assert(fr_slice_equal(fr_buffer_slice(&first), fr_buffer_slice(&second)));
    } else {
        assert(err.code != 0 && err.message[0] != '\0');
    }
    fr_buffer_fini(&wire);
    fr_buffer_fini(&second);
    fr_buffer_fini(&first);
    fr_arena_free(arena);
}

/* What came by the wire prints as JSON, whatever an Any in it is. */
static void print_wire(struct fr_slice wire)
{
    struct fr_arena *arena = fr_arena_new(ARENA_BYTES);
    ProtobufCMessage *message;
    struct fr_buffer json;
    struct fr_err err;

    assert(arena);
    fr_buffer_init(&json);
    message = proto_unpack(&test__holder__descriptor, wire, arena, &err);
    if (message) {
        proto_json_print_with(message, find, &json);
        if (!json.is_failed)
            accepted_by_json_c(fr_buffer_slice(&json));
    }
    fr_buffer_fini(&json);
    fr_arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fr_slice json = fr_slice(data, size);

    if (size > INPUT_BYTES_MAX)
        return 0;
    turn_event(json);
    turn_message(&freshet__v1__get_features_request__descriptor, json);
    turn_message(&freshet__v1__push_request__descriptor, json);
    turn_message(&test__holder__descriptor, json);
    print_wire(json);
    return 0;
}
