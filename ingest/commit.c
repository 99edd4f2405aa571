/*
 * The group's offsets, for lag tools only: what counts is in the sink. They go out by AlterConsumerGroupOffsets, which needs no
 * membership and leaves nothing behind that closing would have to wait for.
 */
#include "internal.h"

enum { COMMITS_MAX = 4, COMMIT_MS = 5000 };

bool ingest_commits__init(struct ingest_commits *commits, rd_kafka_t *client, struct fr_metrics *metrics)
{
    commits->client = client;
    commits->answers = rd_kafka_queue_new(client);
    atomic_init(&commits->under_way, 0);
    commits->failures = fr_metrics_counter(metrics, "freshet_ingest_commit_failures_total", NULL,
                                           "Offsets of the group that could not be told to Kafka");
    return commits->answers != NULL;
}

void ingest_commits__fini(struct ingest_commits *commits)
{
    if (commits->answers)
        rd_kafka_queue_destroy(commits->answers);
    commits->answers = NULL;
}

static void send_request(struct ingest_commits *commits, const char *group, const rd_kafka_topic_partition_list_t *offsets)
{
    rd_kafka_AlterConsumerGroupOffsets_t *request = rd_kafka_AlterConsumerGroupOffsets_new(group, offsets);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(commits->client, RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS);

    if (options) {
        (void)rd_kafka_AdminOptions_set_request_timeout(options, COMMIT_MS, NULL, 0);
        atomic_fetch_add(&commits->under_way, 1);
        rd_kafka_AlterConsumerGroupOffsets(commits->client, &request, 1, options, commits->answers);
        rd_kafka_AdminOptions_destroy(options);
    }
    rd_kafka_AlterConsumerGroupOffsets_destroy(request);
}

void ingest_commits__send(struct ingest_commits *commits, const char *group, struct ingest_parts *parts,
                          const int64_t *next_offsets, int count)
{
    rd_kafka_topic_partition_list_t *offsets;
    int known = ingest_parts__count(parts);

    if (atomic_load(&commits->under_way) >= COMMITS_MAX) {
        fr_counter_add(commits->failures, 1); /* the coordinator does not answer; the next epoch tells more anyway */
        return;
    }
    count = count < known ? count : known;
    offsets = rd_kafka_topic_partition_list_new(count > 0 ? count : 1);
    for (int i = 0; i < count; i++) {
        const struct ingest_part *part = ingest_parts__at(parts, i);

        if (next_offsets[i] >= 0)
            rd_kafka_topic_partition_list_add(offsets, part->source->name, part->number)->offset = next_offsets[i];
    }
    if (offsets->cnt > 0)
        send_request(commits, group, offsets);
    rd_kafka_topic_partition_list_destroy(offsets);
}

static bool is_failed(rd_kafka_event_t *event)
{
    const rd_kafka_AlterConsumerGroupOffsets_result_t *result = rd_kafka_event_AlterConsumerGroupOffsets_result(event);
    const rd_kafka_group_result_t **groups;
    size_t count = 0;

    if (rd_kafka_event_error(event) || !result)
        return true;
    groups = rd_kafka_AlterConsumerGroupOffsets_result_groups(result, &count);
    for (size_t i = 0; i < count; i++) {
        const rd_kafka_topic_partition_list_t *partitions = rd_kafka_group_result_partitions(groups[i]);

        if (rd_kafka_group_result_error(groups[i]))
            return true;
        for (int k = 0; partitions && k < partitions->cnt; k++)
            if (partitions->elems[k].err)
                return true;
    }
    return false;
}

void ingest_commits__serve(struct ingest_commits *commits)
{
    rd_kafka_event_t *event;

    while ((event = rd_kafka_queue_poll(commits->answers, 0)) != NULL) {
        if (is_failed(event))
            fr_counter_add(commits->failures, 1);
        atomic_fetch_sub(&commits->under_way, 1);
        rd_kafka_event_destroy(event);
    }
}
