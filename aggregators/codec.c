/*
 * The form on disk of an entity's parts. It names measures and sequences by slot, never by place, so that a configuration that
 * changed finds what it still knows and drops the rest on reading. Varints; a first byte tells the format.
 *
 * Rows: format | latest_ms | in FORMAT_FIRST: by how much the first event is older | sources: count, for each the attributes it
 * gave (bits) and its order | kept ids: count, for each
 * ts_ms (less the one before) and id | slots: count, numbers | levels: count, for each its number, rows, for each the pane
 * (less the one before), a bit for each slot, and the integers whose bit is set.
 * Sequences: format | rings: count, for each slot, words, records, for each the order (ts_ms less the one before).
 * Cells (sketches, lists): format | cells: count, for each slot, length and bytes of its aggregate's own.
 */
#include "cells.h"
#include "tables.h"

#include <stdlib.h>

enum {
    FORMAT = 1,
    FORMAT_FIRST = 2 /* rows that tell the first event */,
    KEPT_MAX = 1 << 20,
    SLOTS_MAX = AGG_STATES_MAX,
    MASK_BYTES_MAX = AGG_STATES_MAX / 8
};

/* ---- integers of 128 bits ---- */

static void append_wide(struct fr_buffer *disk, __int128 value)
{
    unsigned __int128 bits = ((unsigned __int128)value << 1) ^ (unsigned __int128)(value >> 127);

    while (bits >= 0x80) {
        fr_buffer_append_byte(disk, (uint8_t)((uint8_t)bits | 0x80));
        bits >>= 7;
    }
    fr_buffer_append_byte(disk, (uint8_t)bits);
}

static __int128 read_wide(struct fr_reader *reader)
{
    unsigned __int128 bits = 0;

    for (int shift = 0; shift < 128; shift += 7) {
        struct fr_slice byte = fr_reader_bytes(reader, 1);
        uint8_t seven;

        if (reader->is_failed)
            return 0;
        seven = *(const uint8_t *)byte.bytes;
        if (shift == 126 && seven > 3)
            break;
        bits |= (unsigned __int128)(seven & 0x7f) << shift;
        if ((seven & 0x80) == 0)
            return (__int128)(bits >> 1) ^ -(__int128)(bits & 1);
    }
    reader->is_failed = true;
    return 0;
}

/* ---- rows, to disk ---- */

static void encode_sources(const struct agg_rows *rows, struct fr_buffer *disk)
{
    uint8_t gave[AGG_ATTRIBUTES] = {0};
    unsigned count = 0;

    for (int i = 0; i < AGG_ATTRIBUTES; i++) {
        if (rows->source_of[i] == 0)
            continue;
        count += gave[rows->source_of[i] - 1] == 0;
        gave[rows->source_of[i] - 1] |= (uint8_t)(1 << i);
    }
    fr_buffer_append_varint(disk, count);
    for (int i = 0; i < AGG_ATTRIBUTES; i++) { /* in the order of the first attribute given */
        int source = rows->source_of[i] - 1;

        if (source < 0 || gave[source] == 0)
            continue;
        fr_buffer_append_byte(disk, gave[source]);
        agg_order__encode(agg_attributes__source(rows, i), AGG_SOURCE_WORDS, 0, disk);
        gave[source] = 0;
    }
}

static void encode_kept(struct agg_rows *rows, struct fr_buffer *disk)
{
    const uint64_t *kept = agg_rows__kept(rows);
    uint64_t before = 0;

    fr_buffer_append_varint(disk, rows->kept_count);
    for (size_t i = 0; i < rows->kept_count; i++) {
        fr_buffer_append_varint(disk, kept[i * 2] - before);
        fr_buffer_append_fixed64(disk, kept[i * 2 + 1]);
        before = kept[i * 2];
    }
}

static void encode_row(const struct agg_entity *entity, const struct agg_rows *rows, const struct agg_row *row, uint32_t before,
                       struct fr_buffer *disk)
{
    size_t mask_bytes = (size_t)(entity->counter_count + 7) / 8;
    size_t mask_at;

    fr_buffer_append_varint(disk, row->pane - before);
    mask_at = disk->length;
    for (size_t i = 0; i < mask_bytes; i++)
        fr_buffer_append_byte(disk, 0);
    for (int i = 0; i < entity->counter_count && !disk->is_failed; i++) {
        __int128 value = agg_rows__measure(rows, row, entity->counters[i]);

        if (value == 0)
            continue;
        disk->bytes[mask_at + (size_t)i / 8] |= (uint8_t)(1 << i % 8);
        append_wide(disk, value);
    }
}

/* Sums may add up to nothing: such a row says no more than none. */
static uint32_t count_filled(const struct agg_entity *entity, struct agg_rows *rows, int level)
{
    uint32_t count = 0;

    for (uint32_t i = 0; i < rows->row_count[level]; i++)
        count += agg_rows__is_filled(rows, entity, agg_rows__row(rows, entity, level, i));
    return count;
}

static void encode_rows(const struct agg_entity *entity, struct agg_rows *rows, struct fr_buffer *disk)
{
    uint32_t filled[AGG_LEVELS];
    unsigned levels = 0;

    fr_buffer_append_varint(disk, (uint64_t)entity->counter_count);
    for (int i = 0; i < entity->counter_count; i++)
        fr_buffer_append_varint(disk, entity->counters[i]->slot);
    for (int level = 0; level < AGG_LEVELS; level++) {
        filled[level] = count_filled(entity, rows, level);
        levels += filled[level] > 0;
    }
    fr_buffer_append_varint(disk, levels);
    for (int level = 0; level < AGG_LEVELS; level++) {
        uint32_t before = 0;

        if (filled[level] == 0)
            continue;
        fr_buffer_append_varint(disk, (uint64_t)level);
        fr_buffer_append_varint(disk, filled[level]);
        for (uint32_t i = 0; i < rows->row_count[level]; i++) {
            const struct agg_row *row = agg_rows__row(rows, entity, level, i);

            if (!agg_rows__is_filled(rows, entity, row))
                continue;
            encode_row(entity, rows, row, before, disk);
            before = row->pane;
        }
    }
}

/* ---- rows, from disk ---- */

static void decode_sources(struct fr_reader *reader, const struct agg_entity *entity, struct agg_blob *blob)
{
    uint64_t count = fr_reader_varint(reader);
    uint8_t given = 0;

    if (count > AGG_ATTRIBUTES)
        reader->is_failed = true;
    for (uint64_t i = 0; i < count && !reader->is_failed; i++) {
        uint64_t order[AGG_SOURCE_WORDS];
        uint64_t gave = fr_reader_varint(reader);

        agg_order__decode(reader, order, AGG_SOURCE_WORDS, 0);
        if (gave == 0 || gave >> AGG_ATTRIBUTES != 0 || (gave & given) != 0)
            reader->is_failed = true;
        given |= (uint8_t)gave;
        if (!reader->is_failed && !agg_attributes__restore(blob, entity, (uint8_t)gave, order))
            reader->is_failed = true;
    }
}

static void decode_kept(struct fr_reader *reader, const struct agg_entity *entity, struct agg_blob *blob)
{
    uint64_t count = fr_reader_varint(reader);
    uint64_t before[2] = {0, 0};
    struct agg_rows *rows;

    if (count > KEPT_MAX || count > (uint64_t)(reader->end - reader->at) / 9)
        reader->is_failed = true;
    if (reader->is_failed || count == 0)
        return;
    if (!agg_rows__insert(blob, entity, agg_rows__used(blob->memory, entity), (uint32_t)count * 2 * sizeof(uint64_t))) {
        reader->is_failed = true;
        return;
    }
    rows = blob->memory;
    rows->kept_count = rows->kept_capacity = (uint32_t)count;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t *pair = agg_rows__kept(rows) + i * 2;

        pair[0] = before[0] + fr_reader_varint(reader);
        pair[1] = fr_reader_fixed64(reader);
        if (pair[0] < before[0] || pair[0] >= (uint64_t)PROTO_TS_MS_END || (i > 0 && agg_order__compare(before, pair, 2) > 0))
            reader->is_failed = true;
        memcpy(before, pair, sizeof before);
    }
}

/* What slots of a record's rows mean now; NULL: nobody's any more. */
static int decode_slots(struct fr_reader *reader, const struct agg_catalogue *catalogue, const struct agg_entity *entity,
                        const struct agg_feature **features)
{
    uint64_t count = fr_reader_varint(reader);

    if (count > SLOTS_MAX)
        reader->is_failed = true;
    for (uint64_t i = 0; i < count && !reader->is_failed; i++) {
        uint64_t slot = fr_reader_varint(reader);

        features[i] = slot < catalogue->slot_count ? catalogue->slots[slot] : NULL;
        if (features[i] && (features[i]->entity != entity || !features[i]->is_counter))
            reader->is_failed = true;
        for (uint64_t j = 0; j < i && features[i]; j++)
            reader->is_failed = reader->is_failed || features[j] == features[i];
    }
    return reader->is_failed ? 0 : (int)count;
}

static void decode_row(struct fr_reader *reader, const struct agg_entity *entity, struct agg_blob *blob, int level,
                       int64_t pane, const struct agg_feature *const *features, int count)
{
    struct fr_slice taken = fr_reader_bytes(reader, (size_t)(count + 7) / 8);
    uint8_t mask[MASK_BYTES_MAX] = {0};
    int own;

    if (reader->is_failed)
        return;
    memcpy(mask, taken.bytes, taken.length);
    for (int i = 0; i < (int)taken.length * 8 && !reader->is_failed; i++) {
        __int128 value;

        if ((mask[i / 8] >> i % 8 & 1) == 0)
            continue;
        value = read_wide(reader);
        if (i >= count || value == 0 || (features[i] && !agg_measure__is_sound(features[i], value)))
            reader->is_failed = true;
        else if (features[i] && agg_rows__put(blob, entity, features[i], level, pane, value, &own) == AGG_NO_MEMORY)
            reader->is_failed = true;
    }
}

static void decode_level(struct fr_reader *reader, const struct agg_entity *entity, struct agg_blob *blob, int level,
                         const struct agg_feature *const *features, int count)
{
    uint64_t rows = fr_reader_varint(reader);
    int64_t pane = -1;

    if (rows == 0 || rows > (uint64_t)(reader->end - reader->at))
        reader->is_failed = true;
    for (uint64_t i = 0; i < rows && !reader->is_failed; i++) {
        uint64_t more = fr_reader_varint(reader);

        if (more >= (uint64_t)PROTO_TS_MS_END || (i > 0 && more == 0)) {
            reader->is_failed = true;
            return;
        }
        pane = (i == 0 ? 0 : pane) + (int64_t)more;
        if (pane > PROTO_TS_MS_END / agg__level_ms[level])
            reader->is_failed = true;
        else
            decode_row(reader, entity, blob, level, pane, features, count);
    }
}

static void decode_rows(struct fr_reader *reader, int format, const struct agg_catalogue *catalogue,
                        const struct agg_entity *entity, struct agg_blob *blob)
{
    const struct agg_feature *features[SLOTS_MAX];
    struct agg_rows *rows = blob->memory;
    uint64_t latest_ms = fr_reader_varint(reader);
    uint64_t back_ms = format == FORMAT_FIRST ? fr_reader_varint(reader) : UINT32_MAX;
    uint64_t levels;
    int64_t before = -1;
    int count;

    if (latest_ms >= (uint64_t)PROTO_TS_MS_END || back_ms > UINT32_MAX || (back_ms < UINT32_MAX && back_ms > latest_ms))
        reader->is_failed = true;
    rows->latest_ms = (int64_t)latest_ms;
    rows->first_back_ms = (uint32_t)back_ms;
    decode_sources(reader, entity, blob);
    decode_kept(reader, entity, blob);
    count = decode_slots(reader, catalogue, entity, features);
    levels = fr_reader_varint(reader);
    if (levels > AGG_LEVELS)
        reader->is_failed = true;
    for (uint64_t i = 0; i < levels && !reader->is_failed; i++) {
        uint64_t level = fr_reader_varint(reader);

        if (level >= AGG_LEVELS || (int64_t)level <= before)
            reader->is_failed = true;
        else
            decode_level(reader, entity, blob, (int)level, features, count);
        before = (int64_t)level;
    }
}

/* ---- sequences ---- */

static void encode_sequences(const struct agg_entity *entity, const struct agg_ring *rings, struct fr_buffer *disk)
{
    unsigned count = 0;

    for (int i = 0; i < entity->sequence_count; i++)
        count += rings[i].count > 0;
    if (count == 0)
        return;
    fr_buffer_append_byte(disk, FORMAT);
    fr_buffer_append_varint(disk, count);
    for (int i = 0; i < entity->sequence_count; i++) {
        const struct agg_feature *feature = entity->sequences[i];
        uint64_t before = 0;

        if (rings[i].count == 0)
            continue;
        fr_buffer_append_varint(disk, feature->slot);
        fr_buffer_append_varint(disk, (uint64_t)feature->order_words);
        fr_buffer_append_varint(disk, rings[i].count);
        for (uint32_t record = 0; record < rings[i].count; record++) {
            const uint64_t *order = agg_sequence__record(rings, entity, i, record);

            agg_order__encode(order, feature->order_words, before, disk);
            before = order[0];
        }
    }
}

static void decode_ring(struct fr_reader *reader, const struct agg_catalogue *catalogue, const struct agg_entity *entity,
                        struct agg_blob *blob)
{
    uint64_t slot = fr_reader_varint(reader), words = fr_reader_varint(reader), count = fr_reader_varint(reader);
    const struct agg_feature *feature = slot < catalogue->slot_count ? catalogue->slots[slot] : NULL;
    uint64_t before[AGG_ORDER_WORDS] = {0};

    if (words < 2 || words > AGG_ORDER_WORDS || count == 0)
        reader->is_failed = true;
    if (feature && (feature->entity != entity || feature->aggregate != AGG_LAST || (uint64_t)feature->order_words != words))
        reader->is_failed = true;
    for (uint64_t i = 0; i < count && !reader->is_failed; i++) {
        uint64_t order[AGG_ORDER_WORDS];

        agg_order__decode(reader, order, (int)words, before[0]);
        if (agg_order__compare(before, order, (int)words) > 0)
            reader->is_failed = true;
        if (!reader->is_failed && feature && !agg_sequence__add(blob, entity, feature, order))
            reader->is_failed = true;
        memcpy(before, order, sizeof(uint64_t) * words);
    }
}

static void decode_sequences(struct fr_reader *reader, const struct agg_catalogue *catalogue, const struct agg_entity *entity,
                             struct agg_blob *blob)
{
    uint64_t count = fr_reader_varint(reader);

    for (uint64_t i = 0; i < count && !reader->is_failed; i++)
        decode_ring(reader, catalogue, entity, blob);
}

static void encode_cells(const struct agg_entity *entity, enum store_part part, const void *memory, struct fr_buffer *disk)
{
    size_t start = disk->length;

    fr_buffer_append_byte(disk, FORMAT);
    agg_cells__encode(entity, part, memory, disk);
    if (disk->length == start + 1)
        disk->length = start; /* all of them are empty */
}

/* ---- what the store calls ---- */

void agg_codec__encode(void *user, const struct store_key *key, enum store_part part, const void *memory, uint32_t bytes,
                       struct fr_buffer *disk)
{
    const struct agg_catalogue *catalogue = user;
    const struct agg_entity *entity = catalogue->kinds[key->kind];
    struct agg_rows *rows = (struct agg_rows *)(uintptr_t)memory; /* only read */

    if (key->kind == AGG_KIND_TABLES)
        agg_table__encode(memory, bytes, disk);
    if (bytes == 0 || !entity)
        return;
    if (part == STORE_PART_SEQUENCES) {
        encode_sequences(entity, memory, disk);
        return;
    }
    if (part != STORE_PART_ROWS) {
        encode_cells(entity, part, memory, disk);
        return;
    }
    fr_buffer_append_byte(disk, entity->has_first ? FORMAT_FIRST : FORMAT);
    fr_buffer_append_varint(disk, (uint64_t)rows->latest_ms);
    if (entity->has_first)
        fr_buffer_append_varint(disk, rows->first_back_ms);
    encode_sources(rows, disk);
    encode_kept(rows, disk);
    encode_rows(entity, rows, disk);
}

/* Into `blob`; the bytes that are used of it. */
static uint32_t decode_part(struct fr_reader *reader, int format, const struct agg_catalogue *catalogue,
                            const struct agg_entity *entity, enum store_part part, struct agg_blob *blob)
{
    switch (part) {
    case STORE_PART_ROWS:
        if (!agg_rows__open_scratch(blob, entity))
            reader->is_failed = true;
        else
            decode_rows(reader, format, catalogue, entity, blob);
        return reader->is_failed ? 0 : agg_rows__used(blob->memory, entity);
    case STORE_PART_SEQUENCES:
        if (!agg_blob__open(blob, (uint32_t)entity->sequence_count * (uint32_t)sizeof(struct agg_ring)))
            reader->is_failed = true;
        else
            decode_sequences(reader, catalogue, entity, blob);
        return reader->is_failed ? 0 : agg_sequence__used(blob->memory, entity);
    default:
        agg_cells__decode(reader, catalogue, entity, part, blob);
        return reader->is_failed ? 0 : agg_cells__used(blob->memory, entity, part);
    }
}

bool agg_codec__decode_delta(const struct agg_catalogue *catalogue, const struct store_key *key, enum store_part part,
                             struct fr_slice disk, struct fr_buffer *memory)
{
    const struct agg_entity *entity = catalogue->kinds[key->kind];
    struct fr_reader reader = fr_reader(disk);
    struct fr_slice first = fr_reader_bytes(&reader, 1);
    int format = reader.is_failed ? 0 : *(const uint8_t *)first.bytes;
    struct agg_blob blob = agg_blob__of_buffer(memory);

    if (part >= STORE_PARTS || (format != FORMAT && !(format == FORMAT_FIRST && part == STORE_PART_ROWS)))
        return false;
    if (entity) /* else: a kind that the configuration no longer has */
        memory->length = decode_part(&reader, format, catalogue, entity, part, &blob);
    return !entity || (!reader.is_failed && reader.at == reader.end && !memory->is_failed);
}

bool agg_codec__decode(void *user, const struct store_key *key, enum store_part part, struct fr_slice disk,
                       struct fr_buffer *memory)
{
    const struct agg_catalogue *catalogue = user;
    struct fr_buffer scratch; /* of our own: `memory` need not begin aligned */
    bool ok;

    if (key->kind == AGG_KIND_TABLES)
        return part == STORE_PART_ROWS && agg_table__decode(catalogue, key, disk, memory);
    fr_buffer_init(&scratch);
    ok = agg_codec__decode_delta(catalogue, key, part, disk, &scratch);
    if (ok && part == STORE_PART_ROWS && scratch.length > 0)
        agg_totals__rebuild((struct agg_rows *)(void *)scratch.bytes, catalogue->kinds[key->kind]);
    if (ok)
        fr_buffer_append(memory, scratch.bytes, scratch.length);
    memory->is_failed = memory->is_failed || scratch.is_failed; /* out of memory is not the bytes' fault */
    fr_buffer_fini(&scratch);
    return ok && !memory->is_failed;
}
