/*
 * The attributes of an event, read from its wire bytes when asked: few events have any, and fewer are asked. A key given twice has
 * its last value, as in every protobuf map.
 */
#include "internal.h"

#include <freshet/text.h>

#include <stdlib.h>

struct attribute {
    struct fr_slice key;
    struct fr_slice value;
    size_t position; /* the how-manieth attribute of the event */
};

enum { FEW = 16 }; /* attributes are sorted without asking for memory up to here */

bool proto__attribute_read(struct fr_slice entry, struct fr_slice *key, struct fr_slice *value)
{
    const uint8_t *at = proto__begin(entry);
    const uint8_t *end = at + entry.length;

    *key = *value = fr_slice(NULL, 0);
    while (at < end) {
        struct proto__field field;

        at = proto__wire_next(at, end, &field);
        if (!at)
            return false;
        if (field.type != PROTO__BYTES || field.number > 2)
            continue;
        if (!fr_text_is_utf8(field.bytes))
            return false;
        *(field.number == 1 ? key : value) = field.bytes;
    }
    return true;
}

/* The next attribute at or behind *at; false when there is none. */
static bool next_attribute(const uint8_t **at, const uint8_t *end, struct attribute *attribute)
{
    while (*at && *at < end) {
        struct proto__field field;

        *at = proto__wire_next(*at, end, &field);
        if (*at && field.number == PROTO_FIELD_ATTRIBUTES && field.type == PROTO__BYTES)
            return proto__attribute_read(field.bytes, &attribute->key, &attribute->value);
    }
    return false;
}

bool proto_event_attribute(const struct proto_event *event, struct fr_slice key, struct fr_slice *value)
{
    const uint8_t *at = proto__begin(event->wire);
    const uint8_t *end = at + event->wire.length;
    struct attribute attribute;
    bool is_found = false;

    while (next_attribute(&at, end, &attribute)) {
        if (!fr_slice_equal(attribute.key, key))
            continue;
        *value = attribute.value;
        is_found = true;
    }
    return is_found;
}

/* By key; of equal keys the later one in the event first. */
static int compare_attributes(const void *left, const void *right)
{
    const struct attribute *a = left, *b = right;
    size_t length = a->key.length < b->key.length ? a->key.length : b->key.length;
    int order = length == 0 ? 0 : memcmp(a->key.bytes, b->key.bytes, length);

    if (order != 0)
        return order;
    if (a->key.length != b->key.length)
        return a->key.length < b->key.length ? -1 : 1;
    return a->position > b->position ? -1 : 1;
}

/* All attributes of the event into `attributes` (NULL: only counted). */
static size_t read_attributes(const struct proto_event *event, struct attribute *attributes)
{
    const uint8_t *at = proto__begin(event->wire);
    const uint8_t *end = at + event->wire.length;
    struct attribute attribute;
    size_t count = 0;

    while (next_attribute(&at, end, &attribute)) {
        attribute.position = count;
        if (attributes)
            attributes[count] = attribute;
        count++;
    }
    return count;
}

/* Sorted, because a mebibyte of attributes compared each with each would hold a lane for minutes. */
bool proto_event_attributes(const struct proto_event *event, proto_attribute_fn each, void *user)
{
    struct attribute few[FEW];
    size_t count = read_attributes(event, NULL);
    struct attribute *attributes = count <= FEW ? few : malloc(count * sizeof *attributes);

    if (!attributes)
        return false;
    read_attributes(event, attributes);
    qsort(attributes, count, sizeof *attributes, compare_attributes);
    for (size_t i = 0; i < count; i++) {
        if (i == 0 || !fr_slice_equal(attributes[i].key, attributes[i - 1].key))
            each(user, attributes[i].key, attributes[i].value);
    }
    if (attributes != few)
        free(attributes);
    return true;
}
