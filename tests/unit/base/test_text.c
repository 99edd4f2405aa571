#include <freshet/text.h>

#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int64_t span(const char *text)
{
    int64_t ms = -1;

    return fr_text_span(fr_slice_of(text), &ms) ? ms : -1;
}

static uint64_t size(const char *text)
{
    uint64_t bytes;

    return fr_text_size(fr_slice_of(text), &bytes) ? bytes : UINT64_MAX;
}

static void spans_are_milliseconds(void **state)
{
    (void)state;
    assert_int_equal(span("0"), 0);
    assert_int_equal(span("0s"), 0);
    assert_int_equal(span("250ms"), 250);
    assert_int_equal(span("10s"), 10000);
    assert_int_equal(span("5m"), 300000);
    assert_int_equal(span("24h"), 86400000);
    assert_int_equal(span("7d"), 604800000);
    assert_int_equal(span("1.5h"), 5400000);
    assert_int_equal(span("0.25s"), 250);
}

static void what_is_no_span_is_refused(void **state)
{
    static const char *const wrong[] = {"",
                                        "5",
                                        "s",
                                        "2x",
                                        "-5s",
                                        "+5s",
                                        " 5s",
                                        "5 s",
                                        "5s ",
                                        "1.s",
                                        ".5s",
                                        "0.5ms",
                                        "1.0000000001s",
                                        "1e3s",
                                        "5S",
                                        "9223372036854775808ms",
                                        "99999999999999999999s",
                                        "106751991168d"};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_int_equal(span(wrong[i]), -1);
    assert_true(span("9223372036854775807ms") == INT64_MAX);
}

static void spans_print_in_the_largest_exact_unit(void **state)
{
    static const char *const texts[] = {"0", "1ms", "1500ms", "5m", "90m", "24h", "1d", "7d", "9223372036854775807ms"};
    static const char *const printed[] = {"0", "1ms", "1500ms", "5m", "90m", "1d", "1d", "7d", "9223372036854775807ms"};
    char out[24];

    (void)state;
    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        fr_text_span_print(span(texts[i]), out);
        assert_string_equal(out, printed[i]);
    }
    fr_text_span_print(INT64_MIN, out);
    assert_string_equal(out, "-9223372036854775808ms");
}

static void sizes_are_bytes(void **state)
{
    (void)state;
    assert_int_equal(size("1024"), 1024);
    assert_int_equal(size("64KiB"), 65536);
    assert_int_equal(size("256MiB"), 268435456);
    assert_true(size("1GiB") == 1073741824);
    assert_true(size("10TiB") == UINT64_C(10995116277760));
    assert_int_equal(size("3kB"), 3000);
    assert_int_equal(size("3MB"), 3000000);
    assert_true(size("3GB") == UINT64_C(3000000000));
    assert_true(size("1kb") == UINT64_MAX);
    assert_true(size("-1") == UINT64_MAX);
    assert_true(size("1.5GiB") == UINT64_MAX);
    assert_true(size("16777216TiB") == UINT64_MAX); /* 2^64 */
}

static void integers_take_all_of_the_text(void **state)
{
    int64_t value = 7;
    uint64_t positive = 7;

    (void)state;
    assert_true(fr_text_int64(fr_slice_of("-9223372036854775808"), &value));
    assert_true(value == INT64_MIN);
    assert_true(fr_text_int64(fr_slice_of("+12"), &value));
    assert_int_equal(value, 12);
    assert_false(fr_text_int64(fr_slice_of("9223372036854775808"), &value));
    assert_false(fr_text_int64(fr_slice_of("-"), &value));
    assert_false(fr_text_int64(fr_slice_of("--1"), &value));
    assert_false(fr_text_int64(fr_slice_of("1 "), &value));
    assert_false(fr_text_int64(fr_slice(NULL, 0), &value));
    assert_int_equal(value, 12); /* a refusal writes nothing */
    assert_true(fr_text_uint64(fr_slice_of("18446744073709551615"), &positive));
    assert_true(positive == UINT64_MAX);
    assert_false(fr_text_uint64(fr_slice_of("18446744073709551616"), &positive));
    assert_false(fr_text_uint64(fr_slice_of("+1"), &positive));
}

static bool reads_double(const char *text, double wanted)
{
    double value;

    return fr_text_double(fr_slice_of(text), &value) && (value == wanted || (value != value && wanted != wanted));
}

static void doubles_are_decimal(void **state)
{
    static const char *const wrong[] = {"",   ".",  "-",   "e5",    "1e",     "1e+",  "0x10",
                                        " 1", "1 ", "1,5", "1.5.2", "nan(1)", "infi", "1_0"};
    double value;

    (void)state;
    assert_true(reads_double("1", 1));
    assert_true(reads_double("-1.5e3", -1500));
    assert_true(reads_double(".5", 0.5));
    assert_true(reads_double("5.", 5));
    assert_true(reads_double("+2E-1", 0.2));
    assert_true(reads_double("-Infinity", -__builtin_inf()));
    assert_true(reads_double("inf", __builtin_inf()));
    assert_true(reads_double("NaN", __builtin_nan("")));
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_false(fr_text_double(fr_slice_of(wrong[i]), &value));
    assert_false(fr_text_double(fr_slice(NULL, 0), &value));
}

static void a_decimal_point_is_a_point_in_every_locale(void **state)
{
    (void)state;
    if (!setlocale(LC_ALL, "de_DE.UTF-8") && !setlocale(LC_ALL, "fr_FR.UTF-8"))
        skip(); /* no locale with a comma is installed */
    assert_true(reads_double("1.5", 1.5));
    setlocale(LC_ALL, "C");
}

static void a_canonical_number_is_its_own_id(void **state)
{
    (void)state;
    assert_int_equal(fr_text_id(fr_slice_of("")), 0);
    assert_int_equal(fr_text_id(fr_slice_of("0")), 0);
    assert_int_equal(fr_text_id(fr_slice_of("42")), 42);
    assert_true(fr_text_id(fr_slice_of("18446744073709551615")) == UINT64_MAX);
}

static void any_other_text_is_hashed(void **state)
{
    (void)state;
    assert_true(fr_text_id(fr_slice_of("a")) == UINT64_C(0xd24ec4f1a98c6e5b)); /* XXH64's published value */
    assert_true(fr_text_id(fr_slice_of("042")) == fr_text_hash("042", 3, 0));
    assert_true(fr_text_id(fr_slice_of("-1")) == fr_text_hash("-1", 2, 0));
    assert_true(fr_text_id(fr_slice_of("18446744073709551616")) == fr_text_hash("18446744073709551616", 20, 0));
    assert_true(fr_text_hash("a", 1, 1) != fr_text_hash("a", 1, 0));
}

static bool is_utf8(const char *text)
{
    return fr_text_is_utf8(fr_slice_of(text));
}

static void utf8_is_checked_strictly(void **state)
{
    (void)state;
    assert_true(is_utf8(""));
    assert_true(is_utf8("plain text that is longer than eight bytes"));
    assert_true(is_utf8("grün 直播 🎁 at the end"));
    assert_true(is_utf8("\xf4\x8f\xbf\xbf")); /* U+10FFFF */
    assert_false(is_utf8("12345678\xff"));
    assert_false(is_utf8("\xc0\x80")); /* overlong */
    assert_false(is_utf8("\xe0\x9f\xbf")); /* overlong */
    assert_false(is_utf8("\xed\xa0\x80")); /* surrogate */
    assert_false(is_utf8("\xf4\x90\x80\x80")); /* past U+10FFFF */
    assert_false(is_utf8("\x80"));
    assert_false(is_utf8("\xe7\x9b")); /* cut */
    assert_false(is_utf8("\xe7\x9b"
                         "a"));
}

static void the_nearest_name_is_the_one_meant(void **state)
{
    static const char *const names[] = {"entity", "actions", "windows", "aggregate", "of"};

    (void)state;
    assert_string_equal(fr_text_nearest(fr_slice_of("windos"), names, 5), "windows");
    assert_string_equal(fr_text_nearest(fr_slice_of("acitons"), names, 5), "actions");
    assert_string_equal(fr_text_nearest(fr_slice_of("Agregate"), names, 5), "aggregate");
    assert_string_equal(fr_text_nearest(fr_slice_of("fo"), names, 5), "of");
    assert_string_equal(fr_text_nearest(fr_slice_of("agg"), names, 5), "aggregate");
    assert_null(fr_text_nearest(fr_slice_of("horizon"), names, 5));
    assert_null(fr_text_nearest(fr_slice_of(""), names, 5));
    assert_null(fr_text_nearest(fr_slice_of("windows"), NULL, 0));
}

static void ascii_case_can_be_ignored(void **state)
{
    (void)state;
    assert_true(fr_text_equal_nocase(fr_slice_of("ADD_to_cart"), "add_TO_cart"));
    assert_false(fr_text_equal_nocase(fr_slice_of("add"), "adds"));
    assert_false(fr_text_equal_nocase(fr_slice_of("add"), "ad_"));
    assert_true(fr_text_equal_nocase(fr_slice(NULL, 0), ""));
}

static void murmur2_is_javas(void **state)
{
    /* org.apache.kafka.common.utils.Utils.murmur2, of which UtilsTest has the first four, without their signs. */
    static const struct {
        const char *key;
        int32_t java;
    } known[] = {{"21", -973932308},
                 {"foobar", -790332482},
                 {"a-little-bit-long-string", -985981536},
                 {"a-little-bit-longer-string", -1486304829},
                 {"abc", 479470107}};

    (void)state;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        assert_int_equal(fr_text_murmur2(fr_slice_of(known[i].key)), (uint32_t)known[i].java & INT32_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(murmur2_is_javas),
        cmocka_unit_test(spans_are_milliseconds),
        cmocka_unit_test(what_is_no_span_is_refused),
        cmocka_unit_test(spans_print_in_the_largest_exact_unit),
        cmocka_unit_test(sizes_are_bytes),
        cmocka_unit_test(integers_take_all_of_the_text),
        cmocka_unit_test(doubles_are_decimal),
        cmocka_unit_test(a_decimal_point_is_a_point_in_every_locale),
        cmocka_unit_test(a_canonical_number_is_its_own_id),
        cmocka_unit_test(any_other_text_is_hashed),
        cmocka_unit_test(utf8_is_checked_strictly),
        cmocka_unit_test(the_nearest_name_is_the_one_meant),
        cmocka_unit_test(ascii_case_can_be_ignored),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
