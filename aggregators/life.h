/* Which items are off and which rooms have ended, for those who leave them out (recall.c). */
#ifndef FRESHET_AGGREGATORS_LIFE_H
#define FRESHET_AGGREGATORS_LIFE_H

#include "cells.h"

enum { AGG_NEW_MS = 86400000, AGG_IDLE_MS = 600000 }; /* an item is new, a room that never started is live, so long */

enum agg_life { AGG_LIFE_UNSAID, AGG_LIFE_ON, AGG_LIFE_OFF }; /* off: also ended */

/* What the entity's own events said, as of time_ms. */
enum agg_life agg_life__read(const struct agg_feature *life, struct fr_slice memory, int64_t time_ms);

#endif
