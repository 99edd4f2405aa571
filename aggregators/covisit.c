/*
 * `covisit`: which items went with an item in users' sequences. An event that the sequence takes is paired with the ten records nearest
 * to it in time, as the sequence is when it comes; each pair counts once for both items, as a decayed sum of weight 1 at the later
 * moment. An item keeps 4 × limit partners by Space-Saving: a new one takes the place, and the sums, of the lightest.
 *
 * In memory: for each partner and block of 8 half-lives a record, ascending.
 */
#include "covisit.h"
#include "type.h"

#include <math.h>
#include <stdlib.h>

enum { BLOCKS_MAX = 64 /* of a partner */, PARTNERS_MAX = AGG_SPARE * AGG_LIST_LIMIT_MAX };

struct record {
    uint64_t id;
    int64_t number; /* of the block */
    int64_t sum; /* as `decayed` has it; 2^31 pairs at the end of a block stay below 2^63 */
    int64_t latest_ms; /* of the pairs in the block */
};

#define SUM_MOST (INT64_MAX / 2)

/* ---- pairs ---- */

static int64_t apart(int64_t a, int64_t b)
{
    return a > b ? a - b : b - a;
}

int agg_covisit__nearest(const struct agg_feature *feature, const struct agg_ring *rings, uint64_t item_id, int64_t ts_ms,
                         int most, struct agg_pair *pairs)
{
    const struct agg_feature *source = feature->source;
    int item_word = agg_order__word(PROTO_FIELD_ITEM_ID), count = 0;

    for (uint32_t i = rings ? rings[source->sequence].count : 0; i > 0; i--) { /* the greatest first */
        const uint64_t *order = agg_sequence__record(rings, source->entity, source->sequence, i - 1);
        struct agg_pair pair = {.item_id = order[item_word], .ts_ms = (int64_t)order[0]};
        int at = count;

        if (pair.ts_ms < ts_ms - feature->within_ms ||
            (count == most && pair.ts_ms < ts_ms && ts_ms - pair.ts_ms >= apart(pairs[most - 1].ts_ms, ts_ms)))
            break; /* and all before are further away */
        if (pair.item_id == 0 || pair.item_id == item_id || pair.ts_ms > ts_ms + feature->within_ms)
            continue;
        while (at > 0 && apart(pairs[at - 1].ts_ms, ts_ms) > apart(pair.ts_ms, ts_ms))
            at--;
        if (at == most)
            continue;
        count += count < most;
        memmove(&pairs[at + 1], &pairs[at], (size_t)(count - 1 - at) * sizeof *pairs);
        pairs[at] = pair;
    }
    return count;
}

bool agg_covisit__pair(struct agg_lane *lane, const struct agg_feature *source, const struct agg_ring *rings,
                       const struct proto_event *event)
{
    for (const struct agg_feature *feature = source->covisit; feature && event->item_id != 0; feature = feature->next_covisit) {
        struct agg_pair pairs[AGG_PAIRS];
        int count = agg_covisit__nearest(feature, rings, event->item_id, event->ts_ms, AGG_PAIRS, pairs);

        for (int i = 0; i < count; i++) {
            int64_t ts_ms = pairs[i].ts_ms > event->ts_ms ? pairs[i].ts_ms : event->ts_ms;
            struct agg_brought one = {.feature = feature, .id = pairs[i].item_id, .ts_ms = ts_ms};
            struct agg_brought other = {.feature = feature, .id = event->item_id, .ts_ms = ts_ms};
            struct store_key key = {.kind = feature->entity->kind, .id_count = 1, .ids = {event->item_id}};

            if (!agg_lane__bring(lane, &key, &one))
                return false;
            key.ids[0] = pairs[i].item_id;
            if (!agg_lane__bring(lane, &key, &other))
                return false;
        }
    }
    return true;
}

/* ---- which items a batch may pair ---- */

/*
 * Of the records there now, those that one of the user's events may be paired with: when it comes, records of the batch may have taken
 * the place of some, at most as many as the batch has of the user.
 */
static bool want_partners(struct agg_lane *lane, const struct agg_feature *feature, const struct agg_ring *rings,
                          const struct proto_event *event, int shares, struct agg_pair *pairs)
{
    int count = agg_covisit__nearest(feature, rings, event->item_id, event->ts_ms, AGG_PAIRS + shares, pairs);

    for (int i = 0; i < count; i++) {
        struct store_key key = {.kind = feature->entity->kind, .id_count = 1, .ids = {pairs[i].item_id}};

        if (!agg_lane__want(lane, feature->entity, &key))
            return false;
    }
    return true;
}

static bool want_of_user(struct agg_lane *lane, int index, const struct agg_feature *source)
{
    struct store *store = lane->agg->store;
    struct store_entry *entry = store_entry_lock(store, &lane->keys[index], lane->hashes[index], false);
    const struct agg_ring *rings = NULL;
    struct agg_pair *pairs;
    uint32_t bytes;
    int shares = 0;
    bool ok = true;

    if (!entry)
        return true;
    if (!store_entry_is_corrupt(entry))
        rings = store_entry_read(entry, STORE_PART_SEQUENCES, &bytes);
    for (uint32_t at = lane->groups[index].first + 1; at != 0; at = lane->shares[at - 1].next)
        shares++;
    pairs = rings ? malloc((size_t)(AGG_PAIRS + shares) * sizeof *pairs) : NULL;
    ok = !rings || pairs;
    for (uint32_t at = lane->groups[index].first + 1; at != 0 && pairs; at = lane->shares[at - 1].next) {
        const struct proto_event *event = &lane->taken[lane->shares[at - 1].event];

        if (event->item_id == 0 || !agg_feature__takes(source, event))
            continue;
        for (const struct agg_feature *feature = source->covisit; feature && ok; feature = feature->next_covisit)
            ok = want_partners(lane, feature, rings, event, shares, pairs);
    }
    free(pairs);
    store_entry_unlock(store, entry);
    return ok;
}

bool agg_covisit__want(struct agg_lane *lane)
{
    for (int i = 0, count = lane->group_count; i < count; i++) {
        const struct agg_entity *entity = lane->groups[i].entity;

        for (int s = 0; s < entity->sequence_count; s++) {
            if (entity->sequences[s]->covisit && !want_of_user(lane, i, entity->sequences[s]))
                return false;
        }
    }
    return true;
}

/* ---- partners ---- */

/* The first record of (id, number) or a greater one. */
static uint32_t lower_bound(const struct record *records, uint32_t count, uint64_t id, int64_t number)
{
    uint32_t low = 0, high = count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (records[middle].id < id || (records[middle].id == id && records[middle].number < number))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static uint32_t partners(const struct record *records, uint32_t count)
{
    uint32_t found = 0;

    for (uint32_t i = 0; i < count; i++)
        found += i == 0 || records[i].id != records[i - 1].id;
    return found;
}

static uint32_t end_of(const struct record *records, uint32_t count, uint32_t at)
{
    uint32_t end = at + 1;

    while (end < count && records[end].id == records[at].id)
        end++;
    return end;
}

/* 2^8 a block; of blocks that far back nothing is left. */
static double scale_of(int64_t blocks_back)
{
    uint64_t bits = (uint64_t)(1023 - 8 * (blocks_back < 100 ? blocks_back : 100)) << 52; /* an exponent alone */
    double scale;

    memcpy(&scale, &bits, sizeof scale);
    return scale;
}

/* What the partner of records[at … end) weighs beside others, at whatever moment. */
static double weight_of(const struct record *records, uint32_t at, uint32_t end, int64_t newest)
{
    double weight = 0;

    for (uint32_t i = at; i < end; i++)
        weight += (double)records[i].sum * scale_of(newest - records[i].number);
    return weight;
}

/* The lightest partner's first record; of equally light ones the greatest id, which a reply shows last. */
static uint32_t lightest(const struct record *records, uint32_t count)
{
    int64_t newest = 0;
    double least = INFINITY;
    uint32_t found = 0;

    for (uint32_t i = 0; i < count; i++)
        newest = records[i].number > newest ? records[i].number : newest;
    for (uint32_t at = 0, end; at < count; at = end) {
        double weight;

        end = end_of(records, count, at);
        weight = weight_of(records, at, end, newest);
        if (weight <= least) {
            least = weight;
            found = at;
        }
    }
    return found;
}

/* Gives the lightest partner's sums to another. */
static void rename_lightest(struct record *records, uint32_t count, uint64_t id)
{
    struct record moved[BLOCKS_MAX];
    uint32_t at = lightest(records, count), end = end_of(records, count, at), many = end - at, to;

    memcpy(moved, records + at, many * sizeof *moved);
    memmove(records + at, records + end, (count - end) * sizeof *records);
    to = lower_bound(records, count - many, id, 0);
    memmove(records + to + many, records + to, (count - many - to) * sizeof *records);
    for (uint32_t i = 0; i < many; i++) {
        records[to + i] = moved[i];
        records[to + i].id = id;
    }
}

/* A new record in its place; false: out of memory. */
static bool insert(struct agg_cell *cell, const struct record *record)
{
    uint32_t bytes, count, at;
    struct record *records = agg_cell__memory(cell, &bytes);

    count = bytes / (uint32_t)sizeof *records;
    at = lower_bound(records, count, record->id, record->number);
    if (!agg_cell__resize(cell, bytes + (uint32_t)sizeof *records))
        return false;
    records = agg_cell__memory(cell, &bytes);
    memmove(records + at + 1, records + at, (count - at) * sizeof *records);
    records[at] = *record;
    return true;
}

/* Adds what the record says to that of its partner and block. False: out of memory. */
static bool add(struct agg_cell *cell, const struct record *record)
{
    const struct agg_feature *feature = cell->feature;
    uint32_t bytes, count, at;
    struct record *records = agg_cell__memory(cell, &bytes);

    count = bytes / (uint32_t)sizeof *records;
    at = lower_bound(records, count, record->id, 0);
    if ((at == count || records[at].id != record->id) && count >= AGG_SPARE * feature->limit &&
        partners(records, count) >= AGG_SPARE * feature->limit)
        rename_lightest(records, count, record->id);
    at = lower_bound(records, count, record->id, record->number);
    if (at == count || records[at].id != record->id || records[at].number != record->number)
        return insert(cell, record);
    if (records[at].sum < SUM_MOST)
        records[at].sum = record->sum < SUM_MOST ? records[at].sum + record->sum : SUM_MOST;
    if (records[at].latest_ms < record->latest_ms)
        records[at].latest_ms = record->latest_ms;
    return true;
}

static enum agg_added take(struct agg_cell *cell, const struct agg_brought *brought, const struct agg_moment *horizon)
{
    struct record record = {.id = brought->id, .latest_ms = brought->ts_ms};

    record.sum = agg_decayed__unit(cell->feature->half_life_ms, brought->ts_ms, &record.number);
    if (agg_decayed__is_past(cell->feature->half_life_ms, record.number, horizon->time_ms))
        return AGG_TOO_LATE;
    return add(cell, &record) ? AGG_ADDED : AGG_NO_MEMORY;
}

/* Sums of pairs that came elsewhere, each as one heavy pair: as long as partners have room, what one cell of all pairs holds. */
static bool merge(struct agg_cell *into, struct fr_slice from)
{
    const struct record *records = from.bytes;
    const struct agg_feature *feature = into->feature;

    for (size_t i = 0; i < from.length / sizeof *records; i++) {
        if (into->horizon && agg_decayed__is_past(feature->half_life_ms, records[i].number, into->horizon->time_ms))
            continue;
        if (!add(into, &records[i]))
            return false;
    }
    return true;
}

/* The partner whose records end there. */
static bool is_gone(const struct agg_feature *feature, const struct record *records, uint32_t end, int64_t time_ms)
{
    return agg_entity__is_expired(feature->entity, records[end - 1].latest_ms, time_ms) ||
           agg_decayed__is_past(feature->half_life_ms, records[end - 1].number, time_ms);
}

static void prune(struct agg_cell *cell, const struct agg_moment *horizon)
{
    const struct agg_feature *feature = cell->feature;
    uint32_t bytes, kept = 0;
    struct record *records = agg_cell__memory(cell, &bytes);
    uint32_t count = bytes / (uint32_t)sizeof *records;

    for (uint32_t at = 0, end; at < count; at = end) {
        end = end_of(records, count, at);
        if (is_gone(feature, records, end, horizon->time_ms))
            continue;
        for (uint32_t i = at; i < end; i++) {
            if (!agg_decayed__is_past(feature->half_life_ms, records[i].number, horizon->time_ms))
                records[kept++] = records[i];
        }
    }
    if (kept < count && !agg_cell__resize(cell, kept * (uint32_t)sizeof *records))
        return;
}

/* ---- disk ---- */

static void encode(const struct agg_feature *feature, struct fr_slice memory, struct fr_buffer *disk)
{
    const struct record *records = memory.bytes;
    size_t count = memory.length / sizeof *records;

    (void)feature;
    fr_buffer_append_varint(disk, count);
    for (size_t i = 0; i < count; i++) {
        bool is_same = i > 0 && records[i].id == records[i - 1].id;

        fr_buffer_append_varint(disk, records[i].id - (i > 0 ? records[i - 1].id : 0));
        fr_buffer_append_varint(disk, (uint64_t)(records[i].number - (is_same ? records[i - 1].number : 0)));
        fr_buffer_append_varint(disk, (uint64_t)records[i].sum);
        fr_buffer_append_varint(disk, (uint64_t)records[i].latest_ms);
    }
}

static bool decode_record(const struct agg_feature *feature, struct fr_reader *reader, const struct record *before,
                          struct record *record)
{
    uint64_t id = fr_reader_varint(reader), number = fr_reader_varint(reader), sum = fr_reader_varint(reader);
    uint64_t latest_ms = fr_reader_varint(reader);
    bool is_same = id == 0;
    int64_t unit_block;

    if (reader->is_failed || (is_same && (before->id == 0 || number == 0)) || before->id + id < id ||
        number > (uint64_t)PROTO_TS_MS_END || sum == 0 || sum > INT64_MAX || latest_ms == 0 ||
        latest_ms >= (uint64_t)PROTO_TS_MS_END)
        return false;
    *record = (struct record){.id = before->id + id,
                              .number = (int64_t)number + (is_same ? before->number : 0),
                              .sum = (int64_t)sum,
                              .latest_ms = (int64_t)latest_ms};
    (void)agg_decayed__unit(feature->half_life_ms, record->latest_ms, &unit_block);
    return unit_block == record->number;
}

static void decode(struct agg_cell *cell, struct fr_reader *reader)
{
    uint64_t count = fr_reader_varint(reader), many = 0;
    struct record record = {0}, before = {0};

    if (count == 0 || count > (uint64_t)PARTNERS_MAX * BLOCKS_MAX)
        reader->is_failed = true;
    for (uint64_t i = 0; i < count && !reader->is_failed; i++) {
        reader->is_failed = !decode_record(cell->feature, reader, &before, &record);
        many = record.id == before.id ? many + 1 : 1;
        if (!reader->is_failed && (many > BLOCKS_MAX || !insert(cell, &record)))
            reader->is_failed = true;
        before = record;
    }
}

static void digest(const struct agg_feature *feature, struct fr_slice memory, const struct agg_moment *moment,
                   struct agg_facts *facts)
{
    const struct record *records = memory.bytes;
    uint32_t count = (uint32_t)(memory.length / sizeof *records);

    for (uint32_t at = 0, end; at < count; at = end) {
        end = end_of(records, count, at);
        for (uint32_t i = at; i < end && !is_gone(feature, records, end, moment->time_ms); i++) {
            if (!agg_decayed__is_past(feature->half_life_ms, records[i].number, moment->time_ms))
                agg_facts__add_cell(facts, feature, (const uint64_t *)&records[i], sizeof records[i] / sizeof(uint64_t));
        }
    }
}

static int64_t bytes_most(const struct agg_feature *feature)
{
    return AGG_SPARE * (int64_t)feature->limit * 5 * (int64_t)sizeof(struct record);
}

/* ---- reading ---- */

size_t agg_covisit__most(struct fr_slice memory)
{
    return memory.length / sizeof(struct record);
}

uint32_t agg_covisit__read(const struct agg_feature *feature, struct fr_slice memory, int64_t time_ms,
                           struct agg_ranked *ranked)
{
    const struct record *records = memory.bytes;
    uint32_t count = (uint32_t)(memory.length / sizeof *records), found = 0;

    for (uint32_t at = 0, end; at < count; at = end) {
        double sum = 0;

        end = end_of(records, count, at);
        if (is_gone(feature, records, end, time_ms))
            continue;
        for (uint32_t i = at; i < end; i++)
            sum += agg_decayed__left(feature->half_life_ms, records[i].number, (double)records[i].sum, time_ms);
        if (sum > 0)
            ranked[found++] = (struct agg_ranked){.id = records[at].id, .latest_ms = records[end - 1].latest_ms, .score = sum};
    }
    return found;
}

/* ---- settings ---- */

static bool parse_covisit(struct agg_parse *parse)
{
    int64_t limit = 0;
    bool ok = fr_yaml_int(parse->map, "limit", 1, AGG_LIST_LIMIT_MAX, &limit, parse->diagnostics);

    if (ok && limit == 0)
        ok = agg_parse__tell(parse, parse->at, "limit", "missing; say how many partners a reply has at most");
    parse->feature->limit = (uint32_t)limit;
    ok = agg_parse__seconds(parse, "half_life", &parse->feature->half_life_ms) && ok;
    ok = agg_parse__seconds(parse, "within", &parse->feature->within_ms) && ok;
    if (!fr_yaml_get(parse->map, "from"))
        ok = agg_parse__tell(parse, parse->at, "from", "missing; name one of the user's sequences");
    if (parse->feature->entity &&
        !(parse->feature->entity->key_count == 1 && parse->feature->entity->key[0] == PROTO_FIELD_ITEM_ID))
        ok = agg_parse__tell(parse, parse->at, "entity",
                             "is not the item; pairs are of items: use the entity with key [item_id]");
    return ok;
}

static bool link_covisit(struct agg_parse *parse)
{
    struct agg_feature *feature = parse->feature;
    struct fr_yaml *from = fr_yaml_get(parse->map, "from");
    struct agg_feature *source = agg_parse__feature(parse, from, "from", true);
    int item_word = agg_order__word(PROTO_FIELD_ITEM_ID);

    if (!source)
        return false;
    if (source->aggregate != AGG_LAST)
        return agg_parse__tell(parse, from, "from", "is no sequence; name a feature with aggregate: last");
    if (!source->entity->has_user || source->entity->key_count != 1)
        return agg_parse__tell(parse, from, "from", "should be a sequence of the user");
    feature->source = source;
    feature->next_covisit = source->covisit;
    source->covisit = feature;
    if (source->order_words <= item_word)
        source->order_words = item_word + 1;
    return true;
}

static void define_covisit(const struct agg_feature *feature, struct fr_buffer *text)
{
    fr_buffer_append_format(text, "; within %lld; half_life %lld; pairs of %s", (long long)feature->within_ms,
                            (long long)feature->half_life_ms, feature->source->definition);
}

static const struct agg_cell_type cells = {.part = STORE_PART_LISTS,
                                           .take = take,
                                           .merge = merge,
                                           .prune = prune,
                                           .encode = encode,
                                           .decode = decode,
                                           .digest = digest,
                                           .bytes_most = bytes_most};
static const char *const keys[] = {"from", "within", "half_life", "limit", NULL};

const struct agg_type agg_type__covisit = {.name = "covisit",
                                           .keys = keys,
                                           .emits = 1 << AGG_OUTPUT_VALUE,
                                           .parse = parse_covisit,
                                           .link = link_covisit,
                                           .define = define_covisit,
                                           .cells = &cells};
