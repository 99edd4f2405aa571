/*
 * One lane's scratch: the events of a batch grouped by the entity they touch, so that each entity is found and locked once. Taken
 * once for the greatest batch; nothing is allocated per event.
 */
#include "covisit.h"
#include "join.h"

#include <stdlib.h>

/* Entities that one event can touch. */
static int shares_most(const struct agg_catalogue *catalogue)
{
    int most = 0;

    for (int i = 0; i < catalogue->entity_count; i++)
        most += catalogue->entities[i]->listed >= 0 ? PROTO_TABLE_IDS_MAX : 1;
    return most;
}

struct agg_lane *agg_lane_new(struct agg *agg, int batch_max)
{
    struct agg_lane *lane = calloc(1, sizeof *lane);
    size_t shares = (size_t)batch_max * (size_t)shares_most(agg->catalogue);
    size_t slots = 16;

    if (!lane)
        return NULL;
    while (slots < shares * 2)
        slots *= 2;
    lane->group_capacity = (int)shares;
    lane->agg = agg;
    lane->batch_max = batch_max;
    lane->groups = calloc(shares, sizeof *lane->groups);
    lane->keys = calloc(shares, sizeof *lane->keys);
    lane->hashes = calloc(shares, sizeof *lane->hashes);
    lane->shares = calloc(shares, sizeof *lane->shares);
    lane->table = calloc(slots, sizeof *lane->table);
    lane->table_mask = (uint32_t)(slots - 1);
    lane->join = agg->catalogue->joined != 0 ? agg_join__new(agg, batch_max) : NULL;
    if ((agg->catalogue->joined != 0 && !lane->join) || !lane->groups || !lane->keys || !lane->hashes || !lane->shares ||
        !lane->table) {
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
    free(lane->brought);
    agg_join__free(lane->join);
    free(lane);
}

static bool is_same(const struct store_key *a, const struct store_key *b)
{
    return a->kind == b->kind && memcmp(a->ids, b->ids, sizeof a->ids) == 0;
}

/* Where the key's group is in the table, or the free place for it. */
static uint32_t slot_of(const struct agg_lane *lane, const struct store_key *key, uint64_t hash)
{
    uint32_t slot = (uint32_t)hash & lane->table_mask;

    while (lane->table[slot] != 0) {
        uint32_t found = lane->table[slot] - 1;

        if (lane->hashes[found] == hash && is_same(&lane->keys[found], key))
            break;
        slot = (slot + 1) & lane->table_mask;
    }
    return slot;
}

static bool grow(void **array, size_t count, size_t bytes)
{
    void *more = reallocarray(*array, count, bytes);

    *array = more ? more : *array;
    return more != NULL;
}

/* Events alone never need it; the partners of what they pair may. */
static bool groups_grow(struct agg_lane *lane)
{
    size_t capacity = (size_t)lane->group_capacity * 2, slots = ((size_t)lane->table_mask + 1) * 2;
    uint32_t *table = calloc(slots, sizeof *table);

    if (!table)
        return false;
    free(lane->table);
    lane->table = table;
    lane->table_mask = (uint32_t)(slots - 1);
    for (int i = 0; i < lane->group_count; i++)
        table[slot_of(lane, &lane->keys[i], lane->hashes[i])] = (uint32_t)i + 1;
    if (!grow((void **)&lane->groups, capacity, sizeof *lane->groups) ||
        !grow((void **)&lane->keys, capacity, sizeof *lane->keys) ||
        !grow((void **)&lane->hashes, capacity, sizeof *lane->hashes))
        return false;
    lane->group_capacity = (int)capacity;
    return true;
}

struct agg_group *agg_lane__want(struct agg_lane *lane, const struct agg_entity *entity, const struct store_key *key)
{
    uint64_t hash = store_key_hash(lane->agg->store, key);
    uint32_t slot = slot_of(lane, key, hash);

    if (lane->table[slot] != 0)
        return &lane->groups[lane->table[slot] - 1];
    if (lane->group_count == lane->group_capacity) {
        if (!groups_grow(lane))
            return NULL;
        slot = slot_of(lane, key, hash);
    }
    lane->table[slot] = (uint32_t)lane->group_count + 1;
    lane->groups[lane->group_count] = (struct agg_group){.entity = entity, .first = UINT32_MAX};
    lane->keys[lane->group_count] = *key;
    lane->hashes[lane->group_count] = hash;
    return &lane->groups[lane->group_count++];
}

bool agg_lane__bring(struct agg_lane *lane, const struct store_key *key, const struct agg_brought *brought)
{
    uint32_t slot = slot_of(lane, key, store_key_hash(lane->agg->store, key)), at = lane->brought_count;
    struct agg_group *group;

    if (lane->table[slot] == 0)
        return true;
    if (at == lane->brought_capacity) {
        uint32_t capacity = at < 1024 ? 1024 : at * 2;

        if (!grow((void **)&lane->brought, capacity, sizeof *lane->brought))
            return false;
        lane->brought_capacity = capacity;
    }
    group = &lane->groups[lane->table[slot] - 1];
    if (group->brought_first == 0)
        group->brought_first = at + 1;
    else
        lane->brought[group->brought_last - 1].next = at + 1;
    group->brought_last = at + 1;
    lane->brought[at] = *brought;
    lane->brought[at].next = 0;
    lane->brought_count++;
    return true;
}

static void share_add(struct agg_lane *lane, const struct agg_entity *entity, const struct store_key *key, uint32_t index)
{
    struct agg_group *group;
    uint32_t share = lane->share_count;

    group = agg_lane__want(lane, entity, key); /* there is room for every share's */
    if (group->first == UINT32_MAX)
        group->first = share;
    else
        lane->shares[group->last].next = share + 1;
    group->last = share;
    lane->shares[lane->share_count++] = (struct agg_share){.event = index};
}

static void shares_add(struct agg_lane *lane, const struct agg_entity *entity, const struct proto_event *events, int count)
{
    struct store_key key;

    for (int i = 0; i < count; i++)
        if (agg_key__of_event(entity, &events[i], &key))
            share_add(lane, entity, &key, (uint32_t)i);
}

static void joined_shares_add(struct agg_lane *lane, const struct agg_entity *entity, const struct proto_event *events,
                              int count)
{
    struct store_key key;

    for (int i = 0; i < count; i++)
        if (agg_key__of_joined(lane->agg->catalogue, entity, &events[i], &key))
            share_add(lane, entity, &key, (uint32_t)i);
}

/* An entity for each id of the list that a table has for the event. */
static void listed_shares_add(struct agg_lane *lane, const struct agg_entity *entity, const struct proto_event *events,
                              int count)
{
    const struct agg_catalogue *catalogue = lane->agg->catalogue;

    for (int i = 0; i < count; i++) {
        int listed;
        const uint64_t *ids = agg_join__ids(catalogue, entity->key[entity->listed], &events[i], &listed);

        for (int k = 0; k < listed; k++) {
            struct store_key key;

            if (!agg_key__of_joined(catalogue, entity, &events[i], &key))
                break;
            key.ids[entity->listed] = ids[k];
            share_add(lane, entity, &key, (uint32_t)i);
        }
    }
}

void agg_lane__begin(struct agg_lane *lane)
{
    memset(lane->table, 0, ((size_t)lane->table_mask + 1) * sizeof *lane->table);
    lane->events = NULL;
    lane->group_count = 0;
    lane->share_count = 0;
    lane->brought_count = 0;
    lane->has_partners = false;
}

bool agg_lane__group(struct agg_lane *lane, const struct proto_event *events, int count, struct fr_err *err)
{
    const struct agg_catalogue *catalogue = lane->agg->catalogue;

    if (lane->events == events && lane->event_count == count)
        return true;
    if (count > lane->batch_max)
        return fr_fail(err, FR_EXHAUSTED, "aggregators: a batch of %d events; the lane takes %d", count, lane->batch_max);
    agg_lane__begin(lane);
    lane->taken = lane->join ? agg_join__take(lane->join, events, count) : events;
    shares_add(lane, catalogue->user, lane->taken, count);
    lane->user_group_count = lane->group_count;
    for (int e = 0; e < catalogue->entity_count; e++) {
        if (catalogue->entities[e] == catalogue->user || catalogue->entities[e]->is_fed)
            continue;
        if (catalogue->entities[e]->listed >= 0)
            listed_shares_add(lane, catalogue->entities[e], lane->taken, count);
        else if (catalogue->entities[e]->is_joined)
            joined_shares_add(lane, catalogue->entities[e], lane->taken, count);
        else
            shares_add(lane, catalogue->entities[e], lane->taken, count);
    }
    if (!agg_feeds__want(lane))
        return fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory for a batch");
    lane->events = events;
    lane->event_count = count;
    return true;
}

bool agg_batch_load(struct agg_lane *lane, const struct proto_event *events, int count, struct fr_err *err)
{
    int known;

    lane->events = NULL; /* the same array may hold new events */
    if (count > lane->batch_max)
        return agg_lane__group(lane, events, count, err); /* which says so */
    if (lane->join && !agg_join__load(lane->join, events, count, err))
        return false;
    if (!agg_lane__group(lane, events, count, err))
        return false;
    if (!store_load(lane->agg->store, lane->keys, lane->hashes, lane->group_count, err))
        return false;
    known = lane->group_count;
    if (!agg_covisit__want(lane))
        return fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory for a batch");
    lane->has_partners = true;
    return lane->group_count == known ||
           store_load(lane->agg->store, lane->keys + known, lane->hashes + known, lane->group_count - known, err);
}
