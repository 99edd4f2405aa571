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

struct pipeline_held { /* a partition */
    _Atomic int place; /* enum pipeline_place */
    _Atomic(const struct pipeline_owner *) owner; /* as announced last; NULL: never */
    _Atomic int64_t changelog_next; /* up to here the store has it; −1: it has nothing of it */
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

/* ---- cluster.c ---- */

/* The budget's guard, as lanes have it: returns when there is room for more, or the node stops. */
void pipeline_cluster__wait_for_room(struct pipeline_cluster *cluster);
bool pipeline_cluster__is_stopping(const struct pipeline_cluster *cluster);

#endif
