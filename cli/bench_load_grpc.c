/*
 * GetFeatures by gRPC over HTTP/2 with prior knowledge. As little of it as a client needs that asks one thing: header blocks without
 * tables, windows so large that they hardly ever have to grow, and replies of which frames are told apart and bytes counted.
 */
#include "bench.h"

enum {
    FRAME_DATA = 0,
    FRAME_HEADERS = 1,
    FRAME_SETTINGS = 4,
    FRAME_PING = 6,
    FRAME_GOAWAY = 7,
    FRAME_WINDOW = 8,
    FLAG_ACK = 1,
    FLAG_END_STREAM = 1,
    FLAG_END_HEADERS = 4,
    FRAME_HEAD_BYTES = 9,
    PING_BYTES = 8,
    PREFIX_BYTES = 5,
    WINDOW_BYTES = 1 << 30,
};

#define PATH "/freshet.v1.FeatureService/GetFeatures"

static void append_be32(struct fr_buffer *out, uint32_t value)
{
    for (int shift = 24; shift >= 0; shift -= 8)
        fr_buffer_append_byte(out, (uint8_t)(value >> shift));
}

static void append_frame_head(struct fr_buffer *out, size_t length, uint8_t kind, uint8_t flags, uint64_t stream)
{
    fr_buffer_append_byte(out, (uint8_t)(length >> 16));
    fr_buffer_append_byte(out, (uint8_t)(length >> 8));
    fr_buffer_append_byte(out, (uint8_t)length);
    fr_buffer_append_byte(out, kind);
    fr_buffer_append_byte(out, flags);
    append_be32(out, (uint32_t)stream);
}

static void append_window(struct fr_buffer *out, uint32_t bytes)
{
    append_frame_head(out, 4, FRAME_WINDOW, 0, 0);
    append_be32(out, bytes);
}

static void open_session(struct cli_bench_connection *connection)
{
    struct fr_buffer *out = &connection->out;

    fr_buffer_append_text(out, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    append_frame_head(out, 6, FRAME_SETTINGS, 0, 0);
    fr_buffer_append(out, "\0\4", 2); /* SETTINGS_INITIAL_WINDOW_SIZE */
    append_be32(out, WINDOW_BYTES);
    append_window(out, WINDOW_BYTES);
}

/* Literals without indexing; numbers of the static table (RFC 7541, appendix A). */
static void append_headers(struct fr_buffer *block)
{
    static const char path[] = PATH, host[] = "localhost", type[] = "application/grpc";

    fr_buffer_append(block, "\x83\x86\x04", 3); /* :method POST, :scheme http, :path … */
    fr_buffer_append_byte(block, sizeof path - 1);
    fr_buffer_append_text(block, path);
    fr_buffer_append_byte(block, 1); /* :authority … */
    fr_buffer_append_byte(block, sizeof host - 1);
    fr_buffer_append_text(block, host);
    fr_buffer_append(block, "\x0f\x10", 2); /* content-type … */
    fr_buffer_append_byte(block, sizeof type - 1);
    fr_buffer_append_text(block, type);
    fr_buffer_append(block, "\0\2te\10trailers", 13);
}

/* freshet.v1.GetFeaturesRequest: user_id, item_ids, feature_set. */
static void append_message(struct fr_buffer *message, uint64_t user, const uint64_t *items, int count)
{
    struct fr_buffer packed;

    fr_buffer_init(&packed);
    for (int i = 0; i < count; i++)
        fr_buffer_append_varint(&packed, items[i]);
    fr_buffer_append_byte(message, 1 << 3);
    fr_buffer_append_varint(message, user);
    fr_buffer_append_byte(message, 2 << 3 | 2);
    fr_buffer_append_varint(message, packed.length);
    fr_buffer_append(message, packed.bytes, packed.length);
    fr_buffer_append_text(message, "\x22\x02s1");
    fr_buffer_fini(&packed);
}

static void ask(struct cli_bench_connection *connection, uint64_t user, const uint64_t *items, int count)
{
    struct fr_buffer block, message;

    connection->stream = connection->stream == 0 ? 1 : connection->stream + 2;
    fr_buffer_init(&block);
    fr_buffer_init(&message);
    append_headers(&block);
    append_message(&message, user, items, count);
    append_frame_head(&connection->out, block.length, FRAME_HEADERS, FLAG_END_HEADERS, connection->stream);
    fr_buffer_append(&connection->out, block.bytes, block.length);
    append_frame_head(&connection->out, PREFIX_BYTES + message.length, FRAME_DATA, FLAG_END_STREAM, connection->stream);
    fr_buffer_append_byte(&connection->out, 0);
    append_be32(&connection->out, (uint32_t)message.length);
    fr_buffer_append(&connection->out, message.bytes, message.length);
    fr_buffer_fini(&block);
    fr_buffer_fini(&message);
}

/* Payload bytes of the frame; only DATA is looked at, a PING's are sent back. */
static void take_payload(struct cli_bench_connection *connection, struct fr_slice bytes)
{
    if (connection->kind == FRAME_DATA) {
        connection->reply_bytes += bytes.length;
        connection->unacknowledged += bytes.length;
        if (connection->keep)
            fr_buffer_append(connection->keep, bytes.bytes, bytes.length);
    } else if (connection->kind == FRAME_PING && (connection->flags & FLAG_ACK) == 0) {
        fr_buffer_append(&connection->out, bytes.bytes, bytes.length);
    }
    connection->left -= bytes.length;
}

/* What a frame asks for as soon as its head is here. */
static void begin_frame(struct cli_bench_connection *connection)
{
    const uint8_t *head = connection->head;

    connection->left = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
    connection->kind = head[3];
    connection->flags = head[4];
    connection->head_bytes = 0;
    if (connection->kind == FRAME_SETTINGS && (connection->flags & FLAG_ACK) == 0)
        append_frame_head(&connection->out, 0, FRAME_SETTINGS, FLAG_ACK, 0);
    if (connection->kind == FRAME_PING && (connection->flags & FLAG_ACK) == 0)
        append_frame_head(&connection->out, PING_BYTES, FRAME_PING, FLAG_ACK, 0);
}

/* A call that failed is a head alone, or a reset. */
static bool end_frame(struct cli_bench_connection *connection, bool *is_answered, struct fr_err *err)
{
    bool is_end = (connection->flags & FLAG_END_STREAM) != 0 && connection->kind == FRAME_HEADERS;

    if (connection->kind == FRAME_GOAWAY || connection->kind == 3 || (is_end && connection->reply_bytes <= PREFIX_BYTES))
        return fr_fail(err, FR_UNAVAILABLE, "the call was not answered (frame %d)", connection->kind);
    if (connection->unacknowledged > WINDOW_BYTES / 2) {
        append_window(&connection->out, (uint32_t)connection->unacknowledged);
        connection->unacknowledged = 0;
    }
    *is_answered = *is_answered || is_end;
    return true;
}

static bool take(struct cli_bench_connection *connection, struct fr_slice bytes, bool *is_answered, struct fr_err *err)
{
    const uint8_t *at = bytes.bytes, *end = at + bytes.length;

    while (at < end) {
        size_t part = (size_t)(end - at);

        if (connection->left > 0) {
            part = part < connection->left ? part : connection->left;
            take_payload(connection, fr_slice(at, part));
        } else {
            part = part < FRAME_HEAD_BYTES - connection->head_bytes ? part : FRAME_HEAD_BYTES - connection->head_bytes;
            memcpy(connection->head + connection->head_bytes, at, part);
            connection->head_bytes += part;
            if (connection->head_bytes == FRAME_HEAD_BYTES)
                begin_frame(connection);
        }
        at += part;
        if (connection->left == 0 && connection->head_bytes == 0 && !end_frame(connection, is_answered, err))
            return false;
    }
    return true;
}

const struct cli_bench_protocol cli_bench_load__grpc = {.open = open_session, .ask = ask, .take = take};
