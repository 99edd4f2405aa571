/*
 * Addresses to listen at.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "internal.h"

#include <stdio.h>
#include <unistd.h>

static void port_zero_becomes_a_real_port(void **state)
{
    (void)state;
    static const struct {
        const char *text, *begins;
    } cases[] = {{"127.0.0.1:0", "127.0.0.1:"}, {"localhost:0", "127.0.0.1:"}, {"LOCALHOST:0", "127.0.0.1:"}};

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char address[SERVER_PEER_BYTES];
        bool is_loopback = false;
        struct fr_err err;
        int fd;

        if (!server__address_listen(cases[i].text, "server.listen", &fd, address, &is_loopback, &err))
            fail_msg("%s", err.message);
        assert_int_equal(strncmp(address, cases[i].begins, strlen(cases[i].begins)), 0);
        assert_string_not_equal(address, "127.0.0.1:0");
        assert_true(is_loopback);
        close(fd);
    }
}

static void everywhere_is_not_loopback(void **state)
{
    (void)state;
    char address[SERVER_PEER_BYTES];
    bool is_loopback = true;
    struct fr_err err;
    int fd;

    assert_true(server__address_listen("0.0.0.0:0", "server.listen", &fd, address, &is_loopback, &err));
    assert_false(is_loopback);
    close(fd);
}

static void nothing_is_no_listener(void **state)
{
    (void)state;
    char address[SERVER_PEER_BYTES];
    bool is_loopback;
    struct fr_err err;
    int fd;

    assert_true(server__address_listen("", "server.listen", &fd, address, &is_loopback, &err));
    assert_int_equal(fd, -1);
    assert_string_equal(address, "");
}

static void what_is_no_address_is_refused_with_its_key(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "127.0.0.1", ":7070",  "127.0.0.1:", "127.0.0.1:x",   "127.0.0.1:65536", "127.0.0.1:-1", "127.0.0.1:+1",
        "::1:0",     "[::1:0", "[]:0",       "[127.0.0.1]:0", "example.org:80",  "[x:]:0",       ":"};

    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        char address[SERVER_PEER_BYTES];
        bool is_loopback;
        struct fr_err err;
        int fd;

        if (server__address_listen(texts[i], "server.operations", &fd, address, &is_loopback, &err))
            fail_msg("accepted: %s", texts[i]);
        assert_int_equal(err.code, FR_BAD_CONFIG);
        assert_non_null(strstr(err.message, "server.operations"));
        assert_int_equal(fd, -1);
    }
}

static void a_busy_port_says_which_key_to_change(void **state)
{
    (void)state;
    char address[SERVER_PEER_BYTES], again[SERVER_PEER_BYTES], expected[256];
    bool is_loopback;
    struct fr_err err;
    int fd, other;

    assert_true(server__address_listen("127.0.0.1:0", "server.listen", &fd, address, &is_loopback, &err));
    assert_false(server__address_listen(address, "server.listen", &other, again, &is_loopback, &err));
    snprintf(expected, sizeof expected,
             "server: cannot listen on %s: address in use by another process; stop it or change server.listen", address);
    assert_string_equal(err.message, expected);
    assert_int_equal(err.code, FR_BAD_CONFIG);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(port_zero_becomes_a_real_port),
        cmocka_unit_test(everywhere_is_not_loopback),
        cmocka_unit_test(nothing_is_no_listener),
        cmocka_unit_test(what_is_no_address_is_refused_with_its_key),
        cmocka_unit_test(a_busy_port_says_which_key_to_change),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
