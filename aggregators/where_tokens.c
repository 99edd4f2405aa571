/*
 * A condition's text cut into words. Every token goes to `canonical` in its one spelling, so that a definition does not change with
 * blanks, case or × for *.
 */
#include "where_tokens.h"

#include <freshet/event.h>
#include <freshet/text.h>

static const struct {
    const char *written, *meant;
} signs[] = {
    /* Longer ones first. */
    {"==", "=="}, {"!=", "!="}, {"<>", "!="}, {"<=", "<="}, {">=", ">="}, {"≤", "<="}, {"≥", ">="}, {"≠", "!="},
    {"×", "*"},   {"÷", "/"},   {"−", "-"},   {"<", "<"},   {">", ">"},   {"=", "=="}, {"+", "+"},  {"-", "-"},
    {"*", "*"},   {"/", "/"},   {"(", "("},   {")", ")"},   {"[", "["},   {"]", "]"},  {",", ","},
};

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

void agg_where_tokens__init(struct agg_where_tokens *tokens, struct fr_slice text, struct fr_buffer *canonical)
{
    const char *from = text.bytes;

    *tokens = (struct agg_where_tokens){.from = from, .at = from, .end = from + text.length, .canonical = canonical};
}

static void spell(struct agg_where_tokens *tokens, struct fr_slice text, bool is_lowered)
{
    for (size_t i = 0; i < text.length; i++) {
        char c = ((const char *)text.bytes)[i];

        fr_buffer_append_byte(tokens->canonical, (uint8_t)(is_lowered && c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c));
    }
    fr_buffer_append_byte(tokens->canonical, ' ');
}

static bool take_number(struct agg_where_tokens *tokens, struct fr_err *err)
{
    const char *at = tokens->at;

    while (at < tokens->end && (is_digit(*at) || *at == '.'))
        at++;
    if (at < tokens->end && (*at == 'e' || *at == 'E')) {
        const char *digits = at + 1;

        digits += digits < tokens->end && (*digits == '+' || *digits == '-');
        if (digits < tokens->end && is_digit(*digits)) {
            at = digits;
            while (at < tokens->end && is_digit(*at))
                at++;
        }
    }
    tokens->kind = AGG_TOKEN_NUMBER;
    tokens->text = fr_slice(tokens->at, (size_t)(at - tokens->at));
    tokens->at = at;
    if (!fr_text_double(tokens->text, &tokens->number) || (at < tokens->end && is_letter(*at)))
        return fr_fail(err, FR_BAD_CONFIG, "at character %d: '%.*s' is no number", tokens->start + 1, (int)tokens->text.length,
                       (const char *)tokens->text.bytes);
    fr_buffer_append_format(tokens->canonical, "%.17g ", tokens->number);
    return true;
}

static bool take_text(struct agg_where_tokens *tokens, struct fr_err *err)
{
    const char *from = tokens->at + 1;
    const char *end = memchr(from, *tokens->at, (size_t)(tokens->end - from));

    if (!end)
        return fr_fail(err, FR_BAD_CONFIG, "at character %d: the quote isn't closed", tokens->start + 1);
    tokens->kind = AGG_TOKEN_TEXT;
    tokens->text = fr_slice(from, (size_t)(end - from));
    tokens->at = end + 1;
    fr_buffer_append_format(tokens->canonical,
                            "%zu:", tokens->text.length); /* a length says where it ends, whatever is in it */
    spell(tokens, tokens->text, false);
    return true;
}

/* attributes.key or attributes."any key" */
static bool take_attribute(struct agg_where_tokens *tokens, struct fr_err *err)
{
    const char *from = ++tokens->at;

    if (from < tokens->end && (*from == '"' || *from == '\'')) {
        if (!take_text(tokens, err))
            return false;
    } else {
        while (tokens->at < tokens->end && (is_letter(*tokens->at) || is_digit(*tokens->at) || *tokens->at == '.'))
            tokens->at++;
        tokens->text = fr_slice(from, (size_t)(tokens->at - from));
        fr_buffer_append_format(tokens->canonical, "%zu:", tokens->text.length);
        spell(tokens, tokens->text, false);
    }
    tokens->kind = AGG_TOKEN_ATTRIBUTE;
    if (tokens->text.length == 0)
        return fr_fail(err, FR_BAD_CONFIG, "at character %d: a name should follow 'attributes.'", tokens->start + 1);
    return true;
}

/* Words that mean the same in any case. */
static bool is_name(struct fr_slice word)
{
    static const char *const keywords[] = {"and", "or", "not", "in"};

    for (size_t i = 0; i < sizeof keywords / sizeof keywords[0]; i++) {
        if (fr_text_equal_nocase(word, keywords[i]))
            return true;
    }
    return proto_action_number(word) > 0 || proto_scene_number(word) > 0;
}

static bool take_word(struct agg_where_tokens *tokens, struct fr_err *err)
{
    const char *from = tokens->at, *at = from;

    while (at < tokens->end && (is_letter(*at) || is_digit(*at)))
        at++;
    tokens->kind = AGG_TOKEN_WORD;
    tokens->text = fr_slice(from, (size_t)(at - from));
    tokens->at = at;
    if (at < tokens->end && *at == '.' && fr_text_equal_nocase(tokens->text, "attributes")) {
        fr_buffer_append_text(tokens->canonical, "attributes.");
        return take_attribute(tokens, err);
    }
    if (at + 1 < tokens->end && *at == '.' && is_letter(at[1])) { /* of a table: item_info.price */
        for (at++; at < tokens->end && (is_letter(*at) || is_digit(*at));)
            at++;
        tokens->kind = AGG_TOKEN_JOINED;
        tokens->text = fr_slice(from, (size_t)(at - from));
        tokens->at = at;
        spell(tokens, tokens->text, false);
        return true;
    }
    spell(tokens, tokens->text, is_name(tokens->text));
    return true;
}

bool agg_where_tokens__next(struct agg_where_tokens *tokens, struct fr_err *err)
{
    while (tokens->at < tokens->end &&
           (*tokens->at == ' ' || *tokens->at == '\t' || *tokens->at == '\n' || *tokens->at == '\r'))
        tokens->at++;
    tokens->start = (int)(tokens->at - tokens->from);
    if (tokens->at == tokens->end) {
        tokens->kind = AGG_TOKEN_END;
        tokens->text = fr_slice("", 0);
        return true;
    }
    if (is_digit(*tokens->at) || (*tokens->at == '.' && tokens->at + 1 < tokens->end && is_digit(tokens->at[1])))
        return take_number(tokens, err);
    if (*tokens->at == '"' || *tokens->at == '\'')
        return take_text(tokens, err);
    if (is_letter(*tokens->at))
        return take_word(tokens, err);
    for (size_t i = 0; i < sizeof signs / sizeof signs[0]; i++) {
        size_t length = strlen(signs[i].written);

        if (length <= (size_t)(tokens->end - tokens->at) && memcmp(tokens->at, signs[i].written, length) == 0) {
            tokens->kind = AGG_TOKEN_SIGN;
            tokens->text = fr_slice_of(signs[i].meant);
            tokens->at += length;
            spell(tokens, tokens->text, false);
            return true;
        }
    }
    return fr_fail(err, FR_BAD_CONFIG, "at character %d: '%c' has no meaning here", tokens->start + 1,
                   *tokens->at > ' ' && *tokens->at < 127 ? *tokens->at : '?');
}
