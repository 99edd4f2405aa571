/* One trainer becomes what another is, row by row, so that the next version brings readers and pulled copies from the one to the other. */
#include "line.h"

static bool copy_row(struct learner_trainer *trainer, const struct learner_trainer *other, const struct learner_row *from)
{
    struct learner_row *row = learner_trainer__row(trainer, from->coordinate - 1);
    size_t weights = (size_t)trainer->tasks * sizeof(struct learner_weight);

    if (!row)
        return false;
    row->touched_s = from->touched_s;
    row->count = from->count;
    memcpy(row->weights, from->weights, weights);
    if (from->factors) {
        float *factors = learner_trainer__factors(trainer, row);

        if (!factors)
            return false;
        memcpy(factors, learner_slab__at(&other->pairs, from->factors), 2 * (size_t)trainer->factors * sizeof(float));
    } else if (row->factors) {
        memset(learner_slab__at(&trainer->pairs, row->factors), 0, 2 * (size_t)trainer->factors * sizeof(float));
    }
    learner_trainer__mark(trainer, learner_trainer__number(trainer, from->coordinate - 1), row);
    return true;
}

static bool copy_rows(struct learner_trainer *trainer, const struct learner_trainer *other)
{
    for (uint32_t number = 1; number < other->row_end; number++) {
        const struct learner_row *row = learner_slab__at(&other->rows, number);

        if (row->coordinate && !copy_row(trainer, other, row))
            return false;
    }
    return true;
}

bool learner_trainer__become(struct learner_trainer *trainer, const struct learner_trainer *other)
{
    size_t fixed = (size_t)(trainer->dense + 1);

    if (!copy_rows(trainer, other))
        return false;
    for (uint32_t number = 1; number < trainer->row_end; number++) {
        const struct learner_row *row = learner_slab__at(&trainer->rows, number);

        if (row->coordinate && !learner_trainer__number(other, row->coordinate - 1))
            learner_trainer__drop(trainer, number);
    }
    memcpy(trainer->fixed, other->fixed, fixed * (size_t)trainer->tasks * sizeof *trainer->fixed);
    memcpy(trainer->moments, other->moments, fixed * sizeof *trainer->moments);
    if (trainer->seen && other->seen)
        memcpy(trainer->seen, other->seen, trainer->coordinates);
    trainer->newest_ms = other->newest_ms;
    trainer->learned = other->learned;
    return true;
}
