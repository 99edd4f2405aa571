/*
 * For ThreadSanitizer only. librdkafka starts threads and takes locks by the functions of C11, which the sanitizer of gcc 12 and
 * clang 14 does not know: the first malloc of such a thread crashes (measured). The same functions here, in terms of POSIX, which it
 * knows, take their place in the whole program, since a program's symbols come before those of the C library.
 */
#include "internal.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer) && !defined(__SANITIZE_THREAD__)
#define __SANITIZE_THREAD__ 1
#endif
#endif

#ifdef __SANITIZE_THREAD__

#include <errno.h>
#include <stdlib.h>
#include <threads.h>

_Static_assert(sizeof(mtx_t) >= sizeof(pthread_mutex_t), "glibc: one holds the other");
_Static_assert(sizeof(cnd_t) >= sizeof(pthread_cond_t), "glibc: one holds the other");

/*
 * What librdkafka does with its reference counts the sanitizer cannot see either, so a free after the last of them would look like
 * a race with whoever read the record before. Locks taken in there still count.
 */
const char *__tsan_default_suppressions(void);

__attribute__((weak)) const char *__tsan_default_suppressions(void)
{
    return "called_from_lib:librdkafka.so\nrace:mtx_lock\nrace:mtx_unlock\nrace:mtx_destroy\nrace:cnd_\n";
}

struct start {
    thrd_start_t function;
    void *argument;
};

static void *begin(void *argument)
{
    struct start start = *(struct start *)argument;

    free(argument);
    return (void *)(intptr_t)start.function(start.argument);
}

int thrd_create(thrd_t *thread, thrd_start_t function, void *argument)
{
    struct start *start = malloc(sizeof *start);

    if (!start)
        return thrd_nomem;
    *start = (struct start){function, argument};
    if (pthread_create(thread, NULL, begin, start) == 0)
        return thrd_success;
    free(start);
    return thrd_error;
}

int thrd_join(thrd_t thread, int *result)
{
    void *value;

    if (pthread_join(thread, &value) != 0)
        return thrd_error;
    if (result)
        *result = (int)(intptr_t)value;
    return thrd_success;
}

int mtx_init(mtx_t *lock, int type)
{
    (void)type; /* librdkafka has plain ones only */
    return pthread_mutex_init((pthread_mutex_t *)lock, NULL) == 0 ? thrd_success : thrd_error;
}

void mtx_destroy(mtx_t *lock)
{
    pthread_mutex_destroy((pthread_mutex_t *)lock);
}

int mtx_lock(mtx_t *lock)
{
    return pthread_mutex_lock((pthread_mutex_t *)lock) == 0 ? thrd_success : thrd_error;
}

int mtx_unlock(mtx_t *lock)
{
    return pthread_mutex_unlock((pthread_mutex_t *)lock) == 0 ? thrd_success : thrd_error;
}

int cnd_init(cnd_t *condition)
{
    return pthread_cond_init((pthread_cond_t *)condition, NULL) == 0 ? thrd_success : thrd_error;
}

void cnd_destroy(cnd_t *condition)
{
    pthread_cond_destroy((pthread_cond_t *)condition);
}

int cnd_signal(cnd_t *condition)
{
    return pthread_cond_signal((pthread_cond_t *)condition) == 0 ? thrd_success : thrd_error;
}

int cnd_broadcast(cnd_t *condition)
{
    return pthread_cond_broadcast((pthread_cond_t *)condition) == 0 ? thrd_success : thrd_error;
}

int cnd_wait(cnd_t *condition, mtx_t *lock)
{
    return pthread_cond_wait((pthread_cond_t *)condition, (pthread_mutex_t *)lock) == 0 ? thrd_success : thrd_error;
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict lock, const struct timespec *restrict until)
{
    int error = pthread_cond_timedwait((pthread_cond_t *)condition, (pthread_mutex_t *)lock, until);

    if (error == 0)
        return thrd_success;
    return error == ETIMEDOUT ? thrd_timedout : thrd_error;
}

#endif

/* Being called brings this file into the program. */
void ingest_threads__show(void)
{
}
