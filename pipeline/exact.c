/*
 * Reads of which one can say exactly what was in them: all events before some offsets, and no other. Such a read can be done again by a
 * replay to these offsets, and must give the same bits (skew.c). No read waits for that: one during which a batch changed something
 * is none.
 */
#include "services.h"

#include <freshet/clock.h>

enum { EVERY_MS = 500 };

void pipeline_exact__begin(struct pipeline_services *services, struct fr_arena *arena, struct pipeline_exact *exact)
{
    int64_t now_ms = fr_clock_monotonic_ms();

    *exact = (struct pipeline_exact){0};
    if (now_ms < atomic_load_explicit(&services->next_exact_ms, memory_order_relaxed))
        return;
    for (int i = 0; i < services->lanes->count; i++) {
        exact->turns[i] = atomic_load(&services->lanes->lanes[i].turns);
        if (exact->turns[i] % 2 == 1)
            return;
    }
    exact->offsets = pipeline_admin__offsets(services, arena, &exact->count);
}

void pipeline_exact__end(struct pipeline_services *services, struct pipeline_exact *exact)
{
    if (!exact->offsets)
        return;
    atomic_thread_fence(memory_order_acquire); /* what was read was read before the turns */
    for (int i = 0; i < services->lanes->count; i++) {
        if (atomic_load(&services->lanes->lanes[i].turns) != exact->turns[i]) {
            exact->offsets = NULL;
            return;
        }
    }
    atomic_store_explicit(&services->next_exact_ms, fr_clock_monotonic_ms() + EVERY_MS, memory_order_relaxed);
}
