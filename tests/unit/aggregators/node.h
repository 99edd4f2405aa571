/*
 * A node without Kafka for tests: a catalogue from text, a store in a directory of its own, one lane.
 */
#ifndef FRESHET_TEST_AGGREGATORS_NODE_H
#define FRESHET_TEST_AGGREGATORS_NODE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "internal.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { NODE_BATCH_MAX = 512 };

struct node {
    char directory[256];
    char *text;
    struct agg_dedupe dedupe;
    uint64_t memory_bytes; /* of the store; counts from the next start */
    struct fr_metrics *metrics;
    struct store *store;
    struct agg *agg;
    struct agg_lane *lane;
    struct agg_tally tally;
    int64_t stream_time_ms;
    struct fr_arena *arena; /* of the last read */
    int reads;
};

static inline struct agg_catalogue *catalogue_of(const char *text, const struct agg_dedupe *dedupe,
                                                 struct fr_diagnostics *diagnostics)
{
    struct fr_arena *arena = fr_arena_new(8 << 20);
    struct agg_catalogue *catalogue = NULL;
    struct fr_yaml *root;

    assert_non_null(arena);
    if (fr_yaml_parse(fr_slice_of(text), arena, &root, diagnostics))
        catalogue = agg_catalogue_parse(root, dedupe, diagnostics);
    fr_arena_free(arena);
    return catalogue;
}

static inline struct agg_catalogue *catalogue_good(const char *text, const struct agg_dedupe *dedupe)
{
    struct fr_diagnostics diagnostics;
    struct agg_catalogue *catalogue;

    fr_diagnostics_init(&diagnostics, "test.yaml");
    catalogue = catalogue_of(text, dedupe, &diagnostics);
    if (!catalogue)
        fail_msg("%.*s\n%s", (int)diagnostics.text.length, (const char *)diagnostics.text.bytes, text);
    fr_diagnostics_fini(&diagnostics);
    return catalogue;
}

static inline void node_start(struct node *node)
{
    struct agg_catalogue *catalogue = catalogue_good(node->text, &node->dedupe);
    struct store_options options = {.path = node->directory, .memory_bytes = node->memory_bytes, .codec = agg_codec(catalogue)};
    struct fr_err err;

    if (!store_open(&options, &node->store, &err) ||
        !agg_open(&catalogue, node->store, node->stream_time_ms, node->metrics, &node->agg, &err))
        fail_msg("%s", err.message);
    node->lane = agg_lane_new(node->agg, NODE_BATCH_MAX);
    assert_non_null(node->lane);
}

static inline void node_stop(struct node *node)
{
    agg_lane_free(node->lane);
    agg_close(node->agg);
    store_close(node->store);
}

static inline void directory_make(char directory[256])
{
    const char *parent = getenv("TMPDIR");

    snprintf(directory, 256, "%s/freshet-aggregators-XXXXXX", parent ? parent : P_tmpdir);
    assert_non_null(mkdtemp(directory));
}

static inline struct node node_new(const char *text, struct agg_dedupe dedupe)
{
    struct node node = {.dedupe = dedupe, .memory_bytes = 64 << 20, .text = strdup(text)};

    directory_make(node.directory);
    node.metrics = fr_metrics_new();
    node.arena = fr_arena_new(64 << 20);
    node_start(&node);
    return node;
}

static inline int node_remove(const char *path, const struct stat *status, int flag, struct FTW *where)
{
    (void)status, (void)flag, (void)where;
    return remove(path);
}

static inline void node_free(struct node *node)
{
    node_stop(node);
    fr_arena_free(node->arena);
    fr_metrics_free(node->metrics);
    nftw(node->directory, node_remove, 16, FTW_DEPTH | FTW_PHYS);
    free(node->text);
}

static inline void node_apply(struct node *node, const struct proto_event *events, int count, int64_t horizon_ms,
                              enum agg_outcome *outcomes)
{
    struct fr_err err;
    bool ok;

    if (!agg_batch_load(node->lane, events, count, &err))
        fail_msg("%s", err.message);
    store_gate_enter(node->store);
    ok = agg_batch_apply(node->lane, events, count, horizon_ms, outcomes, &node->tally, &err);
    store_gate_leave(node->store);
    if (!ok)
        fail_msg("%s", err.message);
    for (int i = 0; i < count; i++) {
        if (node->stream_time_ms < events[i].ts_ms)
            node->stream_time_ms = events[i].ts_ms;
    }
}

static inline void node_apply_one(struct node *node, struct proto_event event, int64_t horizon_ms)
{
    enum agg_outcome outcome;

    node_apply(node, &event, 1, horizon_ms, &outcome);
}

static inline void node_boundary(void *user, struct store *store)
{
    (void)user, (void)store;
}

static inline void node_commit(struct node *node)
{
    struct store_epoch epoch = {.boundary = node_boundary};
    struct fr_err err;

    if (!store_epoch_commit(node->store, &epoch, &err))
        fail_msg("%s", err.message);
}

/* As after a kill: only what is in an epoch comes back. */
static inline void node_restart(struct node *node)
{
    node_stop(node);
    node_start(node);
}

static inline void node_restart_with(struct node *node, const char *text)
{
    node_stop(node);
    free(node->text);
    node->text = strdup(text);
    node_start(node);
}

static inline const struct agg_plan *node_plan(struct node *node, const char *set, char *const *names, int count)
{
    const struct agg_plan *plan = NULL;
    struct fr_err err;

    if (!agg_plan_get(node->agg, set, names, count, &plan, &err))
        fail_msg("%s", err.message);
    return plan;
}

/* Whether a read moves running totals never shows, nor whether it finds finished rows: what moved them is read once more. */
static inline struct agg_reply node_read(struct node *node, const struct agg_plan *plan, const struct agg_request *request)
{
    struct agg_request asked = *request;
    struct agg_reply reply = {0};
    struct fr_err err;

    asked.is_now = node->reads++ % 3 == 0;
    for (int i = 0; i <= asked.is_now; i++) {
        fr_arena_reset(node->arena, 1 << 20);
        if (!agg_read_load(node->agg, plan, &asked, node->arena, &err) ||
            !agg_read(node->agg, plan, &asked, node->arena, &reply, &err))
            fail_msg("%s", err.message);
    }
    return reply;
}

/* One column of one item. */
static inline float node_value(struct node *node, const char *name, uint64_t user, uint64_t item, int64_t time_ms)
{
    char *names[] = {(char *)(uintptr_t)name};
    struct agg_request request = {.user_id = user, .item_ids = &item, .item_count = 1, .time_ms = time_ms};
    const struct agg_plan *plan = node_plan(node, "", names, 1);
    const char *const *columns;
    struct agg_reply reply = node_read(node, plan, &request);

    return agg_plan_user_columns(plan, &columns) == 1 ? reply.user_values[0] : reply.item_values[0];
}

static inline struct agg_digest node_digest(struct node *node, int64_t time_ms)
{
    struct agg_digest digest = {0};
    struct fr_err err;

    if (!agg_digest(node->agg, time_ms, false, &digest, &err))
        fail_msg("%s", err.message);
    return digest;
}

static inline bool digest_equal(struct agg_digest a, struct agg_digest b)
{
    return a.hash[0] == b.hash[0] && a.hash[1] == b.hash[1] && a.entities == b.entities;
}

#endif
