/*
 * Certificate, key and the authorities of clients, from their files to what new connections are opened with.
 *
 * A connection that is open already lives on with what it was opened with; nothing is resumed, neither by ticket nor by id, so that
 * each handshake is judged by the files of its day. Renegotiation is off. TLS 1.2 has forward secrecy and authenticated
 * encryption only, as HTTP/2 asks for.
 */
#include "tls.h"

#include <freshet/clock.h>
#include <freshet/log.h>

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char ciphers_of_1_2[] = "ECDHE+AESGCM:ECDHE+CHACHA20";

/* ---- What may be loaded ---- */

static bool fail_openssl(struct fr_err *err, const char *what, const char *file, const char *cure)
{
    char reason[FR_MESSAGE_BYTES];

    server__tls_reason(reason);
    return fr_fail(err, FR_BAD_CONFIG, "server: cannot use %s '%s': %.100s; %s", what, file, reason, cure);
}

bool server_tls_key_check(const char *path, struct fr_err *err)
{
    struct stat found;

    if (stat(path, &found) != 0)
        return fr_fail(err, FR_BAD_CONFIG, "server: cannot open the key '%s': %s; name a file that can be read", path,
                       strerrordesc_np(errno));
    if (!S_ISREG(found.st_mode))
        return fr_fail(err, FR_BAD_CONFIG, "server: the key '%s' is no file; name the file with the private key in PEM", path);
    /* As PostgreSQL has it: a key that root keeps may be lent to a group. */
    if (found.st_mode & (found.st_uid == 0 && geteuid() != 0 ? S_IWGRP | S_IRWXO : S_IRWXG | S_IRWXO))
        return fr_fail(err, FR_BAD_CONFIG, "server: the key '%s' can be read or written by others; chmod 600 '%s'", path, path);
    return true;
}

static int refuse_a_passphrase(char *text, int capacity, int is_writing, void *user)
{
    (void)text;
    (void)capacity;
    (void)is_writing;
    (void)user;
    return 0; /* instead of asking at a terminal */
}

static bool load_pair(SSL_CTX *context, const struct server_tls *files, struct fr_err *err)
{
    if (!server_tls_key_check(files->key, err))
        return false;
    SSL_CTX_set_default_passwd_cb(context, refuse_a_passphrase);
    if (SSL_CTX_use_certificate_chain_file(context, files->certificate) != 1)
        return fail_openssl(err, "the certificate", files->certificate,
                            "name a PEM file: the node's certificate, then its chain");
    if (SSL_CTX_use_PrivateKey_file(context, files->key, SSL_FILETYPE_PEM) != 1)
        return fail_openssl(err, "the key", files->key, "name the certificate's own private key, in PEM, without a passphrase");
    if (SSL_CTX_check_private_key(context) != 1)
        return fail_openssl(err, "the key", files->key, "name the certificate's own private key");
    return true;
}

static bool load_authority(SSL_CTX *context, const struct server_tls *files, struct fr_err *err)
{
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    STACK_OF(X509_NAME) * names;

    if (!files->client_ca)
        return true;
    names = SSL_load_client_CA_file(files->client_ca);
    if (!names || X509_STORE_load_file(store, files->client_ca) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return fail_openssl(err, "the authority of clients", files->client_ca, "name a PEM file with its certificate");
    }
    SSL_CTX_set_client_CA_list(context, names);
    if (files->client_crl) {
        if (X509_STORE_load_file(store, files->client_crl) != 1)
            return fail_openssl(err, "the revocation list", files->client_crl, "name the authority's list, in PEM");
        X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK);
    }
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return true;
}

/* ---- The context of new connections ---- */

/* h2 before http/1.1, whatever the client likes better; with neither, the handshake ends as RFC 7301 has it. */
static int choose_protocol(SSL *ssl, const unsigned char **out, unsigned char *out_length, const unsigned char *in,
                           unsigned in_length, void *user)
{
    static const unsigned char ours[] = "\x02h2\x08http/1.1";
    unsigned from = SSL_get_app_data(ssl) ? 3 : 0; /* a session that has application data speaks no h2 */
    unsigned char *chosen = NULL;

    (void)user;
    if (SSL_select_next_proto(&chosen, out_length, ours + from, (unsigned)sizeof ours - 1 - from, in, in_length) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static bool set_rules(SSL_CTX *context)
{
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION | SSL_OP_NO_TICKET |
                                     SSL_OP_IGNORE_UNEXPECTED_EOF | SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, NULL);
    return SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION) == 1 && SSL_CTX_set_num_tickets(context, 0) == 1 &&
           SSL_CTX_set_cipher_list(context, ciphers_of_1_2) == 1;
}

static SSL_CTX *load(const struct server_tls *files, struct fr_err *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    ERR_clear_error();
    errno = 0;
    if (!context || !set_rules(context)) {
        SSL_CTX_free(context);
        (void)fr_fail(err, FR_EXHAUSTED, "server: out of memory for TLS");
        return NULL;
    }
    if (load_pair(context, files, err) && load_authority(context, files, err))
        return context;
    SSL_CTX_free(context);
    return NULL;
}

bool server_tls_check(const struct server_tls *files, struct fr_err *err)
{
    SSL_CTX *context = load(files, err);
    bool is_good = context != NULL;

    SSL_CTX_free(context);
    return is_good;
}

/* ---- What changes ---- */

static void look_at_all(const struct server_tls *files, struct server__look looks[SERVER_TLS_FILES])
{
    server__look_at(files->certificate, &looks[0]);
    server__look_at(files->key, &looks[1]);
    server__look_at(files->client_ca, &looks[2]);
    server__look_at(files->client_crl, &looks[3]);
}

/* Its end, Unix seconds: the day by which somebody must have acted. */
static void show_expiry(struct server__tls *tls)
{
    const X509 *certificate = SSL_CTX_get0_certificate(tls->context);
    struct tm end;

    if (certificate && ASN1_TIME_to_tm(X509_get0_notAfter(certificate), &end) == 1)
        fr_gauge_set(tls->expires, (double)timegm(&end));
}

bool server__tls_open(struct server__tls *tls, const struct server_tls *files, struct fr_metrics *metrics, struct fr_err *err)
{
    static const char reload_help[] = "Times that changed TLS files were read, by result; failed: the old ones stay in use.";

    *tls = (struct server__tls){.files = files};
    if (!files->certificate)
        return true;
    tls->reloads = fr_metrics_counter(metrics, "freshet_tls_reloads_total", "result=\"ok\"", reload_help);
    tls->reloads_failed = fr_metrics_counter(metrics, "freshet_tls_reloads_total", "result=\"failed\"", reload_help);
    tls->expires = fr_metrics_gauge(metrics, "freshet_tls_certificate_expiry_seconds", NULL,
                                    "End of the certificate that new connections are given, Unix seconds.");
    look_at_all(files, tls->loaded);
    memcpy(tls->seen, tls->loaded, sizeof tls->seen);
    tls->context = load(files, err);
    if (!tls->context)
        return false;
    show_expiry(tls);
    return true;
}

void server__tls_close(struct server__tls *tls)
{
    SSL_CTX_free(tls->context);
    tls->context = NULL;
}

void server__tls_look(struct server__tls *tls)
{
    struct server__look now[SERVER_TLS_FILES];
    SSL_CTX *context;
    struct fr_err err;
    bool is_still;

    if (!tls->context)
        return;
    look_at_all(tls->files, now);
    is_still = memcmp(now, tls->seen, sizeof now) == 0;
    memcpy(tls->seen, now, sizeof now);
    if (!is_still || memcmp(now, tls->loaded, sizeof now) == 0)
        return;
    memcpy(tls->loaded, now, sizeof now);
    context = load(tls->files, &err);
    if (!context) {
        fr_counter_add(tls->reloads_failed, 1);
        fr_log(FR_LOG_ERROR, "server", "new TLS files cannot be used, the old certificate stays: %s", err.message);
        return;
    }
    SSL_CTX_free(tls->context); /* open connections hold it until they end */
    tls->context = context;
    show_expiry(tls);
    fr_counter_add(tls->reloads, 1);
    fr_log(FR_LOG_INFO, "server", "new connections use the changed TLS files (certificate '%s')", tls->files->certificate);
}
