/* Ratios, reckoned from the measures that a read plan gathered as operands. */
#ifndef FRESHET_AGGREGATORS_RATIO_H
#define FRESHET_AGGREGATORS_RATIO_H

#include "plan.h"

/* The value, companion or age from the row's operands (doubles, in units or seconds). */
float agg_ratio__value(const struct agg_ratio_column *column, const double *operands);
/* What the value is drawn towards; 0 without a prior. */
double agg_ratio__prior(const struct agg_ratio_column *column, const double *operands);

#endif
