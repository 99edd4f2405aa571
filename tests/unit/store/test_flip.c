/*
 * A byte of any file of a store is flipped: what a reader is then told is one whole epoch, or that it is damaged; never something
 * else. It may be the epoch before: a record cut short at the end of the manifest is what a crash leaves, so RocksDB passes over
 * it, and the offsets of that epoch make a node read the rest from Kafka again. FRESHET_FLIPS of them (60), spread over the files of each kind.
 */
#include "fixture.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>

enum { ENTITIES = 3000, EPOCHS = 5, FILES_MAX = 64, KINDS = 6 };

static const char *const kinds[KINDS] = {".sst", "MANIFEST", "CURRENT", "OPTIONS", "IDENTITY", "FRESHET"};

struct file {
    char path[400];
    off_t bytes;
};

static uint64_t number_of(uint64_t id)
{
    return id * UINT64_C(0x9E3779B97F4A7C15) >> 20;
}

/* Several epochs, so that there are several files, and a part that changed in each. */
static void fill(struct store *store)
{
    for (uint64_t epoch = 0; epoch < EPOCHS; epoch++) {
        for (uint64_t id = 1 + epoch; id <= ENTITIES; id += EPOCHS)
            fixture_set(store, id, number_of(id));
        fixture_meta_set(store, "epochs", epoch + 1);
        fixture_set_part(store, 1, STORE_PART_LISTS, epoch + 1);
        fixture_commit(store);
    }
}

static int list_files(const char *directory, const char *kind, struct file files[FILES_MAX])
{
    DIR *listing = opendir(directory);
    struct dirent *entry;
    int count = 0;

    assert_non_null(listing);
    while ((entry = readdir(listing)) != NULL && count < FILES_MAX) {
        struct stat status;

        if (strstr(entry->d_name, kind) == NULL || strcmp(entry->d_name, ".") == 0)
            continue;
        snprintf(files[count].path, sizeof files[count].path, "%s/%s", directory, entry->d_name);
        if (stat(files[count].path, &status) == 0 && S_ISREG(status.st_mode) && status.st_size > 0)
            files[count++].bytes = status.st_size;
    }
    closedir(listing);
    return count;
}

/* Flips a byte, and flips it back. */
static void flip(const struct file *file, off_t at, uint8_t bits)
{
    int fd = open(file->path, O_RDWR);
    uint8_t byte;

    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, at), 1);
    byte ^= bits;
    assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    close(fd);
}

struct verdict {
    bool is_told; /* damaged, somewhere */
    uint64_t epochs; /* that are there, as the meta record of the last says */
    uint64_t wrong; /* entities that read otherwise than those epochs wrote them */
};

static uint64_t expected(uint64_t id, uint64_t epochs)
{
    return (id - 1) % EPOCHS < epochs ? number_of(id) : 0;
}

/* From a copy of the directory, because opening and closing a store writes in it. */
static void copy_to(const char *from, const char *to)
{
    char command[256];

    snprintf(command, sizeof command, "rm -rf %s && cp -r %s %s", to, from, to);
    assert_int_equal(system(command), 0);
}

static void read_entity(struct store *store, uint64_t id, struct verdict *verdict)
{
    struct store_key key = fixture_key(id);
    uint64_t hash = store_key_hash(store, &key), number = 0;
    struct store_visit visit = store_visit_enter(store);
    struct fr_err err;
    uint32_t bytes = 0;

    if (!store_load(store, &key, &hash, 1, &err)) {
        verdict->is_told = true;
    } else {
        struct store_entry *entry = store_entry_lock(store, &key, hash, false);
        bool is_corrupt = entry != NULL && store_entry_is_corrupt(entry);
        const uint64_t *numbers = entry != NULL ? store_entry_read(entry, STORE_PART_ROWS, &bytes) : NULL;

        number = bytes > 0 ? numbers[0] : 0;
        if (entry != NULL)
            store_entry_unlock(store, entry);
        verdict->is_told |= is_corrupt;
        verdict->wrong += !is_corrupt && number != expected(id, verdict->epochs);
    }
    store_visit_leave(store, visit);
}

static bool count_one(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    uint64_t *count = user;

    (void)key, (void)disk;
    ++*count;
    return true;
}

static struct verdict read_all(const struct fixture *fixture, const char *path)
{
    struct store_options options = fixture->options;
    struct verdict verdict = {0};
    struct store *store = NULL;
    uint64_t count = 0;
    struct fr_err err = {0};

    options.path = path;
    if (!store_open(&options, &store, &err)) {
        verdict.is_told = true;
        return verdict;
    }
    verdict.epochs = fixture_meta_get(store, "epochs");
    for (uint64_t id = 1; id <= ENTITIES; id++)
        read_entity(store, id, &verdict);
    if (!store_scan(store, count_one, &count, &err))
        verdict.is_told = true;
    else
        verdict.wrong += count != ENTITIES / EPOCHS * verdict.epochs;
    store_close(store);
    return verdict;
}

static void no_flipped_byte_makes_a_wrong_answer(void **state)
{
    struct fixture *fixture = *state;
    const char *asked = getenv("FRESHET_FLIPS");
    int flips = asked ? atoi(asked) : 60, told = 0, older = 0, done = 0;
    char copy[80];
    uint64_t dice = 12345;

    fill(fixture->store);
    fixture_close(fixture);
    snprintf(copy, sizeof copy, "%s.copy", fixture->path);
    for (int i = 0; i < flips; i++) {
        /* Half of them in the files that hold the state. */
        const char *kind = kinds[i % 2 == 0 ? 0 : (i / 2) % KINDS];
        struct file files[FILES_MAX];

        copy_to(fixture->path, copy);
        int count = list_files(copy, kind, files);
        assert_true(count > 0);
        dice = dice * UINT64_C(6364136223846793005) + 1442695040888963407u;
        const struct file *file = &files[(dice >> 33) % (uint64_t)count];
        off_t at = (off_t)((dice >> 11) % (uint64_t)file->bytes);
        flip(file, at, (uint8_t)(1 << (dice >> 60) % 8));
        struct verdict verdict = read_all(fixture, copy);
        if (verdict.wrong > 0)
            fail_msg("%s, byte %ld of %ld: %lu wrong answers", file->path, (long)at, (long)file->bytes,
                     (unsigned long)verdict.wrong);
        if (!verdict.is_told && verdict.epochs + 1 < EPOCHS)
            fail_msg("%s, byte %ld: only %lu epochs are left", file->path, (long)at, (unsigned long)verdict.epochs);
        told += verdict.is_told;
        older += !verdict.is_told && verdict.epochs < EPOCHS;
        done++;
    }
    print_message("%d bytes flipped, %d told as damage, %d left the epoch before, the others harmless\n", done, told, older);
    assert_true(told > flips / 4);
    nftw(copy, fixture_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(no_flipped_byte_makes_a_wrong_answer, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
