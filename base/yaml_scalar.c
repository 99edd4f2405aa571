/*
 * What a scalar stands for: the environment's values in place of `${NAME}`, a file's content in place of `file:/path`. The file
 * is opened without waiting and must be a regular one, so that no path can hang the start.
 */
#include "internal.h"

#include <freshet/text.h>

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

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

/* Whether the open file may hold a secret: a regular one, of a sane size, closed to others. */
static bool check_secret(const struct fr_yaml *at, const char *path, int fd, size_t *bytes, struct fr_diagnostics *diagnostics)
{
    struct stat status;

    if (fstat(fd, &status) != 0)
        return fr_diagnostics_add(diagnostics, at, "cannot read '%s': %s", path, strerror(errno));
    if (!S_ISREG(status.st_mode))
        return fr_diagnostics_add(diagnostics, at, "'%s' is not a regular file; name one", path);
    if (status.st_mode & (S_IRGRP | S_IROTH))
        return fr_diagnostics_add(diagnostics, at, "'%s' may be read by others; chmod 600 it", path);
    if (status.st_size > FR_YAML_SECRET_BYTES_MAX)
        return fr_diagnostics_add(diagnostics, at, "'%s' has more than %d bytes; name a file with one value", path,
                                  FR_YAML_SECRET_BYTES_MAX);
    *bytes = (size_t)status.st_size;
    return true;
}

/* Up to `bytes` bytes of the file, without the newline at their end, into node->text. */
static bool read_secret(struct fr_yaml *node, const char *path, int fd, size_t bytes, struct fr_diagnostics *diagnostics)
{
    char *text = fr_arena_take(node->arena, bytes + 1);
    size_t length = 0;

    if (!text) {
        fr_yaml__exhausted(diagnostics, node);
        return false;
    }
    while (length < bytes) {
        ssize_t got = read(fd, text + length, bytes - length);

        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fr_diagnostics_add(diagnostics, node, "cannot read '%s': %s", path, strerror(errno));
        if (got == 0)
            break;
        length += (size_t)got;
    }
    if (length > 0 && text[length - 1] == '\n')
        length--;
    if (length > 0 && text[length - 1] == '\r')
        length--;
    text[length] = '\0';
    if (memchr(text, '\0', length) || !fr_text_is_utf8(fr_slice(text, length)))
        return fr_diagnostics_add(diagnostics, node, "'%s' is not text in UTF-8; name a text file", path);
    node->text = fr_slice(text, length);
    return true;
}

/* Replaces `file:/path` in node->text by what the file holds. */
static bool fetch_file(struct fr_yaml *node, struct fr_diagnostics *diagnostics)
{
    const char *path = node->text.bytes;
    size_t bytes = 0;
    bool is_read;
    int fd;

    if (strncmp(path, "file:/", 6) != 0)
        return true;
    path += strlen("file:");
    fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0)
        return fr_diagnostics_add(diagnostics, node, "cannot open '%s': %s; name a file that can be read", path,
                                  strerror(errno));
    is_read = check_secret(node, path, fd, &bytes, diagnostics) && read_secret(node, path, fd, bytes, diagnostics);
    close(fd);
    return is_read;
}

void fr_yaml__resolve(struct fr_yaml *node, struct fr_diagnostics *diagnostics)
{
    if (expand(node, diagnostics))
        (void)fetch_file(node, diagnostics);
}

bool fr_yaml_resolve(const char *text, struct fr_arena *arena, const char **value, struct fr_err *err)
{
    static const char place[] = "--set: "; /* as what is of no file is told */
    struct fr_yaml node = {.kind = FR_YAML_SCALAR, .text = fr_slice_of(text), .arena = arena};
    struct fr_diagnostics diagnostics;

    fr_diagnostics_init(&diagnostics, "");
    fr_yaml__resolve(&node, &diagnostics);
    if (diagnostics.count > 0)
        fr_fail(err, FR_BAD_CONFIG, "%.*s", (int)(diagnostics.text.length - strlen(place) - 1),
                diagnostics.text.is_failed ? "" : (const char *)diagnostics.text.bytes + strlen(place));
    else
        *value = node.text.bytes;
    bool is_good = diagnostics.count == 0;
    fr_diagnostics_fini(&diagnostics);
    return is_good;
}
