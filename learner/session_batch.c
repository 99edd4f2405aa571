/* A batch of events: what of it are tokens is sorted by user, and each user's account is opened once. */
#include "sessions.h"

#include <freshet/v1/event.pb-c.h>

#include <stdlib.h>
#include <string.h>

static int compare_events(const void *a, const void *b)
{
    const struct learner_session_event *x = a, *y = b;

    if (x->user_id != y->user_id)
        return x->user_id < y->user_id ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static bool grow(struct learner_sessions_lane *lane, int count)
{
    void *events, *keys, *hashes;

    if (count <= lane->capacity)
        return true;
    events = reallocarray(lane->events, (size_t)count, sizeof *lane->events);
    lane->events = events ? events : lane->events;
    keys = reallocarray(lane->keys, (size_t)count, sizeof *lane->keys);
    lane->keys = keys ? keys : lane->keys;
    hashes = reallocarray(lane->hashes, (size_t)count, sizeof *lane->hashes);
    lane->hashes = hashes ? hashes : lane->hashes;
    if (!events || !keys || !hashes)
        return false;
    lane->capacity = count;
    return true;
}

bool learner_sessions_load(struct learner_sessions_lane *lane, const struct proto_event *events, int count, struct fr_err *err)
{
    int users = 0;

    lane->event_count = 0;
    if (!grow(lane, count))
        return fr_fail(err, FR_EXHAUSTED, "sessions: out of memory for a batch");
    for (int i = 0; i < count; i++)
        if (events[i].user_id != 0 && (lane->table->config->actions >> events[i].action & 1) != 0)
            lane->events[lane->event_count++] = (struct learner_session_event){.user_id = events[i].user_id, .index = i};
    if (lane->event_count > 1)
        qsort(lane->events, (size_t)lane->event_count, sizeof *lane->events, compare_events);
    for (int i = 0; i < lane->event_count; i++) {
        if (i > 0 && lane->events[i].user_id == lane->events[i - 1].user_id)
            continue;
        learner_sessions__key(lane->events[i].user_id, &lane->keys[users]);
        lane->hashes[users] = store_key_hash(lane->table->store, &lane->keys[users]);
        users++;
    }
    return users == 0 || store_load(lane->table->store, lane->keys, lane->hashes, users, err);
}

static struct learner_token token_of(const struct proto_event *event)
{
    struct learner_token token = {.ts_ms = (uint64_t)event->ts_ms,
                                  .event_id = event->event_id,
                                  .action = event->action,
                                  .item_id = event->item_id,
                                  .creator_id = event->creator_id,
                                  .category_id = event->category_id,
                                  .scene = event->scene,
                                  .request_id = event->request_id,
                                  .position = event->position};

    memcpy(&token.value, &event->value, sizeof token.value);
    return token;
}

/* Too many of a user wait: the first part ends now, as it will when time comes to it, unless what comes is not in order. */
static bool make_room(struct learner_sessions_lane *lane, uint64_t user_id)
{
    const struct learner_sessions *config = lane->table->config;
    uint32_t most = (uint32_t)config->tokens * LEARNER_SESSION_SPARE;
    struct learner_session_part part;

    most = most > LEARNER_SESSION_WAITING_LEAST ? most : LEARNER_SESSION_WAITING_LEAST;
    if (lane->book.head.token_count < most)
        return true;
    part = learner_session_book__part(&lane->book, config);
    lane->counted[LEARNER_SESSION_EARLY]++;
    return learner_session_account__end(lane, user_id, &part);
}

static bool add_events(struct learner_sessions_lane *lane, const struct proto_event *events, const bool *is_skipped, int first,
                       int end)
{
    struct learner_session_share *share = learner_sessions__share(lane->table, events[lane->events[first].index].user_id);
    int64_t time_ms = atomic_load_explicit(&share->time_ms, memory_order_relaxed);

    for (int i = first; i < end; i++) {
        const struct proto_event *event = &events[lane->events[i].index];
        struct learner_token token = token_of(event);
        bool is_taken;

        if (is_skipped[lane->events[i].index])
            continue;
        is_taken = event->ts_ms + lane->table->config->gap_ms >= time_ms && learner_session_book__add(&lane->book, &token);
        lane->counted[is_taken ? LEARNER_TOKEN_TAKEN : LEARNER_TOKEN_LATE]++;
        if (lane->book.is_failed || !make_room(lane, event->user_id))
            return false;
    }
    return true;
}

static bool change_account(struct learner_sessions_lane *lane, const struct proto_event *events, const bool *is_skipped,
                           int first, int end)
{
    struct store *store = lane->table->store;
    uint64_t user_id = lane->events[first].user_id;
    struct store_entry *entry;
    struct store_key key;
    bool is_done;

    learner_sessions__key(user_id, &key);
    entry = store_entry_lock(store, &key, store_key_hash(store, &key), true);
    if (!entry)
        return false;
    if (store_entry_is_corrupt(entry)) { /* nothing can be put back */
        store_entry_unlock(store, entry);
        return true;
    }
    is_done = learner_session_account__read(lane, entry) && add_events(lane, events, is_skipped, first, end) &&
              (!lane->book.is_changed || learner_session_account__write(lane, entry, user_id));
    store_entry_unlock(store, entry);
    return is_done;
}

bool learner_sessions_apply(struct learner_sessions_lane *lane, const struct proto_event *events, const bool *is_skipped,
                            struct fr_err *err)
{
    bool is_done = true;

    for (int first = 0, end; is_done && first < lane->event_count; first = end) {
        for (end = first + 1; end < lane->event_count && lane->events[end].user_id == lane->events[first].user_id;)
            end++;
        is_done = change_account(lane, events, is_skipped, first, end);
        if (is_done && lane->chunk.length >= LEARNER_SESSION_CHUNK_BYTES)
            is_done = learner_sessions__leave(lane);
    }
    if (!is_done || !learner_sessions__leave(lane))
        return learner_sessions__fail(lane->table, err);
    learner_sessions__tell(lane);
    return true;
}
