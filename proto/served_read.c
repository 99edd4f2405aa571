/* One record of the served topic: what it is worth. */
#include "internal.h"

#include <freshet/message.h>
#include <freshet/served.h>

#include <inttypes.h>
#include <math.h>

static bool is_finite(const float *values, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return false;
    return true;
}

static bool check_lists(const Freshet__V1__Served *rows, struct fr_err *why)
{
    size_t items = rows->n_item_ids;

    if (rows->request_id == 0 || rows->user_id == 0 || items == 0)
        return fr_fail(why, FR_BAD_INPUT, "served: request_id, user_id and item_ids must be there; give all three");
    if (items > PROTO_SERVED_ITEMS_MAX)
        return fr_fail(why, FR_BAD_INPUT, "served: %zu items; at most %d", items, PROTO_SERVED_ITEMS_MAX);
    if ((rows->n_positions != 0 && rows->n_positions != items) || (rows->n_propensities != 0 && rows->n_propensities != items))
        return fr_fail(why, FR_BAD_INPUT, "served: %zu positions, %zu propensities for %zu items; give one an item, or none",
                       rows->n_positions, rows->n_propensities, items);
    if (rows->n_item_values % items != 0 || rows->n_sparse % items != 0)
        return fr_fail(why, FR_BAD_INPUT, "served: %zu item_values, %zu sparse for %zu items; give as many to each item",
                       rows->n_item_values, rows->n_sparse, items);
    if (!is_finite(rows->user_values, rows->n_user_values) || !is_finite(rows->item_values, rows->n_item_values) ||
        !is_finite(rows->propensities, rows->n_propensities))
        return fr_fail(why, FR_BAD_INPUT, "served: a value or propensity is not finite; leave such a row out");
    return true;
}

static enum proto_verdict judge(const Freshet__V1__Served *rows, int64_t future_ms, struct fr_err *why)
{
    if (rows->served_ms < 1 || rows->served_ms >= PROTO_TS_MS_END) {
        fr_fail(why, FR_BAD_INPUT, "served: served_ms %" PRId64 "; use Unix milliseconds from 1 to %" PRId64, rows->served_ms,
                PROTO_TS_MS_END - 1);
        return PROTO_BAD_TIME;
    }
    if (!check_lists(rows, why))
        return PROTO_BAD_VALUE;
    if (rows->served_ms > future_ms) {
        fr_fail(why, FR_BAD_INPUT,
                "served: served_ms %" PRId64 " is later than %" PRId64 ", this machine's clock and node.max_future; "
                "set the clock that is wrong",
                rows->served_ms, future_ms);
        return PROTO_FUTURE;
    }
    return PROTO_EVENT;
}

enum proto_verdict proto_served_read(struct fr_slice record, int64_t future_ms, struct fr_arena *scratch,
                                     const Freshet__V1__Served **rows, struct fr_err *why)
{
    *rows = NULL;
    if (record.length == 0) {
        fr_fail(why, FR_BAD_INPUT, "served: no bytes");
        return PROTO_EMPTY;
    }
    if (record.length > PROTO_SERVED_BYTES_MAX) {
        fr_fail(why, FR_BAD_INPUT, "served: %zu bytes; at most %d", record.length, PROTO_SERVED_BYTES_MAX);
        return PROTO_OVERSIZED;
    }
    *rows = (const Freshet__V1__Served *)proto_unpack(&freshet__v1__served__descriptor, record, scratch, why);
    return *rows ? judge(*rows, future_ms, why) : PROTO_BAD_PROTOBUF;
}
