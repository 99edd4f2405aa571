/* The aggregates there are, and which events a feature takes. */
#include "type.h"

const struct agg_type *const agg__types[AGG_AGGREGATES] = {
    [AGG_COUNT] = &agg_type__count,
    [AGG_SUM] = &agg_type__sum,
    [AGG_MEAN] = &agg_type__mean,
    [AGG_MIN] = &agg_type__min,
    [AGG_MAX] = &agg_type__max,
    [AGG_DECAYED] = &agg_type__decayed,
    [AGG_LAST] = &agg_type__last,
    [AGG_MATCH] = &agg_type__match,
    [AGG_RATIO] = &agg_type__ratio,
    [AGG_GAUGE] = &agg_type__gauge,
    [AGG_SERIES] = &agg_type__series,
    [AGG_AGE] = &agg_type__age,
    [AGG_DISTINCT] = &agg_type__distinct,
    [AGG_QUANTILE] = &agg_type__quantile,
    [AGG_COVISIT] = &agg_type__covisit,
    [AGG_COEC] = &agg_type__coec,
    [AGG_WATCH_RANK] = &agg_type__watch_rank,
    [AGG_IPS] = &agg_type__ips,
    [AGG_BURST] = &agg_type__burst,
    [AGG_CAPPED] = &agg_type__capped,
    [AGG_ACTOR] = &agg_type__actor,
    [AGG_ENTROPY] = &agg_type__entropy,
    [AGG_TOP_VALUES] = &agg_type__top_values,
    [AGG_SHARE] = &agg_type__share,
    [AGG_GINI] = &agg_type__gini,
    [AGG_QUOTA] = &agg_type__quota,
    [AGG_RETURNING] = &agg_type__returning,
    [AGG_BUDGET] = &agg_type__budget,
    [AGG_LIFT] = &agg_type__lift,
    [AGG_TOP] = &agg_type__top,
    [AGG_LIFE] = &agg_type__life,
};

bool agg_feature__takes(const struct agg_feature *feature, const struct proto_event *event)
{
    return event->action < PROTO_ACTIONS && event->scene < PROTO_SCENES && (feature->actions >> event->action & 1) != 0 &&
           (feature->scenes >> event->scene & 1) != 0 &&
           (feature->needs == 0 || proto_event_id_field(event, feature->needs) != 0) &&
           (!feature->named || agg_key__is_named(feature->named_in, feature->named, event)) &&
           (!feature->where || agg_where__holds(feature->where, event));
}

const struct agg_window *agg_feature__window(const struct agg_feature *feature, int64_t span_ms)
{
    for (int i = 0; i < feature->window_count; i++) {
        if (feature->windows[i].span_ms == span_ms)
            return &feature->windows[i];
    }
    return NULL;
}
