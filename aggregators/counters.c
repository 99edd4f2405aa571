/* `count`, `sum`, `min`, `max` and `mean`: measures of the rows (rows.c); a mean is its sum and a hidden count. */
#include "type.h"

static bool parse_counter(struct agg_parse *parse)
{
    return agg_parse__windows(parse, AGG_PANES_LEAST);
}

static bool parse_sum(struct agg_parse *parse)
{
    static const uint8_t fields[] = {PROTO_FIELD_VALUE, PROTO_FIELD_DURATION_S, 0};
    bool ok = agg_parse__windows(parse, AGG_PANES_LEAST);

    return agg_parse__of(parse, fields) && ok;
}

/* Some of its actions may be taken off, whatever sign they come with. */
static bool parse_signed(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature;
    bool ok = parse_sum(parse);

    if (!fr_yaml_get(parse->map, "minus"))
        return ok;
    ok = agg_parse__actions(parse, "minus", &feature->ups) && ok;
    if (ok && (feature->ups & ~feature->actions) != 0)
        ok = agg_parse__tell(parse, fr_yaml_get(parse->map, "minus"), "minus", "names an action that is not among its actions");
    return ok;
}

static void define_sum(const struct agg_feature *feature, struct fr_buffer *text)
{
    if (feature->ups != 0)
        fr_buffer_append_format(text, "; minus %x", feature->ups);
    fr_buffer_append_format(text, "; of %s", proto_field_name(feature->of));
}

static const char *const keys_of_count[] = {"actions", "scenes", "where", "windows", NULL};
static const char *const keys_of_signed[] = {"actions", "scenes", "where", "windows", "of", "minus", NULL};
static const char *const keys_of_sum[] = {"actions", "scenes", "where", "windows", "of", NULL};
enum { EMITS = 1 << AGG_OUTPUT_VALUE | 1 << AGG_OUTPUT_N | 1 << AGG_OUTPUT_AGE };

const struct agg_type agg_type__count = {.name = "count", .keys = keys_of_count, .emits = EMITS, .parse = parse_counter};
const struct agg_type agg_type__sum = {
    .name = "sum", .keys = keys_of_signed, .emits = EMITS, .parse = parse_signed, .define = define_sum};
const struct agg_type agg_type__mean = {
    .name = "mean", .keys = keys_of_sum, .emits = EMITS, .parse = parse_sum, .define = define_sum};
const struct agg_type agg_type__min = {
    .name = "min", .keys = keys_of_sum, .emits = EMITS, .parse = parse_sum, .define = define_sum};
const struct agg_type agg_type__max = {
    .name = "max", .keys = keys_of_sum, .emits = EMITS, .parse = parse_sum, .define = define_sum};
