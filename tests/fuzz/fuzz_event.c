/*
 * The event decoder against protobuf-c, field by field. They differ, on purpose, in four things, and `tidy` takes those out of the
 * input before protobuf-c sees it: a known number with another wire type is skipped (protobuf's rule; protobuf-c refuses the
 * message), balanced groups are skipped (protobuf-c refuses them), strings must be UTF-8 (protobuf-c does not look), and field
 * number 0 is refused in any encoding (protobuf-c takes 80 00 for an unknown field).
 */
#include <freshet/event.h>
#include <freshet/text.h>

#include <freshet/v1/event.pb-c.h>

#include <assert.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { INPUT_BYTES_MAX = 64 << 10, GROUPS_MAX = 32 };

enum outcome { TIDY, MALFORMED, REFUSED_BY_US };

struct input {
    const uint8_t *at;
    const uint8_t *end;
};

/* As simple as can be, and nothing shared with what is tested. */
static bool take_varint(struct input *input, int bytes_max, uint64_t *value)
{
    *value = 0;
    for (int i = 0; i < bytes_max && input->at < input->end; i++) {
        uint8_t byte = *input->at++;

        *value |= (uint64_t)(byte & 0x7f) << (7 * i);
        if (byte < 0x80)
            return true;
    }
    return false;
}

static bool take_bytes(struct input *input, uint64_t length, struct fr_slice *bytes)
{
    if (length > (uint64_t)(input->end - input->at))
        return false;
    *bytes = fr_slice(input->at, length);
    input->at += length;
    return true;
}

static bool take_tag(struct input *input, uint64_t *number, int *type)
{
    uint64_t tag;

    if (!take_varint(input, 5, &tag))
        return false;
    *number = tag >> 3;
    *type = (int)(tag & 7);
    return true;
}

static bool take_content(struct input *input, int type, struct fr_slice *bytes)
{
    uint64_t value;

    switch (type) {
    case 0:
        return take_varint(input, 10, &value);
    case 1:
        return take_bytes(input, 8, bytes);
    case 2:
        return take_varint(input, 5, &value) && take_bytes(input, value, bytes);
    case 5:
        return take_bytes(input, 4, bytes);
    default:
        return false;
    }
}

static bool take_group(struct input *input, uint64_t number, int depth)
{
    struct fr_slice bytes;
    uint64_t inner;
    int type;

    if (depth > GROUPS_MAX)
        return false;
    while (take_tag(input, &inner, &type)) {
        if (type == 4)
            return inner == number;
        if (inner == 0)
            return false;
        if (type == 3 ? !take_group(input, inner, depth + 1) : !take_content(input, type, &bytes))
            return false;
    }
    return false;
}

static bool is_own_type(bool is_entry, uint64_t number, int type)
{
    static const int types[] = {-1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 0, 1, 0, 5, 2, 2};

    if (is_entry)
        return number > 2 || type == 2;
    return number > PROTO_FIELD_ATTRIBUTES || type == types[number];
}

/* What protobuf-c is given: the same fields without those that it would refuse. */
static enum outcome tidy(struct fr_slice wire, bool is_entry, struct fr_buffer *out)
{
    struct input input = {.at = wire.bytes, .end = (const uint8_t *)wire.bytes + wire.length};

    while (input.at < input.end) {
        const uint8_t *start = input.at;
        struct fr_slice bytes = {0};
        uint64_t number;
        int type;

        if (!take_tag(&input, &number, &type))
            return MALFORMED;
        if (number == 0)
            return REFUSED_BY_US;
        if (type == 3 ? !take_group(&input, number, 1) : !take_content(&input, type, &bytes))
            return MALFORMED;
        if (type == 3 || !is_own_type(is_entry, number, type))
            continue;
        if ((is_entry ? number <= 2 : number == PROTO_FIELD_TEXT) && !fr_text_is_utf8(bytes))
            return REFUSED_BY_US;
        if (!is_entry && number == PROTO_FIELD_ATTRIBUTES) {
            struct fr_buffer entry;
            enum outcome outcome;

            fr_buffer_init(&entry);
            outcome = tidy(bytes, true, &entry);
            fr_buffer_append_varint(out, PROTO_FIELD_ATTRIBUTES << 3 | 2);
            fr_buffer_append_varint(out, entry.length);
            fr_buffer_append(out, entry.bytes, entry.length);
            fr_buffer_fini(&entry);
            if (outcome != TIDY)
                return outcome;
        } else {
            fr_buffer_append(out, start, (size_t)(input.at - start));
        }
    }
    return TIDY;
}

static bool same_bits(const void *a, const void *b, size_t bytes)
{
    return memcmp(a, b, bytes) == 0;
}

static uint32_t known(int value, int count)
{
    return value > 0 && value < count ? (uint32_t)value : 0;
}

static void compare_fields(const struct proto_event *event, const Freshet__V1__Event *oracle)
{
    assert(event->event_id == oracle->event_id && event->ts_ms == oracle->ts_ms);
    assert(event->user_id == oracle->user_id && event->item_id == oracle->item_id);
    assert(event->creator_id == oracle->creator_id && event->room_id == oracle->room_id);
    assert(event->category_id == oracle->category_id && event->region == oracle->region);
    assert(event->action == known((int)oracle->action, PROTO_ACTIONS));
    assert(event->scene == known((int)oracle->scene, PROTO_SCENES));
    assert(same_bits(&event->value, &oracle->value, 8) && same_bits(&event->duration_s, &oracle->duration_s, 8));
    assert(same_bits(&event->propensity, &oracle->propensity, 4));
    assert(event->request_id == oracle->request_id && event->position == oracle->position);
    assert(same_bits(event->text.length ? event->text.bytes : "", oracle->text, event->text.length));
    assert(oracle->text[event->text.length] == '\0');
    assert((event->wire.length > 0) == (oracle->n_attributes > 0));
}

static void count_one(void *user, struct fr_slice key, struct fr_slice value)
{
    const struct proto_event *event = ((void **)user)[0];
    size_t *count = ((void **)user)[1];
    struct fr_slice found;

    assert(proto_event_attribute(event, key, &found) && fr_slice_equal(found, value));
    ++*count;
}

/* By protobuf-c's list, the last entry of a key winning; keys with a NUL are left to the unit tests: its strings end there. */
static void compare_attributes(const struct proto_event *event, const Freshet__V1__Event *oracle)
{
    size_t distinct = 0, given = 0, count = 0;
    bool has_nul = event->wire.length > 0 && memchr(event->wire.bytes, 0, event->wire.length);
    void *user[] = {(void *)(uintptr_t)event, &count};
    struct fr_slice value;

    for (; given < oracle->n_attributes && !has_nul; given++) {
        const char *key = oracle->attributes[given]->key;
        const char *last = oracle->attributes[given]->value;
        bool is_last = true;

        for (size_t j = given + 1; j < oracle->n_attributes; j++) {
            if (strcmp(key, oracle->attributes[j]->key) == 0) {
                last = oracle->attributes[j]->value;
                is_last = false;
            }
        }
        assert(proto_event_attribute(event, fr_slice_of(key), &value) && fr_slice_is(value, last));
        distinct += is_last;
    }
    assert(proto_event_attributes(event, count_one, user));
    assert(has_nul || count == distinct);
}

/* What is encoded decodes to the same event. */
static void encode_again(const struct proto_event *event)
{
    struct proto_event again;
    struct fr_buffer wire;
    struct fr_err err;

    fr_buffer_init(&wire);
    proto_event_encode(event, &wire);
    assert(!wire.is_failed && proto_event_decode(fr_buffer_slice(&wire), &again, &err));
    assert(proto_event_compare(event, &again) == 0 && fr_slice_equal(event->text, again.text));
    fr_buffer_fini(&wire);
}

/* Every verdict may come, but none may crash. */
static void read_both(struct fr_slice record)
{
    struct fr_arena *arena = fr_arena_new(8 << 20);
    struct proto_event event;
    struct fr_err why;

    assert(arena);
    proto_event_read(PROTO_FORMAT_PROTOBUF, record, INT64_MAX, arena, &event, &why);
    proto_event_read(PROTO_FORMAT_JSON, record, 0, arena, &event, NULL);
    fr_arena_free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fr_slice wire = fr_slice(data, size);
    struct fr_buffer plain;
    struct proto_event event;
    struct fr_err err;
    enum outcome outcome;
    bool is_decoded;

    if (size == 0 || size > INPUT_BYTES_MAX)
        return 0;
    fr_buffer_init(&plain);
    outcome = tidy(wire, false, &plain);
    is_decoded = proto_event_decode(wire, &event, &err);
    assert(is_decoded == (outcome == TIDY));
    if (is_decoded) {
        Freshet__V1__Event *oracle = freshet__v1__event__unpack(NULL, plain.length, plain.bytes);

        assert(oracle);
        compare_fields(&event, oracle);
        compare_attributes(&event, oracle);
        freshet__v1__event__free_unpacked(oracle, NULL);
        encode_again(&event);
    } else if (outcome == MALFORMED) {
        assert(!freshet__v1__event__unpack(NULL, size, data));
    }
    fr_buffer_fini(&plain);
    read_both(wire);
    return 0;
}
