/* Checkpoints as files: see checkpoint.h. */
#include "checkpoint.h"

#include <freshet/text.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    MAGIC_BYTES = 8,
    BLOCK_HEAD_BYTES = 4 + 8,
    END_BYTES = BLOCK_HEAD_BYTES + 8 + 8,
    BLOCK_BYTES = 64 << 10, /* a block is full then; one for each partition is held */
    BLOCK_BYTES_MAX = 256 << 20, /* no part of an entity is so large */
    AHEAD_MS = 600000 /* so far clocks may differ */
};

static const char magic[MAGIC_BYTES] = {'F', 'R', 'S', 'H', 'T', 'C', 'P', '\n'};

/* ---- writing ---- */

struct pipeline_checkpoint_writer {
    char path[PATH_MAX];
    FILE *file;
    struct fr_buffer block;
    uint64_t blocks, records, bytes;
};

static bool fail_write(const struct pipeline_checkpoint_writer *writer, struct fr_err *err)
{
    return fr_fail(err, FR_UNAVAILABLE, "cluster: cannot write '%s': %s", writer->path, strerror(errno));
}

static bool put(struct pipeline_checkpoint_writer *writer, const void *bytes, size_t length, struct fr_err *err)
{
    writer->bytes += length;
    return length == 0 || fwrite(bytes, length, 1, writer->file) == 1 || fail_write(writer, err);
}

/* Its length and hash, and itself. */
static bool put_block(struct pipeline_checkpoint_writer *writer, struct fr_err *err)
{
    struct fr_slice block = fr_buffer_slice(&writer->block);
    uint64_t hash = fr_text_hash(block.bytes, block.length, writer->blocks);
    uint8_t head[BLOCK_HEAD_BYTES];

    if (writer->block.is_failed || block.length > BLOCK_BYTES_MAX)
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for a checkpoint, or a record of it is too large");
    for (int i = 0; i < 4; i++)
        head[i] = (uint8_t)(block.length >> 8 * i);
    for (int i = 0; i < 8; i++)
        head[4 + i] = (uint8_t)(hash >> 8 * i);
    writer->blocks++;
    if (!put(writer, head, sizeof head, err) || !put(writer, block.bytes, block.length, err))
        return false;
    fr_buffer_clear(&writer->block);
    return true;
}

static void append_slice(struct fr_buffer *block, struct fr_slice slice)
{
    fr_buffer_append_varint(block, slice.length);
    fr_buffer_append(block, slice.bytes, slice.length);
}

static bool put_head(struct pipeline_checkpoint_writer *writer, const struct pipeline_checkpoint_head *head, struct fr_err *err)
{
    fr_buffer_append_varint(&writer->block, PIPELINE_CHECKPOINT_VERSION);
    fr_buffer_append_fixed64(&writer->block, head->fingerprint);
    fr_buffer_append_varint(&writer->block, head->partition);
    fr_buffer_append_varint(&writer->block, head->partitions);
    fr_buffer_append_zigzag(&writer->block, head->next);
    fr_buffer_append_zigzag(&writer->block, head->made_ms);
    append_slice(&writer->block, head->group);
    append_slice(&writer->block, head->marker);
    return put(writer, magic, sizeof magic, err) && put_block(writer, err);
}

bool pipeline_checkpoint__create(const char *path, const struct pipeline_checkpoint_head *head,
                                 struct pipeline_checkpoint_writer **ret, struct fr_err *err)
{
    struct pipeline_checkpoint_writer *writer = calloc(1, sizeof *writer);

    if (!writer)
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for a checkpoint");
    snprintf(writer->path, sizeof writer->path, "%s", path);
    fr_buffer_init(&writer->block);
    writer->file = fopen(path, "wbe");
    if (writer->file ? put_head(writer, head, err) : fail_write(writer, err)) {
        *ret = writer;
        return true;
    }
    pipeline_checkpoint__abandon(writer);
    return false;
}

bool pipeline_checkpoint__append(struct pipeline_checkpoint_writer *writer, struct fr_slice key, struct fr_slice value,
                                 struct fr_err *err)
{
    append_slice(&writer->block, key);
    append_slice(&writer->block, value);
    writer->records++;
    return writer->block.length < BLOCK_BYTES || put_block(writer, err);
}

uint64_t pipeline_checkpoint__bytes(const struct pipeline_checkpoint_writer *writer)
{
    return writer->bytes + writer->block.length;
}

static uint64_t end_hash(uint64_t blocks, uint64_t records)
{
    uint64_t numbers[] = {blocks, records};

    return fr_text_hash(numbers, sizeof numbers, blocks);
}

static bool put_end(struct pipeline_checkpoint_writer *writer, struct fr_err *err)
{
    if (writer->block.length > 0 && !put_block(writer, err))
        return false;
    for (int i = 0; i < 4; i++)
        fr_buffer_append_byte(&writer->block, 0);
    fr_buffer_append_fixed64(&writer->block, end_hash(writer->blocks, writer->records));
    fr_buffer_append_fixed64(&writer->block, writer->blocks);
    fr_buffer_append_fixed64(&writer->block, writer->records);
    if (writer->block.is_failed)
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for a checkpoint");
    return put(writer, writer->block.bytes, writer->block.length, err);
}

/* The name is worth something once the directory is on the disk, too. Where a file system does not do that, its own word counts. */
static void sync_directory(const char *name)
{
    char path[PATH_MAX];
    int fd;

    snprintf(path, sizeof path, "%s", name);
    fd = open(dirname(path), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return;
    (void)fsync(fd);
    (void)close(fd);
}

bool pipeline_checkpoint__finish(struct pipeline_checkpoint_writer *writer, const char *name, struct fr_err *err)
{
    bool ok = put_end(writer, err);

    ok = ok && ((fflush(writer->file) == 0 && fsync(fileno(writer->file)) == 0) || fail_write(writer, err));
    if (fclose(writer->file) != 0 && ok)
        ok = fail_write(writer, err);
    writer->file = NULL;
    if (!ok || rename(writer->path, name) != 0) {
        ok = ok ? fail_write(writer, err) : false;
        pipeline_checkpoint__abandon(writer);
        return ok;
    }
    sync_directory(name);
    fr_buffer_fini(&writer->block);
    free(writer);
    return true;
}

void pipeline_checkpoint__abandon(struct pipeline_checkpoint_writer *writer)
{
    if (!writer)
        return;
    if (writer->file)
        (void)fclose(writer->file);
    (void)unlink(writer->path);
    fr_buffer_fini(&writer->block);
    free(writer);
}

/* ---- reading ---- */

struct pipeline_checkpoint_reader {
    FILE *file;
    const char *name;
    struct fr_buffer block, head;
    struct fr_reader at; /* in the block */
    uint64_t blocks, records; /* so far */
    uint64_t all_blocks, all_records;
};

static bool fail_corrupt(const char *name, const char *why, struct fr_err *err)
{
    return fr_fail(err, FR_CORRUPT, "cluster: the checkpoint '%s' %s", name, why);
}

/* The end tells how much there is to be. */
static bool read_end(struct pipeline_checkpoint_reader *reader, struct fr_err *err)
{
    uint8_t bytes[END_BYTES];
    struct fr_reader end;
    uint64_t hash;

    if (fseek(reader->file, -(long)END_BYTES, SEEK_END) != 0 || fread(bytes, sizeof bytes, 1, reader->file) != 1 ||
        fseek(reader->file, 0, SEEK_SET) != 0)
        return fail_corrupt(reader->name, "is not whole", err);
    end = fr_reader(fr_slice(bytes, sizeof bytes));
    (void)fr_reader_bytes(&end, 4);
    hash = fr_reader_fixed64(&end);
    reader->all_blocks = fr_reader_fixed64(&end);
    reader->all_records = fr_reader_fixed64(&end);
    return (bytes[0] | bytes[1] | bytes[2] | bytes[3]) == 0 && hash == end_hash(reader->all_blocks, reader->all_records)
               ? true
               : fail_corrupt(reader->name, "is not whole", err);
}

/* In pieces, so that a length that is wrong does not cost memory that the file has no bytes for. */
static bool read_bytes(struct pipeline_checkpoint_reader *reader, size_t length)
{
    while (length > 0) {
        size_t piece = length < BLOCK_BYTES ? length : BLOCK_BYTES;
        uint8_t *to = fr_buffer_reserve(&reader->block, piece);

        if (!to || fread(to, piece, 1, reader->file) != 1)
            return false;
        reader->block.length += piece;
        length -= piece;
    }
    return true;
}

static bool read_block(struct pipeline_checkpoint_reader *reader, struct fr_err *err)
{
    uint8_t head[BLOCK_HEAD_BYTES];
    uint64_t hash = 0;
    size_t length = 0;

    fr_buffer_clear(&reader->block);
    if (fread(head, sizeof head, 1, reader->file) != 1)
        return fail_corrupt(reader->name, "ends too early", err);
    for (int i = 3; i >= 0; i--)
        length = length << 8 | head[i];
    for (int i = 7; i >= 0; i--)
        hash = hash << 8 | head[4 + i];
    if (length == 0 || length > BLOCK_BYTES_MAX || !read_bytes(reader, length)) {
        if (reader->block.is_failed)
            return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for a checkpoint");
        return fail_corrupt(reader->name, "ends too early, or has a length that makes no sense", err);
    }
    if (fr_text_hash(reader->block.bytes, reader->block.length, reader->blocks) != hash)
        return fail_corrupt(reader->name, "has a block with a wrong checksum", err);
    reader->blocks++;
    reader->at = fr_reader(fr_buffer_slice(&reader->block));
    return true;
}

static struct fr_slice read_slice(struct fr_reader *reader)
{
    return fr_reader_bytes(reader, fr_reader_varint(reader));
}

static bool read_head(struct pipeline_checkpoint_reader *reader, struct pipeline_checkpoint_head *head, struct fr_err *err)
{
    char first[MAGIC_BYTES];
    struct fr_buffer block;
    uint64_t version;

    if (fread(first, sizeof first, 1, reader->file) != 1 || memcmp(first, magic, sizeof magic) != 0)
        return fail_corrupt(reader->name, "is none: it begins otherwise", err);
    if (!read_block(reader, err))
        return false;
    block = reader->head; /* the head stays, as the block of all others is used again */
    reader->head = reader->block;
    reader->block = block;
    version = fr_reader_varint(&reader->at);
    *head = (struct pipeline_checkpoint_head){.fingerprint = fr_reader_fixed64(&reader->at)};
    head->partition = fr_reader_varint(&reader->at);
    head->partitions = fr_reader_varint(&reader->at);
    head->next = fr_reader_zigzag(&reader->at);
    head->made_ms = fr_reader_zigzag(&reader->at);
    head->group = read_slice(&reader->at);
    head->marker = read_slice(&reader->at);
    if (version != PIPELINE_CHECKPOINT_VERSION)
        return fail_corrupt(reader->name, "is of another version of freshet", err);
    return (!reader->at.is_failed && reader->at.at == reader->at.end) ||
           fail_corrupt(reader->name, "has a head that makes no sense", err);
}

bool pipeline_checkpoint__open(FILE *file, const char *name, struct pipeline_checkpoint_head *head,
                               struct pipeline_checkpoint_reader **ret, struct fr_err *err)
{
    struct pipeline_checkpoint_reader *reader = calloc(1, sizeof *reader);

    if (!reader) {
        (void)fclose(file);
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for a checkpoint");
    }
    reader->file = file;
    reader->name = name;
    fr_buffer_init(&reader->block);
    fr_buffer_init(&reader->head);
    if (read_end(reader, err) && read_head(reader, head, err)) {
        *ret = reader;
        return true;
    }
    pipeline_checkpoint__close(reader);
    return false;
}

/* Behind the last block: just what the end says. */
static bool check_end(struct pipeline_checkpoint_reader *reader, struct fr_err *err)
{
    uint8_t bytes[END_BYTES + 1];

    return (fread(bytes, 1, sizeof bytes, reader->file) == END_BYTES && reader->records == reader->all_records) ||
           fail_corrupt(reader->name, "has more or less in it than its end says", err);
}

int pipeline_checkpoint__read(struct pipeline_checkpoint_reader *reader, struct pipeline_checkpoint_record *records,
                              struct fr_err *err)
{
    int count = 0;

    if (reader->at.at == reader->at.end) {
        if (reader->blocks == reader->all_blocks)
            return check_end(reader, err) ? 0 : -1;
        if (!read_block(reader, err))
            return -1;
    }
    while (count < PIPELINE_CHECKPOINT_RECORDS && reader->at.at < reader->at.end && !reader->at.is_failed) {
        records[count].key = read_slice(&reader->at);
        records[count++].value = read_slice(&reader->at);
    }
    reader->records += (uint64_t)count;
    if (!reader->at.is_failed)
        return count;
    (void)fail_corrupt(reader->name, "has records that make no sense", err);
    return -1;
}

void pipeline_checkpoint__close(struct pipeline_checkpoint_reader *reader)
{
    if (!reader)
        return;
    (void)fclose(reader->file);
    fr_buffer_fini(&reader->block);
    fr_buffer_fini(&reader->head);
    free(reader);
}

/* ---- whether it may be used ---- */

const char *pipeline_checkpoint__unfit(const struct pipeline_checkpoint_head *head,
                                       const struct pipeline_checkpoint_wanted *wanted)
{
    if (!fr_slice_is(head->group, wanted->group))
        return "is of another group";
    if (head->fingerprint != wanted->fingerprint)
        return "is of another catalogue";
    if (head->partition != wanted->partition || head->partitions != wanted->partitions)
        return "is of another partition, or of another number of them";
    if (head->next < wanted->low || head->next > wanted->end)
        return "does not go with the changelog, which begins later or ends earlier";
    if (head->made_ms < wanted->now_ms - wanted->oldest_ms)
        return "is too old: deletes that came after it may be gone from the changelog";
    if (head->made_ms > wanted->now_ms + AHEAD_MS)
        return "is from the future, so nobody can say how old it is; set the clocks";
    return NULL;
}
