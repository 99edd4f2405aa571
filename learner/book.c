/*
 * What waits of one user: the requests whose rows are there, the impressions of items, and outcomes that came before what they are of.
 * In the store it is one part: head, requests, impressions, outcomes, all of fixed width.
 */
#include "join.h"

#include <stdlib.h>
#include <string.h>

void learner_book__init(struct learner_book *book, int task_count)
{
    size_t states = (size_t)task_count * sizeof(struct learner_label_state);

    *book = (struct learner_book){.stride = sizeof(struct learner_impression) + states,
                                  .held_stride = sizeof(struct learner_held) + states};
}

void learner_book__fini(struct learner_book *book)
{
    free(book->requests);
    free(book->impressions);
    free(book->outcomes);
    free(book->held);
}

static size_t stored_bytes(const struct learner_book_head *head)
{
    size_t states = (size_t)head->task_count * sizeof(struct learner_label_state);

    return sizeof *head + (size_t)head->request_count * sizeof(struct learner_request) +
           head->impression_count * (sizeof(struct learner_impression) + states) +
           head->outcome_count * sizeof(struct learner_outcome) + head->held_count * (sizeof(struct learner_held) + states);
}

bool learner_book__is_good(struct fr_slice bytes)
{
    struct learner_book_head head;

    if (bytes.length < sizeof head)
        return false;
    memcpy(&head, bytes.bytes, sizeof head);
    return head.format == LEARNER_BOOK_FORMAT && head.task_count <= LEARNER_TASKS_ALL_MAX &&
           bytes.length == stored_bytes(&head);
}

/* Room for one more of `bytes` each. */
static bool reserve(struct learner_book *book, void **list, int count, int *capacity, size_t bytes)
{
    int wanted = *capacity > 0 ? 2 * *capacity : 16;
    void *grown;

    book->is_changed = true;
    if (count < *capacity)
        return true;
    grown = reallocarray(*list, (size_t)wanted, bytes);
    if (!grown) {
        book->is_failed = true;
        return false;
    }
    *list = grown;
    *capacity = wanted;
    return true;
}

struct learner_request *learner_book__add_request(struct learner_book *book)
{
    void *list = book->requests;

    if (!reserve(book, &list, book->request_count, &book->request_capacity, sizeof *book->requests))
        return NULL;
    book->requests = list;
    book->requests[book->request_count] = (struct learner_request){0};
    return &book->requests[book->request_count++];
}

struct learner_impression *learner_book__add_impression(struct learner_book *book)
{
    void *list = book->impressions;

    if (!reserve(book, &list, book->impression_count, &book->impression_capacity, book->stride))
        return NULL;
    book->impressions = list;
    memset(learner_book__at(book, book->impression_count), 0, book->stride);
    return learner_book__at(book, book->impression_count++);
}

struct learner_outcome *learner_book__add_outcome(struct learner_book *book)
{
    void *list = book->outcomes;

    if (!reserve(book, &list, book->outcome_count, &book->outcome_capacity, sizeof *book->outcomes))
        return NULL;
    book->outcomes = list;
    book->outcomes[book->outcome_count] = (struct learner_outcome){0};
    return &book->outcomes[book->outcome_count++];
}

struct learner_held *learner_book__add_held(struct learner_book *book)
{
    void *list = book->held;

    if (!reserve(book, &list, book->held_count, &book->held_capacity, book->held_stride))
        return NULL;
    book->held = list;
    memset(learner_book__held_at(book, book->held_count), 0, book->held_stride);
    return learner_book__held_at(book, book->held_count++);
}

static void remove_at(void *list, int *count, int i, size_t bytes)
{
    uint8_t *at = (uint8_t *)list + (size_t)i * bytes;

    memmove(at, at + bytes, (size_t)(*count - i - 1) * bytes);
    --*count;
}

void learner_book__remove_request(struct learner_book *book, int i)
{
    book->is_changed = true;
    remove_at(book->requests, &book->request_count, i, sizeof *book->requests);
}

void learner_book__remove_impression(struct learner_book *book, int i)
{
    book->is_changed = true;
    remove_at(book->impressions, &book->impression_count, i, book->stride);
}

void learner_book__remove_outcome(struct learner_book *book, int i)
{
    book->is_changed = true;
    remove_at(book->outcomes, &book->outcome_count, i, sizeof *book->outcomes);
}

void learner_book__remove_held(struct learner_book *book, int i)
{
    book->is_changed = true;
    remove_at(book->held, &book->held_count, i, book->held_stride);
}

struct learner_request *learner_book__request(const struct learner_book *book, uint64_t request_id)
{
    for (int i = 0; i < book->request_count; i++)
        if (book->requests[i].request_id == request_id)
            return &book->requests[i];
    return NULL;
}

struct learner_impression *learner_book__impression(const struct learner_book *book, uint64_t request_id, uint64_t item_id)
{
    for (int i = book->impression_count - 1; i >= 0; i--) {
        struct learner_impression *shown = learner_book__at(book, i);

        if (shown->request_id == request_id && shown->item_id == item_id)
            return shown;
    }
    return NULL;
}

void learner_book__read(struct learner_book *book, struct fr_slice bytes, uint64_t tasks, int *lost)
{
    const uint8_t *at = bytes.bytes;
    struct learner_book_head head;
    bool is_ours;

    book->request_count = book->impression_count = book->outcome_count = book->held_count = 0;
    book->scheduled = (struct learner_place){.ms = INT64_MAX};
    *lost = 0;
    book->is_changed = false;
    if (bytes.length == 0)
        return;
    memcpy(&head, at, sizeof head);
    at += sizeof head;
    book->scheduled = (struct learner_place){.ms = head.scheduled_ms, .number = head.scheduled_number};
    for (uint32_t i = 0; i < head.request_count; i++, at += sizeof(struct learner_request)) {
        struct learner_request *request = learner_book__add_request(book);

        if (request)
            memcpy(request, at, sizeof *request);
    }
    is_ours = head.tasks == tasks; /* otherwise what the states mean is not known */
    *lost = is_ours ? 0 : (int)(head.impression_count + head.held_count);
    for (uint32_t i = 0; is_ours && i < head.impression_count; i++, at += book->stride) {
        struct learner_impression *shown = learner_book__add_impression(book);

        if (shown)
            memcpy(shown, at, book->stride);
    }
    for (uint32_t i = 0; is_ours && i < head.outcome_count; i++, at += sizeof(struct learner_outcome)) {
        struct learner_outcome *outcome = learner_book__add_outcome(book);

        if (outcome)
            memcpy(outcome, at, sizeof *outcome);
    }
    for (uint32_t i = 0; is_ours && i < head.held_count; i++, at += book->held_stride) {
        struct learner_held *held = learner_book__add_held(book);

        if (held)
            memcpy(held, at, book->held_stride);
    }
    book->is_changed = *lost > 0;
}

uint32_t learner_book__bytes(const struct learner_book *book)
{
    if (book->request_count + book->impression_count + book->outcome_count + book->held_count == 0)
        return 0;
    return (uint32_t)(sizeof(struct learner_book_head) + (size_t)book->request_count * sizeof(struct learner_request) +
                      (size_t)book->impression_count * book->stride +
                      (size_t)book->outcome_count * sizeof(struct learner_outcome) +
                      (size_t)book->held_count * book->held_stride);
}

void learner_book__write(const struct learner_book *book, uint64_t tasks, void *bytes)
{
    struct learner_book_head head = {
        .format = LEARNER_BOOK_FORMAT,
        .task_count = (uint32_t)((book->stride - sizeof(struct learner_impression)) / sizeof(struct learner_label_state)),
        .tasks = tasks,
        .scheduled_ms = book->scheduled.ms,
        .scheduled_number = book->scheduled.number,
        .request_count = (uint32_t)book->request_count,
        .impression_count = (uint32_t)book->impression_count,
        .outcome_count = (uint32_t)book->outcome_count,
        .held_count = (uint32_t)book->held_count};
    size_t requests = (size_t)book->request_count * sizeof *book->requests,
           impressions = (size_t)book->impression_count * book->stride,
           outcomes = (size_t)book->outcome_count * sizeof *book->outcomes, held = (size_t)book->held_count * book->held_stride;
    uint8_t *at = bytes;

    memcpy(at, &head, sizeof head);
    at += sizeof head;
    if (requests > 0)
        memcpy(at, book->requests, requests);
    if (impressions > 0)
        memcpy(at + requests, book->impressions, impressions);
    if (outcomes > 0)
        memcpy(at + requests + impressions, book->outcomes, outcomes);
    if (held > 0)
        memcpy(at + requests + impressions + outcomes, book->held, held);
}
