/* The store's keys of entities: the kind's number and the ids of the key's fields, the user's first. */
#include "keyring.h"

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
    if (field == PROTO_FIELD_SCENE)
        return event->scene;
    return field == PROTO_FIELD_POSITION ? event->position : proto_event_id_field(event, field);
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

int agg_key__place(const struct agg_entity *entity, int written)
{
    int place = 0;

    while (place < entity->key_count - 1 && strcmp(proto_field_name(entity->key[place]), entity->key_names[written]) != 0)
        place++;
    return place;
}

bool agg_key__fail(const struct agg_entity *entity, int id_count, struct fr_err *err)
{
    struct fr_buffer names;

    fr_buffer_init(&names);
    for (int i = 0; i < entity->key_count; i++)
        fr_buffer_append_format(&names, "%s%s", i > 0 ? "/" : "", entity->key_names[i]);
    fr_buffer_append_byte(&names, 0);
    fr_fail(err, FR_BAD_INPUT, "%d id%s given; the key of %s is %s, none of them 0", id_count, id_count == 1 ? "" : "s",
            entity->name, names.is_failed ? "?" : (const char *)names.bytes);
    fr_buffer_fini(&names);
    return false;
}

bool agg_key__of_ids(const struct agg_entity *entity, const uint64_t *written, struct store_key *key)
{
    uint64_t ids[STORE_KEY_IDS_MAX] = {0};

    for (int i = 0; i < entity->key_count; i++)
        ids[agg_key__place(entity, i)] = written[i];
    return agg_key__make(entity, ids, key);
}

bool agg_key__of_parent(const struct agg_entity *entity, const struct store_key *own, const struct agg_remembered *remembered,
                        struct store_key *key)
{
    const struct agg_entity *parent = entity->parent;
    uint64_t ids[STORE_KEY_IDS_MAX] = {0};

    for (int i = 0; i < parent->key_count; i++) {
        int attribute = agg_attribute__index(parent->key[i]);

        ids[i] = attribute >= 0 ? remembered->bits[attribute] : 0;
        for (int k = 0; k < entity->key_count; k++) {
            if (entity->key[k] == parent->key[i])
                ids[i] = own->ids[k];
        }
    }
    return agg_key__make(parent, ids, key);
}
