/*
 * The life of items and rooms: of ITEM_ON and ITEM_OFF, of ROOM_START and ROOM_END the latest by the total order, remembered like an
 * attribute; and the time of an item's first event, while it is new. Hidden features of the item and the room: whoever never
 * had such an event has no cell.
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

/* ---- the first event ---- */

/* An item that was there before and has no cell is no longer new. */
static bool wants_first(struct fr_slice memory, const struct agg_input *input)
{
    if (memory.length == 0)
        return input->is_new && input->horizon->time_ms - input->event->ts_ms < AGG_NEW_MS;
    return input->event->ts_ms < *(const int64_t *)memory.bytes;
}

static enum agg_added add_first(struct agg_cell *cell, const struct agg_input *input)
{
    uint32_t bytes;

    if (!agg_cell__resize(cell, sizeof(int64_t)))
        return AGG_NO_MEMORY;
    memcpy(agg_cell__memory(cell, &bytes), &input->event->ts_ms, sizeof(int64_t));
    return AGG_ADDED;
}

static void prune_first(struct agg_cell *cell, const struct agg_moment *horizon)
{
    uint32_t bytes;
    const int64_t *first_ms = agg_cell__memory(cell, &bytes);

    if (horizon->time_ms - *first_ms >= AGG_NEW_MS && !agg_cell__resize(cell, 0))
        return;
}

static void encode_first(const struct agg_feature *feature, struct fr_slice memory, struct fr_buffer *disk)
{
    (void)feature;
    fr_buffer_append_varint(disk, *(const uint64_t *)memory.bytes);
}

static void decode_first(struct agg_cell *cell, struct fr_reader *reader)
{
    uint64_t first_ms = fr_reader_varint(reader);
    uint32_t bytes;

    if (first_ms == 0 || first_ms >= (uint64_t)PROTO_TS_MS_END || !agg_cell__resize(cell, sizeof first_ms))
        reader->is_failed = true;
    if (!reader->is_failed)
        memcpy(agg_cell__memory(cell, &bytes), &first_ms, sizeof first_ms);
}

static void digest_first(const struct agg_feature *feature, struct fr_slice memory, const struct agg_moment *moment,
                         struct agg_facts *facts)
{
    if (moment->time_ms - *(const int64_t *)memory.bytes < AGG_NEW_MS)
        agg_facts__add_cell(facts, feature, memory.bytes, 1);
}

static int64_t bytes_first(const struct agg_feature *feature)
{
    (void)feature;
    return sizeof(int64_t);
}

int64_t agg_first__read(struct fr_slice memory)
{
    return memory.length > 0 ? *(const int64_t *)memory.bytes : 0;
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
static struct agg_feature *add_recent(struct agg_catalogue *catalogue, struct agg_entity *entity, struct agg_feature *source)
{
    static const uint8_t key[] = {AGG_KEY_ALL};
    struct agg_entity *shard = agg_catalogue__hidden(catalogue, "(recent)", key, 1);
    struct agg_feature *top = shard ? agg_feature__kept(catalogue, shard, entity->name, AGG_TOP) : NULL;
    struct agg_feed feed = {.top = top, .source = source, .id = 0, .scope = AGG_SCOPE_SHARD};

    if (!top)
        return NULL;
    shard->is_fed = true;
    top->limit = AGG_SHARD_KEPT;
    top->source = source;
    top->ranked = entity;
    return agg_feed__add(catalogue, entity, &feed) ? top : NULL;
}

bool agg_life__add(struct agg_catalogue *catalogue)
{
    if (catalogue->item) {
        catalogue->item_life = add_life(catalogue, catalogue->item, ITEM_ON, ITEM_OFF);
        catalogue->item_first = agg_feature__kept(catalogue, catalogue->item, "first", AGG_FIRST);
        if (!catalogue->item_life || !catalogue->item_first)
            return false;
        catalogue->recent_items = add_recent(catalogue, catalogue->item, catalogue->item_first);
    }
    if (catalogue->room) {
        catalogue->room_life = add_life(catalogue, catalogue->room, ROOM_START, ROOM_END);
        if (!catalogue->room_life)
            return false;
        catalogue->recent_rooms = add_recent(catalogue, catalogue->room, NULL);
    }
    return (!catalogue->item || catalogue->recent_items) && (!catalogue->room || catalogue->recent_rooms);
}

static const struct agg_cell_type life_cells = {.part = STORE_PART_SKETCHES,
                                                .add = add_said,
                                                .wants = wants_said,
                                                .prune = prune_said,
                                                .encode = encode_said,
                                                .decode = decode_said,
                                                .digest = digest_said,
                                                .bytes_most = bytes_said};
/*
 * Among the lists: an item that was absent and is back is new again, and whether it was absent when a late event came depends on
 * the order of arrival.
 */
static const struct agg_cell_type first_cells = {.part = STORE_PART_LISTS,
                                                 .add = add_first,
                                                 .wants = wants_first,
                                                 .prune = prune_first,
                                                 .encode = encode_first,
                                                 .decode = decode_first,
                                                 .digest = digest_first,
                                                 .bytes_most = bytes_first};

const struct agg_type agg_type__life = {.name = "life", .is_hidden = true, .cells = &life_cells};
const struct agg_type agg_type__first = {.name = "first", .is_hidden = true, .cells = &first_cells};
