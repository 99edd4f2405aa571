/*
 * The bytes of a file or of stdin, unpacked on the way when they begin as gzip or zstd do. Streaming: memory does not grow with
 * the file. A compressed file that ends in the middle is an error, never a shorter file.
 */
#include "internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

enum { INPUT_BYTES = 1 << 17 };

enum input_kind { INPUT_PLAIN, INPUT_GZIP, INPUT_ZSTD };

struct cli_input {
    const char *name;
    int fd;
    enum input_kind kind;
    int64_t size_bytes;
    uint64_t read_bytes; /* from the file, packed */
    bool is_ended; /* nothing more to read */
    bool is_inside; /* in the middle of a compressed frame */
    z_stream gzip;
    ZSTD_DStream *zstd;
    size_t start, end; /* of what is not yet taken from `bytes` */
    uint8_t bytes[INPUT_BYTES];
};

/* Reads until there is something, `least` bytes of it where the file has so many. */
static bool input_fill(struct cli_input *input, size_t least, struct fr_err *err)
{
    if (input->start == input->end)
        input->start = input->end = 0;
    while (!input->is_ended && input->end - input->start < least) {
        ssize_t got = read(input->fd, input->bytes + input->end, INPUT_BYTES - input->end);

        if (got < 0 && errno == EINTR && !cli_signals__is_stopped())
            continue;
        if (got < 0 && errno == EINTR)
            return fr_fail(err, FR_CANCELLED, "%s: stopped by a signal", input->name);
        if (got < 0)
            return fr_fail(err, FR_BAD_INPUT, "%s: cannot read: %s", input->name, strerror(errno));
        input->is_ended = got == 0;
        input->end += (size_t)got;
        input->read_bytes += (uint64_t)got;
    }
    return true;
}

static bool input_recognise(struct cli_input *input, struct fr_err *err)
{
    static const uint8_t zstd_magic[] = {0x28, 0xb5, 0x2f, 0xfd};
    size_t length;

    if (!input_fill(input, sizeof zstd_magic, err))
        return false;
    length = input->end - input->start;
    if (length >= 2 && input->bytes[0] == 0x1f && input->bytes[1] == 0x8b) {
        input->kind = INPUT_GZIP;
        if (inflateInit2(&input->gzip, 15 + 16) != Z_OK)
            return fr_fail(err, FR_EXHAUSTED, "%s: out of memory", input->name);
    } else if (length >= 4 && memcmp(input->bytes, zstd_magic, sizeof zstd_magic) == 0) {
        input->kind = INPUT_ZSTD;
        input->zstd = ZSTD_createDStream();
        if (!input->zstd)
            return fr_fail(err, FR_EXHAUSTED, "%s: out of memory", input->name);
    }
    return true;
}

bool cli_input__open(const char *path, struct cli_input **ret, struct fr_err *err)
{
    bool is_stdin = strcmp(path, "-") == 0;
    int fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    struct cli_input *input;
    struct stat status;

    if (fd < 0)
        return fr_fail(err, FR_BAD_INPUT, "%s: cannot open: %s", path, strerror(errno));
    if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
        close(fd);
        return fr_fail(err, FR_BAD_INPUT, "%s: is a directory; name a file", path);
    }
    input = calloc(1, sizeof *input);
    if (!input) {
        close(fd);
        return fr_fail(err, FR_EXHAUSTED, "%s: out of memory", path);
    }
    input->name = is_stdin ? "stdin" : path;
    input->fd = fd;
    input->size_bytes = S_ISREG(status.st_mode) ? (int64_t)status.st_size : -1;
    if (!input_recognise(input, err)) {
        cli_input__close(input);
        return false;
    }
    *ret = input;
    return true;
}

void cli_input__close(struct cli_input *input)
{
    if (!input)
        return;
    if (input->kind == INPUT_GZIP)
        inflateEnd(&input->gzip);
    ZSTD_freeDStream(input->zstd);
    close(input->fd);
    free(input);
}

/* One step of inflate; files of several members (bgzip, cat a.gz b.gz) go on where one ends. */
static bool gzip_step(struct cli_input *input, uint8_t *out, size_t capacity, size_t *length, struct fr_err *err)
{
    z_stream *gzip = &input->gzip;
    int result;

    if (!input->is_inside && inflateReset(gzip) != Z_OK)
        return fr_fail(err, FR_BAD_INPUT, "%s: cannot start to unpack", input->name);
    gzip->next_in = input->bytes + input->start;
    gzip->avail_in = (uInt)(input->end - input->start);
    gzip->next_out = out;
    gzip->avail_out = (uInt)(capacity > INPUT_BYTES ? INPUT_BYTES : capacity);
    *length = gzip->avail_out;
    result = inflate(gzip, Z_NO_FLUSH);
    *length -= gzip->avail_out;
    input->start = input->end - gzip->avail_in;
    input->is_inside = result != Z_STREAM_END;
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR)
        return fr_fail(err, FR_BAD_INPUT, "%s: broken gzip at byte %llu: %s", input->name,
                       (unsigned long long)(input->read_bytes - (input->end - input->start)),
                       gzip->msg ? gzip->msg : "unexpected data");
    return true;
}

static bool zstd_step(struct cli_input *input, uint8_t *out, size_t capacity, size_t *length, struct fr_err *err)
{
    ZSTD_inBuffer from = {input->bytes + input->start, input->end - input->start, 0};
    ZSTD_outBuffer to = {out, capacity, 0};
    size_t result = ZSTD_decompressStream(input->zstd, &to, &from);

    input->start += from.pos;
    *length = to.pos;
    if (ZSTD_isError(result))
        return fr_fail(err, FR_BAD_INPUT, "%s: broken zstd at byte %llu: %s", input->name,
                       (unsigned long long)(input->read_bytes - (input->end - input->start)), ZSTD_getErrorName(result));
    input->is_inside = result != 0;
    return true;
}

static bool plain_step(struct cli_input *input, uint8_t *out, size_t capacity, size_t *length)
{
    size_t ready = input->end - input->start;

    *length = ready < capacity ? ready : capacity;
    memcpy(out, input->bytes + input->start, *length);
    input->start += *length;
    return true;
}

bool cli_input__read(struct cli_input *input, void *out, size_t capacity, size_t *length, struct fr_err *err)
{
    for (*length = 0; *length == 0;) {
        bool is_good;

        if (!input_fill(input, 1, err))
            return false;
        if (input->start == input->end && !input->is_inside)
            return true;
        if (input->kind == INPUT_PLAIN)
            is_good = plain_step(input, out, capacity, length);
        else if (input->kind == INPUT_GZIP)
            is_good = gzip_step(input, out, capacity, length, err);
        else
            is_good = zstd_step(input, out, capacity, length, err);
        if (!is_good)
            return false;
        if (*length == 0 && input->is_inside && input->is_ended && input->start == input->end)
            return fr_fail(err, FR_BAD_INPUT, "%s: ends in the middle of its compressed data; it was cut", input->name);
    }
    return true;
}

uint64_t cli_input__at(const struct cli_input *input)
{
    return input->read_bytes - (input->end - input->start);
}

int64_t cli_input__size(const struct cli_input *input)
{
    return input->size_bytes;
}
