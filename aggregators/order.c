/*
 * The total order of events as words that compare one by one: ts_ms, event_id, action, item_id, the bits of value, then the other
 * fixed-size fields by number. Whoever keeps only some fields keeps the order down to the last of them: events that are
 * equal so far look the same to him, so it doesn't matter which of them he has.
 */
#include "internal.h"

const uint8_t agg__order_fields[AGG_ORDER_WORDS] = {
    PROTO_FIELD_TS_MS,      PROTO_FIELD_EVENT_ID,   PROTO_FIELD_ACTION,     PROTO_FIELD_ITEM_ID,     PROTO_FIELD_VALUE,
    PROTO_FIELD_USER_ID,    PROTO_FIELD_CREATOR_ID, PROTO_FIELD_ROOM_ID,    PROTO_FIELD_CATEGORY_ID, PROTO_FIELD_REGION,
    PROTO_FIELD_DURATION_S, PROTO_FIELD_SCENE,      PROTO_FIELD_REQUEST_ID, PROTO_FIELD_POSITION,    PROTO_FIELD_PROPENSITY,
};

static uint64_t double_bits(double number)
{
    uint64_t bits;

    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static uint64_t float_bits(float number)
{
    uint32_t bits;

    memcpy(&bits, &number, sizeof bits);
    return bits;
}

void agg_order__take(const struct proto_event *event, uint64_t words[AGG_ORDER_WORDS])
{
    words[0] = (uint64_t)event->ts_ms; /* positive: proto refuses the others at the door */
    words[1] = event->event_id;
    words[2] = event->action;
    words[3] = event->item_id;
    words[4] = double_bits(event->value);
    words[5] = event->user_id;
    words[6] = event->creator_id;
    words[7] = event->room_id;
    words[8] = event->category_id;
    words[9] = event->region;
    words[10] = double_bits(event->duration_s);
    words[11] = event->scene;
    words[12] = event->request_id;
    words[13] = event->position;
    words[14] = float_bits(event->propensity);
}

int agg_order__word(int field)
{
    for (int i = 0; i < AGG_ORDER_WORDS; i++) {
        if (agg__order_fields[i] == field)
            return i;
    }
    return -1;
}

double agg_order__number(int word, uint64_t bits)
{
    double number;

    if (agg__order_fields[word] == PROTO_FIELD_PROPENSITY) {
        uint32_t half = (uint32_t)bits;
        float narrow;

        memcpy(&narrow, &half, sizeof narrow);
        return (double)narrow;
    }
    memcpy(&number, &bits, sizeof number);
    return number;
}

/* Doubles mostly end in zero bits: their bytes turned round make short varints. Hashed ids are long whatever one does. */
static bool is_turned(int word)
{
    return agg__order_fields[word] == PROTO_FIELD_VALUE || agg__order_fields[word] == PROTO_FIELD_DURATION_S;
}

static bool is_fixed(int word)
{
    return agg__order_fields[word] == PROTO_FIELD_EVENT_ID || agg__order_fields[word] == PROTO_FIELD_REQUEST_ID;
}

void agg_order__encode(const uint64_t *words, int count, uint64_t before_ms, struct fr_buffer *disk)
{
    uint64_t mask = 0;

    for (int i = 1; i < count; i++)
        mask |= (uint64_t)(words[i] != 0) << (i - 1);
    fr_buffer_append_varint(disk, words[0] - before_ms);
    fr_buffer_append_varint(disk, mask);
    for (int i = 1; i < count; i++) {
        if (words[i] == 0)
            continue;
        if (is_fixed(i))
            fr_buffer_append_fixed64(disk, words[i]);
        else
            fr_buffer_append_varint(disk, is_turned(i) ? __builtin_bswap64(words[i]) : words[i]);
    }
}

void agg_order__decode(struct fr_reader *reader, uint64_t *words, int count, uint64_t before_ms)
{
    uint64_t mask;

    words[0] = before_ms + fr_reader_varint(reader);
    mask = fr_reader_varint(reader);
    if (words[0] < before_ms || words[0] >= (uint64_t)PROTO_TS_MS_END || mask >> (count - 1) != 0)
        reader->is_failed = true;
    for (int i = 1; i < count; i++) {
        words[i] = 0;
        if ((mask >> (i - 1) & 1) == 0)
            continue;
        if (is_fixed(i)) {
            words[i] = fr_reader_fixed64(reader);
        } else {
            uint64_t word = fr_reader_varint(reader);

            words[i] = is_turned(i) ? __builtin_bswap64(word) : word;
        }
    }
}
