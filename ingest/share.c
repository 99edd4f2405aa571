/*
 * Partitions that come and go: the helper holds those that are not owned, and lanes give back what is disowned. The state of a part is
 * changed only by who holds it, as always; who owns is told by two atomics of the part.
 */
#include "internal.h"

#include <freshet/text.h>

enum { WAIT_MS = 5 };

int32_t ingest_partition_of(uint64_t user_id, int partitions)
{
    char text[20], *end = text + sizeof text, *at = end;

    do { /* by hand: it is asked of every event, and snprintf() took longer than all else that is done to check one */
        *--at = (char)('0' + user_id % 10);
        user_id /= 10;
    } while (user_id > 0);
    return (int32_t)(fr_text_murmur2(fr_slice(at, (size_t)(end - at))) % (uint32_t)partitions);
}

/* ---- the helper ---- */

bool ingest_share__may_place(const struct ingest_helper *helper, struct ingest_part *part)
{
    if (!helper->ingest->options.is_sharing)
        return true;
    if (!atomic_load_explicit(&part->is_owned, memory_order_acquire))
        return false;
    if (atomic_exchange(&part->is_given, false)) {
        part->next_offset = part->given.next_offset;
        part->last = part->given.last;
        part->is_changed = false;
        part->needs_telling = false;
    }
    return true;
}

void ingest_share__release(struct ingest_helper *helper)
{
    struct ingest_parts *parts = &helper->ingest->parts;
    unsigned asked = atomic_load_explicit(&helper->disown_asked, memory_order_acquire);
    int count = ingest_parts__count(parts);
    bool is_all_back = true;

    if (asked == atomic_load_explicit(&helper->disown_done, memory_order_relaxed))
        return;
    for (int i = 0; i < count; i++) {
        struct ingest_part *part = ingest_parts__at(parts, i);
        void *message = &part->release;

        if (atomic_load_explicit(&part->is_owned, memory_order_acquire) || part->is_waiting)
            continue;
        is_all_back = false;
        if (!part->is_releasing)
            part->is_releasing = fr_queue_send(helper->ingest->lanes[part->lane].orders, &message, 0);
    }
    if (is_all_back)
        atomic_store_explicit(&helper->disown_done, asked, memory_order_release);
}

/* ---- others ---- */

bool ingest_topics_are_found(struct ingest *ingest, int *count)
{
    bool is_found;

    pthread_mutex_lock(&ingest->parts.lock);
    is_found = ingest->parts.is_complete;
    pthread_mutex_unlock(&ingest->parts.lock);
    *count = is_found ? ingest->sources[0].partition_count : 0;
    for (int i = 0; i < ingest->source_count && is_found; i++)
        if (ingest->sources[i].is_read && ingest->sources[i].partition_count != *count)
            *count = 0;
    return is_found;
}

bool ingest_disown(struct ingest *ingest)
{
    int count = ingest_parts__count(&ingest->parts);
    unsigned asked;

    for (int i = 0; i < count; i++) {
        atomic_store_explicit(&ingest_parts__at(&ingest->parts, i)->is_owned, false, memory_order_release);
        ingest_parts__set_owned(&ingest->parts, i, false);
    }
    asked = atomic_fetch_add(&ingest->helper.disown_asked, 1) + 1;
    while (atomic_load_explicit(&ingest->helper.disown_done, memory_order_acquire) != asked) {
        void *nothing;

        (void)fr_queue_receive(ingest->stop, &nothing, WAIT_MS);
        if (fr_queue_is_closed(ingest->stop))
            return false;
    }
    return true;
}

void ingest_own(struct ingest *ingest, const int *partitions, const struct ingest_position *at, int count)
{
    for (int i = 0; i < count; i++) {
        struct ingest_part *part = ingest_parts__at(&ingest->parts, partitions[i]);

        part->given = at[i];
        atomic_store(&part->is_given, true);
        ingest_parts__set_owned(&ingest->parts, partitions[i], true);
        atomic_store_explicit(&part->is_owned, true, memory_order_release);
    }
    ingest_parts__set_told(&ingest->parts);
    ingest_ask(ingest);
}
