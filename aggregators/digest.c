/*
 * The canonical state: what the events made, whatever way they came. Rows go where they would lie had they just been merged at that
 * time; what is expired is left out; features go by name and definition. Every fact is hashed by itself and the hashes of an
 * entity are added up, then those of all entities: no order can show.
 */
#include "cells.h"
#include "tables.h"

#include <freshet/text.h>

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

struct digesting {
    struct agg *agg;
    struct agg_moment moment;
    struct agg_facts all, lists; /* of the entities; of what they have in lists or by a table, apart */
    bool is_all; /* lists too */
    struct fr_buffer parts[STORE_PARTS], canonical; /* scratch of one entity */
    bool is_out_of_memory;
    bool is_corrupt;
    char corrupt[160]; /* the first entity that could not be read */
};

static void add_head(const struct agg_catalogue *catalogue, struct agg_rows *rows, const struct agg_entity *entity,
                     int64_t time_ms, struct agg_facts *facts)
{
    const uint64_t *kept = agg_rows__kept(rows);
    uint64_t present[2] = {AGG_FACT_PRESENT, (uint64_t)rows->latest_ms};

    if (!agg_rows__is_present(rows, entity, time_ms))
        return; /* with the entity gone, nothing else of it is left but rows that longer windows count */
    uint32_t kept_count = rows->kept_count;
    agg_facts__add(facts, present, sizeof present);
    if (kept_count > 0 && agg_sweep__is_past(catalogue, (int64_t)kept[(size_t)(kept_count - 1) * 2], time_ms))
        kept_count = 0; /* a sweep may have been here or not */
    for (uint32_t i = 0; i < kept_count; i++) {
        uint64_t fact[3] = {AGG_FACT_KEPT, kept[(size_t)i * 2], kept[(size_t)i * 2 + 1]};

        agg_facts__add(facts, fact, sizeof fact);
    }
    for (int i = 0; i < AGG_ATTRIBUTES; i++) {
        uint64_t fact[2 + AGG_SOURCE_WORDS] = {AGG_FACT_ATTRIBUTE, (uint64_t)i};

        if (agg_attributes__read(rows, entity, i, time_ms) == 0)
            continue;
        memcpy(fact + 2, agg_attributes__source(rows, i), AGG_SOURCE_WORDS * sizeof(uint64_t));
        agg_facts__add(facts, fact, sizeof fact);
    }
}

/* Every measure where it would lie at this time. False: out of memory. */
static bool settle(struct digesting *digesting, struct agg_rows *rows, const struct agg_entity *entity,
                   struct agg_blob *settled)
{
    fr_buffer_clear(&digesting->canonical);
    *settled = agg_blob__of_buffer(&digesting->canonical);
    if (!agg_rows__open_scratch(settled, entity))
        return false;
    for (int level = 0; level < AGG_LEVELS; level++) {
        for (uint32_t i = 0; i < rows->row_count[level]; i++) {
            const struct agg_row *row = agg_rows__row(rows, entity, level, i);
            struct agg_moment at = agg_window__moment(row->pane * agg__level_ms[level]);

            for (int c = 0; c < entity->counter_count; c++) {
                __int128 amount = agg_rows__measure(rows, row, entity->counters[c]);

                if (amount != 0 &&
                    agg_rows__add(settled, entity, entity->counters[c], &at, amount, &digesting->moment) == AGG_NO_MEMORY)
                    return false;
            }
        }
    }
    return true;
}

static bool add_rows(struct digesting *digesting, struct agg_rows *rows, const struct agg_entity *entity,
                     struct agg_facts *facts, struct agg_facts *joined)
{
    struct agg_blob settled;
    struct agg_rows *canonical;

    if (!settle(digesting, rows, entity, &settled))
        return false;
    canonical = settled.memory;
    for (int level = 0; level < AGG_LEVELS; level++) {
        for (uint32_t i = 0; i < canonical->row_count[level]; i++) {
            const struct agg_row *row = agg_rows__row(canonical, entity, level, i);

            for (int c = 0; c < entity->counter_count; c++) {
                __int128 amount = agg_rows__measure(canonical, row, entity->counters[c]);
                uint64_t fact[6] = {AGG_FACT_MEASURE,
                                    entity->counters[c]->definition_hash,
                                    (uint64_t)agg__level_ms[level],
                                    row->pane,
                                    (uint64_t)amount,
                                    (uint64_t)(amount >> 64)};

                if (amount != 0)
                    agg_facts__add(entity->counters[c]->is_joined ? joined : facts, fact, sizeof fact);
            }
        }
    }
    return true;
}

static void add_sequences(const struct agg_ring *rings, const struct agg_entity *entity, int64_t time_ms,
                          struct agg_facts *facts, struct agg_facts *joined)
{
    for (int i = 0; i < entity->sequence_count; i++) {
        size_t words = (size_t)entity->sequences[i]->order_words;

        for (uint32_t record = 0; record < rings[i].count; record++) {
            const uint64_t *order = agg_sequence__record(rings, entity, i, record);
            uint64_t fact[2 + AGG_ORDER_WORDS] = {AGG_FACT_RECORD, entity->sequences[i]->definition_hash};

            if (agg_entity__is_expired(entity, (int64_t)order[0], time_ms))
                continue;
            memcpy(fact + 2, order, words * sizeof(uint64_t));
            agg_facts__add(entity->sequences[i]->is_joined ? joined : facts, fact, (2 + words) * sizeof(uint64_t));
        }
    }
}

static void add_entity(struct agg_facts *all, const struct agg_entity *entity, const struct store_key *key,
                       const struct agg_facts *facts)
{
    uint64_t fact[3 + STORE_KEY_IDS_MAX + 3] = {AGG_FACT_ENTITY, fr_text_hash(entity->name, strlen(entity->name), 0),
                                                key->id_count};

    memcpy(fact + 3, key->ids, sizeof key->ids);
    memcpy(fact + 3 + STORE_KEY_IDS_MAX, facts->hash, sizeof facts->hash);
    fact[3 + STORE_KEY_IDS_MAX + 2] = facts->count;
    if (facts->count > 0)
        agg_facts__add(all, fact, sizeof fact);
}

static bool digest_parts(struct digesting *digesting, const struct agg_entity *entity, const struct store_key *key)
{
    struct agg_facts facts = {0}, lists = {0};
    int64_t time_ms = digesting->moment.time_ms;

    if (digesting->parts[STORE_PART_ROWS].length > 0) {
        struct agg_rows *rows = (void *)digesting->parts[STORE_PART_ROWS].bytes;

        add_head(digesting->agg->catalogue, rows, entity, time_ms, entity->is_joined ? &lists : &facts);
        if (!add_rows(digesting, rows, entity, &facts, &lists)) {
            digesting->is_out_of_memory = true;
            return false;
        }
    }
    if (digesting->parts[STORE_PART_SEQUENCES].length > 0)
        add_sequences((const void *)digesting->parts[STORE_PART_SEQUENCES].bytes, entity, time_ms, &facts, &lists);
    if (digesting->parts[STORE_PART_SKETCHES].length > 0)
        agg_cells__digest(digesting->parts[STORE_PART_SKETCHES].bytes, entity, STORE_PART_SKETCHES, &digesting->moment, &facts,
                          &lists);
    if (digesting->parts[STORE_PART_LISTS].length > 0 && digesting->is_all)
        agg_cells__digest(digesting->parts[STORE_PART_LISTS].bytes, entity, STORE_PART_LISTS, &digesting->moment, &lists,
                          &lists);
    add_entity(&digesting->all, entity, key, &facts);
    if (digesting->is_all)
        add_entity(&digesting->lists, entity, key, &lists);
    return true;
}

static bool digest_one(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    struct digesting *digesting = user;
    struct agg_catalogue *catalogue = digesting->agg->catalogue;
    const struct agg_entity *entity = catalogue->kinds[key->kind];
    bool ok = true;

    if (!entity && (key->kind != AGG_KIND_TABLES || agg_table__is_retired(catalogue, key)))
        return true; /* of a kind or table that the configuration no longer has */
    for (int part = 0; part < STORE_PARTS; part++) {
        fr_buffer_clear(&digesting->parts[part]);
        if (disk[part].length > 0)
            ok = agg_codec__decode(catalogue, key, (enum store_part)part, disk[part], &digesting->parts[part]) && ok;
        if (digesting->parts[part].is_failed)
            digesting->is_out_of_memory = true;
    }
    if (digesting->is_out_of_memory)
        return false;
    if (!ok) {
        digesting->is_corrupt = true;
        if (entity)
            agg_key__print(entity, key, digesting->corrupt);
        else
            snprintf(digesting->corrupt, sizeof digesting->corrupt, "a table's row of %" PRIu64, key->ids[1]);
        return false;
    }
    if (!entity) {
        const struct fr_buffer *row = &digesting->parts[STORE_PART_ROWS];

        agg_table__digest(catalogue, key, (const void *)row->bytes, row->length / sizeof(uint64_t), &digesting->all);
        return true;
    }
    return digest_parts(digesting, entity, key);
}

bool agg_digest(struct agg *agg, int64_t time_ms, bool is_all, struct agg_digest *digest, struct fr_err *err)
{
    struct digesting digesting = {.agg = agg, .moment = agg_window__moment(time_ms), .is_all = is_all};
    bool ok;

    for (int part = 0; part < STORE_PARTS; part++)
        fr_buffer_init(&digesting.parts[part]);
    fr_buffer_init(&digesting.canonical);
    ok = store_scan(agg->store, digest_one, &digesting, err);
    *digest = (struct agg_digest){.hash = {digesting.all.hash[0], digesting.all.hash[1]},
                                  .lists = {digesting.lists.hash[0], digesting.lists.hash[1]},
                                  .entities = digesting.all.count};
    for (int part = 0; part < STORE_PARTS; part++)
        fr_buffer_fini(&digesting.parts[part]);
    fr_buffer_fini(&digesting.canonical);
    if (ok && digesting.is_out_of_memory)
        return fr_fail(err, FR_EXHAUSTED, "digest: out of memory");
    if (ok && digesting.is_corrupt)
        return fr_fail(err, FR_CORRUPT, "digest: the state of %s failed its check; restore a backup, or replay",
                       digesting.corrupt);
    return ok;
}
