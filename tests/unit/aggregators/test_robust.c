/*
 * What resists those who push: bounds of rates, counts with a cap for each user, bursts, actors; by the words of docs/values.md, over random
 * streams, and panes of more users than have room.
 */
#include "property.h"

enum { USERS = 3, SKETCH_PANES = 6, ROW_PANES = 24, READY = 8, EVENTS_MOST = 256 };

struct robust {
    int64_t window_ms, bin_ms;
    int cap, bins, events, where;
    double slack, fast, z;
};

static void configure(struct property_trial *trial, struct rng *rng)
{
    static const int64_t windows_s[] = {24, 60, 300, 3600, 86400, 604800};
    static const int64_t bins_s[] = {1, 10, 60, 3600};
    static const double slacks[] = {0, 1, 2.5};
    struct robust *robust = trial->own;

    *robust = (struct robust){.window_ms = windows_s[rng_below(rng, 6)] * 1000,
                              .bin_ms = bins_s[rng_below(rng, 4)] * 1000,
                              .cap = 1 + (int)rng_below(rng, 5),
                              .bins = 10 + (int)rng_below(rng, 50),
                              .events = 2 + (int)rng_below(rng, 60),
                              .where = rng_one_in(rng, 3) ? (int)rng_below(rng, 6) : 0,
                              .slack = slacks[rng_below(rng, 3)],
                              .fast = rng_one_in(rng, 2) ? 60 : 3,
                              .z = rng_one_in(rng, 2) ? 1.96 : 1};
    snprintf(
        trial->text, sizeof trial->text,
        "entities: { user: { key: [user_id], retention: 0 }, item: { key: [item_id], retention: 0 } }\n"
        "features:\n"
        "  capped: { entity: item, aggregate: capped, cap: %d, windows: [%llds], where: \"%s\" }\n"
        "  burst: { entity: item, aggregate: burst, bin: %llds, bins: %d, slack: %g, where: \"%s\" }\n"
        "  likes: { entity: item, actions: [like], aggregate: count, windows: [%llds] }\n"
        "  all: { entity: item, aggregate: count, windows: [%llds] }\n"
        "  rate: { entity: item, aggregate: ratio, of: [likes, all], windows: [%llds], z: %g, emit: [value, lower, upper] }\n"
        "  recent: { entity: user, aggregate: last, limit: 40, fields: [ts_ms] }\n"
        "  fast: { entity: user, aggregate: actor, of: recent, show: rate, events: %d }\n"
        "  same: { entity: user, aggregate: actor, of: recent, show: repetition, events: %d }\n"
        "  even: { entity: user, aggregate: actor, of: recent, show: regularity, events: %d }\n"
        "  actor: { entity: user, aggregate: actor, of: recent, events: %d, fast: %g }\n",
        robust->cap, (long long)robust->window_ms / 1000, robust->where > 0 ? stream_wheres[robust->where] : "ts_ms > 0",
        (long long)robust->bin_ms / 1000, robust->bins, robust->slack,
        robust->where > 0 ? stream_wheres[robust->where] : "ts_ms > 0", (long long)robust->window_ms / 1000,
        (long long)robust->window_ms / 1000, (long long)robust->window_ms / 1000, robust->z, robust->events, robust->events,
        robust->events, robust->events, robust->fast);
    for (int i = 0; i < 7; i++) {
        static const char *const names[] = {"capped", "burst", "rate", "fast", "same", "even", "actor"};

        trial->names[trial->name_count++] = names[i];
    }
    trial->spans_ms[trial->span_count++] = property_resolution(robust->window_ms, SKETCH_PANES);
    trial->spans_ms[trial->span_count++] = robust->window_ms;
    trial->spans_ms[trial->span_count++] = robust->bin_ms;
}

/* ---- a cap for each user ---- */

static int64_t pane_of(const struct robust *robust, int64_t ts_ms, int64_t panes_least)
{
    return ts_ms / property_resolution(robust->window_ms, panes_least);
}

static bool is_in(const struct property_look *look, int64_t ts_ms, int64_t panes_least)
{
    const struct robust *robust = look->trial->own;
    int64_t newest = pane_of(robust, look->time_ms, panes_least), pane = pane_of(robust, ts_ms, panes_least);

    return pane <= newest && pane > newest - robust->window_ms / property_resolution(robust->window_ms, panes_least);
}

static bool is_taken(const struct property_look *look, const struct proto_event *event, uint64_t item)
{
    const struct robust *robust = look->trial->own;

    return item != 0 && event->item_id == item && stream_where(robust->where, event);
}

/* An event counts unless `cap` before it are of the same user and pane. */
static bool check_capped(const struct property_look *look, int row)
{
    const struct robust *robust = look->trial->own;
    uint64_t item = look->request->item_ids[row];
    char name[32];
    int sum = 0;

    for (int i = 0; i < look->count; i++) {
        const struct proto_event *event = look->events[i];
        int before = 0;

        if (!is_taken(look, event, item) || event->user_id == 0 || !is_in(look, event->ts_ms, SKETCH_PANES))
            continue;
        for (int k = 0; k < i; k++)
            before += is_taken(look, look->events[k], item) && look->events[k]->user_id == event->user_id &&
                      pane_of(robust, look->events[k]->ts_ms, SKETCH_PANES) == pane_of(robust, event->ts_ms, SKETCH_PANES);
        sum += before < robust->cap;
    }
    snprintf(name, sizeof name, "capped.%llds", (long long)robust->window_ms / 1000);
    return property_equal(look, name, row, (float)sum);
}

/* ---- bursts ---- */

static double lower_median(const double *numbers, int count)
{
    for (int i = 0; i < count; i++) {
        int below = 0, same = 0;

        for (int k = 0; k < count; k++) {
            below += numbers[k] < numbers[i];
            same += !(numbers[k] < numbers[i]) && !(numbers[k] > numbers[i]);
        }
        if (below <= (count - 1) / 2 && (count - 1) / 2 < below + same)
            return numbers[i];
    }
    return 0;
}

static bool check_burst(const struct property_look *look, int row)
{
    const struct robust *robust = look->trial->own;
    double bins[64] = {0}, apart[64], middle, spread, sum = 0, last;
    int first = 0, whole = robust->bins - 1;

    for (int i = 0; i < look->count; i++) {
        int64_t at = look->events[i]->ts_ms / robust->bin_ms - look->time_ms / robust->bin_ms + whole;

        if (is_taken(look, look->events[i], look->request->item_ids[row]) && at >= 0 && at <= whole)
            bins[at]++;
    }
    while (first < whole && !(bins[first] > 0))
        first++;
    if (whole - first < READY)
        return property_equal(look, "burst", row, 0);
    middle = lower_median(bins + first, whole - first);
    for (int i = first; i < whole; i++)
        apart[i - first] = fabs(bins[i] - middle);
    spread = fmax(sqrt(fmax(middle, 1)), 1.4826 * lower_median(apart, whole - first));
    for (int i = first; i < whole; i++)
        sum = bins[i] > middle ? fmax(0, sum + (bins[i] - middle) / spread - robust->slack) : 0;
    last = bins[whole] > middle ? fmax(0, sum + (bins[whole] - middle) / spread - robust->slack) : 0;
    return property_near(look, "burst", row, fmax(sum, last), 1e-6);
}

/* ---- bounds ---- */

/* The two shares that `share` is z deviations off from, by halving. */
static double wilson(double share, double n, double z, bool is_upper)
{
    double low = is_upper ? share : 0, high = is_upper ? 1 : share;

    for (int i = 0; i < 200; i++) {
        double middle = (low + high) / 2;
        bool is_near = fabs(share - middle) <= z * sqrt(middle * (1 - middle) / n);

        if (is_near == is_upper)
            low = middle;
        else
            high = middle;
    }
    return (low + high) / 2;
}

static bool check_bounds(const struct property_look *look, int row)
{
    const struct robust *robust = look->trial->own;
    uint64_t item = look->request->item_ids[row];
    double likes = 0, all = 0;
    const char *kinds[] = {"lower", "upper"};

    for (int i = 0; i < look->count; i++) {
        const struct proto_event *event = look->events[i];
        bool is_own = item != 0 && event->item_id == item;

        if (!is_in(look, event->ts_ms, ROW_PANES))
            continue;
        likes += is_own && event->action == 4;
        all += is_own;
    }
    for (int i = 0; i < 2; i++) {
        char name[32];
        double expected = all > 0 ? wilson(likes / all, all, robust->z, i == 1) : i;

        snprintf(name, sizeof name, "rate.%llds.%s", (long long)robust->window_ms / 1000, kinds[i]);
        if (fabs((double)property_value(look, name, row) - expected) > 1e-6)
            return property_near(look, name, row, expected, 0);
    }
    return true;
}

/* ---- actors ---- */

/* The user's latest events, newest first. */
static int acts_of(const struct property_look *look, const struct proto_event **acts)
{
    const struct robust *robust = look->trial->own;
    int most = robust->events < 40 ? robust->events : 40, count = 0;

    for (int i = 0; i < look->count; i++) {
        const struct proto_event *event = look->events[i];
        int at = count;

        if (look->request->user_id == 0 || event->user_id != look->request->user_id)
            continue;
        while (at > 0 && proto_event_compare(event, acts[at - 1]) > 0)
            at--;
        if (at >= most)
            continue;
        count += count < most;
        memmove(&acts[at + 1], &acts[at], (size_t)(count - 1 - at) * sizeof *acts);
        acts[at] = event;
    }
    return count;
}

static double regularity(const struct proto_event *const *acts, int count)
{
    double entropy = 0, intervals = count - 1;

    if (count - 1 < 8)
        return 0;
    for (int i = 0; i + 1 < count; i++) { /* each adds its own share of the sum over scales */
        int same = 0, scale = 0;

        while ((acts[i]->ts_ms - acts[i + 1]->ts_ms) >> scale != 0)
            scale++;
        for (int k = 0; k + 1 < count; k++) {
            int other = 0;

            while ((acts[k]->ts_ms - acts[k + 1]->ts_ms) >> other != 0)
                other++;
            same += other == scale;
        }
        entropy -= log(same / intervals) / intervals;
    }
    return fmax(0, 1 - entropy / log(fmin(intervals, 16)));
}

static bool check_actor(const struct property_look *look)
{
    const struct robust *robust = look->trial->own;
    const struct proto_event *acts[EVENTS_MOST];
    int count = acts_of(look, acts), most = 0;
    double rate = 0, same, even = regularity(acts, count), found = 0;

    if (count > 1)
        rate = (count - 1) * 60000.0 / fmax((double)(acts[0]->ts_ms - acts[count - 1]->ts_ms), 1000);
    for (int i = 0; i < count; i++) {
        int on = 0;

        for (int k = 0; k < count; k++)
            on += acts[k]->item_id == acts[i]->item_id && acts[i]->item_id != 0;
        most = on > most ? on : most;
    }
    same = count > 1 ? (double)most / count : 0;
    found = rate / (rate + robust->fast) * (1 - (1 - same) * (1 - even));
    return property_near(look, "fast", 0, rate, 1e-6) && property_near(look, "same", 0, same, 1e-6) &&
           fabs((double)property_value(look, "even", 0) - even) < 1e-6 &&
           fabs((double)property_value(look, "actor", 0) - found) < 1e-6;
}

static bool check(const struct property_look *look)
{
    for (int row = 0; row < PROPERTY_ROWS; row++) {
        if (!check_capped(look, row) || !check_burst(look, row) || !check_bounds(look, row))
            return false;
    }
    return check_actor(look) || property_differs(look, "the actor at %" PRId64, look->time_ms);
}

static void what_resists_pushing_is_what_the_events_say(void **state)
{
    static const struct property property = {
        .name = "robust", .own_bytes = sizeof(struct robust), .configure = configure, .check = check};

    (void)state;
    property_run(&property);
}

/* ---- a prior is as many events more ---- */

static const int64_t noon_ms = INT64_C(1699999200000);
static const struct agg_dedupe dedupe = {.ids = 4, .horizon_ms = 60000};

static void bounds_know_the_prior(void **state)
{
    static const char text[] =
        "entities: { item: { key: [item_id] } }\n"
        "features:\n"
        "  likes: { entity: item, actions: [like], aggregate: count, windows: [1h] }\n"
        "  all: { entity: item, aggregate: count, windows: [1h] }\n"
        "  rate: { entity: item, aggregate: ratio, of: [likes, all], windows: [1h], prior: global, strength: 4,"
        " emit: [lower, upper] }\n";
    struct node node = node_new(text, dedupe);
    struct proto_event event = {.ts_ms = noon_ms, .scene = 1};

    (void)state;
    for (int i = 0; i < 8; i++) { /* item 1: 3 of 4, item 2: none of 4 */
        event.item_id = 1 + (uint64_t)i / 4;
        event.action = i < 3 ? 4 : 3;
        node_apply_one(&node, event, noon_ms);
    }
    for (uint64_t item = 1; item <= 3; item++) { /* the third was never there: it has the prior's four events */
        double own = item == 1 ? 3 : 0, all = item == 3 ? 0 : 4, share = (own + 4 * 0.375) / (all + 4);

        assert_true(fabs((double)node_value(&node, "rate.1h.lower", 0, item, noon_ms) - wilson(share, all + 4, 1.96, false)) <
                    1e-6);
        assert_true(fabs((double)node_value(&node, "rate.1h.upper", 0, item, noon_ms) - wilson(share, all + 4, 1.96, true)) <
                    1e-6);
    }
    node_free(&node);
}

/* ---- more users than have room ---- */

static float capped_of(struct node *node, uint64_t item)
{
    return node_value(node, "capped.1h", 0, item, noon_ms + 3000000);
}

/* So many users once, and one a thousand times, in the order of the seed. */
static void crowd(struct node *node, uint64_t item, int users, uint64_t seed)
{
    enum { OFTEN = 1000 };
    struct proto_event event = {.item_id = item, .action = 4, .scene = 1};
    enum agg_outcome outcomes[NODE_BATCH_MAX];
    struct rng rng = {seed};
    int *order = calloc((size_t)users + OFTEN, sizeof *order);

    for (int i = 0; i < users + OFTEN; i++)
        order[i] = i;
    for (int i = users + OFTEN - 1; i > 0; i--) {
        int other = (int)rng_below(&rng, i + 1), kept = order[i];

        order[i] = order[other];
        order[other] = kept;
    }
    for (int i = 0; i < users + OFTEN; i++) {
        event.user_id = order[i] < users ? 1000 + (uint64_t)order[i] : 7;
        event.ts_ms = noon_ms + order[i] * INT64_C(200) % 3000000;
        node_apply(node, &event, 1, noon_ms, outcomes);
    }
    free(order);
}

static const char catalogue[] = "entities: { item: { key: [item_id] } }\n"
                                "features: { capped: { entity: item, aggregate: capped, cap: 2, windows: [1h, 24h] } }\n";

static void nobody_counts_for_more_than_the_cap(void **state)
{
    struct node node = node_new(catalogue, dedupe);

    (void)state;
    crowd(&node, 1, 60, 3);
    assert_true(capped_of(&node, 1) <= 60 + 2 * 6);
    assert_true(capped_of(&node, 1) >= 60);
    node_free(&node);
}

static void a_crowd_is_estimated_and_no_order_of_it_shows(void **state)
{
    struct node node = node_new(catalogue, dedupe);
    float found;

    (void)state;
    crowd(&node, 1, 20000, 3);
    crowd(&node, 2, 20000, 99);
    found = capped_of(&node, 1);
    assert_true(found > 20000 * 0.92F && found < 20000 * 1.08F);
    assert_true(memcmp(&found, (float[]){capped_of(&node, 2)}, sizeof found) == 0);
    node_free(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_resists_pushing_is_what_the_events_say),
        cmocka_unit_test(bounds_know_the_prior),
        cmocka_unit_test(nobody_counts_for_more_than_the_cap),
        cmocka_unit_test(a_crowd_is_estimated_and_no_order_of_it_shows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
