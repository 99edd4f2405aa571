/*
 * The entities of one kind that a request needs, each once, with the rows that asked for it: candidates share creators, rooms and
 * categories, and one look at each is enough.
 */
#ifndef FRESHET_AGGREGATORS_KEYRING_H
#define FRESHET_AGGREGATORS_KEYRING_H

#include "internal.h"

struct agg_keyring {
    struct store_key *keys;
    uint64_t *hashes;
    int count;
    int *first; /* of each key: its first row */
    int *next; /* of each row: the next row with the same key; −1: none */
    int keyless; /* the first row that names no such entity, the others by `next`; −1: each does */
    uint32_t *table; /* hash → key + 1, open addressing */
    uint32_t table_mask;
};

/* What each row's item remembers, by attribute; a request's room is already in it. */
struct agg_remembered {
    uint64_t bits[AGG_ATTRIBUTES];
    const uint64_t *joined; /* what tables say of it, as ids by the number of the field; NULL: nobody asked */
};

/*
 * In the arena; false when that is exhausted. `remembered` is NULL for items themselves. Of the rows that rows[0..count) names; NULL:
 * all of the request's.
 */
FR_CHECKED bool agg_keyring__collect(struct agg *agg, const struct agg_entity *entity, const struct agg_request *request,
                                     const struct agg_remembered *remembered, const int *rows, int count,
                                     struct fr_arena *arena, struct agg_keyring *ring);

/* The id that each row has of the field of a key; 0: it has none. */
void agg_keyring__ids(int field, const struct agg_request *request, const struct agg_remembered *remembered, uint64_t *ids);

/* Where the key is among the ring's; −1: none of the rows has it. */
int agg_keyring__find(const struct agg_keyring *ring, const struct store_key *key, uint64_t hash);
/* Names the rows of a key in a sequence that serves them. False: the arena is exhausted. */
FR_CHECKED bool agg_keyring__rows(const struct agg_keyring *ring, int key, struct fr_arena *arena,
                                  struct agg_sequence *sequence);

#endif
