/*
 * What a scalar stands for: the environment's values in place of `${NAME}`, a file's content in place of `file:/path`.
 */
#include "internal.h"

#include <freshet/secret.h>
#include <freshet/text.h>

#include <ctype.h>
#include <stdlib.h>

static bool is_name(struct fr_slice name)
{
    const char *at = name.bytes;

    for (size_t i = 0; i < name.length; i++)
        if (at[i] != '_' && !isalpha((unsigned char)at[i]) && (i == 0 || !isdigit((unsigned char)at[i])))
            return false;
    return name.length > 0;
}

/* Appends the value of the variable that `${` at `text` names; returns what follows its brace, NULL when told. */
static const char *expand_one(const struct fr_yaml *at, const char *text, struct fr_buffer *out,
                              struct fr_diagnostics *diagnostics)
{
    const char *name = text + 2;
    const char *brace = strchr(name, '}');
    struct fr_slice slice = fr_slice(name, brace ? (size_t)(brace - name) : 0);
    char *copy;
    const char *value;

    if (!is_name(slice)) {
        fr_diagnostics_add(diagnostics, at, "'${' without a variable's name and '}'; write ${NAME}, or $${ for a plain ${");
        return NULL;
    }
    copy = fr_arena_copy(at->arena, slice);
    if (!copy) {
        fr_yaml__exhausted(diagnostics, at);
        return NULL;
    }
    value = getenv(copy);
    if (!value) {
        fr_diagnostics_add(diagnostics, at, "${%s}: the environment variable %s is not set; set it or write the value", copy,
                           copy);
        return NULL;
    }
    fr_buffer_append_text(out, value);
    return brace + 1;
}

/* Puts the environment into node->text. */
static bool expand(struct fr_yaml *node, struct fr_diagnostics *diagnostics)
{
    const char *text = node->text.bytes;
    struct fr_buffer out;
    char *copy = NULL;

    if (!strstr(text, "${"))
        return true;
    fr_buffer_init(&out);
    while (*text) {
        if (strncmp(text, "$${", 3) == 0) {
            fr_buffer_append_text(&out, "${");
            text += 3;
        } else if (strncmp(text, "${", 2) == 0) {
            text = expand_one(node, text, &out, diagnostics);
            if (!text)
                goto out;
        } else {
            fr_buffer_append_byte(&out, (uint8_t)*text++);
        }
    }
    if (!out.is_failed)
        copy = fr_arena_copy(node->arena, fr_buffer_slice(&out));
    if (copy)
        node->text = fr_slice(copy, out.length);
    else
        fr_yaml__exhausted(diagnostics, node);
out:
    fr_buffer_fini(&out);
    return copy != NULL;
}

/* Replaces `file:/path` in node->text by what the file holds. */
static bool fetch_file(struct fr_yaml *node, struct fr_diagnostics *diagnostics)
{
    const char *path = node->text.bytes;
    struct fr_buffer secret;
    char *copy = NULL;
    struct fr_err err;

    if (strncmp(path, "file:/", 6) != 0)
        return true;
    path += strlen("file:");
    fr_buffer_init(&secret);
    if (!fr_secret_read(path, &secret, &err)) {
        fr_diagnostics_add(diagnostics, node, "%s", err.message);
    } else {
        copy = fr_arena_copy(node->arena, fr_buffer_slice(&secret));
        if (!copy)
            fr_yaml__exhausted(diagnostics, node);
    }
    if (copy) {
        node->file = path;
        node->text = fr_slice(copy, secret.length);
    }
    fr_buffer_fini(&secret);
    return copy != NULL;
}

void fr_yaml__resolve(struct fr_yaml *node, struct fr_diagnostics *diagnostics)
{
    if (expand(node, diagnostics))
        (void)fetch_file(node, diagnostics);
}
