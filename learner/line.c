/* One model that learns: examples in, versions out, judged on the way; a file every half minute, to go back to. */
#include "line.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <stdio.h>

enum {
    AHEAD = 4, /* examples between the first look at a coordinate and its learning, twice */
    EXPIRE_A_VERSION = 4096,
    HOLD_EXAMPLES = 2000, /* after a roll-back: only judged, while a burst of wrong labels may go on */
    SAVE_MS = 30000,
    DRIFT_MS = 1000, /* between two looks at how far distributions lie apart: some 10 µs a column */
    /* Versions of a run begin that far above the file's, and a file is written first: what the run before published after it is never mistaken for ours. */
    VERSIONS_A_FILE = 1000000
};

static void find_metrics(struct learner_line *line, struct fr_metrics *metrics)
{
    char labels[256];
    const char *role = line->is_shadow ? "shadow" : "live";

    snprintf(labels, sizeof labels, "model=\"%s\",role=\"%s\"", line->model->name, role);
    line->learned_total = fr_metrics_counter(metrics, "freshet_model_examples_total", labels, "Examples learned");
    line->rejected_total =
        fr_metrics_counter(metrics, "freshet_model_rejected_total", labels, "Examples refused: numbers or lengths");
    line->rollbacks_total =
        fr_metrics_counter(metrics, "freshet_model_rollbacks_total", labels, "Times that the model went back to a file");
    line->frozen = fr_metrics_gauge(metrics, "freshet_model_frozen", labels, "1 when it is judged and does not learn");
    if (!line->is_shadow)
        line->drift_gauge = fr_metrics_gauge(metrics, "freshet_model_drift", labels,
                                             "Greatest population stability index of a dense column, of late against long");
    line->versions_total = fr_metrics_counter(metrics, "freshet_model_versions_total", labels, "Versions published");
    for (int i = 0; i < line->model->task_count; i++) {
        struct learner_gauges *gauges = &line->gauges[i];

        snprintf(labels, sizeof labels, "model=\"%s\",role=\"%s\",task=\"%s\"", line->model->name, role,
                 line->model->tasks[i].name);
        gauges->auc = fr_metrics_gauge(metrics, "freshet_model_auc", labels, "Of progressive validation, fading");
        gauges->log_loss = fr_metrics_gauge(metrics, "freshet_model_log_loss", labels, "Of progressive validation, fading");
        gauges->entropy =
            fr_metrics_gauge(metrics, "freshet_model_normalized_entropy", labels, "Log loss by that of the mean rate, fading");
        gauges->calibration =
            fr_metrics_gauge(metrics, "freshet_model_calibration", labels, "Predicted by observed positives, fading");
        if (!line->is_shadow)
            gauges->label_drift = fr_metrics_gauge(metrics, "freshet_model_label_drift", labels,
                                                   "Population stability index of labels of late against those of long");
    }
}

/* A file that cannot be used is set aside, so that the next one does not replace it. */
static bool set_aside(const struct learner_line *line, const struct fr_err *why, struct fr_err *err)
{
    char aside[sizeof line->path + 8];

    snprintf(aside, sizeof aside, "%s.bad", line->path);
    fr_log(FR_LOG_WARN, "learner", "model '%s' begins anew: %s; the file is kept as %s", line->model->name, why->message,
           aside);
    return rename(line->path, aside) == 0 ||
           fr_fail(err, FR_BAD_CONFIG, "learner: cannot rename '%s' to '%s'; look at the directory", line->path, aside);
}

/* A file from another store, or newer than the store that was restored, knows of examples that this one has yet to make. */
static void take_position(struct learner_line *line, int64_t position, int64_t durable)
{
    if (position >= durable) {
        fr_log(FR_LOG_WARN, "learner",
               "model '%s' has learned up to chunk %lld, the store's outbox ends at %lld: the file is of another store or "
               "later than this "
               "one; it is taken to have learned all there is",
               line->model->name, (long long)position, (long long)durable);
        position = durable - 1;
    }
    line->position = position;
    atomic_store(&line->saved_position, position);
}

static bool load(struct learner_line *line, int64_t durable, uint64_t *version, struct fr_err *err)
{
    const struct learner_optimiser optimiser = line->trainer.optimiser;
    struct learner_kept kept = {.drift = line->is_shadow ? NULL : &line->drift};
    struct fr_err why;

    if (!line->path[0])
        return true;
    if (learner_file__load(line->path, &line->trainer, &kept, &why)) {
        take_position(line, kept.position, durable);
        line->is_frozen = kept.is_frozen && !line->is_shadow;
        line->promotions = kept.promotions;
        memcpy(line->judged, kept.judged, sizeof line->judged);
        line->keeps_file = true;
        *version = kept.version + VERSIONS_A_FILE;
        return true;
    }
    if (why.code == FR_UNAVAILABLE)
        return true;
    learner_trainer__fini(&line->trainer); /* half of it may have been read */
    learner_drift__fini(&line->drift);
    return set_aside(line, &why, err) && ((learner_trainer__init(&line->trainer, line->schema, &optimiser) &&
                                           (line->is_shadow || learner_drift__init(&line->drift, line->schema))) ||
                                          fr_fail(err, FR_EXHAUSTED, "learner: out of memory"));
}

void learner_line__path(const char *directory, const struct learner_model *model, bool is_shadow, char *path, size_t size)
{
    path[0] = '\0';
    if (directory)
        snprintf(path, size, "%s/%s%s.model", directory, model->name, is_shadow ? ".shadow" : "");
}

bool learner_line__open(struct learner_line *line, const struct learner_line_options *options, struct fr_err *err)
{
    const struct learner_model *model = options->schema->model;
    int64_t now_ms = fr_clock_monotonic_ms();
    uint64_t version = 1;

    memset(line, 0, sizeof *line);
    line->model = model;
    line->schema = options->schema;
    line->is_shadow = options->is_shadow;
    line->next_publish_ms = now_ms + model->publish_ms;
    line->next_save_ms = now_ms; /* before the first version: the next run has to begin above those of this one */
    line->is_dirty = line->is_opening = true;
    for (int i = 0; i < model->task_count; i++)
        learner_judged__init(&line->judged[i]);
    find_metrics(line, options->metrics);
    learner_line__path(options->directory, model, line->is_shadow, line->path, sizeof line->path);
    if (!learner_trainer__init(&line->trainer, line->schema, options->optimiser))
        return fr_fail(err, FR_EXHAUSTED, "learner: out of memory for model '%s' of %d bits", model->name, model->bits);
    if (!line->is_shadow && !learner_drift__init(&line->drift, line->schema))
        return fr_fail(err, FR_EXHAUSTED, "learner: out of memory for the distributions of model '%s'", model->name);
    if (!load(line, options->durable, &version, err))
        return false;
    if (!learner_serving__init(&line->serving, &line->trainer, version))
        return fr_fail(err, FR_EXHAUSTED, "learner: out of memory for model '%s' of %d bits", model->name, model->bits);
    learner_line__publish(line);
    return true;
}

void learner_line__close(struct learner_line *line)
{
    learner_serving__fini(&line->serving);
    learner_trainer__fini(&line->trainer);
    learner_drift__fini(&line->drift);
}

/* ---- learning ---- */

static void sound_alarm(struct learner_line *line, const char *task)
{
    struct fr_err err;

    line->is_alarmed = true;
    line->hold = HOLD_EXAMPLES;
    if (learner_line__rollback(line, &err))
        fr_log(FR_LOG_WARN, "learner",
               "model '%s' rolled back: the log loss of '%s' left its band; %d examples are only judged", line->model->name,
               task, HOLD_EXAMPLES);
    else
        fr_log(FR_LOG_WARN, "learner", "the log loss of '%s' of model '%s' left its band; no roll-back: %s", task,
               line->model->name, err.message);
}

static void watch(struct learner_line *line, int task)
{
    bool is_off = learner_judged__is_off(&line->judged[task]);

    if (is_off && !line->is_alarmed && !line->is_frozen)
        sound_alarm(line, line->model->tasks[task].name);
    if (!is_off && line->is_alarmed && line->hold == 0)
        line->is_alarmed = false;
}

static void learn_one(struct learner_line *line, const struct learner_example *example)
{
    bool is_only_judged = line->is_frozen || line->hold > 0;
    double probability, importance;

    if (!learner_trainer__accepts(&line->trainer, example)) {
        line->rejected++;
        fr_counter_add(line->rejected_total, 1);
        return;
    }
    if (!line->is_shadow)
        learner_drift__add(&line->drift, example);
    probability = learner_trainer__learn(&line->trainer, example, is_only_judged, &importance);
    learner_judged__add(&line->judged[example->task], probability, (double)example->label, importance);
    if (line->hold > 0)
        line->hold--;
    if (!is_only_judged)
        fr_counter_add(line->learned_total, 1);
    watch(line, example->task);
}

void learner_line__learn(struct learner_line *line, const struct learner_example *const *examples, int count)
{
    for (int i = 0; i < count; i++) {
        if (i + 2 * AHEAD < count)
            learner_trainer__prefetch(&line->trainer, examples[i + 2 * AHEAD]);
        if (i + AHEAD < count)
            learner_trainer__prefetch_rows(&line->trainer, examples[i + AHEAD]);
        learn_one(line, examples[i]);
    }
    line->is_pending = line->is_dirty = line->is_pending || count > 0;
}

/* ---- versions ---- */

static void look_at_drift(struct learner_line *line)
{
    int64_t now_ms = fr_clock_monotonic_ms();

    if (line->is_shadow || now_ms < line->next_drift_ms)
        return;
    line->next_drift_ms = now_ms + DRIFT_MS;
    line->drift_state.drift_count =
        learner_drift__greatest(&line->drift, line->schema, line->drift_state.drift, LEARNER_DRIFT_COLUMNS);
    fr_gauge_set(line->drift_gauge, line->drift_state.drift_count > 0 ? line->drift_state.drift[0].stability : 0);
    for (int i = 0; i < line->model->task_count; i++) {
        line->drift_state.tasks[i].drift = learner_drift__label(&line->drift, i);
        fr_gauge_set(line->gauges[i].label_drift, line->drift_state.tasks[i].drift.stability);
    }
}

static void fill_state(const struct learner_line *line, struct learner_state *state)
{
    *state = (struct learner_state){.name = line->model->name,
                                    .role = line->is_frozen   ? "frozen"
                                            : line->is_shadow ? "shadow"
                                                              : "live",
                                    .schema = line->schema->hash,
                                    .examples = line->trainer.learned,
                                    .rejected = line->rejected,
                                    .rollbacks = line->rollbacks,
                                    .task_count = line->model->task_count};
    state->drift_count = line->drift_state.drift_count;
    memcpy(state->drift, line->drift_state.drift, sizeof state->drift);
    fr_gauge_set(line->frozen, line->is_frozen);
    for (int i = 0; i < state->task_count; i++) {
        state->tasks[i] = learner_judged__state(&line->judged[i], line->model->tasks[i].name);
        state->tasks[i].drift = line->drift_state.tasks[i].drift;
        fr_gauge_set(line->gauges[i].auc, state->tasks[i].auc);
        fr_gauge_set(line->gauges[i].log_loss, state->tasks[i].log_loss);
        fr_gauge_set(line->gauges[i].entropy, state->tasks[i].normalized_entropy);
        fr_gauge_set(line->gauges[i].calibration, state->tasks[i].calibration);
    }
}

void learner_line__publish(struct learner_line *line)
{
    struct learner_state state;

    learner_trainer__expire(&line->trainer, EXPIRE_A_VERSION);
    look_at_drift(line);
    fill_state(line, &state);
    learner_serving__publish(&line->serving, &line->trainer, &state, fr_clock_wall_ms());
    fr_counter_add(line->versions_total, 1);
    line->is_pending = false;
    line->next_publish_ms = fr_clock_monotonic_ms() + line->model->publish_ms;
}

/* ---- files ---- */

bool learner_line__save(struct learner_line *line, bool is_ordered, struct fr_err *err)
{
    line->next_save_ms = fr_clock_monotonic_ms() + SAVE_MS;
    if (!line->path[0] || (line->is_alarmed && !is_ordered))
        return true; /* what may be spoiled is not kept */
    if (!learner_file__write(line, err))
        return false;
    line->is_waiting = true;
    line->written_position = line->position;
    line->keeps_next = line->keeps_file && !line->is_opening;
    line->is_dirty = false;
    return true;
}

bool learner_line__settle(struct learner_line *line, struct fr_err *err)
{
    if (!line->is_waiting)
        return true;
    line->is_waiting = false;
    if (!learner_file__adopt(line->path, line->keeps_next, err)) {
        line->is_dirty = true; /* the next save writes it again */
        return false;
    }
    line->keeps_file = line->keeps_file || !line->is_opening;
    line->is_opening = false;
    atomic_store(&line->saved_position, line->written_position);
    return true;
}

static bool load_other(const struct learner_line *line, struct learner_trainer *trainer, struct learner_kept *kept,
                       struct fr_err *err)
{
    char before[sizeof line->path + 4];

    snprintf(before, sizeof before, "%s.1", line->path);
    if (learner_file__load(before, trainer, kept, err))
        return true;
    learner_trainer__fini(trainer);
    return (learner_trainer__init(trainer, line->schema, &line->trainer.optimiser) ||
            fr_fail(err, FR_EXHAUSTED, "learner: out of memory")) &&
           learner_file__load(line->path, trainer, kept, err);
}

bool learner_line__rollback(struct learner_line *line, struct fr_err *err)
{
    struct learner_trainer other;
    struct learner_kept kept = {0};
    bool ok;

    if (!line->path[0])
        return fr_fail(err, FR_PRECONDITION, "model '%s' has no file to go back to yet", line->model->name);
    ok = learner_trainer__init(&other, line->schema, &line->trainer.optimiser) ||
         fr_fail(err, FR_EXHAUSTED, "learner: out of memory");
    ok = ok && load_other(line, &other, &kept, err);
    if (!ok && err->code == FR_UNAVAILABLE)
        err->code = FR_PRECONDITION;
    ok = ok && (learner_trainer__become(&line->trainer, &other) || fr_fail(err, FR_EXHAUSTED, "learner: out of memory"));
    learner_trainer__fini(&other);
    if (!ok)
        return false;
    line->rollbacks++;
    fr_counter_add(line->rollbacks_total, 1);
    learner_line__publish(line);
    return true;
}

static bool change_places(struct learner_line *live, struct learner_line *shadow)
{
    const struct learner_optimiser optimiser = live->trainer.optimiser;
    struct learner_trainer other;
    bool ok = learner_trainer__init(&other, live->schema, &optimiser) && learner_trainer__become(&other, &live->trainer) &&
              learner_trainer__settings(&live->trainer, &shadow->trainer.optimiser) &&
              learner_trainer__become(&live->trainer, &shadow->trainer) &&
              learner_trainer__settings(&shadow->trainer, &optimiser) && learner_trainer__become(&shadow->trainer, &other);

    learner_trainer__fini(&other);
    return ok;
}

/*
 * They change places, optimisers too: each goes on from what the other was. Both files are written before either takes its place, the
 * live one first: a crash between the two is finished at open (learner.c).
 */
bool learner_line__promote(struct learner_line *live, struct learner_line *shadow, struct fr_err *err)
{
    static const size_t judged_bytes = sizeof live->judged;
    struct learner_judged judged[LEARNER_TASKS_MAX];
    int64_t position = live->position;

    if (!change_places(live, shadow))
        return fr_fail(err, FR_EXHAUSTED, "learner: out of memory");
    memcpy(judged, live->judged, judged_bytes);
    memcpy(live->judged, shadow->judged, judged_bytes);
    memcpy(shadow->judged, judged, judged_bytes);
    live->position = shadow->position;
    shadow->position = position;
    live->is_frozen = shadow->is_frozen = false;
    live->promotions = shadow->promotions = (live->promotions > shadow->promotions ? live : shadow)->promotions + 1;
    learner_line__publish(live);
    learner_line__publish(shadow);
    if (learner_line__save(live, true, err) && learner_line__save(shadow, true, err))
        return true;
    live->is_waiting = shadow->is_waiting = false; /* both or neither; they are written again when they are due */
    live->is_dirty = shadow->is_dirty = true;
    return false;
}
