/*
 * TLS on a connection.
 *
 * The certificate belongs to the acceptor: it reads the files, looks twice a second whether they changed, and gives each new
 * connection a session of what is current. A session keeps what it was made with for as long as it lives. No OpenSSL type is
 * named here; the files that hide them are tls_certificate.c, tls_session.c, tls_socket.c and tls_client.c.
 */
#ifndef FRESHET_SERVER_TLS_H
#define FRESHET_SERVER_TLS_H

#include "internal.h"
#include "look.h"

struct ssl_st;
struct ssl_ctx_st;
struct stat;

enum {
    SERVER_TLS_FILES = 4,
    SERVER_TLS_NAME_BYTES = 128, /* of a name in a certificate; longer ones are nobody's */
    SERVER_TLS_NAMES = 16 /* of a certificate that are looked at */
};

/* ---- tls_certificate.c: the files ---- */

struct server__tls {
    const struct server_tls *files; /* borrowed from the options */
    struct ssl_ctx_st *context; /* NULL: plaintext */
    struct server__look seen[SERVER_TLS_FILES]; /* at the last look */
    struct server__look loaded[SERVER_TLS_FILES]; /* when they were read last, in vain too */
    struct fr_counter *reloads, *reloads_failed;
    struct fr_gauge *expires;
};

/* Reads the files, unless there are none to read. FR_BAD_CONFIG says which file is wrong and how to mend it. */
FR_CHECKED bool server__tls_open(struct server__tls *tls, const struct server_tls *files, struct fr_metrics *metrics,
                                 struct fr_err *err);
void server__tls_close(struct server__tls *tls);

/*
 * Reads the files anew when they have changed and have been the same for two looks, so that a pair is not read between its two
 * renames. What can't be used is logged and counted, and the old certificate stays. On the acceptor.
 */
void server__tls_look(struct server__tls *tls);

/* ---- tls_session.c: one connection's ---- */

enum server__tls_state {
    SERVER_TLS_READY, /* something was done */
    SERVER_TLS_READS, /* goes on when the socket can be read … */
    SERVER_TLS_WRITES, /* … or written */
    SERVER_TLS_END, /* the peer has said that nothing more comes */
    SERVER_TLS_BROKEN
};

enum server__tls_protocol { SERVER_TLS_ANY, SERVER_TLS_HTTP1, SERVER_TLS_HTTP2 }; /* by ALPN; ANY: the peer named none */

struct server__session {
    struct ssl_st *ssl;
    bool is_open; /* the handshake is over */
    bool is_broken; /* nothing may be said any more */
    bool wants_write; /* reading goes on when the socket can be written */
    bool has_more; /* the last read ended because its room was full, not because nothing was left */
};

/* A session of what is current, on the socket `fd`, which stays the caller's; NULL when out of memory. `is_http1`: offers no h2. */
struct server__session *server__session_new(const struct server__tls *tls, int fd, bool is_http1);
void server__session_free(struct server__session *session); /* says goodbye when it may; NULL is fine */

enum server__tls_state server__session_open(struct server__session *session);

/* Reads up to `capacity` bytes, as many records as there are; *got 0 unless READY. */
enum server__tls_state server__session_read(struct server__session *session, void *bytes, size_t capacity, size_t *got);

/* Writes what the socket takes. What was not written must come again, in front of anything else. */
enum server__tls_state server__session_write(struct server__session *session, const void *bytes, size_t length, size_t *sent);
void server__session_goodbye(struct server__session *session); /* nothing is written after it */

enum server__tls_protocol server__session_protocol(const struct server__session *session);

/*
 * Names of the peer's certificate: of its subjectAltName (DNS, URI, email), then of its subject (CN). How many: 0 without a
 * certificate. Only after the handshake, which has verified it.
 */
int server__session_names(const struct server__session *session, char names[SERVER_TLS_NAMES][SERVER_TLS_NAME_BYTES]);

/* Why it broke, for a log: OpenSSL's reason, at most FR_MESSAGE_BYTES. The thread's queue of errors is empty afterwards. */
void server__tls_reason(char reason[FR_MESSAGE_BYTES]);

/* ---- tls_socket.c: a socket as OpenSSL reads and writes it, without SIGPIPE ---- */

FR_CHECKED bool server__tls_socket(struct ssl_st *ssl, int fd);

#endif
