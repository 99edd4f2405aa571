#include <freshet/buffer.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void what_is_appended_stands_in_order(void **state)
{
    struct fr_buffer buffer;

    (void)state;
    fr_buffer_init(&buffer);
    fr_buffer_append_text(&buffer, "a");
    fr_buffer_append(&buffer, "bc", 2);
    fr_buffer_append(&buffer, NULL, 0);
    fr_buffer_append_byte(&buffer, 'd');
    fr_buffer_append_format(&buffer, "%d-%s", 12, "e");
    assert_true(fr_slice_is(fr_buffer_slice(&buffer), "abcd12-e"));
    fr_buffer_clear(&buffer);
    assert_int_equal(buffer.length, 0);
    fr_buffer_fini(&buffer);
}

static void a_long_run_grows(void **state)
{
    struct fr_buffer buffer;

    (void)state;
    fr_buffer_init(&buffer);
    for (int i = 0; i < 10000; i++)
        fr_buffer_append_byte(&buffer, (uint8_t)i);
    assert_int_equal(buffer.length, 10000);
    assert_int_equal(buffer.bytes[9999], 9999 % 256);
    fr_buffer_fini(&buffer);
}

static void a_failed_growth_stays_failed_until_cleared(void **state)
{
    struct fr_buffer buffer;

    (void)state;
    fr_buffer_init(&buffer);
    fr_buffer_append_text(&buffer, "kept");
    assert_null(fr_buffer_reserve(&buffer, SIZE_MAX));
    fr_buffer_append_text(&buffer, "dropped");
    assert_true(buffer.is_failed);
    assert_true(fr_slice_is(fr_buffer_slice(&buffer), "kept"));
    fr_buffer_clear(&buffer);
    fr_buffer_append_text(&buffer, "again");
    assert_true(fr_slice_is(fr_buffer_slice(&buffer), "again"));
    fr_buffer_fini(&buffer);
}

static void numbers_come_back_as_they_went(void **state)
{
    static const uint64_t numbers[] = {0, 1, 127, 128, 300, UINT32_MAX, (uint64_t)INT64_MAX, UINT64_MAX};
    struct fr_buffer buffer;
    struct fr_reader reader;

    (void)state;
    fr_buffer_init(&buffer);
    for (size_t i = 0; i < 8; i++) {
        fr_buffer_append_varint(&buffer, numbers[i]);
        fr_buffer_append_zigzag(&buffer, (int64_t)numbers[i]);
        fr_buffer_append_fixed64(&buffer, numbers[i]);
    }
    reader = fr_reader(fr_buffer_slice(&buffer));
    for (size_t i = 0; i < 8; i++) {
        assert_true(fr_reader_varint(&reader) == numbers[i]);
        assert_true(fr_reader_zigzag(&reader) == (int64_t)numbers[i]);
        assert_true(fr_reader_fixed64(&reader) == numbers[i]);
    }
    assert_false(reader.is_failed);
    assert_ptr_equal(reader.at, reader.end);
    fr_buffer_fini(&buffer);
}

static void small_negatives_take_one_byte(void **state)
{
    struct fr_buffer buffer;

    (void)state;
    fr_buffer_init(&buffer);
    fr_buffer_append_zigzag(&buffer, -1);
    fr_buffer_append_zigzag(&buffer, INT64_MIN);
    assert_int_equal(buffer.bytes[0], 1);
    assert_int_equal(buffer.length, 11);
    fr_buffer_fini(&buffer);
}

static void big_endian_sorts_as_the_number(void **state)
{
    struct fr_buffer buffer;
    struct fr_reader reader;

    (void)state;
    fr_buffer_init(&buffer);
    fr_buffer_append_be64(&buffer, 255);
    fr_buffer_append_be64(&buffer, 256);
    assert_true(memcmp(buffer.bytes, buffer.bytes + 8, 8) < 0);
    assert_int_equal(buffer.bytes[7], 255);
    reader = fr_reader(fr_buffer_slice(&buffer));
    assert_int_equal(fr_reader_be64(&reader), 255);
    assert_int_equal(fr_reader_be64(&reader), 256);
    assert_int_equal(fr_reader_be64(&reader), 0);
    assert_true(reader.is_failed);
    fr_buffer_fini(&buffer);
}

static void a_reader_past_the_end_fails_for_good(void **state)
{
    struct fr_reader reader = fr_reader(fr_slice("\x05", 1));

    (void)state;
    assert_int_equal(fr_reader_fixed64(&reader), 0);
    assert_true(reader.is_failed);
    assert_int_equal(fr_reader_varint(&reader), 0);
    assert_int_equal(fr_reader_bytes(&reader, 0).length, 0);
    assert_true(reader.is_failed);

    reader = fr_reader(fr_slice(NULL, 0));
    assert_int_equal(fr_reader_varint(&reader), 0);
    assert_true(reader.is_failed);
}

static void a_varint_of_more_than_64_bits_fails(void **state)
{
    struct fr_reader longest = fr_reader(fr_slice("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10));
    struct fr_reader wide = fr_reader(fr_slice("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10));
    struct fr_reader endless = fr_reader(fr_slice("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11));
    struct fr_reader cut = fr_reader(fr_slice("\xff\xff", 2));

    (void)state;
    assert_true(fr_reader_varint(&longest) == UINT64_MAX);
    fr_reader_varint(&wide);
    fr_reader_varint(&endless);
    fr_reader_varint(&cut);
    assert_false(longest.is_failed);
    assert_true(wide.is_failed);
    assert_true(endless.is_failed);
    assert_true(cut.is_failed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_appended_stands_in_order),
        cmocka_unit_test(a_long_run_grows),
        cmocka_unit_test(a_failed_growth_stays_failed_until_cleared),
        cmocka_unit_test(numbers_come_back_as_they_went),
        cmocka_unit_test(small_negatives_take_one_byte),
        cmocka_unit_test(big_endian_sorts_as_the_number),
        cmocka_unit_test(a_reader_past_the_end_fails_for_good),
        cmocka_unit_test(a_varint_of_more_than_64_bits_fails),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
