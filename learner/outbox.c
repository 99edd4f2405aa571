/*
 * The outbox: finished examples in chunks, one entity each, numbered in the order in which they were made. A chunk is durable with
 * the state that made it, so a crash can neither lose an example nor make a second one of the same impression.
 */
#include "join.h"

#include <inttypes.h>
#include <string.h>

bool learner_outbox__put(struct learner_join_lane *lane, struct fr_err *err)
{
    struct learner_join *join = lane->join;
    struct store_entry *entry;
    struct store_key key;
    void *bytes;

    if (lane->chunk.is_failed)
        return learner_join__fail(lane->join, err);
    if (lane->chunk.length == 0)
        return true;
    learner_join__key(LEARNER_KIND_OUTBOX, (uint64_t)atomic_fetch_add(&join->next_position, 1), 0, &key);
    entry = store_entry_lock(join->store, &key, store_key_hash(join->store, &key), true); /* its number was never used before */
    if (!entry)
        return learner_join__fail(lane->join, err);
    bytes = store_entry_write(join->store, entry, STORE_PART_ROWS, (uint32_t)lane->chunk.length);
    if (bytes)
        memcpy(bytes, lane->chunk.bytes, lane->chunk.length);
    store_entry_unlock(join->store, entry);
    if (!bytes)
        return learner_join__fail(lane->join, err);
    atomic_fetch_add_explicit(&join->outbox_bytes, lane->chunk.length, memory_order_relaxed);
    fr_buffer_clear(&lane->chunk);
    lane->chunk_count = 0;
    return true;
}

int64_t learner_outbox_acknowledged(const struct learner_join *join)
{
    return atomic_load(&join->acknowledged);
}

int64_t learner_outbox_first(const struct learner_join *join)
{
    return join->first_position;
}

void learner_outbox_acknowledge(struct learner_join *join, int64_t position)
{
    atomic_store(&join->acknowledged, position);
}

bool learner_outbox_read(struct learner_join *join, int64_t position, struct fr_buffer *chunk, struct fr_err *err)
{
    struct store_visit visit = store_visit_enter(join->store);
    struct store_entry *entry;
    struct store_key key;
    uint32_t length = 0;
    uint64_t hash;
    bool is_loaded;

    fr_buffer_clear(chunk);
    learner_join__key(LEARNER_KIND_OUTBOX, (uint64_t)position, 0, &key);
    hash = store_key_hash(join->store, &key);
    is_loaded = store_load(join->store, &key, &hash, 1, err);
    entry = is_loaded ? store_entry_lock(join->store, &key, hash, false) : NULL;
    if (entry) {
        const void *bytes = store_entry_read(entry, STORE_PART_ROWS, &length);

        fr_buffer_append(chunk, bytes, length);
        store_entry_unlock(join->store, entry);
    }
    store_visit_leave(join->store, visit);
    if (chunk->is_failed)
        return fr_fail(err, FR_EXHAUSTED, "outbox: out of memory for a chunk of %" PRIu32 " bytes", length);
    return is_loaded;
}

bool learner_outbox_drop(struct learner_join *join, int64_t position, struct fr_err *err)
{
    struct store_visit visit = store_visit_enter(join->store);
    struct store_entry *entry;
    struct store_key key;
    uint32_t length = 0;
    uint64_t hash;
    bool is_loaded;

    learner_join__key(LEARNER_KIND_OUTBOX, (uint64_t)position, 0, &key);
    hash = store_key_hash(join->store, &key);
    is_loaded = store_load(join->store, &key, &hash, 1, err);
    store_gate_enter(join->store);
    entry = is_loaded ? store_entry_lock(join->store, &key, hash, false) : NULL;
    if (entry) {
        (void)store_entry_read(entry, STORE_PART_ROWS, &length);
        (void)store_entry_write(join->store, entry, STORE_PART_ROWS, 0);
        store_entry_unlock(join->store, entry);
        atomic_fetch_sub_explicit(&join->outbox_bytes, length, memory_order_relaxed);
    }
    store_gate_leave(join->store);
    store_visit_leave(join->store, visit);
    return is_loaded;
}

bool learner_outbox_next(const struct learner_join *join, struct fr_reader *reader, struct learner_outbox_entry *entry)
{
    uint64_t length, hash;

    if (reader->at == reader->end)
        return false;
    length = fr_reader_varint(reader);
    hash = fr_reader_fixed64(reader);
    *entry = (struct learner_outbox_entry){.user_id = fr_reader_fixed64(reader), .model = -1, .task = -1};
    entry->wire = fr_reader_bytes(reader, length);
    for (int i = 0; i < join->task_count; i++)
        if (join->tasks[i].hash == hash) {
            entry->model = join->tasks[i].model;
            entry->task = join->tasks[i].index;
        }
    return !reader->is_failed;
}
