#include <freshet/secret.h>

#include <freshet/text.h>

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static bool check(const char *path, int fd, size_t *bytes, struct fr_err *err)
{
    struct stat status;

    if (fstat(fd, &status) != 0)
        return fr_fail(err, FR_BAD_CONFIG, "cannot read '%s': %s", path, strerrordesc_np(errno));
    if (!S_ISREG(status.st_mode))
        return fr_fail(err, FR_BAD_CONFIG, "'%s' is not a regular file; name one", path);
    if (status.st_mode & (S_IRGRP | S_IROTH))
        return fr_fail(err, FR_BAD_CONFIG, "'%s' may be read by others; chmod 600 it", path);
    if (status.st_size > FR_SECRET_BYTES_MAX)
        return fr_fail(err, FR_BAD_CONFIG, "'%s' has more than %d bytes; name a file with one value", path,
                       FR_SECRET_BYTES_MAX);
    *bytes = (size_t)status.st_size;
    return true;
}

static bool read_all(const char *path, int fd, size_t bytes, struct fr_buffer *out, struct fr_err *err)
{
    size_t before = out->length;
    ssize_t got;

    if (!fr_buffer_reserve(out, bytes + 1))
        return fr_fail(err, FR_EXHAUSTED, "out of memory for '%s'", path);
    do {
        got = read(fd, out->bytes + out->length, before + bytes - out->length);
        if (got < 0 && errno != EINTR)
            return fr_fail(err, FR_BAD_CONFIG, "cannot read '%s': %s", path, strerrordesc_np(errno));
        out->length += got > 0 ? (size_t)got : 0;
    } while (got != 0);
    if (out->length > before && out->bytes[out->length - 1] == '\n')
        out->length--;
    if (out->length > before && out->bytes[out->length - 1] == '\r')
        out->length--;
    if (memchr(out->bytes + before, '\0', out->length - before) ||
        !fr_text_is_utf8(fr_slice(out->bytes + before, out->length - before)))
        return fr_fail(err, FR_BAD_CONFIG, "'%s' is not text in UTF-8; name a text file", path);
    return true;
}

bool fr_secret_read(const char *path, struct fr_buffer *out, struct fr_err *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    size_t bytes = 0;
    bool is_read;

    if (fd < 0)
        return fr_fail(err, FR_BAD_CONFIG, "cannot open '%s': %s; name a file that can be read", path, strerrordesc_np(errno));
    is_read = check(path, fd, &bytes, err) && read_all(path, fd, bytes, out, err);
    close(fd);
    return is_read;
}
