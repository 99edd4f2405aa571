/*
 * Where connections come from: address.c, and listener.c, the acceptor of both ports.
 */
#ifndef FRESHET_SERVER_LISTENER_H
#define FRESHET_SERVER_LISTENER_H

#include "wake.h"

#include <freshet/server.h>

#include <pthread.h>

struct event;
struct server;
struct server__tls;

enum { SERVER_PEER_BYTES = 64 }; /* "[v6 address]:port" */

/* ---- address.c ---- */

/* Binds and listens. "" gives −1. `key` is named in messages. */
FR_CHECKED bool server__address_listen(const char *text, const char *key, int *fd, char address[SERVER_PEER_BYTES],
                                       bool *is_loopback, struct fr_err *err);
struct sockaddr;
bool server__address_is_loopback(const struct sockaddr *address); /* ::ffff:127.0.0.1 too */
void server__address_print(const struct sockaddr *address, char text[SERVER_PEER_BYTES]);

/* ---- listener.c ---- */

struct server__listener {
    struct server *server;
    int fd; /* −1: none */
    bool is_operations;
    bool is_loopback;
    bool is_tls;
    char address[SERVER_PEER_BYTES];
    struct event *event;
};

struct server__acceptor {
    struct server *server;
    pthread_t thread;
    bool is_started;
    struct event_base *base;
    struct server__wake wake;
    struct event *pause_timer;
    int pause_ms;
    struct server__listener api, operations;
    struct server__tls *tls; /* of both ports */
    struct event *look_timer; /* whether its files have changed */
};

FR_CHECKED bool server__acceptor_open(struct server__acceptor *acceptor, struct server *server,
                                      const struct server_options *options, struct fr_err *err);
FR_CHECKED bool server__acceptor_start(struct server__acceptor *acceptor, struct fr_err *err);
void server__acceptor_stop(struct server__acceptor *acceptor); /* joins the thread */
void server__acceptor_close(struct server__acceptor *acceptor);

#endif
