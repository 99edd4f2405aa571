/*
 * The readers of texts. Each has two consumers: one of labelled texts, read from the beginning at each start, because nothing else keeps what
 * was learned; once that is caught up, one of the events that are passed on. How far that one has come the group tells Kafka, not the store:
 * a node that begins with an empty store passes nothing on again. An event is in Kafka before its offset is told, so a crash can pass the
 * last moment on twice, and lose nothing; nodes drop the second by its event_id, and one without gets one from its place.
 *
 * In a cluster each instance passes on what lies in partitions of its own, from where the group is: whoever is to give them away stops, and
 * tells the group first.
 */
#include "internal.h"

#include "cluster.h"

#include <freshet/clock.h>
#include <freshet/log.h>
#include <freshet/text.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    TICK_MS = 50,
    TELL_TICKS = 2,
    TELL_AGAIN = 300,
    QUEUE_BYTES = 16 << 20,
    BATCH_EVENTS = 256,
    FLUSH_MS = 5000,
    HELD_MS = 2,
    LEARN_SHARE = 10, /* of the time at most a tenth goes into learning anew, but after so long it may */
    LEARN_LEAST_MS = 200,
};

enum labelled_what { LABELLED_TAKEN, LABELLED_UNKNOWN, LABELLED_NO_TEXT, LABELLED_WHATS };
static const char *const labelled_names[] = {"taken", "unknown_label", "no_text"};

struct reader {
    const struct pipeline_text *text;
    struct pipeline_texts *texts;
    struct ingest *labelled, *from;
    char group[512];
    _Atomic int64_t *labelled_next; /* by partition: how far labelled texts are taken, of this run */
    _Atomic int64_t *from_next; /* and events passed on; −1: not begun */
    bool is_passing; /* in a cluster: what is in its partitions */
    int64_t *told; /* of those, what the group has told, or tries to */
    int tell_again; /* so often */
    int32_t *numbers; /* of `from`'s partitions, by dense index */
    pthread_mutex_t adding, judging; /* both of the intent: labelled texts and learning; what is judged by, and adopting */
    struct learner_intent *intent;
    int adopted; /* labelled texts that it is judged by */
    int64_t learn_after_ms; /* monotonic; of the thread */
    struct ingest_producer *producer; /* of `from`'s lane */
    struct fr_buffer wire;
    struct fr_counter *labels[LEARNER_LABELS_MAX + 1], *labelled_total[LABELLED_WHATS], *repeated; /* the last label: none */
    struct fr_gauge *examples;
};

struct pipeline_texts {
    const struct pipeline_config *config;
    const char *brokers, *cluster_id;
    const struct pipeline_cluster *cluster; /* NULL: all that comes is its own */
    atomic_bool is_held, is_idle; /* of an instance: partitions change, and nothing is passed on meanwhile */
    struct fr_metrics *unseen; /* of the consumers: theirs are not the node's */
    struct reader readers[PIPELINE_TEXTS_MAX];
    int count;
    struct fr_queue *stop; /* what is sent only wakes; closed when it is to stop */
    pthread_t thread;
    bool is_started;
};

static void stop_all(void *user, const struct fr_err *err)
{
    const struct reader *reader = user;

    fr_log(FR_LOG_ERROR, "pipeline", "texts.%s reads no more: %s", reader->text->name, err->message);
}

/* ---- labelled texts ---- */

static bool any_cluster(void *user, const char *cluster_id, struct fr_err *err)
{
    (void)user, (void)cluster_id, (void)err;
    return true; /* the node's own consumer judges it */
}

static struct ingest_position labelled_start(void *user, int partition, const char *topic, int32_t number)
{
    (void)user, (void)partition, (void)topic, (void)number;
    return (struct ingest_position){.next_offset = -1, .last = {.offset = -1}}; /* from the beginning */
}

static enum labelled_what take_labelled(struct reader *reader, const struct proto_event *event)
{
    const struct pipeline_text *text = reader->text;
    struct fr_slice label;
    struct fr_err err;

    if (event->text.length == 0)
        return LABELLED_NO_TEXT;
    if (!proto_event_attribute(event, fr_slice_of(text->name), &label))
        return LABELLED_UNKNOWN;
    for (int i = 0; i < text->options.labels; i++) {
        if (!fr_slice_is(label, text->labels[i]))
            continue;
        if (!learner_intent_add(reader->intent, event->text, i, event->ts_ms, &err))
            fr_log(FR_LOG_WARN, "pipeline", "texts.%s: %s", text->name, err.message);
        return LABELLED_TAKEN;
    }
    return LABELLED_UNKNOWN;
}

static bool labelled_batch(void *user, const struct ingest_batch *batch, struct fr_err *err)
{
    struct reader *reader = user;

    (void)err;
    pthread_mutex_lock(&reader->adding);
    for (int i = 0; i < batch->event_count; i++)
        fr_counter_add(reader->labelled_total[take_labelled(reader, &batch->events[i])], 1);
    pthread_mutex_unlock(&reader->adding);
    for (int i = 0; i < batch->advance_count; i++)
        atomic_store(&reader->labelled_next[batch->advances[i].partition], batch->advances[i].next_offset);
    return true;
}

static bool is_caught_up(const struct reader *reader)
{
    int count = ingest_is_assigned(reader->labelled) ? ingest_partition_count(reader->labelled) : 0;

    for (int i = 0; i < count; i++) {
        struct ingest_partition partition = ingest_partition_at(reader->labelled, i);

        if (partition.end < 0 || (atomic_load(&reader->labelled_next[i]) < partition.end && partition.end > partition.low))
            return false;
    }
    return count > 0;
}

/* ---- events that are passed on ---- */

static struct ingest_position from_start(void *user, int partition, const char *topic, int32_t number)
{
    struct reader *reader = user;

    reader->numbers[partition] = number;
    (void)topic;
    return (struct ingest_position){.next_offset = -1, .last = {.offset = -1}}; /* the group knows */
}

/* The label of an event's text as an index; −1: none is likely enough, or there is nothing to judge. */
static int label_of(const struct reader *reader, const struct proto_event *event)
{
    double probabilities[LEARNER_LABELS_MAX];
    int best = 0;

    if ((reader->text->actions >> event->action & 1) == 0 || event->text.length == 0 || reader->adopted == 0)
        return -1;
    learner_intent_judge(reader->intent, event->text, probabilities);
    for (int k = 1; k < reader->text->options.labels; k++)
        best = probabilities[k] > probabilities[best] ? k : best;
    return probabilities[best] >= reader->text->least ? best : -1;
}

/* An event that came without an id has one from its place, so that the node can tell when it is passed on again. */
static uint64_t id_of(const struct reader *reader, const struct proto_event *event, int partition, int64_t offset)
{
    uint64_t place[2] = {(uint64_t)(uint32_t)reader->numbers[partition], (uint64_t)offset}, id;

    if (event->event_id != 0)
        return event->event_id;
    id = fr_text_hash(place, sizeof place, fr_text_hash(reader->text->from, strlen(reader->text->from), 0));
    return id ? id : 1;
}

static bool pass_on(struct reader *reader, const struct ingest_batch *batch, int at, struct fr_err *err)
{
    struct proto_event event = batch->events[at];
    struct ingest_record record = {.topic = reader->text->to, .partition = -1};
    int label = label_of(reader, &event);
    char key[24];

    event.event_id = id_of(reader, &event, batch->partitions[at], batch->offsets[at]);
    fr_buffer_clear(&reader->wire);
    proto_event_encode(&event, &reader->wire);
    /* Always, and last: what the producer wrote there himself does not count. */
    proto_event_encode_attribute(&reader->wire, fr_slice_of(reader->text->name),
                                 fr_slice_of(label < 0 ? "" : reader->text->labels[label]));
    if (reader->wire.is_failed)
        return fr_fail(err, FR_EXHAUSTED, "texts: out of memory");
    record.value = fr_buffer_slice(&reader->wire);
    if (event.user_id != 0) {
        snprintf(key, sizeof key, "%" PRIu64, event.user_id);
        record.key = fr_slice_of(key);
    }
    if (!ingest_producer_send(reader->producer, &record, err))
        return false;
    fr_counter_add(reader->labels[label < 0 ? LEARNER_LABELS_MAX : label], 1);
    return true;
}

static bool open_producer(struct reader *reader, struct fr_err *err)
{
    const struct pipeline_config *config = reader->texts->config;
    struct ingest_producer_options options = {
        .brokers = reader->texts->brokers, .properties = config->properties, .property_count = config->property_count};

    if (reader->producer)
        return true;
    return ingest_producer_open(&options, &reader->producer, err) &&
           ingest_producer_topic(reader->producer, reader->text->to, pipeline_config__partitions(config), err);
}

static bool pass_all_on(struct reader *reader, const struct ingest_batch *batch, struct fr_err *err)
{
    bool is_passed = open_producer(reader, err);

    pthread_mutex_lock(&reader->judging);
    for (int i = 0; is_passed && i < batch->event_count; i++)
        is_passed = pass_on(reader, batch, i, err);
    pthread_mutex_unlock(&reader->judging);
    return is_passed && ingest_producer_flush(reader->producer, FLUSH_MS, err);
}

static bool from_batch(void *user, const struct ingest_batch *batch, struct fr_err *err)
{
    struct reader *reader = user;
    static struct fr_log_place place;

    if (!pass_all_on(reader, batch, err)) {
        fr_log_limited(&place, 6, FR_LOG_WARN, "pipeline", "texts.%s waits, and sends again: %s", reader->text->name,
                       err->message);
        fr_counter_add(reader->repeated, 1);
        ingest_producer_close(reader->producer);
        reader->producer = NULL;
        err->code = FR_EXHAUSTED; /* the same batch comes again */
        return false;
    }
    for (int i = 0; i < batch->advance_count; i++)
        atomic_store(&reader->from_next[batch->advances[i].partition], batch->advances[i].next_offset);
    return true;
}

/*
 * Tells Kafka how far it has come, and again for a while: the group's coordinator may be away, or be made only now, and nobody hears whether
 * it took it.
 */
static void tell(struct reader *reader)
{
    int count = reader->from ? ingest_partition_count(reader->from) : 0;
    struct fr_err err;

    for (int i = 0; i < count; i++) {
        int64_t next = atomic_load(&reader->from_next[i]);

        if (next != reader->told[i])
            reader->tell_again = TELL_AGAIN;
        reader->told[i] = next;
    }
    if (reader->tell_again == 0)
        return;
    reader->tell_again--;
    if (ingest_dead_letters_flush(reader->from, FLUSH_MS, true, &err))
        ingest_offsets_commit(reader->from, reader->told, count);
}

/* ---- sharing ---- */

static bool take_partitions(struct reader *reader, int count, struct fr_err *err)
{
    const struct pipeline_cluster *cluster = reader->texts->cluster;
    int *parts = calloc((size_t)count + 1, sizeof *parts), owned = 0;
    struct ingest_position *at = calloc((size_t)count + 1, sizeof *at);
    bool ok = (parts && at) || fr_fail(err, FR_EXHAUSTED, "out of memory");

    for (int i = 0; i < count && ok; i++) {
        int number = ingest_partition_at(reader->from, i).number % pipeline_cluster__partitions(cluster);

        if (!pipeline_cluster__partition(cluster, number).is_here)
            continue;
        at[owned].last.offset = -1;
        ok = ingest_offsets_ask(reader->from, i, &at[owned].next_offset, err);
        parts[owned++] = i;
    }
    if (ok)
        ingest_own(reader->from, parts, at, owned);
    free(parts);
    free(at);
    return ok;
}

static void take(struct reader *reader)
{
    static struct fr_log_place place;
    struct fr_err err;
    int count;

    if (!ingest_topics_are_found(reader->from, &count) || reader->is_passing)
        return;
    reader->is_passing = take_partitions(reader, count, &err);
    if (!reader->is_passing)
        fr_log_limited(&place, 6, FR_LOG_WARN, "pipeline", "texts.%s waits: %s", reader->text->name, err.message);
}

/* What it tells of partitions that are another's would take the group back. */
static void give_back(struct reader *reader)
{
    if (!reader->is_passing)
        return;
    reader->is_passing = false;
    if (!ingest_disown(reader->from))
        return; /* it ends */
    (void)ingest_offsets_wait(reader->from, FLUSH_MS);
    reader->tell_again = 1;
    tell(reader);
    if (!ingest_offsets_wait(reader->from, FLUSH_MS))
        fr_log(FR_LOG_WARN, "pipeline", "texts.%s: nobody took how far it is; whoever passes on from here repeats some of it",
               reader->text->name);
    for (int i = 0; i < PIPELINE_PARTITIONS_MAX; i++) {
        atomic_store(&reader->from_next[i], -1);
        reader->told[i] = -1;
    }
    reader->tell_again = 0;
}

void pipeline_texts__hold(struct pipeline_texts *texts)
{
    void *wake = texts;

    if (!texts)
        return;
    atomic_store(&texts->is_held, true);
    (void)fr_queue_send(texts->stop, &wake, 0); /* where one is on its way already, that will do */
    while (!atomic_load(&texts->is_idle) && !fr_queue_is_closed(texts->stop))
        fr_clock_sleep_ms(HELD_MS);
}

void pipeline_texts__release(struct pipeline_texts *texts)
{
    if (texts)
        atomic_store(&texts->is_held, false);
}

/* ---- start and stop ---- */

/* Learns anew what was labelled since, when that is due. Comments are judged meanwhile, labelled texts wait. */
static void learn(struct reader *reader)
{
    int64_t begun_ms = fr_clock_monotonic_ms(), took_ms;
    bool is_stale;

    if (begun_ms < reader->learn_after_ms)
        return;
    pthread_mutex_lock(&reader->adding);
    is_stale = learner_intent_is_stale(reader->intent);
    if (is_stale) {
        learner_intent_learn(reader->intent);
        pthread_mutex_lock(&reader->judging);
        reader->adopted = learner_intent_adopt(reader->intent);
        pthread_mutex_unlock(&reader->judging);
        fr_gauge_set(reader->examples, reader->adopted);
    }
    pthread_mutex_unlock(&reader->adding);
    took_ms = fr_clock_monotonic_ms() - begun_ms;
    if (is_stale)
        reader->learn_after_ms = begun_ms + (took_ms * LEARN_SHARE > LEARN_LEAST_MS ? took_ms * LEARN_SHARE : LEARN_LEAST_MS);
}

static bool consume(struct reader *reader, const char *name, int partitions, const struct ingest_sink *sink,
                    struct ingest **ingest, struct fr_err *err)
{
    const struct pipeline_texts *texts = reader->texts;
    struct ingest_topic topic = {.name = name, .format = reader->text->format, .partitions = partitions};
    struct ingest_options options = {.brokers = texts->brokers,
                                     .cluster_id = texts->cluster_id,
                                     .group = reader->group,
                                     .topics = &topic,
                                     .topic_count = 1,
                                     .dead_letters = texts->config->dead_letters,
                                     .start = INGEST_EARLIEST,
                                     .is_resumed = ingest == &reader->from,
                                     .is_sharing = ingest == &reader->from && texts->cluster,
                                     .properties = texts->config->properties,
                                     .property_count = texts->config->property_count,
                                     .lanes = 1,
                                     .batch_max = BATCH_EVENTS,
                                     .queue_bytes = QUEUE_BYTES,
                                     .max_future_ms = texts->config->is_event_clock ? -1 : texts->config->max_future_ms,
                                     .metrics = texts->unseen,
                                     .sink = *sink};

    return ingest_open(&options, ingest, err);
}

static void begin_passing(struct reader *reader)
{
    struct ingest_sink sink = {
        .user = reader, .cluster = any_cluster, .start = from_start, .batch = from_batch, .fatal = stop_all};
    struct fr_err err;

    if (!consume(reader, reader->text->from, pipeline_config__partitions(reader->texts->config), &sink, &reader->from, &err))
        stop_all(reader, &err);
}

static void step(struct reader *reader, bool is_telling)
{
    if (!reader->from && !is_caught_up(reader))
        return; /* nothing is said before all that was labelled is known */
    learn(reader);
    if (!reader->from)
        begin_passing(reader);
    if (reader->from && reader->texts->cluster)
        take(reader);
    if (is_telling)
        tell(reader);
}

static void *run(void *user)
{
    struct pipeline_texts *texts = user;
    void *nothing;

    for (uint64_t ticks = 1; !fr_queue_is_closed(texts->stop); ticks++) {
        bool is_held;

        (void)fr_queue_receive(texts->stop, &nothing, TICK_MS);
        atomic_store(&texts->is_idle, false);
        is_held = atomic_load(&texts->is_held); /* after that: who holds it looks the other way round */
        for (int i = 0; i < texts->count; i++) {
            if (is_held)
                give_back(&texts->readers[i]);
            else
                step(&texts->readers[i], ticks % TELL_TICKS == 0);
        }
        atomic_store(&texts->is_idle, is_held);
    }
    return NULL;
}

static void find_metrics(struct reader *reader, struct fr_metrics *metrics)
{
    char labels[256];

    for (int i = 0; i <= LEARNER_LABELS_MAX; i++) {
        if (i >= reader->text->options.labels && i < LEARNER_LABELS_MAX)
            continue;
        snprintf(labels, sizeof labels, "text=\"%s\",label=\"%s\"", reader->text->name,
                 i < LEARNER_LABELS_MAX ? reader->text->labels[i] : "");
        reader->labels[i] = fr_metrics_counter(metrics, "freshet_texts_total", labels,
                                               "Events passed on, by the label of their text (empty: none).");
    }
    for (int i = 0; i < LABELLED_WHATS; i++) {
        snprintf(labels, sizeof labels, "text=\"%s\",what=\"%s\"", reader->text->name, labelled_names[i]);
        reader->labelled_total[i] = fr_metrics_counter(metrics, "freshet_texts_labelled_total", labels,
                                                       "Labelled texts that were read, since the start.");
    }
    snprintf(labels, sizeof labels, "text=\"%s\"", reader->text->name);
    reader->examples = fr_metrics_gauge(metrics, "freshet_texts_examples", labels, "Different labelled texts that it goes by.");
    reader->repeated = fr_metrics_counter(metrics, "freshet_texts_retries_total", labels,
                                          "Times that events could not be passed on and were tried again.");
}

static bool open_reader(struct pipeline_texts *texts, struct reader *reader, struct fr_metrics *metrics, struct fr_err *err)
{
    reader->texts = texts;
    pthread_mutex_init(&reader->adding, NULL);
    pthread_mutex_init(&reader->judging, NULL);
    fr_buffer_init(&reader->wire);
    reader->labelled_next = calloc(PIPELINE_PARTITIONS_MAX, sizeof *reader->labelled_next);
    reader->from_next = calloc(PIPELINE_PARTITIONS_MAX, sizeof *reader->from_next);
    reader->told = calloc(PIPELINE_PARTITIONS_MAX, sizeof *reader->told);
    reader->numbers = calloc(PIPELINE_PARTITIONS_MAX, sizeof *reader->numbers);
    reader->intent = learner_intent_new(&reader->text->options);
    if (!reader->labelled_next || !reader->from_next || !reader->told || !reader->numbers || !reader->intent)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for texts.%s", reader->text->name);
    for (int i = 0; i < PIPELINE_PARTITIONS_MAX; i++) {
        atomic_init(&reader->from_next[i], -1);
        reader->told[i] = -1;
    }
    snprintf(reader->group, sizeof reader->group, "%s.%s", texts->config->group, reader->text->name);
    find_metrics(reader, metrics);
    return true;
}

bool pipeline_texts__open(const struct pipeline_config *config, struct fr_metrics *metrics, struct pipeline_texts **ret,
                          struct fr_err *err)
{
    struct pipeline_texts *texts;

    *ret = NULL;
    if (config->text_count == 0 || config->is_replica)
        return true;
    texts = calloc(1, sizeof *texts);
    if (!texts)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for texts");
    *ret = texts; /* the caller closes it */
    texts->config = config;
    atomic_init(&texts->is_held, config->is_cluster); /* until it has partitions */
    texts->unseen = fr_metrics_new();
    texts->stop = fr_queue_new(1);
    if (!texts->unseen || !texts->stop)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for texts");
    for (; texts->count < config->text_count; texts->count++) {
        texts->readers[texts->count].text = &config->texts[texts->count];
        if (!open_reader(texts, &texts->readers[texts->count], metrics, err)) {
            texts->count++; /* what it has is closed, too */
            return false;
        }
    }
    return true;
}

bool pipeline_texts__start(struct pipeline_texts *texts, const struct pipeline_cluster *cluster, const char *brokers,
                           const char *cluster_id, struct fr_err *err)
{
    if (!texts)
        return true;
    texts->cluster = cluster;
    texts->brokers = brokers;
    texts->cluster_id = cluster_id;
    for (int i = 0; i < texts->count; i++) {
        struct reader *reader = &texts->readers[i];
        struct ingest_sink sink = {
            .user = reader, .cluster = any_cluster, .start = labelled_start, .batch = labelled_batch, .fatal = stop_all};

        if (!consume(reader, reader->text->labelled, 1, &sink, &reader->labelled, err))
            return false;
    }
    if (pthread_create(&texts->thread, NULL, run, texts) != 0)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: cannot start the texts' thread; raise the limit of threads");
    pthread_setname_np(texts->thread, "texts");
    texts->is_started = true;
    return true;
}

void pipeline_texts__stop(struct pipeline_texts *texts)
{
    if (!texts)
        return;
    if (texts->stop)
        fr_queue_close(texts->stop);
    if (texts->is_started)
        pthread_join(texts->thread, NULL);
    texts->is_started = false;
    for (int i = 0; i < texts->count; i++) {
        if (texts->readers[i].labelled)
            ingest_stop(texts->readers[i].labelled);
        if (texts->readers[i].from)
            ingest_stop(texts->readers[i].from);
        tell(&texts->readers[i]);
    }
}

static void close_reader(struct reader *reader, int deadline_ms)
{
    if (!ingest_close(reader->labelled, deadline_ms) || !ingest_close(reader->from, deadline_ms))
        fr_log(FR_LOG_WARN, "pipeline", "a Kafka client of texts.%s did not close in time and is abandoned",
               reader->text->name);
    ingest_producer_close(reader->producer);
    learner_intent_free(reader->intent);
    fr_buffer_fini(&reader->wire);
    free((void *)reader->labelled_next);
    free((void *)reader->from_next);
    free(reader->told);
    free(reader->numbers);
    pthread_mutex_destroy(&reader->adding);
    pthread_mutex_destroy(&reader->judging);
}

void pipeline_texts__close(struct pipeline_texts *texts, int deadline_ms)
{
    if (!texts)
        return;
    pipeline_texts__stop(texts);
    for (int i = 0; i < texts->count; i++)
        close_reader(&texts->readers[i], deadline_ms);
    if (texts->stop)
        fr_queue_free(texts->stop);
    fr_metrics_free(texts->unseen);
    free(texts);
}
