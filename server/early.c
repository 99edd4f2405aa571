/*
 * Calls that are asked again: what they wait for comes from another thread, which knows nothing of calls. So nobody is told;
 * while a loop has such calls it asks each of them every millisecond, and each says in well under a microsecond whether it waits on.
 * A call occupies no thread meanwhile, and nothing is locked: all of it is on the loop.
 */
#include "internal.h"

#include <event2/event.h>
#include <stdio.h>

enum { TICK_US = 1000 };

static void set_timer(struct server__early *early)
{
    const struct timeval tick = {.tv_usec = TICK_US};

    if (early->first && !event_pending(early->timer, EV_TIMEOUT, NULL) && event_add(early->timer, &tick) != 0)
        event_active(early->timer, EV_TIMEOUT, 0); /* no memory for a timer: in the loop's next turn, then */
}

static void count(struct server__early *early, int more)
{
    early->count += more;
    atomic_fetch_add(&early->loop->server->early_count, more);
    fr_gauge_set(early->gauge, early->count);
}

/* An answer may let other calls begin on its connection, and those may be early too: the list is taken as it is now. */
static void on_tick(int fd, short what, void *user)
{
    struct server__early *early = user;
    struct server__call *call = early->first, *next;

    (void)fd;
    (void)what;
    early->first = NULL;
    for (; call; call = next) {
        next = call->next_early;
        call->next_early = NULL;
        if (!server__call_again(&call))
            count(early, -1);
    }
    set_timer(early);
}

bool server__early_open(struct server__early *early, struct server__loop *loop, struct fr_err *err)
{
    char labels[32];

    early->loop = loop;
    snprintf(labels, sizeof labels, "loop=\"%s\"", loop->name);
    early->gauge = fr_metrics_gauge(loop->server->options.metrics, "freshet_calls_waiting", labels,
                                    "Calls that wait for what they asked to be applied first, by loop.");
    early->timer = event_new(loop->base, -1, 0, on_tick, early);
    return early->timer || fr_fail(err, FR_EXHAUSTED, "server: out of memory for a timer");
}

void server__early_close(struct server__early *early)
{
    while (early->first) {
        struct server__call *call = early->first;

        early->first = call->next_early;
        server__call_free(call);
    }
    if (early->timer)
        event_free(early->timer);
    early->timer = NULL;
}

bool server__early_add(struct server__early *early, struct server__call **call)
{
    struct server *server = early->loop->server;

    if (!(*call)->has_waited && atomic_load(&server->early_count) >= server->options.limits.early_calls) {
        server__call_refuse(*call, SERVER_STATUS_RESOURCE_EXHAUSTED, "%d calls wait already; retry later",
                            server->options.limits.early_calls);
        return false;
    }
    if (!(*call)->has_waited)
        count(early, 1);
    (*call)->has_waited = true;
    (*call)->next_early = early->first;
    early->first = *call;
    *call = NULL;
    set_timer(early);
    return true;
}
