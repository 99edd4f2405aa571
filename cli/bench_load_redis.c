/* MGET of a user's and its candidates' blobs, by Redis' own protocol. */
#include "bench.h"

#include <inttypes.h>
#include <stdlib.h>

static void open_nothing(struct cli_bench_connection *connection)
{
    (void)connection;
}

static void append_key(struct fr_buffer *out, char kind, uint64_t id)
{
    char key[32];
    int length = snprintf(key, sizeof key, "%c%" PRIu64, kind, id);

    fr_buffer_append_format(out, "$%d\r\n%s\r\n", length, key);
}

static void ask(struct cli_bench_connection *connection, uint64_t user, const uint64_t *items, int count)
{
    struct fr_buffer *out = &connection->out;

    fr_buffer_append_format(out, "*%d\r\n$4\r\nMGET\r\n", count + 2);
    append_key(out, 'u', user);
    for (int i = 0; i < count; i++)
        append_key(out, 'i', items[i]);
}

/* "*201", then "$256" before each value. */
static bool take_line(struct cli_bench_connection *connection, struct fr_err *err)
{
    const char *line = (const char *)connection->head;
    long number;

    connection->head[connection->head_bytes - 1] = 0;
    number = strtol(line + 1, NULL, 10);
    connection->head_bytes = 0;
    if (line[0] == '*') {
        connection->values = (int)number;
        return true;
    }
    if (line[0] != '$' || number < 0)
        return fr_fail(err, FR_UNAVAILABLE, "redis answered %.40s", line);
    connection->left = (size_t)number + 2;
    connection->reply_bytes += (uint64_t)number;
    connection->values--;
    return true;
}

static bool take(struct cli_bench_connection *connection, struct fr_slice bytes, bool *is_answered, struct fr_err *err)
{
    const uint8_t *at = bytes.bytes, *end = at + bytes.length;

    while (at < end) {
        size_t part = (size_t)(end - at) < connection->left ? (size_t)(end - at) : connection->left;

        if (part > 0) {
            connection->left -= part;
            at += part;
        } else {
            if (connection->head_bytes == sizeof connection->head)
                return fr_fail(err, FR_UNAVAILABLE, "redis answered a line without an end");
            connection->head[connection->head_bytes++] = *at++;
            if (at[-1] == '\n' && !take_line(connection, err))
                return false;
        }
        *is_answered = *is_answered || (connection->left == 0 && connection->values == 0 && connection->head_bytes == 0);
    }
    return true;
}

const struct cli_bench_protocol cli_bench_load__redis = {.open = open_nothing, .ask = ask, .take = take};
