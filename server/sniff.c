/*
 * What a client speaks, told from its first bytes: HTTP/2 begins with a fixed preface that was chosen to be no HTTP/1.1
 * request, HTTP/1.1 with a known method and a space. Anything else is not answered: it would not understand us.
 */
#include "internal.h"

static const char *const known_methods[] = {"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"};
enum { KNOWN_METHODS = sizeof known_methods / sizeof *known_methods };

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

int server__known_method(struct fr_slice text)
{
    for (int i = 0; i < KNOWN_METHODS; i++)
        if (fr_slice_is(text, known_methods[i]))
            return i;
    return -1;
}

bool server__known_method_begins(struct fr_slice text)
{
    for (int i = 0; i < KNOWN_METHODS; i++)
        if (text.length <= strlen(known_methods[i]) && memcmp(text.bytes, known_methods[i], text.length) == 0)
            return true;
    return false;
}

enum server__sniffed server__sniff(struct fr_slice bytes)
{
    size_t preface_bytes = sizeof preface - 1;
    size_t common = bytes.length < preface_bytes ? bytes.length : preface_bytes;
    const char *space;

    if (bytes.length == 0)
        return SERVER_SNIFF_MORE;
    if (memcmp(bytes.bytes, preface, common) == 0 && common > 1) /* "P" alone may become POST */
        return common == preface_bytes ? SERVER_SNIFF_HTTP2 : SERVER_SNIFF_MORE;

    space = memchr(bytes.bytes, ' ', bytes.length);
    if (space)
        return server__known_method(fr_slice(bytes.bytes, (size_t)(space - (const char *)bytes.bytes))) >= 0
                   ? SERVER_SNIFF_HTTP1
                   : SERVER_SNIFF_OTHER;
    return server__known_method_begins(bytes) ? SERVER_SNIFF_MORE : SERVER_SNIFF_OTHER;
}

static void sniffer_begin(struct server__connection *connection)
{
    (void)connection; /* its time runs since it was adopted */
}

static size_t sniffer_take(struct server__connection *connection, struct fr_slice bytes)
{
    switch (server__sniff(bytes)) {
    case SERVER_SNIFF_MORE:
        return 0;
    case SERVER_SNIFF_HTTP1:
        server__connection_switch(connection, &server__http1_protocol);
        return 0;
    case SERVER_SNIFF_HTTP2:
        server__connection_switch(connection, &server__http2_protocol);
        return 0; /* the preface is the session's to read */
    case SERVER_SNIFF_OTHER:
        break;
    }
    fr_counter_add(connection->loop->server->not_http, 1);
    server__connection_close(connection);
    return bytes.length;
}

static void sniffer_expire(struct server__connection *connection)
{
    server__connection_close(connection);
}

static void sniffer_cut(struct server__connection *connection, enum server__fault fault)
{
    (void)fault;
    server__connection_close(connection);
}

static bool sniffer_is_idle(const struct server__connection *connection)
{
    return connection->input.length == 0;
}

static bool sniffer_is_busy(const struct server__connection *connection)
{
    (void)connection;
    return false;
}

static size_t sniffer_held(const struct server__connection *connection)
{
    (void)connection;
    return 0;
}

static void sniffer_end(struct server__connection *connection)
{
    (void)connection;
}

const struct server__protocol server__sniffer = {
    .begin = sniffer_begin,
    .take = sniffer_take,
    .expire = sniffer_expire,
    .cut = sniffer_cut,
    .is_idle = sniffer_is_idle,
    .is_busy = sniffer_is_busy,
    .held = sniffer_held,
    .end = sniffer_end,
};
