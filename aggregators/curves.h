/*
 * Curves: what an entity's counted buckets are held against. The same buckets are kept of all events, in a hidden feature of the one
 * entity of all; a read makes of them a number for each bucket, as of T and over the same window, before it looks at any entity, and
 * each entity's buckets are then weighed by these. So nothing is learned in an order: both sides are sets of events.
 */
#ifndef FRESHET_AGGREGATORS_CURVES_H
#define FRESHET_AGGREGATORS_CURVES_H

#include "buckets.h"
#include "plan.h"

/* What an aggregate makes of buckets, of all events and then of one entity. Counts and curves have AGG_BUCKETS_MOST places. */
struct agg_curve_type {
    void (*draw)(const struct agg_feature *feature, const uint64_t *all, double *curve);
    double (*value)(const struct agg_feature *feature, const uint64_t *own, const double *curve, enum agg_output output);
};

/* Makes the hidden feature of all events, with the windows of the one that is parsed and what it takes. */
bool agg_curves__link(struct agg_parse *parse);

/* The curves that some columns need; without such columns nothing is read. */
struct agg_curves {
    struct agg_curve {
        const struct agg_feature *of; /* a feature that has a curve */
        const struct agg_window *window;
    } * curves;
    int count;
};

/* Room for as many as columns of the catalogue can need. False: the arena is exhausted. */
FR_CHECKED bool agg_curves__init(struct agg_curves *curves, const struct agg_catalogue *catalogue, struct fr_arena *arena);
/* The column's curve among those wanted, from 1; 0: it needs none. */
int agg_curves__want(struct agg_curves *curves, const struct agg_column *column);
/* Room for what they are drawn into: that of curve i + 1 is [i]. NULL: the arena is exhausted. */
double **agg_curves__room(const struct agg_curves *curves, struct fr_arena *arena);
/* Draws them as of time_ms. `is_whole` false: what that takes is on the disk only, and curves are of nothing. FR_CORRUPT. */
FR_CHECKED bool agg_curves__draw(struct agg *agg, const struct agg_curves *curves, int64_t time_ms, double *const *room,
                                 bool *is_whole, struct fr_err *err);
/* Brings what they are drawn from into the table. Blocks. */
FR_CHECKED bool agg_curves__load(struct agg *agg, const struct agg_curves *curves, struct fr_err *err);

/* The cell of one entity against its curve. */
float agg_curves__value(const struct agg_column *column, struct fr_slice memory, int64_t time_ms, const double *curve);
/* What the column shows of nothing. */
float agg_curves__nothing(const struct agg_feature *feature, struct fr_slice memory, const struct agg_window *window,
                          enum agg_output output, int64_t time_ms);
/* Bytes in memory of a full cell with so many buckets. */
int64_t agg_curves__bytes(const struct agg_feature *feature, int64_t buckets);

#endif
