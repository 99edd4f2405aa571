/* Forgetting a user: his account and the rows that wait for him. Examples that wait for Kafka are few and leave by themselves. */
#include "join.h"

#include <stdlib.h>

struct forgetting {
    struct learner_join *join;
    struct store_key *keys;
    int count, capacity;
    bool is_failed;
};

static bool note(void *user, const struct store_key *key)
{
    struct forgetting *forgetting = user;

    if (forgetting->count == forgetting->capacity) {
        int capacity = forgetting->capacity ? 2 * forgetting->capacity : 64;
        struct store_key *grown = reallocarray(forgetting->keys, (size_t)capacity, sizeof *grown);

        if (!grown) {
            forgetting->is_failed = true;
            return false;
        }
        forgetting->keys = grown;
        forgetting->capacity = capacity;
    }
    forgetting->keys[forgetting->count++] = *key;
    return true;
}

static bool erase(struct learner_join *join, const struct store_key *key, uint64_t *entities, uint64_t *records,
                  struct fr_err *err)
{
    uint64_t hash = store_key_hash(join->store, key);
    struct store_visit visit = store_visit_enter(join->store);
    bool is_erased = store_load(join->store, key, &hash, 1, err);
    struct store_entry *entry;
    uint32_t length = 0;
    int erased = 0;

    store_gate_enter(join->store);
    entry = is_erased ? store_entry_lock(join->store, key, hash, false) : NULL;
    if (entry) {
        (void)store_entry_read(entry, STORE_PART_ROWS, &length);
        is_erased =
            store_entry_erase(join->store, entry, &erased) || fr_fail(err, FR_EXHAUSTED, "forget: out of memory; ask again");
        store_entry_unlock(join->store, entry);
    }
    store_gate_leave(join->store);
    store_visit_leave(join->store, visit);
    if (erased > 0)
        atomic_fetch_sub_explicit(&join->waiting_bytes, length, memory_order_relaxed);
    *entities += erased > 0;
    *records += (uint64_t)erased;
    return is_erased;
}

bool learner_join_forget(struct learner_join *join, uint64_t user_id, uint64_t *entities, uint64_t *records, struct fr_err *err)
{
    struct forgetting forgetting = {.join = join};
    bool is_done = store_scan_keys(join->store, LEARNER_KIND_ROWS, 0, user_id, note, &forgetting, err) &&
                   store_scan_keys(join->store, LEARNER_KIND_USER, 0, user_id, note, &forgetting, err);

    if (is_done && forgetting.is_failed)
        is_done = fr_fail(err, FR_EXHAUSTED, "forget: out of memory; ask again");
    for (int i = 0; is_done && i < forgetting.count; i++)
        is_done = erase(join, &forgetting.keys[i], entities, records, err);
    free(forgetting.keys);
    return is_done;
}
