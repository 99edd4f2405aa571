/*
 * One record of CSV into its fields: RFC 4180, LF or CRLF, comma or tab. A quote means something only where a field begins, so
 * that 5" and the like stay text. A quote that never closes spoils its line, not the rest of the file.
 */
#include "internal.h"

#include <assert.h>

struct csv_cursor {
    const char *at, *end;
    char separator;
};

char cli_csv__separator(struct fr_slice header)
{
    bool has_tab = header.length > 0 && memchr(header.bytes, '\t', header.length);
    bool has_comma = header.length > 0 && memchr(header.bytes, ',', header.length);

    return has_tab && !has_comma ? '\t' : ',';
}

static bool add_field(struct cli_csv *csv, const char *bytes, size_t length)
{
    if (csv->count == CLI_COLUMNS_MAX)
        return false;
    csv->fields[csv->count++] = fr_slice(bytes, length);
    return true;
}

/* The first line alone, without quotes' meaning. */
static enum cli_csv_result bad_line(struct fr_slice bytes, struct cli_csv *csv)
{
    const char *line = bytes.bytes;
    const char *newline = memchr(line, '\n', bytes.length);

    csv->used_bytes = newline ? (size_t)(newline - line) + 1 : bytes.length;
    csv->raw_bytes = newline ? (size_t)(newline - line) : bytes.length;
    csv->lines = 1;
    return CLI_CSV_BAD;
}

/* The common line: no quotes at all. */
static enum cli_csv_result split_plain(struct fr_slice line, char separator, struct cli_csv *csv)
{
    const char *at = line.bytes, *end = at + line.length;

    for (;;) {
        const char *next = memchr(at, separator, (size_t)(end - at));

        if (!add_field(csv, at, (size_t)((next ? next : end) - at)))
            return CLI_CSV_BAD;
        if (!next)
            return CLI_CSV_ROW;
        at = next + 1;
    }
}

/* The field behind an opening quote, up to its closing one. */
static enum cli_csv_result quoted_field(struct csv_cursor *cursor, struct cli_csv *csv)
{
    const char *start = ++cursor->at;
    size_t copied = csv->scratch.length;
    bool is_copied = false;

    for (;;) {
        const char *quote = memchr(cursor->at, '"', (size_t)(cursor->end - cursor->at));

        if (!quote)
            return CLI_CSV_MORE;
        if (quote + 1 < cursor->end && quote[1] == '"') { /* room was reserved for the whole record: nothing moves */
            fr_buffer_append(&csv->scratch, cursor->at, (size_t)(quote + 1 - cursor->at));
            is_copied = true;
            cursor->at = quote + 2;
            continue;
        }
        if (is_copied) {
            fr_buffer_append(&csv->scratch, cursor->at, (size_t)(quote - cursor->at));
            if (!add_field(csv, (const char *)csv->scratch.bytes + copied, csv->scratch.length - copied))
                return CLI_CSV_BAD;
        } else if (!add_field(csv, start, (size_t)(quote - start))) {
            return CLI_CSV_BAD;
        }
        cursor->at = quote + 1;
        return CLI_CSV_ROW;
    }
}

/* True when the record ends at the cursor; *end is then behind its line end. */
static bool is_record_end(const struct csv_cursor *cursor, bool is_end, const char **end)
{
    const char *at = cursor->at;

    if (at < cursor->end && *at == '\r' && (at + 1 < cursor->end ? at[1] == '\n' : is_end))
        at++;
    if (at == cursor->end) {
        *end = at;
        return is_end;
    }
    *end = at + 1;
    return *at == '\n';
}

static enum cli_csv_result split_quoted(struct csv_cursor *cursor, bool is_end, struct cli_csv *csv)
{
    const char *start = cursor->at, *end;

    for (;;) {
        if (cursor->at < cursor->end && *cursor->at == '"') {
            enum cli_csv_result result = quoted_field(cursor, csv);

            if (result != CLI_CSV_ROW)
                return result;
        } else {
            const char *field = cursor->at;

            while (cursor->at < cursor->end && *cursor->at != cursor->separator && !is_record_end(cursor, is_end, &end))
                cursor->at++;
            if (!add_field(csv, field, (size_t)(cursor->at - field)))
                return CLI_CSV_BAD;
        }
        if (is_record_end(cursor, is_end, &end)) {
            csv->raw_bytes = (size_t)(cursor->at - start);
            csv->used_bytes = (size_t)(end - start);
            return CLI_CSV_ROW;
        }
        if (cursor->at == cursor->end || (*cursor->at == '\r' && cursor->at + 1 == cursor->end))
            return CLI_CSV_MORE;
        if (*cursor->at != cursor->separator)
            return CLI_CSV_BAD; /* text behind a closing quote */
        cursor->at++;
    }
}

static uint64_t count_lines(const char *bytes, size_t length)
{
    const char *end = bytes + length;
    uint64_t lines = 1;

    for (const char *at = bytes; (at = memchr(at, '\n', (size_t)(end - at))); at++)
        lines++;
    return lines;
}

enum cli_csv_result cli_csv__split(struct fr_slice bytes, bool is_end, char separator, struct cli_csv *csv)
{
    const char *start = bytes.bytes;
    const char *newline = memchr(start, '\n', bytes.length);
    struct csv_cursor cursor = {start, start + bytes.length, separator};
    size_t line_bytes = newline ? (size_t)(newline - start) : bytes.length;
    enum cli_csv_result result;

    assert(bytes.length > 0);
    csv->count = 0;
    fr_buffer_clear(&csv->scratch);
    if (!newline && !is_end)
        return CLI_CSV_MORE;
    if (!memchr(start, '"', line_bytes)) {
        csv->lines = 1;
        csv->used_bytes = newline ? line_bytes + 1 : line_bytes;
        csv->raw_bytes = line_bytes > 0 && start[line_bytes - 1] == '\r' ? line_bytes - 1 : line_bytes;
        result = split_plain(fr_slice(start, csv->raw_bytes), separator, csv);
        return result;
    }
    if (!fr_buffer_reserve(&csv->scratch, bytes.length))
        return bad_line(bytes, csv);
    result = split_quoted(&cursor, is_end, csv);
    if (result == CLI_CSV_MORE && !is_end)
        return CLI_CSV_MORE;
    if (result != CLI_CSV_ROW)
        return bad_line(bytes, csv);
    csv->lines = count_lines(start, csv->raw_bytes);
    return CLI_CSV_ROW;
}
