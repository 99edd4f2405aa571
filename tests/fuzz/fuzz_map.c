/*
 * --map: three texts with NUL between them, the map, a header and a row. Whatever they are, there is an answer; and an event that
 * comes out can be encoded and read back.
 */
#include "internal.h"

#include <assert.h>
#include <stdlib.h>

enum { COLUMNS_MAX = 64 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int cut(const char *text, struct fr_slice *fields)
{
    for (int count = 0;; text++) {
        size_t length = strcspn(text, "|");

        fields[count++] = fr_slice(text, length);
        text += length;
        if (*text == 0 || count == COLUMNS_MAX)
            return count;
    }
}

static void read_row(const struct cli_map *map, const char *row)
{
    struct fr_slice fields[COLUMNS_MAX] = {{0}};
    struct cli_row_events *out = calloc(1, sizeof *out);
    struct fr_buffer wire = {0};
    struct proto_event event;
    struct fr_err err;

    (void)cut(row, fields);
    if (out && cli_map__row(map, fields, out, &err) == CLI_SKIP_NONE) {
        assert(out->count > 0);
        out->event.wire = fr_buffer_slice(&out->attributes);
        out->event.action = out->actions[0];
        proto_event_encode(&out->event, &wire);
        assert(proto_event_decode(fr_buffer_slice(&wire), &event, &err));
        assert(event.ts_ms == out->event.ts_ms && event.user_id == out->event.user_id && event.action != 0);
    }
    fr_buffer_fini(&wire);
    if (out)
        fr_buffer_fini(&out->attributes);
    free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = calloc(size + 3, 1); /* terminated three times */
    struct fr_slice header[COLUMNS_MAX];
    const char *header_text, *row;
    struct cli_map *map;
    struct fr_err err;
    int columns;

    if (!text)
        return 0;
    memcpy(text, data, size);
    header_text = text + strlen(text) + 1;
    row = header_text < text + size + 2 ? header_text + strlen(header_text) + 1 : text + size + 2;
    if (header_text > text + size + 2)
        header_text = text + size + 2;
    if (row > text + size + 2)
        row = text + size + 2;
    if (cli_map__parse(text, &map, &err)) {
        columns = cut(header_text, header);
        if (cli_map__bind(map, header, columns, &err))
            read_row(map, row);
        cli_map__free(map);
    } else {
        assert(err.code == FR_BAD_CONFIG && *err.message);
    }
    free(text);
    return 0;
}
