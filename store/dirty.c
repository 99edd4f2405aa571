/*
 * The list of a stripe's changed entities: chunks of pointers, so that the committer can fetch ahead, and so that lists are
 * moved and joined without allocating: taking a failed epoch back cannot fail. An entity is on a list once.
 */
#include "internal.h"

#include <assert.h>
#include <stdlib.h>

static_assert(sizeof(struct store_dirty) == 512, "a chunk is eight cache lines");

bool store_dirty__reserve(struct store_dirty **list)
{
    if (*list != NULL && (*list)->count < STORE_DIRTY_ENTRIES)
        return true;

    struct store_dirty *chunk = malloc(sizeof(*chunk));
    if (chunk == NULL)
        return false;
    chunk->count = 0;
    chunk->next = *list;
    *list = chunk;
    return true;
}

void store_dirty__add(struct store_dirty **list, struct store_entry *entry)
{
    struct store_dirty *chunk = *list;

    assert(chunk != NULL && chunk->count < STORE_DIRTY_ENTRIES);
    chunk->parts[chunk->count] = 0;
    chunk->entries[chunk->count++] = entry;
}

void store_dirty__splice(struct store_dirty **list, struct store_dirty **others)
{
    struct store_dirty **end = others;

    while (*end != NULL)
        end = &(*end)->next;
    *end = *list;
    *list = *others;
    *others = NULL;
}

void store_dirty__free(struct store_dirty **list)
{
    while (*list != NULL) {
        struct store_dirty *chunk = *list;

        *list = chunk->next;
        free(chunk);
    }
}
