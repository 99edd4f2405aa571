/* A table's record: its key an id as text, its value a JSON object, or none. */
#include "internal.h"

#include <freshet/table.h>
#include <freshet/text.h>

#include <math.h>

enum { REGISTRY_PREFIX_BYTES = 5 };

#define NUMBER_MAX 1e12
#define INTEGER_MAX 9007199254740992.0 /* 2^53: every whole number below is a double */

static const char *const type_names[PROTO_TABLE_TYPES] = {"number", "integer", "id", "ids"};

struct draft { /* a row in the making */
    const struct proto_table *table;
    struct proto__json json;
    uint64_t present;
    uint64_t values[PROTO_TABLE_FIELDS_MAX];
    uint64_t lists[PROTO_TABLE_FIELDS_MAX][PROTO_TABLE_IDS_MAX];
    int counts[PROTO_TABLE_FIELDS_MAX];
    enum proto_verdict verdict;
    struct fr_err *why;
};

const char *proto_table_type_name(enum proto_table_type type)
{
    return type_names[type];
}

static bool refuse_type(struct draft *draft, int field, const char *use)
{
    draft->verdict = PROTO_BAD_JSON;
    return fr_fail(draft->why, FR_BAD_INPUT, "table: %s: use %s", draft->table->fields[field].name, use);
}

static bool refuse_value(struct draft *draft, int field, const char *use)
{
    draft->verdict = PROTO_BAD_VALUE;
    return fr_fail(draft->why, FR_BAD_INPUT, "table: %s: use %s", draft->table->fields[field].name, use);
}

static bool read_number(struct draft *draft, int field, const struct proto__json_value *value)
{
    bool is_integer = draft->table->fields[field].type == PROTO_TABLE_INTEGER;
    bool is_text = value->kind == PROTO__JSON_STRING;
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    double number;

    if ((!is_text && value->kind != PROTO__JSON_NUMBER) ||
        !proto__number_double(is_text ? proto__json_short(value, room) : value->text, is_text, &number))
        return refuse_type(draft, field, "a number");
    if (is_integer && !(fabs(number) <= INTEGER_MAX && number == floor(number)))
        return refuse_value(draft, field, "a whole number within 2^53 of 0");
    if (!is_integer && !(fabs(number) <= NUMBER_MAX)) /* NaN too */
        return refuse_value(draft, field, "a finite number of at most 1e12");
    number += 0.0; /* −0 is 0: equal rows have equal bytes */
    memcpy(&draft->values[field], &number, sizeof number);
    draft->present |= UINT64_C(1) << field;
    return true;
}

static bool read_id(struct draft *draft, int field, const struct proto__json_value *value, uint64_t *id)
{
    uint8_t room[PROTO_TABLE_TEXT_BYTES_MAX];
    struct fr_slice text = value->text;

    if (value->kind == PROTO__JSON_NUMBER)
        return proto__number_uint(value->text, 64, id) || refuse_type(draft, field, "texts, or numbers from 0 to 2^64 - 1");
    if (value->kind != PROTO__JSON_STRING)
        return refuse_type(draft, field, "texts or numbers");
    if (proto__json_unescape(value, NULL) > sizeof room)
        return refuse_value(draft, field, "texts of at most 256 bytes");
    if (value->has_escapes)
        text = fr_slice(room, proto__json_unescape(value, room));
    *id = fr_text_id(text);
    return true;
}

static bool has_id(const struct draft *draft, int field, uint64_t id)
{
    for (int i = 0; i < draft->counts[field]; i++)
        if (draft->lists[field][i] == id)
            return true;
    return false;
}

static bool read_ids(struct draft *draft, int field, const struct proto__json_value *list)
{
    struct proto__json_value value;

    if (list->kind != PROTO__JSON_ARRAY)
        return refuse_type(draft, field, "a list of texts or numbers");
    while (proto__json_element(&draft->json)) {
        uint64_t id = 0;

        if (!proto__json_value(&draft->json, &value))
            break;
        if (value.kind != PROTO__JSON_NULL && !read_id(draft, field, &value, &id))
            return false;
        if (id == 0 || has_id(draft, field, id))
            continue;
        if (draft->counts[field] == PROTO_TABLE_IDS_MAX)
            return refuse_value(draft, field, "at most 16 different ones");
        draft->lists[field][draft->counts[field]++] = id;
    }
    draft->present |= draft->counts[field] > 0 ? UINT64_C(1) << field : 0;
    return true; /* a fault stays with the reader */
}

static bool read_member(struct draft *draft, int field, const struct proto__json_value *value)
{
    draft->present &= ~(UINT64_C(1) << field);
    draft->values[field] = 0;
    draft->counts[field] = 0;
    if (value->kind == PROTO__JSON_NULL)
        return true;
    switch (draft->table->fields[field].type) {
    case PROTO_TABLE_IDS:
        return read_ids(draft, field, value);
    case PROTO_TABLE_ID:
        if (!read_id(draft, field, value, &draft->values[field]))
            return false;
        draft->present |= draft->values[field] != 0 ? UINT64_C(1) << field : 0;
        return true;
    default:
        return read_number(draft, field, value);
    }
}

static int find_field(const struct proto_table *table, const struct proto__json_value *key)
{
    uint8_t room[PROTO__JSON_SHORT_BYTES];
    struct fr_slice name = proto__json_short(key, room);

    for (int i = 0; i < table->field_count; i++)
        if (fr_slice_is(name, table->fields[i].name))
            return i;
    return -1;
}

static bool read_object(struct draft *draft)
{
    struct proto__json *json = &draft->json;
    struct proto__json_value key, value;

    draft->verdict = PROTO_BAD_JSON;
    if (!proto__json_value(json, &value))
        return proto__json_fail(json, "table", draft->why);
    if (value.kind != PROTO__JSON_OBJECT)
        return fr_fail(draft->why, FR_BAD_INPUT, "table: JSON, but no object; a row is deleted by a record without a value");
    while (proto__json_member(json, &key)) {
        int field = find_field(draft->table, &key);

        if (!proto__json_value(json, &value))
            break;
        if (field < 0) {
            if (!proto__json_skip(json, &value))
                break;
        } else if (!read_member(draft, field, &value)) {
            return false;
        }
    }
    return proto__json_close(json) || proto__json_fail(json, "table", draft->why);
}

static bool lay_out(const struct draft *draft, struct fr_arena *scratch, struct proto_table_row *row)
{
    int count = 1 + draft->table->field_count;
    uint64_t *words;

    for (int i = 0; i < draft->table->field_count; i++)
        count += draft->counts[i];
    row->word_count = count;
    words = fr_arena_take_zeroed(scratch, (size_t)count, sizeof *words);
    if (!words)
        return fr_fail(draft->why, FR_EXHAUSTED, "table: no room for a row beside the rest of the batch");
    count = 1 + draft->table->field_count;
    words[0] = draft->present;
    for (int i = 0; i < draft->table->field_count; i++) {
        words[1 + i] = draft->values[i];
        if (draft->counts[i] == 0)
            continue;
        words[1 + i] = (uint64_t)count << 32 | (uint64_t)draft->counts[i];
        memcpy(words + count, draft->lists[i], (size_t)draft->counts[i] * sizeof *words);
        count += draft->counts[i];
    }
    row->words = words;
    return true;
}

static enum proto_verdict read_row(const struct proto_table *table, struct fr_slice value, struct fr_arena *scratch,
                                   struct proto_table_row *row, struct fr_err *why)
{
    const uint8_t *at = value.bytes;
    struct draft draft = {.table = table, .why = why};

    if (value.length == 0) {
        fr_fail(why, FR_BAD_INPUT, "table: no bytes; a row is deleted by a record without a value");
        return PROTO_EMPTY;
    }
    if (value.length > PROTO_TABLE_BYTES_MAX) {
        fr_fail(why, FR_BAD_INPUT, "table: %zu bytes; at most %d", value.length, PROTO_TABLE_BYTES_MAX);
        return PROTO_OVERSIZED;
    }
    if (value.length >= REGISTRY_PREFIX_BYTES && at[0] == 0)
        value = fr_slice(at + REGISTRY_PREFIX_BYTES, value.length - REGISTRY_PREFIX_BYTES);
    draft.json = proto__json_open(value);
    if (!read_object(&draft))
        return draft.verdict;
    return lay_out(&draft, scratch, row) ? PROTO_EVENT : PROTO_BAD_JSON;
}

enum proto_verdict proto_table_read(const struct proto_table *table, struct fr_slice key, struct fr_slice value,
                                    struct fr_arena *scratch, struct proto_table_row *row, struct fr_err *why)
{
    *row = (struct proto_table_row){0};
    if (key.length <= PROTO_TABLE_TEXT_BYTES_MAX && fr_text_is_utf8(key))
        row->id = fr_text_id(key);
    if (row->id == 0) {
        fr_fail(why, FR_BAD_INPUT,
                "table: a key of %zu bytes names no id; use a number above 0 in decimals, or a text of at "
                "most %d bytes",
                key.length, PROTO_TABLE_TEXT_BYTES_MAX);
        return PROTO_BAD_KEY;
    }
    return value.bytes ? read_row(table, value, scratch, row, why) : PROTO_EVENT;
}

bool proto_table_is_row(const struct proto_table *table, const uint64_t *words, size_t count)
{
    size_t at = 1 + (size_t)table->field_count;

    if (count < at || (words[0] >> table->field_count) != 0)
        return false;
    for (int i = 0; i < table->field_count; i++) {
        bool is_there = (words[0] >> i & 1) != 0;
        size_t ids = (size_t)(words[1 + i] & UINT32_MAX);

        if (!is_there && words[1 + i] != 0)
            return false;
        if (!is_there || table->fields[i].type != PROTO_TABLE_IDS)
            continue;
        if (words[1 + i] >> 32 != at || ids == 0 || ids > PROTO_TABLE_IDS_MAX || ids > count - at)
            return false;
        at += ids;
    }
    return at == count;
}
