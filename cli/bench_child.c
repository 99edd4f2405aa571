/*
 * The processes that a benchmark measures: this binary again, as a node or as a bare consumer, each fresh, so that neither has what
 * the other left in memory. CPU seconds are the kernel's: the process's clock while it works, wait4() when it has ended.
 */
#include "bench.h"

#include <freshet/clock.h>
#include <freshet/ingest.h>
#include <freshet/message.h>
#include <freshet/v1/admin.pb-c.h>

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
    CHILD_LINE_MS = 60000,
    CHILD_BARE_MS = 600000,
    CHILD_CALL_MS = 30000,
    CHILD_CHECKPOINT_MS = 300000,
    CHILD_STALL_MS = 60000,
    CHILD_ARENA_BYTES = 16 << 20,
    CHILD_ARGUMENTS_MAX = 32,
    POLL_MS_LEAST = 5,
    POLL_MS_MOST = 200,
};

static double clock_seconds(clockid_t clock)
{
    struct timespec now;

    if (clock_gettime(clock, &now) != 0)
        return 0;
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

const char *cli_bench_child__allocator(char name[BENCH_NAME_BYTES])
{
    Dl_info info = {0};
    void *address = dlsym(RTLD_DEFAULT, "malloc");
    const char *file = address && dladdr(address, &info) && info.dli_fname ? info.dli_fname : "unknown";
    const char *slash = strrchr(file, '/');

    if (strstr(file, "jemalloc"))
        file = "jemalloc";
    else if (strstr(file, "/libc.so") || strstr(file, "/libc-"))
        file = "glibc";
    else if (slash)
        file = slash + 1;
    snprintf(name, BENCH_NAME_BYTES, "%s", file);
    return name;
}

/* ---- A node ---- */

struct watch {
    struct cli_node node;
    struct fr_arena *arena;
    uint64_t applied, entities, memory_bytes;
    bool is_ready; /* and has no lag */
    int64_t next_offsets[BENCH_PARTITIONS];
};

static bool look(struct watch *watch, struct fr_err *err)
{
    const Freshet__V1__StatusResponse *status;
    struct fr_buffer reply;
    bool is_good = false;

    fr_buffer_init(&reply);
    fr_arena_reset(watch->arena, CHILD_ARENA_BYTES);
    if (cli_client__call(&watch->node, "freshet.v1.AdminService/Status", fr_slice_of("{}"), CHILD_CALL_MS, &reply, err)) {
        status = (const Freshet__V1__StatusResponse *)proto_json_parse(&freshet__v1__status_response__descriptor,
                                                                       fr_buffer_slice(&reply), watch->arena, err);
        if (status) {
            watch->applied = status->applied_events;
            watch->entities = status->entities;
            watch->memory_bytes = status->memory_bytes;
            watch->is_ready = status->ready && status->lag_events == 0;
            for (size_t i = 0; i < status->n_partitions && i < BENCH_PARTITIONS; i++)
                watch->next_offsets[status->partitions[i]->partition % BENCH_PARTITIONS] = status->partitions[i]->next_offset;
            is_good = true;
        }
    }
    fr_buffer_fini(&reply);
    return is_good;
}

bool cli_bench_child__look(const char *api, struct cli_bench_look *look_at, struct fr_err *err)
{
    struct watch watch = {.node.api = api, .arena = fr_arena_new(CHILD_ARENA_BYTES)};
    bool is_good = watch.arena ? look(&watch, err) : fr_fail(err, FR_EXHAUSTED, "out of memory");

    if (is_good) {
        *look_at = (struct cli_bench_look){.applied = watch.applied, .is_caught_up = watch.is_ready};
        memcpy(look_at->next_offsets, watch.next_offsets, sizeof look_at->next_offsets);
    }
    fr_arena_free(watch.arena);
    return is_good;
}

/* Asks seldom, and closer to the end more often: each question costs the node some CPU. */
static bool wait_applied(struct watch *watch, uint64_t events, struct cli_progress *progress, struct fr_err *err)
{
    int64_t start_ms = fr_clock_monotonic_ms(), moved_ms = start_ms;
    uint64_t before = 0;

    for (;;) {
        int64_t now_ms, pause_ms = POLL_MS_LEAST * 4;

        if (!look(watch, err))
            return false;
        now_ms = fr_clock_monotonic_ms();
        cli_progress__show(progress, watch->applied, (int64_t)events, watch->applied);
        if (watch->applied >= events)
            return true;
        if (watch->applied != before) {
            pause_ms = (int64_t)((double)(events - watch->applied) / (double)watch->applied * (double)(now_ms - start_ms)) / 2;
            before = watch->applied;
            moved_ms = now_ms;
        } else if (now_ms - moved_ms > CHILD_STALL_MS) {
            return fr_fail(err, FR_UNAVAILABLE, "the node stands at %" PRIu64 " of %" PRIu64 " events for %d s", watch->applied,
                           events, CHILD_STALL_MS / 1000);
        }
        pause_ms = pause_ms < POLL_MS_LEAST ? POLL_MS_LEAST : pause_ms > POLL_MS_MOST ? POLL_MS_MOST : pause_ms;
        fr_clock_sleep_ms(pause_ms);
    }
}

bool cli_bench_child__wait(const char *api, uint64_t events, struct cli_progress *progress, struct fr_err *err)
{
    struct watch watch = {.node.api = api, .arena = fr_arena_new(CHILD_ARENA_BYTES)};
    bool is_good = watch.arena ? wait_applied(&watch, events, progress, err) : fr_fail(err, FR_EXHAUSTED, "out of memory");

    fr_arena_free(watch.arena);
    return is_good;
}

static bool drain(const struct cli_bench_process *child, const struct cli_bench_node *node, struct watch *watch,
                  struct cli_progress *progress, struct cli_bench_run *run, struct fr_err *err)
{
    clockid_t clock;
    double start_cpu, start_s;
    struct fr_buffer reply;
    bool is_durable;

    if (clock_getcpuclockid(child->pid, &clock) != 0)
        return fr_fail(err, FR_UNAVAILABLE, "the node's CPU clock cannot be read");
    start_cpu = clock_seconds(clock);
    start_s = clock_seconds(CLOCK_MONOTONIC);
    if (!wait_applied(watch, node->events, progress, err))
        return false;
    fr_buffer_init(&reply);
    is_durable = cli_client__call(&watch->node, "freshet.v1.AdminService/Checkpoint", fr_slice_of("{}"), CHILD_CHECKPOINT_MS,
                                  &reply, err);
    fr_buffer_fini(&reply);
    if (!is_durable)
        return false;
    run->cpu_seconds = clock_seconds(clock) - start_cpu;
    run->seconds = clock_seconds(CLOCK_MONOTONIC) - start_s;
    if (!look(watch, err)) /* after the epoch: nothing is dirty, no copies */
        return false;
    run->records = watch->applied;
    run->entities = watch->entities;
    run->memory_bytes = watch->memory_bytes;
    return true;
}

bool cli_bench_child__start(const struct cli_bench_node *node, struct cli_bench_process *child, char api[BENCH_API_BYTES],
                            struct fr_err *err)
{
    char brokers[512], topics[256], path[CLI_DIRECTORY_BYTES + 32], memory[64], line[1024];
    const char *arguments[CHILD_ARGUMENTS_MAX] = {"freshet", "run", "--config", node->config};
    const char *const sets[] = {brokers, topics, path, memory, "server.listen=127.0.0.1:0", "server.operations=127.0.0.1:0"};
    int count = 4;

    snprintf(brokers, sizeof brokers, "kafka.brokers=%s", node->brokers);
    snprintf(topics, sizeof topics, "kafka.topics=[{name: %s, format: protobuf}]", node->topic);
    snprintf(path, sizeof path, "store.path=%s/state", node->directory);
    snprintf(memory, sizeof memory, "store.memory=%s", node->memory);
    snprintf(child->log, sizeof child->log, "%s/log", node->directory);
    for (size_t i = 0; i < sizeof sets / sizeof *sets + BENCH_SETS_MAX; i++) {
        const char *set = i < BENCH_SETS_MAX ? node->sets[i] : sets[i - BENCH_SETS_MAX];

        if (!set)
            continue;
        arguments[count++] = "--set";
        arguments[count++] = set;
    }
    if (!cli_bench_process__start(child, NULL, arguments, environ, err))
        return false;
    if (cli_bench_process__line(child, CHILD_LINE_MS, line, sizeof line, err) &&
        (cli_bench_process__text(line, "api", api, BENCH_API_BYTES) ||
         fr_fail(err, FR_UNAVAILABLE, "the node's first line makes no sense: %.200s", line)))
        return true;
    cli_bench_process__give_up(child);
    return false;
}

void cli_bench_child__clear(const struct cli_bench_node *node)
{
    char path[CLI_DIRECTORY_BYTES + 32];

    snprintf(path, sizeof path, "%s/state", node->directory);
    cli_directory__remove(path);
    snprintf(path, sizeof path, "%s/log", node->directory);
    (void)remove(path);
}

bool cli_bench_child__node(const struct cli_bench_node *node, struct cli_progress *progress, struct cli_bench_run *run,
                           struct fr_err *err)
{
    char api[BENCH_API_BYTES];
    struct cli_bench_process child = {0};
    struct watch watch = {.node.api = api, .arena = fr_arena_new(CHILD_ARENA_BYTES)};
    bool is_good;

    *run = (struct cli_bench_run){0};
    if (!watch.arena)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    is_good = cli_bench_child__start(node, &child, api, err);
    if (is_good && drain(&child, node, &watch, progress, run, err))
        is_good = cli_bench_process__end(&child, SIGTERM, run, err);
    else if (is_good) {
        cli_bench_process__give_up(&child);
        is_good = false;
    }
    fr_arena_free(watch.arena);
    cli_bench_child__clear(node);
    return is_good;
}

/* ---- A bare consumer ---- */

bool cli_bench_child__bare(const char *brokers, const char *topic, bool is_glibc, const char *allocator,
                           struct cli_bench_run *run, struct fr_err *err)
{
    const char *const arguments[] = {"freshet", "bench", "bare", "--brokers", brokers, "--topic", topic, NULL};
    struct cli_bench_process child = {0};
    char line[1024], had[BENCH_NAME_BYTES];
    char preload[] = "LD_PRELOAD=libc.so.6 libstdc++.so.6";
    char **environment = is_glibc ? cli_bench_process__environment(preload) : environ;
    bool is_good;

    *run = (struct cli_bench_run){0};
    is_good = environment ? cli_bench_process__start(&child, NULL, arguments, environment, err)
                          : fr_fail(err, FR_EXHAUSTED, "out of memory");
    if (is_glibc)
        free(environment);
    if (!is_good)
        return false;
    if (!cli_bench_process__line(&child, CHILD_BARE_MS, line, sizeof line, err)) {
        cli_bench_process__give_up(&child);
        return false;
    }
    if (!cli_bench_process__end(&child, 0, run, err))
        return false;
    run->cpu_seconds = cli_bench_process__number(line, "cpu_seconds");
    run->seconds = cli_bench_process__number(line, "seconds");
    run->records = (uint64_t)cli_bench_process__number(line, "records");
    if (!cli_bench_process__text(line, "allocator", had, sizeof had))
        return fr_fail(err, FR_UNAVAILABLE, "the bare consumer's line makes no sense: %.200s", line);
    if (strcmp(had, allocator) != 0)
        return fr_fail(err, FR_PRECONDITION, "the bare consumer had the allocator %s, not %s", had, allocator);
    return true;
}

int cli_bench_child__bare_main(const struct cli_command *command, const char *brokers, const char *topic)
{
    double cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID), wall = clock_seconds(CLOCK_MONOTONIC);
    char allocator[BENCH_NAME_BYTES];
    struct ingest_bare bare;
    struct fr_err err;

    if (!ingest_bare_read(brokers, topic, NULL, 0, &bare, &err))
        return cli_command__fail(command, &err);
    cpu = clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu;
    wall = clock_seconds(CLOCK_MONOTONIC) - wall;
    printf("{\"records\":%" PRIu64 ",\"bytes\":%" PRIu64
           ",\"seconds\":%.6f,\"cpu_seconds\":%.6f,\"cpu_seconds_per_million\":%.4f,\"allocator\":\"%s\"}\n",
           bare.records, bare.bytes, wall, cpu, bare.records > 0 ? cpu * 1e6 / (double)bare.records : 0,
           cli_bench_child__allocator(allocator));
    fflush(stdout);
    _Exit(CLI_OK); /* the client is still open, and its end is no part of this */
}
