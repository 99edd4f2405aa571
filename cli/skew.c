/*
 * freshet skew: rows as they were served beside the same rows of a replay. What a model learns from is what it is asked about only if
 * not one value differs.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/pipeline.h>

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

enum { SKEW_SAMPLES = 20, SKEW_SAMPLES_MAX = 10000, SKEW_SET_BYTES = 4096 };

struct skew {
    const char *file, *state, *brokers, *textfile;
    struct cli_texts sets; /* the user's, then our own */
    uint64_t samples;
    bool is_json;
    char state_set[SKEW_SET_BYTES], brokers_set[SKEW_SET_BYTES];
};

static bool add_set(struct skew *skew, const char *key, const char *value, char out[SKEW_SET_BYTES], struct fr_err *err)
{
    int length = snprintf(out, SKEW_SET_BYTES, "%s=%s", key, value);

    if (length < 0 || length >= SKEW_SET_BYTES || skew->sets.count == CLI_TEXTS_MAX)
        return fr_fail(err, FR_BAD_CONFIG, "%s '%.60s…' is too long, or too many --set", key, value);
    skew->sets.values[skew->sets.count++] = out;
    return true;
}

static bool compare_all(struct pipeline_skew *skew, struct pipeline_skew_report *report, struct fr_err *err)
{
    struct cli_progress progress;
    bool ok = true;

    cli_progress__init(&progress, "events");
    while (ok && !report->is_done) {
        ok = !cli_signals__is_stopped() ? pipeline_skew_step(skew, report, err)
                                        : fr_fail(err, FR_UNAVAILABLE, "stopped by a signal");
        cli_progress__show(&progress, report->at, (int64_t)report->of, report->at);
    }
    cli_progress__fini(&progress);
    return ok;
}

static void tell(const struct pipeline_skew *skew, const struct pipeline_skew_report *report, bool is_json)
{
    struct fr_buffer differences;

    fr_buffer_init(&differences);
    pipeline_skew_print(skew, &differences);
    if (is_json)
        printf("{\"samples\":%d,\"compared\":%d,\"passedOver\":%d,\"values\":\"%" PRIu64 "\",\"different\":\"%" PRIu64
               "\",\"differences\":%.*s}\n",
               report->samples, report->compared, report->passed_over, report->values, report->different,
               (int)differences.length, (const char *)differences.bytes);
    else
        printf("%d of %d served records done again, %d passed over: %" PRIu64 " values, %" PRIu64 " differ\n", report->compared,
               report->samples, report->passed_over, report->values, report->different);
    if (!is_json && report->different > 0)
        printf("the first that differ: %.*s\n", (int)differences.length, (const char *)differences.bytes);
    fr_buffer_fini(&differences);
}

static void print_figures(const struct pipeline_skew_report *report, FILE *out)
{
    const struct {
        const char *name, *help;
        uint64_t value;
    } figures[] = {
        {"values", "Served values that a replay did again, in the latest run of freshet skew.", report->values},
        {"values_differing", "Of these, those of which the replay has other bits: 0, or serving and training differ.",
         report->different},
        {"samples", "Served records that were done again.", (uint64_t)report->compared},
        {"samples_passed_over", "Served records that could not be.", (uint64_t)report->passed_over},
        {"time_seconds", "When it ended, in Unix time.", (uint64_t)(fr_clock_wall_ms() / 1000)},
    };

    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        fprintf(out, "# HELP freshet_skew_%s %s\n# TYPE freshet_skew_%s gauge\nfreshet_skew_%s %" PRIu64 "\n", figures[i].name,
                figures[i].help, figures[i].name, figures[i].name, figures[i].value);
}

/* Written beside and renamed, so that who collects it never finds half of one. */
static bool write_textfile(const char *path, const struct pipeline_skew_report *report, struct fr_err *err)
{
    char beside[SKEW_SET_BYTES];
    int length = snprintf(beside, sizeof beside, "%s.new", path);
    FILE *out;
    bool ok;

    if (length < 0 || length >= (int)sizeof beside)
        return fr_fail(err, FR_BAD_CONFIG, "--textfile: the path is too long");
    out = fopen(beside, "we");
    if (!out)
        return fr_fail(err, FR_UNAVAILABLE, "cannot make '%s': %s", beside, strerror(errno));
    print_figures(report, out);
    ok = fflush(out) == 0 && !ferror(out);
    ok = fclose(out) == 0 && ok && rename(beside, path) == 0;
    if (ok)
        return true;
    fr_fail(err, FR_UNAVAILABLE, "cannot write '%s': %s", path, strerror(errno));
    (void)unlink(beside);
    return false;
}

static int run(const struct cli_command *command, struct skew *chosen)
{
    struct pipeline_config_source source = {.file = chosen->file, .sets = chosen->sets.values, .set_count = chosen->sets.count};
    const struct pipeline_skew_options options = {.samples = (int)chosen->samples};
    struct pipeline_skew_report report = {0};
    struct pipeline_skew *skew = NULL;
    struct pipeline_config *config;
    struct fr_err err;
    int result = cli_node_config__load(&source, chosen->file, &config);

    if (result >= 0)
        return result;
    cli_signals__catch(NULL, NULL);
    if (pipeline_skew_open(&config, &options, &skew, &err) && compare_all(skew, &report, &err) &&
        (!chosen->textfile || write_textfile(chosen->textfile, &report, &err))) {
        tell(skew, &report, chosen->is_json);
        result = report.different == 0 && fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
    } else {
        result = cli_command__fail(command, &err);
    }
    pipeline_skew_close(skew);
    pipeline_config_free(config);
    return result;
}

int cli_skew__main(const struct cli_command *command, int argc, char **argv)
{
    struct skew chosen = {.samples = SKEW_SAMPLES};
    const struct cli_option options[] = {
        {"config", CLI_OPTION_TEXT, "FILE", "the node's configuration", &chosen.file},
        {"set", CLI_OPTION_TEXTS, "key=value", "over the file; may be repeated", &chosen.sets},
        {"state", CLI_OPTION_TEXT, "DIR", "where it is replayed: empty, or not there yet; of no use afterwards", &chosen.state},
        {"brokers", CLI_OPTION_TEXT, "B", "instead of the configuration's kafka.brokers", &chosen.brokers},
        {"samples", CLI_OPTION_NUMBER, "N", "how many of the last served records (default 20)", &chosen.samples},
        {"textfile", CLI_OPTION_TEXT, "FILE", "its figures for Prometheus' node exporter, FILE.prom", &chosen.textfile},
        {"json", CLI_OPTION_FLAG, NULL, "tell it as JSON", &chosen.is_json},
        {0},
    };
    int result = cli_options__read(command, options, NULL, argc, argv);
    struct fr_err err;

    if (result >= 0)
        return result;
    if (!chosen.file || !chosen.state)
        return cli_command__say(command, CLI_USAGE, "%s is missing; usage: freshet skew %s",
                                chosen.file ? "--state" : "--config", command->usage);
    if (chosen.samples < 1 || chosen.samples > SKEW_SAMPLES_MAX)
        return cli_command__say(command, CLI_USAGE, "--samples: 1 to %d", SKEW_SAMPLES_MAX);
    if (!add_set(&chosen, "store.path", chosen.state, chosen.state_set, &err) ||
        (chosen.brokers && !add_set(&chosen, "kafka.brokers", chosen.brokers, chosen.brokers_set, &err)))
        return cli_command__fail(command, &err);
    return run(command, &chosen);
}
