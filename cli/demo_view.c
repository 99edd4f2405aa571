/*
 * What demo shows: rates, lag, the hottest things, and how to ask about them. On a terminal it draws over itself once a second;
 * into a pipe it says one line now and then.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/message.h>
#include <freshet/pipeline.h>
#include <freshet/v1/admin.pb-c.h>

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <unistd.h>

enum {
    VIEW_TERMINAL_MS = 1000,
    VIEW_PIPE_MS = 5000,
    VIEW_ASKED_MS = 30000,
    VIEW_STATUS_MS = 1000,
    VIEW_ARENA_BYTES = 16 << 20
};

struct cli_view {
    const char *file;
    bool has_fine_rank, is_terminal;
    bool told_ready, told_done;
    char api[300], operations[300], brokers[300];
    struct fr_arena *arena;
    int64_t start_ms, drawn_ms; /* monotonic */
    uint64_t applied, produced; /* when drawn last */
    struct cli_traffic_seen asked; /* what the queries are about; stands for a while, so that it can be copied */
    int64_t asked_ms;
};

struct figures {
    uint64_t applied, applied_per_s, produced_per_s, entities, epoch, memory_bytes;
    int64_t lag;
    bool is_ready;
};

struct cli_view *cli_view__new(const struct pipeline_node *node, const char *file, bool has_fine_rank)
{
    struct cli_view *view = calloc(1, sizeof *view);

    if (!view)
        return NULL;
    view->file = file;
    view->has_fine_rank = has_fine_rank;
    view->is_terminal = isatty(STDOUT_FILENO) == 1;
    view->start_ms = view->drawn_ms = fr_clock_monotonic_ms();
    snprintf(view->api, sizeof view->api, "%s", pipeline_node_api(node));
    snprintf(view->operations, sizeof view->operations, "%s", pipeline_node_operations(node));
    snprintf(view->brokers, sizeof view->brokers, "%s", pipeline_node_brokers(node));
    view->arena = fr_arena_new(VIEW_ARENA_BYTES);
    if (!view->arena) {
        free(view);
        return NULL;
    }
    return view;
}

void cli_view__free(struct cli_view *view)
{
    if (!view)
        return;
    fr_arena_free(view->arena);
    free(view);
}

/* The node is asked as anybody would ask it; when it does not answer, these figures stay 0. */
static void ask_status(struct cli_view *view, struct figures *figures)
{
    const Freshet__V1__StatusResponse *status = NULL;
    const struct cli_node node = {.api = view->api};
    struct fr_buffer reply;
    struct fr_err ignored;

    fr_buffer_init(&reply);
    fr_arena_reset(view->arena, VIEW_ARENA_BYTES);
    if (cli_client__call(&node, "freshet.v1.AdminService/Status", fr_slice_of("{}"), VIEW_STATUS_MS, &reply, &ignored))
        status = (const Freshet__V1__StatusResponse *)proto_json_parse(&freshet__v1__status_response__descriptor,
                                                                       fr_buffer_slice(&reply), view->arena, &ignored);
    if (status) {
        figures->entities = status->entities;
        figures->epoch = status->epoch;
        figures->memory_bytes = status->memory_bytes;
    }
    fr_buffer_fini(&reply);
}

static struct figures look(struct cli_view *view, struct pipeline_node *node, const struct cli_traffic_seen *seen,
                           int64_t now_ms)
{
    struct figures figures = {.applied = pipeline_node_applied_events(node),
                              .lag = pipeline_node_lag_events(node),
                              .is_ready = pipeline_node_is_ready(node)};
    uint64_t span_ms = now_ms > view->drawn_ms ? (uint64_t)(now_ms - view->drawn_ms) : 1;

    figures.applied_per_s = (figures.applied - view->applied) * 1000 / span_ms;
    figures.produced_per_s = (seen->produced - view->produced) * 1000 / span_ms;
    ask_status(view, &figures);
    view->applied = figures.applied;
    view->produced = seen->produced;
    view->drawn_ms = now_ms;
    return figures;
}

static void print_hot(const char *what, const struct cli_hot_entry *entries, int count, const char *end)
{
    printf("  %-14s", what);
    for (int i = 0; i < count; i++)
        printf("%s%" PRIu64 " (%.0f)", i > 0 ? "  " : "", entries[i].id, entries[i].score);
    printf("%s%s", count > 0 ? "" : "-", end);
}

static void print_ids(const struct cli_hot_entry *entries, int count, const char *separator)
{
    for (int i = 0; i < count && i < 3; i++)
        printf("%s%" PRIu64, i > 0 ? separator : "", entries[i].id);
}

/* Commands that answer with something, ready to be copied. */
static void print_queries(const struct cli_view *view, const char *end)
{
    const struct cli_traffic_seen *seen = &view->asked;
    const char *set = view->has_fine_rank ? " --feature-set fine_rank" : "";
    bool is_usual = strcmp(view->api, "127.0.0.1:7070") == 0;

    printf("  %s get --user %" PRIu64 " --items ", program_invocation_name, seen->user_id);
    print_ids(seen->items, seen->item_count, ",");
    printf("%s%s%s%s", set, is_usual ? "" : " --api ", is_usual ? "" : view->api, end);
    if (view->has_fine_rank) {
        printf("  curl -s http://%s/freshet.v1.FeatureService/GetFeatures -H 'Content-Type: application/json'%s", view->api,
               end);
        printf("    -d '{\"userId\":\"%" PRIu64 "\",\"itemIds\":[", seen->user_id);
        print_ids(seen->items, seen->item_count, ",");
        printf("],\"featureSet\":\"fine_rank\"}'%s", end);
    } else {
        printf("  curl -s http://%s/freshet.v1.FeatureService/Describe -H 'Content-Type: application/json' -d '{}'%s",
               view->api, end);
    }
    printf("  %s status --watch%s%s%s", program_invocation_name, is_usual ? "" : " --api ", is_usual ? "" : view->api, end);
}

static void print_state(const struct cli_view *view, const struct figures *figures, const struct cli_traffic_seen *seen)
{
    if (!figures->is_ready)
        printf("starting");
    else
        printf("serving");
    if (!view->file)
        printf(": simulated livestream and shop");
    else if (!seen->is_applied)
        printf(": replaying %s", view->file);
    else
        printf(": replayed %" PRIu64 " events; still serving", seen->produced);
}

static void draw_terminal(struct cli_view *view, const struct figures *figures, const struct cli_traffic_seen *seen)
{
    static const char end[] = "\033[K\n";
    char applied[32], entities[32], line[160];

    printf("\033[H\033[1mfreshet\033[0m  ");
    print_state(view, figures, seen);
    printf("%s%s", end, end);
    if (view->file && !seen->is_applied) {
        cli_progress__line(seen->at, seen->size, seen->produced, "events", view->drawn_ms - view->start_ms, line, sizeof line);
        printf("  %s%s%s", line, end, end);
    }
    printf("  %-14s%s, %" PRIu64 "/s (produced %" PRIu64 "/s), lag %" PRId64 "%s", "applied",
           cli_progress__grouped(figures->applied, applied), figures->applied_per_s, figures->produced_per_s,
           figures->lag < 0 ? 0 : figures->lag, end);
    printf("  %-14s%s in %.1f MiB, epoch %" PRIu64 "%s", "entities", cli_progress__grouped(figures->entities, entities),
           (double)figures->memory_bytes / 1048576, figures->epoch, end);
    print_hot("hot items", seen->items, seen->item_count, end);
    print_hot("hot rooms", seen->rooms, seen->room_count, end);
    printf("%sask it, from another terminal:%s", end, end);
    print_queries(view, end);
    printf("%soperations: http://%s/   brokers: %s   ^C stops%s\033[J", end, view->operations, view->brokers, end);
}

static void print_line(struct cli_view *view, const struct figures *figures, const struct cli_traffic_seen *seen)
{
    char applied[32], entities[32];

    print_state(view, figures, seen);
    if (view->file && seen->size > 0 && !seen->is_read)
        printf(" (%d %%)", (int)(100 * seen->at / (uint64_t)seen->size));
    printf("; %s events applied, %" PRIu64 "/s, lag %" PRId64 ", %s entities, epoch %" PRIu64 "\n",
           cli_progress__grouped(figures->applied, applied), figures->applied_per_s, figures->lag < 0 ? 0 : figures->lag,
           cli_progress__grouped(figures->entities, entities), figures->epoch);
    if (figures->is_ready && !view->told_ready && seen->user_id != 0) {
        print_queries(view, "\n");
        printf("  operations: http://%s/   brokers: %s\n", view->operations, view->brokers);
        view->told_ready = true;
    }
}

void cli_view__draw(struct cli_view *view, struct pipeline_node *node, const struct cli_traffic_seen *seen)
{
    int64_t now_ms = fr_clock_monotonic_ms();
    bool is_news = (!view->told_ready && seen->user_id != 0 && pipeline_node_is_ready(node)) ||
                   (!view->told_done && view->file && seen->is_applied);
    struct figures figures;

    if (now_ms - view->drawn_ms < (view->is_terminal ? VIEW_TERMINAL_MS : VIEW_PIPE_MS) && !is_news)
        return;
    if (view->asked.user_id == 0 || now_ms - view->asked_ms > VIEW_ASKED_MS) {
        view->asked = *seen;
        view->asked_ms = now_ms;
    }
    figures = look(view, node, seen, now_ms);
    if (view->is_terminal)
        draw_terminal(view, &figures, seen);
    else
        print_line(view, &figures, seen);
    view->told_ready = view->told_ready || (figures.is_ready && seen->user_id != 0);
    view->told_done = view->told_done || (view->file && seen->is_applied);
    fflush(stdout);
}
