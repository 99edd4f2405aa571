/*
 * What a configuration does to the state in a directory, told before it is done: `freshet check --against`. The last durable epoch is
 * opened to look at it, beside a node that runs or not; how much lies under each kind of entity is counted by one scan.
 */
#include "internal.h"

#include <freshet/clock.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COMPARE_ARENA_BYTES = 128 << 20, COMPARE_MEMORY_BYTES = 64 << 20, PROGRESS_ENTITIES = 4096, KINDS = 256 };

struct census { /* of the entities on disk, by what their keys begin with */
    uint64_t entities[KINDS], bytes[KINDS];
    uint64_t seen, expected;
    pipeline_progress_fn progress;
    void *user;
};

static bool count_one(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    struct census *census = user;

    census->entities[key->kind]++;
    for (int part = 0; part < STORE_PARTS; part++)
        census->bytes[key->kind] += disk[part].length;
    if (++census->seen % PROGRESS_ENTITIES == 0 && census->progress)
        census->progress(census->user, census->seen, census->expected);
    return true;
}

/* ---- as text ---- */

static const char *fate_text(enum agg_fate fate)
{
    switch (fate) {
    case AGG_KEPT:
        return "kept";
    case AGG_KEPT_LESS:
        return "kept, less of it";
    case AGG_EMPTY:
        return "starts empty";
    case AGG_NEW:
        return "new, starts empty";
    case AGG_REMOVED:
        return "removed";
    }
    return "";
}

static void print_reasons(const struct agg_change *change, struct fr_buffer *out)
{
    for (int i = 0; i < change->reason_count; i++) {
        const struct agg_reason *reason = &change->reasons[i];

        fr_buffer_append_format(out, "; %s: %s → %s", reason->what, *reason->was ? reason->was : "(none)",
                                *reason->now ? reason->now : "(none)");
    }
}

static bool goes_on(enum agg_fate fate)
{
    return fate == AGG_KEPT || fate == AGG_KEPT_LESS;
}

static void print_entity(const struct agg_change *change, const struct census *census, struct fr_buffer *out)
{
    uint64_t entities = census->entities[change->kind_was], bytes = census->bytes[change->kind_was];

    fr_buffer_append_format(out, "  %-28s %s", change->name, fate_text(change->fate));
    print_reasons(change, out);
    if (change->kind_was != 0)
        fr_buffer_append_format(out, "; %" PRIu64 " on disk, %" PRIu64 " B%s", entities, bytes,
                                goes_on(change->fate) || entities == 0 ? "" : ", read no more");
    fr_buffer_append_byte(out, '\n');
}

static void print_feature(const struct agg_change *change, struct fr_buffer *out)
{
    fr_buffer_append_format(out, "  %-28s %s", change->name, fate_text(change->fate));
    if (change->fate == AGG_EMPTY)
        fr_buffer_append_format(out, "; generation %" PRIu32, change->generation);
    if (change->fate == AGG_REMOVED)
        fr_buffer_append_text(out, "; its state goes as its entities change");
    print_reasons(change, out);
    fr_buffer_append_byte(out, '\n');
}

struct picture { /* of the store that was looked at */
    const char *directory;
    uint64_t epoch;
    int64_t stream_time_ms;
    const struct agg_comparison *comparison;
    const struct census *census;
};

static bool is_shown(const struct agg_change *change)
{
    return !change->is_hidden || change->fate == AGG_EMPTY;
}

static void print_text(const struct picture *picture, struct fr_buffer *out)
{
    const struct agg_comparison *comparison = picture->comparison;

    fr_buffer_append_format(out, "%s: epoch %" PRIu64 ", stream time %" PRId64 " ms, %" PRIu64 " entities\nentities\n",
                            picture->directory, picture->epoch, picture->stream_time_ms, picture->census->seen);
    for (int i = 0; i < comparison->entity_count; i++) {
        if (is_shown(&comparison->entities[i]))
            print_entity(&comparison->entities[i], picture->census, out);
    }
    fr_buffer_append_text(out, "features\n");
    for (int i = 0; i < comparison->feature_count; i++) {
        if (is_shown(&comparison->features[i]))
            print_feature(&comparison->features[i], out);
    }
}

/* ---- as JSON ---- */

static const char *fate_name(enum agg_fate fate)
{
    static const char *const names[] = {"kept", "kept_less", "empty", "new", "removed"};

    return names[fate];
}

static void print_quoted(const char *text, struct fr_buffer *out)
{
    fr_buffer_append_byte(out, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fr_buffer_append_byte(out, '\\');
        if ((unsigned char)*text < 0x20)
            fr_buffer_append_format(out, "\\u%04x", (unsigned)(unsigned char)*text);
        else
            fr_buffer_append_byte(out, (uint8_t)*text);
    }
    fr_buffer_append_byte(out, '"');
}

static void print_json_head(const struct agg_change *change, struct fr_buffer *out)
{
    fr_buffer_append_text(out, "{\"name\":");
    print_quoted(change->name, out);
    fr_buffer_append_format(out, ",\"fate\":\"%s\",\"changes\":[", fate_name(change->fate));
    for (int i = 0; i < change->reason_count; i++) {
        fr_buffer_append_text(out, i > 0 ? ",{\"what\":" : "{\"what\":");
        print_quoted(change->reasons[i].what, out);
        fr_buffer_append_text(out, ",\"was\":");
        print_quoted(change->reasons[i].was, out);
        fr_buffer_append_text(out, ",\"now\":");
        print_quoted(change->reasons[i].now, out);
        fr_buffer_append_byte(out, '}');
    }
    fr_buffer_append_byte(out, ']');
}

/* 64-bit integers are strings, as in every JSON of a node. */
static void print_json(const struct picture *picture, struct fr_buffer *out)
{
    const struct agg_comparison *comparison = picture->comparison;
    const char *between = "";

    fr_buffer_append_text(out, "{\"directory\":");
    print_quoted(picture->directory, out);
    fr_buffer_append_format(out,
                            ",\"epoch\":\"%" PRIu64 "\",\"streamTimeMs\":\"%" PRId64 "\",\"entitiesOnDisk\":\"%" PRIu64 "\"",
                            picture->epoch, picture->stream_time_ms, picture->census->seen);
    fr_buffer_append_text(out, ",\"entities\":[");
    for (int i = 0; i < comparison->entity_count; i++) {
        const struct agg_change *change = &comparison->entities[i];

        if (!is_shown(change))
            continue;
        fr_buffer_append_text(out, between);
        print_json_head(change, out);
        fr_buffer_append_format(out, ",\"onDisk\":\"%" PRIu64 "\",\"bytesOnDisk\":\"%" PRIu64 "\"}",
                                picture->census->entities[change->kind_was], picture->census->bytes[change->kind_was]);
        between = ",";
    }
    fr_buffer_append_text(out, "],\"features\":[");
    between = "";
    for (int i = 0; i < comparison->feature_count; i++) {
        if (!is_shown(&comparison->features[i]))
            continue;
        fr_buffer_append_text(out, between);
        print_json_head(&comparison->features[i], out);
        fr_buffer_append_format(out, ",\"generation\":%" PRIu32 "}", comparison->features[i].generation);
        between = ",";
    }
    fr_buffer_append_text(out, "]}\n");
}

/* ---- the whole ---- */

static int64_t stream_time(struct store *store)
{
    struct pipeline_stream *stream = aligned_alloc(_Alignof(struct pipeline_stream), sizeof *stream);
    int64_t time_ms;

    if (!stream)
        return 0;
    memset(stream, 0, sizeof *stream);
    pipeline_stream__restore(stream, store);
    time_ms = stream->restored_time_ms;
    free(stream);
    return time_ms;
}

static bool compare(const struct pipeline_config *config, struct store *store, struct fr_arena *arena,
                    const struct pipeline_compare_options *options, struct fr_buffer *out, struct fr_err *err)
{
    struct census *census = fr_arena_take_zeroed(arena, 1, sizeof *census);
    struct agg_comparison comparison;
    struct store_stats stats;
    struct picture picture = {.directory = options->directory, .comparison = &comparison, .census = census};

    if (!census)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    store_stats_read(store, &stats);
    census->expected = stats.entities;
    census->progress = options->progress;
    census->user = options->user;
    if (!agg_catalogue_compare(config->catalogue, store, arena, &comparison, err) || !store_scan(store, count_one, census, err))
        return false;
    picture.epoch = stats.epoch;
    picture.stream_time_ms = stream_time(store);
    if (options->is_json)
        print_json(&picture, out);
    else
        print_text(&picture, out);
    return !out->is_failed || fr_fail(err, FR_EXHAUSTED, "out of memory");
}

bool pipeline_config_compare(const struct pipeline_config *config, const struct pipeline_compare_options *options,
                             struct fr_buffer *out, struct fr_err *err)
{
    struct fr_arena *arena = fr_arena_new(COMPARE_ARENA_BYTES);
    struct store_options store_options = {.path = options->directory,
                                          .memory_bytes = COMPARE_MEMORY_BYTES,
                                          .codec = agg_codec(config->catalogue),
                                          .is_read_only = true};
    struct store *store = NULL;
    bool is_done = arena || fr_fail(err, FR_EXHAUSTED, "out of memory");

    is_done = is_done && store_open(&store_options, &store, err) && compare(config, store, arena, options, out, err);
    store_close(store);
    fr_arena_free(arena);
    return is_done;
}
