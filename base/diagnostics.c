/*
 * The mistakes of one check, as the lines a user reads.
 */
#include "internal.h"

#include <stdarg.h>
#include <stdio.h>

void fr_diagnostics_init(struct fr_diagnostics *diagnostics, const char *file)
{
    *diagnostics = (struct fr_diagnostics){.file = file};
    fr_buffer_init(&diagnostics->text);
}

void fr_diagnostics_fini(struct fr_diagnostics *diagnostics)
{
    fr_buffer_fini(&diagnostics->text);
}

bool fr_diagnostics_add(struct fr_diagnostics *diagnostics, const struct fr_yaml *at, const char *format, ...)
{
    struct fr_buffer *text = &diagnostics->text;
    size_t start = text->length;
    char message[2 * FR_MESSAGE_BYTES];
    va_list args;

    if (!at)
        fr_buffer_append_format(text, "%s: ", diagnostics->file);
    else if (at->line == 0)
        fr_buffer_append_text(text, "--set: ");
    else
        fr_buffer_append_format(text, "%s:%d:%d: ", diagnostics->file, at->line, at->column);
    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);
    fr_buffer_append_text(text, message);
    if (text->bytes && text->length > start)
        fr_text__one_line((char *)text->bytes + start, text->length - start);
    fr_buffer_append_byte(text, '\n');
    diagnostics->count++;
    return false;
}

void fr_yaml__exhausted(struct fr_diagnostics *diagnostics, const struct fr_yaml *at)
{
    fr_diagnostics_add(diagnostics, at, "the document takes too much memory; make it smaller");
}
