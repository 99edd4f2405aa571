/*
 * Kafka for nodes that share the work: membership in a consumer group, transactions, and reading compacted topics to their end. A
 * group's member fetches nothing; it is told which partitions are its own, and its generation is what fences transactions: whoever
 * lost his partitions cannot commit (KIP-447). Events are still read by ingest, which is told what to read by ingest_own().
 *
 * Threads: one of the group's, which calls `assigned` and `revoked`; while one of them works the others of the group wait for it.
 */
#ifndef FRESHET_GROUP_H
#define FRESHET_GROUP_H

#include <freshet/ingest.h>

struct ingest_group;

enum { INGEST_NAME_BYTES = 256 }; /* of an instance, with the end */

struct ingest_group_options {
    const char *brokers;
    const char *group;
    const char *instance; /* the same after a restart, no other's: static membership, and of the transactions' id */
    const struct ingest_property *properties;
    int property_count;
    const char *const *topics; /* of events, each with as many partitions */
    int topic_count;
    void *user;
    /* From now on these partition numbers of every topic are its own. False is fatal. */
    bool (*assigned)(void *user, const int32_t *partitions, int count, struct fr_err *err);
    /*
     * And now no more; when it returns they are another's. `is_lost`: they are already. False is fatal. *is_settled, false before: no
     * transaction of them is under way or to come. Without that, as where the node closes meanwhile, no callback follows, and brokers
     * say of a last transaction whether it still counts.
     */
    bool (*revoked)(void *user, bool is_lost, bool *is_settled, struct fr_err *err);
    void (*fatal)(void *user, const struct fr_err *err); /* once; the thread has ended then */
};

/* Makes the clients and starts nothing. Copies nothing: what options point to outlives it. FR_BAD_CONFIG: a property. */
FR_CHECKED bool ingest_group_open(const struct ingest_group_options *options, struct ingest_group **group, struct fr_err *err);

struct ingest_group_topic {
    const char *name;
    int partitions;
    bool is_compacted;
    int64_t retention_ms; /* −1: for ever; of one that is compacted: how long deletes stay; 0: as the brokers do */
    bool is_of_others; /* who read it: how many partitions it has, once it is there, is theirs to say */
};

/* Makes the topic when it is missing. FR_BAD_CONFIG: it has another number of partitions. FR_UNAVAILABLE: nobody answers yet. */
FR_CHECKED bool ingest_group_topic(struct ingest_group *group, const struct ingest_group_topic *topic, struct fr_err *err);
/*
 * Whether the topic that there is keeps what it must. FR_BAD_CONFIG: it does not, and the message has the command that mends it. Logs what
 * a broker that dies would take away. FR_UNAVAILABLE: nobody answers yet. May block for 10 s.
 */
FR_CHECKED bool ingest_group_topic_check(struct ingest_group *group, const struct ingest_group_topic *topic,
                                         struct fr_err *err);

/*
 * Ends what an earlier run of the instance has left open, and fences it. Before joining. Blocks for 10 s at most: FR_UNAVAILABLE, ask
 * again; FR_BAD_CONFIG: never.
 */
FR_CHECKED bool ingest_group_fence(struct ingest_group *group, struct fr_err *err);

struct ingest_members {
    int count; /* of the group; the dead for as long as their session */
    bool has_it; /* the instance that was asked for */
};
/* Who is in the group, as its coordinator has it. Any thread; blocks for 3 s at most. FR_UNAVAILABLE: nobody says. */
FR_CHECKED bool ingest_group_members(struct ingest_group *group, const char *instance, struct ingest_members *members,
                                     struct fr_err *err);

/*
 * Of the transaction that begins at that offset of a partition: tells in `instance` whose it is, and ends it, and fences him, if it is open
 * and he is not in the group any more: *is_ended. A member is left alone. Any thread; blocks for 17 s at most. FR_UNAVAILABLE: it cannot be
 * told, or the coordinator does not answer.
 */
FR_CHECKED bool ingest_group_end(struct ingest_group *group, const char *topic, int32_t partition, int64_t offset,
                                 char instance[INGEST_NAME_BYTES], bool *is_ended, struct fr_err *err);

/* Becomes a member, once; `assigned` follows on the group's own thread. Any thread, does not wait. FR_UNAVAILABLE, FR_EXHAUSTED. */
FR_CHECKED bool ingest_group_join(struct ingest_group *group, struct fr_err *err);
/* It leaves the group, and the others get its partitions: `revoked` and `assigned`, of none, follow. Or it comes back. Any thread. */
void ingest_group_drain(struct ingest_group *group, bool is_to_leave);
/* No callback comes any more when it returns; the member stays one, so that a last transaction can be made. */
void ingest_group_stop(struct ingest_group *group);
bool ingest_group_is_stopping(const struct ingest_group *group);
void ingest_group_close(struct ingest_group *group); /* stopped; leaves nothing open. NULL is fine */

/* ---- Transactions: one at a time; whose thread it is may change between two ---- */

struct ingest_put {
    const char *topic;
    int32_t partition; /* −1: by key with murmur2 */
    struct fr_slice key, value; /* value.bytes NULL: a delete */
    /* Whose it is goes with it: of the first record of the transaction in a partition, so that others can end it. */
    bool is_signed;
};
struct ingest_consumed {
    const char *topic;
    int32_t partition;
    int64_t next_offset;
};

/* Asks nobody. FR_UNAVAILABLE: take it back. */
FR_CHECKED bool ingest_transaction_begin(struct ingest_group *group, struct fr_err *err);
/* Queues a copy. *offset, which may be NULL and must live until the commit, is where it came to once that has returned true. */
FR_CHECKED bool ingest_transaction_put(struct ingest_group *group, const struct ingest_put *put, int64_t *offset,
                                       struct fr_err *err);
/*
 * All that was put, and how far was read, at once or not at all; under the generation of the last `assigned`. Waits for brokers and
 * coordinators that change: a minute a step at most, or session.timeout.ms where that is longer. When it fails, take it back.
 */
FR_CHECKED bool ingest_transaction_commit(struct ingest_group *group, const struct ingest_consumed *consumed, int count,
                                          struct fr_err *err);
/*
 * After any of these failed, by another client of the same name; blocks for a step at most. True: nothing that was put counts, and
 * the same may be begun anew. False: nobody here knows, or this instance was fenced or would fail again, and the producer is of no
 * use any more: the process has to end, and a restart finds out. `err` is written only where taking back was tried.
 */
FR_CHECKED bool ingest_transaction_take_back(struct ingest_group *group, struct fr_err *err);

/*
 * Where partitions of a topic begin and end, open transactions included, as their leaders say now. Any thread; blocks for seconds at most.
 * FR_UNAVAILABLE: one does not say.
 */
FR_CHECKED bool ingest_group_marks(struct ingest_group *group, const char *topic, const int32_t *partitions, int count,
                                   int64_t *lows, int64_t *ends, struct fr_err *err);

/* ---- Tails: partitions of a topic, read from somewhere to their end and on, committed records only ---- */

struct ingest_tail;

struct ingest_tail_options {
    const char *topic;
    const int32_t *partitions;
    const int64_t *starts; /* of each; −1: its first record */
    int count;
    uint64_t queue_bytes;
    unsigned
        wait_ms; /* for how long a broker holds a fetch when there is nothing, after which an end is seen; 0: as for events */
};
struct ingest_tailed { /* until the next read */
    int index; /* of its partition, in the options */
    int64_t offset;
    struct fr_slice key, value; /* value.bytes NULL: a delete */
};

/* Asks where the partitions end, open transactions included. FR_UNAVAILABLE: ask again; FR_CORRUPT: what comes next is gone. */
FR_CHECKED bool ingest_tail_open(struct ingest_group *group, const struct ingest_tail_options *options,
                                 struct ingest_tail **tail, struct fr_err *err);
/* Gives how many came, as soon as one is there; 0 after `timeout_ms`. −1: FR_CORRUPT, what comes next is gone. One thread. */
int ingest_tail_read(struct ingest_tail *tail, struct ingest_tailed *records, int most, int timeout_ms, struct fr_err *err);
int64_t ingest_tail_next(const struct ingest_tail *tail, int index); /* the next offset of a partition */
/* Where the partition ends, as brokers said last, open transactions included; −1: they have not yet. Never waits. */
int64_t ingest_tail_end(const struct ingest_tail *tail, int index);
int64_t ingest_tail_aim(const struct ingest_tail *tail, int index); /* where it ended when the tail was opened */
/* All that was there when it was opened has been read, which no transaction hides any more. */
bool ingest_tail_is_through(const struct ingest_tail *tail);
/* A partition stands before a transaction that is open, short of where it ended when the tail was opened. */
bool ingest_tail_is_waiting(const struct ingest_tail *tail, int index);
/* The same of where it ends now: of one that is under way for a moment, of one that was left open until that is ended. */
bool ingest_tail_is_behind(const struct ingest_tail *tail, int index);
/* All of a partition that was there when the tail was opened has been read. */
bool ingest_tail_has_ended(const struct ingest_tail *tail, int index);
/* No record of the partition comes any more, and it counts no more in what is said of all. Blocks for a moment. */
void ingest_tail_leave(struct ingest_tail *tail, int index);
uint64_t ingest_tail_lag(const struct ingest_tail *tail); /* offsets to that */
void ingest_tail_close(struct ingest_tail *tail); /* NULL is fine */

#endif
