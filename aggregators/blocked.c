/*
 * What people and tables took out of recall: items, rooms, creators and users by their ids, and items and rooms by whose they are. What
 * people say and what each table says are sets of their own, so that no one of them lets in what another keeps out.
 */
#include "glimpse.h"
#include "tables.h"

#include <freshet/idset.h>

static const uint8_t fields[AGG_BLOCKED_KINDS] = {PROTO_FIELD_ITEM_ID, PROTO_FIELD_ROOM_ID, PROTO_FIELD_CREATOR_ID,
                                                  PROTO_FIELD_USER_ID};

void agg_block(struct agg *agg, const struct fr_idset *const sets[AGG_BLOCKED_KINDS])
{
    memcpy(agg->blocked, sets, sizeof agg->blocked);
}

bool agg_is_blocked_by_table(const struct agg *agg, enum agg_blocked kind, uint64_t id)
{
    const struct agg_catalogue *catalogue = agg->catalogue;

    for (int t = 0; t < catalogue->table_count; t++)
        if (catalogue->tables[t].blocked && catalogue->tables[t].blocks == kind &&
            fr_idset_has(catalogue->tables[t].blocked, id))
            return true;
    return false;
}

bool agg_is_blocked(const struct agg *agg, enum agg_blocked kind, uint64_t id)
{
    return fr_idset_has(agg->blocked[kind], id) || agg_is_blocked_by_table(agg, kind, id);
}

bool agg_is_blocking(const struct agg *agg, enum agg_blocked kind)
{
    const struct agg_catalogue *catalogue = agg->catalogue;

    for (int t = 0; t < catalogue->table_count; t++)
        if (catalogue->tables[t].blocks == kind && fr_idset_count(catalogue->tables[t].blocked) > 0)
            return true;
    return fr_idset_count(agg->blocked[kind]) > 0;
}

bool agg_blocked__kind(int field, enum agg_blocked *kind)
{
    for (int i = 0; i < AGG_BLOCKED_KINDS; i++) {
        *kind = (enum agg_blocked)i;
        if (fields[i] == field)
            return true;
    }
    return false;
}

bool agg_blocked__is_by_others(const struct agg *agg, const struct agg_glimpse *glimpse)
{
    return agg_is_blocked(agg, AGG_BLOCKED_CREATOR, glimpse->bits[agg_attribute__index(PROTO_FIELD_CREATOR_ID)]) ||
           agg_is_blocked(agg, AGG_BLOCKED_ROOM, glimpse->bits[agg_attribute__index(PROTO_FIELD_ROOM_ID)]);
}

void agg_blocked__out(const struct agg *agg, const struct agg_entity *entity, const uint64_t *ids, int count, bool *is_out)
{
    for (int kind = 0; kind < AGG_BLOCKED_KINDS && entity->key_count == 1; kind++) {
        if (entity->key[0] != fields[kind] || !agg_is_blocking(agg, (enum agg_blocked)kind))
            continue;
        for (int i = 0; i < count; i++)
            is_out[i] = is_out[i] || agg_is_blocked(agg, (enum agg_blocked)kind, ids[i]);
    }
}

bool agg_blocked_items(struct agg *agg, const struct agg_request *request, struct fr_arena *arena, bool **is_blocked,
                       struct fr_err *err)
{
    struct agg_glimpses glimpses = {.agg = agg, .arena = arena, .time_ms = request->time_ms, .err = err};
    int room = agg_attribute__index(PROTO_FIELD_ROOM_ID);
    bool is_blocking = false;

    *is_blocked = NULL;
    for (int kind = 0; kind < AGG_BLOCKED_USER; kind++)
        is_blocking = is_blocking || agg_is_blocking(agg, (enum agg_blocked)kind);
    if (!is_blocking)
        return true;
    *is_blocked = fr_arena_take_zeroed(arena, (size_t)request->item_count + 1, sizeof **is_blocked);
    if (!*is_blocked)
        return agg_glimpses__fail(&glimpses);
    for (int i = 0; i < request->item_count; i++) {
        struct agg_glimpse item = {0};

        if (agg->catalogue->item && request->item_ids[i] != 0)
            agg_glimpses__look(&glimpses, agg->catalogue->item, request->item_ids[i], 0, NULL, NULL, &item);
        if (request->room_id != 0)
            item.bits[room] = request->room_id;
        (*is_blocked)[i] = agg_is_blocked(agg, AGG_BLOCKED_ITEM, request->item_ids[i]) || agg_blocked__is_by_others(agg, &item);
    }
    return true;
}
