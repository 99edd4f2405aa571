/*
 * Any bytes as a file of users: refused, or read to an end, with every record inside of the block that it came from. With an even first byte the
 * rest is the file; with an odd one it is what blocks hold, 256 bytes at most each behind its length, and they get the checksums and the end that they need:
 * nobody guesses those.
 */
#include "checkpoint.h"

#include <freshet/text.h>

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void append_block(struct fr_buffer *file, const uint8_t *bytes, size_t length, uint64_t number)
{
    for (int i = 0; i < 4; i++)
        fr_buffer_append_byte(file, (uint8_t)(length >> 8 * i));
    fr_buffer_append_fixed64(file, fr_text_hash(bytes, length, number));
    fr_buffer_append(file, bytes, length);
}

/* The first byte of what is left says how many records the end claims. */
static void frame(struct fr_buffer *file, const uint8_t *data, size_t size)
{
    uint64_t numbers[2] = {0, size > 0 ? data[0] : 0};

    fr_buffer_append(file, "FRSHTCP\n", 8);
    for (size_t at = 1; at < size; numbers[0]++) {
        size_t length = data[at++];

        length = length < size - at ? length : size - at;
        append_block(file, data + at, length, numbers[0]);
        at += length;
    }
    for (int i = 0; i < 4; i++)
        fr_buffer_append_byte(file, 0);
    fr_buffer_append_fixed64(file, fr_text_hash(numbers, sizeof numbers, numbers[0]));
    fr_buffer_append_fixed64(file, numbers[0]);
    fr_buffer_append_fixed64(file, numbers[1]);
}

static volatile uint64_t said; /* kept, so that it is reckoned */

/* Looks at every byte, so that some outside of the file would be seen. */
static uint64_t add_up(struct fr_slice slice)
{
    return fr_text_hash(slice.bytes, slice.length, 0);
}

static void read_file(FILE *file, size_t size)
{
    static struct pipeline_checkpoint_record records[PIPELINE_CHECKPOINT_RECORDS];
    struct pipeline_checkpoint_reader *reader;
    struct pipeline_checkpoint_head head;
    struct fr_err err;
    size_t bytes = 0;
    int count;

    if (!pipeline_checkpoint__open(file, "it", &head, &reader, &err))
        return;
    said = add_up(head.group) + add_up(head.marker);
    while ((count = pipeline_checkpoint__read(reader, records, &err)) > 0)
        for (int i = 0; i < count; i++) {
            said += add_up(records[i].key) + add_up(records[i].value);
            bytes += records[i].key.length + records[i].value.length;
        }
    if (bytes > size || (count < 0 && err.code != FR_CORRUPT))
        abort();
    pipeline_checkpoint__close(reader);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fr_buffer bytes;
    FILE *file;

    if (size < 2)
        return 0;
    fr_buffer_init(&bytes);
    if (data[0] % 2 == 1)
        frame(&bytes, data + 1, size - 1);
    else
        fr_buffer_append(&bytes, data + 1, size - 1);
    file = fmemopen(bytes.bytes, bytes.length, "rb");
    if (!file)
        abort();
    read_file(file, bytes.length);
    fr_buffer_fini(&bytes);
    return 0;
}
