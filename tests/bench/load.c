/*
 * The load of S1: GetFeatures of one user and so many items, ids drawn anew for each request among 100,000 users and 100,000 items,
 * over connections that each ask again as soon as they are answered; all in one thread.
 *
 *   load ADDRESS grpc|http1 CONNECTIONS SECONDS ITEMS SEED [FILE [USERS]]
 *
 * prints one line of JSON: requests, seconds, per_second, p50_us, p99_us, p999_us, reply_bytes, cpu_s (its own); the last reply's
 * message goes to FILE ("": nowhere). USERS: there are fewer.
 */
#include "load.h"

#include <freshet/clock.h>

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 1024, PATIENCE_MS = 10000 };

struct load {
    struct load_connection connections[CONNECTIONS_MAX];
    int connection_count;
    int asked_count; /* connections that wait for an answer */
    int64_t end_us; /* nothing is asked from then on */
    int user_count, item_count;
    uint64_t draw;
    struct fr_buffer latencies; /* of each answer, int microseconds */
    size_t reply_bytes;
};

static bool fail(const char *what)
{
    fprintf(stderr, "load: ");
    perror(what);
    return false;
}

static bool send_all(struct load_connection *connection)
{
    struct fr_buffer *out = &connection->out;

    if (out->is_failed)
        return fail("memory");
    for (size_t at = 0; at < out->length;) {
        ssize_t sent = send(connection->fd, out->bytes + at, out->length - at, MSG_NOSIGNAL);

        if (sent < 0)
            return fail("send");
        at += (size_t)sent;
    }
    fr_buffer_clear(out);
    return true;
}

static bool ask(struct load *load, struct load_connection *connection)
{
    int64_t now_us = fr_clock_monotonic_us();

    if (now_us >= load->end_us)
        return true;
    load->asked_count++;
    load_request(&load->draw, load->user_count, load->item_count, "s1", &connection->message);
    fr_buffer_clear(&connection->in);
    connection->is_answered = false;
    connection->asked_us = now_us;
    return connection->protocol->ask(connection) && send_all(connection);
}

static bool receive(struct load *load, struct load_connection *connection)
{
    static uint8_t bytes[1 << 18];
    ssize_t got = recv(connection->fd, bytes, sizeof bytes, 0);
    int latency_us;

    if (got <= 0)
        return fail(got < 0 ? "recv" : "the server hung up");
    if (!connection->protocol->take(connection, fr_slice(bytes, (size_t)got)) || !send_all(connection))
        return false;
    if (!connection->is_answered)
        return true;
    load->asked_count--;
    latency_us = (int)(fr_clock_monotonic_us() - connection->asked_us);
    fr_buffer_append(&load->latencies, &latency_us, sizeof latency_us);
    load->reply_bytes = connection->reply.length;
    return ask(load, connection);
}

static bool run(struct load *load)
{
    struct pollfd fds[CONNECTIONS_MAX];

    for (int i = 0; i < load->connection_count; i++) {
        fds[i] = (struct pollfd){.fd = load->connections[i].fd, .events = POLLIN};
        if (!ask(load, &load->connections[i]))
            return false;
    }
    while (load->asked_count > 0) {
        if (poll(fds, (nfds_t)load->connection_count, PATIENCE_MS) <= 0)
            return fail("nothing came for 10 s");
        for (int i = 0; i < load->connection_count; i++)
            if (fds[i].revents && !receive(load, &load->connections[i]))
                return false;
    }
    return true;
}

static int by_value(const void *a, const void *b)
{
    int x = *(const int *)a, y = *(const int *)b;

    return (x > y) - (x < y);
}

static void report(struct load *load, int64_t span_us)
{
    int *latency_us = (int *)(void *)load->latencies.bytes;
    size_t count = load->latencies.length / sizeof *latency_us;
    struct rusage used;

    getrusage(RUSAGE_SELF, &used);
    qsort(latency_us, count, sizeof *latency_us, by_value);
    printf(
        "{\"requests\":%zu,\"seconds\":%.3f,\"per_second\":%.0f,\"p50_us\":%d,\"p99_us\":%d,\"p999_us\":%d,\"reply_bytes\":%zu,"
        "\"cpu_s\":%.3f}\n",
        count, (double)span_us / 1e6, (double)count * 1e6 / (double)span_us, latency_us[count / 2],
        latency_us[count * 99 / 100], latency_us[count * 999 / 1000], load->reply_bytes,
        (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6);
}

static bool save(const struct load *load, const char *path)
{
    struct fr_slice reply = load->connections[0].reply;
    FILE *file = fopen(path, "wb");

    if (!file)
        return fail(path);
    bool is_written = fwrite(reply.bytes, 1, reply.length, file) == reply.length;
    return (fclose(file) == 0 && is_written) || fail(path);
}

static bool open_all(struct load *load, const char *address, const struct load_protocol *protocol)
{
    for (int i = 0; i < load->connection_count; i++) {
        struct load_connection *connection = &load->connections[i];

        connection->protocol = protocol;
        connection->fd = load_connect(address);
        if (connection->fd < 0)
            return fail(address);
        if (!protocol->open(connection))
            return false;
    }
    return true;
}

static void close_all(struct load *load)
{
    for (int i = 0; i < load->connection_count && load->connections[i].protocol; i++) {
        struct load_connection *connection = &load->connections[i];

        connection->protocol->close(connection);
        if (connection->fd >= 0)
            close(connection->fd);
        fr_buffer_fini(&connection->message);
        fr_buffer_fini(&connection->out);
        fr_buffer_fini(&connection->in);
    }
}

int main(int argc, char **argv)
{
    static struct load load;
    const struct load_protocol *protocol = argc > 2 && strcmp(argv[2], load_http1.name) == 0 ? &load_http1 : &load_grpc;
    double seconds = 0;
    bool ok;

    if (argc >= 7) {
        load.connection_count = atoi(argv[3]);
        seconds = atof(argv[4]);
        load.item_count = atoi(argv[5]);
        load.draw = strtoull(argv[6], NULL, 10);
        load.user_count = argc > 8 ? atoi(argv[8]) : LOAD_USERS;
    }
    if (load.connection_count < 1 || load.connection_count > CONNECTIONS_MAX || !(seconds > 0) || load.user_count < 1) {
        fprintf(stderr, "usage: load ADDRESS grpc|http1 CONNECTIONS SECONDS ITEMS SEED [FILE [USERS]]\n");
        return 2;
    }
    ok = open_all(&load, argv[1], protocol);
    if (ok) {
        int64_t start_us = fr_clock_monotonic_us();

        load.end_us = start_us + (int64_t)(seconds * 1e6);
        ok = run(&load) && !load.latencies.is_failed && (argc < 8 || argv[7][0] == 0 || save(&load, argv[7]));
        if (ok)
            report(&load, fr_clock_monotonic_us() - start_us);
    }
    close_all(&load);
    fr_buffer_fini(&load.latencies);
    return ok ? 0 : 1;
}
