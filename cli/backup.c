/*
 * freshet backup and freshet restore: the state as it was at an epoch, into a directory and back. A node that runs makes the copy itself;
 * without one, its directory is opened here.
 */
#include "internal.h"

#include <freshet/message.h>
#include <freshet/pipeline.h>
#include <freshet/v1/admin.pb-c.h>

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

enum { BACKUP_TIMEOUT_MS = 24 * 3600 * 1000, STATUS_TIMEOUT_MS = 10000, BACKUP_ARENA_BYTES = 16 << 20 };

static int print_backup(const char *directory, const struct pipeline_backup *backup, const char *done, bool is_json)
{
    char grouped[32];

    if (is_json) {
        printf("{\"directory\":\"%s\",\"backupId\":%" PRIu32 ",\"bytes\":\"%" PRIu64 "\",\"files\":%" PRIu32 "}\n", directory,
               backup->id, backup->bytes, backup->files);
    } else {
        cli_progress__grouped(backup->bytes, grouped);
        printf("%s backup %" PRIu32 " %s: %s bytes in %" PRIu32 " files\n", directory, backup->id, done, grouped,
               backup->files);
    }
    return fflush(stdout) == 0 ? CLI_OK : CLI_FAILURE;
}

/* ---- which there are ---- */

struct listing {
    struct cli_table table;
    bool is_json;
    const char *between;
};

static void list_one(void *user, const struct pipeline_backup *backup)
{
    struct listing *listing = user;
    char time[32], grouped[32];

    if (listing->is_json) {
        printf("%s{\"backupId\":%" PRIu32 ",\"madeMs\":\"%" PRId64 "\",\"bytes\":\"%" PRIu64 "\",\"files\":%" PRIu32 "}",
               listing->between, backup->id, backup->made_ms, backup->bytes, backup->files);
        listing->between = ",";
        return;
    }
    cli_time__print(backup->made_ms, time);
    cli_progress__grouped(backup->bytes, grouped);
    cli_table__cell(&listing->table, "%" PRIu32, backup->id);
    cli_table__cell(&listing->table, "%s", time);
    cli_table__cell(&listing->table, "%s", grouped);
    cli_table__cell(&listing->table, "%" PRIu32, backup->files);
}

static int list(const struct cli_command *command, const char *directory, bool is_json)
{
    static const char *const heads[] = {"backup", "made", "bytes", "files"};
    struct listing listing = {.is_json = is_json, .between = ""};
    struct fr_err err;
    int result = CLI_OK;

    cli_table__init(&listing.table, 4);
    for (int i = 0; i < 4; i++)
        cli_table__cell(&listing.table, "%s", heads[i]);
    if (is_json)
        printf("[");
    if (!pipeline_backup_each(directory, list_one, &listing, &err))
        result = cli_command__say(command, CLI_FAILURE, "%s", err.message);
    else if (is_json)
        printf("]\n");
    else
        cli_table__print(&listing.table, "", stdout);
    cli_table__fini(&listing.table);
    return fflush(stdout) == 0 ? result : CLI_FAILURE;
}

/* ---- making one ---- */

/* The node may have been started anywhere. */
static bool make_absolute(const char *directory, char out[PATH_MAX], struct fr_err *err)
{
    char here[PATH_MAX] = "";
    int length;

    if (directory[0] != '/' && !getcwd(here, sizeof here))
        return fr_fail(err, FR_UNAVAILABLE, "cannot tell the working directory: %s; name the whole path", strerror(errno));
    length = snprintf(out, PATH_MAX, "%s%s%s", here, here[0] ? "/" : "", directory);
    return (length > 0 && length < PATH_MAX) || fr_fail(err, FR_BAD_CONFIG, "the path of the directory is too long");
}

static bool ask_node(const struct cli_node *node, const char *directory, uint32_t keep, struct pipeline_backup *backup,
                     struct fr_err *err)
{
    struct fr_arena *arena = fr_arena_new(BACKUP_ARENA_BYTES);
    const Freshet__V1__CheckpointResponse *response = NULL;
    struct fr_buffer request, reply;

    if (!arena)
        return fr_fail(err, FR_EXHAUSTED, "out of memory");
    fr_buffer_init(&request);
    fr_buffer_init(&reply);
    fr_buffer_append_text(&request, "{\"backupDir\":");
    proto_json_quote(fr_slice_of(directory), &request);
    fr_buffer_append_format(&request, ",\"keep\":%" PRIu32 "}", keep);
    if (cli_client__call(node, "freshet.v1.AdminService/Checkpoint", fr_buffer_slice(&request), BACKUP_TIMEOUT_MS, &reply,
                         err)) {
        response = (const Freshet__V1__CheckpointResponse *)proto_json_parse(&freshet__v1__checkpoint_response__descriptor,
                                                                             fr_buffer_slice(&reply), arena, err);
        if (response)
            *backup = (struct pipeline_backup){
                .id = response->backup_id, .bytes = response->backup_bytes, .files = response->backup_files};
        else
            (void)fr_fail_in(err, "the node's reply");
    }
    fr_buffer_fini(&request);
    fr_buffer_fini(&reply);
    fr_arena_free(arena);
    return response != NULL;
}

/* Where the node has its state; empty when it does not say. */
static void ask_store(const struct cli_node *node, char path[PATH_MAX])
{
    struct fr_arena *arena = fr_arena_new(BACKUP_ARENA_BYTES);
    const Freshet__V1__StatusResponse *status = NULL;
    struct fr_buffer reply;
    struct fr_err ignored; /* the backup itself will say it */

    path[0] = '\0';
    if (!arena)
        return;
    fr_buffer_init(&reply);
    if (cli_client__call(node, "freshet.v1.AdminService/Status", fr_slice_of("{}"), STATUS_TIMEOUT_MS, &reply, &ignored))
        status = (const Freshet__V1__StatusResponse *)proto_json_parse(&freshet__v1__status_response__descriptor,
                                                                       fr_buffer_slice(&reply), arena, &ignored);
    if (status)
        snprintf(path, PATH_MAX, "%s", status->store_path);
    fr_buffer_fini(&reply);
    fr_arena_free(arena);
}

static int make(const struct cli_command *command, struct pipeline_config *config, const struct cli_node *node,
                const char *directory, uint32_t keep, bool is_json)
{
    struct pipeline_backup backup;
    struct cli_growth *growth;
    char path[PATH_MAX], store[PATH_MAX] = "";
    struct fr_err err;
    bool is_made;

    if (!make_absolute(directory, path, &err))
        return cli_command__fail(command, &err);
    if (config)
        snprintf(store, sizeof store, "%s", pipeline_config_store_path(config));
    else if (isatty(STDERR_FILENO) == 1)
        ask_store(node, store);
    growth = cli_growth__show(path, cli_growth__missing(store, path));
    is_made = config ? pipeline_backup_make(config, path, keep, &backup, &err) : ask_node(node, path, keep, &backup, &err);
    cli_growth__stop(growth);
    return is_made ? print_backup(path, &backup, "made", is_json) : cli_command__say(command, CLI_FAILURE, "%s", err.message);
}

int cli_backup__main(const struct cli_command *command, int argc, char **argv)
{
    struct cli_node node = {0};
    const char *file = NULL;
    struct cli_positional directory = {.name = "DIR", .is_required = true};
    struct cli_texts sets = {0};
    uint64_t keep = 0;
    bool is_json = false, is_list = false;
    const struct cli_option options[] = {
        CLI_NODE_OPTIONS(node),
        {"config", CLI_OPTION_TEXT, "FILE", "no node runs: store.path of this configuration is copied", &file},
        {"set", CLI_OPTION_TEXTS, "key=value", "over the file; may be repeated", &sets},
        {"keep", CLI_OPTION_NUMBER, "N", "of the backups in DIR the N latest stay; default: all", &keep},
        {"list", CLI_OPTION_FLAG, NULL, "only tell which backups are in DIR", &is_list},
        {"json", CLI_OPTION_FLAG, NULL, "as JSON", &is_json},
        {0},
    };
    int result = cli_options__read(command, options, &directory, argc, argv);
    struct pipeline_config_source source;
    struct pipeline_config *config = NULL;

    if (result >= 0)
        return result;
    if (is_list)
        return list(command, directory.value, is_json);
    if (keep > UINT32_MAX)
        return cli_command__say(command, CLI_USAGE, "--keep: too many");
    cli_node__default(&node);
    source = (struct pipeline_config_source){.file = file, .sets = sets.values, .set_count = sets.count};
    result = file ? cli_node_config__load(&source, file, &config) : -1;
    if (result < 0)
        result = make(command, config, &node, directory.value, (uint32_t)keep, is_json);
    pipeline_config_free(config);
    return result;
}

/* ---- the way back ---- */

struct sought {
    uint32_t id; /* 0: the latest */
    int64_t bytes;
};

static void find_bytes(void *user, const struct pipeline_backup *backup)
{
    struct sought *sought = user;

    if (sought->id == 0 || sought->id == backup->id)
        sought->bytes = (int64_t)backup->bytes;
}

static int restore(const struct cli_command *command, const struct pipeline_config *config, const char *directory, uint32_t id,
                   bool is_json)
{
    struct sought sought = {.id = id, .bytes = -1};
    struct pipeline_backup backup;
    struct cli_growth *growth;
    struct fr_err err;
    bool is_restored;

    if (!pipeline_backup_each(directory, find_bytes, &sought, &err))
        return cli_command__say(command, CLI_FAILURE, "%s", err.message);
    growth = cli_growth__show(pipeline_config_store_path(config), sought.bytes);
    is_restored = pipeline_backup_restore(config, directory, id, &backup, &err);
    cli_growth__stop(growth);
    return is_restored ? print_backup(directory, &backup, "restored", is_json)
                       : cli_command__say(command, CLI_FAILURE, "%s", err.message);
}

int cli_restore__main(const struct cli_command *command, int argc, char **argv)
{
    const char *file = NULL;
    struct cli_positional directory = {.name = "DIR", .is_required = true};
    struct cli_texts sets = {0};
    uint64_t id = 0;
    bool is_json = false;
    const struct cli_option options[] = {
        {"config", CLI_OPTION_TEXT, "FILE", "the node's configuration: store.path, missing or empty, is made anew", &file},
        {"set", CLI_OPTION_TEXTS, "key=value", "over the file; may be repeated", &sets},
        {"backup", CLI_OPTION_NUMBER, "N", "which; default: the latest (freshet backup DIR --list)", &id},
        {"json", CLI_OPTION_FLAG, NULL, "as JSON", &is_json},
        {0},
    };
    int result = cli_options__read(command, options, &directory, argc, argv);
    struct pipeline_config_source source;
    struct pipeline_config *config;

    if (result >= 0)
        return result;
    if (!file || id > UINT32_MAX)
        return cli_command__say(command, CLI_USAGE, "%s; usage: freshet restore %s",
                                file ? "--backup: there are not so many" : "--config is missing", command->usage);
    source = (struct pipeline_config_source){.file = file, .sets = sets.values, .set_count = sets.count};
    result = cli_node_config__load(&source, file, &config);
    if (result >= 0)
        return result;
    result = restore(command, config, directory.value, (uint32_t)id, is_json);
    pipeline_config_free(config);
    return result;
}
