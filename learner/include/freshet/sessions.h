/*
 * Sessions: what a user did without a longer pause, as one record, once time has passed its end. docs/sequences.md says what a session
 * is; it is a function of the events alone, not of their order, of batches or restarts.
 *
 * Tokens that wait are state of the store, an account a user, and change inside the gate together with offsets, as the join's; finished
 * sessions leave through an outbox of their own.
 *
 * In a cluster users are in shares, of which some are here at a time: an account comes and goes with its share, as bytes of the store, and
 * sessions end only while it is here. What has ended there does not go through the outbox: the boundary takes it, and whoever writes the
 * epoch has it in the same transaction.
 *
 * Threads: each lane has a learner_sessions_lane; one more belongs to whoever lets time pass. They share the due times and the
 * frequencies, each under a lock of its own. Only event times count, never the wall clock.
 */
#ifndef FRESHET_SESSIONS_H
#define FRESHET_SESSIONS_H

#include <freshet/event.h>
#include <freshet/join.h>
#include <freshet/learner.h>
#include <freshet/outbox.h>
#include <freshet/store.h>

struct learner_session_table;
struct learner_sessions_lane;

struct learner_sessions_options {
    const struct learner_sessions *config; /* outlives them */
    struct store *store;
    struct fr_metrics *metrics;
    int share_count; /* of a cluster, and whose user he is; share_of NULL: there is one, and it is here */
    int (*share_of)(void *user, uint64_t user_id);
    void *user;
};

/* Finds what waits in the last epoch, of a cluster nothing yet. Before lanes start. FR_EXHAUSTED: out of memory; else what the store failed with. */
FR_CHECKED bool learner_sessions_open(const struct learner_sessions_options *options, struct learner_session_table **table,
                                      struct fr_err *err);
void learner_sessions_close(struct learner_session_table *table); /* NULL is fine */

/* Whether stored bytes of a session's account make sense; their form in memory is the same. */
bool learner_sessions_is_good(struct fr_slice bytes);

struct learner_sessions_lane *learner_sessions_lane_new(struct learner_session_table *table); /* NULL when out of memory */
void learner_sessions_lane_free(struct learner_sessions_lane *lane);

/* Brings what the events will touch into the table; on a visit, outside the gate. Fails as store_load() does. */
FR_CHECKED bool learner_sessions_load(struct learner_sessions_lane *lane, const struct proto_event *events, int count,
                                      struct fr_err *err);

/*
 * Takes the events that were just loaded, inside the gate; is_skipped says which change nothing. FR_UNAVAILABLE: out of memory in the
 * middle, the state since the last epoch is spoiled.
 */
FR_CHECKED bool learner_sessions_apply(struct learner_sessions_lane *lane, const struct proto_event *events,
                                       const bool *is_skipped, struct fr_err *err);

/*
 * Lets time pass up to `time_ms` in a share, 0 where there is one; it never goes back: sessions end, in the order of when they do, then of
 * users, however often it is called; and so do those that are due first while more than `bytes` wait of all. Nothing passes in one that is
 * not here. Enters visits and gates by itself, one user at a time; at most `most` users. Sets *is_more when some are left.
 */
FR_CHECKED bool learner_sessions_pass(struct learner_sessions_lane *lane, int share, int64_t time_ms, int most, bool *is_more,
                                      struct fr_err *err);

/* Whether any session that is here waits for time to pass so far. Any thread. */
bool learner_sessions_is_due(struct learner_session_table *table, int64_t time_ms);

/* Takes away what waits of a user; in a gate of its own. Adds to both numbers. Blocks on the disk; any thread. */
FR_CHECKED bool learner_sessions_forget(struct learner_session_table *table, uint64_t user_id, uint64_t *entities,
                                        uint64_t *records, struct fr_err *err);

/* In the committer's boundary: puts the meta records; the position before which all is in this epoch. Not in a cluster. */
int64_t learner_sessions_boundary(struct learner_session_table *table);

/* Of the last pass, or of the epoch that was opened, or as it began. */
int64_t learner_sessions_time(const struct learner_session_table *table, int share);
struct learner_outbox *learner_sessions_outbox(struct learner_session_table *table);
uint64_t learner_sessions_waiting(const struct learner_session_table *table); /* bytes of accounts */
uint64_t
learner_sessions_unsent(const struct learner_session_table *table); /* bytes of what has ended, and Kafka does not have */

/* ---- Of a cluster ---- */

/*
 * Of shares that come: what waits of them in the last epoch, which has all of it. Outside the gate, before they are begun; reads the disk,
 * but for those that were held only. FR_EXHAUSTED: out of memory; else what the store failed with.
 */
FR_CHECKED bool learner_sessions_find(struct learner_session_table *table, const int32_t *shares, int count,
                                      struct fr_err *err);
/* Inside the gate: the share is here from now on, and time has come to `time_ms` in it at least. */
void learner_sessions_begin(struct learner_session_table *table, int share, int64_t time_ms);
/* Nothing is here any more: from the next boundary on no session ends, until its share is begun again. */
void learner_sessions_hold(struct learner_session_table *table);
/* One that was held is another's now, or was meanwhile. Its accounts come and go by themselves. */
void learner_sessions_let_go(struct learner_session_table *table, int share);
/* In the boundary: appends what has ended in the lane's hands, as a chunk of an outbox is. Then, that Kafka has so much of it. */
void learner_sessions_turn(struct learner_sessions_lane *lane, struct fr_buffer *ended);
void learner_sessions_sent(struct learner_session_table *table, uint64_t bytes);

#endif
