/*
 * What a call says beside its messages: kept for methods that ask for it, and as each convention writes it. That clients
 * understand it is for tests/flow/test_conformance.py.
 */
#include "client.h"
#include "convention.h"

static struct server *server;
static struct fr_metrics *metrics;
static struct server_method method = {.service = "a.B", .name = "C", .takes_fields = true};

static int set_up(void **state)
{
    struct server_options options = {.listen = "", .operations = "", .loops = 1, .methods = &method, .method_count = 1};
    struct fr_err err;

    (void)state;
    metrics = options.metrics = fr_metrics_new();
    server_limits_default(&options.limits);
    assert_true(server_open(&options, &server, &err));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    server_close(server);
    fr_metrics_free(metrics);
    return 0;
}

static struct server__call *make_call(void)
{
    static const char peer[SERVER_PEER_BYTES] = "127.0.0.1:1";
    struct server__call *call = server__call_new(&server->loops[0], peer, SERVER_WIRE_HTTP1, NULL, NULL);

    assert_non_null(call);
    call->method = server__methods_find(&server->methods, fr_slice_of("/a.B/C"));
    server__fields_begin(call);
    return call;
}

static void request_fields_come_in_order_and_lower_case(void **state)
{
    (void)state;
    struct server__call *call = make_call();
    struct fr_slice name, value;
    size_t at = 0;

    server__fields_keep(call, fr_slice_of(":path"), fr_slice_of("/a.B/C"));
    server__fields_keep(call, fr_slice_of("X-One"), fr_slice_of("1"));
    server__fields_keep(call, fr_slice_of("x-one"), fr_slice_of(""));
    assert_true(server_call_field(&call->seen, &at, &name, &value));
    assert_true(fr_slice_is(name, "x-one") && fr_slice_is(value, "1"));
    assert_true(server_call_field(&call->seen, &at, &name, &value));
    assert_true(fr_slice_is(name, "x-one") && fr_slice_is(value, ""));
    assert_false(server_call_field(&call->seen, &at, &name, &value));
    server__call_free(call);
}

static void an_answer_has_32_fields(void **state)
{
    (void)state;
    struct server__call *call = make_call();

    for (int i = 0; i < SERVER_ANSWER_FIELDS; i++)
        assert_true(server_call_answer_field(&call->seen, i % 2 == 0, "x", "y"));
    assert_false(server_call_answer_field(&call->seen, false, "x", "y"));
    server__call_free(call);
}

static void an_error_by_connect_has_details_and_trailers_in_its_head(void **state)
{
    (void)state;
    struct server__call *call = make_call();
    struct fr_slice name, value;
    size_t at = 0;

    server_call_answer_field(&call->seen, false, "a", "1");
    server_call_answer_field(&call->seen, true, "b", "2");
    server_call_answer_detail(&call->seen, "type.googleapis.com/t.One", fr_slice_of("foo"));
    server_call_answer_detail(&call->seen, "type.googleapis.com/t.Two", fr_slice_of("f"));
    server__call_refuse(call, SERVER_STATUS_ABORTED, "no");
    fr_buffer_append_byte(call->body, 0); /* what was there before goes */

    struct server__reply reply = server__connect_reply(call);

    assert_true(fr_slice_is(reply.body,
                            "{\"code\":\"aborted\",\"message\":\"no\",\"details\":[{\"type\":\"t.One\",\"value\":\"Zm9v\"},"
                            "{\"type\":\"t.Two\",\"value\":\"Zg\"}]}"));
    assert_true(server__fields_next(reply.more, &at, &name, &value));
    assert_true(fr_slice_is(name, "a") && fr_slice_is(value, "1"));
    assert_true(server__fields_next(reply.more, &at, &name, &value));
    assert_true(fr_slice_is(name, "trailer-b") && fr_slice_is(value, "2"));
    assert_false(server__fields_next(reply.more, &at, &name, &value));
    server__call_free(call);
}

static void an_error_by_grpc_is_a_status_with_details(void **state)
{
    (void)state;
    struct server__call *call = make_call();
    struct fr_buffer out;

    fr_buffer_init(&out);
    server__fields_by_grpc(call->fields, SERVER_STATUS_ABORTED, "no", &out);
    assert_int_equal(out.length, 0);
    server_call_answer_detail(&call->seen, "t", fr_slice_of("f"));
    server__fields_by_grpc(call->fields, SERVER_STATUS_ABORTED, "no", &out);
    assert_true(fr_slice_is(fr_buffer_slice(&out), "CAoSAm5vGgYKAXQSAWY")); /* 1: 10, 2: "no", 3: {1: "t", 2: "f"} */
    fr_buffer_fini(&out);
    server__call_free(call);
}

static void other_methods_keep_nothing(void **state)
{
    (void)state;
    struct server__call *call = make_call();

    server__fields_free(call->fields);
    call->fields = NULL;
    method.takes_fields = false;
    server__fields_begin(call);
    method.takes_fields = true;
    assert_null(call->fields);
    assert_false(server_call_answer_field(&call->seen, false, "x", "y"));
    assert_false(server_call_answer_detail(&call->seen, "t", fr_slice_of("f")));
    server__call_free(call);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(request_fields_come_in_order_and_lower_case),
        TEST(an_answer_has_32_fields),
        TEST(an_error_by_connect_has_details_and_trailers_in_its_head),
        TEST(an_error_by_grpc_is_a_status_with_details),
        TEST(other_methods_keep_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
