/*
 * The limit that S1 is held against: the same server, the same method, the same request taken apart, but the reply is always the
 * bytes of one file. They are unpacked as a message without fields, so packing them is one copy of each field's bytes.
 */
#include "bench.h"

#include <freshet/clock.h>
#include <freshet/message.h>
#include <freshet/metrics.h>
#include <freshet/server.h>
#include <freshet/v1/admin.pb-c.h>
#include <freshet/v1/feature.pb-c.h>

#include <errno.h>

enum { STATIC_ARENA_BYTES = 64 << 20, STATIC_CHUNK_BYTES = 1 << 16, LOOK_MS = 50 };

static bool answer(void *user, struct server_call *call, const ProtobufCMessage *request, ProtobufCMessage **response,
                   struct fr_err *err)
{
    (void)call, (void)request, (void)err;
    *response = user;
    return true;
}

static bool read_file(const char *path, struct fr_buffer *bytes, struct fr_err *err)
{
    FILE *file = fopen(path, "rb");
    size_t got = 1;

    while (file && got > 0) {
        uint8_t *room = fr_buffer_reserve(bytes, STATIC_CHUNK_BYTES);

        got = room ? fread(room, 1, STATIC_CHUNK_BYTES, file) : 0;
        bytes->length += got;
    }
    if (!file || ferror(file) || bytes->is_failed)
        fr_fail(err, FR_UNAVAILABLE, "cannot read %s: %s", path, strerror(errno));
    else
        got = 1;
    if (file)
        fclose(file);
    return got == 1;
}

/* Until it is told to stop. */
static bool serve(ProtobufCMessage *reply, struct fr_metrics *metrics, struct fr_err *err)
{
    struct server_method method = {
        .service = "freshet.v1.FeatureService",
        .name = "GetFeatures",
        .request = &freshet__v1__get_features_request__descriptor,
        .response = reply->descriptor,
        .handler = answer,
        .user = reply,
    };
    struct server_options options = {
        .listen = "127.0.0.1:0", .operations = "", .loops = 1, .methods = &method, .method_count = 1, .metrics = metrics};
    struct server *server = NULL;
    bool is_good;

    server_limits_default(&options.limits);
    is_good = server_open(&options, &server, err) && server_start(server, err);
    if (is_good) {
        printf("{\"api\":\"%s\"}\n", server_api_address(server));
        fflush(stdout);
        while (!cli_signals__is_stopped())
            fr_clock_sleep_ms(LOOK_MS);
    }
    server_close(server);
    return is_good;
}

int cli_bench_static__main(const struct cli_command *command, const char *path)
{
    struct fr_arena *arena = fr_arena_new(STATIC_ARENA_BYTES);
    struct fr_metrics *metrics = fr_metrics_new();
    ProtobufCMessage *reply = NULL;
    struct fr_buffer bytes;
    struct fr_err err;
    bool is_good = false;

    cli_signals__catch(NULL, NULL);
    fr_buffer_init(&bytes);
    if (!arena || !metrics)
        fr_fail(&err, FR_EXHAUSTED, "out of memory");
    else if (read_file(path, &bytes, &err))
        reply = proto_unpack(&freshet__v1__status_request__descriptor, fr_buffer_slice(&bytes), arena, &err);
    if (reply)
        is_good = serve(reply, metrics, &err);
    fr_buffer_fini(&bytes);
    fr_metrics_free(metrics);
    fr_arena_free(arena);
    return is_good ? CLI_OK : cli_command__say(command, CLI_FAILURE, "%s", err.message);
}
