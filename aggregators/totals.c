/*
 * Running totals: for each feature and window what lies in the window at the head, the latest moment that the entity has seen. An event
 * adds to them; when the head moves, what leaves a window is taken off, or a greatest is found anew. A read at the head takes a
 * total as it is; a later one takes off what has left since. Each span knows its edge, a pane before which none of its rows lies,
 * so that most moves and most reads need not look at rows at all.
 *
 * What a total is: the amounts in rows of the window's level and finer whose pane lies in the window at the head. Rows merge only
 * after the head has passed them, so merging never changes that. Totals are of narrow rows; they are never on disk.
 */
#include "internal.h"

static int64_t total_get(const uint8_t *totals, const struct agg_feature *feature, uint32_t total_at)
{
    if (feature->measure == AGG_MEASURE_COUNT)
        return *(const int32_t *)(const void *)(totals + total_at);
    return *(const int64_t *)(const void *)(totals + total_at);
}

static void total_set(struct agg_rows *rows, uint8_t *totals, const struct agg_feature *feature, uint32_t total_at,
                      __int128 total)
{
    if (feature->measure == AGG_MEASURE_COUNT)
        *(int32_t *)(void *)(totals + total_at) = (int32_t)total;
    else
        *(int64_t *)(void *)(totals + total_at) = (int64_t)total;
    if (feature->measure == AGG_MEASURE_COUNT ? total != (int32_t)total : total != (int64_t)total)
        rows->has_no_totals = true; /* reads add rows up from now on */
}

/* Whole panes of the span's level, as panes of a finer one. */
static struct agg_range range_of(const struct agg_rows *rows, const struct agg_entity *entity, const struct agg_span *span,
                                 int level, int64_t first, int64_t last)
{
    int64_t ratio = agg__level_ms[span->level] / agg__level_ms[level];

    return agg_rows__range(rows, entity, level, first * ratio, (last + 1) * ratio - 1);
}

static __int128 fold(const struct agg_rows *rows, const struct agg_entity *entity, const struct agg_span *span,
                     const struct agg_feature *feature, int64_t first, int64_t last)
{
    __int128 amount = 0;

    for (int level = 0; level <= span->level; level++) {
        __int128 more = agg_rows__fold(rows, entity, feature, range_of(rows, entity, span, level, first, last));

        if (feature->measure != AGG_MEASURE_GREATEST)
            amount += more;
        else if (amount < more)
            amount = more;
    }
    return amount;
}

/* The pane of the first row from `first` on; all rows lie up to the head. */
static uint32_t edge_from(const struct agg_rows *rows, const struct agg_entity *entity, const struct agg_span *span,
                          int64_t first)
{
    uint32_t edge = AGG_EDGE_NONE;

    for (int level = 0; level <= span->level; level++) {
        struct agg_range range = range_of(rows, entity, span, level, first, agg_rows__head_pane(rows, span->level));
        int64_t ratio = agg__level_ms[span->level] / agg__level_ms[level];

        if (range.count > 0 && range.row->pane / ratio < edge)
            edge = (uint32_t)(range.row->pane / ratio);
    }
    return edge;
}

/* Takes the rows of panes first … last out of the span's totals; those after them stay, up to the head. */
static void leave(struct agg_rows *rows, const struct agg_entity *entity, const struct agg_span *span, int64_t first,
                  int64_t last)
{
    uint8_t *totals = agg_rows__totals(rows);

    for (int level = 0; level <= span->level; level++) {
        struct agg_range range = range_of(rows, entity, span, level, first, last);

        for (int i = 0; i < span->member_count && range.count > 0; i++) {
            const struct agg_member *member = &span->members[i];

            if (member->feature->measure != AGG_MEASURE_GREATEST)
                total_set(rows, totals, member->feature, member->total_at,
                          total_get(totals, member->feature, member->total_at) -
                              agg_rows__fold(rows, entity, member->feature, range));
        }
    }
    for (int i = 0; i < span->member_count && span->has_greatest; i++) {
        const struct agg_member *member = &span->members[i];

        if (member->feature->measure == AGG_MEASURE_GREATEST)
            total_set(rows, totals, member->feature, member->total_at,
                      fold(rows, entity, span, member->feature, last + 1, agg_rows__head_pane(rows, span->level)));
    }
    agg_rows__edges(rows)[span - entity->spans] = edge_from(rows, entity, span, last + 1);
}

static void empty(struct agg_rows *rows, const struct agg_entity *entity, const struct agg_span *span)
{
    uint8_t *totals = agg_rows__totals(rows);

    for (int i = 0; i < span->member_count; i++)
        total_set(rows, totals, span->members[i].feature, span->members[i].total_at, 0);
    agg_rows__edges(rows)[span - entity->spans] = AGG_EDGE_NONE;
}

void agg_totals__advance(struct agg_rows *rows, const struct agg_entity *entity, const struct agg_moment *to)
{
    const uint32_t *edge = agg_rows__edges(rows);

    if (to->pane[0] <= (int64_t)rows->head_s)
        return;
    for (int i = 0; i < entity->span_count && !rows->has_no_totals; i++) {
        const struct agg_span *span = &entity->spans[i];
        int64_t last = to->pane[span->level] - span->panes, before, first;

        if (edge[i] == AGG_EDGE_NONE || last < (int64_t)edge[i])
            continue;
        before = agg_rows__head_pane(rows, span->level);
        first = before - span->panes + 1;
        if (last >= before)
            empty(rows, entity, span);
        else if (entity->is_even)
            agg_even__leave(rows, entity, i, first > (int64_t)edge[i] ? first : (int64_t)edge[i], last);
        else
            leave(rows, entity, span, first, last);
    }
    rows->head_s = (uint32_t)to->pane[0];
}

void agg_totals__add(struct agg_rows *rows, const struct agg_feature *feature, int level, const struct agg_moment *at,
                     __int128 amount)
{
    uint8_t *totals = agg_rows__totals(rows);
    bool is_head = at->pane[0] == (int64_t)rows->head_s;

    if (rows->has_no_totals)
        return;
    for (int i = 0; i < feature->window_count; i++) {
        const struct agg_window *window = &feature->windows[i];
        int64_t pane = at->pane[window->level];
        int64_t total;

        if (window->span < 0 || window->level < level ||
            (!is_head && pane <= agg_rows__head_pane(rows, window->level) - window->panes))
            continue;
        if (pane < (int64_t)agg_rows__edges(rows)[window->span])
            agg_rows__edges(rows)[window->span] = (uint32_t)pane;
        total = total_get(totals, feature, window->total_at);
        if (feature->measure != AGG_MEASURE_GREATEST)
            total_set(rows, totals, feature, window->total_at, total + amount);
        else if (total < amount)
            total_set(rows, totals, feature, window->total_at, amount);
    }
}

void agg_totals__rebuild(struct agg_rows *rows, const struct agg_entity *entity)
{
    uint8_t *totals = agg_rows__totals(rows);

    rows->has_no_totals = rows->is_wide;
    rows->head_s = (uint32_t)(rows->latest_ms / 1000);
    for (int i = 0; i < entity->span_count && !rows->has_no_totals; i++) {
        const struct agg_span *span = &entity->spans[i];
        int64_t last = agg_rows__head_pane(rows, span->level), first = last - span->panes + 1;

        for (int m = 0; m < span->member_count; m++)
            total_set(rows, totals, span->members[m].feature, span->members[m].total_at,
                      fold(rows, entity, span, span->members[m].feature, first, last));
        agg_rows__edges(rows)[i] = edge_from(rows, entity, span, first);
    }
}

/* ---- reading ---- */

bool agg_totals__are_of(const struct agg_rows *rows, const struct agg_entity *entity, const struct agg_moment *moment,
                        bool is_now)
{
    if (is_now && moment->pane[0] > (int64_t)rows->head_s)
        agg_totals__advance((struct agg_rows *)(uintptr_t)rows, entity, moment);
    return moment->pane[0] == (int64_t)rows->head_s && !rows->has_no_totals;
}

/* What left the window since the head, or, when that may be more, what is in it. */
static void look_at_rows(struct agg_view *view, const struct agg_span *span, struct agg_view_span *seen, int64_t first,
                         int64_t last)
{
    for (int level = 0; level <= span->level; level++)
        seen->ranges[level] = range_of(view->rows, view->entity, span, level, first, last);
}

static void look(struct agg_view *view, const struct agg_span *span, struct agg_view_span *seen, uint32_t edge)
{
    int64_t head = agg_rows__head_pane(view->rows, span->level), newest = view->moment->pane[span->level];
    int64_t left = newest - head;

    if (left >= span->panes) {
        seen->how = AGG_VIEW_NOTHING;
    } else if (left >= 0 && !view->rows->has_no_totals && (int64_t)edge > newest - span->panes) {
        seen->how = AGG_VIEW_TOTAL;
    } else if (left < 0 || view->rows->has_no_totals || left > span->panes / 2) {
        seen->how = AGG_VIEW_ROWS;
        look_at_rows(view, span, seen, newest - span->panes + 1, newest);
    } else {
        seen->how = AGG_VIEW_LESS;
        look_at_rows(view, span, seen, head - span->panes + 1, newest - span->panes);
    }
}

void agg_view__init(struct agg_view *view, const struct agg_rows *rows, const struct agg_entity *entity,
                    const struct agg_moment *moment)
{
    view->rows = rows;
    view->entity = entity;
    view->moment = moment;
    view->totals = agg_rows__totals(rows);
    for (int i = 0; i < entity->span_count; i++)
        look(view, &entity->spans[i], &view->spans[i], ((const uint32_t *)(const void *)view->totals)[i]);
}

__int128 agg_view__value(const struct agg_view *view, const struct agg_feature *feature, const struct agg_window *window)
{
    const struct agg_view_span *seen;
    __int128 amount = 0;

    seen = window->span >= 0 ? &view->spans[window->span] : NULL;
    if (!seen || (seen->how == AGG_VIEW_LESS && feature->measure == AGG_MEASURE_GREATEST)) /* nothing can be taken off it */
        return agg_rows__sum(view->rows, view->entity, feature, window, view->moment);
    if (seen->how == AGG_VIEW_NOTHING)
        return 0;
    if (seen->how == AGG_VIEW_TOTAL)
        return total_get(view->totals, feature, window->total_at);
    for (int level = 0; level <= window->level; level++) {
        __int128 more = agg_rows__fold(view->rows, view->entity, feature, seen->ranges[level]);

        if (feature->measure != AGG_MEASURE_GREATEST)
            amount += more;
        else if (amount < more)
            amount = more;
    }
    return seen->how == AGG_VIEW_ROWS ? amount : total_get(view->totals, feature, window->total_at) - amount;
}
