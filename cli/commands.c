/*
 * The one table of commands: main() runs one of them, and the manual asks each for its options, which stand in the command's own file.
 */
#include "internal.h"

const struct cli_command cli_commands[] = {
    {"run", "runs a node", "--config F [--set key=value …]", cli_run__main, NULL},
    {"demo", "runs a node on an embedded broker with simulated or replayed traffic",
     "[--events FILE --map MAP] [--config F] [--set key=value …] [--json]", cli_demo__main, NULL},
    {"check", "validates a configuration and tells what it costs, or what it does to a node's state",
     "--config F [--set key=value …] [--against DIR | --cardinality ENTITY=N … --rate N] [--json]", cli_check__main, NULL},
    {"produce", "loads events from a file into a topic", "--brokers B --topic T [--map M] FILE|-", cli_produce__main, NULL},
    {"replay", "makes a node's state anew from a file or a topic",
     "--config F --state DIR [--events FILE|--topic T] [--then-live]", cli_replay__main, NULL},
    {"backup", "copies a node's last epoch into a directory", "DIR [--keep N] [--list]", cli_backup__main, NULL},
    {"restore", "makes a node's state anew from a backup", "DIR --config F [--backup N]", cli_restore__main, NULL},
    {"fsck", "tells whether a node's state is sound", "--config F [--set key=value …] [--json]", cli_fsck__main, NULL},
    {"drain", "gives an instance's partitions to the others", "[--wait] [--api HOST:PORT] [--json]", cli_drain__main, NULL},
    {"forget", "takes all state of a user away", "USER [--api HOST:PORT] [--json]", cli_forget__main, NULL},
    {"block", "takes items, rooms, creators or users out of recall and scores, lets them in again, or lists who is out",
     "item|room|creator|user [ID …] [--reason TEXT] [--unblock] [--json]", cli_block__main, NULL},
    {"get", "reads features, as a ranker would", "--user U [--items 1,2,3] [--features a,b]", cli_get__main, NULL},
    {"top", "reads the best of a list", "LIST [--scope category_id --id 7] [--limit N]", cli_top__main, NULL},
    {"related", "reads what went with an item", "ITEM [--feature F] [--limit N]", cli_related__main, NULL},
    {"status", "shows lag, freshness and rates of a node", "[--watch] [--json]", cli_status__main, NULL},
    {"explain", "tells what a value is made of: panes, events, offsets", "ENTITY KEY FEATURE [--as-of MS] [--json]",
     cli_explain__main, NULL},
    {"digest", "prints one line of hex: two nodes that print the same hold the same", "[--api HOST:PORT]", cli_digest__main,
     NULL},
    {"skew", "compares rows as they were served with the same rows of a replay",
     "--config F --state DIR [--samples N] [--textfile FILE]", cli_skew__main, NULL},
    {"model", "shows the online model, reports on it, and orders: promote, freeze, thaw, rollback, save, export, import",
     "show|report|promote|freeze|thaw|rollback|save [--model NAME] | export|import --model NAME --store DIR FILE",
     cli_model__main, NULL},
    {"simulate", "makes the events of a realistic livestream and shop", "--rate N --seconds S [--brokers B --topic T]",
     cli_simulate__main, NULL},
    {"bench", "measures this build beside its peers, in pairs", "[NAME] [--brokers B] [--json] [--plot FILE.svg]",
     cli_bench__main, NULL},
    {"manual", "prints the manual pages, and completion for a shell", "freshet.1|freshet.yaml.5|bash|zsh|fish|configuration",
     cli_manual__main, NULL},
    {0},
};

int cli_commands__count(void)
{
    return (int)(sizeof cli_commands / sizeof *cli_commands) - 1;
}

void cli_commands__tell(const struct cli_teller *teller)
{
    for (const struct cli_command *command = cli_commands; command->name; command++) {
        char name[] = "freshet", *argv[] = {name, NULL};
        struct cli_command told = *command;

        told.teller = teller;
        (void)command->run(&told, 1, argv);
    }
}
