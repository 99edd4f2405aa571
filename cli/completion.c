/*
 * Completion for bash, zsh and fish: commands, each one's options, what an option or an operand may be where a table says so, and files where
 * one is wanted. The scripts ask nobody: they are the tables, written down.
 */
#include "manual.h"

#include <string.h>

enum { VALUE_BYTES = 256 };

static bool is_file(const char *argument)
{
    return strncmp(argument, "FILE", 4) == 0 || strcmp(argument, "DIR") == 0 || strcmp(argument, "PATH") == 0;
}

/* "a|b|c" as "a b c"; "" when it is no choice. */
static const char *choice(const char *argument, char value[VALUE_BYTES])
{
    snprintf(value, VALUE_BYTES, "%s", strchr(argument, '|') ? argument : "");
    for (char *at = value; (at = strchr(at, '|'));)
        *at = ' ';
    return value;
}

static void print_words(FILE *out, const char *const *words)
{
    for (; words && *words; words++)
        fprintf(out, " %s", *words);
}

/* Of all operands: what one may be, and whether one is a file. */
static bool wants_file(const struct cli_positional *positional)
{
    for (; positional; positional = positional->next) {
        if (positional->name && is_file(positional->name))
            return true;
    }
    return false;
}

static void print_names(FILE *out)
{
    for (const struct cli_command *command = cli_commands; command->name; command++)
        fprintf(out, "%s ", command->name);
}

/* ---- bash ---- */

static void bash_values(void *user, const struct cli_command *command, const struct cli_option *options,
                        const struct cli_positional *positional)
{
    FILE *out = user;
    char value[VALUE_BYTES];

    (void)positional;
    for (const struct cli_option *option = options; option->name; option++) {
        if (!option->argument)
            continue;
        if (is_file(option->argument))
            fprintf(out, "        %s:--%s) mapfile -t COMPREPLY < <(compgen -f -- \"$word\") && return ;;\n", command->name,
                    option->name);
        else
            fprintf(out, "        %s:--%s) mapfile -t COMPREPLY < <(compgen -W '%s' -- \"$word\") && return ;;\n",
                    command->name, option->name, choice(option->argument, value));
    }
}

static void bash_options(void *user, const struct cli_command *command, const struct cli_option *options,
                         const struct cli_positional *positional)
{
    FILE *out = user;

    fprintf(out, "        %s) options='--help", command->name);
    for (const struct cli_option *option = options; option->name; option++)
        fprintf(out, " --%s", option->name);
    fputs("' words='", out);
    if (positional)
        print_words(out, positional->words);
    fprintf(out, "' files=%s ;;\n", wants_file(positional) ? "yes" : "no");
}

static void print_bash(FILE *out)
{
    fputs("# Completion of freshet for bash, made by `freshet manual bash`.\n_freshet()\n{\n"
          "    local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} options words files\n\n"
          "    compopt -o filenames 2>/dev/null\n    COMPREPLY=()\n    if [ \"$COMP_CWORD\" = 1 ]; then\n"
          "        mapfile -t COMPREPLY < <(compgen -W '",
          out);
    print_names(out);
    fputs("--help --version' -- \"$word\")\n        return\n    fi\n    case ${COMP_WORDS[1]}:$before in\n", out);
    cli_commands__tell(&(struct cli_teller){.tell = bash_values, .user = out});
    fputs("    esac\n    case ${COMP_WORDS[1]} in\n", out);
    cli_commands__tell(&(struct cli_teller){.tell = bash_options, .user = out});
    fputs("        *) return ;;\n    esac\n    case $word in\n"
          "    -*) mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$word\") ;;\n"
          "    *)\n        mapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$word\")\n"
          "        if [ \"$files\" = yes ]; then mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -f -- \"$word\"); fi\n"
          "        ;;\n    esac\n}\ncomplete -F _freshet freshet\n",
          out);
}

/* ---- zsh ---- */

/* Inside '[…]' of _arguments, in single quotes. */
static void print_zsh(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (*text == '\'')
            fputs("'\\''", out);
        else if (*text == '[' || *text == ']' || *text == ':')
            fprintf(out, "\\%c", *text);
        else
            fputc(*text, out);
    }
}

static void zsh_command(void *user, const struct cli_command *command, const struct cli_option *options,
                        const struct cli_positional *positional)
{
    FILE *out = user;
    char value[VALUE_BYTES];

    fprintf(out, "    %s) _arguments '--help[this]'", command->name);
    for (const struct cli_option *option = options; option->name; option++) {
        bool is_many = option->kind == CLI_OPTION_TEXTS;

        fprintf(out, " \\\n        '%s--%s[", is_many ? "*" : "", option->name);
        print_zsh(out, option->help);
        fputc(']', out);
        if (option->argument) {
            fputc(':', out);
            print_zsh(out, option->argument);
            if (is_file(option->argument))
                fputs(":_files", out);
            else if (*choice(option->argument, value))
                fprintf(out, ":(%s)", value);
            else
                fputs(": ", out);
        }
        fputc('\'', out);
    }
    for (; positional && positional->name; positional = positional->next) {
        fprintf(out, " \\\n        '%s:%s:", positional->is_many ? "*" : positional->is_required ? "" : ":", positional->name);
        if (positional->words) {
            fputc('(', out);
            print_words(out, positional->words);
            fputc(')', out);
        } else {
            fputs(is_file(positional->name) ? "_files" : " ", out);
        }
        fputc('\'', out);
    }
    fputs(" ;;\n", out);
}

static void print_zsh_script(FILE *out)
{
    fputs("#compdef freshet\n# Completion of freshet for zsh, made by `freshet manual zsh`.\nlocal -a commands=(\n", out);
    for (const struct cli_command *command = cli_commands; command->name; command++) {
        fprintf(out, "    '%s:", command->name);
        print_zsh(out, command->line);
        fputs("'\n", out);
    }
    fputs(")\nif (( CURRENT == 2 )); then\n    _describe command commands\n    _arguments '--help[this]' '--version[the "
          "version]'\n"
          "    return\nfi\nlocal name=$words[2]\nshift words\n(( CURRENT-- ))\ncase $name in\n",
          out);
    cli_commands__tell(&(struct cli_teller){.tell = zsh_command, .user = out});
    fputs("esac\n", out);
}

/* ---- fish ---- */

static void print_fish(FILE *out, const char *text)
{
    fputc('\'', out);
    for (; *text; text++)
        fprintf(out, *text == '\'' || *text == '\\' ? "\\%c" : "%c", *text);
    fputc('\'', out);
}

static void fish_command(void *user, const struct cli_command *command, const struct cli_option *options,
                         const struct cli_positional *positional)
{
    FILE *out = user;
    char value[VALUE_BYTES], condition[96];

    snprintf(condition, sizeof condition, "complete -c freshet -n '__fish_seen_subcommand_from %.24s'", command->name);
    fprintf(out, "complete -c freshet -n __fish_use_subcommand -a %s -d ", command->name);
    print_fish(out, command->line);
    fprintf(out, "\n%s -l help -d this\n", condition);
    for (const struct cli_option *option = options; option->name; option++) {
        fprintf(out, "%s -l %s", condition, option->name);
        if (option->argument && is_file(option->argument))
            fputs(" -r -F", out);
        else if (option->argument)
            fprintf(out, " -x -a '%s'", choice(option->argument, value));
        fputs(" -d ", out);
        print_fish(out, option->help);
        fputc('\n', out);
    }
    if (positional && positional->words) {
        fprintf(out, "%s -a '", condition);
        print_words(out, positional->words);
        fputs("'\n", out);
    }
    if (wants_file(positional))
        fprintf(out, "%s -F\n", condition);
}

static void print_fish_script(FILE *out)
{
    fputs("# Completion of freshet for fish, made by `freshet manual fish`.\ncomplete -c freshet -f\n"
          "complete -c freshet -n __fish_use_subcommand -l help -d this\n"
          "complete -c freshet -n __fish_use_subcommand -l version -d 'the version'\n",
          out);
    cli_commands__tell(&(struct cli_teller){.tell = fish_command, .user = out});
}

void cli_completion__print(FILE *out, const char *shell)
{
    if (strcmp(shell, "bash") == 0)
        print_bash(out);
    else if (strcmp(shell, "zsh") == 0)
        print_zsh_script(out);
    else
        print_fish_script(out);
}
