/*
 * The cache of read plans. Plans never change and live as long as the aggregators, so that server loops share them; there is a bound
 * to them, since clients choose what they ask.
 */
#include "plan.h"

#include <freshet/text.h>

#include <pthread.h>
#include <stdlib.h>

enum { PLANS_MAX = 1024, PLAN_NAMES_MAX = 1024, PLAN_BUCKETS = 256 };

/*
 * A lock outside of store and base: server loops compile plans when a client first asks for something, and the next loop needs
 * the same one. It is held for a look at one bucket, or to hang in what was compiled outside of it.
 */
struct agg_plans {
    pthread_mutex_t lock;
    struct agg_plan *buckets[PLAN_BUCKETS];
    int count;
    uint16_t finished; /* numbers given to steps that have finished rows */
};

struct agg_plans *agg_plans__new(void)
{
    struct agg_plans *plans = calloc(1, sizeof *plans);

    if (plans)
        pthread_mutex_init(&plans->lock, NULL);
    return plans;
}

void agg_plans__free(struct agg_plans *plans)
{
    if (!plans)
        return;
    for (int i = 0; i < PLAN_BUCKETS; i++) {
        while (plans->buckets[i]) {
            struct agg_plan *plan = plans->buckets[i];

            plans->buckets[i] = plan->next;
            agg_plan__free(plan);
        }
    }
    pthread_mutex_destroy(&plans->lock);
    free(plans);
}

/* What was asked, as one text: lengths tell the names apart. */
static void spell(const char *feature_set, char *const *names, int count, struct fr_buffer *asked)
{
    fr_buffer_append_varint(asked, strlen(feature_set));
    fr_buffer_append_text(asked, feature_set);
    for (int i = 0; i < count; i++) {
        fr_buffer_append_varint(asked, strlen(names[i]));
        fr_buffer_append_text(asked, names[i]);
    }
}

static struct agg_plan *cache_find(struct agg_plans *plans, size_t bucket, struct fr_slice asked)
{
    struct agg_plan *plan = plans->buckets[bucket];

    while (plan && !fr_slice_equal(plan->asked, asked))
        plan = plan->next;
    return plan;
}

/* Each of its steps that has finished rows has them by a number of its own. */
static void number_steps(struct agg_plans *plans, struct agg_plan *plan)
{
    for (int i = 0; i < plan->item_step_count; i++) {
        struct agg_finished *finished = &plan->item_steps[i].finished;

        finished->is_kept = finished->is_kept && plans->finished < UINT16_MAX;
        if (finished->is_kept)
            finished->number = ++plans->finished;
    }
}

/* Hangs the plan in, unless another thread was faster: then that one. NULL: the cache is full. */
static struct agg_plan *cache_add(struct agg_plans *plans, size_t bucket, struct agg_plan *plan)
{
    struct agg_plan *there;

    pthread_mutex_lock(&plans->lock);
    there = cache_find(plans, bucket, plan->asked);
    if (!there && plans->count < PLANS_MAX) {
        number_steps(plans, plan);
        plan->next = plans->buckets[bucket];
        plans->buckets[bucket] = plan;
        plans->count++;
        there = plan;
    }
    pthread_mutex_unlock(&plans->lock);
    return there;
}

static bool plan_get(struct agg *agg, const char *feature_set, char *const *names, int count, struct fr_slice asked,
                     const struct agg_plan **plan, struct fr_err *err)
{
    size_t bucket = fr_text_hash(asked.bytes, asked.length, 0) % PLAN_BUCKETS;
    struct agg_plan *found, *made;

    pthread_mutex_lock(&agg->plans->lock);
    found = cache_find(agg->plans, bucket, asked);
    pthread_mutex_unlock(&agg->plans->lock);
    if (!found) {
        made = agg_plan__compile(agg, feature_set, names, count, asked, err);
        if (!made)
            return false;
        found = cache_add(agg->plans, bucket, made);
        if (found != made)
            agg_plan__free(made);
        if (!found)
            return fr_fail(err, FR_EXHAUSTED,
                           "features: more than %d different lists were asked for; name them in feature_sets", PLANS_MAX);
    }
    *plan = found;
    return true;
}

bool agg_plan_get(struct agg *agg, const char *feature_set, char *const *names, int count, const struct agg_plan **plan,
                  struct fr_err *err)
{
    struct fr_buffer asked;
    bool ok;

    if (count > PLAN_NAMES_MAX)
        return fr_fail(err, FR_BAD_INPUT, "features: %d names; use at most %d", count, PLAN_NAMES_MAX);
    fr_buffer_init(&asked);
    spell(feature_set, names, count, &asked);
    ok = asked.is_failed ? fr_fail(err, FR_EXHAUSTED, "features: out of memory")
                         : plan_get(agg, feature_set, names, count, fr_buffer_slice(&asked), plan, err);
    fr_buffer_fini(&asked);
    return ok;
}
