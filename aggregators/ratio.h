/* What ratios are drawn towards, from the operands that a read plan gathered. */
#ifndef FRESHET_AGGREGATORS_RATIO_H
#define FRESHET_AGGREGATORS_RATIO_H

#include "plan.h"

/* What the value is drawn towards; 0 without a prior. */
double agg_ratio__prior(const struct agg_ratio_column *column, const double *operands);

#endif
