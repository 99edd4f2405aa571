/*
 * Examples as text, as Vowpal Wabbit reads it, learned by one thread: by the learner, and by a plain loop that does nothing but FTRL.
 */
#include <freshet/bench.h>
#include <freshet/clock.h>
#include <freshet/learner.h>

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BATCH = 512, FEATURES_MAX = LEARNER_SPARSE_MAX, BLOCK_BYTES = 1 << 18 };
#define MASK ((UINT64_C(1) << BENCH_L1_BITS) - 1)

struct learn_text { /* examples of a file, a batch at a time */
    FILE *file;
    char *at, *end; /* of what is read and not looked at yet; a line's end stands behind it */
    bool is_over; /* nothing more is to be read */
    int features; /* of the first line, and so of all */
    uint64_t coordinates[BATCH][FEATURES_MAX];
    float labels[BATCH];
    char bytes[BLOCK_BYTES + 1];
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

bool bench_l1_write(const char *path, uint64_t count, struct fr_err *err)
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

/* More of the file behind what is left; false when a line does not fit. */
static bool refill(struct learn_text *text)
{
    size_t left = text->at ? (size_t)(text->end - text->at) : 0, got;

    if (left == BLOCK_BYTES)
        return false;
    if (left > 0)
        memmove(text->bytes, text->at, left);
    got = fread(text->bytes + left, 1, BLOCK_BYTES - left, text->file);
    text->is_over = left + got < BLOCK_BYTES;
    text->at = text->bytes;
    text->end = text->bytes + left + got;
    *text->end = '\n';
    return true;
}

/* Whether a whole line lies at text->at. */
static bool has_line(struct learn_text *text)
{
    while (!text->at || !memchr(text->at, '\n', (size_t)(text->end - text->at))) {
        if (text->is_over)
            return text->at < text->end; /* the last one, without an end of its own */
        if (!refill(text))
            return false;
    }
    return true;
}

/* A label, a bar, numbers: how many; −1 when it is none of that. */
static int read_line(struct learn_text *text, float *label, uint64_t *coordinates)
{
    const char *at = text->at;
    int count = 0;

    *label = *at == '1' ? 1.0F : 0.0F;
    while (*at != '|' && *at != '\n')
        at++;
    at = *at == '|' ? at + 1 : text->at;
    while (*at != '\n' && count < FEATURES_MAX) {
        uint64_t number = 0;
        unsigned digit;

        while (*at == ' ')
            at++;
        for (; (digit = (unsigned)(*at - '0')) < 10; at++)
            number = number * 10 + digit;
        coordinates[count++] = LEARNER_SPARSE_BASE + (number & MASK);
        if (*at != ' ' && *at != '\n')
            return -1;
    }
    while (*at != '\n')
        at++;
    text->at += at - text->at + (at < text->end);
    return count;
}

/* The next batch; 0 at the end, −1: a line that is none. */
static int read_batch(struct learn_text *text)
{
    int count = 0;

    while (count < BATCH && has_line(text)) {
        int features = read_line(text, &text->labels[count], text->coordinates[count]);

        if (text->features == 0)
            text->features = features;
        if (features < 1 || features != text->features)
            return -1;
        count++;
    }
    return text->is_over || count == BATCH ? count : -1;
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

bool bench_learn_ours(const char *path, int factors, struct bench_learn_cost *cost, struct fr_err *err)
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

    *cost = (struct bench_learn_cost){0};
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
            cost->loss += log_loss(probabilities[i], (double)text->labels[i]);
        cost->examples += (uint64_t)count;
    }
    cost->cpu_seconds = cpu_seconds() - before;
    cost->seconds = (double)(fr_clock_monotonic_us() - start_us) / 1e6;
    cost->loss /= cost->examples ? (double)cost->examples : 1;
    if (text && text->file)
        fclose(text->file);
    free(text);
    learner_alone_free(alone);
    if (!is_good)
        return fr_fail(err, FR_UNAVAILABLE, "cannot read %s: %s", path, strerror(errno));
    return (count == 0 && cost->examples > 0) || fail_line(path, err);
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
bool bench_learn_plain(const char *path, struct bench_learn_cost *cost, struct fr_err *err)
{
    struct learn_text *text = calloc(1, sizeof *text);
    double before = cpu_seconds();
    int64_t start_us = fr_clock_monotonic_us();
    float(*weights)[2] = calloc(MASK + 1, sizeof *weights);
    bool is_good = text && weights && (text->file = fopen(path, "r"));
    int count = 0;

    *cost = (struct bench_learn_cost){0};
    while (is_good && (count = read_batch(text)) > 0) {
        for (int i = 0; i < count; i++) {
            uint64_t *coordinates = text->coordinates[i];

            cost->loss +=
                log_loss(plain_step(weights, coordinates, text->features, (double)text->labels[i]), (double)text->labels[i]);
        }
        cost->examples += (uint64_t)count;
    }
    cost->cpu_seconds = cpu_seconds() - before;
    cost->seconds = (double)(fr_clock_monotonic_us() - start_us) / 1e6;
    cost->loss /= cost->examples ? (double)cost->examples : 1;
    if (text && text->file)
        fclose(text->file);
    free(text);
    free(weights);
    return is_good || fr_fail(err, FR_UNAVAILABLE, "cannot read %s: %s", path, strerror(errno));
}
