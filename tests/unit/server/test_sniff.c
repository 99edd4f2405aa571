/*
 * What the first bytes of a connection say.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "internal.h"

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

static void a_known_method_and_a_space_is_http1(void **state)
{
    (void)state;
    static const char *const methods[] = {"GET ", "HEAD ", "POST ", "PUT ", "DELETE ", "OPTIONS ", "PATCH ", "TRACE "};

    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        size_t length = strlen(methods[i]);

        for (size_t part = 0; part < length; part++)
            assert_int_equal(server__sniff(fr_slice(methods[i], part)), SERVER_SNIFF_MORE);
        assert_int_equal(server__sniff(fr_slice(methods[i], length)), SERVER_SNIFF_HTTP1);
    }
}

static void the_whole_preface_is_http2(void **state)
{
    (void)state;
    for (size_t part = 0; part < sizeof preface - 1; part++)
        assert_int_equal(server__sniff(fr_slice(preface, part)), SERVER_SNIFF_MORE);
    assert_int_equal(server__sniff(fr_slice(preface, sizeof preface - 1)), SERVER_SNIFF_HTTP2);
}

static void anything_else_is_neither(void **state)
{
    (void)state;
    static const char *const others[] = {"\x16\x03\x01", "get ",           "FOO ",  " ",    "\r\n",
                                         "GETT",         "PRI * HTTP/2.1", "PRI /", "\xff", "HELO"};

    for (size_t i = 0; i < sizeof others / sizeof *others; i++)
        assert_int_equal(server__sniff(fr_slice_of(others[i])), SERVER_SNIFF_OTHER);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_known_method_and_a_space_is_http1),
        cmocka_unit_test(the_whole_preface_is_http2),
        cmocka_unit_test(anything_else_is_neither),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
