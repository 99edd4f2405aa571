/*
 * What the benchmarks work on: workloads, seeded so that the same bytes come every time, and a feed that gives events to a store
 * and its aggregators in this process, without Kafka. Nothing here prints or starts a process: the command line does.
 */
#ifndef FRESHET_BENCH_H
#define FRESHET_BENCH_H

#include <freshet/error.h>
#include <freshet/event.h>

/* ---- W1, the ingest workload ---- */

enum bench_catalogue {
    BENCH_W1, /* W1's features, with node and topic: what `freshet run` takes */
    BENCH_FLAT, /* the same features with windows up to 7 d */
    BENCH_LIGHT, /* as little as a user and an item can have */
    BENCH_S1, /* S1's features, with node and topic, and its set "s1" */
};

/* A configuration's text, terminated. Static memory. */
const char *bench_catalogue(enum bench_catalogue which);

enum bench_draw {
    BENCH_ZIPF, /* exponent 1.05 */
    BENCH_UNIFORM,
    BENCH_EACH, /* one after another, so that n events touch n of them */
};

struct bench_workload_options { /* bench_w1_options() gives those of W1 */
    uint64_t seed;
    uint64_t events; /* over the span */
    int64_t start_ms, span_ms; /* of event time */
    int users, items, creators; /* how many there are to draw from */
    enum bench_draw draw; /* of users and items */
    bool has_no_items, has_no_creators; /* their ids are 0: what the others take alone */
};

/* W1 of so many events: 2 h, 100,000 users, 50,000 items, 5,000 creators, Zipf 1.05, 2,000,000 events in full. */
struct bench_workload_options bench_w1_options(uint64_t events);

struct bench_workload;

/* NULL when out of memory. One thread. */
struct bench_workload *bench_workload_new(const struct bench_workload_options *options);
void bench_workload_free(struct bench_workload *workload); /* NULL is fine */

/*
 * The next event; false after the last. It borrows nothing. WATCH 80 % (value: seconds), LIKE 14 %, COMMENT 5 %, PURCHASE 1 % (value:
 * price), ts up to 5 s out of order, each item with one of the creators and one of 200 categories, 63-bit ids.
 */
bool bench_workload_next(struct bench_workload *workload, struct proto_event *event);

/* ---- S1, the serving workload ---- */

enum { BENCH_S1_USER_FLOATS = 32, BENCH_S1_USER_IDS = 100, BENCH_S1_ITEM_FLOATS = 64 };

/*
 * What fills its tables: users take turns, so that 100 events for each fill all sequences; the item is any, each with one of the
 * creators. And what is asked: any user and any items.
 */
struct bench_s1 {
    uint64_t events; /* in all */
    int64_t start_ms, span_ms; /* of event time */
    int users, items, creators;
    uint64_t state, made; /* its own; both 0 at first */
};

bool bench_s1_next(struct bench_s1 *s1, struct proto_event *event); /* false after the last */
uint64_t bench_s1_user(struct bench_s1 *s1); /* drawn anew */
uint64_t bench_s1_item(struct bench_s1 *s1);
uint64_t bench_s1_user_at(uint64_t number); /* by number, from 0 */
uint64_t bench_s1_item_at(uint64_t number);

/* ---- Events into state, in this process ---- */

struct bench_feed;

struct bench_feed_options {
    const char *path; /* of the store: a directory of its own */
    const char *catalogue; /* a configuration's text; node.dedupe is W1's */
    uint64_t memory_bytes;
};

FR_CHECKED bool bench_feed_open(const struct bench_feed_options *options, struct bench_feed **feed, struct fr_err *err);
void bench_feed_close(struct bench_feed *feed); /* NULL is fine */

struct bench_feed_cost { /* CPU seconds of the process but for making the events; background threads included */
    double cpu_seconds; /* all of it */
    double epoch_cpu_seconds; /* what passed in epochs and until RocksDB came to rest */
};

/*
 * Applies the next `count` events of the workload, as a lane does (batches of 512, users first, duplicates told), with an epoch, durable,
 * after each `epoch_events` and at the end. Returns when RocksDB has come to rest, so that what it compacts is counted here.
 */
FR_CHECKED bool bench_feed_run(struct bench_feed *feed, struct bench_workload *workload, uint64_t count, uint64_t epoch_events,
                               struct bench_feed_cost *cost, struct fr_err *err);

struct bench_feed_state {
    uint64_t entities;
    uint64_t memory_bytes; /* table, parts and copies */
};
void bench_feed_look(struct bench_feed *feed, struct bench_feed_state *state);

/* ---- A restart ---- */

/*
 * Opens the RocksDB of a node's state, to look only, and reads the meta records: the least that a restart can do. Leaves it open, since
 * closing is no part of what is measured. Fails as store_open() does.
 */
FR_CHECKED bool bench_reopen(const char *path, struct fr_err *err);

/* ---- L1, the learning workload ---- */

enum { BENCH_L1_BITS = 22, BENCH_L1_FEATURES = 30 };

struct bench_l1;
struct bench_l1 *bench_l1_new(uint64_t count); /* 1,000,000 in full. NULL when out of memory. One thread */
void bench_l1_free(struct bench_l1 *l1); /* NULL is fine */

/* The next example: coordinates in [0, 2^22), the label, and what the hidden model says of it. False after the last. */
bool bench_l1_next(struct bench_l1 *l1, uint64_t coordinates[BENCH_L1_FEATURES], int *label, double *probability);

/* Writes it as text: "1 | 17 4 …" and "-1 | …". FR_UNAVAILABLE: the file cannot be written. */
FR_CHECKED bool bench_l1_write(const char *path, uint64_t count, struct fr_err *err);

struct bench_learn_cost { /* of one pass over a file, reading included */
    double seconds, cpu_seconds;
    double loss; /* mean progressive log loss */
    uint64_t examples;
};

/*
 * Reads such a file (64 numbers a line at most, all lines as many as the first) and learns it, each example judged before; on this thread.
 * FR_BAD_INPUT: a line that is none; FR_UNAVAILABLE: the file cannot be read.
 */
FR_CHECKED bool bench_learn_ours(const char *path, int factors, struct bench_learn_cost *cost, struct fr_err *err);
/* The same by a plain loop over an array of (z, n): what can be had. */
FR_CHECKED bool bench_learn_plain(const char *path, struct bench_learn_cost *cost, struct fr_err *err);

#endif
