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
    FLAT_SLICES = 28, /* of 6 h */
    FLAT_SLICE_EVENTS = 150000,
    FLAT_HOURS = 6,
    FLAT_EPOCHS = 4, /* a slice: RocksDB compacts every four files, so that each slice has its share of it */
    HOUR_MS = 3600000,
    FLAT_MEMORY_SHARE = 2, /* of what is available, for state */
    ENTITY_BYTES = 1024, /* a light one at most, with what an epoch of it takes */
    ENTITIES_LEAST = 10000,
    ENTITIES_MOST = 10000000,
    ENTITIES_EPOCH = 500000,
};

static const uint64_t feed_memory = UINT64_C(64) << 30; /* never the limit here */

struct curves {
    struct cli_bench_curve time, entities;
    struct bench_feed_cost costs[2][BENCH_POINTS_MAX];
    uint64_t bytes_per_entity[BENCH_POINTS_MAX];
};

static bool open_feed(const struct cli_bench *bench, enum bench_catalogue catalogue, uint64_t epoch_events, char *path,
                      size_t capacity, struct bench_feed **feed, struct fr_err *err)
{
    const struct bench_feed_options options = {
        .path = path, .catalogue = bench_catalogue(catalogue), .memory_bytes = feed_memory, .epoch_events = epoch_events};

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

static void add_point(struct cli_bench_curve *curve, struct bench_feed_cost *costs, double x,
                      const struct bench_feed_cost *cost, uint64_t events)
{
    costs[curve->count] = *cost;
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
    is_good = workload ? open_feed(bench, BENCH_FLAT, slice_events / FLAT_EPOCHS, path, sizeof path, &feed, err)
                       : fr_fail(err, FR_EXHAUSTED, "out of memory");
    for (int i = 0; is_good && i < FLAT_SLICES; i++) {
        struct bench_feed_cost cost;

        is_good = !is_stopped(err) && bench_feed_run(feed, workload, slice_events, &cost, err);
        if (is_good)
            add_point(&curves->time, curves->costs[0], (i + 1) * FLAT_HOURS, &cost, slice_events);
        cli_progress__show(progress, slice_events * (uint64_t)(i + 1), (int64_t)options.events,
                           slice_events * (uint64_t)(i + 1));
    }
    bench_feed_close(feed);
    bench_workload_free(workload);
    cli_directory__remove(path);
    return is_good;
}

/* ---- By the number of entities ---- */

static bool feed_all(struct bench_feed *feed, const struct bench_workload_options *options, struct bench_feed_cost *cost,
                     struct fr_err *err)
{
    struct bench_workload *workload = bench_workload_new(options);
    bool is_good =
        workload ? bench_feed_run(feed, workload, options->events, cost, err) : fr_fail(err, FR_EXHAUSTED, "out of memory");

    bench_workload_free(workload);
    return is_good;
}

/* Half users, half items: each made by one event, then events that find theirs anywhere among them. */
static bool run_entities(const struct cli_bench *bench, uint64_t entities, uint64_t events, struct curves *curves,
                         struct fr_err *err)
{
    struct bench_workload_options options = bench_w1_options(entities / 2);
    char path[CLI_DIRECTORY_BYTES + 32];
    struct bench_feed_state state;
    struct bench_feed_cost cost;
    struct bench_feed *feed;
    bool is_good;

    options.users = options.items = (int)(entities / 2);
    options.draw = BENCH_EACH;
    if (!open_feed(bench, BENCH_LIGHT, ENTITIES_EPOCH, path, sizeof path, &feed, err))
        return false;
    is_good = feed_all(feed, &options, &cost, err);
    options.seed++;
    options.draw = BENCH_UNIFORM;
    options.events = events;
    options.start_ms += options.span_ms;
    options.span_ms = HOUR_MS;
    is_good = is_good && !is_stopped(err) && feed_all(feed, &options, &cost, err);
    if (is_good) {
        bench_feed_look(feed, &state);
        curves->bytes_per_entity[curves->entities.count] = state.entities > 0 ? state.memory_bytes / state.entities : 0;
        add_point(&curves->entities, curves->costs[1], (double)state.entities, &cost, events);
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
    uint64_t events = bench->events > 0 ? bench->events / 4 : ENTITIES_EPOCH;
    uint64_t room = read_available_bytes() / FLAT_MEMORY_SHARE / ENTITY_BYTES;
    uint64_t most = bench->entities > 0 ? bench->entities : room < ENTITIES_MOST ? room : ENTITIES_MOST;
    uint64_t done = 0, total = 0;

    for (uint64_t size = ENTITIES_LEAST; size <= most; size *= 10)
        total += size / 2 + events;
    for (uint64_t size = ENTITIES_LEAST; size <= most; size *= 10) {
        if (!run_entities(bench, size, events, curves, err))
            return false;
        done += size / 2 + events;
        cli_progress__show(progress, done, (int64_t)total, done);
    }
    return curves->entities.count > 0 || fr_fail(err, FR_BAD_CONFIG, "--entities: use %d or more", ENTITIES_LEAST);
}

/* ---- Telling ---- */

static void append_curve(struct fr_buffer *out, const char *name, const char *x_name, const struct cli_bench_curve *curve,
                         const struct bench_feed_cost *costs, const uint64_t *bytes)
{
    fr_buffer_append_format(out, "\"%s\":[", name);
    for (int i = 0; i < curve->count; i++) {
        double share = costs[i].cpu_seconds > 0 ? costs[i].epoch_cpu_seconds / costs[i].cpu_seconds : 0;

        fr_buffer_append_format(out, "%s{\"%s\":%.0f,\"cpu_seconds_per_million\":%.4f,\"epochs_share\":%.3f", i > 0 ? "," : "",
                                x_name, curve->x[i], curve->y[i], share);
        if (bytes)
            fr_buffer_append_format(out, ",\"bytes_per_entity\":%" PRIu64, bytes[i]);
        fr_buffer_append_byte(out, '}');
    }
    fr_buffer_append_byte(out, ']');
}

static void describe(const struct curves *curves, struct cli_bench_report *report)
{
    const struct cli_bench_curve *time = &curves->time, *entities = &curves->entities;
    double growth = entities->y[entities->count - 1] / entities->y[0];

    fr_buffer_append_text(&report->details, ",\"broker\":\"none\",\"curves\":{");
    append_curve(&report->details, "event_time", "hours", time, curves->costs[0], NULL);
    fr_buffer_append_byte(&report->details, ',');
    append_curve(&report->details, "entities", "entities", entities, curves->costs[1], curves->bytes_per_entity);
    fr_buffer_append_format(&report->details, "},\"entities_ratio\":%.4f", growth);
    fr_buffer_append_text(
        &report->notes, "  In this process, without Kafka: batches applied and epochs made durable; CPU of all threads but for"
                        " making the events.\n  By event time, W1's keys and features with windows to 7 d:\n");
    for (int i = 0; i < time->count; i += 4)
        fr_buffer_append_format(&report->notes, "    to hour %3.0f  %6.3f\n", time->x[i], time->y[i]);
    fr_buffer_append_format(&report->notes, "    to hour %3.0f  %6.3f\n  By entities, half users, half items, drawn evenly:\n",
                            time->x[time->count - 1], time->y[time->count - 1]);
    for (int i = 0; i < entities->count; i++)
        fr_buffer_append_format(&report->notes, "    %10.0f  %6.3f  %" PRIu64 " bytes each\n", entities->x[i], entities->y[i],
                                curves->bytes_per_entity[i]);
}

bool cli_bench__flat(struct cli_bench *bench, struct cli_bench_report *report, struct fr_buffer *svg, struct fr_err *err)
{
    static struct curves curves;
    struct cli_progress progress;
    bool is_good;

    curves = (struct curves){
        .time = {.title = "By event time", .x_label = "hours of event time", .y_label = "CPU s per million events"},
        .entities = {.title = "By entities", .x_label = "entities", .y_label = "CPU s per million events", .is_log_x = true}};
    report->unit = "CPU seconds per million events";
    report->ours_name = "the last day";
    report->peer_count = 1;
    snprintf(report->peers[0].name, sizeof report->peers[0].name, "first_day");
    cli_progress__init(&progress);
    is_good = run_week(bench, &curves, &progress, err);
    cli_progress__fini(&progress);
    cli_progress__init(&progress);
    is_good = is_good && run_sizes(bench, &curves, &progress, err);
    cli_progress__fini(&progress);
    if (!is_good)
        return false;
    for (int i = 0; i < 24 / FLAT_HOURS; i++) { /* the same hours of the first and the last day are a pair */
        report->peers[0].values[i] = curves.time.y[i];
        report->ours[i] = curves.time.y[FLAT_SLICES - 24 / FLAT_HOURS + i];
    }
    report->pairs = 24 / FLAT_HOURS;
    describe(&curves, report);
    cli_bench_plot__curves("freshet bench flat", (const struct cli_bench_curve[]){curves.time, curves.entities}, 2, svg);
    return true;
}
