/* Two nodes that took the same events say the same digest, however the events came. */
#include "stream.h"

#include <pthread.h>

enum { ROUNDS = 12, STREAMS = 6 };

struct feed {
    struct proto_event *events;
    int count;
    int64_t greatest_ms;
};

static struct feed feed_new(struct rng *rng)
{
    struct feed feed = {.events = calloc((size_t)STREAMS * STREAM_EVENTS_MAX, sizeof *feed.events)};
    struct stream *stream = calloc(1, sizeof *stream);

    assert_non_null(feed.events);
    assert_non_null(stream);
    for (int i = 0; i < STREAMS; i++) {
        stream_make(stream, rng, (uint64_t)(i % 3 + 1) * 1000); /* some streams meet in the same entities */
        memcpy(feed.events + feed.count, stream->events, (size_t)stream->count * sizeof *feed.events);
        feed.count += stream->count;
    }
    for (int i = 0; i < feed.count; i++)
        feed.greatest_ms = feed.events[i].ts_ms > feed.greatest_ms ? feed.events[i].ts_ms : feed.greatest_ms;
    free(stream);
    return feed;
}

static void feed_shuffle(struct feed *feed, struct rng *rng)
{
    for (int i = feed->count - 1; i > 0; i--) {
        int other = (int)rng_below(rng, i + 1);
        struct proto_event event = feed->events[i];

        feed->events[i] = feed->events[other];
        feed->events[other] = event;
    }
}

/* `prune_one_in` 0: the horizon stays before everything; restarts come with an epoch each. */
static void feed_apply(const struct feed *feed, struct node *node, int batch_most, int prune_one_in, int restart_one_in,
                       struct rng *rng)
{
    enum agg_outcome outcomes[NODE_BATCH_MAX];
    int64_t horizon_ms = 0, greatest_ms = 0;

    for (int at = 0, count; at < feed->count; at += count) {
        count = 1 + (int)rng_below(rng, batch_most);
        count = count > feed->count - at ? feed->count - at : count;
        for (int i = at; i < at + count; i++)
            greatest_ms = feed->events[i].ts_ms > greatest_ms ? feed->events[i].ts_ms : greatest_ms;
        if (prune_one_in > 0 && rng_one_in(rng, prune_one_in))
            horizon_ms = greatest_ms;
        node_apply(node, feed->events + at, count, horizon_ms, outcomes);
        if (restart_one_in > 0 && rng_one_in(rng, restart_one_in)) {
            node_commit(node);
            node_restart(node);
        }
    }
    node_commit(node);
}

/* Lists start long ago and nothing falls out of them: every duplicate finds its id. */
static const struct agg_dedupe keep_all = {.ids = 4096, .horizon_ms = INT64_C(86400000) * 3000};

static struct agg_digest digest_of(const char *text, const struct feed *feed, int batch_most, int prune_one_in,
                                   int restart_one_in, struct rng *rng)
{
    struct node node = node_new(text, keep_all);
    struct agg_digest digest;

    feed_apply(feed, &node, batch_most, prune_one_in, restart_one_in, rng);
    digest = node_digest(&node, feed->greatest_ms);
    node_free(&node);
    return digest;
}

static void order_batches_pruning_and_restarts_do_not_show(void **state)
{
    struct stream_catalogue catalogue;

    (void)state;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        struct rng rng = {seed};
        struct feed feed;
        struct agg_digest first, second;

        stream_catalogue_make(&catalogue, &rng);
        feed = feed_new(&rng);
        first = digest_of(catalogue.text, &feed, 1, 1, 0, &rng);
        assert_true(first.entities > 0);
        feed_shuffle(&feed, &rng);
        second = digest_of(catalogue.text, &feed, 64, 3, 0, &rng);
        assert_true(digest_equal(first, second));
        feed_shuffle(&feed, &rng);
        second = digest_of(catalogue.text, &feed, NODE_BATCH_MAX, 0, 0, &rng);
        assert_true(digest_equal(first, second));
        second = digest_of(catalogue.text, &feed, 40, 2, 10, &rng);
        assert_true(digest_equal(first, second));
        free(feed.events);
    }
}

static void numbers_given_to_features_do_not_show(void **state)
{
    struct stream_catalogue catalogue, turned;
    struct rng rng = {77};
    struct feed feed;

    (void)state;
    stream_catalogue_make(&catalogue, &rng);
    turned = catalogue;
    for (int i = 0; i < catalogue.feature_count; i++)
        turned.features[i] = catalogue.features[catalogue.feature_count - 1 - i];
    stream_print(&turned);
    assert_string_not_equal(catalogue.text, turned.text);
    feed = feed_new(&rng);
    assert_true(digest_equal(digest_of(catalogue.text, &feed, 9, 1, 0, &rng), digest_of(turned.text, &feed, 9, 1, 0, &rng)));
    free(feed.events);
}

static void one_event_more_shows(void **state)
{
    static const char text[] = "entities: { item: { key: [item_id] } }\n"
                               "features: { w: { entity: item, aggregate: count, windows: [1m] } }\n";
    struct proto_event events[2] = {{.event_id = 1, .ts_ms = 1000000, .user_id = 5, .item_id = 6, .action = 3},
                                    {.event_id = 2, .ts_ms = 1000000, .user_id = 5, .item_id = 6, .action = 3}};
    struct feed one = {events, 1, 1000000}, two = {events, 2, 1000000};
    struct rng rng = {1};

    (void)state;
    assert_false(digest_equal(digest_of(text, &one, 1, 1, 0, &rng), digest_of(text, &two, 1, 1, 0, &rng)));
}

struct worker {
    struct node *node;
    struct agg_lane *lane;
    const struct feed *feed;
    struct rng rng;
    struct agg_tally tally;
    unsigned part;
};

/* One lane: the users of its part, as partitions by user would have it. */
static void *work(void *argument)
{
    struct worker *worker = argument;
    struct proto_event batch[32];
    enum agg_outcome outcomes[32];
    int64_t greatest_ms = 0;
    int count = 0;

    for (int i = 0; i <= worker->feed->count; i++) {
        bool is_end = i == worker->feed->count;
        struct fr_err err;

        if (!is_end && worker->feed->events[i].user_id % 2 == worker->part) {
            batch[count] = worker->feed->events[i];
            greatest_ms = batch[count].ts_ms > greatest_ms ? batch[count].ts_ms : greatest_ms;
            count++;
        }
        if (count < 32 && !is_end)
            continue;
        if (!agg_batch_load(worker->lane, batch, count, &err))
            return "load";
        store_gate_enter(worker->node->store);
        if (!agg_batch_apply(worker->lane, batch, count, greatest_ms, outcomes, &worker->tally, &err))
            return "apply";
        store_gate_leave(worker->node->store);
        count = 0;
    }
    return NULL;
}

static void two_lanes_make_what_one_makes(void **state)
{
    struct stream_catalogue catalogue;

    (void)state;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        struct rng rng = {seed + 1000};
        struct feed feed;
        struct node node;
        pthread_t threads[2];

        stream_catalogue_make(&catalogue, &rng);
        feed = feed_new(&rng);
        node = node_new(catalogue.text, keep_all);
        struct worker workers[2] = {{.node = &node, .lane = node.lane, .feed = &feed, .part = 0},
                                    {.node = &node, .lane = agg_lane_new(node.agg, 64), .feed = &feed, .part = 1}};
        for (int i = 0; i < 2; i++)
            assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
        for (int i = 0; i < 2; i++) {
            void *failed;

            assert_int_equal(pthread_join(threads[i], &failed), 0);
            assert_null(failed);
        }
        agg_lane_free(workers[1].lane);
        node_commit(&node);
        assert_true(digest_equal(node_digest(&node, feed.greatest_ms), digest_of(catalogue.text, &feed, 100, 1, 0, &rng)));
        node_free(&node);
        free(feed.events);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(order_batches_pruning_and_restarts_do_not_show),
        cmocka_unit_test(numbers_given_to_features_do_not_show),
        cmocka_unit_test(one_event_more_shows),
        cmocka_unit_test(two_lanes_make_what_one_makes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
