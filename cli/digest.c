/*
 * freshet digest: one line of hex, the proof that two nodes hold the same.
 */
#include "internal.h"

#include <freshet/message.h>
#include <freshet/v1/admin.pb-c.h>

enum { DIGEST_TIMEOUT_MS = 600000, DIGEST_ARENA_BYTES = 1 << 20 }; /* it reads the whole state */

static int print_digest(const struct cli_command *command, const struct fr_buffer *reply, bool is_json)
{
    struct fr_arena *arena = fr_arena_new(DIGEST_ARENA_BYTES);
    const Freshet__V1__DigestResponse *response = NULL;
    struct fr_err err;

    if (!arena)
        return cli_command__say(command, CLI_FAILURE, "out of memory");
    response = (const Freshet__V1__DigestResponse *)proto_json_parse(&freshet__v1__digest_response__descriptor,
                                                                     fr_buffer_slice(reply), arena, &err);
    if (!response) {
        (void)fr_fail_in(&err, "the node's reply");
        fr_arena_free(arena);
        return cli_command__fail(command, &err);
    }
    if (is_json)
        printf("%.*s\n", (int)reply->length, (const char *)reply->bytes);
    else
        printf("%s%s%s\n", response->digest, *response->lists_digest ? " " : "", response->lists_digest);
    fr_arena_free(arena);
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
}

int cli_digest__main(const struct cli_command *command, int argc, char **argv)
{
    struct cli_node node = {0};
    bool is_json = false, is_all = false;
    const struct cli_option options[] = {
        CLI_NODE_OPTIONS(node),
        {"all", CLI_OPTION_FLAG, NULL, "bounded lists too, which may depend on the order of arrival", &is_all},
        {"json", CLI_OPTION_FLAG, NULL, "the reply as JSON: epoch, stream time and entities too", &is_json},
        {0},
    };
    int result = cli_options__read(command, options, NULL, argc, argv);
    struct cli_waiting *waiting;
    struct fr_buffer reply;
    struct fr_err err;
    bool is_answered;

    if (result >= 0)
        return result;
    fr_buffer_init(&reply);
    cli_node__default(&node);
    waiting = cli_waiting__show("the node counts its state up");
    is_answered = cli_client__call(&node, "freshet.v1.AdminService/Digest", fr_slice_of(is_all ? "{\"all\":true}" : "{}"),
                                   DIGEST_TIMEOUT_MS, &reply, &err);
    cli_waiting__stop(waiting);
    if (is_answered)
        result = print_digest(command, &reply, is_json);
    else
        result = cli_command__fail(command, &err);
    fr_buffer_fini(&reply);
    return result;
}
