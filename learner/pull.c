/*
 * Pulling. A whole model goes in pieces while versions go on; what changed meanwhile follows as a delta, so the last message of all makes
 * the copy be exactly one version. A delta is what the log says changed since: of each coordinate only its last change counts, with
 * the weights of now, or its removal. A client whose version the log no longer reaches gets the whole again.
 */
#include "line.h"

enum { MESSAGE_BYTES = 256 << 10, ENTRIES_A_MESSAGE = 1 << 14 };

static bool take_arrays(const struct learner_serving *serving, struct fr_arena *arena, struct learner_delta *delta, size_t rows)
{
    size_t dense = (size_t)serving->dense + 1;

    delta->ids = fr_arena_take(arena, rows * sizeof *delta->ids);
    delta->removed = fr_arena_take(arena, rows * sizeof *delta->removed);
    delta->weights = fr_arena_take(arena, rows * delta->width * sizeof *delta->weights);
    delta->dense_mean = fr_arena_take(arena, dense * sizeof *delta->dense_mean);
    delta->dense_scale = fr_arena_take(arena, dense * sizeof *delta->dense_scale);
    return delta->ids && delta->removed && delta->weights && delta->dense_mean && delta->dense_scale;
}

static void add(struct learner_delta *delta, uint64_t id, const struct learner_served *served)
{
    memcpy(delta->weights + delta->count * delta->width, served->floats, delta->width * sizeof(float));
    delta->ids[delta->count++] = id;
}

static void add_fixed(const struct learner_serving *serving, const struct learner_copy *copy, struct learner_delta *delta)
{
    for (int i = 0; i <= serving->dense; i++)
        add(delta, (uint64_t)i, learner_serving__fixed(serving, copy, i));
}

/* The next rows of all. True when that was the last. */
static bool add_rows(const struct learner_copy *copy, struct learner_pull *pull, struct learner_delta *delta, size_t most)
{
    for (; pull->next_row < copy->row_end && delta->count < most; pull->next_row++) {
        const struct learner_served *served = learner_slab__at(&copy->slab, pull->next_row);

        if (served->coordinate)
            add(delta, LEARNER_SPARSE_BASE + served->coordinate - 1, served);
    }
    return pull->next_row >= copy->row_end;
}

/* The number of the first entry that is newer than `version`; entries are in the order of versions. */
static uint64_t first_newer(const struct learner_copy *copy, uint64_t version)
{
    uint64_t low = copy->log_total > LEARNER_LOG_ENTRIES ? copy->log_total - LEARNER_LOG_ENTRIES : 0, high = copy->log_total;

    while (low < high) {
        uint64_t middle = low + (high - low) / 2;

        if (copy->log[middle % LEARNER_LOG_ENTRIES].version > version)
            high = middle;
        else
            low = middle + 1;
    }
    return low;
}

static void add_change(const struct learner_serving *serving, const struct learner_copy *copy, struct learner_delta *delta,
                       const struct learner_change *change)
{
    const struct learner_served *served;

    if (change->id < LEARNER_SPARSE_BASE) {
        served = learner_serving__fixed(serving, copy, (int)change->id);
    } else {
        served = learner_slab__at(&copy->slab, change->row);
        if (served->coordinate != (uint32_t)(change->id - LEARNER_SPARSE_BASE) + 1)
            served = learner_serving__find(serving, copy, (uint32_t)(change->id - LEARNER_SPARSE_BASE));
    }
    if (!served)
        delta->removed[delta->removed_count++] = change->id;
    else if (served->version == change->version) /* else a later entry has it */
        add(delta, change->id, served);
}

/* The next entries. True when all are through. */
static bool add_changes(const struct learner_serving *serving, const struct learner_copy *copy, struct learner_pull *pull,
                        struct learner_delta *delta, size_t most)
{
    uint64_t end;

    if (!pull->has_entry)
        pull->next_entry = first_newer(copy, pull->start_version);
    pull->has_entry = true;
    end = copy->log_total - pull->next_entry > ENTRIES_A_MESSAGE ? pull->next_entry + ENTRIES_A_MESSAGE : copy->log_total;
    for (; pull->next_entry < end && delta->count < most && delta->removed_count < most; pull->next_entry++)
        add_change(serving, copy, delta, &copy->log[pull->next_entry % LEARNER_LOG_ENTRIES]);
    return pull->next_entry == copy->log_total;
}

/* Whether what the stream goes on from is still in the log. */
static bool is_kept(const struct learner_copy *copy, const struct learner_pull *pull)
{
    if (pull->has_entry)
        return copy->log_total - pull->next_entry <= LEARNER_LOG_ENTRIES;
    return pull->start_version >= copy->base_version && pull->start_version <= copy->version;
}

static void begin(const struct learner_copy *copy, struct learner_pull *pull, struct learner_delta *delta)
{
    if (!pull->is_begun)
        pull->start_version = pull->since_version;
    if (!(pull->is_full ? pull->start_version >= copy->base_version : is_kept(copy, pull))) {
        pull->is_full = true;
        pull->since_version = 0;
        pull->start_version = copy->version;
        pull->next_row = 1;
        pull->has_entry = false;
        delta->is_full = true;
    }
    pull->is_begun = true;
}

static void finish(const struct learner_serving *serving, const struct learner_copy *copy, struct learner_pull *pull,
                   struct learner_delta *delta)
{
    delta->is_last = true;
    delta->digest = learner_serving__digest(serving, copy);
    pull->since_version = pull->start_version = copy->version;
    pull->next_entry = copy->log_total;
    pull->has_entry = true;
}

static enum learner_pulled pull_copy(const struct learner_serving *serving, const struct learner_copy *copy,
                                     struct learner_pull *pull, struct fr_arena *arena, struct learner_delta *delta)
{
    size_t width = (size_t)(serving->tasks + serving->factors), fixed = (size_t)serving->dense + 1;
    size_t rows = MESSAGE_BYTES / (width * sizeof(float) + sizeof(uint64_t));
    bool is_through;

    *delta = (struct learner_delta){.width = (uint32_t)width, .schema = serving->schema->hash};
    if (pull->is_begun && !pull->is_full && pull->since_version == copy->version)
        return LEARNER_PULL_CURRENT;
    if (!take_arrays(serving, arena, delta, rows + fixed))
        return LEARNER_PULL_EXHAUSTED;
    begin(copy, pull, delta);
    if (delta->is_full)
        add_fixed(serving, copy, delta);
    if (pull->is_full && add_rows(copy, pull, delta, rows + fixed))
        pull->is_full = false;
    is_through = !pull->is_full && add_changes(serving, copy, pull, delta, rows + fixed);
    for (int i = 0; i < serving->dense; i++) {
        delta->dense_mean[i] = copy->standards[i].mean;
        delta->dense_scale[i] = copy->standards[i].scale;
    }
    if (is_through)
        finish(serving, copy, pull, delta);
    delta->version = pull->since_version;
    return LEARNER_PULLED;
}

enum learner_pulled learner_pull(struct learner *learner, struct learner_pull *pull, struct fr_arena *arena,
                                 struct learner_delta *delta)
{
    struct learner_line *line = learner__line(learner, pull->model, pull->is_shadow);
    enum learner_pulled pulled;
    int side;

    pulled = pull_copy(&line->serving, learner_serving__enter(&line->serving, &side), pull, arena, delta);
    learner_serving__leave(&line->serving, side);
    return pulled;
}
