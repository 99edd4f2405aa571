/* One model: a feature set, its rows, tasks with a label policy each, how a scene blends them, and how it learns. */
#include "models.h"

#include <freshet/event.h>
#include <freshet/text.h>
#include <freshet/v1/event.pb-c.h>

#include <math.h>
#include <stdio.h>

static const char *const policies[] = {"wait", "fnw", "sliver", "first_only"};
static const char *const labels[] = {"outcome", "watch_rank"};
static const char *const task_keys[] = {"actions", "policy", "window", "negatives", "label"};
static const char *const model_keys[] = {"feature_set", "bits",    "factors",   "dense",  "sparse", "tasks",
                                         "blend",       "publish", "optimiser", "shadow", "drift",  "order"};
static const char *const orders[] = {"log", "arrival"};
#define COUNT_OF(array) ((int)(sizeof(array) / sizeof((array)[0])))

enum { BITS_LEAST = 10, BITS_MOST = 30, PUBLISH_LEAST_MS = 10, ADMIT_MOST = 200 };

static const char *text_of(const struct fr_yaml *scalar)
{
    return scalar->text.bytes;
}

bool learner_reading__unknown(const struct learner_reading *reading, struct fr_yaml *at, const char *where, const char *what,
                              const char *const *names, int count)
{
    const char *nearest = fr_text_nearest(at->text, names, count);

    return fr_diagnostics_add(reading->diagnostics, at, "%s: unknown %s '%.100s'%s%s%s", where, what, text_of(at),
                              nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
}

static bool check_name(const struct learner_reading *reading, const char *where, struct fr_yaml *key)
{
    const char *at = key->text.bytes;
    bool is_word = key->text.length > 0 && key->text.length <= LEARNER_NAME_MAX && !(at[0] >= '0' && at[0] <= '9');

    for (size_t i = 0; i < key->text.length && is_word; i++)
        is_word =
            (at[i] >= 'a' && at[i] <= 'z') || (at[i] >= 'A' && at[i] <= 'Z') || (at[i] >= '0' && at[i] <= '9') || at[i] == '_';
    return is_word || fr_diagnostics_add(reading->diagnostics, key,
                                         "%s: '%.100s' is no name; use letters, digits and _, at most %d of them", where, at,
                                         LEARNER_NAME_MAX);
}

void learner_reading__actions(const struct learner_reading *reading, const char *where, struct fr_yaml *name,
                              struct fr_yaml *yaml, uint64_t *actions)
{
    const char *names[PROTO_ACTIONS];

    if (!yaml || yaml->kind != FR_YAML_LIST || yaml->count == 0) {
        fr_diagnostics_add(reading->diagnostics, yaml ? yaml : name, "%s.actions: should be a list of actions, as in [click]",
                           where);
        return;
    }
    for (uint32_t i = 1; i < PROTO_ACTIONS; i++)
        names[i - 1] = proto_action_name(i);
    for (int i = 0; i < yaml->count; i++) {
        int action = yaml->values[i]->kind == FR_YAML_SCALAR ? proto_action_number(yaml->values[i]->text) : 0;

        if (yaml->values[i]->kind != FR_YAML_SCALAR)
            fr_diagnostics_add(reading->diagnostics, yaml->values[i], "%s.actions: should be a list of names", where);
        else if (action < 1 || action >= PROTO_ACTIONS)
            learner_reading__unknown(reading, yaml->values[i], where, "action", names, PROTO_ACTIONS - 1);
        else
            *actions |= UINT64_C(1) << action;
    }
}

/* What ranks make no sense with. */
static void check_ranks(const struct learner_reading *reading, const char *where, struct fr_yaml *label,
                        const struct learner_task *task)
{
    if (task->actions != UINT64_C(1) << FRESHET__V1__ACTION__WATCH)
        fr_diagnostics_add(reading->diagnostics, label,
                           "%s: label watch_rank is of actions: [watch]; what another action's value is, is no time watched",
                           where);
    if (task->policy == LEARNER_FNW)
        fr_diagnostics_add(
            reading->diagnostics, label,
            "%s: label watch_rank can't go with policy fnw, whose weights are for labels of 0 and 1; use wait or "
            "first_only",
            where);
    if (task->policy == LEARNER_SLIVER)
        fr_diagnostics_add(
            reading->diagnostics, label,
            "%s: label watch_rank can't go with policy sliver, which cuts a watch into parts that have no rank; use "
            "wait or first_only",
            where);
    if (task->negatives < 1)
        fr_diagnostics_add(
            reading->diagnostics, label,
            "%s: label watch_rank can't go with negatives below 1: what is corrected for that is a probability of 0 "
            "or 1, and no rank",
            where);
}

static void read_task(const struct learner_reading *reading, const char *model, struct fr_yaml *name, struct fr_yaml *yaml,
                      struct learner_task *task)
{
    struct fr_diagnostics *diagnostics = reading->diagnostics;
    char where[LEARNER_WHERE_MAX];
    int policy = LEARNER_WAIT, label = 0;

    *task = (struct learner_task){.name = text_of(name), .window_ms = 300000, .negatives = 1};
    snprintf(where, sizeof where, "models.%.64s.tasks.%.64s", model, text_of(name));
    if (!check_name(reading, where, name))
        return;
    if (yaml->kind != FR_YAML_MAP) {
        fr_diagnostics_add(diagnostics, yaml, "%s: should be a map with actions, policy and window", where);
        return;
    }
    learner_reading__actions(reading, where, name, fr_yaml_get(yaml, "actions"), &task->actions);
    fr_yaml_choice(yaml, "policy", policies, COUNT_OF(policies), &policy, diagnostics);
    fr_yaml_span(yaml, "window", 1000, INT64_C(30) * 86400000, &task->window_ms, diagnostics);
    fr_yaml_double(yaml, "negatives", 1e-6, 1, &task->negatives, diagnostics);
    fr_yaml_choice(yaml, "label", labels, COUNT_OF(labels), &label, diagnostics);
    fr_yaml_finish(yaml, where, task_keys, COUNT_OF(task_keys), diagnostics);
    task->policy = (enum learner_policy)policy;
    task->is_watch_rank = label == 1;
    if (task->is_watch_rank)
        check_ranks(reading, where, fr_yaml_get(yaml, "label"), task);
}

static void read_tasks(const struct learner_reading *reading, struct fr_yaml *name, struct fr_yaml *tasks,
                       struct learner_model *model)
{
    if (!tasks || tasks->kind != FR_YAML_MAP || tasks->count == 0 || tasks->count > LEARNER_TASKS_MAX) {
        fr_diagnostics_add(reading->diagnostics, tasks ? tasks : name, "models.%.64s.tasks: should be a map of 1 to %d tasks",
                           model->name, LEARNER_TASKS_MAX);
        return;
    }
    model->tasks = fr_arena_take_zeroed(reading->arena, (size_t)tasks->count, sizeof *model->tasks);
    for (int i = 0; i < tasks->count && model->tasks; i++) {
        read_task(reading, model->name, tasks->keys[i], tasks->values[i], &model->tasks[i]);
        model->task_count++;
    }
}

/* A rank is among the watches of the examples before it, and those before it must be the same after a crash. */
static void check_order(const struct learner_reading *reading, const char *where, struct fr_yaml *order,
                        const struct learner_model *model)
{
    for (int i = 0; i < model->task_count; i++)
        if (model->tasks[i].is_watch_rank && model->is_by_arrival)
            fr_diagnostics_add(
                reading->diagnostics, order,
                "%s: order arrival can't go with label watch_rank (of %.64s), whose ranks follow from the order of "
                "examples; use order: log",
                where, model->tasks[i].name);
}

static void read_optimiser(const struct learner_reading *reading, const char *model, const char *key, struct fr_yaml *yaml,
                           struct learner_optimiser *optimiser)
{
    struct fr_diagnostics *diagnostics = reading->diagnostics;
    char where[LEARNER_WHERE_MAX];
    int64_t admit = optimiser->admit, admit_factors = optimiser->admit_factors;

    if (!yaml)
        return;
    snprintf(where, sizeof where, "models.%.64s.%s", model, key);
    fr_yaml_double(yaml, "alpha", 1e-6, 100, &optimiser->alpha, diagnostics);
    fr_yaml_double(yaml, "beta", 1e-6, 1e6, &optimiser->beta, diagnostics);
    fr_yaml_double(yaml, "l1", 0, 1e6, &optimiser->l1, diagnostics);
    fr_yaml_double(yaml, "l2", 0, 1e6, &optimiser->l2, diagnostics);
    fr_yaml_double(yaml, "factor_rate", 1e-6, 10, &optimiser->factor_rate, diagnostics);
    fr_yaml_double(yaml, "factor_l2", 0, 10, &optimiser->factor_l2, diagnostics);
    fr_yaml_int(yaml, "admit", 1, ADMIT_MOST, &admit, diagnostics);
    fr_yaml_int(yaml, "admit_factors", 1, ADMIT_MOST, &admit_factors, diagnostics);
    fr_yaml_span(yaml, "expire", 0, INT64_C(3650) * 86400000, &optimiser->expire_ms, diagnostics);
    fr_yaml_finish(yaml, where, NULL, 0, diagnostics);
    optimiser->admit = (int)admit;
    optimiser->admit_factors = (int)admit_factors;
}

static void read_drift(const struct learner_reading *reading, const char *name, struct fr_yaml *yaml,
                       struct learner_model *model)
{
    struct fr_diagnostics *diagnostics = reading->diagnostics;
    char where[LEARNER_WHERE_MAX];

    if (!yaml)
        return;
    snprintf(where, sizeof where, "models.%.64s.drift", name);
    fr_yaml_span(yaml, "current", 60000, INT64_C(30) * 86400000, &model->drift_current_ms, diagnostics);
    fr_yaml_span(yaml, "reference", 60000, INT64_C(365) * 86400000, &model->drift_reference_ms, diagnostics);
    if (model->drift_reference_ms <= model->drift_current_ms)
        fr_diagnostics_add(diagnostics, yaml, "%s: reference should be longer than current", where);
    fr_yaml_finish(yaml, where, NULL, 0, diagnostics);
}

/* The feature set's own map, to look at its names; NULL with the mistake told. */
static struct fr_yaml *read_set(const struct learner_reading *reading, const char *where, struct fr_yaml *name,
                                struct fr_yaml *model)
{
    struct fr_yaml *set = fr_yaml_get(model, "feature_set"), *sets = reading->sets;
    const char *names[64];
    int count = 0;

    if (!set || set->kind != FR_YAML_SCALAR) {
        fr_diagnostics_add(reading->diagnostics, set ? set : name, "%s.feature_set: name one of feature_sets", where);
        return NULL;
    }
    for (int i = 0; sets && sets->kind == FR_YAML_MAP && i < sets->count; i++) {
        if (fr_slice_equal(sets->keys[i]->text, set->text))
            return sets->values[i];
        if (count < COUNT_OF(names))
            names[count++] = text_of(sets->keys[i]);
    }
    learner_reading__unknown(reading, set, where, "feature set", names, count);
    return NULL;
}

static void set_defaults(const char *name, struct learner_model *model)
{
    *model = (struct learner_model){.name = name,
                                    .bits = 22,
                                    .factors = 8,
                                    .publish_ms = 100,
                                    .drift_current_ms = 3600000,
                                    .drift_reference_ms = INT64_C(7) * 86400000};
    model->optimiser = (struct learner_optimiser){.alpha = 0.1,
                                                  .beta = 1,
                                                  .factor_rate = 0.05,
                                                  .factor_l2 = 1e-5,
                                                  .admit = 1,
                                                  .admit_factors = 10,
                                                  .expire_ms = INT64_C(30) * 86400000};
}

static void read_model(const struct learner_reading *reading, struct fr_yaml *name, struct fr_yaml *yaml,
                       struct learner_model *model)
{
    struct fr_diagnostics *diagnostics = reading->diagnostics;
    char where[LEARNER_WHERE_MAX];
    int64_t bits = 22, factors = 8;
    struct fr_yaml *set;
    int order = 0;

    set_defaults(text_of(name), model);
    snprintf(where, sizeof where, "models.%.64s", text_of(name));
    if (!check_name(reading, where, name))
        return;
    if (yaml->kind != FR_YAML_MAP) {
        fr_diagnostics_add(diagnostics, yaml, "%s: should be a map with feature_set and tasks", where);
        return;
    }
    set = read_set(reading, where, name, yaml);
    if (set)
        model->feature_set = text_of(fr_yaml_get(yaml, "feature_set"));
    fr_yaml_int(yaml, "bits", BITS_LEAST, BITS_MOST, &bits, diagnostics);
    fr_yaml_int(yaml, "factors", 0, LEARNER_FACTORS_MAX, &factors, diagnostics);
    fr_yaml_span(yaml, "publish", PUBLISH_LEAST_MS, 3600000, &model->publish_ms, diagnostics);
    fr_yaml_choice(yaml, "order", orders, COUNT_OF(orders), &order, diagnostics);
    model->is_by_arrival = order == 1;
    model->bits = (int)bits;
    model->factors = (int)factors;
    learner_rows__read(reading, where, yaml, set, model);
    read_tasks(reading, name, fr_yaml_get(yaml, "tasks"), model);
    check_order(reading, where, fr_yaml_get(yaml, "order"), model);
    learner_blends__read(reading, where, fr_yaml_get(yaml, "blend"), model);
    read_optimiser(reading, model->name, "optimiser", fr_yaml_get(yaml, "optimiser"), &model->optimiser);
    model->has_shadow = fr_yaml_get(yaml, "shadow") != NULL;
    model->shadow = model->optimiser;
    read_optimiser(reading, model->name, "shadow", fr_yaml_get(yaml, "shadow"), &model->shadow);
    read_drift(reading, model->name, fr_yaml_get(yaml, "drift"), model);
    fr_yaml_finish(yaml, where, model_keys, COUNT_OF(model_keys), diagnostics);
}

void learner_models__read(const struct learner_reading *reading, struct fr_yaml *models, struct learner_config *config)
{
    if (!models)
        return;
    if (models->kind != FR_YAML_MAP || models->count > LEARNER_MODELS_MAX) {
        fr_diagnostics_add(reading->diagnostics, models, "models: should be a map from name to model, at most %d",
                           LEARNER_MODELS_MAX);
        return;
    }
    for (int i = 0; i < models->count; i++)
        read_model(reading, models->keys[i], models->values[i], &config->models[config->model_count++]);
}
