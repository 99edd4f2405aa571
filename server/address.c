/*
 * Addresses to listen at: "127.0.0.1:7070", "[::1]:7070", "localhost:0". No other names: what a name means may change, and a
 * server that listens where nobody expects is worse than one that does not start.
 */
#include "internal.h"

#include <freshet/text.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BACKLOG = 1024, HOST_BYTES = 64 };

static bool complain(const char *text, const char *key, struct fr_err *err)
{
    return fr_fail(err, FR_BAD_CONFIG,
                   "server: cannot listen on '%s': not an address; set %s to IP:port, [IPv6]:port or localhost:port", text,
                   key);
}

/* "host:port" or "[v6]:port" into its parts; the port is checked to be one. */
static bool split(const char *text, char host[HOST_BYTES], char port[8])
{
    const char *colon = strrchr(text, ':');
    size_t length = colon ? (size_t)(colon - text) : 0;
    int64_t number;

    if (length == 0 || length >= HOST_BYTES || !fr_text_int64(fr_slice_of(colon + 1), &number) || number < 0 ||
        number > 65535 || colon[1] < '0' || colon[1] > '9')
        return false;
    if (text[0] == '[') {
        if (text[length - 1] != ']' || length < 3)
            return false;
        memcpy(host, text + 1, length - 2);
        host[length - 2] = '\0';
        if (!strchr(host, ':'))
            return false;
    } else {
        memcpy(host, text, length);
        host[length] = '\0';
        if (strchr(host, ':'))
            return false; /* an IPv6 address wants its brackets */
    }
    snprintf(port, 8, "%d", (int)number);
    return true;
}

static bool resolve(const char *text, struct sockaddr_storage *address, socklen_t *length)
{
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICHOST | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    char host[HOST_BYTES];
    char port[8];

    if (!split(text, host, port))
        return false;
    /* Not asked of the resolver: a machine without a proper hosts file still has a loopback. */
    if (fr_text_equal_nocase(fr_slice_of(host), "localhost"))
        snprintf(host, sizeof host, "127.0.0.1");
    if (getaddrinfo(host, port, &hints, &found) != 0)
        return false;
    memcpy(address, found->ai_addr, found->ai_addrlen);
    *length = found->ai_addrlen;
    freeaddrinfo(found);
    return true;
}

bool server__address_is_loopback(const struct sockaddr *address)
{
    const struct in6_addr *v6 = &((const struct sockaddr_in6 *)address)->sin6_addr;

    if (address->sa_family == AF_INET)
        return ntohl(((const struct sockaddr_in *)address)->sin_addr.s_addr) >> 24 == 127;
    return IN6_IS_ADDR_LOOPBACK(v6) || (IN6_IS_ADDR_V4MAPPED(v6) && v6->s6_addr[12] == 127);
}

void server__address_print(const struct sockaddr *address, char text[SERVER_PEER_BYTES])
{
    char host[INET6_ADDRSTRLEN] = "?";

    if (address->sa_family == AF_INET6) {
        const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)address;

        inet_ntop(AF_INET6, &v6->sin6_addr, host, sizeof host);
        snprintf(text, SERVER_PEER_BYTES, "[%s]:%d", host, ntohs(v6->sin6_port));
    } else {
        const struct sockaddr_in *v4 = (const struct sockaddr_in *)address;

        inet_ntop(AF_INET, &v4->sin_addr, host, sizeof host);
        snprintf(text, SERVER_PEER_BYTES, "%s:%d", host, ntohs(v4->sin_port));
    }
}

static bool explain(const char *text, const char *key, int error, struct fr_err *err)
{
    switch (error) {
    case EADDRINUSE:
        return fr_fail(err, FR_BAD_CONFIG,
                       "server: cannot listen on %s: address in use by another process; stop it or change %s", text, key);
    case EADDRNOTAVAIL:
        return fr_fail(err, FR_BAD_CONFIG, "server: cannot listen on %s: this machine has no such address; change %s", text,
                       key);
    case EACCES:
        return fr_fail(err, FR_BAD_CONFIG, "server: cannot listen on %s: ports below 1024 need a privilege; change %s", text,
                       key);
    default:
        return fr_fail(err, FR_BAD_CONFIG, "server: cannot listen on %s: %s; change %s", text, strerrordesc_np(error), key);
    }
}

bool server_address_check(const char *text, const char *key, struct fr_err *err)
{
    struct sockaddr_storage storage = {0};
    socklen_t length = 0;

    return text[0] == '\0' || resolve(text, &storage, &length) || complain(text, key, err);
}

bool server__address_listen(const char *text, const char *key, int *fd, char address[SERVER_PEER_BYTES], bool *at_loopback,
                            struct fr_err *err)
{
    struct sockaddr_storage storage = {0};
    socklen_t length = 0;
    const int on = 1;
    int error;

    *fd = -1;
    address[0] = '\0';
    if (text[0] == '\0')
        return true;
    if (!resolve(text, &storage, &length))
        return complain(text, key, err);
    *fd = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (*fd < 0)
        return explain(text, key, errno, err);
    /* SO_REUSEADDR lets a restart listen at once; not SO_REUSEPORT, which would let two nodes share a port unnoticed. */
    if (setsockopt(*fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 || bind(*fd, (struct sockaddr *)&storage, length) != 0 ||
        listen(*fd, BACKLOG) != 0 || getsockname(*fd, (struct sockaddr *)&storage, &length) != 0) {
        error = errno;
        close(*fd);
        *fd = -1;
        return explain(text, key, error, err);
    }
    *at_loopback = server__address_is_loopback((struct sockaddr *)&storage);
    server__address_print((struct sockaddr *)&storage, address);
    return true;
}
