/*
 * The other end of TLS, for the command line: it lives here because OpenSSL does. A client is used by one thread, on a socket that
 * does not block and stays the caller's, who waits for it as each step says.
 */
#ifndef FRESHET_TLS_CLIENT_H
#define FRESHET_TLS_CLIENT_H

#include <freshet/error.h>

#include <stddef.h>

struct server_client_tls {
    const char *ca; /* PEM file of who signs the nodes' certificates, or "system": those of the machine */
    const char *certificate, *key; /* of the client, where nodes ask for one; both or neither */
    const char *host; /* a name or an address that the node's certificate must have */
};

enum server_client_step { SERVER_CLIENT_DONE, SERVER_CLIENT_READS, SERVER_CLIENT_WRITES, SERVER_CLIENT_FAILED };

struct server_client;

/* FR_BAD_CONFIG: a file can't be used; the message says which. */
FR_CHECKED bool server_client_open(const struct server_client_tls *options, int fd, struct server_client **client,
                                   struct fr_err *err);
void server_client_close(struct server_client *client); /* NULL is fine */

/*
 * Each is called again, with the same arguments, when the socket can be read (READS) or written (WRITES). FAILED fills *err:
 * FR_UNAVAILABLE with what TLS says. A write moves all bytes or asks to go on; *got 0 is the end.
 */
enum server_client_step server_client_handshake(struct server_client *client, struct fr_err *err);
enum server_client_step server_client_write(struct server_client *client, const void *bytes, size_t length, struct fr_err *err);
enum server_client_step server_client_read(struct server_client *client, void *bytes, size_t capacity, size_t *got,
                                           struct fr_err *err);

#endif
