/*
 * freshet simulate: the simulated livestream and shop, as JSON lines or into a topic.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/ingest.h>

#include <errno.h>
#include <unistd.h>

enum { SIMULATE_UNPACED_RATE = 1000, SIMULATE_FLUSH_MS = 60000, SIMULATE_RATE_MAX = 10000000 };

struct simulate {
    const struct cli_command *command;
    const char *brokers, *topic, *table, *creators, *as, *group;
    uint64_t rate, seconds, seed, users, items, swing, transfer;
    const char *truth;
    FILE *truth_file; /* NULL: nobody is told */
    int64_t start_ms;
    bool is_fast;
    struct ingest_producer *producer; /* NULL: stdout */
    struct ingest_producer *tables; /* NULL: nobody wants rows of items or creators */
    struct fr_buffer out;
};

static bool put(struct simulate *simulate, const struct proto_event *event, struct fr_err *err)
{
    struct cli_record record;
    bool is_json = !simulate->producer || strcmp(simulate->as, "json") == 0;

    cli_record__encode(event, is_json, &simulate->out, &record);
    if (simulate->producer) {
        struct ingest_record out = {.topic = simulate->topic, .partition = -1, .key = record.key, .value = record.value};

        return ingest_producer_send(simulate->producer, &out, err);
    }
    if (fwrite(record.value.bytes, 1, record.value.length, stdout) != record.value.length || putchar('\n') == EOF)
        return fr_fail(err, FR_UNAVAILABLE, "cannot write: %s", strerror(errno));
    return true;
}

/* As real time passes, so the events come. What is written so far is seen before every pause. */
static void keep_pace(const struct simulate *simulate, int64_t begun_ms, int64_t sent_ms)
{
    int64_t pause_ms;

    if (simulate->is_fast)
        return;
    while ((pause_ms = (sent_ms - simulate->start_ms) - (fr_clock_monotonic_ms() - begun_ms)) > 0 &&
           !cli_signals__is_stopped()) {
        fflush(stdout);
        fr_clock_sleep_ms(pause_ms < 100 ? pause_ms : 100);
    }
}

static int64_t end_of(const struct simulate *simulate)
{
    return simulate->seconds > 0 ? simulate->start_ms + (int64_t)simulate->seconds * 1000 : INT64_MAX;
}

static bool run(struct simulate *simulate, struct cli_world *world, uint64_t *count, struct fr_err *err)
{
    int64_t begun_ms = fr_clock_monotonic_ms();
    int64_t end_ms = end_of(simulate);
    int64_t size_ms = simulate->seconds > 0 ? (int64_t)simulate->seconds * 1000 : -1;
    struct cli_progress progress;
    bool is_good = true;

    cli_progress__init(&progress, "events");
    progress.is_shown &= isatty(STDOUT_FILENO) != 1 || simulate->producer != NULL; /* lines of events and a bar do not mix */
    for (*count = 0; is_good; ++*count) {
        struct proto_event event;
        int64_t sent_ms;

        if (!cli_world__next(world, &event, &sent_ms)) {
            is_good = fr_fail(err, FR_EXHAUSTED, "out of memory");
            break;
        }
        if (sent_ms >= end_ms)
            break;
        keep_pace(simulate, begun_ms, sent_ms);
        if (cli_signals__is_stopped())
            break;
        is_good = put(simulate, &event, err);
        cli_progress__show(&progress, (uint64_t)(sent_ms - simulate->start_ms), size_ms, *count + 1);
    }
    cli_progress__fini(&progress);
    if (!is_good)
        return false;
    if (simulate->producer)
        return ingest_producer_flush(simulate->producer, SIMULATE_FLUSH_MS, err);
    return fflush(stdout) == 0 ? true : fr_fail(err, FR_UNAVAILABLE, "cannot write: %s", strerror(errno));
}

struct rows { /* of a table: one for each index */
    const char *topic;
    int count;
    uint64_t (*id_of)(uint32_t index);
    void (*put)(const struct cli_world *world, uint32_t index, struct fr_buffer *json);
};

/* All of a table, before the first event. */
static bool put_rows(struct simulate *simulate, const struct cli_world *world, const struct rows *rows, struct fr_err *err)
{
    struct fr_buffer row;
    bool ok = ingest_producer_topic(simulate->tables, rows->topic, 1, err);

    fr_buffer_init(&row);
    for (uint32_t i = 0; i < (uint32_t)rows->count && ok; i++) {
        char key[24];
        struct ingest_record record = {.topic = rows->topic, .partition = -1};

        fr_buffer_clear(&row);
        fr_buffer_append_byte(&row, '{');
        rows->put(world, i, &row);
        fr_buffer_append_byte(&row, '}');
        snprintf(key, sizeof key, "%llu", (unsigned long long)rows->id_of(i));
        record.key = fr_slice_of(key);
        record.value = fr_buffer_slice(&row);
        ok = row.is_failed ? fr_fail(err, FR_EXHAUSTED, "out of memory") : ingest_producer_send(simulate->tables, &record, err);
    }
    fr_buffer_fini(&row);
    return ok && ingest_producer_flush(simulate->tables, SIMULATE_FLUSH_MS, err);
}

static bool open_producers(struct simulate *simulate, const struct cli_world *world, struct fr_err *err)
{
    struct ingest_producer_options options = {.brokers = simulate->brokers};
    const struct rows items = {simulate->table, world->item_count, cli_world__item_id, cli_table__row};
    const struct rows creators = {simulate->creators, world->creator_count, cli_world__creator_id_of, cli_table__creator};

    if ((simulate->table || simulate->creators) && !ingest_producer_open(&options, &simulate->tables, err))
        return false;
    if (simulate->table && !put_rows(simulate, world, &items, err))
        return false;
    if (simulate->creators && !put_rows(simulate, world, &creators, err))
        return false;
    options.pace_group = simulate->group;
    return !simulate->brokers || ingest_producer_open(&options, &simulate->producer, err);
}

static int simulate_world(struct simulate *simulate)
{
    struct cli_world_options world_options = {.seed = simulate->seed,
                                              .start_ms = simulate->start_ms,
                                              .rate = (double)simulate->rate,
                                              .users = (int)simulate->users,
                                              .items = (int)simulate->items,
                                              .transfer = (double)simulate->transfer / 100,
                                              .swing = (double)simulate->swing / 100,
                                              .truth = simulate->truth_file,
                                              .truth_end_ms = end_of(simulate)};
    struct cli_world *world = cli_world__new(&world_options);
    uint64_t count = 0;
    struct fr_err err;
    int exit_code = CLI_OK;

    fr_buffer_init(&simulate->out);
    cli_signals__catch(NULL, NULL);
    if (!world)
        exit_code = cli_command__say(simulate->command, CLI_FAILURE, "out of memory");
    else if (!open_producers(simulate, world, &err) || !run(simulate, world, &count, &err))
        exit_code = cli_command__say(simulate->command, CLI_FAILURE, "%s", err.message);
    else if (simulate->producer)
        printf("produced %llu events\n", (unsigned long long)count);
    if (exit_code == CLI_OK && simulate->truth_file && fflush(simulate->truth_file) != 0)
        exit_code = cli_command__say(simulate->command, CLI_FAILURE, "cannot write %s: %s", simulate->truth, strerror(errno));
    ingest_producer_close(simulate->producer);
    ingest_producer_close(simulate->tables);
    fr_buffer_fini(&simulate->out);
    cli_world__free(world);
    return fflush(stdout) == 0 ? exit_code : CLI_FAILURE;
}

static int check(struct simulate *simulate, bool has_rate)
{
    if (!has_rate || simulate->seconds == UINT64_MAX)
        return cli_command__say(simulate->command, CLI_USAGE, "%s is missing; usage: freshet simulate %s",
                                has_rate ? "--seconds" : "--rate", simulate->command->usage);
    if (!simulate->brokers != !simulate->topic)
        return cli_command__say(simulate->command, CLI_USAGE, "--brokers and --topic go together");
    if ((simulate->table || simulate->creators) && !simulate->brokers)
        return cli_command__say(simulate->command, CLI_USAGE, "--%s goes with --brokers and --topic",
                                simulate->table ? "table" : "creators");
    if (simulate->transfer > 90)
        return cli_command__say(simulate->command, CLI_USAGE, "--transfer %llu: use 0 to 90",
                                (unsigned long long)simulate->transfer);
    if (strcmp(simulate->as, "json") != 0 && strcmp(simulate->as, "protobuf") != 0)
        return cli_command__say(simulate->command, CLI_USAGE, "--as '%s': use protobuf or json", simulate->as);
    if (simulate->rate > SIMULATE_RATE_MAX || simulate->seconds > UINT32_MAX || simulate->users > 10000000 ||
        simulate->items > 10000000)
        return cli_command__say(simulate->command, CLI_USAGE, "--rate, --seconds, --users or --items is too large");
    if (simulate->swing > 90)
        return cli_command__say(simulate->command, CLI_USAGE, "--swing %llu: use 0 to 90", (unsigned long long)simulate->swing);
    return -1;
}

static int open_truth_and_simulate(struct simulate *simulate)
{
    int exit_code;

    if (simulate->truth && !(simulate->truth_file = fopen(simulate->truth, "w")))
        return cli_command__say(simulate->command, CLI_FAILURE, "cannot write %s: %s", simulate->truth, strerror(errno));
    exit_code = simulate_world(simulate);
    if (simulate->truth_file)
        fclose(simulate->truth_file);
    return exit_code;
}

int cli_simulate__main(const struct cli_command *command, int argc, char **argv)
{
    struct simulate simulate = {
        .command = command, .as = "protobuf", .group = "freshet", .rate = UINT64_MAX, .seconds = UINT64_MAX, .seed = 1};
    const struct cli_option options[] = {
        {"rate", CLI_OPTION_NUMBER, "N", "events a second; 0: 1,000 a second of event time, made as fast as it goes",
         &simulate.rate},
        {"seconds", CLI_OPTION_NUMBER, "S", "for how long; 0: until ^C", &simulate.seconds},
        {"seed", CLI_OPTION_NUMBER, "K", "the same seed and start give the same events (1)", &simulate.seed},
        {"start", CLI_OPTION_TIME, "MS", "event time of the first one; default: now, or so that the last is now when not paced",
         &simulate.start_ms},
        {"fast", CLI_OPTION_FLAG, NULL, "do not wait: the rate is that of event time only", &simulate.is_fast},
        {"users", CLI_OPTION_NUMBER, "N", "how many users; default: by the rate", &simulate.users},
        {"items", CLI_OPTION_NUMBER, "N", "how many items; default: by the rate", &simulate.items},
        {"swing", CLI_OPTION_NUMBER, "PERCENT", "how much the rate swings with the hour, most at 21:00 UTC: 0 (default) to 90",
         &simulate.swing},
        {"truth", CLI_OPTION_TEXT, "FILE", "gets what is true of the world: tastes, bots, bursts, delays (docs/simulation.md)",
         &simulate.truth},
        {"brokers", CLI_OPTION_TEXT, "B", "into a topic here; default: JSON lines on stdout", &simulate.brokers},
        {"topic", CLI_OPTION_TEXT, "T", "which topic", &simulate.topic},
        {"table", CLI_OPTION_TEXT, "T", "the items' rows go into this topic first, as a table has them (docs/tables.md)",
         &simulate.table},
        {"creators", CLI_OPTION_TEXT, "T", "the same of creators: their tiers and regions", &simulate.creators},
        {"transfer", CLI_OPTION_NUMBER, "PERCENT",
         "of those who watch a short video, how many go over to its maker's room, if it is open: 0 (default) to 90",
         &simulate.transfer},
        {"as", CLI_OPTION_TEXT, "protobuf|json", "what the topic holds (protobuf)", &simulate.as},
        {"group", CLI_OPTION_TEXT, "G", "on an embedded broker: never outrun this group (freshet)", &simulate.group},
        {0},
    };
    int result = cli_options__read(command, options, NULL, argc, argv);

    if (result >= 0)
        return result;
    result = check(&simulate, simulate.rate != UINT64_MAX);
    if (result >= 0)
        return result;
    simulate.is_fast = simulate.is_fast || simulate.rate == 0;
    simulate.rate = simulate.rate ? simulate.rate : SIMULATE_UNPACED_RATE;
    if (simulate.start_ms == 0)
        simulate.start_ms = fr_clock_wall_ms() - (simulate.is_fast ? (int64_t)simulate.seconds * 1000 : 0);
    return open_truth_and_simulate(&simulate);
}
