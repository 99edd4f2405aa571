/*
 * The trail of what administrators do. A line is written when a call has ended, whichever way; who was not let in shows too, but
 * not more often than a log can bear, since anybody can knock.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <inttypes.h>

enum { STRANGERS_PER_MINUTE = 60 };

void server__audit(const struct server__call *call)
{
    static struct fr_log_place place;
    const struct server_method *method = call->method->method;
    const char *outcome = server__status_name(call->status);
    int64_t span_us = call->whole_us ? fr_clock_monotonic_us() - call->whole_us : 0;

    if (!method || method->group != SERVER_ADMIN)
        return;
    if (method->is_polled && call->status == SERVER_STATUS_OK && call->loop->server->access.grant_count == 0)
        return;
    if (call->seen.is_asked_again && call->status == SERVER_STATUS_OK)
        return;
    if (call->status == SERVER_STATUS_UNAUTHENTICATED)
        fr_log_limited(&place, STRANGERS_PER_MINUTE, FR_LOG_WARN, "audit", "\"%s\" called %s from %s: %s", call->principal,
                       call->method->path + 1, call->peer, outcome);
    else
        fr_log(FR_LOG_INFO, "audit", "\"%s\" called %s from %s: %s, %" PRId64 " ms", call->principal, call->method->path + 1,
               call->peer, outcome, span_us / 1000);
}
