/* When brokers are to be asked for more, by how much of a queue is left. */
#include "internal.h"

enum { PART_FULL = 4 /* of the bound a fourth is as good as full: the mean is a guess */ };

/* A record counts as what librdkafka keeps beside it at least: by that the queue is bounded in records (properties.c). */
static uint64_t weigh(const struct ingest_fetched *fetched)
{
    uint64_t bytes = fetched->record_bytes;

    return (uint64_t)fetched->peak * (bytes < INGEST_RECORD_OVERHEAD_BYTES ? INGEST_RECORD_OVERHEAD_BYTES : bytes);
}

void ingest_fetched__take(struct ingest_fetched *fetched, rd_kafka_message_t *const *messages, ssize_t count)
{
    uint64_t bytes = 0, mean;

    if (count < 1)
        return;
    for (ssize_t i = 0; i < count; i++)
        bytes += messages[i]->len + messages[i]->key_len;
    mean = bytes / (uint64_t)count;
    fetched->record_bytes = fetched->record_bytes > 0 ? (7 * fetched->record_bytes + mean) / 8 : mean;
}

bool ingest_fetched__is_hungry(struct ingest_fetched *fetched, rd_kafka_queue_t *queue)
{
    int64_t queued = (int64_t)rd_kafka_queue_length(queue);

    if (queued > fetched->peak)
        fetched->peak = queued;
    if (queued >= fetched->peak / 2 || weigh(fetched) < ingest_fetched__bound(fetched->queue_bytes) / PART_FULL)
        return false;
    fetched->peak = queued;
    return true;
}
