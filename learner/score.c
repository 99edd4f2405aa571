/*
 * Scores of one user's candidates, all by one version. Exploration moves logits before they are blended: by a draw that depends on seed,
 * item and task alone, or up by one standard deviation.
 */
#include "line.h"

#include <freshet/text.h>

#include <math.h>

#define UCB_DEVIATIONS 1.0

struct scorer {
    const struct learner_serving *serving;
    const struct learner_copy *copy;
    const struct learner_schema *schema;
    const struct learner_ask *ask;
    double *x; /* dense */
    const struct learner_served **found;
    const float **pointers;
    double logits[LEARNER_TASKS_MAX], deviations[LEARNER_TASKS_MAX];
};

static void look_up(struct scorer *scorer, int item)
{
    const struct learner_schema *schema = scorer->schema;
    const float *dense = scorer->ask->dense + (size_t)item * (size_t)schema->dense_count;
    const uint64_t *sparse = scorer->ask->sparse + (size_t)item * (size_t)schema->sparse_count;

    for (int i = 0; i < schema->dense_count; i++)
        scorer->x[i] = learner_logit__x(schema->transforms[i], &scorer->copy->standards[i], dense[i]);
    for (int i = 0; i < schema->sparse_count; i++)
        scorer->found[i] = learner_serving__find(scorer->serving, scorer->copy, (uint32_t)sparse[i]);
}

static double linear(struct scorer *scorer, int task)
{
    const struct learner_serving *serving = scorer->serving;
    double logit = (double)learner_serving__fixed(serving, scorer->copy, 0)->floats[task];

    if (serving->dense > 0)
        logit = learner_logit__dot(logit, &learner_serving__fixed(serving, scorer->copy, 1)->floats[task],
                                   serving->stride / sizeof(float), scorer->x, serving->dense);
    for (int i = 0; i < scorer->schema->sparse_count; i++)
        scorer->pointers[i] = scorer->found[i] ? &scorer->found[i]->floats[task] : NULL;
    return learner_logit__sum(logit, scorer->pointers, scorer->schema->sparse_count);
}

static double pairs(struct scorer *scorer)
{
    for (int i = 0; i < scorer->schema->sparse_count; i++)
        scorer->pointers[i] = scorer->found[i] ? &scorer->found[i]->floats[scorer->serving->tasks] : NULL;
    return learner_logit__pairs(scorer->pointers, scorer->schema->sparse_count, scorer->serving->factors);
}

/* What is not there is as uncertain as a weight that nothing is known of. */
static double deviation(const struct scorer *scorer, int task)
{
    const struct learner_serving *serving = scorer->serving;
    int at = serving->tasks + serving->factors + task;
    double variance = (double)learner_serving__fixed(serving, scorer->copy, 0)->floats[at];

    for (int i = 0; i < serving->dense; i++)
        variance += scorer->x[i] * scorer->x[i] * (double)learner_serving__fixed(serving, scorer->copy, i + 1)->floats[at];
    for (int i = 0; i < scorer->schema->sparse_count; i++)
        variance += scorer->found[i] ? (double)scorer->found[i]->floats[at] : LEARNER_PRIOR_VARIANCE;
    return sqrt(variance);
}

/* A standard normal number (Box and Muller), of seed, item and task alone. */
static double draw(uint64_t seed, uint64_t item, int task)
{
    uint64_t words[3] = {seed, item, (uint64_t)task};
    uint64_t a = fr_text_hash(words, sizeof words, 2), b = fr_text_hash(words, sizeof words, 3);
    double u = ((double)(a >> 11) + 1) / 9007199254740993.0, v = (double)(b >> 11) / 9007199254740992.0;

    return sqrt(-2 * log(u)) * cos(2 * M_PI * v);
}

static double explored(const struct scorer *scorer, int item, int task)
{
    double logit = scorer->logits[task], sd = scorer->deviations[task];

    switch (scorer->ask->explore) {
    case LEARNER_EXPLORE_THOMPSON:
        return logit + sd * draw(scorer->ask->seed, scorer->ask->item_ids ? scorer->ask->item_ids[item] : (uint64_t)item, task);
    case LEARNER_EXPLORE_UCB:
        return logit + UCB_DEVIATIONS * sd;
    case LEARNER_EXPLORE_NONE:
        break;
    }
    return logit;
}

/* The blend and, to first order in the logits, its standard deviation: d p^a / d logit = a p^a (1 − p). */
static void blend(const struct scorer *scorer, int item, float *score, float *sd)
{
    const struct learner_model *model = scorer->schema->model;
    const struct learner_blend *formula = &model->blends[scorer->ask->scene];
    struct learner_term first = {.coefficient = 1};
    int terms = formula->term_count ? formula->term_count : 1;
    double total = 0, slopes[LEARNER_TASKS_MAX] = {0}, variance = 0;

    first.powers[scorer->ask->tasks[0]] = 1;
    for (int t = 0; t < terms; t++) {
        const struct learner_term *term = formula->term_count ? &formula->terms[t] : &first;
        double product = term->coefficient;

        for (int i = 0; i < model->task_count; i++) {
            if (term->powers[i] != 0)
                product *= pow(learner_probability(explored(scorer, item, i)), term->powers[i]);
        }
        for (int i = 0; i < model->task_count; i++)
            slopes[i] += product * term->powers[i] * (1 - learner_probability(explored(scorer, item, i)));
        total += product;
    }
    for (int i = 0; i < model->task_count; i++)
        variance += slopes[i] * slopes[i] * scorer->deviations[i] * scorer->deviations[i];
    *score = (float)total;
    *sd = (float)sqrt(variance);
}

static void score_item(struct scorer *scorer, int item, struct learner_scores *scores)
{
    int tasks = scorer->ask->task_count;
    double second;

    look_up(scorer, item);
    second = scorer->serving->factors > 0 ? pairs(scorer) : 0;
    for (int task = 0; task < scorer->serving->tasks; task++) {
        scorer->logits[task] = linear(scorer, task);
        if (scorer->serving->factors > 0)
            scorer->logits[task] += second;
        scorer->deviations[task] = deviation(scorer, task);
    }
    for (int i = 0; i < tasks; i++) {
        scores->logits[item * tasks + i] = scorer->logits[scorer->ask->tasks[i]];
        scores->probabilities[item * tasks + i] = (float)learner_probability(scorer->logits[scorer->ask->tasks[i]]);
    }
    blend(scorer, item, &scores->scores[item], &scores->score_sd[item]);
}

static bool take(struct scorer *scorer, struct fr_arena *arena, struct learner_scores *scores)
{
    size_t items = (size_t)scorer->ask->item_count + 1, cells = items * (size_t)scorer->ask->task_count;
    size_t sparse = (size_t)scorer->schema->sparse_count + 1;

    scores->probabilities = fr_arena_take(arena, cells * sizeof *scores->probabilities);
    scores->logits = fr_arena_take(arena, cells * sizeof *scores->logits);
    scores->scores = fr_arena_take(arena, items * sizeof *scores->scores);
    scores->score_sd = fr_arena_take(arena, items * sizeof *scores->score_sd);
    scorer->x = fr_arena_take(arena, ((size_t)scorer->schema->dense_count + 1) * sizeof *scorer->x);
    scorer->found = fr_arena_take(arena, sparse * sizeof *scorer->found);
    scorer->pointers = fr_arena_take(arena, sparse * sizeof *scorer->pointers);
    return scores->probabilities && scores->logits && scores->scores && scores->score_sd && scorer->x && scorer->found &&
           scorer->pointers;
}

bool learner_score(struct learner *learner, const struct learner_ask *ask, struct fr_arena *arena,
                   struct learner_scores *scores, struct fr_err *err)
{
    struct learner_line *line = learner__line(learner, ask->model, false);
    struct scorer scorer = {.serving = &line->serving, .schema = line->schema, .ask = ask};
    int side;

    if (!take(&scorer, arena, scores))
        return fr_fail(err, FR_EXHAUSTED, "the scores are larger than a call may be; ask for fewer items");
    scorer.copy = learner_serving__enter(&line->serving, &side);
    scores->version = scorer.copy->version;
    for (int i = 0; i < ask->item_count; i++)
        score_item(&scorer, i, scores);
    learner_serving__leave(&line->serving, side);
    return true;
}
