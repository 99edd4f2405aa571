/*
 * Merging: each piece of an entity's state is a function of the set of its events, and here that of two sets becomes that of both. It
 * goes by the means with which events are applied: a row's integers are put, an attribute is taken by its event's order, a sequence's
 * records are added, and cells have a merge of their own (cells.h).
 */
#include "merge.h"
#include "cells.h"
#include "type.h"

void agg_merge__presence(struct agg_rows *rows, const struct agg_rows *from)
{
    int64_t first_ms = agg_rows__first_ms(from);
    bool is_first_known = first_ms > 0 && (rows->latest_ms == 0 || agg_rows__first_ms(rows) > 0);

    if (from->latest_ms == 0)
        return;
    if (first_ms > 0)
        agg_rows__see(rows, first_ms);
    agg_rows__see(rows, from->latest_ms);
    if (!is_first_known)
        rows->first_back_ms = UINT32_MAX; /* of one of them it was weeks before its latest */
}

bool agg_merge__attributes(struct agg_blob *into, const struct agg_entity *entity, const struct agg_rows *from)
{
    for (int i = 0; i < AGG_ATTRIBUTES; i++) {
        const uint64_t *source = agg_attributes__source(from, i);

        if (source && !agg_attributes__take(into, entity, source))
            return false;
    }
    return true;
}

/* Number by number. Any moment of the row's pane is in the same pane of every level that may take it. */
static bool merge_numbers(struct agg_blob *into, const struct agg_entity *entity, const struct agg_rows *from, int level,
                          const struct agg_row *row, const struct agg_moment *at)
{
    for (int i = 0; i < entity->counter_count; i++) {
        const struct agg_feature *feature = entity->counters[i];
        __int128 amount = agg_rows__measure(from, row, feature);
        int own;

        if (amount == 0)
            continue;
        switch (agg_rows__put(into, entity, feature, level, row->pane, amount, &own)) {
        case AGG_NO_MEMORY:
            return false;
        case AGG_ADDED:
            agg_totals__add(into->memory, feature, own, at, amount);
            break;
        case AGG_TOO_LATE:
            break;
        }
    }
    return true;
}

static bool merge_level(struct agg_blob *into, const struct agg_entity *entity, const struct agg_rows *from, int level)
{
    for (uint32_t i = 0; i < from->row_count[level]; i++) {
        const struct agg_row *row = agg_rows__row(from, entity, level, i);
        struct agg_moment at = agg_window__moment(row->pane * agg__level_ms[level]);
        bool is_put = false;

        if (entity->is_even && !from->is_wide && !agg_even__put(into, entity, level, row, &at, &is_put))
            return false;
        if (!is_put && !merge_numbers(into, entity, from, level, row, &at))
            return false;
    }
    return true;
}

/* The head first: what is put behind it goes into the totals of the windows that it then is in. */
static bool merge_rows(struct agg_blob *into, const struct agg_entity *entity, const struct agg_rows *from)
{
    struct agg_rows *rows = into->memory;
    struct agg_moment latest;

    agg_merge__presence(rows, from);
    latest = agg_window__moment(rows->latest_ms);
    agg_totals__advance(rows, entity, &latest);
    for (int level = 0; level < AGG_LEVELS; level++)
        if (!merge_level(into, entity, from, level))
            return false;
    return entity->remembered == 0 || agg_merge__attributes(into, entity, from);
}

static bool merge_sequences(struct agg_blob *into, const struct agg_entity *entity, const struct agg_ring *from)
{
    for (int i = 0; i < entity->sequence_count; i++)
        for (uint32_t record = 0; record < from[i].count; record++)
            if (!agg_sequence__add(into, entity, entity->sequences[i], agg_sequence__record(from, entity, i, record)))
                return false;
    return true;
}

static bool merge_cells(struct agg_blob *into, const struct agg_entity *entity, enum store_part part, const void *from,
                        const struct agg_moment *horizon)
{
    for (int i = 0; i < entity->cell_count[part]; i++) {
        struct agg_cell cell = {.blob = into, .entity = entity, .feature = entity->cells[part][i], .horizon = horizon};
        struct fr_slice bytes = agg_cells__read(from, entity, cell.feature);

        if (bytes.length > 0 && !cell.feature->type->cells->merge(&cell, bytes))
            return false;
    }
    return true;
}

bool agg_merge__part(struct agg_blob *into, const struct agg_entity *entity, enum store_part part, const void *memory,
                     const struct agg_moment *horizon)
{
    switch (part) {
    case STORE_PART_ROWS:
        return agg_rows__open(into, entity) && merge_rows(into, entity, memory);
    case STORE_PART_SEQUENCES:
        return agg_blob__open(into, (uint32_t)entity->sequence_count * (uint32_t)sizeof(struct agg_ring)) &&
               merge_sequences(into, entity, memory);
    default:
        return agg_cells__open(into, entity, part) && merge_cells(into, entity, part, memory, horizon);
    }
}
