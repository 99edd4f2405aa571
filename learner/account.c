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

static bool is_over(const struct learner_join *join, const struct learner_impression *shown, int64_t clock_ms)
{
    return clock_ms - shown->shown_ms >= join->longest_ms;
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
            learner_labelled__task_due(lane, user_id, shown, task, end_ms, NULL);
    }
}

static void apply_outcome(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown,
                          const struct learner_happened *happened)
{
    lane->book.is_changed = true;
    make_over(lane, user_id, shown, happened->ts_ms);
    for (int task = 0; task < lane->join->task_count; task++) {
        struct learner_clockwork of = learner_labelled__clockwork(lane->join, shown, task);
        struct learner_made made;
        bool is_made;

        if (!learner_impression__is_of(lane->join, shown, task) || (of.task->actions >> happened->action & 1) == 0)
            continue;
        learner_join__count(lane, learner_policy__outcome(&of, &learner_book__states(shown)[task], happened, &made, &is_made));
        if (is_made)
            learner_labelled__note(lane, user_id, shown, task, &made, lane->at);
    }
}

static void take_outcome(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown,
                         const struct learner_happened *happened)
{
    if (happened->ts_ms < shown->shown_ms)
        learner_join__count(lane, LEARNER_LABEL_EARLY);
    else
        apply_outcome(lane, user_id, shown, happened);
}

static void apply_exit(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown, int64_t ts_ms)
{
    lane->book.is_changed = true;
    if (shown->models != 0)
        make_over(lane, user_id, shown, ts_ms);
    shown->exit_ms = ts_ms;
    shown->exit_place = lane->at;
    if (shown->models != 0)
        learner_labelled__due(lane, user_id, shown, INT64_MIN, &lane->at);
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

static struct learner_place later_of(struct learner_place a, struct learner_place b)
{
    return a.number > b.number ? a : b;
}

static void take_waiting(struct learner_join_lane *lane, uint64_t user_id, struct learner_impression *shown, int waiting)
{
    struct learner_outcome outcome = lane->book.outcomes[waiting];
    struct learner_happened happened = {.ts_ms = outcome.ts_ms, .action = outcome.action, .watched = outcome.watched};
    bool is_early = outcome.place.number < shown->place.number;

    learner_book__remove_outcome(&lane->book, waiting);
    lane->at = later_of(outcome.place, shown->place);
    if (is_early && learner_waiting__outcome_end(lane->join, &outcome) <= shown->place.ms)
        learner_waiting__tell_alone(lane, &outcome); /* it had waited too long when the impression came */
    else
        take_outcome(lane, user_id, shown, &happened);
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
    learner_labelled__due(lane, user_id, shown, shown->place.ms, &shown->place);
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

void learner_account__served(struct learner_join_lane *lane, uint64_t user_id, const struct learner_request *request)
{
    struct learner_book *book = &lane->book;
    struct learner_request *added;

    if (book->request_count >= LEARNER_REQUESTS_MAX) { /* the oldest; its impressions find no rows */
        learner_join__count(lane, LEARNER_DROPPED_ROOM);
        learner_waiting__note_gone(lane, user_id, book->requests[0].request_id);
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
        learner_waiting__drop_impression(lane, 0);
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

/* What was watched is kept where a task asks for it. */
static struct learner_happened happened_of(const struct learner_join *join, const struct proto_event *event)
{
    return (struct learner_happened){.ts_ms = event->ts_ms,
                                     .action = event->action,
                                     .watched = join->has_ranks ? (uint16_t)(1 + proto_event_watched(event)) : 0};
}

static void wait_outcome(struct learner_join_lane *lane, uint64_t request_id, const struct proto_event *event, bool is_told)
{
    struct learner_happened happened = happened_of(lane->join, event);
    struct learner_outcome *outcome;

    if (lane->book.outcome_count >= LEARNER_OUTCOMES_MAX)
        learner_waiting__drop_outcome(lane, 0);
    outcome = learner_book__add_outcome(&lane->book);
    if (outcome)
        *outcome = (struct learner_outcome){.request_id = request_id,
                                            .item_id = event->item_id,
                                            .ts_ms = happened.ts_ms,
                                            .action = happened.action,
                                            .is_told = is_told,
                                            .watched = happened.watched,
                                            .place = lane->at};
}

static void take_action(struct learner_join_lane *lane, const struct proto_event *event)
{
    struct learner_impression *shown = event->request_id != 0
                                           ? learner_book__impression(&lane->book, event->request_id, event->item_id)
                                           : latest_of(lane, event);

    struct learner_happened happened = happened_of(lane->join, event);
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
        take_outcome(lane, event->user_id, shown, &happened);
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
