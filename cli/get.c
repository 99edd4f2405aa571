/*
 * freshet get: what a ranker would read of one user and some items, as a table or as the node's own JSON.
 */
#include "internal.h"

#include <freshet/message.h>
#include <freshet/text.h>
#include <freshet/v1/feature.pb-c.h>

#include <inttypes.h>

enum { GET_TIMEOUT_MS = 10000, GET_ARENA_BYTES = 256 << 20 };

struct get_options {
    const char *api, *user, *items, *room, *features, *feature_set, *after;
    int64_t as_of_ms;
    bool is_json;
};

/* "a,b" → ["a","b"]; blanks around an element and empty elements are dropped. */
static void append_list(struct fr_buffer *out, const char *key, const char *text)
{
    bool is_first = true;

    fr_buffer_append_format(out, ",\"%s\":[", key);
    while (text && *text) {
        size_t length = strcspn(text, ",");
        const char *start = text, *end = text + length;

        text += length + (text[length] == ',');
        while (start < end && *start == ' ')
            start++;
        while (start < end && end[-1] == ' ')
            end--;
        if (start == end)
            continue;
        if (!is_first)
            fr_buffer_append_byte(out, ',');
        proto_json_quote(fr_slice(start, (size_t)(end - start)), out);
        is_first = false;
    }
    fr_buffer_append_byte(out, ']');
}

static void append_text(struct fr_buffer *out, const char *key, const char *text)
{
    if (!text || !*text)
        return;
    fr_buffer_append_format(out, ",\"%s\":", key);
    proto_json_quote(fr_slice_of(text), out);
}

/* The decimal digits between `from` and `to`, one at least. */
static bool is_digits(const char *from, const char *to)
{
    const char *at = from;

    while (at < to && *at >= '0' && *at <= '9')
        at++;
    return from < to && at == to;
}

/* "topic:0:17,topic:1:3" → a list of offsets. False: it is none; *bad is the one that is wrong. */
static bool append_after(struct fr_buffer *out, const char *text, struct fr_slice *bad)
{
    bool is_first = true;

    fr_buffer_append_text(out, ",\"after\":[");
    while (text && *text) {
        const char *end = text + strcspn(text, ","), *partition = memchr(text, ':', (size_t)(end - text));
        const char *offset = partition ? memchr(partition + 1, ':', (size_t)(end - partition) - 1) : NULL;

        *bad = fr_slice(text, (size_t)(end - text));
        if (!offset || partition == text || !is_digits(partition + 1, offset) || !is_digits(offset + 1, end))
            return false;
        fr_buffer_append_text(out, is_first ? "{\"topic\":" : ",{\"topic\":");
        proto_json_quote(fr_slice(text, (size_t)(partition - text)), out);
        fr_buffer_append_format(out, ",\"partition\":%.*s,\"offset\":\"%.*s\"}", (int)(offset - partition - 1), partition + 1,
                                (int)(end - offset - 1), offset + 1);
        is_first = false;
        text = end + (*end == ',');
    }
    fr_buffer_append_byte(out, ']');
    return true;
}

static bool build_request(const struct get_options *options, const char *features, struct fr_buffer *out, struct fr_err *err)
{
    struct fr_slice bad;

    fr_buffer_append_format(out, "{\"asOfMs\":\"%" PRId64 "\"", options->as_of_ms);
    append_text(out, "userId", options->user);
    append_text(out, "roomId", options->room);
    append_text(out, "featureSet", options->feature_set);
    append_list(out, "itemIds", options->items);
    append_list(out, "features", features);
    if (!append_after(out, options->after, &bad))
        return fr_fail(err, FR_BAD_INPUT, "--after: '%.*s' is no offset; use topic:partition:offset", (int)bad.length,
                       (const char *)bad.bytes);
    fr_buffer_append_byte(out, '}');
    return !out->is_failed || fr_fail(err, FR_EXHAUSTED, "out of memory");
}

static const ProtobufCMessage *parse(const ProtobufCMessageDescriptor *type, const struct fr_buffer *reply,
                                     struct fr_arena *arena, struct fr_err *err)
{
    const ProtobufCMessage *message = proto_json_parse(type, fr_buffer_slice(reply), arena, err);

    if (!message)
        (void)fr_fail_in(err, "the node's reply");
    return message;
}

/* Nothing asked for: all features that the node has, those of the user alone when there are no items. */
static bool all_features(const struct get_options *options, struct fr_arena *arena, struct fr_buffer *names, struct fr_err *err)
{
    struct fr_buffer reply;
    const Freshet__V1__DescribeResponse *response = NULL;

    fr_buffer_init(&reply);
    if (cli_client__call(options->api, "freshet.v1.FeatureService/Describe", fr_slice_of("{}"), GET_TIMEOUT_MS, &reply, err))
        response =
            (const Freshet__V1__DescribeResponse *)parse(&freshet__v1__describe_response__descriptor, &reply, arena, err);
    for (size_t i = 0; response && i < response->n_features; i++) {
        const Freshet__V1__FeatureDescription *feature = response->features[i];

        if (strcmp(feature->entity, "user") != 0 && !(options->items && *options->items))
            continue;
        if (names->length > 0)
            fr_buffer_append_byte(names, ',');
        fr_buffer_append_text(names, feature->name);
    }
    fr_buffer_append_byte(names, 0);
    fr_buffer_fini(&reply);
    return response != NULL;
}

/* ---- For people ---- */

static void print_number(struct cli_table *table, double value)
{
    cli_table__cell(table, "%.7g", value); /* the digits of a float */
}

static void print_user(const Freshet__V1__GetFeaturesResponse *response, const char *user)
{
    struct cli_table table;

    if (!user)
        return;
    printf("user %s (%" PRIu64 ")%s\n", user, fr_text_id(fr_slice_of(user)), response->user_present ? "" : ": not seen");
    if (response->n_user_columns != response->n_user_values)
        return;
    cli_table__init(&table, 2);
    for (size_t i = 0; i < response->n_user_columns; i++) {
        cli_table__cell(&table, "%s", response->user_columns[i]);
        print_number(&table, (double)response->user_values[i]);
    }
    cli_table__print(&table, "  ", stdout);
    cli_table__fini(&table);
}

static void print_field_name(struct cli_table *table, const char *name)
{
    cli_table__cell(table, "%s", name);
}

void cli_get__element(struct cli_table *table, const Freshet__V1__Field *field, size_t i)
{
    const char *name = field->name;
    char time[32];

    if (i < field->n_ids)
        cli_table__cell(table, "%" PRIu64, field->ids[i]);
    else if (i < field->n_numbers)
        cli_table__cell(table, "%.10g", field->numbers[i]);
    else if (i >= field->n_ints)
        cli_table__cell(table, "-");
    else if (strcmp(name, "action") == 0 && field->ints[i] > 0 && field->ints[i] < PROTO_ACTIONS)
        cli_table__cell(table, "%s", proto_action_name((uint32_t)field->ints[i]));
    else if (strcmp(name, "scene") == 0 && field->ints[i] > 0 && field->ints[i] < PROTO_SCENES)
        cli_table__cell(table, "%s", proto_scene_name((uint32_t)field->ints[i]));
    else if (strcmp(name, "ts_ms") == 0) {
        cli_time__print(field->ints[i], time);
        cli_table__cell(table, "%s", time);
    } else
        cli_table__cell(table, "%" PRId64, field->ints[i]);
}

/* Items side by side, a block of them at a time; a row per column. */
enum { GET_BLOCK = 6, GET_RECORDS_SHOWN = 10 };

static void print_block(const Freshet__V1__GetFeaturesResponse *response, struct fr_slice *items, size_t first, size_t count)
{
    size_t columns = response->n_item_columns;
    struct cli_table table;

    cli_table__init(&table, (int)count + 1);
    cli_table__cell(&table, "item");
    for (size_t i = first; i < first + count; i++)
        cli_table__cell(&table, "%.*s%s", (int)items[i].length, (const char *)items[i].bytes,
                        response->item_present[i] ? "" : " (not seen)");
    for (size_t f = 0; f < response->n_item_fields; f++) {
        print_field_name(&table, response->item_fields[f]->name);
        for (size_t i = first; i < first + count; i++)
            cli_get__element(&table, response->item_fields[f], i);
    }
    for (size_t column = 0; column < columns; column++) {
        print_field_name(&table, response->item_columns[column]);
        for (size_t i = first; i < first + count; i++)
            print_number(&table, (double)response->item_values[i * columns + column]);
    }
    cli_table__print(&table, "  ", stdout);
    cli_table__fini(&table);
}

static void print_items(const Freshet__V1__GetFeaturesResponse *response, struct fr_arena *arena, const char *text)
{
    size_t total = response->n_item_present, named = 0;
    struct fr_slice *items = fr_arena_take_zeroed(arena, total + 1, sizeof *items);

    if (total == 0 || !items || response->n_item_values != total * response->n_item_columns)
        return;
    while (text && *text && named < total) {
        size_t length = strcspn(text, ",");

        if (length > 0)
            items[named++] = fr_slice(text, length);
        text += length + (text[length] == ',');
    }
    for (size_t first = 0; first < total; first += GET_BLOCK)
        print_block(response, items, first, total - first < GET_BLOCK ? total - first : GET_BLOCK);
}

static size_t record_count(const Freshet__V1__Sequence *sequence)
{
    size_t count = 0;

    for (size_t f = 0; f < sequence->n_fields; f++) {
        const Freshet__V1__Field *field = sequence->fields[f];
        size_t length = field->n_ids + field->n_ints + field->n_numbers;

        count = length > count ? length : count;
    }
    return count;
}

static void print_sequence(const Freshet__V1__Sequence *sequence)
{
    size_t count = record_count(sequence);
    size_t shown = count > GET_RECORDS_SHOWN ? GET_RECORDS_SHOWN : count;
    struct cli_table table;

    printf("%s: %zu record%s%s\n", sequence->name, count, count == 1 ? "" : "s", count > 0 ? ", newest first" : "");
    if (count == 0 || sequence->n_fields == 0)
        return;
    cli_table__init(&table, (int)sequence->n_fields);
    for (size_t f = 0; f < sequence->n_fields; f++)
        print_field_name(&table, sequence->fields[f]->name);
    for (size_t i = 0; i < shown; i++) {
        for (size_t f = 0; f < sequence->n_fields; f++)
            cli_get__element(&table, sequence->fields[f], i);
    }
    cli_table__print(&table, "  ", stdout);
    cli_table__fini(&table);
    if (shown < count)
        printf("  … %zu more; --json shows all\n", count - shown);
}

static int print_reply(const struct cli_command *command, const struct get_options *options, const struct fr_buffer *reply,
                       struct fr_arena *arena)
{
    const Freshet__V1__GetFeaturesResponse *response;
    struct fr_err err;
    char time[32];

    if (options->is_json) {
        fwrite(reply->bytes, 1, reply->length, stdout);
        putchar('\n');
        return fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
    }
    response =
        (const Freshet__V1__GetFeaturesResponse *)parse(&freshet__v1__get_features_response__descriptor, reply, arena, &err);
    if (!response)
        return cli_command__fail(command, &err);
    print_user(response, options->user);
    for (size_t i = 0; i < response->n_sequences; i++)
        print_sequence(response->sequences[i]);
    print_items(response, arena, options->items);
    cli_time__print(response->stream_time_ms, time);
    printf("stream time %s, applied lag %" PRId64 " ms\n", time, response->applied_lag_ms);
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
}

static int get(const struct cli_command *command, struct get_options *options, struct fr_arena *arena)
{
    bool asks_nothing = !options->features && !options->feature_set;
    struct fr_buffer request, reply, names;
    struct fr_err err;
    int exit_code;

    fr_buffer_init(&request);
    fr_buffer_init(&reply);
    fr_buffer_init(&names);
    if (asks_nothing && !all_features(options, arena, &names, &err)) {
        exit_code = cli_command__fail(command, &err);
        goto out;
    }
    if (names.is_failed)
        exit_code = cli_command__say(command, CLI_FAILURE, "out of memory");
    else if (!build_request(options, asks_nothing ? (const char *)names.bytes : options->features, &request, &err) ||
             !cli_client__call(options->api, "freshet.v1.FeatureService/GetFeatures", fr_buffer_slice(&request), GET_TIMEOUT_MS,
                               &reply, &err))
        exit_code = cli_command__fail(command, &err);
    else
        exit_code = print_reply(command, options, &reply, arena);
out:
    fr_buffer_fini(&request);
    fr_buffer_fini(&reply);
    fr_buffer_fini(&names);
    return exit_code;
}

int cli_get__main(const struct cli_command *command, int argc, char **argv)
{
    struct get_options get_options = {0};
    const struct cli_option options[] = {
        {"user", CLI_OPTION_TEXT, "U", "the user; ids are numbers, any other text is hashed", &get_options.user},
        {"items", CLI_OPTION_TEXT, "I,J,…", "the candidates", &get_options.items},
        {"room", CLI_OPTION_TEXT, "R", "take every item as shown in this room", &get_options.room},
        {"features", CLI_OPTION_TEXT, "F,G,…", "features (item_watches, item_watches.5m, item.creator_id); default: all",
         &get_options.features},
        {"feature-set", CLI_OPTION_TEXT, "NAME", "a feature set of the configuration", &get_options.feature_set},
        {"as-of", CLI_OPTION_TIME, "MS", "values at this time, not before the node's", &get_options.as_of_ms},
        {"after", CLI_OPTION_TEXT, "TOPIC:P:O,…", "wait until these offsets (as delivery reports have them) are applied",
         &get_options.after},
        {"api", CLI_OPTION_TEXT, "HOST:PORT", "the node (FRESHET_API; 127.0.0.1:7070)", &get_options.api},
        {"json", CLI_OPTION_FLAG, NULL, "the reply as JSON", &get_options.is_json},
        {0},
    };
    struct fr_arena *arena;
    int result = cli_options__read(command, options, NULL, argc, argv);

    if (result >= 0)
        return result;
    if (!get_options.user && !get_options.items)
        return cli_command__say(command, CLI_USAGE, "whose features? usage: freshet get %s", command->usage);
    get_options.api = cli_options__api(get_options.api);
    arena = fr_arena_new(GET_ARENA_BYTES);
    if (!arena)
        return cli_command__say(command, CLI_FAILURE, "out of memory");
    result = get(command, &get_options, arena);
    fr_arena_free(arena);
    return result;
}
