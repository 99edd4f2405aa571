/*
 * The keeper: one thread that keeps the store's house. It lets entities go that memory has no room for, has the filter built
 * that knows what is nowhere, and sweeps away what nobody can see any more, once round in an hour; what it does is bounded per
 * tick, because it shares the machine with lanes and loops.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

enum {
    TICK_MS = 50,
    TEND_US = 10000,
    WARM_US = 200000, /* at a time, at a start: till it is over lanes and calls look for each entity on disk */
    PASS_TICKS = 3600 * 1000 / TICK_MS, /* for a whole sweep of a great store */
    PASS_MS_LEAST = 10000, /* and for that of a small one */
    SWEEP_LEAST = 64, /* entities a tick */
    SWEEP_MOST = 1024,
};

/* An epoch that cannot be written must not be made greater. */
static void sweep(struct pipeline_keeper *keeper)
{
    static struct fr_log_place place;
    struct agg_sweep before = keeper->sweep;
    int64_t now_ms = fr_clock_monotonic_ms();
    struct store_stats stats;
    struct fr_err err;

    if (store_is_failed(keeper->store))
        return;
    if (before.cursor.length == 0) {
        if (before.passes > 0 && now_ms - keeper->pass_ms < PASS_MS_LEAST)
            return;
        keeper->pass_ms = now_ms;
    }
    store_stats_read(keeper->store, &stats);
    uint64_t most = stats.entities / PASS_TICKS + SWEEP_LEAST;
    if (!agg_sweep(keeper->agg, &keeper->sweep, pipeline_stream__horizon(keeper->stream),
                   most < SWEEP_MOST ? (int)most : SWEEP_MOST, &err))
        fr_log_limited(&place, 1, FR_LOG_WARN, "pipeline", "what is to be forgotten stays: %s", err.message);
    fr_counter_add(keeper->forgotten, keeper->sweep.forgotten - before.forgotten);
    fr_counter_add(keeper->passes, keeper->sweep.passes - before.passes);
}

static void *run(void *user)
{
    struct pipeline_keeper *keeper = user;
    bool is_warming = true;
    void *message;

    while (!atomic_load(&keeper->is_stopping)) {
        struct fr_err err;

        is_warming = is_warming && store_warm(keeper->store, WARM_US);
        if (!store_tend(keeper->store, TEND_US, &err))
            fr_log(FR_LOG_WARN, "pipeline", "keys that are nowhere are looked for on disk from now on: %s", err.message);
        if (is_warming)
            continue;
        sweep(keeper);
        (void)fr_queue_receive(keeper->stop, &message, TICK_MS); /* closed when it is to stop */
    }
    return NULL;
}

bool pipeline_keeper__start(struct pipeline_keeper *keeper, struct fr_metrics *metrics, struct fr_err *err)
{
    keeper->forgotten = fr_metrics_counter(metrics, "freshet_state_forgotten_total", NULL,
                                           "Entities swept away because nobody could see anything of them any more.");
    keeper->passes = fr_metrics_counter(metrics, "freshet_sweep_passes_total", NULL, "Sweeps of the whole state.");
    keeper->stop = fr_queue_new(1);
    if (!keeper->stop)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for the keeper");
    if (pthread_create(&keeper->thread, NULL, run, keeper) != 0)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: cannot start the keeper's thread; raise the limit of threads");
    keeper->is_started = true;
    return true;
}

void pipeline_keeper__stop(struct pipeline_keeper *keeper)
{
    if (keeper->is_started) {
        atomic_store(&keeper->is_stopping, true);
        fr_queue_close(keeper->stop);
        pthread_join(keeper->thread, NULL);
        keeper->is_started = false;
    }
    if (keeper->stop) {
        fr_queue_close(keeper->stop); /* closed before, unless the thread could not be started */
        fr_queue_free(keeper->stop);
    }
    keeper->stop = NULL;
}
