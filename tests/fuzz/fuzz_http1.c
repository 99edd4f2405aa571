/*
 * The HTTP/1.1 parser and the sniffer on any bytes. Besides the sanitizers: a stream of requests cut as the first byte says
 * must give the same requests, bodies and fault as the same stream in one piece, and nothing may be taken that is not there.
 */
#include "internal.h"

#include <assert.h>
#include <stdint.h>

enum { HEADER_BYTES = 512, HEADER_COUNT = 16, BODY_BYTES = 256 };

struct summary {
    int requests;
    enum server__fault fault;
    uint64_t hash; /* of paths, fields and bodies */
};

static void mix(struct summary *summary, const void *bytes, size_t length)
{
    for (size_t i = 0; i < length; i++)
        summary->hash = (summary->hash ^ ((const uint8_t *)bytes)[i]) * UINT64_C(0x100000001b3);
    summary->hash ^= length;
}

static void mix_head(struct summary *summary, const struct server__http1 *parser, const uint8_t *head)
{
    struct fr_slice path = server__http1_path(parser, head);
    struct fr_slice name, value;
    size_t at = 0;

    mix(summary, path.bytes, path.length);
    while (server__http1_field(parser, head, &at, &name, &value)) {
        assert((const uint8_t *)value.bytes + value.length <= head + parser->at);
        mix(summary, name.bytes, name.length);
        mix(summary, value.bytes, value.length);
    }
}

/* Where the request that begins at `from` ends, or 0 when it does not. `step` bytes come at once. */
static size_t parse_one(struct server__http1 *parser, const uint8_t *from, size_t length, size_t step, struct summary *summary)
{
    enum server__parsed parsed = SERVER_MORE;
    size_t there = 0;
    size_t used = 0;

    while (parsed == SERVER_MORE && there < length) {
        there = there + step < length ? there + step : length;
        parsed = server__http1_head(parser, fr_slice(from, there));
    }
    if (parsed == SERVER_DONE) {
        used = parser->at;
        assert(used <= there);
        mix_head(summary, parser, from);
        parsed = server__http1_has_body(parser) ? SERVER_MORE : SERVER_DONE;
    }
    while (parsed == SERVER_MORE && used < length) {
        struct fr_slice piece;
        size_t taken;

        if (used == there)
            there = there + step < length ? there + step : length;
        parsed = server__http1_body(parser, fr_slice(from + used, there - used), &taken, &piece);
        assert(taken <= there - used && piece.length <= taken && parser->received <= BODY_BYTES);
        used += taken;
        for (size_t i = 0; i < piece.length; i++) /* byte by byte: pieces depend on the cuts */
            mix(summary, (const uint8_t *)piece.bytes + i, 1);
    }
    summary->fault = parser->fault;
    return parsed == SERVER_DONE ? used : 0;
}

static struct summary parse(const uint8_t *bytes, size_t length, size_t step)
{
    struct server__http1 parser = {
        .header_bytes_max = HEADER_BYTES, .header_count_max = HEADER_COUNT, .body_bytes_max = BODY_BYTES};
    struct summary summary = {.hash = 1};
    size_t used = 1;

    while (used > 0 && length > 0) {
        used = parse_one(&parser, bytes, length, step, &summary);
        bytes += used;
        length -= used;
        summary.requests += used > 0;
        server__http1_reset(&parser);
    }
    return summary;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct summary whole, in_pieces;

    if (size < 2)
        return 0;
    whole = parse(data + 1, size - 1, size);
    in_pieces = parse(data + 1, size - 1, (size_t)data[0] % 16 + 1);
    assert(whole.requests == in_pieces.requests && whole.fault == in_pieces.fault);
    assert(whole.fault != SERVER_FAULT_NONE || whole.hash == in_pieces.hash);
    assert(server__sniff(fr_slice(data + 1, size - 1)) <= SERVER_SNIFF_OTHER);
    return 0;
}
