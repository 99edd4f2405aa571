/* Records of one size by number. A chunk never moves, so that a reader may hold a record while others are made. */
#include "internal.h"

#include <stdlib.h>

bool learner_slab__init(struct learner_slab *slab, size_t stride, uint32_t most)
{
    size_t chunks = ((size_t)most >> LEARNER_CHUNK_BITS) + 1;

    *slab = (struct learner_slab){.stride = (stride + 15) / 16 * 16, .most = most};
    slab->chunks = calloc(chunks, sizeof *slab->chunks);
    return slab->chunks != NULL;
}

void learner_slab__fini(struct learner_slab *slab)
{
    size_t chunks = ((size_t)slab->most >> LEARNER_CHUNK_BITS) + 1;

    for (size_t i = 0; slab->chunks && i < chunks; i++)
        free(slab->chunks[i]);
    free(slab->chunks);
    slab->chunks = NULL;
}

bool learner_slab__reach(struct learner_slab *slab, uint32_t number)
{
    uint8_t **chunk = &slab->chunks[number >> LEARNER_CHUNK_BITS];

    if (!*chunk) {
        *chunk = aligned_alloc(64, LEARNER_CHUNK_ROWS * slab->stride);
        if (*chunk)
            memset(*chunk, 0, LEARNER_CHUNK_ROWS * slab->stride);
    }
    return *chunk != NULL;
}
