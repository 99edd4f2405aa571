/*
 * How much memory this process may have: what its control group says, or the machine. A budget that leaves nothing for what is not in
 * it ends in the kernel's kill, hours later and without a word; so it is told at the start.
 */
#include "internal.h"

#include <freshet/log.h>
#include <freshet/text.h>

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Version 2, and 1. In a container its own group is the root that it sees. */
static const char *const limit_files[] = {"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"};

static uint64_t read_limit(const char *path)
{
    char text[64] = "";
    uint64_t bytes;
    FILE *file = fopen(path, "r");
    size_t got = file ? fread(text, 1, sizeof text - 1, file) : 0;

    if (file)
        fclose(file);
    while (got > 0 && text[got - 1] == '\n')
        got--;
    return fr_text_uint64(fr_slice(text, got), &bytes) ? bytes : UINT64_MAX; /* "max" */
}

static uint64_t machine_bytes(void)
{
    uint64_t least = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);

    for (size_t i = 0; i < sizeof limit_files / sizeof *limit_files; i++) {
        uint64_t limit = read_limit(limit_files[i]);

        least = limit < least ? limit : least;
    }
    return least;
}

void pipeline_machine__check(uint64_t budget_bytes)
{
    uint64_t all = machine_bytes(), most = all / 4 * 3;

    if (budget_bytes > most)
        fr_log(FR_LOG_WARN, "pipeline",
               "store.memory is %" PRIu64 " MiB, and this process may have %" PRIu64
               " MiB in all, of which Kafka's client, RocksDB and replies take their share; set store.memory to %" PRIu64
               "MiB or less, or give it more memory",
               budget_bytes >> 20, all >> 20, most >> 20);
}
