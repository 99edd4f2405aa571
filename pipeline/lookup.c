/*
 * The doors of the operations port: what a page or a person with curl asks in a query, as the request of the method that answers it.
 * Only what is mapped here can be asked, so nothing that a link makes a browser ask for can write (GetFeatures' `log`) or wait.
 */
#include "services.h"

struct parameter {
    const char *name; /* in the query */
    const char *field; /* of the request, as JSON has it */
    bool is_list; /* the value has commas between its elements */
};

static void put_list(struct fr_slice text, struct fr_buffer *json)
{
    const char *at = text.bytes, *end = at + text.length;
    char before = '[';

    while (at <= end && text.length > 0) {
        const char *comma = at < end ? memchr(at, ',', (size_t)(end - at)) : NULL;
        const char *stop = comma ? comma : end;

        fr_buffer_append_byte(json, (uint8_t)before);
        proto_json_quote(fr_slice(at, (size_t)(stop - at)), json);
        before = ',';
        at = stop + 1;
    }
    fr_buffer_append_text(json, before == '[' ? "[]" : "]");
}

/* Members of an object for those that the query has; every value is a string, which JSON's numbers and ids may be. Returns how many. */
static int put_members(struct fr_slice query, const struct parameter *parameters, int count, struct fr_buffer *json)
{
    struct fr_buffer value;
    int put = 0;

    fr_buffer_init(&value);
    for (int i = 0; i < count; i++) {
        fr_buffer_clear(&value);
        if (!server_query_find(query, parameters[i].name, &value))
            continue;
        fr_buffer_append_format(json, "%s\"%s\":", put++ > 0 ? "," : "", parameters[i].field);
        if (parameters[i].is_list)
            put_list(fr_buffer_slice(&value), json);
        else
            proto_json_quote(fr_buffer_slice(&value), json);
        json->is_failed = json->is_failed || value.is_failed;
    }
    fr_buffer_fini(&value);
    return put;
}

static bool has(struct fr_slice query, const char *name)
{
    struct fr_buffer value;
    bool is_there;

    fr_buffer_init(&value);
    is_there = server_query_find(query, name, &value);
    fr_buffer_fini(&value);
    return is_there;
}

/* ---- /lookup ---- */

static const struct agg_entity_info *find_entity(struct agg *agg, const char *name, struct agg_entity_info *entity)
{
    for (int i = 0; i < agg_entity_count(agg); i++) {
        *entity = agg_entity_at(agg, i);
        if (strcmp(entity->name, name) == 0)
            return entity;
    }
    return NULL;
}

/* Whether a look-up of these can tell the feature: its entity's ids are asked for, or remembered by the item. */
static bool is_told(const struct agg_entity_info *entity, bool has_user, bool has_item, bool has_room)
{
    bool is_users = strcmp(entity->key[0], "user_id") == 0;

    if (is_users)
        return has_user && (entity->key_count == 1 || has_item);
    return has_item || (has_room && strcmp(entity->key[0], "room_id") == 0);
}

static void put_features(struct agg *agg, struct fr_slice query, struct fr_buffer *json)
{
    static const char *const remembered[] = {"creator_id", "room_id", "category_id", "duration_s"};
    bool has_user = has(query, "user"), has_item = has(query, "item"), has_room = has(query, "room");
    const char *before = "";

    fr_buffer_append_text(json, ",\"features\":[");
    for (int i = 0; i < agg_feature_count(agg); i++) {
        struct agg_feature_info feature = agg_feature_at(agg, i);
        struct agg_entity_info entity;

        if (strcmp(feature.aggregate, "covisit") == 0 || !find_entity(agg, feature.entity, &entity) ||
            !is_told(&entity, has_user, has_item, has_room))
            continue;
        fr_buffer_append_text(json, before);
        proto_json_quote(fr_slice_of(feature.name), json);
        before = ",";
    }
    for (size_t i = 0; has_item && i < sizeof remembered / sizeof *remembered; i++) {
        fr_buffer_append_format(json, "%s\"item.%s\"", before, remembered[i]);
        before = ",";
    }
    fr_buffer_append_byte(json, ']');
}

bool pipeline_lookup__features(void *user, struct fr_slice query, struct fr_buffer *json, struct fr_err *err)
{
    static const struct parameter parameters[] = {
        {"user", "userId", false}, {"item", "itemIds", true}, {"room", "roomId", false}, {"features", "features", true}};
    struct pipeline_services *services = user;

    fr_buffer_append_byte(json, '{');
    if (put_members(query, parameters, 4, json) == 0 || (!has(query, "user") && !has(query, "item") && !has(query, "room")))
        return fr_fail(err, FR_BAD_INPUT, "nothing to look up; name a user, items or a room: /lookup?user=7&item=1,2&room=3");
    if (has(query, "room") && !has(query, "item"))
        fr_buffer_append_text(json, ",\"itemIds\":[\"0\"]"); /* the room's columns are an item's */
    if (!has(query, "features"))
        put_features(services->agg, query, json);
    fr_buffer_append_byte(json, '}');
    return true;
}

/* ---- The others ---- */

bool pipeline_lookup__explain(void *user, struct fr_slice query, struct fr_buffer *json, struct fr_err *err)
{
    static const struct parameter of_entity[] = {{"entity", "entity", false}, {"key", "key", true}};
    static const struct parameter others[] = {{"feature", "feature", false}};

    (void)user;
    fr_buffer_append_text(json, "{\"entity\":{");
    if (put_members(query, of_entity, 2, json) < 2)
        return fr_fail(err, FR_BAD_INPUT,
                       "nothing to explain; name an entity, its key and a feature: "
                       "/explain?entity=item&key=7&feature=item_watches.1h");
    fr_buffer_append_text(json, "},");
    if (put_members(query, others, 1, json) < 1)
        return fr_fail(err, FR_BAD_INPUT, "feature: missing; name one, or one of its columns");
    fr_buffer_append_byte(json, '}');
    return true;
}

/* What is seen by a user is not asked here: it would tell about one. */
bool pipeline_lookup__top(void *user, struct fr_slice query, struct fr_buffer *json, struct fr_err *err)
{
    static const struct parameter parameters[] = {
        {"list", "list", false}, {"scope", "scope", false}, {"id", "scopeId", false}, {"limit", "limit", false}};

    (void)user;
    (void)err;
    fr_buffer_append_byte(json, '{');
    put_members(query, parameters, 4, json);
    fr_buffer_append_byte(json, '}');
    return true;
}

bool pipeline_lookup__recent(void *user, struct fr_slice query, struct fr_buffer *json, struct fr_err *err)
{
    static const struct parameter parameters[] = {{"kind", "kind", false}, {"limit", "limit", false}};

    (void)user;
    (void)err;
    fr_buffer_append_byte(json, '{');
    put_members(query, parameters, 2, json);
    fr_buffer_append_byte(json, '}');
    return true;
}

bool pipeline_lookup__nothing(void *user, struct fr_slice query, struct fr_buffer *json, struct fr_err *err)
{
    (void)user;
    (void)query;
    (void)err;
    fr_buffer_append_text(json, "{}");
    return true;
}
