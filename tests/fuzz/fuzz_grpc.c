/*
 * The parts of gRPC on any bytes: the framing of messages, in pieces and in one; timeouts; content types; texts that are
 * escaped; what comes compressed. Besides the sanitizers: a message never reaches past what came, and what is decided early is what is decided late.
 */
#include "convention.h"

#include <assert.h>
#include <stdint.h>

enum { MESSAGE_BYTES = 300 };

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static void frame(const uint8_t *bytes, size_t length, enum server__grpc_coding coding)
{
    enum server__parsed before = SERVER_MORE;
    struct fr_slice message, whole;
    size_t used, whole_used;
    enum server__status status;
    const char *reason;

    for (size_t there = 0; there <= length; there++) {
        enum server__parsed parsed =
            server__grpc_message(fr_slice(bytes, there), coding, MESSAGE_BYTES, &message, &used, &status, &reason);

        assert(before == SERVER_MORE || parsed == before);
        assert(parsed != SERVER_FAILED || (status != SERVER_STATUS_OK && reason));
        before = parsed;
    }
    if (before != SERVER_DONE)
        return;
    assert(used == message.length + SERVER_GRPC_PREFIX && used <= length && message.length <= MESSAGE_BYTES);
    assert(server__grpc_message(fr_slice(bytes, used), coding, MESSAGE_BYTES, &whole, &whole_used, &status, &reason) ==
           SERVER_DONE);
    assert(fr_slice_equal(message, whole));
}

static void escape(const uint8_t *bytes, size_t length)
{
    struct fr_buffer out;
    char text[FR_MESSAGE_BYTES];
    size_t count = length < sizeof text ? length : sizeof text - 1;

    memcpy(text, bytes, count);
    text[count] = '\0';
    fr_buffer_init(&out);
    server__grpc_escape(text, &out);
    assert(out.is_failed || out.length >= strlen(text));
    for (size_t i = 0; i < out.length; i++)
        assert(out.bytes[i] >= 0x20 && out.bytes[i] < 0x7f);
    fr_buffer_fini(&out);
}

/* What is unpacked is bounded, and says the same when it has been packed again. */
static void unpack(struct fr_slice bytes)
{
    struct fr_buffer plain, packed, again;

    fr_buffer_init(&plain);
    fr_buffer_init(&packed);
    fr_buffer_init(&again);
    if (server__gzip_unpack(bytes, MESSAGE_BYTES, &plain) == SERVER_UNPACKED) {
        assert(plain.length <= MESSAGE_BYTES);
        if (server__gzip_pack(fr_buffer_slice(&plain), &packed)) {
            assert(packed.length <= plain.length);
            assert(server__gzip_unpack(fr_buffer_slice(&packed), MESSAGE_BYTES, &again) == SERVER_UNPACKED);
            assert(fr_slice_equal(fr_buffer_slice(&plain), fr_buffer_slice(&again)));
        }
    }
    fr_buffer_fini(&plain);
    fr_buffer_fini(&packed);
    fr_buffer_fini(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    struct fr_slice all = fr_slice(bytes, length);
    enum server__codec codec;
    int64_t us = -1;

    if (server__grpc_timeout(all, &us))
        assert(us >= 0 && length >= 2 && length <= 9);
    server__grpc_is(all, &codec);
    if (length > 0)
        escape(bytes, length);
    frame(bytes, length, SERVER_GRPC_UNKNOWN);
    frame(bytes, length, SERVER_GRPC_GZIP);
    server__gzip_is_accepted(all);
    unpack(all);
    return 0;
}
