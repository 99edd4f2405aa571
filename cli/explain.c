/*
 * freshet explain: why a value is what it is, for who is on call: the value, what it is made of, and how far the stream is applied.
 */
#include "internal.h"

#include <freshet/message.h>
#include <freshet/text.h>
#include <freshet/v1/admin.pb-c.h>

#include <inttypes.h>

enum { EXPLAIN_TIMEOUT_MS = 30000, EXPLAIN_ARENA_BYTES = 64 << 20, ROWS_SHOWN = 24, OPERAND_ROWS_SHOWN = 8 };

struct explain_options {
    struct cli_node node;
    const char *entity, *key, *feature;
    int64_t as_of_ms;
    bool is_json, is_all;
};

/* "7/12" → ["7","12"]; the node takes ids as text, too. */
static void append_key(struct fr_buffer *out, const char *key)
{
    for (size_t length = 0;; key += length + 1) {
        length = strcspn(key, "/");
        proto_json_quote(fr_slice(key, length), out);
        if (key[length] == 0)
            break;
        fr_buffer_append_byte(out, ',');
    }
}

static void build_request(const struct explain_options *options, struct fr_buffer *out)
{
    fr_buffer_append_text(out, "{\"entity\":{\"entity\":");
    proto_json_quote(fr_slice_of(options->entity), out);
    fr_buffer_append_text(out, ",\"key\":[");
    append_key(out, options->key);
    fr_buffer_append_text(out, "]},\"feature\":");
    proto_json_quote(fr_slice_of(options->feature), out);
    fr_buffer_append_format(out, ",\"asOfMs\":\"%" PRId64 "\"}", options->as_of_ms);
}

/* ---- For people ---- */

static void print_cell_time(struct cli_table *table, int64_t ms)
{
    char time[32];

    cli_time__print(ms, time);
    cli_table__cell(table, "%s", ms > 0 ? time : "-");
}

static const char *print_span(int64_t ms, char text[32])
{
    static const struct {
        int64_t ms;
        const char *unit;
    } units[] = {{86400000, "d"}, {3600000, "h"}, {60000, "m"}, {1000, "s"}};

    snprintf(text, 32, "%" PRId64 "ms", ms);
    for (size_t i = 0; i < sizeof units / sizeof *units; i++) {
        if (ms % units[i].ms == 0) {
            snprintf(text, 32, "%" PRId64 "%s", ms / units[i].ms, units[i].unit);
            break;
        }
    }
    return text;
}

static void print_entity(const Freshet__V1__EntityKey *key)
{
    printf("%s", key ? key->entity : "?");
    for (size_t i = 0; key && i < key->n_key; i++)
        printf("%s%" PRIu64, i > 0 ? "/" : " ", key->key[i]);
}

static void print_presence(const char *indent, bool present, int64_t latest_ms, uint32_t generation, int64_t complete_from_ms)
{
    char latest[32], complete[32];

    cli_time__print(latest_ms, latest);
    cli_time__print(complete_from_ms, complete);
    if (latest_ms > 0)
        printf("%s%s, latest event %s\n", indent, present ? "present" : "no longer present", latest);
    else
        printf("%snever seen\n", indent);
    printf("%sgeneration %" PRIu32 ", complete from %s%s\n", indent, generation,
           complete_from_ms > 0 ? complete : "the beginning", complete_from_ms > 0 ? " on; a window W from then + W" : "");
}

static void print_rest(size_t count, size_t shown, const char *indent)
{
    if (shown < count)
        printf("%s… %zu more; --all shows them\n", indent, count - shown);
}

static size_t shown_of(const struct explain_options *options, size_t count, size_t most)
{
    return count > most && !options->is_all ? most : count;
}

static void print_pane_windows(struct cli_table *table, const Freshet__V1__ExplainedPane *pane)
{
    char text[200] = "";
    size_t length = 0;

    for (size_t i = 0; i < pane->n_windows && length < sizeof text; i++)
        length += (size_t)snprintf(text + length, sizeof text - length, "%s%s", i > 0 ? " " : "", pane->windows[i]);
    cli_table__cell(table, "%s", pane->n_windows > 0 ? text : "-");
}

/* Of a series what happened in the bin, action by action; its fields are the bins to T, oldest first. */
static void print_actions(struct cli_table *table, const Freshet__V1__ExplainResponse *series,
                          const Freshet__V1__ExplainedPane *bin)
{
    int64_t ago = series->read_time_ms / bin->span_ms - bin->start_ms / bin->span_ms;

    for (size_t f = 0; f < series->n_fields; f++) {
        const Freshet__V1__Field *field = series->fields[f];
        bool is_there = ago >= 0 && ago < (int64_t)field->n_ints;

        cli_get__element(table, field, is_there ? field->n_ints - 1 - (size_t)ago : SIZE_MAX);
    }
}

struct pane_columns { /* that have something to show */
    bool counts, forms, windows;
    const Freshet__V1__ExplainResponse *series; /* NULL: none */
};

static void print_pane_head(struct cli_table *table, const struct pane_columns *columns)
{
    cli_table__init(table, 3 + columns->counts + columns->forms + columns->windows +
                               (columns->series ? (int)columns->series->n_fields : 0));
    cli_table__cell(table, "from (UTC)");
    cli_table__cell(table, "span");
    cli_table__cell(table, "value");
    if (columns->counts)
        cli_table__cell(table, "events");
    if (columns->forms)
        cli_table__cell(table, "kept as");
    if (columns->windows)
        cli_table__cell(table, "in windows");
    for (size_t f = 0; columns->series && f < columns->series->n_fields; f++)
        cli_table__cell(table, "%s", columns->series->fields[f]->name);
}

static void print_pane(struct cli_table *table, const struct pane_columns *columns, const Freshet__V1__ExplainedPane *pane)
{
    char span[32];

    print_cell_time(table, pane->start_ms);
    cli_table__cell(table, "%s", print_span(pane->span_ms, span));
    cli_table__cell(table, "%.10g", pane->value);
    if (columns->counts)
        cli_table__cell(table, "%" PRIu64, pane->count);
    if (columns->forms)
        cli_table__cell(table, "%s", pane->form);
    if (columns->windows)
        print_pane_windows(table, pane);
    if (columns->series)
        print_actions(table, columns->series, pane);
}

static void print_panes(const struct explain_options *options, Freshet__V1__ExplainedPane *const *panes, size_t count,
                        const Freshet__V1__ExplainResponse *series, size_t most)
{
    struct pane_columns columns = {.series = series};
    size_t shown = shown_of(options, count, most);
    struct cli_table table;

    for (size_t i = 0; i < count; i++) {
        columns.counts = columns.counts || panes[i]->count > 0;
        columns.forms = columns.forms || *panes[i]->form;
        columns.windows = columns.windows || panes[i]->n_windows > 0;
        if (panes[i]->span_ms <= 0)
            return; /* no node says so */
    }
    printf("  %zu pane%s%s\n", count, count == 1 ? " that counts" : "s that count", count > 1 ? ", newest first" : "");
    if (count == 0)
        return;
    print_pane_head(&table, &columns);
    for (size_t i = 0; i < shown; i++)
        print_pane(&table, &columns, panes[i]);
    cli_table__print(&table, "    ", stdout);
    cli_table__fini(&table);
    print_rest(count, shown, "    ");
}

/* A count or an age is drawn towards nothing. */
static bool has_prior(const char *column)
{
    const char *dot = strrchr(column, '.');

    return !dot || (strcmp(dot, ".n") != 0 && strcmp(dot, ".age") != 0);
}

static void print_values(const Freshet__V1__ExplainResponse *response)
{
    bool has_priors = response->n_priors == response->n_columns;
    struct cli_table table;

    if (response->n_values != response->n_columns || response->n_columns == 0)
        return;
    cli_table__init(&table, 2 + has_priors);
    for (size_t i = 0; i < response->n_columns; i++) {
        cli_table__cell(&table, "%s", response->columns[i]);
        cli_table__cell(&table, "%.7g", response->values[i]); /* the digits of a float */
        if (has_priors && has_prior(response->columns[i]))
            cli_table__cell(&table, "drawn towards %.7g", response->priors[i]);
        else if (has_priors)
            cli_table__cell(&table, "%s", "");
    }
    cli_table__print(&table, "  ", stdout);
    cli_table__fini(&table);
    if (has_priors)
        printf("  = (numerator + %.10g × prior) / (denominator + %.10g)\n", response->strength, response->strength);
}

static void print_operand(const struct explain_options *options, const Freshet__V1__ExplainedOperand *operand)
{
    const Freshet__V1__EntityKey *entity = operand->entity;
    struct cli_table table;

    printf("%s: %s of ", operand->side, operand->feature);
    if (!entity || !*entity->entity)
        printf("all events\n");
    else if (entity->n_key == 0)
        printf("the %s, which nothing names\n", entity->entity);
    else {
        if (strcmp(operand->of, "parent") == 0)
            printf("the parent, ");
        print_entity(entity);
        printf("\n");
    }
    cli_table__init(&table, 2);
    for (size_t i = 0; i < operand->n_windows && i < operand->n_values; i++) {
        cli_table__cell(&table, "%s", operand->windows[i]);
        cli_table__cell(&table, "%.10g", operand->values[i]);
    }
    cli_table__print(&table, "  ", stdout);
    cli_table__fini(&table);
    print_presence("  ", operand->present, operand->latest_event_ms, operand->generation, operand->complete_from_ms);
    print_panes(options, operand->panes, operand->n_panes, NULL, OPERAND_ROWS_SHOWN);
}

static bool is_in_front(const Freshet__V1__Field *field) /* of every event, whatever the sequence shows */
{
    return strcmp(field->name, "ts_ms") == 0 || strcmp(field->name, "event_id") == 0;
}

static void print_event_head(struct cli_table *table, const Freshet__V1__ExplainResponse *response, bool is_match)
{
    int columns = 2 + is_match;

    for (size_t f = 0; f < response->n_fields; f++)
        columns += !is_in_front(response->fields[f]);
    cli_table__init(table, columns);
    cli_table__cell(table, "time (UTC)");
    cli_table__cell(table, "event_id");
    if (is_match)
        cli_table__cell(table, "matched by");
    for (size_t f = 0; f < response->n_fields; f++) {
        if (!is_in_front(response->fields[f]))
            cli_table__cell(table, "%s", response->fields[f]->name);
    }
}

static void print_events(const struct explain_options *options, const Freshet__V1__ExplainResponse *response)
{
    size_t shown = shown_of(options, response->n_events, ROWS_SHOWN);
    bool is_match = *response->searched != 0;
    struct cli_table table;

    if (is_match)
        printf("  a search in %s: what shows depends on what the candidate remembers\n", response->searched);
    printf("  %zu event%s%s\n", response->n_events, response->n_events == 1 ? "" : "s",
           response->n_events > 1 ? ", newest first" : "");
    if (response->n_events == 0)
        return;
    print_event_head(&table, response, is_match);
    for (size_t i = 0; i < shown; i++) {
        print_cell_time(&table, response->events[i]->ts_ms);
        cli_table__cell(&table, "%" PRIu64, response->events[i]->event_id);
        if (is_match)
            cli_table__cell(&table, "%" PRIu64, response->events[i]->matched);
        for (size_t f = 0; f < response->n_fields; f++) {
            if (!is_in_front(response->fields[f]))
                cli_get__element(&table, response->fields[f], i);
        }
    }
    cli_table__print(&table, "    ", stdout);
    cli_table__fini(&table);
    print_rest(response->n_events, shown, "    ");
}

static void print_offsets(const struct explain_options *options, const Freshet__V1__ExplainResponse *response)
{
    size_t shown = shown_of(options, response->n_offsets, ROWS_SHOWN);
    struct cli_table table;
    char read[32], stream[32];

    cli_time__print(response->read_time_ms, read);
    cli_time__print(response->stream_time_ms, stream);
    printf("as of\n  T %s, stream time %s, last epoch %" PRIu64 "\n", read, stream, response->epoch);
    cli_table__init(&table, 2);
    cli_table__cell(&table, "partition");
    cli_table__cell(&table, "next offset to apply");
    for (size_t i = 0; i < shown; i++) {
        cli_table__cell(&table, "%s/%" PRId32, response->offsets[i]->topic, response->offsets[i]->partition);
        cli_table__cell(&table, "%" PRId64, response->offsets[i]->offset);
    }
    cli_table__print(&table, "  ", stdout);
    cli_table__fini(&table);
    print_rest(response->n_offsets, shown, "  ");
}

static void print_explanation(const struct explain_options *options, const Freshet__V1__ExplainResponse *response)
{
    bool is_series = strcmp(response->aggregate, "series") == 0;

    print_entity(response->entity);
    printf(": %s (%s)\n", response->feature, response->aggregate);
    print_values(response);
    print_presence("  ", response->present, response->latest_event_ms, response->generation, response->complete_from_ms);
    for (size_t i = 0; i < response->n_operands; i++)
        print_operand(options, response->operands[i]);
    if (response->n_fields > 0 && !is_series)
        print_events(options, response);
    else if (strcmp(response->aggregate, "covisit") == 0)
        printf("  its partners: freshet related %s --feature %s\n", options->key, response->feature);
    else if (response->n_operands == 0)
        print_panes(options, response->panes, response->n_panes, is_series ? response : NULL, ROWS_SHOWN);
    print_offsets(options, response);
}

static int print_reply(const struct cli_command *command, const struct explain_options *options, const struct fr_buffer *reply)
{
    struct fr_arena *arena = fr_arena_new(EXPLAIN_ARENA_BYTES);
    const Freshet__V1__ExplainResponse *response;
    struct fr_err err;

    if (!arena)
        return cli_command__say(command, CLI_FAILURE, "out of memory");
    response = (const Freshet__V1__ExplainResponse *)proto_json_parse(&freshet__v1__explain_response__descriptor,
                                                                      fr_buffer_slice(reply), arena, &err);
    if (!response) {
        (void)fr_fail_in(&err, "the node's reply");
        fr_arena_free(arena);
        return cli_command__fail(command, &err);
    }
    if (options->is_json)
        printf("%.*s\n", (int)reply->length, (const char *)reply->bytes);
    else
        print_explanation(options, response);
    fr_arena_free(arena);
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
}

int cli_explain__main(const struct cli_command *command, int argc, char **argv)
{
    struct explain_options explain_options = {0};
    const struct cli_option options[] = {
        {"as-of", CLI_OPTION_TIME, "MS", "the value at this time, not before the node's", &explain_options.as_of_ms},
        {"all", CLI_OPTION_FLAG, NULL, "every pane and event, not the newest alone", &explain_options.is_all},
        CLI_NODE_OPTIONS(explain_options.node),
        {"json", CLI_OPTION_FLAG, NULL, "the reply as JSON", &explain_options.is_json},
        {0},
    };
    struct cli_positional feature = {.name = "FEATURE", .is_required = true};
    struct cli_positional key = {.name = "KEY", .is_required = true, .next = &feature};
    struct cli_positional entity = {.name = "ENTITY", .is_required = true, .next = &key};
    int result = cli_options__read(command, options, &entity, argc, argv);
    struct fr_buffer request, reply;
    struct fr_err err;

    if (result >= 0)
        return result;
    explain_options.entity = entity.value;
    explain_options.key = key.value;
    explain_options.feature = feature.value;
    cli_node__default(&explain_options.node);
    fr_buffer_init(&request);
    fr_buffer_init(&reply);
    build_request(&explain_options, &request);
    if (request.is_failed)
        result = cli_command__say(command, CLI_FAILURE, "out of memory");
    else if (cli_client__call(&explain_options.node, "freshet.v1.AdminService/Explain", fr_buffer_slice(&request),
                              EXPLAIN_TIMEOUT_MS, &reply, &err))
        result = print_reply(command, &explain_options, &reply);
    else
        result = cli_command__fail(command, &err);
    fr_buffer_fini(&request);
    fr_buffer_fini(&reply);
    return result;
}
