/* State to numbers. */
#include "values.h"

float agg_values__of_micro(int64_t micro)
{
    /*
     * One rounding, not two: a long double of at least 64 bits holds any int64, and the quotient of 10^6 that it rounds to lies
     * halfway between two floats only if the exact one does (2^39 floats' halves are further apart than its error).
     */
    return (float)((long double)micro / 1e6L);
}

_Static_assert(__LDBL_MANT_DIG__ >= 64, "sums need a long double that holds an int64");

/* A sum as a reply gives it: what 64 bits can't hold is the greatest or least that they can. */
static int64_t clamp(const struct agg *agg, __int128 sum)
{
    if (sum <= INT64_MAX && sum >= INT64_MIN)
        return (int64_t)sum;
    if (agg->clamped)
        fr_counter_add(agg->clamped, 1);
    return sum > 0 ? INT64_MAX : INT64_MIN;
}

/* Sums of 2^53 micro-units and more lose digits that a float never shows. */
static float mean(__int128 sum, __int128 count)
{
    return count == 0 ? 0 : (float)((long double)sum / ((long double)count * 1e6L));
}

static float measure(const struct agg *agg, const struct agg_rows *rows, const struct agg_column *column, int64_t time_ms)
{
    const struct agg_feature *feature = column->feature;
    __int128 sum = agg_rows__sum(rows, feature->entity, feature, column->window, time_ms);

    if (feature->aggregate == AGG_MEAN)
        return mean(sum, agg_rows__sum(rows, feature->entity, feature->n, column->window, time_ms));
    return feature->aggregate == AGG_COUNT ? (float)clamp(agg, sum) : agg_values__of_micro(clamp(agg, sum));
}

float agg_values__column(const struct agg *agg, const struct agg_parts *parts, const struct agg_column *column, int64_t time_ms)
{
    const struct agg_feature *feature = column->feature;
    const struct agg_cell_type *cells = feature->type->cells;

    if (cells)
        return cells->value(feature, agg_cells__read(parts->memory[cells->part], feature->entity, feature), column->window,
                            column->output, time_ms);
    return measure(agg, parts->memory[STORE_PART_ROWS], column, time_ms);
}

double agg_values__operand(const struct agg *agg, const struct agg_parts *parts, const struct agg_column *column,
                           int64_t time_ms)
{
    const struct agg_feature *feature = column->feature;
    int64_t sum;

    if (!column->window)
        return (double)agg_values__column(agg, parts, column, time_ms);
    sum = clamp(agg, agg_rows__sum(parts->memory[STORE_PART_ROWS], feature->entity, feature, column->window, time_ms));
    return feature->aggregate == AGG_COUNT ? (double)sum : (double)sum / 1e6;
}

/* Which of the reply's three arrays a field goes into. */
enum array { IDS, INTS, NUMBERS };

static enum array array_of(int field)
{
    switch (field) {
    case PROTO_FIELD_ACTION:
    case PROTO_FIELD_SCENE:
    case PROTO_FIELD_TS_MS:
    case PROTO_FIELD_POSITION:
        return INTS;
    case PROTO_FIELD_VALUE:
    case PROTO_FIELD_DURATION_S:
    case PROTO_FIELD_PROPENSITY:
        return NUMBERS;
    default:
        return IDS;
    }
}

static bool values_init(struct agg_values *values, enum array array, uint32_t count, struct fr_arena *arena)
{
    void *memory = fr_arena_take_zeroed(arena, (size_t)count + 1, sizeof(uint64_t));

    values->count = (int)count;
    values->ids = array == IDS ? memory : NULL;
    values->ints = array == INTS ? memory : NULL;
    values->numbers = array == NUMBERS ? memory : NULL;
    return memory != NULL;
}

static void value_set(struct agg_values *values, uint32_t index, int word, uint64_t bits)
{
    if (values->ids)
        values->ids[index] = bits;
    else if (values->ints)
        values->ints[index] = (int64_t)bits;
    else
        values->numbers[index] = agg_order__number(word, bits);
}

bool agg_values__records(const struct agg_ring *rings, const struct agg_feature *feature, const uint32_t *records,
                         uint32_t count, struct fr_arena *arena, struct agg_sequence *sequence)
{
    sequence->field_count = feature->field_count;
    sequence->fields = fr_arena_take_zeroed(arena, (size_t)feature->field_count, sizeof *sequence->fields);
    if (!sequence->fields)
        return false;
    for (int i = 0; i < feature->field_count; i++) {
        struct agg_values *values = &sequence->fields[i];
        int word = agg_order__word(feature->fields[i]);

        values->name = feature->field_names[i];
        if (!values_init(values, array_of(feature->fields[i]), count, arena))
            return false;
        for (uint32_t at = 0; at < count; at++)
            value_set(values, at, word, agg_sequence__record(rings, feature->entity, feature->sequence, records[at])[word]);
    }
    return true;
}

bool agg_values__sequence(const struct agg_ring *rings, const struct agg_feature *feature, int64_t time_ms,
                          struct fr_arena *arena, struct agg_sequence *sequence)
{
    uint32_t kept = rings ? rings[feature->sequence].count : 0;
    uint32_t *records = fr_arena_take(arena, ((size_t)kept + 1) * sizeof *records);
    uint32_t count = 0;

    if (!records)
        return false;
    while (count < kept) {
        uint32_t record = kept - 1 - count;
        const uint64_t *order = agg_sequence__record(rings, feature->entity, feature->sequence, record);

        if (agg_entity__is_expired(feature->entity, (int64_t)order[0], time_ms))
            break; /* and all that are older */
        records[count++] = record;
    }
    return agg_values__records(rings, feature, records, count, arena, sequence);
}

bool agg_values__attribute(const struct agg_remembered *remembered, int count, int attribute, struct fr_arena *arena,
                           struct agg_values *values)
{
    int field = agg__attribute_fields[attribute];

    if (!values_init(values, array_of(field), (uint32_t)count, arena))
        return false;
    for (int row = 0; row < count; row++)
        value_set(values, (uint32_t)row, agg_order__word(field), remembered[row].bits[attribute]);
    return true;
}
