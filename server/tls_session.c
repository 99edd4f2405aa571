/*
 * TLS of one connection, on its loop's thread.
 */
#include "tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>

struct server__session *server__session_new(const struct server__tls *tls, int fd, bool is_http1)
{
    struct server__session *session = calloc(1, sizeof *session);

    if (!session)
        return NULL;
    ERR_clear_error();
    session->ssl = SSL_new(tls->context);
    if (!session->ssl || !server__tls_socket(session->ssl, fd)) {
        SSL_free(session->ssl);
        free(session);
        return NULL;
    }
    SSL_set_app_data(session->ssl, is_http1 ? session : NULL); /* read by the choice of a protocol, in tls_certificate.c */
    SSL_set_accept_state(session->ssl);
    return session;
}

void server__session_goodbye(struct server__session *session)
{
    if (session->is_broken || !session->is_open)
        return;
    session->is_broken = true;
    ERR_clear_error();
    SSL_shutdown(session->ssl); /* says it once; whether it is heard is the peer's business */
}

void server__session_free(struct server__session *session)
{
    if (!session)
        return;
    server__session_goodbye(session);
    SSL_free(session->ssl);
    free(session);
}

static enum server__tls_state state_after(struct server__session *session, int result)
{
    switch (SSL_get_error(session->ssl, result)) {
    case SSL_ERROR_WANT_READ:
        return SERVER_TLS_READS;
    case SSL_ERROR_WANT_WRITE:
        return SERVER_TLS_WRITES;
    case SSL_ERROR_ZERO_RETURN:
        return SERVER_TLS_END;
    default:
        session->is_broken = true;
        return SERVER_TLS_BROKEN;
    }
}

enum server__tls_state server__session_open(struct server__session *session)
{
    enum server__tls_state state;
    int result;

    ERR_clear_error();
    errno = 0;
    result = SSL_do_handshake(session->ssl);
    if (result == 1) {
        session->is_open = true;
        session->wants_write = false;
        return SERVER_TLS_READY;
    }
    state = state_after(session, result);
    session->wants_write = state == SERVER_TLS_WRITES;
    return state;
}

enum server__tls_state server__session_read(struct server__session *session, void *bytes, size_t capacity, size_t *got)
{
    enum server__tls_state state = SERVER_TLS_READY;

    *got = 0;
    session->has_more = false;
    while (*got < capacity && state == SERVER_TLS_READY) {
        size_t some = 0;
        int result;

        ERR_clear_error();
        result = SSL_read_ex(session->ssl, (uint8_t *)bytes + *got, capacity - *got, &some);
        if (result == 1)
            *got += some;
        else
            state = state_after(session, result);
    }
    session->has_more = state == SERVER_TLS_READY;
    session->wants_write = state == SERVER_TLS_WRITES;
    return *got > 0 && state != SERVER_TLS_BROKEN ? SERVER_TLS_READY : state;
}

enum server__tls_state server__session_write(struct server__session *session, const void *bytes, size_t length, size_t *sent)
{
    *sent = 0;
    while (*sent < length) {
        size_t some = 0;
        int result;

        ERR_clear_error();
        result = SSL_write_ex(session->ssl, (const uint8_t *)bytes + *sent, length - *sent, &some);
        if (result != 1)
            return state_after(session, result);
        *sent += some;
    }
    return SERVER_TLS_READY;
}

enum server__tls_protocol server__session_protocol(const struct server__session *session)
{
    const unsigned char *name = NULL;
    unsigned length = 0;

    SSL_get0_alpn_selected(session->ssl, &name, &length);
    if (length == 0)
        return SERVER_TLS_ANY;
    return length == 2 ? SERVER_TLS_HTTP2 : SERVER_TLS_HTTP1;
}

/* A name with a NUL in it would be taken for a shorter one. */
static bool copy_name(const ASN1_STRING *text, char name[SERVER_TLS_NAME_BYTES])
{
    int length = ASN1_STRING_length(text);
    const unsigned char *bytes = ASN1_STRING_get0_data(text);

    if (length < 1 || length >= SERVER_TLS_NAME_BYTES)
        return false;
    for (int i = 0; i < length; i++)
        if (bytes[i] <= ' ' || bytes[i] >= 0x7f || bytes[i] == '"')
            return false; /* nor is it to break a line of the log */
    memcpy(name, bytes, (size_t)length);
    name[length] = '\0';
    return true;
}

int server__session_names(const struct server__session *session, char names[SERVER_TLS_NAMES][SERVER_TLS_NAME_BYTES])
{
    X509 *certificate = SSL_get0_peer_certificate(session->ssl);
    GENERAL_NAMES *others;
    int count = 0, at = -1;

    if (!certificate || SSL_get_verify_result(session->ssl) != X509_V_OK)
        return 0;
    others = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(others) && count < SERVER_TLS_NAMES; i++) {
        const GENERAL_NAME *other = sk_GENERAL_NAME_value(others, i);

        if (other->type == GEN_DNS || other->type == GEN_URI || other->type == GEN_EMAIL)
            count += copy_name(other->d.ia5, names[count]);
    }
    GENERAL_NAMES_free(others);
    while (count < SERVER_TLS_NAMES &&
           (at = X509_NAME_get_index_by_NID(X509_get_subject_name(certificate), NID_commonName, at)) >= 0)
        count += copy_name(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(X509_get_subject_name(certificate), at)), names[count]);
    ERR_clear_error();
    return count;
}

void server__tls_reason(char reason[FR_MESSAGE_BYTES])
{
    unsigned long error = ERR_peek_last_error();
    const char *text = error ? ERR_reason_error_string(error) : NULL;

    if (text)
        snprintf(reason, FR_MESSAGE_BYTES, "%s", text);
    else
        snprintf(reason, FR_MESSAGE_BYTES, "%s", errno ? strerrordesc_np(errno) : "the peer closed the connection");
    ERR_clear_error();
}
