/*
 * What an outside trainer pushes: gradients take a step of the model's own optimiser, weights take the place of the coordinate's. It
 * says which version it worked from; one that the log of changes no longer reaches is too old to be added to what is here.
 */
#include "line.h"

#include <inttypes.h>
#include <math.h>

static bool check(struct learner_line *line, const struct learner_push *push, struct fr_err *err)
{
    size_t width = (size_t)(line->trainer.tasks + line->trainer.factors);
    const struct learner_copy *copy;
    uint64_t version, base;
    int side;

    copy = learner_serving__enter(&line->serving, &side);
    version = copy->version;
    base = copy->base_version;
    learner_serving__leave(&line->serving, side);
    if (push->schema != line->schema->hash)
        return fr_fail(err, FR_PRECONDITION,
                       "schema: %" PRIu64 " is not that of model '%s', %" PRIu64 "; Describe names its columns", push->schema,
                       line->model->name, line->schema->hash);
    if (push->width != width)
        return fr_fail(err, FR_BAD_INPUT, "width: %" PRIu32 "; model '%s' has %d tasks and %d factors, send %zu", push->width,
                       line->model->name, line->trainer.tasks, line->trainer.factors, width);
    if (push->base_version > version)
        return fr_fail(err, FR_PRECONDITION, "base_version: %" PRIu64 " is not there yet, model '%s' is at %" PRIu64,
                       push->base_version, line->model->name, version);
    if (push->base_version < base)
        return fr_fail(err, FR_PRECONDITION,
                       "base_version: %" PRIu64 " is too old, changes of model '%s' are kept from %" PRIu64
                       " on; pull, and push against %" PRIu64,
                       push->base_version, line->model->name, base, version);
    if (line->is_frozen)
        return fr_fail(err, FR_PRECONDITION, "model: '%s' is frozen; thaw it with freshet model promote", line->model->name);
    return true;
}

static bool is_sane(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (!(fabs((double)values[i]) <= LEARNER_PARAMETER_MOST))
            return false;
    }
    return true;
}

static bool has_factors(const float *values, int count)
{
    for (int i = 0; i < count; i++) {
        if (values[i] != 0.0F)
            return true;
    }
    return false;
}

static void apply_weights(const struct learner_trainer *trainer, const struct learner_push *push, const float *values,
                          struct learner_weight *weights)
{
    for (int i = 0; i < trainer->tasks; i++) {
        if (push->is_weights)
            learner_ftrl__set(&trainer->optimiser, &weights[i], values[i]);
        else if (values[i] != 0.0F)
            learner_ftrl__step(&trainer->optimiser, &weights[i], (double)values[i]);
    }
}

static bool apply_factors(struct learner_trainer *trainer, const struct learner_push *push, const float *values,
                          struct learner_row *row)
{
    float *v;

    if (!row->factors && !has_factors(values, trainer->factors))
        return true;
    v = learner_trainer__factors(trainer, row);
    for (int f = 0; v && f < trainer->factors; f++) {
        if (push->is_weights)
            v[f] = values[f];
        else if (values[f] != 0.0F)
            learner_adagrad__step(&trainer->optimiser, &v[f], &v[trainer->factors + f], (double)values[f]);
    }
    return v != NULL;
}

/* False: refused. Dense columns and the intercept have no factors. */
static bool apply(struct learner_trainer *trainer, const struct learner_push *push, uint64_t id, const float *values)
{
    struct learner_row *row;

    if (!is_sane(values, push->width))
        return false;
    if (id <= (uint64_t)trainer->dense) {
        if (has_factors(values + trainer->tasks, trainer->factors))
            return false;
        apply_weights(trainer, push, values, &trainer->fixed[(int)id * trainer->tasks]);
        return true;
    }
    if (id - LEARNER_SPARSE_BASE >= trainer->coordinates)
        return false;
    row = learner_trainer__row(trainer, (uint32_t)(id - LEARNER_SPARSE_BASE));
    if (!row || !apply_factors(trainer, push, values + trainer->tasks, row))
        return false;
    apply_weights(trainer, push, values, row->weights);
    if (trainer->newest_ms > 0)
        row->touched_s = (uint32_t)(trainer->newest_ms / 1000);
    learner_trainer__mark(trainer, learner_trainer__number(trainer, (uint32_t)(id - LEARNER_SPARSE_BASE)), row);
    return true;
}

bool learner_push__apply(struct learner_line *line, const struct learner_push *push, struct learner_pushed *pushed,
                         struct fr_err *err)
{
    *pushed = (struct learner_pushed){0};
    if (!check(line, push, err))
        return false;
    for (size_t i = 0; i < push->count; i++) {
        if (apply(&line->trainer, push, push->ids[i], push->values + i * push->width))
            pushed->accepted++;
        else
            pushed->rejected++;
    }
    line->is_pending = line->is_dirty = true;
    return true;
}
