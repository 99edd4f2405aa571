/*
 * Who may call what. Nothing is allowed that no grant allows, once there are any.
 *
 * Comparing a token takes the same time whatever is in it: it is put into a field as long as the longest token can be, and
 * compared with every grant's, to the end.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/text.h>

#include <openssl/crypto.h>

#include <stdio.h>
#include <stdlib.h>

static const char *const group_names[SERVER_GROUPS] = {"read", "learn", "admin"};

struct server__token {
    uint8_t bytes[SERVER_TOKEN_BYTES_MAX]; /* padded with zeros, which no token has */
};

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

static bool check_grant(const struct server_options *options, int at, struct fr_err *err)
{
    const struct server_grant *grant = &options->grants[at];

    if (!grant->name || !grant->name[0] || strlen(grant->name) >= SERVER_PRINCIPAL_BYTES ||
        !grant->token == !grant->certificate)
        return fr_fail(err, FR_BAD_CONFIG, "server: grant %d has no name, or not exactly one of token and certificate", at + 1);
    if (grant->token && !server_token_check(grant->token, err))
        return false;
    for (int i = 0; i < at && grant->token; i++)
        if (options->grants[i].token && strcmp(options->grants[i].token, grant->token) == 0)
            return fr_fail(err, FR_BAD_CONFIG, "server: '%s' and '%s' have the same token; give each one of its own",
                           options->grants[i].name, grant->name);
    return true;
}

bool server__access_open(struct server__access *access, const struct server_options *options, struct fr_err *err)
{
    static const char help[] = "Calls refused because of who called, by reason.";

    *access = (struct server__access){.grants = options->grants, .grant_count = options->grant_count};
    access->unauthenticated =
        fr_metrics_counter(options->metrics, "freshet_refused_calls_total", "reason=\"unauthenticated\"", help);
    access->denied = fr_metrics_counter(options->metrics, "freshet_refused_calls_total", "reason=\"permission\"", help);
    access->limited = fr_metrics_counter(options->metrics, "freshet_refused_calls_total", "reason=\"rate\"", help);
    if (access->grant_count > SERVER_GRANTS_MAX)
        return fr_fail(err, FR_BAD_CONFIG, "server: %d grants; server.tokens holds %d at most", access->grant_count,
                       SERVER_GRANTS_MAX);
    if (access->grant_count > 0) {
        access->tokens = calloc((size_t)access->grant_count, sizeof *access->tokens);
        if (!access->tokens)
            return fr_fail(err, FR_EXHAUSTED, "server: out of memory for %d grants", access->grant_count);
    }
    for (int i = 0; i < access->grant_count; i++) {
        if (!check_grant(options, i, err))
            return false;
        if (access->grants[i].token)
            memcpy(access->tokens[i].bytes, access->grants[i].token, strlen(access->grants[i].token));
    }
    return server__rate_open(&access->rate, options->limits.rate, options->limits.burst, fr_clock_monotonic_us(), err);
}

void server__access_close(struct server__access *access)
{
    if (access->tokens)
        OPENSSL_cleanse(access->tokens, (size_t)access->grant_count * sizeof *access->tokens);
    free(access->tokens);
    access->tokens = NULL;
    server__rate_close(&access->rate);
}

/* ---- Who ---- */

void server__caller_init(struct server__caller *caller, const char *peer, bool is_loopback)
{
    const char *colon = strrchr(peer, ':');

    *caller = (struct server__caller){.is_loopback = is_loopback};
    snprintf(caller->name, sizeof caller->name, "%.*s", colon ? (int)(colon - peer) : (int)strlen(peer), peer);
}

static const struct server_grant *grant_of_certificate(const struct server__access *access, const char *name)
{
    for (int i = 0; i < access->grant_count; i++)
        if (access->grants[i].certificate && strcmp(access->grants[i].certificate, name) == 0)
            return &access->grants[i];
    return NULL;
}

void server__access_identify(const struct server__access *access, struct server__caller *caller, const char *names,
                             size_t name_bytes, int name_count)
{
    const char *best = names;

    for (int i = 0; i < name_count && !caller->grant; i++) {
        caller->grant = grant_of_certificate(access, names + (size_t)i * name_bytes);
        if (caller->grant)
            best = caller->grant->name;
    }
    if (name_count > 0)
        snprintf(caller->name, sizeof caller->name, "%s", best);
}

void server__credential_field(struct server__credential *credential, struct fr_slice name, struct fr_slice value)
{
    if (fr_text_equal_nocase(name, "authorization"))
        credential->authorization = credential->authorization.bytes || !value.bytes ? fr_slice_of("") : value;
}

/* NULL: no bearer token, or one that nobody has. */
static const struct server_grant *grant_of_token(const struct server__access *access, struct fr_slice authorization)
{
    static const char scheme[] = "bearer ";
    const char *text = authorization.bytes;
    struct server__token shown = {{0}};
    int found = -1;

    if (authorization.length < sizeof scheme - 1 || !fr_text_equal_nocase(fr_slice(text, sizeof scheme - 1), scheme))
        return NULL;
    text += sizeof scheme - 1;
    authorization.length -= sizeof scheme - 1;
    if (authorization.length < SERVER_TOKEN_BYTES_LEAST || authorization.length > SERVER_TOKEN_BYTES_MAX ||
        memchr(text, '\0', authorization.length))
        return NULL;
    memcpy(shown.bytes, text, authorization.length);
    for (int i = 0; i < access->grant_count; i++) {
        int is_same = CRYPTO_memcmp(shown.bytes, access->tokens[i].bytes, sizeof shown.bytes) == 0;

        found = is_same ? i : found;
    }
    OPENSSL_cleanse(&shown, sizeof shown);
    return found < 0 ? NULL : &access->grants[found];
}

/* ---- What ---- */

static void authorise(struct server__access *access, struct server__call *call, const struct server_grant *grant,
                      bool has_shown)
{
    enum server_group group = call->method->method->group;

    if (!grant) {
        call->refusal = SERVER_REFUSED_CREDENTIAL;
        fr_counter_add(access->unauthenticated, 1);
        server__call_refuse(call, SERVER_STATUS_UNAUTHENTICATED, "%s",
                            has_shown ? "the token is not known here"
                                      : "who calls is not known; send a token: 'authorization: Bearer …'");
    } else if (!(grant->groups & 1u << group)) {
        fr_counter_add(access->denied, 1);
        server__call_refuse(call, SERVER_STATUS_PERMISSION_DENIED, "'%s' may not call methods of the group %s", grant->name,
                            group_names[group]);
    }
}

static void spend(struct server__access *access, struct server__call *call)
{
    int64_t wait_us = server__rate_take(&access->rate, call->principal, fr_clock_monotonic_us());

    if (wait_us <= 0)
        return;
    call->retry_ms = (int)(wait_us / 1000) + 1;
    fr_counter_add(access->limited, 1);
    server__call_refuse(call, SERVER_STATUS_RESOURCE_EXHAUSTED,
                        "'%s' calls more often than it may (server.limits.rate); retry in %d ms", call->principal,
                        (int)call->retry_ms);
}

static bool has_shown_token(const struct server__access *access, const struct server__credential *credential)
{
    return access->grant_count > 0 && credential->authorization.bytes != NULL;
}

static const struct server_grant *grant_of(const struct server__access *access, const struct server__caller *caller,
                                           const struct server__credential *credential)
{
    return has_shown_token(access, credential) ? grant_of_token(access, credential->authorization) : caller->grant;
}

void server__access_name(struct server__call *call, const struct server__caller *caller,
                         const struct server__credential *credential)
{
    struct server__access *access = &call->loop->server->access;
    const struct server_grant *grant = grant_of(access, caller, credential);
    const char *name = has_shown_token(access, credential) && grant ? grant->name : caller->name;

    memcpy(call->principal, name, strlen(name) + 1);
}

void server__access_check(struct server__call *call, const struct server__caller *caller,
                          const struct server__credential *credential)
{
    struct server__access *access = &call->loop->server->access;

    server__access_name(call, caller, credential);
    if (call->status != SERVER_STATUS_OK || call->method->method->is_open)
        return;
    spend(access, call);
    if (access->grant_count > 0 && call->status == SERVER_STATUS_OK)
        authorise(access, call, grant_of(access, caller, credential), has_shown_token(access, credential));
}

int server__access_page(struct server__access *access, const struct server_page *page, const struct server__caller *caller,
                        const struct server__credential *credential)
{
    bool has_shown = credential->authorization.bytes != NULL;
    const struct server_grant *grant;

    if (page->access == SERVER_PAGE_OPEN || caller->is_loopback)
        return 200;
    if (access->grant_count == 0)
        return page->access == SERVER_PAGE_GUARDED ? 200 : 403;
    grant = has_shown ? grant_of_token(access, credential->authorization) : caller->grant;
    if (grant)
        return grant->groups & 1u << SERVER_ADMIN ? 200 : 403;
    fr_counter_add(access->unauthenticated, 1);
    return 401;
}
