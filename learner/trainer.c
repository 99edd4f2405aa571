/*
 * What is learned: per coordinate and task (z, n) of FTRL-proximal, factors that all tasks share. Coordinates get a row when they
 * have been named often enough, factors later, and go when no example names them any more. One thread.
 */
#include "internal.h"

#include <freshet/text.h>

#include <math.h>
#include <stdlib.h>

#define FACTOR_AT_FIRST 0.02 /* factors begin within ± this: at 0 they would never move */
#define SERVED_MS_END INT64_C(4102444800000) /* as events' times */
#define MOMENTS_MOST 1e6 /* examples that mean and scale look back on */

/* ---- made and gone ---- */

bool learner_trainer__init(struct learner_trainer *trainer, const struct learner_schema *schema,
                           const struct learner_optimiser *optimiser)
{
    const struct learner_model *model = schema->model;
    size_t fixed = (size_t)schema->dense_count + 1, sparse = (size_t)schema->sparse_count + 1;
    size_t tasks = (size_t)model->task_count, factors = (size_t)model->factors;

    *trainer = (struct learner_trainer){.schema = schema,
                                        .optimiser = *optimiser,
                                        .tasks = model->task_count,
                                        .factors = model->factors,
                                        .dense = schema->dense_count,
                                        .coordinates = UINT32_C(1) << model->bits,
                                        .row_end = 1,
                                        .pair_end = 1,
                                        .sweep = 1};
    trainer->index = learner_slab__reserve(trainer->coordinates * sizeof *trainer->index);
    if (optimiser->admit > 1)
        trainer->seen = calloc(trainer->coordinates, 1);
    trainer->fixed = calloc(fixed * tasks, sizeof *trainer->fixed);
    trainer->moments = calloc(fixed, sizeof *trainer->moments);
    trainer->x = calloc(fixed, sizeof *trainer->x);
    trainer->found = calloc(sparse, sizeof *trainer->found);
    trainer->pointers = calloc(sparse, sizeof *trainer->pointers);
    trainer->steps = calloc(sparse, sizeof *trainer->steps);
    trainer->sums = calloc(factors + 1, sizeof *trainer->sums);
    return learner_slab__init(&trainer->rows, sizeof(struct learner_row) + tasks * sizeof(struct learner_weight),
                              trainer->coordinates + 1) &&
           learner_slab__init(&trainer->pairs, (2 * factors + 1) * sizeof(float), trainer->coordinates + 1) && trainer->index &&
           (trainer->seen || optimiser->admit <= 1) && trainer->fixed && trainer->moments && trainer->x && trainer->found &&
           trainer->pointers && trainer->sums;
}

void learner_trainer__fini(struct learner_trainer *trainer)
{
    learner_slab__fini(&trainer->rows);
    learner_slab__fini(&trainer->pairs);
    learner_slab__release((void *)trainer->index, trainer->coordinates * sizeof *trainer->index);
    free(trainer->seen);
    free(trainer->free_rows);
    free(trainer->free_pairs);
    free(trainer->changed);
    free(trainer->expired);
    free(trainer->fixed);
    free(trainer->moments);
    free(trainer->x);
    free(trainer->found);
    free(trainer->pointers);
    free(trainer->steps);
    free(trainer->sums);
    *trainer = (struct learner_trainer){0};
}

bool learner_trainer__settings(struct learner_trainer *trainer, const struct learner_optimiser *optimiser)
{
    if (optimiser->admit > 1 && !trainer->seen && !(trainer->seen = calloc(trainer->coordinates, 1)))
        return false;
    trainer->optimiser = *optimiser;
    return true;
}

/* ---- rows ---- */

static bool push_number(uint32_t **list, uint32_t *count, uint32_t *room, uint32_t number)
{
    if (*count == *room) {
        uint32_t more = *room ? *room * 2 : 1024;
        uint32_t *grown = realloc(*list, more * sizeof **list);

        if (!grown)
            return false;
        *list = grown;
        *room = more;
    }
    (*list)[(*count)++] = number;
    return true;
}

void learner_trainer__mark(struct learner_trainer *trainer, uint32_t number, struct learner_row *row)
{
    if (!row->is_changed)
        row->is_changed = push_number(&trainer->changed, &trainer->changed_count, &trainer->changed_room, number);
}

struct learner_row *learner_trainer__row(struct learner_trainer *trainer, uint32_t coordinate)
{
    uint32_t number = learner_trainer__number(trainer, coordinate);
    struct learner_row *row;

    if (number)
        return learner_slab__at(&trainer->rows, number);
    if (trainer->free_row_count > 0)
        number = trainer->free_rows[--trainer->free_row_count];
    else if (trainer->row_end < trainer->rows.most)
        number = trainer->row_end++;
    else
        return NULL;
    row = learner_slab__at(&trainer->rows, number);
    memset(row, 0, trainer->rows.stride);
    row->coordinate = coordinate + 1;
    trainer->row_count++;
    atomic_store_explicit(&trainer->index[coordinate], number, memory_order_relaxed);
    return row;
}

/* The same at the same place on every run: an example relearned gives the same bits. */
static void draw_factors(float *v, int count, uint32_t coordinate)
{
    for (int f = 0; f < count; f++) {
        uint32_t seed[2] = {coordinate, (uint32_t)f};
        double unit = (double)(fr_text_hash(seed, sizeof seed, 1) >> 11) / 9007199254740992.0;

        v[f] = (float)((2 * unit - 1) * FACTOR_AT_FIRST);
        v[count + f] = 0;
    }
}

float *learner_trainer__factors(struct learner_trainer *trainer, struct learner_row *row)
{
    uint32_t number = row->factors;

    if (trainer->factors == 0)
        return NULL;
    if (number)
        return learner_slab__at(&trainer->pairs, number);
    if (trainer->free_pair_count > 0)
        number = trainer->free_pairs[--trainer->free_pair_count];
    else if (trainer->pair_end < trainer->pairs.most)
        number = trainer->pair_end++;
    else
        return NULL;
    row->factors = number;
    draw_factors(learner_slab__at(&trainer->pairs, number), trainer->factors, row->coordinate - 1);
    return learner_slab__at(&trainer->pairs, number);
}

void learner_trainer__drop(struct learner_trainer *trainer, uint32_t number)
{
    (void)push_number(&trainer->expired, &trainer->expired_count, &trainer->expired_room, number);
}

void learner_trainer__expire(struct learner_trainer *trainer, uint32_t most)
{
    int64_t horizon_s = (trainer->newest_ms - trainer->optimiser.expire_ms) / 1000;

    if (trainer->optimiser.expire_ms == 0 || horizon_s <= 0)
        return;
    for (uint32_t i = 0; i < most && i < trainer->row_end; i++) {
        struct learner_row *row;

        if (trainer->sweep >= trainer->row_end)
            trainer->sweep = 1;
        if (trainer->sweep >= trainer->row_end)
            return;
        row = learner_slab__at(&trainer->rows, trainer->sweep);
        if (row->coordinate && (int64_t)row->touched_s < horizon_s)
            learner_trainer__drop(trainer, trainer->sweep);
        trainer->sweep++;
    }
}

void learner_trainer__bury(struct learner_trainer *trainer)
{
    for (uint32_t i = 0; i < trainer->expired_count; i++) {
        uint32_t number = trainer->expired[i];
        struct learner_row *row = learner_slab__at(&trainer->rows, number);

        if (!row->coordinate)
            continue; /* listed twice */
        atomic_store_explicit(&trainer->index[row->coordinate - 1], 0, memory_order_relaxed);
        if (trainer->seen)
            trainer->seen[row->coordinate - 1] = 0;
        if (row->factors)
            (void)push_number(&trainer->free_pairs, &trainer->free_pair_count, &trainer->free_pair_room, row->factors);
        (void)push_number(&trainer->free_rows, &trainer->free_row_count, &trainer->free_row_room, number);
        memset(row, 0, trainer->rows.stride);
        trainer->row_count--;
    }
    trainer->expired_count = 0;
}

/* ---- one example ---- */

bool learner_trainer__accepts(const struct learner_trainer *trainer, const struct learner_example *example)
{
    bool is_good = example->task >= 0 && example->task < trainer->tasks && example->dense_count == trainer->dense &&
                   example->sparse_count == trainer->schema->sparse_count && example->label >= 0 && example->label <= 1 &&
                   example->weight >= 0 && example->weight <= LEARNER_WEIGHT_MOST && example->log_rate <= 0 &&
                   example->log_rate > -LEARNER_LOGIT_MOST && example->served_ms >= 0 && example->served_ms < SERVED_MS_END;

    for (int i = 0; i < example->dense_count && is_good; i++)
        is_good = isfinite(example->dense[i]);
    for (int i = 0; i < example->sparse_count && is_good; i++)
        is_good = example->sparse[i] - LEARNER_SPARSE_BASE < trainer->coordinates;
    return is_good;
}

void learner_trainer__prefetch(const struct learner_trainer *trainer, const struct learner_example *example)
{
    for (int i = 0; i < example->sparse_count; i++) {
        if (example->sparse[i] - LEARNER_SPARSE_BASE < trainer->coordinates)
            __builtin_prefetch((const void *)&trainer->index[(uint32_t)example->sparse[i]]);
    }
}

void learner_trainer__prefetch_rows(const struct learner_trainer *trainer, const struct learner_example *example)
{
    for (int i = 0; i < example->sparse_count; i++) {
        uint32_t number = example->sparse[i] - LEARNER_SPARSE_BASE < trainer->coordinates
                              ? learner_trainer__number(trainer, (uint32_t)example->sparse[i])
                              : 0;

        if (number)
            __builtin_prefetch(learner_slab__at(&trainer->rows, number), 1);
    }
}

void learner_trainer__standard(const struct learner_trainer *trainer, int column, struct learner_standard *standard)
{
    const struct learner_moments *moments = &trainer->moments[column];
    double variance = moments->count > 0 ? moments->squares / moments->count : 0;
    double least = 1e-6 * fmax(1, fabs(moments->mean));

    *standard = (struct learner_standard){.mean = 0, .scale = 1};
    if (trainer->schema->transforms[column] == LEARNER_RAW)
        return;
    standard->mean = moments->mean;
    if (variance > least * least)
        standard->scale = sqrt(variance);
}

static void add_moment(struct learner_moments *moments, double value)
{
    double change = value - moments->mean;

    moments->count += 1;
    moments->mean += change / moments->count;
    moments->squares += change * (value - moments->mean);
    if (moments->count > MOMENTS_MOST) {
        moments->squares *= MOMENTS_MOST / moments->count;
        moments->count = MOMENTS_MOST;
    }
}

static void look_at_dense(struct learner_trainer *trainer, const struct learner_example *example, bool is_frozen)
{
    for (int i = 0; i < trainer->dense; i++) {
        enum learner_transform transform = trainer->schema->transforms[i];
        double value = (double)example->dense[i];
        struct learner_standard standard;

        if (!is_frozen && transform != LEARNER_RAW)
            add_moment(&trainer->moments[i], transform == LEARNER_LOG ? copysign(log1p(fabs(value)), value) : value);
        learner_trainer__standard(trainer, i, &standard);
        trainer->x[i] = learner_logit__x(transform, &standard, example->dense[i]);
    }
}

static struct learner_row *admit(struct learner_trainer *trainer, uint32_t coordinate, bool is_frozen)
{
    uint32_t number = learner_trainer__number(trainer, coordinate);

    if (number)
        return learner_slab__at(&trainer->rows, number);
    if (is_frozen)
        return NULL;
    if (trainer->optimiser.admit > 1 && ++trainer->seen[coordinate] < trainer->optimiser.admit)
        return NULL;
    return learner_trainer__row(trainer, coordinate);
}

static double logit_of(struct learner_trainer *trainer, const struct learner_example *example, bool is_frozen)
{
    const struct learner_weight *fixed = &trainer->fixed[example->task];
    size_t stride = (size_t)trainer->tasks * sizeof *fixed / sizeof(float);
    double logit = (double)fixed->w;

    if (trainer->dense > 0)
        logit = learner_logit__dot(logit, &fixed[trainer->tasks].w, stride, trainer->x, trainer->dense);
    for (int i = 0; i < example->sparse_count;
         i++) { /* as learner_logit__sum(): only sums, so nothing is rounded otherwise here */
        trainer->found[i] = admit(trainer, (uint32_t)example->sparse[i], is_frozen);
        if (trainer->found[i])
            logit += (double)trainer->found[i]->weights[example->task].w;
    }
    if (trainer->factors == 0)
        return logit;
    for (int i = 0; i < example->sparse_count; i++)
        trainer->pointers[i] = trainer->found[i] && trainer->found[i]->factors
                                   ? learner_slab__at(&trainer->pairs, trainer->found[i]->factors)
                                   : NULL;
    return logit + learner_logit__pairs(trainer->pointers, example->sparse_count, trainer->factors);
}

/* By the factors as they were for the prediction: sums[f] is of all of them. */
static void learn_factors(struct learner_trainer *trainer, int count, double gradient)
{
    for (int f = 0; f < trainer->factors; f++) {
        trainer->sums[f] = 0;
        for (int i = 0; i < count; i++)
            trainer->sums[f] += trainer->pointers[i] ? (double)trainer->pointers[i][f] : 0;
    }
    for (int i = 0; i < count; i++) {
        float *v = trainer->pointers[i] ? learner_slab__at(&trainer->pairs, trainer->found[i]->factors) : NULL;

        for (int f = 0; v && f < trainer->factors; f++)
            learner_adagrad__step(&trainer->optimiser, &v[f], &v[trainer->factors + f],
                                  gradient * (trainer->sums[f] - (double)v[f]) + trainer->optimiser.factor_l2 * (double)v[f]);
    }
}

/* A row that was named often enough, and has a weight, gets factors. */
static void earn_factors(struct learner_trainer *trainer, struct learner_row *row, int task)
{
    if (row->factors || ++row->count < trainer->optimiser.admit_factors)
        return;
    row->count = (uint16_t)(trainer->optimiser.admit_factors - 1); /* it tries again while its weight is 0 */
    if (row->weights[task].w != 0.0F)
        (void)learner_trainer__factors(trainer, row);
}

/* A coordinate that two of an example's specs fall on counts once: a second step would not be the gradient's. */
static void learn_rows(struct learner_trainer *trainer, const struct learner_example *example, double gradient)
{
    uint32_t now_s = example->served_ms > 0 ? (uint32_t)(example->served_ms / 1000) : 0;
    bool may_have_factors = trainer->factors > 0;
    int count = 0;

    for (int i = 0; i < example->sparse_count; i++) {
        struct learner_row *row = trainer->found[i];

        if (!row)
            continue;
        trainer->steps[count++] = &row->weights[example->task];
        if (row->touched_s < now_s)
            row->touched_s = now_s;
        if (!row->is_changed)
            learner_trainer__mark(trainer, learner_trainer__number(trainer, (uint32_t)example->sparse[i]), row);
    }
    learner_ftrl__steps(&trainer->optimiser, trainer->steps, count, gradient);
    for (int i = 0; i < example->sparse_count && may_have_factors; i++) {
        if (trainer->found[i])
            earn_factors(trainer, trainer->found[i], example->task);
    }
}

/* What `fnw` makes of an example, with the prediction held still: positives come a second time, as negatives first. */
static double importance_of(const struct learner_trainer *trainer, const struct learner_example *example, double probability)
{
    if (trainer->schema->model->tasks[example->task].policy != LEARNER_FNW)
        return (double)example->weight;
    return (double)example->weight * (example->label > 0.5F ? 1 + probability : (1 - probability) * (1 + probability));
}

double learner_trainer__learn(struct learner_trainer *trainer, const struct learner_example *example, bool is_frozen,
                              double *importance)
{
    struct learner_weight *fixed = &trainer->fixed[example->task];
    double probability, gradient, logit;

    look_at_dense(trainer, example, is_frozen);
    logit = logit_of(trainer, example, is_frozen);
    probability = learner_probability(logit - (double)example->log_rate);
    *importance = importance_of(trainer, example, learner_probability(logit));
    if (is_frozen)
        return probability;
    gradient = *importance * (probability - (double)example->label);
    gradient = fmin(LEARNER_GRADIENT_MOST, fmax(-LEARNER_GRADIENT_MOST, gradient));
    learner_ftrl__step(&trainer->optimiser, fixed, gradient);
    for (int i = 0; i < trainer->dense; i++)
        learner_ftrl__step(&trainer->optimiser, &fixed[(i + 1) * trainer->tasks], gradient * trainer->x[i]);
    if (trainer->factors > 0)
        learn_factors(trainer, example->sparse_count, gradient);
    learn_rows(trainer, example, gradient);
    trainer->newest_ms = example->served_ms > trainer->newest_ms ? example->served_ms : trainer->newest_ms;
    trainer->learned++;
    return probability;
}
