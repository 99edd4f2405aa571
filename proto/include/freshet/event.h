/*
 * An event as the lanes see it: one plain struct that borrows from the Kafka record, decoded in one bounded pass without
 * allocation. Zero means absent. Thread: any; an event lives as long as the bytes it was decoded from.
 */
#ifndef FRESHET_EVENT_H
#define FRESHET_EVENT_H

#include <freshet/arena.h>
#include <freshet/buffer.h>
#include <freshet/error.h>
#include <freshet/slice.h>

enum { PROTO_ACTIONS = 24, PROTO_SCENES = 6 }; /* with the zero value */
enum { PROTO_EVENT_BYTES_MAX = 1 << 20 }; /* a larger record is `oversized` */
#define PROTO_CANARY_TEXT "freshet.canary" /* with this text, no action and no id an event is a canary's */
#define PROTO_TS_MS_END INT64_C(4102444800000) /* ts_ms lies in [1, this) */

struct proto_event {
    uint64_t event_id;
    int64_t ts_ms;
    uint64_t user_id, item_id, creator_id, room_id, category_id, region;
    uint32_t action; /* enum Action; 0 for an unknown one */
    uint32_t scene; /* enum Scene; 0 for an unknown one */
    double value;
    double duration_s;
    uint64_t request_id;
    uint32_t position;
    float propensity;
    struct fr_slice text;
    struct fr_slice wire; /* the encoded message, for attributes; empty when the event has none */
    const void *joined; /* of whoever applies it: what else is known of it then (aggregators' tables); NULL from decoding */
};

/* What became of a record; the names are those of metrics and of the dead letters' `reason`. */
enum proto_verdict {
    PROTO_EVENT, /* decoded and valid: apply it */
    PROTO_UNKNOWN_ACTION, /* ignored and counted */
    PROTO_CANARY, /* a node's own, to take the time: ignored, and counted apart from events */
    PROTO_EMPTY, /* dead letters from here on: no bytes at all */
    PROTO_OVERSIZED,
    PROTO_BAD_PROTOBUF,
    PROTO_BAD_JSON,
    PROTO_BAD_TIME,
    PROTO_BAD_VALUE,
    PROTO_FUTURE,
    PROTO_BAD_KEY, /* of a table */
    PROTO_VERDICTS
};
const char *proto_verdict_name(enum proto_verdict verdict); /* "applied", "unknown_action", "bad_time" … static */

enum proto_format { PROTO_FORMAT_PROTOBUF, PROTO_FORMAT_JSON };

/*
 * Decodes and validates one record of a topic: the 5-byte schema-registry prefix is skipped when there (and a protobuf
 * message index behind it), JSON becomes wire bytes in `scratch`, then one pass over the wire. `future_ms`: an event later than
 * this is PROTO_FUTURE; INT64_MAX for no limit. Judged in the order of enum proto_verdict, but an unknown action of a record that
 * can be decoded, a canary, too, comes before bad_time, bad_value and future. `why` (may be NULL) gets a sentence for the log of a dead letter.
 * `scratch` needs room for twice a JSON record's bytes: without it the record is PROTO_BAD_JSON, and why->code FR_EXHAUSTED.
 */
enum proto_verdict proto_event_read(enum proto_format format, struct fr_slice record, int64_t future_ms,
                                    struct fr_arena *scratch, struct proto_event *event, struct fr_err *why);

/* The wire pass alone: syntax only (UTF-8 of strings included), no validation, unknown fields skipped. Agrees with protobuf. */
FR_CHECKED bool proto_event_decode(struct fr_slice wire, struct proto_event *event, struct fr_err *err);

/* One attribute by name: its value and true, or false when absent. A key given twice has its last value. */
bool proto_event_attribute(const struct proto_event *event, struct fr_slice key, struct fr_slice *value);

/* Calls `each` for every distinct attribute, by key. False, before any call, when memory for sorting is out. */
typedef void (*proto_attribute_fn)(void *user, struct fr_slice key, struct fr_slice value);
bool proto_event_attributes(const struct proto_event *event, proto_attribute_fn each, void *user);

/* Appends the wire form; zeros are left out; attributes are copied from event->wire. */
void proto_event_encode(const struct proto_event *event, struct fr_buffer *out);

/* Appends one attribute to a message that proto_event_encode() began (for producers). */
void proto_event_encode_attribute(struct fr_buffer *out, struct fr_slice key, struct fr_slice value);

/* One JSON object (not validated beyond its types) to wire bytes, appended. The message says what is wrong and where. */
FR_CHECKED bool proto_event_from_json(struct fr_slice json, struct fr_buffer *wire, struct fr_err *err);

/* Appends the event as one JSON object by the JSON rules (every field, attributes too). */
void proto_event_to_json(const struct proto_event *event, struct fr_buffer *out);

/*
 * The total order of events: by (ts_ms, event_id unsigned, action, item_id, value bits, then the other fixed-size fields by
 * field number, unsigned). Negative, 0 or positive as `a` is before, equal to or after `b`; text and attributes don't count.
 */
int proto_event_compare(const struct proto_event *a, const struct proto_event *b);

/*
 * How long its item was watched beside how long it is, as one of PROTO_WATCHED_LENGTHS × PROTO_WATCHED_TIMES buckets: the length's number ×
 * PROTO_WATCHED_TIMES + that of the time. Lengths are below 2 s, below 4 s …, 4,096 s and more; times of a length are less than 1/64 of its
 * lower edge, which nothing and negative ones are too, then eighths of a power of 2 up to 16 times it and more. −1: the event says no
 * length (duration_s > 0). Pure, and the same on every machine.
 */
enum { PROTO_WATCHED_LENGTHS = 13, PROTO_WATCHED_TIMES = 81 };
int proto_event_watched(const struct proto_event *event);

/* By name in any case; −1 for an unknown one. `action_name(3)` is "watch" (lower case), "" out of range. Static memory. */
int proto_action_number(struct fr_slice name);
int proto_scene_number(struct fr_slice name);
const char *proto_action_name(uint32_t action);
const char *proto_scene_name(uint32_t scene);

/* The fields of an event by their proto names, for `fields`, `key`, `of`, `where` and --map. */
enum proto_field {
    PROTO_FIELD_EVENT_ID = 1,
    PROTO_FIELD_TS_MS,
    PROTO_FIELD_USER_ID,
    PROTO_FIELD_ITEM_ID,
    PROTO_FIELD_CREATOR_ID,
    PROTO_FIELD_ROOM_ID,
    PROTO_FIELD_CATEGORY_ID,
    PROTO_FIELD_REGION,
    PROTO_FIELD_ACTION,
    PROTO_FIELD_VALUE,
    PROTO_FIELD_DURATION_S,
    PROTO_FIELD_SCENE,
    PROTO_FIELD_REQUEST_ID,
    PROTO_FIELD_POSITION,
    PROTO_FIELD_PROPENSITY,
    PROTO_FIELD_TEXT,
    PROTO_FIELD_ATTRIBUTES
};
int proto_field_number(struct fr_slice name); /* 0 for an unknown name */
const char *proto_field_name(int field); /* "" out of range */

/* An id field (fixed64/uint64) as such; 0 for other fields. */
uint64_t proto_event_id_field(const struct proto_event *event, int field);

/* A numeric field as a double (for `where` and `of`); false for text and attributes. */
bool proto_event_number_field(const struct proto_event *event, int field, double *value);

#endif
