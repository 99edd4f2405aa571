/*
 * Time. Event time is int64 Unix milliseconds everywhere; spans are measured on the monotonic clock. Thread: any.
 */
#ifndef FRESHET_CLOCK_H
#define FRESHET_CLOCK_H

#include <stdint.h>

int64_t fr_clock_wall_ms(void); /* Unix ms; may jump */
int64_t fr_clock_monotonic_ms(void); /* for timeouts and spans */
int64_t fr_clock_monotonic_us(void); /* for latencies */
void fr_clock_sleep_ms(int64_t ms); /* returns early on a signal; ms ≤ 0: at once */

#endif
