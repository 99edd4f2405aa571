/*
 * Whether a file has changed: what the acceptor looks at twice a second, for certificates and for tokens.
 */
#ifndef FRESHET_SERVER_LOOK_H
#define FRESHET_SERVER_LOOK_H

#include <stdint.h>

enum { SERVER_LOOK_MS = 500 };

/* What a file was when it was looked at: any change of it shows here, a renamed one too. */
struct server__look {
    uint64_t device, inode, bytes;
    int64_t changed_ns;
};

/* All zeros where there is no file (NULL: none is wanted). */
void server__look_at(const char *path, struct server__look *look);

#endif
