/*
 * What is held against all events, and what is weighed by its propensity, by the words of docs/values.md, over random streams: clicks over
 * expected clicks, ranks of watches among those of their length, inverse propensities and their ratio.
 */
#include "property.h"

enum { IMPRESSION = 1, CLICK = 2, WATCH = 3, LENGTHS = 13, TIMES = 81, SKETCH_PANES = 6, ROW_PANES = 24 };

struct causal {
    int64_t window_ms;
    int positions, where;
    bool is_by_scene, is_of_value;
    double strength, floor;
};

static void configure(struct property_trial *trial, struct rng *rng)
{
    static const int64_t windows_s[] = {24, 60, 300, 3600, 86400, 604800};
    static const double strengths[] = {0, 0, 1, 2.5};
    static const double floors[] = {0.0001, 0.01, 0.1, 1};
    struct causal *causal = trial->own;
    char where[128];

    causal->window_ms = windows_s[rng_below(rng, 6)] * 1000;
    causal->positions = 1 + (int)rng_below(rng, rng_one_in(rng, 2) ? 5 : 100);
    causal->where = rng_one_in(rng, 3) ? (int)rng_below(rng, 6) : 0;
    causal->is_by_scene = rng_one_in(rng, 2);
    causal->is_of_value = rng_one_in(rng, 2);
    causal->strength = strengths[rng_below(rng, 4)];
    causal->floor = floors[rng_below(rng, 4)];
    snprintf(where, sizeof where, "windows: [%llds], where: \"%s\"", (long long)causal->window_ms / 1000,
             causal->where > 0 ? stream_wheres[causal->where] : "ts_ms > 0");
    snprintf(
        trial->text, sizeof trial->text,
        "entities: { item: { key: [item_id], retention: 0 } }\n"
        "features:\n"
        "  coec: { entity: item, aggregate: coec, positions: %d, curve: %s, strength: %g, %s, emit: [value, n, sd] }\n"
        "  rank: { entity: item, aggregate: watch_rank, strength: %g, %s, emit: [value, n, sd] }\n"
        "  ips: { entity: item, actions: [click], aggregate: ips, %s floor: %g, weights: { click: 3 }, %s, emit: [value, n] }\n"
        "  shown: { entity: item, actions: [impression, click], aggregate: ips, floor: %g, %s }\n"
        "  snips: { entity: item, aggregate: ratio, of: [ips, shown], windows: [%llds] }\n",
        causal->positions, causal->is_by_scene ? "scene" : "global", causal->strength, where, causal->strength, where,
        causal->is_of_value ? "of: value," : "", causal->floor, where, causal->floor, where,
        (long long)causal->window_ms / 1000);
    trial->names[trial->name_count++] = "coec";
    trial->names[trial->name_count++] = "rank";
    trial->names[trial->name_count++] = "ips";
    trial->names[trial->name_count++] = "snips";
    trial->spans_ms[trial->span_count++] = property_resolution(causal->window_ms, SKETCH_PANES);
    trial->spans_ms[trial->span_count++] = causal->window_ms;
}

static void adapt(const struct property_trial *trial, struct proto_event *event, uint64_t base, struct rng *rng)
{
    static const float propensities[] = {0, 0.5F, 0.003F, 1, 1.5F, -0.25F, 0.0625F};
    static const double lengths_s[] = {0.5, 7, 15.9, 16, 4096, 1e9, 0, -3};

    (void)trial, (void)base;
    event->action = rng_one_in(rng, 8) ? event->action : (uint32_t)(1 + rng_below(rng, 3));
    event->propensity = propensities[rng_below(rng, 7)];
    event->position = rng_one_in(rng, 20) ? UINT32_MAX : (uint32_t)rng_below(rng, 8);
    event->duration_s = lengths_s[rng_below(rng, 8)];
    event->value = rng_one_in(rng, 4) ? event->value : (double)rng_below(rng, 400) / 8;
}

/* The column of the one window; good until the fourth next. */
static const char *column(const struct property_look *look, const char *feature, const char *companion)
{
    static char names[4][64];
    static unsigned at;
    const struct causal *causal = look->trial->own;
    char *name = names[at++ % 4];

    snprintf(name, sizeof names[0], "%s.%llds%s", feature, (long long)causal->window_ms / 1000, companion);
    return name;
}

static bool is_in(const struct property_look *look, int64_t ts_ms, int64_t panes_least)
{
    const struct causal *causal = look->trial->own;
    int64_t resolution = property_resolution(causal->window_ms, panes_least);
    int64_t pane = ts_ms / resolution, newest = look->time_ms / resolution;

    return pane <= newest && pane > newest - causal->window_ms / resolution;
}

/* ---- clicks over expected clicks ---- */

static bool is_at(const struct causal *causal, const struct proto_event *a, const struct proto_event *b)
{
    uint32_t last = (uint32_t)causal->positions;

    return (a->position < last ? a->position : last) == (b->position < last ? b->position : last) &&
           (!causal->is_by_scene || a->scene == b->scene);
}

static double click_rate(const struct property_look *look, const struct proto_event *at)
{
    const struct causal *causal = look->trial->own;
    double shown = 0, clicks = 0;

    for (int i = 0; i < look->count; i++) {
        const struct proto_event *event = look->events[i];

        if (!is_in(look, event->ts_ms, SKETCH_PANES) || !stream_where(causal->where, event) || !is_at(causal, event, at))
            continue;
        shown += event->action == IMPRESSION;
        clicks += event->action == CLICK;
    }
    return shown > 0 ? clicks / shown : 0;
}

static bool check_coec(const struct property_look *look, int row)
{
    const struct causal *causal = look->trial->own;
    double clicks = causal->strength, expected = causal->strength, shown = 0;

    for (int i = 0; i < look->count; i++) {
        const struct proto_event *event = look->events[i];

        if (event->item_id != look->request->item_ids[row] || event->item_id == 0 || !is_in(look, event->ts_ms, SKETCH_PANES) ||
            !stream_where(causal->where, event))
            continue;
        clicks += event->action == CLICK;
        shown += event->action == IMPRESSION;
        expected += event->action == IMPRESSION ? click_rate(look, event) : 0;
    }
    return property_near(look, column(look, "coec", ""), row, expected > 0 ? clicks / expected : 1, 1e-6) &&
           property_equal(look, column(look, "coec", ".n"), row, (float)shown) &&
           property_near(look, column(look, "coec", ".sd"), row, expected > 0 ? sqrt(clicks) / expected : 0, 1e-6);
}

/* ---- ranks of watches ---- */

static int length_of(const struct proto_event *event)
{
    int length = 0;

    while (length < LENGTHS - 1 && event->duration_s >= ldexp(2, length))
        length++;
    return length;
}

static int time_of(const struct proto_event *event)
{
    double part = event->value / ldexp(1, length_of(event));
    int time = 0;

    while (time < TIMES - 1 && part >= exp2((double)time / 8 - 6)) /* drawn values lie on no edge but powers of 2 */
        time++;
    return time;
}

static bool is_watch(const struct property_look *look, const struct proto_event *event)
{
    const struct causal *causal = look->trial->own;

    return event->action == WATCH && event->duration_s > 0 && is_in(look, event->ts_ms, SKETCH_PANES) &&
           stream_where(causal->where, event);
}

static double rank_of(const struct property_look *look, const struct proto_event *at)
{
    double below = 0, same = 0, all = 0;

    for (int i = 0; i < look->count; i++) {
        if (!is_watch(look, look->events[i]) || length_of(look->events[i]) != length_of(at))
            continue;
        below += time_of(look->events[i]) < time_of(at);
        same += time_of(look->events[i]) == time_of(at);
        all++;
    }
    return (below + same / 2) / all;
}

static bool check_rank(const struct property_look *look, int row)
{
    const struct causal *causal = look->trial->own;
    double n = 0, sum = 0, spread = 0, found;

    for (int i = 0; i < look->count; i++) {
        if (look->events[i]->item_id != look->request->item_ids[row] || look->events[i]->item_id == 0 ||
            !is_watch(look, look->events[i]))
            continue;
        n++;
        sum += rank_of(look, look->events[i]);
    }
    for (int i = 0; i < look->count && n > 0; i++) {
        if (look->events[i]->item_id == look->request->item_ids[row] && is_watch(look, look->events[i]))
            spread += (rank_of(look, look->events[i]) - sum / n) * (rank_of(look, look->events[i]) - sum / n);
    }
    if (!property_near(look, column(look, "rank", ""), row,
                       n + causal->strength > 0 ? (sum + causal->strength / 2) / (n + causal->strength) : 0.5, 1e-6) ||
        !property_equal(look, column(look, "rank", ".n"), row, (float)n))
        return false;
    found = (double)property_value(look, column(look, "rank", ".sd"), row);
    spread = n > 0 ? sqrt(spread) / (n + causal->strength) : 0;
    return fabs(found - spread) <= 1e-6 ||
           property_differs(look, "rank.sd of row %d is %.9g, should be %.9g", row, found, spread);
}

/* ---- inverse propensities ---- */

/* In micro-units. */
static int64_t weight_of(const struct causal *causal, const struct proto_event *event, double weight)
{
    double propensity = (double)event->propensity > causal->floor ? (double)event->propensity : causal->floor;
    double amount = weight / propensity;

    return llround(fmax(-1e12, fmin(amount, 1e12)) * 1e6);
}

static bool check_ips(const struct property_look *look, int row)
{
    const struct causal *causal = look->trial->own;
    __int128 sum = 0, all = 0;
    int64_t n = 0;

    for (int i = 0; i < look->count; i++) {
        const struct proto_event *event = look->events[i];
        double click = causal->is_of_value ? 3 * event->value : 3;

        if (event->item_id != look->request->item_ids[row] || event->item_id == 0 || !(event->propensity > 0) ||
            event->propensity > 1 || !is_in(look, event->ts_ms, ROW_PANES) || !stream_where(causal->where, event))
            continue;
        if (event->action == CLICK)
            sum += weight_of(causal, event, click);
        n += event->action == CLICK;
        if (event->action == CLICK || event->action == IMPRESSION)
            all += weight_of(causal, event, 1);
    }
    return property_near(look, column(look, "ips", ""), row, (double)((long double)sum / 1e6L), 1e-7) &&
           property_equal(look, column(look, "ips", ".n"), row, (float)n) &&
           property_near(look, column(look, "snips", ""), row, all > 0 ? (double)((long double)sum / (long double)all) : 0,
                         1e-6);
}

static bool check(const struct property_look *look)
{
    for (int row = 0; row < PROPERTY_ROWS; row++) {
        if (!check_coec(look, row) || !check_rank(look, row) || !check_ips(look, row))
            return false;
    }
    return true;
}

static void what_is_held_against_all_events_is_what_they_say(void **state)
{
    static const struct property property = {.name = "causal",
                                             .own_bytes = sizeof(struct causal),
                                             .streams_a_node = 1, /* a curve is of all of them */
                                             .configure = configure,
                                             .adapt = adapt,
                                             .check = check};

    (void)state;
    property_run(&property);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_held_against_all_events_is_what_they_say)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
