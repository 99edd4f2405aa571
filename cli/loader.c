/*
 * A file as records for Kafka: the rows of any format become encoded events with their keys. `produce` sends them to a broker,
 * `demo` to its own.
 */
#include "internal.h"

#include <freshet/text.h>

#include <stdlib.h>

enum {
    LOADER_TOLD_MAX = 5, /* bad rows that are told one by one */
    LOADER_VALUE_BYTES_MAX = PROTO_EVENT_BYTES_MAX, /* a larger one would be a dead letter, `oversized` */
};

struct cli_loader {
    const char *name;
    enum cli_format format;
    bool is_json;
    struct cli_input *input;
    struct cli_rows rows;
    struct cli_map *map;
    struct cli_csv csv;
    char separator;
    struct cli_row_events row;
    int next; /* action of `row` to give next */
    struct fr_buffer wire, out;
    struct cli_loader_counts counts;
};

bool cli_format__parse(const char *text, enum cli_format *format, struct fr_err *err)
{
    static const char *const names[] = {"jsonl", "csv", "pb"};

    *format = CLI_FORMAT_BY_NAME;
    if (!text)
        return true;
    for (int i = 0; i < 3; i++) {
        if (strcmp(text, names[i]) == 0) {
            *format = (enum cli_format)(CLI_FORMAT_JSONL + i);
            return true;
        }
    }
    return fr_fail(err, FR_BAD_CONFIG, "--format '%s': use jsonl, csv or pb", text);
}

/* By the name's end, .gz and .zst aside. */
static bool format_by_name(const char *path, enum cli_format *format, struct fr_err *err)
{
    static const struct {
        const char *end;
        enum cli_format format;
    } known[] = {{".jsonl", CLI_FORMAT_JSONL}, {".ndjson", CLI_FORMAT_JSONL}, {".json", CLI_FORMAT_JSONL},
                 {".csv", CLI_FORMAT_CSV},     {".tsv", CLI_FORMAT_CSV},      {".txt", CLI_FORMAT_CSV},
                 {".pb", CLI_FORMAT_PB}};
    size_t length = strlen(path);

    if (length > 3 && strcmp(path + length - 3, ".gz") == 0)
        length -= 3;
    else if (length > 4 && strcmp(path + length - 4, ".zst") == 0)
        length -= 4;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
        size_t end = strlen(known[i].end);

        if (length > end && memcmp(path + length - end, known[i].end, end) == 0) {
            *format = known[i].format;
            return true;
        }
    }
    return fr_fail(err, FR_BAD_CONFIG, "%s: its name does not tell the format; give --format jsonl, csv or pb",
                   strcmp(path, "-") == 0 ? "stdin" : path);
}

/* The header: rows->next_line is 2 behind it, so that row numbers are those of an editor. */
static bool read_header(struct cli_loader *loader, struct fr_err *err)
{
    enum cli_row result = cli_rows__csv(&loader->rows, &loader->separator, &loader->csv, err);

    if (result == CLI_ROW_FAILED)
        return false;
    if (result != CLI_ROW)
        return fr_fail(err, FR_BAD_INPUT, "%s: the first line must be a header with the columns' names", loader->name);
    return cli_map__bind(loader->map, loader->csv.fields, loader->csv.count, err);
}

static bool loader_start(struct cli_loader *loader, const struct cli_loader_options *options, struct fr_err *err)
{
    if (loader->format == CLI_FORMAT_BY_NAME && !format_by_name(options->path, &loader->format, err))
        return false;
    if (options->map && *options->map && loader->format != CLI_FORMAT_CSV)
        return fr_fail(err, FR_BAD_CONFIG, "--map is for csv; jsonl and pb have the fields' own names");
    loader->csv.fields = calloc(CLI_COLUMNS_MAX, sizeof *loader->csv.fields);
    if (!loader->csv.fields)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    if (!cli_map__parse(options->map, &loader->map, err) || !cli_input__open(options->path, &loader->input, err) ||
        !cli_rows__init(&loader->rows, loader->input, err))
        return false;
    return loader->format != CLI_FORMAT_CSV || read_header(loader, err);
}

bool cli_loader__open(const struct cli_loader_options *options, struct cli_loader **ret, struct fr_err *err)
{
    struct cli_loader *loader = calloc(1, sizeof *loader);

    if (!loader)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    loader->name = strcmp(options->path, "-") == 0 ? "stdin" : options->path;
    loader->format = options->format;
    loader->is_json = options->is_json;
    if (!loader_start(loader, options, err)) {
        cli_loader__close(loader);
        return false;
    }
    *ret = loader;
    return true;
}

void cli_loader__close(struct cli_loader *loader)
{
    if (!loader)
        return;
    cli_rows__fini(&loader->rows);
    cli_input__close(loader->input);
    cli_map__free(loader->map);
    fr_buffer_fini(&loader->csv.scratch);
    fr_buffer_fini(&loader->row.attributes);
    fr_buffer_fini(&loader->wire);
    fr_buffer_fini(&loader->out);
    free(loader->csv.fields);
    free(loader);
}

/* ---- One row ---- */

static enum cli_skip take_csv(struct cli_loader *loader, struct fr_err *err)
{
    if (loader->csv.count != loader->map->column_count) {
        (void)fr_fail(err, FR_BAD_INPUT, "%d columns, the header has %d", loader->csv.count, loader->map->column_count);
        return CLI_SKIP_BAD_CSV;
    }
    return cli_map__row(loader->map, loader->csv.fields, &loader->row, err);
}

/* A row that is one event already: JSON or wire bytes. */
static enum cli_skip take_event(struct cli_loader *loader, struct fr_err *err)
{
    struct fr_slice wire = loader->rows.raw;

    if (loader->format == CLI_FORMAT_JSONL) {
        fr_buffer_clear(&loader->wire);
        if (!proto_event_from_json(loader->rows.raw, &loader->wire, err))
            return CLI_SKIP_BAD_JSON;
        wire = fr_buffer_slice(&loader->wire);
    }
    if (!proto_event_decode(wire, &loader->row.event, err))
        return loader->format == CLI_FORMAT_JSONL ? CLI_SKIP_BAD_JSON : CLI_SKIP_BAD_PROTOBUF;
    loader->row.actions[0] = loader->row.event.action;
    loader->row.count = 1;
    return CLI_SKIP_NONE;
}

static enum cli_skip skip_of(enum cli_row result, struct cli_loader *loader, struct fr_err *err)
{
    loader->row.count = 0;
    if (result == CLI_ROW_BAD) {
        (void)fr_fail(err, FR_BAD_INPUT, "a quote that never closes, text behind one, or more than %d columns",
                      CLI_COLUMNS_MAX);
        return CLI_SKIP_BAD_CSV;
    }
    if (result == CLI_ROW_TOO_LONG) {
        (void)fr_fail(err, FR_BAD_INPUT, "longer than %d bytes", CLI_ROW_BYTES_MAX);
        return CLI_SKIP_TOO_LONG;
    }
    return loader->format == CLI_FORMAT_CSV ? take_csv(loader, err) : take_event(loader, err);
}

static void count_skip(struct cli_loader *loader, enum cli_skip skip, const struct fr_err *why)
{
    uint64_t told = cli_loader__bad(loader);

    loader->counts.skipped[skip]++;
    loader->row.count = 0;
    if (skip == CLI_SKIP_NO_ACTION)
        return;
    if (told < LOADER_TOLD_MAX)
        fprintf(stderr, "freshet: %s:%llu: %s: %s\n", loader->name, (unsigned long long)loader->rows.line, cli_skip__name(skip),
                why->message);
    else if (told == LOADER_TOLD_MAX)
        fprintf(stderr, "freshet: %s: more bad rows are only counted\n", loader->name);
}

/* Reads rows until one gives events; *is_end at the end. */
static bool next_row(struct cli_loader *loader, bool *is_end, struct fr_err *err)
{
    loader->next = 0;
    loader->row.count = 0;
    while (loader->row.count == 0) {
        enum cli_row result = loader->format == CLI_FORMAT_CSV
                                  ? cli_rows__csv(&loader->rows, &loader->separator, &loader->csv, err)
                              : loader->format == CLI_FORMAT_PB ? cli_rows__message(&loader->rows, err)
                                                                : cli_rows__line(&loader->rows, err);
        struct fr_err why;
        enum cli_skip skip;

        if (result == CLI_ROW_END || result == CLI_ROW_FAILED) {
            *is_end = result == CLI_ROW_END;
            return *is_end;
        }
        loader->counts.rows++;
        skip = skip_of(result, loader, &why);
        if (skip != CLI_SKIP_NONE)
            count_skip(loader, skip, &why);
    }
    return true;
}

/* ---- One record ---- */

void cli_record__encode(const struct proto_event *event, bool is_json, struct fr_buffer *buffer, struct cli_record *record)
{
    char key[24];
    int key_bytes = event->user_id ? snprintf(key, sizeof key, "%llu", (unsigned long long)event->user_id) : 0;

    fr_buffer_clear(buffer);
    fr_buffer_append(buffer, key, (size_t)key_bytes);
    if (is_json)
        proto_event_to_json(event, buffer);
    else
        proto_event_encode(event, buffer);
    record->event = *event;
    record->key = fr_slice(buffer->bytes, (size_t)key_bytes);
    record->value = fr_slice(buffer->bytes + key_bytes, buffer->length - (size_t)key_bytes);
}

/* Event number `next` of the row: its action, and an id where the row gives none (one row's id serves its first event only). */
static struct proto_event next_event(struct cli_loader *loader)
{
    struct proto_event event = loader->row.event;

    event.action = loader->row.actions[loader->next];
    if (event.event_id == 0 || loader->next > 0)
        event.event_id = cli_map__event_id(loader->rows.raw, loader->rows.line, event.action);
    if (loader->format == CLI_FORMAT_CSV)
        event.wire = fr_buffer_slice(&loader->row.attributes);
    loader->next++;
    return event;
}

bool cli_loader__next(struct cli_loader *loader, struct cli_record *record, bool *is_end, struct fr_err *err)
{
    *is_end = false;
    for (;;) {
        struct proto_event event;
        struct fr_err why;

        if (loader->next == loader->row.count && (!next_row(loader, is_end, err) || *is_end))
            return *is_end;
        event = next_event(loader);
        cli_record__encode(&event, loader->is_json, &loader->out, record);
        if (loader->out.is_failed)
            return fr_fail(err, FR_EXHAUSTED, "out of memory");
        if (record->value.length <= LOADER_VALUE_BYTES_MAX) {
            loader->counts.events++;
            return true;
        }
        (void)fr_fail(&why, FR_BAD_INPUT, "the event has %zu bytes, Kafka takes %d", record->value.length,
                      LOADER_VALUE_BYTES_MAX);
        count_skip(loader, CLI_SKIP_TOO_LONG, &why);
        loader->next = 0;
    }
}

/* ---- What it did so far ---- */

const struct cli_loader_counts *cli_loader__counts(const struct cli_loader *loader)
{
    return &loader->counts;
}

uint64_t cli_loader__skipped(const struct cli_loader *loader)
{
    uint64_t sum = 0;

    for (int i = 0; i < CLI_SKIPS; i++)
        sum += loader->counts.skipped[i];
    return sum;
}

uint64_t cli_loader__bad(const struct cli_loader *loader)
{
    return cli_loader__skipped(loader) - loader->counts.skipped[CLI_SKIP_NO_ACTION];
}

uint64_t cli_loader__at(const struct cli_loader *loader)
{
    return cli_input__at(loader->input);
}

int64_t cli_loader__size(const struct cli_loader *loader)
{
    return cli_input__size(loader->input);
}
