/*
 * Columns of one kind of entity, each entity read by its own key. What a ratio needs of others (its parent, all events) is read after
 * the entity itself, which remembers whose parent it is.
 */
#include "curves.h"
#include "keyring.h"
#include "plan.h"
#include "ratio.h"
#include "values.h"

enum { COLUMNS_BYTES_MAX = 4 << 20, SIDES = 2 };

struct agg_columns {
    struct agg *agg;
    struct fr_arena *arena; /* all of it lies there */
    const struct agg_entity *entity;
    const char **names;
    int count;
    struct agg_column *rows, *cells; /* by where they are kept */
    int row_count, cell_count;
    struct agg_ratio_column *ratios;
    int ratio_count;
    struct agg_column *operands[AGG_PRIORS]; /* of the entity, its parents, all; `column` is a place in `numbers` */
    int operand_count[AGG_PRIORS], number_count;
    double *numbers;
    struct agg_curves curves;
    double **drawn; /* room for them */
};

struct reading {
    struct agg_columns *columns;
    int64_t time_ms;
    float *values;
    struct agg_remembered remembered;
    const double *const *curves;
    struct fr_err *err;
};

bool agg_feature__is_chosen(const struct agg_feature *feature, int asked, int i)
{
    const struct agg_output_column *outputs = feature->outputs;

    return asked < 0 || i == asked ||
           (outputs[asked].output == AGG_OUTPUT_VALUE && outputs[asked].window >= 0 &&
            outputs[i].window == outputs[asked].window);
}

/* ---- names to columns ---- */

static bool fail_exhausted(struct fr_err *err)
{
    return fr_fail(err, FR_EXHAUSTED, "features: their columns are too many; name fewer");
}

static void add_operand(struct agg_columns *columns, const struct agg_feature *operand, int prior,
                        const struct agg_window *window, int *place)
{
    struct agg_column *column;

    if (!operand)
        return;
    *place = columns->number_count++;
    column = &columns->operands[prior][columns->operand_count[prior]++];
    *column = (struct agg_column){.feature = operand, .column = *place, .absent = window ? 0 : -1};
    if (window)
        column->window = agg_feature__window(operand, window->span_ms);
}

static void add_ratio(struct agg_columns *columns, const struct agg_feature *feature, const struct agg_output_column *output)
{
    struct agg_ratio_column *ratio = &columns->ratios[columns->ratio_count++];
    const struct agg_window *window = output->window >= 0 ? &feature->windows[output->window] : NULL;

    *ratio = (struct agg_ratio_column){.feature = feature, .output = output, .column = columns->count};
    for (int prior = 0; prior < AGG_PRIORS; prior++) {
        for (int side = 0; side < SIDES; side++) {
            ratio->operands[prior][side] = -1;
            add_operand(columns, agg_ratio__operand(feature, output, (enum agg_prior)prior, side), prior, window,
                        &ratio->operands[prior][side]);
        }
    }
}

static void add_column(struct agg_columns *columns, const struct agg_feature *feature, int i)
{
    if (feature->type->of_operands) {
        add_ratio(columns, feature, &feature->outputs[i]);
    } else {
        struct agg_column column = agg_plan__column(feature, &feature->outputs[i], columns->count);

        column.curve = agg_curves__want(&columns->curves, &column);
        if (column.feature->type->cells || column.feature->type->of_records)
            columns->cells[columns->cell_count++] = column;
        else
            columns->rows[columns->row_count++] = column;
    }
    columns->names[columns->count++] = feature->columns[i];
}

/* Adds what is chosen of a feature, or, while there is no room for it yet, only counts it. */
static size_t choose(struct agg_columns *columns, const struct agg_feature *feature, int asked)
{
    size_t chosen = 0;

    for (int i = 0; i < feature->column_count && feature->entity == columns->entity; i++) {
        if (!agg_feature__is_chosen(feature, asked, i))
            continue;
        chosen++;
        if (columns->names)
            add_column(columns, feature, i);
    }
    return chosen;
}

static bool choose_all(struct agg_columns *columns, char *const *names, int count, size_t *chosen, struct fr_err *err)
{
    const struct agg_catalogue *catalogue = columns->agg->catalogue;

    *chosen = 0;
    for (int i = 0; i < count; i++) {
        struct agg_feature *feature;
        int asked;

        if (!agg_catalogue__resolve(catalogue, fr_slice_of(names[i]), &feature, &asked, err))
            return fr_fail_in(err, "features[%d]", i);
        *chosen += choose(columns, feature, asked);
    }
    for (int i = 0; i < catalogue->visible_feature_count && count == 0; i++)
        *chosen += choose(columns, catalogue->features[i], -1);
    return true;
}

static bool make_room(struct agg_columns *columns, size_t most, struct fr_err *err)
{
    struct fr_arena *arena = columns->arena;

    columns->rows = fr_arena_take_zeroed(arena, most + 1, sizeof *columns->rows);
    columns->cells = fr_arena_take_zeroed(arena, most + 1, sizeof *columns->cells);
    columns->ratios = fr_arena_take_zeroed(arena, most + 1, sizeof *columns->ratios);
    columns->numbers = fr_arena_take_zeroed(arena, most * AGG_PRIORS * SIDES + 1, sizeof *columns->numbers);
    for (int prior = 0; prior < AGG_PRIORS; prior++) {
        columns->operands[prior] = fr_arena_take_zeroed(arena, most * SIDES + 1, sizeof *columns->operands[prior]);
        if (!columns->operands[prior])
            return fail_exhausted(err);
    }
    columns->names = fr_arena_take_zeroed(arena, most + 1, sizeof *columns->names);
    return (agg_curves__init(&columns->curves, columns->agg->catalogue, arena) && columns->rows && columns->cells &&
            columns->ratios && columns->numbers && columns->names) ||
           fail_exhausted(err);
}

static bool compile(struct agg_columns *columns, const char *entity, char *const *names, int count, struct fr_err *err)
{
    size_t most;

    columns->entity = agg_catalogue__kind(columns->agg->catalogue, entity, err);
    if (!columns->entity || !choose_all(columns, names, count, &most, err) || !make_room(columns, most, err) ||
        !choose_all(columns, names, count, &most, err))
        return false;
    columns->drawn = agg_curves__room(&columns->curves, columns->arena);
    return columns->drawn || fail_exhausted(err);
}

bool agg_columns_new(struct agg *agg, const char *entity, char *const *names, int count, struct agg_columns **ret,
                     struct fr_err *err)
{
    struct fr_arena *arena = fr_arena_new(COLUMNS_BYTES_MAX);
    struct agg_columns *columns = arena ? fr_arena_take_zeroed(arena, 1, sizeof *columns) : NULL;

    if (!columns) {
        fr_arena_free(arena);
        return fr_fail(err, FR_EXHAUSTED, "features: out of memory");
    }
    columns->agg = agg;
    columns->arena = arena;
    if (!compile(columns, entity, names, count, err)) {
        fr_arena_free(arena);
        return false;
    }
    *ret = columns;
    return true;
}

void agg_columns_free(struct agg_columns *columns)
{
    if (columns)
        fr_arena_free(columns->arena);
}

int agg_columns_names(const struct agg_columns *columns, const char *const **names)
{
    *names = columns->names;
    return columns->count;
}

bool agg_columns_check_key(const struct agg_columns *columns, int id_count, struct fr_err *err)
{
    return id_count == columns->entity->key_count || agg_key__fail(columns->entity, id_count, err);
}

/* ---- reading ---- */

static void read_own(struct reading *reading, const struct agg_parts *parts, const struct agg_view *view, bool is_present)
{
    struct agg_columns *columns = reading->columns;

    if (is_present)
        agg_values__columns(columns->agg, view, columns->rows, columns->row_count, reading->values);
    for (int i = 0; i < columns->row_count && !is_present; i++)
        reading->values[columns->rows[i].column] = columns->rows[i].absent;
    for (int i = 0; i < columns->cell_count; i++) {
        const struct agg_column *column = &columns->cells[i];

        reading->values[column->column] =
            is_present ? agg_values__cell(parts, column, reading->time_ms, reading->curves) : column->absent;
    }
    for (int i = 0; i < AGG_ATTRIBUTES; i++)
        reading->remembered.bits[i] =
            agg_attributes__read(parts->memory[STORE_PART_ROWS], columns->entity, i, reading->time_ms);
}

static void read_parts(struct reading *reading, const struct agg_entity *entity, int prior, const struct agg_parts *parts)
{
    struct agg_columns *columns = reading->columns;
    const struct agg_rows *rows = parts->memory[STORE_PART_ROWS];
    bool is_present = agg_rows__is_present(rows, entity, reading->time_ms);
    struct agg_moment moment = agg_window__moment(reading->time_ms);
    struct agg_view view;

    if (is_present)
        agg_view__init(&view, rows, entity, &moment);
    if (prior == AGG_OWN)
        read_own(reading, parts, &view, is_present);
    for (int i = 0; i < columns->operand_count[prior]; i++) {
        const struct agg_column *column = &columns->operands[prior][i];

        if (column->feature->entity != entity)
            continue; /* another ratio's, whose parent is of another kind */
        columns->numbers[column->column] = !is_present      ? (double)column->absent
                                           : column->window ? agg_values__operand(&view, column)
                                                            : (double)agg_values__cell(parts, column, reading->time_ms, NULL);
    }
}

/* `key` NULL: nobody knows which, or there is none. */
static bool read_entity(struct reading *reading, const struct agg_entity *entity, int prior, const struct store_key *key)
{
    struct store *store = reading->columns->agg->store;
    struct agg_parts parts = {{NULL}};
    struct store_entry *entry = NULL;
    bool is_corrupt;
    uint64_t hash;
    uint32_t bytes;

    if (key) {
        hash = store_key_hash(store, key);
        if (!store_load(store, key, &hash, 1, reading->err))
            return false;
        entry = store_entry_lock(store, key, hash, false);
    }
    is_corrupt = entry && store_entry_is_corrupt(entry);
    for (int part = 0; part < STORE_PARTS && entry && !is_corrupt; part++)
        parts.memory[part] = store_entry_read(entry, (enum store_part)part, &bytes);
    if (!is_corrupt)
        read_parts(reading, entity, prior, &parts);
    if (entry)
        store_entry_unlock(store, entry);
    if (is_corrupt) {
        char name[160];

        agg_key__print(entity, key, name);
        return fr_fail(reading->err, FR_CORRUPT,
                       "the state of %s failed its check and is set aside; restore a backup, or replay", name);
    }
    return true;
}

static bool read_prior(struct reading *reading, int prior, const struct agg_entity *entity, const struct store_key *own)
{
    static const uint64_t all_ids[STORE_KEY_IDS_MAX] = {1};
    struct store_key key;
    bool is_known = prior == AGG_GLOBAL
                        ? agg_key__make(entity, all_ids, &key)
                        : own && agg_key__of_parent(reading->columns->entity, entity, own, &reading->remembered, &key);

    return read_entity(reading, entity, prior, is_known ? &key : NULL);
}

/* Ratios may differ in whom they are drawn towards: each kind of entity once. */
static bool read_priors(struct reading *reading, const struct store_key *own)
{
    for (int prior = AGG_PARENT; prior < AGG_PRIORS; prior++) {
        const struct agg_column *operands = reading->columns->operands[prior];

        for (int i = 0; i < reading->columns->operand_count[prior]; i++) {
            bool is_read = false;

            for (int before = 0; before < i; before++)
                is_read = is_read || operands[before].feature->entity == operands[i].feature->entity;
            if (!is_read && !read_prior(reading, prior, operands[i].feature->entity, own))
                return false;
        }
    }
    return true;
}

static bool draw_curves(struct reading *reading)
{
    struct agg_columns *columns = reading->columns;
    bool is_whole;

    reading->curves = (const double *const *)columns->drawn;
    return agg_curves__load(columns->agg, &columns->curves, reading->err) &&
           agg_curves__draw(columns->agg, &columns->curves, reading->time_ms, columns->drawn, &is_whole, reading->err);
}

bool agg_columns_read(struct agg_columns *columns, const uint64_t *ids, int64_t time_ms, float *values, struct fr_err *err)
{
    struct reading reading = {.columns = columns, .time_ms = time_ms, .values = values, .err = err};
    struct store_key key;
    const struct store_key *own = agg_key__of_ids(columns->entity, ids, &key) ? &key : NULL;

    if (!draw_curves(&reading) || !read_entity(&reading, columns->entity, AGG_OWN, own) || !read_priors(&reading, own))
        return false;
    for (int i = 0; i < columns->ratio_count; i++) {
        const struct agg_feature *feature = columns->ratios[i].feature;
        uint64_t id = feature->targets && own ? own->ids[feature->target_place] : 0;

        values[columns->ratios[i].column] = agg_ratio__value(&columns->ratios[i], columns->numbers, id);
    }
    return true;
}
