/*
 * Tables: what a compacted topic says of ids, kept as rows of words (<freshet/table.h>) under a kind of their own, and joined to
 * events as they are applied and to items as they are read. A row is not an entity: no event touches it, no time takes it away. Its key
 * is the table's generation and the id, so that a table whose definition changed starts empty and reads its topic anew.
 */
#ifndef FRESHET_AGGREGATORS_TABLES_H
#define FRESHET_AGGREGATORS_TABLES_H

#include "internal.h"

#include <freshet/table.h>

enum {
    AGG_TABLES_MAX = 8,
    AGG_TABLE_FIELDS_MAX = AGG_TABLES_MAX * PROTO_TABLE_FIELDS_MAX,
    AGG_KIND_TABLES = AGG_KINDS_MAX + 1,
    AGG_TABLE_BLOCKED_MOST = 1 << 20, /* different ids that one table may block in a run */
};

struct agg_table {
    const char *name, *topic;
    int partitions; /* to make the topic with; 0: it must exist */
    int key; /* enum proto_field: whose id a row is of */
    struct proto_table layout;
    uint64_t definition_hash; /* topic, key, fields and their types */
    uint64_t generation; /* the registry gives it */
    int number; /* among the tables */
    int field_first; /* number of its first field among those of all tables */
    struct agg_where *off; /* of items that are off; NULL: none are */
    bool is_blocking; /* whoever has a row is blocked; it has no fields, and nothing names it */
    enum agg_blocked blocks; /* of one that blocks: what */
    struct fr_idset *blocked; /* likewise, from agg_open() to agg_close(): the ids of its rows */
    uint32_t left_out; /* rows that found no room in it when it was opened */
};

/* One field of some table. */
struct agg_table_field {
    const struct agg_table *table;
    int field; /* of its layout */
    const char *name; /* "item_info.price" */
};

bool agg_tables__parse(struct agg_catalogue *catalogue, struct fr_yaml *map, struct fr_diagnostics *diagnostics);

/* The table of that name that has fields; NULL: there is none. */
const struct agg_table *agg_tables__find(const struct agg_catalogue *catalogue, struct fr_slice name);
/* "item_info.price" as the number of a field; −1 with the nearest in err. */
int agg_tables__resolve(const struct agg_catalogue *catalogue, struct fr_slice name, struct fr_err *err);
/* The type of the field of that number. */
enum proto_table_type agg_tables__type(const struct agg_catalogue *catalogue, int field);

/* Generations that go on, and new ones; kept for the next epoch. */
FR_CHECKED bool agg_tables__register(struct agg_catalogue *catalogue, struct store *store, struct fr_err *err);

/* What tables that block have blocked, as of the last durable epoch; to be closed after a failure, too. Blocks on the disk. */
FR_CHECKED bool agg_tables__open(struct agg_catalogue *catalogue, struct store *store, struct fr_err *err);
void agg_tables__close(struct agg_catalogue *catalogue);

/* The key of a row; false when the id is 0: there is none. */
FR_CHECKED bool agg_table__key(const struct agg_table *table, uint64_t id, struct store_key *key);

/*
 * Copies the row into `words` (PROTO_TABLE_WORDS_MAX) as it is now; 0: there is none, or it is quarantined, which *is_corrupt tells (may
 * be NULL). What only the disk has is to be loaded before; *is_unloaded (may be NULL) is set where it was not.
 */
int agg_table__read(struct store *store, const struct agg_table *table, uint64_t id, uint64_t *words, bool *is_corrupt,
                    bool *is_unloaded);

void agg_table__encode(const void *memory, uint32_t bytes, struct fr_buffer *disk);
FR_CHECKED bool agg_table__decode(const struct agg_catalogue *catalogue, const struct store_key *key, struct fr_slice disk,
                                  struct fr_buffer *memory);
/* Of a table that the configuration no longer has, or has otherwise. */
bool agg_table__is_retired(const struct agg_catalogue *catalogue, const struct store_key *key);
/* The row as words of a fact that holds for any generation: name, id, words. Of a row that is not retired. */
struct agg_facts;
void agg_table__digest(const struct agg_catalogue *catalogue, const struct store_key *key, const uint64_t *words, size_t count,
                       struct agg_facts *facts);

#endif
