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
 */
const char *malloc_conf = "thp:always";

static const struct cli_command commands[] = {
    {"run", "runs a node", "--config F [--set key=value …]", cli_run__main},
    {"demo", "runs a node on an embedded broker with simulated or replayed traffic",
     "[--events FILE --map MAP] [--config F] [--set key=value …] [--json]", cli_demo__main},
    {"check", "validates a configuration and tells what it costs, or what it does to a node's state",
     "--config F [--set key=value …] [--against DIR | --cardinality ENTITY=N … --rate N] [--json]", cli_check__main},
    {"produce", "loads events from a file into a topic", "--brokers B --topic T [--map M] FILE|-", cli_produce__main},
    {"replay", "makes a node's state anew from a file or a topic",
     "--config F --state DIR [--events FILE|--topic T] [--then-live]", cli_replay__main},
    {"backup", "copies a node's last epoch into a directory", "DIR [--keep N] [--list]", cli_backup__main},
    {"restore", "makes a node's state anew from a backup", "DIR --config F [--backup N]", cli_restore__main},
    {"fsck", "tells whether a node's state is sound", "--config F [--set key=value …] [--json]", cli_fsck__main},
    {"forget", "takes all state of a user away", "USER [--api HOST:PORT] [--json]", cli_forget__main},
    {"get", "reads features, as a ranker would", "--user U [--items 1,2,3] [--features a,b]", cli_get__main},
    {"top", "reads the best of a list", "LIST [--scope category_id --id 7] [--limit N]", cli_top__main},
    {"related", "reads what went with an item", "ITEM [--feature F] [--limit N]", cli_related__main},
    {"status", "shows lag, freshness and rates of a node", "[--watch] [--json]", cli_status__main},
    {"explain", "tells what a value is made of: panes, events, offsets", "ENTITY KEY FEATURE [--as-of MS] [--json]",
     cli_explain__main},
    {"digest", "prints one line of hex: two nodes that print the same hold the same", "[--api HOST:PORT]", cli_digest__main},
    {"model", "shows the online model, and orders: promote, freeze, thaw, rollback, save, export, import",
     "show|promote|freeze|thaw|rollback|save [--model NAME] | export|import --model NAME --store DIR FILE", cli_model__main},
    {"simulate", "makes the events of a realistic livestream and shop", "--rate N --seconds S [--brokers B --topic T]",
     cli_simulate__main},
    {"bench", "measures this build beside its peers, in pairs", "[NAME] [--brokers B] [--json] [--plot FILE.svg]",
     cli_bench__main},
};
enum { COMMANDS = sizeof commands / sizeof *commands };

static int print_help(FILE *out, int exit_code)
{
    fprintf(out, "Freshet keeps the features of a live recommender fresh: Kafka events in, features out within "
                 "milliseconds.\n\nusage: freshet COMMAND [options]\n\n");
    for (int i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-10s %s\n", commands[i].name, commands[i].line);
    fprintf(out, "\n  --help     this; freshet COMMAND --help tells the options\n  --version  the version\n");
    return fflush(out) == 0 ? exit_code : CLI_FAILURE;
}

static int unknown(const char *name)
{
    const char *names[COMMANDS];
    const char *nearest;

    for (int i = 0; i < COMMANDS; i++)
        names[i] = commands[i].name;
    nearest = fr_text_nearest(fr_slice_of(name), names, COMMANDS);
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
    for (int i = 0; i < COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0)
            return commands[i].run(&commands[i], argc - 1, argv + 1);
    }
    return unknown(name);
}
