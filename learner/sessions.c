/* Sessions as a whole: what they find when they are opened, what they count, and the passing of time that ends them. */
#include "sessions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { RECORD_BYTES = 8 << 20 };

static const char sessions_meta[] = "sessions";

bool learner_sessions__fail(struct learner_session_table *table, struct fr_err *err)
{
    store_spoil(table->store);
    return fr_fail(err, FR_UNAVAILABLE,
                   "sessions: out of memory in the middle of a batch; the state since the last epoch is spoiled: restart the "
                   "node, with less sessions.bytes or more of the machine's memory");
}

void learner_sessions__key(uint64_t user_id, struct store_key *key)
{
    *key = (struct store_key){.kind = LEARNER_KIND_SESSION, .id_count = 1, .ids = {user_id}};
}

/* ---- metrics ---- */

static const struct {
    const char *name, *labels, *help;
} counted_metrics[LEARNER_SESSIONS_COUNTED] = {
    [LEARNER_TOKEN_TAKEN] = {"freshet_session_tokens_total", "what=\"taken\"", "Events of sessions, by what became of them."},
    [LEARNER_TOKEN_LATE] = {"freshet_session_tokens_total", "what=\"late\"", "Events of sessions, by what became of them."},
    [LEARNER_SESSION_GAP] = {"freshet_sessions_total", "end=\"gap\"", "Sessions, and parts of them, by what ended them."},
    [LEARNER_SESSION_FULL] = {"freshet_sessions_total", "end=\"full\"", "Sessions, and parts of them, by what ended them."},
    [LEARNER_SESSION_LONG] = {"freshet_sessions_total", "end=\"long\"", "Sessions, and parts of them, by what ended them."},
    [LEARNER_SESSION_ROOM] = {"freshet_sessions_total", "end=\"room\"", "Sessions, and parts of them, by what ended them."},
    [LEARNER_SESSION_EARLY] = {"freshet_sessions_early_total", NULL,
                               "Parts that ended before their time, because too much of a user waited."},
};

static void register_metrics(struct learner_session_table *table, struct fr_metrics *metrics)
{
    for (int i = 0; i < LEARNER_SESSIONS_COUNTED; i++)
        table->counters[i] =
            fr_metrics_counter(metrics, counted_metrics[i].name, counted_metrics[i].labels, counted_metrics[i].help);
    table->waiting = fr_metrics_gauge(metrics, "freshet_sessions_bytes", NULL, "Tokens whose sessions have not ended.");
    table->outbox_bytes =
        fr_metrics_gauge(metrics, "freshet_sessions_outbox_bytes", NULL, "Sessions that Kafka has not acknowledged.");
}

void learner_sessions__tell(struct learner_sessions_lane *lane)
{
    struct learner_session_table *table = lane->table;

    for (int i = 0; i < LEARNER_SESSIONS_COUNTED; i++)
        if (lane->counted[i] > 0)
            fr_counter_add(table->counters[i], lane->counted[i]);
    memset(lane->counted, 0, sizeof lane->counted);
    fr_gauge_set(table->waiting, (double)learner_sessions_waiting(table));
    fr_gauge_set(table->outbox_bytes, (double)learner_sessions_unsent(table));
}

/* ---- opening ---- */

static void restore(struct learner_session_table *table)
{
    struct fr_slice value = store_meta_get(table->store, sessions_meta);
    struct fr_reader reader = fr_reader(value);
    int64_t next = 1, acknowledged = 1;

    if (value.length > 0) {
        atomic_store(&table->shares[0].time_ms, fr_reader_zigzag(&reader));
        next = fr_reader_zigzag(&reader);
        acknowledged = fr_reader_zigzag(&reader);
    }
    learner_outbox__init(&table->outbox, table->store, LEARNER_KIND_SESSION_OUTBOX, next, acknowledged);
}

static bool find_one(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    struct learner_session_table *table = user;
    struct fr_slice bytes = disk[STORE_PART_ROWS];

    if (key->kind == LEARNER_KIND_SESSION_OUTBOX)
        learner_outbox__find(&table->outbox, (int64_t)key->ids[0], bytes.length);
    return key->kind != LEARNER_KIND_SESSION || learner_session_share__find(table, table->shares, key->ids[0], bytes);
}

/* The only share; those of a cluster are found as they come. */
static bool find_all(struct learner_session_table *table, struct fr_err *err)
{
    struct store_cursor cursor = {.bytes = {LEARNER_KIND_SESSION}, .length = 1};

    restore(table);
    table->shares->is_found = true;
    atomic_store(&table->shares->is_here, true);
    return store_scan_some(table->store, &cursor, UINT64_MAX, find_one, table, err);
}

bool learner_sessions_open(const struct learner_sessions_options *options, struct learner_session_table **ret,
                           struct fr_err *err)
{
    struct learner_session_table *table = calloc(1, sizeof *table);

    if (!table || !learner_session_shares__open(table, options->share_of ? options->share_count : 1)) {
        learner_sessions_close(table);
        return fr_fail(err, FR_EXHAUSTED, "sessions: out of memory");
    }
    table->config = options->config;
    table->store = options->store;
    table->share_of = options->share_of;
    table->user = options->user;
    if (!learner_frequency__open(&table->frequency, options->config->has_pairs ? (uint32_t)options->config->slots : 1,
                                 options->config->rate, table->store)) {
        learner_sessions_close(table);
        return fr_fail(err, FR_EXHAUSTED, "sessions: out of memory for %lld slots", (long long)options->config->slots);
    }
    if (!table->share_of && !find_all(table, err)) {
        learner_sessions_close(table);
        return false;
    }
    register_metrics(table, options->metrics);
    *ret = table;
    return true;
}

void learner_sessions_close(struct learner_session_table *table)
{
    if (!table)
        return;
    learner_frequency__close(&table->frequency);
    learner_session_shares__close(table);
    free(table);
}

struct learner_sessions_lane *learner_sessions_lane_new(struct learner_session_table *table)
{
    struct learner_sessions_lane *lane = calloc(1, sizeof *lane);

    if (!lane)
        return NULL;
    lane->table = table;
    fr_buffer_init(&lane->chunk);
    lane->arena = fr_arena_new(RECORD_BYTES);
    if (!lane->arena) {
        learner_sessions_lane_free(lane);
        return NULL;
    }
    return lane;
}

void learner_sessions_lane_free(struct learner_sessions_lane *lane)
{
    if (!lane)
        return;
    free(lane->book.tokens);
    fr_buffer_fini(&lane->chunk);
    fr_arena_free(lane->arena);
    free(lane->events);
    free(lane->keys);
    free(lane->hashes);
    free(lane);
}

int64_t learner_sessions_time(const struct learner_session_table *table, int share)
{
    return atomic_load(&table->shares[share].time_ms);
}

struct learner_outbox *learner_sessions_outbox(struct learner_session_table *table)
{
    return &table->outbox;
}

uint64_t learner_sessions_waiting(const struct learner_session_table *table)
{
    return atomic_load_explicit(&table->waiting_bytes, memory_order_relaxed);
}

int64_t learner_sessions_boundary(struct learner_session_table *table)
{
    int64_t next = atomic_load(&table->outbox.next_position);
    struct fr_buffer value;

    fr_buffer_init(&value);
    fr_buffer_append_zigzag(&value, atomic_load(&table->shares[0].time_ms));
    fr_buffer_append_zigzag(&value, next);
    fr_buffer_append_zigzag(&value, atomic_load(&table->outbox.acknowledged));
    if (value.is_failed)
        store_spoil(table->store); /* without it positions would be given out again */
    else
        store_meta_put(table->store, sessions_meta, fr_buffer_slice(&value));
    fr_buffer_fini(&value);
    if (table->config->has_pairs)
        learner_frequency__save(&table->frequency, table->store);
    return next;
}

/* ---- what has ended ---- */

bool learner_sessions__leave(struct learner_sessions_lane *lane)
{
    struct learner_session_table *table = lane->table;

    if (!table->share_of)
        return learner_outbox__put(&table->outbox, &lane->chunk);
    atomic_fetch_add_explicit(&table->unsent_bytes, lane->chunk.length - lane->told_bytes, memory_order_relaxed);
    lane->told_bytes = lane->chunk.length;
    return !lane->chunk.is_failed;
}

void learner_sessions_turn(struct learner_sessions_lane *lane, struct fr_buffer *ended)
{
    fr_buffer_append(ended, lane->chunk.bytes, lane->chunk.length);
    fr_buffer_clear(&lane->chunk);
    lane->told_bytes = 0;
    if (ended->is_failed)
        store_spoil(lane->table->store); /* else an epoch would have their ends without them */
}

void learner_sessions_sent(struct learner_session_table *table, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&table->unsent_bytes, bytes, memory_order_relaxed);
}

uint64_t learner_sessions_unsent(const struct learner_session_table *table)
{
    return atomic_load_explicit(table->share_of ? &table->unsent_bytes : &table->outbox.bytes, memory_order_relaxed);
}

/* ---- time ---- */

/* What is due by then; or all of it, cut as it is. */
static bool end_parts(struct learner_sessions_lane *lane, uint64_t user_id, int64_t time_ms, bool is_dropping)
{
    while (lane->book.head.token_count > 0) {
        struct learner_session_part part = learner_session_book__part(&lane->book, lane->table->config);

        if (!is_dropping && part.due_ms > time_ms)
            break;
        if (part.due_ms > time_ms && part.count == lane->book.head.token_count)
            part.end = FRESHET__V1__SESSION_END__ROOM;
        if (!learner_session_account__end(lane, user_id, &part))
            return false;
    }
    return true;
}

static bool pass_account(struct learner_sessions_lane *lane, struct store_entry *entry, const struct learner_due *due,
                         int64_t time_ms, bool is_dropping)
{
    if (!learner_session_account__read(lane, entry))
        return false;
    if (due->place.ms != lane->book.head.scheduled_ms)
        return true; /* another one of his is in the heap */
    lane->book.head.scheduled_ms = INT64_MAX; /* it was taken out of the heap */
    return end_parts(lane, due->user_id, is_dropping ? time_ms : due->place.ms, is_dropping) &&
           learner_session_account__write(lane, entry, due->user_id);
}

/*
 * One user, no further than to the moment that he is due at: then who is due between two parts of his comes between them, and the order
 * is the same however much time passes at once. Whether his share is still here only the gate can tell.
 */
static bool pass_user(struct learner_sessions_lane *lane, struct learner_session_share *share, const struct learner_due *due,
                      int64_t time_ms, bool is_dropping, struct fr_err *err)
{
    struct learner_session_table *table = lane->table;
    struct store_visit visit = store_visit_enter(table->store);
    struct store_entry *entry;
    struct store_key key;
    bool is_passed = true, is_here;
    uint64_t hash;

    learner_sessions__key(due->user_id, &key);
    hash = store_key_hash(table->store, &key);
    if (!store_load(table->store, &key, &hash, 1, err)) {
        store_visit_leave(table->store, visit);
        (void)learner_dues__put(&share->dues, due->place, due->user_id);
        return false;
    }
    store_gate_enter(table->store);
    is_here = atomic_load(&share->is_here);
    entry = is_here ? store_entry_lock(table->store, &key, hash, false) : NULL;
    if (entry) {
        if (!store_entry_is_corrupt(entry))
            is_passed = pass_account(lane, entry, due, time_ms, is_dropping);
        store_entry_unlock(table->store, entry);
    }
    is_passed = is_passed && (is_here || learner_dues__put(&share->dues, due->place, due->user_id));
    is_passed = (is_passed && learner_sessions__leave(lane)) || learner_sessions__fail(table, err);
    store_gate_leave(table->store);
    store_visit_leave(table->store, visit);
    return is_passed;
}

bool learner_sessions_is_due(struct learner_session_table *table, int64_t time_ms)
{
    for (int i = 0; i < table->share_count; i++)
        if (atomic_load(&table->shares[i].is_here) &&
            learner_dues__has(&table->shares[i].dues, (struct learner_place){.ms = time_ms}))
            return true;
    return false;
}

/* The share that is here in which somebody is due first. NULL: nobody is anywhere. */
static struct learner_session_share *first_due(struct learner_session_table *table)
{
    struct learner_session_share *found = NULL;
    struct learner_due first, due;

    for (int i = 0; i < table->share_count; i++) {
        struct learner_session_share *share = &table->shares[i];

        if (!atomic_load(&share->is_here) || !learner_dues__first(&share->dues, &due) ||
            (found && !learner_place__precedes(due.place, first.place)))
            continue;
        found = share;
        first = due;
    }
    return found;
}

/* Of all shares: of one that lags a session is cut before its end, however far the time of another has come. */
static bool make_room(struct learner_sessions_lane *lane, struct fr_err *err)
{
    struct learner_session_table *table = lane->table;
    struct learner_session_share *share;
    bool is_passed = true;

    while (is_passed && learner_sessions_waiting(table) > table->config->bytes && (share = first_due(table))) {
        struct learner_due due;

        if (learner_dues__take(&share->dues, (struct learner_place){.ms = INT64_MAX}, &due, 1) > 0)
            is_passed = pass_user(lane, share, &due, atomic_load(&share->time_ms), true, err);
    }
    return is_passed;
}

bool learner_sessions_pass(struct learner_sessions_lane *lane, int number, int64_t time_ms, int most, bool *is_more,
                           struct fr_err *err)
{
    struct learner_session_share *share = &lane->table->shares[number];
    struct learner_due due;
    bool is_passed = true;

    *is_more = false;
    if (!atomic_load(&share->is_here)) {
        learner_sessions__tell(lane); /* what waited in it was given away */
        return true;
    }
    if (time_ms > atomic_load(&share->time_ms))
        atomic_store(&share->time_ms, time_ms);
    for (int done = 0; is_passed && atomic_load(&share->is_here) &&
                       learner_dues__take(&share->dues, (struct learner_place){.ms = time_ms}, &due, 1) > 0;
         done++) {
        is_passed = pass_user(lane, share, &due, time_ms, false, err);
        if (done + 1 >= most) {
            *is_more = true;
            break;
        }
    }
    is_passed = is_passed && make_room(lane, err);
    learner_sessions__tell(lane);
    return is_passed;
}
