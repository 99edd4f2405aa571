/*
 * freshet replay: a state made anew from a file of events or from a topic's offsets, by the lanes and epochs of a node, as fast as
 * it goes; then, if asked, the node goes on from there.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/pipeline.h>
#include <freshet/text.h>

#include <inttypes.h>
#include <stdlib.h>

enum { REPLAY_LOOK_MS = 50, REPLAY_SHOW_EVENTS = 1024, REPLAY_SET_BYTES = 4096 };

struct replay {
    const struct cli_command *command;
    const char *file, *state, *brokers, *from, *to, *format_name;
    struct cli_loader_options load;
    struct cli_texts sets; /* the user's, then our own */
    struct pipeline_replay_options options;
    int64_t until_ms; /* 0: none */
    bool is_live, is_json, has_digest;

    char state_set[REPLAY_SET_BYTES], brokers_set[REPLAY_SET_BYTES];
    struct cli_loader *loader;
    struct pipeline_replay *replay;
    struct cli_progress progress;
    int64_t start_us;
};

/* ---- what it reads ---- */

static bool put(struct replay *replay, const struct cli_record *record, struct fr_err *err)
{
    while (!pipeline_replay_put(replay->replay, record->event.user_id, record->value, err)) {
        if (err->code != FR_EXHAUSTED || cli_signals__is_stopped())
            return false;
        cli_progress__show(&replay->progress, cli_loader__at(replay->loader), cli_loader__size(replay->loader),
                           cli_loader__counts(replay->loader)->events);
    }
    return true;
}

static bool read_file(struct replay *replay, struct fr_err *err)
{
    const struct cli_loader_counts *counts = cli_loader__counts(replay->loader);
    struct cli_record record;
    bool is_end;

    while (!cli_signals__is_stopped()) {
        if (!cli_loader__next(replay->loader, &record, &is_end, err))
            return false;
        if (is_end)
            return true;
        if (!put(replay, &record, err))
            return false;
        if (counts->events % REPLAY_SHOW_EVENTS == 0)
            cli_progress__show(&replay->progress, cli_loader__at(replay->loader), cli_loader__size(replay->loader),
                               counts->events);
    }
    return true;
}

static bool read_topic(struct replay *replay, struct fr_err *err)
{
    struct pipeline_replay_progress seen = {0};

    while (!cli_signals__is_stopped()) {
        if (!pipeline_replay_look(replay->replay, &seen, err))
            return false;
        if (seen.is_done)
            return true;
        cli_progress__show(&replay->progress, seen.at, seen.of > 0 ? (int64_t)seen.of : -1, seen.records);
        fr_clock_sleep_ms(REPLAY_LOOK_MS);
    }
    return true;
}

/* ---- what it says ---- */

static void print_json(const struct replay *replay, const char *digest, double seconds, FILE *out)
{
    struct fr_buffer text;

    fr_buffer_init(&text);
    fr_buffer_append_byte(&text, '{');
    pipeline_replay_print(replay->replay, &text);
    if (replay->loader) {
        const char *between = "";

        fr_buffer_append_format(&text, ",\"rows\":\"%" PRIu64 "\",\"skipped\":{", cli_loader__counts(replay->loader)->rows);
        for (int i = 0; i < CLI_SKIPS; i++) {
            if (cli_loader__counts(replay->loader)->skipped[i] == 0)
                continue;
            fr_buffer_append_format(&text, "%s\"%s\":\"%" PRIu64 "\"", between, cli_skip__name((enum cli_skip)i),
                                    cli_loader__counts(replay->loader)->skipped[i]);
            between = ",";
        }
        fr_buffer_append_byte(&text, '}');
    }
    if (replay->has_digest)
        fr_buffer_append_format(&text, ",\"digest\":\"%s\"", digest);
    fr_buffer_append_format(&text, ",\"seconds\":%.3f}\n", seconds);
    fprintf(out, "%.*s", (int)text.length, (const char *)text.bytes);
    fr_buffer_fini(&text);
}

static void print_text(const struct replay *replay, const char *digest, double seconds, FILE *out)
{
    struct pipeline_replay_report report = pipeline_replay_report(replay->replay);
    char records[32], rate[32], time[32];

    cli_progress__grouped(report.records, records);
    cli_progress__grouped((uint64_t)((double)report.records / (seconds > 0 ? seconds : 1)), rate);
    cli_time__print(report.stream_time_ms, time);
    fprintf(out, "replayed %s records in %.2f s (%s/s) into %s\n", records, seconds, rate, replay->state);
    fprintf(out, "applied %" PRIu64 ", duplicates %" PRIu64 ", rejected %" PRIu64, report.applied, report.duplicates,
            report.rejected);
    if (replay->until_ms > 0)
        fprintf(out, ", passed over %" PRIu64, report.passed_over);
    if (replay->loader)
        fprintf(out, ", rows skipped %" PRIu64, cli_loader__skipped(replay->loader));
    fprintf(out, "\n%" PRIu64 " entities, epoch %" PRIu64 ", stream time %s\n", report.entities, report.epoch,
            report.stream_time_ms > 0 ? time : "none");
    if (replay->has_digest)
        fprintf(out, "digest %s\n", digest);
}

/* The node's first line on stdout comes first: with --then-live all of this goes to stderr. */
static int tell(struct replay *replay)
{
    double seconds = (double)(fr_clock_monotonic_us() - replay->start_us) / 1e6;
    FILE *out = replay->is_live ? stderr : stdout;
    char digest[33] = "";
    struct fr_err err;

    if (replay->has_digest && !pipeline_replay_digest(replay->replay, digest, &err))
        return cli_command__say(replay->command, CLI_FAILURE, "%s", err.message);
    if (replay->is_json)
        print_json(replay, digest, seconds, out);
    else
        print_text(replay, digest, seconds, out);
    return fflush(out) == 0 ? CLI_OK : CLI_FAILURE;
}

/* ---- the way ---- */

static int load_config(const struct replay *replay, struct pipeline_config **config)
{
    struct pipeline_config_source source = {.file = replay->file, .sets = replay->sets.values, .set_count = replay->sets.count};

    return cli_node_config__load(&source, replay->file, config);
}

static bool replay_all(struct replay *replay, struct fr_err *err)
{
    bool is_read = replay->loader ? read_file(replay, err) : read_topic(replay, err);

    cli_progress__fini(&replay->progress);
    if (cli_signals__is_stopped())
        return fr_fail(err, FR_UNAVAILABLE, "stopped by a signal; '%s' holds a part of it and is good for nothing: remove it",
                       replay->state);
    return is_read && pipeline_replay_finish(replay->replay, err);
}

static int make_state(struct replay *replay, struct pipeline_config *config)
{
    struct fr_err err;
    int result = CLI_OK;

    replay->options.is_file = replay->load.path != NULL;
    replay->options.until_ms = replay->until_ms > 0 ? replay->until_ms : INT64_MAX;
    if (replay->options.is_file && (!cli_format__parse(replay->format_name, &replay->load.format, &err) ||
                                    !cli_loader__open(&replay->load, &replay->loader, &err))) {
        pipeline_config_free(config);
        return cli_command__fail(replay->command, &err);
    }
    cli_signals__catch(NULL, NULL);
    cli_progress__init(&replay->progress, "events");
    replay->start_us = fr_clock_monotonic_us();
    if (pipeline_replay_open(&config, &replay->options, &replay->replay, &err) && replay_all(replay, &err))
        result = tell(replay);
    else
        result = cli_command__say(replay->command, CLI_FAILURE, "%s", err.message);
    pipeline_replay_close(replay->replay);
    pipeline_config_free(config);
    cli_loader__close(replay->loader);
    return result;
}

static int run(struct replay *replay)
{
    struct pipeline_config *config;
    int result = load_config(replay, &config);

    if (result >= 0)
        return result;
    if (replay->is_live && !replay->load.path && replay->options.topic &&
        !pipeline_config_has_topic(config, replay->options.topic)) {
        result =
            cli_command__say(replay->command, CLI_USAGE,
                             "--then-live: '%s' is not among kafka.topics, so the node would not go on with it; add it there",
                             replay->options.topic);
        pipeline_config_free(config);
        return result;
    }
    result = make_state(replay, config);
    if (result != CLI_OK || !replay->is_live || cli_signals__is_stopped())
        return result;
    result = load_config(replay, &config);
    return result >= 0 ? result : cli_run__node(replay->command, config);
}

/* ---- the command line ---- */

static bool read_offset(const char *option, const char *text, const char *word, uint64_t least, int64_t *offset,
                        struct fr_err *err)
{
    uint64_t value;

    *offset = -1;
    if (!text || strcmp(text, word) == 0)
        return true;
    if (!fr_text_uint64(fr_slice_of(text), &value) || value < least || value > INT64_MAX)
        return fr_fail(err, FR_BAD_CONFIG, "%s '%s': %s or an offset from %" PRIu64 " on is wanted", option, text, word, least);
    *offset = (int64_t)value;
    return true;
}

static bool add_set(struct replay *replay, const char *key, const char *value, char out[REPLAY_SET_BYTES], struct fr_err *err)
{
    int length = snprintf(out, REPLAY_SET_BYTES, "%s=%s", key, value);

    if (length < 0 || length >= REPLAY_SET_BYTES || replay->sets.count == CLI_TEXTS_MAX)
        return fr_fail(err, FR_BAD_CONFIG, "%s '%.60s…' is too long, or too many --set", key, value);
    replay->sets.values[replay->sets.count++] = out;
    return true;
}

static bool settle(struct replay *replay, struct fr_err *err)
{
    const char *topic = replay->options.topic;

    if (!replay->file || !replay->state)
        return fr_fail(err, FR_BAD_CONFIG, "%s is missing; usage: freshet replay %s", replay->file ? "--state" : "--config",
                       replay->command->usage);
    if (replay->load.path && (topic || replay->from || replay->to))
        return fr_fail(err, FR_BAD_CONFIG, "--topic, --from and --to are of a topic, --events is a file; give one of the two");
    if (!replay->load.path && (replay->load.map || replay->format_name))
        return fr_fail(err, FR_BAD_CONFIG, "--map and --format go with --events");
    if (replay->is_live && (replay->until_ms > 0 || replay->to))
        return fr_fail(err, FR_BAD_CONFIG, "%s leaves events out that a live node must have; take it or --then-live away",
                       replay->until_ms > 0 ? "--until" : "--to");
    if (!read_offset("--from", replay->from, "earliest", 0, &replay->options.from, err) ||
        !read_offset("--to", replay->to, "latest", 1, &replay->options.to, err))
        return false;
    if (replay->options.to >= 0 && replay->options.from > replay->options.to)
        return fr_fail(err, FR_BAD_CONFIG, "--from %s lies behind --to %s", replay->from, replay->to);
    return add_set(replay, "store.path", replay->state, replay->state_set, err) &&
           (!replay->brokers || add_set(replay, "kafka.brokers", replay->brokers, replay->brokers_set, err));
}

int cli_replay__main(const struct cli_command *command, int argc, char **argv)
{
    struct replay replay = {.command = command};
    const struct cli_option options[] = {
        {"config", CLI_OPTION_TEXT, "FILE", "the configuration", &replay.file},
        {"set", CLI_OPTION_TEXTS, "key=value", "over the file; may be repeated", &replay.sets},
        {"state", CLI_OPTION_TEXT, "DIR", "where the state is made: empty, or not there yet", &replay.state},
        {"events", CLI_OPTION_TEXT, "FILE", "a file of events, - for stdin (.gz and .zst too)", &replay.load.path},
        {"map", CLI_OPTION_TEXT, "MAP", "its columns, as in freshet produce", &replay.load.map},
        {"format", CLI_OPTION_TEXT, "jsonl|csv|pb", "default: by the file's name", &replay.format_name},
        {"brokers", CLI_OPTION_TEXT, "B", "instead of the configuration's kafka.brokers", &replay.brokers},
        {"topic", CLI_OPTION_TEXT, "T", "instead of all of kafka.topics", &replay.options.topic},
        {"from", CLI_OPTION_TEXT, "OFFSET", "where each partition begins: earliest (default) or an offset", &replay.from},
        {"to", CLI_OPTION_TEXT, "OFFSET", "where each ends: latest (default; as it is at the start), or before an offset",
         &replay.to},
        {"until", CLI_OPTION_TIME, "TIME", "pass later events over: Unix ms or ISO 8601", &replay.until_ms},
        {"then-live", CLI_OPTION_FLAG, NULL, "go on as freshet run, from the offsets where the replay ended", &replay.is_live},
        {"digest", CLI_OPTION_FLAG, NULL, "tell the digest of the state, too", &replay.has_digest},
        {"json", CLI_OPTION_FLAG, NULL, "tell what was applied as JSON", &replay.is_json},
        {0},
    };
    int result = cli_options__read(command, options, NULL, argc, argv);
    struct fr_err err;

    if (result >= 0)
        return result;
    if (!settle(&replay, &err))
        return cli_command__fail(command, &err);
    return run(&replay);
}
