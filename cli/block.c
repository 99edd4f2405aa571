/*
 * freshet block: takes items, rooms, creators or users out of recall and scores at once, lets them in again, and lists who is out.
 */
#include "internal.h"

#include <freshet/message.h>
#include <freshet/text.h>
#include <freshet/v1/admin.pb-c.h>

#include <inttypes.h>

enum { BLOCK_TIMEOUT_MS = 60000, BLOCK_ARENA_BYTES = 16 << 20 };

struct block {
    struct cli_node node;
    const char *kind, *reason;
    char **ids; /* as they were given */
    int id_count;
    bool is_unblock, is_json;
};

static void build_request(const struct block *block, struct fr_buffer *out)
{
    fr_buffer_append_text(out, "{\"kind\":");
    proto_json_quote(fr_slice_of(block->kind), out);
    fr_buffer_append_text(out, ",\"reason\":");
    proto_json_quote(fr_slice_of(block->reason ? block->reason : ""), out);
    fr_buffer_append_format(out, ",\"unblock\":%s,\"ids\":[", block->is_unblock ? "true" : "false");
    for (int i = 0; i < block->id_count; i++)
        fr_buffer_append_format(out, "%s\"%" PRIu64 "\"", i > 0 ? "," : "", fr_text_id(fr_slice_of(block->ids[i])));
    fr_buffer_append_text(out, "]}");
}

static uint64_t by_tables(const Freshet__V1__BlockReply *reply)
{
    for (size_t i = 0; i < reply->n_blocked; i++)
        if (strcmp(reply->blocked[i]->kind, reply->kind) == 0)
            return reply->blocked[i]->table_ids;
    return 0;
}

/* Ids alone on stdout, so that they can be piped into the command again. */
static void print_list(const Freshet__V1__BlockReply *reply)
{
    for (size_t i = 0; i < reply->n_ids; i++)
        printf("%" PRIu64 "\n", reply->ids[i]);
    if (by_tables(reply) > 0)
        fprintf(stderr, "blocked by tables, and not listed: %" PRIu64 "\n", by_tables(reply));
}

static void print_change(const struct block *block, const Freshet__V1__BlockReply *reply)
{
    const char *plural = block->id_count == 1 ? "" : "s";

    if (block->is_unblock)
        printf("%d %s%s let in again\n", block->id_count, block->kind, plural);
    else
        printf("%d %s%s blocked\n", block->id_count, block->kind, plural);
    for (size_t i = 0; i < reply->n_by_tables; i++)
        printf("a table blocks %s %" PRIu64 ", too: until its row is deleted\n", block->kind, reply->by_tables[i]);
}

static int print_reply(const struct cli_command *command, const struct block *block, const struct fr_buffer *bytes)
{
    struct fr_arena *arena = fr_arena_new(BLOCK_ARENA_BYTES);
    const Freshet__V1__BlockReply *reply = NULL;
    struct fr_err err;

    if (!arena)
        return cli_command__say(command, CLI_FAILURE, "out of memory");
    reply = (const Freshet__V1__BlockReply *)proto_json_parse(&freshet__v1__block_reply__descriptor, fr_buffer_slice(bytes),
                                                              arena, &err);
    if (!reply) {
        (void)fr_fail_in(&err, "the node's reply");
        fr_arena_free(arena);
        return cli_command__fail(command, &err);
    }
    if (block->id_count > 0)
        print_change(block, reply);
    else
        print_list(reply);
    fr_arena_free(arena);
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
}

static int ask(const struct cli_command *command, struct block *block)
{
    struct fr_buffer request, reply;
    struct fr_err err;
    int result;

    cli_node__default(&block->node);
    fr_buffer_init(&request);
    fr_buffer_init(&reply);
    build_request(block, &request);
    if (!cli_client__call(&block->node, "freshet.v1.AdminService/Block", fr_buffer_slice(&request), BLOCK_TIMEOUT_MS, &reply,
                          &err))
        result = cli_command__fail(command, &err);
    else if (!block->is_json)
        result = print_reply(command, block, &reply);
    else
        result =
            printf("%.*s\n", (int)reply.length, (const char *)reply.bytes) > 0 && fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
    fr_buffer_fini(&request);
    fr_buffer_fini(&reply);
    return result;
}

int cli_block__main(const struct cli_command *command, int argc, char **argv)
{
    static const char *const kinds[] = {"item", "room", "creator", "user", NULL};
    struct block block = {0};
    struct cli_positional ids = {.name = "ID", .is_many = true};
    struct cli_positional kind = {.name = "KIND", .words = kinds, .is_required = true, .next = &ids};
    const struct cli_option options[] = {
        CLI_NODE_OPTIONS(block.node),
        {"reason", CLI_OPTION_TEXT, "TEXT", "why, for the log", &block.reason},
        {"unblock", CLI_OPTION_FLAG, NULL, "lets them in again", &block.is_unblock},
        {"json", CLI_OPTION_FLAG, NULL, "the reply as JSON", &block.is_json},
        {0},
    };
    int result = cli_options__read(command, options, &kind, argc, argv);

    if (result >= 0)
        return result;
    block.kind = kind.value;
    block.ids = ids.values;
    block.id_count = ids.value_count;
    if (block.id_count == 0 && (block.is_unblock || block.reason))
        return cli_command__say(command, CLI_USAGE, "ID is missing; usage: freshet block %s", command->usage);
    return ask(command, &block);
}
