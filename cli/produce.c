/*
 * freshet produce: a file of events into a topic.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/ingest.h>
#include <freshet/yaml.h>

enum {
    PRODUCE_FLUSH_SLICE_MS = 200,
    PRODUCE_STALL_MS = 60000,
    PRODUCE_PARTITIONS_MAX = 10000,
    PRODUCE_PROPERTY_BYTES = 1 << 20
};

struct produce {
    const struct cli_command *command;
    const char *brokers, *topic, *group, *as, *format_name;
    struct cli_loader_options load;
    struct cli_texts properties;
    uint64_t rate, limit, partitions;
    bool is_strict, is_json_report;

    struct cli_loader *loader;
    struct ingest_producer *producer;
    struct cli_progress progress;
    int64_t start_us;
    uint64_t sent;
};

static void show(struct produce *produce)
{
    cli_progress__show(&produce->progress, cli_loader__at(produce->loader), cli_loader__size(produce->loader), produce->sent);
}

static void keep_rate(struct produce *produce)
{
    int64_t pause_ms;

    while (!cli_signals__is_stopped() &&
           (pause_ms = cli_progress__pause_ms(produce->rate, produce->sent, fr_clock_monotonic_us() - produce->start_us)) > 0) {
        show(produce);
        fr_clock_sleep_ms(pause_ms < 100 ? pause_ms : 100);
    }
}

static bool send_one(struct produce *produce, const struct cli_record *record, struct fr_err *err)
{
    struct ingest_record out = {.topic = produce->topic, .partition = -1, .key = record->key, .value = record->value};

    return ingest_producer_send(produce->producer, &out, err);
}

static bool send_all(struct produce *produce, struct fr_err *err)
{
    struct cli_record record;
    bool is_end;

    while (!cli_signals__is_stopped() && (produce->limit == 0 || produce->sent < produce->limit)) {
        if (!cli_loader__next(produce->loader, &record, &is_end, err))
            return false;
        if (is_end)
            return true;
        if (produce->rate > 0)
            keep_rate(produce);
        if (!send_one(produce, &record, err))
            return false;
        if (++produce->sent % 256 == 0)
            show(produce);
    }
    return true;
}

/* Until all is acknowledged, as long as something still is. */
static bool flush_all(struct produce *produce, struct fr_err *err)
{
    uint64_t delivered = ingest_producer_delivered(produce->producer);
    int64_t moved_ms = fr_clock_monotonic_ms();

    while (!ingest_producer_flush(produce->producer, PRODUCE_FLUSH_SLICE_MS, err)) {
        uint64_t now = ingest_producer_delivered(produce->producer);

        show(produce);
        if (err->code != FR_UNAVAILABLE)
            return false;
        if (now != delivered) {
            delivered = now;
            moved_ms = fr_clock_monotonic_ms();
        } else if (fr_clock_monotonic_ms() - moved_ms > PRODUCE_STALL_MS) {
            return fr_fail(err, FR_UNAVAILABLE,
                           "%llu events are not acknowledged by %s; is it running, and reachable from here?",
                           (unsigned long long)(produce->sent - now), produce->brokers);
        }
    }
    return true;
}

static void report(const struct produce *produce)
{
    const struct cli_loader_counts *counts = cli_loader__counts(produce->loader);
    double seconds = (double)(fr_clock_monotonic_us() - produce->start_us) / 1e6;
    unsigned long long skipped = (unsigned long long)cli_loader__skipped(produce->loader);
    const char *between = "";
    bool is_json = produce->is_json_report;

    printf(is_json ? "{\"events\":%llu,\"rows\":%llu,\"skipped\":{" : "produced %llu events from %llu rows, skipped ",
           (unsigned long long)ingest_producer_delivered(produce->producer), (unsigned long long)counts->rows);
    if (!is_json)
        printf("%llu%s", skipped, skipped > 0 ? " (" : "");
    for (int i = 0; i < CLI_SKIPS; i++) {
        if (counts->skipped[i] == 0)
            continue;
        printf(is_json ? "%s\"%s\":%llu" : "%s%s %llu", between, cli_skip__name((enum cli_skip)i),
               (unsigned long long)counts->skipped[i]);
        between = is_json ? "," : ", ";
    }
    if (is_json)
        printf("},\"seconds\":%.3f}\n", seconds);
    else
        printf("%s, in %.2f s\n", skipped > 0 ? ")" : "", seconds);
}

static int produce_all(struct produce *produce)
{
    struct fr_err err;
    bool is_good = send_all(produce, &err), is_flushed;
    int exit_code = CLI_OK;

    if (is_good) {
        is_flushed = flush_all(produce, &err);
    } else { /* what came before the mistake still goes out; the mistake is what is told */
        struct fr_err ignored;

        is_flushed = flush_all(produce, &ignored);
    }
    cli_progress__fini(&produce->progress);
    if (!is_good || !is_flushed)
        exit_code = cli_command__say(produce->command, CLI_FAILURE, "%s", err.message);
    else if (cli_signals__is_stopped())
        exit_code = cli_command__say(produce->command, CLI_FAILURE, "stopped by a signal");
    else if (produce->sent == 0 && cli_loader__skipped(produce->loader) > 0)
        exit_code = cli_command__say(produce->command, CLI_FAILURE, "no row gave an event");
    else if (produce->is_strict && cli_loader__bad(produce->loader) > 0)
        exit_code = cli_command__say(produce->command, CLI_FAILURE, "there are bad rows, and --strict wants none");
    report(produce);
    return fflush(stdout) == 0 ? exit_code : CLI_FAILURE;
}

/* "fetch.min.bytes=1" → a librdkafka property; "sasl.password=file:/path" keeps the password out of the list of processes. */
static bool split_property(const char *text, struct fr_arena *arena, struct ingest_property *property, struct fr_err *err)
{
    const char *equals = strchr(text, '=');

    if (!equals || equals == text)
        return fr_fail(err, FR_BAD_CONFIG, "--property: '%.*s' is no name=value", (int)strcspn(text, "="), text);
    property->name = fr_arena_copy(arena, fr_slice(text, (size_t)(equals - text)));
    if (!property->name)
        return fr_fail(err, FR_BAD_CONFIG, "--property: the names and values are too long");
    if (!fr_yaml_resolve(equals + 1, arena, &property->value, err))
        return fr_fail_in(err, "--property %s", property->name);
    if (ingest_property_check(property, err))
        return true;
    fr_err_hide(err, property->value);
    return fr_fail_in(err, "--property");
}

static bool split_properties(const struct cli_texts *texts, struct fr_arena *arena, struct ingest_property *properties,
                             struct fr_err *err)
{
    for (int i = 0; i < texts->count; i++)
        if (!split_property(texts->values[i], arena, &properties[i], err))
            return false;
    return true;
}

static int produce_file(struct produce *produce)
{
    struct ingest_property properties[CLI_TEXTS_MAX];
    struct fr_arena *arena = fr_arena_new(PRODUCE_PROPERTY_BYTES);
    struct ingest_producer_options options = {.brokers = produce->brokers,
                                              .properties = properties,
                                              .property_count = produce->properties.count,
                                              .pace_group = *produce->group ? produce->group : NULL};
    struct fr_err err;
    int exit_code;

    if (!arena)
        return cli_command__say(produce->command, CLI_FAILURE, "out of memory");
    if (!cli_format__parse(produce->format_name, &produce->load.format, &err) ||
        !split_properties(&produce->properties, arena, properties, &err) ||
        !cli_loader__open(&produce->load, &produce->loader, &err)) {
        fr_arena_free(arena);
        return cli_command__fail(produce->command, &err);
    }
    if (!ingest_producer_open(&options, &produce->producer, &err) ||
        (produce->partitions > 0 &&
         !ingest_producer_topic(produce->producer, produce->topic, (int)produce->partitions, &err))) {
        exit_code = cli_command__say(produce->command, CLI_FAILURE, "%s", err.message);
    } else {
        cli_signals__catch(NULL, NULL);
        cli_progress__init(&produce->progress, "events");
        produce->start_us = fr_clock_monotonic_us();
        exit_code = produce_all(produce);
    }
    ingest_producer_close(produce->producer);
    cli_loader__close(produce->loader);
    fr_arena_free(arena);
    return exit_code;
}

int cli_produce__main(const struct cli_command *command, int argc, char **argv)
{
    struct produce produce = {.command = command, .group = "freshet", .as = "protobuf"};
    struct cli_positional file = {.name = "FILE", .is_required = true};
    const struct cli_option options[] = {
        {"brokers", CLI_OPTION_TEXT, "B", "host:port,…", &produce.brokers},
        {"topic", CLI_OPTION_TEXT, "T", "where to", &produce.topic},
        {"format", CLI_OPTION_TEXT, "jsonl|csv|pb",
         "jsonl, csv (with a header; comma or tab) or pb (varint-delimited events); default: by "
         "the file's name",
         &produce.format_name},
        {"map", CLI_OPTION_TEXT, "M", "column[:unit]=field[(from:to,…)],'constant'=field,…; units s, ms, us, iso",
         &produce.load.map},
        {"as", CLI_OPTION_TEXT, "protobuf|json", "what the topic holds (protobuf)", &produce.as},
        {"rate", CLI_OPTION_NUMBER, "N", "events a second; default: as fast as it goes", &produce.rate},
        {"limit", CLI_OPTION_NUMBER, "N", "stop after so many events", &produce.limit},
        {"partitions", CLI_OPTION_NUMBER, "N", "make the topic with so many when it is missing", &produce.partitions},
        {"group", CLI_OPTION_TEXT, "G", "on an embedded broker: never outrun this group (freshet; '' for none)",
         &produce.group},
        {"property", CLI_OPTION_TEXTS, "name=value",
         "a librdkafka property, for security and the like (file:/path, ${NAME}: a value that stands there); may be repeated",
         &produce.properties},
        {"strict", CLI_OPTION_FLAG, NULL, "exit 1 when a row was bad", &produce.is_strict},
        {"json", CLI_OPTION_FLAG, NULL, "the report as JSON", &produce.is_json_report},
        {0},
    };
    int result = cli_options__read(command, options, &file, argc, argv);

    if (result >= 0)
        return result;
    if (!produce.brokers || !produce.topic)
        return cli_command__say(command, CLI_USAGE, "%s is missing; usage: freshet produce %s",
                                produce.brokers ? "--topic" : "--brokers", command->usage);
    if (strcmp(produce.as, "json") != 0 && strcmp(produce.as, "protobuf") != 0)
        return cli_command__say(command, CLI_USAGE, "--as '%s': use protobuf or json", produce.as);
    if (produce.partitions > PRODUCE_PARTITIONS_MAX)
        return cli_command__say(command, CLI_USAGE, "--partitions: use 1 to %d", PRODUCE_PARTITIONS_MAX);
    produce.load.path = file.value;
    produce.load.is_json = strcmp(produce.as, "json") == 0;
    return produce_file(&produce);
}
