/* The words of a condition, one at a time, and the same condition in one spelling. */
#ifndef FRESHET_AGGREGATORS_WHERE_TOKENS_H
#define FRESHET_AGGREGATORS_WHERE_TOKENS_H

#include <freshet/buffer.h>
#include <freshet/error.h>

enum agg_token {
    AGG_TOKEN_END,
    AGG_TOKEN_NUMBER,
    AGG_TOKEN_TEXT,
    AGG_TOKEN_WORD,
    AGG_TOKEN_ATTRIBUTE,
    AGG_TOKEN_JOINED,
    AGG_TOKEN_SIGN
};

struct agg_where_tokens {
    const char *from, *at, *end;
    enum agg_token kind;
    struct fr_slice text; /* of a word, a text without quotes, an attribute's key, a sign in its first spelling */
    double number;
    int start; /* its first byte in the condition */
    struct fr_buffer *canonical;
};

void agg_where_tokens__init(struct agg_where_tokens *tokens, struct fr_slice text, struct fr_buffer *canonical);
/* The next one into `kind` … `start`. The message tells a character that begins none. */
FR_CHECKED bool agg_where_tokens__next(struct agg_where_tokens *tokens, struct fr_err *err);

#endif
