/*
 * The state table: 256 stripes by the high bits of the hash, each an open-addressing table by the low bits, probed line by line.
 * A stripe doubles under its lock: at ten million entities it has 64 Ki slots, and moving them takes a fraction of a millisecond
 * because a slot holds the hash. Who leaves, and when, is decided in evict.c.
 */
#include "internal.h"

#include <assert.h>
#include <stdlib.h>

enum { SLOTS_LEAST = 16 };

static_assert(STORE_STRIPES == 256, "a stripe is the top byte of the hash");

struct store_stripe *store_table__new(void)
{
    struct store_stripe *stripes = aligned_alloc(alignof(struct store_stripe), STORE_STRIPES * sizeof(*stripes));

    if (stripes == NULL)
        return NULL;
    memset(stripes, 0, STORE_STRIPES * sizeof(*stripes));
    for (int i = 0; i < STORE_STRIPES; i++)
        pthread_mutex_init(&stripes[i].lock, NULL);
    return stripes;
}

void store_table__free(struct store_stripe *stripes)
{
    for (int i = 0; stripes != NULL && i < STORE_STRIPES; i++) {
        struct store_stripe *stripe = &stripes[i];

        for (uint64_t slot = 0; stripe->slots != NULL && slot <= stripe->slot_mask; slot++)
            if (stripe->slots[slot].entry != NULL)
                store_entry__free(stripe->slots[slot].entry);
        free(stripe->slots);
        store_dirty__free(&stripe->dirty);
        store_dirty__free(&stripe->pending);
        pthread_mutex_destroy(&stripe->lock);
    }
    free(stripes);
}

static void put(struct store_slot *slots, uint64_t mask, struct store_slot slot)
{
    uint64_t at = slot.tag & mask;

    while (slots[at].entry != NULL)
        at = (at + 1) & mask;
    slots[at] = slot;
}

static bool grow(struct store_stripe *stripe)
{
    struct store_slot *old = atomic_load_explicit(&stripe->slots, memory_order_relaxed);
    uint64_t old_mask = atomic_load_explicit(&stripe->slot_mask, memory_order_relaxed);
    uint64_t count = old != NULL ? 2 * (old_mask + 1) : SLOTS_LEAST;
    struct store_slot *slots = calloc(count, sizeof(*slots));

    if (slots == NULL)
        return false;
    for (uint64_t i = 0; old != NULL && i <= old_mask; i++)
        if (old[i].entry != NULL)
            put(slots, count - 1, old[i]);
    atomic_store_explicit(&stripe->slots, slots, memory_order_relaxed);
    atomic_store_explicit(&stripe->slot_mask, count - 1, memory_order_relaxed);
    store_stripe__count(&stripe->memory_bytes, (count - (old != NULL ? count / 2 : 0)) * sizeof(*slots));
    free(old);
    return true;
}

/* The tag of an entity touched now; `used` when it was here in an era before, and is wanted again. */
static uint64_t tag_of(uint64_t hash, const struct store_eras *eras, uint64_t used)
{
    uint64_t era = atomic_load_explicit(&eras->now, memory_order_relaxed); /* the lock orders it */

    return (hash & STORE_TAG_HASH) | used | era << STORE_TAG_ERA_SHIFT;
}

/* Several looks in one era are one use: what a batch brings and changes once is not yet what will be wanted again. */
static void touch(struct store_slot *slot, const struct store_eras *eras)
{
    uint64_t tag = tag_of(slot->tag, eras, slot->tag & STORE_TAG_USED);

    if (tag != slot->tag)
        slot->tag = tag | STORE_TAG_USED;
}

struct store_entry *store_stripe__find(struct store_stripe *stripe, const struct store_key *key, uint64_t hash,
                                       const struct store_eras *eras)
{
    struct store_slot *slots = atomic_load_explicit(&stripe->slots, memory_order_relaxed);
    uint64_t mask = atomic_load_explicit(&stripe->slot_mask, memory_order_relaxed);

    if (slots == NULL)
        return NULL;
    for (uint64_t at = hash & mask; slots[at].entry != NULL; at = (at + 1) & mask)
        if (((slots[at].tag ^ hash) & STORE_TAG_HASH) == 0 && store_entry__is(slots[at].entry, key)) {
            touch(&slots[at], eras);
            return slots[at].entry;
        }
    return NULL;
}

bool store_stripe__insert(struct store_stripe *stripe, struct store_entry *entry, uint64_t hash, const struct store_eras *eras)
{
    uint64_t entities = store_stripe__read(&stripe->entities) + 1;
    uint64_t slots = store_stripe__read(&stripe->slot_mask) + 1;

    if (entities * 4 > slots * 3 || atomic_load_explicit(&stripe->slots, memory_order_relaxed) == NULL)
        if (!grow(stripe))
            return false;
    put(atomic_load_explicit(&stripe->slots, memory_order_relaxed), store_stripe__read(&stripe->slot_mask),
        (struct store_slot){.tag = tag_of(hash, eras, 0), .entry = entry});
    store_stripe__count(&stripe->entities, 1);
    store_stripe__count(&stripe->memory_bytes, store_entry__memory_bytes(entry));
    if (store_entry_is_corrupt(entry))
        store_stripe__count(&stripe->corrupt, 1);
    if ((entry->flags & STORE_NOTHING) != 0)
        store_stripe__count(&stripe->nothings, 1);
    return true;
}

/* Those behind it that it had pushed away from their place move up, so that every probe still ends at a free slot. */
void store_stripe__remove(struct store_stripe *stripe, const struct store_entry *entry, uint64_t hash)
{
    struct store_slot *slots = atomic_load_explicit(&stripe->slots, memory_order_relaxed);
    uint64_t mask = store_stripe__read(&stripe->slot_mask), gap = hash & mask;

    while (slots[gap].entry != entry)
        gap = (gap + 1) & mask;
    for (uint64_t at = (gap + 1) & mask; slots[at].entry != NULL; at = (at + 1) & mask)
        if (((at - slots[at].tag) & mask) >= ((at - gap) & mask)) {
            slots[gap] = slots[at];
            gap = at;
        }
    slots[gap] = (struct store_slot){0};
    store_stripe__count(&stripe->entities, (uint64_t)-1);
    store_stripe__count(&stripe->memory_bytes, 0 - store_entry__memory_bytes(entry));
    if ((entry->flags & STORE_NOTHING) != 0)
        store_stripe__count(&stripe->nothings, (uint64_t)-1);
}

uint64_t store_stripe__slot_bytes(const struct store_stripe *stripe)
{
    uint64_t mask = store_stripe__read(&stripe->slot_mask);

    return mask > 0 ? (mask + 1) * sizeof(struct store_slot) : 0;
}

void store_prefetch(const struct store *store, uint64_t hash)
{
    struct store_stripe *stripe = store_stripe__of(store->stripes, hash);
    uintptr_t slots = (uintptr_t)atomic_load_explicit(&stripe->slots, memory_order_relaxed);
    uint64_t mask = atomic_load_explicit(&stripe->slot_mask, memory_order_relaxed);

    /* The two may be of different moments: a fetch of a wrong address costs nothing but the fetch. */
    __builtin_prefetch(stripe, 1);
    __builtin_prefetch((const void *)(slots + (hash & mask) * sizeof(struct store_slot)));
}

/* By its hash alone: whoever fetches ahead may fetch the wrong one for once. */
struct store_entry *store_entry_find(struct store *store, uint64_t hash)
{
    struct store_stripe *stripe = store_stripe__of(store->stripes, hash);
    struct store_entry *entry = NULL;

    pthread_mutex_lock(&stripe->lock);
    struct store_slot *slots = atomic_load_explicit(&stripe->slots, memory_order_relaxed);
    uint64_t mask = store_stripe__read(&stripe->slot_mask);
    for (uint64_t at = hash & mask; slots != NULL && slots[at].entry != NULL; at = (at + 1) & mask)
        if (((slots[at].tag ^ hash) & STORE_TAG_HASH) == 0) {
            touch(&slots[at], &store->eras);
            entry = slots[at].entry;
            break;
        }
    pthread_mutex_unlock(&stripe->lock);
    __builtin_prefetch(entry);
    return entry;
}

/*
 * The part's pointer is read while a lane may be changing it: whichever it was, no more than a fetch comes of it. That is what the
 * sanitizer is told, too.
 */
__attribute__((no_sanitize("thread"))) void store_entry_fetch(const struct store_entry *entry, enum store_part part, int lines)
{
    if (entry == NULL)
        return;
    const uint8_t *block = (const uint8_t *)__atomic_load_n(&entry->parts[part], __ATOMIC_RELAXED);
    for (int i = 0; i < lines && block != NULL; i++)
        __builtin_prefetch(block + i * STORE_LINE_BYTES);
}

struct store_entry *store_entry_lock_found(struct store *store, struct store_entry *found, const struct store_key *key,
                                           uint64_t hash)
{
    if (found == NULL || !store_entry__is(found, key)) /* who it is never changes */
        return store_entry_lock(store, key, hash, false);

    struct store_stripe *stripe = store_stripe__of(store->stripes, hash);
    pthread_mutex_lock(&stripe->lock);
    if ((found->flags & STORE_NOTHING) == 0)
        return found;
    pthread_mutex_unlock(&stripe->lock);
    return NULL;
}

static struct store_entry *create_entry(struct store *store, struct store_stripe *stripe, const struct store_key *key,
                                        uint64_t hash)
{
    /* Without a visit it could have left since it was loaded, and would now begin anew beside what the disk has. */
    assert(store_stripe__read(&store->evicted) == 0 || store_visit__is_any(store));
    struct store_entry *entry = store_entry__new(key, (uint8_t)(hash >> 56));

    if (entry != NULL && store_stripe__insert(stripe, entry, hash, &store->eras))
        return entry;
    free(entry);
    return NULL;
}

struct store_entry *store_entry_lock(struct store *store, const struct store_key *key, uint64_t hash, bool create)
{
    struct store_stripe *stripe = store_stripe__of(store->stripes, hash);

    pthread_mutex_lock(&stripe->lock);
    struct store_entry *entry = store_stripe__find(stripe, key, hash, &store->eras);
    if (entry == NULL && create)
        entry = create_entry(store, stripe, key, hash);
    else if (entry != NULL && !create && (entry->flags & STORE_NOTHING) != 0)
        entry = NULL;
    if (entry == NULL)
        pthread_mutex_unlock(&stripe->lock);
    return entry;
}

void store_entry_unlock(struct store *store, struct store_entry *entry)
{
    pthread_mutex_unlock(&store->stripes[entry->stripe].lock);
}
