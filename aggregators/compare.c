/*
 * What a changed configuration does to the state in a store, told to people: each entity's and feature's fate as registry.c judges it
 * at opening, and what changed, old and new. A feature's definition is one line of parts with "; " between them; parts are compared
 * by their first word, so that a part that a later version adds shows here by itself.
 */
#include "registry.h"

#include <freshet/text.h>

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>

enum { REASONS_MAX = 24, PARTS_MAX = 20 };

struct part { /* of a definition */
    struct fr_slice name, value;
};

static const char *copy_buffer(struct fr_arena *arena, struct fr_buffer *text)
{
    const char *copy = text->is_failed ? NULL : fr_arena_copy(arena, fr_buffer_slice(text));

    fr_buffer_fini(text);
    return copy;
}

/* False: the arena is full. */
static bool add_reason(struct agg_change *change, const char *what, const char *was, const char *now)
{
    if (!what || !was || !now)
        return false;
    if (change->reason_count < REASONS_MAX && strcmp(was, now) != 0)
        change->reasons[change->reason_count++] = (struct agg_reason){.what = what, .was = was, .now = now};
    return true;
}

/* ---- the parts of a definition ---- */

/* "count of item_id in item; actions 8; where value >= 3 and …": `where` is the last and may itself hold what looks like a part. */
static int split_definition(struct fr_slice definition, struct part parts[PARTS_MAX])
{
    const char *at = (const char *)definition.bytes, *end = at + definition.length;
    int count = 0;

    while (at < end && count < PARTS_MAX) {
        bool is_where = end - at > 6 && memcmp(at, "where ", 6) == 0;
        const char *stop = is_where ? NULL : memmem(at, (size_t)(end - at), "; ", 2);
        const char *space;

        stop = stop && count < PARTS_MAX - 1 ? stop : end;
        space = count == 0 ? NULL : memchr(at, ' ', (size_t)(stop - at));
        parts[count].name = count == 0 ? fr_slice_of("aggregate") : fr_slice(at, (size_t)((space ? space : stop) - at));
        parts[count].value = count == 0 ? fr_slice(at, (size_t)(stop - at))
                             : space    ? fr_slice(space + 1, (size_t)(stop - space - 1))
                                        : fr_slice_of("true"); /* a mark, as `seen` */
        count++;
        at = stop == end ? end : stop + 2;
    }
    return count;
}

/* Bits as the names that they stand for. */
static const char *print_names(struct fr_arena *arena, struct fr_slice hex, const char *(*name_of)(uint32_t), uint32_t most)
{
    char digits[16] = {0};
    struct fr_buffer text;
    uint32_t bits;

    memcpy(digits, hex.bytes, hex.length < sizeof digits - 1 ? hex.length : sizeof digits - 1);
    bits = (uint32_t)strtoul(digits, NULL, 16);
    if (bits == UINT32_MAX)
        return "all";
    fr_buffer_init(&text);
    for (uint32_t i = 1; i < most; i++) {
        if ((bits >> i & 1) != 0)
            fr_buffer_append_format(&text, "%s%s", text.length > 0 ? ", " : "", name_of(i));
    }
    return copy_buffer(arena, &text);
}

static const char *print_part(struct fr_arena *arena, const struct part *part)
{
    struct fr_slice value;

    if (!part)
        return "";
    value = part->value;
    while (value.length > 0 && ((const char *)value.bytes)[value.length - 1] == ' ')
        value.length--; /* the spelling of conditions puts a space behind each word */
    if (fr_slice_is(part->name, "actions"))
        return print_names(arena, part->value, proto_action_name, PROTO_ACTIONS);
    if (fr_slice_is(part->name, "scenes"))
        return print_names(arena, part->value, proto_scene_name, PROTO_SCENES);
    return fr_arena_copy(arena, value);
}

static const struct part *find_part(const struct part *parts, int count, struct fr_slice name)
{
    for (int i = 0; i < count; i++) {
        if (fr_slice_equal(parts[i].name, name))
            return &parts[i];
    }
    return NULL;
}

static bool explain_definition(struct agg_change *change, struct fr_slice was, struct fr_slice now, struct fr_arena *arena)
{
    struct part was_parts[PARTS_MAX], now_parts[PARTS_MAX];
    int was_count = split_definition(was, was_parts), now_count = split_definition(now, now_parts);
    bool ok = true;

    for (int i = 0; i < was_count && ok; i++) {
        const struct part *other = find_part(now_parts, now_count, was_parts[i].name);

        ok = add_reason(change, fr_arena_copy(arena, was_parts[i].name), print_part(arena, &was_parts[i]),
                        print_part(arena, other));
    }
    for (int i = 0; i < now_count && ok; i++) {
        if (!find_part(was_parts, was_count, now_parts[i].name))
            ok = add_reason(change, fr_arena_copy(arena, now_parts[i].name), "", print_part(arena, &now_parts[i]));
    }
    return ok;
}

/* ---- features ---- */

static const char *print_windows(struct fr_arena *arena, const int64_t *windows_ms, uint64_t count)
{
    struct fr_buffer text;

    fr_buffer_init(&text);
    for (uint64_t i = 0; i < count; i++) {
        char span[24];

        fr_text_span_print(windows_ms[i], span);
        fr_buffer_append_format(&text, "%s%s", i > 0 ? ", " : "", span);
    }
    return copy_buffer(arena, &text);
}

static const char *print_number(struct fr_arena *arena, uint64_t value)
{
    char text[24];

    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return fr_arena_copy(arena, fr_slice_of(text));
}

static bool explain_feature(struct agg_change *change, const struct agg_kept_slot *slot, const struct agg_feature *feature,
                            struct fr_arena *arena)
{
    bool ok = !slot->is_retired || add_reason(change, "in the configuration", "removed before", "back again");

    ok = ok && explain_definition(change, slot->definition, fr_slice_of(feature->definition), arena);
    ok = ok && add_reason(change, "windows", print_windows(arena, slot->windows_ms, slot->window_count),
                          print_windows(arena, feature->windows_ms, (uint64_t)feature->window_count));
    ok = ok && add_reason(change, "limit", print_number(arena, slot->limit), print_number(arena, feature->limit));
    return ok && add_reason(change, "emit", print_number(arena, slot->emit), print_number(arena, feature->emits));
}

/* What the node makes for itself has a name that agg_name__check() refuses to users. */
static bool is_hidden(const char *name)
{
    while (isalnum((unsigned char)*name) || *name == '_')
        name++;
    return *name != 0;
}

static bool make_room(struct agg_change *change, struct fr_arena *arena)
{
    change->reasons = fr_arena_take_zeroed(arena, REASONS_MAX, sizeof *change->reasons);
    return change->name && change->reasons;
}

static bool compare_features(const struct agg_catalogue *catalogue, const struct agg_registry *registry, struct fr_arena *arena,
                             struct agg_comparison *comparison)
{
    size_t most = (size_t)catalogue->feature_count + registry->slot_count + 1;

    comparison->features = fr_arena_take_zeroed(arena, most, sizeof *comparison->features);
    if (!comparison->features)
        return false;
    for (int i = 0; i < catalogue->feature_count; i++) {
        const struct agg_feature *feature = catalogue->features[i];
        const struct agg_kept_slot *slot = agg_registry__slot(registry, feature->name);
        struct agg_change *change = &comparison->features[comparison->feature_count++];

        change->name = fr_arena_copy(arena, fr_slice_of(feature->name));
        change->fate = agg_registry__judge_slot(slot, feature);
        change->generation = slot ? (uint32_t)slot->generation + (change->fate == AGG_EMPTY) : 1;
        if (!make_room(change, arena) || (slot && !explain_feature(change, slot, feature, arena)))
            return false;
        change->is_hidden = is_hidden(change->name);
    }
    for (uint64_t i = 0; i < registry->slot_count; i++) {
        const struct agg_kept_slot *slot = &registry->slots[i];
        struct agg_change *change = &comparison->features[comparison->feature_count];

        if (slot->is_retired || agg_catalogue__feature(catalogue, slot->name))
            continue;
        *change = (struct agg_change){.name = fr_arena_copy(arena, slot->name), .fate = AGG_REMOVED};
        if (!make_room(change, arena))
            return false;
        change->is_hidden = is_hidden(change->name);
        comparison->feature_count++;
    }
    return true;
}

/* ---- entities ---- */

static const char *print_key(struct fr_arena *arena, const uint8_t *key, uint64_t count)
{
    struct fr_buffer text;

    fr_buffer_init(&text);
    for (uint64_t i = 0; i < count; i++)
        fr_buffer_append_format(&text, "%s%s", i > 0 ? ", " : "",
                                key[i] >= AGG_KEY_JOINED ? "a table's field" : proto_field_name(key[i]));
    return copy_buffer(arena, &text);
}

static const char *print_retention(struct fr_arena *arena, int64_t retention_ms)
{
    char span[24];

    fr_text_span_print(retention_ms, span);
    return retention_ms == 0 ? "for ever" : fr_arena_copy(arena, fr_slice_of(span));
}

static bool explain_entity(struct agg_change *change, const struct agg_kept_kind *kind, const struct agg_entity *entity,
                           struct fr_arena *arena)
{
    bool ok = !kind->is_retired || add_reason(change, "in the configuration", "removed before", "back again");

    ok = ok && add_reason(change, "key", print_key(arena, kind->key, kind->key_count),
                          print_key(arena, entity->key, (uint64_t)entity->key_count));
    return ok && (kind->retention_ms < 0 || add_reason(change, "retention", print_retention(arena, kind->retention_ms),
                                                       print_retention(arena, entity->retention_ms)));
}

static bool compare_entities(const struct agg_catalogue *catalogue, const struct agg_registry *registry, struct fr_arena *arena,
                             struct agg_comparison *comparison)
{
    size_t most = (size_t)catalogue->entity_count + registry->kind_count + 1;

    comparison->entities = fr_arena_take_zeroed(arena, most, sizeof *comparison->entities);
    if (!comparison->entities)
        return false;
    for (int i = 0; i < catalogue->entity_count; i++) {
        const struct agg_entity *entity = catalogue->entities[i];
        const struct agg_kept_kind *kind = agg_registry__kind(registry, entity->name);
        struct agg_change *change = &comparison->entities[comparison->entity_count++];

        change->name = fr_arena_copy(arena, fr_slice_of(entity->name));
        change->fate = agg_registry__judge_kind(kind, entity);
        change->is_hidden = entity->is_hidden;
        change->kind_was = kind ? (uint8_t)kind->number : 0;
        if (!make_room(change, arena) || (kind && !explain_entity(change, kind, entity, arena)))
            return false;
    }
    for (uint64_t i = 0; i < registry->kind_count; i++) {
        const struct agg_kept_kind *kind = &registry->kinds[i];
        struct agg_change *change = &comparison->entities[comparison->entity_count];

        if (kind->is_retired || agg_catalogue__entity(catalogue, kind->name))
            continue;
        *change = (struct agg_change){
            .name = fr_arena_copy(arena, kind->name), .fate = AGG_REMOVED, .kind_was = (uint8_t)kind->number};
        if (!make_room(change, arena))
            return false;
        change->is_hidden = is_hidden(change->name);
        comparison->entity_count++;
    }
    return true;
}

bool agg_catalogue_compare(const struct agg_catalogue *catalogue, struct store *store, struct fr_arena *arena,
                           struct agg_comparison *comparison, struct fr_err *err)
{
    struct agg_registry registry;

    *comparison = (struct agg_comparison){0};
    if (!agg_registry__read(store, arena, &registry, err))
        return false;
    return (compare_entities(catalogue, &registry, arena, comparison) &&
            compare_features(catalogue, &registry, arena, comparison)) ||
           fr_fail(err, FR_EXHAUSTED, "aggregators: a catalogue too large to compare");
}
