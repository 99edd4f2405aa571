/* Open addressing; a place is taken by one store of the id, after which it never has another. */
#include <freshet/idset.h>

#include <freshet/text.h>

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>

struct slot {
    _Atomic uint64_t id; /* 0: nobody's */
    atomic_bool is_in;
};

struct fr_idset {
    _Atomic uint32_t count; /* in it */
    uint32_t used, most; /* slots that are somebody's, and may be; of the thread that changes it */
    uint32_t slot_count; /* a power of two, at most three quarters of them ever somebody's */
    struct slot slots[];
};

static uint32_t slots_for(uint32_t most)
{
    uint32_t count = 4;

    while (count / 4 * 3 < most)
        count *= 2;
    return count;
}

size_t fr_idset_bytes(uint32_t most)
{
    return sizeof(struct fr_idset) + slots_for(most) * sizeof(struct slot);
}

struct fr_idset *fr_idset_new(uint32_t most)
{
    struct fr_idset *set;

    assert(most > 0 && most <= FR_IDSET_MOST);
    set = calloc(1, fr_idset_bytes(most)); /* so large that it is mapped, and a page is there when it is first written */
    if (set) {
        set->most = most;
        set->slot_count = slots_for(most);
    }
    return set;
}

void fr_idset_free(struct fr_idset *set)
{
    free(set);
}

/* The id's slot, or the first free one on its way. */
static struct slot *slot_of(const struct fr_idset *set, uint64_t id, bool *is_there)
{
    uint32_t last = set->slot_count - 1, at = (uint32_t)fr_text_hash(&id, sizeof id, 0) & last;

    for (;; at = (at + 1) & last) {
        struct slot *slot = (struct slot *)(uintptr_t)&set->slots[at]; /* written through only by who may */
        uint64_t found = atomic_load_explicit(&slot->id, memory_order_acquire);

        *is_there = found == id;
        if (found == id || found == 0)
            return slot;
    }
}

bool fr_idset_has(const struct fr_idset *set, uint64_t id)
{
    const struct slot *slot;
    bool is_there;

    if (!set || id == 0 || atomic_load_explicit(&set->count, memory_order_acquire) == 0)
        return false;
    slot = slot_of(set, id, &is_there);
    return is_there && atomic_load_explicit(&slot->is_in, memory_order_acquire);
}

uint32_t fr_idset_count(const struct fr_idset *set)
{
    return set ? atomic_load_explicit(&set->count, memory_order_acquire) : 0;
}

bool fr_idset_put(struct fr_idset *set, uint64_t id, bool is_in)
{
    struct slot *slot;
    bool is_there;

    assert(id != 0);
    slot = slot_of(set, id, &is_there);
    if (!is_there && !is_in)
        return true;
    if (!is_there && set->used == set->most)
        return false;
    if (!is_there) {
        set->used++;
        atomic_store_explicit(&slot->id, id, memory_order_release);
    }
    if (atomic_exchange(&slot->is_in, is_in) != is_in)
        atomic_fetch_add(&set->count, is_in ? 1 : UINT32_MAX);
    return true;
}

uint32_t fr_idset_copy(const struct fr_idset *set, uint64_t *ids, uint32_t most)
{
    uint32_t count = 0;

    for (uint32_t i = 0; set && i < set->slot_count && count < most; i++) {
        if (atomic_load_explicit(&set->slots[i].is_in, memory_order_acquire))
            ids[count++] = atomic_load_explicit(&set->slots[i].id, memory_order_acquire);
    }
    return count;
}
