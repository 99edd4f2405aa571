/*
 * What a restart cannot do without: its RocksDB, opened, and the meta records in it.
 */
#include <freshet/bench.h>
#include <freshet/store.h>

static bool decode_nothing(void *user, const struct store_key *key, enum store_part part, struct fr_slice disk,
                           struct fr_buffer *memory)
{
    (void)user, (void)key, (void)part, (void)disk, (void)memory;
    return false;
}

static void encode_nothing(void *user, const struct store_key *key, enum store_part part, const void *memory, uint32_t bytes,
                           struct fr_buffer *disk)
{
    (void)user, (void)key, (void)part, (void)memory, (void)bytes, (void)disk;
}

bool bench_reopen(const char *path, struct fr_err *err)
{
    const struct store_options options = {
        .path = path, .codec = {.encode = encode_nothing, .decode = decode_nothing}, .is_read_only = true};
    struct store *store;

    return store_open(&options, &store, err);
}
