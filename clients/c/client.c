/* A call: where it goes, and what follows when it fails. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    TIMEOUT_MS = 1000,
    RETRIES = 5,
    LEARN_MS = 1000, /* at most, for one instance to say who has what */
    FIRST_PAUSE_MS = 50,
    LONGEST_PAUSE_MS = 1000,
};

struct freshet_client {
    struct freshet__routes routes;
    char *token; /* NULL: none */
    int timeout_ms, retries;
    unsigned seed;
};

struct attempts {
    int64_t until_ms;
    int left, bound_ms;
};

struct freshet_client *freshet_client_open(const struct freshet_client_options *options, struct freshet_failure *failure)
{
    struct freshet_client *client = calloc(1, sizeof *client);
    bool is_good = client != NULL;

    if (is_good) {
        client->timeout_ms = options->timeout_ms > 0 ? options->timeout_ms : TIMEOUT_MS;
        client->retries = options->retries == 0 ? RETRIES : options->retries > 0 ? options->retries : 0;
        client->seed = (unsigned)freshet__now_ms() ^ (unsigned)(uintptr_t)client;
        client->token = options->token ? strdup(options->token) : NULL;
        is_good = !options->token || client->token;
    }
    if (!is_good)
        freshet__fail(failure, "resource_exhausted", "client", "no memory");
    if (is_good && options->address_count == 0)
        is_good = freshet__fail(failure, "invalid_argument", "client", "give one address at least");
    for (size_t i = 0; i < options->address_count && is_good; i++) {
        if (!freshet__is_address(options->addresses[i]))
            is_good = freshet__fail(failure, "invalid_argument", options->addresses[i], "use HOST:PORT");
        else if (freshet__routes_add(&client->routes, options->addresses[i], true) < 0)
            is_good = freshet__fail(failure, "resource_exhausted", "client", "no memory");
    }
    if (is_good)
        return client;
    freshet_client_close(client);
    return NULL;
}

void freshet_client_close(struct freshet_client *client)
{
    if (!client)
        return;
    freshet__routes_close(&client->routes);
    free(client->token);
    free(client);
}

const char *freshet_client_owner(const struct freshet_client *client, uint64_t user_id)
{
    int owner = freshet__routes_owner(&client->routes, user_id);

    return owner < 0 ? NULL : client->routes.connections[owner].address;
}

/* ---- What a node refuses with ---- */

/* The text of a field of a flat JSON object, as far as there is room; \u escapes as they are. */
static void read_text(const char *json, const char *field, char *text, size_t room)
{
    const char *at = strstr(json, field);
    size_t count = 0;

    for (at = at ? at + strlen(field) : ""; *at != '\0' && *at != '"' && count + 1 < room; at++) {
        if (*at == '\\' && at[1] != '\0' && at[1] != 'u')
            at++;
        text[count++] = *at;
    }
    text[count] = '\0';
}

/* Of an answer without a code, which is a proxy's, as Connect has it. */
static const char *code_of(int status)
{
    switch (status) {
    case 401:
        return "unauthenticated";
    case 403:
        return "permission_denied";
    case 404:
        return "unimplemented";
    case 429:
    case 502:
    case 503:
    case 504:
        return "unavailable";
    default:
        return "unknown";
    }
}

static void read_refusal(const struct freshet__answer *answer, const char *address, struct freshet_failure *failure)
{
    freshet__fail(failure, code_of(answer->status), address, answer->body);
    if (answer->body[0] != '{' || !strstr(answer->body, "\"code\":\""))
        return;
    read_text(answer->body, "\"code\":\"", failure->code, sizeof failure->code);
    read_text(answer->body, "\"message\":\"", failure->message, sizeof failure->message);
}

static bool is_code(const struct freshet_failure *failure, const char *code)
{
    return strcmp(failure->code, code) == 0;
}

/* ---- Attempts ---- */

/* False: the failure stands. Half of the pause is chance: clients that were refused together don't come back together. */
static bool pause_for(struct freshet_client *client, struct attempts *attempts)
{
    int pause_ms = attempts->bound_ms / 2 + (int)((unsigned)rand_r(&client->seed) % (unsigned)(attempts->bound_ms / 2 + 1));
    struct timespec pause = {.tv_sec = pause_ms / 1000, .tv_nsec = pause_ms % 1000 * 1000000L};

    if (attempts->left == 0 || freshet__now_ms() + pause_ms >= attempts->until_ms)
        return false;
    attempts->left--;
    attempts->bound_ms = attempts->bound_ms * 2 < LONGEST_PAUSE_MS ? attempts->bound_ms * 2 : LONGEST_PAUSE_MS;
    while (nanosleep(&pause, &pause) != 0 && errno == EINTR)
        ;
    return true;
}

static bool post(struct freshet_client *client, int target, const char *method, const void *body, size_t body_bytes,
                 int64_t until_ms, struct freshet__answer *answer, struct freshet_failure *failure)
{
    struct freshet__connection *connection = &client->routes.connections[target];

    connection->has_failed = !freshet__post(connection, method, client->token, body, body_bytes, until_ms, answer, failure);
    if (connection->has_failed)
        return false;
    if (answer->status == 200)
        return true;
    read_refusal(answer, connection->address, failure);
    return false;
}

static bool learn_from(struct freshet_client *client, int target, int64_t until_ms, struct freshet_failure *failure)
{
    struct freshet__answer answer;

    return post(client, target, "freshet.v1.AdminService/Cluster", "", 0, until_ms, &answer, failure) &&
           (freshet__routes_take(&client->routes, target, answer.body, answer.body_bytes) ||
            freshet__fail(failure, "internal", client->routes.connections[target].address, "no ClusterResponse"));
}

/* Asks one after another, the first of them by chance, each with its share of the time: one that is silent leaves some to the others. */
static bool learn(struct freshet_client *client, int64_t until_ms, struct freshet_failure *failure)
{
    int count = (int)client->routes.count, first = freshet__routes_listed(&client->routes, rand_r(&client->seed));

    for (int i = 0; i < count; i++) {
        int64_t now_ms = freshet__now_ms(), share_ms = (until_ms - now_ms) / (count - i + 1);
        int target = (first + i) % count;

        if (client->routes.connections[target].is_listed &&
            learn_from(client, target, now_ms + (share_ms < LEARN_MS ? share_ms : LEARN_MS), failure))
            return true;
    }
    return false;
}

static int target_of(struct freshet_client *client, uint64_t user_id)
{
    int owner = freshet__routes_owner(&client->routes, user_id);

    return owner >= 0 ? owner : freshet__routes_listed(&client->routes, rand_r(&client->seed));
}

/* Where others could answer as well, one that is silent leaves them half of the time. */
static int64_t until_of(const struct freshet_client *client, uint64_t user_id, int target, const struct attempts *attempts)
{
    int64_t now_ms = freshet__now_ms();

    if (client->routes.count == 1 || freshet__routes_owner(&client->routes, user_id) == target)
        return attempts->until_ms;
    return now_ms + (attempts->until_ms - now_ms) / 2;
}

/* Whether it is to be tried again. `target` −1: nobody said who has what. */
static bool heed(struct freshet_client *client, uint64_t user_id, int target, struct attempts *attempts,
                 struct freshet_failure *failure)
{
    struct freshet_failure other;

    if (target >= 0 && is_code(failure, "deadline_exceeded") && attempts->left > 0 &&
        until_of(client, user_id, target, attempts) < attempts->until_ms) {
        attempts->left--; /* it has failed, so another is next */
        return true;
    }
    if (is_code(failure, "unavailable") || is_code(failure, "deadline_exceeded"))
        client->routes.is_known = false; /* it may be gone, and others have what it had */
    if (target < 0 || !is_code(failure, "failed_precondition"))
        return (is_code(failure, "unavailable") || is_code(failure, "resource_exhausted")) && pause_for(client, attempts);
    /* The instance knows where the user went. If it says here, or it is no user's call, it refused for another reason. */
    return user_id != 0 && learn_from(client, target, attempts->until_ms, &other) && client->routes.partitions > 0 &&
           freshet__routes_owner(&client->routes, user_id) != target && pause_for(client, attempts);
}

/* Of a user whose owner is not there: from a copy, where an instance is known to have one and may show it. */
static bool post_copy(struct freshet_client *client, uint64_t user_id, int *target, const char *method, const void *body,
                      size_t body_bytes, int64_t until_ms, struct freshet__answer *answer,
                      const struct freshet_failure *failure)
{
    int copy = is_code(failure, "unavailable") ? freshet__routes_copy(&client->routes, user_id, *target) : -1;
    struct freshet_failure other; /* the owner's is what is told */

    if (copy < 0 || !post(client, copy, method, body, body_bytes, until_ms, answer, &other))
        return false;
    client->routes.is_known = false; /* the next call asks who has him by then */
    *target = copy;
    return true;
}

static ProtobufCMessage *call(struct freshet_client *client, uint64_t user_id, const char *method, const void *body,
                              size_t body_bytes, const ProtobufCMessageDescriptor *reply_type, struct freshet_failure *failure)
{
    struct attempts attempts = {freshet__now_ms() + client->timeout_ms, client->retries, FIRST_PAUSE_MS};
    int target;

    do {
        struct freshet__answer answer;
        ProtobufCMessage *reply;

        target = -1;
        if (!client->routes.is_known && !learn(client, attempts.until_ms, failure))
            continue;
        target = target_of(client, user_id);
        if (!post(client, target, method, body, body_bytes, until_of(client, user_id, target, &attempts), &answer, failure) &&
            !post_copy(client, user_id, &target, method, body, body_bytes, attempts.until_ms, &answer, failure))
            continue;
        reply = protobuf_c_message_unpack(reply_type, NULL, answer.body_bytes, (const uint8_t *)answer.body);
        if (!reply)
            freshet__fail(failure, "internal", client->routes.connections[target].address, "the reply is of another type");
        return reply;
    } while (heed(client, user_id, target, &attempts, failure));
    return NULL;
}

ProtobufCMessage *freshet_client_call(struct freshet_client *client, uint64_t user_id, const char *method,
                                      const ProtobufCMessage *request, const ProtobufCMessageDescriptor *reply_type,
                                      struct freshet_failure *failure)
{
    size_t body_bytes = protobuf_c_message_get_packed_size(request);
    uint8_t *body = malloc(body_bytes + 1);
    ProtobufCMessage *reply = NULL;

    if (body) {
        protobuf_c_message_pack(request, body);
        reply = call(client, user_id, method, body, body_bytes, reply_type, failure);
    } else {
        freshet__fail(failure, "resource_exhausted", "client", "no memory for the request");
    }
    free(body);
    return reply;
}

/* What comes from a network is checked before it is indexed. Fields tell how long they are themselves. */
static bool has_shape(const Freshet__V1__GetFeaturesRequest *request, const Freshet__V1__GetFeaturesResponse *reply)
{
    return reply->n_user_values == reply->n_user_columns && reply->n_item_present == request->n_item_ids &&
           reply->n_item_values == request->n_item_ids * reply->n_item_columns;
}

Freshet__V1__GetFeaturesResponse *freshet_client_get_features(struct freshet_client *client,
                                                              const Freshet__V1__GetFeaturesRequest *request,
                                                              struct freshet_failure *failure)
{
    Freshet__V1__GetFeaturesResponse *reply = (Freshet__V1__GetFeaturesResponse *)freshet_client_call(
        client, request->user_id, "freshet.v1.FeatureService/GetFeatures", &request->base,
        &freshet__v1__get_features_response__descriptor, failure);

    if (!reply || has_shape(request, reply))
        return reply;
    freshet__v1__get_features_response__free_unpacked(reply, NULL);
    freshet__fail(failure, "internal", "client", "a reply whose arrays are not as long as its columns");
    return NULL;
}
