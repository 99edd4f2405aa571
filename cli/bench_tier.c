#include "bench.h"
bool cli_bench__tier(struct cli_bench *bench, struct cli_bench_report *report, struct fr_buffer *svg, struct fr_err *err)
{
    (void)bench;
    (void)report;
    (void)svg;
    return fr_fail(err, FR_UNIMPLEMENTED, "not yet");
}
