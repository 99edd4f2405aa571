/*
 * A log by a seed, with all that may be wrong with it, and a node that reads it in any way: in whatever batches, rows whenever they were there
 * before, time as it comes, epochs and crashes in between.
 */
#ifndef TEST_LEARNER_STORY_H
#define TEST_LEARNER_STORY_H

#include "fixture.h"
#include "join.h"

#include <freshet/v1/event.pb-c.h>

#include <unistd.h>

enum {
    USERS = 5,
    ITEMS = 12,
    REQUESTS = 40,
    SHOWN = 3, /* items of a request */
    EVENTS_MAX = 4000,
    EXAMPLES_MAX = 4000,
    GRAIN_MS = 50, /* so that many events are of one moment */
    TTL_MS = 20000,
    LATE_MOST_MS = 30000,
    BATCH_MOST = 40,
    SCHEDULES = 6,
    SCHEMA = 77,
};

static const int64_t start_ms = 1700000000000;

static const char every_policy[] = "tasks: { click: { actions: [click], policy: wait, window: 10s },"
                                   " buy: { actions: [purchase], policy: fnw, window: 30s },"
                                   " like: { actions: [like], policy: first_only, window: 12s, negatives: 0.5 },"
                                   " talk: { actions: [comment], policy: sliver, window: 45s },"
                                   " watch: { actions: [watch], policy: wait, window: 15s, label: watch_rank },"
                                   " begin: { actions: [watch], policy: first_only, window: 20s, label: watch_rank } }";

/* ---- a log ---- */

struct said {
    struct proto_event event;
    int64_t comes_ms; /* where it lies in the log */
    int64_t clock_ms; /* the log's */
};

struct rows {
    Freshet__V1__Served served;
    uint64_t items[SHOWN];
    float user_values[1], item_values[3 * SHOWN];
    int before; /* they were in Kafka before this event */
};

struct story {
    uint64_t random;
    bool is_once; /* an item is shown once for a request */
    struct said events[EVENTS_MAX];
    int event_count;
    struct rows rows[REQUESTS];
    int rows_count;
};

static inline uint64_t draw(uint64_t *random, uint64_t below)
{
    *random = *random * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return (*random >> 33) % below;
}

/* What is watched at a moment: so that whoever knows the moment knows that. Every fifth item says no length. */
static inline double duration_of(uint64_t item)
{
    return item % 5 == 0 ? 0 : 3 * (double)item;
}

static inline double seconds_of(uint64_t item, int64_t ts_ms)
{
    return 2 * duration_of(item) * (double)((uint64_t)(ts_ms / GRAIN_MS) * 7919 % 1000) / 1000;
}

static inline void say(struct story *story, uint32_t action, uint64_t user, uint64_t item, uint64_t request, int64_t ts_ms)
{
    struct said *said = &story->events[story->event_count++];
    bool is_late = draw(&story->random, 6) == 0;

    assert_true(story->event_count < EVENTS_MAX);
    ts_ms -= ts_ms % GRAIN_MS;
    *said = (struct said){.event = {.ts_ms = ts_ms, .user_id = user, .item_id = item, .request_id = request, .action = action},
                          .comes_ms = ts_ms + (is_late ? (int64_t)draw(&story->random, LATE_MOST_MS) : 0)};
    if (action == FRESHET__V1__ACTION__WATCH) {
        said->event.value = seconds_of(item, ts_ms);
        said->event.duration_s = duration_of(item);
    }
}

static inline void tell_item(struct story *story, uint64_t user, uint64_t item, uint64_t request, int64_t shown_ms)
{
    static const uint32_t actions[] = {FRESHET__V1__ACTION__CLICK, FRESHET__V1__ACTION__PURCHASE, FRESHET__V1__ACTION__LIKE,
                                       FRESHET__V1__ACTION__COMMENT, FRESHET__V1__ACTION__WATCH};

    say(story, FRESHET__V1__ACTION__IMPRESSION, user, item, request, shown_ms);
    if (draw(&story->random, 8) == 0 && !story->is_once)
        say(story, FRESHET__V1__ACTION__IMPRESSION, user, item, request, shown_ms + (int64_t)draw(&story->random, 60000));
    for (int i = 0; i < 5; i++)
        for (uint64_t left = draw(&story->random, 3); left > 0; left--)
            say(story, actions[i], user, item, draw(&story->random, 3) > 0 ? request : 0,
                shown_ms - 1000 + (int64_t)draw(&story->random, 40000));
}

static inline void tell_request(struct story *story, uint64_t request)
{
    struct rows *rows = &story->rows[story->rows_count];
    uint64_t user = 1 + draw(&story->random, USERS), first = draw(&story->random, ITEMS);
    int64_t served_ms = start_ms + (int64_t)draw(&story->random, 120000);

    *rows = (struct rows){0};
    freshet__v1__served__init(&rows->served);
    rows->served.request_id = request;
    rows->served.user_id = user;
    rows->served.served_ms = served_ms;
    rows->served.schema = SCHEMA;
    for (uint64_t i = 0; i < SHOWN; i++) {
        rows->items[i] = 1 + (first + i) % ITEMS;
        rows->item_values[3 * i] = (float)(request * SHOWN + i);
        if (draw(&story->random, 4) > 0)
            tell_item(story, user, rows->items[i], request, served_ms - 2000 + (int64_t)draw(&story->random, TTL_MS + 4000));
    }
    if (draw(&story->random, 2) == 0)
        say(story, FRESHET__V1__ACTION__LEAVE_ROOM, user, 0, 0, served_ms + (int64_t)draw(&story->random, 70000));
    story->rows_count += draw(&story->random, 10) > 0;
}

static inline int compare_said(const void *a, const void *b)
{
    const struct said *x = a, *y = b;

    if (x->comes_ms != y->comes_ms)
        return x->comes_ms < y->comes_ms ? -1 : 1;
    return x->event.event_id < y->event.event_id ? -1 : x->event.event_id > y->event.event_id;
}

static inline int compare_rows(const void *a, const void *b)
{
    return ((const struct rows *)a)->before - ((const struct rows *)b)->before;
}

static inline void aim(struct rows *rows) /* once it lies where it stays */
{
    rows->served.item_ids = rows->items;
    rows->served.n_item_ids = SHOWN;
    rows->served.user_values = rows->user_values;
    rows->served.n_user_values = 1;
    rows->served.item_values = rows->item_values;
    rows->served.n_item_values = (size_t)3 * SHOWN;
}

/* The first impression of the request, or a few events earlier. */
static inline int before_impressions(struct story *story, uint64_t request)
{
    int first = 0;

    while (first < story->event_count && (story->events[first].event.action != FRESHET__V1__ACTION__IMPRESSION ||
                                          story->events[first].event.request_id != request))
        first++;
    first -= draw(&story->random, 3) > 0 ? 0 : (int)draw(&story->random, 30);
    return first > 0 ? first : 0;
}

static inline struct story *story_new(uint64_t seed, bool is_once)
{
    struct story *story = calloc(1, sizeof *story);
    int64_t clock_ms = 0;

    assert_non_null(story);
    story->random = seed;
    story->is_once = is_once;
    for (uint64_t request = 1; request <= REQUESTS; request++)
        tell_request(story, request);
    for (int i = 0; i < story->event_count; i++)
        story->events[i].event.event_id = (uint64_t)i + 1;
    qsort(story->events, (size_t)story->event_count, sizeof *story->events, compare_said);
    story->events[story->event_count++] = (struct said){.event = {.ts_ms = start_ms + 3600000, .user_id = USERS + 1}};
    for (int i = 0; i < story->event_count; i++) {
        clock_ms = story->events[i].event.ts_ms > clock_ms ? story->events[i].event.ts_ms : clock_ms;
        story->events[i].clock_ms = clock_ms;
    }
    for (int i = 0; i < story->rows_count; i++)
        story->rows[i].before = before_impressions(story, story->rows[i].served.request_id);
    qsort(story->rows, (size_t)story->rows_count, sizeof *story->rows, compare_rows);
    for (int i = 0; i < story->rows_count; i++)
        aim(&story->rows[i]);
    return story;
}

/* ---- a node that reads it ---- */

struct node {
    struct fixture fixture;
    const struct story *story;
    struct store_options options;
    struct store *store;
    struct learner_join *join;
    struct learner_join_lane *lane, *own;
    uint64_t matrix;
    int next_event, next_rows; /* where it is in the log, as durable as the rest */
    struct {
        int64_t time_ms;
        uint64_t events;
        int next_event;
    } candidate; /* for time to come to, once all is read that was there then */
};

static inline void encode(void *user, const struct store_key *key, enum store_part part, const void *memory, uint32_t bytes,
                          struct fr_buffer *disk)
{
    (void)user, (void)key, (void)part;
    learner_join_encode(memory, bytes, disk);
}

static inline bool decode(void *user, const struct store_key *key, enum store_part part, struct fr_slice disk,
                          struct fr_buffer *memory)
{
    (void)user, (void)part;
    return learner_join_decode(key, disk, memory);
}

static inline void node_open(struct node *node)
{
    struct learner_join_options options = {.config = node->fixture.config,
                                           .schemas = &node->fixture.schema,
                                           .matrices = &node->matrix,
                                           .metrics = node->fixture.metrics};
    struct fr_slice place;
    struct fr_err err;

    if (!store_open(&node->options, &node->store, &err))
        fail_msg("%s", err.message);
    options.store = node->store;
    assert_true(learner_join_open(&options, &node->join, &err));
    node->lane = learner_join_lane_new(node->join);
    node->own = learner_join_lane_new(node->join);
    place = store_meta_get(node->store, "place");
    node->next_event = node->next_rows = 0;
    memset(&node->candidate, 0, sizeof node->candidate);
    if (place.length > 0) {
        memcpy(&node->next_event, place.bytes, sizeof node->next_event);
        memcpy(&node->next_rows, (const uint8_t *)place.bytes + sizeof node->next_event, sizeof node->next_rows);
    }
}

static inline void node_close(struct node *node) /* as a crash does */
{
    learner_join_lane_free(node->lane);
    learner_join_lane_free(node->own);
    learner_join_close(node->join);
    store_close(node->store);
}

static inline struct node *node_new(const struct story *story, const char *model)
{
    struct node *node = calloc(1, sizeof *node);

    assert_non_null(node);
    fixture_init(&node->fixture, model);
    node->fixture.config->serve_ttl_ms = TTL_MS;
    node->story = story;
    node->matrix = SCHEMA;
    node->options = (struct store_options){
        .path = node->fixture.directory, .memory_bytes = 64 << 20, .codec = {.encode = encode, .decode = decode}};
    node_open(node);
    return node;
}

static inline void node_free(struct node *node)
{
    node_close(node);
    fixture_fini(&node->fixture);
    free(node);
}

/* Rows up to one, and events up to one, in one batch. */
static inline void node_read(struct node *node, int rows_end, int events_end)
{
    const struct story *story = node->story;
    const Freshet__V1__Served *served[REQUESTS];
    struct proto_event events[BATCH_MOST];
    int64_t clocks_ms[BATCH_MOST];
    bool is_skipped[BATCH_MOST + REQUESTS] = {false};
    struct learner_join_batch batch = {
        .events = events, .clocks_ms = clocks_ms, .served = served, .is_skipped = is_skipped, .is_served_skipped = is_skipped};
    struct store_visit visit = store_visit_enter(node->store);
    struct fr_err err;

    for (; node->next_rows < rows_end; node->next_rows++)
        served[batch.served_count++] = &story->rows[node->next_rows].served;
    for (; node->next_event < events_end; node->next_event++) {
        clocks_ms[batch.event_count] = story->events[node->next_event].clock_ms;
        events[batch.event_count++] = story->events[node->next_event].event;
    }
    assert_true(learner_join_load(node->lane, &batch, &err));
    store_gate_enter(node->store);
    assert_true(learner_join_apply(node->lane, &batch, &err));
    store_gate_leave(node->store);
    store_visit_leave(node->store, visit);
}

/* All rows that were there before this event. */
static inline int rows_before(const struct story *story, int event)
{
    int rows = 0;

    while (rows < story->rows_count && story->rows[rows].before <= event)
        rows++;
    return rows;
}

static inline void node_pass(struct node *node, int64_t time_ms, uint64_t events)
{
    struct fr_err err;
    bool is_more;

    assert_true(learner_join_pass(node->own, time_ms, events, 1 << 20, &is_more, &err));
    assert_false(is_more);
}

static inline void node_choose(struct node *node)
{
    node->candidate.next_event = node->next_event;
    node->candidate.time_ms = node->next_event > 0 ? node->story->events[node->next_event - 1].clock_ms : 0;
    node->candidate.events = learner_join_events(node->join);
}

/* Time comes to what was the last event; what was served before that is read first, as a node makes sure. */
static inline void node_come(struct node *node)
{
    int rows = rows_before(node->story, node->candidate.next_event - 1);

    if (rows > node->next_rows)
        node_read(node, rows, node->next_event);
    node_pass(node, node->candidate.time_ms, node->candidate.events);
}

/* Time comes to some moment before the last event: as it goes by the clocks of partitions. */
static inline void node_follow(struct node *node, uint64_t *random)
{
    const struct said *events = node->story->events;
    int at = node->next_event == 0 ? 0 : (int)draw(random, (uint64_t)node->next_event), rows;
    int64_t time_ms = events[at].clock_ms - 1;

    rows = rows_before(node->story, at);
    if (rows > node->next_rows)
        node_read(node, rows, node->next_event);
    if (node->next_event > 0)
        node_pass(node, time_ms, UINT64_MAX);
}

static inline void boundary(void *user, struct store *store)
{
    struct node *node = user;
    int place[2] = {node->next_event, node->next_rows};

    learner_join_boundary(node->join);
    store_meta_put(store, "place", fr_slice(place, sizeof place));
}

static inline void node_commit(struct node *node)
{
    struct store_epoch epoch = {.user = node, .boundary = boundary};
    struct fr_err err;

    if (!store_epoch_commit(node->store, &epoch, &err))
        fail_msg("%s", err.message);
}

/* ---- in any way ---- */

static inline void act(struct node *node, uint64_t *random)
{
    const struct story *story = node->story;
    int events = node->next_event + (int)draw(random, BATCH_MOST), rows = node->next_rows + (draw(random, 4) == 0);

    switch (draw(random, 20)) {
    case 0:
        if (draw(random, 3) == 0)
            node_commit(node);
        break;
    case 1:
        if (draw(random, 6) > 0)
            break;
        node_close(node);
        node_open(node);
        break;
    case 2:
    case 3:
        node_come(node);
        break;
    case 4:
    case 5:
        node_choose(node);
        break;
    case 6:
        node_follow(node, random);
        break;
    default:
        node_read(node, rows < story->rows_count ? rows : story->rows_count,
                  events < story->event_count ? events : story->event_count);
    }
}

static inline struct node *read_anyhow(const struct story *story, const char *model, uint64_t random)
{
    struct node *node = node_new(story, model);

    while (node->next_event < story->event_count)
        act(node, &random);
    node_choose(node);
    node_come(node);
    return node;
}

#endif
