/*
 * The account of a user: tokens in their order, whichever way they came, until time has passed the end of the session that they make.
 * Where sessions end is reckoned from the tokens each time, so no order of arrival shows.
 */
#include "sessions.h"

#include <stdlib.h>
#include <string.h>

enum { TOKEN_WORDS = sizeof(struct learner_token) / sizeof(uint64_t), CAPACITY_LEAST = 64 };

static int compare(const struct learner_token *a, const struct learner_token *b)
{
    const uint64_t *x = (const uint64_t *)a, *y = (const uint64_t *)b;

    for (int i = 0; i < TOKEN_WORDS; i++)
        if (x[i] != y[i])
            return x[i] < y[i] ? -1 : 1;
    return 0;
}

static bool grow(struct learner_session_book *book, uint32_t count)
{
    uint32_t capacity = book->capacity ? book->capacity : CAPACITY_LEAST;
    struct learner_token *grown;

    while (capacity < count)
        capacity *= 2;
    if (capacity == book->capacity)
        return true;
    grown = reallocarray(book->tokens, capacity, sizeof *grown);
    if (!grown) {
        book->is_failed = true;
        return false;
    }
    book->tokens = grown;
    book->capacity = capacity;
    return true;
}

bool learner_sessions_is_good(struct fr_slice bytes)
{
    struct learner_session_head head;

    if (bytes.length < sizeof head)
        return false;
    memcpy(&head, bytes.bytes, sizeof head);
    return head.format == LEARNER_SESSION_FORMAT && head.token_count > 0 &&
           bytes.length == sizeof head + head.token_count * sizeof(struct learner_token);
}

void learner_session_book__read(struct learner_session_book *book, struct fr_slice bytes)
{
    book->is_changed = book->is_failed = false;
    book->head = (struct learner_session_head){.format = LEARNER_SESSION_FORMAT, .scheduled_ms = INT64_MAX};
    if (bytes.length == 0)
        return;
    memcpy(&book->head, bytes.bytes, sizeof book->head);
    if (grow(book, book->head.token_count))
        memcpy(book->tokens, (const uint8_t *)bytes.bytes + sizeof book->head, book->head.token_count * sizeof *book->tokens);
}

uint32_t learner_session_book__bytes(const struct learner_session_book *book)
{
    return book->head.token_count ? (uint32_t)(sizeof book->head + book->head.token_count * sizeof *book->tokens) : 0;
}

void learner_session_book__write(const struct learner_session_book *book, void *bytes)
{
    memcpy(bytes, &book->head, sizeof book->head);
    memcpy((uint8_t *)bytes + sizeof book->head, book->tokens, book->head.token_count * sizeof *book->tokens);
}

bool learner_session_book__add(struct learner_session_book *book, const struct learner_token *token)
{
    uint32_t at = book->head.token_count;

    if (book->head.first_id != 0 && compare(token, &book->head.after) <= 0)
        return false;
    if (!grow(book, at + 1))
        return true;
    while (at > 0 && compare(token, &book->tokens[at - 1]) < 0)
        at--;
    memmove(&book->tokens[at + 1], &book->tokens[at], (book->head.token_count - at) * sizeof *token);
    book->tokens[at] = *token;
    book->head.token_count++;
    book->is_changed = true;
    return true;
}

/*
 * Ended, by a gap or because the next token is not in it, when time is a gap further: whatever is late by no more than that has come and is
 * where it belongs.
 */
struct learner_session_part learner_session_book__part(const struct learner_session_book *book,
                                                       const struct learner_sessions *config)
{
    const struct learner_token *tokens = book->tokens;
    struct learner_session_part part = {.count = 1, .end = FRESHET__V1__SESSION_END__GAP};

    for (; part.count < book->head.token_count; part.count++) {
        const struct learner_token *next = &tokens[part.count];

        if (next->ts_ms - tokens[part.count - 1].ts_ms > (uint64_t)config->gap_ms)
            break;
        if (part.count == config->tokens)
            part.end = FRESHET__V1__SESSION_END__FULL;
        else if (next->ts_ms - tokens[0].ts_ms > (uint64_t)config->duration_ms)
            part.end = FRESHET__V1__SESSION_END__LONG;
        if (part.end != FRESHET__V1__SESSION_END__GAP) {
            part.due_ms = (int64_t)next->ts_ms + config->gap_ms + 1;
            return part;
        }
    }
    part.due_ms = (int64_t)tokens[part.count - 1].ts_ms + config->gap_ms + 1;
    return part;
}

void learner_session_book__take(struct learner_session_book *book, const struct learner_session_part *part, uint64_t session_id)
{
    struct learner_session_head *head = &book->head;

    if (part->end == FRESHET__V1__SESSION_END__GAP) {
        head->first_id = 0;
        head->part = head->tokens_before = 0;
    } else {
        head->first_id = head->first_id ? head->first_id : session_id;
        head->after = book->tokens[part->count - 1];
        head->tokens_before += part->count;
        head->part++;
    }
    head->token_count -= part->count;
    memmove(book->tokens, book->tokens + part->count, head->token_count * sizeof *book->tokens);
    book->is_changed = true;
}
