/*
 * A batch is applied in three phases: users first, who tell which events are duplicates and which items they pair, then every other
 * entity, then the lists of those that changed. But for lists and pairs, what an event does to one entity never depends on
 * another, nor on what came before it in the batch.
 */
#include "covisit.h"
#include "feeds.h"
#include "ips.h"
#include "merge.h"
#include "type.h"

#include <math.h>

enum { PREFETCH_AHEAD = 4, AMOUNTS_MAX = 16 };

/* What stays the same for all groups of a batch. */
struct batch {
    struct agg_lane *lane;
    const struct proto_event *events;
    struct agg_moment horizon;
    enum agg_outcome *outcomes;
    struct agg_tally *tally;
    struct fr_err *err;
};

/* One entity while it is locked. */
struct held {
    const struct agg_entity *entity;
    struct agg_blob parts[STORE_PARTS]; /* those that the entity has; others are not looked at */
    bool is_sequence_touched;
    bool has_no_rows; /* it is what others are told, and of rows images.c tells it */
};

static bool fail_spoiled(struct store *store, struct fr_err *err)
{
    store_spoil(store);
    return fr_fail(err, FR_UNAVAILABLE,
                   "aggregators: out of memory in the middle of a batch; the state since the last epoch is "
                   "spoiled: restart the node, with less store.memory or more of the machine's");
}

/* Proto refuses numbers that would not fit; of others than its events, nothing is added. */
static int64_t amount_of(const struct agg_feature *feature, const struct proto_event *event)
{
    double number = event->value;

    if (feature->measure == AGG_MEASURE_COUNT)
        return 1;
    if (feature->aggregate == AGG_IPS)
        return agg_ips__micro(feature, event);
    if (feature->of == PROTO_FIELD_DURATION_S)
        number = event->duration_s;
    if (!(fabs(number) <= 1e12))
        return 0;
    if ((feature->ups >> event->action & 1) != 0)
        number = -fabs(number);
    return (int64_t)agg_measure__of_micro(feature, llround(number * 1e6));
}

static bool add_amounts(struct held *held, const struct agg_amount *amounts, int count, const struct agg_moment *at,
                        const struct batch *batch)
{
    enum agg_added added;

    if (held->entity->is_even)
        added = agg_even__add(&held->parts[STORE_PART_ROWS], held->entity, amounts, count, at, &batch->horizon);
    else
        added =
            agg_rows__add(&held->parts[STORE_PART_ROWS], held->entity, amounts->feature, at, amounts->amount, &batch->horizon);
    batch->tally->too_late += added == AGG_TOO_LATE ? (uint64_t)count : 0;
    return added != AGG_NO_MEMORY;
}

/*
 * Rows move on when an event needs their place, several at once: that costs half of moving each in its second, and when it happens never
 * shows. So a part grows only while nothing in it is due.
 */
static bool make_room(struct held *held, const struct batch *batch)
{
    const struct agg_rows *rows = held->parts[STORE_PART_ROWS].memory;
    uint32_t most = held->entity->is_even ? 1 : AGG_LEVELS; /* rows that an event may make */

    if (batch->horizon.pane[0] < (int64_t)rows->due_s ||
        agg_rows__used(rows, held->entity) + most * agg_rows__row_bytes(rows, held->entity) <=
            held->parts[STORE_PART_ROWS].bytes)
        return true;
    return agg_rows__prune(&held->parts[STORE_PART_ROWS], held->entity, &batch->horizon);
}

static bool apply_counters(struct held *held, const struct proto_event *event, const struct batch *batch)
{
    const struct agg_takers *takers;
    struct agg_amount amounts[AMOUNTS_MAX];
    struct agg_moment at;
    int count = 0;

    if (held->entity->counter_count == 0)
        return true;
    if (!make_room(held, batch))
        return false;
    at = agg_window__moment(event->ts_ms);
    agg_totals__advance(held->parts[STORE_PART_ROWS].memory, held->entity, &at);
    if (event->action >= PROTO_ACTIONS)
        return true; /* nobody takes it */
    takers = &held->entity->counters_of[event->action];
    for (int i = 0; i < takers->count; i++) {
        if (!agg_feature__takes(takers->features[i], event))
            continue;
        amounts[count++] = (struct agg_amount){takers->features[i], amount_of(takers->features[i], event)};
        if (count == AMOUNTS_MAX || !held->entity->is_even) {
            if (!add_amounts(held, amounts, count, &at, batch))
                return false;
            count = 0;
        }
    }
    return count == 0 || add_amounts(held, amounts, count, &at, batch);
}

static bool apply_sequences(struct held *held, const struct proto_event *event, const uint64_t *order,
                            const struct batch *batch)
{
    const struct agg_entity *entity = held->entity;

    bool is_expired = agg_entity__is_expired(entity, event->ts_ms, batch->horizon.time_ms);

    for (int i = 0; i < entity->sequence_count; i++) {
        if ((is_expired && !entity->sequences[i]->covisit) || !agg_feature__takes(entity->sequences[i], event))
            continue;
        if (entity->sequences[i]->covisit &&
            !agg_covisit__pair(batch->lane, entity->sequences[i], held->parts[STORE_PART_SEQUENCES].memory, event))
            return false;
        if (is_expired)
            continue;
        if (!held->is_sequence_touched) {
            if (!agg_blob__open(&held->parts[STORE_PART_SEQUENCES],
                                (uint32_t)entity->sequence_count * (uint32_t)sizeof(struct agg_ring)))
                return false;
            held->is_sequence_touched = true;
        }
        if (!agg_sequence__add(&held->parts[STORE_PART_SEQUENCES], entity, entity->sequences[i], order))
            return false;
    }
    return true;
}

static bool apply_cells(struct held *held, const struct proto_event *event, const uint64_t *order, const struct batch *batch)
{
    struct agg_input input = {.event = event, .order = order, .horizon = &batch->horizon};

    for (int part = STORE_PART_SKETCHES; part < STORE_PARTS; part++) {
        if (event->action < PROTO_ACTIONS && (held->entity->cell_actions[part] >> event->action & 1) != 0 &&
            !agg_cells__add(&held->parts[part], held->entity, (enum store_part)part, &input, &batch->tally->too_late))
            return false;
    }
    return true;
}

/* All that one event does to one entity. False: out of memory. */
static bool apply_event(struct held *held, const struct proto_event *event, const struct batch *batch)
{
    struct agg_rows *rows = held->parts[STORE_PART_ROWS].memory;
    uint64_t order[AGG_ORDER_WORDS];

    if (!held->has_no_rows)
        agg_rows__see(rows, event->ts_ms);
    if (!held->has_no_rows && !apply_counters(held, event, batch))
        return false;
    if (!held->entity->needs_order)
        return true;
    agg_order__take(event, order);
    if (held->entity->remembered != 0 && !held->has_no_rows &&
        !agg_attributes__take(&held->parts[STORE_PART_ROWS], held->entity, order))
        return false;
    return apply_sequences(held, event, order, batch) && apply_cells(held, event, order, batch);
}

/* Told by the user who keeps ids; everyone else goes by what he said. */
static bool is_wanted(struct held *held, uint32_t index, const struct batch *batch, bool *is_out_of_memory)
{
    if (!held->entity->has_dedupe)
        return batch->outcomes[index] != AGG_DUPLICATE;
    switch (agg_dedupe__see(&held->parts[STORE_PART_ROWS], held->entity, &batch->lane->agg->catalogue->dedupe,
                            &batch->events[index])) {
    case AGG_SEEN_DUPLICATE:
        batch->outcomes[index] = AGG_DUPLICATE;
        return false;
    case AGG_SEEN_UNCHECKED:
        batch->tally->dedupe_unchecked++;
        return true;
    case AGG_SEEN_NO_MEMORY:
        *is_out_of_memory = true;
        return false;
    default:
        return true;
    }
}

static bool apply_shares(struct held *held, const struct agg_group *group, const struct batch *batch)
{
    const struct agg_share *shares = batch->lane->shares;
    bool is_out_of_memory = false;

    if (group->first == UINT32_MAX)
        return true;
    if (!held->has_no_rows && !agg_rows__open(&held->parts[STORE_PART_ROWS], held->entity))
        return false;
    for (uint32_t at = group->first + 1; at != 0; at = shares[at - 1].next) {
        uint32_t index = shares[at - 1].event;

        if (is_wanted(held, index, batch, &is_out_of_memory) && !apply_event(held, &batch->events[index], batch))
            return false;
        if (is_out_of_memory)
            return false;
    }
    return true;
}

/* What other entities of the batch brought. */
static bool take_brought(struct held *held, const struct agg_group *group, const struct batch *batch)
{
    const struct agg_brought *brought = batch->lane->brought;

    for (uint32_t at = group->brought_first; at != 0; at = brought[at - 1].next) {
        enum store_part part = brought[at - 1].feature->type->cells->part;

        if (!agg_cells__take(&held->parts[part], held->entity, &brought[at - 1], &batch->horizon, &batch->tally->too_late))
            return false;
    }
    return true;
}

/* The time of the latest event that the feed's source takes, of first events the earliest; 0: none. */
static int64_t taken_ms(const struct agg_feed *to, const struct agg_group *group, const struct batch *batch)
{
    const struct agg_share *shares = batch->lane->shares;
    int64_t found_ms = 0;

    for (uint32_t at = group->first + 1; at != 0; at = shares[at - 1].next) {
        const struct proto_event *event = &batch->events[shares[at - 1].event];

        if (batch->outcomes[shares[at - 1].event] == AGG_DUPLICATE || (to->source && !agg_feature__takes(to->source, event)))
            continue;
        agg_feeds__note(to, event->ts_ms, &found_ms);
    }
    return found_ms;
}

/* Whether the list is to hear of what became of the entity: of its source something changed. */
static bool is_fed(const struct held *held, const struct agg_feed *to)
{
    return !to->source || held->parts[to->source->type->cells->part].is_writable;
}

static bool feed_one(const struct held *held, const struct agg_feed *to, int64_t ts_ms, const struct store_key *key,
                     const struct batch *batch)
{
    struct fr_slice cell = fr_slice(NULL, 0);

    if (to->source)
        cell = agg_cells__read(held->parts[to->source->type->cells->part].memory, held->entity, to->source);
    return ts_ms == 0 || agg_feeds__bring(batch->lane, to, key, ts_ms, held->parts[STORE_PART_ROWS].memory, cell);
}

/* Tells the lists what became of the entity. */
static bool feed(const struct held *held, const struct agg_group *group, const struct store_key *key, const struct batch *batch)
{
    for (int i = 0; i < held->entity->feed_count; i++) {
        const struct agg_feed *to = &held->entity->feeds[i];

        if (is_fed(held, to) && !feed_one(held, to, taken_ms(to, group, batch), key, batch))
            return false;
    }
    return true;
}

/* Gives back what nobody can see any more. False: out of memory. */
static bool tidy(struct held *held, const struct batch *batch)
{
    const struct agg_entity *entity = held->entity;
    const struct agg_rows *rows = held->parts[STORE_PART_ROWS].memory;

    if (held->parts[STORE_PART_ROWS].is_writable && !agg_rows__is_present(rows, entity, batch->horizon.time_ms)) {
        if (!agg_rows__prune(&held->parts[STORE_PART_ROWS], entity, &batch->horizon))
            return false;
        rows = held->parts[STORE_PART_ROWS].memory;
        agg_blob__trim(&held->parts[STORE_PART_ROWS],
                       agg_rows__is_dead(rows, entity, batch->horizon.time_ms) ? 0 : agg_rows__used(rows, entity));
    } else if (held->parts[STORE_PART_ROWS].is_writable) {
        agg_blob__trim(&held->parts[STORE_PART_ROWS], agg_rows__used(rows, entity));
    }
    if (held->is_sequence_touched) {
        bool is_any = agg_sequence__prune(&held->parts[STORE_PART_SEQUENCES], entity, batch->horizon.time_ms);

        agg_blob__trim(&held->parts[STORE_PART_SEQUENCES],
                       is_any ? agg_sequence__used(held->parts[STORE_PART_SEQUENCES].memory, entity) : 0);
    }
    for (int part = STORE_PART_SKETCHES; part < STORE_PARTS; part++) {
        if (entity->cell_count[part] > 0 && held->parts[part].is_writable)
            agg_blob__trim(&held->parts[part],
                           agg_cells__prune(&held->parts[part], entity, (enum store_part)part, &batch->horizon));
    }
    return true;
}

/* The state of this entity makes no sense: what can't be told apart is applied elsewhere, and counted. */
static void skip_corrupt(const struct agg_group *group, const struct batch *batch)
{
    const struct agg_share *shares = batch->lane->shares;

    for (uint32_t at = group->first + 1; at != 0; at = shares[at - 1].next) {
        batch->tally->corrupt++;
        batch->tally->dedupe_unchecked += group->entity->has_dedupe && batch->events[shares[at - 1].event].event_id != 0;
    }
}

static bool is_all_duplicates(const struct agg_group *group, const struct batch *batch)
{
    const struct agg_share *shares = batch->lane->shares;

    if (group->entity->has_dedupe || group->brought_first != 0)
        return false;
    for (uint32_t at = group->first + 1; at != 0; at = shares[at - 1].next) {
        if (batch->outcomes[shares[at - 1].event] != AGG_DUPLICATE)
            return false;
    }
    return true;
}

static void hold(struct held *held, struct store *store, struct store_entry *entry, const struct agg_entity *entity)
{
    held->entity = entity;
    held->is_sequence_touched = held->has_no_rows = false;
    held->parts[STORE_PART_ROWS] = agg_blob__of_entry(store, entry, STORE_PART_ROWS);
    if (entity->sequence_count > 0)
        held->parts[STORE_PART_SEQUENCES] = agg_blob__of_entry(store, entry, STORE_PART_SEQUENCES);
    for (int part = STORE_PART_SKETCHES; part < STORE_PARTS; part++) {
        if (entity->cell_count[part] > 0)
            held->parts[part] = agg_blob__of_entry(store, entry, (enum store_part)part);
    }
}

/* `has_rows`: nobody else tells of them. */
static void hold_delta(struct held *held, const struct agg_entity *entity, struct fr_buffer *parts, bool has_rows)
{
    held->entity = entity;
    held->is_sequence_touched = false;
    held->has_no_rows = !has_rows;
    for (int part = 0; part < STORE_PARTS; part++) {
        if (part != STORE_PART_ROWS && (part == STORE_PART_SEQUENCES ? entity->sequence_count : entity->cell_count[part]) == 0)
            continue;
        held->parts[part] = agg_blob__of_buffer(&parts[part]);
        held->parts[part].is_writable = parts[part].length > 0;
    }
}

/* The same once more into what others are told, where the entity began empty with the epoch. False: out of memory. */
static bool collect(const struct batch *batch, int index, bool has_rows)
{
    struct agg_lane *lane = batch->lane;
    const struct agg_group *group = &lane->groups[index];
    int64_t *fed_ms;
    struct fr_buffer *parts = agg_deltas__want(lane->deltas, &lane->keys[index], lane->hashes[index], &fed_ms);
    struct agg_tally told_already = {0};
    struct batch again = *batch;
    struct held held;

    if (!parts)
        return false;
    again.tally = &told_already;
    hold_delta(&held, group->entity, parts, has_rows);
    for (int i = 0; i < group->entity->feed_count && group->first != UINT32_MAX; i++)
        if (group->entity->feeds[i].source || has_rows)
            agg_feeds__note(&group->entity->feeds[i], taken_ms(&group->entity->feeds[i], group, batch), &fed_ms[i]);
    return (group->first == UINT32_MAX || !has_rows || agg_rows__open_scratch(&held.parts[STORE_PART_ROWS], group->entity)) &&
           apply_shares(&held, group, &again) && take_brought(&held, group, &again) && tidy(&held, &again);
}

static bool is_told(const struct batch *batch, const struct agg_group *group)
{
    return batch->lane->deltas && !group->entity->has_user && !group->entity->is_fed &&
           (group->first != UINT32_MAX || group->brought_first != 0);
}

/* Whether cells change, of which is told by events also where rows tell the rest. */
static bool has_changed_cells(const struct batch *batch, const struct agg_group *group)
{
    const uint32_t *actions = group->entity->cell_actions;
    const struct agg_share *shares = batch->lane->shares;

    if (group->brought_first != 0)
        return true;
    for (uint32_t at = group->first + 1; at != 0; at = shares[at - 1].next) {
        uint32_t action = batch->events[shares[at - 1].event].action;

        if (action < PROTO_ACTIONS && ((actions[STORE_PART_SKETCHES] | actions[STORE_PART_LISTS]) >> action & 1) != 0)
            return true;
    }
    return false;
}

static bool apply_group(const struct batch *batch, int index)
{
    struct agg_lane *lane = batch->lane;
    struct store *store = lane->agg->store;
    const struct agg_group *group = &lane->groups[index];
    bool ok = true, has_rows = !group->entity->is_told_by_rows; /* in what is collected */
    struct store_entry *entry;
    struct held held;

    if (is_all_duplicates(group, batch))
        return true;
    entry = group->found ? store_entry_lock_found(store, group->found, &lane->keys[index], lane->hashes[index]) : NULL;
    if (!entry)
        entry = store_entry_lock(store, &lane->keys[index], lane->hashes[index], true);
    if (!entry)
        return fail_spoiled(store, batch->err);
    if (store_entry_is_corrupt(entry)) {
        skip_corrupt(group, batch);
        has_rows = true; /* it has no image, and others may be well */
    } else {
        ok = !is_told(batch, group) || has_rows || group->first == UINT32_MAX ||
             agg_image__keep(lane->agg, entry, group->entity, &lane->keys[index], lane->hashes[index]);
        hold(&held, store, entry, group->entity);
        ok = ok && apply_shares(&held, group, batch) && take_brought(&held, group, batch) &&
             feed(&held, group, &lane->keys[index], batch) && tidy(&held, batch);
    }
    store_entry_unlock(store, entry);
    if (ok && is_told(batch, group) && (has_rows || has_changed_cells(batch, group)))
        ok = collect(batch, index, has_rows);
    return ok || fail_spoiled(store, batch->err);
}

/* ---- prefetching ---- */

/* What the first lines of its parts tell: where the next event will be put. */
static void prefetch_ends(const struct agg_lane *lane, int index)
{
    struct store *store = lane->agg->store;
    const struct agg_entity *entity = lane->groups[index].entity;
    struct store_entry *entry = lane->groups[index].found;
    uint32_t bytes;

    if (entry)
        entry = store_entry_lock_found(store, entry, &lane->keys[index], lane->hashes[index]);
    if (!entry)
        return;
    agg_rows__prefetch(store_entry_read(entry, STORE_PART_ROWS, &bytes), entity);
    if (entity->sequence_count > 0)
        agg_sequence__prefetch(store_entry_read(entry, STORE_PART_SEQUENCES, &bytes), entity);
    store_entry_unlock(store, entry);
}

static void prefetch_delta(const struct agg_lane *lane, int index, enum agg_deltas_stage stage)
{
    if (lane->deltas && index >= 0 && index < lane->group_count && !lane->groups[index].entity->has_user &&
        !(lane->groups[index].entity->is_told_by_rows && lane->groups[index].entity->cell_count[STORE_PART_SKETCHES] == 0))
        agg_deltas__prefetch(lane->deltas, lane->hashes[index], stage);
}

/* Fetches what groups further on will touch, in stages: each looks at what the one before brought. */
static void prefetch(const struct agg_lane *lane, int index)
{
    struct store *store = lane->agg->store;
    int slot = index + 4 * PREFETCH_AHEAD, entry = index + 3 * PREFETCH_AHEAD, part = index + 2 * PREFETCH_AHEAD;
    int end = index + PREFETCH_AHEAD;

    if (slot < lane->group_count)
        store_prefetch(store, lane->hashes[slot]);
    if (entry >= 0 && entry < lane->group_count)
        lane->groups[entry].found = store_entry_find(store, lane->hashes[entry]);
    if (part >= 0 && part < lane->group_count) {
        const struct agg_group *group = &lane->groups[part];

        store_entry_fetch(group->found, STORE_PART_ROWS, group->entity->head_lines);
        if (group->entity->sequence_count > 0)
            store_entry_fetch(group->found, STORE_PART_SEQUENCES, 1);
    }
    if (end >= 0 && end < lane->group_count)
        prefetch_ends(lane, end);
    prefetch_delta(lane, entry, AGG_DELTAS_SLOT);
    prefetch_delta(lane, part, AGG_DELTAS_ENTRY);
    prefetch_delta(lane, end, AGG_DELTAS_ROWS);
}

/* ---- deltas of others ---- */

static bool merge_parts(struct held *held, struct agg_delta_parts *delta, const struct agg_moment *horizon)
{
    const struct agg_entity *entity = held->entity;

    for (int part = 0; part < STORE_PARTS; part++) {
        if (delta->memory[part].length > 0 &&
            !agg_merge__part(&held->parts[part], entity, (enum store_part)part, delta->memory[part].bytes, horizon))
            return false;
    }
    held->is_sequence_touched = delta->memory[STORE_PART_SEQUENCES].length > 0;
    return true;
}

static bool feed_delta(const struct held *held, const struct agg_delta_parts *delta, const struct store_key *key,
                       const struct batch *batch)
{
    for (int i = 0; i < held->entity->feed_count && delta->memory[STORE_PART_ROWS].length > 0; i++) {
        const struct agg_feed *to = &held->entity->feeds[i];

        if (is_fed(held, to) && !feed_one(held, to, delta->fed_ms[i], key, batch))
            return false;
    }
    return true;
}

static bool apply_delta(const struct batch *batch, const struct agg_delta *delta, struct agg_delta_parts *parts)
{
    struct agg_lane *lane = batch->lane;
    struct store *store = lane->agg->store;
    const struct agg_group *group = &lane->groups[delta->group];
    const struct store_key *key = &lane->keys[delta->group];
    uint64_t hash = lane->hashes[delta->group];
    struct store_entry *entry = NULL;
    struct held held;
    bool ok = agg_delta__decode(lane->agg, key, delta->value, parts);

    if (!ok)
        fr_fail(batch->err, FR_CORRUPT, "aggregators: the bytes of a delta make no sense; is every instance of this version?");
    else if (!(group->found && (entry = store_entry_lock_found(store, group->found, key, hash))) &&
             !(entry = store_entry_lock(store, key, hash, true)))
        ok = fail_spoiled(store, batch->err);
    if (entry && store_entry_is_corrupt(entry)) {
        batch->tally->corrupt++;
    } else if (entry) {
        hold(&held, store, entry, group->entity);
        ok = (agg_image__merge(lane->agg, entry, group->entity, key, hash, &parts->memory[STORE_PART_ROWS]) &&
              merge_parts(&held, parts, &batch->horizon) && feed_delta(&held, parts, key, batch) && tidy(&held, batch)) ||
             fail_spoiled(store, batch->err);
    }
    if (entry)
        store_entry_unlock(store, entry);
    return ok;
}

bool agg_deltas_apply(struct agg_lane *lane, const struct agg_delta *deltas, int count, int64_t horizon_ms,
                      struct agg_tally *tally, struct fr_err *err)
{
    struct batch batch = {.lane = lane, .horizon = agg_window__moment(horizon_ms), .tally = tally, .err = err};
    struct agg_delta_parts parts;
    bool ok = true;

    agg_delta__init(&parts);
    for (int i = -4 * PREFETCH_AHEAD; i < count && ok; i++) {
        prefetch(lane, i); /* of groups, which are as many as deltas, but for what an entity has twice */
        ok = i < 0 || apply_delta(&batch, &deltas[i], &parts);
    }
    agg_delta__fini(&parts);
    for (int i = 0; i < lane->group_count && ok; i++)
        ok = lane->groups[i].brought_first == 0 || apply_group(&batch, i);
    return ok;
}

bool agg_batch_apply(struct agg_lane *lane, const struct proto_event *events, int count, int64_t horizon_ms,
                     enum agg_outcome *outcomes, struct agg_tally *tally, struct fr_err *err)
{
    struct batch batch = {.lane = lane, .events = events, .outcomes = outcomes, .tally = tally, .err = err};
    int duplicates = 0;

    if (!agg_lane__group(lane, events, count, err))
        return false;
    if (!lane->has_partners && !agg_covisit__want(lane))
        return fr_fail(err, FR_EXHAUSTED, "aggregators: out of memory for a batch");
    batch.events = lane->taken;
    lane->events = NULL; /* these groups are used up: the array will hold other events */
    batch.horizon = agg_window__moment(horizon_ms);
    for (int i = 0; i < count; i++)
        outcomes[i] = AGG_APPLIED;
    for (int i = -4 * PREFETCH_AHEAD; i < lane->group_count; i++) {
        prefetch(lane, i);
        if (i >= 0 && !apply_group(&batch, i))
            return false;
    }
    for (int i = 0; i < count; i++)
        duplicates += outcomes[i] == AGG_DUPLICATE;
    tally->duplicates += (uint64_t)duplicates;
    tally->applied += (uint64_t)(count - duplicates);
    return true;
}
