/*
 * How often items come, of a stream that nobody can count whole: for each slot the average number of steps from one item of it to the
 * next, b = (1 − rate) · b + rate · (steps since the last), and the frequency is 1/b. An item has two slots, by two hashes, and the
 * greater b of the two counts, since whoever shares a slot can only make it less (Yi et al., RecSys 2019, algorithms 2 and 3).
 * Memory is that of the slots, whatever items there are.
 */
#include "sessions.h"

#include <freshet/text.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { HASHES = 2, NAME_BYTES = 40 };

static void name_of(uint32_t block, char name[NAME_BYTES])
{
    snprintf(name, NAME_BYTES, "frequency/%06u", block);
}

static uint32_t blocks_of(const struct learner_frequency *frequency)
{
    return (frequency->count + LEARNER_FREQUENCY_BLOCK - 1) / LEARNER_FREQUENCY_BLOCK;
}

static uint32_t slots_of(const struct learner_frequency *frequency, uint32_t block)
{
    uint32_t left = frequency->count - block * LEARNER_FREQUENCY_BLOCK;

    return left < LEARNER_FREQUENCY_BLOCK ? left : LEARNER_FREQUENCY_BLOCK;
}

/* What the store has of another number of slots means other items. */
static void load(struct learner_frequency *frequency, struct store *store)
{
    struct fr_slice value = store_meta_get(store, "frequency");
    struct fr_reader reader = fr_reader(value);
    char name[NAME_BYTES];

    if (value.length == 0 || fr_reader_varint(&reader) != frequency->count)
        return;
    frequency->steps = fr_reader_varint(&reader);
    for (uint32_t block = 0; block < blocks_of(frequency); block++) {
        size_t bytes = slots_of(frequency, block) * sizeof *frequency->slots;

        name_of(block, name);
        value = store_meta_get(store, name);
        if (value.length == bytes)
            memcpy(frequency->slots + (size_t)block * LEARNER_FREQUENCY_BLOCK, value.bytes, bytes);
    }
}

bool learner_frequency__open(struct learner_frequency *frequency, uint32_t count, double rate, struct store *store)
{
    *frequency = (struct learner_frequency){.count = count, .rate = rate};
    frequency->slots = calloc(count, sizeof *frequency->slots);
    frequency->is_dirty = calloc(blocks_of(frequency), sizeof *frequency->is_dirty);
    if (!frequency->slots || !frequency->is_dirty || pthread_mutex_init(&frequency->lock, NULL) != 0) {
        free(frequency->slots);
        free(frequency->is_dirty);
        frequency->slots = NULL;
        frequency->is_dirty = NULL;
        return false;
    }
    load(frequency, store);
    return true;
}

void learner_frequency__close(struct learner_frequency *frequency)
{
    if (!frequency->slots)
        return;
    pthread_mutex_destroy(&frequency->lock);
    free(frequency->slots);
    free(frequency->is_dirty);
}

double learner_frequency__note(struct learner_frequency *frequency, uint64_t item_id)
{
    double most = 0;

    pthread_mutex_lock(&frequency->lock);
    frequency->steps++;
    for (uint64_t seed = 0; seed < HASHES; seed++) {
        uint32_t at = (uint32_t)(fr_text_hash(&item_id, sizeof item_id, seed) % frequency->count);
        struct learner_frequency_slot *slot = &frequency->slots[at];
        double apart = (double)(frequency->steps - slot->latest);

        if (slot->latest != frequency->steps) /* else both are one */
            slot->interval = slot->latest ? (1 - frequency->rate) * slot->interval + frequency->rate * apart : apart;
        slot->latest = frequency->steps;
        frequency->is_dirty[at / LEARNER_FREQUENCY_BLOCK] = true;
        most = slot->interval > most ? slot->interval : most;
    }
    pthread_mutex_unlock(&frequency->lock);
    return -log(most);
}

void learner_frequency__save(struct learner_frequency *frequency, struct store *store)
{
    struct fr_buffer value;
    char name[NAME_BYTES];

    fr_buffer_init(&value);
    fr_buffer_append_varint(&value, frequency->count);
    fr_buffer_append_varint(&value, frequency->steps);
    if (value.is_failed)
        store_spoil(store); /* without it steps would be counted again */
    else
        store_meta_put(store, "frequency", fr_buffer_slice(&value));
    fr_buffer_fini(&value);
    for (uint32_t block = 0; block < blocks_of(frequency); block++) {
        if (!frequency->is_dirty[block])
            continue;
        name_of(block, name);
        store_meta_put(store, name,
                       fr_slice(frequency->slots + (size_t)block * LEARNER_FREQUENCY_BLOCK,
                                slots_of(frequency, block) * sizeof *frequency->slots));
        frequency->is_dirty[block] = false;
    }
}
