/*
 * What a value is made of, for who asks why it is what it is: the columns as a read gives them, and the panes, blocks, bins or records
 * that count, copied out under the same lock, so that the one always is the sum of the other. A ratio is told by its operands.
 */
#include "curves.h"
#include "plan.h"
#include "ratio.h"
#include "values.h"

#include <stdlib.h>

enum { SIDES = 2, OPERANDS = AGG_PRIORS * SIDES, PIECES_FIRST = 64 };

struct agg_pieces {
    struct fr_arena *arena;
    struct agg_piece *pieces;
    int count, capacity;
    uint32_t windows; /* asked for; 0: the feature has none */
    bool is_failed; /* the arena is exhausted */
};

struct explaining {
    struct agg *agg;
    const struct agg_question *question;
    struct fr_arena *arena;
    struct agg_explanation *explanation;
    const struct agg_entity *entity;
    const struct agg_feature *feature;
    struct agg_output_column chosen[AGG_WINDOWS_MAX * AGG_OUTPUTS + 1]; /* outputs of the columns */
    int64_t span_ms; /* of the one window that is asked for; 0: all */
    struct agg_moment moment; /* T */
    struct agg_remembered remembered; /* by the entity: they name a parent */
    struct agg_curves curves;
    double **drawn; /* of those */
    double ages[SIDES]; /* of a ratio's operands; −1: never */
    struct fr_err *err;
};

static bool fail_exhausted(const struct explaining *explaining)
{
    return fr_fail(explaining->err, FR_EXHAUSTED, "the explanation grows beyond its limit; ask for one window, as in 'f.5m'");
}

/* ---- pieces ---- */

void agg_pieces__add(struct agg_pieces *pieces, const struct agg_piece *piece)
{
    if (pieces->is_failed || (pieces->windows != 0 && (pieces->windows & piece->windows) == 0))
        return;
    if (pieces->count == pieces->capacity) {
        int capacity = pieces->capacity > 0 ? pieces->capacity * 2 : PIECES_FIRST;
        struct agg_piece *more = fr_arena_take_zeroed(pieces->arena, (size_t)capacity, sizeof *more);

        pieces->is_failed = !more;
        if (!more)
            return;
        if (pieces->count > 0)
            memcpy(more, pieces->pieces, (size_t)pieces->count * sizeof *more);
        pieces->pieces = more;
        pieces->capacity = capacity;
    }
    pieces->pieces[pieces->count] = *piece;
    pieces->pieces[pieces->count].windows &= pieces->windows;
    if (!piece->form)
        pieces->pieces[pieces->count].form = "";
    pieces->count++;
}

uint32_t agg_pieces__windows(const struct agg_feature *feature, int level, int64_t pane, int64_t time_ms)
{
    uint32_t windows = 0;

    for (int i = 0; i < feature->window_count; i++) {
        const struct agg_window *window = &feature->windows[i];
        int64_t newest = agg_window__pane(time_ms, window->level), number;

        if (level > window->level)
            continue; /* merged because it has left this window */
        number = pane / (agg__level_ms[window->level] / agg__level_ms[level]);
        if (number > newest - window->panes && number <= newest)
            windows |= 1U << i;
    }
    return windows;
}

static int by_start(const void *a, const void *b)
{
    const struct agg_piece *x = a, *y = b;

    if (x->start_ms != y->start_ms)
        return x->start_ms > y->start_ms ? -1 : 1;
    return x->span_ms < y->span_ms ? -1 : x->span_ms > y->span_ms;
}

/* A mean's pieces are sums: it is what they add up to over the events. */
static double in_units(const struct agg_feature *feature, __int128 amount)
{
    return feature->measure == AGG_MEASURE_COUNT ? (double)amount
                                                 : (double)((long double)agg_measure__micro(feature, amount) / 1e6L);
}

static uint64_t events_of(const struct agg_rows *rows, const struct agg_row *row, const struct agg_feature *feature,
                          __int128 amount)
{
    if (feature->measure == AGG_MEASURE_COUNT)
        return (uint64_t)amount;
    return feature->n ? (uint64_t)agg_rows__measure(rows, row, feature->n) : 0;
}

static void add_rows(struct agg_rows *rows, const struct agg_feature *feature, int64_t time_ms, struct agg_pieces *pieces)
{
    for (int level = 0; level < AGG_LEVELS; level++) {
        for (uint32_t i = 0; i < rows->row_count[level]; i++) {
            const struct agg_row *row = agg_rows__row(rows, feature->entity, level, i);
            __int128 amount = agg_rows__measure(rows, row, feature);
            struct agg_piece piece = {.start_ms = row->pane * agg__level_ms[level],
                                      .span_ms = agg__level_ms[level],
                                      .windows = agg_pieces__windows(feature, level, row->pane, time_ms)};

            piece.count = events_of(rows, row, feature, amount);
            piece.value = amount != 0 ? in_units(feature, amount) : 0;
            if (amount != 0 || piece.count > 0)
                agg_pieces__add(pieces, &piece);
        }
    }
}

/* ---- one entity, locked ---- */

/* An operand of a ratio may have windows that the ratio has not. */
static uint32_t windows_asked(const struct explaining *explaining, const struct agg_feature *feature)
{
    uint32_t windows = 0;

    for (int i = 0; i < feature->window_count; i++) {
        int64_t span_ms = feature->windows[i].span_ms;

        if (agg_feature__window(explaining->feature, span_ms) && (explaining->span_ms == 0 || explaining->span_ms == span_ms))
            windows |= 1U << i;
    }
    return windows;
}

static bool find_pieces(struct explaining *explaining, const struct agg_feature *feature, const struct agg_parts *parts,
                        struct agg_operand *operand)
{
    const struct agg_cell_type *cells = feature->type->cells;
    int64_t time_ms = explaining->question->time_ms;
    struct agg_pieces pieces = {.arena = explaining->arena, .windows = operand->asked};

    if (!operand->is_present)
        return true;
    if (feature->is_counter)
        add_rows((struct agg_rows *)(uintptr_t)parts->memory[STORE_PART_ROWS], feature, time_ms, &pieces); /* only read */
    else if (cells && cells->explain)
        cells->explain(feature, agg_cells__read(parts->memory[cells->part], feature->entity, feature), time_ms, &pieces);
    operand->pieces = pieces.pieces;
    operand->piece_count = pieces.count;
    return !pieces.is_failed || fail_exhausted(explaining);
}

/* As agg_read() has them. */
static void read_columns(struct explaining *explaining, const struct agg_parts *parts, const struct agg_view *view,
                         bool is_present)
{
    struct agg_explanation *explanation = explaining->explanation;

    for (int i = 0; i < explanation->column_count; i++) {
        struct agg_column column = agg_plan__column(explaining->feature, &explaining->chosen[i], 0);
        float value = column.absent;

        column.curve = agg_curves__want(&explaining->curves, &column);
        if (is_present && (column.feature->type->cells || column.feature->type->of_records))
            value = agg_values__cell(parts, &column, explaining->question->time_ms, (const double *const *)explaining->drawn);
        else if (is_present)
            agg_values__columns(explaining->agg, view, &column, 1, &value);
        explanation->values[i] = (double)value;
    }
}

static void read_operand(const struct agg_feature *feature, const struct agg_view *view, struct agg_operand *operand)
{
    for (int i = 0; i < operand->window_count && operand->is_present; i++) {
        struct agg_column column = {
            .feature = feature, .window = &feature->windows[i], .span = feature->windows[i].span, .measure = feature->measure};

        operand->values[i] = agg_values__operand(view, &column);
    }
}

static void read_ages(struct explaining *explaining, const struct agg_parts *parts, bool is_present)
{
    for (int side = 0; side < SIDES; side++) {
        struct agg_column column = {.feature = explaining->feature->operand_ages[side]};

        explaining->ages[side] =
            is_present && column.feature ? (double)agg_values__cell(parts, &column, explaining->question->time_ms, NULL) : -1;
    }
}

static uint64_t word_of(const struct agg_feature *feature, const uint64_t *order, int word)
{
    return word < feature->order_words ? order[word] : 0;
}

static bool read_records(struct explaining *explaining, const struct agg_ring *rings, const struct agg_feature *feature)
{
    struct agg_explanation *explanation = explaining->explanation;
    uint32_t kept = rings ? rings[feature->sequence].count : 0;
    int value = agg_order__word(PROTO_FIELD_VALUE);

    explanation->records = fr_arena_take_zeroed(explaining->arena, (size_t)kept + 1, sizeof *explanation->records);
    if (!explanation->records)
        return fail_exhausted(explaining);
    for (uint32_t i = kept; i-- > 0;) {
        const uint64_t *order = agg_sequence__record(rings, feature->entity, feature->sequence, i);
        struct agg_record *record = &explanation->records[explanation->record_count];

        if (agg_entity__is_expired(feature->entity, (int64_t)order[0], explaining->question->time_ms))
            break; /* and all that are older */
        record->ts_ms = (int64_t)order[0];
        record->event_id = word_of(feature, order, agg_order__word(PROTO_FIELD_EVENT_ID));
        record->action = (uint32_t)word_of(feature, order, agg_order__word(PROTO_FIELD_ACTION));
        record->item_id = word_of(feature, order, agg_order__word(PROTO_FIELD_ITEM_ID));
        record->value = value < feature->order_words ? agg_order__number(value, order[value]) : 0;
        if (explaining->feature != feature)
            record->matched = order[explaining->feature->match_word];
        explanation->record_count++;
    }
    return true;
}

static bool read_sequence(struct explaining *explaining, const struct agg_parts *parts, bool is_present)
{
    const struct agg_feature *feature = explaining->feature->source ? explaining->feature->source : explaining->feature;
    const struct agg_cell_type *cells = explaining->feature->type->cells;
    struct agg_sequence *sequence = &explaining->explanation->sequence;
    int64_t time_ms = explaining->question->time_ms;

    sequence->name = feature->name;
    if (cells && cells->sequence)
        return cells->sequence(feature, agg_cells__read(parts->memory[cells->part], feature->entity, feature), is_present,
                               time_ms, explaining->arena, sequence) ||
               fail_exhausted(explaining);
    if (cells || feature->aggregate != AGG_LAST)
        return true;
    return (agg_values__sequence(parts->memory[STORE_PART_SEQUENCES], feature, time_ms, explaining->arena, sequence) ||
            fail_exhausted(explaining)) &&
           read_records(explaining, parts->memory[STORE_PART_SEQUENCES], feature);
}

static bool read_parts(struct explaining *explaining, const struct agg_entity *entity, const struct agg_parts *parts,
                       struct agg_operand *operands, const struct agg_feature *const *features, int count)
{
    const struct agg_rows *rows = parts->memory[STORE_PART_ROWS];
    bool is_present = agg_rows__is_present(rows, entity, explaining->question->time_ms);
    bool is_ratio = explaining->feature->type->of_operands != NULL;
    bool is_self = operands == &explaining->explanation->self;
    struct agg_view view;

    if (is_present)
        agg_view__init(&view, rows, entity, &explaining->moment);
    for (int i = 0; i < count; i++) {
        operands[i].is_present = is_present;
        operands[i].latest_ms = rows ? rows->latest_ms : 0;
        if (!find_pieces(explaining, features[i], parts, &operands[i]))
            return false;
        if (!is_self)
            read_operand(features[i], &view, &operands[i]);
    }
    if (is_self && !is_ratio)
        read_columns(explaining, parts, &view, is_present);
    if (is_self)
        return is_ratio || read_sequence(explaining, parts, is_present);
    if (entity == explaining->entity)
        read_ages(explaining, parts, is_present);
    for (int i = 0; i < AGG_ATTRIBUTES && entity == explaining->entity; i++)
        explaining->remembered.bits[i] = agg_attributes__read(rows, entity, i, explaining->question->time_ms);
    return true;
}

/* Fills in operands[0..count), features of one entity. */
static bool look(struct explaining *explaining, const struct agg_entity *entity, const struct store_key *key,
                 struct agg_operand *operands, const struct agg_feature *const *features, int count)
{
    struct store *store = explaining->agg->store;
    uint64_t hash = store_key_hash(store, key);
    struct agg_parts parts = {{NULL}};
    struct store_entry *entry;
    uint32_t bytes;
    bool ok;

    if (!store_load(store, key, &hash, 1, explaining->err))
        return false;
    entry = store_entry_lock(store, key, hash, false);
    if (entry && store_entry_is_corrupt(entry)) {
        char name[160];

        store_entry_unlock(store, entry);
        agg_key__print(entity, key, name);
        return fr_fail(explaining->err, FR_CORRUPT,
                       "the state of %s failed its check and is set aside; restore a backup, or replay", name);
    }
    for (int part = 0; part < STORE_PARTS && entry; part++)
        parts.memory[part] = store_entry_read(entry, (enum store_part)part, &bytes);
    ok = read_parts(explaining, entity, &parts, operands, features, count);
    if (entry)
        store_entry_unlock(store, entry);
    for (int i = 0; i < count && ok; i++) {
        if (operands[i].piece_count > 0)
            qsort(operands[i].pieces, (size_t)operands[i].piece_count, sizeof *operands[i].pieces, by_start);
    }
    return ok;
}

/* ---- operands ---- */

static bool operand_init(struct explaining *explaining, const struct agg_feature *feature, const struct store_key *key,
                         struct agg_operand *operand)
{
    *operand = (struct agg_operand){.of = "",
                                    .side = "",
                                    .feature = agg_feature__info(feature),
                                    .window_count = feature->window_count,
                                    .asked = windows_asked(explaining, feature)};
    operand->windows = fr_arena_take_zeroed(explaining->arena, (size_t)feature->window_count + 1, sizeof *operand->windows);
    operand->values = fr_arena_take_zeroed(explaining->arena, (size_t)feature->window_count + 1, sizeof *operand->values);
    if (!operand->windows || !operand->values)
        return fail_exhausted(explaining);
    for (int i = 0; i < feature->window_count; i++)
        operand->windows[i] = feature->windows[i].text;
    if (key && feature->entity->key[0] != AGG_KEY_ALL)
        operand->id_count = key->id_count;
    for (int i = 0; i < operand->id_count; i++)
        operand->ids[i] = key->ids[agg_key__place(feature->entity, i)];
    return true;
}

/* Numerator and denominator, as far as it has them there: a share has but one of the two, here and there. */
static int sides_of(const struct agg_feature *feature, enum agg_prior prior, int sides[SIDES])
{
    int count = 0;

    for (int side = 0; side < SIDES; side++) {
        if (feature->operands[prior][side])
            sides[count++] = side;
    }
    return count;
}

static bool name_operand(struct explaining *explaining, enum agg_prior prior, int side, const struct store_key *key,
                         struct agg_operand *operand)
{
    static const char *const names[AGG_PRIORS] = {"own", "parent", "parent 2", "parent 3", "all"};
    const struct agg_feature *feature = explaining->feature, *own = feature->operands[AGG_OWN][side];

    if (!operand_init(explaining, feature->operands[prior][side], key, operand))
        return false;
    operand->of = names[prior];
    operand->side = side == 0 ? "numerator" : "denominator";
    operand->feature.name = own ? own->name : feature->operands[AGG_OWN][0]->name;
    if (prior == AGG_GLOBAL)
        operand->feature.entity = "";
    return true;
}

static bool explain_prior(struct explaining *explaining, enum agg_prior prior, const struct store_key *own)
{
    static const uint64_t all_ids[STORE_KEY_IDS_MAX] = {1};
    struct agg_explanation *explanation = explaining->explanation;
    struct agg_operand *operands = &explanation->operands[explanation->operand_count];
    const struct agg_feature *features[SIDES];
    struct store_key key = *own;
    bool is_known = true;
    int sides[SIDES], count = sides_of(explaining->feature, prior, sides);

    if (count == 0)
        return true;
    for (int i = 0; i < count; i++)
        features[i] = explaining->feature->operands[prior][sides[i]];
    if (prior == AGG_GLOBAL)
        is_known = agg_key__make(features[0]->entity, all_ids, &key);
    else if (prior != AGG_OWN)
        is_known = agg_key__of_parent(explaining->entity, features[0]->entity, own, &explaining->remembered, &key);
    for (int i = 0; i < count; i++) {
        if (!name_operand(explaining, prior, sides[i], is_known ? &key : NULL, &operands[i]))
            return false;
    }
    explanation->operand_count += count;
    return !is_known || look(explaining, features[0]->entity, &key, operands, features, count);
}

static double value_of(const struct agg_operand *operand, const struct agg_feature *feature, int64_t span_ms)
{
    return operand->values[agg_feature__window(feature, span_ms) - feature->windows]; /* linking gave it the window */
}

static void reckon(struct explaining *explaining, uint64_t id)
{
    struct agg_explanation *explanation = explaining->explanation;
    const struct agg_feature *feature = explaining->feature;

    for (int i = 0; i < explanation->column_count; i++) {
        const struct agg_output_column *output = &explaining->chosen[i];
        struct agg_ratio_column column = {.feature = feature, .output = output};
        double operands[OPERANDS] = {0};
        int place = 0;

        for (int prior = 0; prior < AGG_PRIORS; prior++) {
            for (int side = 0; side < SIDES; side++) {
                column.operands[prior][side] = feature->operands[prior][side] ? place : -1;
                if (feature->operands[prior][side] && output->window >= 0)
                    operands[place] = value_of(&explanation->operands[place], feature->operands[prior][side],
                                               feature->windows[output->window].span_ms);
                else if (prior == AGG_OWN)
                    operands[place] = explaining->ages[side];
                place += feature->operands[prior][side] != NULL;
            }
        }
        explanation->values[i] = (double)agg_ratio__value(&column, operands, id);
        if (feature->aggregate == AGG_RATIO && output->output != AGG_OUTPUT_N && output->output != AGG_OUTPUT_AGE &&
            output->output != AGG_OUTPUT_CHAIN)
            explanation->priors[i] = agg_ratio__prior(&column, operands);
    }
}

static bool explain_ratio(struct explaining *explaining, const struct store_key *key)
{
    struct agg_explanation *explanation = explaining->explanation;

    explanation->strength = explaining->feature->strength;
    explanation->operands = fr_arena_take_zeroed(explaining->arena, OPERANDS, sizeof *explanation->operands);
    if (!explanation->operands)
        return fail_exhausted(explaining);
    for (int prior = 0; prior < AGG_PRIORS; prior++) {
        if (!explain_prior(explaining, (enum agg_prior)prior, key))
            return false;
    }
    reckon(explaining, explaining->feature->targets ? key->ids[explaining->feature->target_place] : 0);
    return true;
}

/* ---- the question ---- */

static bool find_key(struct explaining *explaining, struct store_key *key)
{
    const struct agg_question *question = explaining->question;

    explaining->entity = agg_catalogue__kind(explaining->agg->catalogue, question->entity, explaining->err);
    if (!explaining->entity)
        return fr_fail_in(explaining->err, "entity");
    if (question->key_count == explaining->entity->key_count && agg_key__of_ids(explaining->entity, question->key, key))
        return true;
    (void)agg_key__fail(explaining->entity, question->key_count, explaining->err);
    return fr_fail_in(explaining->err, "entity.key");
}

static bool find_feature(struct explaining *explaining)
{
    struct agg_explanation *explanation = explaining->explanation;
    struct agg_feature *feature;
    int asked;

    if (!agg_catalogue__resolve(explaining->agg->catalogue, fr_slice_of(explaining->question->feature), &feature, &asked,
                                explaining->err))
        return fr_fail_in(explaining->err, "feature");
    if (feature->entity != explaining->entity)
        return fr_fail(explaining->err, FR_BAD_INPUT, "feature: %s is of entity %s, not of %s", feature->name,
                       feature->entity->name, explaining->entity->name);
    explaining->feature = feature;
    explanation->columns = fr_arena_take_zeroed(explaining->arena, (size_t)feature->column_count + 1, sizeof(char *));
    explanation->values = fr_arena_take_zeroed(explaining->arena, (size_t)feature->column_count + 1, sizeof(double));
    explanation->priors = fr_arena_take_zeroed(explaining->arena, (size_t)feature->column_count + 1, sizeof(double));
    if (!explanation->columns || !explanation->values || !explanation->priors)
        return fail_exhausted(explaining);
    for (int i = 0; i < feature->column_count; i++) {
        if (!agg_feature__is_chosen(feature, asked, i))
            continue;
        explaining->chosen[explanation->column_count] = feature->outputs[i];
        explanation->columns[explanation->column_count++] = feature->columns[i];
    }
    if (asked >= 0 && feature->outputs[asked].window >= 0)
        explaining->span_ms = feature->windows[feature->outputs[asked].window].span_ms;
    return true;
}

/* Before the entity is looked at: what its columns are held against. */
static bool draw_curves(struct explaining *explaining)
{
    bool is_whole;

    if (!agg_curves__init(&explaining->curves, explaining->agg->catalogue, explaining->arena))
        return fail_exhausted(explaining);
    for (int i = 0; i < explaining->explanation->column_count; i++) {
        struct agg_column column = agg_plan__column(explaining->feature, &explaining->chosen[i], 0);

        agg_curves__want(&explaining->curves, &column);
    }
    explaining->drawn = agg_curves__room(&explaining->curves, explaining->arena);
    return (explaining->drawn || fail_exhausted(explaining)) &&
           agg_curves__load(explaining->agg, &explaining->curves, explaining->err) &&
           agg_curves__draw(explaining->agg, &explaining->curves, explaining->question->time_ms, explaining->drawn, &is_whole,
                            explaining->err);
}

bool agg_explain(struct agg *agg, const struct agg_question *question, struct fr_arena *arena,
                 struct agg_explanation *explanation, struct fr_err *err)
{
    struct explaining explaining = {.agg = agg, .question = question, .arena = arena, .explanation = explanation, .err = err};
    struct store_key key;

    *explanation = (struct agg_explanation){0};
    explaining.moment = agg_window__moment(question->time_ms);
    if (!find_key(&explaining, &key) || !find_feature(&explaining) ||
        !operand_init(&explaining, explaining.feature, &key, &explanation->self))
        return false;
    explanation->self.values = NULL;
    if (explaining.feature->type->of_operands && !explain_ratio(&explaining, &key))
        return false;
    return draw_curves(&explaining) && look(&explaining, explaining.entity, &key, &explanation->self, &explaining.feature, 1);
}
