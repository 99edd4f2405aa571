/*
 * A Redis of its own without persistence, filled with what a feature store would keep there: one packed blob a user and one an item.
 */
#include "bench.h"

#include <freshet/bench.h>
#include <freshet/clock.h>

#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    START_MS = 10000,
    START_LOOK_MS = 20,
    FILL_COMMANDS = 256, /* sent before their answers are read */
    USER_BYTES = BENCH_S1_USER_FLOATS * 4 + BENCH_S1_USER_IDS * 8,
    ITEM_BYTES = BENCH_S1_ITEM_FLOATS * 4,
};

/* The first in PATH; false: none. */
static bool find(char path[CLI_DIRECTORY_BYTES])
{
    const char *at = getenv("PATH");

    while (at && *at) {
        size_t length = strcspn(at, ":");

        snprintf(path, CLI_DIRECTORY_BYTES, "%.*s/redis-server", (int)length, at);
        if (access(path, X_OK) == 0)
            return true;
        at += length + (at[length] == ':');
    }
    return false;
}

bool cli_bench_redis__is_here(void)
{
    char path[CLI_DIRECTORY_BYTES];

    return find(path);
}

/* A port that was free a moment ago: Redis cannot choose one itself. 0: none. */
static int free_port(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), port = 0;

    if (fd >= 0 && bind(fd, (struct sockaddr *)&address, length) == 0 &&
        getsockname(fd, (struct sockaddr *)&address, &length) == 0)
        port = ntohs(address.sin_port);
    if (fd >= 0)
        close(fd);
    return port;
}

/* ---- Filling ---- */

static void append_set(struct fr_buffer *out, char kind, uint64_t id, size_t bytes, uint64_t *state)
{
    char key[32];
    int length = snprintf(key, sizeof key, "%c%" PRIu64, kind, id);

    fr_buffer_append_format(out, "*3\r\n$3\r\nSET\r\n$%d\r\n%s\r\n$%zu\r\n", length, key, bytes);
    for (size_t i = 0; i < bytes; i += sizeof *state) {
        *state = *state * UINT64_C(6364136223846793005) + 1442695040888963407;
        fr_buffer_append(out, state, sizeof *state);
    }
    fr_buffer_append_text(out, "\r\n");
}

/* Sends what there is and reads as many "+OK\r\n". */
static bool exchange(int fd, struct fr_buffer *out, int commands)
{
    size_t wanted = (size_t)commands * 5, at = 0;
    char answer[4096];

    while (at < out->length) {
        ssize_t sent = send(fd, out->bytes + at, out->length - at, MSG_NOSIGNAL);

        if (sent <= 0)
            return false;
        at += (size_t)sent;
    }
    while (wanted > 0) {
        ssize_t got = recv(fd, answer, wanted < sizeof answer ? wanted : sizeof answer, 0);

        if (got <= 0 || memchr(answer, '-', (size_t)got))
            return false;
        wanted -= (size_t)got;
    }
    fr_buffer_clear(out);
    return true;
}

static bool fill(int fd, const struct bench_s1 *s1, struct fr_err *err)
{
    int count = s1->users + s1->items, waiting = 0;
    uint64_t state = 1;
    struct fr_buffer out;
    bool is_good = true;

    fr_buffer_init(&out);
    for (int i = 0; i < count && is_good; i++) {
        if (i < s1->users)
            append_set(&out, 'u', bench_s1_user_at((uint64_t)i), USER_BYTES, &state);
        else
            append_set(&out, 'i', bench_s1_item_at((uint64_t)(i - s1->users)), ITEM_BYTES, &state);
        if (++waiting == FILL_COMMANDS || i + 1 == count) {
            is_good = !out.is_failed && exchange(fd, &out, waiting);
            waiting = 0;
        }
    }
    fr_buffer_fini(&out);
    return is_good || fr_fail(err, FR_UNAVAILABLE, "redis-server did not take what it was given");
}

/* ---- The whole ---- */

static int await(const struct cli_bench_redis *redis)
{
    int64_t until_ms = fr_clock_monotonic_ms() + START_MS;
    int fd;

    while ((fd = cli_bench_load__connect(redis->address)) < 0 && fr_clock_monotonic_ms() < until_ms &&
           !cli_signals__is_stopped())
        fr_clock_sleep_ms(START_LOOK_MS);
    return fd;
}

bool cli_bench_redis__start(struct cli_bench_redis *redis, const char *directory, const struct bench_s1 *s1, struct fr_err *err)
{
    char path[CLI_DIRECTORY_BYTES], port[16];
    const char *const arguments[] = {"redis-server", "--bind", "127.0.0.1", "--port",  port,          "--save", "",
                                     "--appendonly", "no",     "--dir",     directory, "--daemonize", "no",     NULL};
    bool is_good;
    int fd;

    if (!find(path))
        return fr_fail(err, FR_UNAVAILABLE, "there is no redis-server; apt-get install redis-server");
    snprintf(port, sizeof port, "%d", free_port());
    snprintf(redis->address, sizeof redis->address, "127.0.0.1:%s", port);
    snprintf(redis->process.log, sizeof redis->process.log, "%s/redis.log", directory);
    if (!cli_bench_process__start(&redis->process, path, arguments, environ, err))
        return false;
    fd = await(redis);
    is_good = fd >= 0 ? fill(fd, s1, err) : fr_fail(err, FR_UNAVAILABLE, "redis-server did not begin to listen");
    if (fd >= 0)
        close(fd);
    if (!is_good)
        cli_bench_process__give_up(&redis->process);
    return is_good;
}
