/*
 * `series`: counts per action in bins of equal length, the latest of them read as a sequence: the pulse of a room.
 *
 * In memory: bins ascending, those with an event only: the bin's number and a count of 32 bits for each action, padded to 8 bytes.
 */
#include "type.h"

enum { BINS_MOST = 10000 };

static size_t bin_words(const struct agg_feature *feature)
{
    return 1 + ((size_t)feature->series_count + 1) / 2;
}

static uint32_t *counts_of(uint64_t *bin)
{
    return (uint32_t *)(void *)(bin + 1);
}

static size_t count_bins(const struct agg_feature *feature, size_t bytes)
{
    return bytes / (bin_words(feature) * sizeof(uint64_t));
}

static uint64_t bin_of(const struct agg_feature *feature, int64_t time_ms)
{
    return (uint64_t)(time_ms / feature->bin_ms);
}

/* The first bin that counts at the time; a horizon may lie before 1970. */
static int64_t first_of(const struct agg_feature *feature, int64_t time_ms)
{
    return (time_ms < 0 ? -1 : time_ms / feature->bin_ms) - (int64_t)feature->bins + 1;
}

/* The bin, made in its place when it isn't there; NULL: out of memory. */
static uint64_t *find(struct agg_cell *cell, uint64_t number)
{
    size_t words = bin_words(cell->feature);
    uint32_t bytes;
    uint64_t *bins = agg_cell__memory(cell, &bytes);
    size_t count = count_bins(cell->feature, bytes), at = count;

    while (at > 0 && bins[(at - 1) * words] > number)
        at--;
    if (at > 0 && bins[(at - 1) * words] == number)
        return bins + (at - 1) * words;
    if (!agg_cell__resize(cell, bytes + (uint32_t)(words * sizeof *bins)))
        return NULL;
    bins = agg_cell__memory(cell, &bytes);
    memmove(bins + (at + 1) * words, bins + at * words, (count - at) * words * sizeof *bins);
    memset(bins + at * words, 0, words * sizeof *bins);
    bins[at * words] = number;
    return bins + at * words;
}

static enum agg_added add(struct agg_cell *cell, const struct agg_input *input)
{
    const struct agg_feature *feature = cell->feature;
    uint64_t number = bin_of(feature, input->event->ts_ms);
    uint64_t *bin;

    if ((int64_t)number < first_of(feature, input->horizon->time_ms))
        return AGG_TOO_LATE;
    bin = find(cell, number);
    if (!bin)
        return AGG_NO_MEMORY;
    for (int i = 0; i < feature->series_count; i++)
        counts_of(bin)[i] += feature->series[i] == input->event->action;
    return AGG_ADDED;
}

static void prune(struct agg_cell *cell, const struct agg_moment *horizon)
{
    size_t words = bin_words(cell->feature), gone = 0;
    int64_t first = first_of(cell->feature, horizon->time_ms);
    uint32_t bytes;
    uint64_t *bins = agg_cell__memory(cell, &bytes);
    size_t count = count_bins(cell->feature, bytes);

    while (gone < count && (int64_t)bins[gone * words] < first)
        gone++;
    if (gone == 0)
        return;
    memmove(bins, bins + gone * words, (count - gone) * words * sizeof *bins);
    if (!agg_cell__resize(cell, (uint32_t)((count - gone) * words * sizeof *bins)))
        return;
}

static void encode(const struct agg_feature *feature, struct fr_slice memory, struct fr_buffer *disk)
{
    const uint64_t *bin = memory.bytes;
    size_t count = count_bins(feature, memory.length);
    uint64_t before = 0;

    fr_buffer_append_varint(disk, count);
    for (size_t i = 0; i < count; i++, bin += bin_words(feature)) {
        const uint32_t *counts = (const uint32_t *)(const void *)(bin + 1);

        fr_buffer_append_varint(disk, bin[0] - before);
        for (int a = 0; a < feature->series_count; a++)
            fr_buffer_append_varint(disk, counts[a]);
        before = bin[0];
    }
}

static void decode(struct agg_cell *cell, struct fr_reader *reader)
{
    uint64_t count = fr_reader_varint(reader), number = 0;

    if (count == 0 || count > (uint64_t)(reader->end - reader->at))
        reader->is_failed = true;
    for (uint64_t i = 0; i < count && !reader->is_failed; i++) {
        uint64_t more = fr_reader_varint(reader), all = 0;
        uint64_t *bin;

        if (more > bin_of(cell->feature, PROTO_TS_MS_END) || (i > 0 && more == 0)) {
            reader->is_failed = true;
            return;
        }
        number += more;
        bin = find(cell, number);
        for (int a = 0; bin && a < cell->feature->series_count; a++) {
            uint64_t events = fr_reader_varint(reader);

            counts_of(bin)[a] = (uint32_t)events;
            all += events;
            reader->is_failed = reader->is_failed || events > UINT32_MAX;
        }
        if (!bin || all == 0)
            reader->is_failed = true;
    }
}

static void digest(const struct agg_feature *feature, struct fr_slice memory, const struct agg_moment *moment,
                   struct agg_facts *facts)
{
    const uint64_t *bin = memory.bytes;
    size_t count = count_bins(feature, memory.length);

    for (size_t i = 0; i < count; i++, bin += bin_words(feature)) {
        if ((int64_t)bin[0] >= first_of(feature, moment->time_ms))
            agg_facts__add_cell(facts, feature, bin, bin_words(feature));
    }
}

static bool sequence(const struct agg_feature *feature, struct fr_slice memory, bool is_present, int64_t time_ms,
                     struct fr_arena *arena, struct agg_sequence *sequence)
{
    size_t words = bin_words(feature), kept = count_bins(feature, memory.length);
    int64_t first = first_of(feature, time_ms);
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

/* All actions of a bin together; the fields tell them apart. */
static void explain(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, struct agg_pieces *pieces)
{
    const uint64_t *bin = memory.bytes;
    int64_t first = first_of(feature, time_ms);

    for (size_t i = 0; i < count_bins(feature, memory.length); i++, bin += bin_words(feature)) {
        const uint32_t *counts = (const uint32_t *)(const void *)(bin + 1);
        struct agg_piece piece = {.start_ms = (int64_t)bin[0] * feature->bin_ms, .span_ms = feature->bin_ms};

        for (int a = 0; a < feature->series_count; a++)
            piece.count += counts[a];
        piece.value = (double)piece.count;
        if ((int64_t)bin[0] >= first && (int64_t)bin[0] < first + (int64_t)feature->bins)
            agg_pieces__add(pieces, &piece);
    }
}

static int64_t bytes_most(const struct agg_feature *feature)
{
    return (int64_t)feature->bins * (int64_t)(bin_words(feature) * sizeof(uint64_t));
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
                                           .prune = prune,
                                           .encode = encode,
                                           .decode = decode,
                                           .digest = digest,
                                           .sequence = sequence,
                                           .explain = explain,
                                           .bytes_most = bytes_most};
static const char *const keys[] = {"actions", "scenes", "where", "bin", "bins", NULL};

const struct agg_type agg_type__series = {.name = "series",
                                          .keys = keys,
                                          .emits = 1 << AGG_OUTPUT_VALUE | 1 << AGG_OUTPUT_AGE,
                                          .parse = parse_series,
                                          .define = define_series,
                                          .cells = &cells};
