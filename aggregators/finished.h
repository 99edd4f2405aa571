/*
 * A finished row: what a step of a read plan gives to the row of an item, floats as the reply has them, kept as an excerpt beside the
 * entity (<freshet/store.h>), so that the next read copies it and never looks at the entity.
 *
 * The invariant: it is what reading the entity at T would give, bit for bit, for every T in the seconds from the one in which it was
 * made to before `until`. Three things could change that. An event: the store takes the excerpt away before the entity changes. A
 * window that moves on: each span knows its edge, before which none of its rows lies, so until the first edge leaves nothing
 * does. And retention: of the entity and of what it remembers. What depends on T itself (ages, decayed, gauges …) or is large (sequences,
 * sketches) has no finished row: a step that needs any of it reads its entities, and so does one of another entity's key.
 */
#ifndef FRESHET_AGGREGATORS_FINISHED_H
#define FRESHET_AGGREGATORS_FINISHED_H

#include "plan.h"

struct agg_remembered;

/* Where what is finished goes: of the first row, or of the one it is made for. */
struct agg_finished_target {
    float *values;
    double *operands;
    struct agg_remembered *remembered; /* may be NULL when the step's entities are asked for nothing that they remember */
};

/* Finds out whether the step may have finished rows, once all of the plan's steps are filled. False: out of memory. */
FR_CHECKED bool agg_finished__compile(const struct agg_catalogue *catalogue, struct agg_plan *plan);

/*
 * Copies the finished rows of the step that there are, for rows[0..count of the request) whose entities are ids[]; gives the number of
 * other rows, which go into missing[]. False: out of memory.
 */
FR_CHECKED bool agg_finished__read(struct agg *agg, const struct agg_plan *plan, const struct agg_step *step,
                                   const struct agg_moment *moment, const uint64_t *ids, int count, struct fr_arena *arena,
                                   const struct agg_finished_target *first, int *missing, int *missing_count);

/* Keeps what was just read of the entity, which is present and still locked, unless that would be good for no second. */
void agg_finished__keep(struct agg *agg, const struct agg_step *step, const struct agg_moment *moment,
                        const struct store_entry *entry, uint64_t hash, const struct agg_rows *rows,
                        const struct agg_finished_target *made);

#endif
