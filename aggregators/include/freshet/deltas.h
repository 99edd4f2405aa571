/*
 * What instances of a cluster tell each other of state. Of an entity whose key has no user each instance has the whole; what
 * its own events mean for it is collected per epoch as a *delta*, an entity that began empty, and the others merge it into
 * theirs: integers are added, greatest ones kept, sets united, so that neither who saw an event nor the order of merging shows.
 * Of an entity whose key begins with a user only the owner of his partition has state, and tells it as a *copy*, a part's bytes
 * on disk as they are.
 */
#ifndef FRESHET_DELTAS_H
#define FRESHET_DELTAS_H

#include <freshet/aggregators.h>

/* What the catalogue has that no cluster can carry, a line each: it names what, and why. Any thread. */
void agg_catalogue_uncarried(const struct agg_catalogue *catalogue, void (*each)(void *user, const char *line), void *user);

/*
 * Of all that gives bytes their meaning: kinds, slots, definitions. Stores of one fingerprint read each other's bytes. After
 * agg_open(). Any thread.
 */
uint64_t agg_fingerprint(const struct agg *agg);

/* For how long what a delta tells may be seen: the longest window or retention of entities without a user. −1: for ever. Any thread. */
int64_t agg_catalogue_seen_ms(const struct agg *agg);

/* ---- Collecting ---- */

struct agg_deltas; /* by entity; one thread at a time */

struct agg_deltas *agg_deltas_new(struct agg *agg); /* NULL: out of memory */
void agg_deltas_free(struct agg_deltas *deltas); /* NULL is fine; before agg_close() */

/*
 * From now on what the lane applies to entities without a user goes there as well, but for rows that have images; NULL:
 * nowhere. Gives what it went to before. While the lane applies nothing: with the gate held alone.
 */
struct agg_deltas *agg_lane_collect(struct agg_lane *lane, struct agg_deltas *deltas);

/*
 * Rows of an entity whose counters all have the same windows are collected by nobody. What they were before the epoch's first
 * event of this instance is kept, an image, and the difference to what the epoch writes is what it added: work by entity and
 * epoch, however many events there are. So lanes that collect need images.
 *
 * open: before any lane collects; false: out of memory. turn: at each boundary, the gate held alone; false: the last epoch was
 * never asked what it added (it could not be encoded), and nobody can tell any more: the state is to be spoiled. tell: adds
 * what it added to `into`, once after each turn, from before_durable, before anything there that may fail; the horizon is that
 * of the boundary, no less than any that was applied with. FR_EXHAUSTED: out of memory; FR_CORRUPT: what is to be written
 * cannot be read; then some of it is in `into`. bytes: what the images of the last two epochs took, for who tells.
 */
FR_CHECKED bool agg_images_open(struct agg *agg);
FR_CHECKED bool agg_images_turn(struct agg *agg);
FR_CHECKED bool agg_images_tell(struct agg *agg, struct agg_deltas *into, int64_t horizon_ms, struct fr_err *err);
uint64_t agg_images_bytes(const struct agg *agg);

/* Merges all of `from` into `into` and empties it. False: out of memory, some of it is in both. */
FR_CHECKED bool agg_deltas_merge(struct agg_deltas *into, struct agg_deltas *from, struct fr_err *err);

/*
 * Every entity of which anything was said, once, in no order: its key, and what was said, as bytes for agg_delta. `each`
 * returns false to stop, and has set err. FR_EXHAUSTED: out of memory.
 */
FR_CHECKED bool agg_deltas_each(struct agg_deltas *deltas,
                                bool (*each)(void *user, struct fr_slice key, struct fr_slice value, struct fr_err *err),
                                void *user, struct fr_err *err);
uint64_t agg_deltas_count(const struct agg_deltas *deltas); /* entities */
void agg_deltas_clear(struct agg_deltas *deltas);

/* ---- Merging what others collected ---- */

struct agg_delta {
    struct fr_slice key, value; /* as agg_deltas_each() gave them */
    int group; /* the lane's own */
};

/*
 * Loads the entities of deltas[0..count) and the lists that hear of them; outside the gate, on a visit that lasts until they are
 * applied. Blocks on the disk. FR_CORRUPT: bytes that make no sense.
 */
FR_CHECKED bool agg_deltas_load(struct agg_lane *lane, struct agg_delta *deltas, int count, struct fr_err *err);

/* Merges the same deltas. Inside the gate. `horizon_ms` and failures as of agg_batch_apply(). */
FR_CHECKED bool agg_deltas_apply(struct agg_lane *lane, const struct agg_delta *deltas, int count, int64_t horizon_ms,
                                 struct agg_tally *tally, struct fr_err *err);

/* ---- Copies of users' entities ---- */

struct agg_copy {
    struct store_key key;
    enum store_part part;
    struct fr_slice bytes; /* on disk; empty: the part is gone */
};

/*
 * Entities of this kind are of another module, each of a user, who is key->ids[0], and have the same bytes in memory and on disk: copies of
 * them come and go like those of the others. Before the first copy.
 */
void agg_carry(struct agg *agg, uint8_t kind, bool (*is_good)(struct fr_slice disk));

/* Whether the record of an epoch is of an entity that belongs to a user, who then is key->ids[0]. Any thread. */
bool agg_is_of_user(const struct agg *agg, const struct store_key *key);

/* Loads, outside the gate; then each part is what its copy says, inside it: as with deltas. FR_CORRUPT: bytes that make no sense. */
FR_CHECKED bool agg_copies_load(struct agg *agg, const struct agg_copy *copies, int count, struct fr_err *err);
FR_CHECKED bool agg_copies_put(struct agg *agg, const struct agg_copy *copies, int count, struct fr_err *err);

/*
 * Takes away every user's entity of which `is_gone` says so, as far as the last epoch has them. `is_over` is asked before each
 * entity and ends it, with some left: that is no failure; NULL: never. Outside the gate, which it enters; blocks on the disk.
 * Adds to *count. FR_EXHAUSTED: out of memory, some are left.
 */
FR_CHECKED bool agg_users_drop(struct agg *agg, bool (*is_gone)(void *user, uint64_t user_id), bool (*is_over)(void *user),
                               void *user, uint64_t *count, struct fr_err *err);

#endif
