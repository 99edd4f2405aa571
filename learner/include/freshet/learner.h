/*
 * The learning loop: what was served is joined with what happened next, becomes examples, and trains a model whose parameters
 * are published by version. The module's room, its place in the order of modules (proto, store, base below it; pipeline above) and
 * the messages it will speak (freshet/v1/model.proto) are laid out; the loop itself is open work.
 */
#ifndef FRESHET_LEARNER_H
#define FRESHET_LEARNER_H

#include <freshet/yaml.h>

/*
 * Checks the keys and types of `learner` and `models`; mistakes go to the diagnostics, the number of models to *model_count. Nothing
 * is trained in this version: whoever starts a node with models says so.
 */
bool learner_config_check(struct fr_yaml *root, int *model_count, struct fr_diagnostics *diagnostics);

#endif
