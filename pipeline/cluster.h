/*
 * A node that shares its topics with others (ARCHITECTURE.md, "A cluster"). The cluster thread makes and checks the topics,
 * fences what an earlier run left, and reads `<group>.deltas` to its end, then on; the standby's thread reads along what may
 * come to be its own; the group's thread restores partitions that come from `<group>.changelog`, and has ingest read them; the
 * committer makes each epoch one transaction before it is written here.
 */
#ifndef PIPELINE_CLUSTER_H
#define PIPELINE_CLUSTER_H

#include <freshet/error.h>

#include <stdbool.h>
#include <stdint.h>

enum { PIPELINE_CLUSTER_PARTITIONS_MAX = 1024 };

struct fr_arena;
struct ingest;
struct pipeline_cluster;
struct pipeline_config;
struct pipeline_engine;
struct pipeline_texts;
struct store;

struct pipeline_cluster_options {
    const struct pipeline_config *config;
    struct pipeline_engine *engine;
    const char *brokers;
    void (*fatal)(void *user, const struct fr_err *err);
    void *user;
};

/* Whether the state is that of an instance, from which users may be missing. Before the first gate. */
bool pipeline_cluster__is_instances(struct store *store);
/* After the engine is opened; lanes collect from then on. FR_CORRUPT: what the store says of the cluster makes no sense. */
FR_CHECKED bool pipeline_cluster__open(const struct pipeline_cluster_options *options, struct pipeline_cluster **cluster,
                                       struct fr_err *err);
/*
 * After ingest, which shares; `texts`, which may be NULL, pass on what is of its partitions; `api` is where others send who
 * asks for this node's users.
 */
FR_CHECKED bool pipeline_cluster__start(struct pipeline_cluster *cluster, struct ingest *ingest, struct pipeline_texts *texts,
                                        const char *api, struct fr_err *err);
void pipeline_cluster__stop(struct pipeline_cluster *cluster); /* before ingest stops; a last epoch is still a transaction */
void pipeline_cluster__close(struct pipeline_cluster *cluster); /* after it, before the engine; NULL is fine */

/* ---- cluster_epoch.c: the committer ---- */

void pipeline_cluster__boundary(struct pipeline_cluster *cluster, struct store *store);
/* After the boundary, before anything that may fail: what the epoch has for others. False: the instance ends. */
FR_CHECKED bool pipeline_cluster__gather(struct pipeline_cluster *cluster, struct fr_err *err);
FR_CHECKED bool pipeline_cluster__before_durable(struct pipeline_cluster *cluster, struct store *store, struct fr_err *err);
/* No epoch comes any more: the process has to end, and a restart catches up. */
void pipeline_cluster__fail(struct pipeline_cluster *cluster, const struct fr_err *err);
bool pipeline_cluster__is_failed(const struct pipeline_cluster *cluster); /* any thread */

/* ---- any thread ---- */

/* NULL when it is of use; else why not. */
const char *pipeline_cluster__not_ready(const struct pipeline_cluster *cluster);

/*
 * Whether the user's state is here; 0 is nobody's. FR_UNAVAILABLE: it is on its way; FR_PRECONDITION: it is at another, whose
 * address the message tells.
 */
FR_CHECKED bool pipeline_cluster__check_user(const struct pipeline_cluster *cluster, uint64_t user_id, struct fr_err *err);

/* The same for what changes him: only where he is owned. 0 is nobody's here, too. */
FR_CHECKED bool pipeline_cluster__check_owned(const struct pipeline_cluster *cluster, uint64_t user_id, struct fr_err *err);

/*
 * For what has to be in a transaction: partitions that stayed from the first look to the second were this instance's in every
 * epoch between. FR_UNAVAILABLE: some went or came.
 */
uint64_t pipeline_cluster__turns(const struct pipeline_cluster *cluster);
FR_CHECKED bool pipeline_cluster__check_turns(const struct pipeline_cluster *cluster, uint64_t turns, struct fr_err *err);
/*
 * Around what is erased of a user, and the epoch with that: until the end no partition that was here goes, so that the
 * changelog hears of all of it. FR_UNAVAILABLE: partitions went or came since `turns`, and there is no end to call.
 */
FR_CHECKED bool pipeline_cluster__begin_forgetting(struct pipeline_cluster *cluster, uint64_t turns, struct fr_err *err);
void pipeline_cluster__end_forgetting(struct pipeline_cluster *cluster);
/* Whether others hear of what this instance blocks. FR_UNAVAILABLE: not now; FR_PRECONDITION: it has no partitions. */
FR_CHECKED bool pipeline_cluster__check_may_block(const struct pipeline_cluster *cluster, struct fr_err *err);
/* In the boundary: others are to hear that the id is blocked, or is not any more. FR_EXHAUSTED: out of memory. */
FR_CHECKED bool pipeline_cluster__block(struct pipeline_cluster *cluster, struct store *store, int kind, uint64_t id,
                                        bool is_blocked, struct fr_err *err);

/* S of what is here of the user, who may be read while he is another's (server.stale_reads); INT64_MAX: he is this instance's. */
int64_t pipeline_cluster__user_time(const struct pipeline_cluster *cluster, uint64_t user_id);

/*
 * Gives its partitions to the others, and takes none any more; asked again it says how many others do not have yet. Until the
 * process ends, or until it is seen that there is nobody to take them: it takes them back then, is not ready before it has
 * them, and to ask again is to begin anew. Who still restores his share may go, too. *is_again: nothing was begun by this.
 * FR_PRECONDITION: there is nobody else; FR_UNAVAILABLE: it has not come in yet, or no broker says who else has. May block for 8 s.
 */
FR_CHECKED bool pipeline_cluster__drain(struct pipeline_cluster *cluster, int *left, bool *is_again, struct fr_err *err);
/* Whether the group gave it any, or may have: who has not come yet, and a replica, has none to give away. */
bool pipeline_cluster__has_share(const struct pipeline_cluster *cluster);
/* Whether what is written to a partition may be waited for here: false, as above, when another applies it. */
FR_CHECKED bool pipeline_cluster__may_wait(const struct pipeline_cluster *cluster, int partition, struct fr_err *err);

struct pipeline_cluster_partition {
    int32_t number;
    const char *instance, *api; /* of its owner, as he announced it last; "" when nobody has */
    bool is_here, is_restoring, is_standby;
    int64_t changelog_next; /* −1: nothing of it is here */
    int64_t changelog_lag; /* to its end, of what is restored or read along; −1: it is not, or nobody knows yet */
    int64_t deltas_lag; /* offsets of this partition of the deltas that are not merged */
};
int pipeline_cluster__partitions(const struct pipeline_cluster *cluster); /* 0: not known yet */
struct pipeline_cluster_partition pipeline_cluster__partition(const struct pipeline_cluster *cluster, int number);
bool pipeline_cluster__is_replica(const struct pipeline_cluster *cluster);
const char *pipeline_cluster__instance(const struct pipeline_cluster *cluster); /* its name */
int32_t pipeline_cluster__some_partition(const struct pipeline_cluster *cluster); /* that is here; −1: none is */
uint64_t pipeline_cluster__epoch(const struct pipeline_cluster *cluster); /* of the last transaction */

#endif
