/*
 * Encoding an epoch: what was changed before the boundary becomes the records of its SST, while lanes change the same entities.
 *
 * Lanes must not wait for it. A mutex is not handed over: who lets one go and takes it again at once, entity by entity, keeps out
 * whoever was woken meanwhile, and a lane, which needs all stripes, would stand still until the last one is through (seen with
 * perf trace: waits of 4 to 58 ms each on a busy machine, stripe after stripe, most of the time that an epoch took to encode). So
 * the committer goes round a group of stripes, one entity of each at a time, and holds a lock only as long as copying takes.
 */
#include "internal.h"

enum { GROUP = 64, ALIGNMENT = 16 };
static_assert(STORE_STRIPES % GROUP == 0, "stripes are whole groups");

struct place { /* in the list of one stripe */
    struct store_stripe *stripe;
    struct store_dirty *chunk; /* NULL: through */
    uint32_t at;
};

/* A part as it was at the boundary. */
struct taken {
    struct fr_slice memory;
    struct store_block *copy; /* holds it, and is ours; NULL: our own copy */
    bool was_on_disk;
};

static void skip_empty(struct place *place)
{
    while (place->chunk != NULL && place->at >= place->chunk->count)
        *place = (struct place){.stripe = place->stripe, .chunk = place->chunk->next};
}

/* The one that comes so many later in the stripe, as far as this chunk and the next one go. */
static struct store_entry *ahead(const struct place *place, uint32_t by)
{
    const struct store_dirty *chunk = place->chunk;
    uint32_t at = place->at + by;

    if (at >= chunk->count && chunk->next != NULL) {
        at -= chunk->count;
        chunk = chunk->next;
    }
    return at < chunk->count ? chunk->entries[at] : NULL;
}

/* Its changed parts, as far as two cache lines of each: most are no longer. Stripe locked. */
static void fetch_parts(const struct store_entry *entry)
{
    for (int part = 0; part < STORE_PARTS; part++) {
        const struct store_block *block = entry->parts[part];

        if ((entry->dirty & (1 | 1 << STORE_PARTS) << part) == 0)
            continue;
        __builtin_prefetch(block);
        __builtin_prefetch((const uint8_t *)block + STORE_LINE_BYTES);
    }
}

static size_t padded(size_t bytes)
{
    return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

/* What is still the entity's own is copied. */
static bool copy_taken(struct store *store, struct taken taken[STORE_PARTS])
{
    size_t bytes = 0;

    for (int part = 0; part < STORE_PARTS; part++)
        bytes += taken[part].copy == NULL ? padded(taken[part].memory.length) : 0;
    if (bytes == 0)
        return true;
    fr_buffer_clear(&store->taken);
    uint8_t *to = fr_buffer_reserve(&store->taken, bytes);
    for (int part = 0; part < STORE_PARTS && to != NULL; part++) {
        struct fr_slice *memory = &taken[part].memory;

        if (taken[part].copy != NULL || memory->length == 0)
            continue;
        memcpy(to, memory->bytes, memory->length);
        memory->bytes = to;
        to += padded(memory->length);
    }
    return to != NULL;
}

/* The parts of one entity that belong to the epoch; `parts` says which. Stripe locked. */
static bool take_entry(struct store *store, struct store_stripe *stripe, struct store_entry *entry, uint8_t parts,
                       struct taken taken[STORE_PARTS])
{
    store_entry__clear_dirty(entry, store->turn - 1, parts);
    entry->copied = (uint8_t)(entry->copied & ~store_entry__mark_of(store->turn - 1));
    entry->flags |= STORE_IN_EPOCH; /* not dirty any more, but it must not leave before it is durable */
    for (enum store_part part = 0; part < STORE_PARTS; part++) {
        uint8_t bit = (uint8_t)(1 << part);

        taken[part] = (struct taken){.was_on_disk = (entry->flags & bit) != 0};
        if ((parts & bit) == 0)
            continue;
        taken[part].memory = store_entry__take_boundary(stripe, entry, part, &taken[part].copy);
        entry->flags = (uint8_t)(taken[part].memory.length > 0 ? entry->flags | bit : entry->flags & ~bit);
    }
    return copy_taken(store, taken);
}

/* It has bytes in memory, and none on disk. */
static void note_empty(struct store_stripe *stripe, struct store_entry *entry, enum store_part part)
{
    pthread_mutex_lock(&stripe->lock);
    entry->flags = (uint8_t)(entry->flags & ~(1 << part));
    pthread_mutex_unlock(&stripe->lock);
}

/* The record of one part. An empty one is a delete, and nothing at all where nothing can be on disk. *on_disk: the parts that are. */
static bool encode_part(struct store *store, struct store_stripe *stripe, struct store_entry *entry,
                        const struct store_key *key, enum store_part part, const struct taken *taken, unsigned *on_disk)
{
    struct fr_slice memory = taken->memory;

    fr_buffer_clear(&store->scratch);
    if (memory.length > 0)
        store->codec.encode(store->codec.user, key, part, memory.bytes, (uint32_t)memory.length, &store->scratch);
    if (store->scratch.is_failed)
        return false;
    if (memory.length > 0 && store->scratch.length == 0) {
        note_empty(stripe, entry, part);
        *on_disk &= ~(1U << part);
    }
    if (store->scratch.length == 0 && !taken->was_on_disk)
        return true;
    if (store->scratch.length > 0)
        store__note_part(store, key->kind, part);
    return store_sst__add(&store->sst, key, part, fr_buffer_slice(&store->scratch));
}

static bool encode_next(struct store *store, struct place *place)
{
    struct store_stripe *stripe = place->stripe;
    struct store_entry *entry = place->chunk->entries[place->at], *next = ahead(place, 1);
    struct taken taken[STORE_PARTS];

    if (!store_sst__reserve(&store->sst, STORE_PARTS)) /* outside the lock: it may move megabytes */
        return false;
    __builtin_prefetch(ahead(place, 2));
    pthread_mutex_lock(&stripe->lock);
    struct store_key key = store_entry__key(entry);
    uint8_t parts = store_entry__dirty_parts(entry, store->turn - 1), before = entry->flags & STORE_ON_DISK;
    bool is_encoded = take_entry(store, stripe, entry, parts, taken);
    unsigned on_disk = entry->flags & STORE_ON_DISK;
    if (next != NULL)
        fetch_parts(next);
    pthread_mutex_unlock(&stripe->lock);

    place->chunk->parts[place->at++] = (uint8_t)(parts | before << STORE_PARTS);
    for (enum store_part part = 0; part < STORE_PARTS; part++) {
        if ((parts & 1 << part) != 0)
            is_encoded = is_encoded && encode_part(store, stripe, entry, &key, part, &taken[part], &on_disk);
        store_block__free(taken[part].copy);
    }
    store->disk_change += (uint64_t)(on_disk != 0) - (uint64_t)(before != 0);
    return is_encoded;
}

static bool encode_group(struct store *store, struct store_stripe *stripes)
{
    struct place places[GROUP];
    bool is_any = true, is_encoded = true;

    for (int i = 0; i < GROUP; i++)
        places[i] = (struct place){.stripe = &stripes[i], .chunk = stripes[i].pending};
    while (is_any && is_encoded) {
        is_any = false;
        for (int i = 0; i < GROUP && is_encoded; i++) {
            skip_empty(&places[i]);
            if (places[i].chunk == NULL)
                continue;
            is_encoded = encode_next(store, &places[i]);
            is_any = true;
        }
    }
    return is_encoded;
}

/* What an epoch took it is left to the next one, so that the table's share does not go up and down with each. */
static void note_buffers(struct store *store)
{
    enum { BUFFERS_FADE = 4 };
    uint64_t bytes = store_sst__bytes(&store->sst), before = store_stripe__read(&store->buffer_bytes);

    atomic_store_explicit(&store->buffer_bytes, bytes > before ? bytes : before - (before - bytes) / BUFFERS_FADE,
                          memory_order_relaxed);
}

bool store_epoch__encode(struct store *store, struct fr_err *err)
{
    bool is_encoded = true;

    store->disk_change = 0;
    for (int i = 0; i < STORE_STRIPES && is_encoded; i += GROUP)
        is_encoded = encode_group(store, &store->stripes[i]);
    note_buffers(store);
    return (is_encoded && store_sst__sort(&store->sst)) ||
           fr_fail(err, FR_EXHAUSTED, "store: out of memory while encoding an epoch; it is tried again");
}
