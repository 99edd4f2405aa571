/*
 * Read plans: what a request names, compiled to columns by entity, in the order of the reply. Plans never change and live as long as
 * the aggregators, so that server loops share them; the cache they hang in is bounded, since clients choose what they ask.
 */
#include "internal.h"

#include <freshet/text.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

enum { PLANS_MAX = 1024, PLAN_BYTES_MAX = 4 << 20, PLAN_NAMES_MAX = 1024, PLAN_BUCKETS = 256 };

/*
 * A lock outside of store and base: server loops compile plans when a client first asks for something, and the next loop needs
 * the same one. It is held for a look at one bucket, or to hang in what was compiled outside of it.
 */
struct agg_plans {
    pthread_mutex_t lock;
    struct agg_plan *buckets[PLAN_BUCKETS];
    int count;
};

/* In the order of agg__attribute_fields. */
static const char *const item_field_names[AGG_ATTRIBUTES] = {"item.creator_id", "item.room_id", "item.category_id",
                                                             "item.duration_s"};

struct choice { /* one column, or a sequence */
    const struct agg_feature *feature;
    int window;
};

/* What a plan is compiled from and into: first the names become choices, then the choices columns of exactly enough room. */
struct compile {
    const struct agg_catalogue *catalogue;
    struct agg_plan *plan;
    struct fr_buffer choices; /* struct choice */
    struct fr_buffer fields; /* attributes as bytes */
    struct fr_err *err;
};

struct agg_plans *agg_plans__new(void)
{
    struct agg_plans *plans = calloc(1, sizeof *plans);

    if (plans)
        pthread_mutex_init(&plans->lock, NULL);
    return plans;
}

static void plan_free(struct agg_plan *plan)
{
    if (plan)
        fr_arena_free(plan->arena); /* the plan lies in it */
}

void agg_plans__free(struct agg_plans *plans)
{
    if (!plans)
        return;
    for (int i = 0; i < PLAN_BUCKETS; i++) {
        while (plans->buckets[i]) {
            struct agg_plan *plan = plans->buckets[i];

            plans->buckets[i] = plan->next;
            plan_free(plan);
        }
    }
    pthread_mutex_destroy(&plans->lock);
    free(plans);
}

static bool fail_memory(struct fr_err *err)
{
    return fr_fail(err, FR_EXHAUSTED, "features: out of memory");
}

/* ---- names to choices ---- */

static void choose(struct compile *compile, const struct agg_feature *feature, int window)
{
    struct choice choice = {feature, window};

    fr_buffer_append(&compile->choices, &choice, sizeof choice);
}

static void add_feature(struct compile *compile, const struct agg_feature *feature, int window)
{
    if (feature->aggregate == AGG_LAST)
        choose(compile, feature, -1);
    for (int i = 0; i < feature->window_count; i++) {
        if (window < 0 || window == i)
            choose(compile, feature, i);
    }
}

static bool is_item_field(struct fr_slice name)
{
    return name.length > 5 && memcmp(name.bytes, "item.", 5) == 0;
}

static bool add_item_field(struct compile *compile, struct fr_slice name)
{
    struct fr_slice field = fr_slice((const char *)name.bytes + 5, name.length - 5);
    const char *names[AGG_ATTRIBUTES];
    const char *nearest;
    int attribute = agg_attribute__index(proto_field_number(field));

    if (!compile->catalogue->item)
        return fr_fail(compile->err, FR_BAD_INPUT, "features: '%.*s': no entity has the key [item_id]", (int)name.length,
                       (const char *)name.bytes);
    if (attribute >= 0) {
        fr_buffer_append_byte(&compile->fields, (uint8_t)attribute);
        return true;
    }
    for (int i = 0; i < AGG_ATTRIBUTES; i++)
        names[i] = proto_field_name(agg__attribute_fields[i]);
    nearest = fr_text_nearest(field, names, AGG_ATTRIBUTES);
    return fr_fail(compile->err, FR_BAD_INPUT, "features: items remember no '%.*s'; use item.%s", (int)field.length,
                   (const char *)field.bytes,
                   nearest ? nearest : "creator_id, item.room_id, item.category_id or item.duration_s");
}

static bool add_name(struct compile *compile, struct fr_slice name)
{
    struct agg_feature *feature;
    int window;

    if (is_item_field(name) && !agg_catalogue__feature(compile->catalogue, fr_slice("item", 4)))
        return add_item_field(compile, name);
    if (!agg_catalogue__resolve(compile->catalogue, name, &feature, &window, compile->err))
        return fr_fail_in(compile->err, "features");
    add_feature(compile, feature, window);
    return true;
}

static const struct agg_set *find_set(const struct agg_catalogue *catalogue, const char *name, struct fr_err *err)
{
    const char *nearest;
    const char **names;

    for (int i = 0; i < catalogue->set_count; i++) {
        if (strcmp(catalogue->sets[i].name, name) == 0)
            return &catalogue->sets[i];
    }
    names = calloc((size_t)catalogue->set_count + 1, sizeof *names);
    for (int i = 0; names && i < catalogue->set_count; i++)
        names[i] = catalogue->sets[i].name;
    nearest = names ? fr_text_nearest(fr_slice_of(name), names, catalogue->set_count) : NULL;
    fr_fail(err, FR_BAD_INPUT, "feature_set: unknown set '%.100s'%s%s%s", name, nearest ? "; did you mean '" : "",
            nearest ? nearest : "", nearest ? "'?" : "");
    free(names);
    return NULL;
}

static bool add_all(struct compile *compile, const char *feature_set, char *const *names, int count)
{
    if (*feature_set) {
        const struct agg_set *set = find_set(compile->catalogue, feature_set, compile->err);

        if (!set)
            return false;
        for (int i = 0; i < set->count; i++) {
            if (!add_name(compile, fr_slice_of(set->names[i])))
                return false;
        }
    }
    for (int i = 0; i < count; i++) {
        if (!add_name(compile, fr_slice_of(names[i])))
            return false;
    }
    for (int i = 0; i < compile->catalogue->feature_count && !*feature_set && count == 0; i++)
        add_feature(compile, compile->catalogue->features[i], -1);
    return true;
}

/* ---- choices to columns ---- */

static bool is_users(const struct agg_entity *entity)
{
    return entity->has_user && entity->key_count == 1;
}

static struct agg_step *find_step(struct agg_step *steps, int count, const struct agg_entity *entity)
{
    for (int i = 0; i < count; i++) {
        if (steps[i].entity == entity)
            return &steps[i];
    }
    return NULL;
}

static struct agg_step *step_of(struct agg_plan *plan, const struct agg_entity *entity)
{
    return is_users(entity) ? find_step(plan->user_steps, plan->user_step_count, entity)
                            : find_step(plan->item_steps, plan->item_step_count, entity);
}

/* A step for the entity with room for what was chosen of it. */
static bool step_add(struct compile *compile, const struct agg_entity *entity)
{
    struct agg_plan *plan = compile->plan;
    const struct choice *choices = (const void *)compile->choices.bytes;
    size_t count = compile->choices.length / sizeof *choices, columns = 0, sequences = 0;
    struct agg_step *step;

    for (size_t i = 0; i < count; i++) {
        if (choices[i].feature->entity != entity)
            continue;
        columns += choices[i].window >= 0;
        sequences += choices[i].window < 0;
    }
    if (columns + sequences == 0 && entity != compile->catalogue->user && entity != compile->catalogue->item)
        return true;
    step = is_users(entity) ? &plan->user_steps[plan->user_step_count++] : &plan->item_steps[plan->item_step_count++];
    step->entity = entity;
    step->columns = fr_arena_take_zeroed(plan->arena, columns + 1, sizeof *step->columns);
    step->sequences = fr_arena_take_zeroed(plan->arena, sequences + 1, sizeof *step->sequences);
    return step->columns && step->sequences;
}

/* The user's and the item's own steps come first. */
static bool add_steps(struct compile *compile)
{
    const struct agg_catalogue *catalogue = compile->catalogue;
    struct agg_plan *plan = compile->plan;
    size_t entities = (size_t)catalogue->entity_count;

    plan->user_steps = fr_arena_take_zeroed(plan->arena, entities, sizeof *plan->user_steps);
    plan->item_steps = fr_arena_take_zeroed(plan->arena, entities, sizeof *plan->item_steps);
    if (!plan->user_steps || !plan->item_steps || !step_add(compile, catalogue->user))
        return false;
    if (catalogue->item && !step_add(compile, catalogue->item))
        return false;
    for (size_t i = 0; i < entities; i++) {
        const struct agg_entity *entity = catalogue->entities[i];

        if (entity != catalogue->user && entity != catalogue->item && !step_add(compile, entity))
            return false;
    }
    return true;
}

static void add_sequence(struct agg_plan *plan, struct agg_step *step, const struct agg_feature *feature)
{
    for (int i = 0; i < step->sequence_count; i++) {
        if (step->sequences[i] == feature)
            return; /* once is enough: a sequence has a name, not a place */
    }
    step->sequences[step->sequence_count++] = feature;
    plan->sequence_count++;
}

static struct agg_column column_of(const struct agg_feature *feature, const struct agg_window *window, int column)
{
    return (struct agg_column){.feature = feature,
                               .window = window,
                               .column = column,
                               .span = window->span,
                               .total_at = window->total_at,
                               .measure = feature->measure};
}

static void add_columns(struct compile *compile)
{
    struct agg_plan *plan = compile->plan;
    const struct choice *choices = (const void *)compile->choices.bytes;
    size_t count = compile->choices.length / sizeof *choices;

    for (size_t i = 0; i < count; i++) {
        const struct agg_feature *feature = choices[i].feature;
        struct agg_step *step = step_of(plan, feature->entity);
        const char **names = is_users(feature->entity) ? plan->user_columns : plan->item_columns;
        int *column = is_users(feature->entity) ? &plan->user_column_count : &plan->item_column_count;

        if (choices[i].window < 0) {
            add_sequence(plan, step, feature);
            continue;
        }
        step->columns[step->column_count++] =
            column_of(choices[i].feature, &choices[i].feature->windows[choices[i].window], *column);
        names[(*column)++] = feature->columns[choices[i].window];
    }
}

static bool add_item_fields(struct compile *compile)
{
    struct agg_plan *plan = compile->plan;
    size_t count = compile->fields.length;

    plan->fields = fr_arena_take_zeroed(plan->arena, count + 1, 1);
    plan->field_names = fr_arena_take_zeroed(plan->arena, count + 1, sizeof(const char *));
    if (!plan->fields || !plan->field_names)
        return false;
    for (size_t i = 0; i < count; i++) {
        plan->fields[i] = compile->fields.bytes[i];
        plan->field_names[i] = item_field_names[plan->fields[i]];
    }
    plan->field_count = (int)count;
    return true;
}

static bool compile_choices(struct compile *compile)
{
    struct agg_plan *plan = compile->plan;
    size_t most = compile->choices.length / sizeof(struct choice) + 1;

    plan->user_columns = fr_arena_take_zeroed(plan->arena, most, sizeof(const char *));
    plan->item_columns = fr_arena_take_zeroed(plan->arena, most, sizeof(const char *));
    if (compile->choices.is_failed || compile->fields.is_failed || !plan->user_columns || !plan->item_columns ||
        !add_steps(compile) || !add_item_fields(compile))
        return fail_memory(compile->err);
    add_columns(compile);
    return true;
}

static bool compile_plan(struct compile *compile, const char *feature_set, char *const *names, int count)
{
    bool ok;

    fr_buffer_init(&compile->choices);
    fr_buffer_init(&compile->fields);
    ok = add_all(compile, feature_set, names, count) && compile_choices(compile);
    fr_buffer_fini(&compile->choices);
    fr_buffer_fini(&compile->fields);
    return ok;
}

/* ---- the cache ---- */

/* What was asked, as one text: lengths tell the names apart. */
static void spell(const char *feature_set, char *const *names, int count, struct fr_buffer *asked)
{
    fr_buffer_append_varint(asked, strlen(feature_set));
    fr_buffer_append_text(asked, feature_set);
    for (int i = 0; i < count; i++) {
        fr_buffer_append_varint(asked, strlen(names[i]));
        fr_buffer_append_text(asked, names[i]);
    }
}

static struct agg_plan *cache_find(struct agg_plans *plans, size_t bucket, struct fr_slice asked)
{
    struct agg_plan *plan = plans->buckets[bucket];

    while (plan && !fr_slice_equal(plan->asked, asked))
        plan = plan->next;
    return plan;
}

/* Hangs the plan in, unless another thread was faster: then that one. NULL: the cache is full. */
static struct agg_plan *cache_add(struct agg_plans *plans, size_t bucket, struct agg_plan *plan)
{
    struct agg_plan *there;

    pthread_mutex_lock(&plans->lock);
    there = cache_find(plans, bucket, plan->asked);
    if (!there && plans->count < PLANS_MAX) {
        plan->next = plans->buckets[bucket];
        plans->buckets[bucket] = plan;
        plans->count++;
        there = plan;
    }
    pthread_mutex_unlock(&plans->lock);
    return there;
}

static struct agg_plan *plan_new(struct agg *agg, const char *feature_set, char *const *names, int count, struct fr_slice asked,
                                 struct fr_err *err)
{
    struct fr_arena *arena = fr_arena_new(PLAN_BYTES_MAX);
    struct agg_plan *plan = arena ? fr_arena_take_zeroed(arena, 1, sizeof *plan) : NULL;
    struct compile compile = {.catalogue = agg->catalogue, .plan = plan, .err = err};

    if (!plan) {
        fail_memory(err);
        if (arena)
            fr_arena_free(arena);
        return NULL;
    }
    plan->arena = arena;
    plan->asked = fr_slice(fr_arena_copy(arena, asked), asked.length);
    if (!plan->asked.bytes)
        fail_memory(err);
    if (!plan->asked.bytes || !compile_plan(&compile, feature_set, names, count)) {
        plan_free(plan);
        return NULL;
    }
    return plan;
}

static bool plan_get(struct agg *agg, const char *feature_set, char *const *names, int count, struct fr_slice asked,
                     const struct agg_plan **plan, struct fr_err *err)
{
    size_t bucket = fr_text_hash(asked.bytes, asked.length, 0) % PLAN_BUCKETS;
    struct agg_plan *found, *made;

    pthread_mutex_lock(&agg->plans->lock);
    found = cache_find(agg->plans, bucket, asked);
    pthread_mutex_unlock(&agg->plans->lock);
    if (!found) {
        made = plan_new(agg, feature_set, names, count, asked, err);
        if (!made)
            return false;
        found = cache_add(agg->plans, bucket, made);
        if (found != made)
            plan_free(made);
        if (!found)
            return fr_fail(err, FR_EXHAUSTED,
                           "features: more than %d different lists were asked for; name them in feature_sets", PLANS_MAX);
    }
    *plan = found;
    return true;
}

bool agg_plan_get(struct agg *agg, const char *feature_set, char *const *names, int count, const struct agg_plan **plan,
                  struct fr_err *err)
{
    struct fr_buffer asked;
    bool ok;

    if (count > PLAN_NAMES_MAX)
        return fr_fail(err, FR_BAD_INPUT, "features: %d names; use at most %d", count, PLAN_NAMES_MAX);
    fr_buffer_init(&asked);
    spell(feature_set, names, count, &asked);
    ok = asked.is_failed ? fail_memory(err) : plan_get(agg, feature_set, names, count, fr_buffer_slice(&asked), plan, err);
    fr_buffer_fini(&asked);
    return ok;
}

int agg_plan_user_columns(const struct agg_plan *plan, const char *const **names)
{
    *names = plan->user_columns;
    return plan->user_column_count;
}

int agg_plan_item_columns(const struct agg_plan *plan, const char *const **names)
{
    *names = plan->item_columns;
    return plan->item_column_count;
}
