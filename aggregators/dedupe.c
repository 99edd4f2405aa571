/*
 * Duplicates: of each user the `ids` greatest (ts_ms, event_id) among events newer than the newest kept − horizon. The set depends
 * only on which events came, not on their order: what once fell out could never come back.
 */
#include "internal.h"

enum { SPARE_SHARE = 4 };

static bool is_less(const uint64_t *pair, uint64_t ts_ms, uint64_t event_id)
{
    return pair[0] < ts_ms || (pair[0] == ts_ms && pair[1] < event_id);
}

/* To the front of their room. */
static void settle(struct agg_rows *rows)
{
    memmove(agg_rows__pairs(rows), agg_rows__kept(rows), (size_t)rows->kept_count * 2 * sizeof(uint64_t));
    rows->kept_first = 0;
}

static void drop_front(struct agg_rows *rows, uint32_t count)
{
    uint32_t first = rows->kept_first + count;

    if (first > UINT8_MAX) {
        settle(rows);
        memmove(agg_rows__pairs(rows), agg_rows__pairs(rows) + (size_t)count * 2,
                (size_t)(rows->kept_count - count) * 2 * sizeof(uint64_t));
        first = 0;
    }
    rows->kept_first = (uint8_t)first;
    rows->kept_count -= count;
}

static bool grow(struct agg_blob *blob, const struct agg_entity *entity, uint32_t most)
{
    struct agg_rows *rows = blob->memory;
    uint32_t capacity = rows->kept_capacity < 4 ? 4 : rows->kept_capacity * 2;
    uint32_t at = (uint32_t)(agg_rows__totals(rows) - (uint8_t *)rows);

    capacity = capacity < most ? capacity : most;
    if (!agg_rows__insert(blob, entity, at, (capacity - rows->kept_capacity) * 2 * (uint32_t)sizeof(uint64_t)))
        return false;
    rows = blob->memory;
    rows->kept_capacity = capacity;
    return true;
}

/* Puts the pair in its place; with the set full the least one leaves. Room for some more spares moving all of them each time. */
static bool keep(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_dedupe *dedupe,
                 const struct proto_event *event)
{
    struct agg_rows *rows = blob->memory;
    uint64_t *kept;
    uint32_t at;

    if (rows->kept_count >= (uint32_t)dedupe->ids)
        drop_front(rows, rows->kept_count - (uint32_t)dedupe->ids + 1);
    if (rows->kept_first + rows->kept_count == rows->kept_capacity) {
        uint32_t most = (uint32_t)dedupe->ids + (uint32_t)dedupe->ids / SPARE_SHARE + 1;

        if (rows->kept_first > 0 && (rows->kept_first >= rows->kept_capacity / SPARE_SHARE || rows->kept_capacity >= most))
            settle(rows);
        else if (!grow(blob, entity, most))
            return false;
    }
    rows = blob->memory;
    kept = agg_rows__kept(rows);
    at = rows->kept_count;
    while (at > 0 && !is_less(kept + (size_t)(at - 1) * 2, (uint64_t)event->ts_ms, event->event_id))
        at--;
    memmove(kept + (size_t)(at + 1) * 2, kept + (size_t)at * 2, (size_t)(rows->kept_count - at) * 2 * sizeof *kept);
    kept[(size_t)at * 2] = (uint64_t)event->ts_ms;
    kept[(size_t)at * 2 + 1] = event->event_id;
    rows->kept_count++;
    return true;
}

static void forget_beyond(struct agg_rows *rows, int64_t horizon_ms)
{
    const uint64_t *kept = agg_rows__kept(rows);
    int64_t newest = rows->kept_count > 0 ? (int64_t)kept[(size_t)(rows->kept_count - 1) * 2] : 0;
    uint32_t count = 0;

    while (count < rows->kept_count && (int64_t)kept[(size_t)count * 2] <= newest - horizon_ms)
        count++;
    if (count > 0 && count < rows->kept_count)
        drop_front(rows, count);
}

enum agg_seen agg_dedupe__see(struct agg_blob *blob, const struct agg_entity *entity, const struct agg_dedupe *dedupe,
                              const struct proto_event *event)
{
    struct agg_rows *rows = blob->memory;
    const uint64_t *kept = agg_rows__kept(rows);
    uint32_t count = rows->kept_count;

    if (event->event_id == 0 || dedupe->ids == 0)
        return AGG_SEEN_NEW; /* unchecked by the producer's or the operator's own choice */
    for (uint32_t i = 0; i < count; i++) {
        if (kept[(size_t)i * 2 + 1] == event->event_id)
            return AGG_SEEN_DUPLICATE;
    }
    if (count > 0 && event->ts_ms <= (int64_t)kept[(size_t)(count - 1) * 2] - dedupe->horizon_ms)
        return AGG_SEEN_UNCHECKED;
    if (count >= (uint32_t)dedupe->ids && !is_less(kept, (uint64_t)event->ts_ms, event->event_id))
        return AGG_SEEN_UNCHECKED;
    if (!keep(blob, entity, dedupe, event))
        return AGG_SEEN_NO_MEMORY;
    forget_beyond(blob->memory, dedupe->horizon_ms);
    return AGG_SEEN_NEW;
}
