/*
 * The helper thread: everything that asks a broker something and waits for the answer, so that no lane does; and every callback of
 * the sink but `batch`. It lives from ingest_open() to ingest_close(): after a stop it still serves the dead letters and the
 * group's offsets.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
    TICK_MS = 20,
    MARKS_MS = 500,
    MARKS_AGAIN_MS = 100,
    CLUSTER_MS = 200,
    DOUBT_MS = 2000,
    TOPICS_SOON_MS = 500,
    MAIL_MAX = 4096
};

static bool is_stopping(const struct ingest_helper *helper)
{
    return fr_queue_is_closed(helper->ingest->stop);
}

static void fail(struct ingest_helper *helper, const struct fr_err *err)
{
    const struct ingest_sink *sink = &helper->ingest->options.sink;

    fr_queue_close(helper->ingest->stop);
    if (!helper->is_fatal)
        sink->fatal(sink->user, err);
    helper->is_fatal = true;
}

static bool ask_cluster(struct ingest_helper *helper, struct fr_err *err)
{
    struct ingest *ingest = helper->ingest;
    const struct ingest_sink *sink = &ingest->options.sink;
    char *cluster = ingest_client__cluster(ingest->consumer, CLUSTER_MS, &helper->is_mock);
    const char *told = ingest->options.cluster_id ? ingest->options.cluster_id : cluster;

    if (!cluster)
        return true; /* nobody answered yet */
    helper->is_cluster_known = true;
    helper->cluster = strdup(told);
    helper->answering = strdup(cluster);
    rd_kafka_mem_free(ingest->consumer, cluster);
    if (!helper->cluster || !helper->answering)
        return fr_fail(err, FR_EXHAUSTED, "ingest: out of memory");
    return sink->cluster(sink->user, helper->cluster, err);
}

bool ingest_helper__check_cluster(struct ingest_helper *helper, struct fr_err *err)
{
    struct ingest *ingest = helper->ingest;
    bool is_mock, is_same;
    char *cluster = ingest_client__cluster(ingest->consumer, CLUSTER_MS, &is_mock);

    if (!cluster)
        return true;
    is_same = strcmp(cluster, helper->answering) == 0;
    if (!is_same)
        fr_fail(err, FR_BAD_CONFIG,
                "kafka: the brokers at %s are cluster '%s' now and were '%s' before; point kafka.brokers at that one, or set "
                "store.path to another directory to start afresh",
                ingest->options.brokers, cluster, helper->answering);
    rd_kafka_mem_free(ingest->consumer, cluster);
    return is_same;
}

static void log_gap(const struct ingest_part *part, int64_t from, int64_t gap)
{
    fr_log(FR_LOG_ERROR, "ingest",
           "%s [%" PRId32 "]: %" PRId64 " offsets from %" PRId64 " on are gone from Kafka before they were read (retention)",
           part->source->name, part->number, gap, from);
}

static struct fr_counter *gap_counter(struct ingest *ingest, const struct ingest_part *part)
{
    struct fr_buffer labels;
    struct fr_counter *counter;

    fr_buffer_init(&labels);
    fr_buffer_append_text(&labels, "topic=\"");
    fr_metrics_escape(&labels, part->source->name);
    fr_buffer_append_format(&labels, "\",partition=\"%" PRId32 "\"", part->number);
    fr_buffer_append_byte(&labels, 0);
    counter = fr_metrics_counter(ingest->options.metrics, "freshet_ingest_gap_events_total",
                                 labels.is_failed ? NULL : (const char *)labels.bytes,
                                 "Offsets that Kafka's retention took before they were read");
    fr_buffer_fini(&labels);
    return counter;
}

/* A new leader may need a moment to know its own end. */
static bool is_surely_beyond(struct ingest_part *part)
{
    int64_t now_ms = fr_clock_monotonic_ms();

    if (part->beyond_since_ms == 0)
        part->beyond_since_ms = now_ms;
    return now_ms - part->beyond_since_ms >= INGEST_MISSING_MS;
}

/* The offset that is known is of a topic that is no more: this one is read as any new one. */
static void forget_position(struct ingest_helper *helper, struct ingest_part *part)
{
    fr_counter_add(helper->ingest->recreations, 1);
    fr_log(FR_LOG_ERROR, "ingest",
           "%s [%" PRId32 "] was made anew or cut after it was read up to %" PRId64
           ": it begins as kafka.start says, and what the "
           "state has stays (kafka.recreated: adopt)",
           part->source->name, part->number, part->next_offset);
    part->next_offset = -1;
    part->last.offset = -1;
    part->is_changed = false;
    part->needs_telling = true;
}

static bool refuse_recreated(const struct ingest_helper *helper, const struct ingest_part *part, int64_t end,
                             struct fr_err *err)
{
    static const char cure[] =
        "start with an empty store.path, or set kafka.recreated to adopt and it is read as kafka.start says, "
        "on top of the state";
    const char *brokers = helper->ingest->options.brokers;

    if (part->is_changed)
        return fr_fail(err, FR_BAD_CONFIG,
                       "kafka: %s [%" PRId32 "] at %s has another record at offset %" PRId64
                       " than the one applied: the topic was made anew; %s",
                       part->source->name, part->number, brokers, part->last.offset, cure);
    return fr_fail(err, FR_BAD_CONFIG,
                   "kafka: %s [%" PRId32 "] at %s ends at offset %" PRId64 ", but it was read up to %" PRId64
                   ": the topic was made anew or cut; %s",
                   part->source->name, part->number, brokers, end, part->next_offset, cure);
}

/* A lane that has nothing to read waits up to 50 ms for the next record; it shall look at its orders before. */
static bool give_order(const struct ingest_lane *lane, struct ingest_order *order)
{
    void *message = order;

    if (!fr_queue_send(lane->orders, &message, 0))
        return false;
    rd_kafka_queue_yield(lane->queue);
    return true;
}

/* Gives a placed part to its lane. When the lane is too busy to take it, the next round does. */
static void hand_over(struct ingest_helper *helper, struct ingest_part *part, const struct ingest_place *place)
{
    struct ingest *ingest = helper->ingest;
    int64_t from = part->next_offset;

    part->needs_telling = part->needs_telling || part->next_offset != place->next_offset;
    part->next_offset = place->next_offset;
    part->is_checking = place->is_checked;
    part->is_waiting = false;
    if (!give_order(&ingest->lanes[part->lane], &part->place)) {
        part->next_offset = from;
        part->is_waiting = true;
        return;
    }
    ingest_parts__set_started(&ingest->parts, part->index, part->stop_offset, place->gap);
    fr_counter_add(gap_counter(ingest, part), (uint64_t)place->gap); /* 0 too: who watches an increase needs what was before */
    if (place->gap > 0)
        log_gap(part, from, place->gap);
}

/* Once: what comes later is not this reader's. */
static void set_stop(const struct ingest *ingest, struct ingest_part *part, int64_t end)
{
    if (ingest->options.stop_offset == 0 || part->stop_offset >= 0)
        return;
    part->stop_offset = ingest->options.stop_offset < end ? ingest->options.stop_offset : end;
    if (part->next_offset > part->stop_offset) {
        part->next_offset = part->stop_offset;
        part->needs_telling = true;
    }
}

static bool place_part(struct ingest_helper *helper, struct ingest_part *part, struct fr_err *err)
{
    struct ingest_partition seen = ingest_parts__seen(&helper->ingest->parts, part->index);
    struct ingest_place place;

    if (seen.end < 0 || seen.known_ms < part->waiting_since_ms)
        return true; /* what is known is older than the question */
    if (part->is_changed && !helper->ingest->options.is_adopting)
        return refuse_recreated(helper, part, seen.end, err);
    if (part->is_changed)
        forget_position(helper, part);
    set_stop(helper->ingest, part, seen.end);
    place = ingest_place__choose(part->next_offset, part->last.offset, seen.low, seen.end, helper->ingest->options.start,
                                 part->is_late);
    switch (place.placed) {
    case INGEST_PLACED_NOWHERE:
        return fr_fail(err, FR_BAD_CONFIG,
                       "kafka: the store knows no offset of %s [%" PRId32
                       "] and kafka.start is fail; set it to earliest or latest",
                       part->source->name, part->number);
    case INGEST_PLACED_BEYOND:
        if (!is_surely_beyond(part))
            return true;
        if (!helper->ingest->options.is_adopting)
            return refuse_recreated(helper, part, seen.end, err);
        forget_position(helper, part);
        return true; /* the next round places it */
    case INGEST_PLACED:
    case INGEST_PLACED_AFTER_GAP:
        part->beyond_since_ms = 0;
        hand_over(helper, part, &place);
    }
    return true;
}

void ingest_helper__doubt(struct ingest_part *part)
{
    part->is_doubted = true;
}

void ingest_helper__doubt_all(struct ingest *ingest, const struct ingest_source *source)
{
    int count = ingest_parts__count(&ingest->parts);

    for (int i = 0; i < count; i++) {
        struct ingest_part *part = ingest_parts__at(&ingest->parts, i);

        if (!source || part->source == source)
            ingest_helper__doubt(part);
    }
}

/* When the lane is too busy to hear it, the next round tells. */
static void tell_doubt(const struct ingest_helper *helper, struct ingest_part *part)
{
    if (part->is_waiting || give_order(&helper->ingest->lanes[part->lane], &part->doubt))
        part->is_doubted = false;
}

/* Who is away for a while may come back as another cluster, or with other topics. */
static void note_answer(struct ingest_helper *helper, bool is_answered)
{
    int64_t now_ms = fr_clock_monotonic_ms();

    if (!is_answered && helper->topics_due_ms > now_ms + TOPICS_SOON_MS)
        helper->topics_due_ms = now_ms + TOPICS_SOON_MS; /* a topic that is gone shows so */
    if (is_answered) {
        helper->silent_since_ms = 0;
        helper->was_silent = false;
    } else if (helper->silent_since_ms == 0) {
        helper->silent_since_ms = now_ms;
    } else if (!helper->was_silent && now_ms - helper->silent_since_ms > DOUBT_MS) {
        ingest_helper__doubt_all(helper->ingest, NULL);
        helper->was_silent = true;
    }
}

static bool place_parts(struct ingest_helper *helper, struct fr_err *err)
{
    struct ingest_parts *parts = &helper->ingest->parts;
    int count = ingest_parts__count(parts);

    for (int i = 0; i < count; i++) {
        struct ingest_part *part = ingest_parts__at(parts, i);

        if (part->is_waiting && ingest_share__may_place(helper, part) && !place_part(helper, part, err))
            return false;
        if (part->is_doubted)
            tell_doubt(helper, part);
    }
    return true;
}

static bool ask_marks(struct ingest_helper *helper, struct fr_err *err)
{
    struct ingest *ingest = helper->ingest;
    bool is_answered = ingest_watermarks__ask(ingest);

    if (ingest_parts__count(&ingest->parts) > 0)
        ingest_parts__set_connected(&ingest->parts, is_answered);
    note_answer(helper, is_answered);
    helper->marks_due_ms = fr_clock_monotonic_ms() + (is_answered ? MARKS_MS : MARKS_AGAIN_MS);
    return is_stopping(helper) || place_parts(helper, err);
}

/* What is due. False is fatal. */
static bool step(struct ingest_helper *helper, struct fr_err *err)
{
    int64_t now_ms = fr_clock_monotonic_ms();

    if (!helper->is_cluster_known && !ask_cluster(helper, err))
        return false;
    if (!helper->is_cluster_known || is_stopping(helper))
        return true;
    if (now_ms >= helper->topics_due_ms && !ingest_discovery__refresh(helper->ingest, err))
        return false;
    if (atomic_exchange(&helper->is_asked, false))
        helper->marks_due_ms = 0;
    return now_ms < helper->marks_due_ms || is_stopping(helper) || ask_marks(helper, err);
}

static void take_mail(struct ingest_helper *helper, const struct ingest_mail *mail)
{
    switch (mail->kind) {
    case INGEST_MAIL_LOST:
        mail->part->is_waiting = true;
        mail->part->is_releasing = false;
        mail->part->waiting_since_ms = fr_clock_monotonic_ms();
        helper->marks_due_ms = 0;
        break;
    case INGEST_MAIL_HUNGRY:
        helper->marks_due_ms = 0;
        break;
    case INGEST_MAIL_FAILED:
        fail(helper, &mail->lane->err);
    }
}

static void *run(void *arg)
{
    struct ingest_helper *helper = arg;
    struct ingest *ingest = helper->ingest;
    struct fr_err err;
    void *message;

    while (!fr_queue_is_closed(helper->mail)) {
        if (fr_queue_receive(helper->mail, &message, TICK_MS))
            do
                take_mail(helper, message);
            while (fr_queue_receive(helper->mail, &message, 0));
        rd_kafka_poll(ingest->consumer, 0);
        rd_kafka_poll(ingest->office, 0);
        ingest_commits__serve(&ingest->commits);
        ingest_letters__resend(ingest->letters);
        if (ingest->options.is_sharing)
            ingest_share__release(helper);
        if (!is_stopping(helper) && !step(helper, &err))
            fail(helper, &err);
    }
    while (fr_queue_receive(helper->mail, &message, 0))
        ;
    return NULL;
}

void ingest_ask(struct ingest *ingest)
{
    atomic_store(&ingest->helper.is_asked, true);
}

bool ingest_helper__start(struct ingest_helper *helper, struct ingest *ingest, struct fr_err *err)
{
    *helper = (struct ingest_helper){.ingest = ingest, .topics_interval_ms = helper->topics_interval_ms};
    helper->mail = fr_queue_new(MAIL_MAX);
    if (!helper->mail || pthread_create(&helper->thread, NULL, run, helper) != 0)
        return fr_fail(err, FR_EXHAUSTED, "ingest: cannot start the helper thread");
    pthread_setname_np(helper->thread, "ingest helper");
    helper->is_running = true;
    return true;
}

void ingest_helper__join(struct ingest_helper *helper)
{
    if (helper->is_running) {
        fr_queue_close(helper->mail);
        pthread_join(helper->thread, NULL);
        helper->is_running = false;
    } else if (helper->mail) {
        fr_queue_close(helper->mail);
    }
    fr_queue_free(helper->mail);
    free(helper->cluster);
    free(helper->answering);
    helper->mail = NULL;
    helper->cluster = helper->answering = NULL;
}
