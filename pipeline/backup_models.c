/*
 * Model files beside a backup of the store: DIR/models/ID has those of backup ID. While a node is copied its files stay as they are, so
 * each has learned only what the copied store has made, and the outbox in it has all that they have not learned.
 */
#include "services.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_BYTES = 4352, BACKUPS_MAX = 4096 };

static const char models_name[] = "models", suffix[] = ".model";

static bool is_model(const char *name)
{
    size_t length = strlen(name);

    return length > sizeof suffix - 1 && strcmp(name + length - (sizeof suffix - 1), suffix) == 0;
}

static bool make_directory(const char *path, struct fr_err *err)
{
    return mkdir(path, 0700) == 0 || errno == EEXIST ||
           fr_fail(err, FR_UNAVAILABLE, "cannot make '%s': %s", path, strerror(errno));
}

/* Goes through the model files of a directory; a missing one has none. */
static bool each_file(const char *directory, bool (*each)(void *user, const char *path, const char *name, struct fr_err *err),
                      void *user, struct fr_err *err)
{
    DIR *files = opendir(directory);
    struct dirent *entry;
    char path[PATH_BYTES];
    bool is_good = true;

    if (!files)
        return errno == ENOENT || fr_fail(err, FR_UNAVAILABLE, "cannot read '%s': %s", directory, strerror(errno));
    while (is_good && (entry = readdir(files)) != NULL) {
        if (!is_model(entry->d_name))
            continue;
        is_good = (snprintf(path, sizeof path, "%s/%s", directory, entry->d_name) < (int)sizeof path ||
                   fr_fail(err, FR_BAD_INPUT, "'%s': longer than %d bytes", directory, PATH_BYTES)) &&
                  each(user, path, entry->d_name, err);
    }
    closedir(files);
    return is_good;
}

static bool copy_file(void *user, const char *path, const char *name, struct fr_err *err)
{
    const char *target = user;
    struct pipeline_model_file file;
    char to[PATH_BYTES];

    return (snprintf(to, sizeof to, "%s/%s", target, name) < (int)sizeof to ||
            fr_fail(err, FR_BAD_INPUT, "'%s': longer than %d bytes", target, PATH_BYTES)) &&
           pipeline_model_copy(path, to, &file, err);
}

static bool remove_file(void *user, const char *path, const char *name, struct fr_err *err)
{
    (void)user, (void)name;
    return unlink(path) == 0 || fr_fail(err, FR_UNAVAILABLE, "cannot remove '%s': %s", path, strerror(errno));
}

/* ---- which backups there are ---- */

struct kept {
    uint32_t ids[BACKUPS_MAX];
    int count;
};

static void keep_id(void *user, const struct store_backup *backup)
{
    struct kept *kept = user;

    if (kept->count < BACKUPS_MAX)
        kept->ids[kept->count++] = backup->id;
}

static bool is_kept(const struct kept *kept, const char *name)
{
    char id[16];

    for (int i = 0; i < kept->count; i++) {
        snprintf(id, sizeof id, "%" PRIu32, kept->ids[i]);
        if (strcmp(id, name) == 0)
            return true;
    }
    return kept->count == BACKUPS_MAX; /* not all of them are known */
}

/* Those of backups that are gone go, too. */
static bool purge(const char *directory, struct fr_err *err)
{
    struct kept kept = {.count = 0};
    char models[PATH_BYTES], path[2 * PATH_BYTES];
    struct dirent *entry;
    bool is_good = true;
    DIR *backups;

    if (!store_backup_each(directory, keep_id, &kept, err))
        return false;
    snprintf(models, sizeof models, "%s/%s", directory, models_name);
    backups = opendir(models);
    if (!backups)
        return true;
    while (is_good && (entry = readdir(backups)) != NULL) {
        if (entry->d_name[0] < '0' || entry->d_name[0] > '9' || is_kept(&kept, entry->d_name))
            continue;
        snprintf(path, sizeof path, "%s/%s", models, entry->d_name);
        is_good = each_file(path, remove_file, NULL, err) && (rmdir(path) == 0 || errno == ENOTEMPTY);
    }
    closedir(backups);
    return is_good;
}

/* ---- for the callers ---- */

static bool name_models(const char *directory, uint32_t id, char *path, size_t size, struct fr_err *err)
{
    return snprintf(path, size, "%s/%s/%" PRIu32, directory, models_name, id) < (int)size ||
           fr_fail(err, FR_BAD_INPUT, "'%s': longer than %zu bytes", directory, size);
}

bool pipeline_backup__models(const char *store_path, const char *directory, uint32_t id, struct fr_err *err)
{
    char from[PATH_BYTES], to[PATH_BYTES], above[PATH_BYTES];

    if (!name_models(directory, id, to, sizeof to, err))
        return false;
    snprintf(from, sizeof from, "%s/%s", store_path, models_name);
    snprintf(above, sizeof above, "%s/%s", directory, models_name);
    if (access(from, F_OK) != 0)
        return true; /* no model was ever configured */
    return (make_directory(above, err) && make_directory(to, err) && each_file(from, copy_file, to, err) &&
            purge(directory, err)) ||
           fr_fail_in(err, "the store is in backup %" PRIu32 ", its models are not", id);
}

bool pipeline_backup__models_back(const char *directory, uint32_t id, const char *store_path, struct fr_err *err)
{
    char from[PATH_BYTES], to[PATH_BYTES];

    if (!name_models(directory, id, from, sizeof from, err))
        return false;
    snprintf(to, sizeof to, "%s/%s", store_path, models_name);
    if (access(from, F_OK) != 0)
        return true;
    return (make_directory(to, err) && each_file(from, copy_file, to, err)) ||
           fr_fail_in(err, "'%s' is restored, its models are not", store_path);
}

struct faults {
    pipeline_fault_fn find;
    void *user;
};

static bool look_at(void *user, const char *path, const char *name, struct fr_err *err)
{
    const struct faults *faults = user;
    struct learner_file_info info;
    struct fr_err fault;

    (void)name, (void)err;
    if (!learner_file_look(path, &info, &fault))
        faults->find(faults->user, fault.message);
    return true;
}

void pipeline_backup__models_check(const char *store_path, pipeline_fault_fn find, void *user)
{
    struct faults faults = {find, user};
    char path[PATH_BYTES];
    struct fr_err fault;

    snprintf(path, sizeof path, "%s/%s", store_path, models_name);
    if (!each_file(path, look_at, &faults, &fault))
        find(user, fault.message);
}
