/*
 * Certificates of the test's own making, as PEM files in a directory of the test's own.
 */
#ifndef TESTS_SERVER_CERTIFICATES_H
#define TESTS_SERVER_CERTIFICATES_H

#include "client.h"

enum { CERTIFICATE_PATH = 96 };

struct certificate {
    char file[CERTIFICATE_PATH], key_file[CERTIFICATE_PATH];
    struct x509_st *certificate;
    struct evp_pkey_st *key;
};

void certificates_begin(void); /* makes the directory … */
void certificates_end(void); /* … and removes it */
const char *certificates_path(const char *name, char path[CERTIFICATE_PATH]); /* of a file in it */

/*
 * NAME.pem and NAME.key: signed by `by`, or by itself when NULL; `names` as OpenSSL writes them, "IP:127.0.0.1,DNS:node", or NULL;
 * of days from_day to to_day, counted from now. An existing pair is replaced.
 */
void certificate_make(struct certificate *made, const char *name, const struct certificate *by, const char *names, int from_day,
                      int to_day);
void certificate_free(struct certificate *made);

/* FILE with the list of what `by` has taken back: `revoked`, or nothing when NULL. */
void certificate_revoke(const struct certificate *by, const struct certificate *revoked, const char *file);

#endif
