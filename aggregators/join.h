/* What tables say of the events of a batch, looked up once: conditions and keys see the same row, whatever comes in meanwhile. */
#ifndef FRESHET_AGGREGATORS_JOIN_H
#define FRESHET_AGGREGATORS_JOIN_H

#include "tables.h"

struct agg_join; /* of a lane */

/* NULL when out of memory. Only where some table is joined to events. */
struct agg_join *agg_join__new(const struct agg *agg, int batch_max);
void agg_join__free(struct agg_join *join); /* NULL is fine */

/* Loads the rows of events[0..count). On a visit; blocks on the disk. */
FR_CHECKED bool agg_join__load(struct agg_join *join, const struct proto_event *events, int count, struct fr_err *err);

/*
 * Copies of events[0..count) with what the tables say of each as of now; good until the next call. A row that is quarantined is as
 * good as none.
 */
const struct proto_event *agg_join__take(struct agg_join *join, const struct proto_event *events, int count);

/* The field of that number (AGG_KEY_JOINED and up) of a joined event, as an id; 0: it has none. */
uint64_t agg_join__id(const struct agg_catalogue *catalogue, int key, const struct proto_event *event);
/* Its ids, of a list. */
const uint64_t *agg_join__ids(const struct agg_catalogue *catalogue, int key, const struct proto_event *event, int *count);

#endif
