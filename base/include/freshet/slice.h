/*
 * A slice borrows bytes that somebody else owns; to keep them, copy them. Thread: any.
 */
#ifndef FRESHET_SLICE_H
#define FRESHET_SLICE_H

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

struct fr_slice {
    const void *bytes; /* may be NULL when length is 0 */
    size_t length;
};

static inline struct fr_slice fr_slice(const void *bytes, size_t length)
{
    return (struct fr_slice){.bytes = bytes, .length = length};
}

/* Of a terminated string, without its NUL. */
static inline struct fr_slice fr_slice_of(const char *text)
{
    return fr_slice(text, strlen(text));
}

static inline bool fr_slice_equal(struct fr_slice a, struct fr_slice b)
{
    return a.length == b.length && (a.length == 0 || memcmp(a.bytes, b.bytes, a.length) == 0);
}

static inline bool fr_slice_is(struct fr_slice a, const char *text)
{
    return fr_slice_equal(a, fr_slice_of(text));
}

#endif
