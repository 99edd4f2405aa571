/* Bins of a cell: found, pruned, written and read. */
#include "bins.h"

static uint64_t bin_of(const struct agg_feature *feature, int64_t time_ms)
{
    return (uint64_t)(time_ms / feature->bin_ms);
}

/* The bin, made in its place when it isn't there; NULL: out of memory. */
static uint64_t *find(struct agg_cell *cell, uint64_t number)
{
    size_t words = agg_bins__words(cell->feature);
    uint32_t bytes;
    uint64_t *bins = agg_cell__memory(cell, &bytes);
    size_t count = agg_bins__count(cell->feature, bytes), at = count;

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

enum agg_added agg_bins__place(struct agg_cell *cell, const struct agg_input *input, uint64_t **bin)
{
    uint64_t number = bin_of(cell->feature, input->event->ts_ms);

    if ((int64_t)number < agg_bins__first(cell->feature, input->horizon->time_ms))
        return AGG_TOO_LATE;
    *bin = find(cell, number);
    return *bin ? AGG_ADDED : AGG_NO_MEMORY;
}

bool agg_bins__merge(struct agg_cell *into, struct fr_slice from)
{
    size_t words = agg_bins__words(into->feature), count = agg_bins__count(into->feature, from.length);
    const uint64_t *bins = from.bytes;

    for (size_t i = 0; i < count; i++, bins += words) {
        const uint32_t *more = (const uint32_t *)(const void *)(bins + 1);
        uint64_t *bin = find(into, bins[0]);

        for (int a = 0; bin && a < into->feature->series_count; a++)
            agg_bins__counts(bin)[a] += more[a];
        if (!bin)
            return false;
    }
    return true;
}

void agg_bins__prune(struct agg_cell *cell, const struct agg_moment *horizon)
{
    size_t words = agg_bins__words(cell->feature), gone = 0;
    int64_t first = agg_bins__first(cell->feature, horizon->time_ms);
    uint32_t bytes;
    uint64_t *bins = agg_cell__memory(cell, &bytes);
    size_t count = agg_bins__count(cell->feature, bytes);

    while (gone < count && (int64_t)bins[gone * words] < first)
        gone++;
    if (gone == 0)
        return;
    memmove(bins, bins + gone * words, (count - gone) * words * sizeof *bins);
    if (!agg_cell__resize(cell, (uint32_t)((count - gone) * words * sizeof *bins)))
        return;
}

void agg_bins__encode(const struct agg_feature *feature, struct fr_slice memory, struct fr_buffer *disk)
{
    const uint64_t *bin = memory.bytes;
    size_t count = agg_bins__count(feature, memory.length);
    uint64_t before = 0;

    fr_buffer_append_varint(disk, count);
    for (size_t i = 0; i < count; i++, bin += agg_bins__words(feature)) {
        const uint32_t *counts = (const uint32_t *)(const void *)(bin + 1);

        fr_buffer_append_varint(disk, bin[0] - before);
        for (int a = 0; a < feature->series_count; a++)
            fr_buffer_append_varint(disk, counts[a]);
        before = bin[0];
    }
}

void agg_bins__decode(struct agg_cell *cell, struct fr_reader *reader)
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

            agg_bins__counts(bin)[a] = (uint32_t)events;
            all += events;
            reader->is_failed = reader->is_failed || events > UINT32_MAX;
        }
        if (!bin || all == 0)
            reader->is_failed = true;
    }
}

void agg_bins__digest(const struct agg_feature *feature, struct fr_slice memory, const struct agg_moment *moment,
                      struct agg_facts *facts)
{
    const uint64_t *bin = memory.bytes;
    size_t count = agg_bins__count(feature, memory.length);

    for (size_t i = 0; i < count; i++, bin += agg_bins__words(feature)) {
        if ((int64_t)bin[0] >= agg_bins__first(feature, moment->time_ms))
            agg_facts__add_cell(facts, feature, bin, agg_bins__words(feature));
    }
}

void agg_bins__explain(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, struct agg_pieces *pieces)
{
    const uint64_t *bin = memory.bytes;
    int64_t first = agg_bins__first(feature, time_ms);

    for (size_t i = 0; i < agg_bins__count(feature, memory.length); i++, bin += agg_bins__words(feature)) {
        const uint32_t *counts = (const uint32_t *)(const void *)(bin + 1);
        struct agg_piece piece = {.start_ms = (int64_t)bin[0] * feature->bin_ms, .span_ms = feature->bin_ms};

        for (int a = 0; a < feature->series_count; a++)
            piece.count += counts[a];
        piece.value = (double)piece.count;
        if ((int64_t)bin[0] >= first && (int64_t)bin[0] < first + (int64_t)feature->bins)
            agg_pieces__add(pieces, &piece);
    }
}

int64_t agg_bins__bytes_most(const struct agg_feature *feature)
{
    return (int64_t)feature->bins * (int64_t)(agg_bins__words(feature) * sizeof(uint64_t));
}
