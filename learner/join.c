/* The join as a whole: opening, a batch of lanes, and the passing of time. */
#include "join.h"

#include <freshet/log.h>
#include <freshet/text.h>
#include <freshet/v1/event.pb-c.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EXAMPLE_BYTES = 1 << 20, USERS_AT_ONCE = 64, CHUNK_KEPT_BYTES = 1 << 20 };

static const char join_meta[] = "join";

bool learner_join__fail(struct fr_err *err)
{
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
    join->outbox = fr_metrics_gauge(metrics, "freshet_outbox_bytes", NULL,
                                    "Examples that Kafka has not acknowledged, or the model has not kept yet.");
}

void learner_join__tell(struct learner_join_lane *lane)
{
    for (int i = 0; i < LEARNER_COUNTED; i++)
        if (lane->counted[i] > 0)
            fr_counter_add(lane->join->counters[i], lane->counted[i]);
    memset(lane->counted, 0, sizeof lane->counted);
    fr_gauge_set(lane->join->waiting, (double)atomic_load_explicit(&lane->join->waiting_bytes, memory_order_relaxed));
    fr_gauge_set(lane->join->outbox, (double)atomic_load_explicit(&lane->join->outbox_bytes, memory_order_relaxed));
}

/* ---- opening ---- */

static bool gather_tasks(struct learner_join *join, struct fr_err *err)
{
    for (int m = 0; m < join->config->model_count; m++) {
        const struct learner_model *model = &join->config->models[m];

        join->model_hashes[m] = fr_text_hash(model->name, strlen(model->name), 0);
        for (int t = 0; t < model->task_count; t++) {
            const struct learner_task *task = &model->tasks[t];
            uint64_t words[3] = {task->actions, (uint64_t)task->policy, (uint64_t)task->window_ms};
            char name[512];

            if (join->task_count == LEARNER_TASKS_ALL_MAX)
                return fr_fail(err, FR_BAD_CONFIG, "models: more than %d tasks in all; leave some out", LEARNER_TASKS_ALL_MAX);
            snprintf(name, sizeof name, "%s.%s", model->name, task->name);
            join->tasks[join->task_count++] =
                (struct learner_any_task){.model = m, .index = t, .task = task, .hash = fr_text_hash(name, strlen(name), 0)};
            join->tasks_hash = fr_text_hash(name, strlen(name), join->tasks_hash);
            join->tasks_hash = fr_text_hash(words, sizeof words, join->tasks_hash);
            join->actions |= task->actions;
            join->has_sliver = join->has_sliver || task->policy == LEARNER_SLIVER;
            join->longest_ms[m] = task->window_ms > join->longest_ms[m] ? task->window_ms : join->longest_ms[m];
        }
    }
    return true;
}

static void restore(struct learner_join *join)
{
    struct fr_slice value = store_meta_get(join->store, join_meta);
    struct fr_reader reader = fr_reader(value);

    atomic_store(&join->next_position, 1);
    atomic_store(&join->acknowledged, 1);
    if (value.length == 0)
        return;
    atomic_store(&join->time_ms, fr_reader_zigzag(&reader));
    atomic_store(&join->next_position, fr_reader_zigzag(&reader));
    atomic_store(&join->acknowledged, fr_reader_zigzag(&reader));
}

static bool find_one(void *user, const struct store_key *key, const struct fr_slice disk[STORE_PARTS])
{
    struct learner_join *join = user;
    struct fr_slice bytes = disk[STORE_PART_ROWS];
    struct learner_book_head head;

    if (key->kind == LEARNER_KIND_OUTBOX) {
        atomic_fetch_add(&join->outbox_bytes, bytes.length);
        if ((int64_t)key->ids[0] < join->first_position)
            join->first_position = (int64_t)key->ids[0];
        return true;
    }
    atomic_fetch_add(&join->waiting_bytes, bytes.length);
    if (key->kind != LEARNER_KIND_USER || !learner_book__is_good(bytes))
        return true; /* what makes no sense is told by who loads it */
    memcpy(&head, bytes.bytes, sizeof head);
    return learner_dues__put(&join->dues, head.tasks == join->tasks_hash ? head.scheduled_ms : INT64_MIN, key->ids[0]);
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
    join->first_position = atomic_load(&join->next_position);
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
    free(join);
}

void learner_join_encode(const void *memory, uint32_t bytes, struct fr_buffer *disk)
{
    fr_buffer_append(disk, memory, bytes);
}

bool learner_join_decode(const struct store_key *key, struct fr_slice disk, struct fr_buffer *memory)
{
    struct learner_rows rows;

    if ((key->kind == LEARNER_KIND_USER && !learner_book__is_good(disk)) ||
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

struct learner_join_stats learner_join_stats(const struct learner_join *join)
{
    return (struct learner_join_stats){.waiting_bytes = atomic_load_explicit(&join->waiting_bytes, memory_order_relaxed),
                                       .outbox_bytes = atomic_load_explicit(&join->outbox_bytes, memory_order_relaxed),
                                       .next_position = atomic_load(&join->next_position)};
}

int64_t learner_join_boundary(struct learner_join *join)
{
    int64_t next = atomic_load(&join->next_position);
    struct fr_buffer value;

    fr_buffer_init(&value);
    fr_buffer_append_zigzag(&value, atomic_load(&join->time_ms));
    fr_buffer_append_zigzag(&value, next);
    fr_buffer_append_zigzag(&value, atomic_load(&join->acknowledged));
    if (!value.is_failed)
        store_meta_put(join->store, join_meta, fr_buffer_slice(&value));
    fr_buffer_fini(&value);
    return next;
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

/* ---- one user ---- */

/* Opens the account from a locked entry, or an empty one. */
static void read_book(struct learner_join_lane *lane, const struct store_entry *entry)
{
    uint32_t length = 0;
    const void *bytes = entry ? store_entry_read(entry, STORE_PART_ROWS, &length) : NULL;
    int lost;

    learner_book__read(&lane->book, fr_slice(bytes, length), lane->join->tasks_hash, &lost);
    lane->counted[LEARNER_DROPPED_CONFIG] += (uint64_t)lost;
    lane->is_failed = lane->is_failed || lane->book.is_failed;
}

/* Puts it back and sees to it that it is looked at in time. */
static bool write_book(struct learner_join_lane *lane, struct store_entry *entry, uint64_t user_id)
{
    struct learner_join *join = lane->join;
    int64_t due_ms = learner_account__due(lane);
    uint32_t before = 0, length;
    void *bytes;

    (void)store_entry_read(entry, STORE_PART_ROWS, &before);
    if (due_ms < lane->book.scheduled_ms) {
        if (!learner_dues__put(&join->dues, due_ms, user_id))
            return false;
        lane->book.scheduled_ms = due_ms;
    }
    length = learner_book__bytes(&lane->book);
    bytes = store_entry_write(join->store, entry, STORE_PART_ROWS, length);
    if (length > 0 && !bytes)
        return false;
    if (length > 0)
        learner_book__write(&lane->book, join->tasks_hash, bytes);
    atomic_fetch_add_explicit(&join->waiting_bytes, (uint64_t)length - before, memory_order_relaxed);
    return true;
}

/* Makes an example of what was noted, unless it is a negative that is sampled out. */
static void make_example(struct learner_join_lane *lane, const struct learner_labelled *labelled,
                         const struct learner_rows *rows)
{
    struct learner_join *join = lane->join;
    const struct learner_any_task *task = &join->tasks[labelled->task];
    uint64_t id = learner_example__id(labelled, join->config->models[task->model].name, task->task->name);

    if (!labelled->made.is_positive && !learner_example__is_kept(id, task->task->negatives))
        learner_join__count(lane, LEARNER_SAMPLED_OUT);
    else if (!learner_example__append(join, labelled, id, rows, lane->arena, &lane->chunk))
        learner_join__count(lane, LEARNER_IMPRESSION_UNLOGGED);
    else {
        lane->chunk_count++;
        fr_counter_add(join->examples[labelled->task][labelled->made.is_positive], 1);
    }
}

/* The rows are looked at in place, under their lock. */
static bool make_examples(struct learner_join_lane *lane, struct fr_err *err)
{
    struct learner_join *join = lane->join;

    for (int i = 0; i < lane->labelled_count; i++) {
        const struct learner_labelled *labelled = &lane->labelled[i];
        struct learner_rows rows;
        struct store_entry *entry;
        struct store_key key;
        uint32_t length = 0;
        const void *bytes;

        learner_join__key(LEARNER_KIND_ROWS, labelled->user_id, labelled->shown.request_id, &key);
        entry = store_entry_lock(join->store, &key, store_key_hash(join->store, &key), false);
        bytes = entry ? store_entry_read(entry, STORE_PART_ROWS, &length) : NULL;
        if (bytes && learner_rows__look(fr_slice(bytes, length), &rows))
            make_example(lane, labelled, &rows);
        else
            learner_join__count(lane, LEARNER_DROPPED_ROOM);
        if (entry)
            store_entry_unlock(join->store, entry);
        if ((lane->chunk.length >= LEARNER_CHUNK_BYTES || lane->chunk_count >= LEARNER_CHUNK_EXAMPLES) &&
            !learner_outbox__put(lane, err))
            return false;
    }
    lane->labelled_count = 0;
    return true;
}

static void remove_gone(struct learner_join_lane *lane, uint64_t user_id)
{
    struct learner_join *join = lane->join;

    for (int i = 0; i < lane->gone_count; i++) {
        struct store_entry *entry;
        struct store_key key;
        uint32_t length = 0;

        learner_join__key(LEARNER_KIND_ROWS, user_id, lane->gone[i], &key);
        entry = store_entry_lock(join->store, &key, store_key_hash(join->store, &key), false);
        if (!entry)
            continue;
        (void)store_entry_read(entry, STORE_PART_ROWS, &length);
        (void)store_entry_write(join->store, entry, STORE_PART_ROWS, 0);
        store_entry_unlock(join->store, entry);
        atomic_fetch_sub_explicit(&join->waiting_bytes, length, memory_order_relaxed);
    }
    lane->gone_count = 0;
}

/* What a user's changed account asks for; the account is unlocked by now. */
static bool settle(struct learner_join_lane *lane, uint64_t user_id, struct fr_err *err)
{
    if (lane->is_failed || lane->book.is_failed)
        return learner_join__fail(err);
    if (!make_examples(lane, err))
        return false;
    remove_gone(lane, user_id);
    return true;
}

/* ---- a batch ---- */

static bool is_relevant(const struct learner_join *join, const struct proto_event *event)
{
    if (event->user_id == 0)
        return false;
    if (event->action == FRESHET__V1__ACTION__IMPRESSION && event->request_id != 0)
        return true;
    return (join->actions >> event->action & 1) != 0 || (join->has_sliver && event->action == FRESHET__V1__ACTION__LEAVE_ROOM);
}

static int compare_doings(const void *a, const void *b)
{
    const struct learner_doing *x = a, *y = b;

    if (x->user_id != y->user_id)
        return x->user_id < y->user_id ? -1 : 1;
    return x->index < y->index ? -1 : x->index > y->index;
}

static bool gather(struct learner_join_lane *lane, const struct learner_join_batch *batch)
{
    int most = batch->event_count + batch->served_count;

    lane->doing_count = 0;
    if (most > lane->doing_capacity) {
        struct learner_doing *grown = reallocarray(lane->doings, (size_t)most, sizeof *grown);

        if (!grown)
            return false;
        lane->doings = grown;
        lane->doing_capacity = most;
    }
    for (int i = 0; i < batch->served_count; i++)
        lane->doings[lane->doing_count++] = (struct learner_doing){.user_id = batch->served[i]->user_id, .index = i};
    for (int i = 0; i < batch->event_count; i++)
        if (is_relevant(lane->join, &batch->events[i]))
            lane->doings[lane->doing_count++] =
                (struct learner_doing){.user_id = batch->events[i].user_id, .index = batch->served_count + i};
    if (lane->doing_count > 1)
        qsort(lane->doings, (size_t)lane->doing_count, sizeof *lane->doings, compare_doings);
    return true;
}

/* The rows that a user's event may need: those of its request, or of the impressions that it may belong to. */
static bool want_rows(struct learner_join_lane *lane, const struct proto_event *event)
{
    bool is_exit = event->action == FRESHET__V1__ACTION__LEAVE_ROOM && lane->join->has_sliver;
    bool is_wanted = event->request_id == 0 || learner_join__want(lane, LEARNER_KIND_ROWS, event->user_id, event->request_id);

    for (int i = 0; is_wanted && i < lane->book.impression_count; i++) {
        const struct learner_impression *shown = learner_book__at(&lane->book, i);

        if (shown->models != 0 && (is_exit || (event->request_id == 0 && shown->item_id == event->item_id)))
            is_wanted = learner_join__want(lane, LEARNER_KIND_ROWS, event->user_id, shown->request_id);
    }
    return is_wanted;
}

/* Reads the account without changing anything. */
static void peek(struct learner_join_lane *lane, uint64_t user_id)
{
    struct store_entry *entry;
    struct store_key key;

    learner_join__key(LEARNER_KIND_USER, user_id, 0, &key);
    entry = store_entry_lock(lane->join->store, &key, store_key_hash(lane->join->store, &key), false);
    read_book(lane, entry);
    lane->counted[LEARNER_DROPPED_CONFIG] = 0; /* told when it is changed */
    if (entry)
        store_entry_unlock(lane->join->store, entry);
}

static bool want_all_rows(struct learner_join_lane *lane, const struct learner_join_batch *batch)
{
    uint64_t peeked = 0;
    bool is_wanted = true;

    for (int i = 0; is_wanted && i < lane->doing_count; i++) {
        const struct learner_doing *doing = &lane->doings[i];

        if (doing->index < batch->served_count) {
            const Freshet__V1__Served *served = batch->served[doing->index];

            is_wanted = learner_join__want(lane, LEARNER_KIND_ROWS, served->user_id, served->request_id);
            continue;
        }
        if (doing->user_id != peeked)
            peek(lane, doing->user_id);
        peeked = doing->user_id;
        is_wanted = want_rows(lane, &batch->events[doing->index - batch->served_count]);
    }
    return is_wanted;
}

bool learner_join_load(struct learner_join_lane *lane, const struct learner_join_batch *batch, struct fr_err *err)
{
    bool is_wanted = gather(lane, batch);

    for (int i = 0; is_wanted && i < lane->doing_count; i++)
        if (i == 0 || lane->doings[i].user_id != lane->doings[i - 1].user_id)
            is_wanted = learner_join__want(lane, LEARNER_KIND_USER, lane->doings[i].user_id, 0);
    if (is_wanted && lane->doing_count > 0) {
        if (!learner_join__load_wanted(lane, err))
            return false;
        is_wanted = want_all_rows(lane, batch);
    }
    if (!is_wanted || lane->book.is_failed) {
        lane->key_count = 0;
        lane->book.is_failed = lane->is_failed = false; /* nothing was changed */
        return fr_fail(err, FR_EXHAUSTED, "join: out of memory for a batch");
    }
    return learner_join__load_wanted(lane, err);
}

static uint32_t models_of(const struct learner_join *join, const Freshet__V1__Served *served)
{
    uint32_t models = 0;

    for (int m = 0; m < join->config->model_count; m++) {
        const struct learner_schema *schema = &join->schemas[m];

        if (join->matrices[m] == served->schema && served->n_user_values == (size_t)schema->user_columns &&
            served->n_item_values == served->n_item_ids * (size_t)schema->item_columns)
            models |= UINT32_C(1) << m;
    }
    return models;
}

static void refuse_foreign(struct learner_join_lane *lane, const Freshet__V1__Served *served)
{
    static struct fr_log_place place;

    learner_join__count(lane, LEARNER_ROWS_FOREIGN);
    fr_log_limited(&place, 5, FR_LOG_WARN, "learner",
                   "rows of request %llu have schema %llu and %zu user, %zu item values, which no model's feature_set has",
                   (unsigned long long)served->request_id, (unsigned long long)served->schema, served->n_user_values,
                   served->n_item_values);
}

/* Keeps the rows; false when they are not to be joined. */
static bool keep_rows(struct learner_join_lane *lane, const Freshet__V1__Served *served, struct learner_request *request)
{
    struct learner_join *join = lane->join;
    uint32_t before = 0, length = learner_rows__bytes(served);
    struct store_entry *entry;
    struct store_key key;
    void *bytes = NULL;

    *request = (struct learner_request){
        .request_id = served->request_id, .served_ms = served->served_ms, .models = models_of(join, served)};
    if (request->models == 0) {
        refuse_foreign(lane, served);
        return false;
    }
    learner_join__key(LEARNER_KIND_ROWS, served->user_id, served->request_id, &key);
    entry = store_entry_lock(join->store, &key, store_key_hash(join->store, &key), true);
    if (entry && !store_entry_is_corrupt(entry)) {
        (void)store_entry_read(entry, STORE_PART_ROWS, &before);
        if (before == 0)
            bytes = store_entry_write(join->store, entry, STORE_PART_ROWS, length);
        if (bytes)
            learner_rows__write(served, bytes);
        lane->is_failed = lane->is_failed || (before == 0 && !bytes);
    } else {
        lane->is_failed = lane->is_failed || !entry;
        before = 1; /* quarantined: as good as there */
    }
    if (entry)
        store_entry_unlock(join->store, entry);
    if (before > 0)
        learner_join__count(lane, LEARNER_ROWS_DUPLICATE);
    if (bytes)
        atomic_fetch_add_explicit(&join->waiting_bytes, length, memory_order_relaxed);
    return bytes != NULL;
}

/* All that a batch has of one user: doings[first..end). Rows that are kept are marked by a request of their own. */
static bool apply_user(struct learner_join_lane *lane, const struct learner_join_batch *batch, const bool *is_skipped,
                       int first, int end, struct fr_err *err)
{
    uint64_t user_id = lane->doings[first].user_id;
    struct learner_request requests[16];
    int request_count = 0, next = first;
    struct store_entry *entry;
    struct store_key key;
    bool is_written;

    for (; next < end && lane->doings[next].index < batch->served_count && request_count < 16; next++)
        request_count += keep_rows(lane, batch->served[lane->doings[next].index], &requests[request_count]);
    learner_join__key(LEARNER_KIND_USER, user_id, 0, &key);
    entry = store_entry_lock(lane->join->store, &key, store_key_hash(lane->join->store, &key), true);
    if (!entry)
        return learner_join__fail(err);
    read_book(lane, entry);
    for (int i = 0; i < request_count; i++)
        learner_account__served(lane, user_id, &requests[i]);
    for (; next < end && lane->doings[next].index >= batch->served_count; next++) {
        int event = lane->doings[next].index - batch->served_count;

        if (!is_skipped[event])
            learner_account__event(lane, &batch->events[event]);
    }
    is_written = write_book(lane, entry, user_id);
    store_entry_unlock(lane->join->store, entry);
    if (!is_written)
        return learner_join__fail(err);
    if (!settle(lane, user_id, err))
        return false;
    return next == end || apply_user(lane, batch, is_skipped, next, end, err);
}

bool learner_join_apply(struct learner_join_lane *lane, const struct learner_join_batch *batch, const bool *is_skipped,
                        struct fr_err *err)
{
    for (int first = 0, end; first < lane->doing_count; first = end) {
        for (end = first + 1; end < lane->doing_count && lane->doings[end].user_id == lane->doings[first].user_id;)
            end++;
        if (!apply_user(lane, batch, is_skipped, first, end, err))
            return false;
    }
    if (!learner_outbox__put(lane, err))
        return false;
    learner_join__tell(lane);
    return true;
}

/* ---- the passing of time ---- */

static bool pass_user(struct learner_join_lane *lane, const struct learner_due *due, int64_t time_ms, bool is_dropping,
                      struct fr_err *err)
{
    struct learner_join *join = lane->join;
    uint64_t user_id = due->user_id;
    struct store_entry *entry;
    struct store_key key;
    bool is_written;

    learner_join__key(LEARNER_KIND_USER, user_id, 0, &key);
    entry = store_entry_lock(join->store, &key, store_key_hash(join->store, &key), false);
    if (!entry)
        return true;
    read_book(lane, entry);
    if (due->due_ms != lane->book.scheduled_ms && due->due_ms != INT64_MIN) { /* another one of his is in the heap */
        store_entry_unlock(join->store, entry);
        return true;
    }
    if (is_dropping)
        time_ms = learner_account__due(lane);
    lane->book.scheduled_ms = INT64_MAX; /* it was taken out of the heap */
    learner_account__pass(lane, user_id, time_ms, is_dropping);
    is_written = write_book(lane, entry, user_id);
    store_entry_unlock(join->store, entry);
    return is_written ? settle(lane, user_id, err) : learner_join__fail(err);
}

/* Loads the users and all the rows that may be made into examples, or removed. */
static bool load_users(struct learner_join_lane *lane, const struct learner_due *dues, int count, struct fr_err *err)
{
    bool is_wanted = true;

    for (int i = 0; is_wanted && i < count; i++)
        is_wanted = learner_join__want(lane, LEARNER_KIND_USER, dues[i].user_id, 0);
    if (is_wanted && !learner_join__load_wanted(lane, err))
        return false;
    for (int i = 0; is_wanted && i < count; i++) {
        peek(lane, dues[i].user_id);
        for (int k = 0; is_wanted && k < lane->book.request_count; k++)
            is_wanted = learner_join__want(lane, LEARNER_KIND_ROWS, dues[i].user_id, lane->book.requests[k].request_id);
    }
    if (!is_wanted || lane->book.is_failed) {
        lane->key_count = 0;
        lane->book.is_failed = lane->is_failed = false;
        return fr_fail(err, FR_EXHAUSTED, "join: out of memory");
    }
    return learner_join__load_wanted(lane, err);
}

/* Puts back what was taken and could not be done. */
static void put_back(struct learner_join *join, const struct learner_due *dues, int count)
{
    for (int i = 0; i < count; i++)
        (void)learner_dues__put(&join->dues, dues[i].due_ms, dues[i].user_id);
}

static bool pass_some(struct learner_join_lane *lane, const struct learner_due *dues, int count, int64_t time_ms,
                      bool is_dropping, struct fr_err *err)
{
    struct learner_join *join = lane->join;
    struct store_visit visit = store_visit_enter(join->store);
    bool is_passed = load_users(lane, dues, count, err);

    if (!is_passed)
        put_back(join, dues, count);
    for (int i = 0; is_passed && i < count; i++) {
        store_gate_enter(join->store); /* one by one: an epoch need not wait for all of them */
        is_passed = pass_user(lane, &dues[i], time_ms, is_dropping, err) && learner_outbox__put(lane, err);
        store_gate_leave(join->store);
    }
    store_visit_leave(join->store, visit);
    learner_join__tell(lane);
    return is_passed;
}

bool learner_join_pass(struct learner_join_lane *lane, int64_t time_ms, int most, bool *is_more, struct fr_err *err)
{
    struct learner_join *join = lane->join;
    struct learner_due dues[USERS_AT_ONCE];
    int count = USERS_AT_ONCE;

    *is_more = false;
    if (time_ms > atomic_load(&join->time_ms))
        atomic_store(&join->time_ms, time_ms);
    for (int done = 0; count == USERS_AT_ONCE; done += count) {
        if (done >= most) {
            *is_more = true;
            return true;
        }
        count = learner_dues__take(&join->dues, time_ms, dues, USERS_AT_ONCE);
        if (count > 0 && !pass_some(lane, dues, count, time_ms, false, err))
            return false;
    }
    while (atomic_load_explicit(&join->waiting_bytes, memory_order_relaxed) > join->config->join_bytes) {
        count = learner_dues__take(&join->dues, INT64_MAX, dues, USERS_AT_ONCE);
        if (count == 0)
            break;
        if (!pass_some(lane, dues, count, 0, true, err))
            return false;
    }
    return true;
}
