/*
 * One row by a bound map: the events it means. Times go through exact integers; a number of seconds is one division, rounded
 * once, so that another program that reads the same file gets the same bits.
 */
#include "internal.h"

#include <freshet/text.h>

#include <math.h>

static const char *const skip_names[CLI_SKIPS] = {
    "none", "no_action", "bad_time", "bad_number", "bad_text", "bad_csv", "bad_json", "bad_protobuf", "too_long",
};

const char *cli_skip__name(enum cli_skip skip)
{
    return skip_names[skip];
}

static enum cli_skip refuse(enum cli_skip skip, const struct cli_map_rule *rule, struct fr_slice text, struct fr_err *err)
{
    int shown = text.length > 60 ? 60 : (int)text.length;

    if (rule->is_constant || rule->column.length == 0)
        (void)fr_fail(err, FR_BAD_INPUT, "'%.*s' is no %s", shown, (const char *)text.bytes, proto_field_name(rule->field));
    else
        (void)fr_fail(err, FR_BAD_INPUT, "column '%.*s': '%.*s' is no %s", (int)rule->column.length,
                      (const char *)rule->column.bytes, shown, (const char *)text.bytes, proto_field_name(rule->field));
    return skip;
}

static enum cli_skip set_time(const struct cli_map_rule *rule, struct fr_slice text, int64_t *ts_ms, struct fr_err *err)
{
    bool is_good = rule->unit == CLI_UNIT_ISO  ? cli_time__iso(text, ts_ms)
                   : rule->unit == CLI_UNIT_S  ? cli_time__decimal(text, 3, ts_ms)
                   : rule->unit == CLI_UNIT_US ? cli_time__decimal(text, -3, ts_ms)
                                               : cli_time__decimal(text, 0, ts_ms);

    if (!is_good)
        return refuse(CLI_SKIP_BAD_TIME, rule, text, err);
    if (*ts_ms < 1 || *ts_ms >= PROTO_TS_MS_END) {
        (void)fr_fail(err, FR_BAD_INPUT, "'%.*s' is %lld ms, no time between 1970 and 2100; is the unit right?",
                      text.length > 60 ? 60 : (int)text.length, (const char *)text.bytes, (long long)*ts_ms);
        return CLI_SKIP_BAD_TIME;
    }
    return CLI_SKIP_NONE;
}

static enum cli_skip set_number(const struct cli_map_rule *rule, struct fr_slice text, struct proto_event *event,
                                struct fr_err *err)
{
    double number;
    uint64_t whole;

    if (rule->field == PROTO_FIELD_POSITION) {
        if (!fr_text_uint64(text, &whole) || whole > UINT32_MAX)
            return refuse(CLI_SKIP_BAD_NUMBER, rule, text, err);
        event->position = (uint32_t)whole;
        return CLI_SKIP_NONE;
    }
    if (!fr_text_double(text, &number) || !isfinite(number))
        return refuse(CLI_SKIP_BAD_NUMBER, rule, text, err);
    if (rule->unit == CLI_UNIT_MS)
        number /= 1000.0;
    else if (rule->unit == CLI_UNIT_US)
        number /= 1e6;
    if (rule->field == PROTO_FIELD_VALUE)
        event->value = number;
    else if (rule->field == PROTO_FIELD_DURATION_S)
        event->duration_s = number;
    else
        event->propensity = (float)number;
    return CLI_SKIP_NONE;
}

static void set_id(int field, uint64_t id, struct proto_event *event)
{
    uint64_t *fields[] = {
        [PROTO_FIELD_EVENT_ID] = &event->event_id, [PROTO_FIELD_USER_ID] = &event->user_id,
        [PROTO_FIELD_ITEM_ID] = &event->item_id,   [PROTO_FIELD_CREATOR_ID] = &event->creator_id,
        [PROTO_FIELD_ROOM_ID] = &event->room_id,   [PROTO_FIELD_CATEGORY_ID] = &event->category_id,
        [PROTO_FIELD_REGION] = &event->region,     [PROTO_FIELD_REQUEST_ID] = &event->request_id,
    };

    *fields[field] = id;
}

/* A name in any case, or a number, as in JSON; 0 for what is neither. */
static uint32_t choice(int field, struct fr_slice text)
{
    bool is_action = field == PROTO_FIELD_ACTION;
    int number = is_action ? proto_action_number(text) : proto_scene_number(text);
    uint64_t given;

    if (number >= 0)
        return (uint32_t)number;
    if (!fr_text_uint64(text, &given) || given >= (is_action ? PROTO_ACTIONS : PROTO_SCENES))
        return 0;
    return (uint32_t)given;
}

static enum cli_skip set_text(const struct cli_map_rule *rule, struct fr_slice text, struct cli_row_events *out,
                              struct fr_err *err)
{
    if (!fr_text_is_utf8(text)) {
        (void)fr_fail(err, FR_BAD_INPUT, "%s is not UTF-8", proto_field_name(rule->field));
        return CLI_SKIP_BAD_TEXT;
    }
    if (rule->field == PROTO_FIELD_TEXT)
        out->event.text = text;
    else
        proto_event_encode_attribute(&out->attributes, rule->attribute, text);
    return CLI_SKIP_NONE;
}

static enum cli_skip set_field(const struct cli_map_rule *rule, struct fr_slice text, struct cli_row_events *out,
                               struct fr_err *err)
{
    switch (rule->field) {
    case PROTO_FIELD_TS_MS:
        return set_time(rule, text, &out->event.ts_ms, err);
    case PROTO_FIELD_VALUE:
    case PROTO_FIELD_DURATION_S:
    case PROTO_FIELD_POSITION:
    case PROTO_FIELD_PROPENSITY:
        return set_number(rule, text, &out->event, err);
    case PROTO_FIELD_TEXT:
    case PROTO_FIELD_ATTRIBUTES:
        return set_text(rule, text, out, err);
    default:
        set_id(rule->field, fr_text_id(text), &out->event);
        return CLI_SKIP_NONE;
    }
}

static const struct cli_map_value *match(const struct cli_map_rule *rule, struct fr_slice text)
{
    for (int i = 0; i < rule->value_count; i++) {
        if (fr_slice_equal(rule->values[i].from, text))
            return &rule->values[i];
    }
    return NULL;
}

/* Actions and scenes: with parentheses only what they name. */
static void set_choice(const struct cli_map_rule *rule, struct fr_slice text, struct cli_row_events *out)
{
    const struct cli_map_value *value = match(rule, text);
    uint32_t number = value ? value->number : rule->has_values ? 0 : choice(rule->field, text);

    if (rule->field == PROTO_FIELD_SCENE)
        out->event.scene = number;
    else if (number != 0)
        out->actions[out->count++] = number;
}

enum cli_skip cli_map__row(const struct cli_map *map, const struct fr_slice *fields, struct cli_row_events *out,
                           struct fr_err *err)
{
    out->event = (struct proto_event){0};
    out->count = 0;
    fr_buffer_clear(&out->attributes);
    for (int i = 0; i < map->rule_count; i++) { /* actions first: a row that means nothing is not judged */
        const struct cli_map_rule *rule = &map->rules[i];

        if (rule->field == PROTO_FIELD_ACTION || rule->field == PROTO_FIELD_SCENE)
            set_choice(rule, rule->is_constant ? rule->column : fields[rule->index], out);
    }
    if (out->count == 0)
        return CLI_SKIP_NO_ACTION;
    for (int i = 0; i < map->rule_count; i++) {
        const struct cli_map_rule *rule = &map->rules[i];
        struct fr_slice text = rule->is_constant ? rule->column : fields[rule->index];
        const struct cli_map_value *value = match(rule, text);
        enum cli_skip skip = CLI_SKIP_NONE;

        if (rule->field == PROTO_FIELD_ACTION || rule->field == PROTO_FIELD_SCENE)
            continue;
        if (value)
            text = value->to; /* what no value matches stays as it is */
        if (text.length > 0 || rule->field == PROTO_FIELD_TS_MS)
            skip = set_field(rule, text, out, err);
        if (skip != CLI_SKIP_NONE)
            return skip;
    }
    return CLI_SKIP_NONE;
}

uint64_t cli_map__event_id(struct fr_slice raw, uint64_t line, uint32_t action)
{
    uint8_t tail[12];
    struct fr_buffer bytes;
    uint64_t id;

    for (int i = 0; i < 8; i++)
        tail[i] = (uint8_t)(line >> (8 * i));
    for (int i = 0; i < 4; i++)
        tail[8 + i] = (uint8_t)(action >> (8 * i));
    fr_buffer_init(&bytes);
    fr_buffer_append(&bytes, raw.bytes, raw.length);
    fr_buffer_append(&bytes, tail, sizeof tail);
    id = fr_text_hash(bytes.bytes, bytes.length, 0);
    fr_buffer_fini(&bytes);
    return id ? id : 1;
}
