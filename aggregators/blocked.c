/* What people took out of recall: items, rooms, creators and users by their ids, and items and rooms by whose they are. */
#include "glimpse.h"

#include <freshet/idset.h>

void agg_block(struct agg *agg, const struct fr_idset *const sets[AGG_BLOCKED_KINDS])
{
    memcpy(agg->blocked, sets, sizeof agg->blocked);
}

bool agg_blocked__is(const struct agg *agg, enum agg_blocked kind, uint64_t id)
{
    return fr_idset_has(agg->blocked[kind], id);
}

bool agg_blocked__is_by_others(const struct agg *agg, const struct agg_glimpse *glimpse)
{
    return agg_blocked__is(agg, AGG_BLOCKED_CREATOR, glimpse->bits[agg_attribute__index(PROTO_FIELD_CREATOR_ID)]) ||
           agg_blocked__is(agg, AGG_BLOCKED_ROOM, glimpse->bits[agg_attribute__index(PROTO_FIELD_ROOM_ID)]);
}

void agg_blocked__out(const struct agg *agg, const struct agg_entity *entity, const uint64_t *ids, int count, bool *is_out)
{
    static const uint8_t fields[AGG_BLOCKED_KINDS] = {PROTO_FIELD_ITEM_ID, PROTO_FIELD_ROOM_ID, PROTO_FIELD_CREATOR_ID,
                                                      PROTO_FIELD_USER_ID};

    for (int kind = 0; kind < AGG_BLOCKED_KINDS && entity->key_count == 1; kind++) {
        if (entity->key[0] != fields[kind] || fr_idset_count(agg->blocked[kind]) == 0)
            continue;
        for (int i = 0; i < count; i++)
            is_out[i] = is_out[i] || agg_blocked__is(agg, (enum agg_blocked)kind, ids[i]);
    }
}

bool agg_blocked_items(struct agg *agg, const struct agg_request *request, struct fr_arena *arena, bool **is_blocked,
                       struct fr_err *err)
{
    struct agg_glimpses glimpses = {.agg = agg, .arena = arena, .time_ms = request->time_ms, .err = err};
    int room = agg_attribute__index(PROTO_FIELD_ROOM_ID);
    uint32_t blocked = 0;

    *is_blocked = NULL;
    for (int kind = 0; kind < AGG_BLOCKED_USER; kind++)
        blocked += fr_idset_count(agg->blocked[kind]);
    if (blocked == 0)
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
        (*is_blocked)[i] =
            agg_blocked__is(agg, AGG_BLOCKED_ITEM, request->item_ids[i]) || agg_blocked__is_by_others(agg, &item);
    }
    return true;
}
