/*
 * The learner's part of the configuration: its limits and topics here, the models in models.c.
 */
#include "models.h"

#include <freshet/text.h>

struct learner_config *learner_config_parse(struct fr_yaml *root, struct fr_arena *arena, struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *learner = fr_yaml_get(root, "learner");
    struct learner_config *config = fr_arena_take_zeroed(arena, 1, sizeof *config);
    struct learner_reading reading = {.arena = arena, .sets = fr_yaml_get(root, "feature_sets"), .diagnostics = diagnostics};
    int before = diagnostics->count;

    if (!config) {
        fr_diagnostics_add(diagnostics, NULL, "out of memory");
        return NULL;
    }
    config->serve_ttl_ms = 600000;
    config->join_bytes = UINT64_C(256) << 20;
    config->served = "freshet.served";
    config->examples = "freshet.examples";
    if (learner) {
        fr_yaml_span(learner, "serve_ttl", 1000, INT64_C(86400000), &config->serve_ttl_ms, diagnostics);
        fr_yaml_size(learner, "join_bytes", 1 << 20, UINT64_C(1) << 40, &config->join_bytes, diagnostics);
        fr_yaml_text(learner, "served", &config->served, diagnostics);
        fr_yaml_text(learner, "examples", &config->examples, diagnostics);
        fr_yaml_finish(learner, "learner", NULL, 0, diagnostics);
    }
    learner_models__read(&reading, fr_yaml_get(root, "models"), config);
    learner_sessions__read(&reading, fr_yaml_get(root, "sessions"), &config->sessions);
    return diagnostics->count == before ? config : NULL;
}

static bool fail_unknown(const char *name, const char *what, const char *const *names, int count, struct fr_err *err)
{
    const char *nearest = fr_text_nearest(fr_slice_of(name), names, count);

    if (count == 0)
        return fr_fail(err, FR_BAD_INPUT, "%s: '%.64s' is unknown; the configuration describes no models", what, name);
    return fr_fail(err, FR_BAD_INPUT, "%s: '%.64s' is unknown; did you mean '%s'?", what, name, nearest ? nearest : names[0]);
}

bool learner_config_model(const struct learner_config *config, const char *name, int *index, struct fr_err *err)
{
    const char *names[LEARNER_MODELS_MAX] = {0};

    for (int i = 0; i < config->model_count; i++) {
        names[i] = config->models[i].name;
        if (strcmp(name, names[i]) == 0 || (!name[0] && config->model_count == 1)) {
            *index = i;
            return true;
        }
    }
    if (!name[0] && config->model_count > 0)
        return fr_fail(err, FR_BAD_INPUT, "model: missing; this node has %d, name one, as '%s'", config->model_count, names[0]);
    return fail_unknown(name, "model", names, config->model_count, err);
}

bool learner_config_task(const struct learner_model *model, const char *name, int *index, struct fr_err *err)
{
    const char *names[LEARNER_TASKS_MAX] = {0};

    for (int i = 0; i < model->task_count; i++) {
        names[i] = model->tasks[i].name;
        if (strcmp(name, names[i]) == 0) {
            *index = i;
            return true;
        }
    }
    return fail_unknown(name, "tasks", names, model->task_count, err);
}
