/* Search in a user's sequence by what candidates remember. */
#ifndef FRESHET_AGGREGATORS_MATCH_H
#define FRESHET_AGGREGATORS_MATCH_H

#include "keyring.h"

/*
 * One sequence for each distinct key that the rows' items remember, appended to `sequences` (*count of them so far; there is room
 * for one a row). False: the arena is exhausted, or the user is quarantined.
 */
FR_CHECKED bool agg_match__read(struct agg *agg, const struct agg_feature *feature, const struct agg_request *request,
                                const struct agg_remembered *remembered, struct fr_arena *arena, struct agg_sequence *sequences,
                                int *count, struct fr_err *err);

#endif
