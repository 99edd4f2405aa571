/*
 * What a benchmark found, as one JSON object and as a table: medians, and ratios taken pair by pair, so that noise that both of a
 * pair had goes out.
 */
#include "bench.h"

#include <freshet/ingest.h>
#include <freshet/message.h>

#include <stdlib.h>
#include <sys/utsname.h>
#include <unistd.h>

void cli_bench_report__init(struct cli_bench_report *report, const char *name, const char *unit)
{
    memset(report, 0, sizeof *report);
    report->name = name;
    report->unit = unit;
    report->ours_name = "freshet";
    fr_buffer_init(&report->details);
    fr_buffer_init(&report->notes);
}

void cli_bench_report__fini(struct cli_bench_report *report)
{
    fr_buffer_fini(&report->details);
    fr_buffer_fini(&report->notes);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static struct cli_bench_spread spread_of(const double *values, int count)
{
    double sorted[BENCH_PAIRS_MAX];

    if (count == 0)
        return (struct cli_bench_spread){0};
    memcpy(sorted, values, (size_t)count * sizeof *sorted);
    qsort(sorted, (size_t)count, sizeof *sorted, compare);
    return (struct cli_bench_spread){
        .least = sorted[0], .median = (sorted[(count - 1) / 2] + sorted[count / 2]) / 2, .most = sorted[count - 1]};
}

struct cli_bench_spread cli_bench_report__ours(const struct cli_bench_report *report)
{
    return spread_of(report->ours, report->pairs);
}

struct cli_bench_spread cli_bench_report__peer(const struct cli_bench_report *report, int peer)
{
    return spread_of(report->peers[peer].values, report->pairs);
}

struct cli_bench_spread cli_bench_report__ratio(const struct cli_bench_report *report, int peer)
{
    double ratios[BENCH_PAIRS_MAX];

    for (int i = 0; i < report->pairs; i++) {
        double theirs = report->peers[peer].values[i];

        ratios[i] = theirs > 0 ? report->ours[i] / theirs : 0;
    }
    return spread_of(ratios, report->pairs);
}

/* ---- The machine ---- */

static void read_cpu_model(char *out, size_t capacity)
{
    FILE *file = fopen("/proc/cpuinfo", "r");
    char line[256];

    snprintf(out, capacity, "unknown");
    while (file && fgets(line, sizeof line, file)) {
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':')) {
            line[strcspn(line, "\n")] = 0;
            snprintf(out, capacity, "%s", strchr(line, ':') + 2);
            break;
        }
    }
    if (file)
        fclose(file);
}

static void append_text(struct fr_buffer *out, const char *name, const char *text)
{
    fr_buffer_append_format(out, "\"%s\":", name);
    proto_json_quote(fr_slice_of(text), out);
}

static void append_machine(struct fr_buffer *out)
{
    char model[200], allocator[BENCH_NAME_BYTES];
    struct utsname os = {0};
    double load = 0;

    read_cpu_model(model, sizeof model);
    (void)uname(&os);
    (void)getloadavg(&load, 1);
    fr_buffer_append_byte(out, '{');
    append_text(out, "cpu", model);
    fr_buffer_append_format(out, ",\"cores\":%ld,\"memory_bytes\":%.0f,\"load\":%.2f,", sysconf(_SC_NPROCESSORS_ONLN),
                            (double)sysconf(_SC_PHYS_PAGES) * (double)sysconf(_SC_PAGESIZE), load);
    append_text(out, "os", os.sysname);
    fr_buffer_append_byte(out, ',');
    append_text(out, "kernel", os.release);
    fr_buffer_append_byte(out, ',');
    append_text(out, "freshet", FRESHET_VERSION);
    fr_buffer_append_byte(out, ',');
    append_text(out, "build", FRESHET_BUILD);
    fr_buffer_append_byte(out, ',');
    append_text(out, "compiler", __VERSION__);
    fr_buffer_append_byte(out, ',');
    append_text(out, "librdkafka", ingest_library_version());
    fr_buffer_append_byte(out, ',');
    append_text(out, "allocator", cli_bench_child__allocator(allocator));
    fr_buffer_append_byte(out, '}');
}

/* ---- JSON ---- */

static void append_spread(struct fr_buffer *out, const char *name, struct cli_bench_spread spread)
{
    fr_buffer_append_format(out, "\"%s\":{\"min\":%.6g,\"median\":%.6g,\"max\":%.6g}", name, spread.least, spread.median,
                            spread.most);
}

static void append_spreads(const struct cli_bench_report *report, struct fr_buffer *out)
{
    fr_buffer_append_text(out, ",\"spread\":{");
    append_spread(out, "ours", cli_bench_report__ours(report));
    fr_buffer_append_text(out, ",\"peers\":{");
    for (int i = 0; i < report->peer_count; i++) {
        fr_buffer_append_text(out, i > 0 ? "," : "");
        append_spread(out, report->peers[i].name, cli_bench_report__peer(report, i));
    }
    fr_buffer_append_text(out, "},\"ratio\":{");
    for (int i = 0; i < report->peer_count; i++) {
        fr_buffer_append_text(out, i > 0 ? "," : "");
        append_spread(out, report->peers[i].name, cli_bench_report__ratio(report, i));
    }
    fr_buffer_append_text(out, "}}");
}

void cli_bench_report__json(const struct cli_bench_report *report, struct fr_buffer *out)
{
    fr_buffer_append_byte(out, '{');
    append_text(out, "name", report->name);
    fr_buffer_append_byte(out, ',');
    append_text(out, "unit", report->unit);
    fr_buffer_append_format(out, ",\"ours\":%.6g,\"peers\":{", cli_bench_report__ours(report).median);
    for (int i = 0; i < report->peer_count; i++)
        fr_buffer_append_format(out, "%s\"%s\":%.6g", i > 0 ? "," : "", report->peers[i].name,
                                cli_bench_report__peer(report, i).median);
    fr_buffer_append_text(out, "},\"ratio\":{");
    for (int i = 0; i < report->peer_count; i++)
        fr_buffer_append_format(out, "%s\"%s\":%.6g", i > 0 ? "," : "", report->peers[i].name,
                                cli_bench_report__ratio(report, i).median);
    fr_buffer_append_format(out, "},\"pairs\":%d,\"machine\":", report->pairs);
    append_machine(out);
    append_spreads(report, out);
    fr_buffer_append(out, report->details.bytes, report->details.length);
    fr_buffer_append_byte(out, '}');
}

/* ---- For people ---- */

const char *cli_bench_report__number(double value, char out[32])
{
    if (value >= 1000)
        return cli_progress__grouped((uint64_t)(value + 0.5), out);
    snprintf(out, 32, "%.4g", value);
    return out;
}

static void add_row(struct cli_table *table, const char *name, struct cli_bench_spread spread, const char *ratio)
{
    char number[32];

    cli_table__cell(table, "%s", name);
    cli_table__cell(table, "%s", cli_bench_report__number(spread.least, number));
    cli_table__cell(table, "%s", cli_bench_report__number(spread.median, number));
    cli_table__cell(table, "%s", cli_bench_report__number(spread.most, number));
    cli_table__cell(table, "%s", ratio);
}

void cli_bench_report__print(const struct cli_bench_report *report, FILE *out)
{
    struct cli_table table;
    char ratio[96];

    fprintf(out, "%s: %s, %d pair%s\n", report->name, report->unit, report->pairs, report->pairs == 1 ? "" : "s");
    cli_table__init(&table, 5);
    cli_table__cell(&table, " ");
    cli_table__cell(&table, "min");
    cli_table__cell(&table, "median");
    cli_table__cell(&table, "max");
    cli_table__cell(&table, "ours / theirs");
    add_row(&table, report->ours_name, cli_bench_report__ours(report), "");
    for (int i = 0; i < report->peer_count; i++) {
        struct cli_bench_spread of = cli_bench_report__ratio(report, i);

        snprintf(ratio, sizeof ratio, "%.2f (%.2f to %.2f)", of.median, of.least, of.most);
        add_row(&table, report->peers[i].name, cli_bench_report__peer(report, i), ratio);
    }
    cli_table__print(&table, "  ", out);
    cli_table__fini(&table);
    fprintf(out, "%.*s", (int)report->notes.length, (const char *)report->notes.bytes);
}
