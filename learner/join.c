/* The join as a whole: its tasks, what it counts, what it finds when it is opened. */
#include "join.h"
#include "sessions.h"

#include <freshet/text.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXAMPLE_BYTES = 1 << 20 };

static const char join_meta[] = "join";

bool learner_join__fail(struct learner_join *join, struct fr_err *err)
{
    store_spoil(join->store);
    return fr_fail(err, FR_UNAVAILABLE,
                   "join: out of memory in the middle of a batch; the state since the last epoch is spoiled: restart the "
                   "node, with less learner.join_bytes or more of the machine's memory");
}

void learner_join__key(int kind, uint64_t first, uint64_t second, struct store_key *key)
{
    *key = (struct store_key){.kind = (uint8_t)kind, .id_count = kind == LEARNER_KIND_ROWS ? 2 : 1, .ids = {first, second}};
}

/* ---- metrics ---- */

static const char *const counted_names[LEARNER_COUNTED] = {
    [LEARNER_ROWS_TAKEN] = "rows",
    [LEARNER_ROWS_DUPLICATE] = "rows_duplicate",
    [LEARNER_ROWS_FOREIGN] = "rows_foreign_schema",
    [LEARNER_ROWS_UNSEEN] = "rows_without_impression",
    [LEARNER_IMPRESSION] = "impressions",
    [LEARNER_IMPRESSION_DUPLICATE] = "impressions_duplicate",
    [LEARNER_IMPRESSION_UNSERVED] = "impressions_without_rows",
    [LEARNER_IMPRESSION_UNLOGGED] = "impressions_of_unlogged_items",
    [LEARNER_LABEL] = "labels",
    [LEARNER_LABEL_DUPLICATE] = "labels_duplicate",
    [LEARNER_LABEL_EARLY] = "labels_before_impression",
    [LEARNER_LABEL_LATE] = "labels_late",
    [LEARNER_LABEL_ALONE] = "labels_without_impression",
    [LEARNER_DROPPED_ROOM] = "dropped_for_room",
    [LEARNER_DROPPED_CONFIG] = "dropped_for_other_tasks",
    [LEARNER_SAMPLED_OUT] = "negatives_sampled_out",
    [LEARNER_UNRANKED] = "watches_without_length",
};

static void register_metrics(struct learner_join *join, struct fr_metrics *metrics)
{
    char labels[512];

    for (int i = 0; i < LEARNER_COUNTED; i++) {
        snprintf(labels, sizeof labels, "what=\"%s\"", counted_names[i]);
        join->counters[i] = fr_metrics_counter(metrics, "freshet_join_total", labels,
                                               "What the join of rows and outcomes met, by what it was.");
    }
    for (int i = 0; i < join->task_count; i++)
        for (int positive = 0; positive < 2; positive++) {
            snprintf(labels, sizeof labels, "model=\"%.128s\",task=\"%.128s\",label=\"%d\"",
                     join->config->models[join->tasks[i].model].name, join->tasks[i].task->name, positive);
            join->examples[i][positive] =
                fr_metrics_counter(metrics, "freshet_examples_total", labels, "Examples made, by task and label.");
        }
    join->waiting = fr_metrics_gauge(metrics, "freshet_join_bytes", NULL, "Served rows and impressions that wait.");
    join->outbox_bytes = fr_metrics_gauge(metrics, "freshet_outbox_bytes", NULL,
                                          "Examples that Kafka has not acknowledged, or the model has not kept yet.");
}

void learner_join__tell(struct learner_join_lane *lane)
{
    for (int i = 0; i < LEARNER_COUNTED; i++)
        if (lane->counted[i] > 0)
            fr_counter_add(lane->join->counters[i], lane->counted[i]);
    memset(lane->counted, 0, sizeof lane->counted);
    fr_gauge_set(lane->join->waiting, (double)atomic_load_explicit(&lane->join->waiting_bytes, memory_order_relaxed));
    fr_gauge_set(lane->join->outbox_bytes, (double)atomic_load_explicit(&lane->join->outbox.bytes, memory_order_relaxed));
}

/* ---- opening ---- */

/* What its labels mean. Those of outcomes have the hash that they had before there were others. */
static uint64_t definition_of(const struct learner_task *task, uint64_t before)
{
    uint64_t words[3] = {task->actions, (uint64_t)task->policy, (uint64_t)task->window_ms};
    uint64_t hash = fr_text_hash(words, sizeof words, before);

    return task->is_watch_rank ? fr_text_hash("watch_rank", strlen("watch_rank"), hash) : hash;
}

static bool gather_tasks(struct learner_join *join, struct fr_err *err)
{
    for (int m = 0; m < join->config->model_count; m++) {
        const struct learner_model *model = &join->config->models[m];

        join->model_hashes[m] = fr_text_hash(model->name, strlen(model->name), 0);
        for (int t = 0; t < model->task_count; t++) {
            const struct learner_task *task = &model->tasks[t];
            struct learner_any_task *any = &join->tasks[join->task_count];
            char name[512];

            if (join->task_count == LEARNER_TASKS_ALL_MAX)
                return fr_fail(err, FR_BAD_CONFIG, "models: more than %d tasks in all; leave some out", LEARNER_TASKS_ALL_MAX);
            snprintf(name, sizeof name, "%s.%s", model->name, task->name);
            *any = (struct learner_any_task){.model = m, .index = t, .task = task, .hash = fr_text_hash(name, strlen(name), 0)};
            join->task_count++;
            if (task->is_watch_rank) {
                any->watched = learner_watched__open(any->hash, definition_of(task, 0), join->store);
                if (!any->watched)
                    return fr_fail(err, FR_EXHAUSTED, "join: out of memory");
            }
            join->tasks_hash = definition_of(task, fr_text_hash(name, strlen(name), join->tasks_hash));
            join->actions |= task->actions;
            join->has_sliver = join->has_sliver || task->policy == LEARNER_SLIVER;
            join->has_ranks = join->has_ranks || task->is_watch_rank;
            join->longest_ms = task->window_ms > join->longest_ms ? task->window_ms : join->longest_ms;
            if (task->policy != LEARNER_FNW && !model->is_by_arrival)
                join->ordered |= UINT32_C(1) << m;
        }
    }
    return true;
}

struct join_meta {
    int64_t time_ms, next_position, acknowledged;
    uint64_t events;
};

static struct join_meta read_meta(struct store *store)
{
    struct join_meta meta = {.next_position = 1, .acknowledged = 1};
    struct fr_slice value = store_meta_get(store, join_meta);
    struct fr_reader reader = fr_reader(value);

    if (value.length > 0) {
        meta.time_ms = fr_reader_zigzag(&reader);
        meta.next_position = fr_reader_zigzag(&reader);
        meta.acknowledged = fr_reader_zigzag(&reader);
        meta.events = reader.at < reader.end ? fr_reader_varint(&reader) : 0; /* stores of before had none */
    }
    return meta;
}

int64_t learner_outbox_end(struct store *store)
{
    return read_meta(store).next_position;
}

static void restore(struct learner_join *join)
{
    struct join_meta meta = read_meta(join->store);

    atomic_store(&join->time_ms, meta.time_ms);
    learner_outbox__init(&join->outbox, join->store, LEARNER_KIND_OUTBOX, meta.next_position, meta.acknowledged);
    atomic_store(&join->numbers, meta.events);
    atomic_store(&join->events, meta.events);
}

static bool find_one(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    struct learner_join *join = user;
    struct fr_slice bytes = disk[STORE_PART_ROWS];
    struct learner_book_head head;

    if (key->kind == LEARNER_KIND_OUTBOX) {
        learner_outbox__find(&join->outbox, (int64_t)key->ids[0], bytes.length);
        return true;
    }
    if (key->kind > LEARNER_KIND_OUTBOX)
        return true; /* of sessions */
    atomic_fetch_add(&join->waiting_bytes, bytes.length);
    if (key->kind != LEARNER_KIND_USER || (!learner_book__is_good(bytes) && !learner_book__is_old(bytes)))
        return true; /* what makes no sense is told by who loads it */
    memset(&head, 0, sizeof head);
    memcpy(&head, bytes.bytes, bytes.length < sizeof head ? bytes.length : sizeof head);
    if (head.tasks != join->tasks_hash || learner_book__is_old(bytes))
        return learner_dues__put(&join->dues, (struct learner_place){.ms = INT64_MIN}, key->ids[0]);
    return learner_dues__put(&join->dues, (struct learner_place){.ms = head.scheduled_ms, .number = head.scheduled_number},
                             key->ids[0]);
}

bool learner_join_open(const struct learner_join_options *options, struct learner_join **ret, struct fr_err *err)
{
    struct store_cursor cursor = {.bytes = {LEARNER_KIND_FIRST}, .length = 1};
    struct learner_join *join = calloc(1, sizeof *join);

    if (!join || !learner_dues__init(&join->dues)) {
        free(join);
        return fr_fail(err, FR_EXHAUSTED, "join: out of memory");
    }
    join->config = options->config;
    join->schemas = options->schemas;
    join->matrices = options->matrices;
    join->store = options->store;
    restore(join);
    if (!gather_tasks(join, err) || !store_scan_some(join->store, &cursor, UINT64_MAX, find_one, join, err)) {
        learner_join_close(join);
        return false;
    }
    register_metrics(join, options->metrics);
    *ret = join;
    return true;
}

void learner_join_close(struct learner_join *join)
{
    if (!join)
        return;
    learner_dues__fini(&join->dues);
    for (int i = 0; i < join->task_count; i++)
        learner_watched__close(join->tasks[i].watched);
    free(join);
}

void learner_join_encode(const void *memory, uint32_t bytes, struct fr_buffer *disk)
{
    fr_buffer_append(disk, memory, bytes);
}

bool learner_join_decode(const struct store_key *key, struct fr_slice disk, struct fr_buffer *memory)
{
    struct learner_rows rows;

    if (key->kind == LEARNER_KIND_USER && learner_book__is_old(disk)) {
        learner_book__widen(disk, memory);
        return !memory->is_failed;
    }
    if ((key->kind == LEARNER_KIND_SESSION && !learner_sessions_is_good(disk)) ||
        (key->kind == LEARNER_KIND_USER && !learner_book__is_good(disk)) ||
        (key->kind == LEARNER_KIND_ROWS && !learner_rows__look(disk, &rows)))
        return false;
    fr_buffer_append(memory, disk.bytes, disk.length);
    return !memory->is_failed;
}

struct learner_join_lane *learner_join_lane_new(struct learner_join *join)
{
    struct learner_join_lane *lane = calloc(1, sizeof *lane);

    if (!lane)
        return NULL;
    lane->join = join;
    learner_book__init(&lane->book, join->task_count);
    fr_buffer_init(&lane->chunk);
    lane->arena = fr_arena_new(EXAMPLE_BYTES);
    if (!lane->arena) {
        learner_join_lane_free(lane);
        return NULL;
    }
    return lane;
}

void learner_join_lane_free(struct learner_join_lane *lane)
{
    if (!lane)
        return;
    learner_book__fini(&lane->book);
    fr_buffer_fini(&lane->chunk);
    fr_arena_free(lane->arena);
    free(lane->doings);
    free(lane->keys);
    free(lane->hashes);
    free(lane->labelled);
    free(lane->gone);
    free(lane);
}

int64_t learner_join_time(const struct learner_join *join)
{
    return atomic_load(&join->time_ms);
}

uint64_t learner_join_events(const struct learner_join *join)
{
    return atomic_load(&join->events);
}

bool learner_join_is_due(struct learner_join *join, int64_t time_ms, uint64_t events)
{
    return learner_dues__has(&join->dues, (struct learner_place){.ms = time_ms, .number = events});
}

struct learner_join_stats learner_join_stats(const struct learner_join *join)
{
    return (struct learner_join_stats){.waiting_bytes = atomic_load_explicit(&join->waiting_bytes, memory_order_relaxed),
                                       .outbox_bytes = atomic_load_explicit(&join->outbox.bytes, memory_order_relaxed),
                                       .next_position = atomic_load(&join->outbox.next_position)};
}

int64_t learner_join_boundary(struct learner_join *join)
{
    int64_t next = atomic_load(&join->outbox.next_position);
    struct fr_buffer value;

    fr_buffer_init(&value);
    fr_buffer_append_zigzag(&value, atomic_load(&join->time_ms));
    fr_buffer_append_zigzag(&value, next);
    fr_buffer_append_zigzag(&value, atomic_load(&join->outbox.acknowledged));
    fr_buffer_append_varint(&value, atomic_load(&join->numbers));
    if (value.is_failed)
        store_spoil(join->store); /* without it positions would be given out again */
    else
        store_meta_put(join->store, join_meta, fr_buffer_slice(&value));
    fr_buffer_fini(&value);
    for (int i = 0; i < join->task_count; i++)
        if (join->tasks[i].watched)
            learner_watched__save(join->tasks[i].watched, join->store);
    return next;
}

struct learner_outbox *learner_join_outbox(struct learner_join *join)
{
    return &join->outbox;
}

bool learner_join_task(const struct learner_join *join, const struct learner_outbox_entry *entry, int *model, int *task)
{
    for (int i = 0; i < join->task_count; i++) {
        if (join->tasks[i].hash == entry->of) {
            *model = join->tasks[i].model;
            *task = join->tasks[i].index;
            return true;
        }
    }
    return false;
}

bool learner_join__send(struct learner_join_lane *lane, struct fr_err *err)
{
    if (!learner_outbox__put(&lane->join->outbox, &lane->chunk))
        return learner_join__fail(lane->join, err);
    lane->chunk_count = 0;
    return true;
}

/* ---- keys ---- */

bool learner_join__want(struct learner_join_lane *lane, int kind, uint64_t first, uint64_t second)
{
    if (lane->key_count == lane->key_capacity) {
        int capacity = lane->key_capacity ? 2 * lane->key_capacity : 256;
        struct store_key *keys = reallocarray(lane->keys, (size_t)capacity, sizeof *keys);
        uint64_t *hashes;

        if (!keys)
            return false;
        lane->keys = keys;
        hashes = reallocarray(lane->hashes, (size_t)capacity, sizeof *hashes);
        if (!hashes)
            return false;
        lane->hashes = hashes;
        lane->key_capacity = capacity;
    }
    learner_join__key(kind, first, second, &lane->keys[lane->key_count]);
    lane->hashes[lane->key_count] = store_key_hash(lane->join->store, &lane->keys[lane->key_count]);
    lane->key_count++;
    return true;
}

bool learner_join__load_wanted(struct learner_join_lane *lane, struct fr_err *err)
{
    int count = lane->key_count;

    lane->key_count = 0;
    return count == 0 || store_load(lane->join->store, lane->keys, lane->hashes, count, err);
}
