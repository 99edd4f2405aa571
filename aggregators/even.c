/*
 * Even entities: all their counters have the same windows, which most catalogues say. Then the amounts of one event go to one row, and
 * the numbers of a row move on to a coarser one, or leave a window, together: a row is found once, and no feature is looked at.
 *
 * It is the same state that rows.c and totals.c make of it counter by counter. They do it for the others, and here whenever a number
 * does not fit a narrow row.
 */
#include "internal.h"

/* Counts first, then sums, at the same places in every narrow row and every span's totals. */
static int32_t *counts_of(struct agg_row *row)
{
    return (int32_t *)(row + 1);
}

static int64_t *sums_of(const struct agg_entity *entity, struct agg_row *row)
{
    return (int64_t *)(void *)((uint8_t *)row + entity->sums_at);
}

/* Whether what `from` holds can be added to `to`. */
static bool fits(const struct agg_entity *entity, struct agg_row *to, struct agg_row *from)
{
    bool is_over = false;

    for (int i = 0; i < entity->count_numbers; i++) {
        int32_t sum;

        is_over |= __builtin_add_overflow(counts_of(to)[i], counts_of(from)[i], &sum);
    }
    for (int i = 0; i < entity->sum_numbers; i++) {
        int64_t sum;

        is_over |= __builtin_add_overflow(sums_of(entity, to)[i], sums_of(entity, from)[i], &sum);
    }
    return !is_over;
}

static void add(const struct agg_entity *entity, struct agg_row *to, struct agg_row *from)
{
    for (int i = 0; i < entity->count_numbers; i++)
        counts_of(to)[i] += counts_of(from)[i];
    for (int i = 0; i < entity->sum_numbers; i++)
        sums_of(entity, to)[i] += sums_of(entity, from)[i];
}

/* True when some total does not fit any more. */
static bool take_off(const struct agg_entity *entity, struct agg_row *totals, struct agg_row *row)
{
    bool is_over = false;

    for (int i = 0; i < entity->count_numbers; i++)
        is_over |= __builtin_sub_overflow(counts_of(totals)[i], counts_of(row)[i], &counts_of(totals)[i]);
    for (int i = 0; i < entity->sum_numbers; i++)
        is_over |= __builtin_sub_overflow(sums_of(entity, totals)[i], sums_of(entity, row)[i], &sums_of(entity, totals)[i]);
    return is_over;
}

/* The totals of a span lie as a row's numbers do. */
static struct agg_row *totals_of(const struct agg_rows *rows, const struct agg_span *span)
{
    return (struct agg_row *)(void *)(agg_rows__totals(rows) + span->block_at);
}

/* ---- an event ---- */

/* True when it does not fit. */
static bool increase(struct agg_row *row, const struct agg_amount *amount)
{
    uint8_t *at = (uint8_t *)row + amount->feature->narrow_at;

    if (amount->feature->measure == AGG_MEASURE_COUNT) {
        int32_t *count = (int32_t *)(void *)at;

        return __builtin_add_overflow(*count, (int32_t)amount->amount, count);
    }
    return __builtin_add_overflow(*(int64_t *)(void *)at, amount->amount, (int64_t *)(void *)at);
}

/* All or nothing; false: some did not fit. */
static bool increase_row(struct agg_row *row, const struct agg_amount *amounts, int count)
{
    int done = 0;

    while (done < count && !increase(row, &amounts[done]))
        done++;
    for (int i = 0; i <= done && done < count; i++) { /* two's complement: also the one that went over comes back */
        struct agg_amount back = {amounts[i].feature, -amounts[i].amount};

        (void)increase(row, &back);
    }
    return done == count;
}

/* Whether the span's totals are to have what comes to a row of this level; its edge is told. */
static bool is_in_span(struct agg_rows *rows, const struct agg_entity *entity, int index, int level,
                       const struct agg_moment *at)
{
    const struct agg_span *span = &entity->spans[index];
    uint32_t *edge = &agg_rows__edges(rows)[index];
    int64_t pane = at->pane[span->level];
    bool is_head = at->pane[0] == (int64_t)rows->head_s;

    if (span->level < level || (!is_head && pane <= agg_rows__head_pane(rows, span->level) - span->panes))
        return false;
    if (pane < (int64_t)*edge)
        *edge = (uint32_t)pane;
    return true;
}

static void increase_totals(struct agg_rows *rows, const struct agg_entity *entity, int level, const struct agg_moment *at,
                            const struct agg_amount *amounts, int count)
{
    bool is_over = false;

    for (int s = 0; s < entity->span_count; s++) {
        if (!is_in_span(rows, entity, s, level, at))
            continue;
        for (int i = 0; i < count; i++)
            is_over |= increase(totals_of(rows, &entity->spans[s]), &amounts[i]);
    }
    rows->has_no_totals = rows->has_no_totals || is_over;
}

static enum agg_added add_each(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_amount *amounts,
                               int count, const struct agg_moment *at, const struct agg_moment *horizon)
{
    enum agg_added added = AGG_ADDED;

    for (int i = 0; i < count && added != AGG_NO_MEMORY; i++)
        added = agg_rows__add(blob, entity, amounts[i].feature, at, amounts[i].amount, horizon);
    return added;
}

enum agg_added agg_even__add(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_amount *amounts,
                             int count, const struct agg_moment *at, const struct agg_moment *horizon)
{
    struct agg_rows *rows = blob->memory;
    struct agg_row *row;
    int level = 0;

    if (rows->is_wide)
        return add_each(blob, entity, amounts, count, at, horizon);
    while (level < AGG_LEVELS &&
           (entity->panes_most[level] == 0 || at->pane[level] <= horizon->pane[level] - entity->panes_most[level]))
        level++;
    if (level == AGG_LEVELS)
        return AGG_TOO_LATE;
    row = agg_rows__find(blob, entity, level, at->pane[level]);
    if (!row)
        return AGG_NO_MEMORY;
    if (!increase_row(row, amounts, count))
        return add_each(blob, entity, amounts, count, at, horizon);
    rows = blob->memory;
    if (!rows->has_no_totals)
        increase_totals(rows, entity, level, at, amounts, count);
    return AGG_ADDED;
}

/* ---- a row of another part ---- */

bool agg_even__put(struct agg_blob *blob, const struct agg_entity *entity, int level, const struct agg_row *from,
                   const struct agg_moment *at, bool *is_put)
{
    struct agg_row *numbers = (struct agg_row *)(uintptr_t)from; /* only read */
    struct agg_rows *rows = blob->memory;
    struct agg_row *row;

    *is_put = false;
    if (rows->is_wide || entity->panes_most[level] == 0)
        return true;
    row = agg_rows__find(blob, entity, level, from->pane);
    if (!row)
        return false;
    if (!fits(entity, row, numbers))
        return true;
    *is_put = true;
    add(entity, row, numbers);
    rows = blob->memory;
    for (int s = 0; s < entity->span_count && !rows->has_no_totals; s++) {
        struct agg_row *totals = totals_of(rows, &entity->spans[s]);

        if (!is_in_span(rows, entity, s, level, at))
            continue;
        if (fits(entity, totals, numbers))
            add(entity, totals, numbers);
        else
            rows->has_no_totals = true;
    }
    return true;
}

/* ---- what time does ---- */

/* The level behind `level` that needs a row of this pane at the horizon; AGG_LEVELS: none. *pane becomes that level's. */
static int level_behind(const struct agg_entity *entity, int level, const struct agg_moment *horizon, int64_t *pane)
{
    uint32_t s = (uint32_t)*pane * agg__level_s[level];

    while (++level < AGG_LEVELS) {
        *pane = s / agg__level_s[level];
        if (entity->panes_most[level] != 0 && *pane > horizon->pane[level] - entity->panes_most[level])
            break;
    }
    return level;
}

/*
 * Puts what `row` holds into the level behind its own. The rows of the levels between end at *end, where room for one row is: what has to
 * be made takes it. False: the numbers do not fit, and nothing changed.
 */
static bool move_on(struct agg_rows *rows, const struct agg_entity *entity, int level, struct agg_row *row,
                    const struct agg_moment *horizon, uint8_t **end)
{
    uint64_t copy[AGG_NARROW_BYTES_MAX / sizeof(uint64_t)];
    int64_t pane = row->pane;
    int own = level_behind(entity, level, horizon, &pane);
    struct agg_row *to;
    uint32_t index;

    if (own == AGG_LEVELS)
        return true;
    to = agg_rows__row(rows, entity, own, 0);
    index = agg_row__lower_bound(to, rows->row_count[own], entity->narrow_bytes, pane);
    to = (struct agg_row *)(void *)((uint8_t *)to + (size_t)index * entity->narrow_bytes);
    if (index < rows->row_count[own] && to->pane == pane) {
        if (!fits(entity, to, row))
            return false;
        add(entity, to, row);
        return true;
    }
    memcpy(copy, row, entity->narrow_bytes);
    memmove((uint8_t *)to + entity->narrow_bytes, to, (size_t)(*end - (uint8_t *)to));
    memcpy(to, copy, entity->narrow_bytes);
    to->pane = (uint32_t)pane;
    rows->row_count[own]++;
    *end += entity->narrow_bytes;
    return true;
}

void agg_even__merge(struct agg_rows *rows, const struct agg_entity *entity, int level, int64_t oldest,
                     const struct agg_moment *horizon)
{
    uint8_t *from = (uint8_t *)agg_rows__row(rows, entity, level, 0), *end = from;
    uint8_t *used = (uint8_t *)rows + agg_rows__used(rows, entity);
    uint32_t moved = 0;

    while (moved < rows->row_count[level]) {
        struct agg_row *row = (struct agg_row *)(void *)from;

        if (row->pane > oldest || !move_on(rows, entity, level, row, horizon, &end))
            break;
        from += entity->narrow_bytes;
        moved++;
    }
    rows->row_count[level] -= moved;
    if (end < from)
        memmove(end, from, (size_t)(used - from));
}

void agg_even__leave(struct agg_rows *rows, const struct agg_entity *entity, int index, int64_t first, int64_t last)
{
    const struct agg_span *span = &entity->spans[index];
    const uint32_t bytes = entity->narrow_bytes, span_s = agg__level_s[span->level];
    const uint32_t first_s = first > 0 ? (uint32_t)first * span_s : 0, end_s = (uint32_t)(last + 1) * span_s;
    uint8_t *level_rows = agg_rows__first(rows, entity);
    uint32_t edge_s = UINT32_MAX;
    bool is_over = false;

    for (int level = AGG_LEVELS - 1; level >= 0; level--) {
        uint32_t count = rows->row_count[level], level_s = agg__level_s[level], at = 0;
        struct agg_row *row = (struct agg_row *)(void *)level_rows;

        level_rows += (size_t)count * bytes;
        if (level > span->level || count == 0)
            continue;
        if (row->pane * level_s < first_s)
            at = agg_row__lower_bound(row, count, bytes, first_s / level_s);
        for (row = (struct agg_row *)(void *)((uint8_t *)row + (size_t)at * bytes); at < count && row->pane * level_s < end_s;
             at++) {
            is_over |= take_off(entity, totals_of(rows, span), row);
            row = (struct agg_row *)(void *)((uint8_t *)row + bytes);
        }
        if (at < count && row->pane * level_s < edge_s)
            edge_s = row->pane * level_s;
    }
    agg_rows__edges(rows)[index] = edge_s == UINT32_MAX ? AGG_EDGE_NONE : edge_s / span_s;
    rows->has_no_totals = rows->has_no_totals || is_over;
}
