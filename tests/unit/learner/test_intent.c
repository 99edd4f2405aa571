/* Texts as n-grams, and intents learned from few of them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <freshet/intent.h>
#include <freshet/text.h>

static const struct learner_intent_options options = {.labels = 3, .bits = 12, .words = 2, .characters = 3, .examples = 100};
static const char *const texts[3][4] = {{"buy the red one", "i will buy two", "order now", "buy buy"},
                                        {"how much is it", "what size is it", "which color", "how much"},
                                        {"lol", "haha nice", "hello all", "lol lol lol"}};

static int grams_of(const char *text, uint32_t *grams)
{
    return learner_grams(&options, fr_slice_of(text), grams);
}

static void a_text_is_the_set_of_its_grams_without_regard_to_case_and_spaces(void **state)
{
    uint32_t grams[LEARNER_GRAMS_MAX], others[LEARNER_GRAMS_MAX];
    struct learner_intent_options words = {.bits = 22, .words = 2};
    int count = grams_of("Buy  NOW\tplease ", grams);

    (void)state;
    assert_int_equal(count, grams_of("buy now please", others));
    assert_memory_equal(grams, others, (size_t)count * sizeof *grams);
    assert_int_equal(learner_grams(&words, fr_slice_of("a b, a b."), grams), 4); /* a; b; "a b"; "b, a" */
    for (int i = 1; i < count; i++)
        assert_true(others[i - 1] < others[i]);
    assert_int_equal(grams_of(" ", grams), 0);
}

static void characters_are_whole_and_bytes_that_are_none_do_no_harm(void **state)
{
    static const struct learner_intent_options pairs = {.bits = 22, .characters = 2};
    uint32_t grams[LEARNER_GRAMS_MAX];
    char bytes[700];

    (void)state;
    assert_int_equal(learner_grams(&pairs, fr_slice_of("下单了"), grams), 4); /* with a space at both ends */
    for (unsigned seed = 1; seed < 2000; seed++) {
        unsigned random = seed * 2654435761U;

        for (size_t i = 0; i < sizeof bytes; i++)
            bytes[i] = (char)((random = random * 1664525U + 1013904223U) >> 24);
        int count = learner_grams(&options, fr_slice(bytes, seed % sizeof bytes), grams);

        assert_true(count <= LEARNER_GRAMS_MAX);
        for (int i = 0; i < count; i++)
            assert_true(grams[i] < 1U << 12);
    }
}

static void what_is_behind_the_limit_of_a_text_changes_nothing_and_cuts_no_character(void **state)
{
    uint32_t grams[LEARNER_GRAMS_MAX], others[LEARNER_GRAMS_MAX];
    char text[3 * LEARNER_TEXT_BYTES + 1];
    int count;

    (void)state;
    for (int i = 0; i < LEARNER_TEXT_BYTES; i++)
        memcpy(text + 3 * i, "\xe4\xb8\x8b", 3);
    count = learner_grams(&options, fr_slice(text, LEARNER_TEXT_BYTES / 3 * 3), grams);
    assert_int_equal(learner_grams(&options, fr_slice(text, sizeof text - 1), others), count);
    assert_memory_equal(grams, others, (size_t)count * sizeof *grams);
}

/* Adds all texts, beginning with the `first`; the time of each is its place in the table. */
static struct learner_intent *learned(int first)
{
    struct learner_intent *intent = learner_intent_new(&options);
    struct fr_err err;

    for (int i = 0; i < 12; i++) {
        int at = (first + i * 5) % 12;

        assert_true(learner_intent_add(intent, fr_slice_of(texts[at / 4][at % 4]), at / 4, at, &err));
    }
    assert_true(learner_intent_is_stale(intent));
    learner_intent_learn(intent);
    assert_int_equal(learner_intent_adopt(intent), 12);
    return intent;
}

static void few_labelled_texts_tell_others_apart_in_whatever_order_they_came(void **state)
{
    struct learner_intent *intent = learned(0), *other = learned(7);
    double probabilities[LEARNER_LABELS_MAX], others[LEARNER_LABELS_MAX];
    static const char *const asked[] = {"i buy one", "how much is that", "haha lol"};

    (void)state;
    for (int k = 0; k < 3; k++) {
        learner_intent_judge(intent, fr_slice_of(asked[k]), probabilities);
        learner_intent_judge(other, fr_slice_of(asked[k]), others);
        assert_memory_equal(probabilities, others, 3 * sizeof *others);
        assert_true(probabilities[k] > 0.6);
        assert_true(probabilities[0] + probabilities[1] + probabilities[2] - 1 < 1e-12);
    }
    learner_intent_free(intent);
    learner_intent_free(other);
}

static void a_text_that_is_labelled_again_has_the_later_label(void **state)
{
    struct learner_intent *intent = learned(0);
    double probabilities[LEARNER_LABELS_MAX], before[LEARNER_LABELS_MAX];
    struct fr_err err;

    (void)state;
    learner_intent_judge(intent, fr_slice_of("lol"), before);
    assert_true(learner_intent_add(intent, fr_slice_of("lol"), 0, 1, &err)); /* earlier than what is known */
    assert_false(learner_intent_is_stale(intent));
    assert_true(learner_intent_add(intent, fr_slice_of("lol"), 1, 100, &err));
    assert_true(learner_intent_is_stale(intent));
    assert_int_equal(learner_intent_examples(intent), 12);
    learner_intent_learn(intent);
    learner_intent_judge(intent, fr_slice_of("lol"), probabilities);
    assert_memory_equal(probabilities, before, 3 * sizeof *before); /* not before it is adopted */
    (void)learner_intent_adopt(intent);
    learner_intent_judge(intent, fr_slice_of("lol"), probabilities);
    assert_true(probabilities[1] > 2 * before[1]);
    learner_intent_free(intent);
}

static void of_more_than_are_kept_the_oldest_go(void **state)
{
    struct learner_intent *intent = learner_intent_new(&options);
    double probabilities[LEARNER_LABELS_MAX];
    char text[32];
    struct fr_err err;

    (void)state;
    learner_intent_judge(intent, fr_slice_of("x"), probabilities);
    assert_true(probabilities[0] == probabilities[1] && probabilities[1] == probabilities[2]); /* of nothing */
    for (int i = 0; i < 300; i++) {
        int ts_ms = i * 7 % 300;

        (void)snprintf(text, sizeof text, "%s %d", ts_ms < 200 ? "old" : "new", ts_ms);
        assert_true(learner_intent_add(intent, fr_slice_of(text), ts_ms < 200 ? 0 : 1, ts_ms, &err));
    }
    assert_int_equal(learner_intent_examples(intent), 100);
    learner_intent_learn(intent);
    (void)learner_intent_adopt(intent);
    learner_intent_judge(intent, fr_slice_of("old 3"), probabilities);
    assert_true(probabilities[1] > 0.9); /* none of the old ones is left */
    learner_intent_free(intent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_text_is_the_set_of_its_grams_without_regard_to_case_and_spaces),
        cmocka_unit_test(characters_are_whole_and_bytes_that_are_none_do_no_harm),
        cmocka_unit_test(what_is_behind_the_limit_of_a_text_changes_nothing_and_cuts_no_character),
        cmocka_unit_test(few_labelled_texts_tell_others_apart_in_whatever_order_they_came),
        cmocka_unit_test(a_text_that_is_labelled_again_has_the_later_label),
        cmocka_unit_test(of_more_than_are_kept_the_oldest_go),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
