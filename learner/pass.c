/*
 * The passing of time: whoever is due is looked at, and when too much waits, those who are due first leave.
 *
 * Examples that time makes are made by steps of event time, in a step by users, whose first is due first: an order that no pass of
 * more or less time at once changes, nor a restart. So nobody is looked at further than to the end of the step that he is due in,
 * and who is due again comes in between those who wait.
 */
#include "join.h"

enum { USERS_AT_ONCE = 64, LOOKS_AT_ONCE = 8 * USERS_AT_ONCE };

/* The last moment of the step that a time is in. */
static int64_t end_of_step(int64_t at_ms)
{
    return (at_ms + LEARNER_STEP_MS - 1) / LEARNER_STEP_MS * LEARNER_STEP_MS;
}

/* What else is due of him in the step goes with the first example; without one he has no place among the others. */
static void pass_step(struct learner_join_lane *lane, const struct learner_due *due, int64_t time_ms)
{
    learner_account__pass(lane, due->user_id, due->due_ms, false);
    if (lane->labelled_count == 0)
        return;
    if (end_of_step(due->due_ms) < time_ms)
        time_ms = end_of_step(due->due_ms);
    learner_account__pass(lane, due->user_id, time_ms, false);
}

static bool pass_user(struct learner_join_lane *lane, const struct learner_due *due, int64_t time_ms, bool is_dropping,
                      struct fr_err *err)
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
    if (due->due_ms != lane->book.scheduled_ms && due->due_ms != INT64_MIN) { /* another one of his is in the heap */
        store_entry_unlock(join->store, entry);
        return true;
    }
    lane->book.scheduled_ms = INT64_MAX; /* it was taken out of the heap */
    if (is_dropping)
        learner_account__pass(lane, user_id, learner_account__due(lane), true);
    else
        pass_step(lane, due, time_ms);
    is_written = learner_user__write(lane, entry, user_id);
    store_entry_unlock(join->store, entry);
    return is_written ? learner_user__settle(lane, err) : learner_join__fail(lane->join, err);
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
        (void)learner_dues__put(&join->dues, dues[i].due_ms, dues[i].user_id);
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

static bool pass_one(struct learner_join_lane *lane, const struct learner_due *due, int64_t time_ms, bool is_dropping,
                     struct fr_err *err)
{
    bool is_passed;

    store_gate_enter(lane->join->store); /* one by one: an epoch need not wait for all of them */
    is_passed = pass_user(lane, due, time_ms, is_dropping, err) && learner_join__send(lane, err);
    store_gate_leave(lane->join->store);
    return is_passed;
}

static bool pass_some(struct learner_join_lane *lane, struct learner_due *dues, int count, int64_t time_ms, bool is_dropping,
                      struct fr_err *err)
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
    for (int looks = 1; is_passed && at < count; looks++) {
        is_passed = pass_one(lane, &dues[at], time_ms, is_dropping, err);
        if (is_dropping || !is_passed) {
            at++;
        } else if (looks < LOOKS_AT_ONCE) {
            at = next_of(join, loaded, loaded_count, dues, at, &count);
        } else {
            put_back(join, dues + at + 1, count - at - 1);
            at = count;
        }
    }
    store_visit_leave(join->store, visit);
    learner_join__tell(lane);
    return is_passed;
}

bool learner_join_pass(struct learner_join_lane *lane, int64_t time_ms, int most, bool *is_more, struct fr_err *err)
{
    struct learner_join *join = lane->join;
    struct learner_due dues[USERS_AT_ONCE];
    int count;

    *is_more = false;
    if (time_ms > atomic_load(&join->time_ms))
        atomic_store(&join->time_ms, time_ms);
    for (int done = 0; (count = learner_dues__take(&join->dues, time_ms, dues, USERS_AT_ONCE)) > 0; done += count) {
        if (!pass_some(lane, dues, count, time_ms, false, err))
            return false;
        if (done + count >= most) {
            *is_more = true;
            return true;
        }
    }
    while (atomic_load_explicit(&join->waiting_bytes, memory_order_relaxed) > join->config->join_bytes) {
        count = learner_dues__take(&join->dues, INT64_MAX, dues, USERS_AT_ONCE);
        if (count == 0)
            break;
        if (!pass_some(lane, dues, count, 0, true, err))
            return false;
    }
    return true;
}
