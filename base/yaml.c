/*
 * The tree of a YAML document, made from libyaml's events. What YAML allows and a configuration
 * has no use for is refused by name: aliases (a bomb in ten lines), tags, complex keys, a second document.
 */
#include "internal.h"

#include <stdlib.h>
#include <yaml.h>

struct reading {
    yaml_parser_t parser;
    struct fr_arena *arena;
    struct fr_diagnostics *diagnostics;
    int node_count;
    bool is_set; /* the value of a --set: it has no place in a file */
};

static struct fr_yaml place_of(const struct reading *reading, yaml_mark_t mark)
{
    if (reading->is_set)
        return (struct fr_yaml){0};
    return (struct fr_yaml){.line = (int)mark.line + 1, .column = (int)mark.column + 1};
}

static bool next_event(struct reading *reading, yaml_event_t *event)
{
    yaml_parser_t *parser = &reading->parser;
    struct fr_yaml at;

    if (yaml_parser_parse(parser, event))
        return true;
    at = place_of(reading, parser->problem_mark);
    if (parser->error == YAML_MEMORY_ERROR)
        fr_yaml__exhausted(reading->diagnostics, NULL);
    else if (parser->error == YAML_READER_ERROR)
        fr_diagnostics_add(reading->diagnostics, NULL, "not text in UTF-8: %s at byte %zu; save the file as UTF-8",
                           parser->problem, parser->problem_offset);
    else
        fr_diagnostics_add(reading->diagnostics, &at, "not YAML: %s%s%s; %s", parser->problem ? parser->problem : "unreadable",
                           parser->context ? " " : "", parser->context ? parser->context : "",
                           reading->is_set ? "quote the value" : "indent with spaces, close every quote and bracket");
    return false;
}

/* A new node at the event's place; NULL, told, when there are too many or no memory. */
static struct fr_yaml *new_node(struct reading *reading, const yaml_event_t *event, enum fr_yaml_kind kind)
{
    struct fr_yaml at = place_of(reading, event->start_mark);
    struct fr_yaml *node;

    if (++reading->node_count > FR_YAML_NODES_MAX) {
        fr_diagnostics_add(reading->diagnostics, &at, "more than %d values; make the document smaller", FR_YAML_NODES_MAX);
        return NULL;
    }
    node = fr_arena_take_zeroed(reading->arena, 1, sizeof(*node));
    if (!node) {
        fr_yaml__exhausted(reading->diagnostics, &at);
        return NULL;
    }
    node->kind = kind;
    node->line = at.line;
    node->column = at.column;
    node->arena = reading->arena;
    return node;
}

static void refuse_decoration(struct reading *reading, const struct fr_yaml *at, const yaml_char_t *anchor,
                              const yaml_char_t *tag)
{
    if (anchor)
        fr_diagnostics_add(reading->diagnostics, at, "anchor '&%s' is not allowed; write the value out where it is used",
                           anchor);
    if (tag)
        fr_diagnostics_add(reading->diagnostics, at, "tag '%s' is not allowed; write the plain value", tag);
}

static bool is_null_word(struct fr_slice text)
{
    return text.length == 0 || fr_slice_is(text, "~") || fr_slice_is(text, "null") || fr_slice_is(text, "Null") ||
           fr_slice_is(text, "NULL");
}

static struct fr_yaml *read_scalar(struct reading *reading, const yaml_event_t *event, bool is_key)
{
    struct fr_slice text = fr_slice(event->data.scalar.value, event->data.scalar.length);
    struct fr_yaml *node = new_node(reading, event, FR_YAML_SCALAR);
    const char *copy;

    if (!node)
        return NULL;
    refuse_decoration(reading, node, event->data.scalar.anchor, event->data.scalar.tag);
    copy = fr_arena_copy(reading->arena, text);
    if (!copy) {
        fr_yaml__exhausted(reading->diagnostics, node);
        return NULL;
    }
    node->is_quoted = event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    node->text = node->written = fr_slice(copy, text.length);
    if (memchr(copy, '\0', text.length)) {
        fr_diagnostics_add(reading->diagnostics, node, "a NUL character is not allowed; remove \\0");
        node->text.length = strlen(copy);
    }
    if (is_key)
        return node;
    if (!node->is_quoted && is_null_word(text))
        node->kind = FR_YAML_NULL;
    else
        fr_yaml__resolve(node, reading->diagnostics); /* a mistake is told, and the others are looked for */
    return node;
}

static struct fr_yaml *read_node(struct reading *reading, const yaml_event_t *event, int depth);

/* A copy of `count` things in twice the room. */
static void *grow(struct fr_arena *arena, const void *from, size_t count, size_t capacity, size_t bytes)
{
    void *grown = fr_arena_take_zeroed(arena, capacity, bytes);

    if (grown && count > 0)
        memcpy(grown, from, count * bytes);
    return grown;
}

/* Room for one more entry. Capacities are powers of two from 4 on, so the count alone tells when it is used up. */
static bool grow_entries(struct fr_yaml *node)
{
    size_t count = (size_t)node->count;
    size_t capacity = count == 0 ? 4 : 2 * count;

    if (count != 0 && (count < 4 || (count & (count - 1)) != 0))
        return true;
    node->values = grow(node->arena, node->values, count, capacity, sizeof(struct fr_yaml *));
    if (!node->values)
        return false;
    if (node->kind == FR_YAML_LIST)
        return true;
    node->keys = grow(node->arena, node->keys, count, capacity, sizeof(struct fr_yaml *));
    node->is_read = grow(node->arena, node->is_read, count, capacity, sizeof(bool));
    return node->keys && node->is_read;
}

bool fr_yaml__add(struct fr_yaml *node, struct fr_yaml *key, struct fr_yaml *value)
{
    if (!grow_entries(node)) {
        node->count = 0; /* what was there is out of reach; the caller tells it and the tree is not used */
        return false;
    }
    if (key)
        node->keys[node->count] = key;
    node->values[node->count] = value;
    node->count++;
    return true;
}

static int compare_keys(const void *a, const void *b)
{
    const struct fr_yaml *left = *(struct fr_yaml *const *)a;
    const struct fr_yaml *right = *(struct fr_yaml *const *)b;
    int order = strcmp(left->text.bytes, right->text.bytes);

    if (order != 0)
        return order;
    return left->line != right->line ? left->line - right->line : left->column - right->column;
}

static bool refuse_duplicates(struct reading *reading, const struct fr_yaml *map)
{
    size_t count = (size_t)map->count;
    struct fr_yaml **sorted = calloc(count + 1, sizeof(struct fr_yaml *));

    if (!sorted) {
        fr_yaml__exhausted(reading->diagnostics, map);
        return false;
    }
    if (count > 0)
        memcpy(sorted, map->keys, count * sizeof(struct fr_yaml *));
    qsort(sorted, count, sizeof(struct fr_yaml *), compare_keys);
    for (size_t i = 1; i < count; i++) {
        const char *key = sorted[i]->text.bytes;

        if (strcmp(key, sorted[i - 1]->text.bytes) == 0)
            fr_diagnostics_add(reading->diagnostics, sorted[i], "%s: on line %d and again on line %d; keep one", key,
                               sorted[i - 1]->line, sorted[i]->line);
    }
    free(sorted);
    return true;
}

static struct fr_yaml *read_key(struct reading *reading, const yaml_event_t *event)
{
    struct fr_yaml at = place_of(reading, event->start_mark);
    struct fr_yaml *key;

    if (event->type != YAML_SCALAR_EVENT) {
        fr_diagnostics_add(reading->diagnostics, &at, "a key that is no plain word; write key: value");
        return NULL;
    }
    key = read_scalar(reading, event, true);
    if (key && key->text.length == 0)
        fr_diagnostics_add(reading->diagnostics, key, "an empty key; write key: value");
    return key;
}

/* The entries of a list or map up to its end. */
static bool read_entries(struct reading *reading, struct fr_yaml *node, int depth)
{
    yaml_event_type_t end = node->kind == FR_YAML_MAP ? YAML_MAPPING_END_EVENT : YAML_SEQUENCE_END_EVENT;

    for (;;) {
        struct fr_yaml *key = NULL;
        struct fr_yaml *value;
        yaml_event_t event;

        if (!next_event(reading, &event))
            return false;
        if (event.type == end) {
            yaml_event_delete(&event);
            return true;
        }
        if (node->kind == FR_YAML_MAP) {
            key = read_key(reading, &event);
            yaml_event_delete(&event);
            if (!key || !next_event(reading, &event))
                return false;
        }
        value = read_node(reading, &event, depth + 1);
        yaml_event_delete(&event);
        if (!value)
            return false;
        if (!fr_yaml__add(node, key, value)) {
            fr_yaml__exhausted(reading->diagnostics, node);
            return false;
        }
    }
}

static struct fr_yaml *read_collection(struct reading *reading, const yaml_event_t *event, int depth)
{
    bool is_map = event->type == YAML_MAPPING_START_EVENT;
    struct fr_yaml *node = new_node(reading, event, is_map ? FR_YAML_MAP : FR_YAML_LIST);

    if (!node)
        return NULL;
    if (depth >= FR_YAML_DEPTH_MAX) {
        fr_diagnostics_add(reading->diagnostics, node, "nested more than %d deep; flatten it", FR_YAML_DEPTH_MAX);
        return NULL;
    }
    if (is_map)
        refuse_decoration(reading, node, event->data.mapping_start.anchor, event->data.mapping_start.tag);
    else
        refuse_decoration(reading, node, event->data.sequence_start.anchor, event->data.sequence_start.tag);
    if (!read_entries(reading, node, depth) || (is_map && !refuse_duplicates(reading, node)))
        return NULL;
    return node;
}

/* The node that `event` begins; NULL when what follows cannot be read, which is told. */
static struct fr_yaml *read_node(struct reading *reading, const yaml_event_t *event, int depth)
{
    struct fr_yaml *node;

    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(reading, event, false);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return read_collection(reading, event, depth);
    default: /* an alias: nothing else can begin a node */
        node = new_node(reading, event, FR_YAML_NULL);
        if (node)
            fr_diagnostics_add(reading->diagnostics, node, "an alias is not allowed; write the value out");
        return node;
    }
}

/* The first document, and the certainty that there is no second. */
static struct fr_yaml *read_document(struct reading *reading)
{
    struct fr_yaml *root = NULL;
    yaml_event_t event;
    bool is_ended = false;

    while (!is_ended) {
        bool is_good = true;

        if (!next_event(reading, &event))
            return NULL;
        switch (event.type) {
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
            break;
        case YAML_STREAM_END_EVENT:
            is_ended = true;
            if (!root)
                root = new_node(reading, &event, FR_YAML_NULL);
            break;
        case YAML_DOCUMENT_START_EVENT:
            if (root) {
                struct fr_yaml at = place_of(reading, event.start_mark);

                is_good = fr_diagnostics_add(reading->diagnostics, &at, "a second document begins; keep one");
            }
            break;
        default:
            root = read_node(reading, &event, 0);
            is_good = root != NULL;
        }
        yaml_event_delete(&event);
        if (!is_good)
            return NULL;
    }
    return root;
}

bool fr_yaml__parse(struct fr_slice text, bool is_set, struct fr_arena *arena, struct fr_yaml **root,
                    struct fr_diagnostics *diagnostics)
{
    struct reading reading = {.arena = arena, .diagnostics = diagnostics, .is_set = is_set};
    int count_before = diagnostics->count;

    if (!yaml_parser_initialize(&reading.parser)) {
        fr_yaml__exhausted(diagnostics, NULL);
        return false;
    }
    yaml_parser_set_encoding(&reading.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&reading.parser, text.length > 0 ? text.bytes : (const void *)"", text.length);
    *root = read_document(&reading);
    yaml_parser_delete(&reading.parser);
    return diagnostics->count == count_before;
}

bool fr_yaml_parse(struct fr_slice text, struct fr_arena *arena, struct fr_yaml **root, struct fr_diagnostics *diagnostics)
{
    return fr_yaml__parse(text, false, arena, root, diagnostics);
}
