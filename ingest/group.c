/*
 * A member of a consumer group that fetches nothing: its partitions are paused as they are assigned. Range assignment and static
 * membership: cooperative-sticky aborts librdkafka 2.0.2 when it closes before its first assignment (measured).
 */
#include "group_internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    POLL_MS = 100,
    FENCE_MS = 10000,
    TELL_MS = 5000,
    STEP_MS = 60000, /* or session.timeout.ms where that is longer: a transaction outlasts what its member does */
    STALL_MS = 15000, /* longer than brokers take to notice that one of them is dead: nine seconds by themselves */
    PARTITIONS_MAX = 1024
};

static void fail(struct ingest_group *group, const struct fr_err *err)
{
    if (atomic_exchange(&group->is_failed, true))
        return;
    group->options.fatal(group->options.user, err);
}

/* The numbers that were assigned of the first topic; every other must have the same. */
static bool numbers_of(const struct ingest_group *group, const rd_kafka_topic_partition_list_t *list, int32_t *numbers,
                       int *count, struct fr_err *err)
{
    const char *first = group->options.topics[0];

    *count = 0;
    for (int i = 0; i < list->cnt; i++)
        if (strcmp(list->elems[i].topic, first) == 0 && *count < PARTITIONS_MAX)
            numbers[(*count)++] = list->elems[i].partition;
    for (int i = 0; i < list->cnt; i++) {
        bool is_known = false;

        for (int k = 0; k < *count; k++)
            is_known = is_known || numbers[k] == list->elems[i].partition;
        if (!is_known)
            return fr_fail(err, FR_BAD_CONFIG,
                           "cluster: partition %" PRId32 " of '%s' was assigned without that of '%s'; all topics of a cluster "
                           "need as many partitions, and every member all topics",
                           list->elems[i].partition, list->elems[i].topic, first);
    }
    return true;
}

static void take_assignment(struct ingest_group *group, rd_kafka_topic_partition_list_t *list)
{
    int32_t numbers[PARTITIONS_MAX];
    struct fr_err err;
    int count;

    group->waits_ms = 0;
    group->metadata = rd_kafka_consumer_group_metadata(group->member);
    for (int i = 0; i < list->cnt; i++)
        list->elems[i].offset = RD_KAFKA_OFFSET_END;
    rd_kafka_assign(group->member, list);
    rd_kafka_pause_partitions(group->member, list);
    if (!numbers_of(group, list, numbers, &count, &err) || !group->options.assigned(group->options.user, numbers, count, &err))
        fail(group, &err);
}

/* Who has left is assigned nothing any more, not even none. */
static void have_none(struct ingest_group *group)
{
    struct fr_err err;

    if (!group->options.assigned(group->options.user, NULL, 0, &err))
        fail(group, &err);
}

/* Before what follows from it is told: that partitions are lost. */
static void fail_fenced(struct ingest_group *group, const char *why)
{
    struct fr_err err;

    (void)fr_fail(&err, FR_UNAVAILABLE,
                  "cluster: another process runs with node.id '%s', and this one is fenced; give each a node.id of its own: %s",
                  group->options.instance, why);
    fail(group, &err);
}

static void give_back(struct ingest_group *group)
{
    bool is_lost = rd_kafka_assignment_lost(group->member) != 0, has_share = group->metadata != NULL, is_settled = false;
    struct fr_err err;
    char why[256];

    if (is_lost && rd_kafka_fatal_error(group->member, why, sizeof why) == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID)
        fail_fenced(group, why);
    if (has_share && !group->options.revoked(group->options.user, is_lost, &is_settled, &err))
        fail(group, &err);
    group->is_unsettled = has_share && !is_settled;
    if (is_lost) { /* a transaction may be under way, to be refused; and a process that ends must not get partitions once more */
        rd_kafka_unsubscribe(group->member);
    } else if (is_settled) {
        rd_kafka_consumer_group_metadata_destroy(group->metadata);
        group->metadata = NULL;
    }
    rd_kafka_assign(group->member, NULL);
    if (group->is_drained && !is_lost && !group->is_unsettled) {
        have_none(group);
    } else if (is_settled && !is_lost) {
        group->waits_ms = fr_clock_monotonic_ms();
        group->tell_ms = group->waits_ms + TELL_MS;
    }
}

static void on_rebalance(rd_kafka_t *member, rd_kafka_resp_err_t error, rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct ingest_group *group = opaque;

    if (atomic_load(&group->is_failed) || atomic_load(&group->is_stopping) || group->is_unsettled)
        rd_kafka_assign(member, NULL);
    else if (error == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS)
        take_assignment(group, list);
    else
        give_back(group);
}

static void tell_error(struct ingest_group *group, const rd_kafka_message_t *message)
{
    static struct fr_log_place place;

    if (message->err == RD_KAFKA_RESP_ERR__FATAL || message->err == RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID) {
        fail_fenced(group, rd_kafka_message_errstr(message));
        return;
    }
    fr_log_limited(&place, 10, FR_LOG_WARN, "cluster", "group '%s': %s%s", group->options.group,
                   rd_kafka_message_errstr(message),
                   message->err == RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT
                       ? "; session.timeout.ms of kafka.properties has to be from group.min.session.timeout.ms to "
                         "group.max.session.timeout.ms of the brokers"
                       : "");
}

static bool subscribe(struct ingest_group *group, struct fr_err *err)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(group->options.topic_count);
    rd_kafka_resp_err_t error;

    for (int i = 0; i < group->options.topic_count; i++)
        rd_kafka_topic_partition_list_add(list, group->options.topics[i], RD_KAFKA_PARTITION_UA);
    error = rd_kafka_subscribe(group->member, list);
    rd_kafka_topic_partition_list_destroy(list);
    return error == RD_KAFKA_RESP_ERR_NO_ERROR ||
           fr_fail(err, FR_UNAVAILABLE, "cluster: cannot join group '%s': %s", group->options.group, rd_kafka_err2str(error));
}

/*
 * What is assigned until then is given back by that, and the member leaves: static ones do, unless they end. One that
 * subscribed to something else instead would get that again when it is started within its session, since brokers ask a static
 * member that returns for nothing anew.
 */
static bool leave(struct ingest_group *group, struct fr_err *err)
{
    bool has_share = group->metadata != NULL;
    rd_kafka_resp_err_t error;

    error = rd_kafka_unsubscribe(group->member);
    if (error != RD_KAFKA_RESP_ERR_NO_ERROR)
        return fr_fail(err, FR_UNAVAILABLE, "cluster: cannot leave group '%s': %s", group->options.group,
                       rd_kafka_err2str(error));
    if (!has_share)
        have_none(group);
    return true;
}

static void leave_or_return(struct ingest_group *group)
{
    bool is_to_drain = atomic_load(&group->is_to_drain);
    struct fr_err err;

    if (is_to_drain == group->is_drained)
        return;
    group->is_drained = is_to_drain;
    if (!(is_to_drain ? leave(group, &err) : subscribe(group, &err)))
        fail(group, &err);
}

/* Who has given back what it had waits for the slowest of all members: nothing else says so. */
static void tell_waiting(struct ingest_group *group)
{
    int64_t now_ms = fr_clock_monotonic_ms();

    if (group->waits_ms == 0 || now_ms < group->tell_ms)
        return;
    group->tell_ms = now_ms + TELL_MS;
    fr_log(FR_LOG_INFO, "cluster",
           "'%s' has waited %" PRId64
           " s for all of group '%s' to answer, of which the dead are until their session.timeout.ms "
           "is over",
           group->options.instance, (now_ms - group->waits_ms) / 1000, group->options.group);
}

static void *run(void *user)
{
    struct ingest_group *group = user;

    while (!atomic_load(&group->is_stopping) && !atomic_load(&group->is_failed)) {
        rd_kafka_message_t *message;

        leave_or_return(group);
        tell_waiting(group);
        message = rd_kafka_consumer_poll(group->member, POLL_MS);
        if (message && message->err)
            tell_error(group, message);
        if (message)
            rd_kafka_message_destroy(message);
    }
    return NULL;
}

static void close_producer(rd_kafka_t *producer)
{
    if (!producer)
        return;
    rd_kafka_purge(producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
    rd_kafka_flush(producer, POLL_MS);
    rd_kafka_destroy(producer);
}

static struct ingest_client client_of(struct ingest_group *group, enum ingest_role role)
{
    return (struct ingest_client){.role = role,
                                  .brokers = group->options.brokers,
                                  .properties = group->options.properties,
                                  .property_count = group->options.property_count,
                                  .group = group->options.group,
                                  .instance = group->options.instance,
                                  .opaque = group};
}

bool ingest_group__renew_producer(struct ingest_group *group, struct fr_err *err)
{
    struct ingest_client producer = client_of(group, INGEST_TRANSACTIONS);
    rd_kafka_t *made;

    producer.on_delivery = ingest_transaction__on_delivery;
    if (!ingest_client__new(&producer, &made, err))
        return false;
    close_producer(group->producer);
    group->producer = made;
    return true;
}

bool ingest_group_open(const struct ingest_group_options *options, struct ingest_group **ret, struct fr_err *err)
{
    struct ingest_group *group = calloc(1, sizeof *group);
    struct ingest_client member;

    if (!group)
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory");
    group->options = *options;
    group->stall_ms = STALL_MS;
    group->step_ms = ingest_client__number(options->properties, options->property_count, "session.timeout.ms", STEP_MS);
    group->step_ms = group->step_ms > STEP_MS ? group->step_ms : STEP_MS;
    member = client_of(group, INGEST_MEMBER);
    member.on_rebalance = on_rebalance;
    if (ingest_client__new(&member, &group->member, err) && ingest_group__renew_producer(group, err)) {
        rd_kafka_poll_set_consumer(group->member);
        *ret = group;
        return true;
    }
    ingest_group_close(group);
    return false;
}

static struct ingest_topic_wanted wanted_of(const struct ingest_group_topic *topic)
{
    return (struct ingest_topic_wanted){.name = topic->name,
                                        .partitions = topic->partitions,
                                        .is_compacted = topic->is_compacted,
                                        .is_replicated = true,
                                        .retention_ms = topic->retention_ms};
}

bool ingest_group_topic(struct ingest_group *group, const struct ingest_group_topic *topic, struct fr_err *err)
{
    struct ingest_topic_state state = {.name = topic->name};
    struct ingest_topic_wanted wanted = wanted_of(topic);

    if (!ingest_topic__find(group->producer, &state, 1, true))
        return fr_fail(err, FR_UNAVAILABLE, "cluster: no broker answers at %s", group->options.brokers);
    if (state.found == INGEST_TOPIC_MISSING && !ingest_topic__create(group->producer, &wanted, false, NULL, err))
        return false;
    if (state.found != INGEST_TOPIC_FOUND)
        return fr_fail(err, FR_UNAVAILABLE, "cluster: topic '%s' is not known yet", topic->name);
    return topic->is_of_others || state.partitions == topic->partitions ||
           fr_fail(err, FR_BAD_CONFIG,
                   "cluster: topic '%s' has %d partitions and the events have %d; a cluster's users stay with their partition, "
                   "so partitions cannot be added: name another kafka.group and start with an empty store.path",
                   topic->name, state.partitions, topic->partitions);
}

bool ingest_group_topic_check(struct ingest_group *group, const struct ingest_group_topic *topic, struct fr_err *err)
{
    struct ingest_topic_wanted wanted = wanted_of(topic);

    return ingest_topic__check(group->producer, &wanted, group->options.brokers, err);
}

bool ingest_group_fence(struct ingest_group *group, struct fr_err *err)
{
    rd_kafka_error_t *error = rd_kafka_init_transactions(group->producer, FENCE_MS);

    if (!error)
        return true;
    fr_fail(err, rd_kafka_error_is_retriable(error) ? FR_UNAVAILABLE : FR_BAD_CONFIG, "cluster: no transactions at %s: %s",
            group->options.brokers, rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return false;
}

bool ingest_group_join(struct ingest_group *group, struct fr_err *err)
{
    if (!subscribe(group, err))
        return false;
    if (pthread_create(&group->thread, NULL, run, group) != 0)
        return fr_fail(err, FR_EXHAUSTED, "cluster: cannot start the group's thread; raise the limit of threads");
    pthread_setname_np(group->thread, "group");
    group->is_started = true;
    return true;
}

void ingest_group_drain(struct ingest_group *group, bool is_to_leave)
{
    atomic_store(&group->is_to_drain, is_to_leave);
}

bool ingest_group_is_stopping(const struct ingest_group *group)
{
    return atomic_load(&group->is_stopping);
}

void ingest_group_stop(struct ingest_group *group)
{
    atomic_store(&group->is_stopping, true);
    if (group->is_started)
        pthread_join(group->thread, NULL);
    group->is_started = false;
}

/* A static member does not leave when it closes; its client goes without asking the group, which may not answer. */
void ingest_group_close(struct ingest_group *group)
{
    if (!group)
        return;
    ingest_group_stop(group);
    if (group->metadata)
        rd_kafka_consumer_group_metadata_destroy(group->metadata);
    if (group->member)
        rd_kafka_destroy_flags(group->member, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    close_producer(group->producer);
    free(group);
}
