/* Before a read plan is followed: what of it the table lacks comes from the disk. */
#include "curves.h"
#include "joined.h"
#include "keyring.h"
#include "plan.h"

struct loading {
    struct agg *agg;
    const struct agg_request *request;
    struct fr_arena *arena;
    struct agg_remembered *remembered, *rooms; /* by row: what its item, its room remembers */
    struct fr_err *err;
};

static bool fail_exhausted(struct fr_err *err)
{
    return fr_fail(err, FR_EXHAUSTED, "the request grows beyond its limit; ask for fewer items");
}

static bool load_keys(const struct loading *loading, const struct store_key *keys, const uint64_t *hashes, int count)
{
    return store_load(loading->agg->store, keys, hashes, count, loading->err);
}

static bool load_users(const struct loading *loading, const struct agg_plan *plan)
{
    struct store_key keys[AGG_KEEPERS_MAX];
    uint64_t hashes[AGG_KEEPERS_MAX];
    int count = 0;

    for (int i = 0; i < plan->user_step_count; i++) {
        const struct agg_entity *entity = plan->user_steps[i].entity;
        uint64_t ids[STORE_KEY_IDS_MAX] = {entity->key[0] == AGG_KEY_ALL ? 1 : loading->request->user_id};

        if (!agg_key__make(entity, ids, &keys[count]))
            continue;
        hashes[count] = store_key_hash(loading->agg->store, &keys[count]);
        count++;
    }
    return count == 0 || load_keys(loading, keys, hashes, count);
}

static void remember(const struct loading *loading, const struct agg_entity *entity, const struct agg_keyring *ring, int index,
                     struct agg_remembered *remembered)
{
    struct store *store = loading->agg->store;
    struct store_entry *entry = store_entry_lock(store, &ring->keys[index], ring->hashes[index], false);
    const struct agg_rows *rows;
    uint32_t bytes;

    if (!entry)
        return;
    rows = store_entry_is_corrupt(entry) ? NULL : store_entry_read(entry, STORE_PART_ROWS, &bytes);
    for (int row = ring->first[index]; row >= 0; row = ring->next[row]) {
        for (int i = 0; i < AGG_ATTRIBUTES; i++)
            remembered[row].bits[i] = agg_attributes__read(rows, entity, i, loading->request->time_ms);
    }
    store_entry_unlock(store, entry);
}

/* Loads the entities of a step, named by `named_by` (NULL: items); what they remember goes to `remembered` unless that is NULL. */
static bool load_step(const struct loading *loading, const struct agg_entity *entity, const struct agg_remembered *named_by,
                      struct agg_remembered *remembered)
{
    struct agg_keyring ring;

    if (!agg_keyring__collect(loading->agg, entity, loading->request, named_by, NULL, 0, loading->arena, &ring))
        return fail_exhausted(loading->err);
    if (ring.count > 0 && !load_keys(loading, ring.keys, ring.hashes, ring.count))
        return false;
    for (int i = 0; i < ring.count && remembered; i++)
        remember(loading, entity, &ring, i, remembered);
    return true;
}

/* Rows of tables, and the entities of the further ids in their lists; those of the first come with the others. */
static bool load_joined(struct loading *loading, const struct agg_plan *plan)
{
    struct agg_joined joined;
    bool is_incomplete = false;

    if (!agg_joined__load(loading->agg, plan, loading->request, loading->remembered, loading->arena, loading->err) ||
        !agg_joined__read(loading->agg, plan, loading->request, loading->remembered, loading->arena, &joined, &is_incomplete,
                          loading->err))
        return false;
    for (int i = 0; i < plan->item_step_count; i++) {
        const struct agg_entity *entity = plan->item_steps[i].entity;

        for (int k = 1; k < joined.listed_most && entity->listed >= 0; k++) {
            agg_joined__turn(&joined, entity, k);
            if (!load_step(loading, entity, loading->remembered, NULL))
                return false;
        }
        if (entity->listed >= 0)
            agg_joined__turn(&joined, entity, 0);
    }
    return true;
}

static bool load(struct loading *loading, const struct agg_plan *plan)
{
    const struct agg_request *request = loading->request;
    const struct agg_catalogue *catalogue = loading->agg->catalogue;
    size_t rows = (size_t)request->item_count + 1;
    bool has_item = catalogue->item != NULL;
    int room = agg_attribute__index(PROTO_FIELD_ROOM_ID);

    loading->remembered = fr_arena_take_zeroed(loading->arena, rows, sizeof *loading->remembered);
    loading->rooms = plan->needs_room ? fr_arena_take_zeroed(loading->arena, rows, sizeof *loading->rooms) : NULL;
    if (!loading->remembered || (plan->needs_room && !loading->rooms))
        return fail_exhausted(loading->err);
    if (plan->curves && !agg_curves__load(loading->agg, plan->curves, loading->err))
        return false;
    if (!load_users(loading, plan))
        return false;
    if (has_item &&
        !load_step(loading, catalogue->item, NULL, plan->item_step_count > 1 || plan->tables != 0 ? loading->remembered : NULL))
        return false;
    for (int row = 0; row < request->item_count && request->room_id != 0; row++)
        loading->remembered[row].bits[room] = request->room_id;
    if (plan->tables != 0 && !load_joined(loading, plan))
        return false;
    for (int i = has_item; i < plan->item_step_count; i++) {
        const struct agg_step *step = &plan->item_steps[i];
        bool is_room = step->entity == catalogue->room && !step->via_room;

        if (!load_step(loading, step->entity, step->via_room ? loading->rooms : loading->remembered,
                       is_room ? loading->rooms : NULL))
            return false;
    }
    return true;
}

bool agg_read_load(struct agg *agg, const struct agg_plan *plan, const struct agg_request *request, struct fr_arena *arena,
                   struct fr_err *err)
{
    struct loading loading = {.agg = agg, .request = request, .arena = arena, .err = err};

    return store_is_whole(agg->store) || load(&loading, plan);
}
