/*
 * The topic that a benchmark reads: filled once with a seeded workload, and used again when it is there and complete.
 */
#include "bench.h"

#include <freshet/bench.h>
#include <freshet/clock.h>
#include <freshet/ingest.h>

#include <inttypes.h>

enum { FLUSH_SLICE_MS = 200, FLUSH_STALL_MS = 60000, SHOW_EVENTS = 256, NAMES_MAX = 10 };

/* What the embedded broker keeps of W1: the fullest partition has a fifth of the events, and 5 MiB. */
enum { EMBEDDED_EVENTS = 200000 };

static bool flush(struct ingest_producer *producer, uint64_t events, struct cli_progress *progress, struct fr_err *err)
{
    int64_t moved_ms = fr_clock_monotonic_ms();
    uint64_t before = ingest_producer_delivered(producer);

    while (!ingest_producer_flush(producer, FLUSH_SLICE_MS, err)) {
        uint64_t now = ingest_producer_delivered(producer);

        cli_progress__show(progress, events, (int64_t)events, events);
        if (err->code != FR_UNAVAILABLE || cli_signals__is_stopped())
            return false;
        if (now != before)
            moved_ms = fr_clock_monotonic_ms();
        else if (fr_clock_monotonic_ms() - moved_ms > FLUSH_STALL_MS)
            return false;
        before = now;
    }
    return true;
}

bool cli_bench_topic__send(struct ingest_producer *producer, const char *topic, const struct proto_event *event,
                           struct fr_buffer *buffer, struct fr_err *err)
{
    struct ingest_record out = {.topic = topic, .partition = -1};
    struct cli_record record;

    cli_record__encode(event, false, buffer, &record);
    out.key = record.key;
    out.value = record.value;
    return ingest_producer_send(producer, &out, err);
}

static bool send_all(struct ingest_producer *producer, const char *topic, struct bench_workload *workload, uint64_t events,
                     struct cli_progress *progress, struct fr_err *err)
{
    struct proto_event event;
    struct fr_buffer buffer;
    uint64_t sent = 0;
    bool is_good = true;

    fr_buffer_init(&buffer);
    while (is_good && sent < events && bench_workload_next(workload, &event)) {
        is_good = cli_bench_topic__send(producer, topic, &event, &buffer, err);
        if (is_good && ++sent % SHOW_EVENTS == 0) {
            cli_progress__show(progress, sent, (int64_t)events, sent);
            if (cli_signals__is_stopped())
                is_good = fr_fail(err, FR_CANCELLED, "stopped by a signal");
        }
    }
    fr_buffer_fini(&buffer);
    return is_good && flush(producer, events, progress, err);
}

bool cli_bench_topic__append(const char *brokers, const char *topic, struct bench_workload *workload, uint64_t events,
                             struct fr_err *err)
{
    struct ingest_producer_options producing = {.brokers = brokers};
    struct ingest_producer *producer = NULL;
    struct cli_progress progress;
    bool is_good;

    cli_progress__init(&progress, "events");
    is_good = ingest_producer_open(&producing, &producer, err) &&
              ingest_producer_topic(producer, topic, BENCH_PARTITIONS, err) &&
              send_all(producer, topic, workload, events, &progress, err);
    cli_progress__fini(&progress);
    ingest_producer_close(producer);
    return is_good;
}

static bool produce(const char *brokers, const char *topic, const struct bench_workload_options *options, struct fr_err *err)
{
    struct bench_workload *workload = bench_workload_new(options);
    bool is_good = workload ? cli_bench_topic__append(brokers, topic, workload, options->events, err)
                            : fr_fail(err, FR_EXHAUSTED, "out of memory");

    bench_workload_free(workload);
    return is_good;
}

/* Fills the first name that has the workload or nothing at all: NAME, NAME.2 … (a fill that was interrupted leaves a part). */
static bool find_name(const struct cli_bench *bench, const char *name, uint64_t events, char topic[BENCH_NAME_BYTES],
                      bool *is_full, struct fr_err *err)
{
    for (int i = 1; i <= NAMES_MAX; i++) {
        uint64_t records;
        int partitions;

        snprintf(topic, BENCH_NAME_BYTES, i == 1 ? "%s" : "%s.%d", name, i);
        if (!ingest_topic_records(bench->brokers, topic, &partitions, &records, err))
            return false;
        *is_full = partitions == BENCH_PARTITIONS && records == events;
        if (*is_full || records == 0)
            return true;
        if (bench->topic)
            return fr_fail(err, FR_BAD_CONFIG,
                           "topic %s has %" PRIu64 " records in %d partitions, not %" PRIu64
                           " in %d; name another, or delete it",
                           topic, records, partitions, events, BENCH_PARTITIONS);
    }
    return fr_fail(err, FR_BAD_CONFIG, "topics %s to %s have parts of a workload; delete them, or name one by --topic", name,
                   topic);
}

bool cli_bench_topic__broker(struct cli_bench *bench, const char *topic, uint64_t events, struct fr_err *err)
{
    struct ingest_topic made = {.name = topic, .partitions = BENCH_PARTITIONS};

    if (bench->brokers)
        return true;
    if (events > EMBEDDED_EVENTS)
        return fr_fail(err, FR_BAD_CONFIG,
                       "the embedded broker keeps 5 MiB a partition, so at most %d events; for %" PRIu64
                       " start an Apache Kafka (tests/kafka/start, or docker compose up kafka) and give --brokers",
                       EMBEDDED_EVENTS, events);
    if (!ingest_broker_start(&made, 1, &bench->embedded, err))
        return false;
    bench->brokers = ingest_broker_address(bench->embedded);
    return true;
}

bool cli_bench_topic__fill(struct cli_bench *bench, const char *name, const struct bench_workload_options *workload,
                           char topic[BENCH_NAME_BYTES], struct fr_err *err)
{
    uint64_t records;
    bool is_full = false;
    int partitions;

    name = bench->topic ? bench->topic : name;
    if (!cli_bench_topic__broker(bench, name, workload->events, err))
        return false;
    if (bench->embedded)
        snprintf(topic, BENCH_NAME_BYTES, "%s", name);
    else if (!find_name(bench, name, workload->events, topic, &is_full, err))
        return false;
    if (is_full)
        return true;
    if (!produce(bench->brokers, topic, workload, err) ||
        !ingest_topic_records(bench->brokers, topic, &partitions, &records, err))
        return false;
    if (records != workload->events || partitions != BENCH_PARTITIONS)
        return fr_fail(err, FR_CORRUPT, "topic %s has %" PRIu64 " records of %" PRIu64 " that were sent", topic, records,
                       workload->events);
    return true;
}
