/*
 * The learning loop in a node: the join beside the lanes, the passing of time for it, the outbox on its way to the learner and to Kafka,
 * and the log of served rows; and sessions, which go with the same time. Without models and sessions there is none of it but the log, which
 * starts with the first request that asks for it.
 */
#ifndef PIPELINE_LEARNING_H
#define PIPELINE_LEARNING_H

#include <freshet/arena.h>
#include <freshet/ingest.h>
#include <freshet/join.h>
#include <freshet/metrics.h>
#include <freshet/queue.h>
#include <freshet/sessions.h>

#include <pthread.h>
#include <stdatomic.h>

struct pipeline_cluster;
struct pipeline_config;
struct pipeline_models;
struct pipeline_served_log;
struct pipeline_offsets;
struct pipeline_stream;
struct pipeline_tombstones;

/* ---- watermark.c: how far all partitions have come ---- */

/*
 * The event time up to which nothing more is to be expected: of each partition that is read, the greatest event time in it, or S where
 * all that was in Kafka when S was reached has been applied; the least of these. That is asked of Kafka while somebody waits for it. A partition without events does not hold it back,
 * one that lags does. Nor does it go past rows that this node has answered and Kafka has not acknowledged yet. So what was in Kafka
 * before an event decides what that event finds, whatever the lanes do.
 */
struct pipeline_watermark {
    struct pipeline_stream *stream;
    struct pipeline_offsets *offsets;
    struct pipeline_served_log *served_log;
    struct learner_join *join;
    struct learner_session_table *sessions; /* NULL without them */
    struct ingest *_Atomic ingest; /* NULL until it is open */
    const char *served; /* the topic */
    struct pipeline_bound *bounds; /* of each partition; by the thread that looks */
    uint64_t candidate; /* number of it */
    int64_t candidate_ms; /* S, and the moment at which it was S: the end offsets asked after that tell */
    int64_t candidate_at_ms; /* INT64_MAX: not before what was logged by then is in Kafka */
    int64_t candidate_since_ms;
    uint64_t candidate_puts; /* to the log, by then */
    uint64_t candidate_events; /* that were joined by then */
    int64_t asked_at_ms; /* for end offsets */
    int64_t time_ms; /* the greatest it came to; of events of just then, how many have all their rows */
    uint64_t events;
    bool is_sharing; /* in a cluster each partition number has a time of its own, and time_ms stays as it is */
    int64_t *shares;
};

FR_CHECKED bool pipeline_watermark__init(struct pipeline_watermark *watermark);
void pipeline_watermark__fini(struct pipeline_watermark *watermark);
/* Sees to time_ms and events; by one thread. Whether anybody waits for them. */
bool pipeline_watermark__look(struct pipeline_watermark *watermark);

/* ---- teacher.c: examples to the learner ---- */

struct pipeline_teacher {
    struct learner_join *join;
    struct learner *learner;
    const struct pipeline_config *config;
    const _Atomic int64_t *durable; /* the outbox's */
    int64_t next; /* the next chunk to learn from */
    struct fr_buffer chunk;
    struct fr_arena *arena; /* of one example, unpacked */
    struct fr_queue *stop; /* nothing is sent; closed when it is to stop */
    pthread_t thread;
    bool is_started;
};

FR_CHECKED bool pipeline_teacher__start(struct pipeline_teacher *teacher, struct fr_err *err);
void pipeline_teacher__stop(struct pipeline_teacher *teacher); /* joins */

/* ---- outbox.c: examples, or sessions, to Kafka ---- */

struct pipeline_outbox {
    struct learner_outbox *from;
    const char *what; /* "examples": what it carries */
    const char *topic;
    struct learner *learner; /* what it learns from these stays until its files have it; NULL: nobody does */
    const struct pipeline_config *config;
    const char *brokers;
    int topic_partitions; /* of the topic, when it is to be made */
    struct ingest_producer *producer; /* NULL: to be opened */
    _Atomic int64_t durable; /* chunks before it are in a durable epoch */
    int64_t next, dropped; /* the next chunk to send, to delete */
    struct fr_buffer chunk;
    struct fr_counter *sent, *repeated;
    struct fr_queue *stop; /* nothing is sent; closed when it is to stop */
    pthread_t thread;
    bool is_started;
};

FR_CHECKED bool pipeline_outbox__start(struct pipeline_outbox *outbox, struct fr_metrics *metrics, struct fr_err *err);
void pipeline_outbox__stop(struct pipeline_outbox *outbox); /* joins */

/* ---- learning.c ---- */

struct pipeline_learning {
    uint64_t matrices[LEARNER_MODELS_MAX]; /* of each model: what Served.schema calls its feature set */
    struct learner_join *join;
    struct learner_join_lane **lanes, *own;
    int lane_count;
    uint64_t outbox_bytes_most; /* batches wait above it */
    struct pipeline_watermark watermark;
    struct pipeline_outbox outbox;
    struct pipeline_teacher teacher;
    struct learner_session_table *sessions; /* NULL without them */
    struct learner_sessions_lane **session_lanes, *own_sessions;
    int session_lane_count;
    int64_t session_position; /* of the committer's boundary */
    struct pipeline_outbox session_outbox;
    bool has_models; /* else nothing is joined, and nobody learns */
    uint64_t session_bytes_most; /* in their outbox */
    const struct pipeline_cluster *cluster; /* NULL: it stands alone */
    struct fr_buffer ended; /* sessions, by the boundary, for the next transaction of the cluster's; the committer's */
    struct fr_counter *ended_sent;
    bool is_event_clock;
    struct fr_queue *stop; /* nothing is sent; closed when it is to stop */
    pthread_t thread;
    bool is_started;
};

/* Before lanes start; `models` are open and outlive it, and so does `cluster`. NULL where the configuration has neither models nor sessions. */
FR_CHECKED bool pipeline_learning__open(const struct pipeline_config *config, struct pipeline_models *models,
                                        struct store *store, struct pipeline_stream *stream, struct pipeline_offsets *offsets,
                                        struct pipeline_served_log *served_log, const struct pipeline_cluster *cluster,
                                        struct fr_metrics *metrics, struct pipeline_learning **learning, struct fr_err *err);
/* Starts the threads; `brokers` and `config` outlive them. */
FR_CHECKED bool pipeline_learning__start(struct pipeline_learning *learning, const struct pipeline_config *config,
                                         const char *brokers, struct ingest *ingest, struct fr_metrics *metrics,
                                         struct fr_err *err);
void pipeline_learning__stop(struct pipeline_learning *learning); /* joins them; before the last epoch */
void pipeline_learning__close(struct pipeline_learning *learning); /* NULL is fine */

/* By the committer: in its boundary, and when that epoch is durable. The position is the examples'. */
int64_t pipeline_learning__boundary(struct pipeline_learning *learning);
void pipeline_learning__durable(struct pipeline_learning *learning, int64_t position);

/* Takes away what waits of a user. Adds to both numbers. Blocks on the disk; any thread. */
FR_CHECKED bool pipeline_learning__forget(struct pipeline_learning *learning, uint64_t user_id, uint64_t *entities,
                                          uint64_t *records, struct fr_err *err);

/* Of a lane: before the gate on the batch's visit, and inside it. */
FR_CHECKED bool pipeline_learning__load(struct pipeline_learning *learning, const struct ingest_batch *batch,
                                        struct fr_err *err);
FR_CHECKED bool pipeline_learning__apply(struct pipeline_learning *learning, const struct ingest_batch *batch,
                                         const bool *is_skipped, const struct pipeline_tombstones *tombstones,
                                         struct fr_err *err);

/* Whether a batch may come: false while too many examples wait for Kafka. */
bool pipeline_learning__has_room(const struct pipeline_learning *learning);

/* ---- served_rows.c: which rows of a reply are logged ---- */

struct pipeline_exact;
struct pipeline_rows { /* of one reply */
    uint64_t request_id, user_id;
    int64_t time_ms; /* T of the read */
    const char *scene, *model; /* "": none */
    uint64_t model_version;
    uint64_t schema; /* of the columns */
    float *user_values;
    size_t user_columns;
    const uint64_t *item_ids;
    size_t items;
    const float *item_values; /* row-major */
    size_t item_columns;
    const uint64_t *sparse; /* row-major; NULL: none */
    size_t sparse_columns;
    const float *scores; /* NULL: none, and the first rows are taken for the best */
    const uint64_t *log_items; /* which rows; none: the best 32 */
    size_t log_items_count;
    const struct pipeline_exact *exact;
    uint64_t room_id; /* of the request */
};
struct pipeline_served_log;

/* Hands them to the log. FR_BAD_INPUT: one of log_items is not there; FR_EXHAUSTED: the arena has no room. Any thread. */
FR_CHECKED bool pipeline_rows__log(struct pipeline_served_log *log, const struct pipeline_rows *rows, struct fr_arena *arena,
                                   struct fr_err *err);

/* ---- served_log.c: served rows to Kafka ---- */

struct pipeline_served_log {
    const struct pipeline_config *config;
    const char *brokers;
    struct fr_metrics *metrics;
    pthread_mutex_t lock; /* of starting */
    struct fr_queue *queue; /* struct served_message */
    _Atomic uint64_t queued_bytes;
    _Atomic uint64_t puts, settled; /* records put so far; of them in Kafka, or dropped */
    uint64_t taken; /* of the queue, by the thread */
    struct fr_counter *sent, *dropped;
    pthread_t thread;
    atomic_bool is_started;
    atomic_bool is_closed;
};

void pipeline_served_log__init(struct pipeline_served_log *log, const struct pipeline_config *config, const char *brokers,
                               struct fr_metrics *metrics);
/*
 * Packs and queues the rows of one request for the served topic. Never waits: what finds no room is dropped, counted and logged at a
 * limited rate. Any thread. The first call starts the log's thread.
 */
void pipeline_served_log__put(struct pipeline_served_log *log, const Freshet__V1__Served *served);
/* Records put so far; and whether the first `puts` of them are in Kafka, or dropped. Any thread. */
uint64_t pipeline_served_log__puts(struct pipeline_served_log *log);
bool pipeline_served_log__is_settled(struct pipeline_served_log *log, uint64_t puts);
void pipeline_served_log__close(struct pipeline_served_log *log); /* after the last call; sends what is queued, for a moment */

#endif
