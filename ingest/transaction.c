/*
 * One transaction an epoch. Records are in their logs before the offsets are sent, and the offsets go under the generation of the
 * assignment; so either the group refuses them, or whoever gets the partitions next finds the records before the end that he asks for.
 *
 * A broker that dies costs a pause: what may be asked again is asked again, in slices, so that an instance that failed meanwhile ends.
 * Up to the first word of the commit nothing can count, so what broke off before that is taken back and put once more by whoever has it.
 *
 * A client that failed, or stands still, is not asked to take it back: of a transaction of which the coordinator has not heard yet librdkafka
 * 2.0.2 makes an error that it does not get over (INVALID_TXN_STATE). Another one is made, whose beginning ends what the last one began.
 */
#include "group_internal.h"

#include <freshet/clock.h>
#include <freshet/fault.h>

enum {
    WAIT_MS = 50,
    FLUSH_MS = 500,
    SLICE_MS = 2000, /* of a question to the coordinators */
    STOPPING_MS = 10000, /* of a node that closes */
};

void ingest_transaction__on_delivery(rd_kafka_t *client, const rd_kafka_message_t *message, void *opaque)
{
    struct ingest_group *group = opaque;
    int64_t *offset = message->_private;

    (void)client;
    if (message->err)
        group->refused = message->err;
    else if (offset &&
             message->offset < 0) /* it is there, from an attempt whose answer was lost, and librdkafka knows no more */
        group->refused = RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER;
    else if (offset)
        *offset = message->offset;
}

/* Whether a step that began at `began_ms` may be tried again. */
static bool may_go_on(const struct ingest_group *group, int64_t began_ms)
{
    int64_t most_ms = atomic_load(&group->is_stopping) ? STOPPING_MS : group->step_ms;

    return !atomic_load(&group->is_failed) && fr_clock_monotonic_ms() - began_ms < most_ms;
}

/* The group took this instance for dead, or another has its name: there is nothing to try again. */
static bool is_fencing(rd_kafka_resp_err_t error)
{
    switch (error) {
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR__FENCED:
        return true;
    default:
        return false;
    }
}

/* What to do about it; "" of what is no fencing, or needs no word. */
static const char *mend_of(rd_kafka_resp_err_t error)
{
    switch (error) {
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
        return "; the group has taken it for dead, start it again";
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR__FENCED:
        return "; another process runs with the same node.id (give each its own), or the group has taken it for dead (start it "
               "again)";
    default:
        return "";
    }
}

/* What brokers say while one of them is away, or what follows from it. Anything else would be said again. */
static bool is_of_brokers(rd_kafka_resp_err_t error)
{
    switch (error) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
    case RD_KAFKA_RESP_ERR__STATE: /* an earlier record's failure has ended the transaction */
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__PURGE_QUEUE:
    case RD_KAFKA_RESP_ERR__PURGE_INFLIGHT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER: /* of an offset that is needed */
        return true;
    default:
        return false;
    }
}

/* Takes `error`; NULL: none. */
static bool pass(struct ingest_group *group, rd_kafka_error_t *error, const char *what, struct fr_err *err)
{
    if (!error)
        return true;
    group->is_over = group->is_over || is_fencing(rd_kafka_error_code(error));
    fr_fail(err, FR_UNAVAILABLE, "cluster: %s of '%s' failed%s: %s (%s)%s", what, group->options.instance,
            group->is_decided ? ", and what became of the epoch is not known here" : "", rd_kafka_error_string(error),
            rd_kafka_error_name(error), mend_of(rd_kafka_error_code(error)));
    rd_kafka_error_destroy(error);
    return false;
}

/* True: `error`, which is freed then, is of the moment, and its step is to be done once more. */
static bool is_passing(const struct ingest_group *group, rd_kafka_error_t *error, int64_t began_ms)
{
    if (!error || !rd_kafka_error_is_retriable(error) || !may_go_on(group, began_ms))
        return false;
    rd_kafka_error_destroy(error);
    fr_clock_sleep_ms(WAIT_MS);
    return true;
}

bool ingest_transaction_begin(struct ingest_group *group, struct fr_err *err)
{
    group->refused = RD_KAFKA_RESP_ERR_NO_ERROR;
    group->is_decided = false;
    group->is_over = false;
    return pass(group, rd_kafka_begin_transaction(group->producer), "the beginning of a transaction", err);
}

static rd_kafka_resp_err_t produce(struct ingest_group *group, const struct ingest_put *put, int64_t *offset)
{
    rd_kafka_headers_t *headers = put->is_signed ? rd_kafka_headers_new(1) : NULL;
    rd_kafka_resp_err_t error;

    if (headers)
        rd_kafka_header_add(headers, INGEST_TRANSACTION_HEADER, -1, group->options.instance, -1);
    error = rd_kafka_producev(group->producer, RD_KAFKA_V_TOPIC(put->topic),
                              RD_KAFKA_V_PARTITION(put->partition < 0 ? RD_KAFKA_PARTITION_UA : put->partition),
                              RD_KAFKA_V_KEY(put->key.bytes, put->key.length),
                              RD_KAFKA_V_VALUE((void *)(uintptr_t)put->value.bytes, put->value.length),
                              RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_OPAQUE(offset), RD_KAFKA_V_HEADERS(headers),
                              RD_KAFKA_V_END);
    if (headers && error)
        rd_kafka_headers_destroy(headers); /* else they are the message's now */
    return error;
}

bool ingest_transaction_put(struct ingest_group *group, const struct ingest_put *put, int64_t *offset, struct fr_err *err)
{
    rd_kafka_resp_err_t error;

    while ((error = produce(group, put, offset)) == RD_KAFKA_RESP_ERR__QUEUE_FULL)
        rd_kafka_poll(group->producer, WAIT_MS);
    group->is_over = group->is_over || !is_of_brokers(error);
    return error == RD_KAFKA_RESP_ERR_NO_ERROR ||
           fr_fail(err, FR_UNAVAILABLE, "cluster: '%s' does not take a record of %zu bytes: %s", put->topic, put->value.length,
                   rd_kafka_err2str(error));
}

static bool send_offsets(struct ingest_group *group, const rd_kafka_topic_partition_list_t *offsets, struct fr_err *err)
{
    int64_t began_ms = fr_clock_monotonic_ms();
    rd_kafka_error_t *error;

    do
        error = rd_kafka_send_offsets_to_transaction(group->producer, offsets, group->metadata, SLICE_MS);
    while (is_passing(group, error, began_ms));
    return pass(group, error, "sending offsets", err);
}

static bool commit(struct ingest_group *group, struct fr_err *err)
{
    int64_t began_ms = fr_clock_monotonic_ms();
    rd_kafka_error_t *error;

    group->is_decided = true;
    do
        error = rd_kafka_commit_transaction(group->producer, SLICE_MS);
    while (is_passing(group, error, began_ms));
    return pass(group, error, "the commit of a transaction", err);
}

/* Until all records are in their logs, one was refused, or none came there for too long. */
static rd_kafka_resp_err_t flush_on(const struct ingest_group *group)
{
    int64_t began_ms = fr_clock_monotonic_ms(), moved_ms = began_ms;
    int left = rd_kafka_outq_len(group->producer);
    rd_kafka_resp_err_t error;
    bool is_to_wait;

    do {
        int before = left;

        error = rd_kafka_flush(group->producer, FLUSH_MS);
        left = rd_kafka_outq_len(group->producer);
        if (left != before)
            moved_ms = fr_clock_monotonic_ms();
        is_to_wait = error == RD_KAFKA_RESP_ERR__TIMED_OUT && !group->refused && may_go_on(group, began_ms) &&
                     fr_clock_monotonic_ms() - moved_ms < group->stall_ms;
    } while (is_to_wait);
    return error;
}

/* A record that nobody took ends it: librdkafka gives up after transaction.timeout.ms. */
static bool flush(struct ingest_group *group, struct fr_err *err)
{
    rd_kafka_resp_err_t error = flush_on(group), fatal;
    char why[256];

    if (error == RD_KAFKA_RESP_ERR_NO_ERROR && !group->refused)
        return true;
    fatal = rd_kafka_fatal_error(group->producer, why, sizeof why);
    group->is_over = group->is_over || !is_of_brokers(group->refused) || is_fencing(fatal);
    if (fatal) /* of which the records' own error is what follows: they were purged */
        return fr_fail(err, FR_UNAVAILABLE, "cluster: an epoch of '%s' failed: %s%s", group->options.instance, why,
                       mend_of(fatal));
    return fr_fail(err, FR_UNAVAILABLE, "cluster: records of an epoch did not come to the brokers at %s: %s",
                   group->options.brokers, rd_kafka_err2str(group->refused ? group->refused : error));
}

bool ingest_transaction_commit(struct ingest_group *group, const struct ingest_consumed *consumed, int count,
                               struct fr_err *err)
{
    rd_kafka_topic_partition_list_t *offsets;
    bool ok;

    if (!group->metadata) {
        group->is_over = true;
        return fr_fail(err, FR_UNAVAILABLE, "cluster: '%s' owns nothing any more, and so writes nothing",
                       group->options.instance);
    }
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

bool ingest_transaction_take_back(struct ingest_group *group, struct fr_err *err)
{
    int64_t began_ms = fr_clock_monotonic_ms();
    rd_kafka_error_t *error;

    if (group->is_decided || group->is_over || atomic_load(&group->is_stopping) || !may_go_on(group, began_ms) ||
        !ingest_group__renew_producer(group, err))
        return false;
    do
        error = rd_kafka_init_transactions(group->producer, SLICE_MS);
    while (is_passing(group, error, began_ms));
    return pass(group, error, "taking back a transaction", err);
}
