/*
 * What is blocked, and AdminService.Block: sets of ids that recall, scores and lanes ask, and a meta record for each id, in the epoch. A
 * change happens at a boundary, with the gate held alone: at once for whoever asks, and for lanes between two batches, so that
 * events before it are in the epoch that has it, and those after it are not.
 */
#include "services.h"

#include <freshet/clock.h>
#include <freshet/log.h>
#include <freshet/text.h>
#include <freshet/v1/admin.pb-c.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCKED_MOST = 49152, BLOCKED_MOST_TOLD = 32768, COMMIT_MS = 30000, IDS_A_CALL = 10000, NAME_BYTES = 64 };

static const char block_prefix[] = "block/";
static const char *const kinds[AGG_BLOCKED_KINDS] = {"item", "room", "creator", "user"};

/* ---- the sets ---- */

static void name_of(int kind, uint64_t id, char name[NAME_BYTES])
{
    snprintf(name, NAME_BYTES, "%s%s/%" PRIu64, block_prefix, kinds[kind], id);
}

static void load_one(void *user, const char *name, struct fr_slice value)
{
    struct pipeline_blocks *blocks = user;
    const char *at = name + strlen(block_prefix), *id = strchr(at, '/');

    (void)value;
    for (int kind = 0; kind < AGG_BLOCKED_KINDS && id; kind++) {
        if (fr_slice_is(fr_slice(at, (size_t)(id - at)), kinds[kind]) &&
            !fr_idset_put(blocks->sets[kind], strtoull(id + 1, NULL, 10), true))
            blocks->is_failed = true;
    }
}

bool pipeline_blocks__load(struct pipeline_blocks *blocks, struct store *store, struct fr_err *err)
{
    for (int kind = 0; kind < AGG_BLOCKED_KINDS; kind++) {
        blocks->sets[kind] = fr_idset_new(BLOCKED_MOST);
        if (!blocks->sets[kind])
            return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory");
    }
    store_meta_each(store, block_prefix, load_one, blocks);
    return !blocks->is_failed ||
           fr_fail(err, FR_CORRUPT, "pipeline: the list of what is blocked has more than %d ids; restore a backup",
                   BLOCKED_MOST);
}

void pipeline_blocks__fini(struct pipeline_blocks *blocks)
{
    for (int kind = 0; kind < AGG_BLOCKED_KINDS; kind++)
        fr_idset_free(blocks->sets[kind]);
    *blocks = (struct pipeline_blocks){.is_failed = false};
}

static uint64_t count_of_tables(const struct agg *agg, enum agg_blocked kind)
{
    uint64_t ids = 0;

    for (int t = 0; t < agg_table_count(agg); t++) {
        struct agg_table_info info = agg_table_at(agg, t);

        if (info.is_blocking && info.blocks == kind)
            ids += info.blocked;
    }
    return ids;
}

bool pipeline_blocks__counts(const struct pipeline_blocks *blocks, const struct agg *agg, struct fr_arena *arena,
                             Freshet__V1__BlockedCount ***list, size_t *count)
{
    Freshet__V1__BlockedCount *counts = fr_arena_take(arena, AGG_BLOCKED_KINDS * sizeof *counts);

    *list = fr_arena_take(arena, AGG_BLOCKED_KINDS * sizeof **list);
    if (!counts || !*list)
        return false;
    for (int kind = 0; kind < AGG_BLOCKED_KINDS; kind++) {
        freshet__v1__blocked_count__init(&counts[kind]);
        counts[kind].kind = (char *)(uintptr_t)kinds[kind];
        counts[kind].ids = fr_idset_count(blocks->sets[kind]);
        counts[kind].table_ids = count_of_tables(agg, (enum agg_blocked)kind);
        (*list)[kind] = &counts[kind];
    }
    *count = AGG_BLOCKED_KINDS;
    return true;
}

/* ---- Block ---- */

struct change {
    struct pipeline_blocks *blocks;
    struct pipeline_cluster *cluster; /* NULL: it stands alone */
    const Freshet__V1__BlockRequest *request;
    int kind;
};

/* The reason lies beside the id, for whoever looks into the store. */
bool pipeline_blocks__set(struct pipeline_blocks *blocks, struct store *store, int kind, uint64_t id, bool is_blocked,
                          const char *reason, struct fr_err *err)
{
    char name[NAME_BYTES];

    if (!fr_idset_put(blocks->sets[kind], id, is_blocked))
        return fr_fail(err, FR_EXHAUSTED,
                       "ids: %d different %ss were blocked since the start of the node; restart it to make room for others",
                       BLOCKED_MOST, kinds[kind]);
    name_of(kind, id, name);
    if (is_blocked)
        store_meta_put(store, name, fr_slice_of(reason));
    else
        store_meta_delete(store, name);
    return true;
}

struct fr_slice pipeline_blocks__reason(struct store *store, int kind, uint64_t id)
{
    char name[NAME_BYTES];

    name_of(kind, id, name);
    return store_meta_get(store, name);
}

static bool change_one(const struct change *change, struct store *store, uint64_t id, struct fr_err *err)
{
    bool is_blocked = !change->request->unblock;

    return pipeline_blocks__set(change->blocks, store, change->kind, id, is_blocked, change->request->reason, err) &&
           (!change->cluster || pipeline_cluster__block(change->cluster, store, change->kind, id, is_blocked, err));
}

/* Well below what a set holds: every instance is to have room for what was let in again since it started, too. */
static bool check_room(const struct change *change, struct fr_err *err)
{
    uint32_t count = fr_idset_count(change->blocks->sets[change->kind]);

    return change->request->unblock || count + change->request->n_ids <= BLOCKED_MOST_TOLD ||
           fr_fail(err, FR_EXHAUSTED, "ids: %u %ss are blocked, and a cluster takes %d; let others in first, or use a table",
                   count, kinds[change->kind], BLOCKED_MOST_TOLD);
}

static bool change_all(void *user, struct store *store, struct fr_err *err)
{
    const struct change *change = user;

    if (change->cluster && !check_room(change, err))
        return false;
    for (size_t i = 0; i < change->request->n_ids; i++) {
        if (!change_one(change, store, change->request->ids[i], err))
            return false;
    }
    return true;
}

static bool check(const Freshet__V1__BlockRequest *request, int *kind, struct fr_err *err)
{
    const char *nearest;

    for (*kind = 0; *kind < AGG_BLOCKED_KINDS && strcmp(kinds[*kind], request->kind) != 0;)
        ++*kind;
    nearest = fr_text_nearest(fr_slice_of(request->kind), kinds, AGG_BLOCKED_KINDS);
    if (*kind == AGG_BLOCKED_KINDS)
        return fr_fail(err, FR_BAD_INPUT, "kind: '%.64s' is unknown; use item, room, creator or user%s%s%s", request->kind,
                       nearest ? "; did you mean '" : "", nearest ? nearest : "", nearest ? "'?" : "");
    if (request->n_ids > IDS_A_CALL)
        return fr_fail(err, FR_BAD_INPUT, "ids: %zu given; send at most %d a call", request->n_ids, IDS_A_CALL);
    for (size_t i = 0; i < request->n_ids; i++) {
        if (request->ids[i] == 0)
            return fr_fail(err, FR_BAD_INPUT, "ids[%zu]: 0 names nothing", i);
    }
    return strlen(request->reason) <= PIPELINE_BLOCK_REASON_BYTES ||
           fr_fail(err, FR_BAD_INPUT, "reason: longer than %d bytes", PIPELINE_BLOCK_REASON_BYTES);
}

static int by_id(const void *a, const void *b)
{
    const uint64_t *left = a, *right = b;

    return *left < *right ? -1 : *left > *right;
}

static bool list_ids(const struct fr_idset *set, struct fr_arena *arena, Freshet__V1__BlockReply *reply)
{
    reply->ids = fr_arena_take(arena, ((size_t)BLOCKED_MOST + 1) * sizeof *reply->ids);
    if (!reply->ids)
        return false;
    reply->n_ids = fr_idset_copy(set, reply->ids, BLOCKED_MOST);
    qsort(reply->ids, reply->n_ids, sizeof *reply->ids, by_id);
    return true;
}

static bool list_by_tables(const struct agg *agg, const struct change *change, struct fr_arena *arena,
                           Freshet__V1__BlockReply *reply)
{
    reply->by_tables = fr_arena_take(arena, (change->request->n_ids + 1) * sizeof *reply->by_tables);
    if (!reply->by_tables)
        return false;
    for (size_t i = 0; i < change->request->n_ids; i++)
        if (agg_is_blocked_by_table(agg, (enum agg_blocked)change->kind, change->request->ids[i]))
            reply->by_tables[reply->n_by_tables++] = change->request->ids[i];
    return true;
}

static bool fill(struct pipeline_services *services, const struct change *change, struct fr_arena *arena,
                 Freshet__V1__BlockReply *reply)
{
    freshet__v1__block_reply__init(reply);
    reply->kind = (char *)(uintptr_t)kinds[change->kind];
    return pipeline_blocks__counts(services->blocks, services->agg, arena, &reply->blocked, &reply->n_blocked) &&
           list_by_tables(services->agg, change, arena, reply) &&
           (change->request->n_ids > 0 || list_ids(services->blocks->sets[change->kind], arena, reply));
}

/* The server's audit says who called; this says what for. */
static void tell(const struct change *change, const char *caller)
{
    const Freshet__V1__BlockRequest *request = change->request;

    fr_log(FR_LOG_INFO, "audit", "\"%s\" %s %zu %s%s, the first %" PRIu64 ": %s", caller ? caller : "",
           request->unblock ? "unblocked" : "blocked", request->n_ids, kinds[change->kind], request->n_ids == 1 ? "" : "s",
           request->ids[0], request->reason[0] ? request->reason : "no reason given");
}

/* In a cluster it is done when others can hear of it: they do so an epoch or two later. */
static bool block(struct pipeline_services *services, struct change *change, struct fr_err *err)
{
    uint64_t turns = services->cluster ? pipeline_cluster__turns(services->cluster) : 0;

    return (!services->cluster || pipeline_cluster__check_may_block(services->cluster, err)) &&
           pipeline_committer__commit_with(services->committer, change_all, change, COMMIT_MS, err) &&
           (!services->cluster || pipeline_cluster__check_turns(services->cluster, turns, err));
}

bool pipeline_admin__block(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **answer,
                           struct fr_err *err)
{
    struct pipeline_services *services = user;
    const Freshet__V1__BlockRequest *request = (const Freshet__V1__BlockRequest *)message;
    Freshet__V1__BlockReply *reply = fr_arena_take(call->arena, sizeof *reply);
    struct change change = {.blocks = services->blocks, .cluster = services->cluster, .request = request};

    if (!check(request, &change.kind, err))
        return false;
    if (request->n_ids > 0) {
        if (!block(services, &change, err))
            return false;
        tell(&change, call->caller);
    }
    if (!reply || !fill(services, &change, call->arena, reply))
        return fr_fail(err, FR_EXHAUSTED, "the reply is larger than a call may be");
    *answer = &reply->base;
    return true;
}
