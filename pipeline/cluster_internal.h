/*
 * What the cluster's files share. Threads: the cluster's (topics, deltas of others), the group's (what is owned, restoring), the
 * committer (transactions); lanes only collect. What two of them touch is atomic, or changed inside the gate and read with it held alone.
 */
#ifndef PIPELINE_CLUSTER_INTERNAL_H
#define PIPELINE_CLUSTER_INTERNAL_H

#include "internal.h"

#include <freshet/deltas.h>
#include <freshet/group.h>

enum {
    PIPELINE_CLUSTER_PARTITIONS_MAX = 1024,
    PIPELINE_CLUSTER_COPIES = 256,
    PIPELINE_CLUSTER_VERSION = 1,
    PIPELINE_CLUSTER_QUEUE_BYTES = 16 << 20
};

enum pipeline_place { PIPELINE_CLUSTER_ELSEWHERE, PIPELINE_CLUSTER_RESTORING, PIPELINE_CLUSTER_HERE };

struct pipeline_owner { /* never freed before the cluster: readers hold on to it */
    const char *instance, *api;
};

/* The end of an epoch in a partition's changelog: what is before it is of this epoch or older. */
struct pipeline_marker {
    bool is_known;
    uint64_t epoch;
    int64_t stream_time_ms;
    struct ingest_position at[PIPELINE_TOPICS_MAX]; /* of each topic of the configuration */
};

/* What was said last of an id (cluster_told.c). */
struct pipeline_said {
    uint64_t id; /* 0: a free place */
    int64_t at_ms;
    int kind; /* enum agg_blocked */
    bool is_blocked, is_told;
};

struct pipeline_heard { /* from another */
    uint64_t id;
    int64_t at_ms;
    int kind;
    bool is_blocked;
    char why[PIPELINE_BLOCK_REASON_BYTES + 1];
};

struct pipeline_told {
    struct pipeline_said *saids; /* open addressing; the committer's */
    uint32_t count, mask;
    int untold;
    struct pipeline_heard *heard; /* by the cluster's thread, inside the gate; the boundary takes it */
    int heard_count, heard_capacity;
    bool is_failed;
};

struct pipeline_held { /* a partition */
    _Atomic int place; /* enum pipeline_place */
    _Atomic(const struct pipeline_owner *) owner; /* as announced last; NULL: never */
    _Atomic int64_t changelog_next; /* up to here the store has it; −1: it has nothing of it */
    bool is_noted; /* it was here at the boundary; the committer's */
    struct pipeline_tombstone *heard; /* by who restores, inside the gate; the boundary takes it */
    int heard_count, heard_capacity;
    bool is_saved; /* the meta record says the same; changed inside the gate or by the committer */
    atomic_bool is_owner_saved;
    struct pipeline_marker marker; /* by who restores, inside the gate; then the committer */
    struct pipeline_marker next; /* of the boundary */
    int index[PIPELINE_TOPICS_MAX]; /* ingest's, of each topic */
    int64_t told; /* where the marker that is on its way came to */
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
    const char *topics[PIPELINE_TOPICS_MAX];
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
    int64_t boundary_time_ms; /* S of what is set aside */
    uint64_t found; /* of its own deltas that it read at the start, the greatest */
    bool is_started_up; /* from here on its own deltas are those that it has */

    struct agg_deltas *turned[PIPELINE_LANES_MAX], *pending;
    struct agg_lane *merger; /* of the cluster's thread */
    struct ingest_tail *tail;
    atomic_bool is_local; /* epochs are no transactions: between two assignments, and while partitions are restored */
    atomic_bool needs_announcing;
    atomic_bool is_through; /* the deltas that were there at the start are merged */
    atomic_bool is_assigned; /* the group has said what is owned, and it is here */
    bool is_boundary_local; /* as it was at the boundary */
    struct pipeline_told said;
    int64_t told_again_ms; /* when what is still blocked is said again */
    _Atomic uint64_t turns; /* how often partitions went or came */
    atomic_bool is_stopping, is_failed;
    pthread_t thread;
    bool is_started;

    struct fr_counter *transactions, *copied, *told, *merged, *restored, *dropped, *taken_back;
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
void pipeline_delta__encode(const struct pipeline_delta_head *head, struct fr_slice delta, struct fr_buffer *wire);
FR_CHECKED bool pipeline_delta__decode(const struct pipeline_cluster *cluster, struct fr_slice wire,
                                       struct pipeline_delta_head *head, struct fr_slice *delta, struct fr_err *err);
/* Of who owns a partition: an announcement among the deltas. */
void pipeline_owner__encode(const struct pipeline_cluster *cluster, int partition, struct fr_buffer *key,
                            struct fr_buffer *value);
bool pipeline_owner__is(struct fr_slice key, int *partition);
/* Keeps it, when it is news. */
void pipeline_owner__take(struct pipeline_cluster *cluster, int partition, struct fr_slice value);

extern const char pipeline_marker_key[1];

/* ---- cluster_share.c: the group's callbacks ---- */

FR_CHECKED bool pipeline_share__assigned(void *user, const int32_t *partitions, int count, struct fr_err *err);
FR_CHECKED bool pipeline_share__revoked(void *user, bool is_lost, struct fr_err *err);

/* Waits for an epoch, as often as that must be tried again; false when it never will, or the node stops. */
FR_CHECKED bool pipeline_share__commit(struct pipeline_cluster *cluster, struct fr_err *err);

/* ---- cluster_told.c: what people told ---- */

FR_CHECKED bool pipeline_told__open(struct pipeline_cluster *cluster, struct fr_err *err); /* before lanes run */
void pipeline_told__close(struct pipeline_cluster *cluster);
bool pipeline_told__is_tombstone(struct fr_slice key); /* of a record of the changelog */
bool pipeline_told__is_block(struct fr_slice key); /* of one of the deltas */
/* Outside the gate. FR_CORRUPT: it makes no sense. */
FR_CHECKED bool pipeline_told__hear_tombstone(struct pipeline_cluster *cluster, int partition, struct fr_slice key,
                                              struct fr_slice value, struct fr_err *err);
FR_CHECKED bool pipeline_told__hear_block(struct pipeline_cluster *cluster, struct fr_slice key, struct fr_slice value,
                                          struct fr_err *err);
/* The committer: what was heard counts from here on; false: no epoch can be. Then whether there is something to tell, telling it, told. */
FR_CHECKED bool pipeline_told__boundary(struct pipeline_cluster *cluster, struct store *store, struct fr_err *err);
bool pipeline_told__is_any(const struct pipeline_cluster *cluster);
FR_CHECKED bool pipeline_told__put(struct pipeline_cluster *cluster, bool is_announcing, struct fr_err *err);
void pipeline_told__done(struct pipeline_cluster *cluster, struct store *store);

/* ---- cluster.c ---- */

/* The budget's guard, as lanes have it: returns when there is room for more, or the node stops. */
void pipeline_cluster__wait_for_room(struct pipeline_cluster *cluster);
bool pipeline_cluster__is_stopping(const struct pipeline_cluster *cluster);

#endif
