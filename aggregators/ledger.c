/*
 * The exposure ledger of those whom targets name: what each has of its scope, and how unevenly its members have that. For who looks at a
 * node, not at candidates: only what is in memory is told, which is whatever was shown lately.
 */
#include "plan.h"
#include "type.h"
#include "values.h"

enum { NUMERATOR, DENOMINATOR, ROWS_MOST = 1024 };

/* One that is looked at, while its stripe is locked. */
struct looking {
    struct agg *agg;
    struct agg_moment moment;
    struct store_entry *entry;
    struct agg_parts parts;
    bool is_present;
};

static bool look(struct looking *looking, const struct agg_entity *entity, uint64_t id)
{
    const uint64_t ids[STORE_KEY_IDS_MAX] = {id};
    struct store *store = looking->agg->store;
    struct store_key key;
    uint32_t bytes;

    looking->parts = (struct agg_parts){{NULL}};
    looking->entry =
        agg_key__make(entity, ids, &key) ? store_entry_lock(store, &key, store_key_hash(store, &key), false) : NULL;
    if (looking->entry && store_entry_is_corrupt(looking->entry)) {
        store_entry_unlock(store, looking->entry);
        looking->entry = NULL;
    }
    for (int part = 0; part < STORE_PARTS && looking->entry; part++)
        looking->parts.memory[part] = store_entry_read(looking->entry, (enum store_part)part, &bytes);
    looking->is_present = agg_rows__is_present(looking->parts.memory[STORE_PART_ROWS], entity, looking->moment.time_ms);
    return looking->entry != NULL;
}

static void leave(const struct looking *looking)
{
    if (looking->entry)
        store_entry_unlock(looking->agg->store, looking->entry);
}

static double count_of(struct looking *looking, const struct agg_feature *counter, uint64_t id, int64_t span_ms)
{
    struct agg_column column = {.feature = counter, .window = agg_feature__window(counter, span_ms)};
    struct agg_view view;
    double count = 0;

    if (look(looking, counter->entity, id) && looking->is_present) {
        agg_view__init(&view, looking->parts.memory[STORE_PART_ROWS], counter->entity, &looking->moment);
        count = agg_values__operand(&view, &column);
    }
    leave(looking);
    return count;
}

static void add_share(struct looking *looking, const struct agg_feature *share, int window, const struct agg_target *target,
                      struct agg_ledger *ledger)
{
    int64_t span_ms = share->windows[window].span_ms;
    double own = count_of(looking, share->operands[AGG_OWN][NUMERATOR], target->id, span_ms);
    double whole = count_of(looking, share->operands[AGG_GLOBAL][DENOMINATOR], 1, span_ms);
    struct agg_ledger_row *row = &ledger->rows[ledger->count++];

    *row = (struct agg_ledger_row){.feature = share->name,
                                   .window = share->windows[window].text,
                                   .name = target->name,
                                   .id = target->id,
                                   .target = target->share,
                                   .whole = whole};
    row->value = whole > 0 || whole < 0 ? own / whole : 0;
    row->deficit = row->target - row->value;
}

static void add_gini(struct looking *looking, const struct agg_feature *gini, int window, const struct agg_target *target,
                     struct agg_ledger *ledger)
{
    struct agg_column column = {.feature = gini, .window = &gini->windows[window], .output = AGG_OUTPUT_VALUE};
    struct agg_ledger_row *row = &ledger->rows[ledger->count++];

    *row = (struct agg_ledger_row){
        .feature = gini->name, .window = gini->windows[window].text, .name = target->name, .id = target->id, .is_gini = true};
    if (look(looking, gini->entity, target->id) && looking->is_present)
        row->value = (double)agg_values__cell(&looking->parts, &column, looking->moment.time_ms, NULL);
    leave(looking);
}

/* All windows of the feature for each target; of a Gini by the targets of a share of the same entity. */
static void add_feature(struct looking *looking, const struct agg_feature *feature, const struct agg_feature *share,
                        struct agg_ledger *ledger)
{
    for (int w = 0; w < feature->window_count; w++) {
        for (int t = 0; t < share->target_count && ledger->count < ROWS_MOST; t++) {
            if (feature == share)
                add_share(looking, share, w, &share->targets[t], ledger);
            else
                add_gini(looking, feature, w, &share->targets[t], ledger);
        }
    }
}

/* Of all things, not of one scope: in every scope there are as many more. */
static bool is_told(const struct agg_feature *share)
{
    return share->targets && share->entity->key_count == 1 && !share->is_of_parent;
}

bool agg_ledger_read(struct agg *agg, int64_t time_ms, struct fr_arena *arena, struct agg_ledger *ledger)
{
    const struct agg_catalogue *catalogue = agg->catalogue;
    struct looking looking = {.agg = agg, .moment = agg_window__moment(time_ms)};
    bool is_any = false;

    *ledger = (struct agg_ledger){0};
    for (int i = 0; i < catalogue->visible_feature_count; i++)
        is_any = is_any || is_told(catalogue->features[i]);
    ledger->rows = fr_arena_take(arena, (is_any ? ROWS_MOST : 1) * sizeof *ledger->rows);
    for (int i = 0; i < catalogue->visible_feature_count && ledger->rows; i++) {
        const struct agg_feature *share = catalogue->features[i];

        if (!is_told(share))
            continue;
        add_feature(&looking, share, share, ledger);
        for (int g = 0; g < catalogue->visible_feature_count; g++) {
            if (catalogue->features[g]->aggregate == AGG_GINI && catalogue->features[g]->entity == share->entity)
                add_feature(&looking, catalogue->features[g], share, ledger);
        }
    }
    return ledger->rows != NULL;
}
