/*
 * The join: rows that were served wait for the impression that shows them, then for what the user does; each task's label policy
 * says when that makes an example. docs/examples.md says what an example means.
 *
 * All of it is state of the store, under kinds of its own, and changes inside the gate together with offsets: a row, an impression or
 * an outcome has been joined exactly when the epoch that has its offset is durable. Finished examples are state, too: chunks of an
 * outbox, numbered by position, which are produced once their epoch is durable and leave after that.
 *
 * Threads: each lane has a learner_join_lane; one more belongs to whoever lets time pass. They share the due times, under a lock of
 * their own, because lanes make them and the passing of time takes them. Only event times count, never the wall clock.
 */
#ifndef FRESHET_JOIN_H
#define FRESHET_JOIN_H

#include <freshet/event.h>
#include <freshet/learner.h>
#include <freshet/outbox.h>
#include <freshet/served.h>
#include <freshet/store.h>

/*
 * Kinds of entities: what waits of a user, the rows of a request, a chunk of the outbox; then those of sessions (sessions.h). From the
 * first on they are the learner's.
 */
enum {
    LEARNER_KIND_FIRST = 248,
    LEARNER_KIND_USER = 248,
    LEARNER_KIND_ROWS,
    LEARNER_KIND_OUTBOX,
    LEARNER_KIND_SESSION,
    LEARNER_KIND_SESSION_OUTBOX
};

/* What time makes, it makes at the ends of steps of this: so a user's account is opened once for all that is due in one. */
enum { LEARNER_STEP_MS = 100 };

struct learner_join;
struct learner_join_lane;

struct learner_join_options {
    const struct learner_config *config; /* these outlive the join */
    const struct learner_schema *schemas; /* of each model */
    const uint64_t *matrices; /* of each model: the hash of its feature set's columns, as Served.schema has it */
    struct store *store;
    struct fr_metrics *metrics;
};

/* Finds what waits in the last epoch. Before lanes start. FR_EXHAUSTED: out of memory; else what the store failed with. */
FR_CHECKED bool learner_join_open(const struct learner_join_options *options, struct learner_join **join, struct fr_err *err);
void learner_join_close(struct learner_join *join); /* NULL is fine */

/* Between memory and disk, for the store's codec: the form is the same. False: the bytes make no sense. */
void learner_join_encode(const void *memory, uint32_t bytes, struct fr_buffer *disk);
bool learner_join_decode(const struct store_key *key, struct fr_slice disk, struct fr_buffer *memory);

struct learner_join_lane *learner_join_lane_new(struct learner_join *join); /* NULL when out of memory */
void learner_join_lane_free(struct learner_join_lane *lane);

/* One batch. Rows of a user come before his events in the same batch, whichever was read first. */
struct learner_join_batch {
    const struct proto_event *events;
    const int64_t *clocks_ms; /* the log's at each event: the greatest time in its partition up to it; when it is applied */
    int event_count;
    const Freshet__V1__Served *const *served;
    int served_count;
    const bool *is_skipped, *is_served_skipped; /* of each event and served: it changes nothing; when it is applied */
};

/* Brings what the batch will touch into the table; on a visit, outside the gate. Fails as store_load() does. */
FR_CHECKED bool learner_join_load(struct learner_join_lane *lane, const struct learner_join_batch *batch, struct fr_err *err);

/*
 * Joins the batch that was just loaded, inside the gate. FR_UNAVAILABLE: out of memory in the middle, the state since the last epoch is
 * spoiled.
 */
FR_CHECKED bool learner_join_apply(struct learner_join_lane *lane, const struct learner_join_batch *batch, struct fr_err *err);

/* How many events were joined so far. Whoever asks for S first has all that made it S among them. */
uint64_t learner_join_events(const struct learner_join *join);

/*
 * Lets time pass up to `time_ms`, which never goes back: labels become final, what events made leaves for the outbox, what waited too long
 * goes, and so does what is due first while more than `join_bytes` wait. Of events at which the log's clock was just time_ms,
 * what the first `events` of all made leaves: those whose rows are known to be there. With one partition the order of examples depends on its log alone, not on how far
 * or how often time passes, nor on restarts. Enters visits and gates by itself, some users at a time; at most `most` users. Sets *is_more
 * when some are left.
 */
FR_CHECKED bool learner_join_pass(struct learner_join_lane *lane, int64_t time_ms, uint64_t events, int most, bool *is_more,
                                  struct fr_err *err);

/* Whether anything waits for time to pass so far. Any thread. */
bool learner_join_is_due(struct learner_join *join, int64_t time_ms, uint64_t events);

/* Takes away what waits of a user; in gates of its own. Adds to both numbers. Blocks on the disk; any thread. */
FR_CHECKED bool learner_join_forget(struct learner_join *join, uint64_t user_id, uint64_t *entities, uint64_t *records,
                                    struct fr_err *err);

int64_t learner_join_time(const struct learner_join *join); /* of the last pass, or of the epoch that was opened */

struct learner_join_stats {
    uint64_t waiting_bytes; /* of users and rows; bounded by join_bytes */
    uint64_t outbox_bytes;
    int64_t next_position; /* the next chunk's */
};
struct learner_join_stats learner_join_stats(const struct learner_join *join);

/* ---- The outbox ---- */

/* In the committer's boundary: puts the join's meta record; the position before which all is in this epoch. */
int64_t learner_join_boundary(struct learner_join *join);

/* The next chunk's position in the epoch that was opened; before anything changes. */
int64_t learner_outbox_end(struct store *store);

struct learner_outbox *learner_join_outbox(struct learner_join *join);

/* Which task an example of the outbox is of; false: the configuration has it no more. */
bool learner_join_task(const struct learner_join *join, const struct learner_outbox_entry *entry, int *model, int *task);

#endif
