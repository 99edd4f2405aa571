/*
 * Progressive validation: each prediction is judged against its label before the example is learned. Sums fade with the number of
 * examples, so they tell of the last 20,000 or so. An example of now weighs `unit`, which grows; when it gets large all is scaled.
 */
#include "internal.h"

#include <math.h>

#define SLOW_EXAMPLES 20000.0
#define QUICK_EXAMPLES 1000.0
#define UNIT_MOST 1e9
#define PROBABILITY_LEAST 1e-7
#define LOGIT_SPAN 10.0 /* bins lie within ± this */

enum { EXAMPLES_BEFORE_BAND = 5000 };

/* The quick log loss is out of its band when it is twice the slow one, and 0.2 more: a burst of wrong labels, hardly ever a drift. */
#define BAND_FACTOR 2.0
#define BAND_LEAST 0.2

void learner_judged__init(struct learner_judged *judged)
{
    memset(judged, 0, sizeof *judged);
    judged->unit = 1;
}

static void scale_down(struct learner_judged *judged)
{
    double by = 1 / judged->unit;

    judged->loss *= by;
    judged->weight *= by;
    judged->predicted *= by;
    judged->positive *= by;
    for (int i = 0; i < LEARNER_BINS; i++) {
        judged->bins[0][i] *= by;
        judged->bins[1][i] *= by;
    }
    judged->unit = 1;
}

static int bin_of(double probability)
{
    double logit = log(probability / (1 - probability));
    double at = (logit + LOGIT_SPAN) / (2 * LOGIT_SPAN) * LEARNER_BINS;

    return at <= 0 ? 0 : at >= LEARNER_BINS - 1 ? LEARNER_BINS - 1 : (int)at;
}

void learner_judged__add(struct learner_judged *judged, double probability, double label, double weight)
{
    double p = fmin(1 - PROBABILITY_LEAST, fmax(PROBABILITY_LEAST, probability));
    double loss = -(label * log(p) + (1 - label) * log(1 - p)), share;
    int bin = bin_of(p);

    judged->unit *= 1 + 1 / SLOW_EXAMPLES;
    share = weight * judged->unit;
    judged->loss += share * loss;
    judged->weight += share;
    judged->predicted += share * probability;
    judged->positive += share * label;
    judged->bins[1][bin] += share * label;
    judged->bins[0][bin] += share * (1 - label);
    judged->quick_loss = judged->quick_loss * (1 - 1 / QUICK_EXAMPLES) + weight * loss;
    judged->quick_weight = judged->quick_weight * (1 - 1 / QUICK_EXAMPLES) + weight;
    judged->examples++;
    judged->positives += label > 0;
    if (judged->unit > UNIT_MOST)
        scale_down(judged);
}

/* Of a positive and a negative drawn by weight, how often the positive has the higher bin; half of the ties. */
static double auc_of(const struct learner_judged *judged)
{
    double below = 0, pairs = 0, positives = 0;

    for (int i = 0; i < LEARNER_BINS; i++) {
        pairs += judged->bins[1][i] * (below + judged->bins[0][i] / 2);
        below += judged->bins[0][i];
        positives += judged->bins[1][i];
    }
    return below > 0 && positives > 0 ? pairs / (below * positives) : 0;
}

static double entropy_of(double rate)
{
    return rate <= 0 || rate >= 1 ? 0 : -(rate * log(rate) + (1 - rate) * log(1 - rate));
}

struct learner_task_state learner_judged__state(const struct learner_judged *judged, const char *name)
{
    struct learner_task_state state = {.name = name, .examples = judged->examples, .positives = judged->positives};
    double entropy;

    if (judged->weight <= 0)
        return state;
    entropy = entropy_of(judged->positive / judged->weight);
    state.auc = auc_of(judged);
    state.log_loss = judged->loss / judged->weight;
    state.normalized_entropy = entropy > 0 ? state.log_loss / entropy : 0;
    state.calibration = judged->positive > 0 ? judged->predicted / judged->positive : 0;
    return state;
}

bool learner_judged__is_off(const struct learner_judged *judged)
{
    double slow, quick;

    if (judged->examples < EXAMPLES_BEFORE_BAND || judged->weight <= 0 || judged->quick_weight <= 0)
        return false;
    slow = judged->loss / judged->weight;
    quick = judged->quick_loss / judged->quick_weight;
    return quick > slow * BAND_FACTOR && quick > slow + BAND_LEAST;
}
