/*
 * Merging what others told, on as many threads as there are lanes, since every instance merges all that the others write, and by
 * the capacity model one thread is what a cluster of many instances runs into first. Deltas are shared out by entity, so those of one entity are
 * merged in order, by one thread. The cluster's thread takes a share itself, and holds the visit and the gate for all of them:
 * the others work only while it waits for them.
 */
#include "cluster_internal.h"

#include <freshet/text.h>

#include <semaphore.h>
#include <stdlib.h>

enum {
    MERGERS_MAX = 8,
    ALONE_MOST = 256, /* so few are merged sooner than the others are woken */
    DELTAS_FIRST = 1024
};

enum step { LOAD, APPLY };

struct merger {
    struct pipeline_mergers *mergers;
    struct agg_lane *lane;
    struct agg_delta *deltas;
    int count, capacity;
    struct agg_tally tally;
    struct fr_err err;
    bool ok;
    pthread_t thread;
    bool can_begin, is_started;
    sem_t begin; /* a step, or its end; there where it can */
};

struct pipeline_mergers {
    struct merger mergers[MERGERS_MAX]; /* the first is the cluster's thread */
    int count;
    int deltas; /* of all */
    enum step step;
    int64_t horizon_ms;
    bool is_over;
    sem_t done; /* a share of a step */
};

static void work(struct merger *merger)
{
    const struct pipeline_mergers *mergers = merger->mergers;

    merger->ok = merger->count == 0 ||
                 (mergers->step == LOAD ? agg_deltas_load(merger->lane, merger->deltas, merger->count, &merger->err)
                                        : agg_deltas_apply(merger->lane, merger->deltas, merger->count, mergers->horizon_ms,
                                                           &merger->tally, &merger->err));
}

static void wait(sem_t *semaphore)
{
    while (sem_wait(semaphore) != 0) /* a signal came */
        ;
}

static void *run(void *user)
{
    struct merger *merger = user;
    struct pipeline_mergers *mergers = merger->mergers;

    for (;;) {
        wait(&merger->begin);
        if (mergers->is_over)
            return NULL;
        work(merger);
        sem_post(&mergers->done);
    }
}

static bool run_step(struct pipeline_mergers *mergers, enum step step, struct fr_err *err)
{
    bool is_alone = mergers->deltas < ALONE_MOST;

    mergers->step = step;
    for (int i = 1; i < mergers->count && !is_alone; i++)
        sem_post(&mergers->mergers[i].begin);
    for (int i = 0; i < (is_alone ? mergers->count : 1); i++)
        work(&mergers->mergers[i]);
    for (int i = 1; i < mergers->count && !is_alone; i++)
        wait(&mergers->done);
    for (int i = 0; i < mergers->count; i++) {
        if (!mergers->mergers[i].ok) {
            *err = mergers->mergers[i].err;
            return false;
        }
    }
    return true;
}

static bool open_merger(struct pipeline_mergers *mergers, int index, struct agg *agg, struct fr_err *err)
{
    struct merger *merger = &mergers->mergers[index];

    merger->mergers = mergers;
    merger->lane = agg_lane_new(agg, PIPELINE_BATCH_EVENTS);
    merger->can_begin = sem_init(&merger->begin, 0, 0) == 0;
    if (!merger->lane || !merger->can_begin)
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory");
    if (index == 0)
        return true;
    if (pthread_create(&merger->thread, NULL, run, merger) != 0)
        return fr_fail(err, FR_EXHAUSTED, "cluster: cannot start a thread that merges; raise the limit of threads");
    pthread_setname_np(merger->thread, "merger");
    merger->is_started = true;
    return true;
}

bool pipeline_mergers__open(struct agg *agg, int lanes, struct pipeline_mergers **ret, struct fr_err *err)
{
    struct pipeline_mergers *mergers = calloc(1, sizeof *mergers);
    bool ok = true;

    *ret = NULL;
    if (!mergers || sem_init(&mergers->done, 0, 0) != 0) {
        free(mergers);
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory");
    }
    *ret = mergers;
    mergers->count = lanes < MERGERS_MAX ? lanes : MERGERS_MAX;
    for (int i = 0; i < mergers->count && ok; i++)
        ok = open_merger(mergers, i, agg, err);
    return ok;
}

void pipeline_mergers__close(struct pipeline_mergers *mergers)
{
    if (!mergers)
        return;
    mergers->is_over = true;
    for (int i = 0; i < mergers->count; i++) {
        struct merger *merger = &mergers->mergers[i];

        if (merger->is_started) {
            sem_post(&merger->begin);
            pthread_join(merger->thread, NULL);
        }
        if (merger->can_begin)
            sem_destroy(&merger->begin);
        agg_lane_free(merger->lane);
        free(merger->deltas);
    }
    sem_destroy(&mergers->done);
    free(mergers);
}

uint64_t pipeline_mergers__corrupt(const struct pipeline_mergers *mergers)
{
    uint64_t corrupt = 0;

    for (int i = 0; i < mergers->count; i++)
        corrupt += mergers->mergers[i].tally.corrupt;
    return corrupt;
}

void pipeline_mergers__clear(struct pipeline_mergers *mergers)
{
    for (int i = 0; i < mergers->count; i++) {
        mergers->mergers[i].count = 0;
        mergers->mergers[i].tally = (struct agg_tally){0};
    }
    mergers->deltas = 0;
}

int pipeline_mergers__count(const struct pipeline_mergers *mergers)
{
    return mergers->deltas;
}

bool pipeline_mergers__add(struct pipeline_mergers *mergers, const struct agg_delta *delta, struct fr_err *err)
{
    uint64_t hash = fr_text_hash(delta->key.bytes, delta->key.length, 0);
    struct merger *merger = &mergers->mergers[hash % (uint64_t)mergers->count];

    if (merger->count == merger->capacity) {
        int capacity = merger->capacity ? 2 * merger->capacity : DELTAS_FIRST;
        struct agg_delta *deltas = reallocarray(merger->deltas, (size_t)capacity, sizeof *deltas);

        if (!deltas)
            return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for deltas");
        merger->deltas = deltas;
        merger->capacity = capacity;
    }
    merger->deltas[merger->count++] = *delta;
    mergers->deltas++;
    return true;
}

bool pipeline_mergers__load(struct pipeline_mergers *mergers, struct fr_err *err)
{
    return run_step(mergers, LOAD, err);
}

bool pipeline_mergers__apply(struct pipeline_mergers *mergers, int64_t horizon_ms, struct fr_err *err)
{
    mergers->horizon_ms = horizon_ms;
    return run_step(mergers, APPLY, err);
}
