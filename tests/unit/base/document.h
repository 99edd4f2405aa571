/*
 * A YAML document under test: its tree, its mistakes, and the words that a test asks with.
 */
#ifndef FRESHET_TESTS_DOCUMENT_H
#define FRESHET_TESTS_DOCUMENT_H

#include <freshet/yaml.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

struct document {
    struct fr_arena *arena;
    struct fr_yaml *root;
    struct fr_diagnostics diagnostics;
    bool is_good;
};

static inline struct document document_of(const char *text)
{
    struct document document = {.arena = fr_arena_new(64 << 20)};

    fr_diagnostics_init(&document.diagnostics, "f.yaml");
    document.is_good = fr_yaml_parse(fr_slice_of(text), document.arena, &document.root, &document.diagnostics);
    return document;
}

static inline void document_free(struct document *document)
{
    fr_diagnostics_fini(&document->diagnostics);
    fr_arena_free(document->arena);
}

/* All mistakes so far, one line each. */
static inline const char *document_mistakes(struct document *document)
{
    struct fr_buffer *text = &document->diagnostics.text;

    if (!fr_buffer_reserve(text, 1))
        return "out of memory";
    text->bytes[text->length] = '\0';
    return (const char *)text->bytes;
}

/* Asserts that `text` gives exactly these mistakes. */
static inline void assert_mistakes(const char *text, const char *mistakes)
{
    struct document document = document_of(text);

    assert_string_equal(document_mistakes(&document), mistakes);
    assert_int_equal(document.is_good, *mistakes == '\0');
    document_free(&document);
}

#endif
