/*
 * Records of one size by number, in address space that is reserved whole and takes memory as it is touched: a record never moves, so
 * a reader may hold one while others are made, and finding one is a multiplication. Large ones ask for huge pages: records are
 * looked at in no order, and with small pages each look costs a walk through the page tables as well.
 */
#include "internal.h"

#include <sys/mman.h>

void *learner_slab__reserve(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    if (memory == MAP_FAILED)
        return NULL;
    if (bytes >= LEARNER_HUGE_BYTES)
        (void)madvise(memory, bytes, MADV_HUGEPAGE); /* where there are none, small ones do */
    return memory;
}

void learner_slab__release(void *memory, size_t bytes)
{
    if (memory)
        (void)munmap(memory, bytes);
}

bool learner_slab__init(struct learner_slab *slab, size_t stride, uint32_t most)
{
    *slab = (struct learner_slab){.stride = (stride + 15) / 16 * 16, .most = most};
    slab->records = learner_slab__reserve((size_t)most * slab->stride);
    return slab->records != NULL;
}

void learner_slab__fini(struct learner_slab *slab)
{
    learner_slab__release(slab->records, (size_t)slab->most * slab->stride);
    slab->records = NULL;
}
