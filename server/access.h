/*
 * Who calls, what it may call, and how often.
 *
 * A caller is what is known of a connection's peer: its address, or once TLS is open a name of its certificate. A call may show a
 * token beside that, which then counts alone. Everything here is read only once the server is open, but the rate's slots and the
 * tokens, which are atomic; any loop.
 */
#ifndef FRESHET_SERVER_ACCESS_H
#define FRESHET_SERVER_ACCESS_H

#include "tokens.h"

#include <freshet/server.h>

#include <stdatomic.h>

struct server__call;

enum { SERVER_PRINCIPAL_BYTES = 128 };

/* ---- rate.c: calls a second of each principal ---- */

/*
 * A token bucket for each principal, in as many slots as there ever are: one whose bucket is full again needs none, so forgetting
 * it loses nothing. A slot is one word, a tag of the principal and the instant when its bucket will be full (the generic cell
 * rate algorithm), so that loops share it without a lock.
 */
enum { SERVER_RATE_SLOTS = 8192, SERVER_RATE_PROBES = 8 };

struct server__rate {
    _Atomic uint64_t *slots; /* NULL: no limit */
    uint64_t seed;
    int64_t call_us; /* what a call costs of its bucket */
    int64_t burst_us; /* what a bucket holds */
    int64_t opened_us;
};
FR_CHECKED bool server__rate_open(struct server__rate *rate, int per_second, int burst, int64_t now_us, struct fr_err *err);
void server__rate_close(struct server__rate *rate);
int64_t server__rate_take(struct server__rate *rate, const char *principal, int64_t now_us); /* 0: go on; else in so many µs */

/* ---- access.c ---- */

struct server__caller {
    char name[SERVER_PRINCIPAL_BYTES]; /* of the certificate or its grant, else the address without its port */
    const struct server_grant *grant; /* of the certificate; NULL: none */
    bool is_loopback;
};

struct server__access {
    const struct server_grant *grants;
    int grant_count;
    struct server__tokens tokens;
    struct server__rate rate;
    struct fr_counter *unauthenticated, *denied, *limited;
};

FR_CHECKED bool server__access_open(struct server__access *access, const struct server_options *options, struct fr_err *err);
void server__access_close(struct server__access *access);

/* `peer` is "address:port". */
void server__caller_init(struct server__caller *caller, const char *peer, bool is_loopback);

/* Its certificate, which was verified, has these names: the first that a grant has, else the first of all. */
void server__access_identify(const struct server__access *access, struct server__caller *caller, const char *names,
                             size_t name_bytes, int name_count);

/* An `authorization` field; bytes NULL where none came. Repeated ones are to be given as one that can't be right: "". */
struct server__credential {
    struct fr_slice authorization;
};

/*
 * Says in the call who calls. Refuses one that may not: unauthenticated, permission_denied, or resource_exhausted with
 * call->retry_ms. One that was refused already stays as it is.
 */
void server__access_check(struct server__call *call, const struct server__caller *caller,
                          const struct server__credential *credential);

/* Says in the call who calls, and no more: whether he may has been judged. */
void server__access_name(struct server__call *call, const struct server__caller *caller,
                         const struct server__credential *credential);

/* The HTTP status that a request for this page deserves: 200, 401 or 403. */
int server__access_page(struct server__access *access, const struct server_page *page, const struct server__caller *caller,
                        const struct server__credential *credential);

/* Notes the field, if it is the one. */
void server__credential_field(struct server__credential *credential, struct fr_slice name, struct fr_slice value);

/* ---- audit.c ---- */

/* A line of the log for a call of the admin group that has ended: who, what, from where, how; nothing of what was asked. */
void server__audit(const struct server__call *call);

#endif
