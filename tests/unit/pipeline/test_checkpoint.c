/* Files of users: what is written is read, what is damaged is refused, and what is of something else is not used. */
#include "checkpoint.h"

#include <freshet/slice.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

enum { MANY = 5000, VALUE_BYTES = 200, HOUR_MS = 3600000, NOW_MS = 1800000000 };

static char folder[] = "/tmp/test_checkpoint.XXXXXX", part[64], name[64];

static struct pipeline_checkpoint_head head_of(void)
{
    return (struct pipeline_checkpoint_head){.fingerprint = 77,
                                             .partition = 3,
                                             .partitions = 8,
                                             .next = 1000,
                                             .made_ms = NOW_MS - HOUR_MS,
                                             .group = fr_slice("shop", 4),
                                             .marker = fr_slice("marked", 6)};
}

/* The key and the value of a record, made of its number: from nothing to hundreds of bytes. */
static struct pipeline_checkpoint_record record_of(int number, char bytes[8 + VALUE_BYTES])
{
    memcpy(bytes, &number, sizeof number);
    memset(bytes + 8, number % 256, VALUE_BYTES);
    return (struct pipeline_checkpoint_record){.key = fr_slice(bytes, sizeof number),
                                               .value = fr_slice(bytes + 8, (size_t)(number % (VALUE_BYTES + 1)))};
}

static void write_file(int records)
{
    struct pipeline_checkpoint_head head = head_of();
    struct pipeline_checkpoint_writer *writer;
    char bytes[8 + VALUE_BYTES];
    struct fr_err err;

    assert_true(pipeline_checkpoint__create(part, &head, &writer, &err));
    for (int i = 0; i < records; i++) {
        struct pipeline_checkpoint_record record = record_of(i, bytes);

        assert_true(pipeline_checkpoint__append(writer, record.key, record.value, &err));
    }
    assert_int_equal(access(name, F_OK), -1); /* it has no name before it is whole */
    assert_true(pipeline_checkpoint__finish(writer, name, &err));
    assert_int_equal(access(part, F_OK), -1);
}

/* The file's bytes, and away with it. */
static char *take_file(size_t *length)
{
    FILE *file = fopen(name, "rb");
    char *bytes;

    assert_non_null(file);
    fseek(file, 0, SEEK_END);
    *length = (size_t)ftell(file);
    rewind(file);
    bytes = malloc(*length);
    assert_int_equal(fread(bytes, 1, *length, file), *length);
    fclose(file);
    assert_int_equal(unlink(name), 0);
    return bytes;
}

/* How many records are read of it; −1: it is refused. */
static int read_bytes(char *bytes, size_t length, struct pipeline_checkpoint_head *head, struct fr_err *err)
{
    static struct pipeline_checkpoint_record records[PIPELINE_CHECKPOINT_RECORDS];
    FILE *file = length > 0 ? fmemopen(bytes, length, "rb") : fopen("/dev/null", "rb");
    struct pipeline_checkpoint_reader *reader;
    char wanted[8 + VALUE_BYTES];
    int all = 0, count;

    assert_non_null(file);
    if (!pipeline_checkpoint__open(file, "it", head, &reader, err))
        return -1;
    while ((count = pipeline_checkpoint__read(reader, records, err)) > 0)
        for (int i = 0; i < count; i++, all++) {
            struct pipeline_checkpoint_record record = record_of(all, wanted);

            assert_true(fr_slice_equal(records[i].key, record.key));
            assert_true(fr_slice_equal(records[i].value, record.value));
        }
    assert_true(fr_slice_is(head->group, "shop") && fr_slice_is(head->marker, "marked"));
    pipeline_checkpoint__close(reader);
    return count < 0 ? -1 : all;
}

static void what_is_written_is_read_as_it_was(void **state)
{
    static const int counts[] = {0, 1, MANY};

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct pipeline_checkpoint_head head;
        struct fr_err err;
        size_t length;
        char *bytes;

        write_file(counts[i]);
        bytes = take_file(&length);
        assert_int_equal(read_bytes(bytes, length, &head, &err), counts[i]);
        assert_int_equal(head.fingerprint, 77);
        assert_int_equal(head.partition, 3);
        assert_int_equal(head.partitions, 8);
        assert_int_equal(head.next, 1000);
        assert_int_equal(head.made_ms, NOW_MS - HOUR_MS);
        free(bytes);
    }
}

static void a_bit_that_is_another_is_refused_wherever_it_is(void **state)
{
    struct pipeline_checkpoint_head head;
    struct fr_err err;
    size_t length;
    char *bytes;

    (void)state;
    write_file(9);
    bytes = take_file(&length);
    for (size_t at = 0; at < length; at++) {
        bytes[at] = (char)(bytes[at] ^ 1 << at % 8);
        assert_int_equal(read_bytes(bytes, length, &head, &err), -1);
        assert_int_equal(err.code, FR_CORRUPT);
        bytes[at] = (char)(bytes[at] ^ 1 << at % 8);
    }
    assert_int_equal(read_bytes(bytes, length, &head, &err), 9);
    free(bytes);
}

static void a_file_that_is_cut_or_longer_is_refused(void **state)
{
    struct pipeline_checkpoint_head head;
    struct fr_err err;
    size_t length;
    char *bytes;

    (void)state;
    write_file(9);
    bytes = take_file(&length);
    for (size_t cut = 0; cut < length; cut++)
        assert_int_equal(read_bytes(bytes, cut, &head, &err), -1);
    bytes = realloc(bytes, length + 1);
    bytes[length] = 0;
    assert_int_equal(read_bytes(bytes, length + 1, &head, &err), -1);
    free(bytes);
}

/* Without the number of a block in its hash, each of the two would be sound. */
static void blocks_that_stand_in_each_others_places_are_refused(void **state)
{
    enum { MAGIC = 8, HEAD = 12 };
    struct pipeline_checkpoint_head head;
    char *bytes, *swapped;
    size_t length, at[4] = {MAGIC}, sizes[3];
    struct fr_err err;

    (void)state;
    write_file(MANY);
    bytes = take_file(&length);
    for (int i = 0; i < 3; i++) {
        const unsigned char *block = (unsigned char *)bytes + at[i];

        sizes[i] = HEAD + (size_t)(block[0] | block[1] << 8 | block[2] << 16 | block[3] << 24);
        at[i + 1] = at[i] + sizes[i];
    }
    assert_true(at[3] < length);
    swapped = malloc(length);
    memcpy(swapped, bytes, length);
    memcpy(swapped + at[1], bytes + at[2], sizes[2]);
    memcpy(swapped + at[1] + sizes[2], bytes + at[1], sizes[1]);
    assert_int_equal(read_bytes(swapped, length, &head, &err), -1);
    free(swapped);
    free(bytes);
}

static void what_is_abandoned_leaves_nothing(void **state)
{
    struct pipeline_checkpoint_head head = head_of();
    struct pipeline_checkpoint_writer *writer;
    struct fr_err err;

    (void)state;
    assert_true(pipeline_checkpoint__create(part, &head, &writer, &err));
    pipeline_checkpoint__abandon(writer);
    assert_int_equal(access(part, F_OK), -1);
    assert_false(pipeline_checkpoint__create("/nowhere/at/all", &head, &writer, &err));
    assert_int_equal(err.code, FR_UNAVAILABLE);
    assert_true(pipeline_checkpoint__create(part, &head, &writer, &err));
    assert_false(pipeline_checkpoint__finish(writer, "/nowhere/at/all", &err));
    assert_int_equal(access(part, F_OK), -1);
}

/* With few records it is told at the end, with many before. */
static void a_full_disk_is_told_and_leaves_nothing(void **state)
{
    static const int counts[] = {1, MANY};

    (void)state;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        struct pipeline_checkpoint_head head = head_of();
        struct pipeline_checkpoint_writer *writer;
        char bytes[8 + VALUE_BYTES];
        struct fr_err err;
        bool ok = true;

        assert_int_equal(symlink("/dev/full", part), 0);
        assert_true(pipeline_checkpoint__create(part, &head, &writer, &err));
        for (int k = 0; k < counts[i] && ok; k++) {
            struct pipeline_checkpoint_record record = record_of(k, bytes);

            ok = pipeline_checkpoint__append(writer, record.key, record.value, &err);
        }
        assert_int_equal(ok, counts[i] == 1);
        if (ok)
            assert_false(pipeline_checkpoint__finish(writer, name, &err));
        else
            pipeline_checkpoint__abandon(writer);
        assert_int_equal(err.code, FR_UNAVAILABLE);
        assert_non_null(strstr(err.message, "No space left"));
        assert_int_equal(access(name, F_OK), -1);
        assert_int_equal(readlink(part, bytes, sizeof bytes), -1);
    }
}

static const char *unfit(struct pipeline_checkpoint_head head)
{
    static const struct pipeline_checkpoint_wanted wanted = {.fingerprint = 77,
                                                             .partition = 3,
                                                             .partitions = 8,
                                                             .group = "shop",
                                                             .low = 10,
                                                             .end = 1000,
                                                             .now_ms = NOW_MS,
                                                             .oldest_ms = 72 * HOUR_MS};

    return pipeline_checkpoint__unfit(&head, &wanted);
}

static void what_is_of_something_else_or_too_old_is_unfit(void **state)
{
    struct pipeline_checkpoint_head head = head_of();

    (void)state;
    assert_null(unfit(head));
    head.group = fr_slice("shops", 5);
    assert_string_equal(unfit(head), "is of another group");
    head = head_of();
    head.fingerprint++;
    assert_string_equal(unfit(head), "is of another catalogue");
    head = head_of();
    head.partition--;
    assert_non_null(strstr(unfit(head), "another partition"));
    head = head_of();
    head.partitions *= 2;
    assert_non_null(strstr(unfit(head), "another number"));
    head = head_of();
    head.next = 1001;
    assert_non_null(strstr(unfit(head), "does not go with the changelog"));
    head.next = 9;
    assert_non_null(strstr(unfit(head), "does not go with the changelog"));
    head = head_of();
    head.made_ms = NOW_MS - INT64_C(72) * HOUR_MS;
    assert_null(unfit(head));
    head.made_ms--;
    assert_non_null(strstr(unfit(head), "is too old"));
    head.made_ms = NOW_MS + HOUR_MS;
    assert_non_null(strstr(unfit(head), "is from the future"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_as_it_was),
        cmocka_unit_test(a_bit_that_is_another_is_refused_wherever_it_is),
        cmocka_unit_test(a_file_that_is_cut_or_longer_is_refused),
        cmocka_unit_test(blocks_that_stand_in_each_others_places_are_refused),
        cmocka_unit_test(what_is_abandoned_leaves_nothing),
        cmocka_unit_test(a_full_disk_is_told_and_leaves_nothing),
        cmocka_unit_test(what_is_of_something_else_or_too_old_is_unfit),
    };
    int failed;

    if (!mkdtemp(folder))
        return 1;
    snprintf(part, sizeof part, "%s/part", folder);
    snprintf(name, sizeof name, "%s/name", folder);
    failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)rmdir(folder);
    return failed;
}
