/*
 * What fills S1's tables: events as length-delimited protobuf on stdout, 100 for each of 100,000 users over 2 h of event time. Users
 * take turns, so that all their sequences are full; the item is any of 100,000, each with one of 5,000 creators. Seeded: the same
 * bytes every time.
 */
#include "draw.h"

#include <freshet/buffer.h>
#include <freshet/event.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { USERS = 100000, ITEMS = 100000, CREATORS = 5000, SPAN_MS = 7200000 };
static const int64_t start_ms = INT64_C(1760000000000);

static uint64_t state = 42;

/* How often, in %, and up to which value. */
static const struct {
    const char *name;
    int percent;
    double value_max;
} actions[] = {
    {"watch", 50, 60}, {"click", 15, 0},      {"like", 10, 0},      {"comment", 5, 0}, {"share", 5, 0},
    {"follow", 3, 0},  {"add_to_cart", 5, 0}, {"purchase", 4, 200}, {"gift", 3, 100},
};

static struct proto_event make_event(long i, long count)
{
    uint64_t item = draw_next(&state) % ITEMS;
    int kind = (int)(draw_next(&state) % 100);
    size_t at = 0;

    while (kind >= actions[at].percent)
        kind -= actions[at++].percent;
    return (struct proto_event){
        .event_id = draw_mix((uint64_t)i + 1) | 1,
        .ts_ms = start_ms + (int64_t)((double)i / (double)count * SPAN_MS),
        .user_id = draw_id(DRAW_USER, (uint64_t)i % USERS),
        .item_id = draw_id(DRAW_ITEM, item),
        .creator_id = draw_id(DRAW_CREATOR, draw_mix(item) % CREATORS),
        .action = (uint32_t)proto_action_number(fr_slice_of(actions[at].name)),
        .value = round(draw_uniform(&state) * actions[at].value_max * 1000) / 1000,
        .duration_s = 60,
    };
}

int main(int argc, char **argv)
{
    long count = argc > 1 ? atol(argv[1]) : 100L * USERS;
    struct fr_buffer body, head;

    fr_buffer_init(&body);
    fr_buffer_init(&head);
    for (long i = 0; i < count; i++) {
        struct proto_event event = make_event(i, count);

        fr_buffer_clear(&body);
        fr_buffer_clear(&head);
        proto_event_encode(&event, &body);
        fr_buffer_append_varint(&head, body.length);
        fwrite(head.bytes, 1, head.length, stdout);
        fwrite(body.bytes, 1, body.length, stdout);
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
