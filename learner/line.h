/*
 * A line: one model that learns, live or its shadow, with what serves it, judges it and keeps it. The learner's thread owns it, but
 * for reading its serving table.
 */
#ifndef LEARNER_LINE_H
#define LEARNER_LINE_H

#include "internal.h"

#include <freshet/metrics.h>

struct learner_gauges { /* of a task */
    struct fr_gauge *auc, *log_loss, *entropy, *calibration, *label_drift;
};

struct learner_line {
    const struct learner_model *model;
    const struct learner_schema *schema;
    bool is_shadow;
    struct learner_trainer trainer;
    struct learner_serving serving;
    struct learner_judged judged[LEARNER_TASKS_MAX];
    struct learner_drift drift; /* of the live line; it stays where it is when they change places: both see the same examples */
    struct learner_state drift_state; /* what it said last, in `drift`, `drift_count` and each task's `drift` */
    int64_t next_drift_ms; /* monotonic */
    int64_t position; /* of the outbox, learned to */
    bool is_frozen;
    bool is_pending; /* something to tell since the last version */
    bool is_dirty; /* something was learned since the last file */
    bool keeps_file; /* the file there is has something to go back to */
    bool is_opening; /* the next save is the one at open: what it replaces is the same */
    bool is_waiting; /* a file is written beside, and waits until what it learned is durable */
    bool keeps_next; /* that file has the one before it kept */
    int64_t written_position; /* of that file */
    uint32_t promotions; /* of the pair, ever */
    bool is_alarmed; /* rolled back, and not yet in the band again */
    uint32_t hold; /* examples that are still only judged, after a roll-back */
    uint64_t rejected, rollbacks;
    int64_t next_publish_ms, next_save_ms; /* monotonic */
    char path[512]; /* of the file; "" for none */
    _Atomic int64_t saved_position;
    struct learner_gauges gauges[LEARNER_TASKS_MAX];
    struct fr_gauge *frozen, *drift_gauge;
    struct fr_counter *learned_total, *rejected_total, *rollbacks_total, *versions_total;
};

struct learner_line_options {
    const struct learner_schema *schema;
    bool is_shadow;
    const struct learner_optimiser *optimiser;
    const char *directory; /* NULL: nothing is kept */
    int64_t durable; /* positions before it are; a file that knows of more is of another history */
    struct fr_metrics *metrics;
};

/* Loads its file if there is one. The line is to be closed after a failure too. */
FR_CHECKED bool learner_line__open(struct learner_line *line, const struct learner_line_options *options, struct fr_err *err);
void learner_line__close(struct learner_line *line);

/* Judges and learns; what it refuses is counted. The examples are this model's. */
void learner_line__learn(struct learner_line *line, const struct learner_example *const *examples, int count);

void learner_line__publish(struct learner_line *line);
/* Where its file is, with room for more at the end; "" without a directory. */
void learner_line__path(const char *directory, const struct learner_model *model, bool is_shadow, char *path, size_t size);

/* Writes its file beside the one there is. `is_ordered`: although it is alarmed and may be spoiled. */
FR_CHECKED bool learner_line__save(struct learner_line *line, bool is_ordered, struct fr_err *err);
/* The file that waits takes its place. */
FR_CHECKED bool learner_line__settle(struct learner_line *line, struct fr_err *err);
FR_CHECKED bool learner_line__rollback(struct learner_line *line, struct fr_err *err);
FR_CHECKED bool learner_line__promote(struct learner_line *live, struct learner_line *shadow, struct fr_err *err);

/* ---- pair.c: live [0], and shadow [1] or NULL ---- */

/* Makes both lines of a model, each to be closed after a failure too. */
FR_CHECKED bool learner_pair__open(struct learner_line *pair[2], int model, const struct learner_options *options,
                                   struct fr_err *err);
/* A new version tells it, a file keeps it. */
FR_CHECKED bool learner_pair__freeze(struct learner_line *const pair[2], bool is_frozen, struct fr_err *err);
/* Whether their files that wait have only what is durable: before `durable`. */
bool learner_pair__is_durable(struct learner_line *const pair[2], int64_t durable);
/* Both files take their places, or neither: of a promotion, one without the other would be the same model twice. FR_UNAVAILABLE: not durable. */
FR_CHECKED bool learner_pair__settle(struct learner_line *const pair[2], int64_t durable, struct fr_err *err);

/* ---- push.c ---- */

FR_CHECKED bool learner_push__apply(struct learner_line *line, const struct learner_push *push, struct learner_pushed *pushed,
                                    struct fr_err *err);

/* ---- file.c: a model on disk ---- */

/* Writes and syncs PATH.new. FR_UNAVAILABLE with what the disk said; then there is none. */
FR_CHECKED bool learner_file__write(const struct learner_line *line, struct fr_err *err);
/* It takes the place of the file before it, which goes, or is kept as PATH.1. */
FR_CHECKED bool learner_file__adopt(const char *path, bool keeps_before, struct fr_err *err);
/* What its first bytes say, unchecked; false when there are none. */
bool learner_file__glance(const char *path, uint32_t *promotions, struct learner_optimiser *optimiser);

struct learner_kept { /* what a file has beside the trainer */
    uint64_t version;
    int64_t position;
    bool is_frozen;
    uint32_t promotions;
    struct learner_judged judged[LEARNER_TASKS_MAX];
    struct learner_drift *drift; /* the caller's, as new; NULL: not wanted. A shadow's file has none */
};

/* Into a trainer that is as new. FR_PRECONDITION: another schema; FR_CORRUPT: not whole; FR_UNAVAILABLE: there is none. */
FR_CHECKED bool learner_file__load(const char *path, struct learner_trainer *trainer, struct learner_kept *kept,
                                   struct fr_err *err);

/* ---- become.c ---- */

/* Makes `trainer` what `other` is, in one version: rows that `other` lacks expire. False: out of memory, nothing is changed yet. */
FR_CHECKED bool learner_trainer__become(struct learner_trainer *trainer, const struct learner_trainer *other);

/* ---- learner.c ---- */

struct learner_line *learner__line(struct learner *learner, int model, bool is_shadow);

#endif
