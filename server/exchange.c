/*
 * HTTP/1.1 on a connection: one request after the other, answered in order. A head is parsed where it lies; a body that came
 * with its head in one piece is decoded where it lies too, others are gathered.
 */
#include "convention.h"

#include <freshet/clock.h>

#include <assert.h>

static void answer(struct server__call *call);

static void next_request(struct server__connection *connection)
{
    struct server__exchange *exchange = &connection->exchange;

    server__http1_reset(&exchange->parser);
    fr_buffer_fini(&exchange->body);
    exchange->stage = SERVER_STAGE_HEAD;
    exchange->has_begun = false;
    exchange->page = NULL;
    server__connection_expire(connection, connection->loop->server->options.limits.idle_ms);
}

static void send_reply(struct server__connection *connection, const struct server__reply *reply)
{
    struct server__exchange *exchange = &connection->exchange;
    struct server__loop *loop = connection->loop;
    bool is_close = exchange->parser.is_close || loop->is_draining || connection->age != SERVER_AGE_YOUNG;
    struct fr_slice body = exchange->parser.method == SERVER_HTTP_HEAD ? fr_slice(NULL, 0) : reply->body;

    fr_buffer_clear(&loop->head);
    server__reply_head(loop, reply, is_close, &loop->head);
    if (loop->head.is_failed) {
        server__connection_close(connection);
        return;
    }
    server__connection_send(connection, fr_buffer_slice(&loop->head), body, exchange->has_more && !is_close);
    if (connection->is_dead)
        return;
    next_request(connection);
    if (is_close)
        server__connection_finish(connection);
}

static void http1_cut(struct server__connection *connection, enum server__fault fault)
{
    const struct server__fault_text *text = server__fault_text(fault);
    struct server__exchange *exchange = &connection->exchange;
    struct server__loop *loop = connection->loop;
    struct server__reply reply = {.http_status = text->http_status};

    fr_counter_add(loop->server->faults[fault], 1);
    if (exchange->stage == SERVER_STAGE_RUNNING) { /* an answer now would be taken for the running call's */
        server__connection_close(connection);
        return;
    }
    server__call_free(exchange->call);
    exchange->call = NULL;
    fr_buffer_clear(&loop->body);
    if (connection->is_operations) {
        reply.content_type = "text/plain; charset=utf-8";
        fr_buffer_append_text(&loop->body, text->message);
        fr_buffer_append_byte(&loop->body, '\n');
    } else {
        reply.content_type = "application/json";
        server__status_print(text->status, text->message, &loop->body);
    }
    reply.body = fr_buffer_slice(&loop->body);
    exchange->parser.is_close = true;
    send_reply(connection, &reply);
}

/* ---- A request on its way ---- */

static void begin_call(struct server__connection *connection, const void *head)
{
    struct server__exchange *exchange = &connection->exchange;
    struct server__connect fields = {
        .method = exchange->parser.method,
        .path = server__http1_path(&exchange->parser, head),
    };
    struct fr_slice name, value;
    size_t at = 0;

    exchange->call = server__call_new(connection->loop, connection->peer, SERVER_WIRE_HTTP1, answer, connection);
    if (!exchange->call)
        return;
    while (server__http1_field(&exchange->parser, head, &at, &name, &value))
        server__connect_field(&fields, name, value);
    server__connect_begin(exchange->call, &fields, fr_clock_monotonic_us());
    server__access_check(exchange->call, &connection->caller, &fields.credential);
    server__fields_begin(exchange->call);
    for (at = 0; exchange->call->fields && server__http1_field(&exchange->parser, head, &at, &name, &value);)
        server__fields_keep(exchange->call, name, value);
}

/* The page's query becomes the request of a call. It lies in exchange->body until that runs: a page has no body of its own. */
static void open_door(struct server__connection *connection, const void *head, const struct server__credential *credential)
{
    struct server__exchange *exchange = &connection->exchange;
    const struct server_page *page = exchange->page;
    struct server__loop *loop = connection->loop;
    struct server__call *call = server__call_new(loop, connection->peer, SERVER_WIRE_HTTP1, answer, connection);
    struct fr_err err;

    exchange->call = call;
    if (!call) {
        exchange->page_status = 503;
        return;
    }
    call->method = server__methods_find(&loop->server->methods, fr_slice_of(page->method));
    assert(call->method); /* the table of pages names methods of the other one */
    server__access_name(call, &connection->caller, credential);
    if (!page->ask(page->user, server__http1_query(&exchange->parser, head), &exchange->body, &err))
        server__call_refuse(call, server__status_of(err.code), "%s", err.message);
    else if (exchange->body.is_failed)
        server__call_refuse(call, SERVER_STATUS_RESOURCE_EXHAUSTED, "out of memory for the request");
}

static void begin_page(struct server__connection *connection, const void *head)
{
    struct server__exchange *exchange = &connection->exchange;
    const struct server__http1 *parser = &exchange->parser;
    struct fr_slice host = fr_slice((const char *)head + parser->host.at, parser->host.length);
    struct server *server = connection->loop->server;
    struct server__credential credential = {0};
    struct fr_slice name, value;
    size_t at = 0;

    if (!server__page_host_is_known(host, parser->host.at > 0, connection->is_listener_loopback, server->options.hosts,
                                    server->options.host_count)) {
        exchange->page_status = 421;
        return;
    }
    exchange->page_status = server__page_find(server, parser->method, server__http1_path(parser, head), &exchange->page);
    if (exchange->page_status != 200)
        return;
    while (server__http1_field(parser, head, &at, &name, &value))
        server__credential_field(&credential, name, value);
    exchange->page_status = server__access_page(&server->access, exchange->page, &connection->caller, &credential);
    if (exchange->page_status == 200 && exchange->page->method)
        open_door(connection, head, &credential);
    if (exchange->page_status != 200)
        exchange->page = NULL;
}

static void end_request(struct server__connection *connection, struct fr_slice body)
{
    struct server__exchange *exchange = &connection->exchange;

    exchange->stage = SERVER_STAGE_RUNNING;
    if (connection->is_operations && !exchange->call) {
        struct server__reply reply = server__page_reply(connection->loop, exchange->page, exchange->page_status);

        send_reply(connection, &reply);
        if (connection->loop->body.capacity > SERVER_KEPT_BYTES)
            fr_buffer_fini(&connection->loop->body);
    } else {
        struct server__call *call = exchange->call; /* kept here too, to disown it when the client goes */

        call->whole_us = exchange->is_behind_own ? 0 : exchange->came_us;
        server__connection_expire(connection, INT64_MAX);
        server__call_run(&call, connection->is_operations ? fr_buffer_slice(&exchange->body) : body);
    }
}

/* A body that is larger than allowed is an answer of its own on the API port: it names the limit. */
static void refuse_large(struct server__connection *connection)
{
    struct server__exchange *exchange = &connection->exchange;

    exchange->parser.is_close = true;
    if (connection->is_operations) {
        http1_cut(connection, SERVER_FAULT_BODY_LARGE);
        return;
    }
    fr_counter_add(connection->loop->server->faults[SERVER_FAULT_BODY_LARGE], 1);
    server__call_refuse(
        exchange->call, SERVER_STATUS_RESOURCE_EXHAUSTED,
        "the request's body is larger than the limit of %llu bytes (server.limits.message); ask for less at once",
        (unsigned long long)exchange->parser.body_bytes_max);
    end_request(connection, fr_slice(NULL, 0));
}

static bool is_refused(const struct server__connection *connection)
{
    const struct server__exchange *exchange = &connection->exchange;

    return connection->is_operations ? exchange->page_status != 200 : exchange->call->status != SERVER_STATUS_OK;
}

/* The head is whole. */
static void begin_request(struct server__connection *connection, const void *head)
{
    struct server__exchange *exchange = &connection->exchange;
    struct server__http1 *parser = &exchange->parser;

    exchange->stage = SERVER_STAGE_BODY;
    if (connection->is_operations)
        begin_page(connection, head);
    else
        begin_call(connection, head);
    if (!connection->is_operations && !exchange->call) {
        http1_cut(connection, SERVER_FAULT_OVERLOAD);
    } else if (parser->length > parser->body_bytes_max) {
        refuse_large(connection);
    } else if (!server__http1_has_body(parser)) {
        end_request(connection, fr_slice(NULL, 0));
    } else if (parser->expects_continue && !exchange->has_more && is_refused(connection)) {
        parser->is_close = true; /* whether the body comes after all is not known */
        end_request(connection, fr_slice(NULL, 0));
    } else {
        server__connection_expire(connection, connection->loop->server->options.limits.body_ms);
        if (parser->expects_continue && !exchange->has_more)
            server__connection_send(connection, fr_slice_of("HTTP/1.1 100 Continue\r\n\r\n"), fr_slice(NULL, 0), false);
    }
}

static size_t take_head(struct server__connection *connection, struct fr_slice bytes)
{
    struct server__exchange *exchange = &connection->exchange;
    size_t used;

    if (!exchange->has_begun) {
        exchange->has_begun = true;
        server__connection_expire(connection, connection->loop->server->options.limits.header_ms);
    }
    switch (server__http1_head(&exchange->parser, bytes)) {
    case SERVER_MORE:
        return 0;
    case SERVER_FAILED:
        exchange->has_more = false;
        http1_cut(connection, exchange->parser.fault);
        return bytes.length;
    case SERVER_DONE:
        break;
    }
    used = exchange->parser.at;
    exchange->has_more = used < bytes.length;
    begin_request(connection, bytes.bytes);
    return used;
}

static size_t take_body(struct server__connection *connection, struct fr_slice bytes)
{
    struct server__exchange *exchange = &connection->exchange;
    enum server__parsed parsed = SERVER_MORE;
    struct fr_slice body = fr_slice(NULL, 0);
    size_t used = 0;

    while (parsed == SERVER_MORE && used < bytes.length) {
        struct fr_slice piece;
        size_t taken;

        parsed = server__http1_body(&exchange->parser, fr_slice((const char *)bytes.bytes + used, bytes.length - used), &taken,
                                    &piece);
        used += taken;
        if (is_refused(connection) || connection->is_operations)
            continue; /* read past, not kept */
        if (parsed == SERVER_DONE && exchange->body.length == 0)
            body = piece; /* in one piece */
        else
            fr_buffer_append(&exchange->body, piece.bytes, piece.length);
    }
    exchange->has_more = used < bytes.length;
    if (parsed == SERVER_FAILED && exchange->parser.fault == SERVER_FAULT_BODY_LARGE)
        refuse_large(connection);
    else if (parsed == SERVER_FAILED || exchange->body.is_failed)
        http1_cut(connection, parsed == SERVER_FAILED ? exchange->parser.fault : SERVER_FAULT_OVERLOAD);
    else if (parsed == SERVER_DONE)
        end_request(connection, exchange->body.length > 0 ? fr_buffer_slice(&exchange->body) : body);
    return used;
}

static void answer(struct server__call *call)
{
    struct server__connection *connection = call->owner;
    struct server__reply reply = server__connect_reply(call);

    connection->exchange.call = NULL;
    connection->exchange.is_behind_own = true;
    if (connection->is_operations)
        server__page_fields(&reply);
    if (call->body->is_failed)
        server__connection_close(connection); /* no memory even for the error */
    else
        send_reply(connection, &reply);
    if (!connection->exchange.is_taking)
        server__connection_resume(connection);
}

/* ---- As the connection sees it ---- */

static void http1_begin(struct server__connection *connection)
{
    const struct server_limits *limits = &connection->loop->server->options.limits;
    struct server__exchange *exchange = &connection->exchange;

    exchange->parser = (struct server__http1){
        .header_bytes_max = (size_t)limits->header_bytes,
        .header_count_max = limits->header_count,
        .body_bytes_max = limits->message_bytes,
    };
    exchange->stage = SERVER_STAGE_HEAD;
    fr_buffer_init(&exchange->body);
}

/* Who is heavy has the light ones go first, where there are any calls that wait. */
static bool must_wait(struct server__connection *connection)
{
    struct server__loop *loop = connection->loop;
    bool is_its_turn = loop->line.running == connection;

    if (connection->place.queue)
        return true;
    connection->exchange.came_us = is_its_turn ? connection->place.since_us : loop->round_us;
    if (is_its_turn || connection->exchange.stage != SERVER_STAGE_HEAD ||
        !server__line_is_heavy(connection, fr_clock_monotonic_us()))
        return false;
    server__line_join(connection);
    return true;
}

static size_t http1_take(struct server__connection *connection, struct fr_slice bytes)
{
    struct server__exchange *exchange = &connection->exchange;
    size_t used = 0;

    if (must_wait(connection))
        return 0; /* its turn comes */
    exchange->is_taking = true;
    exchange->is_behind_own = false;
    server__line_begin_turn(connection->loop);
    while (used < bytes.length && !connection->is_dead && !connection->is_finishing &&
           exchange->stage != SERVER_STAGE_RUNNING && server__connection_unsent(connection) <= SERVER_UNSENT_BYTES) {
        struct fr_slice rest = fr_slice((const char *)bytes.bytes + used, bytes.length - used);
        size_t taken = exchange->stage == SERVER_STAGE_HEAD ? take_head(connection, rest) : take_body(connection, rest);

        if (taken == 0)
            break;
        used += taken;
        if (exchange->stage == SERVER_STAGE_HEAD && !exchange->has_begun && used < bytes.length && !connection->is_dead &&
            server__line_is_turn_over(connection->loop)) {
            server__line_join(connection);
            break;
        }
    }
    exchange->is_taking = false;
    return used;
}

static void http1_expire(struct server__connection *connection)
{
    if (connection->exchange.has_begun)
        http1_cut(connection, SERVER_FAULT_SLOW);
    else
        server__connection_close(connection);
}

static bool http1_is_idle(const struct server__connection *connection)
{
    return !connection->exchange.has_begun && !connection->place.queue;
}

static bool http1_is_busy(const struct server__connection *connection)
{
    return connection->exchange.stage == SERVER_STAGE_RUNNING || connection->place.queue;
}

static size_t http1_held(const struct server__connection *connection)
{
    return connection->exchange.body.capacity;
}

static void http1_end(struct server__connection *connection)
{
    struct server__exchange *exchange = &connection->exchange;

    if (exchange->call && exchange->stage == SERVER_STAGE_RUNNING)
        exchange->call->owner = NULL; /* what it answers is dropped */
    else
        server__call_free(exchange->call);
    exchange->call = NULL;
    fr_buffer_fini(&exchange->body);
}

const struct server__protocol server__http1_protocol = {
    .begin = http1_begin,
    .take = http1_take,
    .expire = http1_expire,
    .cut = http1_cut,
    .is_idle = http1_is_idle,
    .is_busy = http1_is_busy,
    .held = http1_held,
    .end = http1_end,
};
