/*
 * A replay: an engine without a server, fed from a file or from a topic's offsets, into a directory of its own. The same lanes, batches
 * and epochs as a node's, so what comes out is what a node that consumed the same events would have. Until its last epoch the store
 * carries a mark, and no node opens it.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    PUT_MS = 100,
    CLOSE_MS = 5000,
    QUEUE_BYTES = 64 << 20,
    COMMIT_MS = 30000,
    COMMIT_AGAIN_MS = 200,
    COMMIT_ATTEMPTS = 600, /* the disk may be busy with what was written */
    NAME_BYTES = 512,
};

struct pipeline_replay {
    struct pipeline_config *config;
    struct pipeline_engine engine;
    struct pipeline_replay_options options;
    bool is_in_steps; /* goes only as far as it is told */
    struct ingest_topic topics[PIPELINE_TOPICS_MAX + PIPELINE_TEXTS_MAX]; /* in place of the configuration's */
    int topic_count;
    char topic[NAME_BYTES];
    struct ingest *ingest; /* one of the two */
    struct pipeline_feed *feed;
    struct proto_event *kept[PIPELINE_LANES_MAX]; /* of each lane, when there is an `until_ms` or it goes in steps */
    struct ingest_advance *advances[PIPELINE_LANES_MAX]; /* likewise, when it goes in steps */
    struct pipeline_step *_Atomic step; /* the lanes hold on there; NULL: it has not begun, nor may `ingest` be set */
    _Atomic uint64_t passed_over;
    struct fr_err failure; /* written once, before is_failed */
    atomic_bool is_failed;
};

/* ---- the sink ---- */

static bool on_cluster(void *user, const char *cluster_id, struct fr_err *err)
{
    struct pipeline_replay *replay = user;

    return pipeline_offsets__cluster(&replay->engine.offsets, cluster_id, false, replay->config->store_path, err);
}

static struct ingest_position on_start(void *user, int partition, const char *topic, int32_t number)
{
    struct pipeline_replay *replay = user;
    struct ingest_position from = {.next_offset = replay->options.from, .last = {.offset = -1}};

    (void)pipeline_offsets__start(&replay->engine.offsets, partition, topic, number); /* the store is new: it knows none */
    if (from.next_offset >= 0)
        pipeline_offsets__advance(&replay->engine.offsets, partition, from);
    return from;
}

/* The part of a batch that is before the step and not applied yet; false when something lies behind it, for which the lane waits. */
static bool cut(struct pipeline_replay *replay, const struct pipeline_step *step, const struct ingest_batch *batch,
                struct ingest_batch *part)
{
    struct ingest_advance *advances = replay->advances[batch->lane];
    struct proto_event *events = replay->kept[batch->lane];
    bool is_whole = true;

    part->events = events;
    part->advances = advances;
    part->event_count = part->advance_count = 0;
    for (int i = 0; i < batch->advance_count; i++) {
        struct ingest_advance advance = batch->advances[i];
        int64_t next = pipeline_offsets__next(&replay->engine.offsets, advance.partition);
        int64_t until = pipeline_step__offset(step, ingest_partition_at(replay->ingest, advance.partition));

        for (int k = 0; k < batch->event_count; k++) {
            if (batch->partitions[k] == advance.partition && batch->offsets[k] >= next && batch->offsets[k] < until)
                events[part->event_count++] = batch->events[k];
        }
        if (advance.next_offset > until) {
            is_whole = false;
            advance.next_offset = until;
            advance.last.offset = -1;
        }
        if (advance.next_offset > next)
            advances[part->advance_count++] = advance;
    }
    return is_whole;
}

static bool on_part(struct pipeline_replay *replay, const struct ingest_batch *batch, struct fr_err *err)
{
    const struct pipeline_step *step = atomic_load_explicit(&replay->step, memory_order_acquire);
    struct ingest_batch part = *batch;
    bool is_whole;

    if (!step)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: the replay has not begun");
    is_whole = cut(replay, step, batch, &part);
    if (part.advance_count > 0 && !pipeline_lanes__batch(&replay->engine.lanes, &part, err))
        return false;
    return is_whole || fr_fail(err, FR_EXHAUSTED, "pipeline: the replay holds on");
}

static bool on_batch(void *user, const struct ingest_batch *batch, struct fr_err *err)
{
    struct pipeline_replay *replay = user;
    struct ingest_batch rest = *batch;

    if (store_is_failed(replay->engine.store))
        return fr_fail(err, FR_UNAVAILABLE, "pipeline: the store has failed; mend the disk and replay again");
    if (replay->is_in_steps)
        return on_part(replay, batch, err);
    if (replay->kept[batch->lane]) {
        rest.events = replay->kept[batch->lane];
        rest.event_count = 0;
        for (int i = 0; i < batch->event_count; i++) {
            if (batch->events[i].ts_ms <= replay->options.until_ms)
                replay->kept[batch->lane][rest.event_count++] = batch->events[i];
        }
    }
    if (!pipeline_lanes__batch(&replay->engine.lanes, &rest, err))
        return false;
    atomic_fetch_add(&replay->passed_over, (uint64_t)(batch->event_count - rest.event_count));
    return true;
}

static void on_fatal(void *user, const struct fr_err *err)
{
    struct pipeline_replay *replay = user;

    replay->failure = *err;
    atomic_store_explicit(&replay->is_failed, true, memory_order_release);
}

static bool check_failure(struct pipeline_replay *replay, struct fr_err *err)
{
    if (!atomic_load_explicit(&replay->is_failed, memory_order_acquire))
        return true;
    *err = replay->failure;
    return false;
}

/* ---- open ---- */

/* A freshly made file system has lost+found in it, and is as good as empty. */
static bool check_empty(const char *path, struct fr_err *err)
{
    DIR *directory = opendir(path);
    struct dirent *entry;
    bool is_empty = true;

    if (!directory && errno == ENOENT)
        return true; /* it will be made */
    if (!directory)
        return fr_fail(err, FR_BAD_CONFIG, "replay: cannot read the directory '%s': %s", path, strerror(errno));
    while ((entry = readdir(directory)) != NULL)
        is_empty = is_empty && (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0 ||
                                strcmp(entry->d_name, "lost+found") == 0);
    closedir(directory);
    return is_empty || fr_fail(err, FR_BAD_CONFIG,
                               "replay: '%s' is not empty; a replay makes a state from nothing: name a new directory", path);
}

/* One topic in place of all. One that the configuration does not have is taken to be of its first one's format. */
static void choose_topics(struct pipeline_replay *replay)
{
    const struct pipeline_config *config = replay->config;

    for (int i = 0; i < config->topic_count; i++) {
        if (!replay->options.topic || strcmp(config->topics[i].name, replay->options.topic) == 0)
            replay->topics[replay->topic_count++] = config->topics[i];
    }
    for (int i = 0; i < config->text_count; i++) /* what texts were taken for is in Kafka: it is not said again */
        if (!replay->options.topic || strcmp(config->texts[i].to, replay->options.topic) == 0)
            replay->topics[replay->topic_count++] = (struct ingest_topic){.name = config->texts[i].to};
    if (replay->topic_count == 0) {
        snprintf(replay->topic, sizeof replay->topic, "%s", replay->options.topic);
        replay->topics[replay->topic_count++] =
            (struct ingest_topic){.name = replay->topic, .format = config->topics[0].format};
    }
    for (int i = 0; i < replay->topic_count; i++)
        replay->topics[i].partitions = 0; /* none is made: what is not there cannot be replayed */
}

static bool open_topic(struct pipeline_replay *replay, const struct ingest_sink *sink, struct fr_err *err)
{
    struct pipeline_config *config = replay->config;
    /* Dead letters were sent when the records came; here they are only counted. No offset is told to the group: it is not ours. */
    struct ingest_options options = {.brokers = config->brokers,
                                     .group = config->group,
                                     .topics = replay->topics,
                                     .start = INGEST_EARLIEST,
                                     .properties = config->properties,
                                     .property_count = config->property_count,
                                     .lanes = config->lanes,
                                     .batch_max = PIPELINE_BATCH_EVENTS,
                                     .queue_bytes = QUEUE_BYTES,
                                     .stop_offset = replay->options.to < 0 ? INT64_MAX : replay->options.to,
                                     .max_future_ms = config->is_event_clock ? -1 : config->max_future_ms,
                                     .metrics = replay->engine.metrics,
                                     .sink = *sink};

    if (config->is_embedded)
        return fr_fail(
            err, FR_BAD_CONFIG,
            "replay: kafka.brokers is 'embedded', which ends with its node: there is no topic to read; name brokers, "
            "or a file of events");
    choose_topics(replay);
    options.topic_count = replay->topic_count;
    if (!ingest_open(&options, &replay->ingest, err))
        return false;
    atomic_store_explicit(&replay->engine.stream.ingest, replay->ingest, memory_order_release);
    return true;
}

/* Tables are read from their topics, whatever the events come from. A file's replay with no brokers to ask has none. */
static bool open_tables(struct pipeline_replay *replay, struct fr_err *err)
{
    const struct pipeline_config *config = replay->config;

    if (config->is_embedded && agg_table_count(replay->engine.agg) > 0)
        fr_log(FR_LOG_WARN, "pipeline",
               "kafka.brokers is 'embedded': there are no topics of tables to read, and this replay "
               "joins its events with empty ones");
    return config->is_embedded || pipeline_engine__open_tables(&replay->engine, config, on_fatal, replay, err);
}

static bool open_source(struct pipeline_replay *replay, struct fr_err *err)
{
    const struct pipeline_config *config = replay->config;
    struct ingest_sink sink = {.user = replay, .cluster = on_cluster, .start = on_start, .batch = on_batch, .fatal = on_fatal};

    for (int i = 0; i < config->lanes && (replay->options.until_ms != INT64_MAX || replay->is_in_steps); i++) {
        replay->kept[i] = calloc(PIPELINE_BATCH_EVENTS, sizeof *replay->kept[i]);
        replay->advances[i] = calloc(PIPELINE_PARTITIONS_MAX, sizeof *replay->advances[i]);
        if (!replay->kept[i] || !replay->advances[i])
            return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for a replay");
    }
    if (!pipeline_tables__start(replay->engine.tables, config->brokers, NULL, err))
        return false;
    if (!replay->options.is_file)
        return open_topic(replay, &sink, err);
    return pipeline_feed__open(&sink, config->lanes, config->is_event_clock ? -1 : config->max_future_ms,
                               replay->engine.metrics, &replay->feed, err);
}

static bool open_replay(struct pipeline_config **config, const struct pipeline_replay_options *options, bool is_in_steps,
                        struct pipeline_replay **ret, struct fr_err *err)
{
    struct pipeline_replay *replay;

    if ((*config)->is_cluster)
        return fr_fail(err, FR_BAD_CONFIG,
                       "pipeline: a replay makes the state of a node that stands alone; set node.mode to "
                       "standalone, or start the instance with an empty store.path");
    if (!check_empty((*config)->store_path, err))
        return false;
    replay = aligned_alloc(_Alignof(struct pipeline_replay), sizeof *replay);
    if (!replay)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for a replay");
    memset(replay, 0, sizeof *replay);
    replay->config = *config;
    *config = NULL;
    replay->options = *options;
    replay->is_in_steps = is_in_steps;
    if (pipeline_engine__open(&replay->engine, replay->config, err)) {
        pipeline_engine__mark_unfinished(&replay->engine);
        if (open_tables(replay, err) && pipeline_committer__start(&replay->engine.committer, err) &&
            pipeline_committer__commit(&replay->engine.committer, COMMIT_MS, err) && open_source(replay, err)) {
            struct pipeline_machine machine = pipeline_machine__here();

            pipeline_machine__warn(&machine, replay->config->memory_bytes);
            *ret = replay;
            return true;
        }
    }
    struct fr_err first = *err;
    pipeline_replay_close(replay);
    *err = first;
    return false;
}

bool pipeline_replay_open(struct pipeline_config **config, const struct pipeline_replay_options *options,
                          struct pipeline_replay **ret, struct fr_err *err)
{
    return open_replay(config, options, false, ret, err);
}

bool pipeline_replay__open_in_steps(struct pipeline_config **config, struct pipeline_replay **ret, struct fr_err *err)
{
    const struct pipeline_replay_options options = {.from = -1, .to = -1, .until_ms = INT64_MAX};

    return open_replay(config, &options, true, ret, err);
}

/* ---- on the way ---- */

bool pipeline_replay_put(struct pipeline_replay *replay, uint64_t user_id, struct fr_slice record, struct fr_err *err)
{
    if (!check_failure(replay, err))
        return false;
    switch (pipeline_feed__put(replay->feed, user_id, record, PUT_MS)) {
    case PIPELINE_PUT_TAKEN:
        return true;
    case PIPELINE_PUT_NO_MEMORY:
        return fr_fail(err, FR_UNAVAILABLE, "pipeline: out of memory for a replay");
    case PIPELINE_PUT_LATER:
        break;
    }
    return fr_fail(err, FR_EXHAUSTED, "pipeline: the lanes are busy");
}

bool pipeline_replay_look(struct pipeline_replay *replay, struct pipeline_replay_progress *progress, struct fr_err *err)
{
    int count = ingest_partition_count(replay->ingest);

    *progress = (struct pipeline_replay_progress){.is_done = ingest_is_assigned(replay->ingest)};
    for (int i = 0; i < count; i++) {
        struct ingest_partition partition = ingest_partition_at(replay->ingest, i);
        int64_t next = pipeline_offsets__next(&replay->engine.offsets, i);
        int64_t begin = replay->options.from > partition.low ? replay->options.from : partition.low;

        progress->is_done = progress->is_done && partition.stop >= 0 && next >= partition.stop;
        if (partition.stop > begin)
            progress->of += (uint64_t)(partition.stop - begin);
        if (next > begin)
            progress->at += (uint64_t)(next - begin);
    }
    progress->records = pipeline_stream__records(&replay->engine.stream);
    return check_failure(replay, err);
}

/* ---- in steps ---- */

int64_t pipeline_step__offset(const struct pipeline_step *step, struct ingest_partition partition)
{
    for (size_t i = 0; step && i < step->count; i++) {
        if (step->offsets[i]->partition == partition.number && strcmp(step->offsets[i]->topic, partition.topic) == 0)
            return step->offsets[i]->offset;
    }
    return 0; /* it was not there then */
}

bool pipeline_replay__step(struct pipeline_replay *replay, struct pipeline_step *step, bool *is_there, struct fr_err *err)
{
    int count = ingest_partition_count(replay->ingest);

    atomic_store_explicit(&replay->step, step, memory_order_release);
    *is_there = ingest_is_assigned(replay->ingest);
    for (int i = 0; i < count && *is_there; i++)
        *is_there = pipeline_offsets__next(&replay->engine.offsets, i) >=
                    pipeline_step__offset(step, ingest_partition_at(replay->ingest, i));
    return check_failure(replay, err);
}

bool pipeline_replay__is_behind(struct pipeline_replay *replay, const struct pipeline_step *step)
{
    int count = ingest_partition_count(replay->ingest);

    for (int i = 0; i < count; i++) {
        if (pipeline_offsets__next(&replay->engine.offsets, i) >
            pipeline_step__offset(step, ingest_partition_at(replay->ingest, i)))
            return false;
    }
    return true;
}

int pipeline_replay__partitions(struct pipeline_replay *replay)
{
    return ingest_partition_count(replay->ingest);
}

struct pipeline_engine *pipeline_replay__engine(struct pipeline_replay *replay)
{
    return &replay->engine;
}

/* ---- the end ---- */

static bool commit_last(struct pipeline_replay *replay, struct fr_err *err)
{
    atomic_store(&replay->engine.committer.is_replay_done, true);
    for (int attempt = 0; attempt < COMMIT_ATTEMPTS; attempt++) {
        if (pipeline_committer__commit(&replay->engine.committer, COMMIT_MS, err))
            return true;
        if (err->code != FR_EXHAUSTED)
            return false;
        fr_clock_sleep_ms(COMMIT_AGAIN_MS);
    }
    return false;
}

bool pipeline_replay_finish(struct pipeline_replay *replay, struct fr_err *err)
{
    if (replay->feed)
        pipeline_feed__finish(replay->feed);
    if (replay->ingest)
        ingest_stop(replay->ingest);
    pipeline_tables__stop(replay->engine.tables);
    return check_failure(replay, err) && commit_last(replay, err);
}

static uint64_t sum(struct fr_counter *const *counters)
{
    uint64_t events = 0;

    for (int action = 1; action < PROTO_ACTIONS; action++)
        events += fr_counter_read(counters[action]);
    return events;
}

static void print_offsets(struct pipeline_replay *replay, struct fr_buffer *out)
{
    int count = replay->ingest ? ingest_partition_count(replay->ingest) : 0;

    for (int i = 0; i < count; i++) {
        struct ingest_partition partition = ingest_partition_at(replay->ingest, i);

        fr_buffer_append_format(out, "%s{\"topic\":\"%s\",\"partition\":%" PRId32 ",\"offset\":\"%" PRId64 "\"}",
                                i > 0 ? "," : "", partition.topic, partition.number,
                                pipeline_offsets__next(&replay->engine.offsets, i));
    }
}

static uint64_t verdicts(const struct pipeline_replay *replay, int verdict)
{
    return fr_counter_read(pipeline_outcome__counter(replay->engine.metrics, (enum proto_verdict)verdict));
}

struct pipeline_replay_report pipeline_replay_report(struct pipeline_replay *replay)
{
    struct pipeline_engine *engine = &replay->engine;
    struct pipeline_replay_report report = {.records = pipeline_stream__records(&engine->stream),
                                            .applied = sum(engine->lanes.applied),
                                            .duplicates = sum(engine->lanes.duplicate),
                                            .passed_over = atomic_load(&replay->passed_over),
                                            .stream_time_ms = pipeline_stream__time(&engine->stream)};
    struct store_stats stats;

    store_stats_read(engine->store, &stats);
    report.epoch = stats.epoch;
    report.entities = stats.entities;
    report.memory_bytes = stats.memory_bytes;
    for (int verdict = PROTO_UNKNOWN_ACTION; verdict < PROTO_VERDICTS; verdict++)
        report.rejected += verdicts(replay, verdict);
    return report;
}

void pipeline_replay_print(struct pipeline_replay *replay, struct fr_buffer *out)
{
    struct pipeline_replay_report report = pipeline_replay_report(replay);
    const char *between = "";

    fr_buffer_append_format(out,
                            "\"records\":\"%" PRIu64 "\",\"applied\":\"%" PRIu64 "\",\"duplicates\":\"%" PRIu64
                            "\",\"passedOver\":\"%" PRIu64 "\",\"dedupeUnchecked\":\"%" PRIu64 "\",\"rejected\":{",
                            report.records, report.applied, report.duplicates, report.passed_over,
                            fr_counter_read(replay->engine.lanes.dedupe_unchecked));
    for (int verdict = PROTO_UNKNOWN_ACTION; verdict < PROTO_VERDICTS; verdict++) {
        if (verdicts(replay, verdict) == 0)
            continue;
        fr_buffer_append_format(out, "%s\"%s\":\"%" PRIu64 "\"", between, proto_verdict_name((enum proto_verdict)verdict),
                                verdicts(replay, verdict));
        between = ",";
    }
    fr_buffer_append_format(out,
                            "},\"streamTimeMs\":\"%" PRId64 "\",\"epoch\":\"%" PRIu64 "\",\"entities\":\"%" PRIu64
                            "\",\"memoryBytes\":\"%" PRIu64 "\",\"offsets\":[",
                            report.stream_time_ms, report.epoch, report.entities, report.memory_bytes);
    print_offsets(replay, out);
    fr_buffer_append_byte(out, ']');
}

bool pipeline_replay_digest(struct pipeline_replay *replay, char out[33], struct fr_err *err)
{
    struct agg_digest digest;

    if (!agg_digest(replay->engine.agg, pipeline_stream__time(&replay->engine.stream), false, &digest, err))
        return false;
    snprintf(out, 33, "%016" PRIx64 "%016" PRIx64, digest.hash[0], digest.hash[1]);
    return true;
}

void pipeline_replay_close(struct pipeline_replay *replay)
{
    struct fr_err ignored;

    if (!replay)
        return;
    pipeline_feed__close(replay->feed);
    if (replay->ingest)
        ingest_stop(replay->ingest);
    pipeline_tables__stop(replay->engine.tables);
    if (!pipeline_committer__stop(&replay->engine.committer, &ignored))
        ignored.code = 0; /* it was not finished, or its last epoch is durable already */
    atomic_store_explicit(&replay->engine.stream.ingest, NULL, memory_order_release);
    if (!pipeline_tables__close(replay->engine.tables, CLOSE_MS) || !ingest_close(replay->ingest, CLOSE_MS))
        fr_log(FR_LOG_WARN, "pipeline", "the Kafka client did not close in %d s and is abandoned", CLOSE_MS / 1000);
    pipeline_engine__close(&replay->engine);
    for (int i = 0; i < PIPELINE_LANES_MAX; i++) {
        free(replay->kept[i]);
        free(replay->advances[i]);
    }
    pipeline_config_free(replay->config);
    free(replay);
}
