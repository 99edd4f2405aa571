/*
 * Shows how a directory grows while another function, which tells nothing on its way, fills it: a thread that looks at it now and then.
 * The bar is that thread's alone. What was there before does not count.
 */
#include "internal.h"

#include <freshet/clock.h>

#include <dirent.h>
#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { GROWTH_EVERY_MS = 200, GROWTH_DESCRIPTORS = 8 };

struct cli_growth {
    char path[CLI_DIRECTORY_BYTES];
    int64_t expected_bytes;
    uint64_t before_bytes;
    struct cli_progress progress;
    atomic_bool is_done;
    pthread_t thread;
};

static _Thread_local uint64_t found_bytes; /* nftw() has no argument of the caller's */

static int add_file(const char *path, const struct stat *status, int kind, struct FTW *walk)
{
    (void)path;
    (void)walk;
    if (kind == FTW_F)
        found_bytes += (uint64_t)status->st_size;
    return 0;
}

static uint64_t bytes_in(const char *directory)
{
    found_bytes = 0;
    return nftw(directory, add_file, GROWTH_DESCRIPTORS, FTW_PHYS) == 0 ? found_bytes : 0; /* not there yet, or not from here */
}

/* Whether a backup has the file: its name there is NUMBER_SESSION_BYTES.sst. */
static bool is_shared(const char *directory, const char *name, off_t bytes)
{
    char path[CLI_DIRECTORY_BYTES + 32], end[32];
    size_t stem = strcspn(name, ".");
    const struct dirent *entry;
    bool is_found = false;
    DIR *shared;

    snprintf(path, sizeof path, "%s/shared_checksum", directory);
    snprintf(end, sizeof end, "_%lld.sst", (long long)bytes);
    shared = opendir(path);
    while (shared && !is_found && (entry = readdir(shared)) != NULL) {
        size_t length = strlen(entry->d_name);

        is_found = length > stem + strlen(end) && strncmp(entry->d_name, name, stem) == 0 && entry->d_name[stem] == '_' &&
                   strcmp(entry->d_name + length - strlen(end), end) == 0;
    }
    if (shared)
        closedir(shared);
    return is_found;
}

int64_t cli_growth__missing(const char *store, const char *directory)
{
    DIR *files = opendir(store);
    const struct dirent *entry;
    int64_t bytes = 0;

    if (!files)
        return -1;
    while ((entry = readdir(files)) != NULL) {
        const char *end = strrchr(entry->d_name, '.');
        struct stat status;

        if (fstatat(dirfd(files), entry->d_name, &status, 0) == 0 && end && strcmp(end, ".sst") == 0 &&
            !is_shared(directory, entry->d_name, status.st_size))
            bytes += status.st_size;
        else if (strncmp(entry->d_name, "MANIFEST-", 9) == 0)
            bytes += status.st_size;
    }
    closedir(files);
    return bytes;
}

static void *watch(void *user)
{
    struct cli_growth *growth = user;

    while (!atomic_load(&growth->is_done)) {
        uint64_t bytes = bytes_in(growth->path);
        uint64_t grown = bytes > growth->before_bytes ? bytes - growth->before_bytes : 0;

        cli_progress__show(&growth->progress, grown, growth->expected_bytes, grown);
        fr_clock_sleep_ms(GROWTH_EVERY_MS);
    }
    cli_progress__fini(&growth->progress);
    return NULL;
}

struct cli_growth *cli_growth__show(const char *path, int64_t expected_bytes)
{
    struct cli_growth *growth = calloc(1, sizeof *growth);

    if (!growth)
        return NULL;
    snprintf(growth->path, sizeof growth->path, "%s", path);
    growth->expected_bytes = expected_bytes;
    growth->before_bytes = bytes_in(path);
    cli_progress__init(&growth->progress, "bytes");
    if (growth->progress.is_shown && pthread_create(&growth->thread, NULL, watch, growth) == 0)
        return growth;
    free(growth);
    return NULL;
}

void cli_growth__stop(struct cli_growth *growth)
{
    if (!growth)
        return;
    atomic_store(&growth->is_done, true);
    pthread_join(growth->thread, NULL);
    free(growth);
}
