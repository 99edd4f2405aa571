/* `last`: a sequence of the latest events (sequence.c). */
#include "type.h"

static const char *const sequence_fields[] = {"item_id",    "creator_id", "room_id", "category_id", "region",
                                              "request_id", "event_id",   "user_id", "action",      "scene",
                                              "ts_ms",      "position",   "value",   "duration_s",  "propensity"};
enum { SEQUENCE_FIELDS = sizeof sequence_fields / sizeof sequence_fields[0] };

static bool parse_field(struct agg_parse *parse, struct fr_yaml *at)
{
    struct agg_feature *feature = parse->feature;
    int field = at->kind == FR_YAML_SCALAR ? proto_field_number(at->text) : 0;
    int word = field > 0 ? agg_order__word(field) : -1;

    if (at->kind != FR_YAML_SCALAR)
        return agg_parse__tell(parse, at, "fields", "should be a list of event fields");
    if (word < 0)
        return agg_parse__tell_nearest(parse, at, "fields", sequence_fields, SEQUENCE_FIELDS);
    for (int i = 0; i < feature->field_count; i++) {
        if (feature->fields[i] == field)
            return fr_diagnostics_add(parse->diagnostics, at, "features.%s.fields: '%s' twice", feature->name,
                                      proto_field_name(field));
    }
    feature->field_names[feature->field_count] = proto_field_name(field);
    feature->fields[feature->field_count++] = (uint8_t)field;
    if (feature->order_words <= word)
        feature->order_words = word + 1;
    return true;
}

static bool parse_last(struct agg_parse *parse)
{
    struct fr_yaml *list = fr_yaml_get(parse->map, "fields");
    int64_t limit = 0;
    bool ok = fr_yaml_int(parse->map, "limit", 1, AGG_LIMIT_MAX, &limit, parse->diagnostics);

    if (ok && limit == 0)
        ok = agg_parse__tell(parse, parse->at, "limit", "missing; say how many events to keep");
    parse->feature->limit = (uint32_t)limit;
    ok = fr_yaml_bool(parse->map, "seen", &parse->feature->is_seen, parse->diagnostics) && ok;
    parse->feature->order_words = 2; /* time and id at least: most events differ there already */
    if (parse->feature->is_seen)
        parse->feature->order_words = agg_order__word(PROTO_FIELD_ITEM_ID) + 1; /* whatever it shows */
    if (!list)
        return agg_parse__tell(parse, parse->at, "fields", "missing; use a list of event fields, [item_id, ts_ms]");
    if (list->kind != FR_YAML_LIST || list->count == 0)
        return agg_parse__tell(parse, list, "fields", "should be a list of event fields, [item_id, ts_ms]");
    for (int i = 0; i < list->count; i++)
        ok = parse_field(parse, list->values[i]) && ok;
    return ok;
}

static int words_shown(const struct agg_feature *feature)
{
    int words = 2;

    for (int i = 0; i < feature->field_count; i++) {
        int word = agg_order__word(feature->fields[i]);

        words = word >= words ? word + 1 : words;
    }
    return words;
}

static void define_last(const struct agg_feature *feature, struct fr_buffer *text)
{
    for (int i = 0; i < feature->field_count; i++)
        fr_buffer_append_format(text, "%s %s", i == 0 ? "; fields" : "", feature->field_names[i]);
    if (feature->order_words > words_shown(feature))
        fr_buffer_append_format(text, "; %d words", feature->order_words); /* more than it shows: a match reads it */
    if (feature->is_seen)
        fr_buffer_append_text(text, "; seen");
}

static const char *const keys[] = {"actions", "scenes", "where", "limit", "fields", "seen", NULL};

const struct agg_type agg_type__last = {
    .name = "last", .keys = keys, .emits = 1 << AGG_OUTPUT_VALUE, .parse = parse_last, .define = define_last};
