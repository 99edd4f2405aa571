/* What memory a process may have, by control groups as they look on machines and in containers, and what is said of a budget there. */
#include "internal.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

enum { PATH_BYTES = 512 };

static char root[PATH_BYTES];

static int set_up(void **state)
{
    (void)state;
    (void)unsetenv("KUBERNETES_SERVICE_HOST");
    snprintf(root, sizeof root, "/tmp/freshet-machine.XXXXXX");
    return mkdtemp(root) ? 0 : -1;
}

static int tear_down(void **state)
{
    char command[PATH_BYTES + 16];

    (void)state;
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

/* A file of the machine, with the directories above it. */
static void put(const char *path, const char *text)
{
    char whole[2 * PATH_BYTES];
    FILE *file;

    snprintf(whole, sizeof whole, "%s%s", root, path);
    for (char *at = whole + strlen(root) + 1; (at = strchr(at, '/')) != NULL; *at++ = '/') {
        *at = '\0';
        assert_true(mkdir(whole, 0700) == 0 || errno == EEXIST);
    }
    file = fopen(whole, "w");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static uint64_t memory(void)
{
    return pipeline_machine__look(root, 16 * GIB).memory_bytes;
}

static void without_control_groups_it_is_the_machines(void **state)
{
    struct pipeline_machine machine = pipeline_machine__look(root, 16 * GIB);

    (void)state;
    assert_int_equal(machine.memory_bytes, 16 * GIB);
    assert_false(machine.has_limit || machine.is_container);
}

static void version_2_without_a_limit_says_max(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/memory.max", "max\n");
    assert_int_equal(memory(), 16 * GIB);
    assert_false(pipeline_machine__look(root, 16 * GIB).has_limit);
}

static void version_2_in_a_container_has_its_limit_at_the_top(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/memory.max", "1073741824\n");
    assert_int_equal(memory(), GIB);
    assert_true(pipeline_machine__look(root, 16 * GIB).has_limit);
}

static void version_2_of_a_unit_is_its_own_or_that_of_a_slice_above(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/system.slice/freshet.service\n");
    put("/sys/fs/cgroup/system.slice/memory.max", "max\n");
    put("/sys/fs/cgroup/system.slice/freshet.service/memory.max", "2147483648\n");
    assert_int_equal(memory(), 2 * GIB);
    put("/sys/fs/cgroup/system.slice/memory.max", "536870912\n");
    assert_int_equal(memory(), 512 * MIB);
}

static void version_1_without_a_limit_has_a_huge_one(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "5:memory:/\n2:cpu,cpuacct:/\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(memory(), 16 * GIB);
    assert_false(pipeline_machine__look(root, 16 * GIB).has_limit);
}

/* Without a namespace of its own a container sees the host's path, and its own group at the top. */
static void version_1_in_a_container_has_its_limit_at_the_top(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "12:cpuset:/docker/7\n5:memory:/docker/7\n0::/docker/7\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "268435456\n");
    put("/.dockerenv", "");
    assert_int_equal(memory(), 256 * MIB);
    assert_true(pipeline_machine__look(root, 16 * GIB).is_container);
}

static void version_1_of_a_unit_is_its_own(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "5:memory:/system.slice/freshet.service\n");
    put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
    put("/sys/fs/cgroup/memory/system.slice/freshet.service/memory.limit_in_bytes", "1073741824\n");
    assert_int_equal(memory(), GIB);
}

static void a_limit_above_what_the_machine_has_is_none(void **state)
{
    (void)state;
    put("/proc/self/cgroup", "0::/\n");
    put("/sys/fs/cgroup/memory.max", "1099511627776\n");
    assert_int_equal(memory(), 16 * GIB);
    assert_false(pipeline_machine__look(root, 16 * GIB).has_limit);
}

static void three_quarters_are_the_most_that_nobody_is_warned_of(void **state)
{
    struct pipeline_machine machine = {.memory_bytes = GIB, .has_limit = true, .is_container = true};
    char text[PIPELINE_MACHINE_TEXT_BYTES];

    (void)state;
    pipeline_machine__describe(&machine, 768 * MIB, text);
    assert_string_equal(text, "");
    pipeline_machine__describe(&machine, 769 * MIB, text);
    assert_non_null(strstr(text, "store.memory is 769 MiB, and this process may have 1024 MiB in all"));
    assert_non_null(strstr(text, "set store.memory to 768MiB or less, or give it more memory"));
}

static void a_container_without_a_limit_is_told_which_to_set(void **state)
{
    struct pipeline_machine machine = {.memory_bytes = 16 * GIB, .is_container = true};
    char text[PIPELINE_MACHINE_TEXT_BYTES];

    (void)state;
    pipeline_machine__describe(&machine, 512 * MIB, text);
    assert_non_null(strstr(text, "no memory limit, so it may take all of the machine's 16384 MiB"));
    assert_non_null(strstr(text, "set the limit to twice that, 1024m (mem_limit"));
    machine.is_container = false; /* a process on a machine of its own need not have one */
    pipeline_machine__describe(&machine, 512 * MIB, text);
    assert_string_equal(text, "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(without_control_groups_it_is_the_machines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(version_2_without_a_limit_says_max, set_up, tear_down),
        cmocka_unit_test_setup_teardown(version_2_in_a_container_has_its_limit_at_the_top, set_up, tear_down),
        cmocka_unit_test_setup_teardown(version_2_of_a_unit_is_its_own_or_that_of_a_slice_above, set_up, tear_down),
        cmocka_unit_test_setup_teardown(version_1_without_a_limit_has_a_huge_one, set_up, tear_down),
        cmocka_unit_test_setup_teardown(version_1_in_a_container_has_its_limit_at_the_top, set_up, tear_down),
        cmocka_unit_test_setup_teardown(version_1_of_a_unit_is_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_limit_above_what_the_machine_has_is_none, set_up, tear_down),
        cmocka_unit_test(three_quarters_are_the_most_that_nobody_is_warned_of),
        cmocka_unit_test(a_container_without_a_limit_is_told_which_to_set),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
