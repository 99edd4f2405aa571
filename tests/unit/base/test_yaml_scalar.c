#include "document.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *value_of(struct document *document, const char *key)
{
    const char *value = NULL;

    assert_true(fr_yaml_text(document->root, key, &value, &document->diagnostics));
    return value;
}

static void the_environment_stands_in_values(void **state)
{
    struct document document;

    (void)state;
    setenv("FRESHET_TEST_HOST", "b1", 1);
    setenv("FRESHET_TEST_EMPTY", "", 1);
    document = document_of("a: ${FRESHET_TEST_HOST}:9092\nb: \"x${FRESHET_TEST_EMPTY}y\"\nc: $${FRESHET_TEST_HOST}\n"
                           "d: $5\ne: ${FRESHET_TEST_EMPTY}\n${F}: 1\n");
    assert_true(document.is_good);
    assert_string_equal(value_of(&document, "a"), "b1:9092");
    assert_string_equal(value_of(&document, "b"), "xy");
    assert_string_equal(value_of(&document, "c"), "${FRESHET_TEST_HOST}");
    assert_string_equal(value_of(&document, "d"), "$5");
    assert_string_equal(value_of(&document, "e"), "");
    assert_string_equal(value_of(&document, "${F}"), "1"); /* a key is itself */
    document_free(&document);
}

static void a_variable_that_is_not_set_is_named(void **state)
{
    (void)state;
    unsetenv("FRESHET_TEST_UNSET");
    assert_mistakes(
        "a: ${FRESHET_TEST_UNSET}\nb: 'x ${FRESHET_TEST_UNSET} y'\n",
        "f.yaml:1:4: ${FRESHET_TEST_UNSET}: the environment variable FRESHET_TEST_UNSET is not set; set it or write the "
        "value\n"
        "f.yaml:2:4: ${FRESHET_TEST_UNSET}: the environment variable FRESHET_TEST_UNSET is not set; set it or write the "
        "value\n");
    assert_mistakes("a: ${1x}\n", "f.yaml:1:4: '${' without a variable's name and '}'; write ${NAME}, or $${ for a plain ${\n");
    assert_mistakes("a: 'x${'\n", "f.yaml:1:4: '${' without a variable's name and '}'; write ${NAME}, or $${ for a plain ${\n");
}

enum { PATH_BYTES = 4096 };

/* A new file in the working directory with this content and mode: its path, and a document that names it. */
static struct document document_of_file(char path[PATH_BYTES], const char *content, mode_t mode)
{
    char text[PATH_BYTES + 16];
    int fd;

    assert_non_null(getcwd(path, PATH_BYTES - 32));
    strcat(path, "/freshet-test-XXXXXX");
    fd = mkstemp(path);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, content, strlen(content)), strlen(content));
    assert_int_equal(fchmod(fd, mode), 0);
    close(fd);
    snprintf(text, sizeof(text), "a: 'file:%s'\n", path);
    return document_of(text);
}

static void a_file_is_read_without_its_last_newline(void **state)
{
    char path[PATH_BYTES];
    struct document document = document_of_file(path, "pass ${word}\n\n", 0600);

    (void)state;
    assert_true(document.is_good);
    assert_string_equal(value_of(&document, "a"), "pass ${word}\n");
    assert_memory_equal(document.root->values[0]->written.bytes, "file:/", 6);
    document_free(&document);
    unlink(path);
}

static void a_secret_that_others_may_read_is_refused(void **state)
{
    static const mode_t open_modes[] = {0640, 0604, 0644};
    char path[PATH_BYTES];

    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct document document = document_of_file(path, "secret", open_modes[i]);

        assert_false(document.is_good);
        assert_non_null(strstr(document_mistakes(&document), "f.yaml:1:4: "));
        assert_non_null(strstr(document_mistakes(&document), "may be read by others; chmod 600 it\n"));
        document_free(&document);
        unlink(path);
    }
}

static void a_mistake_does_not_give_a_secret_away(void **state)
{
    char path[PATH_BYTES];
    struct document document = document_of_file(path, "secret", 0600);
    int64_t value = 0;

    (void)state;
    assert_false(fr_yaml_int(document.root, "a", 0, 9, &value, &document.diagnostics));
    assert_null(strstr(document_mistakes(&document), "secret"));
    assert_non_null(strstr(document_mistakes(&document), path));
    document_free(&document);
    unlink(path);
}

static void what_is_no_readable_file_is_told(void **state)
{
    char path[PATH_BYTES];
    struct document document;

    (void)state;
    assert_mistakes("a: file:/no/such/file\n",
                    "f.yaml:1:4: cannot open '/no/such/file': No such file or directory; name a file that can be read\n");
    assert_mistakes("a: 'file:/dev/null'\n", "f.yaml:1:4: '/dev/null' is not a regular file; name one\n");
    document = document_of_file(path, "\xff\xfe", 0600);
    assert_false(document.is_good);
    assert_non_null(strstr(document_mistakes(&document), "is not text in UTF-8"));
    document_free(&document);
    unlink(path);
}

static void a_text_outside_of_a_document_stands_for_the_same(void **state)
{
    struct fr_arena *arena = fr_arena_new(1 << 16);
    const char *value;
    struct fr_err err;

    (void)state;
    setenv("FRESHET_TEST_WORD", "word", 1);
    assert_true(fr_yaml_resolve("a ${FRESHET_TEST_WORD}", arena, &value, &err));
    assert_string_equal(value, "a word");
    assert_false(fr_yaml_resolve("file:/dev/null", arena, &value, &err));
    assert_string_equal(err.message, "'/dev/null' is not a regular file; name one");
    fr_arena_free(arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_environment_stands_in_values),
        cmocka_unit_test(a_variable_that_is_not_set_is_named),
        cmocka_unit_test(a_file_is_read_without_its_last_newline),
        cmocka_unit_test(a_secret_that_others_may_read_is_refused),
        cmocka_unit_test(a_mistake_does_not_give_a_secret_away),
        cmocka_unit_test(what_is_no_readable_file_is_told),
        cmocka_unit_test(a_text_outside_of_a_document_stands_for_the_same),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
