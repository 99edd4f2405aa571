/*
 * The registry: which number means which entity and feature, kept in the store beside the state that the numbers stand in. Numbers
 * are never used twice. A feature that is the same but for fewer windows or a smaller limit goes on; any other change, or a
 * return after removal, is a new generation with a new slot, and what lies under the old one is dropped as it is read.
 */
#include "internal.h"

#include <inttypes.h>
#include <stdlib.h>

enum { FORMAT = 1, REGISTRY_BYTES_MAX = 64 << 20, ENTRIES_MAX = 1 << 20 };

struct kind {
    struct fr_slice name;
    uint64_t number;
    bool is_retired;
    uint8_t key[STORE_KEY_IDS_MAX];
    uint64_t key_count;
};

struct slot {
    struct fr_slice name, definition;
    bool is_retired;
    int64_t windows_ms[AGG_WINDOWS_MAX];
    uint64_t window_count;
    uint64_t limit, number, generation;
    int64_t complete_from_ms;
};

struct registry {
    uint64_t next_kind, next_slot;
    struct kind *kinds;
    struct slot *slots;
    uint64_t kind_count, slot_count;
};

/* ---- from bytes ---- */

static struct fr_slice read_text(struct fr_reader *reader)
{
    return fr_reader_bytes(reader, fr_reader_varint(reader));
}

static void read_kind(struct fr_reader *reader, struct kind *kind)
{
    kind->name = read_text(reader);
    kind->number = fr_reader_varint(reader);
    kind->is_retired = fr_reader_varint(reader) != 0;
    kind->key_count = fr_reader_varint(reader);
    if (kind->key_count > STORE_KEY_IDS_MAX || kind->number == 0 || kind->number > AGG_KINDS_MAX)
        reader->is_failed = true;
    for (uint64_t i = 0; i < kind->key_count && !reader->is_failed; i++)
        kind->key[i] = (uint8_t)fr_reader_varint(reader);
}

static void read_slot(struct fr_reader *reader, struct slot *slot)
{
    slot->name = read_text(reader);
    slot->definition = read_text(reader);
    slot->is_retired = fr_reader_varint(reader) != 0;
    slot->window_count = fr_reader_varint(reader);
    if (slot->window_count > AGG_WINDOWS_MAX)
        reader->is_failed = true;
    for (uint64_t i = 0; i < slot->window_count && !reader->is_failed; i++)
        slot->windows_ms[i] = fr_reader_zigzag(reader);
    slot->limit = fr_reader_varint(reader);
    slot->number = fr_reader_varint(reader);
    slot->generation = fr_reader_varint(reader);
    slot->complete_from_ms = fr_reader_zigzag(reader);
}

static bool read_registry(struct fr_slice value, struct fr_arena *arena, struct registry *registry, struct fr_err *err)
{
    struct fr_reader reader = fr_reader(value);

    if (value.length == 0) {
        registry->next_kind = 1;
        return true;
    }
    if (fr_reader_varint(&reader) != FORMAT)
        reader.is_failed = true;
    registry->next_kind = fr_reader_varint(&reader);
    registry->next_slot = fr_reader_varint(&reader);
    registry->kind_count = fr_reader_varint(&reader);
    registry->slot_count = fr_reader_varint(&reader);
    if (registry->kind_count > AGG_KINDS_MAX || registry->slot_count > ENTRIES_MAX || registry->next_slot > ENTRIES_MAX)
        reader.is_failed = true;
    if (!reader.is_failed) {
        registry->kinds = fr_arena_take_zeroed(arena, registry->kind_count + 1, sizeof *registry->kinds);
        registry->slots = fr_arena_take_zeroed(arena, registry->slot_count + 1, sizeof *registry->slots);
        if (!registry->kinds || !registry->slots)
            return fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory");
    }
    for (uint64_t i = 0; i < registry->kind_count && !reader.is_failed; i++)
        read_kind(&reader, &registry->kinds[i]);
    for (uint64_t i = 0; i < registry->slot_count && !reader.is_failed; i++) {
        read_slot(&reader, &registry->slots[i]);
        if (registry->slots[i].number >= registry->next_slot)
            reader.is_failed = true;
    }
    if (reader.is_failed || reader.at != reader.end)
        return fr_fail(err, FR_CORRUPT,
                       "aggregators: the store's catalogue makes no sense; restore a backup, or replay into an "
                       "empty store.path");
    return true;
}

/* ---- what goes on and what is new ---- */

static bool is_same_key(const struct kind *kind, const struct agg_entity *entity)
{
    return kind->key_count == (uint64_t)entity->key_count && memcmp(kind->key, entity->key, (size_t)entity->key_count) == 0;
}

static bool number_kinds(struct agg_catalogue *catalogue, struct registry *registry, struct fr_err *err)
{
    memset(catalogue->kinds, 0, sizeof catalogue->kinds);
    for (int i = 0; i < catalogue->entity_count; i++) {
        struct agg_entity *entity = catalogue->entities[i];
        uint64_t number = 0;

        for (uint64_t k = 0; k < registry->kind_count; k++) {
            if (fr_slice_is(registry->kinds[k].name, entity->name) && !registry->kinds[k].is_retired &&
                is_same_key(&registry->kinds[k], entity))
                number = registry->kinds[k].number;
        }
        if (number == 0)
            number = registry->next_kind++;
        if (number > AGG_KINDS_MAX)
            return fr_fail(err, FR_BAD_CONFIG,
                           "aggregators: this store has seen %d kinds of entities and takes no more; replay "
                           "into an empty store.path",
                           AGG_KINDS_MAX);
        entity->kind = (uint8_t)number;
        catalogue->kinds[number] = entity;
    }
    return true;
}

static bool has_window(const struct slot *slot, int64_t window_ms)
{
    for (uint64_t i = 0; i < slot->window_count; i++) {
        if (slot->windows_ms[i] == window_ms)
            return true;
    }
    return false;
}

/* The state under the slot is this feature's, or holds more than it. */
static bool goes_on(const struct slot *slot, const struct agg_feature *feature)
{
    if (slot->is_retired || !fr_slice_is(slot->definition, feature->definition) || feature->limit > slot->limit)
        return false;
    for (int i = 0; i < feature->window_count; i++) {
        if (!has_window(slot, feature->windows_ms[i]))
            return false;
    }
    return true;
}

static const struct slot *find_slot(const struct registry *registry, const char *name)
{
    for (uint64_t i = 0; i < registry->slot_count; i++) {
        if (fr_slice_is(registry->slots[i].name, name))
            return &registry->slots[i];
    }
    return NULL;
}

static bool number_slots(struct agg_catalogue *catalogue, struct registry *registry, int64_t stream_time_ms, struct fr_err *err)
{
    for (int i = 0; i < catalogue->feature_count; i++) {
        struct agg_feature *feature = catalogue->features[i];
        const struct slot *slot = find_slot(registry, feature->name);

        if (slot && goes_on(slot, feature)) {
            feature->slot = (uint32_t)slot->number;
            feature->generation = (uint32_t)slot->generation;
            feature->complete_from_ms = slot->complete_from_ms;
        } else {
            feature->slot = (uint32_t)registry->next_slot++;
            feature->generation = slot ? (uint32_t)slot->generation + 1 : 1;
            feature->complete_from_ms = stream_time_ms;
        }
    }
    if (registry->next_slot > ENTRIES_MAX)
        return fr_fail(err, FR_BAD_CONFIG,
                       "aggregators: this store has seen %d features and takes no more; replay into an empty "
                       "store.path",
                       ENTRIES_MAX);
    if (!agg_catalogue__slots_reset(catalogue, (uint32_t)registry->next_slot))
        return fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory");
    for (int i = 0; i < catalogue->feature_count; i++)
        catalogue->slots[catalogue->features[i]->slot] = catalogue->features[i];
    return true;
}

/* ---- to bytes ---- */

static void append_text(struct fr_buffer *out, struct fr_slice text)
{
    fr_buffer_append_varint(out, text.length);
    fr_buffer_append(out, text.bytes, text.length);
}

static void append_kind(struct fr_buffer *out, const struct kind *kind)
{
    append_text(out, kind->name);
    fr_buffer_append_varint(out, kind->number);
    fr_buffer_append_varint(out, kind->is_retired);
    fr_buffer_append_varint(out, kind->key_count);
    for (uint64_t i = 0; i < kind->key_count; i++)
        fr_buffer_append_varint(out, kind->key[i]);
}

static void append_slot(struct fr_buffer *out, const struct slot *slot)
{
    append_text(out, slot->name);
    append_text(out, slot->definition);
    fr_buffer_append_varint(out, slot->is_retired);
    fr_buffer_append_varint(out, slot->window_count);
    for (uint64_t i = 0; i < slot->window_count; i++)
        fr_buffer_append_zigzag(out, slot->windows_ms[i]);
    fr_buffer_append_varint(out, slot->limit);
    fr_buffer_append_varint(out, slot->number);
    fr_buffer_append_varint(out, slot->generation);
    fr_buffer_append_zigzag(out, slot->complete_from_ms);
}

static struct kind kind_of(const struct agg_entity *entity)
{
    struct kind kind = {.name = fr_slice_of(entity->name), .number = entity->kind, .key_count = (uint64_t)entity->key_count};

    memcpy(kind.key, entity->key, sizeof kind.key);
    return kind;
}

static struct slot slot_of(const struct agg_feature *feature)
{
    struct slot slot = {.name = fr_slice_of(feature->name),
                        .definition = fr_slice_of(feature->definition),
                        .window_count = (uint64_t)feature->window_count,
                        .limit = feature->limit,
                        .number = feature->slot,
                        .generation = feature->generation,
                        .complete_from_ms = feature->complete_from_ms};

    memcpy(slot.windows_ms, feature->windows_ms, sizeof slot.windows_ms);
    return slot;
}

/* Those of the configuration first, then what it no longer has: a return must be told from a start. */
static void write_registry(const struct agg_catalogue *catalogue, struct registry *registry, struct fr_buffer *out)
{
    uint64_t kinds = (uint64_t)catalogue->entity_count, slots = (uint64_t)catalogue->feature_count;

    for (uint64_t i = 0; i < registry->kind_count; i++) {
        registry->kinds[i].is_retired = !agg_catalogue__entity(catalogue, registry->kinds[i].name);
        kinds += registry->kinds[i].is_retired;
    }
    for (uint64_t i = 0; i < registry->slot_count; i++) {
        registry->slots[i].is_retired = !agg_catalogue__feature(catalogue, registry->slots[i].name);
        slots += registry->slots[i].is_retired;
    }
    fr_buffer_append_varint(out, FORMAT);
    fr_buffer_append_varint(out, registry->next_kind);
    fr_buffer_append_varint(out, registry->next_slot);
    fr_buffer_append_varint(out, kinds);
    fr_buffer_append_varint(out, slots);
    for (int i = 0; i < catalogue->entity_count; i++) {
        struct kind kind = kind_of(catalogue->entities[i]);

        append_kind(out, &kind);
    }
    for (uint64_t i = 0; i < registry->kind_count; i++) {
        if (registry->kinds[i].is_retired)
            append_kind(out, &registry->kinds[i]);
    }
    for (int i = 0; i < catalogue->feature_count; i++) {
        struct slot slot = slot_of(catalogue->features[i]);

        append_slot(out, &slot);
    }
    for (uint64_t i = 0; i < registry->slot_count; i++) {
        if (registry->slots[i].is_retired)
            append_slot(out, &registry->slots[i]);
    }
}

bool agg_registry__open(struct agg_catalogue *catalogue, struct store *store, int64_t stream_time_ms, struct fr_err *err)
{
    struct fr_arena *arena = fr_arena_new(REGISTRY_BYTES_MAX);
    struct registry registry = {0};
    struct fr_buffer value;
    bool ok;

    if (!arena)
        return fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory");
    fr_buffer_init(&value);
    ok = read_registry(store_meta_get(store, "catalogue"), arena, &registry, err) && number_kinds(catalogue, &registry, err) &&
         number_slots(catalogue, &registry, stream_time_ms, err);
    if (ok) {
        write_registry(catalogue, &registry, &value);
        ok = !value.is_failed || fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory");
    }
    if (ok)
        store_meta_put(store, "catalogue", fr_buffer_slice(&value));
    fr_buffer_fini(&value);
    fr_arena_free(arena);
    return ok;
}
