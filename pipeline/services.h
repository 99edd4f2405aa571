/*
 * What the files of pipeline share that answer: calls, pages, watches of the node itself. They read what internal.h's files make, which
 * know nothing of them.
 */
#ifndef PIPELINE_SERVICES_H
#define PIPELINE_SERVICES_H

#include "internal.h"

/* ---- models.c: the models of a node, what is read for them, and who learns them ---- */

struct pipeline_models {
    const struct learner_config *config;
    const char *store_path; /* the configuration's: files are in a directory below it */
    struct fr_arena *arena;
    struct learner_schema schemas[LEARNER_MODELS_MAX];
    const struct agg_plan *plans[LEARNER_MODELS_MAX]; /* the feature set, then what the item remembers, where it is asked for */
    struct learner *learner; /* NULL without models */
};

/* After the aggregators are open, before lanes start. FR_BAD_CONFIG: a column that is not there. To be closed after a failure too. */
FR_CHECKED bool pipeline_models__open(struct pipeline_models *models, const struct pipeline_config *config, struct store *store,
                                      struct agg *agg, struct fr_metrics *metrics, struct fr_err *err);
void pipeline_models__close(struct pipeline_models *models); /* after the server and the lanes */

/* A model's rows of a reply: dense and sparse of each item, as an example holds them. False: the arena has no room. */
FR_CHECKED bool pipeline_models__rows(const struct pipeline_models *models, int model, const struct agg_request *read,
                                      uint64_t scene, const struct agg_reply *reply, struct fr_arena *arena, float **dense,
                                      uint64_t **sparse);

/* The schemas of Describe; the states of Status. False: the arena has no room. */
bool pipeline_models__describe(const struct pipeline_models *models, struct fr_arena *arena,
                               Freshet__V1__DescribeResponse *response);
Freshet__V1__ModelState **pipeline_models__states(struct pipeline_models *models, int model, struct fr_arena *arena,
                                                  size_t *count); /* model −1: of all */

/* ---- callers.c: how stale replies were, by who asked ---- */

enum { PIPELINE_CALLERS_MOST = 32 };

struct pipeline_callers {
    struct fr_metrics *metrics;
    struct fr_histogram *other; /* of all that found no place */
    struct pipeline_caller *_Atomic list[PIPELINE_CALLERS_MOST];
};

void pipeline_callers__init(struct pipeline_callers *callers, struct fr_metrics *metrics);
void pipeline_callers__fini(struct pipeline_callers *callers);

/* A reply to that caller says that applying is so far behind. Any thread. */
void pipeline_callers__note(struct pipeline_callers *callers, const char *name, int64_t lag_ms);

/* ---- ledger.c: what targets come to ---- */

struct pipeline_services;
/* False: the arena has no room. */
bool pipeline_ledger__put(struct pipeline_services *services, struct fr_arena *arena, Freshet__V1__StatusResponse *response);

/* ---- services ---- */

struct pipeline_services { /* what calls may read; filled by the node before the server starts */
    struct agg *agg;
    struct store *store;
    struct pipeline_stream *stream;
    struct pipeline_tables *tables; /* NULL without tables */
    struct pipeline_cluster *cluster; /* NULL: it stands alone */
    struct pipeline_offsets *offsets;
    struct pipeline_committer *committer;
    struct pipeline_tombstones *tombstones; /* at the boundary only */
    struct pipeline_blocks *blocks;
    int64_t tombstones_ms;
    struct fr_metrics *metrics;
    struct pipeline_served_log *served_log;
    const struct pipeline_lanes *lanes;
    _Atomic int64_t next_exact_ms; /* monotonic: no read is looked at as an exact one before */
    struct pipeline_learning *learning; /* NULL without models */
    struct pipeline_models *models;
    const char *brokers;
    struct fr_histogram *after; /* how long calls waited for what they wrote */
    struct pipeline_watches *watches;
    struct pipeline_callers callers;
    uint64_t budget_bytes; /* store.memory */
    char *store_path; /* from the root on; owned */
    struct pipeline_machine machine;
    atomic_bool is_closing;
    atomic_ulong next_request_id;
};

/* ---- exact.c: reads of which one can say exactly what was in them ---- */

struct pipeline_exact { /* offsets[0..count): next to apply, of each partition; NULL: it is not known */
    Freshet__V1__Offset **offsets;
    size_t count;
    uint64_t turns[PIPELINE_LANES_MAX];
};

/*
 * Around a read that is logged: afterwards the offsets are there if this read's turn had come (one in half a second at most, since they
 * make a record larger) and no lane changed anything meanwhile. In the arena; without room they are not there. Any thread.
 */
void pipeline_exact__begin(struct pipeline_services *services, struct fr_arena *arena, struct pipeline_exact *exact);
void pipeline_exact__end(struct pipeline_services *services, struct pipeline_exact *exact);

/* ---- padded.c: sequences as arrays of one shape ---- */

FR_CHECKED bool pipeline_padded__check(const Freshet__V1__Shape *shape, struct fr_err *err); /* NULL is fine */
/* All of a reply's sequences into response->padded; blanks[0..count) are the plan's. False: the arena has no room. */
FR_CHECKED bool pipeline_padded__put(const Freshet__V1__Shape *shape, const struct agg_blank *blanks, int count,
                                     const struct agg_reply *reply, size_t items, struct fr_arena *arena,
                                     Freshet__V1__GetFeaturesResponse *response);

bool pipeline_features__get(void *services, struct server_call *call, const ProtobufCMessage *request,
                            ProtobufCMessage **response, struct fr_err *err);
bool pipeline_features__describe(void *services, struct server_call *call, const ProtobufCMessage *request,
                                 ProtobufCMessage **response, struct fr_err *err);
bool pipeline_recall__trending(void *services, struct server_call *call, const ProtobufCMessage *request,
                               ProtobufCMessage **response, struct fr_err *err);
bool pipeline_recall__related(void *services, struct server_call *call, const ProtobufCMessage *request,
                              ProtobufCMessage **response, struct fr_err *err);
bool pipeline_recall__labels(void *services, struct server_call *call, const ProtobufCMessage *request,
                             ProtobufCMessage **response, struct fr_err *err);
bool pipeline_recall__recent(void *services, struct server_call *call, const ProtobufCMessage *request,
                             ProtobufCMessage **response, struct fr_err *err);
bool pipeline_model__score(void *services, struct server_call *call, const ProtobufCMessage *request,
                           ProtobufCMessage **response, struct fr_err *err);
bool pipeline_model__push(void *services, struct server_call *call, const ProtobufCMessage *request,
                          ProtobufCMessage **response, struct fr_err *err);
bool pipeline_model__status(void *services, struct server_call *call, const ProtobufCMessage *request,
                            ProtobufCMessage **response, struct fr_err *err);
bool pipeline_model__change(void *services, struct server_call *call, const ProtobufCMessage *request,
                            ProtobufCMessage **response, struct fr_err *err);
extern const struct server_streaming pipeline_model_pulling; /* Pull; its user are the services */
bool pipeline_admin__status(void *services, struct server_call *call, const ProtobufCMessage *request,
                            ProtobufCMessage **response, struct fr_err *err);
bool pipeline_admin__checkpoint(void *services, struct server_call *call, const ProtobufCMessage *request,
                                ProtobufCMessage **response, struct fr_err *err);
bool pipeline_admin__digest(void *services, struct server_call *call, const ProtobufCMessage *request,
                            ProtobufCMessage **response, struct fr_err *err);

bool pipeline_admin__cluster(void *services, struct server_call *call, const ProtobufCMessage *request,
                             ProtobufCMessage **response, struct fr_err *err);
bool pipeline_admin__drain(void *services, struct server_call *call, const ProtobufCMessage *request,
                           ProtobufCMessage **response, struct fr_err *err);
bool pipeline_admin__forget(void *services, struct server_call *call, const ProtobufCMessage *request,
                            ProtobufCMessage **response, struct fr_err *err);
bool pipeline_admin__block(void *services, struct server_call *call, const ProtobufCMessage *request,
                           ProtobufCMessage **response, struct fr_err *err);
bool pipeline_admin__explain(void *services, struct server_call *call, const ProtobufCMessage *request,
                             ProtobufCMessage **response, struct fr_err *err);

/* Copies the last epoch into the directory and notes there and in the store that it did. On a thread that may block. */
FR_CHECKED bool pipeline_backup__make(struct pipeline_services *services, const struct store_backup_options *options,
                                      struct store_backup *backup, struct fr_err *err);

/* ---- backup_models.c: model files beside a backup ---- */

/* Copies those of a store into a backup that was just made of it, checked; the files stay as they are meanwhile. Removes those of backups gone. */
FR_CHECKED bool pipeline_backup__models(const char *store_path, const char *directory, uint32_t id, struct fr_err *err);
/* And back, into a store that was just restored. */
FR_CHECKED bool pipeline_backup__models_back(const char *directory, uint32_t id, const char *store_path, struct fr_err *err);
/* Reads all of them; tells what is wrong. */
typedef void (*pipeline_fault_fn)(void *user, const char *fault);
void pipeline_backup__models_check(const char *store_path, pipeline_fault_fn find, void *user);

/* Of the backups that this store's node made those that are still there, as "DIR backup N", in the arena; NULL: no room. */
char **pipeline_backup__holding(struct pipeline_services *services, struct fr_arena *arena, size_t *count);

/* Of each partition the next offset to apply; *count of them in the arena, NULL when it has no room. */
Freshet__V1__Offset **pipeline_admin__offsets(struct pipeline_services *services, struct fr_arena *arena, size_t *count);

/* What Describe calls the schema of a plan's columns. */
uint64_t pipeline_features__schema(const struct agg_plan *plan);

/* ---- serving.c: whether reads are answered ---- */

/* FR_UNAVAILABLE: the node is closing, or was never ready and has no state. Any thread. */
FR_CHECKED bool pipeline_serving__check(struct pipeline_services *services, struct fr_err *err);

/* The same for a call about a user (0: nobody's): in a cluster his state may be at another instance, whose address the message tells. */
FR_CHECKED bool pipeline_serving__check_user(struct pipeline_services *services, uint64_t user_id, struct fr_err *err);
/* Asked before the read. How far a user's copy goes who is another instance's; INT64_MAX: his state is here, or he is nobody. */
int64_t pipeline_serving__user_time(struct pipeline_services *services, uint64_t user_id);
/* A reply that was read from such a copy says how old that is. */
void pipeline_serving__stamp(int64_t user_time_ms, struct pipeline_now *now);
/* Whose the entity is; 0: nobody's, or a kind that there isn't. */
uint64_t pipeline_serving__user_of(struct pipeline_services *services, const Freshet__V1__EntityKey *entity);
/* What a node of a cluster cannot do yet. FR_PRECONDITION. */
FR_CHECKED bool pipeline_serving__check_alone(struct pipeline_services *services, const char *what, struct fr_err *err);

/* ---- after.c: a read that follows a write ---- */

/*
 * True when all of `after` is applied. False with call->is_early set: not yet, on a loop; the call is asked again. False otherwise:
 * FR_BAD_INPUT, an offset or partition that cannot be; FR_DEADLINE, the call's deadline (10 s where it has none) is over first.
 */
FR_CHECKED bool pipeline_after__is_applied(struct pipeline_services *services, struct server_call *call,
                                           Freshet__V1__Offset *const *after, size_t count, struct fr_err *err);

/* A reply's fields as messages, their numbers not copied; NULL when the arena has no room. */
Freshet__V1__Field **pipeline_features__fields(struct fr_arena *arena, const struct agg_values *values, int count);

/* Reads by the plan at T, which is left in read->time_ms. On a loop it may set call->is_postponed and return false without an error. */
FR_CHECKED bool pipeline_features__read(struct pipeline_services *services, struct server_call *call,
                                        const struct agg_plan *plan, int64_t as_of_ms, struct agg_request *read,
                                        struct agg_reply *reply, struct pipeline_now *now, struct fr_err *err);

uint64_t pipeline_features__request_id(struct pipeline_services *services);

/* T: now, or as_of_ms, which must not be before it. */
FR_CHECKED bool pipeline_features__time(int64_t as_of_ms, const struct pipeline_now *now, int64_t *time_ms, struct fr_err *err);

/* The status as a message in `arena`; NULL when it has no room. */
ProtobufCMessage *pipeline_admin__status_message(struct pipeline_services *services, struct fr_arena *arena);

/* NULL when the node is ready, else why not. */
const char *pipeline_admin__not_ready(struct pipeline_services *services);

/* The same for operators, with what the Kafka client was told: it names brokers. "" when it is ready. */
enum { PIPELINE_REASON_BYTES = INGEST_TROUBLE_BYTES + 64 };
bool pipeline_admin__is_ready(struct pipeline_services *services, char reason[PIPELINE_REASON_BYTES]);

void pipeline_pages__status(void *services, struct fr_buffer *body, const char **content_type, int *status);
void pipeline_pages__metrics(void *services, struct fr_buffer *body, const char **content_type, int *status);
void pipeline_pages__health(void *services, struct fr_buffer *body, const char **content_type, int *status);
void pipeline_pages__ready(void *services, struct fr_buffer *body, const char **content_type, int *status);

/* home_page.c: the page for people, its style and its scripts; each file is the `user` of a page. */
enum pipeline_file_name {
    PIPELINE_PAGE_HTML,
    PIPELINE_PAGE_CSS,
    PIPELINE_DRAW_JS,
    PIPELINE_TOLD_JS,
    PIPELINE_LOOKUP_JS,
    PIPELINE_CLUSTER_JS,
    PIPELINE_PAGE_JS,
    PIPELINE_FILES
};

void *pipeline_pages__file_of(enum pipeline_file_name name);
void pipeline_pages__file(void *file, struct fr_buffer *body, const char **content_type, int *status);

/* ---- lookup.c: doors, as server_page.ask; their user are the services ---- */

bool pipeline_lookup__features(void *services, struct fr_slice query, struct fr_buffer *json, struct fr_err *err);
bool pipeline_lookup__explain(void *services, struct fr_slice query, struct fr_buffer *json, struct fr_err *err);
bool pipeline_lookup__top(void *services, struct fr_slice query, struct fr_buffer *json, struct fr_err *err);
bool pipeline_lookup__recent(void *services, struct fr_slice query, struct fr_buffer *json, struct fr_err *err);
bool pipeline_lookup__nothing(void *services, struct fr_slice query, struct fr_buffer *json, struct fr_err *err);

/* ---- canary.c: an event a second, to a read that comes after it ---- */

struct pipeline_canary {
    const struct pipeline_config *config;
    struct pipeline_services *services;
    struct ingest_producer *producer; /* of its thread; NULL: to be opened */
    struct fr_histogram *seconds;
    struct fr_counter *outcomes[4];
    struct fr_queue *stop; /* nothing is sent; closed when it is to stop */
    atomic_bool is_stopping;
    pthread_t thread;
    bool is_started;
};

/* Starts its thread, where the configuration has a canary. After ingest; both outlive it. */
FR_CHECKED bool pipeline_canary__start(struct pipeline_canary *canary, const struct pipeline_config *config,
                                       struct pipeline_services *services, struct fr_err *err);
void pipeline_canary__stop(struct pipeline_canary *canary); /* joins: some 200 ms; before ingest closes */

/* ---- history.c: the last minutes ---- */

enum { PIPELINE_HISTORY_SAMPLES = 600, PIPELINE_HISTORY_TASKS = 8, PIPELINE_HISTORY_JUDGED = 3 };

enum pipeline_history_number {
    PIPELINE_HISTORY_APPLIED, /* records finished, over the life of the store */
    PIPELINE_HISTORY_LAG,
    PIPELINE_HISTORY_STALE,
    PIPELINE_HISTORY_BEHIND, /* W − S in ms; NaN before the first event */
    PIPELINE_HISTORY_MEMORY,
    PIPELINE_HISTORY_DEAD, /* records that became dead letters, since the start */
    PIPELINE_HISTORY_NUMBERS
};

struct pipeline_sample {
    int64_t at_ms; /* wall clock */
    double numbers[PIPELINE_HISTORY_NUMBERS];
    float tasks[PIPELINE_HISTORY_TASKS][PIPELINE_HISTORY_JUDGED]; /* of models; NaN before the first example */
    int task_count;
};

struct pipeline_history { /* of the operations loop */
    struct pipeline_services *services;
    struct fr_counter *dead[PROTO_VERDICTS];
    uint64_t taken;
    struct pipeline_sample samples[PIPELINE_HISTORY_SAMPLES];
};

void pipeline_history__init(struct pipeline_history *history, struct pipeline_services *services);
void pipeline_history__tick(void *history); /* server_options.tick */
void pipeline_history__page(void *history, struct fr_buffer *body, const char **content_type, int *status);

#endif
