/*
 * Shows that a node works on what it was asked, where it tells nothing on its way: after a second, on a terminal, what it does and for how
 * long it has. A thread of its own, that is woken to end.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/queue.h>

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

enum { WAITING_FIRST_MS = 1000, WAITING_EVERY_MS = 250 };

struct cli_waiting {
    const char *what;
    int64_t start_ms;
    struct fr_queue *stop; /* nothing is sent; closed to end it */
    pthread_t thread;
};

static void *wait_on(void *user)
{
    struct cli_waiting *waiting = user;
    bool is_drawn = false;
    void *nothing;

    (void)fr_queue_receive(waiting->stop, &nothing, WAITING_FIRST_MS);
    while (!fr_queue_is_closed(waiting->stop)) {
        long long seconds = (fr_clock_monotonic_ms() - waiting->start_ms) / 1000;

        fprintf(stderr, "\r\033[K%s  %lld:%02lld", waiting->what, seconds / 60, seconds % 60);
        fflush(stderr);
        is_drawn = true;
        (void)fr_queue_receive(waiting->stop, &nothing, WAITING_EVERY_MS);
    }
    if (is_drawn) {
        fputs("\r\033[K", stderr);
        fflush(stderr);
    }
    return NULL;
}

struct cli_waiting *cli_waiting__show(const char *what)
{
    struct cli_waiting *waiting = isatty(STDERR_FILENO) == 1 ? calloc(1, sizeof *waiting) : NULL;

    if (!waiting)
        return NULL;
    waiting->what = what;
    waiting->start_ms = fr_clock_monotonic_ms();
    waiting->stop = fr_queue_new(1);
    if (waiting->stop && pthread_create(&waiting->thread, NULL, wait_on, waiting) == 0)
        return waiting;
    if (waiting->stop) {
        fr_queue_close(waiting->stop);
        fr_queue_free(waiting->stop);
    }
    free(waiting);
    return NULL;
}

void cli_waiting__stop(struct cli_waiting *waiting)
{
    if (!waiting)
        return;
    fr_queue_close(waiting->stop);
    pthread_join(waiting->thread, NULL);
    fr_queue_free(waiting->stop);
    free(waiting);
}
