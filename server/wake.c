/*
 * Waking a thread that sleeps in its event base. libevent's own way needs its locks; an eventfd needs none.
 */
#include "internal.h"

#include <event2/event.h>
#include <sys/eventfd.h>
#include <unistd.h>

bool server__wake_open(struct server__wake *wake, struct event_base *base, void (*on_wake)(int, short, void *), void *user,
                       struct fr_err *err)
{
    wake->fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (wake->fd < 0)
        return fr_fail(err, FR_EXHAUSTED, "server: cannot make an eventfd; raise the limit of open files (ulimit -n)");
    wake->event = event_new(base, wake->fd, EV_READ | EV_PERSIST, on_wake, user);
    if (!wake->event || event_add(wake->event, NULL) != 0)
        return fr_fail(err, FR_EXHAUSTED, "server: out of memory for an event");
    return true;
}

void server__wake_close(struct server__wake *wake)
{
    if (wake->event) {
        event_free(wake->event);
        close(wake->fd);
    } else if (wake->fd > 0) {
        close(wake->fd);
    }
    wake->event = NULL;
    wake->fd = -1;
}

void server__wake_ring(struct server__wake *wake)
{
    ssize_t written = write(wake->fd, &(uint64_t){1}, sizeof(uint64_t));

    (void)written; /* it fails only when it rings already */
}

void server__wake_clear(struct server__wake *wake)
{
    uint64_t rings;
    ssize_t got = read(wake->fd, &rings, sizeof rings);

    (void)got;
}

void server__wake_phase(struct server__wake *wake, enum server__phase phase)
{
    atomic_store(&wake->phase, (int)phase);
    server__wake_ring(wake);
}
