/*
 * The last ten minutes, a sample a second, so that a page which was just opened shows where the node comes from. All of it is
 * on the operations loop, which takes the samples and prints them.
 */
#include "services.h"

#include <freshet/clock.h>

#include <inttypes.h>
#include <math.h>

enum { ARENA_BYTES = 1 << 20 };

static double count_dead(struct pipeline_history *history)
{
    uint64_t dead = 0;

    for (int verdict = PROTO_EMPTY; verdict < PROTO_VERDICTS; verdict++)
        dead += fr_counter_read(history->dead[verdict]);
    return (double)dead;
}

static void sample_models(struct pipeline_services *services, struct pipeline_sample *sample)
{
    struct fr_arena *arena = fr_arena_new(ARENA_BYTES);
    Freshet__V1__ModelState **models = NULL;
    size_t count = 0;
    int tasks = 0;

    if (arena)
        models = pipeline_models__states(services->models, -1, arena, &count);
    for (size_t i = 0; models && i < count; i++)
        for (size_t j = 0; j < models[i]->n_tasks && tasks < PIPELINE_HISTORY_TASKS; j++, tasks++) {
            const Freshet__V1__TaskState *task = models[i]->tasks[j];
            bool is_judged = task->examples > 0;

            sample->tasks[tasks][0] = is_judged ? (float)task->log_loss : NAN;
            sample->tasks[tasks][1] = is_judged ? (float)task->normalized_entropy : NAN;
            sample->tasks[tasks][2] = is_judged ? (float)task->calibration : NAN;
        }
    sample->task_count = tasks;
    fr_arena_free(arena);
}

void pipeline_history__init(struct pipeline_history *history, struct pipeline_services *services)
{
    history->services = services;
    for (int verdict = PROTO_EMPTY; verdict < PROTO_VERDICTS; verdict++)
        history->dead[verdict] = pipeline_outcome__counter(services->metrics, (enum proto_verdict)verdict);
}

void pipeline_history__tick(void *user)
{
    struct pipeline_history *history = user;
    struct pipeline_services *services = history->services;
    struct pipeline_sample *sample = &history->samples[history->taken++ % PIPELINE_HISTORY_SAMPLES];
    struct pipeline_lag lag = pipeline_stream__lag(services->stream);
    int64_t stream_time_ms = pipeline_stream__time(services->stream);
    struct store_stats stats;

    store_stats_read(services->store, &stats);
    *sample =
        (struct pipeline_sample){.at_ms = fr_clock_wall_ms(),
                                 .numbers = {[PIPELINE_HISTORY_APPLIED] = (double)pipeline_stream__records(services->stream),
                                             [PIPELINE_HISTORY_LAG] = (double)lag.events,
                                             [PIPELINE_HISTORY_STALE] = (double)lag.stale_ms,
                                             [PIPELINE_HISTORY_MEMORY] = (double)stats.total_bytes,
                                             [PIPELINE_HISTORY_DEAD] = count_dead(history)}};
    sample->numbers[PIPELINE_HISTORY_BEHIND] = stream_time_ms ? (double)(sample->at_ms - stream_time_ms) : NAN;
    sample_models(services, sample);
}

static const struct pipeline_sample *at(const struct pipeline_history *history, uint64_t index)
{
    return &history->samples[index % PIPELINE_HISTORY_SAMPLES];
}

static void put_number(struct fr_buffer *body, double value, const char *format)
{
    if (isfinite(value))
        fr_buffer_append_format(body, format, value);
    else
        fr_buffer_append_text(body, "null");
}

static void put_tasks(const struct pipeline_history *history, uint64_t first, struct fr_buffer *body)
{
    int tasks = history->taken > 0 ? at(history, history->taken - 1)->task_count : 0;

    fr_buffer_append_text(body, ",\"tasks\":[");
    for (int task = 0; task < tasks; task++) {
        fr_buffer_append_text(body, task > 0 ? ",[" : "[");
        for (int number = 0; number < PIPELINE_HISTORY_JUDGED; number++) {
            fr_buffer_append_text(body, number > 0 ? ",[" : "[");
            for (uint64_t i = first; i < history->taken; i++) {
                fr_buffer_append_text(body, i > first ? "," : "");
                put_number(body, at(history, i)->task_count > task ? (double)at(history, i)->tasks[task][number] : NAN, "%.5g");
            }
            fr_buffer_append_byte(body, ']');
        }
        fr_buffer_append_byte(body, ']');
    }
    fr_buffer_append_byte(body, ']');
}

/* Columns, oldest first; of each task, in the order of the status's models, log loss, normalised entropy and calibration. */
void pipeline_history__page(void *user, struct fr_buffer *body, const char **content_type, int *status)
{
    static const char *const names[PIPELINE_HISTORY_NUMBERS] = {
        [PIPELINE_HISTORY_APPLIED] = "applied",    [PIPELINE_HISTORY_LAG] = "lagEvents",
        [PIPELINE_HISTORY_STALE] = "staleMs",      [PIPELINE_HISTORY_BEHIND] = "behindMs",
        [PIPELINE_HISTORY_MEMORY] = "memoryBytes", [PIPELINE_HISTORY_DEAD] = "deadLetters",
    };
    const struct pipeline_history *history = user;
    uint64_t first = history->taken > PIPELINE_HISTORY_SAMPLES ? history->taken - PIPELINE_HISTORY_SAMPLES : 0;

    (void)status;
    *content_type = "application/json";
    fr_buffer_append_text(body, "{\"atMs\":[");
    for (uint64_t i = first; i < history->taken; i++)
        fr_buffer_append_format(body, "%s%" PRId64, i > first ? "," : "", at(history, i)->at_ms);
    for (int number = 0; number < PIPELINE_HISTORY_NUMBERS; number++) {
        fr_buffer_append_format(body, "],\"%s\":[", names[number]);
        for (uint64_t i = first; i < history->taken; i++) {
            fr_buffer_append_text(body, i > first ? "," : "");
            put_number(body, at(history, i)->numbers[number], "%.0f");
        }
    }
    fr_buffer_append_byte(body, ']');
    put_tasks(history, first, body);
    fr_buffer_append_text(body, "}\n");
}
