/*
 * Calls that do not run on their loop at once: those that block (pool.c), and those that are asked again (early.c).
 */
#ifndef FRESHET_SERVER_POOL_H
#define FRESHET_SERVER_POOL_H

#include <freshet/error.h>
#include <freshet/metrics.h>
#include <freshet/queue.h>

#include <pthread.h>
#include <stdatomic.h>

struct event;
struct server__call;
struct server__loop;

/* ---- pool.c ---- */

struct server__pool {
    struct fr_queue *calls;
    pthread_t *threads;
    int thread_count;
    int call_max;
    atomic_int taken; /* calls accepted and not yet answered; loops add, loops subtract */
    atomic_bool is_stopping; /* what still waits is cancelled */
};

FR_CHECKED bool server__pool_start(struct server__pool *pool, int call_max, int threads, struct fr_err *err);
void server__pool_stop(struct server__pool *pool); /* joins; every call is in the mailbox of its loop, and no other is taken */
void server__pool_close(struct server__pool *pool);

/* False when as many as allowed wait or run; the call then stays the caller's. */
bool server__pool_submit(struct server__pool *pool, struct server__call **call);
void server__pool_release(struct server__pool *pool); /* its answer has reached the loop */

/* ---- early.c ---- */

struct server__early { /* of one loop, on its thread */
    struct server__loop *loop;
    struct server__call *first;
    struct event *timer; /* runs while there are any */
    struct fr_gauge *gauge;
    int count;
};

FR_CHECKED bool server__early_open(struct server__early *early, struct server__loop *loop, struct fr_err *err);
void server__early_close(struct server__early *early); /* frees the calls; nobody waits for them any more */

/* False when as many as allowed wait, on all loops together; the call then stays the caller's, refused. */
bool server__early_add(struct server__early *early, struct server__call **call);

#endif
