/*
 * How much memory this process may have: what its control groups say, of version 1 or 2, or the machine. A budget that leaves nothing for
 * what is not in it ends in the kernel's kill, hours later and without a word; a container without a limit takes its neighbours'
 * memory first. So both are told at the start.
 */
#include "internal.h"

#include <freshet/log.h>
#include <freshet/text.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { GROUPS_BYTES = 8192, PATH_BYTES = 1024 };

static size_t read_file(const char *root, const char *path, char *text, size_t capacity)
{
    char whole[2 * PATH_BYTES];
    FILE *file;
    size_t got = 0;

    snprintf(whole, sizeof whole, "%s%s", root, path);
    file = fopen(whole, "r");
    if (file) {
        got = fread(text, 1, capacity - 1, file);
        fclose(file);
    }
    text[got] = '\0';
    return got;
}

static uint64_t read_limit(const char *root, const char *path)
{
    char text[64];
    size_t got = read_file(root, path, text, sizeof text);
    uint64_t bytes;

    while (got > 0 && text[got - 1] == '\n')
        got--;
    return fr_text_uint64(fr_slice(text, got), &bytes) ? bytes : UINT64_MAX; /* no such file, or "max" */
}

/* The least limit of a group and of those it lies in: a group may have less than it was told, never more. */
static uint64_t least_limit(const char *root, const char *mount, char *group, const char *name)
{
    uint64_t least = UINT64_MAX;

    for (;;) {
        char path[PATH_BYTES];
        uint64_t limit;
        char *end;

        snprintf(path, sizeof path, "%s%s/%s", mount, strcmp(group, "/") == 0 ? "" : group, name);
        limit = read_limit(root, path);
        least = limit < least ? limit : least;
        end = strrchr(group, '/');
        if (!end)
            return least; /* that was the top: in a container it is its own group */
        *end = '\0';
    }
}

static uint64_t group_bytes(const char *root)
{
    char groups[GROUPS_BYTES], *rest = groups, *line;
    uint64_t least = UINT64_MAX;

    read_file(root, "/proc/self/cgroup", groups, sizeof groups);
    while ((line = strsep(&rest, "\n")) != NULL) {
        char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
        uint64_t limit = UINT64_MAX;

        if (!group)
            continue;
        *group++ = '\0';
        if (controllers[1] == '\0')
            limit = least_limit(root, "/sys/fs/cgroup", group, "memory.max");
        else if (strcmp(controllers + 1, "memory") == 0)
            limit = least_limit(root, "/sys/fs/cgroup/memory", group, "memory.limit_in_bytes");
        least = limit < least ? limit : least;
    }
    return least;
}

struct pipeline_machine pipeline_machine__look(const char *root, uint64_t physical_bytes)
{
    static const char *const marks[] = {"/.dockerenv", "/run/.containerenv", "/run/systemd/container"};
    uint64_t limit = group_bytes(root);
    struct pipeline_machine machine = {.memory_bytes = limit < physical_bytes ? limit : physical_bytes,
                                       .has_limit = limit < physical_bytes};

    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        char path[PATH_BYTES];

        snprintf(path, sizeof path, "%s%s", root, marks[i]);
        machine.is_container |= access(path, F_OK) == 0;
    }
    machine.is_container |= getenv("KUBERNETES_SERVICE_HOST") != NULL;
    return machine;
}

void pipeline_machine__describe(const struct pipeline_machine *machine, uint64_t budget_bytes,
                                char text[PIPELINE_MACHINE_TEXT_BYTES])
{
    uint64_t most = machine->memory_bytes / 4 * 3;

    text[0] = '\0';
    if (budget_bytes > most)
        snprintf(text, PIPELINE_MACHINE_TEXT_BYTES,
                 "store.memory is %" PRIu64 " MiB, and this process may have %" PRIu64
                 " MiB in all, of which Kafka's client, RocksDB and replies take their share; set store.memory to %" PRIu64
                 "MiB or less, or give it more memory",
                 budget_bytes >> 20, machine->memory_bytes >> 20, most >> 20);
    else if (machine->is_container && !machine->has_limit)
        snprintf(text, PIPELINE_MACHINE_TEXT_BYTES,
                 "this container has no memory limit, so it may take all of the machine's %" PRIu64
                 " MiB; store.memory is %" PRIu64 " MiB: set the limit to twice that, %" PRIu64
                 "m (mem_limit, docker run --memory, resources.limits.memory)",
                 machine->memory_bytes >> 20, budget_bytes >> 20, budget_bytes >> 19);
}

struct pipeline_machine pipeline_machine__here(void)
{
    return pipeline_machine__look("", (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE));
}

void pipeline_machine__warn(const struct pipeline_machine *machine, uint64_t budget_bytes)
{
    char text[PIPELINE_MACHINE_TEXT_BYTES];

    pipeline_machine__describe(machine, budget_bytes, text);
    if (*text)
        fr_log(FR_LOG_WARN, "pipeline", "%s", text);
}
