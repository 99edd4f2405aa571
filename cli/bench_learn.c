/*
 * The learning benchmark: one thread reads examples as text and learns them, each judged before it is learned; beside Vowpal Wabbit
 * on the same file, when a Python with it is at hand, and a plain loop that does nothing but FTRL.
 */
#include "bench.h"

#include <freshet/bench.h>
#include <freshet/clock.h>
#include <freshet/learner.h>

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { L1_EXAMPLES = 1000000, BATCH = 512, FEATURES_MAX = LEARNER_SPARSE_MAX, LINE_BYTES = 4096, NO_PEER = 3 };
#define MASK ((UINT64_C(1) << BENCH_L1_BITS) - 1)

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

struct learn_run {
    double seconds, cpu_seconds, loss;
    uint64_t examples;
};

struct learn_text { /* examples of a file, a batch at a time */
    FILE *file;
    char line[LINE_BYTES];
    int features; /* of the first line, and so of all */
    uint64_t coordinates[BATCH][FEATURES_MAX];
    float labels[BATCH];
};

static double cpu_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double log_loss(double probability, double label)
{
    double p = fmin(1 - 1e-7, fmax(1e-7, probability));

    return -(label * log(p) + (1 - label) * log(1 - p));
}

/* ---- the file ---- */

static bool write_l1(const char *path, uint64_t count, struct fr_err *err)
{
    struct bench_l1 *l1 = bench_l1_new(count);
    FILE *file = fopen(path, "w");
    uint64_t coordinates[BENCH_L1_FEATURES];
    double probability;
    int label;
    bool is_good = l1 && file;

    while (is_good && bench_l1_next(l1, coordinates, &label, &probability)) {
        is_good = fprintf(file, label ? "1 |" : "-1 |") > 0;
        for (int i = 0; i < BENCH_L1_FEATURES && is_good; i++)
            is_good = fprintf(file, " %" PRIu64, coordinates[i]) > 0;
        is_good = is_good && fputc('\n', file) == '\n';
    }
    is_good = (!file || fclose(file) == 0) && is_good;
    bench_l1_free(l1);
    return is_good || fr_fail(err, FR_UNAVAILABLE, "cannot write %s: %s", path, strerror(errno));
}

static int read_line(struct learn_text *text, float *label, uint64_t *coordinates)
{
    char *at = text->line;
    int count = 0;

    *label = *at == '1' ? 1.0F : 0.0F;
    at = strchr(at, '|');
    for (at = at ? at + 1 : text->line; *at && *at != '\n' && count < FEATURES_MAX;) {
        uint64_t number = 0;

        while (*at == ' ')
            at++;
        for (; *at >= '0' && *at <= '9'; at++)
            number = number * 10 + (uint64_t)(*at - '0');
        coordinates[count++] = LEARNER_SPARSE_BASE + (number & MASK);
        if (*at && *at != ' ' && *at != '\n')
            return -1;
    }
    return count;
}

/* The next batch; 0 at the end, −1: a line that is none. */
static int read_batch(struct learn_text *text)
{
    int count = 0;

    while (count < BATCH && fgets(text->line, sizeof text->line, text->file)) {
        int features = read_line(text, &text->labels[count], text->coordinates[count]);

        if (text->features == 0)
            text->features = features;
        if (features < 1 || features != text->features)
            return -1;
        count++;
    }
    return count;
}

/* ---- the runs ---- */

static struct learner_alone *make_alone(int features, int factors, struct learner_model *model, struct learner_schema *schema)
{
    static struct learner_task task = {.name = "label", .negatives = 1};

    *model =
        (struct learner_model){.name = "bench", .bits = BENCH_L1_BITS, .factors = factors, .tasks = &task, .task_count = 1};
    model->optimiser = (struct learner_optimiser){
        .alpha = 0.1, .beta = 1, .factor_rate = 0.05, .factor_l2 = 1e-5, .admit = 1, .admit_factors = 10};
    *schema = (struct learner_schema){.hash = 1, .model = model, .sparse_count = features};
    return learner_alone_new(schema);
}

static bool fail_line(const char *path, struct fr_err *err)
{
    return fr_fail(err, FR_BAD_INPUT,
                   "%s: each line should be a label, 1 or -1, a bar and as many numbers as the first, \"1 | 17 4\"", path);
}

static bool run_ours(const char *path, int factors, struct learn_run *run, struct fr_err *err)
{
    struct learn_text *text = calloc(1, sizeof *text);
    struct learner_alone *alone = NULL;
    struct learner_example examples[BATCH];
    double probabilities[BATCH], before = cpu_seconds();
    int64_t start_us = fr_clock_monotonic_us();
    struct learner_model model;
    struct learner_schema schema;
    int count = -1;
    bool is_good;

    *run = (struct learn_run){0};
    is_good = text && (text->file = fopen(path, "r"));
    while (is_good && (count = read_batch(text)) > 0) {
        if (!alone)
            alone = make_alone(text->features, factors, &model, &schema);
        is_good = alone != NULL;
        for (int i = 0; i < count; i++)
            examples[i] = (struct learner_example){
                .sparse = text->coordinates[i], .sparse_count = text->features, .label = text->labels[i], .weight = 1};
        if (is_good)
            learner_alone_learn(alone, examples, count, probabilities);
        for (int i = 0; i < count && is_good; i++)
            run->loss += log_loss(probabilities[i], (double)text->labels[i]);
        run->examples += (uint64_t)count;
    }
    run->cpu_seconds = cpu_seconds() - before;
    run->seconds = (double)(fr_clock_monotonic_us() - start_us) / 1e6;
    run->loss /= run->examples ? (double)run->examples : 1;
    if (text && text->file)
        fclose(text->file);
    free(text);
    learner_alone_free(alone);
    if (!is_good)
        return fr_fail(err, FR_UNAVAILABLE, "cannot read %s: %s", path, strerror(errno));
    return (count == 0 && run->examples > 0) || fail_line(path, err);
}

/* One example of the plain loop: its probability before it is learned. */
static double plain_step(float (*weights)[2], const uint64_t *coordinates, int count, double label)
{
    double w[FEATURES_MAX], logit = 0, p;

    for (int i = 0; i < count; i++) {
        const float *weight = weights[coordinates[i] & MASK];

        w[i] = -(double)weight[0] / ((1 + sqrt((double)weight[1])) / 0.1);
        logit += w[i];
    }
    p = 1 / (1 + exp(-logit));
    for (int i = 0; i < count; i++) {
        float *weight = weights[coordinates[i] & MASK];
        double n = (double)weight[1], g = p - label;

        weight[0] += (float)(g - (sqrt(n + g * g) - sqrt(n)) / 0.1 * w[i]);
        weight[1] += (float)(g * g);
    }
    return p;
}

/* Nothing but FTRL over an array, from the same text: what can be had. */
static bool run_plain(const char *path, struct learn_run *run, struct fr_err *err)
{
    struct learn_text *text = calloc(1, sizeof *text);
    double before = cpu_seconds();
    int64_t start_us = fr_clock_monotonic_us();
    float(*weights)[2] = calloc(MASK + 1, sizeof *weights);
    bool is_good = text && weights && (text->file = fopen(path, "r"));
    int count = 0;

    *run = (struct learn_run){0};
    while (is_good && (count = read_batch(text)) > 0) {
        for (int i = 0; i < count; i++) {
            uint64_t *coordinates = text->coordinates[i];

            run->loss +=
                log_loss(plain_step(weights, coordinates, text->features, (double)text->labels[i]), (double)text->labels[i]);
        }
        run->examples += (uint64_t)count;
    }
    run->cpu_seconds = cpu_seconds() - before;
    run->seconds = (double)(fr_clock_monotonic_us() - start_us) / 1e6;
    run->loss /= run->examples ? (double)run->examples : 1;
    if (text && text->file)
        fclose(text->file);
    free(text);
    free(weights);
    return is_good || fr_fail(err, FR_UNAVAILABLE, "cannot read %s: %s", path, strerror(errno));
}

/* False without an error: there is none at hand. */
static bool run_vw(const char *python, const char *path, struct learn_run *run)
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

static double per_cpu_second(const struct learn_run *run)
{
    return (double)run->examples / run->cpu_seconds;
}

static void add_details(struct cli_bench_report *report, const char *name, const struct learn_run *run)
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
    struct learn_run ours = {0}, plain = {0}, vw = {0};
    bool has_vw = true;

    for (uint64_t i = 0; i < bench->pairs; i++) {
        if (cli_signals__is_stopped())
            return fr_fail(err, FR_CANCELLED, "stopped by a signal");
        if (!run_ours(path, 0, &ours, err) || !run_plain(path, &plain, err))
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
    if (!run_ours(path, 8, &ours, err))
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
        if (!write_l1(path, bench->events ? bench->events : L1_EXAMPLES, err))
            return false;
        file = path;
    }
    if (!run_pairs(bench, file, report, err))
        return false;
    fr_buffer_append_text(&report->notes, "  All read the same text; CPU seconds of all threads, reading included.\n");
    cli_bench_plot__bars(report, svg);
    return true;
}
