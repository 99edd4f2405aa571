/* What went with an item, for those who pair (apply.c, lane.c) and those who read it (recall.c). */
#ifndef FRESHET_AGGREGATORS_COVISIT_H
#define FRESHET_AGGREGATORS_COVISIT_H

#include "top.h"

enum { AGG_PAIRS = 10 }; /* records that an event is paired with at most */

struct agg_pair { /* a record of the sequence */
    uint64_t item_id;
    int64_t ts_ms;
};

/*
 * The records nearest in time to an event of the item at ts_ms, of other items and within the feature's span; of records equally near
 * the greater one is nearer. At most `most` to pairs[]; their number. `rings`: the source's part; NULL: none.
 */
int agg_covisit__nearest(const struct agg_feature *feature, const struct agg_ring *rings, uint64_t item_id, int64_t ts_ms,
                         int most, struct agg_pair *pairs);

/* Before the event goes into the sequence: pairs it, for both items. False: out of memory. */
FR_CHECKED bool agg_covisit__pair(struct agg_lane *lane, const struct agg_feature *source, const struct agg_ring *rings,
                                  const struct proto_event *event);

/* After users are loaded: groups for the items that the batch may pair. False: out of memory. */
FR_CHECKED bool agg_covisit__want(struct agg_lane *lane);

/* Partners that may show, with what they weigh at time_ms; their number is at most agg_covisit__most(). */
size_t agg_covisit__most(struct fr_slice memory);
uint32_t agg_covisit__read(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms,
                           struct agg_ranked *ranked);

#endif
