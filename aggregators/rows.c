/*
 * Windowed measures of an entity: rows of (level, pane, one integer a measure). A measure lies in the row of the finest level that
 * some window of its feature still needs; when time has passed it moves to the next coarser one. So a window of resolution R is
 * what the rows of level R and finer, whose pane of level R is inside, make together, whatever came late and whenever it was merged.
 *
 * The finest level lies last in memory: in-order events then append, and what is moved about are a few kilobytes at most.
 */
#include "internal.h"

enum { ROW_BYTES_MAX = 8 + AGG_FEATURES_MAX * 16 };

_Static_assert(sizeof(struct agg_rows) == 64, "the head is a cache line");

/* 2^32 events of 10^18 micro-units don't reach this; sums of what is below it stay within 128 bits. */
#define SUM_MOST ((__int128)1 << 96)

/* ---- measures ---- */

__int128 agg_measure__of_micro(const struct agg_feature *feature, int64_t micro)
{
    if (feature->measure != AGG_MEASURE_GREATEST)
        return micro;
    return agg__greatest_zero + (feature->aggregate == AGG_MIN ? -micro : micro);
}

__int128 agg_measure__micro(const struct agg_feature *feature, __int128 amount)
{
    if (feature->measure != AGG_MEASURE_GREATEST || amount == 0)
        return amount;
    amount -= agg__greatest_zero;
    return feature->aggregate == AGG_MIN ? -amount : amount;
}

bool agg_measure__is_sound(const struct agg_feature *feature, __int128 amount)
{
    if (feature->measure == AGG_MEASURE_SUM)
        return amount <= SUM_MOST && amount >= -SUM_MOST;
    return amount == (int64_t)amount && (feature->measure == AGG_MEASURE_COUNT || amount > 0);
}

/* False: it does not fit, and nothing changed. Wide rows hold whatever is sound. */
static bool measure_set(const struct agg_rows *rows, struct agg_row *row, const struct agg_feature *feature, __int128 amount)
{
    uint8_t *narrow = (uint8_t *)row + feature->narrow_at, *wide = (uint8_t *)row + feature->wide_at;

    if (rows->is_wide && feature->measure == AGG_MEASURE_SUM) {
        memcpy(wide, &amount, sizeof amount);
        return true;
    }
    if (!rows->is_wide && feature->measure == AGG_MEASURE_COUNT) {
        if (amount != (int32_t)amount)
            return false;
        *(int32_t *)(void *)narrow = (int32_t)amount;
        return true;
    }
    if (amount != (int64_t)amount)
        return false;
    *(int64_t *)(void *)(rows->is_wide ? wide : narrow) = (int64_t)amount;
    return true;
}

static __int128 merged(const struct agg_feature *feature, __int128 a, __int128 b)
{
    if (feature->measure == AGG_MEASURE_GREATEST)
        return a > b ? a : b;
    return a + b;
}

/* ---- growing ---- */

bool agg_rows__is_filled(const struct agg_rows *rows, const struct agg_entity *entity, const struct agg_row *row)
{
    const uint32_t *words = (const uint32_t *)row;

    for (uint32_t i = 1; i < agg_rows__row_bytes(rows, entity) / sizeof *words; i++) {
        if (words[i] != 0)
            return true;
    }
    return false;
}

bool agg_rows__open(struct agg_blob *blob, const struct agg_entity *entity)
{
    return agg_blob__open(blob, (uint32_t)sizeof(struct agg_rows) + entity->totals_bytes);
}

bool agg_rows__open_scratch(struct agg_blob *blob, const struct agg_entity *entity)
{
    struct agg_rows *rows;

    if (!agg_rows__open(blob, entity))
        return false;
    rows = blob->memory;
    rows->has_no_totals = true;
    return true;
}

bool agg_rows__insert(struct agg_blob *blob, const struct agg_entity *entity, uint32_t at, uint32_t bytes)
{
    uint32_t used = agg_rows__used(blob->memory, entity);
    uint8_t *memory;

    if (!agg_blob__grow(blob, (uint64_t)used + bytes))
        return false;
    memory = blob->memory;
    if (at < used)
        memmove(memory + at + bytes, memory + at, used - at);
    memset(memory + at, 0, bytes);
    return true;
}

/* ---- rows ---- */

/* A row of this level is due when the horizon gets here. */
static uint32_t due_s(const struct agg_entity *entity, int level, int64_t pane)
{
    int64_t due = (pane + entity->panes_most[level]) * (agg__level_ms[level] / 1000);

    return due < UINT32_MAX ? (uint32_t)due : UINT32_MAX;
}

struct agg_row *agg_rows__find(struct agg_blob *blob, const struct agg_entity *entity, int level, int64_t pane)
{
    struct agg_rows *rows = blob->memory;
    uint32_t bytes = agg_rows__row_bytes(rows, entity);
    struct agg_row *first = agg_rows__row(rows, entity, level, 0), *row;
    uint32_t index = agg_row__lower_bound(first, rows->row_count[level], bytes, pane), at, due;

    at = (uint32_t)((uint8_t *)first - (uint8_t *)rows) + index * bytes;
    row = (struct agg_row *)(void *)((uint8_t *)rows + at);
    if (index < rows->row_count[level] && row->pane == pane)
        return row;
    if (!agg_rows__insert(blob, entity, at, bytes))
        return NULL;
    rows = blob->memory;
    rows->row_count[level]++;
    row = (struct agg_row *)(void *)((uint8_t *)rows + at);
    row->pane = (uint32_t)pane;
    due = due_s(entity, level, pane);
    if (due < rows->due_s)
        rows->due_s = due;
    return row;
}

/* Every row in its wide form, from the last to the first, since each moves up. False: out of memory. */
static bool widen(struct agg_blob *blob, const struct agg_entity *entity)
{
    struct agg_rows *rows = blob->memory, wide = *rows;
    uint32_t count = agg_rows__before(rows, -1), offset = (uint32_t)(agg_rows__first(rows, entity) - (uint8_t *)rows);
    uint64_t narrow_row[ROW_BYTES_MAX / sizeof(uint64_t)];

    wide.is_wide = true;
    wide.has_no_totals = true;
    if (!agg_blob__grow(blob, offset + (uint64_t)count * entity->wide_bytes))
        return false;
    rows = blob->memory;
    for (uint32_t i = count; i-- > 0;) {
        const struct agg_row *from = (const void *)narrow_row;
        struct agg_row *to = (struct agg_row *)(void *)((uint8_t *)rows + offset + (size_t)i * entity->wide_bytes);

        memcpy(narrow_row, (uint8_t *)rows + offset + (size_t)i * entity->narrow_bytes, entity->narrow_bytes);
        memset(to, 0, entity->wide_bytes);
        to->pane = from->pane;
        for (int c = 0; c < entity->counter_count; c++)
            (void)measure_set(&wide, to, entity->counters[c], agg_rows__measure(rows, from, entity->counters[c]));
    }
    *rows = wide;
    return true;
}

enum agg_added agg_rows__put(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_feature *feature,
                             int level, int64_t pane, __int128 amount, int *own)
{
    struct agg_row *row;
    bool is_set = false;

    for (*own = level; *own < AGG_LEVELS && feature->panes_most[*own] == 0; ++*own)
        continue;
    if (*own == AGG_LEVELS)
        return AGG_TOO_LATE;
    if (*own != level)
        pane /= agg__level_ms[*own] / agg__level_ms[level];
    for (int attempt = 0; attempt < 2 && !is_set; attempt++) {
        if (attempt > 0 && !widen(blob, entity))
            return AGG_NO_MEMORY;
        row = agg_rows__find(blob, entity, *own, pane);
        if (!row)
            return AGG_NO_MEMORY;
        is_set =
            measure_set(blob->memory, row, feature, merged(feature, agg_rows__measure(blob->memory, row, feature), amount));
    }
    return is_set ? AGG_ADDED : AGG_NO_MEMORY; /* 2^63 events won't come, but bytes from disk may say so */
}

/* The finest level that a window of the feature still needs at the horizon. */
static int level_of(const struct agg_feature *feature, const struct agg_moment *at, const struct agg_moment *horizon)
{
    int level = 0;

    while (level < AGG_LEVELS &&
           (feature->panes_most[level] == 0 || at->pane[level] <= horizon->pane[level] - feature->panes_most[level]))
        level++;
    return level;
}

enum agg_added agg_rows__add(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_feature *feature,
                             const struct agg_moment *at, __int128 amount, const struct agg_moment *horizon)
{
    int level = level_of(feature, at, horizon);
    enum agg_added added;

    if (level == AGG_LEVELS)
        return AGG_TOO_LATE;
    added = agg_rows__put(blob, entity, feature, level, at->pane[level], amount, &level);
    if (added == AGG_ADDED)
        agg_totals__add(blob->memory, feature, level, at, amount);
    return added;
}

/* Takes the oldest row of a level out and puts what it held where it is still needed. */
static bool row_merge(struct agg_blob *blob, const struct agg_entity *entity, int level, const struct agg_moment *horizon)
{
    uint64_t row[ROW_BYTES_MAX / sizeof(uint64_t)];
    const struct agg_row *from = (const void *)row;
    struct agg_rows *rows = blob->memory;
    uint8_t *first = (uint8_t *)agg_rows__row(rows, entity, level, 0);
    uint8_t *end = (uint8_t *)rows + agg_rows__used(rows, entity);
    uint32_t bytes = agg_rows__row_bytes(rows, entity);
    bool was_wide = rows->is_wide;
    struct agg_moment at;

    memcpy(row, first, bytes);
    memmove(first, first + bytes, (size_t)(end - first) - bytes);
    rows->row_count[level]--;
    /* Any moment of the pane does: it is in one pane of each coarser level, and no finer one counts any more. */
    at = agg_window__moment(from->pane * agg__level_ms[level]);
    for (int i = 0; i < entity->counter_count; i++) {
        const struct agg_feature *feature = entity->counters[i];
        struct agg_rows form = {.is_wide = was_wide};
        __int128 amount = agg_rows__measure(&form, from, feature);
        int own = amount != 0 ? level_of(feature, &at, horizon) : AGG_LEVELS;

        if (own < AGG_LEVELS && agg_rows__put(blob, entity, feature, own, at.pane[own], amount, &own) == AGG_NO_MEMORY)
            return false;
    }
    return true;
}

bool agg_rows__prune(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_moment *horizon)
{
    struct agg_rows *rows = blob->memory;
    uint32_t due = UINT32_MAX;

    if (horizon->pane[0] < (int64_t)rows->due_s)
        return true;
    agg_totals__advance(rows, entity, horizon); /* what is merged away must have left their windows */
    for (int level = 0; level < AGG_LEVELS; level++) { /* the finest first: what merges may merge again */
        int64_t oldest = horizon->pane[level] - entity->panes_most[level];

        if (entity->is_even && !rows->is_wide)
            agg_even__merge(rows, entity, level, oldest, horizon);
        for (rows = blob->memory; rows->row_count[level] > 0 && agg_rows__row(rows, entity, level, 0)->pane <= oldest;
             rows = blob->memory) {
            if (!row_merge(blob, entity, level, horizon))
                return false;
        }
        if (rows->row_count[level] > 0) {
            uint32_t level_due = due_s(entity, level, agg_rows__row(rows, entity, level, 0)->pane);

            due = level_due < due ? level_due : due;
        }
    }
    rows->due_s = due;
    return true;
}

void agg_rows__prefetch(const struct agg_rows *rows, const struct agg_entity *entity)
{
    const uint8_t *end;
    uint32_t bytes;

    if (!rows)
        return;
    if (rows->kept_capacity > 0) {
        const uint64_t *kept = agg_rows__kept(rows);

        for (uint32_t i = 0; i < rows->kept_count; i += 4)
            __builtin_prefetch(kept + (size_t)i * 2, 1);
    }
    if (entity->counter_count == 0)
        return;
    bytes = agg_rows__row_bytes(rows, entity);
    end = agg_rows__first(rows, entity);
    for (int level = AGG_LEVELS - 1; level >= 0; level--) {
        end += (size_t)rows->row_count[level] * bytes;
        if (rows->row_count[level] > 0)
            __builtin_prefetch(end - bytes, 1);
    }
    __builtin_prefetch(end, 1);
}

/* ---- reading ---- */

struct agg_range agg_rows__range(const struct agg_rows *rows, const struct agg_entity *entity, int level, int64_t first,
                                 int64_t last)
{
    uint32_t count = rows->row_count[level];
    size_t bytes = agg_rows__row_bytes(rows, entity);
    const struct agg_row *row;
    uint32_t start;

    if (count == 0)
        return (struct agg_range){NULL, 0};
    row = agg_rows__row(rows, entity, level, 0);
    start = agg_row__lower_bound(row, count, bytes, first);
    return (struct agg_range){agg_row__after(row, start * bytes),
                              agg_row__lower_bound(agg_row__after(row, start * bytes), count - start, bytes, last + 1)};
}

__int128 agg_rows__fold(const struct agg_rows *rows, const struct agg_entity *entity, const struct agg_feature *feature,
                        struct agg_range range)
{
    size_t bytes = agg_rows__row_bytes(rows, entity);
    __int128 amount = 0;

    for (uint32_t i = 0; i < range.count; i++)
        amount = merged(feature, amount, agg_rows__measure(rows, agg_row__after(range.row, i * bytes), feature));
    return amount;
}

__int128 agg_rows__sum(const struct agg_rows *rows, const struct agg_entity *entity, const struct agg_feature *feature,
                       const struct agg_window *window, const struct agg_moment *moment)
{
    int64_t newest = moment->pane[window->level];
    __int128 amount = 0;

    for (int level = 0; level <= window->level; level++) {
        int64_t ratio = agg__level_ms[window->level] / agg__level_ms[level];
        struct agg_range range =
            agg_rows__range(rows, entity, level, (newest - window->panes + 1) * ratio, (newest + 1) * ratio - 1);

        amount = merged(feature, amount, agg_rows__fold(rows, entity, feature, range));
    }
    return amount;
}

bool agg_entity__is_expired(const struct agg_entity *entity, int64_t ts_ms, int64_t time_ms)
{
    return entity->retention_ms > 0 && time_ms - ts_ms >= entity->retention_ms;
}

int64_t agg_rows__first_ms(const struct agg_rows *rows)
{
    return rows->first_back_ms == UINT32_MAX ? 0 : rows->latest_ms - rows->first_back_ms;
}

void agg_rows__see(struct agg_rows *rows, int64_t ts_ms)
{
    int64_t first_ms = rows->latest_ms == 0 ? ts_ms : agg_rows__first_ms(rows), back_ms;

    if (rows->latest_ms < ts_ms)
        rows->latest_ms = ts_ms;
    back_ms = rows->latest_ms - (first_ms < ts_ms ? first_ms : ts_ms);
    rows->first_back_ms = back_ms < UINT32_MAX ? (uint32_t)back_ms : UINT32_MAX;
}

bool agg_rows__is_present(const struct agg_rows *rows, const struct agg_entity *entity, int64_t time_ms)
{
    return rows && rows->latest_ms > 0 && !agg_entity__is_expired(entity, rows->latest_ms, time_ms);
}

bool agg_rows__is_dead(const struct agg_rows *rows, const struct agg_entity *entity, int64_t horizon_ms)
{
    return rows->kept_count == 0 && agg_rows__before(rows, -1) == 0 && !agg_rows__is_present(rows, entity, horizon_ms);
}
