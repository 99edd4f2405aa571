/*
 * What --set changes in a tree: `a.b[0].c=value`. A key that holds dots is found when it is there already, and can be made in
 * quotes: kafka.properties."fetch.min.bytes"=1.
 */
#include "internal.h"

#include <freshet/text.h>

#include <stdlib.h>

/* One --set on its way down the tree. */
struct setting {
    const char *at; /* what is left of the path */
    const char *end; /* of the path */
    struct fr_arena *arena;
    struct fr_diagnostics *diagnostics;
    struct fr_slice path; /* all of it, for messages */
};

static const struct fr_yaml nowhere; /* line 0: told as --set */

static bool tell(const struct setting *setting, const char *what)
{
    return fr_diagnostics_add(setting->diagnostics, &nowhere, "%.*s: %s", (int)setting->path.length,
                              (const char *)setting->path.bytes, what);
}

static struct fr_yaml *new_node(struct setting *setting, enum fr_yaml_kind kind)
{
    struct fr_yaml *node = fr_arena_take_zeroed(setting->arena, 1, sizeof(*node));

    if (!node) {
        fr_yaml__exhausted(setting->diagnostics, &nowhere);
        return NULL;
    }
    node->kind = kind;
    node->arena = setting->arena;
    return node;
}

/* The `=` that ends the path, outside of quotes. */
static const char *find_equals(const char *assignment)
{
    bool is_quoted = false;

    for (; *assignment; assignment++) {
        if (*assignment == '"')
            is_quoted = !is_quoted;
        else if (*assignment == '=' && !is_quoted)
            return assignment;
    }
    return NULL;
}

static bool ends_key(const struct setting *setting, const char *at)
{
    return at == setting->end || *at == '.' || *at == '[';
}

/* The next key of the path: quoted, or the longest that the map has, or up to the next dot. Empty when malformed. */
static struct fr_slice take_key(struct setting *setting, const struct fr_yaml *map)
{
    const char *from = setting->at;
    const char *to;

    if (from < setting->end && *from == '"') {
        to = memchr(from + 1, '"', (size_t)(setting->end - from - 1));
        if (!to || !ends_key(setting, to + 1))
            return fr_slice(NULL, 0);
        setting->at = to + 1;
        return fr_slice(from + 1, (size_t)(to - from - 1));
    }
    for (to = setting->end; to > from; to--)
        if (ends_key(setting, to) && fr_yaml__find(map, fr_slice(from, (size_t)(to - from))) >= 0)
            break;
    if (to == from)
        while (!ends_key(setting, to))
            to++;
    setting->at = to;
    return fr_slice(from, (size_t)(to - from));
}

/* The place of the next key's value in `map`, made when absent; NULL when told. */
static struct fr_yaml **step_into_map(struct setting *setting, struct fr_yaml *map)
{
    struct fr_slice name;
    struct fr_yaml *key;
    struct fr_yaml *value;
    int entry;

    if (map->kind == FR_YAML_NULL)
        map->kind = FR_YAML_MAP;
    if (map->kind != FR_YAML_MAP) {
        tell(setting, "leads through a value that is no map; name an existing key");
        return NULL;
    }
    name = take_key(setting, map);
    if (name.length == 0) {
        tell(setting, "a key is empty or its quote is open; write key.key=value");
        return NULL;
    }
    entry = fr_yaml__find(map, name);
    if (entry >= 0)
        return &map->values[entry];

    key = new_node(setting, FR_YAML_SCALAR);
    value = new_node(setting, FR_YAML_NULL);
    if (!key || !value)
        return NULL;
    key->text = key->written = fr_slice(fr_arena_copy(setting->arena, name), name.length);
    if (!key->text.bytes || !fr_yaml__add(map, key, value)) {
        fr_yaml__exhausted(setting->diagnostics, &nowhere);
        return NULL;
    }
    return &map->values[map->count - 1];
}

/* The place of the element `[n]` of `list`; the one after the last is made. NULL when told. */
static struct fr_yaml **step_into_list(struct setting *setting, struct fr_yaml *list)
{
    const char *from = setting->at + 1;
    const char *to = memchr(from, ']', (size_t)(setting->end - from));
    uint64_t index;
    struct fr_yaml *value;

    if (!to || !ends_key(setting, to + 1) || !fr_text_uint64(fr_slice(from, (size_t)(to - from)), &index)) {
        tell(setting, "an index that is no number in brackets; write key[0]");
        return NULL;
    }
    setting->at = to + 1;
    if (list->kind == FR_YAML_NULL)
        list->kind = FR_YAML_LIST;
    if (list->kind != FR_YAML_LIST || index > (uint64_t)list->count) {
        tell(setting, list->kind == FR_YAML_LIST ? "an index past the end of the list; count from 0"
                                                 : "an index into what is no list; name a key");
        return NULL;
    }
    if (index < (uint64_t)list->count)
        return &list->values[index];
    value = new_node(setting, FR_YAML_NULL);
    if (!value)
        return NULL;
    if (!fr_yaml__add(list, NULL, value)) {
        fr_yaml__exhausted(setting->diagnostics, &nowhere);
        return NULL;
    }
    return &list->values[list->count - 1];
}

static bool put(struct setting *setting, struct fr_yaml *root, struct fr_yaml *value)
{
    struct fr_yaml **place = &root;

    for (int depth = 0;; depth++) {
        bool is_index = setting->at < setting->end && *setting->at == '[';

        if (depth >= FR_YAML_DEPTH_MAX)
            return tell(setting, "nested too deep; shorten it");
        if (depth > 0 && !is_index)
            setting->at++; /* the dot */
        place = is_index && depth > 0 ? step_into_list(setting, *place) : step_into_map(setting, *place);
        if (!place)
            return false;
        if (setting->at == setting->end)
            break;
    }
    *place = value;
    return true;
}

bool fr_yaml_set(struct fr_yaml *root, const char *assignment, struct fr_arena *arena, struct fr_diagnostics *diagnostics)
{
    const char *equals = find_equals(assignment);
    struct setting setting = {.at = assignment, .arena = arena, .diagnostics = diagnostics};
    struct fr_yaml *value;

    if (!equals || equals == assignment)
        return fr_diagnostics_add(diagnostics, &nowhere, "'%s' is not key=value; write as in store.epoch=2s", assignment);
    setting.end = equals;
    setting.path = fr_slice(assignment, (size_t)(equals - assignment));
    if (!fr_yaml__parse(fr_slice_of(equals + 1), true, arena, &value, diagnostics))
        return tell(&setting, "its value was not understood");
    return put(&setting, root, value);
}
