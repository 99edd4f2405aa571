#include "document.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void the_tree_remembers_where_everything_stood(void **state)
{
    struct document document = document_of("store:\n  path: /data\n  parts: [a, 'b c', {x: 1}]\n");
    struct fr_yaml *store = fr_yaml_get(document.root, "store");
    struct fr_yaml *parts = fr_yaml_get(store, "parts");

    (void)state;
    assert_true(document.is_good);
    assert_int_equal(document.root->kind, FR_YAML_MAP);
    assert_int_equal(store->line, 2);
    assert_int_equal(store->column, 3);
    assert_int_equal(store->keys[1]->line, 3);
    assert_int_equal(store->keys[1]->column, 3);
    assert_int_equal(parts->kind, FR_YAML_LIST);
    assert_int_equal(parts->count, 3);
    assert_true(fr_slice_is(parts->values[1]->text, "b c"));
    assert_true(parts->values[1]->is_quoted);
    assert_false(parts->values[0]->is_quoted);
    assert_int_equal(parts->values[1]->column, 14);
    assert_int_equal(parts->values[2]->kind, FR_YAML_MAP);
    document_free(&document);
}

static void null_is_what_yaml_calls_null(void **state)
{
    struct document document = document_of("a:\nb: ~\nc: null\nd: ''\ne: nil\n");

    (void)state;
    assert_int_equal(document.root->values[0]->kind, FR_YAML_NULL);
    assert_int_equal(document.root->values[1]->kind, FR_YAML_NULL);
    assert_int_equal(document.root->values[2]->kind, FR_YAML_NULL);
    assert_int_equal(document.root->values[3]->kind, FR_YAML_SCALAR);
    assert_int_equal(document.root->values[4]->kind, FR_YAML_SCALAR);
    assert_null(fr_yaml_get(document.root, "a"));
    assert_true(document.root->is_read[0]);
    document_free(&document);
}

static void an_empty_document_is_null(void **state)
{
    struct document document = document_of("# nothing but a comment\n");

    (void)state;
    assert_true(document.is_good);
    assert_int_equal(document.root->kind, FR_YAML_NULL);
    assert_null(fr_yaml_get(document.root, "a"));
    document_free(&document);
    assert_mistakes("", "");
}

static void a_duplicate_key_names_both_lines(void **state)
{
    (void)state;
    assert_mistakes("a: 1\nb: 2\na: 3\n", "f.yaml:3:1: a: on line 1 and again on line 3; keep one\n");
    assert_mistakes("x: {b: 1, 'b': 2}\n", "f.yaml:1:11: b: on line 1 and again on line 1; keep one\n");
}

static void what_a_configuration_has_no_use_for_is_refused(void **state)
{
    (void)state;
    assert_mistakes("a: &x 1\nb: *x\n", "f.yaml:1:4: anchor '&x' is not allowed; write the value out where it is used\n"
                                        "f.yaml:2:4: an alias is not allowed; write the value out\n");
    assert_mistakes("a: !!str 1\n", "f.yaml:1:4: tag 'tag:yaml.org,2002:str' is not allowed; write the plain value\n");
    assert_mistakes("a: 1\n---\nb: 2\n", "f.yaml:2:1: a second document begins; keep one\n");
    assert_mistakes("? [a]\n: 1\n", "f.yaml:1:3: a key that is no plain word; write key: value\n");
    assert_mistakes("a: \"x\\0y\"\n", "f.yaml:1:4: a NUL character is not allowed; remove \\0\n");
}

static void broken_syntax_is_told_with_its_place(void **state)
{
    struct document document = document_of("a: 1\nb: [1, 2\nc: 3\n");

    (void)state;
    assert_false(document.is_good);
    assert_int_equal(document.diagnostics.count, 1);
    assert_non_null(strstr(document_mistakes(&document), "f.yaml:3:"));
    assert_non_null(strstr(document_mistakes(&document), "not YAML: "));
    document_free(&document);

    document = document_of("a: \xff\n");
    assert_false(document.is_good);
    assert_non_null(strstr(document_mistakes(&document), "f.yaml: not text in UTF-8: "));
    document_free(&document);
}

static void deep_nesting_is_refused(void **state)
{
    char text[128] = "";

    (void)state;
    for (int i = 0; i < 32; i++)
        strcat(text, "[");
    for (int i = 0; i < 32; i++)
        strcat(text, "]");
    assert_mistakes(text, "");
    memset(text, '[', 40);
    text[40] = '\0';
    assert_mistakes(text, "f.yaml:1:33: nested more than 32 deep; flatten it\n");
}

static void too_many_values_are_refused(void **state)
{
    size_t bytes = 400000;
    char *text = malloc(bytes);
    struct document document;

    (void)state;
    text[0] = '[';
    for (size_t i = 1; i < bytes - 2; i += 2)
        memcpy(text + i, "1,", 2);
    text[bytes - 2] = ']';
    text[bytes - 1] = '\0';
    document = document_of(text);
    assert_false(document.is_good);
    assert_non_null(strstr(document_mistakes(&document), "more than 100000 values; make the document smaller\n"));
    document_free(&document);
    free(text);
}

static void a_small_arena_is_a_mistake_and_no_crash(void **state)
{
    struct fr_arena *arena = fr_arena_new(2000);
    struct fr_diagnostics diagnostics;
    struct fr_yaml *root;

    (void)state;
    fr_diagnostics_init(&diagnostics, "f.yaml");
    assert_false(
        fr_yaml_parse(fr_slice_of("a: [1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]"), arena, &root, &diagnostics));
    assert_int_equal(diagnostics.count, 1);
    fr_diagnostics_fini(&diagnostics);
    fr_arena_free(arena);
}

static void a_large_map_keeps_every_entry(void **state)
{
    struct fr_buffer text;
    struct document document;

    (void)state;
    fr_buffer_init(&text);
    for (int i = 0; i < 1000; i++)
        fr_buffer_append_format(&text, "key%d: %d\n", i, i);
    fr_buffer_append_byte(&text, '\0');
    document = document_of((const char *)text.bytes);
    assert_true(document.is_good);
    assert_int_equal(document.root->count, 1000);
    for (int i = 0; i < 1000; i += 111) {
        char key[16];
        int64_t value = -1;

        snprintf(key, sizeof(key), "key%d", i);
        assert_true(fr_yaml_int(document.root, key, 0, 1000, &value, &document.diagnostics));
        assert_int_equal(value, i);
    }
    document_free(&document);
    fr_buffer_fini(&text);
}

static void a_mistake_is_one_line(void **state)
{
    struct document document = document_of("a: 1\n");

    (void)state;
    assert_false(fr_diagnostics_add(&document.diagnostics, NULL, "no %s\nhere", "a"));
    assert_false(fr_diagnostics_add(&document.diagnostics, document.root->values[0], "b"));
    assert_string_equal(document_mistakes(&document), "f.yaml: no a here\nf.yaml:1:4: b\n");
    document_free(&document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_tree_remembers_where_everything_stood),
        cmocka_unit_test(null_is_what_yaml_calls_null),
        cmocka_unit_test(an_empty_document_is_null),
        cmocka_unit_test(a_duplicate_key_names_both_lines),
        cmocka_unit_test(what_a_configuration_has_no_use_for_is_refused),
        cmocka_unit_test(broken_syntax_is_told_with_its_place),
        cmocka_unit_test(deep_nesting_is_refused),
        cmocka_unit_test(too_many_values_are_refused),
        cmocka_unit_test(a_small_arena_is_a_mistake_and_no_crash),
        cmocka_unit_test(a_large_map_keeps_every_entry),
        cmocka_unit_test(a_mistake_is_one_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
