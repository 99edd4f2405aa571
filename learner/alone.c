/* One model by hand, without a thread, versions or files. */
#include "internal.h"

#include <math.h>
#include <stdlib.h>

enum { AHEAD = 4 };

struct learner_alone {
    struct learner_trainer trainer;
};

struct learner_alone *learner_alone_new(const struct learner_schema *schema)
{
    struct learner_alone *alone = calloc(1, sizeof *alone);

    if (!alone)
        return NULL;
    if (learner_trainer__init(&alone->trainer, schema, &schema->model->optimiser))
        return alone;
    learner_alone_free(alone);
    return NULL;
}

void learner_alone_free(struct learner_alone *alone)
{
    if (!alone)
        return;
    learner_trainer__fini(&alone->trainer);
    free(alone);
}

void learner_alone_learn(struct learner_alone *alone, const struct learner_example *examples, int count, double *probabilities)
{
    double importance;

    for (int i = 0; i < count; i++) {
        if (i + 2 * AHEAD < count)
            learner_trainer__prefetch(&alone->trainer, &examples[i + 2 * AHEAD]);
        if (i + AHEAD < count)
            learner_trainer__prefetch_rows(&alone->trainer, &examples[i + AHEAD]);
        probabilities[i] = learner_trainer__accepts(&alone->trainer, &examples[i])
                               ? learner_trainer__learn(&alone->trainer, &examples[i], false, &importance)
                               : NAN;
    }
}
