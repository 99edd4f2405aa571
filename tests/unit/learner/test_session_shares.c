/* Sessions of a cluster: users in shares that come and go, by odd and even here. What they are in is tests/flow/test_cluster_sessions.py's. */
#include "fixture.h"
#include "sessions.h"

#include <freshet/v1/event.pb-c.h>

#include <string.h>

enum { SHARES = 2, EVEN = 8, ODD = 9, T0 = 1000000, GAP_MS = 100 };

static const struct learner_sessions usual = {
    .topic = "sessions", .actions = ~UINT64_C(0), .gap_ms = GAP_MS, .duration_ms = 3000, .tokens = 5, .bytes = 1 << 20};

struct place {
    struct fixture fixture;
    struct learner_sessions rules;
    struct store *store;
    struct learner_session_table *table;
    struct learner_sessions_lane *lane;
    struct fr_buffer ended;
};

static void encode(void *user, const struct store_key *key, enum store_part part, const void *memory, uint32_t bytes,
                   struct fr_buffer *disk)
{
    (void)user, (void)key, (void)part;
    learner_join_encode(memory, bytes, disk);
}

static bool decode(void *user, const struct store_key *key, enum store_part part, struct fr_slice disk,
                   struct fr_buffer *memory)
{
    (void)user, (void)part;
    return learner_join_decode(key, disk, memory);
}

static int share_of(void *user, uint64_t user_id)
{
    (void)user;
    return (int)(user_id % SHARES);
}

static void open_table(struct place *place)
{
    struct learner_sessions_options options = {.config = &place->rules,
                                               .store = place->store,
                                               .metrics = place->fixture.metrics,
                                               .share_count = SHARES,
                                               .share_of = share_of};
    struct fr_err err;

    assert_true(learner_sessions_open(&options, &place->table, &err));
    assert_non_null(place->lane = learner_sessions_lane_new(place->table));
}

static void close_table(struct place *place)
{
    learner_sessions_lane_free(place->lane);
    learner_sessions_close(place->table);
}

static int setup(void **state)
{
    struct place *place = calloc(1, sizeof *place);
    struct store_options options = {.memory_bytes = 64 << 20, .codec = {.encode = encode, .decode = decode}};
    struct fr_err err;

    assert_non_null(place);
    place->rules = usual;
    fixture_init(&place->fixture, "tasks: { click: { actions: [click], policy: wait, window: 10s } }");
    options.path = place->fixture.directory;
    assert_true(store_open(&options, &place->store, &err));
    fr_buffer_init(&place->ended);
    open_table(place);
    *state = place;
    return 0;
}

static int teardown(void **state)
{
    struct place *place = *state;

    close_table(place);
    store_close(place->store);
    fr_buffer_fini(&place->ended);
    fixture_fini(&place->fixture);
    free(place);
    return 0;
}

static void happens(struct place *place, uint64_t user_id, int64_t ms)
{
    struct proto_event event = {
        .user_id = user_id, .event_id = (uint64_t)ms, .ts_ms = T0 + ms, .action = FRESHET__V1__ACTION__LIKE, .item_id = 1};
    struct store_visit visit = store_visit_enter(place->store);
    bool is_skipped = false;
    struct fr_err err;

    assert_true(learner_sessions_load(place->lane, &event, 1, &err));
    store_gate_enter(place->store);
    assert_true(learner_sessions_apply(place->lane, &event, &is_skipped, &err));
    store_gate_leave(place->store);
    store_visit_leave(place->store, visit);
}

static void begins(struct place *place, int32_t share, int64_t time_ms)
{
    struct fr_err err;

    assert_true(learner_sessions_find(place->table, &share, 1, &err));
    learner_sessions_begin(place->table, share, time_ms);
}

static void passes(struct place *place, int share, int64_t ms)
{
    struct fr_err err;
    bool is_more;

    assert_true(learner_sessions_pass(place->lane, share, T0 + ms, 100, &is_more, &err));
}

static void at_boundary(void *user, struct store *store)
{
    struct place *place = user;

    (void)store;
    learner_sessions_turn(place->lane, &place->ended);
}

/* An epoch, and of how many users sessions ended in it. */
static int ended(struct place *place)
{
    struct store_epoch epoch = {.boundary = at_boundary, .user = place};
    struct learner_outbox_entry entry;
    struct fr_reader reader;
    struct fr_err err;
    int count = 0;

    assert_true(store_epoch_commit(place->store, &epoch, &err));
    for (reader = fr_reader(fr_buffer_slice(&place->ended)); learner_outbox_next(&reader, &entry);)
        count++;
    learner_sessions_sent(place->table, place->ended.length);
    fr_buffer_clear(&place->ended);
    assert_int_equal(learner_sessions_unsent(place->table), 0);
    return count;
}

static void each_share_has_a_time_of_its_own(void **state)
{
    struct place *place = *state;

    begins(place, 0, 0);
    begins(place, 1, 0);
    happens(place, EVEN, 0);
    happens(place, ODD, 0);
    passes(place, 0, 2 * GAP_MS);
    assert_int_equal(ended(place), 1);
    happens(place, ODD, GAP_MS); /* who lags goes on with what he did */
    passes(place, 1, 3 * GAP_MS);
    assert_int_equal(ended(place), 1);
    assert_int_equal(learner_sessions_waiting(place->table), 0);
}

/* Between the last epoch of a partition that is a transaction and the moment when it is another's. */
static void nothing_ends_of_what_is_held(void **state)
{
    struct place *place = *state;

    begins(place, 0, 0);
    happens(place, EVEN, 0);
    learner_sessions_hold(place->table);
    assert_false(learner_sessions_is_due(place->table, T0 + 2 * GAP_MS));
    passes(place, 0, 2 * GAP_MS);
    assert_int_equal(ended(place), 0);
    begins(place, 0, 0);
    assert_true(learner_sessions_is_due(place->table, T0 + 2 * GAP_MS));
    passes(place, 0, 2 * GAP_MS);
    assert_int_equal(ended(place), 1);
}

/* The other has the same store here, as if all of it had come by the changelog. */
static void who_takes_a_share_over_ends_what_waits_in_it_and_takes_nothing_late(void **state)
{
    struct place *place = *state;
    uint64_t waiting;
    int64_t time_ms;

    begins(place, 0, 0);
    begins(place, 1, 0);
    happens(place, EVEN, 0);
    happens(place, ODD, 0);
    passes(place, 0, GAP_MS);
    assert_int_equal(ended(place), 0);
    waiting = learner_sessions_waiting(place->table);
    time_ms = learner_sessions_time(place->table, 0);
    close_table(place);

    open_table(place);
    begins(place, 0, time_ms);
    assert_int_equal(learner_sessions_waiting(place->table), waiting / 2);
    happens(place, EVEN, -1); /* by more than a gap */
    assert_int_equal(learner_sessions_waiting(place->table), waiting / 2);
    passes(place, 1, 2 * GAP_MS);
    passes(place, 0, 2 * GAP_MS);
    assert_int_equal(ended(place), 1);
}

static void what_was_let_go_of_is_found_anew(void **state)
{
    struct place *place = *state;
    uint64_t waiting;

    begins(place, 0, 0);
    happens(place, EVEN, 0);
    assert_int_equal(ended(place), 0);
    waiting = learner_sessions_waiting(place->table);
    learner_sessions_hold(place->table);
    learner_sessions_let_go(place->table, 0);
    assert_int_equal(learner_sessions_waiting(place->table), 0);
    begins(place, 0, 0);
    assert_int_equal(learner_sessions_waiting(place->table), waiting);
    learner_sessions_hold(place->table);
    begins(place, 0, 0); /* what stayed is not counted twice */
    assert_int_equal(learner_sessions_waiting(place->table), waiting);
    passes(place, 0, 2 * GAP_MS);
    assert_int_equal(ended(place), 1);
}

/* Time is each share's own, so what is cut to make room in one of them has not ended because another is further. */
static void room_is_made_of_who_lags_as_of_his_own_time(void **state)
{
    struct place *place = *state;
    struct learner_outbox_entry entry;
    Freshet__V1__Session *session;
    struct fr_reader reader;

    place->rules.bytes = 1;
    begins(place, 0, 0);
    begins(place, 1, 0);
    happens(place, ODD, 0);
    passes(place, 0, 2 * GAP_MS);
    learner_sessions_turn(place->lane, &place->ended);
    reader = fr_reader(fr_buffer_slice(&place->ended));
    assert_true(learner_outbox_next(&reader, &entry));
    assert_non_null(session = freshet__v1__session__unpack(NULL, entry.wire.length, entry.wire.bytes));
    assert_int_equal(session->user_id, ODD);
    assert_int_equal(session->end, FRESHET__V1__SESSION_END__ROOM);
    freshet__v1__session__free_unpacked(session, NULL);
}

static void what_was_given_away_is_told_to_wait_no_more(void **state)
{
    struct place *place = *state;

    begins(place, 0, 0);
    happens(place, EVEN, 0);
    assert_true(fr_gauge_read(place->table->waiting) > 0);
    learner_sessions_hold(place->table);
    learner_sessions_let_go(place->table, 0);
    passes(place, 0, 0);
    assert_true(fr_gauge_read(place->table->waiting) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_share_has_a_time_of_its_own, setup, teardown),
        cmocka_unit_test_setup_teardown(nothing_ends_of_what_is_held, setup, teardown),
        cmocka_unit_test_setup_teardown(who_takes_a_share_over_ends_what_waits_in_it_and_takes_nothing_late, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_let_go_of_is_found_anew, setup, teardown),
        cmocka_unit_test_setup_teardown(room_is_made_of_who_lags_as_of_his_own_time, setup, teardown),
        cmocka_unit_test_setup_teardown(what_was_given_away_is_told_to_wait_no_more, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
