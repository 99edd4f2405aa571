/*
 * Who is to be looked at when: a heap of (place, user), in that order, whoever was put first. A user may be in it more than once: his
 * book says which of them counts, and the others are passed over. The lock is here because lanes put and the passing of time takes.
 */
#include "join.h"

#include <stdlib.h>

bool learner_dues__init(struct learner_dues *dues)
{
    *dues = (struct learner_dues){0};
    return pthread_mutex_init(&dues->lock, NULL) == 0;
}

void learner_dues__fini(struct learner_dues *dues)
{
    pthread_mutex_destroy(&dues->lock);
    free(dues->heap);
}

static bool grow(struct learner_dues *dues)
{
    size_t capacity = dues->capacity ? 2 * dues->capacity : 1024;
    struct learner_due *heap;

    if (dues->count < dues->capacity)
        return true;
    heap = reallocarray(dues->heap, capacity, sizeof *heap);
    if (!heap)
        return false;
    dues->heap = heap;
    dues->capacity = capacity;
    return true;
}

static bool precedes(const struct learner_due *a, const struct learner_due *b)
{
    return learner_place__precedes(a->place, b->place) ||
           (!learner_place__precedes(b->place, a->place) && a->user_id < b->user_id);
}

static void rise(struct learner_due *heap, size_t at)
{
    struct learner_due due = heap[at];

    for (; at > 0 && precedes(&due, &heap[(at - 1) / 2]); at = (at - 1) / 2)
        heap[at] = heap[(at - 1) / 2];
    heap[at] = due;
}

static void sink(struct learner_due *heap, size_t count)
{
    struct learner_due due = heap[0];
    size_t at = 0;

    for (size_t child = 1; child < count; child = 2 * at + 1) {
        child += child + 1 < count && precedes(&heap[child + 1], &heap[child]);
        if (!precedes(&heap[child], &due))
            break;
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = due;
}

bool learner_dues__put(struct learner_dues *dues, struct learner_place place, uint64_t user_id)
{
    bool has_room;

    pthread_mutex_lock(&dues->lock);
    has_room = grow(dues);
    if (has_room) {
        dues->heap[dues->count] = (struct learner_due){.place = place, .user_id = user_id};
        rise(dues->heap, dues->count++);
    }
    pthread_mutex_unlock(&dues->lock);
    return has_room;
}

static struct learner_due take_first(struct learner_dues *dues)
{
    struct learner_due first = dues->heap[0];

    dues->heap[0] = dues->heap[--dues->count];
    if (dues->count > 0)
        sink(dues->heap, dues->count);
    return first;
}

int learner_dues__take(struct learner_dues *dues, struct learner_place until, struct learner_due *taken, int most)
{
    int count = 0;

    pthread_mutex_lock(&dues->lock);
    while (count < most && dues->count > 0 && !learner_place__precedes(until, dues->heap[0].place))
        taken[count++] = take_first(dues);
    pthread_mutex_unlock(&dues->lock);
    return count;
}

bool learner_dues__take_before(struct learner_dues *dues, const struct learner_due *next, struct learner_due *taken)
{
    bool is_taken;

    pthread_mutex_lock(&dues->lock);
    is_taken = dues->count > 0 && precedes(&dues->heap[0], next);
    if (is_taken)
        *taken = take_first(dues);
    pthread_mutex_unlock(&dues->lock);
    return is_taken;
}

bool learner_dues__has(struct learner_dues *dues, struct learner_place until)
{
    bool is_there;

    pthread_mutex_lock(&dues->lock);
    is_there = dues->count > 0 && !learner_place__precedes(until, dues->heap[0].place);
    pthread_mutex_unlock(&dues->lock);
    return is_there;
}

bool learner_dues__first(struct learner_dues *dues, struct learner_due *first)
{
    bool is_there;

    pthread_mutex_lock(&dues->lock);
    is_there = dues->count > 0;
    if (is_there)
        *first = dues->heap[0];
    pthread_mutex_unlock(&dues->lock);
    return is_there;
}

void learner_dues__clear(struct learner_dues *dues)
{
    pthread_mutex_lock(&dues->lock);
    free(dues->heap);
    dues->heap = NULL;
    dues->count = dues->capacity = 0;
    pthread_mutex_unlock(&dues->lock);
}
