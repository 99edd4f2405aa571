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

static uint64_t id_of(int field, const struct proto_event *event)
{
    if (field == AGG_KEY_ALL)
        return 1;
    return field == PROTO_FIELD_SCENE ? event->scene : proto_event_id_field(event, field); /* scenes in keys of lists only */
}

bool agg_key__of_event(const struct agg_entity *entity, const struct proto_event *event, struct store_key *key)
{
    uint64_t ids[STORE_KEY_IDS_MAX] = {0};

    for (int i = 0; i < entity->key_count; i++)
        ids[i] = id_of(entity->key[i], event);
    return agg_key__make(entity, ids, key);
}

void agg_key__print(const struct agg_entity *entity, const struct store_key *key, char out[160])
{
    int length = snprintf(out, 160, "%s ", entity->name);

    for (int i = 0; i < key->id_count && length < 130; i++)
        length += snprintf(out + length, (size_t)(160 - length), "%s%" PRIu64, i > 0 ? "/" : "", key->ids[i]);
}
