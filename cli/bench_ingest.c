/*
 * freshet bench ingest: W1 drained from a full topic by a node, and read by librdkafka alone, turn about. The node is as it ships: one
 * lane, W1's features, dedupe and durable epochs on.
 */
#include "bench.h"

#include <freshet/bench.h>

#include <inttypes.h>

enum { INGEST_EVENTS = 2000000, INGEST_EVENTS_EMBEDDED = 200000 };

/* librdkafka with an allocator: glibc's, which most programs have, and the one that this binary has. */
struct consumer {
    const char *allocator;
    bool is_preloaded;
};

struct runs { /* of one pair */
    struct cli_bench_run ours, bare[BENCH_PEERS_MAX];
};

static double per_million(const struct cli_bench_run *run)
{
    return run->records > 0 ? run->cpu_seconds * 1e6 / (double)run->records : 0;
}

static double per_second(const struct cli_bench_run *run)
{
    return run->seconds > 0 ? (double)run->records / run->seconds : 0;
}

static void tell(const char *what, uint64_t pair, uint64_t pairs, const struct cli_bench_run *run)
{
    char rate[32];

    fprintf(stderr, "  pair %" PRIu64 " of %" PRIu64 "  %-22s %6.3f CPU s per million  %9s events/s  %5.0f MiB\n", pair, pairs,
            what, per_million(run), cli_progress__grouped((uint64_t)per_second(run), rate), (double)run->peak_bytes / 1048576);
}

static bool is_whole(const char *what, const struct cli_bench_run *run, uint64_t events, struct fr_err *err)
{
    return run->records == events ||
           fr_fail(err, FR_CORRUPT, "%s had %" PRIu64 " of %" PRIu64 " events", what, run->records, events);
}

static bool run_pair(const struct cli_bench *bench, const struct cli_bench_node *node, struct cli_bench_report *report,
                     const struct consumer *consumers, struct runs *runs, struct fr_err *err)
{
    uint64_t pair = (uint64_t)report->pairs + 1;
    struct cli_progress progress;
    bool is_good;

    cli_progress__init(&progress, "events");
    is_good = cli_bench_child__node(node, &progress, &runs->ours, err);
    cli_progress__fini(&progress);
    if (!is_good || !is_whole("the node", &runs->ours, node->events, err))
        return false;
    tell("freshet", pair, bench->pairs, &runs->ours);
    for (int i = 0; i < report->peer_count; i++) {
        if (!cli_bench_child__bare(node->brokers, node->topic, consumers[i].is_preloaded, consumers[i].allocator,
                                   &runs->bare[i], err) ||
            !is_whole("the bare consumer", &runs->bare[i], node->events, err))
            return false;
        tell(report->peers[i].name, pair, bench->pairs, &runs->bare[i]);
        report->peers[i].values[report->pairs] = per_million(&runs->bare[i]);
    }
    report->ours[report->pairs++] = per_million(&runs->ours);
    return true;
}

static void append_run(struct fr_buffer *out, const char *name, const struct cli_bench_run *run)
{
    fr_buffer_append_format(
        out,
        "\"%s\":{\"cpu_seconds\":%.4f,\"total_cpu_seconds\":%.4f,\"seconds\":%.3f,\"events_per_second\":%.0f,"
        "\"peak_resident_bytes\":%" PRIu64,
        name, run->cpu_seconds, run->total_cpu_seconds, run->seconds, per_second(run), run->peak_bytes);
    if (run->entities > 0)
        fr_buffer_append_format(out, ",\"entities\":%" PRIu64 ",\"memory_bytes\":%" PRIu64, run->entities, run->memory_bytes);
    fr_buffer_append_byte(out, '}');
}

static void append_pair(const struct cli_bench_report *report, const struct runs *runs, struct fr_buffer *out)
{
    fr_buffer_append_text(out, out->length > 0 ? ",{" : "{");
    append_run(out, "ours", &runs->ours);
    for (int i = 0; i < report->peer_count; i++) {
        fr_buffer_append_byte(out, ',');
        append_run(out, report->peers[i].name, &runs->bare[i]);
    }
    fr_buffer_append_byte(out, '}');
}

static void append_kind(struct fr_buffer *out, const char *name, const struct cli_bench_kind *kind)
{
    fr_buffer_append_format(out, "\"%s\":{\"count\":%" PRIu64 ",\"bytes_each\":%.1f}", name, kind->count, kind->bytes_each);
}

static void append_details(const struct cli_bench *bench, const struct bench_workload_options *workload,
                           const struct cli_bench_run *run, const struct cli_bench_memory *memory,
                           const struct fr_buffer *pairs, struct fr_buffer *out)
{
    fr_buffer_append_format(out,
                            ",\"workload\":{\"name\":\"W1\",\"events\":%" PRIu64 ",\"partitions\":%d,\"seed\":%" PRIu64
                            ",\"compression\":\"lz4\"},\"broker\":\"%s\",\"lanes\":1,\"events_per_second\":%.0f,"
                            "\"peak_resident_bytes\":%" PRIu64 ",\"entities\":%" PRIu64 ",\"memory_bytes\":%" PRIu64
                            ",\"entity_memory\":{",
                            workload->events, BENCH_PARTITIONS, workload->seed, bench->embedded ? "embedded" : "kafka",
                            per_second(run), run->peak_bytes, run->entities, run->memory_bytes);
    append_kind(out, "user", &memory->user);
    fr_buffer_append_byte(out, ',');
    append_kind(out, "item", &memory->item);
    fr_buffer_append_byte(out, ',');
    append_kind(out, "creator", &memory->creator);
    fr_buffer_append_text(out, "},\"runs\":[");
    fr_buffer_append(out, pairs->bytes, pairs->length);
    fr_buffer_append_byte(out, ']');
}

static void append_notes(const struct cli_bench *bench, uint64_t events, const struct cli_bench_run *run,
                         const struct cli_bench_memory *memory, struct fr_buffer *out)
{
    char number[32];

    fr_buffer_append_format(out, "  W1: %s events, 8 partitions, lz4, on %s.\n", cli_progress__grouped(events, number),
                            bench->embedded ? "the embedded broker: a small run, in which fixed costs weigh more"
                                            : bench->brokers);
    fr_buffer_append_text(out,
                          "  freshet: a node with one lane, durable epochs and dedupe; from listening until all is applied and"
                          " durable.\n  librdkafka: the same fetching, nothing done; from the making of the client to the end"
                          " of the last partition.\n  CPU is the kernel's count of the process, all threads.\n");
    fr_buffer_append_format(
        out,
        "  The node in the end: %s entities, %.0f MiB of state, %.0f MiB resident at most. In memory (measured in"
        " this process): a user %.0f bytes, an item %.0f, a creator %.0f.\n",
        cli_progress__grouped(run->entities, number), (double)run->memory_bytes / 1048576, (double)run->peak_bytes / 1048576,
        memory->user.bytes_each, memory->item.bytes_each, memory->creator.bytes_each);
}

static int choose_consumers(const char *own, struct consumer consumers[BENCH_PEERS_MAX], struct cli_bench_report *report)
{
    int count = 0;

    if (strcmp(own, "jemalloc") == 0) /* another, of a sanitizer say, must come first and cannot be displaced */
        consumers[count++] = (struct consumer){.allocator = "glibc", .is_preloaded = true};
    consumers[count++] = (struct consumer){.allocator = own};
    for (int i = 0; i < count; i++)
        snprintf(report->peers[i].name, sizeof report->peers[i].name, "librdkafka_%.64s", consumers[i].allocator);
    return count;
}

bool cli_bench__ingest(struct cli_bench *bench, struct cli_bench_report *report, struct fr_buffer *svg, struct fr_err *err)
{
    struct bench_workload_options workload = bench_w1_options(bench->events > 0 ? bench->events
                                                              : bench->brokers  ? INGEST_EVENTS
                                                                                : INGEST_EVENTS_EMBEDDED);
    struct consumer consumers[BENCH_PEERS_MAX];
    char topic[BENCH_NAME_BYTES], name[BENCH_NAME_BYTES], own[BENCH_NAME_BYTES];
    struct cli_bench_memory memory;
    struct runs runs = {0};
    struct fr_buffer pairs;
    bool is_good;

    report->unit = "CPU seconds per million events";
    report->peer_count = choose_consumers(cli_bench_child__allocator(own), consumers, report);
    snprintf(name, sizeof name, "freshet.bench.w1.%" PRIu64, workload.events);
    fr_buffer_init(&pairs);
    is_good = cli_bench_topic__fill(bench, name, &workload, topic, err);
    for (uint64_t i = 0; is_good && i < bench->pairs; i++) {
        const struct cli_bench_node node = {.brokers = bench->brokers,
                                            .topic = topic,
                                            .config = bench->config,
                                            .directory = bench->directory,
                                            .memory = "4GiB",
                                            .events = workload.events};

        is_good = run_pair(bench, &node, report, consumers, &runs, err);
        if (is_good)
            append_pair(report, &runs, &pairs);
    }
    is_good = is_good && cli_bench_memory__measure(bench, &workload, &memory, err);
    if (is_good) {
        append_details(bench, &workload, &runs.ours, &memory, &pairs, &report->details);
        append_notes(bench, workload.events, &runs.ours, &memory, &report->notes);
        cli_bench_plot__bars(report, svg);
    }
    fr_buffer_fini(&pairs);
    return is_good;
}
