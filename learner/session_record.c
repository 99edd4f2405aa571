/* A session as a record: its tokens in columns, which of them are positive, how frequent those items are, and which went together. */
#include "sessions.h"

#include <freshet/text.h>
#include <freshet/v1/event.pb-c.h>

#include <string.h>

uint64_t learner_session__id(uint64_t user_id, const struct learner_token *first, uint32_t part)
{
    uint64_t words[4] = {user_id, first->ts_ms, first->event_id, part};
    uint64_t id = fr_text_hash(words, sizeof words, 0);

    return id ? id : 1; /* 0 is none */
}

static double value_of(const struct learner_token *token)
{
    double value;

    memcpy(&value, &token->value, sizeof value);
    return value;
}

static bool is_positive(const struct learner_sessions *config, const struct learner_token *token)
{
    return token->item_id != 0 && (config->pair_actions >> token->action & 1) != 0 &&
           (token->action != FRESHET__V1__ACTION__WATCH || value_of(token) >= config->least_s);
}

static bool put_columns(const struct learner_token *tokens, size_t count, struct fr_arena *arena, Freshet__V1__Session *session)
{
    session->n_ts_ms = session->n_item_ids = session->n_creator_ids = session->n_category_ids = count;
    session->n_actions = session->n_values = session->n_scenes = session->n_request_ids = session->n_positions = count;
    session->ts_ms = fr_arena_take(arena, count * sizeof *session->ts_ms);
    session->item_ids = fr_arena_take(arena, count * sizeof *session->item_ids);
    session->creator_ids = fr_arena_take(arena, count * sizeof *session->creator_ids);
    session->category_ids = fr_arena_take(arena, count * sizeof *session->category_ids);
    session->request_ids = fr_arena_take(arena, count * sizeof *session->request_ids);
    session->values = fr_arena_take(arena, count * sizeof *session->values);
    session->actions = fr_arena_take(arena, count * sizeof *session->actions);
    session->scenes = fr_arena_take(arena, count * sizeof *session->scenes);
    session->positions = fr_arena_take(arena, count * sizeof *session->positions);
    if (!session->ts_ms || !session->item_ids || !session->creator_ids || !session->category_ids || !session->request_ids ||
        !session->values || !session->actions || !session->scenes || !session->positions)
        return false;
    for (size_t i = 0; i < count; i++) {
        session->ts_ms[i] = (int64_t)tokens[i].ts_ms;
        session->item_ids[i] = tokens[i].item_id;
        session->creator_ids[i] = tokens[i].creator_id;
        session->category_ids[i] = tokens[i].category_id;
        session->request_ids[i] = tokens[i].request_id;
        session->values[i] = value_of(&tokens[i]);
        session->actions[i] = (uint32_t)tokens[i].action;
        session->scenes[i] = (uint32_t)tokens[i].scene;
        session->positions[i] = (uint32_t)tokens[i].position;
    }
    return true;
}

/* Each positive is a step of the frequencies, in the order of the tokens. */
static bool put_positives(const struct learner_sessions *config, struct learner_frequency *frequency,
                          const struct learner_token *tokens, size_t count, struct fr_arena *arena,
                          Freshet__V1__Session *session)
{
    session->n_positive = session->n_log_frequency = count;
    session->positive = fr_arena_take_zeroed(arena, count, sizeof *session->positive);
    session->log_frequency = fr_arena_take_zeroed(arena, count, sizeof *session->log_frequency);
    if (!session->positive || !session->log_frequency)
        return false;
    for (size_t i = 0; i < count; i++) {
        session->positive[i] = is_positive(config, &tokens[i]);
        if (session->positive[i])
            session->log_frequency[i] = learner_frequency__note(frequency, tokens[i].item_id);
    }
    return true;
}

static bool put_pairs(const struct learner_sessions *config, size_t count, struct fr_arena *arena,
                      Freshet__V1__Session *session)
{
    size_t most = count * (size_t)config->within, pairs = 0;

    session->pair_first = fr_arena_take(arena, most * sizeof *session->pair_first);
    session->pair_second = fr_arena_take(arena, most * sizeof *session->pair_second);
    if (!session->pair_first || !session->pair_second)
        return false;
    for (size_t i = 0; i < count; i++) {
        for (size_t k = i + 1; session->positive[i] && k < count && k - i <= (size_t)config->within; k++) {
            if (!session->positive[k] || session->item_ids[i] == session->item_ids[k])
                continue;
            session->pair_first[pairs] = (uint32_t)i;
            session->pair_second[pairs++] = (uint32_t)k;
        }
    }
    session->n_pair_first = session->n_pair_second = pairs;
    return true;
}

bool learner_session__append(const struct learner_sessions *config, struct learner_frequency *frequency, uint64_t user_id,
                             const struct learner_session_book *book, const struct learner_session_part *part,
                             uint64_t session_id, struct fr_arena *arena, struct fr_buffer *chunk)
{
    Freshet__V1__Session session;

    fr_arena_reset(arena, 1 << 18);
    freshet__v1__session__init(&session);
    session.session_id = session_id;
    session.user_id = user_id;
    session.begin_ms = (int64_t)book->tokens[0].ts_ms;
    session.end_ms = (int64_t)book->tokens[part->count - 1].ts_ms;
    session.end = part->end;
    session.part = book->head.part;
    session.first_id = book->head.first_id ? book->head.first_id : session_id;
    session.tokens_before = book->head.tokens_before;
    if (!put_columns(book->tokens, part->count, arena, &session))
        return false;
    if (config->has_pairs && (!put_positives(config, frequency, book->tokens, part->count, arena, &session) ||
                              !put_pairs(config, part->count, arena, &session)))
        return false;
    if (config->has_slates && !learner_session__put_slates(book->tokens, part->count, arena, &session))
        return false;
    learner_outbox__append(chunk, 0, user_id, &session.base);
    return !chunk->is_failed;
}
