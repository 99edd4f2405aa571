/* What owners of an outbox do with it. */
#ifndef LEARNER_OUTBOX_INTERNAL_H
#define LEARNER_OUTBOX_INTERNAL_H

#include <freshet/outbox.h>

#include <freshet/message.h>

/* Empty, from what the epoch says of it; then what the store has is told, chunk by chunk. */
void learner_outbox__init(struct learner_outbox *outbox, struct store *store, int kind, int64_t next, int64_t acknowledged);
void learner_outbox__find(struct learner_outbox *outbox, int64_t position, uint64_t bytes);

/* Appends a record to a chunk; a failure is the buffer's. */
void learner_outbox__append(struct fr_buffer *chunk, uint64_t of, uint64_t user_id, const ProtobufCMessage *message);

/* Puts the chunk in when it is not empty, and clears it. Inside the gate. False: out of memory. */
FR_CHECKED bool learner_outbox__put(struct learner_outbox *outbox, struct fr_buffer *chunk);

#endif
