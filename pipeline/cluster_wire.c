/* What instances write for each other, as bytes. */
#include "cluster_internal.h"

#include <stdlib.h>

enum { TOMBSTONE_KEY_BYTES = 9, BLOCK_KEY_BYTES = 10 };

const char pipeline_marker_key[1] = {0}; /* no kind is 0 */

bool pipeline_wire__fail(const char *topic, struct fr_err *err)
{
    return fr_fail(err, FR_CORRUPT, "cluster: a record of '%s' is of another version of freshet, or makes no sense", topic);
}

static void append_text(struct fr_buffer *wire, const char *text)
{
    fr_buffer_append_varint(wire, strlen(text));
    fr_buffer_append_text(wire, text);
}

static struct fr_slice read_text(struct fr_reader *reader)
{
    return fr_reader_bytes(reader, fr_reader_varint(reader));
}

static bool check(const struct pipeline_cluster *cluster, const struct fr_reader *reader, uint64_t version,
                  uint64_t fingerprint, struct fr_err *err)
{
    if (reader->is_failed || version != PIPELINE_CLUSTER_VERSION)
        return fr_fail(err, FR_CORRUPT, "cluster: a record of '%s' or '%s' is of another version of freshet, or makes no sense",
                       cluster->changelog, cluster->deltas);
    return fingerprint == cluster->fingerprint ||
           fr_fail(err, FR_BAD_CONFIG,
                   "cluster: instances of '%s' have different catalogues; all need the same entities and features, from stores "
                   "that began with them: another catalogue is another kafka.group",
                   cluster->config->group);
}

/*
 * ---- markers: version | fingerprint | instance | epoch | S | topics: count, for each its name, next offset + 1, last record + 1 and hash |
 * time of sessions, which earlier ones do not have ----
 */

void pipeline_marker__encode(const struct pipeline_cluster *cluster, const struct pipeline_marker *marker,
                             struct fr_buffer *wire)
{
    fr_buffer_append_varint(wire, PIPELINE_CLUSTER_VERSION);
    fr_buffer_append_fixed64(wire, cluster->fingerprint);
    append_text(wire, cluster->config->id); /* for people */
    fr_buffer_append_varint(wire, marker->epoch);
    fr_buffer_append_zigzag(wire, marker->stream_time_ms);
    fr_buffer_append_varint(wire, (uint64_t)cluster->topic_count);
    for (int i = 0; i < cluster->topic_count; i++) {
        append_text(wire, cluster->topics[i]);
        fr_buffer_append_varint(wire, (uint64_t)(marker->at[i].next_offset + 1));
        fr_buffer_append_varint(wire, (uint64_t)(marker->at[i].last.offset + 1));
        fr_buffer_append_fixed64(wire, marker->at[i].last.hash);
    }
    fr_buffer_append_zigzag(wire, marker->session_time_ms);
}

bool pipeline_marker__decode(const struct pipeline_cluster *cluster, struct fr_slice wire, struct pipeline_marker *marker,
                             struct fr_err *err)
{
    struct fr_reader reader = fr_reader(wire);
    uint64_t version = fr_reader_varint(&reader), fingerprint = fr_reader_fixed64(&reader), topics;

    *marker = (struct pipeline_marker){.is_known = true};
    (void)read_text(&reader);
    marker->epoch = fr_reader_varint(&reader);
    marker->stream_time_ms = fr_reader_zigzag(&reader);
    for (int i = 0; i < PIPELINE_CLUSTER_TOPICS_MAX; i++)
        marker->at[i] = (struct ingest_position){.next_offset = -1, .last = {.offset = -1}};
    topics = fr_reader_varint(&reader);
    for (uint64_t i = 0; i < topics && !reader.is_failed; i++) {
        struct fr_slice name = read_text(&reader);
        struct ingest_position at = {.next_offset = (int64_t)fr_reader_varint(&reader) - 1};

        at.last.offset = (int64_t)fr_reader_varint(&reader) - 1;
        at.last.hash = fr_reader_fixed64(&reader);
        for (int k = 0; k < cluster->topic_count; k++)
            if (fr_slice_is(name, cluster->topics[k]))
                marker->at[k] = at;
    }
    if (reader.at < reader.end)
        marker->session_time_ms = fr_reader_zigzag(&reader);
    return check(cluster, &reader, version, fingerprint, err);
}

/* ---- copies: key: kind | ids, big endian | part ---- */

void pipeline_copy__key(const struct store_key *key, enum store_part part, struct fr_buffer *wire)
{
    fr_buffer_append_byte(wire, key->kind);
    for (int i = 0; i < key->id_count; i++)
        fr_buffer_append_be64(wire, key->ids[i]);
    fr_buffer_append_byte(wire, (uint8_t)part);
}

bool pipeline_copy__read_key(struct fr_slice wire, struct store_key *key, enum store_part *part)
{
    const uint8_t *bytes = wire.bytes;
    size_t ids = wire.length < 2 ? 0 : (wire.length - 2) / sizeof(uint64_t);
    struct fr_reader reader;

    if (ids < 1 || ids > STORE_KEY_IDS_MAX || wire.length != 2 + ids * sizeof(uint64_t) ||
        bytes[wire.length - 1] >= STORE_PARTS)
        return false;
    *key = (struct store_key){.kind = bytes[0], .id_count = (uint8_t)ids};
    reader = fr_reader(fr_slice(bytes + 1, ids * sizeof(uint64_t)));
    for (size_t i = 0; i < ids; i++)
        key->ids[i] = fr_reader_be64(&reader);
    *part = (enum store_part)bytes[wire.length - 1];
    return true;
}

/*
 * ---- deltas: version | store | epoch | fingerprint | S | deltas, for each its length, its key, its length and itself ----
 *
 * Many to a record without a key: a record costs brokers and clients more than a delta does.
 */

void pipeline_delta__begin(const struct pipeline_delta_head *head, struct fr_buffer *wire)
{
    fr_buffer_clear(wire);
    fr_buffer_append_varint(wire, PIPELINE_CLUSTER_VERSION);
    fr_buffer_append_fixed64(wire, head->store_id);
    fr_buffer_append_varint(wire, head->epoch);
    fr_buffer_append_fixed64(wire, head->fingerprint);
    fr_buffer_append_zigzag(wire, head->stream_time_ms);
}

void pipeline_delta__append(struct fr_slice key, struct fr_slice delta, struct fr_buffer *wire)
{
    fr_buffer_append_varint(wire, key.length);
    fr_buffer_append(wire, key.bytes, key.length);
    fr_buffer_append_varint(wire, delta.length);
    fr_buffer_append(wire, delta.bytes, delta.length);
}

bool pipeline_delta__decode(const struct pipeline_cluster *cluster, struct fr_slice wire, struct pipeline_delta_head *head,
                            struct fr_reader *deltas, struct fr_err *err)
{
    struct fr_reader reader = fr_reader(wire);
    uint64_t version = fr_reader_varint(&reader);

    head->store_id = fr_reader_fixed64(&reader);
    head->epoch = fr_reader_varint(&reader);
    head->fingerprint = fr_reader_fixed64(&reader);
    head->stream_time_ms = fr_reader_zigzag(&reader);
    *deltas = reader;
    return check(cluster, &reader, version, head->fingerprint, err);
}

bool pipeline_delta__next(struct fr_reader *deltas, struct agg_delta *delta)
{
    if (deltas->is_failed || deltas->at == deltas->end)
        return false;
    delta->key = fr_reader_bytes(deltas, fr_reader_varint(deltas));
    delta->value = fr_reader_bytes(deltas, fr_reader_varint(deltas));
    return !deltas->is_failed;
}

/* ---- announcements: key: 0 | partition, big endian; value: version | instance | address ---- */

void pipeline_owner__encode(const struct pipeline_cluster *cluster, int partition, struct fr_buffer *key,
                            struct fr_buffer *value)
{
    fr_buffer_append_byte(key, 0);
    fr_buffer_append_byte(key, (uint8_t)(partition >> 8));
    fr_buffer_append_byte(key, (uint8_t)partition);
    fr_buffer_append_varint(value, PIPELINE_CLUSTER_VERSION);
    append_text(value, cluster->config->id);
    append_text(value, cluster->api);
}

bool pipeline_owner__is(struct fr_slice key, int *partition)
{
    const uint8_t *bytes = key.bytes;

    if (key.length != 3 || bytes[0] != 0)
        return false;
    *partition = bytes[1] << 8 | bytes[2];
    return true;
}

/* Owners are few, and named once each. */
static const struct pipeline_owner *find_owner(const struct pipeline_cluster *cluster, struct fr_slice instance,
                                               struct fr_slice api)
{
    for (int i = 0; i < PIPELINE_CLUSTER_PARTITIONS_MAX + PIPELINE_CLUSTER_JOINERS; i++) {
        const struct pipeline_owner *known = i < PIPELINE_CLUSTER_PARTITIONS_MAX
                                                 ? atomic_load(&cluster->held[i].owner)
                                                 : atomic_load(&cluster->joiners[i - PIPELINE_CLUSTER_PARTITIONS_MAX]);

        if (known && fr_slice_is(instance, known->instance) && fr_slice_is(api, known->api))
            return known;
    }
    return NULL;
}

const struct pipeline_owner *pipeline_owner__read(struct pipeline_cluster *cluster, struct fr_slice value)
{
    struct fr_reader reader = fr_reader(value);
    uint64_t version = fr_reader_varint(&reader);
    struct fr_slice instance = read_text(&reader), api = read_text(&reader);
    const struct pipeline_owner *known;
    struct pipeline_owner *owner;

    if (reader.is_failed || version != PIPELINE_CLUSTER_VERSION)
        return NULL;
    known = find_owner(cluster, instance, api);
    owner = known ? NULL : fr_arena_take(cluster->arena, sizeof *owner);
    if (!owner)
        return known; /* without memory: an address that is not known is told so */
    owner->instance = fr_arena_copy(cluster->arena, instance);
    owner->api = fr_arena_copy(cluster->arena, api);
    return owner->instance && owner->api ? owner : NULL;
}

void pipeline_owner__take(struct pipeline_cluster *cluster, int partition, int64_t offset, struct fr_slice value)
{
    const struct pipeline_owner *owner;

    if (partition < 0 || partition >= PIPELINE_CLUSTER_PARTITIONS_MAX || !(owner = pipeline_owner__read(cluster, value)))
        return;
    if (atomic_exchange(&cluster->held[partition].owner, owner) != owner)
        atomic_store(&cluster->held[partition].is_owner_saved, false);
    atomic_store(&cluster->held[partition].word_next, offset + 1); /* after the owner, whom it tells to be the last */
    pipeline_standby__has_come(cluster, owner);
}

bool pipeline_owner__is_outdated(const struct pipeline_held *held)
{
    return atomic_load(&held->word_next) < atomic_load(&held->word_from);
}

/* ---- tombstones: key: 0 | user id, big endian; value: version | forgotten | until ---- */

void pipeline_tombstone__key(uint64_t user_id, struct fr_buffer *key)
{
    fr_buffer_append_byte(key, 0);
    fr_buffer_append_be64(key, user_id);
}

void pipeline_tombstone__encode(const struct pipeline_tombstone *tombstone, struct fr_buffer *key, struct fr_buffer *value)
{
    pipeline_tombstone__key(tombstone->user_id, key);
    fr_buffer_append_varint(value, PIPELINE_CLUSTER_VERSION);
    fr_buffer_append_zigzag(value, tombstone->forgotten_ms);
    fr_buffer_append_zigzag(value, tombstone->until_ms);
}

bool pipeline_tombstone__is(struct fr_slice key)
{
    return key.length == TOMBSTONE_KEY_BYTES && *(const uint8_t *)key.bytes == 0;
}

bool pipeline_tombstone__decode(struct fr_slice key, struct fr_slice value, struct pipeline_tombstone *tombstone)
{
    struct fr_reader id = fr_reader(fr_slice((const uint8_t *)key.bytes + 1, key.length - 1)), reader = fr_reader(value);
    uint64_t version = fr_reader_varint(&reader);

    *tombstone = (struct pipeline_tombstone){.user_id = fr_reader_be64(&id), .is_sent = true};
    tombstone->forgotten_ms = fr_reader_zigzag(&reader);
    tombstone->until_ms = fr_reader_zigzag(&reader);
    return !reader.is_failed && version == PIPELINE_CLUSTER_VERSION && tombstone->user_id != 0;
}

/* ---- blocks: key: 0 | kind | id, big endian; value: version | when | is blocked | reason ---- */

void pipeline_block__encode(const struct pipeline_block *block, struct fr_slice reason, struct fr_buffer *key,
                            struct fr_buffer *value)
{
    fr_buffer_append_byte(key, 0);
    fr_buffer_append_byte(key, (uint8_t)block->kind);
    fr_buffer_append_be64(key, block->id);
    fr_buffer_append_varint(value, PIPELINE_CLUSTER_VERSION);
    fr_buffer_append_zigzag(value, block->at_ms);
    fr_buffer_append_varint(value, block->is_blocked);
    fr_buffer_append_varint(value, reason.length);
    fr_buffer_append(value, reason.bytes, reason.length);
}

bool pipeline_block__is(struct fr_slice key)
{
    return key.length == BLOCK_KEY_BYTES && *(const uint8_t *)key.bytes == 0;
}

bool pipeline_block__decode(struct fr_slice key, struct fr_slice value, struct pipeline_block_record *record)
{
    const uint8_t *bytes = key.bytes;
    struct fr_reader id = fr_reader(fr_slice(bytes + 2, key.length - 2)), reader = fr_reader(value);
    uint64_t version = fr_reader_varint(&reader);
    struct fr_slice reason;

    *record = (struct pipeline_block_record){.block = {.kind = bytes[1], .id = fr_reader_be64(&id)}};
    record->block.at_ms = fr_reader_zigzag(&reader);
    record->block.is_blocked = fr_reader_varint(&reader) != 0;
    reason = read_text(&reader);
    if (reader.is_failed || version != PIPELINE_CLUSTER_VERSION || record->block.kind >= AGG_BLOCKED_KINDS ||
        record->block.id == 0 || record->block.at_ms <= 0 || reason.length > PIPELINE_BLOCK_REASON_BYTES)
        return false;
    memcpy(record->reason, reason.bytes, reason.length);
    return true;
}
