/* `models`: what is said of each online model. Shared by the files that read it. */
#ifndef FRESHET_LEARNER_MODELS_H
#define FRESHET_LEARNER_MODELS_H

#include <freshet/learner.h>

enum { LEARNER_NAME_MAX = 64, LEARNER_WHERE_MAX = 256 };

/* Where a mistake is, and who collects it. */
struct learner_reading {
    struct fr_arena *arena;
    struct fr_yaml *sets; /* feature_sets; NULL when there are none */
    struct fr_diagnostics *diagnostics;
};

/* Reads `models` (may be NULL) into `config`; mistakes are told. */
void learner_models__read(const struct learner_reading *reading, struct fr_yaml *models, struct learner_config *config);

/* `dense` and `sparse` of a model; `set` is its feature set's map, NULL when unknown. */
void learner_rows__read(const struct learner_reading *reading, const char *where, struct fr_yaml *yaml, struct fr_yaml *set,
                        struct learner_model *model);

/* `blend`: a formula for each scene, by the tasks that are read already. */
void learner_blends__read(const struct learner_reading *reading, const char *where, struct fr_yaml *yaml,
                          struct learner_model *model);

/* `sessions` (may be NULL: there are none). */
void learner_sessions__read(const struct learner_reading *reading, struct fr_yaml *yaml, struct learner_sessions *sessions);

/* A list of actions as bits, added to *actions; `name` is where a missing one is told. */
void learner_reading__actions(const struct learner_reading *reading, const char *where, struct fr_yaml *name,
                              struct fr_yaml *yaml, uint64_t *actions);

/* "where: unknown WHAT 'name'; did you mean 'nearest'?" Returns false. */
bool learner_reading__unknown(const struct learner_reading *reading, struct fr_yaml *at, const char *where, const char *what,
                              const char *const *names, int count);

#endif
