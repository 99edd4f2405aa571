/*
 * TLS as a client. The node's certificate must have the host's name, or its address; there is no way to look away.
 */
#include "tls.h"

#include <freshet/tls_client.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <errno.h>
#include <stdlib.h>

struct server_client {
    SSL_CTX *context;
    SSL *ssl;
};

static bool fail_file(const char *what, const char *file, struct fr_err *err)
{
    char reason[FR_MESSAGE_BYTES];

    server__tls_reason(reason);
    return fr_fail(err, FR_BAD_CONFIG, "cannot use %s '%s': %.100s; name a PEM file", what, file, reason);
}

static bool load(SSL_CTX *context, const struct server_client_tls *options, struct fr_err *err)
{
    bool is_system = strcmp(options->ca, "system") == 0;

    errno = 0;
    if (is_system ? SSL_CTX_set_default_verify_paths(context) != 1 : SSL_CTX_load_verify_file(context, options->ca) != 1)
        return fail_file("the authority", options->ca, err);
    if (options->certificate && SSL_CTX_use_certificate_chain_file(context, options->certificate) != 1)
        return fail_file("the certificate", options->certificate, err);
    if (options->key && !server_tls_key_check(options->key, err))
        return false;
    if (options->key && SSL_CTX_use_PrivateKey_file(context, options->key, SSL_FILETYPE_PEM) != 1)
        return fail_file("the key", options->key, err);
    return true;
}

static bool expect(SSL *ssl, const char *host)
{
    X509_VERIFY_PARAM *rules = SSL_get0_param(ssl);

    SSL_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    if (X509_VERIFY_PARAM_set1_ip_asc(rules, host) == 1)
        return true;
    ERR_clear_error();
    X509_VERIFY_PARAM_set_hostflags(rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    return SSL_set_tlsext_host_name(ssl, host) == 1 && X509_VERIFY_PARAM_set1_host(rules, host, 0) == 1;
}

bool server_client_open(const struct server_client_tls *options, int fd, struct server_client **client_out, struct fr_err *err)
{
    static const unsigned char http1[] = "\x08http/1.1";
    struct server_client *client = calloc(1, sizeof *client);

    ERR_clear_error();
    if (client)
        client->context = SSL_CTX_new(TLS_client_method());
    if (!client || !client->context || SSL_CTX_set_min_proto_version(client->context, TLS1_2_VERSION) != 1) {
        server_client_close(client);
        return fr_fail(err, FR_EXHAUSTED, "out of memory for TLS");
    }
    SSL_CTX_set_options(client->context, SSL_OP_IGNORE_UNEXPECTED_EOF);
    if (!load(client->context, options, err)) {
        server_client_close(client);
        return false;
    }
    client->ssl = SSL_new(client->context);
    if (!client->ssl || !server__tls_socket(client->ssl, fd) || !expect(client->ssl, options->host) ||
        SSL_set_alpn_protos(client->ssl, http1, sizeof http1 - 1) != 0) {
        server_client_close(client);
        return fr_fail(err, FR_EXHAUSTED, "out of memory for TLS");
    }
    SSL_set_connect_state(client->ssl);
    *client_out = client;
    return true;
}

void server_client_close(struct server_client *client)
{
    if (!client)
        return;
    SSL_free(client->ssl);
    SSL_CTX_free(client->context);
    free(client);
}

/* What is wrong with the other's certificate is worth more than that something is. */
static enum server_client_step step_after(struct server_client *client, int result, struct fr_err *err)
{
    long verified = SSL_get_verify_result(client->ssl);
    char reason[FR_MESSAGE_BYTES];

    switch (SSL_get_error(client->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return SERVER_CLIENT_READS;
    case SSL_ERROR_WANT_WRITE:
        return SERVER_CLIENT_WRITES;
    default:
        server__tls_reason(reason);
        fr_fail(err, FR_UNAVAILABLE, "TLS: %.200s", verified == X509_V_OK ? reason : X509_verify_cert_error_string(verified));
        return SERVER_CLIENT_FAILED;
    }
}

enum server_client_step server_client_handshake(struct server_client *client, struct fr_err *err)
{
    int result;

    ERR_clear_error();
    errno = 0;
    result = SSL_do_handshake(client->ssl);
    return result == 1 ? SERVER_CLIENT_DONE : step_after(client, result, err);
}

enum server_client_step server_client_write(struct server_client *client, const void *bytes, size_t length, struct fr_err *err)
{
    size_t sent;
    int result;

    ERR_clear_error();
    errno = 0;
    result = SSL_write_ex(client->ssl, bytes, length, &sent); /* without partial writes: all or not yet */
    return result == 1 ? SERVER_CLIENT_DONE : step_after(client, result, err);
}

enum server_client_step server_client_read(struct server_client *client, void *bytes, size_t capacity, size_t *got,
                                           struct fr_err *err)
{
    int result;

    *got = 0;
    ERR_clear_error();
    errno = 0;
    result = SSL_read_ex(client->ssl, bytes, capacity, got);
    if (result == 1 || SSL_get_error(client->ssl, result) == SSL_ERROR_ZERO_RETURN)
        return SERVER_CLIENT_DONE;
    return step_after(client, result, err);
}
