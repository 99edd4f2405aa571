/*
 * Who may call what, and how often: every cell of the matrix, over HTTP/1.1 and gRPC.
 */
#include "client2.h"

#include <freshet/clock.h>

#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define READER "reader-0123456789abcdef"
#define LEARNER "learner-0123456789abcdef"
#define ADMIN "admin-0123456789abcdef"
#define ALL "all-0123456789abcdef"

static struct toy toy;
static struct response response;

static const struct server_grant grants[] = {
    {.name = "reader", .token = READER, .groups = 1u << SERVER_READ},
    {.name = "learner", .token = LEARNER, .groups = 1u << SERVER_LEARN},
    {.name = "administrator", .token = ADMIN, .groups = 1u << SERVER_ADMIN},
    {.name = "all", .token = ALL, .groups = 1u << SERVER_READ | 1u << SERVER_LEARN | 1u << SERVER_ADMIN},
};

static void with_grants(struct toy *made, struct server_options *options)
{
    made->methods[1].group = SERVER_ADMIN; /* Describe */
    made->methods[2].group = SERVER_LEARN; /* WatchFeatures */
    options->grants = grants;
    options->grant_count = sizeof grants / sizeof *grants;
}

static int set_up(void **state)
{
    (void)state;
    toy_start_changed(&toy, with_grants);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    toy_stop(&toy);
    return 0;
}

static uint64_t refused(const char *reason)
{
    char labels[64];

    snprintf(labels, sizeof labels, "reason=\"%s\"", reason);
    return fr_counter_read(fr_metrics_counter(toy.metrics, "freshet_refused_calls_total", labels, ""));
}

/* ---- The matrix ---- */

struct credential {
    const char *field; /* "" for none */
    unsigned groups; /* UNKNOWN: who shows it is nobody */
};
enum { UNKNOWN = ~0 };

static const struct credential credentials[] = {
    {"", (unsigned)UNKNOWN},
    {"authorization: Bearer " READER, 1u << SERVER_READ},
    {"authorization: bearer " READER, 1u << SERVER_READ}, /* the scheme is in any case */
    {"authorization: Bearer " LEARNER, 1u << SERVER_LEARN},
    {"authorization: Bearer " ADMIN, 1u << SERVER_ADMIN},
    {"authorization: Bearer " ALL, 7},
    {"authorization: Bearer " READER "x", (unsigned)UNKNOWN},
    {"authorization: Bearer reader-0123456789abcde", (unsigned)UNKNOWN},
    {"authorization: Bearer reader-0123456789abcdeF", (unsigned)UNKNOWN},
    {"authorization: Bearer", (unsigned)UNKNOWN},
    {"authorization: Basic " READER, (unsigned)UNKNOWN},
    {"authorization: " READER, (unsigned)UNKNOWN},
};
enum { CREDENTIALS = sizeof credentials / sizeof *credentials };

static const struct {
    const char *path, *query; /* `query`: of gRPC, its message with its prefix */
    size_t query_bytes;
    int group; /* −1: open to anybody */
    bool is_unary;
} methods[] = {
    {"/freshet.v1.FeatureService/GetFeatures", "\0\0\0\0\0", 5, SERVER_READ, true},
    {"/freshet.v1.FeatureService/Describe", "\0\0\0\0\0", 5, SERVER_ADMIN, true},
    {"/freshet.v1.FeatureService/WatchFeatures", "\0\0\0\0\0", 5, SERVER_LEARN, false},
    {"/grpc.health.v1.Health/Check", "\0\0\0\0\0", 5, -1, true},
    {"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "\0\0\0\0\2\x3a\0", 7, SERVER_READ, false},
    {"/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", "\0\0\0\0\2\x3a\0", 7, SERVER_READ, false},
};
enum { METHODS = sizeof methods / sizeof *methods };

static enum server__status wanted(int method, const struct credential *credential)
{
    if (methods[method].group < 0)
        return SERVER_STATUS_OK;
    if (credential->groups == (unsigned)UNKNOWN)
        return SERVER_STATUS_UNAUTHENTICATED;
    return credential->groups & 1u << methods[method].group ? SERVER_STATUS_OK : SERVER_STATUS_PERMISSION_DENIED;
}

static void every_cell_of_the_matrix_by_grpc(void **state)
{
    (void)state;
    struct client2 *client = client2_open(server_api_address(toy.server));

    for (int method = 0; method < METHODS; method++)
        for (int i = 0; i < CREDENTIALS; i++) {
            enum server__status status = wanted(method, &credentials[i]);
            struct client2_reply *reply;
            char fields[512];

            if (status == SERVER_STATUS_OK && strstr(methods[method].path, "Describe"))
                toy_open_gate(&toy);
            snprintf(fields, sizeof fields, ":method: POST\n:path: %s\ncontent-type: application/grpc\nte: trailers\n%s%s",
                     methods[method].path, credentials[i].field, credentials[i].field[0] ? "\n" : "");
            reply = client2_begin(client, fields, fr_slice(methods[method].query, methods[method].query_bytes), true);
            client2_await_reply(client, reply);
            assert_int_equal(reply->status, 200);
            if (atoi(client2_field(reply, "grpc-status")) != (int)status)
                fail_msg("%s with '%s': %s, %s", methods[method].path, credentials[i].field,
                         client2_field(reply, "grpc-status"), client2_field(reply, "grpc-message"));
        }
    client2_close(client);
}

static void every_cell_of_the_matrix_by_http(void **state)
{
    (void)state;
    struct client *client = client_open(server_api_address(toy.server));

    for (int method = 0; method < METHODS; method++)
        for (int i = 0; i < CREDENTIALS && methods[method].is_unary; i++) {
            enum server__status status = wanted(method, &credentials[i]);
            char request[512];

            if (status == SERVER_STATUS_OK && strstr(methods[method].path, "Describe"))
                toy_open_gate(&toy);
            snprintf(request, sizeof request,
                     "POST %s HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\nContent-Length: 2\r\n%s%s\r\n{}",
                     methods[method].path, credentials[i].field, credentials[i].field[0] ? "\r\n" : "");
            client_send(client, request);
            client_receive(client, &response);
            if (response.status != server__status_http(status))
                fail_msg("%s with '%s': HTTP %d", methods[method].path, credentials[i].field, response.status);
            if (status == SERVER_STATUS_UNAUTHENTICATED)
                assert_string_equal(response_header(&response, "WWW-Authenticate"), "Bearer");
        }
    client_close(client);
    assert_int_equal(refused("permission"),
                     5); /* GetFeatures: learner, administrator; Describe: learner, reader in two spellings */
}

static void two_credentials_are_none(void **state)
{
    (void)state;
    struct client *client = client_open(server_api_address(toy.server));

    client_send(client, "POST /freshet.v1.FeatureService/GetFeatures HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
                        "Content-Length: 2\r\nAuthorization: Bearer " READER "\r\nAuthorization: Bearer " READER "\r\n\r\n{}");
    client_receive(client, &response);
    assert_int_equal(response.status, 401);
    client_close(client);
}

static void tokens_that_are_none_are_refused_at_start(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "short", "has a space in it", "quote\"quote\"quote\"", "umlaut-\xc3\xa4-0123456789"};
    char most[SERVER_TOKEN_BYTES_MAX + 2];
    struct fr_err err;

    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(server_token_check(bad[i], &err));
    memset(most, 'a', sizeof most);
    most[SERVER_TOKEN_BYTES_MAX] = '\0';
    assert_true(server_token_check(most, &err));
    most[SERVER_TOKEN_BYTES_MAX] = 'a';
    most[SERVER_TOKEN_BYTES_MAX + 1] = '\0';
    assert_false(server_token_check(most, &err));
    assert_true(server_token_check("abcDEF0123456789-._~+/==", &err));
}

/* ---- The audit ---- */

static struct server_method toy_describe;

/* Opens the toy's gate for itself; `asks_again` says what it was. */
static bool asks_again;
static bool describe(void *user, struct server_call *call, const ProtobufCMessage *request, ProtobufCMessage **reply,
                     struct fr_err *err)
{
    call->is_asked_again = asks_again;
    toy_open_gate(&toy);
    return toy_describe.handler(user, call, request, reply, err);
}

static void who_asks_how_far_it_is_leaves_no_line_and_who_begins_it_does(void **state)
{
    static const char request[] =
        "POST /freshet.v1.FeatureService/Describe HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
        "Content-Length: 2\r\nauthorization: Bearer " ADMIN "\r\n\r\n{}";
    struct client *client = client_open(server_api_address(toy.server));
    int ends[2], saved = dup(STDERR_FILENO), lines = 0;
    char log[4096];
    ssize_t length;

    (void)state;
    toy_describe = toy.methods[1];
    toy.methods[1].handler = describe;
    assert_int_equal(pipe(ends), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    for (int i = 0; i < 4; i++) {
        asks_again = i > 0;
        client_send(client, request);
        client_receive(client, &response);
        assert_int_equal(response.status, 200);
    }
    client_close(client);
    dup2(saved, STDERR_FILENO);
    close(saved);
    length = read(ends[0], log, sizeof log - 1);
    close(ends[0]);
    assert_true(length > 0);
    log[length] = '\0';
    for (const char *at = log; (at = strstr(at, "\"administrator\" called freshet.v1.FeatureService/Describe")) != NULL; at++)
        lines++;
    assert_int_equal(lines, 1);
}

/* ---- Files ---- */

#define NEWER "newer-0123456789abcdef"

static char token_file[] = "/tmp/freshet-token.XXXXXX";

/* The file is there at once, as whoever renames one sees to. */
static void put_token(const char *text)
{
    char part[64];
    FILE *file;

    snprintf(part, sizeof part, "%s.part", token_file);
    file = fopen(part, "w");
    assert_non_null(file);
    assert_int_equal(fchmod(fileno(file), 0600), 0);
    fputs(text, file);
    fclose(file);
    assert_int_equal(rename(part, token_file), 0);
}

static void with_a_token_of_a_file(struct toy *made, struct server_options *options)
{
    static struct server_grant of_file[sizeof grants / sizeof *grants];

    with_grants(made, options);
    memcpy(of_file, grants, sizeof grants);
    of_file[0].token_file = token_file;
    options->grants = of_file;
}

static void await_reloads(const char *result, uint64_t times)
{
    char labels[32];
    struct fr_counter *counter;

    snprintf(labels, sizeof labels, "result=\"%s\"", result);
    counter = fr_metrics_counter(toy.metrics, "freshet_token_reloads_total", labels, "");
    for (int64_t end_ms = fr_clock_monotonic_ms() + 20000; fr_counter_read(counter) < times; fr_clock_sleep_ms(10))
        assert_true(fr_clock_monotonic_ms() < end_ms);
    assert_int_equal(fr_counter_read(counter), times);
}

static int status_for(struct client *client, const char *token)
{
    char request[256];

    snprintf(request, sizeof request,
             "POST /freshet.v1.FeatureService/GetFeatures HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
             "Content-Length: 2\r\nAuthorization: Bearer %s\r\n\r\n{}",
             token);
    client_send(client, request);
    client_receive(client, &response);
    return response.status;
}

static void a_changed_token_counts_from_then_on_and_a_bad_one_does_not(void **state)
{
    (void)state;
    static const char *const bad[] = {ALL "\n"}; /* it is another's */
    struct client *client;

    assert_true(close(mkstemp(token_file)) == 0);
    put_token(READER "\n");
    toy_stop(&toy);
    toy_start_changed(&toy, with_a_token_of_a_file);
    client = client_open(server_api_address(toy.server));
    assert_int_equal(status_for(client, READER), 200);

    put_token(NEWER "\n");
    await_reloads("ok", 1);
    assert_int_equal(status_for(client, NEWER), 200); /* on a connection that was open before */
    assert_int_equal(status_for(client, READER), 401);
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        put_token(bad[i]);
        await_reloads("failed", i + 1);
        assert_int_equal(status_for(client, NEWER), 200);
    }
    assert_int_equal(unlink(token_file), 0);
    await_reloads("failed", 2);
    assert_int_equal(status_for(client, NEWER), 200);
    assert_int_equal(status_for(client, ALL), 200);
    client_close(client);
}

/* ---- Rates ---- */

enum { SECOND_US = 1000000 };

static void a_principal_spends_its_burst_then_its_rate(void **state)
{
    (void)state;
    struct server__rate rate;
    struct fr_err err;
    int64_t now_us = 5 * SECOND_US;

    assert_true(server__rate_open(&rate, 10, 3, now_us, &err));
    for (int i = 0; i < 3; i++)
        assert_int_equal(server__rate_take(&rate, "a", now_us), 0);
    assert_int_equal(server__rate_take(&rate, "a", now_us), 100000); /* until one is earned */
    assert_int_equal(server__rate_take(&rate, "b", now_us), 0); /* others have their own */
    assert_int_equal(server__rate_take(&rate, "a", now_us + 99999), 1);
    assert_int_equal(server__rate_take(&rate, "a", now_us + 100000), 0);
    assert_int_equal(server__rate_take(&rate, "a", now_us + 100000), 100000);
    for (int i = 0; i < 3; i++) /* quiet for long: the burst again, and no more than that */
        assert_int_equal(server__rate_take(&rate, "a", now_us + 60 * SECOND_US), 0);
    assert_true(server__rate_take(&rate, "a", now_us + 60 * SECOND_US) > 0);
    server__rate_close(&rate);
}

static void without_a_rate_nobody_is_counted(void **state)
{
    (void)state;
    struct server__rate rate;
    struct fr_err err;

    assert_true(server__rate_open(&rate, 0, 0, 0, &err));
    for (int i = 0; i < 1000; i++)
        assert_int_equal(server__rate_take(&rate, "a", 0), 0);
    server__rate_close(&rate);
}

/* Each of many more principals than there are slots comes twice, an hour apart: nobody pays for who was there before. */
static void principals_that_are_quiet_need_no_slot(void **state)
{
    (void)state;
    enum { PRINCIPALS = 4 * SERVER_RATE_SLOTS };
    struct server__rate rate;
    struct fr_err err;
    int64_t now_us = 0;
    char name[32];

    assert_true(server__rate_open(&rate, 1000, 1, now_us, &err));
    for (int i = 0; i < PRINCIPALS; i++) {
        snprintf(name, sizeof name, "principal %d", i);
        now_us += 1000;
        assert_int_equal(server__rate_take(&rate, name, now_us), 0);
        assert_true(server__rate_take(&rate, name, now_us) > 0);
    }
    server__rate_close(&rate);
}

/* A thousand at work at once: who comes within its rate is never refused for another's calls. */
static void principals_at_work_do_not_pay_for_each_other(void **state)
{
    (void)state;
    enum { PRINCIPALS = 1000 };
    struct server__rate rate;
    struct fr_err err;
    char name[32];

    assert_true(server__rate_open(&rate, 10, 5, 0, &err));
    for (int round = 0; round < 5; round++)
        for (int i = 0; i < PRINCIPALS; i++) {
            snprintf(name, sizeof name, "principal %d", i);
            assert_int_equal(server__rate_take(&rate, name, 1000), 0);
        }
    for (int i = 0; i < PRINCIPALS; i++) {
        snprintf(name, sizeof name, "principal %d", i);
        assert_true(server__rate_take(&rate, name, 1000) > 0);
    }
    server__rate_close(&rate);
}

static void at_a_low_rate(struct toy *made, struct server_options *options)
{
    with_grants(made, options);
    options->limits.rate = 1;
    options->limits.burst = 2;
}

static void who_calls_too_often_is_told_when_to_retry(void **state)
{
    (void)state;
    static const char call[] =
        "POST /freshet.v1.FeatureService/GetFeatures HTTP/1.1\r\nHost: t\r\nContent-Type: application/json\r\n"
        "Content-Length: 2\r\nAuthorization: Bearer %s\r\n\r\n{}";
    static const char fields[] =
        ":method: POST\n:path: /freshet.v1.FeatureService/GetFeatures\ncontent-type: application/grpc\n"
        "te: trailers\nauthorization: Bearer " READER "\n";
    struct client *client;
    struct client2 *client2;
    struct client2_reply *reply;
    char request[512];

    toy_stop(&toy);
    toy_start_changed(&toy, at_a_low_rate);
    client = client_open(server_api_address(toy.server));
    client2 = client2_open(server_api_address(toy.server));
    snprintf(request, sizeof request, call, READER);
    for (int i = 0; i < 3; i++) {
        client_send(client, request);
        client_receive(client, &response);
        assert_int_equal(response.status, i < 2 ? 200 : 429);
    }
    assert_contains(response.body, "\"resource_exhausted\"");
    assert_contains(response.body, "'reader'");
    assert_string_equal(response_header(&response, "Retry-After"), "1");

    reply = client2_begin(client2, fields, fr_slice("\0\0\0\0\0", 5), true); /* the same principal by another way */
    client2_await_reply(client2, reply);
    assert_string_equal(client2_field(reply, "grpc-status"), "8");
    assert_true(atoi(client2_field(reply, "grpc-retry-pushback-ms")) > 0);
    assert_true(atoi(client2_field(reply, "grpc-retry-pushback-ms")) <= 1001);
    assert_int_equal(refused("rate"), 2);

    snprintf(request, sizeof request, call, ALL);
    client_send(client, request);
    client_receive(client, &response);
    assert_int_equal(response.status, 200);
    client2_close(client2);
    client_close(client);
}

/* ---- Pages ---- */

static void pages_ask_for_the_administrator_unless_the_peer_is_here(void **state)
{
    (void)state;
    static const struct {
        const char *authorization;
        int guarded, lookup, guarded_without, lookup_without; /* off loopback; without grants */
    } cases[] = {
        {NULL, 401, 401, 200, 403},
        {"Bearer " READER, 403, 403, 200, 403},
        {"Bearer " ADMIN, 200, 200, 200, 403},
        {"Bearer nobody-0123456789abcdef", 401, 401, 200, 403},
    };
    struct server_options none = {.metrics = toy.metrics};
    struct server__caller here, there;
    struct server__access without;
    struct server__access *access = &toy.server->access;
    struct fr_err err;

    assert_true(server__access_open(&without, &none, &err));
    server__caller_init(&here, "127.0.0.1:5", true);
    server__caller_init(&there, "10.0.0.1:5", false);
    assert_string_equal(there.name, "10.0.0.1");
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        const struct server__credential credential = {
            .authorization = cases[i].authorization ? fr_slice_of(cases[i].authorization) : fr_slice(NULL, 0)};
        const struct server_page open = {.access = SERVER_PAGE_OPEN}, guarded = {.access = SERVER_PAGE_GUARDED},
                                 lookup = {.access = SERVER_PAGE_LOOKUP};

        assert_int_equal(server__access_page(access, &open, &there, &credential), 200);
        assert_int_equal(server__access_page(access, &guarded, &there, &credential), cases[i].guarded);
        assert_int_equal(server__access_page(access, &lookup, &there, &credential), cases[i].lookup);
        assert_int_equal(server__access_page(access, &lookup, &here, &credential), 200);
        assert_int_equal(server__access_page(&without, &guarded, &there, &credential), cases[i].guarded_without);
        assert_int_equal(server__access_page(&without, &lookup, &there, &credential), cases[i].lookup_without);
    }
    server__access_close(&without);
}

int main(void)
{
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(every_cell_of_the_matrix_by_grpc),
        WITH_SERVER(every_cell_of_the_matrix_by_http),
        WITH_SERVER(two_credentials_are_none),
        WITH_SERVER(who_asks_how_far_it_is_leaves_no_line_and_who_begins_it_does),
        cmocka_unit_test(tokens_that_are_none_are_refused_at_start),
        WITH_SERVER(a_changed_token_counts_from_then_on_and_a_bad_one_does_not),
        cmocka_unit_test(a_principal_spends_its_burst_then_its_rate),
        cmocka_unit_test(without_a_rate_nobody_is_counted),
        cmocka_unit_test(principals_that_are_quiet_need_no_slot),
        cmocka_unit_test(principals_at_work_do_not_pay_for_each_other),
        WITH_SERVER(who_calls_too_often_is_told_when_to_retry),
        WITH_SERVER(pages_ask_for_the_administrator_unless_the_peer_is_here),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
