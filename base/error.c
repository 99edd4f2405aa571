/*
 * Errors as values. The message is written aside first, so that the old message may be an argument of the new one.
 */
#include <freshet/error.h>

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

bool fr_fail(struct fr_err *err, enum fr_code code, const char *format, ...)
{
    char message[FR_MESSAGE_BYTES];
    va_list args;

    va_start(args, format);
    vsnprintf(message, sizeof(message), format, args);
    va_end(args);

    err->code = code;
    memcpy(err->message, message, strlen(message) + 1);
    return false;
}

bool fr_fail_in(struct fr_err *err, const char *format, ...)
{
    char message[2 * FR_MESSAGE_BYTES];
    va_list args;
    size_t length;

    va_start(args, format);
    vsnprintf(message, FR_MESSAGE_BYTES, format, args);
    va_end(args);

    length = strlen(message);
    snprintf(message + length, sizeof(message) - length, ": %s", err->message);
    message[FR_MESSAGE_BYTES - 1] = '\0';
    memcpy(err->message, message, strlen(message) + 1);
    return false;
}

void fr_err_hide(struct fr_err *err, const char *secret)
{
    char head[7]; /* enough to find it where a message was cut within it */
    char *at;

    snprintf(head, sizeof(head), "%s", secret);
    at = head[0] ? strstr(err->message, head) : NULL;
    if (at)
        snprintf(at, sizeof(err->message) - (size_t)(at - err->message), "…");
}

const char *fr_code_name(enum fr_code code)
{
    switch (code) {
    case FR_BAD_INPUT:
        return "bad_input";
    case FR_BAD_CONFIG:
        return "bad_config";
    case FR_PRECONDITION:
        return "precondition";
    case FR_UNAVAILABLE:
        return "unavailable";
    case FR_EXHAUSTED:
        return "exhausted";
    case FR_DEADLINE:
        return "deadline";
    case FR_CORRUPT:
        return "corrupt";
    case FR_UNAUTHENTICATED:
        return "unauthenticated";
    case FR_DENIED:
        return "denied";
    case FR_UNIMPLEMENTED:
        return "unimplemented";
    case FR_CANCELLED:
        return "cancelled";
    }
    return "unknown";
}
