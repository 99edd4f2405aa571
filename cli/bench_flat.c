/*
 * freshet bench flat: whether an event costs the same on day 7 as in the first hours, and with ten million entities as with ten
 * thousand. In this process and without Kafka: the lane's work and the epochs alone, so that a curve takes a minute.
 */
#include "bench.h"

#include <freshet/bench.h>

#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    FLAT_SLICES = 14, /* of 12 h */
    FLAT_SLICE_EVENTS = 300000,
    FLAT_HOURS = 12,
    FLAT_EPOCHS = 8, /* in what makes a point: RocksDB compacts every eight files, so that each has its share of it */
    HOUR_MS = 3600000,
    FLAT_MEMORY_SHARE = 2, /* of what is available, for state */
    ENTITY_BYTES = 1024, /* a light one at most, with what an epoch of it takes */
    ENTITIES_LEAST = 10000,
    ENTITIES_MOST = 10000000,
    ENTITIES_PIECE = 500000,
    ENTITIES_EVENTS = 1000000, /* of a point */
};

static const uint64_t feed_memory = UINT64_C(64) << 30; /* never the limit here */

struct curves {
    struct cli_bench_curve time, entities;
    uint64_t bytes_per_entity[BENCH_POINTS_MAX];
};

struct course { /* of a curve, for the progress bar */
    struct cli_progress *progress;
    uint64_t done, total; /* events */
};

static bool open_feed(const struct cli_bench *bench, enum bench_catalogue catalogue, char *path, size_t capacity,
                      struct bench_feed **feed, struct fr_err *err)
{
    const struct bench_feed_options options = {
        .path = path, .catalogue = bench_catalogue(catalogue), .memory_bytes = feed_memory};

    snprintf(path, capacity, "%s/feed", bench->directory);
    return bench_feed_open(&options, feed, err);
}

static bool is_stopped(struct fr_err *err)
{
    return cli_signals__is_stopped() && !fr_fail(err, FR_CANCELLED, "stopped by a signal");
}

static double per_million(double seconds, uint64_t events)
{
    return seconds * 1e6 / (double)events;
}

static void add_point(struct cli_bench_curve *curve, double x, const struct bench_feed_cost *cost, uint64_t events)
{
    curve->part[curve->count] = per_million(cost->cpu_seconds - cost->epoch_cpu_seconds, events);
    curve->x[curve->count] = x;
    curve->y[curve->count++] = per_million(cost->cpu_seconds, events);
}

/* ---- By event time ---- */

static bool run_week(const struct cli_bench *bench, struct curves *curves, struct cli_progress *progress, struct fr_err *err)
{
    uint64_t slice_events = bench->events > 0 ? bench->events / FLAT_SLICES : FLAT_SLICE_EVENTS;
    struct bench_workload_options options = bench_w1_options(slice_events * FLAT_SLICES);
    struct bench_workload *workload;
    char path[CLI_DIRECTORY_BYTES + 32];
    struct bench_feed *feed = NULL;
    bool is_good;

    options.span_ms = (int64_t)FLAT_SLICES * FLAT_HOURS * HOUR_MS;
    workload = bench_workload_new(&options);
    is_good =
        workload ? open_feed(bench, BENCH_FLAT, path, sizeof path, &feed, err) : fr_fail(err, FR_EXHAUSTED, "out of memory");
    for (int i = 0; is_good && i < FLAT_SLICES; i++) {
        struct bench_feed_cost cost;

        is_good = !is_stopped(err) && bench_feed_run(feed, workload, slice_events, slice_events / FLAT_EPOCHS, &cost, err);
        if (is_good)
            add_point(&curves->time, (i + 1) * FLAT_HOURS, &cost, slice_events);
        cli_progress__show(progress, slice_events * (uint64_t)(i + 1), (int64_t)options.events,
                           slice_events * (uint64_t)(i + 1));
    }
    bench_feed_close(feed);
    bench_workload_free(workload);
    cli_directory__remove(path);
    return is_good;
}

/* ---- By the number of entities ---- */

/* In pieces, between which somebody may stop it. */
static bool feed_all(struct bench_feed *feed, const struct bench_workload_options *options, uint64_t epoch_events,
                     struct course *course, struct bench_feed_cost *cost, struct fr_err *err)
{
    struct bench_workload *workload = bench_workload_new(options);
    bool is_good = workload ? true : fr_fail(err, FR_EXHAUSTED, "out of memory");

    *cost = (struct bench_feed_cost){0};
    for (uint64_t left = options->events; is_good && left > 0;) {
        uint64_t count = left < ENTITIES_PIECE ? left : ENTITIES_PIECE;
        struct bench_feed_cost piece;

        is_good = !is_stopped(err) && bench_feed_run(feed, workload, count, epoch_events, &piece, err);
        if (!is_good)
            break;
        cost->cpu_seconds += piece.cpu_seconds;
        cost->epoch_cpu_seconds += piece.epoch_cpu_seconds;
        left -= count;
        course->done += count;
        cli_progress__show(course->progress, course->done, (int64_t)course->total, course->done);
    }
    bench_workload_free(workload);
    return is_good;
}

/* Half users, half items: each made by one event, then events that find theirs anywhere among them. */
static bool run_entities(const struct cli_bench *bench, uint64_t entities, uint64_t events, struct curves *curves,
                         struct course *course, struct fr_err *err)
{
    struct bench_workload_options options = bench_w1_options(entities / 2);
    char path[CLI_DIRECTORY_BYTES + 32];
    struct bench_feed_state state;
    struct bench_feed_cost cost;
    struct bench_feed *feed;
    bool is_good;

    options.users = options.items = (int)(entities / 2);
    options.draw = BENCH_EACH;
    if (!open_feed(bench, BENCH_LIGHT, path, sizeof path, &feed, err))
        return false;
    is_good = feed_all(feed, &options, ENTITIES_PIECE, course, &cost, err);
    options.seed++;
    options.draw = BENCH_UNIFORM;
    options.events = events;
    options.start_ms += options.span_ms;
    options.span_ms = HOUR_MS;
    is_good = is_good && feed_all(feed, &options, events / FLAT_EPOCHS, course, &cost, err);
    if (is_good) {
        bench_feed_look(feed, &state);
        curves->bytes_per_entity[curves->entities.count] = state.entities > 0 ? state.memory_bytes / state.entities : 0;
        add_point(&curves->entities, (double)state.entities, &cost, events);
    }
    bench_feed_close(feed);
    cli_directory__remove(path);
    return is_good;
}

static uint64_t read_available_bytes(void)
{
    FILE *file = fopen("/proc/meminfo", "r");
    unsigned long long kib = 0;
    char line[128];

    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "MemAvailable:", 13) == 0)
            kib = strtoull(line + 13, NULL, 10);
    }
    if (file)
        fclose(file);
    return (uint64_t)kib << 10;
}

static bool run_sizes(const struct cli_bench *bench, struct curves *curves, struct cli_progress *progress, struct fr_err *err)
{
    uint64_t events = bench->events > 0 ? bench->events / 4 : ENTITIES_EVENTS;
    uint64_t room = read_available_bytes() / FLAT_MEMORY_SHARE / ENTITY_BYTES;
    uint64_t most = bench->entities > 0 ? bench->entities : room < ENTITIES_MOST ? room : ENTITIES_MOST;
    struct course course = {.progress = progress};

    if (most < ENTITIES_LEAST || most > ENTITIES_MOST)
        return fr_fail(err, FR_BAD_CONFIG, "--entities %" PRIu64 ": use %d to %d", most, ENTITIES_LEAST, ENTITIES_MOST);
    for (uint64_t size = ENTITIES_LEAST; size <= most; size *= 10)
        course.total += size / 2 + events;
    for (uint64_t size = ENTITIES_LEAST; size <= most; size *= 10) {
        if (!run_entities(bench, size, events, curves, &course, err))
            return false;
    }
    return true;
}

/* ---- Telling ---- */

static void append_curve(struct fr_buffer *out, const char *name, const char *x_name, const struct cli_bench_curve *curve,
                         const uint64_t *bytes)
{
    fr_buffer_append_format(out, "\"%s\":[", name);
    for (int i = 0; i < curve->count; i++) {
        fr_buffer_append_format(out, "%s{\"%s\":%.0f,\"cpu_seconds_per_million\":%.4f,\"applying\":%.4f", i > 0 ? "," : "",
                                x_name, curve->x[i], curve->y[i], curve->part[i]);
        if (bytes)
            fr_buffer_append_format(out, ",\"bytes_per_entity\":%" PRIu64, bytes[i]);
        fr_buffer_append_byte(out, '}');
    }
    fr_buffer_append_byte(out, ']');
}

static void append_notes(const struct curves *curves, struct fr_buffer *out)
{
    const struct cli_bench_curve *time = &curves->time, *entities = &curves->entities;

    fr_buffer_append_format(
        out,
        "  In this process, without Kafka: batches applied, and %d epochs a point made durable and compacted;"
        " CPU of all threads but for making the events.\n"
        "  By event time, W1's keys and features with windows to 7 d:\n",
        FLAT_EPOCHS);
    for (int i = 1; i < time->count; i += 2)
        fr_buffer_append_format(out, "    to hour %3.0f  %6.3f, of it applying %6.3f\n", time->x[i], time->y[i], time->part[i]);
    fr_buffer_append_text(out, "  By entities, half users, half items, drawn evenly:\n");
    for (int i = 0; i < entities->count; i++)
        fr_buffer_append_format(out, "    %9.0f    %6.3f, of it applying %6.3f; %" PRIu64 " bytes each\n", entities->x[i],
                                entities->y[i], entities->part[i], curves->bytes_per_entity[i]);
}

static void append_details(const struct curves *curves, struct fr_buffer *out)
{
    const struct cli_bench_curve *entities = &curves->entities;

    fr_buffer_append_text(out, ",\"broker\":\"none\",\"curves\":{");
    append_curve(out, "event_time", "hours", &curves->time, NULL);
    fr_buffer_append_byte(out, ',');
    append_curve(out, "entities", "entities", entities, curves->bytes_per_entity);
    fr_buffer_append_format(out, "},\"entities_ratio\":%.4f", entities->y[entities->count - 1] / entities->y[0]);
}

static struct cli_bench_curve make_curve(const char *title, const char *x_label, bool is_log_x)
{
    return (struct cli_bench_curve){.title = title,
                                    .x_label = x_label,
                                    .y_label = "CPU s per million events",
                                    .line_name = "all",
                                    .part_name = "without epochs",
                                    .is_log_x = is_log_x};
}

bool cli_bench__flat(struct cli_bench *bench, struct cli_bench_report *report, struct fr_buffer *svg, struct fr_err *err)
{
    static struct curves curves;
    struct cli_progress progress;
    bool is_good;

    curves = (struct curves){.time = make_curve("By event time", "hours of event time", false),
                             .entities = make_curve("By entities", "entities", true)};
    report->unit = "CPU seconds per million events";
    report->ours_name = "the last day";
    report->peer_count = 1;
    snprintf(report->peers[0].name, sizeof report->peers[0].name, "first_day");
    cli_progress__init(&progress, "events");
    is_good = run_week(bench, &curves, &progress, err);
    cli_progress__fini(&progress);
    cli_progress__init(&progress, "events");
    is_good = is_good && run_sizes(bench, &curves, &progress, err);
    cli_progress__fini(&progress);
    if (!is_good)
        return false;
    for (int i = 0; i < 24 / FLAT_HOURS; i++) { /* the same hours of the first and the last day are a pair */
        report->peers[0].values[i] = curves.time.y[i];
        report->ours[i] = curves.time.y[FLAT_SLICES - 24 / FLAT_HOURS + i];
    }
    report->pairs = 24 / FLAT_HOURS;
    append_details(&curves, &report->details);
    append_notes(&curves, &report->notes);
    cli_bench_plot__curves("freshet bench flat", (const struct cli_bench_curve[]){curves.time, curves.entities}, 2, svg);
    return true;
}
