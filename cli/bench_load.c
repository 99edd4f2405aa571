/*
 * A load client in one thread: so many connections, each of which asks again as soon as it is answered.
 */
#include "bench.h"

#include <freshet/bench.h>
#include <freshet/clock.h>

#include <assert.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 64, ITEMS_MAX = 2000, READ_BYTES = 256 << 10, PATIENCE_MS = 10000 };

struct run {
    const struct cli_bench_load *load;
    struct cli_bench_connection connections[CONNECTIONS_MAX];
    int asked; /* connections that wait for an answer */
    int64_t end_us; /* nothing is asked from then on */
    struct fr_buffer latencies; /* of each answer, int microseconds */
    uint64_t reply_bytes;
    struct fr_err *err;
};

int cli_bench_load__connect(const char *address)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    const char *colon = strrchr(address, ':');
    struct addrinfo *found = NULL;
    char host[64];
    int fd, on = 1;

    if (!colon || (size_t)(colon - address) >= sizeof host)
        return -1;
    snprintf(host, sizeof host, "%.*s", (int)(colon - address), address);
    if (getaddrinfo(host, colon + 1, &hints, &found) != 0)
        return -1;
    fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, found->ai_addr, found->ai_addrlen) != 0) {
        close(fd);
        fd = -1;
    }
    freeaddrinfo(found);
    if (fd >= 0)
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    return fd;
}

static bool send_out(struct run *run, struct cli_bench_connection *connection)
{
    struct fr_buffer *out = &connection->out;

    for (size_t at = 0; at < out->length && !out->is_failed;) {
        ssize_t sent = send(connection->fd, out->bytes + at, out->length - at, MSG_NOSIGNAL);

        if (sent < 0)
            return fr_fail(run->err, FR_UNAVAILABLE, "%s: %s", run->load->address, strerror(errno));
        at += (size_t)sent;
    }
    if (out->is_failed)
        return fr_fail(run->err, FR_EXHAUSTED, "out of memory");
    fr_buffer_clear(out);
    return true;
}

static bool ask(struct run *run, struct cli_bench_connection *connection)
{
    const struct cli_bench_load *load = run->load;
    int64_t now_us = fr_clock_monotonic_us();
    uint64_t items[ITEMS_MAX];

    if (now_us >= run->end_us)
        return true;
    for (int i = 0; i < load->items; i++)
        items[i] = bench_s1_item(load->s1);
    run->asked++;
    connection->asked_us = now_us;
    connection->reply_bytes = 0;
    if (load->reply)
        fr_buffer_clear(load->reply);
    load->protocol->ask(connection, bench_s1_user(load->s1), items, load->items);
    return send_out(run, connection);
}

static bool receive(struct run *run, struct cli_bench_connection *connection)
{
    static uint8_t bytes[READ_BYTES];
    ssize_t got = recv(connection->fd, bytes, sizeof bytes, 0);
    bool is_answered = false;
    int latency_us;

    if (got <= 0)
        return fr_fail(run->err, FR_UNAVAILABLE, "%s hung up", run->load->address);
    if (!run->load->protocol->take(connection, fr_slice(bytes, (size_t)got), &is_answered, run->err) ||
        !send_out(run, connection))
        return false;
    if (!is_answered)
        return true;
    run->asked--;
    run->reply_bytes = connection->reply_bytes;
    latency_us = (int)(fr_clock_monotonic_us() - connection->asked_us);
    fr_buffer_append(&run->latencies, &latency_us, sizeof latency_us);
    return ask(run, connection);
}

static bool converse(struct run *run)
{
    struct pollfd fds[CONNECTIONS_MAX];
    int count = run->load->connections;

    for (int i = 0; i < count; i++) {
        fds[i] = (struct pollfd){.fd = run->connections[i].fd, .events = POLLIN};
        if (!ask(run, &run->connections[i]))
            return false;
    }
    while (run->asked > 0) {
        if (poll(fds, (nfds_t)count, PATIENCE_MS) <= 0)
            return fr_fail(run->err, FR_UNAVAILABLE, "%s: nothing came for %d s", run->load->address, PATIENCE_MS / 1000);
        for (int i = 0; i < count; i++) {
            if (fds[i].revents && !receive(run, &run->connections[i]))
                return false;
        }
    }
    return true;
}

static int by_value(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return (x > y) - (x < y);
}

static void sum_up(struct run *run, int64_t span_us, struct cli_bench_answers *answers)
{
    int *latency_us = (int *)(void *)run->latencies.bytes;
    size_t count = run->latencies.length / sizeof *latency_us;

    *answers = (struct cli_bench_answers){.requests = count, .reply_bytes = run->reply_bytes, .seconds = (double)span_us / 1e6};
    if (count == 0)
        return;
    qsort(latency_us, count, sizeof *latency_us, by_value);
    answers->p50_us = latency_us[count / 2];
    answers->p99_us = latency_us[count * 99 / 100];
    answers->p999_us = latency_us[count * 999 / 1000];
}

static bool open_all(struct run *run)
{
    for (int i = 0; i < run->load->connections; i++) {
        struct cli_bench_connection *connection = &run->connections[i];

        connection->keep = run->load->reply;
        connection->fd = cli_bench_load__connect(run->load->address);
        if (connection->fd < 0)
            return fr_fail(run->err, FR_UNAVAILABLE, "cannot connect to %s: %s", run->load->address, strerror(errno));
        run->load->protocol->open(connection);
    }
    return true;
}

bool cli_bench_load__run(const struct cli_bench_load *load, struct cli_bench_answers *answers, struct fr_err *err)
{
    static struct run run;
    int64_t start_us;
    bool is_good;

    assert(load->connections <= CONNECTIONS_MAX && load->items <= ITEMS_MAX);
    run = (struct run){.load = load, .err = err};
    for (int i = 0; i < CONNECTIONS_MAX; i++)
        run.connections[i].fd = -1;
    is_good = open_all(&run);
    start_us = fr_clock_monotonic_us();
    run.end_us = start_us + (int64_t)(load->seconds * 1e6);
    is_good = is_good && converse(&run);
    if (is_good && run.latencies.is_failed)
        is_good = fr_fail(err, FR_EXHAUSTED, "out of memory");
    if (is_good)
        sum_up(&run, fr_clock_monotonic_us() - start_us, answers);
    for (int i = 0; i < load->connections; i++) {
        if (run.connections[i].fd >= 0)
            close(run.connections[i].fd);
        fr_buffer_fini(&run.connections[i].out);
    }
    fr_buffer_fini(&run.latencies);
    return is_good;
}
