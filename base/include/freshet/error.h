/*
 * Errors are values. A function that can fail returns bool, takes `struct fr_err *err` last and writes it only on
 * failure. The code says what the caller should do; the message says what, where and how to mend it. Thread: any.
 */
#ifndef FRESHET_ERROR_H
#define FRESHET_ERROR_H

#include <stdbool.h>
#include <stdint.h>

#define FR_CHECKED __attribute__((warn_unused_result))
#define FR_PRINTF(text, first) __attribute__((__format__(__printf__, text, first)))

enum { FR_MESSAGE_BYTES = 512 };

enum fr_code {
    FR_BAD_INPUT = 1, /* refuse it and count it */
    FR_BAD_CONFIG, /* stop at start */
    FR_PRECONDITION, /* the request is well formed but cannot be answered in this state */
    FR_UNAVAILABLE, /* retry with backoff */
    FR_EXHAUSTED, /* slow the source down */
    FR_DEADLINE, /* the caller's time is up */
    FR_CORRUPT, /* quarantine it and keep the bytes */
    FR_UNAUTHENTICATED, /* no or a wrong credential */
    FR_DENIED, /* a known principal without the right */
    FR_UNIMPLEMENTED, /* no such method, encoding or kind here */
    FR_CANCELLED, /* the caller went away */
};

struct fr_err {
    enum fr_code code;
    char message[FR_MESSAGE_BYTES];
};

/* Fills `err` (cut at FR_MESSAGE_BYTES, always terminated) and returns false, so that a failure is one statement. */
bool fr_fail(struct fr_err *err, enum fr_code code, const char *format, ...) FR_PRINTF(3, 4);

/* Puts "prefix: " before the message of an error that is passed up, keeps its code and returns false. */
bool fr_fail_in(struct fr_err *err, const char *format, ...) FR_PRINTF(2, 3);

/* Cuts the message where it begins to quote `secret`, whole or its first bytes. */
void fr_err_hide(struct fr_err *err, const char *secret);

/* "bad_input", "unavailable" …: the code as logs and metrics name it. Static memory. */
const char *fr_code_name(enum fr_code code);

#endif
