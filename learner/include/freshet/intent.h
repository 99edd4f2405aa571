/*
 * Intents: which of a few labels a short text has, learned from few labelled ones. A text is a set of hashed n-grams of its words and
 * characters; the labels share them, each with weights of its own (softmax, FTRL-proximal). What is learned is a function of the set of
 * labelled texts alone: not of the order in which they came, nor of when.
 *
 * Threads: adding and learning are one thread's at a time. Another may judge meanwhile: learning goes into weights of its own, until they are
 * adopted, which is a judging thread's matter again.
 */
#ifndef FRESHET_INTENT_H
#define FRESHET_INTENT_H

#include <freshet/error.h>
#include <freshet/slice.h>

enum {
    LEARNER_LABELS_MAX = 16,
    LEARNER_TEXT_BYTES = 512, /* of a text that are looked at, cut before a character that does not fit */
    LEARNER_GRAMS_MAX = 1024, /* different ones of a text */
    LEARNER_WORDS_MAX = 3,
    LEARNER_CHARACTERS_MAX = 6,
};

struct learner_intent_options {
    int labels; /* 2 … LEARNER_LABELS_MAX */
    int bits; /* 10 … 22: 2^bits coordinates of 24 bytes a label */
    int words; /* n-grams of 1 … so many words; 0: none */
    int characters; /* and of 2 … so many characters; below 2: none */
    int examples; /* labelled texts that are kept: the latest */
};

/*
 * The n-grams of a text as coordinates below 2^bits, each once, sorted; returns how many. ASCII letters count as small ones, white space
 * as one space; what is no UTF-8 counts byte by byte. Pure.
 */
int learner_grams(const struct learner_intent_options *options, struct fr_slice text, uint32_t grams[LEARNER_GRAMS_MAX]);

struct learner_intent;

struct learner_intent *learner_intent_new(const struct learner_intent_options *options); /* NULL when out of memory */
void learner_intent_free(struct learner_intent *intent); /* NULL is fine */

/*
 * Keeps a labelled text. The same text labelled again has the later label (by time, then the greater). FR_EXHAUSTED: out of memory;
 * nothing is changed.
 */
FR_CHECKED bool learner_intent_add(struct learner_intent *intent, struct fr_slice text, int label, int64_t ts_ms,
                                   struct fr_err *err);

int learner_intent_examples(const struct learner_intent *intent); /* that are kept */

/* Whether texts were added since it learned last. */
bool learner_intent_is_stale(const struct learner_intent *intent);

/* Learns all that is kept, from the beginning: some passes, in an order that the texts decide. */
void learner_intent_learn(struct learner_intent *intent);

/* From now on it is judged by what was learned last; nobody judges meanwhile. How many labelled texts that was. */
int learner_intent_adopt(struct learner_intent *intent);

/* How likely each label is, by what was adopted; all alike before. They add up to 1. */
void learner_intent_judge(const struct learner_intent *intent, struct fr_slice text, double *probabilities);

#endif
