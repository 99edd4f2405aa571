/*
 * Where the numbers of an entity's counters lie: in a row, and in the running totals, one for each feature and window. Narrow rows
 * have counts of 32 bits and sums of 64, which is all that most entities ever need; an entity for which they are too small gets wide
 * rows. What is wider lies after what is narrower in a row, and before it in the totals, so that all of it is aligned.
 */
#include "internal.h"

enum {
    WIDE_SUM_BYTES = sizeof(__int128),
    LONG_BYTES = sizeof(int64_t),
    COUNT_BYTES = sizeof(int32_t),
    LINE_BYTES = 64,
    LINES_MOST = 16
};

static uint32_t aligned(uint32_t bytes)
{
    return (bytes + 7) & ~UINT32_C(7);
}

static void place_in_rows(struct agg_entity *entity)
{
    uint32_t narrow = sizeof(struct agg_row), wide = aligned(sizeof(struct agg_row));

    for (int is_sum = 0; is_sum < 2; is_sum++) {
        for (int i = 0; i < entity->counter_count; i++) {
            struct agg_feature *feature = entity->counters[i];

            if ((feature->measure != AGG_MEASURE_COUNT) != is_sum)
                continue;
            feature->narrow_at = narrow;
            feature->wide_at = wide;
            narrow += is_sum ? LONG_BYTES : COUNT_BYTES;
            wide += feature->measure == AGG_MEASURE_SUM ? WIDE_SUM_BYTES : LONG_BYTES;
        }
        narrow = aligned(narrow);
        if (!is_sum)
            entity->sums_at = narrow;
    }
    entity->narrow_bytes = narrow;
    entity->wide_bytes = wide;
}

/* The span of a window, a new one when no other window is as long and has the same panes; −1: there are too many. */
static int span_of(struct agg_entity *entity, const struct agg_window *window)
{
    struct agg_span *span;

    for (int i = 0; i < entity->span_count; i++) {
        if (entity->spans[i].span_ms == window->span_ms && entity->spans[i].level == window->level)
            return i;
    }
    if (entity->span_count == AGG_SPANS_MAX)
        return -1;
    span = &entity->spans[entity->span_count];
    span->span_ms = window->span_ms;
    span->panes = window->panes;
    span->level = window->level;
    return entity->span_count++;
}

static bool join_spans(struct agg_entity *entity, struct fr_arena *arena)
{
    for (int i = 0; i < entity->counter_count; i++) {
        for (int w = 0; w < entity->counters[i]->window_count; w++)
            entity->counters[i]->windows[w].span = span_of(entity, &entity->counters[i]->windows[w]);
    }
    for (int i = 0; i < entity->span_count; i++) {
        entity->spans[i].members = fr_arena_take_zeroed(arena, (size_t)entity->counter_count, sizeof *entity->spans[i].members);
        if (!entity->spans[i].members)
            return false;
    }
    return true;
}

/* A feature names each span once, so a span has at most as many members as the entity has counters. */
static void place_total(struct agg_entity *entity, struct agg_feature *feature, struct agg_window *window)
{
    struct agg_span *span = &entity->spans[window->span];

    window->total_at = entity->totals_bytes;
    entity->totals_bytes += feature->measure == AGG_MEASURE_COUNT ? COUNT_BYTES : LONG_BYTES;
    span->members[span->member_count++] = (struct agg_member){feature, window->total_at};
    span->has_greatest = span->has_greatest || feature->measure == AGG_MEASURE_GREATEST;
}

static bool is_even(const struct agg_entity *entity)
{
    for (int i = 0; i < entity->counter_count; i++) {
        const struct agg_feature *feature = entity->counters[i];

        if (feature->measure == AGG_MEASURE_GREATEST || feature->window_count != entity->span_count)
            return false;
        for (int w = 0; w < feature->window_count; w++) {
            if (feature->windows[w].span < 0)
                return false;
        }
    }
    return entity->counter_count > 0;
}

/* Numbers that lie where time alone says can be subtracted. */
static bool is_told_by_rows(const struct agg_entity *entity)
{
    return entity->is_even && !entity->has_user && !entity->is_fed && entity->sequence_count == 0;
}

/* The totals of each span as the numbers of a row; where its pane would be the numbers before may end. */
static void place_blocks(struct agg_entity *entity)
{
    for (int i = 0; i < entity->counter_count; i++) {
        entity->count_numbers += entity->counters[i]->measure == AGG_MEASURE_COUNT;
        entity->sum_numbers += entity->counters[i]->measure == AGG_MEASURE_SUM;
    }
    for (int s = 0; s < entity->span_count; s++) {
        struct agg_span *span = &entity->spans[s];

        span->block_at = aligned(entity->totals_bytes - (uint32_t)sizeof(struct agg_row));
        entity->totals_bytes = span->block_at + entity->narrow_bytes;
        for (int i = 0; i < entity->counter_count; i++) {
            struct agg_feature *feature = entity->counters[i];

            for (int w = 0; w < feature->window_count; w++) {
                if (feature->windows[w].span != s)
                    continue;
                feature->windows[w].total_at = span->block_at + feature->narrow_at;
                span->members[span->member_count++] = (struct agg_member){feature, feature->windows[w].total_at};
            }
        }
    }
}

static void place_totals(struct agg_entity *entity)
{
    for (int is_count = 0; is_count < 2; is_count++) {
        for (int i = 0; i < entity->counter_count; i++) {
            struct agg_feature *feature = entity->counters[i];

            for (int w = 0; w < feature->window_count && (feature->measure == AGG_MEASURE_COUNT) == is_count; w++) {
                if (feature->windows[w].span >= 0)
                    place_total(entity, feature, &feature->windows[w]);
            }
        }
    }
}

/* Which counters an event of an action may change. */
static bool list_takers(struct agg_entity *entity, struct fr_arena *arena)
{
    for (int action = 0; action < PROTO_ACTIONS; action++) {
        struct agg_takers *takers = &entity->counters_of[action];

        takers->features = fr_arena_take_zeroed(arena, (size_t)entity->counter_count + 1, sizeof *takers->features);
        if (!takers->features)
            return false;
        for (int i = 0; i < entity->counter_count; i++) {
            if ((entity->counters[i]->actions >> action & 1) != 0)
                takers->features[takers->count++] = entity->counters[i];
        }
    }
    return true;
}

/* Of a block of the store: its own head of 16 bytes, ours, most often one source, the totals. */
static int head_lines(const struct agg_entity *entity)
{
    size_t bytes = 16 + sizeof(struct agg_rows) + entity->totals_bytes;

    if (entity->remembered != 0)
        bytes += AGG_SOURCE_WORDS * sizeof(uint64_t);
    bytes = (bytes + LINE_BYTES - 1) / LINE_BYTES;
    return bytes < LINES_MOST ? (int)bytes : LINES_MOST;
}

bool agg_layout__counters(struct agg_entity *entity, struct fr_arena *arena)
{
    place_in_rows(entity);
    entity->spans = fr_arena_take_zeroed(arena, AGG_SPANS_MAX, sizeof *entity->spans);
    if (!entity->spans || !join_spans(entity, arena) || !list_takers(entity, arena))
        return false;
    entity->totals_bytes = (uint32_t)entity->span_count * (uint32_t)sizeof(uint32_t); /* the spans' edges */
    entity->is_even = is_even(entity);
    entity->is_told_by_rows = is_told_by_rows(entity);
    if (entity->is_even) {
        place_blocks(entity);
    } else {
        entity->totals_bytes = aligned(entity->totals_bytes);
        place_totals(entity);
    }
    entity->totals_bytes = aligned(entity->totals_bytes);
    entity->head_lines = head_lines(entity);
    return true;
}
