/*
 * An entity's part while it is changed in place. Reading doesn't mark it dirty: only agg_blob__open() does, once, because then
 * the store may have to copy what an epoch is still writing.
 */
#include "internal.h"

#include <assert.h>

struct agg_blob agg_blob__of_entry(struct store *store, struct store_entry *entry, enum store_part part)
{
    struct agg_blob blob = {.store = store, .entry = entry, .part = part};

    /* Only agg_blob__open() makes it writable; until then nothing is written through this pointer. */
    blob.memory = (void *)(uintptr_t)store_entry_read(entry, part, &blob.bytes);
    return blob;
}

struct agg_blob agg_blob__of_buffer(struct fr_buffer *buffer)
{
    return (struct agg_blob){.buffer = buffer, .memory = buffer->bytes, .bytes = (uint32_t)buffer->length, .is_writable = true};
}

static bool resize(struct agg_blob *blob, uint32_t bytes)
{
    if (blob->entry) {
        void *memory = store_entry_write(blob->store, blob->entry, blob->part, bytes);

        if (!memory && bytes > 0)
            return false;
        blob->memory = memory;
    } else if (bytes > blob->buffer->length) {
        uint32_t more = bytes - (uint32_t)blob->buffer->length;
        uint8_t *end = fr_buffer_reserve(blob->buffer, more);

        if (!end)
            return false;
        memset(end, 0, more);
        blob->buffer->length = bytes;
        blob->memory = blob->buffer->bytes;
    } else {
        blob->buffer->length = bytes;
    }
    blob->bytes = bytes;
    return true;
}

bool agg_blob__open(struct agg_blob *blob, uint32_t least_bytes)
{
    if (blob->is_writable && blob->bytes >= least_bytes)
        return true;
    if (!resize(blob, blob->bytes > least_bytes ? blob->bytes : least_bytes))
        return false;
    blob->is_writable = true;
    return true;
}

bool agg_blob__grow(struct agg_blob *blob, uint64_t bytes)
{
    assert(blob->is_writable);
    if (bytes <= blob->bytes)
        return true;
    bytes = (bytes + bytes / 8 + 63) & ~UINT64_C(63);
    return bytes <= UINT32_MAX / 2 && resize(blob, (uint32_t)bytes);
}

void agg_blob__trim(struct agg_blob *blob, uint32_t used)
{
    if (!blob->is_writable || used == blob->bytes || (used > 0 && blob->bytes <= used + used / 4 + 512))
        return;
    if (!resize(blob, used))
        return; /* no harm: it stays longer than it must */
    if (used == 0)
        blob->memory = NULL;
}
