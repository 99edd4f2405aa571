/*
 * S1: a user's history of 100 ids and 32 floats, items of 64 floats, 8 of them their creator's.
 */
#include "draw.h"

#include <freshet/bench.h>

#include <math.h>

/* How often, in %, and up to which value. */
static const struct {
    const char *name;
    int percent;
    double value_max;
} actions[] = {
    {"watch", 50, 60}, {"click", 15, 0},      {"like", 10, 0},      {"comment", 5, 0}, {"share", 5, 0},
    {"follow", 3, 0},  {"add_to_cart", 5, 0}, {"purchase", 4, 200}, {"gift", 3, 100},
};

uint64_t bench_s1_user_at(uint64_t number)
{
    return draw_id(DRAW_USER, number);
}

uint64_t bench_s1_item_at(uint64_t number)
{
    return draw_id(DRAW_ITEM, number);
}

uint64_t bench_s1_user(struct bench_s1 *s1)
{
    return bench_s1_user_at(draw_next(&s1->state) % (uint64_t)s1->users);
}

uint64_t bench_s1_item(struct bench_s1 *s1)
{
    return bench_s1_item_at(draw_next(&s1->state) % (uint64_t)s1->items);
}

bool bench_s1_next(struct bench_s1 *s1, struct proto_event *event)
{
    uint64_t i = s1->made, item;
    int kind;
    size_t at = 0;

    if (i == s1->events)
        return false;
    item = draw_next(&s1->state) % (uint64_t)s1->items;
    kind = (int)(draw_next(&s1->state) % 100);
    while (kind >= actions[at].percent)
        kind -= actions[at++].percent;
    *event = (struct proto_event){
        .event_id = draw_mix((uint64_t)s1->start_ms + i + 1) | 1,
        .ts_ms = s1->start_ms + (int64_t)((double)i / (double)s1->events * (double)s1->span_ms),
        .user_id = bench_s1_user_at(i % (uint64_t)s1->users),
        .item_id = bench_s1_item_at(item),
        .creator_id = draw_id(DRAW_CREATOR, draw_mix(item) % (uint64_t)s1->creators),
        .action = (uint32_t)proto_action_number(fr_slice_of(actions[at].name)),
        .value = round(draw_uniform(&s1->state) * actions[at].value_max * 1000) / 1000,
        .duration_s = 60,
    };
    s1->made++;
    return true;
}
