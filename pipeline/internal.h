/*
 * What the files of pipeline share that make state. The node owns everything; each file works on its own piece and is handed the
 * pieces it reads. What answers calls is in services.h.
 */
#ifndef PIPELINE_INTERNAL_H
#define PIPELINE_INTERNAL_H

#include "cluster.h"
#include "learning.h"
#include "tables.h"
#include "texts.h"

#include <freshet/aggregators.h>
#include <freshet/arena.h>
#include <freshet/idset.h>
#include <freshet/ingest.h>
#include <freshet/learner.h>
#include <freshet/metrics.h>
#include <freshet/pipeline.h>
#include <freshet/queue.h>
#include <freshet/server.h>
#include <freshet/store.h>
#include <freshet/v1/admin.pb-c.h>
#include <freshet/v1/feature.pb-c.h>
#include <freshet/v1/model.pb-c.h>

#include <pthread.h>
#include <stdatomic.h>

enum {
    PIPELINE_TABLES_MAX = 8,
    PIPELINE_LANES_MAX = 64,
    PIPELINE_BATCH_EVENTS = 512,
    PIPELINE_PARTITIONS_MAX = 1 << 16,
    PIPELINE_TOPICS_MAX = 64,
    PIPELINE_PROPERTIES_MAX = 256,
    PIPELINE_HOSTS_MAX = 16,
    PIPELINE_CLUSTER_SLOTS = 2, /* beside the lanes' in the stream: what deltas and what markers tell of its time */
    PIPELINE_WATCHES_MOST = 10000, /* streams of the node that a configuration may allow */
};

/* ---- config.c ---- */

/* `server.limits` of WatchFeatures. */
struct pipeline_watch_limits {
    int64_t streams; /* of the node: 1000 */
    int64_t entities; /* of a stream: 1000 */
    int64_t values; /* columns times entities, of all streams of the node: 1,000,000 */
};

struct pipeline_config {
    struct fr_arena *arena; /* all text below */
    bool is_event_clock;
    bool is_cluster; /* also of a replica */
    bool is_replica;
    int standbys; /* that may leave at once, and the rest has their users */
    bool are_stale_reads; /* of users who are another's, as far as they are here */
    int64_t drain_ms; /* at the end; 0: it does not */
    const char *id; /* node.id; "": none */
    int lanes;
    int64_t max_future_ms;
    int64_t tombstones_ms; /* how long late events of a forgotten user are dropped */
    int64_t canary_ms; /* 0: none */
    struct agg_dedupe dedupe;

    const char *brokers; /* "embedded" or host:port,… */
    bool is_embedded;
    const char *group;
    struct ingest_topic topics[PIPELINE_TOPICS_MAX];
    int topic_count;
    const char *dead_letters;
    enum ingest_start start;
    bool is_adopting; /* kafka.recreated */
    struct ingest_property properties[PIPELINE_PROPERTIES_MAX];
    int property_count;

    const char *store_path;
    uint64_t memory_bytes;
    uint64_t free_bytes_least;
    int64_t epoch_ms;
    const char *checkpoints; /* a directory; "": none are written or looked for */
    int64_t checkpoint_ms; /* from one to the next */

    const char *listen;
    const char *advertised; /* where others are sent for this instance's users; "": where it listens */
    const char *operations;
    int loops;
    int64_t ready_lag_ms;
    struct server_limits limits;
    struct pipeline_watch_limits watch_limits;
    struct server_tls tls;
    struct server_grant grants[SERVER_GRANTS_MAX];
    int grant_count;
    const char *hosts[PIPELINE_HOSTS_MAX];
    int host_count;

    struct learner_config *learner;
    struct pipeline_text texts[PIPELINE_TEXTS_MAX];
    int text_count;
    struct agg_catalogue *catalogue;
};

/* config.c: all sections, over the defaults; config->arena is set. */
void pipeline_config__sections(struct fr_yaml *root, struct pipeline_config *config, struct fr_diagnostics *diagnostics);
/* config_server.c: the section `server`, told like all others in `diagnostics`. */
void pipeline_config__server(struct fr_yaml *root, struct pipeline_config *config, struct fr_diagnostics *diagnostics);
/* Whether `server.listen` names no address of its own. */
bool pipeline_config__is_listening_anywhere(const struct pipeline_config *config);
/* With how many partitions the learner's topics are made: as many as the events' first topic. */
int pipeline_config__partitions(const struct pipeline_config *config);

/* ---- machine.c: the memory there is ---- */

enum { PIPELINE_MACHINE_TEXT_BYTES = 320 };

struct pipeline_machine {
    uint64_t memory_bytes; /* what this process may have: the least limit of its control groups, or all of the machine's */
    bool has_limit;
    bool is_container;
};

/* `root` is "" but in a test, `physical_bytes` what the machine has. */
struct pipeline_machine pipeline_machine__look(const char *root, uint64_t physical_bytes);

/* What is wrong with a budget there, and how to mend it: more than three quarters of all, or a container without a limit; else empty. */
void pipeline_machine__describe(const struct pipeline_machine *machine, uint64_t budget_bytes,
                                char text[PIPELINE_MACHINE_TEXT_BYTES]);

struct pipeline_machine pipeline_machine__here(void);

/* Says it in the log; once all is well, so that a start that fails tells only why. */
void pipeline_machine__warn(const struct pipeline_machine *machine, uint64_t budget_bytes);

/* ---- offsets.c: where each partition stands, and under which cluster ---- */

struct pipeline_offsets {
    struct fr_arena *arena;
    struct pipeline_known_offset *known; /* as the store had them at open */
    int known_count, known_capacity;
    char stored_cluster[128]; /* "" in a new store */
    char cluster[128]; /* that answered; written once, before is_cluster_known */
    atomic_bool is_cluster_known;
    bool is_cluster_put;
    struct pipeline_position *positions; /* by dense partition index */
    atomic_int count;
};

struct pipeline_position {
    _Atomic int64_t next; /* −1 until started */
    int64_t clock_ms; /* the greatest event time in it, where there are models; as `last` */
    _Atomic int64_t joined_ms; /* the same of what the join has */
    struct ingest_mark
        last; /* of the last record before `next`; by lanes inside the gate, by the committer with the gate alone */
    int64_t put; /* what the last epoch's meta holds */
    char *name; /* "topic/partition" */
};

FR_CHECKED bool pipeline_offsets__init(struct pipeline_offsets *offsets, struct store *store, struct fr_err *err);
void pipeline_offsets__fini(struct pipeline_offsets *offsets);

/* Refuses a cluster that is not the store's. `is_embedded`: a new id at each start is expected. On ingest's helper thread. */
FR_CHECKED bool pipeline_offsets__cluster(struct pipeline_offsets *offsets, const char *cluster_id, bool is_embedded,
                                          const char *store_path, struct fr_err *err);

/* Where a partition now found stands; unknown where the store has nothing of it. On ingest's helper thread. */
struct ingest_position pipeline_offsets__start(struct pipeline_offsets *offsets, int partition, const char *topic,
                                               int32_t number);

/* In a cluster, of a partition that is not read: where it will be read from, or −1. */
void pipeline_offsets__place(struct pipeline_offsets *offsets, int partition, struct ingest_position at);

/* By a lane, inside the gate. */
void pipeline_offsets__advance(struct pipeline_offsets *offsets, int partition, struct ingest_position to);

int64_t pipeline_offsets__next(struct pipeline_offsets *offsets, int partition); /* −1: not started */

/* A partition's clock at an event of ts_ms: the greatest time so far. By its lane, inside the gate; durable with its offset. */
int64_t pipeline_offsets__clock(struct pipeline_offsets *offsets, int partition, int64_t ts_ms);
/* What its clock showed until now is joined; by its lane. And how far it is; any thread. */
void pipeline_offsets__join(struct pipeline_offsets *offsets, int partition);
int64_t pipeline_offsets__joined(const struct pipeline_offsets *offsets, int partition);

/* Puts what changed since the last epoch; in the committer's boundary. */
void pipeline_offsets__save(struct pipeline_offsets *offsets, struct store *store);

/* Copies the offsets as of now into next[0..count). */
int pipeline_offsets__copy(struct pipeline_offsets *offsets, int64_t *next, int count);

/* ---- clock.c: this machine's clock beside those of who stamps records ---- */

enum { PIPELINE_CLOCK_TEXT_BYTES = 320 };

struct pipeline_ages { /* of one lane, which alone writes it; apart by cache line */
    _Alignas(64) _Atomic int64_t since_ms; /* monotonic; when the present half of a minute began */
    _Atomic int64_t least_ms, before_ms; /* in it, and in the half before */
};

struct pipeline_clock {
    struct pipeline_ages lanes[PIPELINE_LANES_MAX];
};

void pipeline_clock__init(struct pipeline_clock *clock);

/*
 * By the lane: the youngest record of a batch was so old (below 0: of the future) when it was applied, at `now_ms` (monotonic). Age
 * says nothing where it may have waited for this node.
 */
void pipeline_clock__note(struct pipeline_clock *clock, int lane, int64_t age_ms, bool may_have_waited, int64_t now_ms);

/*
 * The least age of the last minute: below 0 this clock is behind by so much at least, far above 0 it is ahead by so much at most. 0
 * when nothing came. Any thread.
 */
int64_t pipeline_clock__skew_ms(struct pipeline_clock *clock, int64_t now_ms);

/* What to know and do about it; empty when it is small. */
void pipeline_clock__describe(int64_t skew_ms, int64_t max_future_ms, char text[PIPELINE_CLOCK_TEXT_BYTES]);

/* ---- stream.c: how far the stream has come (S, T, lag, staleness) ---- */

struct pipeline_progress { /* of one lane, which alone writes it; apart by cache line */
    _Alignas(64) _Atomic int64_t stream_time_ms;
    _Atomic uint64_t records;
    _Atomic int64_t kafka_ts_ms;
};

struct pipeline_stream {
    bool is_event_clock;
    int64_t max_future_ms;
    int64_t ready_lag_ms;
    int lanes;
    int64_t begun_ms; /* wall clock */
    int64_t restored_time_ms; /* S of the epoch that was opened */
    uint64_t restored_records;
    int64_t restored_kafka_ts_ms;
    struct pipeline_progress progress[PIPELINE_LANES_MAX];
    _Atomic int64_t read_time_ms; /* the greatest T given out */
    _Atomic int64_t horizon_ms;
    int64_t next_horizon_ms; /* of the committer, who raises the horizon */
    _Atomic int64_t caught_up_ms; /* wall clock of the last moment that stale_ms was 0; 0: never */
    atomic_bool was_fresh; /* stale_ms was below ready_lag once */
    struct pipeline_clock clock;
    struct pipeline_offsets *offsets;
    struct ingest *_Atomic ingest; /* NULL until it is open */
};

/* What a status needs, read at one time. */
struct pipeline_lag {
    bool is_known; /* all partitions started, their end offsets known */
    bool is_connected;
    int64_t events; /* 0 when unknown */
    int64_t stale_ms;
};

void pipeline_stream__restore(struct pipeline_stream *stream, struct store *store);
void pipeline_stream__save(struct pipeline_stream *stream, struct store *store);

/* By a lane, inside the gate, after its batch is applied: the time first, then the offsets, then what is counted. */
void pipeline_stream__raise(struct pipeline_stream *stream, int lane, int64_t stream_time_ms);
void pipeline_stream__advance(struct pipeline_stream *stream, int lane, uint64_t records, int64_t kafka_ts_ms);

int64_t pipeline_stream__time(struct pipeline_stream *stream); /* S, 0 before the first event */
uint64_t pipeline_stream__records(struct pipeline_stream *stream); /* applied_events */

/*
 * What state is pruned by: S (less max_future in wall mode) as it was at least one tick ago. A read takes its T, then copies
 * columns out; were the horizon S itself, a batch in between could merge a pane that the read still tells apart. A read
 * that took longer than that finds the horizon past its T and is done again.
 */
int64_t pipeline_stream__horizon(struct pipeline_stream *stream);
void pipeline_stream__raise_horizon(struct pipeline_stream *stream); /* by the committer, every tick */

/* Any thread. Notes the moments at which the node is caught up, so ask every now and then. */
struct pipeline_lag pipeline_stream__lag(struct pipeline_stream *stream);

/* pipeline_clock__skew_ms(); always 0 where the clock is the events'. Any thread. */
int64_t pipeline_stream__skew(struct pipeline_stream *stream);

/* By a lane, after a batch: the greatest timestamp of its records, and the wall clock. */
void pipeline_stream__stamp(struct pipeline_stream *stream, int lane, int64_t kafka_ts_ms, int64_t wall_ms);

/* T, and what a reply says beside it. Any thread. */
struct pipeline_now {
    int64_t read_time_ms;
    int64_t stream_time_ms;
    int64_t applied_lag_ms;
};
struct pipeline_now pipeline_stream__now(struct pipeline_stream *stream);

/* ---- tombstones.c: users who were forgotten ---- */

enum { PIPELINE_TOMBSTONES_MAX = 1000000 };

struct pipeline_tombstone {
    uint64_t user_id;
    int64_t forgotten_ms; /* the user's events up to this time are dropped … */
    int64_t until_ms; /* … until S is here */
    bool is_sent; /* of a cluster: it is in the changelog */
};

struct pipeline_tombstones {
    struct pipeline_tombstone *entries; /* by user */
    int count, capacity;
    bool is_failed;

    /* Of a cluster, which sends what came and what is over; the committer's. */
    bool are_shared;
    int unsent;
    uint64_t *gone; /* users */
    int gone_count, gone_capacity;
};

/* Before lanes run. */
FR_CHECKED bool pipeline_tombstones__load(struct pipeline_tombstones *tombstones, struct store *store, struct fr_err *err);
void pipeline_tombstones__fini(struct pipeline_tombstones *tombstones);

/* In the committer's boundary: kept in this epoch. FR_EXHAUSTED: PIPELINE_TOMBSTONES_MAX of them, or no memory. */
FR_CHECKED bool pipeline_tombstones__add(struct pipeline_tombstones *tombstones, struct store *store,
                                         const struct pipeline_tombstone *tombstone, struct fr_err *err);
/*
 * The same of those that other instances added: however many there are, in one pass, in any order (which is changed), a user several times
 * or not. What is known and later stays. FR_EXHAUSTED: no memory, and nothing is changed.
 */
FR_CHECKED bool pipeline_tombstones__put_all(struct pipeline_tombstones *tombstones, struct store *store,
                                             struct pipeline_tombstone *added, int count, struct fr_err *err);
bool pipeline_tombstones__has(const struct pipeline_tombstones *tombstones,
                              uint64_t user_id); /* as __drops, or in the committer */
void pipeline_tombstones__expire(struct pipeline_tombstones *tombstones, struct store *store, int64_t now_ms);

/* By a lane, inside the gate. */
bool pipeline_tombstones__drops(const struct pipeline_tombstones *tombstones, const struct proto_event *event);

/* ---- blocks.c: what people took out ---- */

enum { PIPELINE_BLOCK_REASON_BYTES = 200 };

struct pipeline_blocks {
    struct fr_idset *sets[AGG_BLOCKED_KINDS]; /* asked by any thread, changed at the boundary only */
    bool is_failed;
};

/* Before lanes run. */
FR_CHECKED bool pipeline_blocks__load(struct pipeline_blocks *blocks, struct store *store, struct fr_err *err);
void pipeline_blocks__fini(struct pipeline_blocks *blocks);
/* How many of each kind, here and by tables. False: the arena is exhausted. */
bool pipeline_blocks__counts(const struct pipeline_blocks *blocks, const struct agg *agg, struct fr_arena *arena,
                             Freshet__V1__BlockedCount ***list, size_t *count);

/* In the committer's boundary. FR_EXHAUSTED: too many different ids. */
FR_CHECKED bool pipeline_blocks__set(struct pipeline_blocks *blocks, struct store *store, int kind, uint64_t id,
                                     bool is_blocked, const char *reason, struct fr_err *err);
/* What was given as the reason; the committer's thread, until the next boundary. */
struct fr_slice pipeline_blocks__reason(struct store *store, int kind, uint64_t id);

/* ---- lane.c: what a batch does ---- */

struct pipeline_lane {
    struct agg_lane *scratch;
    enum agg_outcome *outcomes; /* PIPELINE_BATCH_EVENTS */
    bool *is_skipped; /* likewise: what changes nothing in the join, either */
    struct proto_event *wanted; /* likewise: a batch's events without those of forgotten users */
    int unchecked_events; /* since it was asked whether there is room for more */
    _Atomic uint64_t turns; /* odd while a batch changes state: who reads the same even number twice saw no change between */
};

struct pipeline_lanes {
    struct store *store;
    struct pipeline_stream *stream;
    struct pipeline_offsets *offsets;
    struct pipeline_learning *learning; /* NULL without models */
    struct pipeline_tables *tables; /* NULL without tables */
    const struct pipeline_tombstones *tombstones;
    const struct agg *agg; /* knows which users are blocked */
    uint64_t dirty_bytes_most; /* batches wait above it */
    int count;
    struct pipeline_lane lanes[PIPELINE_LANES_MAX];
    struct fr_counter *applied[PROTO_ACTIONS], *duplicate[PROTO_ACTIONS], *forgotten[PROTO_ACTIONS], *blocked[PROTO_ACTIONS];
    struct fr_counter *dedupe_unchecked, *too_late, *corrupt;
    struct fr_histogram *apply, *freshness;
};

FR_CHECKED bool pipeline_lanes__init(struct pipeline_lanes *lanes, struct agg *agg, int count, struct fr_metrics *metrics,
                                     struct fr_err *err);
void pipeline_lanes__fini(struct pipeline_lanes *lanes);
bool pipeline_lanes__batch(void *lanes, const struct ingest_batch *batch, struct fr_err *err); /* ingest_sink.batch */

/* ---- committer.c: epochs ---- */

enum { PIPELINE_COMMITS_MAX = 16 };

/* What an asker does at the boundary of the epoch that he asks for: with the gate held alone, on the committer's thread. */
typedef bool (*pipeline_boundary_fn)(void *user, struct store *store, struct fr_err *err);

struct pipeline_commit { /* one asker's request, and its own answer */
    struct fr_queue *answers;
    pipeline_boundary_fn at_boundary; /* NULL: nothing */
    void *user;
    struct fr_err err;
    bool is_durable;
    bool is_refused; /* at the boundary */
};

struct pipeline_committer {
    struct store *store;
    struct pipeline_stream *stream;
    struct pipeline_offsets *offsets;
    struct pipeline_learning *learning; /* NULL without models */
    struct pipeline_tables *tables; /* NULL without tables */
    struct pipeline_cluster *cluster; /* NULL: it stands alone */
    struct pipeline_tombstones *tombstones;
    struct ingest *_Atomic ingest;
    struct pipeline_commit *asked; /* the request that the running epoch is for; NULL: none */
    int64_t period_ms;
    uint64_t dirty_bytes_soon;
    struct fr_queue *requests; /* struct pipeline_commit *, all of commits[] */
    struct fr_queue *idle;
    struct pipeline_commit commits[PIPELINE_COMMITS_MAX];
    atomic_bool is_replay_done; /* the next epoch takes the mark of an unfinished replay away */
    atomic_int holds; /* while above 0 no epoch turns unless asked for */
    atomic_bool is_stopping;
    bool is_last; /* the last epoch turns, in the thread that stops */
    _Atomic int64_t durable_time_ms; /* S of the last durable epoch */
    _Atomic int64_t durable_at_ms; /* when it became durable, or the committer started; on the monotonic clock */
    struct fr_counter *failed;
    int64_t *boundary_offsets;
    int boundary_count;
    int64_t boundary_time_ms;
    int64_t boundary_position; /* of the outbox */
    pthread_t thread;
    bool is_started;
};

FR_CHECKED bool pipeline_committer__start(struct pipeline_committer *committer, struct fr_err *err);

/* Asks for an epoch and waits until it is durable. Any thread but the committer's. */
FR_CHECKED bool pipeline_committer__commit(struct pipeline_committer *committer, int timeout_ms, struct fr_err *err);

/*
 * The same with something to do at its boundary. What that fails with is the answer, and then nothing is said about the epoch.
 * When the epoch fails, what was done at its boundary stays and becomes durable with a later one.
 */
FR_CHECKED bool pipeline_committer__commit_with(struct pipeline_committer *committer, pipeline_boundary_fn at_boundary,
                                                void *user, int timeout_ms, struct fr_err *err);

/* Joins the thread, then one last epoch. False: that epoch is not durable (the next start reads Kafka from the one before). */
FR_CHECKED bool pipeline_committer__stop(struct pipeline_committer *committer, struct fr_err *err);

/* After the server is closed: nobody can ask any more. */
void pipeline_committer__fini(struct pipeline_committer *committer);

/* ---- keeper.c: what is done a little at a time ---- */

struct pipeline_keeper {
    struct store *store;
    struct agg *agg;
    struct pipeline_stream *stream;
    struct agg_sweep sweep;
    int64_t pass_ms; /* when the sweep's pass began */
    struct fr_counter *forgotten, *passes;
    struct fr_queue *stop; /* nothing is sent; closed when it is to stop */
    atomic_bool is_stopping;
    pthread_t thread;
    bool is_started;
};

FR_CHECKED bool pipeline_keeper__start(struct pipeline_keeper *keeper, struct fr_metrics *metrics, struct fr_err *err);
void pipeline_keeper__stop(struct pipeline_keeper *keeper); /* joins; before the last epoch */

/* ---- codec.c: whose state an entity is ---- */

/* The aggregators' codec, and the join's for its own kinds. `aggregates` outlives it. */
struct store_codec pipeline_codec__with_join(struct store_codec *aggregates);

/* ---- watch.c, watch_service.c: entities that are read again and again ---- */

struct pipeline_watches { /* of the node */
    const struct pipeline_watch_limits *limits;
    struct store *store;
    struct pipeline_stream *stream;
    struct pipeline_cluster *cluster; /* NULL: it stands alone */
    struct fr_queue *queue; /* watches that begin and that end, to the watcher */
    atomic_int streams, values; /* admitted; loops add, the watcher subtracts */

    /* The watcher's. */
    struct pipeline_watch **list; /* limits->streams of them fit */
    int count, entity_count;

    struct fr_gauge *streams_gauge, *entities_gauge;
    struct fr_counter *sent, *replaced, *late;
    struct fr_histogram *read;
    atomic_bool is_stopping;
    pthread_t thread;
    bool is_started;
};

extern const struct server_streaming pipeline_watching; /* WatchFeatures; its user are the services */

/* ---- engine.c: what applies events and makes epochs, of a node and of a replay ---- */

struct pipeline_engine {
    struct fr_metrics *metrics;
    struct store *store;
    struct store_codec codec; /* of what is the aggregators' in it */
    struct agg *agg;
    struct pipeline_offsets offsets;
    struct pipeline_stream stream;
    struct pipeline_tombstones tombstones;
    struct pipeline_blocks blocks;
    struct pipeline_lanes lanes;
    struct pipeline_committer committer;
    struct pipeline_keeper keeper;
    struct pipeline_tables *tables; /* NULL without tables */
};

/*
 * Opens the store and all that stands on it; the committer is not started yet. Takes the catalogue out of `config`, and borrows the
 * rest of it. The engine is zeroed memory; after a failure it still is to be closed.
 */
FR_CHECKED bool pipeline_engine__open(struct pipeline_engine *engine, struct pipeline_config *config, struct fr_err *err);
/*
 * Opens the tables of the configuration and has lanes and committer know them; pipeline_tables__start() has them read. Before either
 * starts. `fatal`: they are read no more.
 */
FR_CHECKED bool pipeline_engine__open_tables(struct pipeline_engine *engine, const struct pipeline_config *config,
                                             void (*fatal)(void *user, const struct fr_err *err), void *user,
                                             struct fr_err *err);
void pipeline_engine__close(struct pipeline_engine *engine); /* the committer is stopped, the tables are closed */

extern const char pipeline_replay_meta[]; /* the record that says so */

/* Starts the watcher, after pipeline_engine__open(); stops it when no stream is left: the server is closed. */
FR_CHECKED bool pipeline_watches__start(struct pipeline_watches *watches, const struct pipeline_watch_limits *limits,
                                        struct pipeline_engine *engine, struct fr_err *err);
void pipeline_watches__stop(struct pipeline_watches *watches);

/* While a replay has not ended its store says so, and no node takes it for whole. Before the committer starts. */
void pipeline_engine__mark_unfinished(struct pipeline_engine *engine);

/* ---- replay.c, in steps: where it holds on ---- */

struct pipeline_step { /* offsets[0..count): next to apply, of each partition that there was */
    Freshet__V1__Offset **offsets;
    size_t count;
};
/* Of one partition; 0: it was not there. */
int64_t pipeline_step__offset(const struct pipeline_step *step, struct ingest_partition partition);

struct pipeline_replay;
/* As pipeline_replay_open(), of all topics from their beginning; it stands still until its first step. */
FR_CHECKED bool pipeline_replay__open_in_steps(struct pipeline_config **config, struct pipeline_replay **ret,
                                               struct fr_err *err);
/*
 * Lets it go on to there, where the lanes hold on; the step outlives that. A lane that holds on in one partition holds up its others, so
 * there are as many lanes as partitions. *is_there: nothing is applied any more until the next one.
 */
FR_CHECKED bool pipeline_replay__step(struct pipeline_replay *replay, struct pipeline_step *step, bool *is_there,
                                      struct fr_err *err);
/* Whether it has not gone past any of the step's offsets. */
bool pipeline_replay__is_behind(struct pipeline_replay *replay, const struct pipeline_step *step);
int pipeline_replay__partitions(struct pipeline_replay *replay);
struct pipeline_engine *pipeline_replay__engine(struct pipeline_replay *replay);

/* ---- feed.c: records that do not come from Kafka ---- */

struct pipeline_feed;

/* Starts a thread for each lane. Of the sink, `batch` (with partition −1) and `fatal` are called, from these. */
FR_CHECKED bool pipeline_feed__open(const struct ingest_sink *sink, int lanes, int64_t max_future_ms,
                                    struct fr_metrics *metrics, struct pipeline_feed **feed, struct fr_err *err);

enum pipeline_put { PIPELINE_PUT_TAKEN, PIPELINE_PUT_LATER, PIPELINE_PUT_NO_MEMORY };

/* Copies one record in wire form; the events of a user keep their order. LATER: the lanes are busy for so long. One thread. */
enum pipeline_put pipeline_feed__put(struct pipeline_feed *feed, uint64_t user_id, struct fr_slice record, int timeout_ms);

void pipeline_feed__finish(struct pipeline_feed *feed); /* returns when all that was put is applied, or the sink has failed */
void pipeline_feed__close(struct pipeline_feed *feed); /* drops what is not applied; NULL is fine */

/* ingest's counter of what records were found to be. */
struct fr_counter *pipeline_outcome__counter(struct fr_metrics *metrics, enum proto_verdict verdict);

#endif
