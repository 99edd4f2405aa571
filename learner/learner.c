/*
 * The learner's thread: takes batches, pushes and orders from one bounded queue in turn, and between them publishes versions and writes
 * files when they are due.
 */
#include "line.h"

#include <freshet/clock.h>
#include <freshet/log.h>
#include <freshet/queue.h>

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>

enum {
    QUEUE_MESSAGES = 32,
    IDLE_MS = 1000, /* between looks at the clock without models */
    SETTLE_MS = 20, /* between looks whether a file may take its place */
};

enum message_kind { MESSAGE_BATCH, MESSAGE_PUSH, MESSAGE_ORDER };

struct message { /* a batch's is freed by the learner, the others' by who waits for the answer */
    enum message_kind kind;
    struct learner_batch *batch;
    int model;
    const struct learner_push *push;
    struct learner_pushed *pushed;
    enum learner_order order;
    struct fr_queue *answers;
    struct fr_err *err;
    bool is_done;
};

struct learner {
    const struct learner_config *config;
    const struct learner_schema *schemas;
    struct learner_line *lines[LEARNER_MODELS_MAX][2]; /* live, shadow or NULL */
    struct fr_queue *queue;
    int64_t position; /* at open */
    _Atomic int64_t durable;
    atomic_int holds; /* of files */
    pthread_t thread;
    bool is_started;
};

struct learner_line *learner__line(struct learner *learner, int model, bool is_shadow)
{
    return learner->lines[model][is_shadow];
}

static struct learner_line *line_at(const struct learner *learner, int index)
{
    return learner->lines[index / 2][index % 2];
}

/* ---- batches ---- */

bool learner_learn(struct learner *learner, struct learner_batch **batch, int timeout_ms)
{
    struct message *message = calloc(1, sizeof *message);
    void *sent = message;

    if (!message)
        return false;
    message->kind = MESSAGE_BATCH;
    message->batch = *batch;
    if (!fr_queue_send(learner->queue, &sent, timeout_ms)) {
        free(message);
        return false;
    }
    *batch = NULL;
    return true;
}

int64_t learner_position(const struct learner *learner)
{
    return learner->position;
}

void learner_durable(struct learner *learner, int64_t position)
{
    atomic_store(&learner->durable, position);
}

void learner_hold(struct learner *learner)
{
    atomic_fetch_add(&learner->holds, 1);
}

void learner_release(struct learner *learner)
{
    atomic_fetch_sub(&learner->holds, 1);
}

/* What files may have learned to take their place now: nothing while they are held. */
static int64_t durable_now(const struct learner *learner)
{
    return atomic_load(&learner->holds) > 0 ? INT64_MIN : atomic_load(&learner->durable);
}

int64_t learner_durable_position(const struct learner *learner)
{
    int64_t least = INT64_MAX;

    for (int i = 0; i < 2 * learner->config->model_count; i++) {
        if (line_at(learner, i)) {
            int64_t saved = atomic_load(&line_at(learner, i)->saved_position);

            least = saved < least ? saved : least;
        }
    }
    return least == INT64_MAX ? 0 : least;
}

/* ---- the thread ---- */

static void learn_batch(struct learner *learner, struct learner_batch *batch)
{
    const struct learner_example *examples[LEARNER_BATCH_EXAMPLES];

    for (int index = 0; index < 2 * learner->config->model_count; index++) {
        struct learner_line *line = line_at(learner, index);
        int count = 0;

        if (!line || (batch->position > 0 && batch->position <= line->position))
            continue; /* its file has it already */
        for (int i = 0; i < batch->count; i++) {
            if (batch->examples[i].model == index / 2)
                examples[count++] = &batch->examples[i];
        }
        learner_line__learn(line, examples, count);
        if (batch->position > line->position)
            line->position = batch->position;
    }
    learner_batch_free(batch);
}

static bool follow_push(struct learner *learner, struct message *message)
{
    struct learner_line *line = learner->lines[message->model][0];
    int side;

    if (!learner_push__apply(line, message->push, message->pushed, message->err))
        return false;
    learner_line__publish(line);
    message->pushed->version = learner_serving__enter(&line->serving, &side)->version;
    learner_serving__leave(&line->serving, side);
    return true;
}

static bool follow_order(struct learner *learner, const struct message *message)
{
    struct learner_line **pair = learner->lines[message->model], *live = pair[0], *shadow = pair[1];

    switch (message->order) {
    case LEARNER_FREEZE:
        return learner_pair__freeze(pair, true, message->err);
    case LEARNER_THAW:
        return learner_pair__freeze(pair, false, message->err);
    case LEARNER_ROLLBACK:
        return learner_line__rollback(live, message->err) && learner_line__save(live, true, message->err);
    case LEARNER_SAVE:
        return learner_line__save(live, true, message->err) && (!shadow || learner_line__save(shadow, true, message->err));
    case LEARNER_KEEP:
        return learner_pair__settle(pair, durable_now(learner), message->err);
    case LEARNER_PROMOTE:
        break;
    }
    if (shadow)
        return learner_line__promote(live, shadow, message->err);
    if (live->is_frozen)
        return learner_pair__freeze(pair, false, message->err);
    return fr_fail(message->err, FR_PRECONDITION,
                   "model '%s' has no shadow to promote; add `shadow` to it in the configuration", live->model->name);
}

static void follow(struct learner *learner, struct message *message)
{
    void *answer = message;

    switch (message->kind) {
    case MESSAGE_BATCH:
        learn_batch(learner, message->batch);
        free(message);
        return;
    case MESSAGE_PUSH:
        message->is_done = follow_push(learner, message);
        break;
    case MESSAGE_ORDER:
        message->is_done = follow_order(learner, message);
        break;
    }
    (void)fr_queue_send(message->answers, &answer, -1); /* it has room for the one */
}

static void tell(const struct fr_err *err)
{
    static struct fr_log_place place;

    fr_log_limited(&place, 4, FR_LOG_WARN, "learner", "%s", err->message);
}

static void save(struct learner_line *line)
{
    struct fr_err err;

    if (!learner_line__save(line, false, &err))
        tell(&err);
}

/* Files that wait take their place when they may; whether some wait on. */
static bool settle_all(struct learner *learner)
{
    int64_t durable = durable_now(learner);
    bool is_waiting = false;

    for (int i = 0; i < learner->config->model_count; i++) {
        struct fr_err err;

        if (!learner_pair__is_durable(learner->lines[i], durable))
            is_waiting = true;
        else if (!learner_pair__settle(learner->lines[i], durable, &err))
            tell(&err);
    }
    return is_waiting;
}

/* What is due now; returns how long until the next. */
static int tend(struct learner *learner)
{
    int64_t now_ms = fr_clock_monotonic_ms(), next_ms = now_ms + IDLE_MS;

    for (int i = 0; i < 2 * learner->config->model_count; i++) {
        struct learner_line *line = line_at(learner, i);

        if (!line)
            continue;
        if (line->is_pending && line->next_publish_ms <= now_ms)
            learner_line__publish(line);
        if (line->is_dirty && !line->is_waiting && line->next_save_ms <= now_ms)
            save(line);
        if (line->is_pending && line->next_publish_ms < next_ms)
            next_ms = line->next_publish_ms;
    }
    if (settle_all(learner) && now_ms + SETTLE_MS < next_ms)
        next_ms = now_ms + SETTLE_MS;
    next_ms -= fr_clock_monotonic_ms();
    return next_ms > 0 ? (int)next_ms : 0;
}

/* The last files: what is not durable is not kept, and learned again. */
static void save_all(struct learner *learner)
{
    for (int i = 0; i < 2 * learner->config->model_count; i++) {
        if (line_at(learner, i) && line_at(learner, i)->is_dirty)
            save(line_at(learner, i));
    }
    (void)settle_all(learner);
}

static void *run(void *user)
{
    struct learner *learner = user;
    void *message = NULL;

    for (;;) {
        int wait_ms = tend(learner);

        if (fr_queue_receive(learner->queue, &message, wait_ms))
            follow(learner, message);
        else if (fr_queue_is_closed(learner->queue) && fr_queue_length(learner->queue) == 0)
            break;
    }
    save_all(learner);
    return NULL;
}

/* ---- open and close ---- */

static bool open_lines(struct learner *learner, const struct learner_options *options, struct fr_err *err)
{
    learner->position = INT64_MAX;
    atomic_store(&learner->durable, options->durable);
    for (int i = 0; i < learner->config->model_count; i++) {
        if (!learner_pair__open(learner->lines[i], i, options, err))
            return false;
        for (int k = 0; k < 2; k++) {
            if (learner->lines[i][k] && learner->lines[i][k]->position < learner->position)
                learner->position = learner->lines[i][k]->position;
        }
    }
    if (learner->position == INT64_MAX)
        learner->position = 0;
    return true;
}

bool learner_open(const struct learner_options *options, struct learner **ret, struct fr_err *err)
{
    struct learner *learner = calloc(1, sizeof *learner);
    bool ok = learner != NULL;

    if (!ok)
        return fr_fail(err, FR_EXHAUSTED, "learner: out of memory");
    learner->config = options->config;
    learner->schemas = options->schemas;
    learner->queue = fr_queue_new(QUEUE_MESSAGES);
    ok = learner->queue || fr_fail(err, FR_EXHAUSTED, "learner: out of memory");
    if (ok && options->directory && mkdir(options->directory, 0700) != 0 && errno != EEXIST)
        ok = fr_fail(err, FR_BAD_CONFIG, "learner: cannot make '%s': %s", options->directory, strerror(errno));
    ok = ok && open_lines(learner, options, err);
    if (ok) {
        learner->is_started = pthread_create(&learner->thread, NULL, run, learner) == 0;
        ok = learner->is_started || fr_fail(err, FR_EXHAUSTED, "learner: no thread can be started");
    }
    if (!ok) {
        learner_close(learner);
        return false;
    }
    *ret = learner;
    return true;
}

void learner_close(struct learner *learner)
{
    if (!learner)
        return;
    if (learner->queue) {
        fr_queue_close(learner->queue);
        if (learner->is_started)
            pthread_join(learner->thread, NULL);
        fr_queue_free(learner->queue);
    }
    for (int i = 0; i < 2 * LEARNER_MODELS_MAX; i++) {
        if (learner->lines[i / 2][i % 2]) {
            learner_line__close(learner->lines[i / 2][i % 2]);
            free(learner->lines[i / 2][i % 2]);
        }
    }
    free(learner);
}

/* ---- calls that wait for the thread ---- */

static bool ask(struct learner *learner, struct message *message, struct fr_err *err)
{
    void *sent = message, *answer = NULL;
    bool is_answered;

    message->answers = fr_queue_new(1);
    message->err = err;
    if (!message->answers)
        return fr_fail(err, FR_EXHAUSTED, "learner: out of memory");
    is_answered = fr_queue_send(learner->queue, &sent, -1) && fr_queue_receive(message->answers, &answer, -1);
    fr_queue_close(message->answers);
    fr_queue_free(message->answers);
    if (!is_answered)
        return fr_fail(err, FR_UNAVAILABLE, "the node is shutting down; ask another one or retry");
    return message->is_done;
}

bool learner_push(struct learner *learner, int model, const struct learner_push *push, struct learner_pushed *pushed,
                  struct fr_err *err)
{
    struct message message = {.kind = MESSAGE_PUSH, .model = model, .push = push, .pushed = pushed};

    return ask(learner, &message, err);
}

bool learner_order(struct learner *learner, int model, enum learner_order order, struct fr_err *err)
{
    struct message message = {.kind = MESSAGE_ORDER, .model = model, .order = order};

    return ask(learner, &message, err);
}

bool learner_state(struct learner *learner, int model, bool is_shadow, struct learner_state *state)
{
    struct learner_line *line = learner->lines[model][is_shadow];
    const struct learner_copy *copy;
    int side;

    if (!line)
        return false;
    copy = learner_serving__enter(&line->serving, &side);
    *state = copy->state;
    state->version = copy->version;
    state->published_ms = copy->published_ms;
    state->coordinates = copy->rows;
    learner_serving__leave(&line->serving, side);
    return true;
}
