#include "document.h"

static void what_is_absent_keeps_its_default(void **state)
{
    struct document document = document_of("a: ~\n");
    const char *text = "default";
    int64_t number = 3;
    bool flag = true;

    (void)state;
    assert_true(fr_yaml_text(document.root, "a", &text, &document.diagnostics));
    assert_true(fr_yaml_int(document.root, "b", 5, 9, &number, &document.diagnostics));
    assert_true(fr_yaml_bool(NULL, "c", &flag, &document.diagnostics));
    assert_string_equal(text, "default");
    assert_int_equal(number, 3);
    assert_true(flag);
    document_free(&document);
}

static void typed_reads_give_the_value(void **state)
{
    struct document document = document_of("t: text\ni: '-5'\nd: 0.5\nb: false\ns: 5m\nz: 1GiB\nc: EARLIEST\n");
    static const char *const names[] = {"latest", "earliest"};
    struct fr_diagnostics *diagnostics = &document.diagnostics;
    const char *text = NULL;
    int64_t number = 0, span_ms = 0;
    double real = 0;
    bool flag = true;
    uint64_t bytes = 0;
    int index = 0;

    (void)state;
    assert_true(fr_yaml_text(document.root, "t", &text, diagnostics));
    assert_true(fr_yaml_int(document.root, "i", -9, 9, &number, diagnostics));
    assert_true(fr_yaml_double(document.root, "d", 0, 1, &real, diagnostics));
    assert_true(fr_yaml_bool(document.root, "b", &flag, diagnostics));
    assert_true(fr_yaml_span(document.root, "s", 0, INT64_MAX, &span_ms, diagnostics));
    assert_true(fr_yaml_size(document.root, "z", 0, UINT64_MAX, &bytes, diagnostics));
    assert_true(fr_yaml_choice(document.root, "c", names, 2, &index, diagnostics));
    assert_string_equal(text, "text");
    assert_int_equal(number, -5);
    assert_true(real == 0.5);
    assert_false(flag);
    assert_int_equal(span_ms, 300000);
    assert_int_equal(bytes, 1 << 30);
    assert_int_equal(index, 1);
    document_free(&document);
}

static void a_wrong_type_is_told_with_what_is_right(void **state)
{
    struct document document = document_of("a:\n  epoch: 2x\n  lanes: two\n  rate: [1]\n  path: {x: 1}\n  size: 5 MB\n");
    struct fr_yaml *a = fr_yaml_get(document.root, "a");
    struct fr_diagnostics *diagnostics = &document.diagnostics;
    const char *text = NULL;
    int64_t number = 0;
    double real = 0;
    uint64_t bytes = 0;

    (void)state;
    assert_false(fr_yaml_span(a, "epoch", 0, 1000, &number, diagnostics));
    assert_false(fr_yaml_int(a, "lanes", 1, 8, &number, diagnostics));
    assert_false(fr_yaml_double(a, "rate", 0, 1, &real, diagnostics));
    assert_false(fr_yaml_text(a, "path", &text, diagnostics));
    assert_false(fr_yaml_size(a, "size", 0, 10, &bytes, diagnostics));
    assert_string_equal(document_mistakes(&document),
                        "f.yaml:2:10: epoch: '2x' is not a span; write a number and ms, s, m, h or d, as in 2s\n"
                        "f.yaml:3:10: lanes: 'two' is not a whole number; write digits, as in 8\n"
                        "f.yaml:4:9: rate: a list is not a number; write it as in 0.5\n"
                        "f.yaml:5:9: path: a map is not a text; write one value\n"
                        "f.yaml:6:9: size: '5 MB' is not a size; write a number and KiB, MiB or GiB, as in 64MiB\n");
    document_free(&document);
}

static void a_value_out_of_range_is_told_with_the_range(void **state)
{
    struct document document = document_of("lanes: 0\nepoch: 2d\nmemory: 1KiB\nrate: .5\nnan: nan\nleast: 0s\n");
    struct fr_diagnostics *diagnostics = &document.diagnostics;
    int64_t number = 7;
    double real = 7;
    uint64_t bytes = 7;

    (void)state;
    assert_false(fr_yaml_int(document.root, "lanes", 1, 64, &number, diagnostics));
    assert_false(fr_yaml_span(document.root, "epoch", 100, 60000, &number, diagnostics));
    assert_false(fr_yaml_size(document.root, "memory", 1 << 20, UINT64_MAX, &bytes, diagnostics));
    assert_false(fr_yaml_double(document.root, "rate", 1, 2, &real, diagnostics));
    assert_false(fr_yaml_double(document.root, "nan", 0, 2.5, &real, diagnostics));
    assert_false(fr_yaml_span(document.root, "least", 1000, INT64_MAX, &number, diagnostics));
    assert_int_equal(number, 7);
    assert_string_equal(document_mistakes(&document), "f.yaml:1:8: lanes: '0' is out of range; use 1 to 64\n"
                                                      "f.yaml:2:8: epoch: '2d' is out of range; use 100ms to 1m\n"
                                                      "f.yaml:3:9: memory: '1KiB' is out of range; use 1MiB or more\n"
                                                      "f.yaml:4:7: rate: '.5' is out of range; use 1 to 2\n"
                                                      "f.yaml:5:6: nan: 'nan' is out of range; use 0 to 2.5\n"
                                                      "f.yaml:6:8: least: '0s' is out of range; use 1s or more\n");
    document_free(&document);
}

static void only_true_and_false_are_booleans(void **state)
{
    struct document document = document_of("a: yes\nb: Off\nc: TRUE\nd: 1\ne: 'true'\n");
    struct fr_diagnostics *diagnostics = &document.diagnostics;
    bool flag = false;

    (void)state;
    assert_false(fr_yaml_bool(document.root, "a", &flag, diagnostics));
    assert_false(fr_yaml_bool(document.root, "b", &flag, diagnostics));
    assert_false(fr_yaml_bool(document.root, "c", &flag, diagnostics));
    assert_false(fr_yaml_bool(document.root, "d", &flag, diagnostics));
    assert_false(flag);
    assert_true(fr_yaml_bool(document.root, "e", &flag, diagnostics));
    assert_true(flag);
    assert_string_equal(document_mistakes(&document), "f.yaml:1:4: a: 'yes' is not true or false; write true\n"
                                                      "f.yaml:2:4: b: 'Off' is not true or false; write false\n"
                                                      "f.yaml:3:4: c: 'TRUE' is not true or false; write true\n"
                                                      "f.yaml:4:4: d: '1' is not true or false; write one of these\n");
    document_free(&document);
}

static void an_unknown_choice_names_the_nearest_or_all(void **state)
{
    static const char *const names[] = {"earliest", "latest", "fail"};
    struct document document = document_of("a: erliest\nb: now\n");
    int index = 2;

    (void)state;
    assert_false(fr_yaml_choice(document.root, "a", names, 3, &index, &document.diagnostics));
    assert_false(fr_yaml_choice(document.root, "b", names, 3, &index, &document.diagnostics));
    assert_int_equal(index, 2);
    assert_string_equal(document_mistakes(&document),
                        "f.yaml:1:4: a: 'erliest' is not known here; did you mean 'earliest'?\n"
                        "f.yaml:2:4: b: 'now' is not known here; use one of earliest, latest, fail\n");
    document_free(&document);
}

static void what_nobody_read_is_an_unknown_key(void **state)
{
    static const char *const known[] = {"windows", "half_life"};
    struct document document = document_of("entity: item\nwindos: [1m]\nentitty: x\nzebra: 1\n");

    (void)state;
    fr_yaml_get(document.root, "entity");
    fr_yaml_finish(document.root, "features.x", known, 2, &document.diagnostics);
    assert_string_equal(document_mistakes(&document),
                        "f.yaml:2:1: features.x: unknown key 'windos'; did you mean 'windows'?\n"
                        "f.yaml:3:1: features.x: unknown key 'entitty'; did you mean 'entity'?\n"
                        "f.yaml:4:1: features.x: unknown key 'zebra'; use one of entity, windows, half_life\n");
    document_free(&document);
}

static void a_map_that_was_read_whole_is_finished_silently(void **state)
{
    struct document document = document_of("a: 1\nb: ~\n");

    (void)state;
    fr_yaml_get(document.root, "a");
    fr_yaml_get(document.root, "a");
    fr_yaml_get(document.root, "b");
    fr_yaml_finish(document.root, "", NULL, 0, &document.diagnostics);
    fr_yaml_finish(NULL, NULL, NULL, 0, &document.diagnostics);
    assert_int_equal(document.diagnostics.count, 0);
    document_free(&document);
}

static void what_should_be_a_map_and_is_not_is_told(void **state)
{
    struct document document = document_of("node: x\nstore: [1]\n");

    (void)state;
    fr_yaml_finish(fr_yaml_get(document.root, "node"), "node", NULL, 0, &document.diagnostics);
    fr_yaml_finish(fr_yaml_get(document.root, "store"), "store", NULL, 0, &document.diagnostics);
    assert_string_equal(document_mistakes(&document), "f.yaml:1:7: node: a text is not a map; write { key: value }\n"
                                                      "f.yaml:2:8: store: a list is not a map; write { key: value }\n");
    document_free(&document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_absent_keeps_its_default),
        cmocka_unit_test(what_should_be_a_map_and_is_not_is_told),
        cmocka_unit_test(typed_reads_give_the_value),
        cmocka_unit_test(a_wrong_type_is_told_with_what_is_right),
        cmocka_unit_test(a_value_out_of_range_is_told_with_the_range),
        cmocka_unit_test(only_true_and_false_are_booleans),
        cmocka_unit_test(an_unknown_choice_names_the_nearest_or_all),
        cmocka_unit_test(what_nobody_read_is_an_unknown_key),
        cmocka_unit_test(a_map_that_was_read_whole_is_finished_silently),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
