/*
 * Any bytes as an entity's part from disk: refused, or read into a memory form that has one disk form. The first byte of an input
 * chooses entity and part.
 */
#include <freshet/aggregators.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char configuration[] =
    "entities:\n"
    "  user: { key: [user_id] }\n"
    "  item: { key: [item_id] }\n"
    "  room: { key: [room_id] }\n"
    "  user_category: { key: [user_id, category_id], retention: 7d }\n"
    "features:\n"
    "  watches: { entity: item, actions: [watch], aggregate: count, windows: [1m, 5m, 1h, 24h, 7d] }\n"
    "  watch_time: { entity: item, actions: [watch], aggregate: sum, windows: [5m, 1h] }\n"
    "  gifts: { entity: room, actions: [gift], aggregate: sum, windows: [1h] }\n"
    "  recent: { entity: user, aggregate: last, limit: 8, fields: [item_id, action, ts_ms, value] }\n"
    "  seen: { entity: user, aggregate: last, limit: 4, fields: [item_id, propensity] }\n"
    "  liked: { entity: user_category, actions: [like], aggregate: count, windows: [1h] }\n"
    "  viewers: { entity: item, aggregate: distinct, windows: [5m, 24h] }\n"
    "  middle: { entity: item, aggregate: quantile, q: 0.5, windows: [1m, 1h] }\n"
    "  online: { entity: room, aggregate: gauge, up: [enter_room, watch], down: [leave_room], timeout: 10m }\n"
    "  pulse: { entity: room, actions: [like, watch, gift], aggregate: series, bin: 10s, bins: 60, emit: [value, age] }\n"
    "  heat: { entity: item, actions: [watch, like], weights: { like: 3 }, aggregate: decayed, half_life: 10m }\n"
    "  related: { entity: item, aggregate: covisit, from: recent, within: 30m, half_life: 1d, limit: 5 }\n"
    "  capped: { entity: item, aggregate: capped, cap: 2, windows: [1h] }\n"
    "  uneven: { entity: item, aggregate: gini, windows: [1h] }\n"
    "  placed: { entity: item, aggregate: coec, windows: [1h] }\n"
    "lists:\n"
    "  trending: { of: item, rank: heat, scopes: [global, category_id], limit: 3 }\n";

static struct agg_catalogue *open_catalogue(void)
{
    static struct agg_catalogue *catalogue; /* reachable to the end: no leak */
    struct agg_dedupe dedupe = {.ids = 4, .horizon_ms = 600000};
    struct fr_diagnostics diagnostics;
    struct fr_arena *arena;
    struct fr_yaml *root;

    if (catalogue)
        return catalogue;
    arena = fr_arena_new(1 << 20);
    fr_diagnostics_init(&diagnostics, "fuzz.yaml");
    if (!arena || !fr_yaml_parse(fr_slice_of(configuration), arena, &root, &diagnostics))
        abort();
    catalogue = agg_catalogue_parse(root, &dedupe, &diagnostics);
    if (!catalogue)
        abort();
    fr_diagnostics_fini(&diagnostics);
    fr_arena_free(arena);
    return catalogue;
}

static void recode(struct store_codec codec, const struct store_key *key, enum store_part part, struct fr_slice disk,
                   struct fr_buffer *again)
{
    struct fr_buffer memory;

    fr_buffer_init(&memory);
    if (!codec.decode(codec.user, key, part, disk, &memory))
        abort(); /* our own bytes */
    codec.encode(codec.user, key, part, memory.bytes, (uint32_t)memory.length, again);
    fr_buffer_fini(&memory);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store_codec codec = agg_codec(open_catalogue());
    struct store_key key = {.id_count = 1, .ids = {7, 0, 0}};
    struct fr_buffer memory, first, second;
    enum store_part part;

    if (size == 0)
        return 0;
    key.kind = (uint8_t)(1 + data[0] % 4 + (data[0] >> 4) % 4 * 4); /* from 5 on hidden entities */
    part = (enum store_part)((data[0] >> 2) % STORE_PARTS);
    fr_buffer_init(&memory);
    fr_buffer_init(&first);
    fr_buffer_init(&second);
    if (codec.decode(codec.user, &key, part, fr_slice(data + 1, size - 1), &memory)) {
        codec.encode(codec.user, &key, part, memory.bytes, (uint32_t)memory.length, &first);
        if (first.length > 0)
            recode(codec, &key, part, fr_buffer_slice(&first), &second);
        if (!fr_slice_equal(fr_buffer_slice(&first), fr_buffer_slice(&second)))
            abort();
    }
    fr_buffer_fini(&memory);
    fr_buffer_fini(&first);
    fr_buffer_fini(&second);
    return 0;
}
