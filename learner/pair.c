/* A model's two lines, live and shadow: opened by what their files say, frozen and thawed, their files put in place together. */
#include "line.h"

#include <freshet/log.h>

#include <stdio.h>
#include <stdlib.h>

enum { PATH_BYTES = 512 };

bool learner_pair__freeze(struct learner_line *const pair[2], bool is_frozen, struct fr_err *err)
{
    bool is_new = pair[0]->is_frozen != is_frozen;

    pair[0]->is_frozen = is_frozen;
    learner_line__publish(pair[0]);
    if (pair[1])
        learner_line__publish(pair[1]); /* who asks for states after an order sees both as of then */
    return !is_new || learner_line__save(pair[0], true, err);
}

static bool is_line_durable(const struct learner_line *line, int64_t durable)
{
    return !line || !line->is_waiting || line->written_position < durable;
}

bool learner_pair__is_durable(struct learner_line *const pair[2], int64_t durable)
{
    return is_line_durable(pair[0], durable) && is_line_durable(pair[1], durable);
}

bool learner_pair__settle(struct learner_line *const pair[2], int64_t durable, struct fr_err *err)
{
    if (!learner_pair__is_durable(pair, durable))
        return fr_fail(err, FR_UNAVAILABLE, "model '%s': its file waits for an epoch or for a backup; ask again",
                       pair[0]->model->name);
    return learner_line__settle(pair[0], err) && (!pair[1] || learner_line__settle(pair[1], err));
}

/* ---- opening ---- */

/* A crash between the two renames of a promotion: the live file has taken its place, the shadow's is there beside its own. */
static void finish_promotion(const char *live, const char *shadow)
{
    struct learner_optimiser unused;
    struct learner_file_info info;
    uint32_t of_live = 0, of_shadow = 0;
    char beside[PATH_BYTES + 8];
    struct fr_err err;

    snprintf(beside, sizeof beside, "%s.new", shadow);
    if (!learner_file__glance(live, &of_live, &unused) || !learner_file__glance(shadow, &of_shadow, &unused) ||
        of_shadow >= of_live || !learner_file_look(beside, &info, &err) || info.promotions != of_live)
        return;
    if (!learner_file__adopt(shadow, true, &err))
        fr_log(FR_LOG_WARN, "learner", "a promotion is half done: %s", err.message);
}

/* Whoever learned by the settings that are the shadow's was promoted, and goes on by them. */
bool learner_pair__open(struct learner_line *pair[2], int model, const struct learner_options *options, struct fr_err *err)
{
    const struct learner_model *configured = &options->config->models[model];
    const struct learner_optimiser *settings[2] = {&configured->optimiser, &configured->shadow};
    static const size_t settings_bytes = sizeof *settings[0];
    char live[PATH_BYTES], shadow[PATH_BYTES];
    struct learner_optimiser kept;
    uint32_t promotions;
    bool is_promoted;

    learner_line__path(options->directory, configured, false, live, sizeof live);
    learner_line__path(options->directory, configured, true, shadow, sizeof shadow);
    if (configured->has_shadow && live[0])
        finish_promotion(live, shadow);
    is_promoted = configured->has_shadow && live[0] && learner_file__glance(live, &promotions, &kept) &&
                  memcmp(&kept, settings[0], settings_bytes) != 0 && memcmp(&kept, settings[1], settings_bytes) == 0;
    for (int i = 0; i < (configured->has_shadow ? 2 : 1); i++) {
        struct learner_line_options line = {.schema = &options->schemas[model],
                                            .is_shadow = i == 1,
                                            .optimiser = settings[i ^ is_promoted],
                                            .directory = options->directory,
                                            .durable = options->durable,
                                            .metrics = options->metrics};

        pair[i] = aligned_alloc(_Alignof(struct learner_line), sizeof(struct learner_line));
        if (!pair[i])
            return fr_fail(err, FR_EXHAUSTED, "learner: out of memory");
        if (!learner_line__open(pair[i], &line, err))
            return false;
    }
    return true;
}
