/*
 * A compiled condition, run on one event: a postfix program over doubles, without allocation. Division by zero or NaN anywhere
 * makes the whole condition false; an attribute that the event lacks makes its comparison false.
 */
#include "where.h"

#include <freshet/text.h>

#include <math.h>

struct value {
    double number;
    bool is_absent; /* an attribute that isn't there or is no number */
};

static bool attribute_text(const struct proto_event *event, const struct agg_where_step *step, struct fr_slice *text)
{
    return proto_event_attribute(event, step->key, text);
}

static struct value attribute_number(const struct proto_event *event, const struct agg_where_step *step)
{
    struct value value = {0, true};
    struct fr_slice text;

    if (attribute_text(event, step, &text) && fr_text_double(text, &value.number))
        value.is_absent = false;
    return value;
}

static double arithmetic(enum agg_where_op op, double a, double b)
{
    switch (op) {
    case AGG_WHERE_ADD:
        return a + b;
    case AGG_WHERE_SUBTRACT:
        return a - b;
    case AGG_WHERE_MULTIPLY:
        return a * b;
    default:
        return b == 0 ? (double)NAN : a / b;
    }
}

static bool compare(enum agg_where_op op, double a, double b)
{
    switch (op) {
    case AGG_WHERE_EQUAL:
        return a == b;
    case AGG_WHERE_UNEQUAL:
        return a != b;
    case AGG_WHERE_LESS:
        return a < b;
    case AGG_WHERE_LESS_EQUAL:
        return a <= b;
    case AGG_WHERE_GREATER:
        return a > b;
    default:
        return a >= b;
    }
}

static bool number_in(const struct agg_where *where, const struct agg_where_step *step, double number)
{
    for (int i = 0; i < step->number_count; i++) {
        if (where->numbers[step->number_first + i] == number)
            return true;
    }
    return false;
}

/* A number in the list that the attribute equals, or its very text. */
static bool attribute_in(const struct agg_where *where, const struct agg_where_step *step, const struct proto_event *event)
{
    struct fr_slice text;
    double number;
    bool is_in;

    if (!attribute_text(event, step, &text))
        return false;
    is_in = fr_text_double(text, &number) && number_in(where, step, number);
    for (int i = 0; i < step->text_count && !is_in; i++)
        is_in = fr_slice_equal(where->texts[step->text_first + i], text);
    return is_in != step->is_negated;
}

/* Two attributes: as numbers when both are, else as text. */
static bool attribute_equal(const struct agg_where_step *step, const struct proto_event *event)
{
    struct fr_slice a, b;
    double left, right;

    if (!proto_event_attribute(event, step->key, &a) || !proto_event_attribute(event, step->key2, &b))
        return false;
    if (fr_text_double(a, &left) && fr_text_double(b, &right))
        return (left == right) != step->is_negated;
    return fr_slice_equal(a, b) != step->is_negated;
}

/* The row that is joined to the event; NULL: there is none. */
static const uint64_t *row_of(const struct agg_where_step *step, const struct proto_event *event)
{
    const uint64_t *const *rows = event->joined;

    return rows ? rows[step->table] : NULL;
}

static struct value joined_number(const struct agg_where_step *step, const struct proto_event *event)
{
    const uint64_t *row = row_of(step, event);
    struct value value = {0, true};

    if (!row || (row[0] >> step->field & 1) == 0)
        return value;
    memcpy(&value.number, &row[1 + step->field], sizeof value.number);
    value.is_absent = false;
    return value;
}

/* The id, or some id of the list, is one of those that are named. False of what is absent, negated or not. */
static bool joined_in(const struct agg_where *where, const struct agg_where_step *step, const struct proto_event *event)
{
    const uint64_t *row = row_of(step, event), *ids;
    int count = 1;

    if (!row || (row[0] >> step->field & 1) == 0)
        return false;
    ids = &row[1 + step->field];
    if (step->is_list)
        ids = proto_table_ids(row, step->field, &count);
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < step->text_count; k++) {
            if (ids[i] == where->ids[step->text_first + k])
                return !step->is_negated;
        }
    }
    return step->is_negated;
}

static struct value truth(bool is_true)
{
    return (struct value){is_true ? 1 : 0, false};
}

/* One step that pushes a value. */
static struct value load(const struct agg_where *where, const struct agg_where_step *step, const struct proto_event *event)
{
    struct value value = {step->number, false};

    switch (step->op) {
    case AGG_WHERE_FIELD:
        value.is_absent = !proto_event_number_field(event, step->field, &value.number);
        return value;
    case AGG_WHERE_ATTRIBUTE:
        return attribute_number(event, step);
    case AGG_WHERE_ATTRIBUTE_IN:
        return truth(attribute_in(where, step, event));
    case AGG_WHERE_ATTRIBUTE_EQUAL:
        return truth(attribute_equal(step, event));
    case AGG_WHERE_JOINED:
        return joined_number(step, event);
    case AGG_WHERE_JOINED_IN:
        return truth(joined_in(where, step, event));
    default:
        return value;
    }
}

/* One step that takes two values off and puts one on. */
static struct value combine(enum agg_where_op op, struct value a, struct value b)
{
    if (op >= AGG_WHERE_EQUAL)
        return truth(!a.is_absent && !b.is_absent && compare(op, a.number, b.number));
    if (a.is_absent || b.is_absent)
        return (struct value){0, true};
    return (struct value){arithmetic(op, a.number, b.number), false};
}

bool agg_where__holds(const struct agg_where *where, const struct proto_event *event)
{
    struct value stack[AGG_WHERE_STACK];
    int top = -1;

    for (int at = 0; at < where->step_count; at++) {
        const struct agg_where_step *step = &where->steps[at];

        switch (step->op) {
        case AGG_WHERE_AND: /* the left side decides, or goes */
        case AGG_WHERE_OR:
            if ((stack[top].number != 0) == (step->op == AGG_WHERE_OR))
                at = step->target - 1;
            else
                top--;
            continue;
        case AGG_WHERE_NOT:
            stack[top] = truth(stack[top].number == 0);
            continue;
        case AGG_WHERE_NEGATE:
            stack[top].number = -stack[top].number;
            continue;
        case AGG_WHERE_IN:
            stack[top] = truth(!stack[top].is_absent && number_in(where, step, stack[top].number) != step->is_negated);
            continue;
        default:
            break;
        }
        if (step->op < AGG_WHERE_ADD) {
            stack[++top] = load(where, step, event);
        } else {
            stack[top - 1] = combine(step->op, stack[top - 1], stack[top]);
            top--;
        }
        if (!stack[top].is_absent && isnan(stack[top].number))
            return false;
    }
    return stack[0].number != 0;
}

uint32_t agg_where__tables(const struct agg_where *where)
{
    uint32_t tables = 0;

    for (int i = 0; i < where->step_count; i++)
        if (where->steps[i].op == AGG_WHERE_JOINED || where->steps[i].op == AGG_WHERE_JOINED_IN)
            tables |= UINT32_C(1) << where->steps[i].table;
    return tables;
}
