/*
 * Drift: from one example on, people click on other things than before. The learner, which judges each batch by the version that was served
 * before it, is compared with a plain FTRL-proximal over the same examples, with one that begins anew at the change, with a model that
 * is frozen there, and with the truth. FRESHET_FIGURES=DIR keeps every example's predictions in DIR/drift.csv for tests/bench/learning.py.
 */
#include "fixture.h"

#include <math.h>

enum {
    USERS = 40,
    ITEMS = 60,
    CATEGORIES = 6,
    EXAMPLES = 80000,
    CHANGE = 40000,
    BATCH = 500,
    BLOCK = 2000,
    BLOCKS = EXAMPLES / BLOCK
};
enum { WHO_TRUTH, WHO_LIVE, WHO_FROZEN, WHO_OFFLINE, WHO_ANEW, WHOS };
#define ALPHA 0.5

static const char *const model = "dense: none, factors: 0, sparse: [user_id, item_id, [user_id, item.category_id]], "
                                 "optimiser: { alpha: 0.5 }, tasks: { click: { actions: [click] } }";

struct seen {
    uint64_t user, item;
    int label;
    double said[WHOS];
};

static uint64_t mixed(uint64_t value)
{
    value = (value ^ (value >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    value = (value ^ (value >> 27)) * UINT64_C(0x94d049bb133111eb);
    return value ^ (value >> 31);
}

static double unit(uint64_t what) /* in (0, 1) */
{
    return ((double)(mixed(what * UINT64_C(0x9e3779b97f4a7c15)) >> 11) + 0.5) * 0x1p-53;
}

static double normal(uint64_t what)
{
    return sqrt(-2 * log(unit(2 * what))) * cos(2 * M_PI * unit(2 * what + 1));
}

/* What is liked is drawn anew at the change; how much a person clicks at all stays. */
static double truth_of(uint64_t user, uint64_t item, bool is_after)
{
    uint64_t era = is_after ? 1000000 : 0;
    double logit =
        -1.5 + 0.5 * normal(user) + normal(era + 1000 + item) + normal(era + 2000 + user * CATEGORIES + item % CATEGORIES);

    return 1 / (1 + exp(-logit));
}

static struct seen *make_stream(void)
{
    struct seen *stream = calloc(EXAMPLES, sizeof *stream);

    for (uint64_t i = 0; i < EXAMPLES; i++) {
        struct seen *one = &stream[i];

        one->user = (uint64_t)(unit(3 * i + 5000000) * USERS);
        one->item = (uint64_t)(unit(3 * i + 5000001) * ITEMS);
        one->said[WHO_TRUTH] = truth_of(one->user, one->item, i >= CHANGE);
        one->label = unit(3 * i + 5000002) < one->said[WHO_TRUTH];
    }
    return stream;
}

/* ---- The oracle: McMahan's closed form, over tables of its own ---- */

struct plain {
    double z[1 + USERS + ITEMS + USERS * CATEGORIES], n[1 + USERS + ITEMS + USERS * CATEGORIES];
};

static void places_of(const struct seen *one, size_t places[4])
{
    places[0] = 0;
    places[1] = 1 + one->user;
    places[2] = 1 + USERS + one->item;
    places[3] = 1 + USERS + ITEMS + one->user * CATEGORIES + one->item % CATEGORIES;
}

static double plain_predict(const struct plain *plain, const struct seen *one)
{
    size_t places[4];
    double logit = 0;

    places_of(one, places);
    for (int i = 0; i < 4; i++)
        logit += -plain->z[places[i]] * ALPHA / (1 + sqrt(plain->n[places[i]]));
    return 1 / (1 + exp(-logit));
}

static void plain_learn(struct plain *plain, const struct seen *one)
{
    double g = plain_predict(plain, one) - one->label;
    size_t places[4];

    places_of(one, places);
    for (int i = 0; i < 4; i++) {
        double *z = &plain->z[places[i]], *n = &plain->n[places[i]];
        double w = -*z * ALPHA / (1 + sqrt(*n));

        *z += g - (sqrt(*n + g * g) - sqrt(*n)) / ALPHA * w;
        *n += g * g;
    }
}

static void run_plain(struct seen *stream, int who, int from)
{
    struct plain *plain = calloc(1, sizeof *plain);

    for (int at = from; at < EXAMPLES; at += BATCH) {
        for (int i = at; i < at + BATCH; i++)
            stream[i].said[who] = plain_predict(plain, &stream[i]);
        for (int i = at; i < at + BATCH; i++)
            plain_learn(plain, &stream[i]);
    }
    free(plain);
}

/* ---- The learner ---- */

struct rows { /* of a batch */
    uint64_t items[BATCH], sparse[BATCH][4];
    float dense[4];
    int width;
};

static void make_rows(const struct fixture *fixture, const struct seen *stream, struct rows *rows)
{
    float user_values[1] = {0}, item_values[3] = {0};
    uint64_t *sparse = &rows->sparse[0][0];

    rows->width = fixture->schema.sparse_count;
    for (int i = 0; i < BATCH; i++) {
        struct learner_ids ids = {
            .user_id = 1 + stream[i].user, .item_id = 1 + stream[i].item, .item_category_id = 1 + stream[i].item % CATEGORIES};

        rows->items[i] = ids.item_id;
        learner_schema_sparse(&fixture->schema, &ids, user_values, item_values, sparse + i * rows->width);
    }
}

static void predict(struct learner *learner, const struct rows *rows, struct seen *stream, int who)
{
    struct fr_arena *arena = fr_arena_new(1 << 20);
    int task = 0;
    struct learner_ask ask = {.tasks = &task,
                              .task_count = 1,
                              .item_ids = rows->items,
                              .dense = rows->dense,
                              .sparse = &rows->sparse[0][0],
                              .item_count = BATCH};
    struct learner_scores scores;
    struct fr_err err;

    assert_true(learner_score(learner, &ask, arena, &scores, &err));
    for (int i = 0; i < BATCH; i++)
        stream[i].said[who] = (double)scores.probabilities[i];
    fr_arena_free(arena);
}

static void learn(struct learner *learner, const struct rows *rows, const struct seen *stream, int at)
{
    struct learner_batch *batch = learner_batch_new(0);

    for (int i = 0; i < BATCH; i++) {
        struct learner_example example = {.served_ms = 1000000 + at + i,
                                          .dense = rows->dense,
                                          .sparse = &rows->sparse[0][0] + i * rows->width,
                                          .sparse_count = rows->width,
                                          .label = (float)stream[i].label,
                                          .weight = 1};

        assert_true(learner_batch_add(batch, &example));
    }
    assert_true(learner_learn(learner, &batch, -1));
}

/* Two learners of the same examples; one is frozen at the change, and so only judges what comes then. */
static void run_learner(struct seen *stream, int who)
{
    struct rows *rows = calloc(1, sizeof *rows);
    struct fixture fixture;
    struct learner *learner;
    struct fr_err err;

    fixture_init(&fixture, model);
    learner = fixture_open(&fixture);
    for (int at = 0; at < EXAMPLES; at += BATCH) {
        if (who == WHO_FROZEN && at == CHANGE)
            assert_true(learner_order(learner, 0, LEARNER_FREEZE, &err));
        make_rows(&fixture, stream + at, rows);
        predict(learner, rows, stream + at, who);
        learn(learner, rows, stream + at, at);
        if (who == WHO_LIVE || at < CHANGE)
            fixture_settle(learner);
    }
    learner_close(learner);
    fixture_fini(&fixture);
    free(rows);
}

/* ---- What is found ---- */

static double log_loss(double p, double label)
{
    return -(label * log(p) + (1 - label) * log(1 - p));
}

/* Normalized entropy of a block: its log loss by that of its mean label. */
static double entropy_of(const struct seen *block, int who)
{
    double loss = 0, mean = 0;

    for (int i = 0; i < BLOCK; i++) {
        loss += log_loss(block[i].said[who], block[i].label) / BLOCK;
        mean += (double)block[i].label / BLOCK;
    }
    return loss / log_loss(mean, mean);
}

static void keep_figures(const struct seen *stream)
{
    const char *directory = getenv("FRESHET_FIGURES");
    char path[512];
    FILE *file;

    if (!directory)
        return;
    snprintf(path, sizeof path, "%s/drift.csv", directory);
    file = fopen(path, "w");
    assert_non_null(file);
    fprintf(file, "user,item,category,label,truth,live,frozen,offline,anew\n");
    for (int i = 0; i < EXAMPLES; i++) {
        fprintf(file, "%d,%d,%d,%d", (int)stream[i].user, (int)stream[i].item, (int)stream[i].item % CATEGORIES,
                stream[i].label);
        for (int who = 0; who < WHOS; who++)
            fprintf(file, ",%.6f", stream[i].said[who]);
        fputc('\n', file);
    }
    fclose(file);
}

/* How many blocks after the change `who` is within a share of another, and stays so. */
static int recovered(double entropy[WHOS][BLOCKS], int who, int other, double share)
{
    int block = BLOCKS;

    while (block > CHANGE / BLOCK && entropy[who][block - 1] <= entropy[other][block - 1] * (1 + share))
        block--;
    return block - CHANGE / BLOCK;
}

static void a_change_of_behaviour_is_learned_as_fast_as_offline_and_never_by_a_frozen_model(void **state)
{
    static const char *const names[] = {"truth", "live", "frozen", "offline", "anew"};
    struct seen *stream = make_stream();
    double entropy[WHOS][BLOCKS];
    int needed;

    (void)state;
    run_learner(stream, WHO_LIVE);
    run_learner(stream, WHO_FROZEN);
    run_plain(stream, WHO_OFFLINE, 0);
    run_plain(stream, WHO_ANEW, CHANGE);
    keep_figures(stream);
    for (int who = 0; who < WHOS; who++) {
        printf("%-8s", names[who]);
        for (int block = 0; block < BLOCKS; block++) {
            entropy[who][block] = who == WHO_ANEW && block < CHANGE / BLOCK ? 1 : entropy_of(stream + block * BLOCK, who);
            printf(" %.3f", entropy[who][block]);
        }
        printf("\n");
    }
    needed = recovered(entropy, WHO_OFFLINE, WHO_TRUTH, 0.05);
    printf("blocks of %d until within 5 %% of the truth: live %d, offline %d, anew %d\n", BLOCK,
           recovered(entropy, WHO_LIVE, WHO_TRUTH, 0.05), needed, recovered(entropy, WHO_ANEW, WHO_TRUTH, 0.05));
    for (int block = 0; block < BLOCKS; block++)
        if (fabs(entropy[WHO_LIVE][block] / entropy[WHO_OFFLINE][block] - 1) > 0.02)
            fail_msg("in block %d the learner's entropy is %.3f, that of FTRL offline %.3f", block, entropy[WHO_LIVE][block],
                     entropy[WHO_OFFLINE][block]);
    assert_in_range(needed, 1, 15);
    assert_true(recovered(entropy, WHO_LIVE, WHO_TRUTH, 0.05) <= needed);
    assert_true(entropy[WHO_LIVE][BLOCKS - 1] < entropy[WHO_ANEW][BLOCKS - 1] * 1.02);
    for (int block = CHANGE / BLOCK; block < BLOCKS; block++)
        assert_true(entropy[WHO_FROZEN][block] > entropy[WHO_TRUTH][block] * 1.4);
    free(stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_change_of_behaviour_is_learned_as_fast_as_offline_and_never_by_a_frozen_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
