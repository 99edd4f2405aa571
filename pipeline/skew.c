/*
 * Skew between serving and training: rows as they were served beside the same rows of a replay. A served record that says which
 * offsets were applied (exact.c) can be done again: the replay holds on at just these offsets, reads at the record's T, and must find
 * the same bits. Done in the order of the offsets, so one replay does for all.
 */
#include "services.h"

#include <freshet/clock.h>
#include <freshet/log.h>
#include <freshet/message.h>

#include <inttypes.h>
#include <stdlib.h>

enum {
    TOLD = 20,
    SERVED_MS = 60000,
    CLOSE_MS = 5000,
    LOOK_MS = 20,
    QUEUE_BYTES = 16 << 20,
    SAMPLE_BYTES = 4 << 20,
    READ_BYTES = 64 << 20,
    READ_KEPT_BYTES = 1 << 20
};

struct sample {
    struct fr_arena *arena;
    const Freshet__V1__Served *served;
    struct pipeline_step step;
};

struct difference {
    uint64_t request_id, item_id;
    const char *column; /* of the plan */
    float served, replayed;
};

struct pipeline_skew {
    struct pipeline_replay *replay;
    struct sample *samples; /* a ring while they are read, then by their offsets */
    int room, count;
    uint64_t seen;
    struct pipeline_skew_report report;
    int at;
    struct fr_arena *arena; /* of one comparison */
    struct difference told[TOLD];
    int told_count;
    _Atomic int64_t *next; /* of the served topic's partitions, while they are read */
    struct fr_err failure; /* of their reader; written once, before is_failed */
    atomic_bool is_failed;
};

/* ---- the served topic ---- */

static bool take_cluster(void *user, const char *cluster_id, struct fr_err *err)
{
    (void)user;
    (void)cluster_id;
    (void)err;
    return true;
}

static struct ingest_position start_early(void *user, int partition, const char *topic, int32_t number)
{
    (void)user;
    (void)partition;
    (void)topic;
    (void)number;
    return (struct ingest_position){.next_offset = -1, .last = {.offset = -1}};
}

static bool keep(struct pipeline_skew *skew, const Freshet__V1__Served *served, struct fr_err *err)
{
    struct sample *sample = &skew->samples[skew->seen % (uint64_t)skew->room];
    struct fr_arena *arena = fr_arena_new(SAMPLE_BYTES);
    size_t length = protobuf_c_message_get_packed_size(&served->base);
    uint8_t *bytes = arena ? fr_arena_take(arena, length + 1) : NULL;

    if (!bytes) {
        fr_arena_free(arena);
        return fr_fail(err, FR_UNAVAILABLE, "skew: out of memory for %d samples; take fewer", skew->room);
    }
    protobuf_c_message_pack(&served->base, bytes);
    fr_arena_free(sample->arena);
    *sample = (struct sample){.arena = arena};
    sample->served = (const Freshet__V1__Served *)(const void *)proto_unpack(&freshet__v1__served__descriptor,
                                                                             fr_slice(bytes, length), arena, err);
    if (!sample->served)
        return false;
    sample->step = (struct pipeline_step){sample->served->applied, sample->served->n_applied};
    skew->seen++;
    return true;
}

static bool take_served(void *user, const struct ingest_batch *batch, struct fr_err *err)
{
    struct pipeline_skew *skew = user;

    for (int i = 0; i < batch->served_count; i++) {
        if (batch->served[i].rows->n_applied > 0 && !keep(skew, batch->served[i].rows, err))
            return false;
    }
    for (int i = 0; i < batch->advance_count; i++)
        atomic_store(&skew->next[batch->advances[i].partition], batch->advances[i].next_offset);
    return true;
}

static void on_failure(void *user, const struct fr_err *err)
{
    struct pipeline_skew *skew = user;

    skew->failure = *err;
    atomic_store_explicit(&skew->is_failed, true, memory_order_release);
}

static bool is_read(const struct pipeline_skew *skew, struct ingest *ingest)
{
    int count = ingest_partition_count(ingest);
    bool is_done = ingest_is_assigned(ingest);

    for (int i = 0; i < count && is_done; i++) {
        struct ingest_partition partition = ingest_partition_at(ingest, i);

        is_done = partition.stop >= 0 && (partition.stop <= partition.low || atomic_load(&skew->next[i]) >= partition.stop);
    }
    return is_done;
}

static bool wait_read(struct pipeline_skew *skew, struct ingest *ingest, struct fr_err *err)
{
    int64_t until_ms = fr_clock_monotonic_ms() + SERVED_MS;
    int64_t before = -1, read = 0;

    while (!is_read(skew, ingest)) {
        if (atomic_load_explicit(&skew->is_failed, memory_order_acquire)) {
            *err = skew->failure;
            return false;
        }
        read = 0;
        for (int i = 0; i < ingest_partition_count(ingest); i++)
            read += atomic_load(&skew->next[i]);
        if (read != before)
            until_ms = fr_clock_monotonic_ms() + SERVED_MS;
        before = read;
        if (fr_clock_monotonic_ms() > until_ms)
            return fr_fail(err, FR_UNAVAILABLE, "skew: the served topic gave nothing for %d s; are the brokers there?",
                           SERVED_MS / 1000);
        fr_clock_sleep_ms(LOOK_MS);
    }
    return true;
}

static bool read_served(struct pipeline_skew *skew, const struct pipeline_config *config, struct fr_err *err)
{
    struct ingest_topic topic = {.name = config->learner->served, .is_served = true};
    struct fr_metrics *metrics = fr_metrics_new();
    struct ingest_options options = {
        .brokers = config->brokers,
        .group = config->group,
        .topics = &topic,
        .topic_count = 1,
        .start = INGEST_EARLIEST,
        .properties = config->properties,
        .property_count = config->property_count,
        .lanes = 1,
        .batch_max = PIPELINE_BATCH_EVENTS,
        .queue_bytes = QUEUE_BYTES,
        .stop_offset = INT64_MAX,
        .max_future_ms = -1,
        .metrics = metrics,
        .sink = {.user = skew, .cluster = take_cluster, .start = start_early, .batch = take_served, .fatal = on_failure}};
    struct ingest *ingest = NULL;
    bool ok = metrics && skew->next && skew->samples;

    if (!ok)
        fr_fail(err, FR_EXHAUSTED, "skew: out of memory");
    ok = ok && ingest_open(&options, &ingest, err) && wait_read(skew, ingest, err);
    if (ingest)
        ingest_stop(ingest);
    if (!ingest_close(ingest, CLOSE_MS))
        fr_log(FR_LOG_WARN, "skew", "the Kafka client did not close in %d s and is abandoned", CLOSE_MS / 1000);
    fr_metrics_free(metrics);
    return ok;
}

static int64_t sum_of(const struct sample *sample)
{
    int64_t sum = 0;

    for (size_t i = 0; i < sample->step.count; i++)
        sum += sample->step.offsets[i]->offset;
    return sum;
}

static int compare_samples(const void *a, const void *b)
{
    int64_t x = sum_of(a), y = sum_of(b);

    return (x > y) - (x < y);
}

/* ---- comparing ---- */

/* The feature set whose columns these are; NULL: none has them (any more). */
static const struct agg_plan *plan_of(struct agg *agg, uint64_t schema)
{
    const struct agg_plan *plan;
    struct fr_err err;

    for (int i = 0; i < agg_set_count(agg); i++) {
        struct agg_set_info info = agg_set_at(agg, i);

        if (agg_plan_get(agg, info.name, NULL, 0, &plan, &err) && pipeline_features__schema(plan) == schema)
            return plan;
    }
    return NULL;
}

static void compare(struct pipeline_skew *skew, const struct sample *sample, uint64_t item_id, const char *const *columns,
                    int count, const float *served, const float *replayed)
{
    for (int i = 0; i < count; i++) {
        skew->report.values++;
        if (memcmp(&served[i], &replayed[i], sizeof served[i]) == 0)
            continue;
        skew->report.different++;
        if (skew->told_count < TOLD)
            skew->told[skew->told_count++] = (struct difference){.request_id = sample->served->request_id,
                                                                 .item_id = item_id,
                                                                 .column = columns[i],
                                                                 .served = served[i],
                                                                 .replayed = replayed[i]};
    }
}

static bool read_again(struct pipeline_engine *engine, const struct agg_plan *plan, struct agg_request *request,
                       struct fr_arena *arena, struct agg_reply *reply, struct fr_err *err)
{
    struct store_visit visit = store_visit_enter(engine->store);
    bool ok = agg_read_load(engine->agg, plan, request, arena, err) && agg_read(engine->agg, plan, request, arena, reply, err);

    store_visit_leave(engine->store, visit);
    return ok;
}

/* With the replay holding on at the sample's step. */
static bool compare_sample(struct pipeline_skew *skew, const struct sample *sample, struct fr_err *err)
{
    struct pipeline_engine *engine = pipeline_replay__engine(skew->replay);
    const Freshet__V1__Served *served = sample->served;
    const struct agg_plan *plan = plan_of(engine->agg, served->schema);
    struct agg_request request = {.user_id = served->user_id,
                                  .item_ids = served->item_ids,
                                  .item_count = (int)served->n_item_ids,
                                  .room_id = served->room_id,
                                  .time_ms = served->served_ms};
    const char *const *user_columns, *const *item_columns;
    struct agg_reply reply = {0};
    int user_count, item_count;

    if (!plan) {
        skew->report.passed_over++;
        return true;
    }
    user_count = agg_plan_user_columns(plan, &user_columns);
    item_count = agg_plan_item_columns(plan, &item_columns);
    if (served->n_user_values != (size_t)user_count || served->n_item_values != served->n_item_ids * (size_t)item_count) {
        skew->report.passed_over++;
        return true;
    }
    fr_arena_reset(skew->arena, READ_KEPT_BYTES);
    if (!read_again(engine, plan, &request, skew->arena, &reply, err))
        return false;
    compare(skew, sample, 0, user_columns, user_count, served->user_values, reply.user_values);
    for (size_t i = 0; i < served->n_item_ids; i++)
        compare(skew, sample, served->item_ids[i], item_columns, item_count, served->item_values + i * (size_t)item_count,
                reply.item_values + i * (size_t)item_count);
    skew->report.compared++;
    return true;
}

/* ---- the way ---- */

static bool open_all(struct pipeline_skew *skew, struct pipeline_config **config, struct fr_err *err)
{
    if (!skew->arena)
        return fr_fail(err, FR_EXHAUSTED, "skew: out of memory");
    if (!read_served(skew, *config, err))
        return false;
    skew->count = skew->seen < (uint64_t)skew->room ? (int)skew->seen : skew->room;
    if (skew->count == 0)
        return fr_fail(
            err, FR_PRECONDITION,
            "skew: no record of '%s' says what was in it; rows are served with log: true, or by Score, and one in half a "
            "second says so when no event comes between",
            (*config)->learner->served);
    qsort(skew->samples, (size_t)skew->count, sizeof *skew->samples, compare_samples);
    (*config)->lanes = PIPELINE_LANES_MAX; /* a partition each: one that holds on is in no other's way */
    skew->report.samples = skew->count;
    skew->report.of = (uint64_t)sum_of(&skew->samples[skew->count - 1]);
    return pipeline_replay__open_in_steps(config, &skew->replay, err);
}

bool pipeline_skew_open(struct pipeline_config **config, const struct pipeline_skew_options *options,
                        struct pipeline_skew **ret, struct fr_err *err)
{
    struct pipeline_skew *skew = calloc(1, sizeof *skew);
    struct fr_err first;

    if (!skew)
        return fr_fail(err, FR_EXHAUSTED, "skew: out of memory");
    skew->room = options->samples;
    skew->samples = calloc((size_t)skew->room, sizeof *skew->samples);
    skew->next = calloc(PIPELINE_PARTITIONS_MAX, sizeof *skew->next);
    skew->arena = fr_arena_new(READ_BYTES);
    if (open_all(skew, config, err)) {
        *ret = skew;
        return true;
    }
    first = *err;
    pipeline_skew_close(skew);
    *err = first;
    return false;
}

static bool check_lanes(struct pipeline_skew *skew, struct fr_err *err)
{
    int count = pipeline_replay__partitions(skew->replay);

    return count <= PIPELINE_LANES_MAX ||
           fr_fail(err, FR_PRECONDITION, "skew: there are %d partitions; more than %d cannot be stopped each by itself", count,
                   PIPELINE_LANES_MAX);
}

/* A step that lies behind where the replay is already is of another run of the node, or of another node: it came there another way. */
bool pipeline_skew_step(struct pipeline_skew *skew, struct pipeline_skew_report *report, struct fr_err *err)
{
    struct pipeline_replay_progress progress = {0};
    bool is_there = false;

    if (!check_lanes(skew, err))
        return false;
    if (skew->at < skew->count) {
        struct sample *sample = &skew->samples[skew->at];

        if (!pipeline_replay__step(skew->replay, &sample->step, &is_there, err) ||
            (is_there && pipeline_replay__is_behind(skew->replay, &sample->step) && !compare_sample(skew, sample, err)))
            return false;
        if (is_there) {
            skew->report.passed_over += !pipeline_replay__is_behind(skew->replay, &sample->step);
            skew->at++;
        } else if (!pipeline_replay_look(skew->replay, &progress, err)) {
            return false;
        } else {
            skew->report.at = progress.at;
            fr_clock_sleep_ms(LOOK_MS);
        }
    }
    skew->report.is_done = skew->at == skew->count;
    *report = skew->report;
    return true;
}

void pipeline_skew_print(const struct pipeline_skew *skew, struct fr_buffer *out)
{
    fr_buffer_append_byte(out, '[');
    for (int i = 0; i < skew->told_count; i++) {
        const struct difference *told = &skew->told[i];

        fr_buffer_append_format(out,
                                "%s{\"requestId\":\"%" PRIu64 "\",\"itemId\":\"%" PRIu64 "\",\"column\":", i > 0 ? "," : "",
                                told->request_id, told->item_id);
        proto_json_quote(fr_slice_of(told->column), out);
        fr_buffer_append_format(out, ",\"served\":%.9g,\"replayed\":%.9g}", (double)told->served, (double)told->replayed);
    }
    fr_buffer_append_byte(out, ']');
}

void pipeline_skew_close(struct pipeline_skew *skew)
{
    if (!skew)
        return;
    pipeline_replay_close(skew->replay);
    for (int i = 0; skew->samples && i < skew->room; i++)
        fr_arena_free(skew->samples[i].arena);
    free(skew->samples);
    free(skew->next);
    fr_arena_free(skew->arena);
    free(skew);
}
