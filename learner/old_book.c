/*
 * Accounts of format 1, which had no places: they are read as ones of now. Impressions count as shown before all events that are to come,
 * outcomes as having come at their own times.
 */
#include "join.h"

#include <string.h>

enum { OLD_FORMAT = 1 };

struct old_head {
    uint32_t format, task_count;
    uint64_t tasks;
    int64_t scheduled_ms;
    uint32_t request_count, impression_count, outcome_count, unused;
};

/* These were as they are now, without what is last in them now. */
static const size_t old_impression = offsetof(struct learner_impression, place),
                    old_outcome = offsetof(struct learner_outcome, place);

static size_t old_bytes(const struct old_head *head)
{
    size_t states = (size_t)head->task_count * sizeof(struct learner_label_state);

    return sizeof *head + (size_t)head->request_count * sizeof(struct learner_request) +
           head->impression_count * (old_impression + states) + head->outcome_count * old_outcome;
}

bool learner_book__is_old(struct fr_slice bytes)
{
    struct old_head head;

    if (bytes.length < sizeof head)
        return false;
    memcpy(&head, bytes.bytes, sizeof head);
    return head.format == OLD_FORMAT && head.task_count <= LEARNER_TASKS_ALL_MAX && bytes.length == old_bytes(&head);
}

static const uint8_t *widen_impressions(const struct old_head *head, const uint8_t *at, struct fr_buffer *memory)
{
    size_t states = (size_t)head->task_count * sizeof(struct learner_label_state);

    for (uint32_t i = 0; i < head->impression_count; i++) {
        struct learner_impression shown;

        memset(&shown, 0, sizeof shown);
        memcpy(&shown, at, old_impression);
        fr_buffer_append(memory, &shown, sizeof shown);
        fr_buffer_append(memory, at + old_impression, states);
        at += old_impression + states;
    }
    return at;
}

void learner_book__widen(struct fr_slice bytes, struct fr_buffer *memory)
{
    const uint8_t *at = bytes.bytes;
    struct learner_book_head widened;
    struct old_head head;

    memcpy(&head, at, sizeof head);
    at += sizeof head;
    memset(&widened, 0, sizeof widened);
    widened.format = LEARNER_BOOK_FORMAT;
    widened.task_count = head.task_count;
    widened.tasks = head.tasks;
    widened.scheduled_ms = head.scheduled_ms;
    widened.request_count = head.request_count;
    widened.impression_count = head.impression_count;
    widened.outcome_count = head.outcome_count;
    fr_buffer_append(memory, &widened, sizeof widened);
    fr_buffer_append(memory, at, (size_t)head.request_count * sizeof(struct learner_request));
    at = widen_impressions(&head, at + (size_t)head.request_count * sizeof(struct learner_request), memory);
    for (uint32_t i = 0; i < head.outcome_count; i++, at += old_outcome) {
        struct learner_outcome outcome;

        memset(&outcome, 0, sizeof outcome);
        memcpy(&outcome, at, old_outcome);
        outcome.place.ms = outcome.ts_ms;
        fr_buffer_append(memory, &outcome, sizeof outcome);
    }
}
