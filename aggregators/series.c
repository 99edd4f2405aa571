/* `series`: counts per action in bins of equal length, the latest of them read as a sequence: the pulse of a room. */
#include "bins.h"
#include "type.h"

enum { BINS_MOST = 10000 };

static enum agg_added add(struct agg_cell *cell, const struct agg_input *input)
{
    const struct agg_feature *feature = cell->feature;
    uint64_t *bin;
    enum agg_added added = agg_bins__place(cell, input, &bin);

    for (int i = 0; i < feature->series_count && added == AGG_ADDED; i++)
        agg_bins__counts(bin)[i] += feature->series[i] == input->event->action;
    return added;
}

static bool sequence(const struct agg_feature *feature, struct fr_slice memory, bool is_present, int64_t time_ms,
                     struct fr_arena *arena, struct agg_sequence *sequence)
{
    size_t words = agg_bins__words(feature), kept = agg_bins__count(feature, memory.length);
    int64_t first = agg_bins__first(feature, time_ms);
    const uint64_t *bins = memory.bytes;

    sequence->field_count = feature->series_count;
    sequence->fields = fr_arena_take_zeroed(arena, (size_t)feature->series_count, sizeof *sequence->fields);
    for (int a = 0; a < feature->series_count && sequence->fields; a++) {
        struct agg_values *values = &sequence->fields[a];

        values->name = proto_action_name(feature->series[a]);
        values->count = is_present ? (int)feature->bins : 0;
        values->ints = fr_arena_take_zeroed(arena, (size_t)feature->bins, sizeof *values->ints);
        if (!values->ints)
            return false;
        for (size_t i = 0; i < kept; i++) {
            int64_t at = (int64_t)bins[i * words] - first;

            if (at >= 0 && at < (int64_t)feature->bins)
                values->ints[at] = ((const uint32_t *)(const void *)(bins + i * words + 1))[a];
        }
    }
    return sequence->fields != NULL;
}

/* ---- settings ---- */

/* Fields come in the order in which the actions are listed. */
static void list_actions(struct agg_parse *parse)
{
    struct fr_yaml *list = fr_yaml_get(parse->map, "actions");
    struct agg_feature *feature = parse->feature;

    for (int i = 0; list && list->kind == FR_YAML_LIST && i < list->count && feature->series_count < PROTO_ACTIONS; i++) {
        int action = list->values[i]->kind == FR_YAML_SCALAR ? proto_action_number(list->values[i]->text) : 0;

        if (action > 0)
            feature->series[feature->series_count++] = (uint8_t)action;
    }
    for (int i = 1; !list && i < PROTO_ACTIONS; i++)
        feature->series[feature->series_count++] = (uint8_t)i;
}

static bool parse_series(struct agg_parse *parse)
{
    int64_t bins = 0;
    bool ok = agg_parse__seconds(parse, "bin", &parse->feature->bin_ms);

    ok = fr_yaml_int(parse->map, "bins", 1, BINS_MOST, &bins, parse->diagnostics) && ok;
    if (ok && bins == 0)
        ok = agg_parse__tell(parse, parse->at, "bins", "missing; say how many bins to keep");
    parse->feature->bins = bins;
    list_actions(parse);
    return ok;
}

static void define_series(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; %lld bins of %lld", (long long)feature->bins, (long long)feature->bin_ms);
    for (int i = 0; i < feature->series_count; i++)
        fr_buffer_append_format(text, " %s", proto_action_name(feature->series[i]));
}

static const struct agg_cell_type cells = {.part = STORE_PART_SKETCHES,
                                           .add = add,
                                           .merge = agg_bins__merge,
                                           .prune = agg_bins__prune,
                                           .encode = agg_bins__encode,
                                           .decode = agg_bins__decode,
                                           .digest = agg_bins__digest,
                                           .sequence = sequence,
                                           .explain = agg_bins__explain,
                                           .bytes_most = agg_bins__bytes_most};
static const char *const keys[] = {"actions", "scenes", "where", "bin", "bins", NULL};

const struct agg_type agg_type__series = {.name = "series",
                                          .keys = keys,
                                          .emits = 1 << AGG_OUTPUT_VALUE | 1 << AGG_OUTPUT_AGE,
                                          .parse = parse_series,
                                          .define = define_series,
                                          .cells = &cells};
