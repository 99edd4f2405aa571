/*
 * Random catalogues and random streams of events: late, shuffled, duplicated, tied, on the edges of panes, with attributes that
 * change, events from the future and clocks that jump.
 */
#ifndef FRESHET_TEST_AGGREGATORS_STREAM_H
#define FRESHET_TEST_AGGREGATORS_STREAM_H

#include "node.h"

enum { STREAM_EVENTS_MAX = 400, STREAM_FEATURES = 14, STREAM_ENTITIES = 9 };

struct rng {
    uint64_t state;
};

static inline uint64_t rng_next(struct rng *rng)
{
    uint64_t z = (rng->state += UINT64_C(0x9e3779b97f4a7c15)); /* splitmix64 */

    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static inline int64_t rng_below(struct rng *rng, int64_t end)
{
    return (int64_t)(rng_next(rng) % (uint64_t)end);
}

static inline bool rng_one_in(struct rng *rng, int64_t n)
{
    return rng_below(rng, n) == 0;
}

struct stream_entity {
    const char *name;
    int key[3];
    int key_count;
    int64_t retention_ms;
};

struct stream_feature {
    char name[16];
    int entity;
    int kind; /* 0 count, 1 sum of value, 2 sum of duration_s, 3 last, 4 min of value, 5 max of duration_s */
    uint32_t actions;
    uint32_t scenes;
    int where;
    int64_t windows_ms[4];
    int window_count;
    int limit;
    int fields[6];
    int field_count;
};

struct stream_catalogue {
    struct stream_entity entities[STREAM_ENTITIES];
    struct stream_feature features[STREAM_FEATURES];
    int feature_count;
    char text[16384];
};

static const char *const stream_wheres[] = {
    "",
    "value >= 3",
    "value / duration_s > 0.5",
    "not (action in [like, gift]) or item_id == 0",
    "scene == live and value + 2 * position < 40",
    "duration_s == 0 or -value < 0",
};

static inline bool stream_where(int where, const struct proto_event *event)
{
    switch (where) {
    case 1:
        return event->value >= 3;
    case 2:
        return event->duration_s != 0 && event->value / event->duration_s > 0.5;
    case 3:
        return !(event->action == 4 || event->action == 10) || event->item_id == 0;
    case 4:
        return event->scene == 1 && event->value + 2 * (double)event->position < 40;
    case 5:
        return event->duration_s == 0 || event->value > 0;
    default:
        return true;
    }
}

static inline void stream_entities(struct stream_catalogue *catalogue, struct rng *rng)
{
    static const int64_t retentions[] = {INT64_C(30) * 86400000, INT64_C(30) * 86400000, 0, 3600000, 600000, 172800000};
    static const struct stream_entity entities[STREAM_ENTITIES] = {
        {"user", {PROTO_FIELD_USER_ID}, 1, 0},
        {"item", {PROTO_FIELD_ITEM_ID}, 1, 0},
        {"creator", {PROTO_FIELD_CREATOR_ID}, 1, 0},
        {"room", {PROTO_FIELD_ROOM_ID}, 1, 0},
        {"category", {PROTO_FIELD_CATEGORY_ID}, 1, 0},
        {"user_category", {PROTO_FIELD_USER_ID, PROTO_FIELD_CATEGORY_ID}, 2, 0},
        {"user_creator_room", {PROTO_FIELD_USER_ID, PROTO_FIELD_CREATOR_ID, PROTO_FIELD_ROOM_ID}, 3, 0},
        {"item_category", {PROTO_FIELD_ITEM_ID, PROTO_FIELD_CATEGORY_ID}, 2, 0},
        {"person", {PROTO_FIELD_USER_ID}, 1, 0},
    };

    memcpy(catalogue->entities, entities, sizeof entities);
    for (int i = 0; i < STREAM_ENTITIES; i++)
        catalogue->entities[i].retention_ms = retentions[rng_below(rng, 6)];
}

static inline void stream_windows(struct stream_feature *feature, struct rng *rng)
{
    static const int64_t windows_s[] = {24, 30, 60, 90, 300, 600, 1500, 3600, 7200, 3601, 86400, 604800, 2592000};
    int most = 1 + (int)rng_below(rng, 4);

    while (feature->window_count < most) {
        int64_t window_ms = windows_s[rng_below(rng, 13)] * 1000;
        bool is_new = true;

        for (int i = 0; i < feature->window_count; i++)
            is_new = is_new && feature->windows_ms[i] != window_ms;
        if (is_new)
            feature->windows_ms[feature->window_count++] = window_ms;
    }
}

static inline void stream_fields(struct stream_feature *feature, struct rng *rng)
{
    static const int fields[] = {PROTO_FIELD_ITEM_ID,  PROTO_FIELD_ACTION,     PROTO_FIELD_TS_MS,   PROTO_FIELD_VALUE,
                                 PROTO_FIELD_EVENT_ID, PROTO_FIELD_CREATOR_ID, PROTO_FIELD_REGION,  PROTO_FIELD_DURATION_S,
                                 PROTO_FIELD_SCENE,    PROTO_FIELD_REQUEST_ID, PROTO_FIELD_POSITION};
    int most = 1 + (int)rng_below(rng, 5);

    while (feature->field_count < most) {
        int field = fields[rng_below(rng, 11)];
        bool is_new = true;

        for (int i = 0; i < feature->field_count; i++)
            is_new = is_new && feature->fields[i] != field;
        if (is_new)
            feature->fields[feature->field_count++] = field;
    }
    feature->limit = 1 + (int)rng_below(rng, 12);
}

static inline void stream_print(struct stream_catalogue *catalogue)
{
    static const char *const aggregates[] = {"count", "sum", "sum", "last", "min", "max"};
    char *at = catalogue->text;
    size_t room = sizeof catalogue->text;

#define PRINT(...)                                                                                                             \
    do {                                                                                                                       \
        int length = snprintf(at, room, __VA_ARGS__);                                                                          \
        at += length;                                                                                                          \
        room -= (size_t)length;                                                                                                \
    } while (0)
    PRINT("entities:\n");
    for (int i = 0; i < STREAM_ENTITIES; i++) {
        PRINT("  %s: { retention: %llds, key: [", catalogue->entities[i].name,
              (long long)catalogue->entities[i].retention_ms / 1000);
        for (int k = 0; k < catalogue->entities[i].key_count; k++)
            PRINT("%s%s", k ? ", " : "", proto_field_name(catalogue->entities[i].key[k]));
        PRINT("] }\n");
    }
    PRINT("features:\n");
    for (int i = 0; i < catalogue->feature_count; i++) {
        const struct stream_feature *feature = &catalogue->features[i];

        PRINT("  %s: { entity: %s, aggregate: %s", feature->name, catalogue->entities[feature->entity].name,
              aggregates[feature->kind]);
        if (feature->actions != UINT32_MAX) {
            PRINT(", actions: [");
            for (uint32_t a = 1, any = 0; a < PROTO_ACTIONS; a++) {
                if ((feature->actions >> a & 1) != 0)
                    PRINT("%s%s", any++ ? ", " : "", proto_action_name(a));
            }
            PRINT("]");
        }
        if (feature->scenes != UINT32_MAX)
            PRINT(", scenes: [%s]", (feature->scenes & 2) != 0 ? "LIVE" : "feed");
        if (feature->where > 0)
            PRINT(", where: \"%s\"", stream_wheres[feature->where]);
        if (feature->kind == 2 || feature->kind == 5)
            PRINT(", of: duration_s");
        if (feature->kind == 3)
            PRINT(", limit: %d", feature->limit);
        PRINT(", %s: [", feature->kind == 3 ? "fields" : "windows");
        for (int k = 0; k < feature->window_count; k++)
            PRINT("%s%llds", k ? ", " : "", (long long)feature->windows_ms[k] / 1000);
        for (int k = 0; k < feature->field_count; k++)
            PRINT("%s%s", k ? ", " : "", proto_field_name(feature->fields[k]));
        PRINT("] }\n");
    }
#undef PRINT
}

static inline void stream_catalogue_make(struct stream_catalogue *catalogue, struct rng *rng)
{
    memset(catalogue, 0, sizeof *catalogue);
    stream_entities(catalogue, rng);
    catalogue->feature_count = STREAM_FEATURES;
    for (int i = 0; i < STREAM_FEATURES; i++) {
        struct stream_feature *feature = &catalogue->features[i];

        snprintf(feature->name, sizeof feature->name, "f%d", i);
        feature->entity = (int)(i < STREAM_ENTITIES ? i : rng_below(rng, STREAM_ENTITIES));
        feature->kind = (int)rng_below(rng, 6);
        feature->actions = rng_one_in(rng, 3) ? UINT32_MAX : (uint32_t)(1u << 3 | 1u << 4 | rng_next(rng) % (1u << 12)) & ~1u;
        feature->scenes = rng_one_in(rng, 4) ? (rng_one_in(rng, 2) ? 1u << 1 : 1u << 5) : UINT32_MAX;
        feature->where = rng_one_in(rng, 2) ? (int)rng_below(rng, 6) : 0;
        if (feature->kind == 3)
            stream_fields(feature, rng);
        else
            stream_windows(feature, rng);
    }
    stream_print(catalogue);
}

/* A line that `streams` beside this file adds up: on how many random streams an aggregate was compared. */
static inline void stream_told(const char *aggregate, int64_t streams)
{
    print_message("streams: %s: %lld\n", aggregate, (long long)streams);
}

/* How many: FRESHET_STREAMS, or what is usual. */
static inline int64_t stream_goal(int64_t usual)
{
    const char *text = getenv("FRESHET_STREAMS");

    return text ? strtoll(text, NULL, 10) : usual;
}

/* ---- events ---- */

struct stream {
    struct proto_event events[STREAM_EVENTS_MAX]; /* in order of arrival */
    int count;
    uint64_t base; /* ids of this stream start here */
};

static inline int64_t stream_time(struct rng *rng, int64_t now_ms, int64_t spread_ms)
{
    static const int64_t edges[] = {1000, 10000, 60000, 600000, 3600000, 86400000};
    int64_t ts_ms = now_ms - rng_below(rng, spread_ms);
    int64_t edge = edges[rng_below(rng, 6)];

    if (rng_one_in(rng, 3))
        ts_ms = ts_ms / edge * edge - 1 + rng_below(rng, 3);
    return ts_ms < 1 ? 1 : ts_ms;
}

static inline double stream_number(struct rng *rng)
{
    switch (rng_below(rng, 8)) {
    case 0:
        return 0;
    case 1:
        return (double)rng_below(rng, 100) / 10 - 3;
    case 2:
        return (double)rng_below(rng, 1000000) * 1e6;
    case 3:
        return (double)rng_below(rng, INT64_C(1) << 53) / 1e9;
    default:
        return (double)rng_below(rng, 300) / 7;
    }
}

static inline struct proto_event stream_event(struct rng *rng, uint64_t base, int64_t now_ms, int64_t spread_ms)
{
    struct proto_event event = {
        .event_id = rng_one_in(rng, 10) ? 0 : rng_next(rng),
        .ts_ms = stream_time(rng, now_ms, spread_ms),
        .user_id = rng_one_in(rng, 12) ? 0 : base + 1 + (uint64_t)rng_below(rng, 3),
        .item_id = rng_one_in(rng, 8) ? 0 : base + 1 + (uint64_t)rng_below(rng, 4),
        .creator_id = rng_one_in(rng, 4) ? 0 : base + 1 + (uint64_t)rng_below(rng, 3),
        .room_id = rng_one_in(rng, 2) ? 0 : base + 1 + (uint64_t)rng_below(rng, 2),
        .category_id = rng_one_in(rng, 3) ? 0 : base + 1 + (uint64_t)rng_below(rng, 2),
        .region = (uint64_t)rng_below(rng, 3),
        .action = (uint32_t)(1 + rng_below(rng, 12)),
        .scene = (uint32_t)rng_below(rng, 6),
        .value = stream_number(rng),
        .duration_s = rng_one_in(rng, 3) ? 0 : stream_number(rng),
        .request_id = rng_one_in(rng, 2) ? 0 : rng_next(rng),
        .position = (uint32_t)rng_below(rng, 30),
    };

    if (event.action > 8)
        event.action = rng_one_in(rng, 2) ? 3 : 4;
    return event;
}

static inline void stream_make(struct stream *stream, struct rng *rng, uint64_t base)
{
    static const int64_t spreads_ms[] = {20000, 120000, 7200000, INT64_C(9) * 86400000, INT64_C(70) * 86400000};
    static const int64_t steps_ms[] = {50, 700, 15000, 1800000, 40000000};
    int64_t spread_ms = spreads_ms[rng_below(rng, 5)], step_ms = steps_ms[rng_below(rng, 5)];
    int64_t now_ms = INT64_C(1700000000000) + rng_below(rng, INT64_C(86400000) * 300);

    stream->base = base;
    stream->count = 20 + (int)rng_below(rng, 120);
    for (int i = 0; i < stream->count; i++) {
        struct proto_event *event = &stream->events[i];

        now_ms += rng_below(rng, step_ms);
        if (rng_one_in(rng, 40))
            now_ms += rng_below(rng, INT64_C(10) * 86400000); /* the clock jumps */
        *event = stream_event(rng, base, now_ms, spread_ms);
        if (i > 0 && rng_one_in(rng, 10)) { /* a tie in time, and perhaps more */
            *event = stream->events[rng_below(rng, i)];
            event->event_id = rng_one_in(rng, 2) ? 0 : rng_next(rng);
            if (rng_one_in(rng, 2))
                event->creator_id = base + 1 + (uint64_t)rng_below(rng, 3);
        }
        if (i > 0 && rng_one_in(rng, 8)) /* the same again */
            *event = stream->events[rng_below(rng, i)];
    }
}

#endif
