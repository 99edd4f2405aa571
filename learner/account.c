/*
 * What happens to a user's account: rows arrive, impressions, outcomes, exits, and time passes. An outcome counts for an impression whose
 * rows are there; until then it waits, so that it does not matter which of the three came first. Each change may make examples,
 * which are noted with the labels as they are at that moment.
 */
#include "join.h"

#include <freshet/text.h>
#include <freshet/v1/event.pb-c.h>

#include <stdlib.h>
#include <string.h>

static struct learner_clockwork clockwork_of(const struct learner_join *join, const struct learner_impression *shown, int task)
{
    uint64_t words[2] = {shown->request_id, shown->item_id};

    return (struct learner_clockwork){.task = join->tasks[task].task,
                                      .shown_ms = shown->shown_ms,
                                      .exit_ms = shown->exit_ms,
                                      .seed = fr_text_hash(words, sizeof words, 0)};
}

static bool is_of(const struct learner_join *join, const struct learner_impression *shown, int task)
{
    return (shown->models >> join->tasks[task].model & 1) != 0;
}

static void note(struct learner_join_lane *lane, uint64_t user_id, const struct learner_impression *shown, int task,
                 const struct learner_made *made)
{
    struct learner_labelled *labelled;

    if (lane->labelled_count == lane->labelled_capacity) {
        int capacity = lane->labelled_capacity ? 2 * lane->labelled_capacity : 64;
        struct learner_labelled *grown = reallocarray(lane->labelled, (size_t)capacity, sizeof *grown);

        if (!grown) {
            lane->is_failed = true;
            return;
        }
        lane->labelled = grown;
        lane->labelled_capacity = capacity;
    }
    labelled = &lane->labelled[lane->labelled_count];
    labelled->doing = lane->doing;
    labelled->number = lane->labelled_count++;
    labelled->task = task;
    labelled->user_id = user_id;
    labelled->made = *made;
    labelled->shown = *shown;
    memcpy(labelled->states, learner_book__states(shown), (size_t)lane->join->task_count * sizeof *labelled->states);
}

/* Makes what is due of an impression by time_ms. */
static void make_due(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown, int64_t time_ms)
{
    for (int task = 0; task < lane->join->task_count; task++) {
        struct learner_clockwork of = clockwork_of(lane->join, shown, task);
        struct learner_made made;

        while (is_of(lane->join, shown, task) && learner_policy__due(&of, &learner_book__states(shown)[task], time_ms, &made))
            note(lane, user_id, shown, task, &made);
    }
}

static void apply_outcome(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown, uint64_t action,
                          int64_t ts_ms)
{
    lane->book.is_changed = true;
    for (int task = 0; task < lane->join->task_count; task++) {
        struct learner_clockwork of = clockwork_of(lane->join, shown, task);
        struct learner_made made;
        bool is_made;

        if (!is_of(lane->join, shown, task) || (of.task->actions >> action & 1) == 0)
            continue;
        learner_join__count(lane, learner_policy__outcome(&of, &learner_book__states(shown)[task], ts_ms, &made, &is_made));
        if (is_made)
            note(lane, user_id, shown, task, &made);
    }
}

static void take_outcome(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown, uint64_t action,
                         int64_t ts_ms)
{
    if (ts_ms < shown->shown_ms)
        learner_join__count(lane, LEARNER_LABEL_EARLY);
    else
        apply_outcome(lane, user_id, shown, action, ts_ms);
}

/* The earliest of those that waited for this impression. */
static int find_waiting(const struct learner_book *book, const struct learner_impression *shown)
{
    int found = -1;

    for (int i = 0; i < book->outcome_count; i++) {
        const struct learner_outcome *outcome = &book->outcomes[i];

        if (outcome->request_id == shown->request_id && outcome->item_id == shown->item_id &&
            (found < 0 || outcome->ts_ms < book->outcomes[found].ts_ms))
            found = i;
    }
    return found;
}

/* The rows of an impression are there: what waited for that is done, outcomes first, because the exit is known already. */
static void match(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown,
                  struct learner_request *request)
{
    int64_t apart_ms = shown->shown_ms - request->served_ms;
    int waiting;

    if (apart_ms > lane->join->config->serve_ttl_ms || -apart_ms > lane->join->config->serve_ttl_ms)
        return;
    shown->models = request->models;
    request->is_seen = 1;
    lane->book.is_changed = true;
    while ((waiting = find_waiting(&lane->book, shown)) >= 0) {
        struct learner_outcome outcome = lane->book.outcomes[waiting];

        learner_book__remove_outcome(&lane->book, waiting);
        take_outcome(lane, user_id, shown, outcome.action, outcome.ts_ms);
    }
    make_due(lane, user_id, shown, INT64_MIN);
}

static void note_gone(struct learner_join_lane *lane, uint64_t user_id, uint64_t request_id)
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

static void drop_impression(struct learner_join_lane *lane, int i)
{
    learner_join__count(lane, LEARNER_DROPPED_ROOM);
    learner_book__remove_impression(&lane->book, i);
}

void learner_account__served(struct learner_join_lane *lane, uint64_t user_id, const struct learner_request *request)
{
    struct learner_book *book = &lane->book;
    struct learner_request *added;

    if (book->request_count >= LEARNER_REQUESTS_MAX) { /* the oldest; its impressions find no rows */
        learner_join__count(lane, LEARNER_DROPPED_ROOM);
        note_gone(lane, user_id, book->requests[0].request_id);
        learner_book__remove_request(book, 0);
    }
    added = learner_book__add_request(book);
    if (!added)
        return;
    *added = *request;
    learner_join__count(lane, LEARNER_ROWS_TAKEN);
    for (int i = 0; i < book->impression_count; i++) {
        struct learner_impression *shown = learner_book__at(book, i);

        if (shown->request_id == request->request_id && shown->models == 0)
            match(lane, user_id, shown, added);
    }
}

static void take_impression(struct learner_join_lane *lane, const struct proto_event *event)
{
    struct learner_book *book = &lane->book;
    struct learner_request *request;
    struct learner_impression *shown;

    if (learner_book__impression(book, event->request_id, event->item_id)) {
        learner_join__count(lane, LEARNER_IMPRESSION_DUPLICATE);
        return;
    }
    if (book->impression_count >= LEARNER_IMPRESSIONS_MAX)
        drop_impression(lane, 0);
    shown = learner_book__add_impression(book);
    if (!shown)
        return;
    shown->request_id = event->request_id;
    shown->item_id = event->item_id;
    shown->shown_ms = event->ts_ms;
    shown->room_id = event->room_id;
    shown->creator_id = event->creator_id;
    shown->category_id = event->category_id;
    shown->position = event->position;
    shown->propensity = event->propensity;
    shown->scene = event->scene;
    learner_join__count(lane, LEARNER_IMPRESSION);
    request = learner_book__request(book, event->request_id);
    if (request)
        match(lane, event->user_id, shown, request);
}

static void take_exit(struct learner_join_lane *lane, const struct proto_event *event)
{
    for (int i = 0; i < lane->book.impression_count; i++) {
        struct learner_impression *shown = learner_book__at(&lane->book, i);
        bool is_there = shown->room_id == 0 || event->room_id == 0 || shown->room_id == event->room_id;

        if (!is_there || event->ts_ms < shown->shown_ms || (shown->exit_ms > 0 && shown->exit_ms <= event->ts_ms))
            continue;
        shown->exit_ms = event->ts_ms;
        lane->book.is_changed = true;
        if (shown->models != 0)
            make_due(lane, event->user_id, shown, INT64_MIN);
    }
}

static int64_t longest_window(const struct learner_join *join, uint64_t action)
{
    int64_t longest_ms = 0;

    for (int task = 0; task < join->task_count; task++) {
        const struct learner_task *of = join->tasks[task].task;

        if ((of->actions >> action & 1) != 0 && of->window_ms > longest_ms)
            longest_ms = of->window_ms;
    }
    return longest_ms;
}

/* Of an outcome that names no request: the latest impression of the item before it. */
static struct learner_impression *latest_of(const struct learner_join_lane *lane, const struct proto_event *event)
{
    int64_t longest_ms = longest_window(lane->join, event->action);
    struct learner_impression *latest = NULL;

    for (int i = 0; i < lane->book.impression_count; i++) {
        struct learner_impression *shown = learner_book__at(&lane->book, i);

        if (shown->item_id != event->item_id || shown->shown_ms > event->ts_ms || event->ts_ms - shown->shown_ms >= longest_ms)
            continue;
        if (!latest || shown->shown_ms > latest->shown_ms ||
            (shown->shown_ms == latest->shown_ms && shown->request_id > latest->request_id))
            latest = shown;
    }
    return latest;
}

static void wait_outcome(struct learner_join_lane *lane, uint64_t request_id, const struct proto_event *event)
{
    struct learner_outcome *outcome;

    if (lane->book.outcome_count >= LEARNER_OUTCOMES_MAX) {
        learner_join__count(lane, LEARNER_LABEL_ALONE);
        learner_book__remove_outcome(&lane->book, 0);
    }
    outcome = learner_book__add_outcome(&lane->book);
    if (outcome)
        *outcome = (struct learner_outcome){
            .request_id = request_id, .item_id = event->item_id, .ts_ms = event->ts_ms, .action = event->action};
}

static void take_action(struct learner_join_lane *lane, const struct proto_event *event)
{
    struct learner_impression *shown = event->request_id != 0
                                           ? learner_book__impression(&lane->book, event->request_id, event->item_id)
                                           : latest_of(lane, event);

    if (!shown && event->request_id == 0)
        learner_join__count(lane, LEARNER_LABEL_ALONE);
    else if (!shown || shown->models == 0)
        wait_outcome(lane, shown ? shown->request_id : event->request_id, event);
    else
        take_outcome(lane, event->user_id, shown, event->action, event->ts_ms);
}

void learner_account__event(struct learner_join_lane *lane, const struct proto_event *event)
{
    if (event->action == FRESHET__V1__ACTION__IMPRESSION && event->request_id != 0 && event->item_id != 0)
        take_impression(lane, event);
    if (event->action == FRESHET__V1__ACTION__LEAVE_ROOM && lane->join->has_sliver)
        take_exit(lane, event);
    if ((lane->join->actions >> event->action & 1) != 0 && event->item_id != 0)
        take_action(lane, event);
}

/* ---- time ---- */

static int64_t end_of(const struct learner_join *join, const struct learner_impression *shown)
{
    int64_t longest_ms = shown->models == 0 ? join->config->serve_ttl_ms : 0;

    /* One without rows stays as long as it can be the latest impression of its item: whether rows come late must not matter. */
    for (int model = 0; model < join->config->model_count; model++)
        if ((shown->models == 0 || (shown->models >> model & 1) != 0) && join->longest_ms[model] > longest_ms)
            longest_ms = join->longest_ms[model];
    return shown->shown_ms + longest_ms;
}

static bool is_needed(const struct learner_book *book, uint64_t request_id)
{
    for (int i = 0; i < book->impression_count; i++) {
        const struct learner_impression *shown = learner_book__at(book, i);

        if (shown->request_id == request_id && shown->models != 0)
            return true;
    }
    return false;
}

/* When something is to be made of an impression, or it may go. */
static int64_t due_of(const struct learner_join *join, const struct learner_impression *shown)
{
    int64_t due_ms = end_of(join, shown);

    for (int task = 0; task < join->task_count; task++) {
        const struct learner_task *of = join->tasks[task].task;

        if (is_of(join, shown, task) && !learner_book__states(shown)[task].is_done && shown->shown_ms + of->window_ms < due_ms)
            due_ms = shown->shown_ms + of->window_ms;
    }
    return due_ms;
}

int64_t learner_account__due(const struct learner_join_lane *lane)
{
    const struct learner_book *book = &lane->book;
    int64_t ttl_ms = lane->join->config->serve_ttl_ms, due_ms = INT64_MAX;

    for (int i = 0; i < book->impression_count; i++) {
        int64_t at_ms = due_of(lane->join, learner_book__at(book, i));

        due_ms = at_ms < due_ms ? at_ms : due_ms;
    }
    for (int i = 0; i < book->outcome_count; i++)
        due_ms = book->outcomes[i].ts_ms + ttl_ms < due_ms ? book->outcomes[i].ts_ms + ttl_ms : due_ms;
    for (int i = 0; i < book->request_count; i++) {
        int64_t at_ms = book->requests[i].served_ms + ttl_ms;

        if (at_ms < due_ms && !is_needed(book, book->requests[i].request_id))
            due_ms = at_ms;
    }
    return due_ms;
}

static void pass_impressions(struct learner_join_lane *lane, uint64_t user_id, int64_t time_ms, bool is_dropping)
{
    for (int i = 0; i < lane->book.impression_count;) {
        struct learner_impression *shown = learner_book__at(&lane->book, i);

        if (!is_dropping && shown->models != 0)
            make_due(lane, user_id, shown, time_ms);
        if (is_dropping ? due_of(lane->join, shown) > time_ms : end_of(lane->join, shown) > time_ms) {
            i++;
            continue;
        }
        if (is_dropping) {
            drop_impression(lane, i);
            continue;
        }
        if (shown->models == 0)
            learner_join__count(lane, LEARNER_IMPRESSION_UNSERVED);
        learner_book__remove_impression(&lane->book, i);
    }
}

void learner_account__pass(struct learner_join_lane *lane, uint64_t user_id, int64_t time_ms, bool is_dropping)
{
    struct learner_book *book = &lane->book;
    int64_t ttl_ms = lane->join->config->serve_ttl_ms;

    pass_impressions(lane, user_id, time_ms, is_dropping);
    for (int i = 0; i < book->outcome_count;) {
        if (book->outcomes[i].ts_ms + ttl_ms > time_ms) {
            i++;
            continue;
        }
        learner_join__count(lane, LEARNER_LABEL_ALONE);
        learner_book__remove_outcome(book, i);
    }
    for (int i = 0; i < book->request_count;) {
        const struct learner_request *request = &book->requests[i];

        if (request->served_ms + ttl_ms > time_ms || is_needed(book, request->request_id)) {
            i++;
            continue;
        }
        if (!request->is_seen)
            learner_join__count(lane, LEARNER_ROWS_UNSEEN);
        note_gone(lane, user_id, request->request_id);
        learner_book__remove_request(book, i);
    }
}
