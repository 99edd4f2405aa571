/* What the watcher (watch.c) and the streams (watch_service.c) share. */
#ifndef PIPELINE_WATCH_H
#define PIPELINE_WATCH_H

#include "internal.h"

struct pipeline_update { /* one message; owned by whoever took it from its place */
    uint64_t skipped;
    int64_t stream_time_ms, applied_lag_ms;
    float values[]; /* of the kind's columns */
};

struct pipeline_watched_kind {
    const char *name;
    struct agg_columns *columns; /* the watcher's, once the watch is added */
    const char *const *names;
    int count, id_count;
};

struct pipeline_watched { /* one entity of a stream */
    struct pipeline_watched_kind *kind;
    uint64_t key[STORE_KEY_IDS_MAX]; /* as written */
    uint64_t user_id; /* whose it is; 0: nobody's */
    struct pipeline_update *_Atomic update; /* NULL: nothing new */

    /* The watcher's. */
    float *sent, *offered; /* the client's last values; those that lie in `update`, or lay there when they were taken */
    bool has_sent, is_offered;
    uint64_t skipped;
};

struct pipeline_watch { /* one stream */
    struct pipeline_watches *watches;
    struct fr_arena *arena;
    int64_t interval_ms;
    struct pipeline_watched_kind *kinds;
    int kind_count;
    struct pipeline_watched *entities;
    int entity_count, value_count;
    bool is_counted; /* in the node's limits */

    /* The watcher's. */
    bool is_known;
    int64_t due_ms;
    float *values; /* of one entity */

    /* Written by the watcher, read by the stream. */
    _Atomic int64_t next_ms; /* when it reads next, on the monotonic clock */
    atomic_ulong readings; /* of all entities */
    atomic_bool is_failed;
    struct fr_err failure; /* before is_failed */

    /* The stream's. */
    unsigned long seen; /* of the readings: looked through to the end */
    int at; /* where it looks next */
};

/* What lies there, NULL when nothing; it is the caller's, who frees it with free(). */
struct pipeline_update *pipeline_watched__take(struct pipeline_watched *watched);

/* The first reading is at once. False: FR_EXHAUSTED, a limit of the node; the watch is the caller's still. */
FR_CHECKED bool pipeline_watches__add(struct pipeline_watches *watches, struct pipeline_watch *watch, struct fr_err *err);
void pipeline_watches__end(struct pipeline_watch *watch); /* one that was added; not the caller's any more */
void pipeline_watch__free(struct pipeline_watch *watch); /* one that was not */

#endif
