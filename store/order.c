/*
 * The order of an epoch's records. Keys share their beginning (kind, partition) and then differ: the eight bytes from the first
 * difference on are sorted by radix, least significant byte first, which costs a few nanoseconds a record where comparing whole
 * keys costs over a hundred; what those eight bytes leave equal (an entity's parts, a user's pairs) is compared.
 */
#include "internal.h"

#include <endian.h>
#include <stdlib.h>

enum { WORD_BYTES = 8 };

/* Where the keys first differ, so that a word from there on is within them. */
static size_t first_difference(const struct store_record *records, size_t count)
{
    uint8_t differences[STORE_KEY_PADDED_BYTES] = {0};
    size_t at = 0;

    for (size_t i = 1; i < count; i++)
        for (size_t byte = 0; byte < STORE_KEY_PADDED_BYTES; byte++)
            differences[byte] |= records[i].key.bytes[byte] ^ records[0].key.bytes[byte];
    while (at < STORE_KEY_PADDED_BYTES - WORD_BYTES && differences[at] == 0)
        at++;
    return at;
}

static void fill(const struct store_record *records, size_t count, struct store_order *order)
{
    size_t at = first_difference(records, count);

    for (size_t i = 0; i < count; i++) {
        uint64_t word;

        memcpy(&word, records[i].key.bytes + at, sizeof(word));
        order[i] = (struct store_order){.word = be64toh(word), .record = &records[i]};
    }
}

/* One pass: from `order` to `sorted` by the byte at `shift`. False when all have the same byte there, and nothing moved. */
static bool sort_by_byte(const struct store_order *order, size_t count, int shift, struct store_order *sorted)
{
    size_t places[256] = {0}, place = 0;

    for (size_t i = 0; i < count; i++)
        places[order[i].word >> shift & 255]++;
    if (places[order[0].word >> shift & 255] == count)
        return false;
    for (int byte = 0; byte < 256; byte++) {
        size_t many = places[byte];

        places[byte] = place;
        place += many;
    }
    for (size_t i = 0; i < count; i++)
        sorted[places[order[i].word >> shift & 255]++] = order[i];
    return true;
}

static int compare(const void *a, const void *b)
{
    const struct store_order *left = a, *right = b;

    return store_disk_key__compare(&left->record->key, &right->record->key);
}

static void sort_equal_words(struct store_order *order, size_t count)
{
    for (size_t start = 0, end; start < count; start = end) {
        for (end = start + 1; end < count && order[end].word == order[start].word; end++)
            ;
        if (end - start > 1)
            qsort(&order[start], end - start, sizeof(*order), compare);
    }
}

bool store_sst__sort(struct store_sst *sst)
{
    if (sst->count == 0)
        return true;

    struct store_order *order = reallocarray(NULL, 2 * sst->count, sizeof(*order));
    if (order == NULL)
        return false;
    struct store_order *from = order, *to = order + sst->count;
    fill(sst->records, sst->count, from);
    for (int shift = 0; shift < 8 * WORD_BYTES; shift += 8)
        if (sort_by_byte(from, sst->count, shift, to)) {
            struct store_order *sorted = to;

            to = from;
            from = sorted;
        }
    sort_equal_words(from, sst->count);
    free(sst->order_memory);
    sst->order_memory = order;
    sst->order = from;
    return true;
}
