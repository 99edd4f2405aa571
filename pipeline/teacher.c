/*
 * The outbox's way to the learner: chunks in the order of their positions, as soon as they are made, whether their epoch is durable and
 * Kafka is there or not. What is learned ahead of the epoch is in memory only: a model's file waits for it (learner_durable()), so a crash
 * that takes chunks away takes what was learned of them, too, and their positions may be given out again.
 */
#include "internal.h"

#include <freshet/log.h>
#include <freshet/message.h>

#include <math.h>

enum {
    TICK_MS = 5, /* from a chunk's making to its learning, most of the time */
    RETRY_MS = 500,
    CHUNKS_AT_ONCE = 64,
    LEARN_MS = 200, /* that the learner may be behind, before it is looked whether to stop */
    EXAMPLE_BYTES = 4 << 20,
};

/* Into the batch, when the configuration still has its task. */
static bool add_example(struct pipeline_teacher *teacher, struct learner_batch *batch, const struct learner_outbox_entry *entry,
                        struct fr_err *err)
{
    const Freshet__V1__Example *example;
    const struct learner_task *task;
    struct learner_example learned;
    int model, number;

    if (!learner_join_task(teacher->join, entry, &model, &number))
        return true;
    fr_arena_reset(teacher->arena, EXAMPLE_BYTES / 16);
    example = (const Freshet__V1__Example *)proto_unpack(&freshet__v1__example__descriptor, entry->wire, teacher->arena, err);
    if (!example)
        return false;
    task = &teacher->config->learner->models[model].tasks[number];
    learned = (struct learner_example){.example_id = example->example_id,
                                       .model = model,
                                       .task = number,
                                       .served_ms = example->served_ms,
                                       .dense = example->dense,
                                       .sparse = example->sparse,
                                       .dense_count = (int)example->n_dense,
                                       .sparse_count = (int)example->n_sparse,
                                       .label = example->labels[0]->value,
                                       .weight = example->labels[0]->weight,
                                       .log_rate = (float)log(task->negatives)};
    return learner_batch_add(batch, &learned) || fr_fail(err, FR_EXHAUSTED, "outbox: out of memory for a batch of examples");
}

/* One chunk is one batch: its position says how far the model has come. */
static bool teach_chunk(struct pipeline_teacher *teacher, bool *is_taken, struct fr_err *err)
{
    struct learner_batch *batch = learner_batch_new(teacher->next);
    struct fr_reader reader = fr_reader(fr_buffer_slice(&teacher->chunk));
    struct learner_outbox_entry entry;
    bool is_read = batch != NULL || fr_fail(err, FR_EXHAUSTED, "outbox: out of memory for a batch of examples");

    while (is_read && learner_outbox_next(&reader, &entry))
        is_read = add_example(teacher, batch, &entry, err);
    *is_taken = is_read && (learner_batch_count(batch) == 0 || learner_learn(teacher->learner, &batch, LEARN_MS));
    learner_batch_free(batch);
    return is_read;
}

/*
 * A position is given out before its chunk is there: an empty one that no epoch covers is awaited, whatever comes behind it. What an epoch
 * covers and is empty was deleted, or could not be written.
 */
static bool teach_some(struct pipeline_teacher *teacher, bool *is_more, struct fr_err *err)
{
    int64_t durable = atomic_load(teacher->durable), end = learner_join_stats(teacher->join).next_position;
    bool is_taken = true;

    for (int i = 0; i < CHUNKS_AT_ONCE && teacher->next < end && !fr_queue_is_closed(teacher->stop); i++) {
        if (!learner_outbox_read(learner_join_outbox(teacher->join), teacher->next, &teacher->chunk, err))
            return false;
        if (teacher->chunk.length == 0 && teacher->next >= durable)
            break;
        if (!teach_chunk(teacher, &is_taken, err))
            return false;
        if (!is_taken)
            break;
        teacher->next++;
        *is_more = i + 1 == CHUNKS_AT_ONCE;
    }
    return true;
}

static void *run(void *user)
{
    struct pipeline_teacher *teacher = user;
    static struct fr_log_place place;
    bool is_more = false;
    void *nothing;

    while (!fr_queue_is_closed(teacher->stop)) {
        struct fr_err err;

        if (!is_more)
            (void)fr_queue_receive(teacher->stop, &nothing, TICK_MS);
        is_more = false;
        if (teach_some(teacher, &is_more, &err))
            continue;
        fr_log_limited(&place, 6, FR_LOG_WARN, "pipeline", "examples wait to be learned: %s", err.message);
        (void)fr_queue_receive(teacher->stop, &nothing, RETRY_MS);
    }
    return NULL;
}

bool pipeline_teacher__start(struct pipeline_teacher *teacher, struct fr_err *err)
{
    int64_t first = learner_outbox_first(learner_join_outbox(teacher->join));

    teacher->next = learner_position(teacher->learner) + 1;
    if (teacher->next < first)
        teacher->next = first;
    teacher->arena = fr_arena_new(EXAMPLE_BYTES);
    teacher->stop = fr_queue_new(1);
    fr_buffer_init(&teacher->chunk);
    if (!teacher->stop || !teacher->arena)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: out of memory for examples");
    if (pthread_create(&teacher->thread, NULL, run, teacher) != 0)
        return fr_fail(err, FR_EXHAUSTED, "pipeline: cannot start the teacher's thread; raise the limit of threads");
    pthread_setname_np(teacher->thread, "teacher");
    teacher->is_started = true;
    return true;
}

void pipeline_teacher__stop(struct pipeline_teacher *teacher)
{
    if (teacher->stop)
        fr_queue_close(teacher->stop);
    if (teacher->is_started)
        pthread_join(teacher->thread, NULL);
    teacher->is_started = false;
    if (teacher->stop)
        fr_queue_free(teacher->stop);
    teacher->stop = NULL;
    fr_buffer_fini(&teacher->chunk);
    fr_arena_free(teacher->arena);
    teacher->arena = NULL;
}
