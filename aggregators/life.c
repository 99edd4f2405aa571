/*
 * The life of items and rooms: of ITEM_ON and ITEM_OFF, of ROOM_START and ROOM_END the latest by the total order, remembered like an
 * attribute. Hidden features of the item and the room: whoever never had such an event has no cell.
 */
#include "life.h"
#include "type.h"

enum { ROOM_START = 17, ROOM_END = 18, ITEM_ON = 19, ITEM_OFF = 20 }; /* enum Action */

/* ---- on and off ---- */

struct said { /* the order of the event as far as it tells the two actions apart */
    uint64_t ts_ms, event_id, action;
};

static enum agg_added add_said(struct agg_cell *cell, const struct agg_input *input)
{
    uint32_t bytes;

    if (!agg_cell__resize(cell, sizeof(struct said)))
        return AGG_NO_MEMORY;
    memcpy(agg_cell__memory(cell, &bytes), input->order, sizeof(struct said));
    return AGG_ADDED;
}

static bool wants_said(struct fr_slice memory, const struct agg_input *input)
{
    return memory.length == 0 || agg_order__compare(input->order, memory.bytes, 3) > 0;
}

static bool merge_said(struct agg_cell *into, struct fr_slice from)
{
    uint32_t bytes;
    const struct said *mine = agg_cell__memory(into, &bytes);

    if (mine && agg_order__compare((const uint64_t *)mine, from.bytes, 3) >= 0)
        return true;
    if (!agg_cell__resize(into, sizeof(struct said)))
        return false;
    memcpy(agg_cell__memory(into, &bytes), from.bytes, sizeof(struct said));
    return true;
}

static void prune_said(struct agg_cell *cell, const struct agg_moment *horizon)
{
    uint32_t bytes;
    const struct said *said = agg_cell__memory(cell, &bytes);

    if (agg_entity__is_expired(cell->entity, (int64_t)said->ts_ms, horizon->time_ms) && !agg_cell__resize(cell, 0))
        return;
}

static void encode_said(const struct agg_feature *feature, struct fr_slice memory, struct fr_buffer *disk)
{
    const struct said *said = memory.bytes;

    (void)feature;
    fr_buffer_append_varint(disk, said->ts_ms);
    fr_buffer_append_fixed64(disk, said->event_id);
    fr_buffer_append_varint(disk, said->action);
}

static void decode_said(struct agg_cell *cell, struct fr_reader *reader)
{
    struct said said;
    uint32_t bytes;

    said.ts_ms = fr_reader_varint(reader);
    said.event_id = fr_reader_fixed64(reader);
    said.action = fr_reader_varint(reader);
    if (said.ts_ms == 0 || said.ts_ms >= (uint64_t)PROTO_TS_MS_END || said.action >= PROTO_ACTIONS ||
        (cell->feature->actions >> said.action & 1) == 0 || !agg_cell__resize(cell, sizeof said))
        reader->is_failed = true;
    if (!reader->is_failed)
        memcpy(agg_cell__memory(cell, &bytes), &said, sizeof said);
}

static void digest_said(const struct agg_feature *feature, struct fr_slice memory, const struct agg_moment *moment,
                        struct agg_facts *facts)
{
    const struct said *said = memory.bytes;

    if (!agg_entity__is_expired(feature->entity, (int64_t)said->ts_ms, moment->time_ms))
        agg_facts__add_cell(facts, feature, memory.bytes, 3);
}

static int64_t bytes_said(const struct agg_feature *feature)
{
    (void)feature;
    return sizeof(struct said);
}

enum agg_life agg_life__read(const struct agg_feature *life, struct fr_slice memory, int64_t time_ms)
{
    const struct said *said = memory.bytes;

    if (memory.length == 0 || agg_entity__is_expired(life->entity, (int64_t)said->ts_ms, time_ms))
        return AGG_LIFE_UNSAID;
    return said->action == ITEM_ON || said->action == ROOM_START ? AGG_LIFE_ON : AGG_LIFE_OFF;
}

/* ---- the catalogue's ---- */

static struct agg_feature *add_life(struct agg_catalogue *catalogue, struct agg_entity *entity, uint32_t on, uint32_t off)
{
    struct agg_feature *feature = agg_feature__kept(catalogue, entity, "life", AGG_LIFE);

    if (feature)
        feature->actions = UINT32_C(1) << on | UINT32_C(1) << off;
    return feature;
}

/* Candidates by their moment, spread over the shards so that no entity is long or fought over. */
struct agg_feature *agg_recent__add(struct agg_catalogue *catalogue, struct agg_entity *entity, const char *name, bool is_first)
{
    static const uint8_t key[] = {AGG_KEY_ALL};
    struct agg_entity *shard = agg_catalogue__hidden(catalogue, "(recent)", key, 1);
    struct agg_feature *top = shard ? agg_feature__kept(catalogue, shard, name, AGG_TOP) : NULL;
    struct agg_feed feed = {.top = top, .id = 0, .scope = AGG_SCOPE_SHARD};

    if (!top)
        return NULL;
    shard->is_fed = true;
    top->limit = AGG_SHARD_KEPT;
    top->is_first = is_first;
    top->new_ms = AGG_NEW_MS;
    entity->has_first = entity->has_first || is_first;
    top->ranked = entity;
    return agg_feed__add(catalogue, entity, &feed) ? top : NULL;
}

bool agg_life__add(struct agg_catalogue *catalogue)
{
    if (catalogue->item) {
        catalogue->item_life = add_life(catalogue, catalogue->item, ITEM_ON, ITEM_OFF);
        if (!catalogue->item_life)
            return false;
        catalogue->recent_items = agg_recent__add(catalogue, catalogue->item, catalogue->item->name, true);
    }
    if (catalogue->room) {
        catalogue->room_life = add_life(catalogue, catalogue->room, ROOM_START, ROOM_END);
        if (!catalogue->room_life)
            return false;
        catalogue->recent_rooms = agg_recent__add(catalogue, catalogue->room, catalogue->room->name, false);
    }
    return (!catalogue->item || catalogue->recent_items) && (!catalogue->room || catalogue->recent_rooms);
}

static const struct agg_cell_type life_cells = {.part = STORE_PART_SKETCHES,
                                                .add = add_said,
                                                .wants = wants_said,
                                                .merge = merge_said,
                                                .prune = prune_said,
                                                .encode = encode_said,
                                                .decode = decode_said,
                                                .digest = digest_said,
                                                .bytes_most = bytes_said};
const struct agg_type agg_type__life = {.name = "life", .is_hidden = true, .cells = &life_cells};
