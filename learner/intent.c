/*
 * Softmax over labels, each coordinate a weight per label, FTRL-proximal steps. Few labelled texts are worth several passes; because every
 * learning begins anew and goes through the texts in the order of their hashes, it gives the same bits for the same set.
 */
#include "internal.h"

#include <freshet/intent.h>
#include <freshet/text.h>

#include <math.h>
#include <stdlib.h>

enum { PASSES = 4 };

/* By held-out accuracy on public chat logs (tests/bench/texts.py): they are flat around it. */
static const struct learner_optimiser optimiser = {.alpha = 3, .beta = 1, .l1 = 0.02};

struct labelled {
    uint64_t hash; /* of the text */
    int64_t ts_ms;
    int label, count;
    uint32_t *grams;
};

struct weights {
    struct learner_weight *of_grams; /* [2^bits][labels] */
    struct learner_weight bias[LEARNER_LABELS_MAX];
    int examples; /* that they have learned */
};

struct learner_intent {
    struct learner_intent_options options;
    struct weights sides[2];
    int active; /* the side that is judged by; the other one is learned into */
    struct labelled *kept; /* by hash */
    int count, capacity;
    bool is_stale;
};

static size_t weights_of(const struct learner_intent *intent)
{
    return ((size_t)1 << intent->options.bits) * (size_t)intent->options.labels;
}

struct learner_intent *learner_intent_new(const struct learner_intent_options *options)
{
    struct learner_intent *intent = calloc(1, sizeof *intent);

    if (!intent)
        return NULL;
    intent->options = *options;
    for (int i = 0; i < 2; i++)
        intent->sides[i].of_grams = calloc(weights_of(intent), sizeof(struct learner_weight));
    if (intent->sides[0].of_grams && intent->sides[1].of_grams)
        return intent;
    learner_intent_free(intent);
    return NULL;
}

void learner_intent_free(struct learner_intent *intent)
{
    if (!intent)
        return;
    for (int i = 0; i < intent->count; i++)
        free(intent->kept[i].grams);
    free(intent->kept);
    free(intent->sides[0].of_grams);
    free(intent->sides[1].of_grams);
    free(intent);
}

/* ---- the labelled texts ---- */

/* Where a text is, or would be put. */
static int find(const struct learner_intent *intent, uint64_t hash)
{
    int low = 0, high = intent->count;

    while (low < high) {
        int middle = low + (high - low) / 2;

        if (intent->kept[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool is_older(const struct labelled *a, const struct labelled *b)
{
    return a->ts_ms != b->ts_ms ? a->ts_ms < b->ts_ms : a->hash < b->hash;
}

/* More than are to be kept: the oldest goes. */
static void drop_oldest(struct learner_intent *intent)
{
    int oldest = 0;

    for (int i = 1; i < intent->count; i++) {
        if (is_older(&intent->kept[i], &intent->kept[oldest]))
            oldest = i;
    }
    free(intent->kept[oldest].grams);
    intent->count--;
    memmove(intent->kept + oldest, intent->kept + oldest + 1, (size_t)(intent->count - oldest) * sizeof *intent->kept);
}

static bool insert(struct learner_intent *intent, int at, const struct labelled *labelled)
{
    if (intent->count == intent->capacity) {
        int capacity = intent->capacity ? 2 * intent->capacity : 256;
        struct labelled *grown = reallocarray(intent->kept, (size_t)capacity, sizeof *grown);

        if (!grown)
            return false;
        intent->kept = grown;
        intent->capacity = capacity;
    }
    memmove(intent->kept + at + 1, intent->kept + at, (size_t)(intent->count - at) * sizeof *intent->kept);
    intent->kept[at] = *labelled;
    intent->count++;
    return true;
}

bool learner_intent_add(struct learner_intent *intent, struct fr_slice text, int label, int64_t ts_ms, struct fr_err *err)
{
    uint32_t grams[LEARNER_GRAMS_MAX];
    struct labelled labelled = {.hash = fr_text_hash(text.bytes, text.length, 0), .ts_ms = ts_ms, .label = label};
    int at = find(intent, labelled.hash);

    if (at < intent->count && intent->kept[at].hash == labelled.hash) {
        struct labelled *known = &intent->kept[at];

        if (ts_ms > known->ts_ms || (ts_ms == known->ts_ms && label > known->label)) {
            intent->is_stale = intent->is_stale || known->label != label;
            known->ts_ms = ts_ms;
            known->label = label;
        }
        return true;
    }
    labelled.count = learner_grams(&intent->options, text, grams);
    labelled.grams = malloc(((size_t)labelled.count + 1) * sizeof *grams);
    if (!labelled.grams || !insert(intent, at, &labelled)) {
        free(labelled.grams);
        return fr_fail(err, FR_EXHAUSTED, "intent: out of memory for a labelled text");
    }
    if (labelled.count > 0)
        memcpy(labelled.grams, grams, (size_t)labelled.count * sizeof *grams);
    if (intent->count > intent->options.examples)
        drop_oldest(intent);
    intent->is_stale = true;
    return true;
}

int learner_intent_examples(const struct learner_intent *intent)
{
    return intent->count;
}

bool learner_intent_is_stale(const struct learner_intent *intent)
{
    return intent->is_stale;
}

/* ---- learning and judging ---- */

static struct learner_weight *at_gram(const struct weights *weights, uint32_t gram, int labels)
{
    return weights->of_grams + (size_t)gram * (size_t)labels;
}

/* A long text's n-grams count less each: the logits of all texts are of one size. */
static double share_of(int count)
{
    return count > 0 ? 1 / sqrt((double)count) : 0;
}

static void judge(const struct weights *by, int labels, const uint32_t *grams, int count, double *probabilities)
{
    double share = share_of(count), most = -INFINITY, sum = 0;

    for (int k = 0; k < labels; k++)
        probabilities[k] = 0;
    for (int i = 0; i < count; i++) {
        const struct learner_weight *weights = at_gram(by, grams[i], labels);

        for (int k = 0; k < labels; k++)
            probabilities[k] += (double)weights[k].w;
    }
    for (int k = 0; k < labels; k++) {
        probabilities[k] = probabilities[k] * share + (double)by->bias[k].w;
        most = probabilities[k] > most ? probabilities[k] : most;
    }
    for (int k = 0; k < labels; k++)
        sum += probabilities[k] = exp(probabilities[k] - most);
    for (int k = 0; k < labels; k++)
        probabilities[k] /= sum;
}

static void learn_one(struct weights *by, int labels, const struct labelled *labelled)
{
    double gradients[LEARNER_LABELS_MAX], share = share_of(labelled->count);

    judge(by, labels, labelled->grams, labelled->count, gradients);
    gradients[labelled->label] -= 1;
    for (int i = 0; i < labelled->count; i++) {
        struct learner_weight *weights = at_gram(by, labelled->grams[i], labels);

        for (int k = 0; k < labels; k++)
            learner_ftrl__step(&optimiser, &weights[k], gradients[k] * share);
    }
    for (int k = 0; k < labels; k++)
        learner_ftrl__step(&optimiser, &by->bias[k], gradients[k]);
}

void learner_intent_learn(struct learner_intent *intent)
{
    struct weights *into = &intent->sides[1 - intent->active];

    memset(into->of_grams, 0, weights_of(intent) * sizeof *into->of_grams);
    memset(into->bias, 0, sizeof into->bias);
    for (int pass = 0; pass < PASSES; pass++) {
        for (int i = 0; i < intent->count; i++)
            learn_one(into, intent->options.labels, &intent->kept[i]);
    }
    into->examples = intent->count;
    intent->is_stale = false;
}

int learner_intent_adopt(struct learner_intent *intent)
{
    intent->active = 1 - intent->active;
    return intent->sides[intent->active].examples;
}

void learner_intent_judge(const struct learner_intent *intent, struct fr_slice text, double *probabilities)
{
    uint32_t grams[LEARNER_GRAMS_MAX];
    int count = learner_grams(&intent->options, text, grams);

    judge(&intent->sides[intent->active], intent->options.labels, grams, count, probabilities);
}
