/*
 * freshet forget: nothing of one user is in the node's state any more when it answers, and what still holds him is told.
 */
#include "internal.h"

#include <freshet/message.h>
#include <freshet/text.h>
#include <freshet/v1/admin.pb-c.h>

#include <inttypes.h>

enum { FORGET_TIMEOUT_MS = 600000, FORGET_ARENA_BYTES = 4 << 20 };

static int print_reply(const struct cli_command *command, uint64_t user_id, const struct fr_buffer *reply)
{
    struct fr_arena *arena = fr_arena_new(FORGET_ARENA_BYTES);
    const Freshet__V1__ForgetReply *response = NULL;
    struct fr_err err;
    char until[32];

    if (!arena)
        return cli_command__say(command, CLI_FAILURE, "out of memory");
    response = (const Freshet__V1__ForgetReply *)proto_json_parse(&freshet__v1__forget_reply__descriptor,
                                                                  fr_buffer_slice(reply), arena, &err);
    if (!response) {
        (void)fr_fail_in(&err, "the node's reply");
        fr_arena_free(arena);
        return cli_command__fail(command, &err);
    }
    cli_time__print(response->tombstone_until_ms, until);
    printf("user %" PRIu64 " is forgotten: %" PRIu64 " entities, %" PRIu64 " records\n", user_id, response->entities,
           response->records);
    printf("late events of the user are dropped until the stream is at %s\n", until);
    for (size_t i = 0; i < response->n_backups_still_holding; i++)
        printf("may still be held by: %s\n", response->backups_still_holding[i]);
    printf("the topic holds the user's events as long as Kafka keeps them\n");
    fr_arena_free(arena);
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
}

int cli_forget__main(const struct cli_command *command, int argc, char **argv)
{
    struct cli_node node = {0};
    struct cli_positional user = {.name = "USER", .is_required = true};
    bool is_json = false;
    const struct cli_option options[] = {
        CLI_NODE_OPTIONS(node),
        {"json", CLI_OPTION_FLAG, NULL, "the reply as JSON", &is_json},
        {0},
    };
    int result = cli_options__read(command, options, &user, argc, argv);
    struct fr_buffer request, reply;
    struct cli_waiting *waiting;
    struct fr_err err;
    bool is_answered;

    if (result >= 0)
        return result;
    cli_node__default(&node);
    fr_buffer_init(&request);
    fr_buffer_init(&reply);
    fr_buffer_append_format(&request, "{\"userId\":%" PRIu64 "}", fr_text_id(fr_slice_of(user.value)));
    waiting = cli_waiting__show("the node takes the user out of its state");
    is_answered =
        cli_client__call(&node, "freshet.v1.AdminService/Forget", fr_buffer_slice(&request), FORGET_TIMEOUT_MS, &reply, &err);
    cli_waiting__stop(waiting);
    if (!is_answered)
        result = cli_command__fail(command, &err);
    else if (!is_json)
        result = print_reply(command, fr_text_id(fr_slice_of(user.value)), &reply);
    else
        result =
            printf("%.*s\n", (int)reply.length, (const char *)reply.bytes) > 0 && fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
    fr_buffer_fini(&request);
    fr_buffer_fini(&reply);
    return result;
}
