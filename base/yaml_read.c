/*
 * Typed reads of a tree. Each read remembers its key, so that fr_yaml_finish() can tell what nobody knows and name the nearest
 * key that somebody asked for. Messages quote what stands in the file, never what it stands for: that may be a secret.
 */
#include "internal.h"

#include <freshet/text.h>

#include <float.h>
#include <inttypes.h>
#include <stdio.h>

enum { NAMES_LISTED_MAX = 24 }; /* in one message */

int fr_yaml__find(const struct fr_yaml *map, struct fr_slice key)
{
    for (int i = 0; i < map->count && map->kind == FR_YAML_MAP; i++)
        if (fr_slice_equal(map->keys[i]->text, key))
            return i;
    return -1;
}

static struct fr_yaml_asked *remember(struct fr_yaml *map, const char *key)
{
    struct fr_yaml_asked **at = &map->asked;
    struct fr_yaml_asked *asked;
    int count = 0;

    for (; *at; at = &(*at)->next, count++)
        if (strcmp((*at)->key, key) == 0)
            return *at;
    if (count >= FR_YAML_ASKED_MAX)
        return NULL; /* a map of names, not of settings */
    asked = fr_arena_take_zeroed(map->arena, 1, sizeof(*asked));
    if (!asked)
        return NULL; /* only a hint is lost */
    asked->key = fr_arena_copy(map->arena, fr_slice_of(key));
    if (!asked->key)
        return NULL;
    *at = asked;
    return asked;
}

/* Keeps what a reader holds of a key: its limits, and what stays when it is absent (NULL: nothing). */
static void remember_limits(struct fr_yaml *map, const char *key, const char *least, const char *most, const char *fallback)
{
    struct fr_yaml_asked *asked = map && map->kind == FR_YAML_MAP ? remember(map, key) : NULL;
    char range[FR_MESSAGE_BYTES];

    if (!asked)
        return;
    if (least) {
        snprintf(range, sizeof(range), most ? "%s to %s" : "%s or more", least, most);
        asked->range = fr_arena_copy(map->arena, fr_slice_of(range));
    }
    if (fallback)
        asked->fallback = fr_arena_copy(map->arena, fr_slice_of(fallback));
}

struct fr_yaml *fr_yaml_get(struct fr_yaml *map, const char *key)
{
    int entry;

    if (!map || map->kind != FR_YAML_MAP)
        return NULL;
    remember(map, key);
    entry = fr_yaml__find(map, fr_slice_of(key));
    if (entry < 0)
        return NULL;
    map->is_read[entry] = true;
    return map->values[entry]->kind == FR_YAML_NULL ? NULL : map->values[entry];
}

/* The scalar of `key` in *scalar, NULL when absent. False, told, when it is a list or map. */
static bool get_scalar(struct fr_yaml *map, const char *key, const char *wanted, struct fr_yaml **scalar,
                       struct fr_diagnostics *diagnostics)
{
    *scalar = fr_yaml_get(map, key);
    if (!*scalar || (*scalar)->kind == FR_YAML_SCALAR)
        return true;
    return fr_diagnostics_add(diagnostics, *scalar, "%s: a %s is not %s", key, (*scalar)->kind == FR_YAML_LIST ? "list" : "map",
                              wanted);
}

/* "key: 'what was written' is not <wanted>". */
static bool tell_wrong(struct fr_diagnostics *diagnostics, const struct fr_yaml *at, const char *key, const char *wanted)
{
    return fr_diagnostics_add(diagnostics, at, "%s: '%s' is not %s", key, (const char *)at->written.bytes, wanted);
}

/* "key: 'what was written' is out of range; use <least> to <most>". */
static bool tell_range(struct fr_diagnostics *diagnostics, const struct fr_yaml *at, const char *key, const char *least,
                       const char *most)
{
    return fr_diagnostics_add(diagnostics, at, "%s: '%s' is out of range; use %s %s%s", key, (const char *)at->written.bytes,
                              least, most ? "to " : "or more", most ? most : "");
}

bool fr_yaml_text(struct fr_yaml *map, const char *key, const char **value, struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *scalar;

    remember_limits(map, key, NULL, NULL, *value);
    if (!get_scalar(map, key, "a text; write one value", &scalar, diagnostics))
        return false;
    if (scalar)
        *value = scalar->text.bytes;
    return true;
}

bool fr_yaml_int(struct fr_yaml *map, const char *key, int64_t least, int64_t most, int64_t *value,
                 struct fr_diagnostics *diagnostics)
{
    static const char wanted[] = "a whole number; write digits, as in 8";
    struct fr_yaml *scalar;
    int64_t number;
    char least_text[24];
    char most_text[24];
    char fallback[24];

    snprintf(least_text, sizeof(least_text), "%" PRId64, least);
    snprintf(most_text, sizeof(most_text), "%" PRId64, most);
    snprintf(fallback, sizeof(fallback), "%" PRId64, *value);
    remember_limits(map, key, least_text, most == INT64_MAX ? NULL : most_text,
                    *value >= least && *value <= most ? fallback : NULL);
    if (!get_scalar(map, key, wanted, &scalar, diagnostics))
        return false;
    if (!scalar)
        return true;
    if (!fr_text_int64(scalar->text, &number))
        return tell_wrong(diagnostics, scalar, key, wanted);
    if (number < least || number > most)
        return tell_range(diagnostics, scalar, key, least_text, most == INT64_MAX ? NULL : most_text);
    *value = number;
    return true;
}

bool fr_yaml_double(struct fr_yaml *map, const char *key, double least, double most, double *value,
                    struct fr_diagnostics *diagnostics)
{
    static const char wanted[] = "a number; write it as in 0.5";
    struct fr_yaml *scalar;
    double number;
    char least_text[32];
    char most_text[32];
    char fallback[32];

    snprintf(least_text, sizeof(least_text), "%.15g", least);
    snprintf(most_text, sizeof(most_text), "%.15g", most);
    snprintf(fallback, sizeof(fallback), "%.15g", *value);
    remember_limits(map, key, least_text, most >= DBL_MAX ? NULL : most_text,
                    *value >= least && *value <= most ? fallback : NULL);
    if (!get_scalar(map, key, wanted, &scalar, diagnostics))
        return false;
    if (!scalar)
        return true;
    if (!fr_text_double(scalar->text, &number))
        return tell_wrong(diagnostics, scalar, key, wanted);
    if (!(number >= least && number <= most)) /* nor is a NaN */
        return tell_range(diagnostics, scalar, key, least_text, most >= DBL_MAX ? NULL : most_text);
    *value = number;
    return true;
}

bool fr_yaml_bool(struct fr_yaml *map, const char *key, bool *value, struct fr_diagnostics *diagnostics)
{
    static const char *const yes[] = {"yes", "on", "y", "true"};
    static const char *const no[] = {"no", "off", "n", "false"};
    struct fr_yaml *scalar;

    remember_limits(map, key, NULL, NULL, *value ? "true" : "false");
    if (!get_scalar(map, key, "true or false; write one of these", &scalar, diagnostics))
        return false;
    if (!scalar)
        return true;
    if (fr_slice_is(scalar->text, "true") || fr_slice_is(scalar->text, "false")) {
        *value = fr_slice_is(scalar->text, "true");
        return true;
    }
    for (size_t i = 0; i < sizeof(yes) / sizeof(yes[0]); i++) {
        if (fr_text_equal_nocase(scalar->text, yes[i]))
            return tell_wrong(diagnostics, scalar, key, "true or false; write true");
        if (fr_text_equal_nocase(scalar->text, no[i]))
            return tell_wrong(diagnostics, scalar, key, "true or false; write false");
    }
    return tell_wrong(diagnostics, scalar, key, "true or false; write one of these");
}

bool fr_yaml_span(struct fr_yaml *map, const char *key, int64_t least_ms, int64_t most_ms, int64_t *ms,
                  struct fr_diagnostics *diagnostics)
{
    static const char wanted[] = "a span; write a number and ms, s, m, h or d, as in 2s";
    struct fr_yaml *scalar;
    int64_t span_ms;
    char least_text[24];
    char most_text[24];
    char fallback[24];

    fr_text_span_print(least_ms, least_text);
    fr_text_span_print(most_ms, most_text);
    fr_text_span_print(*ms, fallback);
    remember_limits(map, key, least_text, most_ms == INT64_MAX ? NULL : most_text,
                    *ms >= least_ms && *ms <= most_ms ? fallback : NULL);
    if (!get_scalar(map, key, wanted, &scalar, diagnostics))
        return false;
    if (!scalar)
        return true;
    if (!fr_text_span(scalar->text, &span_ms))
        return tell_wrong(diagnostics, scalar, key, wanted);
    if (span_ms < least_ms || span_ms > most_ms)
        return tell_range(diagnostics, scalar, key, least_text, most_ms == INT64_MAX ? NULL : most_text);
    *ms = span_ms;
    return true;
}

/* In its largest exact unit, "64KiB". */
static void print_size(uint64_t bytes, char *out, size_t out_bytes)
{
    static const char *const units[] = {"", "KiB", "MiB", "GiB", "TiB"};
    size_t unit = 0;

    while (unit + 1 < sizeof(units) / sizeof(units[0]) && bytes > 0 && bytes % 1024 == 0) {
        bytes /= 1024;
        unit++;
    }
    snprintf(out, out_bytes, "%" PRIu64 "%s", bytes, units[unit]);
}

bool fr_yaml_size(struct fr_yaml *map, const char *key, uint64_t least, uint64_t most, uint64_t *bytes,
                  struct fr_diagnostics *diagnostics)
{
    static const char wanted[] = "a size; write a number and KiB, MiB or GiB, as in 64MiB";
    struct fr_yaml *scalar;
    uint64_t size;
    char least_text[32];
    char most_text[32];
    char fallback[32];

    print_size(least, least_text, sizeof(least_text));
    print_size(most, most_text, sizeof(most_text));
    print_size(*bytes, fallback, sizeof(fallback));
    remember_limits(map, key, least_text, most == UINT64_MAX ? NULL : most_text,
                    *bytes >= least && *bytes <= most ? fallback : NULL);
    if (!get_scalar(map, key, wanted, &scalar, diagnostics))
        return false;
    if (!scalar)
        return true;
    if (!fr_text_size(scalar->text, &size))
        return tell_wrong(diagnostics, scalar, key, wanted);
    if (size < least || size > most)
        return tell_range(diagnostics, scalar, key, least_text, most == UINT64_MAX ? NULL : most_text);
    *bytes = size;
    return true;
}

/* "did you mean 'near'?" or "use one of a, b, c" into `hint`, cut when it is long. */
static void print_hint(struct fr_slice text, const char *const *names, int count, char *hint, size_t bytes)
{
    const char *near = fr_text_nearest(text, names, count);
    size_t length = 0;

    if (near) {
        snprintf(hint, bytes, "did you mean '%s'?", near);
        return;
    }
    if (count == 0) {
        snprintf(hint, bytes, "remove it");
        return;
    }
    for (int i = 0; i < count && i < NAMES_LISTED_MAX && length < bytes; i++)
        length += (size_t)snprintf(hint + length, bytes - length, "%s%s", i == 0 ? count > 1 ? "use one of " : "use " : ", ",
                                   names[i]);
    if (count > NAMES_LISTED_MAX && length < bytes)
        snprintf(hint + length, bytes - length, " …");
}

bool fr_yaml_choice(struct fr_yaml *map, const char *key, const char *const *names, int count, int *index,
                    struct fr_diagnostics *diagnostics)
{
    struct fr_yaml *scalar;
    char hint[FR_MESSAGE_BYTES];

    remember_limits(map, key, NULL, NULL, *index >= 0 && *index < count ? names[*index] : NULL);
    if (!get_scalar(map, key, "one name; write one", &scalar, diagnostics))
        return false;
    if (!scalar)
        return true;
    for (int i = 0; i < count; i++)
        if (fr_text_equal_nocase(scalar->text, names[i])) {
            *index = i;
            return true;
        }
    print_hint(scalar->text, names, count, hint, sizeof(hint));
    return fr_diagnostics_add(diagnostics, scalar, "%s: '%s' is not known here; %s", key, (const char *)scalar->written.bytes,
                              hint);
}

/* The names that may be meant: those asked for, then `known`. At most as many as `names` has room for. */
static int gather_names(const struct fr_yaml *map, const char *const *known, int known_count, const char **names)
{
    int count = 0;

    for (const struct fr_yaml_asked *asked = map->asked; asked; asked = asked->next)
        names[count++] = asked->key;
    for (int i = 0; i < known_count; i++) {
        bool is_there = false;

        for (int j = 0; j < count && !is_there; j++)
            is_there = strcmp(names[j], known[i]) == 0;
        if (!is_there)
            names[count++] = known[i];
    }
    return count;
}

void fr_yaml_finish(struct fr_yaml *map, const char *where, const char *const *known, int known_count,
                    struct fr_diagnostics *diagnostics)
{
    const char **names;
    int count;
    bool has_where = where && *where;
    char hint[FR_MESSAGE_BYTES];

    if (!map)
        return;
    if (map->kind != FR_YAML_MAP) {
        fr_diagnostics_add(diagnostics, map, "%s: a %s is not a map; write { key: value }", has_where ? where : "this",
                           map->kind == FR_YAML_LIST ? "list" : "text");
        return;
    }
    names = fr_arena_take_zeroed(map->arena, (size_t)known_count + FR_YAML_ASKED_MAX, sizeof(*names));
    count = names ? gather_names(map, known, known_count, names) : 0;
    for (int i = 0; i < map->count; i++) {
        const struct fr_yaml *key = map->keys[i];

        if (map->is_read[i])
            continue;
        print_hint(key->text, names, count, hint, sizeof(hint));
        fr_diagnostics_add(diagnostics, key, "%s%sunknown key '%s'; %s", has_where ? where : "", has_where ? ": " : "",
                           (const char *)key->text.bytes, hint);
    }
}
