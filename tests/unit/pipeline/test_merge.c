/* What one instance told another, merged by several threads at once, is what one node makes of it all. */
#include "aggregators/instances.h"

#include "cluster_internal.h"

enum { ROUNDS = 6, INSTANCES = 2, EVENTS_AT_ONCE = 4, LANES = 4 };

static void apply_share(struct node *node, const struct feed *feed, int instance, struct carrier *carrier)
{
    struct agg_deltas *lanes[2] = {agg_deltas_new(node->agg), agg_deltas_new(node->agg)};
    enum agg_outcome outcomes[NODE_BATCH_MAX];
    struct proto_event batch[EVENTS_AT_ONCE];
    int count = 0;

    carrier->from = instance;
    assert_true(agg_images_open(node->agg));
    agg_lane_collect(node->lane, lanes[0]);
    for (int i = 0; i <= feed->count; i++) {
        if (i < feed->count && feed->events[i].user_id % INSTANCES == (uint64_t)instance)
            batch[count++] = feed->events[i];
        if (count == 0 || (count < EVENTS_AT_ONCE && i < feed->count))
            continue;
        node_apply(node, batch, count, 0, outcomes);
        collect_epoch(node, lanes, 0, carrier);
        count = 0;
    }
    agg_lane_collect(node->lane, NULL);
    agg_deltas_free(lanes[0]);
    agg_deltas_free(lanes[1]);
}

static void merge_added(struct node *node, struct pipeline_mergers *mergers)
{
    struct store_visit visit = store_visit_enter(node->store);
    struct fr_err err;
    bool ok;

    if (!pipeline_mergers__load(mergers, &err))
        fail_msg("%s", err.message);
    store_gate_enter(node->store);
    ok = pipeline_mergers__apply(mergers, node->stream_time_ms, &err);
    store_gate_leave(node->store);
    store_visit_leave(node->store, visit);
    if (!ok)
        fail_msg("%s", err.message);
    pipeline_mergers__clear(mergers);
}

/* Now many at once, now few; gives the most that there were. */
static int merge_others(struct node *node, int instance, const struct carrier *carrier, struct rng *rng)
{
    struct pipeline_mergers *mergers;
    int most = 0;
    struct fr_err err;

    if (!pipeline_mergers__open(node->agg, LANES, &mergers, &err))
        fail_msg("%s", err.message);
    for (int i = 0; i < carrier->count; i++) {
        const struct carried *carried = &carrier->all[i];
        struct agg_delta delta = {.key = fr_slice(carried->key, carried->key_bytes),
                                  .value = fr_slice(carried->value, carried->value_bytes)};

        if (carried->from != instance && !pipeline_mergers__add(mergers, &delta, &err))
            fail_msg("%s", err.message);
        most = pipeline_mergers__count(mergers) > most ? pipeline_mergers__count(mergers) : most;
        if (i + 1 == carrier->count || rng_one_in(rng, 500))
            merge_added(node, mergers);
    }
    pipeline_mergers__close(mergers);
    node_commit(node);
    return most;
}

static void threads_merge_to_what_one_node_makes(void **state)
{
    struct stream_catalogue catalogue;
    int most = 0;

    (void)state;
    for (uint64_t seed = 1; seed <= ROUNDS; seed++) {
        struct rng rng = {seed + 70};
        struct feed feed;
        struct carrier carrier = {.all = calloc(CARRIED_MAX, sizeof *carrier.all)};
        struct node one, nodes[INSTANCES];
        struct agg_digest whole;

        stream_catalogue_make(&catalogue, &rng);
        feed = feed_new(&rng);
        one = node_new(catalogue.text, keep_all);
        whole = digest_of_one(&one, &feed);
        for (int i = 0; i < INSTANCES; i++) {
            nodes[i] = node_new(catalogue.text, keep_all);
            apply_share(&nodes[i], &feed, i, &carrier);
        }
        for (int i = 0; i < INSTANCES; i++) {
            int count;

            nodes[i].stream_time_ms = feed.greatest_ms;
            count = merge_others(&nodes[i], i, &carrier, &rng);
            most = count > most ? count : most;
            compare_with_one(&nodes[i], &one, &whole, feed.greatest_ms, catalogue.text);
            node_free(&nodes[i]);
        }
        node_free(&one);
        carrier_free(&carrier);
        free(feed.events);
    }
    assert_true(most > 300); /* more than one thread merges alone */
}

/* A thread's failure is told, whichever it was. */
static void bytes_that_make_no_sense_are_refused(void **state)
{
    struct stream_catalogue catalogue;
    struct pipeline_mergers *mergers;
    struct rng rng = {1};
    struct node node;
    struct fr_err err;

    (void)state;
    stream_catalogue_make(&catalogue, &rng);
    node = node_new(catalogue.text, keep_all);
    if (!pipeline_mergers__open(node.agg, LANES, &mergers, &err))
        fail_msg("%s", err.message);
    for (uint64_t id = 1; id <= 600; id++) {
        struct agg_delta delta = {.key = fr_slice(&id, sizeof id), .value = fr_slice(NULL, 0)};

        assert_true(pipeline_mergers__add(mergers, &delta, &err));
    }
    assert_false(pipeline_mergers__load(mergers, &err));
    assert_int_equal(err.code, FR_CORRUPT);
    pipeline_mergers__close(mergers);
    node_free(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(threads_merge_to_what_one_node_makes),
                                       cmocka_unit_test(bytes_that_make_no_sense_are_refused)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}
