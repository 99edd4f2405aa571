/*
 * Methods that answer with a stream, over gRPC and real sockets: ours, health checking and reflection.
 */
#include "client2.h"
#include "convention.h"

#include <freshet/v1/feature.pb-c.h>
#include <grpc/health/v1/health.pb-c.h>
#include <grpc/reflection/v1/reflection.pb-c.h>

#include <nghttp2/nghttp2.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#define GRPC_FIELDS(path) ":method: POST\n:path: " path "\ncontent-type: application/grpc\nte: trailers\n"
#define WATCH GRPC_FIELDS("/freshet.v1.FeatureService/WatchFeatures")
#define HEALTH_CHECK GRPC_FIELDS("/grpc.health.v1.Health/Check")
#define HEALTH_WATCH GRPC_FIELDS("/grpc.health.v1.Health/Watch")
#define REFLECTION(version) GRPC_FIELDS("/grpc.reflection." version ".ServerReflection/ServerReflectionInfo")

enum { UPDATE_BYTES = 20000, REQUEST_BYTES = 1024 };

static struct toy toy;
static struct client2 *client;

static int set_up(void **state)
{
    (void)state;
    toy_start(&toy, NULL);
    client = client2_open(server_api_address(toy.server));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    client2_close(client);
    toy_stop(&toy);
    return 0;
}

static struct client2_reply *begin(const char *fields, const ProtobufCMessage *message, bool is_ended)
{
    static uint8_t wire[REQUEST_BYTES];
    size_t length = protobuf_c_message_pack(message, wire + SERVER_GRPC_PREFIX);

    server__grpc_prefix(length, wire);
    return client2_begin(client, fields, fr_slice(wire, SERVER_GRPC_PREFIX + length), is_ended);
}

static struct client2_reply *watch(const char *fields, uint32_t updates, const char *feature)
{
    Freshet__V1__WatchFeaturesRequest request = FRESHET__V1__WATCH_FEATURES_REQUEST__INIT;

    request.interval_ms = updates;
    request.n_features = feature ? 1 : 0;
    request.features = (char **)&feature;
    return begin(fields, &request.base, true);
}

/* Message number `index` of what has come, unpacked; waits for it. */
static ProtobufCMessage *message_at(struct client2_reply *reply, int index, const ProtobufCMessageDescriptor *type)
{
    size_t at = 0;

    for (;; index--) {
        const uint8_t *prefix;
        size_t length;

        client2_await_body(client, reply, at + SERVER_GRPC_PREFIX);
        prefix = reply->body.bytes + at;
        length = (size_t)prefix[1] << 24 | (size_t)prefix[2] << 16 | (size_t)prefix[3] << 8 | prefix[4];
        at += SERVER_GRPC_PREFIX;
        client2_await_body(client, reply, at + length);
        if (index == 0) {
            ProtobufCMessage *message = protobuf_c_message_unpack(type, NULL, length, reply->body.bytes + at);

            assert_non_null(message);
            return message;
        }
        at += length;
    }
}

static void expect_status(struct client2_reply *reply, enum server__status status)
{
    client2_await_reply(client, reply);
    if (!client2_field(reply, "grpc-status") || atoi(client2_field(reply, "grpc-status")) != (int)status)
        fail_msg("not %s: %s", server__status_name(status), reply->fields);
}

/* ---- Ours ---- */

static void every_message_of_a_stream_comes(void **state)
{
    (void)state;
    struct client2_reply *reply = watch(WATCH, 300, NULL);

    for (int i = 0; i < 300; i += 50) {
        Freshet__V1__WatchFeaturesUpdate *update =
            (Freshet__V1__WatchFeaturesUpdate *)message_at(reply, i, &freshet__v1__watch_features_update__descriptor);

        assert_int_equal(update->skipped, i + 1);
        freshet__v1__watch_features_update__free_unpacked(update, NULL);
    }
    expect_status(reply, SERVER_STATUS_OK);
    assert_int_equal(atomic_load(&toy.watches_ended), 1);
    assert_int_equal(toy_requests(&toy, "freshet.v1.FeatureService/WatchFeatures", "ok"), 1);
}

static void a_stream_may_be_empty(void **state)
{
    (void)state;
    struct client2_reply *reply = watch(WATCH, 0, NULL);

    expect_status(reply, SERVER_STATUS_OK);
    assert_int_equal(reply->body.length, 0);
}

static void a_stream_may_fail_after_messages(void **state)
{
    (void)state;
    struct client2_reply *reply = watch(WATCH, 3, fr_code_name(FR_CORRUPT));

    expect_status(reply, SERVER_STATUS_DATA_LOSS);
    assert_contains(client2_field(reply, "grpc-message"), "asked for");
    assert_true(reply->body.length > 3 * UPDATE_BYTES);
    assert_int_equal(toy_requests(&toy, "freshet.v1.FeatureService/WatchFeatures", "data_loss"), 1);
}

static void a_refused_request_is_a_head_alone(void **state)
{
    (void)state;
    Freshet__V1__WatchFeaturesRequest request = FRESHET__V1__WATCH_FEATURES_REQUEST__INIT;
    Freshet__V1__EntityKey key = FRESHET__V1__ENTITY_KEY__INIT, *keys = &key;
    struct client2_reply *reply;

    request.n_entities = 1;
    request.entities = &keys;
    reply = begin(WATCH, &request.base, true);
    expect_status(reply, SERVER_STATUS_INVALID_ARGUMENT);
    assert_int_equal(reply->body.length, 0);
    assert_int_equal(atomic_load(&toy.watches_ended), 0);
}

static void a_deadline_ends_a_stream(void **state)
{
    (void)state;
    expect_status(watch(WATCH "grpc-timeout: 50m\n", UINT32_MAX, NULL), SERVER_STATUS_DEADLINE_EXCEEDED);
    assert_int_equal(atomic_load(&toy.watches_ended), 1);
}

static bool has_head(struct client2 *c, void *user)
{
    (void)c;
    return ((struct client2_reply *)user)->status != 0;
}

static bool watch_has_ended(struct client2 *c, void *user)
{
    (void)user;
    nghttp2_submit_ping(c->session, NGHTTP2_FLAG_NONE, NULL); /* so that something comes */
    return atomic_load(&toy.watches_ended) > 0;
}

static void a_cancelled_stream_is_over(void **state)
{
    (void)state;
    struct client2_reply *reply = watch(WATCH, UINT32_MAX, NULL);

    client2_await(client, has_head, reply);
    client2_reset(client, reply, NGHTTP2_CANCEL);
    client2_await(client, watch_has_ended, NULL);
    assert_int_equal(toy_requests(&toy, "freshet.v1.FeatureService/WatchFeatures", "canceled"), 1);
}

static void a_slow_reader_holds_the_method_back(void **state)
{
    (void)state;
    struct client2_reply *slow;

    client->reads = false;
    slow = watch(WATCH, 1000, NULL);
    client2_await_body(client, slow, 60000);
    client->reads = true;
    expect_status(client2_begin(client, HEALTH_CHECK, fr_slice(NULL, 0), true), SERVER_STATUS_UNIMPLEMENTED);
    assert_true(atomic_load(&toy.updates) < 10); /* a window of 64 KiB, and one message */
    client2_reset(client, slow, NGHTTP2_CANCEL);
}

static void a_stream_is_no_connect_call(void **state)
{
    (void)state;
    struct client2_reply *reply =
        client2_post(client, "/freshet.v1.FeatureService/WatchFeatures", "application/json", fr_slice_of("{}"));

    assert_int_equal(reply->status, 415);
}

static void *drain(void *user)
{
    server_drain(user, 10000);
    return NULL;
}

static void draining_ends_streams(void **state)
{
    (void)state;
    Freshet__V1__WatchFeaturesRequest request = FRESHET__V1__WATCH_FEATURES_REQUEST__INIT; /* none of it is health's */
    struct client2_reply *reply = begin(HEALTH_WATCH, &request.base, true);
    pthread_t thread;

    client2_await_body(client, reply, 1);
    assert_int_equal(pthread_create(&thread, NULL, drain, toy.server), 0);
    expect_status(reply, SERVER_STATUS_UNAVAILABLE);
    client2_await_end(client);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

/* ---- Health ---- */

static int health_at(struct client2_reply *reply, int index)
{
    Grpc__Health__V1__HealthCheckResponse *message =
        (Grpc__Health__V1__HealthCheckResponse *)message_at(reply, index, &grpc__health__v1__health_check_response__descriptor);
    int status = (int)message->status;

    grpc__health__v1__health_check_response__free_unpacked(message, NULL);
    return status;
}

static struct client2_reply *ask_health(const char *fields, const char *service)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;

    request.service = (char *)service;
    return begin(fields, &request.base, true);
}

static void health_is_checked(void **state)
{
    (void)state;
    assert_int_equal(health_at(ask_health(HEALTH_CHECK, ""), 0), 1);
    assert_int_equal(health_at(ask_health(HEALTH_CHECK, "freshet.v1.FeatureService"), 0), 1);
    atomic_store(&toy.is_serving, false);
    assert_int_equal(health_at(ask_health(HEALTH_CHECK, ""), 0), 2);
    expect_status(ask_health(HEALTH_CHECK, "no.Such"), SERVER_STATUS_NOT_FOUND);
}

static void health_is_watched(void **state)
{
    (void)state;
    struct client2_reply *reply = ask_health(HEALTH_WATCH, "");

    assert_int_equal(health_at(reply, 0), 1);
    atomic_store(&toy.is_serving, false);
    assert_int_equal(health_at(reply, 1), 2);
    atomic_store(&toy.is_serving, true);
    assert_int_equal(health_at(reply, 2), 1);
    assert_int_equal(health_at(ask_health(HEALTH_WATCH, "no.Such"), 0), 3);
}

/* ---- Peers that say nothing, with a stream that is open and has nothing to say either ---- */

enum { QUIET_MS = 50, PONG_MS = 150, NEVER_MS = 3600 * 1000, ROUNDS = 5 };

static void restart(int64_t pong_ms)
{
    struct server_limits limits;

    client2_close(client);
    toy_stop(&toy);
    toy_limits(&limits);
    limits.quiet_ms = QUIET_MS;
    limits.pong_ms = pong_ms;
    toy_start(&toy, &limits);
    client = client2_open(server_api_address(toy.server));
}

static void a_stream_ends_with_a_peer_that_does_not_answer(void **state)
{
    (void)state;
    struct client2_reply *reply;

    restart(PONG_MS);
    client->is_mute = true;
    reply = watch(WATCH, UINT32_MAX, NULL);
    client2_await_end(client);
    assert_true(client->pings > 0);
    assert_false(reply->is_closed);
    assert_int_equal(atomic_load(&toy.watches_ended), 1);
    assert_int_equal(toy_requests(&toy, "freshet.v1.FeatureService/WatchFeatures", "canceled"), 1);
}

static void a_stream_stays_with_a_peer_that_answers(void **state)
{
    (void)state;
    struct client2_reply *reply;

    restart(NEVER_MS);
    reply = ask_health(HEALTH_WATCH, "");
    assert_int_equal(health_at(reply, 0), 1);
    client2_await_pings(client, ROUNDS); /* the next comes only when the last one was answered */
    atomic_store(&toy.is_serving, false);
    assert_int_equal(health_at(reply, 1), 2);
    assert_int_equal(client->goaways, 0);
}

/* ---- Reflection ---- */

static Grpc__Reflection__V1__ServerReflectionResponse *answer_at(struct client2_reply *reply, int index)
{
    return (Grpc__Reflection__V1__ServerReflectionResponse *)message_at(
        reply, index, &grpc__reflection__v1__server_reflection_response__descriptor);
}

static void ask(struct client2_reply *reply, int which, const char *text, bool is_ended)
{
    Grpc__Reflection__V1__ServerReflectionRequest request = GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    uint8_t wire[REQUEST_BYTES];
    size_t length;

    request.message_request_case = (Grpc__Reflection__V1__ServerReflectionRequest__MessageRequestCase)which;
    request.list_services = (char *)text; /* of whichever kind: they share their place */
    length = protobuf_c_message_pack(&request.base, wire + SERVER_GRPC_PREFIX);
    server__grpc_prefix(length, wire);
    client2_more(client, reply, fr_slice(wire, SERVER_GRPC_PREFIX + length), is_ended);
}

enum { ASK_FILE = 3, ASK_SYMBOL = 4, ASK_NUMBERS = 6, ASK_SERVICES = 7 };

static void questions_are_answered_as_they_come(void **state)
{
    (void)state;
    static const char *const versions[] = {REFLECTION("v1"), REFLECTION("v1alpha")};

    for (int i = 0; i < 2; i++) {
        struct client2_reply *reply = client2_begin(client, versions[i], fr_slice(NULL, 0), false);
        Grpc__Reflection__V1__ServerReflectionResponse *answer;

        ask(reply, ASK_SERVICES, "*", false);
        answer = answer_at(reply, 0);
        assert_int_equal(answer->list_services_response->n_service, 4);
        assert_string_equal(answer->list_services_response->service[0]->name, "freshet.v1.FeatureService");
        assert_string_equal(answer->original_request->list_services, "*");
        grpc__reflection__v1__server_reflection_response__free_unpacked(answer, NULL);
        ask(reply, ASK_FILE, "freshet/v1/feature.proto", true);
        answer = answer_at(reply, 1);
        assert_true(answer->file_descriptor_response->n_file_descriptor_proto >= 1);
        grpc__reflection__v1__server_reflection_response__free_unpacked(answer, NULL);
        expect_status(reply, SERVER_STATUS_OK);
    }
}

static void no_question_at_all_is_a_talk_too(void **state)
{
    (void)state;
    struct client2_reply *reply = client2_begin(client, REFLECTION("v1"), fr_slice(NULL, 0), true);

    client2_await_reply(client, reply);
    expect_status(reply, SERVER_STATUS_OK);
    assert_int_equal(reply->body.length, 0);
}

static void several_questions_may_come_at_once(void **state)
{
    (void)state;
    struct client2_reply *reply = client2_begin(client, REFLECTION("v1"), fr_slice(NULL, 0), false);

    for (int i = 0; i < 100; i++)
        ask(reply, ASK_FILE, "freshet/v1/event.proto", i == 99);
    for (int i = 0; i < 100; i += 33) {
        Grpc__Reflection__V1__ServerReflectionResponse *answer = answer_at(reply, i);

        assert_int_equal(answer->file_descriptor_response->n_file_descriptor_proto, 1);
        grpc__reflection__v1__server_reflection_response__free_unpacked(answer, NULL);
    }
    expect_status(reply, SERVER_STATUS_OK);
}

static void symbols_are_found_with_what_they_import(void **state)
{
    (void)state;
    static const struct {
        int which;
        const char *text;
        bool is_found;
    } cases[] = {
        {ASK_SYMBOL, "freshet.v1.FeatureService", true},
        {ASK_SYMBOL, "freshet.v1.FeatureService.GetFeatures", true},
        {ASK_SYMBOL, "freshet.v1.FeatureService/GetFeatures", true},
        {ASK_SYMBOL, "freshet.v1.GetFeaturesRequest", true},
        {ASK_SYMBOL, "freshet.v1.GetFeaturesRequest.user_id", true},
        {ASK_SYMBOL, "freshet.v1.Action", true},
        {ASK_SYMBOL, "grpc.health.v1.HealthCheckResponse.ServingStatus", true},
        {ASK_SYMBOL, "grpc.reflection.v1alpha.ServerReflection", true},
        {ASK_SYMBOL, "freshet.v1.FeatureService.Nothing", false},
        {ASK_SYMBOL, "freshet.v1.Nothing", false},
        {ASK_SYMBOL, "freshet.v1", false},
        {ASK_SYMBOL, "freshet.v1.", false},
        {ASK_SYMBOL, "", false},
        {ASK_FILE, "nothing.proto", false},
        {ASK_NUMBERS, "freshet.v1.Event", false},
        {0, NULL, false},
    };
    struct client2_reply *reply = client2_begin(client, REFLECTION("v1"), fr_slice(NULL, 0), false);

    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        Grpc__Reflection__V1__ServerReflectionResponse *answer;
        bool is_found;

        ask(reply, cases[i].which, cases[i].text, false);
        answer = answer_at(reply, (int)i);
        is_found = answer->message_response_case ==
                   GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_FILE_DESCRIPTOR_RESPONSE;
        if (is_found != cases[i].is_found)
            fail_msg("'%s': %d", cases[i].text, answer->message_response_case);
        grpc__reflection__v1__server_reflection_response__free_unpacked(answer, NULL);
    }
    client2_more(client, reply, fr_slice(NULL, 0), true);
    expect_status(reply, SERVER_STATUS_OK);
}

static void a_bad_question_ends_the_talk(void **state)
{
    (void)state;
    struct client2_reply *reply = client2_begin(client, REFLECTION("v1"), fr_slice(NULL, 0), false);

    ask(reply, ASK_SERVICES, "*", false);
    client2_await_body(client, reply, 1);
    client2_more(client, reply, fr_slice("\0\0\0\0\2\xff\xff", 7), false);
    expect_status(reply, SERVER_STATUS_INVALID_ARGUMENT);
    reply = client2_begin(client, REFLECTION("v1"), fr_slice(NULL, 0), false);
    client2_more(client, reply, fr_slice("\0\1\0\0\0", 5), false);
    expect_status(reply, SERVER_STATUS_RESOURCE_EXHAUSTED);
    reply = client2_begin(client, REFLECTION("v1"), fr_slice(NULL, 0), false);
    ask(reply, ASK_SERVICES, "*", false);
    client2_more(client, reply, fr_slice("\0\0", 2), true);
    expect_status(reply, SERVER_STATUS_INTERNAL);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(every_message_of_a_stream_comes),
        TEST(a_stream_may_be_empty),
        TEST(a_stream_may_fail_after_messages),
        TEST(a_refused_request_is_a_head_alone),
        TEST(a_deadline_ends_a_stream),
        TEST(a_cancelled_stream_is_over),
        TEST(a_slow_reader_holds_the_method_back),
        TEST(a_stream_is_no_connect_call),
        TEST(draining_ends_streams),
        TEST(health_is_checked),
        TEST(health_is_watched),
        TEST(a_stream_ends_with_a_peer_that_does_not_answer),
        TEST(a_stream_stays_with_a_peer_that_answers),
        TEST(questions_are_answered_as_they_come),
        TEST(no_question_at_all_is_a_talk_too),
        TEST(several_questions_may_come_at_once),
        TEST(symbols_are_found_with_what_they_import),
        TEST(a_bad_question_ends_the_talk),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
