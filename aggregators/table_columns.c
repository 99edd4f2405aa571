/* Tables at read: each row of the request looks up its own rows, which are copied out under their locks and used from the copy. */
#include "joined.h"
#include "plan.h"

#include <inttypes.h>

enum { AHEAD = 8 };

static bool fail_exhausted(struct fr_err *err)
{
    return fr_fail(err, FR_EXHAUSTED, "the reply grows beyond its limit; ask for fewer items or features");
}

/* The keys of the table's rows that the request's rows ask for; a request's row without an id has generation 0. */
static bool make_keys(const struct agg *agg, const struct agg_table *table, const struct agg_request *request,
                      const struct agg_remembered *remembered, struct fr_arena *arena, uint64_t **ids, struct store_key **keys,
                      uint64_t **hashes)
{
    size_t rows = (size_t)request->item_count;

    *ids = fr_arena_take(arena, (rows + 1) * sizeof **ids);
    *keys = fr_arena_take(arena, (rows + 1) * sizeof **keys);
    *hashes = fr_arena_take(arena, (rows + 1) * sizeof **hashes);
    if (!*ids || !*keys || !*hashes)
        return false;
    agg_keyring__ids(table->key, request, remembered, *ids);
    for (size_t row = 0; row < rows; row++) {
        if (!agg_table__key(table, (*ids)[row], &(*keys)[row]))
            (*keys)[row] = (struct store_key){0};
        (*hashes)[row] = store_key_hash(agg->store, &(*keys)[row]);
    }
    return true;
}

bool agg_joined__load(struct agg *agg, const struct agg_plan *plan, const struct agg_request *request,
                      const struct agg_remembered *remembered, struct fr_arena *arena, struct fr_err *err)
{
    const struct agg_catalogue *catalogue = agg->catalogue;

    for (int t = 0; t < catalogue->table_count; t++) {
        struct store_key *keys;
        uint64_t *ids, *hashes;
        int count = 0;

        if ((plan->tables >> t & 1) == 0)
            continue;
        if (!make_keys(agg, &catalogue->tables[t], request, remembered, arena, &ids, &keys, &hashes))
            return fail_exhausted(err);
        for (int row = 0; row < request->item_count; row++) {
            if (ids[row] == 0)
                continue;
            keys[count] = keys[row];
            hashes[count++] = hashes[row];
        }
        if (count > 0 && !store_load(agg->store, keys, hashes, count, err))
            return false;
    }
    return true;
}

static bool read_table(struct agg *agg, const struct agg_table *table, const struct agg_request *request,
                       const struct agg_remembered *remembered, struct fr_arena *arena, const uint64_t **rows,
                       bool *is_incomplete, struct fr_err *err)
{
    uint64_t words[PROTO_TABLE_WORDS_MAX];
    struct store_key *keys;
    uint64_t *ids, *hashes;

    if (!make_keys(agg, table, request, remembered, arena, &ids, &keys, &hashes))
        return fail_exhausted(err);
    for (int row = 0; row < request->item_count; row++) {
        bool is_corrupt = false;
        uint64_t *copy;
        size_t bytes;

        if (row + AHEAD < request->item_count)
            store_prefetch(agg->store, hashes[row + AHEAD]);
        bytes = (size_t)agg_table__read(agg->store, table, ids[row], words, &is_corrupt, is_incomplete) * sizeof *words;
        if (is_corrupt)
            return fr_fail(err, FR_CORRUPT,
                           "the row of %" PRIu64
                           " in table %s failed its check and is set aside; produce it anew, or restore a "
                           "backup",
                           ids[row], table->name);
        if (bytes == 0)
            continue;
        copy = fr_arena_take(arena, bytes);
        if (!copy)
            return fail_exhausted(err);
        memcpy(copy, words, bytes);
        rows[row] = copy;
    }
    return true;
}

static void set_ids(struct agg_joined *joined, int field, int k)
{
    const struct agg_table_field *found = &joined->catalogue->table_fields[field];
    bool is_list = agg_tables__type(joined->catalogue, field) == PROTO_TABLE_IDS;
    const uint64_t *const *rows = joined->rows[found->table->number];

    for (int row = 0; row < joined->count && rows; row++) {
        uint64_t *id = &joined->ids[(size_t)row * (size_t)joined->catalogue->table_field_count + (size_t)field];
        int count = rows[row] && (rows[row][0] >> found->field & 1) != 0;
        const uint64_t *ids = count ? &rows[row][1 + found->field] : NULL;

        if (is_list) {
            ids = proto_table_ids(rows[row], found->field, &count);
            joined->listed_most = count > joined->listed_most ? count : joined->listed_most;
        }
        *id = k < count ? ids[k] : 0;
    }
}

bool agg_joined__read(struct agg *agg, const struct agg_plan *plan, const struct agg_request *request,
                      struct agg_remembered *remembered, struct fr_arena *arena, struct agg_joined *joined, bool *is_incomplete,
                      struct fr_err *err)
{
    const struct agg_catalogue *catalogue = agg->catalogue;
    size_t rows = (size_t)request->item_count, fields = (size_t)catalogue->table_field_count;

    *joined = (struct agg_joined){.catalogue = catalogue, .count = request->item_count};
    joined->ids = fr_arena_take_zeroed(arena, rows * fields + 1, sizeof *joined->ids);
    if (!joined->ids)
        return fail_exhausted(err);
    for (int t = 0; t < catalogue->table_count; t++) {
        if ((plan->tables >> t & 1) == 0)
            continue;
        joined->rows[t] = fr_arena_take_zeroed(arena, rows + 1, sizeof *joined->rows[t]);
        if (!joined->rows[t])
            return fail_exhausted(err);
        if (!read_table(agg, &catalogue->tables[t], request, remembered, arena, joined->rows[t], is_incomplete, err))
            return false;
    }
    for (int field = 0; field < catalogue->table_field_count; field++) {
        enum proto_table_type type = agg_tables__type(catalogue, field);

        if (type == PROTO_TABLE_ID || type == PROTO_TABLE_IDS)
            set_ids(joined, field, 0);
    }
    for (size_t row = 0; row < rows; row++)
        remembered[row].joined = &joined->ids[row * fields];
    return true;
}

void agg_joined__turn(struct agg_joined *joined, const struct agg_entity *entity, int k)
{
    set_ids(joined, entity->key[entity->listed] - AGG_KEY_JOINED, k);
}

int agg_joined__listed(const struct agg_joined *joined, const struct agg_entity *entity, int row)
{
    const struct agg_table_field *field = &joined->catalogue->table_fields[entity->key[entity->listed] - AGG_KEY_JOINED];
    const uint64_t *const *rows = joined->rows[field->table->number];
    int count;

    (void)proto_table_ids(rows ? rows[row] : NULL, field->field, &count);
    return count;
}

void agg_joined__columns(const struct agg_joined *joined, const struct agg_plan *plan, float *values)
{
    for (int i = 0; i < plan->table_column_count; i++) {
        const struct agg_table_field *field = &joined->catalogue->table_fields[plan->table_columns[i].field];
        float *to = values + plan->table_columns[i].column;

        for (int row = 0; row < joined->count; row++, to += plan->item_column_count) {
            const uint64_t *words = joined->rows[field->table->number][row];
            double number = 0;

            if (words && (words[0] >> field->field & 1) != 0)
                memcpy(&number, &words[1 + field->field], sizeof number);
            *to = (float)number;
        }
    }
}

void agg_joined__ids(const struct agg_joined *joined, int field, uint64_t *ids)
{
    for (int row = 0; row < joined->count; row++)
        ids[row] = joined->ids[(size_t)row * (size_t)joined->catalogue->table_field_count + (size_t)field];
}

static bool add_sequence(const struct agg_joined *joined, int field, const struct agg_keyring *ring, int index,
                         struct fr_arena *arena, struct agg_reply *reply)
{
    const struct agg_table_field *found = &joined->catalogue->table_fields[field];
    struct agg_sequence *sequence = &reply->sequences[reply->sequence_count++];
    struct agg_values *values = fr_arena_take_zeroed(arena, 1, sizeof *values);
    int row = ring->first[index], count;
    const uint64_t *ids = proto_table_ids(joined->rows[found->table->number][row], found->field, &count);

    *sequence = (struct agg_sequence){.name = found->name, .key = ring->keys[index].ids[0], .fields = values, .field_count = 1};
    if (!values || !agg_keyring__rows(ring, index, arena, sequence))
        return false;
    *values = (struct agg_values){.name = found->table->layout.fields[found->field].name, .count = count};
    values->ids = fr_arena_take(arena, (size_t)(count + 1) * sizeof *values->ids);
    if (!values->ids)
        return false;
    if (count > 0)
        memcpy(values->ids, ids, (size_t)count * sizeof *ids);
    return true;
}

bool agg_joined__sequences(struct agg *agg, const struct agg_joined *joined, const struct agg_plan *plan,
                           const struct agg_request *request, const struct agg_remembered *remembered, struct fr_arena *arena,
                           struct agg_reply *reply)
{
    for (int i = 0; i < plan->table_sequence_count; i++) {
        const struct agg_table *table = joined->catalogue->table_fields[plan->table_sequences[i]].table;
        const struct agg_entity named = {.key = {(uint8_t)table->key}, .key_count = 1};
        struct agg_keyring ring;

        if (!agg_keyring__collect(agg, &named, request, remembered, NULL, 0, arena, &ring))
            return false;
        for (int k = 0; k < ring.count; k++)
            if (!add_sequence(joined, plan->table_sequences[i], &ring, k, arena, reply))
                return false;
    }
    return true;
}
