/*
 * The read alone, without a server: agg_read() of S1's users and items in this process, CPU microseconds a call, beside what a plain
 * table of finished rows takes (hash, look, copy). First at rest; then with events between the calls, whose apply is not counted.
 * For a profile of the gather, and for callgrind, which wants few items: gather [EVENTS [CALLS]].
 */
#include <freshet/aggregators.h>
#include <freshet/bench.h>
#include <freshet/text.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

enum { ITEMS = 100000, CREATORS = 5000, BATCH = 512, MOST = 500, ARENA_BYTES = 8 << 20 };

struct state {
    struct store *store;
    struct agg *agg;
    struct agg_lane *lane;
    struct bench_s1 s1;
    int64_t stream_ms;
    struct proto_event events[BATCH];
    enum agg_outcome outcomes[BATCH];
};

static double cpu_us(void)
{
    struct timespec now;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void die(const struct fr_err *err)
{
    fprintf(stderr, "%s\n", err->message);
    exit(1);
}

static void open_state(struct state *state, const char *path)
{
    const struct agg_dedupe dedupe = {.ids = 32, .horizon_ms = 600000};
    struct fr_arena *arena = fr_arena_new(ARENA_BYTES);
    struct store_options options = {.path = path, .memory_bytes = UINT64_C(8) << 30};
    struct agg_catalogue *catalogue = NULL;
    struct fr_diagnostics diagnostics;
    struct fr_yaml *root;
    struct fr_err err;

    fr_diagnostics_init(&diagnostics, "s1");
    if (fr_yaml_parse(fr_slice_of(bench_catalogue(BENCH_S1)), arena, &root, &diagnostics))
        catalogue = agg_catalogue_parse(root, &dedupe, &diagnostics);
    if (!catalogue) {
        fprintf(stderr, "%.*s\n", (int)diagnostics.text.length, (const char *)diagnostics.text.bytes);
        exit(1);
    }
    options.codec = agg_codec(catalogue);
    if (!store_open(&options, &state->store, &err) || !agg_open(&catalogue, state->store, 0, NULL, &state->agg, &err))
        die(&err);
    state->lane = agg_lane_new(state->agg, BATCH);
    fr_arena_free(arena);
}

/* One batch; false: no event is left. */
static bool apply(struct state *state, int64_t at_ms)
{
    struct agg_tally tally = {0};
    struct store_visit visit;
    struct fr_err err;
    int count = 0;

    while (count < BATCH && bench_s1_next(&state->s1, &state->events[count]))
        count++;
    for (int i = 0; i < count && at_ms > 0; i++)
        state->events[i].ts_ms = at_ms;
    visit = store_visit_enter(state->store);
    if (!agg_batch_load(state->lane, state->events, count, &err))
        die(&err);
    store_gate_enter(state->store);
    if (!agg_batch_apply(state->lane, state->events, count, state->stream_ms, state->outcomes, &tally, &err))
        die(&err);
    store_gate_leave(state->store);
    store_visit_leave(state->store, visit);
    for (int i = 0; i < count; i++)
        state->stream_ms = state->events[i].ts_ms > state->stream_ms ? state->events[i].ts_ms : state->stream_ms;
    return count == BATCH;
}

/* `calls` reads; events of 20,000 a second as if the calls came at 3,000, when `is_flowing`. */
static double read_all(struct state *state, int items, int calls, bool is_flowing)
{
    struct fr_arena *arena = fr_arena_new(ARENA_BYTES);
    uint64_t ids[MOST];
    double spent = 0, sum = 0;
    int64_t begin_ms = state->stream_ms;
    int applied = 0;

    for (int call = 0; call < calls; call++) {
        struct agg_request request = {
            .user_id = bench_s1_user(&state->s1), .item_ids = ids, .item_count = items, .is_now = true};
        const struct agg_plan *plan;
        struct store_visit visit;
        struct agg_reply reply;
        struct fr_err err;
        double before;

        for (int i = 0; i < items; i++)
            ids[i] = bench_s1_item(&state->s1);
        for (; is_flowing && applied * BATCH < call * 20 / 3; applied++)
            apply(state, begin_ms + call / 3);
        request.time_ms = state->stream_ms;
        before = cpu_us();
        visit = store_visit_enter(state->store);
        if (!agg_plan_get(state->agg, "s1", NULL, 0, &plan, &err) || !agg_read(state->agg, plan, &request, arena, &reply, &err))
            die(&err);
        store_visit_leave(state->store, visit);
        spent += cpu_us() - before;
        sum += (double)reply.item_values[items * 64 - 1] + (double)reply.user_values[0];
        fr_arena_reset(arena, ARENA_BYTES);
    }
    fr_arena_free(arena);
    fprintf(stderr, "%3d items%s %7.2f us a call (%.0f)\n", items, is_flowing ? ", events flow" : ", at rest     ",
            spent / calls, sum);
    return spent / calls;
}

/* What can be had: a table of finished rows, all bits of the hash in use, fetched as far ahead as helps. */
static void read_plain(struct state *state, int items, int calls)
{
    enum { SLOTS = 1 << 17, AHEAD = 8 };
    struct row {
        uint64_t id, hash;
        float values[64 - 4];
    } *rows = aligned_alloc(2 << 20, (size_t)SLOTS * sizeof *rows);
    float *reply = malloc(sizeof(float) * 64 * MOST);
    uint64_t ids[MOST], mask = SLOTS - 1;
    double spent = 0, sum = 0;

    (void)madvise(rows, (size_t)SLOTS * sizeof *rows, MADV_HUGEPAGE);
    memset(rows, 0, (size_t)SLOTS * sizeof *rows);
    for (uint64_t i = 0; i < ITEMS; i++) {
        uint64_t id = bench_s1_item_at(i), at = fr_text_hash(&id, sizeof id, 0) & mask;

        while (rows[at].id != 0)
            at = (at + 1) & mask;
        rows[at].id = id;
    }
    for (int call = 0; call < calls; call++) {
        uint64_t at[MOST];
        double before;

        for (int i = 0; i < items; i++)
            ids[i] = bench_s1_item(&state->s1);
        before = cpu_us();
        for (int i = -AHEAD; i < items; i++) {
            if (i + AHEAD < items) {
                at[i + AHEAD] = fr_text_hash(&ids[i + AHEAD], sizeof *ids, 0) & mask;
                for (int line = 0; line < 4; line++)
                    __builtin_prefetch((const char *)&rows[at[i + AHEAD]] + (size_t)line * 64);
            }
            for (; i >= 0 && rows[at[i]].id != ids[i]; at[i] = (at[i] + 1) & mask)
                ;
            if (i >= 0)
                memcpy(reply + (size_t)i * 64, rows[at[i]].values, sizeof rows->values);
        }
        spent += cpu_us() - before;
        sum += (double)reply[7];
    }
    fprintf(stderr, "%3d items, plain table  %7.2f us a call (%.0f)\n", items, spent / calls, sum);
    free(rows);
    free(reply);
}

int main(int argc, char **argv)
{
    uint64_t events = argc > 1 ? strtoull(argv[1], NULL, 10) : 2000000;
    int calls = argc > 2 ? atoi(argv[2]) : 20000;
    static struct state state;
    char path[] = "/tmp/gather.XXXXXX";

    if (!mkdtemp(path))
        return 1;
    state.s1 = (struct bench_s1){.events = events,
                                 .start_ms = INT64_C(1760000000000),
                                 .span_ms = 7200000,
                                 .users = (int)(events / 100) + 1,
                                 .items = ITEMS,
                                 .creators = CREATORS,
                                 .state = 42};
    open_state(&state, path);
    while (apply(&state, 0))
        ;
    state.s1.events = UINT64_MAX;
    for (int i = 0; i < 3; i++) {
        read_all(&state, 200, calls, false);
        read_all(&state, 500, calls / 2, false);
        read_plain(&state, 200, calls);
        read_plain(&state, 500, calls / 2);
        if (argc <= 3) {
            read_all(&state, 200, calls, true);
            read_all(&state, 500, calls / 2, true);
        }
    }
    return 0;
}
