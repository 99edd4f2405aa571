/*
 * The engine: store, aggregators, lanes and committer, opened in the order in which they need each other. A node adds Kafka and a
 * server to it, a replay only what it reads from.
 */
#include "internal.h"

#include <freshet/clock.h>

const char pipeline_replay_meta[] = "replay";

static bool check_whole(struct store *store, const char *path, struct fr_err *err)
{
    return store_meta_get(store, pipeline_replay_meta).length == 0 ||
           fr_fail(err, FR_BAD_CONFIG,
                   "pipeline: the replay into '%s' did not come to its end; remove the directory and replay again", path);
}

static bool open_state(struct pipeline_engine *engine, struct pipeline_config *config, struct fr_err *err)
{
    struct store_options options = {.path = config->store_path,
                                    .memory_bytes = config->memory_bytes,
                                    .free_bytes_least = config->free_bytes_least,
                                    .codec = pipeline_codec__with_join(&engine->codec),
                                    .metrics = engine->metrics};

    engine->codec = agg_codec(config->catalogue);
    if (!store_open(&options, &engine->store, err) || !check_whole(engine->store, config->store_path, err))
        return false;
    engine->stream.is_event_clock = config->is_event_clock;
    engine->stream.max_future_ms = config->max_future_ms;
    pipeline_clock__init(&engine->stream.clock);
    engine->stream.ready_lag_ms = config->ready_lag_ms;
    engine->stream.begun_ms = fr_clock_wall_ms();
    engine->stream.lanes = config->lanes + (config->is_cluster ? PIPELINE_CLUSTER_SLOTS : 0);
    engine->stream.offsets = &engine->offsets;
    pipeline_stream__restore(&engine->stream, engine->store);
    return pipeline_offsets__init(&engine->offsets, engine->store, err) &&
           pipeline_tombstones__load(&engine->tombstones, engine->store, err) &&
           pipeline_blocks__load(&engine->blocks, engine->store, err) &&
           agg_open(&config->catalogue, engine->store, engine->stream.restored_time_ms, engine->metrics, &engine->agg, err);
}

bool pipeline_engine__open(struct pipeline_engine *engine, struct pipeline_config *config, struct fr_err *err)
{
    engine->metrics = fr_metrics_new();
    if (!engine->metrics)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory");
    if (!open_state(engine, config, err))
        return false;
    engine->lanes.store = engine->store;
    engine->lanes.stream = &engine->stream;
    engine->lanes.offsets = &engine->offsets;
    engine->lanes.tombstones = &engine->tombstones;
    engine->lanes.agg = engine->agg;
    agg_block(engine->agg, (const struct fr_idset *const *)engine->blocks.sets);
    engine->lanes.dirty_bytes_most = config->memory_bytes / 8 * 5;
    engine->keeper.store = engine->store;
    engine->keeper.agg = engine->agg;
    engine->keeper.stream = &engine->stream;
    engine->committer.store = engine->store;
    engine->committer.stream = &engine->stream;
    engine->committer.offsets = &engine->offsets;
    engine->committer.tombstones = &engine->tombstones;
    engine->committer.period_ms = config->epoch_ms;
    engine->committer.dirty_bytes_soon = config->memory_bytes / 8 * 3;
    engine->committer.failed = fr_metrics_counter(engine->metrics, "freshet_epochs_failed_total", NULL,
                                                  "Epochs that did not become durable; the next one repeats each.");
    atomic_store(&engine->committer.durable_time_ms, engine->stream.restored_time_ms);
    return pipeline_lanes__init(&engine->lanes, engine->agg, config->lanes, engine->metrics, err);
}

bool pipeline_engine__open_tables(struct pipeline_engine *engine, const struct pipeline_config *config,
                                  void (*fatal)(void *user, const struct fr_err *err), void *user, struct fr_err *err)
{
    struct pipeline_tables_options options = {.config = config,
                                              .agg = engine->agg,
                                              .store = engine->store,
                                              .metrics = engine->metrics,
                                              .dirty_bytes_most = engine->lanes.dirty_bytes_most,
                                              .fatal = fatal,
                                              .user = user};

    if (!pipeline_tables__open(&options, &engine->tables, err))
        return false;
    engine->lanes.tables = engine->tables;
    engine->committer.tables = engine->tables;
    return true;
}

void pipeline_engine__mark_unfinished(struct pipeline_engine *engine)
{
    store_meta_put(engine->store, pipeline_replay_meta, fr_slice_of("unfinished"));
}

void pipeline_engine__close(struct pipeline_engine *engine)
{
    pipeline_committer__fini(&engine->committer);
    pipeline_lanes__fini(&engine->lanes);
    agg_close(engine->agg);
    store_close(engine->store);
    pipeline_offsets__fini(&engine->offsets);
    pipeline_tombstones__fini(&engine->tombstones);
    pipeline_blocks__fini(&engine->blocks);
    fr_metrics_free(engine->metrics);
}
