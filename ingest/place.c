/*
 * Where a partition starts: what the sink remembers, what the broker still has, and what the configuration says when neither
 * decides. Nothing but numbers, so that every case can be tried.
 */
#include "internal.h"

static int64_t choose_unknown(int64_t low, int64_t end, enum ingest_start start, bool is_late)
{
    if (is_late || start == INGEST_EARLIEST)
        return low;
    return start == INGEST_LATEST ? end : -1;
}

struct ingest_place ingest_place__choose(int64_t stored, int64_t last, int64_t low, int64_t end, enum ingest_start start,
                                         bool is_late)
{
    if (stored < 0) {
        int64_t next_offset = choose_unknown(low, end, start, is_late);

        return (struct ingest_place){.placed = next_offset < 0 ? INGEST_PLACED_NOWHERE : INGEST_PLACED,
                                     .next_offset = next_offset};
    }
    if (stored > end)
        return (struct ingest_place){.placed = INGEST_PLACED_BEYOND, .next_offset = stored};
    if (stored < low)
        return (struct ingest_place){.placed = INGEST_PLACED_AFTER_GAP, .next_offset = low, .gap = low - stored};
    return (struct ingest_place){.placed = INGEST_PLACED, .next_offset = stored, .is_checked = last >= low};
}
