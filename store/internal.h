/*
 * What the files of the store share. An entity is one cache line; its parts hang off it as blocks. A stripe is a lock, a slice
 * of the hash table and the list of its entities that changed since the last boundary.
 *
 * Locks, in this order: the gate (lanes shared, the committer alone for an instant), then one stripe. A lane's changes need
 * both; what the committer encodes or takes back, and what a reader reads or loads, needs the stripe only.
 */
#ifndef STORE_INTERNAL_H
#define STORE_INTERNAL_H

#include <freshet/arena.h>
#include <freshet/store.h>

#include <assert.h>
#include <limits.h>
#include <pthread.h>
#include <rocksdb/c.h>
#include <stdalign.h>
#include <stdatomic.h>

enum {
    STORE_KEY_BYTES_MAX = 1 + 2 + 8 * STORE_KEY_IDS_MAX + 1,
    STORE_KEY_PADDED_BYTES = 32,
    STORE_PART_BYTES_MAX = 1 << 30,
    STORE_LEVEL0_FILES_MAX = 20, /* ingestion bypasses RocksDB's own brake (107 files without an error, measured) */
    STORE_DIRTY_ENTRIES = 55, /* makes a chunk of the dirty list 512 bytes */
    STORE_LINE_BYTES = 64, /* of a processor's cache */
};

/* ---- Keys (keys.c) ---- */

/* A key as on disk, padded with zeros, its length in the last byte: memcmp of all 32 is the order of the keys on disk. */
struct store_disk_key {
    uint8_t bytes[STORE_KEY_PADDED_BYTES];
};

static inline size_t store_disk_key__length(const struct store_disk_key *key)
{
    return key->bytes[STORE_KEY_PADDED_BYTES - 1];
}

static inline int store_disk_key__compare(const struct store_disk_key *a, const struct store_disk_key *b)
{
    return memcmp(a->bytes, b->bytes, sizeof(a->bytes));
}

void store_key__encode(const struct store_key *key, enum store_part part, struct store_disk_key *disk_key);
FR_CHECKED bool store_key__decode(struct fr_slice bytes, struct store_key *key, enum store_part *part);
bool store_key__is_same(const struct store_key *a, const struct store_key *b);

/* The first bytes of a key in hex, for messages. */
struct store_key_text {
    char text[2 * STORE_KEY_BYTES_MAX + 1];
};
struct store_key_text store_key__print(struct fr_slice bytes);

/* ---- Entities and their parts (entry.c) ---- */

struct store_block {
    uint32_t bytes;
    uint32_t capacity;
    struct store_block *before; /* what the part was at the boundary, while the committer has not encoded it yet */
    alignas(16) uint8_t memory[];
};

enum { STORE_ON_DISK = 0x0F, STORE_CORRUPT = 0x10, STORE_IN_EPOCH = 0x20, STORE_NOTHING = 0x40 }; /* of `flags` */

struct store_entry {
    uint64_t ids[STORE_KEY_IDS_MAX];
    uint16_t partition;
    uint8_t kind;
    uint8_t id_count;
    uint8_t stripe;
    uint8_t dirty; /* a bit per part: low half, changed in an even turn; high half, in an odd one */
    uint8_t
        copied; /* a bit per part: `before` of its block is the state at the boundary; no block before: it was empty; above them the marks */
    uint8_t
        flags; /* a bit per part that has, or may have, a record on disk; STORE_CORRUPT; STORE_IN_EPOCH: not durable yet; STORE_NOTHING: it is nowhere */
    struct store_block *parts[STORE_PARTS];
};
static_assert(sizeof(struct store_entry) == 64, "an entity is one cache line");
static_assert(STORE_PARTS == 4, "the bits of an entry count on four parts");

struct store_stripe;
struct store_eras;

struct store_entry *store_entry__new(const struct store_key *key, uint8_t stripe); /* NULL when out of memory */
void store_entry__free(struct store_entry *entry); /* with its parts */
bool store_entry__is(const struct store_entry *entry, const struct store_key *key);
struct store_key store_entry__key(const struct store_entry *entry);
size_t store_entry__memory_bytes(const struct store_entry *entry);

/* A block holding a copy of `memory`; NULL when out of memory. */
struct store_block *store_block__new(struct fr_slice memory);
size_t store_block__memory_bytes(const struct store_block *block);
void store_block__free(struct store_block *block); /* takes NULL */

/* The bits of the parts changed in `turn`, and back to where they stand in `dirty`. */
static inline uint8_t store_entry__dirty_parts(const struct store_entry *entry, uint64_t turn)
{
    return (uint8_t)((entry->dirty >> ((turn & 1) * STORE_PARTS)) & 0x0F);
}

static inline void store_entry__set_dirty(struct store_entry *entry, uint64_t turn, unsigned parts)
{
    entry->dirty = (uint8_t)(entry->dirty | parts << ((turn & 1) * STORE_PARTS));
}

static inline void store_entry__clear_dirty(struct store_entry *entry, uint64_t turn, unsigned parts)
{
    entry->dirty = (uint8_t)(entry->dirty & ~(parts << ((turn & 1) * STORE_PARTS)));
}

/* Of store_entry_mark(): one bit for an even turn, one for an odd. */
static inline uint8_t store_entry__mark_of(uint64_t turn)
{
    return (uint8_t)(1 << (STORE_PARTS + (turn & 1)));
}

/*
 * The part as it was at the last boundary, for the committer, stripe locked: takes its copy or points to the part itself. From
 * now on lanes need not copy it any more. *copy, when set, is the caller's to free.
 */
struct fr_slice store_entry__take_boundary(struct store_stripe *stripe, struct store_entry *entry, enum store_part part,
                                           struct store_block **copy);

/* ---- The list of changed entities of a stripe (dirty.c) ---- */

struct store_dirty {
    struct store_dirty *next;
    uint32_t count;
    /* Encoded for the epoch being written, and STORE_PARTS bits above what the disk had before: a failed one can be taken back. */
    uint8_t parts[STORE_DIRTY_ENTRIES];
    struct store_entry *entries[STORE_DIRTY_ENTRIES];
};

bool store_dirty__reserve(struct store_dirty **list); /* room for one more; false when out of memory */
void store_dirty__add(struct store_dirty **list, struct store_entry *entry);
void store_dirty__splice(struct store_dirty **list, struct store_dirty **others); /* others is then NULL; cannot fail */
void store_dirty__free(struct store_dirty **list);

/* ---- What the disk may have (filter.c) ---- */

enum { STORE_FILTER_KEY_BITS = 12 };

struct store_filter { /* all but the two that a prefetch looks at: with the stripe locked */
    _Atomic(uint64_t *) blocks; /* NULL: none */
    _Atomic uint64_t block_count;
    uint64_t capacity; /* keys it is good for */
    uint64_t keys; /* added so far */
};

uint64_t store_filter__bytes_for(uint64_t keys);
void store_filter__set(struct store_filter *filter, uint64_t *blocks,
                       uint64_t bytes); /* zeroed blocks, not owned; NULL: none */
bool store_filter__is_none(const struct store_filter *filter);
void store_filter__prefetch(const struct store_filter *filter, uint64_t hash);
void store_filter__add(struct store_filter *filter, uint64_t hash);
bool store_filter__has(const struct store_filter *filter, uint64_t hash);

/* ---- Visits (visit.c) ---- */

enum { STORE_VISIT_ERAS = 4, STORE_AGE_SAFE = 2 }; /* eras since an entity was touched, until it may leave */

struct store_eras {
    alignas(64) _Atomic uint64_t now; /* begins above STORE_AGE_SAFE */
    struct {
        alignas(64) _Atomic uint64_t count;
    } visits[STORE_VISIT_ERAS]; /* running ones, by the era they began in */
};

bool store_visit__is_any(const struct store *store);
void store_visit__advance(struct store *store); /* the era goes up unless a visit of the last one still runs */

/* ---- The table (table.c) ---- */

/*
 * A slot's tag is the hash, whole but for its top byte, which all of a stripe share: growing the table touches no entity. In the
 * top byte are the era of the last touch (seven bits of it) and a bit that says: touched again since the clock hand passed.
 */
struct store_slot {
    uint64_t tag;
    struct store_entry *entry; /* NULL: free */
};

enum { STORE_TAG_ERA_SHIFT = 57, STORE_TAG_ERAS = 128 };
#define STORE_TAG_HASH ((UINT64_C(1) << 56) - 1)
#define STORE_TAG_USED (UINT64_C(1) << 56)

struct store_stripe {
    alignas(64) pthread_mutex_t lock;
    _Atomic(struct store_slot *) slots; /* atomic only for store_prefetch(), which looks without the lock */
    _Atomic uint64_t slot_mask;
    struct store_dirty *dirty; /* changed since the last boundary; with the gate */
    struct store_dirty *pending; /* of the epoch being written; the committer's */
    _Atomic uint64_t entities; /* these are written with the stripe locked, read by anyone */
    _Atomic uint64_t memory_bytes;
    _Atomic uint64_t dirty_bytes;
    _Atomic uint64_t dirty_entities;
    _Atomic uint64_t corrupt;
    _Atomic uint64_t nothings; /* entities that only say that they are nowhere */
    struct store_filter filter; /* of what is on disk and not here; none: nothing is known */
    struct store_filter filter_next; /* being built: what leaves goes into both */
    uint64_t hand; /* of the clock: a slot */
};

static inline void store_stripe__count(_Atomic uint64_t *counter, uint64_t added)
{
    atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + added, memory_order_relaxed);
}

static inline uint64_t store_stripe__read(const _Atomic uint64_t *counter)
{
    return atomic_load_explicit(counter, memory_order_relaxed);
}

static inline struct store_stripe *store_stripe__of(struct store_stripe *stripes, uint64_t hash)
{
    return &stripes[store_stripe_of(hash)];
}

enum { STORE_ENTITY_BYTES = 128 }; /* of an entity beside its parts' bytes: itself, its slots, the heads of its blocks */

/* Memory of what was changed since the boundary and so cannot leave. */
static inline uint64_t store_stripe__unwritten_bytes(const struct store_stripe *stripe)
{
    return store_stripe__read(&stripe->dirty_bytes) + STORE_ENTITY_BYTES * store_stripe__read(&stripe->dirty_entities);
}

struct store_stripe *store_table__new(void); /* STORE_STRIPES of them; NULL when out of memory */
void store_table__free(struct store_stripe *stripes);

/* All of these with the stripe locked. Finding touches: the entity cannot leave before the visits that run now are over. */
struct store_entry *store_stripe__find(struct store_stripe *stripe, const struct store_key *key, uint64_t hash,
                                       const struct store_eras *eras);
bool store_stripe__insert(struct store_stripe *stripe, struct store_entry *entry, uint64_t hash,
                          const struct store_eras *eras); /* false: no memory */
void store_stripe__remove(struct store_stripe *stripe, const struct store_entry *entry, uint64_t hash);
uint64_t store_stripe__slot_bytes(const struct store_stripe *stripe);

/* ---- Excerpts (excerpt.c) ---- */

enum { STORE_SHELVES = 5, STORE_SET_PLACES = 15, STORE_SEGMENTS = 32 };

struct store_shelf { /* of excerpts of one size */
    alignas(64) _Atomic uint64_t sets; /* of each stripe; 0: none yet */
    _Atomic(struct set *) segments[STORE_SEGMENTS];
    size_t place_bytes;
    alignas(64) _Atomic uint64_t pushed_out; /* since it grew */
};

void store_excerpts__init(struct store *store);
void store_excerpts__fini(struct store *store);
/* Takes away what there is of the entity on these shelves, before it changes; stripe locked. */
void store_excerpts__drop(struct store *store, const struct store_entry *entry, uint8_t shelves);

/* ---- Who leaves the table (evict.c) ---- */

/* Lets cold entities go until the budget is kept, `slices` stripes' shares at most. Any thread, also on a visit. */
void store_evict__to_budget(struct store *store, int slices);

/* What has become empty on disk and in memory leaves by the next epochs; noted and let go by the committer. */
struct store_leaving {
    uint64_t *hashes;
    size_t count, settled, capacity; /* the first `settled` became empty in an epoch before this one */
};

void store_leaving__note(struct store *store, uint64_t hash);
void store_leaving__let_go(struct store *store);

/* ---- The directory (directory.c) ---- */

/*
 * Makes `path` when missing, refuses a foreign one, locks it (the lock's descriptor into *lock_fd), makes the folder where
 * epochs are written.
 */
FR_CHECKED bool store_directory__open(const char *path, int *lock_fd, struct fr_err *err);
/* That a store is there, without changing anything. */
FR_CHECKED bool store_directory__look(const char *path, struct fr_err *err);
/* Removes what is left in that folder, once RocksDB is open. */
FR_CHECKED bool store_directory__clear_epochs(const char *path, struct fr_err *err);
/* The one file in that folder; false when there is none, or more. */
bool store_directory__left_epoch(const char *path, char out[PATH_MAX]);
FR_CHECKED bool store_directory__sync(const char *path, struct fr_err *err);
void store_directory__close(int lock_fd);

/*
 * Makes `path` when missing; one that holds other things is refused, unless `mark` (NULL: none) is among them.
 */
FR_CHECKED bool store_directory__claim(const char *path, const char *mark, struct fr_err *err);
/* Puts the mark into a directory that RocksDB's files lie in: from now on it is a store. Durable when true. */
FR_CHECKED bool store_directory__adopt(const char *path, struct fr_err *err);
FR_CHECKED bool store_directory__free_bytes(const char *path, uint64_t *bytes, struct fr_err *err);
FR_CHECKED bool store_directory__epoch_path(const char *path, uint64_t epoch, char *out, size_t out_bytes, struct fr_err *err);

/* ---- RocksDB (disk.c) ---- */

struct store_disk {
    rocksdb_t *db;
    rocksdb_column_family_handle_t *family;
    rocksdb_options_t *options;
    rocksdb_options_t *sst_options;
    rocksdb_envoptions_t *env;
    rocksdb_readoptions_t *read;
    rocksdb_ingestexternalfileoptions_t *ingest;
};

FR_CHECKED bool store_disk__open(const char *path, bool is_read_only, struct store_disk *disk, struct fr_err *err);
void store_disk__close(struct store_disk *disk);
/* FR_CORRUPT when the manifest gives a file bounds that cannot be: see disk.c. */
FR_CHECKED bool store_disk__check_files(const struct store_disk *disk, const char *path, struct fr_err *err);
int store_disk__level0_files(const struct store_disk *disk); /* −1 when RocksDB does not say */
uint64_t store_disk__index_bytes(const struct store_disk *disk); /* memory of the open files' indexes and filters */
bool store_disk__is_corruption(const char *message);

/* Takes RocksDB's message (freed) into `err`: FR_CORRUPT for a failed checksum, else FR_UNAVAILABLE. Returns false. */
bool store_disk__fail(char *message, struct fr_err *err, const char *path, const char *what);

/* ---- A hand-over that failed half-way (rescue.c) ---- */

/* store_disk__open(), and what a failed sync of the manifest may have left undone is done. */
FR_CHECKED bool store_rescue__open(const char *path, struct store_disk *disk, struct fr_err *err);

/* ---- One epoch's records (sst.c) ---- */

struct store_record {
    struct store_disk_key key;
    const void *value; /* NULL: delete it */
    size_t value_bytes;
};

struct store_order {
    uint64_t word; /* of the key, where keys begin to differ */
    const struct store_record *record;
};

struct store_sst {
    struct store_record *records;
    size_t count;
    size_t capacity;
    struct fr_arena *values;
    const struct store_order *order; /* of all records, once sorted */
    void *order_memory;
};

FR_CHECKED bool store_sst__init(struct store_sst *sst); /* false when out of memory */
void store_sst__fini(struct store_sst *sst);
void store_sst__clear(struct store_sst *sst, size_t keep_bytes);
bool store_sst__reserve(struct store_sst *sst, size_t records); /* false when out of memory */

/* Adds a record, `value` copied; empty: a delete. Room must be reserved. False when out of memory. */
bool store_sst__add(struct store_sst *sst, const struct store_key *key, enum store_part part, struct fr_slice value);

size_t store_sst__bytes(const struct store_sst *sst); /* memory it takes, with the sorted order */
bool store_sst__sort(struct store_sst *sst); /* by key; false when out of memory (order.c) */

struct store_meta;

/* Writes the changed meta records and all of `sst`, sorted, as the file `path`, and hands it to RocksDB: durable when true. */
FR_CHECKED bool store_sst__ingest(struct store_sst *sst, const struct store_meta *meta, const struct store_disk *disk,
                                  const char *path, uint64_t *file_bytes, struct fr_err *err);

/* ---- Meta records (meta.c) ---- */

struct store_meta_record {
    char *name;
    uint8_t *value;
    size_t value_bytes;
    bool is_dirty;
    bool is_deleted;
};

struct store_meta {
    struct store_meta_record *records; /* by name */
    size_t count;
    size_t capacity;
    bool is_failed; /* out of memory: an epoch without it would be a lie */
};

FR_CHECKED bool store_meta__load(struct store_meta *meta, const struct store_disk *disk, const char *path, struct fr_err *err);
void store_meta__fini(struct store_meta *meta);
bool store_meta__is_dirty(const struct store_meta *meta);
void store_meta__settle(struct store_meta *meta); /* what was dirty is durable */
void store_meta__put(struct store_meta *meta, const char *name, struct fr_slice value);
struct fr_slice store_meta__get(const struct store_meta *meta, const char *name);

/* ---- The memory budget (memory.c) ---- */

uint64_t store_memory__table(const struct store *store); /* of table, parts and copies, now */
uint64_t store_memory__table_most(const struct store *store); /* what the budget leaves for them */

/* ---- Building the filters (build.c) ---- */

struct store_build { /* of the thread that tends the store */
    uint64_t *blocks, *blocks_next; /* of all stripes' filters */
    uint64_t stripe_bytes_next; /* of one stripe's */
    bool is_running;
    bool has_failed; /* a block on disk cannot be read: no more of it until the next open */
    uint8_t at[STORE_KEY_BYTES_MAX]; /* the last key seen */
    size_t at_bytes;
};

/* Nothing is on disk that is not in the table. By the one thread that is about to let the first entity go; tending begins after it. */
void store_build__begin_empty(struct store *store);
void store_build__fini(struct store *store);

/* ---- Loading, and ahead of need (load.c, warm.c) ---- */

enum store_outcome { STORE_LOADED, STORE_DAMAGED, STORE_NO_MEMORY };

/* Decodes a part's record into an entity that nobody else sees yet. */
enum store_outcome store_load__part(const struct store_codec *codec, const struct store_key *key, enum store_part part,
                                    struct fr_slice disk, struct store_entry *entry);

struct store_warming { /* of the thread that tends the store */
    bool is_over;
    struct store_cursor cursor; /* where it goes on */
};

/* ---- The store ---- */

struct store_metrics {
    struct fr_histogram *epoch_seconds;
    struct fr_gauge *epoch_bytes;
    struct fr_gauge *entities;
    struct fr_gauge *table_entities;
    struct fr_gauge *table_bytes;
    struct fr_gauge *parts_bytes;
    struct fr_gauge *index_bytes;
    struct fr_gauge *filter_bytes;
    struct fr_gauge *buffer_bytes;
    struct fr_gauge *excerpt_bytes;
    struct fr_gauge *budget_bytes;
    struct fr_gauge *dirty_bytes;
    struct fr_gauge *level0_files;
    struct fr_gauge *disk_free_bytes;
    struct fr_counter *corrupt;
    struct fr_counter *looks_here;
    struct fr_counter *looks_filtered;
    struct fr_counter *loads_found;
    struct fr_counter *loads_absent;
    struct fr_counter *evicted;
};

struct store {
    char *path;
    uint64_t memory_bytes;
    uint64_t free_bytes_least;
    struct store_codec codec;
    uint64_t seeds[2];

    struct store_stripe *stripes;
    pthread_rwlock_t gate;
    struct store_eras eras;
    uint64_t turn; /* counts boundaries; read inside the gate, changed with the gate held alone */

    struct store_shelf shelves[STORE_SHELVES];
    pthread_mutex_t shelves_lock; /* of whoever makes one larger */
    _Atomic uint8_t kind_shelves[256]; /* a bit per shelf on which excerpts of the kind may be */
    _Atomic uint64_t excerpt_bytes;

    int lock_fd;
    struct store_disk disk;
    struct store_meta meta;
    struct store_sst sst; /* the committer's */
    _Atomic uint64_t disk_entities; /* that have a record on disk, as of the last epoch */
    uint64_t disk_change; /* to it by the epoch being written, wraps around; the committer's */
    bool is_disk_counted; /* false: an earlier version made it, which did not count */
    struct fr_buffer taken, scratch; /* the committer's */
    struct store_leaving leaving; /* the committer's */
    struct store_build build;
    struct store_warming warming;
    _Atomic uint8_t kind_parts[256]; /* a bit per part that any entity of the kind has on disk */
    _Atomic bool are_kinds_known; /* false: it may have any */
    _Atomic bool is_filter_built; /* or nothing is on disk that it would have */
    _Atomic bool is_leaving_begun; /* by one thread, which then sets the next two */
    _Atomic bool has_unloaded; /* false: nothing is on disk that is not in the table, and loads need not ask */
    _Atomic uint64_t unloaded_since; /* the era in which entities were first to leave; 0: none yet */
    _Atomic uint64_t unloaded; /* entities of the disk that are not in the table */
    _Atomic uint64_t gone; /* entities that left the disk since the filters were built */
    _Atomic uint64_t evicted;
    _Atomic uint64_t departed; /* entities that left the table, evicted or empty; counted before each goes, stripe locked */
    _Atomic uint64_t hand; /* of the clock: a stripe */
    _Atomic uint64_t filter_bytes;
    _Atomic uint64_t index_bytes; /* of RocksDB's open files, as of the last epoch */
    _Atomic uint64_t buffer_bytes; /* of an epoch's records: now or in the last one, whichever is more */
    _Atomic uint64_t pending_bytes; /* memory of what the epoch in flight holds */
    _Atomic bool is_failed; /* RocksDB failed once, and a second write may abort the process; or see store_spoil() */

    _Atomic uint64_t epoch;
    _Atomic uint64_t epoch_bytes;
    _Atomic int64_t epoch_ms;
    _Atomic int level0_files;
    bool has_metrics;
    struct store_metrics metrics;
};

/* The steps of a commit, apart for tests; all by the committer (epoch.c, encode.c). */
bool store_epoch__turn(struct store *store, const struct store_epoch *epoch);
FR_CHECKED bool store_epoch__encode(struct store *store, struct fr_err *err);
FR_CHECKED bool store_epoch__write(struct store *store, struct fr_err *err);
void store_epoch__take_back(struct store *store);
void store_epoch__settle(struct store *store);

void store__register_metrics(struct store_metrics *metrics, struct fr_metrics *registry);

/* One more entity of the disk is in the table, or `count` left it. Any thread. */
void store__count_loaded(struct store *store);
void store__count_evicted(struct store *store, uint64_t count);

/* Entities of this kind may have this part on disk. Any thread. */
void store__note_part(struct store *store, uint8_t kind, enum store_part part);

/* Puts how many entities there are, so that a restart knows it without looking through the disk. By the committer. */
void store__put_entities(struct store *store);
void store__put_disk_entities(struct store *store, uint64_t entities); /* unless they are not known */

/* Tells stats and metrics about an epoch that took so long. */
void store__measure_epoch(struct store *store, int64_t took_us);

#endif
