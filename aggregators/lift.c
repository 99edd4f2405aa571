/*
 * `lift`: labels that nobody gave. Items that went with an item (covisitation) carry labels of a table; one that they carry more often than
 * all events' items do is likely the item's own. Nothing is kept for it but the count of all events, which the label's own count is held
 * against: lift = P(label | went with the item)/P(label), drawn to 1 by `strength` (docs/values.md).
 */
#include "covisit.h"
#include "glimpse.h"
#include "rows.h"
#include "tables.h"
#include "top.h"
#include "type.h"

#include <freshet/text.h>

#include <stdlib.h>

enum { LABELS_MOST = 100, STRENGTH_DEFAULT = 1 };

struct support { /* of one label */
    uint64_t label;
    uint32_t rank; /* of the partner that has it */
    double sum; /* of the pairs with those who have it */
};

/* ---- reading ---- */

static int by_label(const void *a, const void *b)
{
    const struct support *left = a, *right = b;

    if (left->label != right->label)
        return left->label < right->label ? -1 : 1;
    return left->rank < right->rank ? -1 : left->rank > right->rank;
}

/* The labels of one row, an `id` or `ids`, as far as there are any. */
static const uint64_t *labels_of(const struct agg_table_field *field, const uint64_t *words, int *count)
{
    if (field->table->layout.fields[field->field].type == PROTO_TABLE_IDS)
        return proto_table_ids(words, field->field, count);
    *count = (words[0] >> field->field & 1) != 0 && words[1 + field->field] != 0;
    return words + 1 + field->field;
}

/* The labels of all partners, one entry each; `total` is the sum of all pairs, with and without labels. */
static bool gather(struct agg_glimpses *glimpses, const struct agg_feature *feature, const struct agg_ranked *partners,
                   uint32_t partner_count, struct support **ret, uint32_t *count, double *total)
{
    struct store *store = glimpses->agg->store;
    const struct agg_table_field *field = &glimpses->agg->catalogue->table_fields[feature->label_field];
    struct support *found = fr_arena_take(glimpses->arena, ((size_t)partner_count * PROTO_TABLE_IDS_MAX + 1) * sizeof *found);
    uint64_t words[PROTO_TABLE_WORDS_MAX];

    if (!found)
        return agg_glimpses__fail(glimpses);
    for (uint32_t i = 0; i < partner_count; i++) {
        const uint64_t *labels;
        struct store_key key;
        uint64_t hash;
        int label_count;

        *total += partners[i].score;
        if (!agg_table__key(field->table, partners[i].id, &key))
            continue;
        hash = store_key_hash(store, &key);
        if (!store_load(store, &key, &hash, 1, glimpses->err))
            return false;
        if (agg_table__read(store, field->table, partners[i].id, words, NULL, NULL) == 0)
            continue;
        labels = labels_of(field, words, &label_count);
        for (int l = 0; l < label_count; l++)
            found[(*count)++] = (struct support){labels[l], i, partners[i].score};
    }
    qsort(found, *count, sizeof *found, by_label);
    *ret = found;
    return true;
}

/* One entry a label; the sums are added in the order of the partners. */
static uint32_t add_up(struct support *found, uint32_t count)
{
    uint32_t different = 0;

    for (uint32_t i = 0; i < count; i++) {
        if (different > 0 && found[different - 1].label == found[i].label)
            found[different - 1].sum += found[i].sum;
        else
            found[different++] = found[i];
    }
    return different;
}

static bool read_count(struct agg_glimpses *glimpses, const struct agg_feature *counter, int64_t span_ms, uint64_t id,
                       double *events)
{
    struct store *store = glimpses->agg->store;
    struct store_key key = {.kind = counter->entity->kind, .id_count = 1, .ids = {id}};
    uint64_t hash = store_key_hash(store, &key);
    const struct agg_moment moment = agg_window__moment(glimpses->time_ms);
    const struct agg_rows *rows;
    struct store_entry *entry;
    struct agg_view view;
    uint32_t bytes;

    *events = 0;
    if (!store_load(store, &key, &hash, 1, glimpses->err))
        return false;
    entry = store_entry_lock(store, &key, hash, false);
    if (!entry)
        return true;
    rows = store_entry_is_corrupt(entry) ? NULL : store_entry_read(entry, STORE_PART_ROWS, &bytes);
    if (agg_rows__is_present(rows, counter->entity, glimpses->time_ms)) {
        agg_view__init(&view, rows, counter->entity, &moment);
        *events = (double)agg_view__value(&view, counter, agg_feature__window(counter, span_ms));
    }
    store_entry_unlock(store, entry);
    return true;
}

static bool rank(struct agg_glimpses *glimpses, const struct agg_feature *feature, const struct support *supports,
                 uint32_t count, double total, struct agg_ranked *ranked, uint32_t *ranked_count)
{
    const struct agg_feature *of_label = feature->operands[AGG_OWN][0], *of_all = feature->operands[AGG_GLOBAL][0];
    int64_t span_ms = feature->windows[0].span_ms;
    double all;

    if (!read_count(glimpses, of_all, span_ms, 1, &all))
        return false;
    for (uint32_t i = 0; i < count; i++) {
        double events, base;

        if (!read_count(glimpses, of_label, span_ms, supports[i].label, &events))
            return false;
        if (!(events > 0) || !(all > 0))
            continue; /* how common it is, nobody knows */
        base = events / all;
        ranked[(*ranked_count)++] =
            (struct agg_ranked){.id = supports[i].label,
                                .score = (supports[i].sum + feature->strength * base) / ((total + feature->strength) * base)};
    }
    agg_top__sort(ranked, *ranked_count);
    return true;
}

bool agg_lift__read(struct agg_glimpses *glimpses, const struct agg_feature *feature, const struct agg_ranked *partners,
                    uint32_t partner_count, struct agg_ranked **ranked, uint32_t *count)
{
    struct support *supports;
    uint32_t support_count = 0;
    double total = 0;

    *count = 0;
    if (!gather(glimpses, feature, partners, partner_count, &supports, &support_count, &total))
        return false;
    support_count = add_up(supports, support_count);
    *ranked = fr_arena_take(glimpses->arena, ((size_t)support_count + 1) * sizeof **ranked);
    if (!*ranked)
        return agg_glimpses__fail(glimpses);
    return rank(glimpses, feature, supports, support_count, total, *ranked, count);
}

/* ---- settings ---- */

/* What it goes by must be named; link finds it. */
static bool parse_names(struct agg_parse *parse)
{
    static const char *const needed[][2] = {
        {"of", "missing; name the field of a table that has labels, item_info.tags"},
        {"from", "missing; name a covisit of the same entity, whose partners have labels"},
        {"against", "missing; name a count of the entity that the labels are, tag_watches"},
    };
    bool ok = true;

    for (size_t i = 0; i < sizeof needed / sizeof needed[0]; i++) {
        const struct fr_yaml *at = fr_yaml_get(parse->map, needed[i][0]);

        if (!at || at->kind != FR_YAML_SCALAR)
            ok = agg_parse__tell(parse, at ? at : parse->at, needed[i][0], at ? "should be one name" : needed[i][1]);
    }
    return ok;
}

static bool parse_lift(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature;
    int64_t limit = 10;
    bool ok = agg_parse__windows(parse, AGG_PANES_LEAST);

    ok = parse_names(parse) && ok;

    if (ok && feature->window_count != 1)
        ok = agg_parse__tell(parse, fr_yaml_get(parse->map, "windows"), "windows",
                             "should be one: in which the label's count is held against that of all events");
    feature->strength = STRENGTH_DEFAULT;
    ok = fr_yaml_double(parse->map, "strength", 0, 1e12, &feature->strength, parse->diagnostics) && ok;
    ok = fr_yaml_int(parse->map, "limit", 1, LABELS_MOST, &limit, parse->diagnostics) && ok;
    feature->limit = (uint32_t)limit;
    return ok;
}

/* `of: item_info.tags`: what the labels are. */
static bool link_field(struct agg_parse *parse)
{
    const struct fr_yaml *of = fr_yaml_get(parse->map, "of");
    enum proto_table_type type;
    struct fr_err err;

    if (!of || of->kind != FR_YAML_SCALAR)
        return false;
    parse->feature->label_field = agg_tables__resolve(parse->catalogue, of->text, &err);
    if (parse->feature->label_field < 0)
        return agg_parse__tell(parse, of, "of", err.message);
    type = agg_tables__type(parse->catalogue, parse->feature->label_field);
    if (type != PROTO_TABLE_ID && type != PROTO_TABLE_IDS)
        return agg_parse__tell(parse, of, "of", "is a number; labels are of type id or ids");
    return parse->catalogue->table_fields[parse->feature->label_field].table->key == PROTO_FIELD_ITEM_ID ||
           agg_parse__tell(parse, of, "of", "is of a table that is not of item_id");
}

static bool link_pairs(struct agg_parse *parse)
{
    const struct fr_yaml *from = fr_yaml_get(parse->map, "from");
    struct agg_feature *pairs = from && from->kind == FR_YAML_SCALAR ? agg_parse__feature(parse, from, "from", false) : NULL;

    if (!pairs)
        return false;
    parse->feature->source = pairs;
    return pairs->aggregate == AGG_COVISIT || agg_parse__tell(parse, from, "from", "is no covisit");
}

/* `against: tag_watches`: a count of the entity whose key is the field, and by it of all events. */
static bool link_counts(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature, *counter, *all;
    const struct fr_yaml *against = fr_yaml_get(parse->map, "against");

    counter = against && against->kind == FR_YAML_SCALAR ? agg_parse__feature(parse, against, "against", true) : NULL;
    if (!counter)
        return false;
    if (counter->aggregate != AGG_COUNT || counter->entity->key_count != 1 ||
        counter->entity->key[0] != AGG_KEY_JOINED + feature->label_field)
        return agg_parse__tell(parse, against, "against", "is no count of an entity with the key that `of` names");
    if (!agg_feature__window(counter, feature->windows_ms[0]))
        return agg_parse__tell(parse, against, "against", "has no such window; add it there");
    all = agg_catalogue__global(parse->catalogue) ? agg_feature__hidden(parse->catalogue, counter, parse->catalogue->global,
                                                                        parse->catalogue->global->name, AGG_COUNT)
                                                  : NULL;
    if (!all || !agg_feature__add_window(all, &feature->windows[0]))
        return agg_parse__tell(parse, against, "against", "out of memory, or too many features or windows");
    feature->operands[AGG_OWN][0] = counter;
    feature->operands[AGG_GLOBAL][0] = all;
    return true;
}

static bool link_lift(struct agg_parse *parse)
{
    bool ok = link_pairs(parse);

    return link_field(parse) && link_counts(parse) && ok;
}

static void define_lift(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; against %s; strength %.17g; of %s", feature->operands[AGG_OWN][0]->name, feature->strength,
                            feature->source->definition);
}

static const char *const keys[] = {"of", "from", "against", "windows", "strength", "limit", NULL};

const struct agg_type agg_type__lift = {.name = "lift",
                                        .keys = keys,
                                        .emits = 1 << AGG_OUTPUT_VALUE,
                                        .parse = parse_lift,
                                        .link = link_lift,
                                        .define = define_lift};
