/*
 * The heap, by jemalloc's mallctl(). The binary is linked with it and this module is not, so the name is weak: absent where another
 * allocator serves.
 */
#include <freshet/heap.h>

#include <stddef.h>

__attribute__((weak)) int mallctl(const char *name, void *old, size_t *old_length, void *new, size_t new_length);

static bool read_bytes(const char *name, uint64_t *ret)
{
    size_t bytes = 0, length = sizeof bytes;

    if (mallctl(name, &bytes, &length, NULL, 0) != 0)
        return false;
    *ret = bytes;
    return true;
}

bool fr_heap_read(struct fr_heap *ret)
{
    uint64_t epoch = 1; /* any: its figures are those of the last time that it was written */

    *ret = (struct fr_heap){0};
    if (mallctl && mallctl("epoch", NULL, NULL, &epoch, sizeof epoch) == 0 &&
        read_bytes("stats.allocated", &ret->allocated_bytes) && read_bytes("stats.active", &ret->active_bytes))
        return true;
    *ret = (struct fr_heap){0};
    return false;
}
