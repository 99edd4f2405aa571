/*
 * Panes of counted buckets: a word for each bucket that has events, ascending. What a bucket is, is its aggregate's business: a span of
 * values, a place on a page, a length with what was watched of it.
 */
#ifndef FRESHET_AGGREGATORS_BUCKETS_H
#define FRESHET_AGGREGATORS_BUCKETS_H

#include "panes.h"

enum { AGG_BUCKETS_MOST = AGG_BODY_WORDS_MAX, AGG_BUCKET_COUNT_BITS = 52 }; /* a word of a body: bucket << 52 | events */

extern const struct agg_pane_type agg_buckets__panes;

static inline uint32_t agg_bucket__of(uint64_t word)
{
    return (uint32_t)(word >> AGG_BUCKET_COUNT_BITS);
}

static inline uint64_t agg_bucket__events(uint64_t word)
{
    return word & ((UINT64_C(1) << AGG_BUCKET_COUNT_BITS) - 1);
}

/* One event in that bucket, below AGG_BUCKETS_MOST, of the pane that it falls into. */
enum agg_added agg_buckets__add(struct agg_cell *cell, const struct agg_input *input, uint32_t wanted);
/* Adds the window's events to counts[0..AGG_BUCKETS_MOST). */
void agg_buckets__count(struct fr_slice memory, const struct agg_window *window, int64_t time_ms, uint64_t *counts);

#endif
