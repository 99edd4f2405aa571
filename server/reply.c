/*
 * The head of an HTTP/1.1 reply.
 */
#include "convention.h"

#include <freshet/clock.h>

#include <stdio.h>
#include <time.h>

/* RFC 9110 wants a date from whoever has a clock. Made once a second, without the locale. */
const char *server__date(struct server__loop *loop)
{
    static const char days[][4] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
    static const char months[][4] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
    time_t second = (time_t)(fr_clock_wall_ms() / 1000);
    struct tm parts;

    if (second != loop->date_second && gmtime_r(&second, &parts)) {
        snprintf(loop->date, sizeof loop->date, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[parts.tm_wday % 7],
                 parts.tm_mday % 100, months[parts.tm_mon % 12], (parts.tm_year + 1900) % 10000, parts.tm_hour % 100,
                 parts.tm_min % 100, parts.tm_sec % 100);
        loop->date_second = second;
    }
    return loop->date;
}

void server__reply_head(struct server__loop *loop, const struct server__reply *reply, bool is_close, struct fr_buffer *out)
{
    struct fr_slice name, value;
    size_t at = 0;

    fr_buffer_append_format(out, "HTTP/1.1 %d %s\r\nDate: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n",
                            reply->http_status, server__http_reason(reply->http_status), server__date(loop),
                            reply->content_type, reply->body.length);
    for (int i = 0; i < SERVER_REPLY_FIELDS && reply->fields[i].name; i++)
        fr_buffer_append_format(out, "%s: %s\r\n", reply->fields[i].name, reply->fields[i].value);
    while (reply->more && server__fields_next(reply->more, &at, &name, &value))
        fr_buffer_append_format(out, "%s: %s\r\n", (const char *)name.bytes, (const char *)value.bytes);
    fr_buffer_append_text(out, is_close ? "Connection: close\r\n\r\n" : "\r\n");
}
