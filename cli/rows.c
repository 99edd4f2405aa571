/*
 * The rows of an input: lines, CSV records or delimited messages, each whole in memory and at most CLI_ROW_BYTES_MAX long. What
 * is longer is passed over and told as such.
 */
#include "internal.h"

#include <stdlib.h>

enum { ROWS_CAPACITY = CLI_ROW_BYTES_MAX + (1 << 17) };

bool cli_rows__init(struct cli_rows *rows, struct cli_input *input, struct fr_err *err)
{
    *rows = (struct cli_rows){.input = input, .bytes = malloc(ROWS_CAPACITY), .capacity = ROWS_CAPACITY, .next_line = 1};
    return rows->bytes ? true : fr_fail(err, FR_EXHAUSTED, "out of memory for rows");
}

void cli_rows__fini(struct cli_rows *rows)
{
    free(rows->bytes);
    *rows = (struct cli_rows){0};
}

static struct fr_slice ready(const struct cli_rows *rows)
{
    return fr_slice(rows->bytes + rows->start, rows->end - rows->start);
}

/* More bytes behind those that are there. */
static bool fill(struct cli_rows *rows, struct fr_err *err)
{
    size_t length;

    if (rows->start > 0 && (rows->start == rows->end || rows->end == rows->capacity)) {
        memmove(rows->bytes, rows->bytes + rows->start, rows->end - rows->start);
        rows->end -= rows->start;
        rows->start = 0;
    }
    if (!cli_input__read(rows->input, rows->bytes + rows->end, rows->capacity - rows->end, &length, err))
        return false;
    rows->end += length;
    rows->is_ended = length == 0;
    return true;
}

static bool is_full(const struct cli_rows *rows)
{
    return rows->end - rows->start >= CLI_ROW_BYTES_MAX;
}

/* A UTF-8 byte order mark is no part of the first column's name. */
static bool skip_mark(struct cli_rows *rows, struct fr_err *err)
{
    while (rows->end - rows->start < 3 && !rows->is_ended) {
        if (!fill(rows, err))
            return false;
    }
    if (rows->end - rows->start >= 3 && memcmp(rows->bytes + rows->start, "\xef\xbb\xbf", 3) == 0)
        rows->start += 3;
    return true;
}

/* Drops everything up to and with the next newline. */
static enum cli_row skip_line(struct cli_rows *rows, struct fr_err *err)
{
    rows->line = rows->next_line++;
    rows->raw = fr_slice(NULL, 0);
    for (;;) {
        struct fr_slice bytes = ready(rows);
        const uint8_t *newline = bytes.length > 0 ? memchr(bytes.bytes, '\n', bytes.length) : NULL;

        rows->start = newline ? (size_t)(newline + 1 - rows->bytes) : rows->end;
        if (newline || rows->is_ended)
            return CLI_ROW_TOO_LONG;
        if (!fill(rows, err))
            return CLI_ROW_FAILED;
    }
}

/* The next line is whole in the buffer: its length without '\n', or −1 at the end, −2 on failure, −3 when too long. */
static int64_t whole_line(struct cli_rows *rows, struct fr_err *err)
{
    size_t seen = 0; /* known to hold no newline */

    for (;;) {
        struct fr_slice bytes = ready(rows);
        const uint8_t *start = bytes.bytes;
        const uint8_t *newline = bytes.length > seen ? memchr(start + seen, '\n', bytes.length - seen) : NULL;

        if (newline)
            return newline - start;
        if (rows->is_ended)
            return bytes.length > 0 ? (int64_t)bytes.length : -1;
        if (is_full(rows))
            return -3;
        seen = bytes.length;
        if (!fill(rows, err))
            return -2;
    }
}

enum cli_row cli_rows__line(struct cli_rows *rows, struct fr_err *err)
{
    if (rows->next_line == 1 && !skip_mark(rows, err))
        return CLI_ROW_FAILED;
    for (;;) {
        int64_t length = whole_line(rows, err);
        const uint8_t *line = rows->bytes + rows->start;

        if (length == -3)
            return skip_line(rows, err);
        if (length < 0)
            return length == -1 ? CLI_ROW_END : CLI_ROW_FAILED;
        rows->start += (size_t)length + (rows->start + (size_t)length < rows->end);
        rows->line = rows->next_line++;
        if (length > 0 && line[length - 1] == '\r')
            length--;
        rows->raw = fr_slice(line, (size_t)length);
        if (length > 0)
            return CLI_ROW;
    }
}

/* Passes over empty lines; false at the end (*is_failed: or on failure). */
static bool skip_empty(struct cli_rows *rows, bool *is_failed, struct fr_err *err)
{
    *is_failed = false;
    for (;;) {
        size_t length;

        while (rows->end - rows->start < 2 && !rows->is_ended) {
            if (!fill(rows, err)) {
                *is_failed = true;
                return false;
            }
        }
        length = rows->end - rows->start;
        if (length == 0)
            return false;
        if (rows->bytes[rows->start] == '\n')
            rows->start += 1;
        else if (length >= 2 && rows->bytes[rows->start] == '\r' && rows->bytes[rows->start + 1] == '\n')
            rows->start += 2;
        else
            return true;
        rows->next_line++;
    }
}

enum cli_row cli_rows__csv(struct cli_rows *rows, char *separator, struct cli_csv *csv, struct fr_err *err)
{
    bool is_failed;

    if (rows->next_line == 1 && !skip_mark(rows, err))
        return CLI_ROW_FAILED;
    if (!skip_empty(rows, &is_failed, err))
        return is_failed ? CLI_ROW_FAILED : CLI_ROW_END;
    for (;;) {
        struct fr_slice bytes = ready(rows);
        const uint8_t *newline = memchr(bytes.bytes, '\n', bytes.length);
        enum cli_csv_result result;

        if (*separator == 0 && (newline || rows->is_ended))
            *separator =
                cli_csv__separator(newline ? fr_slice(bytes.bytes, (size_t)(newline - rows->bytes) - rows->start) : bytes);
        if (!newline && is_full(rows))
            return skip_line(rows, err);
        result = cli_csv__split(bytes, rows->is_ended || is_full(rows), *separator, csv);
        if (result != CLI_CSV_MORE) {
            rows->raw = fr_slice(bytes.bytes, csv->raw_bytes);
            rows->line = rows->next_line;
            rows->next_line += csv->lines;
            rows->start += csv->used_bytes;
            return result == CLI_CSV_ROW ? CLI_ROW : CLI_ROW_BAD;
        }
        if (!fill(rows, err))
            return CLI_ROW_FAILED;
    }
}

/* Makes `length` bytes ready; false without an error when the input ends before. */
static bool need(struct cli_rows *rows, size_t length, bool *is_failed, struct fr_err *err)
{
    while (rows->end - rows->start < length && !rows->is_ended) {
        if (!fill(rows, err)) {
            *is_failed = true;
            return false;
        }
    }
    return rows->end - rows->start >= length;
}

enum cli_row cli_rows__message(struct cli_rows *rows, struct fr_err *err)
{
    bool is_failed = false;
    struct fr_reader reader;
    uint64_t length;
    size_t head;

    if (!need(rows, 1, &is_failed, err))
        return is_failed ? CLI_ROW_FAILED : CLI_ROW_END;
    if (!need(rows, 10, &is_failed, err) && is_failed)
        return CLI_ROW_FAILED;
    rows->line = rows->next_line;
    reader = fr_reader(ready(rows));
    length = fr_reader_varint(&reader);
    head = (size_t)(reader.at - (rows->bytes + rows->start));
    if (reader.is_failed || length > CLI_ROW_BYTES_MAX) { /* nothing behind it can be trusted */
        (void)fr_fail(err, FR_BAD_INPUT,
                      "message %llu: no length, or one above %d; is this a stream of varint-delimited events?",
                      (unsigned long long)rows->line, CLI_ROW_BYTES_MAX);
        return CLI_ROW_FAILED;
    }
    if (!need(rows, head + (size_t)length, &is_failed, err)) {
        if (!is_failed)
            (void)fr_fail(err, FR_BAD_INPUT, "message %llu: the file ends in the middle of it", (unsigned long long)rows->line);
        return CLI_ROW_FAILED;
    }
    rows->raw = fr_slice(rows->bytes + rows->start + head, (size_t)length);
    rows->start += head + (size_t)length;
    rows->next_line++;
    return CLI_ROW;
}
