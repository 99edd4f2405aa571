/*
 * freshet manual: the page freshet(1), and which other text is asked for. Packages take them from here when they are built.
 */
#include "manual.h"

#include <freshet/text.h>

#include <string.h>

static const char *const pages[] = {"freshet.1", "freshet.yaml.5", "bash", "zsh", "fish", "configuration", NULL};
enum { PAGES = sizeof pages / sizeof *pages - 1 };

void cli_manual__roff(FILE *out, const char *text)
{
    for (const char *at = text; *at; at++) {
        if (*at == '\\')
            fputs("\\e", out);
        else if (*at == '-')
            fputs("\\-", out);
        else if ((*at == '.' || *at == '\'') && at == text)
            fprintf(out, "\\&%c", *at);
        else if (*at != '`')
            fputc(*at, out);
    }
}

static void tell_option(FILE *out, const char *name, const char *argument, const char *help)
{
    fputs(".TP\n.B \\-\\-", out);
    cli_manual__roff(out, name);
    if (argument) {
        fputs(" \\fI", out);
        cli_manual__roff(out, argument);
        fputs("\\fR", out);
    }
    fputc('\n', out);
    cli_manual__roff(out, help);
    fputc('\n', out);
}

static void tell_command(void *user, const struct cli_command *command, const struct cli_option *options,
                         const struct cli_positional *positional)
{
    FILE *out = user;

    (void)positional; /* the usage has them */
    fputs(".SS ", out);
    cli_manual__roff(out, command->name);
    fputs("\n.B freshet ", out);
    cli_manual__roff(out, command->name);
    fputc(' ', out);
    cli_manual__roff(out, command->usage);
    fputs("\n.PP\n", out);
    cli_manual__roff(out, command->line);
    fputs(".\n", out);
    for (const struct cli_option *option = options; option->name; option++)
        tell_option(out, option->name, option->argument, option->help);
}

static void print_page(FILE *out)
{
    fputs(".\\\" -*- coding: UTF-8 -*- made by freshet manual\n.TH FRESHET 1 \"\" \"Freshet " FRESHET_VERSION
          "\" \"User Commands\"\n.SH NAME\nfreshet \\- keeps the features of a live recommender fresh\n"
          ".SH SYNOPSIS\n.B freshet \\fICOMMAND\\fR [options]\n.br\n.B freshet \\fICOMMAND\\fR \\-\\-help\n.br\n"
          ".B freshet \\-\\-version\n.SH DESCRIPTION\n"
          "Freshet reads events from Kafka, keeps counters and sequences of users, items, creators, rooms and categories over\n"
          "RocksDB, and answers rankers within milliseconds. One program is the node and all of its tools.\n"
          ".SH COMMANDS\n",
          out);
    cli_commands__tell(&(struct cli_teller){.tell = tell_command, .user = out});
    fputs(".SH EXIT STATUS\n0 success, 1 failure, 2 usage. Errors and logs are on stderr.\n"
          ".SH ENVIRONMENT\n"
          ".TP\n.B FRESHET_API\nthe node that is asked, HOST:PORT; \\-\\-api goes first\n"
          ".TP\n.B FRESHET_OPERATIONS\nits operations port, for status \\-\\-watch\n"
          ".TP\n.B FRESHET_TLS_CA\\fR, \\fBFRESHET_TLS_CERT\\fR, \\fBFRESHET_TLS_KEY\nas the options of these names\n"
          ".TP\n.B FRESHET_TOKEN_FILE\\fR, \\fBFRESHET_TOKEN\na file with the bearer token, or the token\n"
          ".SH FILES\n"
          ".TP\n.I /etc/freshet/freshet.yaml\nthe configuration of the node that the package starts\n"
          ".TP\n.I /var/lib/freshet\nits state\n"
          ".SH SEE ALSO\n.BR freshet.yaml (5)\n",
          out);
}

static bool print(FILE *out, int page)
{
    if (page == 0)
        print_page(out);
    else if (page == 1)
        cli_manual__yaml(out);
    else if (page == PAGES - 1)
        cli_manual__configuration(out);
    else
        cli_completion__print(out, pages[page]);
    return fflush(out) == 0;
}

int cli_manual__main(const struct cli_command *command, int argc, char **argv)
{
    struct cli_positional page = {.name = "PAGE", .words = pages, .is_required = true};
    const struct cli_option options[] = {{0}};
    int result = cli_options__read(command, options, &page, argc, argv);
    const char *nearest;

    if (result >= 0)
        return result;
    for (int i = 0; i < PAGES; i++) {
        if (strcmp(pages[i], page.value) == 0)
            return print(stdout, i) ? CLI_OK : CLI_FAILURE;
    }
    nearest = fr_text_nearest(fr_slice_of(page.value), pages, PAGES);
    return cli_command__say(command, CLI_USAGE, "no page '%s'%s%s; use %s", page.value, nearest ? "; did you mean " : "",
                            nearest ? nearest : "", command->usage);
}
