/*
 * W1, the ingest workload: 2,000,000 events over 2 h of event time, as length-delimited protobuf on stdout. User ~ Zipf(1.05,
 * 100,000), item ~ Zipf(1.05, 50,000), each item with one of 5,000 creators and one of 200 categories; 63-bit ids; WATCH 80 %,
 * LIKE 14 %, COMMENT 5 %, PURCHASE 1 %; ts up to 5 s out of order. Seeded: the same bytes every time.
 */
#include "draw.h"

#include <freshet/buffer.h>
#include <freshet/event.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

enum { USERS = 100000, ITEMS = 50000, CREATORS = 5000, CATEGORIES = 200, SPAN_MS = 7200000, JITTER_MS = 5000 };
static const int64_t start_ms = INT64_C(1760000000000);

static uint64_t state = 42;

/* The distribution function of Zipf(1.05, n), to be searched. */
static double *zipf_table(int n)
{
    double *table = malloc((size_t)n * sizeof *table), sum = 0;

    if (!table)
        exit(1);
    for (int i = 0; i < n; i++)
        table[i] = sum += pow(i + 1, -1.05);
    for (int i = 0; i < n; i++)
        table[i] /= sum;
    return table;
}

static int zipf(const double *table, int n)
{
    double u = draw_uniform(&state);
    int low = 0, high = n - 1;

    while (low < high) {
        int middle = (low + high) / 2;

        if (table[middle] < u)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static struct proto_event make_event(long i, long count, const double *users, const double *items)
{
    uint64_t item = (uint64_t)zipf(items, ITEMS);
    double kind = draw_uniform(&state);
    struct proto_event event = {
        .event_id = draw_mix((uint64_t)i + 1) | 1,
        .ts_ms =
            start_ms + (int64_t)((double)i / (double)count * SPAN_MS) - (int64_t)(draw_uniform(&state) * JITTER_MS) + JITTER_MS,
        .user_id = draw_id(DRAW_USER, (uint64_t)zipf(users, USERS)),
        .item_id = draw_id(DRAW_ITEM, item),
        .creator_id = draw_id(DRAW_CREATOR, draw_mix(item) % CREATORS),
        .category_id = draw_id(DRAW_CATEGORY, draw_mix(item + 7) % CATEGORIES),
    };

    if (kind < 0.80) {
        event.action = (uint32_t)proto_action_number(fr_slice_of("watch"));
        event.value = round(draw_uniform(&state) * 60000) / 1000;
    } else if (kind < 0.94) {
        event.action = (uint32_t)proto_action_number(fr_slice_of("like"));
    } else if (kind < 0.99) {
        event.action = (uint32_t)proto_action_number(fr_slice_of("comment"));
    } else {
        event.action = (uint32_t)proto_action_number(fr_slice_of("purchase"));
        event.value = round(draw_uniform(&state) * 20000) / 100;
    }
    return event;
}

int main(int argc, char **argv)
{
    long count = argc > 1 ? atol(argv[1]) : 2000000;
    double *users = zipf_table(USERS), *items = zipf_table(ITEMS);
    struct fr_buffer body, head;

    fr_buffer_init(&body);
    fr_buffer_init(&head);
    for (long i = 0; i < count; i++) {
        struct proto_event event = make_event(i, count, users, items);

        fr_buffer_clear(&body);
        fr_buffer_clear(&head);
        proto_event_encode(&event, &body);
        fr_buffer_append_varint(&head, body.length);
        fwrite(head.bytes, 1, head.length, stdout);
        fwrite(body.bytes, 1, body.length, stdout);
    }
    return fflush(stdout) == 0 ? 0 : 1;
}
