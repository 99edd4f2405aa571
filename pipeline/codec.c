/* Whose state an entity is: the kinds from LEARNER_KIND_FIRST on are the join's, the others the aggregators'. */
#include "internal.h"

static void encode(void *user, const struct store_key *key, enum store_part part, const void *memory, uint32_t bytes,
                   struct fr_buffer *disk)
{
    const struct store_codec *aggregates = user;

    if (key->kind >= LEARNER_KIND_FIRST)
        learner_join_encode(memory, bytes, disk);
    else
        aggregates->encode(aggregates->user, key, part, memory, bytes, disk);
}

static bool decode(void *user, const struct store_key *key, enum store_part part, struct fr_slice disk,
                   struct fr_buffer *memory)
{
    const struct store_codec *aggregates = user;

    if (key->kind >= LEARNER_KIND_FIRST)
        return learner_join_decode(key, disk, memory);
    return aggregates->decode(aggregates->user, key, part, disk, memory);
}

struct store_codec pipeline_codec__with_join(struct store_codec *aggregates)
{
    return (struct store_codec){.user = aggregates, .encode = encode, .decode = decode};
}
