/*
 * What somebody who died left open. An open transaction hides what comes after it until its time is out; whoever begins with its id ends
 * it at once, and refuses what the dead one would still send. Who it is says the first record of it in each partition, which lies where
 * readers of committed records stand. Of a member who lives it must not be done: the group is asked first.
 */
#include "group_internal.h"

#include <freshet/clock.h>
#include <freshet/fault.h>

#include <stdio.h>
#include <string.h>

enum { ASK_MS = 3000, QUESTION_MS = 600000, PEEK_MS = 2000, SLICE_MS = 100, END_MS = 10000 };

/* ---- who is in the group ---- */

static bool take_members(rd_kafka_event_t *event, const char *instance, struct ingest_members *members, struct fr_err *err)
{
    const rd_kafka_DescribeConsumerGroups_result_t *result = rd_kafka_event_DescribeConsumerGroups_result(event);
    const rd_kafka_ConsumerGroupDescription_t **groups;
    size_t count = 0;

    if (!result)
        return fr_fail(err, FR_UNAVAILABLE, "%s", event ? rd_kafka_event_error_string(event) : "no broker answers");
    groups = rd_kafka_DescribeConsumerGroups_result_groups(result, &count);
    if (count != 1 || rd_kafka_ConsumerGroupDescription_error(groups[0]))
        return fr_fail(err, FR_UNAVAILABLE, "%s",
                       count == 1 ? rd_kafka_error_string(rd_kafka_ConsumerGroupDescription_error(groups[0])) : "no answer");
    *members = (struct ingest_members){.count = (int)rd_kafka_ConsumerGroupDescription_member_count(groups[0])};
    for (size_t i = 0; i < (size_t)members->count; i++) {
        const char *name = rd_kafka_MemberDescription_group_instance_id(rd_kafka_ConsumerGroupDescription_member(groups[0], i));

        members->has_it = members->has_it || (name && strcmp(name, instance) == 0);
    }
    return true;
}

/*
 * By a client of its own, which goes before the question's time is out: librdkafka 2.0.2 frees what a question that waited in vain for a
 * coordinator has in common with the search for it, and when one turns up later, touches that. (An assertion ends the process, or its main
 * thread waits for ever.)
 */
bool ingest_group_members(struct ingest_group *group, const char *instance, struct ingest_members *members, struct fr_err *err)
{
    struct ingest_client as = {.role = INGEST_WITNESS,
                               .brokers = group->options.brokers,
                               .properties = group->options.properties,
                               .property_count = group->options.property_count};
    rd_kafka_AdminOptions_t *options;
    rd_kafka_queue_t *answers;
    rd_kafka_event_t *event = NULL;
    rd_kafka_t *client;
    struct fr_err why;
    bool ok;

    if (!ingest_client__new(&as, &client, err))
        return false;
    answers = rd_kafka_queue_new(client);
    options = rd_kafka_AdminOptions_new(client, RD_KAFKA_ADMIN_OP_DESCRIBECONSUMERGROUPS);
    if (options) {
        (void)rd_kafka_AdminOptions_set_request_timeout(options, QUESTION_MS, NULL, 0);
        rd_kafka_DescribeConsumerGroups(client, (const char **)&group->options.group, 1, options, answers);
        event = rd_kafka_queue_poll(answers, ASK_MS);
        rd_kafka_AdminOptions_destroy(options);
    }
    ok = take_members(event, instance, members, &why) ||
         fr_fail(err, FR_UNAVAILABLE, "cluster: nobody says who is in group '%s': %s", group->options.group, why.message);
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_queue_destroy(answers);
    rd_kafka_destroy(client);
    return ok;
}

/* ---- who left it open ---- */

/* The name in the record's header; "": it has none. */
static void take_name(const rd_kafka_message_t *message, char name[INGEST_NAME_BYTES])
{
    rd_kafka_headers_t *headers;
    const void *value;
    size_t length;

    if (rd_kafka_message_headers(message, &headers) == RD_KAFKA_RESP_ERR_NO_ERROR &&
        rd_kafka_header_get_last(headers, INGEST_TRANSACTION_HEADER, &value, &length) == RD_KAFKA_RESP_ERR_NO_ERROR &&
        length < INGEST_NAME_BYTES)
        snprintf(name, INGEST_NAME_BYTES, "%.*s", (int)length, (const char *)value);
}

/* By a client that sees what is not committed. */
static bool peek(struct ingest_group *group, const char *topic, int32_t partition, int64_t offset, char name[INGEST_NAME_BYTES],
                 struct fr_err *err)
{
    struct ingest_client as = {.role = INGEST_WITNESS,
                               .brokers = group->options.brokers,
                               .properties = group->options.properties,
                               .property_count = group->options.property_count};
    rd_kafka_message_t *message = NULL;
    rd_kafka_topic_t *handle;
    rd_kafka_t *client;

    name[0] = 0;
    if (!ingest_client__new(&as, &client, err))
        return false;
    handle = rd_kafka_topic_new(client, topic, NULL);
    if (handle && rd_kafka_consume_start(handle, partition, offset) == 0) {
        message = rd_kafka_consume(handle, partition, PEEK_MS);
        if (message && !message->err)
            take_name(message, name);
        rd_kafka_consume_stop(handle, partition);
    }
    if (!message || message->err || !name[0])
        fr_fail(err, FR_UNAVAILABLE, "cluster: who left a transaction open in '%s' [%d] at %lld is not told: %s", topic,
                (int)partition, (long long)offset,
                !message       ? "no broker answers"
                : message->err ? rd_kafka_err2str(message->err)
                               : "by its record");
    if (message)
        rd_kafka_message_destroy(message);
    if (handle)
        rd_kafka_topic_destroy(handle);
    rd_kafka_destroy(client);
    return name[0];
}

/* ---- ending it ---- */

/* What committed records can be read up to. */
static bool ask_stable(rd_kafka_t *client, const char *topic, int32_t partition, int timeout_ms, int64_t *stable)
{
    struct fr_err err; /* whoever asks says what it is for */

    return ingest_marks__ask(client, topic, &partition, 1, RD_KAFKA_OFFSET_END, timeout_ms, stable, &err);
}

/* That has moved: the transaction that began there is over. */
static bool is_over(rd_kafka_t *client, const char *topic, int32_t partition, int64_t offset)
{
    int64_t stable;

    return ask_stable(client, topic, partition, SLICE_MS, &stable) && stable > offset;
}

/*
 * Its coordinator writes the end of a transaction as soon as it hears the first request of who begins with the id, and says
 * meanwhile that it is busy, which librdkafka takes as a reason to wait for half a second. So the partition is looked at, too.
 */
static bool begin_as(rd_kafka_t *client, const char *topic, int32_t partition, int64_t offset, const char *instance,
                     struct fr_err *err)
{
    int64_t until_ms = fr_clock_monotonic_ms() + END_MS;
    rd_kafka_error_t *error = NULL;
    bool is_ended = false, is_to_wait;

    do {
        rd_kafka_error_destroy(error);
        error = rd_kafka_init_transactions(client, SLICE_MS);
        is_ended = !error || is_over(client, topic, partition, offset);
        is_to_wait = !is_ended && rd_kafka_error_is_retriable(error) && fr_clock_monotonic_ms() < until_ms;
    } while (is_to_wait);
    if (!is_ended)
        fr_fail(err, FR_UNAVAILABLE, "cluster: what '%s' left open cannot be ended: %s", instance,
                rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return is_ended;
}

/*
 * If it is still open. Who asks may have stood still himself, and the transaction be over for long: then who made it may live and be no
 * member, because he was drained, or is on his way, and would be fenced for nothing.
 */
static bool end(struct ingest_group *group, const char *topic, int32_t partition, int64_t offset, const char *instance,
                bool *is_ended, struct fr_err *err)
{
    struct ingest_client as = {.role = INGEST_TRANSACTIONS,
                               .brokers = group->options.brokers,
                               .properties = group->options.properties,
                               .property_count = group->options.property_count,
                               .group = group->options.group,
                               .instance = instance};
    rd_kafka_t *client;
    int64_t stable;
    bool ok;

    if (!ingest_client__new(&as, &client, err))
        return false;
    ok = ask_stable(client, topic, partition, PEEK_MS, &stable) ||
         fr_fail(err, FR_UNAVAILABLE, "cluster: '%s' [%d] does not say whether what '%s' began is open", topic, (int)partition,
                 instance);
    if (ok && stable <= offset)
        ok = *is_ended = begin_as(client, topic, partition, offset, instance, err);
    rd_kafka_destroy(client);
    return ok;
}

bool ingest_group_end(struct ingest_group *group, const char *topic, int32_t partition, int64_t offset,
                      char instance[INGEST_NAME_BYTES], bool *is_ended, struct fr_err *err)
{
    struct ingest_members members;

    *is_ended = false;
    if (!peek(group, topic, partition, offset, instance, err) || !ingest_group_members(group, instance, &members, err))
        return false;
    if (members.has_it)
        return true;
    fr_fault_meet(FR_FAULT_BEFORE_FENCE);
    return end(group, topic, partition, offset, instance, is_ended, err);
}
