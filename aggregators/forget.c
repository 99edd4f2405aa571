/*
 * Forgetting one user: his entities lie together on disk, kind by kind, because in keys the user goes first. Of a kind that the
 * configuration no longer has nothing is ever read again, so there it does not matter what its first id stood for.
 */
#include "internal.h"

enum { FORGET_AT_ONCE = 256 };

struct forgetting {
    struct agg *agg;
    struct store_key keys[FORGET_AT_ONCE];
    uint64_t hashes[FORGET_AT_ONCE];
    int count;
    struct agg_forgotten *forgotten;
    struct fr_err *err;
    bool is_failed;
};

static bool erase_one(struct forgetting *forgetting, int index)
{
    struct store *store = forgetting->agg->store;
    struct store_entry *entry;
    bool is_erased = true;
    int records = 0;

    store_gate_enter(store); /* one by one: an epoch need not wait for all of them */
    entry = store_entry_lock(store, &forgetting->keys[index], forgetting->hashes[index], false);
    if (entry) {
        is_erased = store_entry_erase(store, entry, &records);
        store_entry_unlock(store, entry);
    }
    store_gate_leave(store);
    forgetting->forgotten->entities += records > 0;
    forgetting->forgotten->records += (uint64_t)records;
    return is_erased || fr_fail(forgetting->err, FR_EXHAUSTED, "forget: out of memory; ask again");
}

static bool erase_all(struct forgetting *forgetting)
{
    struct store *store = forgetting->agg->store;
    struct store_visit visit = store_visit_enter(store);
    bool is_done = store_load(store, forgetting->keys, forgetting->hashes, forgetting->count, forgetting->err);

    for (int i = 0; is_done && i < forgetting->count; i++)
        is_done = erase_one(forgetting, i);
    store_visit_leave(store, visit);
    forgetting->count = 0;
    return is_done;
}

static bool note(void *user, const struct store_key *key)
{
    struct forgetting *forgetting = user;

    forgetting->keys[forgetting->count] = *key;
    forgetting->hashes[forgetting->count++] = store_key_hash(forgetting->agg->store, key);
    if (forgetting->count == FORGET_AT_ONCE)
        forgetting->is_failed = !erase_all(forgetting);
    return !forgetting->is_failed;
}

bool agg_forget_user(struct agg *agg, uint64_t user_id, struct agg_forgotten *forgotten, struct fr_err *err)
{
    struct forgetting forgetting = {.agg = agg, .forgotten = forgotten, .err = err};

    for (int kind = 1; kind <= AGG_KINDS_MAX; kind++) {
        const struct agg_entity *entity = agg->catalogue->kinds[kind];

        if (entity && !entity->has_user)
            continue;
        if (!store_scan_keys(agg->store, (uint8_t)kind, 0, user_id, note, &forgetting, err) || forgetting.is_failed)
            return false;
    }
    return erase_all(&forgetting);
}

bool agg_forget_kind(struct agg *agg, uint8_t kind, uint64_t user_id, struct agg_forgotten *forgotten, struct fr_err *err)
{
    struct forgetting forgetting = {.agg = agg, .forgotten = forgotten, .err = err};

    return store_scan_keys(agg->store, kind, 0, user_id, note, &forgetting, err) && !forgetting.is_failed &&
           erase_all(&forgetting);
}
