/* `dense` and `sparse`: what of a feature set's matrix, and which ids, a model's rows are made of. */
#include "models.h"

#include <freshet/text.h>

#include <stdio.h>
#include <string.h>

enum { NAMES_MAX = 1024, DENSE_ENTRIES_MAX = 256, SPARSE_NAME_MAX = 512 };

static const char *const transforms[] = {"standard", "log", "raw"};
static const char *const id_parts[] = {"user_id",         "item_id",      "room_id",         "scene",
                                       "item.creator_id", "item.room_id", "item.category_id"};
#define COUNT_OF(array) ((int)(sizeof(array) / sizeof((array)[0])))

const char *learner_transform_name(enum learner_transform transform)
{
    return transforms[transform];
}

static const char *text_of(const struct fr_yaml *scalar)
{
    return scalar->text.bytes;
}

/* Until the dot, but for item.creator_id and its like. */
static size_t stem_length(const char *name)
{
    return strcspn(name, ".");
}

/* The names in the lists of a feature set. */
static int list_names(struct fr_yaml *set, const char **names, int most)
{
    int count = 0;

    for (int i = 0; set && set->kind == FR_YAML_MAP && i < set->count; i++) {
        struct fr_yaml *list = set->values[i];

        for (int k = 0; list->kind == FR_YAML_LIST && k < list->count && count < most; k++) {
            if (list->values[k]->kind == FR_YAML_SCALAR)
                names[count++] = text_of(list->values[k]);
        }
    }
    return count;
}

/* Whether `at` is a feature of the set, one of its columns, or the feature of a column that the set lists. */
static bool check_column(const struct learner_reading *reading, const char *where, struct fr_yaml *set, struct fr_yaml *at,
                         bool may_be_id)
{
    const char *names[NAMES_MAX];
    int count = list_names(set, names, NAMES_MAX - COUNT_OF(id_parts));
    size_t length = stem_length(text_of(at));

    if (!set)
        return true; /* told already */
    for (int i = 0; i < count; i++) {
        if (strcmp(names[i], text_of(at)) == 0 ||
            (stem_length(names[i]) == length && strncmp(names[i], text_of(at), length) == 0 &&
             (names[i][length] == '\0' || text_of(at)[length] == '\0')))
            return true;
    }
    for (int i = 0; may_be_id && i < COUNT_OF(id_parts); i++)
        names[count++] = id_parts[i];
    return learner_reading__unknown(reading, at, where, may_be_id ? "id or feature of the set" : "feature of the set", names,
                                    count);
}

/* ---- dense ---- */

static void add_dense(const struct learner_reading *reading, const char *where, struct fr_yaml *set, struct fr_yaml *name,
                      struct fr_yaml *transform, struct learner_model *model)
{
    int chosen = LEARNER_STANDARD;

    if (name->kind != FR_YAML_SCALAR) {
        fr_diagnostics_add(reading->diagnostics, name, "%s: should be a list of features or columns", where);
        return;
    }
    if (transform) {
        for (chosen = 0; chosen < COUNT_OF(transforms); chosen++) {
            if (transform->kind == FR_YAML_SCALAR && fr_slice_is(transform->text, transforms[chosen]))
                break;
        }
        if (chosen == COUNT_OF(transforms)) {
            fr_diagnostics_add(reading->diagnostics, transform, "%s.%.64s: should be standard, log or raw", where,
                               text_of(name));
            return;
        }
    }
    if (!fr_slice_is(name->text, "all") && !check_column(reading, where, set, name, false))
        return;
    for (int i = 0; i < model->dense_count; i++) {
        if (strcmp(model->dense[i].name, text_of(name)) == 0) {
            fr_diagnostics_add(reading->diagnostics, name, "%s: '%.64s' twice", where, text_of(name));
            return;
        }
    }
    model->dense[model->dense_count++] =
        (struct learner_dense){.name = text_of(name), .transform = (enum learner_transform)chosen};
}

static void read_dense(const struct learner_reading *reading, const char *model_where, struct fr_yaml *yaml,
                       struct fr_yaml *set, struct learner_model *model)
{
    char where[LEARNER_WHERE_MAX];
    int count = yaml && (yaml->kind == FR_YAML_LIST || yaml->kind == FR_YAML_MAP) ? yaml->count : 1;

    snprintf(where, sizeof where, "%s.dense", model_where);
    if (count > DENSE_ENTRIES_MAX) {
        fr_diagnostics_add(reading->diagnostics, yaml, "%s: more than %d entries", where, DENSE_ENTRIES_MAX);
        return;
    }
    model->dense = fr_arena_take_zeroed(reading->arena, (size_t)count + 1, sizeof *model->dense);
    if (!model->dense)
        return;
    if (!yaml || (yaml->kind == FR_YAML_SCALAR && fr_slice_is(yaml->text, "all"))) {
        model->dense[model->dense_count++] = (struct learner_dense){.name = "all"};
    } else if (yaml->kind == FR_YAML_LIST) {
        for (int i = 0; i < yaml->count; i++)
            add_dense(reading, where, set, yaml->values[i], NULL, model);
    } else if (yaml->kind == FR_YAML_MAP) {
        for (int i = 0; i < yaml->count; i++)
            add_dense(reading, where, set, yaml->keys[i], yaml->values[i], model);
    } else if (!(yaml->kind == FR_YAML_SCALAR && fr_slice_is(yaml->text, "none"))) {
        fr_diagnostics_add(reading->diagnostics, yaml,
                           "%s: should be all, none, a list of features, or a map from feature to standard, log or raw", where);
    }
}

/* ---- sparse ---- */

static bool read_part(const struct learner_reading *reading, const char *where, struct fr_yaml *set, struct fr_yaml *at,
                      struct learner_part *part)
{
    if (at->kind != FR_YAML_SCALAR)
        return fr_diagnostics_add(reading->diagnostics, at, "%s: should be a list of names and of lists that are crossed",
                                  where);
    part->name = text_of(at);
    for (int i = 0; i < COUNT_OF(id_parts); i++) {
        if (strcmp(id_parts[i], part->name) == 0) {
            part->kind = (enum learner_part_kind)i;
            return true;
        }
    }
    part->kind = LEARNER_COLUMN;
    return check_column(reading, where, set, at, true);
}

static void add_sparse(const struct learner_reading *reading, const char *where, struct fr_yaml *set, struct fr_yaml *at,
                       struct learner_model *model)
{
    struct learner_sparse *sparse = &model->sparse[model->sparse_count];
    int count = at->kind == FR_YAML_LIST ? at->count : 1;
    char name[SPARSE_NAME_MAX];
    size_t length = 0;

    if (count < 1 || count > LEARNER_PARTS_MAX) {
        fr_diagnostics_add(reading->diagnostics, at, "%s: a cross is of 2 to %d names", where, LEARNER_PARTS_MAX);
        return;
    }
    for (int i = 0; i < count; i++) {
        if (!read_part(reading, where, set, at->kind == FR_YAML_LIST ? at->values[i] : at, &sparse->parts[i]))
            return;
        if (length < sizeof name)
            length += (size_t)snprintf(name + length, sizeof name - length, "%s%s", i ? "*" : "", sparse->parts[i].name);
    }
    if (length >= sizeof name) {
        fr_diagnostics_add(reading->diagnostics, at, "%s: the names of a cross are longer than %d bytes", where,
                           SPARSE_NAME_MAX - 1);
        return;
    }
    for (int i = 0; i < model->sparse_count; i++) {
        if (strcmp(model->sparse[i].name, name) == 0) {
            fr_diagnostics_add(reading->diagnostics, at, "%s: '%s' twice", where, name);
            return;
        }
    }
    sparse->part_count = count;
    sparse->name = fr_arena_copy(reading->arena, fr_slice_of(name));
    if (sparse->name)
        model->sparse_count++;
}

static void read_sparse(const struct learner_reading *reading, const char *model_where, struct fr_yaml *yaml,
                        struct fr_yaml *set, struct learner_model *model)
{
    char where[LEARNER_WHERE_MAX];

    snprintf(where, sizeof where, "%s.sparse", model_where);
    if (!yaml)
        return;
    if (yaml->kind != FR_YAML_LIST || yaml->count > LEARNER_SPARSE_MAX) {
        fr_diagnostics_add(reading->diagnostics, yaml, "%s: should be a list of at most %d names and lists that are crossed",
                           where, LEARNER_SPARSE_MAX);
        return;
    }
    model->sparse = fr_arena_take_zeroed(reading->arena, (size_t)yaml->count + 1, sizeof *model->sparse);
    for (int i = 0; i < yaml->count && model->sparse; i++)
        add_sparse(reading, where, set, yaml->values[i], model);
}

void learner_rows__read(const struct learner_reading *reading, const char *where, struct fr_yaml *yaml, struct fr_yaml *set,
                        struct learner_model *model)
{
    read_dense(reading, where, fr_yaml_get(yaml, "dense"), set, model);
    read_sparse(reading, where, fr_yaml_get(yaml, "sparse"), set, model);
}
