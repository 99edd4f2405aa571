#include <freshet/error.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void a_failure_is_one_statement(void **state)
{
    struct fr_err err;

    (void)state;
    assert_false(fr_fail(&err, FR_UNAVAILABLE, "store: %d files", 3));
    assert_int_equal(err.code, FR_UNAVAILABLE);
    assert_string_equal(err.message, "store: 3 files");
}

static void a_prefix_keeps_the_code(void **state)
{
    struct fr_err err;

    (void)state;
    fr_fail(&err, FR_CORRUPT, "bad block");
    assert_false(fr_fail_in(&err, "epoch %d", 7));
    assert_int_equal(err.code, FR_CORRUPT);
    assert_string_equal(err.message, "epoch 7: bad block");
}

static void the_old_message_may_be_part_of_the_new(void **state)
{
    struct fr_err err;

    (void)state;
    fr_fail(&err, FR_CORRUPT, "inner");
    fr_fail(&err, FR_BAD_INPUT, "outer (%s)", err.message);
    assert_string_equal(err.message, "outer (inner)");
}

static void a_long_message_is_cut_and_terminated(void **state)
{
    struct fr_err err;
    char text[2000];

    (void)state;
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    fr_fail(&err, FR_BAD_INPUT, "%s", text);
    assert_int_equal(strlen(err.message), FR_MESSAGE_BYTES - 1);
    fr_fail_in(&err, "where");
    assert_int_equal(strlen(err.message), FR_MESSAGE_BYTES - 1);
    assert_memory_equal(err.message, "where: xxx", 10);
    fr_fail_in(&err, "%s", text);
    assert_int_equal(strlen(err.message), FR_MESSAGE_BYTES - 1);
}

static void a_secret_is_not_quoted_not_even_cut(void **state)
{
    struct fr_err err;

    (void)state;
    fr_fail(&err, FR_BAD_CONFIG, "Invalid value \"hunter2-and-more\" for \"x\"");
    fr_err_hide(&err, "hunter2-and-more");
    assert_string_equal(err.message, "Invalid value \"…");
    fr_fail(&err, FR_BAD_CONFIG, "Invalid value \"hunter2"); /* the message had no room for all of it */
    fr_err_hide(&err, "hunter2-and-more");
    assert_string_equal(err.message, "Invalid value \"…");
    fr_fail(&err, FR_BAD_CONFIG, "no such property");
    fr_err_hide(&err, "hunter2");
    fr_err_hide(&err, "");
    assert_string_equal(err.message, "no such property");
}

static void every_code_has_a_name(void **state)
{
    (void)state;
    for (int code = FR_BAD_INPUT; code <= FR_CANCELLED; code++)
        assert_string_not_equal(fr_code_name((enum fr_code)code), "unknown");
    assert_string_equal(fr_code_name(FR_BAD_INPUT), "bad_input");
    assert_string_equal(fr_code_name((enum fr_code)99), "unknown");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_failure_is_one_statement),
        cmocka_unit_test(a_prefix_keeps_the_code),
        cmocka_unit_test(the_old_message_may_be_part_of_the_new),
        cmocka_unit_test(a_long_message_is_cut_and_terminated),
        cmocka_unit_test(a_secret_is_not_quoted_not_even_cut),
        cmocka_unit_test(every_code_has_a_name),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
