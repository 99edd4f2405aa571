/* `models`: what is said of each online model, checked. */
#ifndef FRESHET_LEARNER_MODELS_H
#define FRESHET_LEARNER_MODELS_H

#include <freshet/yaml.h>

/* False with the mistakes told. `models` may be NULL. */
bool learner_models__check(struct fr_yaml *models, struct fr_diagnostics *diagnostics);

#endif
