/*
 * A doorbell: how a thread that owns an event base is told something by another (wake.c).
 */
#ifndef FRESHET_SERVER_WAKE_H
#define FRESHET_SERVER_WAKE_H

#include <freshet/error.h>

#include <stdatomic.h>

struct event;
struct event_base;

enum server__phase { SERVER_RUNNING, SERVER_DRAINING, SERVER_STOPPING };

/* How another thread gets a loop's attention: an eventfd and a word that only the server writes. */
struct server__wake {
    int fd;
    struct event *event;
    atomic_int phase;
};
FR_CHECKED bool server__wake_open(struct server__wake *wake, struct event_base *base, void (*on_wake)(int, short, void *),
                                  void *user, struct fr_err *err);
void server__wake_close(struct server__wake *wake);
void server__wake_ring(struct server__wake *wake);
void server__wake_clear(struct server__wake *wake);
void server__wake_phase(struct server__wake *wake, enum server__phase phase);

#endif
