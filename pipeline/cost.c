/*
 * What a configuration costs at so many entities and events a second: `freshet check --cardinality`.
 */
#include "internal.h"

#include <freshet/text.h>

#include <math.h>
#include <string.h>

enum { KINDS_MAX = AGG_ENTITIES_MAX + 1 };

struct cost {
    const char *name;
    double entities; /* −1: not told */
    struct agg_bytes least, typical, full; /* of one */
    double epoch_bytes;
};

static const double GIB = 1024.0 * 1024 * 1024;

static bool fail_name(const struct agg_catalogue *catalogue, struct fr_slice name, struct fr_err *err)
{
    const char *names[KINDS_MAX], *nearest;
    int count = agg_catalogue_entity_count(catalogue);

    for (int i = 0; i < count; i++)
        names[i] = agg_catalogue_entity_name(catalogue, i);
    nearest = fr_text_nearest(name, names, count);
    return fr_fail(err, FR_BAD_CONFIG, "--cardinality: no entity '%.*s'%s%s", (int)name.length, (const char *)name.bytes,
                   nearest ? "; did you mean " : "", nearest ? nearest : "");
}

static bool read_cardinality(const struct agg_catalogue *catalogue, const char *text, struct cost *costs, struct fr_err *err)
{
    const char *equals = strchr(text, '=');
    int count = agg_catalogue_entity_count(catalogue);
    double entities;

    if (!equals || !fr_text_double(fr_slice_of(equals + 1), &entities) || !(entities >= 0 && entities <= 1e15))
        return fr_fail(err, FR_BAD_CONFIG, "--cardinality '%s': entity=number is wanted, as in user=1000000 or user=1e6", text);
    for (int i = 0; i < count; i++) {
        if (fr_slice_is(fr_slice(text, (size_t)(equals - text)), costs[i].name)) {
            costs[i].entities = entities;
            return true;
        }
    }
    return fail_name(catalogue, fr_slice(text, (size_t)(equals - text)), err);
}

static void compute(const struct agg_catalogue *catalogue, int index, double events_per_s, double epoch_s, struct cost *cost)
{
    double rate = cost->entities > 0 ? events_per_s / cost->entities : 0;

    cost->least = agg_catalogue_bytes(catalogue, index, 0);
    cost->typical = agg_catalogue_bytes(catalogue, index, rate);
    cost->full = agg_catalogue_bytes(catalogue, index, HUGE_VAL);
    if (cost->entities > 0)
        cost->epoch_bytes = cost->entities * -expm1(-rate * epoch_s) * cost->typical.disk;
}

static void print_text(const struct cost *costs, int count, const struct pipeline_load *load, double epoch_s,
                       struct fr_buffer *out)
{
    struct agg_bytes typical = {0}, full = {0};
    double epoch_bytes = 0;
    bool has_rate = load->events_per_s > 0;

    for (int i = 0; i < count; i++) {
        const struct cost *cost = &costs[i];

        if (cost->entities < 0) {
            fr_buffer_append_format(out, "%-20s not counted: give --cardinality %s=N\n", cost->name, cost->name);
            continue;
        }
        fr_buffer_append_format(out, "%-20s %.0f entities of %.0f to %.0f B in memory, %.0f to %.0f B on disk", cost->name,
                                cost->entities, cost->least.memory, cost->full.memory, cost->least.disk, cost->full.disk);
        if (has_rate)
            fr_buffer_append_format(out, "; at this rate %.0f B and %.0f B: %.3f GiB and %.3f GiB, %.0f B an epoch",
                                    cost->typical.memory, cost->typical.disk, cost->entities * cost->typical.memory / GIB,
                                    cost->entities * cost->typical.disk / GIB, cost->epoch_bytes);
        fr_buffer_append_byte(out, '\n');
        typical.memory += cost->entities * cost->typical.memory;
        typical.disk += cost->entities * cost->typical.disk;
        full.memory += cost->entities * cost->full.memory;
        full.disk += cost->entities * cost->full.disk;
        epoch_bytes += cost->epoch_bytes;
    }
    if (has_rate)
        fr_buffer_append_format(out,
                                "in all at %.0f events/s: %.3f GiB in memory, %.3f GiB on disk, %.0f B an epoch of %.3g s "
                                "(%.1f MiB/s)\n",
                                load->events_per_s, typical.memory / GIB, typical.disk / GIB, epoch_bytes, epoch_s,
                                epoch_bytes / epoch_s / 1048576);
    fr_buffer_append_format(out, "in all when every entity is full: %.3f GiB in memory, %.3f GiB on disk\n", full.memory / GIB,
                            full.disk / GIB);
}

static void print_bytes(const char *name, struct agg_bytes bytes, struct fr_buffer *out)
{
    fr_buffer_append_format(out, ",\"%s\":{\"memory\":%.0f,\"disk\":%.0f}", name, bytes.memory, bytes.disk);
}

static void print_json(const struct cost *costs, int count, const struct pipeline_load *load, double epoch_s,
                       struct fr_buffer *out)
{
    struct agg_bytes typical = {0}, full = {0};
    double epoch_bytes = 0;
    const char *between = "";

    fr_buffer_append_format(out, "{\"eventsPerSecond\":%.17g,\"epochSeconds\":%.17g,\"entities\":[", load->events_per_s,
                            epoch_s);
    for (int i = 0; i < count; i++) {
        const struct cost *cost = &costs[i];

        if (cost->entities < 0)
            continue;
        fr_buffer_append_format(out, "%s{\"name\":\"%s\",\"entities\":%.0f", between, cost->name, cost->entities);
        print_bytes("leastBytes", cost->least, out);
        print_bytes("typicalBytes", cost->typical, out);
        print_bytes("fullBytes", cost->full, out);
        fr_buffer_append_format(out, ",\"epochBytes\":%.0f}", cost->epoch_bytes);
        typical.memory += cost->entities * cost->typical.memory;
        typical.disk += cost->entities * cost->typical.disk;
        full.memory += cost->entities * cost->full.memory;
        full.disk += cost->entities * cost->full.disk;
        epoch_bytes += cost->epoch_bytes;
        between = ",";
    }
    fr_buffer_append_byte(out, ']');
    print_bytes("typicalBytes", typical, out);
    print_bytes("fullBytes", full, out);
    fr_buffer_append_format(out, ",\"epochBytes\":%.0f}\n", epoch_bytes);
}

bool pipeline_config_cost(const struct pipeline_config *config, const struct pipeline_load *load, struct fr_buffer *out,
                          struct fr_err *err)
{
    const struct agg_catalogue *catalogue = config->catalogue;
    int count = agg_catalogue_entity_count(catalogue);
    double epoch_s = (double)config->epoch_ms / 1000;
    struct cost costs[KINDS_MAX] = {0};

    for (int i = 0; i < count; i++) {
        costs[i].name = agg_catalogue_entity_name(catalogue, i);
        costs[i].entities = -1;
    }
    for (int i = 0; i < load->cardinality_count; i++) {
        if (!read_cardinality(catalogue, load->cardinalities[i], costs, err))
            return false;
    }
    for (int i = 0; i < count; i++)
        compute(catalogue, i, load->events_per_s, epoch_s, &costs[i]);
    if (load->is_json)
        print_json(costs, count, load, epoch_s, out);
    else
        print_text(costs, count, load, epoch_s, out);
    return !out->is_failed || fr_fail(err, FR_EXHAUSTED, "out of memory");
}
