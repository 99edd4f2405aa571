/*
 * freshet top and freshet related: candidates as a ranker would get them, as a table or as the node's own JSON.
 */
#include "internal.h"

#include <freshet/message.h>
#include <freshet/v1/recall.pb-c.h>

#include <inttypes.h>

enum { RECALL_TIMEOUT_MS = 10000, RECALL_ARENA_BYTES = 1 << 20 };

static void append_text(struct fr_buffer *out, const char *key, const char *text)
{
    if (!text || !*text)
        return;
    fr_buffer_append_format(out, "%s\"%s\":", out->length > 1 ? "," : "", key);
    proto_json_quote(fr_slice_of(text), out);
}

static void append_limit(struct fr_buffer *out, uint64_t limit)
{
    if (limit > 0)
        fr_buffer_append_format(out, ",\"limit\":%" PRIu64, limit < UINT32_MAX ? limit : UINT32_MAX);
}

static void append_seen_within(struct fr_buffer *out, uint64_t seconds)
{
    if (seconds > 0)
        fr_buffer_append_format(out, ",\"seenWithinS\":%" PRIu64, seconds < UINT32_MAX ? seconds : UINT32_MAX);
}

/* A scene may be given by its name. */
static void append_scope_id(struct fr_buffer *out, const char *scope, const char *id)
{
    int scene = id && scope && strcmp(scope, "scene") == 0 ? proto_scene_number(fr_slice_of(id)) : 0;

    if (scene > 0)
        fr_buffer_append_format(out, ",\"scopeId\":%d", scene);
    else
        append_text(out, "scopeId", id);
}

static int print_table(const struct cli_command *command, const struct fr_buffer *reply, const char *what)
{
    struct fr_arena *arena = fr_arena_new(RECALL_ARENA_BYTES);
    const Freshet__V1__Candidates *candidates = NULL;
    struct cli_table table;
    struct fr_err err;
    char time[32];

    if (!arena)
        return cli_command__say(command, CLI_FAILURE, "out of memory");
    candidates = (const Freshet__V1__Candidates *)proto_json_parse(&freshet__v1__candidates__descriptor, fr_buffer_slice(reply),
                                                                   arena, &err);
    if (!candidates || candidates->n_ids != candidates->n_scores) {
        if (!candidates)
            (void)fr_fail_in(&err, "the node's reply");
        else
            (void)fr_fail(&err, FR_CORRUPT, "the node's reply: as many scores as ids should be there");
        fr_arena_free(arena);
        return cli_command__fail(command, &err);
    }
    cli_table__init(&table, 3);
    cli_table__cell(&table, "rank");
    cli_table__cell(&table, "%s", what);
    cli_table__cell(&table, "score");
    for (size_t i = 0; i < candidates->n_ids; i++) {
        cli_table__cell(&table, "%zu", i + 1);
        cli_table__cell(&table, "%" PRIu64, candidates->ids[i]);
        cli_table__cell(&table, "%.7g", (double)candidates->scores[i]);
    }
    cli_table__print(&table, "  ", stdout);
    cli_table__fini(&table);
    cli_time__print(candidates->stream_time_ms, time);
    printf("stream time %s, applied lag %" PRId64 " ms\n", time, candidates->applied_lag_ms);
    fr_arena_free(arena);
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
}

/* `request` without its closing brace. */
static int ask(const struct cli_command *command, struct cli_node *node, const char *method, struct fr_buffer *request,
               bool is_json, const char *what)
{
    struct fr_buffer reply;
    struct fr_err err;
    int exit_code = CLI_OK;

    cli_node__default(node);
    fr_buffer_init(&reply);
    fr_buffer_append_byte(request, '}');
    if (request->is_failed)
        exit_code = cli_command__say(command, CLI_FAILURE, "out of memory");
    else if (!cli_client__call(node, method, fr_buffer_slice(request), RECALL_TIMEOUT_MS, &reply, &err))
        exit_code = cli_command__fail(command, &err);
    else if (!is_json)
        exit_code = print_table(command, &reply, what);
    else if (printf("%.*s\n", (int)reply.length, (const char *)reply.bytes) < 0 || fflush(stdout) != 0)
        exit_code = CLI_FAILURE;
    fr_buffer_fini(&reply);
    return exit_code;
}

int cli_top__main(const struct cli_command *command, int argc, char **argv)
{
    struct cli_node node = {0};
    const char *scope = NULL, *id = NULL, *seen_by = NULL;
    struct cli_positional list = {.name = "LIST", .is_required = true};
    uint64_t limit = 0, seen_within_s = 0;
    bool is_json = false;
    const struct cli_option options[] = {
        {"scope", CLI_OPTION_TEXT, "S", "global (the default), or the event field of the list's scope, category_id", &scope},
        {"id", CLI_OPTION_TEXT, "X", "the scope's value", &id},
        {"limit", CLI_OPTION_NUMBER, "N", "how many at most; default: as many as the list gives", &limit},
        {"exclude-seen-by", CLI_OPTION_TEXT, "U", "leave out what this user has seen", &seen_by},
        {"seen-within", CLI_OPTION_NUMBER, "S", "only what he has seen in so many seconds", &seen_within_s},
        CLI_NODE_OPTIONS(node),
        {"json", CLI_OPTION_FLAG, NULL, "the reply as JSON", &is_json},
        {0},
    };
    int result = cli_options__read(command, options, &list, argc, argv);
    struct fr_buffer request;

    if (result >= 0)
        return result;
    fr_buffer_init(&request);
    fr_buffer_append_byte(&request, '{');
    append_text(&request, "list", list.value);
    append_text(&request, "scope", scope);
    append_scope_id(&request, scope, id);
    append_limit(&request, limit);
    append_text(&request, "excludeSeenBy", seen_by);
    append_seen_within(&request, seen_within_s);
    result = ask(command, &node, "freshet.v1.RecallService/Trending", &request, is_json, "id");
    fr_buffer_fini(&request);
    return result;
}

int cli_related__main(const struct cli_command *command, int argc, char **argv)
{
    struct cli_node node = {0};
    const char *feature = NULL, *seen_by = NULL;
    struct cli_positional item = {.name = "ITEM", .is_required = true};
    uint64_t limit = 0, seen_within_s = 0;
    bool is_json = false;
    const struct cli_option options[] = {
        {"feature", CLI_OPTION_TEXT, "F", "the covisit feature, when there are several", &feature},
        {"limit", CLI_OPTION_NUMBER, "N", "how many at most; default: as many as the feature gives", &limit},
        {"exclude-seen-by", CLI_OPTION_TEXT, "U", "leave out what this user has seen", &seen_by},
        {"seen-within", CLI_OPTION_NUMBER, "S", "only what he has seen in so many seconds", &seen_within_s},
        CLI_NODE_OPTIONS(node),
        {"json", CLI_OPTION_FLAG, NULL, "the reply as JSON", &is_json},
        {0},
    };
    int result = cli_options__read(command, options, &item, argc, argv);
    struct fr_buffer request;

    if (result >= 0)
        return result;
    fr_buffer_init(&request);
    fr_buffer_append_byte(&request, '{');
    append_text(&request, "itemId", item.value);
    append_text(&request, "feature", feature);
    append_limit(&request, limit);
    append_text(&request, "excludeSeenBy", seen_by);
    append_seen_within(&request, seen_within_s);
    result = ask(command, &node, "freshet.v1.RecallService/Related", &request, is_json, "item");
    fr_buffer_fini(&request);
    return result;
}
