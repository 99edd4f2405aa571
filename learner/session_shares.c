/*
 * Shares of users: all of them where a node stands alone, the partitions in a cluster. A share is anybody's: its accounts come with the
 * changelog and go to others, and only while it is here do its sessions end. What the heap has of it is made of its accounts, once they
 * are all there, and is as good as they are until they are given away.
 */
#include "sessions.h"

#include <stdlib.h>
#include <string.h>

bool learner_session_shares__open(struct learner_session_table *table, int count)
{
    table->shares = calloc((size_t)count, sizeof *table->shares);
    for (; table->shares && table->share_count < count; table->share_count++)
        if (!learner_dues__init(&table->shares[table->share_count].dues))
            return false;
    return table->shares != NULL;
}

void learner_session_shares__close(struct learner_session_table *table)
{
    for (int i = 0; i < table->share_count; i++)
        learner_dues__fini(&table->shares[i].dues);
    free(table->shares);
}

struct learner_session_share *learner_sessions__share(struct learner_session_table *table, uint64_t user_id)
{
    return &table->shares[table->share_of ? table->share_of(table->user, user_id) : 0];
}

void learner_session_share__count(struct learner_session_table *table, struct learner_session_share *share, uint64_t before,
                                  uint64_t after)
{
    atomic_fetch_add_explicit(&share->waiting_bytes, after - before, memory_order_relaxed);
    atomic_fetch_add_explicit(&table->waiting_bytes, after - before, memory_order_relaxed);
}

bool learner_session_share__find(struct learner_session_table *table, struct learner_session_share *share, uint64_t user_id,
                                 struct fr_slice bytes)
{
    struct learner_session_head head;

    learner_session_share__count(table, share, 0, bytes.length);
    if (!learner_sessions_is_good(bytes))
        return true; /* what makes no sense is told by who loads it */
    memcpy(&head, bytes.bytes, sizeof head);
    return learner_dues__put(&share->dues, (struct learner_place){.ms = head.scheduled_ms}, user_id);
}

/* ---- of a cluster ---- */

struct finding {
    struct learner_session_table *table;
    bool *is_wanted; /* by share */
    bool is_failed;
};

static bool find_one(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    struct finding *finding = user;
    struct learner_session_share *share;

    if (key->kind != LEARNER_KIND_SESSION)
        return key->kind < LEARNER_KIND_SESSION;
    share = learner_sessions__share(finding->table, key->ids[0]);
    if (finding->is_wanted[share - finding->table->shares])
        finding->is_failed = !learner_session_share__find(finding->table, share, key->ids[0], disk[STORE_PART_ROWS]);
    return !finding->is_failed;
}

static bool find_wanted(struct finding *finding, const int32_t *shares, int count, bool *is_any)
{
    *is_any = false;
    finding->is_wanted = calloc((size_t)finding->table->share_count, sizeof *finding->is_wanted);
    for (int i = 0; i < count && finding->is_wanted; i++) {
        finding->is_wanted[shares[i]] = !finding->table->shares[shares[i]].is_found;
        *is_any = *is_any || finding->is_wanted[shares[i]];
    }
    return finding->is_wanted != NULL;
}

bool learner_sessions_find(struct learner_session_table *table, const int32_t *shares, int count, struct fr_err *err)
{
    struct store_cursor cursor = {.bytes = {LEARNER_KIND_SESSION}, .length = 1};
    struct finding finding = {.table = table};
    bool is_any, ok = find_wanted(&finding, shares, count, &is_any) || fr_fail(err, FR_EXHAUSTED, "sessions: out of memory");

    ok = ok && (!is_any || store_scan_some(table->store, &cursor, UINT64_MAX, find_one, &finding, err));
    ok = ok && (!finding.is_failed || fr_fail(err, FR_EXHAUSTED, "sessions: out of memory for those of a partition"));
    for (int i = 0; i < count && ok; i++)
        table->shares[shares[i]].is_found = true;
    free(finding.is_wanted);
    return ok;
}

void learner_sessions_begin(struct learner_session_table *table, int share, int64_t time_ms)
{
    if (time_ms > atomic_load(&table->shares[share].time_ms))
        atomic_store(&table->shares[share].time_ms, time_ms);
    atomic_store(&table->shares[share].is_here, true);
}

void learner_sessions_hold(struct learner_session_table *table)
{
    for (int i = 0; i < table->share_count; i++)
        atomic_store(&table->shares[i].is_here, false);
}

void learner_sessions_let_go(struct learner_session_table *table, int number)
{
    struct learner_session_share *share = &table->shares[number];

    learner_session_share__count(table, share, atomic_load(&share->waiting_bytes), 0);
    learner_dues__clear(&share->dues);
    share->is_found = false;
}
