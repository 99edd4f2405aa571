/*
 * An outbox: records on their way to Kafka, in chunks, one entity of the store each, numbered in the order in which they were made. A chunk is
 * durable with the state that made it and is produced after that, so a crash can neither lose a record nor make a second one of the same.
 *
 * Its owner (the join, sessions) puts chunks inside the gate and saves with each epoch how far it is; one thread reads, acknowledges and
 * drops.
 */
#ifndef FRESHET_OUTBOX_H
#define FRESHET_OUTBOX_H

#include <freshet/buffer.h>
#include <freshet/store.h>

#include <stdatomic.h>

struct learner_outbox {
    struct store *store;
    int kind; /* of its entities */
    _Atomic int64_t next_position;
    _Atomic int64_t acknowledged; /* chunks before it */
    int64_t first_position; /* at open */
    _Atomic uint64_t bytes;
};

/* What was acknowledged before this run, as the epoch has it, and the first chunk that may be there. */
int64_t learner_outbox_acknowledged(const struct learner_outbox *outbox);
int64_t learner_outbox_first(const struct learner_outbox *outbox);

/* All chunks before `position` were acknowledged by Kafka; durable with the next epoch. */
void learner_outbox_acknowledge(struct learner_outbox *outbox, int64_t position);

/* A copy of a chunk; empty when there is none (any more). Blocks on the disk. */
FR_CHECKED bool learner_outbox_read(struct learner_outbox *outbox, int64_t position, struct fr_buffer *chunk,
                                    struct fr_err *err);

/* Deletes a chunk, with the next epoch. */
FR_CHECKED bool learner_outbox_drop(struct learner_outbox *outbox, int64_t position, struct fr_err *err);

/* One record of a chunk. `wire` borrows from it. */
struct learner_outbox_entry {
    uint64_t user_id;
    uint64_t of; /* what it is: its owner knows */
    struct fr_slice wire;
};
/* Takes the next one off the reader; false at the end, or when the bytes make no sense (the reader is failed). */
bool learner_outbox_next(struct fr_reader *reader, struct learner_outbox_entry *entry);

#endif
