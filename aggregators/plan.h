/*
 * A read plan: what a request asks for, compiled into steps that go from entity to entity, and what of them is kept finished. Made by
 * plan.c, kept by plans.c, followed by read.c. Once made it is never changed; any thread may read by it.
 */
#ifndef AGGREGATORS_PLAN_H
#define AGGREGATORS_PLAN_H

#include "internal.h"

struct agg_column {
    const struct agg_feature *feature;
    enum agg_output output;
    const struct agg_window *window; /* NULL: none */
    int column; /* where the value goes */
    float absent; /* the value when the entity isn't there */
    int curve; /* among the curves of whoever reads, from 1; 0: none */
    int span; /* of the window, and where its total lies, at hand for whoever reads 64 columns of 200 items */
    uint32_t total_at;
    enum agg_measure measure;
};

/* Columns side by side whose running totals are, too, of one measure: a loop without a question. */
struct agg_run {
    enum agg_measure measure;
    uint32_t total_at;
    int column, count;
};

/* What is reckoned from operands once all steps are done: a ratio, or its age. */
struct agg_ratio_column {
    const struct agg_feature *feature;
    const struct agg_output_column *output;
    int column;
    int operands[AGG_PRIORS][2]; /* places among the row's operands; −1: none */
};

enum agg_finished_of { AGG_FINISHED_REMEMBERED, AGG_FINISHED_OPERANDS, AGG_FINISHED_VALUES };

struct agg_finished_piece { /* what lies side by side in the excerpt and in the row */
    enum agg_finished_of of;
    uint32_t at, to, bytes; /* from where in the excerpt to where in the row's */
};

/* What of the step is kept finished beside its entities, and how it lies there (finished.c). */
struct agg_finished {
    bool is_kept;
    uint16_t number; /* of the excerpts, among all plans' */
    uint32_t bytes;
    uint32_t spans; /* a bit for each of the entity's that some column is of */
    uint8_t attributes; /* a bit for each that later steps or the reply ask for */
    struct agg_finished_piece *pieces;
    int piece_count;
};

struct agg_step { /* what one entity kind gives to a row */
    const struct agg_entity *entity;
    bool via_room; /* the creator is the one that the row's room remembers, not the item */
    struct agg_column *columns;
    int column_count;
    struct agg_run *runs; /* the same columns once more, those that have a running total … */
    int run_count;
    struct agg_column *odd_columns; /* … and the others */
    int odd_column_count;
    uint8_t parts; /* a bit for each part that it looks at */
    struct agg_column *cell_columns; /* of its cells; `columns` are of its rows */
    int cell_column_count;
    struct agg_column *operands; /* their `column` is a place among the row's operands */
    int operand_count;
    const struct agg_feature **sequences;
    int sequence_count;
    struct agg_finished finished;
};

struct agg_plan {
    struct agg_plan *next; /* in the cache */
    struct fr_slice asked;
    struct fr_arena *arena;
    const char **user_columns, **item_columns, **field_names;
    int user_column_count, item_column_count;
    uint8_t *fields; /* item fields: which attribute, or AGG_KEY_JOINED and the field of a table */
    int field_count;
    struct agg_step *user_steps, *item_steps; /* the first ones are the user and the item themselves, asked for or not */
    int user_step_count, item_step_count;
    struct agg_ratio_column *user_ratios, *item_ratios;
    int user_ratio_count, item_ratio_count;
    int user_operand_count, item_operand_count;
    uint32_t tables; /* that it looks at, a bit for each */
    struct agg_table_column { /* a number of a table's row */
        int field; /* among those of all tables */
        int column;
    } * table_columns;
    int table_column_count;
    int *table_sequences; /* lists, by field likewise */
    int table_sequence_count;
    const struct agg_feature **matches;
    int match_count;
    struct agg_curves *curves; /* NULL: none are needed */
    bool needs_room; /* some step goes by what rooms remember */
    int sequence_count;
};

/* Whether what was asked, a column or (−1) the feature, takes in column i: a value by its name stands for its window. */
bool agg_feature__is_chosen(const struct agg_feature *feature, int asked, int i);
/* One column of a feature that is no ratio; companions are values of the hidden features that count them. */
struct agg_column agg_plan__column(const struct agg_feature *feature, const struct agg_output_column *output, int column);
/* What was asked, compiled; NULL with the mistake in err. `asked` spells it for the cache. */
struct agg_plan *agg_plan__compile(const struct agg *agg, const char *feature_set, char *const *names, int count,
                                   struct fr_slice asked, struct fr_err *err);
void agg_plan__free(struct agg_plan *plan); /* NULL is fine */

/* ---- plans.c: the cache ---- */

struct agg_plans *agg_plans__new(void);
void agg_plans__free(struct agg_plans *plans);

#endif
