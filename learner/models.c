/* One model: a feature set, hashed features, tasks with a label policy each, and how a scene blends them. */
#include "models.h"

#include <stdio.h>

static const char *const policies[] = {"wait", "fnw", "sliver", "first_only"};
static const char *const task_keys[] = {"actions", "policy", "window", "negatives"};
static const char *const model_keys[] = {"feature_set", "bits", "factors", "dense", "sparse", "tasks", "blend", "publish"};
#define COUNT_OF(array) ((int)(sizeof(array) / sizeof((array)[0])))

enum { BITS_LEAST = 10, BITS_MOST = 30, FACTORS_MOST = 64, WHERE_MAX = 256 };

static const char *text_of(const struct fr_yaml *scalar)
{
    return scalar->text.bytes;
}

static bool check_names(struct fr_yaml *list, const char *where, struct fr_diagnostics *diagnostics)
{
    bool ok = list->kind == FR_YAML_LIST && list->count > 0;

    for (int i = 0; ok && i < list->count; i++)
        ok = list->values[i]->kind == FR_YAML_SCALAR;
    return ok || fr_diagnostics_add(diagnostics, list, "%s: should be a list of names", where);
}

static bool check_task(const char *model, struct fr_yaml *name, struct fr_yaml *task, struct fr_diagnostics *diagnostics)
{
    char where[WHERE_MAX];
    struct fr_yaml *actions = fr_yaml_get(task, "actions");
    int64_t window_ms = 0;
    double negatives = 1;
    int policy = -1, before = diagnostics->count;

    snprintf(where, sizeof where, "models.%.64s.tasks.%.64s", model, text_of(name));
    if (task->kind != FR_YAML_MAP)
        return fr_diagnostics_add(diagnostics, task, "%s: should be a map with actions, policy and window", where);
    if (actions)
        check_names(actions, where, diagnostics);
    else
        fr_diagnostics_add(diagnostics, name, "%s.actions: missing; name what makes it positive", where);
    fr_yaml_choice(task, "policy", policies, COUNT_OF(policies), &policy, diagnostics);
    fr_yaml_span(task, "window", 1000, INT64_C(30) * 86400000, &window_ms, diagnostics);
    fr_yaml_double(task, "negatives", 1e-6, 1, &negatives, diagnostics);
    fr_yaml_finish(task, where, task_keys, COUNT_OF(task_keys), diagnostics);
    return diagnostics->count == before;
}

static void check_tasks(struct fr_yaml *name, struct fr_yaml *tasks, struct fr_diagnostics *diagnostics)
{
    if (!tasks || tasks->kind != FR_YAML_MAP || tasks->count == 0) {
        fr_diagnostics_add(diagnostics, tasks ? tasks : name, "models.%s.tasks: should be a map with at least one task",
                           text_of(name));
        return;
    }
    for (int i = 0; i < tasks->count; i++)
        check_task(text_of(name), tasks->keys[i], tasks->values[i], diagnostics);
}

/* `sparse`: features, or lists of features that are crossed. */
static void check_sparse(struct fr_yaml *name, struct fr_yaml *sparse, struct fr_diagnostics *diagnostics)
{
    char where[WHERE_MAX];

    snprintf(where, sizeof where, "models.%.64s.sparse", text_of(name));
    if (!sparse)
        return;
    if (sparse->kind != FR_YAML_LIST) {
        fr_diagnostics_add(diagnostics, sparse, "%s: should be a list of names and of lists that are crossed", where);
        return;
    }
    for (int i = 0; i < sparse->count; i++) {
        if (sparse->values[i]->kind != FR_YAML_SCALAR)
            check_names(sparse->values[i], where, diagnostics);
    }
}

static void check_model(struct fr_yaml *name, struct fr_yaml *model, struct fr_diagnostics *diagnostics)
{
    char where[WHERE_MAX];
    const char *feature_set = NULL;
    int64_t bits = 22, factors = 8, publish_ms = 100;
    struct fr_yaml *blend;

    snprintf(where, sizeof where, "models.%.64s", text_of(name));
    if (model->kind != FR_YAML_MAP) {
        fr_diagnostics_add(diagnostics, model, "%s: should be a map with feature_set and tasks", where);
        return;
    }
    if (fr_yaml_text(model, "feature_set", &feature_set, diagnostics) && !feature_set)
        fr_diagnostics_add(diagnostics, name, "%s.feature_set: missing; name one of feature_sets", where);
    fr_yaml_int(model, "bits", BITS_LEAST, BITS_MOST, &bits, diagnostics);
    fr_yaml_int(model, "factors", 0, FACTORS_MOST, &factors, diagnostics);
    fr_yaml_span(model, "publish", 10, 3600000, &publish_ms, diagnostics);
    fr_yaml_get(model, "dense");
    check_sparse(name, fr_yaml_get(model, "sparse"), diagnostics);
    check_tasks(name, fr_yaml_get(model, "tasks"), diagnostics);
    blend = fr_yaml_get(model, "blend");
    if (blend && blend->kind != FR_YAML_MAP)
        fr_diagnostics_add(diagnostics, blend, "%s.blend: should be a map from scene to a formula, \"click^1 * buy^2\"", where);
    fr_yaml_finish(model, where, model_keys, COUNT_OF(model_keys), diagnostics);
}

bool learner_models__check(struct fr_yaml *models, struct fr_diagnostics *diagnostics)
{
    int before = diagnostics->count;

    if (!models)
        return true;
    if (models->kind != FR_YAML_MAP)
        return fr_diagnostics_add(diagnostics, models, "models: should be a map from name to model");
    for (int i = 0; i < models->count; i++)
        check_model(models->keys[i], models->values[i], diagnostics);
    return diagnostics->count == before;
}
