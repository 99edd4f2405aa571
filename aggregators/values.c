/* State to numbers. */
#include "values.h"
#include "plan.h"

#include "curves.h"

/*
 * One rounding, not two: a long double of at least 64 bits holds any int64, and the quotient of 10^6 that it rounds to lies halfway
 * between two floats only if the exact one does (2^39 floats' halves are further apart than its error).
 */
static float of_micro_long(int64_t micro)
{
    return (float)((long double)micro / 1e6L);
}

_Static_assert(__LDBL_MANT_DIG__ >= 64, "sums need a long double that holds an int64");

/*
 * Two roundings give what one would, unless the first ends halfway between two floats: rounding keeps order, so it can't carry a
 * number across a half, which is a double itself. Doubles of this size have 29 bits more than floats.
 */
static inline float of_micro(int64_t micro)
{
    static const int64_t exact_most = INT64_C(1) << 53;
    static const uint64_t rest = (UINT64_C(1) << 29) - 1, half = UINT64_C(1) << 28;
    double quotient = (double)micro / 1e6;
    uint64_t bits;

    memcpy(&bits, &quotient, sizeof bits);
    if (micro <= exact_most && micro >= -exact_most && (bits & rest) != half)
        return (float)quotient;
    return of_micro_long(micro);
}

float agg_values__of_micro(int64_t micro)
{
    return of_micro(micro);
}

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
static float mean(const struct agg_view *view, const struct agg_feature *feature, const struct agg_window *window, __int128 sum)
{
    __int128 count = agg_view__value(view, feature->n, agg_feature__window(feature->n, window->span_ms));

    return count == 0 ? 0 : (float)((long double)sum / ((long double)count * 1e6L));
}

static float column_value(const struct agg *agg, const struct agg_view *view, const struct agg_column *column)
{
    const struct agg_feature *feature = column->feature;
    __int128 value;

    if (feature->type->of_rows)
        return feature->type->of_rows(feature, view);
    value = agg_measure__micro(feature, agg_view__value(view, feature, column->window));
    if (feature->aggregate == AGG_MEAN)
        return mean(view, feature, column->window, value);
    return feature->measure == AGG_MEASURE_COUNT ? (float)clamp(agg, value) : of_micro(clamp(agg, value));
}

void agg_values__columns(const struct agg *agg, const struct agg_view *view, const struct agg_column *columns, int count,
                         float *values)
{
    for (int i = 0; i < count; i++) {
        const struct agg_column *column = &columns[i];
        enum agg_view_how how = column->span >= 0 ? view->spans[column->span].how : AGG_VIEW_ROWS;
        const void *total = view->totals + column->total_at;

        if (how == AGG_VIEW_TOTAL && column->measure == AGG_MEASURE_COUNT)
            values[column->column] = (float)*(const int32_t *)total;
        else if (how == AGG_VIEW_TOTAL && column->measure == AGG_MEASURE_SUM)
            values[column->column] = of_micro(*(const int64_t *)total);
        else if (how == AGG_VIEW_NOTHING)
            values[column->column] = 0;
        else
            values[column->column] = column_value(agg, view, column);
    }
}

static void run_counts(const int32_t *totals, int count, float *restrict values)
{
    for (int i = 0; i < count; i++)
        values[i] = (float)totals[i];
}

static void run_sums(const int64_t *totals, int count, float *restrict values)
{
    for (int i = 0; i < count; i++)
        values[i] = of_micro(totals[i]);
}

void agg_values__runs(const uint8_t *totals, const struct agg_run *runs, int count, float *values)
{
    for (int i = 0; i < count; i++) {
        const void *first = totals + runs[i].total_at;

        if (runs[i].measure == AGG_MEASURE_COUNT)
            run_counts(first, runs[i].count, values + runs[i].column);
        else
            run_sums(first, runs[i].count, values + runs[i].column);
    }
}

float agg_values__cell(const struct agg_parts *parts, const struct agg_column *column, int64_t time_ms,
                       const double *const *curves)
{
    const struct agg_feature *feature = column->feature;
    const struct agg_cell_type *cells = feature->type->cells;
    struct fr_slice memory;

    if (feature->type->of_records)
        return feature->type->of_records(feature, parts->memory[STORE_PART_SEQUENCES], time_ms);
    memory = agg_cells__read(parts->memory[cells->part], feature->entity, feature);
    if (column->curve > 0)
        return agg_curves__value(column, memory, time_ms, curves[column->curve - 1]);
    return cells->value(feature, memory, column->window, column->output, time_ms);
}

double agg_values__operand(const struct agg_view *view, const struct agg_column *column)
{
    const struct agg_feature *feature = column->feature;
    __int128 value =
        agg_measure__micro(feature, agg_view__value(view, feature, column->window)); /* exact: only a sum is clamped */

    return feature->measure == AGG_MEASURE_COUNT ? (double)value : (double)value / 1e6;
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
