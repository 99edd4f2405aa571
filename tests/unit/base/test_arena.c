#include <freshet/arena.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void pieces_are_apart_and_aligned(void **state)
{
    struct fr_arena *arena = fr_arena_new(1 << 20);
    unsigned char *a = fr_arena_take(arena, 3);
    unsigned char *b = fr_arena_take(arena, 5000); /* more than a first block */
    unsigned char *c = fr_arena_take(arena, 0);

    (void)state;
    memset(a, 1, 3);
    memset(b, 2, 5000);
    assert_int_equal(a[2], 1);
    assert_int_equal(b[0], 2);
    assert_non_null(c);
    assert_int_equal((uintptr_t)a % _Alignof(max_align_t), 0);
    assert_int_equal((uintptr_t)b % _Alignof(max_align_t), 0);
    assert_int_equal((uintptr_t)c % _Alignof(max_align_t), 0);
    fr_arena_free(arena);
}

static void the_limit_holds_and_a_smaller_piece_still_fits(void **state)
{
    struct fr_arena *arena = fr_arena_new(1024);

    (void)state;
    assert_non_null(fr_arena_take(arena, 1000));
    assert_null(fr_arena_take(arena, 100));
    assert_non_null(fr_arena_take(arena, 16));
    assert_null(fr_arena_take(arena, 1));
    assert_int_equal(fr_arena_used(arena), 1024);
    fr_arena_free(arena);
}

static void absurd_sizes_are_refused(void **state)
{
    struct fr_arena *arena = fr_arena_new(SIZE_MAX);

    (void)state;
    assert_null(fr_arena_take(arena, SIZE_MAX));
    assert_null(fr_arena_take(arena, SIZE_MAX - 40));
    assert_null(fr_arena_take_zeroed(arena, SIZE_MAX / 2, 3));
    assert_null(fr_arena_copy(arena, fr_slice("", SIZE_MAX)));
    assert_int_equal(fr_arena_used(arena), 0);
    fr_arena_free(arena);
}

static void a_reset_gives_all_back_and_reuses_what_it_kept(void **state)
{
    struct fr_arena *arena = fr_arena_new(1 << 20);
    void *first = fr_arena_take(arena, 100);

    (void)state;
    fr_arena_reset(arena, 1 << 20);
    assert_int_equal(fr_arena_used(arena), 0);
    assert_ptr_equal(fr_arena_take(arena, 100), first);
    fr_arena_reset(arena, 0);
    assert_non_null(fr_arena_take(arena, 1 << 19));
    fr_arena_reset(arena, 4096);
    assert_non_null(fr_arena_take(arena, 1 << 20));
    fr_arena_free(arena);
}

static void zeroed_memory_is_zero_even_when_reused(void **state)
{
    struct fr_arena *arena = fr_arena_new(4096);
    unsigned char *bytes = fr_arena_take(arena, 64);

    (void)state;
    memset(bytes, 0xff, 64);
    fr_arena_reset(arena, 4096);
    bytes = fr_arena_take_zeroed(arena, 8, 8);
    for (int i = 0; i < 64; i++)
        assert_int_equal(bytes[i], 0);
    fr_arena_free(arena);
}

static void a_copy_is_terminated(void **state)
{
    struct fr_arena *arena = fr_arena_new(4096);

    (void)state;
    assert_string_equal(fr_arena_copy(arena, fr_slice("freshet", 5)), "fresh");
    assert_string_equal(fr_arena_copy(arena, fr_slice(NULL, 0)), "");
    fr_arena_free(arena);
    fr_arena_free(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pieces_are_apart_and_aligned),
        cmocka_unit_test(the_limit_holds_and_a_smaller_piece_still_fits),
        cmocka_unit_test(absurd_sizes_are_refused),
        cmocka_unit_test(a_reset_gives_all_back_and_reuses_what_it_kept),
        cmocka_unit_test(zeroed_memory_is_zero_even_when_reused),
        cmocka_unit_test(a_copy_is_terminated),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
