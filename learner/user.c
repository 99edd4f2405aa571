/* One user's account in the store: read, put back with what it makes due, and the examples that come of it. */
#include "join.h"

#include <stdlib.h>

/* Opens the account from a locked entry, or an empty one. */
void learner_user__read(struct learner_join_lane *lane, const struct store_entry *entry)
{
    uint32_t length = 0;
    const void *bytes = entry ? store_entry_read(entry, STORE_PART_ROWS, &length) : NULL;
    int lost;

    learner_book__read(&lane->book, fr_slice(bytes, length), lane->join->tasks_hash, &lost);
    lane->counted[LEARNER_DROPPED_CONFIG] += (uint64_t)lost;
    lane->is_failed = lane->is_failed || lane->book.is_failed;
}

/* Puts it back and sees to it that it is looked at in time. */
bool learner_user__write(struct learner_join_lane *lane, struct store_entry *entry, uint64_t user_id)
{
    struct learner_join *join = lane->join;
    struct learner_place due = learner_waiting__due(lane);
    uint32_t before = 0, length;
    void *bytes;

    (void)store_entry_read(entry, STORE_PART_ROWS, &before);
    if (learner_place__precedes(due, lane->book.scheduled)) {
        if (!learner_dues__put(&join->dues, due, user_id))
            return false;
        lane->book.scheduled = due;
    }
    length = learner_book__bytes(&lane->book);
    bytes = store_entry_write(join->store, entry, STORE_PART_ROWS, length);
    if (length > 0 && !bytes)
        return false;
    if (length > 0)
        learner_book__write(&lane->book, join->tasks_hash, bytes);
    atomic_fetch_add_explicit(&join->waiting_bytes, (uint64_t)length - before, memory_order_relaxed);
    return true;
}

/* What was watched counts for the ranks of all that come after it. */
static void count_example(struct learner_join_lane *lane, const struct learner_labelled *labelled)
{
    const struct learner_any_task *task = &lane->join->tasks[labelled->task];

    lane->chunk_count++;
    fr_counter_add(lane->join->examples[labelled->task][labelled->made.is_positive], 1);
    if (task->watched && labelled->made.is_positive)
        learner_watched__count(task->watched, labelled->states[labelled->task].watched - 1U);
}

/* Makes an example of what was noted, unless it is a negative that is sampled out, or a watch that has no rank. */
static void make_example(struct learner_join_lane *lane, const struct learner_labelled *labelled,
                         const struct learner_rows *rows)
{
    struct learner_join *join = lane->join;
    const struct learner_any_task *task = &join->tasks[labelled->task];
    uint64_t id = learner_example__id(labelled, join->config->models[task->model].name, task->task->name);

    if (!labelled->made.is_positive && !learner_example__is_kept(id, task->task->negatives))
        learner_join__count(lane, LEARNER_SAMPLED_OUT);
    else if (learner_example__is_unranked(join, labelled))
        learner_join__count(lane, LEARNER_UNRANKED);
    else if (!learner_example__append(join, labelled, id, rows, lane->arena, &lane->chunk))
        learner_join__count(lane, LEARNER_IMPRESSION_UNLOGGED);
    else
        count_example(lane, labelled);
}

static int compare_labelled(const void *a, const void *b)
{
    const struct learner_labelled *x = a, *y = b;

    if (x->doing != y->doing)
        return x->doing < y->doing ? -1 : 1;
    return x->number < y->number ? -1 : x->number > y->number;
}

static int compare_ids(uint64_t x, uint64_t y)
{
    return x < y ? -1 : x > y;
}

/* In the order of places; in one by what they are of, as it does not tell which of them was noted first. */
static int compare_places(const void *a, const void *b)
{
    const struct learner_labelled *x = a, *y = b;
    int by_request = compare_ids(x->shown.request_id, y->shown.request_id),
        by_item = compare_ids(x->shown.item_id, y->shown.item_id);

    if (x->place.ms != y->place.ms || x->place.number != y->place.number)
        return learner_place__precedes(x->place, y->place) ? -1 : 1;
    if (by_request != 0 || by_item != 0)
        return by_request != 0 ? by_request : by_item;
    return x->task != y->task ? compare_ids((uint64_t)x->task, (uint64_t)y->task) : compare_ids(x->made.step, y->made.step);
}

/* The rows are looked at in place, under their lock. */
static bool make_examples(struct learner_join_lane *lane, bool is_passing, struct fr_err *err)
{
    struct learner_join *join = lane->join;

    if (lane->labelled_count > 1)
        qsort(lane->labelled, (size_t)lane->labelled_count, sizeof *lane->labelled,
              is_passing ? compare_places : compare_labelled);
    for (int i = 0; i < lane->labelled_count; i++) {
        const struct learner_labelled *labelled = &lane->labelled[i];
        struct learner_rows rows;
        struct store_entry *entry;
        struct store_key key;
        uint32_t length = 0;
        const void *bytes;

        learner_join__key(LEARNER_KIND_ROWS, labelled->user_id, labelled->shown.request_id, &key);
        entry = store_entry_lock(join->store, &key, store_key_hash(join->store, &key), false);
        bytes = entry ? store_entry_read(entry, STORE_PART_ROWS, &length) : NULL;
        if (bytes && learner_rows__look(fr_slice(bytes, length), &rows))
            make_example(lane, labelled, &rows);
        else
            learner_join__count(lane, LEARNER_DROPPED_ROOM);
        if (entry)
            store_entry_unlock(join->store, entry);
        if ((lane->chunk.length >= LEARNER_CHUNK_BYTES || lane->chunk_count >= LEARNER_CHUNK_EXAMPLES) &&
            !learner_join__send(lane, err))
            return false;
    }
    lane->labelled_count = 0;
    return true;
}

static void remove_gone(struct learner_join_lane *lane)
{
    struct learner_join *join = lane->join;

    for (int i = 0; i < lane->gone_count; i++) {
        struct store_entry *entry;
        struct store_key key;
        uint32_t length = 0;

        learner_join__key(LEARNER_KIND_ROWS, lane->gone[i].user_id, lane->gone[i].request_id, &key);
        entry = store_entry_lock(join->store, &key, store_key_hash(join->store, &key), false);
        if (!entry)
            continue;
        (void)store_entry_read(entry, STORE_PART_ROWS, &length);
        (void)store_entry_write(join->store, entry, STORE_PART_ROWS, 0);
        store_entry_unlock(join->store, entry);
        atomic_fetch_sub_explicit(&join->waiting_bytes, length, memory_order_relaxed);
    }
    lane->gone_count = 0;
}

bool learner_user__settle(struct learner_join_lane *lane, bool is_passing, struct fr_err *err)
{
    if (lane->is_failed || lane->book.is_failed)
        return learner_join__fail(lane->join, err);
    if (!make_examples(lane, is_passing, err))
        return false;
    remove_gone(lane);
    return true;
}

/* Reads the account without changing anything. */
void learner_user__peek(struct learner_join_lane *lane, uint64_t user_id)
{
    struct store_entry *entry;
    struct store_key key;

    learner_join__key(LEARNER_KIND_USER, user_id, 0, &key);
    entry = store_entry_lock(lane->join->store, &key, store_key_hash(lane->join->store, &key), false);
    learner_user__read(lane, entry);
    lane->counted[LEARNER_DROPPED_CONFIG] = 0; /* told when it is changed */
    if (entry)
        store_entry_unlock(lane->join->store, entry);
}
