/*
 * Backups of a running node, and which of them there are: the store keeps a note of each directory that it was backed up to, so that
 * whoever forgets a user can be told where he still is.
 */
#include "services.h"

#include <freshet/fault.h>
#include <freshet/log.h>

#include <inttypes.h>
#include <stdio.h>

static const char backup_prefix[] = "backup/";

enum { COMMIT_MS = 30000, DIRECTORY_BYTES = 4096, DIRECTORIES_MAX = 256 };

static bool note_directory(void *user, struct store *store, struct fr_err *err)
{
    const char *directory = user;
    char name[DIRECTORY_BYTES + sizeof backup_prefix];

    (void)err;
    snprintf(name, sizeof name, "%s%s", backup_prefix, directory);
    store_meta_put(store, name, fr_slice_of("1"));
    return true;
}

bool pipeline_backup__make(struct pipeline_services *services, const struct store_backup_options *options,
                           struct store_backup *backup, struct fr_err *err)
{
    struct learner *learner = services->models->learner;
    char directory[DIRECTORY_BYTES];
    bool is_made;

    if (strlen(options->directory) >= sizeof directory)
        return fr_fail(err, FR_BAD_INPUT, "backup_dir: longer than %d bytes", DIRECTORY_BYTES);
    snprintf(directory, sizeof directory, "%s", options->directory);
    if (learner)
        learner_hold(learner);
    /* The note before the copy: a backup that nobody knows of would be worse than a note of none. */
    is_made = pipeline_committer__commit_with(services->committer, note_directory, directory, COMMIT_MS, err) &&
              fr_fault(FR_FAULT_MID_CHECKPOINT, err) && store_backup_make(services->store, options, backup, err) &&
              pipeline_backup__models(services->models->store_path, directory, backup->id, err);
    if (learner)
        learner_release(learner);
    return is_made;
}

/* ---- which there are ---- */

struct holding {
    struct fr_arena *arena;
    char *directories[DIRECTORIES_MAX];
    int directory_count;
    const char *directory; /* that is looked at */
    char **names;
    size_t count, capacity;
    bool is_failed;
};

static void take_directory(void *user, const char *name, struct fr_slice value)
{
    struct holding *holding = user;
    char *copy = fr_arena_copy(holding->arena, fr_slice_of(name + strlen(backup_prefix)));

    (void)value;
    holding->is_failed |= copy == NULL;
    if (copy && holding->directory_count < DIRECTORIES_MAX)
        holding->directories[holding->directory_count++] = copy;
}

/* Meta records are the committer's: they are read where it reads them. */
static bool take_directories(void *user, struct store *store, struct fr_err *err)
{
    (void)err;
    store_meta_each(store, backup_prefix, take_directory, user);
    return true;
}

static bool grow(struct holding *holding)
{
    size_t capacity = holding->capacity ? 2 * holding->capacity : 16;
    char **grown = fr_arena_take(holding->arena, capacity * sizeof *grown);

    if (!grown)
        return false;
    if (holding->count > 0)
        memcpy(grown, holding->names, holding->count * sizeof *grown);
    holding->names = grown;
    holding->capacity = capacity;
    return true;
}

static void name_one(struct holding *holding, const char *text)
{
    if ((holding->count == holding->capacity && !grow(holding)) ||
        !(holding->names[holding->count] = fr_arena_copy(holding->arena, fr_slice_of(text))))
        holding->is_failed = true;
    else
        holding->count++;
}

static void take_backup(void *user, const struct store_backup *backup)
{
    struct holding *holding = user;
    char text[DIRECTORY_BYTES + 64];

    snprintf(text, sizeof text, "%s backup %" PRIu32, holding->directory, backup->id);
    name_one(holding, text);
}

/* One that is gone holds nobody; one that cannot be read may. */
static void take_unreadable(struct holding *holding, const struct fr_err *reason)
{
    char text[DIRECTORY_BYTES + 64];

    if (reason->code == FR_BAD_CONFIG)
        return;
    snprintf(text, sizeof text, "%s (cannot be read now)", holding->directory);
    name_one(holding, text);
    fr_log(FR_LOG_WARN, "pipeline", "which backups still hold a forgotten user is not known: %s", reason->message);
}

char **pipeline_backup__holding(struct pipeline_services *services, struct fr_arena *arena, size_t *count)
{
    struct holding *holding = fr_arena_take_zeroed(arena, 1, sizeof *holding);
    struct fr_err err;

    if (!holding)
        return NULL;
    holding->arena = arena;
    if (!grow(holding) || !pipeline_committer__commit_with(services->committer, take_directories, holding, COMMIT_MS, &err))
        return NULL;
    for (int i = 0; i < holding->directory_count; i++) {
        holding->directory = holding->directories[i];
        if (!store_backup_each(holding->directory, take_backup, holding, &err))
            take_unreadable(holding, &err);
    }
    *count = holding->count;
    return holding->is_failed ? NULL : holding->names;
}

/* ---- without a node ---- */

static struct pipeline_backup of_store(const struct store_backup *backup)
{
    return (struct pipeline_backup){
        .id = backup->id, .made_ms = backup->made_ms, .bytes = backup->bytes, .files = backup->files};
}

struct listing {
    void (*each)(void *user, const struct pipeline_backup *backup);
    void *user;
};

static void list_one(void *user, const struct store_backup *backup)
{
    struct listing *listing = user;
    struct pipeline_backup listed = of_store(backup);

    listing->each(listing->user, &listed);
}

bool pipeline_backup_each(const char *directory, void (*each)(void *user, const struct pipeline_backup *backup), void *user,
                          struct fr_err *err)
{
    struct listing listing = {each, user};

    return store_backup_each(directory, list_one, &listing, err);
}

/* Of an instance the topics are the backup, and an older state of it would not fit to them. */
static bool refuse_instance(const char *store_path, struct fr_err *err)
{
    return fr_fail(err, FR_BAD_CONFIG,
                   "backup: '%s' is of an instance of a cluster, whose state is in the topics of kafka.group: start it with an "
                   "empty store.path, and it is read from there",
                   store_path);
}

bool pipeline_backup_make(const struct pipeline_config *config, const char *directory, uint32_t keep,
                          struct pipeline_backup *backup, struct fr_err *err)
{
    struct store_options options = {.path = config->store_path,
                                    .memory_bytes = config->memory_bytes,
                                    .free_bytes_least = config->free_bytes_least,
                                    .codec = agg_codec(config->catalogue)};
    struct store_backup_options backup_options = {.directory = directory, .keep = keep};
    struct store *store = NULL;
    struct store_backup made;
    char path[DIRECTORY_BYTES];
    bool is_made;

    snprintf(path, sizeof path, "%s", directory);
    if (!store_open(&options, &store, err))
        return false;
    is_made = (!pipeline_cluster__is_instances(store) || refuse_instance(config->store_path, err)) &&
              note_directory(path, store, err) && store_epoch_commit(store, &(struct store_epoch){0}, err) &&
              store_backup_make(store, &backup_options, &made, err) &&
              pipeline_backup__models(config->store_path, path, made.id, err);
    store_close(store);
    if (is_made)
        *backup = of_store(&made);
    return is_made;
}

bool pipeline_backup_restore(const struct pipeline_config *config, const char *directory, uint32_t id,
                             struct pipeline_backup *backup, struct fr_err *err)
{
    struct store_backup restored;

    if (config->is_cluster)
        return refuse_instance(config->store_path, err);
    if (!store_backup_restore(directory, id, config->store_path, &restored, err) ||
        !pipeline_backup__models_back(directory, restored.id, config->store_path, err))
        return false;
    *backup = of_store(&restored);
    return true;
}
