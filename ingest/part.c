/*
 * The table of partitions. It grows as the helper finds them; everybody may look at it, so it has a lock of its own, held for as
 * long as it takes to copy a few numbers.
 */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

bool ingest_parts__init(struct ingest_parts *parts)
{
    *parts = (struct ingest_parts){0};
    return pthread_mutex_init(&parts->lock, NULL) == 0;
}

void ingest_parts__fini(struct ingest_parts *parts)
{
    for (int i = 0; i < parts->count; i++)
        free(parts->list[i]);
    free(parts->list);
    pthread_mutex_destroy(&parts->lock);
}

static bool grow(struct ingest_parts *parts)
{
    int capacity = parts->capacity ? 2 * parts->capacity : 16;
    struct ingest_part **list = realloc(parts->list, (size_t)capacity * sizeof *list);

    if (!list)
        return false;
    parts->list = list;
    parts->capacity = capacity;
    return true;
}

bool ingest_parts__add(struct ingest_parts *parts, struct ingest_part **part)
{
    bool is_added;

    pthread_mutex_lock(&parts->lock);
    is_added = parts->count < parts->capacity || grow(parts);
    if (is_added) {
        (*part)->index = parts->count;
        parts->list[parts->count++] = *part;
        *part = NULL;
    }
    pthread_mutex_unlock(&parts->lock);
    return is_added;
}

struct ingest_part *ingest_parts__at(struct ingest_parts *parts, int index)
{
    struct ingest_part *part;

    pthread_mutex_lock(&parts->lock);
    part = index >= 0 && index < parts->count ? parts->list[index] : NULL;
    pthread_mutex_unlock(&parts->lock);
    return part;
}

int ingest_parts__count(struct ingest_parts *parts)
{
    int count;

    pthread_mutex_lock(&parts->lock);
    count = parts->count;
    pthread_mutex_unlock(&parts->lock);
    return count;
}

void ingest_parts__set_marks(struct ingest_parts *parts, int index, int64_t low, int64_t end, int64_t known_ms)
{
    struct ingest_partition *seen;

    pthread_mutex_lock(&parts->lock);
    seen = &parts->list[index]->seen;
    seen->low = low;
    seen->end = end;
    seen->known_ms = known_ms;
    pthread_mutex_unlock(&parts->lock);
}

void ingest_parts__set_started(struct ingest_parts *parts, int index, int64_t stop, int64_t gap)
{
    pthread_mutex_lock(&parts->lock);
    parts->list[index]->seen.is_started = true;
    parts->list[index]->seen.stop = stop;
    parts->list[index]->seen.gap_events += (uint64_t)gap;
    pthread_mutex_unlock(&parts->lock);
}

void ingest_parts__set_owned(struct ingest_parts *parts, int index, bool is_owned)
{
    pthread_mutex_lock(&parts->lock);
    parts->list[index]->seen.is_owned = is_owned;
    parts->list[index]->seen.is_started = parts->list[index]->seen.is_started && is_owned;
    pthread_mutex_unlock(&parts->lock);
}

void ingest_parts__set_told(struct ingest_parts *parts)
{
    pthread_mutex_lock(&parts->lock);
    parts->is_told = true;
    pthread_mutex_unlock(&parts->lock);
}

void ingest_parts__set_complete(struct ingest_parts *parts)
{
    pthread_mutex_lock(&parts->lock);
    parts->is_complete = true;
    pthread_mutex_unlock(&parts->lock);
}

void ingest_parts__set_connected(struct ingest_parts *parts, bool is_connected)
{
    pthread_mutex_lock(&parts->lock);
    parts->is_connected = is_connected;
    if (is_connected)
        parts->trouble[0] = '\0';
    pthread_mutex_unlock(&parts->lock);
}

void ingest_parts__set_trouble(struct ingest_parts *parts, const char trouble[INGEST_TROUBLE_BYTES])
{
    pthread_mutex_lock(&parts->lock);
    memcpy(parts->trouble, trouble, INGEST_TROUBLE_BYTES);
    pthread_mutex_unlock(&parts->lock);
}

struct ingest_partition ingest_parts__seen(struct ingest_parts *parts, int index)
{
    struct ingest_partition seen = {.topic = "", .low = -1, .end = -1, .stop = -1};

    pthread_mutex_lock(&parts->lock);
    if (index >= 0 && index < parts->count)
        seen = parts->list[index]->seen;
    pthread_mutex_unlock(&parts->lock);
    return seen;
}

int ingest_partition_count(struct ingest *ingest)
{
    return ingest_parts__count(&ingest->parts);
}

struct ingest_partition ingest_partition_at(struct ingest *ingest, int partition)
{
    return ingest_parts__seen(&ingest->parts, partition);
}

bool ingest_is_assigned(struct ingest *ingest)
{
    struct ingest_parts *parts = &ingest->parts;
    bool is_assigned;

    pthread_mutex_lock(&parts->lock);
    is_assigned = parts->is_complete && (parts->is_told || !ingest->options.is_sharing);
    for (int i = 0; i < parts->count && is_assigned; i++)
        is_assigned = !parts->list[i]->seen.is_owned || (parts->list[i]->seen.is_started && parts->list[i]->seen.end >= 0);
    pthread_mutex_unlock(&parts->lock);
    return is_assigned;
}

bool ingest_is_connected(struct ingest *ingest)
{
    bool is_connected;

    pthread_mutex_lock(&ingest->parts.lock);
    is_connected = ingest->parts.is_connected;
    pthread_mutex_unlock(&ingest->parts.lock);
    return is_connected;
}

void ingest_trouble(struct ingest *ingest, char text[INGEST_TROUBLE_BYTES])
{
    pthread_mutex_lock(&ingest->parts.lock);
    memcpy(text, ingest->parts.trouble, INGEST_TROUBLE_BYTES);
    pthread_mutex_unlock(&ingest->parts.lock);
}
