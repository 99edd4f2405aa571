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

/* As <threads.h> has them, in glibc's own terms: its mtx_t, cnd_t and thrd_t are these, and so are its results. */
enum { SUCCESS = 0, ERROR = 2, NO_MEMORY = 3, TIMED_OUT = 4 };
int thrd_create(pthread_t *thread, int (*function)(void *), void *argument);
int thrd_join(pthread_t thread, int *result);
int mtx_init(pthread_mutex_t *lock, int type);
void mtx_destroy(pthread_mutex_t *lock);
int mtx_lock(pthread_mutex_t *lock);
int mtx_unlock(pthread_mutex_t *lock);
int cnd_init(pthread_cond_t *condition);
void cnd_destroy(pthread_cond_t *condition);
int cnd_signal(pthread_cond_t *condition);
int cnd_broadcast(pthread_cond_t *condition);
int cnd_wait(pthread_cond_t *condition, pthread_mutex_t *lock);
int cnd_timedwait(pthread_cond_t *condition, pthread_mutex_t *lock, const struct timespec *until);

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
    int (*function)(void *);
    void *argument;
};

static void *begin(void *argument)
{
    struct start start = *(struct start *)argument;

    free(argument);
    return (void *)(intptr_t)start.function(start.argument);
}

int thrd_create(pthread_t *thread, int (*function)(void *), void *argument)
{
    struct start *start = malloc(sizeof *start);

    if (!start)
        return NO_MEMORY;
    *start = (struct start){function, argument};
    if (pthread_create(thread, NULL, begin, start) == 0)
        return SUCCESS;
    free(start);
    return ERROR;
}

int thrd_join(pthread_t thread, int *result)
{
    void *value;

    if (pthread_join(thread, &value) != 0)
        return ERROR;
    if (result)
        *result = (int)(intptr_t)value;
    return SUCCESS;
}

int mtx_init(pthread_mutex_t *lock, int type)
{
    (void)type; /* librdkafka has plain ones only */
    return pthread_mutex_init(lock, NULL) == 0 ? SUCCESS : ERROR;
}

void mtx_destroy(pthread_mutex_t *lock)
{
    pthread_mutex_destroy(lock);
}

int mtx_lock(pthread_mutex_t *lock)
{
    return pthread_mutex_lock(lock) == 0 ? SUCCESS : ERROR;
}

int mtx_unlock(pthread_mutex_t *lock)
{
    return pthread_mutex_unlock(lock) == 0 ? SUCCESS : ERROR;
}

int cnd_init(pthread_cond_t *condition)
{
    return pthread_cond_init(condition, NULL) == 0 ? SUCCESS : ERROR;
}

void cnd_destroy(pthread_cond_t *condition)
{
    pthread_cond_destroy(condition);
}

int cnd_signal(pthread_cond_t *condition)
{
    return pthread_cond_signal(condition) == 0 ? SUCCESS : ERROR;
}

int cnd_broadcast(pthread_cond_t *condition)
{
    return pthread_cond_broadcast(condition) == 0 ? SUCCESS : ERROR;
}

int cnd_wait(pthread_cond_t *condition, pthread_mutex_t *lock)
{
    return pthread_cond_wait(condition, lock) == 0 ? SUCCESS : ERROR;
}

int cnd_timedwait(pthread_cond_t *condition, pthread_mutex_t *lock, const struct timespec *until)
{
    int error = pthread_cond_timedwait(condition, lock, until);

    if (error == 0)
        return SUCCESS;
    return error == ETIMEDOUT ? TIMED_OUT : ERROR;
}

#endif

/* Being called brings this file into the program. */
void ingest_threads__show(void)
{
}
