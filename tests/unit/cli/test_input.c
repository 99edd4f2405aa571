/*
 * The bytes of a file, unpacked.
 */
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "files.h"

#include <zlib.h>
#include <zstd.h>

enum { TEXT_BYTES = 700000 };

static char text[TEXT_BYTES];
static uint8_t packed[2 * TEXT_BYTES];

static void fill_text(void)
{
    uint32_t draw = 1;

    for (size_t i = 0; i < sizeof text; i++) {
        draw = draw * 1664525 + 1013904223;
        text[i] = (char)('a' + (draw >> 24) % 26);
    }
}

static size_t gzip(const void *bytes, size_t length, uint8_t *out, size_t capacity)
{
    z_stream stream = {0};

    assert_int_equal(deflateInit2(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    stream.next_in = (Bytef *)(uintptr_t)bytes;
    stream.avail_in = (uInt)length;
    stream.next_out = out;
    stream.avail_out = (uInt)capacity;
    assert_int_equal(deflate(&stream, Z_FINISH), Z_STREAM_END);
    length = stream.total_out;
    deflateEnd(&stream);
    return length;
}

/* Reads all in odd pieces; −1 on failure. */
static int64_t read_all(const char *path, char *out, size_t capacity, struct fr_err *err)
{
    struct cli_input *input;
    size_t at = 0, length;

    if (!cli_input__open(path, &input, err))
        return -1;
    for (;;) {
        size_t piece = capacity - at < 1237 ? capacity - at : 1237;

        if (!cli_input__read(input, out + at, piece, &length, err)) {
            cli_input__close(input);
            return -1;
        }
        at += length;
        if (length == 0 || at == capacity)
            break;
    }
    assert_int_equal(cli_input__at(input), cli_input__size(input));
    cli_input__close(input);
    return (int64_t)at;
}

static char out[TEXT_BYTES + 100];

static void a_plain_file_is_read_as_it_is(void **state)
{
    struct fr_err err;

    (void)state;
    assert_int_equal(read_all(test_file(text, sizeof text, ""), out, sizeof out, &err), sizeof text);
    assert_memory_equal(out, text, sizeof text);
    assert_int_equal(read_all(test_file("", 0, ""), out, sizeof out, &err), 0);
    assert_int_equal(read_all(test_file("x", 1, ".gz"), out, sizeof out, &err), 1); /* the bytes decide, not the name */
}

static void gzip_is_unpacked_also_in_several_members(void **state)
{
    struct fr_err err;
    size_t first = gzip(text, 300000, packed, sizeof packed);
    size_t second = gzip(text + 300000, sizeof text - 300000, packed + first, sizeof packed - first);

    (void)state;
    assert_int_equal(read_all(test_file(packed, first + second, ""), out, sizeof out, &err), sizeof text);
    assert_memory_equal(out, text, sizeof text);
}

static void zstd_is_unpacked_also_in_several_frames(void **state)
{
    struct fr_err err;
    size_t first = ZSTD_compress(packed, sizeof packed, text, 300000, 1);
    size_t second = ZSTD_compress(packed + first, sizeof packed - first, text + 300000, sizeof text - 300000, 1);

    (void)state;
    assert_int_equal(read_all(test_file(packed, first + second, ""), out, sizeof out, &err), sizeof text);
    assert_memory_equal(out, text, sizeof text);
}

static void a_cut_or_broken_file_is_an_error(void **state)
{
    struct fr_err err;
    size_t length = gzip(text, sizeof text, packed, sizeof packed);

    (void)state;
    assert_int_equal(read_all(test_file(packed, length / 2, ""), out, sizeof out, &err), -1);
    assert_non_null(strstr(err.message, "it was cut"));
    assert_int_equal(read_all(test_file(packed, length - 1, ""), out, sizeof out, &err), -1);
    packed[length / 2] ^= 0x55;
    packed[length / 2 + 1] ^= 0x55;
    assert_int_equal(read_all(test_file(packed, length, ""), out, sizeof out, &err), -1);
    length = ZSTD_compress(packed, sizeof packed, text, sizeof text, 1);
    assert_int_equal(read_all(test_file(packed, length - 1, ""), out, sizeof out, &err), -1);
    assert_non_null(strstr(err.message, "it was cut"));
}

static void what_cannot_be_opened_says_why(void **state)
{
    struct fr_err err;

    (void)state;
    assert_int_equal(read_all("no-such-file", out, sizeof out, &err), -1);
    assert_non_null(strstr(err.message, "no-such-file: cannot open: No such file"));
    assert_int_equal(read_all(".", out, sizeof out, &err), -1);
    assert_non_null(strstr(err.message, "directory"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plain_file_is_read_as_it_is),           cmocka_unit_test(gzip_is_unpacked_also_in_several_members),
        cmocka_unit_test(zstd_is_unpacked_also_in_several_frames), cmocka_unit_test(a_cut_or_broken_file_is_an_error),
        cmocka_unit_test(what_cannot_be_opened_says_why),
    };

    fill_text();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
