/*
 * Keys: their hash in the table and their bytes on disk. On disk everything is big endian, so that RocksDB's byte order is the
 * order of the numbers, and an entity's parts lie side by side.
 */
#include "internal.h"

#include <assert.h>
#include <endian.h>

/* Both halves of a 128-bit product folded: one multiplication mixes every bit of one word into every bit of the other. */
static uint64_t fold(uint64_t a, uint64_t b)
{
    unsigned __int128 product = (unsigned __int128)a * b;

    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t store_key_hash(const struct store *store, const struct store_key *key)
{
    uint64_t head = (uint64_t)key->kind | (uint64_t)key->id_count << 8 | (uint64_t)key->partition << 16;
    uint64_t hash = fold(head ^ store->seeds[0], store->seeds[1] ^ UINT64_C(0x9E3779B97F4A7C15));

    for (int i = 0; i < key->id_count; i++)
        hash = fold(hash ^ key->ids[i] ^ store->seeds[0], store->seeds[1] ^ UINT64_C(0xD1B54A32D192ED03));
    return fold(hash ^ store->seeds[1], UINT64_C(0x8CB92BA72F3D8DD7));
}

void store_key__encode(const struct store_key *key, enum store_part part, struct store_disk_key *disk_key)
{
    int id_count = key->id_count;

    assert(key->kind > 0 && id_count > 0 && id_count <= STORE_KEY_IDS_MAX);
    *disk_key = (struct store_disk_key){{0}};
    disk_key->bytes[0] = key->kind;
    disk_key->bytes[1] = (uint8_t)(key->partition >> 8);
    disk_key->bytes[2] = (uint8_t)key->partition;

    size_t at = 3;
    for (int i = 0; i < id_count; i++) {
        uint64_t id = htobe64(key->ids[i]);

        memcpy(disk_key->bytes + at, &id, sizeof(id));
        at += sizeof(id);
    }
    disk_key->bytes[at++] = (uint8_t)part;
    disk_key->bytes[STORE_KEY_PADDED_BYTES - 1] = (uint8_t)at;
}

bool store_key__decode(struct fr_slice bytes, struct store_key *key, enum store_part *part)
{
    const uint8_t *at = bytes.bytes;
    size_t ids_bytes = bytes.length - 4; /* huge when the key is too short */

    if (bytes.length < 4 || bytes.length > STORE_KEY_BYTES_MAX || ids_bytes == 0 || ids_bytes % 8 != 0 || at[0] == 0 ||
        at[bytes.length - 1] >= STORE_PARTS)
        return false;
    *key = (struct store_key){.kind = at[0], .id_count = (uint8_t)(ids_bytes / 8), .partition = (uint16_t)(at[1] << 8 | at[2])};
    for (int i = 0; i < key->id_count; i++) {
        uint64_t id;

        memcpy(&id, at + 3 + 8 * i, sizeof(id));
        key->ids[i] = be64toh(id);
    }
    *part = at[bytes.length - 1];
    return true;
}

bool store_key__is_same(const struct store_key *a, const struct store_key *b)
{
    return a->kind == b->kind && a->id_count == b->id_count && a->partition == b->partition &&
           memcmp(a->ids, b->ids, sizeof(a->ids)) == 0;
}

struct store_key_text store_key__print(struct fr_slice bytes)
{
    struct store_key_text text = {{0}};
    const uint8_t *at = bytes.bytes;

    for (size_t i = 0; i < bytes.length && i < STORE_KEY_BYTES_MAX; i++) {
        text.text[2 * i] = "0123456789abcdef"[at[i] >> 4];
        text.text[2 * i + 1] = "0123456789abcdef"[at[i] & 15];
    }
    return text;
}
