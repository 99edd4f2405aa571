/*
 * A hand-over that failed half-way. When the sync of the manifest fails, RocksDB says that a file was not taken over and removes its
 * own name of it; but the record may be in the manifest all the same, and then the store opens no more: a file is missing. Ours is
 * the file's other name, in epochs/, which stays until a store is open. So the missing name is put back; RocksDB itself checks
 * size and identity of what it finds there. The epoch then is durable, although it was told to have failed: with its offsets in
 * it, that counts nothing twice.
 */
#include "internal.h"

#include <freshet/log.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* The number of the table file that is missing, by RocksDB's message ("…/000015.ldb: No such file …"); 0: it says something else. */
static uint64_t missing_number(const char *message)
{
    const char *end = strstr(message, ".ldb: No such file"); /* the older name, which it tries last */
    const char *start = end;

    while (start != NULL && start > message && start[-1] >= '0' && start[-1] <= '9')
        start--;
    return start != NULL && start > message && start[-1] == '/' ? strtoull(start, NULL, 10) : 0;
}

bool store_rescue__open(const char *path, uint64_t memory_bytes, struct store_disk *disk, struct fr_err *err)
{
    char left[PATH_MAX], missing[PATH_MAX];

    if (store_disk__open(path, memory_bytes, false, disk, err))
        return true;
    uint64_t number = missing_number(err->message);
    int length = snprintf(missing, sizeof(missing), "%s/%06llu.sst", path, (unsigned long long)number);
    if (number == 0 || length >= (int)sizeof(missing) || !store_directory__left_epoch(path, left) || link(left, missing) != 0)
        return false;

    struct fr_err again;
    bool is_open = store_directory__sync(path, &again) && store_disk__open(path, memory_bytes, false, disk, &again);
    if (is_open)
        fr_log(FR_LOG_WARN, "store", "'%s': the last epoch was handed over half-way when a sync failed; it is whole again",
               path);
    else
        (void)unlink(missing);
    return is_open;
}
