#include <freshet/base64.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void prints(struct fr_slice bytes, bool is_padded, const char *text)
{
    struct fr_buffer out;

    fr_buffer_init(&out);
    fr_base64_print(bytes, is_padded, &out);
    assert_true(fr_slice_is(fr_buffer_slice(&out), text));
    fr_buffer_fini(&out);
}

static void reads(const char *text, struct fr_slice bytes)
{
    uint8_t out[32];
    size_t length;

    if (!fr_base64_read(fr_slice_of(text), out, &length))
        fail_msg("'%s' is refused", text);
    assert_true(fr_slice_equal(fr_slice(out, length), bytes));
}

static void bytes_are_printed_with_or_without_padding(void **state)
{
    /* RFC 4648, 10. */
    static const char *const pairs[][3] = {
        {"", "", ""},
        {"f", "Zg==", "Zg"},
        {"fo", "Zm8=", "Zm8"},
        {"foo", "Zm9v", "Zm9v"},
        {"foob", "Zm9vYg==", "Zm9vYg"},
        {"fooba", "Zm9vYmE=", "Zm9vYmE"},
        {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
        {"\xff\xef", "/+8=", "/+8"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        prints(fr_slice_of(pairs[i][0]), true, pairs[i][1]);
        prints(fr_slice_of(pairs[i][0]), false, pairs[i][2]);
        reads(pairs[i][1], fr_slice_of(pairs[i][0]));
        reads(pairs[i][2], fr_slice_of(pairs[i][0]));
    }
}

static void either_alphabet_is_read_and_no_mixture(void **state)
{
    uint8_t out[32];
    size_t length;

    (void)state;
    reads("+/+/", fr_slice("\xfb\xff\xbf", 3));
    reads("-_-_", fr_slice("\xfb\xff\xbf", 3));
    assert_false(fr_base64_read(fr_slice_of("+_+_"), out, &length));
    assert_false(fr_base64_read(fr_slice_of("AAAA-A/A"), out, &length));
}

static void bits_behind_the_last_byte_are_nobodys(void **state)
{
    (void)state;
    reads("-_", fr_slice("\xfb", 1)); /* protobuf's own conformance suite has this one */
    reads("Zm9=", fr_slice("fo", 2));
}

static void what_is_no_base64_is_refused(void **state)
{
    static const char *const wrong[] = {
        "A",    "=",     "==",       "A===",  "AA=",    "AAA==",    "AAAAA", "AA=A",     "====",
        "A=AA", "AA==A", "AAAA====", "AA AA", "AAAA\n", "AA==AA==", "AA.A",  "\xc3\xa9", "AAA\x7f"};
    uint8_t out[32];
    size_t length;

    (void)state;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        if (fr_base64_read(fr_slice_of(wrong[i]), out, &length))
            fail_msg("'%s' is read", wrong[i]);
    assert_false(fr_base64_read(fr_slice("AA\0A", 4), out, &length));
}

static void every_byte_comes_back_also_in_place(void **state)
{
    uint8_t bytes[256];
    struct fr_buffer text;
    size_t length;

    (void)state;
    for (int i = 0; i < 256; i++)
        bytes[i] = (uint8_t)(i * 167 + 13);
    for (size_t from = 0; from < 8; from++) {
        fr_buffer_init(&text);
        fr_base64_print(fr_slice(bytes + from, 256 - from), from % 2 == 0, &text);
        assert_true(fr_base64_read(fr_buffer_slice(&text), text.bytes, &length));
        assert_true(fr_slice_equal(fr_slice(text.bytes, length), fr_slice(bytes + from, 256 - from)));
        fr_buffer_fini(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_are_printed_with_or_without_padding), cmocka_unit_test(either_alphabet_is_read_and_no_mixture),
        cmocka_unit_test(bits_behind_the_last_byte_are_nobodys),     cmocka_unit_test(what_is_no_base64_is_refused),
        cmocka_unit_test(every_byte_comes_back_also_in_place),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
