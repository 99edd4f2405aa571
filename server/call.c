/*
 * A call: one method, asked once. It knows its codec, its deadline and how it ended, and nothing of the protocol that carried
 * it; the protocol gives it an owner to answer to and takes that away when its client has gone.
 *
 * A call on its loop uses the loop's arena and buffer, one call after the other; one that goes to a pool has its own, because it
 * outlives the moment, and perhaps its connection. When it is postponed it takes the loop's arena along, with all that is in it.
 */
#include "internal.h"

#include <freshet/clock.h>

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct server__call *server__call_new(struct server__loop *loop, const char *peer, enum server__wire wire,
                                      void (*answer)(struct server__call *call), void *owner)
{
    struct server__call *call = malloc(sizeof *call);

    if (!call)
        return NULL;
    call->seen = (struct server_call){.deadline_us = INT64_MAX};
    call->loop = loop;
    call->method = server__methods_unknown(&loop->server->methods);
    call->codec = SERVER_CODEC_JSON;
    call->refusal = SERVER_REFUSED_NOT;
    call->whole_us = 0;
    call->next_early = NULL;
    call->has_waited = false;
    call->retry_ms = 0;
    atomic_init(&call->is_cancelled, false);
    call->status = SERVER_STATUS_OK;
    call->message[0] = '\0';
    call->principal[0] = '\0';
    call->coding = (struct server__coding){false};
    call->request = NULL;
    call->body = &loop->body;
    call->fields = NULL;
    call->own_arena = NULL;
    fr_buffer_init(&call->own_body);
    call->answer = answer;
    call->owner = owner;
    call->wire = wire;
    memcpy(call->peer, peer, sizeof call->peer);
    call->caller[0] = '\0';
    call->seen.caller = call->caller;
    return call;
}

void server__call_free(struct server__call *call)
{
    if (!call)
        return;
    server__fields_free(call->fields);
    fr_arena_free(call->own_arena);
    fr_buffer_fini(&call->own_body);
    free(call);
}

void server__call_refuse(struct server__call *call, enum server__status status, const char *format, ...)
{
    va_list values;

    if (call->status != SERVER_STATUS_OK)
        return;
    call->status = status;
    va_start(values, format);
    vsnprintf(call->message, sizeof call->message, format, values);
    va_end(values);
}

void server__call_shed(struct server__call *call, const char *format, ...)
{
    va_list values;

    if (call->status != SERVER_STATUS_OK)
        return;
    call->status = SERVER_STATUS_RESOURCE_EXHAUSTED;
    call->retry_ms = server__line_retry_ms(call->loop);
    va_start(values, format);
    vsnprintf(call->message, sizeof call->message, format, values);
    va_end(values);
}

static void fail(struct server__call *call, const struct fr_err *err)
{
    server__call_refuse(call, server__status_of(err->code), "%s", err->message);
}

static bool is_late(struct server__call *call)
{
    if (call->seen.deadline_us == INT64_MAX || fr_clock_monotonic_us() < call->seen.deadline_us)
        return false;
    server__call_refuse(call, SERVER_STATUS_DEADLINE_EXCEEDED, "the deadline passed before the call began");
    return true;
}

ProtobufCMessage *server__call_read(const struct server__call *call, struct fr_slice body, struct fr_err *err)
{
    const ProtobufCMessageDescriptor *type = call->method->method->request;

    if (call->codec == SERVER_CODEC_JSON)
        return proto_json_parse_with(type, body, call->loop->server->options.find, call->seen.arena, err);
    return proto_unpack(type, body, call->seen.arena, err);
}

void server__call_write(struct server__call *call, const ProtobufCMessage *response)
{
    const struct server_method *method = call->method->method;

    if (call->codec == SERVER_CODEC_JSON)
        proto_json_print_with(response, call->loop->server->options.find, call->body);
    else
        (method->pack ? method->pack : proto_pack)(response, call->body);
}

static bool decode(struct server__call *call, struct fr_slice body)
{
    const struct server_method *method = call->method->method;
    uint64_t arena_bytes = call->loop->server->options.limits.arena_bytes;
    struct fr_err err;

    if (method->is_slow) {
        call->own_arena = fr_arena_new((size_t)arena_bytes);
        if (!call->own_arena) {
            server__call_refuse(call, SERVER_STATUS_RESOURCE_EXHAUSTED, "out of memory for the call");
            return false;
        }
        call->body = &call->own_body;
    }
    call->seen.method = call->method->path + 1;
    call->seen.peer = call->peer;
    call->seen.principal = call->principal;
    call->seen.arena = method->is_slow ? call->own_arena : call->loop->arena;
    call->seen.may_block = method->is_slow;
    call->request = server__call_read(call, body, &err);
    if (!call->request)
        fail(call, &err);
    return call->request != NULL;
}

static bool unpack_and_decode(struct server__call *call, struct fr_slice body)
{
    struct fr_buffer plain;
    bool is_decoded;

    fr_buffer_init(&plain);
    is_decoded = server__gzip_request(call, &body, &plain) && decode(call, body); /* which copies */
    fr_buffer_fini(&plain);
    return is_decoded;
}

/* It is to outlive this moment on the loop. */
static bool keep(struct server__call *call)
{
    struct server__loop *loop = call->loop;
    struct fr_arena *arena;

    if (call->own_arena)
        return true;
    arena = fr_arena_new((size_t)loop->server->options.limits.arena_bytes);
    if (!arena) {
        server__call_refuse(call, SERVER_STATUS_RESOURCE_EXHAUSTED, "out of memory for the call");
        return false;
    }
    call->own_arena = loop->arena;
    loop->arena = arena;
    call->body = &call->own_body;
    return true;
}

/* False: the call stays the caller's, refused. */
static bool submit(struct server__pool *pool, struct server__call **call)
{
    if (server__pool_submit(pool, call))
        return true;
    if (atomic_load(&pool->is_stopping))
        server__call_refuse(*call, SERVER_STATUS_UNAVAILABLE, "the server is stopping");
    else
        server__call_shed(*call, "%d calls of this kind wait or run already; retry later", pool->call_max);
    return false;
}

/* After its handler ran on the loop: true when it goes on elsewhere or later, false when it can be answered. */
static bool is_put_off(struct server__call **call_in)
{
    struct server__call *call = *call_in;
    bool is_postponed = call->seen.is_postponed, is_early = call->seen.is_early;

    call->seen.is_postponed = call->seen.is_early = false;
    if ((!is_postponed && !is_early) || !keep(call))
        return false;
    if (is_early)
        return server__early_add(&call->loop->early, call_in);
    call->seen.may_block = true;
    return submit(&call->loop->server->postponed, call_in);
}

void server__call_run(struct server__call **call_in, struct fr_slice body)
{
    struct server__call *call = *call_in;
    struct server *server = call->loop->server;
    int64_t begun_us = fr_clock_monotonic_us();

    *call_in = NULL;
    if (call->whole_us == 0)
        call->whole_us = begun_us;
    if (server__line_admits(call) && unpack_and_decode(call, body)) {
        if (!call->method->method->is_slow) {
            server__call_handle(call);
            server__line_learn(call, begun_us);
        } else if (submit(&server->pool, &call)) {
            return;
        }
        if (is_put_off(&call))
            return;
    }
    server__call_finish(&call);
}

bool server__call_again(struct server__call **call_in)
{
    struct server__call *call = *call_in;
    bool is_early;

    *call_in = NULL;
    if (!call->owner)
        server__call_refuse(call, SERVER_STATUS_CANCELED, "the client went away");
    else if (call->loop->is_draining)
        server__call_refuse(call, SERVER_STATUS_UNAVAILABLE, "the server is stopping");
    else
        server__call_handle(call);
    is_early = call->seen.is_early;
    if (is_put_off(&call))
        return is_early;
    server__call_finish(&call);
    return false;
}

void server__call_handle(struct server__call *call)
{
    const struct server_method *method = call->method->method;
    ProtobufCMessage *response = NULL;
    struct fr_err err;

    fr_buffer_clear(call->body);
    if (atomic_load(&call->is_cancelled)) {
        server__call_refuse(call, SERVER_STATUS_CANCELED, "the client went away");
        return;
    }
    if ((!call->has_waited || call->seen.may_block) && is_late(call))
        return;
    if (!method->handler(method->user, &call->seen, call->request, &response, &err)) {
        assert(!call->seen.may_block || (!call->seen.is_postponed && !call->seen.is_early));
        if (!call->seen.is_postponed && !call->seen.is_early)
            fail(call, &err);
        return;
    }
    assert(response && response->descriptor == method->response);
    server__call_write(call, response);
    if (call->body->is_failed)
        server__call_refuse(call, SERVER_STATUS_RESOURCE_EXHAUSTED, "out of memory for the reply");
    else
        server__gzip_reply(call);
}

void server__call_end(struct server__call **call_in)
{
    struct server__call *call = *call_in;

    *call_in = NULL;
    fr_counter_add(server__loop_request_counter(call->loop, call), 1);
    server__audit(call);
    server__call_free(call);
}

void server__call_finish(struct server__call **call_in)
{
    struct server__call *call = *call_in;
    struct server__loop *loop = call->loop;

    *call_in = NULL;
    fr_counter_add(server__loop_request_counter(loop, call), 1);
    server__audit(call);
    if (call->owner)
        call->answer(call);
    fr_histogram_add_us(call->method->seconds, fr_clock_monotonic_us() - call->whole_us);
    if (call->request && !call->own_arena)
        fr_arena_reset(loop->arena, SERVER_KEPT_BYTES);
    if (call->body == &loop->body && loop->body.capacity > SERVER_KEPT_BYTES)
        fr_buffer_fini(&loop->body);
    server__call_free(call);
}

void server__call_cancel(struct server__call **call_in, bool is_running)
{
    struct server__call *call = *call_in;

    if (!call)
        return;
    *call_in = NULL;
    call->owner = NULL;
    if (is_running) {
        atomic_store(&call->is_cancelled, true);
        return;
    }
    server__call_refuse(call, SERVER_STATUS_CANCELED, "the client went away");
    server__call_end(&call);
}
