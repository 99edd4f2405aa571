/*
 * Shows how a directory grows while another function, which tells nothing on its way, fills it: a thread that looks at it now and then.
 * The bar is that thread's alone.
 */
#include "internal.h"

#include <freshet/clock.h>

#include <ftw.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { GROWTH_EVERY_MS = 200, GROWTH_DESCRIPTORS = 8 };

struct cli_growth {
    char path[CLI_DIRECTORY_BYTES];
    int64_t expected_bytes;
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

static void *watch(void *user)
{
    struct cli_growth *growth = user;

    while (!atomic_load(&growth->is_done)) {
        found_bytes = 0;
        if (nftw(growth->path, add_file, GROWTH_DESCRIPTORS, FTW_PHYS) == 0)
            cli_progress__show(&growth->progress, found_bytes, growth->expected_bytes, found_bytes);
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
