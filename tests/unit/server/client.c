#include "client.h"

#include <freshet/clock.h>
#include <freshet/v1/feature.pb-c.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PATIENCE_MS = 10000, BUSY_MS = 20 };

/* ---- The server ---- */

/* As one that finds on its loop that it has to wait: says so, is called again, and waits for a token. False: not yet. */
static bool wait_postponed(struct toy *toy, struct server_call *call)
{
    void *token = toy;

    if (!call->may_block) {
        call->is_postponed = true;
        return false;
    }
    fr_queue_send(toy->entered, &token, 0);
    return fr_queue_receive(toy->gate, &token, PATIENCE_MS);
}

/* As one that waits for another thread: says so when it is first called, and goes on when there is a token. False: not yet. */
static bool wait_early(struct toy *toy, struct server_call *call, const char *set, struct fr_err *err)
{
    void *token = toy;

    if (call->kept == NULL) {
        call->kept = fr_arena_copy(call->arena, fr_slice_of("early"));
        fr_queue_send(toy->entered, &token, 0);
    }
    assert_string_equal(call->kept, "early");
    token = NULL;
    if (call->may_block || fr_queue_receive(toy->gate, &token, 0)) {
        call->is_postponed = !call->may_block && strcmp(set, "early, then postponed") == 0;
        return !call->is_postponed;
    }
    call->is_early = call->deadline_us > fr_clock_monotonic_us();
    return call->is_early ? false : fr_fail(err, FR_DEADLINE, "no token came");
}

static bool get_features(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **response,
                         struct fr_err *err)
{
    const Freshet__V1__GetFeaturesRequest *request = (const Freshet__V1__GetFeaturesRequest *)message;
    Freshet__V1__GetFeaturesResponse *reply = fr_arena_take(call->arena, sizeof *reply);
    float *values = fr_arena_take(call->arena, (request->n_item_ids + 1) * sizeof *values);
    int64_t begun_ms = fr_clock_monotonic_ms();

    atomic_fetch_add(&((struct toy *)user)->worked, 1);
    while (strcmp(request->feature_set, "busy") == 0 && fr_clock_monotonic_ms() < begun_ms + BUSY_MS)
        continue;

    if (strcmp(request->feature_set, "postponed") == 0 && !wait_postponed(user, call))
        return call->is_postponed ? false : fr_fail(err, FR_UNAVAILABLE, "nobody opened the gate");
    if (strncmp(request->feature_set, "early", 5) == 0 && !wait_early(user, call, request->feature_set, err))
        return false;
    if (!reply || !values)
        return fr_fail(err, FR_EXHAUSTED, "out of memory for the reply");
    for (int code = FR_BAD_INPUT; code <= FR_CANCELLED; code++)
        if (strcmp(request->feature_set, fr_code_name((enum fr_code)code)) == 0)
            return fr_fail(err, (enum fr_code)code, "feature_set: \"%s\" asked for", request->feature_set);
    freshet__v1__get_features_response__init(reply);
    for (size_t i = 0; i < request->n_item_ids; i++)
        values[i] = (float)request->item_ids[i];
    reply->request_id = request->user_id;
    reply->n_item_values = request->n_item_ids;
    reply->item_values = values;
    reply->n_user_columns = request->n_features;
    reply->user_columns = request->features;
    *response = &reply->base;
    return true;
}

static bool describe(void *user, struct server_call *call, const ProtobufCMessage *message, ProtobufCMessage **response,
                     struct fr_err *err)
{
    struct toy *toy = user;
    Freshet__V1__DescribeResponse *reply = fr_arena_take(call->arena, sizeof *reply);
    void *token = toy;

    (void)message;
    fr_queue_send(toy->entered, &token, 0);
    if (!fr_queue_receive(toy->gate, &token, PATIENCE_MS))
        return fr_fail(err, FR_UNAVAILABLE, "nobody opened the gate");
    if (!reply)
        return fr_fail(err, FR_EXHAUSTED, "out of memory for the reply");
    freshet__v1__describe_response__init(reply);
    *response = &reply->base;
    return true;
}

struct watch {
    uint32_t left;
    uint64_t sent;
    enum fr_code code;
};

static bool begin_watch(void *user, struct server_call *call, const ProtobufCMessage *message, void **state, struct fr_err *err)
{
    const Freshet__V1__WatchFeaturesRequest *request = (const Freshet__V1__WatchFeaturesRequest *)message;
    struct watch *watch = calloc(1, sizeof *watch);

    (void)user;
    (void)call;
    assert_non_null(watch);
    if (request->n_entities > 0) {
        free(watch);
        return fr_fail(err, FR_BAD_INPUT, "entities: none here");
    }
    watch->left = request->interval_ms;
    for (int code = FR_BAD_INPUT; code <= FR_CANCELLED && request->n_features > 0; code++)
        if (strcmp(request->features[0], fr_code_name((enum fr_code)code)) == 0)
            watch->code = (enum fr_code)code;
    *state = watch;
    return true;
}

static enum server_step next_update(void *user, struct server_call *call, void *state, ProtobufCMessage **response,
                                    int64_t *wait_ms, struct fr_err *err)
{
    struct toy *toy = user;
    struct watch *watch = state;
    Freshet__V1__WatchFeaturesUpdate *update = fr_arena_take(call->arena, sizeof *update);

    if (watch->left == UINT32_MAX) {
        *wait_ms = 1;
        return SERVER_STEP_WAIT;
    }
    if (watch->left == 0 && watch->code != 0) {
        fr_fail(err, watch->code, "features: \"%s\" asked for", fr_code_name(watch->code));
        return SERVER_STEP_FAIL;
    }
    if (watch->left == 0)
        return SERVER_STEP_END;
    assert_non_null(update);
    watch->left--;
    freshet__v1__watch_features_update__init(update);
    update->skipped = ++watch->sent;
    update->n_values = 5000;
    update->values = fr_arena_take_zeroed(call->arena, update->n_values, sizeof *update->values);
    assert_non_null(update->values);
    atomic_fetch_add(&toy->updates, 1);
    *response = &update->base;
    return SERVER_STEP_SEND;
}

static void end_watch(void *user, void *state)
{
    struct toy *toy = user;

    free(state);
    atomic_fetch_add(&toy->watches_ended, 1);
}

static const struct server_streaming watching = {.request = begin_watch, .next = next_update, .end = end_watch};

static bool is_serving(void *user)
{
    return atomic_load(&((struct toy *)user)->is_serving);
}

static void render_status(void *user, struct fr_buffer *body, const char **content_type, int *status)
{
    (void)user;
    (void)status;
    *content_type = "application/json";
    fr_buffer_append_text(body, "{\"ready\":true}");
}

static void render_teapot(void *user, struct fr_buffer *body, const char **content_type, int *status)
{
    (void)user;
    (void)content_type;
    *status = 503;
    fr_buffer_append_text(body, "not ready\n");
}

/* "?user=7&set=postponed"; without a user there is nothing to ask. */
static bool ask_door(void *user, struct fr_slice query, struct fr_buffer *json, struct fr_err *err)
{
    struct fr_buffer value;
    bool has_user;

    (void)user;
    fr_buffer_init(&value);
    fr_buffer_append_text(json, "{\"userId\":");
    has_user = server_query_find(query, "user", &value);
    proto_json_quote(fr_buffer_slice(&value), json);
    fr_buffer_clear(&value);
    if (server_query_find(query, "set", &value)) {
        fr_buffer_append_text(json, ",\"featureSet\":");
        proto_json_quote(fr_buffer_slice(&value), json);
    }
    fr_buffer_append_byte(json, '}');
    fr_buffer_fini(&value);
    return has_user || fr_fail(err, FR_BAD_INPUT, "no user");
}

static void tick(void *user)
{
    struct toy *toy = user;

    atomic_fetch_add(&toy->ticks, 1);
}

void toy_limits(struct server_limits *limits)
{
    server_limits_default(limits);
    limits->message_bytes = 64 << 10;
}

static void make(struct toy *toy, struct server_options *options)
{
    *options = (struct server_options){.listen = "127.0.0.1:0", .operations = "127.0.0.1:0", .loops = 2};
    *toy = (struct toy){.metrics = fr_metrics_new(), .entered = fr_queue_new(1024), .gate = fr_queue_new(1024)};
    toy->methods[0] = (struct server_method){
        .service = "freshet.v1.FeatureService",
        .name = "GetFeatures",
        .request = &freshet__v1__get_features_request__descriptor,
        .response = &freshet__v1__get_features_response__descriptor,
        .handler = get_features,
        .user = toy,
    };
    toy->methods[1] = (struct server_method){
        .service = "freshet.v1.FeatureService",
        .name = "Describe",
        .request = &freshet__v1__describe_request__descriptor,
        .response = &freshet__v1__describe_response__descriptor,
        .is_slow = true,
        .handler = describe,
        .user = toy,
    };
    toy->methods[2] = (struct server_method){
        .service = "freshet.v1.FeatureService",
        .name = "WatchFeatures",
        .request = &freshet__v1__watch_features_request__descriptor,
        .response = &freshet__v1__watch_features_update__descriptor,
        .streaming = &watching,
        .user = toy,
    };
    toy->pages[0] = (struct server_page){.path = "/status", .render = render_status};
    toy->pages[1] = (struct server_page){.path = "/teapot", .render = render_teapot};
    toy->pages[2] = (struct server_page){.path = "/door", .method = "/freshet.v1.FeatureService/GetFeatures", .ask = ask_door};
    options->tick = tick;
    options->tick_user = toy;
    toy_limits(&options->limits);
    options->methods = toy->methods;
    options->method_count = 3;
    options->pages = toy->pages;
    options->page_count = 3;
    options->metrics = toy->metrics;
    atomic_store(&toy->is_serving, true);
    options->is_serving = is_serving;
    options->is_serving_user = toy;
}

static void start(struct toy *toy, const struct server_options *options)
{
    struct fr_err err;

    if (!server_open(options, &toy->server, &err) || !server_start(toy->server, &err))
        fail_msg("%s", err.message);
}

void toy_start(struct toy *toy, const struct server_limits *limits)
{
    struct server_options options;

    make(toy, &options);
    if (limits)
        options.limits = *limits;
    start(toy, &options);
}

void toy_start_changed(struct toy *toy, void (*change)(struct toy *toy, struct server_options *options))
{
    struct server_options options;

    make(toy, &options);
    change(toy, &options);
    start(toy, &options);
}

static void empty(struct fr_queue *queue)
{
    void *token;

    fr_queue_close(queue);
    while (fr_queue_receive(queue, &token, 0))
        continue;
    fr_queue_free(queue);
}

void toy_stop(struct toy *toy)
{
    server_close(toy->server);
    empty(toy->entered);
    empty(toy->gate);
    fr_metrics_free(toy->metrics);
}

void toy_await_entered(struct toy *toy)
{
    void *token;

    assert_true(fr_queue_receive(toy->entered, &token, PATIENCE_MS));
}

void toy_open_gate(struct toy *toy)
{
    void *token = toy;

    assert_true(fr_queue_send(toy->gate, &token, 0));
}

uint64_t toy_requests(struct toy *toy, const char *method, const char *code)
{
    static const char *const protocols[] = {"http1", "http2", "grpc"};
    char labels[256];
    uint64_t sum = 0;

    for (size_t i = 0; i < sizeof protocols / sizeof *protocols; i++) {
        snprintf(labels, sizeof labels, "method=\"%s\",code=\"%s\",protocol=\"%s\"", method, code, protocols[i]);
        sum += fr_counter_read(fr_metrics_counter(toy->metrics, "freshet_requests_total", labels, ""));
    }
    return sum;
}

uint64_t toy_http_errors(struct toy *toy, const char *reason)
{
    char labels[128];

    snprintf(labels, sizeof labels, "reason=\"%s\"", reason);
    return fr_counter_read(fr_metrics_counter(toy->metrics, "freshet_http_errors_total", labels, ""));
}

/* ---- The client ---- */

struct client *client_open(const char *address)
{
    struct client *client = malloc(sizeof *client);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};

    assert_non_null(client);
    to.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
    client->length = 0;
    client->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_true(client->fd >= 0);
    assert_int_equal(setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)), 0);
    assert_int_equal(connect(client->fd, (struct sockaddr *)&to, sizeof to), 0);
    return client;
}

void client_close(struct client *client)
{
    close(client->fd);
    free(client);
}

void client_send_bytes(struct client *client, const void *bytes, size_t length)
{
    size_t sent = 0;

    while (sent < length) {
        ssize_t more = send(client->fd, (const char *)bytes + sent, length - sent, MSG_NOSIGNAL);

        if (more < 0 && errno != EINTR)
            return; /* the server has closed: what it said is what the test looks at */
        sent += more > 0 ? (size_t)more : 0;
    }
}

void client_send(struct client *client, const char *text)
{
    client_send_bytes(client, text, strlen(text));
}

void client_shut(struct client *client)
{
    assert_int_equal(shutdown(client->fd, SHUT_WR), 0);
}

/* False at the end of the connection. */
static bool read_more(struct client *client)
{
    struct pollfd poll_fd = {.fd = client->fd, .events = POLLIN};
    ssize_t got;

    assert_true(client->length < CLIENT_BYTES);
    assert_int_equal(poll(&poll_fd, 1, PATIENCE_MS), 1);
    got = recv(client->fd, client->bytes + client->length, CLIENT_BYTES - client->length, 0);
    if (got <= 0)
        return false;
    client->length += (size_t)got;
    return true;
}

static void drop(struct client *client, size_t length)
{
    client->length -= length;
    memmove(client->bytes, client->bytes + length, client->length);
}

static void receive(struct client *client, struct response *response, bool is_head)
{
    const char *end;
    size_t head_length;

    response->status = 0;
    response->body_length = 0;
    response->body[0] = '\0';
    response->head[0] = '\0';
    while (!(end = memmem(client->bytes, client->length, "\r\n\r\n", 4)))
        if (!read_more(client)) {
            assert_int_equal(client->length, 0);
            return;
        }
    head_length = (size_t)(end - client->bytes) + 4;
    assert_true(head_length < sizeof response->head);
    memcpy(response->head, client->bytes, head_length);
    response->head[head_length] = '\0';
    assert_int_equal(sscanf(response->head, "HTTP/1.1 %d", &response->status), 1);
    drop(client, head_length);
    if (is_head || response->status == 100)
        return;
    assert_non_null(response_header(response, "Content-Length"));
    response->body_length = strtoul(response_header(response, "Content-Length"), NULL, 10);
    assert_true(response->body_length < CLIENT_BYTES);
    while (client->length < response->body_length)
        assert_true(read_more(client));
    memcpy(response->body, client->bytes, response->body_length);
    response->body[response->body_length] = '\0';
    drop(client, response->body_length);
}

void client_receive(struct client *client, struct response *response)
{
    receive(client, response, false);
}

void client_receive_head(struct client *client, struct response *response)
{
    receive(client, response, true);
}

void client_expect_end(struct client *client)
{
    assert_int_equal(client->length, 0);
    if (read_more(client))
        fail_msg("%.*s came instead of the end", (int)client->length, client->bytes);
}

void client_call(struct client *client, const char *method, const char *json, struct response *response)
{
    char head[512];

    snprintf(head, sizeof head,
             "POST /freshet.v1.FeatureService/%s HTTP/1.1\r\nHost: test\r\nContent-Type: application/json\r\nContent-Length: "
             "%zu\r\n\r\n",
             method, strlen(json));
    client_send(client, head);
    client_send(client, json);
    client_receive(client, response);
}

const char *response_header(const struct response *response, const char *name)
{
    static char value[512];
    size_t length = strlen(name);

    for (const char *line = strstr(response->head, "\r\n"); line && line[2] != '\r'; line = strstr(line + 2, "\r\n")) {
        const char *end = strstr(line + 2, "\r\n");

        if (strncasecmp(line + 2, name, length) != 0 || line[2 + length] != ':')
            continue;
        snprintf(value, sizeof value, "%.*s", (int)(end - line) - (int)length - 4, line + length + 4);
        return value;
    }
    return NULL;
}

void assert_contains(const char *text, const char *part)
{
    if (!strstr(text, part))
        fail_msg("'%s' is not in '%s'", part, text);
}
