/*
 * Aligned columns for people: cells are collected, then the widths are known.
 */
#include "internal.h"

#include <stdarg.h>
#include <stdlib.h>

void cli_table__init(struct cli_table *table, int columns)
{
    *table = (struct cli_table){.columns = columns};
    fr_buffer_init(&table->text);
}

void cli_table__cell(struct cli_table *table, const char *format, ...)
{
    char text[256];
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (table->count == table->capacity) {
        int capacity = table->capacity > 0 ? table->capacity * 2 : 64;
        size_t *ends = realloc(table->ends, (size_t)capacity * sizeof *ends);

        if (!ends) {
            table->is_failed = true;
            return;
        }
        table->ends = ends;
        table->capacity = capacity;
    }
    fr_buffer_append_text(&table->text, text);
    table->ends[table->count++] = table->text.length;
}

static struct fr_slice cell_at(const struct cli_table *table, int i)
{
    size_t start = i > 0 ? table->ends[i - 1] : 0;

    return fr_slice(table->text.bytes + start, table->ends[i] - start);
}

static int width_of(const struct cli_table *table, int column)
{
    size_t width = 0;

    for (int i = column; i < table->count; i += table->columns) {
        struct fr_slice cell = cell_at(table, i);

        width = cell.length > width ? cell.length : width;
    }
    return (int)width;
}

void cli_table__print(const struct cli_table *table, const char *indent, FILE *out)
{
    if (table->is_failed || table->text.is_failed) {
        fprintf(out, "%s(out of memory)\n", indent);
        return;
    }
    for (int i = 0; i < table->count; i++) {
        struct fr_slice cell = cell_at(table, i);
        int column = i % table->columns;
        bool is_last = column == table->columns - 1 || i == table->count - 1;
        int pad = width_of(table, column) - (int)cell.length;

        fprintf(out, "%s%*s%.*s%*s%s", column == 0 ? indent : "  ", column > 0 ? pad : 0, "", (int)cell.length,
                (const char *)cell.bytes, column == 0 && !is_last ? pad : 0, "", is_last ? "\n" : "");
    }
}

void cli_table__fini(struct cli_table *table)
{
    fr_buffer_fini(&table->text);
    free(table->ends);
    *table = (struct cli_table){0};
}
