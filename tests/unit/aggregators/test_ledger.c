/*
 * The exposure ledger by the words of docs/ledger.md, over random streams: an entity's share of its parent's events, how unevenly members
 * have them, what a new one has left of its quota; and members of whom there are more than have room.
 */
#include "property.h"

enum { SKETCH_PANES = 6, ROW_PANES = 24 };

struct ledger {
    int64_t window_ms, newer_ms, known_ms;
    int quota, where;
};

static void configure(struct property_trial *trial, struct rng *rng)
{
    static const int64_t windows_s[] = {24, 60, 300, 3600, 86400, 604800};
    struct ledger *ledger = trial->own;

    *ledger = (struct ledger){.window_ms = windows_s[rng_below(rng, 6)] * 1000,
                              .newer_ms = windows_s[rng_below(rng, 5)] * 1000,
                              .quota = 1 + (int)rng_below(rng, 9),
                              .where = rng_one_in(rng, 3) ? (int)rng_below(rng, 6) : 0};
    ledger->known_ms = ledger->newer_ms * (2 + rng_below(rng, 30));
    snprintf(
        trial->text, sizeof trial->text,
        "entities: { user: { key: [user_id], retention: 0 }, item: { key: [item_id], retention: 0 },\n"
        "  pair: { key: [user_id, item_id], parent: item, retention: 0 } }\n"
        "features:\n"
        "  had: { entity: pair, aggregate: count, windows: [%llds], where: \"%s\" }\n"
        "  part: { entity: pair, aggregate: share, scope: parent, of: had, windows: [%llds], emit: [value, n] }\n"
        "  uneven: { entity: item, aggregate: gini, of: user_id, windows: [%llds] }\n"
        "  left: { entity: item, aggregate: quota, quota: %d, newer_than: %llds, forgotten_after: %llds, actions: [like] }\n",
        (long long)ledger->window_ms / 1000, ledger->where > 0 ? stream_wheres[ledger->where] : "ts_ms > 0",
        (long long)ledger->window_ms / 1000, (long long)ledger->window_ms / 1000, ledger->quota,
        (long long)ledger->newer_ms / 1000, (long long)ledger->known_ms / 1000);
    for (int i = 0; i < 3; i++)
        trial->names[trial->name_count++] = (const char *[]){"part", "uneven", "left"}[i];
    trial->spans_ms[trial->span_count++] = ledger->window_ms;
    trial->spans_ms[trial->span_count++] = ledger->newer_ms;
    trial->spans_ms[trial->span_count++] = ledger->known_ms;
}

static bool is_in(const struct property_look *look, const struct proto_event *event, int64_t window_ms, int panes_least)
{
    int64_t resolution_ms = property_resolution(window_ms, panes_least);
    int64_t newest = look->time_ms / resolution_ms, pane = event->ts_ms / resolution_ms;

    return pane <= newest && pane > newest - window_ms / resolution_ms;
}

/* ---- shares ---- */

static bool check_share(const struct property_look *look, int row)
{
    const struct ledger *ledger = look->trial->own;
    uint64_t item = look->request->item_ids[row], user = look->request->user_id;
    double own = 0, whole = 0;
    char name[32];

    for (int i = 0; i < look->count; i++) {
        const struct proto_event *event = look->events[i];

        if (item == 0 || event->item_id != item || event->user_id == 0 || !stream_where(ledger->where, event) ||
            !is_in(look, event, ledger->window_ms, ROW_PANES))
            continue;
        whole++;
        own += event->user_id == user;
    }
    snprintf(name, sizeof name, "part.%llds.n", (long long)ledger->window_ms / 1000);
    if (!property_equal(look, name, row, (float)whole))
        return false;
    *strstr(name, ".n") = '\0';
    return property_equal(look, name, row, whole > 0 ? (float)(own / whole) : 0);
}

/* ---- Gini ---- */

/* By its definition: the mean difference of two members over twice the mean. */
static bool check_gini(const struct property_look *look, int row)
{
    const struct ledger *ledger = look->trial->own;
    uint64_t item = look->request->item_ids[row], members[PROPERTY_STEPS_MAX];
    double had[PROPERTY_STEPS_MAX], apart = 0, sum = 0;
    int count = 0;
    char name[32];

    for (int i = 0; i < look->count; i++) {
        const struct proto_event *event = look->events[i];
        int at = 0;

        if (item == 0 || event->item_id != item || event->user_id == 0 || !is_in(look, event, ledger->window_ms, SKETCH_PANES))
            continue;
        while (at < count && members[at] != event->user_id)
            at++;
        if (at == count) {
            members[count] = event->user_id;
            had[count++] = 0;
        }
        had[at]++;
        sum++;
    }
    for (int i = 0; i < count; i++)
        for (int k = 0; k < count; k++)
            apart += fabs(had[i] - had[k]);
    snprintf(name, sizeof name, "uneven.%llds", (long long)ledger->window_ms / 1000);
    return property_near(look, name, row, count > 0 ? apart / (2 * count * sum) : 0, 1e-6);
}

/* ---- quotas ---- */

static bool check_quota(const struct property_look *look, int row)
{
    const struct ledger *ledger = look->trial->own;
    uint64_t item = look->request->item_ids[row];
    int old = 0, shown = 0, left;

    for (int i = 0; i < look->count; i++) {
        const struct proto_event *event = look->events[i];
        bool is_new = is_in(look, event, ledger->newer_ms, ROW_PANES);

        if (item == 0 || event->item_id != item)
            continue;
        old += is_in(look, event, ledger->known_ms, ROW_PANES);
        old -= is_new;
        shown += is_new && event->action == 4;
    }
    left = ledger->quota - shown > 0 ? ledger->quota - shown : 0;
    return property_equal(look, "left", row, old > 0 ? 0 : (float)left);
}

static bool check(const struct property_look *look)
{
    for (int row = 0; row < PROPERTY_ROWS; row++) {
        if (!check_share(look, row) || !check_gini(look, row) || !check_quota(look, row))
            return false;
    }
    return true;
}

static void the_ledger_is_what_the_events_say(void **state)
{
    static const struct property property = {
        .name = "ledger", .own_bytes = sizeof(struct ledger), .configure = configure, .check = check};

    (void)state;
    property_run(&property);
}

/* ---- more members than have room ---- */

static const int64_t noon_ms = INT64_C(1699999200000);
static const struct agg_dedupe dedupe = {.ids = 4, .horizon_ms = 60000};
static const char catalogue[] = "entities: { item: { key: [item_id] } }\n"
                                "features: { uneven: { entity: item, aggregate: gini, of: creator_id, windows: [1h, 24h] } }\n";

static float gini_of(struct node *node, uint64_t item)
{
    return node_value(node, "uneven.1h", 0, item, noon_ms + 3000000);
}

/* Member i of so many has most/i events, at least one: how uneven that is. In the order of the seed. */
static double crowd(struct node *node, uint64_t item, int members, int most, uint64_t seed)
{
    struct proto_event event = {.item_id = item, .action = 1, .scene = 1};
    enum agg_outcome outcomes[NODE_BATCH_MAX];
    struct rng rng = {seed};
    double weighed = 0, all = 0;
    int *order, count = 0;

    for (int i = members; i >= 1; i--) { /* the least first */
        int had = most / i > 1 ? most / i : 1;

        weighed += (2.0 * (members - i + 1) - members - 1) * had;
        all += had;
    }
    order = calloc((size_t)all, sizeof *order);
    for (int i = 1; i <= members; i++)
        for (int k = 0; k < (most / i > 1 ? most / i : 1); k++)
            order[count++] = i;
    for (int i = count - 1; i > 0; i--) {
        int other = (int)rng_below(&rng, i + 1), kept = order[i];

        order[i] = order[other];
        order[other] = kept;
    }
    for (int i = 0; i < count; i++) {
        event.creator_id = (uint64_t)order[i];
        event.ts_ms = noon_ms + (int64_t)order[i] * 7919 % 3000000;
        node_apply(node, &event, 1, noon_ms, outcomes);
    }
    free(order);
    return weighed / (members * all);
}

static void up_to_512_members_are_exact(void **state)
{
    struct node node = node_new(catalogue, dedupe);

    (void)state;
    assert_true(fabs((double)gini_of(&node, 1)) < 1e-9); /* nobody */
    assert_true(fabs(crowd(&node, 1, 1, 5, 3) - (double)gini_of(&node, 1)) < 1e-9); /* one has all: nothing to be uneven with */
    assert_true(fabs(crowd(&node, 2, 512, 1, 3) - (double)gini_of(&node, 2)) < 1e-9); /* all alike */
    assert_true(fabs(crowd(&node, 3, 512, 900, 3) - (double)gini_of(&node, 3)) < 1e-6);
    node_free(&node);
}

static void more_members_are_estimated_and_no_order_of_them_shows(void **state)
{
    static const int members[] = {513, 600, 2000, 10000};
    struct node node = node_new(catalogue, dedupe);

    (void)state;
    for (int i = 0; i < 4; i++) {
        double right = crowd(&node, 10 + (uint64_t)i, members[i], 3000, 3);
        float found = gini_of(&node, 10 + (uint64_t)i);

        crowd(&node, 20 + (uint64_t)i, members[i], 3000, 99);
        print_message("%d members: %.4f, shown as %.4f\n", members[i], right, (double)found);
        assert_true(fabs((double)found - right) < 0.05);
        assert_true(memcmp(&found, (float[]){gini_of(&node, 20 + (uint64_t)i)}, sizeof found) == 0);
    }
    node_commit(&node);
    node_restart(&node); /* from disk it is the same */
    assert_true(memcmp((float[]){gini_of(&node, 13)}, (float[]){gini_of(&node, 23)}, sizeof(float)) == 0);
    assert_true((double)gini_of(&node, 13) > 0.1);
    node_free(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_ledger_is_what_the_events_say),
        cmocka_unit_test(up_to_512_members_are_exact),
        cmocka_unit_test(more_members_are_estimated_and_no_order_of_them_shows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
