/*
 * One transaction an epoch. Records are in their logs before the offsets are sent, and the offsets go under the generation of the
 * assignment; so either the group refuses them, or whoever gets the partitions next finds the records before the end that he asks for.
 */
#include "group_internal.h"

#include <freshet/fault.h>

enum { WAIT_MS = 50, FLUSH_MS = 10000, COMMIT_MS = 10000, ATTEMPTS = 3 };

void ingest_transaction__on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct ingest_group *group = opaque;
    int64_t *offset = message->_private;

    (void)client;
    if (message->err)
        group->refused = message->err;
    else if (offset)
        *offset = message->offset;
}

/* Takes `error`; NULL: none. */
static bool pass(const struct ingest_group *group, rd_kafka_error_t *error, const char *what, struct fr_err *err)
{
    if (!error)
        return true;
    fr_fail(err, FR_UNAVAILABLE, "cluster: %s of '%s' failed, and what became of the epoch is not known here: %s (%s)", what,
            group->options.instance, rd_kafka_error_string(error), rd_kafka_error_name(error));
    rd_kafka_error_destroy(error);
    return false;
}

bool ingest_transaction_begin(struct ingest_group *group, struct fr_err *err)
{
    group->refused = RD_KAFKA_RESP_ERR_NO_ERROR;
    return pass(group, rd_kafka_begin_transaction(group->producer), "the beginning of a transaction", err);
}

bool ingest_transaction_put(struct ingest_group *group, const struct ingest_put *put, int64_t *offset, struct fr_err *err)
{
    rd_kafka_resp_err_t error;

    for (;;) {
        error = rd_kafka_producev(group->producer, RD_KAFKA_V_TOPIC(put->topic),
                                  RD_KAFKA_V_PARTITION(put->partition < 0 ? RD_KAFKA_PARTITION_UA : put->partition),
                                  RD_KAFKA_V_KEY(put->key.bytes, put->key.length),
                                  RD_KAFKA_V_VALUE((void *)(uintptr_t)put->value.bytes, put->value.length),
                                  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(offset), RD_KAFKA_V_END);
        if (error != RD_KAFKA_RESP_ERR__QUEUE_FULL)
            break;
        rd_kafka_poll(group->producer, WAIT_MS);
    }
    return error == RD_KAFKA_RESP_ERR_NO_ERROR ||
           fr_fail(err, FR_UNAVAILABLE, "cluster: '%s' does not take a record of %zu bytes: %s", put->topic, put->value.length,
                   rd_kafka_err2str(error));
}

static bool send_offsets(struct ingest_group *group, const rd_kafka_topic_partition_list_t *offsets, struct fr_err *err)
{
    rd_kafka_error_t *error = NULL;

    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        error = rd_kafka_send_offsets_to_transaction(group->producer, offsets, group->metadata, COMMIT_MS);
        if (!error || !rd_kafka_error_is_retriable(error) || attempt + 1 == ATTEMPTS)
            break;
        rd_kafka_error_destroy(error);
    }
    return pass(group, error, "sending offsets", err);
}

static bool commit(struct ingest_group *group, struct fr_err *err)
{
    rd_kafka_error_t *error = NULL;

    for (int attempt = 0; attempt < ATTEMPTS; attempt++) {
        error = rd_kafka_commit_transaction(group->producer, COMMIT_MS);
        if (!error || !rd_kafka_error_is_retriable(error) || attempt + 1 == ATTEMPTS)
            break;
        rd_kafka_error_destroy(error);
    }
    return pass(group, error, "the commit of a transaction", err);
}

static bool flush(struct ingest_group *group, struct fr_err *err)
{
    return (rd_kafka_flush(group->producer, FLUSH_MS) == RD_KAFKA_RESP_ERR_NO_ERROR && !group->refused) ||
           fr_fail(err, FR_UNAVAILABLE, "cluster: records of an epoch did not come to the brokers at %s: %s",
                   group->options.brokers, rd_kafka_err2str(group->refused ? group->refused : RD_KAFKA_RESP_ERR__TIMED_OUT));
}

bool ingest_transaction_tell(struct ingest_group *group, struct fr_err *err)
{
    return flush(group, err) && commit(group, err);
}

bool ingest_transaction_commit(struct ingest_group *group, const struct ingest_consumed *consumed, int count,
                               struct fr_err *err)
{
    rd_kafka_topic_partition_list_t *offsets;
    bool ok;

    if (!group->metadata)
        return fr_fail(err, FR_UNAVAILABLE, "cluster: '%s' owns nothing any more, and so writes nothing",
                       group->options.instance);
    if (!flush(group, err))
        return false;
    fr_fault_meet(FR_FAULT_MID_TRANSACTION);
    offsets = rd_kafka_topic_partition_list_new(count > 0 ? count : 1);
    for (int i = 0; i < count; i++)
        rd_kafka_topic_partition_list_add(offsets, consumed[i].topic, consumed[i].partition)->offset = consumed[i].next_offset;
    ok = send_offsets(group, offsets, err) && commit(group, err);
    rd_kafka_topic_partition_list_destroy(offsets);
    return ok;
}
