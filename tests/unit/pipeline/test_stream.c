/* How far behind a node is that has read nothing yet. */
#include "internal.h"

#include <freshet/clock.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

/* It would page whoever is on call at the start of each new node: by half a century. */
static void who_has_never_read_is_stale_since_it_runs_and_was_not_fresh(void **state)
{
    struct pipeline_stream *stream = calloc(1, sizeof *stream);
    struct pipeline_lag lag;

    (void)state;
    assert_non_null(stream);
    stream->ready_lag_ms = 10000;
    stream->begun_ms = fr_clock_wall_ms() - 5000;
    lag = pipeline_stream__lag(stream);
    assert_in_range(lag.stale_ms, 5000, 60000);
    assert_false(lag.is_known);
    assert_false(atomic_load(&stream->was_fresh));
    free(stream);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_has_never_read_is_stale_since_it_runs_and_was_not_fresh),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
