/*
 * SIGINT and SIGTERM: the first asks to stop, the second ends the process at once.
 */
#include "internal.h"

#include <signal.h>
#include <time.h>
#include <unistd.h>

/* timeout(1) and some terminals send a signal to the process and to its group: that is still the first. */
enum { SAME_SIGNAL_MS = 500 };

/* A handler reaches nothing else, so these are the only globals of the command line. */
static volatile sig_atomic_t stops;
static cli_stop_fn volatile stop_node;
static struct pipeline_node *volatile caught_node;
static volatile int64_t first_ms;

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now); /* async-signal-safe, as POSIX says */
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void on_signal(int number)
{
    struct pipeline_node *node = caught_node;

    (void)number;
    if (stops > 0) {
        if (now_ms() - first_ms > SAME_SIGNAL_MS)
            _exit(CLI_FAILURE);
        return;
    }
    first_ms = now_ms();
    stops = 1;
    if (node)
        stop_node(node);
}

void cli_signals__catch(cli_stop_fn stop, struct pipeline_node *node)
{
    struct sigaction action = {.sa_handler = on_signal}; /* without SA_RESTART: a blocked read returns */

    caught_node = NULL;
    stop_node = stop;
    caught_node = node;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (stops > 0 && node)
        stop(node); /* it came while the node was starting */
}

bool cli_signals__is_stopped(void)
{
    return stops > 0;
}
