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
    CHILD_STOP_MS = 30000,
    CHILD_ARENA_BYTES = 16 << 20,
    CHILD_ARGUMENTS_MAX = 32,
    POLL_MS_LEAST = 5,
    POLL_MS_MOST = 200,
};

struct child {
    pid_t pid;
    int out; /* its stdout */
    char log[CLI_DIRECTORY_BYTES + 32]; /* its stderr; "": ours */
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

/* ---- Starting, reading, ending ---- */

/* Between fork() and exec(): only what is safe there. The child ends with us, however we end. */
static void become(const char *const *arguments, char *const *environment, int out, const char *log)
{
    int fd = *log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out, STDOUT_FILENO);
    if (fd >= 0)
        dup2(fd, STDERR_FILENO);
    execve("/proc/self/exe", (char *const *)arguments, environment);
    _exit(127);
}

/* Ours, with one more variable in place of one of that name. Freed by the caller; the texts are borrowed. */
static char **make_environment(char *variable)
{
    size_t count = 0, kept = 0, name_bytes = strcspn(variable, "=") + 1;
    char **copy;

    while (environ[count])
        count++;
    copy = calloc(count + 2, sizeof *copy);
    for (size_t i = 0; copy && i < count; i++) {
        if (strncmp(environ[i], variable, name_bytes) != 0)
            copy[kept++] = environ[i];
    }
    if (copy)
        copy[kept] = variable;
    return copy;
}

static bool start(struct child *child, const char *const *arguments, char *const *environment, struct fr_err *err)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return fr_fail(err, FR_EXHAUSTED, "cannot make a pipe: %s", strerror(errno));
    child->pid = fork();
    if (child->pid == 0)
        become(arguments, environment, ends[1], child->log);
    close(ends[1]);
    child->out = ends[0];
    if (child->pid > 0)
        return true;
    close(ends[0]);
    return fr_fail(err, FR_EXHAUSTED, "cannot start a process: %s", strerror(errno));
}

/* The last line of the log, for a message. */
static void read_last_words(const struct child *child, char *words, size_t capacity)
{
    FILE *file = *child->log ? fopen(child->log, "rb") : NULL;
    char line[400];

    snprintf(words, capacity, "it said nothing");
    while (file && fgets(line, sizeof line, file)) {
        line[strcspn(line, "\n")] = 0;
        if (*line)
            snprintf(words, capacity, "%s", line);
    }
    if (file)
        fclose(file);
}

static bool read_line(const struct child *child, int timeout_ms, char *line, size_t capacity, struct fr_err *err)
{
    int64_t until_ms = fr_clock_monotonic_ms() + timeout_ms;
    size_t length = 0;
    char words[400];

    for (;;) {
        struct pollfd poller = {.fd = child->out, .events = POLLIN};
        int64_t left_ms = until_ms - fr_clock_monotonic_ms();
        int ready = left_ms > 0 && !cli_signals__is_stopped() ? poll(&poller, 1, (int)left_ms) : 0;
        ssize_t got = ready > 0 ? read(child->out, line + length, capacity - 1 - length) : 0;

        if (cli_signals__is_stopped())
            return fr_fail(err, FR_CANCELLED, "stopped by a signal");
        if (ready < 0 && errno == EINTR)
            continue;
        if (got <= 0 || length + (size_t)got == capacity - 1)
            break;
        length += (size_t)got;
        line[length] = 0;
        if (line[length - 1] == '\n')
            return true;
    }
    read_last_words(child, words, sizeof words);
    return fr_fail(err, FR_UNAVAILABLE, "a child process ended or fell silent: %s", words);
}

/* Ends it (a node by itself, within its time) and takes what the kernel counted. */
static bool end(struct child *child, int signal_number, struct cli_bench_run *run, struct fr_err *err)
{
    int64_t until_ms = fr_clock_monotonic_ms() + CHILD_STOP_MS;
    struct rusage usage = {0};
    int status = 0;
    char words[400];

    if (signal_number)
        kill(child->pid, signal_number);
    while (wait4(child->pid, &status, WNOHANG, &usage) == 0) {
        if (fr_clock_monotonic_ms() > until_ms)
            kill(child->pid, SIGKILL);
        fr_clock_sleep_ms(5);
    }
    close(child->out);
    run->total_cpu_seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                             (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    run->peak_bytes = (uint64_t)usage.ru_maxrss * 1024;
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return true;
    read_last_words(child, words, sizeof words);
    return fr_fail(err, FR_UNAVAILABLE, "a child process failed: %s", words);
}

static void give_up(struct child *child)
{
    struct cli_bench_run ignored;
    struct fr_err err;

    if (!end(child, SIGKILL, &ignored, &err))
        err.code = 0; /* it was killed: what failed before is told */
}

/* "name":"text" of a flat object that we printed ourselves. */
static bool take_text(const char *json, const char *name, char *out, size_t capacity)
{
    char quoted[64];
    const char *at;
    size_t length;

    snprintf(quoted, sizeof quoted, "\"%s\":\"", name);
    at = strstr(json, quoted);
    length = at ? strcspn(at + strlen(quoted), "\"") : 0;
    if (!at || length >= capacity)
        return false;
    memcpy(out, at + strlen(quoted), length);
    out[length] = 0;
    return true;
}

static double take_number(const char *json, const char *name)
{
    char quoted[64];
    const char *at;

    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    at = strstr(json, quoted);
    return at ? strtod(at + strlen(quoted), NULL) : 0;
}

/* ---- A node ---- */

struct watch {
    struct cli_node node;
    struct fr_arena *arena;
    uint64_t applied, entities, memory_bytes;
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
            is_good = true;
        }
    }
    fr_buffer_fini(&reply);
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

static bool drain(const struct child *child, const struct cli_bench_node *node, struct watch *watch,
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

bool cli_bench_child__node(const struct cli_bench_node *node, struct cli_progress *progress, struct cli_bench_run *run,
                           struct fr_err *err)
{
    char brokers[512], topics[256], path[CLI_DIRECTORY_BYTES + 32], memory[64], line[1024], api[256];
    const char *arguments[CHILD_ARGUMENTS_MAX] = {"freshet", "run", "--config", node->config};
    const char *const sets[] = {brokers, topics, path, memory, "server.listen=127.0.0.1:0", "server.operations=127.0.0.1:0"};
    struct child child = {0};
    struct watch watch = {.node.api = api, .arena = fr_arena_new(CHILD_ARENA_BYTES)};
    bool is_good;
    int count = 4;

    snprintf(brokers, sizeof brokers, "kafka.brokers=%s", node->brokers);
    snprintf(topics, sizeof topics, "kafka.topics=[{name: %s, format: protobuf}]", node->topic);
    snprintf(path, sizeof path, "store.path=%s/state", node->directory);
    snprintf(memory, sizeof memory, "store.memory=%s", node->memory);
    snprintf(child.log, sizeof child.log, "%s/log", node->directory);
    for (size_t i = 0; i < sizeof sets / sizeof *sets; i++) {
        arguments[count++] = "--set";
        arguments[count++] = sets[i];
    }
    *run = (struct cli_bench_run){0};
    if (!watch.arena)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    if (!start(&child, arguments, environ, err)) {
        fr_arena_free(watch.arena);
        return false;
    }
    is_good = read_line(&child, CHILD_LINE_MS, line, sizeof line, err);
    if (is_good && !take_text(line, "api", api, sizeof api))
        is_good = fr_fail(err, FR_UNAVAILABLE, "the node's first line makes no sense: %.200s", line);
    is_good = is_good && drain(&child, node, &watch, progress, run, err);
    if (is_good)
        is_good = end(&child, SIGTERM, run, err);
    else
        give_up(&child);
    fr_arena_free(watch.arena);
    cli_directory__remove(path + strlen("store.path="));
    (void)remove(child.log);
    return is_good;
}

/* ---- A bare consumer ---- */

bool cli_bench_child__bare(const char *brokers, const char *topic, bool is_glibc, const char *allocator,
                           struct cli_bench_run *run, struct fr_err *err)
{
    const char *const arguments[] = {"freshet", "bench", "bare", "--brokers", brokers, "--topic", topic, NULL};
    struct child child = {0};
    char line[1024], had[BENCH_NAME_BYTES];
    char preload[] = "LD_PRELOAD=libc.so.6 libstdc++.so.6";
    char **environment = is_glibc ? make_environment(preload) : environ;
    bool is_good;

    *run = (struct cli_bench_run){0};
    is_good = environment ? start(&child, arguments, environment, err) : fr_fail(err, FR_EXHAUSTED, "out of memory");
    if (is_glibc)
        free(environment);
    if (!is_good)
        return false;
    if (!read_line(&child, CHILD_BARE_MS, line, sizeof line, err)) {
        give_up(&child);
        return false;
    }
    if (!end(&child, 0, run, err))
        return false;
    run->cpu_seconds = take_number(line, "cpu_seconds");
    run->seconds = take_number(line, "seconds");
    run->records = (uint64_t)take_number(line, "records");
    if (!take_text(line, "allocator", had, sizeof had))
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

    if (!ingest_bare_read(brokers, topic, &bare, &err))
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
