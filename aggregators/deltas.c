/*
 * Deltas: what a lane's events meant for entities without a user since the last epoch, by entity, and the way into another instance's
 * state. A delta is an entity in memory that is applied to like any other, but for rows that images.c tells; its bytes are those of its
 * parts on disk.
 *
 * On the wire: key: kind u8 | id_count u8 | ids, big endian. Value: for each part in order its length and bytes, 0 for none | feeds: count,
 * for each its list's slot, the time of the event that it hears of.
 */
#include "cells.h"
#include "feeds.h"
#include "merge.h"

#include <stdlib.h>

enum { ENTRIES_FIRST = 256, SLOTS_FIRST = 1024, WIRE_KEY_HEAD = 2, KEPT_BYTES_MAX = 1024 };

struct entry {
    struct store_key key;
    uint64_t hash;
    struct fr_buffer parts[STORE_PARTS]; /* in memory's form */
    int64_t *fed_ms; /* by the entity's feeds; NULL: it has none */
};

struct agg_deltas {
    struct agg *agg;
    struct entry *entries;
    uint32_t count, capacity;
    uint32_t made; /* entries that have been something; those from `count` on are empty, and keep memory for the next epoch */
    uint32_t *table; /* hash → entry + 1, open addressing */
    uint32_t mask;
};

/* ---- the table ---- */

struct agg_deltas *agg_deltas_new(struct agg *agg)
{
    struct agg_deltas *deltas = calloc(1, sizeof *deltas);

    if (!deltas)
        return NULL;
    deltas->agg = agg;
    deltas->mask = SLOTS_FIRST - 1;
    deltas->table = calloc(SLOTS_FIRST, sizeof *deltas->table);
    if (deltas->table)
        return deltas;
    free(deltas);
    return NULL;
}

uint64_t agg_deltas_count(const struct agg_deltas *deltas)
{
    return deltas->count;
}

/*
 * Small buffers stay for the next epoch, up to twice as many as this one had: to give them all back and take them again would have the
 * kernel empty some megabytes of pages an epoch, which took longer than what is put there.
 */
void agg_deltas_clear(struct agg_deltas *deltas)
{
    uint64_t kept = (uint64_t)deltas->count * 2;

    for (uint32_t i = 0; i < deltas->made; i++) {
        free(deltas->entries[i].fed_ms);
        deltas->entries[i].fed_ms = NULL;
        for (int part = 0; part < STORE_PARTS; part++) {
            struct fr_buffer *buffer = &deltas->entries[i].parts[part];

            if (i >= kept || buffer->capacity > KEPT_BYTES_MAX)
                fr_buffer_fini(buffer);
            else
                fr_buffer_clear(buffer);
        }
    }
    deltas->made = deltas->made > kept ? (uint32_t)kept : deltas->made;
    deltas->count = 0;
    memset(deltas->table, 0, ((size_t)deltas->mask + 1) * sizeof *deltas->table);
}

void agg_deltas_free(struct agg_deltas *deltas)
{
    if (!deltas)
        return;
    deltas->count = 0;
    agg_deltas_clear(deltas); /* after an epoch with none, nothing is kept */
    free(deltas->entries);
    free(deltas->table);
    free(deltas);
}

static uint32_t slot_of(const struct agg_deltas *deltas, const struct store_key *key, uint64_t hash)
{
    uint32_t slot = (uint32_t)hash & deltas->mask;

    while (deltas->table[slot] != 0) {
        const struct entry *entry = &deltas->entries[deltas->table[slot] - 1];

        if (entry->hash == hash && entry->key.kind == key->kind && memcmp(entry->key.ids, key->ids, sizeof key->ids) == 0)
            break;
        slot = (slot + 1) & deltas->mask;
    }
    return slot;
}

static bool grow(struct agg_deltas *deltas)
{
    uint32_t capacity = deltas->capacity ? deltas->capacity * 2 : ENTRIES_FIRST, slots = deltas->mask + 1;
    struct entry *entries = reallocarray(deltas->entries, capacity, sizeof *entries);
    uint32_t *table;

    if (!entries)
        return false;
    deltas->entries = entries;
    while (slots < capacity * 2)
        slots *= 2;
    if (slots == deltas->mask + 1) {
        deltas->capacity = capacity;
        return true;
    }
    table = calloc(slots, sizeof *table);
    if (!table)
        return false;
    free(deltas->table);
    deltas->table = table;
    deltas->mask = slots - 1;
    deltas->capacity = capacity;
    for (uint32_t i = 0; i < deltas->count; i++)
        table[slot_of(deltas, &entries[i].key, entries[i].hash)] = i + 1;
    return true;
}

static struct entry *add(struct agg_deltas *deltas, const struct store_key *key, uint64_t hash)
{
    const struct agg_entity *entity = deltas->agg->catalogue->kinds[key->kind];
    int64_t *fed_ms = NULL;
    struct entry *entry;

    if (deltas->count == deltas->capacity && !grow(deltas))
        return NULL;
    if (entity->feed_count > 0 && !(fed_ms = calloc((size_t)entity->feed_count, sizeof *fed_ms)))
        return NULL;
    deltas->table[slot_of(deltas, key, hash)] = deltas->count + 1;
    entry = &deltas->entries[deltas->count];
    if (deltas->count == deltas->made) {
        deltas->made++;
        *entry = (struct entry){0};
    }
    deltas->count++;
    entry->key = *key;
    entry->hash = hash;
    entry->fed_ms = fed_ms;
    return entry;
}

struct fr_buffer *agg_deltas__want(struct agg_deltas *deltas, const struct store_key *key, uint64_t hash, int64_t **fed_ms)
{
    uint32_t place = deltas->table[slot_of(deltas, key, hash)];
    struct entry *entry = place != 0 ? &deltas->entries[place - 1] : add(deltas, key, hash);

    *fed_ms = entry ? entry->fed_ms : NULL;
    return entry ? entry->parts : NULL;
}

void agg_deltas__prefetch(const struct agg_deltas *deltas, uint64_t hash, enum agg_deltas_stage stage)
{
    const uint32_t *slot = &deltas->table[(uint32_t)hash & deltas->mask];
    const struct entry *entry;

    if (stage == AGG_DELTAS_SLOT || *slot == 0) {
        __builtin_prefetch(slot);
        return;
    }
    entry = &deltas->entries[*slot - 1]; /* or one beside it, then it is fetched in vain */
    if (stage == AGG_DELTAS_ENTRY) {
        __builtin_prefetch(entry);
        __builtin_prefetch(&entry->parts[STORE_PART_ROWS]);
    } else if (entry->hash == hash && entry->parts[STORE_PART_ROWS].length > 0) {
        const uint8_t *rows = entry->parts[STORE_PART_ROWS].bytes;

        __builtin_prefetch(rows, 1);
        __builtin_prefetch(rows + entry->parts[STORE_PART_ROWS].length - 1, 1);
    }
}

struct agg_deltas *agg_lane_collect(struct agg_lane *lane, struct agg_deltas *deltas)
{
    struct agg_deltas *before = lane->deltas;

    lane->deltas = deltas;
    return before;
}

/* ---- lanes' together ---- */

static bool merge_entry(struct agg_deltas *into, struct entry *from)
{
    const struct agg_entity *entity = into->agg->catalogue->kinds[from->key.kind];
    int64_t *fed_ms;
    struct fr_buffer *parts = agg_deltas__want(into, &from->key, from->hash, &fed_ms);

    for (int i = 0; fed_ms && i < entity->feed_count; i++)
        agg_feeds__note(&entity->feeds[i], from->fed_ms[i], &fed_ms[i]);
    for (int part = 0; parts && part < STORE_PARTS; part++) {
        struct agg_blob blob = agg_blob__of_buffer(&parts[part]);

        if (from->parts[part].length == 0)
            continue;
        blob.is_writable = parts[part].length > 0;
        if (parts[part].length == 0) {
            struct fr_buffer empty = parts[part];

            parts[part] = from->parts[part];
            from->parts[part] = empty;
        } else if (!agg_merge__part(&blob, entity, (enum store_part)part, from->parts[part].bytes, NULL)) {
            return false;
        }
    }
    return parts != NULL;
}

bool agg_deltas_merge(struct agg_deltas *into, struct agg_deltas *from, struct fr_err *err)
{
    struct agg_deltas before = *into;

    if (into->count == 0) { /* as with one lane in every epoch */
        *into = *from;
        *from = before;
        return true;
    }
    for (uint32_t i = 0; i < from->count; i++)
        if (!merge_entry(into, &from->entries[i]))
            return fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory for what an epoch tells others");
    agg_deltas_clear(from);
    return true;
}

/* ---- to the wire ---- */

static void encode_key(const struct store_key *key, struct fr_buffer *wire)
{
    fr_buffer_append_byte(wire, key->kind);
    fr_buffer_append_byte(wire, key->id_count);
    for (int i = 0; i < key->id_count; i++)
        fr_buffer_append_be64(wire, key->ids[i]);
}

/* What a buffer holds behind what is used says nothing. */
static uint32_t used_of(const struct agg_entity *entity, enum store_part part, const struct fr_buffer *memory)
{
    if (memory->length == 0)
        return 0;
    if (part == STORE_PART_ROWS)
        return agg_rows__used((const struct agg_rows *)(const void *)memory->bytes, entity);
    if (part == STORE_PART_SEQUENCES)
        return agg_sequence__used((const struct agg_ring *)(const void *)memory->bytes, entity);
    return agg_cells__used(memory->bytes, entity, part);
}

static void encode_feeds(const struct agg_entity *entity, const int64_t *fed_ms, struct fr_buffer *wire)
{
    uint64_t count = 0;

    for (int i = 0; i < entity->feed_count; i++)
        count += fed_ms[i] != 0;
    fr_buffer_append_varint(wire, count);
    for (int i = 0; i < entity->feed_count; i++) {
        if (fed_ms[i] == 0)
            continue;
        fr_buffer_append_varint(wire, entity->feeds[i].top->slot);
        fr_buffer_append_varint(wire, (uint64_t)fed_ms[i]);
    }
}

static bool encode_value(const struct agg_deltas *deltas, const struct entry *entry, struct fr_buffer *scratch,
                         struct fr_buffer *wire)
{
    struct agg_catalogue *catalogue = deltas->agg->catalogue;
    bool is_any = false;

    for (int part = 0; part < STORE_PARTS; part++) {
        const struct fr_buffer *memory = &entry->parts[part];
        uint32_t used = used_of(catalogue->kinds[entry->key.kind], (enum store_part)part, memory);

        fr_buffer_clear(scratch);
        if (used > 0)
            agg_codec__encode(catalogue, &entry->key, (enum store_part)part, memory->bytes, used, scratch);
        fr_buffer_append_varint(wire, scratch->length);
        fr_buffer_append(wire, scratch->bytes, scratch->length);
        wire->is_failed = wire->is_failed || scratch->is_failed;
        is_any = is_any || scratch->length > 0;
    }
    encode_feeds(catalogue->kinds[entry->key.kind], entry->fed_ms, wire);
    return is_any;
}

bool agg_deltas_each(struct agg_deltas *deltas,
                     bool (*each)(void *user, struct fr_slice key, struct fr_slice value, struct fr_err *err), void *user,
                     struct fr_err *err)
{
    struct fr_buffer key, value, scratch;
    bool goes_on = true;

    fr_buffer_init(&key);
    fr_buffer_init(&value);
    fr_buffer_init(&scratch);
    for (uint32_t i = 0; i < deltas->count && goes_on; i++) {
        fr_buffer_clear(&key);
        fr_buffer_clear(&value);
        encode_key(&deltas->entries[i].key, &key);
        if (!encode_value(deltas, &deltas->entries[i], &scratch, &value))
            continue;
        goes_on = !key.is_failed && !value.is_failed
                      ? each(user, fr_buffer_slice(&key), fr_buffer_slice(&value), err)
                      : fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory for what an epoch tells others");
    }
    fr_buffer_fini(&key);
    fr_buffer_fini(&value);
    fr_buffer_fini(&scratch);
    return goes_on;
}

/* ---- from the wire ---- */

static bool decode_key(const struct agg *agg, struct fr_slice wire, struct store_key *key)
{
    const uint8_t *bytes = wire.bytes;
    const struct agg_entity *entity;
    struct fr_reader ids;

    *key = (struct store_key){0};
    if (wire.length < WIRE_KEY_HEAD || bytes[1] < 1 || bytes[1] > STORE_KEY_IDS_MAX ||
        wire.length != WIRE_KEY_HEAD + (size_t)bytes[1] * sizeof(uint64_t))
        return false;
    key->kind = bytes[0];
    key->id_count = bytes[1];
    ids = fr_reader(fr_slice(bytes + WIRE_KEY_HEAD, wire.length - WIRE_KEY_HEAD));
    for (int i = 0; i < key->id_count; i++)
        key->ids[i] = fr_reader_be64(&ids);
    entity = agg->catalogue->kinds[key->kind];
    return entity && !entity->has_user && !entity->is_fed && entity->key_count == key->id_count;
}

void agg_delta__init(struct agg_delta_parts *parts)
{
    for (int part = 0; part < STORE_PARTS; part++)
        fr_buffer_init(&parts->memory[part]);
    parts->fed_ms = NULL;
}

void agg_delta__fini(struct agg_delta_parts *parts)
{
    for (int part = 0; part < STORE_PARTS; part++)
        fr_buffer_fini(&parts->memory[part]);
    free(parts->fed_ms);
}

/* By slot: where the configuration has its lists need not be the same everywhere. */
static bool decode_feeds(const struct agg_entity *entity, struct fr_reader *reader, struct agg_delta_parts *parts)
{
    uint64_t count = fr_reader_varint(reader);

    free(parts->fed_ms);
    parts->fed_ms = entity->feed_count > 0 ? calloc((size_t)entity->feed_count, sizeof *parts->fed_ms) : NULL;
    if (count > (uint64_t)entity->feed_count || (entity->feed_count > 0 && !parts->fed_ms))
        return false;
    for (uint64_t i = 0; i < count && !reader->is_failed; i++) {
        uint64_t slot = fr_reader_varint(reader), ts_ms = fr_reader_varint(reader);
        int feed = 0;

        while (feed < entity->feed_count && entity->feeds[feed].top->slot != slot)
            feed++;
        if (feed == entity->feed_count || ts_ms == 0 || ts_ms >= (uint64_t)PROTO_TS_MS_END)
            return false;
        parts->fed_ms[feed] = (int64_t)ts_ms;
    }
    return !reader->is_failed;
}

bool agg_delta__decode(const struct agg *agg, const struct store_key *key, struct fr_slice value, struct agg_delta_parts *parts)
{
    struct fr_reader reader = fr_reader(value);

    for (int part = 0; part < STORE_PARTS; part++) {
        struct fr_slice disk = fr_reader_bytes(&reader, fr_reader_varint(&reader));

        fr_buffer_clear(&parts->memory[part]);
        if (reader.is_failed)
            return false;
        if (disk.length > 0 && !agg_codec__decode_delta(agg->catalogue, key, (enum store_part)part, disk, &parts->memory[part]))
            return false;
    }
    return decode_feeds(agg->catalogue->kinds[key->kind], &reader, parts) && reader.at == reader.end;
}

bool agg_deltas_load(struct agg_lane *lane, struct agg_delta *deltas, int count, struct fr_err *err)
{
    agg_lane__begin(lane);
    for (int i = 0; i < count; i++) {
        struct store_key key;
        struct agg_group *group;

        if (!decode_key(lane->agg, deltas[i].key, &key))
            return fr_fail(err, FR_CORRUPT,
                           "aggregators: a delta of an entity that the configuration does not have; all instances of a "
                           "cluster need the same");
        group = agg_lane__want(lane, lane->agg->catalogue->kinds[key.kind], &key);
        if (!group)
            return fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory for deltas");
        deltas[i].group = (int)(group - lane->groups);
    }
    if (!agg_feeds__want(lane))
        return fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory for deltas");
    return store_load(lane->agg->store, lane->keys, lane->hashes, lane->group_count, err);
}
