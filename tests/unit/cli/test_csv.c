/*
 * One CSV record into its fields.
 */
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>

static struct fr_slice fields[CLI_COLUMNS_MAX];

/* The fields joined by '|', or "more" or "bad"; *used: how far it went. */
static const char *split(const char *text, bool is_end, char separator, struct cli_csv *csv)
{
    static char out[1024];
    enum cli_csv_result result;
    size_t at = 0;
    char *copy = malloc(strlen(text)); /* exactly as long: the sanitizer sees a byte too many */

    memcpy(copy, text, strlen(text));
    csv->fields = fields;
    result = cli_csv__split(fr_slice(copy, strlen(text)), is_end, separator, csv);
    if (result != CLI_CSV_ROW) {
        free(copy);
        return result == CLI_CSV_MORE ? "more" : "bad";
    }
    out[0] = 0;
    for (int i = 0; i < csv->count; i++)
        at += (size_t)snprintf(out + at, sizeof out - at, "%s%.*s", i ? "|" : "", (int)csv->fields[i].length,
                               (const char *)csv->fields[i].bytes);
    free(copy);
    return out;
}

static void plain_lines_are_cut_at_separators(void **state)
{
    struct cli_csv csv = {0};

    (void)state;
    assert_string_equal(split("a,b,,d\nnext", true, ',', &csv), "a|b||d");
    assert_int_equal(csv.raw_bytes, 6);
    assert_int_equal(csv.used_bytes, 7);
    assert_int_equal(csv.lines, 1);
    assert_string_equal(split("a,b\r\nnext", true, ',', &csv), "a|b");
    assert_int_equal(csv.raw_bytes, 3);
    assert_int_equal(csv.used_bytes, 5);
    assert_string_equal(split("a\tb,c\t", true, '\t', &csv), "a|b,c|");
    assert_string_equal(split("last", true, ',', &csv), "last");
    assert_string_equal(split("las", false, ',', &csv), "more");
    fr_buffer_fini(&csv.scratch);
}

static void quotes_hold_commas_quotes_and_newlines(void **state)
{
    struct cli_csv csv = {0};

    (void)state;
    assert_string_equal(split("1,\"a, \"\"b\"\"\nc\",2\nnext", true, ',', &csv), "1|a, \"b\"\nc|2");
    assert_int_equal(csv.lines, 2);
    assert_int_equal(csv.raw_bytes, strlen("1,\"a, \"\"b\"\"\nc\",2"));
    assert_string_equal(split("\"\",\"x\"\r\n", false, ',', &csv), "|x");
    assert_int_equal(csv.raw_bytes, 6);
    assert_string_equal(split("\"a\"\"\",\"\"\"b\"", true, ',', &csv), "a\"|\"b");
    assert_string_equal(split("5\" wide,a\"b\"\n", true, ',', &csv), "5\" wide|a\"b\"");
    fr_buffer_fini(&csv.scratch);
}

static void an_open_quote_waits_for_more_and_at_the_end_spoils_one_line(void **state)
{
    struct cli_csv csv = {0};

    (void)state;
    assert_string_equal(split("1,\"open\n2,3\n", false, ',', &csv), "more");
    assert_string_equal(split("1,\"open\n2,3\n", true, ',', &csv), "bad");
    assert_int_equal(csv.used_bytes, strlen("1,\"open\n"));
    assert_string_equal(split("\"a\"b,c\nnext", true, ',', &csv), "bad");
    assert_string_equal(split("1,\"a\"", false, ',', &csv), "more"); /* a quote may follow */
    assert_string_equal(split("1,\"a\"\r", false, ',', &csv), "more");
    fr_buffer_fini(&csv.scratch);
}

static void tabs_separate_only_where_no_comma_is(void **state)
{
    (void)state;
    assert_int_equal(cli_csv__separator(fr_slice_of("a\tb")), '\t');
    assert_int_equal(cli_csv__separator(fr_slice_of("a\tb,c")), ',');
    assert_int_equal(cli_csv__separator(fr_slice_of("a,b")), ',');
    assert_int_equal(cli_csv__separator(fr_slice_of("alone")), ',');
}

static void too_many_columns_are_a_bad_line(void **state)
{
    struct cli_csv csv = {0};
    char *line = malloc(CLI_COLUMNS_MAX + 2);

    (void)state;
    memset(line, ',', CLI_COLUMNS_MAX);
    line[CLI_COLUMNS_MAX] = '\n';
    line[CLI_COLUMNS_MAX + 1] = 0;
    assert_string_equal(split(line, true, ',', &csv), "bad");
    assert_int_equal(csv.used_bytes, CLI_COLUMNS_MAX + 1);
    free(line);
    fr_buffer_fini(&csv.scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plain_lines_are_cut_at_separators),
        cmocka_unit_test(quotes_hold_commas_quotes_and_newlines),
        cmocka_unit_test(an_open_quote_waits_for_more_and_at_the_end_spoils_one_line),
        cmocka_unit_test(tabs_separate_only_where_no_comma_is),
        cmocka_unit_test(too_many_columns_are_a_bad_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
