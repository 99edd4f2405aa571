/* Adding up what different instances saw of one entity, for deltas.c and apply.c. */
#ifndef FRESHET_AGGREGATORS_MERGE_H
#define FRESHET_AGGREGATORS_MERGE_H

#include "internal.h"

#include <freshet/deltas.h>

/*
 * Adds all of a part in its form in memory to a part of the same entity, running totals too where it has them; `memory` lies outside
 * of it and is not empty. What no read at the horizon can see may be left out; NULL: nothing. False: out of memory.
 */
FR_CHECKED bool agg_merge__part(struct agg_blob *into, const struct agg_entity *entity, enum store_part part,
                                const void *memory, const struct agg_moment *horizon);

/* What both know of first and latest events, and of attributes. */
void agg_merge__presence(struct agg_rows *rows, const struct agg_rows *from);
FR_CHECKED bool agg_merge__attributes(struct agg_blob *into, const struct agg_entity *entity, const struct agg_rows *from);

/* ---- what a lane collects (deltas.c) ---- */

/*
 * The parts of the entity, made when it isn't there; NULL: out of memory. Valid until the next call. *fed_ms: by the entity's feeds, the
 * time of the event that each is to hear of, 0: none; NULL where it has no feeds.
 */
struct fr_buffer *agg_deltas__want(struct agg_deltas *deltas, const struct store_key *key, uint64_t hash, int64_t **fed_ms);

/* Fetches what agg_deltas__want() will touch: each stage looks at what the one before brought. */
enum agg_deltas_stage { AGG_DELTAS_SLOT, AGG_DELTAS_ENTRY, AGG_DELTAS_ROWS };
void agg_deltas__prefetch(const struct agg_deltas *deltas, uint64_t hash, enum agg_deltas_stage stage);

/* One that is decoded: the parts that it has, in memory, without running totals. */
struct agg_delta_parts {
    struct fr_buffer memory[STORE_PARTS];
    int64_t *fed_ms; /* by the entity's feeds; NULL: it has none */
};
void agg_delta__init(struct agg_delta_parts *parts);
void agg_delta__fini(struct agg_delta_parts *parts);
/* In place of what `parts` had. False: bytes that make no sense, or out of memory, which a failed buffer tells. */
FR_CHECKED bool agg_delta__decode(const struct agg *agg, const struct store_key *key, struct fr_slice value,
                                  struct agg_delta_parts *parts);

/* ---- images.c ---- */

/*
 * Before the epoch's first event of this instance changes the rows of an entity that is told by them: keeps a copy of what they are. The
 * entity is locked, inside the gate, and will be changed in the same batch. False: out of memory.
 */
FR_CHECKED bool agg_image__keep(struct agg *agg, struct store_entry *entry, const struct agg_entity *entity,
                                const struct store_key *key, uint64_t hash);
/* What others told of it since is no change of ours: merged into the copy, too, where there is one. The same. */
FR_CHECKED bool agg_image__merge(struct agg *agg, const struct store_entry *entry, const struct agg_entity *entity,
                                 const struct store_key *key, uint64_t hash, const struct fr_buffer *rows);
void agg_images__free(struct agg_images *images); /* NULL is fine */

#endif
