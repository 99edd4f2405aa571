/*
 * Every allocation that proto makes by itself fails once: the linker sends its own and base's through here, and each scenario runs
 * again and again with one more allowed, until none fails. A failure is told, and nothing is lost or leaked.
 */
#include "wire.h"

#include <freshet/message.h>

#include <freshet/v1/feature.pb-c.h>
#include <holder.pb-c.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

void *__real_malloc(size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);

static int allowed = -1; /* allocations until one fails; −1: none will */
static bool has_failed;

static bool fails_now(void)
{
    if (allowed < 0)
        return false;
    if (allowed-- > 0)
        return false;
    has_failed = true;
    return true;
}

void *__wrap_malloc(size_t bytes)
{
    return fails_now() ? NULL : __real_malloc(bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    return fails_now() ? NULL : __real_realloc(old, bytes);
}

/* `scenario` returns whether all went well; with a failed allocation it must not, without it must. */
static void fail_each(bool (*scenario)(void))
{
    for (int count = 0;; count++) {
        bool went_well;

        allowed = count;
        has_failed = false;
        went_well = scenario();
        allowed = -1;
        assert_int_equal(went_well, !has_failed);
        if (!has_failed)
            return;
    }
}

static const char json[] =
    "{\"itemId\":\"caf\\u00e9 caf\\u00e9\",\"text\":\"longer than the first block of a buffer, however long it may be, so that "
    "it has to "
    "grow more than once, which is what this text is for, and for nothing else: a text without any meaning whatsoever\","
    "\"attributes\":{\"a\":\"1\",\"b\":\"2\",\"c\":\"3\",\"d\":\"4\",\"e\":\"5\",\"f\":\"6\",\"g\":\"7\",\"h\":\"8\",\"i\":"
    "\"9\","
    "\"j\":\"10\",\"k\":\"11\",\"l\":\"12\",\"m\":\"13\",\"n\":\"14\",\"o\":\"15\",\"p\":\"16\",\"q\":\"17\"}}";

static bool turn_event(void)
{
    struct fr_buffer wire, back;
    struct proto_event event;
    struct fr_err err = {0};
    bool is_well;

    fr_buffer_init(&wire);
    fr_buffer_init(&back);
    is_well = proto_event_from_json(fr_slice_of(json), &wire, &err);
    if (!is_well)
        assert_int_equal(err.code, FR_EXHAUSTED);
    if (is_well && decodes(fr_buffer_slice(&wire), &event)) {
        proto_event_to_json(&event, &back);
        is_well = !back.is_failed;
    }
    fr_buffer_fini(&back);
    fr_buffer_fini(&wire);
    return is_well;
}

static bool read_record(void)
{
    struct fr_arena *arena = fr_arena_new(1 << 20);
    struct fr_err why = {0};
    struct proto_event event;
    bool is_well;

    if (!arena)
        return false;
    is_well = proto_event_read(PROTO_FORMAT_JSON, fr_slice_of(json), INT64_MAX, arena, &event, &why) == PROTO_UNKNOWN_ACTION;
    if (!is_well)
        assert_int_equal(why.code, FR_EXHAUSTED);
    fr_arena_free(arena);
    return is_well;
}

static bool turn_message(void)
{
    static const char request[] =
        "{\"itemIds\":[1,2,3],\"features\":[\"a\\u00e9\"],\"after\":[{\"topic\":\"t\"}],\"roomId\":\"\\u00e9\"}";
    const ProtobufCMessageDescriptor *type = &freshet__v1__get_features_request__descriptor;
    struct fr_arena *arena = fr_arena_new(1 << 20);
    ProtobufCMessage *message;
    struct fr_err err = {0};
    struct fr_buffer wire;
    bool is_well = false;

    if (!arena)
        return false;
    fr_buffer_init(&wire);
    message = proto_json_parse(type, fr_slice_of(request), arena, &err);
    if (message)
        proto_pack(message, &wire);
    if (message && !wire.is_failed)
        is_well = proto_unpack(type, fr_buffer_slice(&wire), arena, &err) != NULL;
    if (!is_well && !wire.is_failed)
        assert_int_equal(err.code, FR_EXHAUSTED);
    fr_buffer_fini(&wire);
    fr_arena_free(arena);
    return is_well;
}

static bool turn_any(void)
{
    static const char holder[] = "{\"raw\":\"Zm9v\",\"one\":{\"@type\":\"x/freshet.v1.Offset\",\"topic\":\"t\"}}";
    struct fr_arena *arena = fr_arena_new(1 << 20);
    ProtobufCMessage *message;
    struct fr_err err = {0};
    struct fr_buffer back;
    bool is_well = false;

    if (!arena)
        return false;
    fr_buffer_init(&back);
    message = proto_json_parse_with(&test__holder__descriptor, fr_slice_of(holder), proto_type_find, arena, &err);
    if (message) {
        proto_json_print_with(message, proto_type_find, &back);
        is_well = !back.is_failed;
    } else {
        assert_int_equal(err.code, FR_EXHAUSTED);
    }
    fr_buffer_fini(&back);
    fr_arena_free(arena);
    return is_well;
}

static void events_survive_a_lack_of_memory(void **state)
{
    (void)state;
    fail_each(turn_event);
    fail_each(read_record);
}

static void messages_survive_a_lack_of_memory(void **state)
{
    (void)state;
    fail_each(turn_message);
    fail_each(turn_any);
}

static bool packs_features(void)
{
    static uint64_t ids[300];
    Freshet__V1__Field field, *fields[] = {&field};
    Freshet__V1__GetFeaturesResponse response;
    struct fr_buffer out;
    bool ok;

    freshet__v1__field__init(&field);
    field.ids = ids;
    field.n_ids = sizeof ids / sizeof *ids;
    memset(ids, 0xff, sizeof ids);
    freshet__v1__get_features_response__init(&response);
    response.item_fields = fields;
    response.n_item_fields = 1;
    fr_buffer_init(&out);
    for (int i = 0; i < 3; i++)
        proto_features_pack(&response.base, &out);
    ok = !out.is_failed;
    fr_buffer_fini(&out);
    return ok;
}

static void a_features_reply_that_cannot_grow_is_a_failed_buffer(void **state)
{
    (void)state;
    fail_each(packs_features);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(events_survive_a_lack_of_memory),
        cmocka_unit_test(messages_survive_a_lack_of_memory),
        cmocka_unit_test(a_features_reply_that_cannot_grow_is_a_failed_buffer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
