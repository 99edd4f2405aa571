/*
 * How a command says that it failed: one line on stderr, and the exit code.
 */
#include "internal.h"

#include <stdarg.h>

int cli_command__fail(const struct cli_command *command, const struct fr_err *err)
{
    return cli_command__say(command, err->code == FR_BAD_CONFIG ? CLI_USAGE : CLI_FAILURE, "%s", err->message);
}

int cli_command__say(const struct cli_command *command, int exit_code, const char *format, ...)
{
    va_list arguments;

    fflush(stdout);
    fprintf(stderr, "freshet %s: ", command->name);
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    return exit_code;
}
