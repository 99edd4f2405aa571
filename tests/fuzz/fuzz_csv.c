/*
 * CSV: any bytes, as whole files and as files that are still being read. What is split must lie in the record, and a record that is
 * whole must be split the same whatever follows it.
 */
#include "internal.h"

#include <assert.h>

static struct fr_slice fields[CLI_COLUMNS_MAX], again[CLI_COLUMNS_MAX];

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The same record alone, as the end of a file. */
static void compare(const uint8_t *data, const struct cli_csv *csv, char separator)
{
    struct cli_csv alone = {.fields = again};

    assert(cli_csv__split(fr_slice(data, csv->used_bytes), true, separator, &alone) == CLI_CSV_ROW);
    assert(alone.count == csv->count && alone.raw_bytes == csv->raw_bytes && alone.lines == csv->lines);
    for (int i = 0; i < csv->count; i++)
        assert(fr_slice_equal(csv->fields[i], alone.fields[i]));
    fr_buffer_fini(&alone.scratch);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    for (int mode = 0; mode < 4; mode++) {
        struct cli_csv csv = {.fields = fields};
        bool is_end = mode & 1;
        char separator = mode & 2 ? '\t' : ',';

        for (size_t at = 0; at < size; at += csv.used_bytes) {
            enum cli_csv_result result = cli_csv__split(fr_slice(data + at, size - at), is_end, separator, &csv);

            if (result == CLI_CSV_MORE) {
                assert(!is_end);
                break;
            }
            assert(csv.used_bytes > 0 && csv.raw_bytes <= csv.used_bytes && at + csv.used_bytes <= size && csv.lines > 0);
            if (result == CLI_CSV_ROW)
                compare(data + at, &csv, separator);
        }
        fr_buffer_fini(&csv.scratch);
    }
    return 0;
}
