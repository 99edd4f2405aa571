/*
 * What the cluster's files share. Threads: the cluster's (topics, deltas of others), the group's (what is owned, restoring),
 * the standby's (copies of what is not; restoring what is far behind), the committer (transactions); lanes only collect. What
 * two of them touch is atomic, or changed inside the gate and read with it held alone.
 */
#ifndef PIPELINE_CLUSTER_INTERNAL_H
#define PIPELINE_CLUSTER_INTERNAL_H

#include "internal.h"

#include <freshet/deltas.h>
#include <freshet/group.h>

#include <limits.h>

enum {
    PIPELINE_CLUSTER_OLDEST_MS =
        3 * 86400000, /* of copies: the changelog keeps deletes for seven days, and restoring takes its time, too */
    PIPELINE_CLUSTER_TOPICS_MAX = PIPELINE_TOPICS_MAX + PIPELINE_TEXTS_MAX,
    PIPELINE_CLUSTER_COPIES = 256,
    PIPELINE_CLUSTER_VERSION = 2,
    PIPELINE_CLUSTER_JOINERS = 16, /* at once */
    PIPELINE_CLUSTER_JOINING = 0xffff, /* where an announcement has its partition: whoever says so comes */
    PIPELINE_CLUSTER_QUEUE_BYTES = 16 << 20
};

/* STANDBY: another's, and read along. */
enum pipeline_place { PIPELINE_CLUSTER_ELSEWHERE, PIPELINE_CLUSTER_RESTORING, PIPELINE_CLUSTER_HERE, PIPELINE_CLUSTER_STANDBY };

struct pipeline_owner { /* never freed before the cluster: readers hold on to it */
    const char *instance, *api;
};

/* The end of an epoch in a partition's changelog: what is before it is of this epoch or older. */
struct pipeline_marker {
    bool is_known;
    uint64_t epoch;
    int64_t stream_time_ms, session_time_ms; /* S, and how far time has passed for sessions; 0: nobody had any */
    struct ingest_position at[PIPELINE_CLUSTER_TOPICS_MAX]; /* of each topic of events */
};

/* The last word on an id (cluster_blocks.c). */
struct pipeline_block {
    uint64_t id; /* 0: a free place */
    int64_t at_ms; /* by the clock of who was asked; 0: there is none yet */
    int kind; /* enum agg_blocked */
    bool is_blocked, is_sent;
};

struct pipeline_block_record { /* as another sent it */
    struct pipeline_block block;
    char reason[PIPELINE_BLOCK_REASON_BYTES + 1];
};

struct pipeline_block_table {
    struct pipeline_block *blocks; /* open addressing; the committer's */
    uint32_t count, mask;
    int unsent;
    int64_t again_ms; /* when what is still blocked is said again */
    struct pipeline_block_record *received; /* by the cluster's thread, inside the gate; the boundary takes them */
    int received_count, received_capacity;
    bool is_failed;
};

/* A checkpoint of which the first records are in the store, and which gave way to a hand-over; of none where there are no records. */
struct pipeline_begun {
    int64_t next, made_ms; /* of its head: which one it is */
    uint64_t records;
};

struct pipeline_held { /* a partition */
    _Atomic int place; /* enum pipeline_place */
    _Atomic(const struct pipeline_owner *) owner; /* as announced last; NULL: never */
    _Atomic int64_t word_next; /* behind the last word on that, among the deltas; 0: it is from before the start */
    _Atomic int64_t word_from; /* where that is less, the owner is outdated: it was given to this instance since */
    _Atomic int64_t changelog_next; /* up to here the store has it; −1: it has nothing of it */
    _Atomic int64_t changelog_end; /* as known when it was last read; 0: not yet. For who asks how far it is */
    _Atomic int64_t time_ms; /* S of the latest marker of it */
    atomic_bool is_whole; /* was read to its end once, and not dropped since */
    bool is_empty; /* the store has no user of it for sure; by the group's thread while the standby's is idle, else by that */
    struct pipeline_begun begun; /* of the standby's thread */
    bool is_noted; /* it was here at the boundary; the committer's */
    struct pipeline_tombstone *tombstones; /* by who restores, inside the gate; the boundary takes them */
    int tombstone_count, tombstone_capacity;
    bool is_saved; /* the meta record says the same; changed inside the gate or by the committer */
    atomic_bool is_owner_saved;
    struct pipeline_marker marker; /* by who restores, inside the gate; then the committer */
    struct pipeline_marker next; /* of the boundary */
    int index[PIPELINE_CLUSTER_TOPICS_MAX]; /* ingest's, of each topic */
    int64_t marker_offset; /* where the marker that is on its way came to */
    bool is_signed; /* the transaction has a record in it */
};

struct pipeline_left { /* what somebody left open (cluster_left.c); begins as zeros; of one thread */
    int64_t asked_ms;
    struct {
        int64_t next, since_ms; /* where reading stands before something open, and since when; 0: it does not */
    } at[PIPELINE_CLUSTER_PARTITIONS_MAX];
};

struct pipeline_cluster {
    const struct pipeline_config *config;
    struct pipeline_engine *engine;
    struct store *store;
    void (*fatal)(void *user, const struct fr_err *err);
    void *user;
    struct ingest *ingest;
    struct ingest_group *group;
    struct fr_arena *arena;
    char brokers[512], api[256], changelog[256], deltas[256];
    const char *topics[PIPELINE_CLUSTER_TOPICS_MAX]; /* of events: the configuration's, and those that texts pass on to */
    int topic_count;
    struct pipeline_texts *texts; /* NULL without texts */
    uint64_t store_id; /* drawn with the store: what another store of the same name made is not this one's */
    uint64_t fingerprint;

    _Atomic int partitions; /* of each topic; 0: not known yet */
    struct pipeline_held held[PIPELINE_CLUSTER_PARTITIONS_MAX];
    _Atomic int64_t deltas_next[PIPELINE_CLUSTER_PARTITIONS_MAX]; /* up to here deltas are merged; −1: none */
    int64_t deltas_saved[PIPELINE_CLUSTER_PARTITIONS_MAX];
    _Atomic int64_t deltas_end[PIPELINE_CLUSTER_PARTITIONS_MAX]; /* as brokers said a second ago at most */
    int64_t looked_ms; /* when that was; the cluster's thread */
    _Atomic uint64_t made; /* epoch of the last transaction that was begun */
    uint64_t made_saved;
    int64_t boundary_time_ms, boundary_horizon_ms; /* S of what is set aside, and the horizon that it was applied with */
    int64_t told_time_ms; /* S, as others have it */
    uint64_t found; /* of its own deltas that it read at the start, the greatest */

    struct pipeline_mergers *mergers; /* the cluster's thread's */
    struct agg_deltas *turned[PIPELINE_LANES_MAX], *pending;
    struct ingest_tail *tail;
    struct pipeline_left left; /* of the deltas */
    atomic_bool is_local; /* epochs are no transactions: between two assignments, and while partitions are restored */
    atomic_bool needs_announcing;
    bool is_boundary_announcing; /* who owns what was at the boundary is to be said; the committer's */
    atomic_bool is_through; /* the deltas that were there at the start are merged: its own are those that it has from here on */
    atomic_bool has_come; /* the group has said what is owned, once */
    atomic_bool is_assigned; /* that is here, as it was once since this instance came, or came back */
    bool is_boundary_local; /* as it was at the boundary */
    struct pipeline_block_table blocks;
    _Atomic uint64_t turns; /* how often partitions went or came */
    atomic_bool is_turning; /* they are on their way: what is asked from here on may not be in a transaction */
    atomic_int forgetting; /* calls that erase: partitions go when there are none */
    atomic_bool is_stopping, is_failed;
    pthread_t thread;
    bool is_started;

    /* Standing by: it reads along when it is not held, and says that it does not by being idle. */
    pthread_t standby;
    bool is_standby_started;
    atomic_bool is_held, is_idle;
    atomic_bool is_taking; /* partitions that it has restored become this instance's: they do not go meanwhile */
    int assigned; /* partitions, at last, and since when; by the group's thread while the standby's is idle */
    int64_t assigned_ms;
    atomic_bool is_joining, is_warm; /* before the group is joined: it reads what will be its own, and has it */
    atomic_bool is_draining, is_away; /* it has left the group */
    atomic_bool is_relieved; /* others said that they have all that it had */
    _Atomic int64_t drained_ms; /* when it began, or it was last looked whether others are there */
    _Atomic(const struct pipeline_owner *) joiners[PIPELINE_CLUSTER_JOINERS]; /* who said that they come; NULL: free */
    _Atomic int64_t joiners_ms[PIPELINE_CLUSTER_JOINERS]; /* when, by the monotonic clock */

    pthread_t ship;
    bool is_ship_started;
    struct fr_counter *shipped, *ship_failed, *ship_taken, *ship_refused, *ship_records;
    struct fr_gauge *shipped_at, *ship_due, *images_bytes; /* ship_due: NULL without checkpoints */
    struct fr_counter *transactions, *copied, *deltas_written, *merged, *restored, *dropped, *taken_back, *without_room;
};

/* ---- cluster_wire.c ---- */

struct pipeline_delta_head {
    uint64_t store_id, epoch, fingerprint;
    int64_t stream_time_ms;
};
void pipeline_marker__encode(const struct pipeline_cluster *cluster, const struct pipeline_marker *marker,
                             struct fr_buffer *wire);
FR_CHECKED bool pipeline_marker__decode(const struct pipeline_cluster *cluster, struct fr_slice wire,
                                        struct pipeline_marker *marker, struct fr_err *err);
void pipeline_copy__key(const struct store_key *key, enum store_part part, struct fr_buffer *wire);
bool pipeline_copy__read_key(struct fr_slice wire, struct store_key *key, enum store_part *part); /* false: it makes no sense */
/* A record of deltas: begun, then one after another. */
void pipeline_delta__begin(const struct pipeline_delta_head *head, struct fr_buffer *wire);
void pipeline_delta__append(struct fr_slice key, struct fr_slice delta, struct fr_buffer *wire);
/* *deltas then gives each in turn, until false: its is_failed tells the end from bytes that make no sense. */
FR_CHECKED bool pipeline_delta__decode(const struct pipeline_cluster *cluster, struct fr_slice wire,
                                       struct pipeline_delta_head *head, struct fr_reader *deltas, struct fr_err *err);
bool pipeline_delta__next(struct fr_reader *deltas, struct agg_delta *delta);
/* Of who owns a partition, or comes: an announcement among the deltas. */
void pipeline_owner__encode(const struct pipeline_cluster *cluster, int partition, struct fr_buffer *key,
                            struct fr_buffer *value);
bool pipeline_owner__is(struct fr_slice key, int *partition);
/* Of an announcement; NULL: it makes no sense, or no memory. Lives as long as the cluster. */
const struct pipeline_owner *pipeline_owner__read(struct pipeline_cluster *cluster, struct fr_slice value);
/* Keeps it, when it is news. By its offset; −1: it is the store's. The cluster's thread. */
void pipeline_owner__take(struct pipeline_cluster *cluster, int partition, int64_t offset, struct fr_slice value);
/* Whether who said last that he has it said so before it was given to this instance. Any thread. */
bool pipeline_owner__is_outdated(const struct pipeline_held *held);

void pipeline_tombstone__key(uint64_t user_id, struct fr_buffer *key);
/* Of a user who was forgotten, in the changelog; of the last word on an id, among the deltas. False: it makes no sense. */
void pipeline_tombstone__encode(const struct pipeline_tombstone *tombstone, struct fr_buffer *key, struct fr_buffer *value);
bool pipeline_tombstone__is(struct fr_slice key);
FR_CHECKED bool pipeline_tombstone__decode(struct fr_slice key, struct fr_slice value, struct pipeline_tombstone *tombstone);
void pipeline_block__encode(const struct pipeline_block *block, struct fr_slice reason, struct fr_buffer *key,
                            struct fr_buffer *value);
bool pipeline_block__is(struct fr_slice key);
FR_CHECKED bool pipeline_block__decode(struct fr_slice key, struct fr_slice value, struct pipeline_block_record *record);
bool pipeline_wire__fail(const char *topic, struct fr_err *err); /* FR_CORRUPT: a record of it makes no sense; always false */

extern const char pipeline_marker_key[1];

/* ---- cluster_share.c: the group's callbacks ---- */

FR_CHECKED bool pipeline_share__assigned(void *user, const int32_t *partitions, int count, struct fr_err *err);
FR_CHECKED bool pipeline_share__revoked(void *user, bool is_lost, bool *is_settled, struct fr_err *err);

/*
 * Users of these partitions, by number, go out of the store, and nothing says any more that they are here. What gives way ends
 * when a hand-over comes: the partitions are not empty then, and go another time.
 */
FR_CHECKED bool pipeline_share__drop(struct pipeline_cluster *cluster, const bool *is_gone, bool gives_way, struct fr_err *err);
/*
 * Before partitions are restored: of those that will be read from the first record nothing may be left over, but for what is
 * `begun`. Gives way.
 */
FR_CHECKED bool pipeline_share__clear(struct pipeline_cluster *cluster, const int32_t *partitions, int count,
                                      struct fr_err *err);
/*
 * Partitions that are the group's word and were restored to their ends are this instance's from now on: an epoch has what was
 * restored, then ingest reads on. By the group's thread while the standby's is idle, or by that while it says that it is
 * taking.
 */
FR_CHECKED bool pipeline_share__take(struct pipeline_cluster *cluster, const int32_t *partitions, int count,
                                     struct fr_err *err);
void pipeline_share__tell(struct pipeline_cluster *cluster); /* what is here of what was assigned; by the same */

/* Waits for an epoch, as often as that must be tried again; false when it never will, or the node stops. */
FR_CHECKED bool pipeline_share__commit(struct pipeline_cluster *cluster, struct fr_err *err);

/* ---- cluster_restore.c ---- */

struct pipeline_restoring;

/*
 * From where the store has them. One thread at a time for a partition. Waits for brokers; what gives way does so until a
 * hand-over comes, and *restoring is NULL then.
 */
FR_CHECKED bool pipeline_restoring__open(struct pipeline_cluster *cluster, const int32_t *partitions, int count, bool gives_way,
                                         struct pipeline_restoring **restoring, struct fr_err *err);
int pipeline_restoring__read(struct pipeline_restoring *restoring, int timeout_ms,
                             struct fr_err *err); /* records; −1: it fails */
/* The partition of that place among them: all that was there when it was opened is put. Then, that no more of it is read. */
bool pipeline_restoring__is_through(const struct pipeline_restoring *restoring, int index);
void pipeline_restoring__leave(struct pipeline_restoring *restoring, int index);
/* What stands before transactions that somebody left open who is gone is helped on: they are ended. */
void pipeline_restoring__end_awaited(struct pipeline_restoring *restoring);
uint64_t pipeline_restoring__lag(const struct pipeline_restoring *restoring); /* to where it ended when it was opened */
void pipeline_restoring__close(struct pipeline_restoring *restoring); /* NULL is fine */

/* ---- cluster_left.c: what somebody left open ---- */

/* The transaction that begins there, if who began it is in the group no more. False: nobody says. May block for 17 s. */
bool pipeline_left__end(struct pipeline_cluster *cluster, const char *topic, int32_t partition, int64_t offset);
/* Of the deltas, by the cluster's thread, as often as it reads. May block for 17 s. */
void pipeline_left__look(struct pipeline_cluster *cluster, struct pipeline_left *left);

/* ---- cluster_range.c ---- */

/* Whether the member at `index`, by name, is given the partition. */
bool pipeline_range__is_of(int partitions, int members, int index, int partition);
/* Marks what it would be given if any 1 to `most` others left. */
void pipeline_range__standbys(int partitions, int members, int index, int most, bool *is_wanted);

/* ---- cluster_standby.c ---- */

FR_CHECKED bool pipeline_standby__start(struct pipeline_cluster *cluster, struct fr_err *err);
void pipeline_standby__stop(struct pipeline_cluster *cluster); /* once the cluster is stopping */
/* The group's thread: when it returns, nothing is read along until it is released. */
void pipeline_standby__hold(struct pipeline_cluster *cluster);
void pipeline_standby__release(struct pipeline_cluster *cluster);
/* The group's thread: when it returns, no more partitions become this instance's until then. Reading along goes on for a moment. */
void pipeline_standby__stop_taking(struct pipeline_cluster *cluster);
/* Whoever said that he comes is there, or owns already. The cluster's thread. */
void pipeline_standby__expect(struct pipeline_cluster *cluster, struct fr_slice announcement);
void pipeline_standby__has_come(struct pipeline_cluster *cluster, const struct pipeline_owner *owner);
/* Whether another has partitions, as announced, and this one none. */
bool pipeline_standby__is_newcomer(const struct pipeline_cluster *cluster);

/* ---- cluster_joining.c ---- */

/* Before the group is joined, by the cluster's thread: returns when it has what will be its own. False: the node stops, or fails. */
FR_CHECKED bool pipeline_joining__warm_up(struct pipeline_cluster *cluster, struct fr_err *err);

/* ---- cluster_drain.c ---- */

/* The cluster's thread, now and then: one that drains while nobody is there to take over comes back. May block for 3 s. */
void pipeline_drain__look(struct pipeline_cluster *cluster);

/* ---- cluster_ship.c: checkpoints ---- */

void pipeline_ship__register(struct pipeline_cluster *cluster, struct fr_metrics *metrics);
FR_CHECKED bool pipeline_ship__start(struct pipeline_cluster *cluster, struct fr_err *err); /* nothing without a directory */
void pipeline_ship__stop(struct pipeline_cluster *cluster); /* once the cluster is stopping */
/* The file of a partition that goes up to this offset of the changelog, and which there are: the newest first; −1: nobody can say. */
enum { PIPELINE_SHIP_FILES = 16 };
void pipeline_ship__name(const struct pipeline_cluster *cluster, int partition, int64_t next, char name[PATH_MAX]);
int pipeline_ship__find(const struct pipeline_cluster *cluster, int partition, int64_t offsets[PIPELINE_SHIP_FILES]);

/* ---- cluster_fetch.c ---- */

/*
 * Of a partition of which the store has nothing: the newest file of it that is fit, if there is any, goes into the state, and
 * how far it goes. The standby's thread; gives way when a hand-over comes, and the partition is neither empty nor here then:
 * where it is still wanted afterwards, this goes on with the same file. False: the store failed, or the node stops.
 */
FR_CHECKED bool pipeline_ship__fetch(struct pipeline_cluster *cluster, int32_t partition, struct fr_err *err);

/* ---- cluster_blocks.c: what people blocked ---- */

FR_CHECKED bool pipeline_cluster_blocks__open(struct pipeline_cluster *cluster, struct fr_err *err); /* before lanes run */
void pipeline_cluster_blocks__close(struct pipeline_cluster *cluster);
/* A record of the deltas, outside the gate. FR_CORRUPT: it makes no sense. */
FR_CHECKED bool pipeline_cluster_blocks__receive(struct pipeline_cluster *cluster, struct fr_slice key, struct fr_slice value,
                                                 struct fr_err *err);
/* The committer: what was received counts from here on, now_ms of the wall's clock; false: no epoch can be. Then sending what is unsent, and sent. */
FR_CHECKED bool pipeline_cluster_blocks__boundary(struct pipeline_cluster *cluster, struct store *store, int64_t now_ms,
                                                  struct fr_err *err);
FR_CHECKED bool pipeline_cluster_blocks__put(struct pipeline_cluster *cluster, bool is_announcing, struct fr_buffer *key,
                                             struct fr_buffer *value, struct fr_err *err);
void pipeline_cluster_blocks__sent(struct pipeline_cluster *cluster, struct store *store);

/* ---- cluster_tombstones.c: who was forgotten; as of blocks, with records of the changelog ---- */

void pipeline_cluster_tombstones__close(struct pipeline_cluster *cluster);
FR_CHECKED bool pipeline_cluster_tombstones__receive(struct pipeline_cluster *cluster, int partition, struct fr_slice key,
                                                     struct fr_slice value, struct fr_err *err);
FR_CHECKED bool pipeline_cluster_tombstones__boundary(struct pipeline_cluster *cluster, struct store *store,
                                                      struct fr_err *err);
FR_CHECKED bool pipeline_cluster_tombstones__put(struct pipeline_cluster *cluster, struct fr_buffer *key,
                                                 struct fr_buffer *value, struct fr_err *err);
void pipeline_cluster_tombstones__sent(struct pipeline_cluster *cluster);

/* ---- cluster_merge.c: the cluster's thread, but for opening and closing ---- */

struct pipeline_mergers;

/* As many as lanes, 8 at most. What there is of them on failure is to be closed, too. FR_EXHAUSTED. */
FR_CHECKED bool pipeline_mergers__open(struct agg *agg, int lanes, struct pipeline_mergers **mergers, struct fr_err *err);
void pipeline_mergers__close(struct pipeline_mergers *mergers); /* NULL is fine */
/* What is merged next: nothing, and one more each time. Their bytes live until then. */
void pipeline_mergers__clear(struct pipeline_mergers *mergers);
FR_CHECKED bool pipeline_mergers__add(struct pipeline_mergers *mergers, const struct agg_delta *delta, struct fr_err *err);
int pipeline_mergers__count(const struct pipeline_mergers *mergers);
uint64_t pipeline_mergers__corrupt(const struct pipeline_mergers *mergers); /* of them, what was for an entity in quarantine */
/* As agg_deltas_load() and, inside the gate, agg_deltas_apply(): on one visit, of the caller's. */
FR_CHECKED bool pipeline_mergers__load(struct pipeline_mergers *mergers, struct fr_err *err);
FR_CHECKED bool pipeline_mergers__apply(struct pipeline_mergers *mergers, int64_t horizon_ms, struct fr_err *err);

/* ---- cluster_sessions.c: those of users whose partitions are here; nothing where the configuration has none ---- */

/* The group's thread: no session ends from the next boundary on. */
void pipeline_cluster_sessions__hold(struct pipeline_cluster *cluster);
/* Of partitions that were held and are another's now, or were: by the group's thread, or by who restores. */
void pipeline_cluster_sessions__let_go(struct pipeline_cluster *cluster, int partition);
/* Of partitions that come, once an epoch has all of them; then, inside the gate, each is here. */
FR_CHECKED bool pipeline_cluster_sessions__find(struct pipeline_cluster *cluster, const int32_t *partitions, int count,
                                                struct fr_err *err);
void pipeline_cluster_sessions__begin(struct pipeline_cluster *cluster, int partition);
/* The committer: how far time has passed; whether there are some for the transaction, put there; and it is committed. */
int64_t pipeline_cluster_sessions__time(const struct pipeline_cluster *cluster, int partition);
bool pipeline_cluster_sessions__are_there(const struct pipeline_cluster *cluster);
/* S is what they end by, so others are told of it, even where there are no deltas. */
bool pipeline_cluster_sessions__need_time(const struct pipeline_cluster *cluster);
FR_CHECKED bool pipeline_cluster_sessions__put(struct pipeline_cluster *cluster, struct fr_err *err);
void pipeline_cluster_sessions__sent(struct pipeline_cluster *cluster);

/* ---- cluster_deltas.c: the cluster's thread ---- */

FR_CHECKED bool pipeline_deltas__open(struct pipeline_cluster *cluster, struct fr_err *err); /* from where the store has them */
FR_CHECKED bool pipeline_deltas__read(struct pipeline_cluster *cluster,
                                      struct fr_err *err); /* what comes within a moment, and merges it */
/*
 * The budget's guard, as lanes have it; what only goes on beside them stops earlier, but not before the committer would write.
 * Returns when there is room for more, or the node stops.
 */
void pipeline_cluster__wait_for_room(struct pipeline_cluster *cluster, bool is_beside);

/* ---- cluster_epoch.c ---- */

/*
 * A record of the transaction that was begun, by its thread; it is signed where others need that. `key` and `value` take the
 * place of those of `at`; NULL: its own. *offset as of ingest_transaction_put(). FR_EXHAUSTED: one of them found no memory.
 */
FR_CHECKED bool pipeline_cluster__put(struct pipeline_cluster *cluster, const struct ingest_put *at,
                                      const struct fr_buffer *key, const struct fr_buffer *value, int64_t *offset,
                                      struct fr_err *err);

/* ---- cluster.c ---- */

bool pipeline_cluster__is_stopping(const struct pipeline_cluster *cluster);
/* A moment later, and logged, when what failed may pass (FR_UNAVAILABLE); false: it does not, or the node is closing. */
bool pipeline_cluster__wait_again(struct pipeline_cluster *cluster, const struct fr_err *err);

#endif
