/*
 * One record of a topic: what it is worth. The order of the checks is the Contract's: what cannot be read, then what nobody knows,
 * then what is out of range.
 */
#include "internal.h"

#include <inttypes.h>
#include <math.h>

enum { REGISTRY_PREFIX_BYTES = 5, MESSAGE_INDEXES_MAX = 3 };

#define VALUE_MAX 1e12

/* The registry's list of indexes that names a message inside its file: a count, then so many; or one zero for the first message. */
static struct fr_slice skip_message_index(struct fr_slice record)
{
    const uint8_t *at = proto__begin(record);
    const uint8_t *end = at + record.length;

    /* A count above 3 could as well be the key of field 1; below, no event begins so. */
    if (record.length == 0 || *at > 2 * MESSAGE_INDEXES_MAX || (*at & 1) != 0)
        return record;
    for (int left = *at++ / 2; left > 0; left--) {
        uint64_t index;

        at = proto__wire_varint(at, end, &index);
        if (!at)
            return record;
    }
    return fr_slice(at, (size_t)(end - at));
}

/* A record without what a schema registry's client puts before it. Neither an event nor JSON begins with a zero byte. */
static struct fr_slice skip_prefix(enum proto_format format, struct fr_slice record)
{
    const uint8_t *at = record.bytes;

    if (record.length >= REGISTRY_PREFIX_BYTES && at[0] == 0)
        record = fr_slice(at + REGISTRY_PREFIX_BYTES, record.length - REGISTRY_PREFIX_BYTES);
    return format == PROTO_FORMAT_PROTOBUF ? skip_message_index(record) : record;
}

/* JSON to wire bytes in `scratch`. */
static bool convert(struct fr_slice json, struct fr_arena *scratch, struct fr_slice *wire, struct fr_err *err)
{
    struct fr_buffer buffer;
    uint8_t *copy = NULL;
    bool is_read;

    fr_buffer_init(&buffer);
    is_read = proto_event_from_json(json, &buffer, err);
    if (is_read) {
        copy = fr_arena_take(scratch, buffer.length + 1);
        if (copy && buffer.length > 0)
            memcpy(copy, buffer.bytes, buffer.length);
        if (!copy)
            is_read = fr_fail(err, FR_EXHAUSTED, "event: no room for %zu bytes beside the rest of the batch", buffer.length);
        *wire = fr_slice(copy, buffer.length);
    }
    fr_buffer_fini(&buffer);
    return is_read;
}

static bool is_bad_number(double value)
{
    return !(fabs(value) <= VALUE_MAX); /* NaN too */
}

/* An event without an action says nothing of anybody; with this text and no id it is no producer's mistake either. */
static bool is_canary(const struct proto_event *event)
{
    return fr_slice_is(event->text, PROTO_CANARY_TEXT) &&
           (event->user_id | event->item_id | event->creator_id | event->room_id) == 0;
}

static enum proto_verdict judge(const struct proto_event *event, int64_t future_ms, struct fr_err *why)
{
    if (event->action == 0)
        return is_canary(event) ? PROTO_CANARY : PROTO_UNKNOWN_ACTION; /* no dead letter, so no text */
    if (event->ts_ms < 1 || event->ts_ms >= PROTO_TS_MS_END) {
        fr_fail(why, FR_BAD_INPUT, "event: ts_ms %" PRId64 "; use Unix milliseconds from 1 to %" PRId64, event->ts_ms,
                PROTO_TS_MS_END - 1);
        return PROTO_BAD_TIME;
    }
    if (is_bad_number(event->value) || is_bad_number(event->duration_s)) {
        fr_fail(why, FR_BAD_INPUT, "event: value %g, duration_s %g; use finite numbers of at most %g", event->value,
                event->duration_s, VALUE_MAX);
        return PROTO_BAD_VALUE;
    }
    if (!isfinite(event->propensity)) {
        fr_fail(why, FR_BAD_INPUT, "event: propensity %g; use a finite number", (double)event->propensity);
        return PROTO_BAD_VALUE;
    }
    if (event->ts_ms > future_ms) {
        fr_fail(why, FR_BAD_INPUT,
                "event: ts_ms %" PRId64 " is later than %" PRId64 ", this machine's clock and node.max_future, by %" PRId64
                " ms; set the clock that is wrong, then produce it again",
                event->ts_ms, future_ms, event->ts_ms - future_ms);
        return PROTO_FUTURE;
    }
    return PROTO_EVENT;
}

enum proto_verdict proto_event_read(enum proto_format format, struct fr_slice record, int64_t future_ms,
                                    struct fr_arena *scratch, struct proto_event *event, struct fr_err *why)
{
    struct fr_err unheard;
    struct fr_slice wire;

    if (!why)
        why = &unheard;
    if (record.length == 0) {
        fr_fail(why, FR_BAD_INPUT, "event: no bytes");
        return PROTO_EMPTY;
    }
    if (record.length > PROTO_EVENT_BYTES_MAX) {
        fr_fail(why, FR_BAD_INPUT, "event: %zu bytes; at most %d", record.length, PROTO_EVENT_BYTES_MAX);
        return PROTO_OVERSIZED;
    }
    wire = skip_prefix(format, record);
    if (format == PROTO_FORMAT_JSON && !convert(wire, scratch, &wire, why))
        return PROTO_BAD_JSON;
    if (!proto_event_decode(wire, event, why))
        return format == PROTO_FORMAT_JSON ? PROTO_BAD_JSON : PROTO_BAD_PROTOBUF;
    return judge(event, future_ms, why);
}
