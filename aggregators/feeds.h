/* What entities tell lists, for apply.c. */
#ifndef FRESHET_AGGREGATORS_FEEDS_H
#define FRESHET_AGGREGATORS_FEEDS_H

#include "cells.h"

/*
 * The entity of the key changed by events of which `taken_ms` is the latest (of first events the earliest) that the feed's source
 * takes; `rows` are the entity's, `cell` is the source's. False: out of memory.
 */
FR_CHECKED bool agg_feeds__bring(struct agg_lane *lane, const struct agg_feed *feed, const struct store_key *key,
                                 int64_t taken_ms, const struct agg_rows *rows, struct fr_slice cell);

/* Of several events that a feed is to hear of the one that counts: the latest, of first events the earliest; 0 is none. */
void agg_feeds__note(const struct agg_feed *feed, int64_t ts_ms, int64_t *noted_ms);

/* The key of the list that the candidate is on: `scope` is its scope value, or 0. */
void agg_feeds__key(const struct agg_feature *top, uint64_t candidate, uint64_t scope, struct store_key *key);

#endif
