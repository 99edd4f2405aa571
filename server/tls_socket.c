/*
 * A socket for OpenSSL. Its own kind writes with write(2), which raises SIGPIPE when the peer has gone; this one sends.
 */
#include "tls.h"

#include <openssl/bio.h>
#include <openssl/ssl.h>

#include <errno.h>
#include <pthread.h>
#include <sys/socket.h>

static BIO_METHOD *method;

static int fd_of(BIO *bio)
{
    return (int)(intptr_t)BIO_get_data(bio);
}

static bool is_only_not_now(int error)
{
    return error == EAGAIN || error == EINTR || error == ENOBUFS;
}

static int write_some(BIO *bio, const char *bytes, int length)
{
    ssize_t sent = send(fd_of(bio), bytes, (size_t)length, MSG_NOSIGNAL);

    BIO_clear_retry_flags(bio);
    if (sent < 0 && is_only_not_now(errno))
        BIO_set_retry_write(bio);
    return (int)sent;
}

static int read_some(BIO *bio, char *bytes, int capacity)
{
    ssize_t got = recv(fd_of(bio), bytes, (size_t)capacity, 0);

    BIO_clear_retry_flags(bio);
    if (got < 0 && is_only_not_now(errno))
        BIO_set_retry_read(bio);
    if (got == 0)
        BIO_set_flags(bio, BIO_FLAGS_IN_EOF);
    return (int)got;
}

static long control(BIO *bio, int command, long number, void *pointer)
{
    (void)number;
    (void)pointer;
    if (command == BIO_CTRL_EOF)
        return BIO_test_flags(bio, BIO_FLAGS_IN_EOF) != 0;
    return command == BIO_CTRL_FLUSH; /* nothing is kept here */
}

static int create(BIO *bio)
{
    BIO_set_init(bio, 1);
    return 1;
}

static void make_method(void)
{
    int kind = BIO_get_new_index();
    BIO_METHOD *made = kind < 0 ? NULL : BIO_meth_new(kind | BIO_TYPE_SOURCE_SINK, "socket");

    if (made && BIO_meth_set_write(made, write_some) && BIO_meth_set_read(made, read_some) &&
        BIO_meth_set_ctrl(made, control) && BIO_meth_set_create(made, create))
        method = made;
    else
        BIO_meth_free(made);
}

bool server__tls_socket(struct ssl_st *ssl, int fd)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    BIO *bio;

    pthread_once(&once, make_method);
    bio = method ? BIO_new(method) : NULL;
    if (!bio)
        return false;
    BIO_set_data(bio, (void *)(intptr_t)fd);
    SSL_set_bio(ssl, bio, bio);
    return true;
}
