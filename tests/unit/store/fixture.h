/*
 * A store in a directory of its own, removed afterwards, and a codec whose two forms differ: in memory a part is an array of
 * uint64, on disk they are varints with the zeros at the end cut off, so that a part of zeros is an empty one. The number
 * FIXTURE_POISON is one the codec refuses to decode.
 */
#ifndef STORE_FIXTURE_H
#define STORE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <freshet/store.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define FIXTURE_POISON UINT64_C(0xBADBADBADBAD)

struct fixture {
    char path[64];
    struct store *store;
    struct store_options options;
};

static inline void fixture_encode(void *user, const struct store_key *key, enum store_part part, const void *memory,
                                  uint32_t bytes, struct fr_buffer *disk)
{
    const uint64_t *numbers = memory;
    uint32_t count = bytes / 8;

    (void)user, (void)key, (void)part;
    while (count > 0 && numbers[count - 1] == 0)
        count--;
    for (uint32_t i = 0; i < count; i++)
        fr_buffer_append_varint(disk, numbers[i]);
}

static inline bool fixture_decode(void *user, const struct store_key *key, enum store_part part, struct fr_slice disk,
                                  struct fr_buffer *memory)
{
    struct fr_reader reader = fr_reader(disk);

    (void)user, (void)key, (void)part;
    while (reader.at < reader.end && !reader.is_failed) {
        uint64_t number = fr_reader_varint(&reader);

        if (number == FIXTURE_POISON)
            return false;
        fr_buffer_append(memory, &number, sizeof(number));
    }
    return !reader.is_failed;
}

static inline void fixture_open(struct fixture *fixture)
{
    struct fr_err err = {0};

    if (!store_open(&fixture->options, &fixture->store, &err))
        fail_msg("%s", err.message);
}

/* As after a crash: what is not in an epoch is gone. */
static inline void fixture_close(struct fixture *fixture)
{
    store_close(fixture->store);
    fixture->store = NULL;
}

static inline void fixture_reopen(struct fixture *fixture)
{
    fixture_close(fixture);
    fixture_open(fixture);
}

static inline void fixture_set_path(struct fixture *fixture)
{
    snprintf(fixture->path, sizeof(fixture->path), "store-XXXXXX");
    assert_non_null(mkdtemp(fixture->path));
    fixture->options = (struct store_options){
        .path = fixture->path, .memory_bytes = 64 << 20, .codec = {.encode = fixture_encode, .decode = fixture_decode}};
}

static inline int fixture_setup(void **state)
{
    struct fixture *fixture = calloc(1, sizeof(*fixture));

    assert_non_null(fixture);
    fixture_set_path(fixture);
    fixture_open(fixture);
    *state = fixture;
    return 0;
}

static inline int fixture_remove_one(const char *path, const struct stat *status, int type, struct FTW *ftw)
{
    (void)status, (void)type, (void)ftw;
    return remove(path);
}

static inline int fixture_teardown(void **state)
{
    struct fixture *fixture = *state;

    store_close(fixture->store);
    nftw(fixture->path, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
    free(fixture);
    return 0;
}

static inline struct store_key fixture_key(uint64_t id)
{
    return (struct store_key){.kind = 1, .id_count = 1, .partition = 7, .ids = {id}};
}

/* number[0] of the part, set inside the gate, as a lane would. */
static inline void fixture_set_part(struct store *store, uint64_t id, enum store_part part, uint64_t number)
{
    struct store_key key = fixture_key(id);
    uint64_t hash = store_key_hash(store, &key);
    struct store_visit visit = store_visit_enter(store);
    struct fr_err err;

    assert_true(store_load(store, &key, &hash, 1, &err));
    store_gate_enter(store);
    struct store_entry *entry = store_entry_lock(store, &key, hash, true);
    uint64_t *numbers = store_entry_write(store, entry, part, sizeof(number));
    numbers[0] = number;
    store_entry_unlock(store, entry);
    store_gate_leave(store);
    store_visit_leave(store, visit);
}

static inline void fixture_set(struct store *store, uint64_t id, uint64_t number)
{
    fixture_set_part(store, id, STORE_PART_ROWS, number);
}

/* number[0] of the part; 0 when there is none. */
static inline uint64_t fixture_get_part(struct store *store, uint64_t id, enum store_part part)
{
    struct store_key key = fixture_key(id);
    uint64_t hash = store_key_hash(store, &key), number = 0;
    struct store_visit visit = store_visit_enter(store);
    struct fr_err err;
    uint32_t bytes;

    assert_true(store_load(store, &key, &hash, 1, &err));
    struct store_entry *entry = store_entry_lock(store, &key, hash, false);
    if (entry != NULL) {
        assert_false(store_entry_is_corrupt(entry));
        const uint64_t *numbers = store_entry_read(entry, part, &bytes);
        if (bytes > 0)
            number = numbers[0];
        store_entry_unlock(store, entry);
    }
    store_visit_leave(store, visit);
    return number;
}

static inline uint64_t fixture_get(struct store *store, uint64_t id)
{
    return fixture_get_part(store, id, STORE_PART_ROWS);
}

static inline bool fixture_is_corrupt(struct store *store, uint64_t id)
{
    struct store_key key = fixture_key(id);
    uint64_t hash = store_key_hash(store, &key);
    struct fr_err err;

    assert_true(store_load(store, &key, &hash, 1, &err));
    struct store_entry *entry = store_entry_lock(store, &key, hash, false);
    if (entry == NULL)
        return false;
    bool is_corrupt = store_entry_is_corrupt(entry);
    store_entry_unlock(store, entry);
    return is_corrupt;
}

static inline void fixture_commit(struct store *store)
{
    struct fr_err err = {0};

    for (int i = 0; !store_epoch_commit(store, &(struct store_epoch){0}, &err); i++) {
        if (err.code != FR_EXHAUSTED || i == 10000)
            fail_msg("%s", err.message);
        usleep(1000); /* level 0 is deep: compaction comes */
    }
}

/* Until the filter is there and the budget kept. */
static inline void fixture_tend(struct store *store)
{
    struct store_stats stats;
    struct fr_err err = {0};

    do {
        if (!store_tend(store, 100000, &err))
            fail_msg("%s", err.message);
        store_stats_read(store, &stats);
    } while (!stats.is_filter_built);
    for (int i = 0; i < 4; i++) /* the eras have to go by */
        assert_true(store_tend(store, 1000, &err));
}

static inline bool fixture_is_in_table(struct store *store, uint64_t id)
{
    struct store_key key = fixture_key(id);
    struct store_entry *entry = store_entry_lock(store, &key, store_key_hash(store, &key), false);

    if (entry != NULL)
        store_entry_unlock(store, entry);
    return entry != NULL;
}

static inline uint64_t fixture_epoch(struct store *store)
{
    struct store_stats stats;

    store_stats_read(store, &stats);
    return stats.epoch;
}

/* A meta record with a number in it, by the store's own means. */
static inline void fixture_meta_set(struct store *store, const char *name, uint64_t number)
{
    store_meta_put(store, name, fr_slice(&number, sizeof(number)));
}

static inline uint64_t fixture_meta_get(struct store *store, const char *name)
{
    struct fr_slice value = store_meta_get(store, name);
    uint64_t number = 0;

    if (value.length == sizeof(number))
        memcpy(&number, value.bytes, sizeof(number));
    return number;
}

#endif
