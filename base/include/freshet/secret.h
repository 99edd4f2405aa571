/*
 * A file that holds one value which others must not see: a token, a password.
 */
#ifndef FRESHET_SECRET_H
#define FRESHET_SECRET_H

#include <freshet/buffer.h>
#include <freshet/error.h>

enum { FR_SECRET_BYTES_MAX = 1 << 20 };

/*
 * Appends the file's text, without the newline at its end, to `out`. It must be a regular file that only its owner can read (FR_BAD_CONFIG
 * says which and how to mend it), is opened without waiting, and holds text in UTF-8. Any thread.
 */
FR_CHECKED bool fr_secret_read(const char *path, struct fr_buffer *out, struct fr_err *err);

#endif
