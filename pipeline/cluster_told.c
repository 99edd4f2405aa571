/*
 * What people told one instance. That a user was forgotten goes into his partition's changelog, under a key of its own, which compaction
 * keeps as long as it counts: whoever owns the partition later reads it there. What is blocked goes among the deltas, where
 * everybody hears of it; since deltas end, owners say again what is still blocked, whenever partitions are shared and some times a
 * day. Of two that say different things of one id the later counts, by the clocks of who was told, and never less than one knew.
 *
 * Keys: 0 | user id, big endian; 0 | kind | id, big endian. Values: version | forgotten | until; version | when | is blocked | why.
 */
#include "cluster_internal.h"

#include <freshet/clock.h>
#include <freshet/idset.h>
#include <freshet/log.h>
#include <freshet/text.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

enum { TOMBSTONE_KEY_BYTES = 9, BLOCK_KEY_BYTES = 10, SLOTS_FIRST = 64, NAME_BYTES = 64, AGAIN_MS = 6 * 3600 * 1000 };

static const char said_prefix[] = "cluster/said/";

/* ---- what is said of each id ---- */

static struct pipeline_said *place_of(const struct pipeline_told *told, int kind, uint64_t id)
{
    uint32_t at = (uint32_t)fr_text_hash(&id, sizeof id, (uint64_t)kind) & told->mask;

    while (told->saids[at].id != 0 && (told->saids[at].id != id || told->saids[at].kind != kind))
        at = (at + 1) & told->mask;
    return &told->saids[at];
}

static bool grow(struct pipeline_told *told)
{
    struct pipeline_told larger = {.mask = told->saids ? told->mask * 2 + 1 : SLOTS_FIRST - 1};

    larger.saids = calloc((size_t)larger.mask + 1, sizeof *larger.saids);
    if (!larger.saids)
        return false;
    for (uint32_t i = 0; told->saids && i <= told->mask; i++)
        if (told->saids[i].id != 0)
            *place_of(&larger, told->saids[i].kind, told->saids[i].id) = told->saids[i];
    free(told->saids);
    told->saids = larger.saids;
    told->mask = larger.mask;
    return true;
}

/* The id's place; NULL: out of memory. */
static struct pipeline_said *want(struct pipeline_told *told, int kind, uint64_t id)
{
    struct pipeline_said *said;

    if ((!told->saids || told->count * 2 > told->mask) && !grow(told))
        return NULL;
    said = place_of(told, kind, id);
    told->count += said->id == 0;
    said->id = id;
    said->kind = kind;
    return said;
}

static void save(struct store *store, const struct pipeline_said *said)
{
    char name[NAME_BYTES], value[NAME_BYTES];

    snprintf(name, sizeof name, "%s%d/%" PRIu64, said_prefix, said->kind, said->id);
    snprintf(value, sizeof value, "%" PRId64 " %d %d", said->at_ms, said->is_blocked, said->is_told);
    store_meta_put(store, name, fr_slice_of(value));
}

static void load_one(void *user, const char *name, struct fr_slice value)
{
    struct pipeline_told *told = user;
    struct pipeline_said said = {.kind = 0}, *place;
    int is_blocked, is_told;
    char text[NAME_BYTES];

    snprintf(text, sizeof text, "%.*s", (int)value.length, (const char *)value.bytes);
    if (sscanf(name + strlen(said_prefix), "%d/%" SCNu64, &said.kind, &said.id) != 2 || said.id == 0 ||
        sscanf(text, "%" SCNd64 " %d %d", &said.at_ms, &is_blocked, &is_told) != 3 ||
        !(place = want(told, said.kind, said.id))) {
        told->is_failed = true;
        return;
    }
    place->at_ms = said.at_ms;
    place->is_blocked = is_blocked != 0;
    place->is_told = is_told != 0;
    told->untold += !place->is_told;
}

bool pipeline_told__open(struct pipeline_cluster *cluster, struct fr_err *err)
{
    cluster->told_again_ms = fr_clock_monotonic_ms() + AGAIN_MS;
    cluster->engine->tombstones.are_told = true;
    store_meta_each(cluster->store, said_prefix, load_one, &cluster->told);
    return !cluster->told.is_failed ||
           fr_fail(err, FR_CORRUPT, "cluster: what is blocked cannot be read in '%s'; start it empty",
                   cluster->config->store_path);
}

void pipeline_told__close(struct pipeline_cluster *cluster)
{
    free(cluster->told.saids);
    free(cluster->told.blocks);
    for (int i = 0; i < PIPELINE_CLUSTER_PARTITIONS_MAX; i++)
        free(cluster->held[i].tombstones);
}

bool pipeline_cluster__say(struct pipeline_cluster *cluster, struct store *store, int kind, uint64_t id, bool is_blocked,
                           struct fr_err *err)
{
    struct pipeline_said *said = want(&cluster->told, kind, id);
    int64_t now_ms = fr_clock_wall_ms();

    if (!said)
        return fr_fail(err, FR_EXHAUSTED, "block: out of memory; ask again");
    cluster->told.untold += said->at_ms == 0 || said->is_told;
    said->at_ms = now_ms > said->at_ms ? now_ms : said->at_ms + 1;
    said->is_blocked = is_blocked;
    said->is_told = false;
    save(store, said);
    return true;
}

/* ---- hearing ---- */

bool pipeline_told__is_tombstone(struct fr_slice key)
{
    return key.length == TOMBSTONE_KEY_BYTES && *(const uint8_t *)key.bytes == 0;
}

void pipeline_told__tombstone_key(uint64_t user_id, struct fr_buffer *key)
{
    fr_buffer_append_byte(key, 0);
    fr_buffer_append_be64(key, user_id);
}

bool pipeline_told__is_block(struct fr_slice key)
{
    return key.length == BLOCK_KEY_BYTES && *(const uint8_t *)key.bytes == 0;
}

static uint64_t read_id(const uint8_t *bytes)
{
    uint64_t id = 0;

    for (int i = 0; i < 8; i++)
        id = id << 8 | bytes[i];
    return id;
}

/* One more at the end of the array; NULL: out of memory. */
static void *one_more(void **array, int *count, int *capacity, size_t bytes)
{
    int more = *capacity ? *capacity * 2 : 16;
    void *grown = *count < *capacity ? *array : reallocarray(*array, (size_t)more, bytes);

    if (!grown)
        return NULL;
    *capacity = *count < *capacity ? *capacity : more;
    *array = grown;
    return (char *)grown + (size_t)(*count)++ * bytes;
}

static bool fail_senseless(const char *topic, struct fr_err *err)
{
    return fr_fail(err, FR_CORRUPT, "cluster: a record of '%s' is of another version of freshet, or makes no sense", topic);
}

bool pipeline_told__hear_tombstone(struct pipeline_cluster *cluster, int partition, struct fr_slice key, struct fr_slice value,
                                   struct fr_err *err)
{
    struct pipeline_held *held = &cluster->held[partition];
    struct fr_reader reader = fr_reader(value);
    struct pipeline_tombstone tombstone = {.user_id = read_id((const uint8_t *)key.bytes + 1), .is_told = true}, *heard;
    uint64_t version;

    if (value.length == 0)
        return true; /* it is over, as it will be here */
    version = fr_reader_varint(&reader);
    tombstone.forgotten_ms = fr_reader_zigzag(&reader);
    tombstone.until_ms = fr_reader_zigzag(&reader);
    if (reader.is_failed || version != PIPELINE_CLUSTER_VERSION || tombstone.user_id == 0)
        return fail_senseless(cluster->changelog, err);
    store_gate_enter(cluster->store); /* the boundary takes it from there */
    heard = one_more((void **)&held->tombstones, &held->tombstone_count, &held->tombstone_capacity, sizeof *heard);
    if (heard)
        *heard = tombstone;
    store_gate_leave(cluster->store);
    return heard || fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for who was forgotten");
}

bool pipeline_told__hear_block(struct pipeline_cluster *cluster, struct fr_slice key, struct fr_slice value, struct fr_err *err)
{
    struct pipeline_told *told = &cluster->told;
    struct fr_reader reader = fr_reader(value);
    uint64_t version = fr_reader_varint(&reader);
    struct pipeline_heard block = {.kind = ((const uint8_t *)key.bytes)[1], .id = read_id((const uint8_t *)key.bytes + 2)};
    struct pipeline_heard *heard;
    struct fr_slice why;

    block.at_ms = fr_reader_zigzag(&reader);
    block.is_blocked = fr_reader_varint(&reader) != 0;
    why = fr_reader_bytes(&reader, fr_reader_varint(&reader));
    if (reader.is_failed || version != PIPELINE_CLUSTER_VERSION || block.kind >= AGG_BLOCKED_KINDS || block.id == 0 ||
        block.at_ms <= 0 || why.length > PIPELINE_BLOCK_REASON_BYTES)
        return fail_senseless(cluster->deltas, err);
    memcpy(block.why, why.bytes, why.length);
    store_gate_enter(cluster->store);
    heard = one_more((void **)&told->blocks, &told->block_count, &told->block_capacity, sizeof *heard);
    if (heard)
        *heard = block;
    store_gate_leave(cluster->store);
    return heard || fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for what is blocked");
}

static bool is_news(const struct pipeline_heard *heard, const struct pipeline_said *said)
{
    return heard->at_ms > said->at_ms || (heard->at_ms == said->at_ms && heard->is_blocked && !said->is_blocked);
}

/*
 * More are blocked than there is room for: no reason to end, since a restart would hear of it again. What is said of the id is kept, and
 * whoever hears it again after a restart, which has the places of what was let in, finds room.
 */
static bool set_block(struct pipeline_cluster *cluster, struct store *store, const struct pipeline_heard *heard)
{
    static struct fr_log_place place;
    struct fr_err why;

    if (pipeline_blocks__set(&cluster->engine->blocks, store, heard->kind, heard->id, heard->is_blocked, heard->why, &why))
        return true;
    fr_counter_add(cluster->without_room, 1);
    fr_log_limited(&place, 10, FR_LOG_ERROR, "cluster", "what another blocked is not blocked here: %s", why.message);
    return false;
}

/* It was said before, and had no room then. */
static bool is_missing(const struct pipeline_cluster *cluster, const struct pipeline_heard *heard,
                       const struct pipeline_said *said)
{
    return heard->is_blocked && said->is_blocked && !fr_idset_has(cluster->engine->blocks.sets[heard->kind], heard->id);
}

static bool take_block(struct pipeline_cluster *cluster, struct store *store, const struct pipeline_heard *heard,
                       struct fr_err *err)
{
    struct pipeline_said *said = want(&cluster->told, heard->kind, heard->id);

    if (!said)
        return fr_fail(err, FR_EXHAUSTED, "cluster: out of memory for what is blocked");
    if (!is_news(heard, said)) {
        if (is_missing(cluster, heard, said))
            (void)set_block(cluster, store, heard);
        return true;
    }
    cluster->told.untold -= said->at_ms != 0 && !said->is_told; /* what was to be told of it does not count any more */
    said->at_ms = heard->at_ms;
    said->is_blocked = heard->is_blocked;
    said->is_told = true;
    save(store, said);
    (void)set_block(cluster, store, heard);
    return true;
}

bool pipeline_told__boundary(struct pipeline_cluster *cluster, struct store *store, struct fr_err *err)
{
    struct pipeline_told *told = &cluster->told;

    for (int i = 0; i < told->block_count; i++)
        if (!take_block(cluster, store, &told->blocks[i], err))
            return false;
    told->block_count = 0;
    for (int p = 0; p < atomic_load(&cluster->partitions); p++) {
        struct pipeline_held *held = &cluster->held[p];

        for (int i = 0; i < held->tombstone_count; i++)
            if (!pipeline_tombstones__put(&cluster->engine->tombstones, store, &held->tombstones[i], err))
                return false;
        held->tombstone_count = 0;
    }
    if (fr_clock_monotonic_ms() >= cluster->told_again_ms) {
        cluster->told_again_ms = fr_clock_monotonic_ms() + AGAIN_MS;
        atomic_store(&cluster->needs_announcing, true);
    }
    return true;
}

/* ---- telling ---- */

bool pipeline_told__is_any(const struct pipeline_cluster *cluster)
{
    const struct pipeline_tombstones *tombstones = &cluster->engine->tombstones;

    return cluster->told.untold > 0 || tombstones->untold > 0 || tombstones->gone_count > 0;
}

/* Without a topic: into the changelog. */
static bool put(struct pipeline_cluster *cluster, struct ingest_put *at, struct fr_buffer *key, struct fr_buffer *value,
                struct fr_err *err)
{
    at->key = fr_buffer_slice(key);
    at->value = value ? fr_buffer_slice(value) : fr_slice(NULL, 0);
    return ((!key->is_failed && !(value && value->is_failed)) || fr_fail(err, FR_EXHAUSTED, "cluster: out of memory")) &&
           (at->topic ? ingest_transaction_put(cluster->group, at, NULL, err)
                      : pipeline_cluster__put_change(cluster, at, NULL, err));
}

static bool put_tombstone(struct pipeline_cluster *cluster, const struct pipeline_tombstone *tombstone, bool is_over,
                          struct fr_buffer *key, struct fr_buffer *value, struct fr_err *err)
{
    struct ingest_put at = {.partition = ingest_partition_of(tombstone->user_id, atomic_load(&cluster->partitions))};

    if (!cluster->held[at.partition].is_noted)
        return true; /* his owner's; whoever asked for it here is told that it was in vain */
    fr_buffer_clear(key);
    fr_buffer_clear(value);
    pipeline_told__tombstone_key(tombstone->user_id, key);
    fr_buffer_append_varint(value, PIPELINE_CLUSTER_VERSION);
    fr_buffer_append_zigzag(value, tombstone->forgotten_ms);
    fr_buffer_append_zigzag(value, tombstone->until_ms);
    return put(cluster, &at, key, is_over ? NULL : value, err);
}

static bool put_block(struct pipeline_cluster *cluster, const struct pipeline_said *said, struct fr_buffer *key,
                      struct fr_buffer *value, struct fr_err *err)
{
    struct ingest_put at = {.topic = cluster->deltas, .partition = -1, .is_signed = true};
    struct fr_slice why = pipeline_blocks__reason(cluster->store, said->kind, said->id);

    fr_buffer_clear(key);
    fr_buffer_clear(value);
    fr_buffer_append_byte(key, 0);
    fr_buffer_append_byte(key, (uint8_t)said->kind);
    fr_buffer_append_be64(key, said->id);
    fr_buffer_append_varint(value, PIPELINE_CLUSTER_VERSION);
    fr_buffer_append_zigzag(value, said->at_ms);
    fr_buffer_append_varint(value, said->is_blocked);
    fr_buffer_append_varint(value, why.length);
    fr_buffer_append(value, why.bytes, why.length);
    return put(cluster, &at, key, value, err);
}

/* Of what is still blocked and known to all each owner says some again, by whose partition the id would be. */
static bool is_said(const struct pipeline_cluster *cluster, const struct pipeline_said *said, bool is_announcing)
{
    return !said->is_told || (is_announcing && said->is_blocked &&
                              cluster->held[ingest_partition_of(said->id, atomic_load(&cluster->partitions))].is_noted);
}

static bool put_blocks(struct pipeline_cluster *cluster, bool is_announcing, struct fr_buffer *key, struct fr_buffer *value,
                       struct fr_err *err)
{
    const struct pipeline_told *told = &cluster->told;

    if (!told->saids || (!is_announcing && told->untold == 0))
        return true;
    for (uint32_t i = 0; i <= told->mask; i++)
        if (told->saids[i].id != 0 && told->saids[i].at_ms != 0 && is_said(cluster, &told->saids[i], is_announcing) &&
            !put_block(cluster, &told->saids[i], key, value, err))
            return false;
    return true;
}

static bool put_tombstones(struct pipeline_cluster *cluster, struct fr_buffer *key, struct fr_buffer *value, struct fr_err *err)
{
    const struct pipeline_tombstones *tombstones = &cluster->engine->tombstones;

    for (int i = 0; i < tombstones->gone_count; i++) {
        struct pipeline_tombstone gone = {.user_id = tombstones->gone[i]};

        if (pipeline_tombstones__has(tombstones, gone.user_id))
            continue; /* forgotten again meanwhile, and that one is not over */
        if (!put_tombstone(cluster, &gone, true, key, value, err))
            return false;
    }
    for (int i = 0; i < tombstones->count && tombstones->untold > 0; i++)
        if (!tombstones->entries[i].is_told && !put_tombstone(cluster, &tombstones->entries[i], false, key, value, err))
            return false;
    return true;
}

bool pipeline_told__put(struct pipeline_cluster *cluster, bool is_announcing, struct fr_err *err)
{
    struct fr_buffer key, value;
    bool ok;

    fr_buffer_init(&key);
    fr_buffer_init(&value);
    ok = put_tombstones(cluster, &key, &value, err) && put_blocks(cluster, is_announcing, &key, &value, err);
    fr_buffer_fini(&key);
    fr_buffer_fini(&value);
    return ok;
}

void pipeline_told__done(struct pipeline_cluster *cluster, struct store *store)
{
    struct pipeline_told *told = &cluster->told;
    struct pipeline_tombstones *tombstones = &cluster->engine->tombstones;

    for (uint32_t i = 0; told->untold > 0 && i <= told->mask; i++) {
        if (told->saids[i].id == 0 || told->saids[i].is_told || told->saids[i].at_ms == 0)
            continue;
        told->saids[i].is_told = true;
        save(store, &told->saids[i]);
    }
    told->untold = 0;
    for (int i = 0; i < tombstones->count && tombstones->untold > 0; i++)
        tombstones->entries[i].is_told = true;
    tombstones->untold = 0;
    tombstones->gone_count = 0;
}

/* ---- any thread ---- */

uint64_t pipeline_cluster__turns(const struct pipeline_cluster *cluster)
{
    return atomic_load(&cluster->turns);
}

bool pipeline_cluster__check_turns(const struct pipeline_cluster *cluster, uint64_t turns, struct fr_err *err)
{
    return atomic_load(&cluster->turns) == turns ||
           fr_fail(err, FR_UNAVAILABLE, "partitions were handed over meanwhile, and it may not count; ask again");
}

bool pipeline_cluster__begin_forgetting(struct pipeline_cluster *cluster, uint64_t turns, struct fr_err *err)
{
    atomic_fetch_add(&cluster->forgetting,
                     1); /* before turns are looked at, as who gives away counts them first and looks at this then */
    if (pipeline_cluster__check_turns(cluster, turns, err))
        return true;
    pipeline_cluster__end_forgetting(cluster);
    return false;
}

void pipeline_cluster__end_forgetting(struct pipeline_cluster *cluster)
{
    atomic_fetch_sub(&cluster->forgetting, 1);
}

bool pipeline_cluster__check_telling(const struct pipeline_cluster *cluster, struct fr_err *err)
{
    int count = atomic_load(&cluster->partitions);
    const struct pipeline_owner *other = NULL;

    for (int i = 0; i < count; i++) {
        const struct pipeline_owner *owner = atomic_load(&cluster->held[i].owner);

        if (atomic_load(&cluster->held[i].place) == PIPELINE_CLUSTER_HERE)
            return true;
        if (atomic_load(&cluster->held[i].place) == PIPELINE_CLUSTER_RESTORING)
            return fr_fail(err, FR_UNAVAILABLE, "partitions are being handed over; retry");
        other = owner && strcmp(owner->instance, cluster->config->id) != 0 ? owner : other;
    }
    return other ? fr_fail(err, FR_PRECONDITION,
                           "this instance has no partitions, and others do not hear what it is told: ask %s", other->api)
                 : fr_fail(err, FR_UNAVAILABLE, "this instance has no partitions yet; retry");
}
