/*
 * Workloads: who does what with which item, drawn from a seed.
 */
#include "draw.h"

#include <freshet/bench.h>

#include <math.h>
#include <stdlib.h>

enum { W1_USERS = 100000, W1_ITEMS = 50000, W1_CREATORS = 5000, CATEGORIES = 200, W1_SPAN_MS = 7200000, JITTER_MS = 5000 };
enum { W1_SEED = 42 };
static const double zipf_exponent = 1.05;
static const int64_t w1_start_ms = INT64_C(1760000000000);

struct bench_workload {
    struct bench_workload_options options;
    uint64_t state;
    uint64_t made;
    double *users, *items; /* distribution functions, to be searched; NULL: uniform */
    uint32_t watch, like, comment, purchase;
};

static double *zipf_table(int n)
{
    double *table = malloc((size_t)n * sizeof *table), sum = 0;

    if (!table)
        return NULL;
    for (int i = 0; i < n; i++)
        table[i] = sum += pow(i + 1, -zipf_exponent);
    for (int i = 0; i < n; i++)
        table[i] /= sum;
    return table;
}

static uint64_t draw_rank(struct bench_workload *workload, const double *table, int n)
{
    double u = draw_uniform(&workload->state);
    int low = 0, high = n - 1;

    if (workload->options.draw == BENCH_EACH)
        return workload->made % (uint64_t)n;
    if (workload->options.draw == BENCH_UNIFORM)
        return (uint64_t)(u * n);
    while (low < high) {
        int middle = (low + high) / 2;

        if (table[middle] < u)
            low = middle + 1;
        else
            high = middle;
    }
    return (uint64_t)low;
}

struct bench_workload_options bench_w1_options(uint64_t events)
{
    return (struct bench_workload_options){.seed = W1_SEED,
                                           .events = events,
                                           .start_ms = w1_start_ms,
                                           .span_ms = W1_SPAN_MS,
                                           .users = W1_USERS,
                                           .items = W1_ITEMS,
                                           .creators = W1_CREATORS};
}

struct bench_workload *bench_workload_new(const struct bench_workload_options *options)
{
    struct bench_workload *workload = calloc(1, sizeof *workload);

    if (!workload)
        return NULL;
    *workload = (struct bench_workload){.options = *options,
                                        .state = options->seed,
                                        .watch = (uint32_t)proto_action_number(fr_slice_of("watch")),
                                        .like = (uint32_t)proto_action_number(fr_slice_of("like")),
                                        .comment = (uint32_t)proto_action_number(fr_slice_of("comment")),
                                        .purchase = (uint32_t)proto_action_number(fr_slice_of("purchase"))};
    if (options->draw == BENCH_ZIPF) {
        workload->users = zipf_table(options->users);
        workload->items = zipf_table(options->items);
        if (!workload->users || !workload->items) {
            bench_workload_free(workload);
            return NULL;
        }
    }
    return workload;
}

void bench_workload_free(struct bench_workload *workload)
{
    if (!workload)
        return;
    free(workload->users);
    free(workload->items);
    free(workload);
}

static void draw_action(struct bench_workload *workload, double kind, struct proto_event *event)
{
    if (kind < 0.80) {
        event->action = workload->watch;
        event->value = round(draw_uniform(&workload->state) * 60000) / 1000;
    } else if (kind < 0.94) {
        event->action = workload->like;
    } else if (kind < 0.99) {
        event->action = workload->comment;
    } else {
        event->action = workload->purchase;
        event->value = round(draw_uniform(&workload->state) * 20000) / 100;
    }
}

bool bench_workload_next(struct bench_workload *workload, struct proto_event *event)
{
    const struct bench_workload_options *options = &workload->options;
    uint64_t i = workload->made, item, user;
    int64_t at_ms;
    double kind;

    if (i == options->events)
        return false;
    item = draw_rank(workload, workload->items, options->items);
    user = draw_rank(workload, workload->users, options->users);
    kind = draw_uniform(&workload->state);
    at_ms = options->start_ms + (int64_t)((double)i / (double)options->events * (double)options->span_ms);
    *event = (struct proto_event){
        .event_id = draw_mix((options->seed << 40) + i + 1) | 1,
        .ts_ms = at_ms + JITTER_MS - (int64_t)(draw_uniform(&workload->state) * JITTER_MS),
        .user_id = draw_id(DRAW_USER, user),
        .item_id = options->has_no_items ? 0 : draw_id(DRAW_ITEM, item),
        .creator_id = options->has_no_creators ? 0 : draw_id(DRAW_CREATOR, draw_mix(item) % (uint64_t)options->creators),
        .category_id = draw_id(DRAW_CATEGORY, draw_mix(item + 7) % CATEGORIES),
    };
    draw_action(workload, kind, event);
    workload->made++;
    return true;
}
