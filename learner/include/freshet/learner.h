/*
 * The learning loop: what was served is joined with what happened next, becomes examples, and trains a model whose parameters are
 * published by version. A model is hashed sparse and dense features, several tasks: per task a linear part (FTRL-proximal), shared by
 * all a factorisation machine of second order. docs/model.md has the formulas, so that an outside program computes the same.
 *
 * Threads. One learner thread owns what is trained; it is handed examples, pushes and orders by one bounded queue. Everything that
 * reads (scores, pulls, states) is for any thread and never waits: it looks at the last published version, all of one call at the
 * same one. Who calls what:
 *
 *   configuration  learner_config_parse(), once, while the file is read
 *   pipeline       learner_schema_make() for each model once the read plans are known; learner_open() before lanes start,
 *                  learner_close() after they stopped
 *   lanes, join    learner_schema_dense(), learner_schema_sparse(): rows of an example; pure, any thread
 *   outbox         learner_learn(): hands finished examples over; any one thread at a time for each position sequence
 *   calls          learner_score(), learner_pull(), learner_state(): on a loop; learner_push(), learner_order(): block, on a pool
 */
#ifndef FRESHET_LEARNER_H
#define FRESHET_LEARNER_H

#include <freshet/arena.h>
#include <freshet/buffer.h>
#include <freshet/error.h>
#include <freshet/metrics.h>
#include <freshet/setting.h>
#include <freshet/yaml.h>

enum {
    LEARNER_MODELS_MAX = 16,
    LEARNER_TASKS_MAX = 16,
    LEARNER_SPARSE_MAX = 64, /* specs of a model */
    LEARNER_PARTS_MAX = 4, /* of a cross */
    LEARNER_DENSE_MAX = 1024,
    LEARNER_FACTORS_MAX = 64,
    LEARNER_TERMS_MAX = 16, /* of a blend */
    LEARNER_DRIFT_COLUMNS = 16, /* that a state tells */
    LEARNER_SCENES = 6, /* as PROTO_SCENES: by number, 0 for none */
};

/* Ids of coordinates, as Example.sparse, ModelDelta and Push have them: the three kinds never meet. */
#define LEARNER_INTERCEPT UINT64_C(0)
#define LEARNER_SPARSE_BASE (UINT64_C(1) << 32) /* + hash mod 2^bits; 1 + k is dense column k */

/* ---- Configuration: `learner` and `models`, checked ---- */

/* The keys of its sections, for the reference. */
const struct fr_settings *learner_settings(int *section_count);

enum learner_policy { LEARNER_WAIT, LEARNER_FNW, LEARNER_SLIVER, LEARNER_FIRST_ONLY };

struct learner_task {
    const char *name;
    uint64_t actions; /* that make it positive: bit a for enum Action a */
    enum learner_policy policy;
    int64_t window_ms; /* default 5 min */
    double negatives; /* the rate at which negatives are kept, (0, 1]; 1: all */
    bool is_watch_rank; /* its label is the rank of the watch among those of about its length, and not 1; of watches alone */
};

/* What a sparse coordinate is hashed from. */
enum learner_part_kind {
    LEARNER_USER_ID,
    LEARNER_ITEM_ID,
    LEARNER_ROOM_ID, /* of the request, 0 without */
    LEARNER_SCENE, /* its number */
    LEARNER_ITEM_CREATOR_ID, /* what the item remembers */
    LEARNER_ITEM_ROOM_ID,
    LEARNER_ITEM_CATEGORY_ID,
    LEARNER_COLUMN /* of the feature set's matrix, as a bucket */
};

struct learner_part {
    enum learner_part_kind kind;
    const char *name; /* as written: "item.creator_id", "item_watches.5m" */
};

struct learner_sparse {
    const char *name; /* of a cross: its parts' names with * between */
    struct learner_part parts[LEARNER_PARTS_MAX];
    int part_count;
};

enum learner_transform { LEARNER_STANDARD, LEARNER_LOG, LEARNER_RAW };

const char *learner_transform_name(enum learner_transform transform); /* as in the configuration; static */

struct learner_dense { /* one entry of `dense`: a feature's columns, or one column, or all that no other entry names */
    const char *name; /* "all": the rest */
    enum learner_transform transform;
};

/* A sum of products: Σ coefficient × Π p_task ^ power. */
struct learner_term {
    double coefficient;
    double powers[LEARNER_TASKS_MAX]; /* 0 where the task is not in it */
};
struct learner_blend {
    int term_count; /* 0: nothing said of this scene, the score is the first task's probability */
    struct learner_term terms[LEARNER_TERMS_MAX];
};

struct learner_optimiser {
    double alpha, beta, l1, l2; /* FTRL-proximal, of the linear part: 0.1, 1, 0, 0 */
    double factor_rate, factor_l2; /* AdaGrad, of the factors: 0.05, 1e-5 */
    int admit; /* examples that name a coordinate before it is kept: 1 */
    int admit_factors; /* before it gets factors: 10 */
    int64_t expire_ms; /* a coordinate that no example named for so long (event time) goes: 30 d; 0: never */
};

struct learner_model {
    const char *name;
    const char *feature_set;
    int bits, factors;
    int64_t publish_ms;
    bool is_by_arrival; /* examples are learned as they are made, and not in the order of the log's clock */
    int64_t drift_current_ms, drift_reference_ms; /* half-lives of the distributions that are compared: 1 h, 7 d */
    struct learner_dense *dense;
    int dense_count; /* entries, not columns; those come with the schema */
    struct learner_sparse *sparse;
    int sparse_count;
    struct learner_task *tasks; /* in declared order */
    int task_count;
    struct learner_blend blends[LEARNER_SCENES]; /* by scene; a formula for `default` is copied to those without */
    struct learner_optimiser optimiser;
    bool has_shadow; /* a second model beside the live one, from the same examples, with its own optimiser */
    struct learner_optimiser shadow;
};

struct learner_sessions { /* how sessions are cut out of what users do: docs/sequences.md */
    const char *topic; /* NULL: there are none */
    uint64_t actions; /* that are tokens */
    int64_t gap_ms, duration_ms;
    int64_t tokens; /* most of a record */
    uint64_t bytes; /* that may wait */
    bool has_slates; /* impressions are tokens, and each request's feedback is told */
    bool has_pairs;
    uint64_t pair_actions; /* that are positive */
    double least_s; /* and a watch if it was so long */
    int64_t within; /* tokens that a pair may be apart */
    int64_t slots; /* of the frequencies */
    double rate; /* of their moving averages */
};

struct learner_config {
    int64_t serve_ttl_ms; /* 10 min */
    uint64_t join_bytes; /* 256 MiB */
    const char *served, *examples; /* topics */
    struct learner_model models[LEARNER_MODELS_MAX];
    int model_count;
    struct learner_sessions sessions;
};

/*
 * Reads `learner`, `models` and `sessions` of the configuration's root, and looks at the names of `feature_sets`. All mistakes go to
 * `diagnostics`, with the nearest name; then NULL is returned. The result is in `arena`, its texts may lie in the tree's.
 */
struct learner_config *learner_config_parse(struct fr_yaml *root, struct fr_arena *arena, struct fr_diagnostics *diagnostics);

/* What sessions cost a user, and all of them, as text; nothing without them. */
void learner_sessions_estimate(const struct learner_sessions *sessions, struct fr_buffer *out);

/* The index of the model called `name` ("": the only one). FR_BAD_INPUT with the nearest name. */
FR_CHECKED bool learner_config_model(const struct learner_config *config, const char *name, int *index, struct fr_err *err);

/* The index of a model's task. FR_BAD_INPUT with the nearest name. */
FR_CHECKED bool learner_config_task(const struct learner_model *model, const char *name, int *index, struct fr_err *err);

/* ---- Schema: which numbers stand where in an example ---- */

struct learner_schema {
    uint64_t hash; /* over the names of dense columns, sparse specs and tasks, bits and factors: what Example.schema holds */
    const struct learner_model *model;
    int user_columns, item_columns; /* of the matrix that rows are taken from */
    const char **dense; /* column names in order: ModelDelta id 1 + k is column k */
    int *dense_from; /* column of the matrix row: user columns, then item columns */
    enum learner_transform *transforms;
    int dense_count;
    const char **sparse; /* in the order of Example.sparse */
    int sparse_count;
    int (*part_columns)[LEARNER_PARTS_MAX]; /* of a part that is a column: which of the matrix row; else −1 */
    bool needs_item_fields; /* some part is item.creator_id, item.room_id or item.category_id */
};

/*
 * Resolves a model against the columns of its feature set's read plan, in Describe's order. All in `arena` but the model and the
 * names. FR_BAD_CONFIG: a column that is not there, with the nearest.
 */
FR_CHECKED bool learner_schema_make(const struct learner_model *model, const char *const *user_columns, int user_count,
                                    const char *const *item_columns, int item_count, struct fr_arena *arena,
                                    struct learner_schema *schema, struct fr_err *err);

/* What is known of a row beside the matrix; 0 where not. */
struct learner_ids {
    uint64_t user_id, item_id, room_id, scene;
    uint64_t item_creator_id, item_room_id, item_category_id;
};

/*
 * The dense row of one item, as served: schema->dense_count of the user's and the item's columns, untransformed. What is not finite
 * is copied as it is; the learner and Score refuse or contain it. Pure.
 */
void learner_schema_dense(const struct learner_schema *schema, const float *user_values, const float *item_values,
                          float *dense);

/*
 * The sparse row: schema->sparse_count coordinates, 2^32 + XXH64 mod 2^bits, where the hash (seed 0) is over, for each part,
 * its name, a zero byte and its value as 8 bytes little endian. A column's value is its bucket (learner_bucket()). Pure.
 */
void learner_schema_sparse(const struct learner_schema *schema, const struct learner_ids *ids, const float *user_values,
                           const float *item_values, uint64_t *sparse);

/* 0 for 0 and NaN; else 1 + floor(2 log2(1 + |x|)), of negative numbers as two's complement. Exact: no libm. */
uint64_t learner_bucket(double value);

/* ---- The learner ---- */

struct learner;

struct learner_options {
    const struct learner_config *config; /* these outlive the learner */
    const struct learner_schema *schemas; /* config->model_count of them */
    const char *directory; /* of model files, made if missing; NULL: nothing is kept */
    int64_t durable; /* learner_durable() at open; INT64_MAX: nobody tells, and whatever was learned may be kept at once */
    struct fr_metrics *metrics;
};

/*
 * Loads model files, starts the thread. A file of another schema, or one that fails its checksum, is set aside by name and told in
 * the log. FR_BAD_CONFIG: the directory cannot be used; FR_EXHAUSTED: out of memory.
 */
FR_CHECKED bool learner_open(const struct learner_options *options, struct learner **learner, struct fr_err *err);

/* Learns what is queued, writes the files whose examples are durable, joins the thread. No call may come after. NULL is fine. */
void learner_close(struct learner *learner);

/* ---- Examples ---- */

struct learner_example {
    uint64_t example_id;
    int model; /* index in learner_config.models */
    int task; /* index in its tasks */
    int64_t served_ms; /* event time */
    const float *dense; /* schema->dense_count as served; copied by learner_batch_add() */
    const uint64_t *sparse; /* coordinates as Example.sparse; likewise */
    int dense_count, sparse_count;
    float label; /* 0 … 1 */
    float weight; /* importance; 1. The weights of `fnw` are the learner's own business: it knows the task's policy */
    float
        log_rate; /* ln of the rate at which negatives were kept, 0 without sampling: σ(f − log_rate) is trained, σ(f) served */
};

/*
 * Examples on their way to the learner; one thread. `position` is the outbox's: models keep it in their files, and a batch whose
 * position a model has learned to already is skipped by it, so a restart relearns exactly the tail.
 */
struct learner_batch;
struct learner_batch *learner_batch_new(int64_t position); /* NULL when out of memory; position 0: none */
/* Copies it. False when the batch is full (1,024 examples or 4 MiB) or out of memory: hand it over and begin another. */
FR_CHECKED bool learner_batch_add(struct learner_batch *batch, const struct learner_example *example);
int learner_batch_count(const struct learner_batch *batch);
void learner_batch_free(struct learner_batch *batch); /* NULL is fine */

/*
 * Takes the batch over and leaves NULL behind; waits up to `timeout_ms` for room. False: the learner is behind (slow the source
 * down) or closing; the batch is still the caller's. Examples that name no task, have rows of another length, or numbers that are
 * not finite are rejected and counted when they are learned. Each is judged (progressive validation) before it changes the model.
 */
FR_CHECKED bool learner_learn(struct learner *learner, struct learner_batch **batch, int timeout_ms);

/* The least position that all models' files held at open, where the outbox has to begin again; 0: none. */
int64_t learner_position(const struct learner *learner);

/*
 * All batches before `position` are durable where they come from. A model may learn ahead of that, but its file takes its place only
 * then: a crash that loses examples loses what was learned of them, too. Any thread.
 */
void learner_durable(struct learner *learner, int64_t position);

/* Between these two no model's file changes, nor learner_durable_position(): a copy of all is of one moment. They nest. Any thread. */
void learner_hold(struct learner *learner);
void learner_release(struct learner *learner);

/* The least position that all models' files hold now: what lies before may go. Any thread. */
int64_t learner_durable_position(const struct learner *learner);

/* ---- State ---- */

/*
 * The population stability index, Σ (p − q) ln(p / q), of the examples of late against those of long (docs/model.md); by convention
 * below 0.1 little has changed, above 0.25 much.
 */
struct learner_label_drift {
    double stability, rate, reference_rate; /* the mean label, of late and of long */
};
struct learner_column_drift {
    const char *column;
    double stability;
};

struct learner_task_state {
    const char *name;
    double auc, log_loss, normalized_entropy, calibration; /* of progressive validation, fading; 0 before the first example */
    uint64_t examples, positives; /* with a label above 0 */
    struct learner_label_drift drift; /* of the live line; the shadow learns from the same */
};

struct learner_state {
    const char *name, *role; /* "live", "shadow", "frozen" */
    uint64_t version, schema, examples, rejected, coordinates, rollbacks;
    int64_t published_ms;
    struct learner_task_state tasks[LEARNER_TASKS_MAX];
    int task_count;
    struct learner_column_drift drift[LEARNER_DRIFT_COLUMNS]; /* dense columns that changed most, falling; of the live line */
    int drift_count;
};

/* As of the last version. is_shadow: false when there is none. Any thread; never waits. */
bool learner_state(struct learner *learner, int model, bool is_shadow, struct learner_state *state);

/* ---- Scoring: any thread, never waits ---- */

enum learner_explore { LEARNER_EXPLORE_NONE, LEARNER_EXPLORE_THOMPSON, LEARNER_EXPLORE_UCB };

struct learner_ask {
    int model;
    int scene; /* whose formula blends; 0: none */
    const int *tasks; /* whose probabilities are asked for, in order */
    int task_count;
    enum learner_explore explore;
    uint64_t seed;
    const uint64_t *item_ids;
    const float *dense; /* items × schema->dense_count, as served */
    const uint64_t *sparse; /* items × schema->sparse_count */
    int item_count;
};

struct learner_scores { /* in the arena */
    uint64_t version;
    float *probabilities; /* items × tasks asked for: without exploration */
    float *scores; /* the blend, of explored probabilities if asked for */
    float *score_sd; /* of the blend, to first order */
    double *logits; /* items × tasks asked for: what a pulled copy repeats bit by bit */
};

/* All of it by one version. A dense value that is not finite counts as the column's mean. FR_EXHAUSTED: the arena's limit. */
FR_CHECKED bool learner_score(struct learner *learner, const struct learner_ask *ask, struct fr_arena *arena,
                              struct learner_scores *scores, struct fr_err *err);

/* ---- Pulling: any thread, never waits ---- */

struct learner_delta { /* one message; in the arena */
    uint64_t version; /* that the copy is at when this is applied: the old one until a version's last message */
    bool is_full; /* forget everything first */
    bool is_last; /* of its version: digest is set */
    uint32_t width; /* tasks + factors */
    uint64_t *ids;
    float *weights; /* ids × width */
    size_t count;
    uint64_t *removed;
    size_t removed_count;
    uint64_t digest; /* Σ over rows of XXH64(id ‖ weights, little endian) + XXH64(means ‖ scales); never 0 on the last */
    uint64_t schema;
    double *dense_mean, *dense_scale; /* schema->dense_count */
};

struct learner_pull { /* one stream; zeroed, with model and since_version set */
    int model;
    bool is_shadow;
    uint64_t since_version; /* what the client has; 0: nothing */
    /* The rest is learner_pull()'s own. */
    bool is_begun, is_full; /* is_full: in the middle of one */
    uint64_t start_version; /* where the delta begins that completes what was sent */
    uint32_t next_row; /* of a full one */
    bool has_entry;
    uint64_t next_entry; /* in the log of changes */
};

enum learner_pulled { LEARNER_PULLED, LEARNER_PULL_CURRENT, LEARNER_PULL_EXHAUSTED };

/* The next message of a stream, 256 KiB of weights at most; CURRENT: the client has the last version. */
enum learner_pulled learner_pull(struct learner *learner, struct learner_pull *pull, struct fr_arena *arena,
                                 struct learner_delta *delta);

/* ---- Pushing and orders: block until the learner has done it; on a pool ---- */

struct learner_push {
    uint64_t base_version; /* that the values were computed against */
    uint64_t schema;
    bool is_weights; /* they take the place of the coordinates'; else summed gradients for the model's own optimiser */
    uint32_t width;
    const uint64_t *ids;
    const float *values; /* ids × width */
    size_t count;
};

struct learner_pushed {
    uint64_t version; /* the first that has it */
    uint64_t accepted, rejected; /* ids: unknown, or with a value that is not finite or beyond ±1,000 */
};

/* FR_BAD_INPUT: lengths; FR_PRECONDITION: schema, a version that is not kept or not yet there, frozen; FR_UNAVAILABLE: closing. */
FR_CHECKED bool learner_push(struct learner *learner, int model, const struct learner_push *push, struct learner_pushed *pushed,
                             struct fr_err *err);

enum learner_order { LEARNER_FREEZE, LEARNER_THAW, LEARNER_ROLLBACK, LEARNER_PROMOTE, LEARNER_SAVE, LEARNER_KEEP };

/*
 * FREEZE: judges on, learns no more, until THAW. ROLLBACK: the last file but what it held is served again, as a new version. PROMOTE: the
 * shadow becomes the live one and the live one the shadow; a frozen one thaws. SAVE: writes the file now. All of these write files,
 * which outlive a crash once KEEP says so: it fails with FR_UNAVAILABLE while the examples in them are not durable (an epoch makes them so), or files are held.
 * FR_PRECONDITION: there is no shadow, no file.
 */
FR_CHECKED bool learner_order(struct learner *learner, int model, enum learner_order order, struct fr_err *err);

/* ---- A model's file ---- */

struct learner_file_info {
    uint64_t schema, version, examples, coordinates;
    int64_t position; /* of the outbox, learned to */
    uint32_t promotions; /* of the pair of live and shadow, ever */
};
/* What is in it; all of it is read. FR_CORRUPT: it is not whole; FR_UNAVAILABLE: it cannot be read. */
FR_CHECKED bool learner_file_look(const char *path, struct learner_file_info *info, struct fr_err *err);

/* ---- One model by hand, on the caller's thread: for benchmarks and for files ---- */

struct learner_alone;
struct learner_alone *learner_alone_new(const struct learner_schema *schema); /* NULL when out of memory */
void learner_alone_free(struct learner_alone *alone);
/* The probability of each before it is learned into probabilities[0..count), NaN for one that is refused. */
void learner_alone_learn(struct learner_alone *alone, const struct learner_example *examples, int count, double *probabilities);

#endif
