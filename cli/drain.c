/*
 * freshet drain: an instance of a cluster gives its partitions to the others and takes none, until it is started again. So a deploy can
 * stop it without anybody waiting for a session to time out.
 */
#include "internal.h"

#include <freshet/clock.h>
#include <freshet/message.h>
#include <freshet/v1/admin.pb-c.h>

#include <inttypes.h>

enum { DRAIN_TIMEOUT_MS = 10000, DRAIN_ARENA_BYTES = 64 << 10, DRAIN_LOOK_MS = 100 };

static bool ask(const struct cli_node *node, struct fr_buffer *reply, bool *is_drained, uint32_t *left, struct fr_err *err)
{
    struct fr_arena *arena = fr_arena_new(DRAIN_ARENA_BYTES);
    const Freshet__V1__DrainReply *response = NULL;

    fr_buffer_clear(reply);
    if (!arena)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    if (cli_client__call(node, "freshet.v1.AdminService/Drain", fr_slice_of("{}"), DRAIN_TIMEOUT_MS, reply, err)) {
        response = (const Freshet__V1__DrainReply *)proto_json_parse(&freshet__v1__drain_reply__descriptor,
                                                                     fr_buffer_slice(reply), arena, err);
        if (!response)
            (void)fr_fail_in(err, "the node's reply");
    }
    *is_drained = response && response->drained;
    *left = response ? response->left : 0;
    fr_arena_free(arena);
    return response != NULL;
}

int cli_drain__main(const struct cli_command *command, int argc, char **argv)
{
    struct cli_node node = {0};
    bool is_json = false, is_waiting = false, is_drained = false, is_answered;
    const struct cli_option options[] = {
        CLI_NODE_OPTIONS(node),
        {"wait", CLI_OPTION_FLAG, NULL, "until the others have all", &is_waiting},
        {"json", CLI_OPTION_FLAG, NULL, "the reply as JSON", &is_json},
        {0},
    };
    int result = cli_options__read(command, options, NULL, argc, argv);
    int64_t start_ms = fr_clock_monotonic_ms();
    struct cli_waiting *waiting;
    struct fr_buffer reply;
    struct fr_err err;
    uint32_t left = 0;

    if (result >= 0)
        return result;
    cli_node__default(&node);
    fr_buffer_init(&reply);
    waiting = cli_waiting__show("the others take its partitions");
    while ((is_answered = ask(&node, &reply, &is_drained, &left, &err)) && is_waiting && !is_drained)
        fr_clock_sleep_ms(DRAIN_LOOK_MS);
    cli_waiting__stop(waiting);
    if (!is_answered)
        result = cli_command__fail(command, &err);
    else if (is_json)
        result =
            printf("%.*s\n", (int)reply.length, (const char *)reply.bytes) > 0 && fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
    else if (is_drained)
        result = printf("drained, %" PRId64 " ms after it was asked: others have all partitions\n",
                        fr_clock_monotonic_ms() - start_ms) > 0 &&
                         fflush(stdout) == 0
                     ? CLI_OK
                     : CLI_FAILURE;
    else
        result = printf("draining: %" PRIu32 " partitions are not others' yet\n", left) > 0 && fflush(stdout) == 0
                     ? CLI_OK
                     : CLI_FAILURE;
    fr_buffer_fini(&reply);
    return result;
}
