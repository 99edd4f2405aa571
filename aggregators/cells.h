/*
 * Cells: what a feature keeps of one entity beside windowed rows and sequences. The parts STORE_PART_SKETCHES and STORE_PART_LISTS
 * of an entity hold a cell for each feature of theirs: bytes whose form the aggregate alone knows, changed in place while the
 * entity is locked. Empty cells take no room, and a part of empty cells is no part.
 *
 * In memory: a length for each cell, then the cells in the catalogue's order. On disk: format | cells: count, for each slot, bytes.
 */
#ifndef FRESHET_AGGREGATORS_CELLS_H
#define FRESHET_AGGREGATORS_CELLS_H

#include "internal.h"

/* One cell that may change. */
struct agg_cell {
    struct agg_blob *blob; /* its part, open */
    const struct agg_entity *entity;
    const struct agg_feature *feature;
    const struct agg_moment *horizon; /* of a merge: what no read at it can see may go; NULL: not known */
};

/* Its bytes, aligned to 8; NULL and 0 when empty. Valid until a cell of the part is resized. */
void *agg_cell__memory(const struct agg_cell *cell, uint32_t *bytes);
/* Kept content, new bytes zero, rounded up to 8. False: out of memory, nothing changed; making it shorter never fails. */
FR_CHECKED bool agg_cell__resize(struct agg_cell *cell, uint32_t bytes);

/* What an event brings to a cell. */
struct agg_input {
    const struct proto_event *event;
    const uint64_t *order; /* AGG_ORDER_WORDS */
    const struct agg_moment *horizon;
};

/* The facts of an entity's canonical state, added up so that no order can show. */
struct agg_facts {
    uint64_t hash[2];
    uint64_t count;
};
enum agg_fact {
    AGG_FACT_PRESENT = 1,
    AGG_FACT_ATTRIBUTE,
    AGG_FACT_KEPT,
    AGG_FACT_MEASURE,
    AGG_FACT_RECORD,
    AGG_FACT_ENTITY,
    AGG_FACT_CELL,
    AGG_FACT_TABLE /* a row of a table */
};
void agg_facts__add(struct agg_facts *facts, const void *bytes, size_t length);
/* A fact of a cell: its feature's definition and `count` words. */
void agg_facts__add_cell(struct agg_facts *facts, const struct agg_feature *feature, const uint64_t *words, size_t count);

/* Where the pieces of a value are collected (explain.c); what does not count in a window that is asked for is left out. */
struct agg_pieces;
void agg_pieces__add(struct agg_pieces *pieces, const struct agg_piece *piece);
/* Of the windows of the feature those that a pane of this level counts in at the moment, a bit for each. */
uint32_t agg_pieces__windows(const struct agg_feature *feature, int level, int64_t pane, int64_t time_ms);

/* What an aggregate does with its cells. `memory` is the cell's bytes, empty for an empty cell or an absent entity. */
struct agg_cell_type {
    enum store_part part;
    /* One event that the feature takes. NULL: it goes by what is brought. */
    enum agg_added (*add)(struct agg_cell *cell, const struct agg_input *input);
    /* Whether the event changes the cell at all; NULL: each does. So what seldom changes is seldom written. */
    bool (*wants)(struct fr_slice memory, const struct agg_input *input);
    /* What another entity's change brings; NULL: nothing does. */
    enum agg_added (*take)(struct agg_cell *cell, const struct agg_brought *brought, const struct agg_moment *horizon);
    /* Adds all that another cell of the feature has of other events: merge.c. NULL: nothing can. False: out of memory. */
    bool (*merge)(struct agg_cell *into, struct fr_slice from);
    /* Drops what no read at the horizon or later can see; 0 bytes when nothing is left. */
    void (*prune)(struct agg_cell *cell, const struct agg_moment *horizon);
    /* The form on disk, which is a function of the state alone; nothing appended: the cell is empty. */
    void (*encode)(const struct agg_feature *feature, struct fr_slice memory, struct fr_buffer *disk);
    /* Into an empty cell. Takes any bytes; sets reader->is_failed on those that make no sense, or when out of memory. */
    void (*decode)(struct agg_cell *cell, struct fr_reader *reader);
    /* What of it counts at the moment, as facts. */
    void (*digest)(const struct agg_feature *feature, struct fr_slice memory, const struct agg_moment *moment,
                   struct agg_facts *facts);
    /* The value or a companion at time_ms; NULL for what is read as a sequence. */
    float (*value)(const struct agg_feature *feature, struct fr_slice memory, const struct agg_window *window,
                   enum agg_output output, int64_t time_ms);
    /* Its fields in the arena, empty ones of an absent entity; NULL for what has columns. False: the arena is exhausted. */
    bool (*sequence)(const struct agg_feature *feature, struct fr_slice memory, bool is_present, int64_t time_ms,
                     struct fr_arena *arena, struct agg_sequence *sequence);
    /* What the value at time_ms is made of; NULL: nothing that can be told. */
    void (*explain)(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, struct agg_pieces *pieces);
    /* Bytes in memory of a full cell, for estimates. */
    int64_t (*bytes_most)(const struct agg_feature *feature);
};

/* The cell's bytes in an entity's part; `part` NULL: empty. */
struct fr_slice agg_cells__read(const void *part, const struct agg_entity *entity, const struct agg_feature *feature);

/* Before the first change of a cell. False: out of memory. */
FR_CHECKED bool agg_cells__open(struct agg_blob *blob, const struct agg_entity *entity, enum store_part part);

/* All cells of the part that take the event. False: out of memory. */
FR_CHECKED bool agg_cells__add(struct agg_blob *blob, const struct agg_entity *entity, enum store_part part,
                               const struct agg_input *input, uint64_t *too_late);
/* What is brought to the feature's cell. False: out of memory. */
FR_CHECKED bool agg_cells__take(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_brought *brought,
                                const struct agg_moment *horizon, uint64_t *too_late);
/* Prunes every cell; what is left of the part in bytes, 0 when all are empty. */
uint32_t agg_cells__prune(struct agg_blob *blob, const struct agg_entity *entity, enum store_part part,
                          const struct agg_moment *horizon);
void agg_cells__encode(const struct agg_entity *entity, enum store_part part, const void *memory, struct fr_buffer *disk);
void agg_cells__decode(struct fr_reader *reader, const struct agg_catalogue *catalogue, const struct agg_entity *entity,
                       enum store_part part, struct agg_blob *blob);
uint32_t agg_cells__used(const void *memory, const struct agg_entity *entity, enum store_part part);
/* What depends on a table goes to `joined`. */
void agg_cells__digest(const void *memory, const struct agg_entity *entity, enum store_part part,
                       const struct agg_moment *moment, struct agg_facts *facts, struct agg_facts *joined);

#endif
