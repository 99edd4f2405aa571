/*
 * The server module with the services that stock conformance clients ask for:
 *
 *   conformance_server interop    prints {"api":"127.0.0.1:PORT"}, serves gRPC's interop clients until its stdin ends
 *   conformance_server connect    as connectconformance starts it: told on stdin, tells on stdout
 */
#include "conformance.h"

#include <connect.pb-c.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

struct file {
    char path[32];
};

enum { PREFIX_BYTES = 4, ORDER_BYTES = 1 << 20, THREADS = 32 };

bool refuse(struct server_call *call, int status, const char *message, struct fr_err *err)
{
    if (status < SERVER_STATUS_CANCELED || status >= SERVER_STATUSES)
        status = SERVER_STATUS_UNKNOWN;
    server__call_refuse((struct server__call *)call, (enum server__status)status, "%s", message);
    return fr_fail(err, FR_BAD_INPUT, "told to fail");
}

static bool read_all(uint8_t *bytes, size_t length)
{
    while (length > 0) {
        ssize_t got = read(STDIN_FILENO, bytes, length);

        if (got <= 0)
            return false;
        bytes += got;
        length -= (size_t)got;
    }
    return true;
}

/* A file in memory that nobody else reads, for the server is given paths; it is gone when we are. */
static bool make_file(const ProtobufCBinaryData *bytes, struct file *file)
{
    int fd = memfd_create("pem", 0);

    snprintf(file->path, sizeof file->path, "/proc/self/fd/%d", fd);
    return fd >= 0 && fchmod(fd, S_IRUSR) == 0 && write(fd, bytes->data, bytes->len) == (ssize_t)bytes->len;
}

static bool use_tls(const Connectrpc__Conformance__V1__ServerCompatRequest *order, struct server_tls *tls)
{
    static struct file certificate, key;

    if (!order->server_creds || !make_file(&order->server_creds->cert, &certificate) ||
        !make_file(&order->server_creds->key, &key))
        return false;
    *tls = (struct server_tls){.certificate = certificate.path, .key = key.path};
    return true;
}

static Connectrpc__Conformance__V1__ServerCompatRequest *read_order(void)
{
    static uint8_t bytes[ORDER_BYTES];
    size_t length;

    if (!read_all(bytes, PREFIX_BYTES))
        return NULL;
    length = (size_t)bytes[0] << 24 | (size_t)bytes[1] << 16 | (size_t)bytes[2] << 8 | bytes[3];
    if (length > sizeof bytes || !read_all(bytes, length))
        return NULL;
    return connectrpc__conformance__v1__server_compat_request__unpack(NULL, length, bytes);
}

static bool obey(const Connectrpc__Conformance__V1__ServerCompatRequest *order, struct server_options *options)
{
    if (!order)
        return false;
    if (order->message_receive_limit > 0)
        options->limits.message_bytes = order->message_receive_limit;
    return !order->use_tls || use_tls(order, &options->tls);
}

static void say_where(const char *address, const Connectrpc__Conformance__V1__ServerCompatRequest *order)
{
    Connectrpc__Conformance__V1__ServerCompatResponse answer = CONNECTRPC__CONFORMANCE__V1__SERVER_COMPAT_RESPONSE__INIT;
    static uint8_t bytes[ORDER_BYTES];
    size_t length;

    answer.host = (char *)"127.0.0.1";
    answer.port = (uint32_t)atoi(strrchr(address, ':') + 1);
    if (order->use_tls)
        answer.pem_cert = order->server_creds->cert;
    length = connectrpc__conformance__v1__server_compat_response__pack(&answer, bytes + PREFIX_BYTES);
    for (int i = 0; i < PREFIX_BYTES; i++)
        bytes[i] = (uint8_t)(length >> (8 * (PREFIX_BYTES - 1 - i)));
    fwrite(bytes, 1, PREFIX_BYTES + length, stdout);
    fflush(stdout);
}

static bool serve(bool is_connect, struct fr_err *err)
{
    struct server_method methods[INTEROP_METHODS + CONNECT_METHODS];
    struct server_options options = {
        .listen = "127.0.0.1:0", .operations = "", .loops = 2, .methods = methods, .find = connect_find};
    Connectrpc__Conformance__V1__ServerCompatRequest *order = is_connect ? read_order() : NULL;
    struct server *server = NULL;
    uint8_t byte;
    bool ok;

    server_limits_default(&options.limits);
    options.limits.slow_threads = THREADS;
    options.limits.slow_calls = 16 * THREADS;
    if (is_connect && !obey(order, &options))
        return fr_fail(err, FR_BAD_INPUT, "no order on stdin");
    interop_methods(methods);
    connect_methods(methods + INTEROP_METHODS);
    options.method_count = INTEROP_METHODS + CONNECT_METHODS;
    options.metrics = fr_metrics_new();
    ok = options.metrics && server_open(&options, &server, err) && server_start(server, err);
    if (ok && is_connect) {
        say_where(server_api_address(server), order);
    } else if (ok) {
        printf("{\"api\":\"%s\"}\n", server_api_address(server));
        fflush(stdout);
    }
    while (ok && is_connect)
        pause(); /* the runner ends its stdin at once, and us by a signal */
    while (ok && read(STDIN_FILENO, &byte, 1) > 0)
        continue;
    server_close(server);
    fr_metrics_free(options.metrics);
    if (order)
        connectrpc__conformance__v1__server_compat_request__free_unpacked(order, NULL);
    return ok;
}

int main(int argc, char **argv)
{
    bool is_connect = argc == 2 && strcmp(argv[1], "connect") == 0;
    struct fr_err err;

    if (!is_connect && !(argc == 2 && strcmp(argv[1], "interop") == 0)) {
        fprintf(stderr, "usage: conformance_server interop|connect\n");
        return 2;
    }
    if (serve(is_connect, &err))
        return 0;
    fprintf(stderr, "conformance_server: %s\n", err.message);
    return 1;
}
