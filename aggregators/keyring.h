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
};

/* What each row's item remembers, by attribute; a request's room is already in it. */
struct agg_remembered {
    uint64_t bits[AGG_ATTRIBUTES];
};

/* In the arena; false when that is exhausted. `remembered` is NULL for items themselves. */
FR_CHECKED bool agg_keyring__collect(struct agg *agg, const struct agg_entity *entity, const struct agg_request *request,
                                     const struct agg_remembered *remembered, struct fr_arena *arena, struct agg_keyring *ring);

#endif
