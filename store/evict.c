/*
 * Who leaves the table: a clock hand goes round each stripe. An entity that was wanted in two eras since the hand passed gets
 * another round; one that is changed and not durable yet, quarantined, or touched so lately that somebody may rely on it
 * (visit.c) stays; any other leaves, and from then on the stripe's filter says that the disk may have it.
 *
 * A little at a time, by whoever brings more: lanes and readers before they load, the keeper (store_tend()) in between. Under a
 * stripe's lock entities are only unlinked; memory is given back after it.
 */
#include "internal.h"

#include <stdlib.h>

enum { SLICE_SLOTS = 256, SLICE_VICTIMS = 64 };

struct victim {
    struct store_entry *entry;
    uint64_t hash;
};

static bool is_settled(const struct store *store, const struct store_slot *slot)
{
    uint64_t era = atomic_load_explicit(&store->eras.now, memory_order_relaxed);

    return ((era - (slot->tag >> STORE_TAG_ERA_SHIFT)) & (STORE_TAG_ERAS - 1)) >= STORE_AGE_SAFE;
}

static bool may_leave(const struct store_entry *entry)
{
    return entry->dirty == 0 && (entry->flags & (STORE_CORRUPT | STORE_IN_EPOCH)) == 0;
}

/* The hand goes on by a slice of slots; those that it finds unused are fetched for a closer look. */
static int choose(const struct store *store, struct store_stripe *stripe, uint64_t top, struct victim victims[SLICE_VICTIMS])
{
    struct store_slot *slots = atomic_load_explicit(&stripe->slots, memory_order_relaxed);
    uint64_t mask = store_stripe__read(&stripe->slot_mask);
    int count = 0;

    for (uint64_t seen = 0; slots != NULL && seen <= mask && seen < SLICE_SLOTS && count < SLICE_VICTIMS; seen++) {
        struct store_slot *slot = &slots[stripe->hand++ & mask];

        if (slot->entry == NULL || !is_settled(store, slot))
            continue;
        if ((slot->tag & STORE_TAG_USED) != 0) {
            slot->tag &= ~STORE_TAG_USED;
            continue;
        }
        __builtin_prefetch(slot->entry);
        victims[count++] = (struct victim){.entry = slot->entry, .hash = top | (slot->tag & STORE_TAG_HASH)};
    }
    return count;
}

/* Out of the table; stripe locked. The entity is the caller's to free, after the lock. */
static void unlink_entity(struct store *store, struct store_stripe *stripe, const struct victim *victim)
{
    if ((victim->entry->flags & STORE_ON_DISK) != 0) {
        if (!store_filter__is_none(&stripe->filter))
            store_filter__add(&stripe->filter, victim->hash);
        if (!store_filter__is_none(&stripe->filter_next))
            store_filter__add(&stripe->filter_next, victim->hash);
        atomic_fetch_add_explicit(&store->unloaded, 1, memory_order_relaxed);
    }
    atomic_fetch_add(&store->departed, 1); /* before: see warm.c */
    store_stripe__remove(stripe, victim->entry, victim->hash);
}

static uint64_t evict_slice(struct store *store, struct store_stripe *stripe)
{
    struct victim victims[SLICE_VICTIMS];
    uint64_t top = (uint64_t)(stripe - store->stripes) << 56, freed = 0;
    int chosen, count = 0;

    pthread_mutex_lock(&stripe->lock);
    chosen = choose(store, stripe, top, victims);
    for (int i = 0; i < chosen; i++) {
        if (!may_leave(victims[i].entry))
            continue;
        for (int part = 0; part < STORE_PARTS; part++)
            __builtin_prefetch(victims[i].entry->parts[part]);
        store_filter__prefetch(&stripe->filter, victims[i].hash);
        victims[count++] = victims[i];
    }
    for (int i = 0; i < count; i++) {
        freed += store_entry__memory_bytes(victims[i].entry);
        unlink_entity(store, stripe, &victims[i]);
    }
    pthread_mutex_unlock(&stripe->lock);

    for (int i = 0; i < count; i++)
        store_entry__free(victims[i].entry);
    if (count > 0)
        store__count_evicted(store, (uint64_t)count);
    return freed;
}

/*
 * While nothing has ever left, loads look for nothing and touch nothing (store_is_whole()). So before the first entity leaves
 * this is over, and then so are the visits that may have relied on it. By then there is a filter of those that have left: none.
 */
static bool may_begin(struct store *store)
{
    uint64_t never = 0;

    if (atomic_load(&store->unloaded_since) == 0) {
        if (store_is_whole(store)) {
            if (atomic_exchange(&store->is_leaving_begun, true))
                return false; /* another thread is at it */
            store_build__begin_empty(store);
        }
        atomic_store(&store->has_unloaded, true); /* before the era is read: no visit of a later one saw it unset */
        (void)atomic_compare_exchange_strong(&store->unloaded_since, &never, atomic_load(&store->eras.now));
    }
    return atomic_load(&store->eras.now) - atomic_load(&store->unloaded_since) >= STORE_AGE_SAFE;
}

void store_evict__to_budget(struct store *store, int slices)
{
    uint64_t most = store_memory__table_most(store), used = store_memory__table(store);

    if (used <= most)
        return;
    store_visit__advance(store);
    if (!may_begin(store))
        return;
    for (uint64_t over = used - most; slices > 0; slices--) {
        uint64_t stripe = atomic_fetch_add_explicit(&store->hand, 1, memory_order_relaxed) % STORE_STRIPES;
        uint64_t freed = evict_slice(store, &store->stripes[stripe]);

        if (freed >= over)
            return;
        over -= freed;
    }
}

/* ---- What has become empty ---- */

void store_leaving__note(struct store *store, uint64_t hash)
{
    struct store_leaving *leaving = &store->leaving;

    if (leaving->count == leaving->capacity) {
        size_t capacity = leaving->capacity > 0 ? 2 * leaving->capacity : 64;
        uint64_t *hashes = reallocarray(leaving->hashes, capacity, sizeof(*hashes));

        if (hashes == NULL)
            return; /* it stays until the hand comes by */
        leaving->hashes = hashes;
        leaving->capacity = capacity;
    }
    leaving->hashes[leaving->count++] = hash;
}

static struct store_slot *find_hash(struct store_stripe *stripe, uint64_t hash)
{
    struct store_slot *slots = atomic_load_explicit(&stripe->slots, memory_order_relaxed);
    uint64_t mask = store_stripe__read(&stripe->slot_mask);

    for (uint64_t at = hash & mask; slots != NULL && slots[at].entry != NULL; at = (at + 1) & mask)
        if (((slots[at].tag ^ hash) & STORE_TAG_HASH) == 0)
            return &slots[at];
    return NULL;
}

/* False: it is too young, ask again. Whoever is not empty any more just stays. */
static bool let_go(struct store *store, uint64_t hash)
{
    struct store_stripe *stripe = store_stripe__of(store->stripes, hash);
    struct store_entry *gone = NULL;

    pthread_mutex_lock(&stripe->lock);
    struct store_slot *slot = find_hash(stripe, hash);
    bool is_empty = slot != NULL && may_leave(slot->entry) && (slot->entry->flags & STORE_ON_DISK) == 0;
    bool is_young = is_empty && !is_settled(store, slot);
    if (is_empty && !is_young) {
        gone = slot->entry;
        unlink_entity(store, stripe, &(struct victim){.entry = gone, .hash = hash});
    }
    pthread_mutex_unlock(&stripe->lock);
    if (gone != NULL)
        store_entry__free(gone);
    return !is_young;
}

void store_leaving__let_go(struct store *store)
{
    struct store_leaving *leaving = &store->leaving;
    size_t kept = 0;

    store_visit__advance(store);
    for (size_t i = 0; i < leaving->count; i++)
        if (i >= leaving->settled || !let_go(store, leaving->hashes[i]))
            leaving->hashes[kept++] = leaving->hashes[i];
    leaving->count = leaving->settled = kept;
    if (kept == 0) {
        free(leaving->hashes);
        *leaving = (struct store_leaving){0};
    }
}
