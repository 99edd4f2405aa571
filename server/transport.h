/*
 * How a connection's bytes come and go: plain, or by TLS. On its loop.
 */
#ifndef FRESHET_SERVER_TRANSPORT_H
#define FRESHET_SERVER_TRANSPORT_H

#include "internal.h"

#include <sys/uio.h>

enum server__moved { SERVER_MOVED, SERVER_MOVED_NOT_NOW, SERVER_MOVED_END, SERVER_MOVED_BROKEN };

/* The handshake goes on. MOVED: it is over, and the connection has switched to what was agreed. BROKEN is logged and counted. */
enum server__moved server__transport_open(struct server__connection *connection);

enum server__moved server__transport_read(struct server__connection *connection, void *bytes, size_t capacity, size_t *got);

/* By TLS of the first piece only, which must come again from its first byte that was not sent. */
enum server__moved server__transport_write(struct server__connection *connection, const struct iovec *pieces, size_t count,
                                           size_t *sent);

bool server__transport_wants_write(const struct server__connection *connection); /* reading goes on when it can be written */
bool server__transport_has_more(const struct server__connection *connection); /* was read from the socket, and not by us yet */

#endif
