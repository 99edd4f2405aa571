/*
 * Who may call what. Nothing is allowed that no grant allows, once there are any.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/text.h>

#include <stdio.h>

static const char *const group_names[SERVER_GROUPS] = {"read", "learn", "admin"};

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
    for (int i = 0; i < access->grant_count; i++)
        if (access->grants[i].name && strlen(access->grants[i].name) >= SERVER_PRINCIPAL_BYTES)
            return fr_fail(err, FR_BAD_CONFIG, "server: the name of grant %d is longer than %d bytes", i + 1,
                           SERVER_PRINCIPAL_BYTES - 1);
    if (!server__tokens_open(&access->tokens, options, err))
        return false;
    return server__rate_open(&access->rate, options->limits.rate, options->limits.burst, fr_clock_monotonic_us(), err);
}

void server__access_close(struct server__access *access)
{
    server__tokens_close(&access->tokens);
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

    if (authorization.length < sizeof scheme - 1 || !fr_text_equal_nocase(fr_slice(text, sizeof scheme - 1), scheme))
        return NULL;
    return server__tokens_find(&access->tokens, fr_slice(text + sizeof scheme - 1, authorization.length - (sizeof scheme - 1)));
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
