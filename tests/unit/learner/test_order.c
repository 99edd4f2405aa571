/*
 * The order of examples is the log's: whatever batches it comes in, whenever rows are read that were there before, however time passes and
 * wherever a crash takes away what no epoch has, the same log gives the same examples in the same order, each with the same bytes.
 *
 * What it is held against is the plainest way: rows as soon as they are there, then one event, then time up to it.
 */
#include "story.h"

#include <freshet/text.h>

/* ---- what it made ---- */

struct made {
    uint64_t examples[EXAMPLES_MAX]; /* hashes of their bytes */
    int count;
};

static struct made *node_made(struct node *node)
{
    struct made *made = calloc(1, sizeof *made);
    struct learner_outbox_entry entry;
    struct fr_buffer chunk;
    struct fr_err err;

    assert_non_null(made);
    fr_buffer_init(&chunk);
    for (int64_t at = 1; at < learner_join_stats(node->join).next_position; at++) {
        struct fr_reader reader;

        assert_true(learner_outbox_read(learner_join_outbox(node->join), at, &chunk, &err));
        reader = fr_reader(fr_buffer_slice(&chunk));
        while (learner_outbox_next(&reader, &entry)) {
            assert_true(made->count < EXAMPLES_MAX);
            made->examples[made->count++] = fr_text_hash(entry.wire.bytes, entry.wire.length, 0);
        }
    }
    fr_buffer_fini(&chunk);
    return made;
}

/* The plainest way. */
static struct made *plain(const struct story *story, const char *model)
{
    struct node *node = node_new(story, model);
    struct made *made;

    while (node->next_event < story->event_count) {
        int rows = rows_before(story, node->next_event);

        if (rows > node->next_rows)
            node_read(node, rows, node->next_event);
        node_read(node, rows, node->next_event + 1);
        node_choose(node);
        node_come(node);
    }
    made = node_made(node);
    node_free(node);
    return made;
}

static struct made *anyhow(const struct story *story, const char *model, uint64_t random)
{
    struct node *node = read_anyhow(story, model, random);
    struct made *made = node_made(node);

    node_free(node);
    return made;
}

static void check_story(uint64_t seed, const char *model)
{
    struct story *story = story_new(seed, false);
    struct made *wanted = plain(story, model), *made = anyhow(story, model, seed);

    assert_true(wanted->count > 2 * REQUESTS);
    for (int i = 0; i < wanted->count && i < made->count; i++)
        if (made->examples[i] != wanted->examples[i])
            fail_msg("seed %llu: example %d of %d is another one", (unsigned long long)seed, i, wanted->count);
    assert_int_equal(made->count, wanted->count);
    free(story);
    free(wanted);
    free(made);
}

static void one_log_gives_one_order_of_all_policies(void **state)
{
    const char *seeds = getenv("FRESHET_STREAMS");
    uint64_t count = seeds ? strtoull(seeds, NULL, 10) : SCHEDULES;

    (void)state;
    for (uint64_t seed = 1; seed <= count; seed++)
        check_story(seed, every_policy);
}

/* ---- by hand ---- */

/* Users 1 and 2 are shown item 1, each of a request of his own, and user 1 likes it, all in one moment; then a long time. */
static struct story *story_of_a_moment(void)
{
    static const struct proto_event events[] = {
        {.ts_ms = 1, .user_id = 1, .item_id = 1, .request_id = 1, .action = FRESHET__V1__ACTION__IMPRESSION},
        {.ts_ms = 1, .user_id = 2, .item_id = 1, .request_id = 2, .action = FRESHET__V1__ACTION__IMPRESSION},
        {.ts_ms = 1, .user_id = 1, .item_id = 1, .request_id = 1, .action = FRESHET__V1__ACTION__LIKE},
        {.ts_ms = 3600000, .user_id = 3},
    };
    struct story *story = calloc(1, sizeof *story);

    assert_non_null(story);
    for (; story->event_count < 4; story->event_count++) {
        struct said *said = &story->events[story->event_count];

        said->event = events[story->event_count];
        said->event.ts_ms += start_ms;
        said->clock_ms = said->event.ts_ms;
    }
    for (; story->rows_count < 2; story->rows_count++) {
        struct rows *rows = &story->rows[story->rows_count];

        freshet__v1__served__init(&rows->served);
        rows->served.request_id = rows->served.user_id = (uint64_t)story->rows_count + 1;
        rows->served.served_ms = start_ms;
        rows->served.schema = SCHEMA;
        rows->items[0] = 1;
        rows->before = story->rows_count;
        aim(rows);
    }
    return story;
}

static int count_made(struct node *node)
{
    struct made *made = node_made(node);
    int count = made->count;

    free(made);
    return count;
}

static void what_a_moment_made_waits_for_the_rows_of_all_before_it(void **state)
{
    struct story *story = story_of_a_moment();
    struct made *wanted = plain(story, every_policy), *made;
    struct node *node = node_new(story, every_policy);

    (void)state;
    node_read(node, 1, 1);
    node_choose(node);
    node_read(node, 1, 3); /* the second one's rows are there, and not read yet */
    node_come(node);
    assert_int_equal(count_made(node), 1);
    node_choose(node);
    node_come(node);
    assert_int_equal(count_made(node), 3);
    node_read(node, 2, 4);
    node_choose(node);
    node_come(node);
    made = node_made(node);
    assert_int_equal(made->count, wanted->count);
    assert_memory_equal(made->examples, wanted->examples, sizeof made->examples);
    node_free(node);
    free(story);
    free(wanted);
    free(made);
}

static void by_arrival_an_outcome_makes_its_example_at_once(void **state)
{
    static const char by_arrival[] = "order: arrival, tasks: { like: { actions: [like], policy: first_only, window: 12s } }";
    static const char by_log[] = "order: log, tasks: { like: { actions: [like], policy: first_only, window: 12s } }";
    struct story *story = story_of_a_moment();
    struct node *node = node_new(story, by_arrival);

    (void)state;
    node_read(node, 2, 3);
    assert_int_equal(count_made(node), 1);
    node_free(node);
    node = node_new(story, by_log);
    node_read(node, 2, 3);
    assert_int_equal(count_made(node), 0);
    node_choose(node);
    node_come(node);
    assert_int_equal(count_made(node), 1);
    node_free(node);
    free(story);
}

static void what_is_held_of_a_forgotten_user_goes(void **state)
{
    struct story *story = story_of_a_moment();
    struct node *node = node_new(story, every_policy);
    uint64_t entities = 0, records = 0;
    struct fr_err err;

    (void)state;
    node_read(node, 2, 3);
    node_commit(node); /* who forgets sees to that first */
    assert_true(learner_join_forget(node->join, 1, &entities, &records, &err));
    node_read(node, 2, 4);
    node_choose(node);
    node_come(node);
    assert_int_equal(count_made(node), 6); /* the other one's, of each task one */
    node_free(node);
    free(story);
}

/* How many examples of two impressions are made when the task's label is of another kind after a restart, or not. */
static int made_after_a_restart(bool is_changed)
{
    struct story *story = story_of_a_moment();
    struct node *node = node_new(story, "tasks: { watch: { actions: [watch], policy: wait, window: 12s } }");
    int count;

    node_read(node, 2, 3);
    node_commit(node);
    node_close(node);
    node->fixture.config->models[0].tasks[0].is_watch_rank = is_changed;
    node_open(node);
    node_read(node, 2, 4);
    node_choose(node);
    node_come(node);
    count = count_made(node);
    node_free(node);
    free(story);
    return count;
}

static void what_waits_under_another_kind_of_label_is_dropped(void **state)
{
    (void)state;
    assert_int_equal(made_after_a_restart(false), 2);
    assert_int_equal(made_after_a_restart(true), 0);
}

/* Accounts of before are this one without the places at the ends of impressions and outcomes, and of the head. */
static void an_account_without_places_is_read_as_one_of_now(void **state)
{
    struct {
        uint32_t format, task_count;
        uint64_t tasks;
        int64_t scheduled_ms;
        uint32_t requests, impressions, outcomes, unused;
    } head = {.format = 1, .task_count = 1, .tasks = 9, .scheduled_ms = 5, .requests = 1, .impressions = 1, .outcomes = 1};
    struct learner_request request = {.request_id = 3, .served_ms = 4};
    struct learner_impression shown = {.request_id = 3, .item_id = 6, .shown_ms = 7, .scene = 2};
    struct learner_label_state label = {.label_ms = 8};
    struct learner_outcome outcome = {.request_id = 3, .item_id = 6, .ts_ms = 11, .action = 2};
    struct learner_book book;
    struct fr_buffer old, memory;
    int lost;

    (void)state;
    fr_buffer_init(&old);
    fr_buffer_init(&memory);
    fr_buffer_append(&old, &head, sizeof head);
    fr_buffer_append(&old, &request, sizeof request);
    fr_buffer_append(&old, &shown, 72);
    fr_buffer_append(&old, &label, sizeof label);
    fr_buffer_append(&old, &outcome, 32);
    assert_true(learner_book__is_old(fr_buffer_slice(&old)));
    learner_book__widen(fr_buffer_slice(&old), &memory);
    assert_true(learner_book__is_good(fr_buffer_slice(&memory)));
    learner_book__init(&book, 1);
    learner_book__read(&book, fr_buffer_slice(&memory), 9, &lost);
    assert_int_equal(book.request_count, 1);
    assert_int_equal(book.requests[0].served_ms, 4);
    assert_memory_equal(learner_book__at(&book, 0), &shown, sizeof shown);
    assert_int_equal(learner_book__states(learner_book__at(&book, 0))->label_ms, 8);
    assert_int_equal(book.outcomes[0].action, 2);
    assert_int_equal(book.outcomes[0].place.ms, 11);
    learner_book__fini(&book);
    fr_buffer_fini(&old);
    fr_buffer_fini(&memory);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_log_gives_one_order_of_all_policies),
        cmocka_unit_test(what_a_moment_made_waits_for_the_rows_of_all_before_it),
        cmocka_unit_test(by_arrival_an_outcome_makes_its_example_at_once),
        cmocka_unit_test(what_is_held_of_a_forgotten_user_goes),
        cmocka_unit_test(what_waits_under_another_kind_of_label_is_dropped),
        cmocka_unit_test(an_account_without_places_is_read_as_one_of_now),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
