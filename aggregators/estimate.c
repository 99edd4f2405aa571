/*
 * What entities cost, for `freshet check`: one full entity of each kind, that is, one with an event in every pane of every window, all
 * attributes and ids, and sequences at their limit. Most entities stay far below; the busiest come close.
 */
#include "tables.h"
#include "type.h"

#include <freshet/idset.h>

#include <inttypes.h>
#include <math.h>

enum {
    ENTRY_BYTES = 160, /* of the store's table, for each entity: slot, entry, heads of blocks */
    VARINT_BYTES = 2,
    COUNT_BYTES = 1,
    SUM_BYTES = 5, /* micro-units of a few dozens to thousands */
    CELL_EVENT_BYTES = 16,
    HEAD_DISK_BYTES = 16, /* of each part: RocksDB's, format, latest time */
    SOURCE_DISK_BYTES = 32,
    KEY_DISK_BYTES = 4 + 2 * 8 + 16, /* of a table's row, with RocksDB's and the format */
};

static const double GROWTH = 1.25; /* a part that grows gets room for more */

/* Rows that the feature can fill at once: panes of a level until the next coarser level takes over. */
static int64_t rows_most(const int64_t panes_most[AGG_LEVELS])
{
    int64_t rows = 0;

    for (int level = 0; level < AGG_LEVELS; level++)
        rows += panes_most[level] > 0 ? panes_most[level] + 1 : 0;
    return rows;
}

static void estimate_feature(const struct agg_feature *feature, struct fr_buffer *out)
{
    const struct agg_entity *entity = feature->entity;
    int64_t memory, disk;

    if (feature->aggregate == AGG_LAST) {
        memory = (int64_t)feature->limit * feature->order_words * (int64_t)sizeof(uint64_t);
        disk = (int64_t)feature->limit * (9 + 4 * (feature->order_words - 1));
    } else if (feature->type->cells) {
        memory = feature->type->cells->bytes_most(feature);
        disk = memory / 2;
    } else {
        int64_t bytes = feature->measure == AGG_MEASURE_COUNT ? (int64_t)sizeof(int32_t) : (int64_t)sizeof(int64_t);

        memory = (rows_most(entity->panes_most) + feature->window_count) * bytes;
        disk = rows_most(feature->panes_most) * (feature->measure == AGG_MEASURE_COUNT ? VARINT_BYTES : 2 * VARINT_BYTES);
    }
    fr_buffer_append_format(out, "  %-28s %-6s %10" PRId64 " B in memory, about %" PRId64 " B on disk\n", feature->name,
                            feature->type->name, memory, disk);
}

/* ---- One entity at a rate of events ---- */

/* Expected rows: panes of a level between the span of the next finer one and its own, as far as an event falls into them. */
static double expect_rows(const int64_t panes_most[AGG_LEVELS], double events_per_s)
{
    double rows = 0, finer_ms = 0;

    for (int level = 0; level < AGG_LEVELS; level++) {
        double pane_ms = (double)agg__level_ms[level], span_ms = (double)panes_most[level] * pane_ms;

        if (span_ms <= finer_ms)
            continue;
        rows += ((span_ms - finer_ms) / pane_ms + 1) * -expm1(-events_per_s * pane_ms / 1000);
        finer_ms = span_ms;
    }
    return rows;
}

static double expect_count(double most, double events_per_s, int64_t span_ms)
{
    double expected = span_ms == 0 && events_per_s > 0 ? most : events_per_s * (double)span_ms / 1000;

    return expected < most ? expected : most;
}

/* As if an event touched every counter of the entity: the rows of a busy one say something of each. */
static double row_disk_bytes(const struct agg_entity *entity)
{
    double bytes = VARINT_BYTES + (entity->counter_count + 7) / 8;

    for (int i = 0; i < entity->counter_count; i++)
        bytes += entity->counters[i]->measure == AGG_MEASURE_COUNT ? COUNT_BYTES : SUM_BYTES;
    return bytes;
}

/* A sketch grows by so much an event until it is full; what an event is worth to it is not known here. */
static double expect_cells(const struct agg_entity *entity, int part, double events_per_s)
{
    double bytes = 0;

    for (int i = 0; i < entity->cell_count[part]; i++) {
        const struct agg_feature *feature = entity->cells[part][i];

        bytes += expect_count((double)(sizeof(uint32_t)) + (double)feature->type->cells->bytes_most(feature),
                              events_per_s * CELL_EVENT_BYTES, entity->retention_ms);
    }
    return bytes;
}

static double key_bytes(const struct agg_entity *entity)
{
    return 4 + 8.0 * entity->key_count;
}

struct agg_bytes agg_catalogue_bytes(const struct agg_catalogue *catalogue, int entity_index, double events_per_s)
{
    const struct agg_entity *entity = catalogue->entities[entity_index];
    double rows = entity->counter_count > 0 ? expect_rows(entity->panes_most, events_per_s) : 0;
    double ids = entity->has_dedupe ? expect_count(catalogue->dedupe.ids, events_per_s, catalogue->dedupe.horizon_ms) : 0;
    struct agg_bytes bytes = {.memory = ENTRY_BYTES + (double)sizeof(struct agg_rows) + ids * 16 + entity->totals_bytes +
                                        rows * entity->narrow_bytes * GROWTH,
                              .disk = key_bytes(entity) + HEAD_DISK_BYTES + entity->counter_count + ids * 10 +
                                      rows * row_disk_bytes(entity)};
    double records = 0;

    if (entity->remembered != 0) { /* most often one event says all */
        bytes.memory += (double)(AGG_SOURCE_WORDS * sizeof(uint64_t));
        bytes.disk += SOURCE_DISK_BYTES;
    }
    for (int i = 0; i < entity->sequence_count; i++) {
        const struct agg_feature *feature = entity->sequences[i];
        double count = expect_count(feature->limit, events_per_s, entity->retention_ms);

        records += count;
        bytes.memory += (double)sizeof(struct agg_ring) + count * feature->order_words * (double)sizeof(uint64_t) * GROWTH;
        bytes.disk += count * (9 + 4 * (feature->order_words - 1));
    }
    for (int part = STORE_PART_SKETCHES; part < STORE_PARTS; part++) {
        double cells = expect_cells(entity, part, events_per_s);

        bytes.memory += cells;
        bytes.disk += cells > 0 ? key_bytes(entity) + HEAD_DISK_BYTES + cells / 2 : 0;
    }
    if (records > 0)
        bytes.disk += key_bytes(entity) + HEAD_DISK_BYTES;
    return bytes;
}

int agg_catalogue_entity_count(const struct agg_catalogue *catalogue)
{
    return catalogue->entity_count;
}

const char *agg_catalogue_entity_name(const struct agg_catalogue *catalogue, int entity_index)
{
    return catalogue->entities[entity_index]->name;
}

static int64_t head_bytes(const struct agg_catalogue *catalogue, const struct agg_entity *entity)
{
    int64_t bytes = ENTRY_BYTES + (int64_t)sizeof(struct agg_rows) + entity->totals_bytes;

    bytes += (int64_t)entity->sequence_count * (int64_t)sizeof(struct agg_ring);
    if (entity->remembered != 0)
        bytes += (int64_t)(AGG_SOURCE_WORDS * sizeof(uint64_t)); /* most often one event says all */
    if (entity->has_dedupe)
        bytes += (int64_t)catalogue->dedupe.ids * 2 * (int64_t)sizeof(uint64_t);
    return bytes;
}

static int64_t cells_most(const struct agg_entity *entity, int part)
{
    int64_t bytes = 0;

    for (int i = 0; i < entity->cell_count[part]; i++)
        bytes += (int64_t)sizeof(uint32_t) + entity->cells[part][i]->type->cells->bytes_most(entity->cells[part][i]);
    return bytes;
}

/* A row without a list, and one whose lists are full. */
static void estimate_tables(const struct agg_catalogue *catalogue, struct fr_buffer *out)
{
    for (int i = 0; i < catalogue->table_count; i++) {
        const struct agg_table *table = &catalogue->tables[i];
        int64_t least = (1 + table->layout.field_count) * (int64_t)sizeof(uint64_t), most = least;

        for (int f = 0; f < table->layout.field_count; f++)
            most += table->layout.fields[f].type == PROTO_TABLE_IDS ? PROTO_TABLE_IDS_MAX * (int64_t)sizeof(uint64_t) : 0;
        fr_buffer_append_format(out,
                                "table %s: %" PRId64 " B in memory a row, %" PRId64 " B when its lists are full; %" PRId64
                                " to %" PRId64 " B on disk\n",
                                table->name, ENTRY_BYTES + least, ENTRY_BYTES + most, KEY_DISK_BYTES + least,
                                KEY_DISK_BYTES + most);
        if (table->is_blocking)
            fr_buffer_append_format(out, "table %s: at most %d ids blocked in a run, %zu B of memory for so many\n",
                                    table->name, AGG_TABLE_BLOCKED_MOST, fr_idset_bytes(AGG_TABLE_BLOCKED_MOST));
    }
}

void agg_catalogue_estimate(const struct agg_catalogue *catalogue, struct fr_buffer *out)
{
    estimate_tables(catalogue, out);
    for (int i = 0; i < catalogue->entity_count; i++) {
        const struct agg_entity *entity = catalogue->entities[i];
        int64_t rows = rows_most(entity->panes_most);
        int64_t bytes = head_bytes(catalogue, entity);

        bytes += entity->counter_count > 0 ? rows * entity->narrow_bytes : 0;
        for (int s = 0; s < entity->sequence_count; s++)
            bytes += (int64_t)entity->sequences[s]->limit * entity->sequences[s]->order_words * (int64_t)sizeof(uint64_t);
        for (int part = STORE_PART_SKETCHES; part < STORE_PARTS; part++)
            bytes += cells_most(entity, part);
        fr_buffer_append_format(out,
                                "%s: %" PRId64 " B in memory at least, %" PRId64 " B when every pane and record is filled\n",
                                entity->name, head_bytes(catalogue, entity), bytes);
        for (int f = 0; f < entity->counter_count; f++)
            estimate_feature(entity->counters[f], out);
        for (int f = 0; f < entity->sequence_count; f++)
            estimate_feature(entity->sequences[f], out);
        for (int part = STORE_PART_SKETCHES; part < STORE_PARTS; part++) {
            for (int f = 0; f < entity->cell_count[part]; f++)
                estimate_feature(entity->cells[part][f], out);
        }
    }
}
