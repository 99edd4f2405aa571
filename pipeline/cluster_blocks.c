/*
 * What people block at one instance, for all: the last word on each id, blocked or not any more, with the clock of who was
 * asked. It goes among the deltas, where everybody reads it; of two words the later counts. Since deltas end, owners say again
 * what is still blocked, whenever partitions are shared and some times a day.
 *
 * That an id is not blocked any more is said once, and has to outlast whatever blocked it: all words on an id lie in one
 * partition, which loses its oldest records first, and where an older word lands behind a later one the id's owner says the
 * later once more. So stores need that word only as long as an older one may be on its way, and let go of it then.
 */
#include "cluster_internal.h"

#include <freshet/clock.h>
#include <freshet/idset.h>
#include <freshet/log.h>
#include <freshet/text.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    SLOTS_FIRST = 64,
    NAME_BYTES = 64,
    AGAIN_MS = 6 * 3600 * 1000,
    UNBLOCKED_MS = 7 * 86400000 /* nobody is on his way with an older word for so long */
};

static const char meta_prefix[] = "cluster/said/";

/* ---- the last word on each id ---- */

static struct pipeline_block *place_of(const struct pipeline_block_table *table, int kind, uint64_t id)
{
    uint32_t at = (uint32_t)fr_text_hash(&id, sizeof id, (uint64_t)kind) & table->mask;

    while (table->blocks[at].id != 0 && (table->blocks[at].id != id || table->blocks[at].kind != kind))
        at = (at + 1) & table->mask;
    return &table->blocks[at];
}

/* With `mask`, without those that were unblocked before. False: out of memory, nothing changed. */
static bool rebuild(struct pipeline_block_table *table, uint32_t mask, int64_t unblocked_since_ms)
{
    struct pipeline_block_table made = {.mask = mask, .blocks = calloc((size_t)mask + 1, sizeof *made.blocks)};

    if (!made.blocks)
        return false;
    for (uint32_t i = 0; table->blocks && i <= table->mask; i++) {
        const struct pipeline_block *block = &table->blocks[i];

        if (block->id == 0 || (!block->is_blocked && block->is_sent && block->at_ms < unblocked_since_ms))
            continue;
        *place_of(&made, block->kind, block->id) = *block;
        made.count++;
    }
    free(table->blocks);
    table->blocks = made.blocks;
    table->mask = made.mask;
    table->count = made.count;
    return true;
}

/* The id's place; NULL: out of memory. */
static struct pipeline_block *want(struct pipeline_block_table *table, int kind, uint64_t id)
{
    struct pipeline_block *block;

    if ((!table->blocks || table->count * 2 > table->mask) &&
        !rebuild(table, table->blocks ? table->mask * 2 + 1 : SLOTS_FIRST - 1, INT64_MIN))
        return NULL;
    block = place_of(table, kind, id);
    table->count += block->id == 0;
    block->id = id;
    block->kind = kind;
    return block;
}

static void name_of(const struct pipeline_block *block, char name[NAME_BYTES])
{
    snprintf(name, NAME_BYTES, "%s%d/%" PRIu64, meta_prefix, block->kind, block->id);
}

static void save(struct store *store, const struct pipeline_block *block)
{
    char name[NAME_BYTES], value[NAME_BYTES];

    name_of(block, name);
    snprintf(value, sizeof value, "%" PRId64 " %d %d", block->at_ms, block->is_blocked, block->is_sent);
    store_meta_put(store, name, fr_slice_of(value));
}

static void load_one(void *user, const char *name, struct fr_slice value)
{
    struct pipeline_block_table *table = user;
    struct pipeline_block block = {.kind = 0}, *place;
    int is_blocked, is_sent;
    char text[NAME_BYTES];

    snprintf(text, sizeof text, "%.*s", (int)value.length, (const char *)value.bytes);
    if (sscanf(name + strlen(meta_prefix), "%d/%" SCNu64, &block.kind, &block.id) != 2 || block.id == 0 ||
        sscanf(text, "%" SCNd64 " %d %d", &block.at_ms, &is_blocked, &is_sent) != 3 ||
        !(place = want(table, block.kind, block.id))) {
        table->is_failed = true;
        return;
    }
    place->at_ms = block.at_ms;
    place->is_blocked = is_blocked != 0;
    place->is_sent = is_sent != 0;
    table->unsent += !place->is_sent;
}

bool pipeline_cluster_blocks__open(struct pipeline_cluster *cluster, struct fr_err *err)
{
    cluster->blocks.again_ms = fr_clock_monotonic_ms() + AGAIN_MS;
    store_meta_each(cluster->store, meta_prefix, load_one, &cluster->blocks);
    return !cluster->blocks.is_failed ||
           fr_fail(err, FR_CORRUPT, "cluster: what is blocked cannot be read in '%s'; start it empty",
                   cluster->config->store_path);
}

void pipeline_cluster_blocks__close(struct pipeline_cluster *cluster)
{
    free(cluster->blocks.blocks);
    free(cluster->blocks.received);
}

static void mark_unsent(struct pipeline_block_table *table, struct pipeline_block *block)
{
    table->unsent += block->at_ms == 0 || block->is_sent;
    block->is_sent = false;
}

bool pipeline_cluster__block(struct pipeline_cluster *cluster, struct store *store, int kind, uint64_t id, bool is_blocked,
                             struct fr_err *err)
{
    struct pipeline_block *block = want(&cluster->blocks, kind, id);
    int64_t now_ms = fr_clock_wall_ms();

    if (!block)
        return fr_fail(err, FR_EXHAUSTED, "block: out of memory; ask again");
    mark_unsent(&cluster->blocks, block);
    block->at_ms = now_ms > block->at_ms ? now_ms : block->at_ms + 1;
    block->is_blocked = is_blocked;
    save(store, block);
    return true;
}

/* ---- what others sent ---- */

static bool keep(struct pipeline_block_table *table, const struct pipeline_block_record *record)
{
    if (table->received_count == table->received_capacity) {
        int capacity = table->received_capacity ? 2 * table->received_capacity : 16;
        struct pipeline_block_record *grown = reallocarray(table->received, (size_t)capacity, sizeof *grown);

        if (!grown)
            return false;
        table->received = grown;
        table->received_capacity = capacity;
    }
    table->received[table->received_count++] = *record;
    return true;
}

bool pipeline_cluster_blocks__receive(struct pipeline_cluster *cluster, struct fr_slice key, struct fr_slice value,
                                      struct fr_err *err)
{
    struct pipeline_block_record record;
    bool is_kept;

    if (!pipeline_block__decode(key, value, &record))
        return pipeline_wire__fail(cluster->deltas, err);
    store_gate_enter(cluster->store); /* the boundary takes it from there */
    is_kept = keep(&cluster->blocks, &record);
    store_gate_leave(cluster->store);
    return is_kept || fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for what is blocked");
}

/*
 * More are blocked than there is room for: no reason to end, since a restart would hear of it again. The word on the id is
 * kept, and whoever reads it again after a restart, which has the places of what was let in, finds room.
 */
static void set_block(struct pipeline_cluster *cluster, struct store *store, const struct pipeline_block_record *record)
{
    static struct fr_log_place place;
    struct fr_err why;

    if (pipeline_blocks__set(&cluster->engine->blocks, store, record->block.kind, record->block.id, record->block.is_blocked,
                             record->reason, &why))
        return;
    fr_counter_add(cluster->without_room, 1);
    fr_log_limited(&place, 10, FR_LOG_ERROR, "cluster", "what another blocked is not blocked here: %s", why.message);
}

static bool is_later(const struct pipeline_block *a, const struct pipeline_block *b)
{
    return a->at_ms > b->at_ms || (a->at_ms == b->at_ms && a->is_blocked && !b->is_blocked);
}

/* By whose partition the id would be, were it a user's. */
static bool is_own(const struct pipeline_cluster *cluster, uint64_t id)
{
    return cluster->held[ingest_partition_of(id, atomic_load(&cluster->partitions))].is_noted;
}

static bool take(struct pipeline_cluster *cluster, struct store *store, const struct pipeline_block_record *record,
                 struct fr_err *err)
{
    struct pipeline_block *block = want(&cluster->blocks, record->block.kind, record->block.id);

    if (!block)
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for what is blocked");
    if (is_later(&record->block, block)) {
        cluster->blocks.unsent -= block->at_ms != 0 && !block->is_sent; /* what was to be sent of it does not count any more */
        *block = record->block;
        block->is_sent = true;
        save(store, block);
        set_block(cluster, store, record);
    } else if (record->block.is_blocked && block->is_blocked) {
        if (!fr_idset_has(cluster->engine->blocks.sets[block->kind], block->id))
            set_block(cluster, store, record); /* it had no room then */
    } else if (is_later(block, &record->block) && is_own(cluster, block->id)) {
        mark_unsent(&cluster->blocks, block); /* an older word lies behind it now, and would outlast it */
    }
    return true;
}

/* Nobody is on his way with an older word. Not before all that others sent has been read, in which there may be one. */
static void let_go(struct pipeline_cluster *cluster, struct store *store, int64_t now_ms)
{
    struct pipeline_block_table *table = &cluster->blocks;
    int64_t since_ms = now_ms - UNBLOCKED_MS;

    for (uint32_t i = 0; table->blocks && i <= table->mask; i++) {
        const struct pipeline_block *block = &table->blocks[i];
        char name[NAME_BYTES];

        if (block->id == 0 || block->is_blocked || !block->is_sent || block->at_ms >= since_ms)
            continue;
        name_of(block, name);
        store_meta_delete(store, name);
    }
    if (table->blocks)
        (void)rebuild(table, table->mask, since_ms); /* else they are there until a restart */
}

bool pipeline_cluster_blocks__boundary(struct pipeline_cluster *cluster, struct store *store, int64_t now_ms,
                                       struct fr_err *err)
{
    struct pipeline_block_table *table = &cluster->blocks;

    for (int i = 0; i < table->received_count; i++)
        if (!take(cluster, store, &table->received[i], err))
            return false;
    table->received_count = 0;
    if (fr_clock_monotonic_ms() >= table->again_ms && atomic_load(&cluster->is_through)) {
        table->again_ms = fr_clock_monotonic_ms() + AGAIN_MS;
        atomic_store(&cluster->needs_announcing, true);
        let_go(cluster, store, now_ms);
    }
    return true;
}

/* ---- sending ---- */

/* One partition for all words on an id: that of the key. */
static bool put_one(struct pipeline_cluster *cluster, const struct pipeline_block *block, struct fr_buffer *key,
                    struct fr_buffer *value, struct fr_err *err)
{
    struct ingest_put put = {.topic = cluster->deltas, .partition = -1};

    fr_buffer_clear(key);
    fr_buffer_clear(value);
    pipeline_block__encode(block, pipeline_blocks__reason(cluster->store, block->kind, block->id), key, value);
    return pipeline_cluster__put(cluster, &put, key, value, NULL, err);
}

bool pipeline_cluster_blocks__put(struct pipeline_cluster *cluster, bool is_announcing, struct fr_buffer *key,
                                  struct fr_buffer *value, struct fr_err *err)
{
    const struct pipeline_block_table *table = &cluster->blocks;

    if (!table->blocks || (!is_announcing && table->unsent == 0))
        return true;
    for (uint32_t i = 0; i <= table->mask; i++) {
        const struct pipeline_block *block = &table->blocks[i];
        bool is_wanted = block->id != 0 && block->at_ms != 0 &&
                         (!block->is_sent || (is_announcing && block->is_blocked && is_own(cluster, block->id)));

        if (is_wanted && !put_one(cluster, block, key, value, err))
            return false;
    }
    return true;
}

void pipeline_cluster_blocks__sent(struct pipeline_cluster *cluster, struct store *store)
{
    struct pipeline_block_table *table = &cluster->blocks;

    for (uint32_t i = 0; table->unsent > 0 && i <= table->mask; i++) {
        if (table->blocks[i].id == 0 || table->blocks[i].is_sent || table->blocks[i].at_ms == 0)
            continue;
        table->blocks[i].is_sent = true;
        save(store, &table->blocks[i]);
    }
    table->unsent = 0;
}
