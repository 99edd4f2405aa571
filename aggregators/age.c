/*
 * `age`: the time of the latest event that another feature took, for whom `emit` names it. Kept as a hidden feature, a cell of 8
 * bytes, so that features that emit no age pay nothing.
 */
#include "type.h"

static bool see(struct agg_cell *cell, int64_t ts_ms)
{
    uint32_t bytes;
    int64_t *latest_ms = agg_cell__memory(cell, &bytes);

    if (!latest_ms) {
        if (!agg_cell__resize(cell, sizeof *latest_ms))
            return false;
        latest_ms = agg_cell__memory(cell, &bytes);
    }
    if (*latest_ms < ts_ms)
        *latest_ms = ts_ms;
    return true;
}

static enum agg_added add(struct agg_cell *cell, const struct agg_input *input)
{
    return see(cell, input->event->ts_ms) ? AGG_ADDED : AGG_NO_MEMORY;
}

static bool merge(struct agg_cell *into, struct fr_slice from)
{
    return see(into, *(const int64_t *)from.bytes);
}

static void prune(struct agg_cell *cell, const struct agg_moment *horizon)
{
    uint32_t bytes;
    const int64_t *latest_ms = agg_cell__memory(cell, &bytes);

    if (agg_entity__is_expired(cell->entity, *latest_ms, horizon->time_ms) && !agg_cell__resize(cell, 0))
        return;
}

static void encode(const struct agg_feature *feature, struct fr_slice memory, struct fr_buffer *disk)
{
    (void)feature;
    fr_buffer_append_varint(disk, *(const uint64_t *)memory.bytes);
}

static void decode(struct agg_cell *cell, struct fr_reader *reader)
{
    uint64_t latest_ms = fr_reader_varint(reader);
    uint32_t bytes;

    if (latest_ms == 0 || latest_ms >= (uint64_t)PROTO_TS_MS_END || !agg_cell__resize(cell, sizeof latest_ms))
        reader->is_failed = true;
    if (!reader->is_failed)
        memcpy(agg_cell__memory(cell, &bytes), &latest_ms, sizeof latest_ms);
}

static void digest(const struct agg_feature *feature, struct fr_slice memory, const struct agg_moment *moment,
                   struct agg_facts *facts)
{
    const uint64_t *latest_ms = memory.bytes;

    if (!agg_entity__is_expired(feature->entity, (int64_t)*latest_ms, moment->time_ms))
        agg_facts__add_cell(facts, feature, latest_ms, 1);
}

/* Seconds; −1: never, or forgotten. */
static float value(const struct agg_feature *feature, struct fr_slice memory, const struct agg_window *window,
                   enum agg_output output, int64_t time_ms)
{
    int64_t latest_ms;

    (void)window, (void)output;
    if (memory.length == 0)
        return -1;
    latest_ms = *(const int64_t *)memory.bytes;
    if (agg_entity__is_expired(feature->entity, latest_ms, time_ms))
        return -1;
    return latest_ms >= time_ms ? 0 : (float)((double)(time_ms - latest_ms) / 1e3);
}

static int64_t bytes_most(const struct agg_feature *feature)
{
    (void)feature;
    return sizeof(int64_t);
}

static const struct agg_cell_type cells = {.part = STORE_PART_SKETCHES,
                                           .add = add,
                                           .merge = merge,
                                           .prune = prune,
                                           .encode = encode,
                                           .decode = decode,
                                           .digest = digest,
                                           .value = value,
                                           .bytes_most = bytes_most};

const struct agg_type agg_type__age = {.name = "age", .is_hidden = true, .cells = &cells};
