/* Finished rows: which steps have them, until when they are good, how they come and go. */
#include "finished.h"
#include "keyring.h"
#include "plan.h"
#include "tables.h"

/* ---- compiling ---- */

/* What later steps and the reply ask of what the item remembers. */
static uint8_t attributes_of(const struct agg_catalogue *catalogue, const struct agg_plan *plan)
{
    unsigned asked = plan->match_count > 0 ? (1 << AGG_ATTRIBUTES) - 1 : 0;

    for (int i = 0; i < plan->field_count; i++)
        asked |= plan->fields[i] < AGG_KEY_JOINED ? 1U << plan->fields[i] : 0;
    for (int t = 0; t < catalogue->table_count; t++) {
        int attribute = agg_attribute__index(catalogue->tables[t].key);

        if ((plan->tables >> t & 1) != 0 && attribute >= 0)
            asked |= 1U << attribute;
    }
    for (int i = 0; i < plan->item_step_count; i++) {
        const struct agg_entity *entity = plan->item_steps[i].entity;

        for (int k = 0; k < entity->key_count; k++) {
            int attribute = entity->key[k] == AGG_KEY_ALL ? -1 : agg_attribute__index(entity->key[k]);

            if (attribute >= 0)
                asked |= 1U << attribute;
        }
    }
    return (uint8_t)asked;
}

/* False: some column is of no window that has a running total. */
static bool add_span(struct agg_finished *finished, const struct agg_feature *feature, const struct agg_window *window)
{
    if (!feature->is_counter || !window || window->span < 0)
        return false;
    finished->spans |= UINT32_C(1) << window->span;
    return true;
}

static bool add_spans(struct agg_finished *finished, const struct agg_column *columns, int count)
{
    for (int i = 0; i < count; i++) {
        const struct agg_feature *feature = columns[i].feature;

        if (feature->aggregate == AGG_QUOTA) { /* what it is made of */
            if (!add_span(finished, feature->shown, agg_feature__window(feature->shown, feature->newer.span_ms)) ||
                !add_span(finished, feature->events, agg_feature__window(feature->events, feature->newer.span_ms)) ||
                !add_span(finished, feature->events, agg_feature__window(feature->events, feature->known.span_ms)))
                return false;
            continue;
        }
        if (!add_span(finished, feature, columns[i].window))
            return false;
        if (feature->aggregate == AGG_MEAN &&
            !add_span(finished, feature->n, agg_feature__window(feature->n, columns[i].window->span_ms)))
            return false;
    }
    return true;
}

static bool may_finish(const struct agg_step *step, struct agg_finished *finished)
{
    const struct agg_entity *entity = step->entity;

    return entity->key_count == 1 && !entity->has_user && entity->key[0] != AGG_KEY_ALL && !entity->is_joined &&
           step->sequence_count == 0 && step->cell_column_count == 0 &&
           add_spans(finished, step->columns, step->column_count) && add_spans(finished, step->operands, step->operand_count);
}

/* Goes on with the last piece where this one lies behind it in the row, too. */
static void add_piece(struct agg_finished *finished, enum agg_finished_of of, size_t to, size_t bytes)
{
    struct agg_finished_piece *last = finished->piece_count > 0 ? &finished->pieces[finished->piece_count - 1] : NULL;

    if (last && last->of == of && last->to + last->bytes == to)
        last->bytes += (uint32_t)bytes;
    else
        finished->pieces[finished->piece_count++] =
            (struct agg_finished_piece){.of = of, .at = finished->bytes, .to = (uint32_t)to, .bytes = (uint32_t)bytes};
    finished->bytes += (uint32_t)bytes;
}

static void add_pieces(const struct agg_step *step, struct agg_finished *finished)
{
    for (int i = 0; i < AGG_ATTRIBUTES; i++) {
        if ((finished->attributes >> i & 1) != 0)
            add_piece(finished, AGG_FINISHED_REMEMBERED, (size_t)i * sizeof(uint64_t), sizeof(uint64_t));
    }
    for (int i = 0; i < step->operand_count; i++)
        add_piece(finished, AGG_FINISHED_OPERANDS, (size_t)step->operands[i].column * sizeof(double), sizeof(double));
    for (int i = 0; i < step->column_count; i++)
        add_piece(finished, AGG_FINISHED_VALUES, (size_t)step->columns[i].column * sizeof(float), sizeof(float));
    finished->bytes = (finished->bytes + 7) & ~UINT32_C(7);
}

bool agg_finished__compile(const struct agg_catalogue *catalogue, struct agg_plan *plan)
{
    uint8_t asked = attributes_of(catalogue, plan);

    for (int i = 0; i < plan->item_step_count; i++) {
        struct agg_step *step = &plan->item_steps[i];
        struct agg_finished finished = {0};

        if (!may_finish(step, &finished))
            continue;
        if (step->entity == catalogue->item)
            finished.attributes = asked & step->entity->remembered;
        else if (step->entity == catalogue->room && plan->needs_room)
            finished.attributes = step->entity->remembered;
        finished.pieces = fr_arena_take(plan->arena, (size_t)(AGG_ATTRIBUTES + step->operand_count + step->column_count) *
                                                         sizeof *finished.pieces);
        if (!finished.pieces)
            return false;
        add_pieces(step, &finished);
        finished.is_kept = finished.bytes > 0 && finished.bytes <= STORE_EXCERPT_BYTES_MAX;
        step->finished = finished;
    }
    return true;
}

/* ---- from targets to pieces ---- */

static uint8_t *base_of(const struct agg_finished_target *target, enum agg_finished_of of)
{
    switch (of) {
    case AGG_FINISHED_VALUES:
        return (uint8_t *)target->values;
    case AGG_FINISHED_OPERANDS:
        return (uint8_t *)target->operands;
    case AGG_FINISHED_REMEMBERED:
        return (uint8_t *)target->remembered;
    }
    return NULL;
}

static size_t stride_of(const struct agg_plan *plan, enum agg_finished_of of)
{
    switch (of) {
    case AGG_FINISHED_VALUES:
        return (size_t)plan->item_column_count * sizeof(float);
    case AGG_FINISHED_OPERANDS:
        return (size_t)plan->item_operand_count * sizeof(double);
    case AGG_FINISHED_REMEMBERED:
        return sizeof(struct agg_remembered);
    }
    return 0;
}

static struct store_excerpt excerpt_of(const struct agg_step *step, const struct agg_moment *moment)
{
    return (struct store_excerpt){.kind = step->entity->kind,
                                  .number = step->finished.number,
                                  .bytes = step->finished.bytes,
                                  .from = (uint32_t)moment->pane[0]};
}

/* ---- reading ---- */

bool agg_finished__read(struct agg *agg, const struct agg_plan *plan, const struct agg_step *step,
                        const struct agg_moment *moment, const uint64_t *ids, int count, struct fr_arena *arena,
                        const struct agg_finished_target *first, int *missing, int *missing_count)
{
    const struct agg_finished *finished = &step->finished;
    const struct store_excerpt wanted = excerpt_of(step, moment);
    struct store_piece *pieces = fr_arena_take(arena, (size_t)finished->piece_count * sizeof *pieces);

    if (!pieces)
        return false;
    for (int i = 0; i < finished->piece_count; i++) {
        const struct agg_finished_piece *piece = &finished->pieces[i];

        pieces[i] = (struct store_piece){.at = piece->at,
                                         .bytes = piece->bytes,
                                         .to = base_of(first, piece->of) + piece->to,
                                         .stride = stride_of(plan, piece->of)};
    }
    *missing_count = store_excerpts_read(agg->store, &wanted, pieces, finished->piece_count, ids, count, missing);
    return true;
}

/* ---- keeping ---- */

/* The first second in which something that expires is gone. */
static uint32_t expiry(const struct agg_entity *entity, int64_t ts_ms)
{
    int64_t until_s = (ts_ms + entity->retention_ms) / 1000;

    if (entity->retention_ms == 0 || until_s > UINT32_MAX)
        return UINT32_MAX;
    return until_s > 0 ? (uint32_t)until_s : 0;
}

static uint32_t earlier(uint32_t a, uint32_t b)
{
    return a < b ? a : b;
}

static uint32_t good_until(const struct agg_step *step, const struct agg_rows *rows)
{
    const struct agg_entity *entity = step->entity;
    uint32_t until = expiry(entity, rows->latest_ms);

    for (int i = 0; i < entity->span_count; i++) {
        const struct agg_span *span = &entity->spans[i];
        uint32_t edge = agg_rows__edges(rows)[i];

        if ((step->finished.spans >> i & 1) != 0 && edge != AGG_EDGE_NONE)
            until = earlier(until, (uint32_t)((edge + span->panes) * agg__level_s[span->level]));
    }
    for (int i = 0; i < AGG_ATTRIBUTES; i++) {
        const uint64_t *source = (step->finished.attributes >> i & 1) != 0 ? agg_attributes__source(rows, i) : NULL;

        if (source)
            until = earlier(until, expiry(entity, (int64_t)source[0]));
    }
    return until;
}

void agg_finished__keep(struct agg *agg, const struct agg_step *step, const struct agg_moment *moment,
                        const struct store_entry *entry, uint64_t hash, const struct agg_rows *rows,
                        const struct agg_finished_target *made)
{
    const struct agg_finished *finished = &step->finished;
    struct store_excerpt excerpt = excerpt_of(step, moment);
    uint64_t words[STORE_EXCERPT_BYTES_MAX / sizeof(uint64_t)];

    /* Totals of another second: rows that T does not see yet may lie behind it, or nobody knows the edges. */
    if (finished->spans != 0 && (rows->has_no_totals || (int64_t)rows->head_s != moment->pane[0]))
        return;
    excerpt.until = good_until(step, rows);
    if (excerpt.until <= excerpt.from)
        return;
    words[finished->bytes / sizeof(uint64_t) - 1] = 0; /* the last may be half of one */
    for (int i = 0; i < finished->piece_count; i++) {
        const struct agg_finished_piece *piece = &finished->pieces[i];

        memcpy((uint8_t *)words + piece->at, base_of(made, piece->of) + piece->to, piece->bytes);
    }
    store_excerpt_keep(agg->store, entry, hash, &excerpt, words);
}
