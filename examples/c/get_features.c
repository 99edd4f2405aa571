/*
 * Asks a node for the features of a user and some items and prints them: what a ranker in C needs, on a plain socket.
 *
 * A unary method of Freshet is an HTTP/1.1 POST of the encoded request to /package.Service/Method, as application/proto; the
 * answer's body is the encoded reply, or, with another status than 200, JSON with "code" and "message" (the Connect convention).
 * A service would keep the connection; this asks once. A node that wants a token gets FRESHET_TOKEN; by TLS a service would ask with
 * a library that speaks it, as libcurl does.
 *
 * Of a cluster any instance may be named: one that does not have the user says who does, and that one is asked. A service would keep what it was
 * told, and ask again when it is refused.
 *
 * usage: get_features HOST:PORT USER [ITEM,… [FEATURE,…]]
 */
#include <freshet/v1/admin.pb-c.h>
#include <freshet/v1/feature.pb-c.h>

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ITEMS_MAX = 2000, FEATURES_MAX = 1000, HOST_BYTES_MAX = 256, TIMEOUT_S = 5 };
enum { ANSWER_BYTES_MAX = 64 << 20 };

struct answer {
    int status;
    const char *body; /* in `bytes` */
    size_t body_bytes;
    char *bytes;
};

static bool fail(const char *what, const char *why)
{
    fprintf(stderr, "get_features: %s: %s\n", what, why);
    return false;
}

static bool read_id(const char *text, uint64_t *id)
{
    char *end;

    errno = 0;
    *id = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno != 0)
        return fail(text, "an id is a number from 0 to 2^64 - 1");
    return true;
}

/* Ids from "1,2,3", which is taken apart. */
static bool read_items(char *text, uint64_t *ids, size_t *count)
{
    char *rest;

    for (char *one = strtok_r(text, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
        if (*count == ITEMS_MAX)
            return fail("items", "at most 2,000 a call");
        if (!read_id(one, &ids[(*count)++]))
            return false;
    }
    return true;
}

static bool read_features(char *text, char **names, size_t *count)
{
    char *rest;

    for (char *one = strtok_r(text, ",", &rest); one; one = strtok_r(NULL, ",", &rest)) {
        if (*count == FEATURES_MAX)
            return fail("features", "too many of them");
        names[(*count)++] = one;
    }
    return true;
}

/* A connected socket, whose reads and writes give up after TIMEOUT_S; -1 on failure. */
static int connect_to(const char *address)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found = NULL;
    struct timeval timeout = {.tv_sec = TIMEOUT_S};
    const char *colon = strrchr(address, ':');
    char host[HOST_BYTES_MAX];
    int fd = -1, error;

    if (!colon || (size_t)(colon - address) >= sizeof host) {
        fail(address, "use HOST:PORT");
        return -1;
    }
    memcpy(host, address, (size_t)(colon - address));
    host[colon - address] = '\0';
    error = getaddrinfo(host, colon + 1, &hints, &found);
    if (error != 0) {
        fail(address, gai_strerror(error));
        return -1;
    }
    for (struct addrinfo *one = found; one && fd < 0; one = one->ai_next) {
        fd = socket(one->ai_family, one->ai_socktype, one->ai_protocol);
        if (fd < 0)
            continue;
        setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &timeout, sizeof timeout); /* connect() heeds it too */
        setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof timeout);
        if (connect(fd, one->ai_addr, one->ai_addrlen) != 0) {
            close(fd);
            fd = -1;
        }
    }
    freeaddrinfo(found);
    if (fd < 0)
        fail(address, strerror(errno));
    return fd;
}

static bool write_all(int fd, const void *bytes, size_t count)
{
    const char *at = bytes;

    while (count > 0) {
        ssize_t sent = send(fd, at, count, MSG_NOSIGNAL);

        if (sent < 0 && errno == EINTR)
            continue;
        if (sent <= 0)
            return fail("send", strerror(errno));
        at += sent;
        count -= (size_t)sent;
    }
    return true;
}

/* All that comes until the peer closes, with a 0 behind it. */
static bool read_all(int fd, char **bytes, size_t *count)
{
    size_t room = 0;

    for (;;) {
        ssize_t got;

        if (room - *count < 2) {
            char *more = room < ANSWER_BYTES_MAX ? realloc(*bytes, room = room ? 2 * room : 1 << 16) : NULL;

            if (!more)
                return fail("receive", "the answer is too large");
            *bytes = more;
        }
        got = recv(fd, *bytes + *count, room - *count - 1, 0);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail("receive", strerror(errno));
        (*bytes)[ *count += (size_t)got] = '\0';
        if (got == 0)
            return true;
    }
}

/* Finds status and body. A node says how long the body is; what is shorter was cut off on its way. */
static bool read_answer(struct answer *answer, size_t count)
{
    static const char length_field[] = "\r\nContent-Length:";
    char *head_end = memmem(answer->bytes, count, "\r\n\r\n", 4);
    const char *length;

    if (!head_end || sscanf(answer->bytes, "HTTP/1.1 %3d ", &answer->status) != 1)
        return fail("receive", "no HTTP answer");
    answer->body = head_end + 4;
    answer->body_bytes = count - (size_t)(answer->body - answer->bytes);
    head_end[2] = '\0';
    length = strcasestr(answer->bytes, length_field);
    if (!length || strtoull(length + sizeof length_field - 1, NULL, 10) != answer->body_bytes)
        return fail("receive", "the answer was cut off");
    return true;
}

static bool post(const char *address, const char *method, const void *body, size_t body_bytes, struct answer *answer)
{
    const char *token = getenv("FRESHET_TOKEN");
    char head[1024];
    int head_bytes = snprintf(head, sizeof head,
                              "POST /%s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/proto\r\nContent-Length: %zu\r\n"
                              "Connect-Timeout-Ms: %d\r\nConnection: close\r\n%s%s%s\r\n",
                              method, address, body_bytes, TIMEOUT_S * 1000, token ? "Authorization: Bearer " : "",
                              token ? token : "", token ? "\r\n" : "");
    size_t count = 0;
    bool is_done;
    int fd;

    if (head_bytes < 0 || (size_t)head_bytes >= sizeof head)
        return fail(address, "too long");
    fd = connect_to(address);
    if (fd < 0)
        return false;
    is_done = write_all(fd, head, (size_t)head_bytes) && write_all(fd, body, body_bytes) &&
              read_all(fd, &answer->bytes, &count) && read_answer(answer, count);
    close(fd);
    return is_done;
}

/* ---- A cluster ---- */

/* Where Kafka's producers put the user's events: murmur2 of the id in decimal, made positive, as Java's default partitioner has it. */
static size_t partition_of(uint64_t user_id, size_t partitions)
{
    const uint32_t mix = 0x5bd1e995;
    char key[24];
    uint32_t count = (uint32_t)snprintf(key, sizeof key, "%" PRIu64, user_id), hash = 0x9747b28c ^ count, rest = 0;
    const uint8_t *at = (const uint8_t *)key;

    for (; count >= 4; count -= 4, at += 4) {
        uint32_t four = ((uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24) * mix;

        hash = (hash * mix) ^ ((four ^ four >> 24) * mix);
    }
    for (uint32_t i = 0; i < count; i++)
        rest |= (uint32_t)at[i] << 8 * i;
    if (count > 0)
        hash = (hash ^ rest) * mix;
    hash = (hash ^ hash >> 13) * mix;
    return ((hash ^ hash >> 15) & 0x7fffffff) % partitions;
}

/* Where the instance that has the user is to be asked, as the instance at `address` knows it; NULL on failure. The caller frees it. */
static char *find_owner(const char *address, uint64_t user_id)
{
    struct answer answer = {0};
    Freshet__V1__ClusterResponse *cluster = NULL;
    const char *instance = "";
    char *owner = NULL;

    if (post(address, "freshet.v1.AdminService/Cluster", "", 0, &answer) && answer.status == 200)
        cluster = freshet__v1__cluster_response__unpack(NULL, answer.body_bytes, (const uint8_t *)answer.body);
    if (cluster && cluster->n_partitions > 0)
        instance = cluster->partitions[partition_of(user_id, cluster->n_partitions)]->instance;
    for (size_t i = 0; cluster && i < cluster->n_members && !owner; i++)
        if (strcmp(cluster->members[i]->instance, instance) == 0)
            owner = strdup(cluster->members[i]->api);
    if (cluster)
        freshet__v1__cluster_response__free_unpacked(cluster, NULL);
    free(answer.bytes);
    return owner;
}

/* ---- The reply ---- */

static void print_field(const Freshet__V1__Field *field)
{
    printf("  %s:", field->name);
    for (size_t i = 0; i < field->n_ids; i++)
        printf(" %" PRIu64, field->ids[i]);
    for (size_t i = 0; i < field->n_ints; i++)
        printf(" %" PRId64, field->ints[i]);
    for (size_t i = 0; i < field->n_numbers; i++)
        printf(" %.17g", field->numbers[i]);
    printf("\n");
}

/* The item values are one matrix: a row an item, in the order asked for, a column for each of item_columns. */
static void print_reply(const Freshet__V1__GetFeaturesRequest *request, const Freshet__V1__GetFeaturesResponse *reply)
{
    printf("user %" PRIu64 "%s\n", request->user_id, reply->user_present ? "" : " (unknown)");
    for (size_t i = 0; i < reply->n_user_columns; i++)
        printf("  %s: %.9g\n", reply->user_columns[i], (double)reply->user_values[i]);
    for (size_t i = 0; i < request->n_item_ids; i++) {
        printf("item %" PRIu64 "%s\n", request->item_ids[i], reply->item_present[i] ? "" : " (unknown)");
        for (size_t k = 0; k < reply->n_item_columns; k++)
            printf("  %s: %.9g\n", reply->item_columns[k], (double)reply->item_values[i * reply->n_item_columns + k]);
    }
    if (reply->n_item_fields > 0)
        printf("items\n");
    for (size_t i = 0; i < reply->n_item_fields; i++)
        print_field(reply->item_fields[i]);
    for (size_t i = 0; i < reply->n_sequences; i++) {
        printf("sequence %s\n", reply->sequences[i]->name);
        for (size_t k = 0; k < reply->sequences[i]->n_fields; k++)
            print_field(reply->sequences[i]->fields[k]);
    }
}

/* Whether the arrays are as long as their columns say: what comes from a network is checked before it is indexed. */
static bool check_shape(const Freshet__V1__GetFeaturesRequest *request, const Freshet__V1__GetFeaturesResponse *reply)
{
    return reply->n_user_values == reply->n_user_columns && reply->n_item_present == request->n_item_ids &&
           reply->n_item_values == request->n_item_ids * reply->n_item_columns;
}

/* *is_elsewhere: the node refused, and may know of an instance that has the user. */
static bool get_features(const char *address, const Freshet__V1__GetFeaturesRequest *request, bool *is_elsewhere)
{
    size_t body_bytes = freshet__v1__get_features_request__get_packed_size(request);
    uint8_t *body = malloc(body_bytes + 1);
    Freshet__V1__GetFeaturesResponse *reply = NULL;
    struct answer answer = {0};
    bool is_done = false;

    if (!body) {
        fail("request", "no memory");
        goto out;
    }
    freshet__v1__get_features_request__pack(request, body);
    if (!post(address, "freshet.v1.FeatureService/GetFeatures", body, body_bytes, &answer))
        goto out;
    if (answer.status != 200) {
        *is_elsewhere = strstr(answer.body, "\"failed_precondition\"") != NULL;
        fail("the node refused", answer.body); /* {"code":"invalid_argument","message":"…"} */
        goto out;
    }
    reply = freshet__v1__get_features_response__unpack(NULL, answer.body_bytes, (const uint8_t *)answer.body);
    if (!reply || !check_shape(request, reply)) {
        fail("receive", "no GetFeaturesResponse");
        goto out;
    }
    print_reply(request, reply);
    is_done = true;
out:
    if (reply)
        freshet__v1__get_features_response__free_unpacked(reply, NULL);
    free(answer.bytes);
    free(body);
    return is_done;
}

/* Of the node, or of the instance that the node says has the user. */
static bool get_features_of_cluster(const char *address, const Freshet__V1__GetFeaturesRequest *request)
{
    bool is_elsewhere = false, is_done = get_features(address, request, &is_elsewhere);
    char *owner = is_elsewhere ? find_owner(address, request->user_id) : NULL;

    if (owner && strcmp(owner, address) != 0) {
        fprintf(stderr, "get_features: asking %s\n", owner);
        is_done = get_features(owner, request, &is_elsewhere);
    }
    free(owner);
    return is_done;
}

int main(int argument_count, char **arguments)
{
    static uint64_t items[ITEMS_MAX];
    static char *features[FEATURES_MAX];
    Freshet__V1__GetFeaturesRequest request = FRESHET__V1__GET_FEATURES_REQUEST__INIT;

    if (argument_count < 3 || argument_count > 5) {
        fprintf(stderr, "usage: get_features HOST:PORT USER [ITEM,... [FEATURE,...]]\n");
        return 2;
    }
    request.item_ids = items;
    request.features = features;
    if (!read_id(arguments[2], &request.user_id) ||
        (argument_count > 3 && !read_items(arguments[3], items, &request.n_item_ids)) ||
        (argument_count > 4 && !read_features(arguments[4], features, &request.n_features)))
        return 2;
    return get_features_of_cluster(arguments[1], &request) && fflush(stdout) == 0 ? 0 : 1;
}
