/* How the records of a sequence are spread over the values of a field: what reads make of the sequence's part (spread.c). */
#ifndef FRESHET_AGGREGATORS_SPREAD_H
#define FRESHET_AGGREGATORS_SPREAD_H

#include "type.h"

/* In bits, over the values that are not 0; 0 of none. `rings` may be NULL. */
float agg_spread__entropy(const struct agg_feature *feature, const struct agg_ring *rings, int64_t time_ms);
/* The `limit` most frequent ones and their counts, equal ones by the lesser value. False: the arena is exhausted. */
FR_CHECKED bool agg_spread__top(const struct agg_feature *feature, const struct agg_ring *rings, int64_t time_ms,
                                struct fr_arena *arena, struct agg_sequence *sequence);

#endif
