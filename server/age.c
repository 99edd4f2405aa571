/*
 * The ages of a connection. An HTTP/1.1 reply says Connection: close from the first on, and an idle connection ends at once; HTTP/2
 * is told to go away and keeps its streams for the grace.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/text.h>

enum { LAST_WORDS_MS = 1000 }; /* between ending the streams and cutting the connection */

/* A tenth more or less, so that clients that came together after a restart don't all leave together. */
static int64_t jitter_ms(const struct server__connection *connection, int64_t age_ms)
{
    uint64_t draw = fr_text_hash(connection->peer, strlen(connection->peer), (uint64_t)fr_clock_monotonic_us());

    return (int64_t)(draw % (uint64_t)(age_ms / 5 + 1)) - age_ms / 10;
}

void server__age_begin(struct server__connection *connection)
{
    int64_t age_ms = connection->loop->server->options.limits.age_ms;

    if (age_ms > 0 && !connection->is_operations)
        connection->age_ms = fr_clock_monotonic_ms() + age_ms + jitter_ms(connection, age_ms);
}

void server__age_come(struct server__connection *connection)
{
    int64_t now_ms = fr_clock_monotonic_ms();

    switch (connection->age) {
    case SERVER_AGE_YOUNG:
        connection->age = SERVER_AGE_OLD;
        connection->age_ms = now_ms + connection->loop->server->options.limits.grace_ms;
        break;
    case SERVER_AGE_OLD:
        connection->age = SERVER_AGE_OVERDUE;
        connection->age_ms = now_ms + LAST_WORDS_MS;
        break;
    case SERVER_AGE_OVERDUE:
        server__connection_close(connection);
        return;
    }
    fr_counter_add(connection->loop->server->aged, connection->age == SERVER_AGE_OLD);
    if (connection->protocol->drain)
        connection->protocol->drain(connection);
    else if (connection->protocol->is_idle(connection))
        server__connection_finish(connection);
}
