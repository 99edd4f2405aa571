/*
 * Asks a node, or a cluster, for what it knows: HTTP/1.1 on connections that are kept, protobuf-c for the messages, and nothing else.
 *
 * In a cluster a user is with one instance: the one that has the partition of Kafka in which the user's events are (murmur2 of the id in
 * decimal). The client asks any instance once who has what, then each call goes where its user is; when an instance refuses a user or is not
 * there, it asks again, and meanwhile reads him from a copy, where it knows one that is shown (server.stale_reads). A node that stands alone is a cluster of one.
 *
 * A client and its connections are one thread's at a time: open one for each thread. No TLS: for that use a gRPC client, or a proxy beside
 * the process.
 */
#ifndef FRESHET_CLIENT_H
#define FRESHET_CLIENT_H

#include <freshet/v1/feature.pb-c.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct freshet_client;

struct freshet_client_options {
    const char *const *addresses; /* HOST:PORT of some of the instances, one at least; the others are learned from them */
    size_t address_count;
    const char *token; /* sent as a bearer token; NULL: none */
    int timeout_ms; /* of a call with all its attempts; 0: 1,000 */
    int retries; /* that may follow a call's first attempt, within the timeout; 0: 5, -1: none */
};

/* Why a call failed. Codes are Connect's: unavailable, invalid_argument, failed_precondition, deadline_exceeded … */
struct freshet_failure {
    char code[32];
    char message[512]; /* the node's words, or what this client could not do, with the address */
};

/* Connects to nobody yet. NULL: no memory, or an address that is none, as *failure says. Options are copied. */
struct freshet_client *freshet_client_open(const struct freshet_client_options *options, struct freshet_failure *failure);
void freshet_client_close(struct freshet_client *client); /* NULL is fine */

/*
 * One method, "freshet.v1.FeatureService/GetFeatures", of the instance that has `user_id`, or of any for 0. Every method of Freshet is
 * idempotent: an attempt whose end is not known is made again. The reply is of the type of `reply_type` and the caller's, to be freed by its
 * free_unpacked; NULL on failure. Waits for at most the timeout, and as long as the resolver takes for a name.
 */
ProtobufCMessage *freshet_client_call(struct freshet_client *client, uint64_t user_id, const char *method,
                                      const ProtobufCMessage *request, const ProtobufCMessageDescriptor *reply_type,
                                      struct freshet_failure *failure);

/*
 * A row of the user's columns, a matrix of the items', in the order asked for, and sequences. The values of columns are as many as
 * columns and items say: that is checked; fields and sequences tell their own lengths. Free it by freshet__v1__get_features_response__free_unpacked(reply, NULL). NULL on failure.
 */
Freshet__V1__GetFeaturesResponse *freshet_client_get_features(struct freshet_client *client,
                                                              const Freshet__V1__GetFeaturesRequest *request,
                                                              struct freshet_failure *failure);

/* Where the user is asked for, as far as the client knows; NULL: it has not asked yet, or nobody has him. Until the
 * client's next call. */
const char *freshet_client_owner(const struct freshet_client *client, uint64_t user_id);

/* The partition of a user's events among so many (more than 0): murmur2 of the id in decimal, made positive, as Java's producers have it. */
uint32_t freshet_client_partition(uint64_t user_id, uint32_t partitions);

#ifdef __cplusplus
}
#endif

#endif
