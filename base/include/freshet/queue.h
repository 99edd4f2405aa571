/*
 * A bounded queue of owned messages between threads: what is sent belongs to the queue, what is received to the receiver.
 * Full means that the sender waits or slows its source down. Any thread, many senders and receivers.
 */
#ifndef FRESHET_QUEUE_H
#define FRESHET_QUEUE_H

#include <freshet/error.h>

struct fr_queue;

/* At most `capacity` messages. NULL when out of memory. */
struct fr_queue *fr_queue_new(int capacity);

/* The queue must be closed and empty (fr_queue_receive returned false); takes NULL. */
void fr_queue_free(struct fr_queue *queue);

/*
 * Takes *message and leaves NULL behind. Waits up to `timeout_ms` (0: not at all, −1: for ever) for room.
 * False when full for that long or closed; *message then stays the caller's.
 */
bool fr_queue_send(struct fr_queue *queue, void **message, int timeout_ms);

/* The oldest message into *message; waits likewise. False when nothing came, or closed and empty. */
bool fr_queue_receive(struct fr_queue *queue, void **message, int timeout_ms);

/* Senders fail from now on; receivers drain what is left. Safe to call twice. */
void fr_queue_close(struct fr_queue *queue);

bool fr_queue_is_closed(struct fr_queue *queue);
int fr_queue_length(struct fr_queue *queue);

#endif
