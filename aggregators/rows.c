/*
 * Windowed measures of an entity: rows of (level, pane, one integer a measure). A measure lies in the row of the finest level that
 * some window of its feature still needs; when time has passed it moves to the next coarser one. So a window of resolution R is
 * the sum of the rows of level R and finer whose pane of level R is inside, whatever came late and whenever it was merged.
 *
 * The finest level lies last in memory: in-order events then append, and what is moved about are a few kilobytes at most.
 */
#include "internal.h"

#include <assert.h>

enum { ROW_WORDS_MAX = 1 + 2 * AGG_FEATURES_MAX };

_Static_assert(sizeof(struct agg_rows) % sizeof(uint64_t) == 0, "what follows the head is words");

static uint32_t sources_bytes(const struct agg_rows *rows)
{
    return (uint32_t)(rows->source_count * AGG_SOURCE_WORDS * sizeof(uint64_t));
}

static uint32_t rows_offset(const struct agg_rows *rows)
{
    return (uint32_t)sizeof *rows + sources_bytes(rows) + rows->kept_capacity * 2 * (uint32_t)sizeof(uint64_t);
}

static uint32_t row_bytes(const struct agg_entity *entity)
{
    return (uint32_t)entity->row_words * (uint32_t)sizeof(int64_t);
}

/* Rows that lie before those of `level`. */
static uint32_t rows_before(const struct agg_rows *rows, int level)
{
    uint32_t count = 0;

    for (int i = AGG_LEVELS - 1; i > level; i--)
        count += rows->row_count[i];
    return count;
}

uint32_t agg_rows__used(const struct agg_rows *rows, const struct agg_entity *entity)
{
    return rows_offset(rows) + rows_before(rows, -1) * row_bytes(entity);
}

uint64_t *agg_rows__sources(struct agg_rows *rows)
{
    return (uint64_t *)(rows + 1);
}

uint64_t *agg_rows__kept(struct agg_rows *rows)
{
    return (uint64_t *)(void *)((uint8_t *)(rows + 1) + sources_bytes(rows));
}

int64_t *agg_rows__row(struct agg_rows *rows, const struct agg_entity *entity, int level, uint32_t index)
{
    size_t offset = rows_offset(rows) + (size_t)(rows_before(rows, level) + index) * row_bytes(entity);

    return (int64_t *)(void *)((uint8_t *)rows + offset);
}

__int128 agg_rows__measure(const int64_t *row, const struct agg_feature *feature)
{
    __int128 wide;

    if (feature->words == 1)
        return row[feature->word];
    memcpy(&wide, row + feature->word, sizeof wide);
    return wide;
}

static void measure_add(int64_t *row, const struct agg_feature *feature, __int128 amount)
{
    __int128 wide = agg_rows__measure(row, feature) + amount;

    if (feature->words == 1)
        row[feature->word] = (int64_t)wide; /* a count: 2^63 events won't come */
    else
        memcpy(row + feature->word, &wide, sizeof wide);
}

bool agg_rows__insert(struct agg_blob *blob, const struct agg_entity *entity, uint32_t at, uint32_t bytes)
{
    uint32_t used = agg_rows__used(blob->memory, entity);
    uint8_t *memory;

    if (!agg_blob__grow(blob, (uint64_t)used + bytes))
        return false;
    memory = blob->memory;
    memmove(memory + at + bytes, memory + at, used - at);
    memset(memory + at, 0, bytes);
    return true;
}

/* The first row of the level whose pane is `pane` or later; most often the last row or none. */
static uint32_t lower_bound(struct agg_rows *rows, const struct agg_entity *entity, int level, int64_t pane)
{
    const int64_t *first = agg_rows__row(rows, entity, level, 0);
    uint32_t low = 0, high = rows->row_count[level];

    if (high == 0 || first[(size_t)(high - 1) * (size_t)entity->row_words] < pane)
        return high;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (first[(size_t)middle * (size_t)entity->row_words] < pane)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* The row of this pane, made when it isn't there; NULL: out of memory. */
static int64_t *row_find(struct agg_blob *blob, const struct agg_entity *entity, int level, int64_t pane)
{
    struct agg_rows *rows = blob->memory;
    uint32_t index = lower_bound(rows, entity, level, pane);
    int64_t *row = agg_rows__row(rows, entity, level, index);

    if (index < rows->row_count[level] && row[0] == pane)
        return row;
    if (!agg_rows__insert(blob, entity, (uint32_t)((uint8_t *)row - (uint8_t *)rows), row_bytes(entity)))
        return NULL;
    rows = blob->memory;
    rows->row_count[level]++;
    row = agg_rows__row(rows, entity, level, index);
    row[0] = pane;
    return row;
}

enum agg_added agg_rows__put(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_feature *feature,
                             int level, int64_t pane, __int128 amount)
{
    int64_t *row;
    int own = level;

    while (own < AGG_LEVELS && feature->panes_most[own] == 0)
        own++;
    if (own == AGG_LEVELS)
        return AGG_TOO_LATE;
    row = row_find(blob, entity, own, pane / (agg__level_ms[own] / agg__level_ms[level]));
    if (!row)
        return AGG_NO_MEMORY;
    measure_add(row, feature, amount);
    return AGG_ADDED;
}

enum agg_added agg_rows__add(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_feature *feature,
                             int64_t ts_ms, __int128 amount, const struct agg_moment *horizon)
{
    for (int level = 0; level < AGG_LEVELS; level++) {
        int64_t pane;

        if (feature->panes_most[level] == 0)
            continue;
        pane = ts_ms / agg__level_ms[level];
        if (pane > horizon->pane[level] - feature->panes_most[level])
            return agg_rows__put(blob, entity, feature, level, pane, amount);
    }
    return AGG_TOO_LATE;
}

/* Takes the oldest row of a level out and puts what it held where it is still needed. */
static bool row_merge(struct agg_blob *blob, const struct agg_entity *entity, int level, const struct agg_moment *horizon)
{
    int64_t row[ROW_WORDS_MAX];
    struct agg_rows *rows = blob->memory;
    uint8_t *first = (uint8_t *)agg_rows__row(rows, entity, level, 0);
    uint8_t *end = (uint8_t *)rows + agg_rows__used(rows, entity);
    uint32_t bytes = row_bytes(entity);

    assert(entity->row_words <= ROW_WORDS_MAX);
    memcpy(row, first, bytes);
    memmove(first, first + bytes, (size_t)(end - first) - bytes);
    rows->row_count[level]--;
    for (int i = 0; i < entity->counter_count; i++) {
        const struct agg_feature *feature = entity->counters[i];
        __int128 amount = agg_rows__measure(row, feature);

        /* Any moment of the pane does: it is in one pane of each coarser level, and no finer one counts any more. */
        if (amount != 0 &&
            agg_rows__add(blob, entity, feature, row[0] * agg__level_ms[level], amount, horizon) == AGG_NO_MEMORY)
            return false;
    }
    return true;
}

bool agg_rows__prune(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_moment *horizon)
{
    for (int level = 0; level < AGG_LEVELS; level++) { /* the finest first: what merges may merge again */
        int64_t oldest = horizon->pane[level] - entity->panes_most[level];

        for (;;) {
            struct agg_rows *rows = blob->memory;

            if (rows->row_count[level] == 0 || agg_rows__row(rows, entity, level, 0)[0] > oldest)
                break;
            if (!row_merge(blob, entity, level, horizon))
                return false;
        }
    }
    return true;
}

/* The rows of one level whose pane lies in [first, last]: they lie side by side. */
static __int128 sum_level(struct agg_rows *rows, const struct agg_entity *entity, const struct agg_feature *feature, int level,
                          int64_t first, int64_t last)
{
    uint32_t start = lower_bound(rows, entity, level, first);
    const int64_t *row = agg_rows__row(rows, entity, level, start);
    const int64_t *end = row + (size_t)(rows->row_count[level] - start) * (size_t)entity->row_words;
    __int128 sum = 0;
    int64_t count = 0;

    if (feature->words == 1) {
        for (; row < end && row[0] <= last; row += entity->row_words)
            count += row[feature->word];
        return count;
    }
    for (; row < end && row[0] <= last; row += entity->row_words)
        sum += agg_rows__measure(row, feature);
    return sum;
}

__int128 agg_rows__sum(const struct agg_rows *rows, const struct agg_entity *entity, const struct agg_feature *feature,
                       const struct agg_window *window, int64_t time_ms)
{
    struct agg_rows *in = (struct agg_rows *)(uintptr_t)rows; /* only read */
    int64_t newest = agg_window__pane(time_ms, window->level);
    __int128 sum = 0;

    for (int level = 0; level <= window->level; level++) {
        int64_t ratio = agg__level_ms[window->level] / agg__level_ms[level];

        if (in->row_count[level] > 0 && feature->panes_most[level] > 0)
            sum += sum_level(in, entity, feature, level, (newest - window->panes + 1) * ratio, (newest + 1) * ratio - 1);
    }
    return sum;
}

bool agg_entity__is_expired(const struct agg_entity *entity, int64_t ts_ms, int64_t time_ms)
{
    return entity->retention_ms > 0 && time_ms - ts_ms >= entity->retention_ms;
}

bool agg_rows__is_present(const struct agg_rows *rows, const struct agg_entity *entity, int64_t time_ms)
{
    return rows && rows->latest_ms > 0 && !agg_entity__is_expired(entity, rows->latest_ms, time_ms);
}

bool agg_rows__is_dead(const struct agg_rows *rows, const struct agg_entity *entity, int64_t horizon_ms)
{
    return rows->kept_count == 0 && rows_before(rows, -1) == 0 && !agg_rows__is_present(rows, entity, horizon_ms);
}
