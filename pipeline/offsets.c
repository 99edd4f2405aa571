/*
 * Where each partition stands, and under which cluster. The store's epoch is the truth: what is kept there under
 * "offset/<cluster>/<topic>/<partition>" says where a restart reads on; what Kafka's group knows is for lag tools. The value is the next
 * offset, then the last record's (plus 1; 0: none) and its hash, by which a topic that was made anew is told, then the greatest event time
 * that the join saw in it; stores of before that have the first of these alone, or without the last.
 */
#include "internal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct pipeline_known_offset {
    const char *name; /* "<cluster>/<topic>/<partition>" */
    struct ingest_position at;
    int64_t clock_ms;
};

static const char cluster_meta[] = "cluster";
static const char offset_prefix[] = "offset/";

static struct ingest_position read_position(struct fr_reader *reader)
{
    struct ingest_position at = {.next_offset = (int64_t)fr_reader_varint(reader), .last = {.offset = -1}};

    if (reader->at < reader->end) {
        at.last.offset = (int64_t)fr_reader_varint(reader) - 1;
        at.last.hash = fr_reader_fixed64(reader);
    }
    return at;
}

static int64_t read_clock(struct fr_reader *reader)
{
    return reader->at < reader->end ? fr_reader_zigzag(reader) : 0;
}

static void remember(void *user, const char *name, struct fr_slice value)
{
    struct pipeline_offsets *offsets = user;
    struct fr_reader reader = fr_reader(value);

    if (offsets->known_count == offsets->known_capacity) {
        int capacity = offsets->known_capacity ? 2 * offsets->known_capacity : 64;
        struct pipeline_known_offset *grown = realloc(offsets->known, (size_t)capacity * sizeof *grown);

        if (!grown)
            return;
        offsets->known = grown;
        offsets->known_capacity = capacity;
    }
    offsets->known[offsets->known_count].name = fr_arena_copy(offsets->arena, fr_slice_of(name + strlen(offset_prefix)));
    offsets->known[offsets->known_count].at = read_position(&reader);
    offsets->known[offsets->known_count].clock_ms = read_clock(&reader);
    if (offsets->known[offsets->known_count].name && !reader.is_failed)
        offsets->known_count++;
}

static void count_one(void *user, const char *name, struct fr_slice value)
{
    int *count = user;

    (void)name;
    (void)value;
    ++*count;
}

bool pipeline_offsets__init(struct pipeline_offsets *offsets, struct store *store, struct fr_err *err)
{
    struct fr_slice cluster = store_meta_get(store, cluster_meta);
    int stored = 0;

    offsets->arena = fr_arena_new((size_t)64 << 20);
    offsets->positions = calloc(PIPELINE_PARTITIONS_MAX, sizeof *offsets->positions);
    if (!offsets->arena || !offsets->positions)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for offsets");
    for (int i = 0; i < PIPELINE_PARTITIONS_MAX; i++)
        atomic_init(&offsets->positions[i].next, -1);
    if (cluster.length >= sizeof offsets->stored_cluster)
        return fr_fail(err, FR_CORRUPT,
                       "pipeline: the store's cluster id has %zu bytes; restore a backup or start with another store.path",
                       cluster.length);
    if (cluster.length > 0)
        memcpy(offsets->stored_cluster, cluster.bytes, cluster.length);
    store_meta_each(store, offset_prefix, count_one, &stored);
    store_meta_each(store, offset_prefix, remember, offsets);
    if (offsets->known_count != stored)
        return fr_fail(err, FR_CORRUPT,
                       "pipeline: %d of %d stored offsets could be read; restore a backup or start with another store.path",
                       offsets->known_count, stored);
    return true;
}

void pipeline_offsets__fini(struct pipeline_offsets *offsets)
{
    fr_arena_free(offsets->arena);
    free(offsets->known);
    for (int i = 0; offsets->positions && i < atomic_load(&offsets->count); i++)
        free(offsets->positions[i].name);
    free(offsets->positions);
    *offsets = (struct pipeline_offsets){0};
}

static bool is_embedded_id(const char *cluster_id)
{
    return strncmp(cluster_id, "embedded-", strlen("embedded-")) == 0;
}

bool pipeline_offsets__cluster(struct pipeline_offsets *offsets, const char *cluster_id, bool is_embedded,
                               const char *store_path, struct fr_err *err)
{
    const char *stored = offsets->stored_cluster;

    if (strlen(cluster_id) >= sizeof offsets->cluster)
        return fr_fail(err, FR_BAD_CONFIG, "kafka: the cluster id has more than %zu bytes", sizeof offsets->cluster - 1);
    if (stored[0] && strcmp(stored, cluster_id) != 0 && !(is_embedded && is_embedded_id(stored)))
        return fr_fail(
            err, FR_BAD_CONFIG,
            "kafka: the brokers are cluster '%s', but the state in '%s' belongs to cluster '%s'; point kafka.brokers at "
            "that cluster, or set store.path to another directory to start afresh",
            cluster_id, store_path, stored);
    strcpy(offsets->cluster, cluster_id);
    atomic_store_explicit(&offsets->is_cluster_known, true, memory_order_release);
    return true;
}

struct ingest_position pipeline_offsets__start(struct pipeline_offsets *offsets, int partition, const char *topic,
                                               int32_t number)
{
    struct ingest_position at = {.next_offset = -1, .last = {.offset = -1}};
    struct pipeline_position *position;
    char name[1024];

    assert(partition >= 0 && partition < PIPELINE_PARTITIONS_MAX);
    position = &offsets->positions[partition];
    snprintf(name, sizeof name, "%s/%s/%" PRId32, offsets->cluster, topic, number);
    for (int i = 0; i < offsets->known_count; i++)
        if (strcmp(offsets->known[i].name, name) == 0) {
            at = offsets->known[i].at;
            position->clock_ms = offsets->known[i].clock_ms;
            atomic_store_explicit(&position->joined_ms, position->clock_ms, memory_order_relaxed);
        }
    position->name = strdup(name);
    position->put = at.next_offset;
    position->last = at.last;
    atomic_store_explicit(&position->next, at.next_offset, memory_order_relaxed);
    atomic_store_explicit(&offsets->count, partition + 1, memory_order_release);
    return at;
}

void pipeline_offsets__place(struct pipeline_offsets *offsets, int partition, struct ingest_position at)
{
    offsets->positions[partition].last = at.last;
    atomic_store_explicit(&offsets->positions[partition].next, at.next_offset, memory_order_release);
}

void pipeline_offsets__advance(struct pipeline_offsets *offsets, int partition, struct ingest_position to)
{
    offsets->positions[partition].last = to.last;
    atomic_store_explicit(&offsets->positions[partition].next, to.next_offset, memory_order_release);
}

int64_t pipeline_offsets__next(struct pipeline_offsets *offsets, int partition)
{
    return atomic_load_explicit(&offsets->positions[partition].next, memory_order_acquire);
}

int64_t pipeline_offsets__clock(struct pipeline_offsets *offsets, int partition, int64_t ts_ms)
{
    struct pipeline_position *position = &offsets->positions[partition];

    if (ts_ms > position->clock_ms)
        position->clock_ms = ts_ms;
    return position->clock_ms;
}

void pipeline_offsets__join(struct pipeline_offsets *offsets, int partition)
{
    struct pipeline_position *position = &offsets->positions[partition];

    atomic_store_explicit(&position->joined_ms, position->clock_ms, memory_order_release);
}

int64_t pipeline_offsets__joined(const struct pipeline_offsets *offsets, int partition)
{
    return atomic_load_explicit(&offsets->positions[partition].joined_ms, memory_order_acquire);
}

static void forget_offset(void *user, const char *name, struct fr_slice value)
{
    (void)value;
    store_meta_delete(user, name);
}

/* An embedded broker's offsets end with its process: those of the last one go as the new one's come. */
static void save_cluster(struct pipeline_offsets *offsets, struct store *store)
{
    if (offsets->is_cluster_put || !atomic_load_explicit(&offsets->is_cluster_known, memory_order_acquire))
        return;
    if (offsets->stored_cluster[0] && strcmp(offsets->stored_cluster, offsets->cluster) != 0)
        for (int i = 0; i < offsets->known_count; i++) {
            char name[1100];

            snprintf(name, sizeof name, "%s%s", offset_prefix, offsets->known[i].name);
            forget_offset(store, name, fr_slice(NULL, 0));
        }
    store_meta_put(store, cluster_meta, fr_slice_of(offsets->cluster));
    offsets->is_cluster_put = true;
}

void pipeline_offsets__save(struct pipeline_offsets *offsets, struct store *store)
{
    int count = atomic_load_explicit(&offsets->count, memory_order_acquire);

    save_cluster(offsets, store);
    for (int i = 0; i < count; i++) {
        struct pipeline_position *position = &offsets->positions[i];
        int64_t next = atomic_load_explicit(&position->next, memory_order_relaxed);
        struct fr_buffer value;
        char name[1100];

        if (next < 0 || next == position->put)
            continue;
        fr_buffer_init(&value);
        fr_buffer_append_varint(&value, (uint64_t)next);
        fr_buffer_append_varint(&value, (uint64_t)(position->last.offset + 1));
        fr_buffer_append_fixed64(&value, position->last.hash);
        fr_buffer_append_zigzag(&value, position->clock_ms);
        snprintf(name, sizeof name, "%s%s", offset_prefix, position->name ? position->name : "");
        if (value.is_failed || !position->name)
            store_spoil(store); /* an epoch with the events and without their offset counts them twice */
        else
            store_meta_put(store, name, fr_buffer_slice(&value));
        fr_buffer_fini(&value);
        position->put = next;
    }
}

int pipeline_offsets__copy(struct pipeline_offsets *offsets, int64_t *next, int count)
{
    int known = atomic_load_explicit(&offsets->count, memory_order_acquire);

    known = known < count ? known : count;
    for (int i = 0; i < known; i++)
        next[i] = pipeline_offsets__next(offsets, i);
    return known;
}
