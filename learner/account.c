/*
 * What happens to a user's account: rows arrive, impressions, outcomes, exits, and time passes. An outcome counts for an impression whose
 * rows are there; until then it waits, so that it does not matter which of the three came first. Each change may make examples,
 * which are noted with the labels as they are at that moment.
 *
 * How far time has passed when an event comes is chance, so nothing is judged by it: an event finds what it would find had time passed
 * to just its place. What is over by then is over for it, and what was due before it is made without it.
 */
#include "join.h"

#include <freshet/text.h>
#include <freshet/v1/event.pb-c.h>

#include <stdlib.h>
#include <string.h>

static struct learner_clockwork clockwork_of(const struct learner_join *join, const struct learner_impression *shown, int task)
{
    struct learner_clockwork of = {.task = join->tasks[task].task, .shown_ms = shown->shown_ms, .exit_ms = shown->exit_ms};
    uint64_t words[2] = {shown->request_id, shown->item_id};

    if (of.task->policy == LEARNER_SLIVER)
        of.seed = fr_text_hash(words, sizeof words, 0);
    return of;
}

static bool is_of(const struct learner_join *join, const struct learner_impression *shown, int task)
{
    return (shown->models >> join->tasks[task].model & 1) != 0;
}

static bool is_over(const struct learner_join *join, const struct learner_impression *shown, int64_t clock_ms)
{
    return clock_ms - shown->shown_ms >= join->longest_all_ms;
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

static void note(struct learner_join_lane *lane, uint64_t user_id, const struct learner_impression *shown, int task,
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
static void make_task_due(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown, int task,
                          int64_t time_ms, const struct learner_place *at)
{
    struct learner_clockwork of;
    struct learner_made made;

    if (!is_of(lane->join, shown, task) || learner_book__states(shown)[task].is_done)
        return;
    of = clockwork_of(lane->join, shown, task);
    while (learner_policy__due(&of, &learner_book__states(shown)[task], time_ms, &made))
        note(lane, user_id, shown, task, &made, at ? *at : learner_place__of_step(made.at_ms));
}

static void make_due(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown, int64_t time_ms,
                     const struct learner_place *at)
{
    for (int task = 0; task < lane->join->task_count; task++)
        make_task_due(lane, user_id, shown, task, time_ms, at);
}

/*
 * An event of ts_ms comes when some windows are over by the log's clock: theirs is made without it. Windows that were over before ts_ms
 * need not be looked at, as nothing of theirs looks at what is later.
 */
static void make_over(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown, int64_t ts_ms)
{
    for (int task = 0; task < lane->join->task_count; task++) {
        int64_t end_ms = shown->shown_ms + lane->join->tasks[task].task->window_ms;

        if (end_ms <= lane->at.ms && end_ms >= ts_ms)
            make_task_due(lane, user_id, shown, task, end_ms, NULL);
    }
}

static void apply_outcome(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown, uint64_t action,
                          int64_t ts_ms)
{
    lane->book.is_changed = true;
    make_over(lane, user_id, shown, ts_ms);
    for (int task = 0; task < lane->join->task_count; task++) {
        struct learner_clockwork of = clockwork_of(lane->join, shown, task);
        struct learner_made made;
        bool is_made;

        if (!is_of(lane->join, shown, task) || (of.task->actions >> action & 1) == 0)
            continue;
        learner_join__count(lane, learner_policy__outcome(&of, &learner_book__states(shown)[task], ts_ms, &made, &is_made));
        if (is_made)
            note(lane, user_id, shown, task, &made, lane->at);
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

static void apply_exit(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown, int64_t ts_ms)
{
    lane->book.is_changed = true;
    if (shown->models != 0)
        make_over(lane, user_id, shown, ts_ms);
    shown->exit_ms = ts_ms;
    shown->exit_place = lane->at;
    if (shown->models != 0)
        make_due(lane, user_id, shown, INT64_MIN, &lane->at);
}

/* The first of those that waited for this impression. */
static int find_waiting(const struct learner_book *book, const struct learner_impression *shown)
{
    int found = -1;

    for (int i = 0; i < book->outcome_count; i++) {
        const struct learner_outcome *outcome = &book->outcomes[i];

        if (outcome->request_id == shown->request_id && outcome->item_id == shown->item_id &&
            (found < 0 || outcome->place.number < book->outcomes[found].place.number))
            found = i;
    }
    return found;
}

static int64_t outcome_end(const struct learner_join *join, const struct learner_outcome *outcome)
{
    return outcome->place.ms + join->config->serve_ttl_ms;
}

static void tell_alone(struct learner_join_lane *lane, const struct learner_outcome *outcome)
{
    if (!outcome->is_told)
        learner_join__count(lane, LEARNER_LABEL_ALONE);
}

static struct learner_place later_of(struct learner_place a, struct learner_place b)
{
    return a.number > b.number ? a : b;
}

static void take_waiting(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown, int waiting)
{
    struct learner_outcome outcome = lane->book.outcomes[waiting];
    bool is_early = outcome.place.number < shown->place.number;

    learner_book__remove_outcome(&lane->book, waiting);
    lane->at = later_of(outcome.place, shown->place);
    if (is_early && outcome_end(lane->join, &outcome) <= shown->place.ms)
        tell_alone(lane, &outcome); /* it had waited too long when the impression came */
    else
        take_outcome(lane, user_id, shown, outcome.action, outcome.ts_ms);
}

/*
 * The rows of an impression are there: what waited for that is done where it lies, in the order in which it came, so that all is as if
 * they had been there from the first.
 */
static void match(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown,
                  struct learner_request *request)
{
    int64_t apart_ms = shown->shown_ms - request->served_ms, ttl_ms = lane->join->config->serve_ttl_ms;
    struct learner_place exit_place = shown->exit_place;
    int64_t exit_ms = shown->exit_ms;
    int waiting;

    if (apart_ms > ttl_ms || -apart_ms > ttl_ms || shown->place.ms - request->served_ms > ttl_ms)
        return;
    shown->models = request->models;
    shown->exit_ms = 0;
    request->is_seen = 1;
    lane->book.is_changed = true;
    lane->at = shown->place;
    make_due(lane, user_id, shown, shown->place.ms, &shown->place);
    while ((waiting = find_waiting(&lane->book, shown)) >= 0 || exit_ms != 0) {
        if (waiting >= 0 && (exit_ms == 0 || lane->book.outcomes[waiting].place.number < exit_place.number)) {
            take_waiting(lane, user_id, shown, waiting);
            continue;
        }
        lane->at = exit_place;
        apply_exit(lane, user_id, shown, exit_ms);
        exit_ms = 0;
    }
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
    struct learner_impression *shown = learner_book__impression(book, event->request_id, event->item_id);

    if (shown && !is_over(lane->join, shown, lane->at.ms)) {
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
    shown->place = lane->at;
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

        if (is_there && event->ts_ms >= shown->shown_ms && shown->exit_ms == 0 && !is_over(lane->join, shown, lane->at.ms))
            apply_exit(lane, event->user_id, shown, event->ts_ms);
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

        if (shown->item_id != event->item_id || shown->shown_ms > event->ts_ms || lane->at.ms - shown->shown_ms >= longest_ms)
            continue;
        if (!latest || shown->shown_ms > latest->shown_ms ||
            (shown->shown_ms == latest->shown_ms && shown->request_id > latest->request_id))
            latest = shown;
    }
    return latest;
}

static void drop_outcome(struct learner_join_lane *lane, int i)
{
    tell_alone(lane, &lane->book.outcomes[i]);
    learner_book__remove_outcome(&lane->book, i);
}

static void wait_outcome(struct learner_join_lane *lane, uint64_t request_id, const struct proto_event *event, bool is_told)
{
    struct learner_outcome *outcome;

    if (lane->book.outcome_count >= LEARNER_OUTCOMES_MAX)
        drop_outcome(lane, 0);
    outcome = learner_book__add_outcome(&lane->book);
    if (outcome)
        *outcome = (struct learner_outcome){.request_id = request_id,
                                            .item_id = event->item_id,
                                            .ts_ms = event->ts_ms,
                                            .action = event->action,
                                            .is_told = is_told,
                                            .place = lane->at};
}

static void take_action(struct learner_join_lane *lane, const struct proto_event *event)
{
    struct learner_impression *shown = event->request_id != 0
                                           ? learner_book__impression(&lane->book, event->request_id, event->item_id)
                                           : latest_of(lane, event);

    bool is_late = shown && is_over(lane->join, shown, lane->at.ms);

    if (is_late) {
        learner_join__count(lane, LEARNER_LABEL_LATE);
        shown = NULL; /* as if it were gone already */
    }
    if (!shown && event->request_id == 0)
        learner_join__count(lane, LEARNER_LABEL_ALONE);
    else if (!shown || shown->models == 0)
        wait_outcome(lane, shown ? shown->request_id : event->request_id, event, is_late);
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

/* One without rows stays at least as long, because it can be the latest impression of its item, and rows may come late. */
static int64_t end_of(const struct learner_join *join, const struct learner_impression *shown)
{
    int64_t ttl_ms = shown->models == 0 ? join->config->serve_ttl_ms : 0;

    return shown->shown_ms + (ttl_ms > join->longest_all_ms ? ttl_ms : join->longest_all_ms);
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

        if (is_of(join, shown, task) && !learner_book__states(shown)[task].is_done && shown->shown_ms + of->window_ms < due_ms)
            due_ms = shown->shown_ms + of->window_ms;
    }
    return due_ms;
}

/* An impression may still come at the last moment of the ttl. */
static int64_t rows_end(const struct learner_join *join, const struct learner_request *request)
{
    return request->served_ms + join->config->serve_ttl_ms + 1;
}

struct learner_place learner_account__due(const struct learner_join_lane *lane)
{
    const struct learner_book *book = &lane->book;
    struct learner_place due;
    int64_t due_ms = INT64_MAX;

    for (int i = 0; i < book->impression_count; i++) {
        int64_t at_ms = due_of(lane->join, learner_book__at(book, i));

        due_ms = at_ms < due_ms ? at_ms : due_ms;
    }
    for (int i = 0; i < book->outcome_count; i++) {
        int64_t at_ms = outcome_end(lane->join, &book->outcomes[i]);

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

/* What is held up to a place is an example now. */
static void release(struct learner_join_lane *lane, uint64_t user_id, struct learner_place until)
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

static void pass_impressions(struct learner_join_lane *lane, uint64_t user_id, int64_t time_ms, bool is_dropping)
{
    for (int i = 0; i < lane->book.impression_count;) {
        struct learner_impression *shown = learner_book__at(&lane->book, i);

        if (!is_dropping && shown->models != 0)
            make_due(lane, user_id, shown, time_ms, NULL);
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

void learner_account__pass(struct learner_join_lane *lane, uint64_t user_id, struct learner_place until, bool is_dropping)
{
    int64_t time_ms = until.ms - until.ms % LEARNER_STEP_MS; /* what is due is due at the ends of steps */
    struct learner_book *book = &lane->book;

    lane->is_passing = true;
    release(lane, user_id, until);
    if (until.number == 0)
        pass_impressions(lane, user_id, time_ms, is_dropping);
    lane->is_passing = false;
    if (until.number > 0) /* what an event did: time has done all before that */
        return;
    for (int i = 0; i < book->outcome_count;) {
        if (outcome_end(lane->join, &book->outcomes[i]) > time_ms) {
            i++;
            continue;
        }
        drop_outcome(lane, i);
    }
    for (int i = 0; i < book->request_count;) {
        const struct learner_request *request = &book->requests[i];

        if (rows_end(lane->join, request) > time_ms || is_needed(book, request->request_id)) {
            i++;
            continue;
        }
        if (!request->is_seen)
            learner_join__count(lane, LEARNER_ROWS_UNSEEN);
        note_gone(lane, user_id, request->request_id);
        learner_book__remove_request(book, i);
    }
}
