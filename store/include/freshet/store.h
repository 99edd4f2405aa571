/*
 * The state of a node: entity → up to four parts of bytes, in memory under striped locks, over RocksDB. It knows keys and bytes and
 * never their meaning: whoever owns the meaning gives a codec between the form in memory (fixed width, changed in place)
 * and the form on disk (compact, stable).
 *
 * Lanes change parts in place between store_gate_enter() and store_gate_leave(). One committer thread turns the epoch: for an
 * instant it takes the gate alone, then writes every part dirtied before it, and the meta records of that instant, as one
 * sorted SST that RocksDB ingests atomically. A restart opens the last epoch. What a part was at the boundary is copied before a
 * lane changes it again, so lanes never wait for the disk. Nothing is written through the memtable; there is no WAL.
 *
 * The table holds what the memory budget allows. When there is more, entities that are durable and not wanted leave it, and
 * come back by store_load(). Who loads keys and then relies on them does both on one visit: from the load to the end of the
 * visit, each of its keys is in the table or is nowhere, whoever else brings, changes, writes or evicts what meanwhile. Somebody
 * calls store_tend() every now and then.
 *
 * Key on disk: kind u8 | partition u16 | ids u64 … | part u8, all big endian. Kind 0 is meta: kind u8 | name bytes.
 */
#ifndef FRESHET_STORE_H
#define FRESHET_STORE_H

#include <freshet/buffer.h>
#include <freshet/error.h>
#include <freshet/metrics.h>
#include <freshet/slice.h>

struct store;
struct store_entry; /* one entity, held with its stripe's lock */

enum { STORE_KEY_IDS_MAX = 3, STORE_FORMAT = 2, STORE_STRIPES = 256 };

/* The parts of an entity, stored apart, each with its own dirty mark. */
enum store_part {
    STORE_PART_ROWS, /* presence, attributes, dedupe ids, window rows */
    STORE_PART_SEQUENCES, /* last */
    STORE_PART_SKETCHES, /* distinct, quantile, gauge, series, decayed blocks */
    STORE_PART_LISTS, /* covisit, trending */
    STORE_PARTS
};

struct store_key {
    uint8_t kind; /* 1 … 255, given by whoever owns the meaning; 0 is meta */
    uint8_t id_count; /* 1 … STORE_KEY_IDS_MAX */
    uint16_t partition; /* 0 when standalone or item-side */
    uint64_t ids[STORE_KEY_IDS_MAX]; /* user first; unused ones 0 */
};

/* Between the form of a part in memory and on disk. Called with a stripe locked, by any thread: must not call the store. */
struct store_codec {
    void *user;
    /* Appends the disk form; nothing appended means: the part is empty, delete its record. */
    void (*encode)(void *user, const struct store_key *key, enum store_part part, const void *memory, uint32_t bytes,
                   struct fr_buffer *disk);
    /* Appends the memory form. False: the bytes make no sense; the entity is quarantined. */
    bool (*decode)(void *user, const struct store_key *key, enum store_part part, struct fr_slice disk,
                   struct fr_buffer *memory);
};

struct store_options {
    const char *path; /* made when missing; a directory with other things in it is refused */
    uint64_t
        memory_bytes; /* budget of table, parts, copies, excerpts, filter, RocksDB's indexes, an epoch's buffers; 0: none */
    uint64_t free_bytes_least; /* an epoch is refused (FR_EXHAUSTED) when the disk has less */
    struct store_codec codec;
    struct fr_metrics *metrics; /* may be NULL */
    /*
     * Only to look at the last durable epoch: meta records, stats and scans, nothing else may be called. Nothing in the directory
     * changes and no lock is taken: a node may have it open and go on. A missing directory is refused.
     */
    bool is_read_only;
};

/*
 * Opens or makes the store and reads its meta records. FR_BAD_CONFIG: a foreign or locked directory (the message names who to
 * stop), a newer format; FR_CORRUPT: RocksDB cannot open it (the message names the way back). Threads: none started.
 */
FR_CHECKED bool store_open(const struct store_options *options, struct store **store, struct fr_err *err);

/* Closes without a last epoch: what is not in one is dropped, as after a crash. No lane may be inside the gate. NULL is fine. */
void store_close(struct store *store);

/*
 * ---- Meta records: small named bytes, part of each epoch. Before the first gate, or by the committer in `boundary`. ----
 * "format", "epoch" and "entities" are the store's own.
 */

/* The value as of the last durable epoch or a later put; empty when there is none. Valid until the next put of that name. */
struct fr_slice store_meta_get(struct store *store, const char *name);
void store_meta_put(struct store *store, const char *name, struct fr_slice value); /* copied; durable with the next epoch */
struct store_meta_named {
    const char *name;
    struct fr_slice value;
};
/* The same of many, whose names come in order and once each: one pass, where each put by itself moves all that lie behind its name. */
void store_meta_put_sorted(struct store *store, const struct store_meta_named *records, int count);
void store_meta_delete(struct store *store, const char *name);
/* Every name that begins with `prefix`, in order. */
void store_meta_each(struct store *store, const char *prefix, void (*each)(void *user, const char *name, struct fr_slice value),
                     void *user);

/* ---- Entities ---- */

/* The table's seeded hash of a key; passed along so that it is computed once. */
uint64_t store_key_hash(const struct store *store, const struct store_key *key);

/*
 * What is loaded or found on a visit stays in the table until it ends. Any thread, also several at once; as short as a batch or a
 * request, because nothing that was touched since the oldest one began can leave.
 */
struct store_visit {
    uint64_t era;
};
struct store_visit store_visit_enter(struct store *store);
void store_visit_leave(struct store *store, struct store_visit visit);

/*
 * Brings the entities of keys[0..count) that are on disk and not in the table into it, by one MultiGet of those that a filter
 * in memory does not know to be nowhere. On a visit that lasts until the keys are used. Blocks on the disk: never on a server
 * loop, never inside the gate. Duplicate keys are fine. FR_UNAVAILABLE when the disk fails, FR_EXHAUSTED when out of memory; a
 * quarantined entity is no failure here, but is logged and counted. Any thread; two may load the same key.
 */
FR_CHECKED bool store_load(struct store *store, const struct store_key *keys, const uint64_t *hashes, int count,
                           struct fr_err *err);

/*
 * True when store_load() of these keys would not ask the disk, and then they are as good as loaded, to the end of the visit. Never
 * blocks on the disk.
 */
bool store_is_loaded(struct store *store, const struct store_key *keys, const uint64_t *hashes, int count);

/*
 * True when the table holds all that the disk does, so that store_load() has nothing to do, until the end of the visit on which it
 * is asked. Any thread.
 */
bool store_is_whole(const struct store *store);

/*
 * For whoever goes through many entities on a visit: it finds each once and locks it later, when what it works on has come. In
 * stages, each some hundred nanoseconds after the one before because it looks at what that brought. Any thread, holding no entity.
 * First the stripe's lock and the slot of the table.
 */
void store_prefetch(const struct store *store, uint64_t hash);
/*
 * The entity with this hash, NULL when it isn't in the table; it stays where it is to the end of the visit, and its own line is being
 * fetched. Locks the stripe for a moment. What is found is not locked, whatever is in it may change, so it is good for the next
 * two alone.
 */
struct store_entry *store_entry_find(struct store *store, uint64_t hash);
/* Starts fetching `lines` of a part of what was found; NULL is fine. Takes no lock, so it may fetch in vain. */
void store_entry_fetch(const struct store_entry *entry, enum store_part part, int lines);
/* As store_entry_lock(store, key, hash, false), of what was found for that hash; NULL, too: it looks again. */
struct store_entry *store_entry_lock_found(struct store *store, struct store_entry *found, const struct store_key *key,
                                           uint64_t hash);

/* Lanes are inside the gate while they change parts and offsets: all of one batch is on one side of an epoch's boundary. */
void store_gate_enter(struct store *store);
void store_gate_leave(struct store *store);

/*
 * The entity with its stripe locked, until store_entry_unlock(); NULL when it isn't in the table and `create` is false (or when
 * out of memory), and then nothing is locked. Never hold two. With `create` only inside the gate, after store_load() of its key
 * on the same visit.
 */
struct store_entry *store_entry_lock(struct store *store, const struct store_key *key, uint64_t hash, bool create);
void store_entry_unlock(struct store *store, struct store_entry *entry);
/* Who has an entity locked has all of its stripe. */
static inline int store_stripe_of(uint64_t hash)
{
    return (int)(hash >> 56);
}

/* True when its bytes on disk made no sense: reads answer FR_CORRUPT, changes are dropped and counted. */
bool store_entry_is_corrupt(const struct store_entry *entry);

/* The part's memory and its size; NULL and 0 when empty. Valid until unlock or a change. */
const void *store_entry_read(const struct store_entry *entry, enum store_part part, uint32_t *bytes);

/*
 * The part made `bytes` long (kept content, new bytes zeroed), marked dirty, to be changed in place until unlock; aligned to 16.
 * `bytes` 0 empties the part (returns NULL). NULL with `bytes` > 0: out of memory, more than 1 GiB, or a quarantined entity;
 * nothing changed. Only inside the gate.
 */
void *store_entry_write(struct store *store, struct store_entry *entry, enum store_part part, uint32_t bytes);

/*
 * Marks the entity for the rest of the epoch; false: it was marked already. What that means is the caller's affair. Inside the gate, the entity
 * locked, and only where it is changed before it is unlocked: the mark goes when the change is encoded.
 */
bool store_entry_mark(struct store *store, struct store_entry *entry);
bool store_entry_is_marked(const struct store *store, const struct store_entry *entry); /* the same */

/*
 * Empties every part, also of an entity that is quarantined or of a kind that nobody reads: with the next epoch nothing of it is on
 * disk. Adds to *erased how many parts there were. False: out of memory, some are left. Only inside the gate.
 */
bool store_entry_erase(struct store *store, struct store_entry *entry, int *erased);

/*
 * ---- Excerpts: what a reader made of an entity, kept so that the next one need not look at it ----
 * Bytes that mean something to whoever made them. A change of the entity takes its excerpts away; without one they are good from a
 * moment to before another, in whatever unit. Of entities whose key is one id, in partition 0. They are of memory only, an eighth of the budget
 * at most, and who keeps one may find it gone.
 */

enum { STORE_EXCERPT_BYTES_MAX = 1024 - 24 };

struct store_excerpt {
    uint8_t kind; /* of the entity */
    uint16_t number; /* says what is in it; no two kinds share one */
    uint32_t bytes; /* of it, a multiple of 8; the same for all of the number */
    uint32_t from, until; /* when it is good; for a reader `from` is his moment */
};

struct store_piece { /* some bytes of each excerpt, and where they go */
    uint32_t at, bytes;
    void *to; /* for the first key */
    size_t stride; /* bytes from one key to the next */
};

/* With the entity locked, after reading it. Too large a one is not kept. Any thread, not in the gate. */
void store_excerpt_keep(struct store *store, const struct store_entry *entry, uint64_t hash, const struct store_excerpt *made,
                        const uint64_t *words);

/*
 * Copies out the pieces of every key's excerpt that is there, each as its entity was at one instant between call and return. Indices of
 * the others go into missing[0..count); gives how many. An id of 0 has none. On a visit, holding no entity; any thread. No lock.
 */
int store_excerpts_read(struct store *store, const struct store_excerpt *wanted, const struct store_piece *pieces,
                        int piece_count, const uint64_t *ids, int count, int *missing);

/* ---- Epochs: one committer thread ---- */

struct store_epoch {
    /*
     * Called with the gate held alone: no lane is inside a batch. Puts the meta records (offsets, stream time) of this instant.
     * May be NULL.
     */
    void (*boundary)(void *user, struct store *store);
    /*
     * Called after it, outside the gate, before anything is durable: what must be done first (dead letters). All is encoded by
     * then, so that lanes copy nothing while it waits. May be NULL.
     */
    bool (*before_durable)(void *user, struct fr_err *err);
    void *user;
};

/*
 * Turns the epoch and makes it durable; returns when it is. False: nothing of it is durable, its parts are dirty again and the
 * next epoch writes them. FR_EXHAUSTED: no disk space, level 0 too deep or out of memory, try later; FR_UNAVAILABLE: RocksDB
 * failed: the handle is not written again and store_is_failed() says so. What `before_durable` failed with is passed on.
 * Without any change nothing is written, and the epoch's number stays.
 */
FR_CHECKED bool store_epoch_commit(struct store *store, const struct store_epoch *epoch, struct fr_err *err);

/*
 * From `before_durable`: what this epoch writes of each entity's part, in no order; an empty value: it is deleted. `each` returns false to
 * stop, and has set err.
 */
FR_CHECKED bool store_epoch_each(struct store *store,
                                 bool (*each)(void *user, const struct store_key *key, enum store_part part,
                                              struct fr_slice value, struct fr_err *err),
                                 void *user, struct fr_err *err);

/* Whether no epoch comes any more: after a failed write, or store_spoil(). Any thread. */
bool store_is_failed(const struct store *store);

/*
 * A change stopped half-way: what is in memory must not become an epoch, and none does from now on; the last one is exact. Called
 * before the gate is left, so that no boundary comes between, or in `boundary`, for what it could not put.
 */
void store_spoil(struct store *store);

/*
 * Keeps house for about `work_us`: entities leave until the budget is kept, and the filter is built where it is missing or full. Call
 * it every 50 ms or so, on one thread that may block on the disk. FR_CORRUPT, FR_UNAVAILABLE: the filter cannot be built; the
 * store goes on without it, slower, and this is told once.
 */
FR_CHECKED bool store_tend(struct store *store, int64_t work_us, struct fr_err *err);

/*
 * After an open, on the thread that tends the store: brings entities from disk into the table for about `work_us`, before anybody wants
 * them, when what is on disk is at most an eighth of the budget. True while there is more to bring: call it again at once. What cannot
 * be read is left for the load that wants it.
 */
bool store_warm(struct store *store, int64_t work_us);

struct store_stats {
    uint64_t epoch; /* number of the last durable one */
    uint64_t entities; /* in the table, or on disk only */
    uint64_t table_entities; /* in the table */
    uint64_t disk_entities; /* with a record on disk, as of the last epoch */
    bool is_disk_counted; /* disk_entities is known: false where an earlier version made the store */
    uint64_t total_bytes; /* all that the budget covers: the next five together */
    uint64_t memory_bytes; /* table, parts and copies */
    uint64_t filter_bytes;
    uint64_t buffer_bytes; /* an epoch's records, as many as it took lately */
    uint64_t index_bytes; /* indexes and filters of RocksDB's open files, as of the last epoch */
    uint64_t excerpt_bytes; /* of excerpts, and the room for more */
    uint64_t table_bytes; /* of memory_bytes, without entities and parts */
    uint64_t dirty_bytes; /* in parts changed since the last boundary */
    uint64_t unwritten_bytes; /* the same with the entities around them: about what cannot leave before an epoch */
    uint64_t pending_bytes; /* likewise, of the epoch in flight */
    uint64_t evicted; /* entities that left the table so far */
    bool is_filter_built;
    uint64_t corrupt; /* quarantined entities met */
    uint64_t epoch_bytes; /* of the last SST */
    int64_t epoch_ms; /* the last epoch took */
    int level0_files;
};
void store_stats_read(struct store *store, struct store_stats *stats);

/* Sets the store's gauges to what is true now, for who is about to print metrics. Asks the disk for its free space. Any thread. */
void store_metrics_refresh(struct store *store);

/*
 * Every entity of the last durable epoch, in key order, from a snapshot: lanes go on. disk[part] is empty where there is
 * none. `each` returns false to stop early (that is no failure). Blocks on the disk; any thread but the committer's.
 */
FR_CHECKED bool store_scan(struct store *store,
                           bool (*each)(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS]),
                           void *user, struct fr_err *err);

/*
 * The same for the next `most` entities from where `cursor` stands, which goes on behind them, and is zero again when all are
 * through or the disk fails, so that the next call begins anew. Each call sees the epoch that is then the last; `each` that
 * returns false ends the call, and the cursor stays.
 */
struct store_cursor {
    uint8_t bytes[31];
    uint8_t length; /* 0: at the first */
};
FR_CHECKED bool store_scan_some(struct store *store, struct store_cursor *cursor, uint64_t most,
                                bool (*each)(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS]),
                                void *user, struct fr_err *err);

/*
 * Whether the codec makes sense of what a scan found: where not, loading the entity would quarantine it. Its parts go
 * through `memory`, one by one; where that is_failed, nobody can say. Any thread.
 */
bool store_scan_is_sound(const struct store *store, const struct store_key *key, const struct fr_slice disk[STORE_PARTS],
                         struct fr_buffer *memory);

/*
 * The durable meta record `name` appended to `value`; false when there is none. Called from `each`: as the scan's own snapshot
 * sees it, so that state and offsets are of one epoch.
 */
bool store_scan_meta(struct store *store, const char *name, struct fr_buffer *value);

/* The same of every name that begins with `prefix`, in order. FR_CORRUPT, FR_UNAVAILABLE: the disk failed. */
FR_CHECKED bool store_scan_meta_each(struct store *store, const char *prefix,
                                     void (*each)(void *user, const char *name, struct fr_slice value), void *user,
                                     struct fr_err *err);

/*
 * The keys of the last durable epoch that begin with this kind, partition and first id, in order, each once. `each` returns false to
 * stop early. Blocks on the disk; any thread but the committer's.
 */
FR_CHECKED bool store_scan_keys(struct store *store, uint8_t kind, uint16_t partition, uint64_t first_id,
                                bool (*each)(void *user, const struct store_key *key), void *user, struct fr_err *err);

/*
 * ---- Backups: directories that hold one or more, incremental, each of one whole epoch ----
 * One process at a time works on such a directory; another is refused with FR_EXHAUSTED.
 */

struct store_backup {
    uint32_t id; /* from 1, in the order in which they were made */
    int64_t made_ms; /* Unix time, whole seconds */
    uint64_t bytes; /* of its files, shared ones too */
    uint32_t files;
};

struct store_backup_options {
    const char *directory; /* made when missing; one with other things in it is refused */
    uint32_t keep; /* so many of the latest stay; 0: all */
};

/*
 * Copies the last durable epoch, or a later one that becomes durable meanwhile, while lanes and epochs go on; durable and of the
 * right sizes when true. Blocks on the disk. FR_BAD_CONFIG: the directory; FR_UNAVAILABLE, FR_CORRUPT: a disk failed. Any thread.
 */
FR_CHECKED bool store_backup_make(struct store *store, const struct store_backup_options *options, struct store_backup *backup,
                                  struct fr_err *err);

/* Every whole backup of the directory, the oldest first. FR_BAD_CONFIG: there are none. */
FR_CHECKED bool store_backup_each(const char *directory, void (*each)(void *user, const struct store_backup *backup),
                                  void *user, struct fr_err *err);

/*
 * Makes a store in `path`, which is missing or empty, from backup `id` (0: the latest), each file checked against its checksum. What
 * a crash leaves half done is no store: it is refused at open as a directory that holds other things, and is to be emptied.
 * FR_CORRUPT: a file of the backup is damaged; FR_BAD_CONFIG: no such backup, or `path` is not empty.
 */
FR_CHECKED bool store_backup_restore(const char *directory, uint32_t id, const char *path, struct store_backup *backup,
                                     struct fr_err *err);

#endif
