#include "tokens.h"

#include <freshet/log.h>
#include <freshet/secret.h>

#include <openssl/crypto.h>

#include <stdlib.h>

enum { WORDS = SERVER_TOKEN_BYTES_MAX / sizeof(uint64_t) };

static bool is_letter(char byte)
{
    return (byte >= 'a' && byte <= 'z') || (byte >= 'A' && byte <= 'Z') || (byte >= '0' && byte <= '9') ||
           (byte && strchr("-._~+/=", byte));
}

bool server_token_check(const char *token, struct fr_err *err)
{
    size_t length = strlen(token);

    if (length < SERVER_TOKEN_BYTES_LEAST || length > SERVER_TOKEN_BYTES_MAX)
        return fr_fail(err, FR_BAD_CONFIG, "server: a token of %zu bytes; make one of %d to %d, as openssl rand -hex 32 does",
                       length, SERVER_TOKEN_BYTES_LEAST, SERVER_TOKEN_BYTES_MAX);
    for (size_t i = 0; i < length; i++)
        if (!is_letter(token[i]))
            return fr_fail(err, FR_BAD_CONFIG,
                           "server: byte %zu of a token is none that a bearer token may have (A-Z a-z 0-9 - . _ ~ + / =); make "
                           "one as openssl rand -hex 32 does",
                           i + 1);
    return true;
}

/* ---- Comparing ---- */

static void pad(struct fr_slice token, uint64_t words[WORDS])
{
    memset(words, 0, SERVER_TOKEN_BYTES_MAX);
    memcpy(words, token.bytes, token.length);
}

/* The place of the grant, or −1; to the end of all of them, whatever is found before. */
static int compare(const struct server__tokens *tokens, const uint64_t shown[WORDS])
{
    int found = -1;

    for (int i = 0; i < tokens->count; i++) {
        uint64_t difference = 0;

        for (int word = 0; word < WORDS; word++)
            difference |= shown[word] ^ atomic_load_explicit(&tokens->tokens[i].words[word], memory_order_acquire);
        found = difference == 0 ? i : found;
    }
    return found;
}

const struct server_grant *server__tokens_find(const struct server__tokens *tokens, struct fr_slice token)
{
    uint64_t shown[WORDS];
    unsigned before;
    int found;

    if (token.length < SERVER_TOKEN_BYTES_LEAST || token.length > SERVER_TOKEN_BYTES_MAX ||
        memchr(token.bytes, '\0', token.length))
        return NULL;
    pad(token, shown);
    do {
        before = atomic_load_explicit(&tokens->version, memory_order_acquire);
        found = compare(tokens, shown);
    } while (before % 2 == 1 || atomic_load_explicit(&tokens->version, memory_order_acquire) != before);
    OPENSSL_cleanse(shown, sizeof shown);
    return found < 0 ? NULL : &tokens->grants[found];
}

static void put(struct server__tokens *tokens, int at, struct fr_slice token)
{
    uint64_t words[WORDS];

    pad(token, words);
    atomic_fetch_add_explicit(&tokens->version, 1, memory_order_acq_rel);
    for (int word = 0; word < WORDS; word++)
        atomic_store_explicit(&tokens->tokens[at].words[word], words[word], memory_order_release);
    atomic_fetch_add_explicit(&tokens->version, 1, memory_order_acq_rel);
    OPENSSL_cleanse(words, sizeof words);
}

/* ---- Beginning and end ---- */

static bool check_grant(const struct server_options *options, int at, struct fr_err *err)
{
    const struct server_grant *grant = &options->grants[at];

    if (!grant->name || !grant->name[0] || !grant->token == !grant->certificate)
        return fr_fail(err, FR_BAD_CONFIG, "server: grant %d has no name, or not exactly one of token and certificate", at + 1);
    if (grant->token && !server_token_check(grant->token, err))
        return false;
    for (int i = 0; i < at && grant->token; i++)
        if (options->grants[i].token && strcmp(options->grants[i].token, grant->token) == 0)
            return fr_fail(err, FR_BAD_CONFIG, "server: '%s' and '%s' have the same token; give each one of its own",
                           options->grants[i].name, grant->name);
    return true;
}

bool server__tokens_open(struct server__tokens *tokens, const struct server_options *options, struct fr_err *err)
{
    static const char help[] = "Times that a changed token file was read, by result; failed: the old token stays in use.";

    *tokens = (struct server__tokens){.grants = options->grants, .count = options->grant_count};
    if (tokens->count == 0)
        return true;
    tokens->tokens = calloc((size_t)tokens->count, sizeof *tokens->tokens);
    if (!tokens->tokens)
        return fr_fail(err, FR_EXHAUSTED, "server: out of memory for %d grants", tokens->count);
    for (int i = 0; i < tokens->count; i++) {
        const struct server_grant *grant = &tokens->grants[i];

        if (!check_grant(options, i, err))
            return false;
        if (!grant->token)
            continue;
        put(tokens, i, fr_slice_of(grant->token));
        tokens->has_files = tokens->has_files || grant->token_file;
    }
    if (tokens->has_files) {
        tokens->reloads = fr_metrics_counter(options->metrics, "freshet_token_reloads_total", "result=\"ok\"", help);
        tokens->reloads_failed = fr_metrics_counter(options->metrics, "freshet_token_reloads_total", "result=\"failed\"", help);
    }
    return true;
}

void server__tokens_close(struct server__tokens *tokens)
{
    if (tokens->tokens)
        OPENSSL_cleanse(tokens->tokens, (size_t)tokens->count * sizeof *tokens->tokens);
    free(tokens->tokens);
    *tokens = (struct server__tokens){0};
}

/* ---- What changes ---- */

/* What the file has now, if it can be this grant's token. Messages never quote it. */
static bool read_token(struct server__tokens *tokens, int at, struct fr_buffer *text, bool *is_new, struct fr_err *err)
{
    const struct server_grant *owner;

    if (!fr_secret_read(tokens->grants[at].token_file, text, err))
        return false;
    fr_buffer_append_byte(text, '\0');
    if (text->is_failed)
        return fr_fail(err, FR_EXHAUSTED, "server: out of memory for a token");
    text->length--;
    if (!server_token_check((const char *)text->bytes, err))
        return false;
    owner = server__tokens_find(tokens, fr_buffer_slice(text));
    *is_new = !owner;
    return !owner || owner == &tokens->grants[at] ||
           fr_fail(err, FR_BAD_CONFIG, "server: '%s' has that token; give each one of its own", owner->name);
}

static void reload(struct server__tokens *tokens, int at)
{
    const struct server_grant *grant = &tokens->grants[at];
    struct fr_buffer text;
    struct fr_err err;
    bool is_new = false;

    fr_buffer_init(&text);
    if (!read_token(tokens, at, &text, &is_new, &err)) {
        fr_counter_add(tokens->reloads_failed, 1);
        fr_log(FR_LOG_ERROR, "server", "the new token of '%s' in '%s' cannot be used, the old one stays: %s", grant->name,
               grant->token_file, err.message);
    } else if (is_new) {
        put(tokens, at, fr_buffer_slice(&text));
        fr_counter_add(tokens->reloads, 1);
        fr_log(FR_LOG_INFO, "server", "the token of '%s' is what '%s' has now", grant->name, grant->token_file);
    }
    if (text.bytes)
        OPENSSL_cleanse(text.bytes, text.capacity);
    fr_buffer_fini(&text);
}

void server__tokens_look(struct server__tokens *tokens)
{
    for (int i = 0; tokens->has_files && i < tokens->count; i++) {
        struct server__token *token = &tokens->tokens[i];
        struct server__look now;
        bool is_still;

        if (!tokens->grants[i].token_file)
            continue;
        server__look_at(tokens->grants[i].token_file, &now);
        is_still = memcmp(&now, &token->seen, sizeof now) == 0;
        token->seen = now;
        if (!is_still || memcmp(&now, &token->loaded, sizeof now) == 0)
            continue;
        token->loaded = now;
        reload(tokens, i);
    }
}
