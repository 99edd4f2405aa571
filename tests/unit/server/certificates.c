#include "certificates.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { DAY_S = 86400 };

static char directory[] = "/tmp/freshet_certificates_XXXXXX";

void certificates_begin(void)
{
    assert_non_null(mkdtemp(directory));
}

static int removes(const char *path, const struct stat *found, int kind, struct FTW *at)
{
    (void)found;
    (void)kind;
    (void)at;
    return remove(path);
}

void certificates_end(void)
{
    nftw(directory, removes, 8, FTW_DEPTH | FTW_PHYS);
}

const char *certificates_path(const char *name, char path[CERTIFICATE_PATH])
{
    assert_true(snprintf(path, CERTIFICATE_PATH, "%s/%s", directory, name) < CERTIFICATE_PATH);
    return path;
}

static FILE *open_for(const char *path, mode_t mode)
{
    FILE *file = fopen(path, "w");

    assert_non_null(file);
    assert_int_equal(fchmod(fileno(file), mode), 0);
    return file;
}

static void extend(X509 *certificate, X509 *issuer, int kind, const char *value)
{
    X509V3_CTX context;
    X509_EXTENSION *extension;

    X509V3_set_ctx(&context, issuer, certificate, NULL, NULL, 0);
    extension = X509V3_EXT_conf_nid(NULL, &context, kind, value);
    assert_non_null(extension);
    assert_int_equal(X509_add_ext(certificate, extension, -1), 1);
    X509_EXTENSION_free(extension);
}

static void fill(struct certificate *made, const char *name, const struct certificate *by, const char *names, int from_day,
                 int to_day)
{
    static long serial = 1;
    X509 *certificate = made->certificate, *issuer = by ? by->certificate : certificate;
    X509_NAME *subject = X509_get_subject_name(certificate);

    assert_int_equal(X509_set_version(certificate, 2), 1);
    assert_int_equal(ASN1_INTEGER_set(X509_get_serialNumber(certificate), serial++), 1);
    assert_non_null(X509_time_adj_ex(X509_getm_notBefore(certificate), from_day, -60, NULL));
    assert_non_null(X509_time_adj_ex(X509_getm_notAfter(certificate), to_day, 0, NULL));
    assert_int_equal(X509_set_pubkey(certificate, made->key), 1);
    assert_int_equal(X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1, 0), 1);
    assert_int_equal(X509_set_issuer_name(certificate, X509_get_subject_name(issuer)), 1);
    extend(certificate, issuer, NID_basic_constraints, by ? "critical,CA:FALSE" : "critical,CA:TRUE");
    extend(certificate, issuer, NID_subject_key_identifier, "hash");
    if (names)
        extend(certificate, issuer, NID_subject_alt_name, names);
}

void certificate_make(struct certificate *made, const char *name, const struct certificate *by, const char *names, int from_day,
                      int to_day)
{
    char file_name[64];
    FILE *file;

    made->certificate = X509_new();
    made->key = EVP_EC_gen("P-256");
    assert_non_null(made->key);
    fill(made, name, by, names, from_day, to_day);
    assert_true(X509_sign(made->certificate, by ? by->key : made->key, EVP_sha256()) > 0);

    snprintf(file_name, sizeof file_name, "%s.pem", name);
    file = open_for(certificates_path(file_name, made->file), 0644);
    assert_int_equal(PEM_write_X509(file, made->certificate), 1);
    fclose(file);
    snprintf(file_name, sizeof file_name, "%s.key", name);
    file = open_for(certificates_path(file_name, made->key_file), 0600);
    assert_int_equal(PEM_write_PrivateKey(file, made->key, NULL, NULL, 0, NULL, NULL), 1);
    fclose(file);
}

void certificate_free(struct certificate *made)
{
    X509_free(made->certificate);
    EVP_PKEY_free(made->key);
}

void certificate_revoke(const struct certificate *by, const struct certificate *revoked, const char *file_path)
{
    X509_CRL *list = X509_CRL_new();
    ASN1_TIME *now = X509_gmtime_adj(NULL, -60), *later = X509_gmtime_adj(NULL, DAY_S);
    FILE *file = open_for(file_path, 0644);

    assert_int_equal(X509_CRL_set_version(list, 1), 1);
    assert_int_equal(X509_CRL_set_issuer_name(list, X509_get_subject_name(by->certificate)), 1);
    X509_CRL_set1_lastUpdate(list, now);
    X509_CRL_set1_nextUpdate(list, later);
    if (revoked) {
        X509_REVOKED *entry = X509_REVOKED_new();

        X509_REVOKED_set_serialNumber(entry, X509_get_serialNumber(revoked->certificate));
        X509_REVOKED_set_revocationDate(entry, now);
        assert_int_equal(X509_CRL_add0_revoked(list, entry), 1);
    }
    assert_true(X509_CRL_sign(list, by->key, EVP_sha256()) > 0);
    assert_int_equal(PEM_write_X509_CRL(file, list), 1);
    fclose(file);
    ASN1_TIME_free(now);
    ASN1_TIME_free(later);
    X509_CRL_free(list);
}
