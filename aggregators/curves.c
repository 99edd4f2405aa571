/* From the buckets of all events to curves, and from an entity's buckets to what they are worth against them. */
#include "curves.h"
#include "plan.h"

/* ---- linking ---- */

bool agg_curves__link(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature, *all = NULL;

    if (agg_catalogue__global(parse->catalogue))
        all = agg_feature__hidden(parse->catalogue, feature, parse->catalogue->global, "all", feature->aggregate);
    if (!all)
        return fr_diagnostics_add(parse->diagnostics, parse->at, "features.%s: out of memory, or too many features",
                                  feature->name);
    all->ups = feature->ups;
    all->places = feature->places;
    all->is_by_scene = feature->is_by_scene;
    all->strength = feature->strength;
    memcpy(all->panes_most, feature->panes_most, sizeof all->panes_most);
    for (int i = 0; i < feature->window_count; i++) {
        if (!agg_feature__add_window(all, &feature->windows[i]))
            return false; /* it has as many as the feature */
    }
    feature->all = all;
    return true;
}

/* ---- which ---- */

bool agg_curves__init(struct agg_curves *curves, const struct agg_catalogue *catalogue, struct fr_arena *arena)
{
    size_t most = 0;

    for (int i = 0; i < catalogue->visible_feature_count; i++)
        most += catalogue->features[i]->all ? (size_t)catalogue->features[i]->window_count : 0;
    *curves = (struct agg_curves){.curves = fr_arena_take_zeroed(arena, most + 1, sizeof *curves->curves)};
    return curves->curves != NULL;
}

int agg_curves__want(struct agg_curves *curves, const struct agg_column *column)
{
    if (!column->feature->all)
        return 0;
    for (int i = 0; i < curves->count; i++) {
        if (curves->curves[i].of == column->feature && curves->curves[i].window == column->window)
            return i + 1;
    }
    curves->curves[curves->count++] = (struct agg_curve){column->feature, column->window};
    return curves->count;
}

/* ---- drawing ---- */

static const uint64_t all_ids[STORE_KEY_IDS_MAX] = {1};

static void draw(const struct agg_curve *curve, const void *part, int64_t time_ms, uint64_t *counts, double *points)
{
    const struct agg_feature *all = curve->of->all;

    memset(counts, 0, AGG_BUCKETS_MOST * sizeof *counts);
    memset(points, 0, AGG_BUCKETS_MOST * sizeof *points);
    agg_buckets__count(agg_cells__read(part, all->entity, all), agg_feature__window(all, curve->window->span_ms), time_ms,
                       counts);
    all->type->curve->draw(all, counts, points);
}

double **agg_curves__room(const struct agg_curves *curves, struct fr_arena *arena)
{
    double **room = fr_arena_take_zeroed(arena, (size_t)curves->count + 1, sizeof *room);

    for (int i = 0; i < curves->count && room; i++) {
        room[i] = fr_arena_take(arena, AGG_BUCKETS_MOST * sizeof **room);
        if (!room[i])
            return NULL;
    }
    return room;
}

bool agg_curves__draw(struct agg *agg, const struct agg_curves *curves, int64_t time_ms, double *const *room, bool *is_whole,
                      struct fr_err *err)
{
    uint64_t counts[AGG_BUCKETS_MOST];
    const void *part = NULL;
    struct store_entry *entry;
    struct store_key key;
    uint64_t hash;
    uint32_t bytes;

    if (curves->count == 0 || !agg_key__make(agg->catalogue->global, all_ids, &key))
        return true;
    hash = store_key_hash(agg->store, &key);
    entry = store_entry_lock(agg->store, &key, hash, false);
    *is_whole = entry || store_is_loaded(agg->store, &key, &hash, 1);
    if (entry && store_entry_is_corrupt(entry)) {
        store_entry_unlock(agg->store, entry);
        return fr_fail(err, FR_CORRUPT,
                       "the state of all events failed its check and is set aside; restore a backup, or replay");
    }
    if (entry)
        part = store_entry_read(entry, STORE_PART_SKETCHES, &bytes);
    for (int i = 0; i < curves->count; i++)
        draw(&curves->curves[i], part, time_ms, counts, room[i]);
    if (entry)
        store_entry_unlock(agg->store, entry);
    return true;
}

bool agg_curves__load(struct agg *agg, const struct agg_curves *curves, struct fr_err *err)
{
    struct store_key key;
    uint64_t hash;

    if (curves->count == 0 || !agg_key__make(agg->catalogue->global, all_ids, &key))
        return true;
    hash = store_key_hash(agg->store, &key);
    return store_load(agg->store, &key, &hash, 1, err);
}

/* ---- values ---- */

float agg_curves__value(const struct agg_column *column, struct fr_slice memory, int64_t time_ms, const double *curve)
{
    uint64_t counts[AGG_BUCKETS_MOST] = {0};

    agg_buckets__count(memory, column->window, time_ms, counts);
    return (float)column->feature->type->curve->value(column->feature, counts, curve, column->output);
}

float agg_curves__nothing(const struct agg_feature *feature, struct fr_slice memory, const struct agg_window *window,
                          enum agg_output output, int64_t time_ms)
{
    static const uint64_t counts[AGG_BUCKETS_MOST];
    static const double curve[AGG_BUCKETS_MOST];

    (void)memory, (void)window, (void)time_ms;
    return (float)feature->type->curve->value(feature, counts, curve, output);
}

int64_t agg_curves__bytes(const struct agg_feature *feature, int64_t buckets)
{
    int64_t full = agg_panes__bytes_most(feature), words = 0;

    for (int level = 0; level < AGG_LEVELS; level++)
        words += feature->panes_most[level] > 0 ? feature->panes_most[level] + 1 : 0;
    return full - words * (AGG_BUCKETS_MOST - buckets) * (int64_t)sizeof(uint64_t);
}
