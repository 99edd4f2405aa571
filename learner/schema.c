/* Which numbers stand where in an example: columns chosen, ids hashed. An outside program that does the same gets the same rows. */
#include <freshet/learner.h>
#include <freshet/text.h>

#include <math.h>
#include <string.h>

enum { HASHED_BYTES_MAX = LEARNER_PARTS_MAX * (256 + 1 + 8) };

static const char *column_name(const char *const *user, int user_count, const char *const *item, int index)
{
    return index < user_count ? user[index] : item[index - user_count];
}

/* How well an entry of `dense` names a column: its own name, its feature's, all the rest, not at all. */
static int fit(const char *entry, const char *column)
{
    size_t length = strlen(entry);

    if (strcmp(entry, column) == 0)
        return 3;
    if (strncmp(entry, column, length) == 0 && column[length] == '.')
        return 2;
    return strcmp(entry, "all") == 0 ? 1 : 0;
}

static void choose_dense(struct learner_schema *schema, const char *name, int from)
{
    const struct learner_model *model = schema->model;
    int best = -1, best_fit = 0;

    for (int i = 0; i < model->dense_count; i++) {
        int how = fit(model->dense[i].name, name);

        if (how > best_fit) {
            best = i;
            best_fit = how;
        }
    }
    if (best < 0)
        return;
    schema->dense[schema->dense_count] = name;
    schema->dense_from[schema->dense_count] = from;
    schema->transforms[schema->dense_count++] = model->dense[best].transform;
}

static bool check_dense(const struct learner_schema *schema, struct fr_err *err)
{
    for (int i = 0; i < schema->model->dense_count; i++) {
        const char *entry = schema->model->dense[i].name;
        bool is_found = strcmp(entry, "all") == 0;

        for (int k = 0; k < schema->dense_count && !is_found; k++)
            is_found = fit(entry, schema->dense[k]) > 1;
        if (!is_found)
            return fr_fail(err, FR_BAD_CONFIG,
                           "models.%s.dense: '%s' is no column of feature set '%s'; freshet get "
                           "prints its columns",
                           schema->model->name, entry, schema->model->feature_set);
    }
    return true;
}

/* A column by its name, or by its feature's when that has but one. */
static bool find_column(const struct learner_schema *schema, const char *name, const char *const *user, const char *const *item,
                        int *column, struct fr_err *err)
{
    const char *names[LEARNER_DENSE_MAX];
    int count = schema->user_columns + schema->item_columns, found = 0;
    const char *nearest;

    for (int i = 0; i < count; i++) {
        int how;

        names[i] = column_name(user, schema->user_columns, item, i);
        how = fit(name, names[i]);
        if (how < 2)
            continue;
        *column = i;
        found++;
        if (how == 3)
            return true;
    }
    if (found == 1)
        return true;
    nearest = fr_text_nearest(fr_slice_of(name), names, count);
    return fr_fail(err, FR_BAD_CONFIG, "models.%s.sparse: '%s' names %d columns of feature set '%s'; name one%s%s%s",
                   schema->model->name, name, found, schema->model->feature_set, nearest ? ", as '" : "",
                   nearest ? nearest : "", nearest ? "'" : "");
}

static bool resolve_sparse(struct learner_schema *schema, const char *const *user, const char *const *item, struct fr_err *err)
{
    const struct learner_model *model = schema->model;

    for (int i = 0; i < model->sparse_count; i++) {
        schema->sparse[i] = model->sparse[i].name;
        for (int k = 0; k < model->sparse[i].part_count; k++) {
            const struct learner_part *part = &model->sparse[i].parts[k];

            schema->part_columns[i][k] = -1;
            if (strlen(part->name) > 256)
                return fr_fail(err, FR_BAD_CONFIG, "models.%s.sparse: a name is longer than 256 bytes", model->name);
            if (part->kind >= LEARNER_ITEM_CREATOR_ID && part->kind <= LEARNER_ITEM_CATEGORY_ID)
                schema->needs_item_fields = true;
            if (part->kind == LEARNER_COLUMN && !find_column(schema, part->name, user, item, &schema->part_columns[i][k], err))
                return false;
        }
    }
    schema->sparse_count = model->sparse_count;
    return true;
}

static uint64_t hash_names(const char *const *names, int count, uint64_t hash)
{
    for (int i = 0; i < count; i++)
        hash = fr_text_hash(names[i], strlen(names[i]) + 1, hash);
    return fr_text_hash("|", 1, hash);
}

static uint64_t hash_schema(const struct learner_schema *schema)
{
    const struct learner_model *model = schema->model;
    uint8_t sizes[2] = {(uint8_t)model->bits, (uint8_t)model->factors};
    uint64_t hash = hash_names(schema->dense, schema->dense_count, 0);

    hash = hash_names(schema->sparse, schema->sparse_count, hash);
    for (int i = 0; i < model->task_count; i++)
        hash = fr_text_hash(model->tasks[i].name, strlen(model->tasks[i].name) + 1, hash);
    hash = fr_text_hash(sizes, sizeof sizes, hash);
    return hash ? hash : 1;
}

bool learner_schema_make(const struct learner_model *model, const char *const *user_columns, int user_count,
                         const char *const *item_columns, int item_count, struct fr_arena *arena, struct learner_schema *schema,
                         struct fr_err *err)
{
    size_t columns = (size_t)user_count + (size_t)item_count + 1, sparse = (size_t)model->sparse_count + 1;

    *schema = (struct learner_schema){.model = model, .user_columns = user_count, .item_columns = item_count};
    if (user_count + item_count > LEARNER_DENSE_MAX)
        return fr_fail(err, FR_BAD_CONFIG, "models.%s.feature_set: '%s' has %d columns; a model takes %d at most", model->name,
                       model->feature_set, user_count + item_count, LEARNER_DENSE_MAX);
    schema->dense = fr_arena_take_zeroed(arena, columns, sizeof *schema->dense);
    schema->dense_from = fr_arena_take_zeroed(arena, columns, sizeof *schema->dense_from);
    schema->transforms = fr_arena_take_zeroed(arena, columns, sizeof *schema->transforms);
    schema->sparse = fr_arena_take_zeroed(arena, sparse, sizeof *schema->sparse);
    schema->part_columns = fr_arena_take_zeroed(arena, sparse, sizeof *schema->part_columns);
    if (!schema->dense || !schema->dense_from || !schema->transforms || !schema->sparse || !schema->part_columns)
        return fr_fail(err, FR_EXHAUSTED, "learner: out of memory for the schema of '%s'", model->name);
    for (int i = 0; i < user_count + item_count; i++)
        choose_dense(schema, column_name(user_columns, user_count, item_columns, i), i);
    if (!check_dense(schema, err) || !resolve_sparse(schema, user_columns, item_columns, err))
        return false;
    schema->hash = hash_schema(schema);
    return true;
}

/* ---- rows ---- */

void learner_schema_dense(const struct learner_schema *schema, const float *user_values, const float *item_values, float *dense)
{
    for (int i = 0; i < schema->dense_count; i++) {
        int from = schema->dense_from[i];

        dense[i] = from < schema->user_columns ? user_values[from] : item_values[from - schema->user_columns];
    }
}

uint64_t learner_bucket(double value)
{
    double size = 1 + fabs(value);
    int exponent, bucket;

    if (isnan(value) || value == 0)
        return 0;
    if (isinf(value))
        size = HUGE_VAL;
    if (isinf(size))
        bucket = 2 * 1024;
    else
        /* frexp gives [0.5, 1): 1 + |x| = 2^(exponent−1) × [1, 2). */
        bucket = 1 + (frexp(size, &exponent) >= 0.70710678118654752440 ? 1 : 0) + 2 * (exponent - 1);
    return value > 0 ? (uint64_t)bucket : (uint64_t) - (int64_t)bucket;
}

static uint64_t part_value(const struct learner_schema *schema, int sparse, int part, const struct learner_ids *ids,
                           const float *user_values, const float *item_values)
{
    int column = schema->part_columns[sparse][part];

    switch (schema->model->sparse[sparse].parts[part].kind) {
    case LEARNER_USER_ID:
        return ids->user_id;
    case LEARNER_ITEM_ID:
        return ids->item_id;
    case LEARNER_ROOM_ID:
        return ids->room_id;
    case LEARNER_SCENE:
        return ids->scene;
    case LEARNER_ITEM_CREATOR_ID:
        return ids->item_creator_id;
    case LEARNER_ITEM_ROOM_ID:
        return ids->item_room_id;
    case LEARNER_ITEM_CATEGORY_ID:
        return ids->item_category_id;
    case LEARNER_COLUMN:
        break;
    }
    return learner_bucket(
        (double)(column < schema->user_columns ? user_values[column] : item_values[column - schema->user_columns]));
}

void learner_schema_sparse(const struct learner_schema *schema, const struct learner_ids *ids, const float *user_values,
                           const float *item_values, uint64_t *sparse)
{
    uint64_t mask = (UINT64_C(1) << schema->model->bits) - 1;

    for (int i = 0; i < schema->sparse_count; i++) {
        const struct learner_sparse *spec = &schema->model->sparse[i];
        uint8_t bytes[HASHED_BYTES_MAX];
        size_t length = 0;

        for (int k = 0; k < spec->part_count; k++) {
            uint64_t value = part_value(schema, i, k, ids, user_values, item_values);
            size_t name = strlen(spec->parts[k].name) + 1;

            memcpy(bytes + length, spec->parts[k].name, name);
            length += name;
            for (int b = 0; b < 8; b++)
                bytes[length++] = (uint8_t)(value >> (8 * b));
        }
        sparse[i] = LEARNER_SPARSE_BASE + (fr_text_hash(bytes, length, 0) & mask);
    }
}
