/*
 * One question to a node, against a server that answers with what the test says.
 */
#include "internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

struct answering { /* a server in a process of its own, for one connection */
    pid_t pid;
    char api[32];
};

static void answer_once(int listener, const char *reply, bool hangs)
{
    char request[4096];
    size_t length = 0;
    int fd = accept(listener, NULL, NULL);

    while (fd >= 0 && length < sizeof request - 1) {
        ssize_t got = read(fd, request + length, sizeof request - 1 - length);

        if (got <= 0)
            break;
        length += (size_t)got;
        request[length] = 0;
        if (strstr(request, "\r\n\r\n{\"ask\":1}")) /* all of it is here */
            break;
    }
    for (size_t at = 0; fd >= 0 && at < strlen(reply); at++) { /* byte by byte: the client must not expect more */
        if (write(fd, reply + at, 1) != 1)
            break;
    }
    if (hangs)
        pause();
    _exit(strstr(request, "POST /freshet.v1.S/M HTTP/1.1\r\n") && strstr(request, "Content-Length: 9\r\n") ? 0 : 1);
}

static struct answering answer(const char *reply, bool hangs)
{
    struct answering server;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);

    assert_int_equal(bind(listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(listener, 1), 0);
    assert_int_equal(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    snprintf(server.api, sizeof server.api, "127.0.0.1:%d", ntohs(address.sin_port));
    server.pid = fork();
    assert_true(server.pid >= 0);
    if (server.pid == 0)
        answer_once(listener, reply, hangs);
    close(listener);
    return server;
}

static bool ask(const char *reply, bool hangs, struct fr_buffer *body, struct fr_err *err)
{
    struct answering server = answer(reply, hangs);
    bool is_good = cli_client__call(&(struct cli_node){.api = server.api}, "freshet.v1.S/M", fr_slice_of("{\"ask\":1}"),
                                    hangs ? 200 : 10000, body, err);
    int status;

    if (hangs)
        kill(server.pid, SIGKILL);
    assert_int_equal(waitpid(server.pid, &status, 0), server.pid);
    if (!hangs)
        assert_int_equal(status, 0);
    return is_good;
}

static void a_reply_comes_by_length_by_chunks_or_until_the_end(void **state)
{
    static const char *const replies[] = {
        "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\ncontent-length:  5\r\n\r\nhello, not read any more",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello",
    };
    struct fr_buffer body = {0};
    struct fr_err err;

    (void)state;
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        assert_true(ask(replies[i], false, &body, &err));
        assert_true(fr_slice_is(fr_buffer_slice(&body), "hello"));
    }
    fr_buffer_fini(&body);
}

static void an_error_comes_with_code_and_message(void **state)
{
    struct fr_buffer body = {0};
    struct fr_err err;

    (void)state;
    assert_false(ask("HTTP/1.1 400 Bad Request\r\nContent-Length: 66\r\n\r\n"
                     "{\"code\":\"invalid_argument\",\"message\":\"features[0]: \\\"x\\\" is none\"}",
                     false, &body, &err));
    assert_string_equal(err.message, "invalid_argument: features[0]: \"x\" is none");
    assert_false(ask("HTTP/1.1 404 Not Found\r\nContent-Length: 4\r\n\r\nnope", false, &body, &err));
    assert_non_null(strstr(err.message, "HTTP 404"));
    fr_buffer_fini(&body);
}

static void what_is_no_reply_is_told(void **state)
{
    static const char *const replies[] = {
        "",
        "SSH-2.0-x\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\ncut",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\ncut",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    };
    struct fr_buffer body = {0};
    struct fr_err err;

    (void)state;
    for (size_t i = 0; i < sizeof replies / sizeof *replies; i++) {
        assert_false(ask(replies[i], false, &body, &err));
        assert_int_equal(err.code, FR_UNAVAILABLE);
    }
    fr_buffer_fini(&body);
}

static void a_node_that_does_not_answer_is_not_waited_for(void **state)
{
    struct fr_buffer body = {0};
    struct fr_err err;

    (void)state;
    assert_false(ask("HTTP/1.1 200 OK\r\n", true, &body, &err));
    assert_int_equal(err.code, FR_DEADLINE);
    fr_buffer_fini(&body);
}

static void an_address_where_nobody_listens_is_named(void **state)
{
    struct fr_buffer body = {0};
    struct fr_err err;

    (void)state;
    assert_false(
        cli_client__call(&(struct cli_node){.api = "127.0.0.1:1"}, "freshet.v1.S/M", fr_slice_of("{}"), 1000, &body, &err));
    assert_non_null(strstr(err.message, "cannot reach 127.0.0.1:1: Connection refused; is the node running?"));
    assert_false(
        cli_client__call(&(struct cli_node){.api = "nonsense"}, "freshet.v1.S/M", fr_slice_of("{}"), 1000, &body, &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
    fr_buffer_fini(&body);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_reply_comes_by_length_by_chunks_or_until_the_end),
        cmocka_unit_test(an_error_comes_with_code_and_message),
        cmocka_unit_test(what_is_no_reply_is_told),
        cmocka_unit_test(a_node_that_does_not_answer_is_not_waited_for),
        cmocka_unit_test(an_address_where_nobody_listens_is_named),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
