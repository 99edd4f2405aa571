/* The store's keys of entities: the kind's number and the ids of the key's fields, the user's first. */
#include "internal.h"

#include <inttypes.h>
#include <stdio.h>

bool agg_key__make(const struct agg_entity *entity, const uint64_t ids[STORE_KEY_IDS_MAX], struct store_key *key)
{
    *key = (struct store_key){.kind = entity->kind, .id_count = (uint8_t)entity->key_count};
    for (int i = 0; i < entity->key_count; i++) {
        if (ids[i] == 0)
            return false;
        key->ids[i] = ids[i];
    }
    return true;
}

bool agg_key__of_event(const struct agg_entity *entity, const struct proto_event *event, struct store_key *key)
{
    uint64_t ids[STORE_KEY_IDS_MAX] = {0};

    for (int i = 0; i < entity->key_count; i++)
        ids[i] = entity->key[i] == AGG_KEY_ALL ? 1 : proto_event_id_field(event, entity->key[i]);
    return agg_key__make(entity, ids, key);
}

void agg_key__print(const struct agg_entity *entity, const struct store_key *key, char out[160])
{
    int length = snprintf(out, 160, "%s ", entity->name);

    for (int i = 0; i < key->id_count && length < 130; i++)
        length += snprintf(out + length, (size_t)(160 - length), "%s%" PRIu64, i > 0 ? "/" : "", key->ids[i]);
}
