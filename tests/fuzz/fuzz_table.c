/*
 * A table's record: any key, any value. What is taken is a row by the rules that the decoder of stored rows goes by, of the same words each
 * time; any words at all are judged within their bounds.
 */
#include <freshet/table.h>

#include <assert.h>
#include <string.h>

static const struct proto_table table = {.fields = {{"tags", PROTO_TABLE_IDS},
                                                    {"language", PROTO_TABLE_ID},
                                                    {"price", PROTO_TABLE_NUMBER},
                                                    {"stock", PROTO_TABLE_INTEGER},
                                                    {"also", PROTO_TABLE_IDS}},
                                         .field_count = 5};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge_words(const uint8_t *data, size_t size)
{
    uint64_t words[PROTO_TABLE_WORDS_MAX];
    size_t count = size / sizeof *words < PROTO_TABLE_WORDS_MAX ? size / sizeof *words : PROTO_TABLE_WORDS_MAX;
    int ids;

    if (count > 0)
        memcpy(words, data, count * sizeof *words);
    if (!proto_table_is_row(&table, words, count))
        return;
    for (int field = 0; field < table.field_count; field += 4) {
        const uint64_t *list = proto_table_ids(words, field, &ids);

        assert(ids >= 0 && (ids == 0 || (list >= words && list + ids <= words + count)));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
    size_t key = end ? (size_t)(end - data) : 0, value = end ? key + 1 : 0;
    struct fr_arena *arena = fr_arena_new(1 << 20);
    struct proto_table_row row, again;
    struct fr_err why;

    assert(arena);
    if (proto_table_read(&table, fr_slice(data, key), fr_slice(data + value, size - value), arena, &row, &why) == PROTO_EVENT &&
        row.word_count > 0) {
        assert(row.id != 0 && proto_table_is_row(&table, row.words, (size_t)row.word_count));
        assert(proto_table_read(&table, fr_slice(data, key), fr_slice(data + value, size - value), arena, &again, &why) ==
               PROTO_EVENT);
        assert(again.word_count == row.word_count &&
               memcmp(again.words, row.words, (size_t)row.word_count * sizeof *row.words) == 0);
    }
    judge_words(data, size);
    fr_arena_free(arena);
    return 0;
}
