/*
 * The label policies. Each impression of a row goes through one of them per task:
 *
 *   wait        one example when the window is over
 *   fnw         a negative at once, and a positive when there is an outcome
 *   sliver      a positive for each sliver of 30 s that has an outcome, a negative when the user leaves without any
 *   first_only  a positive at the first outcome, or a negative when the window is over
 *
 * A window is [shown, shown + window): by the time its end is reached, all that belongs to it has been seen, in order.
 */
#include "join.h"

static int64_t end_of(const struct learner_clockwork *of)
{
    return of->shown_ms + of->task->window_ms;
}

/* When nothing more can come: the end of the window; of slivers also when the user left. */
static int64_t last_of(const struct learner_clockwork *of)
{
    bool has_left = of->task->policy == LEARNER_SLIVER && of->exit_ms > 0 && of->exit_ms < end_of(of);

    return has_left ? of->exit_ms : end_of(of);
}

/* The first sliver is cut short at random, so that not all users' slivers begin with the impression. */
static int32_t sliver_of(const struct learner_clockwork *of, int64_t ts_ms)
{
    int64_t begin_ms = of->shown_ms + (int64_t)(of->seed % LEARNER_SLIVER_MS);

    return ts_ms < begin_ms ? 0 : (int32_t)(1 + (ts_ms - begin_ms) / LEARNER_SLIVER_MS);
}

/* The earliest; of one moment the first that came. */
static void note(const struct learner_clockwork *of, struct learner_label_state *state, const struct learner_happened *happened)
{
    if (state->label_ms != 0 && happened->ts_ms >= state->label_ms)
        return;
    state->label_ms = happened->ts_ms;
    state->watched = of->task->is_watch_rank ? happened->watched : 0;
}

static void make_positive(const struct learner_clockwork *of, uint32_t step, int64_t ts_ms, struct learner_made *made)
{
    *made = (struct learner_made){.step = step, .is_positive = true, .delay_ms = ts_ms - of->shown_ms, .at_ms = ts_ms};
}

enum learner_counted learner_policy__outcome(const struct learner_clockwork *of, struct learner_label_state *state,
                                             const struct learner_happened *happened, struct learner_made *made, bool *is_made)
{
    bool is_first = state->label_ms == 0;
    int64_t ts_ms = happened->ts_ms;
    int32_t sliver;

    *is_made = false;
    if (ts_ms >= end_of(of) || ts_ms > last_of(of))
        return LEARNER_LABEL_LATE;
    if (state->is_done)
        return is_first ? LEARNER_LABEL_LATE : LEARNER_LABEL_DUPLICATE;
    note(of, state, happened);
    switch (of->task->policy) {
    case LEARNER_WAIT:
        break;
    case LEARNER_FNW:
        make_positive(of, 1, ts_ms, made);
        *is_made = (state->steps & 2) == 0;
        state->steps |= 2;
        state->is_done = state->steps == 3;
        break;
    case LEARNER_FIRST_ONLY:
        make_positive(of, 0, ts_ms, made);
        *is_made = true;
        state->is_done = true;
        break;
    case LEARNER_SLIVER:
        sliver = sliver_of(of, ts_ms);
        if (sliver < state->sliver)
            return LEARNER_LABEL_DUPLICATE; /* of a sliver that had its positive, or is behind one that had */
        state->sliver = sliver + 1;
        make_positive(of, (uint32_t)sliver, ts_ms, made);
        *is_made = true;
        return LEARNER_LABEL;
    }
    return is_first ? LEARNER_LABEL : LEARNER_LABEL_DUPLICATE;
}

static bool sliver_due(const struct learner_clockwork *of, struct learner_label_state *state, int64_t time_ms,
                       struct learner_made *made)
{
    int64_t exit_ms = last_of(of);

    if (state->is_done || (exit_ms != of->exit_ms && time_ms < exit_ms)) /* one that was told needs no time to pass */
        return false;
    state->is_done = true;
    *made =
        (struct learner_made){.step = (uint32_t)sliver_of(of, exit_ms), .delay_ms = exit_ms - of->shown_ms, .at_ms = exit_ms};
    return state->label_ms == 0;
}

bool learner_policy__due(const struct learner_clockwork *of, struct learner_label_state *state, int64_t time_ms,
                         struct learner_made *made)
{
    bool is_over = time_ms >= end_of(of);

    switch (of->task->policy) {
    case LEARNER_SLIVER:
        return sliver_due(of, state, time_ms, made);
    case LEARNER_FNW:
        if ((state->steps & 1) == 0) {
            state->steps |= 1;
            state->is_done = state->steps == 3;
            *made = (struct learner_made){.at_ms = of->shown_ms};
            return true;
        }
        state->is_done = state->is_done || is_over;
        return false;
    case LEARNER_WAIT:
    case LEARNER_FIRST_ONLY:
        break;
    }
    if (state->is_done || !is_over)
        return false;
    state->is_done = true;
    *made = (struct learner_made){.step = of->task->policy == LEARNER_FIRST_ONLY,
                                  .is_positive = state->label_ms > 0,
                                  .delay_ms = state->label_ms > 0 ? state->label_ms - of->shown_ms : of->task->window_ms,
                                  .at_ms = end_of(of)};
    return true;
}

bool learner_policy__is_final(const struct learner_clockwork *of, const struct learner_label_state *state, int64_t at_ms,
                              bool *is_positive, int64_t *delay_ms)
{
    *is_positive = state->label_ms > 0 && state->label_ms <= at_ms;
    *delay_ms = (*is_positive ? state->label_ms : last_of(of)) - of->shown_ms;
    return *is_positive || at_ms >= last_of(of);
}
