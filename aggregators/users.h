/*
 * The users of a pane, for what is told of them: a pane keeps the users with the least hashes, 512 and one, with how often each came: a set that
 * no order of events or merges can show in, exact while it has room for all, and after that a sample of which the number of users is
 * told by how small its hashes are (bottom-k; Bar-Yossef and others, RANDOM 2002).
 *
 * A word of a body: 56 bits of the user's hash, 8 bits of how often, up to 255.
 */
#ifndef FRESHET_AGGREGATORS_USERS_H
#define FRESHET_AGGREGATORS_USERS_H

#include "panes.h"

enum {
    AGG_USERS = 512, /* a body with one more is a sample of that many */
    AGG_USERS_WORDS = AGG_USERS + 1,
    AGG_USERS_OFTEN_BITS = 8,
    AGG_USERS_OFTEN_MOST = 255,
    AGG_USERS_HASH_BITS = 56,
};

extern const struct agg_pane_type agg_users__panes;

/* The event's user, of a feature that needs one. */
enum agg_added agg_users__add(struct agg_cell *cell, const struct agg_input *input);

static inline uint64_t agg_user__hash(uint64_t word)
{
    return word >> AGG_USERS_OFTEN_BITS;
}

static inline uint64_t agg_user__often(uint64_t word)
{
    return word & AGG_USERS_OFTEN_MOST;
}

/* How many times more users there are than 512, when `last` is the 513th of them. */
static inline double agg_users__more(uint64_t last)
{
    return (double)(UINT64_C(1) << AGG_USERS_HASH_BITS) / ((double)agg_user__hash(last) + 1);
}

#endif
