/*
 * A wall clock that is wrong, for LD_PRELOAD: FRESHET_CLOCK_AHEAD is by how many seconds (below 0: behind). Only the wall clock: what is
 * monotonic stays, as when somebody sets a machine's clock. Deadlines by the wall clock come true when they would have. (Debian's
 * libfaketime waits for itself for ever where jemalloc allocates.)
 */
#include <dlfcn.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <threads.h>
#include <time.h>
#include <unistd.h>

/* A deadline of less seconds is of the monotonic clock, as a condition variable may have it. */
enum { WALL_SECONDS_LEAST = 1000000000 };

static time_t ahead_seconds(void)
{
    static _Thread_local int is_known; /* getenv() allocates nothing: this may be called by the allocator */
    static _Thread_local long ahead;

    if (!is_known) {
        const char *text = getenv("FRESHET_CLOCK_AHEAD");

        ahead = text ? strtol(text, NULL, 10) : 0;
        is_known = 1;
    }
    return ahead;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = (int)syscall(SYS_clock_gettime, clock, now);

    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += ahead_seconds();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    struct timespec exact;
    int result = clock_gettime(CLOCK_REALTIME, &exact);

    (void)zone;
    *now = (struct timeval){.tv_sec = exact.tv_sec, .tv_usec = exact.tv_nsec / 1000};
    return result;
}

time_t time(time_t *out)
{
    struct timespec exact;

    (void)clock_gettime(CLOCK_REALTIME, &exact);
    if (out)
        *out = exact.tv_sec;
    return exact.tv_sec;
}

int timespec_get(struct timespec *now, int base)
{
    return base == TIME_UTC && clock_gettime(CLOCK_REALTIME, now) == 0 ? base : 0;
}

static struct timespec right(const struct timespec *deadline)
{
    struct timespec changed = *deadline;

    if (changed.tv_sec >= WALL_SECONDS_LEAST)
        changed.tv_sec -= ahead_seconds();
    return changed;
}

int pthread_cond_timedwait(pthread_cond_t *restrict condition, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict deadline)
{
    static int (*real)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    struct timespec changed = right(deadline);

    if (!real) /* of this version: there is an older one, with conditions of another size */
        real = (int (*)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *))dlvsym(
            RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
    return real(condition, mutex, &changed);
}

int cnd_timedwait(cnd_t *restrict condition, mtx_t *restrict mutex, const struct timespec *restrict deadline)
{
    static int (*real)(cnd_t *, mtx_t *, const struct timespec *);
    struct timespec changed = right(deadline);

    if (!real)
        real = (int (*)(cnd_t *, mtx_t *, const struct timespec *))dlsym(RTLD_NEXT, "cnd_timedwait");
    return real(condition, mutex, &changed);
}
