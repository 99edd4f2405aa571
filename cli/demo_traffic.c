/*
 * What demo produces into its own broker: the simulated world by the wall clock, or a file as fast as the node applies it. The
 * embedded broker keeps a few MiB per partition and drops the oldest beyond, so what is on its way is bounded here: by events
 * and by bytes, counted from what the node says it has applied.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/ingest.h>
#include <freshet/pipeline.h>

#include <stdlib.h>

enum {
    TRAFFIC_EVENTS_MAX = 20000,
    TRAFFIC_BYTES_MAX = 4 << 20,
    TRAFFIC_STEP_EVENTS = 500,
    TRAFFIC_FULL_MS = 2, /* how soon to look again when nothing more fits */
    TRAFFIC_IDLE_MS = 200, /* when there is nothing to produce any more */
    TRAFFIC_TICK_MS = 10,
    TRAFFIC_FLUSH_MS = 1000,
};

struct cli_traffic {
    struct cli_traffic_options options;
    struct pipeline_node *node;
    struct ingest_producer *producer;
    struct cli_world *world;
    struct fr_buffer out;
    struct cli_record record;
    bool has_record; /* made, and not yet produced */
    int64_t due_ms; /* of the record, wall clock; simulated traffic only */
    bool is_read;
    int64_t start_us;
    uint64_t before; /* applied by the node before us, when the store is kept */
    uint64_t produced, applied; /* of ours */
    uint32_t bytes[TRAFFIC_EVENTS_MAX]; /* of the events on their way, as a ring */
    uint64_t bytes_away;
    uint64_t user_id;
    struct cli_hot items, rooms;
};

bool cli_traffic__open(const struct cli_traffic_options *options, struct pipeline_node *node, struct cli_traffic **ret,
                       struct fr_err *err)
{
    struct ingest_producer_options producer = {.brokers = options->brokers};
    struct cli_traffic *traffic = calloc(1, sizeof *traffic);

    if (!traffic)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    traffic->options = *options;
    traffic->node = node;
    traffic->before = pipeline_node_applied_events(node);
    traffic->start_us = fr_clock_monotonic_us();
    if (!options->loader) {
        struct cli_world_options world = {.seed = options->seed, .start_ms = fr_clock_wall_ms(), .rate = (double)options->rate};

        traffic->world = cli_world__new(&world);
        if (!traffic->world) {
            cli_traffic__close(traffic);
            return fr_fail(err, FR_EXHAUSTED, "out of memory");
        }
    }
    if (!ingest_producer_open(&producer, &traffic->producer, err)) {
        cli_traffic__close(traffic);
        return false;
    }
    *ret = traffic;
    return true;
}

void cli_traffic__close(struct cli_traffic *traffic)
{
    struct fr_err ignored;

    if (!traffic)
        return;
    if (traffic->producer && !ingest_producer_flush(traffic->producer, TRAFFIC_FLUSH_MS, &ignored))
        ignored.code = 0; /* the broker ends with the demo: what it has not taken is gone either way */
    ingest_producer_close(traffic->producer);
    cli_world__free(traffic->world);
    fr_buffer_fini(&traffic->out);
    free(traffic);
}

/* Others may produce into the same broker; then more is applied than we sent, and the bound is looser, never wrong in the end. */
static void count_applied(struct cli_traffic *traffic)
{
    uint64_t applied = pipeline_node_applied_events(traffic->node) - traffic->before;

    applied = applied < traffic->produced ? applied : traffic->produced;
    for (; traffic->applied < applied; traffic->applied++)
        traffic->bytes_away -= traffic->bytes[traffic->applied % TRAFFIC_EVENTS_MAX];
}

static bool has_room(struct cli_traffic *traffic)
{
    count_applied(traffic);
    return traffic->produced - traffic->applied < TRAFFIC_EVENTS_MAX &&
           traffic->bytes_away + traffic->record.value.length <= TRAFFIC_BYTES_MAX;
}

/* Makes the next record ready, unless one is. */
static bool prepare(struct cli_traffic *traffic, struct fr_err *err)
{
    struct proto_event event;

    if (traffic->has_record || traffic->is_read)
        return true;
    if (traffic->options.loader) {
        if (!cli_loader__next(traffic->options.loader, &traffic->record, &traffic->is_read, err))
            return false;
        traffic->has_record = !traffic->is_read;
        return true;
    }
    if (!cli_world__next(traffic->world, &event, &traffic->due_ms))
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    cli_record__encode(&event, traffic->options.is_json, &traffic->out, &traffic->record);
    traffic->has_record = true;
    return true;
}

static int64_t pause_until_due(const struct cli_traffic *traffic)
{
    if (!traffic->options.loader)
        return traffic->due_ms - fr_clock_wall_ms();
    return cli_progress__pause_ms(traffic->options.rate, traffic->produced, fr_clock_monotonic_us() - traffic->start_us);
}

/* What makes something hot: what people do with it, not that it was shown or put on a shelf. */
static double weight_of(const struct proto_event *event)
{
    static const struct {
        const char *action;
        double weight;
    } weights[] = {{"click", 1}, {"watch", 1},       {"comment", 1}, {"enter_room", 1}, {"like", 3},
                   {"share", 3}, {"add_to_cart", 3}, {"gift", 10},   {"purchase", 20}};

    for (size_t i = 0; i < sizeof weights / sizeof *weights; i++) {
        if (strcmp(proto_action_name(event->action), weights[i].action) == 0)
            return weights[i].weight;
    }
    return 0;
}

static bool produce(struct cli_traffic *traffic, int64_t now_ms, struct fr_err *err)
{
    const struct cli_record *record = &traffic->record;
    struct ingest_record out = {.topic = traffic->options.topic, .partition = -1, .key = record->key, .value = record->value};
    double weight = weight_of(&record->event);

    if (!ingest_producer_send(traffic->producer, &out, err))
        return false;
    traffic->bytes[traffic->produced % TRAFFIC_EVENTS_MAX] = (uint32_t)record->value.length;
    traffic->bytes_away += record->value.length;
    traffic->produced++;
    traffic->has_record = false;
    cli_hot__add(&traffic->items, record->event.item_id, weight, now_ms);
    cli_hot__add(&traffic->rooms, record->event.room_id, weight, now_ms);
    if (record->event.user_id != 0 && record->event.item_id != 0 && weight > 0)
        traffic->user_id = record->event.user_id;
    return true;
}

bool cli_traffic__step(struct cli_traffic *traffic, int *pause_ms, struct fr_err *err)
{
    int64_t now_ms = fr_clock_monotonic_ms();

    *pause_ms = 0;
    for (int i = 0; i < TRAFFIC_STEP_EVENTS; i++) {
        int64_t wait_ms;

        if (!prepare(traffic, err))
            return false;
        if (!traffic->has_record) {
            struct fr_err ignored;

            count_applied(traffic);
            if (!ingest_producer_flush(traffic->producer, 0, &ignored))
                *pause_ms = TRAFFIC_FULL_MS; /* it serves the acknowledgements, as sending did */
            else
                *pause_ms = TRAFFIC_IDLE_MS;
            return true;
        }
        wait_ms = pause_until_due(traffic);
        if (wait_ms > 0 || !has_room(traffic)) {
            *pause_ms = wait_ms <= 0 ? TRAFFIC_FULL_MS : wait_ms < TRAFFIC_TICK_MS ? (int)wait_ms : TRAFFIC_TICK_MS;
            return true;
        }
        if (!produce(traffic, now_ms, err))
            return false;
    }
    return true;
}

void cli_traffic__look(struct cli_traffic *traffic, struct cli_traffic_seen *seen)
{
    *seen = (struct cli_traffic_seen){.produced = traffic->produced,
                                      .is_replay = traffic->options.loader != NULL,
                                      .is_read = traffic->is_read,
                                      .is_applied = traffic->is_read && traffic->applied == traffic->produced,
                                      .user_id = traffic->user_id,
                                      .size = -1};
    if (traffic->options.loader) {
        seen->at = cli_loader__at(traffic->options.loader);
        seen->size = cli_loader__size(traffic->options.loader);
    }
    seen->item_count = cli_hot__top(&traffic->items, seen->items);
    seen->room_count = cli_hot__top(&traffic->rooms, seen->rooms);
}
