/*
 * Examples to be: what a policy makes of an impression is noted with all that is known of it at that moment. In a batch a model whose order
 * is the log's has it held in the account until time comes to its place; all else goes to the lane, which makes examples of it when
 * accounts are unlocked.
 */
#include "join.h"

#include <freshet/text.h>

#include <stdlib.h>
#include <string.h>

struct learner_clockwork learner_labelled__clockwork(const struct learner_join *join, const struct learner_impression *shown,
                                                     int task)
{
    struct learner_clockwork of = {.task = join->tasks[task].task, .shown_ms = shown->shown_ms, .exit_ms = shown->exit_ms};
    uint64_t words[2] = {shown->request_id, shown->item_id};

    if (of.task->policy == LEARNER_SLIVER)
        of.seed = fr_text_hash(words, sizeof words, 0);
    return of;
}

/* Room for one more, which is not counted yet; NULL when out of memory. */
static struct learner_labelled *next_labelled(struct learner_join_lane *lane)
{
    if (lane->labelled_count == lane->labelled_capacity) {
        int capacity = lane->labelled_capacity ? 2 * lane->labelled_capacity : 64;
        struct learner_labelled *grown = reallocarray(lane->labelled, (size_t)capacity, sizeof *grown);

        if (!grown) {
            lane->is_failed = true;
            return NULL;
        }
        lane->labelled = grown;
        lane->labelled_capacity = capacity;
    }
    return &lane->labelled[lane->labelled_count];
}

/* It leaves when time comes to its place. What would be sampled out then need not wait. */
static void hold(struct learner_join_lane *lane, const struct learner_labelled *labelled)
{
    const struct learner_any_task *task = &lane->join->tasks[labelled->task];
    struct learner_held *held;

    if (!labelled->made.is_positive && task->task->negatives < 1 &&
        !learner_example__is_kept(learner_example__id(labelled, lane->join->config->models[task->model].name, task->task->name),
                                  task->task->negatives)) {
        learner_join__count(lane, LEARNER_SAMPLED_OUT);
        return;
    }
    held = learner_book__add_held(&lane->book);
    if (!held)
        return;
    held->place = labelled->place;
    held->made.step = labelled->made.step; /* one by one: what lies between them stays zero */
    held->made.is_positive = labelled->made.is_positive;
    held->made.delay_ms = labelled->made.delay_ms;
    held->made.at_ms = labelled->made.at_ms;
    held->task = (uint64_t)labelled->task;
    held->shown = labelled->shown;
    memcpy(learner_book__held_states(held), labelled->states, (size_t)lane->join->task_count * sizeof *labelled->states);
}

void learner_labelled__note(struct learner_join_lane *lane, uint64_t user_id, const struct learner_impression *shown, int task,
                            const struct learner_made *made, struct learner_place place)
{
    struct learner_labelled *labelled = next_labelled(lane);
    bool is_ordered = (lane->join->ordered >> lane->join->tasks[task].model & 1) != 0;

    if (!labelled)
        return;
    labelled->doing = lane->doing;
    labelled->number = lane->labelled_count;
    labelled->place = place;
    labelled->task = task;
    labelled->user_id = user_id;
    labelled->made = *made;
    labelled->shown = *shown;
    memcpy(labelled->states, learner_book__states(shown), (size_t)lane->join->task_count * sizeof *labelled->states);
    if (is_ordered && !lane->is_passing)
        hold(lane, labelled);
    else
        lane->labelled_count++;
}

/* Makes what is due of an impression and task by time_ms: where the event at `at` lies; where it is NULL, at the end of the step. */
void learner_labelled__task_due(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown, int task,
                                int64_t time_ms, const struct learner_place *at)
{
    struct learner_clockwork of;
    struct learner_made made;

    if (!learner_impression__is_of(lane->join, shown, task) || learner_book__states(shown)[task].is_done)
        return;
    of = learner_labelled__clockwork(lane->join, shown, task);
    while (learner_policy__due(&of, &learner_book__states(shown)[task], time_ms, &made))
        learner_labelled__note(lane, user_id, shown, task, &made, at ? *at : learner_place__of_step(made.at_ms));
}

void learner_labelled__due(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown, int64_t time_ms,
                           const struct learner_place *at)
{
    for (int task = 0; task < lane->join->task_count; task++)
        learner_labelled__task_due(lane, user_id, shown, task, time_ms, at);
}

/* What is held up to a place is an example now. */
void learner_labelled__release(struct learner_join_lane *lane, uint64_t user_id, struct learner_place until)
{
    for (int i = 0; i < lane->book.held_count;) {
        const struct learner_held *held = learner_book__held_at(&lane->book, i);
        struct learner_labelled *labelled = next_labelled(lane);

        if (!labelled)
            return;
        if (learner_place__precedes(until, held->place)) {
            i++;
            continue;
        }
        labelled->doing = 0;
        labelled->number = lane->labelled_count++;
        labelled->place = held->place;
        labelled->task = (int)held->task;
        labelled->user_id = user_id;
        labelled->made = held->made;
        labelled->shown = held->shown;
        memcpy(labelled->states, learner_book__held_states(held), (size_t)lane->join->task_count * sizeof *labelled->states);
        learner_book__remove_held(&lane->book, i);
    }
}
