/*
 * The limit that S1 is held against: the same server, the same method, the same request taken apart, but the reply is always the
 * bytes of one file. They are unpacked as a message without fields, so packing them is one copy of each field's bytes.
 *
 *   static_server REPLY LOOPS: prints {"api":"127.0.0.1:PORT"}, serves until its stdin ends.
 */
#include <freshet/message.h>
#include <freshet/metrics.h>
#include <freshet/server.h>

#include <freshet/v1/admin.pb-c.h>
#include <freshet/v1/feature.pb-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ARENA_BYTES = 64 << 20 };

static bool answer(void *user, struct server_call *call, const ProtobufCMessage *request, ProtobufCMessage **response,
                   struct fr_err *err)
{
    (void)call;
    (void)request;
    (void)err;
    *response = user;
    return true;
}

static bool read_file(const char *path, struct fr_buffer *bytes)
{
    FILE *file = fopen(path, "rb");
    uint8_t *room;
    size_t got;

    if (!file)
        return false;
    do {
        room = fr_buffer_reserve(bytes, 1 << 16);
        got = room ? fread(room, 1, 1 << 16, file) : 0;
        bytes->length += got;
    } while (got > 0);
    got = (size_t)ferror(file);
    fclose(file);
    return got == 0 && !bytes->is_failed;
}

static bool serve(ProtobufCMessage *reply, int loops, struct fr_err *err)
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
        .listen = "127.0.0.1:0", .operations = "", .loops = loops, .methods = &method, .method_count = 1};
    struct server *server = NULL;
    char byte;
    bool ok;

    server_limits_default(&options.limits);
    options.metrics = fr_metrics_new();
    if (!options.metrics)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    ok = server_open(&options, &server, err) && server_start(server, err);
    if (ok) {
        printf("{\"api\":\"%s\"}\n", server_api_address(server));
        fflush(stdout);
        while (read(STDIN_FILENO, &byte, 1) > 0)
            continue;
    }
    server_close(server);
    fr_metrics_free(options.metrics);
    return ok;
}

int main(int argc, char **argv)
{
    struct fr_arena *arena = fr_arena_new(ARENA_BYTES);
    ProtobufCMessage *reply = NULL;
    struct fr_buffer bytes;
    struct fr_err err;
    bool ok;

    fr_buffer_init(&bytes);
    if (argc != 3 || !arena || !read_file(argv[1], &bytes)) {
        fprintf(stderr, "usage: static_server REPLY LOOPS\n");
        return 2;
    }
    reply = proto_unpack(&freshet__v1__status_request__descriptor, fr_buffer_slice(&bytes), arena, &err);
    ok = reply && serve(reply, atoi(argv[2]), &err);
    if (!ok)
        fprintf(stderr, "static_server: %s\n", err.message);
    fr_buffer_fini(&bytes);
    fr_arena_free(arena);
    return ok ? 0 : 1;
}
