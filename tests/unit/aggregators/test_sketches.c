/*
 * Distinct and quantile against what the full list of events says: the set of ids, the sorted values. Streams have few ids and many,
 * late events, gaps and edges of panes; horizons lag at random, so panes merge at random times.
 */
#include "stream.h"

#include "cells.h"
#include "hyperloglog.h"
#include "panes.h"

#include <math.h>

enum { CATALOGUES = 60, STREAMS = 20, EVENTS = 1200, READS = 5, WINDOWS = 4, SETS = 1000, EXACT = 128 };

static const struct agg_dedupe dedupe = {.ids = 32, .horizon_ms = 600000};
static const int64_t hour = 3600000, noon = INT64_C(1699999200000);
static const int64_t windows_s[] = {6, 24, 60, 90, 300, 3600, 3601, 7200, 86400, 604800, 2592000};

/* ---- catalogues ---- */

struct trial {
    int64_t windows_ms[WINDOWS];
    int window_count;
    int of; /* of the distinct */
    double q;
    bool is_duration;
    char text[2048];
};

static void trial_print(struct trial *trial)
{
    char windows[128] = "", counted[128] = "";

    for (int i = 0; i < trial->window_count; i++) {
        long long seconds = (long long)trial->windows_ms[i] / 1000;

        snprintf(windows + strlen(windows), sizeof windows - strlen(windows), "%s%llds", i > 0 ? ", " : "", seconds);
        if (seconds >= 24)
            snprintf(counted + strlen(counted), sizeof counted - strlen(counted), "%s%llds", *counted ? ", " : "", seconds);
    }
    snprintf(
        trial->text, sizeof trial->text,
        "entities: { item: { key: [item_id], retention: 0 } }\n"
        "features:\n"
        "  c: { entity: item, aggregate: count, windows: [%s] }\n" /* as long, but of other panes */
        "  d: { entity: item, aggregate: distinct, of: %s, windows: [%s], emit: [value, n, age] }\n"
        "  q: { entity: item, actions: [watch], aggregate: quantile, q: %.17g, of: %s, windows: [%s], emit: [value, n] }\n",
        *counted ? counted : "24s", proto_field_name(trial->of), windows, trial->q, trial->is_duration ? "duration_s" : "value",
        windows);
}

static void trial_make(struct trial *trial, struct rng *rng)
{
    static const int fields[] = {PROTO_FIELD_USER_ID, PROTO_FIELD_USER_ID,     PROTO_FIELD_REQUEST_ID,
                                 PROTO_FIELD_USER_ID, PROTO_FIELD_CATEGORY_ID, PROTO_FIELD_EVENT_ID};
    static const double qs[] = {0, 0.5, 0.9, 0.99, 1, 0.25};
    int most = 1 + (int)rng_below(rng, WINDOWS);

    *trial = (struct trial){.of = fields[rng_below(rng, 6)], .q = qs[rng_below(rng, 6)], .is_duration = rng_one_in(rng, 4)};
    while (trial->window_count < most) {
        int64_t window_ms = windows_s[rng_below(rng, 11)] * 1000;
        bool is_new = true;

        for (int i = 0; i < trial->window_count; i++)
            is_new = is_new && trial->windows_ms[i] != window_ms;
        if (is_new)
            trial->windows_ms[trial->window_count++] = window_ms;
    }
    trial_print(trial);
}

/* ---- events ---- */

static double skewed(struct rng *rng)
{
    return exp((double)rng_below(rng, 1 << 20) / (1 << 20) * 39 - 12); /* 10^-5 to 10^11 */
}

struct shape {
    int64_t id_end, spread_ms, step_ms, gap_one_in;
};

static struct shape shape_make(struct rng *rng)
{
    static const int64_t ids[] = {2, 40, 126, 130, 300, 100000, INT64_C(1) << 60};
    static const int64_t spreads_ms[] = {20000, 120000, 7200000, INT64_C(9) * 86400000};
    static const int64_t steps_ms[] = {20, 300, 6000, 400000};
    struct shape crowded = {INT64_C(1) << 60, 20000, 20, 5000}; /* many ids in few panes */

    if (rng_one_in(rng, 5))
        return crowded;
    return (struct shape){ids[rng_below(rng, 7)], spreads_ms[rng_below(rng, 4)], steps_ms[rng_below(rng, 4)], 300};
}

/* All of one item; event ids differ, so none is a duplicate. */
static int64_t events_make(struct proto_event *events, int count, uint64_t item, struct rng *rng)
{
    struct shape shape = shape_make(rng);
    int64_t now_ms = INT64_C(1700000000000) + rng_below(rng, INT64_C(86400000) * 300), greatest_ms = 0;
    bool is_narrow = rng_one_in(rng, 2);

    for (int i = 0; i < count; i++) {
        now_ms +=
            rng_below(rng, shape.step_ms) + (rng_one_in(rng, shape.gap_one_in) ? rng_below(rng, INT64_C(8) * 86400000) : 0);
        events[i] = stream_event(rng, 0, now_ms, shape.spread_ms);
        events[i].item_id = item;
        events[i].event_id = rng_one_in(rng, 9) ? 0 : rng_next(rng);
        events[i].user_id = rng_one_in(rng, 9) ? 0 : 1 + (uint64_t)rng_below(rng, shape.id_end);
        events[i].request_id = (uint64_t)rng_below(rng, shape.id_end);
        events[i].value = rng_one_in(rng, 8) ? -events[i].value : is_narrow ? (double)rng_below(rng, 30) : skewed(rng);
        greatest_ms = events[i].ts_ms > greatest_ms ? events[i].ts_ms : greatest_ms;
    }
    return greatest_ms;
}

static uint64_t id_of(const struct proto_event *event, int field)
{
    switch (field) {
    case PROTO_FIELD_REQUEST_ID:
        return event->request_id;
    case PROTO_FIELD_CATEGORY_ID:
        return event->category_id;
    case PROTO_FIELD_EVENT_ID:
        return event->event_id;
    default:
        return event->user_id;
    }
}

/* ---- what the contract says ---- */

static bool is_in(int64_t ts_ms, int64_t window_ms, int64_t panes_least, int64_t time_ms)
{
    static const int64_t resolutions_ms[] = {86400000, 21600000, 3600000, 600000, 60000, 10000, 1000};
    int i = 0;

    while (window_ms % resolutions_ms[i] != 0 || window_ms / resolutions_ms[i] < panes_least)
        i++;
    return ts_ms / resolutions_ms[i] <= time_ms / resolutions_ms[i] &&
           ts_ms / resolutions_ms[i] > time_ms / resolutions_ms[i] - window_ms / resolutions_ms[i];
}

static int compare_ids(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static int compare_numbers(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static int different(uint64_t *ids, int count)
{
    int different = 0;

    qsort(ids, (size_t)count, sizeof *ids, compare_ids);
    for (int i = 0; i < count; i++)
        different += i == 0 || ids[i] != ids[i - 1];
    return different;
}

struct expected {
    int distinct, distinct_n, n, counted;
    double quantile;
};

static struct expected expect(const struct trial *trial, const struct proto_event *events, int count, int64_t window_ms,
                              int64_t time_ms)
{
    uint64_t ids[EVENTS];
    double numbers[EVENTS];
    struct expected expected = {0};

    for (int i = 0; i < count; i++) {
        double number = trial->is_duration ? events[i].duration_s : events[i].value;

        expected.counted += window_ms >= 24000 && is_in(events[i].ts_ms, window_ms, 24, time_ms);
        if (!is_in(events[i].ts_ms, window_ms, 6, time_ms))
            continue;
        if (id_of(&events[i], trial->of) != 0)
            ids[expected.distinct_n++] = id_of(&events[i], trial->of);
        if (events[i].action == 3)
            numbers[expected.n++] = fmin(fmax(number, 1e-3), 1e9);
    }
    expected.distinct = different(ids, expected.distinct_n);
    qsort(numbers, (size_t)expected.n, sizeof *numbers, compare_numbers);
    if (expected.n > 0)
        expected.quantile = numbers[(int)floor(trial->q * (expected.n - 1))];
    return expected;
}

static int exact_seen, estimated_seen, quantiles_seen;

static void check_distinct(float found, int distinct)
{
    if (distinct <= EXACT) {
        assert_float_equal(found, distinct, 0);
        exact_seen += distinct > 0;
        return;
    }
    assert_true(found > EXACT && fabs((double)found / distinct - 1) <= 5 * 0.017);
    estimated_seen++;
}

static void check_at(struct node *node, const struct trial *trial, const struct proto_event *events, int count, uint64_t item,
                     int64_t time_ms)
{
    char *names[] = {"d", "q", "c"};
    const struct agg_plan *plan = node_plan(node, "", names, 3);
    struct agg_request request = {.user_id = 1, .item_ids = &item, .item_count = 1, .time_ms = time_ms};
    struct agg_reply reply = node_read(node, plan, &request);
    const float *d = reply.item_values, *q = d + 2 * trial->window_count + 1, *c = q + 2 * trial->window_count;
    int64_t latest_ms = 0;

    for (int i = 0; i < trial->window_count; i++) {
        struct expected expected = expect(trial, events, count, trial->windows_ms[i], time_ms);

        check_distinct(d[i], expected.distinct);
        assert_float_equal(d[trial->window_count + i], expected.distinct_n, 0);
        assert_true(fabs((double)q[i] - expected.quantile) <= 0.01 * expected.quantile);
        quantiles_seen += expected.n > 0;
        assert_float_equal(q[trial->window_count + i], expected.n, 0);
        if (trial->windows_ms[i] >= 24000)
            assert_float_equal(*c++, expected.counted, 0);
    }
    for (int i = 0; i < count; i++) {
        if (id_of(&events[i], trial->of) != 0 && events[i].ts_ms > latest_ms)
            latest_ms = events[i].ts_ms;
    }
    assert_float_equal(d[2 * trial->window_count], latest_ms == 0 ? -1 : (float)((double)(time_ms - latest_ms) / 1e3), 0);
}

/* ---- streams ---- */

struct stream_of_one {
    struct proto_event events[EVENTS];
    int count;
    int64_t greatest_ms;
};

static void stream_apply(struct node *node, const struct stream_of_one *stream, struct rng *rng)
{
    enum agg_outcome outcomes[NODE_BATCH_MAX];
    int64_t behind_ms = rng_one_in(rng, 2) ? 0 : rng_below(rng, 7200000), horizon_ms = 0, greatest_ms = 0;

    for (int at = 0, batch; at < stream->count; at += batch) {
        batch = 1 + (int)rng_below(rng, rng_one_in(rng, 3) ? 100 : 8);
        batch = batch > stream->count - at ? stream->count - at : batch;
        for (int i = at; i < at + batch; i++)
            greatest_ms = stream->events[i].ts_ms > greatest_ms ? stream->events[i].ts_ms : greatest_ms;
        if (greatest_ms - behind_ms > horizon_ms && !rng_one_in(rng, 4))
            horizon_ms = greatest_ms - behind_ms;
        node_apply(node, stream->events + at, batch, horizon_ms, outcomes);
        if (rng_one_in(rng, 300)) {
            node_commit(node);
            node_restart(node);
        }
    }
}

static void check_stream(struct node *node, const struct trial *trial, const struct stream_of_one *stream, uint64_t item,
                         struct rng *rng)
{
    static const int64_t later_ms[] = {1, 37000, 600000, 7200000, 90000000};

    for (int i = 0; i < READS; i++)
        check_at(node, trial, stream->events, stream->count, item,
                 stream->greatest_ms + (i > 0 ? rng_below(rng, later_ms[i]) : 0));
}

static void values_are_what_their_definition_says(void **state)
{
    uint64_t catalogues = (uint64_t)(stream_goal(CATALOGUES * STREAMS) + STREAMS - 1) / STREAMS;
    struct stream_of_one *streams = calloc(STREAMS, sizeof *streams);

    (void)state;
    assert_non_null(streams);
    for (uint64_t seed = 1; seed <= catalogues; seed++) {
        struct rng rng = {seed};
        struct trial trial;
        struct node node;

        trial_make(&trial, &rng);
        node = node_new(trial.text, dedupe);
        for (uint64_t i = 0; i < STREAMS; i++) {
            streams[i].count = 20 + (int)rng_below(&rng, rng_one_in(&rng, 3) ? 700 : 150);
            streams[i].greatest_ms = events_make(streams[i].events, streams[i].count, i + 1, &rng);
            stream_apply(&node, &streams[i], &rng);
            check_stream(&node, &trial, &streams[i], i + 1, &rng);
        }
        node_commit(&node);
        node_restart(&node);
        for (uint64_t i = 0; i < STREAMS; i++)
            check_stream(&node, &trial, &streams[i], i + 1, &rng);
        node_free(&node);
    }
    stream_told("distinct", (int64_t)catalogues * STREAMS);
    stream_told("quantile", (int64_t)catalogues * STREAMS);
    print_message("%d exact sets, %d estimates, %d quantiles\n", exact_seen, estimated_seen, quantiles_seen);
    assert_true(exact_seen > 1000 && estimated_seen > 1000 && quantiles_seen > 1000);
    free(streams);
}

/* ---- cells by themselves ---- */

static void shuffle(struct proto_event *events, int count, struct rng *rng)
{
    for (int i = count - 1; i > 0; i--) {
        int other = (int)rng_below(rng, i + 1);
        struct proto_event event = events[i];

        events[i] = events[other];
        events[other] = event;
    }
}

struct made {
    struct fr_buffer memory, disk;
    struct agg_facts facts, facts_unpruned;
};

/* All of them into one part, pruned now and then unless `rng` is NULL, at last at the moment. */
static void made_init(struct made *made, const struct agg_entity *entity, const struct proto_event *events, int count,
                      int64_t from_ms, int64_t time_ms, struct rng *rng)
{
    struct agg_moment last = agg_window__moment(time_ms), horizon = agg_window__moment(from_ms);
    struct agg_blob blob;
    uint64_t too_late = 0;

    *made = (struct made){0};
    fr_buffer_init(&made->memory);
    fr_buffer_init(&made->disk);
    blob = agg_blob__of_buffer(&made->memory);
    for (int i = 0; i < count; i++) {
        uint64_t order[AGG_ORDER_WORDS];
        struct agg_input input = {.event = &events[i], .order = order, .horizon = &horizon};

        agg_order__take(&events[i], order);
        assert_true(agg_cells__add(&blob, entity, STORE_PART_SKETCHES, &input, &too_late));
        if (blob.memory && rng && rng_one_in(rng, 20)) {
            horizon = agg_window__moment(time_ms - rng_below(rng, 90000000));
            agg_cells__prune(&blob, entity, STORE_PART_SKETCHES, &horizon);
        }
    }
    if (!blob.memory)
        return;
    agg_cells__digest(blob.memory, entity, STORE_PART_SKETCHES, &last, &made->facts_unpruned, &made->facts_unpruned);
    agg_cells__prune(&blob, entity, STORE_PART_SKETCHES, &last);
    agg_cells__digest(blob.memory, entity, STORE_PART_SKETCHES, &last, &made->facts, &made->facts);
    agg_cells__encode(entity, STORE_PART_SKETCHES, blob.memory, &made->disk);
    assert_false(made->disk.is_failed);
}

static void made_fini(struct made *made)
{
    fr_buffer_fini(&made->memory);
    fr_buffer_fini(&made->disk);
}

static void decode_gives_the_same_bytes(const struct agg_catalogue *catalogue, const struct agg_entity *entity,
                                        const struct made *made)
{
    struct fr_buffer memory, disk;
    struct fr_reader reader;
    struct agg_blob blob;

    if (made->disk.length == 0)
        return;
    fr_buffer_init(&memory);
    fr_buffer_init(&disk);
    blob = agg_blob__of_buffer(&memory);
    reader = fr_reader(fr_buffer_slice(&made->disk));
    agg_cells__decode(&reader, catalogue, entity, STORE_PART_SKETCHES, &blob);
    assert_true(!reader.is_failed && reader.at == reader.end);
    agg_cells__encode(entity, STORE_PART_SKETCHES, blob.memory, &disk);
    assert_true(fr_slice_equal(fr_buffer_slice(&disk), fr_buffer_slice(&made->disk)));
    fr_buffer_fini(&memory);
    fr_buffer_fini(&disk);
}

static int forms_seen[AGG_FORMS];

static bool see_form(void *user, const struct agg_body *body)
{
    (void)user;
    forms_seen[body->form]++;
    return true;
}

static void see_forms(const struct agg_entity *entity, const struct made *made, int64_t time_ms)
{
    for (int i = 0; i < entity->cell_count[STORE_PART_SKETCHES] && made->memory.length > 0; i++) {
        const struct agg_feature *feature = entity->cells[STORE_PART_SKETCHES][i];
        struct fr_slice cell = agg_cells__read(made->memory.bytes, entity, feature);

        for (int w = 0; w < feature->window_count && feature->type->panes; w++)
            agg_panes__each(cell, &feature->windows[w], time_ms, see_form, NULL);
    }
}

static void bytes_and_digest_are_of_the_set_and_not_of_its_arrival(void **state)
{
    struct stream_of_one *stream = calloc(1, sizeof *stream);

    (void)state;
    assert_non_null(stream);
    for (uint64_t seed = 1; seed <= SETS; seed++) {
        struct rng rng = {seed};
        struct trial trial;
        struct agg_catalogue *catalogue;
        struct made first, second;

        trial_make(&trial, &rng);
        catalogue = catalogue_good(trial.text, &dedupe);
        stream->count = 20 + (int)rng_below(&rng, seed % 2 == 0 ? EVENTS - 20 : 180);
        stream->greatest_ms = events_make(stream->events, stream->count, 1, &rng);
        made_init(&first, catalogue->item, stream->events, stream->count, 0, stream->greatest_ms, &rng);
        shuffle(stream->events, stream->count, &rng);
        made_init(&second, catalogue->item, stream->events, stream->count, 0, stream->greatest_ms, &rng);
        assert_true(fr_slice_equal(fr_buffer_slice(&first.disk), fr_buffer_slice(&second.disk)));
        assert_memory_equal(&first.facts, &second.facts, sizeof first.facts);
        assert_memory_equal(&first.facts, &first.facts_unpruned, sizeof first.facts);
        assert_memory_equal(&first.facts, &second.facts_unpruned, sizeof first.facts);
        decode_gives_the_same_bytes(catalogue, catalogue->item, &first);
        see_forms(catalogue->item, &first, stream->greatest_ms);
        made_fini(&first);
        made_fini(&second);
        agg_catalogue_free(catalogue);
    }
    print_message("bodies: %d words, %d entries, %d registers\n", forms_seen[AGG_FORM_WORDS], forms_seen[AGG_FORM_ENTRIES],
                  forms_seen[AGG_FORM_REGISTERS]);
    assert_true(forms_seen[AGG_FORM_WORDS] > 20 && forms_seen[AGG_FORM_ENTRIES] > 20 && forms_seen[AGG_FORM_REGISTERS] >= 10);
    free(stream);
}

/* Around the size at which a list of registers becomes all of them: event by event, and by merging panes. */
static void the_form_of_registers_is_of_the_set(void **state)
{
    static const char text[] = "entities: { item: { key: [item_id] } }\n"
                               "features: { d: { entity: item, aggregate: distinct, windows: [1h, 24h] } }\n";
    struct agg_catalogue *catalogue = catalogue_good(text, &dedupe);
    struct proto_event *events = calloc(EVENTS, sizeof *events);
    uint64_t registers[AGG_HLL_WORDS] = {0};
    int tried = 0, lists = 0;

    (void)state;
    assert_non_null(events);
    for (int count = 0; agg_hll__filled(registers) < 515;) {
        struct made one_by_one, merged;

        events[count] =
            (struct proto_event){.ts_ms = noon + count % 6 * 600000, .user_id = (uint64_t)count + 1, .item_id = 7, .action = 3};
        agg_hll__raise(registers, agg_hll__entry(events[count++].user_id));
        if (agg_hll__filled(registers) < 510)
            continue;
        made_init(&one_by_one, catalogue->item, events, count, noon + 8 * hour, noon + 8 * hour, NULL);
        made_init(&merged, catalogue->item, events, count, noon, noon + 8 * hour, NULL);
        assert_true(fr_slice_equal(fr_buffer_slice(&one_by_one.disk), fr_buffer_slice(&merged.disk)));
        lists += merged.disk.length < sizeof registers;
        tried++;
        made_fini(&one_by_one);
        made_fini(&merged);
    }
    assert_true(lists > 0 && lists < tried);
    free(events);
    agg_catalogue_free(catalogue);
}

/* ---- digests of nodes ---- */

static struct agg_digest digest_of(const char *text, const struct proto_event *events, int count, int64_t time_ms,
                                   int batch_most, int prune_one_in, int restart_one_in, struct rng *rng)
{
    static const struct agg_dedupe keep_all = {.ids = 4096, .horizon_ms = INT64_C(86400000) * 3000};
    enum agg_outcome outcomes[NODE_BATCH_MAX];
    struct node node = node_new(text, keep_all);
    struct agg_digest digest;
    int64_t horizon_ms = 0, greatest_ms = 0;

    for (int at = 0, batch; at < count; at += batch) {
        batch = 1 + (int)rng_below(rng, batch_most);
        batch = batch > count - at ? count - at : batch;
        for (int i = at; i < at + batch; i++)
            greatest_ms = events[i].ts_ms > greatest_ms ? events[i].ts_ms : greatest_ms;
        if (prune_one_in > 0 && rng_one_in(rng, prune_one_in))
            horizon_ms = greatest_ms;
        node_apply(&node, events + at, batch, horizon_ms, outcomes);
        if (restart_one_in > 0 && rng_one_in(rng, restart_one_in)) {
            node_commit(&node);
            node_restart(&node);
        }
    }
    node_commit(&node);
    digest = node_digest(&node, time_ms);
    node_free(&node);
    return digest;
}

static void order_batches_pruning_and_restarts_do_not_show(void **state)
{
    enum { ITEMS = 3, EACH = EVENTS / 2 };
    struct proto_event *events = calloc((size_t)ITEMS * EACH, sizeof *events);

    (void)state;
    assert_non_null(events);
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct rng rng = {seed};
        struct trial trial;
        struct agg_digest first;
        int64_t greatest_ms = 0;

        trial_make(&trial, &rng);
        for (int i = 0; i < ITEMS; i++) {
            int64_t last_ms = events_make(events + i * EACH, EACH, (uint64_t)i + 1, &rng);

            greatest_ms = last_ms > greatest_ms ? last_ms : greatest_ms;
        }
        first = digest_of(trial.text, events, ITEMS * EACH, greatest_ms, 1, 1, 0, &rng);
        shuffle(events, ITEMS * EACH, &rng);
        assert_true(digest_equal(first, digest_of(trial.text, events, ITEMS * EACH, greatest_ms, 64, 3, 0, &rng)));
        assert_true(digest_equal(first, digest_of(trial.text, events, ITEMS * EACH, greatest_ms, NODE_BATCH_MAX, 0, 0, &rng)));
        shuffle(events, ITEMS * EACH, &rng);
        assert_true(digest_equal(first, digest_of(trial.text, events, ITEMS * EACH, greatest_ms, 40, 2, 10, &rng)));
    }
    free(events);
}

/* ---- examples ---- */

static struct proto_event watch(uint64_t user, int64_t ts_ms, double value)
{
    return (struct proto_event){.ts_ms = ts_ms, .user_id = user, .item_id = 7, .action = 3, .value = value};
}

static void with_fewer_windows_the_others_go_on(void **state)
{
    static const char all[] = "entities: { item: { key: [item_id] } }\n"
                              "features:\n"
                              "  d: { entity: item, aggregate: distinct, windows: [1m, 1h, 24h] }\n"
                              "  q: { entity: item, aggregate: quantile, q: 0.5, windows: [1m, 1h, 24h] }\n";
    static const char fewer[] = "entities: { item: { key: [item_id] } }\n"
                                "features:\n"
                                "  d: { entity: item, aggregate: distinct, windows: [24h] }\n"
                                "  q: { entity: item, aggregate: quantile, q: 0.5, windows: [24h] }\n";
    struct node node = node_new(all, dedupe);

    (void)state;
    for (int i = 0; i < 100; i++)
        node_apply_one(&node, watch((uint64_t)(1 + i % 50), noon + i * 60000, 1 + i), noon);
    assert_float_equal(node_value(&node, "d.24h", 1, 7, noon + 2 * hour), 50, 0);
    node_commit(&node);
    node_restart_with(&node, fewer);
    assert_float_equal(node_value(&node, "d.24h", 1, 7, noon + 2 * hour), 50, 0);
    assert_float_equal(node_value(&node, "q.24h", 1, 7, noon + 2 * hour), 50, 0.5);
    node_apply_one(&node, watch(51, noon, 1), noon + hour); /* its pane is there already, merged */
    assert_float_equal(node_value(&node, "d.24h", 1, 7, noon + 2 * hour), 51, 0);
    node_free(&node);
}

/* Spread over panes that overlap, merged or not. */
static void a_window_of_128_ids_is_exact_and_of_129_an_estimate(void **state)
{
    static const char text[] = "entities: { item: { key: [item_id] } }\n"
                               "features: { d: { entity: item, aggregate: distinct, windows: [1h, 24h] } }\n";
    struct node node = node_new(text, dedupe);
    float found;

    (void)state;
    for (uint64_t user = 1; user <= 128; user++) {
        node_apply_one(&node, watch(user, noon + (int64_t)(user % 50) * 60000, 0), noon);
        node_apply_one(&node, watch(user, noon + (int64_t)(user % 7) * 60000, 0), noon);
        assert_float_equal(node_value(&node, "d.1h", 1, 7, noon + hour - 1), (double)user, 0);
    }
    node_apply_one(&node, watch(128, noon + 3 * hour, 0), noon + 3 * hour);
    assert_float_equal(node_value(&node, "d.24h", 1, 7, noon + 3 * hour), 128, 0);
    node_apply_one(&node, watch(129, noon + 3 * hour, 0), noon + 3 * hour);
    found = node_value(&node, "d.24h", 1, 7, noon + 3 * hour);
    assert_true(found >= 129 && found < 140);
    node_free(&node);
}

static void another_field_is_another_set_and_another_n(void **state)
{
    static const char by_user[] =
        "entities: { item: { key: [item_id] } }\n"
        "features: { d: { entity: item, aggregate: distinct, windows: [1h], emit: [value, n, age] } }\n";
    static const char by_room[] =
        "entities: { item: { key: [item_id] } }\n"
        "features: { d: { entity: item, aggregate: distinct, of: room_id, windows: [1h], emit: [value, n, age] } }\n";
    struct node node = node_new(by_user, dedupe);

    (void)state;
    node_apply_one(&node, watch(1, noon, 0), noon);
    node_apply_one(&node, watch(0, noon + 5000, 0), noon);
    assert_float_equal(node_value(&node, "d.1h", 1, 7, noon + 5000), 1, 0);
    assert_float_equal(node_value(&node, "d.1h.n", 1, 7, noon + 5000), 1, 0);
    assert_float_equal(node_value(&node, "d.age", 1, 7, noon + 5000), 5, 0); /* of the event that it took */
    node_commit(&node);
    node_restart_with(&node, by_room);
    assert_float_equal(node_value(&node, "d.1h", 1, 7, noon), 0, 0);
    assert_float_equal(node_value(&node, "d.1h.n", 1, 7, noon), 0, 0);
    assert_float_equal(node_value(&node, "d.age", 1, 7, noon), -1, 0);
    node_free(&node);
}

static void values_that_no_bucket_has_go_to_the_nearest(void **state)
{
    static const char text[] = "entities: { item: { key: [item_id] } }\n"
                               "features:\n"
                               "  least: { entity: item, aggregate: quantile, q: 0, windows: [1h] }\n"
                               "  most: { entity: item, aggregate: quantile, q: 1, windows: [1h] }\n";
    static const double low[] = {-5, 0, 1e-300, 1e-3, -1e12, -INFINITY, NAN}, high[] = {1e9, 1e12, INFINITY};

    (void)state;
    for (int i = 0; i < 7; i++) {
        struct node node = node_new(text, dedupe);

        node_apply_one(&node, watch(1, noon, low[i]), noon);
        node_apply_one(&node, watch(1, noon, high[i % 3]), noon);
        assert_float_equal(node_value(&node, "least.1h", 1, 7, noon), 1e-3, 1e-5);
        assert_float_equal(node_value(&node, "most.1h", 1, 7, noon), 1e9, 1e7);
        node_free(&node);
    }
}

/* Every bucket's edges, and what lies right beside them. */
static void every_value_in_range_is_within_one_in_a_hundred(void **state)
{
    static const char text[] = "entities: { item: { key: [item_id] } }\n"
                               "features: { q: { entity: item, aggregate: quantile, q: 0.5, windows: [1h] } }\n";
    struct agg_catalogue *catalogue = catalogue_good(text, &dedupe);
    const struct agg_feature *feature = catalogue->item->cells[STORE_PART_SKETCHES][0];
    struct agg_moment horizon = agg_window__moment(noon);
    double greatest = 0;

    (void)state;
    for (double value = 1e-3; value <= 1e9; value *= 1.0001) {
        struct proto_event event = watch(1, noon, value);
        struct agg_input input = {.event = &event, .horizon = &horizon};
        struct fr_buffer memory;
        struct agg_blob blob;
        uint64_t too_late = 0;
        double found;

        fr_buffer_init(&memory);
        blob = agg_blob__of_buffer(&memory);
        assert_true(agg_cells__add(&blob, catalogue->item, STORE_PART_SKETCHES, &input, &too_late));
        found = (double)feature->type->cells->value(feature, agg_cells__read(blob.memory, catalogue->item, feature),
                                                    &feature->windows[0], AGG_OUTPUT_VALUE, noon);
        greatest = fmax(greatest, fabs(found / value - 1));
        fr_buffer_fini(&memory);
    }
    print_message("greatest error %.4f %%\n", 100 * greatest);
    assert_true(greatest <= 0.0091 && greatest > 0.0085);
    agg_catalogue_free(catalogue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_what_their_definition_says),
        cmocka_unit_test(bytes_and_digest_are_of_the_set_and_not_of_its_arrival),
        cmocka_unit_test(the_form_of_registers_is_of_the_set),
        cmocka_unit_test(order_batches_pruning_and_restarts_do_not_show),
        cmocka_unit_test(with_fewer_windows_the_others_go_on),
        cmocka_unit_test(a_window_of_128_ids_is_exact_and_of_129_an_estimate),
        cmocka_unit_test(another_field_is_another_set_and_another_n),
        cmocka_unit_test(values_that_no_bucket_has_go_to_the_nearest),
        cmocka_unit_test(every_value_in_range_is_within_one_in_a_hundred),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
