/*
 * Options of a command: one table says name, kind, help and where the value goes; reading, --help, the manual page and
 * completion follow it.
 */
#include "internal.h"

#include <freshet/text.h>

#include <assert.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_HELP = 256 }; /* then one number for each option */

static int options_count(const struct cli_option *options)
{
    int count = 0;

    while (options[count].name)
        count++;
    assert(count < CLI_OPTIONS_MAX);
    return count;
}

static int print_help(const struct cli_command *command, const struct cli_option *options)
{
    printf("freshet %s: %s\n\nusage: freshet %s %s\n\n", command->name, command->line, command->name, command->usage);
    for (const struct cli_option *option = options; option->name; option++) {
        char left[64];

        snprintf(left, sizeof left, "--%s%s%s", option->name, option->argument ? " " : "",
                 option->argument ? option->argument : "");
        printf("  %-24s %s\n", left, option->help);
    }
    printf("  %-24s %s\n", "--help", "this");
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
}

static int unknown(const struct cli_command *command, const struct cli_option *options, const char *given)
{
    const char *names[CLI_OPTIONS_MAX];
    const char *nearest;
    int count = 0;
    size_t length = strcspn(given, "=");

    for (; options[count].name; count++)
        names[count] = options[count].name;
    names[count++] = "help";
    if (strncmp(given, "--", 2) != 0)
        return cli_command__say(command, CLI_USAGE, "unknown option '%s'; freshet %s --help lists them", given, command->name);
    nearest = fr_text_nearest(fr_slice(given + 2, length - 2), names, count);
    return cli_command__say(command, CLI_USAGE, "unknown option '%.*s'; %s%s", (int)length, given,
                            nearest ? "did you mean --" : "--help lists them", nearest ? nearest : "");
}

static bool read_value(const struct cli_option *option, const char *text, struct fr_err *err)
{
    struct cli_texts *texts = option->value;

    switch (option->kind) {
    case CLI_OPTION_FLAG:
        *(bool *)option->value = true;
        return true;
    case CLI_OPTION_TEXT:
        *(const char **)option->value = text;
        return true;
    case CLI_OPTION_TEXTS:
        if (texts->count == CLI_TEXTS_MAX)
            return fr_fail(err, FR_BAD_CONFIG, "--%s is given more than %d times", option->name, CLI_TEXTS_MAX);
        texts->values[texts->count++] = text;
        return true;
    case CLI_OPTION_NUMBER:
        if (!fr_text_uint64(fr_slice_of(text), option->value))
            return fr_fail(err, FR_BAD_CONFIG, "--%s '%s': a whole number is wanted", option->name, text);
        return true;
    case CLI_OPTION_TIME:
        if (!fr_text_int64(fr_slice_of(text), option->value) && !cli_time__iso(fr_slice_of(text), option->value))
            return fr_fail(err, FR_BAD_CONFIG, "--%s '%s': Unix milliseconds or 2019-10-01T00:00:00Z is wanted", option->name,
                           text);
        return true;
    }
    return true;
}

static int read_positional(const struct cli_command *command, struct cli_positional *positional, int argc, char **argv)
{
    int taken = 0;

    for (; positional && positional->name; positional = positional->next) {
        if (positional->is_many) {
            positional->values = argv + optind + taken;
            positional->value_count = argc - optind - taken;
            taken += positional->value_count;
        } else if (optind + taken < argc) {
            positional->value = argv[optind + taken++];
        } else if (positional->is_required) {
            return cli_command__say(command, CLI_USAGE, "%s is missing; usage: freshet %s %s", positional->name, command->name,
                                    command->usage);
        }
    }
    if (optind + taken < argc)
        return cli_command__say(command, CLI_USAGE, "unexpected '%s'; usage: freshet %s %s", argv[optind + taken],
                                command->name, command->usage);
    return -1;
}

int cli_options__read(const struct cli_command *command, const struct cli_option *options, struct cli_positional *positional,
                      int argc, char **argv)
{
    struct option table[CLI_OPTIONS_MAX + 1] = {0};
    struct cli_positional none = {0};
    int count = options_count(options);
    struct fr_err err;
    int found;

    if (command->teller) {
        command->teller->tell(command->teller->user, command, options, positional);
        return CLI_OK;
    }
    for (int i = 0; i < count; i++)
        table[i] = (struct option){options[i].name, options[i].kind == CLI_OPTION_FLAG ? no_argument : required_argument, NULL,
                                   OPTION_HELP + 1 + i};
    table[count] = (struct option){"help", no_argument, NULL, OPTION_HELP};
    opterr = 0;
    optind = 0; /* GNU: start anew, also after another scan */
    while ((found = getopt_long(argc, argv, ":h", table, NULL)) != -1) {
        if (found == OPTION_HELP || found == 'h')
            return print_help(command, options);
        if (found == ':')
            return cli_command__say(command, CLI_USAGE, "option '%s' wants a value", argv[optind - 1]);
        if (found == '?' && optopt > OPTION_HELP)
            return cli_command__say(command, CLI_USAGE, "option '%s' takes no value", argv[optind - 1]);
        if (found == '?')
            return unknown(command, options, argv[optind - 1]);
        if (!read_value(&options[found - OPTION_HELP - 1], optarg, &err))
            return cli_command__fail(command, &err);
    }
    return read_positional(command, positional ? positional : &none, argc, argv);
}
