/*
 * One lane's scratch: the events of a batch grouped by the entity they touch, so that each entity is found and locked once. Taken
 * once for the greatest batch; nothing is allocated per event.
 */
#include "internal.h"

#include <stdlib.h>

struct agg_lane *agg_lane_new(struct agg *agg, int batch_max)
{
    struct agg_lane *lane = calloc(1, sizeof *lane);
    size_t shares = (size_t)batch_max * (size_t)agg->catalogue->entity_count;
    size_t slots = 16;

    if (!lane)
        return NULL;
    while (slots < shares * 2)
        slots *= 2;
    lane->agg = agg;
    lane->batch_max = batch_max;
    lane->groups = calloc(shares, sizeof *lane->groups);
    lane->keys = calloc(shares, sizeof *lane->keys);
    lane->hashes = calloc(shares, sizeof *lane->hashes);
    lane->shares = calloc(shares, sizeof *lane->shares);
    lane->table = calloc(slots, sizeof *lane->table);
    lane->table_mask = (uint32_t)(slots - 1);
    if (!lane->groups || !lane->keys || !lane->hashes || !lane->shares || !lane->table) {
        agg_lane_free(lane);
        return NULL;
    }
    return lane;
}

void agg_lane_free(struct agg_lane *lane)
{
    if (!lane)
        return;
    free(lane->groups);
    free(lane->keys);
    free(lane->hashes);
    free(lane->shares);
    free(lane->table);
    free(lane);
}

static bool is_same(const struct store_key *a, const struct store_key *b)
{
    return a->kind == b->kind && memcmp(a->ids, b->ids, sizeof a->ids) == 0;
}

/* The group of the key, made when it isn't there. */
static struct agg_group *group_find(struct agg_lane *lane, const struct agg_entity *entity, const struct store_key *key)
{
    uint64_t hash = store_key_hash(lane->agg->store, key);
    uint32_t slot = (uint32_t)hash & lane->table_mask;
    struct agg_group *group;

    while (lane->table[slot] != 0) {
        uint32_t found = lane->table[slot] - 1;

        if (lane->hashes[found] == hash && is_same(&lane->keys[found], key))
            return &lane->groups[found];
        slot = (slot + 1) & lane->table_mask;
    }
    lane->table[slot] = (uint32_t)lane->group_count + 1;
    group = &lane->groups[lane->group_count];
    *group = (struct agg_group){.entity = entity, .first = UINT32_MAX};
    lane->keys[lane->group_count] = *key;
    lane->hashes[lane->group_count++] = hash;
    return group;
}

static void share_add(struct agg_lane *lane, const struct agg_entity *entity, const struct proto_event *event, uint32_t index)
{
    struct agg_group *group;
    struct store_key key;
    uint32_t share = lane->share_count;

    if (!agg_key__of_event(entity, event, &key))
        return;
    group = group_find(lane, entity, &key);
    if (group->first == UINT32_MAX)
        group->first = share;
    else
        lane->shares[group->last].next = share + 1;
    group->last = share;
    lane->shares[lane->share_count++] = (struct agg_share){.event = index};
}

bool agg_lane__group(struct agg_lane *lane, const struct proto_event *events, int count, struct fr_err *err)
{
    const struct agg_catalogue *catalogue = lane->agg->catalogue;

    if (lane->events == events && lane->event_count == count)
        return true;
    if (count > lane->batch_max)
        return fr_fail(err, FR_EXHAUSTED, "aggregators: a batch of %d events; the lane takes %d", count, lane->batch_max);
    memset(lane->table, 0, ((size_t)lane->table_mask + 1) * sizeof *lane->table);
    lane->group_count = 0;
    lane->share_count = 0;
    for (int i = 0; i < count; i++)
        share_add(lane, catalogue->user, &events[i], (uint32_t)i);
    lane->user_group_count = lane->group_count;
    for (int e = 0; e < catalogue->entity_count; e++) {
        if (catalogue->entities[e] == catalogue->user)
            continue;
        for (int i = 0; i < count; i++)
            share_add(lane, catalogue->entities[e], &events[i], (uint32_t)i);
    }
    lane->events = events;
    lane->event_count = count;
    return true;
}

bool agg_batch_load(struct agg_lane *lane, const struct proto_event *events, int count, struct fr_err *err)
{
    lane->events = NULL; /* the same array may hold new events */
    if (!agg_lane__group(lane, events, count, err))
        return false;
    return store_load(lane->agg->store, lane->keys, lane->hashes, lane->group_count, err);
}
