/* How far time has come in each partition of a cluster, by what ingest says of them, which is a table here. */
#include "cluster.h"
#include "internal.h"

#include <freshet/clock.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { PARTS = 2, NEXT = 10, S_MS = 5000 };

static struct ingest_partition parts[PARTS];

/* Prototypes for --wrap. */
int __wrap_ingest_partition_count(struct ingest *ingest);
struct ingest_partition __wrap_ingest_partition_at(struct ingest *ingest, int partition);
bool __wrap_ingest_is_assigned(struct ingest *ingest);
void __wrap_ingest_ask(struct ingest *ingest);
uint64_t __wrap_learner_join_events(const struct learner_join *join);
bool __wrap_learner_join_is_due(struct learner_join *join, int64_t time_ms, uint64_t events);

int __wrap_ingest_partition_count(struct ingest *ingest)
{
    (void)ingest;
    return PARTS;
}

struct ingest_partition __wrap_ingest_partition_at(struct ingest *ingest, int partition)
{
    (void)ingest;
    return parts[partition];
}

bool __wrap_ingest_is_assigned(struct ingest *ingest)
{
    bool is_assigned = true;

    (void)ingest;
    for (int i = 0; i < PARTS; i++)
        is_assigned = is_assigned && (!parts[i].is_owned || (parts[i].is_started && parts[i].end >= 0));
    return is_assigned;
}

void __wrap_ingest_ask(struct ingest *ingest)
{
    (void)ingest;
}

uint64_t __wrap_learner_join_events(const struct learner_join *join)
{
    (void)join;
    return 0;
}

bool __wrap_learner_join_is_due(struct learner_join *join, int64_t time_ms, uint64_t events)
{
    (void)join, (void)time_ms, (void)events;
    return true; /* somebody waits, so time is not chosen anew with each look */
}

static void a_partition_that_cannot_be_read_holds_up_no_other(void **state)
{
    static struct pipeline_served_log served_log;
    static struct pipeline_stream stream = {.restored_time_ms = S_MS};
    static struct pipeline_position positions[PARTS];
    struct pipeline_offsets offsets = {.positions = positions};
    struct pipeline_watermark watermark = {
        .stream = &stream, .offsets = &offsets, .served_log = &served_log, .served = "served", .is_sharing = true};
    static int any;

    (void)state;
    assert_true(pipeline_watermark__init(&watermark));
    atomic_store(&watermark.ingest, (struct ingest *)(void *)&any);
    for (int i = 0; i < PARTS; i++) {
        parts[i] = (struct ingest_partition){.topic = "events", .number = i, .low = -1, .end = -1, .is_owned = true};
        pipeline_offsets__place(&offsets, i, (struct ingest_position){.next_offset = NEXT});
    }
    parts[0].is_started = true; /* the other one has no leader */
    parts[0].low = 0;
    parts[0].end = NEXT;
    (void)pipeline_watermark__look(&watermark);
    parts[0].known_ms = fr_clock_monotonic_ms() + 1;
    (void)pipeline_watermark__look(&watermark);
    assert_int_equal(watermark.shares[0], S_MS);
    assert_int_equal(watermark.shares[1], 0);
    pipeline_watermark__fini(&watermark);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_partition_that_cannot_be_read_holds_up_no_other),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
