/*
 * The line of a loop: connections whose requests are whole and wait for their turn, and which of those are still worked on.
 *
 * Sockets are read first and calls run behind that, for SLICE_US at most before the sockets are looked at again. So what waits
 * waits here, where it is known since when, and not in the kernel, where a queue has no clock. Connections take turns, a few
 * calls each: one that asks much does not make another wait for all of it.
 *
 * A loop is behind when its line has not been empty for SERVER_BEHIND_US. While it keeps up, bursts wait as long as they have to.
 * When it is behind everyone's wait would grow until each reply came just too late; so a call that has waited for half of the
 * time its client gave it, or for `wait_ms`, is refused with a hint to come again later (the idea is CoDel's, as Facebook's Wangle
 * has it). What is served is then served with the other half left. A refusal costs no decoding and no work.
 *
 * HTTP/1.1 stands in no line, as there is one call a connection: it runs when it is read, and has waited since its round began.
 */
#include "internal.h"

#include <freshet/clock.h>

enum { SLICE_US = 5000, RETRY_MS = 100 };

/* ---- The line ---- */

void server__line_count(struct server__connection *connection, int more)
{
    connection->waiting += more;
    if (connection->is_in_line)
        connection->loop->line.waiting += more;
}

void server__line_join(struct server__connection *connection)
{
    struct server__line *line = &connection->loop->line;

    if (connection->is_in_line)
        return;
    if (!line->first)
        line->empty_us = fr_clock_monotonic_us();
    connection->is_in_line = true;
    connection->line_next = NULL;
    connection->line_previous = line->last;
    if (line->last)
        line->last->line_next = connection;
    else
        line->first = connection;
    line->last = connection;
    line->waiting += connection->waiting;
}

void server__line_leave(struct server__connection *connection)
{
    struct server__line *line = &connection->loop->line;

    if (!connection->is_in_line)
        return;
    connection->is_in_line = false;
    line->waiting -= connection->waiting;
    if (connection->line_previous)
        connection->line_previous->line_next = connection->line_next;
    else
        line->first = connection->line_next;
    if (connection->line_next)
        connection->line_next->line_previous = connection->line_previous;
    else
        line->last = connection->line_previous;
}

void server__line_run(struct server__loop *loop)
{
    int64_t until_us;

    if (!loop->line.first)
        return;
    until_us = fr_clock_monotonic_us() + SLICE_US;
    while (loop->line.first && fr_clock_monotonic_us() < until_us) {
        struct server__connection *connection = loop->line.first;

        server__line_leave(connection);
        connection->protocol->run(connection);
        if (!connection->is_dead)
            server__connection_resume(connection); /* it gets in line again when it has more */
    }
}

bool server__line_is_full(const struct server__loop *loop)
{
    return loop->line.waiting >= loop->server->options.limits.queued_calls;
}

/* ---- Who is still served ---- */

static bool is_behind(const struct server__loop *loop, int64_t now_us)
{
    int64_t since_us = loop->line.first ? loop->line.empty_us : now_us;

    if (loop->round_us != 0 && loop->round_us < since_us)
        since_us = loop->round_us;
    return now_us - since_us > SERVER_BEHIND_US;
}

/* How long this one may have waited while the loop is behind. */
static int64_t patience_us(const struct server__call *call)
{
    int64_t most_us = call->loop->server->options.limits.wait_ms * 1000;

    if (call->seen.deadline_us == INT64_MAX || call->seen.deadline_us - call->whole_us >= 2 * most_us)
        return most_us;
    return (call->seen.deadline_us - call->whole_us) / 2;
}

int server__line_retry_ms(struct server__loop *loop)
{
    loop->line.refused++;
    return RETRY_MS + (int)(loop->line.refused * 37 % RETRY_MS); /* spread, or they all come again at once */
}

bool server__line_admits(struct server__call *call)
{
    struct server__loop *loop = call->loop;
    struct server *server = loop->server;
    int64_t now_us = fr_clock_monotonic_us();
    int64_t waited_us = now_us - call->whole_us;
    int64_t left_us = call->seen.deadline_us - now_us;
    int *expected_us = &loop->expected_us[call->method->index];

    if (call->status != SERVER_STATUS_OK)
        return false;
    fr_histogram_add_us(server->waits, waited_us);
    if (left_us <= 0) {
        server__call_refuse(call, SERVER_STATUS_DEADLINE_EXCEEDED, "the deadline passed before the call began");
    } else if (left_us < *expected_us) {
        server__call_refuse(call, SERVER_STATUS_DEADLINE_EXCEEDED,
                            "%lld us are left of the deadline, and such calls take %d us: not begun", (long long)left_us,
                            *expected_us);
        *expected_us -= *expected_us / 8 + 1; /* a guess that was wrong once must not refuse for ever */
    } else {
        if (is_behind(loop, now_us) && waited_us > patience_us(call) && !call->method->method->is_never_shed) {
            server__call_shed(call, "the node is overloaded: the call waited for %lld ms; retry later, or elsewhere",
                              (long long)(waited_us / 1000));
            fr_counter_add(server->shed_wait, 1);
        }
        return call->status == SERVER_STATUS_OK;
    }
    fr_counter_add(server->shed_deadline, 1);
    return false;
}

void server__line_learn(struct server__call *call, int64_t begun_us)
{
    int *expected_us = &call->loop->expected_us[call->method->index];
    int64_t took_us = fr_clock_monotonic_us() - begun_us;

    if (took_us > INT32_MAX / 2)
        took_us = INT32_MAX / 2;
    *expected_us = took_us < *expected_us ? (int)took_us : *expected_us + ((int)took_us - *expected_us) / 16;
}
