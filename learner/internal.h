/*
 * What the files of the learner share. The thread in learner.c owns lines; of a line the trainer and the validation are its alone,
 * the serving table is written by it and read by any thread.
 */
#ifndef LEARNER_INTERNAL_H
#define LEARNER_INTERNAL_H

#include <freshet/learner.h>

#include <stdatomic.h>

enum { LEARNER_HUGE_BYTES = 16 << 20 };

#define LEARNER_X_MOST 20.0 /* a transformed dense value is clipped to ± this */
#define LEARNER_LOGIT_MOST 35.0 /* a logit, before it becomes a probability */
#define LEARNER_GRADIENT_MOST 100.0 /* of one example, in logits */
#define LEARNER_WEIGHT_MOST 10000.0 /* of one example; more is refused */
#define LEARNER_PARAMETER_MOST 1000.0 /* a pushed weight or gradient; more is refused */
#define LEARNER_PRIOR_VARIANCE 0.25 /* of a weight that nothing is known of */

/* ---- slab.c: records of one size by number, that never move ---- */

struct learner_slab {
    size_t stride;
    uint8_t *records; /* all zero until written */
    uint32_t most;
};

FR_CHECKED bool learner_slab__init(struct learner_slab *slab, size_t stride, uint32_t most);
void learner_slab__fini(struct learner_slab *slab);

static inline void *learner_slab__at(const struct learner_slab *slab, uint32_t number)
{
    return slab->records + number * slab->stride;
}

/* Zeroed memory that is taken as it is touched; NULL when there is no room for it. */
void *learner_slab__reserve(size_t bytes);
void learner_slab__release(void *memory, size_t bytes);

/* ---- batch.c: examples on their way ---- */

enum { LEARNER_BATCH_EXAMPLES = 1024 };

struct learner_batch {
    struct fr_arena *arena;
    int64_t position;
    int count;
    struct learner_example examples[LEARNER_BATCH_EXAMPLES];
};

/* ---- optimiser.c: one step, in doubles ---- */

/* FTRL-proximal of one weight: state (z, n), and the weight that follows from it. */
struct learner_weight {
    float z, n, w;
};

void learner_ftrl__step(const struct learner_optimiser *optimiser, struct learner_weight *weight, double gradient);
/* The same step for weights[0..count), of which none is there twice. */
void learner_ftrl__steps(const struct learner_optimiser *optimiser, struct learner_weight *const *weights, int count,
                         double gradient);
/* Makes the weight be `w`, keeping what is known of it. */
void learner_ftrl__set(const struct learner_optimiser *optimiser, struct learner_weight *weight, float w);
/* How uncertain a weight is: the larger of what its gradients tell and what its last steps move it by. */
double learner_ftrl__variance(const struct learner_optimiser *optimiser, const struct learner_weight *weight);

/* AdaGrad of one factor. */
void learner_adagrad__step(const struct learner_optimiser *optimiser, float *v, float *sum, double gradient);

/* ---- logit.c: sums in declared order, without FMA: what a pulled copy has to repeat ---- */

struct learner_standard { /* of one dense column */
    double mean, scale;
};

/* The value as the linear part sees it. */
double learner_logit__x(enum learner_transform transform, const struct learner_standard *standard, float value);

/* sum + Σ weight[i] × x[i], left to right. `stride` is in floats. */
double learner_logit__dot(double sum, const float *weights, size_t stride, const double *x, int count);

/* sum + Σ of the weights that are there (NULL: none), left to right. */
double learner_logit__sum(double sum, const float *const *weights, int count);

/* ½ Σ_f ((Σ v)² − Σ v²) over the rows of factors that are there. */
double learner_logit__pairs(const float *const *factors, int count, int width);

double learner_probability(double logit); /* clipped to ±35 first */

/* ---- trainer.c: what is learned ---- */

struct learner_row { /* of a sparse coordinate; weights[task_count] follow */
    uint32_t coordinate; /* + 1; 0: free */
    uint32_t touched_s; /* event time of the last example that named it */
    uint32_t factors; /* number in the slab of factors, 0: none */
    uint16_t count; /* examples since it was admitted, until factors are made */
    bool is_changed; /* since the last version */
    struct learner_weight weights[];
};

struct learner_moments { /* of a dense column, over the last million examples or so */
    double count, mean, squares;
};

struct learner_trainer {
    const struct learner_schema *schema;
    struct learner_optimiser optimiser;
    int tasks, factors, dense;
    uint32_t coordinates; /* 2^bits */
    _Atomic uint32_t *index; /* coordinate → row, 0: none; readers of the serving table look too */
    uint8_t *seen; /* examples before admission; NULL when the first admits */
    struct learner_slab rows; /* struct learner_row */
    struct learner_slab pairs; /* factors: v[factors], then AdaGrad's sums[factors] */
    uint32_t row_end, pair_end; /* numbers given out so far + 1 */
    uint32_t row_count; /* alive */
    uint32_t *free_rows, *free_pairs;
    uint32_t free_row_count, free_row_room, free_pair_count, free_pair_room;
    uint32_t *changed; /* rows with is_changed */
    uint32_t changed_count, changed_room;
    uint32_t *expired; /* rows that are gone with the next version: their numbers are free after it */
    uint32_t expired_count, expired_room;
    uint32_t sweep; /* the next row to look at */
    int64_t newest_ms; /* event time of the latest example */
    struct learner_weight *fixed; /* [1 + dense][tasks]: the intercept, then dense columns */
    struct learner_moments *moments;
    uint64_t learned;
    /* of one example */
    double *x;
    struct learner_row **found;
    const float **pointers;
    struct learner_weight **steps;
    double *sums;
};

FR_CHECKED bool learner_trainer__init(struct learner_trainer *trainer, const struct learner_schema *schema,
                                      const struct learner_optimiser *optimiser);
void learner_trainer__fini(struct learner_trainer *trainer);
/* Goes on by other settings. False: out of memory, nothing is changed. */
FR_CHECKED bool learner_trainer__settings(struct learner_trainer *trainer, const struct learner_optimiser *optimiser);

/* The probability before learning, with log_rate in it; learns unless `is_frozen`. The example is checked already. */
double learner_trainer__learn(struct learner_trainer *trainer, const struct learner_example *example, bool is_frozen,
                              double *importance);
void learner_trainer__prefetch(const struct learner_trainer *trainer, const struct learner_example *example);
void learner_trainer__prefetch_rows(const struct learner_trainer *trainer, const struct learner_example *example);

/* Whether the example can be learned: its rows' lengths, finite numbers, a label in [0, 1], coordinates of the model. */
bool learner_trainer__accepts(const struct learner_trainer *trainer, const struct learner_example *example);

/* The row of a sparse coordinate, made if missing; NULL when out of memory. */
struct learner_row *learner_trainer__row(struct learner_trainer *trainer, uint32_t coordinate);
/* Its factors, made if missing; NULL when out of memory. */
float *learner_trainer__factors(struct learner_trainer *trainer, struct learner_row *row);
void learner_trainer__mark(struct learner_trainer *trainer, uint32_t number, struct learner_row *row);

/* Goes with the next version. */
void learner_trainer__drop(struct learner_trainer *trainer, uint32_t number);

/* Looks at the next rows; those that no example named for so long are dropped with the next version. */
void learner_trainer__expire(struct learner_trainer *trainer, uint32_t most);

/* After both copies of the serving table have left the expired rows: their numbers may be used again. */
void learner_trainer__bury(struct learner_trainer *trainer);

void learner_trainer__standard(const struct learner_trainer *trainer, int column, struct learner_standard *standard);

static inline uint32_t learner_trainer__number(const struct learner_trainer *trainer, uint32_t coordinate)
{
    return atomic_load_explicit(&trainer->index[coordinate], memory_order_relaxed);
}

/* ---- serving.c: the last version, in two copies; one is read while the other is written ---- */

struct learner_served { /* a row; floats[tasks] weights, [factors], [tasks] variances follow */
    uint64_t version; /* that changed it last */
    uint32_t coordinate; /* + 1; 0: none */
    uint32_t unused;
    float floats[];
};

struct learner_change { /* of the log of what versions changed */
    uint64_t version;
    uint64_t id;
    uint32_t row; /* of a sparse coordinate */
};

struct learner_copy {
    uint64_t version, base_version; /* a pull from base_version or later can be a delta */
    int64_t published_ms;
    uint64_t digest_rows; /* Σ of the rows' hashes */
    uint64_t rows; /* sparse coordinates */
    struct learner_slab slab; /* struct learner_served, by the trainer's row numbers */
    uint32_t row_end;
    uint8_t *fixed; /* struct learner_served, 1 + dense of them */
    struct learner_standard *standards;
    struct learner_change *log; /* a ring of LEARNER_LOG_ENTRIES */
    uint64_t log_total; /* entries ever; the last LEARNER_LOG_ENTRIES are kept */
    struct learner_state state;
};

struct learner_serving {
    struct learner_copy copies[2];
    _Alignas(64) atomic_int active;
    _Alignas(64) atomic_int readers[2];
    int tasks, factors, dense;
    size_t stride; /* of a served row */
    const struct learner_schema *schema;
    const _Atomic uint32_t *index; /* the trainer's */
};

enum { LEARNER_LOG_ENTRIES = 1 << 18 };

FR_CHECKED bool learner_serving__init(struct learner_serving *serving, const struct learner_trainer *trainer, uint64_t version);

void learner_serving__fini(struct learner_serving *serving);

/*
 * Makes what the trainer changed since the last one a version, and `state` what is told of it; without changes the version stays.
 */
void learner_serving__publish(struct learner_serving *serving, struct learner_trainer *trainer,
                              const struct learner_state *state, int64_t now_ms);

/* A look at one version; short, and paired. Any thread. */
const struct learner_copy *learner_serving__enter(struct learner_serving *serving, int *side);
void learner_serving__leave(struct learner_serving *serving, int side);

static inline struct learner_served *learner_serving__fixed(const struct learner_serving *serving,
                                                            const struct learner_copy *copy, int number)
{
    return (struct learner_served *)(void *)(copy->fixed + (size_t)number * serving->stride);
}

/* A sparse coordinate's row of a copy; NULL when the version doesn't have it. */
const struct learner_served *learner_serving__find(const struct learner_serving *serving, const struct learner_copy *copy,
                                                   uint32_t coordinate);

uint64_t learner_serving__digest(const struct learner_serving *serving, const struct learner_copy *copy);

/* ---- validation.c: each prediction is judged before its example is learned ---- */

enum { LEARNER_BINS = 512 };

struct learner_judged { /* of one task; sums that fade: the last 20,000 examples count for about two thirds */
    double loss, weight, predicted, positive;
    double bins[2][LEARNER_BINS]; /* of logits, negatives and positives: for the AUC */
    double unit; /* what an example of now weighs in these sums */
    double quick_loss, quick_weight; /* the same over 1,000 */
    uint64_t examples, positives;
};

void learner_judged__init(struct learner_judged *judged);
void learner_judged__add(struct learner_judged *judged, double probability, double label, double weight);
struct learner_task_state learner_judged__state(const struct learner_judged *judged, const char *name);
/* Whether the quick log loss has left the band of the slow one. */
bool learner_judged__is_off(const struct learner_judged *judged);

/* ---- drift.c: whether examples look as they used to ---- */

enum { LEARNER_DRIFT_BINS = 96, LEARNER_SPANS = 2 /* of late, and of long */ };

struct learner_labels {
    double all, positive;
};

struct learner_span { /* sums that fade with event time; in units of what an example of base_ms weighs */
    int64_t half_ms; /* half-life */
    int64_t base_ms;
    double all;
    double *bins; /* of each dense column LEARNER_DRIFT_BINS */
    struct learner_labels labels[LEARNER_TASKS_MAX];
};

struct learner_drift {
    int columns, tasks;
    int64_t newest_ms;
    struct learner_span spans[LEARNER_SPANS];
};

/* False: out of memory; to be closed all the same. */
FR_CHECKED bool learner_drift__init(struct learner_drift *drift, const struct learner_schema *schema);
void learner_drift__fini(struct learner_drift *drift);
/* Looks at one example in eight, chosen by its id. */
void learner_drift__add(struct learner_drift *drift, const struct learner_example *example);
int learner_drift__bin(float value);
/* The population stability index of a dense column; 0 until both distributions have 100 examples. */
double learner_drift__column(const struct learner_drift *drift, int column);
struct learner_label_drift learner_drift__label(const struct learner_drift *drift, int task);
/* The columns with the greatest index, falling; how many of them are above 0. */
int learner_drift__greatest(const struct learner_drift *drift, const struct learner_schema *schema,
                            struct learner_column_drift *places, int most);

#endif
