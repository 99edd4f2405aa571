/* The learning loop's place in a node: what lanes call, and the thread that lets time pass for the join. */
#include "cluster.h"
#include "services.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <stdlib.h>
#include <string.h>

enum { TICK_MS = 50, WAITING_TICK_MS = 10, USERS_A_TICK = 4096, JOIN_LOG_PLACES = 6 };

static int share_of(void *user, uint64_t user_id)
{
    return ingest_partition_of(user_id, pipeline_cluster__partitions(user));
}

/* Of sessions: the table, and what each lane and the passing of time have of it. */
static bool open_sessions(struct pipeline_learning *learning, const struct pipeline_config *config, struct store *store,
                          struct fr_metrics *metrics, struct fr_err *err)
{
    struct learner_sessions_options options = {.config = &config->learner->sessions, .store = store, .metrics = metrics};

    if (!options.config->topic)
        return true;
    if (learning->cluster) {
        options.share_count = PIPELINE_CLUSTER_PARTITIONS_MAX;
        options.share_of = share_of;
        options.user = (void *)(uintptr_t)learning->cluster;
        learning->ended_sent =
            fr_metrics_counter(metrics, "freshet_sessions_sent_total", NULL, "Records of sessions given to Kafka.");
    }
    learning->session_bytes_most = options.config->bytes;
    if (!learner_sessions_open(&options, &learning->sessions, err))
        return false;
    learning->session_lanes = calloc((size_t)config->lanes, sizeof *learning->session_lanes);
    learning->own_sessions = learner_sessions_lane_new(learning->sessions);
    for (int i = 0; learning->session_lanes && i < config->lanes; i++)
        if ((learning->session_lanes[i] = learner_sessions_lane_new(learning->sessions)))
            learning->session_lane_count++;
    if (!learning->own_sessions || learning->session_lane_count < config->lanes)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for sessions");
    learning->session_position = atomic_load(&learner_sessions_outbox(learning->sessions)->next_position);
    learning->watermark.sessions = learning->sessions;
    if (learner_sessions_time(learning->sessions, 0) > learning->watermark.time_ms)
        learning->watermark.time_ms = learner_sessions_time(learning->sessions, 0);
    return true;
}

static void close_sessions(struct pipeline_learning *learning)
{
    for (int i = 0; i < learning->session_lane_count; i++)
        learner_sessions_lane_free(learning->session_lanes[i]);
    free(learning->session_lanes);
    learner_sessions_lane_free(learning->own_sessions);
    learner_sessions_close(learning->sessions);
}

static bool start_session_outbox(struct pipeline_learning *learning, const struct pipeline_config *config, const char *brokers,
                                 struct fr_metrics *metrics, struct fr_err *err)
{
    struct pipeline_outbox *outbox = &learning->session_outbox;

    if (!learning->sessions || learning->cluster)
        return true;
    outbox->from = learner_sessions_outbox(learning->sessions);
    outbox->what = "sessions";
    outbox->topic = config->learner->sessions.topic;
    outbox->config = config;
    outbox->brokers = brokers;
    return pipeline_outbox__start(outbox, metrics, err);
}

static bool make_lanes(struct pipeline_learning *learning, int count)
{
    learning->lanes = calloc((size_t)count, sizeof *learning->lanes);
    learning->own = learner_join_lane_new(learning->join);
    if (!learning->lanes || !learning->own)
        return false;
    for (; learning->lane_count < count; learning->lane_count++)
        if (!(learning->lanes[learning->lane_count] = learner_join_lane_new(learning->join)))
            return false;
    return true;
}

bool pipeline_learning__open(const struct pipeline_config *config, struct pipeline_models *models, struct store *store,
                             struct pipeline_stream *stream, struct pipeline_offsets *offsets,
                             struct pipeline_served_log *served_log, const struct pipeline_cluster *cluster,
                             struct fr_metrics *metrics, struct pipeline_learning **ret, struct fr_err *err)
{
    struct learner_join_options options = {.config = config->learner, .store = store, .metrics = metrics};
    struct pipeline_learning *learning;

    *ret = NULL;
    if (config->learner->model_count == 0 && !config->learner->sessions.topic)
        return true;
    learning = calloc(1, sizeof *learning);
    if (!learning)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for models");
    learning->cluster = cluster;
    fr_buffer_init(&learning->ended);
    learning->watermark.is_sharing = cluster != NULL;
    learning->is_event_clock = config->is_event_clock;
    learning->outbox_bytes_most = config->learner->join_bytes;
    learning->watermark.stream = stream;
    learning->watermark.offsets = offsets;
    learning->watermark.served_log = served_log;
    learning->watermark.served = config->learner->served;
    *ret = learning; /* the caller closes it */
    for (int i = 0; i < config->learner->model_count; i++)
        learning->matrices[i] = pipeline_features__schema(models->plans[i]);
    learning->outbox.learner = models->learner;
    options.schemas = models->schemas;
    options.matrices = learning->matrices;
    if (!learner_join_open(&options, &learning->join, err))
        return false;
    learning->watermark.join = learning->join;
    learning->has_models = config->learner->model_count > 0;
    learning->watermark.time_ms = learner_join_time(learning->join);
    if (!open_sessions(learning, config, store, metrics, err))
        return false;
    pipeline_learning__durable(learning, learner_join_stats(learning->join).next_position); /* all of the opened epoch */
    return (make_lanes(learning, config->lanes) && pipeline_watermark__init(&learning->watermark)) ||
           fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for the join");
}

/* In wall mode a clock that is ahead must not close windows early: as for reads, time is never later than the wall's. */
static int64_t time_of(const struct pipeline_learning *learning, int64_t time_ms, bool *is_ahead)
{
    int64_t wall_ms = fr_clock_wall_ms();

    *is_ahead = !learning->is_event_clock && time_ms > wall_ms;
    return *is_ahead ? wall_ms : time_ms;
}

static bool pass(struct pipeline_learning *learning, bool *is_more, struct fr_err *err)
{
    bool is_ahead;
    int64_t time_ms = time_of(learning, learning->watermark.time_ms, &is_ahead);

    return learner_join_pass(learning->own, time_ms, is_ahead ? UINT64_MAX : learning->watermark.events, USERS_A_TICK, is_more,
                             err);
}

/* Whether some are left. */
static bool pass_share(struct pipeline_learning *learning, int share, int64_t time_ms)
{
    static struct fr_log_place place;
    bool is_more = false, is_ahead;
    struct fr_err err;

    time_ms = time_of(learning, time_ms, &is_ahead);
    time_ms -= time_ms % LEARNER_STEP_MS; /* whole steps, in which all that is as late has come */
    if (!learner_sessions_pass(learning->own_sessions, share, time_ms, USERS_A_TICK, &is_more, &err))
        fr_log_limited(&place, JOIN_LOG_PLACES, FR_LOG_ERROR, "pipeline", "sessions wait: %s", err.message);
    return is_more;
}

static bool pass_sessions(struct pipeline_learning *learning)
{
    int partitions = learning->cluster ? pipeline_cluster__partitions(learning->cluster) : 0;
    bool is_more = false;

    if (learning->sessions && !learning->cluster)
        return pass_share(learning, 0, learning->watermark.time_ms);
    for (int i = 0; i < partitions && learning->sessions; i++)
        is_more = pass_share(learning, i, learning->watermark.shares[i]) || is_more;
    return is_more;
}

static void *run(void *user)
{
    struct pipeline_learning *learning = user;
    static struct fr_log_place place;
    bool is_more = false, is_waited_for = false;
    void *nothing;

    while (!fr_queue_is_closed(learning->stop)) {
        struct fr_err err;

        if (!is_more)
            (void)fr_queue_receive(learning->stop, &nothing, is_waited_for ? WAITING_TICK_MS : TICK_MS); /* closed to stop */
        is_more = false;
        if (!pipeline_learning__has_room(learning))
            continue;
        is_waited_for = pipeline_watermark__look(&learning->watermark);
        if (!pass(learning, &is_more, &err))
            fr_log_limited(&place, JOIN_LOG_PLACES, FR_LOG_ERROR, "pipeline", "labels wait: %s", err.message);
        is_more = pass_sessions(learning) || is_more;
    }
    return NULL;
}

bool pipeline_learning__start(struct pipeline_learning *learning, const struct pipeline_config *config, const char *brokers,
                              struct ingest *ingest, struct fr_metrics *metrics, struct fr_err *err)
{
    atomic_store_explicit(&learning->watermark.ingest, ingest, memory_order_release);
    learning->outbox.from = learner_join_outbox(learning->join);
    learning->outbox.what = "examples";
    learning->outbox.topic = config->learner->examples;
    learning->outbox.config = config;
    learning->outbox.brokers = brokers;
    learning->stop = fr_queue_new(1);
    if (!learning->stop)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for the join");
    learning->teacher = (struct pipeline_teacher){
        .join = learning->join, .learner = learning->outbox.learner, .config = config, .durable = &learning->outbox.durable};
    if (learning->has_models &&
        (!pipeline_teacher__start(&learning->teacher, err) || !pipeline_outbox__start(&learning->outbox, metrics, err)))
        return false;
    if (!start_session_outbox(learning, config, brokers, metrics, err))
        return false;
    if (pthread_create(&learning->thread, NULL, run, learning) != 0)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: cannot start the join's thread; raise the limit of threads");
    pthread_setname_np(learning->thread, "join");
    learning->is_started = true;
    return true;
}

void pipeline_learning__stop(struct pipeline_learning *learning)
{
    if (learning->stop)
        fr_queue_close(learning->stop);
    if (learning->is_started)
        pthread_join(learning->thread, NULL);
    learning->is_started = false;
    pipeline_teacher__stop(&learning->teacher);
    pipeline_outbox__stop(&learning->outbox);
    pipeline_outbox__stop(&learning->session_outbox);
    atomic_store_explicit(&learning->watermark.ingest, NULL, memory_order_release);
}

void pipeline_learning__close(struct pipeline_learning *learning)
{
    if (!learning)
        return;
    pipeline_learning__stop(learning);
    for (int i = 0; i < learning->lane_count; i++)
        learner_join_lane_free(learning->lanes[i]);
    free(learning->lanes);
    learner_join_lane_free(learning->own);
    close_sessions(learning);
    learner_join_close(learning->join);
    pipeline_watermark__fini(&learning->watermark);
    fr_buffer_fini(&learning->ended);
    if (learning->stop)
        fr_queue_free(learning->stop);
    free(learning);
}

void pipeline_learning__durable(struct pipeline_learning *learning, int64_t position)
{
    atomic_store(&learning->outbox.durable, position);
    atomic_store(&learning->session_outbox.durable, learning->session_position);
    if (learning->outbox.learner)
        learner_durable(learning->outbox.learner, position);
}

/* Lanes are without the gate, so what they have of sessions that ended is the epoch's. */
static void turn(struct pipeline_learning *learning)
{
    for (int i = 0; i < learning->session_lane_count; i++)
        learner_sessions_turn(learning->session_lanes[i], &learning->ended);
    learner_sessions_turn(learning->own_sessions, &learning->ended);
}

int64_t pipeline_learning__boundary(struct pipeline_learning *learning)
{
    if (learning->cluster && learning->sessions)
        turn(learning);
    else if (learning->sessions)
        learning->session_position = learner_sessions_boundary(learning->sessions);
    return learner_join_boundary(learning->join);
}

bool pipeline_learning__forget(struct pipeline_learning *learning, uint64_t user_id, uint64_t *entities, uint64_t *records,
                               struct fr_err *err)
{
    return learner_join_forget(learning->join, user_id, entities, records, err) &&
           (!learning->sessions || learner_sessions_forget(learning->sessions, user_id, entities, records, err));
}

/* ---- lanes ---- */

static struct learner_join_batch join_batch(const struct ingest_batch *batch, const Freshet__V1__Served **served)
{
    for (int i = 0; i < batch->served_count; i++)
        served[i] = batch->served[i].rows;
    return (struct learner_join_batch){
        .events = batch->events, .event_count = batch->event_count, .served = served, .served_count = batch->served_count};
}

/* Rows of users who were forgotten after they were served. */
static void skip_forgotten(const struct pipeline_tombstones *tombstones, const struct learner_join_batch *batch,
                           bool *is_served_skipped)
{
    for (int i = 0; i < batch->served_count; i++) {
        struct proto_event event = {.user_id = batch->served[i]->user_id, .ts_ms = batch->served[i]->served_ms};

        is_served_skipped[i] = pipeline_tombstones__drops(tombstones, &event);
    }
}

/*
 * The log's clock at each event: the greatest time in its partition up to it, of all events, applied or not. In wall mode one that is
 * ahead counts as of now, so that a producer's clock makes nobody else's events late.
 */
static void turn_clocks(struct pipeline_learning *learning, const struct ingest_batch *batch, int64_t *clocks_ms)
{
    struct pipeline_offsets *offsets = learning->watermark.offsets;
    int64_t most_ms = learning->is_event_clock ? INT64_MAX : fr_clock_wall_ms();

    for (int i = 0; i < batch->event_count; i++) {
        int64_t ts_ms = batch->events[i].ts_ms;

        clocks_ms[i] = pipeline_offsets__clock(offsets, batch->partitions[i], ts_ms < most_ms ? ts_ms : most_ms);
    }
    for (int i = 0; i < batch->served_count; i++)
        (void)pipeline_offsets__clock(offsets, batch->served[i].partition, batch->served[i].rows->served_ms);
}

static void note_joined(struct pipeline_offsets *offsets, const struct ingest_batch *batch)
{
    for (int i = 0; i < batch->event_count; i++)
        pipeline_offsets__join(offsets, batch->partitions[i]);
    for (int i = 0; i < batch->served_count; i++)
        pipeline_offsets__join(offsets, batch->served[i].partition);
}

bool pipeline_learning__load(struct pipeline_learning *learning, const struct ingest_batch *batch, struct fr_err *err)
{
    const Freshet__V1__Served *served[PIPELINE_BATCH_EVENTS];
    struct learner_join_batch joined = join_batch(batch, served);

    return learner_join_load(learning->lanes[batch->lane], &joined, err) &&
           (!learning->sessions ||
            learner_sessions_load(learning->session_lanes[batch->lane], batch->events, batch->event_count, err));
}

bool pipeline_learning__apply(struct pipeline_learning *learning, const struct ingest_batch *batch, const bool *is_skipped,
                              const struct pipeline_tombstones *tombstones, struct fr_err *err)
{
    const Freshet__V1__Served *served[PIPELINE_BATCH_EVENTS];
    bool is_served_skipped[PIPELINE_BATCH_EVENTS];
    int64_t clocks_ms[PIPELINE_BATCH_EVENTS];
    struct learner_join_batch joined = join_batch(batch, served);

    turn_clocks(learning, batch, clocks_ms);
    joined.clocks_ms = clocks_ms;
    skip_forgotten(tombstones, &joined, is_served_skipped);
    joined.is_skipped = is_skipped;
    joined.is_served_skipped = is_served_skipped;
    if (!learner_join_apply(learning->lanes[batch->lane], &joined, err) ||
        (learning->sessions && !learner_sessions_apply(learning->session_lanes[batch->lane], batch->events, is_skipped, err)))
        return false;
    note_joined(learning->watermark.offsets, batch);
    return true;
}

bool pipeline_learning__has_room(const struct pipeline_learning *learning)
{
    return learner_join_stats(learning->join).outbox_bytes <= learning->outbox_bytes_most &&
           (!learning->sessions || learner_sessions_unsent(learning->sessions) <= learning->session_bytes_most);
}
