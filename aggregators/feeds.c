/*
 * Feeds: from an entity whose events are applied to the lists that rank it. The lists' groups come last in a batch, so that each list is
 * locked once and hears of every candidate when that has all of the batch.
 */
#include "feeds.h"
#include "decayed.h"

bool agg_feed__add(struct agg_catalogue *catalogue, struct agg_entity *entity, const struct agg_feed *feed)
{
    struct agg_feed *feeds = fr_arena_take_zeroed(catalogue->arena, (size_t)entity->feed_count + 1, sizeof *feeds);

    if (!feeds)
        return false;
    if (entity->feed_count > 0)
        memcpy(feeds, entity->feeds, (size_t)entity->feed_count * sizeof *feeds);
    feeds[entity->feed_count++] = *feed;
    entity->feeds = feeds;
    return true;
}

void agg_feeds__key(const struct agg_feature *top, uint64_t candidate, uint64_t scope, struct store_key *key)
{
    *key = (struct store_key){.kind = top->entity->kind, .id_count = 1, .ids = {scope}};
    if (scope == 0) /* ids are hashes or counted up: mixed, both spread */
        key->ids[0] = 1 + (candidate * UINT64_C(0x9e3779b97f4a7c15) >> 32) % AGG_SHARDS;
}

static void key_of(const struct agg_feed *feed, const struct store_key *from, struct store_key *key)
{
    uint64_t scope = feed->scope == AGG_SCOPE_ALL ? 1 : feed->scope == AGG_SCOPE_SHARD ? 0 : from->ids[feed->scope];

    agg_feeds__key(feed->top, from->ids[feed->id], scope, key);
}

/* Few and shared by all: cheaper to have each than to tell which. */
static bool want_shards(struct agg_lane *lane, const struct agg_feature *top)
{
    for (uint64_t shard = 1; top && shard <= AGG_SHARDS; shard++) {
        struct store_key key = {.kind = top->entity->kind, .id_count = 1, .ids = {shard}};

        if (!agg_lane__want(lane, top->entity, &key))
            return false;
    }
    return true;
}

bool agg_feeds__want(struct agg_lane *lane)
{
    const struct agg_catalogue *catalogue = lane->agg->catalogue;

    for (int i = 0, count = lane->group_count; i < count; i++) {
        const struct agg_entity *entity = lane->groups[i].entity;

        for (int f = 0; f < entity->feed_count; f++) {
            struct store_key key;

            if (entity->feeds[f].scope == AGG_SCOPE_SHARD)
                continue;
            key_of(&entity->feeds[f], &lane->keys[i], &key);
            if (!agg_lane__want(lane, entity->feeds[f].top->entity, &key))
                return false;
        }
    }
    return want_shards(lane, catalogue->recent_items   ? catalogue->recent_items
                             : catalogue->recent_rooms ? catalogue->recent_rooms
                                                       : catalogue->pool);
}

void agg_feeds__note(const struct agg_feed *feed, int64_t ts_ms, int64_t *noted_ms)
{
    if (ts_ms != 0 && (*noted_ms == 0 || (ts_ms < *noted_ms) == feed->top->is_first))
        *noted_ms = ts_ms;
}

bool agg_feeds__bring(struct agg_lane *lane, const struct agg_feed *feed, const struct store_key *key, int64_t taken_ms,
                      const struct agg_rows *rows, struct fr_slice cell)
{
    struct agg_brought brought = {.feature = feed->top, .id = key->ids[feed->id], .ts_ms = taken_ms};
    struct store_key list;

    if (feed->source && cell.length == 0)
        return true; /* too late for its blocks */
    if (feed->top->is_first && agg_rows__first_ms(rows) != taken_ms)
        return true; /* known since an earlier batch */
    brought.score = feed->source ? agg_decayed__score(cell) : (double)(feed->top->is_first ? taken_ms : rows->latest_ms);
    key_of(feed, key, &list);
    return agg_lane__bring(lane, &list, &brought);
}
