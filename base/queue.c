/*
 * A ring of pointers under one mutex, with one condition for room and one for messages. Timeouts are measured on the monotonic
 * clock: a jump of the wall clock neither wakes nor freezes anybody.
 */
#include <freshet/queue.h>

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

struct fr_queue {
    pthread_mutex_t lock;
    pthread_cond_t has_room;
    pthread_cond_t has_message;
    int capacity;
    int first;
    int length;
    bool is_closed;
    void *messages[];
};

static bool init_condition(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;
    bool is_made;

    if (pthread_condattr_init(&attributes) != 0)
        return false;
    is_made = pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 && pthread_cond_init(condition, &attributes) == 0;
    pthread_condattr_destroy(&attributes);
    return is_made;
}

static bool init_locks(struct fr_queue *queue)
{
    if (pthread_mutex_init(&queue->lock, NULL) != 0)
        return false;
    if (!init_condition(&queue->has_room))
        goto out_lock;
    if (init_condition(&queue->has_message))
        return true;
    pthread_cond_destroy(&queue->has_room);
out_lock:
    pthread_mutex_destroy(&queue->lock);
    return false;
}

struct fr_queue *fr_queue_new(int capacity)
{
    struct fr_queue *queue;

    assert(capacity > 0);
    queue = calloc(1, sizeof(*queue) + (size_t)capacity * sizeof(queue->messages[0]));
    if (!queue)
        return NULL;
    queue->capacity = capacity;
    if (!init_locks(queue)) {
        free(queue);
        return NULL;
    }
    return queue;
}

void fr_queue_free(struct fr_queue *queue)
{
    if (!queue)
        return;
    assert(queue->is_closed && queue->length == 0); /* a message left behind would have no owner */
    pthread_cond_destroy(&queue->has_message);
    pthread_cond_destroy(&queue->has_room);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

static struct timespec deadline_after(int timeout_ms)
{
    struct timespec at;

    clock_gettime(CLOCK_MONOTONIC, &at);
    at.tv_sec += timeout_ms / 1000;
    at.tv_nsec += (long)(timeout_ms % 1000) * 1000000;
    if (at.tv_nsec >= 1000000000) {
        at.tv_nsec -= 1000000000;
        at.tv_sec++;
    }
    return at;
}

/* Waits once under the lock. False when the time is up; true may be spurious, so callers loop. */
static bool wait_once(struct fr_queue *queue, pthread_cond_t *condition, int timeout_ms, const struct timespec *deadline)
{
    if (timeout_ms == 0)
        return false;
    if (timeout_ms < 0)
        return pthread_cond_wait(condition, &queue->lock) == 0;
    return pthread_cond_timedwait(condition, &queue->lock, deadline) != ETIMEDOUT;
}

bool fr_queue_send(struct fr_queue *queue, void **message, int timeout_ms)
{
    struct timespec deadline = {0};
    bool is_sent = false;

    assert(*message);
    if (timeout_ms > 0)
        deadline = deadline_after(timeout_ms);

    pthread_mutex_lock(&queue->lock);
    while (!queue->is_closed && queue->length == queue->capacity)
        if (!wait_once(queue, &queue->has_room, timeout_ms, &deadline))
            break;
    if (!queue->is_closed && queue->length < queue->capacity) {
        queue->messages[(queue->first + queue->length) % queue->capacity] = *message;
        queue->length++;
        *message = NULL;
        is_sent = true;
        pthread_cond_signal(&queue->has_message);
    }
    pthread_mutex_unlock(&queue->lock);
    return is_sent;
}

bool fr_queue_receive(struct fr_queue *queue, void **message, int timeout_ms)
{
    struct timespec deadline = {0};
    bool is_received = false;

    if (timeout_ms > 0)
        deadline = deadline_after(timeout_ms);

    pthread_mutex_lock(&queue->lock);
    while (!queue->is_closed && queue->length == 0)
        if (!wait_once(queue, &queue->has_message, timeout_ms, &deadline))
            break;
    if (queue->length > 0) {
        *message = queue->messages[queue->first];
        queue->first = (queue->first + 1) % queue->capacity;
        queue->length--;
        is_received = true;
        pthread_cond_signal(&queue->has_room);
    }
    pthread_mutex_unlock(&queue->lock);
    return is_received;
}

void fr_queue_close(struct fr_queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->is_closed = true;
    pthread_cond_broadcast(&queue->has_room);
    pthread_cond_broadcast(&queue->has_message);
    pthread_mutex_unlock(&queue->lock);
}

bool fr_queue_is_closed(struct fr_queue *queue)
{
    bool is_closed;

    pthread_mutex_lock(&queue->lock);
    is_closed = queue->is_closed;
    pthread_mutex_unlock(&queue->lock);
    return is_closed;
}

int fr_queue_length(struct fr_queue *queue)
{
    int length;

    pthread_mutex_lock(&queue->lock);
    length = queue->length;
    pthread_mutex_unlock(&queue->lock);
    return length;
}
