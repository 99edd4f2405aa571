#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

/* The numbers of descriptor.proto. */
enum { SET_FILE = 1, FILE_NAME = 1, FILE_PACKAGE = 2, FILE_MESSAGE = 4, MESSAGE_NAME = 1 };

static struct fr_slice field_of(struct fr_slice message, uint64_t number)
{
    const uint8_t *at = proto__begin(message), *end = at + message.length;
    struct proto__field field;

    while (at < end) {
        at = proto__wire_next(at, end, &field);
        assert_non_null(at);
        if (field.number == number)
            return field.bytes;
    }
    return fr_slice(NULL, 0);
}

/* gRPC's own services: their messages come as protobuf, or are plain. */
static bool is_foreign(struct fr_slice package)
{
    return package.length > 5 && memcmp(package.bytes, "grpc.", 5) == 0;
}

/* Calls `each` for every message type of ours that the program's descriptors declare. */
static int each_message(void (*each)(struct fr_slice package, struct fr_slice message))
{
    struct fr_slice set = proto_descriptor_set();
    const uint8_t *at = set.bytes, *end = at + set.length;
    struct proto__field file, message;
    int count = 0;

    while (at < end) {
        at = proto__wire_next(at, end, &file);
        assert_non_null(at);
        assert_int_equal(file.number, SET_FILE);
        const uint8_t *inner = proto__begin(file.bytes), *inner_end = inner + file.bytes.length;

        while (inner < inner_end) {
            inner = proto__wire_next(inner, inner_end, &message);
            assert_non_null(inner);
            if (message.number != FILE_MESSAGE || is_foreign(field_of(file.bytes, FILE_PACKAGE)))
                continue;
            each(field_of(file.bytes, FILE_PACKAGE), message.bytes);
            count++;
        }
    }
    return count;
}

static const ProtobufCMessageDescriptor *find(struct fr_slice package, struct fr_slice message)
{
    struct fr_slice name = field_of(message, MESSAGE_NAME);
    char full[128];

    snprintf(full, sizeof full, "%.*s.%.*s", (int)package.length, (const char *)package.bytes, (int)name.length,
             (const char *)name.bytes);
    return proto_type_find(full);
}

static void is_found(struct fr_slice package, struct fr_slice message)
{
    struct fr_slice name = field_of(message, MESSAGE_NAME);
    const ProtobufCMessageDescriptor *type = find(package, message);

    if (!type)
        fail_msg("types.c lacks %.*s", (int)name.length, (const char *)name.bytes);
    assert_true(fr_slice_is(name, type->short_name));
}

static void every_declared_message_is_found(void **state)
{
    (void)state;
    assert_true(each_message(is_found) > 40);
    assert_null(proto_type_find("freshet.v1.Nothing"));
    assert_null(proto_type_find("Event"));
}

static void has_known_fields(struct fr_slice package, struct fr_slice message)
{
    const ProtobufCMessageDescriptor *type = find(package, message);

    for (unsigned i = 0; i < type->n_fields; i++) {
        assert_int_not_equal(type->fields[i].label, PROTOBUF_C_LABEL_REQUIRED);
        assert_true(strlen(type->fields[i].name) < PROTO__NAME_BYTES);
    }
    assert_true(type->n_fields <= 32);
}

/* What json_parse.c and json_print.c count on. */
static void no_message_has_what_json_has_no_room_for(void **state)
{
    (void)state;
    each_message(has_known_fields);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_declared_message_is_found),
        cmocka_unit_test(no_message_has_what_json_has_no_room_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
