/* Tables beside a committer that runs already when their topics are opened, and lanes that may read before that is done. */
#include "aggregators/node.h"

#include "tables.h"

#include <pthread.h>

#define CATALOGUE                                                                                                              \
    "tables: { info: { topic: t, key: item_id, fields: [price] } }\n"                                                          \
    "entities: { item: { key: [item_id] } }\n"                                                                                 \
    "features: { watches: { entity: item, actions: [watch], aggregate: count, windows: [1h] } }\n"

static const struct agg_dedupe dedupe = {.ids = 32, .horizon_ms = 600000};
static struct ingest *const reader = (struct ingest *)&reader; /* nobody looks into it */

static struct {
    struct pipeline_tables *tables;
    atomic_int flushes; /* by the committer, of the reader */
    bool was_early_taken;
    struct fr_err early;
} seen;

/* Prototypes for --wrap. */
bool __wrap_ingest_open(const struct ingest_options *options, struct ingest **ret, struct fr_err *err);
bool __wrap_ingest_dead_letters_flush(struct ingest *ingest, int timeout_ms, bool is_last, struct fr_err *err);
bool __wrap_ingest_close(struct ingest *ingest, int deadline_ms);
void __wrap_ingest_stop(struct ingest *ingest);

static bool give(const struct ingest_sink *sink, struct fr_err *err)
{
    struct ingest_batch batch = {.row_count = 0};

    return sink->batch(sink->user, &batch, err);
}

static struct ingest_sink given;

/* A lane of it is at work before it returns. */
bool __wrap_ingest_open(const struct ingest_options *options, struct ingest **ret, struct fr_err *err)
{
    (void)err;
    given = options->sink;
    seen.was_early_taken = give(&given, &seen.early);
    *ret = reader;
    return true;
}

bool __wrap_ingest_dead_letters_flush(struct ingest *ingest, int timeout_ms, bool is_last, struct fr_err *err)
{
    (void)timeout_ms, (void)is_last, (void)err;
    assert_ptr_equal(ingest, reader);
    atomic_fetch_add(&seen.flushes, 1);
    return true;
}

void __wrap_ingest_stop(struct ingest *ingest)
{
    assert_ptr_equal(ingest, reader);
}

bool __wrap_ingest_close(struct ingest *ingest, int deadline_ms)
{
    (void)deadline_ms;
    assert_ptr_equal(ingest, reader);
    return true;
}

/* Until it has found the reader. */
static void *flush(void *user)
{
    struct fr_err err;

    (void)user;
    while (atomic_load(&seen.flushes) == 0)
        assert_true(pipeline_tables__flush(seen.tables, 0, false, &err));
    return NULL;
}

/* An epoch must not have a row's offset whose dead letters nobody waits for. */
static void no_row_is_taken_before_the_committer_knows_whose_dead_letters_to_wait_for(void **state)
{
    struct node node = node_new(CATALOGUE, dedupe);
    struct pipeline_config config = {.group = "g"};
    struct pipeline_tables_options options = {
        .config = &config, .agg = node.agg, .store = node.store, .metrics = node.metrics, .dirty_bytes_most = 1 << 20};
    pthread_t committer;
    struct fr_err err;

    (void)state;
    assert_true(pipeline_tables__open(&options, &seen.tables, &err));
    assert_int_equal(pthread_create(&committer, NULL, flush, NULL), 0);
    assert_true(pipeline_tables__start(seen.tables, "nowhere:1", NULL, &err));
    assert_false(seen.was_early_taken);
    assert_int_equal(seen.early.code, FR_EXHAUSTED); /* it comes again */
    assert_true(give(&given, &err));
    pthread_join(committer, NULL);
    assert_true(pipeline_tables__close(seen.tables, 0));
    node_free(&node);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_row_is_taken_before_the_committer_knows_whose_dead_letters_to_wait_for),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
