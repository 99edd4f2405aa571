/*
 * What the files of `freshet bench` share: a run of a child process, the samples of a benchmark and how they are told, a plot.
 * One thread, the main one.
 */
#ifndef FRESHET_CLI_BENCH_H
#define FRESHET_CLI_BENCH_H

#include "internal.h"

#include <sys/types.h>

enum {
    BENCH_PAIRS_MAX = 99,
    BENCH_PEERS_MAX = 4,
    BENCH_POINTS_MAX = 64,
    BENCH_NAME_BYTES = 128,
    BENCH_PARTITIONS = 8,
    BENCH_API_BYTES = 256,
    BENCH_SETS_MAX = 2
};

/* ---- Samples and how they are told: bench_report.c ---- */

struct cli_bench_series {
    char name[BENCH_NAME_BYTES];
    double values[BENCH_PAIRS_MAX]; /* one a pair */
};

struct cli_bench_report {
    const char *name;
    const char *unit;
    const char *ours_name; /* what "ours" was, for people */
    int pairs; /* measured so far */
    double ours[BENCH_PAIRS_MAX];
    struct cli_bench_series peers[BENCH_PEERS_MAX];
    int peer_count;
    struct fr_buffer details; /* further members of the object: ,"name":value … */
    struct fr_buffer notes; /* lines for people: what was measured how */
};

void cli_bench_report__init(struct cli_bench_report *report, const char *name, const char *unit);
void cli_bench_report__fini(struct cli_bench_report *report);

struct cli_bench_spread {
    double least, median, most;
};
struct cli_bench_spread cli_bench_report__ours(const struct cli_bench_report *report);
struct cli_bench_spread cli_bench_report__peer(const struct cli_bench_report *report, int peer);
struct cli_bench_spread cli_bench_report__ratio(const struct cli_bench_report *report,
                                                int peer); /* of ours / theirs, pair by pair */

/* "44,713", or "0.3046" when it is small. */
const char *cli_bench_report__number(double value, char out[32]);

/* One JSON object: name, unit, ours, peers, ratio, pairs, machine, then spread and the details. */
void cli_bench_report__json(const struct cli_bench_report *report, struct fr_buffer *out);

/* The same as a table and notes. */
void cli_bench_report__print(const struct cli_bench_report *report, FILE *out);

/* ---- Plots: bench_plot.c. Self-contained SVG, light and dark by the reader's preference ---- */

struct cli_bench_curve {
    const char *title, *x_label, *y_label;
    const char *line_name, *part_name; /* what y and part are */
    double x[BENCH_POINTS_MAX], y[BENCH_POINTS_MAX];
    double part[BENCH_POINTS_MAX]; /* of y; drawn thinner below it */
    int count;
    bool is_log_x;
};

/* Bars of ours and the peers with their ratios. */
void cli_bench_plot__bars(const struct cli_bench_report *report, struct fr_buffer *svg);

/* Curves beside each other, y from 0. */
void cli_bench_plot__curves(const char *title, const struct cli_bench_curve *curves, int count, struct fr_buffer *svg);

FR_CHECKED bool cli_bench_plot__save(const struct fr_buffer *svg, const char *path, struct fr_err *err);

/* ---- Children: bench_child.c ---- */

/* "glibc", "jemalloc", or the file that malloc() comes from. */
const char *cli_bench_child__allocator(char name[BENCH_NAME_BYTES]);

struct cli_bench_run { /* of a child */
    double cpu_seconds; /* of the work alone: see below */
    double seconds; /* of the same */
    double total_cpu_seconds; /* of the process, start and end included (wait4) */
    uint64_t peak_bytes; /* resident (wait4) */
    uint64_t records;
    uint64_t entities, memory_bytes; /* of a node, as its status says */
};

/* ---- Processes: bench_process.c ---- */

struct cli_bench_process {
    pid_t pid;
    int out; /* its stdout */
    char log[CLI_DIRECTORY_BYTES + 32]; /* its stderr; "": ours; set before it starts */
};

/* `program` NULL: this binary. `arguments` end with NULL. */
FR_CHECKED bool cli_bench_process__start(struct cli_bench_process *process, const char *program, const char *const *arguments,
                                         char *const *environment, struct fr_err *err);
/* Our environment with one more variable in place of one of that name. Freed by the caller; the texts are borrowed. */
char **cli_bench_process__environment(char *variable);
/* The next line of its stdout. FR_UNAVAILABLE: it ended or said nothing in time; its last words are told. */
FR_CHECKED bool cli_bench_process__line(const struct cli_bench_process *process, int timeout_ms, char *line, size_t capacity,
                                        struct fr_err *err);
double cli_bench_process__cpu(const struct cli_bench_process *process); /* seconds so far, of all its threads */
double cli_bench_process__loops_cpu(const struct cli_bench_process *process); /* of its server's loops alone; 0: it has none */
/* Ends it (by itself, within its time; signal 0: it ends unasked) and takes what the kernel counted. */
FR_CHECKED bool cli_bench_process__end(struct cli_bench_process *process, int signal_number, struct cli_bench_run *run,
                                       struct fr_err *err);
void cli_bench_process__give_up(struct cli_bench_process *process); /* kills it */
/* "name":"text" and "name":number of a flat object that we printed ourselves. */
bool cli_bench_process__text(const char *json, const char *name, char *out, size_t capacity);
double cli_bench_process__number(const char *json, const char *name);

struct cli_bench_node { /* how to run a node over a topic that is full */
    const char *brokers, *topic;
    const char *config; /* file */
    const char *directory; /* where its state and log go; removed after */
    const char *memory; /* store.memory */
    uint64_t events; /* that it has to apply */
    const char *sets[BENCH_SETS_MAX]; /* further --set; NULL: none */
};

/* Starts it and tells where it listens; it has read nothing yet. FR_UNAVAILABLE: it died; its last words are told. */
FR_CHECKED bool cli_bench_child__start(const struct cli_bench_node *node, struct cli_bench_process *child,
                                       char api[BENCH_API_BYTES], struct fr_err *err);

/* Removes its state and its log; it must have ended. */
void cli_bench_child__clear(const struct cli_bench_node *node);

struct cli_bench_look {
    uint64_t applied;
    bool is_caught_up; /* ready, and lag is 0 */
    int64_t next_offsets[BENCH_PARTITIONS];
};
FR_CHECKED bool cli_bench_child__look(const char *api, struct cli_bench_look *look, struct fr_err *err);

/*
 * Starts `freshet run` in a fresh directory and waits until all events are applied and durable. Measured from its first line (it
 * listens, nothing is read yet) to the answer of the checkpoint. FR_UNAVAILABLE: it died or stands still; its last words are told.
 */
FR_CHECKED bool cli_bench_child__node(const struct cli_bench_node *node, struct cli_progress *progress,
                                      struct cli_bench_run *run, struct fr_err *err);

/* Until a node says by its API that it has applied so many events. FR_UNAVAILABLE: it stands still. */
FR_CHECKED bool cli_bench_child__wait(const char *api, uint64_t events, struct cli_progress *progress, struct fr_err *err);

/*
 * Starts `freshet bench bare`, with glibc's allocator if `is_glibc` (LD_PRELOAD of the C library puts its malloc() before
 * jemalloc's), else with this binary's own; the child says which it had, and another than `allocator` is an error. Measured from the
 * making of the client to the end of the last partition.
 */
FR_CHECKED bool cli_bench_child__bare(const char *brokers, const char *topic, bool is_glibc, const char *allocator,
                                      struct cli_bench_run *run, struct fr_err *err);

/* What that child does: reads the topic and prints one line of JSON. */
int cli_bench_child__bare_main(const struct cli_command *command, const char *brokers, const char *topic);

/* ---- A load client: bench_load.c; what it says by which protocol: bench_load_grpc.c, bench_load_redis.c ---- */

struct bench_s1;
struct cli_bench_connection {
    int fd;
    struct fr_buffer out; /* what is to be sent */
    uint8_t head[64]; /* of a frame or line that has not come whole */
    size_t head_bytes;
    size_t left; /* bytes of a frame's payload, or of a value, still to come */
    uint64_t stream, unacknowledged; /* HTTP/2: the last stream, bytes of its window used up */
    uint64_t reply_bytes; /* of this answer so far */
    int values; /* Redis: still to come */
    uint8_t kind, flags; /* of the frame that comes */
    int64_t asked_us;
    struct fr_buffer *keep; /* the answer's bytes go here, too; NULL: nobody wants them */
};
struct cli_bench_protocol { /* all in the client's thread; they say what is wrong by err */
    void (*open)(struct cli_bench_connection *connection);
    void (*ask)(struct cli_bench_connection *connection, uint64_t user, const uint64_t *items, int count);
    /* Bytes that came; *is_answered when they end the answer. */
    bool (*take)(struct cli_bench_connection *connection, struct fr_slice bytes, bool *is_answered, struct fr_err *err);
};
extern const struct cli_bench_protocol cli_bench_load__grpc, cli_bench_load__redis;

struct cli_bench_load {
    const struct cli_bench_protocol *protocol;
    const char *address; /* "127.0.0.1:1234" */
    int connections, items;
    double seconds;
    struct bench_s1 *s1; /* draws users and items */
    struct fr_buffer *reply; /* gets the last answer, for one connection alone; may be NULL */
};
struct cli_bench_answers {
    uint64_t requests, reply_bytes; /* of one reply */
    double seconds, p50_us, p99_us, p999_us;
};

/* Each connection asks again as soon as it is answered. FR_UNAVAILABLE: a connection broke, or an answer was none. */
FR_CHECKED bool cli_bench_load__run(const struct cli_bench_load *load, struct cli_bench_answers *answers, struct fr_err *err);
int cli_bench_load__connect(const char *address); /* -1 */

/* ---- Whom a node is compared with: bench_static.c, bench_redis.c ---- */

/* The child `freshet bench static`: answers GetFeatures with the bytes of the file, whoever asks what. */
int cli_bench_static__main(const struct cli_command *command, const char *path);

struct cli_bench_redis {
    struct cli_bench_process process;
    char address[64];
};
/* False without an error text: there is no redis-server here. */
bool cli_bench_redis__is_here(void);
/* Starts one without persistence and fills it with packed blobs of S1's users and items. */
FR_CHECKED bool cli_bench_redis__start(struct cli_bench_redis *redis, const char *directory, const struct bench_s1 *s1,
                                       struct fr_err *err);

/* ---- The benchmarks: bench.c, bench_topic.c, bench_ingest.c, bench_freshness.c, bench_serve.c, bench_tier.c,
 *      bench_learn.c, bench_recover.c, bench_flat.c ---- */

struct bench_workload_options;
struct ingest_broker;

struct cli_bench {
    const struct cli_command *command;
    const char *brokers, *topic, *plot, *file, *python; /* as given */
    uint64_t events, pairs, entities, seconds;
    bool is_json;
    char directory[CLI_DIRECTORY_BYTES];
    char config[CLI_DIRECTORY_BYTES + 32]; /* W1's, written there */
    struct ingest_broker *embedded;
};

/*
 * Makes sure that `topic` (its name is written) has exactly the workload: an existing complete one is used. Without brokers starts
 * the embedded one and fills that. FR_BAD_CONFIG: it does not fit, or the topic has something else in it.
 */
FR_CHECKED bool cli_bench_topic__fill(struct cli_bench *bench, const char *name, const struct bench_workload_options *workload,
                                      char topic[BENCH_NAME_BYTES], struct fr_err *err);

/* Without brokers starts the embedded one with that topic, unless it keeps too little for so many events (FR_BAD_CONFIG). */
FR_CHECKED bool cli_bench_topic__broker(struct cli_bench *bench, const char *topic, uint64_t events, struct fr_err *err);

/* The workload's next so many events to the topic, which is made when missing; returns when all are acknowledged. */
struct bench_workload;
FR_CHECKED bool cli_bench_topic__append(const char *brokers, const char *topic, struct bench_workload *workload,
                                        uint64_t events, struct fr_err *err);

/* One event, as protobuf; `buffer` holds it meanwhile. */
struct ingest_producer;
FR_CHECKED bool cli_bench_topic__send(struct ingest_producer *producer, const char *topic, const struct proto_event *event,
                                      struct fr_buffer *buffer, struct fr_err *err);

/* ---- What entities take: bench_memory.c ---- */

struct cli_bench_kind {
    uint64_t count;
    double bytes_each; /* in memory, with its share of the table */
};
struct cli_bench_memory {
    struct cli_bench_kind user, item, creator;
};

/* After all events of the workload, W1's features. Takes as long as three times the lane's work. */
FR_CHECKED bool cli_bench_memory__measure(const struct cli_bench *bench, const struct bench_workload_options *workload,
                                          struct cli_bench_memory *memory, struct fr_err *err);

FR_CHECKED bool cli_bench__ingest(struct cli_bench *bench, struct cli_bench_report *report, struct fr_buffer *svg,
                                  struct fr_err *err);
FR_CHECKED bool cli_bench__tier(struct cli_bench *bench, struct cli_bench_report *report, struct fr_buffer *svg,
                                struct fr_err *err);
FR_CHECKED bool cli_bench__learn(struct cli_bench *bench, struct cli_bench_report *report, struct fr_buffer *svg,
                                 struct fr_err *err);
FR_CHECKED bool cli_bench__flat(struct cli_bench *bench, struct cli_bench_report *report, struct fr_buffer *svg,
                                struct fr_err *err);
FR_CHECKED bool cli_bench__freshness(struct cli_bench *bench, struct cli_bench_report *report, struct fr_buffer *svg,
                                     struct fr_err *err);
FR_CHECKED bool cli_bench__recover(struct cli_bench *bench, struct cli_bench_report *report, struct fr_buffer *svg,
                                   struct fr_err *err);
FR_CHECKED bool cli_bench__serve(struct cli_bench *bench, struct cli_bench_report *report, struct fr_buffer *svg,
                                 struct fr_err *err);
int cli_bench_serve__pour_main(const struct cli_command *command, const char *brokers, const char *topic, uint64_t rate);

/* Children of the two: W1 to a topic in real time, so many events a second (0: as many as it takes); a consumer that tells of marked
 * events; a store that is opened and its tail read. */
int cli_bench_freshness__pour_main(const struct cli_command *command, const char *brokers, const char *topic, uint64_t rate);
int cli_bench_freshness__follow_main(const struct cli_command *command, const char *brokers, const char *topic);
int cli_bench_recover__reopen_main(const struct cli_command *command, const char *brokers, const char *topic,
                                   const char *directory);

#endif
