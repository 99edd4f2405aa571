/*
 * The low and end offsets of every partition, by two questions to each broker however many partitions there are. Asking by
 * rd_kafka_query_watermark_offsets() instead would cost two round trips a partition, each behind the fetch that is under way on the
 * same connection. One partition without a leader fails the common question: then they are asked one by one, as many as fit in the
 * time, the next ones in the next round.
 */
#include "internal.h"

#include <freshet/clock.h>

#include <stdlib.h>

/* Now and then a first question for leaders is not answered until its time is up, and the next one is at once (measured: 1 in 50). */
enum { IMPATIENT_MS = 250 };

struct question {
    rd_kafka_topic_partition_list_t *low;
    rd_kafka_topic_partition_list_t *end;
    int *parts; /* index of each */
    int count;
};

static bool init_question(struct question *question, int capacity)
{
    question->count = 0;
    question->parts = calloc((size_t)capacity, sizeof *question->parts);
    question->low = rd_kafka_topic_partition_list_new(capacity);
    question->end = rd_kafka_topic_partition_list_new(capacity);
    return question->parts != NULL;
}

static void fini_question(struct question *question)
{
    rd_kafka_topic_partition_list_destroy(question->low);
    rd_kafka_topic_partition_list_destroy(question->end);
    free(question->parts);
}

static void add(struct question *question, const struct ingest_part *part)
{
    rd_kafka_topic_partition_list_add(question->low, part->source->name, part->number)->offset = RD_KAFKA_OFFSET_BEGINNING;
    rd_kafka_topic_partition_list_add(question->end, part->source->name, part->number)->offset = RD_KAFKA_OFFSET_END;
    question->parts[question->count++] = part->index;
}

/* An end that goes back is of another log, or of a leader that has not caught up. */
static void take_marks(struct ingest *ingest, int part, int64_t low, int64_t end, int64_t asked_ms)
{
    if (end < ingest_parts__seen(&ingest->parts, part).end)
        ingest_helper__doubt(ingest_parts__at(&ingest->parts, part));
    ingest_parts__set_marks(&ingest->parts, part, low, end < low ? low : end, asked_ms);
}

/* The end first: an end that is older than its low would be below it after a trim. */
static bool ask(struct ingest *ingest, const struct question *question, int timeout_ms)
{
    int64_t asked_ms = fr_clock_monotonic_ms();
    bool is_answered = true;

    if (rd_kafka_offsets_for_times(ingest->consumer, question->end, timeout_ms) != RD_KAFKA_RESP_ERR_NO_ERROR ||
        rd_kafka_offsets_for_times(ingest->consumer, question->low, timeout_ms) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    for (int i = 0; i < question->count; i++) {
        const rd_kafka_topic_partition_t *low = &question->low->elems[i], *end = &question->end->elems[i];

        if (low->err || end->err || low->offset < 0 || end->offset < 0)
            is_answered = false;
        else
            take_marks(ingest, question->parts[i], low->offset, end->offset, asked_ms);
    }
    return is_answered;
}

static bool ask_one(struct ingest *ingest, const struct ingest_part *part)
{
    struct question question;
    bool is_answered = init_question(&question, 1);

    if (is_answered) {
        add(&question, part);
        is_answered = ask(ingest, &question, IMPATIENT_MS);
    }
    fini_question(&question);
    return is_answered;
}

static bool ask_each(struct ingest *ingest, int count)
{
    int64_t until_ms = fr_clock_monotonic_ms() + INGEST_QUESTION_MS;
    int answered = 0;

    for (int i = 0; i < count && fr_clock_monotonic_ms() < until_ms; i++) {
        int index = ingest->helper.next_mark % count;

        ingest->helper.next_mark = index + 1;
        answered += ask_one(ingest, ingest_parts__at(&ingest->parts, index));
    }
    return answered == count;
}

bool ingest_watermarks__ask(struct ingest *ingest)
{
    int count = ingest_parts__count(&ingest->parts);
    struct question question;
    bool is_answered;

    if (count == 0)
        return true;
    is_answered = init_question(&question, count);
    for (int i = 0; i < count && is_answered; i++)
        add(&question, ingest_parts__at(&ingest->parts, i));
    if (is_answered)
        is_answered = ask(ingest, &question, ingest_is_assigned(ingest) ? INGEST_QUESTION_MS : IMPATIENT_MS);
    fini_question(&question);
    if (is_answered || count == 1 || fr_queue_is_closed(ingest->stop))
        return is_answered;
    return ask_each(ingest, count);
}
