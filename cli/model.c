/*
 * freshet model: what the online model is at, and what operators order. Export and import work on a model's file, which is whole at
 * any moment.
 */
#include "internal.h"

#include <freshet/message.h>
#include <freshet/pipeline.h>
#include <freshet/text.h>
#include <freshet/v1/model.pb-c.h>

#include <inttypes.h>

enum { MODEL_TIMEOUT_MS = 60000, MODEL_ARENA_BYTES = 4 << 20, PATH_BYTES = 1024 };

static const char *const actions[] = {"show",     "report", "promote", "freeze", "thaw",
                                      "rollback", "save",   "export",  "import", NULL};
static const char *const changes[] = {NULL, NULL, "PROMOTE", "FREEZE", "THAW", "ROLLBACK", "SAVE", "SAVE", NULL};
enum { SHOW = 0, REPORT = 1, EXPORT = 7, IMPORT = 8, ACTIONS = sizeof actions / sizeof *actions - 1 };

/* Of a population stability index, by convention. */
#define LITTLE 0.1
#define MUCH 0.25

struct model_options {
    struct cli_node node;
    const char *model, *store;
    bool is_json;
};

/* ---- show and orders ---- */

static void print_states(const Freshet__V1__ModelStatusResponse *response)
{
    struct cli_table table;

    cli_table__init(&table, 9);
    for (const char *const *head = (const char *const[]){"model", "role", "version", "coordinates", "task", "examples",
                                                         "log loss", "AUC", "calibration", NULL};
         *head; head++)
        cli_table__cell(&table, "%s", *head);
    for (size_t i = 0; i < response->n_models; i++) {
        const Freshet__V1__ModelState *model = response->models[i];

        for (size_t k = 0; k < model->n_tasks; k++) {
            const Freshet__V1__TaskState *task = model->tasks[k];

            cli_table__cell(&table, "%s", model->name);
            cli_table__cell(&table, "%s", model->role);
            cli_table__cell(&table, "%" PRIu64, model->version);
            cli_table__cell(&table, "%" PRIu64, model->coordinates);
            cli_table__cell(&table, "%s", task->name);
            cli_table__cell(&table, "%" PRIu64, task->examples);
            cli_table__cell(&table, "%.4f", task->log_loss);
            cli_table__cell(&table, "%.4f", task->auc);
            cli_table__cell(&table, "%.3f", task->calibration);
        }
    }
    cli_table__print(&table, "", stdout);
    cli_table__fini(&table);
}

static const char *word_of(double stability)
{
    return stability > MUCH ? "much" : stability > LITTLE ? "some" : "little";
}

static void print_head(const Freshet__V1__ModelState *model)
{
    printf("%s (%s): version %" PRIu64 ", %" PRIu64 " examples, %" PRIu64 " refused, %" PRIu64 " coordinates, %" PRIu64
           " roll-backs\n",
           model->name, model->role, model->version, model->examples, model->rejected, model->coordinates, model->rollbacks);
}

static void print_tasks(const Freshet__V1__ModelState *model)
{
    struct cli_table table;

    cli_table__init(&table, 10);
    for (const char *const *head = (const char *const[]){"task", "examples", "log loss", "entropy", "AUC", "calibration",
                                                         "rate", "before", "stability", "change", NULL};
         *head; head++)
        cli_table__cell(&table, "%s", *head);
    for (size_t i = 0; i < model->n_tasks; i++) {
        const Freshet__V1__TaskState *task = model->tasks[i];

        cli_table__cell(&table, "%s", task->name);
        cli_table__cell(&table, "%" PRIu64, task->examples);
        cli_table__cell(&table, "%.4f", task->log_loss);
        cli_table__cell(&table, "%.4f", task->normalized_entropy);
        cli_table__cell(&table, "%.4f", task->auc);
        cli_table__cell(&table, "%.3f", task->calibration);
        cli_table__cell(&table, "%.4f", task->label_rate);
        cli_table__cell(&table, "%.4f", task->label_rate_reference);
        cli_table__cell(&table, "%.4f", task->label_stability);
        cli_table__cell(&table, "%s", word_of(task->label_stability));
    }
    cli_table__print(&table, "  ", stdout);
    cli_table__fini(&table);
}

static void print_columns(const Freshet__V1__ModelState *model)
{
    struct cli_table table;

    cli_table__init(&table, 3);
    for (const char *const *head = (const char *const[]){"dense column", "stability", "change", NULL}; *head; head++)
        cli_table__cell(&table, "%s", *head);
    for (size_t i = 0; i < model->n_drift; i++) {
        cli_table__cell(&table, "%s", model->drift[i]->column);
        cli_table__cell(&table, "%.4f", model->drift[i]->stability);
        cli_table__cell(&table, "%s", word_of(model->drift[i]->stability));
    }
    cli_table__print(&table, "  ", stdout);
    cli_table__fini(&table);
}

/* All that tells whether a model can still be trusted, on a page. */
static void print_report(const Freshet__V1__ModelStatusResponse *response)
{
    for (size_t i = 0; i < response->n_models; i++) {
        const Freshet__V1__ModelState *model = response->models[i];

        if (i > 0)
            printf("\n");
        print_head(model);
        print_tasks(model);
        if (model->n_drift > 0)
            print_columns(model);
        else if (strcmp(model->role, "shadow") != 0)
            printf("  dense columns: none, or too few examples yet to compare those of late with those of long\n");
    }
}

static int print_reply(const struct cli_command *command, const struct fr_buffer *reply, int action, bool is_json)
{
    struct fr_arena *arena = fr_arena_new(MODEL_ARENA_BYTES);
    const Freshet__V1__ModelStatusResponse *response = NULL;
    struct fr_err err;

    if (!arena)
        return cli_command__say(command, CLI_FAILURE, "out of memory");
    response = (const Freshet__V1__ModelStatusResponse *)proto_json_parse(&freshet__v1__model_status_response__descriptor,
                                                                          fr_buffer_slice(reply), arena, &err);
    if (!response) {
        (void)fr_fail_in(&err, "the node's reply");
        fr_arena_free(arena);
        return cli_command__fail(command, &err);
    }
    if (is_json)
        printf("%.*s\n", (int)reply->length, (const char *)reply->bytes);
    else if (action == REPORT)
        print_report(response);
    else
        print_states(response);
    fr_arena_free(arena);
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
}

static bool ask(const struct model_options *options, const char *change, struct fr_buffer *reply, struct fr_err *err)
{
    struct fr_buffer request;
    bool is_done;

    fr_buffer_init(&request);
    fr_buffer_append_text(&request, "{\"model\":\"");
    for (const char *at = options->model; *at; at++) {
        if (*at != '"' && *at != '\\' && (unsigned char)*at >= ' ')
            fr_buffer_append_byte(&request, (uint8_t)*at); /* no model has such a name; the node says so */
    }
    fr_buffer_append_byte(&request, '"');
    if (change)
        fr_buffer_append_format(&request, ",\"change\":\"%s\"", change);
    fr_buffer_append_byte(&request, '}');
    is_done = cli_client__call(&options->node, change ? "freshet.v1.ModelService/Change" : "freshet.v1.ModelService/Status",
                               fr_buffer_slice(&request), MODEL_TIMEOUT_MS, reply, err);
    fr_buffer_fini(&request);
    return is_done;
}

/* ---- files ---- */

/* The file is checked on the side where it comes from: nothing that is not whole is copied. */
static bool move_file(const struct model_options *options, int action, const char *file, struct fr_err *err)
{
    struct pipeline_model_file info;
    char path[PATH_BYTES];
    struct fr_buffer reply;

    if (snprintf(path, sizeof path, "%s/models/%s.model", options->store, options->model) >= (int)sizeof path)
        return fr_fail(err, FR_BAD_INPUT, "--store: longer than %d bytes", PATH_BYTES);
    fr_buffer_init(&reply);
    if (action == EXPORT && !ask(options, changes[EXPORT], &reply, err))
        fprintf(stderr, "freshet model: no node wrote its file anew (%s); the one that is there is taken\n", err->message);
    fr_buffer_fini(&reply);
    if (!pipeline_model_copy(action == EXPORT ? path : file, action == EXPORT ? file : path, &info, err))
        return false;
    printf("%s: version %" PRIu64 ", %" PRIu64 " examples, %" PRIu64 " coordinates, schema %" PRIu64 "\n",
           action == EXPORT ? file : path, info.version, info.examples, info.coordinates, info.schema);
    return true;
}

static int run_files(const struct cli_command *command, const struct model_options *options, int action, const char *file)
{
    struct fr_err err;

    if (!file || !options->store || !options->model[0])
        return cli_command__say(command, CLI_USAGE, "%s: name the file, --model NAME, and --store DIR (the node's store.path)",
                                actions[action]);
    if (strchr(options->model, '/'))
        return cli_command__say(command, CLI_USAGE, "--model: '%s' is no name", options->model);
    if (!move_file(options, action, file, &err))
        return cli_command__fail(command, &err);
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
}

static int run_orders(const struct cli_command *command, const struct model_options *options, int action)
{
    struct fr_buffer reply;
    struct fr_err err;
    int exit_code;

    fr_buffer_init(&reply);
    if (ask(options, changes[action], &reply, &err))
        exit_code = print_reply(command, &reply, action, options->is_json);
    else
        exit_code = cli_command__fail(command, &err);
    fr_buffer_fini(&reply);
    return exit_code;
}

int cli_model__main(const struct cli_command *command, int argc, char **argv)
{
    struct model_options chosen = {.model = ""};
    struct cli_positional file = {.name = "FILE"};
    struct cli_positional name = {.name = "ACTION", .words = actions, .is_required = true, .next = &file};
    const struct cli_option options[] = {
        CLI_NODE_OPTIONS(chosen.node),
        {"model", CLI_OPTION_TEXT, "NAME", "which one; not needed where there is one", &chosen.model},
        {"store", CLI_OPTION_TEXT, "DIR", "export, import: the node's store.path; it is stopped for import", &chosen.store},
        {"json", CLI_OPTION_FLAG, NULL, "the reply as JSON", &chosen.is_json},
        {0},
    };
    int result = cli_options__read(command, options, &name, argc, argv);
    const char *nearest;

    if (result >= 0)
        return result;
    cli_node__default(&chosen.node);
    for (int action = 0; action < ACTIONS; action++) {
        if (strcmp(actions[action], name.value) == 0)
            return action >= EXPORT ? run_files(command, &chosen, action, file.value) : run_orders(command, &chosen, action);
    }
    nearest = fr_text_nearest(fr_slice_of(name.value), actions, ACTIONS);
    return cli_command__say(command, CLI_USAGE,
                            "no action '%s'%s%s; use show, report, promote, freeze, thaw, rollback, save, export or import",
                            name.value, nearest ? "; did you mean " : "", nearest ? nearest : "");
}
