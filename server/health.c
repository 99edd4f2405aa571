/*
 * gRPC health checking: whether calls are taken, for the server and for each service of its table alike.
 */
#include "internal.h"

#include <grpc/health/v1/health.pb-c.h>
#include <stdlib.h>

enum { LOOK_MS = 250 };

/* What a Watch remembers. */
struct watch {
    bool is_known;
    int said; /* −1: nothing yet */
};

static bool is_service(const struct server *server, const char *name)
{
    if (name[0] == '\0')
        return true;
    for (int i = 0; i < server->methods.count; i++)
        if (strcmp(server->methods.sorted[i].method->service, name) == 0)
            return true;
    return false;
}

static Grpc__Health__V1__HealthCheckResponse__ServingStatus status_now(const struct server *server)
{
    const struct server_options *options = &server->options;

    return !options->is_serving || options->is_serving(options->is_serving_user)
               ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
               : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
}

static bool make_response(struct server_call *call, Grpc__Health__V1__HealthCheckResponse__ServingStatus status,
                          ProtobufCMessage **response, struct fr_err *err)
{
    Grpc__Health__V1__HealthCheckResponse *reply = fr_arena_take(call->arena, sizeof *reply);

    if (!reply)
        return fr_fail(err, FR_EXHAUSTED, "out of memory for the reply");
    grpc__health__v1__health_check_response__init(reply);
    reply->status = status;
    *response = &reply->base;
    return true;
}

static bool check(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **response,
                  struct fr_err *err)
{
    const struct server *server = user;
    const Grpc__Health__V1__HealthCheckRequest *request = (const Grpc__Health__V1__HealthCheckRequest *)message;

    if (!is_service(server, request->service)) {
        /* The one code that no error of ours becomes. */
        server__call_refuse((struct server__call *)call, SERVER_STATUS_NOT_FOUND, "no service '%.128s' here", request->service);
        return fr_fail(err, FR_BAD_INPUT, "no such service");
    }
    return make_response(call, status_now(server), response, err);
}

static bool begin_watch(void *user, struct server_call *call, const ProtobufCMessage *message, void **state, struct fr_err *err)
{
    struct watch *watch = malloc(sizeof *watch);

    (void)call;
    if (!watch)
        return fr_fail(err, FR_EXHAUSTED, "out of memory for a watch");
    watch->is_known = is_service(user, ((const Grpc__Health__V1__HealthCheckRequest *)message)->service);
    watch->said = -1;
    *state = watch;
    return true;
}

static enum server_step next_change(void *user, struct server_call *call, void *state, ProtobufCMessage **response,
                                    int64_t *wait_ms, struct fr_err *err)
{
    struct watch *watch = state;
    Grpc__Health__V1__HealthCheckResponse__ServingStatus status =
        watch->is_known ? status_now(user) : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN;

    *wait_ms = LOOK_MS;
    if ((int)status == watch->said)
        return SERVER_STEP_WAIT;
    watch->said = (int)status;
    return make_response(call, status, response, err) ? SERVER_STEP_SEND : SERVER_STEP_FAIL;
}

static void end_watch(void *user, void *state)
{
    (void)user;
    free(state);
}

void server__health_methods(struct server *server, struct server_method methods[2])
{
    static const struct server_streaming watching = {.request = begin_watch, .next = next_change, .end = end_watch};
    const struct server_method common = {
        .service = "grpc.health.v1.Health",
        .request = &grpc__health__v1__health_check_request__descriptor,
        .response = &grpc__health__v1__health_check_response__descriptor,
        .is_never_shed = true,
        .user = server,
    };

    methods[0] = methods[1] = common;
    methods[0].name = "Check";
    methods[0].handler = check;
    methods[1].name = "Watch";
    methods[1].streaming = &watching;
}
