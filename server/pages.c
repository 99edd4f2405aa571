/*
 * The operations port: pages, found by their exact path, read only. On loopback a page may be read without any credential by
 * whoever can reach it, and a browser on this machine can be made to reach it by a name that its attacker owns (DNS rebinding):
 * so there the Host must be this machine's.
 */
#include "internal.h"

#include <freshet/text.h>

#include <stdio.h>

int server__page_find(const struct server *server, enum server__http_method method, struct fr_slice path,
                      const struct server_page **page)
{
    const struct server_options *options = &server->options;

    if (method != SERVER_HTTP_GET && method != SERVER_HTTP_HEAD)
        return 405;
    for (int i = 0; i < options->page_count; i++) {
        if (!fr_slice_is(path, options->pages[i].path))
            continue;
        *page = &options->pages[i];
        return 200;
    }
    return 404;
}

static const char *explain(int http_status)
{
    switch (http_status) {
    case 404:
        return "no such page\n";
    case 405:
        return "pages are read by GET\n";
    default:
        return "this Host is not served here; use localhost or a loopback address\n";
    }
}

struct server__reply server__page_reply(struct server__loop *loop, const struct server_page *page, int http_status)
{
    struct server__reply reply = {
        .http_status = http_status,
        .content_type = "text/plain; charset=utf-8",
        .fields = {{"cache-control", "no-store"}, {"x-content-type-options", "nosniff"}},
    };

    if (http_status == 405)
        reply.fields[2] = (struct server__field){"allow", "GET, HEAD"};
    fr_buffer_clear(&loop->body);
    if (page)
        page->render(page->user, &loop->body, &reply.content_type, &reply.http_status);
    else
        fr_buffer_append_text(&loop->body, explain(http_status));
    if (loop->body.is_failed) {
        fr_buffer_clear(&loop->body);
        reply.http_status = 503;
    }
    reply.body = fr_buffer_slice(&loop->body);
    return reply;
}

/* "127.0.0.1", any 127.a.b.c. */
static bool is_loopback_v4(struct fr_slice host)
{
    unsigned bytes[4];
    char text[16];
    int length = 0;

    if (host.length >= sizeof text)
        return false;
    memcpy(text, host.bytes, host.length);
    text[host.length] = '\0';
    return sscanf(text, "%3u.%3u.%3u.%3u%n", &bytes[0], &bytes[1], &bytes[2], &bytes[3], &length) == 4 &&
           (size_t)length == host.length && bytes[0] == 127 && bytes[1] < 256 && bytes[2] < 256 && bytes[3] < 256;
}

bool server__page_host_is_known(struct fr_slice host, bool has_host, bool listener_is_loopback)
{
    const char *text = host.bytes;
    const char *colon;

    if (!listener_is_loopback || !has_host)
        return true; /* only HTTP/1.0 may leave it out, and no browser speaks that */
    if (host.length == 0)
        return false;
    if (text[0] == '[') {
        const char *bracket = memchr(text, ']', host.length);

        return bracket && fr_slice_is(fr_slice(text, (size_t)(bracket - text) + 1), "[::1]");
    }
    colon = memchr(text, ':', host.length);
    if (colon)
        host.length = (size_t)(colon - text);
    return fr_text_equal_nocase(host, "localhost") || is_loopback_v4(host);
}
