/*
 * The tables of keys against the readers: a configuration that has every map is read, and what was asked of each map is held against the
 * rows of its section.
 */
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { ARENA_BYTES = 16 << 20, PATH_BYTES = 256, SECTIONS_MAX = 64, ROWS_MAX = 64, DEPTH_MAX = 16 };

static const char every_map[] =
    "node: { dedupe: {} }\n"
    "kafka: { topics: [ { name: e } ], properties: { fetch.min.bytes: 1 } }\n"
    "store: {}\n"
    "server: { tls: {}, tokens: [ { name: a, token: '${TEST_SETTINGS_TOKEN}', groups: [read] } ], limits: {} }\n"
    "learner: {}\n"
    "entities:\n"
    "  user: { key: [user_id] }\n"
    "  item: { key: [item_id] }\n"
    "  tag: { key: [info.tags] }\n"
    "features:\n"
    "  n: { entity: item, aggregate: count, windows: [1h] }\n"
    "  likes: { entity: item, actions: [like], aggregate: count, windows: [1h] }\n"
    "  total: { entity: item, aggregate: sum, windows: [1h], actions: [purchase, refund], minus: [refund] }\n"
    "  middle: { entity: item, aggregate: quantile, q: 0.5, windows: [1h] }\n"
    "  viewers: { entity: item, aggregate: distinct, windows: [1h] }\n"
    "  heat: { entity: item, actions: [like], weights: { like: 2 }, aggregate: decayed, half_life: 10m }\n"
    "  rate: { entity: item, aggregate: ratio, of: [likes, n], windows: [1h] }\n"
    "  recent: { entity: user, aggregate: last, limit: 9, fields: [item_id, ts_ms] }\n"
    "  alike: { entity: user, aggregate: last, of: recent, match: category_id, limit: 3 }\n"
    "  online: { entity: item, aggregate: gauge, up: [watch], timeout: 10m }\n"
    "  pulse: { entity: item, aggregate: series, bin: 10s, bins: 6 }\n"
    "  placed: { entity: item, aggregate: coec, windows: [1h] }\n"
    "  long_watch: { entity: item, aggregate: watch_rank, windows: [1h] }\n"
    "  weighed: { entity: item, actions: [click], aggregate: ips, weights: { click: 2 }, windows: [1h] }\n"
    "  capped: { entity: item, aggregate: capped, cap: 3, windows: [1h] }\n"
    "  burst: { entity: item, aggregate: burst, bin: 10s }\n"
    "  judged: { entity: user, aggregate: actor, of: recent }\n"
    "  part: { entity: item, aggregate: share, of: n, windows: [1h], targets: { a: 1 } }\n"
    "  uneven: { entity: item, aggregate: gini, windows: [1h] }\n"
    "  again: { entity: item, aggregate: returning, windows: [7d] }\n"
    "  fresh: { entity: item, aggregate: quota, quota: 9, newer_than: 1h }\n"
    "  related: { entity: item, aggregate: covisit, from: recent, within: 30m, half_life: 1d, limit: 5 }\n"
    "  spread: { entity: user, aggregate: entropy, of: recent.item_id }\n"
    "  left: { entity: item, aggregate: budget, of: [likes, n], share: 0.1, plus: 1, windows: [1h] }\n"
    "  tagged: { entity: tag, aggregate: count, windows: [1h] }\n"
    "  guessed: { entity: item, aggregate: lift, of: info.tags, from: related, against: tagged, windows: [1h] }\n"
    "  most: { entity: user, aggregate: top_values, of: recent.item_id }\n"
    "lists: { best: { of: item, rank: heat, scopes: [global], limit: 5 } }\n"
    "feature_sets: { all: { item: [n] } }\n"
    "models: { m: { feature_set: all, tasks: { t: { actions: [click] } }, optimiser: {}, drift: {} } }\n"
    "texts: { intent: { from: f, labelled: l, to: o, labels: [a, b] } }\n"
    "tables: { info: { topic: i, fields: [price, tags] } }\n"
    "sessions: { pairs: { actions: [watch] } }\n";

struct reading {
    struct fr_arena *arena;
    struct fr_yaml *root;
    struct fr_diagnostics diagnostics;
    struct pipeline_config config;
};

/* Reads it, with `set` put over it unless NULL. */
static void reading_init(struct reading *reading, const char *set)
{
    *reading = (struct reading){.arena = fr_arena_new(ARENA_BYTES)};
    reading->config.arena = reading->arena;
    fr_diagnostics_init(&reading->diagnostics, "test");
    assert_true(fr_yaml_parse(fr_slice_of(every_map), reading->arena, &reading->root, &reading->diagnostics));
    assert_true(!set || fr_yaml_set(reading->root, set, reading->arena, &reading->diagnostics));
    pipeline_config__sections(reading->root, &reading->config, &reading->diagnostics);
}

static void reading_fini(struct reading *reading)
{
    agg_catalogue_free(reading->config.catalogue);
    fr_diagnostics_fini(&reading->diagnostics);
    fr_arena_free(reading->arena);
}

/* ---- finding rows ---- */

static bool has_section(const char *path, const char *rest)
{
    const struct fr_settings *section;
    char whole[PATH_BYTES];

    snprintf(whole, sizeof whole, "%s%s", path, rest);
    for (int i = 0; (section = pipeline_settings(i)); i++)
        if (strcmp(section->path, whole) == 0)
            return true;
    return false;
}

static bool has_below(const char *path) /* a section somewhere below */
{
    const struct fr_settings *section;

    for (int i = 0; (section = pipeline_settings(i)); i++)
        if (strncmp(section->path, path, strlen(path)) == 0 && strchr(".[", section->path[strlen(path)]))
            return true;
    return false;
}

/* Whether the section is of this map: a feature's aggregate counts. */
static bool is_of(const struct fr_settings *section, struct fr_yaml *map)
{
    const struct fr_yaml *aggregate;
    char name[64], all[128];

    if (!section->aggregates)
        return true;
    aggregate = fr_yaml_get(map, "aggregate");
    snprintf(name, sizeof name, ", %s%s,", (const char *)aggregate->text.bytes,
             strcmp(aggregate->text.bytes, "last") == 0 && fr_yaml_get(map, "match") ? " with match" : "");
    snprintf(all, sizeof all, ", %s,", section->aggregates);
    return strstr(all, name) != NULL;
}

static bool is_met[SECTIONS_MAX][ROWS_MAX]; /* by some reader */

static const struct fr_setting *find_row(const char *path, struct fr_yaml *map, const char *key)
{
    const struct fr_settings *section;

    for (int i = 0; (section = pipeline_settings(i)); i++) {
        if (strcmp(section->path, path) != 0 || !is_of(section, map))
            continue;
        for (int row = 0; row < section->count; row++)
            if (strcmp(section->rows[row].key, key) == 0) {
                is_met[i][row] = true;
                return &section->rows[row];
            }
    }
    return NULL;
}

/* ---- walking the tree ---- */

static void check_asked(const char *path, struct fr_yaml *map, const struct fr_yaml_asked *asked)
{
    const struct fr_setting *row = find_row(path, map, asked->key);
    char whole[PATH_BYTES];

    snprintf(whole, sizeof whole, "%s%s%s", path, *path ? "." : "", asked->key);
    if (!row && !has_section(whole, "") && !has_below(whole))
        fail_msg("%s is read, and no table has it", whole);
    if (!row)
        return;
    if (asked->range && strcmp(asked->range, row->range) != 0)
        fail_msg("%s: the reader takes %s, the table says %s", whole, asked->range, row->range);
    if (row->fallback && asked->fallback && strcmp(asked->fallback, row->fallback) != 0)
        fail_msg("%s: is %s when absent, the table says %s", whole, asked->fallback, row->fallback);
}

static void walk(const char *path, struct fr_yaml *yaml)
{
    bool is_of_names = has_below(path) && !has_section(path, "") && *path && (has_section(path, ".NAME"));
    char below[PATH_BYTES];

    for (int i = 0; i < yaml->count; i++) {
        if (yaml->kind == FR_YAML_LIST)
            snprintf(below, sizeof below, "%s[]", path);
        else
            snprintf(below, sizeof below, "%s%s%s", path, *path ? "." : "",
                     is_of_names ? "NAME" : (const char *)yaml->keys[i]->text.bytes);
        if (has_section(below, "") || has_below(below))
            walk(below, yaml->values[i]);
    }
    if (yaml->kind != FR_YAML_MAP || is_of_names)
        return;
    for (const struct fr_yaml_asked *asked = yaml->asked; asked; asked = asked->next)
        check_asked(path, yaml, asked);
}

/* ---- tests ---- */

static void each_key_that_is_read_is_in_a_table_with_its_limits_and_default(void **state)
{
    const struct fr_settings *section;
    struct reading reading;

    (void)state;
    memset(is_met, 0, sizeof is_met);
    reading_init(&reading, NULL);
    walk("", reading.root);
    for (int i = 0; (section = pipeline_settings(i)); i++)
        for (int row = 0; row < section->count; row++)
            if (!is_met[i][row])
                fail_msg("%s.%s is in a table, and nobody reads it", section->path, section->rows[row].key);
    reading_fini(&reading);
}

/* An instance of a path in every_map, for --set. */
static void instance_of(const struct fr_settings *section, const char *key, char *out, size_t capacity)
{
    static const char *const features[][2] = {{"count", "likes"},      {"sum", "total"},
                                              {"quantile", "middle"},  {"ratio", "rate"},
                                              {"distinct", "viewers"}, {"decayed", "heat"},
                                              {"last,", "recent"},     {"last with", "alike"},
                                              {"gauge", "online"},     {"series", "pulse"},
                                              {"covisit", "related"},  {"last", "recent"},
                                              {"coec", "placed"},      {"watch_rank", "long_watch"},
                                              {"ips", "weighed"},      {"capped", "capped"},
                                              {"burst", "burst"},      {"actor", "judged"},
                                              {"entropy", "spread"},   {"top_values", "most"},
                                              {"share", "part"},       {"gini", "uneven"},
                                              {"quota", "fresh"},      {"returning", "again"},
                                              {"budget", "left"},      {"lift", "guessed"}};
    static const char *const names[][2] = {{"entities", "user"},    {"features", "n"},       {"lists", "best"},
                                           {"feature_sets", "all"}, {"models.m.tasks", "t"}, {"models", "m"},
                                           {"texts", "intent"},     {"tables", "info"}};
    char path[PATH_BYTES], rest[64], *at;

    snprintf(path, sizeof path, "%s", section->path);
    while ((at = strstr(path, "NAME"))) {
        const char *name = "?";

        snprintf(rest, sizeof rest, "%.60s", at + 4);
        at[-1] = '\0';
        for (size_t i = 0; i < sizeof names / sizeof names[0] && *name == '?'; i++)
            if (strcmp(names[i][0], path) == 0)
                name = names[i][1];
        for (size_t i = 0; section->aggregates && i < sizeof features / sizeof features[0]; i++)
            if (strncmp(section->aggregates, features[i][0], strlen(features[i][0])) == 0) {
                name = features[i][1];
                break;
            }
        strcat(strcat(strcat(path, "."), name), rest); /* shorter than what it was by far */
    }
    if ((at = strstr(path, "[]")))
        strcpy(at, "[0]"); /* lists have maps, and those have none */
    snprintf(out, capacity, "%.200s.%.40s=null", path, key);
}

static void what_the_tables_call_required_is_missed_and_nothing_else_is(void **state)
{
    const struct fr_settings *section;
    char set[PATH_BYTES];

    (void)state;
    for (int i = 0; (section = pipeline_settings(i)); i++) {
        for (int row = 0; row < section->count; row++) {
            struct reading before, after;

            instance_of(section, section->rows[row].key, set, sizeof set);
            reading_init(&before, NULL);
            reading_init(&after, set);
            if (!section->rows[row].fallback && after.diagnostics.count <= before.diagnostics.count &&
                strncmp(section->path, "server.tls", 10) != 0)
                fail_msg("%s is accepted, and the table says that it has to be given", set);
            if (section->rows[row].fallback && after.diagnostics.count > before.diagnostics.count &&
                strcmp(section->rows[row].key, "token") != 0 && strcmp(section->rows[row].key, "match") != 0)
                fail_msg("%s is refused, and the table has a default: %s", set, (const char *)after.diagnostics.text.bytes);
            reading_fini(&after);
            reading_fini(&before);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_key_that_is_read_is_in_a_table_with_its_limits_and_default),
        cmocka_unit_test(what_the_tables_call_required_is_missed_and_nothing_else_is),
    };

    setenv("TEST_SETTINGS_TOKEN", "0123456789abcdef0123", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
