/*
 * What a connection may spend: a bucket that time refills. HTTP/2 lets a peer make a server work without ever asking for
 * anything (resets, pings, settings, frames that provoke a reset); each such frame costs one, and who has none left is asked to
 * be calm and cut off. nghttp2 1.52 has a bucket for resets that come, none for those it sends (CVE-2025-8671).
 */
#include "http2.h"

void server__budget_init(struct server__budget *budget, int capacity, int per_second, int64_t now_ms)
{
    *budget = (struct server__budget){.left = capacity, .capacity = capacity, .per_second = per_second, .filled_ms = now_ms};
}

void server__budget_refund(struct server__budget *budget, int count)
{
    budget->left = count < budget->capacity - budget->left ? budget->left + count : budget->capacity;
}

bool server__budget_spend(struct server__budget *budget, int64_t now_ms)
{
    int64_t span_ms = now_ms - budget->filled_ms;
    int64_t earned = span_ms > 1000 * 1000 ? budget->capacity : span_ms * budget->per_second / 1000;

    if (earned > 0) { /* a part of one earned is left to grow */
        server__budget_refund(budget, earned < budget->capacity ? (int)earned : budget->capacity);
        budget->filled_ms = now_ms;
    }
    if (budget->left == 0)
        return false;
    budget->left--;
    return true;
}
