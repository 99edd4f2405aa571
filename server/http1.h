/*
 * The parser of HTTP/1.1: http1.c, http1_framing.c, http1_body.c; and sniff.c, what a connection speaks. No allocation, no I/O.
 */
#ifndef FRESHET_SERVER_HTTP1_H
#define FRESHET_SERVER_HTTP1_H

#include "status.h"

#include <freshet/slice.h>

enum server__http_method { SERVER_HTTP_GET, SERVER_HTTP_HEAD, SERVER_HTTP_POST, SERVER_HTTP_OTHER };

enum server__http1_state {
    SERVER_HTTP1_METHOD,
    SERVER_HTTP1_TARGET,
    SERVER_HTTP1_VERSION,
    SERVER_HTTP1_LINE_LF,
    SERVER_HTTP1_FIELD, /* the first byte of a field or of the end */
    SERVER_HTTP1_NAME,
    SERVER_HTTP1_VALUE,
    SERVER_HTTP1_VALUE_LF,
    SERVER_HTTP1_END_LF,
    SERVER_HTTP1_HEAD_DONE,
    SERVER_HTTP1_FIXED, /* bodies from here on */
    SERVER_HTTP1_SIZE,
    SERVER_HTTP1_EXTENSION,
    SERVER_HTTP1_SIZE_LF,
    SERVER_HTTP1_DATA,
    SERVER_HTTP1_DATA_CR,
    SERVER_HTTP1_DATA_LF,
    SERVER_HTTP1_TRAILER,
    SERVER_HTTP1_TRAILER_NAME,
    SERVER_HTTP1_TRAILER_VALUE,
    SERVER_HTTP1_TRAILER_LF,
    SERVER_HTTP1_LAST_LF,
    SERVER_HTTP1_BODY_DONE,
};

struct server__span {
    size_t at;
    size_t length;
};

struct server__http1 {
    size_t header_bytes_max;
    int header_count_max;
    uint64_t body_bytes_max;

    enum server__http1_state state;
    size_t at; /* bytes of the head read so far */
    int fields; /* header fields, then trailer fields, seen so far */
    size_t fields_at;
    enum server__fault fault;

    /* Known once the head is read; spans count from the first byte of the request. */
    struct server__span method_text, target, path, host;
    enum server__http_method method;
    bool has_host;
    bool is_1_0;
    bool is_chunked;
    bool has_length;
    bool expects_continue;
    bool is_close; /* the connection ends with this request */

    uint64_t length; /* of a body with Content-Length */
    uint64_t remaining; /* of the body, or of its chunk */
    uint64_t received; /* body bytes so far */
    int digits; /* of a chunk size */
    size_t overhead; /* bytes of chunk extensions and trailers */
};

enum server__parsed { SERVER_MORE, SERVER_DONE, SERVER_FAILED };

/* Ready for the next request, with the same limits. */
void server__http1_reset(struct server__http1 *parser);

/*
 * Reads on in a head. `bytes` begins at the first byte of the request and holds again whatever it held at the call before.
 * DONE: parser->at bytes were the head. FAILED: parser->fault.
 */
enum server__parsed server__http1_head(struct server__http1 *parser, struct fr_slice bytes);

/*
 * Reads on in the body, from the first byte not yet taken: *used bytes were taken, and *piece (in `bytes`, may be empty) is
 * body. MORE: call again with what follows. DONE: the request ends after *used.
 */
enum server__parsed server__http1_body(struct server__http1 *parser, struct fr_slice bytes, size_t *used,
                                       struct fr_slice *piece);

/* True when a request with this head has a body to read. */
bool server__http1_has_body(const struct server__http1 *parser);

/* The next header field of a head that is DONE; start with *at = 0. False: no more. The value has no space around it. */
bool server__http1_field(const struct server__http1 *parser, const void *head, size_t *at, struct fr_slice *name,
                         struct fr_slice *value);

/* "/path" without its query; what follows the '?', empty where there is none. */
struct fr_slice server__http1_path(const struct server__http1 *parser, const void *head);
struct fr_slice server__http1_query(const struct server__http1 *parser, const void *head);

/* For its parts. */
bool server__http1_fail(struct server__http1 *parser, enum server__fault fault); /* false, always */
bool server__http1_is_token(uint8_t byte);
bool server__http1_is_value(uint8_t byte);
struct fr_slice server__http1_trim(const uint8_t *from, const uint8_t *to);
struct fr_slice server__http1_slice(struct server__span span, const void *head);
bool server__http1_frame(struct server__http1 *parser, const uint8_t *head); /* the head is whole: what it means */

/* ---- sniff.c ---- */

enum server__sniffed { SERVER_SNIFF_MORE, SERVER_SNIFF_HTTP1, SERVER_SNIFF_HTTP2, SERVER_SNIFF_OTHER };
enum server__sniffed server__sniff(struct fr_slice bytes);

/* Index into the known HTTP methods, or −1. `prefix`: text may be the beginning of one. */
int server__known_method(struct fr_slice text);
bool server__known_method_begins(struct fr_slice text);

#endif
