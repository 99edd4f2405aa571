/*
 * freshet bench freshness: from the moment an event is given to a producer until a ranker reads its effect, at half of the load that
 * this machine takes; beside it, until a bare consumer has the same event. One marked event at a time, each of a user nobody else is:
 * the next goes out when the one before was seen, a few milliseconds apart.
 */
#include "bench.h"
#include "connection.h"

#include <freshet/bench.h>
#include <freshet/clock.h>
#include <freshet/ingest.h>

#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

enum {
    PROBE_GAP_MS = 5,
    PROBE_PATIENCE_MS = 30000,
    PROBES_MAX = 200000,
    LOOK_US = 50, /* between two reads of the marked user: 200 were a third of what was measured */
    SETTLE_MS = 1000, /* of pouring, before anything is measured */
    POUR_SLICE_MS = 2,
    POUR_PAUSE_EVENTS = 4096, /* without a rate: how often it looks whether it shall stop */
    EMBEDDED_RATE_MOST = 20000, /* its records are copied by this process, which has a core less then */
    LINE_MS = 60000,
    CALL_MS = 10000,
};
static const char topic_name[] = "freshet.bench.freshness";
static const uint64_t marked_user = UINT64_C(1) << 63; /* W1's ids have 63 bits */

struct percentiles {
    double p50_ms, p99_ms, p999_ms;
    int probes;
};

struct freshness {
    struct cli_bench *bench;
    struct cli_bench_node node;
    struct ingest_producer *producer;
    uint64_t capacity, rate; /* events a second */
    uint64_t probes; /* so far, of all runs */
    int64_t *latencies_us;
    struct percentiles ours[BENCH_PAIRS_MAX], bare[BENCH_PAIRS_MAX];
    double ratio_p50[BENCH_PAIRS_MAX];
};

/* ---- Children ---- */

int cli_bench_freshness__pour_main(const struct cli_command *command, const char *brokers, const char *topic, uint64_t rate)
{
    const struct bench_workload_options options = bench_w1_options(INT32_MAX);
    const struct ingest_producer_options producing = {.brokers = brokers, .pace_group = rate == 0 ? "freshet" : NULL};
    struct bench_workload *workload = bench_workload_new(&options);
    struct ingest_producer *producer = NULL;
    int64_t begin_ms = fr_clock_monotonic_ms();
    struct proto_event event;
    struct fr_buffer buffer;
    struct fr_err err;
    uint64_t sent = 0;
    bool is_good = workload ? ingest_producer_open(&producing, &producer, &err) : fr_fail(&err, FR_EXHAUSTED, "out of memory");

    cli_signals__catch(NULL, NULL);
    fr_buffer_init(&buffer);
    while (is_good && !cli_signals__is_stopped()) {
        uint64_t due = rate > 0 ? (uint64_t)(fr_clock_monotonic_ms() - begin_ms) * rate / 1000 : sent + POUR_PAUSE_EVENTS;

        for (; is_good && sent < due && bench_workload_next(workload, &event); sent++)
            is_good = cli_bench_topic__send(producer, topic, &event, &buffer, &err);
        if (rate > 0)
            fr_clock_sleep_ms(POUR_SLICE_MS);
    }
    fr_buffer_fini(&buffer);
    ingest_producer_close(producer);
    bench_workload_free(workload);
    return is_good ? CLI_OK : cli_command__fail(command, &err);
}

static void say_begun(void *user)
{
    (void)user;
    printf("{\"begun\":1}\n");
    fflush(stdout);
}

/* The clock is the machine's, so the parent can compare. */
static void look_at_record(void *user, struct fr_slice value)
{
    struct proto_event event;

    (void)user;
    if (proto_event_read(PROTO_FORMAT_PROTOBUF, value, INT64_MAX, NULL, &event, NULL) != PROTO_EVENT ||
        event.user_id < marked_user)
        return;
    printf("{\"probe\":%" PRIu64 ",\"us\":%" PRId64 "}\n", event.user_id - marked_user, fr_clock_monotonic_us());
    fflush(stdout);
}

int cli_bench_freshness__follow_main(const struct cli_command *command, const char *brokers, const char *topic)
{
    struct fr_err err;

    return ingest_bare_follow(brokers, topic, say_begun, look_at_record, NULL, &err) ? CLI_OK
                                                                                     : cli_command__fail(command, &err);
}

static bool start_pour(const struct freshness *freshness, uint64_t rate, struct cli_bench_process *pour, struct fr_err *err)
{
    char text[32];
    const char *const arguments[] = {"freshet", "bench",    "pour_w1",  "--brokers", freshness->node.brokers,
                                     "--topic", topic_name, "--events", text,        NULL};

    snprintf(text, sizeof text, "%" PRIu64, rate);
    if (!cli_bench_process__start(pour, NULL, arguments, environ, err))
        return false;
    fr_clock_sleep_ms(SETTLE_MS);
    return true;
}

/* ---- Marked events ---- */

/* Sends one and says when that was. */
static bool send_probe(struct freshness *freshness, int64_t *sent_us, struct fr_err *err)
{
    struct proto_event event = {.user_id = marked_user + freshness->probes,
                                .item_id = 1,
                                .action = (uint32_t)proto_action_number(fr_slice_of("watch")),
                                .value = 1,
                                .ts_ms = bench_w1_options(1).start_ms};
    struct fr_buffer buffer;
    bool is_good;

    fr_buffer_init(&buffer);
    *sent_us = fr_clock_monotonic_us();
    is_good = cli_bench_topic__send(freshness->producer, topic_name, &event, &buffer, err);
    fr_buffer_fini(&buffer);
    return is_good;
}

/* Until a ranker would see it, on the connection that he has. */
static bool wait_readable(const struct freshness *freshness, struct cli_connection *ranker, int64_t *seen_us,
                          struct fr_err *err)
{
    static const char seen[] = "\"userPresent\":true";
    int64_t until_ms = fr_clock_monotonic_ms() + PROBE_PATIENCE_MS;
    char question[128];
    struct fr_buffer reply;
    bool is_good = true, is_seen = false;

    snprintf(question, sizeof question, "{\"userId\":\"%" PRIu64 "\",\"features\":[\"user_recent\"]}",
             marked_user + freshness->probes);
    fr_buffer_init(&reply);
    while (is_good && !is_seen) {
        fr_buffer_clear(&reply);
        is_good =
            cli_client__call_kept(ranker, "freshet.v1.FeatureService/GetFeatures", fr_slice_of(question), CALL_MS, &reply, err);
        *seen_us = fr_clock_monotonic_us();
        is_seen = is_good && memmem(reply.bytes, reply.length, seen, sizeof seen - 1);
        if (is_good && !is_seen && fr_clock_monotonic_ms() > until_ms)
            is_good = fr_fail(err, FR_UNAVAILABLE, "an event was not readable after %d s", PROBE_PATIENCE_MS / 1000);
        if (!is_seen)
            nanosleep(&(struct timespec){.tv_nsec = LOOK_US * 1000}, NULL);
    }
    fr_buffer_fini(&reply);
    return is_good;
}

/* Until the bare consumer told of it. */
static bool wait_consumed(const struct freshness *freshness, const struct cli_bench_process *follow, int64_t *seen_us,
                          struct fr_err *err)
{
    char line[256];

    if (!cli_bench_process__line(follow, PROBE_PATIENCE_MS, line, sizeof line, err))
        return false;
    if ((uint64_t)cli_bench_process__number(line, "probe") != freshness->probes)
        return fr_fail(err, FR_CORRUPT, "the bare consumer told of another event: %s", line);
    *seen_us = (int64_t)cli_bench_process__number(line, "us");
    return true;
}

static int by_value(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

static struct percentiles sort_out(int64_t *latencies_us, int count)
{
    qsort(latencies_us, (size_t)count, sizeof *latencies_us, by_value);
    return (struct percentiles){.p50_ms = (double)latencies_us[count / 2] / 1e3,
                                .p99_ms = (double)latencies_us[(int64_t)count * 99 / 100] / 1e3,
                                .p999_ms = (double)latencies_us[(int64_t)count * 999 / 1000] / 1e3,
                                .probes = count};
}

/* `ranker` or `follow` says who sees them. */
static bool probe(struct freshness *freshness, struct cli_connection *ranker, const struct cli_bench_process *follow,
                  struct percentiles *percentiles, struct fr_err *err)
{
    int64_t end_ms = fr_clock_monotonic_ms() + (int64_t)freshness->bench->seconds * 1000;
    int count = 0;

    while (count < PROBES_MAX && fr_clock_monotonic_ms() < end_ms) {
        int64_t sent_us, seen_us = 0;

        freshness->probes++;
        if (!send_probe(freshness, &sent_us, err) ||
            !(ranker ? wait_readable(freshness, ranker, &seen_us, err) : wait_consumed(freshness, follow, &seen_us, err)))
            return false;
        freshness->latencies_us[count++] = seen_us - sent_us;
        if (cli_signals__is_stopped())
            return fr_fail(err, FR_CANCELLED, "stopped by a signal");
        fr_clock_sleep_ms(PROBE_GAP_MS);
    }
    *percentiles = sort_out(freshness->latencies_us, count);
    return true;
}

/* ---- Runs ---- */

static bool start_node(struct freshness *freshness, struct cli_bench_process *child, char api[BENCH_API_BYTES],
                       struct fr_err *err)
{
    int64_t until_ms = fr_clock_monotonic_ms() + LINE_MS;
    struct cli_bench_look look = {0};

    if (!cli_bench_child__start(&freshness->node, child, api, err))
        return false;
    while (!look.is_caught_up) {
        bool is_good = cli_bench_child__look(api, &look, err);

        if (is_good && fr_clock_monotonic_ms() > until_ms)
            is_good = fr_fail(err, FR_UNAVAILABLE, "the node is not ready after %d s", LINE_MS / 1000);
        if (!is_good) {
            cli_bench_process__give_up(child);
            return false;
        }
        fr_clock_sleep_ms(PROBE_GAP_MS);
    }
    return true;
}

static void end_node(const struct freshness *freshness, struct cli_bench_process *child)
{
    cli_bench_process__give_up(child);
    cli_bench_child__clear(&freshness->node);
}

/* What the machine takes with broker, producer and node on it. */
static bool find_capacity(struct freshness *freshness, struct fr_err *err)
{
    struct cli_bench_process node = {0}, pour = {0};
    struct cli_bench_look before, after;
    char api[BENCH_API_BYTES];
    int64_t start_ms;
    bool is_good;

    if (!start_node(freshness, &node, api, err))
        return false;
    is_good = start_pour(freshness, 0, &pour, err);
    if (is_good) {
        start_ms = fr_clock_monotonic_ms();
        is_good = cli_bench_child__look(api, &before, err);
        fr_clock_sleep_ms((int64_t)freshness->bench->seconds * 1000);
        is_good = is_good && cli_bench_child__look(api, &after, err);
        if (is_good)
            freshness->capacity = (after.applied - before.applied) * 1000 / (uint64_t)(fr_clock_monotonic_ms() - start_ms);
        cli_bench_process__give_up(&pour);
    }
    end_node(freshness, &node);
    return is_good && (freshness->capacity > 0 || fr_fail(err, FR_UNAVAILABLE, "the node applied nothing"));
}

static bool run_ours(struct freshness *freshness, struct percentiles *percentiles, struct fr_err *err)
{
    struct cli_bench_process node = {0}, pour = {0};
    char api[BENCH_API_BYTES];
    const struct cli_node ranked = {.api = api};
    struct cli_connection ranker = {.node = &ranked, .fd = -1};
    bool is_good;

    if (!start_node(freshness, &node, api, err))
        return false;
    is_good = start_pour(freshness, freshness->rate, &pour, err);
    if (is_good) {
        is_good = probe(freshness, &ranker, NULL, percentiles, err);
        cli_bench_process__give_up(&pour);
    }
    cli_connection__close(&ranker);
    end_node(freshness, &node);
    return is_good;
}

static bool run_bare(struct freshness *freshness, struct percentiles *percentiles, struct fr_err *err)
{
    const char *const arguments[] = {"freshet", "bench",    "follow", "--brokers", freshness->node.brokers,
                                     "--topic", topic_name, NULL};
    struct cli_bench_process follow = {0}, pour = {0};
    char line[256];
    bool is_good;

    if (!cli_bench_process__start(&follow, NULL, arguments, environ, err))
        return false;
    is_good =
        cli_bench_process__line(&follow, LINE_MS, line, sizeof line, err) && start_pour(freshness, freshness->rate, &pour, err);
    if (is_good) {
        is_good = probe(freshness, NULL, &follow, percentiles, err);
        cli_bench_process__give_up(&pour);
    }
    cli_bench_process__give_up(&follow);
    return is_good;
}

static void tell_run(const char *what, const struct percentiles *percentiles)
{
    fprintf(stderr, "  %-13s p50 %7.2f  p99 %7.2f  p99.9 %7.2f ms  of %d events\n", what, percentiles->p50_ms,
            percentiles->p99_ms, percentiles->p999_ms, percentiles->probes);
}

static bool run_pair(struct freshness *freshness, struct cli_bench_report *report, struct fr_err *err)
{
    int at = report->pairs;

    fprintf(stderr, "  pair %d of %" PRIu64 ": a node, then a bare consumer, %" PRIu64 " s each\n", at + 1,
            freshness->bench->pairs, freshness->bench->seconds);
    if (!run_ours(freshness, &freshness->ours[at], err) || !run_bare(freshness, &freshness->bare[at], err))
        return false;
    tell_run("freshet", &freshness->ours[at]);
    tell_run("bare consumer", &freshness->bare[at]);
    freshness->ratio_p50[at] = freshness->ours[at].p50_ms / freshness->bare[at].p50_ms;
    report->peers[0].values[at] = freshness->bare[at].p99_ms;
    report->ours[report->pairs++] = freshness->ours[at].p99_ms;
    return true;
}

/* ---- Telling ---- */

static double median_of(const struct percentiles *runs, int count, size_t offset)
{
    struct cli_bench_report values = {.pairs = count};

    for (int i = 0; i < count; i++)
        memcpy(&values.ours[i], (const char *)&runs[i] + offset, sizeof values.ours[i]);
    return cli_bench_report__ours(&values).median;
}

static void append_runs(struct fr_buffer *out, const char *name, const struct percentiles *runs, int count)
{
    fr_buffer_append_format(out, "\"%s\":{\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f,\"events\":%d}", name,
                            median_of(runs, count, offsetof(struct percentiles, p50_ms)),
                            median_of(runs, count, offsetof(struct percentiles, p99_ms)),
                            median_of(runs, count, offsetof(struct percentiles, p999_ms)), runs[0].probes);
}

static void describe(const struct freshness *freshness, struct cli_bench_report *report)
{
    struct cli_bench_report ratios = {.pairs = report->pairs};
    char number[32], capacity[32];

    memcpy(ratios.ours, freshness->ratio_p50, sizeof ratios.ours);
    fr_buffer_append_format(&report->details,
                            ",\"workload\":{\"name\":\"W1\",\"events_per_second\":%" PRIu64
                            "},\"capacity_events_per_second\":%" PRIu64 ",\"broker\":\"%s\",\"seconds\":%" PRIu64
                            ",\"ratio_p50\":%.4f,\"latency\":{",
                            freshness->rate, freshness->capacity, freshness->bench->embedded ? "embedded" : "kafka",
                            freshness->bench->seconds, cli_bench_report__ours(&ratios).median);
    append_runs(&report->details, "ours", freshness->ours, report->pairs);
    fr_buffer_append_byte(&report->details, ',');
    append_runs(&report->details, "bare_consumer", freshness->bare, report->pairs);
    fr_buffer_append_byte(&report->details, '}');
    fr_buffer_append_format(
        &report->notes,
        "  W1 at %s events a second beside it; %s are what this machine takes with broker, producer and node "
        "on it.\n  p50: %.2f ms against %.2f, ratio %.2f. A node is read every %d µs, on one "
        "connection.\n",
        cli_progress__grouped(freshness->rate, number), cli_progress__grouped(freshness->capacity, capacity),
        median_of(freshness->ours, report->pairs, offsetof(struct percentiles, p50_ms)),
        median_of(freshness->bare, report->pairs, offsetof(struct percentiles, p50_ms)), cli_bench_report__ours(&ratios).median,
        LOOK_US);
}

static bool open_all(struct freshness *freshness, struct fr_err *err)
{
    static const struct ingest_property at_once[] = {{"linger.ms", "0"}};
    struct cli_bench *bench = freshness->bench;
    struct ingest_producer_options producing;

    if (!cli_bench_topic__broker(bench, topic_name, 0, err))
        return false;
    freshness->node = (struct cli_bench_node){.brokers = bench->brokers,
                                              .topic = topic_name,
                                              .config = bench->config,
                                              .directory = bench->directory,
                                              .memory = "4GiB",
                                              .sets = {"kafka.start=latest"}};
    freshness->latencies_us = malloc(PROBES_MAX * sizeof *freshness->latencies_us);
    producing = (struct ingest_producer_options){.brokers = bench->brokers, .properties = at_once, .property_count = 1};
    if (!freshness->latencies_us)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    return ingest_producer_open(&producing, &freshness->producer, err) &&
           ingest_producer_topic(freshness->producer, topic_name, BENCH_PARTITIONS, err);
}

bool cli_bench__freshness(struct cli_bench *bench, struct cli_bench_report *report, struct fr_buffer *svg, struct fr_err *err)
{
    static struct freshness freshness; /* thousands of samples: not for the stack */
    bool is_good;

    freshness = (struct freshness){.bench = bench};
    report->unit = "ms, p99";
    report->peer_count = 1;
    snprintf(report->peers[0].name, sizeof report->peers[0].name, "bare_consumer");
    is_good = open_all(&freshness, err) && find_capacity(&freshness, err);
    freshness.rate = freshness.capacity / 2;
    if (bench->embedded && freshness.rate > EMBEDDED_RATE_MOST)
        freshness.rate = EMBEDDED_RATE_MOST;
    for (uint64_t i = 0; is_good && i < bench->pairs; i++)
        is_good = run_pair(&freshness, report, err);
    ingest_producer_close(freshness.producer);
    free(freshness.latencies_us);
    if (is_good) {
        describe(&freshness, report);
        cli_bench_plot__bars(report, svg);
    }
    return is_good;
}
