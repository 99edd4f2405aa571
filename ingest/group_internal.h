/* What group.c, transaction.c and tail.c share. */
#ifndef FRESHET_INGEST_GROUP_INTERNAL_H
#define FRESHET_INGEST_GROUP_INTERNAL_H

#include "internal.h"

#include <freshet/group.h>

#define INGEST_TRANSACTION_HEADER "instance" /* of the first record in a partition */

struct ingest_group {
    struct ingest_group_options options;
    rd_kafka_t *member; /* reads nothing; asks for ends, open transactions included */
    rd_kafka_t *producer;
    rd_kafka_consumer_group_metadata_t *metadata; /* of the assignment there is; NULL between two, when nobody looks at it */
    _Atomic bool is_to_drain;
    bool is_drained; /* it has left; the group's thread */
    bool is_unsettled; /* partitions went while the node closed; the same */
    int64_t waits_ms, tell_ms; /* since when it waits for what it is given next, 0: it does not; when that is said; the same */
    pthread_t thread;
    bool is_started;
    atomic_bool is_stopping, is_failed;
    int64_t step_ms; /* one of a transaction that takes longer will not end */
    int64_t stall_ms; /* nor will it where none of its records arrives for so long */
    rd_kafka_resp_err_t refused; /* what a record of the transaction met; the committer's, like these two */
    bool is_decided; /* its commit was asked for: from here on only Kafka knows */
    bool is_over; /* it was fenced, or would fail again: none is to follow */
};

/* A producer of the same name in place of the one there is, or was; that one stays when it fails. The committer's thread. */
FR_CHECKED bool ingest_group__renew_producer(struct ingest_group *group, struct fr_err *err);
void ingest_transaction__on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque);

#endif
