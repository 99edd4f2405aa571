/*
 * freshet bench serve: a ranker's read of one user and so many candidates (S1), windows computed, from a node that took its state from
 * Kafka; beside a static reply of the same bytes by the same server, and Redis MGET of packed blobs. All three are asked by the same
 * client for ids drawn anew, turn about. What a node takes without requests, under ingest above all, is measured before each of
 * its runs and taken off.
 */
#include "bench.h"

#include <freshet/bench.h>
#include <freshet/clock.h>
#include <freshet/ingest.h>

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    SERVE_EVENTS = 2000000,
    SERVE_ITEMS = 100000,
    SERVE_CREATORS = 5000,
    SERVE_CONNECTIONS = 16,
    SERVE_SEED = 42,
    SERVE_SPAN_MS = 7200000,
    POUR_RATE = 20000, /* events a second while a node is read */
    POUR_SLICE_MS = 10,
    LINE_MS = 60000,
    IDLE_MS = 300, /* of each second that it is asked for: for what a node takes without requests */
    FLUSH_MS = 60000,
    CASES = 4,
};
static const int64_t start_ms = INT64_C(1760000000000);
static const char topic_name[] = "s1";

enum server { OURS, STATIC_REPLY, REDIS, SERVERS };
static const char *const server_names[SERVERS] = {"freshet", "static_reply", "redis_mget"};

struct sample {
    double cpu_per_1000; /* requests; without what the server takes anyway */
    double loops_per_1000; /* of the threads alone that answer, so that nothing has to be taken off; 0: not known */
    double background; /* that: CPU seconds a second */
    struct cli_bench_answers answers;
};

struct serve {
    struct cli_bench *bench;
    struct bench_s1 s1;
    struct cli_bench_process node, pour;
    bool has_node, has_pour, has_redis;
    struct cli_bench_redis redis;
    char api[256];
    struct sample samples[CASES][SERVERS][BENCH_PAIRS_MAX];
};

static const struct {
    int items;
    bool is_under_ingest;
} cases[CASES] = {{200, false}, {500, false}, {200, true}, {500, true}};

/* ---- Events to the topic ---- */

/* Never faster than the node takes it: the embedded broker keeps 5 MiB a partition. */
static bool open_producer(const char *brokers, struct ingest_producer **producer, struct fr_err *err)
{
    const struct ingest_producer_options options = {.brokers = brokers, .pace_group = "freshet"};

    return ingest_producer_open(&options, producer, err);
}

static bool fill(struct serve *serve, struct fr_err *err)
{
    struct ingest_producer *producer = NULL;
    struct cli_progress progress;
    struct proto_event event;
    struct fr_buffer buffer;
    uint64_t sent = 0;
    bool is_good = open_producer(serve->bench->brokers, &producer, err);

    fr_buffer_init(&buffer);
    cli_progress__init(&progress, "events");
    while (is_good && bench_s1_next(&serve->s1, &event)) {
        is_good = cli_bench_topic__send(producer, topic_name, &event, &buffer, err);
        if (is_good && ++sent % 256 == 0) {
            cli_progress__show(&progress, sent, (int64_t)serve->s1.events, sent);
            if (cli_signals__is_stopped())
                is_good = fr_fail(err, FR_CANCELLED, "stopped by a signal");
        }
    }
    is_good = is_good && ingest_producer_flush(producer, FLUSH_MS, err) &&
              cli_bench_child__wait(serve->api, serve->s1.events, &progress, err);
    cli_progress__fini(&progress);
    fr_buffer_fini(&buffer);
    ingest_producer_close(producer);
    return is_good;
}

/* The child that keeps a topic flowing, in real time, until it is stopped. */
int cli_bench_serve__pour_main(const struct cli_command *command, const char *brokers, const char *topic, uint64_t rate)
{
    struct bench_s1 s1 = {.events = UINT64_MAX,
                          .start_ms = start_ms + SERVE_SPAN_MS,
                          .users = SERVE_ITEMS / 5,
                          .items = SERVE_ITEMS,
                          .creators = SERVE_CREATORS,
                          .state = SERVE_SEED + 1};
    struct ingest_producer *producer = NULL;
    int64_t begin_ms = fr_clock_monotonic_ms();
    struct proto_event event;
    struct fr_buffer buffer;
    struct fr_err err;
    uint64_t sent = 0;
    bool is_good = strcmp(topic, topic_name) == 0 && open_producer(brokers, &producer, &err);

    cli_signals__catch(NULL, NULL);
    fr_buffer_init(&buffer);
    while (is_good && !cli_signals__is_stopped()) {
        int64_t elapsed_ms = fr_clock_monotonic_ms() - begin_ms;

        while (is_good && sent < (uint64_t)elapsed_ms * rate / 1000 && bench_s1_next(&s1, &event)) {
            event.ts_ms = s1.start_ms + elapsed_ms;
            is_good = cli_bench_topic__send(producer, topic_name, &event, &buffer, &err);
            sent++;
        }
        fr_clock_sleep_ms(POUR_SLICE_MS);
    }
    fr_buffer_fini(&buffer);
    ingest_producer_close(producer);
    return is_good ? CLI_OK : cli_command__say(command, CLI_FAILURE, "%s", err.message);
}

static bool start_pour(struct serve *serve, struct fr_err *err)
{
    char rate[32];
    const char *const arguments[] = {"freshet", "bench",    "pour",     "--brokers", serve->bench->brokers,
                                     "--topic", topic_name, "--events", rate,        NULL};

    snprintf(rate, sizeof rate, "%d", POUR_RATE);
    serve->has_pour = cli_bench_process__start(&serve->pour, NULL, arguments, environ, err);
    return serve->has_pour;
}

/* ---- The node ---- */

static bool write_config(const struct cli_bench *bench, char *path, size_t capacity, struct fr_err *err)
{
    FILE *file;
    bool is_good;

    snprintf(path, capacity, "%s/s1.yaml", bench->directory);
    file = fopen(path, "w");
    is_good = file && fputs(bench_catalogue(BENCH_S1), file) >= 0;
    is_good = file && fclose(file) == 0 && is_good;
    return is_good || fr_fail(err, FR_UNAVAILABLE, "cannot write %s: %s", path, strerror(errno));
}

static bool start_node(struct serve *serve, struct fr_err *err)
{
    const struct ingest_topic topic = {.name = topic_name, .partitions = BENCH_PARTITIONS};
    char config[CLI_DIRECTORY_BYTES + 32], brokers[512], path[CLI_DIRECTORY_BYTES + 32], line[1024];
    const char *const arguments[] = {"freshet",  "run",
                                     "--config", config,
                                     "--set",    brokers,
                                     "--set",    path,
                                     "--set",    "store.memory=8GiB",
                                     "--set",    "server.loops=1",
                                     "--set",    "server.listen=127.0.0.1:0",
                                     "--set",    "server.operations=127.0.0.1:0",
                                     NULL};

    if (serve->bench->brokers)
        return fr_fail(err, FR_BAD_CONFIG, "serve has a broker of its own, for its events to flow on; leave --brokers out");
    if (!write_config(serve->bench, config, sizeof config, err) ||
        !ingest_broker_start(&topic, 1, &serve->bench->embedded, err))
        return false;
    serve->bench->brokers = ingest_broker_address(serve->bench->embedded);
    snprintf(brokers, sizeof brokers, "kafka.brokers=%s", serve->bench->brokers);
    snprintf(path, sizeof path, "store.path=%s/state", serve->bench->directory);
    snprintf(serve->node.log, sizeof serve->node.log, "%s/log", serve->bench->directory);
    serve->has_node = cli_bench_process__start(&serve->node, NULL, arguments, environ, err);
    if (!serve->has_node || !cli_bench_process__line(&serve->node, LINE_MS, line, sizeof line, err))
        return false;
    return cli_bench_process__text(line, "api", serve->api, sizeof serve->api) ||
           fr_fail(err, FR_UNAVAILABLE, "the node's first line makes no sense: %.200s", line);
}

/* ---- Runs ---- */

static bool load(struct serve *serve, enum server which, const char *address, int items, double seconds,
                 struct fr_buffer *reply, struct cli_bench_answers *answers, struct fr_err *err)
{
    const struct cli_bench_load asked = {.protocol = which == REDIS ? &cli_bench_load__redis : &cli_bench_load__grpc,
                                         .address = address,
                                         .connections = reply ? 1 : SERVE_CONNECTIONS,
                                         .items = items,
                                         .seconds = seconds,
                                         .s1 = &serve->s1,
                                         .reply = reply};

    if (!cli_bench_load__run(&asked, answers, err))
        return fr_fail_in(err, "%s", server_names[which]);
    return answers->requests > 0 || fr_fail(err, FR_UNAVAILABLE, "%s answered nothing", server_names[which]);
}

static bool measure(struct serve *serve, enum server which, const struct cli_bench_process *process, const char *address,
                    int items, struct sample *sample, struct fr_err *err)
{
    double before = cli_bench_process__cpu(process), cpu, without, loops;
    int64_t start_us = fr_clock_monotonic_us();

    fr_clock_sleep_ms(IDLE_MS * (int64_t)serve->bench->seconds);
    sample->background = (cli_bench_process__cpu(process) - before) * 1e6 / (double)(fr_clock_monotonic_us() - start_us);
    before = cli_bench_process__cpu(process);
    loops = cli_bench_process__loops_cpu(process);
    if (!load(serve, which, address, items, (double)serve->bench->seconds, NULL, &sample->answers, err))
        return false;
    cpu = cli_bench_process__cpu(process) - before;
    without = cpu - sample->background * sample->answers.seconds;
    /* On a machine so busy that the server hardly ran, less than nothing may be left: then all counts. */
    cpu = without > 0 ? without : cpu;
    sample->cpu_per_1000 = cpu * 1000 / (double)sample->answers.requests;
    sample->loops_per_1000 = (cli_bench_process__loops_cpu(process) - loops) * 1000 / (double)sample->answers.requests;
    fprintf(stderr,
            "  %-13s %3d items %8.0f requests/s  %.4f CPU s per 1,000 (%.4f in loops)  p50 %.0f  p99 %.0f  p99.9 %.0f µs\n",
            server_names[which], items, (double)sample->answers.requests / sample->answers.seconds, sample->cpu_per_1000,
            sample->loops_per_1000, sample->answers.p50_us, sample->answers.p99_us, sample->answers.p999_us);
    return true;
}

/* A whole reply, for the server that always gives the same; the message without its prefix. */
static bool start_static(struct serve *serve, int items, struct cli_bench_process *process, char api[256], struct fr_err *err)
{
    enum { PREFIX_BYTES = 5 };
    char path[CLI_DIRECTORY_BYTES + 32], line[512];
    const char *const arguments[] = {"freshet", "bench", "static", "--topic", path, NULL};
    struct cli_bench_answers answers;
    struct fr_buffer reply;
    FILE *file = NULL;
    bool is_good;

    snprintf(path, sizeof path, "%s/reply", serve->bench->directory);
    fr_buffer_init(&reply);
    is_good = load(serve, OURS, serve->api, items, 0.2, &reply, &answers, err);
    if (is_good && reply.length < (size_t)items * BENCH_S1_ITEM_FLOATS * sizeof(float))
        is_good = fr_fail(err, FR_CORRUPT, "a reply of %zu bytes is not S1's", reply.length);
    if (is_good) {
        file = fopen(path, "wb");
        is_good =
            file && fwrite(reply.bytes + PREFIX_BYTES, 1, reply.length - PREFIX_BYTES, file) == reply.length - PREFIX_BYTES;
        is_good = file && fclose(file) == 0 && is_good;
        if (!is_good)
            fr_fail(err, FR_UNAVAILABLE, "cannot write %s: %s", path, strerror(errno));
    }
    fr_buffer_fini(&reply);
    if (!is_good || !cli_bench_process__start(process, NULL, arguments, environ, err))
        return false;
    is_good = cli_bench_process__line(process, LINE_MS, line, sizeof line, err);
    if (is_good && !cli_bench_process__text(line, "api", api, 256))
        is_good = fr_fail(err, FR_UNAVAILABLE, "the static server's first line makes no sense: %.200s", line);
    if (!is_good)
        cli_bench_process__give_up(process);
    return is_good;
}

static bool run_case(struct serve *serve, int at, struct fr_err *err)
{
    struct cli_bench_process fixed = {0};
    int items = cases[at].items;
    char api[256];
    bool is_good = true;

    if (cases[at].is_under_ingest && !serve->has_pour && !start_pour(serve, err))
        return false;
    if (!start_static(serve, items, &fixed, api, err))
        return false;
    fprintf(stderr, "%d items%s\n", items, cases[at].is_under_ingest ? ", under ingest" : "");
    for (uint64_t i = 0; i < serve->bench->pairs && is_good; i++) {
        is_good = measure(serve, STATIC_REPLY, &fixed, api, items, &serve->samples[at][STATIC_REPLY][i], err) &&
                  measure(serve, OURS, &serve->node, serve->api, items, &serve->samples[at][OURS][i], err) &&
                  (!serve->has_redis || measure(serve, REDIS, &serve->redis.process, serve->redis.address, items,
                                                &serve->samples[at][REDIS][i], err));
        if (is_good && cli_signals__is_stopped())
            is_good = fr_fail(err, FR_CANCELLED, "stopped by a signal");
    }
    cli_bench_process__give_up(&fixed);
    return is_good;
}

/* ---- Telling ---- */

static int server_count(const struct serve *serve)
{
    return serve->has_redis ? SERVERS : SERVERS - 1;
}

/* The case as a report of its own, for its medians and ratios. */
static void make_report(const struct serve *serve, int at, struct cli_bench_report *report)
{
    report->pairs = (int)serve->bench->pairs;
    report->peer_count = server_count(serve) - 1;
    for (int pair = 0; pair < report->pairs; pair++) {
        report->ours[pair] = serve->samples[at][OURS][pair].cpu_per_1000;
        for (int i = 0; i < report->peer_count; i++)
            report->peers[i].values[pair] = serve->samples[at][STATIC_REPLY + i][pair].cpu_per_1000;
    }
    for (int i = 0; i < report->peer_count; i++)
        snprintf(report->peers[i].name, sizeof report->peers[i].name, "%s", server_names[STATIC_REPLY + i]);
}

static int by_p50(const void *a, const void *b)
{
    double x = ((const struct sample *)a)->answers.p50_us, y = ((const struct sample *)b)->answers.p50_us;

    return (x > y) - (x < y);
}

/* The pair in the middle by its median latency. */
static struct sample middle(const struct sample *samples, int count)
{
    struct sample sorted[BENCH_PAIRS_MAX];

    memcpy(sorted, samples, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, by_p50);
    return sorted[count / 2];
}

static void append_server(const struct serve *serve, int at, enum server which, double cpu_per_1000, struct fr_buffer *out)
{
    struct sample sample = middle(serve->samples[at][which], (int)serve->bench->pairs);

    fr_buffer_append_format(out,
                            "\"%s\":{\"cpu_seconds_per_1000\":%.5f,\"loop_cpu_seconds_per_1000\":%.5f,\"background_cpu\":%.4f,"
                            "\"requests_per_second\":%.0f,"
                            "\"p50_us\":%.0f,\"p99_us\":%.0f,\"p999_us\":%.0f,\"reply_bytes\":%" PRIu64 "},",
                            which == OURS ? "ours" : server_names[which], cpu_per_1000, sample.loops_per_1000,
                            sample.background, (double)sample.answers.requests / sample.answers.seconds, sample.answers.p50_us,
                            sample.answers.p99_us, sample.answers.p999_us, sample.answers.reply_bytes);
}

static void append_case(const struct serve *serve, int at, struct fr_buffer *out)
{
    static struct cli_bench_report report; /* thousands of samples: not for the stack */

    make_report(serve, at, &report);
    fr_buffer_append_format(out, "%s{\"items\":%d,\"is_under_ingest\":%s,", at > 0 ? "," : "", cases[at].items,
                            cases[at].is_under_ingest ? "true" : "false");
    append_server(serve, at, OURS, cli_bench_report__ours(&report).median, out);
    for (int i = 0; i < report.peer_count; i++)
        append_server(serve, at, (enum server)(STATIC_REPLY + i), cli_bench_report__peer(&report, i).median, out);
    fr_buffer_append_text(out, "\"ratio\":{");
    for (int i = 0; i < report.peer_count; i++)
        fr_buffer_append_format(out, "%s\"%s\":%.4f", i > 0 ? "," : "", report.peers[i].name,
                                cli_bench_report__ratio(&report, i).median);
    fr_buffer_append_text(out, "}}");
}

static void tell(const struct serve *serve, struct cli_bench_report *report)
{
    struct fr_buffer *out = &report->details;
    char number[32];

    make_report(serve, 0, report);
    fr_buffer_append_format(out,
                            ",\"workload\":{\"name\":\"S1\",\"events\":%" PRIu64
                            ",\"users\":%d,\"items\":%d},\"connections\":%d,\"server_loops\":1,\"ingest_events_per_second\":%d,"
                            "\"skipped\":[%s],\"cases\":[",
                            serve->s1.events, serve->s1.users, serve->s1.items, SERVE_CONNECTIONS, POUR_RATE,
                            serve->has_redis ? "" : "\"redis_mget\"");
    for (int at = 0; at < CASES; at++)
        append_case(serve, at, out);
    fr_buffer_append_byte(out, ']');
    fr_buffer_append_format(
        &report->notes,
        "  S1, 200 items, idle: a user of 32 floats and 100 ids, items of 64 floats, among %d users and %d items that %s events"
        " made.\n  The node's own work without requests is taken off. --json has 500 items and both under ingest, with "
        "latencies.\n",
        serve->s1.users, serve->s1.items, cli_progress__grouped(serve->s1.events, number));
    if (!serve->has_redis)
        fr_buffer_append_text(&report->notes,
                              "  redis_mget is skipped: there is no redis-server; apt-get install redis-server\n");
}

/* ---- The whole ---- */

static bool run_all(struct serve *serve, struct fr_err *err)
{
    if (!start_node(serve, err) || !fill(serve, err))
        return false;
    if (cli_bench_redis__is_here()) {
        if (!cli_bench_redis__start(&serve->redis, serve->bench->directory, &serve->s1, err))
            return false;
        serve->has_redis = true;
    }
    for (int at = 0; at < CASES; at++) {
        if (!run_case(serve, at, err))
            return false;
    }
    return true;
}

bool cli_bench__serve(struct cli_bench *bench, struct cli_bench_report *report, struct fr_buffer *svg, struct fr_err *err)
{
    struct serve *serve = calloc(1, sizeof *serve);
    uint64_t events = bench->events > 0 ? bench->events : SERVE_EVENTS;
    bool is_good;

    if (!serve)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    serve->bench = bench;
    serve->s1 = (struct bench_s1){.events = events,
                                  .start_ms = start_ms,
                                  .span_ms = SERVE_SPAN_MS,
                                  .users = (int)(events / BENCH_S1_USER_IDS) + 1,
                                  .items = SERVE_ITEMS,
                                  .creators = SERVE_CREATORS,
                                  .state = SERVE_SEED};
    report->unit = "CPU seconds per 1,000 requests";
    is_good = run_all(serve, err);
    if (serve->has_pour)
        cli_bench_process__give_up(&serve->pour);
    if (serve->has_redis)
        cli_bench_process__give_up(&serve->redis.process);
    if (serve->has_node)
        cli_bench_process__give_up(&serve->node);
    if (is_good) {
        tell(serve, report);
        cli_bench_plot__bars(report, svg);
    }
    free(serve);
    return is_good;
}
