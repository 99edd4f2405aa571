/* State to numbers: what a reply holds of one column, one sequence, one remembered attribute. */
#ifndef FRESHET_AGGREGATORS_VALUES_H
#define FRESHET_AGGREGATORS_VALUES_H

#include "keyring.h"
#include "plan.h"
#include "type.h"

/* An entity's parts while it is locked; NULL where there is none. */
struct agg_parts {
    const void *memory[STORE_PARTS];
};

/* Of one entity that is present, columns of its rows, each to its place in `values`. */
void agg_values__columns(const struct agg *agg, const struct agg_view *view, const struct agg_column *columns, int count,
                         float *values);
/* Columns whose running totals are what the windows hold. */
void agg_values__runs(const uint8_t *totals, const struct agg_run *runs, int count, float *values);
/* Of one entity that is present, a column of its cells, or of its sequences' records; `curves` as drawn, NULL when no column has one. */
float agg_values__cell(const struct agg_parts *parts, const struct agg_column *column, int64_t time_ms,
                       const double *const *curves);
/* A counter in units, for a ratio. */
double agg_values__operand(const struct agg_view *view, const struct agg_column *column);
/* The float nearest to micro / 10^6. */
float agg_values__of_micro(int64_t micro);

/* Any sequence of an entity: a `last`, a series, or what is made of another one's records. False: the arena is exhausted. */
FR_CHECKED bool agg_sequence__read(const struct agg_feature *feature, const struct agg_parts *parts, bool is_present,
                                   int64_t time_ms, struct fr_arena *arena, struct agg_sequence *sequence);

/* Newest first, what is past its retention left out; `rings` may be NULL. False: the arena is exhausted. */
FR_CHECKED bool agg_values__sequence(const struct agg_ring *rings, const struct agg_feature *feature, int64_t time_ms,
                                     struct fr_arena *arena, struct agg_sequence *sequence);

/* These records of it, in this order. False: the arena is exhausted. */
FR_CHECKED bool agg_values__records(const struct agg_ring *rings, const struct agg_feature *feature, const uint32_t *records,
                                    uint32_t count, struct fr_arena *arena, struct agg_sequence *sequence);

/* One attribute of every row. False: the arena is exhausted. */
FR_CHECKED bool agg_values__attribute(const struct agg_remembered *remembered, int count, int attribute, struct fr_arena *arena,
                                      struct agg_values *values);

#endif
