/*
 * The processes that a benchmark measures or is measured by: this binary again, or a peer's. They end with us, however we end.
 */
#include "bench.h"

#include <freshet/clock.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { STOP_MS = 30000 };

double cli_bench_process__cpu(const struct cli_bench_process *process)
{
    struct timespec now;
    clockid_t clock;

    if (clock_getcpuclockid(process->pid, &clock) != 0 || clock_gettime(clock, &now) != 0)
        return 0;
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The first word of a file of one line; false when it can't be read. */
static bool read_word(const char *folder, const char *thread, const char *name, char word[64])
{
    char path[512];
    FILE *file;
    bool is_read;

    snprintf(path, sizeof path, "%s/%s/%s", folder, thread, name);
    file = fopen(path, "r");
    is_read = file && fscanf(file, "%63s", word) == 1;
    if (file)
        fclose(file);
    return is_read;
}

double cli_bench_process__loops_cpu(const struct cli_bench_process *process)
{
    char folder[64], word[64];
    const struct dirent *thread;
    double seconds = 0;
    DIR *threads;

    snprintf(folder, sizeof folder, "/proc/%d/task", (int)process->pid);
    threads = opendir(folder);
    while (threads && (thread = readdir(threads))) {
        if (read_word(folder, thread->d_name, "comm", word) && strcmp(word, "loop") == 0 &&
            read_word(folder, thread->d_name, "schedstat", word))
            seconds += strtod(word, NULL) / 1e9;
    }
    if (threads)
        closedir(threads);
    return seconds;
}

/* Between fork() and exec(): only what is safe there. The child ends with us, however we end. */
static void become(const char *program, const char *const *arguments, char *const *environment, int out, const char *log)
{
    int fd = *log ? open(log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600) : -1;

    prctl(PR_SET_PDEATHSIG, SIGKILL);
    dup2(out, STDOUT_FILENO);
    if (fd >= 0)
        dup2(fd, STDERR_FILENO);
    execve(program, (char *const *)arguments, environment);
    _exit(127);
}

char **cli_bench_process__environment(char *variable)
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

bool cli_bench_process__start(struct cli_bench_process *child, const char *program, const char *const *arguments,
                              char *const *environment, struct fr_err *err)
{
    int ends[2];

    if (pipe2(ends, O_CLOEXEC) != 0)
        return fr_fail(err, FR_EXHAUSTED, "cannot make a pipe: %s", strerror(errno));
    child->pid = fork();
    if (child->pid == 0)
        become(program ? program : "/proc/self/exe", arguments, environment, ends[1], child->log);
    close(ends[1]);
    child->out = ends[0];
    if (child->pid > 0)
        return true;
    close(ends[0]);
    return fr_fail(err, FR_EXHAUSTED, "cannot start a process: %s", strerror(errno));
}

/* The last line of the log, for a message. */
static void read_last_words(const struct cli_bench_process *child, char *words, size_t capacity)
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

bool cli_bench_process__line(const struct cli_bench_process *child, int timeout_ms, char *line, size_t capacity,
                             struct fr_err *err)
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

bool cli_bench_process__end(struct cli_bench_process *child, int signal_number, struct cli_bench_run *run, struct fr_err *err)
{
    int64_t until_ms = fr_clock_monotonic_ms() + STOP_MS;
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

void cli_bench_process__give_up(struct cli_bench_process *child)
{
    struct cli_bench_run ignored;
    struct fr_err err;

    if (!cli_bench_process__end(child, SIGKILL, &ignored, &err))
        err.code = 0; /* it was killed: what failed before is told */
}

bool cli_bench_process__text(const char *json, const char *name, char *out, size_t capacity)
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

double cli_bench_process__number(const char *json, const char *name)
{
    char quoted[64];
    const char *at;

    snprintf(quoted, sizeof quoted, "\"%s\":", name);
    at = strstr(json, quoted);
    return at ? strtod(at + strlen(quoted), NULL) : 0;
}
