/*
 * The join of tables and events. An event is joined with what a table holds as its batch begins, so what it means depends on what has come
 * of the table by then: state made by such a join is hashed apart, as lists are.
 */
#include "join.h"

#include <stdlib.h>

enum { LOAD_AT_ONCE = 64 };

struct agg_join {
    const struct agg *agg;
    struct proto_event *events; /* copies */
    const uint64_t **rows; /* of each event, by table */
    uint64_t *words; /* of each event and joined table */
    size_t row_words; /* of the longest row */
};

static size_t longest_row(const struct agg_catalogue *catalogue)
{
    size_t longest = 0;

    for (int i = 0; i < catalogue->table_count; i++) {
        const struct proto_table *layout = &catalogue->tables[i].layout;
        size_t words = 1 + (size_t)layout->field_count;

        for (int f = 0; f < layout->field_count; f++)
            words += layout->fields[f].type == PROTO_TABLE_IDS ? PROTO_TABLE_IDS_MAX : 0;
        longest = words > longest ? words : longest;
    }
    return longest;
}

struct agg_join *agg_join__new(const struct agg *agg, int batch_max)
{
    struct agg_join *join = calloc(1, sizeof *join);
    size_t events = (size_t)batch_max, tables = (size_t)agg->catalogue->table_count;

    if (!join)
        return NULL;
    join->agg = agg;
    join->row_words = longest_row(agg->catalogue);
    join->events = calloc(events, sizeof *join->events);
    join->rows = calloc(events * tables, sizeof *join->rows);
    join->words = calloc(events * tables, join->row_words * sizeof *join->words);
    if (join->events && join->rows && join->words)
        return join;
    agg_join__free(join);
    return NULL;
}

void agg_join__free(struct agg_join *join)
{
    if (!join)
        return;
    free(join->events);
    free(join->rows);
    free(join->words);
    free(join);
}

bool agg_join__load(struct agg_join *join, const struct proto_event *events, int count, struct fr_err *err)
{
    const struct agg_catalogue *catalogue = join->agg->catalogue;
    struct store *store = join->agg->store;
    struct store_key keys[LOAD_AT_ONCE];
    uint64_t hashes[LOAD_AT_ONCE];
    int held = 0;

    for (int i = 0; i < count * catalogue->table_count && !store_is_whole(store); i++) {
        const struct agg_table *table = &catalogue->tables[i % catalogue->table_count];
        const struct proto_event *event = &events[i / catalogue->table_count];

        if ((catalogue->joined >> table->number & 1) != 0 &&
            agg_table__key(table, proto_event_id_field(event, table->key), &keys[held])) {
            hashes[held] = store_key_hash(store, &keys[held]);
            held++;
        }
        if (held == LOAD_AT_ONCE) {
            if (!store_load(store, keys, hashes, held, err))
                return false;
            held = 0;
        }
    }
    return held == 0 || store_load(store, keys, hashes, held, err);
}

const struct proto_event *agg_join__take(struct agg_join *join, const struct proto_event *events, int count)
{
    const struct agg_catalogue *catalogue = join->agg->catalogue;
    size_t tables = (size_t)catalogue->table_count;

    for (size_t i = 0; i < (size_t)count; i++) {
        const uint64_t **rows = &join->rows[i * tables];

        for (size_t t = 0; t < tables; t++) {
            const struct agg_table *table = &catalogue->tables[t];
            uint64_t *words = &join->words[(i * tables + t) * join->row_words];

            rows[t] = (catalogue->joined >> t & 1) != 0 &&
                              agg_table__read(join->agg->store, table, proto_event_id_field(&events[i], table->key), words,
                                              NULL, NULL) > 0
                          ? words
                          : NULL;
        }
        join->events[i] = events[i];
        join->events[i].joined = rows;
    }
    return join->events;
}

static const uint64_t *row_of(const struct agg_table_field *field, const struct proto_event *event)
{
    const uint64_t *const *rows = event->joined;

    return rows ? rows[field->table->number] : NULL;
}

uint64_t agg_join__id(const struct agg_catalogue *catalogue, int key, const struct proto_event *event)
{
    const struct agg_table_field *field = &catalogue->table_fields[key - AGG_KEY_JOINED];
    const uint64_t *row = row_of(field, event);

    return row && (row[0] >> field->field & 1) != 0 ? row[1 + field->field] : 0;
}

const uint64_t *agg_join__ids(const struct agg_catalogue *catalogue, int key, const struct proto_event *event, int *count)
{
    const struct agg_table_field *field = &catalogue->table_fields[key - AGG_KEY_JOINED];

    return proto_table_ids(row_of(field, event), field->field, count);
}
