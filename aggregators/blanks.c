/* What a feature's sequences look like, whatever is in them: read from entities that are not there. */
#include "cells.h"
#include "plan.h"
#include "tables.h"
#include "values.h"

#include <string.h>

bool agg_sequence__read(const struct agg_feature *feature, const struct agg_parts *parts, bool is_present, int64_t time_ms,
                        struct fr_arena *arena, struct agg_sequence *sequence)
{
    const struct agg_cell_type *cells = feature->type->cells;

    if (feature->type->list_records)
        return feature->type->list_records(feature, parts->memory[STORE_PART_SEQUENCES], time_ms, arena, sequence);
    if (!cells)
        return agg_values__sequence(parts->memory[STORE_PART_SEQUENCES], feature, time_ms, arena, sequence);
    return cells->sequence(feature, agg_cells__read(parts->memory[cells->part], feature->entity, feature), is_present, time_ms,
                           arena, sequence);
}

static bool add_steps(const struct agg_step *steps, int step_count, bool is_of_user, struct fr_arena *arena,
                      struct agg_blank *blanks, int *count)
{
    static const struct agg_parts nothing;

    for (int s = 0; s < step_count; s++) {
        for (int i = 0; i < steps[s].sequence_count; i++) {
            const struct agg_feature *feature = steps[s].sequences[i];
            struct agg_blank *blank = &blanks[(*count)++];

            blank->is_of_user = is_of_user;
            blank->is_oldest_first = feature->type == &agg_type__series;
            blank->sequence.name = feature->name;
            if (!agg_sequence__read(feature, &nothing, false, 0, arena, &blank->sequence))
                return false;
        }
    }
    return true;
}

static bool add_tables(const struct agg_catalogue *catalogue, const struct agg_plan *plan, struct fr_arena *arena,
                       struct agg_blank *blanks, int *count)
{
    for (int i = 0; i < plan->table_sequence_count; i++) {
        const struct agg_table_field *field = &catalogue->table_fields[plan->table_sequences[i]];
        struct agg_values *values = fr_arena_take_zeroed(arena, 1, sizeof *values);

        if (!values || !(values->ids = fr_arena_take_zeroed(arena, 1, sizeof *values->ids)))
            return false;
        values->name = field->table->layout.fields[field->field].name;
        blanks[(*count)++].sequence = (struct agg_sequence){.name = field->name, .fields = values, .field_count = 1};
    }
    return true;
}

static bool add_matches(const struct agg_plan *plan, struct fr_arena *arena, struct agg_blank *blanks, int *count)
{
    for (int i = 0; i < plan->match_count; i++) {
        struct agg_blank *blank = &blanks[(*count)++];

        blank->sequence.name = plan->matches[i]->name;
        if (!agg_values__records(NULL, plan->matches[i]->source, NULL, 0, arena, &blank->sequence))
            return false;
    }
    return true;
}

bool agg_plan_blanks(const struct agg *agg, const struct agg_plan *plan, struct fr_arena *arena, struct agg_blank **blanks,
                     int *count)
{
    size_t most = (size_t)(plan->match_count + plan->table_sequence_count) + 1;

    for (int i = 0; i < plan->user_step_count; i++)
        most += (size_t)plan->user_steps[i].sequence_count;
    for (int i = 0; i < plan->item_step_count; i++)
        most += (size_t)plan->item_steps[i].sequence_count;
    *count = 0;
    *blanks = fr_arena_take_zeroed(arena, most, sizeof **blanks);
    return *blanks && add_steps(plan->user_steps, plan->user_step_count, true, arena, *blanks, count) &&
           add_steps(plan->item_steps, plan->item_step_count, false, arena, *blanks, count) &&
           add_tables(agg->catalogue, plan, arena, *blanks, count) && add_matches(plan, arena, *blanks, count);
}
