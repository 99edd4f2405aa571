/*
 * Ratios, and what else is reckoned from the measures (doubles, in units or seconds) that a read plan gathered as operands: by each type's
 * of_operands().
 */
#ifndef FRESHET_AGGREGATORS_RATIO_H
#define FRESHET_AGGREGATORS_RATIO_H

#include "plan.h"
#include "type.h"

/* What a column of the ratio needs of that side: NULL when nothing. An age needs those of its operands, a chain's count itself. */
const struct agg_feature *agg_ratio__operand(const struct agg_feature *feature, const struct agg_output_column *output,
                                             enum agg_prior prior, int side);
/* A column's value from the row's operands; `id` as of_operands() has it. */
static inline float agg_ratio__value(const struct agg_ratio_column *column, const double *operands, uint64_t id)
{
    return column->feature->type->of_operands(column, operands, id);
}

/* Settings: links the counter that `of` names in that place, which must have the feature's windows. False: told. */
bool agg_ratio__link(struct agg_parse *parse, int side);
/* The operand's value in a row's operands; 0 of none. */
double agg_ratio__take(const struct agg_ratio_column *column, const double *operands, enum agg_prior prior, int side);
/* What the value is drawn towards; 0 without a prior. */
double agg_ratio__prior(const struct agg_ratio_column *column, const double *operands);

#endif
