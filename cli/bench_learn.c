/*
 * The learning benchmark: one thread reads examples as text and learns them, each judged before it is learned; beside Vowpal Wabbit
 * on the same file, when a Python with it is at hand, and a plain loop that does nothing but FTRL.
 */
#include "bench.h"

#include <freshet/bench.h>

#include <errno.h>
#include <inttypes.h>
#include <sys/wait.h>
#include <unistd.h>

enum { L1_EXAMPLES = 1000000, NO_PEER = 3 };

/* Exit 3: no Vowpal Wabbit. It learns while it is made; its own thread parses, so CPU seconds are of both. */
static const char vw_script[] =
    "import sys, json, resource, time\n"
    "try:\n"
    "    import vowpalwabbit\n"
    "except ImportError:\n"
    "    sys.exit(3)\n"
    "def cpu():\n"
    "    used = resource.getrusage(resource.RUSAGE_SELF)\n"
    "    return used.ru_utime + used.ru_stime\n"
    "before, start = cpu(), time.perf_counter()\n"
    "vw = vowpalwabbit.Workspace(f'-d {sys.argv[1]} -b 22 --ftrl --ftrl_alpha 0.1 --ftrl_beta 1 --loss_function logistic '\n"
    "                            '--quiet --no_stdin')\n"
    "count = vw.get_weighted_examples()\n"
    "print(time.perf_counter() - start, cpu() - before, count, vw.get_sum_loss() / count)\n";

/* ---- the runs ---- */

/* False without an error: there is none at hand. */
static bool run_vw(const char *python, const char *path, struct bench_learn_cost *run)
{
    char words[256] = {0};
    int ends[2], status = -1;
    double count = 0;
    size_t got = 0;
    pid_t child;

    if (pipe(ends) != 0)
        return false;
    child = fork();
    if (child == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        execlp(python, python, "-c", vw_script, path, (char *)NULL);
        _exit(NO_PEER);
    }
    close(ends[1]);
    for (ssize_t more = 1; child > 0 && more > 0 && got<sizeof words - 1; got += more> 0 ? (size_t)more : 0)
        more = read(ends[0], words + got, sizeof words - 1 - got);
    close(ends[0]);
    if (child < 0 || waitpid(child, &status, 0) != child || status != 0 ||
        sscanf(words, "%lf %lf %lf %lf", &run->seconds, &run->cpu_seconds, &count, &run->loss) != 4)
        return false;
    run->examples = (uint64_t)count;
    return run->examples > 0;
}

/* ---- telling ---- */

static double per_cpu_second(const struct bench_learn_cost *run)
{
    return (double)run->examples / run->cpu_seconds;
}

static void add_details(struct cli_bench_report *report, const char *name, const struct bench_learn_cost *run)
{
    fr_buffer_append_format(&report->details, ",\"%s\":{\"log_loss\":%.5f,\"seconds\":%.3f,\"cpu_seconds\":%.3f}", name,
                            run->loss, run->seconds, run->cpu_seconds);
    fr_buffer_append_format(&report->notes, "  %-14s progressive log loss %.5f, %.2f s, %.2f CPU s\n", name, run->loss,
                            run->seconds, run->cpu_seconds);
}

static void begin_report(struct cli_bench_report *report)
{
    report->unit = "examples per CPU second";
    report->ours_name = "ours";
    report->peer_count = 1;
    snprintf(report->peers[0].name, sizeof report->peers[0].name, "plain_loop");
    snprintf(report->peers[1].name, sizeof report->peers[1].name, "vowpal_wabbit");
}

static bool run_pairs(struct cli_bench *bench, const char *path, struct cli_bench_report *report, struct fr_err *err)
{
    const char *python = bench->python ? bench->python : "python3";
    struct bench_learn_cost ours = {0}, plain = {0}, vw = {0};
    bool has_vw = true;

    for (uint64_t i = 0; i < bench->pairs; i++) {
        if (cli_signals__is_stopped())
            return fr_fail(err, FR_CANCELLED, "stopped by a signal");
        fprintf(stderr, "  pair %" PRIu64 " of %" PRIu64 ": ours, a plain loop, vowpal_wabbit\n", i + 1, bench->pairs);
        if (!bench_learn_ours(path, 0, &ours, err) || !bench_learn_plain(path, &plain, err))
            return false;
        has_vw = has_vw && run_vw(python, path, &vw);
        report->ours[i] = per_cpu_second(&ours);
        report->peers[0].values[i] = per_cpu_second(&plain);
        report->peers[1].values[i] = has_vw ? per_cpu_second(&vw) : 0;
        report->pairs++;
    }
    report->peer_count = has_vw ? 2 : 1;
    add_details(report, "ours_last", &ours);
    add_details(report, "plain_loop_last", &plain);
    if (has_vw)
        add_details(report, "vowpal_wabbit_last", &vw);
    else
        fr_buffer_append_format(&report->notes,
                                "  vowpal_wabbit: skipped, '%s' has none; pip install vowpalwabbit, and --python\n", python);
    if (!bench_learn_ours(path, 8, &ours, err))
        return false;
    add_details(report, "ours_8_factors", &ours);
    return true;
}

bool cli_bench__learn(struct cli_bench *bench, struct cli_bench_report *report, struct fr_buffer *svg, struct fr_err *err)
{
    char path[CLI_DIRECTORY_BYTES + 32];
    const char *file = bench->file;

    begin_report(report);
    if (!file) {
        snprintf(path, sizeof path, "%s/l1.txt", bench->directory);
        if (!bench_l1_write(path, bench->events ? bench->events : L1_EXAMPLES, err))
            return false;
        file = path;
    }
    if (!run_pairs(bench, file, report, err))
        return false;
    fr_buffer_append_text(&report->notes, "  All read the same text; CPU seconds of all threads, reading included.\n");
    cli_bench_plot__bars(report, svg);
    return true;
}
