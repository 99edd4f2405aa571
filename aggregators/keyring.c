/* Rows to keys: an open-addressing table over the keys' hashes, for the time of one request. */
#include "keyring.h"

/* Where the id of a key's field comes from in each row: one look at the field for all rows. */
struct source {
    const uint64_t *ids; /* NULL: no row has it */
    size_t step; /* words from one row to the next */
};

static struct source source_of(int field, const struct agg_request *request, const struct agg_remembered *remembered)
{
    static const uint64_t all = 1;
    int attribute = agg_attribute__index(field);

    if (field == AGG_KEY_ALL)
        return (struct source){&all, 0};
    if (field == PROTO_FIELD_USER_ID)
        return (struct source){&request->user_id, 0};
    if (field == PROTO_FIELD_ITEM_ID)
        return (struct source){request->item_ids, 1};
    if (field >= AGG_KEY_JOINED && remembered && remembered[0].joined) {
        size_t fields = (size_t)(request->item_count > 1 ? remembered[1].joined - remembered[0].joined : 1);

        return (struct source){remembered[0].joined + (field - AGG_KEY_JOINED), fields};
    }
    if (!remembered || attribute < 0)
        return (struct source){NULL, 0};
    return (struct source){&remembered->bits[attribute], sizeof *remembered / sizeof(uint64_t)};
}

/* False: the row has no such key. */
static bool key_of_row(const struct agg_entity *entity, const struct source sources[STORE_KEY_IDS_MAX], size_t row,
                       struct store_key *key)
{
    *key = (struct store_key){.kind = entity->kind, .id_count = (uint8_t)entity->key_count};
    for (int i = 0; i < entity->key_count; i++) {
        key->ids[i] = sources[i].ids ? sources[i].ids[row * sources[i].step] : 0;
        if (key->ids[i] == 0)
            return false;
    }
    return true;
}

static bool is_same(const struct store_key *a, const struct store_key *b)
{
    return memcmp(a->ids, b->ids, sizeof a->ids) == 0; /* of one kind anyway */
}

static void ring_add(struct agg_keyring *ring, int *last, const struct store_key *key, uint64_t hash, int row)
{
    uint32_t *table = ring->table, mask = ring->table_mask;
    uint32_t slot = (uint32_t)hash & mask;
    int found;

    while (table[slot] != 0 && !is_same(&ring->keys[table[slot] - 1], key))
        slot = (slot + 1) & mask;
    if (table[slot] == 0) {
        found = ring->count++;
        table[slot] = (uint32_t)found + 1;
        ring->keys[found] = *key;
        ring->hashes[found] = hash;
        ring->first[found] = row;
    } else {
        found = (int)table[slot] - 1;
        ring->next[last[found]] = row;
    }
    last[found] = row;
    ring->next[row] = -1;
}

void agg_keyring__ids(int field, const struct agg_request *request, const struct agg_remembered *remembered, uint64_t *ids)
{
    struct source source = source_of(field, request, remembered);

    for (size_t row = 0; row < (size_t)request->item_count; row++)
        ids[row] = source.ids ? source.ids[row * source.step] : 0;
}

bool agg_keyring__collect(struct agg *agg, const struct agg_entity *entity, const struct agg_request *request,
                          const struct agg_remembered *remembered, const int *wanted, int count, struct fr_arena *arena,
                          struct agg_keyring *ring)
{
    size_t rows = (size_t)request->item_count, most = wanted ? (size_t)count : rows, slots = 16;
    struct source sources[STORE_KEY_IDS_MAX];
    int *last, *keyless = &ring->keyless;

    while (slots < most * 2)
        slots *= 2;
    *ring = (struct agg_keyring){.keys = fr_arena_take(arena, (most + 1) * sizeof *ring->keys),
                                 .hashes = fr_arena_take(arena, (most + 1) * sizeof *ring->hashes),
                                 .first = fr_arena_take(arena, (most + 1) * sizeof *ring->first),
                                 .next = fr_arena_take(arena, (rows + 1) * sizeof *ring->next)};
    last = fr_arena_take(arena, (most + 1) * sizeof *last);
    ring->table = fr_arena_take_zeroed(arena, slots, sizeof *ring->table);
    ring->table_mask = (uint32_t)(slots - 1);
    if (!ring->keys || !ring->hashes || !ring->first || !ring->next || !last || !ring->table)
        return false;
    for (int i = 0; i < entity->key_count; i++)
        sources[i] = source_of(entity->key[i], request, remembered);
    for (size_t i = 0; i < most; i++) {
        int row = wanted ? wanted[i] : (int)i;
        struct store_key key;

        if (key_of_row(entity, sources, (size_t)row, &key)) {
            ring_add(ring, last, &key, store_key_hash(agg->store, &key), row);
        } else {
            *keyless = row;
            keyless = &ring->next[row];
        }
    }
    *keyless = -1;
    return true;
}

int agg_keyring__find(const struct agg_keyring *ring, const struct store_key *key, uint64_t hash)
{
    uint32_t slot = (uint32_t)hash & ring->table_mask;

    while (ring->table[slot] != 0 && !is_same(&ring->keys[ring->table[slot] - 1], key))
        slot = (slot + 1) & ring->table_mask;
    return (int)ring->table[slot] - 1;
}

bool agg_keyring__rows(const struct agg_keyring *ring, int key, struct fr_arena *arena, struct agg_sequence *sequence)
{
    int count = 0;

    for (int row = ring->first[key]; row >= 0; row = ring->next[row])
        count++;
    sequence->rows = fr_arena_take(arena, (size_t)count * sizeof *sequence->rows);
    sequence->row_count = sequence->rows ? count : 0;
    count = 0;
    for (int row = ring->first[key]; row >= 0 && sequence->rows; row = ring->next[row])
        sequence->rows[count++] = (uint32_t)row;
    return sequence->rows != NULL;
}
