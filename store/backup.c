/*
 * Backups: RocksDB's backup engine over the live files, which are whole epochs only, because an epoch is one ingested file. A
 * backup shares the files that an earlier one in the same directory has; each file is checked against its checksum when it
 * is copied back.
 *
 * The directory has a mark of ours beside the engine's, locked while one process works on it: the engine has no lock of its own, and
 * two at once would delete each other's files.
 */
#include "internal.h"

#include <freshet/fault.h>

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

static const char mark_name[] = "FRESHET-BACKUP";

struct vault { /* a directory of backups, locked */
    rocksdb_backup_engine_t *engine;
    int mark;
};

static bool fail_engine(char *message, struct fr_err *err, const char *what, const char *directory)
{
    (void)fr_fail(err, store_disk__is_corruption(message) ? FR_CORRUPT : FR_UNAVAILABLE, "store: cannot %s '%s': %s", what,
                  directory, message);
    rocksdb_free(message);
    return false;
}

static bool open_engine(const char *directory, struct vault *vault, struct fr_err *err)
{
    rocksdb_env_t *env = rocksdb_create_default_env(); /* the process's one: only its wrapper is freed */
    rocksdb_backup_engine_options_t *options = rocksdb_backup_engine_options_create(directory);
    char *message = NULL;

    rocksdb_backup_engine_options_set_sync(options, 1);
    rocksdb_backup_engine_options_set_share_table_files(options, 1);
    rocksdb_backup_engine_options_set_backup_log_files(options, 0); /* there is no WAL */
    vault->engine = rocksdb_backup_engine_open_opts(options, env, &message);
    rocksdb_backup_engine_options_destroy(options);
    rocksdb_env_destroy(env);
    return message == NULL || fail_engine(message, err, "open the backups in", directory);
}

static bool lock_mark(const char *directory, bool create, struct vault *vault, struct fr_err *err)
{
    char path[PATH_MAX];
    int length = snprintf(path, sizeof(path), "%s/%s", directory, mark_name);

    if (length <= 0 || (size_t)length >= sizeof(path))
        return fr_fail(err, FR_BAD_CONFIG, "store: the path '%.60s…' is too long", directory);
    vault->mark = open(path, O_RDWR | O_CLOEXEC | (create ? O_CREAT : 0), 0600);
    if (vault->mark < 0 && errno == ENOENT)
        return fr_fail(err, FR_BAD_CONFIG, "store: no backups in '%s'; name a directory that `freshet backup` wrote",
                       directory);
    if (vault->mark < 0)
        return fr_fail(err, FR_BAD_CONFIG, "store: cannot open '%s': %s", path, strerror(errno));
    if (flock(vault->mark, LOCK_EX | LOCK_NB) == 0)
        return true;
    return fr_fail(err, FR_EXHAUSTED, "store: another process works on the backups in '%s'; wait for it", directory);
}

static void close_vault(struct vault *vault)
{
    if (vault->engine != NULL)
        rocksdb_backup_engine_close(vault->engine);
    if (vault->mark >= 0)
        close(vault->mark);
    *vault = (struct vault){.mark = -1};
}

/* `create`: a missing or empty directory becomes one of backups; what holds other things is refused. */
static bool open_vault(const char *directory, bool create, struct vault *vault, struct fr_err *err)
{
    *vault = (struct vault){.mark = -1};
    if ((!create || store_directory__claim(directory, mark_name, err)) && lock_mark(directory, create, vault, err) &&
        open_engine(directory, vault, err))
        return true;
    close_vault(vault);
    return false;
}

static void read_info(const rocksdb_backup_engine_info_t *from, int index, struct store_backup *backup)
{
    backup->id = rocksdb_backup_engine_info_backup_id(from, index);
    backup->made_ms = rocksdb_backup_engine_info_timestamp(from, index) * 1000;
    backup->bytes = rocksdb_backup_engine_info_size(from, index);
    backup->files = rocksdb_backup_engine_info_number_files(from, index);
}

/* The backup `id`, 0: the latest. */
static bool find(const struct vault *vault, uint32_t id, const char *directory, struct store_backup *backup, struct fr_err *err)
{
    const rocksdb_backup_engine_info_t *all = rocksdb_backup_engine_get_backup_info(vault->engine);
    int count = rocksdb_backup_engine_info_count(all);
    bool is_found = false;

    for (int i = 0; i < count; i++) {
        if (id != 0 && rocksdb_backup_engine_info_backup_id(all, i) != id)
            continue;
        read_info(all, i, backup);
        is_found = true;
    }
    rocksdb_backup_engine_info_destroy(all);
    if (is_found)
        return true;
    return id == 0 ? fr_fail(err, FR_BAD_CONFIG, "store: no backup in '%s' is whole", directory)
                   : fr_fail(err, FR_BAD_CONFIG, "store: no backup %" PRIu32 " in '%s'; --list tells which there are", id,
                             directory);
}

static bool make(struct store *store, const struct vault *vault, const struct store_backup_options *options,
                 struct store_backup *backup, struct fr_err *err)
{
    char *message = NULL;

    if (!fr_fault(FR_FAULT_MID_BACKUP, err))
        return false;
    rocksdb_backup_engine_create_new_backup_flush(vault->engine, store->disk.db, 0, &message); /* nothing is ever unflushed */
    if (message != NULL)
        return fail_engine(message, err, "write a backup to", options->directory);
    if (!find(vault, 0, options->directory, backup, err) || !fr_fault(FR_FAULT_MID_BACKUP, err))
        return false;
    rocksdb_backup_engine_verify_backup(vault->engine, backup->id, &message);
    if (message != NULL)
        return fail_engine(message, err, "verify the backup in", options->directory);
    if (options->keep > 0)
        rocksdb_backup_engine_purge_old_backups(vault->engine, options->keep, &message);
    return message == NULL || fail_engine(message, err, "remove old backups from", options->directory);
}

bool store_backup_make(struct store *store, const struct store_backup_options *options, struct store_backup *backup,
                       struct fr_err *err)
{
    struct vault vault;

    if (!open_vault(options->directory, true, &vault, err))
        return false;
    bool is_made = make(store, &vault, options, backup, err);
    close_vault(&vault);
    return is_made;
}

bool store_backup_each(const char *directory, void (*each)(void *user, const struct store_backup *backup), void *user,
                       struct fr_err *err)
{
    struct vault vault;

    if (!open_vault(directory, false, &vault, err))
        return false;
    const rocksdb_backup_engine_info_t *all = rocksdb_backup_engine_get_backup_info(vault.engine);
    for (int i = 0; i < rocksdb_backup_engine_info_count(all); i++) {
        struct store_backup backup;

        read_info(all, i, &backup);
        each(user, &backup);
    }
    rocksdb_backup_engine_info_destroy(all);
    close_vault(&vault);
    return true;
}

static bool copy_back(const struct vault *vault, const struct store_backup *backup, const char *directory, const char *path,
                      struct fr_err *err)
{
    rocksdb_restore_options_t *options;
    char *message = NULL;

    if (!fr_fault(FR_FAULT_MID_RESTORE, err))
        return false;
    options = rocksdb_restore_options_create();
    rocksdb_backup_engine_restore_db_from_backup(vault->engine, path, path, options, backup->id, &message);
    rocksdb_restore_options_destroy(options);
    if (message != NULL)
        return fail_engine(message, err, "restore from", directory);
    return fr_fault(FR_FAULT_MID_RESTORE, err) &&
           store_directory__adopt(path, err); /* the mark comes last: until then nothing takes it for a store */
}

bool store_backup_restore(const char *directory, uint32_t id, const char *path, struct store_backup *backup, struct fr_err *err)
{
    struct vault vault;

    if (!store_directory__claim(path, NULL, err) || !open_vault(directory, false, &vault, err))
        return false;
    bool is_restored = find(&vault, id, directory, backup, err) && copy_back(&vault, backup, directory, path, err);
    close_vault(&vault);
    return is_restored;
}
