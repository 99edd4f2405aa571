/*
 * freshet bench: what this build costs, beside its peers in the same run.
 */
#include "bench.h"

#include <freshet/bench.h>
#include <freshet/ingest.h>
#include <freshet/text.h>

#include <errno.h>

static const struct benchmark {
    const char *name, *line;
    bool (*run)(struct cli_bench *bench, struct cli_bench_report *report, struct fr_buffer *svg, struct fr_err *err);
} benchmarks[] = {
    {"ingest", "W1 drained from a full topic, beside librdkafka alone that reads the same", cli_bench__ingest},
    {"freshness", "from produce to readable at half load, beside from produce to a bare consumer", cli_bench__freshness},
    {"serve", "S1 read by a ranker, beside a static reply of the same bytes and Redis MGET; idle and under ingest",
     cli_bench__serve},
    {"tier", "the same with state ten times the memory budget, beside all of it in memory", cli_bench__tier},
    {"learn", "L1, a million examples from text: learned and judged, beside Vowpal Wabbit and a plain loop", cli_bench__learn},
    {"recover", "from kill -9 to ready with all applied, beside RocksDB opened and the same offsets read", cli_bench__recover},
    {"flat", "cost per event from the first hour to day 7, and by the number of entities; no Kafka", cli_bench__flat},
};
enum { BENCHMARKS = sizeof benchmarks / sizeof *benchmarks };

static bool write_config(struct cli_bench *bench, struct fr_err *err)
{
    FILE *file;
    bool is_good;

    snprintf(bench->config, sizeof bench->config, "%s/w1.yaml", bench->directory);
    file = fopen(bench->config, "w");
    is_good = file && fputs(bench_catalogue(BENCH_W1), file) >= 0;
    is_good = file && fclose(file) == 0 && is_good;
    return is_good || fr_fail(err, FR_UNAVAILABLE, "cannot write %s: %s", bench->config, strerror(errno));
}

static int tell(const struct cli_bench *bench, const struct cli_bench_report *report, const struct fr_buffer *svg)
{
    struct fr_buffer json;
    struct fr_err err;
    int exit_code = CLI_OK;

    fr_buffer_init(&json);
    if (bench->is_json) {
        cli_bench_report__json(report, &json);
        printf("%.*s\n", (int)json.length, (const char *)json.bytes);
    } else {
        cli_bench_report__print(report, stdout);
    }
    if (bench->plot && !cli_bench_plot__save(svg, bench->plot, &err))
        exit_code = cli_command__fail(bench->command, &err);
    fr_buffer_fini(&json);
    return fflush(stdout) == 0 ? exit_code : CLI_FAILURE;
}

static int run(struct cli_bench *bench, const struct benchmark *benchmark)
{
    static struct cli_bench_report report; /* thousands of samples: not for the stack */
    struct fr_buffer svg;
    struct fr_err err;
    int exit_code;

    cli_bench_report__init(&report, benchmark->name, "");
    fr_buffer_init(&svg);
    if (cli_directory__make("bench", bench->directory, &err) && write_config(bench, &err) &&
        benchmark->run(bench, &report, &svg, &err))
        exit_code = tell(bench, &report, &svg);
    else
        exit_code = cli_command__say(bench->command, CLI_FAILURE, "%s", err.message);
    ingest_broker_stop(bench->embedded);
    cli_directory__remove(bench->directory);
    cli_bench_report__fini(&report);
    fr_buffer_fini(&svg);
    return exit_code;
}

static int unknown(const struct cli_command *command, const char *name)
{
    const char *names[BENCHMARKS];
    const char *nearest;

    for (int i = 0; i < BENCHMARKS; i++)
        names[i] = benchmarks[i].name;
    nearest = fr_text_nearest(fr_slice_of(name), names, BENCHMARKS);
    return cli_command__say(command, CLI_USAGE, "no benchmark '%s'%s%s; freshet bench lists them", name,
                            nearest ? "; did you mean " : "", nearest ? nearest : "");
}

static int list(void)
{
    for (int i = 0; i < BENCHMARKS; i++)
        printf("%-9s %s\n", benchmarks[i].name, benchmarks[i].line);
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
}

int cli_bench__main(const struct cli_command *command, int argc, char **argv)
{
    struct cli_bench bench = {.command = command, .pairs = 3, .seconds = 3};
    const char *words[BENCHMARKS + 1] = {0};
    struct cli_positional name = {.name = "NAME", .words = words};
    const struct cli_option options[] = {
        {"brokers", CLI_OPTION_TEXT, "B", "host:port,…; default: an embedded broker, and so few events as it keeps",
         &bench.brokers},
        {"events", CLI_OPTION_NUMBER, "N", "of the workload (2000000; embedded 200000)", &bench.events},
        {"pairs", CLI_OPTION_NUMBER, "N", "how often each is run, turn about (3)", &bench.pairs},
        {"topic", CLI_OPTION_TEXT, "T", "made and filled when missing (freshet.bench.w1.EVENTS)", &bench.topic},
        {"entities", CLI_OPTION_NUMBER, "N", "flat: the most entities (as memory lets, up to 10000000)", &bench.entities},
        {"seconds", CLI_OPTION_NUMBER, "N", "serve, freshness: of each run (3)", &bench.seconds},
        {"file", CLI_OPTION_TEXT, "FILE", "learn: examples as Vowpal Wabbit reads them, instead of L1", &bench.file},
        {"python", CLI_OPTION_TEXT, "PATH", "learn: an interpreter that has vowpalwabbit (python3)", &bench.python},
        {"plot", CLI_OPTION_TEXT, "FILE.svg", "draws the result", &bench.plot},
        {"json", CLI_OPTION_FLAG, NULL, "one object on stdout", &bench.is_json},
        {0},
    };
    int result;

    for (int i = 0; i < BENCHMARKS; i++)
        words[i] = benchmarks[i].name;
    result = cli_options__read(command, options, &name, argc, argv);
    if (result >= 0)
        return result;
    if (!name.value)
        return list();
    if (bench.pairs < 1 || bench.pairs > BENCH_PAIRS_MAX)
        return cli_command__say(command, CLI_USAGE, "--pairs: use 1 to %d", BENCH_PAIRS_MAX);
    if (strcmp(name.value, "bare") == 0 && bench.brokers && bench.topic)
        return cli_bench_child__bare_main(command, bench.brokers, bench.topic);
    if (strcmp(name.value, "follow") == 0 && bench.brokers && bench.topic)
        return cli_bench_freshness__follow_main(command, bench.brokers, bench.topic);
    if (strcmp(name.value, "pour_w1") == 0 && bench.brokers && bench.topic)
        return cli_bench_freshness__pour_main(command, bench.brokers, bench.topic, bench.events);
    if (strcmp(name.value, "reopen") == 0 && bench.brokers && bench.topic && bench.file)
        return cli_bench_recover__reopen_main(command, bench.brokers, bench.topic, bench.file);
    if (strcmp(name.value, "static") == 0 && bench.topic)
        return cli_bench_static__main(command, bench.topic);
    if (strcmp(name.value, "pour") == 0 && bench.brokers && bench.topic)
        return cli_bench_serve__pour_main(command, bench.brokers, bench.topic, bench.events);
    if (bench.seconds < 1 || bench.seconds > 600)
        return cli_command__say(command, CLI_USAGE, "--seconds: use 1 to 600");
    cli_signals__catch(NULL, NULL);
    for (int i = 0; i < BENCHMARKS; i++) {
        if (strcmp(benchmarks[i].name, name.value) == 0)
            return run(&bench, &benchmarks[i]);
    }
    return unknown(command, name.value);
}
