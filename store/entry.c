/*
 * An entity and its parts. A part is a block of memory changed in place. While an epoch is being written, a part that belongs to
 * it and is not encoded yet is copied before it is changed: the lane goes on in the new block, and the old one hangs behind it
 * for the committer. So nobody waits, and only what is hot enough to change within that moment is copied.
 */
#include "internal.h"

#include <assert.h>
#include <stdlib.h>

/* ---- Blocks ---- */

/*
 * Rounded up to an allocator's size class (four classes a doubling), so that the rounding is ours to use; of whole cache lines, which
 * jemalloc then aligns to cache lines.
 */
static size_t size_class(size_t bytes)
{
    if (bytes <= 512)
        return (bytes + STORE_LINE_BYTES - 1) & ~(size_t)(STORE_LINE_BYTES - 1);

    int doubling = 63 - __builtin_clzll((unsigned long long)bytes - 1);
    size_t step = (size_t)1 << (doubling - 2);
    return (bytes + step - 1) & ~(step - 1);
}

static struct store_block *block_sized(size_t bytes)
{
    size_t whole = size_class(sizeof(struct store_block) + bytes);
    struct store_block *block = malloc(whole);

    if (block == NULL)
        return NULL;
    *block = (struct store_block){.capacity = (uint32_t)(whole - sizeof(*block))};
    return block;
}

struct store_block *store_block__new(struct fr_slice memory)
{
    struct store_block *block = memory.length <= STORE_PART_BYTES_MAX ? block_sized(memory.length) : NULL;

    if (block == NULL)
        return NULL;
    block->bytes = (uint32_t)memory.length;
    if (memory.length > 0)
        memcpy(block->memory, memory.bytes, memory.length);
    return block;
}

size_t store_block__memory_bytes(const struct store_block *block)
{
    return block != NULL ? sizeof(*block) + block->capacity : 0;
}

void store_block__free(struct store_block *block)
{
    free(block);
}

/* ---- Entities ---- */

struct store_entry *store_entry__new(const struct store_key *key, uint8_t stripe)
{
    struct store_entry *entry = malloc(sizeof(*entry));

    if (entry == NULL)
        return NULL;
    *entry = (struct store_entry){.kind = key->kind, .id_count = key->id_count, .partition = key->partition, .stripe = stripe};
    memcpy(entry->ids, key->ids, sizeof(entry->ids[0]) * key->id_count);
    return entry;
}

void store_entry__free(struct store_entry *entry)
{
    for (int part = 0; part < STORE_PARTS; part++) {
        struct store_block *block = entry->parts[part];

        if (block != NULL)
            free(block->before);
        free(block);
    }
    free(entry);
}

bool store_entry__is(const struct store_entry *entry, const struct store_key *key)
{
    return entry->kind == key->kind && entry->id_count == key->id_count && entry->partition == key->partition &&
           memcmp(entry->ids, key->ids, sizeof(entry->ids[0]) * key->id_count) == 0;
}

struct store_key store_entry__key(const struct store_entry *entry)
{
    struct store_key key = {.kind = entry->kind, .id_count = entry->id_count, .partition = entry->partition};

    memcpy(key.ids, entry->ids, sizeof(key.ids));
    return key;
}

size_t store_entry__memory_bytes(const struct store_entry *entry)
{
    size_t bytes = sizeof(*entry);

    for (int part = 0; part < STORE_PARTS; part++)
        bytes += store_block__memory_bytes(entry->parts[part]);
    return bytes;
}

bool store_entry_is_corrupt(const struct store_entry *entry)
{
    return (entry->flags & STORE_CORRUPT) != 0;
}

const void *store_entry_read(const struct store_entry *entry, enum store_part part, uint32_t *bytes)
{
    const struct store_block *block = entry->parts[part];

    *bytes = block != NULL ? block->bytes : 0;
    return *bytes > 0 ? block->memory : NULL;
}

/* ---- Changing a part ---- */

/* A new block in place of the old, which stays behind it as it was at the boundary. */
static bool copy_part(struct store_stripe *stripe, struct store_entry *entry, enum store_part part, uint32_t bytes)
{
    struct store_block *old = entry->parts[part];
    struct store_block *block = block_sized(bytes);

    if (block == NULL)
        return false;
    block->bytes = bytes;
    block->before = old;

    uint32_t kept = old == NULL ? 0 : old->bytes < bytes ? old->bytes : bytes;
    if (kept > 0)
        memcpy(block->memory, old->memory, kept);
    memset(block->memory + kept, 0, bytes - kept);
    entry->parts[part] = block;
    entry->copied = (uint8_t)(entry->copied | 1 << part);
    store_stripe__count(&stripe->memory_bytes, store_block__memory_bytes(block));
    return true;
}

/* By half more than needed, for parts that go on growing; memory follows a part that became much smaller. */
static bool reallocate(struct store_stripe *stripe, struct store_block **block, uint32_t bytes)
{
    size_t before = store_block__memory_bytes(*block);
    size_t wanted = *block != NULL && bytes > (*block)->capacity ? (*block)->bytes + (*block)->bytes / 2 : 0;
    size_t whole = size_class(sizeof(**block) + (wanted > bytes ? wanted : bytes));
    struct store_block *moved = realloc(*block, whole);

    if (moved == NULL)
        return false;
    if (*block == NULL)
        *moved = (struct store_block){0};
    moved->capacity = (uint32_t)(whole - sizeof(*moved));
    *block = moved;
    store_stripe__count(&stripe->memory_bytes, whole - before);
    return true;
}

static bool resize_part(struct store_stripe *stripe, struct store_block **block, uint32_t bytes)
{
    if (bytes == 0 && (*block)->before == NULL) {
        store_stripe__count(&stripe->memory_bytes, 0 - store_block__memory_bytes(*block));
        free(*block);
        *block = NULL;
        return true;
    }

    bool is_too_small = *block == NULL || bytes > (*block)->capacity;
    bool is_too_large = !is_too_small && (*block)->capacity > 256 && bytes < (*block)->capacity / 4;
    if (is_too_small && !reallocate(stripe, block, bytes))
        return false;
    if (bytes > (*block)->bytes)
        memset((*block)->memory + (*block)->bytes, 0, bytes - (*block)->bytes);
    (*block)->bytes = bytes;
    if (is_too_large)
        (void)reallocate(stripe, block, bytes); /* staying large is no failure */
    return true;
}

/* `dirty`: its parts of this turn so far; where there are none, room on the list is reserved. */
static void mark_dirty(struct store *store, struct store_entry *entry, uint8_t bit, uint8_t dirty)
{
    struct store_stripe *stripe = &store->stripes[entry->stripe];

    if (dirty == 0) {
        store_dirty__add(&stripe->dirty, entry);
        store_stripe__count(&stripe->dirty_entities, 1);
    }
    store_entry__set_dirty(entry, store->turn, bit);
}

void *store_entry_write(struct store *store, struct store_entry *entry, enum store_part part, uint32_t bytes)
{
    struct store_stripe *stripe = &store->stripes[entry->stripe];
    struct store_block **block = &entry->parts[part];
    uint32_t bytes_before = *block != NULL ? (*block)->bytes : 0;
    uint8_t bit = (uint8_t)(1 << part);
    uint8_t dirty = store_entry__dirty_parts(entry, store->turn);

    if (store_entry_is_corrupt(entry) || bytes > STORE_PART_BYTES_MAX || (bytes == 0 && bytes_before == 0))
        return NULL;
    if (dirty == 0 && !store_dirty__reserve(&stripe->dirty))
        return NULL;

    uint8_t shelves = atomic_load_explicit(&store->kind_shelves[entry->kind], memory_order_relaxed);
    if (shelves != 0)
        store_excerpts__drop(store, entry, shelves);

    bool is_pending = (store_entry__dirty_parts(entry, store->turn - 1) & bit) != 0;
    bool must_copy = is_pending && (entry->copied & bit) == 0;
    if (must_copy ? !copy_part(stripe, entry, part, bytes) : !resize_part(stripe, block, bytes))
        return NULL;

    if ((entry->flags & STORE_NOTHING) != 0) {
        entry->flags = (uint8_t)(entry->flags & ~STORE_NOTHING);
        store_stripe__count(&stripe->nothings, (uint64_t)-1);
    }
    store_stripe__count(&stripe->dirty_bytes, (dirty & bit) != 0 ? (uint64_t)bytes - bytes_before : bytes);
    mark_dirty(store, entry, bit, dirty);
    return bytes > 0 ? (*block)->memory : NULL;
}

/* A part of which memory has nothing: its record on disk becomes a delete in the next epoch. */
static bool erase_record(struct store *store, struct store_entry *entry, uint8_t bit)
{
    uint8_t dirty = store_entry__dirty_parts(entry, store->turn);

    if (dirty == 0 && !store_dirty__reserve(&store->stripes[entry->stripe].dirty))
        return false;
    mark_dirty(store, entry, bit, dirty);
    return true;
}

bool store_entry_is_marked(const struct store *store, const struct store_entry *entry)
{
    return (entry->copied & store_entry__mark_of(store->turn)) != 0;
}

bool store_entry_mark(struct store *store, struct store_entry *entry)
{
    bool is_first = !store_entry_is_marked(store, entry);

    entry->copied |= store_entry__mark_of(store->turn);
    return is_first;
}

bool store_entry_erase(struct store *store, struct store_entry *entry, int *erased)
{
    entry->flags = (uint8_t)(entry->flags & ~STORE_CORRUPT); /* what made no sense goes too */
    for (enum store_part part = 0; part < STORE_PARTS; part++) {
        uint8_t bit = (uint8_t)(1 << part);
        uint32_t bytes;

        (void)store_entry_read(entry, part, &bytes);
        if (bytes == 0 && (entry->flags & bit) == 0)
            continue;
        if (bytes > 0)
            (void)store_entry_write(store, entry, part, 0);
        else if (!erase_record(store, entry, bit))
            return false;
        (void)store_entry_read(entry, part, &bytes);
        if (bytes > 0)
            return false;
        ++*erased;
    }
    return true;
}

struct fr_slice store_entry__take_boundary(struct store_stripe *stripe, struct store_entry *entry, enum store_part part,
                                           struct store_block **copy)
{
    struct store_block **block = &entry->parts[part];

    *copy = NULL;
    if ((entry->copied & 1 << part) == 0)
        return *block != NULL ? fr_slice((*block)->memory, (*block)->bytes) : fr_slice(NULL, 0);

    entry->copied = (uint8_t)(entry->copied & ~(1 << part));
    if (*block != NULL) {
        *copy = (*block)->before;
        (*block)->before = NULL;
        store_stripe__count(&stripe->memory_bytes, 0 - store_block__memory_bytes(*copy));
        if ((*block)->bytes == 0) { /* it was kept for what hung behind it */
            store_stripe__count(&stripe->memory_bytes, 0 - store_block__memory_bytes(*block));
            free(*block);
            *block = NULL;
        }
    }
    return *copy != NULL ? fr_slice((*copy)->memory, (*copy)->bytes) : fr_slice(NULL, 0);
}
