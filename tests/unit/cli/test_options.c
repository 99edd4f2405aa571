/*
 * Options of a command.
 */
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct cli_command command = {"test", "tries options", "--name N FILE", NULL, NULL};

struct given {
    const char *name;
    struct cli_texts sets;
    uint64_t count;
    int64_t at_ms;
    bool is_loud;
    struct cli_positional file;
};

static int read_options(struct given *given, int argc, const char *const *arguments)
{
    char *argv[16] = {0};
    const struct cli_option options[] = {
        {"name", CLI_OPTION_TEXT, "N", "a text", &given->name},       {"set", CLI_OPTION_TEXTS, "k=v", "texts", &given->sets},
        {"count", CLI_OPTION_NUMBER, "N", "a number", &given->count}, {"at", CLI_OPTION_TIME, "MS", "a time", &given->at_ms},
        {"loud", CLI_OPTION_FLAG, NULL, "a flag", &given->is_loud},   {0},
    };

    *given = (struct given){.file = {.name = "FILE"}};
    for (int i = 0; i < argc; i++)
        argv[i] = (char *)(uintptr_t)arguments[i];
    return cli_options__read(&command, options, &given->file, argc, argv);
}
#define READ(given, ...)                                                                                                       \
    read_options(given, (int)(sizeof((const char *[]){"test", __VA_ARGS__}) / sizeof(char *)),                                 \
                 (const char *[]){"test", __VA_ARGS__})

static void each_kind_is_read_in_any_order(void **state)
{
    struct given given;

    (void)state;
    assert_int_equal(READ(&given, "file", "--name=x", "--set", "a=1", "--count", "7", "--set", "b=2", "--loud", "--at",
                          "1970-01-01T00:00:01Z"),
                     -1);
    assert_string_equal(given.name, "x");
    assert_int_equal(given.sets.count, 2);
    assert_string_equal(given.sets.values[1], "b=2");
    assert_int_equal(given.count, 7);
    assert_int_equal(given.at_ms, 1000);
    assert_true(given.is_loud);
    assert_string_equal(given.file.value, "file");
    assert_int_equal(READ(&given, "--at", "-5", "-"), -1);
    assert_int_equal(given.at_ms, -5);
    assert_string_equal(given.file.value, "-");
}

static void mistakes_are_usage(void **state)
{
    struct given given;

    (void)state;
    assert_int_equal(READ(&given, "--nme", "x"), CLI_USAGE);
    assert_int_equal(READ(&given, "-x"), CLI_USAGE);
    assert_int_equal(READ(&given, "--name"), CLI_USAGE);
    assert_int_equal(READ(&given, "--loud=yes"), CLI_USAGE);
    assert_int_equal(READ(&given, "--count", "many"), CLI_USAGE);
    assert_int_equal(READ(&given, "--at", "soon"), CLI_USAGE);
    assert_int_equal(READ(&given, "one", "two"), CLI_USAGE);
}

static void help_is_success(void **state)
{
    struct given given;

    (void)state;
    assert_int_equal(READ(&given, "--help"), CLI_OK);
}

static const char *address_of(const char *given)
{
    static struct cli_node node;

    node = (struct cli_node){.api = given};
    cli_node__default(&node);
    return node.api;
}

static void the_address_is_given_set_or_usual(void **state)
{
    (void)state;
    unsetenv("FRESHET_API");
    assert_string_equal(address_of(NULL), "127.0.0.1:7070");
    setenv("FRESHET_API", "there:1", 1);
    assert_string_equal(address_of(NULL), "there:1");
    assert_string_equal(address_of("here:2"), "here:2");
}

static void a_token_comes_from_a_file_of_its_owner_or_from_the_environment(void **state)
{
    char path[] = "/tmp/freshet_token_XXXXXX", token[CLI_TOKEN_BYTES];
    int fd = mkstemp(path);
    struct cli_node node = {0};
    struct fr_err err;

    (void)state;
    assert_int_equal(write(fd, "from-a-file\n", 12), 12);
    setenv("FRESHET_TOKEN", "from-the-environment", 1);
    cli_node__default(&node);
    assert_true(cli_node__token(&node, token, &err));
    assert_string_equal(token, "from-the-environment");
    node = (struct cli_node){.token_file = path};
    cli_node__default(&node);
    assert_true(cli_node__token(&node, token, &err));
    assert_string_equal(token, "from-a-file");
    assert_int_equal(fchmod(fd, 0640), 0);
    assert_false(cli_node__token(&node, token, &err));
    assert_non_null(strstr(err.message, "chmod 600"));
    assert_int_equal(fchmod(fd, 0600), 0);
    assert_int_equal(pwrite(fd, "two words\n\n\n", 12, 0), 12);
    assert_false(cli_node__token(&node, token, &err));
    unsetenv("FRESHET_TOKEN");
    close(fd);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_kind_is_read_in_any_order),
        cmocka_unit_test(mistakes_are_usage),
        cmocka_unit_test(help_is_success),
        cmocka_unit_test(the_address_is_given_set_or_usual),
        cmocka_unit_test(a_token_comes_from_a_file_of_its_owner_or_from_the_environment),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
