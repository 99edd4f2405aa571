/*
 * The last version, for scores and pulls. There are two copies: readers look at the active one, the learner writes its changes to the
 * other, turns, waits until the last reader has left the old one, and writes the same changes there. So a reader never waits and
 * never sees two versions, and a version costs what it changed.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/text.h>

#include <sched.h>
#include <stdlib.h>

enum { HASHED_FLOATS_MAX = LEARNER_TASKS_MAX + LEARNER_FACTORS_MAX, SPINS = 64 };

/* ---- made and gone ---- */

static bool init_copy(struct learner_serving *serving, struct learner_copy *copy, uint32_t rows)
{
    size_t fixed = (size_t)serving->dense + 1;

    copy->fixed = aligned_alloc(64, (fixed * serving->stride + 63) / 64 * 64);
    copy->standards = calloc(fixed, sizeof *copy->standards);
    copy->log = calloc(LEARNER_LOG_ENTRIES, sizeof *copy->log);
    copy->row_end = 1;
    if (copy->fixed)
        memset(copy->fixed, 0, fixed * serving->stride);
    return learner_slab__init(&copy->slab, serving->stride, rows) && copy->fixed && copy->standards && copy->log;
}

static uint64_t hash_row(const struct learner_serving *serving, uint64_t id, const float *floats)
{
    uint8_t bytes[8 + HASHED_FLOATS_MAX * sizeof(float)];
    size_t width = (size_t)(serving->tasks + serving->factors) * sizeof(float);

    memcpy(bytes, &id, 8); /* this machine is little endian, as the definition */
    memcpy(bytes + 8, floats, width);
    return fr_text_hash(bytes, 8 + width, 0);
}

static void begin_copy(struct learner_serving *serving, struct learner_copy *copy, uint64_t version)
{
    copy->version = copy->base_version = version;
    for (int i = 0; i <= serving->dense; i++) {
        copy->standards[i].scale = 1;
        learner_serving__fixed(serving, copy, i)->version = version;
        copy->digest_rows += hash_row(serving, (uint64_t)i, learner_serving__fixed(serving, copy, i)->floats);
    }
}

bool learner_serving__init(struct learner_serving *serving, const struct learner_trainer *trainer, uint64_t version)
{
    size_t floats = (size_t)(2 * trainer->tasks + trainer->factors);

    memset(serving, 0, sizeof *serving);
    serving->tasks = trainer->tasks;
    serving->factors = trainer->factors;
    serving->dense = trainer->dense;
    serving->schema = trainer->schema;
    serving->index = trainer->index;
    serving->stride = (sizeof(struct learner_served) + floats * sizeof(float) + 15) / 16 * 16;
    for (int i = 0; i < 2; i++) {
        if (!init_copy(serving, &serving->copies[i], trainer->coordinates + 1))
            return false;
        begin_copy(serving, &serving->copies[i], version);
    }
    return true;
}

void learner_serving__fini(struct learner_serving *serving)
{
    for (int i = 0; i < 2; i++) {
        learner_slab__fini(&serving->copies[i].slab);
        free(serving->copies[i].fixed);
        free(serving->copies[i].standards);
        free(serving->copies[i].log);
    }
    memset(serving, 0, sizeof *serving);
}

/* ---- reading ---- */

const struct learner_copy *learner_serving__enter(struct learner_serving *serving, int *side)
{
    for (;;) {
        *side = atomic_load(&serving->active);
        atomic_fetch_add(&serving->readers[*side], 1);
        if (atomic_load(&serving->active) == *side)
            return &serving->copies[*side];
        atomic_fetch_sub(&serving->readers[*side], 1); /* it turned in between */
    }
}

void learner_serving__leave(struct learner_serving *serving, int side)
{
    atomic_fetch_sub(&serving->readers[side], 1);
}

/*
 * The index is the learner's, and may be ahead of the copy: a row made since is not of the copy, and one that is removed stays in
 * the index until no reader can look at a version that has it.
 */
const struct learner_served *learner_serving__find(const struct learner_serving *serving, const struct learner_copy *copy,
                                                   uint32_t coordinate)
{
    uint32_t number = atomic_load_explicit(&serving->index[coordinate], memory_order_relaxed);
    const struct learner_served *row;

    if (number == 0 || number >= copy->row_end)
        return NULL;
    row = learner_slab__at(&copy->slab, number);
    return row->coordinate == coordinate + 1 ? row : NULL;
}

uint64_t learner_serving__digest(const struct learner_serving *serving, const struct learner_copy *copy)
{
    uint64_t hash = 0;

    for (int part = 0; part < 2; part++) {
        for (int i = 0; i < serving->dense; i++) {
            double value = part == 0 ? copy->standards[i].mean : copy->standards[i].scale;

            hash = fr_text_hash(&value, sizeof value, hash);
        }
    }
    hash += copy->digest_rows;
    return hash ? hash : 1;
}

/* ---- writing ---- */

static void append_log(struct learner_copy *copy, uint64_t id, uint32_t row)
{
    struct learner_change *change = &copy->log[copy->log_total % LEARNER_LOG_ENTRIES];

    if (copy->log_total >= LEARNER_LOG_ENTRIES)
        copy->base_version = change->version; /* whoever has that needs no entry of it */
    *change = (struct learner_change){.version = copy->version, .id = id, .row = row};
    copy->log_total++;
}

static void write_floats(const struct learner_serving *serving, const struct learner_trainer *trainer,
                         const struct learner_weight *weights, const float *factors, float *floats)
{
    for (int i = 0; i < serving->tasks; i++) {
        floats[i] = weights[i].w;
        floats[serving->tasks + serving->factors + i] = (float)learner_ftrl__variance(&trainer->optimiser, &weights[i]);
    }
    for (int i = 0; i < serving->factors; i++)
        floats[serving->tasks + i] = factors ? factors[i] : 0;
}

/* Puts a row into a copy; what has the same weights as before is no change. */
static void put(const struct learner_serving *serving, struct learner_copy *copy, struct learner_served *served, uint64_t id,
                uint32_t number, const float *floats)
{
    size_t width = (size_t)(serving->tasks + serving->factors) * sizeof(float);
    bool is_new = id >= LEARNER_SPARSE_BASE && served->coordinate == 0;

    if (!is_new && memcmp(served->floats, floats, width) == 0) {
        memcpy(served->floats, floats, width + (size_t)serving->tasks * sizeof(float));
        return;
    }
    if (is_new) {
        served->coordinate = (uint32_t)(id - LEARNER_SPARSE_BASE) + 1;
        copy->rows++;
    } else {
        copy->digest_rows -= hash_row(serving, id, served->floats);
    }
    memcpy(served->floats, floats, width + (size_t)serving->tasks * sizeof(float));
    copy->digest_rows += hash_row(serving, id, floats);
    served->version = copy->version;
    append_log(copy, id, number);
}

static void take_away(const struct learner_serving *serving, struct learner_copy *copy, uint32_t number)
{
    struct learner_served *served = learner_slab__at(&copy->slab, number);
    uint64_t id = LEARNER_SPARSE_BASE + served->coordinate - 1;

    if (served->coordinate == 0)
        return;
    copy->digest_rows -= hash_row(serving, id, served->floats);
    memset(served, 0, serving->stride);
    copy->rows--;
    append_log(copy, id, number);
}

static void write_copy(const struct learner_serving *serving, struct learner_copy *copy, const struct learner_trainer *trainer)
{
    float floats[2 * LEARNER_TASKS_MAX + LEARNER_FACTORS_MAX];

    for (int i = 0; i <= serving->dense; i++) {
        write_floats(serving, trainer, &trainer->fixed[i * serving->tasks], NULL, floats);
        put(serving, copy, learner_serving__fixed(serving, copy, i), (uint64_t)i, 0, floats);
        if (i < serving->dense)
            learner_trainer__standard(trainer, i, &copy->standards[i]);
    }
    for (uint32_t i = 0; i < trainer->changed_count; i++) {
        uint32_t number = trainer->changed[i];
        const struct learner_row *row = learner_slab__at(&trainer->rows, number);
        const float *factors = row->factors ? learner_slab__at(&trainer->pairs, row->factors) : NULL;

        write_floats(serving, trainer, row->weights, factors, floats);
        put(serving, copy, learner_slab__at(&copy->slab, number), LEARNER_SPARSE_BASE + row->coordinate - 1, number, floats);
    }
    for (uint32_t i = 0; i < trainer->expired_count; i++)
        take_away(serving, copy, trainer->expired[i]);
    copy->row_end = trainer->row_end;
}

static bool is_changed(const struct learner_serving *serving, const struct learner_trainer *trainer,
                       const struct learner_copy *copy)
{
    if (trainer->changed_count > 0 || trainer->expired_count > 0)
        return true;
    for (int i = 0; i < trainer->tasks * (trainer->dense + 1); i++) {
        const struct learner_served *served = learner_serving__fixed(serving, copy, i / trainer->tasks);

        if (memcmp(&served->floats[i % trainer->tasks], &trainer->fixed[i].w, sizeof(float)) != 0)
            return true;
    }
    return false;
}

static void wait_for_readers(struct learner_serving *serving, int side)
{
    for (int spins = 0; atomic_load(&serving->readers[side]) > 0; spins++) {
        if (spins < SPINS)
            sched_yield();
        else
            fr_clock_sleep_ms(1);
    }
}

/* `other`: the side that is written already, to be followed; NULL for the first. */
static void write_side(struct learner_serving *serving, struct learner_copy *copy, const struct learner_copy *other,
                       const struct learner_trainer *trainer, const struct learner_state *state, int64_t now_ms)
{
    bool is_new = other ? other->version != copy->version : is_changed(serving, trainer, copy);

    if (is_new) {
        copy->version++;
        copy->published_ms = now_ms;
        write_copy(serving, copy, trainer);
    }
    copy->state = *state;
}

void learner_serving__publish(struct learner_serving *serving, struct learner_trainer *trainer,
                              const struct learner_state *state, int64_t now_ms)
{
    int active = atomic_load_explicit(&serving->active, memory_order_relaxed);

    wait_for_readers(serving, !active); /* one may be left from before the last turn */
    write_side(serving, &serving->copies[!active], NULL, trainer, state, now_ms);
    atomic_store(&serving->active, !active);
    wait_for_readers(serving, active);
    write_side(serving, &serving->copies[active], &serving->copies[!active], trainer, state, now_ms);
    for (uint32_t i = 0; i < trainer->changed_count; i++)
        ((struct learner_row *)learner_slab__at(&trainer->rows, trainer->changed[i]))->is_changed = false;
    trainer->changed_count = 0;
    learner_trainer__bury(trainer);
}
