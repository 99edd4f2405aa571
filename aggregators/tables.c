/* `tables`: topics of rows, which fields a row has and of what type, and which of their rows turn an item off. */
#include "tables.h"

#include "glimpse.h"
#include "where.h"

#include <freshet/idset.h>
#include <freshet/text.h>

#include <stdio.h>

enum { TOPIC_BYTES_MAX = 249, WHERE_BYTES = 2 * AGG_NAME_MAX + 32 };

static const char *const table_keys[] = {"topic", "key", "fields", "partitions", "off_when", "blocks"};
static const char *const key_names[] = {"item_id", "creator_id", "room_id", "category_id", "user_id"};
enum { KEY_NAMES = sizeof key_names / sizeof key_names[0] };

/* Of a field that is only named: what most mean by it. */
static enum proto_table_type default_type(struct fr_slice name)
{
    if (fr_slice_is(name, "tags"))
        return PROTO_TABLE_IDS;
    return fr_slice_is(name, "language") ? PROTO_TABLE_ID : PROTO_TABLE_NUMBER;
}

static bool read_type(struct fr_yaml *at, const char *where, enum proto_table_type *type, struct fr_diagnostics *diagnostics)
{
    const char *names[PROTO_TABLE_TYPES];
    const char *nearest;

    for (int i = 0; i < PROTO_TABLE_TYPES; i++) {
        names[i] = proto_table_type_name((enum proto_table_type)i);
        *type = (enum proto_table_type)i;
        if (at->kind == FR_YAML_SCALAR && fr_slice_is(at->text, names[i]))
            return true;
    }
    nearest = at->kind == FR_YAML_SCALAR ? fr_text_nearest(at->text, names, PROTO_TABLE_TYPES) : NULL;
    return fr_diagnostics_add(diagnostics, at, "%s.fields: a field is of type number, integer, id or ids%s%s%s", where,
                              nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
}

static bool add_field(struct agg_catalogue *catalogue, struct agg_table *table, const char *where, struct fr_yaml *name,
                      struct fr_yaml *type, struct fr_diagnostics *diagnostics)
{
    struct proto_table_field *field = &table->layout.fields[table->layout.field_count];
    char inside[WHERE_BYTES];

    snprintf(inside, sizeof inside, "%s.fields", where);
    if (name->kind != FR_YAML_SCALAR)
        return fr_diagnostics_add(diagnostics, name, "%s: a list of names, or a map from name to type", inside);
    if (!agg_name__check(name, inside, diagnostics))
        return false;
    for (int i = 0; i < table->layout.field_count; i++)
        if (fr_slice_is(name->text, table->layout.fields[i].name))
            return fr_diagnostics_add(diagnostics, name, "%s: '%s' twice", inside, (const char *)name->text.bytes);
    field->type = default_type(name->text);
    if (type && !read_type(type, where, &field->type, diagnostics))
        return false;
    field->name = fr_arena_copy(catalogue->arena, name->text);
    table->layout.field_count += field->name != NULL;
    return field->name != NULL;
}

static bool read_fields(struct agg_catalogue *catalogue, struct agg_table *table, const char *where, struct fr_yaml *at,
                        struct fr_yaml *map, struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *fields = fr_yaml_get(map, "fields");
    bool ok = true;

    if (table->is_blocking)
        return !fields || (fields->kind == FR_YAML_LIST && fields->count == 0) ||
               fr_diagnostics_add(diagnostics, fields,
                                  "%s.fields: what blocks has none; members of its records (a reason) are for people", where);
    if (!fields)
        return fr_diagnostics_add(diagnostics, at, "%s.fields: missing; list what a row has, [price, stock, tags]", where);
    if ((fields->kind != FR_YAML_LIST && fields->kind != FR_YAML_MAP) || fields->count < 1 ||
        fields->count > PROTO_TABLE_FIELDS_MAX)
        return fr_diagnostics_add(diagnostics, fields, "%s.fields: a list of 1 to %d names, or a map from name to type", where,
                                  PROTO_TABLE_FIELDS_MAX);
    for (int i = 0; i < fields->count; i++) {
        bool is_map = fields->kind == FR_YAML_MAP;

        if (is_map)
            (void)fr_yaml_get(fields, fields->keys[i]->text.bytes);
        ok = add_field(catalogue, table, where, is_map ? fields->keys[i] : fields->values[i], is_map ? fields->values[i] : NULL,
                       diagnostics) &&
             ok;
    }
    return ok;
}

static bool define(struct agg_table *table)
{
    struct fr_buffer text;

    fr_buffer_init(&text);
    fr_buffer_append_format(&text, "%s by %s", table->topic, proto_field_name(table->key));
    for (int i = 0; i < table->layout.field_count; i++)
        fr_buffer_append_format(&text, "; %s %s", table->layout.fields[i].name,
                                proto_table_type_name(table->layout.fields[i].type));
    table->definition_hash = fr_text_hash(text.bytes, text.length, 0);
    fr_buffer_fini(&text);
    return !text.is_failed;
}

static bool read_off(struct agg_catalogue *catalogue, struct agg_table *table, const char *where, struct fr_yaml *map,
                     struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *at = fr_yaml_get(map, "off_when");
    const struct agg_where_names names = {.catalogue = catalogue, .own = table};
    struct fr_buffer canonical;
    struct fr_err err;
    bool ok;

    if (!at)
        return true;
    if (at->kind != FR_YAML_SCALAR)
        return fr_diagnostics_add(diagnostics, at, "%s.off_when: should be a condition on its fields, \"stock == 0\"", where);
    if (table->is_blocking)
        return fr_diagnostics_add(diagnostics, at, "%s.off_when: each row of a table with blocks: true is a block", where);
    if (table->key != PROTO_FIELD_ITEM_ID)
        return fr_diagnostics_add(diagnostics, at, "%s.off_when: items are off; this table is not of item_id", where);
    fr_buffer_init(&canonical);
    ok = agg_where__compile_of(&names, at->text, catalogue->arena, &table->off, &canonical, &err);
    fr_buffer_fini(&canonical);
    return ok || fr_diagnostics_add(diagnostics, at, "%s.off_when: %s", where, err.message);
}

/* A table's name stands where a feature's may. */
static bool check_name(const struct agg_catalogue *catalogue, struct fr_yaml *name, struct fr_yaml *features,
                       struct fr_diagnostics *diagnostics)
{
    (void)catalogue;
    if (!agg_name__check(name, "tables", diagnostics))
        return false;
    for (int i = 0; features && features->kind == FR_YAML_MAP && i < features->count; i++)
        if (fr_slice_equal(features->keys[i]->text, name->text))
            return fr_diagnostics_add(diagnostics, name, "tables: '%s' is a feature, too; give one of them another name",
                                      (const char *)name->text.bytes);
    if (fr_slice_is(name->text, "item") || fr_text_equal_nocase(name->text, "attributes"))
        return fr_diagnostics_add(diagnostics, name, "tables: '%s' means something else already; take another name",
                                  (const char *)name->text.bytes);
    return true;
}

static bool read_topic(struct agg_catalogue *catalogue, struct agg_table *table, const char *where, struct fr_yaml *at,
                       struct fr_yaml *map, struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *topic = fr_yaml_get(map, "topic");

    if (!topic || topic->kind != FR_YAML_SCALAR || topic->text.length == 0 || topic->text.length > TOPIC_BYTES_MAX)
        return fr_diagnostics_add(diagnostics, topic ? topic : at, "%s.topic: names a topic, of at most %d bytes", where,
                                  TOPIC_BYTES_MAX);
    for (int i = 0; i < table->number; i++)
        if (fr_slice_is(topic->text, catalogue->tables[i].topic))
            return fr_diagnostics_add(diagnostics, topic, "%s.topic: '%s' is that of %s as well; read it once, with all fields",
                                      where, (const char *)topic->text.bytes, catalogue->tables[i].name);
    table->topic = fr_arena_copy(catalogue->arena, topic->text);
    return table->topic != NULL;
}

static bool read_key(struct agg_table *table, const char *where, struct fr_yaml *map, struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *at = fr_yaml_get(map, "key");
    bool ok = fr_yaml_bool(map, "blocks", &table->is_blocking, diagnostics);
    int key = 0;

    ok = fr_yaml_choice(map, "key", key_names, KEY_NAMES, &key, diagnostics) && ok;
    table->key = proto_field_number(fr_slice_of(key_names[key]));
    if (!table->is_blocking)
        return table->key != PROTO_FIELD_USER_ID
                   ? ok
                   : fr_diagnostics_add(diagnostics, at,
                                        "%s.key: user_id is for tables with blocks: true; users have "
                                        "no rows that are joined",
                                        where);
    return agg_blocked__kind(table->key, &table->blocks)
               ? ok
               : fr_diagnostics_add(diagnostics, at, "%s.key: what is blocked is an item, a room, a creator or a user", where);
}

static bool parse_table(struct agg_catalogue *catalogue, struct fr_yaml *name, struct fr_yaml *map,
                        struct fr_diagnostics *diagnostics)
{
    struct agg_table *table = &catalogue->tables[catalogue->table_count];
    char where[AGG_NAME_MAX + 16];
    int64_t partitions = 0;
    bool ok;

    snprintf(where, sizeof where, "tables.%s", (const char *)name->text.bytes);
    if (map->kind != FR_YAML_MAP)
        return fr_diagnostics_add(diagnostics, name, "%s: should be a map with topic, key and fields", where);
    *table = (struct agg_table){.number = catalogue->table_count, .field_first = catalogue->table_field_count};
    table->name = fr_arena_copy(catalogue->arena, name->text);
    if (!table->name)
        return false;
    ok = read_topic(catalogue, table, where, name, map, diagnostics);
    ok = read_key(table, where, map, diagnostics) && ok;
    ok = fr_yaml_int(map, "partitions", 1, 1024, &partitions, diagnostics) && ok;
    table->partitions = (int)partitions;
    ok = read_fields(catalogue, table, where, name, map, diagnostics) && ok;
    ok = ok && define(table) && read_off(catalogue, table, where, map, diagnostics);
    (void)fr_yaml_get(map, "off_when");
    fr_yaml_finish(map, where, table_keys, (int)(sizeof table_keys / sizeof *table_keys), diagnostics);
    catalogue->table_count++;
    return ok;
}

/* The fields of a table, each by its whole name. */
static bool number_fields(struct agg_catalogue *catalogue, const struct agg_table *table)
{
    for (int i = 0; i < table->layout.field_count; i++) {
        struct agg_table_field *field = &catalogue->table_fields[catalogue->table_field_count++];
        char name[2 * AGG_NAME_MAX + 2];
        int length = snprintf(name, sizeof name, "%s.%s", table->name, table->layout.fields[i].name);

        *field = (struct agg_table_field){
            .table = table, .field = i, .name = fr_arena_copy(catalogue->arena, fr_slice(name, (size_t)length))};
        if (!field->name)
            return false;
    }
    return true;
}

bool agg_tables__parse(struct agg_catalogue *catalogue, struct fr_yaml *root, struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *map = fr_yaml_get(root, "tables"), *features = fr_yaml_get(root, "features");
    bool ok = true;

    if (!map)
        return true;
    if (map->kind != FR_YAML_MAP || map->count > AGG_TABLES_MAX)
        return fr_diagnostics_add(diagnostics, map, "tables: should be a map from name to table, at most %d", AGG_TABLES_MAX);
    catalogue->tables = fr_arena_take_zeroed(catalogue->arena, AGG_TABLES_MAX, sizeof *catalogue->tables);
    catalogue->table_fields = fr_arena_take_zeroed(catalogue->arena, AGG_TABLE_FIELDS_MAX, sizeof *catalogue->table_fields);
    if (!catalogue->tables || !catalogue->table_fields)
        return false;
    for (int i = 0; i < map->count; i++) {
        bool is_named = check_name(catalogue, map->keys[i], features, diagnostics);

        (void)fr_yaml_get(map, map->keys[i]->text.bytes);
        ok = is_named && parse_table(catalogue, map->keys[i], map->values[i], diagnostics) &&
             number_fields(catalogue, &catalogue->tables[catalogue->table_count - 1]) && ok;
    }
    return ok;
}

/* ---- names ---- */

const struct agg_table *agg_tables__find(const struct agg_catalogue *catalogue, struct fr_slice name)
{
    for (int i = 0; i < catalogue->table_count; i++)
        if (fr_slice_is(name, catalogue->tables[i].name) && !catalogue->tables[i].is_blocking)
            return &catalogue->tables[i];
    return NULL;
}

int agg_tables__resolve(const struct agg_catalogue *catalogue, struct fr_slice name, struct fr_err *err)
{
    const char *names[AGG_TABLE_FIELDS_MAX];
    const char *nearest;

    for (int i = 0; i < catalogue->table_field_count; i++) {
        names[i] = catalogue->table_fields[i].name;
        if (fr_slice_is(name, names[i]))
            return i;
    }
    nearest = fr_text_nearest(name, names, catalogue->table_field_count);
    fr_fail(err, FR_BAD_INPUT, "no table has a field '%.*s'%s%s%s", (int)(name.length > 200 ? 200 : name.length),
            (const char *)name.bytes, nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
    return -1;
}

enum proto_table_type agg_tables__type(const struct agg_catalogue *catalogue, int field)
{
    const struct agg_table_field *found = &catalogue->table_fields[field];

    return found->table->layout.fields[found->field].type;
}

/* ---- for who reads their topics ---- */

static struct agg_table_info info_of(const struct agg_table *table)
{
    return (struct agg_table_info){.name = table->name,
                                   .topic = table->topic,
                                   .partitions = table->partitions,
                                   .layout = &table->layout,
                                   .generation = table->generation,
                                   .is_blocking = table->is_blocking,
                                   .blocks = table->blocks,
                                   .blocked = fr_idset_count(table->blocked),
                                   .left_out = table->left_out};
}

int agg_catalogue_table_count(const struct agg_catalogue *catalogue)
{
    return catalogue->table_count;
}

struct agg_table_info agg_catalogue_table_at(const struct agg_catalogue *catalogue, int index)
{
    return info_of(&catalogue->tables[index]);
}

int agg_table_count(const struct agg *agg)
{
    return agg->catalogue->table_count;
}

struct agg_table_info agg_table_at(const struct agg *agg, int index)
{
    return info_of(&agg->catalogue->tables[index]);
}
