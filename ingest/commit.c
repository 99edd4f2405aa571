/*
 * The group's offsets, for lag tools, and for who is to be resumed: else what counts is in the sink. They go out by a client of their own, a consumer that never joins
 * its group.
 *
 * Two traps of librdkafka 2.0.2, both measured: a consumer that is destroyed while a commit is under way and the coordinator is gone
 * hangs, so that client is left to the end of the process then; and AlterConsumerGroupOffsets, which needs no such client,
 * aborts the process when it timed out during an outage and the broker comes back (issue 4605), so it is not used.
 */
#include "internal.h"

enum { ASK_MS = 3000 };

bool ingest_commits__init(struct ingest_commits *commits, const struct ingest_client *options, struct fr_metrics *metrics,
                          struct fr_err *err)
{
    if (!ingest_client__new(options, &commits->client, err))
        return false;
    commits->answers = rd_kafka_queue_new(commits->client);
    atomic_init(&commits->under_way, 0);
    commits->failures = fr_metrics_counter(metrics, "freshet_ingest_commit_failures_total", NULL,
                                           "Offsets of the group that could not be told to Kafka");
    return commits->answers != NULL || fr_fail(err, FR_EXHAUSTED, "ingest: out of memory");
}

void ingest_commits__fini(struct ingest_commits *commits)
{
    if (!commits->client)
        return;
    ingest_commits__serve(commits);
    if (atomic_load(&commits->under_way) == 0) {
        rd_kafka_queue_destroy(commits->answers);
        rd_kafka_destroy_flags(commits->client, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    }
    commits->answers = NULL;
    commits->client = NULL;
}

void ingest_commits__send(struct ingest_commits *commits, struct ingest_parts *parts, const int64_t *next_offsets, int count)
{
    rd_kafka_topic_partition_list_t *offsets;
    int known = ingest_parts__count(parts);

    if (atomic_load(&commits->under_way) > 0) {
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
    if (offsets->cnt > 0) {
        atomic_fetch_add(&commits->under_way, 1);
        if (rd_kafka_commit_queue(commits->client, offsets, commits->answers, NULL, NULL) != RD_KAFKA_RESP_ERR_NO_ERROR) {
            atomic_fetch_sub(&commits->under_way, 1);
            fr_counter_add(commits->failures, 1);
        }
    }
    rd_kafka_topic_partition_list_destroy(offsets);
}

static bool is_failed(rd_kafka_event_t *event)
{
    const rd_kafka_topic_partition_list_t *offsets = rd_kafka_event_topic_partition_list(event);

    if (rd_kafka_event_error(event))
        return true;
    for (int i = 0; offsets && i < offsets->cnt; i++)
        if (offsets->elems[i].err)
            return true;
    return false;
}

void ingest_commits__serve(struct ingest_commits *commits)
{
    rd_kafka_event_t *event;

    while ((event = rd_kafka_queue_poll(commits->answers, 0)) != NULL) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_OFFSET_COMMIT) {
            if (is_failed(event))
                fr_counter_add(commits->failures, 1);
            atomic_fetch_sub(&commits->under_way, 1);
        }
        rd_kafka_event_destroy(event);
    }
}

bool ingest_commits__ask(struct ingest_commits *commits, const char *topic, int32_t partition, int64_t *next)
{
    rd_kafka_topic_partition_list_t *asked = rd_kafka_topic_partition_list_new(1);
    bool is_answered;

    rd_kafka_topic_partition_list_add(asked, topic, partition);
    is_answered = rd_kafka_committed(commits->client, asked, ASK_MS) == RD_KAFKA_RESP_ERR_NO_ERROR &&
                  asked->elems[0].err == RD_KAFKA_RESP_ERR_NO_ERROR;
    *next = is_answered && asked->elems[0].offset >= 0 ? asked->elems[0].offset : -1;
    rd_kafka_topic_partition_list_destroy(asked);
    return is_answered;
}
