/* What is published: scores, pulled copies that are bit-equal, deltas, tombstones, pushes; while many threads look. */
#include "fixture.h"

#include <freshet/text.h>

#include <inttypes.h>
#include <math.h>
#include <pthread.h>

static const char *const two_tasks =
    "bits: 12, factors: 4, dense: { all: standard, item_watches: log, user_age: raw }, sparse: "
    "[user_id, item_id, [user_id, item_id], item_watches.1h], optimiser: { admit_factors: 3 }, "
    "tasks: { click: { actions: [click] }, buy: { actions: [purchase] } }, "
    "blend: { live: \"click^1 * buy^2\" }";

enum { IDS_MOST = 1 << 13, WIDTH = 6 };

struct copy { /* as an outside ranker would keep it */
    uint64_t version, digest;
    uint64_t ids[IDS_MOST];
    float weights[IDS_MOST][WIDTH];
    int count;
    double mean[4], scale[4];
    int messages, fulls, removed;
};

static float *find(struct copy *copy, uint64_t id)
{
    for (int i = 0; i < copy->count; i++) {
        if (copy->ids[i] == id)
            return copy->weights[i];
    }
    return NULL;
}

static void apply(struct copy *copy, const struct learner_delta *delta)
{
    if (delta->is_full)
        copy->count = 0;
    for (size_t i = 0; i < delta->count; i++) {
        float *weights = find(copy, delta->ids[i]);

        if (!weights) {
            assert_true(copy->count < IDS_MOST);
            copy->ids[copy->count] = delta->ids[i];
            weights = copy->weights[copy->count++];
        }
        memcpy(weights, delta->weights + i * WIDTH, sizeof copy->weights[0]);
    }
    for (size_t i = 0; i < delta->removed_count; i++) {
        for (int k = 0; k < copy->count; k++) {
            if (copy->ids[k] == delta->removed[i]) {
                copy->ids[k] = copy->ids[--copy->count];
                memcpy(copy->weights[k], copy->weights[copy->count], sizeof copy->weights[0]);
                break;
            }
        }
    }
    memcpy(copy->mean, delta->dense_mean, sizeof copy->mean);
    memcpy(copy->scale, delta->dense_scale, sizeof copy->scale);
    copy->version = delta->version;
    copy->messages++;
    copy->fulls += delta->is_full;
    copy->removed += (int)delta->removed_count;
}

/* As docs/model.md defines it. */
static uint64_t digest_of(const struct copy *copy)
{
    uint64_t hash = 0;

    for (int i = 0; i < 4; i++)
        hash = fr_text_hash(&copy->mean[i], 8, hash);
    for (int i = 0; i < 4; i++)
        hash = fr_text_hash(&copy->scale[i], 8, hash);
    for (int i = 0; i < copy->count; i++) {
        uint8_t bytes[8 + WIDTH * 4];

        memcpy(bytes, &copy->ids[i], 8);
        memcpy(bytes + 8, copy->weights[i], WIDTH * 4);
        hash += fr_text_hash(bytes, sizeof bytes, 0);
    }
    return hash ? hash : 1;
}

static void pull_all(struct learner *learner, struct learner_pull *pull, struct copy *copy)
{
    struct fr_arena *arena = fr_arena_new(8 << 20);
    struct learner_delta delta;

    while (learner_pull(learner, pull, arena, &delta) == LEARNER_PULLED) {
        apply(copy, &delta);
        if (delta.is_last)
            assert_true(delta.digest == digest_of(copy));
        fr_arena_reset(arena, 0);
    }
    fr_arena_free(arena);
}

/* The logit of an example by the copy, in declared order. */
static double logit_of(struct copy *copy, const struct learner_schema *schema, const struct learner_example *example, int task)
{
    double logit = (double)find(copy, 0)[task], pairs = 0;

    for (int k = 0; k < example->dense_count; k++) {
        double x = (double)example->dense[k];

        if (schema->transforms[k] == LEARNER_LOG)
            x = copysign(log1p(fabs(x)), x);
        x = fmin(20, fmax(-20, (x - copy->mean[k]) / copy->scale[k]));
        logit += (double)find(copy, 1 + (uint64_t)k)[task] * x;
    }
    for (int j = 0; j < example->sparse_count; j++)
        logit += find(copy, example->sparse[j]) ? (double)find(copy, example->sparse[j])[task] : 0;
    for (int f = 0; f < 4; f++) {
        double sum = 0, squares = 0;

        for (int j = 0; j < example->sparse_count; j++) {
            double v = find(copy, example->sparse[j]) ? (double)find(copy, example->sparse[j])[2 + f] : 0;

            sum += v;
            squares += v * v;
        }
        pairs += sum * sum - squares;
    }
    return logit + 0.5 * pairs;
}

static void score_one(struct learner *learner, const struct learner_example *example, struct fr_arena *arena,
                      struct learner_scores *scores)
{
    static const int tasks[] = {0, 1};
    struct learner_ask ask = {
        .tasks = tasks, .task_count = 2, .scene = 1, .dense = example->dense, .sparse = example->sparse, .item_count = 1};
    struct fr_err err;

    assert_true(learner_score(learner, &ask, arena, scores, &err));
}

static void a_pulled_copy_has_the_same_bits(void **state)
{
    static struct copy copy;
    struct fixture fixture;
    struct learner *learner;
    struct learner_pull pull = {0};
    struct fr_arena *arena = fr_arena_new(1 << 20);

    (void)state;
    memset(&copy, 0, sizeof copy);
    fixture_init(&fixture, two_tasks);
    learner = fixture_open(&fixture);
    for (uint64_t round = 0; round < 8; round++) {
        fixture_learn(&fixture, learner, round * 500, round * 500 + 500, 0);
        fixture_settle(learner);
        pull_all(learner, &pull, &copy);
        for (uint64_t i = 0; i < 50; i++) {
            struct learner_scores scores;
            struct fixture_row row;
            const struct learner_example *example = fixture_example(&fixture, 100000 + i, &row);

            score_one(learner, example, arena, &scores);
            assert_true(scores.version == copy.version);
            for (int task = 0; task < 2; task++) {
                double logit = logit_of(&copy, &fixture.schema, example, task);

                assert_memory_equal(&logit, &scores.logits[task], sizeof logit);
                assert_true(scores.probabilities[task] == (float)(1 / (1 + exp(-logit))));
            }
            assert_true(fabs((double)scores.scores[0] -
                             1 / (1 + exp(-scores.logits[0])) * pow(1 / (1 + exp(-scores.logits[1])), 2)) < 1e-6);
        }
    }
    assert_int_equal(copy.fulls, 1); /* the rest came as deltas */
    learner_close(learner);
    fr_arena_free(arena);
    fixture_fini(&fixture);
}

static void a_stream_is_resumed_from_a_version_and_a_stranger_gets_all(void **state)
{
    static struct copy copy, fresh;
    struct fixture fixture;
    struct learner *learner;
    struct learner_pull first = {0}, again = {0}, stranger = {.since_version = 123456789};

    (void)state;
    memset(&copy, 0, sizeof copy);
    memset(&fresh, 0, sizeof fresh);
    fixture_init(&fixture, two_tasks);
    learner = fixture_open(&fixture);
    fixture_learn(&fixture, learner, 0, 300, 0);
    fixture_settle(learner);
    pull_all(learner, &first, &copy);
    for (uint64_t i = 1; i < 4; i++) {
        fixture_learn(&fixture, learner, 300 * i, 300 * i + 10, 0);
        fixture_settle(learner);
    }
    again.since_version = copy.version;
    pull_all(learner, &again, &copy);
    assert_int_equal(copy.fulls, 1);
    pull_all(learner, &stranger, &fresh);
    assert_int_equal(fresh.fulls, 1);
    assert_true(fresh.version == copy.version && digest_of(&fresh) == digest_of(&copy));
    learner_close(learner);
    fixture_fini(&fixture);
}

static void coordinates_that_nothing_names_any_more_go_with_tombstones(void **state)
{
    static struct copy copy;
    struct fixture fixture;
    struct learner *learner;
    struct learner_pull pull = {0};
    struct learner_batch *batch;
    struct fixture_row row;
    struct learner_state told;
    int before;

    (void)state;
    memset(&copy, 0, sizeof copy);
    fixture_init(&fixture, "bits: 12, factors: 4, sparse: [user_id, item_id, [user_id, item_id], item_watches.1h], "
                           "optimiser: { expire: 1h }, tasks: { click: { actions: [click] }, buy: { actions: [purchase] } }");
    learner = fixture_open(&fixture);
    fixture_learn(&fixture, learner, 0, 400, 0);
    fixture_settle(learner);
    pull_all(learner, &pull, &copy);
    before = copy.count;
    for (int i = 0; i < 2; i++) {
        struct learner_example *example = (struct learner_example *)(uintptr_t)fixture_example(&fixture, 7, &row);

        example->served_ms += INT64_C(7200000);
        batch = learner_batch_new(0);
        assert_true(learner_batch_add(batch, example));
        assert_true(learner_learn(learner, &batch, -1));
        fixture_settle(learner);
    }
    pull_all(learner, &pull, &copy);
    assert_int_equal(copy.fulls, 1);
    assert_int_equal(copy.count, 1 + 4 + 4); /* the intercept, dense columns, and what the last example names */
    assert_int_equal(copy.removed, before - copy.count);
    assert_true(learner_state(learner, 0, false, &told));
    assert_int_equal(told.coordinates, 4);
    learner_close(learner);
    fixture_fini(&fixture);
}

static void a_push_is_checked_and_takes_effect_at_once(void **state)
{
    static struct copy copy;
    struct fixture fixture;
    struct learner *learner;
    struct learner_pull pull = {0};
    struct learner_pushed pushed;
    struct fr_err err;
    const uint64_t ids[] = {0, 1, LEARNER_SPARSE_BASE + 77, 5, LEARNER_SPARSE_BASE + 4096, LEARNER_SPARSE_BASE + 78};
    float values[6][WIDTH] = {{0.5F}, {-0.25F, 0.125F}, {1, 2, 0.1F, 0.2F, 0.3F, 0.4F}, {1}, {1}, {NAN}};
    struct learner_push push = {.is_weights = true, .width = WIDTH, .ids = ids, .values = values[0], .count = 6};

    (void)state;
    memset(&copy, 0, sizeof copy);
    fixture_init(&fixture, two_tasks);
    learner = fixture_open(&fixture);
    pull_all(learner, &pull, &copy);
    push.base_version = copy.version;
    assert_false(learner_push(learner, 0, &push, &pushed, &err));
    assert_int_equal(err.code, FR_PRECONDITION); /* no schema */
    push.schema = fixture.schema.hash;
    push.base_version = copy.version + 1;
    assert_false(learner_push(learner, 0, &push, &pushed, &err));
    assert_int_equal(err.code, FR_PRECONDITION); /* a future one */
    push.base_version = 0;
    assert_false(learner_push(learner, 0, &push, &pushed, &err));
    assert_int_equal(err.code, FR_PRECONDITION); /* one that is not kept */
    push.base_version = copy.version;
    push.width = WIDTH - 1;
    assert_false(learner_push(learner, 0, &push, &pushed, &err));
    assert_int_equal(err.code, FR_BAD_INPUT);
    push.width = WIDTH;
    assert_true(learner_push(learner, 0, &push, &pushed, &err));
    assert_int_equal(pushed.accepted, 3);
    assert_int_equal(pushed.rejected, 3); /* beyond the dense columns, beyond the bits, not finite */
    pull_all(learner, &pull, &copy);
    assert_true(copy.version == pushed.version);
    for (int i = 0; i < 3; i++)
        assert_memory_equal(find(&copy, ids[i]), values[i], sizeof values[i]);
    /* A gradient takes FTRL's first step: w = −α g / (β + |g|). */
    push = (struct learner_push){.base_version = copy.version,
                                 .schema = fixture.schema.hash,
                                 .width = WIDTH,
                                 .ids = (const uint64_t[]){LEARNER_SPARSE_BASE + 99},
                                 .values = (const float[WIDTH]){0.5F, 0, 0, 0, 0, 0},
                                 .count = 1};
    assert_true(learner_push(learner, 0, &push, &pushed, &err));
    pull_all(learner, &pull, &copy);
    assert_true(fabs((double)find(&copy, LEARNER_SPARSE_BASE + 99)[0] + 0.1 * 0.5 / 1.5) < 1e-7);
    assert_true(learner_order(learner, 0, LEARNER_FREEZE, &err));
    assert_false(learner_push(learner, 0, &push, &pushed, &err));
    assert_int_equal(err.code, FR_PRECONDITION);
    learner_close(learner);
    fixture_fini(&fixture);
}

static void exploration_depends_on_seed_and_item_alone(void **state)
{
    static const int task[] = {0};
    static const uint64_t items[] = {11, 12, 11};
    struct fixture fixture;
    struct learner *learner;
    struct fixture_row row;
    const struct learner_example *example;
    struct fr_arena *arena = fr_arena_new(1 << 20);
    float dense[3][4];
    uint64_t sparse[3][4];
    struct learner_ask ask = {
        .tasks = task, .task_count = 1, .item_ids = items, .dense = dense[0], .sparse = sparse[0], .item_count = 3};
    struct learner_scores plain, ucb, draw, same, other;
    struct fr_err err;

    (void)state;
    fixture_init(&fixture, two_tasks);
    learner = fixture_open(&fixture);
    fixture_learn(&fixture, learner, 0, 1000, 0);
    fixture_settle(learner);
    example = fixture_example(&fixture, 5, &row);
    for (int i = 0; i < 3; i++) {
        memcpy(dense[i], example->dense, sizeof dense[i]);
        memcpy(sparse[i], example->sparse, sizeof sparse[i]);
    }
    assert_true(learner_score(learner, &ask, arena, &plain, &err));
    ask.explore = LEARNER_EXPLORE_UCB;
    assert_true(learner_score(learner, &ask, arena, &ucb, &err));
    ask.explore = LEARNER_EXPLORE_THOMPSON;
    ask.seed = 4;
    assert_true(learner_score(learner, &ask, arena, &draw, &err));
    assert_true(learner_score(learner, &ask, arena, &same, &err));
    ask.seed = 5;
    assert_true(learner_score(learner, &ask, arena, &other, &err));
    assert_true(plain.scores[0] == plain.probabilities[0] && plain.score_sd[0] > 0);
    assert_true(ucb.scores[0] > plain.scores[0] && ucb.probabilities[0] == plain.probabilities[0]);
    assert_true(draw.scores[0] == draw.scores[2] && draw.scores[0] != draw.scores[1]);
    assert_memory_equal(draw.scores, same.scores, 3 * sizeof(float));
    assert_true(draw.scores[0] != other.scores[0]);
    learner_close(learner);
    fr_arena_free(arena);
    fixture_fini(&fixture);
}

/* ---- while it learns ---- */

struct looker {
    struct fixture *fixture;
    struct learner *learner;
    atomic_bool *is_over;
    int looks;
};

/* The same row twice in one call must be scored alike, whatever turns meanwhile. */
static void *look(void *user)
{
    struct looker *looker = user;
    struct fr_arena *arena = fr_arena_new(1 << 20);
    struct fixture_row row;
    uint64_t last = 0;

    for (uint64_t i = 0; !atomic_load(looker->is_over); i++) {
        const struct learner_example *example = fixture_example(looker->fixture, i % 64, &row);
        static const int tasks[] = {0, 1};
        float dense[2][4];
        uint64_t sparse[2][4];
        struct learner_ask ask = {.tasks = tasks, .task_count = 2, .dense = dense[0], .sparse = sparse[0], .item_count = 2};
        struct learner_scores scores;
        struct learner_state told;
        struct fr_err err;

        for (int k = 0; k < 2; k++) {
            memcpy(dense[k], example->dense, sizeof dense[k]);
            memcpy(sparse[k], example->sparse, sizeof sparse[k]);
        }
        if (!learner_score(looker->learner, &ask, arena, &scores, &err) || scores.version < last ||
            memcmp(&scores.logits[0], &scores.logits[2], 2 * sizeof(double)) != 0 ||
            !learner_state(looker->learner, 0, false, &told))
            abort();
        last = scores.version;
        looker->looks++;
        fr_arena_reset(arena, 1 << 16);
    }
    fr_arena_free(arena);
    return NULL;
}

static void readers_see_one_version_while_others_are_published(void **state)
{
    static struct copy copy;
    struct fixture fixture;
    struct learner *learner;
    struct learner_pull pull = {0};
    atomic_bool is_over = false;
    struct looker lookers[2];
    pthread_t threads[2];

    (void)state;
    memset(&copy, 0, sizeof copy);
    fixture_init(&fixture, two_tasks);
    learner = fixture_open(&fixture);
    for (int i = 0; i < 2; i++) {
        lookers[i] = (struct looker){.fixture = &fixture, .learner = learner, .is_over = &is_over};
        assert_int_equal(pthread_create(&threads[i], NULL, look, &lookers[i]), 0);
    }
    for (uint64_t round = 0; round < 60; round++) {
        fixture_learn(&fixture, learner, round * 40, round * 40 + 40, 0);
        fixture_settle(learner);
        pull_all(learner, &pull, &copy);
    }
    atomic_store(&is_over, true);
    for (int i = 0; i < 2; i++) {
        pthread_join(threads[i], NULL);
        assert_true(lookers[i].looks > 0);
    }
    learner_close(learner);
    fixture_fini(&fixture);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pulled_copy_has_the_same_bits),
        cmocka_unit_test(a_stream_is_resumed_from_a_version_and_a_stranger_gets_all),
        cmocka_unit_test(coordinates_that_nothing_names_any_more_go_with_tombstones),
        cmocka_unit_test(a_push_is_checked_and_takes_effect_at_once),
        cmocka_unit_test(exploration_depends_on_seed_and_item_alone),
        cmocka_unit_test(readers_see_one_version_while_others_are_published),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
