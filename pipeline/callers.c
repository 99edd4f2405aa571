/*
 * How stale replies were, by who asked. Names come from outside, so only the first few get a histogram of their own; there is no
 * lock, because a name, once there, stays.
 */
#include "services.h"

#include <stdio.h>
#include <stdlib.h>

struct pipeline_caller {
    char name[64];
    struct fr_histogram *lag;
};

static struct fr_histogram *histogram(struct pipeline_callers *callers, const char *name)
{
    char labels[96];

    snprintf(labels, sizeof labels, "caller=\"%s\"", name); /* of plain letters */
    return fr_metrics_histogram(
        callers->metrics, "freshet_served_lag_seconds", labels,
        "How far applying was behind the clock, of each reply by caller (x-freshet-caller, else the user agent).");
}

void pipeline_callers__init(struct pipeline_callers *callers, struct fr_metrics *metrics)
{
    callers->metrics = metrics;
    callers->other = histogram(callers, "other");
}

void pipeline_callers__fini(struct pipeline_callers *callers)
{
    for (int i = 0; i < PIPELINE_CALLERS_MOST; i++)
        free(atomic_load(&callers->list[i]));
}

static struct pipeline_caller *caller_new(struct pipeline_callers *callers, const char *name)
{
    struct pipeline_caller *caller = malloc(sizeof *caller);

    if (caller) {
        snprintf(caller->name, sizeof caller->name, "%s", name);
        caller->lag = histogram(callers, caller->name);
    }
    return caller;
}

/* Whoever puts a name into a place first has it; another thread that wanted the place looks at it again. */
static struct fr_histogram *find(struct pipeline_callers *callers, const char *name)
{
    for (int i = 0; i < PIPELINE_CALLERS_MOST; i++) {
        struct pipeline_caller *caller = atomic_load_explicit(&callers->list[i], memory_order_acquire), *made;

        if (!caller) {
            made = caller_new(callers, name);
            if (!made || atomic_compare_exchange_strong(&callers->list[i], &caller, made))
                return made ? made->lag : callers->other;
            free(made);
        }
        if (strcmp(caller->name, name) == 0)
            return caller->lag;
    }
    return callers->other;
}

void pipeline_callers__note(struct pipeline_callers *callers, const char *name, int64_t lag_ms)
{
    fr_histogram_add_us(find(callers, *name ? name : "unnamed"), lag_ms * 1000);
}
