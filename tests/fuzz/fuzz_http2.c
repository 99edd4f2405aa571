/*
 * Frames through a real session: a connection on a loop of a server that was never started, fed through a socket pair. The
 * first byte says how the rest is read: as it is, or as a list of frames (type, flags, stream, length, payload) that get a
 * proper head, and HEADERS the fields of a call. Besides the sanitizers: what one connection holds stays within its bound, and
 * nothing is left when it closes.
 */
#include "internal.h"

#include <freshet/v1/feature.pb-c.h>

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HELD_BYTES = 8 << 20, TURNS = 4 };

static const char preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0";

/* POST /freshet.v1.FeatureService/GetFeatures, application/grpc; without Huffman, not indexed. */
static const char grpc_head[] = "\x83\x86\x04\x26/freshet.v1.FeatureService/GetFeatures\x01\x01t\x0f\x10\x10"
                                "application/grpc";
static const char json_head[] = "\x83\x86\x04\x26/freshet.v1.FeatureService/GetFeatures\x01\x01t\x0f\x10\x10"
                                "application/json";
static const char reflection_head[] =
    "\x83\x86\x04\x39/grpc.reflection.v1.ServerReflection/ServerReflectionInfo\x01\x01t\x0f\x10\x10"
    "application/grpc";

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

static bool get_features(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **response,
                         struct fr_err *err)
{
    const Freshet__V1__GetFeaturesRequest *request = (const Freshet__V1__GetFeaturesRequest *)message;
    Freshet__V1__GetFeaturesResponse *reply = fr_arena_take(call->arena, sizeof *reply);

    (void)user;
    if (!reply)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    freshet__v1__get_features_response__init(reply);
    reply->n_user_columns = request->n_features;
    reply->user_columns = request->features;
    *response = &reply->base;
    return true;
}

static struct server *open_server(void)
{
    static struct server_method methods[1];
    struct server_options options = {.listen = "", .operations = "", .loops = 1, .methods = methods, .method_count = 1};
    struct server *server;
    struct fr_err err;

    methods[0] = (struct server_method){
        .service = "freshet.v1.FeatureService",
        .name = "GetFeatures",
        .request = &freshet__v1__get_features_request__descriptor,
        .response = &freshet__v1__get_features_response__descriptor,
        .handler = get_features,
    };
    options.metrics = fr_metrics_new();
    server_limits_default(&options.limits);
    options.limits.message_bytes = 128 << 10;
    if (!options.metrics || !server_open(&options, &server, &err))
        abort();
    return server;
}

static size_t head_of(uint8_t flags, const char **head)
{
    switch (flags >> 6) {
    case 1:
        *head = grpc_head;
        return sizeof grpc_head - 1;
    case 2:
        *head = json_head;
        return sizeof json_head - 1;
    case 3:
        *head = reflection_head;
        return sizeof reflection_head - 1;
    default:
        *head = "";
        return 0;
    }
}

static void build_frames(const uint8_t *bytes, size_t length, struct fr_buffer *out)
{
    while (length >= 4) {
        uint8_t type = bytes[0] % 11;
        const char *head = "";
        size_t head_bytes = type == 1 ? head_of(bytes[1], &head) : 0;
        size_t payload = bytes[3] < length - 4 ? bytes[3] : length - 4;
        size_t total = head_bytes + payload;
        uint8_t frame[9] = {0, (uint8_t)(total >> 8), (uint8_t)total, type, bytes[1] & 0x3f, 0, 0, 0, bytes[2] % 32};

        fr_buffer_append(out, frame, sizeof frame);
        fr_buffer_append(out, head, head_bytes);
        fr_buffer_append(out, bytes + 4, payload);
        bytes += 4 + payload;
        length -= 4 + payload;
    }
}

static void turn(struct server__loop *loop, int fd)
{
    uint8_t scratch[64 << 10];

    for (int i = 0; i < TURNS; i++) {
        server__loop_turn(loop, false);
        while (recv(fd, scratch, sizeof scratch, MSG_DONTWAIT) > 0)
            continue;
        assert(loop->held_bytes < HELD_BYTES);
    }
}

static void feed(struct server__loop *loop, int fd, struct fr_slice bytes)
{
    const uint8_t *at = bytes.bytes;
    const uint8_t *end = at + bytes.length;

    while (at < end) {
        ssize_t sent = send(fd, at, (size_t)(end - at), MSG_DONTWAIT | MSG_NOSIGNAL);

        if (sent > 0)
            at += sent;
        turn(loop, fd);
        if (sent <= 0)
            return; /* it has been cut off */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    static const char peer[SERVER_PEER_BYTES] = "fuzz";
    static struct server *server;
    struct server__loop *loop;
    struct fr_buffer input;
    int pair[2];

    if (!server)
        server = open_server();
    loop = &server->loops[0];
    if (length < 1 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) != 0)
        return 0;
    fr_buffer_init(&input);
    fr_buffer_append(&input, preface, sizeof preface - 1);
    if (bytes[0] & 1)
        build_frames(bytes + 1, length - 1, &input);
    else
        fr_buffer_append(&input, bytes + 1, length - 1);
    atomic_fetch_add(&loop->connection_count, 1);
    server__connection_adopt(server__connection_new(pair[0], peer, false, true), loop);
    feed(loop, pair[1], fr_buffer_slice(&input));
    close(pair[1]);
    while (loop->connections)
        server__connection_close(loop->connections);
    server__loop_turn(loop, false);
    assert(loop->held_bytes == 0 && loop->adopted_count == 0);
    fr_buffer_fini(&input);
    return 0;
}
