/*
 * A connection of the load client, and what a protocol does with it: one call at a time, asked when the one before is answered.
 */
#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include <freshet/buffer.h>

#include <stdbool.h>

#define LOAD_PATH "/freshet.v1.FeatureService/GetFeatures"

struct load_connection {
    const struct load_protocol *protocol;
    int fd;
    void *state; /* the protocol's */
    int64_t asked_us;
    struct fr_buffer message; /* the request */
    struct fr_buffer out; /* what is to be sent */
    struct fr_buffer in; /* the reply so far, as the protocol keeps it */
    struct fr_slice reply; /* its message, once `is_answered` */
    bool is_answered;
};

/* Each says on stderr what went wrong when it returns false. */
struct load_protocol {
    const char *name;
    bool (*open)(struct load_connection *connection);
    bool (*ask)(struct load_connection *connection); /* what there is in `message`, to `out` */
    bool (*take)(struct load_connection *connection, struct fr_slice bytes); /* bytes that came; may add to `out` */
    void (*close)(struct load_connection *connection);
};
extern const struct load_protocol load_grpc, load_http1;

/* ---- load_request.c ---- */

int load_connect(const char *address); /* "host:port"; −1: no */

/* freshet.v1.GetFeaturesRequest of one of so many users and so many items, drawn anew. */
enum { LOAD_USERS = 100000 }; /* of S1 in full */
void load_request(uint64_t *draw, int users, int item_count, const char *feature_set, struct fr_buffer *message);

#endif
