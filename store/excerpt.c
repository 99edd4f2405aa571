/*
 * Excerpts: bytes that a reader made of an entity and keeps beside the table, so that the next one need not look at the entity at all.
 *
 * The invariant: an excerpt that can be found is what its maker would make of the entity now, for every moment from `from` to before
 * `until`. It is kept with the entity's stripe locked, so nobody is changing the entity; and whoever changes one takes its excerpts
 * away first, under the same lock (store_entry_write()). Who leaves the table changes nothing: his excerpts stay true.
 *
 * Where it lies is a matter of its hash and size alone: no pointer is followed, so all of a request's lines are fetched at once. For
 * each size (a shelf) there are sets of 15 places; a directory has one cache line a set, with 32 bits of the hash for each place that
 * is taken. A stripe's sets are its own. Taking away is writing a zero there. Places are not cleared when a shelf grows: nothing there is
 * looked at before it is written.
 *
 * Readers take no lock. A place has a version, odd while it is written: what was copied out counts if afterwards the tag still stands
 * and the version is what it was. The words are read with acquire and written with release, so whoever read one that is being written
 * sees the odd version, too.
 *
 * A shelf doubles when too many push each other out, until all have an eighth of the budget, one at most half of that. Nothing moves
 * then: what lies where it would not be looked for any more is as good as free. Nobody can find it there, because a stripe sees its
 * shelf grow under its lock, and a reader takes the size anew for each look.
 */
#include "internal.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

enum {
    AHEAD = 8, /* keys, from fetching to looking */
    LINE_SHIFT = 6, /* the first shelf's places are one line */
    HUGE_BYTES = 2 << 20,
    BUDGET_SHARE = 8,
    CROWDED = 2, /* one in so many sets has pushed somebody out */
    TAG_NUMBER_SHIFT = 24,
    TAG_HASH = (1 << TAG_NUMBER_SHIFT) - 1,
    HAND_BITS = 4,
    HAND = (1 << HAND_BITS) - 1,
};
static const uint64_t share_without_budget = UINT64_C(256) << 20;

struct excerpt {
    _Atomic uint32_t version;
    _Atomic uint16_t number;
    _Atomic uint16_t era; /* of the last look */
    _Atomic uint64_t id;
    _Atomic uint32_t from, until;
    _Atomic uint64_t words[];
};

struct set {
    _Atomic uint32_t turn; /* HAND: whom the next one pushes out; above it, how often one of its places was written */
    _Atomic uint32_t tags[STORE_SET_PLACES]; /* 0: free */
};
static_assert(sizeof(struct set) == STORE_LINE_BYTES, "a set of the directory is one line");

/* Where something lies. */
struct place {
    struct excerpt *excerpt; /* NULL: nowhere */
    _Atomic uint32_t *tag;
    uint32_t value; /* that the tag has as long as it is there */
};

static size_t place_bytes(int shelf)
{
    return (size_t)1 << (LINE_SHIFT + shelf);
}

/* The least that takes so many bytes; STORE_SHELVES: none does. */
static int shelf_for(size_t bytes)
{
    int shelf = 0;

    while (shelf < STORE_SHELVES && place_bytes(shelf) < sizeof(struct excerpt) + bytes)
        shelf++;
    return shelf;
}

/*
 * Of the hash the bits that choose the set among its stripe's, and more that tell apart whose lie there: all of an entity's begin with
 * them. Above them something of the number; never 0.
 */
static uint32_t tag_of(uint64_t hash, uint16_t number)
{
    return (uint32_t)(hash >> 8 & TAG_HASH) | (number % 255U + 1) << TAG_NUMBER_SHIFT;
}

/* Sets of a stripe are counted through its segments, each as large as all before it; in a segment stripes take turns. */
static uint64_t segment_sets(int segment)
{
    return segment > 0 ? UINT64_C(1) << (segment - 1) : 1;
}

static struct set *set_of(const struct store_shelf *shelf, uint64_t hash, uint8_t **places)
{
    uint64_t sets = atomic_load_explicit(&shelf->sets, memory_order_acquire);
    uint64_t own = hash >> 8 & TAG_HASH & (sets - 1);
    int segment = own > 0 ? 64 - __builtin_clzll(own) : 0;
    uint64_t in_segment = segment_sets(segment), at;
    struct set *directory;

    if (sets == 0)
        return NULL;
    directory = atomic_load_explicit(&shelf->segments[segment], memory_order_relaxed);
    at = (segment > 0 ? own - in_segment : own) * STORE_STRIPES + (hash >> 56);
    *places = (uint8_t *)(directory + in_segment * STORE_STRIPES) + at * STORE_SET_PLACES * shelf->place_bytes;
    return directory + at;
}

/* ---- Memory ---- */

void store_excerpts__init(struct store *store)
{
    for (int i = 0; i < STORE_SHELVES; i++)
        store->shelves[i].place_bytes = place_bytes(i);
    pthread_mutex_init(&store->shelves_lock, NULL);
}

void store_excerpts__fini(struct store *store)
{
    for (int i = 0; i < STORE_SHELVES; i++) {
        for (int segment = 0; segment < STORE_SEGMENTS; segment++)
            free(atomic_load_explicit(&store->shelves[i].segments[segment], memory_order_relaxed));
    }
    pthread_mutex_destroy(&store->shelves_lock);
}

/* In huge pages where there are some: places lie anywhere, and most of a look's time would go into finding their pages. */
static struct set *new_segment(uint64_t sets, uint64_t bytes)
{
    size_t alignment = bytes >= HUGE_BYTES ? HUGE_BYTES : STORE_LINE_BYTES;
    size_t whole = (bytes + alignment - 1) & ~(alignment - 1);
    struct set *directory = aligned_alloc(alignment, whole);

    if (directory == NULL)
        return NULL;
    if (bytes >= HUGE_BYTES)
        (void)madvise(directory, whole, MADV_HUGEPAGE);
    memset(directory, 0, sets * sizeof(*directory));
    return directory; /* places are looked at only where a tag says so */
}

static uint64_t shelf_bytes(const struct store_shelf *shelf, uint64_t sets)
{
    return sets * STORE_STRIPES * (sizeof(struct set) + STORE_SET_PLACES * shelf->place_bytes);
}

static void grow(struct store *store, struct store_shelf *shelf)
{
    uint64_t share = store->memory_bytes > 0 ? store->memory_bytes / BUDGET_SHARE : share_without_budget;
    uint64_t taken = store_stripe__read(&store->excerpt_bytes), sets = store_stripe__read(&shelf->sets);
    uint64_t more = sets > 0 ? sets : 1, bytes = shelf_bytes(shelf, more);
    int segment = sets > 0 ? 64 - __builtin_clzll(sets) : 0;
    struct set *directory = NULL;

    if (segment < STORE_SEGMENTS && taken + bytes <= share && shelf_bytes(shelf, sets + more) <= share / 2)
        directory = new_segment(more * STORE_STRIPES, bytes);
    if (directory == NULL)
        return;
    atomic_store_explicit(&shelf->segments[segment], directory, memory_order_relaxed);
    atomic_store_explicit(&shelf->sets, sets + more, memory_order_release);
    atomic_store_explicit(&store->excerpt_bytes, taken + bytes, memory_order_relaxed);
}

/* Whoever comes while another is at it goes on with what there is. */
static void grow_if_crowded(struct store *store, struct store_shelf *shelf)
{
    if (store_stripe__read(&shelf->pushed_out) * CROWDED < store_stripe__read(&shelf->sets) * STORE_STRIPES ||
        pthread_mutex_trylock(&store->shelves_lock) != 0)
        return;
    if (store_stripe__read(&shelf->pushed_out) * CROWDED >= store_stripe__read(&shelf->sets) * STORE_STRIPES) {
        grow(store, shelf);
        atomic_store_explicit(&shelf->pushed_out, 0, memory_order_relaxed);
    }
    pthread_mutex_unlock(&store->shelves_lock);
}

/* ---- Keeping, and taking away: with the stripe locked ---- */

/* Its own place, a free one, or the next to be pushed out. */
static size_t choose(struct store_shelf *shelf, struct set *set, uint32_t tag)
{
    uint32_t own = (uint32_t)store_stripe__read(&shelf->sets) - 1; /* the bits that all who belong here have in common */
    uint32_t turn;
    size_t place = STORE_SET_PLACES;

    for (size_t i = 0; i < STORE_SET_PLACES; i++) {
        uint32_t there = atomic_load_explicit(&set->tags[i], memory_order_relaxed);

        if (there == tag)
            return i;
        if (there == 0 || ((there ^ tag) & own) != 0)
            place = i;
    }
    if (place < STORE_SET_PLACES)
        return place;
    turn = atomic_load_explicit(&set->turn, memory_order_relaxed);
    place = turn & HAND;
    atomic_store_explicit(&set->turn, (turn & ~(uint32_t)HAND) | (uint32_t)(place + 1) % STORE_SET_PLACES,
                          memory_order_relaxed);
    atomic_fetch_add_explicit(&shelf->pushed_out, 1, memory_order_relaxed);
    return place;
}

/* An odd version that the set's places did not have for 2^28 writes; what lay at the place before may be no version at all. */
static uint32_t next_version(struct set *set)
{
    uint32_t turn = atomic_load_explicit(&set->turn, memory_order_relaxed) + (1 << HAND_BITS);

    atomic_store_explicit(&set->turn, turn, memory_order_relaxed);
    return turn >> HAND_BITS << 1 | 1;
}

static void write(struct excerpt *excerpt, uint32_t version, const struct store_excerpt *made, uint64_t id,
                  const uint64_t *words)
{
    atomic_store_explicit(&excerpt->version, version, memory_order_relaxed);
    atomic_store_explicit(&excerpt->number, made->number, memory_order_release);
    atomic_store_explicit(&excerpt->id, id, memory_order_release);
    atomic_store_explicit(&excerpt->from, made->from, memory_order_release);
    atomic_store_explicit(&excerpt->until, made->until, memory_order_release);
    for (size_t i = 0; i < made->bytes / sizeof(*words); i++)
        atomic_store_explicit(&excerpt->words[i], words[i], memory_order_release);
    atomic_store_explicit(&excerpt->version, version + 1, memory_order_release);
}

/* Its set on a shelf that its kind is now known to have some on; NULL: there is no memory for any. */
static struct set *open_shelf(struct store *store, const struct store_entry *entry, uint64_t hash, int which, uint8_t **places)
{
    uint8_t bit = (uint8_t)(1 << which);

    grow_if_crowded(store, &store->shelves[which]);
    if ((atomic_load_explicit(&store->kind_shelves[entry->kind], memory_order_relaxed) & bit) == 0)
        atomic_fetch_or(&store->kind_shelves[entry->kind], bit);
    return set_of(&store->shelves[which], hash, places);
}

void store_excerpt_keep(struct store *store, const struct store_entry *entry, uint64_t hash, const struct store_excerpt *made,
                        const uint64_t *words)
{
    uint32_t tag = tag_of(hash, made->number);
    int which = shelf_for(made->bytes);
    uint8_t *places;
    struct set *set = which < STORE_SHELVES ? open_shelf(store, entry, hash, which, &places) : NULL;
    struct excerpt *excerpt;
    size_t place;

    assert(entry->kind == made->kind && entry->id_count == 1 && entry->partition == 0 && made->bytes % sizeof(*words) == 0);
    if (set == NULL)
        return;
    place = choose(&store->shelves[which], set, tag);
    excerpt = (void *)(places + place * store->shelves[which].place_bytes);
    atomic_store_explicit(&set->tags[place], 0, memory_order_relaxed);
    write(excerpt, next_version(set), made, entry->ids[0], words);
    atomic_store_explicit(&excerpt->era, (uint16_t)store_stripe__read(&store->eras.now), memory_order_relaxed);
    atomic_store_explicit(&set->tags[place], tag, memory_order_release);
}

void store_excerpts__drop(struct store *store, const struct store_entry *entry, uint8_t shelves)
{
    struct store_key key = store_entry__key(entry);
    uint64_t hash = store_key_hash(store, &key);
    uint8_t *places;

    for (int which = 0; which < STORE_SHELVES; which++) {
        struct set *set = (shelves >> which & 1) != 0 ? set_of(&store->shelves[which], hash, &places) : NULL;

        for (int i = 0; set != NULL && i < STORE_SET_PLACES; i++)
            if (((atomic_load_explicit(&set->tags[i], memory_order_relaxed) ^ tag_of(hash, 0)) & TAG_HASH) == 0)
                atomic_store_explicit(&set->tags[i], 0, memory_order_release);
    }
}

/* ---- Reading: without a lock ---- */

/* What seems to be it, its lines on their way. */
static struct place find(const struct store_shelf *shelf, uint64_t hash, const struct store_excerpt *wanted)
{
    struct place place = {NULL, NULL, tag_of(hash, wanted->number)};
    uint8_t *places;
    struct set *set = set_of(shelf, hash, &places);

    for (int i = 0; set != NULL && i < STORE_SET_PLACES; i++) {
        if (atomic_load_explicit(&set->tags[i], memory_order_relaxed) != place.value)
            continue;
        place.excerpt = (void *)(places + (size_t)i * shelf->place_bytes);
        place.tag = &set->tags[i];
        for (size_t at = 0; at < sizeof(struct excerpt) + wanted->bytes; at += STORE_LINE_BYTES)
            __builtin_prefetch((const uint8_t *)place.excerpt + at);
        break;
    }
    return place;
}

/* False: it is another's, of another time, or was taken away or written meanwhile. */
static bool copy_out(const struct place *place, const struct store_excerpt *wanted, uint64_t id, uint64_t *words)
{
    const struct excerpt *excerpt = place->excerpt;
    uint32_t version;

    if (excerpt == NULL)
        return false;
    version = atomic_load_explicit(&excerpt->version, memory_order_acquire);
    if ((version & 1) != 0 || atomic_load_explicit(&excerpt->id, memory_order_acquire) != id ||
        atomic_load_explicit(&excerpt->number, memory_order_acquire) != wanted->number ||
        atomic_load_explicit(&excerpt->from, memory_order_acquire) > wanted->from ||
        atomic_load_explicit(&excerpt->until, memory_order_acquire) <= wanted->from)
        return false;
    for (const _Atomic uint64_t *word = excerpt->words, *end = word + wanted->bytes / sizeof(*words); word < end; word++)
        *words++ = atomic_load_explicit(word, memory_order_acquire);
    return atomic_load_explicit(place->tag, memory_order_acquire) == place->value &&
           atomic_load_explicit(&excerpt->version, memory_order_relaxed) == version;
}

/* Once entities leave, those that are read must be seen to be. */
static void touch(struct store *store, struct excerpt *excerpt, uint64_t hash)
{
    uint16_t era = (uint16_t)store_stripe__read(&store->eras.now);

    if (store_stripe__read(&store->unloaded_since) == 0 || atomic_load_explicit(&excerpt->era, memory_order_relaxed) == era)
        return;
    atomic_store_explicit(&excerpt->era, era, memory_order_relaxed);
    (void)store_entry_find(store, hash);
}

static void spread(const struct store_piece *pieces, int count, const uint64_t *words, size_t index)
{
    for (int i = 0; i < count; i++) {
        uint8_t *to = (uint8_t *)pieces[i].to + index * pieces[i].stride;
        const uint8_t *from = (const uint8_t *)words + pieces[i].at;

        if (pieces[i].bytes == sizeof(uint64_t))
            memcpy(to, from, sizeof(uint64_t)); /* no call */
        else
            memcpy(to, from, pieces[i].bytes);
    }
}

int store_excerpts_read(struct store *store, const struct store_excerpt *wanted, const struct store_piece *pieces,
                        int piece_count, const uint64_t *ids, int count, int *missing)
{
    uint64_t words[STORE_EXCERPT_BYTES_MAX / sizeof(uint64_t)];
    struct ahead {
        uint64_t hash;
        struct place place;
    } ring[2 * AHEAD];
    int which = shelf_for(wanted->bytes), missed = 0;
    const struct store_shelf *shelf = &store->shelves[which < STORE_SHELVES ? which : 0];
    bool is_any = which < STORE_SHELVES && store_stripe__read(&shelf->sets) > 0;
    struct store_key key = {.kind = wanted->kind, .id_count = 1};
    uint8_t *places;

    for (int i = is_any ? -2 * AHEAD : 0; i < count; i++) {
        struct ahead *own = &ring[(i + 2 * AHEAD) % (2 * AHEAD)], *next = &ring[(i + 3 * AHEAD) % (2 * AHEAD)];

        if (i >= 0 && is_any && ids[i] != 0 && copy_out(&own->place, wanted, ids[i], words)) {
            spread(pieces, piece_count, words, (size_t)i);
            touch(store, own->place.excerpt, own->hash);
        } else if (i >= 0) {
            missing[missed++] = i;
        }
        if (i + AHEAD >= 0 && i + AHEAD < count && is_any)
            next->place = find(shelf, next->hash, wanted);
        if (i + 2 * AHEAD < count && is_any) {
            key.ids[0] = ids[i + 2 * AHEAD];
            own->hash = store_key_hash(store, &key);
            __builtin_prefetch(set_of(shelf, own->hash, &places));
        }
    }
    return missed;
}
