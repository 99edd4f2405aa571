/*
 * The names of actions, scenes, fields and verdicts. The numbers are those of event.proto, where they are fixed for ever.
 */
#include "internal.h"

#include <freshet/text.h>

static const char *const action_names[PROTO_ACTIONS] = {
    "action_unspecified",
    "impression",
    "click",
    "watch",
    "like",
    "unlike",
    "comment",
    "share",
    "follow",
    "unfollow",
    "gift",
    "add_to_cart",
    "remove_from_cart",
    "purchase",
    "refund",
    "enter_room",
    "leave_room",
    "room_start",
    "room_end",
    "item_on",
    "item_off",
    "dislike",
    "report",
    "search",
};

static const char *const scene_names[PROTO_SCENES] = {
    "scene_unspecified", "live", "short_video", "mall", "search_page", "feed",
};

static const char *const field_names[] = {
    "",       "event_id", "ts_ms",      "user_id", "item_id",    "creator_id", "room_id",    "category_id", "region",
    "action", "value",    "duration_s", "scene",   "request_id", "position",   "propensity", "text",        "attributes",
};

static const char *const verdict_names[PROTO_VERDICTS] = {
    "applied",  "unknown_action", "canary",    "empty",  "oversized", "bad_protobuf",
    "bad_json", "bad_time",       "bad_value", "future", "bad_key",   "wrong_partition",
};

static int find_nocase(struct fr_slice name, const char *const *names, int count)
{
    for (int i = 0; i < count; i++) {
        if (fr_text_equal_nocase(name, names[i]))
            return i;
    }
    return -1;
}

int proto_action_number(struct fr_slice name)
{
    return find_nocase(name, action_names, PROTO_ACTIONS);
}

int proto_scene_number(struct fr_slice name)
{
    return find_nocase(name, scene_names, PROTO_SCENES);
}

const char *proto_action_name(uint32_t action)
{
    return action < PROTO_ACTIONS ? action_names[action] : "";
}

const char *proto_scene_name(uint32_t scene)
{
    return scene < PROTO_SCENES ? scene_names[scene] : "";
}

const char *proto_verdict_name(enum proto_verdict verdict)
{
    return verdict_names[verdict];
}

int proto_field_number(struct fr_slice name)
{
    for (int field = PROTO_FIELD_EVENT_ID; field <= PROTO_FIELD_ATTRIBUTES; field++) {
        if (fr_slice_is(name, field_names[field]))
            return field;
    }
    return 0;
}

const char *proto_field_name(int field)
{
    return field >= PROTO_FIELD_EVENT_ID && field <= PROTO_FIELD_ATTRIBUTES ? field_names[field] : "";
}
