/* Covisitation pairs what the Contract says, in the order of arrival, and keeps the heaviest partners. */
#include "shrink.h"
#include "stream.h"

#include <math.h>

static const struct agg_dedupe dedupe = {.ids = 32, .horizon_ms = 600000};
static const int64_t start = INT64_C(1700000000000);

enum {
    LIMIT = 2,
    KEPT = 4 * LIMIT,
    RECORDS = 14,
    WITHIN_MS = 300000,
    HALF_LIFE_MS = 600000,
    ITEMS = 16,
    USERS = 3,
    BLOCKS = 8
};

#define CATALOGUE                                                                                                              \
    "entities: { user: { key: [user_id] }, item: { key: [item_id] } }\n"                                                       \
    "features:\n"                                                                                                              \
    "  related: { entity: item, aggregate: covisit, from: recent, within: 5m, half_life: 10m, limit: 2 }\n"                    \
    "  recent: { entity: user, actions: [watch, like], aggregate: last, limit: 14, fields: [action, ts_ms] }\n"                \
    "  seen: { entity: user, actions: [impression], aggregate: last, limit: 9, fields: [position], seen: true }\n"

static struct agg_candidates related(struct node *node, uint64_t item, uint64_t user)
{
    struct agg_recall ask = {.name = "", .scope = "", .id = item, .user_id = user, .time_ms = node->stream_time_ms};
    struct agg_candidates candidates;
    struct fr_err err;

    fr_arena_reset(node->arena, 1 << 20);
    if (!agg_recall_related(node->agg, &ask, node->arena, &candidates, &err))
        fail_msg("%s", err.message);
    return candidates;
}

/* ---- the same, step by step ---- */

struct partner {
    uint64_t id;
    int64_t block[BLOCKS]; /* from the one of `start` on */
};

struct model {
    struct proto_event kept[USERS + 1][RECORDS]; /* ascending */
    int kept_count[USERS + 1];
    struct partner partners[ITEMS + 1][KEPT];
    int partner_count[ITEMS + 1];
};

static int compare_events(const struct proto_event *a, const struct proto_event *b)
{
    uint64_t left[AGG_ORDER_WORDS], right[AGG_ORDER_WORDS];

    agg_order__take(a, left);
    agg_order__take(b, right);
    return agg_order__compare(left, right, 4); /* what the sequence keeps: down to item_id */
}

static double value_of(const struct partner *partner, int64_t time_ms)
{
    int64_t block_ms = INT64_C(8) * HALF_LIFE_MS, first = start / block_ms;
    double value = 0;

    for (int i = 0; i < BLOCKS; i++) {
        int64_t block = first + i;

        if (block > time_ms / block_ms - 4 && block <= time_ms / block_ms)
            value += (double)partner->block[i] / 16777216 * exp2((double)(block * block_ms - time_ms) / (double)HALF_LIFE_MS);
    }
    return value;
}

/* Beside others, with all that was ever added. */
static double weight_of(const struct partner *partner)
{
    double weight = 0;

    for (int i = 0; i < BLOCKS; i++)
        weight += ldexp((double)partner->block[i], 8 * i);
    return weight;
}

static void model_add(struct model *model, uint64_t item, uint64_t other, int64_t ts_ms)
{
    int64_t block_ms = INT64_C(8) * HALF_LIFE_MS;
    struct partner *partners = model->partners[item];
    int *count = &model->partner_count[item], at = 0;

    while (at < *count && partners[at].id != other)
        at++;
    if (at == *count && *count == KEPT) {
        at = 0;
        for (int i = 1; i < KEPT; i++) {
            double lightest = weight_of(&partners[at]), weight = weight_of(&partners[i]);

            if (weight < lightest || (weight <= lightest && partners[i].id > partners[at].id))
                at = i;
        }
    } else if (at == *count) {
        partners[(*count)++] = (struct partner){0};
    }
    partners[at].id = other;
    partners[at].block[ts_ms / block_ms - start / block_ms] +=
        llround(exp2((double)(ts_ms % block_ms) / (double)HALF_LIFE_MS) * 16777216);
}

static void model_pair(struct model *model, const struct proto_event *event)
{
    const struct proto_event *kept = model->kept[event->user_id];
    bool is_taken[RECORDS] = {false};

    for (int pair = 0; pair < 10; pair++) {
        int nearest = -1;

        for (int i = model->kept_count[event->user_id] - 1; i >= 0; i--) {
            if (!is_taken[i] && kept[i].item_id != 0 && kept[i].item_id != event->item_id &&
                (nearest < 0 || llabs(kept[i].ts_ms - event->ts_ms) < llabs(kept[nearest].ts_ms - event->ts_ms)))
                nearest = i;
        }
        if (nearest < 0 || llabs(kept[nearest].ts_ms - event->ts_ms) > WITHIN_MS)
            return;
        is_taken[nearest] = true;
        for (int side = 0; side < 2; side++)
            model_add(model, side ? kept[nearest].item_id : event->item_id, side ? event->item_id : kept[nearest].item_id,
                      kept[nearest].ts_ms > event->ts_ms ? kept[nearest].ts_ms : event->ts_ms);
    }
}

static void model_apply(struct model *model, const struct proto_event *event)
{
    struct proto_event *kept = model->kept[event->user_id];
    int *count = &model->kept_count[event->user_id], at;

    if (event->action != 3 && event->action != 4)
        return;
    if (event->item_id != 0)
        model_pair(model, event);
    if (*count == RECORDS) {
        if (compare_events(event, &kept[0]) <= 0)
            return;
        memmove(kept, kept + 1, (size_t)-- * count * sizeof *kept);
    }
    for (at = *count; at > 0 && compare_events(&kept[at - 1], event) > 0; at--)
        kept[at] = kept[at - 1];
    kept[at] = *event;
    ++*count;
}

static bool is_wrong(struct node *node, struct model *model, uint64_t item, char text[512])
{
    struct agg_candidates candidates = related(node, item, 0);
    bool is_shown[KEPT] = {false};

    for (uint32_t place = 0; place < LIMIT; place++) {
        const struct partner *partners = model->partners[item];
        int best = -1;
        double value;

        for (int i = 0; i < model->partner_count[item]; i++) {
            double left = value_of(&partners[i], node->stream_time_ms);
            double right = best < 0 ? 0 : value_of(&partners[best], node->stream_time_ms);

            if (!is_shown[i] && left > 0 &&
                (left > right || (best >= 0 && left >= right && partners[i].id < partners[best].id)))
                best = i;
        }
        if (best < 0) {
            snprintf(text, 512, "item %" PRIu64 ": %u partners, not %u", item, candidates.count, place);
            return candidates.count != place;
        }
        is_shown[best] = true;
        value = value_of(&partners[best], node->stream_time_ms);
        snprintf(text, 512, "item %" PRIu64 ": place %u of %u is not %" PRIu64 " with %.9g", item, place + 1, candidates.count,
                 partners[best].id, value);
        if (place >= candidates.count || candidates.ids[place] != partners[best].id ||
            fabs((double)candidates.scores[place] - value) > 1e-6 * value)
            return true;
    }
    return false;
}

/* Each batch is one event: then the order of arrival is that of the stream, whoever's users they are. */
static bool covisit_fails(const void *user, const struct proto_event *events, int count, char text[512])
{
    struct node node = node_new(CATALOGUE, dedupe);
    struct model *model = calloc(1, sizeof *model);
    bool is_failed = false;

    (void)user;
    for (int i = 0; i < count; i++) {
        node_apply_one(&node, events[i], node.stream_time_ms);
        model_apply(model, &events[i]);
        if (i % 64 == 63) {
            node_commit(&node);
            node_restart(&node);
        }
    }
    for (uint64_t item = 1; item <= ITEMS && !is_failed; item++)
        is_failed = is_wrong(&node, model, item, text);
    free(model);
    node_free(&node);
    return is_failed;
}

/* Of one user in batches: the order of arrival is that of the batch. */
static bool batches_fail(const void *user, const struct proto_event *events, int count, char text[512])
{
    struct node node = node_new(CATALOGUE, dedupe);
    struct model *model = calloc(1, sizeof *model);
    bool is_failed = false;

    stream_apply(&node, events, count, *(const uint64_t *)user);
    for (int i = 0; i < count; i++)
        model_apply(model, &events[i]);
    for (uint64_t item = 1; item <= ITEMS && !is_failed; item++)
        is_failed = is_wrong(&node, model, item, text);
    free(model);
    node_free(&node);
    return is_failed;
}

static int make_events(struct rng *rng, int users, struct proto_event *events, int most)
{
    static const uint32_t actions[] = {1, 3, 3, 3, 4};
    int count = 1 + (int)rng_below(rng, most);
    int64_t step_ms = rng_one_in(rng, 2) ? 20000 : 120000;
    int items = rng_one_in(rng, 2) ? 6 : ITEMS;

    for (int i = 0; i < count; i++)
        events[i] =
            (struct proto_event){.ts_ms = start + 3600000 + step_ms * i - (rng_one_in(rng, 4) ? rng_below(rng, 3600000) : 0) -
                                          (rng_one_in(rng, 4) ? (step_ms * i) % 60000 : 0),
                                 .event_id = (uint64_t)i + 1,
                                 .user_id = 1 + (uint64_t)rng_below(rng, users),
                                 .item_id = (uint64_t)rng_below(rng, items + 1),
                                 .action = actions[rng_below(rng, 5)]};
    return count;
}

static void pairs_are_those_of_the_order_of_arrival(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        struct proto_event events[120];
        struct rng rng = {seed};
        int count = make_events(&rng, USERS, events, 120);

        stream_check(covisit_fails, &seed, events, count);
    }
}

static void pairs_within_a_batch_are_those_of_its_order(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        struct proto_event events[120];
        struct rng rng = {seed};
        int count = make_events(&rng, 1, events, 120);

        stream_check(batches_fail, &seed, events, count);
    }
}

/* ---- one by one ---- */

static struct proto_event watch(uint64_t user, uint64_t item, int64_t ts_ms)
{
    return (struct proto_event){.user_id = user, .item_id = item, .action = 3, .ts_ms = ts_ms};
}

static void a_pair_counts_for_both_and_once(void **state)
{
    struct node node = node_new(CATALOGUE, dedupe);

    (void)state;
    node_apply_one(&node, watch(1, 10, start), start);
    node_apply_one(&node, watch(1, 20, start + 60000), start);
    node_apply_one(&node, watch(2, 20, start), start); /* another user's is no pair */
    node_apply_one(&node, watch(1, 30, start + 360001), start); /* too far from both */
    node.stream_time_ms = start + 60000 + HALF_LIFE_MS;
    assert_int_equal(related(&node, 10, 0).count, 1);
    assert_true(related(&node, 10, 0).ids[0] == 20 && fabs((double)related(&node, 10, 0).scores[0] - 0.5) < 1e-6);
    assert_true(related(&node, 20, 0).ids[0] == 10 && fabs((double)related(&node, 20, 0).scores[0] - 0.5) < 1e-6);
    assert_int_equal(related(&node, 30, 0).count, 0);
    assert_int_equal(related(&node, 0, 0).count, 0);
    node_free(&node);
}

static void what_was_seen_and_what_is_off_is_left_out(void **state)
{
    struct node node = node_new(CATALOGUE, dedupe);

    (void)state;
    for (uint64_t item = 10; item < 14; item++)
        node_apply_one(&node, watch(1, item, start), start);
    assert_int_equal(related(&node, 10, 2).ids[0], 11);
    node_apply_one(&node, (struct proto_event){.user_id = 2, .item_id = 11, .action = 1, .ts_ms = start}, start);
    assert_int_equal(related(&node, 10, 2).ids[0], 12);
    assert_int_equal(related(&node, 10, 3).ids[0], 11);
    node_apply_one(&node, (struct proto_event){.item_id = 12, .action = 20, .ts_ms = start}, start);
    assert_int_equal(related(&node, 10, 2).ids[0], 13);
    assert_int_equal(related(&node, 10, 2).count, 1);
    node_free(&node);
}

static void mistakes_in_settings_are_told(void **state)
{
    static const struct {
        const char *feature, *message;
    } cases[] = {
        {"{ entity: item, aggregate: covisit, within: 5m, half_life: 10m, limit: 2 }", "features.c.from: missing"},
        {"{ entity: item, aggregate: covisit, from: n, within: 5m, half_life: 10m, limit: 2 }",
         "features.c.from: is no sequence"},
        {"{ entity: item, aggregate: covisit, from: i, within: 5m, half_life: 10m, limit: 2 }",
         "features.c.from: should be a sequence of the user"},
        {"{ entity: user, aggregate: covisit, from: r, within: 5m, half_life: 10m, limit: 2 }",
         "features.c.entity: is not the item"},
        {"{ entity: item, aggregate: covisit, from: r, half_life: 10m, limit: 2 }", "features.c.within: missing"},
        {"{ entity: item, aggregate: covisit, from: r, within: 5m, half_life: 10m }", "features.c.limit: missing"},
        {"{ entity: item, aggregate: covisit, from: r, within: 5m, half_life: 10m, limit: 2, actions: [like] }",
         "features.c.actions: covisit has none"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fr_diagnostics diagnostics;
        char text[2048];

        snprintf(text, sizeof text,
                 "entities: { user: { key: [user_id] }, item: { key: [item_id] } }\nfeatures:\n"
                 "  n: { entity: item, aggregate: count, windows: [1h] }\n"
                 "  i: { entity: item, aggregate: last, limit: 2, fields: [user_id] }\n"
                 "  r: { entity: user, aggregate: last, limit: 2, fields: [item_id] }\n  c: %s\n",
                 cases[i].feature);
        fr_diagnostics_init(&diagnostics, "f.yaml");
        assert_null(catalogue_of(text, &dedupe, &diagnostics));
        fr_buffer_append_byte(&diagnostics.text, 0);
        if (!strstr((const char *)diagnostics.text.bytes, cases[i].message))
            fail_msg("%s tells: %s", cases[i].feature, (const char *)diagnostics.text.bytes);
        fr_diagnostics_fini(&diagnostics);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs_are_those_of_the_order_of_arrival),
        cmocka_unit_test(pairs_within_a_batch_are_those_of_its_order),
        cmocka_unit_test(a_pair_counts_for_both_and_once),
        cmocka_unit_test(what_was_seen_and_what_is_off_is_left_out),
        cmocka_unit_test(mistakes_in_settings_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
