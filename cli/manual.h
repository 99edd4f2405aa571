/*
 * The manual: what `freshet manual` prints, all of it from the tables that --help and the readers of the configuration follow.
 */
#ifndef FRESHET_CLI_MANUAL_H
#define FRESHET_CLI_MANUAL_H

#include "internal.h"

/* Text for a page of man(1): what it would take as its own is escaped, backquotes go. */
void cli_manual__roff(FILE *out, const char *text);

/* manual_settings.c: freshet.yaml(5), and the reference part of docs/configuration.md. */
void cli_manual__yaml(FILE *out);
void cli_manual__configuration(FILE *out);

/* completion.c: for `shell`, one of bash, zsh, fish. */
void cli_completion__print(FILE *out, const char *shell);

#endif
