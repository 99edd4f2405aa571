/* Gauges against the contract's words, over random streams; and a room of many users. */
#include "property.h"

enum { ACTIONS = 12 };

struct gauge {
    uint32_t ups, downs;
    int where;
    int64_t timeout_ms, retention_ms;
    bool has_age;
};

static void print_actions(char *text, size_t room, const char *key, uint32_t actions)
{
    size_t length = (size_t)snprintf(text, room, ", %s: [", key);

    for (uint32_t a = 1, any = 0; a < PROTO_ACTIONS; a++) {
        if ((actions >> a & 1) != 0)
            length += (size_t)snprintf(text + length, room - length, "%s%s", any++ ? ", " : "", proto_action_name(a));
    }
    snprintf(text + length, room - length, "]");
}

static void configure(struct property_trial *trial, struct rng *rng)
{
    static const int64_t timeouts_s[] = {24, 25, 60, 600, 3600, 3601, 86400};
    static const int64_t retentions_s[] = {0, 30, 600, 3600, 2592000};
    struct gauge *gauge = trial->own;
    char up[256], down[256] = "";

    gauge->ups = (1u << 3 | ((uint32_t)rng_next(rng) & 0xffe)) & (uint32_t) ~(1 << 4);
    gauge->downs = rng_one_in(rng, 5) ? 0 : (1u << 4 | (uint32_t)rng_next(rng)) & 0xffe & ~gauge->ups;
    gauge->where = rng_one_in(rng, 3) ? (int)rng_below(rng, 6) : 0;
    gauge->timeout_ms = timeouts_s[rng_below(rng, 7)] * 1000;
    gauge->retention_ms = retentions_s[rng_below(rng, 5)] * 1000;
    gauge->has_age = rng_one_in(rng, 2);
    print_actions(up, sizeof up, "up", gauge->ups);
    if (gauge->downs != 0)
        print_actions(down, sizeof down, "down", gauge->downs);
    snprintf(trial->text, sizeof trial->text,
             "entities: { item: { key: [item_id], retention: 0 }, room: { key: [room_id], retention: %llds } }\n"
             "features:\n"
             "  before: { entity: room, aggregate: series, bin: 5s, bins: 2 }\n" /* cells before and after it grow too */
             "  on: { entity: room, aggregate: gauge%s%s, timeout: %llds, where: \"%s\", emit: [value%s] }\n"
             "  after: { entity: room, aggregate: decayed, half_life: 1m }\n",
             (long long)gauge->retention_ms / 1000, up, down, (long long)gauge->timeout_ms / 1000,
             gauge->where > 0 ? stream_wheres[gauge->where] : "ts_ms > 0", gauge->has_age ? ", age" : "");
    trial->names[trial->name_count++] = "on";
    trial->spans_ms[trial->span_count++] = property_resolution(gauge->timeout_ms, 24);
    trial->spans_ms[trial->span_count++] = gauge->timeout_ms;
    trial->spans_ms[trial->span_count++] = gauge->retention_ms + 1000;
}

/* Some users who come and go, most often in one room; now and then one of many. */
static void adapt(const struct property_trial *trial, struct proto_event *event, uint64_t base, struct rng *rng)
{
    (void)trial;
    event->user_id = rng_one_in(rng, 10) ? 0 : base + 1 + (uint64_t)rng_below(rng, rng_one_in(rng, 4) ? 4 : 120);
    event->room_id = rng_one_in(rng, 10) ? 0 : base + 1 + (uint64_t)rng_one_in(rng, 5);
    event->action = (uint32_t)(rng_one_in(rng, 3) ? 1 + rng_below(rng, ACTIONS) : 3 + rng_below(rng, 2));
}

static bool takes(const struct gauge *gauge, const struct proto_event *event, uint64_t room)
{
    return event->room_id == room && event->user_id != 0 && ((gauge->ups | gauge->downs) >> event->action & 1) != 0 &&
           stream_where(gauge->where, event);
}

static bool is_latest(const struct property_look *look, const struct gauge *gauge, int index, uint64_t room)
{
    for (int i = 0; i < look->count; i++) {
        int order = proto_event_compare(look->events[i], look->events[index]);

        if (look->events[i]->user_id == look->events[index]->user_id && takes(gauge, look->events[i], room) &&
            (order > 0 || (order == 0 && i > index)))
            return false;
    }
    return true;
}

static bool check(const struct property_look *look)
{
    const struct gauge *gauge = look->trial->own;
    int64_t pane_ms = property_resolution(gauge->timeout_ms, 24), newest = look->time_ms / pane_ms;

    for (int row = 0; row < PROPERTY_ROWS; row++) {
        uint64_t room = property_id(look, row, PROTO_FIELD_ROOM_ID);
        bool is_present = property_is_present(look, PROTO_FIELD_ROOM_ID, room, gauge->retention_ms);
        int64_t latest_ms = 0;
        int on = 0;

        for (int i = 0; i < look->count && is_present; i++) {
            const struct proto_event *event = look->events[i];
            int64_t pane = event->ts_ms / pane_ms;

            if (!takes(gauge, event, room))
                continue;
            latest_ms = event->ts_ms > latest_ms ? event->ts_ms : latest_ms;
            on += (gauge->ups >> event->action & 1) != 0 && pane > newest - gauge->timeout_ms / pane_ms && pane <= newest &&
                  is_latest(look, gauge, i, room);
        }
        if (!property_equal(look, "on", row, (float)on))
            return false;
        if (gauge->has_age &&
            !property_equal(look, "on.age", row, property_age(look, latest_ms, is_present, gauge->retention_ms)))
            return false;
    }
    return true;
}

static void a_gauge_counts_users_whose_latest_event_is_an_up_in_time(void **state)
{
    static const struct property property = {
        .name = "gauge", .own_bytes = sizeof(struct gauge), .configure = configure, .adapt = adapt, .check = check};

    (void)state;
    property_run(&property);
}

/* ---- a room of many ---- */

enum { CROWD = 20000 };

static void a_crowd_comes_and_goes(void **state)
{
    static const char text[] =
        "entities: { item: { key: [item_id] }, room: { key: [room_id] } }\n"
        "features: { on: { entity: room, aggregate: gauge, up: [enter_room], down: [leave_room], timeout: 10m } }\n";
    const uint32_t enter = (uint32_t)proto_action_number(fr_slice_of("enter_room"));
    const uint32_t leave = (uint32_t)proto_action_number(fr_slice_of("leave_room"));
    const int64_t start_ms = INT64_C(1700000000000) / 600000 * 600000;
    struct node node = node_new(text, (struct agg_dedupe){.ids = 4, .horizon_ms = 60000});
    static struct proto_event events[NODE_BATCH_MAX];
    enum agg_outcome outcomes[NODE_BATCH_MAX];
    int on = 0;

    (void)state;
    for (int i = 0; i < 3 * CROWD; i++) { /* all enter, every second one leaves, then half as many others enter */
        int user = i < CROWD ? i : (i < 2 * CROWD ? (i - CROWD) / 2 * 2 : i - CROWD + 1);
        bool is_up = i < CROWD || i >= 2 * CROWD;
        struct proto_event *event = &events[i % NODE_BATCH_MAX];

        *event = (struct proto_event){.ts_ms = start_ms + i * 10, .user_id = (uint64_t)user + 1, .item_id = 7, .room_id = 5};
        event->action = is_up ? enter : leave;
        if (i % NODE_BATCH_MAX == NODE_BATCH_MAX - 1 || i == 3 * CROWD - 1)
            node_apply(&node, events, i % NODE_BATCH_MAX + 1, start_ms + i * 10, outcomes);
    }
    on = CROWD / 2 + CROWD;
    assert_float_equal(node_value(&node, "on", 1, 7, start_ms + 599999), on, 0);
    node_commit(&node);
    node_restart(&node);
    assert_float_equal(node_value(&node, "on", 1, 7, start_ms + 599999), on, 0);
    /* Those who came first are out of time first: 10,000 ms are a pane, 1,000 users. */
    assert_float_equal(node_value(&node, "on", 1, 7, start_ms + 600000), on - 500, 0);
    assert_float_equal(node_value(&node, "on", 1, 7, start_ms + 600000 + CROWD * 10 - 1), CROWD, 0);
    node_free(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_gauge_counts_users_whose_latest_event_is_an_up_in_time),
        cmocka_unit_test(a_crowd_comes_and_goes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
