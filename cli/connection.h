/*
 * A connection to a node, for one question and its answer, or for many, one after the other. One thread.
 */
#ifndef FRESHET_CLI_CONNECTION_H
#define FRESHET_CLI_CONNECTION_H

#include "internal.h"

#include <freshet/tls_client.h>

struct cli_connection {
    const struct cli_node *node;
    int fd; /* −1: none */
    struct server_client *tls; /* NULL: plaintext */
    int64_t deadline_ms; /* monotonic; of all that follows */
};

/* All fail with FR_UNAVAILABLE, FR_DEADLINE or, stopped by a signal, FR_CANCELLED; with FR_BAD_CONFIG for what was asked wrongly. */
FR_CHECKED bool cli_connection__open(struct cli_connection *connection, struct fr_err *err);
void cli_connection__close(struct cli_connection *connection);
FR_CHECKED bool cli_connection__send(struct cli_connection *connection, struct fr_slice bytes, struct fr_err *err);

/* Appends what comes next; *is_end when the node has closed. */
FR_CHECKED bool cli_connection__receive(struct cli_connection *connection, struct fr_buffer *in, bool *is_end,
                                        struct fr_err *err);

/* As cli_client__call(), on a connection that stays open for the next call; opened when it is not yet (`fd` −1). */
FR_CHECKED bool cli_client__call_kept(struct cli_connection *connection, const char *method, struct fr_slice json,
                                      int timeout_ms, struct fr_buffer *reply, struct fr_err *err);

/* "cannot reach …"; false. */
bool cli_connection__unreachable(const struct cli_connection *connection, const char *why, struct fr_err *err);

#endif
