/* A batch of examples on its way to the learner: copies, in an arena of its own. */
#include "internal.h"

#include <stdlib.h>

enum { BATCH_BYTES = 4 << 20 };

struct learner_batch *learner_batch_new(int64_t position)
{
    struct learner_batch *batch = malloc(sizeof *batch);

    if (!batch)
        return NULL;
    batch->arena = fr_arena_new(BATCH_BYTES);
    batch->position = position;
    batch->count = 0;
    if (batch->arena)
        return batch;
    free(batch);
    return NULL;
}

bool learner_batch_add(struct learner_batch *batch, const struct learner_example *example)
{
    struct learner_example *copy = &batch->examples[batch->count];
    size_t dense_bytes = (size_t)example->dense_count * sizeof *example->dense;
    size_t sparse_bytes = (size_t)example->sparse_count * sizeof *example->sparse;
    uint8_t *bytes;

    if (batch->count == LEARNER_BATCH_EXAMPLES)
        return false;
    bytes = fr_arena_take(batch->arena, sparse_bytes + dense_bytes + 1);
    if (!bytes)
        return false;
    *copy = *example;
    copy->sparse = (const uint64_t *)(const void *)bytes;
    copy->dense = (const float *)(const void *)(bytes + sparse_bytes);
    if (sparse_bytes > 0)
        memcpy(bytes, example->sparse, sparse_bytes);
    if (dense_bytes > 0)
        memcpy(bytes + sparse_bytes, example->dense, dense_bytes);
    batch->count++;
    return true;
}

int learner_batch_count(const struct learner_batch *batch)
{
    return batch->count;
}

void learner_batch_free(struct learner_batch *batch)
{
    if (!batch)
        return;
    fr_arena_free(batch->arena);
    free(batch);
}
