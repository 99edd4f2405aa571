/*
 * Following a read plan: the user's columns, then each row's item, which says whose creator, room and category columns the row shows,
 * then those and the entities that cross them with the user. Every entity is looked at once, under its own lock.
 */
#include "curves.h"
#include "finished.h"
#include "joined.h"
#include "match.h"
#include "plan.h"
#include "ratio.h"
#include "values.h"

enum { PREFETCH_AHEAD = 8 };

struct reading {
    struct agg *agg;
    const struct agg_plan *plan;
    const struct agg_request *request;
    struct fr_arena *arena;
    struct agg_reply *reply;
    struct agg_moment moment; /* T */
    struct agg_remembered *remembered; /* of each row's item */
    struct agg_remembered *rooms; /* of each row's room, when the plan needs it */
    double *user_operands, *item_operands; /* rows × operands */
    const double *const *curves; /* NULL: none are needed */
    struct agg_joined joined; /* what tables say, when the plan has any */
    struct fr_err *err;
};

static bool fail_exhausted(struct fr_err *err)
{
    return fr_fail(err, FR_EXHAUSTED, "the reply grows beyond its limit; ask for fewer items or features");
}

static bool fail_corrupt(const struct agg_entity *entity, const struct store_key *key, struct fr_err *err)
{
    char name[160];

    agg_key__print(entity, key, name);
    return fr_fail(err, FR_CORRUPT, "the state of %s failed its check and is set aside; restore a backup, or replay", name);
}

/* ---- one entity ---- */

/* What comes out of an entity for the rows that need it. */
struct target {
    float *values; /* of its first row, or of the user */
    double *operands;
    bool *is_present; /* may be NULL */
    struct agg_remembered *remembered; /* may be NULL */
    struct agg_sequence *sequences; /* one for each of the step's */
    uint64_t key; /* to tell them apart */
};

static bool read_sequences(struct reading *reading, const struct agg_step *step, const struct agg_parts *parts, bool is_present,
                           const struct target *target)
{
    for (int i = 0; i < step->sequence_count; i++) {
        target->sequences[i].name = step->sequences[i]->name;
        target->sequences[i].key = target->key;
        if (!agg_sequence__read(step->sequences[i], parts, is_present, reading->request->time_ms, reading->arena,
                                &target->sequences[i]))
            return fail_exhausted(reading->err);
    }
    return true;
}

/* The columns of its rows; most often the running totals are of T, and then nothing else is looked at. */
static void read_columns(struct reading *reading, const struct agg_step *step, const struct agg_rows *rows,
                         const struct target *target)
{
    bool are_totals = agg_totals__are_of(rows, step->entity, &reading->moment, reading->request->is_now);
    bool is_simple = are_totals && step->odd_column_count == 0;
    struct agg_view view;

    if (are_totals)
        agg_values__runs(agg_rows__totals(rows), step->runs, step->run_count, target->values);
    if (!is_simple || step->operand_count > 0)
        agg_view__init(&view, rows, step->entity, &reading->moment);
    if (!is_simple)
        agg_values__columns(reading->agg, &view, are_totals ? step->odd_columns : step->columns,
                            are_totals ? step->odd_column_count : step->column_count, target->values);
    for (int i = 0; i < step->operand_count; i++) {
        if (step->operands[i].window)
            target->operands[step->operands[i].column] = agg_values__operand(&view, &step->operands[i]);
    }
}

static void read_cells(const struct reading *reading, const struct agg_step *step, const struct agg_parts *parts,
                       const struct target *target)
{
    int64_t time_ms = reading->request->time_ms;

    for (int i = 0; i < step->cell_column_count; i++)
        target->values[step->cell_columns[i].column] =
            agg_values__cell(parts, &step->cell_columns[i], time_ms, reading->curves);
    for (int i = 0; i < step->operand_count; i++) {
        if (!step->operands[i].window)
            target->operands[step->operands[i].column] = (double)agg_values__cell(parts, &step->operands[i], time_ms, NULL);
    }
}

/* What columns show of an entity that isn't there: 0 most often, −1 of ages. */
static void read_nothing(const struct agg_step *step, float *values, double *operands)
{
    for (int i = 0; i < step->column_count; i++)
        values[step->columns[i].column] = step->columns[i].absent;
    for (int i = 0; i < step->cell_column_count; i++)
        values[step->cell_columns[i].column] = step->cell_columns[i].absent;
    for (int i = 0; i < step->operand_count; i++)
        operands[step->operands[i].column] = (double)step->operands[i].absent;
}

static void read_remembered(const struct reading *reading, const struct agg_entity *entity, const struct agg_rows *rows,
                            struct agg_remembered *remembered)
{
    for (int i = 0; i < AGG_ATTRIBUTES; i++)
        remembered->bits[i] =
            (entity->remembered >> i & 1) != 0 ? agg_attributes__read(rows, entity, i, reading->request->time_ms) : 0;
}

static bool read_parts(struct reading *reading, const struct agg_step *step, const struct agg_parts *parts,
                       const struct target *target)
{
    const struct agg_rows *rows = parts->memory[STORE_PART_ROWS];
    bool is_present = agg_rows__is_present(rows, step->entity, reading->request->time_ms);

    if (target->is_present)
        *target->is_present = is_present;
    if (is_present) {
        if (step->column_count + step->operand_count > 0)
            read_columns(reading, step, rows, target);
        read_cells(reading, step, parts, target);
    } else {
        read_nothing(step, target->values, target->operands);
    }
    if (target->remembered)
        read_remembered(reading, step->entity, rows, target->remembered);
    return read_sequences(reading, step, parts, is_present, target);
}

/* For the next read, as long as it stays so. */
static void finish(struct reading *reading, const struct agg_step *step, const struct store_entry *entry, uint64_t hash,
                   const struct agg_rows *rows, const struct target *target)
{
    const struct agg_finished_target made = {
        .values = target->values, .operands = target->operands, .remembered = target->remembered};

    if (step->finished.is_kept && agg_rows__is_present(rows, step->entity, reading->request->time_ms))
        agg_finished__keep(reading->agg, step, &reading->moment, entry, hash, rows, &made);
}

/* `found` may be NULL: then it is looked up. */
static bool read_entity(struct reading *reading, const struct agg_step *step, struct store_entry *found,
                        const struct store_key *key, uint64_t hash, const struct target *target)
{
    struct store *store = reading->agg->store;
    struct store_entry *entry = store_entry_lock_found(store, found, key, hash);
    struct agg_parts parts = {{NULL}};
    uint32_t bytes;
    bool ok;

    if (!entry) {
        reading->reply->is_incomplete |= !store_is_loaded(store, key, &hash, 1);
        return read_parts(reading, step, &parts, target);
    }
    for (int part = 0; part < STORE_PARTS; part++) {
        if ((step->parts >> part & 1) != 0)
            parts.memory[part] = store_entry_read(entry, (enum store_part)part, &bytes);
    }
    ok = store_entry_is_corrupt(entry) ? fail_corrupt(step->entity, key, reading->err)
                                       : read_parts(reading, step, &parts, target);
    if (ok)
        finish(reading, step, entry, hash, parts.memory[STORE_PART_ROWS], target);
    store_entry_unlock(store, entry);
    return ok;
}

/* What nobody is behind: no item, or no creator remembered. */
static const struct agg_parts no_parts;

static struct agg_sequence *next_sequences(struct reading *reading, const struct agg_step *step)
{
    struct agg_sequence *sequences = reading->reply->sequences + reading->reply->sequence_count;

    reading->reply->sequence_count += step->sequence_count;
    return sequences;
}

/* ---- the user ---- */

static bool read_user(struct reading *reading)
{
    for (int i = 0; i < reading->plan->user_step_count; i++) {
        const struct agg_step *step = &reading->plan->user_steps[i];
        uint64_t ids[STORE_KEY_IDS_MAX] = {step->entity->key[0] == AGG_KEY_ALL ? 1 : reading->request->user_id};
        struct target target = {.values = reading->reply->user_values,
                                .operands = reading->user_operands,
                                .is_present = i == 0 ? &reading->reply->user_present : NULL,
                                .sequences = next_sequences(reading, step),
                                .key = reading->request->user_id};
        struct store_key key;
        bool ok;

        if (agg_key__make(step->entity, ids, &key))
            ok = read_entity(reading, step, NULL, &key, store_key_hash(reading->agg->store, &key), &target);
        else
            ok = read_parts(reading, step, &no_parts, &target);
        if (!ok)
            return false;
    }
    return true;
}

/* ---- rows ---- */

/* What was read for the first row, for the others of the same key. */
static void copy_to_rows(struct reading *reading, const struct agg_step *step, const struct agg_keyring *ring, int index,
                         bool is_item)
{
    size_t width = (size_t)reading->plan->item_column_count, operands = (size_t)reading->plan->item_operand_count;
    int first = ring->first[index];
    const float *from = reading->reply->item_values + (size_t)first * width;

    for (int row = ring->next[first]; row >= 0; row = ring->next[row]) {
        float *to = reading->reply->item_values + (size_t)row * width;

        for (int i = 0; i < step->column_count; i++)
            to[step->columns[i].column] = from[step->columns[i].column];
        for (int i = 0; i < step->cell_column_count; i++)
            to[step->cell_columns[i].column] = from[step->cell_columns[i].column];
        for (int i = 0; i < step->operand_count; i++) {
            size_t operand = (size_t)step->operands[i].column;

            reading->item_operands[(size_t)row * operands + operand] =
                reading->item_operands[(size_t)first * operands + operand];
        }
        if (is_item) {
            reading->reply->item_present[row] = reading->reply->item_present[first];
            reading->remembered[row] = reading->remembered[first];
        }
        if (step->entity == reading->agg->catalogue->room && reading->rooms)
            reading->rooms[row] = reading->rooms[first];
    }
}

static bool name_rows(struct reading *reading, const struct agg_step *step, const struct agg_keyring *ring, int index,
                      struct agg_sequence *sequences)
{
    for (int i = 0; i < step->sequence_count; i++) {
        if (!agg_keyring__rows(ring, index, reading->arena, &sequences[i]))
            return fail_exhausted(reading->err);
    }
    return true;
}

/* Where what the step's entity of this row remembers goes; NULL: nobody asks. */
static struct agg_remembered *remembered_of(const struct reading *reading, const struct agg_step *step, int row, bool is_item)
{
    if (is_item)
        return &reading->remembered[row];
    return reading->rooms && step->entity == reading->agg->catalogue->room ? &reading->rooms[row] : NULL;
}

/* Fetches what keys further on will need, in stages: each looks at what the one before brought. */
static void prefetch(struct store *store, const struct agg_step *step, const struct agg_keyring *ring,
                     struct store_entry **found, int index)
{
    int slot = index + 3 * PREFETCH_AHEAD, entry = index + 2 * PREFETCH_AHEAD, part = index + PREFETCH_AHEAD;

    if (slot < ring->count)
        store_prefetch(store, ring->hashes[slot]);
    if (entry >= 0 && entry < ring->count)
        found[entry] = store_entry_find(store, ring->hashes[entry]);
    if (part >= 0 && part < ring->count)
        store_entry_fetch(found[part], STORE_PART_ROWS, step->entity->head_lines);
}

/* The entity of a key, for all rows that name it. */
static bool read_key(struct reading *reading, const struct agg_step *step, const struct agg_keyring *ring, int index,
                     struct store_entry *found, bool is_item)
{
    size_t width = (size_t)reading->plan->item_column_count, operands = (size_t)reading->plan->item_operand_count;
    int row = ring->first[index];
    struct target target = {.values = reading->reply->item_values + (size_t)row * width,
                            .operands = reading->item_operands + (size_t)row * operands,
                            .is_present = is_item ? &reading->reply->item_present[row] : NULL,
                            .remembered = remembered_of(reading, step, row, is_item),
                            .sequences = next_sequences(reading, step),
                            .key = ring->keys[index].ids[step->entity->has_user && step->entity->key_count > 1]};

    if (!read_entity(reading, step, found, &ring->keys[index], ring->hashes[index], &target) ||
        !name_rows(reading, step, ring, index, target.sequences))
        return false;
    copy_to_rows(reading, step, ring, index, is_item);
    return true;
}

/* From the entities themselves, one kind for rows[0..count). */
static bool read_entities(struct reading *reading, const struct agg_step *step, bool is_item,
                          const struct agg_remembered *named_by, const int *rows, int count)
{
    size_t width = (size_t)reading->plan->item_column_count, operands = (size_t)reading->plan->item_operand_count;
    struct store_entry **found = fr_arena_take(reading->arena, ((size_t)count + 1) * sizeof *found);
    struct agg_keyring ring;

    if (!found ||
        !agg_keyring__collect(reading->agg, step->entity, reading->request, named_by, rows, count, reading->arena, &ring))
        return fail_exhausted(reading->err);
    for (int i = -3 * PREFETCH_AHEAD; i < 0; i++)
        prefetch(reading->agg->store, step, &ring, found, i);
    for (int row = ring.keyless; row >= 0; row = ring.next[row])
        read_nothing(step, reading->reply->item_values + (size_t)row * width, reading->item_operands + (size_t)row * operands);
    for (int i = 0; i < ring.count; i++) {
        prefetch(reading->agg->store, step, &ring, found, i);
        if (!read_key(reading, step, &ring, i, found[i], is_item))
            return false;
    }
    return true;
}

/* What is finished is copied; gives the rows for which nothing is, which are all most often or few. */
static bool read_finished(struct reading *reading, const struct agg_step *step, bool is_item,
                          const struct agg_remembered *named_by, int **rows, int *count)
{
    const struct agg_finished_target first = {.values = reading->reply->item_values,
                                              .operands = reading->item_operands,
                                              .remembered = remembered_of(reading, step, 0, is_item)};
    size_t all = (size_t)reading->request->item_count;
    uint64_t *ids = fr_arena_take(reading->arena, (all + 1) * sizeof *ids);

    *rows = fr_arena_take(reading->arena, (all + 1) * sizeof **rows);
    if (!ids || !*rows)
        return fail_exhausted(reading->err);
    agg_keyring__ids(step->entity->key[0], reading->request, named_by, ids);
    if (!agg_finished__read(reading->agg, reading->plan, step, &reading->moment, ids, (int)all, reading->arena, &first, *rows,
                            count))
        return fail_exhausted(reading->err);
    for (size_t row = 0; row < all && is_item; row++)
        reading->reply->item_present[row] = true; /* or it would not be finished … */
    for (int i = 0; i < *count && is_item; i++)
        reading->reply->item_present[(*rows)[i]] = false; /* … and of these nothing is known yet */
    return true;
}

/* One kind of entity for all rows. */
static bool read_step(struct reading *reading, const struct agg_step *step, bool is_item)
{
    const struct agg_remembered *named_by = is_item ? NULL : step->via_room ? reading->rooms : reading->remembered;
    int count = reading->request->item_count;
    int *rows = NULL;

    if (step->finished.is_kept && !read_finished(reading, step, is_item, named_by, &rows, &count))
        return false;
    return count == 0 || read_entities(reading, step, is_item, named_by, rows, count);
}

/* A request's room stands for every item's own. */
static void set_room(struct reading *reading)
{
    int room = agg_attribute__index(PROTO_FIELD_ROOM_ID);

    for (int row = 0; row < reading->request->item_count && reading->request->room_id != 0; row++)
        reading->remembered[row].bits[room] = reading->request->room_id;
}

/* ---- entities by what a table lists: a row shows the greatest of theirs ---- */

static float greater(float a, float b)
{
    return b > a ? b : a;
}

/* What one of them shows takes the place of what is less. */
static void merge_row(const struct reading *reading, const struct agg_step *step, const float *shown, const double *operands,
                      bool is_first, float *values)
{
    for (int i = 0; i < step->column_count + step->cell_column_count; i++) {
        int column = i < step->column_count ? step->columns[i].column : step->cell_columns[i - step->column_count].column;

        values[column] = is_first ? shown[column] : greater(values[column], shown[column]);
    }
    for (int i = 0; i < reading->plan->item_ratio_count; i++) {
        const struct agg_ratio_column *ratio = &reading->plan->item_ratios[i];
        float value;

        if (ratio->feature->entity != step->entity)
            continue;
        value = agg_ratio__value(ratio, operands, 0);
        values[ratio->column] = is_first ? value : greater(values[ratio->column], value);
    }
}

/* One id of each row's list: read beside the rows, then merged. */
static bool read_turn(struct reading *reading, const struct agg_step *step, int k)
{
    size_t rows = (size_t)reading->request->item_count, width = (size_t)reading->plan->item_column_count;
    size_t operands = (size_t)reading->plan->item_operand_count;
    float *values = reading->reply->item_values;
    double *all_operands = reading->item_operands;
    bool ok;

    agg_joined__turn(&reading->joined, step->entity, k);
    reading->reply->item_values = fr_arena_take(reading->arena, (rows * width + 1) * sizeof(float));
    reading->item_operands = fr_arena_take(reading->arena, (rows * operands + 1) * sizeof(double));
    ok = reading->reply->item_values && reading->item_operands;
    if (ok) {
        memcpy(reading->item_operands, all_operands, rows * operands * sizeof(double));
        ok = read_step(reading, step, false);
    } else {
        ok = fail_exhausted(reading->err);
    }
    for (size_t row = 0; row < rows && ok; row++) {
        int listed = agg_joined__listed(&reading->joined, step->entity, (int)row);

        if (k < listed || k == 0) /* of none, what nobody has */
            merge_row(reading, step, reading->reply->item_values + row * width, reading->item_operands + row * operands, k == 0,
                      values + row * width);
    }
    reading->reply->item_values = values;
    reading->item_operands = all_operands;
    return ok;
}

static bool read_listed(struct reading *reading)
{
    for (int i = 0; i < reading->plan->item_step_count; i++) {
        const struct agg_step *step = &reading->plan->item_steps[i];

        for (int k = 0; step->entity->listed >= 0 && (k == 0 || k < reading->joined.listed_most); k++)
            if (!read_turn(reading, step, k))
                return false;
    }
    return true;
}

static bool read_joined(struct reading *reading)
{
    if (reading->plan->tables == 0)
        return true;
    if (!agg_joined__read(reading->agg, reading->plan, reading->request, reading->remembered, reading->arena, &reading->joined,
                          &reading->reply->is_incomplete, reading->err))
        return false;
    agg_joined__columns(&reading->joined, reading->plan, reading->reply->item_values);
    return agg_joined__sequences(reading->agg, &reading->joined, reading->plan, reading->request, reading->remembered,
                                 reading->arena, reading->reply) ||
           fail_exhausted(reading->err);
}

static bool read_rows(struct reading *reading)
{
    bool has_item = reading->agg->catalogue->item != NULL;

    if (has_item && !read_step(reading, &reading->plan->item_steps[0], true))
        return false;
    set_room(reading);
    if (!read_joined(reading))
        return false;
    for (int i = has_item; i < reading->plan->item_step_count; i++) {
        if (reading->plan->item_steps[i].entity->listed < 0 && !read_step(reading, &reading->plan->item_steps[i], false))
            return false;
    }
    return reading->plan->tables == 0 || read_listed(reading);
}

static bool read_matches(struct reading *reading)
{
    for (int i = 0; i < reading->plan->match_count; i++) {
        if (!agg_match__read(reading->agg, reading->plan->matches[i], reading->request, reading->remembered, reading->arena,
                             reading->reply->sequences, &reading->reply->sequence_count, reading->err))
            return false;
    }
    return true;
}

static void reckon_users(struct reading *reading)
{
    const struct agg_plan *plan = reading->plan;

    for (int i = 0; i < plan->user_ratio_count; i++) {
        reading->reply->user_values[plan->user_ratios[i].column] =
            agg_ratio__value(&plan->user_ratios[i], reading->user_operands, reading->request->user_id);
    }
}

/* Whose target each row asks for, by column; NULL where a column has no targets. */
static bool name_targets(struct reading *reading, uint64_t ***ids)
{
    const struct agg_plan *plan = reading->plan;
    size_t rows = (size_t)reading->request->item_count;

    *ids = fr_arena_take_zeroed(reading->arena, (size_t)plan->item_ratio_count + 1, sizeof **ids);
    for (int i = 0; i < plan->item_ratio_count && *ids; i++) {
        const struct agg_feature *feature = plan->item_ratios[i].feature;

        if (!feature->targets)
            continue;
        (*ids)[i] = fr_arena_take(reading->arena, (rows + 1) * sizeof(uint64_t));
        if (!(*ids)[i])
            return fail_exhausted(reading->err);
        agg_keyring__ids(feature->entity->key[feature->target_place], reading->request, reading->remembered, (*ids)[i]);
    }
    return *ids || fail_exhausted(reading->err);
}

static bool reckon_ratios(struct reading *reading)
{
    const struct agg_plan *plan = reading->plan;
    size_t rows = (size_t)reading->request->item_count;
    uint64_t **ids;

    reckon_users(reading);
    if (!name_targets(reading, &ids))
        return false;
    for (size_t row = 0; row < rows; row++) {
        const double *operands = reading->item_operands + row * (size_t)plan->item_operand_count;
        float *values = reading->reply->item_values + row * (size_t)plan->item_column_count;

        for (int i = 0; i < plan->item_ratio_count; i++) {
            const struct agg_feature *feature = plan->item_ratios[i].feature;

            if (feature->entity->listed < 0)
                values[plan->item_ratios[i].column] =
                    agg_ratio__value(&plan->item_ratios[i], operands, ids[i] ? ids[i][row] : 0);
        }
    }
    return true;
}

static bool draw_curves(struct reading *reading)
{
    const struct agg_curves *curves = reading->plan->curves;
    double **room = curves ? agg_curves__room(curves, reading->arena) : NULL;
    bool is_whole = true;

    if (!curves)
        return true;
    if (!room)
        return fail_exhausted(reading->err);
    if (!agg_curves__draw(reading->agg, curves, reading->request->time_ms, room, &is_whole, reading->err))
        return false;
    reading->curves = (const double *const *)room;
    reading->reply->is_incomplete |= !is_whole;
    return true;
}

static bool read_joined_field(struct reading *reading, int field, struct agg_values *values)
{
    values->count = reading->request->item_count;
    values->ids = fr_arena_take(reading->arena, ((size_t)values->count + 1) * sizeof *values->ids);
    if (values->ids)
        agg_joined__ids(&reading->joined, field, values->ids);
    return values->ids != NULL;
}

static bool read_item_fields(struct reading *reading)
{
    for (int i = 0; i < reading->plan->field_count; i++) {
        struct agg_values *values = &reading->reply->item_fields[i];

        values->name = reading->plan->field_names[i];
        if (reading->plan->fields[i] >= AGG_KEY_JOINED) {
            if (!read_joined_field(reading, reading->plan->fields[i] - AGG_KEY_JOINED, values))
                return fail_exhausted(reading->err);
            continue;
        }
        if (!agg_values__attribute(reading->remembered, reading->request->item_count, reading->plan->fields[i], reading->arena,
                                   values))
            return fail_exhausted(reading->err);
    }
    return true;
}

/* ---- the whole ---- */

/* Sequences at most: the user's, and one for each row and item-side sequence. */
static size_t sequences_most(const struct agg_plan *plan, int rows)
{
    size_t most = 1 + (size_t)(plan->match_count + plan->table_sequence_count) * (size_t)rows;

    for (int i = 0; i < plan->user_step_count; i++)
        most += (size_t)plan->user_steps[i].sequence_count;
    for (int i = 0; i < plan->item_step_count; i++)
        most += (size_t)plan->item_steps[i].sequence_count * (size_t)rows;
    return most;
}

static bool reply_init(struct reading *reading)
{
    const struct agg_plan *plan = reading->plan;
    size_t rows = (size_t)reading->request->item_count;
    struct fr_arena *arena = reading->arena;
    struct agg_reply *reply = reading->reply;

    *reply = (struct agg_reply){
        .user_values = fr_arena_take_zeroed(arena, (size_t)plan->user_column_count + 1, sizeof(float)),
        .item_values = fr_arena_take(arena, (rows * (size_t)plan->item_column_count + 1) * sizeof(float)),
        .item_present = fr_arena_take_zeroed(arena, rows + 1, sizeof(bool)),
        .item_fields = fr_arena_take_zeroed(arena, (size_t)plan->field_count + 1, sizeof(struct agg_values)),
        .item_field_count = plan->field_count,
        .sequences = fr_arena_take_zeroed(arena, sequences_most(plan, (int)rows), sizeof(struct agg_sequence)),
    };
    reading->remembered = fr_arena_take_zeroed(arena, rows + 1, sizeof *reading->remembered);
    reading->user_operands = fr_arena_take_zeroed(arena, (size_t)plan->user_operand_count + 1, sizeof(double));
    reading->item_operands = fr_arena_take(arena, (rows * (size_t)plan->item_operand_count + 1) * sizeof(double));
    reading->rooms = plan->needs_room ? fr_arena_take_zeroed(arena, rows + 1, sizeof *reading->rooms) : NULL;
    if (!reading->user_operands || !reading->item_operands || (plan->needs_room && !reading->rooms))
        return fail_exhausted(reading->err);
    if (!reply->user_values || !reply->item_values || !reply->item_present || !reply->item_fields || !reply->sequences ||
        !reading->remembered)
        return fail_exhausted(reading->err);
    return true;
}

bool agg_read(struct agg *agg, const struct agg_plan *plan, const struct agg_request *request, struct fr_arena *arena,
              struct agg_reply *reply, struct fr_err *err)
{
    struct reading reading = {.agg = agg, .plan = plan, .request = request, .arena = arena, .reply = reply, .err = err};

    reading.moment = agg_window__moment(request->time_ms);
    if (!reply_init(&reading) || !draw_curves(&reading) || !read_user(&reading) || !read_rows(&reading) ||
        !read_matches(&reading) || !read_item_fields(&reading))
        return false;
    return reckon_ratios(&reading);
}
