/* A text as a set of hashed n-grams: of words, and of characters, which need no spaces between words and forgive misspelling. */
#include "internal.h"

#include <freshet/intent.h>
#include <freshet/text.h>

#include <stdlib.h>

enum { KIND_WORDS = 1, KIND_CHARACTERS = 2, RAW_MAX = LEARNER_TEXT_BYTES * (LEARNER_WORDS_MAX + LEARNER_CHARACTERS_MAX) };

struct plain { /* a text, made even */
    uint8_t bytes[LEARNER_TEXT_BYTES + 2]; /* a space at both ends */
    int length;
    int starts[LEARNER_TEXT_BYTES + 3]; /* of each character, and the end */
    int characters;
    int words[LEARNER_TEXT_BYTES + 1], ends[LEARNER_TEXT_BYTES + 1];
    int word_count;
};

static bool is_space(uint8_t byte)
{
    return byte <= ' ' || byte == 0x7f;
}

/* Whether a byte may be of a word: everything but the punctuation of ASCII. */
static bool is_of_word(uint8_t byte)
{
    return byte >= 0x80 || (byte >= '0' && byte <= '9') || (byte >= 'a' && byte <= 'z') || byte == '_';
}

/* Bytes of the character that begins here; 1 for what is none. */
static int character_length(const uint8_t *at, int left)
{
    int length = *at < 0xc0 ? 1 : *at < 0xe0 ? 2 : *at < 0xf0 ? 3 : *at < 0xf8 ? 4 : 1;

    if (length > left)
        return 1;
    for (int i = 1; i < length; i++) {
        if ((at[i] & 0xc0) != 0x80)
            return 1;
    }
    return length;
}

static void make_plain(struct fr_slice text, struct plain *plain)
{
    const uint8_t *from = text.bytes;
    int length = text.length < LEARNER_TEXT_BYTES ? (int)text.length : LEARNER_TEXT_BYTES;

    plain->bytes[0] = ' ';
    plain->length = 1;
    for (int i = 0; i < length; i++) {
        uint8_t byte = is_space(from[i]) ? ' ' : from[i] >= 'A' && from[i] <= 'Z' ? (uint8_t)(from[i] | 0x20) : from[i];

        if (byte != ' ' || plain->bytes[plain->length - 1] != ' ')
            plain->bytes[plain->length++] = byte;
    }
    if (text.length > LEARNER_TEXT_BYTES) { /* a character that was cut goes */
        while (plain->length > 1 && (plain->bytes[plain->length - 1] & 0xc0) == 0x80)
            plain->length--;
        if (plain->bytes[plain->length - 1] >= 0xc0)
            plain->length--;
    }
    if (plain->bytes[plain->length - 1] != ' ')
        plain->bytes[plain->length++] = ' ';
}

static void cut(struct plain *plain)
{
    plain->characters = plain->word_count = 0;
    for (int at = 0; at < plain->length; at += character_length(plain->bytes + at, plain->length - at))
        plain->starts[plain->characters++] = at;
    plain->starts[plain->characters] = plain->length;
    for (int at = 0; at < plain->length;) {
        int end = at;

        while (end < plain->length && is_of_word(plain->bytes[end]))
            end++;
        if (end > at) {
            plain->words[plain->word_count] = at;
            plain->ends[plain->word_count++] = end;
        }
        at = end > at ? end : at + 1;
    }
}

static uint32_t coordinate(const struct plain *plain, int from, int end, uint64_t kind, int bits)
{
    return (uint32_t)(fr_text_hash(plain->bytes + from, (size_t)(end - from), kind) & ((UINT64_C(1) << bits) - 1));
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

int learner_grams(const struct learner_intent_options *options, struct fr_slice text, uint32_t grams[LEARNER_GRAMS_MAX])
{
    uint32_t raw[RAW_MAX];
    struct plain plain;
    int count = 0, different = 0;

    make_plain(text, &plain);
    cut(&plain);
    for (int n = 1; n <= options->words; n++) {
        for (int i = 0; i + n <= plain.word_count; i++)
            raw[count++] = coordinate(&plain, plain.words[i], plain.ends[i + n - 1], KIND_WORDS, options->bits);
    }
    for (int n = 2; n <= options->characters; n++) {
        for (int i = 0; i + n <= plain.characters; i++)
            raw[count++] = coordinate(&plain, plain.starts[i], plain.starts[i + n], KIND_CHARACTERS, options->bits);
    }
    qsort(raw, (size_t)count, sizeof *raw, compare);
    for (int i = 0; i < count && different < LEARNER_GRAMS_MAX; i++) {
        if (i == 0 || raw[i] != raw[i - 1])
            grams[different++] = raw[i];
    }
    return different;
}
