/*
 * The keeper: one thread that keeps the store's house. It lets entities go that memory has no room for, and has the filter built
 * that knows what is nowhere; what it does is bounded per tick, because it shares the machine with lanes and loops.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

enum { TICK_MS = 50, TEND_US = 10000 };

static void *run(void *user)
{
    struct pipeline_keeper *keeper = user;
    void *message;

    while (!atomic_load(&keeper->is_stopping)) {
        struct fr_err err;

        if (!store_tend(keeper->store, TEND_US, &err))
            fr_log(FR_LOG_WARN, "pipeline", "keys that are nowhere are looked for on disk from now on: %s", err.message);
        (void)fr_queue_receive(keeper->stop, &message, TICK_MS); /* closed when it is to stop */
    }
    return NULL;
}

bool pipeline_keeper__start(struct pipeline_keeper *keeper, struct fr_err *err)
{
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
    if (keeper->stop)
        fr_queue_free(keeper->stop);
    keeper->stop = NULL;
}
