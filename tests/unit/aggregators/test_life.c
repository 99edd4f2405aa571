/* Items go off and on, rooms start and end, by the latest event; what is recent follows. */
#include "node.h"

static const struct agg_dedupe dedupe = {.ids = 32, .horizon_ms = 600000};
static const int64_t start = INT64_C(1700000000000), minute = 60000, day = 86400000;

enum { WATCH = 3, ROOM_START = 17, ROOM_END = 18, ITEM_ON = 19, ITEM_OFF = 20 };

#define CATALOGUE                                                                                                              \
    "entities: { user: { key: [user_id] }, item: { key: [item_id] }, creator: { key: [creator_id] },\n"                        \
    "            room: { key: [room_id], retention: 7d } }\n"                                                                  \
    "features: { heat: { entity: item, actions: [watch], aggregate: decayed, half_life: 1d },\n"                               \
    "            warm: { entity: room, actions: [watch], aggregate: decayed, half_life: 1d } }\n"                              \
    "lists: { items: { of: item, rank: heat, scopes: [global], limit: 10 },\n"                                                 \
    "         rooms: { of: room, rank: warm, scopes: [global], limit: 10 } }\n"

static struct node node_of_life(void)
{
    return node_new(CATALOGUE, dedupe);
}

static struct agg_candidates answer(struct node *node, const char *name, bool is_list)
{
    struct agg_recall ask = {.name = name, .scope = "", .time_ms = node->stream_time_ms};
    struct agg_candidates candidates;
    struct fr_err err;

    fr_arena_reset(node->arena, 1 << 20);
    if (!(is_list ? agg_recall_trending : agg_recall_recent)(node->agg, &ask, node->arena, &candidates, &err))
        fail_msg("%s", err.message);
    return candidates;
}

static void check(struct node *node, const char *name, bool is_list, const char *right)
{
    struct agg_candidates candidates = answer(node, name, is_list);
    char text[256] = "";

    for (uint32_t i = 0; i < candidates.count; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%llu", i ? " " : "",
                 (unsigned long long)candidates.ids[i]);
    assert_string_equal(text, right);
}

static void happen(struct node *node, uint32_t action, int64_t ts_ms, uint64_t item, uint64_t room)
{
    node_apply_one(node, (struct proto_event){.action = action, .ts_ms = ts_ms, .item_id = item, .room_id = room},
                   node->stream_time_ms);
}

static void the_latest_says_whether_an_item_is_on(void **state)
{
    static const struct {
        uint32_t actions[3];
        int after[3]; /* minutes */
        bool is_on;
    } cases[] = {
        {{WATCH, WATCH, WATCH}, {0, 1, 2}, true},       {{WATCH, ITEM_OFF, WATCH}, {0, 1, 2}, false},
        {{WATCH, ITEM_OFF, ITEM_ON}, {0, 1, 2}, true},  {{WATCH, ITEM_ON, ITEM_OFF}, {0, 1, 2}, false},
        {{WATCH, ITEM_ON, ITEM_OFF}, {0, 2, 1}, true},  {{WATCH, ITEM_OFF, ITEM_ON}, {0, 2, 1}, false},
        {{WATCH, ITEM_ON, ITEM_OFF}, {0, 1, 1}, false}, {{WATCH, ITEM_OFF, ITEM_ON}, {0, 1, 1}, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct node node = node_of_life();

        for (int e = 0; e < 3; e++)
            happen(&node, cases[i].actions[e], start + cases[i].after[e] * minute, 7, 0);
        check(&node, "items", true, cases[i].is_on ? "7" : "");
        node_commit(&node);
        node_restart(&node);
        check(&node, "items", true, cases[i].is_on ? "7" : "");
        check(&node, "new_items", false, cases[i].is_on ? "7" : "");
        node_free(&node);
    }
}

static void an_item_goes_with_its_room(void **state)
{
    struct node node = node_of_life();

    (void)state;
    happen(&node, ROOM_START, start, 0, 5);
    happen(&node, WATCH, start, 7, 5);
    happen(&node, WATCH, start, 8, 0);
    check(&node, "items", true, "7 8");
    happen(&node, ROOM_END, start + minute, 0, 5);
    check(&node, "items", true, "8");
    check(&node, "rooms", true, "");
    happen(&node, WATCH, start + 2 * minute, 7, 6); /* it is shown elsewhere now */
    check(&node, "items", true, "7 8");
    check(&node, "rooms", true, "6");
    happen(&node, ROOM_START, start + 3 * minute, 0, 5);
    check(&node, "rooms", true, "6 5");
    node_free(&node);
}

static void a_room_is_live_while_started_or_busy(void **state)
{
    struct node node = node_of_life();

    (void)state;
    happen(&node, ROOM_START, start, 0, 5);
    happen(&node, WATCH, start + minute, 0, 6);
    check(&node, "rooms_live", false, "6 5");
    node.stream_time_ms = start + 11 * minute - 1;
    check(&node, "rooms_live", false, "6 5");
    node.stream_time_ms = start + 11 * minute; /* ten minutes without an event: never started, so over */
    check(&node, "rooms_live", false, "5");
    node.stream_time_ms = start + 7 * day - 1;
    check(&node, "rooms_live", false, "5");
    node.stream_time_ms = start + 7 * day; /* forgotten */
    check(&node, "rooms_live", false, "");
    node_free(&node);
}

static void a_creator_is_live_where_the_latest_room_is(void **state)
{
    struct node node = node_of_life();
    struct agg_candidates candidates;

    (void)state;
    for (uint64_t room = 1; room <= 4; room++)
        node_apply_one(&node,
                       (struct proto_event){.action = ROOM_START,
                                            .ts_ms = start + (int64_t)room * minute,
                                            .room_id = room,
                                            .creator_id = room == 3 ? 0 : 10 + room % 2},
                       0);
    candidates = answer(&node, "creators_live", false);
    assert_int_equal(candidates.count, 2);
    assert_true(candidates.ids[0] == 10 && candidates.ids[1] == 11);
    assert_true(candidates.scores[0] >= 0 && candidates.scores[0] <= 0 && candidates.scores[1] >= 180 &&
                candidates.scores[1] <= 180);
    node_free(&node);
}

static void an_item_is_new_for_a_day(void **state)
{
    struct node node = node_of_life();

    (void)state;
    happen(&node, WATCH, start, 7, 0);
    happen(&node, WATCH, start + 2 * minute, 8, 0);
    happen(&node, WATCH, start + minute, 8, 0); /* late, and the first */
    check(&node, "new_items", false, "8 7");
    assert_true(answer(&node, "new_items", false).scores[0] >= 60 && answer(&node, "new_items", false).scores[0] <= 60);
    node.stream_time_ms = start + day;
    check(&node, "new_items", false, "8");
    happen(&node, WATCH, start + day + minute, 7, 0);
    check(&node, "new_items", false, ""); /* both were known a day ago */
    happen(&node, WATCH, start + day + 2 * minute, 9, 0);
    happen(&node, WATCH, start + 3, 9, 0); /* very late: it was there before */
    check(&node, "new_items", false, "");
    node_free(&node);
}

static void life_does_not_show_the_order_of_arrival(void **state)
{
    static const uint32_t actions[] = {ITEM_ON, ITEM_OFF, ROOM_START, ROOM_END, WATCH};
    struct node nodes[2] = {node_of_life(), node_of_life()};

    (void)state;
    for (int i = 0; i < 50; i++) {
        for (int side = 0; side < 2; side++) {
            int at = side ? 49 - i : i;

            node_apply_one(&nodes[side],
                           (struct proto_event){.action = actions[at % 5],
                                                .event_id = (uint64_t)(at % 7),
                                                .ts_ms = start + (int64_t)(at % 9) * minute,
                                                .item_id = 1 + (uint64_t)at % 3,
                                                .room_id = 1 + (uint64_t)at % 4},
                           0);
        }
    }
    node_commit(&nodes[0]);
    node_commit(&nodes[1]);
    assert_true(digest_equal(node_digest(&nodes[0], start + 9 * minute), node_digest(&nodes[1], start + 9 * minute)));
    node_free(&nodes[0]);
    node_free(&nodes[1]);
}

static void unknown_kinds_are_told(void **state)
{
    struct node node = node_of_life();
    struct agg_recall ask = {.name = "rooms", .scope = "", .time_ms = start};
    struct agg_candidates candidates;
    struct fr_err err;

    (void)state;
    assert_false(agg_recall_recent(node.agg, &ask, node.arena, &candidates, &err));
    assert_int_equal(err.code, FR_BAD_INPUT);
    assert_non_null(strstr(err.message, "kind: unknown kind 'rooms'"));
    node_free(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_latest_says_whether_an_item_is_on),
        cmocka_unit_test(an_item_goes_with_its_room),
        cmocka_unit_test(a_room_is_live_while_started_or_busy),
        cmocka_unit_test(a_creator_is_live_where_the_latest_room_is),
        cmocka_unit_test(an_item_is_new_for_a_day),
        cmocka_unit_test(life_does_not_show_the_order_of_arrival),
        cmocka_unit_test(unknown_kinds_are_told),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
