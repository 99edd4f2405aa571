/* What recall looks at in candidates: are they there, may they be shown, what is their sum (recall.c). */
#ifndef FRESHET_AGGREGATORS_GLIMPSE_H
#define FRESHET_AGGREGATORS_GLIMPSE_H

#include "life.h"

/* One read's look at many entities. */
struct agg_glimpses {
    struct agg *agg;
    struct fr_arena *arena;
    int64_t time_ms; /* T */
    int64_t seen_within_ms; /* only what was seen so shortly before; 0: all that is kept */
    uint64_t *seen; /* items to leave out, ascending */
    uint32_t seen_count;
    struct fr_err *err;
};

struct agg_glimpse { /* all zero of an entity that isn't there, or is quarantined */
    bool is_present;
    int64_t latest_ms;
    enum agg_life life;
    uint64_t bits[AGG_ATTRIBUTES];
    double sum;
};

bool agg_glimpses__fail(struct agg_glimpses *glimpses); /* FR_EXHAUSTED, false */

/* The items in the user's `seen` sequences, when it is items that are asked for. */
FR_CHECKED bool agg_glimpses__see(struct agg_glimpses *glimpses, const struct agg_entity *asked, uint64_t user_id);

/* Brings the entities into the table; `scope` is the second id of those that have two. Blocks on the disk. */
FR_CHECKED bool agg_glimpses__load(struct agg_glimpses *glimpses, const struct agg_entity *entity, const uint64_t *ids,
                                   int count, uint64_t scope);

/* After loading. `life` and `sums` are features of the entity; NULL: not asked for. */
void agg_glimpses__look(struct agg_glimpses *glimpses, const struct agg_entity *entity, uint64_t id, uint64_t scope,
                        const struct agg_feature *life, const struct agg_feature *sums, struct agg_glimpse *glimpse);

/* Loads the candidates and tells which are seen, off, ended or blocked. */
FR_CHECKED bool agg_glimpses__out(struct agg_glimpses *glimpses, const struct agg_entity *entity, const uint64_t *ids,
                                  int count, bool *is_out);

/* ---- lift.c ---- */

/* The labels of the partners, by their lift, the greatest first; in the arena. Blocks on the disk. */
struct agg_ranked;
FR_CHECKED bool agg_lift__read(struct agg_glimpses *glimpses, const struct agg_feature *feature,
                               const struct agg_ranked *partners, uint32_t partner_count, struct agg_ranked **ranked,
                               uint32_t *count);

/* ---- blocked.c ---- */

/* What ids of that event field are when they are blocked; false: they cannot be. */
bool agg_blocked__kind(int field, enum agg_blocked *kind);
/* By the creator or the room that it remembers. */
bool agg_blocked__is_by_others(const struct agg *agg, const struct agg_glimpse *glimpse);
/* Adds those whose own ids are blocked. */
void agg_blocked__out(const struct agg *agg, const struct agg_entity *entity, const uint64_t *ids, int count, bool *is_out);

#endif
