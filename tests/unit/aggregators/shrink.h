/*
 * Property tests: a stream that fails is cut down, by leaving out ever smaller runs of events, to one that still fails and is short
 * enough to read.
 */
#ifndef FRESHET_TEST_AGGREGATORS_SHRINK_H
#define FRESHET_TEST_AGGREGATORS_SHRINK_H

#include "node.h"

#include <inttypes.h>

/* Whether this stream shows the fault; `text` gets what is wrong. */
typedef bool (*stream_fails_fn)(const void *user, const struct proto_event *events, int count, char text[512]);

static inline int shrink_without(const struct proto_event *events, int count, int at, int length, struct proto_event *out)
{
    int end = at + length < count ? at + length : count;

    memcpy(out, events, (size_t)at * sizeof *events);
    memcpy(out + at, events + end, (size_t)(count - end) * sizeof *events);
    return count - (end - at);
}

/* Fails the test with the shortest stream found; events[] is used up. */
static inline void stream_check(stream_fails_fn fails, const void *user, struct proto_event *events, int count)
{
    struct proto_event *shorter;
    char text[512] = "";

    if (!fails(user, events, count, text))
        return;
    shorter = calloc((size_t)count + 1, sizeof *shorter);
    for (int length = (count + 1) / 2; length > 0;) {
        bool is_shorter = false;

        for (int at = 0; at < count && !is_shorter; at += length) {
            int left = shrink_without(events, count, at, length, shorter);

            is_shorter = fails(user, shorter, left, text);
            if (is_shorter) {
                memcpy(events, shorter, (size_t)left * sizeof *events);
                count = left;
            }
        }
        length = is_shorter ? (length < count ? length : count) : length / 2;
    }
    (void)fails(user, events, count, text);
    for (int i = 0; i < count; i++)
        print_message("  ts %" PRId64 " id %" PRIu64 " user %" PRIu64 " item %" PRIu64 " category %" PRIu64 " region %" PRIu64
                      " room %" PRIu64 " action %u scene %u\n",
                      events[i].ts_ms, events[i].event_id, events[i].user_id, events[i].item_id, events[i].category_id,
                      events[i].region, events[i].room_id, events[i].action, events[i].scene);
    free(shorter);
    fail_msg("%s; after these %d events", text, count);
}

/* Applies events in batches of sizes drawn from `seed`, S as the horizon; now and then what is durable is all that is left. */
static inline void stream_apply(struct node *node, const struct proto_event *events, int count, uint64_t seed)
{
    enum agg_outcome outcomes[NODE_BATCH_MAX];

    for (int at = 0, size; at < count; at += size) {
        seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407U;
        size = 1 + (int)((seed >> 33) % 40);
        size = size < count - at ? size : count - at;
        node_apply(node, events + at, size, node->stream_time_ms, outcomes);
        if ((seed >> 40) % 64 == 0) {
            node_commit(node);
            node_restart(node);
        }
    }
}

#endif
