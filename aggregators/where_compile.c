/*
 * From a condition's text to its program, by recursive descent, `or` at the top and names at the bottom:
 *
 *   or         = and { "or" and }                 sum        = product { ("+" | "-") product }
 *   and        = not { "and" not }                product    = unary { ("*" | "/") unary }
 *   not        = "not" not | comparison           unary      = "-" unary | primary
 *   comparison = sum [ op sum | ["not"] "in" list ]   primary = number | "text" | field | attributes.key | table.field | "(" or ")"
 *
 * Literals of text and names of actions and scenes make no step of their own: what they are compared with decides what they mean.
 * The steps of the left side are written before the right side is read, so an attribute's step is taken back when it turns out
 * to be compared as text.
 */
#include "where.h"

#include "where_tokens.h"

#include <freshet/text.h>

#include <stdlib.h>

enum kind { NUMBER, TRUTH, ENUM, ATTRIBUTE, TEXT, JOINED };

struct operand {
    enum kind kind;
    int field; /* of an enum */
    struct fr_slice text; /* of a text: without quotes; of an attribute: its key */
    bool is_quoted;
    int start; /* character where it stands */
};

struct compiler {
    struct agg_where_tokens tokens;
    const struct agg_where_names *names; /* NULL: no tables */
    struct agg_where_step steps[AGG_WHERE_STEPS_MAX];
    int step_count;
    struct agg_where_step sink; /* takes what is too much; the count tells */
    double numbers[AGG_WHERE_STEPS_MAX];
    int number_count;
    struct fr_slice texts[AGG_WHERE_STEPS_MAX];
    int text_count;
    int depth;
    int height; /* of the stack when the steps so far have run */
    struct fr_err *err;
};

static bool parse_or(struct compiler *compiler, struct operand *operand);

static bool fail_at(struct compiler *compiler, int start, const char *message, struct fr_slice text)
{
    return fr_fail(compiler->err, FR_BAD_CONFIG, "at character %d: %s '%.*s'", start + 1, message, (int)text.length,
                   (const char *)text.bytes);
}

static struct agg_where_step *emit(struct compiler *compiler, enum agg_where_op op)
{
    struct agg_where_step *step;

    if (compiler->step_count >= AGG_WHERE_STEPS_MAX || compiler->height >= AGG_WHERE_STACK) {
        compiler->step_count = AGG_WHERE_STEPS_MAX + 1;
        return &compiler->sink;
    }
    step = &compiler->steps[compiler->step_count++];
    *step = (struct agg_where_step){.op = op};
    if (op < AGG_WHERE_AND)
        compiler->height++;
    else if (op >= AGG_WHERE_ADD || op == AGG_WHERE_AND || op == AGG_WHERE_OR)
        compiler->height--; /* after and, or: the value of the way that goes on */
    return step;
}

static void take_back(struct compiler *compiler)
{
    if (compiler->step_count > AGG_WHERE_STEPS_MAX)
        return; /* too many already, and stays so */
    compiler->step_count--;
    compiler->height--;
}

static bool emit_number(struct compiler *compiler, double number)
{
    emit(compiler, AGG_WHERE_NUMBER)->number = number;
    return true;
}

static bool is_keyword(struct compiler *compiler, const char *word)
{
    return compiler->tokens.kind == AGG_TOKEN_WORD && fr_text_equal_nocase(compiler->tokens.text, word);
}

static bool is_sign(struct compiler *compiler, const char *sign)
{
    return compiler->tokens.kind == AGG_TOKEN_SIGN && fr_slice_is(compiler->tokens.text, sign);
}

static bool next(struct compiler *compiler)
{
    return agg_where_tokens__next(&compiler->tokens, compiler->err);
}

/* A name that is no field: told with the field that was meant, perhaps. */
static bool fail_unknown(struct compiler *compiler, const struct operand *operand)
{
    const char *names[PROTO_FIELD_ATTRIBUTES];
    const char *nearest;
    int count = 0;

    for (int field = PROTO_FIELD_EVENT_ID; field < PROTO_FIELD_TEXT; field++)
        names[count++] = proto_field_name(field);
    nearest = fr_text_nearest(operand->text, names, count);
    return fr_fail(compiler->err, FR_BAD_CONFIG, "at character %d: unknown field '%.*s'; %s%s%s", operand->start + 1,
                   (int)operand->text.length, (const char *)operand->text.bytes,
                   nearest ? "did you mean '" : "quote it if it is a text", nearest ? nearest : "", nearest ? "'?" : "");
}

static bool parse_attribute(struct compiler *compiler, struct operand *operand)
{
    *operand = (struct operand){.kind = ATTRIBUTE, .text = compiler->tokens.text, .start = compiler->tokens.start};
    emit(compiler, AGG_WHERE_ATTRIBUTE)->key = operand->text;
    return next(compiler);
}

/* A field of a table's row: a number, or what stands for texts. */
static bool emit_joined(struct compiler *compiler, const struct agg_table *table, int field, struct operand *operand)
{
    enum proto_table_type type = table->layout.fields[field].type;
    struct agg_where_step *step = emit(compiler, AGG_WHERE_JOINED);

    operand->kind = type == PROTO_TABLE_ID || type == PROTO_TABLE_IDS ? JOINED : NUMBER;
    step->table = table->number;
    step->field = field;
    step->is_list = type == PROTO_TABLE_IDS;
    return next(compiler);
}

static bool parse_joined(struct compiler *compiler, struct operand *operand)
{
    struct fr_err err;
    int number = -1;

    *operand = (struct operand){.text = compiler->tokens.text, .start = compiler->tokens.start};
    if (compiler->names && !compiler->names->own)
        number = agg_tables__resolve(compiler->names->catalogue, operand->text, &err);
    if (number >= 0) {
        const struct agg_table_field *found = &compiler->names->catalogue->table_fields[number];

        return emit_joined(compiler, found->table, found->field, operand);
    }
    if (!compiler->names || compiler->names->own || compiler->names->catalogue->table_count == 0)
        return fail_at(compiler, operand->start, "no table is known that has", operand->text);
    return fr_fail(compiler->err, FR_BAD_CONFIG, "at character %d: %s", operand->start + 1, err.message);
}

/* A name in a condition on a table's own fields. */
static bool parse_own(struct compiler *compiler, struct operand *operand)
{
    const struct agg_table *own = compiler->names->own;
    const char *names[PROTO_TABLE_FIELDS_MAX];
    const char *nearest;

    *operand = (struct operand){.kind = TEXT, .text = compiler->tokens.text, .start = compiler->tokens.start};
    for (int i = 0; i < own->layout.field_count; i++) {
        names[i] = own->layout.fields[i].name;
        if (fr_slice_is(operand->text, names[i]))
            return emit_joined(compiler, own, i, operand);
    }
    nearest = fr_text_nearest(operand->text, names, own->layout.field_count);
    return fr_fail(compiler->err, FR_BAD_CONFIG, "at character %d: %s has no field '%.*s'%s%s%s", operand->start + 1, own->name,
                   (int)operand->text.length, (const char *)operand->text.bytes, nearest ? "; did you mean '" : "",
                   nearest ? nearest : "", nearest ? "'?" : "");
}

static bool parse_word(struct compiler *compiler, struct operand *operand)
{
    int field = proto_field_number(compiler->tokens.text);

    if (compiler->names && compiler->names->own)
        return parse_own(compiler, operand);
    *operand = (struct operand){.kind = TEXT, .text = compiler->tokens.text, .start = compiler->tokens.start};
    if (field == PROTO_FIELD_TEXT)
        return fail_at(compiler, operand->start, "a condition cannot look into", operand->text);
    if (field == PROTO_FIELD_ATTRIBUTES)
        return fail_at(compiler, operand->start, "name one attribute, attributes.key, not", operand->text);
    if (field > 0) {
        operand->kind = field == PROTO_FIELD_ACTION || field == PROTO_FIELD_SCENE ? ENUM : NUMBER;
        operand->field = field;
        emit(compiler, AGG_WHERE_FIELD)->field = field;
    }
    return next(compiler);
}

static bool parse_primary(struct compiler *compiler, struct operand *operand)
{
    struct agg_where_tokens *tokens = &compiler->tokens;

    if (tokens->kind == AGG_TOKEN_NUMBER) {
        *operand = (struct operand){.kind = NUMBER, .start = tokens->start};
        return emit_number(compiler, tokens->number) && next(compiler);
    }
    if (tokens->kind == AGG_TOKEN_TEXT) {
        *operand = (struct operand){.kind = TEXT, .text = tokens->text, .is_quoted = true, .start = tokens->start};
        return next(compiler);
    }
    if (tokens->kind == AGG_TOKEN_ATTRIBUTE && !(compiler->names && compiler->names->own))
        return parse_attribute(compiler, operand);
    if (tokens->kind == AGG_TOKEN_JOINED)
        return parse_joined(compiler, operand);
    if (tokens->kind == AGG_TOKEN_WORD && !is_keyword(compiler, "and") && !is_keyword(compiler, "or") &&
        !is_keyword(compiler, "not") && !is_keyword(compiler, "in"))
        return parse_word(compiler, operand);
    if (!is_sign(compiler, "("))
        return tokens->kind == AGG_TOKEN_END
                   ? fr_fail(compiler->err, FR_BAD_CONFIG, "ends where a field or number should follow")
                   : fail_at(compiler, tokens->start, "a field, number or '(' should stand here, not", tokens->text);
    if (!next(compiler) || !parse_or(compiler, operand))
        return false;
    if (!is_sign(compiler, ")"))
        return fr_fail(compiler->err, FR_BAD_CONFIG, "at character %d: ')' is missing", tokens->start + 1);
    return next(compiler);
}

/* What arithmetic can take. */
static bool need_number(struct compiler *compiler, const struct operand *operand)
{
    switch (operand->kind) {
    case NUMBER:
    case ATTRIBUTE:
        return true;
    case TRUTH:
        return fr_fail(compiler->err, FR_BAD_CONFIG, "at character %d: a condition stands where a number should",
                       operand->start + 1);
    case ENUM:
        return fr_fail(compiler->err, FR_BAD_CONFIG, "at character %d: compare '%s' with a name, as in %s == %s",
                       operand->start + 1, proto_field_name(operand->field), proto_field_name(operand->field),
                       operand->field == PROTO_FIELD_ACTION ? "watch" : "live");
    case JOINED:
        return fail_at(compiler, operand->start, "compare with a text, as in == 'en': ", operand->text);
    default:
        break;
    }
    if (operand->is_quoted)
        return fail_at(compiler, operand->start,
                       "only attributes, actions and scenes, and ids of tables, compare with the text", operand->text);
    return fail_unknown(compiler, operand);
}

static bool need_truth(struct compiler *compiler, const struct operand *operand)
{
    if (operand->kind == TRUTH)
        return true;
    if (operand->kind == TEXT && !operand->is_quoted)
        return fail_unknown(compiler, operand);
    return fr_fail(compiler->err, FR_BAD_CONFIG, "at character %d: this is no condition; compare it with something",
                   operand->start + 1);
}

static bool deeper(struct compiler *compiler)
{
    if (++compiler->depth <= AGG_WHERE_DEPTH_MAX)
        return true;
    return fr_fail(compiler->err, FR_BAD_CONFIG, "at character %d: nested deeper than %d", compiler->tokens.start + 1,
                   AGG_WHERE_DEPTH_MAX);
}

static bool parse_unary(struct compiler *compiler, struct operand *operand)
{
    int start = compiler->tokens.start;
    bool is_minus = is_sign(compiler, "-");
    bool ok;

    if (!deeper(compiler))
        return false;
    if (is_minus) {
        ok = next(compiler) && parse_unary(compiler, operand) && need_number(compiler, operand);
        if (ok) {
            emit(compiler, AGG_WHERE_NEGATE);
            *operand = (struct operand){.kind = NUMBER, .start = start};
        }
    } else {
        ok = parse_primary(compiler, operand);
    }
    compiler->depth--;
    return ok;
}

static bool parse_product(struct compiler *compiler, struct operand *operand)
{
    if (!parse_unary(compiler, operand))
        return false;
    while (is_sign(compiler, "*") || is_sign(compiler, "/")) {
        enum agg_where_op op = is_sign(compiler, "*") ? AGG_WHERE_MULTIPLY : AGG_WHERE_DIVIDE;
        struct operand right;

        if (!need_number(compiler, operand) || !next(compiler) || !parse_unary(compiler, &right) ||
            !need_number(compiler, &right))
            return false;
        emit(compiler, op);
        operand->kind = NUMBER;
    }
    return true;
}

static bool parse_sum(struct compiler *compiler, struct operand *operand)
{
    if (!parse_product(compiler, operand))
        return false;
    while (is_sign(compiler, "+") || is_sign(compiler, "-")) {
        enum agg_where_op op = is_sign(compiler, "+") ? AGG_WHERE_ADD : AGG_WHERE_SUBTRACT;
        struct operand right;

        if (!need_number(compiler, operand) || !next(compiler) || !parse_product(compiler, &right) ||
            !need_number(compiler, &right))
            return false;
        emit(compiler, op);
        operand->kind = NUMBER;
    }
    return true;
}

/* The number of an action's or scene's name. */
static bool enum_number(struct compiler *compiler, int field, const struct operand *name, double *number)
{
    bool is_action = field == PROTO_FIELD_ACTION;
    int found = is_action ? proto_action_number(name->text) : proto_scene_number(name->text);
    const char *names[PROTO_ACTIONS];
    const char *nearest;
    int count = 0;

    if (found > 0) {
        *number = found;
        return true;
    }
    for (int i = 1; i < (is_action ? PROTO_ACTIONS : PROTO_SCENES); i++)
        names[count++] = is_action ? proto_action_name((uint32_t)i) : proto_scene_name((uint32_t)i);
    nearest = fr_text_nearest(name->text, names, count);
    return fr_fail(compiler->err, FR_BAD_CONFIG, "at character %d: unknown %s '%.*s'%s%s%s", name->start + 1,
                   is_action ? "action" : "scene", (int)name->text.length, (const char *)name->text.bytes,
                   nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
}

static bool take_operator(struct compiler *compiler, enum agg_where_op *op)
{
    static const struct {
        const char *sign;
        enum agg_where_op op;
    } signs[] = {{"==", AGG_WHERE_EQUAL},      {"!=", AGG_WHERE_UNEQUAL}, {"<", AGG_WHERE_LESS},
                 {"<=", AGG_WHERE_LESS_EQUAL}, {">", AGG_WHERE_GREATER},  {">=", AGG_WHERE_GREATER_EQUAL}};

    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        if (is_sign(compiler, signs[i].sign)) {
            *op = signs[i].op;
            return true;
        }
    }
    return false;
}

/* Two sides of which at least one is an attribute, == or != a text or the other attribute. */
static bool compare_attribute(struct compiler *compiler, const struct operand *left, enum agg_where_op op,
                              const struct operand *right)
{
    const struct operand *attribute = left->kind == ATTRIBUTE ? left : right;
    const struct operand *other = left->kind == ATTRIBUTE ? right : left;
    struct agg_where_step *step;

    if (op != AGG_WHERE_EQUAL && op != AGG_WHERE_UNEQUAL)
        return fr_fail(compiler->err, FR_BAD_CONFIG,
                       "at character %d: texts are only equal or not; use == or !=", other->start + 1);
    take_back(compiler);
    if (other->kind == ATTRIBUTE)
        take_back(compiler);
    step = emit(compiler, other->kind == ATTRIBUTE ? AGG_WHERE_ATTRIBUTE_EQUAL : AGG_WHERE_ATTRIBUTE_IN);
    step->key = attribute->text;
    step->key2 = other->text;
    step->is_negated = op == AGG_WHERE_UNEQUAL;
    if (other->kind == TEXT && compiler->text_count < AGG_WHERE_STEPS_MAX) {
        step->text_first = compiler->text_count;
        step->text_count = 1;
        compiler->texts[compiler->text_count++] = other->text;
    }
    return true;
}

static bool compare_enum(struct compiler *compiler, const struct operand *left, enum agg_where_op op,
                         const struct operand *right)
{
    const struct operand *field = left->kind == ENUM ? left : right;
    const struct operand *name = left->kind == ENUM ? right : left;
    double number;

    if (op != AGG_WHERE_EQUAL && op != AGG_WHERE_UNEQUAL)
        return fr_fail(compiler->err, FR_BAD_CONFIG,
                       "at character %d: names are only equal or not; use == or !=", name->start + 1);
    if (name->kind != TEXT)
        return need_number(compiler, field);
    if (!enum_number(compiler, field->field, name, &number))
        return false;
    emit_number(compiler, number);
    emit(compiler, op);
    return true;
}

/* An id of a table's row, or a list of them, and a text that stands for one. The other side made no step. */
static bool compare_joined(struct compiler *compiler, const struct operand *left, enum agg_where_op op,
                           const struct operand *right)
{
    const struct operand *text = left->kind == JOINED ? right : left;
    struct agg_where_step *step = &compiler->steps[compiler->step_count - 1];

    if (op != AGG_WHERE_EQUAL && op != AGG_WHERE_UNEQUAL)
        return fr_fail(compiler->err, FR_BAD_CONFIG,
                       "at character %d: texts are only equal or not; use == or !=", text->start + 1);
    if (text->kind != TEXT)
        return need_number(compiler, left->kind == JOINED ? left : right);
    if (compiler->step_count > AGG_WHERE_STEPS_MAX || compiler->text_count >= AGG_WHERE_STEPS_MAX)
        return true; /* too long, and told so */
    step->op = AGG_WHERE_JOINED_IN;
    step->is_negated = op == AGG_WHERE_UNEQUAL;
    step->text_first = compiler->text_count;
    step->text_count = 1;
    compiler->texts[compiler->text_count++] = text->text;
    return true;
}

static bool compare_sides(struct compiler *compiler, const struct operand *left, enum agg_where_op op,
                          const struct operand *right)
{
    bool is_equality = op == AGG_WHERE_EQUAL || op == AGG_WHERE_UNEQUAL;

    if (left->kind == JOINED || right->kind == JOINED)
        return compare_joined(compiler, left, op, right);
    if (left->kind == ENUM || right->kind == ENUM)
        return compare_enum(compiler, left, op, right);
    if ((left->kind == ATTRIBUTE && right->kind == TEXT) || (left->kind == TEXT && right->kind == ATTRIBUTE) ||
        (left->kind == ATTRIBUTE && right->kind == ATTRIBUTE && is_equality))
        return compare_attribute(compiler, left, op, right);
    if (!need_number(compiler, left) || !need_number(compiler, right))
        return false;
    emit(compiler, op);
    return true;
}

/* One literal of a list into the pools. */
static bool parse_element(struct compiler *compiler, const struct operand *left)
{
    struct agg_where_tokens *tokens = &compiler->tokens;
    struct operand name = {.kind = TEXT, .text = tokens->text, .start = tokens->start};
    bool is_minus = is_sign(compiler, "-");
    double number = 0;

    if (is_minus && !next(compiler))
        return false;
    if (compiler->number_count >= AGG_WHERE_STEPS_MAX || compiler->text_count >= AGG_WHERE_STEPS_MAX)
        return fr_fail(compiler->err, FR_BAD_CONFIG, "more than %d values listed", AGG_WHERE_STEPS_MAX);
    if (tokens->kind == AGG_TOKEN_NUMBER && left->kind != ENUM && left->kind != JOINED) {
        compiler->numbers[compiler->number_count++] = is_minus ? -tokens->number : tokens->number;
        return next(compiler);
    }
    if (is_minus || (tokens->kind != AGG_TOKEN_WORD && tokens->kind != AGG_TOKEN_TEXT))
        return fail_at(compiler, tokens->start,
                       left->kind == ENUM ? "a name should stand here, not" : "a value should stand here, not", tokens->text);
    if (left->kind == ATTRIBUTE || left->kind == JOINED) {
        compiler->texts[compiler->text_count++] = tokens->text;
        return next(compiler);
    }
    if (left->kind != ENUM)
        return fail_at(compiler, tokens->start, "a number should stand here, not", tokens->text);
    if (!enum_number(compiler, left->field, &name, &number))
        return false;
    compiler->numbers[compiler->number_count++] = number;
    return next(compiler);
}

static bool parse_list(struct compiler *compiler, const struct operand *left, bool is_negated)
{
    struct agg_where_step *step;
    int numbers = compiler->number_count, texts = compiler->text_count;
    const char *close = is_sign(compiler, "[") ? "]" : ")";

    if (left->kind != ATTRIBUTE && left->kind != ENUM && left->kind != JOINED && !need_number(compiler, left))
        return false;
    if (!is_sign(compiler, "[") && !is_sign(compiler, "("))
        return fail_at(compiler, compiler->tokens.start, "a list like [1, 2] should follow 'in', not", compiler->tokens.text);
    do {
        if (!next(compiler) || !parse_element(compiler, left))
            return false;
    } while (is_sign(compiler, ","));
    if (!is_sign(compiler, close))
        return fr_fail(compiler->err, FR_BAD_CONFIG, "at character %d: ',' or '%s' is missing", compiler->tokens.start + 1,
                       close);
    if (left->kind == JOINED) {
        step = compiler->step_count > AGG_WHERE_STEPS_MAX ? &compiler->sink : &compiler->steps[compiler->step_count - 1];
        step->op = AGG_WHERE_JOINED_IN;
    } else {
        if (left->kind == ATTRIBUTE)
            take_back(compiler);
        step = emit(compiler, left->kind == ATTRIBUTE ? AGG_WHERE_ATTRIBUTE_IN : AGG_WHERE_IN);
        step->key = left->text;
    }
    step->is_negated = is_negated;
    step->number_first = numbers;
    step->number_count = compiler->number_count - numbers;
    step->text_first = texts;
    step->text_count = compiler->text_count - texts;
    return next(compiler);
}

static bool parse_comparison(struct compiler *compiler, struct operand *operand)
{
    enum agg_where_op op;
    struct operand right;
    int start = compiler->tokens.start;
    bool is_negated;

    if (!parse_sum(compiler, operand))
        return false;
    if (take_operator(compiler, &op)) {
        if (!next(compiler) || !parse_sum(compiler, &right) || !compare_sides(compiler, operand, op, &right))
            return false;
        *operand = (struct operand){.kind = TRUTH, .start = start};
        if (take_operator(compiler, &op))
            return fr_fail(compiler->err, FR_BAD_CONFIG, "at character %d: join comparisons with 'and'",
                           compiler->tokens.start + 1);
        return true;
    }
    is_negated = is_keyword(compiler, "not");
    if (!is_negated && !is_keyword(compiler, "in"))
        return true;
    if (!next(compiler))
        return false;
    if (is_negated && (!is_keyword(compiler, "in") || !next(compiler)))
        return fr_fail(compiler->err, FR_BAD_CONFIG, "at character %d: 'in' should follow 'not' here",
                       compiler->tokens.start + 1);
    if (!parse_list(compiler, operand, is_negated))
        return false;
    *operand = (struct operand){.kind = TRUTH, .start = start};
    return true;
}

static bool parse_not(struct compiler *compiler, struct operand *operand)
{
    int start = compiler->tokens.start;
    bool ok;

    if (!is_keyword(compiler, "not"))
        return parse_comparison(compiler, operand);
    ok = deeper(compiler) && next(compiler) && parse_not(compiler, operand) && need_truth(compiler, operand);
    compiler->depth--;
    if (!ok)
        return false;
    emit(compiler, AGG_WHERE_NOT);
    *operand = (struct operand){.kind = TRUTH, .start = start};
    return true;
}

/* left { word right }: every right side is jumped over when what is before decides. */
static bool parse_chain(struct compiler *compiler, struct operand *operand, const char *word, enum agg_where_op op,
                        bool (*parse)(struct compiler *, struct operand *))
{
    if (!parse(compiler, operand))
        return false;
    while (is_keyword(compiler, word)) {
        struct agg_where_step *jump;

        if (!need_truth(compiler, operand))
            return false;
        jump = emit(compiler, op);
        if (!next(compiler) || !parse(compiler, operand) || !need_truth(compiler, operand))
            return false;
        jump->target = compiler->step_count;
    }
    return true;
}

static bool parse_and(struct compiler *compiler, struct operand *operand)
{
    return parse_chain(compiler, operand, "and", AGG_WHERE_AND, parse_not);
}

static bool parse_or(struct compiler *compiler, struct operand *operand)
{
    return parse_chain(compiler, operand, "or", AGG_WHERE_OR, parse_and);
}

/* Keeps the program and its texts in the arena: the configuration's own text goes away. */
static struct agg_where *keep(const struct compiler *compiler, struct fr_arena *arena)
{
    struct agg_where *where = fr_arena_take_zeroed(arena, 1, sizeof *where);
    size_t steps = (size_t)compiler->step_count, texts = (size_t)compiler->text_count;
    size_t numbers = (size_t)compiler->number_count;
    bool ok = where != NULL;

    if (!ok)
        return NULL;
    where->step_count = compiler->step_count;
    where->steps = fr_arena_take_zeroed(arena, steps + 1, sizeof *where->steps);
    where->numbers = fr_arena_take_zeroed(arena, numbers + 1, sizeof *where->numbers);
    where->texts = fr_arena_take_zeroed(arena, texts + 1, sizeof *where->texts);
    where->ids = fr_arena_take_zeroed(arena, texts + 1, sizeof *where->ids);
    if (!where->steps || !where->numbers || !where->texts || !where->ids)
        return NULL;
    memcpy(where->steps, compiler->steps, steps * sizeof *where->steps);
    memcpy(where->numbers, compiler->numbers, numbers * sizeof *where->numbers);
    for (size_t i = 0; i < texts && ok; i++) {
        where->texts[i] = fr_slice(fr_arena_copy(arena, compiler->texts[i]), compiler->texts[i].length);
        ok = where->texts[i].bytes != NULL;
        where->ids[i] = fr_text_id(compiler->texts[i]);
    }
    for (size_t i = 0; i < steps && ok; i++) {
        struct agg_where_step *step = &where->steps[i];

        step->key.bytes = fr_arena_copy(arena, step->key);
        step->key2.bytes = fr_arena_copy(arena, step->key2);
        ok = step->key.bytes && step->key2.bytes;
    }
    return ok ? where : NULL;
}

static bool compile(struct compiler *compiler, struct fr_arena *arena, struct agg_where **where)
{
    struct operand operand;

    if (!next(compiler) || !parse_or(compiler, &operand) || !need_truth(compiler, &operand))
        return false;
    if (compiler->tokens.kind != AGG_TOKEN_END)
        return fail_at(compiler, compiler->tokens.start, "'and' or 'or' should stand before", compiler->tokens.text);
    if (compiler->step_count > AGG_WHERE_STEPS_MAX)
        return fr_fail(compiler->err, FR_BAD_CONFIG, "too long: more than %d steps; split the feature", AGG_WHERE_STEPS_MAX);
    *where = keep(compiler, arena);
    /* Half a spelling would be another condition, and another condition is a feature that starts empty. */
    return (*where && !compiler->tokens.canonical->is_failed) || fr_fail(compiler->err, FR_EXHAUSTED, "out of memory");
}

bool agg_where__compile(struct fr_slice text, struct fr_arena *arena, struct agg_where **where, struct fr_buffer *canonical,
                        struct fr_err *err)
{
    return agg_where__compile_of(NULL, text, arena, where, canonical, err);
}

bool agg_where__compile_of(const struct agg_where_names *names, struct fr_slice text, struct fr_arena *arena,
                           struct agg_where **where, struct fr_buffer *canonical, struct fr_err *err)
{
    struct compiler *compiler = calloc(1, sizeof *compiler);
    bool ok;

    if (!compiler)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    compiler->err = err;
    compiler->names = names;
    agg_where_tokens__init(&compiler->tokens, text, canonical);
    ok = compile(compiler, arena, where);
    free(compiler);
    return ok;
}
