/*
 * The learner's part of the configuration, checked although the loop that will use it is open work: a file that will be right later
 * is not refused for a key, and a typing error is told now.
 */
#include "models.h"

#include <freshet/learner.h>

bool learner_config_check(struct fr_yaml *root, int *model_count, struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *learner = fr_yaml_get(root, "learner");
    struct fr_yaml *models = fr_yaml_get(root, "models");
    int before = diagnostics->count;
    int64_t serve_ttl_ms = 600000;
    uint64_t join_bytes = UINT64_C(256) << 20;
    const char *served = NULL, *examples = NULL;

    if (learner) {
        fr_yaml_span(learner, "serve_ttl", 1000, INT64_C(86400000), &serve_ttl_ms, diagnostics);
        fr_yaml_size(learner, "join_bytes", 1 << 20, UINT64_C(1) << 40, &join_bytes, diagnostics);
        fr_yaml_text(learner, "served", &served, diagnostics);
        fr_yaml_text(learner, "examples", &examples, diagnostics);
        fr_yaml_finish(learner, "learner", NULL, 0, diagnostics);
    }
    *model_count = models && models->kind == FR_YAML_MAP ? models->count : 0;
    learner_models__check(models, diagnostics);
    return diagnostics->count == before;
}
