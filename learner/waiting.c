/* How long what is in an account waits, and what becomes of it as time passes. */
#include "join.h"

#include <stdlib.h>

void learner_waiting__note_gone(struct learner_join_lane *lane, uint64_t user_id, uint64_t request_id)
{
    if (lane->gone_count == lane->gone_capacity) {
        int capacity = lane->gone_capacity ? 2 * lane->gone_capacity : 64;
        struct learner_gone *grown = reallocarray(lane->gone, (size_t)capacity, sizeof *grown);

        if (!grown) {
            lane->is_failed = true;
            return;
        }
        lane->gone = grown;
        lane->gone_capacity = capacity;
    }
    lane->gone[lane->gone_count++] = (struct learner_gone){.user_id = user_id, .request_id = request_id};
}

void learner_waiting__drop_impression(struct learner_join_lane *lane, int i)
{
    learner_join__count(lane, LEARNER_DROPPED_ROOM);
    learner_book__remove_impression(&lane->book, i);
}

int64_t learner_waiting__outcome_end(const struct learner_join *join, const struct learner_outcome *outcome)
{
    return outcome->place.ms + join->config->serve_ttl_ms;
}

void learner_waiting__tell_alone(struct learner_join_lane *lane, const struct learner_outcome *outcome)
{
    if (!outcome->is_told)
        learner_join__count(lane, LEARNER_LABEL_ALONE);
}

void learner_waiting__drop_outcome(struct learner_join_lane *lane, int i)
{
    learner_waiting__tell_alone(lane, &lane->book.outcomes[i]);
    learner_book__remove_outcome(&lane->book, i);
}

/* One without rows stays at least as long, because it can be the latest impression of its item, and rows may come late. */
static int64_t end_of(const struct learner_join *join, const struct learner_impression *shown)
{
    int64_t ttl_ms = shown->models == 0 ? join->config->serve_ttl_ms : 0;

    return shown->shown_ms + (ttl_ms > join->longest_ms ? ttl_ms : join->longest_ms);
}

static bool is_needed(const struct learner_book *book, uint64_t request_id)
{
    for (int i = 0; i < book->impression_count; i++) {
        const struct learner_impression *shown = learner_book__at(book, i);

        if (shown->request_id == request_id && shown->models != 0)
            return true;
    }
    for (int i = 0; i < book->held_count; i++)
        if (learner_book__held_at(book, i)->shown.request_id == request_id)
            return true;
    return false;
}

/* When something is to be made of an impression, or it may go. */
static int64_t due_of(const struct learner_join *join, const struct learner_impression *shown)
{
    int64_t due_ms = end_of(join, shown);

    for (int task = 0; task < join->task_count; task++) {
        const struct learner_task *of = join->tasks[task].task;

        if (learner_impression__is_of(join, shown, task) && !learner_book__states(shown)[task].is_done &&
            shown->shown_ms + of->window_ms < due_ms)
            due_ms = shown->shown_ms + of->window_ms;
    }
    return due_ms;
}

/* An impression may still come at the last moment of the ttl. */
static int64_t rows_end(const struct learner_join *join, const struct learner_request *request)
{
    return request->served_ms + join->config->serve_ttl_ms + 1;
}

struct learner_place learner_waiting__due(const struct learner_join_lane *lane)
{
    const struct learner_book *book = &lane->book;
    struct learner_place due;
    int64_t due_ms = INT64_MAX;

    for (int i = 0; i < book->impression_count; i++) {
        int64_t at_ms = due_of(lane->join, learner_book__at(book, i));

        due_ms = at_ms < due_ms ? at_ms : due_ms;
    }
    for (int i = 0; i < book->outcome_count; i++) {
        int64_t at_ms = learner_waiting__outcome_end(lane->join, &book->outcomes[i]);

        due_ms = at_ms < due_ms ? at_ms : due_ms;
    }
    for (int i = 0; i < book->request_count; i++) {
        int64_t at_ms = rows_end(lane->join, &book->requests[i]);

        if (at_ms < due_ms && !is_needed(book, book->requests[i].request_id))
            due_ms = at_ms;
    }
    due = learner_place__of_step(due_ms);
    for (int i = 0; i < book->held_count; i++)
        if (learner_place__precedes(learner_book__held_at(book, i)->place, due))
            due = learner_book__held_at(book, i)->place;
    return due;
}

static void pass_impressions(struct learner_join_lane *lane, uint64_t user_id, int64_t time_ms, bool is_dropping)
{
    for (int i = 0; i < lane->book.impression_count;) {
        struct learner_impression *shown = learner_book__at(&lane->book, i);

        if (!is_dropping && shown->models != 0)
            learner_labelled__due(lane, user_id, shown, time_ms, NULL);
        if (is_dropping ? due_of(lane->join, shown) > time_ms : end_of(lane->join, shown) > time_ms) {
            i++;
            continue;
        }
        if (is_dropping) {
            learner_waiting__drop_impression(lane, i);
            continue;
        }
        if (shown->models == 0)
            learner_join__count(lane, LEARNER_IMPRESSION_UNSERVED);
        learner_book__remove_impression(&lane->book, i);
    }
}

void learner_waiting__pass(struct learner_join_lane *lane, uint64_t user_id, struct learner_place until, bool is_dropping)
{
    int64_t time_ms = until.ms - until.ms % LEARNER_STEP_MS; /* what is due is due at the ends of steps */
    struct learner_book *book = &lane->book;

    lane->is_passing = true;
    learner_labelled__release(lane, user_id, until);
    if (until.number == 0)
        pass_impressions(lane, user_id, time_ms, is_dropping);
    lane->is_passing = false;
    if (until.number > 0) /* what an event did: time has done all before that */
        return;
    for (int i = 0; i < book->outcome_count;) {
        if (learner_waiting__outcome_end(lane->join, &book->outcomes[i]) > time_ms) {
            i++;
            continue;
        }
        learner_waiting__drop_outcome(lane, i);
    }
    for (int i = 0; i < book->request_count;) {
        const struct learner_request *request = &book->requests[i];

        if (rows_end(lane->join, request) > time_ms || is_needed(book, request->request_id)) {
            i++;
            continue;
        }
        if (!request->is_seen)
            learner_join__count(lane, LEARNER_ROWS_UNSEEN);
        learner_waiting__note_gone(lane, user_id, request->request_id);
        learner_book__remove_request(book, i);
    }
}
