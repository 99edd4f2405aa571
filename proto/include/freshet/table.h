/*
 * One record of a table's topic: the row that is known of an id from then on, or that nothing is any more. A table is compacted by its
 * key, so a record says all of its row, and what it leaves out the row has not. Rows are words, so that whoever joins them looks nothing
 * up: texts are ids by the Contract's rule, and are kept no further. Thread: any.
 */
#ifndef FRESHET_TABLE_H
#define FRESHET_TABLE_H

#include <freshet/event.h>

enum {
    PROTO_TABLE_FIELDS_MAX = 16,
    PROTO_TABLE_IDS_MAX = 16, /* different ones in a list */
    PROTO_TABLE_TEXT_BYTES_MAX = 256, /* of a key, or of a text that stands for an id */
    PROTO_TABLE_BYTES_MAX = 1 << 16, /* a larger record is `oversized` */
    PROTO_TABLE_WORDS_MAX = 1 + PROTO_TABLE_FIELDS_MAX * (1 + PROTO_TABLE_IDS_MAX)
};

enum proto_table_type {
    PROTO_TABLE_NUMBER, /* a double within ±10^12 */
    PROTO_TABLE_INTEGER, /* a whole one within ±2^53 */
    PROTO_TABLE_ID, /* a text or number as an id; 0: absent */
    PROTO_TABLE_IDS, /* a list of them */
    PROTO_TABLE_TYPES
};

struct proto_table_field {
    const char *name;
    enum proto_table_type type;
};

struct proto_table {
    struct proto_table_field fields[PROTO_TABLE_FIELDS_MAX];
    int field_count;
};

/*
 * words[0] has a bit for each field that is there. words[1 + f] is of field f: the bits of a double, an id, or of a list the place of
 * its first word (upper half) and how many there are; the lists lie behind, in the order of the fields, each id once, as they came.
 */
struct proto_table_row {
    uint64_t id; /* what it is of; never 0 */
    const uint64_t *words;
    int word_count; /* 0: it is deleted */
};

/*
 * Judges one record as proto_event_read() does: PROTO_EVENT when it is good, with the row's words in `scratch`; else why not, for a dead
 * letter. `value.bytes` NULL: a tombstone. A JSON object otherwise: `bad_json` is what is none, or a member of another type than its
 * field's; `bad_value` a number or list beyond its limits; `bad_key` a key that names no id. Members that are no field are skipped,
 * null ones absent; of a member that is there twice the last counts.
 */
enum proto_verdict proto_table_read(const struct proto_table *table, struct fr_slice key, struct fr_slice value,
                                    struct fr_arena *scratch, struct proto_table_row *row, struct fr_err *why);

/* Whether words[0..count) are a row of the table: for what comes from a disk. */
bool proto_table_is_row(const struct proto_table *table, const uint64_t *words, size_t count);

/* A list's ids; none when it is absent, or `words` is NULL. */
static inline const uint64_t *proto_table_ids(const uint64_t *words, int field, int *count)
{
    bool is_there = words && (words[0] >> field & 1) != 0;

    *count = is_there ? (int)(words[1 + field] & UINT32_MAX) : 0;
    return is_there ? words + (words[1 + field] >> 32) : words;
}

const char *proto_table_type_name(enum proto_table_type type); /* "number" … static */

#endif
