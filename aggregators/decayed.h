/* Decayed sums for those who rank by them. */
#ifndef FRESHET_AGGREGATORS_DECAYED_H
#define FRESHET_AGGREGATORS_DECAYED_H

#include "cells.h"

/* The sum at time_ms; 0 of an empty cell. */
double agg_decayed__value(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms);

#endif
