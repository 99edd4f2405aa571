/*
 * The line of a loop: connections whose requests are whole and wait for their turn, and which of those are still worked on.
 *
 * Sockets are read first and calls run behind that, for SLICE_US at most before the sockets are looked at again. So what waits
 * waits here, where it is known since when, and not in the kernel, where a queue has no clock. Connections take turns, a few
 * calls each: one that asks much does not make another wait for all of it.
 *
 * Turns alone would make many wait for each of the few that ask for milliseconds at a time. So a connection's use of the loop, its
 * reading included, is reckoned: a twentieth of the time is forgiven as it passes, and who is more than LIGHT_US above that
 * is heavy and lets the light ones pass. Where all ask for as much as another nothing changes; the heavy ones still get every
 * second turn once they have waited for HEAVY_WAIT_US. (The idea is fq_codel's sparse flows, RFC 8290.)
 *
 * A loop is behind when its line has not been empty for SERVER_BEHIND_US, or for as long as a call may wait. While it keeps up,
 * bursts wait as long as they have to. When it is behind everyone's wait would grow until each reply came just too late; so a call may wait for half of the time that
 * its client gave it, and `wait_ms` at most, and what would have to wait longer is refused when its head is there, before there is
 * a body to keep, with a hint to come again later. What is served is then served with the other half left. (The idea is CoDel's,
 * as Facebook's Wangle has it; how long the line is in time is known by the pace at which it moved of late.) A refusal is all that
 * overload costs, so it is a few words that HPACK has in its table from the second time on.
 *
 * HTTP/1.1 has one call a connection, which runs when it is read and has waited since its round began. Only what comes behind it
 * in one piece, more than a turn takes, gets in line, and what a heavy connection asks while others wait.
 */
#include "internal.h"

#include <freshet/clock.h>

enum {
    SLICE_US = 5000,
    BEHIND_SLICE_US = 10 * 1000, /* what is only refused is then read many at a time */
    HEAVY_SLICE_US = 500, /* where there are light ones, some may have come meanwhile … */
    LIGHT_AGO_US = 100 * 1000, /* … and there are none when none came for so long */
    TURN_US = 1000,
    TURN_CALLS = 8,
    LIGHT_US = 2000,
    FORGIVEN_SHARE = 20,
    SPENT_US_MAX = 50 * 1000, /* forgotten in a second */
    HEAVY_WAIT_US = 20 * 1000,
    RETRY_MS = 100,
    RETRY_STEP_MS = 25,
    RETRY_STEPS = 5,
    PACE_CALLS = 8,
    PACE_MORE_US = 20,
    PACE_US_MAX = 1000 * 1000
};

/* ---- The line ---- */

bool server__line_is_empty(const struct server__line *line)
{
    return !line->light.first && !line->heavy.first;
}

void server__line_count(struct server__connection *connection, int more)
{
    connection->place.waiting += more;
    if (connection->place.queue)
        connection->place.queue->waiting += more;
}

void server__line_charge(struct server__connection *connection, int64_t span_us, int64_t now_us)
{
    struct server__place *place = &connection->place;
    int64_t left_us = place->spent_us - (now_us - place->spent_at_us) / FORGIVEN_SHARE;

    place->spent_us = (left_us > 0 ? left_us : 0) + span_us;
    if (place->spent_us > SPENT_US_MAX)
        place->spent_us = SPENT_US_MAX;
    place->spent_at_us = now_us;
}

bool server__line_is_heavy(struct server__connection *connection, int64_t now_us)
{
    server__line_charge(connection, 0, now_us);
    return connection->place.spent_us > LIGHT_US;
}

void server__line_join(struct server__connection *connection)
{
    struct server__line *line = &connection->loop->line;
    struct server__place *place = &connection->place;
    int64_t now_us;

    if (place->queue)
        return;
    now_us = fr_clock_monotonic_us();
    if (server__line_is_empty(line)) {
        line->empty_us = now_us;
        line->slice_us = 0;
    }
    place->since_us = now_us;
    place->queue = server__line_is_heavy(connection, now_us) ? &line->heavy : &line->light;
    if (place->queue == &line->light)
        line->light_us = now_us;
    place->next = NULL;
    place->previous = place->queue->last;
    if (place->previous)
        place->previous->place.next = connection;
    else
        place->queue->first = connection;
    place->queue->last = connection;
    place->queue->waiting += place->waiting;
}

void server__line_leave(struct server__connection *connection)
{
    struct server__place *place = &connection->place;
    struct server__queue *queue = place->queue;

    if (!queue)
        return;
    place->queue = NULL;
    queue->waiting -= place->waiting;
    if (place->previous)
        place->previous->place.next = place->next;
    else
        queue->first = place->next;
    if (place->next)
        place->next->place.previous = place->previous;
    else
        queue->last = place->previous;
}

/* The light ones first; but who stands there for long gets every second turn. */
static struct server__connection *next_in_line(struct server__line *line, int64_t now_us)
{
    struct server__connection *heavy = line->heavy.first;
    bool is_heavy = heavy && (!line->light.first || (line->was_light && now_us - heavy->place.since_us > HEAVY_WAIT_US));

    line->was_light = !is_heavy;
    return is_heavy ? heavy : line->light.first;
}

/*
 * How long the line took for each call that it served of late, with all that the loop did besides. It learns step by step
 * that it got slow: a thread that was not run for 300 ms is no reason to send anyone away.
 */
static void keep_pace(struct server__line *line, int64_t now_us)
{
    if (line->slice_us != 0 && line->served < PACE_CALLS)
        return; /* goes on counting */
    if (line->slice_us != 0) {
        int64_t pace_us = (now_us - line->slice_us) / line->served;
        int more_us = (int)(pace_us < PACE_US_MAX ? pace_us : PACE_US_MAX) - line->pace_us;

        if (more_us > line->pace_us / 4 + PACE_MORE_US)
            more_us = line->pace_us / 4 + PACE_MORE_US;
        line->pace_us += more_us < 0 ? more_us / 2 : more_us;
    }
    line->slice_us = now_us;
    line->served = 0;
}

static void run_turn(struct server__connection *connection)
{
    connection->loop->line.running = connection;
    server__line_leave(connection);
    if (connection->protocol->run)
        connection->protocol->run(connection);
    if (!connection->is_dead)
        server__connection_resume(connection); /* it gets in line again when it has more */
    connection->loop->line.running = NULL;
}

/* How long calls run before the sockets are looked at again. */
static int64_t slice_us(struct server__line *line, int64_t now_us)
{
    if (!line->was_light && now_us - line->light_us < LIGHT_AGO_US)
        return HEAVY_SLICE_US;
    return now_us - line->empty_us > SERVER_BEHIND_US ? BEHIND_SLICE_US : SLICE_US;
}

void server__line_run(struct server__loop *loop)
{
    struct server__line *line = &loop->line;
    int64_t now_us, begun_us;

    if (server__line_is_empty(line))
        return;
    begun_us = now_us = fr_clock_monotonic_us();
    keep_pace(line, now_us);
    do {
        struct server__connection *connection = next_in_line(line, now_us);
        int64_t turn_us = now_us;

        run_turn(connection); /* one that dies is kept until the round is over */
        now_us = fr_clock_monotonic_us();
        server__line_charge(connection, now_us - turn_us, now_us);
    } while (!server__line_is_empty(line) && now_us < begun_us + slice_us(line, now_us));
}

void server__line_begin_turn(struct server__loop *loop)
{
    loop->line.turn_us = fr_clock_monotonic_us();
    loop->line.turn_calls = 0;
}

bool server__line_is_turn_over(struct server__loop *loop)
{
    int64_t span_us = loop->line.running && !loop->line.was_light ? HEAVY_SLICE_US : TURN_US;

    return ++loop->line.turn_calls >= TURN_CALLS || fr_clock_monotonic_us() >= loop->line.turn_us + span_us;
}

/* ---- Who is still served ---- */

/* For how long there has been more to do than was done. */
static int64_t behind_us(const struct server__loop *loop, int64_t now_us)
{
    int64_t since_us = server__line_is_empty(&loop->line) ? now_us : loop->line.empty_us;

    return now_us - (loop->round_us != 0 && loop->round_us < since_us ? loop->round_us : since_us);
}

/* How long a call that came at `from_us` may wait while the loop is behind. */
static int64_t patience_us(const struct server__call *call, int64_t from_us)
{
    int64_t most_us = call->loop->server->options.limits.wait_ms * 1000;

    if (call->seen.deadline_us == INT64_MAX || call->seen.deadline_us - from_us >= 2 * most_us)
        return most_us;
    return (call->seen.deadline_us - from_us) / 2;
}

/* Slow calls have a bound of their own. */
static bool can_be_shed(const struct server__call *call)
{
    return call->status == SERVER_STATUS_OK && call->method->method && !call->method->method->is_slow &&
           !call->method->method->is_never_shed;
}

static void shed(struct server__call *call, struct fr_counter *counter)
{
    server__call_shed(call, "the node is overloaded; retry later, or elsewhere");
    fr_counter_add(counter, 1);
}

int server__line_retry_ms(struct server__loop *loop)
{
    loop->line.refused++; /* spread, or they all come again at once */
    return RETRY_MS + RETRY_STEP_MS * (int)(loop->line.refused % RETRY_STEPS);
}

/* How many requests come before one that this connection sends now. */
static int ahead_of(struct server__connection *connection, int64_t now_us)
{
    const struct server__line *line = &connection->loop->line;
    int all = line->light.waiting + line->heavy.waiting;
    int light = 2 * line->light.waiting + 1; /* every second turn may be a heavy one's */

    return all <= light || server__line_is_heavy(connection, now_us) ? all : light;
}

void server__line_foresee(struct server__call *call, struct server__connection *connection, int64_t now_us)
{
    const struct server__line *line = &call->loop->line;
    struct server *server = call->loop->server;
    int ahead = ahead_of(connection, now_us);
    int64_t foreseen_us = (int64_t)ahead * line->pace_us;
    int64_t most_us = patience_us(call, now_us);

    if (!can_be_shed(call))
        return;
    if (ahead >= server->options.limits.queued_calls)
        shed(call, server->shed_full);
    else if (foreseen_us > call->seen.deadline_us - now_us)
        shed(call, server->shed_wait);
    else if (foreseen_us > most_us && behind_us(call->loop, now_us) > (most_us < SERVER_BEHIND_US ? most_us : SERVER_BEHIND_US))
        shed(call, server->shed_wait);
}

bool server__line_admits(struct server__call *call)
{
    struct server__loop *loop = call->loop;
    int64_t now_us = fr_clock_monotonic_us();
    int64_t waited_us = now_us - call->whole_us;
    int64_t left_us = call->seen.deadline_us - now_us;
    int *expected_us = &loop->expected_us[call->method->index];

    if (call->status != SERVER_STATUS_OK)
        return false;
    fr_histogram_add_us(loop->server->waits, waited_us);
    if (left_us < *expected_us || left_us <= 0) {
        server__call_refuse(call, SERVER_STATUS_DEADLINE_EXCEEDED,
                            left_us > 0 ? "too little is left of the deadline for such a call: not begun"
                                        : "the deadline passed before the call began");
        fr_counter_add(loop->server->shed_deadline, 1);
        *expected_us -= (*expected_us + 7) / 8; /* a guess that was wrong once must not refuse for ever */
    } else if (can_be_shed(call) && behind_us(loop, now_us) > SERVER_BEHIND_US &&
               waited_us > patience_us(call, call->whole_us) * 3 / 2) {
        shed(call, loop->server->shed_wait); /* the line moved slower than was foreseen */
    }
    loop->line.served += call->status == SERVER_STATUS_OK;
    return call->status == SERVER_STATUS_OK;
}

void server__line_learn(struct server__call *call, int64_t begun_us)
{
    int *expected_us = &call->loop->expected_us[call->method->index];
    int64_t took_us = fr_clock_monotonic_us() - begun_us;

    if (took_us > INT32_MAX / 2)
        took_us = INT32_MAX / 2;
    *expected_us = took_us < *expected_us ? (int)took_us : *expected_us + ((int)took_us - *expected_us) / 16;
}
