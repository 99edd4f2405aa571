/*
 * An HTTP/2 client on a blocking socket: requests with any fields, bodies in pieces, replies with their trailers; and raw
 * frames, for what no client library would send.
 */
#ifndef TESTS_SERVER_CLIENT2_H
#define TESTS_SERVER_CLIENT2_H

#include "client.h"

struct nghttp2_session;

enum { CLIENT2_REPLIES = 512 };

struct client2_reply {
    int32_t id;
    int status; /* of HTTP; 0 while no head has come */
    char fields[2048]; /* "name: value\n" of head and trailers */
    struct fr_buffer body;
    struct fr_buffer request; /* what is to be sent … */
    size_t request_at;
    bool is_ended; /* … and whether that is all */
    bool is_closed;
    uint32_t error; /* of the RST_STREAM that closed it; 0 */
    bool reads; /* gives windows back */
};

struct client2 {
    int fd;
    struct nghttp2_session *session;
    struct client2_reply replies[CLIENT2_REPLIES];
    int count;
    bool is_over; /* the server closed */
    int goaways; /* that came */
    uint32_t goaway_error;
    int pings, pongs; /* that came */
    bool is_mute; /* answers no PING */
    bool reads; /* for replies to come */
};

struct client2 *client2_open(const char *address);
void client2_close(struct client2 *client);

/* Begins a request: `fields` are "name: value\n" lines beside :scheme and :authority, sent in order. */
struct client2_reply *client2_begin(struct client2 *client, const char *fields, struct fr_slice body, bool is_ended);
void client2_more(struct client2 *client, struct client2_reply *reply, struct fr_slice body, bool is_ended);
void client2_reset(struct client2 *client, struct client2_reply *reply, uint32_t error);

/* Moves bytes until the condition holds; fails after 10 s. */
void client2_await(struct client2 *client, bool (*is_met)(struct client2 *client, void *user), void *user);
void client2_await_reply(struct client2 *client, struct client2_reply *reply);
void client2_await_body(struct client2 *client, struct client2_reply *reply, size_t bytes);
void client2_await_pings(struct client2 *client, int count); /* in all */
void client2_await_end(struct client2 *client);
void client2_await_streams(struct client2 *client, uint32_t count); /* until the server has said that it allows so many */

/* POST with this content type, and its reply. */
struct client2_reply *client2_post(struct client2 *client, const char *path, const char *content_type, struct fr_slice body);

/* The value of a field of head or trailers into a static buffer, or NULL. */
const char *client2_field(const struct client2_reply *reply, const char *name);

/* ---- Raw frames, on a `struct client` ---- */

struct client *raw_open(const char *address); /* preface and empty settings are sent */
void raw_frame(struct client *client, uint8_t type, uint8_t flags, int32_t id, const void *payload, size_t length);

/* Reads frames until a GOAWAY with an error comes, and gives its code; −1 when the connection ends without. */
int raw_await_goaway(struct client *client);
int raw_await_reset(struct client *client, int32_t id); /* reads until this stream is reset; its code, or −1 */
bool raw_await_pong(struct client *client); /* false: the connection ended */

#endif
