/*
 * Sequences: for each `last` feature of an entity the `limit` greatest events by the total order, as a ring of fixed-width records.
 * A record is the event's order down to the last field that is asked for, so events that tie look the same and any of them will
 * do. In-order events overwrite the oldest record; a late one moves the later ones up.
 */
#include "internal.h"

static uint32_t record_bytes(const struct agg_feature *feature)
{
    return (uint32_t)feature->order_words * (uint32_t)sizeof(uint64_t);
}

static uint32_t ring_offset(const struct agg_ring *rings, const struct agg_entity *entity, int sequence)
{
    uint32_t offset = (uint32_t)entity->sequence_count * (uint32_t)sizeof *rings;

    for (int i = 0; i < sequence; i++)
        offset += rings[i].capacity * record_bytes(entity->sequences[i]);
    return offset;
}

uint32_t agg_sequence__used(const struct agg_ring *rings, const struct agg_entity *entity)
{
    return ring_offset(rings, entity, entity->sequence_count);
}

static uint32_t ring_place(const struct agg_ring *ring, uint32_t index)
{
    uint32_t place = ring->first + index;

    return place >= ring->capacity ? place - ring->capacity : place;
}

static uint64_t *ring_record(struct agg_ring *rings, uint32_t offset, const struct agg_ring *ring, uint32_t index, int words)
{
    return (uint64_t *)(void *)((uint8_t *)rings + offset) + (size_t)ring_place(ring, index) * (size_t)words;
}

const uint64_t *agg_sequence__record(const struct agg_ring *rings, const struct agg_entity *entity, int sequence,
                                     uint32_t index)
{
    struct agg_ring *in = (struct agg_ring *)(uintptr_t)rings; /* only read */

    return ring_record(in, ring_offset(rings, entity, sequence), &rings[sequence], index,
                       entity->sequences[sequence]->order_words);
}

/* Twice the room for a full ring, up to the limit: what lies behind moves, and so do the records from the oldest to the ring's end. */
static bool ring_grow(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_feature *feature)
{
    struct agg_ring *rings = blob->memory;
    uint32_t used = agg_sequence__used(rings, entity);
    uint32_t old = rings[feature->sequence].capacity;
    uint32_t capacity = old < 4 ? 4 : old * 2;
    uint32_t bytes = record_bytes(feature);
    uint8_t *end, *wrapped;
    struct agg_ring *ring;

    if (capacity > feature->limit)
        capacity = feature->limit;
    if (!agg_blob__grow(blob, (uint64_t)used + (uint64_t)(capacity - old) * bytes))
        return false;
    rings = blob->memory;
    ring = &rings[feature->sequence];
    end = (uint8_t *)rings + ring_offset(rings, entity, feature->sequence) + (size_t)old * bytes;
    wrapped = end - (size_t)(old - ring->first) * bytes; /* from the oldest record to the end of the ring */
    memmove(end + (size_t)(capacity - old) * bytes, end, used - (size_t)(end - (uint8_t *)rings));
    if (ring->first > 0) {
        memmove(wrapped + (size_t)(capacity - old) * bytes, wrapped, (size_t)(end - wrapped));
        ring->first += capacity - old;
    }
    ring->capacity = capacity;
    return true;
}

static void drop_oldest(struct agg_ring *ring)
{
    ring->first = ring_place(ring, 1);
    ring->count--;
}

bool agg_sequence__add(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_feature *feature,
                       const uint64_t *order)
{
    struct agg_ring *rings = blob->memory;
    struct agg_ring *ring = &rings[feature->sequence];
    int words = feature->order_words;
    uint32_t at = ring->count;
    uint32_t offset = ring_offset(rings, entity, feature->sequence); /* what is before it does not grow here */

    if (at >= feature->limit) {
        if (agg_order__compare(order, ring_record(rings, offset, ring, 0, words), words) <= 0)
            return true; /* `limit` greater ones are there */
        drop_oldest(ring);
        at--;
    }
    if (at == ring->capacity && !ring_grow(blob, entity, feature))
        return false;
    rings = blob->memory;
    ring = &rings[feature->sequence];
    while (at > 0) {
        const uint64_t *before = ring_record(rings, offset, ring, at - 1, words);

        if (agg_order__compare(before, order, words) <= 0)
            break;
        memcpy(ring_record(rings, offset, ring, at, words), before, record_bytes(feature));
        at--;
    }
    memcpy(ring_record(rings, offset, ring, at, words), order, record_bytes(feature));
    ring->count++;
    return true;
}

void agg_sequence__prefetch(const struct agg_ring *rings, const struct agg_entity *entity)
{
    for (int i = 0; i < entity->sequence_count && rings; i++) {
        const uint64_t *last = agg_sequence__record(rings, entity, i, rings[i].count > 0 ? rings[i].count - 1 : 0);

        __builtin_prefetch(last, 1);
        __builtin_prefetch(last + entity->sequences[i]->order_words, 1);
    }
}

bool agg_sequence__prune(struct agg_blob *blob, const struct agg_entity *entity, int64_t horizon_ms)
{
    struct agg_ring *rings = blob->memory;
    bool is_any = false;

    for (int i = 0; i < entity->sequence_count; i++) {
        while (rings[i].count > 0 &&
               agg_entity__is_expired(entity, (int64_t)agg_sequence__record(rings, entity, i, 0)[0], horizon_ms))
            drop_oldest(&rings[i]);
        is_any = is_any || rings[i].count > 0;
    }
    return is_any;
}
