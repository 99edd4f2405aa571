/*
 * Every allocation of base fails once: the linker sends base's allocations through here, and each scenario runs again and again
 * with one more allowed, until none fails. What must hold is that a failure is told and nothing is lost or leaked.
 */
#include "document.h"

#include <freshet/metrics.h>
#include <freshet/queue.h>

#include <stdlib.h>

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t count, size_t bytes);
void *__real_realloc(void *old, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t count, size_t bytes);
void *__wrap_realloc(void *old, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);
char *__wrap_strdup(const char *text);

static int allowed = -1; /* allocations until one fails; −1: none will */
static bool has_failed;

static bool fails_now(void)
{
    if (allowed < 0)
        return false;
    if (allowed-- > 0)
        return false;
    has_failed = true;
    return true;
}

void *__wrap_malloc(size_t bytes)
{
    return fails_now() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t count, size_t bytes)
{
    return fails_now() ? NULL : __real_calloc(count, bytes);
}

void *__wrap_realloc(void *old, size_t bytes)
{
    return fails_now() ? NULL : __real_realloc(old, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return fails_now() ? NULL : __real_aligned_alloc(alignment, bytes);
}

char *__wrap_strdup(const char *text)
{
    return fails_now() ? NULL : __real_strdup(text);
}

/* Runs `scenario` with the first, the second … allocation failing, until it runs through; returns how often it failed. */
static int fail_each(void (*scenario)(void))
{
    int failures = 0;

    for (;; failures++) {
        assert_true(failures < 1000);
        has_failed = false;
        allowed = failures;
        scenario();
        allowed = -1;
        if (!has_failed)
            return failures;
    }
}

static void read_a_document(void)
{
    struct fr_arena *arena = fr_arena_new(1 << 20);
    struct fr_diagnostics diagnostics;
    struct fr_yaml *root;
    bool is_good;

    if (!arena)
        return;
    fr_diagnostics_init(&diagnostics, "f.yaml");
    is_good = fr_yaml_parse(fr_slice_of("a: [1, 2, 3, 4, 5, 6]\nb: {c: $${x}, d: 2}\n"), arena, &root, &diagnostics) &&
              fr_yaml_set(root, "b.e.f=[1, 2]", arena, &diagnostics);
    assert_true(is_good || diagnostics.count > 0);
    if (is_good) {
        fr_yaml_get(root, "b");
        fr_yaml_finish(root, NULL, NULL, 0, &diagnostics);
        assert_int_equal(diagnostics.count, 1);
    }
    fr_diagnostics_fini(&diagnostics);
    fr_arena_free(arena);
}

static void count_something(void)
{
    struct fr_metrics *metrics = fr_metrics_new();
    struct fr_buffer out;

    if (!metrics)
        return;
    fr_buffer_init(&out);
    fr_counter_add(fr_metrics_counter(metrics, "a_total", "x=\"1\"", "A."), 1);
    fr_gauge_set(fr_metrics_gauge(metrics, "b", NULL, "B."), 2);
    fr_histogram_add_us(fr_metrics_histogram(metrics, "c", NULL, "C."), 3);
    fr_metrics_print(metrics, &out);
    fr_buffer_fini(&out);
    fr_metrics_free(metrics);
}

static void send_something(void)
{
    struct fr_queue *queue = fr_queue_new(8);

    if (!queue)
        return;
    fr_queue_close(queue);
    fr_queue_free(queue);
}

static void a_document_that_does_not_fit_is_told(void **state)
{
    (void)state;
    assert_true(fail_each(read_a_document) > 3);
}

static void a_metric_without_memory_is_a_sink(void **state)
{
    (void)state;
    assert_true(fail_each(count_something) > 10);
}

static void a_queue_without_memory_is_not_made(void **state)
{
    (void)state;
    assert_int_equal(fail_each(send_something), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_document_that_does_not_fit_is_told),
        cmocka_unit_test(a_metric_without_memory_is_a_sink),
        cmocka_unit_test(a_queue_without_memory_is_not_made),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
