/*
 * The total order of events. Equal in all of these means the same event for every aggregate, so 'latest' never depends on arrival.
 */
#include "internal.h"

static int order(uint64_t a, uint64_t b)
{
    return a < b ? -1 : a > b;
}

/* By bits, unsigned: NaN and −0.0 have their place too. */
static int order_doubles(double a, double b)
{
    uint64_t left, right;

    memcpy(&left, &a, sizeof left);
    memcpy(&right, &b, sizeof right);
    return order(left, right);
}

static int order_floats(float a, float b)
{
    uint32_t left, right;

    memcpy(&left, &a, sizeof left);
    memcpy(&right, &b, sizeof right);
    return order(left, right);
}

/* What is left to tell two events apart: by field number. */
static int order_rest(const struct proto_event *a, const struct proto_event *b)
{
    const uint64_t left[] = {a->user_id, a->creator_id, a->room_id, a->category_id, a->region};
    const uint64_t right[] = {b->user_id, b->creator_id, b->room_id, b->category_id, b->region};
    int result = 0;

    for (size_t i = 0; i < sizeof left / sizeof *left && result == 0; i++)
        result = order(left[i], right[i]);
    if (result == 0)
        result = order_doubles(a->duration_s, b->duration_s);
    if (result == 0)
        result = order(a->scene, b->scene);
    if (result == 0)
        result = order(a->request_id, b->request_id);
    if (result == 0)
        result = order(a->position, b->position);
    return result != 0 ? result : order_floats(a->propensity, b->propensity);
}

int proto_event_compare(const struct proto_event *a, const struct proto_event *b)
{
    if (a->ts_ms != b->ts_ms)
        return a->ts_ms < b->ts_ms ? -1 : 1;
    if (a->event_id != b->event_id)
        return order(a->event_id, b->event_id);
    if (a->action != b->action)
        return order(a->action, b->action);
    if (a->item_id != b->item_id)
        return order(a->item_id, b->item_id);
    int result = order_doubles(a->value, b->value);

    return result != 0 ? result : order_rest(a, b);
}
