/*
 * What ingest is measured against: librdkafka alone, with the properties of our consumer. Its queue alone is wider than a lane's, so
 * that it never stands still over it.
 */
#include "internal.h"

#include <freshet/clock.h>

#include <inttypes.h>
#include <stdlib.h>

enum {
    BARE_BATCH = 512,
    BARE_POLL_MS = 100,
    BARE_QUIET_MS = 30000,
    BARE_QUESTIONS = 10,
    BARE_QUESTION_MS = 10000,
    BARE_QUEUE_BYTES = 64 << 20
};

static const struct ingest_property bare_queue[] = {{"queued.min.messages", "1000000"},
                                                    {"queued.max.messages.kbytes", "1048576"}};

const char *ingest_library_version(void)
{
    return rd_kafka_version_str();
}

static bool open_client(const char *brokers, rd_kafka_t **client, struct fr_err *err)
{
    struct ingest_client options = {.role = INGEST_CONSUMER,
                                    .brokers = brokers,
                                    .properties = bare_queue,
                                    .property_count = sizeof bare_queue / sizeof *bare_queue,
                                    .queue_bytes = BARE_QUEUE_BYTES};

    return ingest_client__new(&options, client, err);
}

static bool find_topic(rd_kafka_t *client, const char *brokers, const char *topic, int *partitions, struct fr_err *err)
{
    struct ingest_topic_state state = {.name = topic};

    for (int i = 0; i < BARE_QUESTIONS; i++) {
        if (ingest_topic__find(client, &state, 1, true) && state.found != INGEST_TOPIC_UNKNOWN) {
            *partitions = state.partitions;
            return true;
        }
    }
    return fr_fail(err, FR_UNAVAILABLE, "kafka: %s does not say which topics it has; is it running, and reachable from here?",
                   brokers);
}

/* A topic that was made a moment ago has no leader for another: that is waited for. */
static bool ask_marks(rd_kafka_t *client, const char *topic, int32_t partition, int64_t *low, int64_t *end, struct fr_err *err)
{
    int64_t until_ms = fr_clock_monotonic_ms() + BARE_QUESTION_MS;

    for (;;) {
        if (ingest_marks__ask(client, topic, &partition, 1, RD_KAFKA_OFFSET_END, BARE_QUESTION_MS, end, err) &&
            ingest_marks__ask(client, topic, &partition, 1, RD_KAFKA_OFFSET_BEGINNING, BARE_QUESTION_MS, low, err))
            return true;
        if (fr_clock_monotonic_ms() > until_ms)
            return fr_fail_in(err, "kafka");
        fr_clock_sleep_ms(BARE_POLL_MS);
    }
}

bool ingest_topic_records(const char *brokers, const char *topic, int *partitions, uint64_t *records, struct fr_err *err)
{
    rd_kafka_t *client;
    bool is_good;

    if (!open_client(brokers, &client, err))
        return false;
    is_good = find_topic(client, brokers, topic, partitions, err);
    *records = 0;
    for (int i = 0; is_good && i < *partitions; i++) {
        int64_t low, end;

        is_good = ask_marks(client, topic, i, &low, &end, err);
        *records += is_good ? (uint64_t)(end - low) : 0;
    }
    rd_kafka_destroy(client);
    return is_good;
}

/* Takes everything up to the end of each partition. */
static bool drain(rd_kafka_queue_t *queue, int partitions, struct ingest_bare *bare, struct fr_err *err)
{
    rd_kafka_message_t *messages[BARE_BATCH];
    int64_t moved_ms = fr_clock_monotonic_ms();
    int ended = 0;

    while (ended < partitions) {
        ssize_t count = rd_kafka_consume_batch_queue(queue, BARE_POLL_MS, messages, BARE_BATCH);

        for (ssize_t i = 0; i < count; i++) {
            if (messages[i]->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
                ended++;
            } else if (!messages[i]->err) {
                bare->records++;
                bare->bytes += messages[i]->len;
            }
            rd_kafka_message_destroy(messages[i]);
        }
        if (count > 0)
            moved_ms = fr_clock_monotonic_ms();
        else if (fr_clock_monotonic_ms() - moved_ms > BARE_QUIET_MS)
            return fr_fail(err, FR_UNAVAILABLE, "kafka: nothing came for %d s, %d of %d partitions were read",
                           BARE_QUIET_MS / 1000, ended, partitions);
    }
    return true;
}

struct bare_reader { /* never closed */
    rd_kafka_t *client;
    rd_kafka_topic_t *handle;
    rd_kafka_queue_t *queue;
    int partitions;
};

static bool open_reader(const char *brokers, const char *topic, struct bare_reader *reader, struct fr_err *err)
{
    *reader = (struct bare_reader){0};
    if (!open_client(brokers, &reader->client, err) || !find_topic(reader->client, brokers, topic, &reader->partitions, err))
        return false;
    if (reader->partitions == 0)
        return fr_fail(err, FR_BAD_CONFIG, "kafka: %s has no topic %s", brokers, topic);
    reader->handle = rd_kafka_topic_new(reader->client, topic, NULL);
    reader->queue = rd_kafka_queue_new(reader->client);
    return (reader->handle && reader->queue) || fr_fail(err, FR_EXHAUSTED, "kafka: out of memory");
}

/* By number: asking for BEGINNING costs half a second at the start (measured). */
static bool start_at(const struct bare_reader *reader, int partition, int64_t offset, struct fr_err *err)
{
    return rd_kafka_consume_start_queue(reader->handle, partition, offset, reader->queue) == 0 ||
           fr_fail(err, FR_UNAVAILABLE, "kafka: cannot read %s [%d]: %s", rd_kafka_topic_name(reader->handle), partition,
                   rd_kafka_err2str(rd_kafka_last_error()));
}

bool ingest_bare_read(const char *brokers, const char *topic, const int64_t *starts, int start_count, struct ingest_bare *bare,
                      struct fr_err *err)
{
    struct bare_reader reader;

    *bare = (struct ingest_bare){0};
    if (!open_reader(brokers, topic, &reader, err))
        return false;
    for (int i = 0; i < reader.partitions; i++) {
        int64_t low, end;

        if (i < start_count)
            low = starts[i];
        else if (!ask_marks(reader.client, topic, i, &low, &end, err))
            return false;
        if (!start_at(&reader, i, low, err))
            return false;
    }
    return drain(reader.queue, reader.partitions, bare, err);
}

bool ingest_bare_follow(const char *brokers, const char *topic, void (*begun)(void *user),
                        void (*each)(void *user, struct fr_slice value), void *user, struct fr_err *err)
{
    rd_kafka_message_t *messages[BARE_BATCH];
    struct bare_reader reader;
    int ended = 0;

    if (!open_reader(brokers, topic, &reader, err))
        return false;
    for (int i = 0; i < reader.partitions; i++) {
        int64_t low, end;

        if (!ask_marks(reader.client, topic, i, &low, &end, err) || !start_at(&reader, i, end, err))
            return false;
    }
    for (;;) {
        ssize_t count = rd_kafka_consume_batch_queue(reader.queue, BARE_POLL_MS, messages, 1); /* as a lane does */

        if (count == 1)
            count += rd_kafka_consume_batch_queue(reader.queue, 0, messages + 1, BARE_BATCH - 1);
        for (ssize_t i = 0; i < count; i++) {
            if (messages[i]->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && ended < reader.partitions &&
                ++ended == reader.partitions)
                begun(user);
            else if (!messages[i]->err)
                each(user, fr_slice(messages[i]->payload, messages[i]->len));
            rd_kafka_message_destroy(messages[i]);
        }
    }
}
