/*
 * How far this machine's clock is from those of who stamps records: the producers', or the broker's where a topic has LogAppendTime. A
 * record cannot be of the future, so one whose timestamp is greater than our clock proves that ours is behind, or that producer's
 * ahead. Nor does a record wait where nothing waited a moment ago: is the youngest one of a whole minute old even so, our clock is
 * ahead. Each lane keeps the least age it met, in halves of a minute, so that a clock that was mended is forgotten soon.
 */
#include "internal.h"

#include <freshet/clock.h>

#include <inttypes.h>
#include <stdio.h>

enum {
    HALF_MS = 30000,
    BEHIND_MS = 5000, /* from here on it is told; within it what NTP leaves, and a pause between two looks at the clock */
    AHEAD_MS = 30000, /* producers that gather for some seconds before they send are no trouble */
};

static const int64_t none_ms = INT64_MAX;

void pipeline_clock__init(struct pipeline_clock *clock)
{
    for (int i = 0; i < PIPELINE_LANES_MAX; i++) {
        atomic_init(&clock->lanes[i].since_ms, 0);
        atomic_init(&clock->lanes[i].least_ms, none_ms);
        atomic_init(&clock->lanes[i].before_ms, none_ms);
    }
}

void pipeline_clock__note(struct pipeline_clock *clock, int lane, int64_t age_ms, bool may_have_waited, int64_t now_ms)
{
    struct pipeline_ages *ages = &clock->lanes[lane];
    int64_t least_ms = atomic_load_explicit(&ages->least_ms, memory_order_relaxed);
    int64_t passed_ms = now_ms - atomic_load_explicit(&ages->since_ms, memory_order_relaxed);

    if (age_ms > 0 && may_have_waited)
        return;
    if (passed_ms < HALF_MS) {
        if (age_ms < least_ms)
            atomic_store_explicit(&ages->least_ms, age_ms, memory_order_relaxed);
        return;
    }
    atomic_store_explicit(&ages->before_ms, passed_ms < 2 * HALF_MS ? least_ms : none_ms, memory_order_relaxed);
    atomic_store_explicit(&ages->least_ms, age_ms, memory_order_relaxed);
    atomic_store_explicit(&ages->since_ms, now_ms, memory_order_relaxed);
}

int64_t pipeline_clock__skew_ms(struct pipeline_clock *clock, int64_t now_ms)
{
    int64_t least_ms = none_ms;

    for (int i = 0; i < PIPELINE_LANES_MAX; i++) {
        struct pipeline_ages *ages = &clock->lanes[i];
        int64_t passed_ms = now_ms - atomic_load_explicit(&ages->since_ms, memory_order_relaxed);
        int64_t age_ms = atomic_load_explicit(&ages->least_ms, memory_order_relaxed);
        int64_t before_ms = atomic_load_explicit(&ages->before_ms, memory_order_relaxed);

        if (passed_ms >= 2 * HALF_MS)
            continue; /* nothing came of late */
        if (passed_ms < HALF_MS && before_ms < age_ms)
            age_ms = before_ms;
        least_ms = age_ms < least_ms ? age_ms : least_ms;
    }
    return least_ms == none_ms ? 0 : least_ms;
}

void pipeline_clock__describe(int64_t skew_ms, int64_t max_future_ms, char text[PIPELINE_CLOCK_TEXT_BYTES])
{
    text[0] = '\0';
    if (skew_ms <= -BEHIND_MS)
        snprintf(
            text, PIPELINE_CLOCK_TEXT_BYTES,
            "this machine's clock is %.1f s behind a record's timestamp: %s; set the clock that is wrong, here or where the "
            "producers run (NTP)%s",
            (double)-skew_ms / 1e3,
            -skew_ms > max_future_ms ? "events beyond node.max_future become dead letters (future)"
                                     : "events count only once this clock has reached them",
            -skew_ms > max_future_ms ? ", then produce the dead letters again" : "");
    else if (skew_ms >= AHEAD_MS)
        snprintf(
            text, PIPELINE_CLOCK_TEXT_BYTES,
            "the youngest record of a minute is %.1f s old by this machine's clock, although none waits: windows are read that "
            "much too late; set this clock (NTP) and restart the node, or find out why producers hold events back",
            (double)skew_ms / 1e3);
}
