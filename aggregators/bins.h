/*
 * Cells of bins of equal length, the latest of them: of each that has an event a count for each of the feature's `series_count` rows.
 *
 * In memory: bins ascending, those with an event only: the bin's number and a count of 32 bits for each row, padded to 8 bytes.
 */
#ifndef FRESHET_AGGREGATORS_BINS_H
#define FRESHET_AGGREGATORS_BINS_H

#include "cells.h"

static inline size_t agg_bins__words(const struct agg_feature *feature) /* of a bin */
{
    return 1 + ((size_t)feature->series_count + 1) / 2;
}

static inline size_t agg_bins__count(const struct agg_feature *feature, size_t bytes)
{
    return bytes / (agg_bins__words(feature) * sizeof(uint64_t));
}

static inline uint32_t *agg_bins__counts(uint64_t *bin)
{
    return (uint32_t *)(void *)(bin + 1);
}

/* The first bin that counts at the time; a horizon may lie before 1970. */
static inline int64_t agg_bins__first(const struct agg_feature *feature, int64_t time_ms)
{
    return (time_ms < 0 ? -1 : time_ms / feature->bin_ms) - (int64_t)feature->bins + 1;
}

/* The bin that takes an event of this time, made when it isn't there. */
enum agg_added agg_bins__place(struct agg_cell *cell, const struct agg_input *input, uint64_t **bin);

/* For a struct agg_cell_type. */
FR_CHECKED bool agg_bins__merge(struct agg_cell *into, struct fr_slice from);
void agg_bins__prune(struct agg_cell *cell, const struct agg_moment *horizon);
void agg_bins__encode(const struct agg_feature *feature, struct fr_slice memory, struct fr_buffer *disk);
void agg_bins__decode(struct agg_cell *cell, struct fr_reader *reader);
void agg_bins__digest(const struct agg_feature *feature, struct fr_slice memory, const struct agg_moment *moment,
                      struct agg_facts *facts);
/* All rows of a bin together. */
void agg_bins__explain(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, struct agg_pieces *pieces);
int64_t agg_bins__bytes_most(const struct agg_feature *feature);

#endif
