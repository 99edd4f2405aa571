/*
 * What the allocator says of the process's memory: what grows here is kept by somebody, while resident memory also moves by what the
 * allocator holds back for later and by the kernel's huge pages. Thread: any.
 */
#ifndef FRESHET_HEAP_H
#define FRESHET_HEAP_H

#include <stdbool.h>
#include <stdint.h>

struct fr_heap {
    uint64_t allocated_bytes; /* asked for and not freed, each as large as its size class */
    uint64_t active_bytes; /* of the pages in which there is something allocated */
};

/* As of now. False, with `ret` empty, where the allocator is not jemalloc: a sanitizer's, say. Takes some 10 µs. */
bool fr_heap_read(struct fr_heap *ret);

#endif
