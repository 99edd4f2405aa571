/*
 * Feedback on slates: of each request that something of a record names, which items were shown, where, and what became of each. What names no
 * request is of the item's latest impression before it, as in the join.
 */
#include "sessions.h"

#include <freshet/v1/event.pb-c.h>

#include <stdlib.h>
#include <string.h>

struct place { /* a token and the slate that it is of */
    uint64_t request_id, item_id;
    uint32_t token;
};

static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    if (x->request_id != y->request_id)
        return x->request_id < y->request_id ? -1 : 1;
    if (x->item_id != y->item_id)
        return x->item_id < y->item_id ? -1 : 1;
    return x->token < y->token ? -1 : x->token > y->token;
}

static bool is_impression(const struct learner_token *token)
{
    return token->action == FRESHET__V1__ACTION__IMPRESSION;
}

/* 0: of none. */
static uint64_t request_of(const struct learner_token *tokens, uint32_t at)
{
    if (tokens[at].request_id != 0 || is_impression(&tokens[at]))
        return tokens[at].request_id;
    for (uint32_t i = at; i > 0; i--)
        if (is_impression(&tokens[i - 1]) && tokens[i - 1].item_id == tokens[at].item_id)
            return tokens[i - 1].request_id;
    return 0;
}

static size_t gather(const struct learner_token *tokens, uint32_t count, struct place *places)
{
    size_t found = 0;

    for (uint32_t i = 0; i < count; i++) {
        uint64_t request_id = tokens[i].item_id != 0 ? request_of(tokens, i) : 0;

        if (request_id != 0)
            places[found++] = (struct place){.request_id = request_id, .item_id = tokens[i].item_id, .token = i};
    }
    if (found > 1)
        qsort(places, found, sizeof *places, compare_places);
    return found;
}

static bool open_slate(Freshet__V1__Slate *slate, uint64_t request_id, size_t most, struct fr_arena *arena)
{
    freshet__v1__slate__init(slate);
    slate->request_id = request_id;
    slate->item_ids = fr_arena_take(arena, most * sizeof *slate->item_ids);
    slate->positions = fr_arena_take_zeroed(arena, most, sizeof *slate->positions);
    slate->shown_ms = fr_arena_take_zeroed(arena, most, sizeof *slate->shown_ms);
    slate->acted_ms = fr_arena_take_zeroed(arena, most, sizeof *slate->acted_ms);
    slate->actions = fr_arena_take_zeroed(arena, most, sizeof *slate->actions);
    slate->dwell_s = fr_arena_take_zeroed(arena, most, sizeof *slate->dwell_s);
    return slate->item_ids && slate->positions && slate->shown_ms && slate->acted_ms && slate->actions && slate->dwell_s;
}

/* One more token of the slate's last item. */
static void add_token(Freshet__V1__Slate *slate, size_t row, const struct learner_token *token)
{
    double value;

    memcpy(&value, &token->value, sizeof value);
    if (is_impression(token)) {
        if (slate->shown_ms[row] != 0)
            return; /* the first one counts */
        slate->shown_ms[row] = (int64_t)token->ts_ms;
        slate->positions[row] = (uint32_t)token->position;
        return;
    }
    slate->actions[row] |= UINT32_C(1) << token->action;
    if (slate->acted_ms[row] == 0)
        slate->acted_ms[row] = (int64_t)token->ts_ms;
    if (token->action == FRESHET__V1__ACTION__WATCH)
        slate->dwell_s[row] += value;
}

static void close_slate(Freshet__V1__Slate *slate, size_t rows)
{
    slate->n_item_ids = slate->n_positions = slate->n_shown_ms = slate->n_acted_ms = slate->n_actions = slate->n_dwell_s = rows;
}

/* places[0..count) of one request. */
static bool fill_slate(Freshet__V1__Slate *slate, const struct learner_token *tokens, const struct place *places, size_t count,
                       struct fr_arena *arena)
{
    size_t rows = 0;

    if (!open_slate(slate, places[0].request_id, count, arena))
        return false;
    for (size_t i = 0; i < count; i++) {
        if (rows == 0 || slate->item_ids[rows - 1] != places[i].item_id)
            slate->item_ids[rows++] = places[i].item_id;
        add_token(slate, rows - 1, &tokens[places[i].token]);
    }
    close_slate(slate, rows);
    return true;
}

bool learner_session__put_slates(const struct learner_token *tokens, uint32_t count, struct fr_arena *arena,
                                 Freshet__V1__Session *session)
{
    struct place *places = fr_arena_take(arena, count * sizeof *places);
    size_t found = places ? gather(tokens, count, places) : 0;
    Freshet__V1__Slate *slates = fr_arena_take(arena, (found + 1) * sizeof *slates);

    session->slates = fr_arena_take(arena, (found + 1) * sizeof *session->slates);
    if (!places || !slates || !session->slates)
        return false;
    for (size_t first = 0, end; first < found; first = end) {
        Freshet__V1__Slate *slate = &slates[session->n_slates];

        for (end = first + 1; end < found && places[end].request_id == places[first].request_id;)
            end++;
        if (!fill_slate(slate, tokens, places + first, end - first, arena))
            return false;
        session->slates[session->n_slates++] = slate;
    }
    return true;
}
