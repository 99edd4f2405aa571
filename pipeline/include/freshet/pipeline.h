/*
 * A node: the one place that wires store, aggregators, ingest and server together. It owns the lanes' sink, the committer, the
 * clock of reads (T) and the services. The command line starts one, prints where it listens, and waits.
 */
#ifndef FRESHET_PIPELINE_H
#define FRESHET_PIPELINE_H

#include <freshet/buffer.h>
#include <freshet/error.h>
#include <freshet/setting.h>
#include <freshet/yaml.h>

/* ---- Configuration ---- */

struct pipeline_config;

struct pipeline_config_source {
    const char *file; /* path as the user gave it; NULL when `text` is built in */
    const char *text; /* used when file is NULL */
    const char *const *sets; /* "server.listen=127.0.0.1:0" … applied over the file */
    int set_count;
};

/*
 * Reads and checks all of it. NULL when there is a mistake; `diagnostics` then has them all (file:line:column), otherwise
 * it may have warnings. Free with pipeline_config_free().
 */
struct pipeline_config *pipeline_config_load(const struct pipeline_config_source *source, struct fr_diagnostics *diagnostics);
void pipeline_config_free(struct pipeline_config *config);

/* Section i of what a configuration may say, in the order of reading, those of the other modules too; NULL past the last. */
const struct fr_settings *pipeline_settings(int i);

/* What `freshet check` prints about a good configuration: bytes per entity. */
void pipeline_config_estimate(const struct pipeline_config *config, struct fr_buffer *out);

struct pipeline_load { /* what a node is to hold and take */
    const char *const *cardinalities; /* "user=1000000", "item=5e4" */
    int cardinality_count;
    double events_per_s; /* 0: not known */
    bool is_json;
};

/*
 * What `freshet check --cardinality` prints: bytes of an entity (present only, at that rate, full), GiB in memory and on disk for each kind
 * and in all, bytes an epoch. FR_BAD_CONFIG: a cardinality that makes no sense, with the nearest entity.
 */
FR_CHECKED bool pipeline_config_cost(const struct pipeline_config *config, const struct pipeline_load *load,
                                     struct fr_buffer *out, struct fr_err *err);

typedef void (*pipeline_progress_fn)(void *user, uint64_t done, uint64_t of); /* now and then, on the caller's thread */

struct pipeline_compare_options {
    const char *directory; /* of a store */
    bool is_json;
    pipeline_progress_fn progress; /* may be NULL */
    void *user;
};

/*
 * What `freshet check --against` prints: each entity and feature kept, kept with less, starting empty, new or removed, and what changed;
 * as text lines or as one JSON object. Changes nothing in the directory, which a node may have open. FR_BAD_CONFIG: no store there;
 * FR_CORRUPT, FR_UNAVAILABLE: it cannot be read.
 */
FR_CHECKED bool pipeline_config_compare(const struct pipeline_config *config, const struct pipeline_compare_options *options,
                                        struct fr_buffer *out, struct fr_err *err);

struct pipeline_fsck_options {
    bool is_json;
    pipeline_progress_fn progress; /* may be NULL */
    void *user;
};

/*
 * What `freshet fsck` prints: whether every record of the last epoch in store.path can be read and makes sense, as text lines or one JSON
 * object; *is_sound tells the same. Changes nothing there, and a node may have it open. Takes the catalogue out of `config`.
 * FR_BAD_CONFIG: no store there. What cannot be opened at all is no failure but told.
 */
FR_CHECKED bool pipeline_fsck(struct pipeline_config *config, const struct pipeline_fsck_options *options,
                              struct fr_buffer *out, bool *is_sound, struct fr_err *err);

struct pipeline_backup { /* one of those in a directory of backups */
    uint32_t id;
    int64_t made_ms;
    uint64_t bytes;
    uint32_t files;
};

/* Every whole one, the oldest first. FR_BAD_CONFIG: the directory holds none. */
FR_CHECKED bool pipeline_backup_each(const char *directory, void (*each)(void *user, const struct pipeline_backup *backup),
                                     void *user, struct fr_err *err);

/*
 * Copies the last epoch in store.path, on which no node runs, into `directory`, and keeps the `keep` latest backups there (0: all). A node
 * that runs is asked by AdminService.Checkpoint instead.
 */
FR_CHECKED bool pipeline_backup_make(const struct pipeline_config *config, const char *directory, uint32_t keep,
                                     struct pipeline_backup *backup, struct fr_err *err);

/*
 * Makes store.path, which is missing or empty, anew from backup `id` (0: the latest), each file checked against its checksum.
 * FR_CORRUPT: the backup is damaged; FR_BAD_CONFIG: there is none, or store.path is not empty.
 */
FR_CHECKED bool pipeline_backup_restore(const struct pipeline_config *config, const char *directory, uint32_t id,
                                        struct pipeline_backup *backup, struct fr_err *err);

const char *pipeline_config_store_path(const struct pipeline_config *config);

/* The first topic of the configuration, its partitions, and whether its format is JSON: where demo and simulate produce to. */
const char *pipeline_config_topic(const struct pipeline_config *config, int *partitions, bool *is_json);
bool pipeline_config_has_topic(const struct pipeline_config *config, const char *name);
const char *pipeline_config_group(const struct pipeline_config *config);
bool pipeline_config_is_embedded(const struct pipeline_config *config);

/* ---- A node ---- */

struct pipeline_node;

/*
 * Opens the store, starts the embedded broker if asked for, listens, starts to serve and to consume. Takes over *config. Returns
 * before the node is ready. Errors are FR_BAD_CONFIG or FR_CORRUPT, one line each, for exit 1.
 */
FR_CHECKED bool pipeline_node_start(struct pipeline_config **config, struct pipeline_node **node, struct fr_err *err);

const char *pipeline_node_api(const struct pipeline_node *node);
const char *pipeline_node_operations(const struct pipeline_node *node);
const char *pipeline_node_brokers(const struct pipeline_node *node);

bool pipeline_node_is_ready(struct pipeline_node *node);
uint64_t pipeline_node_applied_events(struct pipeline_node *node);
int64_t pipeline_node_lag_events(struct pipeline_node *node); /* −1 while end offsets are not known */

/* Asks it to stop; async-signal-safe. */
void pipeline_node_stop(struct pipeline_node *node);

/* Waits up to `timeout_ms` (−1: for ever). True when the node was asked to stop or failed for good; then *failure says why (code 0: asked). */
bool pipeline_node_wait(struct pipeline_node *node, int timeout_ms, struct fr_err *failure);

/*
 * Stops accepting, drains, stops the lanes, commits a last epoch, closes; a watchdog ends the process with _exit when it takes
 * longer than 20 s (after the last epoch is durable the exit code is still the caller's). Takes NULL.
 */
void pipeline_node_close(struct pipeline_node *node);

/* ---- A replay: state from a file or from a topic's offsets, without a server. One thread. ---- */

struct pipeline_replay;

struct pipeline_replay_options {
    bool is_file; /* records come by pipeline_replay_put(); otherwise from kafka.brokers of the configuration */
    const char *topic; /* instead of the configuration's; NULL: all of them. Outlives the replay */
    int64_t from; /* the offset at which each partition begins; −1: the earliest */
    int64_t to; /* where each ends, at most where it ended when it was found; −1: just there */
    int64_t until_ms; /* later events are passed over; INT64_MAX: none */
};

/*
 * Opens an empty store.path, starts lanes and committer. Takes over *config, unless the directory is refused. With clock: wall what lies
 * further ahead than max_future is refused as a node would; with clock: event nothing is. FR_BAD_CONFIG, FR_CORRUPT as a node.
 */
FR_CHECKED bool pipeline_replay_open(struct pipeline_config **config, const struct pipeline_replay_options *options,
                                     struct pipeline_replay **replay, struct fr_err *err);

/*
 * From a file: one event in wire form, copied. FR_EXHAUSTED: the lanes are busy, put it again; anything else ends the replay.
 */
FR_CHECKED bool pipeline_replay_put(struct pipeline_replay *replay, uint64_t user_id, struct fr_slice record,
                                    struct fr_err *err);

struct pipeline_replay_progress {
    uint64_t at, of; /* offsets */
    uint64_t records; /* finished */
    bool is_done;
};

/* From a topic: how far it is. False when it has failed for good. */
FR_CHECKED bool pipeline_replay_look(struct pipeline_replay *replay, struct pipeline_replay_progress *progress,
                                     struct fr_err *err);

/* Waits until all is applied and durable; only now a node takes the store for whole. */
FR_CHECKED bool pipeline_replay_finish(struct pipeline_replay *replay, struct fr_err *err);

struct pipeline_replay_report {
    uint64_t records, applied, duplicates, passed_over;
    uint64_t rejected; /* unknown actions, and what would be a dead letter */
    int64_t stream_time_ms;
    uint64_t epoch, entities, memory_bytes;
};

/* After it: what was applied, the same and more as members of a JSON object, appended, and the digest of the state. */
struct pipeline_replay_report pipeline_replay_report(struct pipeline_replay *replay);
void pipeline_replay_print(struct pipeline_replay *replay, struct fr_buffer *out);
FR_CHECKED bool pipeline_replay_digest(struct pipeline_replay *replay, char out[33], struct fr_err *err);

void pipeline_replay_close(struct pipeline_replay *replay); /* NULL is fine */

/* ---- Skew: what was served beside what a replay gives. One thread. ---- */

struct pipeline_skew;

struct pipeline_skew_options {
    int samples; /* of the served records that can be done again, so many of the last ones */
};

/*
 * Reads the served topic of the configuration's brokers and opens a replay of its topics into its store.path, which is empty; the state is of
 * no use afterwards. Takes *config over, unless the directory is refused. Blocks for as long as that takes. FR_PRECONDITION: no record of
 * the served topic says what was in it.
 */
FR_CHECKED bool pipeline_skew_open(struct pipeline_config **config, const struct pipeline_skew_options *options,
                                   struct pipeline_skew **skew, struct fr_err *err);

struct pipeline_skew_report {
    int samples, compared; /* to compare; compared so far */
    int passed_over; /* of another run, of another configuration's columns, or of events that are there no more */
    uint64_t values, different; /* floats, by their bits */
    uint64_t at, of; /* offsets replayed, and to replay */
    bool is_done;
};
/* Goes on a little; waits some milliseconds at most. */
FR_CHECKED bool pipeline_skew_step(struct pipeline_skew *skew, struct pipeline_skew_report *report, struct fr_err *err);

/* The first values that differ, of 20 at most, as an array of JSON objects: request, item ("0": of the user), column, served, replayed. */
void pipeline_skew_print(const struct pipeline_skew *skew, struct fr_buffer *out);
void pipeline_skew_close(struct pipeline_skew *skew); /* NULL is fine */

/* ---- Files of models ---- */

struct pipeline_model_file {
    uint64_t schema, version, examples, coordinates;
};

/* Copies a model's file that is whole; the copy appears at once, in place of what was there. FR_CORRUPT, FR_UNAVAILABLE. */
FR_CHECKED bool pipeline_model_copy(const char *from, const char *to, struct pipeline_model_file *file, struct fr_err *err);

#endif
