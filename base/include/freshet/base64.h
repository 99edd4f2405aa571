/*
 * Base64 (RFC 4648): bytes as letters, for what has to be text. Thread: any.
 */
#ifndef FRESHET_BASE64_H
#define FRESHET_BASE64_H

#include <freshet/buffer.h>
#include <freshet/error.h>
#include <freshet/slice.h>

/* Appends `bytes` in the standard alphabet; padded to whole groups of four letters, or not. */
void fr_base64_print(struct fr_slice bytes, bool is_padded, struct fr_buffer *out);

/*
 * The bytes that `text` stands for into `out`, which has room for three for every four letters begun and may be where `text` lies.
 * In either alphabet, the standard one or the one of URLs, but not both at once; padded or not. False for anything else; then what is in
 * `out` is worth nothing. Bits behind the last whole byte are not looked at, as protobuf's own readers have it.
 */
FR_CHECKED bool fr_base64_read(struct fr_slice text, uint8_t *out, size_t *length);

#endif
