/* The store's keys of entities: the kind's number and the ids of the key's fields, the user's first. */
#include "join.h"
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

bool agg_key__of_joined(const struct agg_catalogue *catalogue, const struct agg_entity *entity, const struct proto_event *event,
                        struct store_key *key)
{
    uint64_t ids[STORE_KEY_IDS_MAX] = {0};

    for (int i = 0; i < entity->key_count; i++)
        ids[i] =
            entity->key[i] >= AGG_KEY_JOINED ? agg_join__id(catalogue, entity->key[i], event) : id_of(entity->key[i], event);
    return agg_key__make(entity, ids, key);
}

bool agg_key__is_named(const struct agg_catalogue *catalogue, const struct agg_entity *entity, const struct proto_event *event)
{
    bool is_named = true;
    int count;

    for (int i = 0; i < entity->key_count && is_named; i++) {
        if (entity->key[i] < AGG_KEY_JOINED)
            is_named = id_of(entity->key[i], event) != 0;
        else if (i == entity->listed)
            is_named = agg_join__ids(catalogue, entity->key[i], event, &count) && count > 0;
        else
            is_named = agg_join__id(catalogue, entity->key[i], event) != 0;
    }
    return is_named;
}

void agg_key__add(const struct agg_catalogue *catalogue, struct agg_entity *entity, uint8_t field)
{
    const char *name = field == AGG_KEY_ALL ? "(all)" : proto_field_name(field);

    if (entity->key_count == 0)
        entity->listed = -1;
    if (field >= AGG_KEY_JOINED) {
        entity->is_joined = true;
        name = catalogue->table_fields[field - AGG_KEY_JOINED].name;
        if (agg_tables__type(catalogue, field - AGG_KEY_JOINED) == PROTO_TABLE_IDS)
            entity->listed = entity->key_count;
    }
    entity->has_user = entity->has_user || field == PROTO_FIELD_USER_ID;
    entity->key_names[entity->key_count] = name;
    entity->key[entity->key_count++] = field;
}

void agg_key__print(const struct agg_entity *entity, const struct store_key *key, char out[160])
{
    int length = snprintf(out, 160, "%s ", entity->name);

    for (int i = 0; i < key->id_count && length < 130; i++)
        length += snprintf(out + length, (size_t)(160 - length), "%s%" PRIu64, i > 0 ? "/" : "", key->ids[i]);
}

int agg_key__place(const struct agg_entity *entity, int written)
{
    int user = 0;

    if (!entity->has_user)
        return written;
    while (user < entity->key_count - 1 && strcmp(entity->key_names[user], proto_field_name(PROTO_FIELD_USER_ID)) != 0)
        user++;
    return written == user ? 0 : written + (written < user);
}

const char *agg_key__field(const struct agg_entity *entity, int place)
{
    int written = 0;

    while (written < entity->key_count - 1 && agg_key__place(entity, written) != place)
        written++;
    return entity->key_names[written];
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

bool agg_key__of_parent(const struct agg_entity *entity, const struct agg_entity *parent, const struct store_key *own,
                        const struct agg_remembered *remembered, struct store_key *key)
{
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
