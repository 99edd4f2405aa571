/* The candidates of a list, for those who read it (recall.c). */
#ifndef FRESHET_AGGREGATORS_TOP_H
#define FRESHET_AGGREGATORS_TOP_H

#include "decayed.h"

struct agg_ranked {
    uint64_t id;
    int64_t latest_ms; /* of the events that brought it here */
    double score; /* of a decayed sum agg_decayed__score(), of recent ones the moment in ms */
};

uint32_t agg_top__count(struct fr_slice memory);
/* Copies those that may show at time_ms, at most agg_top__count() of them; their number. */
uint32_t agg_top__read(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms, struct agg_ranked *ranked);
/* Greatest score first, of equal ones the lesser id. */
void agg_top__sort(struct agg_ranked *ranked, uint32_t count);

#endif
