/*
 * A connection of the client that offers calls at a rate, whether or not the ones before are answered, as many clients together
 * do: many calls at once, each with a deadline.
 */
#ifndef BENCH_OFFER_H
#define BENCH_OFFER_H

#include <freshet/buffer.h>

#include <stdbool.h>

enum offer_end { OFFER_GOOD, OFFER_LATE, OFFER_SHED, OFFER_EXPIRED, OFFER_FAILED, OFFER_UNSENT, OFFER_ENDS };

struct offer {
    struct fr_buffer *messages; /* with gRPC's prefix; used in turn */
    int message_count;
    int deadline_ms;
    uint64_t asked;
    uint64_t ends[OFFER_ENDS];
    struct fr_buffer latencies; /* of the good ones, int microseconds */
};

struct offer_session {
    struct offer *offer;
    int fd;
    void *session;
    int open; /* calls */
    struct fr_buffer out; /* to be sent */
    size_t out_at;
};

enum { OFFER_OPEN_MAX = 120 }; /* calls on a connection; a server takes 128 */

/* Each says on stderr what went wrong when it returns false. */
bool offer_session_open(struct offer_session *session);
bool offer_session_ask(struct offer_session *session, int64_t due_us); /* its time runs from then on */
bool offer_session_flush(struct offer_session *session); /* what the socket takes */
bool offer_session_read(struct offer_session *session);
void offer_session_close(struct offer_session *session);

#endif
