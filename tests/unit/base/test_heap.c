/*
 * What the allocator says: here one that says what the test wants.
 */
#include <freshet/heap.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static int epochs;
static const char *unknown_name;

int mallctl(const char *name, void *old, size_t *old_length, void *new, size_t new_length);

/* The figures of an epoch: 100 bytes allocated in the first, 200 in the second; ten times that active. */
int mallctl(const char *name, void *old, size_t *old_length, void *new, size_t new_length)
{
    size_t bytes = (size_t)epochs * (strcmp(name, "stats.active") == 0 ? 1000 : 100);

    if (unknown_name && strcmp(name, unknown_name) == 0)
        return 2; /* ENOENT */
    if (strcmp(name, "epoch") == 0) {
        assert_non_null(new);
        assert_int_equal(new_length, sizeof(uint64_t));
        epochs++;
        return 0;
    }
    assert_int_equal(*old_length, sizeof bytes);
    memcpy(old, &bytes, sizeof bytes);
    return 0;
}

static void the_heap_is_read_as_of_now(void **state)
{
    struct fr_heap heap;

    (void)state;
    epochs = 0;
    for (uint64_t i = 1; i <= 2; i++) {
        assert_true(fr_heap_read(&heap));
        assert_int_equal(heap.allocated_bytes, 100 * i);
        assert_int_equal(heap.active_bytes, 1000 * i);
    }
}

static void an_allocator_that_does_not_know_is_no_figure(void **state)
{
    static const char *const names[] = {"epoch", "stats.allocated",
                                        "stats.active"}; /* jemalloc may be built without statistics */
    struct fr_heap heap;

    (void)state;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        unknown_name = names[i];
        assert_false(fr_heap_read(&heap));
        assert_int_equal(heap.allocated_bytes, 0);
        assert_int_equal(heap.active_bytes, 0);
    }
    unknown_name = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_heap_is_read_as_of_now),
        cmocka_unit_test(an_allocator_that_does_not_know_is_no_figure),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
