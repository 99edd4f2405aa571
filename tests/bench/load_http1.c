/* GetFeatures over HTTP/1.1 with application/proto. */
#include "load.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool open_nothing(struct load_connection *connection)
{
    (void)connection;
    return true;
}

static void close_nothing(struct load_connection *connection)
{
    (void)connection;
}

static bool ask(struct load_connection *connection)
{
    fr_buffer_append_format(&connection->out,
                            "POST " LOAD_PATH " HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/proto\r\n"
                            "Content-Length: %zu\r\n\r\n",
                            connection->message.length);
    fr_buffer_append(&connection->out, connection->message.bytes, connection->message.length);
    return true;
}

/* The head is looked at again with each read: it comes with the first, and a reply takes few. */
static bool take(struct load_connection *connection, struct fr_slice bytes)
{
    static const char field[] = "content-length: ";
    struct fr_buffer *in = &connection->in;
    const char *begin, *end, *length;
    size_t head, body;

    fr_buffer_append(in, bytes.bytes, bytes.length);
    begin = (const char *)in->bytes;
    end = in->is_failed ? NULL : memmem(begin, in->length, "\r\n\r\n", 4);
    if (!end)
        return !in->is_failed;
    head = (size_t)(end - begin) + 4;
    length = NULL;
    for (const char *at = begin; at < end && !length; at++)
        if (strncasecmp(at, field, sizeof field - 1) == 0)
            length = at + sizeof field - 1;
    if (strncmp(begin, "HTTP/1.1 200 ", 13) != 0 || !length) {
        fprintf(stderr, "load: answered %.*s\n", (int)in->length, begin);
        return false;
    }
    body = strtoul(length, NULL, 10);
    connection->reply = fr_slice(in->bytes + head, body);
    connection->is_answered = in->length >= head + body;
    return true;
}

const struct load_protocol load_http1 = {
    .name = "http1",
    .open = open_nothing,
    .ask = ask,
    .take = take,
    .close = close_nothing,
};
