/* State to numbers: what a reply holds of one column, one sequence, one remembered attribute. */
#ifndef FRESHET_AGGREGATORS_VALUES_H
#define FRESHET_AGGREGATORS_VALUES_H

#include "keyring.h"

/* Of one entity, each to its place in `values`. */
void agg_values__columns(const struct agg *agg, const struct agg_view *view, const struct agg_column *columns, int count,
                         float *values);
/* The float nearest to micro / 10^6. */
float agg_values__of_micro(int64_t micro);

/* Newest first, what is past its retention left out; `rings` may be NULL. False: the arena is exhausted. */
FR_CHECKED bool agg_values__sequence(const struct agg_ring *rings, const struct agg_feature *feature, int64_t time_ms,
                                     struct fr_arena *arena, struct agg_sequence *sequence);

/* One attribute of every row. False: the arena is exhausted. */
FR_CHECKED bool agg_values__attribute(const struct agg_remembered *remembered, int count, int attribute, struct fr_arena *arena,
                                      struct agg_values *values);

#endif
