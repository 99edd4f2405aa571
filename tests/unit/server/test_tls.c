/*
 * TLS against real sockets: who is let in, what moves, what changes while it runs.
 */
#include "certificates.h"

#include <freshet/clock.h>
#include <freshet/tls_client.h>

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000 };

static struct toy toy;
static struct response response;
static struct certificate authority, stranger, node;
static char crl_file[CERTIFICATE_PATH];

/* ---- The server ---- */

static struct server_tls files;

static void by_tls(struct toy *made, struct server_options *options)
{
    (void)made;
    options->limits.message_bytes = 8 << 20;
    options->tls = files;
}

static int set_up(void **state)
{
    (void)state;
    certificate_make(&node, "node", &authority, "IP:127.0.0.1", 0, 2);
    files = (struct server_tls){.certificate = node.file, .key = node.key_file};
    toy_start_changed(&toy, by_tls);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    toy_stop(&toy);
    certificate_free(&node);
    return 0;
}

static uint64_t count(const char *name, const char *result)
{
    char labels[64];

    snprintf(labels, sizeof labels, "result=\"%s\"", result);
    return fr_counter_read(fr_metrics_counter(toy.metrics, name, labels, ""));
}

static void await(const char *name, const char *result, uint64_t times)
{
    int64_t end_ms = fr_clock_monotonic_ms() + PATIENCE_MS;

    while (count(name, result) < times) {
        assert_true(fr_clock_monotonic_ms() < end_ms);
        fr_clock_sleep_ms(10);
    }
    assert_int_equal(count(name, result), times);
}

/* ---- The client ---- */

struct secure {
    struct client *plain;
    struct server_client *tls;
    char bytes[CLIENT_BYTES];
    size_t length;
};

/* False when the time is over, or the step has failed. */
static bool wait_for(const struct secure *secure, enum server_client_step step)
{
    struct pollfd poller = {.fd = secure->plain->fd, .events = step == SERVER_CLIENT_READS ? POLLIN : POLLOUT};

    return step != SERVER_CLIENT_FAILED && poll(&poller, 1, PATIENCE_MS) == 1;
}

static void secure_close(struct secure *secure)
{
    server_client_close(secure->tls);
    client_close(secure->plain);
    free(secure);
}

/* NULL when there is no way in; then `err` says why. With TLS 1.3 a client is judged after its handshake: it sees that in a read. */
static struct secure *secure_open(const struct certificate *trusted, const struct certificate *own, const char *host,
                                  struct fr_err *err)
{
    struct secure *secure = calloc(1, sizeof *secure);
    const struct server_client_tls options = {
        .ca = trusted->file,
        .certificate = own ? own->file : NULL,
        .key = own ? own->key_file : NULL,
        .host = host,
    };
    enum server_client_step step;

    assert_non_null(secure);
    secure->plain = client_open(server_api_address(toy.server));
    assert_int_equal(fcntl(secure->plain->fd, F_SETFL, O_NONBLOCK), 0);
    assert_true(server_client_open(&options, secure->plain->fd, &secure->tls, err));
    while ((step = server_client_handshake(secure->tls, err)) != SERVER_CLIENT_DONE)
        if (!wait_for(secure, step)) {
            secure_close(secure);
            return NULL;
        }
    return secure;
}

static void secure_send(struct secure *secure, const char *bytes, size_t length)
{
    enum server_client_step step;
    struct fr_err err;

    while ((step = server_client_write(secure->tls, bytes, length, &err)) != SERVER_CLIENT_DONE)
        if (!wait_for(secure, step))
            return; /* what it said is what the test looks at */
}

/* False at the end, or when the connection breaks. */
static bool read_more(struct secure *secure)
{
    enum server_client_step step;
    struct fr_err err;
    size_t got;

    while ((step = server_client_read(secure->tls, secure->bytes + secure->length, CLIENT_BYTES - secure->length, &got,
                                      &err)) != SERVER_CLIENT_DONE)
        if (!wait_for(secure, step))
            return false;
    secure->length += got;
    return got > 0;
}

/* status 0 when the connection ends before. */
static void secure_receive(struct secure *secure)
{
    const char *end;
    size_t head_length, whole;

    response.status = 0;
    while (!(end = memmem(secure->bytes, secure->length, "\r\n\r\n", 4)))
        if (!read_more(secure))
            return;
    head_length = (size_t)(end - secure->bytes) + 4;
    snprintf(response.head, sizeof response.head, "%.*s", (int)head_length, secure->bytes);
    response.body_length = strtoul(response_header(&response, "Content-Length"), NULL, 10);
    whole = head_length + response.body_length;
    assert_true(whole < CLIENT_BYTES);
    while (secure->length < whole)
        assert_true(read_more(secure));
    memcpy(response.body, secure->bytes + head_length, response.body_length);
    response.body[response.body_length] = '\0';
    sscanf(response.head, "HTTP/1.1 %d", &response.status);
    secure->length -= whole;
    memmove(secure->bytes, secure->bytes + whole, secure->length);
}

static void secure_ask(struct secure *secure, const char *json, size_t length)
{
    struct fr_buffer request;

    fr_buffer_init(&request);
    fr_buffer_append_format(
        &request,
        "POST /freshet.v1.FeatureService/GetFeatures HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
        "Content-Length: %zu\r\n\r\n",
        length);
    fr_buffer_append(&request, json, length);
    secure_send(secure, (const char *)request.bytes, request.length);
    fr_buffer_fini(&request);
}

/* The status that one call of a connection of its own gets; 0: no way in. */
static int status_for(const struct certificate *trusted, const struct certificate *own, const char *host, struct fr_err *err)
{
    struct secure *secure = secure_open(trusted, own, host, err);

    if (!secure)
        return 0;
    secure_ask(secure, "{}", 2);
    secure_receive(secure);
    secure_close(secure);
    return response.status;
}

/* ---- Bytes ---- */

static void a_client_that_trusts_the_authority_is_served(void **state)
{
    (void)state;
    struct secure *secure;
    struct fr_err err;

    secure = secure_open(&authority, NULL, "127.0.0.1", &err);
    assert_non_null(secure);
    for (int i = 0; i < 3; i++) {
        secure_ask(secure, "{\"userId\":7}", 12);
        secure_receive(secure);
        assert_int_equal(response.status, 200);
        assert_contains(response.body, "\"requestId\":\"7\"");
    }
    secure_close(secure);
    assert_int_equal(count("freshet_tls_handshakes_total", "ok"), 1);
}

static void a_client_refuses_a_stranger_and_another_name(void **state)
{
    (void)state;
    struct fr_err err = {0};

    assert_int_equal(status_for(&stranger, NULL, "127.0.0.1", &err), 0);
    assert_contains(err.message, "unable to get local issuer certificate");
    assert_int_equal(status_for(&authority, NULL, "127.0.0.2", &err), 0);
    assert_contains(err.message, "IP address mismatch");
    assert_int_equal(status_for(&authority, NULL, "node.example", &err), 0);
    assert_contains(err.message, "hostname mismatch");
}

/* {"itemIds":[1,1,…]}: more than one read's worth, in many records. */
static void a_request_of_many_records_arrives_whole(void **state)
{
    (void)state;
    enum { IDS = 20000 };
    struct secure *secure;
    struct fr_buffer body;
    struct fr_err err;

    fr_buffer_init(&body);
    fr_buffer_append_text(&body, "{\"itemIds\":[1");
    for (int i = 1; i < IDS; i++)
        fr_buffer_append_text(&body, ",                  1");
    fr_buffer_append_text(&body, "]}");
    secure = secure_open(&authority, NULL, "127.0.0.1", &err);
    assert_non_null(secure);
    for (int i = 0; i < 3; i++) {
        secure_ask(secure, (const char *)body.bytes, body.length);
        secure_receive(secure);
        assert_int_equal(response.status, 200);
        assert_true(response.body_length > 2 * IDS);
    }
    secure_close(secure);
    fr_buffer_fini(&body);
}

static void on_one_loop(struct toy *made, struct server_options *options)
{
    by_tls(made, options);
    options->loops = 1;
    made->methods[1].is_slow = false; /* Describe holds the loop until the gate opens */
}

/*
 * What did not fit one read may lie in OpenSSL, where no socket tells of it. A loop that was held up finds head and body at once: the
 * last record of the body ends as many bytes behind the first read as the head has.
 */
static void a_request_whose_end_was_read_ahead_is_answered(void **state)
{
    (void)state;
    static const char describe[] = "POST /freshet.v1.FeatureService/Describe HTTP/1.1\r\nHost: t\r\n"
                                   "Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}";
    static const char head[] = "POST /freshet.v1.FeatureService/GetFeatures HTTP/1.1\r\nHost: t\r\n"
                               "Content-Type: application/json\r\nContent-Length: 65536\r\n\r\n";
    static char body[SERVER_READ_BYTES];
    struct secure *secure, *holder;
    struct fr_err err;

    toy_stop(&toy);
    toy_start_changed(&toy, on_one_loop);
    memset(body, ' ', sizeof body);
    memcpy(body + sizeof body - 2, "{}", 2);
    secure = secure_open(&authority, NULL, "127.0.0.1", &err);
    holder = secure_open(&authority, NULL, "127.0.0.1", &err);
    assert_true(secure && holder);
    secure_send(holder, describe, sizeof describe - 1);
    toy_await_entered(&toy);
    secure_send(secure, head, sizeof head - 1);
    secure_send(secure, body, sizeof body);
    toy_open_gate(&toy);
    secure_receive(secure);
    assert_int_equal(response.status, 200);
    secure_receive(holder);
    secure_close(holder);
    secure_close(secure);
}

/* Many replies that nobody reads fill the socket: each goes on where its last record ended. */
static void replies_that_wait_for_the_client_come_whole_and_in_order(void **state)
{
    (void)state;
    enum { IDS = 40000, REPLIES = 60 };
    struct secure *secure;
    struct fr_buffer body;
    struct fr_err err;
    char wanted[64];

    secure = secure_open(&authority, NULL, "127.0.0.1", &err);
    assert_non_null(secure);
    for (int i = 0; i < REPLIES; i++) {
        fr_buffer_init(&body);
        fr_buffer_append_format(&body, "{\"userId\":%d,\"features\":[\"", i);
        for (int j = 0; j < IDS; j++)
            fr_buffer_append_text(&body, "x");
        fr_buffer_append_text(&body, "\"]}");
        secure_ask(secure, (const char *)body.bytes, body.length);
        fr_buffer_fini(&body);
    }
    for (int i = 0; i < REPLIES; i++) {
        secure_receive(secure);
        assert_int_equal(response.status, 200);
        snprintf(wanted, sizeof wanted, "\"requestId\":\"%d\"", i);
        assert_contains(response.body, wanted);
        assert_true(response.body_length > IDS);
    }
    secure_close(secure);
}

static void what_is_no_tls_is_closed_and_counted(void **state)
{
    (void)state;
    struct client *client = client_open(server_api_address(toy.server));

    client_send(client, "POST / HTTP/1.1\r\nHost: t\r\n\r\n");
    client_receive(client, &response);
    assert_int_equal(response.status, 0);
    client_close(client);
    await("freshet_tls_handshakes_total", "failed", 1);
    assert_int_equal(count("freshet_tls_handshakes_total", "ok"), 0);
}

static void the_operations_port_of_loopback_stays_plain(void **state)
{
    (void)state;
    struct client *client = client_open(server_operations_address(toy.server));

    client_send(client, "GET /status HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
    client_close(client);
}

/* ---- Clients' certificates ---- */

static const struct server_grant grants[] = {
    {.name = "the ranker", .certificate = "ranker.example", .groups = 1u << SERVER_READ},
    {.name = "nobody's", .certificate = "somebody.else", .groups = 1u << SERVER_READ},
};

static void mutual(struct toy *made, struct server_options *options)
{
    by_tls(made, options);
    options->grants = grants;
    options->grant_count = 2;
}

static void only_a_good_certificate_of_a_client_is_let_in(void **state)
{
    (void)state;
    struct certificate ranker, other, expired, early, self_signed, foreign, revoked;
    struct fr_err err = {0};

    toy_stop(&toy);
    certificate_make(&ranker, "ranker", &authority, "DNS:ranker.example", 0, 2);
    certificate_make(&other, "other", &authority, "DNS:other.example", 0, 2);
    certificate_make(&expired, "expired", &authority, "DNS:ranker.example", -3, -1);
    certificate_make(&early, "early", &authority, "DNS:ranker.example", 1, 2);
    certificate_make(&self_signed, "self", NULL, "DNS:ranker.example", 0, 2);
    certificate_make(&foreign, "foreign", &stranger, "DNS:ranker.example", 0, 2);
    certificate_make(&revoked, "revoked", &authority, "DNS:ranker.example", 0, 2);
    certificate_revoke(&authority, &revoked, crl_file);
    files.client_ca = authority.file;
    files.client_crl = crl_file;
    toy_start_changed(&toy, mutual);

    assert_int_equal(status_for(&authority, &ranker, "127.0.0.1", &err), 200);
    assert_int_equal(status_for(&authority, &other, "127.0.0.1", &err), 401); /* a known client, without a grant */
    assert_int_equal(status_for(&authority, NULL, "127.0.0.1", &err), 0);
    assert_int_equal(status_for(&authority, &expired, "127.0.0.1", &err), 0);
    assert_int_equal(status_for(&authority, &early, "127.0.0.1", &err), 0);
    assert_int_equal(status_for(&authority, &self_signed, "127.0.0.1", &err), 0);
    assert_int_equal(status_for(&authority, &foreign, "127.0.0.1", &err), 0);
    assert_int_equal(status_for(&authority, &revoked, "127.0.0.1", &err), 0);
    await("freshet_tls_handshakes_total", "failed", 6);

    certificate_free(&ranker);
    certificate_free(&other);
    certificate_free(&expired);
    certificate_free(&early);
    certificate_free(&self_signed);
    certificate_free(&foreign);
    certificate_free(&revoked);
}

/* ---- Files ---- */

static void changed_files_are_used_by_new_connections_and_broken_ones_are_not(void **state)
{
    (void)state;
    struct secure *before;
    struct certificate second;
    struct fr_err err;
    FILE *file;

    before = secure_open(&authority, NULL, "127.0.0.1", &err);
    assert_non_null(before);

    certificate_make(&second, "node", &stranger, "IP:127.0.0.1", 0, 2);
    await("freshet_tls_reloads_total", "ok", 1);
    assert_int_equal(status_for(&authority, NULL, "127.0.0.1", &err), 0);
    assert_int_equal(status_for(&stranger, NULL, "127.0.0.1", &err), 200);

    file = fopen(node.file, "w");
    assert_non_null(file);
    fputs("no certificate\n", file);
    fclose(file);
    await("freshet_tls_reloads_total", "failed", 1);
    assert_int_equal(status_for(&stranger, NULL, "127.0.0.1", &err), 200);

    secure_ask(before, "{}", 2); /* the connection of the first day still lives */
    secure_receive(before);
    assert_int_equal(response.status, 200);
    secure_close(before);
    certificate_free(&second);
}

static void refused(const struct server_tls *wrong, const char *part)
{
    struct fr_err err = {0};

    assert_false(server_tls_check(wrong, &err));
    assert_int_equal(err.code, FR_BAD_CONFIG);
    assert_contains(err.message, part);
}

static void files_that_cannot_be_used_are_named_with_the_cure(void **state)
{
    (void)state;
    struct certificate other;
    char missing[CERTIFICATE_PATH];
    struct fr_err err;

    certificate_make(&other, "else", &authority, "IP:127.0.0.1", 0, 2);
    certificates_path("missing.pem", missing);
    assert_true(server_tls_check(&files, &err));
    refused(&(struct server_tls){.certificate = missing, .key = node.key_file}, "missing.pem");
    refused(&(struct server_tls){.certificate = node.file, .key = missing}, "cannot open the key");
    refused(&(struct server_tls){.certificate = node.key_file, .key = node.key_file}, "name a PEM file");
    refused(&(struct server_tls){.certificate = node.file, .key = other.key_file}, "the certificate's own private key");
    refused(&(struct server_tls){.certificate = node.file, .key = node.key_file, .client_ca = missing}, "authority of clients");
    refused(
        &(struct server_tls){
            .certificate = node.file, .key = node.key_file, .client_ca = authority.file, .client_crl = missing},
        "revocation list");
    assert_int_equal(chmod(node.key_file, 0644), 0);
    refused(&files, "chmod 600");
    assert_int_equal(chmod(node.key_file, 0400), 0);
    assert_true(server_tls_check(&files, &err));
    certificate_free(&other);
}

/* ---- Time ---- */

static void in_haste(struct toy *made, struct server_options *options)
{
    by_tls(made, options);
    options->limits.header_ms = 200;
}

static void a_handshake_that_does_not_go_on_is_cut(void **state)
{
    (void)state;
    struct client *client;

    toy_stop(&toy);
    toy_start_changed(&toy, in_haste);
    client = client_open(server_api_address(toy.server));
    client_send_bytes(client, "\x16\x03\x01\x02\x00\x01", 6);
    client_receive(client, &response); /* waits for the end */
    assert_int_equal(response.status, 0);
    client_close(client);
}

int main(void)
{
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(a_client_that_trusts_the_authority_is_served),
        WITH_SERVER(a_client_refuses_a_stranger_and_another_name),
        WITH_SERVER(a_request_of_many_records_arrives_whole),
        WITH_SERVER(a_request_whose_end_was_read_ahead_is_answered),
        WITH_SERVER(replies_that_wait_for_the_client_come_whole_and_in_order),
        WITH_SERVER(what_is_no_tls_is_closed_and_counted),
        WITH_SERVER(the_operations_port_of_loopback_stays_plain),
        WITH_SERVER(only_a_good_certificate_of_a_client_is_let_in),
        WITH_SERVER(changed_files_are_used_by_new_connections_and_broken_ones_are_not),
        WITH_SERVER(files_that_cannot_be_used_are_named_with_the_cure),
        WITH_SERVER(a_handshake_that_does_not_go_on_is_cut),
    };
    int result;

    certificates_begin();
    certificate_make(&authority, "authority", NULL, NULL, -5, 5);
    certificate_make(&stranger, "stranger", NULL, NULL, -5, 5);
    certificates_path("crl.pem", crl_file);
    result = cmocka_run_group_tests(tests, NULL, NULL);
    certificate_free(&authority);
    certificate_free(&stranger);
    certificates_end();
    return result;
}
