/*
 * What text in configuration, CSV and requests means: spans, sizes, ids, numbers and the nearest known name. Thread: any.
 */
#ifndef FRESHET_TEXT_H
#define FRESHET_TEXT_H

#include <freshet/error.h>
#include <freshet/slice.h>

/* "250ms", "10s", "1.5h", "24h", "7d" → ms; "0" → 0. False for anything else, a negative or an overflow. */
FR_CHECKED bool fr_text_span(struct fr_slice text, int64_t *ms);

/* Writes a span in its largest exact unit, "5m"; at most 24 bytes. */
void fr_text_span_print(int64_t ms, char out[24]);

/* "1024", "64KiB", "256MiB", "1GiB", "10TiB", also "kB MB GB" (powers of 1,000) → bytes. */
FR_CHECKED bool fr_text_size(struct fr_slice text, uint64_t *bytes);

/*
 * All of `text` as a decimal integer, an unsigned one, or a finite or non-finite double (as strtod in the C locale; no hex, no
 * spaces, at most 1,100 characters). A refusal writes nothing.
 */
FR_CHECKED bool fr_text_int64(struct fr_slice text, int64_t *value);
FR_CHECKED bool fr_text_uint64(struct fr_slice text, uint64_t *value);
FR_CHECKED bool fr_text_double(struct fr_slice text, double *value);

/*
 * An id given as a string: `0|[1-9][0-9]*` that fits 64 bits is that number; any other non-empty string is XXH64 of its bytes,
 * seed 0, with 0 replaced by 1; the empty string is 0 (absent).
 */
uint64_t fr_text_id(struct fr_slice text);

/* XXH64 with `seed`. */
uint64_t fr_text_hash(const void *bytes, size_t length, uint64_t seed);

/* Java's murmur2 as Kafka's clients have it, made positive: modulo the partitions it is where a key goes. */
uint32_t fr_text_murmur2(struct fr_slice key);

/* True for well-formed UTF-8 (no surrogates, no overlong forms). */
bool fr_text_is_utf8(struct fr_slice text);

/* The name of `names` nearest to `text` by edit distance, else one that begins with it; NULL when none can be meant. */
const char *fr_text_nearest(struct fr_slice text, const char *const *names, int count);

/* Equal without regard to ASCII case. */
bool fr_text_equal_nocase(struct fr_slice a, const char *b);

#endif
