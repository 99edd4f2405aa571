/* The account of a user: where sessions end is a function of the tokens, whichever way they came. */
#include "sessions.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { T0 = 1000000, TOKENS = 60, ROUNDS = 200 };

static const struct learner_sessions rules = {.gap_ms = 100, .duration_ms = 300, .tokens = 5};

static struct learner_token at(uint64_t ms, uint64_t event_id)
{
    return (struct learner_token){.ts_ms = T0 + ms, .event_id = event_id, .action = 3, .item_id = 1};
}

static void empty(struct learner_session_book *book)
{
    memset(book, 0, sizeof *book);
    learner_session_book__read(book, fr_slice(NULL, 0));
}

static void put(struct learner_session_book *book, uint64_t ms)
{
    struct learner_token token = at(ms, ms);

    assert_true(learner_session_book__add(book, &token));
}

static void a_pause_longer_than_the_gap_ends_a_session(void **state)
{
    struct learner_session_book book;
    struct learner_session_part part;

    (void)state;
    empty(&book);
    put(&book, 200);
    put(&book, 0);
    put(&book, 100);
    part = learner_session_book__part(&book, &rules);
    assert_int_equal(part.count, 3); /* exactly a gap is none */
    assert_int_equal(part.due_ms, T0 + 200 + 100 + 1);
    put(&book, 301);
    part = learner_session_book__part(&book, &rules);
    assert_int_equal(part.count, 3);
    assert_int_equal(part.end, FRESHET__V1__SESSION_END__GAP);
    learner_session_book__take(&book, &part, 9);
    assert_int_equal(book.head.first_id, 0);
    assert_int_equal(book.tokens[0].ts_ms, T0 + 301);
    free(book.tokens);
}

static void what_is_cut_goes_on_and_says_so(void **state)
{
    struct learner_session_book book;
    struct learner_session_part part;
    struct learner_token late = at(4, 4);

    (void)state;
    empty(&book);
    for (uint64_t ms = 0; ms < 5; ms++)
        put(&book, 10 * ms);
    part = learner_session_book__part(&book, &rules);
    assert_int_equal(part.end, FRESHET__V1__SESSION_END__GAP); /* full, but nothing goes on */
    put(&book, 50);
    part = learner_session_book__part(&book, &rules);
    assert_int_equal(part.count, 5);
    assert_int_equal(part.end, FRESHET__V1__SESSION_END__FULL);
    assert_int_equal(part.due_ms, T0 + 50 + 100 + 1);
    learner_session_book__take(&book, &part, 77);
    assert_int_equal(book.head.first_id, 77);
    assert_int_equal(book.head.part, 1);
    assert_int_equal(book.head.tokens_before, 5);
    assert_false(learner_session_book__add(&book, &late)); /* it would lie in what was cut off */
    for (uint64_t ms = 150; ms <= 351; ms += 100)
        put(&book, ms);
    put(&book, 351);
    part = learner_session_book__part(&book, &rules);
    assert_int_equal(part.end, FRESHET__V1__SESSION_END__LONG);
    assert_int_equal(part.count, 4); /* 50, 150, 250, 350 */
    free(book.tokens);
}

/* The ends of all parts, one after the other. */
static size_t cut(struct learner_session_book *book, uint64_t *ends)
{
    size_t parts = 0;

    while (book->head.token_count > 0) {
        struct learner_session_part part = learner_session_book__part(book, &rules);

        ends[parts++] = book->tokens[part.count - 1].event_id << 8 | (uint64_t)part.end;
        learner_session_book__take(book, &part, 1);
    }
    return parts;
}

static void no_order_of_arrival_shows(void **state)
{
    struct learner_token tokens[TOKENS];
    uint64_t wanted[TOKENS], ends[TOKENS];
    size_t parts = 0;

    (void)state;
    srand(1);
    for (uint64_t i = 0, ms = 0; i < TOKENS; i++, ms += (uint64_t)(rand() % 130))
        tokens[i] = at(ms, i);
    for (int round = 0; round < ROUNDS; round++) {
        struct learner_session_book book;
        struct fr_buffer bytes;

        empty(&book);
        fr_buffer_init(&bytes);
        for (size_t i = 0; i < TOKENS; i++) {
            assert_true(learner_session_book__add(&book, &tokens[i]));
            fr_buffer_clear(&bytes); /* and through the store */
            assert_non_null(fr_buffer_reserve(&bytes, learner_session_book__bytes(&book)));
            learner_session_book__write(&book, bytes.bytes);
            bytes.length = learner_session_book__bytes(&book);
            assert_true(learner_sessions_is_good(fr_buffer_slice(&bytes)));
            assert_false(learner_sessions_is_good(fr_slice(bytes.bytes, bytes.length - 1)));
            learner_session_book__read(&book, fr_buffer_slice(&bytes));
        }
        parts = cut(&book, ends);
        if (round == 0)
            memcpy(wanted, ends, sizeof ends);
        assert_memory_equal(ends, wanted, parts * sizeof *ends);
        for (size_t i = TOKENS - 1; i > 0; i--) {
            size_t other = (size_t)rand() % (i + 1);
            struct learner_token token = tokens[i];

            tokens[i] = tokens[other];
            tokens[other] = token;
        }
        fr_buffer_fini(&bytes);
        free(book.tokens);
    }
    assert_true(parts > 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_pause_longer_than_the_gap_ends_a_session),
        cmocka_unit_test(what_is_cut_goes_on_and_says_so),
        cmocka_unit_test(no_order_of_arrival_shows),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
