/* A part of cells: lengths in front, cells behind, each a multiple of 8 bytes. */
#include "cells.h"
#include "type.h"

#include <freshet/text.h>

static const uint64_t seeds[2] = {UINT64_C(0x46726573686574), UINT64_C(0x6469676573740a)};

static uint32_t head_bytes(int count)
{
    return ((uint32_t)count * (uint32_t)sizeof(uint32_t) + 7) & ~UINT32_C(7);
}

static uint32_t offset_of(const uint32_t *lengths, int count, int cell)
{
    uint32_t offset = head_bytes(count);

    for (int i = 0; i < cell; i++)
        offset += lengths[i];
    return offset;
}

void *agg_cell__memory(const struct agg_cell *cell, uint32_t *bytes)
{
    const uint32_t *lengths = cell->blob->memory;
    int count = cell->entity->cell_count[cell->feature->type->cells->part];

    *bytes = lengths[cell->feature->cell];
    return *bytes > 0 ? (uint8_t *)cell->blob->memory + offset_of(lengths, count, cell->feature->cell) : NULL;
}

bool agg_cell__resize(struct agg_cell *cell, uint32_t bytes)
{
    int count = cell->entity->cell_count[cell->feature->type->cells->part];
    uint32_t *lengths = cell->blob->memory;
    uint32_t used = offset_of(lengths, count, count);
    uint32_t old = lengths[cell->feature->cell], at = offset_of(lengths, count, cell->feature->cell);
    uint32_t now = (bytes + 7) & ~UINT32_C(7);
    uint8_t *memory;

    if (now > old && !agg_blob__grow(cell->blob, (uint64_t)used + now - old))
        return false;
    memory = cell->blob->memory;
    lengths = cell->blob->memory;
    memmove(memory + at + now, memory + at + old, used - at - old);
    if (now > old)
        memset(memory + at + old, 0, now - old);
    lengths[cell->feature->cell] = now;
    return true;
}

struct fr_slice agg_cells__read(const void *part, const struct agg_entity *entity, const struct agg_feature *feature)
{
    const uint32_t *lengths = part;
    int count = entity->cell_count[feature->type->cells->part];

    if (!part || lengths[feature->cell] == 0)
        return fr_slice(NULL, 0);
    return fr_slice((const uint8_t *)part + offset_of(lengths, count, feature->cell), lengths[feature->cell]);
}

bool agg_cells__open(struct agg_blob *blob, const struct agg_entity *entity, enum store_part part)
{
    return agg_blob__open(blob, head_bytes(entity->cell_count[part]));
}

bool agg_cells__add(struct agg_blob *blob, const struct agg_entity *entity, enum store_part part, const struct agg_input *input,
                    uint64_t *too_late)
{
    for (int i = 0; i < entity->cell_count[part]; i++) {
        struct agg_cell cell = {.blob = blob, .entity = entity, .feature = entity->cells[part][i]};
        enum agg_added added;

        if (!cell.feature->type->cells->add || !agg_feature__takes(cell.feature, input->event))
            continue;
        if (cell.feature->type->cells->wants &&
            !cell.feature->type->cells->wants(agg_cells__read(blob->memory, entity, cell.feature), input))
            continue;
        if (!agg_cells__open(blob, entity, part))
            return false;
        added = cell.feature->type->cells->add(&cell, input);
        if (added == AGG_NO_MEMORY)
            return false;
        *too_late += added == AGG_TOO_LATE;
    }
    return true;
}

bool agg_cells__take(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_brought *brought,
                     const struct agg_moment *horizon, uint64_t *too_late)
{
    struct agg_cell cell = {.blob = blob, .entity = entity, .feature = brought->feature};
    const struct agg_cell_type *type = brought->feature->type->cells;
    enum agg_added added;

    if (!agg_cells__open(blob, entity, type->part))
        return false;
    added = type->take(&cell, brought, horizon);
    *too_late += added == AGG_TOO_LATE;
    return added != AGG_NO_MEMORY;
}

uint32_t agg_cells__used(const void *memory, const struct agg_entity *entity, enum store_part part)
{
    return offset_of(memory, entity->cell_count[part], entity->cell_count[part]);
}

uint32_t agg_cells__prune(struct agg_blob *blob, const struct agg_entity *entity, enum store_part part,
                          const struct agg_moment *horizon)
{
    uint32_t used;

    for (int i = 0; i < entity->cell_count[part]; i++) {
        struct agg_cell cell = {.blob = blob, .entity = entity, .feature = entity->cells[part][i]};

        if (((const uint32_t *)blob->memory)[i] > 0)
            cell.feature->type->cells->prune(&cell, horizon);
    }
    used = agg_cells__used(blob->memory, entity, part);
    return used > head_bytes(entity->cell_count[part]) ? used : 0;
}

/* ---- disk ---- */

void agg_cells__encode(const struct agg_entity *entity, enum store_part part, const void *memory, struct fr_buffer *disk)
{
    struct fr_buffer cell, cells;
    uint64_t count = 0;

    fr_buffer_init(&cell);
    fr_buffer_init(&cells);
    for (int i = 0; i < entity->cell_count[part]; i++) {
        const struct agg_feature *feature = entity->cells[part][i];
        struct fr_slice bytes = agg_cells__read(memory, entity, feature);

        fr_buffer_clear(&cell);
        if (bytes.length > 0)
            feature->type->cells->encode(feature, bytes, &cell);
        disk->is_failed = disk->is_failed || cell.is_failed;
        if (cell.length == 0)
            continue;
        count++;
        fr_buffer_append_varint(&cells, feature->slot);
        fr_buffer_append_varint(&cells, cell.length);
        fr_buffer_append(&cells, cell.bytes, cell.length);
    }
    if (count > 0) {
        fr_buffer_append_varint(disk, count);
        fr_buffer_append(disk, cells.bytes, cells.length);
    }
    disk->is_failed = disk->is_failed || cells.is_failed;
    fr_buffer_fini(&cell);
    fr_buffer_fini(&cells);
}

static void decode_cell(struct fr_reader *reader, const struct agg_catalogue *catalogue, const struct agg_entity *entity,
                        enum store_part part, struct agg_blob *blob)
{
    uint64_t slot = fr_reader_varint(reader);
    struct fr_slice bytes = fr_reader_bytes(reader, fr_reader_varint(reader));
    struct fr_reader own = fr_reader(bytes);
    struct agg_cell cell = {
        .blob = blob, .entity = entity, .feature = slot < catalogue->slot_count ? catalogue->slots[slot] : NULL};
    uint32_t there;

    if (reader->is_failed || !cell.feature)
        return; /* nobody's any more */
    if (cell.feature->entity != entity || !cell.feature->type->cells || cell.feature->type->cells->part != part ||
        agg_cell__memory(&cell, &there)) {
        reader->is_failed = true;
        return;
    }
    cell.feature->type->cells->decode(&cell, &own);
    reader->is_failed = own.is_failed || own.at != own.end;
}

void agg_cells__decode(struct fr_reader *reader, const struct agg_catalogue *catalogue, const struct agg_entity *entity,
                       enum store_part part, struct agg_blob *blob)
{
    uint64_t count = fr_reader_varint(reader);

    if (!agg_cells__open(blob, entity, part) || count == 0)
        reader->is_failed = true;
    for (uint64_t i = 0; i < count && !reader->is_failed; i++)
        decode_cell(reader, catalogue, entity, part, blob);
}

/* ---- facts ---- */

void agg_facts__add(struct agg_facts *facts, const void *bytes, size_t length)
{
    facts->hash[0] += fr_text_hash(bytes, length, seeds[0]);
    facts->hash[1] += fr_text_hash(bytes, length, seeds[1]);
    facts->count++;
}

void agg_facts__add_cell(struct agg_facts *facts, const struct agg_feature *feature, const uint64_t *words, size_t count)
{
    uint64_t fact[4] = {AGG_FACT_CELL, feature->definition_hash, fr_text_hash(words, count * sizeof *words, 0),
                        fr_text_hash(words, count * sizeof *words, 1)};

    agg_facts__add(facts, fact, sizeof fact);
}

void agg_cells__digest(const void *memory, const struct agg_entity *entity, enum store_part part,
                       const struct agg_moment *moment, struct agg_facts *facts, struct agg_facts *joined)
{
    for (int i = 0; i < entity->cell_count[part]; i++) {
        const struct agg_feature *feature = entity->cells[part][i];
        struct fr_slice bytes = agg_cells__read(memory, entity, feature);

        if (bytes.length > 0)
            feature->type->cells->digest(feature, bytes, moment, feature->is_joined ? joined : facts);
    }
}
