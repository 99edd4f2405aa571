/*
 * A server with a toy method table on free ports, and a client that sends exactly the bytes it is told to.
 */
#ifndef TESTS_SERVER_CLIENT_H
#define TESTS_SERVER_CLIENT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "internal.h"

/*
 * GetFeatures answers with what it was asked: request_id = user_id, item_values = item_ids, user_columns = features; a
 * feature_set that is the name of a code fails with it, and "postponed" postpones itself, then does as Describe; "early" says
 * so in `entered` and is asked again until there is a token in `gate`, "early, then postponed" goes to the pool then; "busy" takes
 * 20 ms of its loop. Describe is slow: it says so in `entered` and waits for a token in `gate`. WatchFeatures sends interval_ms
 * updates of 20 KB, `skipped` counts them, then ends; or, where a feature is the name of
 * a code, fails with it.
 */
struct toy {
    struct server *server;
    struct server_method methods[3];
    struct server_page pages[3]; /* "/status", "/teapot" with a status and type of its own, "/door" to GetFeatures */
    struct fr_metrics *metrics;
    struct fr_queue *entered, *gate;
    atomic_bool is_serving;
    atomic_int updates, watches_ended, worked; /* calls of GetFeatures */
    atomic_int ticks;
};

/* Small enough to be reached: 64 KiB of body, 200 ms where `impatient`. */
void toy_limits(struct server_limits *limits);
void toy_start(struct toy *toy, const struct server_limits *limits);

/* The same with what `change` makes of the options; it may change the toy's methods and pages too. */
void toy_start_changed(struct toy *toy, void (*change)(struct toy *toy, struct server_options *options));
void toy_stop(struct toy *toy);
void toy_await_entered(struct toy *toy);
void toy_open_gate(struct toy *toy);
uint64_t toy_requests(struct toy *toy, const char *method, const char *code);
uint64_t toy_http_errors(struct toy *toy, const char *reason);

enum { CLIENT_BYTES = 256 << 10 };

struct client {
    int fd;
    size_t length; /* of what has come and was not asked for yet */
    char bytes[CLIENT_BYTES];
};

struct response {
    int status; /* 0: the server closed without one */
    char head[2048];
    char body[CLIENT_BYTES];
    size_t body_length;
};

struct client *client_open(const char *address);
void client_close(struct client *client);
void client_send(struct client *client, const char *text);
void client_send_bytes(struct client *client, const void *bytes, size_t length);
void client_shut(struct client *client); /* sends no more */

/* The next reply; waits up to 10 s. `is_head`: it has no body. */
void client_receive(struct client *client, struct response *response);
void client_receive_head(struct client *client, struct response *response);

/* Asserts that nothing but the end of the connection comes. */
void client_expect_end(struct client *client);

/* POST /freshet.v1.FeatureService/<method> with JSON, and its reply. */
void client_call(struct client *client, const char *method, const char *json, struct response *response);

/* The value of a header into a static buffer, or NULL. */
const char *response_header(const struct response *response, const char *name);

void assert_contains(const char *text, const char *part);

#endif
