/* One user's account of sessions in the store: read, ended in part, put back; or taken away. */
#include "sessions.h"

static const enum learner_session_counted counted_ends[] = {
    [FRESHET__V1__SESSION_END__GAP] = LEARNER_SESSION_GAP,
    [FRESHET__V1__SESSION_END__FULL] = LEARNER_SESSION_FULL,
    [FRESHET__V1__SESSION_END__LONG] = LEARNER_SESSION_LONG,
    [FRESHET__V1__SESSION_END__ROOM] = LEARNER_SESSION_ROOM,
};

void learner_sessions_estimate(const struct learner_sessions *sessions, struct fr_buffer *out)
{
    size_t most = (size_t)sessions->tokens * LEARNER_SESSION_SPARE, slots = sessions->has_pairs ? (size_t)sessions->slots : 0;

    if (!sessions->topic)
        return;
    most = most > LEARNER_SESSION_WAITING_LEAST ? most : LEARNER_SESSION_WAITING_LEAST;
    fr_buffer_append_format(out,
                            "sessions: %zu + %zu B a token of each user whose session has not ended, at most %zu B; %zu B of "
                            "frequencies\n",
                            sizeof(struct learner_session_head), sizeof(struct learner_token),
                            sizeof(struct learner_session_head) + most * sizeof(struct learner_token),
                            slots * sizeof(struct learner_frequency_slot));
}

bool learner_session_account__read(struct learner_sessions_lane *lane, const struct store_entry *entry)
{
    uint32_t length = 0;
    const void *bytes = entry ? store_entry_read(entry, STORE_PART_ROWS, &length) : NULL;

    learner_session_book__read(&lane->book, fr_slice(bytes, length));
    return !lane->book.is_failed;
}

bool learner_session_account__write(struct learner_sessions_lane *lane, struct store_entry *entry, uint64_t user_id)
{
    struct learner_session_table *table = lane->table;
    struct learner_session_share *share = learner_sessions__share(table, user_id);
    struct learner_session_book *book = &lane->book;
    uint32_t before = 0, length;
    void *bytes;

    (void)store_entry_read(entry, STORE_PART_ROWS, &before);
    if (book->head.token_count > 0) {
        int64_t due_ms = learner_session_book__part(book, table->config).due_ms;

        if (due_ms < book->head.scheduled_ms) {
            if (!learner_dues__put(&share->dues, (struct learner_place){.ms = due_ms}, user_id))
                return false;
            book->head.scheduled_ms = due_ms;
        }
    }
    length = learner_session_book__bytes(book);
    bytes = store_entry_write(table->store, entry, STORE_PART_ROWS, length);
    if (length > 0 && !bytes)
        return false;
    if (length > 0)
        learner_session_book__write(book, bytes);
    learner_session_share__count(table, share, before, length);
    return true;
}

bool learner_session_account__end(struct learner_sessions_lane *lane, uint64_t user_id, const struct learner_session_part *part)
{
    struct learner_session_table *table = lane->table;
    uint64_t session_id = learner_session__id(user_id, &lane->book.tokens[0], lane->book.head.part);

    lane->counted[counted_ends[part->end]]++;
    if (!learner_session__append(table->config, &table->frequency, user_id, &lane->book, part, session_id, lane->arena,
                                 &lane->chunk))
        return false;
    learner_session_book__take(&lane->book, part, session_id);
    return true;
}

bool learner_sessions_forget(struct learner_session_table *table, uint64_t user_id, uint64_t *entities, uint64_t *records,
                             struct fr_err *err)
{
    struct store_visit visit = store_visit_enter(table->store);
    bool is_erased;
    struct store_entry *entry;
    struct store_key key;
    uint32_t length = 0;
    uint64_t hash;
    int erased = 0;

    learner_sessions__key(user_id, &key);
    hash = store_key_hash(table->store, &key);
    is_erased = store_load(table->store, &key, &hash, 1, err);
    store_gate_enter(table->store);
    entry = is_erased ? store_entry_lock(table->store, &key, hash, false) : NULL;
    if (entry) {
        (void)store_entry_read(entry, STORE_PART_ROWS, &length);
        is_erased =
            store_entry_erase(table->store, entry, &erased) || fr_fail(err, FR_EXHAUSTED, "forget: out of memory; ask again");
        store_entry_unlock(table->store, entry);
    }
    store_gate_leave(table->store);
    store_visit_leave(table->store, visit);
    if (erased > 0)
        learner_session_share__count(table, learner_sessions__share(table, user_id), length, 0);
    *entities += erased > 0;
    *records += (uint64_t)erased;
    return is_erased;
}
