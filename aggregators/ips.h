/* What an event adds to an `ips`. */
#ifndef FRESHET_AGGREGATORS_IPS_H
#define FRESHET_AGGREGATORS_IPS_H

#include "internal.h"

/* In micro-units, of an event that the feature takes. */
int64_t agg_ips__micro(const struct agg_feature *feature, const struct proto_event *event);

#endif
