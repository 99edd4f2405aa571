#include "document.h"

static bool set(struct document *document, const char *assignment)
{
    return fr_yaml_set(document->root, assignment, document->arena, &document->diagnostics);
}

static const char *text_at(struct document *document, const char *outer, const char *inner)
{
    const char *text = NULL;

    assert_true(fr_yaml_text(fr_yaml_get(document->root, outer), inner, &text, &document->diagnostics));
    return text;
}

static void a_value_is_replaced_and_its_key_stays(void **state)
{
    struct document document = document_of("store: { path: /a, epoch: 2s }\n");

    (void)state;
    assert_true(set(&document, "store.path=/b=c"));
    assert_string_equal(text_at(&document, "store", "path"), "/b=c");
    assert_string_equal(text_at(&document, "store", "epoch"), "2s");
    assert_int_equal(fr_yaml_get(document.root, "store")->keys[0]->line, 1);
    assert_int_equal(fr_yaml_get(fr_yaml_get(document.root, "store"), "path")->line, 0);
    document_free(&document);
}

static void maps_are_made_on_the_way_even_from_nothing(void **state)
{
    struct document document = document_of("");

    (void)state;
    assert_true(set(&document, "kafka.properties.x=1"));
    assert_true(set(&document, "store.path=/b"));
    assert_int_equal(document.root->kind, FR_YAML_MAP);
    assert_int_equal(fr_yaml_get(fr_yaml_get(document.root, "kafka"), "properties")->count, 1);
    assert_string_equal(text_at(&document, "store", "path"), "/b");
    document_free(&document);
}

static void a_value_may_be_a_list_or_map(void **state)
{
    struct document document = document_of("kafka:\n");
    struct fr_yaml *topics;

    (void)state;
    assert_true(set(&document, "kafka.topics=[{name: a}, {name: b}]"));
    topics = fr_yaml_get(fr_yaml_get(document.root, "kafka"), "topics");
    assert_int_equal(topics->count, 2);
    assert_true(fr_slice_is(topics->values[1]->values[0]->text, "b"));
    assert_true(set(&document, "kafka.topics[1].name=c"));
    assert_true(set(&document, "kafka.topics[2]={name: d}"));
    assert_int_equal(topics->count, 3);
    assert_true(fr_slice_is(topics->values[1]->values[0]->text, "c"));
    document_free(&document);
}

static void a_key_with_dots_is_found_or_quoted(void **state)
{
    struct document document = document_of("p: { fetch.min.bytes: 1 }\n");

    (void)state;
    assert_true(set(&document, "p.fetch.min.bytes=2"));
    assert_true(set(&document, "p.\"a.b=c\"=3"));
    assert_int_equal(fr_yaml_get(document.root, "p")->count, 2);
    assert_string_equal(text_at(&document, "p", "fetch.min.bytes"), "2");
    assert_string_equal(text_at(&document, "p", "a.b=c"), "3");
    document_free(&document);
}

static void an_empty_value_is_null(void **state)
{
    struct document document = document_of("a: { b: 1 }\n");

    (void)state;
    assert_true(set(&document, "a.b="));
    assert_null(fr_yaml_get(fr_yaml_get(document.root, "a"), "b"));
    document_free(&document);
}

static void a_mistake_in_a_set_value_says_so(void **state)
{
    struct document document = document_of("a: { epoch: 2s }\nb: 1\n");
    int64_t ms = 0;

    (void)state;
    assert_true(set(&document, "a.epoch=2x"));
    assert_false(fr_yaml_span(fr_yaml_get(document.root, "a"), "epoch", 0, 9, &ms, &document.diagnostics));
    assert_true(set(&document, "nodes.lanes=2"));
    fr_yaml_get(document.root, "b");
    fr_yaml_get(document.root, "node");
    fr_yaml_finish(document.root, NULL, NULL, 0, &document.diagnostics);
    assert_string_equal(document_mistakes(&document),
                        "--set: epoch: '2x' is not a span; write a number and ms, s, m, h or d, as in 2s\n"
                        "--set: unknown key 'nodes'; did you mean 'node'?\n");
    document_free(&document);
}

static void what_cannot_be_set_is_told(void **state)
{
    static const char *const wrong[] = {"a",      "=1",    "a..b=1", ".a=1",     "a.=1",  "s.x=1", "l[9]=1",
                                        "l[x]=1", "l[0=1", "s[0]=1", "\"a\"b=1", "\"a=1", "n=[1",  "n=*x"};
    struct document document = document_of("a: {}\ns: text\nl: [1]\n");

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        int count_before = document.diagnostics.count;

        assert_false(set(&document, wrong[i]));
        assert_true(document.diagnostics.count > count_before);
    }
    assert_null(strstr(document_mistakes(&document), "f.yaml"));
    document_free(&document);
}

static void an_endless_path_is_refused(void **state)
{
    struct document document = document_of("");
    char path[256] = "a";

    (void)state;
    for (int i = 0; i < 40; i++)
        strcat(path, ".a");
    strcat(path, "=1");
    assert_false(set(&document, path));
    document_free(&document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_value_is_replaced_and_its_key_stays),
        cmocka_unit_test(maps_are_made_on_the_way_even_from_nothing),
        cmocka_unit_test(a_value_may_be_a_list_or_map),
        cmocka_unit_test(a_key_with_dots_is_found_or_quoted),
        cmocka_unit_test(an_empty_value_is_null),
        cmocka_unit_test(a_mistake_in_a_set_value_says_so),
        cmocka_unit_test(what_cannot_be_set_is_told),
        cmocka_unit_test(an_endless_path_is_refused),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
