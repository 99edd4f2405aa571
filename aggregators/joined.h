/* What tables say of the rows of a read: columns, fields, lists, and keys of other entities (read.c, load.c). */
#ifndef FRESHET_AGGREGATORS_JOINED_H
#define FRESHET_AGGREGATORS_JOINED_H

#include "keyring.h"
#include "plan.h"
#include "tables.h"

struct agg_joined {
    const struct agg_catalogue *catalogue;
    int count; /* rows of the read */
    const uint64_t **rows[AGG_TABLES_MAX]; /* of each table that the plan needs, by row of the read; NULL: it has none */
    uint64_t *ids; /* row-major, of every table's fields: what keys are made of */
    int listed_most; /* ids in the longest list that keys are made of */
};

/* Loads the rows of the plan's tables; blocks on the disk. `remembered` is of each row's item, with the request's room in it. */
FR_CHECKED bool agg_joined__load(struct agg *agg, const struct agg_plan *plan, const struct agg_request *request,
                                 const struct agg_remembered *remembered, struct fr_arena *arena, struct fr_err *err);
/*
 * Copies them into the arena, and points remembered[] to the ids that they give, with a list's first one. *is_incomplete: something is
 * not loaded. FR_CORRUPT: a row is quarantined; FR_EXHAUSTED: the arena's limit.
 */
FR_CHECKED bool agg_joined__read(struct agg *agg, const struct agg_plan *plan, const struct agg_request *request,
                                 struct agg_remembered *remembered, struct fr_arena *arena, struct agg_joined *joined,
                                 bool *is_incomplete, struct fr_err *err);

/* The id number `k` of the entity's list, in each row where it has so many; 0 elsewhere. */
void agg_joined__turn(struct agg_joined *joined, const struct agg_entity *entity, int k);
/* How many ids the entity's list has in a row. */
int agg_joined__listed(const struct agg_joined *joined, const struct agg_entity *entity, int row);

/* The plan's columns of tables, into all rows. */
void agg_joined__columns(const struct agg_joined *joined, const struct agg_plan *plan, float *values);
/* The field of that number, one id a row. */
void agg_joined__ids(const struct agg_joined *joined, int field, uint64_t *ids);
/* Its list, of each item that has one: a sequence for each distinct one. False: the arena is exhausted. */
FR_CHECKED bool agg_joined__sequences(struct agg *agg, const struct agg_joined *joined, const struct agg_plan *plan,
                                      const struct agg_request *request, const struct agg_remembered *remembered,
                                      struct fr_arena *arena, struct agg_reply *reply);

#endif
