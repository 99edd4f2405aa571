/*
 * Named points at which a node under test is told to die, to fail or to wait (RELIABILITY's C01 to C14). Only a build for tests has them
 * (FRESHET_FAULTS: the target freshet-faults of tests/faults/); in what ships each is nothing at all.
 *
 * FRESHET_FAULT, in the environment, arms one of them: "POINT:N:ACTION", at the N-th time it is met, from 1. ACTION is
 *   kill: SIGKILL at once · kill+US: from a thread beside, after so many microseconds, for what happens inside a library ·
 *   error: the point fails with FR_UNAVAILABLE; one that cannot fail goes on · delay+MS: it waits ·
 *   hold: it waits for as long as the file FRESHET_FAULT_FILE is there.
 * Thread: any.
 */
#ifndef FRESHET_FAULT_H
#define FRESHET_FAULT_H

#include <freshet/error.h>

enum fr_fault_point {
    FR_FAULT_AFTER_POLL, /* records fetched, none judged */
    FR_FAULT_AFTER_DECODE, /* a batch is made and not handed over */
    FR_FAULT_MID_APPLY, /* events are in the state, offsets are not: inside the gate */
    FR_FAULT_AFTER_GATE, /* a batch is applied */
    FR_FAULT_MID_TRANSACTION, /* of a cluster: an epoch's records are with the brokers, its offsets are not */
    FR_FAULT_BEFORE_FENCE, /* of a cluster: what somebody left open, who is not in the group, is about to be ended */
    FR_FAULT_MID_SST_WRITE, /* half of an epoch's records are written */
    FR_FAULT_AFTER_SST_FINISH, /* the epoch's file is whole and not in the store */
    FR_FAULT_MID_INGEST, /* RocksDB is about to take it over */
    FR_FAULT_AFTER_INGEST_BEFORE_KAFKA_COMMIT, /* the epoch is durable, Kafka does not know */
    FR_FAULT_MID_COMPACTION, /* met for each value that a compaction keeps */
    FR_FAULT_MID_CHECKPOINT, /* the epoch of a backup is durable, nothing is copied */
    FR_FAULT_MID_BACKUP, /* before files are copied, and before they are verified */
    FR_FAULT_MID_MODEL_CHECKPOINT, /* half of a model's rows are written */
    FR_FAULT_MID_OPEN, /* RocksDB is open, nothing of it is read; and when all is read */
    FR_FAULT_MID_USERS_WRITE, /* of a cluster: a file of users is written, and has not its name yet */
    FR_FAULT_MID_USERS_READ, /* a thousand records of one are in the state, how far they go is not */
    FR_FAULT_MID_RESTORE, /* before files are copied back, and before the directory is marked as a store */
    FR_FAULTS
};

#ifdef FRESHET_FAULTS

/* False, with `err`, when the point is to fail. */
FR_CHECKED bool fr_fault(enum fr_fault_point point, struct fr_err *err);

/* For a point that cannot fail. */
void fr_fault_meet(enum fr_fault_point point);

#else

static inline bool fr_fault(enum fr_fault_point point, struct fr_err *err)
{
    (void)point;
    (void)err;
    return true;
}

static inline void fr_fault_meet(enum fr_fault_point point)
{
    (void)point;
}

#endif

#endif
