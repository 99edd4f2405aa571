/*
 * The memory budget: what is left of it for table and parts when indexes, filters, excerpts and an epoch's buffers have theirs.
 */
#include "internal.h"

enum { TABLE_SHARE_LEAST = 4 }; /* at the least 1/4 of the budget, whatever the others take */

uint64_t store_memory__table(const struct store *store)
{
    uint64_t bytes = 0;

    for (int i = 0; i < STORE_STRIPES; i++)
        bytes += store_stripe__read(&store->stripes[i].memory_bytes);
    return bytes;
}

uint64_t store_memory__table_most(const struct store *store)
{
    uint64_t others = store_stripe__read(&store->index_bytes) + store_stripe__read(&store->filter_bytes) +
                      store_stripe__read(&store->buffer_bytes) + store_stripe__read(&store->excerpt_bytes);
    uint64_t least = store->memory_bytes / TABLE_SHARE_LEAST;

    if (store->memory_bytes == 0)
        return UINT64_MAX;
    return store->memory_bytes > others + least ? store->memory_bytes - others : least;
}
