/*
 * The passing of time: whoever is due is looked at, and when too much waits, those who are due first leave.
 *
 * Examples leave in one order, that of their places: of time by steps, in a step by users; of events by the log's clock and their
 * numbers, behind what time has done by then. Time passes to what the log's clock was at an event, so nothing that is still to come has
 * a place before what leaves, and neither how often time passes nor a restart shows.
 */
#include "join.h"

enum { USERS_AT_ONCE = 64, USERS_A_GATE = 32, GATES_AT_ONCE = 16 };

static bool is_stale(const struct learner_join_lane *lane, const struct learner_due *due)
{
    struct learner_place scheduled = lane->book.scheduled;

    return due->place.ms != INT64_MIN && (due->place.ms != scheduled.ms || due->place.number != scheduled.number);
}

static bool pass_user(struct learner_join_lane *lane, const struct learner_due *due, bool is_dropping, struct fr_err *err)
{
    struct learner_join *join = lane->join;
    uint64_t user_id = due->user_id;
    struct store_entry *entry;
    struct store_key key;
    bool is_written;

    learner_join__key(LEARNER_KIND_USER, user_id, 0, &key);
    entry = store_entry_lock(join->store, &key, store_key_hash(join->store, &key), false);
    if (!entry)
        return true;
    learner_user__read(lane, entry);
    if (store_entry_is_corrupt(entry)) {
        store_entry_unlock(join->store, entry);
        return true;
    }
    if (is_stale(lane, due)) { /* another one of his is in the heap */
        store_entry_unlock(join->store, entry);
        return true;
    }
    lane->book.scheduled = (struct learner_place){.ms = INT64_MAX}; /* it was taken out of the heap */
    learner_waiting__pass(lane, user_id, is_dropping ? learner_waiting__due(lane) : due->place, is_dropping);
    is_written = learner_user__write(lane, entry, user_id);
    store_entry_unlock(join->store, entry);
    return is_written ? learner_user__settle(lane, true, err) : learner_join__fail(lane->join, err);
}

/* Loads the users and all the rows that may be made into examples, or removed. */
static bool load_users(struct learner_join_lane *lane, const struct learner_due *dues, int count, struct fr_err *err)
{
    bool is_wanted = true;

    for (int i = 0; is_wanted && i < count; i++)
        is_wanted = learner_join__want(lane, LEARNER_KIND_USER, dues[i].user_id, 0);
    if (is_wanted && !learner_join__load_wanted(lane, err))
        return false;
    for (int i = 0; is_wanted && i < count; i++) {
        learner_user__peek(lane, dues[i].user_id);
        for (int k = 0; is_wanted && k < lane->book.request_count; k++)
            is_wanted = learner_join__want(lane, LEARNER_KIND_ROWS, dues[i].user_id, lane->book.requests[k].request_id);
    }
    if (!is_wanted || lane->book.is_failed) {
        lane->key_count = 0;
        lane->book.is_failed = lane->is_failed = false;
        return fr_fail(err, FR_EXHAUSTED, "join: out of memory");
    }
    return learner_join__load_wanted(lane, err);
}

/* Puts back what was taken and could not be done. */
static void put_back(struct learner_join *join, const struct learner_due *dues, int count)
{
    for (int i = 0; i < count; i++)
        (void)learner_dues__put(&join->dues, dues[i].place, dues[i].user_id);
}

/*
 * Whoever is next: one of them who is due again before the next one takes the place at `at`. Where it is another, whose account is not
 * loaded, the rest goes back; *count ends them.
 */
static int next_of(struct learner_join *join, const uint64_t *loaded, int loaded_count, struct learner_due *dues, int at,
                   int *count)
{
    struct learner_due again;

    if (at + 1 == *count || !learner_dues__take_before(&join->dues, &dues[at + 1], &again))
        return at + 1;
    for (int i = 0; i < loaded_count; i++) {
        if (loaded[i] == again.user_id) {
            dues[at] = again;
            return at;
        }
    }
    put_back(join, &again, 1);
    put_back(join, dues + at + 1, *count - at - 1);
    *count = at + 1;
    return *count;
}

/*
 * Passes those from *at on, with whoever is due again in between, in one gate: what it makes is one chunk, or few. An epoch has to wait for
 * no more than USERS_A_GATE of them.
 */
static bool pass_gate(struct learner_join_lane *lane, const uint64_t *loaded, int loaded_count, struct learner_due *dues,
                      int *at, int *count, bool is_dropping, struct fr_err *err)
{
    bool is_passed = true;

    store_gate_enter(lane->join->store);
    for (int looks = 0; is_passed && looks < USERS_A_GATE && *at < *count; looks++) {
        is_passed = pass_user(lane, &dues[*at], is_dropping, err);
        if (is_dropping || !is_passed)
            ++*at;
        else
            *at = next_of(lane->join, loaded, loaded_count, dues, *at, count);
    }
    is_passed = is_passed && learner_join__send(lane, err);
    store_gate_leave(lane->join->store);
    return is_passed;
}

static bool pass_some(struct learner_join_lane *lane, struct learner_due *dues, int count, bool is_dropping, struct fr_err *err)
{
    struct learner_join *join = lane->join;
    struct store_visit visit = store_visit_enter(join->store);
    bool is_passed = load_users(lane, dues, count, err);
    uint64_t loaded[USERS_AT_ONCE];
    int loaded_count = count, at = 0;

    if (!is_passed)
        put_back(join, dues, count);
    for (int i = 0; i < count; i++)
        loaded[i] = dues[i].user_id;
    for (int gates = 0; is_passed && at < count && gates < GATES_AT_ONCE; gates++)
        is_passed = pass_gate(lane, loaded, loaded_count, dues, &at, &count, is_dropping, err);
    if (is_passed)
        put_back(join, dues + at, count - at);
    store_visit_leave(join->store, visit);
    learner_join__tell(lane);
    return is_passed;
}

bool learner_join_pass(struct learner_join_lane *lane, int64_t time_ms, uint64_t events, int most, bool *is_more,
                       struct fr_err *err)
{
    struct learner_place until = {.ms = time_ms, .number = events}, end = {.ms = INT64_MAX, .number = UINT64_MAX};
    struct learner_join *join = lane->join;
    struct learner_due dues[USERS_AT_ONCE];
    int count;

    *is_more = false;
    if (time_ms > atomic_load(&join->time_ms))
        atomic_store(&join->time_ms, time_ms);
    for (int done = 0; (count = learner_dues__take(&join->dues, until, dues, USERS_AT_ONCE)) > 0; done += count) {
        if (!pass_some(lane, dues, count, false, err))
            return false;
        if (done + count >= most) {
            *is_more = true;
            return true;
        }
    }
    while (atomic_load_explicit(&join->waiting_bytes, memory_order_relaxed) > join->config->join_bytes) {
        count = learner_dues__take(&join->dues, end, dues, USERS_AT_ONCE);
        if (count == 0)
            break;
        if (!pass_some(lane, dues, count, true, err))
            return false;
    }
    return true;
}
