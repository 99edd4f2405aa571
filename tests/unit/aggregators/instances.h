/* Instances of a cluster in one process: a stream that is split among them, what they tell each other, and one node that has seen it all. */
#ifndef FRESHET_TESTS_INSTANCES_H
#define FRESHET_TESTS_INSTANCES_H

#include "stream.h"

#include <freshet/clock.h>
#include <freshet/deltas.h>

enum { STREAMS = 4, INSTANCES_MAX = 4, CARRIED_MAX = 1 << 16 };

static const struct agg_dedupe keep_all = {.ids = 4096, .horizon_ms = INT64_C(86400000) * 3000};

struct feed {
    struct proto_event *events;
    int count;
    int64_t greatest_ms;
};

static inline struct feed feed_new(struct rng *rng)
{
    struct feed feed = {.events = calloc((size_t)STREAMS * STREAM_EVENTS_MAX, sizeof *feed.events)};
    struct stream *stream = calloc(1, sizeof *stream);

    assert_non_null(feed.events);
    assert_non_null(stream);
    for (int i = 0; i < STREAMS; i++) {
        stream_make(stream, rng, (uint64_t)(i % 2 + 1) * 1000);
        memcpy(feed.events + feed.count, stream->events, (size_t)stream->count * sizeof *feed.events);
        feed.count += stream->count;
    }
    for (int i = 0; i < feed.count; i++) {
        feed.events[i].propensity = rng_one_in(rng, 3) ? 0 : 0.25F;
        feed.greatest_ms = feed.events[i].ts_ms > feed.greatest_ms ? feed.events[i].ts_ms : feed.greatest_ms;
    }
    free(stream);
    return feed;
}

/* What went over the wire. */
struct carried {
    int from;
    uint8_t *key, *value;
    size_t key_bytes, value_bytes;
};
struct carrier {
    struct carried *all;
    int count, from;
};

static inline bool carry(void *user, struct fr_slice key, struct fr_slice value, struct fr_err *err)
{
    struct carrier *carrier = user;
    struct carried *carried = &carrier->all[carrier->count++];

    (void)err;
    assert_true(carrier->count < CARRIED_MAX);
    *carried = (struct carried){carrier->from, malloc(key.length), malloc(value.length), key.length, value.length};
    memcpy(carried->key, key.bytes, key.length);
    memcpy(carried->value, value.bytes, value.length);
    return true;
}

static inline void carrier_shuffle(struct carrier *carrier, struct rng *rng)
{
    for (int i = carrier->count - 1; i > 0; i--) {
        int other = (int)rng_below(rng, i + 1);
        struct carried one = carrier->all[i];

        carrier->all[i] = carrier->all[other];
        carrier->all[other] = one;
    }
}

static inline void carrier_free(struct carrier *carrier)
{
    for (int i = 0; i < carrier->count; i++) {
        free(carrier->all[i].key);
        free(carrier->all[i].value);
    }
    free(carrier->all);
}

struct turning {
    struct node *node;
    struct agg_deltas *told;
    int64_t horizon_ms;
    bool is_refused; /* by Kafka: the epoch is the next one's */
};

static inline void turn(void *user, struct store *store)
{
    const struct turning *turning = user;

    (void)store;
    assert_true(agg_images_turn(turning->node->agg));
}

static inline bool add(void *user, struct fr_err *err)
{
    const struct turning *turning = user;

    return agg_images_tell(turning->node->agg, turning->told, turning->horizon_ms, err) &&
           (!turning->is_refused || fr_fail(err, FR_UNAVAILABLE, "no broker"));
}

/* Hundreds of epochs within a second are more than compaction takes on a busy machine: the store refuses one then, before it turns. */
static inline bool commit_at_last(struct store *store, const struct store_epoch *epoch, struct fr_err *err)
{
    enum { AGAIN_MS = 10, TRIES = 3000 };

    for (int i = 0; i < TRIES; i++) {
        if (store_epoch_commit(store, epoch, err))
            return true;
        if (err->code != FR_EXHAUSTED || store_is_failed(store))
            return false;
        fr_clock_sleep_ms(AGAIN_MS);
    }
    return false;
}

/* An epoch's end: what two lanes collected, and what rows are more, becomes one record an entity. */
static inline void collect_epoch(struct node *node, struct agg_deltas *lanes[2], int64_t horizon_ms, struct carrier *carrier)
{
    struct turning turning = {node, lanes[0], horizon_ms, .is_refused = false};
    struct store_epoch epoch = {.boundary = turn, .before_durable = add, .user = &turning};
    struct fr_err err;

    if (!agg_deltas_merge(lanes[0], lanes[1], &err) || !commit_at_last(node->store, &epoch, &err) ||
        !agg_deltas_each(lanes[0], carry, carrier, &err))
        fail_msg("%s", err.message);
    agg_deltas_clear(lanes[0]);
}

struct copying {
    struct node *from, *to;
};

static inline bool copy(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    struct copying *copying = user;
    struct agg_copy copies[STORE_PARTS];
    struct fr_err err;
    bool ok;

    if (!agg_is_of_user(copying->from->agg, key))
        return true;
    for (int part = 0; part < STORE_PARTS; part++)
        copies[part] = (struct agg_copy){.key = *key, .part = (enum store_part)part, .bytes = disk[part]};
    if (!agg_copies_load(copying->to->agg, copies, STORE_PARTS, &err))
        fail_msg("%s", err.message);
    store_gate_enter(copying->to->store);
    ok = agg_copies_put(copying->to->agg, copies, STORE_PARTS, &err);
    store_gate_leave(copying->to->store);
    if (!ok)
        fail_msg("%s", err.message);
    return true;
}

static inline void copy_users(struct node *from, struct node *to)
{
    struct copying copying = {from, to};
    struct fr_err err;

    if (!store_scan(from->store, copy, &copying, &err))
        fail_msg("%s", err.message);
}

static inline bool is_everybody(void *user, uint64_t user_id)
{
    (void)user, (void)user_id;
    return true;
}

typedef void compare_fn(const struct node *one, const struct node *other, int64_t time_ms, int *found);

static inline struct agg_digest digest_of_one(struct node *one, const struct feed *feed)
{
    enum agg_outcome outcomes[NODE_BATCH_MAX];

    for (int at = 0; at < feed->count; at += 64)
        node_apply(one, feed->events + at, feed->count - at < 64 ? feed->count - at : 64, 0, outcomes);
    node_commit(one);
    return node_digest(one, feed->greatest_ms);
}

/* But for users, whom each has alone, an instance is what one node is. */
static inline void compare_with_one(struct node *node, struct node *one, const struct agg_digest *whole, int64_t time_ms,
                                    const char *text)
{
    uint64_t dropped = 0;
    struct fr_err err;

    assert_int_equal(agg_fingerprint(node->agg), agg_fingerprint(one->agg));
    if (!agg_users_drop(node->agg, is_everybody, NULL, NULL, &dropped, &err))
        fail_msg("%s", err.message);
    node_commit(node);
    copy_users(one, node);
    node_commit(node);
    if (!digest_equal(*whole, node_digest(node, time_ms)))
        fail_msg("an instance differs with\n%s", text);
}

/* ---- applying, merging and telling turn about ---- */

struct instance {
    struct node node;
    struct agg_deltas *lanes[2];
    int number, applied, merged; /* how far in the feed, and in what is carried */
    int64_t horizon_ms;
};

static inline bool apply_some(struct instance *instance, const struct feed *feed, int instances, struct rng *rng)
{
    enum agg_outcome outcomes[NODE_BATCH_MAX];
    struct proto_event batch[40];
    int count = 0, most = 1 + (int)rng_below(rng, 40);

    for (; instance->applied < feed->count && count < most; instance->applied++)
        if (feed->events[instance->applied].user_id % (uint64_t)instances == (uint64_t)instance->number)
            batch[count++] = feed->events[instance->applied];
    if (rng_one_in(rng, 3))
        instance->horizon_ms = instance->node.stream_time_ms;
    agg_lane_collect(instance->node.lane, instance->lanes[rng_below(rng, 2)]);
    if (count > 0)
        node_apply(&instance->node, batch, count, instance->horizon_ms, outcomes);
    return instance->applied < feed->count;
}

static inline void merge_some(struct instance *instance, const struct carrier *carrier, struct rng *rng)
{
    struct agg_delta deltas[32];
    int count = 0, most = 1 + (int)rng_below(rng, 32);
    struct fr_err err;
    bool ok;

    for (; instance->merged < carrier->count && count < most; instance->merged++) {
        const struct carried *carried = &carrier->all[instance->merged];

        if (carried->from != instance->number)
            deltas[count++] = (struct agg_delta){.key = fr_slice(carried->key, carried->key_bytes),
                                                 .value = fr_slice(carried->value, carried->value_bytes)};
    }
    if (!agg_deltas_load(instance->node.lane, deltas, count, &err))
        fail_msg("%s", err.message);
    store_gate_enter(instance->node.store);
    ok = agg_deltas_apply(instance->node.lane, deltas, count, instance->horizon_ms, &instance->node.tally, &err);
    store_gate_leave(instance->node.store);
    if (!ok)
        fail_msg("%s", err.message);
}

/* What was set aside, and what rows are more, waits for the next epoch. */
static inline void fail_epoch(struct instance *instance)
{
    struct turning turning = {&instance->node, instance->lanes[0], instance->horizon_ms, .is_refused = true};
    struct store_epoch epoch = {.boundary = turn, .before_durable = add, .user = &turning};
    struct fr_err err;

    assert_false(store_epoch_commit(instance->node.store, &epoch, &err));
    assert_int_equal(err.code, FR_UNAVAILABLE);
}

static inline void tell(struct instance *instance, struct carrier *carrier, struct rng *rng)
{
    if (rng_one_in(rng, 4))
        fail_epoch(instance);
    carrier->from = instance->number;
    collect_epoch(&instance->node, instance->lanes, instance->horizon_ms, carrier);
}

static inline void check_turn_about(const char *text, const struct feed *feed, struct rng *rng, compare_fn *compare, int *found)
{
    int instances = 2 + (int)rng_below(rng, INSTANCES_MAX - 1), at_work = instances;
    struct carrier carrier = {.all = calloc(CARRIED_MAX, sizeof *carrier.all)};
    struct instance all[INSTANCES_MAX];
    struct node one = node_new(text, keep_all);
    struct agg_digest whole = digest_of_one(&one, feed);

    for (int i = 0; i < instances; i++) {
        all[i] = (struct instance){.node = node_new(text, keep_all), .number = i};
        assert_true(agg_images_open(all[i].node.agg));
        all[i].lanes[0] = agg_deltas_new(all[i].node.agg);
        all[i].lanes[1] = agg_deltas_new(all[i].node.agg);
    }
    while (at_work > 0) {
        struct instance *instance = &all[rng_below(rng, instances)];
        bool was_at_work = instance->applied < feed->count;

        if (was_at_work && !apply_some(instance, feed, instances, rng))
            at_work--;
        if (!rng_one_in(rng, 3))
            merge_some(instance, &carrier, rng);
        if (rng_one_in(rng, 4))
            tell(instance, &carrier, rng);
        else if (rng_one_in(rng, 8))
            fail_epoch(instance);
    }
    for (int i = 0; i < instances; i++)
        tell(&all[i], &carrier, rng);
    for (int i = 0; i < instances; i++) {
        while (all[i].merged < carrier.count)
            merge_some(&all[i], &carrier, rng);
        agg_lane_collect(all[i].node.lane, NULL);
        compare_with_one(&all[i].node, &one, &whole, feed->greatest_ms, text);
        if (compare)
            compare(&one, &all[i].node, feed->greatest_ms, found);
        agg_deltas_free(all[i].lanes[0]);
        agg_deltas_free(all[i].lanes[1]);
        node_free(&all[i].node);
    }
    node_free(&one);
    carrier_free(&carrier);
}

/* Every aggregate that keeps a cell and can be merged, and what is reckoned from measures. */
static const char cells[] =
    "entities:\n"
    "  user: { key: [user_id] }\n"
    "  item: { key: [item_id], parent: creator, retention: 3d }\n"
    "  creator: { key: [creator_id] }\n"
    "  room: { key: [room_id], retention: 0 }\n"
    "  user_category: { key: [user_id, category_id] }\n"
    "features:\n"
    "  n: { entity: item, aggregate: count, windows: [1m, 1h, 24h], emit: [value, age] }\n"
    "  likes: { entity: item, actions: [like], aggregate: count, windows: [1m, 1h, 24h] }\n"
    "  low: { entity: item, aggregate: min, of: value, windows: [1h] }\n"
    "  mean: { entity: creator, aggregate: mean, of: value, windows: [1h, 30d], emit: [value, n] }\n"
    "  rate: { entity: item, aggregate: ratio, of: [likes, n], windows: [1h], prior: parent, strength: 5, emit: [value, n, sd] "
    "}\n"
    "  part: { entity: item, aggregate: share, scope: parent, of: n, windows: [1h] }\n"
    "  heat: { entity: item, actions: [watch, like], weights: { watch: 1, like: 3 }, aggregate: decayed, half_life: 10m, emit: "
    "[value, n, age] }\n"
    "  viewers: { entity: item, aggregate: distinct, of: user_id, windows: [1h, 7d], emit: [value, n] }\n"
    "  requests: { entity: room, aggregate: distinct, of: event_id, windows: [1h, 30d] }\n"
    "  p90: { entity: item, aggregate: quantile, q: 0.9, of: value, windows: [1h, 24h], emit: [value, n] }\n"
    "  pulse: { entity: room, actions: [like, watch], aggregate: series, bin: 10s, bins: 30 }\n"
    "  spike: { entity: room, aggregate: burst, bin: 20s, bins: 60 }\n"
    "  capped: { entity: item, aggregate: capped, cap: 2, windows: [1h, 24h], emit: [value, n] }\n"
    "  back: { entity: room, aggregate: returning, visits: 2, windows: [1h, 24h] }\n"
    "  spread: { entity: room, aggregate: gini, of: creator_id, windows: [1h, 24h] }\n"
    "  coec: { entity: item, aggregate: coec, windows: [7d], emit: [value, n, sd] }\n"
    "  rank: { entity: item, aggregate: watch_rank, windows: [7d], emit: [value, n, sd] }\n"
    "  ips: { entity: item, aggregate: ips, floor: 0.01, windows: [30d] }\n"
    "  latest: { entity: room, aggregate: last, limit: 7, fields: [item_id, user_id, ts_ms, value] }\n"
    "  recent: { entity: user, aggregate: last, limit: 9, fields: [item_id] }\n"
    "  often: { entity: user_category, aggregate: decayed, half_life: 1h }\n"
    "  online: { entity: room, aggregate: gauge, up: [enter_room, watch], down: [leave_room, like], timeout: 10m }\n";

#endif
