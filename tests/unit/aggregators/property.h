/*
 * Properties of aggregates over random streams. A test gives a configuration, drawn at random, and says what every value should be from
 * the full list of events; the runner makes streams (late, shuffled, duplicated, tied, on edges of panes, from the future, keys that
 * fall idle, clocks that jump), applies them in random batches with commits and crashes in between, pruned at random times, and reads
 * at random times. A stream that fails is cut down to a few steps, which are printed. At last all streams go, shuffled, into a second
 * node that must say the same digest.
 *
 * FRESHET_STREAMS streams (1,000 unless set; `streams` beside this file adds up all) from seed FRESHET_TEST_SEED (1 unless set); each catalogue takes the next seed.
 */
#ifndef FRESHET_TEST_AGGREGATORS_PROPERTY_H
#define FRESHET_TEST_AGGREGATORS_PROPERTY_H

#include "stream.h"

#include <inttypes.h>
#include <math.h>

enum {
    PROPERTY_STREAMS = 1000,
    PROPERTY_STREAMS_A_NODE = 40,
    PROPERTY_EVENTS_MAX = 200,
    PROPERTY_STEPS_MAX = 500,
    PROPERTY_ROWS = 6,
    PROPERTY_SHRINKS_MAX = 2000,
};

/* One random configuration. */
struct property_trial {
    char text[4096]; /* entities and features */
    const char *names[16]; /* features to read, and "item.creator_id" and the like; static or in `own` */
    int name_count;
    int64_t spans_ms[8]; /* where its values change: events and reads come near their multiples, and that long after events */
    int span_count;
    void *own; /* what the test keeps to compute values; own_bytes, zeroed */
};

/* One reply, and all that it follows from. */
struct property_look {
    const struct property_trial *trial;
    const struct proto_event *const *events; /* in the order of arrival, duplicates left out */
    int count;
    int64_t time_ms; /* T */
    uint64_t base; /* ids of the stream begin after it */
    const struct agg_request *request;
    const struct agg_reply *reply;
    const char *const *user_columns, *const *item_columns;
    int user_column_count, item_column_count;
    char *why; /* what is wrong, for the message */
    size_t why_bytes;
};

struct property {
    const char *name;
    size_t own_bytes; /* of trial->own */
    int streams_a_node; /* 0: as many as usual; 1 when entities are shared by all streams */
    bool depends_on_arrival; /* no digest is compared: covisitation and lists may differ */
    void (*configure)(struct property_trial *trial, struct rng *rng);
    /* Makes a random event one that this test cares for; ids lie in base + 1 … base + 899. May be NULL. */
    void (*adapt)(const struct property_trial *trial, struct proto_event *event, uint64_t base, struct rng *rng);
    /* False with the reason by property_differs(). */
    bool (*check)(const struct property_look *look);
};

/* ---- for checks ---- */

__attribute__((format(printf, 2, 3))) static inline bool property_differs(const struct property_look *look, const char *format,
                                                                          ...)
{
    va_list arguments;

    va_start(arguments, format);
    vsnprintf(look->why, look->why_bytes, format, arguments);
    va_end(arguments);
    return false;
}

/* The place of a column; fails the test when there is none. `is_user`: among the user's. */
static inline int property_column(const struct property_look *look, const char *name, bool *is_user)
{
    for (int i = 0; i < look->user_column_count; i++) {
        *is_user = true;
        if (strcmp(look->user_columns[i], name) == 0)
            return i;
    }
    *is_user = false;
    for (int i = 0; i < look->item_column_count; i++) {
        if (strcmp(look->item_columns[i], name) == 0)
            return i;
    }
    fail_msg("no column %s in\n%s", name, look->trial->text);
    return 0;
}

/* Of a row; the user's columns are the same in all. */
static inline float property_value(const struct property_look *look, const char *name, int row)
{
    bool is_user;
    int column = property_column(look, name, &is_user);

    return is_user ? look->reply->user_values[column] : look->reply->item_values[row * look->item_column_count + column];
}

/* The same float, but for the sign of 0. */
static inline bool property_equal(const struct property_look *look, const char *name, int row, float expected)
{
    float found = property_value(look, name, row);

    if (memcmp(&found, &expected, sizeof found) == 0 || (fpclassify(found) == FP_ZERO && fpclassify(expected) == FP_ZERO))
        return true;
    return property_differs(look, "%s of row %d at %" PRId64 " is %.9g, should be %.9g", name, row, look->time_ms,
                            (double)found, (double)expected);
}

static inline bool property_near(const struct property_look *look, const char *name, int row, double expected, double relative)
{
    double found = (double)property_value(look, name, row);

    if (fabs(found - expected) <= relative * fabs(expected))
        return true;
    return property_differs(look, "%s of row %d at %" PRId64 " is %.9g, should be %.9g", name, row, look->time_ms, found,
                            expected);
}

/*
 * The id that a row has for a field of a key: of the request, the item's own, or what the item (of `retention: 0`) remembers. 0: none.
 */
static inline uint64_t property_id(const struct property_look *look, int row, int field)
{
    uint64_t item = look->request->item_ids[row];
    const struct proto_event *latest = NULL;

    if (field == PROTO_FIELD_USER_ID)
        return look->request->user_id;
    if (field == PROTO_FIELD_ITEM_ID)
        return item;
    if (field == PROTO_FIELD_ROOM_ID && look->request->room_id != 0)
        return look->request->room_id;
    for (int i = 0; i < look->count && item != 0; i++) {
        const struct proto_event *event = look->events[i];

        if (event->item_id == item && proto_event_id_field(event, field) != 0 &&
            (!latest || proto_event_compare(event, latest) > 0 ||
             (proto_event_compare(event, latest) == 0 &&
              proto_event_id_field(event, field) > proto_event_id_field(latest, field))))
            latest = event;
    }
    return latest ? proto_event_id_field(latest, field) : 0;
}

/* Whether the entity with this one id as its key is there at T. */
static inline bool property_is_present(const struct property_look *look, int field, uint64_t id, int64_t retention_ms)
{
    for (int i = 0; i < look->count && id != 0; i++) {
        if (proto_event_id_field(look->events[i], field) == id &&
            (retention_ms == 0 || look->time_ms - look->events[i]->ts_ms < retention_ms))
            return true;
    }
    return false;
}

/* What a feature that took its latest event at latest_ms (0: never) shows as its age. */
static inline float property_age(const struct property_look *look, int64_t latest_ms, bool is_present, int64_t retention_ms)
{
    if (!is_present || latest_ms == 0 || (retention_ms > 0 && look->time_ms - latest_ms >= retention_ms))
        return -1;
    return look->time_ms <= latest_ms ? 0 : (float)((double)(look->time_ms - latest_ms) / 1e3);
}

/* The sequence of that name that serves the row, or that of the user for row −1; NULL: none. */
static inline const struct agg_sequence *property_sequence(const struct property_look *look, const char *name, int row)
{
    for (int i = 0; i < look->reply->sequence_count; i++) {
        const struct agg_sequence *sequence = &look->reply->sequences[i];

        if (strcmp(sequence->name, name) != 0)
            continue;
        if (row < 0)
            return sequence;
        for (int r = 0; r < sequence->row_count; r++) {
            if (sequence->rows[r] == (uint32_t)row)
                return sequence;
        }
    }
    return NULL;
}

/* The resolution of a window by the contract's rule. */
static inline int64_t property_resolution(int64_t window_ms, int64_t panes_least)
{
    static const int64_t levels_ms[] = {86400000, 21600000, 3600000, 600000, 60000, 10000, 1000};
    int i = 0;

    while (window_ms % levels_ms[i] != 0 || window_ms / levels_ms[i] < panes_least)
        i++;
    return levels_ms[i];
}

/* ---- steps ---- */

struct property_step {
    enum property_kind { PROPERTY_APPLY, PROPERTY_COMMIT, PROPERTY_CRASH, PROPERTY_READ } kind;
    struct proto_event event; /* apply */
    int64_t horizon_ms;
    bool ends_batch;
    int64_t time_ms; /* read: T, never before the horizons that came before */
    uint64_t user_id, room_id;
};

struct property_stream {
    struct property_step steps[PROPERTY_STEPS_MAX]; /* the last `later` of them come after all streams and a restart */
    int count, later;
    uint64_t base;
    bool has_crash;
    int64_t greatest_ms;
};

static inline void property_add(struct property_stream *stream, const struct property_step *step)
{
    if (stream->count < PROPERTY_STEPS_MAX)
        stream->steps[stream->count++] = *step;
}

static inline int64_t property_near_edge(const struct property_trial *trial, int64_t ts_ms, struct rng *rng)
{
    int64_t span_ms = trial->span_count > 0 ? trial->spans_ms[rng_below(rng, trial->span_count)] : 1000;

    return ts_ms / span_ms * span_ms - 1 + rng_below(rng, 3);
}

static inline struct proto_event property_event(const struct property *property, const struct property_trial *trial,
                                                const struct property_stream *stream, int64_t now_ms, int64_t spread_ms,
                                                struct rng *rng)
{
    struct proto_event event = stream_event(rng, stream->base, now_ms, spread_ms);

    if (rng_one_in(rng, 5))
        event.ts_ms = property_near_edge(trial, event.ts_ms, rng);
    if (rng_one_in(rng, 30))
        event.ts_ms = now_ms + rng_below(rng, 600000); /* from the future */
    event.ts_ms = event.ts_ms < 1 ? 1 : event.ts_ms;
    if (property->adapt)
        property->adapt(trial, &event, stream->base, rng);
    return event;
}

static inline void property_read(const struct property_trial *trial, struct property_stream *stream, int64_t horizon_ms,
                                 struct rng *rng)
{
    static const int64_t later_ms[] = {1, 2000, 37000, 600000, 7200000, 90000000, INT64_C(3000000000)};
    struct property_step step = {.kind = PROPERTY_READ};
    int64_t time_ms = stream->greatest_ms;

    switch (rng_below(rng, 4)) {
    case 0:
        time_ms = horizon_ms;
        break;
    case 1:
        time_ms += rng_below(rng, later_ms[rng_below(rng, 7)]);
        break;
    case 2: /* when something may leave */
        for (int tries = 0; tries < 20; tries++) {
            const struct property_step *some = &stream->steps[rng_below(rng, stream->count)];

            if (some->kind == PROPERTY_APPLY && trial->span_count > 0)
                time_ms = some->event.ts_ms + trial->spans_ms[rng_below(rng, trial->span_count)] - 1 + rng_below(rng, 3);
        }
        break;
    default: /* events after T wait for their time */
        if (time_ms > horizon_ms)
            time_ms = horizon_ms + rng_below(rng, time_ms - horizon_ms + 1);
    }
    if (rng_one_in(rng, 4))
        time_ms = property_near_edge(trial, time_ms, rng);
    step.time_ms = time_ms < horizon_ms ? horizon_ms : time_ms;
    step.user_id = rng_one_in(rng, 6) ? 0 : stream->base + 1 + (uint64_t)rng_below(rng, 3);
    step.room_id = rng_one_in(rng, 3) ? stream->base + 1 + (uint64_t)rng_below(rng, 2) : 0;
    property_add(stream, &step);
}

/* An id that is one user's twice would have to mean equal bytes. */
static inline bool property_has_id(const struct property_stream *stream, const struct proto_event *event)
{
    for (int i = 0; i < stream->count; i++) {
        const struct proto_event *other = &stream->steps[i].event;

        if (stream->steps[i].kind == PROPERTY_APPLY && other->event_id == event->event_id && other->user_id == event->user_id)
            return true;
    }
    return false;
}

/* Another event as it was, or the same moment with something else. */
static inline void property_repeat(const struct property_stream *stream, struct proto_event *event, struct rng *rng)
{
    const struct property_step *some;

    if (stream->count == 0 || !rng_one_in(rng, 6))
        return;
    some = &stream->steps[rng_below(rng, stream->count)];
    if (some->kind != PROPERTY_APPLY)
        return;
    if (rng_one_in(rng, 2)) {
        *event = some->event;
        return;
    }
    event->ts_ms = some->event.ts_ms;
    if (rng_one_in(rng, 2))
        event->user_id = some->event.user_id;
    if (rng_one_in(rng, 3))
        event->event_id = some->event.event_id;
    if (property_has_id(stream, event))
        event->event_id = 0;
}

static inline void property_stream_make(const struct property *property, const struct property_trial *trial,
                                        struct property_stream *stream, uint64_t base, struct rng *rng)
{
    static const int64_t spreads_ms[] = {1, 2000, 20000, 120000, 7200000, INT64_C(9) * 86400000, INT64_C(70) * 86400000};
    static const int64_t steps_ms[] = {50, 700, 15000, 1800000, 40000000};
    int64_t spread_ms = spreads_ms[rng_below(rng, 7)], step_ms = steps_ms[rng_below(rng, 5)];
    int64_t now_ms = INT64_C(1700000000000) + rng_below(rng, INT64_C(86400000) * 300);
    int64_t behind_ms = rng_one_in(rng, 2) ? 0 : rng_below(rng, rng_one_in(rng, 2) ? 7200000 : 60000);
    int64_t horizon_ms = 0, batch = 0;
    int events = 5 + (int)rng_below(rng, rng_one_in(rng, 8) ? PROPERTY_EVENTS_MAX - 5 : 60);
    bool may_crash = rng_one_in(rng, 20), is_idle = rng_one_in(rng, 4);

    *stream = (struct property_stream){.base = base};
    for (int i = 0; i < events; i++) {
        struct property_step step = {.kind = PROPERTY_APPLY};

        now_ms += rng_below(rng, step_ms) + (rng_one_in(rng, 40) ? rng_below(rng, INT64_C(10) * 86400000) : 0);
        step.event = property_event(property, trial, stream, now_ms, spread_ms, rng);
        if (is_idle && i > events / 3 && step.event.item_id == base + 1)
            step.event.item_id = base + 2; /* a key that hears no more */
        property_repeat(stream, &step.event, rng);
        stream->greatest_ms = step.event.ts_ms > stream->greatest_ms ? step.event.ts_ms : stream->greatest_ms;
        if (stream->greatest_ms - behind_ms > horizon_ms && !rng_one_in(rng, 4))
            horizon_ms = stream->greatest_ms - behind_ms;
        step.horizon_ms = horizon_ms;
        batch = batch > 0 ? batch - 1 : rng_below(rng, rng_one_in(rng, 3) ? 100 : 8);
        step.ends_batch = batch == 0;
        property_add(stream, &step);
        if (rng_one_in(rng, 12))
            property_read(trial, stream, horizon_ms, rng);
        if (may_crash && rng_one_in(rng, 20))
            property_add(stream, &(struct property_step){.kind = PROPERTY_COMMIT});
        if (may_crash && rng_one_in(rng, 30))
            property_add(stream, &(struct property_step){.kind = PROPERTY_CRASH});
    }
    stream->has_crash = may_crash;
    for (int i = 0; i < 3; i++)
        property_read(trial, stream, horizon_ms, rng);
    for (stream->later = 0; stream->later < 2; stream->later++)
        property_read(trial, stream, horizon_ms, rng);
}

/* ---- running ---- */

struct property_running {
    const struct property *property;
    const struct property_trial *trial;
    struct node *node;
    uint64_t base;
    char *why;
    size_t why_bytes;
};

static inline void property_apply(struct node *node, const struct property_step *steps, int count)
{
    static struct proto_event events[NODE_BATCH_MAX];
    enum agg_outcome outcomes[NODE_BATCH_MAX];
    int64_t horizon_ms = 0;
    int batch = 0;

    for (int i = 0; i < count; i++) {
        bool is_event = steps[i].kind == PROPERTY_APPLY;

        if (is_event) {
            events[batch++] = steps[i].event;
            horizon_ms = steps[i].horizon_ms;
        }
        if (batch > 0 && (!is_event || steps[i].ends_batch || batch == NODE_BATCH_MAX || i == count - 1)) {
            node_apply(node, events, batch, horizon_ms, outcomes);
            batch = 0;
        }
    }
}

/* Every id is kept, so whatever came before is a duplicate. */
static inline int property_events(const struct property_step *steps, int count, const struct proto_event **events)
{
    int found = 0;

    for (int i = 0; i < count; i++) {
        const struct proto_event *event = &steps[i].event;
        bool is_new = steps[i].kind == PROPERTY_APPLY;

        for (int k = 0; k < found && is_new && event->event_id != 0 && event->user_id != 0; k++)
            is_new = events[k]->event_id != event->event_id || events[k]->user_id != event->user_id;
        if (is_new)
            events[found++] = event;
    }
    return found;
}

static inline bool property_check(const struct property_running *running, const struct property_step *steps, int count,
                                  const struct property_step *read)
{
    const struct proto_event *events[PROPERTY_STEPS_MAX];
    char *names[16];
    uint64_t base = running->base;
    uint64_t items[PROPERTY_ROWS] = {base + 2, base + 1, 0, base + 3, base + 1, base + 900};
    struct agg_request request = {.user_id = read->user_id,
                                  .item_ids = items,
                                  .item_count = PROPERTY_ROWS,
                                  .room_id = read->room_id,
                                  .time_ms = read->time_ms};
    struct property_look look = {.trial = running->trial,
                                 .events = events,
                                 .count = property_events(steps, count, events),
                                 .time_ms = read->time_ms,
                                 .base = base,
                                 .request = &request,
                                 .why = running->why,
                                 .why_bytes = running->why_bytes};
    const struct agg_plan *plan;
    struct agg_reply reply;

    for (int i = 0; i < running->trial->name_count; i++)
        names[i] = (char *)(uintptr_t)running->trial->names[i];
    plan = node_plan(running->node, "", names, running->trial->name_count);
    reply = node_read(running->node, plan, &request);
    look.reply = &reply;
    look.user_column_count = agg_plan_user_columns(plan, &look.user_columns);
    look.item_column_count = agg_plan_item_columns(plan, &look.item_columns);
    return running->property->check(&look);
}

/* Steps `from` … `to` − 1; those before are done. False: a check failed. */
static inline bool property_steps(const struct property_running *running, const struct property_step *steps, int from, int to)
{
    int committed = 0, at = from;

    while (at < to) {
        int first = at;

        while (at < to && steps[at].kind == PROPERTY_APPLY)
            at++;
        property_apply(running->node, steps + first, at - first);
        if (at == to)
            return true;
        if (steps[at].kind == PROPERTY_COMMIT) {
            node_commit(running->node);
            committed = at;
        } else if (steps[at].kind == PROPERTY_CRASH) { /* what was in no epoch comes again */
            node_restart(running->node);
            property_apply(running->node, steps + committed, at - committed);
        } else if (!property_check(running, steps, at, &steps[at])) {
            return false;
        }
        at++;
    }
    return true;
}

/* ---- shrinking ---- */

static const struct agg_dedupe property_dedupe = {.ids = 4096, .horizon_ms = INT64_C(86400000) * 3000};

/* By itself, in a node of its own. True: it fails. */
static inline bool property_fails(const struct property_running *running, const struct property_step *steps, int count)
{
    struct node node = node_new(running->trial->text, property_dedupe);
    struct property_running alone = *running;
    bool ok;

    alone.node = &node;
    ok = property_steps(&alone, steps, 0, count);
    node_free(&node);
    return !ok;
}

/* Leaves out runs of steps, longer ones first, as long as it fails without them. */
static inline int property_shrink(const struct property_running *running, struct property_step *steps, int count, int *budget)
{
    struct property_step *fewer = calloc(PROPERTY_STEPS_MAX + 2, sizeof *fewer);

    assert_non_null(fewer);
    for (int chunk = count / 2; chunk > 0; chunk /= 2) {
        for (int at = 0; at + chunk <= count && *budget > 0;) {
            memcpy(fewer, steps, (size_t)at * sizeof *fewer);
            memcpy(fewer + at, steps + at + chunk, (size_t)(count - at - chunk) * sizeof *fewer);
            --*budget;
            if (property_fails(running, fewer, count - chunk)) {
                count -= chunk;
                memcpy(steps, fewer, (size_t)count * sizeof *fewer);
            } else {
                at += chunk;
            }
        }
    }
    free(fewer);
    return count;
}

/* Takes fields out of events, as long as it fails without them. */
static inline void property_simplify(const struct property_running *running, struct property_step *steps, int count,
                                     int *budget)
{
    for (int i = 0; i < count; i++) {
        struct proto_event *event = &steps[i].event;
        uint64_t *ids[] = {&event->event_id, &event->creator_id, &event->room_id, &event->category_id,
                           &event->region,   &event->request_id, &event->user_id, &event->item_id};
        double *numbers[] = {&event->value, &event->duration_s};

        for (int k = 0; k < 10 && steps[i].kind == PROPERTY_APPLY && *budget > 0; k++) {
            struct proto_event before = *event;

            if (k < 8)
                *ids[k] = 0;
            else
                *numbers[k - 8] = 0;
            if (memcmp(&before, event, sizeof before) == 0)
                continue;
            --*budget;
            if (!property_fails(running, steps, count))
                *event = before;
        }
    }
}

static inline void property_print_event(const struct property_step *step)
{
    const struct proto_event *event = &step->event;
    const struct {
        const char *name;
        uint64_t id;
    } ids[] = {{"event", event->event_id},       {"user", event->user_id},       {"item", event->item_id},
               {"creator", event->creator_id},   {"room", event->room_id},       {"category", event->category_id},
               {"region", event->region},        {"request", event->request_id}, {"position", event->position},
               {"scene", (uint64_t)event->scene}};

    print_message("  apply %s ts %" PRId64, proto_action_name(event->action), event->ts_ms);
    for (size_t i = 0; i < sizeof ids / sizeof ids[0]; i++) {
        if (ids[i].id != 0)
            print_message(" %s %" PRIu64, ids[i].name, ids[i].id);
    }
    if (fpclassify(event->value) != FP_ZERO || fpclassify(event->duration_s) != FP_ZERO)
        print_message(" value %.17g duration %.17g", event->value, event->duration_s);
    print_message("; horizon %" PRId64 "%s\n", step->horizon_ms, step->ends_batch ? "; batch ends" : "");
}

static inline void property_print(const struct property_step *steps, int count)
{
    for (int i = 0; i < count; i++) {
        switch (steps[i].kind) {
        case PROPERTY_APPLY:
            property_print_event(&steps[i]);
            break;
        case PROPERTY_READ:
            print_message("  read at %" PRId64 " user %" PRIu64 " room %" PRIu64 "\n", steps[i].time_ms, steps[i].user_id,
                          steps[i].room_id);
            break;
        default:
            print_message("  %s\n", steps[i].kind == PROPERTY_COMMIT ? "commit" : "crash");
        }
    }
}

/* What is left of a stream that fails: how many steps, in `steps` of PROPERTY_STEPS_MAX + 2. 0: alone it doesn't fail. */
static inline int property_minimal(const struct property_running *running, const struct property_stream *stream,
                                   struct property_step *steps)
{
    int first = stream->count - stream->later, count = 0, budget = PROPERTY_SHRINKS_MAX;

    for (int i = 0; i < stream->count; i++) {
        if (i == first) {
            steps[count++] = (struct property_step){.kind = PROPERTY_COMMIT};
            steps[count++] = (struct property_step){.kind = PROPERTY_CRASH};
        }
        steps[count++] = stream->steps[i];
    }
    if (!property_fails(running, steps, count))
        return 0;
    count = property_shrink(running, steps, count, &budget);
    property_simplify(running, steps, count, &budget);
    count = property_shrink(running, steps, count, &budget);
    property_fails(running, steps, count); /* for the reason */
    return count;
}

static inline void property_fail(const struct property_running *running, const struct property_stream *stream, uint64_t seed)
{
    struct property_step *steps = calloc(PROPERTY_STEPS_MAX + 2, sizeof *steps);
    char first[512];
    int count;

    assert_non_null(steps);
    snprintf(first, sizeof first, "%s", running->why);
    count = property_minimal(running, stream, steps);
    print_message("%s: %s\n%s", running->property->name, count > 0 ? running->why : first, running->trial->text);
    property_print(steps, count);
    free(steps);
    fail_msg("%s: seed %" PRIu64 " (FRESHET_TEST_SEED), stream %" PRIu64 ": %s%s", running->property->name, seed,
             stream->base / 1000, count > 0 ? running->why : first,
             count > 0 ? "" : "; only after the streams before it in the same node");
}

/* ---- all of it ---- */

/* The same events in another order, in other batches, with other horizons and restarts: the same digest. */
static inline void property_digest(struct property_running *running, const struct property_stream *streams, int count,
                                   uint64_t seed, struct rng *rng)
{
    struct property_step *steps = calloc((size_t)count * PROPERTY_STEPS_MAX, sizeof *steps);
    struct node other = node_new(running->trial->text, property_dedupe);
    int64_t greatest_ms = 0, horizon_ms = 0;
    int found = 0;

    assert_non_null(steps);
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < streams[i].count; k++) {
            if (streams[i].steps[k].kind == PROPERTY_APPLY)
                steps[found++] = streams[i].steps[k];
        }
    }
    for (int i = found - 1; i > 0; i--) {
        int with = (int)rng_below(rng, i + 1);
        struct property_step step = steps[i];

        steps[i] = steps[with];
        steps[with] = step;
    }
    for (int i = 0; i < found; i++) {
        greatest_ms = steps[i].event.ts_ms > greatest_ms ? steps[i].event.ts_ms : greatest_ms;
        horizon_ms = rng_one_in(rng, 3) ? greatest_ms : horizon_ms;
        steps[i].horizon_ms = horizon_ms;
        steps[i].ends_batch = rng_one_in(rng, 20);
    }
    property_apply(&other, steps, found / 2);
    node_commit(&other);
    node_restart(&other);
    property_apply(&other, steps + found / 2, found - found / 2);
    node_commit(&other);
    if (!digest_equal(node_digest(running->node, greatest_ms), node_digest(&other, greatest_ms)))
        fail_msg("%s: seed %" PRIu64 " (FRESHET_TEST_SEED): another order, another digest\n%s", running->property->name, seed,
                 running->trial->text);
    node_free(&other);
    free(steps);
}

static inline void property_catalogue(const struct property *property, uint64_t seed, int count)
{
    struct rng rng = {seed * UINT64_C(0x2545f4914f6cdd1d)};
    struct property_trial trial = {.own = calloc(1, property->own_bytes + 1)};
    struct property_stream *streams = calloc((size_t)count, sizeof *streams);
    char why[512] = "";
    struct node node;
    struct property_running running = {.property = property, .trial = &trial, .node = &node, .why = why, .why_bytes = 512};

    assert_non_null(streams);
    property->configure(&trial, &rng);
    node = node_new(trial.text, property_dedupe);
    for (int i = 0; i < count; i++) {
        running.base = (uint64_t)(i + 1) * 1000;
        property_stream_make(property, &trial, &streams[i], running.base, &rng);
        if (streams[i].has_crash)
            node_commit(&node); /* for the streams before */
        if (!property_steps(&running, streams[i].steps, 0, streams[i].count - streams[i].later))
            property_fail(&running, &streams[i], seed);
    }
    node_commit(&node);
    node_restart(&node);
    for (int i = 0; i < count; i++) {
        running.base = streams[i].base;
        if (!property_steps(&running, streams[i].steps, streams[i].count - streams[i].later, streams[i].count))
            property_fail(&running, &streams[i], seed);
    }
    if (!property->depends_on_arrival)
        property_digest(&running, streams, count, seed, &rng);
    node_free(&node);
    free(streams);
    free(trial.own);
}

/* Runs it over as many streams as the environment says; fails the test with the first that doesn't hold. */
static inline void property_run(const struct property *property)
{
    const char *seed_text = getenv("FRESHET_TEST_SEED"), *streams_text = getenv("FRESHET_STREAMS");
    uint64_t seed = seed_text ? strtoull(seed_text, NULL, 10) : 1;
    int streams = streams_text ? atoi(streams_text) : PROPERTY_STREAMS;
    int each = property->streams_a_node > 0 ? property->streams_a_node : PROPERTY_STREAMS_A_NODE;

    streams = each > 1 ? streams : (streams + 9) / 10; /* a node for each takes its time */
    stream_told(property->name, streams);
    for (int done = 0; done < streams; done += each, seed++)
        property_catalogue(property, seed, streams - done < each ? streams - done : each);
}

#endif
