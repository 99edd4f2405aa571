/* Decayed sums for those who rank by them. */
#ifndef FRESHET_AGGREGATORS_DECAYED_H
#define FRESHET_AGGREGATORS_DECAYED_H

#include "cells.h"

/* The sum at time_ms; 0 of an empty cell. */
double agg_decayed__value(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms);

/*
 * What orders sums and changes by events alone: the logarithm to base 2 of all that the cell holds, as if it had grown from time 0 on. The
 * memory must not be empty.
 */
double agg_decayed__score(struct fr_slice memory);
/* No sum with that score is greater at time_ms. */
double agg_decayed__bound(const struct agg_feature *feature, double score, int64_t time_ms);
/* A sum whose latest event is that old is 0. */
bool agg_decayed__is_gone(const struct agg_feature *feature, int64_t latest_ms, int64_t time_ms);
/* What an event of weight 1 adds to the sum of its block, whose number it gives. */
int64_t agg_decayed__unit(int64_t half_life_ms, int64_t ts_ms, int64_t *number);
/* The part of the sum of a block that is left at time_ms; 0 when the block does not count. */
double agg_decayed__left(int64_t half_life_ms, int64_t number, double sum, int64_t time_ms);
/* No read at the horizon or later counts the block. */
bool agg_decayed__is_past(int64_t half_life_ms, int64_t number, int64_t horizon_ms);

#endif
