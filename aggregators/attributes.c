/*
 * What items and rooms remember: of each attribute the latest value that isn't zero, and the event that said so, since a later
 * event by the total order takes its place. Events that gave several attributes are kept once. The event's order holds the
 * values themselves, so an attribute is no more than "which event".
 */
#include "internal.h"

const uint8_t agg__attribute_fields[AGG_ATTRIBUTES] = {PROTO_FIELD_CREATOR_ID, PROTO_FIELD_ROOM_ID, PROTO_FIELD_CATEGORY_ID,
                                                       PROTO_FIELD_DURATION_S};
enum { SOURCE_BYTES = AGG_SOURCE_WORDS * sizeof(uint64_t) };

static const uint8_t attribute_words[AGG_ATTRIBUTES] = {6, 7, 8, 10}; /* in the order; test_attributes checks it */

int agg_attribute__index(int field)
{
    for (int i = 0; i < AGG_ATTRIBUTES; i++) {
        if (agg__attribute_fields[i] == field)
            return i;
    }
    return -1;
}

/* −0.0 is no duration either. */
static bool is_said(int attribute, uint64_t bits)
{
    return agg__attribute_fields[attribute] == PROTO_FIELD_DURATION_S ? bits << 1 != 0 : bits != 0;
}

const uint64_t *agg_attributes__source(const struct agg_rows *rows, int attribute)
{
    const uint64_t *sources = (const uint64_t *)(rows + 1);

    if (rows->source_of[attribute] == 0)
        return NULL;
    return sources + (size_t)(rows->source_of[attribute] - 1) * AGG_SOURCE_WORDS;
}

uint64_t agg_attributes__read(const struct agg_rows *rows, const struct agg_entity *entity, int attribute, int64_t time_ms)
{
    const uint64_t *source = rows ? agg_attributes__source(rows, attribute) : NULL;

    if (!source || agg_entity__is_expired(entity, (int64_t)source[0], time_ms))
        return 0;
    return source[attribute_words[attribute]];
}

/* The place of a source that no attribute names any more, or a new one; −1: out of memory. */
static int source_free(struct agg_blob *blob, const struct agg_entity *entity)
{
    struct agg_rows *rows = blob->memory;
    uint32_t at;

    for (int i = 0; i < rows->source_count; i++) {
        bool is_used = false;

        for (int attribute = 0; attribute < AGG_ATTRIBUTES; attribute++)
            is_used = is_used || rows->source_of[attribute] == i + 1;
        if (!is_used)
            return i;
    }
    at = (uint32_t)sizeof *rows + (uint32_t)(rows->source_count * SOURCE_BYTES);
    if (!agg_rows__insert(blob, entity, at, SOURCE_BYTES))
        return -1;
    rows = blob->memory;
    return rows->source_count++;
}

static bool put(struct agg_blob *blob, const struct agg_entity *entity, uint8_t gave, const uint64_t *order)
{
    struct agg_rows *rows = blob->memory;
    int place;

    for (int i = 0; i < AGG_ATTRIBUTES; i++) {
        if ((gave >> i & 1) != 0)
            rows->source_of[i] = 0;
    }
    place = source_free(blob, entity);
    if (place < 0)
        return false;
    rows = blob->memory;
    memcpy(agg_rows__sources(rows) + (size_t)place * AGG_SOURCE_WORDS, order, SOURCE_BYTES);
    for (int i = 0; i < AGG_ATTRIBUTES; i++) {
        if ((gave >> i & 1) != 0)
            rows->source_of[i] = (uint8_t)(place + 1);
    }
    return true;
}

bool agg_attributes__restore(struct agg_blob *blob, const struct agg_entity *entity, uint8_t gave,
                             const uint64_t order[AGG_SOURCE_WORDS])
{
    gave &= entity->remembered;
    return gave == 0 || put(blob, entity, gave, order);
}

bool agg_attributes__take(struct agg_blob *blob, const struct agg_entity *entity, const uint64_t *order)
{
    const struct agg_rows *rows = blob->memory;
    uint8_t later = 0;

    for (int i = 0; i < AGG_ATTRIBUTES; i++) {
        const uint64_t *source = agg_attributes__source(rows, i);

        if ((entity->remembered >> i & 1) != 0 && is_said(i, order[attribute_words[i]]) &&
            (!source || agg_order__compare(order, source, AGG_SOURCE_WORDS) > 0))
            later |= (uint8_t)(1 << i);
    }
    return later == 0 || put(blob, entity, later, order);
}
