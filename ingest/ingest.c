/*
 * A consumer: opening, stopping, closing. Closing runs on a thread of its own, because librdkafka 2.0.2 is known to hang there
 * (issues 4674, 4486): what is not back by the deadline is left alone.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <stdlib.h>
#include <string.h>

enum {
    OPTION_BYTES = 4 << 20,
    LAST_COMMIT_MS = 500,
    PURGE_MS = 200,
    TOPICS_INTERVAL_MS = 10000,
    QUIET_MS = 30000,
    CLOSE_TICK_MS = 5
};

static const char *copy_text(struct fr_arena *memory, const char *text)
{
    return text ? fr_arena_copy(memory, fr_slice_of(text)) : NULL;
}

static bool copy_properties(struct ingest *ingest, const struct ingest_options *from)
{
    struct ingest_property *properties = fr_arena_take(ingest->memory, ((size_t)from->property_count + 1) * sizeof *properties);

    if (!properties)
        return false;
    for (int i = 0; i < from->property_count; i++) {
        properties[i].name = copy_text(ingest->memory, from->properties[i].name);
        properties[i].value = copy_text(ingest->memory, from->properties[i].value);
        if (!properties[i].name || !properties[i].value)
            return false;
    }
    ingest->options.properties = properties;
    return true;
}

static bool copy_sources(struct ingest *ingest, const struct ingest_options *from)
{
    bool has_letters = from->dead_letters && from->dead_letters[0];
    size_t count = (size_t)from->topic_count + (has_letters ? 1 : 0);

    ingest->sources = fr_arena_take_zeroed(ingest->memory, count, sizeof *ingest->sources);
    if (!ingest->sources)
        return false;
    for (int i = 0; i < from->topic_count; i++)
        ingest->sources[i] = (struct ingest_source){.name = fr_arena_copy(ingest->memory, fr_slice_of(from->topics[i].name)),
                                                    .index = i,
                                                    .format = from->topics[i].format,
                                                    .partitions_wanted = from->topics[i].partitions,
                                                    .is_served = from->topics[i].is_served,
                                                    .table = from->topics[i].table,
                                                    .table_number = from->topics[i].table_number,
                                                    .is_read = true};
    if (has_letters)
        ingest->sources[from->topic_count] =
            (struct ingest_source){.name = fr_arena_copy(ingest->memory, fr_slice_of(from->dead_letters)),
                                   .index = from->topic_count,
                                   .partitions_wanted = 1};
    ingest->source_count = (int)count;
    ingest->options.topics = NULL; /* the sources say it */
    for (size_t i = 0; i < count; i++)
        if (!ingest->sources[i].name)
            return false;
    ingest->options.dead_letters = has_letters ? ingest->sources[from->topic_count].name : NULL;
    return true;
}

static bool copy_options(struct ingest *ingest, const struct ingest_options *from)
{
    ingest->memory = fr_arena_new(OPTION_BYTES);
    if (!ingest->memory)
        return false;
    ingest->options = *from;
    ingest->options.brokers = copy_text(ingest->memory, from->brokers);
    ingest->options.group = copy_text(ingest->memory, from->group);
    ingest->options.cluster_id = copy_text(ingest->memory, from->cluster_id);
    return ingest->options.brokers && ingest->options.group && (ingest->options.cluster_id || !from->cluster_id) &&
           copy_properties(ingest, from) && copy_sources(ingest, from);
}

static bool check_options(const struct ingest_options *options, struct fr_err *err)
{
    if (options->topic_count < 1 || options->topic_count >= INGEST_SOURCES_MAX)
        return fr_fail(err, FR_BAD_CONFIG, "kafka.topics: %d topics; use 1 to %d", options->topic_count,
                       INGEST_SOURCES_MAX - 1);
    if (options->lanes < 1 || options->batch_max < 1)
        return fr_fail(err, FR_BAD_CONFIG, "ingest: %d lanes, %d events a batch; use at least 1", options->lanes,
                       options->batch_max);
    return true;
}

static void register_outcomes(struct ingest *ingest)
{
    for (int verdict = 0; verdict < PROTO_VERDICTS; verdict++) {
        const char *name = verdict == PROTO_EVENT ? "decoded" : proto_verdict_name((enum proto_verdict)verdict);
        char labels[64];

        snprintf(labels, sizeof labels, "outcome=\"%s\"", name);
        ingest->outcomes[verdict] = fr_metrics_counter(ingest->options.metrics, "freshet_ingest_records_total", labels,
                                                       "Records read from Kafka, by what they were found to be");
    }
}

static void register_restarts(struct ingest *ingest)
{
    ingest->restarts = fr_metrics_counter(ingest->options.metrics, "freshet_ingest_restarts_total", NULL,
                                          "Partitions started again because they had records and gave none");
    ingest->recreations = fr_metrics_counter(ingest->options.metrics, "freshet_ingest_recreated_total", NULL,
                                             "Partitions begun anew because their topic was (kafka.recreated: adopt)");
    atomic_init(&ingest->quiet_ms, QUIET_MS);
}

/* Of the consumer; in the helper. */
static void on_error(rd_kafka_t *client, int error, const char *reason, void *opaque)
{
    struct ingest *ingest = opaque;
    char trouble[INGEST_TROUBLE_BYTES] = "";

    (void)client;
    ingest_client__keep_trouble(error, reason, trouble);
    if (trouble[0])
        ingest_parts__set_trouble(&ingest->parts, trouble);
}

static bool open_clients(struct ingest *ingest, struct fr_err *err)
{
    struct ingest_options *options = &ingest->options;
    struct ingest_client consumer = {.role = INGEST_CONSUMER,
                                     .brokers = options->brokers,
                                     .properties = options->properties,
                                     .property_count = options->property_count,
                                     .queue_bytes = options->queue_bytes / (uint64_t)options->lanes};
    struct ingest_client office = consumer, group = consumer;

    consumer.opaque = ingest;
    consumer.on_error = on_error;
    ingest->letters = ingest_letters__new(options->dead_letters, options->brokers, options->metrics);
    if (!ingest->letters)
        return fr_fail(err, FR_EXHAUSTED, "ingest: out of memory");
    office.role = INGEST_OFFICE;
    office.opaque = ingest->letters;
    office.on_delivery = ingest_letters__on_delivery;
    if (!ingest_client__new(&consumer, &ingest->consumer, err) || !ingest_client__new(&office, &ingest->office, err))
        return false;
    ingest_letters__set_client(ingest->letters, ingest->office);
    group.role = INGEST_GROUP;
    group.group = options->group;
    return ingest_commits__init(&ingest->commits, &group, options->metrics, err);
}

static bool start_threads(struct ingest *ingest, struct fr_err *err)
{
    int lanes = ingest->options.lanes;
    int64_t interval_ms = ingest_client__number(ingest->options.properties, ingest->options.property_count,
                                                "topic.metadata.refresh.interval.ms", TOPICS_INTERVAL_MS);

    ingest->lanes = fr_arena_take_zeroed(ingest->memory, (size_t)lanes, sizeof *ingest->lanes);
    if (!ingest->lanes)
        return fr_fail(err, FR_EXHAUSTED, "ingest: out of memory");
    for (int i = 0; i < lanes; i++)
        if (!ingest_lane__open(&ingest->lanes[i], ingest, i, err))
            return false;
    ingest->helper.topics_interval_ms = interval_ms < 100 ? TOPICS_INTERVAL_MS : interval_ms;
    if (!ingest_helper__start(&ingest->helper, ingest, err))
        return false;
    for (int i = 0; i < lanes; i++)
        if (!ingest_lane__start(&ingest->lanes[i], err))
            return false;
    return true;
}

bool ingest_open(const struct ingest_options *options, struct ingest **ret, struct fr_err *err)
{
    struct ingest *ingest;

    if (!check_options(options, err))
        return false;
    ingest = calloc(1, sizeof *ingest);
    if (!ingest || !ingest_parts__init(&ingest->parts)) {
        free(ingest);
        return fr_fail(err, FR_EXHAUSTED, "ingest: out of memory");
    }
    ingest->stop = fr_queue_new(1);
    ingest->done = fr_queue_new(1);
    if (!ingest->stop || !ingest->done || !copy_options(ingest, options)) {
        fr_fail(err, FR_EXHAUSTED, "ingest: out of memory");
        goto out;
    }
    register_outcomes(ingest);
    register_restarts(ingest);
    if (!open_clients(ingest, err) || !start_threads(ingest, err))
        goto out;
    *ret = ingest;
    return true;
out:
    if (!ingest_close(ingest, INGEST_QUESTION_MS * 5))
        fr_log(FR_LOG_ERROR, "ingest", "the Kafka client did not close after a failed start and is abandoned");
    return false;
}

void ingest_stop(struct ingest *ingest)
{
    if (ingest->stop)
        fr_queue_close(ingest->stop);
    for (int i = 0; ingest->lanes && i < ingest->options.lanes; i++)
        ingest_lane__join(&ingest->lanes[i]);
}

bool ingest_dead_letters_flush(struct ingest *ingest, int timeout_ms, bool is_last, struct fr_err *err)
{
    return !ingest->options.dead_letters ||
           ingest_letters__flush(ingest->letters, timeout_ms, is_last ? NULL : ingest->stop, err);
}

void ingest_offsets_commit(struct ingest *ingest, const int64_t *next_offsets, int count)
{
    if (ingest_is_connected(ingest))
        ingest_commits__send(&ingest->commits, &ingest->parts, next_offsets, count);
}

bool ingest_offsets_wait(struct ingest *ingest, int timeout_ms)
{
    int64_t until_ms = fr_clock_monotonic_ms() + timeout_ms;

    while (ingest->helper.is_running && ingest_is_connected(ingest) && atomic_load(&ingest->commits.under_way) > 0 &&
           fr_clock_monotonic_ms() < until_ms)
        fr_clock_sleep_ms(CLOSE_TICK_MS);
    return atomic_load(&ingest->commits.under_way) == 0;
}

bool ingest_offsets_ask(struct ingest *ingest, int partition, int64_t *next_offset, struct fr_err *err)
{
    const struct ingest_part *part = ingest_parts__at(&ingest->parts, partition);

    return ingest_commits__ask(&ingest->commits, part->source->name, part->number, next_offset) ||
           fr_fail(err, FR_UNAVAILABLE, "kafka: nobody says where group '%s' is in '%s'", ingest->options.group,
                   part->source->name);
}

static void close_clients(struct ingest *ingest)
{
    for (int i = 0; i < ingest->source_count; i++)
        if (ingest->sources[i].handle)
            rd_kafka_topic_destroy(ingest->sources[i].handle);
    ingest_commits__fini(&ingest->commits);
    if (ingest->consumer)
        rd_kafka_destroy(ingest->consumer);
    if (ingest->office) {
        rd_kafka_purge(ingest->office, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_flush(ingest->office, PURGE_MS);
        rd_kafka_destroy(ingest->office);
    }
}

static void *close_all(void *arg)
{
    struct ingest *ingest = arg;

    ingest_stop(ingest);
    (void)ingest_offsets_wait(ingest, LAST_COMMIT_MS); /* one is usually under way when a node closes */
    if (ingest->helper.mail)
        ingest_helper__join(&ingest->helper);
    for (int i = 0; ingest->lanes && i < ingest->options.lanes; i++)
        if (ingest->lanes[i].ingest)
            ingest_lane__close(&ingest->lanes[i]);
    close_clients(ingest);
    if (ingest->done)
        fr_queue_close(ingest->done);
    return NULL;
}

static void free_rest(struct ingest *ingest)
{
    ingest_letters__free(ingest->letters);
    ingest_parts__fini(&ingest->parts);
    if (ingest->stop)
        fr_queue_close(ingest->stop);
    fr_queue_free(ingest->stop);
    fr_queue_free(ingest->done);
    fr_arena_free(ingest->memory);
    free(ingest);
}

bool ingest_close(struct ingest *ingest, int deadline_ms)
{
    pthread_t thread;
    void *nothing;

    if (!ingest)
        return true;
    if (!ingest->done || pthread_create(&thread, NULL, close_all, ingest) != 0) {
        close_all(ingest);
        free_rest(ingest);
        return true;
    }
    (void)fr_queue_receive(ingest->done, &nothing, deadline_ms);
    if (!fr_queue_is_closed(ingest->done)) {
        pthread_detach(thread);
        return false;
    }
    pthread_join(thread, NULL);
    free_rest(ingest);
    return true;
}
