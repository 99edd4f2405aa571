/* Rows of tables in the store: applied in the order in which their topic has them, read as they are. */
#include "cells.h"
#include "tables.h"

#include <freshet/idset.h>
#include <freshet/text.h>

enum { FORMAT = 1, REGISTRY_FORMAT = 1 };

static const char meta_name[] = "tables";

/* ---- generations ---- */

struct kept { /* of a table, as the store has it */
    struct fr_slice name;
    uint64_t definition_hash, generation;
};

static bool read_kept(struct fr_reader *reader, struct kept *kept)
{
    kept->name = fr_reader_bytes(reader, fr_reader_varint(reader));
    kept->definition_hash = fr_reader_fixed64(reader);
    kept->generation = fr_reader_varint(reader);
    return !reader->is_failed;
}

/* Tables that are what they were go on; those that the configuration does not have are not remembered: they would come back empty. */
static bool adopt_generations(struct agg_catalogue *catalogue, struct fr_reader *reader, uint64_t *next, struct fr_err *err)
{
    uint64_t format = fr_reader_varint(reader), count;
    struct kept kept;

    *next = fr_reader_varint(reader);
    count = fr_reader_varint(reader);
    for (uint64_t i = 0; i < count && count <= AGG_TABLES_MAX && read_kept(reader, &kept); i++) {
        for (int t = 0; t < catalogue->table_count; t++) {
            struct agg_table *table = &catalogue->tables[t];

            if (fr_slice_is(kept.name, table->name) && kept.definition_hash == table->definition_hash)
                table->generation = kept.generation;
        }
    }
    if (!reader->is_failed && format == REGISTRY_FORMAT && count <= AGG_TABLES_MAX && *next > 0)
        return true;
    return fr_fail(err, FR_CORRUPT,
                   "aggregators: what the store says of its tables makes no sense; restore a backup, or replay "
                   "into an empty store.path");
}

bool agg_tables__register(struct agg_catalogue *catalogue, struct store *store, struct fr_err *err)
{
    struct fr_slice value = store_meta_get(store, meta_name);
    struct fr_reader reader = fr_reader(value);
    struct fr_buffer out;
    uint64_t next = 1;
    bool ok;

    if (value.length == 0 && catalogue->table_count == 0)
        return true;
    if (value.length > 0 && !adopt_generations(catalogue, &reader, &next, err))
        return false;
    for (int i = 0; i < catalogue->table_count; i++)
        if (catalogue->tables[i].generation == 0)
            catalogue->tables[i].generation = next++;
    fr_buffer_init(&out);
    fr_buffer_append_varint(&out, REGISTRY_FORMAT);
    fr_buffer_append_varint(&out, next);
    fr_buffer_append_varint(&out, (uint64_t)catalogue->table_count);
    for (int i = 0; i < catalogue->table_count; i++) {
        fr_buffer_append_varint(&out, strlen(catalogue->tables[i].name));
        fr_buffer_append_text(&out, catalogue->tables[i].name);
        fr_buffer_append_fixed64(&out, catalogue->tables[i].definition_hash);
        fr_buffer_append_varint(&out, catalogue->tables[i].generation);
    }
    ok = !out.is_failed || fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory");
    if (ok)
        store_meta_put(store, meta_name, fr_buffer_slice(&out));
    fr_buffer_fini(&out);
    return ok;
}

static const struct agg_table *table_of(const struct agg_catalogue *catalogue, const struct store_key *key)
{
    for (int i = 0; i < catalogue->table_count; i++)
        if (catalogue->tables[i].generation == key->ids[0])
            return &catalogue->tables[i];
    return NULL;
}

bool agg_table__is_retired(const struct agg_catalogue *catalogue, const struct store_key *key)
{
    return key->kind == AGG_KIND_TABLES && !table_of(catalogue, key);
}

bool agg_table__key(const struct agg_table *table, uint64_t id, struct store_key *key)
{
    *key = (struct store_key){.kind = AGG_KIND_TABLES, .id_count = 2, .ids = {table->generation, id}};
    return id != 0;
}

/* ---- what they block ---- */

static bool note_blocked(void *user, const struct store_key *key)
{
    struct agg_table *table = user;

    if (key->id_count == 2 && key->ids[1] != 0 && !fr_idset_put(table->blocked, key->ids[1], true))
        table->left_out++;
    return true;
}

/* A row that lies on the disk blocks, whether its bytes make sense or not. */
bool agg_tables__open(struct agg_catalogue *catalogue, struct store *store, struct fr_err *err)
{
    for (int i = 0; i < catalogue->table_count; i++) {
        struct agg_table *table = &catalogue->tables[i];

        if (!table->is_blocking)
            continue;
        table->blocked = fr_idset_new(AGG_TABLE_BLOCKED_MOST);
        if (!table->blocked)
            return fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory for what table %s blocks", table->name);
        if (!store_scan_keys(store, AGG_KIND_TABLES, 0, table->generation, note_blocked, table, err))
            return false;
    }
    return true;
}

void agg_tables__close(struct agg_catalogue *catalogue)
{
    for (int i = 0; i < catalogue->table_count; i++) {
        fr_idset_free(catalogue->tables[i].blocked);
        catalogue->tables[i].blocked = NULL;
    }
}

static void block(const struct agg_table *table, const struct proto_table_row *row, struct agg_table_tally *tally)
{
    if (table->blocked && !fr_idset_put(table->blocked, row->id, row->word_count > 0))
        tally->left_out++;
}

/* ---- applying ---- */

static bool key_of_row(const struct agg *agg, const struct agg_table_row *row, struct store_key *key, uint64_t *hash)
{
    bool is_one = agg_table__key(&agg->catalogue->tables[row->table], row->row.id, key);

    *hash = store_key_hash(agg->store, key);
    return is_one;
}

bool agg_table_rows_load(struct agg *agg, const struct agg_table_row *rows, int count, struct fr_err *err)
{
    enum { AT_ONCE = 64 };
    struct store_key keys[AT_ONCE];
    uint64_t hashes[AT_ONCE];

    for (int i = 0, held = 0; i < count; i++) {
        held += key_of_row(agg, &rows[i], &keys[held], &hashes[held]);
        if ((held == AT_ONCE || i + 1 == count) && held > 0) {
            if (!store_load(agg->store, keys, hashes, held, err))
                return false;
            held = 0;
        }
    }
    return true;
}

/* One record's word for what the row is. Bytes that made no sense give way to it. */
static bool put(struct store *store, struct store_entry *entry, const struct agg_table_row *row, struct agg_table_tally *tally)
{
    uint32_t bytes = (uint32_t)((size_t)row->row.word_count * sizeof(uint64_t)), had;
    const void *before = store_entry_read(entry, STORE_PART_ROWS, &had);
    void *memory;
    int erased;

    if (store_entry_is_corrupt(entry) && !store_entry_erase(store, entry, &erased))
        return false;
    if (!store_entry_is_corrupt(entry) && had == bytes && (bytes == 0 || memcmp(before, row->row.words, bytes) == 0)) {
        bytes == 0 ? tally->unknown++ : tally->same++;
        return true;
    }
    memory = store_entry_write(store, entry, STORE_PART_ROWS, bytes);
    if (bytes > 0 && !memory)
        return false;
    if (bytes > 0)
        memcpy(memory, row->row.words, bytes);
    bytes == 0 ? tally->deleted++ : tally->changed++;
    return true;
}

bool agg_table_rows_apply(struct agg *agg, const struct agg_table_row *rows, int count, struct agg_table_tally *tally,
                          struct fr_err *err)
{
    struct store *store = agg->store;

    for (int i = 0; i < count; i++) {
        bool is_deleted = rows[i].row.word_count == 0, ok;
        struct store_entry *entry;
        struct store_key key;
        uint64_t hash;

        if (!key_of_row(agg, &rows[i], &key, &hash))
            continue;
        block(&agg->catalogue->tables[rows[i].table], &rows[i].row, tally);
        entry = store_entry_lock(store, &key, hash, !is_deleted);
        if (!entry && is_deleted) {
            tally->unknown++;
            continue;
        }
        ok = entry && put(store, entry, &rows[i], tally);
        if (entry)
            store_entry_unlock(store, entry);
        if (!ok) {
            store_spoil(store);
            return fr_fail(err, FR_UNAVAILABLE,
                           "aggregators: out of memory in the middle of a table's rows; restart the node, with "
                           "less store.memory or more of the machine's");
        }
    }
    return true;
}

/* ---- reading ---- */

int agg_table__read(struct store *store, const struct agg_table *table, uint64_t id, uint64_t *words, bool *is_corrupt,
                    bool *is_unloaded)
{
    struct store_entry *entry;
    struct store_key key;
    uint32_t bytes = 0;
    uint64_t hash;

    if (!agg_table__key(table, id, &key))
        return 0;
    hash = store_key_hash(store, &key);
    entry = store_entry_lock(store, &key, hash, false);
    if (!entry) {
        if (is_unloaded && !store_is_loaded(store, &key, &hash, 1))
            *is_unloaded = true;
        return 0;
    }
    if (store_entry_is_corrupt(entry)) {
        if (is_corrupt)
            *is_corrupt = true;
    } else {
        const void *memory = store_entry_read(entry, STORE_PART_ROWS, &bytes);

        if (bytes > 0)
            memcpy(words, memory, bytes); /* no row is longer: the decoder and proto see to it */
    }
    store_entry_unlock(store, entry);
    return (int)(bytes / sizeof *words);
}

/* ---- the form on disk ---- */

void agg_table__encode(const void *memory, uint32_t bytes, struct fr_buffer *disk)
{
    const uint64_t *words = memory;

    if (bytes == 0)
        return;
    fr_buffer_append_byte(disk, FORMAT);
    for (size_t i = 0; i < bytes / sizeof *words; i++)
        fr_buffer_append_fixed64(disk, words[i]);
}

bool agg_table__decode(const struct agg_catalogue *catalogue, const struct store_key *key, struct fr_slice disk,
                       struct fr_buffer *memory)
{
    const struct agg_table *table = table_of(catalogue, key);
    struct fr_reader reader = fr_reader(disk);
    struct fr_slice first = fr_reader_bytes(&reader, 1);
    uint64_t words[PROTO_TABLE_WORDS_MAX];
    size_t count = 0;

    if (reader.is_failed || *(const uint8_t *)first.bytes != FORMAT)
        return false;
    if (!table)
        return true; /* of a table that the configuration no longer has */
    while (reader.at < reader.end && count < PROTO_TABLE_WORDS_MAX && !reader.is_failed)
        words[count++] = fr_reader_fixed64(&reader);
    if (reader.is_failed || reader.at != reader.end || !proto_table_is_row(&table->layout, words, count))
        return false;
    fr_buffer_append(memory, words, count * sizeof *words);
    return !memory->is_failed;
}

void agg_table__digest(const struct agg_catalogue *catalogue, const struct store_key *key, const uint64_t *words, size_t count,
                       struct agg_facts *facts)
{
    const struct agg_table *table = table_of(catalogue, key);
    uint64_t fact[4 + PROTO_TABLE_WORDS_MAX] = {AGG_FACT_TABLE};

    if (!table || count == 0 || count > PROTO_TABLE_WORDS_MAX)
        return;
    fact[1] = fr_text_hash(table->name, strlen(table->name), 0);
    fact[2] = table->definition_hash;
    fact[3] = key->ids[1];
    memcpy(fact + 4, words, count * sizeof *words);
    agg_facts__add(facts, fact, (4 + count) * sizeof *fact);
}
