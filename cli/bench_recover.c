/*
 * freshet bench recover: a node with state is killed with events applied that no epoch has; how long until it is ready again and all is
 * applied. Beside it, what no restart can do without: its RocksDB opened, and the same offsets read by librdkafka alone. Turn about,
 * on the same state: the node that recovers is killed before its first epoch, so each run finds what the first one left.
 */
#include "bench.h"

#include <freshet/bench.h>
#include <freshet/clock.h>
#include <freshet/ingest.h>

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>

enum {
    RECOVER_EVENTS = 2000000,
    RECOVER_EVENTS_EMBEDDED = 200000,
    RECOVER_TAIL = 10, /* one in so many events is behind the last epoch: more than the 2 s of a busy node */
    LOOK_MS = 2,
    CHECKPOINT_MS = 300000,
    PATIENCE_MS = 300000,
};
static const char topic_name[] = "freshet.bench.recover";

struct recover {
    struct cli_bench *bench;
    struct cli_bench_node node;
    uint64_t events, tail_events;
    int64_t offsets[BENCH_PARTITIONS]; /* of the epoch */
    double state_bytes;
    double ours_seconds, bare_seconds, ours_cpu; /* of the last pair */
};

/* Files of one directory, which is how a store lies. */
static double directory_bytes(const char *path)
{
    DIR *directory = opendir(path);
    const struct dirent *entry;
    double bytes = 0;

    while (directory && (entry = readdir(directory))) {
        struct stat found;

        if (fstatat(dirfd(directory), entry->d_name, &found, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(found.st_mode))
            bytes += (double)found.st_size;
    }
    if (directory)
        closedir(directory);
    return bytes;
}

static bool wait_caught_up(const char *api, uint64_t events, struct cli_bench_look *look, struct fr_err *err)
{
    int64_t until_ms = fr_clock_monotonic_ms() + PATIENCE_MS;

    for (;;) {
        if (!cli_bench_child__look(api, look, err))
            return false;
        if (look->is_caught_up && look->applied >= events)
            return true;
        if (cli_signals__is_stopped())
            return fr_fail(err, FR_CANCELLED, "stopped by a signal");
        if (fr_clock_monotonic_ms() > until_ms)
            return fr_fail(err, FR_UNAVAILABLE, "the node stands at %" PRIu64 " of %" PRIu64 " events", look->applied, events);
        fr_clock_sleep_ms(LOOK_MS);
    }
}

static bool checkpoint(const char *api, struct fr_err *err)
{
    const struct cli_node node = {.api = api};
    struct fr_buffer reply;
    bool is_good;

    fr_buffer_init(&reply);
    is_good = cli_client__call(&node, "freshet.v1.AdminService/Checkpoint", fr_slice_of("{}"), CHECKPOINT_MS, &reply, err);
    fr_buffer_fini(&reply);
    return is_good;
}

/* Where the epoch stands, for the child that reads from there. */
static bool write_offsets(const struct recover *recover, struct fr_err *err)
{
    char path[CLI_DIRECTORY_BYTES + 32];
    FILE *file;
    bool is_good;

    snprintf(path, sizeof path, "%s/offsets", recover->bench->directory);
    file = fopen(path, "w");
    for (int i = 0; file && i < BENCH_PARTITIONS; i++)
        fprintf(file, "%" PRId64 "\n", recover->offsets[i]);
    is_good = file && ferror(file) == 0;
    is_good = file && fclose(file) == 0 && is_good;
    return is_good || fr_fail(err, FR_UNAVAILABLE, "cannot write %s", path);
}

/* A node that has an epoch, and events behind it, and is killed. */
static bool leave_state(struct recover *recover, struct bench_workload *workload, struct fr_err *err)
{
    uint64_t durable = recover->events - recover->tail_events;
    const char *brokers = recover->node.brokers;
    struct cli_bench_process child = {0};
    struct cli_bench_look look;
    char api[BENCH_API_BYTES], path[CLI_DIRECTORY_BYTES + 32];
    bool is_good;

    if (!cli_bench_child__start(&recover->node, &child, api, err))
        return false;
    /* It begins at the ends that it finds, so only then may there be more. */
    is_good = wait_caught_up(api, 0, &look, err) && cli_bench_topic__append(brokers, topic_name, workload, durable, err) &&
              wait_caught_up(api, durable, &look, err) && checkpoint(api, err);
    memcpy(recover->offsets, look.next_offsets, sizeof recover->offsets);
    is_good = is_good && cli_bench_topic__append(brokers, topic_name, workload, recover->tail_events, err) &&
              wait_caught_up(api, recover->events, &look, err) && write_offsets(recover, err);
    cli_bench_process__give_up(&child);
    snprintf(path, sizeof path, "%s/state", recover->bench->directory);
    recover->state_bytes = directory_bytes(path);
    return is_good;
}

static bool run_ours(struct recover *recover, struct fr_err *err)
{
    int64_t start_us = fr_clock_monotonic_us();
    struct cli_bench_process child = {0};
    struct cli_bench_look look;
    char api[BENCH_API_BYTES];
    bool is_good;

    if (!cli_bench_child__start(&recover->node, &child, api, err))
        return false;
    is_good = wait_caught_up(api, recover->events, &look, err);
    recover->ours_seconds = (double)(fr_clock_monotonic_us() - start_us) / 1e6;
    recover->ours_cpu = cli_bench_process__cpu(&child);
    cli_bench_process__give_up(&child);
    return is_good && (look.applied == recover->events ||
                       fr_fail(err, FR_CORRUPT, "%" PRIu64 " of %" PRIu64 " events came back", look.applied, recover->events));
}

static bool run_bare(struct recover *recover, struct fr_err *err)
{
    const char *const arguments[] = {"freshet",
                                     "bench",
                                     "reopen",
                                     "--brokers",
                                     recover->node.brokers,
                                     "--topic",
                                     topic_name,
                                     "--file",
                                     recover->bench->directory,
                                     NULL};
    int64_t start_us = fr_clock_monotonic_us();
    struct cli_bench_process child = {0};
    struct cli_bench_run run;
    uint64_t records;
    char line[256];

    if (!cli_bench_process__start(&child, NULL, arguments, environ, err))
        return false;
    if (!cli_bench_process__line(&child, PATIENCE_MS, line, sizeof line, err)) {
        cli_bench_process__give_up(&child);
        return false;
    }
    recover->bare_seconds = (double)(fr_clock_monotonic_us() - start_us) / 1e6;
    records = (uint64_t)cli_bench_process__number(line, "records");
    return cli_bench_process__end(&child, 0, &run, err) &&
           (records == recover->tail_events ||
            fr_fail(err, FR_CORRUPT, "the bare restart read %" PRIu64 " of %" PRIu64 " records", records,
                    recover->tail_events));
}

int cli_bench_recover__reopen_main(const struct cli_command *command, const char *brokers, const char *topic,
                                   const char *directory)
{
    char path[CLI_DIRECTORY_BYTES + 32];
    int64_t offsets[BENCH_PARTITIONS];
    struct ingest_bare bare;
    struct fr_err err;
    FILE *file;
    int count = 0;

    snprintf(path, sizeof path, "%s/offsets", directory);
    file = fopen(path, "r");
    while (file && count < BENCH_PARTITIONS && fscanf(file, "%" SCNd64, &offsets[count]) == 1)
        count++;
    if (file)
        fclose(file);
    if (count < BENCH_PARTITIONS)
        return cli_command__say(command, CLI_FAILURE, "%s does not have %d offsets", path, BENCH_PARTITIONS);
    snprintf(path, sizeof path, "%s/state", directory);
    if (!bench_reopen(path, &err) || !ingest_bare_read(brokers, topic, offsets, count, &bare, &err))
        return cli_command__fail(command, &err);
    printf("{\"records\":%" PRIu64 "}\n", bare.records);
    fflush(stdout);
    _Exit(CLI_OK); /* both are still open, and their end is no part of this */
}

static bool run_pair(struct recover *recover, struct cli_bench_report *report, struct fr_err *err)
{
    double gb = recover->state_bytes / 1e9;

    fprintf(stderr, "  pair %d of %" PRIu64 ": a node's way back from a kill, then the same by hand\n", report->pairs + 1,
            recover->bench->pairs);
    if (!run_ours(recover, err) || !run_bare(recover, err))
        return false;
    fprintf(stderr, "  pair %d of %" PRIu64 "  freshet %.3f s (%.3f CPU s)  RocksDB and librdkafka %.3f s\n", report->pairs + 1,
            recover->bench->pairs, recover->ours_seconds, recover->ours_cpu, recover->bare_seconds);
    report->peers[0].values[report->pairs] = recover->bare_seconds / gb;
    report->ours[report->pairs++] = recover->ours_seconds / gb;
    return true;
}

static void describe(const struct recover *recover, struct cli_bench_report *report)
{
    double gb = recover->state_bytes / 1e9;
    double ours = cli_bench_report__ours(report).median * gb, bare = cli_bench_report__peer(report, 0).median * gb;

    fr_buffer_append_format(&report->details,
                            ",\"workload\":{\"name\":\"W1\",\"events\":%" PRIu64 ",\"tail_events\":%" PRIu64
                            "},\"broker\":\"%s\",\"state_bytes\":%.0f,\"seconds\":{\"ours\":%.4f,\"reopen_and_consume\":%.4f}",
                            recover->events, recover->tail_events, recover->bench->embedded ? "embedded" : "kafka",
                            recover->state_bytes, ours, bare);
    fr_buffer_append_format(
        &report->notes,
        "  W1, %" PRIu64 " events, the last %" PRIu64
        " behind the epoch: %.3f s against %.3f s, for %.1f MB of state on disk.\n  freshet: from its start "
        "until it is ready and all is applied. The other: its RocksDB opened, to look only, and the same "
        "offsets read.\n",
        recover->events, recover->tail_events, ours, bare, recover->state_bytes / 1e6);
}

bool cli_bench__recover(struct cli_bench *bench, struct cli_bench_report *report, struct fr_buffer *svg, struct fr_err *err)
{
    struct bench_workload_options options = bench_w1_options(bench->events > 0 ? bench->events
                                                             : bench->brokers  ? RECOVER_EVENTS
                                                                               : RECOVER_EVENTS_EMBEDDED);
    struct recover recover = {.bench = bench, .events = options.events, .tail_events = options.events / RECOVER_TAIL};
    struct bench_workload *workload;
    bool is_good;

    report->unit = "seconds per GB of state on disk";
    report->peer_count = 1;
    snprintf(report->peers[0].name, sizeof report->peers[0].name, "reopen_and_consume");
    if (!cli_bench_topic__broker(bench, topic_name, options.events, err))
        return false;
    recover.node = (struct cli_bench_node){.brokers = bench->brokers,
                                           .topic = topic_name,
                                           .config = bench->config,
                                           .directory = bench->directory,
                                           .memory = "4GiB",
                                           .sets = {"kafka.start=latest", "store.epoch=10m"}};
    workload = bench_workload_new(&options);
    is_good = workload ? cli_bench_topic__append(bench->brokers, topic_name, workload, 0, err) /* makes the topic */
                       : fr_fail(err, FR_EXHAUSTED, "out of memory");
    is_good = is_good && leave_state(&recover, workload, err);
    for (uint64_t i = 0; is_good && i < bench->pairs; i++)
        is_good = run_pair(&recover, report, err);
    bench_workload_free(workload);
    cli_bench_child__clear(&recover.node);
    if (is_good) {
        describe(&recover, report);
        cli_bench_plot__bars(report, svg);
    }
    return is_good;
}
