/*
 * Calls that block: a few threads that may, fed by a bounded queue. There are two, so that calls which wait for a disk a moment
 * are not behind those that take seconds. How many may wait or run is counted from the moment a loop
 * hands a call over until it has the answer, so the mailboxes of the loops never need more room than that.
 */
#include "internal.h"

#include <assert.h>
#include <stdlib.h>

static void *run(void *user)
{
    struct server__pool *pool = user;
    void *message;

    while (fr_queue_receive(pool->calls, &message, -1)) {
        struct server__call *call = message;
        struct server__loop *loop = call->loop;
        bool is_sent;

        if (atomic_load(&pool->is_stopping))
            server__call_refuse(call, SERVER_STATUS_UNAVAILABLE, "the server is stopping");
        else
            server__call_handle(call);
        is_sent = fr_queue_send(loop->answers, &message, 0);
        assert(is_sent); /* it has room for all of them */
        server__wake_ring(&loop->wake);
    }
    return NULL;
}

bool server__pool_start(struct server__pool *pool, int call_max, int threads, struct fr_err *err)
{
    pool->call_max = call_max;
    pool->calls = fr_queue_new(call_max);
    pool->threads = calloc((size_t)threads, sizeof *pool->threads);
    if (!pool->calls || !pool->threads)
        return fr_fail(err, FR_EXHAUSTED, "server: out of memory for %d slow calls", call_max);
    for (; pool->thread_count < threads; pool->thread_count++)
        if (!server__thread_start(&pool->threads[pool->thread_count], run, pool, err))
            return false;
    return true;
}

void server__pool_stop(struct server__pool *pool)
{
    if (!pool->calls)
        return;
    atomic_store(&pool->is_stopping, true);
    fr_queue_close(pool->calls);
    for (int i = 0; i < pool->thread_count; i++)
        pthread_join(pool->threads[i], NULL);
    pool->thread_count = 0;
}

void server__pool_close(struct server__pool *pool)
{
    if (pool->calls)
        fr_queue_free(pool->calls);
    free(pool->threads);
    *pool = (struct server__pool){0};
}

bool server__pool_submit(struct server__pool *pool, struct server__call **call)
{
    void *message = *call;

    (*call)->pool = pool;
    if (atomic_fetch_add(&pool->taken, 1) >= pool->call_max || !fr_queue_send(pool->calls, &message, 0)) {
        atomic_fetch_sub(&pool->taken, 1);
        return false;
    }
    *call = NULL;
    return true;
}

void server__pool_release(struct server__pool *pool)
{
    atomic_fetch_sub(&pool->taken, 1);
}
