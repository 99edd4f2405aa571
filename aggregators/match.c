/*
 * `last` with `match`: of a user's sequence the records whose event had the same category (creator, room, item) as the candidate's remembered one: hard
 * search in a long history (ALGORITHMS.md 15). It keeps nothing; candidates that remember the same share a sequence, and one
 * pass over the source serves them all.
 */
#include "match.h"
#include "type.h"
#include "values.h"

/* ---- reading ---- */

/* For each key a chain of records, newest first. */
struct found {
    uint32_t *head, *tail, *count; /* by key; a record + 1, 0: none */
    uint32_t *next; /* by record */
};

static bool found_init(struct found *found, int keys, uint32_t records, struct fr_arena *arena)
{
    *found = (struct found){.head = fr_arena_take_zeroed(arena, (size_t)keys, sizeof(uint32_t)),
                            .tail = fr_arena_take_zeroed(arena, (size_t)keys, sizeof(uint32_t)),
                            .count = fr_arena_take_zeroed(arena, (size_t)keys, sizeof(uint32_t)),
                            .next = fr_arena_take_zeroed(arena, (size_t)records + 1, sizeof(uint32_t))};
    return found->head && found->tail && found->count && found->next;
}

static void found_add(struct found *found, int key, uint32_t record)
{
    if (found->head[key] == 0)
        found->head[key] = record + 1;
    else
        found->next[found->tail[key] - 1] = record + 1;
    found->tail[key] = record + 1;
    found->count[key]++;
}

/* Newest first, each to its key's chain while that is shorter than the limit. */
static void search(const struct agg *agg, const struct agg_feature *feature, const struct agg_ring *rings, uint32_t records,
                   const struct agg_keyring *ring, int64_t time_ms, struct found *found)
{
    const struct agg_feature *source = feature->source;

    for (uint32_t record = records; record > 0; record--) {
        const uint64_t *order = agg_sequence__record(rings, source->entity, source->sequence, record - 1);
        uint64_t ids[STORE_KEY_IDS_MAX] = {order[feature->match_word]};
        struct store_key key;
        int at;

        if (agg_entity__is_expired(source->entity, (int64_t)order[0], time_ms))
            return; /* and all that are older */
        if (!agg_key__make(feature->matched, ids, &key))
            continue;
        at = agg_keyring__find(ring, &key, store_key_hash(agg->store, &key));
        if (at >= 0 && found->count[at] < feature->limit)
            found_add(found, at, record - 1);
    }
}

static bool give(const struct agg_feature *feature, const struct agg_ring *rings, const struct found *found, int key,
                 struct fr_arena *arena, struct agg_sequence *sequence)
{
    uint32_t *records = fr_arena_take_zeroed(arena, (size_t)found->count[key] + 1, sizeof *records);
    uint32_t count = 0;

    if (!records)
        return false;
    for (uint32_t at = found->head[key]; at != 0; at = found->next[at - 1])
        records[count++] = at - 1;
    return agg_values__records(rings, feature->source, records, count, arena, sequence);
}

static bool read_keys(struct agg *agg, const struct agg_feature *feature, const struct agg_ring *rings,
                      const struct agg_keyring *ring, const struct agg_request *request, struct fr_arena *arena,
                      struct agg_sequence *sequences)
{
    uint32_t records = rings ? rings[feature->source->sequence].count : 0;
    struct found found;

    if (!found_init(&found, ring->count, records, arena))
        return false;
    search(agg, feature, rings, records, ring, request->time_ms, &found);
    for (int i = 0; i < ring->count; i++) {
        sequences[i].name = feature->name;
        sequences[i].key = ring->keys[i].ids[0];
        if (!agg_keyring__rows(ring, i, arena, &sequences[i]) || !give(feature, rings, &found, i, arena, &sequences[i]))
            return false;
    }
    return true;
}

bool agg_match__read(struct agg *agg, const struct agg_feature *feature, const struct agg_request *request,
                     const struct agg_remembered *remembered, struct fr_arena *arena, struct agg_sequence *sequences,
                     int *count, struct fr_err *err)
{
    uint64_t ids[STORE_KEY_IDS_MAX] = {request->user_id};
    struct store_entry *entry = NULL;
    const struct agg_ring *rings = NULL;
    struct agg_keyring ring;
    struct store_key key;
    uint32_t bytes;
    bool ok = agg_keyring__collect(agg, feature->matched, request, remembered, NULL, 0, arena, &ring);

    if (ok && agg_key__make(feature->entity, ids, &key))
        entry = store_entry_lock(agg->store, &key, store_key_hash(agg->store, &key), false);
    if (entry && !store_entry_is_corrupt(entry))
        rings = store_entry_read(entry, STORE_PART_SEQUENCES, &bytes);
    ok = ok && read_keys(agg, feature, rings, &ring, request, arena, sequences + *count);
    if (entry)
        store_entry_unlock(agg->store, entry);
    if (!ok)
        return fr_fail(err, FR_EXHAUSTED, "the reply grows beyond its limit; ask for fewer items or features");
    *count += ring.count;
    return true;
}

/* ---- settings ---- */

static const uint8_t match_fields[] = {PROTO_FIELD_CATEGORY_ID, PROTO_FIELD_CREATOR_ID, PROTO_FIELD_ROOM_ID,
                                       PROTO_FIELD_ITEM_ID};
enum { MATCH_FIELDS = sizeof match_fields / sizeof match_fields[0] };

static bool parse_match(struct agg_parse *parse)
{
    struct fr_yaml *of = fr_yaml_get(parse->map, "of"), *match = fr_yaml_get(parse->map, "match");
    const char *names[MATCH_FIELDS];
    int64_t limit = 0;
    int field = match && match->kind == FR_YAML_SCALAR ? proto_field_number(match->text) : 0;
    bool ok = fr_yaml_int(parse->map, "limit", 1, AGG_LIMIT_MAX, &limit, parse->diagnostics);

    if (ok && limit == 0)
        ok = agg_parse__tell(parse, parse->at, "limit", "missing; say how many events to show");
    parse->feature->limit = (uint32_t)limit;
    if (!of)
        ok = agg_parse__tell(parse, parse->at, "of", "missing; name one of the user's sequences");
    if (!match || match->kind != FR_YAML_SCALAR)
        return agg_parse__tell(parse, match ? match : parse->at, "match", "should be a field that items remember, category_id");
    for (int i = 0; i < MATCH_FIELDS; i++) {
        names[i] = proto_field_name(match_fields[i]);
        if (match_fields[i] == field)
            parse->feature->match_word = agg_order__word(field);
    }
    if (parse->feature->match_word == 0)
        return agg_parse__tell_nearest(parse, match, "match", names, MATCH_FIELDS);
    return ok;
}

/* The source keeps what is matched, whether it shows it or not. */
static bool link_match(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature;
    struct fr_yaml *of = fr_yaml_get(parse->map, "of");
    struct agg_feature *source = agg_parse__feature(parse, of, "of", false);
    struct agg_entity *matched = fr_arena_take_zeroed(parse->catalogue->arena, 1, sizeof *matched);

    if (!source || !matched)
        return false;
    if (source->aggregate != AGG_LAST)
        return agg_parse__tell(parse, of, "of", "is no sequence; name a feature with aggregate: last");
    if (!source->entity->has_user || source->entity->key_count != 1)
        return agg_parse__tell(parse, of, "of", "should be a sequence of the user");
    matched->name = feature->name;
    matched->key[0] = (uint8_t)proto_field_number(fr_yaml_get(parse->map, "match")->text);
    matched->key_count = 1;
    feature->matched = matched;
    feature->source = source;
    feature->field_count = source->field_count;
    memcpy(feature->field_names, source->field_names, sizeof feature->field_names);
    if (source->order_words <= feature->match_word)
        source->order_words = feature->match_word + 1;
    return true;
}

static void define_match(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; search of %s by %s", feature->source->name, proto_field_name(feature->matched->key[0]));
}

static const char *const keys[] = {"of", "match", "limit", NULL};

const struct agg_type agg_type__match = {.name = "last",
                                         .keys = keys,
                                         .emits = 1 << AGG_OUTPUT_VALUE,
                                         .parse = parse_match,
                                         .link = link_match,
                                         .define = define_match};
