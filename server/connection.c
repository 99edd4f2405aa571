/*
 * A connection: a socket on one loop, what was read and not yet understood, what is to be sent, and the time that each may
 * take. The protocol on it decides what bytes mean.
 *
 * Reads go into the loop's scratch memory and are used there; only what is incomplete is copied, so an idle connection owns no
 * buffer. A reply goes straight to the socket; only what the socket does not take is copied. Closing is final at once, but the
 * memory is freed when the loop's round has ended, so nobody holds a stale pointer in the middle of one.
 */
#include "tls.h"
#include "transport.h"

#include <freshet/clock.h>

#include <event2/event.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static void settle(struct server__connection *connection);
static void flush(struct server__connection *connection);
static void advance(struct server__connection *connection);

struct server__connection *server__connection_new(int fd, const char *peer, bool is_operations, bool is_listener_loopback)
{
    struct server__connection *connection = calloc(1, sizeof *connection);

    if (!connection) {
        close(fd);
        return NULL;
    }
    connection->fd = fd;
    connection->is_operations = is_operations;
    connection->is_listener_loopback = is_listener_loopback;
    connection->expires_ms = connection->timer_ms = connection->age_ms = INT64_MAX;
    memcpy(connection->peer, peer, sizeof connection->peer);
    fr_buffer_init(&connection->input);
    fr_buffer_init(&connection->output);
    return connection;
}

void server__connection_free(struct server__connection *connection)
{
    if (!connection)
        return;
    server__session_free(connection->session);
    if (connection->fd >= 0)
        close(connection->fd);
    fr_buffer_fini(&connection->input);
    fr_buffer_fini(&connection->output);
    free(connection);
}

void server__connection_close(struct server__connection *connection)
{
    struct server__loop *loop = connection->loop;

    if (connection->is_dead)
        return;
    connection->is_dead = true;
    server__line_leave(connection);
    connection->protocol->end(connection);
    if (connection->read_event)
        event_free(connection->read_event);
    if (connection->write_event)
        event_free(connection->write_event);
    if (connection->timer)
        event_free(connection->timer);
    server__session_free(connection->session);
    connection->session = NULL;
    close(connection->fd);
    connection->fd = -1;

    if (connection->previous)
        connection->previous->next = connection->next;
    else
        loop->connections = connection->next;
    if (connection->next)
        connection->next->previous = connection->previous;
    connection->next = loop->dead;
    loop->dead = connection;

    loop->held_bytes -= connection->held_bytes;
    loop->adopted_count--;
    fr_gauge_set(loop->connection_gauge, loop->adopted_count);
    atomic_fetch_sub(&loop->connection_count, 1);
}

/* ---- Sending ---- */

size_t server__connection_unsent(const struct server__connection *connection)
{
    return connection->output.length - connection->output_at;
}

static void set_due(struct server__connection *connection)
{
    connection->due_bytes = connection->queued_bytes;
    connection->due_ms = fr_clock_monotonic_ms() + connection->loop->server->options.limits.body_ms;
}

/* How many bytes the socket took; closes the connection when it is broken. */
static size_t transmit(struct server__connection *connection, const struct iovec *pieces, size_t count)
{
    size_t sent;

    if (server__transport_write(connection, pieces, count, &sent) == SERVER_MOVED_BROKEN)
        server__connection_close(connection);
    connection->sent_bytes += sent;
    return sent;
}

/* The sent part of the output would stay for ever when a client always reads a little less than we write. */
static void compact_output(struct server__connection *connection)
{
    struct fr_buffer *output = &connection->output;

    if (connection->output_at < output->length / 2 || connection->output_at == 0)
        return;
    output->length -= connection->output_at;
    memmove(output->bytes, output->bytes + connection->output_at, output->length);
    connection->output_at = 0;
}

static void keep(struct server__connection *connection, struct fr_slice bytes, size_t sent)
{
    if (sent < bytes.length)
        fr_buffer_append(&connection->output, (const char *)bytes.bytes + sent, bytes.length - sent);
}

void server__connection_send(struct server__connection *connection, struct fr_slice head, struct fr_slice body, bool more)
{
    struct iovec pieces[2] = {{(void *)head.bytes, head.length}, {(void *)body.bytes, body.length}};
    bool was_empty = server__connection_unsent(connection) == 0;
    size_t sent = 0;

    if (connection->is_dead)
        return;
    connection->queued_bytes += head.length + body.length;
    if (was_empty && !more && !connection->session) /* TLS sends what is kept, so that both are one record */
        sent = transmit(connection, pieces, body.length > 0 ? 2 : 1);
    if (connection->is_dead || sent == head.length + body.length)
        return;
    compact_output(connection);
    keep(connection, head, sent);
    keep(connection, body, sent > head.length ? sent - head.length : 0);
    if (connection->output.is_failed) {
        server__connection_close(connection);
        return;
    }
    if (was_empty)
        set_due(connection);
    if (was_empty && !more && connection->session)
        flush(connection);
}

void server__connection_append(struct server__connection *connection, struct fr_slice bytes)
{
    bool was_empty = server__connection_unsent(connection) == 0;

    connection->queued_bytes += bytes.length;
    compact_output(connection);
    if (was_empty)
        fr_buffer_reserve(&connection->output, SERVER_OUTPUT_BYTES);
    keep(connection, bytes, 0);
    if (was_empty)
        set_due(connection);
}

static void flush(struct server__connection *connection)
{
    struct iovec piece = {.iov_len = server__connection_unsent(connection)};

    if (piece.iov_len == 0)
        return;
    piece.iov_base = connection->output.bytes + connection->output_at;
    connection->output_at += transmit(connection, &piece, 1);
    if (connection->is_dead)
        return;
    if (server__connection_unsent(connection) == 0) {
        fr_buffer_fini(&connection->output);
        connection->output_at = 0;
    } else if (connection->sent_bytes >= connection->due_bytes) {
        set_due(connection);
    }
}

/* ---- Reading ---- */

/* All that the protocol, or the one it hands over to, can use. */
static size_t take(struct server__connection *connection, struct fr_slice bytes)
{
    const struct server__protocol *protocol;
    size_t used = 0;

    do {
        protocol = connection->protocol;
        if (connection->is_dead || connection->is_finishing)
            return bytes.length;
        used += protocol->take(connection, fr_slice((const char *)bytes.bytes + used, bytes.length - used));
    } while (protocol != connection->protocol);
    return connection->is_dead || connection->is_finishing ? bytes.length : used;
}

static void drop_input(struct server__connection *connection, size_t used)
{
    struct fr_buffer *input = &connection->input;

    if (used == input->length) {
        fr_buffer_fini(input);
    } else if (used > 0) {
        input->length -= used;
        memmove(input->bytes, input->bytes + used, input->length);
    }
}

/* Goes on with what is there until there is nothing to do, or too much is unsent. */
static void advance(struct server__connection *connection)
{
    bool was_blocked = true;

    while (was_blocked && !connection->is_dead) {
        if (connection->input.length > 0)
            drop_input(connection, take(connection, fr_buffer_slice(&connection->input)));
        if (connection->protocol->pump && !connection->is_dead && !connection->is_finishing)
            connection->protocol->pump(connection);
        if (connection->is_dead)
            return;
        was_blocked = server__connection_unsent(connection) > SERVER_UNSENT_BYTES;
        flush(connection);
        if (server__connection_unsent(connection) > SERVER_UNSENT_BYTES)
            break;
    }
    settle(connection);
}

static void feed(struct server__connection *connection, struct fr_slice bytes)
{
    size_t used = connection->input.length == 0 ? take(connection, bytes) : 0;

    if (connection->is_dead)
        return;
    if (used < bytes.length)
        fr_buffer_append(&connection->input, (const char *)bytes.bytes + used, bytes.length - used);
    if (connection->input.is_failed)
        server__connection_close(connection);
    else
        advance(connection);
}

/* False while TLS is not open yet, or never will be. */
static bool is_open(struct server__connection *connection)
{
    if (!connection->session || connection->session->is_open)
        return true;
    if (server__transport_open(connection) == SERVER_MOVED_BROKEN)
        server__connection_close(connection);
    return !connection->is_dead && connection->session->is_open;
}

static void read_some(struct server__connection *connection)
{
    uint8_t *scratch = connection->loop->scratch;
    size_t got;

    if (!is_open(connection)) {
        settle(connection);
        return;
    }
    switch (server__transport_read(connection, scratch, SERVER_READ_BYTES, &got)) {
    case SERVER_MOVED:
        if (!connection->is_lingering)
            feed(connection, fr_slice(scratch, got));
        break;
    case SERVER_MOVED_NOT_NOW:
        if (connection->session)
            settle(connection);
        break;
    case SERVER_MOVED_END:
        connection->is_read_closed = true;
        settle(connection);
        break;
    case SERVER_MOVED_BROKEN:
        server__connection_close(connection);
        break;
    }
}

static void on_readable(int fd, short what, void *user)
{
    struct server__connection *connection = user;
    struct server__loop *loop = connection->loop;
    int64_t now_us;

    (void)fd;
    if (what & EV_TIMEOUT)
        connection->is_reading = false; /* libevent has taken it out, as it does with every event whose time comes */
    if (loop->round_us == 0)
        loop->round_us = loop->read_us = fr_clock_monotonic_us();
    read_some(connection);
    now_us = fr_clock_monotonic_us();
    server__line_charge(connection, now_us - loop->read_us, now_us); /* what it cost to understand it is its, too */
    loop->read_us = now_us;
}

static void on_writable(int fd, short what, void *user)
{
    struct server__connection *connection = user;

    if (server__transport_wants_write(connection))
        on_readable(fd, what, connection);
    if (!connection->is_dead)
        advance(connection);
}

void server__connection_resume(struct server__connection *connection)
{
    advance(connection);
}

void server__connection_drain(struct server__connection *connection)
{
    on_readable(connection->fd, 0, connection); /* a request that is here already is still answered */
    if (connection->protocol->drain && !connection->is_dead && !connection->is_finishing) {
        connection->protocol->drain(connection);
        advance(connection);
    }
    settle(connection);
}

/* ---- Time, and which events are wanted ---- */

void server__connection_expire(struct server__connection *connection, int64_t span_ms)
{
    connection->expires_ms = span_ms == INT64_MAX ? INT64_MAX : fr_clock_monotonic_ms() + span_ms;
}

void server__connection_switch(struct server__connection *connection, const struct server__protocol *protocol)
{
    connection->protocol->end(connection);
    connection->protocol = protocol;
    protocol->begin(connection);
}

void server__connection_finish(struct server__connection *connection)
{
    connection->is_finishing = true;
}

/*
 * Everything is sent. To close now, with input unread, would make the kernel send a reset that can overtake the reply; so only
 * our side is shut, and what the peer still sends is thrown away until it closes too.
 */
static void linger(struct server__connection *connection)
{
    fr_buffer_fini(&connection->input);
    if (connection->session)
        server__session_goodbye(connection->session);
    if (connection->is_read_closed || shutdown(connection->fd, SHUT_WR) != 0) {
        server__connection_close(connection);
        return;
    }
    connection->is_lingering = true;
    connection->linger_ms = fr_clock_monotonic_ms() + SERVER_LINGER_MS;
}

static bool wants_to_read(const struct server__connection *connection)
{
    if (connection->is_read_closed)
        return false;
    if (connection->is_lingering)
        return true;
    return !connection->is_finishing && server__connection_unsent(connection) <= SERVER_UNSENT_BYTES &&
           !(connection->protocol->is_busy(connection) && connection->input.length >= SERVER_AHEAD_BYTES);
}

static bool set_event(struct event *event, bool *is_added, bool is_wanted)
{
    if (*is_added == is_wanted)
        return true;
    if ((is_wanted ? event_add(event, NULL) : event_del(event)) != 0)
        return false;
    *is_added = is_wanted;
    return true;
}

/*
 * `goes_on`: there may be more to do once there is room to write. False when libevent has no memory for it, or the kernel none:
 * nothing would ever happen on this connection again.
 */
static bool set_events(struct server__connection *connection, bool goes_on)
{
    static const struct timeval at_once = {0};

    if (!set_event(connection->read_event, &connection->is_reading, wants_to_read(connection)) ||
        !set_event(connection->write_event, &connection->is_writing,
                   goes_on || server__connection_unsent(connection) > 0 || server__transport_wants_write(connection)))
        return false;
    /* The socket will not say so; other connections come first. */
    return !connection->is_reading || !server__transport_has_more(connection) ||
           event_add(connection->read_event, &at_once) == 0;
}

static int64_t next_expiry_ms(const struct server__connection *connection)
{
    if (connection->is_lingering)
        return connection->linger_ms;
    return server__connection_unsent(connection) > 0 ? connection->due_ms : connection->expires_ms;
}

static bool is_age_due(const struct server__connection *connection)
{
    return !connection->is_lingering && fr_clock_monotonic_ms() >= connection->age_ms;
}

/* The timer is only ever moved to an earlier time; when it fires too early it is set again. Most requests never touch it. */
static bool set_timer(struct server__connection *connection)
{
    int64_t expiry_ms = next_expiry_ms(connection);
    int64_t at_ms = expiry_ms < connection->age_ms || connection->is_lingering ? expiry_ms : connection->age_ms;
    int64_t span_ms;
    struct timeval span;

    if (at_ms >= connection->timer_ms)
        return true;
    span_ms = at_ms - fr_clock_monotonic_ms();
    if (span_ms < 1)
        span_ms = 1;
    span = (struct timeval){.tv_sec = span_ms / 1000, .tv_usec = span_ms % 1000 * 1000};
    if (event_add(connection->timer, &span) != 0)
        return false;
    connection->timer_ms = at_ms;
    return true;
}

/* What it holds counts for its loop; true when the loop holds too much, and this one a part of it worth naming. */
static bool is_over_held(struct server__connection *connection)
{
    size_t held = connection->input.capacity + connection->output.capacity + connection->protocol->held(connection);
    struct server__loop *loop = connection->loop;

    loop->held_bytes += held - connection->held_bytes;
    connection->held_bytes = held;
    return loop->held_bytes > SERVER_HELD_BYTES && held > SERVER_READ_BYTES;
}

/* After anything happened: closes what is over, and waits for what comes next. */
static void settle(struct server__connection *connection)
{
    bool was_blocked;

    if (!connection->is_dead && !connection->is_finishing && is_over_held(connection))
        connection->protocol->cut(connection, SERVER_FAULT_OVERLOAD);
    if (connection->is_dead)
        return;
    was_blocked = server__connection_unsent(connection) > SERVER_UNSENT_BYTES;
    flush(connection);
    if (connection->is_dead)
        return;
    if (server__connection_unsent(connection) == 0 && !was_blocked) {
        if (connection->is_finishing && !connection->is_lingering)
            linger(connection);
        else if (connection->is_read_closed && !connection->protocol->is_busy(connection))
            server__connection_close(connection);
        else if (connection->loop->is_draining && !connection->is_finishing && connection->protocol->is_idle(connection))
            server__connection_close(connection);
        if (connection->is_dead)
            return;
    }
    /* What advance() could not begin a moment ago, for want of room, is begun when the socket says that there is some. */
    if (!set_events(connection, was_blocked) || !set_timer(connection))
        server__connection_close(connection);
}

static void on_timer(int fd, short what, void *user)
{
    struct server__connection *connection = user;

    (void)fd;
    (void)what;
    connection->timer_ms = INT64_MAX;
    if (is_age_due(connection)) {
        server__age_come(connection);
        if (!connection->is_dead)
            advance(connection);
    }
    if (!connection->is_dead && fr_clock_monotonic_ms() >= next_expiry_ms(connection)) {
        if (connection->is_lingering) {
            server__connection_close(connection);
        } else if (server__connection_unsent(connection) > 0) {
            fr_counter_add(connection->loop->server->slow_readers, 1);
            server__connection_close(connection);
        } else {
            connection->protocol->expire(connection);
            advance(connection);
        }
    }
    settle(connection);
}

void server__connection_adopt(struct server__connection *connection, struct server__loop *loop)
{
    connection->loop = loop;
    connection->next = loop->connections;
    if (loop->connections)
        loop->connections->previous = connection;
    loop->connections = connection;
    loop->adopted_count++;
    fr_gauge_set(loop->connection_gauge, loop->adopted_count);

    connection->protocol = connection->is_operations ? &server__http1_protocol : &server__sniffer;
    connection->protocol->begin(connection);
    connection->read_event = event_new(loop->base, connection->fd, EV_READ | EV_PERSIST, on_readable, connection);
    connection->write_event = event_new(loop->base, connection->fd, EV_WRITE | EV_PERSIST, on_writable, connection);
    connection->timer = event_new(loop->base, -1, 0, on_timer, connection);
    if (!connection->read_event || !connection->write_event || !connection->timer) {
        server__connection_close(connection);
        return;
    }
    server__connection_expire(connection, loop->server->options.limits.header_ms);
    server__age_begin(connection);
    settle(connection);
}
