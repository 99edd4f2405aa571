/* A batch of events and served rows: what of it matters is sorted by user, and each user's account is opened once. */
#include "join.h"

#include <freshet/log.h>
#include <freshet/v1/event.pb-c.h>

#include <stdlib.h>

enum { REQUESTS_AT_ONCE = 16 };

static bool is_relevant(const struct learner_join *join, const struct proto_event *event)
{
    if (event->user_id == 0 || join->task_count == 0)
        return false;
    if (event->action == FRESHET__V1__ACTION__IMPRESSION && event->request_id != 0)
        return true;
    return (join->actions >> event->action & 1) != 0 || (join->has_sliver && event->action == FRESHET__V1__ACTION__LEAVE_ROOM);
}

static int compare_doings(const void *a, const void *b)
{
    const struct learner_doing *x = a, *y = b;

    if (x->user_id != y->user_id)
        return x->user_id < y->user_id ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static bool gather(struct learner_join_lane *lane, const struct learner_join_batch *batch)
{
    int most = batch->event_count + batch->served_count;

    lane->doing_count = 0;
    if (most > lane->doing_capacity) {
        struct learner_doing *grown = reallocarray(lane->doings, (size_t)most, sizeof *grown);

        if (!grown)
            return false;
        lane->doings = grown;
        lane->doing_capacity = most;
    }
    for (int i = 0; i < batch->served_count; i++)
        lane->doings[lane->doing_count++] = (struct learner_doing){.user_id = batch->served[i]->user_id, .index = i};
    for (int i = 0; i < batch->event_count; i++)
        if (is_relevant(lane->join, &batch->events[i]))
            lane->doings[lane->doing_count++] =
                (struct learner_doing){.user_id = batch->events[i].user_id, .index = batch->served_count + i};
    if (lane->doing_count > 1)
        qsort(lane->doings, (size_t)lane->doing_count, sizeof *lane->doings, compare_doings);
    return true;
}

/* The rows that a user's event may need: those of its request, or of the impressions that it may belong to. */
static bool want_rows(struct learner_join_lane *lane, const struct proto_event *event)
{
    bool is_exit = event->action == FRESHET__V1__ACTION__LEAVE_ROOM && lane->join->has_sliver;
    bool is_wanted = event->request_id == 0 || learner_join__want(lane, LEARNER_KIND_ROWS, event->user_id, event->request_id);

    for (int i = 0; is_wanted && i < lane->book.impression_count; i++) {
        const struct learner_impression *shown = learner_book__at(&lane->book, i);

        if (shown->models != 0 && (is_exit || (event->request_id == 0 && shown->item_id == event->item_id)))
            is_wanted = learner_join__want(lane, LEARNER_KIND_ROWS, event->user_id, shown->request_id);
    }
    return is_wanted;
}

/* Events need them only where they make examples at once. */
static bool want_all_rows(struct learner_join_lane *lane, const struct learner_join_batch *batch)
{
    uint32_t all = (UINT32_C(1) << lane->join->config->model_count) - 1;
    bool is_wanted = true, is_at_once = lane->join->ordered != all;
    uint64_t peeked = 0;

    for (int i = 0; is_wanted && i < lane->doing_count; i++) {
        const struct learner_doing *doing = &lane->doings[i];

        if (doing->index < batch->served_count) {
            const Freshet__V1__Served *served = batch->served[doing->index];

            is_wanted = learner_join__want(lane, LEARNER_KIND_ROWS, served->user_id, served->request_id);
            continue;
        }
        if (!is_at_once)
            continue;
        if (doing->user_id != peeked)
            learner_user__peek(lane, doing->user_id);
        peeked = doing->user_id;
        is_wanted = want_rows(lane, &batch->events[doing->index - batch->served_count]);
    }
    return is_wanted;
}

bool learner_join_load(struct learner_join_lane *lane, const struct learner_join_batch *batch, struct fr_err *err)
{
    bool is_wanted = gather(lane, batch);

    for (int i = 0; is_wanted && i < lane->doing_count; i++)
        if (i == 0 || lane->doings[i].user_id != lane->doings[i - 1].user_id)
            is_wanted = learner_join__want(lane, LEARNER_KIND_USER, lane->doings[i].user_id, 0);
    if (is_wanted && lane->doing_count > 0) {
        if (!learner_join__load_wanted(lane, err))
            return false;
        is_wanted = want_all_rows(lane, batch);
    }
    if (!is_wanted || lane->book.is_failed) {
        lane->key_count = 0;
        lane->book.is_failed = lane->is_failed = false; /* nothing was changed */
        return fr_fail(err, FR_EXHAUSTED, "join: out of memory for a batch");
    }
    return learner_join__load_wanted(lane, err);
}

static uint32_t models_of(const struct learner_join *join, const Freshet__V1__Served *served)
{
    uint32_t models = 0;

    for (int m = 0; m < join->config->model_count; m++) {
        const struct learner_schema *schema = &join->schemas[m];

        if (join->matrices[m] == served->schema && served->n_user_values == (size_t)schema->user_columns &&
            served->n_item_values == served->n_item_ids * (size_t)schema->item_columns)
            models |= UINT32_C(1) << m;
    }
    return models;
}

static void refuse_foreign(struct learner_join_lane *lane, const Freshet__V1__Served *served)
{
    static struct fr_log_place place;

    learner_join__count(lane, LEARNER_ROWS_FOREIGN);
    fr_log_limited(&place, 5, FR_LOG_WARN, "learner",
                   "rows of request %llu have schema %llu and %zu user, %zu item values, which no model's feature_set has",
                   (unsigned long long)served->request_id, (unsigned long long)served->schema, served->n_user_values,
                   served->n_item_values);
}

/* Keeps the rows; false when they are not to be joined. */
static bool keep_rows(struct learner_join_lane *lane, const Freshet__V1__Served *served, struct learner_request *request)
{
    struct learner_join *join = lane->join;
    uint32_t before = 0, length = learner_rows__bytes(served);
    struct store_entry *entry;
    struct store_key key;
    void *bytes = NULL;

    *request = (struct learner_request){
        .request_id = served->request_id, .served_ms = served->served_ms, .models = models_of(join, served)};
    if (request->models == 0) {
        refuse_foreign(lane, served);
        return false;
    }
    learner_join__key(LEARNER_KIND_ROWS, served->user_id, served->request_id, &key);
    entry = store_entry_lock(join->store, &key, store_key_hash(join->store, &key), true);
    if (entry && !store_entry_is_corrupt(entry)) {
        (void)store_entry_read(entry, STORE_PART_ROWS, &before);
        if (before == 0)
            bytes = store_entry_write(join->store, entry, STORE_PART_ROWS, length);
        if (bytes)
            learner_rows__write(served, bytes);
        lane->is_failed = lane->is_failed || (before == 0 && !bytes);
    } else {
        lane->is_failed = lane->is_failed || !entry;
        before = 1; /* quarantined: as good as there */
    }
    if (entry)
        store_entry_unlock(join->store, entry);
    if (before > 0)
        learner_join__count(lane, LEARNER_ROWS_DUPLICATE);
    if (bytes)
        atomic_fetch_add_explicit(&join->waiting_bytes, length, memory_order_relaxed);
    return bytes != NULL;
}

/* Whether an event begins an account where there is none: others find nothing that they could be of. */
static bool begins_account(const struct proto_event *event)
{
    return event->request_id != 0 && event->item_id != 0;
}

static void apply_events(struct learner_join_lane *lane, const struct learner_join_batch *batch, int first, int end)
{
    for (int i = first; i < end; i++) {
        int event = lane->doings[i].index - batch->served_count;

        lane->doing = lane->doings[i].index;
        lane->at = (struct learner_place){.ms = batch->clocks_ms[event], .number = lane->first_event + (uint64_t)event};
        if (!batch->is_skipped[event])
            learner_account__event(lane, &batch->events[event]);
    }
}

struct kept { /* rows that are there now */
    struct learner_request request;
    int doing;
};

static void apply_rows(struct learner_join_lane *lane, uint64_t user_id, const struct kept *kept, int count)
{
    for (int i = 0; i < count; i++) {
        lane->doing = kept[i].doing;
        learner_account__served(lane, user_id, &kept[i].request);
    }
}

/* Opens the account, if there is one or it is needed, and puts it back if it is another one now. */
static bool change_account(struct learner_join_lane *lane, const struct learner_join_batch *batch, int first, int end,
                           const struct kept *kept, int kept_count)
{
    struct learner_join *join = lane->join;
    uint64_t user_id = lane->doings[first].user_id;
    bool is_needed = kept_count > 0, is_written = true;
    struct store_entry *entry;
    struct store_key key;

    for (int i = first; i < end && !is_needed; i++)
        is_needed = lane->doings[i].index >= batch->served_count &&
                    begins_account(&batch->events[lane->doings[i].index - batch->served_count]);
    learner_join__key(LEARNER_KIND_USER, user_id, 0, &key);
    entry = store_entry_lock(join->store, &key, store_key_hash(join->store, &key), is_needed);
    if (!entry && is_needed)
        return false;
    if (entry && store_entry_is_corrupt(entry)) { /* nothing can be put back */
        learner_join__count(lane, LEARNER_DROPPED_ROOM);
        store_entry_unlock(join->store, entry);
        return true;
    }
    learner_user__read(lane, entry);
    apply_rows(lane, user_id, kept, kept_count);
    while (first < end && lane->doings[first].index < batch->served_count)
        first++;
    apply_events(lane, batch, first, end);
    if (entry && lane->book.is_changed)
        is_written = learner_user__write(lane, entry, user_id);
    if (entry)
        store_entry_unlock(join->store, entry);
    return is_written;
}

/* All that a batch has of one user: doings[first..end), some rows at a time, then the events. */
static bool apply_user(struct learner_join_lane *lane, const struct learner_join_batch *batch, int first, int end,
                       struct fr_err *err)
{
    while (first < end) {
        struct kept kept[REQUESTS_AT_ONCE];
        int count = 0, next = first;

        for (; next < end && lane->doings[next].index < batch->served_count && count < REQUESTS_AT_ONCE; next++) {
            kept[count].doing = lane->doings[next].index;
            count += !batch->is_served_skipped[kept[count].doing] &&
                     keep_rows(lane, batch->served[kept[count].doing], &kept[count].request);
        }
        if (next < end && lane->doings[next].index >= batch->served_count)
            next = end; /* the events with the last of the rows */
        if (!change_account(lane, batch, first, next, kept, count))
            return learner_join__fail(lane->join, err);
        lane->is_failed = lane->is_failed || lane->book.is_failed; /* the next user has the book anew */
        first = next;
    }
    return true;
}

bool learner_join_apply(struct learner_join_lane *lane, const struct learner_join_batch *batch, struct fr_err *err)
{
    lane->first_event = 1 + atomic_fetch_add(&lane->join->numbers, (uint64_t)batch->event_count);
    for (int first = 0, end; first < lane->doing_count; first = end) {
        for (end = first + 1; end < lane->doing_count && lane->doings[end].user_id == lane->doings[first].user_id;)
            end++;
        if (!apply_user(lane, batch, first, end, err))
            return false;
    }
    if (!learner_user__settle(lane, false, err) || !learner_join__send(lane, err))
        return false;
    learner_join__tell(lane);
    atomic_fetch_add(&lane->join->events, (uint64_t)batch->event_count);
    return true;
}
