/*
 * The operations port: pages, found by their exact path, read only. Most may be read without any credential by whoever can reach
 * it, and a browser can be made to reach it by a name that its attacker owns (DNS rebinding): so the Host must be this machine's
 * on loopback, and elsewhere an address or a name that server.hosts lists.
 */
#include "convention.h"

#include <freshet/text.h>

#include <arpa/inet.h>
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
    case 401:
        return "this page needs the token of an administrator: 'Authorization: Bearer …'\n";
    case 403:
        return "this page is for administrators, or for this machine alone\n";
    case 405:
        return "pages are read by GET\n";
    case 503:
        return "out of memory; retry later\n";
    default:
        return "this Host is not served here; use an address of this machine, or list the name in server.hosts\n";
    }
}

/*
 * A page shows what others have sent as text: nothing but what this port serves may run, style, be asked or be embedded in it, nor may
 * it be embedded anywhere.
 */
void server__page_fields(struct server__reply *reply)
{
    static const struct server__field fields[] = {
        {"cache-control", "no-store"},
        {"x-content-type-options", "nosniff"},
        {"content-security-policy",
         "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
         "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"},
        {"referrer-policy", "no-referrer"},
    };
    int at = 0;

    while (at < SERVER_REPLY_FIELDS && reply->fields[at].name)
        at++;
    for (size_t i = 0; i < sizeof fields / sizeof *fields && at < SERVER_REPLY_FIELDS; i++)
        reply->fields[at++] = fields[i];
}

struct server__reply server__page_reply(struct server__loop *loop, const struct server_page *page, int http_status)
{
    struct server__reply reply = {.http_status = http_status, .content_type = "text/plain; charset=utf-8"};

    if (http_status == 405)
        reply.fields[0] = (struct server__field){"allow", "GET, HEAD"};
    if (http_status == 401)
        reply.fields[0] = (struct server__field){"www-authenticate", "Bearer"};
    server__page_fields(&reply);
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

/* Names can be made to mean any address, addresses can't. */
static bool is_address(struct fr_slice host)
{
    char text[64];
    struct in6_addr address;

    if (host.length >= sizeof text)
        return false;
    memcpy(text, host.bytes, host.length);
    text[host.length] = '\0';
    return inet_pton(AF_INET, text, &address) == 1 || inet_pton(AF_INET6, text, &address) == 1;
}

static bool is_listed(struct fr_slice host, const char *const *hosts, int host_count)
{
    for (int i = 0; i < host_count; i++)
        if (fr_text_equal_nocase(host, hosts[i]))
            return true;
    return false;
}

/* "host:port" without its port, "[v6]:port" without its brackets; empty when it is neither. */
static struct fr_slice without_port(struct fr_slice host)
{
    const char *text = host.bytes;
    const char *end = host.length == 0 ? NULL : memchr(text, text[0] == '[' ? ']' : ':', host.length);

    if (host.length > 0 && text[0] == '[')
        return end ? fr_slice(text + 1, (size_t)(end - text) - 1) : fr_slice_of("");
    return end ? fr_slice(text, (size_t)(end - text)) : host;
}

bool server__page_host_is_known(struct fr_slice host, bool has_host, bool listener_is_loopback, const char *const *hosts,
                                int host_count)
{
    if (!has_host)
        return true; /* only HTTP/1.0 may leave it out, and no browser speaks that */
    host = without_port(host);
    if (fr_text_equal_nocase(host, "localhost") || is_listed(host, hosts, host_count))
        return true;
    return listener_is_loopback ? is_loopback_v4(host) || fr_slice_is(host, "::1") : is_address(host);
}
