/* Adding up what different instances saw of one entity, for deltas.c and apply.c. */
#ifndef FRESHET_AGGREGATORS_MERGE_H
#define FRESHET_AGGREGATORS_MERGE_H

#include "internal.h"

#include <freshet/deltas.h>

/*
 * Adds all of a part in its form in memory to a part of the same entity; `memory` lies outside of it and is not empty. Running totals
 * are not told: agg_totals__rebuild() of who wants them. What no read at the horizon can see may be left out; NULL: nothing. False: out
 * of memory.
 */
FR_CHECKED bool agg_merge__part(struct agg_blob *into, const struct agg_entity *entity, enum store_part part,
                                const void *memory, const struct agg_moment *horizon);

/* ---- what a lane collects (deltas.c) ---- */

/*
 * The parts of the entity, made when it isn't there; NULL: out of memory. Valid until the next call. *fed_ms: by the entity's feeds, the
 * time of the event that each is to hear of, 0: none; NULL where it has no feeds.
 */
struct fr_buffer *agg_deltas__want(struct agg_deltas *deltas, const struct store_key *key, uint64_t hash, int64_t **fed_ms);

/* One that is decoded: the parts that it has, in memory. */
struct agg_delta_parts {
    struct fr_buffer memory[STORE_PARTS];
    int64_t *fed_ms; /* by the entity's feeds; NULL: it has none */
};
void agg_delta__fini(struct agg_delta_parts *parts);
/* False: bytes that make no sense, or out of memory, which a failed buffer tells. Free with agg_delta__fini() in any case. */
FR_CHECKED bool agg_delta__decode(const struct agg *agg, const struct store_key *key, struct fr_slice value,
                                  struct agg_delta_parts *parts);

#endif
