/*
 * The one binary: finds the command in one table and runs it.
 */
#include "internal.h"

#include <freshet/text.h>

#include <signal.h>
#include <string.h>

/*
 * jemalloc reads it before main(). State is many small blocks read in no order, so that on pages of 4 KiB each look-up is a TLB miss or
 * three. With huge pages a read of 200 items took 71 to 138 µs in place of 101 to 130 (on a busy machine), for 4 % more memory.
 * Arenas go by the CPU: librdkafka's thread allocates an op for each record, and a lane frees it. So both find in the cache what the other had (W1: 6 %
 * less CPU, medians of eight), and memory is fuller (325 MiB to 230, with half of the ingest queue that there was).
 */
const char *malloc_conf = "thp:always,percpu_arena:percpu";

enum { NAMES_MAX = 64 };

static int print_help(FILE *out, int exit_code)
{
    fprintf(out, "Freshet keeps the features of a live recommender fresh: Kafka events in, features out within "
                 "milliseconds.\n\nusage: freshet COMMAND [options]\n\n");
    for (const struct cli_command *command = cli_commands; command->name; command++)
        fprintf(out, "  %-10s %s\n", command->name, command->line);
    fprintf(out, "\n  --help     this; freshet COMMAND --help tells the options\n  --version  the version\n");
    return fflush(out) == 0 ? exit_code : CLI_FAILURE;
}

static int unknown(const char *name)
{
    const char *names[NAMES_MAX];
    const char *nearest;
    int count = 0;

    for (; count < cli_commands__count() && count < NAMES_MAX; count++)
        names[count] = cli_commands[count].name;
    nearest = fr_text_nearest(fr_slice_of(name), names, count);
    fprintf(stderr, "freshet: no command '%s'%s%s; freshet --help lists them\n", name, nearest ? "; did you mean " : "",
            nearest ? nearest : "");
    return CLI_USAGE;
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : NULL;

    signal(SIGPIPE, SIG_IGN); /* a client that goes away is an error of one write, not the end */
    if (!name)
        return print_help(stderr, CLI_USAGE);
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0 || strcmp(name, "help") == 0)
        return print_help(stdout, CLI_OK);
    if (strcmp(name, "--version") == 0) {
        printf("freshet %s\n", FRESHET_VERSION);
        return fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
    }
    for (const struct cli_command *command = cli_commands; command->name; command++) {
        if (strcmp(command->name, name) == 0)
            return command->run(command, argc - 1, argv + 1);
    }
    return unknown(name);
}
