/* Chunks of records, as entities of the store by position. */
#include "outbox.h"

#include <freshet/message.h>

#include <inttypes.h>
#include <string.h>

static void key_of(const struct learner_outbox *outbox, int64_t position, struct store_key *key)
{
    *key = (struct store_key){.kind = (uint8_t)outbox->kind, .id_count = 1, .ids = {(uint64_t)position}};
}

void learner_outbox__init(struct learner_outbox *outbox, struct store *store, int kind, int64_t next, int64_t acknowledged)
{
    outbox->store = store;
    outbox->kind = kind;
    outbox->first_position = next;
    atomic_store(&outbox->next_position, next);
    atomic_store(&outbox->acknowledged, acknowledged);
    atomic_store(&outbox->bytes, 0);
}

void learner_outbox__find(struct learner_outbox *outbox, int64_t position, uint64_t bytes)
{
    atomic_fetch_add(&outbox->bytes, bytes);
    if (position < outbox->first_position)
        outbox->first_position = position;
}

bool learner_outbox__put(struct learner_outbox *outbox, struct fr_buffer *chunk)
{
    struct store_entry *entry;
    struct store_key key;
    void *bytes;

    if (chunk->is_failed)
        return false;
    if (chunk->length == 0)
        return true;
    key_of(outbox, atomic_fetch_add(&outbox->next_position, 1), &key);
    entry =
        store_entry_lock(outbox->store, &key, store_key_hash(outbox->store, &key), true); /* its number was never used before */
    if (!entry)
        return false;
    bytes = store_entry_write(outbox->store, entry, STORE_PART_ROWS, (uint32_t)chunk->length);
    if (bytes)
        memcpy(bytes, chunk->bytes, chunk->length);
    store_entry_unlock(outbox->store, entry);
    if (!bytes)
        return false;
    atomic_fetch_add_explicit(&outbox->bytes, chunk->length, memory_order_relaxed);
    fr_buffer_clear(chunk);
    return true;
}

int64_t learner_outbox_acknowledged(const struct learner_outbox *outbox)
{
    return atomic_load(&outbox->acknowledged);
}

int64_t learner_outbox_first(const struct learner_outbox *outbox)
{
    return outbox->first_position;
}

void learner_outbox_acknowledge(struct learner_outbox *outbox, int64_t position)
{
    atomic_store(&outbox->acknowledged, position);
}

bool learner_outbox_read(struct learner_outbox *outbox, int64_t position, struct fr_buffer *chunk, struct fr_err *err)
{
    struct store_visit visit = store_visit_enter(outbox->store);
    struct store_entry *entry;
    struct store_key key;
    uint32_t length = 0;
    uint64_t hash;
    bool is_loaded;

    fr_buffer_clear(chunk);
    key_of(outbox, position, &key);
    hash = store_key_hash(outbox->store, &key);
    is_loaded = store_load(outbox->store, &key, &hash, 1, err);
    entry = is_loaded ? store_entry_lock(outbox->store, &key, hash, false) : NULL;
    if (entry) {
        const void *bytes = store_entry_read(entry, STORE_PART_ROWS, &length);

        fr_buffer_append(chunk, bytes, length);
        store_entry_unlock(outbox->store, entry);
    }
    store_visit_leave(outbox->store, visit);
    if (chunk->is_failed)
        return fr_fail(err, FR_EXHAUSTED, "outbox: out of memory for a chunk of %" PRIu32 " bytes", length);
    return is_loaded;
}

bool learner_outbox_drop(struct learner_outbox *outbox, int64_t position, struct fr_err *err)
{
    struct store_visit visit = store_visit_enter(outbox->store);
    struct store_entry *entry;
    struct store_key key;
    uint32_t length = 0;
    uint64_t hash;
    bool is_loaded;

    key_of(outbox, position, &key);
    hash = store_key_hash(outbox->store, &key);
    is_loaded = store_load(outbox->store, &key, &hash, 1, err);
    store_gate_enter(outbox->store);
    entry = is_loaded ? store_entry_lock(outbox->store, &key, hash, false) : NULL;
    if (entry) {
        (void)store_entry_read(entry, STORE_PART_ROWS, &length);
        (void)store_entry_write(outbox->store, entry, STORE_PART_ROWS, 0);
        store_entry_unlock(outbox->store, entry);
        atomic_fetch_sub_explicit(&outbox->bytes, length, memory_order_relaxed);
    }
    store_gate_leave(outbox->store);
    store_visit_leave(outbox->store, visit);
    return is_loaded;
}

void learner_outbox__append(struct fr_buffer *chunk, uint64_t of, uint64_t user_id, const ProtobufCMessage *message)
{
    fr_buffer_append_varint(chunk, protobuf_c_message_get_packed_size(message));
    fr_buffer_append_fixed64(chunk, of);
    fr_buffer_append_fixed64(chunk, user_id);
    proto_pack(message, chunk);
}

bool learner_outbox_next(struct fr_reader *reader, struct learner_outbox_entry *entry)
{
    uint64_t length;

    if (reader->at == reader->end)
        return false;
    length = fr_reader_varint(reader);
    entry->of = fr_reader_fixed64(reader);
    entry->user_id = fr_reader_fixed64(reader);
    entry->wire = fr_reader_bytes(reader, length);
    return !reader->is_failed;
}
