/*
 * The part `rows` of an entity in memory: presence, attributes, kept ids, running totals and windowed measures. Included by internal.h
 * alone. Where things lie is inline: a lane asks for it dozens of times an event.
 */
#ifndef FRESHET_AGGREGATORS_ROWS_H
#define FRESHET_AGGREGATORS_ROWS_H

/* The head, a cache line; after it the sources, the kept ids, the running totals and the rows, coarsest level first, by pane. */
struct agg_rows {
    int64_t latest_ms; /* of any applied event that carried the full key; 0: none yet */
    uint32_t head_s; /* the pane of level 0 that running totals are of; no row lies later */
    uint32_t due_s; /* no row has to move before the horizon is here */
    uint8_t source_count;
    uint8_t source_of[AGG_ATTRIBUTES]; /* 1 + index of the event that gave the attribute; 0: none */
    bool is_wide; /* an integer did not fit a narrow row: counts are of 64 bits, sums of 128 */
    bool has_no_totals; /* they would not fit, or nobody wants them: add rows up */
    uint8_t kept_first; /* pairs before the first kept one that are free */
    uint32_t kept_count, kept_capacity; /* event ids against duplicates */
    uint32_t row_count[AGG_LEVELS];
    uint32_t first_back_ms; /* how long before the latest event the first one was; UINT32_MAX: that long or longer */
};

struct agg_row { /* the counters' numbers follow, at narrow_at or wide_at of the feature */
    uint32_t pane; /* fits until 2106, beyond any time that an event may have */
};

enum agg_added { AGG_ADDED, AGG_TOO_LATE, AGG_NO_MEMORY };

static const int64_t agg__greatest_zero = INT64_C(1) << 62; /* more than any amount in micro-units */

/* Between micro-units and what a row keeps of them; the amount of nothing is 0. */
__int128 agg_measure__of_micro(const struct agg_feature *feature, int64_t micro);
__int128 agg_measure__micro(const struct agg_feature *feature, __int128 amount);
/* False: no sum of events can be this. */
bool agg_measure__is_sound(const struct agg_feature *feature, __int128 amount);

/* ---- where things lie ---- */

static inline uint64_t *agg_rows__sources(const struct agg_rows *rows)
{
    return (uint64_t *)(uintptr_t)(rows + 1);
}

static inline uint64_t *agg_rows__pairs(const struct agg_rows *rows)
{
    return agg_rows__sources(rows) + rows->source_count * AGG_SOURCE_WORDS;
}

/* Pairs of ts_ms and event_id, ascending. */
static inline uint64_t *agg_rows__kept(const struct agg_rows *rows)
{
    return agg_rows__pairs(rows) + (size_t)rows->kept_first * 2;
}

/* For those who may change them, or don't. */
static inline uint8_t *agg_rows__totals(const struct agg_rows *rows)
{
    return (uint8_t *)(agg_rows__pairs(rows) + (size_t)rows->kept_capacity * 2);
}

/* In front of the totals: for each span a pane before which none of its rows lies. */
static inline uint32_t *agg_rows__edges(const struct agg_rows *rows)
{
    return (uint32_t *)(void *)agg_rows__totals(rows);
}

static inline int64_t agg_rows__head_pane(const struct agg_rows *rows, int level)
{
    return rows->head_s / agg__level_s[level];
}

static inline uint8_t *agg_rows__first(const struct agg_rows *rows, const struct agg_entity *entity)
{
    return agg_rows__totals(rows) + entity->totals_bytes;
}

static inline uint32_t agg_rows__row_bytes(const struct agg_rows *rows, const struct agg_entity *entity)
{
    return rows->is_wide ? entity->wide_bytes : entity->narrow_bytes;
}

/* Rows that lie before those of `level`; −1: all. */
static inline uint32_t agg_rows__before(const struct agg_rows *rows, int level)
{
    uint32_t count = 0;

    for (int i = AGG_LEVELS - 1; i > level; i--)
        count += rows->row_count[i];
    return count;
}

static inline uint32_t agg_rows__used(const struct agg_rows *rows, const struct agg_entity *entity)
{
    return (uint32_t)(agg_rows__first(rows, entity) - (const uint8_t *)rows) +
           agg_rows__before(rows, -1) * agg_rows__row_bytes(rows, entity);
}

static inline struct agg_row *agg_rows__row(const struct agg_rows *rows, const struct agg_entity *entity, int level,
                                            uint32_t index)
{
    size_t offset = (size_t)(agg_rows__before(rows, level) + index) * agg_rows__row_bytes(rows, entity);

    return (struct agg_row *)(void *)(agg_rows__first(rows, entity) + offset);
}

static inline __int128 agg_rows__measure(const struct agg_rows *rows, const struct agg_row *row,
                                         const struct agg_feature *feature)
{
    const uint8_t *narrow = (const uint8_t *)row + feature->narrow_at, *wide = (const uint8_t *)row + feature->wide_at;

    if (rows->is_wide && feature->measure == AGG_MEASURE_SUM) {
        __int128 sum;

        memcpy(&sum, wide, sizeof sum);
        return sum;
    }
    if (!rows->is_wide && feature->measure == AGG_MEASURE_COUNT)
        return *(const int32_t *)(const void *)narrow;
    return *(const int64_t *)(const void *)(rows->is_wide ? wide : narrow);
}

static inline const struct agg_row *agg_row__after(const struct agg_row *row, size_t bytes)
{
    return (const struct agg_row *)(const void *)((const uint8_t *)row + bytes);
}

/*
 * The first of `count` rows whose pane is `pane` or later; most often one of the last, or none. Panes ascend, so a row lies at most
 * as far from the last as their panes do: where every pane has its row, that is the place.
 */
static inline uint32_t agg_row__lower_bound(const struct agg_row *first, uint32_t count, size_t bytes, int64_t pane)
{
    uint32_t low = 0, high = count;
    int64_t last;

    if (count == 0)
        return 0;
    last = agg_row__after(first, (count - 1) * bytes)->pane;
    if (last <= pane)
        return last < pane ? count : count - 1;
    if (last - pane < (int64_t)count) {
        low = count - 1 - (uint32_t)(last - pane);
        if (agg_row__after(first, low * bytes)->pane == pane)
            return low;
    }
    if (first->pane >= pane) /* looked at last: of a hot entity it is far from where events come */
        return 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (agg_row__after(first, middle * bytes)->pane < pane)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* ---- rows.c ---- */

/* Before the first change. False: out of memory. */
FR_CHECKED bool agg_rows__open(struct agg_blob *blob, const struct agg_entity *entity);
/* The same, for rows that are built and not read: without running totals, until agg_totals__rebuild(). */
FR_CHECKED bool agg_rows__open_scratch(struct agg_blob *blob, const struct agg_entity *entity);
bool agg_rows__is_filled(const struct agg_rows *rows, const struct agg_entity *entity, const struct agg_row *row);

/* Makes room for `bytes` more right before the offset `at` of what is used. False: out of memory. */
FR_CHECKED bool agg_rows__insert(struct agg_blob *blob, const struct agg_entity *entity, uint32_t at, uint32_t bytes);

/* The row of this pane, made when it isn't there; NULL: out of memory. */
struct agg_row *agg_rows__find(struct agg_blob *blob, const struct agg_entity *entity, int level, int64_t pane);

/* Adds to the row of the finest level that a window of the feature still needs at `horizon`, and to the running totals. */
enum agg_added agg_rows__add(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_feature *feature,
                             const struct agg_moment *at, __int128 amount, const struct agg_moment *horizon);
/* Adds to this level, or the next coarser one that the feature has: *own; nothing when it has none. Running totals stay as they are. */
enum agg_added agg_rows__put(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_feature *feature,
                             int level, int64_t pane, __int128 amount, int *own);
/* Merges rows that no window needs at their level any more into coarser ones, or drops them. False: out of memory. */
FR_CHECKED bool agg_rows__prune(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_moment *horizon);

/* The rows of one level whose pane lies in [first, last] lie side by side: the first of them and how many. */
struct agg_range {
    const struct agg_row *row;
    uint32_t count;
};
struct agg_range agg_rows__range(const struct agg_rows *rows, const struct agg_entity *entity, int level, int64_t first,
                                 int64_t last);
/* The measure over a range. */
__int128 agg_rows__fold(const struct agg_rows *rows, const struct agg_entity *entity, const struct agg_feature *feature,
                        struct agg_range range);
/* The value of a window row by row. */
__int128 agg_rows__sum(const struct agg_rows *rows, const struct agg_entity *entity, const struct agg_feature *feature,
                       const struct agg_window *window, const struct agg_moment *moment);
/* Fetches the lines that an event in order will change; `rows` may be NULL. */
void agg_rows__prefetch(const struct agg_rows *rows, const struct agg_entity *entity);
/* An event that carried the full key. */
void agg_rows__see(struct agg_rows *rows, int64_t ts_ms);
int64_t agg_rows__first_ms(const struct agg_rows *rows); /* 0: none, or weeks before the latest */
bool agg_rows__is_present(const struct agg_rows *rows, const struct agg_entity *entity, int64_t time_ms);
/* Nothing in it can be seen at `horizon` or later, and no id is kept. */
bool agg_rows__is_dead(const struct agg_rows *rows, const struct agg_entity *entity, int64_t horizon_ms);
/* `ts_ms` is so old at `time_ms` that what has no window is gone. */
bool agg_entity__is_expired(const struct agg_entity *entity, int64_t ts_ms, int64_t time_ms);

#endif
