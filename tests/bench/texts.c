/*
 * Held-out accuracy of intents: stdin has lines "label<TAB>text", first those that are labelled, an empty line, then those that are judged. Prints
 * how many of the latter are told right, and the seconds that learning and judging took.
 */
#include <freshet/clock.h>
#include <freshet/intent.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LINE_BYTES = 1 << 16 };

struct tally {
    int judged, right;
    int64_t learn_us, judge_us;
};

static bool take_line(struct learner_intent *intent, char *line, int number, bool is_labelled, int labels, struct tally *tally)
{
    double probabilities[LEARNER_LABELS_MAX];
    char *text = strchr(line, '\t');
    int label = atoi(line), best = 0;
    struct fr_err err;

    if (!text || label < 0 || label >= labels)
        return false;
    text[1 + strcspn(text + 1, "\n")] = '\0';
    if (is_labelled)
        return learner_intent_add(intent, fr_slice_of(text + 1), label, number, &err);
    learner_intent_judge(intent, fr_slice_of(text + 1), probabilities);
    for (int k = 1; k < labels; k++)
        best = probabilities[k] > probabilities[best] ? k : best;
    tally->judged++;
    tally->right += best == label;
    return true;
}

int main(int argc, char **argv)
{
    struct learner_intent_options options = {.bits = 18, .words = 2, .characters = 4, .examples = 200000};
    struct learner_intent *intent;
    struct tally tally = {0};
    bool is_labelled = true;
    static char line[LINE_BYTES];
    int64_t begun_us;

    options.labels = argc > 1 ? atoi(argv[1]) : 2;
    if (argc > 3) {
        options.words = atoi(argv[2]);
        options.characters = atoi(argv[3]);
    }
    intent = learner_intent_new(&options);
    if (!intent)
        return 1;
    begun_us = fr_clock_monotonic_us();
    for (int number = 1; fgets(line, sizeof line, stdin); number++) {
        if (line[0] == '\n') {
            begun_us = fr_clock_monotonic_us();
            learner_intent_learn(intent);
            (void)learner_intent_adopt(intent);
            tally.learn_us = fr_clock_monotonic_us() - begun_us;
            begun_us = fr_clock_monotonic_us();
            is_labelled = false;
        } else if (!take_line(intent, line, number, is_labelled, options.labels, &tally)) {
            fprintf(stderr, "line %d: should be LABEL<TAB>TEXT\n", number);
            return 1;
        }
    }
    tally.judge_us = fr_clock_monotonic_us() - begun_us;
    printf("%d %d %.3f %.3f\n", tally.right, tally.judged, (double)tally.learn_us / 1e6, (double)tally.judge_us / 1e6);
    learner_intent_free(intent);
    return 0;
}
