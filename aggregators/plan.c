/* Read plans: what a request names, compiled to columns by entity, in the order of the reply. */
#include "plan.h"
#include "curves.h"
#include "finished.h"
#include "ratio.h"
#include "tables.h"
#include "type.h"

#include <freshet/text.h>

#include <stdio.h>
#include <stdlib.h>

enum { PLAN_BYTES_MAX = 4 << 20 };

/* In the order of agg__attribute_fields. */
static const char *const item_field_names[AGG_ATTRIBUTES] = {"item.creator_id", "item.room_id", "item.category_id",
                                                             "item.duration_s"};

struct choice { /* one column, operand or sequence that some step reads */
    enum { CHOICE_COLUMN, CHOICE_OPERAND, CHOICE_SEQUENCE } what;
    bool is_users; /* of the user's row */
    bool via_room;
    struct agg_column column;
};

/* What a plan is compiled from and into: first the names become choices, then the choices columns of exactly enough room. */
struct compile {
    const struct agg_catalogue *catalogue;
    struct agg_plan *plan;
    struct fr_buffer choices; /* struct choice */
    struct fr_buffer user_ratios, item_ratios; /* struct agg_ratio_column */
    struct fr_buffer user_columns, item_columns; /* names */
    struct fr_buffer matches; /* const struct agg_feature * */
    struct fr_buffer fields; /* attributes as bytes */
    struct agg_curves curves;
    struct fr_buffer table_columns, table_sequences; /* struct agg_table_column; int */
    struct fr_err *err;
};

static bool fail_memory(struct fr_err *err)
{
    return fr_fail(err, FR_EXHAUSTED, "features: out of memory");
}

/* ---- names to choices ---- */

static bool is_users(const struct agg_entity *entity)
{
    return entity->has_user && entity->key_count == 1;
}

static bool is_sequence(const struct agg_feature *feature)
{
    return feature->aggregate == AGG_LAST || feature->aggregate == AGG_MATCH ||
           (feature->type->cells && feature->type->cells->sequence) || feature->type->list_records;
}

static void choose(struct compile *compile, const struct choice *choice)
{
    fr_buffer_append(&compile->choices, choice, sizeof *choice);
}

/* A place among the operands of the row, read from the entity that keeps it. */
static int add_operand(struct compile *compile, const struct agg_feature *ratio, const struct agg_feature *operand,
                       enum agg_prior prior, const struct agg_window *window)
{
    struct agg_plan *plan = compile->plan;
    bool is_user = is_users(ratio->entity);
    int *count = is_user ? &plan->user_operand_count : &plan->item_operand_count;
    struct choice choice = {.what = CHOICE_OPERAND, .is_users = is_user};

    if (!operand)
        return -1;
    choice.via_room = prior != AGG_OWN && prior != AGG_GLOBAL && ratio->entity == compile->catalogue->room;
    plan->needs_room = plan->needs_room || choice.via_room;
    choice.column = (struct agg_column){.feature = operand, .column = *count};
    if (window)
        choice.column.window = agg_feature__window(operand, window->span_ms);
    choice.column.absent = window ? 0 : -1; /* an age */
    choose(compile, &choice);
    return (*count)++;
}

static void add_ratio(struct compile *compile, const struct agg_feature *feature, const struct agg_output_column *output,
                      int column)
{
    struct agg_ratio_column ratio = {.feature = feature, .output = output, .column = column};

    for (int prior = 0; prior < AGG_PRIORS; prior++) {
        for (int side = 0; side < 2; side++) {
            const struct agg_feature *operand = agg_ratio__operand(feature, output, (enum agg_prior)prior, side);
            const struct agg_window *window = output->window >= 0 ? &feature->windows[output->window] : NULL;

            ratio.operands[prior][side] = add_operand(compile, feature, operand, (enum agg_prior)prior, window);
        }
    }
    fr_buffer_append(is_users(feature->entity) ? &compile->user_ratios : &compile->item_ratios, &ratio, sizeof ratio);
}

static float absent_of(const struct agg_column *column)
{
    const struct agg_cell_type *cells = column->feature->type->cells;

    if (column->feature->type->of_rows)
        return column->feature->type->of_rows(column->feature, NULL);
    return cells ? cells->value(column->feature, fr_slice(NULL, 0), column->window, column->output, 0) : 0;
}

struct agg_column agg_plan__column(const struct agg_feature *feature, const struct agg_output_column *output, int column)
{
    struct agg_column made = {.feature = feature,
                              .output = output->output,
                              .window = output->window >= 0 ? &feature->windows[output->window] : NULL,
                              .column = column};

    if (output->output == AGG_OUTPUT_AGE && feature->age)
        made.feature = feature->age;
    if (output->output == AGG_OUTPUT_N && feature->n)
        made.feature = feature->n;
    if (made.feature != feature)
        made.output = AGG_OUTPUT_VALUE;
    if (made.window)
        made.window = agg_feature__window(made.feature, made.window->span_ms);
    made.span = -1;
    if (made.feature->is_counter && made.feature->aggregate != AGG_MEAN) {
        made.span = made.window->span;
        made.total_at = made.window->total_at;
        made.measure = made.feature->measure;
    }
    made.absent = absent_of(&made);
    return made;
}

static void add_column(struct compile *compile, const struct agg_feature *feature, int chosen)
{
    struct agg_plan *plan = compile->plan;
    bool is_user = is_users(feature->entity);
    int *count = is_user ? &plan->user_column_count : &plan->item_column_count;
    struct choice choice = {.what = CHOICE_COLUMN, .is_users = is_user};

    fr_buffer_append(is_user ? &compile->user_columns : &compile->item_columns, &feature->columns[chosen],
                     sizeof feature->columns[chosen]);
    if (feature->type->of_operands) {
        add_ratio(compile, feature, &feature->outputs[chosen], (*count)++);
        return;
    }
    choice.column = agg_plan__column(feature, &feature->outputs[chosen], (*count)++);
    choice.column.curve = agg_curves__want(&compile->curves, &choice.column);
    choose(compile, &choice);
}

static void add_match(struct compile *compile, const struct agg_feature *feature)
{
    const struct agg_feature *const *matches = (const void *)compile->matches.bytes;

    for (size_t i = 0; i < compile->matches.length / sizeof *matches; i++) {
        if (matches[i] == feature)
            return;
    }
    fr_buffer_append(&compile->matches, &feature, sizeof feature);
}

static void add_sequence(struct compile *compile, const struct agg_feature *feature)
{
    struct choice choice = {.what = CHOICE_SEQUENCE, .is_users = is_users(feature->entity), .column = {.feature = feature}};
    const struct choice *choices = (const void *)compile->choices.bytes;

    for (size_t i = 0; i < compile->choices.length / sizeof *choices; i++) {
        if (choices[i].what == CHOICE_SEQUENCE && choices[i].column.feature == feature)
            return; /* once is enough: a sequence has a name, not a place */
    }
    choose(compile, &choice);
    compile->plan->sequence_count++;
}

/* A column by its name stands for its window: the companions come along. */
static void add_feature(struct compile *compile, const struct agg_feature *feature, int column)
{
    const struct agg_output_column *outputs = feature->outputs;

    if (column < 0 && is_sequence(feature) && (feature->emits >> AGG_OUTPUT_VALUE & 1) != 0)
        feature->aggregate == AGG_MATCH ? add_match(compile, feature) : add_sequence(compile, feature);
    for (int i = 0; i < feature->column_count; i++) {
        if (column < 0 || i == column ||
            (outputs[column].output == AGG_OUTPUT_VALUE && outputs[column].window >= 0 &&
             outputs[i].window == outputs[column].window))
            add_column(compile, feature, i);
    }
}

static bool is_item_field(struct fr_slice name)
{
    return name.length > 5 && memcmp(name.bytes, "item.", 5) == 0;
}

static bool add_item_field(struct compile *compile, struct fr_slice name)
{
    struct fr_slice field = fr_slice((const char *)name.bytes + 5, name.length - 5);
    const char *names[AGG_ATTRIBUTES];
    const char *nearest;
    int attribute = agg_attribute__index(proto_field_number(field));

    if (!compile->catalogue->item)
        return fr_fail(compile->err, FR_BAD_INPUT, "features: '%.*s': no entity has the key [item_id]", (int)name.length,
                       (const char *)name.bytes);
    if (attribute >= 0) {
        fr_buffer_append_byte(&compile->fields, (uint8_t)attribute);
        return true;
    }
    for (int i = 0; i < AGG_ATTRIBUTES; i++)
        names[i] = proto_field_name(agg__attribute_fields[i]);
    nearest = fr_text_nearest(field, names, AGG_ATTRIBUTES);
    return fr_fail(compile->err, FR_BAD_INPUT, "features: items remember no '%.*s'; use item.%s", (int)field.length,
                   (const char *)field.bytes,
                   nearest ? nearest : "creator_id, item.room_id, item.category_id or item.duration_s");
}

/* A field of a table: a number is a column, an id one of the item's fields, a list a sequence. */
static void add_table_field(struct compile *compile, int number)
{
    const struct agg_table_field *field = &compile->catalogue->table_fields[number];
    struct agg_table_column column = {.field = number};

    compile->plan->tables |= UINT32_C(1) << field->table->number;
    switch (agg_tables__type(compile->catalogue, number)) {
    case PROTO_TABLE_ID:
        fr_buffer_append_byte(&compile->fields, (uint8_t)(AGG_KEY_JOINED + number));
        break;
    case PROTO_TABLE_IDS:
        fr_buffer_append(&compile->table_sequences, &number, sizeof number);
        break;
    default:
        column.column = compile->plan->item_column_count++;
        fr_buffer_append(&compile->item_columns, &field->name, sizeof field->name);
        fr_buffer_append(&compile->table_columns, &column, sizeof column);
    }
}

/* A table's name stands for all of its fields. False: it has no such field. */
static bool add_table(struct compile *compile, struct fr_slice name, bool *is_table)
{
    const char *dot = name.length ? memchr(name.bytes, '.', name.length) : NULL;
    struct fr_slice stem = fr_slice(name.bytes, dot ? (size_t)(dot - (const char *)name.bytes) : name.length);
    const struct agg_table *table = agg_tables__find(compile->catalogue, stem);
    int number;

    *is_table = table != NULL;
    if (!table)
        return true;
    for (int i = 0; i < table->layout.field_count && !dot; i++)
        add_table_field(compile, table->field_first + i);
    if (!dot)
        return true;
    number = agg_tables__resolve(compile->catalogue, name, compile->err);
    if (number < 0)
        return fr_fail_in(compile->err, "features");
    add_table_field(compile, number);
    return true;
}

static bool add_name(struct compile *compile, struct fr_slice name)
{
    struct agg_feature *feature;
    bool is_table;
    int column;

    if (is_item_field(name) && !agg_catalogue__feature(compile->catalogue, fr_slice("item", 4)))
        return add_item_field(compile, name);
    if (!add_table(compile, name, &is_table))
        return false;
    if (is_table)
        return true;
    if (!agg_catalogue__resolve(compile->catalogue, name, &feature, &column, compile->err))
        return fr_fail_in(compile->err, "features");
    add_feature(compile, feature, column);
    return true;
}

static const struct agg_set *find_set(const struct agg_catalogue *catalogue, const char *name, struct fr_err *err)
{
    const char *nearest;
    const char **names;

    for (int i = 0; i < catalogue->set_count; i++) {
        if (strcmp(catalogue->sets[i].name, name) == 0)
            return &catalogue->sets[i];
    }
    names = calloc((size_t)catalogue->set_count + 1, sizeof *names);
    for (int i = 0; names && i < catalogue->set_count; i++)
        names[i] = catalogue->sets[i].name;
    nearest = names ? fr_text_nearest(fr_slice_of(name), names, catalogue->set_count) : NULL;
    fr_fail(err, FR_BAD_INPUT, "feature_set: unknown set '%.100s'%s%s%s", name, nearest ? "; did you mean '" : "",
            nearest ? nearest : "", nearest ? "'?" : "");
    free(names);
    return NULL;
}

static bool add_all(struct compile *compile, const char *feature_set, char *const *names, int count)
{
    if (*feature_set) {
        const struct agg_set *set = find_set(compile->catalogue, feature_set, compile->err);

        if (!set)
            return false;
        for (int i = 0; i < set->count; i++) {
            if (!add_name(compile, fr_slice_of(set->names[i])))
                return false;
        }
    }
    for (int i = 0; i < count; i++) {
        if (!add_name(compile, fr_slice_of(names[i])))
            return false;
    }
    for (int i = 0; i < compile->catalogue->visible_feature_count && !*feature_set && count == 0; i++)
        add_feature(compile, compile->catalogue->features[i], -1);
    for (int i = 0; i < compile->catalogue->table_field_count && !*feature_set && count == 0; i++)
        add_table_field(compile, i);
    return true;
}

/* ---- choices to columns ---- */

static struct agg_step *find_step(struct agg_step *steps, int count, const struct agg_entity *entity, bool via_room)
{
    for (int i = 0; i < count; i++) {
        if (steps[i].entity == entity && steps[i].via_room == via_room)
            return &steps[i];
    }
    return NULL;
}

static bool is_of(const struct choice *choice, const struct agg_entity *entity, bool is_user, bool via_room)
{
    return choice->column.feature->entity == entity && choice->is_users == is_user && choice->via_room == via_room;
}

/* A step for the entity with room for what was chosen of it; none when that is nothing, unless it must be there. */
static bool step_add(struct compile *compile, const struct agg_entity *entity, bool is_user, bool via_room, bool must)
{
    struct agg_plan *plan = compile->plan;
    const struct choice *choices = (const void *)compile->choices.bytes;
    size_t most[CHOICE_SEQUENCE + 1] = {0}, all = 0;
    struct agg_step *step;

    for (size_t i = 0; i < compile->choices.length / sizeof *choices; i++) {
        if (is_of(&choices[i], entity, is_user, via_room)) {
            most[choices[i].what]++;
            all++;
        }
    }
    if (all == 0 && !must)
        return true;
    step = is_user ? &plan->user_steps[plan->user_step_count++] : &plan->item_steps[plan->item_step_count++];
    step->entity = entity;
    step->via_room = via_room;
    for (int i = 0; i < entity->key_count && entity->is_joined; i++)
        if (entity->key[i] >= AGG_KEY_JOINED)
            plan->tables |= UINT32_C(1) << compile->catalogue->table_fields[entity->key[i] - AGG_KEY_JOINED].table->number;
    step->parts = 1 << STORE_PART_ROWS;
    step->columns = fr_arena_take_zeroed(plan->arena, most[CHOICE_COLUMN] + 1, sizeof *step->columns);
    step->runs = fr_arena_take_zeroed(plan->arena, most[CHOICE_COLUMN] + 1, sizeof *step->runs);
    step->odd_columns = fr_arena_take_zeroed(plan->arena, most[CHOICE_COLUMN] + 1, sizeof *step->odd_columns);
    step->cell_columns = fr_arena_take_zeroed(plan->arena, most[CHOICE_COLUMN] + 1, sizeof *step->cell_columns);
    step->operands = fr_arena_take_zeroed(plan->arena, most[CHOICE_OPERAND] + 1, sizeof *step->operands);
    step->sequences = fr_arena_take_zeroed(plan->arena, most[CHOICE_SEQUENCE] + 1, sizeof *step->sequences);
    return step->columns && step->runs && step->odd_columns && step->cell_columns && step->operands && step->sequences;
}

static bool is_matched(const struct agg_plan *plan, const struct agg_entity *entity)
{
    for (int i = 0; i < plan->match_count; i++) {
        if (plan->matches[i]->entity == entity)
            return true;
    }
    return false;
}

/* The user's and the item's own steps come first; those that go by what a room remembers, last. */
static bool add_steps(struct compile *compile)
{
    const struct agg_catalogue *catalogue = compile->catalogue;
    struct agg_plan *plan = compile->plan;
    size_t entities = (size_t)catalogue->entity_count;
    bool ok;

    plan->user_steps = fr_arena_take_zeroed(plan->arena, entities, sizeof *plan->user_steps);
    plan->item_steps = fr_arena_take_zeroed(plan->arena, entities * 2, sizeof *plan->item_steps);
    ok = plan->user_steps && plan->item_steps && step_add(compile, catalogue->user, true, false, true);
    if (catalogue->item)
        ok = ok && step_add(compile, catalogue->item, false, false, true);
    for (size_t i = 0; i < entities && ok; i++) {
        const struct agg_entity *entity = catalogue->entities[i];

        if (entity != catalogue->user)
            ok = step_add(compile, entity, true, false, is_matched(plan, entity));
        if (entity != catalogue->item)
            ok = ok && step_add(compile, entity, false, false, entity == catalogue->room && plan->needs_room);
    }
    for (size_t i = 0; i < entities && ok; i++)
        ok = step_add(compile, catalogue->entities[i], false, true, false);
    return ok;
}

static uint8_t parts_of(const struct agg_feature *feature, bool is_sequence_asked)
{
    if (feature->type->cells)
        return (uint8_t)(1 << feature->type->cells->part);
    if (feature->type->of_records)
        return 1 << STORE_PART_ROWS | 1 << STORE_PART_SEQUENCES;
    return is_sequence_asked ? 1 << STORE_PART_SEQUENCES : 1 << STORE_PART_ROWS;
}

/* A column of the rows: if it goes on where the last run ends, both in the totals and in the reply, that run is one longer. */
static void add_to_runs(struct agg_step *step, const struct agg_column *column)
{
    struct agg_run *last = step->run_count > 0 ? &step->runs[step->run_count - 1] : NULL;
    uint32_t bytes = column->measure == AGG_MEASURE_COUNT ? sizeof(int32_t) : sizeof(int64_t);

    if (column->span < 0 || column->measure == AGG_MEASURE_GREATEST)
        step->odd_columns[step->odd_column_count++] = *column;
    else if (last && last->measure == column->measure && last->column + last->count == column->column &&
             last->total_at + (uint32_t)last->count * bytes == column->total_at)
        last->count++;
    else
        step->runs[step->run_count++] =
            (struct agg_run){.measure = column->measure, .total_at = column->total_at, .column = column->column, .count = 1};
}

/* Each choice goes to the step that reads it. */
static void fill_steps(struct compile *compile)
{
    struct agg_plan *plan = compile->plan;
    const struct choice *choices = (const void *)compile->choices.bytes;

    for (size_t i = 0; i < compile->choices.length / sizeof *choices; i++) {
        const struct choice *choice = &choices[i];
        const struct agg_entity *entity = choice->column.feature->entity;
        struct agg_step *step = choice->is_users ? find_step(plan->user_steps, plan->user_step_count, entity, false)
                                                 : find_step(plan->item_steps, plan->item_step_count, entity, choice->via_room);

        step->parts |= parts_of(choice->column.feature, choice->what == CHOICE_SEQUENCE);
        switch (choice->what) {
        case CHOICE_COLUMN:
            if (choice->column.feature->type->cells || choice->column.feature->type->of_records) {
                step->cell_columns[step->cell_column_count++] = choice->column;
            } else {
                step->columns[step->column_count++] = choice->column;
                add_to_runs(step, &choice->column);
            }
            break;
        case CHOICE_OPERAND:
            step->operands[step->operand_count++] = choice->column;
            break;
        case CHOICE_SEQUENCE:
            step->sequences[step->sequence_count++] = choice->column.feature;
            break;
        }
    }
}

/* What a buffer collected, in the plan's arena. */
static void *keep(struct compile *compile, const struct fr_buffer *buffer)
{
    void *kept = buffer->is_failed ? NULL : fr_arena_take_zeroed(compile->plan->arena, buffer->length + 1, 1);

    if (kept && buffer->length > 0)
        memcpy(kept, buffer->bytes, buffer->length);
    return kept;
}

static bool add_item_fields(struct compile *compile)
{
    struct agg_plan *plan = compile->plan;
    size_t count = compile->fields.length;

    plan->fields = fr_arena_take_zeroed(plan->arena, count + 1, 1);
    plan->field_names = fr_arena_take_zeroed(plan->arena, count + 1, sizeof(const char *));
    if (!plan->fields || !plan->field_names)
        return false;
    for (size_t i = 0; i < count; i++) {
        plan->fields[i] = compile->fields.bytes[i];
        plan->field_names[i] = plan->fields[i] < AGG_KEY_JOINED
                                   ? item_field_names[plan->fields[i]]
                                   : compile->catalogue->table_fields[plan->fields[i] - AGG_KEY_JOINED].name;
    }
    plan->field_count = (int)count;
    return true;
}

static bool compile_choices(struct compile *compile)
{
    struct agg_plan *plan = compile->plan;

    plan->user_columns = keep(compile, &compile->user_columns);
    plan->item_columns = keep(compile, &compile->item_columns);
    plan->user_ratios = keep(compile, &compile->user_ratios);
    plan->item_ratios = keep(compile, &compile->item_ratios);
    plan->matches = keep(compile, &compile->matches);
    plan->table_columns = keep(compile, &compile->table_columns);
    plan->table_sequences = keep(compile, &compile->table_sequences);
    plan->table_column_count = (int)(compile->table_columns.length / sizeof *plan->table_columns);
    plan->table_sequence_count = (int)(compile->table_sequences.length / sizeof *plan->table_sequences);
    plan->match_count = (int)(compile->matches.length / sizeof *plan->matches);
    plan->user_ratio_count = (int)(compile->user_ratios.length / sizeof *plan->user_ratios);
    plan->item_ratio_count = (int)(compile->item_ratios.length / sizeof *plan->item_ratios);
    if (compile->choices.is_failed || compile->fields.is_failed || !plan->user_columns || !plan->item_columns ||
        !plan->table_columns || !plan->table_sequences || !plan->matches || !plan->user_ratios || !plan->item_ratios ||
        !add_steps(compile) || !add_item_fields(compile))
        return fail_memory(compile->err);
    fill_steps(compile);
    if (compile->curves.count > 0) {
        plan->curves = fr_arena_take_zeroed(plan->arena, 1, sizeof *plan->curves);
        if (!plan->curves)
            return fail_memory(compile->err);
        *plan->curves = compile->curves;
    }
    return agg_finished__compile(compile->catalogue, plan) || fail_memory(compile->err);
}

static bool compile_plan(struct compile *compile, const char *feature_set, char *const *names, int count)
{
    struct fr_buffer *const buffers[] = {&compile->choices,     &compile->fields,        &compile->user_ratios,
                                         &compile->item_ratios, &compile->user_columns,  &compile->item_columns,
                                         &compile->matches,     &compile->table_columns, &compile->table_sequences};
    enum { BUFFERS = sizeof buffers / sizeof buffers[0] };
    bool ok;

    for (int i = 0; i < BUFFERS; i++)
        fr_buffer_init(buffers[i]);
    ok = agg_curves__init(&compile->curves, compile->catalogue, compile->plan->arena) || fail_memory(compile->err);
    ok = ok && add_all(compile, feature_set, names, count) && compile_choices(compile);
    for (int i = 0; i < BUFFERS; i++)
        fr_buffer_fini(buffers[i]);
    return ok;
}

/* ---- the whole ---- */

void agg_plan__free(struct agg_plan *plan)
{
    if (plan)
        fr_arena_free(plan->arena); /* the plan lies in it */
}

struct agg_plan *agg_plan__compile(const struct agg *agg, const char *feature_set, char *const *names, int count,
                                   struct fr_slice asked, struct fr_err *err)
{
    struct fr_arena *arena = fr_arena_new(PLAN_BYTES_MAX);
    struct agg_plan *plan = arena ? fr_arena_take_zeroed(arena, 1, sizeof *plan) : NULL;
    struct compile compile = {.catalogue = agg->catalogue, .plan = plan, .err = err};

    if (!plan) {
        fail_memory(err);
        if (arena)
            fr_arena_free(arena);
        return NULL;
    }
    plan->arena = arena;
    plan->asked = fr_slice(fr_arena_copy(arena, asked), asked.length);
    if (!plan->asked.bytes)
        fail_memory(err);
    if (!plan->asked.bytes || !compile_plan(&compile, feature_set, names, count)) {
        agg_plan__free(plan);
        return NULL;
    }
    return plan;
}

int agg_plan_user_columns(const struct agg_plan *plan, const char *const **names)
{
    *names = plan->user_columns;
    return plan->user_column_count;
}

int agg_plan_item_columns(const struct agg_plan *plan, const char *const **names)
{
    *names = plan->item_columns;
    return plan->item_column_count;
}
