/* Lists hold the best of each scope value, whatever the order and the batches; what is past is gone; mistakes are told. */
#include "shrink.h"
#include "stream.h"

#include <math.h>

static const struct agg_dedupe dedupe = {.ids = 32, .horizon_ms = 600000};
static const int64_t start = INT64_C(1700000000000);

#define ENTITIES                                                                                                               \
    "entities: { user: { key: [user_id] }, item: { key: [item_id] }, room: { key: [room_id] },\n"                              \
    "            creator: { key: [creator_id] } }\n"
#define HEAT                                                                                                                   \
    "features:\n"                                                                                                              \
    "  heat: { entity: item, actions: [watch, like, purchase], weights: { like: 3, purchase: 20 }, aggregate: decayed,\n"      \
    "          half_life: 1m }\n"

static struct agg_candidates trending(struct node *node, const char *scope, uint64_t id, uint32_t limit)
{
    struct agg_recall ask = {.name = "top", .scope = scope, .id = id, .limit = limit, .time_ms = node->stream_time_ms};
    struct agg_candidates candidates;
    struct fr_err err;

    fr_arena_reset(node->arena, 1 << 20);
    if (!agg_recall_trending(node->agg, &ask, node->arena, &candidates, &err))
        fail_msg("%s", err.message);
    return candidates;
}

/* ---- against sums reckoned from all events ---- */

enum { ITEMS = 40, BLOCKS = 64, LIMIT = 3 };
static const int64_t half_life_ms = 60000;

struct settled { /* an item of one scope value */
    int64_t block[BLOCKS]; /* from the one of `start` on */
    uint64_t id;
    double value;
};

static double weight_of(uint32_t action)
{
    return action == 13 ? 20 : action == 4 ? 3 : action == 3 ? 1 : 0;
}

static uint64_t value_of(const struct proto_event *event, int scope)
{
    return scope == 0 ? 1 : scope == 1 ? event->category_id : scope == 2 ? event->region : event->scene;
}

static const char *const scope_names[] = {"global", "category_id", "region", "scene"};

static int better(const void *a, const void *b)
{
    const struct settled *left = a, *right = b;

    if (left->value > right->value || left->value < right->value)
        return left->value > right->value ? -1 : 1;
    return left->id < right->id ? -1 : left->id > right->id;
}

static void settle(const struct proto_event *events, int count, int scope, uint64_t value, int64_t time_ms,
                   struct settled settled[ITEMS + 1])
{
    int64_t block_ms = 8 * half_life_ms, first = start / block_ms;

    memset(settled, 0, (ITEMS + 1) * sizeof *settled);
    for (int i = 0; i < count; i++) {
        const struct proto_event *event = &events[i];
        double share = exp2((double)(event->ts_ms % block_ms) / (double)half_life_ms);

        if (weight_of(event->action) > 0 && value_of(event, scope) == value && event->item_id <= ITEMS)
            settled[event->item_id].block[event->ts_ms / block_ms - first] +=
                llround(weight_of(event->action) * share * 16777216);
    }
    for (uint64_t item = 0; item <= ITEMS; item++) {
        settled[item].id = item;
        for (int64_t block = time_ms / block_ms - 3; block <= time_ms / block_ms; block++) {
            if (block >= first && settled[item].block[block - first] > 0)
                settled[item].value += (double)settled[item].block[block - first] / 16777216 *
                                       exp2((double)(block * block_ms - time_ms) / (double)half_life_ms);
        }
    }
    qsort(settled + 1, ITEMS, sizeof *settled, better);
}

static bool is_wrong(struct node *node, const struct proto_event *events, int count, int scope, uint64_t value, char text[512])
{
    struct agg_candidates candidates = trending(node, scope_names[scope], value, 0);
    struct settled settled[ITEMS + 1];
    uint32_t right = 0;

    settle(events, count, scope, value, node->stream_time_ms, settled);
    while (right < LIMIT && settled[right + 1].value > 0)
        right++;
    snprintf(text, 512, "%s %" PRIu64 ": %u candidates, not %u", scope_names[scope], value, candidates.count, right);
    if (candidates.count != right)
        return true;
    for (uint32_t i = 0; i < right; i++) {
        snprintf(text, 512, "%s %" PRIu64 ": place %u is %" PRIu64 " with %.9g, not %" PRIu64 " with %.9g", scope_names[scope],
                 value, i + 1, candidates.ids[i], (double)candidates.scores[i], settled[i + 1].id, settled[i + 1].value);
        if (candidates.ids[i] != settled[i + 1].id ||
            fabs((double)candidates.scores[i] - settled[i + 1].value) > 1e-6 * settled[i + 1].value)
            return true;
    }
    return false;
}

/* More candidates than a list keeps: 4 × 3 of 40 items. */
static bool list_fails(const void *user, const struct proto_event *events, int count, char text[512])
{
    struct node node = node_new(ENTITIES HEAT "lists: { top: { of: item, rank: heat, limit: 3,\n"
                                              "                scopes: [global, category_id, region, scene] } }\n",
                                dedupe);
    bool is_failed = false;

    stream_apply(&node, events, count, *(const uint64_t *)user);
    for (int scope = 0; scope < 4 && !is_failed; scope++) {
        for (uint64_t value = 1; value <= (scope == 0 ? 1 : 3) && !is_failed; value++)
            is_failed = is_wrong(&node, events, count, scope, value, text);
    }
    node_free(&node);
    return is_failed;
}

static void the_best_are_those_with_the_greatest_sums(void **state)
{
    static const uint32_t actions[] = {1, 3, 3, 4, 13, 19};

    (void)state;
    for (uint64_t seed = 1; seed <= 1000; seed++) {
        struct proto_event events[300] = {{0}};
        struct rng rng = {seed};
        int count = 1 + (int)rng_below(&rng, 300);
        int64_t span_ms = rng_one_in(&rng, 2) ? 4 * half_life_ms : 20 * half_life_ms;

        for (int i = 0; i < count; i++) {
            int64_t late_ms = rng_one_in(&rng, 4) ? rng_below(&rng, span_ms / 4) : 0;

            events[i] = (struct proto_event){.event_id = rng_next(&rng) | 1,
                                             .ts_ms = start + span_ms / 4 + span_ms * i / count - late_ms,
                                             .user_id = 1 + (uint64_t)rng_below(&rng, 5),
                                             .item_id = (uint64_t)rng_below(&rng, rng_one_in(&rng, 2) ? 8 : ITEMS + 1),
                                             .category_id = (uint64_t)rng_below(&rng, 4),
                                             .region = (uint64_t)rng_below(&rng, 4),
                                             .scene = (uint32_t)rng_below(&rng, 4),
                                             .action = actions[rng_below(&rng, 6)]};
            if (i > 0 && rng_one_in(&rng, 20))
                events[i].event_id = 0; /* not checked */
        }
        stream_check(list_fails, &seed, events, count);
    }
}

/* ---- one by one ---- */

static struct proto_event event_of(uint64_t item, uint32_t action, int64_t ts_ms)
{
    return (struct proto_event){.ts_ms = ts_ms, .item_id = item, .action = action, .category_id = 7, .creator_id = 5};
}

#define TOP HEAT "lists: { top: { of: item, rank: heat, scopes: [global, category_id], limit: 2 } }\n"

static void equal_sums_go_by_id(void **state)
{
    struct node node = node_new(ENTITIES TOP, dedupe);
    struct agg_candidates candidates;

    (void)state;
    for (uint64_t item = 9; item > 0; item--)
        node_apply_one(&node, event_of(item, 3, start), start);
    candidates = trending(&node, "global", 0, 0);
    assert_int_equal(candidates.count, 2);
    assert_true(candidates.ids[0] == 1 && candidates.ids[1] == 2);
    node_free(&node);
}

static void a_list_forgets_with_its_blocks_and_with_the_retention(void **state)
{
    struct node node = node_new("entities: { item: { key: [item_id], retention: 3m } }\n" TOP, dedupe);

    (void)state;
    node_apply_one(&node, event_of(1, 13, start), start);
    node_apply_one(&node, event_of(2, 3, start + 179999), start + 179999);
    assert_int_equal(trending(&node, "global", 0, 0).count, 2);
    node.stream_time_ms = start + 180000;
    assert_int_equal(trending(&node, "global", 0, 0).count, 1); /* swept or not */
    node_apply_one(&node, event_of(3, 3, start + 180000), start + 180000);
    assert_int_equal(trending(&node, "category_id", 7, 0).count, 2);
    node_free(&node);
}

static void an_empty_scope_has_no_candidates(void **state)
{
    struct node node = node_new(ENTITIES TOP, dedupe);

    (void)state;
    node_apply_one(&node, event_of(1, 3, start), start);
    assert_int_equal(trending(&node, "category_id", 8, 0).count, 0);
    assert_int_equal(trending(&node, "category_id", 0, 0).count, 0);
    assert_int_equal(trending(&node, "", 0, 0).count, 1);
    node_free(&node);
}

static void check_refused(struct node *node, const char *name, const char *scope, const char *message)
{
    struct agg_recall ask = {.name = name, .scope = scope, .time_ms = start};
    struct agg_candidates candidates;
    struct fr_err err;

    assert_false(agg_recall_trending(node->agg, &ask, node->arena, &candidates, &err));
    assert_int_equal(err.code, FR_BAD_INPUT);
    assert_string_equal(err.message, message);
}

static void unknown_names_are_told(void **state)
{
    struct node node = node_new(ENTITIES TOP, dedupe);

    (void)state;
    check_refused(&node, "topp", "", "list: unknown list 'topp'; did you mean 'top'?");
    check_refused(&node, "top", "category", "scope: unknown scope 'category'; did you mean 'category_id'?");
    node_free(&node);
}

static void mistakes_in_lists_are_told(void **state)
{
    static const struct {
        const char *list, *message;
    } cases[] = {
        {"{ of: items, rank: heat, scopes: [global], limit: 1 }", "lists.l.of: unknown name 'items'; did you mean 'item'?"},
        {"{ of: item, rank: heet, scopes: [global], limit: 1 }", "lists.l.rank: unknown name 'heet'; did you mean 'heat'?"},
        {"{ of: creator, rank: heat, scopes: [global], limit: 1 }", "lists.l.rank: is a feature of another entity than 'of'"},
        {"{ of: item, rank: n, scopes: [global], limit: 1 }", "lists.l.rank: is no decayed sum"},
        {"{ of: item, rank: heat, scopes: [user_id], limit: 1 }", "lists.l.scopes: unknown name 'user_id'"},
        {"{ of: item, rank: heat, scopes: [region, region], limit: 1 }", "lists.l.scopes: 'region' twice"},
        {"{ of: item, rank: heat, scopes: [global] }", "lists.l.limit: missing"},
        {"{ of: item, rank: heat, limit: 1 }", "lists.l.scopes: missing"},
        {"{ of: item, rank: heat, scopes: [global], limit: 1001 }", "limit"},
        {"{ rank: heat, scopes: [global], limit: 1 }", "lists.l.of: missing"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct fr_diagnostics diagnostics;
        char text[2048];

        snprintf(text, sizeof text, ENTITIES HEAT "  n: { entity: item, aggregate: count, windows: [1h] }\nlists: { l: %s }\n",
                 cases[i].list);
        fr_diagnostics_init(&diagnostics, "f.yaml");
        assert_null(catalogue_of(text, &dedupe, &diagnostics));
        fr_buffer_append_byte(&diagnostics.text, 0);
        if (!strstr((const char *)diagnostics.text.bytes, cases[i].message))
            fail_msg("%s tells: %s", cases[i].list, (const char *)diagnostics.text.bytes);
        fr_diagnostics_fini(&diagnostics);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_are_those_with_the_greatest_sums),
        cmocka_unit_test(equal_sums_go_by_id),
        cmocka_unit_test(a_list_forgets_with_its_blocks_and_with_the_retention),
        cmocka_unit_test(an_empty_scope_has_no_candidates),
        cmocka_unit_test(unknown_names_are_told),
        cmocka_unit_test(mistakes_in_lists_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
