/*
 * The registry: which number means which entity and feature, kept in the store beside the state that the numbers stand in. Numbers
 * are never used twice. A feature that is the same but for fewer windows or a smaller limit goes on; any other change, or a
 * return after removal, is a new generation with a new slot, and what lies under the old one is dropped as it is read.
 */
#include "registry.h"

#include <inttypes.h>
#include <stdlib.h>

/* 2 added retention and emit; 1 is still read. */
enum { FORMAT = 2, FORMAT_OLDEST = 1, ENTRIES_MAX = 1 << 20 };

/* ---- from bytes ---- */

static struct fr_slice read_text(struct fr_reader *reader)
{
    return fr_reader_bytes(reader, fr_reader_varint(reader));
}

static void read_kind(struct fr_reader *reader, uint64_t format, struct agg_kept_kind *kind)
{
    kind->name = read_text(reader);
    kind->number = fr_reader_varint(reader);
    kind->is_retired = fr_reader_varint(reader) != 0;
    kind->key_count = fr_reader_varint(reader);
    if (kind->key_count > STORE_KEY_IDS_MAX || kind->number == 0 || kind->number > AGG_KINDS_MAX)
        reader->is_failed = true;
    for (uint64_t i = 0; i < kind->key_count && !reader->is_failed; i++)
        kind->key[i] = (uint8_t)fr_reader_varint(reader);
    kind->retention_ms = format >= 2 ? fr_reader_zigzag(reader) : -1;
}

static void read_slot(struct fr_reader *reader, uint64_t format, struct agg_kept_slot *slot)
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
    slot->emit = format >= 2 ? fr_reader_varint(reader) : 1 << AGG_OUTPUT_VALUE;
    slot->number = fr_reader_varint(reader);
    slot->generation = fr_reader_varint(reader);
    slot->complete_from_ms = fr_reader_zigzag(reader);
}

bool agg_registry__read(struct store *store, struct fr_arena *arena, struct agg_registry *registry, struct fr_err *err)
{
    struct fr_slice value = store_meta_get(store, "catalogue");
    struct fr_reader reader = fr_reader(value);
    uint64_t format;

    *registry = (struct agg_registry){0};
    if (value.length == 0) {
        registry->next_kind = 1;
        return true;
    }
    format = fr_reader_varint(&reader);
    if (format > FORMAT)
        return fr_fail(err, FR_BAD_CONFIG,
                       "aggregators: the store's catalogue has format %" PRIu64 ", this freshet knows %d; use the newer one "
                       "that wrote it",
                       format, FORMAT);
    if (format < FORMAT_OLDEST)
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
        read_kind(&reader, format, &registry->kinds[i]);
    for (uint64_t i = 0; i < registry->slot_count && !reader.is_failed; i++) {
        read_slot(&reader, format, &registry->slots[i]);
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

const struct agg_kept_kind *agg_registry__kind(const struct agg_registry *registry, const char *name)
{
    for (uint64_t i = 0; i < registry->kind_count; i++) {
        if (fr_slice_is(registry->kinds[i].name, name))
            return &registry->kinds[i];
    }
    return NULL;
}

const struct agg_kept_slot *agg_registry__slot(const struct agg_registry *registry, const char *name)
{
    for (uint64_t i = 0; i < registry->slot_count; i++) {
        if (fr_slice_is(registry->slots[i].name, name))
            return &registry->slots[i];
    }
    return NULL;
}

static bool is_same_key(const struct agg_kept_kind *kind, const struct agg_entity *entity)
{
    return kind->key_count == (uint64_t)entity->key_count && memcmp(kind->key, entity->key, (size_t)entity->key_count) == 0;
}

enum agg_fate agg_registry__judge_kind(const struct agg_kept_kind *kind, const struct agg_entity *entity)
{
    if (!kind)
        return AGG_NEW;
    if (kind->is_retired || !is_same_key(kind, entity))
        return AGG_EMPTY;
    if (kind->retention_ms < 0 || entity->retention_ms == kind->retention_ms || entity->retention_ms == 0)
        return AGG_KEPT; /* what a shorter retention has taken does not come back with a longer one */
    return kind->retention_ms == 0 || entity->retention_ms < kind->retention_ms ? AGG_KEPT_LESS : AGG_KEPT;
}

static bool has_window(const struct agg_kept_slot *slot, int64_t window_ms)
{
    for (uint64_t i = 0; i < slot->window_count; i++) {
        if (slot->windows_ms[i] == window_ms)
            return true;
    }
    return false;
}

/* The state under the slot is this feature's, or holds more than it: windows, limit and emit may shrink, nothing else may change. */
enum agg_fate agg_registry__judge_slot(const struct agg_kept_slot *slot, const struct agg_feature *feature)
{
    if (!slot)
        return AGG_NEW;
    if (slot->is_retired || !fr_slice_is(slot->definition, feature->definition) || feature->limit > slot->limit ||
        (feature->emits & ~slot->emit) != 0)
        return AGG_EMPTY;
    for (int i = 0; i < feature->window_count; i++) {
        if (!has_window(slot, feature->windows_ms[i]))
            return AGG_EMPTY;
    }
    return (uint64_t)feature->window_count < slot->window_count || feature->limit < slot->limit || feature->emits != slot->emit
               ? AGG_KEPT_LESS
               : AGG_KEPT;
}

static bool goes_on(enum agg_fate fate)
{
    return fate == AGG_KEPT || fate == AGG_KEPT_LESS;
}

static bool number_kinds(struct agg_catalogue *catalogue, struct agg_registry *registry, struct fr_err *err)
{
    memset(catalogue->kinds, 0, sizeof catalogue->kinds);
    for (int i = 0; i < catalogue->entity_count; i++) {
        struct agg_entity *entity = catalogue->entities[i];
        const struct agg_kept_kind *kind = agg_registry__kind(registry, entity->name);
        uint64_t number = goes_on(agg_registry__judge_kind(kind, entity)) ? kind->number : registry->next_kind++;

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

static bool number_slots(struct agg_catalogue *catalogue, struct agg_registry *registry, int64_t stream_time_ms,
                         struct fr_err *err)
{
    for (int i = 0; i < catalogue->feature_count; i++) {
        struct agg_feature *feature = catalogue->features[i];
        const struct agg_kept_slot *slot = agg_registry__slot(registry, feature->name);

        if (goes_on(agg_registry__judge_slot(slot, feature))) {
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

static void append_kind(struct fr_buffer *out, const struct agg_kept_kind *kind)
{
    append_text(out, kind->name);
    fr_buffer_append_varint(out, kind->number);
    fr_buffer_append_varint(out, kind->is_retired);
    fr_buffer_append_varint(out, kind->key_count);
    for (uint64_t i = 0; i < kind->key_count; i++)
        fr_buffer_append_varint(out, kind->key[i]);
    fr_buffer_append_zigzag(out, kind->retention_ms);
}

static void append_slot(struct fr_buffer *out, const struct agg_kept_slot *slot)
{
    append_text(out, slot->name);
    append_text(out, slot->definition);
    fr_buffer_append_varint(out, slot->is_retired);
    fr_buffer_append_varint(out, slot->window_count);
    for (uint64_t i = 0; i < slot->window_count; i++)
        fr_buffer_append_zigzag(out, slot->windows_ms[i]);
    fr_buffer_append_varint(out, slot->limit);
    fr_buffer_append_varint(out, slot->emit);
    fr_buffer_append_varint(out, slot->number);
    fr_buffer_append_varint(out, slot->generation);
    fr_buffer_append_zigzag(out, slot->complete_from_ms);
}

static struct agg_kept_kind kind_of(const struct agg_entity *entity)
{
    struct agg_kept_kind kind = {.name = fr_slice_of(entity->name),
                                 .number = entity->kind,
                                 .key_count = (uint64_t)entity->key_count,
                                 .retention_ms = entity->retention_ms};

    memcpy(kind.key, entity->key, sizeof kind.key);
    return kind;
}

static struct agg_kept_slot slot_of(const struct agg_feature *feature)
{
    struct agg_kept_slot slot = {.name = fr_slice_of(feature->name),
                                 .definition = fr_slice_of(feature->definition),
                                 .window_count = (uint64_t)feature->window_count,
                                 .limit = feature->limit,
                                 .emit = feature->emits,
                                 .number = feature->slot,
                                 .generation = feature->generation,
                                 .complete_from_ms = feature->complete_from_ms};

    memcpy(slot.windows_ms, feature->windows_ms, sizeof slot.windows_ms);
    return slot;
}

/* Those of the configuration first, then what it no longer has: a return must be told from a start. */
static void write_registry(const struct agg_catalogue *catalogue, struct agg_registry *registry, struct fr_buffer *out)
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
        struct agg_kept_kind kind = kind_of(catalogue->entities[i]);

        append_kind(out, &kind);
    }
    for (uint64_t i = 0; i < registry->kind_count; i++) {
        if (registry->kinds[i].is_retired)
            append_kind(out, &registry->kinds[i]);
    }
    for (int i = 0; i < catalogue->feature_count; i++) {
        struct agg_kept_slot slot = slot_of(catalogue->features[i]);

        append_slot(out, &slot);
    }
    for (uint64_t i = 0; i < registry->slot_count; i++) {
        if (registry->slots[i].is_retired)
            append_slot(out, &registry->slots[i]);
    }
}

bool agg_registry__open(struct agg_catalogue *catalogue, struct store *store, int64_t stream_time_ms, struct fr_err *err)
{
    struct fr_arena *arena = fr_arena_new(AGG_REGISTRY_BYTES_MAX);
    struct agg_registry registry;
    struct fr_buffer value;
    bool ok;

    if (!arena)
        return fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory");
    fr_buffer_init(&value);
    ok = agg_registry__read(store, arena, &registry, err) && number_kinds(catalogue, &registry, err) &&
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
