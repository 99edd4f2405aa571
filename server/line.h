/*
 * The line of a loop: connections whose requests are whole and wait for their turn (line.c has the idea). On its loop.
 */
#ifndef FRESHET_SERVER_LINE_H
#define FRESHET_SERVER_LINE_H

#include <stdbool.h>
#include <stdint.h>

struct server__call;
struct server__connection;
struct server__loop;

enum { SERVER_BEHIND_US = 200 * 1000 }; /* a loop whose line has not been empty for so long is behind */

/* What a connection has to do with its loop's line. */
struct server__place {
    struct server__connection *previous, *next; /* while it stands there */
    struct server__queue *queue; /* NULL: it does not */
    int waiting; /* requests that are whole */
    int64_t since_us; /* it got in line then */
    int64_t spent_us; /* of the loop's time of late, as of … */
    int64_t spent_at_us;
};

struct server__queue {
    struct server__connection *first, *last;
    int waiting; /* requests of those connections */
};

struct server__line {
    struct server__queue light, heavy; /* who asked for little of late, and who for much */
    struct server__connection *running; /* whose turn it is */
    bool was_light; /* the turn before */
    int64_t light_us; /* when the last light one came */
    int64_t empty_us; /* since when it is not empty */
    int64_t slice_us; /* when it was last run; 0: not since it was empty */
    int served; /* calls, since then */
    int64_t turn_us; /* when the turn of this connection began */
    int turn_calls;
    int pace_us; /* for each, of late */
    uint64_t refused;
};

bool server__line_is_empty(const struct server__line *line);
void server__line_join(struct server__connection *connection); /* at the end, unless it stands there already */
void server__line_leave(struct server__connection *connection); /* if it is in it */
void server__line_count(struct server__connection *connection, int more); /* so many more of its requests wait */
void server__line_run(struct server__loop *loop); /* until it is empty, but for a few milliseconds at most */

/* So much of the loop's time went to this connection, until now. */
void server__line_charge(struct server__connection *connection, int64_t span_us, int64_t now_us);

/* True when it has asked for so much of late that others come first: its requests are to wait in line. */
bool server__line_is_heavy(struct server__connection *connection, int64_t now_us);

/* A connection may run calls: one, and more until the turn is over. */
void server__line_begin_turn(struct server__loop *loop);
bool server__line_is_turn_over(struct server__loop *loop); /* a call was run */

/* The head of a request of that connection is whole: refuses it when it would have to wait too long. */
void server__line_foresee(struct server__call *call, struct server__connection *connection, int64_t now_us);

/* Whether a whole request is to be worked on, now that its turn has come; else it is refused, if it was not, and says why. */
bool server__line_admits(struct server__call *call);
void server__line_learn(struct server__call *call, int64_t begun_us); /* it ran from then until now */
int server__line_retry_ms(struct server__loop *loop);

#endif
