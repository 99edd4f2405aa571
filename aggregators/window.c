/*
 * Windows of event time, cut into panes. A window's resolution is the coarsest level that still gives it 24 panes; levels nest,
 * so a pane of one lies wholly in one pane of every coarser one.
 */
#include "internal.h"

const int64_t agg__level_ms[AGG_LEVELS] = {1000, 10000, 60000, 600000, 3600000, 21600000, 86400000};
const uint32_t agg__level_s[AGG_LEVELS] = {1, 10, 60, 600, 3600, 21600, 86400};

int64_t agg_window__pane(int64_t time_ms, int level)
{
    int64_t pane = time_ms / agg__level_ms[level];

    return pane - (time_ms % agg__level_ms[level] < 0); /* a horizon may lie before 1970: floor, not truncate */
}

struct agg_moment agg_window__moment(int64_t time_ms)
{
    struct agg_moment moment = {.time_ms = time_ms};

    if (time_ms >= 0 && time_ms < PROTO_TS_MS_END) { /* by constants, because a lane does this for every event */
        uint32_t s = (uint32_t)((uint64_t)time_ms / 1000);

        return (struct agg_moment){time_ms, {s, s / 10, s / 60, s / 600, s / 3600, s / 21600, s / 86400}};
    }
    for (int level = 0; level < AGG_LEVELS; level++)
        moment.pane[level] = agg_window__pane(time_ms, level);
    return moment;
}

int agg_window__level(int64_t span_ms, int panes_least)
{
    for (int level = AGG_LEVELS - 1; level >= 0; level--) {
        if (span_ms % agg__level_ms[level] == 0 && span_ms / agg__level_ms[level] >= panes_least)
            return level;
    }
    return -1;
}
